//! The Pipedrive face: API v2, what is left of v1, OAuth, webhooks.
//!
//! Written from the vendor's OpenAPI documents and guides. Where they are silent the strict reading is taken, and
//! [`PipedriveOptions`] can change it.

mod accept;
mod auth;
mod costs;
mod edit;
mod entity;
mod errors;
mod events;
mod fields;
mod hooks;
mod lead;
mod limits;
mod oauth;
mod options;
mod paging;
mod read;
mod related;
mod router;
mod saved;
mod schema;
mod search;
mod state;
mod text;
mod v1;
mod values;
mod write;

pub use events::WebhookDelivery;
pub use options::{PipedriveOptions, PipedrivePlan};
pub(crate) use state::Pipedrive;
