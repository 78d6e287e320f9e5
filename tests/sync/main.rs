//! Pipelines: engine, worker, reader, webhooks, health, and the published lists for adapters and transports.

mod batch;
mod calls;
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
mod reader;
mod recovery;
mod retry;
mod storm;
mod throughput;
mod token_refresh;
mod two_engines;
mod worker;

#[allow(clippy::print_stderr, reason = "a program speaks to its user")]
#[path = "../../examples/support/args.rs"]
mod args;
#[path = "../support/company.rs"]
mod company;
#[path = "../../examples/throughput/options.rs"]
mod options;
#[path = "../support/portal.rs"]
mod portal;
#[path = "../../examples/throughput/records.rs"]
mod records;
#[path = "../scripted/mod.rs"]
mod scripted;
#[path = "../support/mod.rs"]
mod support;
