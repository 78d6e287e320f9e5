//! Jobs through each queue, beside a loop over the bare driver that issues the same statements; and claims from many lanes.
//!
//! A job is enqueued, claimed and settled as done; 500 at a time, each in a lane of its own. `--jobs N` (20,000 unless given)
//! and `--lanes N` (1,000,000) make it shorter, 0 leaves the part out; `--only postgres` runs one back end. Client and server share
//! the machine, and both are counted.
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

mod cost;
mod raw;
#[cfg(unix)]
#[path = "../../tests/servers/mod.rs"]
mod servers;

use std::time::Duration;

use crm_sync::host::Host;
use crm_sync::model::Entity;
use crm_sync::queue::{Claim, Lane, MemoryQueue, NewEntry, Queue, Settle, SqliteQueue, Then};
use crm_sync::store::{SqliteOptions, Synchronous};

use cost::{Meter, Took};

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

/// Jobs through a queue.
async fn through(queue: &dyn Queue, batches: usize, meter: Meter) -> Took {
    let began = meter.start();
    for batch in 0..batches {
        let entries = names(batch).iter().map(|(record, op)| entry(record, op)).collect();
        assert_eq!(queue.enqueue(entries).await.unwrap().len(), BATCH);
        let leases = queue.claim(&Claim::new("bench").lanes(BATCH).kinds(["record"])).await.unwrap();
        assert_eq!(leases.len(), BATCH);
        let done = leases.into_iter().map(|lease| Settle::done(lease.token, lease.entries.len())).collect();
        queue.settle(done).await.unwrap();
    }
    meter.stop(&began)
}

/// A few runs of each side, taken in turns; what counts is the best of them, as other work on the machine only ever adds.
struct Pairs {
    queue: Vec<Took>,
    raw: Vec<Took>,
}

const ROUNDS: usize = 5;

fn row(name: &str, batches: usize, pairs: &Pairs) {
    let jobs = (batches * BATCH) as f64;
    let seconds = |all: &[Took]| least(all.iter().map(|took| took.time.as_secs_f64()).collect());
    let micros = |all: &[Took]| {
        let known: Option<Vec<f64>> = all.iter().map(|took| took.processor.map(|time| time.as_secs_f64() * 1e6 / jobs)).collect();
        known.map(least)
    };
    let queue = seconds(&pairs.queue);
    let told = |value: Option<f64>, digits: usize| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"));
    let raw = (!pairs.raw.is_empty()).then(|| seconds(&pairs.raw));
    let (busy, raw_busy) = (micros(&pairs.queue), raw.and_then(|_| micros(&pairs.raw)));
    println!(
        "| {name} | {:.0} | {} | {} | {} | {} | {} |",
        jobs / queue,
        told(raw.map(|raw| jobs / raw), 0),
        told(raw.map(|raw| raw / queue), 2),
        told(busy, 1),
        told(raw_busy, 1),
        told(busy.zip(raw_busy).map(|(queue, raw)| raw / queue), 2),
    );
}

fn least(all: Vec<f64>) -> f64 {
    all.into_iter().fold(f64::INFINITY, f64::min)
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
    println!(
        "{} jobs in batches of {BATCH}, the best of {ROUNDS} runs; in brackets microseconds of processor time per job, client and",
        batches * BATCH
    );
    println!("server together:\n");
    println!("| back end | jobs/s | same statements | ratio | [queue] | [same] | ratio |\n|---|---|---|---|---|---|---|");
    let alone = Meter::new(None);
    if wanted("memory") {
        let mut pairs = Pairs { queue: Vec::new(), raw: Vec::new() };
        for _ in 0..ROUNDS {
            pairs.queue.push(through(&MemoryQueue::new(Host::tokio()), batches, alone).await);
        }
        row("memory", batches, &pairs);
    }
    for (name, synchronous) in [("SQLite, NORMAL", Synchronous::Normal), ("SQLite, FULL", Synchronous::Full)] {
        if !wanted("sqlite") {
            continue;
        }
        let mut pairs = Pairs { queue: Vec::new(), raw: Vec::new() };
        for round in 0..ROUNDS {
            let queue = sqlite_at(folder.path(), &format!("{name} {round}.db"), synchronous).await;
            pairs.queue.push(through(&queue, batches, alone).await);
            let path = folder.path().join(format!("raw {name} {round}.db"));
            drop(sqlite_at(folder.path(), &format!("raw {name} {round}.db"), synchronous).await);
            pairs.raw.push(raw::sqlite(&path, synchronous == Synchronous::Full, batches, alone));
        }
        row(name, batches, &pairs);
    }
    #[cfg(unix)]
    servers_too(batches).await;
}

