//! The HubSpot client beside the sandbox, documented bodies and the validating proxy.

mod changes;
mod client;
mod conformance;
mod engine;
mod flows;
mod log;
mod prism;
mod sandbox;
mod search;
mod traps;
mod typed;

#[path = "../support/hubspot.rs"]
mod hubspot;
#[path = "../support/npm.rs"]
mod npm;
#[path = "../support/portal.rs"]
mod portal;
#[path = "../support/mod.rs"]
mod support;
