//! The common core of the CRM clients: one orchestrator, and what a vendor has to say about its answers.
//!
//! [`Client`] authorizes, sends, renews an expired token once, and turns what is not an answer into an
//! [`Error`](crate::error::Error) by way of a [`Dialect`]. Waiting and repeating belong to the layers above.

mod call;
mod client;
mod dialect;
#[cfg(any(feature = "custom", feature = "hubspot", feature = "salesforce"))]
mod encode;
mod path;

#[cfg(feature = "pipedrive")]
pub(crate) use call::from_json;
pub use call::{Answer, Call, Streamed};
pub use client::{Client, DEFAULT_BODY_LIMIT};
pub use dialect::{Dialect, Failure};
#[cfg(any(feature = "hubspot", feature = "salesforce"))]
pub(crate) use encode::percent_encode;
#[cfg(any(feature = "custom", feature = "hubspot", feature = "salesforce"))]
pub(crate) use encode::segment;
#[cfg(feature = "salesforce")]
pub(crate) use encode::unreserved;
#[cfg(feature = "salesforce")]
pub(crate) use path::decode_error;
