//! A HubSpot client over scripted answers.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking, like the tests")]

#[path = "replay.rs"]
mod replay;

use std::sync::Arc;

use crm_sync::host::Host;
use crm_sync::hubspot::{HubSpot, HubSpotConfig};
use crm_sync::model::Fields;
pub use replay::{Replay, Reply, reply};
use serde_json::Value;

/// A documented body.
pub fn fixture(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/fixtures/hubspot/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

pub fn config() -> HubSpotConfig {
    HubSpotConfig::with_access_token("pat-eu1-T".to_owned().into()).portal_id("33")
}

pub fn client(replies: Vec<Reply>) -> (HubSpot, Arc<Replay>) {
    configured(config(), replies)
}

pub fn configured(config: HubSpotConfig, replies: Vec<Reply>) -> (HubSpot, Arc<Replay>) {
    let replay = Replay::new(replies);
    let (host, clock) = Host::manual_with_clock(1);
    clock.set_wall("2026-11-24T09:00:00Z".parse().unwrap());
    (HubSpot::new(config, Arc::clone(&replay) as _, host).unwrap(), replay)
}

pub fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}
