//! Values in the form the CRM's field takes, and back.
//!
//! [`encoder`](self::encoder) has the forms that all CRMs share; what HubSpot and Pipedrive do differently stands in files of
//! their own, `forms` chooses between them, `id` knows Salesforce's record ids, `pattern` the host's own spelling of dates.

mod date;
mod decode;
mod encoder;
mod forms;
mod hubspot;
mod id;
mod list;
mod pattern;
mod pipedrive;
mod profile;
mod refused;

pub(crate) use encoder::Encoder;
pub(crate) use pattern::Pattern;
pub use profile::Profile;
pub(crate) use refused::{Note, Refused};
