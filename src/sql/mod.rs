//! SQL shared by the stores and queues on SQL databases.

#[cfg(feature = "sqlite")]
mod schema;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "sqlite")]
pub(crate) use schema::STORE;
#[cfg(feature = "sqlite")]
pub(crate) use sqlite::{Database, failure};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteOptions, Synchronous};
