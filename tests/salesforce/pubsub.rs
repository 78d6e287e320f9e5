//! The Pub/Sub client against the pretend org: the same changes as by the Streaming API, whatever cuts the stream.

#![cfg(all(feature = "pubsub", feature = "sandbox-pubsub", feature = "rustls"))]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::bayeux;
use crate::mirror;
use crate::raw_http;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bayeux::script;
use crm_sync::error::ErrorKind;
use crm_sync::host::{Clock, Host, Sleep, SystemClock};
use crm_sync::model::{ChangeKind, Fields};
use crm_sync::observe::{Event, Observer};
use crm_sync::pace::RetryPolicy;
use crm_sync::salesforce::stream::pubsub::{ManagedSubscription, PubSub, PubSubStream, endpoint, endpoint_with_ca};
use crm_sync::salesforce::stream::{
    Replay, ReplayFallback, ReplayId, RereadReason, StreamEvent, StreamLog, StreamOptions, StreamState, Subscription,
};
use crm_sync::salesforce::{Salesforce, SalesforceConfig};
use crm_sync::sandbox::Sandbox;
use crm_sync::store::{Batch, MemoryStore};
use crm_sync::sync::Reader;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use mirror::{LEAD, Mirror};
use raw_http::Org;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint, Uri};

const TOPIC: &str = "/data/LeadChangeEvent";

/// Hands out connections that the sandbox serves over plain pipes.
#[derive(Clone)]
struct Pipes(Sandbox);

impl Service<Uri> for Pipes {
    type Response = TokioIo<TcpStream>;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Result<TokioIo<TcpStream>, std::io::Error>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, _: Uri) -> Self::Future {
        let sandbox = self.0.clone();
        Box::pin(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let near = TcpStream::connect(listener.local_addr()?).await?;
            let (far, _) = listener.accept().await?;
            #[allow(clippy::disallowed_methods, reason = "the test has a runtime of its own")]
            tokio::spawn(async move { sandbox.serve_pubsub_over(far).await });
            Ok(TokioIo::new(near))
        })
    }
}

/// A service whose first calls are never answered.
#[derive(Clone)]
struct Deaf(Channel, Arc<AtomicUsize>);

impl Service<http::Request<tonic::body::Body>> for Deaf {
    type Response = http::Response<tonic::body::Body>;
    type Error = tonic::transport::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::poll_ready(&mut self.0, context)
    }
    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        if self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Box::pin(std::future::pending());
        }
        Box::pin(Service::call(&mut self.0, request))
    }
}

/// A host whose time runs a thousand times as fast.
#[derive(Clone, Debug)]
struct Fast(Arc<SystemClock>);

impl Clock for Fast {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + self.monotonic()
    }
    fn monotonic(&self) -> Duration {
        self.0.monotonic() * 1000
    }
}

impl Sleep for Fast {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration / 1000))
    }
}

struct World {
    org: Org,
    crm: Salesforce,
    api: PubSub,
}

fn client(org: &Org, host: &Host) -> Salesforce {
    let access = org.sandbox.salesforce(Sandbox::IN_PROCESS_URL);
    let config = SalesforceConfig::with_refresh_token(&access.instance_url, &access.client_id, access.refresh_token.clone().into())
        .client_secret(access.client_secret.clone().into())
        .client_name("crm-sync");
    Salesforce::new(config, org.sandbox.transport(), host.clone()).unwrap()
}

impl World {
    async fn new() -> Self {
        let (_, clock) = Host::manual_with_clock(1);
        Self::of(Org::over(Sandbox::new(Host::tokio(), 1), clock)).await
    }

    async fn of(org: Org) -> Self {
        let channel = Endpoint::from_static("http://sandbox").connect_with_connector(Pipes(org.sandbox.clone())).await.unwrap();
        let crm = client(&org, &Host::tokio());
        let api = PubSub::new(&crm, channel).organization(&org.sandbox.salesforce("http://localhost").organization_id).unwrap();
        Self { org, crm, api }
    }

    fn subscribe(&self, subscription: Subscription) -> PubSubStream {
        let policy = RetryPolicy::new().attempts(u32::MAX).initial(Duration::from_millis(10));
        self.api.subscribe(subscription, 10, StreamOptions::new().retry(policy)).unwrap()
    }

