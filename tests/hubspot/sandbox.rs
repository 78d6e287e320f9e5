//! The HubSpot client and the sandbox's account, each written from HubSpot's documents alone: do they agree?

#![cfg(feature = "hubspot")]
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::portal;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crm_sync::adapter::{BulkOp, CrmAdapter, CrmAdapterExt, WriteOptions};
use crm_sync::error::ErrorKind;
use crm_sync::host::{Host, ManualClock};
use crm_sync::hubspot::entity::{CALLS, COMPANIES, CONTACTS, DEALS, EMAILS, MEETINGS, NOTES, TASKS};
use crm_sync::hubspot::flows::{ContactSync, EmailEngagement, MarketingContact, Telling};
use crm_sync::hubspot::{
    ApiVersion, AssociationType, EmailDirection, Engagement, EventTemplate, FormSubmission, HubSpot, HubSpotConfig, HubSpotEvents,
    HubSpotJournal, HubSpotTemplates, HubSpotVerifier, JournalCondition, JournalSubscription, ObjectSchema, OwnWrites, Property,
    TemplateToken,
};
use crm_sync::model::{ChangeKind, Entity, ExternalKey, Fields, RecordId};
use crm_sync::query::{Criteria, Query};
use crm_sync::sandbox::{Fault, FaultKind, HubSpotTrouble};
use crm_sync::store::{MemoryStore, Store};
use crm_sync::webhook::{EventFormat, RawRequest, Secrets, Verifier};
use futures_util::TryStreamExt;
use http::{HeaderMap, Method};
use portal::Portal;
use serde_json::{Value, json};

fn connect(seed: u64) -> (HubSpot, Portal, Arc<ManualClock>) {
    let (host, clock) = Host::manual_with_clock(seed);
    let portal = Portal::new(host, seed);
    (portal.client(), portal, clock)
}

fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

fn app(portal: &Portal) -> HubSpotConfig {
    let access = portal.access();
    HubSpotConfig::with_refresh_token(&access.client_id, access.client_secret.into(), access.refresh_token.into())
        .base_url(&access.base_url)
        .forms_url(&access.base_url)
        .portal_id(access.portal_id.to_string())
}

fn journal(portal: &Portal) -> HubSpotJournal {
    let mut config = app(portal);
    config.refresh_token = None;
    HubSpotJournal::new(config, Arc::new(portal.clone()), portal.host.clone()).unwrap()
}

#[tokio::test]
async fn the_contact_flow_leaves_one_of_each() {
    let (client, portal, _) = connect(1);
    let form = portal.access().form_id;
    let (acme, at) = (portal.put("companies", None, &[("name", "Acme")]), portal.host.now());
    let flow = ContactSync::new(&client).telling(Telling::Note("crm_sync_id".into()));
    let submission = FormSubmission::new(&form).field("email", "ann@b.test").field("firstname", "Ann").at(at);
    client.form(&form).await.unwrap().unwrap().check(&submission).unwrap();
    let contact = MarketingContact::new("Ann@b.test", fields(json!({"firstname": "Ann", "score": 5})))
        .about(COMPANIES, acme.to_string())
        .email_engagement(EmailEngagement::new("mail-1", "Spring", 2, 1, at))
        .submission(submission);
    let done = flow.sync(&contact).await.unwrap();
    assert_eq!((done.created, done.associated, done.told, done.submitted), (true, 1, 1, 1));
    let tied = client.associated(&CONTACTS, &done.id, &COMPANIES).await.unwrap();
    assert_eq!((tied.len(), tied[0].id.as_str()), (1, acme.to_string().as_str()));
    let notes = client.associated(&CONTACTS, &done.id, &NOTES).await.unwrap();
    assert_eq!((notes.len(), portal.count("notes"), portal.count("contacts")), (1, 1, 1));
    // The whole of it again: nothing is doubled, and nothing is new.
    let again = flow.sync(&contact).await.unwrap();
    assert_eq!((again.id, again.created, again.changed, again.associated, again.told, again.submitted), (done.id, false, vec![], 0, 0, 0));
    assert_eq!((portal.count("notes"), portal.count("contacts")), (1, 1));
    let (entries, _) = client.form_entries(&form, None).await.unwrap();
    assert_eq!(entries.len(), 1, "submitted once");
}

