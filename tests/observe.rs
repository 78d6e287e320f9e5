//! What metrics, logs and errors say of a sync in trouble: what happened, and neither a secret nor a personal value.

#![cfg(all(feature = "metrics", feature = "tracing"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crm_sync::adapter::CrmAdapter;
use crm_sync::layer::{Breaker, LayerExt, Observe, Retry, Spans, TracedQueue};
use crm_sync::model::Fields;
use crm_sync::observe::{Event, MetricsObserver, Observer, TracingObserver};
use crm_sync::pace::RetryPolicy;
use crm_sync::queue::{MemoryQueue, ParkedFilter, ParkedPage, Queue};
use crm_sync::salesforce::{Salesforce, SalesforceConfig};
use crm_sync::sandbox::{DuplicateRule, Fault, FaultKind, RuleAction, Sandbox};
use crm_sync::store::{MemoryStore, Recorder, Store, journal};
use crm_sync::sync::{Inbound, WorkItem, Worker};
use crm_sync::webhook::{HmacVerifier, JsonEvents, RawRequest, Secrets};
use http::{HeaderMap, Method};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span;

use support::org::{KEYED, Org};

/// Counters by their name and labels.
#[derive(Debug, Default)]
struct Numbers {
    counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    others: Mutex<Vec<String>>,
}

impl metrics::Recorder for Numbers {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::clone(self.counters.lock().unwrap().entry(named(key)).or_default()))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.others.lock().unwrap().push(named(key));
        Gauge::noop()
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.others.lock().unwrap().push(named(key));
        Histogram::noop()
    }
}

fn named(key: &Key) -> String {
    let labels: Vec<String> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
    format!("{}{{{}}}", key.name(), labels.join(","))
}

/// Lines of all levels, with every field.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut line = Line(attributes.metadata().name().to_owned());
        attributes.record(&mut line);
        self.0.lock().unwrap().push(line.0);
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        let mut line = Line(String::new());
        values.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Every event in full, errors with their causes.
#[derive(Clone, Debug, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

impl Observer for Events {
    fn on(&self, event: &Event<'_>) {
        let mut text = format!("{event:?}");
        if let Event::Call { error: Some(error), .. } | Event::Retry { error, .. } | Event::Ambiguous { error, .. } = event {
            write!(text, " {}", crm_sync::error::chain(*error)).unwrap();
        }
        self.0.lock().unwrap().push(text);
    }
}

