//! The queue on a real PostgreSQL server: the common list, the outbox, kills, and whatever else can happen to a server.

#![allow(clippy::disallowed_methods, reason = "real servers are waited for, and killed from a task of their own")]
#![cfg(all(unix, feature = "postgres"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout, reason = "a test may panic and tells why")]

use crate::servers;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use crm_sync::conformance::queue::{self, QueueBench};
use crm_sync::error::{ErrorKind, Result, Retry};
use crm_sync::host::Host;
use crm_sync::model::Entity;
use crm_sync::queue::{
    Claim, Enqueued, Lane, NewEntry, ParkedFilter, ParkedPage, PostgresQueue, PostgresQueueOptions, Queue, Settle, Settled, Subject,
};
use crm_sync::store::{Batch, Family, Key, PostgresOptions, PostgresStore, Store};
use servers::Server;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

async fn pool_in(server: &Server, schema: &str) -> PgPool {
    let options: PgConnectOptions = server.url().parse().unwrap();
    let pool = PgPoolOptions::new()
        .max_connections(10)
        .acquire_timeout(Duration::from_secs(20))
        .connect_with(options.options([("search_path", schema)]))
        .await
        .unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {schema}"))).execute(&pool).await.unwrap();
    pool
}

async fn queue_on(server: &Server) -> (PgPool, PostgresQueue) {
    let pool = pool_in(server, &server.fresh_name()).await;
    let queue = PostgresQueue::new(pool.clone(), Host::tokio());
    queue.migrate().await.unwrap();
    (pool, queue)
}

fn lane(record: &str) -> Lane {
    Lane::new("acme", Entity::from_static("Lead"), record)
}

fn entry(record: &str, op: &str) -> NewEntry {
    NewEntry::new(lane(record), op, op.to_owned())
}

fn want() -> Claim {
    Claim::new("test").ttl(Duration::from_secs(600))
}

#[derive(Debug)]
struct Bench {
    server: Server,
    newest: Mutex<String>,
    window: Option<Duration>,
}

impl Bench {
    fn new(server: Server, window: Option<Duration>) -> Self {
        Self { server, newest: Mutex::default(), window }
    }

    async fn open(&self, schema: &str) -> Result<Arc<dyn Queue>> {
        let mut options = PostgresQueueOptions::default();
        if let Some(window) = self.window {
            options = options.window(window);
        }
        let queue = PostgresQueue::with_options(pool_in(&self.server, schema).await, Host::tokio(), options);
        queue.migrate().await?;
        Ok(Arc::new(queue))
    }
}

