//! A queue on NATS JetStream.

mod command;
mod log;
mod queue;
mod snapshot;

pub use queue::{NatsQueue, NatsQueueOptions};
