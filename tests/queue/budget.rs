//! One budget for all processes: no window over the limit, hardly any of it unused, the urgent first, a pause for everybody.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic"
)]
#![allow(clippy::disallowed_methods, reason = "real processes and real servers are waited for")]

#[cfg(all(unix, any(feature = "postgres", feature = "redis")))]
use crate::servers;
use crate::support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use crm_sync::adapter::CrmAdapter;
use crm_sync::error::ErrorKind;
use crm_sync::host::Host;
use crm_sync::http::{Body, HttpError, HttpTransport, ReqwestTransport};
use crm_sync::layer::{LayerExt, SharedBudget};
use crm_sync::pace::Window;
use crm_sync::query::Query;
use crm_sync::queue::Priority;
use crm_sync::salesforce::{Salesforce, SalesforceConfig, entity};
use crm_sync::sandbox::{Fault, FaultKind, Sandbox};
use crm_sync::store::{Budget, MemoryStore, SqliteOptions, SqliteStore, Store, Synchronous};
use futures_util::future::{join, join_all};
use jiff::Timestamp;

use support::virtual_time::VirtualTime;

/// A network: a little late on the way there, slow on the way back.
#[derive(Debug)]
struct Network {
    inner: Arc<dyn HttpTransport>,
    host: Host,
}

#[async_trait]
impl HttpTransport for Network {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
        self.host.sleep(Duration::from_secs_f64(self.host.random() * 0.015)).await;
        let answer = self.inner.send(request).await;
        self.host.sleep(Duration::from_secs_f64(0.03 + self.host.random() * 0.2)).await;
        answer
    }
}

fn client(sandbox: &Sandbox, host: &Host) -> Salesforce {
    let access = sandbox.salesforce(Sandbox::IN_PROCESS_URL);
    let config = SalesforceConfig::with_access_token(&access.instance_url, access.access_token.into());
    let network = Network { inner: sandbox.transport(), host: host.clone() };
    Salesforce::new(config, Arc::new(network), host.clone()).unwrap()
}

fn question() -> Query {
    Query::new(entity::LEAD).select(["Id"]).limit(1)
}

/// Calls until `end`; when each was answered.
async fn calls(crm: &dyn CrmAdapter, time: &VirtualTime, end: Duration) {
    while time.elapsed() < end {
        crm.search(&question()).await.unwrap();
    }
}

/// The most requests in any window, and how many there were from `begin` to `end` after the first.
fn counted(at: &[Timestamp], per: Duration, begin: Duration, end: Duration) -> (usize, usize) {
    let mut at = at.to_vec();
    at.sort();
    let mut most = 0;
    let mut oldest = 0;
    for (number, now) in at.iter().enumerate() {
        while now.duration_since(at[oldest]).unsigned_abs() >= per {
            oldest += 1;
        }
        most = most.max(number + 1 - oldest);
    }
    let age = |at: &&Timestamp, first: Timestamp| at.duration_since(first).unsigned_abs();
    let first = at[0];
    (most, at.iter().filter(|at| age(at, first) >= begin && age(at, first) < end).count())
}

#[test]
fn two_processes_keep_the_limit_and_use_it() {
    for (limit, callers) in [(10, 8), (100, 40), (150, 60)] {
        let time = VirtualTime::default();
        let host = time.host(limit);
        let sandbox = Sandbox::new(host.clone(), 1);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(host.clone()));
        let per = Duration::from_secs(1);
        let process = || {
            let window = Window::new(u32::try_from(limit).unwrap(), per).burst(1);
            client(&sandbox, &host).layer(SharedBudget::new(host.clone(), Budget::new(Arc::clone(&store), "sf", [window])))
        };
        let (one, two) = (process(), process());
        let end = Duration::from_secs(30);
        time.run(join(join_all((0..callers).map(|_| calls(&one, &time, end))), join_all((0..callers).map(|_| calls(&two, &time, end)))));
        let at: Vec<Timestamp> = sandbox.requests().iter().map(|request| request.at).collect();
        let (most, used) = counted(&at, per, Duration::from_secs(2), Duration::from_secs(28));
        println!("limit {limit}: at most {most} in a window, {:.1} % used", used as f64 / (26 * limit) as f64 * 100.0);
        assert!(most <= usize::try_from(limit).unwrap(), "{most} in a window of {limit}");
        assert!(used as f64 >= 0.95 * (26 * limit) as f64, "{used} of {} used", 26 * limit);
    }
}

