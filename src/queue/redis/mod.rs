//! A queue on a Redis server.

mod queue;
mod rows;
mod scripts;

pub use queue::{RedisQueue, RedisQueueOptions};
