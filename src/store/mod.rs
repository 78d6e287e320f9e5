//! What a sync must remember.
//!
//! A [`Store`] keeps rows of bytes and changes them only by one atomic [`Store::commit`]. On it stand typed families, each a
//! module of functions that read from a store and write into a [`Batch`]: [`links`] (which record is which), [`base`] (what
//! was last agreed), [`ledger`] (which writes were begun), [`cursors`] (how far a reader has come), [`inbox`] (which events
//! were seen), [`journal`] (what was done), [`parked`] (what the CRM refused), [`audit`] (what was written to a record and why), [`overtaken`] (what was written over a change that
//! was set aside). [`StoreTokens`] keeps access tokens, [`Budget`] the calls that all processes may make together. Putting what belongs together into one batch
//! is the caller's part: that is what makes a crash harmless.
//!
//! [`MemoryStore`] is always there; stores in SQLite, PostgreSQL and Redis come with the features
//! `sqlite`, `postgres` and `redis`. A host's own store implements [`Store`]
//! and runs the list in `crm_sync::conformance::store` (feature `conformance`).

mod api;
pub mod audit;
pub mod base;
mod batch;
mod budget;
pub mod cursors;
mod ext;
pub(crate) mod gone;
pub mod inbox;
pub mod journal;
mod key;
pub(crate) mod lanes;
pub mod ledger;
pub mod links;
mod memory;
pub mod overtaken;
pub(crate) mod own;
pub mod parked;
pub(crate) mod pending;
#[cfg(feature = "postgres")]
mod postgres;
mod recorder;
#[cfg(feature = "redis")]
mod redis;
pub(crate) mod salt;
#[cfg(feature = "sqlite")]
mod sqlite;
mod tokens;
mod value;

pub use api::{Store, StoreCapabilities};
pub use base::Base;
pub use batch::{Batch, Conflict, Mutation, Precondition, Row};
pub use budget::{Budget, Grant};
pub use ext::{LockToken, StoreExt};
pub use key::{Family, Key};
pub use ledger::{Intent, IntentKind, IntentState};
pub use memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
pub use recorder::Recorder;
#[cfg(feature = "redis")]
pub use redis::RedisStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
pub use tokens::StoreTokens;

#[cfg(feature = "postgres")]
pub use crate::sql::PostgresOptions;
#[cfg(feature = "redis")]
pub use crate::sql::{RedisConnection, RedisOptions};
#[cfg(feature = "sqlite")]
pub use crate::sql::{SqliteOptions, Synchronous};
