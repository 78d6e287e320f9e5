//! A queue on NATS JetStream.

mod command;
mod log;
mod options;
mod queue;
mod snapshot;

pub use options::NatsQueueOptions;
pub use queue::NatsQueue;
