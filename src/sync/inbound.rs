//! Webhooks: verified, dropped if seen, enqueued.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::model::{Change, Entity, EventId};
use crate::observe::{Event, Ignore, Observer, WebhookOutcome};
use crate::pace::RetryPolicy;
use crate::queue::{Cause, Claim, Coalesce, Enqueued, Lane, MAX_PAYLOAD, Merge, NewEntry, Priority, Queue, Settle, Then};
use crate::store::{Batch, Conflict, Store, inbox};
use crate::webhook::{DEFAULT_TOLERANCE, Dispatched, EventFormat, RawRequest, Router, Verified, Verifier, WebhookEvent};

/// Longer than the usual senders repeat: Stripe's and HubSpot's three days, with the tolerance on top.
const KEEP: Duration = Duration::from_secs(3 * 24 * 3600 + DEFAULT_TOLERANCE.as_secs());

/// More events than HubSpot (100) or Salesforce (100) put into one delivery.
const MOST_EVENTS: usize = 1_000;

/// Takes webhooks in.
///
/// [`Inbound::accept`] verifies the bytes, drops what was seen before, and enqueues one entry per event, in the lane of its record. Only
/// then is the request to be answered; the CRM is never called on the way. [`Inbound::work`] hands the entries to a [`Router`]
/// later, in this process or another.
///
/// **No loss, no double effect.** The queue remembers each event's op id in the same transaction as its entry, so that the
/// enqueue is the replay check and the only commit: a crash before it leaves nothing and the sender's repeat is accepted, a crash
/// after it leaves the event enqueued and the repeat is dropped. Only where the queue forgets op ids sooner than
/// [`Inbound::keep`] ([`crate::queue::QueueCapabilities::op_window`]; the default of all queues here is 7 days) what was seen is
/// also noted in the store's inbox, after the enqueue; a crash between the two is healed by the repeat, which the queue still knows.
/// A host that commits entries with data of its own takes them from [`Inbound::entries`].
///
/// **The payload is a hint.** Deliveries are repeated, late and out of order; where order matters read the record again. With
/// [`Inbound::hints_only`] the data is not even kept: the entry says which record may have changed, and hints of one record that
/// wait join.
#[derive(Debug)]
pub struct Inbound {
    connection: String,
    verifier: Box<dyn Verifier>,
    format: Box<dyn EventFormat>,
    store: Arc<dyn Store>,
    queue: Arc<dyn Queue>,
    host: Host,
    observer: Arc<dyn Observer>,
    policy: RetryPolicy,
    keep: Duration,
    hints_only: bool,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// Events that were enqueued now, or joined one that waits.
    pub enqueued: usize,
    /// Events that were seen before.
    pub repeated: usize,
    /// The label of the secret that matched.
    pub secret: String,
}

/// What a round of [`Inbound::work`] did, in numbers of events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Worked {
    /// Those a handler took.
    pub handled: usize,
    /// Those of types nobody registered; counted by the router and given to its hook.
    pub unknown: usize,
    /// Those tried again later.
    pub retried: usize,
    /// Those that went to the dead letters.
    pub parked: usize,
}

impl Worked {
    /// True if nothing was claimed.
    pub fn is_idle(&self) -> bool {
        *self == Self::default()
    }
}

/// The payload of an entry.
#[derive(Serialize, Deserialize)]
struct Notice {
    kind: String,
    id: Option<EventId>,
    at: Option<Timestamp>,
    change: Option<Change>,
    #[serde(default)]
    data: Value,
}

impl Inbound {
    /// The kind of its entries.
    pub const KIND: &'static str = "webhook";

    /// Takes deliveries for `connection`, the name of the adapter they are about.
    pub fn new(
        connection: impl Into<String>,
        verifier: impl Verifier + 'static,
        format: impl EventFormat + 'static,
        queue: Arc<dyn Queue>,
        store: Arc<dyn Store>,
        host: Host,
    ) -> Self {
        Self {
            connection: connection.into(),
            verifier: Box::new(verifier),
            format: Box::new(format),
            store,
            queue,
            host,
            observer: Arc::new(Ignore),
            policy: RetryPolicy::default(),
            keep: KEEP,
            hints_only: false,
            refused: Mutex::default(),
        }
    }

    /// How long an event is remembered: longer than the tolerance and the time in which the sender repeats. Default: 3 days and
    /// 5 minutes.
    #[must_use]
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    /// Keeps neither the data nor the fields of events: only type, record and time. Waiting hints of one record and type join.
    #[must_use]
    pub fn hints_only(mut self) -> Self {
        self.hints_only = true;
        self
    }