/// The driver's own limit of half a second is too short for ten thousand entries on a busy machine.
#[cfg(all(unix, feature = "redis"))]
async fn redis_at(server: &servers::Server) -> redis::aio::MultiplexedConnection {
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(60)));
    redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

#[cfg(unix)]
#[allow(unused_variables, reason = "each server belongs to a feature")]
async fn servers_too(batches: usize) {
    #[cfg(feature = "postgres")]
    if wanted("postgres")
        && let Some(server) = servers::Server::postgres()
    {
        let meter = Meter::new(server.id());
        let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1).connect(server.url()).await.unwrap();
        let queue = crm_sync::queue::PostgresQueue::new(pool.clone(), Host::tokio());
        queue.migrate().await.unwrap();
        let mut pairs = Pairs { queue: Vec::new(), raw: Vec::new() };
        for _ in 0..ROUNDS {
            for raw in [false, true] {
                sqlx::raw_sql("TRUNCATE crm_sync_queue_op, crm_sync_queue_lane, crm_sync_queue_entry").execute(&pool).await.unwrap();
                if raw {
                    pairs.raw.push(raw::postgres(&pool, batches, meter).await);
                } else {
                    pairs.queue.push(through(&queue, batches, meter).await);
                }
            }
        }
        row("PostgreSQL, fsync", batches, &pairs);
    }
    #[cfg(feature = "redis")]
    if wanted("redis")
        && let Some(server) = servers::Server::redis_with(&["--appendonly", "yes", "--appendfsync", "everysec"])
    {
        let meter = Meter::new(server.id());
        let mut connection = redis_at(&server).await;
        let mut pairs = Pairs { queue: Vec::new(), raw: Vec::new() };
        for _ in 0..ROUNDS {
            redis::cmd("FLUSHALL").exec_async(&mut connection).await.unwrap();
            let options = crm_sync::store::RedisOptions::default().accept_loss(true);
            let options = crm_sync::queue::RedisQueueOptions::default().server(options);
            let queue = crm_sync::queue::RedisQueue::open_with(connection.clone(), Host::tokio(), options).await.unwrap();
            queue.migrate().await.unwrap();
            pairs.queue.push(through(&queue, batches, meter).await);
            redis::cmd("FLUSHALL").exec_async(&mut connection).await.unwrap();
            pairs.raw.push(raw::redis(connection.clone(), batches, meter).await);
        }
        row("Redis, everysec", batches, &pairs);
    }
    #[cfg(feature = "nats")]
    if wanted("nats")
        && let Some(server) = servers::Server::nats()
    {
        let meter = Meter::new(server.id());
        let context = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
        let mut pairs = Pairs { queue: Vec::new(), raw: Vec::new() };
        for round in 0..ROUNDS {
            let options = crm_sync::queue::NatsQueueOptions::default().name(format!("queue{round}"));
            let queue = crm_sync::queue::NatsQueue::with_options(context.clone(), Host::tokio(), options);
            queue.migrate().await.unwrap();
            pairs.queue.push(through(&queue, batches, meter).await);
            pairs.raw.push(raw::nats(context.clone(), round, batches, meter).await);
        }
        row("JetStream", batches, &pairs);
    }
}

/// The 99th percentile of 300 claims of 100 lanes each, with so many lanes waiting.
async fn claims(queue: &dyn Queue, lanes: usize, meter: Meter) -> (Duration, Option<Duration>) {
    let mut at = 0;
    while at < lanes {
        let next = (at + 10_000).min(lanes);
        let entries = (at..next).map(|number| entry(&format!("lead-{number}"), &format!("op-{number}"))).collect();
        queue.enqueue(entries).await.unwrap();
        at = next;
    }
    let mut all = Vec::new();
    for _ in 0..300 {
        let began = meter.start();
        let leases = queue.claim(&Claim::new("bench").lanes(100)).await.unwrap();
        all.push(meter.stop(&began));
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
    let late = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() * 99 / 100]
    };
    (late(all.iter().map(|took| took.time).collect()), all.iter().map(|took| took.processor).collect::<Option<Vec<_>>>().map(late))
}

