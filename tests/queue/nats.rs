//! The queue on a real NATS server: the common list, several handles, kills, and whatever else can happen to a server.

#![allow(clippy::disallowed_methods, reason = "real servers are waited for, and killed from a task of their own")]
#![cfg(all(unix, feature = "nats"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout, reason = "a test may panic and tells why")]

use crate::servers;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_trait::async_trait;
use crm_sync::conformance::queue::{self, QueueBench};
use crm_sync::error::{ErrorKind, Result, Retry};
use crm_sync::host::Host;
use crm_sync::model::Entity;
use crm_sync::queue::{
    Claim, Enqueued, Lane, Lease, LeaseToken, NatsQueue, NatsQueueOptions, NewEntry, Parked, ParkedFilter, ParkedPage, Queue,
    QueueCapabilities, QueueStats, Settle, Settled, Subject,
};
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use servers::Server;

async fn context(server: &Server) -> Context {
    let options = async_nats::ConnectOptions::new().retry_on_initial_connect().reconnect_delay_callback(|_| Duration::from_millis(50));
    let client = options.connect(server.url()).await.unwrap();
    jetstream::new(client)
}

fn entry(record: &str, op: &str) -> NewEntry {
    NewEntry::new(Lane::new("acme", Entity::from_static("Lead"), record), op, op.to_owned())
}

fn want() -> Claim {
    Claim::new("test").ttl(Duration::from_secs(600))
}

/// Every call goes to another handle, as if each came from another process.
#[derive(Debug)]
struct Many(Vec<NatsQueue>, AtomicUsize);

impl Many {
    fn one(&self) -> &NatsQueue {
        &self.0[self.1.fetch_add(1, Ordering::SeqCst) % self.0.len()]
    }
}

#[async_trait]
impl Queue for Many {
    async fn enqueue(&self, entries: Vec<NewEntry>) -> Result<Vec<Enqueued>> {
        self.one().enqueue(entries).await
    }

    async fn claim(&self, want: &Claim) -> Result<Vec<Lease>> {
        self.one().claim(want).await
    }

    async fn extend(&self, leases: &[LeaseToken], ttl: Duration) -> Result<Vec<LeaseToken>> {
        self.one().extend(leases, ttl).await
    }

    async fn settle(&self, outcomes: Vec<Settle>) -> Result<Vec<Settled>> {
        self.one().settle(outcomes).await
    }

    async fn parked(&self, page: &ParkedPage) -> Result<Vec<Parked>> {
        self.one().parked(page).await
    }

    async fn replay(&self, which: &ParkedFilter) -> Result<u64> {
        self.one().replay(which).await
    }

    async fn discard(&self, which: &ParkedFilter) -> Result<u64> {
        self.one().discard(which).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        self.one().stats().await
    }

    async fn purge(&self, subject: &Subject) -> Result<u64> {
        self.one().purge(subject).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.one().now().await
    }

    fn capabilities(&self) -> QueueCapabilities {
        self.one().capabilities()
    }

    fn wakeups(&self) -> Option<BoxStream<'static, ()>> {
        self.one().wakeups()
    }
}

#[derive(Debug)]
struct Bench {
    server: Server,
    newest: Mutex<String>,
    window: Option<Duration>,
    handles: usize,
    compact_after: u64,
}

impl Bench {
    fn new(server: Server) -> Self {
        Self { server, newest: Mutex::default(), window: None, handles: 1, compact_after: 10_000 }
    }

    async fn open(&self, name: &str) -> Result<Arc<dyn Queue>> {
        let mut options = NatsQueueOptions::default().name(name).compact_after(self.compact_after);
        if let Some(window) = self.window {
            options = options.window(window);
        }
        let mut handles = Vec::new();
        for _ in 0..self.handles {
            let queue = NatsQueue::with_options(context(&self.server).await, Host::tokio(), options.clone());
            queue.migrate().await?;
            handles.push(queue);
        }
        Ok(Arc::new(Many(handles, AtomicUsize::new(0))))
    }
}