#[test]
fn an_urgent_call_waits_for_what_is_borrowed_and_no_longer() {
    let time = VirtualTime::default();
    let host = time.host(7);
    let sandbox = Sandbox::new(host.clone(), 1);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(host.clone()));
    let line = || {
        SharedBudget::new(host.clone(), Budget::new(Arc::clone(&store), "sf", [Window::per_second(20).burst(1)]))
            .block(5, Duration::from_secs(1))
    };
    let (here, there) = (line(), line());
    let backfills = [&here, &there].map(|line| client(&sandbox, &host).layer(line.clone().priority(Priority::Backfill)));
    let urgent = client(&sandbox, &host).layer(here.clone().priority(Priority::Interactive));
    let end = Duration::from_secs(20);
    let clicks = async {
        let mut longest = Duration::ZERO;
        while time.elapsed() < end {
            host.sleep(Duration::from_millis(700)).await;
            let began = time.elapsed();
            urgent.search(&question()).await.unwrap();
            longest = longest.max(time.elapsed() - began);
        }
        longest
    };
    let busy = join_all(backfills.iter().flat_map(|crm| (0..40).map(|_| calls(crm, &time, end))));
    let (longest, _) = time.run(join(clicks, busy));
    // Two blocks of five at 20 a second, and the network; the backfills wait for four seconds each.
    assert!(longest < Duration::from_millis(900), "{longest:?}");
}

#[test]
fn what_the_crm_asks_of_one_process_all_of_them_keep() {
    let time = VirtualTime::default();
    let host = time.host(7);
    let sandbox = Sandbox::new(host.clone(), 1);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(host.clone()));
    let process = || {
        let budget = Budget::new(Arc::clone(&store), "sf", [Window::per_second(20).burst(1)]);
        client(&sandbox, &host).layer(SharedBudget::new(host.clone(), budget).block(2, Duration::from_secs(1)))
    };
    sandbox.fault(Fault::new(FaultKind::TooManyRequests { retry_after: Some("9".to_owned()) }).skip(50).times(1));
    let (one, two) = (process(), process());
    let busy = async |crm: &dyn CrmAdapter| {
        while time.elapsed() < Duration::from_secs(20) {
            if let Err(error) = crm.search(&question()).await {
                assert_eq!(error.kind(), ErrorKind::RateLimited);
            }
        }
    };
    time.run(join(join_all((0..4).map(|_| busy(&one))), join_all((0..4).map(|_| busy(&two)))));
    let requests = sandbox.requests();
    let told = requests.iter().find(|request| request.status == 429).unwrap().at;
    let after = |request: &&crm_sync::sandbox::RequestRecord| request.at.duration_since(told).as_secs_f64();
    let early = requests.iter().filter(|request| (0.6..8.9).contains(&after(request))).count();
    assert_eq!(early, 0, "calls in the pause");
    assert!(requests.iter().any(|request| after(&request) > 9.0));
}

/// Several borrowers at once, as fast as they can; every call has a time of its own.
async fn borrow_together(store: Arc<dyn Store>, name: &str) {
    let began = Instant::now();
    let borrower = async || {
        let budget = Budget::new(Arc::clone(&store), "shared", [Window::per_second(100).burst(1)]).slack(0.0);
        let mut times = Vec::new();
        while times.len() < 30 {
            let grant = budget.borrow(Priority::Incremental, 3, Duration::from_secs(1), Duration::from_secs(30)).await.unwrap();
            let now = began.elapsed();
            times.extend(grant.waits.iter().map(|wait| now + *wait));
        }
        times
    };
    let mut times: Vec<Duration> = join_all((0..4).map(|_| borrower())).await.into_iter().flatten().collect();
    times.sort();
    // Each answer comes a little after the store's time was read.
    let late = Duration::from_millis(250);
    for pair in times.windows(102) {
        assert!(pair[101] + late >= pair[0] + Duration::from_secs(1), "{name}: 102 calls within {:?}", pair[101] - pair[0]);
    }
    assert_eq!(times.len(), 120, "{name}");
}

