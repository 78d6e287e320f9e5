//! The Streaming API client against the pretend org: streams that are cut in every way lose nothing and double nothing.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::bayeux;
use crate::mirror;
use crate::raw_http;

use std::sync::Arc;
use std::time::Duration;

use bayeux::script;
use crm_sync::error::{ErrorKind, Retry};
use crm_sync::host::Host;
use crm_sync::http::{HttpTransport, ReqwestTransport};
use crm_sync::model::{ChangeKind, Entity};
use crm_sync::pace::RetryPolicy;
use crm_sync::salesforce::stream::{
    CometdStream, NotifyForFields, PushTopic, Replay, ReplayFallback, ReplayId, RereadReason, RereadScope, StreamEvent, StreamOptions,
    StreamState, Subscription,
};
use crm_sync::salesforce::{ApiVersion, Salesforce, SalesforceConfig};
use crm_sync::sandbox::{Fault, FaultKind, Sandbox};
use futures_util::StreamExt;
use mirror::{LEAD, Mirror};
use raw_http::Org;
use serde_json::json;

struct World {
    org: Org,
    crm: Salesforce,
    host: Host,
}

fn client(org: &Org, host: &Host, transport: Arc<dyn HttpTransport>, base: &str) -> Salesforce {
    let access = org.sandbox.salesforce(base);
    let config = SalesforceConfig::with_refresh_token(&access.instance_url, &access.client_id, access.refresh_token.clone().into())
        .client_secret(access.client_secret.clone().into())
        .client_name("crm-sync");
    Salesforce::new(config, transport, host.clone()).unwrap()
}

impl World {
    fn new(seed: u64) -> Self {
        let (host, clock) = Host::manual_with_clock(seed);
        let org = Org::over(Sandbox::new(host.clone(), seed), clock);
        let crm = client(&org, &host, org.sandbox.transport(), Sandbox::IN_PROCESS_URL);
        Self { org, crm, host }
    }

    fn listen(&self, subscription: Subscription) -> CometdStream {
        self.crm.listen([subscription], StreamOptions::new()).unwrap()
    }

    /// A token of somebody else's.
    fn fresh_token(&self) -> String {
        let access = self.org.sandbox.salesforce(Sandbox::IN_PROCESS_URL);
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", &access.refresh_token),
            ("client_id", &access.client_id),
            ("client_secret", &access.client_secret),
        ];
        self.org.form("/services/oauth2/token", &form).body["access_token"].as_str().unwrap().to_owned()
    }

    fn title(&self, id: &str, title: &str) {
        self.org.patch(&format!("/sobjects/Lead/{id}"), json!({"Title": title}));
    }
}

fn leads() -> Subscription {
    Subscription::changes(&LEAD)
}

fn connected(mirror: &Mirror) -> bool {
    mirror.states.last() == Some(&StreamState::Connected)
}

/// A stream lives through `trouble` and the copy it keeps is whole; what the copy saw is returned.
async fn cut(name: &str, trouble: impl Fn(&mut World), after: impl Fn(&World)) -> Mirror {
    let mut world = World::new(1);
    let mut stream = world.listen(leads());
    let mut mirror = Mirror::default();
    mirror.follow(&world.crm, &mut stream, connected).await;
    let first = world.org.lead("A");
    mirror.follow(&world.crm, &mut stream, |mirror| mirror.saw("A")).await;
    world.title(&first, "one");
    trouble(&mut world);
    world.title(&first, "two");
    world.org.lead("B");
    let states = mirror.states.len();
    if name == "stall" {
        mirror.follow(&world.crm, &mut stream, |mirror| mirror.states.contains(&StreamState::Stalled)).await;
    }
    after(&world);
    world.org.lead("C");
    mirror.follow(&world.crm, &mut stream, |mirror| mirror.saw("C") && connected(mirror)).await;
    // By now a reading again may have shown what the stream is about to tell.
    world.org.lead("D");
    mirror.follow(&world.crm, &mut stream, |mirror| mirror.told("D")).await;
    assert!(mirror.error.is_none(), "{name}: {:?}", mirror.error);
    mirror.assert_same(&world.org.sandbox.records("Lead"), name);
    let health = stream.monitor().health();
    assert_eq!((health.state, health.cause.clone()), (StreamState::Connected, None), "{name}");
    assert!(health.last_event.is_some() && health.last_answer >= health.last_event);
    mirror.states.drain(..states);
    mirror
}