    fn title(&self, id: &str, title: &str) {
        self.org.patch(&format!("/sobjects/Lead/{id}"), json!({"Title": title}));
    }

    fn renew(&mut self) {
        let access = self.org.sandbox.salesforce(Sandbox::IN_PROCESS_URL);
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", access.refresh_token.as_str()),
            ("client_id", &access.client_id),
            ("client_secret", &access.client_secret),
        ];
        self.org.token = self.org.form("/services/oauth2/token", &form).body["access_token"].as_str().unwrap().to_owned();
    }
}

fn leads() -> Subscription {
    Subscription::changes(&LEAD)
}

fn connected(mirror: &Mirror) -> bool {
    mirror.states.last() == Some(&StreamState::Connected)
}

async fn cut(name: &str, trouble: impl Fn(&mut World)) -> Mirror {
    let mut world = World::new().await;
    let mut stream = world.subscribe(leads().replay(Replay::All));
    let mut mirror = Mirror::default();
    mirror.follow(&world.crm, &mut stream, connected).await;
    let first = world.org.lead("A");
    mirror.follow(&world.crm, &mut stream, |mirror| mirror.saw("A")).await;
    let states = mirror.states.len();
    trouble(&mut world);
    world.title(&first, "one");
    world.org.lead("B");
    mirror.follow(&world.crm, &mut stream, |mirror| mirror.saw("B") && connected(mirror)).await;
    world.org.lead("C");
    mirror.follow(&world.crm, &mut stream, |mirror| mirror.told("C")).await;
    assert!(mirror.error.is_none(), "{name}: {:?}", mirror.error);
    mirror.assert_same(&world.org.sandbox.records("Lead"), name);
    mirror.states.drain(..states);
    mirror
}

fn assert_every_change(mirror: &Mirror, name: &str) {
    let told: Vec<_> = mirror
        .changes
        .iter()
        .map(|(kind, fields)| (*kind, fields.text("LastName").or_else(|| fields.text("Title")).unwrap_or("")))
        .collect();
    let (new, update) = (ChangeKind::Created, ChangeKind::Updated);
    assert_eq!(told, [(new, "A"), (update, "one"), (new, "B"), (new, "C")], "{name}");
    assert!(mirror.rereads.is_empty(), "{name}: {:?}", mirror.rereads);
}

#[tokio::test]
async fn cuts_that_lose_nothing() {
    let mirror = cut("cut", |world| script(&world.org, json!({"do": "cut"}))).await;
    assert_every_change(&mirror, "cut");
    assert_eq!(mirror.states, [StreamState::Reconnecting, StreamState::Connected]);
    let expire = |world: &mut World| {
        world.org.sandbox.expire_tokens().unwrap();
        world.renew();
    };
    assert_every_change(&cut("expired token", expire).await, "expired token");
    let busy = |world: &mut World| {
        let error = json!({"do": "break", "method": "Subscribe", "status": 14, "error_code": "service.unavailable"});
        script(&world.org, error);
        script(&world.org, json!({"do": "cut"}));
    };
    let mirror = cut("unavailable", busy).await;
    assert_every_change(&mirror, "unavailable");
    assert_eq!(mirror.states, [StreamState::Reconnecting, StreamState::Reconnecting, StreamState::Connected]);
}

#[tokio::test]
async fn cuts_that_are_read_again() {
    let lost = |world: &mut World| {
        script(&world.org, json!({"do": "expire"}));
        script(&world.org, json!({"do": "cut"}));
    };
    assert_eq!(cut("refused replay id", lost).await.reasons(), [RereadReason::ReplayLost]);
    let gap = |world: &mut World| {
        let ids: Vec<String> = world.org.sandbox.records("Lead").iter().map(|lead| lead.text("Id").unwrap().to_owned()).collect();
        script(&world.org, json!({"do": "gap", "entity": "Lead", "ids": ids}));
    };
    assert_eq!(cut("gap", gap).await.reasons(), [RereadReason::Gap]);
    let overflow = |world: &mut World| script(&world.org, json!({"do": "overflow", "entity": "Lead"}));
    assert_eq!(cut("overflow", overflow).await.reasons(), [RereadReason::Overflow]);
}