#[tokio::test]
async fn the_timeline_takes_templates_and_app_events_once() {
    let (_, portal, _) = connect(2);
    let access = portal.access();
    let client = HubSpot::new(app(&portal), Arc::new(portal.clone()), portal.host.clone()).unwrap();
    let config = portal.config();
    let key = access.developer_api_key.clone();
    let templates = HubSpotTemplates::new(&config, access.app_id, key.into(), Arc::new(portal.clone()), portal.host.clone()).unwrap();
    let wanted = EventTemplate::new("Email opened", "contacts")
        .header("Opened {{emailSubject}}")
        .token(TemplateToken::new("emailSubject", "Subject", "string"))
        .token(TemplateToken::new("openCount", "Opens", "number"));
    let (made, new) = templates.ensure(&wanted).await.unwrap();
    assert!(new && made.id.bytes().all(|byte| byte.is_ascii_digit()), "{made:?}");
    assert!(!templates.ensure(&wanted).await.unwrap().1, "a second run changes nothing");
    let more = wanted.clone().token(TemplateToken::new("clickCount", "Clicks", "number"));
    let (changed, new) = templates.ensure(&more).await.unwrap();
    assert_eq!((new, changed.id.as_str(), changed.tokens.len()), (true, made.id.as_str(), 3));
    templates.add_token(&made.id, &TemplateToken::new("mood", "Mood", "enumeration").option("Good", "good")).await.unwrap();
    templates.remove_token(&made.id, "mood").await.unwrap();
    assert_eq!(templates.get(&made.id).await.unwrap().unwrap().tokens.len(), 3);
    let wrong = EventTemplate::new("x", "contacts").token(TemplateToken::new("t", "T", "money"));
    assert_eq!(templates.create(&wrong).await.unwrap_err().kind(), ErrorKind::Config);

    let at = portal.host.now();
    let contact = MarketingContact::new("ann@b.test", Fields::new()).email_engagement(EmailEngagement::new("m-1", "Hi", 2, 1, at));
    let flow = ContactSync::new(&client).telling(Telling::Template(made.id.clone()));
    assert_eq!(flow.sync(&contact).await.unwrap().told, 1);
    assert_eq!(flow.sync(&contact).await.unwrap().told, 0, "an id is told once");
    let kind = client.app_event_type("My-App", "opened").await.unwrap();
    let flow = ContactSync::new(&client).telling(Telling::AppEvent(kind));
    assert_eq!(flow.sync(&contact).await.unwrap().told, 1);
    assert_eq!(flow.sync(&contact).await.unwrap().told, 0);
    templates.delete(&made.id).await.unwrap();
    assert!(templates.all().await.unwrap().is_empty());
}

#[tokio::test]
async fn batches_are_matched_in_every_version() {
    for version in [ApiVersion::V2026_03, ApiVersion::V2026_09, ApiVersion::V3] {
        for unattributed in [false, true] {
            let host = Host::manual(3);
            let portal = Portal::new(host, 3);
            portal.set(|options| options.unattributed = unattributed);
            let client = HubSpot::new(portal.config().api_version(version), Arc::new(portal.clone()), portal.host.clone()).unwrap();
            let key = |n: usize| ExternalKey::new("crm_sync_id", format!("K-{n}")).unwrap();
            let row = |n: usize| fields(json!({"email": format!("p{n}@b.test"), "firstname": format!("F{n}")}));
            let upserts: Vec<BulkOp> = (0..150).map(|n| BulkOp::Upsert { key: key(n), fields: row(n) }).collect();
            let made = client.bulk(&CONTACTS, &upserts, &WriteOptions::new()).await.unwrap();
            assert!(made.iter().all(|outcome| outcome.as_ref().is_ok_and(|written| written.created == Some(true))));
            // One is refused, one does not exist: the others are written, and each gets its own answer.
            let mut updates: Vec<BulkOp> = made
                .iter()
                .enumerate()
                .map(|(n, outcome)| BulkOp::Update { id: outcome.as_ref().unwrap().id.clone(), fields: fields(json!({ "score": n })) })
                .collect();
            updates[7] = BulkOp::Update { id: made[7].as_ref().unwrap().id.clone(), fields: fields(json!({"score": "many"})) };
            updates[9] = BulkOp::Update { id: "99999999999".into(), fields: fields(json!({"score": 1})) };
            let done = client.bulk(&CONTACTS, &updates, &WriteOptions::new()).await.unwrap();
            let context = format!("{version:?} {unattributed}");
            for (n, outcome) in done.iter().enumerate() {
                match n {
                    7 => assert_eq!(outcome.as_ref().unwrap_err().kind(), ErrorKind::Validation, "{context}"),
                    9 => assert_eq!(outcome.as_ref().unwrap_err().kind(), ErrorKind::NotFound, "{context}"),
                    _ => assert_eq!(outcome.as_ref().unwrap().id, made[n].as_ref().unwrap().id, "{context}"),
                }
            }
            for (n, row) in portal.rows("contacts").iter().enumerate() {
                let score = (n != 7 && n != 9).then(|| n.to_string());
                assert_eq!(row.text("score"), score.as_deref(), "{context}: {n}");
            }
        }
    }
}