/// The cuts after which every single change arrives.
fn assert_every_change(mirror: &Mirror, name: &str) {
    let told: Vec<_> = mirror
        .changes
        .iter()
        .map(|(kind, fields)| (*kind, fields.text("LastName").or_else(|| fields.text("Title")).unwrap_or("")))
        .collect();
    let (new, update) = (ChangeKind::Created, ChangeKind::Updated);
    assert_eq!(told, [(new, "A"), (update, "one"), (update, "two"), (new, "B"), (new, "C"), (new, "D")], "{name}");
    assert!(mirror.rereads.is_empty(), "{name}: {:?}", mirror.rereads);
}

const AGAIN: [StreamState; 2] = [StreamState::Reconnecting, StreamState::Connected];

#[tokio::test]
async fn cut_by_an_unknown_client() {
    let mirror = cut("unknown client", |world: &mut World| script(&world.org, json!({"do": "unknown_client"})), |_| ()).await;
    assert_every_change(&mirror, "unknown client");
    assert_eq!(mirror.states, AGAIN);
}

#[tokio::test]
async fn cut_by_an_expired_token() {
    // In the middle of a long poll, which says so in a message.
    let expire = |world: &mut World| {
        world.org.sandbox.expire_tokens().unwrap();
        world.org.token = world.fresh_token();
    };
    let mirror = cut("expired token", expire, |_| ()).await;
    assert_every_change(&mirror, "expired token");
    assert_eq!(mirror.states, AGAIN);
    // By the status of an answer, which is mended without anybody noticing.
    let expire = |world: &mut World| world.org.sandbox.fault(Fault::new(FaultKind::ExpireToken).path("/cometd"));
    let mirror = cut("expired token by status", expire, |_| ()).await;
    assert_every_change(&mirror, "expired token by status");
    // Whether the session outlives the token that made it, is the server's affair.
    assert!(mirror.states.is_empty() || mirror.states == AGAIN, "{:?}", mirror.states);
}

#[tokio::test]
async fn cut_by_a_broken_connection() {
    for kind in [FaultKind::DropBefore, FaultKind::DropAfter, FaultKind::Truncate] {
        let name = format!("{kind:?}");
        let mirror =
            cut(&name, |world: &mut World| world.org.sandbox.fault(Fault::new(kind.clone()).path("/cometd").times(2)), |_| ()).await;
        assert_every_change(&mirror, &name);
        assert_eq!(mirror.states.last(), Some(&StreamState::Connected));
        assert!(mirror.states.contains(&StreamState::Reconnecting));
    }
}

#[tokio::test]
async fn cut_by_503() {
    let busy = FaultKind::Status { status: 503, body: json!(null) };
    let mirror = cut("503", |world: &mut World| world.org.sandbox.fault(Fault::new(busy.clone()).path("/cometd").times(3)), |_| ()).await;
    assert_every_change(&mirror, "503");
    let told = json!([{"channel": "/meta/connect", "successful": false, "error": "503::Server is too busy. Please try again later."}]);
    let busy = FaultKind::Status { status: 503, body: told };
    let mirror =
        cut("503 told", |world: &mut World| world.org.sandbox.fault(Fault::new(busy.clone()).path("/cometd").times(1)), |_| ()).await;
    assert_every_change(&mirror, "503 told");
    assert_eq!(mirror.states, AGAIN);
}

#[tokio::test]
async fn cut_by_silence() {
    let on = |world: &mut World| script(&world.org, json!({"do": "stall"}));
    let mirror = cut("stall", on, |world| script(&world.org, json!({"do": "stall", "on": false}))).await;
    assert_every_change(&mirror, "stall");
    assert_eq!(mirror.states.last(), Some(&StreamState::Connected));
}

