//! The two streams that deliver: Subscribe and ManagedSubscribe.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures_util::stream::{self, BoxStream, Stream};
use jiff::Timestamp;
use tonic::{Code, Status, Streaming};

use crate::sandbox::api::{Sandbox, TICK};
use crate::sandbox::pubsub::avro;
use crate::sandbox::pubsub::calls::{Caller, topic};
use crate::sandbox::pubsub::messages::{
    CommitReplayRequest, CommitReplayResponse, ConsumerEvent, Error, ErrorCode, FetchRequest, FetchResponse, ManagedFetchRequest,
    ManagedFetchResponse, ProducerEvent, ReplayPreset,
};
use crate::sandbox::pubsub::refusal::{corrupted, refuse};
use crate::sandbox::salesforce::{Channel, Payload};
use crate::sandbox::world::World;

/// At most so many events may be asked for at a time, over all requests.
const MOST: i32 = 100;
/// A stream that asks for nothing is closed after so many milliseconds.
const PATIENCE: i64 = 60_000;
/// An answer holds at most so many bytes of events.
const LARGEST: usize = 3 * 1024 * 1024;

/// What either request says.
#[derive(Debug, Default)]
pub(crate) struct Ask {
    topic: Option<String>,
    preset: i32,
    replay: Vec<u8>,
    more: i32,
    managed: Option<(String, String)>,
    commit: Option<CommitReplayRequest>,
}

impl From<FetchRequest> for Ask {
    fn from(request: FetchRequest) -> Self {
        let topic = Some(request.topic_name).filter(|name| !name.is_empty());
        Self { topic, preset: request.replay_preset, replay: request.replay_id, more: request.num_requested, ..Self::default() }
    }
}

impl From<ManagedFetchRequest> for Ask {
    fn from(request: ManagedFetchRequest) -> Self {
        Self {
            more: request.num_requested,
            managed: Some((request.subscription_id, request.developer_name)),
            commit: request.commit_replay_id_request,
            ..Self::default()
        }
    }
}

/// What either response says.
#[derive(Debug)]
pub(crate) struct Given {
    events: Vec<ConsumerEvent>,
    latest: Vec<u8>,
    rpc: String,
    pending: i32,
    commit: Option<CommitReplayResponse>,
}

impl From<Given> for FetchResponse {
    fn from(given: Given) -> Self {
        Self { events: given.events, latest_replay_id: given.latest, rpc_id: given.rpc, pending_num_requested: given.pending }
    }
}

impl From<Given> for ManagedFetchResponse {
    fn from(given: Given) -> Self {
        Self {
            events: given.events,
            latest_replay_id: given.latest,
            rpc_id: given.rpc,
            pending_num_requested: given.pending,
            commit_response: given.commit,
        }
    }
}

enum Out {
    Item(Given),
    /// With a status, or as if all were said.
    End(Option<Status>),
}

/// Where a subscription stands.
struct Place {
    topic: String,
    channel: Channel,
    managed: Option<String>,
    after: u64,
}

/// An open stream.
struct Feed<Q, R> {
    sandbox: Sandbox,
    caller: Caller,
    incoming: Streaming<Q>,
    /// The client will ask for nothing more.
    half_closed: bool,
    place: Option<Place>,
    pending: i32,
    /// Since when nothing is asked for, and when something was last sent.
    idle_since: i64,
    sent_at: i64,
    cuts: u64,
    schemas: HashMap<String, apache_avro::Schema>,
    over: bool,
    answer: PhantomData<fn() -> R>,
}

/// The events of a subscription, as they come.
pub(crate) fn feed<Q, R>(sandbox: Sandbox, caller: Caller, incoming: Streaming<Q>) -> BoxStream<'static, Result<R, Status>>
where
    Q: Into<Ask> + Send + 'static,
    R: From<Given> + Send + 'static,
{
    let now = sandbox.host().now().as_millisecond();
    let cuts = sandbox.world().salesforce.events.cuts;
    let feed = Feed::<Q, R> {
        sandbox,
        caller,
        incoming,
        half_closed: false,
        place: None,
        pending: 0,
        idle_since: now,
        sent_at: now,
        cuts,
        schemas: HashMap::new(),
        over: false,
        answer: PhantomData,
    };
    Box::pin(stream::unfold(feed, |mut feed| async move {
        let item = feed.next().await?;
        Some((item, feed))
    }))
}

