//! Webhooks through the whole pipeline: accepted once, whatever is repeated or dies in between.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use crate::support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crm_sync::error::{Error, ErrorKind};
use crm_sync::host::Host;
use crm_sync::hubspot::{HubSpotEvents, HubSpotVerifier};
use crm_sync::observe::Counts;
use crm_sync::pipedrive::PipedriveEvents;
use crm_sync::queue::{Claim, MemoryQueue, ParkedFilter, ParkedPage, Queue};
use crm_sync::store::{MemoryStore, Store};
use crm_sync::sync::{Accepted, Inbound};
use crm_sync::webhook::{BasicVerifier, DealWon, HmacVerifier, JsonEvents, OptOutChange, RawRequest, Router, Secrets};
use http::{HeaderMap, Method, StatusCode};

use support::mortal_queue::MortalQueue;
use support::{Death, Life, MortalStore};

const URL: &str = "https://hooks.example.org/crm";

fn verifier() -> HmacVerifier {
    HmacVerifier::timestamped("crm", Secrets::new("now", "a secret of some length".to_owned()).unwrap(), "x-signature")
}

fn inbound(host: &Host, queue: &Arc<MemoryQueue>, store: Arc<dyn Store>) -> Inbound {
    Inbound::new("crm:test", verifier(), JsonEvents::default(), Arc::clone(queue) as Arc<dyn Queue>, store, host.clone())
}

fn request<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> RawRequest<'a> {
    RawRequest { method: &Method::POST, url: URL, headers, body }
}

async fn waiting(queue: &MemoryQueue) -> u64 {
    queue.stats().await.unwrap().entries
}

#[tokio::test]
async fn a_delivery_has_one_effect_and_a_forged_one_none() {
    let (host, clock) = Host::manual_with_clock(1);
    let (queue, store) = (Arc::new(MemoryQueue::new(host.clone())), Arc::new(MemoryStore::new(host.clone())));
    let counts = Counts::new();
    let inbound = inbound(&host, &queue, store).observer(counts.clone());
    let body = br#"[{"type":"contact.updated","id":"1","data":{"contactId":3,"changes":["email_opt_out"],"emailOptOut":true}},
        {"type":"contact.updated","id":"1","data":{"contactId":3,"changes":["email_opt_out"],"emailOptOut":true}},
        {"type":"unheard.of","id":"1","data":{}}]"#;
    let headers = verifier().sign(URL, body, host.now()).unwrap();
    let accepted = inbound.accept(&request(&headers, body)).await.unwrap();
    assert_eq!((accepted.enqueued, accepted.repeated, accepted.secret.as_str()), (2, 1, "now"));
    // Repeated later with a new signature, as senders do.
    clock.advance(Duration::from_secs(86_400));
    let again = verifier().sign(URL, body, host.now()).unwrap();
    let accepted = inbound.accept(&request(&again, body)).await.unwrap();
    assert_eq!((accepted.enqueued, accepted.repeated, waiting(&queue).await), (0, 3, 2));
    // The first signature is old by now; a bit of the body is another body.
    for (headers, body) in [(&headers, body.to_vec()), (&again, [body.as_slice(), b"\n"].concat()), (&HeaderMap::new(), body.to_vec())] {
        let outcome = inbound.accept(&request(headers, &body)).await;
        assert_eq!(Inbound::status(&outcome), StatusCode::UNAUTHORIZED, "{outcome:?}");
    }
    assert_eq!(inbound.refused().into_iter().collect::<Vec<_>>(), [("missing_header", 1), ("too_old", 1), ("wrong_signature", 1)]);
    assert_eq!((counts.tally().webhooks, counts.tally().refused_webhooks), (5, 3));

    let heard = AtomicUsize::new(0);
    let router = Router::new().on_opt_out(|change: OptOutChange| {
        heard.fetch_add(usize::from(change.opted_out), Ordering::SeqCst);
        async { Ok(()) }
    });
    let worked = inbound.work(&router, 10).await.unwrap();
    assert_eq!((worked.handled, worked.unknown, heard.load(Ordering::SeqCst)), (1, 1, 1));
    assert!(inbound.work(&router, 10).await.unwrap().is_idle());
    assert_eq!(router.unknown()["unheard.of"], 1);
}

