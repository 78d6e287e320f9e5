//! Pipelines: engine, worker, reader, webhooks, health, and the published lists for adapters and transports.

mod batch;
mod conformance_adapter;
mod conformance_transport;
mod crash;
mod duplicates;
mod engine;
mod health;
mod history;
mod inbound;
mod jobs;
mod layers;
mod own_marks;
mod reader;
mod reader_ways;
mod recovery;
mod retry;
mod storm;
mod token_refresh;
mod two_engines;
mod two_way;
mod two_way_policies;
mod two_way_rules;
mod worker;

#[path = "../scripted/mod.rs"]
mod scripted;
#[path = "../support/mod.rs"]
mod support;
