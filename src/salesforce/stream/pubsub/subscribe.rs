//! Subscriptions: flow control, resumption, keepalive, commits.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::{BoxStream, StreamExt, poll_fn, unfold};
use http::uri::PathAndQuery;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tonic::{Status, Streaming};

use crate::auth::AccessToken;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::host::Host;
use crate::model::{EventId, parse_datetime};
use crate::salesforce::stream::assemble::{Envelope, assemble};
use crate::salesforce::stream::channel::Channel;
use crate::salesforce::stream::event::{Reread, RereadReason, RereadScope, StreamEvent, StreamMessage};
use crate::salesforce::stream::health::{StreamMonitor, StreamState};
use crate::salesforce::stream::options::{Own, StreamOptions, Subscription};
use crate::salesforce::stream::position::{Position, Replay, ReplayId};
use crate::salesforce::stream::pubsub::avro::read;
use crate::salesforce::stream::pubsub::client::PubSub;
use crate::salesforce::stream::pubsub::codec::Proto;
use crate::salesforce::stream::pubsub::proto::{
    CUSTOM, CommitReplayRequest, ConsumerEvent, EARLIEST, FetchRequest, FetchResponse, LATEST, ManagedFetchRequest, ManagedFetchResponse,
};
use crate::salesforce::stream::pubsub::status::{Fault, error, fault};
use crate::salesforce::stream::session::{stalled, within};

/// The server says that it lives within 270 s (Pub/Sub API guide, "Subscribe RPC Method").
const ALIVE: Duration = Duration::from_secs(270);
/// More events are never owed at a time.
const MOST: u16 = 100;
const SUBSCRIBE: &str = "/eventbus.v1.PubSub/Subscribe";
const MANAGED: &str = "/eventbus.v1.PubSub/ManagedSubscribe";

type Item = Result<StreamEvent>;

/// A subscription whose place the server keeps (`ManagedEventSubscription` of the Tooling API; beta at Salesforce).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManagedSubscription {
    /// By its record id.
    Id(String),
    /// By its developer name.
    Name(String),
}

impl ManagedSubscription {
    fn text(&self) -> &str {
        match self {
            Self::Id(text) | Self::Name(text) => text,
        }
    }
}

impl PubSub {
    /// Listens to one topic: a channel of change data capture or of platform events. Nothing is sent before the stream is polled.
    ///
    /// As [`Salesforce::listen`](crate::salesforce::Salesforce::listen), the stream makes its connection again whenever it
    /// breaks or stalls, renews the token, resumes behind the last event it handed out, and ends only by an error that waiting
    /// does not cure. Up to `batch` events (1 to 100) are asked for at a time; more are asked for when the stream is polled and
    /// half of them came, so that a slow host is not overrun. A host that works for more than 60 seconds on what was asked for
    /// loses the connection, and the stream makes a new one.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a topic or a replay id that cannot be one, or a batch of none or more than 100.
    pub fn subscribe(&self, topic: Subscription, batch: u16, options: StreamOptions) -> Result<PubSubStream> {
        topic.check()?;
        self.stream(Channel::new(topic), None, batch, options)
    }

    /// As [`PubSub::subscribe`], for a subscription whose place the server keeps: [`PubSubStream::commit`] what is done. What was
    /// not committed comes again after an interruption; this stream drops what it has handed out already.
    ///
    /// # Errors
    /// As [`PubSub::subscribe`].
    pub fn subscribe_managed(&self, subscription: ManagedSubscription, batch: u16, options: StreamOptions) -> Result<PubSubStream> {
        if subscription.text().is_empty() {
            return Err(Error::config("the managed subscription has neither id nor name"));
        }
        let channel = Channel::new(Subscription::new(subscription.text()).replay(Replay::All));
        self.stream(channel, Some(subscription), batch, options)
    }

    fn stream(&self, channel: Channel, managed: Option<ManagedSubscription>, batch: u16, options: StreamOptions) -> Result<PubSubStream> {
        if batch == 0 || batch > MOST {
            return Err(Error::config("a batch of the event bus has 1 to 100 events"));
        }
        let host = self.crm.host().clone();
        let monitor = StreamMonitor::new(host.now());
        let commits = managed.is_some().then(Commits::default);
        let engine = Engine {
            own: options.own(self.crm.config.client_name.as_deref()),
            api: self.clone(),
            channel,
            managed,
            commits: commits.clone(),
            batch: i32::from(batch),
            options,
            host,
            monitor: monitor.clone(),
            queue: VecDeque::new(),
            link: None,
            over: false,
            pause: Duration::ZERO,
            attempt: 0,
            failing_since: None,
            token: None,
            renewed: false,
            refused: false,
        };
        let items = unfold(engine, |mut engine| async move { engine.next().await.map(|item| (item, engine)) });
        Ok(PubSubStream { items: items.fuse().boxed(), monitor, commits })
    }
}

