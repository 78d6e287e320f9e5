//! Where the queue and the store are.

use std::path::Path;
use std::sync::Arc;

use crm_sync::host::Host;
use crm_sync::queue::{MemoryQueue, Queue, SqliteQueue};
use crm_sync::store::{MemoryStore, SqliteOptions, SqliteStore, Store, Synchronous};

use crate::Fault;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Memory,
    Nats,
    Postgres,
    Redis,
    Sqlite,
}

/// An open queue and an open store.
pub(crate) struct Open {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) store: Arc<dyn Store>,
}

impl Backend {
    pub(crate) const CHOICES: [(&'static str, Self); 5] =
        [("sqlite", Self::Sqlite), ("memory", Self::Memory), ("postgres", Self::Postgres), ("redis", Self::Redis), ("nats", Self::Nats)];

    pub(crate) fn name(self) -> &'static str {
        Self::CHOICES.iter().find(|(_, backend)| *backend == self).map_or("", |(name, _)| name)
    }

    pub(crate) fn is_server(self) -> bool {
        matches!(self, Self::Postgres | Self::Redis | Self::Nats)
    }

    /// Opens both, and makes their tables.
    pub(crate) async fn open(self, url: Option<&str>, folder: &Path, host: &Host) -> Result<Open, Fault> {
        let url = url.unwrap_or_default();
        match self {
            Self::Memory => Ok(Open { queue: Arc::new(MemoryQueue::new(host.clone())), store: Arc::new(MemoryStore::new(host.clone())) }),
            Self::Sqlite => {
                let options = SqliteOptions::default().synchronous(Synchronous::Normal);
                let queue = SqliteQueue::open_with(folder.join("queue.db"), host.clone(), &options)?;
                queue.migrate().await?;
                Ok(Open { queue: Arc::new(queue), store: sqlite_store(folder, host).await? })
            }
            Self::Postgres => postgres(url, host).await,
            Self::Redis => redis(url, host).await,
            Self::Nats => nats(url, folder, host).await,
        }
    }
}

async fn sqlite_store(folder: &Path, host: &Host) -> Result<Arc<dyn Store>, Fault> {
    let options = SqliteOptions::default().synchronous(Synchronous::Normal);
    let store = SqliteStore::open_with(folder.join("store.db"), host.clone(), &options)?;
    store.migrate().await?;
    Ok(Arc::new(store))
}

#[cfg(feature = "postgres")]
async fn postgres(url: &str, host: &Host) -> Result<Open, Fault> {
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(8).connect(url).await?;
    let queue = crm_sync::queue::PostgresQueue::new(pool.clone(), host.clone());
    queue.migrate().await?;
    let store = crm_sync::store::PostgresStore::new(pool, host.clone());
    store.migrate().await?;
    Ok(Open { queue: Arc::new(queue), store: Arc::new(store) })
}

#[cfg(feature = "redis")]
async fn redis(url: &str, host: &Host) -> Result<Open, Fault> {
    // The driver's own limit is half a second, which a busy server misses now and then.
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(std::time::Duration::from_secs(30)));
    let connection = redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await?;
    // A pretend CRM's data may be lost; without this the server must flush its log with every write.
    let server = crm_sync::store::RedisOptions::default().accept_loss(true);
    let options = crm_sync::queue::RedisQueueOptions::default().server(server.clone());
    let queue = crm_sync::queue::RedisQueue::open_with(connection.clone(), host.clone(), options).await?;
    queue.migrate().await?;
    let store = crm_sync::store::RedisStore::open_with(connection, host.clone(), server).await?;
    store.migrate().await?;
    Ok(Open { queue: Arc::new(queue), store: Arc::new(store) })
}

#[cfg(feature = "nats")]
async fn nats(url: &str, folder: &Path, host: &Host) -> Result<Open, Fault> {
    let context = async_nats::jetstream::new(async_nats::connect(url).await?);
    let queue = crm_sync::queue::NatsQueue::new(context, host.clone());
    queue.migrate().await?;
    Ok(Open { queue: Arc::new(queue), store: sqlite_store(folder, host).await? })
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_: &str, _: &Host) -> Result<Open, Fault> {
    Err("build with --features postgres".into())
}

#[cfg(not(feature = "redis"))]
async fn redis(_: &str, _: &Host) -> Result<Open, Fault> {
    Err("build with --features redis".into())
}

#[cfg(not(feature = "nats"))]
async fn nats(_: &str, _: &Path, _: &Host) -> Result<Open, Fault> {
    Err("build with --features nats".into())
}