#[tokio::test]
async fn a_body_that_is_believed_and_not_understood_is_told() {
    let host = Host::manual(1);
    let (queue, store) = (Arc::new(MemoryQueue::new(host.clone())), Arc::new(MemoryStore::new(host.clone())));
    let inbound = inbound(&host, &queue, store);
    for body in [b"{".as_slice(), b"7", b"{\"type\": 1}", b"\xff\xfe"] {
        let headers = verifier().sign(URL, body, host.now()).unwrap();
        let outcome = inbound.accept(&request(&headers, body)).await;
        assert_eq!(Inbound::status(&outcome), StatusCode::BAD_REQUEST, "{outcome:?}");
    }
    let many = format!("[{}]", vec!["{\"type\":\"x\"}"; 1_001].join(","));
    let headers = verifier().sign(URL, many.as_bytes(), host.now()).unwrap();
    assert_eq!(inbound.accept(&request(&headers, many.as_bytes())).await.unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(waiting(&queue).await, 0);
}

/// A delivery is taken in while the process dies at `death`, then again by the next process; how many entries there are, and
/// what the second answer was.
async fn killed(queue: Arc<dyn Queue>, host: &Host, death: Death) -> (u64, Accepted) {
    let body = br#"[{"type":"deal.won","id":"d1","data":{"dealId":"1"}},{"type":"lead.converted","id":"d2","data":{"leadId":"2"}}]"#;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(host.clone()));
    let life = Life::new(Some(death));
    let dying: Arc<dyn Queue> = Arc::new(MortalQueue { inner: Arc::clone(&queue), life: Arc::clone(&life) });
    let over = |queue: &Arc<dyn Queue>, store: Arc<dyn Store>| {
        Inbound::new("crm:test", verifier(), JsonEvents::default(), Arc::clone(queue), store, host.clone())
    };
    let mortal = over(&dying, Arc::new(MortalStore { inner: Arc::clone(&store), life: Arc::clone(&life) }));
    let headers = verifier().sign(URL, body, host.now()).unwrap();
    let outcome = mortal.accept(&request(&headers, body)).await;
    assert!(life.is_dead(), "{death:?} is behind the end");
    assert_eq!(Inbound::status(&outcome), StatusCode::SERVICE_UNAVAILABLE, "{death:?}");
    let accepted = over(&queue, store).accept(&request(&headers, body)).await.unwrap();
    (queue.stats().await.unwrap().entries, accepted)
}

#[tokio::test]
async fn a_death_at_any_step_neither_loses_nor_doubles() {
    // A queue that remembers long enough: its enqueue is the only commit there is.
    for (death, enqueued, repeated) in [(Death::Before(0), 2, 0), (Death::After(0), 0, 2)] {
        let host = Host::manual(1);
        let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(host.clone()));
        let (entries, accepted) = killed(queue, &host, death).await;
        assert_eq!((entries, accepted.enqueued, accepted.repeated), (2, enqueued, repeated), "{death:?}");
    }
    // One that forgets within a day: enqueue, then the note.
    for (death, enqueued, repeated) in
        [(Death::Before(0), 2, 0), (Death::After(0), 0, 2), (Death::Before(1), 0, 2), (Death::After(1), 0, 2)]
    {
        let host = Host::manual(1);
        let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::with_op_window(host.clone(), Duration::from_secs(86_400)));
        let (entries, accepted) = killed(queue, &host, death).await;
        assert_eq!((entries, accepted.enqueued, accepted.repeated), (2, enqueued, repeated), "{death:?}");
    }
}

#[tokio::test]
async fn what_the_queue_forgets_the_inbox_remembers() {
    let (host, clock) = Host::manual_with_clock(1);
    let queue = Arc::new(MemoryQueue::with_op_window(host.clone(), Duration::from_secs(60)));
    let inbound = inbound(&host, &queue, Arc::new(MemoryStore::new(host.clone())));
    let body = br#"{"type":"deal.won","id":"d1","data":{"dealId":"1"}}"#;
    let mut outcomes = Vec::new();
    for wait in [0, 3_600, 2 * 86_400, 2 * 86_400] {
        clock.advance(Duration::from_secs(wait));
        let headers = verifier().sign(URL, body, host.now()).unwrap();
        let accepted = inbound.accept(&request(&headers, body)).await.unwrap();
        outcomes.push((accepted.enqueued, accepted.repeated));
    }
    // After three days and five minutes nobody repeats it any more.
    assert_eq!(outcomes, [(1, 0), (0, 1), (0, 1), (1, 0)]);
}