/// Events by the Pub/Sub API; see [`PubSub::subscribe`]. Dropping it ends the call and leaves nothing behind.
#[must_use = "a stream does nothing unless it is polled"]
pub struct PubSubStream {
    items: BoxStream<'static, Item>,
    monitor: StreamMonitor,
    commits: Option<Commits>,
}

impl fmt::Debug for PubSubStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSubStream").field("monitor", &self.monitor).finish_non_exhaustive()
    }
}

impl PubSubStream {
    /// A look at its health from elsewhere.
    pub fn monitor(&self) -> StreamMonitor {
        self.monitor.clone()
    }

    /// Tells the server of a managed subscription that everything up to `position` is done. It is sent with the next poll at the
    /// latest, and again after an interruption; the newest wins. The server keeps it in its own time.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a stream of [`PubSub::subscribe`]: keep the position yourself. [`ErrorKind::Config`] for a
    /// position that is none of this API.
    pub fn commit(&self, position: &Position) -> Result<()> {
        let Some(commits) = &self.commits else {
            return Err(Error::unsupported("the server keeps no place of this subscription; keep the position yourself"));
        };
        let bytes = position.replay_id.bytes().ok_or_else(|| Error::config("the replay id is not one of the Pub/Sub API"))?;
        commits.want(bytes);
        Ok(())
    }
}

impl Stream for PubSubStream {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        self.items.as_mut().poll_next(context)
    }
}

/// The place that shall be committed, and the way to say so.
#[derive(Clone, Default)]
struct Commits(Arc<Mutex<Wanted>>);

#[derive(Default)]
struct Wanted {
    place: Option<Vec<u8>>,
    number: u64,
    way: Option<UnboundedSender<ManagedFetchRequest>>,
}

impl Commits {
    fn lock(&self) -> std::sync::MutexGuard<'_, Wanted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn want(&self, place: Vec<u8>) {
        let mut wanted = self.lock();
        wanted.place = Some(place);
        wanted.send();
    }

    fn open(&self, way: UnboundedSender<ManagedFetchRequest>) {
        let mut wanted = self.lock();
        wanted.way = Some(way);
        wanted.send();
    }

    fn done(&self, place: &[u8]) {
        let mut wanted = self.lock();
        if wanted.place.as_deref() == Some(place) {
            wanted.place = None;
        }
    }
}

impl Wanted {
    fn send(&mut self) {
        let (Some(place), Some(way)) = (self.place.clone(), &self.way) else { return };
        self.number += 1;
        let commit = CommitReplayRequest { commit_request_id: self.number.to_string(), replay_id: place };
        // A connection that is gone is replaced, and the new one is told.
        let _open = way.send(ManagedFetchRequest { commit_replay_id_request: Some(commit), ..ManagedFetchRequest::default() });
    }
}

/// An open call.
enum Link {
    Topic(UnboundedSender<FetchRequest>, Streaming<FetchResponse>),
    Managed(UnboundedSender<ManagedFetchRequest>, Streaming<ManagedFetchResponse>),
}

/// What an answer holds in both kinds of calls.
struct Fetched {
    events: Vec<ConsumerEvent>,
    latest: Vec<u8>,
    pending: i32,
}

impl Link {
    fn ask(&self, more: i32) -> bool {
        match self {
            Self::Topic(asks, _) => asks.send(FetchRequest { num_requested: more, ..FetchRequest::default() }).is_ok(),
            Self::Managed(asks, _) => asks.send(ManagedFetchRequest { num_requested: more, ..ManagedFetchRequest::default() }).is_ok(),
        }
    }

    async fn answer(&mut self, commits: Option<&Commits>) -> Result<Option<Fetched>, Status> {
        match self {
            Self::Topic(_, answers) => Ok(answers.message().await?.map(|answer| Fetched {
                events: answer.events,
                latest: answer.latest_replay_id,
                pending: answer.pending_num_requested,
            })),
            Self::Managed(_, answers) => Ok(answers.message().await?.map(|answer| {
                if let (Some(commits), Some(done)) = (commits, &answer.commit_response)
                    && done.error.is_none()
                {
                    commits.done(&done.replay_id);
                }
                Fetched { events: answer.events, latest: answer.latest_replay_id, pending: answer.pending_num_requested }
            })),
        }
    }
}

/// What went wrong.
enum Trouble {
    Again(Error, StreamState),
    Token,
    Replay,
    End(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error.retry() {
            Retry::Never | Retry::Reauthenticate => Self::End(error),
            _ => Self::Again(error, StreamState::Reconnecting),
        }
    }
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        match fault(&status) {
            Fault::Token => Self::Token,
            Fault::Replay => Self::Replay,
            Fault::Other(error) => error.into(),
        }
    }
}