impl<Q: Into<Ask>, R: From<Given>> Feed<Q, R> {
    async fn next(&mut self) -> Option<Result<R, Status>> {
        if self.over {
            return None;
        }
        let host = self.sandbox.host().clone();
        loop {
            let mut sleep = pin!(host.sleep(TICK));
            let mut yielded = false;
            let out = poll_fn(|context| {
                if let Some(out) = self.hear(context).or_else(|| self.look(host.now())) {
                    return Poll::Ready(Some(out));
                }
                self.sandbox.world().salesforce.events.register(context.waker());
                if !std::mem::replace(&mut yielded, true) {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                sleep.as_mut().poll(context).map(|()| None)
            })
            .await;
            match out {
                None => {}
                Some(Out::Item(given)) => return Some(Ok(given.into())),
                Some(Out::End(status)) => {
                    self.over = true;
                    return status.map(Err);
                }
            }
        }
    }

    /// Takes what the client asks.
    fn hear(&mut self, context: &mut Context<'_>) -> Option<Out> {
        while !self.half_closed {
            match Pin::new(&mut self.incoming).poll_next(context) {
                Poll::Ready(Some(Ok(request))) => {
                    let now = self.sandbox.host().now();
                    match self.take(request.into(), now) {
                        Ok(None) => {}
                        Ok(Some(given)) => return Some(Out::Item(given)),
                        Err(status) => return Some(Out::End(Some(status))),
                    }
                }
                Poll::Ready(Some(Err(status))) => return Some(Out::End(Some(status))),
                Poll::Ready(None) => self.half_closed = true,
                Poll::Pending => break,
            }
        }
        None
    }

    fn invalid(&self, error: &str, message: &str) -> Status {
        refuse(Code::InvalidArgument, error, message, &self.caller.rpc)
    }

    fn take(&mut self, ask: Ask, now: Timestamp) -> Result<Option<Given>, Status> {
        match &self.place {
            None => self.place = Some(self.start(&ask, now)?),
            Some(place) => {
                if ask.topic.as_ref().is_some_and(|topic| *topic != place.topic) {
                    return Err(self.invalid("subscription.fetch.topic.mismatch", "A stream has one topic, that of its first request."));
                }
            }
        }
        let first = self.pending == 0;
        if ask.more < 0 || (ask.more == 0 && ask.commit.is_none()) {
            return Err(self.invalid("subscription.fetch.requested.events.invalid", "num_requested must be positive."));
        }
        self.pending = self.pending.saturating_add(ask.more).min(MOST);
        if first && self.pending > 0 {
            self.sent_at = now.as_millisecond();
        }
        Ok(ask.commit.map(|commit| self.commit(commit, now)))
    }

    /// The place a first request names.
    fn start(&self, ask: &Ask, now: Timestamp) -> Result<Place, Status> {
        let mut world = self.sandbox.world();
        let Some((id, name)) = &ask.managed else {
            let Some(name) = &ask.topic else {
                return Err(self.invalid("subscription.fetch.topic.missing", "The first request of a stream names its topic."));
            };
            let channel = topic(&world.salesforce, name, &self.caller.rpc)?;
            let log = &world.salesforce.events.log;
            let after = match ReplayPreset::try_from(ask.preset) {
                Ok(ReplayPreset::Latest) => log.last(),
                Ok(ReplayPreset::Earliest) => 0,
                Ok(ReplayPreset::Custom) => match <[u8; 8]>::try_from(ask.replay.as_slice()).map(u64::from_be_bytes) {
                    Ok(replay) if log.knows(replay, now) => replay,
                    Ok(_) => return Err(corrupted(&self.caller.rpc)),
                    Err(_) => {
                        let message = "A CUSTOM subscription carries the Replay ID of an event.";
                        return Err(self.invalid("subscription.fetch.replayid.validation.failed", message));
                    }
                },
                Err(_) => return Err(self.invalid("subscription.fetch.replay.preset.invalid", "The replay preset is not known.")),
            };
            return Ok(Place { topic: name.clone(), channel, managed: None, after });
        };
        let found = world.salesforce.events.config.managed.values().find(|managed| {
            (!id.is_empty() && managed.id.starts_with(id.as_str()) && id.len() >= 15) || (id.is_empty() && managed.name == *name)
        });
        let Some(managed) = found.cloned() else {
            let message = "The managed subscription was not found.";
            return Err(refuse(Code::NotFound, "managed.subscription.not.found", message, &self.caller.rpc));
        };
        if !managed.running {
            let message = "The managed subscription is stopped.";
            return Err(refuse(Code::FailedPrecondition, "managed.subscription.not.running", message, &self.caller.rpc));
        }
        let channel = topic(&world.salesforce, &managed.topic, &self.caller.rpc)?;
        let log = &mut world.salesforce.events.log;
        let start = |earliest: bool, last: u64| if earliest { 0 } else { last };
        let after = match managed.committed {
            Some(replay) if log.knows(replay, now) => replay,
            Some(_) => start(managed.recover_earliest, log.last()),
            None => start(managed.earliest, log.last()),
        };
        Ok(Place { topic: managed.topic, channel, managed: Some(managed.name), after })
    }

    /// Remembers how far the client of a managed subscription has come.
    fn commit(&mut self, commit: CommitReplayRequest, now: Timestamp) -> Given {
        let mut world = self.sandbox.world();
        let replay = <[u8; 8]>::try_from(commit.replay_id.as_slice()).map(u64::from_be_bytes).ok();
        let known = replay.filter(|replay| world.salesforce.events.log.knows(*replay, now));
        let name = self.place.as_ref().and_then(|place| place.managed.clone()).unwrap_or_default();
        let mut error = None;
        match (known, world.salesforce.events.change().managed.get_mut(&name)) {
            (Some(replay), Some(managed)) => managed.committed = Some(replay),
            _ => error = Some("The Replay ID is not known."),
        }
        if world.commit().is_err() {
            error = Some("The position could not be stored.");
        }
        let response = CommitReplayResponse {
            commit_request_id: commit.commit_request_id,
            replay_id: commit.replay_id,
            error: error.map(|text| Error { code: ErrorCode::Commit.into(), msg: text.to_owned() }),
            process_time: now.as_millisecond(),
        };
        let latest = world.salesforce.events.log.last();
        drop(world);
        self.given(Vec::new(), latest, Some(response), now)
    }

    fn given(&mut self, events: Vec<ConsumerEvent>, latest: u64, commit: Option<CommitReplayResponse>, now: Timestamp) -> Given {
        self.sent_at = now.as_millisecond();
        if self.pending == 0 {
            self.idle_since = now.as_millisecond();
        }
        let latest = latest.to_be_bytes().to_vec();
        Given { events, latest, rpc: self.caller.rpc.clone(), pending: self.pending, commit }
    }

    /// What there is to say now.
    fn look(&mut self, now: Timestamp) -> Option<Out> {
        let sandbox = self.sandbox.clone();
        let mut world = sandbox.world();
        let at = now.as_millisecond();
        let _ = world.advance(now);
        if world.salesforce.events.cuts != self.cuts {
            return Some(Out::End(Some(refuse(Code::Unavailable, "service.unavailable", "The service is unavailable.", &self.caller.rpc))));
        }
        if let Err(status) = self.caller.check(&mut world, now) {
            return Some(Out::End(Some(status)));
        }
        if world.salesforce.events.stalled {
            return None;
        }
        if self.pending == 0 {
            let over = self.half_closed || at >= self.idle_since + PATIENCE;
            return over.then_some(Out::End(None));
        }
        let events = self.fetch(&mut world, now);
        let keepalive = i64::try_from(world.salesforce.events.config.keepalive).unwrap_or(i64::MAX).saturating_mul(1000);
        if events.is_empty() {
            if at < self.sent_at.saturating_add(keepalive) {
                return None;
            }
            let latest = world.salesforce.events.log.position(now);
            // A place that cannot be stored is lost with the process, and then refused as any other id.
            let _ = world.commit();
            drop(world);
            if let Some(place) = &mut self.place {
                place.after = latest;
            }
            return Some(Out::Item(self.given(Vec::new(), latest, None, now)));
        }
        drop(world);
        self.pending -= i32::try_from(events.len()).unwrap_or(0);
        let latest = self.place.as_ref().map_or(0, |place| place.after);
        Some(Out::Item(self.given(events, latest, None, now)))
    }

    fn fetch(&mut self, world: &mut World, now: Timestamp) -> Vec<ConsumerEvent> {
        let Some(place) = &mut self.place else { return Vec::new() };
        let most = usize::try_from(self.pending).unwrap_or(0);
        let user = world.salesforce.user.clone();
        let found: Vec<_> = {
            let salesforce = &world.salesforce;
            let after = salesforce.events.log.after(place.after, now);
            after.filter(|event| salesforce.carries(&place.channel, event, &user)).take(most).cloned().collect()
        };
        let (mut events, mut size) = (Vec::new(), 0);
        for event in &found {
            let object = match &event.payload {
                Payload::Change(change) => &change.entity,
                Payload::Platform { event, .. } => event,
                _ => continue,
            };
            let Some(shape) = world.salesforce.shape(object) else { continue };
            if !self.schemas.contains_key(&shape.id)
                && let Ok(schema) = apache_avro::Schema::parse_str(&shape.json)
            {
                self.schemas.insert(shape.id.clone(), schema);
            }
            let Some(schema) = self.schemas.get(&shape.id) else { continue };
            let Some(payload) = avro::encode(&shape, schema, &event.payload) else { continue };
            size += payload.len();
            if size > LARGEST && !events.is_empty() {
                break;
            }
            let producer = ProducerEvent { id: event.uuid.clone(), schema_id: shape.id.clone(), payload, headers: Vec::new() };
            events.push(ConsumerEvent { event: Some(producer), replay_id: event.replay.to_be_bytes().to_vec() });
            place.after = event.replay;
        }
        events
    }
}
