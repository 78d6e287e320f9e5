//! A small live page: health, queue, dead letters by cause with a replay button, recent changes.
//!
//! ```text
//! cargo run --example health_page -- --listen 127.0.0.1:8080
//! cargo run --example health_page -- --self-test yes      # asks its own page, replays, and ends
//! ```
//!
//! A pretend Salesforce in the same process gets a few records a second; some are refused by a duplicate rule and wait as dead
//! letters. The page has no outside script and binds to loopback: put your own login in front of it before others see it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its user")]
#![allow(clippy::disallowed_methods, reason = "a program may spawn")]

#[allow(dead_code, reason = "each example uses its own part")]
#[path = "support/args.rs"]
mod args;

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crm_sync::adapter::CrmAdapter;
use crm_sync::host::Host;
use crm_sync::http::{HttpTransport, ReqwestTransport};
use crm_sync::layer::{Breaker, LayerExt};
use crm_sync::mapping::{Mapping, MappingSet};
use crm_sync::model::{Fields, Value};
use crm_sync::queue::{MemoryQueue, ParkedFilter, Queue};
use crm_sync::salesforce::{Salesforce, SalesforceConfig, entity};
use crm_sync::sandbox::{DuplicateRule, RuleAction, Sandbox};
use crm_sync::store::{MemoryStore, Recorder, Store, journal};
use crm_sync::sync::{Engine, Health, HealthReport, Vitals, WorkItem, Worker};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value as Json, json};

type Fault = Box<dyn std::error::Error + Send + Sync>;

const CONNECTION: &str = "salesforce:example";
const MAPPING: &str = r#"{"salesforce": {"lead": {"lastName": "LastName", "score": "Marketing_Score__c",
    "company": {"field": "Company", "default": "[not provided]"}}}}"#;
const USAGE: &str = "usage: health_page [--listen ADDRESS] [--self-test yes]

  --listen     default 127.0.0.1:0, a free port
  --self-test  yes: asks its own page, replays a dead letter, and ends";

pub(crate) struct App {
    host: Host,
    store: Arc<dyn Store>,
    queue: Arc<dyn Queue>,
    recorder: Recorder,
    breaker: Breaker,
    engine: Engine,
    worker: Worker,
    health: Health,
    crm: Arc<dyn CrmAdapter>,
    sandbox: Sandbox,
}

#[tokio::main]
async fn main() -> ExitCode {
    let asked = args::Args::read(USAGE, &["--listen", "--self-test"]).and_then(|args| {
        let Some(args) = args else { return Ok(None) };
        let testing = args.choice("--self-test", &[("no", false), ("yes", true)])?;
        Ok(Some((args.get("--listen").unwrap_or("127.0.0.1:0").to_owned(), testing)))
    });
    let (listen, testing) = match args::or_end(asked, USAGE) {
        Ok(asked) => asked,
        Err(code) => return code,
    };
    match run(&listen, testing).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", crm_sync::error::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(listen: &str, testing: bool) -> Result<(), Fault> {
    let app = Arc::new(App::new().await?);
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(|error| format!("cannot listen on {listen}: {}", error.kind()))?;
    let base = format!("http://{}", listener.local_addr()?);
    println!("{base}");
    let serving = tokio::spawn(serve(listener, Arc::clone(&app)));
    if testing {
        // Nothing new comes while the numbers are compared.
        busy_start(&app).await?;
    }
    let working = tokio::spawn(work(Arc::clone(&app), testing));
    if testing {
        let outcome = self_test(&base, &app).await;
        working.abort();
        serving.abort();
        return outcome;
    }
    tokio::select! {
        outcome = working => outcome?,
        outcome = serving => outcome?,
    }
}

