//! The contract every CRM fulfils.
//!
//! [`CrmAdapter`] speaks the CRM's own words: entity and field names are the vendor's. Seven methods are required (the six of
//! the original guide and [`CrmAdapter::capabilities`]); the others have defaults that say [`Unsupported`] or fall back on the
//! seven. Comforts that are built on them are in [`CrmAdapterExt`]; one of them,
//! [`CrmAdapterExt::mapped`], gives the host's own words on any adapter.
//!
//! [`Unsupported`]: crate::error::ErrorKind::Unsupported

mod api;
mod bulk;
mod capabilities;
mod dictionary;
mod ext;
mod forward;
mod job;
mod mapped;
mod quota;
mod write;

pub use api::{Association, ChangeFeed, CrmAdapter, Identity, Since};
pub use bulk::{BulkOp, BulkOutcome};
pub use capabilities::Capabilities;
pub use dictionary::Dictionary;
pub use ext::CrmAdapterExt;
pub use job::{JobTerms, JobTicket};
pub use mapped::MappedAdapter;
pub use quota::{Price, Quota, QuotaWindow};
pub use write::{WriteOptions, Written};