#[tokio::test]
async fn cut_by_a_refused_replay_id() {
    let lost = |world: &mut World| {
        script(&world.org, json!({"do": "expire"}));
        script(&world.org, json!({"do": "unknown_client"}));
    };
    let mirror = cut("refused replay id", lost, |_| ()).await;
    assert_eq!(mirror.reasons(), [RereadReason::ReplayLost]);
    let hole = &mirror.rereads[0];
    assert!(matches!(hole.scope, RereadScope::Since(_)) && hole.entity == Some(LEAD), "{hole:?}");
    // The bus begins anew: ids that were given before are given again, to other events.
    let anew = |world: &mut World| {
        script(&world.org, json!({"do": "reset"}));
        script(&world.org, json!({"do": "unknown_client"}));
    };
    let mirror = cut("reset bus", anew, |_| ()).await;
    let told: Vec<_> = mirror.changes.iter().filter_map(|(_, fields)| fields.text("LastName")).collect();
    assert_eq!((mirror.reasons(), told), (vec![RereadReason::ReplayLost], vec!["A", "B", "C", "D"]));
}

#[tokio::test]
async fn cut_by_gap_and_overflow() {
    let gap = |world: &mut World| {
        let ids: Vec<String> = world.org.sandbox.records("Lead").iter().map(|lead| lead.text("Id").unwrap().to_owned()).collect();
        script(&world.org, json!({"do": "gap", "entity": "Lead", "ids": ids}));
    };
    let mirror = cut("gap", gap, |_| ()).await;
    assert_eq!(mirror.reasons(), [RereadReason::Gap]);
    let mirror = cut("overflow", |world: &mut World| script(&world.org, json!({"do": "overflow", "entity": "Lead"})), |_| ()).await;
    assert_eq!((mirror.reasons(), &mirror.rereads[0].scope), (vec![RereadReason::Overflow], &RereadScope::All));
}

#[tokio::test]
async fn many_ids_wildcards_and_diffs_are_read_again() {
    let world = World::new(2);
    let mut stream = world.listen(leads());
    let mut mirror = Mirror::default();
    mirror.follow(&world.crm, &mut stream, connected).await;
    let ids: Vec<String> = ["A", "B", "C"].iter().map(|name| world.org.lead(name)).collect();
    let rows: Vec<_> = ids.iter().map(|id| json!({"attributes": {"type": "Lead"}, "id": id, "Title": "CTO"})).collect();
    world.org.patch("/composite/sobjects", json!({"allOrNone": false, "records": rows}));
    script(&world.org, json!({"do": "change", "entity": "Lead", "ids": ["00Q*"], "kind": "UPDATE", "fields": {}, "changed": []}));
    let text: String = (0..100).map(|line| format!("line number {line}\n")).collect();
    world.org.patch(&format!("/sobjects/Lead/{}", ids[0]), json!({"Description": text}));
    world.org.patch(&format!("/sobjects/Lead/{}", ids[0]), json!({"Description": text.replace("number 50", "number fifty")}));
    world.org.lead("D");
    mirror.follow(&world.crm, &mut stream, |mirror| mirror.told("D")).await;
    let reasons = [RereadReason::ManyRecords, RereadReason::Wildcard, RereadReason::Incomplete];
    assert_eq!(mirror.reasons(), reasons, "{mirror:?}");
    assert_eq!(mirror.rereads[0].scope, RereadScope::Records(ids.iter().map(|id| id.as_str().into()).collect()));
    mirror.assert_same(&world.org.sandbox.records("Lead"), "many");
}