#[tokio::test]
async fn a_conflict_becomes_an_update_and_a_merge_a_new_id() {
    let (client, portal, _) = connect(4);
    let there = portal.put("contacts", None, &[("email", "ann@b.test"), ("jobtitle", "CTO")]);
    let error = HubSpot::create(&client, &CONTACTS, &fields(json!({"email": "ann@b.test"}))).await.unwrap_err();
    assert_eq!((error.kind(), error.duplicates()), (ErrorKind::Duplicate, &[RecordId::new(there.to_string())][..]));
    let (row, new) = client.create_or_update(&CONTACTS, &fields(json!({"email": "ann@b.test", "firstname": "Ann"}))).await.unwrap();
    assert_eq!((row.id.clone(), new), (there.to_string(), false));
    // By email in a batch: what is left out stays.
    let key = |email: &str| ExternalKey::new("email", email).unwrap();
    let ops = ["ann@b.test", "bob@b.test"].map(|email| BulkOp::Upsert { key: key(email), fields: fields(json!({"city": "Oslo"})) });
    let done = client.bulk(&CONTACTS, &ops, &WriteOptions::new()).await.unwrap();
    assert_eq!(done.iter().map(|one| one.as_ref().unwrap().created).collect::<Vec<_>>(), [Some(false), Some(true)]);
    assert_eq!(portal.rows("contacts")[0].text("jobtitle"), Some("CTO"));
    let bob = done[1].as_ref().unwrap().id.clone();
    let merged = client.merge(&CONTACTS, &RecordId::new(there.to_string()), &bob).await.unwrap();
    assert_ne!(merged.id, there.to_string());
    let old = client.retrieve(&CONTACTS, &bob, &[]).await.unwrap().unwrap();
    assert_eq!(old.id, merged.id, "the old id leads to what is left");
    let batch = [BulkOp::Update { id: bob, fields: fields(json!({"city": "Bergen"})) }];
    let outcome = client.bulk(&CONTACTS, &batch, &WriteOptions::new()).await.unwrap().remove(0);
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::NotFound, "not in a batch");
    // Its labels stay when another one is added.
    let (contact, company) = (RecordId::new(merged.id), RecordId::new(portal.put("companies", None, &[("name", "Acme")]).to_string()));
    let advisor = client.ensure_label(&CONTACTS, &COMPANIES, "Advisor", "advisor", Some("Advised by")).await.unwrap();
    let buyer = client.ensure_label(&CONTACTS, &COMPANIES, "Buyer", "buyer", None).await.unwrap();
    for kind in [&advisor, &buyer] {
        client.add_labels((&CONTACTS, &contact), (&COMPANIES, &company), std::slice::from_ref(kind), false).await.unwrap();
    }
    let types: BTreeSet<u64> =
        client.associated(&CONTACTS, &contact, &COMPANIES).await.unwrap()[0].types.iter().map(|kind| kind.type_id).collect();
    assert!(types.is_superset(&BTreeSet::from([279, advisor.type_id, buyer.type_id])), "{types:?}");
    let again = client.add_labels((&CONTACTS, &contact), (&COMPANIES, &company), &[AssociationType::user(buyer.type_id)], false).await;
    assert!(!again.unwrap(), "nothing to write");
}

