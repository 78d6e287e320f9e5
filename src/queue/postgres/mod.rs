//! A queue in the host's PostgreSQL database.

mod claim;
mod enqueue;
mod parked;
mod queue;
mod schema;
mod settle;

pub use queue::{PostgresQueue, PostgresQueueOptions};