impl App {
    pub(crate) async fn new() -> Result<Self, Fault> {
        let host = Host::tokio();
        let sandbox = Sandbox::new(host.clone(), 1);
        let access = sandbox.salesforce(Sandbox::IN_PROCESS_URL);
        let config = SalesforceConfig::with_access_token(&access.instance_url, access.access_token.clone().into()).name(CONNECTION);
        let breaker = Breaker::new(host.clone());
        let crm: Arc<dyn CrmAdapter> = Arc::new(Salesforce::new(config, sandbox.transport(), host.clone())?.layer(breaker.clone()));
        let schema = crm.describe(&entity::LEAD).await?;
        let set = MappingSet::from_json(MAPPING, "mapping.json")?;
        let mapping = Mapping::compile(set.entity("salesforce", "lead").ok_or("the mapping has no leads")?, Some(&schema))?;
        let rule = DuplicateRule { action: RuleAction::Block, ..DuplicateRule::new("Same_Name", "Lead", &["LastName"]) };
        sandbox.set_options(|options| options.duplicate_rules = vec![rule])?;

        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(host.clone()));
        let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(host.clone()));
        let recorder = Recorder::new(host.clone(), CONNECTION);
        let builder = Engine::builder(Arc::clone(&crm), Arc::clone(&store), host.clone(), schema, mapping);
        let engine = builder.external_key("External_Id__c").build()?;
        let worker = Worker::builder(Arc::clone(&queue), host.clone()).engine(engine.clone()).observer(recorder.clone()).build()?;
        let health = Health::new(CONNECTION, Arc::clone(&store)).queue(Arc::clone(&queue));
        Ok(Self { host, store, queue, recorder, breaker, engine, worker, health, crm, sandbox })
    }

    pub(crate) async fn put(&self, number: u64) -> Result<(), Fault> {
        // Every fortieth has the name of another record; every third is an older one that changes.
        let record = if number % 3 == 2 { number / 3 } else { number };
        let name = if number % 40 == 39 { "Last 0".to_owned() } else { format!("Last {record}") };
        let record = if number % 40 == 39 { number } else { record };
        let fields: Fields = [("lastName", Value::from(name)), ("score", Value::from(number))].into_iter().collect();
        let entry = WorkItem::new(fields).entry(&self.engine, &format!("lead-{record}"), format!("change {number}"))?;
        self.queue.enqueue(vec![entry]).await?;
        Ok(())
    }

    /// Brings what waits to the CRM, and what happened into the journal.
    pub(crate) async fn drain(&self) -> Result<(), Fault> {
        while !self.worker.step().await?.is_idle() {}
        self.recorder.flush(&*self.store).await?;
        Ok(())
    }

    pub(crate) async fn page(&self) -> Result<Json, Fault> {
        let mut vitals = Vitals::default();
        vitals.breaker_open = self.breaker.is_open();
        vitals.quota = self.crm.quota().await?;
        let report = self.health.report(&vitals).await?;
        let causes = HealthReport::causes(&*self.queue).await?;
        let causes: Vec<_> =
            causes.iter().map(|cause| json!({"group": cause.group, "count": cause.count, "oldest": cause.oldest.to_string()})).collect();
        let since = self.host.now().checked_sub(Duration::from_secs(600))?;
        let mut recent = journal::since(&*self.store, CONNECTION, since, 10_000).await?;
        recent.reverse();
        recent.truncate(12);
        Ok(json!({"report": report, "causes": causes, "recent": recent}))
    }
}

/// Changes of the busy start, which gives the page something to show.
const AT_ONCE: u64 = 200;

async fn busy_start(app: &App) -> Result<(), Fault> {
    for number in 0..AT_ONCE {
        app.put(number).await?;
        if number % 20 == 19 {
            app.drain().await?;
        }
    }
    Ok(())
}

/// A few changes a second, and the worker that brings them to the CRM; the worker alone for a test.
async fn work(app: Arc<App>, testing: bool) -> Result<(), Fault> {
    if !testing {
        busy_start(&app).await?;
    }
    for number in AT_ONCE.. {
        app.host.sleep(Duration::from_millis(400)).await;
        if !testing {
            app.put(number).await?;
        }
        app.drain().await?;
    }
    Ok(())
}

