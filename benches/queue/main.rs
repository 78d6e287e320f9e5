//! Jobs through each queue, beside a loop over the bare driver that issues the same statements; and claims from many lanes.
//!
//! A job is enqueued, claimed and settled as done; 500 at a time, each in a lane of its own. `--jobs N` (20,000 unless given)
//! and `--lanes N` (1,000,000) make it shorter; client and server share the machine, and both are counted.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench is a program of its own"
)]
#![allow(clippy::disallowed_methods, reason = "it measures")]

mod raw;
#[cfg(unix)]
#[path = "../../tests/servers/mod.rs"]
mod servers;

use std::time::{Duration, Instant};

use crm_sync::host::Host;
use crm_sync::model::Entity;
use crm_sync::queue::{Claim, Lane, MemoryQueue, NewEntry, Queue, Settle, SqliteQueue, Then};
use crm_sync::store::{SqliteOptions, Synchronous};

pub(crate) const BATCH: usize = 500;
const PAYLOAD: &str = r#"{"fields": {"firstName": "Ada", "lastName": "Lovelace", "email": "ada@example.com", "score": 77}}"#;

pub(crate) fn payload() -> &'static str {
    PAYLOAD
}

/// Names of the jobs of one batch: record and op id.
pub(crate) fn names(batch: usize) -> Vec<(String, String)> {
    (0..BATCH).map(|at| (format!("lead-{}", batch * BATCH + at), format!("op-{}", batch * BATCH + at))).collect()
}

fn entry(record: &str, op: &str) -> NewEntry {
    NewEntry::new(Lane::new("acme", Entity::from_static("Lead"), record), op, PAYLOAD).kind("record")
}

/// Jobs a second through a queue.
async fn through(queue: &dyn Queue, batches: usize) -> f64 {
    let began = Instant::now();
    for batch in 0..batches {
        let entries = names(batch).iter().map(|(record, op)| entry(record, op)).collect();
        assert_eq!(queue.enqueue(entries).await.unwrap().len(), BATCH);
        let leases = queue.claim(&Claim::new("bench").lanes(BATCH).kinds(["record"])).await.unwrap();
        assert_eq!(leases.len(), BATCH);
        let done = leases.into_iter().map(|lease| Settle::done(lease.token, lease.entries.len())).collect();
        queue.settle(done).await.unwrap();
    }
    (batches * BATCH) as f64 / began.elapsed().as_secs_f64()
}

fn row(name: &str, queue: f64, raw: Option<f64>) {
    match raw {
        Some(raw) => println!("| {name} | {queue:.0} | {raw:.0} | {:.2} |", queue / raw),
        None => println!("| {name} | {queue:.0} | - | - |"),
    }
}

async fn sqlite_at(folder: &std::path::Path, name: &str, synchronous: Synchronous) -> SqliteQueue {
    let options = SqliteOptions::default().synchronous(synchronous);
    let queue = SqliteQueue::open_with(folder.join(name), Host::tokio(), &options).unwrap();
    queue.migrate().await.unwrap();
    queue
}

async fn throughput(jobs: usize) {
    let batches = (jobs / BATCH).max(1);
    let folder = tempfile::tempdir().unwrap();
    println!("Jobs a second in batches of {BATCH}, {} jobs:\n", batches * BATCH);
    println!("| back end | queue | same statements | ratio |\n|---|---|---|---|");
    row("memory", through(&MemoryQueue::new(Host::tokio()), batches).await, None);
    for (name, synchronous) in [("SQLite, NORMAL", Synchronous::Normal), ("SQLite, FULL", Synchronous::Full)] {
        let queue = sqlite_at(folder.path(), &format!("{name}.db"), synchronous).await;
        let measured = through(&queue, batches).await;
        let path = folder.path().join(format!("raw {name}.db"));
        drop(sqlite_at(folder.path(), &format!("raw {name}.db"), synchronous).await);
        row(name, measured, Some(raw::sqlite(&path, synchronous == Synchronous::Full, batches)));
    }
    #[cfg(unix)]
    servers_too(batches).await;
}

#[cfg(unix)]
#[allow(unused_variables, reason = "each server belongs to a feature")]
async fn servers_too(batches: usize) {
    #[cfg(feature = "postgres")]
    if let Some(server) = servers::Server::postgres() {
        let pool = sqlx::postgres::PgPoolOptions::new().max_connections(2).connect(server.url()).await.unwrap();
        let queue = crm_sync::queue::PostgresQueue::new(pool.clone(), Host::tokio());
        queue.migrate().await.unwrap();
        let measured = through(&queue, batches).await;
        sqlx::query("TRUNCATE crm_sync_queue_op").execute(&pool).await.unwrap();
        row("PostgreSQL, fsync", measured, Some(raw::postgres(&pool, batches).await));
    }
    #[cfg(feature = "redis")]
    if let Some(server) = servers::Server::redis_with(&["--appendonly", "yes", "--appendfsync", "everysec"]) {
        let connection = redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let options = crm_sync::store::RedisOptions::default().accept_loss(true);
        let options = crm_sync::queue::RedisQueueOptions::default().server(options);
        let queue = crm_sync::queue::RedisQueue::open_with(connection.clone(), Host::tokio(), options).await.unwrap();
        queue.migrate().await.unwrap();
        let measured = through(&queue, batches).await;
        row("Redis, everysec", measured, Some(raw::redis(connection, batches).await));
    }
    #[cfg(feature = "nats")]
    if let Some(server) = servers::Server::nats() {
        let context = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
        let queue = crm_sync::queue::NatsQueue::new(context.clone(), Host::tokio());
        queue.migrate().await.unwrap();
        let measured = through(&queue, batches).await;
        row("JetStream", measured, Some(raw::nats(context, batches).await));
    }
}