#[tokio::test]
async fn silence_is_noticed() {
    let (_, clock) = Host::manual_with_clock(1);
    let org = Org::over(Sandbox::new(Host::tokio(), 1), clock);
    let fast = Fast(Arc::new(SystemClock::new()));
    let host = Host::builder(fast.clone()).clock(fast).build();
    let crm = client(&org, &host);
    let channel = Endpoint::from_static("http://sandbox").connect_with_connector(Pipes(org.sandbox.clone())).await.unwrap();
    let api = PubSub::new(&crm, Deaf(channel, Arc::new(AtomicUsize::new(2))));
    let api = api.organization(&org.sandbox.salesforce("http://localhost").organization_id).unwrap();
    let mut stream = api.subscribe(leads(), 10, StreamOptions::new()).unwrap();
    let mut mirror = Mirror::default();
    mirror.follow(&crm, &mut stream, connected).await;
    assert_eq!(mirror.states, [StreamState::Stalled, StreamState::Stalled, StreamState::Connected]);
    assert_eq!(stream.monitor().health().connections, 1);
}

#[tokio::test]
async fn both_transports_give_the_same_changes() {
    let world = World::new().await;
    let mut pubsub = world.subscribe(leads().replay(Replay::All));
    let mut comet = world.crm.listen([leads().replay(Replay::All)], StreamOptions::new()).unwrap();
    let mut fields = Fields::new();
    for (name, value) in [("FirstName", "Ann"), ("LastName", "Own"), ("Company", "Acme"), ("City", "Bern"), ("Street", "Main")] {
        fields.insert(name, value);
    }
    fields.insert("NumberOfEmployees", 42);
    let id = world.crm.create(&LEAD, &fields).await.unwrap();
    world
        .org
        .patch(&format!("/sobjects/Lead/{id}"), json!({"City": null, "Title": "CTO", "LastName": "Theirs", "Marketing_Score__c": 1.5}));
    world.org.patch(&format!("/sobjects/Lead/{id}"), json!({"Title": null, "Street": null, "NumberOfEmployees": null}));
    world.org.delete(&format!("/sobjects/Lead/{id}"));
    let (mut one, mut two) = (Mirror::default(), Mirror::default());
    one.follow(&world.crm, &mut pubsub, |mirror| mirror.changes.len() == 4).await;
    two.follow(&world.crm, &mut comet, |mirror| mirror.changes.len() == 4).await;
    let plain = |mirror: &Mirror| mirror.changes.iter().map(|(kind, fields)| (*kind, fields.to_value())).collect::<Vec<_>>();
    assert_eq!(plain(&one), plain(&two));
    assert_eq!((&one.own, &one.own), (&two.own, &vec![true, false, false, false]));
    assert!(one.rereads.is_empty() && two.rereads.is_empty());
    let (_, update) = &one.changes[1];
    assert_eq!((update.get("City"), update.contains("Company"), update.contains("FirstName")), (Some(&json!(null)), false, false));
    let (_, cleared) = &one.changes[2];
    assert_eq!((cleared.get("Title"), cleared.get("Street"), cleared.contains("City")), (Some(&json!(null)), Some(&json!(null)), false));
}

#[tokio::test]
async fn small_batches_deliver_everything_in_order() {
    let world = World::new().await;
    let names: Vec<String> = (0..25).map(|at| format!("L{at:02}")).collect();
    for batch in [1, 7, 100] {
        let mut stream = world.api.subscribe(leads().replay(Replay::New), batch, StreamOptions::new()).unwrap();
        let mut mirror = Mirror::default();
        mirror.follow(&world.crm, &mut stream, connected).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        names.iter().for_each(|name| drop(world.org.lead(name)));
        mirror.follow(&world.crm, &mut stream, |mirror| mirror.changes.len() == 25).await;
        let told: Vec<&str> = mirror.changes.iter().map(|(_, fields)| fields.text("LastName").unwrap()).collect();
        assert_eq!(told, names, "batches of {batch}");
    }
}