/// The host's own row, the webhook's entry and the note that it was seen: one transaction, whichever way it ends.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_host_takes_a_webhook_into_its_own_transaction() {
    use crm_sync::queue::{Enqueued, SqliteQueue};

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("host.db");
    let host = Host::manual(1);
    let open = async || {
        let queue = SqliteQueue::open(&path, host.clone()).unwrap();
        queue.migrate().await.unwrap();
        queue
    };
    let queue = open().await;
    let mut own = rusqlite::Connection::open(&path).unwrap();
    own.execute_batch("CREATE TABLE heard (id TEXT)").unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(host.clone()));
    let inbound = Inbound::new("crm:test", verifier(), JsonEvents::default(), Arc::new(queue.clone()), store, host.clone());
    let body = br#"{"type":"deal.won","id":"d1","data":{"dealId":"1"}}"#;
    let headers = verifier().sign(URL, body, host.now()).unwrap();
    let entries = inbound.entries(&request(&headers, body)).unwrap();
    let mut seen = Vec::new();
    for commit in [false, true, true] {
        let mut transaction = own.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        let outcome = queue.enqueue_in(&mut transaction, &entries).unwrap();
        if matches!(outcome.as_slice(), [Enqueued::New(_)]) {
            transaction.execute("INSERT INTO heard VALUES ('d1')", []).unwrap();
        }
        if commit {
            transaction.commit().unwrap()
        } else {
            transaction.rollback().unwrap()
        }
        let rows: i64 = own.query_row("SELECT count(*) FROM heard", [], |row| row.get(0)).unwrap();
        seen.push((queue.stats().await.unwrap().entries, rows));
    }
    assert_eq!(seen, [(0, 0), (1, 1), (1, 1)]);
    // Another process, after this one was killed, knows the event.
    drop((inbound, own, queue));
    assert_eq!(open().await.enqueue(entries).await.unwrap(), [Enqueued::Duplicate]);
}

#[tokio::test]
async fn hints_of_one_record_join_and_hold_no_value() {
    let host = Host::manual(1);
    let (queue, store) = (Arc::new(MemoryQueue::new(host.clone())), Arc::new(MemoryStore::new(host.clone())));
    let secrets = || Secrets::new("app", "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy".to_owned()).unwrap();
    let verifier = HubSpotVerifier::new("hubspot", secrets());
    let inbound = Inbound::new("hubspot:test", verifier, HubSpotEvents::new(), Arc::clone(&queue) as Arc<dyn Queue>, store, host.clone())
        .hints_only();
    // The same scheme, made of the general parts.
    let signer = HmacVerifier::new("hubspot", secrets(), "x-hubspot-signature-v3")
        .encoding(crm_sync::webhook::Encoding::Base64)
        .time_header("x-hubspot-request-timestamp", crm_sync::webhook::TimeUnit::Milliseconds)
        .signed([
            crm_sync::webhook::Signed::Method,
            crm_sync::webhook::Signed::Url,
            crm_sync::webhook::Signed::Body,
            crm_sync::webhook::Signed::Timestamp,
        ]);
    let mut enqueued = 0;
    for at in 0..5_u64 {
        let body = format!(
            r#"[{{"eventId":{at},"portalId":1,"occurredAt":{},"subscriptionType":"contact.propertyChange","objectId":123,"propertyName":"email","propertyValue":"canary@example.org"}}]"#,
            1_767_225_600_000_u64 + at
        );
        let headers = signer.sign(URL, body.as_bytes(), host.now()).unwrap();
        enqueued += inbound.accept(&request(&headers, body.as_bytes())).await.unwrap().enqueued;
    }
    assert_eq!((enqueued, waiting(&queue).await), (5, 1));
    let leases = queue.claim(&Claim::new("w").kinds([Inbound::KIND])).await.unwrap();
    let text = String::from_utf8(leases[0].entries[0].payload.to_vec()).unwrap();
    assert!(text.contains("123") && !text.contains("canary"), "{text}");
}

#[tokio::test]
async fn a_handler_that_fails_is_tried_again_or_set_aside() {
    let host = Host::manual(1);
    let (queue, store) = (Arc::new(MemoryQueue::new(host.clone())), Arc::new(MemoryStore::new(host.clone())));
    let inbound = inbound(&host, &queue, store);
    let body = br#"[{"type":"a","id":"1"},{"type":"b","id":"2"}]"#;
    let headers = verifier().sign(URL, body, host.now()).unwrap();
    // Events without a record of a CRM share the lane of their delivery.
    assert_eq!(inbound.accept(&request(&headers, body)).await.unwrap().enqueued, 2);
    let tries = AtomicUsize::new(0);
    let router = Router::new()
        .on("a", |_| {
            let first = tries.fetch_add(1, Ordering::SeqCst) == 0;
            async move { if first { Err(Error::new(ErrorKind::Network, "later")) } else { Ok(()) } }
        })
        .on("b", |_| async { Err(Error::new(ErrorKind::Validation, "never")) });
    let worked = inbound.work(&router, 10).await.unwrap();
    assert_eq!((worked.retried, worked.handled, worked.parked), (1, 0, 0));
    host.sleep(Duration::from_secs(2)).await;
    let worked = inbound.work(&router, 10).await.unwrap();
    assert_eq!((worked.retried, worked.handled, worked.parked), (0, 1, 1));
    let parked = queue.parked(&ParkedPage::new(ParkedFilter::all(), 10)).await.unwrap();
    assert_eq!((parked.len(), parked[0].cause.kind.as_str()), (1, "validation"));
}

