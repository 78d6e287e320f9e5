//! The store on a real Redis server: the common list, kills, and whatever else can happen to a server.

#![allow(clippy::disallowed_methods, reason = "real servers are waited for, and killed from a task of their own")]
#![cfg(all(unix, feature = "redis"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout, reason = "a test may panic and tells why")]

use crate::servers;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use crm_sync::conformance::store::{self, StoreBench};
use crm_sync::error::{Error, ErrorKind, Result, Retry};
use crm_sync::host::Host;
use crm_sync::store::{Batch, Family, Key, RedisOptions, RedisStore, Store, StoreExt};
use redis::aio::MultiplexedConnection;
use servers::Server;

type RealStore = RedisStore<MultiplexedConnection>;

async fn connect(server: &Server) -> MultiplexedConnection {
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(20)));
    redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

async fn open(server: &Server, prefix: &str) -> Result<RealStore> {
    let store = RedisStore::open_with(connect(server).await, Host::tokio(), RedisOptions::default().prefix(prefix)).await?;
    store.migrate().await?;
    Ok(store)
}

fn key(name: &str) -> Key {
    Key::new(Family::Base, &["test", name])
}

fn put(name: &str, value: &'static str) -> Batch {
    let mut batch = Batch::new();
    batch.put(key(name), value);
    batch
}

#[derive(Debug)]
struct Bench {
    server: Server,
    newest: Mutex<String>,
}

