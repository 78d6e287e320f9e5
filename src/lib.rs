//! Embeddable CRM synchronisation.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod adapter;
pub mod auth;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod dedup;
pub mod error;
pub mod host;
pub mod http;
pub mod layer;
pub mod mapping;
pub mod model;
pub mod observe;
pub mod pace;
pub mod query;
pub mod rest;
#[cfg(feature = "salesforce")]
pub mod salesforce;
#[cfg(feature = "sandbox")]
pub mod sandbox;
mod sql;
pub mod store;
pub mod sync;
