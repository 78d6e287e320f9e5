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
mod own_marks;
mod reader;
mod reader_ways;
mod recovery;
mod retry;
mod storm;
mod throughput;
mod token_refresh;
mod two_engines;
mod two_way;
mod two_way_policies;
mod two_way_rules;
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
