//! A pretend HubSpot account: records and batches, search, associations, properties and schemas, pipelines, owners, timeline,
//! forms, OAuth, limits, webhooks and their journal. Written from HubSpot's documents; it refuses what they say is refused.

mod account;
mod admin;
mod associations;
mod associations_v3;
mod batch;
mod errors;
mod forms;
mod furniture;
mod happenings;
mod ids;
mod journal;
mod kinds;
mod limits;
mod links;
mod oauth;
mod objects;
mod options;
mod pipelines;
mod properties;
mod records;
mod router;
mod schemas;
mod search;
mod state;
mod timeline;
mod tokens;
mod values;
mod webhooks;

pub use limits::HubSpotTrouble;
pub use options::{HubSpotOptions, HubSpotSignature};
pub(crate) use state::HubSpot;
pub use webhooks::HubSpotDelivery;
