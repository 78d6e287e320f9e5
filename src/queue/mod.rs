//! Work that waits: lanes of entries, handed out under leases.
//!
//! A [`Lane`] is the ordering key of one record. Entries of one lane are strictly ordered and at most one lease is out per lane,
//! while many lanes run side by side: order per record, coalescing and batching all follow from this one idea. The contract is
//! [`Queue`]; how often to retry and when a CRM may be called is not its business.
//!
//! [`MemoryQueue`] is always there and is the model of the others; a SQLite queue comes with the feature `sqlite`. A host's own queue implements [`Queue`] and runs the list
//! in `crm_sync::conformance::queue` (feature `conformance`).

mod api;
mod entry;
mod lane;
mod lease;
mod memory;
#[cfg(feature = "nats")]
mod nats;
mod parked;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod settle;
#[cfg(feature = "sqlite")]
mod sqlite;
mod stats;

pub use api::{Queue, QueueCapabilities};
pub use entry::{
    Coalesce, Enqueued, Entry, EntryId, MAX_BATCH, MAX_PAYLOAD, MAX_TEXT, Merge, NewEntry, OP_WINDOW, Priority, QueueError, check_batch,
    check_outcomes,
};
pub use lane::Lane;
pub use lease::{Claim, Lease, LeaseToken, MAX_TTL};
pub use memory::MemoryQueue;
#[cfg(feature = "nats")]
pub use nats::{NatsQueue, NatsQueueOptions};
pub use parked::{Cause, CauseCount, Parked, ParkedFilter, ParkedPage, Subject};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresQueue, PostgresQueueOptions};
#[cfg(feature = "redis")]
pub use redis::{RedisQueue, RedisQueueOptions};
pub use settle::{Settle, Settled, Then};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteQueue;
#[cfg(feature = "sqlite")]
pub(crate) use sqlite::settle_in;
pub use stats::{QueueStats, ScopeStats};
