//! The queue on a real Redis server: the common list, kills, and whatever else can happen to a server.

#![allow(clippy::disallowed_methods, reason = "real servers are waited for, and killed from a task of their own")]
#![cfg(all(unix, feature = "redis"))]
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
    Cause, Claim, Enqueued, Lane, NewEntry, ParkedFilter, ParkedPage, Queue, RedisQueue, RedisQueueOptions, Settle, Settled, Subject, Then,
};
use crm_sync::store::RedisOptions;
use redis::aio::MultiplexedConnection;
use servers::Server;

async fn connect(server: &Server) -> MultiplexedConnection {
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(20)));
    redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

async fn open(server: &Server, prefix: &str, window: Option<Duration>) -> Result<RedisQueue<MultiplexedConnection>> {
    let mut options = RedisQueueOptions::default().server(RedisOptions::default().prefix(prefix));
    if let Some(window) = window {
        options = options.window(window);
    }
    let queue = RedisQueue::open_with(connect(server).await, Host::tokio(), options).await?;
    queue.migrate().await?;
    Ok(queue)
}

fn entry(record: &str, op: &str) -> NewEntry {
    NewEntry::new(Lane::new("acme", Entity::from_static("Lead"), record), op, op.to_owned())
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

#[async_trait]
impl QueueBench for Bench {
    async fn queue(&self) -> Result<Arc<dyn Queue>> {
        let prefix = self.server.fresh_name();
        *self.newest.lock().unwrap() = prefix.clone();
        Ok(Arc::new(open(&self.server, &prefix, self.window).await?))
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn op_window(&self) -> Option<Duration> {
        self.window
    }

    async fn reopen(&self, queue: Arc<dyn Queue>) -> Result<Option<Arc<dyn Queue>>> {
        drop(queue);
        let prefix = self.newest.lock().unwrap().clone();
        Ok(Some(Arc::new(open(&self.server, &prefix, self.window).await?)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_passes_the_list() {
    let Some(server) = Server::redis() else { return };
    let report = queue::all(&Bench { server, newest: Mutex::default(), window: None }).await;
    println!("{report}");
    assert!(report.is_ok(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn op_ids_are_forgotten_after_their_window() {
    let Some(server) = Server::redis() else { return };
    let bench = Bench { server, newest: Mutex::default(), window: Some(Duration::from_secs(2)) };
    queue::op_ids_are_forgotten_after_their_window(&bench).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_work_survives_kills_of_the_server() {
    let Some(mut server) = Server::redis() else { return };
    if !server.is_own() {
        println!("skipped: the server of CRM_SYNC_REDIS_URL is not this test's to kill");
        return;
    }
    let (mut enqueued, mut finished, mut unsure) = (HashSet::new(), Vec::new(), HashSet::new());
    for round in 0..6 {
        let queue = open(&server, "killed", None).await.unwrap();
        let last = round == 5;
        let working = tokio::spawn(async move {
            let (mut enqueued, mut finished) = (HashSet::new(), Vec::new());
            for batch in 0.. {
                if !last {
                    let ops: Vec<String> = (0..20).map(|number| format!("{round}-{batch}-{number}")).collect();
                    let entries = ops.iter().enumerate().map(|(at, op)| entry(&format!("r{}", at % 7), op)).collect();
                    if queue.enqueue(entries).await.is_err() {
                        return (enqueued, finished, Vec::new());
                    }
                    enqueued.extend(ops);
                }
                let Ok(leases) = queue.claim(&Claim::new("w").lanes(5).entries(2).ttl(Duration::from_secs(1))).await else {
                    return (enqueued, finished, Vec::new());
                };
                if leases.is_empty() && last && queue.stats().await.unwrap().entries == 0 {
                    return (enqueued, finished, Vec::new());
                }
                let ops: Vec<String> = leases.iter().flat_map(|lease| lease.entries.iter().map(|entry| entry.op.clone())).collect();
                let settles = leases.iter().map(|lease| Settle::done(lease.token.clone(), lease.entries.len())).collect();
                match queue.settle(settles).await {
                    Ok(settled) => {
                        assert!(settled.iter().all(|one| *one == Settled::Applied), "{settled:?}");
                        finished.extend(ops);
                    }
                    Err(error) => {
                        assert!(error.kind() == ErrorKind::Queue && error.is_retryable() && error.may_have_applied(), "{error:?}");
                        return (enqueued, finished, ops);
                    }
                }
            }
            unreachable!()
        });
        if !last {
            tokio::time::sleep(Duration::from_millis(250 + round * 31)).await;
            server.kill();
        }
        let (put, done, open) = working.await.unwrap();
        enqueued.extend(put);
        finished.extend(done);
        unsure.extend(open);
        if !last {
            server.start();
        }
    }
    let unique: HashSet<&String> = finished.iter().collect();
    assert_eq!(unique.len(), finished.len(), "work that was acknowledged as done came again");
    let missing = enqueued.iter().filter(|op| !unique.contains(op) && !unsure.contains(*op)).count();
    println!("5 kills, {} enqueued, {} done, {} with an unknown answer, {missing} missing", enqueued.len(), unique.len(), unsure.len());
    assert!(missing == 0 && enqueued.len() > 100);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_data_is_loud_and_never_an_empty_queue() {
    let Some(mut server) = Server::redis() else { return };
    if !server.is_own() {
        println!("skipped: the server of CRM_SYNC_REDIS_URL is not this test's to wipe");
        return;
    }
    let queue = RedisQueue::open(managed(&server), Host::tokio()).await.unwrap();
    let error = queue.claim(&want()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("migrate()"), "{error}");
    queue.migrate().await.unwrap();
    queue.enqueue(vec![entry("1", "a")]).await.unwrap();
    let generation = queue.generation().await.unwrap();
    server.wipe();
    let mut outcome = queue.claim(&want()).await;
    while outcome.as_ref().is_err_and(|error| error.is_retryable()) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        outcome = queue.claim(&want()).await;
    }
    RedisQueue::open(connect(&server).await, Host::tokio()).await.unwrap().migrate().await.unwrap();
    let remembering = RedisQueueOptions::default().server(RedisOptions::default().generation(generation));
    for error in [
        outcome.unwrap_err(),
        queue.claim(&want()).await.unwrap_err(),
        queue.stats().await.unwrap_err(),
        queue.enqueue(vec![entry("1", "b")]).await.unwrap_err(),
        RedisQueue::open_with(connect(&server).await, Host::tokio(), remembering).await.unwrap_err(),
    ] {
        assert!(
            error.kind() == ErrorKind::Queue && error.retry() == Retry::Never && error.to_string().contains("lost its data"),
            "{error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_lose_writes_is_refused() {
    if std::env::var_os("CRM_SYNC_REDIS_URL").is_some() {
        println!("skipped: the server of CRM_SYNC_REDIS_URL has its own settings");
        return;
    }
    let Some(server) = Server::redis_with(&["--appendonly", "no"]) else { return };
    let error = RedisQueue::open(connect(&server).await, Host::tokio()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("accept_loss"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_another_version_are_refused_by_name() {
    let Some(server) = Server::redis() else { return };
    let prefix = server.fresh_name();
    let queue = open(&server, &prefix, None).await.unwrap();
    queue.enqueue(vec![entry("a", "1")]).await.unwrap();
    let mut connection = connect(&server).await;
    let set = |version: u32| redis::cmd("HSET").arg(format!("{{{prefix}}}:queue:meta")).arg("version").arg(version).to_owned();
    set(9).exec_async(&mut connection).await.unwrap();
    let error = open(&server, &prefix, None).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::Config && error.to_string().contains("version 9") && error.to_string().contains("knows 3"),
        "{error}"
    );
    set(3).exec_async(&mut connection).await.unwrap();
    assert_eq!(open(&server, &prefix, None).await.unwrap().claim(&want()).await.unwrap().len(), 1);
}

/// The server's clock is set back after many lanes came due: they wait again, and do not stand before those that may go.
#[tokio::test(flavor = "multi_thread")]
async fn lanes_that_are_undue_again_stop_no_others() {
    let Some(server) = Server::redis() else { return };
    let prefix = server.fresh_name();
    let queue = open(&server, &prefix, None).await.unwrap();
    let past: jiff::Timestamp = "2020-01-01T00:00:00Z".parse().unwrap();
    let early = (0..30).map(|number| entry(&format!("early {number}"), &format!("early {number}")).not_before(past));
    queue.enqueue(early.collect()).await.unwrap();
    queue.enqueue(vec![entry("late", "late")]).await.unwrap();
    // As if the heads had come due by a clock that was far ahead.
    let (mut connection, key) = (connect(&server).await, format!("{{{prefix}}}:queue:entries"));
    let rows: Vec<(String, String)> = redis::cmd("HGETALL").arg(&key).query_async(&mut connection).await.unwrap();
    let mut undue = 0;
    for (id, row) in rows {
        let moved = row.replace(&format!("\n{}\n", past.as_microsecond()), "\n4000000000000000\n");
        undue += usize::from(moved != row);
        redis::cmd("HSET").arg(&key).arg(id).arg(moved).exec_async(&mut connection).await.unwrap();
    }
    assert_eq!(undue, 30);
    let mut ops = Vec::new();
    for _ in 0..5 {
        let leases = queue.claim(&want().lanes(10)).await.unwrap();
        ops.extend(leases.iter().flat_map(|lease| lease.entries.iter().map(|entry| entry.op.clone())));
    }
    assert_eq!(ops, ["late"]);
    assert_eq!(queue.stats().await.unwrap().lanes, 31);
}

/// However many op ids come at once, those whose time is over are forgotten as fast.
#[tokio::test(flavor = "multi_thread")]
async fn remembered_op_ids_do_not_become_ever_more() {
    let Some(server) = Server::redis() else { return };
    let prefix = server.fresh_name();
    let queue = open(&server, &prefix, Some(Duration::from_millis(1))).await.unwrap();
    for round in 0..4 {
        queue.enqueue((0..3_000).map(|number| entry("1", &format!("{round} {number}"))).collect()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let key = format!("{{{prefix}}}:queue:ops");
    let known: u64 = redis::cmd("ZCARD").arg(key).query_async(&mut connect(&server).await).await.unwrap();
    assert_eq!(known, 3_000);
}

/// Somebody parks the subject's entry just while it is erased: nothing of it is left.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_during_an_erasure_is_erased() {
    let Some(server) = Server::redis() else { return };
    let queue = open(&server, &server.fresh_name(), None).await.unwrap();
    for round in 0..60 {
        // Enough dead letters of others that the erasure reads for a while.
        let entries = (0..50).map(|number| entry(&format!("other {round} {number}"), &format!("{round} {number}")));
        queue.enqueue(entries.chain([entry("subject", &format!("subject {round}"))]).collect()).await.unwrap();
        let (mut others, mut of_subject) = (Vec::new(), Vec::new());
        for lease in queue.claim(&want()).await.unwrap() {
            let subject = lease.lane().record == "subject";
            let cause = Cause::new("refused", "no");
            let settle = Settle::new(lease.token, Then::Park { entries: 1, cause, freeze: false });
            if subject { &mut of_subject } else { &mut others }.push(settle);
        }
        queue.settle(others).await.unwrap();
        let parking = {
            let queue = queue.clone();
            tokio::spawn(async move { queue.settle(of_subject).await })
        };
        queue.purge(&Subject::new("subject")).await.unwrap();
        parking.await.unwrap().unwrap();
        let left = queue.parked(&ParkedPage::new(ParkedFilter::all().record("subject"), 10)).await.unwrap();
        assert!(left.is_empty(), "round {round}: {left:?}");
    }
}

/// Claiming must not read lanes it does not hand out: those that wait, or whose scope is skipped.
#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::disallowed_methods, reason = "measures real time")]
async fn a_claim_costs_the_same_however_many_lanes_wait() {
    let Some(server) = Server::redis() else { return };
    let queue = open(&server, &server.fresh_name(), None).await.unwrap();
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
    println!("claim of 20 lanes: {:?} with 2,000 lanes, {:?} with 60,000", medians[0], medians[1]);
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
    let Some(mut server) = Server::redis() else { return };
    if !server.is_own() {
        println!("skipped: the server of CRM_SYNC_REDIS_URL is not this test's to stop");
        return;
    }
    let options = RedisQueueOptions::default().server(RedisOptions::default().call_timeout(Duration::from_millis(400)));
    let queue = RedisQueue::open_with(managed(&server), Host::tokio(), options).await.unwrap();
    queue.migrate().await.unwrap();
    queue.enqueue(vec![entry("1", "a")]).await.unwrap();
    let held = queue.claim(&want()).await.unwrap().remove(0).token;

    // Slow: whether it was done is unknown, and said.
    server.freeze(true);
    let error = queue.enqueue(vec![entry("1", "b")]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry(), error.may_have_applied()), (ErrorKind::Queue, Retry::Backoff, true), "{error:?}");
    for error in [
        queue.claim(&want()).await.unwrap_err(),
        queue.extend(std::slice::from_ref(&held), Duration::from_secs(60)).await.unwrap_err(),
        queue.settle(vec![Settle::release(held.clone())]).await.unwrap_err(),
        queue.stats().await.unwrap_err(),
        queue.now().await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Queue, Retry::Backoff), "{error:?}");
    }
    // Down: the same, never an empty queue.
    server.freeze(false);
    server.kill();
    for error in [queue.claim(&want()).await.unwrap_err(), queue.stats().await.unwrap_err()] {
        assert!(error.kind() == ErrorKind::Queue && error.is_retryable(), "{error:?}");
    }
    server.start();
    // The same op id: whatever became of the first try, it is there once.
    let repeated = eventually(async || queue.enqueue(vec![entry("1", "b")]).await).await.unwrap();
    assert!(matches!(repeated[..], [Enqueued::New(_) | Enqueued::Duplicate]), "{repeated:?}");
    assert_eq!(eventually(async || queue.stats().await).await.unwrap().entries, 2);
}
