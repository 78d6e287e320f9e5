//! The store on a real PostgreSQL server: the common list, kills, and whatever else can happen to a server.

#![allow(clippy::disallowed_methods, reason = "real servers are waited for, and killed from a task of their own")]
#![cfg(all(unix, feature = "postgres"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout, reason = "a test may panic and tells why")]

use crate::servers;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use crm_sync::conformance::store::{self, StoreBench};
use crm_sync::error::{Error, ErrorKind, Result, Retry};
use crm_sync::host::Host;
use crm_sync::store::{Batch, Conflict, Family, Key, PostgresOptions, PostgresStore, Store, StoreExt};
use servers::Server;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

/// A pool whose tables stand in a schema of their own.
async fn pool_in(server: &Server, schema: &str) -> PgPool {
    let options: PgConnectOptions = server.url().parse().unwrap();
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(options.options([("search_path", schema)]))
        .await
        .unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {schema}"))).execute(&pool).await.unwrap();
    pool
}

async fn store_on(server: &Server) -> (PgPool, PostgresStore) {
    let pool = pool_in(server, &server.fresh_name()).await;
    let store = PostgresStore::new(pool.clone(), Host::tokio());
    store.migrate().await.unwrap();
    (pool, store)
}

fn key(name: &str) -> Key {
    Key::new(Family::Base, &["test", name])
}

fn put(name: &str, value: impl Into<bytes::Bytes>) -> Batch {
    let mut batch = Batch::new();
    batch.put(key(name), value);
    batch
}

#[derive(Debug)]
struct Bench {
    server: Server,
    newest: std::sync::Mutex<String>,
}

impl Bench {
    async fn open(&self, schema: &str) -> Result<Arc<dyn Store>> {
        let store = PostgresStore::new(pool_in(&self.server, schema).await, Host::tokio());
        store.migrate().await?;
        Ok(Arc::new(store))
    }
}

