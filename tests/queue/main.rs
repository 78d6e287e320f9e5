//! Queues and stores on every back end: the published lists, real servers that are killed and wiped, clocks that jump, one budget for many processes.

mod budget;
mod clock;
mod conformance_queue;
mod conformance_store;
mod nats;
mod postgres;
mod redis;
mod store_kill;
mod store_postgres;
mod store_redis;
mod worker_kill;

#[path = "../servers/mod.rs"]
mod servers;
#[path = "../support/mod.rs"]
mod support;