#[async_trait]
impl QueueBench for Bench {
    async fn queue(&self) -> Result<Arc<dyn Queue>> {
        let schema = self.server.fresh_name();
        *self.newest.lock().unwrap() = schema.clone();
        self.open(&schema).await
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn op_window(&self) -> Option<Duration> {
        self.window
    }

    async fn reopen(&self, queue: Arc<dyn Queue>) -> Result<Option<Arc<dyn Queue>>> {
        drop(queue);
        let schema = self.newest.lock().unwrap().clone();
        Ok(Some(self.open(&schema).await?))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_passes_the_list() {
    let Some(server) = Server::postgres() else { return };
    let report = queue::all(&Bench::new(server, None)).await;
    println!("{report}");
    assert!(report.is_ok(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn op_ids_are_forgotten_after_their_window() {
    let Some(server) = Server::postgres() else { return };
    let window = Some(Duration::from_secs(2));
    queue::op_ids_are_forgotten_after_their_window(&Bench::new(server, window)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_committed_with_the_hosts_own_data() {
    let Some(server) = Server::postgres() else { return };
    let (pool, queue) = queue_on(&server).await;
    sqlx::query("CREATE TABLE orders (id int)").execute(&pool).await.unwrap();
    for keep in [false, true] {
        let mut transaction = pool.begin().await.unwrap();
        sqlx::query("INSERT INTO orders VALUES (1)").execute(&mut *transaction).await.unwrap();
        let outcome = queue.enqueue_in(&mut transaction, vec![entry("1", "op-1")]).await.unwrap();
        assert!(matches!(outcome[..], [Enqueued::New(_)]), "{outcome:?}");
        assert!(queue.claim(&want()).await.unwrap().is_empty(), "a job of a transaction that is open was handed out");
        if keep {
            transaction.commit().await.unwrap()
        } else {
            transaction.rollback().await.unwrap()
        }
        let (orders,): (i64,) = sqlx::query_as("SELECT count(*) FROM orders").fetch_one(&pool).await.unwrap();
        let jobs = queue.claim(&want()).await.unwrap().len();
        assert_eq!((orders, jobs), if keep { (1, 1) } else { (0, 0) });
    }
    let error = queue.enqueue_in(&mut pool.begin().await.unwrap(), vec![entry("1", "")]).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Queue && !error.is_retryable(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settle_and_a_commit_are_one() {
    let Some(server) = Server::postgres() else { return };
    let (pool, queue) = queue_on(&server).await;
    let store = PostgresStore::new(pool.clone(), Host::tokio());
    store.migrate().await.unwrap();
    queue.enqueue(vec![entry("1", "a")]).await.unwrap();
    let lease = queue.claim(&want()).await.unwrap().remove(0);
    let key = |name: &str| Key::new(Family::Base, &[name]);
    let mut batch = Batch::new();
    batch.insert(key("x"), "1").unwrap();
    let done = || vec![Settle::done(lease.token.clone(), 1)];
    // A batch that is refused leaves the lease; a lease that is lost leaves the store.
    let mut refused = Batch::new();
    refused.require_version(key("y"), 7).put(key("x"), "0");
    assert_eq!(store.commit_and_settle(refused, &queue, done()).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(store.commit_and_settle(batch.clone(), &queue, done()).await.unwrap().map(|versions| versions.len()), Some(1));
    assert_eq!(queue.stats().await.unwrap().entries, 0);
    let mut again = Batch::new();
    again.put(key("x"), "2");
    assert_eq!(store.commit_and_settle(again, &queue, done()).await.unwrap(), None);
    assert_eq!(store.load(&key("x")).await.unwrap().unwrap().value, "1");
}

/// Enqueues and works without pause while the server is killed; nothing acknowledged may be missing, nothing may come twice.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_work_survives_kills_of_the_server() {
    let Some(mut server) = Server::postgres() else { return };
    if !server.is_own() {
        println!("skipped: the server of CRM_SYNC_POSTGRES_URL is not this test's to kill");
        return;
    }
    let schema = server.fresh_name();
    let enqueued: Arc<Mutex<HashSet<String>>> = Arc::default();
    let finished: Arc<Mutex<Vec<String>>> = Arc::default();
    let unsure: Arc<Mutex<HashSet<String>>> = Arc::default();
    let mut round = 0;
    loop {
        let pool = pool_in(&server, &schema).await;
        let queue = PostgresQueue::new(pool.clone(), Host::tokio());
        queue.migrate().await.unwrap();
        let last = round == 5;
        let producer = {
            let (queue, enqueued) = (queue.clone(), Arc::clone(&enqueued));
            tokio::spawn(async move {
                for batch in 0.. {
                    if last {
                        return;
                    }
                    let ops: Vec<String> = (0..20).map(|number| format!("{round}-{batch}-{number}")).collect();
                    let entries = ops.iter().map(|op| entry(&format!("r{}", op.len() + batch % 7), op)).collect();
                    if queue.enqueue(entries).await.is_err() {
                        return;
                    }
                    enqueued.lock().unwrap().extend(ops);
                }
            })
        };
        let worker = {
            let (queue, finished, unsure) = (queue.clone(), Arc::clone(&finished), Arc::clone(&unsure));
            tokio::spawn(async move {
                loop {
                    let claim = Claim::new("w").ttl(Duration::from_secs(2));
                    let Ok(leases) = queue.claim(&claim).await else { return };
                    if leases.is_empty() && last && queue.stats().await.is_ok_and(|stats| stats.entries == 0) {
                        return;
                    }
                    let ops: Vec<String> = leases.iter().flat_map(|lease| lease.entries.iter().map(|entry| entry.op.clone())).collect();
                    let settles = leases.iter().map(|lease| Settle::done(lease.token.clone(), lease.entries.len())).collect();
                    match queue.settle(settles).await {
                        Ok(settled) => {
                            assert!(settled.iter().all(|one| *one == Settled::Applied), "{settled:?}");
                            finished.lock().unwrap().extend(ops);
                        }
                        Err(error) => {
                            assert!(error.kind() == ErrorKind::Queue && error.is_retryable(), "{error:?}");
                            unsure.lock().unwrap().extend(ops);
                            return;
                        }
                    }
                }
            })
        };
        if last {
            worker.await.unwrap();
            break;
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
        server.kill();
        producer.await.unwrap();
        worker.await.unwrap();
        pool.close().await;
        server.start();
        round += 1;
    }
    let (finished, unsure, enqueued) = (finished.lock().unwrap(), unsure.lock().unwrap(), enqueued.lock().unwrap());
    let unique: HashSet<&String> = finished.iter().collect();
    assert_eq!(unique.len(), finished.len(), "work that was acknowledged as done came again");
    let missing = enqueued.iter().filter(|op| !unique.contains(op) && !unsure.contains(*op)).count();
    println!("5 kills, {} enqueued, {} done, {} with an unknown answer, {missing} missing", enqueued.len(), unique.len(), unsure.len());
    assert!(missing == 0 && enqueued.len() > 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_servers_and_tables_are_told_apart() {
    let Some(server) = Server::postgres() else { return };
    let pool = pool_in(&server, &server.fresh_name()).await;
    let queue = PostgresQueue::new(pool.clone(), Host::tokio());
    let error = queue.claim(&want()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("migrate()"), "{error}");
    queue.migrate().await.unwrap();
    let generation = queue.generation().await.unwrap();
    queue.enqueue(vec![entry("1", "a")]).await.unwrap();
    sqlx::query("UPDATE crm_sync_schema SET version = 5").execute(&pool).await.unwrap();
    let error = PostgresQueue::new(pool.clone(), Host::tokio()).claim(&want()).await.unwrap_err();
    assert!(error.to_string().contains("version 5") && error.to_string().contains("knows 2"), "{error}");
    // The database is replaced by an empty one which somebody else prepares: an error, not an empty queue.
    sqlx::raw_sql(
        "DROP TABLE crm_sync_schema, crm_sync_queue_lane, crm_sync_queue_entry, crm_sync_queue_op, crm_sync_queue_parked; \
        DROP SEQUENCE crm_sync_queue_entry_id, crm_sync_queue_fence",
    )
    .execute(&pool)
    .await
    .unwrap();
    PostgresQueue::new(pool.clone(), Host::tokio()).migrate().await.unwrap();
    let remembering = PostgresQueueOptions::default().database(PostgresOptions::default().generation(generation));
    let after_restart = PostgresQueue::with_options(pool, Host::tokio(), remembering);
    for error in [
        queue.claim(&want()).await.unwrap_err(),
        after_restart.claim(&want()).await.unwrap_err(),
        queue.stats().await.unwrap_err(),
        queue.parked(&ParkedPage::new(ParkedFilter::all(), 10)).await.unwrap_err(),
        queue.causes().await.unwrap_err(),
        queue.replay(&ParkedFilter::all()).await.unwrap_err(),
        queue.purge(&Subject::new("1")).await.unwrap_err(),
        queue.enqueue(vec![entry("1", "b")]).await.unwrap_err(),
        queue.migrate().await.unwrap_err(),
    ] {
        assert!(error.kind() == ErrorKind::Queue && error.retry() == Retry::Never && error.to_string().contains("replaced"), "{error}");
    }
}

/// The server's clock is set back after many lanes came due: they wait again, and do not stand before those that may go.
#[tokio::test(flavor = "multi_thread")]
async fn lanes_that_are_undue_again_stop_no_others() {
    let Some(server) = Server::postgres() else { return };
    let (pool, queue) = queue_on(&server).await;
    queue.enqueue((0..30).map(|number| entry(&format!("early {number}"), &format!("early {number}"))).collect()).await.unwrap();
    queue.enqueue(vec![entry("late", "late")]).await.unwrap();
    // As if the heads had come due by a clock that was an hour ahead.
    sqlx::query(
        "UPDATE crm_sync_queue_lane SET not_before = (extract(epoch FROM now()) * 1000000)::bigint + 3600000000 WHERE record <> 'late'",
    )
    .execute(&pool)
    .await
    .unwrap();
    let mut ops = Vec::new();
    for _ in 0..5 {
        let leases = queue.claim(&want().lanes(10)).await.unwrap();
        ops.extend(leases.iter().flat_map(|lease| lease.entries.iter().map(|entry| entry.op.clone())));
    }
    assert_eq!(ops, ["late"]);
    sqlx::raw_sql("UPDATE crm_sync_queue_lane SET not_before = 0, ready_at = 0 WHERE leased = '{}'").execute(&pool).await.unwrap();
    assert_eq!(queue.claim(&want().lanes(50)).await.unwrap().len(), 30);
}

/// However many op ids come at once, those whose time is over are forgotten as fast.
#[tokio::test(flavor = "multi_thread")]
async fn remembered_op_ids_do_not_become_ever_more() {
    let Some(server) = Server::postgres() else { return };
    let pool = pool_in(&server, &server.fresh_name()).await;
    let options = PostgresQueueOptions::default().window(Duration::from_millis(1));
    let queue = PostgresQueue::with_options(pool.clone(), Host::tokio(), options);
    queue.migrate().await.unwrap();
    for round in 0..4 {
        queue.enqueue((0..3_000).map(|number| entry("1", &format!("{round} {number}"))).collect()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (known,): (i64,) = sqlx::query_as("SELECT count(*) FROM crm_sync_queue_op").fetch_one(&pool).await.unwrap();
    assert_eq!(known, 3_000);
}

/// Claiming must not read lanes it does not hand out: those that wait, that are leased, or whose scope is skipped.
#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::disallowed_methods, reason = "measures real time")]
async fn a_claim_costs_the_same_however_many_lanes_wait() {
    let Some(server) = Server::postgres() else { return };
    let (pool, queue) = queue_on(&server).await;
    let mut medians = Vec::new();
    for (from, to) in [(0, 2_000), (2_000, 60_000)] {
        for start in (from..to).step_by(5_000) {
            let entries: Vec<NewEntry> = (start..(start + 5_000).min(to))
                .map(|number| {
                    let new = entry(&number.to_string(), &number.to_string());
                    match number % 3 {
                        0 => new.scope("spent"),
                        1 => new.not_before("2099-01-01T00:00:00Z".parse().unwrap()),
                        _ => new,
                    }
                })
                .collect();
            queue.enqueue(entries).await.unwrap();
        }
        let mut times = Vec::new();
        for _ in 0..15 {
            let started = std::time::Instant::now();
            let leases = queue.claim(&want().lanes(20).skip_scopes(["spent"])).await.unwrap();
            times.push(started.elapsed());
            assert_eq!(leases.len(), 20);
        }
        times.sort();
        medians.push(times[7]);
    }
    let (plan,): (i64,) = sqlx::query_as(
        "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'crm_sync_queue_lane_ready' \
        AND schemaname = current_schema()",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    println!("claim of 20 lanes: {:?} with 2,000 lanes, {:?} with 60,000; {plan} scans of the index", medians[0], medians[1]);
    assert!(medians[1] < medians[0] * 3 + Duration::from_millis(10), "{medians:?}");
}

async fn eventually<T>(mut work: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let mut outcome = work().await;
    for _ in 0..200 {
        if !outcome.as_ref().is_err_and(|error| error.is_retryable()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        outcome = work().await;
    }
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_slow_or_down_is_a_failure_that_may_pass() {
    let Some(mut server) = Server::postgres() else { return };
    if !server.is_own() {
        println!("skipped: the server of CRM_SYNC_POSTGRES_URL is not this test's to stop");
        return;
    }
    let pool = pool_in(&server, &server.fresh_name()).await;
    let options = PostgresQueueOptions::default().database(PostgresOptions::default().call_timeout(Duration::from_millis(600)));
    let queue = PostgresQueue::with_options(pool, Host::tokio(), options);
    queue.migrate().await.unwrap();
    queue.enqueue(vec![entry("1", "a")]).await.unwrap();
    let held = queue.claim(&want()).await.unwrap().remove(0).token;

    // Slow: a transaction that was not committed is rolled back, so nothing is in doubt.
    server.freeze(true);
    for error in [
        queue.enqueue(vec![entry("1", "b")]).await.unwrap_err(),
        queue.claim(&want()).await.unwrap_err(),
        queue.extend(std::slice::from_ref(&held), Duration::from_secs(60)).await.unwrap_err(),
        queue.settle(vec![Settle::release(held.clone())]).await.unwrap_err(),
        queue.stats().await.unwrap_err(),
        queue.now().await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.retry(), error.code()), (ErrorKind::Queue, Retry::Backoff, Some("timeout")), "{error:?}");
    }
    // Down: the same, never an empty queue.
    server.freeze(false);
    server.kill();
    for error in [queue.claim(&want()).await.unwrap_err(), queue.stats().await.unwrap_err()] {
        assert!(error.kind() == ErrorKind::Queue && error.is_retryable(), "{error:?}");
    }
    server.start();
    let repeated = eventually(async || queue.enqueue(vec![entry("1", "b")]).await).await.unwrap();
    assert!(matches!(repeated[..], [Enqueued::New(_) | Enqueued::Duplicate]), "{repeated:?}");
    assert_eq!(eventually(async || queue.stats().await).await.unwrap().entries, 2);
}