#[tokio::test]
async fn a_list_longer_than_a_request_is_asked_for_in_portions() {
    let (client, portal, _) = connect(5);
    let email = |n: usize| format!("somebody.with.a.long.name.{n:03}@a-company.example");
    for n in 0..150 {
        portal.put("contacts", None, &[("email", &email(n)), ("score", &n.to_string())]);
    }
    let wanted: Vec<String> = (50..200).map(email).collect();
    let filter = Criteria::one_of("email", wanted).and(Criteria::compare("score", crm_sync::query::Operator::Lt, 140));
    let rows: Vec<_> = client.search_all(Query::new(CONTACTS).filter(filter).select(["email"])).try_collect().await.unwrap();
    let found: BTreeSet<&str> = rows.iter().map(|row| row.fields.text("email").unwrap()).collect();
    assert_eq!((rows.len(), found.len()), (90, 90));
    assert!(portal.bodies().iter().all(|body| body.chars().count() <= 3_000));
    assert!(portal.search_times().len() <= 4, "{}", portal.search_times().len());
}

#[tokio::test]
async fn limits_and_troubles_are_told_as_what_they_are() {
    let (client, portal, _) = connect(6);
    // As many calls as anybody likes: the limiter keeps below what the account allows.
    let pairs: Vec<(RecordId, RecordId)> = vec![];
    client.associate_all(&CONTACTS, &COMPANIES, &pairs).await.unwrap();
    let company = portal.put("companies", None, &[("name", "Acme")]);
    let contact = RecordId::new(portal.put("contacts", None, &[("email", "a@b.test")]).to_string());
    for n in 0..400 {
        if n % 2 == 0 {
            client.retrieve(&COMPANIES, &RecordId::new(company.to_string()), &[]).await.unwrap();
        } else {
            client.associated(&CONTACTS, &contact, &COMPANIES).await.unwrap();
        }
    }
    assert!(portal.sandbox.requests().iter().all(|request| request.status < 429));
    let quota = client.quota().await.unwrap().unwrap();
    assert_eq!(quota.windows[0].max, 190, "the app's window, not that of associations");
    for (trouble, kind, wait) in [
        (HubSpotTrouble::Locked, ErrorKind::Unavailable, Some(Duration::from_secs(2))),
        (HubSpotTrouble::Migrating { retry_after: 86_400 }, ErrorKind::Unavailable, Some(Duration::from_secs(86_400))),
        (HubSpotTrouble::PlainLimit, ErrorKind::RateLimited, None),
        (HubSpotTrouble::TenSecondlyLimit, ErrorKind::RateLimited, Some(Duration::from_secs(10))),
    ] {
        let fresh = portal.client();
        portal.sandbox.fault(Fault::new(FaultKind::HubSpot(trouble.clone())));
        let error = fresh.retrieve(&COMPANIES, &RecordId::new("1"), &[]).await.unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (kind, wait), "{trouble:?}");
    }
    let fresh = portal.client();
    fresh.authenticate().await.unwrap();
    portal.sandbox.fault(Fault::new(FaultKind::HubSpot(HubSpotTrouble::DailyLimit)));
    let error = fresh.retrieve(&COMPANIES, &RecordId::new("1"), &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExhausted);
    let sent = portal.log().len();
    assert_eq!(fresh.retrieve(&COMPANIES, &RecordId::new("1"), &[]).await.unwrap_err().kind(), ErrorKind::QuotaExhausted);
    assert_eq!(portal.log().len(), sent, "parked until the account's midnight");
}

