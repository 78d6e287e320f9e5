//! HubSpot: a client for its CRM objects, and the adapter over it.
//!
//! [`HubSpot`] is the connection; it is a [`CrmAdapter`](crate::adapter::CrmAdapter). Property values travel as texts or null,
//! which is how HubSpot answers every property. Paths are built for one version of the API, see [`ApiVersion`].
//!
//! # Limits worth knowing
//! 100 inputs for each batch; a search has 5 groups of 6 filters, 18 in all, 3,000 characters and 10,000 results, and its index
//! lags behind writes; the list of an object has no ceiling.

mod adapter;
mod associations;
mod batch;
mod capabilities;
mod changes;
mod client;
mod config;
mod dialect;
mod filter;
mod paths;
mod properties;
mod record;
mod search;
mod token;
mod values;
mod webhook;

pub use associations::{Associated, AssociationType};
pub use client::{BATCH_LIMIT, HubSpot};
pub use config::HubSpotConfig;
pub use dialect::{HubSpotDialect, RateWindow};
pub use paths::ApiVersion;
pub use properties::{Property, PropertyOption};
pub use record::HubSpotRecord;
pub use values::{decode, encode};
pub use webhook::{HubSpotEvents, HubSpotVerifier};
