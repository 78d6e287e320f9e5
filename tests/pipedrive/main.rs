//! The Pipedrive client beside the sandbox, the official examples and the validating proxy.

mod cautions;
mod client;
mod conformance;
mod examples;
mod more;
mod prism;
mod sandbox;
mod typed;

#[path = "../support/company.rs"]
mod company;
#[path = "../support/npm.rs"]
mod npm;
#[path = "../support/replay.rs"]
mod replay;
#[path = "../support/mod.rs"]
mod support;