#[tokio::test]
async fn changes_carry_the_records_own_names_and_who_made_them() {
    let world = World::new(3);
    let mut stream = world.listen(leads());
    let mut mirror = Mirror::default();
    mirror.follow(&world.crm, &mut stream, connected).await;
    let mut fields = crm_sync::model::Fields::new();
    for (name, value) in [("FirstName", "Ann"), ("LastName", "Own"), ("Company", "Acme"), ("City", "Bern"), ("Title", "CTO")] {
        fields.insert(name, value);
    }
    let id = world.crm.create(&LEAD, &fields).await.unwrap();
    world.org.patch(&format!("/sobjects/Lead/{id}"), json!({"City": null, "Title": null, "LastName": "Theirs"}));
    world.org.delete(&format!("/sobjects/Lead/{id}"));
    mirror.follow(&world.crm, &mut stream, |mirror| mirror.changes.len() == 3).await;
    let (kind, created) = &mirror.changes[0];
    assert_eq!(*kind, ChangeKind::Created);
    for (name, value) in fields.iter() {
        assert_eq!(created.get(name), Some(value), "{name}");
    }
    let (_, update) = &mirror.changes[1];
    assert_eq!((update.get("City"), update.get("Title")), (Some(&json!(null)), Some(&json!(null))));
    assert_eq!((update.text("LastName"), update.contains("Company"), update.contains("FirstName")), (Some("Theirs"), false, false));
    assert_eq!(mirror.changes[2].0, ChangeKind::Deleted);
    assert_eq!(mirror.own, [true, false, false]);
    assert!(mirror.leads.is_empty());
}

#[tokio::test]
async fn a_stored_position_is_where_the_next_run_begins() {
    let world = World::new(4);
    for name in ["A", "B"] {
        world.org.lead(name);
    }
    let mut stream = world.listen(leads().from(None));
    let mut mirror = Mirror::default();
    mirror.follow(&world.crm, &mut stream, |mirror| mirror.saw("B")).await;
    let kept = serde_json::to_string(&mirror.positions[0]).unwrap();
    stream.close().await;
    world.org.lead("C");
    let position = serde_json::from_str(&kept).unwrap();
    let mut stream = world.listen(leads().from(Some(&position)));
    let mut later = Mirror::default();
    later.follow(&world.crm, &mut stream, |mirror| mirror.saw("C")).await;
    assert_eq!(later.changes.len(), 2, "B and C: {later:?}");
    // One nobody knows: everything retained comes, and the hole is told.
    let mut stream = world.listen(leads().replay(Replay::After(ReplayId::from(4711))));
    let mut whole = Mirror::default();
    whole.follow(&world.crm, &mut stream, |mirror| mirror.changes.len() == 3).await;
    assert_eq!((whole.reasons(), &whole.rereads[0].scope), (vec![RereadReason::ReplayLost], &RereadScope::All));
    // Or only what is new.
    let mut stream = world.listen(leads().replay(Replay::After(ReplayId::from(4711))).fallback(ReplayFallback::New));
    let mut new = Mirror::default();
    new.follow(&world.crm, &mut stream, connected).await;
    world.org.lead("D");
    new.follow(&world.crm, &mut stream, |mirror| !mirror.changes.is_empty()).await;
    assert_eq!((new.reasons(), new.changes[0].1.text("LastName")), (vec![RereadReason::ReplayLost], Some("D")));
    // Or nothing at all.
    let mut stream = world.listen(leads().replay(Replay::After(ReplayId::from(4711))).fallback(ReplayFallback::Fail));
    let mut none = Mirror::default();
    none.follow(&world.crm, &mut stream, |_| false).await;
    assert_eq!(none.error.unwrap().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_stream_from_now_on_that_breaks_before_its_first_event_tells_the_hole() {
    let world = World::new(5);
    let mut stream = world.listen(leads());
    let mut mirror = Mirror::default();
    mirror.follow(&world.crm, &mut stream, connected).await;
    script(&world.org, json!({"do": "unknown_client"}));
    world.org.lead("Unseen");
    mirror.follow(&world.crm, &mut stream, |mirror| mirror.saw("Unseen")).await;
    assert_eq!((mirror.reasons(), mirror.changes.len()), (vec![RereadReason::ReplayLost], 0));
    mirror.assert_same(&world.org.sandbox.records("Lead"), "hole");
}

#[tokio::test]
async fn what_waiting_does_not_cure_ends_the_stream_with_an_error() {
    let world = World::new(6);
    for (error, kind) in [
        ("403::User not allowed to subscribe CDC without View All Data permissions", ErrorKind::Permission),
        ("403::Subscription limit exceeded for this topic", ErrorKind::QuotaExhausted),
    ] {
        script(&world.org, json!({"do": "refuse", "channel": "/meta/subscribe", "error": error}));
        let mut stream = world.listen(leads());
        let monitor = stream.monitor();
        let mut mirror = Mirror::default();
        mirror.follow(&world.crm, &mut stream, |_| false).await;
        let told = mirror.error.unwrap();
        assert_eq!((told.kind(), told.operation(), mirror.states.last()), (kind, Some("listen"), Some(&StreamState::Closed)), "{error}");
        assert_eq!(monitor.health().state, StreamState::Closed);
        assert_eq!(monitor.health().cause.unwrap().0, kind);
        assert!(stream.next().await.is_none());
    }
    let mut stream = world.listen(Subscription::changes(&Entity::from_static("Nothing")));
    assert_eq!(stream.next().await.unwrap().unwrap().position(), None);
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), ErrorKind::Config);
    // A policy that gives up.
    world.org.sandbox.fault(Fault::new(FaultKind::DropBefore).path("/cometd").always());
    let options = StreamOptions::new().retry(RetryPolicy::new().attempts(3));
    let mut stream = world.crm.listen([leads()], options).unwrap();
    let mut mirror = Mirror::default();
    mirror.follow(&world.crm, &mut stream, |_| false).await;
    assert_eq!(mirror.states, [StreamState::Reconnecting, StreamState::Reconnecting, StreamState::Closed]);
    assert_eq!(mirror.error.unwrap().kind(), ErrorKind::Network);
}