#[async_trait]
impl QueueBench for Bench {
    async fn queue(&self) -> Result<Arc<dyn Queue>> {
        let name = self.server.fresh_name();
        *self.newest.lock().unwrap() = name.clone();
        self.open(&name).await
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn op_window(&self) -> Option<Duration> {
        self.window
    }

    async fn reopen(&self, queue: Arc<dyn Queue>) -> Result<Option<Arc<dyn Queue>>> {
        drop(queue);
        let name = self.newest.lock().unwrap().clone();
        Ok(Some(self.open(&name).await?))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_passes_the_list() {
    let Some(server) = Server::nats() else { return };
    let report = queue::all(&Bench::new(server)).await;
    println!("{report}");
    assert!(report.is_ok(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_handles_with_a_snapshot_every_few_calls_pass_the_list() {
    let Some(server) = Server::nats() else { return };
    let report = queue::all(&Bench { handles: 3, compact_after: 40, ..Bench::new(server) }).await;
    println!("{report}");
    assert!(report.is_ok(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn op_ids_are_forgotten_after_their_window() {
    let Some(server) = Server::nats() else { return };
    let bench = Bench { window: Some(Duration::from_secs(2)), ..Bench::new(server) };
    queue::op_ids_are_forgotten_after_their_window(&bench).await.unwrap();
}

async fn eventually<T>(mut work: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let mut outcome = work().await;
    for _ in 0..200 {
        match &outcome {
            Err(error) if error.is_retryable() => tokio::time::sleep(Duration::from_millis(100)).await,
            _ => break,
        }
        outcome = work().await;
    }
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_work_survives_kills_of_the_server() {
    let Some(mut server) = Server::nats() else { return };
    if !server.is_own() {
        println!("skipped: the server of CRM_SYNC_NATS_URL is not this test's to kill");
        return;
    }
    let options = || NatsQueueOptions::default().call_timeout(Duration::from_secs(3)).compact_after(40);
    let (mut enqueued, mut finished, mut unsure) = (HashSet::new(), Vec::new(), HashSet::new());
    for round in 0..6 {
        let queue = NatsQueue::with_options(context(&server).await, Host::tokio(), options());
        eventually(async || queue.migrate().await).await.unwrap();
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
                        assert!(error.kind() == ErrorKind::Queue && error.is_retryable(), "{error:?}");
                        return (enqueued, finished, ops);
                    }
                }
            }
            unreachable!()
        });
        if !last {
            tokio::time::sleep(Duration::from_millis(300 + round * 31)).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_data_is_loud_and_never_an_empty_queue() {
    let Some(mut server) = Server::nats() else { return };
    if !server.is_own() {
        println!("skipped: the server of CRM_SYNC_NATS_URL is not this test's to wipe");
        return;
    }
    let open = async |server: &Server, options: NatsQueueOptions| NatsQueue::with_options(context(server).await, Host::tokio(), options);
    let queue = open(&server, NatsQueueOptions::default()).await;
    let error = queue.claim(&want()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("migrate()"), "{error}");
    queue.migrate().await.unwrap();
    queue.enqueue(vec![entry("1", "a")]).await.unwrap();
    let generation = queue.generation().await.unwrap();
    server.wipe();
    let gone = eventually(async || queue.claim(&want()).await).await.unwrap_err();
    let gone_too = eventually(async || queue.enqueue(vec![entry("1", "b")]).await).await.unwrap_err();
    // Somebody else makes the stream anew and uses it; the old handle still does not take it for its own.
    let other = open(&server, NatsQueueOptions::default()).await;
    other.migrate().await.unwrap();
    for number in 0..5 {
        other.enqueue(vec![entry("2", &number.to_string())]).await.unwrap();
    }
    let after_restart = open(&server, NatsQueueOptions::default().generation(generation)).await;
    for error in [
        gone,
        gone_too,
        queue.claim(&want()).await.unwrap_err(),
        queue.stats().await.unwrap_err(),
        queue.enqueue(vec![entry("1", "c")]).await.unwrap_err(),
        queue.migrate().await.unwrap_err(),
        after_restart.claim(&want()).await.unwrap_err(),
    ] {
        assert!(
            error.kind() == ErrorKind::Queue && error.retry() == Retry::Never && error.to_string().contains("lost its data"),
            "{error:?}"
        );
    }
    assert_eq!(other.stats().await.unwrap().entries, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_others_and_of_other_versions_are_refused_by_name() {
    let Some(server) = Server::nats() else { return };
    let jetstream = context(&server).await;
    for (description, expected) in [(None, "not made by this library"), (Some("crm-sync queue, version 9"), "version 9")] {
        let name = server.fresh_name();
        let config = jetstream::stream::Config {
            name: name.clone(),
            subjects: vec![format!("{name}.generation.log")],
            description: description.map(str::to_owned),
            ..Default::default()
        };
        jetstream.create_stream(config).await.unwrap();
        let queue = NatsQueue::with_options(jetstream.clone(), Host::tokio(), NatsQueueOptions::default().name(name));
        let error = queue.migrate().await.unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_batches_are_parted_and_erased_ones_leave_the_log() {
    let Some(server) = Server::nats() else { return };
    let jetstream = context(&server).await;
    let name = server.fresh_name();
    let queue = NatsQueue::with_options(jetstream.clone(), Host::tokio(), NatsQueueOptions::default().name(&name));
    queue.migrate().await.unwrap();
    let big = |record: &str, op: String| NewEntry::new(Lane::new("acme", Entity::from_static("Lead"), record), op, vec![7; 200_000]);
    let entries: Vec<NewEntry> = (0..20).map(|number| big(&number.to_string(), number.to_string())).collect();
    let outcomes = queue.enqueue(entries).await.unwrap();
    assert!(outcomes.len() == 20 && outcomes.iter().all(|one| matches!(one, Enqueued::New(_))), "{outcomes:?}");
    let leases = queue.claim(&want()).await.unwrap();
    assert!(leases.len() == 20 && leases.iter().all(|lease| lease.entries[0].payload.len() == 200_000));
    assert_eq!(queue.purge(&Subject::new("3")).await.unwrap(), 1);
    let log = jetstream.get_stream(&name).await.unwrap();
    assert_eq!(log.cached_info().state.messages, 0, "what was erased is still in the log");
    // A handle that begins now knows the rest from the snapshot.
    let other = NatsQueue::with_options(jetstream, Host::tokio(), NatsQueueOptions::default().name(&name));
    let stats = other.stats().await.unwrap();
    assert_eq!((stats.entries, stats.leased), (19, 19));
    assert_eq!(other.settle(vec![Settle::done(leases[0].token.clone(), 1)]).await.unwrap(), [Settled::Applied]);
    assert_eq!(queue.settle(vec![Settle::done(leases[0].token.clone(), 1)]).await.unwrap(), [Settled::LeaseLost]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_slow_or_down_is_a_failure_that_may_pass() {
    let Some(mut server) = Server::nats() else { return };
    if !server.is_own() {
        println!("skipped: the server of CRM_SYNC_NATS_URL is not this test's to stop");
        return;
    }
    let options = NatsQueueOptions::default().call_timeout(Duration::from_millis(400));
    let queue = NatsQueue::with_options(context(&server).await, Host::tokio(), options);
    queue.migrate().await.unwrap();
    queue.enqueue(vec![entry("1", "a")]).await.unwrap();
    server.freeze(true);
    let error = queue.enqueue(vec![entry("1", "b")]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry(), error.may_have_applied()), (ErrorKind::Queue, Retry::Backoff, true), "{error:?}");
    server.freeze(false);
    server.kill();
    let error = queue.claim(&want()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Queue && error.is_retryable(), "{error:?}");
    server.start();
    let repeated = eventually(async || queue.enqueue(vec![entry("1", "b")]).await).await.unwrap();
    assert!(matches!(repeated[..], [Enqueued::New(_) | Enqueued::Duplicate]), "{repeated:?}");
    assert_eq!(queue.claim(&want()).await.unwrap()[0].entries.len(), 2);
}
