//! SQL shared by the stores and queues on SQL databases.

#[cfg(feature = "sqlite")]
mod queue;
#[cfg(feature = "sqlite")]
mod schema;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "sqlite")]
pub(crate) use queue::QUEUE;
#[cfg(feature = "sqlite")]
pub(crate) use schema::STORE;
#[cfg(feature = "sqlite")]
pub(crate) use sqlite::{Database, failure, failure_of};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteOptions, Synchronous};