#[async_trait]
impl StoreBench for Bench {
    async fn store(&self) -> Result<Arc<dyn Store>> {
        let schema = self.server.fresh_name();
        *self.newest.lock().unwrap() = schema.clone();
        self.open(&schema).await
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn reopen(&self, store: Arc<dyn Store>) -> Result<Option<Arc<dyn Store>>> {
        drop(store);
        let schema = self.newest.lock().unwrap().clone();
        Ok(Some(self.open(&schema).await?))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_passes_the_list() {
    let Some(server) = Server::postgres() else { return };
    let report = store::all(&Bench { server, newest: std::sync::Mutex::default() }).await;
    println!("{report}");
    assert!(report.is_ok(), "{report}");
}

/// Commits batches one after the other, each with a head and a different number of rows.
async fn commit_one(store: &PostgresStore, number: u64, head: Option<u64>) -> Result<u64> {
    let mut batch = Batch::new();
    match head {
        Some(version) => batch.require_version(key("head"), version),
        None => batch.require_absent(key("head")),
    };
    batch.put(key("head"), number.to_string());
    for row in 0..=number % 20 {
        batch.insert(Key::new(Family::Base, &["rows", &number.to_string(), &row.to_string()]), number.to_string())?;
    }
    Ok(store.commit(batch).await?[0])
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_commits_survive_kills_of_the_server() {
    let Some(mut server) = Server::postgres() else { return };
    if !server.is_own() {
        println!("skipped: the server of CRM_SYNC_POSTGRES_URL is not this test's to kill");
        return;
    }
    let schema = server.fresh_name();
    let (mut acknowledged, mut unsure) = (0, 0);
    for round in 0..6 {
        let pool = pool_in(&server, &schema).await;
        let store = PostgresStore::new(pool.clone(), Host::tokio());
        store.migrate().await.unwrap();
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
                match commit_one(&store, newest + 1, version).await {
                    Ok(next) => (newest, version) = (newest + 1, Some(next)),
                    Err(error) => return (newest, error),
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(150 + round * 37)).await;
        server.kill();
        let (last, error) = committing.await.unwrap();
        assert!(last > acknowledged, "round {round}: nothing was committed: {error}");
        assert!(error.kind() == ErrorKind::Store && error.is_retryable(), "round {round}: {error:?}");
        acknowledged = last;
        pool.close().await;
        server.start();
    }
    println!("6 kills, {acknowledged} batches acknowledged, {unsure} done and not acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_happens_with_the_hosts_own_data_or_not_at_all() {
    let Some(server) = Server::postgres() else { return };
    let (pool, store) = store_on(&server).await;
    sqlx::query("CREATE TABLE orders (id int)").execute(&pool).await.unwrap();
    for (keep, expected) in [(false, None), (true, Some("1"))] {
        let mut transaction = pool.begin().await.unwrap();
        sqlx::query("INSERT INTO orders VALUES (1)").execute(&mut *transaction).await.unwrap();
        store.commit_in(&mut transaction, put("a", "1")).await.unwrap();
        if keep {
            transaction.commit().await.unwrap()
        } else {
            transaction.rollback().await.unwrap()
        }
        let found = store.load(&key("a")).await.unwrap();
        assert_eq!(found.as_ref().map(|row| std::str::from_utf8(&row.value).unwrap()), expected);
    }
    // A refused batch leaves the host's transaction usable.
    let mut transaction = pool.begin().await.unwrap();
    let mut refused = Batch::new();
    refused.require_absent(key("a")).put(key("b"), "2");
    let error = store.commit_in(&mut transaction, refused).await.unwrap_err();
    assert_eq!(Conflict::of(&error).unwrap().key, key("a"));
    sqlx::query("INSERT INTO orders VALUES (2)").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert!(store.load(&key("b")).await.unwrap().is_none());
    // A transaction that does not see what others commit is told apart.
    let mut transaction = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    let error = store.commit_in(&mut transaction, put("c", "3")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("READ COMMITTED"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_commit_is_whole_or_nothing_and_leaves_no_lock() {
    let Some(server) = Server::postgres() else { return };
    let (_pool, store) = store_on(&server).await;
    let mut done = 0;
    for round in 0..40 {
        let mut batch = Batch::new();
        for row in 0..50 {
            batch.put(Key::new(Family::Base, &["drop", &round.to_string(), &row.to_string()]), "1");
        }
        let _ = tokio::time::timeout(Duration::from_micros(round * 250), store.commit(batch)).await;
        let rows = store.scan_all(&Key::new(Family::Base, &["drop", &round.to_string()])).await.unwrap();
        // A commit that was under way may still arrive; a part of one may not.
        assert!(rows.is_empty() || rows.len() == 50, "round {round}: {} of 50 rows", rows.len());
        done += u64::from(!rows.is_empty());
    }
    println!("{done} of 40 dropped commits happened");
    tokio::time::timeout(Duration::from_secs(10), store.commit(put("after", "1"))).await.expect("no lock is left").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_another_version_are_refused_by_name() {
    let Some(server) = Server::postgres() else { return };
    let pool = pool_in(&server, &server.fresh_name()).await;
    let open = || PostgresStore::new(pool.clone(), Host::tokio());
    let error = open().load(&key("a")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("migrate()"), "{error}");
    let both = futures_util::future::join_all((0..4).map(|_| async { open().migrate().await })).await;
    assert!(both.iter().all(Result::is_ok), "{both:?}");
    sqlx::query("UPDATE crm_sync_schema SET version = 7").execute(&pool).await.unwrap();
    for error in
        [open().migrate().await.unwrap_err(), open().load(&key("a")).await.unwrap_err(), open().commit(put("a", "1")).await.unwrap_err()]
    {
        let text = error.to_string();
        assert!(error.kind() == ErrorKind::Config && text.contains("version 7") && text.contains("knows 1"), "{text}");
    }
}

fn is_gone(error: &Error) -> bool {
    error.kind() == ErrorKind::Store && error.retry() == Retry::Never && error.to_string().contains("replaced")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_replaced_is_loud() {
    let Some(server) = Server::postgres() else { return };
    let (pool, store) = store_on(&server).await;
    store.commit(put("a", "1")).await.unwrap();
    let generation = store.generation().await.unwrap();
    sqlx::raw_sql("DROP TABLE crm_sync_store, crm_sync_schema; DROP SEQUENCE crm_sync_store_version").execute(&pool).await.unwrap();
    let error = store.load(&key("a")).await.unwrap_err();
    assert!(error.to_string().contains("lost its data"), "{error}");
    assert!(is_gone(&store.migrate().await.unwrap_err()));
    // Somebody else prepares the empty database; this handle still does not take it for its own.
    PostgresStore::new(pool.clone(), Host::tokio()).migrate().await.unwrap();
    assert!(is_gone(&store.commit(put("a", "2")).await.unwrap_err()));
    let after_restart = PostgresStore::with_options(pool, Host::tokio(), PostgresOptions::default().generation(generation));
    assert!(is_gone(&after_restart.load(&key("a")).await.unwrap_err()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_or_slow_is_a_failure_that_may_pass() {
    let Some(mut server) = Server::postgres() else { return };
    if !server.is_own() {
        println!("skipped: the server of CRM_SYNC_POSTGRES_URL is not this test's to stop");
        return;
    }
    let pool = pool_in(&server, &server.fresh_name()).await;
    let options = PostgresOptions::default().call_timeout(Duration::from_millis(400));
    let store = PostgresStore::with_options(pool, Host::tokio(), options);
    store.migrate().await.unwrap();
    store.commit(put("a", "1")).await.unwrap();
    server.freeze(true);
    let error = store.commit(put("a", "2")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry(), error.code()), (ErrorKind::Store, Retry::Backoff, Some("timeout")));
    assert!(!error.may_have_applied(), "a transaction that was not committed is rolled back: {error}");
    let error = store.load(&key("a")).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Store, Some("timeout")));
    server.freeze(false);
    server.kill();
    let error = store.load(&key("a")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Store && error.is_retryable(), "{error:?}");
    server.start();
    let mut found = store.load(&key("a")).await;
    for _ in 0..50 {
        if found.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        found = store.load(&key("a")).await;
    }
    assert_eq!(found.unwrap().unwrap().value, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_role_turned_off_is_turned_on_and_expired_rows_go() {
    let Some(server) = Server::postgres() else { return };
    let schema = server.fresh_name();
    pool_in(&server, &schema).await;
    let options: PgConnectOptions = server.url().parse().unwrap();
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(options.options([("search_path", schema.as_str()), ("synchronous_commit", "off")]))
        .await
        .unwrap();
    let store = PostgresStore::new(pool.clone(), Host::tokio());
    store.migrate().await.unwrap();
    let mut transaction = pool.begin().await.unwrap();
    store.commit_in(&mut transaction, put("a", "1")).await.unwrap();
    let (setting,): (String,) = sqlx::query_as("SHOW synchronous_commit").fetch_one(&mut *transaction).await.unwrap();
    assert_eq!(setting, "on");
    transaction.commit().await.unwrap();

    let mut batch = Batch::new();
    let past = store.now().await.unwrap() - Duration::from_secs(1);
    for row in 0..1200 {
        batch.put_until(key(&format!("old {row}")), "1", past);
    }
    store.commit(batch).await.unwrap();
    for _ in 0..70 {
        store.commit(put("a", "2")).await.unwrap();
    }
    let (left,): (i64,) = sqlx::query_as("SELECT count(*) FROM crm_sync_store").fetch_one(&pool).await.unwrap();
    assert_eq!(left, 1);
}