#[tokio::test]
async fn a_full_house_is_waited_for_and_a_dead_grant_is_not() {
    let world = World::new(7);
    script(&world.org, json!({"do": "clients", "most": 1}));
    let mut first = world.listen(leads());
    let mut mirror = Mirror::default();
    mirror.follow(&world.crm, &mut first, connected).await;
    let mut second = world.listen(leads());
    let mut waiting = Mirror::default();
    waiting.follow(&world.crm, &mut second, |mirror| mirror.states.len() == 2).await;
    assert_eq!(waiting.states, [StreamState::Reconnecting; 2]);
    first.close().await;
    waiting.follow(&world.crm, &mut second, connected).await;
    // Everything that could be renewed is revoked.
    let access = world.org.sandbox.salesforce(Sandbox::IN_PROCESS_URL);
    world.org.form("/services/oauth2/revoke", &[("token", &access.refresh_token)]);
    world.org.delete("/_sandbox/tokens");
    waiting.follow(&world.crm, &mut second, |_| false).await;
    let error = waiting.error.unwrap();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Authentication, Retry::Never));
}

#[tokio::test]
async fn push_topics_are_made_changed_listened_to_and_deleted() {
    let world = World::new(8);
    let topic = PushTopic::new("Leads", "SELECT Id, LastName, Title FROM Lead WHERE Company = 'Acme'").unwrap();
    let made = world.crm.put_push_topic(&topic).await.unwrap();
    assert!(made.created);
    world.org.sandbox.requests();
    let same = world.crm.put_push_topic(&topic).await.unwrap();
    assert_eq!((same.id.clone(), same.created), (made.id.clone(), false));
    let writes = |method: &str| world.org.sandbox.requests().iter().filter(|request| request.method == method).count();
    assert_eq!(writes("PATCH"), 0, "nothing differs, nothing is written");
    let all = topic.clone().fields(NotifyForFields::All);
    assert!(!world.crm.put_push_topic(&all).await.unwrap().created);
    assert_eq!(writes("PATCH"), 1);
    let mut stream = world.crm.listen([topic.subscription(), leads()], StreamOptions::new()).unwrap();
    assert!(matches!(stream.next().await.unwrap().unwrap(), StreamEvent::Health(_)));
    let id = world.org.lead("A");
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let change = stream.next().await.unwrap().unwrap().into_change().unwrap();
        seen.push((change.position.unwrap().channel, change.change));
    }
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!((seen[0].0.as_str(), seen[1].0.as_str()), ("/data/LeadChangeEvent", "/topic/Leads"));
    assert!(seen.iter().all(|(_, change)| change.id.as_str() == id && change.entity == LEAD && change.kind == ChangeKind::Created));
    assert_eq!(seen[1].1.fields.get("Title"), Some(&json!(null)));
    assert!(world.crm.delete_push_topic("Leads").await.unwrap());
    assert!(!world.crm.delete_push_topic("Leads").await.unwrap());
}