#[async_trait]
impl StoreBench for Bench {
    async fn store(&self) -> Result<Arc<dyn Store>> {
        let prefix = self.server.fresh_name();
        *self.newest.lock().unwrap() = prefix.clone();
        Ok(Arc::new(open(&self.server, &prefix).await?))
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn reopen(&self, store: Arc<dyn Store>) -> Result<Option<Arc<dyn Store>>> {
        drop(store);
        let prefix = self.newest.lock().unwrap().clone();
        Ok(Some(Arc::new(open(&self.server, &prefix).await?)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_passes_the_list() {
    let Some(server) = Server::redis() else { return };
    let report = store::all(&Bench { server, newest: Mutex::default() }).await;
    println!("{report}");
    assert!(report.is_ok(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_commits_survive_kills_of_the_server() {
    let Some(mut server) = Server::redis() else { return };
    if !server.is_own() {
        println!("skipped: the server of CRM_SYNC_REDIS_URL is not this test's to kill");
        return;
    }
    let (mut acknowledged, mut unsure) = (0, 0);
    for round in 0..8 {
        let store = open(&server, "killed").await.unwrap();
        let found = store.load(&key("head")).await.unwrap();
        let (mut newest, mut version) =
            found.map_or((0, None), |row| (std::str::from_utf8(&row.value).unwrap().parse::<u64>().unwrap(), Some(row.version)));
        assert!(newest == acknowledged || newest == acknowledged + 1, "round {round}: {newest} is there, {acknowledged} was acknowledged");
        unsure += newest - acknowledged;
        let rows = store.scan_all(&Key::new(Family::Base, &["rows"])).await.unwrap();
        assert_eq!(rows.len() as u64, (1..=newest).map(|number| number % 20 + 1).sum::<u64>(), "round {round}: a batch is there in part");
        acknowledged = newest;
        let committing = tokio::spawn(async move {
            loop {
                let mut batch = Batch::new();
                match version {
                    Some(version) => batch.require_version(key("head"), version),
                    None => batch.require_absent(key("head")),
                };
                let number = newest + 1;
                batch.put(key("head"), number.to_string());
                for row in 0..=number % 20 {
                    batch.put(Key::new(Family::Base, &["rows", &number.to_string(), &row.to_string()]), number.to_string());
                }
                match store.commit(batch).await {
                    Ok(versions) => (newest, version) = (number, versions.first().copied()),
                    Err(error) => return (newest, error),
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(100 + round * 23)).await;
        server.kill();
        let (last, error) = committing.await.unwrap();
        assert!(last > acknowledged, "round {round}: nothing was committed: {error}");
        assert!(error.kind() == ErrorKind::Store && error.is_retryable() && error.may_have_applied(), "round {round}: {error:?}");
        acknowledged = last;
        server.start();
    }
    println!("8 kills, {acknowledged} batches acknowledged, {unsure} done and not acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_lose_writes_is_refused_unless_accepted() {
    for (arguments, word) in [
        (&["--appendonly", "no"][..], "appendonly no"),
        (&["--appendonly", "yes", "--appendfsync", "everysec"][..], "appendfsync everysec"),
        (
            &["--appendonly", "yes", "--appendfsync", "always", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"][..],
            "maxmemory-policy allkeys-lru",
        ),
    ] {
        if std::env::var_os("CRM_SYNC_REDIS_URL").is_some() {
            println!("skipped: the server of CRM_SYNC_REDIS_URL has its own settings");
            return;
        }
        let Some(server) = Server::redis_with(arguments) else { return };
        let error = RedisStore::open(connect(&server).await, Host::tokio()).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(word), "{error}");
        let accepting = RedisOptions::default().accept_loss(true);
        let store = RedisStore::open_with(connect(&server).await, Host::tokio(), accepting).await.unwrap();
        store.migrate().await.unwrap();
        store.commit(put("a", "1")).await.unwrap();
        assert!(!store.capabilities().survives_power_loss);
        assert_eq!(store.capabilities().durable, word.starts_with("appendfsync"));
    }
}

fn is_gone(error: &Error, word: &str) -> bool {
    error.kind() == ErrorKind::Store && error.retry() == Retry::Never && !error.may_have_applied() && error.to_string().contains(word)
}

/// A connection that finds the server again after a restart, as the connection managers do that hosts use.
#[derive(Clone)]
struct Managed(redis::Client, Arc<tokio::sync::Mutex<Option<MultiplexedConnection>>>);

fn managed(server: &Server) -> Managed {
    Managed(redis::Client::open(server.url()).unwrap(), Arc::default())
}

impl redis::aio::ConnectionLike for Managed {
    fn req_packed_command<'a>(&'a mut self, command: &'a redis::Cmd) -> redis::RedisFuture<'a, redis::Value> {
        Box::pin(async move {
            let mut slot = self.1.lock().await;
            if slot.is_none() {
                let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(20)));
                *slot = Some(self.0.get_multiplexed_async_connection_with_config(&config).await?);
            }
            let outcome = slot.as_mut().unwrap().req_packed_command(command).await;
            if outcome.as_ref().is_err_and(|error| error.is_io_error() || error.is_connection_dropped()) {
                *slot = None;
            }
            outcome
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a redis::Pipeline,
        offset: usize,
        count: usize,
    ) -> redis::RedisFuture<'a, Vec<redis::Value>> {
        Box::pin(async move {
            let mut slot = self.1.lock().await;
            if slot.is_none() {
                *slot = Some(self.0.get_multiplexed_async_connection().await?);
            }
            slot.as_mut().unwrap().req_packed_commands(pipeline, offset, count).await
        })
    }

    fn get_db(&self) -> i64 {
        0
    }
}

async fn eventually<T>(mut work: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let mut outcome = work().await;
    for _ in 0..100 {
        match &outcome {
            Err(error) if error.is_retryable() => tokio::time::sleep(Duration::from_millis(100)).await,
            _ => break,
        }
        outcome = work().await;
    }
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_data_is_loud() {
    let Some(mut server) = Server::redis() else { return };
    if !server.is_own() {
        println!("skipped: the server of CRM_SYNC_REDIS_URL is not this test's to wipe");
        return;
    }
    let store = RedisStore::open(managed(&server), Host::tokio()).await.unwrap();
    let error = store.load(&key("a")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("migrate()"), "{error}");
    store.migrate().await.unwrap();
    store.commit(put("a", "1")).await.unwrap();
    let generation = store.generation().await.unwrap();
    server.wipe();
    let lost = "lost its data";
    let error = eventually(async || store.load(&key("a")).await).await.unwrap_err();
    assert!(is_gone(&error, lost), "{error:?}");
    for error in [
        store.commit(put("a", "2")).await.unwrap_err(),
        store.scan(&key("a"), None, 10).await.unwrap_err(),
        store.migrate().await.unwrap_err(),
    ] {
        assert!(is_gone(&error, lost), "{error:?}");
    }
    // Somebody else prepares the empty server; this handle still does not take it for its own.
    RedisStore::open(connect(&server).await, Host::tokio()).await.unwrap().migrate().await.unwrap();
    assert!(is_gone(&store.commit(put("a", "2")).await.unwrap_err(), lost));
    let remembered = RedisOptions::default().generation(generation);
    let error = RedisStore::open_with(connect(&server).await, Host::tokio(), remembered).await.unwrap_err();
    assert!(is_gone(&error, lost), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_last_writes_is_loud() {
    let Some(server) = Server::redis() else { return };
    let prefix = server.fresh_name();
    let store = open(&server, &prefix).await.unwrap();
    store.commit(put("a", "1")).await.unwrap();
    // What a restart from an old copy, or a failover to a replica that was behind, looks like.
    let mut connection = connect(&server).await;
    let before: Vec<u8> = redis::cmd("DUMP").arg(format!("{{{prefix}}}:store:meta")).query_async(&mut connection).await.unwrap();
    store.commit(put("a", "2")).await.unwrap();
    let mut restore = redis::cmd("RESTORE");
    restore.arg(format!("{{{prefix}}}:store:meta")).arg(0).arg(before).arg("REPLACE");
    restore.query_async::<()>(&mut connection).await.unwrap();
    let error = store.commit(put("a", "3")).await.unwrap_err();
    assert!(is_gone(&error, "went back in time"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_another_version_are_refused_by_name() {
    let Some(server) = Server::redis() else { return };
    let prefix = server.fresh_name();
    open(&server, &prefix).await.unwrap();
    let mut set = redis::cmd("HSET");
    set.arg(format!("{{{prefix}}}:store:meta")).arg("version").arg(9);
    set.query_async::<()>(&mut connect(&server).await).await.unwrap();
    let error = open(&server, &prefix).await.unwrap_err();
    let text = error.to_string();
    assert!(error.kind() == ErrorKind::Config && text.contains("version 9") && text.contains("knows 1"), "{text}");
    let error = RedisStore::open_with(connect(&server).await, Host::tokio(), RedisOptions::default().prefix("a{b}")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("braces"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_slow_or_down_is_a_failure_that_may_pass() {
    let Some(mut server) = Server::redis() else { return };
    if !server.is_own() {
        println!("skipped: the server of CRM_SYNC_REDIS_URL is not this test's to stop");
        return;
    }
    let options = RedisOptions::default().call_timeout(Duration::from_millis(300));
    let store = RedisStore::open_with(managed(&server), Host::tokio(), options).await.unwrap();
    store.migrate().await.unwrap();
    store.commit(put("a", "1")).await.unwrap();
    server.freeze(true);
    let error = store.commit(put("a", "2")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry(), error.may_have_applied()), (ErrorKind::Store, Retry::Backoff, true), "{error:?}");
    assert!(!store.load(&key("a")).await.unwrap_err().may_have_applied());
    server.freeze(false);
    server.kill();
    let error = store.load(&key("a")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Store && error.is_retryable(), "{error:?}");
    server.start();
    // The frozen server may have taken the second put out of its socket before it died.
    let value = eventually(async || store.load(&key("a")).await).await.unwrap().unwrap().value;
    assert!(value == "1" || value == "2", "{value:?}");
}
