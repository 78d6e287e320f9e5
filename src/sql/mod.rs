//! What the stores and queues on one database or server share.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod queue;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod schema;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
mod wait;

#[cfg(feature = "postgres")]
pub use postgres::PostgresOptions;
#[cfg(feature = "postgres")]
pub(crate) use postgres::{PostgresSchema, PostgresTables, micros, wait_for_disk};
#[cfg(feature = "sqlite")]
pub(crate) use queue::QUEUE;
#[cfg(feature = "redis")]
pub use redis::{RedisConnection, RedisOptions};
#[cfg(feature = "redis")]
pub(crate) use redis::{RedisKeys, RedisSchema};
#[cfg(feature = "sqlite")]
pub(crate) use schema::STORE;
#[cfg(feature = "sqlite")]
pub(crate) use sqlite::{Database, failure, failure_of};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteOptions, Synchronous};
#[cfg(feature = "nats")]
pub(crate) use wait::within;