#[tokio::test]
async fn tokens_are_renewed_by_the_clock_and_refusals_have_three_classes() {
    let (_, portal, clock) = connect(7);
    let tokens = || portal.log().iter().filter(|line| line.contains("/token")).count();
    let client = HubSpot::new(app(&portal), Arc::new(portal.clone()), portal.host.clone()).unwrap();
    for _ in 0..3 {
        client.owners(None, false).await.unwrap();
    }
    assert_eq!(tokens(), 1);
    clock.advance(Duration::from_secs(1_790));
    client.owners(None, false).await.unwrap();
    assert_eq!((tokens(), portal.sandbox.requests().iter().filter(|request| request.status == 401).count()), (2, 0), "before it ends");
    portal.sandbox.expire_hubspot_tokens().unwrap();
    client.owners(None, false).await.unwrap();
    assert_eq!(tokens(), 3, "once more, when it is told to have expired");
    let with = |config: HubSpotConfig| HubSpot::new(config, Arc::new(portal.clone()), portal.host.clone()).unwrap();
    let access = portal.access();
    let base = |secret: &str, refresh: &str| {
        HubSpotConfig::with_refresh_token(&access.client_id, secret.to_owned().into(), refresh.to_owned().into()).base_url(&access.base_url)
    };
    let revoked = with(base(&access.client_secret, "gone")).owners(None, false).await.unwrap_err();
    let wrong = with(base("wrong", &access.refresh_token)).owners(None, false).await.unwrap_err();
    assert_eq!((revoked.kind(), wrong.kind()), (ErrorKind::Authentication, ErrorKind::Config));
    portal.sandbox.fault(Fault::new(FaultKind::Unavailable { html: true, retry_after: None }));
    assert!(with(base(&access.client_secret, &access.refresh_token)).owners(None, false).await.unwrap_err().is_retryable());
    let unknown = HubSpotConfig::with_access_token("pat-na1-nobody".to_owned().into()).base_url(&access.base_url);
    assert_eq!(with(unknown).owners(None, false).await.unwrap_err().kind(), ErrorKind::Authentication);
}

fn subscribe(portal: &Portal, kinds: &[Value]) {
    let access = portal.access();
    let path = |rest: &str| format!("/webhooks/v3/{}/{rest}?hapikey={}", access.app_id, access.developer_api_key);
    let settings = json!({"targetUrl": "https://hooks.test/in?next=%3A%2F&e=a%40b", "throttling": {"maxConcurrentRequests": 10}});
    portal.raw("PUT", &path("settings"), &settings);
    for kind in kinds {
        portal.raw("POST", &path("subscriptions"), kind);
    }
}

#[tokio::test]
async fn signed_webhooks_are_verified_and_echoes_dropped() {
    let (client, portal, clock) = connect(8);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(portal.host.clone()));
    let own = Arc::new(OwnWrites::default().kept_in(Arc::clone(&store), "hubspot"));
    let client = client.with_own_writes(Arc::clone(&own));
    let change = |name: &str| json!({"eventType": "contact.propertyChange", "propertyName": name, "active": true});
    subscribe(&portal, &[change("city"), change("score"), json!({"eventType": "contact.merge", "active": true})]);
    let id = RecordId::new(portal.put("contacts", None, &[("email", "a@b.test")]).to_string());
    client.update(&CONTACTS, None, id.as_str(), &fields(json!({"city": "Oslo", "score": 5}))).await.unwrap();
    portal.put("contacts", Some(id.as_str().parse().unwrap()), &[("score", "6")]);
    let secret = portal.access().client_secret;
    let verifier = HubSpotVerifier::new("hubspot", Secrets::new("app", secret.clone()).unwrap()).require_v3(true);
    let stranger = HubSpotVerifier::new("hubspot", Secrets::new("app", "another").unwrap());
    let mut told = Vec::new();
    for delivery in portal.sandbox.hubspot_deliveries() {
        let mut headers = HeaderMap::new();
        for (name, value) in &delivery.headers {
            headers.insert(http::HeaderName::try_from(name.as_str()).unwrap(), value.parse().unwrap());
        }
        let request = RawRequest { method: &Method::POST, url: &delivery.url, headers: &headers, body: delivery.body.as_bytes() };
        let verified = verifier.verify(&request, portal.host.now()).unwrap();
        assert!(stranger.verify(&request, portal.host.now()).is_err());
        assert!(verifier.verify(&request, portal.host.now() + Duration::from_secs(301)).is_err());
        told.extend(HubSpotEvents::new().events(&verified).unwrap().into_iter().filter_map(|event| event.change));
        portal.sandbox.hubspot_delivered(&delivery, 204).unwrap();
    }
    assert_eq!(told.len(), 3, "{told:?}");
    // Another process, which has the store alone.
    let other = OwnWrites::default().kept_in(Arc::clone(&store), "hubspot");
    for own in [&*own, &other] {
        let left = own.filter(told.clone(), portal.host.now()).await.unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].fields.to_value(), json!({"score": "6"}), "somebody else's");
    }
    let forgetful = OwnWrites::default();
    assert_eq!(forgetful.filter(told.clone(), portal.host.now()).await.unwrap().len(), 3);
    clock.advance(Duration::from_secs(601));
    assert_eq!(other.filter(told, portal.host.now()).await.unwrap().len(), 3, "after ten minutes it is a change again");
}