#[tokio::test]
async fn places_are_kept_refused_and_moved_by_silence() {
    // This org's clock moves with the waiting.
    let world = World::of(Org::new()).await;
    let mut stream = world.subscribe(leads());
    let kept = loop {
        if let StreamEvent::Position(position) = stream.next().await.unwrap().unwrap() {
            break position;
        }
    };
    drop(stream);
    world.org.lead("A");
    world.org.lead("B");
    let mut stream = world.subscribe(leads().from(Some(&kept)));
    let mut mirror = Mirror::default();
    mirror.follow(&world.crm, &mut stream, |mirror| mirror.saw("B")).await;
    assert_eq!(mirror.changes.len(), 2);
    let first = mirror.positions.iter().find(|position| **position != kept).unwrap().clone();
    let mut stream = world.subscribe(leads().from(Some(&first)));
    let mut later = Mirror::default();
    later.follow(&world.crm, &mut stream, |mirror| mirror.saw("B")).await;
    assert_eq!(later.changes.len(), 1);
    let unknown = || leads().replay(Replay::After(ReplayId::from(4711)));
    let mut stream = world.subscribe(unknown());
    let mut whole = Mirror::default();
    whole.follow(&world.crm, &mut stream, |mirror| mirror.told("B")).await;
    assert_eq!((whole.reasons(), whole.changes.len()), (vec![RereadReason::ReplayLost], 2));
    let mut stream = world.subscribe(unknown().fallback(ReplayFallback::Fail));
    let mut none = Mirror::default();
    none.follow(&world.crm, &mut stream, |_| false).await;
    assert_eq!(none.error.unwrap().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn topics_schemas_platform_events_and_refusals() {
    let mut world = World::new().await;
    let topic = world.api.topic(TOPIC).await.unwrap();
    assert!(topic.can_subscribe && !topic.can_publish && topic.name == TOPIC);
    assert!(world.api.schema(topic.schema_id.as_deref().unwrap()).await.unwrap().contains("ChangeEventHeader"));
    assert_eq!(world.api.topic("/data/ChangeEvents").await.unwrap().schema_id, None);
    assert_eq!(world.api.topic("/topic/Leads").await.unwrap_err().kind(), ErrorKind::Config);
    world.org.sandbox.expire_tokens().unwrap();
    assert!(world.api.topic(TOPIC).await.is_ok(), "the token is renewed");
    world.renew();
    let mut stream = world.subscribe(Subscription::platform_event("Lead_Signal__e").replay(Replay::All));
    world.org.post("/sobjects/Lead_Signal__e", json!({"Signal__c": "visit", "Score__c": 2.5, "Seen_At__c": "2026-01-02T00:00:00Z"}));
    let message = loop {
        if let StreamEvent::Message(message) = stream.next().await.unwrap().unwrap() {
            break message;
        }
    };
    assert_eq!((message.name.as_deref(), message.payload["Signal__c"].as_str()), (Some("Lead_Signal__e"), Some("visit")));
    assert_eq!(message.payload["Seen_At__c"], "2026-01-02T00:00:00.000Z");
    assert!(message.at.is_some() && message.event.is_some());
    let mut all = world.subscribe(Subscription::all_changes().replay(Replay::All));
    world.org.lead("A");
    let mut mirror = Mirror::default();
    mirror.follow(&world.crm, &mut all, |mirror| mirror.saw("A")).await;
    for batch in [0, 101] {
        assert!(world.api.subscribe(leads(), batch, StreamOptions::new()).is_err());
    }
    let mut nothing = world.subscribe(Subscription::new("/data/NothingChangeEvent"));
    let mut mirror = Mirror::default();
    mirror.follow(&world.crm, &mut nothing, |_| false).await;
    assert_eq!((mirror.error.unwrap().kind(), mirror.states.last()), (ErrorKind::Config, Some(&StreamState::Closed)));
    assert!(nothing.next().await.is_none() && nothing.next().await.is_none());
    assert!(stream.monitor().health().last_event.is_some());
    let position = message.position.unwrap();
    let managed = ManagedSubscription::Name("Leads".to_owned());
    assert!(world.api.subscribe_managed(managed, 5, StreamOptions::new()).unwrap().commit(&position).is_ok());
    assert_eq!(world.subscribe(leads()).commit(&position).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[derive(Debug, Default)]
struct Heard(AtomicUsize);

impl Observer for Heard {
    fn on(&self, event: &Event<'_>) {
        if matches!(event, Event::LogLost { .. }) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[tokio::test]
async fn a_snapshot_is_joined_with_the_event_bus() {
    let world = World::new().await;
    let host = Host::tokio();
    let (store, heard) = (Arc::new(MemoryStore::new(host.clone())), Arc::new(Heard::default()));
    let build = || {
        let policy = RetryPolicy::new().attempts(u32::MAX).initial(Duration::from_millis(10));
        let log = StreamLog::pubsub(&world.api, host.clone(), &LEAD, StreamOptions::new().retry(policy)).wait(Duration::from_millis(200));
        let reader = Reader::builder(Arc::new(world.crm.clone()), store.clone(), host.clone(), LEAD).select(["LastName", "Title"]);
        // Nothing of this org shows late.
        reader.settle(Duration::ZERO).log(Arc::new(log)).observer(heard.clone()).build().unwrap()
    };
    let mut copy: BTreeMap<String, String> = BTreeMap::new();
    let truth = || -> BTreeMap<String, String> {
        let title = |lead: &Fields| (lead.text("LastName").unwrap().to_owned(), lead.text("Title").unwrap_or_default().to_owned());
        world.org.sandbox.records("Lead").iter().map(title).collect()
    };
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut follow = async |reader: &Reader, what: &str| {
        for _ in 0..100 {
            while let Some(page) = reader.next().await.unwrap() {
                for change in &page.changes {
                    let id = change.id.as_str().to_owned();
                    if change.kind == ChangeKind::Deleted {
                        names.remove(&id).map(|name| copy.remove(&name));
                        continue;
                    }
                    if let Some(name) = change.fields.text("LastName") {
                        names.insert(id.clone(), name.to_owned());
                        copy.entry(name.to_owned()).or_default();
                    }
                    if let (Some(title), Some(name)) = (change.fields.get("Title"), names.get(&id)) {
                        copy.insert(name.clone(), title.as_str().unwrap_or_default().to_owned());
                    }
                }
                reader.commit(page, Batch::new()).await.unwrap();
            }
            if copy == truth() {
                return;
            }
        }
        assert_eq!(copy, truth(), "{what}");
    };
    let searches = || world.org.sandbox.requests().iter().filter(|request| request.path.contains("query")).count();
    let ids: Vec<String> = (0..5).map(|n| world.org.lead(&format!("L{n}"))).collect();
    let reader = build();
    follow(&reader, "the snapshot").await;
    // Once a round is over the stream alone tells.
    world.org.sandbox.clear_requests();
    world.title(&ids[0], "one");
    world.org.delete(&format!("/sobjects/Lead/{}", ids[1]));
    world.org.lead("New");
    follow(&reader, "by the stream").await;
    drop(reader);
    // Another process goes on behind the last page, over what happened while nobody listened.
    world.title(&ids[2], "two");
    world.org.delete(&format!("/sobjects/Lead/{}", ids[3]));
    let reader = build();
    follow(&reader, "another process").await;
    assert_eq!((searches(), heard.0.load(Ordering::SeqCst)), (0, 0), "the org was searched although the stream told all");
    // A place that is gone: the hole is told, and read again.
    world.title(&ids[4], "lost");
    script(&world.org, json!({"do": "expire"}));
    script(&world.org, json!({"do": "cut"}));
    world.title(&ids[0], "later");
    let reader = build();
    follow(&reader, "a place that is gone").await;
    assert!(searches() > 0 && heard.0.load(Ordering::SeqCst) > 0, "the hole was not told");
}

#[tokio::test]
async fn over_tls_on_loopback() {
    let sandbox = Sandbox::new(Host::tokio(), 1);
    let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", http.local_addr().unwrap());
    let pubsub = sandbox.pubsub(TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
    let access = sandbox.salesforce(&base);
    let (_, clock) = Host::manual_with_clock(1);
    let org = Org::over(sandbox.clone(), clock);
    let talk = async {
        let port = access.pubsub_url.as_deref().unwrap().rsplit_once(':').unwrap().1;
        let endpoint = endpoint_with_ca(&format!("https://localhost:{port}"), access.pubsub_ca_pem.as_deref().unwrap()).unwrap();
        let crm = client(&org, &Host::tokio());
        let api = PubSub::new(&crm, endpoint.connect_lazy()).organization(&access.organization_id).unwrap();
        let mut stream = api.subscribe(leads().replay(Replay::All), 10, StreamOptions::new()).unwrap();
        let mut mirror = Mirror::default();
        org.lead("TLS");
        mirror.follow(&crm, &mut stream, |mirror| mirror.saw("TLS")).await;
    };
    Box::pin(sandbox.serve_with_pubsub(http, pubsub.clone(), talk)).await.unwrap();
    assert!(endpoint("not a url").is_err());
}
