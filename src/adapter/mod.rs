//! The contract every CRM fulfils.
//!
//! [`CrmAdapter`] speaks the CRM's own words: entity and field names are the vendor's. Seven methods are required (the six of
//! the original guide and [`CrmAdapter::capabilities`]); the others have defaults that say [`Unsupported`] or fall back on the
//! seven. Comforts that are built on them are in [`CrmAdapterExt`].
//!
//! [`Unsupported`]: crate::error::ErrorKind::Unsupported

mod api;
mod bulk;
mod capabilities;
mod ext;
mod forward;
mod job;
mod quota;
mod write;

pub use api::{Association, ChangeFeed, CrmAdapter, Identity, Since};
pub use bulk::{BulkOp, BulkOutcome};
pub use capabilities::Capabilities;
pub use ext::CrmAdapterExt;
pub use job::{JobTerms, JobTicket};
pub use quota::{Quota, QuotaWindow};
pub use write::{WriteOptions, Written};