#[tokio::test]
async fn memory_and_sqlite_lend_each_call_once() {
    borrow_together(Arc::new(MemoryStore::new(Host::tokio())), "memory").await;
    let folder = tempfile::tempdir().unwrap();
    borrow_together(Arc::new(sqlite(&folder.path().join("budget.db")).await), "sqlite").await;
}

#[cfg(all(unix, feature = "postgres"))]
#[tokio::test]
async fn postgres_lends_each_call_once() {
    let Some(server) = servers::Server::postgres() else { return };
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(8).connect(server.url()).await.unwrap();
    let store = crm_sync::store::PostgresStore::new(pool, Host::tokio());
    store.migrate().await.unwrap();
    borrow_together(Arc::new(store), "postgres").await;
}

#[cfg(all(unix, feature = "redis"))]
#[tokio::test]
async fn redis_lends_each_call_once() {
    let Some(server) = servers::Server::redis() else { return };
    let connection = redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let options = crm_sync::store::RedisOptions::default().prefix(server.fresh_name());
    let store = crm_sync::store::RedisStore::open_with(connection, Host::tokio(), options).await.unwrap();
    store.migrate().await.unwrap();
    borrow_together(Arc::new(store), "redis").await;
}

async fn sqlite(path: &Path) -> SqliteStore {
    let options = SqliteOptions::default().synchronous(Synchronous::Normal);
    let store = SqliteStore::open_with(path, Host::tokio(), &options).unwrap();
    store.migrate().await.unwrap();
    store
}

const URL: &str = "CRM_SYNC_BUDGET_URL";
const TOKEN: &str = "CRM_SYNC_BUDGET_TOKEN";
const FILE: &str = "CRM_SYNC_BUDGET_FILE";
const LIMIT: u32 = 80;
/// A window so long that a machine busy with other things is late by a small part of it only.
const PER: Duration = Duration::from_secs(12);
/// The part of it by which a call may be late: 240 ms. It is not used.
const SLACK: f64 = 0.02;
const RUN: Duration = Duration::from_secs(32);

#[tokio::test]
#[ignore = "run as a child process, twice, by two_real_processes_keep_the_limit"]
async fn child() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = sqlite(Path::new(&std::env::var_os(FILE).unwrap())).await;
    let host = Host::tokio();
    let budget = Budget::new(Arc::new(store), "sf", [Window::new(LIMIT, PER).burst(1)]).slack(SLACK);
    let config = SalesforceConfig::with_access_token(&url, std::env::var(TOKEN).unwrap().into());
    let crm = Salesforce::new(config, Arc::new(ReqwestTransport::loopback().unwrap()), host.clone()).unwrap();
    let crm = crm.layer(SharedBudget::new(host, budget));
    let began = Instant::now();
    let busy = async || {
        while began.elapsed() < RUN {
            crm.search(&question()).await.unwrap();
        }
    };
    join_all((0..12).map(|_| busy())).await;
    println!("done");
}

/// Real processes, a real clock, a socket between: the sandbox counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_real_processes_keep_the_limit() {
    let sandbox = Sandbox::new(Host::tokio(), 1);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("budget.db");
    sqlite(&file).await;
    let access = sandbox.salesforce(&url);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn({
        let sandbox = sandbox.clone();
        async move { sandbox.serve(listener, stopped).await }
    });
    let children: Vec<_> = (0..2)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["budget::child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
                .env(URL, &access.instance_url)
                .env(TOKEN, &access.access_token)
                .env(FILE, &file)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let done = tokio::task::spawn_blocking(move || {
        children.into_iter().all(|mut child| {
            let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
            let said = lines.filter(|line| line.contains("done")).count();
            child.wait().unwrap().success() && said == 1
        })
    });
    assert!(done.await.unwrap(), "a child failed");
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
    let at: Vec<Timestamp> = sandbox.requests().iter().map(|request| request.at).collect();
    let (most, used) = counted(&at, PER, PER / 2, PER * 5 / 2);
    let part = used as f64 / f64::from(2 * LIMIT);
    println!("two processes, {LIMIT} in {PER:?}: at most {most} in a window, {:.1} % used", part * 100.0);
    assert!(most <= LIMIT as usize, "{most} in a window of {LIMIT}");
    assert!(part >= 0.95, "{:.1} % used", part * 100.0);
}