#[tokio::test]
async fn no_secret_and_no_personal_value_is_told() {
    let (numbers, lines, events) = (Numbers::default(), Lines::default(), Events::default());
    let _counting = metrics::set_default_local_recorder(&numbers);
    let _logging = tracing::subscriber::set_default(lines.clone());
    let observer = (events.clone(), (MetricsObserver, TracingObserver));

    let org = Org::new(1).await;
    let access = org.sandbox.salesforce(Sandbox::IN_PROCESS_URL);
    let rule = DuplicateRule { action: RuleAction::Block, ..DuplicateRule::new("Same_Name", "Lead", &["LastName"]) };
    org.sandbox.set_options(|options| options.duplicate_rules = vec![rule]).unwrap();
    let config = SalesforceConfig::with_access_token(&access.instance_url, access.access_token.clone().into()).name("salesforce:test");
    let crm = Salesforce::new(config, org.sandbox.transport(), org.host.clone()).unwrap();
    let crm = crm.layer(Breaker::new(org.host.clone()).observer(observer.clone()));
    let crm = crm.layer(Retry::new(org.host.clone(), RetryPolicy::default()).observer(observer.clone()));
    let crm: Arc<dyn CrmAdapter> = Arc::new(crm.layer(Observe::new(org.host.clone(), observer.clone())).layer(Spans));
    let engine = org.engine_of(KEYED, crm, Arc::clone(&org.store));
    let queue: Arc<dyn Queue> = Arc::new(TracedQueue::new(MemoryQueue::new(org.host.clone())));
    let recorder = Recorder::new(org.host.clone(), "salesforce:test");
    let worker = Worker::builder(Arc::clone(&queue), org.host.clone())
        .engine(engine.clone())
        .observer((observer.clone(), recorder.clone()))
        .build()
        .unwrap();

    // Trouble of every kind, then people; two of one name, which the org refuses.
    for kind in [
        FaultKind::TooManyRequests { retry_after: Some("3".to_owned()) },
        FaultKind::Unavailable { html: true, retry_after: None },
        FaultKind::DropAfter,
        FaultKind::Truncate,
        FaultKind::RowLock { rows: Vec::new() },
    ] {
        org.sandbox.fault(Fault::new(kind));
    }
    for number in 0..12 {
        let last = if number == 11 { "canary-last-3".to_owned() } else { format!("canary-last-{number}") };
        let fields =
            json!({"firstName": format!("canary-first-{number}"), "lastName": last, "email": format!("canary-{number}@example.org")});
        let item = WorkItem::new(Fields::from_value(fields).unwrap());
        queue.enqueue(vec![item.entry(&engine, &format!("lead-{number}"), number.to_string()).unwrap()]).await.unwrap();
    }
    for _ in 0..2_000 {
        if worker.step().await.unwrap().is_idle() {
            if queue.stats().await.unwrap().entries == 0 {
                break;
            }
            org.host.sleep(Duration::from_secs(1)).await;
        }
    }
    assert_eq!(queue.stats().await.unwrap().parked, 1);
    // A credential that dies, last: everything waits for another one.
    org.sandbox.fault(Fault::new(FaultKind::ExpireToken));
    let fields = json!({"lastName": "canary-last-99"});
    let item = WorkItem::new(Fields::from_value(fields).unwrap());
    queue.enqueue(vec![item.entry(&engine, "lead-99", "99").unwrap()]).await.unwrap();
    worker.step().await.unwrap();

    let verifier = || HmacVerifier::timestamped("crm", Secrets::new("now", "canary-webhook-secret".to_owned()).unwrap(), "x-signature");
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(org.host.clone()));
    let inbound = Inbound::new("crm:test", verifier(), JsonEvents::default(), Arc::clone(&queue), store, org.host.clone());
    let inbound = inbound.observer(observer.clone());
    let body = br#"{"type":"contact.updated","id":"1","data":{"contactId":3,"changes":["email"],"email":"canary-mail@example.org"}}"#;
    let url = "https://hooks.example.org/crm";
    let headers = verifier().sign(url, body, org.host.now()).unwrap();
    let mut told = format!("{inbound:?} {:?}", verifier());
    for headers in [&headers, &headers, &HeaderMap::new()] {
        let request = RawRequest { method: &Method::POST, url, headers, body };
        write!(told, "{request:?} {:?}", inbound.accept(&request).await).unwrap();
    }

    // It says enough ...
    let counters: BTreeMap<String, u64> =
        numbers.counters.lock().unwrap().iter().map(|(name, count)| (name.clone(), count.load(Ordering::SeqCst))).collect();
    let count = |name: &str| counters.get(name).copied().unwrap_or_default();
    assert_eq!(count("crm_sync_total{entity=Lead,operation=create,status=success}"), 11, "{counters:?}");
    assert_eq!(count("crm_sync.webhooks{source=crm,status=accepted}"), 1, "{counters:?}");
    assert_eq!(count("crm_sync.webhooks{source=crm,status=repeated}"), 1, "{counters:?}");
    assert_eq!(count("crm_sync.webhooks{source=crm,status=refused}"), 1, "{counters:?}");
    assert!(counters.keys().any(|name| name.starts_with("crm_sync.retries{adapter=")), "{counters:?}");
    let lines = lines.0.lock().unwrap().join("\n");
    // Spans: a call with its kind of error, and what was sent is known again where it is received.
    let spans = |name: &str| lines.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect::<Vec<_>>();
    assert!(spans("crm_sync.call").iter().any(|line| line.contains("crm_sync.entity=\"Lead\"")), "{lines}");
    let mark = |line: &String| line.split("crm_sync.ops=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    let sent: Vec<String> = spans("crm_sync.send").iter().map(mark).collect();
    assert_eq!(sent.len(), 15, "twelve people, one more, a webhook twice: {sent:?}");
    let received = spans("crm_sync.receive").join("\n") + &lines;
    assert!(sent.iter().all(|mark| mark.len() == 16 && received.matches(mark.as_str()).count() > 1), "{received}");
    assert!(!spans("crm_sync.settle").is_empty());
    for part in
        ["a call failed", "a record was synced", "a record was not synced", "a webhook was refused", "error.type=\"authentication\""]
    {
        assert!(lines.contains(part), "{part}: {lines}");
    }

    // ... and not too much.
    let mut others = numbers.others.lock().unwrap().join("\n");
    others.extend(counters.into_keys());
    recorder.flush(&*org.store).await.unwrap();
    let since = org.host.now() - Duration::from_secs(24 * 3600);
    let journal = serde_json::to_string(&journal::since(&*org.store, "salesforce:test", since, 1_000).await.unwrap()).unwrap();
    let parked = queue.parked(&ParkedPage::new(ParkedFilter::all(), 10)).await.unwrap();
    let causes: Vec<String> = parked.iter().map(|parked| format!("{:?}", parked.cause)).collect();
    let events = events.0.lock().unwrap().join("\n");
    let worker = format!("{worker:?} {engine:?} {queue:?}");
    for (place, text) in [
        ("metrics", &others),
        ("logs", &lines),
        ("events and their errors", &events),
        ("webhooks", &told),
        ("the journal", &journal),
        ("causes of dead letters", &causes.join("\n")),
        ("debug", &worker),
    ] {
        for secret in ["canary", access.access_token.as_str(), access.refresh_token.as_str(), access.client_secret.as_str()] {
            let near = text.find(secret).map(|at| text.get(at.saturating_sub(200)..).unwrap_or(text).chars().take(400).collect::<String>());
            assert_eq!(near, None, "{place} tell {secret:?}");
        }
    }
}