async fn waiting(few: usize, most: usize) {
    println!(
        "\nClaims of 100 lanes, 99th percentile; in brackets processor time of client and server:\n\n\
         | back end | {few} lanes | {most} lanes | ratio | [{few}] | [{most}] | ratio | memory, this process | server |\n|---|---|---|---|---|---|---|---|---|"
    );
    let folder = tempfile::tempdir().unwrap();
    if wanted("memory") {
        let (small, large) = (MemoryQueue::new(Host::tokio()), MemoryQueue::new(Host::tokio()));
        told("memory", &small, &large, few, most, Meter::new(None)).await;
    }
    if wanted("sqlite") {
        let small = sqlite_at(folder.path(), "small.db", Synchronous::Normal).await;
        let large = sqlite_at(folder.path(), "large.db", Synchronous::Normal).await;
        told("SQLite, NORMAL", &small, &large, few, most, Meter::new(None)).await;
    }
    #[cfg(unix)]
    waiting_on_servers(few, most).await;
}

#[cfg(unix)]
#[allow(unused_variables, reason = "each server belongs to a feature")]
async fn waiting_on_servers(few: usize, most: usize) {
    #[cfg(feature = "postgres")]
    if wanted("postgres")
        && let Some(server) = servers::Server::postgres()
    {
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
        told("PostgreSQL, fsync", &queues[0], &queues[1], few, most, Meter::new(server.id())).await;
    }
    #[cfg(feature = "redis")]
    if wanted("redis")
        && let Some(server) = servers::Server::redis_with(&["--appendonly", "yes", "--appendfsync", "everysec"])
    {
        let connection = redis_at(&server).await;
        let mut queues = Vec::new();
        for prefix in ["few", "most"] {
            let options = crm_sync::store::RedisOptions::default().accept_loss(true).prefix(prefix);
            let options = crm_sync::queue::RedisQueueOptions::default().server(options);
            let queue = crm_sync::queue::RedisQueue::open_with(connection.clone(), Host::tokio(), options).await.unwrap();
            queue.migrate().await.unwrap();
            queues.push(queue);
        }
        told("Redis, everysec", &queues[0], &queues[1], few, most, Meter::new(server.id())).await;
    }
    #[cfg(feature = "nats")]
    if wanted("nats")
        && let Some(server) = servers::Server::nats()
    {
        let context = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
        let mut queues = Vec::new();
        for name in ["few", "most"] {
            let options = crm_sync::queue::NatsQueueOptions::default().name(name);
            let queue = crm_sync::queue::NatsQueue::with_options(context.clone(), Host::tokio(), options);
            queue.migrate().await.unwrap();
            queues.push(queue);
        }
        told("JetStream", &queues[0], &queues[1], few, most, Meter::new(server.id())).await;
    }
}

async fn told(name: &str, small: &dyn Queue, large: &dyn Queue, few: usize, most: usize, meter: Meter) {
    let before = meter.memory();
    let ((short, short_busy), (long, long_busy)) = (claims(small, few, meter).await, claims(large, most, meter).await);
    let after = meter.memory();
    let ratio = |one: Duration, other: Duration| other.as_secs_f64() / one.as_secs_f64();
    let busy = short_busy
        .zip(long_busy)
        .map_or_else(|| "- | - | -".to_owned(), |(short, long)| format!("{short:.2?} | {long:.2?} | {:.2}", ratio(short, long)));
    let grown = |before: Option<u64>, after: Option<u64>| {
        before.zip(after).map_or_else(|| "-".to_owned(), |(before, after)| format!("+{} MiB", after.saturating_sub(before) / 1024))
    };
    let (own, server) = (grown(before.0, after.0), grown(before.1, after.1));
    println!("| {name} | {short:.2?} | {long:.2?} | {:.2} | {busy} | {own} | {server} |", ratio(short, long));
}

/// Whether `--only` leaves this back end in.
fn wanted(name: &str) -> bool {
    let only = std::env::args().skip_while(|arg| arg != "--only").nth(1);
    only.is_none_or(|only| name.eq_ignore_ascii_case(&only))
}

fn number(name: &str, default: usize) -> usize {
    let mut args = std::env::args().skip_while(|arg| arg != name).skip(1);
    args.next().map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} takes a number")))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let jobs = number("--jobs", 20_000);
    if jobs > 0 {
        throughput(jobs).await;
    }
    let most = number("--lanes", 1_000_000);
    if most > 0 {
        waiting(most.min(10_000), most).await;
    }
}
