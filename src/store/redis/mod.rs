//! A store on a Redis server.

mod rows;
mod store;

pub use store::RedisStore;
