//! The Salesforce client beside the sandbox, documented bodies and real servers of OAuth and CometD.

mod bulk;
mod client;
mod conformance;
mod faye;
mod flows;
mod flows_sandbox;
mod log;
mod managed;
mod oauth_mock_server;
mod outbound;
mod pubsub;
mod rest;
mod stream;
mod traps;
mod types;

#[path = "../bayeux/mod.rs"]
mod bayeux;
#[path = "../support/bulk_org.rs"]
mod bulk_org;
#[path = "../mirror/mod.rs"]
mod mirror;
#[path = "../support/npm.rs"]
mod npm;
#[path = "../raw_http/mod.rs"]
mod raw_http;
#[path = "../support/replay.rs"]
mod replay;
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]
#[path = "../support/virtual_time.rs"]
mod virtual_time;