/// Everything that waits of webhooks, as text, in the order of the lanes.
#[cfg(feature = "outbound-messages")]
async fn payloads(queue: &MemoryQueue) -> Vec<String> {
    let leases = queue.claim(&Claim::new("reader").lanes(100).kinds([Inbound::KIND])).await.unwrap();
    leases.iter().flat_map(|lease| &lease.entries).map(|entry| String::from_utf8(entry.payload.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn pipedrives_deliveries_come_through_once() {
    let host = Host::manual(1);
    let (queue, store) = (Arc::new(MemoryQueue::new(host.clone())), Arc::new(MemoryStore::new(host.clone())));
    let verifier = BasicVerifier::new("pipedrive", "crm", "a password of some length".to_owned()).unwrap();
    let inbound = Inbound::new("pipedrive:test", verifier, PipedriveEvents, Arc::clone(&queue) as Arc<dyn Queue>, store, host.clone());
    let mut headers = HeaderMap::new();
    headers.insert("authorization", "Basic Y3JtOmEgcGFzc3dvcmQgb2Ygc29tZSBsZW5ndGg=".parse().unwrap());
    let body =
        br#"{"meta":{"action":"change","entity":"deal","entity_id":"7","id":"e-1","timestamp":"2026-02-25T15:02:10Z","version":"2.0"},
        "data":{"id":7,"status":"won","value":12.5,"currency":"EUR","person_id":3},"previous":{"status":"open"}}"#;
    let accepted = inbound.accept(&request(&headers, body)).await.unwrap();
    // A deal that is won is a change and a win: two events of one id.
    assert_eq!((accepted.enqueued, accepted.repeated, accepted.secret.as_str()), (2, 0, "crm"));
    assert_eq!(inbound.accept(&request(&headers, body)).await.unwrap().repeated, 2);
    headers.insert("authorization", "Basic Y3JtOmEgcGFzc3dvcmQgb2Ygc29tZSBsZW5ndGg9".parse().unwrap());
    assert_eq!(Inbound::status(&inbound.accept(&request(&headers, body)).await), StatusCode::UNAUTHORIZED);
    let won = AtomicUsize::new(0);
    let router = Router::new().on_deal_won(|deal: DealWon| {
        won.fetch_add(usize::from(deal.deal_id == "7"), Ordering::SeqCst);
        async { Ok(()) }
    });
    let worked = inbound.work(&router, 10).await.unwrap();
    assert_eq!((worked.handled, worked.unknown, won.load(Ordering::SeqCst)), (1, 1, 1), "{worked:?}");
}

#[cfg(feature = "outbound-messages")]
#[tokio::test]
async fn salesforces_notifications_are_known_again_in_another_message() {
    use crm_sync::salesforce::webhook::{OutboundFormat, OutboundVerifier};

    let host = Host::manual(1);
    let (queue, store) = (Arc::new(MemoryQueue::new(host.clone())), Arc::new(MemoryStore::new(host.clone())));
    let verifier = OutboundVerifier::new("00DAb0000001Org").unwrap().path_secret("path", "a-secret-of-the-path".to_owned()).unwrap();
    let inbound = Inbound::new("salesforce:test", verifier, OutboundFormat, Arc::clone(&queue) as Arc<dyn Queue>, store, host.clone());
    let body = include_str!("../fixtures/salesforce/outbound_message.xml");
    let headers = HeaderMap::new();
    let of = |url, body: &'static [u8]| RawRequest { method: &Method::POST, url, headers: &headers, body };
    let secret = "https://hooks.example.org/a-secret-of-the-path/crm";
    assert_eq!(Inbound::status(&inbound.accept(&of(URL, body.as_bytes())).await), StatusCode::UNAUTHORIZED);
    // The first notification alone, then both in one message.
    let (start, end) = (body.rfind("<Notification>").unwrap(), body.rfind("</Notification>").unwrap() + "</Notification>".len());
    let first: &'static str = Box::leak(format!("{}{}", &body[..start], &body[end..]).into_boxed_str());
    assert_eq!(inbound.accept(&of(secret, first.as_bytes())).await.unwrap().enqueued, 1);
    let accepted = inbound.accept(&of(secret, body.as_bytes())).await.unwrap();
    assert_eq!((accepted.enqueued, accepted.repeated), (1, 1));
    let texts = payloads(&queue).await;
    assert_eq!(texts.len(), 2);
    for id in ["00QAb00000Xy12ZMAR", "00QAb00000Xy13ZMAR"] {
        assert_eq!(texts.iter().filter(|text| text.contains(id)).count(), 1, "{id}: {texts:?}");
    }
}