    /// When and how often a handler that failed is tried again. Default: 1 s doubling to 60 s, five attempts.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Who hears of [`Event::Webhook`].
    #[must_use]
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// How many deliveries were refused for which reason ([`crate::webhook::SignatureError::reason`]).
    pub fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The entries of a delivery, verified, for a host that enqueues them itself: in its own transaction with
    /// [`SqliteQueue::enqueue_in`](crate::queue::SqliteQueue::enqueue_in) or
    /// [`PostgresQueue::enqueue_in`](crate::queue::PostgresQueue::enqueue_in), together with data of its own. Those that were
    /// enqueued before come out of it as [`Enqueued::Duplicate`].
    ///
    /// # Errors
    /// As [`Inbound::accept`], but for those of queue and store.
    pub fn entries(&self, request: &RawRequest<'_>) -> Result<Vec<NewEntry>> {
        let verified = self.verify(request)?;
        let receipt = verified.receipt();
        let (named, _) = self.named(&verified)?;
        named.iter().map(|(id, event)| self.entry(id, event, &receipt.key)).collect()
    }

    fn verify<'r>(&self, request: &RawRequest<'r>) -> Result<Verified<'r>> {
        self.verifier.verify(request, self.host.now()).map_err(|error| {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(error.reason()).or_default() += 1;
            self.tell(WebhookOutcome::Refused, 0);
            error.into()
        })
    }

    /// The events of a delivery, each once, by names that tell them from all others; and how many came twice within it.
    fn named(&self, verified: &Verified<'_>) -> Result<(Vec<(EventId, WebhookEvent)>, usize)> {
        let events = self.format.events(verified)?;
        if events.len() > MOST_EVENTS {
            return Err(Error::decode(format!("the delivery has {} events; at most {MOST_EVENTS} are taken", events.len())));
        }
        let delivery = &verified.receipt().key;
        let mut named: Vec<(EventId, WebhookEvent)> = Vec::with_capacity(events.len());
        let mut within = HashSet::new();
        let mut repeated = 0;
        for (at, event) in events.into_iter().enumerate() {
            let id = name(&event, delivery, at);
            // A sender may write one event twice into a delivery.
            if within.insert(id.clone()) { named.push((id, event)) } else { repeated += 1 }
        }
        Ok((named, repeated))
    }

    /// Whether the queue forgets op ids too soon to be the only one that remembers.
    fn notes(&self) -> bool {
        self.queue.capabilities().op_window < self.keep
    }

    /// Takes one delivery in. A dropped future leaves it enqueued or not; the sender's repeat is right in both cases.
    ///
    /// # Errors
    /// [`ErrorKind::Signature`] with the reason as code, [`ErrorKind::Decode`] if a believed body is not what its sender
    /// documents, or those of queue and store. [`Inbound::status`] is the answer to each.
    pub async fn accept(&self, request: &RawRequest<'_>) -> Result<Accepted> {
        let verified = self.verify(request)?;
        let receipt = verified.receipt();
        let (named, mut repeated) = self.named(&verified)?;
        let fresh = if self.notes() {
            let ids: Vec<&EventId> = named.iter().map(|(id, _)| id).collect();
            let seen = inbox::seen(&*self.store, &self.connection, &ids).await?;
            let before = named.len();
            let fresh: Vec<_> = named.into_iter().zip(seen).filter_map(|(event, seen)| (!seen).then_some(event)).collect();
            repeated += before - fresh.len();
            fresh
        } else {
            named
        };
        let entries = fresh.iter().map(|(id, event)| self.entry(id, event, &receipt.key)).collect::<Result<Vec<_>>>()?;
        let mut enqueued = 0;
        if !entries.is_empty() {
            for outcome in self.queue.enqueue(entries).await? {
                match outcome {
                    Enqueued::Duplicate => repeated += 1,
                    Enqueued::Coalesced(_) | Enqueued::New(_) => enqueued += 1,
                }
            }
            if self.notes() {
                self.note(fresh.into_iter().map(|(id, _)| id).collect()).await?;
            }
        }
        let outcome = if enqueued == 0 && repeated > 0 { WebhookOutcome::Repeated } else { WebhookOutcome::Accepted };
        self.tell(outcome, enqueued);
        Ok(Accepted { enqueued, repeated, secret: receipt.secret.clone() })
    }

    /// The HTTP answer: 200; 401 to everything that is not believed, whatever the reason; 400 to a believed body that cannot be
    /// read; 503 to trouble of our own, so that the sender repeats.
    pub fn status(outcome: &Result<Accepted>) -> StatusCode {
        match outcome.as_ref().map_err(Error::kind) {
            Ok(_) => StatusCode::OK,
            Err(ErrorKind::Signature) => StatusCode::UNAUTHORIZED,
            Err(ErrorKind::Decode) => StatusCode::BAD_REQUEST,
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// One round: claims at most `lanes` lanes and hands their events to `router`, each lane's in order. What a handler refuses
    /// for now is tried again by the policy; what it refuses for good is parked with its cause and the lane goes on. A handler
    /// may see an event again if the process dies before its lane is settled: let it be repeatable.
    ///
    /// # Errors
    /// Those of the queue.
    pub async fn work(&self, router: &Router<'_>, lanes: usize) -> Result<Worked> {
        let want = Claim::new(self.host.new_id()).lanes(lanes).entries(20).kinds([Self::KIND]);
        let mut worked = Worked::default();
        for lease in self.queue.claim(&want).await? {
            let mut settle = Settle::done(lease.token.clone(), 0);
            for entry in &lease.entries {
                let outcome = match serde_json::from_slice::<Notice>(&entry.payload) {
                    Ok(notice) => router.dispatch(notice.into()).await,
                    Err(_) => Err(Error::decode("the payload of the entry is no webhook event; it was enqueued by something else")),
                };
                let error = match outcome {
                    Ok(Dispatched::Handled) => {
                        settle.done += 1;
                        worked.handled += 1;
                        continue;
                    }
                    Ok(Dispatched::Unknown) => {
                        settle.done += 1;
                        worked.unknown += 1;
                        continue;
                    }
                    Err(error) => error,
                };
                // The attempts are those of the head.
                let attempt = if settle.done == 0 { lease.attempts.saturating_add(1) } else { 1 };
                settle.then = match self.policy.next_wait_repeatable(&error, attempt, Duration::ZERO, self.host.random()) {
                    Some(wait) => {
                        worked.retried += 1;
                        Then::Retry { wait }
                    }
                    None => {
                        worked.parked += 1;
                        Then::Park { entries: 1, cause: Cause::of(&error), freeze: false }
                    }
                };
                break;
            }
            self.queue.settle(vec![settle]).await?;
        }
        Ok(worked)
    }

    fn entry(&self, id: &EventId, event: &WebhookEvent, delivery: &str) -> Result<NewEntry> {
        let mut notice = Notice {
            kind: event.kind.clone(),
            id: event.id.clone(),
            at: event.at,
            change: event.change.clone(),
            data: if self.hints_only { Value::Null } else { event.data.clone() },
        };
        if self.hints_only
            && let Some(change) = &mut notice.change
        {
            change.fields = crate::model::Fields::new();
        }
        let lane = match &event.change {
            Some(change) => Lane::new(self.connection.clone(), change.entity.clone(), change.id.as_str()),
            None => Lane::new(self.connection.clone(), Entity::from_static("webhook"), delivery),
        };
        let payload = serde_json::to_vec(&notice).map_err(|_| Error::internal("a webhook event does not serialise"))?;
        if payload.len() > MAX_PAYLOAD {
            return Err(Error::decode(format!("an event has {} bytes; at most {MAX_PAYLOAD} fit into the queue", payload.len())));
        }
        let op = format!("webhook/{}/{}", self.connection, id.as_str());
        let entry = NewEntry::new(lane, op, payload).kind(Self::KIND).priority(Priority::Webhook);
        Ok(match &event.change {
            Some(_) if self.hints_only => entry.coalesce(Coalesce::new(event.kind.clone(), Merge::TakeNew)),
            _ => entry,
        })
    }

    /// Notes events as seen. Somebody else may have noted some of them since.
    async fn note(&self, mut ids: Vec<EventId>) -> Result<()> {
        let until = self.store.now().await?.checked_add(self.keep).unwrap_or(Timestamp::MAX);
        while !ids.is_empty() {
            let mut batch = Batch::new();
            for id in &ids {
                inbox::admit(&mut batch, &self.connection, id, until)?;
            }
            match self.store.commit(batch).await {
                Ok(_) => return Ok(()),
                Err(error) if Conflict::of(&error).is_some() => {
                    let before = ids.len();
                    let seen = inbox::seen(&*self.store, &self.connection, &ids.iter().collect::<Vec<_>>()).await?;
                    let mut seen = seen.into_iter();
                    ids.retain(|_| !seen.next().unwrap_or(false));
                    if ids.len() == before {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn tell(&self, outcome: WebhookOutcome, changes: usize) {
        self.observer.on(&Event::Webhook { source: self.verifier.source(), outcome, changes });
    }
}

/// What tells an event from all others of its connection. The sender's id alone need not: it may be used for several types and
/// records. Hashed, because an op id has a length limit.
fn name(event: &WebhookEvent, delivery: &str, at: usize) -> EventId {
    let at = at.to_string();
    let record = event.change.as_ref().map_or("", |change| change.id.as_str());
    let parts: [&str; 4] = match &event.id {
        Some(id) => ["event", &event.kind, record, id.as_str()],
        None => ["delivery", delivery, &at, ""],
    };
    let framed: Vec<u8> = parts.iter().flat_map(|part| [part.len().to_string().as_bytes(), b":", part.as_bytes()].concat()).collect();
    EventId::new(crate::webhook::digest_key(&[&framed]))
}

impl From<Notice> for WebhookEvent {
    fn from(notice: Notice) -> Self {
        let mut event = Self::new(notice.kind, notice.data);
        (event.id, event.at, event.change) = (notice.id, notice.at, notice.change);
        event
    }
}