/// The 99th percentile of 300 claims of 100 lanes each, with so many lanes waiting.
async fn claims(queue: &dyn Queue, lanes: usize) -> Duration {
    let mut at = 0;
    while at < lanes {
        let next = (at + 10_000).min(lanes);
        let entries = (at..next).map(|number| entry(&format!("lead-{number}"), &format!("op-{number}"))).collect();
        queue.enqueue(entries).await.unwrap();
        at = next;
    }
    let mut took = Vec::new();
    for _ in 0..300 {
        let began = Instant::now();
        let leases = queue.claim(&Claim::new("bench").lanes(100)).await.unwrap();
        took.push(began.elapsed());
        assert_eq!(leases.len(), 100);
        // A third stays leased for a while, a third is done, a third waits: as many come as go.
        let mut settles = Vec::new();
        for (number, lease) in leases.into_iter().enumerate() {
            match number % 3 {
                0 => settles.push(Settle::done(lease.token, 1)),
                1 => settles.push(Settle::new(lease.token, Then::Defer { wait: Duration::from_secs(3_600) })),
                _ => {}
            }
        }
        queue.settle(settles).await.unwrap();
        queue.enqueue((at..at + 100).map(|number| entry(&format!("lead-{number}"), &format!("op-{number}"))).collect()).await.unwrap();
        at += 100;
    }
    took.sort();
    took[took.len() * 99 / 100]
}

async fn waiting(few: usize, most: usize) {
    println!(
        "\nClaims of 100 lanes, 99th percentile:\n\n| back end | {few} lanes | {most} lanes | ratio | peak memory |\n|---|---|---|---|---|"
    );
    let folder = tempfile::tempdir().unwrap();
    {
        let (small, large) = (MemoryQueue::new(Host::tokio()), MemoryQueue::new(Host::tokio()));
        told("memory", &small, &large, few, most).await;
    }
    let small = sqlite_at(folder.path(), "small.db", Synchronous::Normal).await;
    let large = sqlite_at(folder.path(), "large.db", Synchronous::Normal).await;
    told("SQLite, NORMAL", &small, &large, few, most).await;
    #[cfg(unix)]
    waiting_on_servers(few, most).await;
}

#[cfg(unix)]
#[allow(unused_variables, reason = "each server belongs to a feature")]
async fn waiting_on_servers(few: usize, most: usize) {
    #[cfg(feature = "postgres")]
    if let Some(server) = servers::Server::postgres() {
        let mut queues = Vec::new();
        for schema in ["few", "most"] {
            let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1).connect(server.url()).await.unwrap();
            sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}; SET search_path TO {schema}")))
                .execute(&pool)
                .await
                .unwrap();
            let queue = crm_sync::queue::PostgresQueue::new(pool, Host::tokio());
            queue.migrate().await.unwrap();
            queues.push(queue);
        }
        told("PostgreSQL, fsync", &queues[0], &queues[1], few, most).await;
    }
    #[cfg(feature = "redis")]
    if let Some(server) = servers::Server::redis_with(&["--appendonly", "yes", "--appendfsync", "everysec"]) {
        let connection = redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let mut queues = Vec::new();
        for prefix in ["few", "most"] {
            let options = crm_sync::store::RedisOptions::default().accept_loss(true).prefix(prefix);
            let options = crm_sync::queue::RedisQueueOptions::default().server(options);
            let queue = crm_sync::queue::RedisQueue::open_with(connection.clone(), Host::tokio(), options).await.unwrap();
            queue.migrate().await.unwrap();
            queues.push(queue);
        }
        told("Redis, everysec", &queues[0], &queues[1], few, most).await;
    }
    #[cfg(feature = "nats")]
    if let Some(server) = servers::Server::nats() {
        let context = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
        let mut queues = Vec::new();
        for name in ["few", "most"] {
            let options = crm_sync::queue::NatsQueueOptions::default().name(name);
            let queue = crm_sync::queue::NatsQueue::with_options(context.clone(), Host::tokio(), options);
            queue.migrate().await.unwrap();
            queues.push(queue);
        }
        told("JetStream", &queues[0], &queues[1], few, most).await;
    }
}

async fn told(name: &str, small: &dyn Queue, large: &dyn Queue, few: usize, most: usize) {
    let (short, long) = (claims(small, few).await, claims(large, most).await);
    let ratio = long.as_secs_f64() / short.as_secs_f64();
    println!("| {name} | {short:.2?} | {long:.2?} | {ratio:.2} | {} |", peak_memory());
}

/// The most memory this process has used so far, where the system tells; a server's is not in it.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")).map_or_else(|| "-".to_owned(), |peak| peak.trim().to_owned())
}

fn number(name: &str, default: usize) -> usize {
    let mut args = std::env::args().skip_while(|arg| arg != name).skip(1);
    args.next().map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} takes a number")))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    throughput(number("--jobs", 20_000)).await;
    let most = number("--lanes", 1_000_000);
    waiting(most.min(10_000), most).await;
}