struct Engine {
    api: PubSub,
    channel: Channel,
    managed: Option<ManagedSubscription>,
    commits: Option<Commits>,
    batch: i32,
    options: StreamOptions,
    own: Own,
    host: Host,
    monitor: StreamMonitor,
    queue: VecDeque<Item>,
    /// The open call, and how many events it still owes.
    link: Option<(Link, i32)>,
    over: bool,
    pause: Duration,
    attempt: u32,
    failing_since: Option<Duration>,
    token: Option<AccessToken>,
    renewed: bool,
    /// The place to resume from was, since the last good answer.
    refused: bool,
}

impl Engine {
    async fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.queue.pop_front() {
                return Some(item);
            }
            if self.over {
                return None;
            }
            let pause = std::mem::take(&mut self.pause);
            if !pause.is_zero() {
                self.host.sleep(pause).await;
            }
            let link = self.link.take();
            let done = match link {
                Some((link, owed)) => self.listen(link, owed).await,
                None => self.open().await,
            };
            if let Err(trouble) = done {
                self.mend(trouble).await;
            }
        }
    }

    fn limit(&self) -> Duration {
        ALIVE.saturating_add(Duration::from_secs(20)).saturating_add(self.options.margin)
    }

    async fn open(&mut self) -> Result<(), Trouble> {
        let token = self.api.token().await?;
        self.token = Some(token.clone());
        // The head of the answer may come with the first event only.
        let limit = self.limit();
        let link = match &self.managed {
            Some(managed) => {
                let (asks, mut receiver) = unbounded_channel::<ManagedFetchRequest>();
                let (id, name) = match managed {
                    ManagedSubscription::Id(id) => (id.clone(), String::new()),
                    ManagedSubscription::Name(name) => (String::new(), name.clone()),
                };
                let first =
                    ManagedFetchRequest { subscription_id: id, developer_name: name, num_requested: self.batch, ..Default::default() };
                let _open = asks.send(first);
                if let Some(commits) = &self.commits {
                    commits.open(asks.clone());
                }
                let request = self.api.request(poll_fn(move |context| receiver.poll_recv(context)), &token).await?;
                let mut grpc = self.api.grpc();
                let call = grpc.streaming(request, PathAndQuery::from_static(MANAGED), Proto::<_, ManagedFetchResponse>::new());
                let answer = within(&self.host, limit, call).await.ok_or_else(|| Trouble::Again(stalled(limit), StreamState::Stalled))?;
                Link::Managed(asks, answer?.into_inner())
            }
            None => {
                let (asks, mut receiver) = unbounded_channel::<FetchRequest>();
                let (replay_preset, replay_id) = match self.channel.replay() {
                    Replay::New => (LATEST, Vec::new()),
                    Replay::All => (EARLIEST, Vec::new()),
                    Replay::After(id) => (CUSTOM, id.bytes().unwrap_or_default()),
                };
                let topic_name = self.channel.subscription.channel.clone();
                let _open = asks.send(FetchRequest { topic_name, replay_preset, replay_id, num_requested: self.batch });
                let request = self.api.request(poll_fn(move |context| receiver.poll_recv(context)), &token).await?;
                let mut grpc = self.api.grpc();
                let call = grpc.streaming(request, PathAndQuery::from_static(SUBSCRIBE), Proto::<_, FetchResponse>::new());
                let answer = within(&self.host, limit, call).await.ok_or_else(|| Trouble::Again(stalled(limit), StreamState::Stalled))?;
                Link::Topic(asks, answer?.into_inner())
            }
        };
        self.queue.extend(self.channel.hole().map(|hole| Ok(StreamEvent::Reread(hole))));
        self.link = Some((link, self.batch));
        let now = self.host.now();
        self.monitor.answered(now);
        self.channel.held(now);
        let health = self.monitor.connected(now);
        self.queue.push_back(Ok(StreamEvent::Health(health)));
        Ok(())
    }

    async fn listen(&mut self, mut link: Link, mut owed: i32) -> Result<(), Trouble> {
        // Everything that came was taken; half of a batch on its way keeps the line busy.
        if owed <= self.batch / 2 {
            // A call that has ended says why when it is read.
            let _asked = link.ask(self.batch - owed);
            owed = self.batch;
        }
        let limit = self.limit();
        let commits = self.commits.clone();
        let answer = within(&self.host, limit, link.answer(commits.as_ref())).await;
        let Some(answer) = answer else { return Err(Trouble::Again(stalled(limit), StreamState::Stalled)) };
        let Some(fetched) = answer? else {
            let error = Error::new(ErrorKind::Network, "the event bus ended the call");
            return Err(Trouble::Again(error, StreamState::Reconnecting));
        };
        let now = self.host.now();
        self.monitor.answered(now);
        self.channel.held(now);
        if !fetched.events.is_empty() {
            self.monitor.event(now);
        }
        let idle = fetched.events.is_empty();
        for event in fetched.events {
            self.take(event).await?;
        }
        if idle && !fetched.latest.is_empty() {
            let id = ReplayId::from_bytes(&fetched.latest);
            if self.channel.moved(&id) {
                self.queue.push_back(Ok(StreamEvent::Position(Position::new(&self.channel.subscription.channel, id))));
            }
        }
        self.monitor.well();
        (self.attempt, self.failing_since, self.renewed, self.refused) = (0, None, false, false);
        // What was asked for a moment ago may not be counted yet: the server never owes more than a hundred.
        owed = fetched.pending.min(owed).max(0);
        self.link = Some((link, owed));
        Ok(())
    }

    /// Hands out an event, unless it came before.
    async fn take(&mut self, received: ConsumerEvent) -> Result<(), Trouble> {
        let id = ReplayId::from_bytes(&received.replay_id);
        let position = Position::new(&self.channel.subscription.channel, id.clone());
        let event = received.event.unwrap_or_default();
        let uuid = Some(event.id.clone()).filter(|id| !id.is_empty()).map(EventId::from);
        // A schema that cannot be had just now is no reason to lose the event: the stream resumes before it.
        let schema = match self.api.event_schema(&event.schema_id).await {
            Ok(schema) => Some(schema),
            Err(error) if error.kind() == ErrorKind::Decode || error.kind() == ErrorKind::Config => None,
            Err(error) => return Err(error.into()),
        };
        let decoded = schema.as_ref().and_then(|schema| read(schema, &event.payload));
        let channel = self.channel.subscription.channel.clone();
        let item = match decoded {
            Some((Some(header), body)) => {
                let envelope = Envelope { channel: &channel, position: Some(position), event: uuid, own: &self.own, every_field: true };
                assemble(&header, body, envelope)
            }
            Some((None, body)) => StreamEvent::Message(StreamMessage {
                name: schema.map(|schema| schema.name.clone()),
                at: body.get("CreatedDate").and_then(Value::as_str).and_then(parse_datetime),
                channel,
                payload: Value::Object(body),
                event: uuid,
                position: Some(position),
            }),
            None => {
                let mut reread = Reread::new(&channel, self.channel.entity(), RereadScope::All, RereadReason::Undecodable);
                (reread.position, reread.event) = (Some(position), uuid);
                StreamEvent::Reread(reread)
            }
        };
        let at: Option<Timestamp> = match &item {
            StreamEvent::Change(change) => change.change.at,
            StreamEvent::Message(message) => message.at,
            StreamEvent::Reread(reread) => reread.commit.at,
            _ => None,
        };
        if self.channel.note(&id, &event.id, at) {
            self.queue.push_back(Ok(item));
        }
        Ok(())
    }

    async fn mend(&mut self, trouble: Trouble) {
        self.link = None;
        let (error, state) = match trouble {
            Trouble::End(error) => return self.end(error),
            Trouble::Again(error, state) => (error, state),
            Trouble::Replay => match self.channel.refused() {
                // A place the server keeps itself cannot be refused; a second refusal cannot be helped.
                Some(hole) if self.managed.is_none() && !self.refused => {
                    self.refused = true;
                    return self.queue.push_back(Ok(StreamEvent::Reread(hole)));
                }
                _ => return self.end(error(Fault::Replay)),
            },
            Trouble::Token => {
                let refused = Error::new(ErrorKind::Authentication, "the event bus refused the token");
                let renewed = match &self.token {
                    Some(stale) if !self.renewed => self.api.renew(stale).await,
                    _ => return self.end(refused.retrying(Retry::Never)),
                };
                match renewed {
                    Ok(_) => {
                        self.renewed = true;
                        let health = self.monitor.failed(StreamState::Reconnecting, &refused, self.host.now());
                        return self.queue.push_back(Ok(StreamEvent::Health(health)));
                    }
                    Err(error) if error.is_retryable() => (error, StreamState::Reconnecting),
                    Err(error) => return self.end(error),
                }
            }
        };
        self.attempt = self.attempt.saturating_add(1);
        let now = self.host.monotonic();
        let elapsed = now.saturating_sub(*self.failing_since.get_or_insert(now));
        let Some(wait) = self.options.retry.next_wait_repeatable(&error, self.attempt, elapsed, self.host.random()) else {
            return self.end(error);
        };
        self.pause = wait;
        let health = self.monitor.failed(state, &error, self.host.now());
        self.queue.push_back(Ok(StreamEvent::Health(health)));
    }

    fn end(&mut self, error: Error) {
        self.over = true;
        let now = self.host.now();
        self.monitor.failed(StreamState::Closed, &error, now);
        self.queue.push_back(Ok(StreamEvent::Health(self.monitor.closed(now))));
        self.queue.push_back(Err(error.during("subscribe")));
    }
}