async fn serve(listener: tokio::net::TcpListener, app: Arc<App>) -> Result<(), Fault> {
    loop {
        let (stream, _) = listener.accept().await?;
        let app = Arc::clone(&app);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let app = Arc::clone(&app);
                async move { Ok::<_, Infallible>(answer(request, &app).await) }
            });
            // A browser that goes away is no news.
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

pub(crate) async fn answer(request: Request<Incoming>, app: &App) -> Response<Full<Bytes>> {
    let outcome = match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => Ok(("text/html; charset=utf-8", Bytes::from_static(include_bytes!("health_page.html")))),
        (&Method::GET, "/health.json") => app.page().await.map(|page| ("application/json", page.to_string().into())),
        // JSON alone: a form of another site cannot send it.
        (&Method::POST, "/replay") if request.headers().get("content-type").is_some_and(|kind| kind == "application/json") => {
            replay(request, app).await.map(|count| ("application/json", count.to_string().into()))
        }
        _ => return status(StatusCode::NOT_FOUND),
    };
    match outcome {
        Ok((kind, body)) => {
            let mut response = Response::new(Full::new(body));
            response.headers_mut().insert("content-type", http::HeaderValue::from_static(kind));
            let policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'";
            response.headers_mut().insert("content-security-policy", http::HeaderValue::from_static(policy));
            response
        }
        Err(error) => {
            eprintln!("{}", crm_sync::error::chain(&*error));
            status(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Replays one group. Here a person has also seen to its cause: the rule is gone.
async fn replay(request: Request<Incoming>, app: &App) -> Result<u64, Fault> {
    let body = Limited::new(request.into_body(), 4_096).collect().await?.to_bytes();
    let group: String = serde_json::from_slice(&body)?;
    app.sandbox.set_options(|options| options.duplicate_rules.clear())?;
    Ok(app.worker.replay(&ParkedFilter::all().group(group)).await?)
}

async fn self_test(base: &str, app: &App) -> Result<(), Fault> {
    let transport = ReqwestTransport::loopback()?;
    let ask = async |method: Method, path: &str, body: String| -> Result<(u16, Bytes), Fault> {
        let request = Request::builder().method(method).uri(format!("{base}{path}")).header("content-type", "application/json");
        let response = transport.send(request.body(body.into())?).await?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().bytes(1 << 20).await?))
    };
    let parked = async || -> Result<u64, Fault> {
        let page: Json = serde_json::from_slice(&ask(Method::GET, "/health.json", String::new()).await?.1)?;
        Ok(page.pointer("/report/parked").and_then(Json::as_u64).unwrap_or_default())
    };
    let wait = async |done: &(dyn Fn(u64) -> bool + Sync)| -> Result<u64, Fault> {
        for _ in 0..300 {
            let now = parked().await?;
            if done(now) {
                return Ok(now);
            }
            app.host.sleep(Duration::from_millis(100)).await;
        }
        Err("the dead letters did not change in 30 s".into())
    };
    let before = wait(&|parked| parked >= 3).await?;
    let (status, html) = ask(Method::GET, "/", String::new()).await?;
    if status != 200 || !html.starts_with(b"<!doctype html>") {
        return Err("the page did not come".into());
    }
    let group = HealthReport::causes(&*app.queue).await?.first().map(|cause| cause.group.clone()).ok_or("there is no cause")?;
    let (status, count) = ask(Method::POST, "/replay", json!(group).to_string()).await?;
    if status != 200 || count != before.to_string() {
        return Err(format!("replay answered {status} {}", String::from_utf8_lossy(&count)).into());
    }
    wait(&|parked| parked == 0).await?;
    let (unknown, _) = ask(Method::GET, "/other", String::new()).await?;
    println!("self-test: {before} dead letters of {group} were replayed and written; another path answers {unknown}");
    Ok(())
}