#[tokio::test]
async fn the_journal_is_followed_filtered_and_read_in_batches() {
    let (client, portal, clock) = connect(9);
    let journal = journal(&portal);
    let account = portal.access().portal_id;
    assert!(journal.ensure_subscription(&JournalSubscription::object(account, "0-1", ["email", "score"])).await.unwrap());
    assert!(!journal.ensure_subscription(&JournalSubscription::object(account, "0-1", ["email"])).await.unwrap());
    assert!(journal.ensure_subscription(&JournalSubscription::associations(account, "0-1", ["0-2"])).await.unwrap());
    let rows: Vec<RecordId> = {
        let mut rows = Vec::new();
        for n in 0..3 {
            rows.push(RecordId::new(
                HubSpot::create(&client, &CONTACTS, &fields(json!({"email": format!("p{n}@b.test")}))).await.unwrap().id,
            ));
        }
        rows
    };
    let store = MemoryStore::new(portal.host.clone());
    let mut told = Vec::new();
    while let Some((page, batch)) = journal.follow(&store, "hubspot").await.unwrap() {
        told.extend(page.changes(Some(account)));
        store.commit(batch).await.unwrap();
    }
    assert_eq!(
        told.iter().map(|change| (change.kind, change.id.clone())).collect::<Vec<_>>(),
        rows.iter().map(|id| (ChangeKind::Created, id.clone())).collect::<Vec<_>>()
    );
    // In batches: the same, and once more by their offsets.
    let files = journal.files(None, 100).await.unwrap();
    let mut again = Vec::new();
    for file in &files {
        again.extend(journal.open(file).await.unwrap().changes(None));
    }
    assert_eq!(again, told);
    let offsets: Vec<String> = files.iter().rev().map(|file| file.offset.clone()).collect();
    let found = journal.files_at(&offsets).await.unwrap();
    assert!(found.iter().zip(&offsets).all(|(file, offset)| file.as_ref().is_some_and(|file| file.offset == *offset)));
    assert_eq!(journal.files(Some(&files[0].offset), 1).await.unwrap()[0].offset, files[1].offset);
    assert_eq!(journal.latest_files(2).await.unwrap().len(), 2);
    assert_eq!(journal.latest().await.unwrap().unwrap().offset, files[2].offset);
    assert!(!format!("{files:?}").contains("files/"), "a signed address is not shown");
    let local = journal.clone().local(account);
    assert_eq!(local.next(None).await.unwrap().unwrap().offset, files[0].offset);
    assert!(portal.log().iter().any(|line| line.contains(&format!("/journal-local/2026-03/earliest?installPortalId={account}"))));
    // A merge tells who is gone and who is left; associations tell whose they are.
    let company = RecordId::new(portal.put("companies", None, &[("name", "Acme")]).to_string());
    client.associate_default((&CONTACTS, &rows[2]), (&COMPANIES, &company)).await.unwrap();
    let left = client.merge(&CONTACTS, &rows[0], &rows[1]).await.unwrap().id;
    let mut merged = Vec::new();
    while let Some((page, batch)) = journal.follow(&store, "hubspot").await.unwrap() {
        merged.extend(page.changes(Some(account)).into_iter().map(|change| (change.id.to_string(), change.kind)));
        store.commit(batch).await.unwrap();
    }
    for gone in [&rows[0], &rows[1]] {
        assert!(merged.contains(&(gone.to_string(), ChangeKind::Deleted)), "{merged:?}");
    }
    assert!(merged.contains(&(left.clone(), ChangeKind::Updated)) && merged.contains(&(rows[2].to_string(), ChangeKind::Updated)));
    // A filter keeps back what it does not fit.
    let subscription = journal.subscriptions().await.unwrap().into_iter().find(|known| known.subscription_type == "OBJECT").unwrap();
    let filter = journal.add_filter(subscription.id, &[JournalCondition::new("score", "GT", "5")]).await.unwrap();
    assert_eq!(journal.filters(subscription.id).await.unwrap()[0].id, filter);
    for score in [3, 9] {
        client.update(&CONTACTS, None, rows[2].as_str(), &fields(json!({ "score": score }))).await.unwrap();
    }
    let (page, _) = journal.follow(&store, "hubspot").await.unwrap().unwrap();
    assert_eq!(page.changes(None)[0].fields.text("score"), Some("9"));
    journal.remove_filter(filter).await.unwrap();
    assert!(journal.filters(subscription.id).await.unwrap().is_empty());
    // Snapshots need scopes that the rest does not ask for.
    let id: u64 = rows[2].as_str().parse().unwrap();
    let asked = journal.request_snapshots(&[(account, "0-1".to_owned(), id)], &["email".to_owned()]).await.unwrap();
    assert_eq!(journal.snapshot_status(&asked[0]).await.unwrap(), "COMPLETED");
    journal.unsubscribe_account(account).await.unwrap();
    assert!(journal.subscriptions().await.unwrap().is_empty());
    clock.advance(Duration::from_secs(3 * 86_400 + 1));
    assert!(journal.next(None).await.unwrap().is_none(), "three days");
    assert!(journal.files_at(&offsets).await.unwrap().iter().all(Option::is_none));
}