#[tokio::test]
async fn platform_events_and_custom_channels() {
    let world = World::new(9);
    let signal = Subscription::platform_event("Lead_Signal__e");
    let mut stream = world.crm.listen([signal], StreamOptions::new()).unwrap();
    assert!(matches!(stream.next().await.unwrap().unwrap(), StreamEvent::Health(_)));
    world.org.post("/sobjects/Lead_Signal__e", json!({"Signal__c": "visit", "Score__c": 2.5}));
    let StreamEvent::Message(message) = stream.next().await.unwrap().unwrap() else { panic!("no message") };
    assert_eq!((message.name.as_deref(), message.payload["Signal__c"].as_str()), (Some("Lead_Signal__e"), Some("visit")));
    assert!(message.event.is_some() && message.at.is_some() && message.position.is_some());
}

#[tokio::test]
async fn what_cannot_be_listened_to_is_refused_before_anything_is_sent() {
    let world = World::new(10);
    let refused = |crm: &Salesforce, channels: Vec<Subscription>| crm.listen(channels, StreamOptions::new()).unwrap_err().kind();
    assert_eq!(refused(&world.crm, vec![]), ErrorKind::Config);
    assert_eq!(refused(&world.crm, vec![Subscription::new("/meta/connect")]), ErrorKind::Config);
    assert_eq!(refused(&world.crm, vec![leads().replay(Replay::After(ReplayId::new("0x01")))]), ErrorKind::Config);
    let config = SalesforceConfig::with_access_token("http://localhost", String::from("x").into()).api_version(ApiVersion::new(36));
    let old = Salesforce::new(config, world.org.sandbox.transport(), world.host.clone()).unwrap();
    assert_eq!(refused(&old, vec![leads()]), ErrorKind::Config);
    assert!(world.org.sandbox.requests().is_empty());
}

#[tokio::test]
async fn on_loopback_as_in_process() {
    let sandbox = Sandbox::new(Host::tokio(), 11);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (_, clock) = Host::manual_with_clock(1);
    let org = Org::over(sandbox.clone(), clock);
    let host = Host::tokio();
    let crm = client(&org, &host, Arc::new(ReqwestTransport::loopback().unwrap()), &format!("{base}{}", ""));
    let talk = async {
        let options = StreamOptions::new().retry(RetryPolicy::new().attempts(u32::MAX).initial(Duration::from_millis(20)));
        let mut stream = crm.listen([leads()], options).unwrap();
        let mut mirror = Mirror::default();
        mirror.follow(&crm, &mut stream, connected).await;
        for (at, trouble) in ["unknown_client", "cut", "unknown_client", "cut"].into_iter().enumerate() {
            let name = format!("L{at}");
            let (write, ()) = (async { org.lead(&name) }, ());
            let (_, ()) = tokio::join!(write, mirror.follow(&crm, &mut stream, |mirror| mirror.saw(&name)));
            let cut = async {
                tokio::time::sleep(Duration::from_millis(30)).await;
                script(&org, json!({"do": trouble}));
                org.lead(&format!("{name}-after"));
            };
            let ((), ()) = tokio::join!(cut, mirror.follow(&crm, &mut stream, |mirror| mirror.saw(&format!("{name}-after"))));
        }
        assert!(mirror.rereads.is_empty() && mirror.changes.len() == 8, "{mirror:?}");
        mirror.assert_same(&org.sandbox.records("Lead"), "loopback");
        assert!(stream.monitor().health().connections >= 5);
        stream.close().await;
    };
    sandbox.serve(listener, talk).await.unwrap();
}
