//! Processes that work one queue are killed in the middle of their leases (SIGKILL), on each back end that processes share:
//! what they held comes back when the leases end, nothing that was acknowledged is lost or handed out again.
//!
//! The parent starts this test binary again as a child. The child prints a line per lease it holds and per lease it has settled.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test may panic, in its helpers too")]
#![allow(clippy::disallowed_methods, reason = "processes are waited for")]

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crm_sync::host::Host;
use crm_sync::model::Entity;
use crm_sync::queue::{Claim, Lane, NewEntry, Queue, Settle, Settled, SqliteQueue};
use crm_sync::store::{SqliteOptions, Synchronous};

#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
use crate::servers::Server;

const KIND: &str = "CRM_SYNC_WORKER_KIND";
const PLACE: &str = "CRM_SYNC_WORKER_PLACE";
const LANES: usize = 60;
const ENTRIES: usize = 240;
const KILLS: usize = 6;
const TTL: Duration = Duration::from_millis(1_500);

/// The queue on a server at a URL, or in a file.
async fn open(kind: &str, place: &str) -> Arc<dyn Queue> {
    match kind {
        "sqlite" => {
            let options = SqliteOptions::default().synchronous(Synchronous::Normal);
            let queue = SqliteQueue::open_with(Path::new(place), Host::tokio(), &options).unwrap();
            queue.migrate().await.unwrap();
            Arc::new(queue)
        }
        #[cfg(feature = "postgres")]
        "postgres" => {
            let pool = sqlx::postgres::PgPoolOptions::new().max_connections(2).connect(place).await.unwrap();
            let queue = crm_sync::queue::PostgresQueue::new(pool, Host::tokio());
            queue.migrate().await.unwrap();
            Arc::new(queue)
        }
        #[cfg(feature = "redis")]
        "redis" => {
            let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(20)));
            let connection = redis::Client::open(place).unwrap().get_multiplexed_async_connection_with_config(&config).await.unwrap();
            let queue = crm_sync::queue::RedisQueue::open(connection, Host::tokio()).await.unwrap();
            queue.migrate().await.unwrap();
            Arc::new(queue)
        }
        #[cfg(feature = "nats")]
        "nats" => {
            let context = async_nats::jetstream::new(async_nats::connect(place).await.unwrap());
            let queue = crm_sync::queue::NatsQueue::new(context, Host::tokio());
            queue.migrate().await.unwrap();
            Arc::new(queue)
        }
        other => panic!("no back end {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run as a child process, and killed, by the tests below"]
async fn child() {
    let (Ok(kind), Ok(place)) = (std::env::var(KIND), std::env::var(PLACE)) else { return };
    let queue = open(&kind, &place).await;
    let mut out = std::io::stdout();
    // Straight to the pipe: a killed process leaves nothing in a buffer.
    let mut say = move |line: String| {
        out.write_all(line.as_bytes()).unwrap();
        out.flush().unwrap();
    };
    loop {
        let leases = queue.claim(&Claim::new("child").lanes(4).entries(2).ttl(TTL)).await.unwrap();
        if leases.is_empty() {
            if queue.stats().await.unwrap().entries == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for lease in leases {
            let ops: Vec<&str> = lease.entries.iter().map(|entry| entry.op.as_str()).collect();
            let line = format!("{} {}\n", lease.deliveries, ops.join(","));
            say(format!("holds {line}"));
            tokio::time::sleep(Duration::from_millis(5)).await;
            if queue.settle(vec![Settle::done(lease.token, lease.entries.len())]).await.unwrap() == [Settled::Applied] {
                say(format!("done {line}"));
            }
        }
    }
}

/// What one child has said.
#[derive(Default)]
struct Said {
    held: Vec<String>,
    done: Vec<String>,
    redelivered: usize,
}

impl Said {
    fn note(&mut self, line: &str) {
        // The harness writes its own words into the same stream.
        let (list, rest) = match (line.split_once("holds "), line.split_once("done ")) {
            (Some((_, rest)), _) => (&mut self.held, rest),
            (_, Some((_, rest))) => (&mut self.done, rest),
            _ => return,
        };
        let Some((deliveries, ops)) = rest.split_once(' ') else { return };
        self.redelivered += usize::from(line.contains("holds ") && deliveries != "1");
        list.extend(ops.split(',').map(str::to_owned));
    }
}

fn start(kind: &str, place: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["worker_kill::child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(KIND, kind)
        .env(PLACE, place)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills workers while they hold leases, then lets two work to the end.
async fn killed_workers_lose_nothing(kind: &str, place: &str) {
    let queue = open(kind, place).await;
    let lane = |number: usize| Lane::new("acme", Entity::from_static("Lead"), (number % LANES).to_string());
    queue.enqueue((0..ENTRIES).map(|number| NewEntry::new(lane(number), format!("op-{number}"), "x")).collect()).await.unwrap();
    let (mut done, mut unsure, mut redelivered): (Vec<String>, HashSet<String>, usize) = Default::default();
    for round in 0..KILLS {
        let mut child = start(kind, place);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = Said::default();
        // In the middle of a lease: it holds, and has not settled.
        while said.held.len() < 4 + round * 3 || said.held.len() == said.done.len() {
            said.note(&lines.next().unwrap_or_else(|| panic!("{kind}, round {round}: the child ended by itself")).unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            said.note(&line);
        }
        unsure.extend(said.held.iter().filter(|op| !said.done.contains(op)).cloned());
        done.extend(said.done);
        redelivered += said.redelivered;
    }
    let left = queue.stats().await.unwrap().entries;
    assert!(left as usize >= ENTRIES - done.len() - unsure.len() && left > 0, "{kind}: {left}");
    let last: Vec<Said> = [start(kind, place), start(kind, place)]
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{kind}: {}", String::from_utf8_lossy(&output.stdout));
            let mut said = Said::default();
            String::from_utf8_lossy(&output.stdout).lines().for_each(|line| said.note(line));
            said
        })
        .collect();
    for said in last {
        redelivered += said.redelivered;
        done.extend(said.done);
    }
    let mut times: HashMap<&str, usize> = HashMap::new();
    done.iter().for_each(|op| *times.entry(op).or_default() += 1);
    let repeated = times.values().filter(|times| **times > 1).count();
    let lost =
        (0..ENTRIES).map(|number| format!("op-{number}")).filter(|op| !times.contains_key(op.as_str()) && !unsure.contains(op)).count();
    println!(
        "{kind}: {KILLS} workers killed with leases, {ENTRIES} entries, {} known done, {redelivered} leases handed out again, lost {lost}, repeated {repeated}",
        times.len()
    );
    assert_eq!((lost, repeated, queue.stats().await.unwrap().entries), (0, 0, 0), "{kind}");
    assert!(redelivered >= KILLS, "{kind}: {redelivered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    killed_workers_lose_nothing("sqlite", folder.path().join("queue.db").to_str().unwrap()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    let Some(server) = Server::postgres() else { return };
    if server.is_own() {
        killed_workers_lose_nothing("postgres", server.url()).await;
    }
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread")]
async fn on_redis() {
    let Some(server) = Server::redis() else { return };
    if server.is_own() {
        killed_workers_lose_nothing("redis", server.url()).await;
    }
}

#[cfg(feature = "nats")]
#[tokio::test(flavor = "multi_thread")]
async fn on_nats() {
    let Some(server) = Server::nats() else { return };
    if server.is_own() {
        killed_workers_lose_nothing("nats", server.url()).await;
    }
}