#[tokio::test]
async fn objects_are_provisioned_once_with_what_they_are_associated_with() {
    let (client, portal, _) = connect(10);
    let name = Property::new("campaign_name", "Name", "string", "text", "");
    let mut schema = ObjectSchema::new("marketing_campaign", "Campaign", "Campaigns", name)
        .property(Property::new("channel", "Channel", "enumeration", "select", "").option("LinkedIn", "linkedin"));
    schema.associated_objects = vec!["0-1".to_owned()];
    let made = client.ensure_object(&schema).await.unwrap();
    assert!(made.created);
    let before = portal.writes();
    let again = client.ensure_object(&schema).await.unwrap();
    assert!(!again.created && again.properties.is_empty() && !again.lists && again.associations.is_empty(), "{again:?}");
    assert_eq!(portal.writes(), before, "nothing was to be done");
    schema.associated_objects.push("0-3".to_owned());
    let schema = schema.property(Property::new("budget", "Budget", "number", "number", ""));
    let more = client.ensure_object(&schema).await.unwrap();
    assert_eq!((more.properties, more.associations), (vec!["budget".to_owned()], vec!["0-3".to_owned()]));
    assert!(client.ensure_object(&schema).await.unwrap().associations.is_empty());
    let campaign = Entity::new(made.object_type_id);
    let row = HubSpot::create(&client, &campaign, &fields(json!({"campaign_name": "Spring", "channel": "linkedin"}))).await.unwrap();
    let deal = portal.put("deals", None, &[("dealname", "D"), ("dealstage", "closedwon")]);
    let (row, deal) = (RecordId::new(row.id), RecordId::new(deal.to_string()));
    client.associate_default((&campaign, &row), (&DEALS, &deal)).await.unwrap();
    assert_eq!(client.associated(&campaign, &row, &DEALS).await.unwrap()[0].id, deal);
}

/// Each kind of activity, tied to what it is about, once without and once with a mark that makes it repeatable.
#[tokio::test]
async fn activities_of_every_kind() {
    let (client, portal, _) = connect(21);
    let (ann, acme) = (portal.put("contacts", None, &[("email", "ann@b.test")]), portal.put("companies", None, &[("name", "Acme")]));
    let at = portal.host.now();
    let later = at.checked_add(Duration::from_secs(1_800)).unwrap();
    let all = [
        (TASKS, Engagement::task("Call back", later).field("hs_task_priority", "HIGH"), "hs_task_subject", "Call back"),
        (CALLS, Engagement::call("First call", at), "hs_call_title", "First call"),
        (EMAILS, Engagement::email("Hello", EmailDirection::Outgoing, at), "hs_email_subject", "Hello"),
        (MEETINGS, Engagement::meeting("Demo", at, later), "hs_meeting_title", "Demo"),
    ];
    for (kind, engagement, property, wanted) in all {
        let engagement = engagement.about(CONTACTS, ann.to_string()).about(COMPANIES, acme.to_string());
        let made = client.log(&engagement).await.unwrap();
        for entity in [CONTACTS, COMPANIES] {
            let about = if entity == CONTACTS { ann } else { acme };
            let tied = client.associated(&entity, &RecordId::new(about.to_string()), &kind).await.unwrap();
            assert_eq!(tied.iter().map(|tie| tie.id.as_str()).collect::<Vec<_>>(), [made.id.as_str()], "{kind} of {entity}");
        }
        let id = RecordId::new(made.id.as_str());
        let read = client.get(&kind, &id, &[property.to_owned()]).await.unwrap().unwrap();
        assert_eq!(read.fields.text(property), Some(wanted), "{kind}");
        HubSpot::update(&client, &kind, None, id.as_str(), &fields(json!({property: "changed"}))).await.unwrap();
        assert_eq!(client.get(&kind, &id, &[property.to_owned()]).await.unwrap().unwrap().fields.text(property), Some("changed"));
        // With a mark the same activity stays one, however often it is told.
        portal.property(kind.as_str(), "crm_sync_id", "string", "text", true);
        let marked = engagement.mark("crm_sync_id", "a-1");
        let first = client.log(&marked).await.unwrap();
        assert_eq!(client.log(&marked).await.unwrap().id, first.id, "{kind}");
        assert_eq!(portal.count(kind.as_str()), 2, "{kind}");
        client.delete(&kind, &id, &WriteOptions::new()).await.unwrap();
        assert!(client.get(&kind, &id, &[]).await.unwrap().is_none(), "{kind}");
    }
}

#[tokio::test]
async fn a_form_is_made_changed_and_archived() {
    let (client, portal, _) = connect(22);
    let question = |name: &str| json!({"objectTypeId": "0-1", "name": name, "label": name, "fieldType": "single_line_text", "required": name == "email"});
    let group =
        |names: &[&str]| json!({"groupType": "default_group", "fields": names.iter().map(|name| question(name)).collect::<Vec<_>>()});
    let made = client.create_form(&json!({"name": "Spring", "fieldGroups": [group(&["email"])]})).await.unwrap();
    assert_eq!((made.name.as_str(), made.form_type.as_str(), made.fields().count()), ("Spring", "hubspot", 1));
    let submission = FormSubmission::new(&made.id).field("email", "ann@b.test").field("firstname", "Ann").at(portal.host.now());
    assert_eq!(made.check(&submission).unwrap_err().kind(), ErrorKind::Validation, "the form does not ask for a first name yet");
    let changed = client.update_form(&made.id, &json!({"fieldGroups": [group(&["email", "firstname"])]})).await.unwrap();
    assert_eq!((changed.name.as_str(), changed.fields().count()), ("Spring", 2));
    changed.check(&submission).unwrap();
    client.submit_form(&submission, true).await.unwrap();
    let (entries, _) = client.form_entries(&made.id, None).await.unwrap();
    assert_eq!(entries.len(), 1);
    // What HubSpot refuses, and what is refused before it is asked.
    let error = client.update_form(&made.id, &json!({"fieldGroups": [group(&["no_such_property"])]})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Validation);
    assert_eq!(client.create_form(&json!({"fieldGroups": []})).await.unwrap_err().kind(), ErrorKind::Config);
    client.delete_form(&made.id).await.unwrap();
    client.delete_form("11111111-2222-3333-4444-555555555555").await.unwrap();
    let listed = client.forms(None).await.unwrap();
    assert!(listed.items.iter().all(|form| form.id != made.id), "an archived form is not listed");
}
