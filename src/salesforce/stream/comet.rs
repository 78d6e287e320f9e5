//! The Streaming API as a stream: handshake, subscriptions, the long poll, and what to do when any of it breaks.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::{BoxFuture, poll_fn};

use crate::auth::AccessToken;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::host::Host;
use crate::rest::Client;
use crate::salesforce::client::Salesforce;
use crate::salesforce::stream::bayeux::{Advice, BayeuxDialect, Message, Refusal, refusal};
use crate::salesforce::stream::channel::Channel;
use crate::salesforce::stream::decode::decode;
use crate::salesforce::stream::event::StreamEvent;
use crate::salesforce::stream::health::{StreamMonitor, StreamState};
use crate::salesforce::stream::options::{Own, StreamOptions, Subscription};
use crate::salesforce::stream::session::{Session, Silence, stalled};
use crate::salesforce::version::ApiVersion;

/// A connect is held this long unless the server says otherwise (Streaming API Developer Guide, "Message Reliability").
const HELD: Duration = Duration::from_secs(110);
/// The first API version with replay.
const FIRST: ApiVersion = ApiVersion::new(37);
/// An answer without an event comes late; a server that sends them at once is not asked more often than this.
const RESTLESS: Duration = Duration::from_secs(1);
/// Subscriptions of one request; it may have 32,768 bytes.
const BATCH: usize = 20;

type Item = Result<StreamEvent>;

impl Salesforce {
    /// Listens to `channels` by the Streaming API. Nothing is sent before the stream is polled.
    ///
    /// The stream makes its connection again whenever it breaks, is refused for the moment or stalls, renews the token when it has
    /// expired, and resumes behind the last event it handed out. It ends only by an error that waiting does not cure (its last
    /// item), or when [`StreamOptions::retry`] gives up. The transport's own time limit must be longer than the 110 seconds a
    /// request is held (the ready-made one's is 120).
    ///
    /// Events are asked for when the last ones were taken: a host that works for more than 40 seconds on one answer loses its
    /// session, and the stream makes a new one.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a channel or a replay id that cannot be one, no channel at all, or an API version before 37.0.
    pub fn listen(&self, channels: impl IntoIterator<Item = Subscription>, options: StreamOptions) -> Result<CometdStream> {
        let channels: Vec<Channel> = channels.into_iter().map(Channel::new).collect();
        if channels.is_empty() {
            return Err(Error::config("no channel to listen to"));
        }
        for channel in &channels {
            channel.subscription.check()?;
            if channel.subscription.replay.cometd().is_none() {
                return Err(Error::config("the replay id is not one of the Streaming API: it takes numbers"));
            }
        }
        if self.api_version() < FIRST {
            return Err(Error::config("the Streaming API has replay since version 37.0; configure a newer api_version"));
        }
        let tokens = Arc::clone(self.rest.tokens());
        let rest = Client::new(Arc::clone(&self.transport), tokens, BayeuxDialect::default(), self.config.base()?);
        let rest = rest.pinned(self.config.pin_instance_url);
        let host = self.host().clone();
        let session = Session::new(rest, host.clone(), format!("/cometd/{}", self.api_version()));
        let monitor = StreamMonitor::new(host.now());
        let own = options.own(self.config.client_name.as_deref());
        let engine = Engine {
            session: session.clone(),
            channels,
            own,
            host,
            monitor: monitor.clone(),
            queue: VecDeque::new(),
            phase: Phase::Open,
            pause: Duration::ZERO,
            held: HELD,
            restless: 0,
            attempt: 0,
            failing_since: None,
            token: None,
            renewed: false,
            options,
        };
        Ok(CometdStream { work: Work::Idle(Box::new(engine)), session, monitor })
    }
}

/// Events by the Streaming API; see [`Salesforce::listen`].
///
/// Dropping it leaves nothing behind but a session that the server forgets within a minute; [`CometdStream::close`] gives it back
/// at once. An event that was not handed out yet is sent again to whoever resumes behind the last [`Position`] he kept.
///
/// [`Position`]: crate::salesforce::stream::Position
#[must_use = "a stream does nothing unless it is polled"]
pub struct CometdStream {
    work: Work,
    session: Session,
    monitor: StreamMonitor,
}

enum Work {
    Idle(Box<Engine>),
    Busy(BoxFuture<'static, (Box<Engine>, Option<Item>)>),
    Over,
}

impl fmt::Debug for CometdStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CometdStream").field("monitor", &self.monitor).finish_non_exhaustive()
    }
}

impl CometdStream {
    /// A look at its health from elsewhere.
    pub fn monitor(&self) -> StreamMonitor {
        self.monitor.clone()
    }

    /// Ends the session at the server, so that its place is free at once.
    pub async fn close(self) {
        drop(self.work);
        self.session.disconnect(Duration::from_secs(10)).await;
    }
}

impl Stream for CometdStream {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        loop {
            match std::mem::replace(&mut self.work, Work::Over) {
                Work::Idle(engine) => self.work = Work::Busy(Box::pin(engine.run())),
                Work::Busy(mut busy) => {
                    let Poll::Ready((engine, item)) = busy.as_mut().poll(context) else {
                        self.work = Work::Busy(busy);
                        return Poll::Pending;
                    };
                    if item.is_some() {
                        self.work = Work::Idle(engine);
                    }
                    return Poll::Ready(item);
                }
                Work::Over => return Poll::Ready(None),
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// A handshake is next.
    Open,
    /// A connect is next.
    Listen,
    /// Nothing is next.
    Over,
}

/// What went wrong, and what that means for the session.
enum Trouble {
    /// Make a new one; `soon` is the server's own wish.
    Again { error: Error, state: StreamState, soon: Option<Duration> },
    /// Renew the token, then make a new one.
    Token,
    /// Give up.
    End(Error),
}

struct Engine {
    session: Session,
    channels: Vec<Channel>,
    own: Own,
    host: Host,
    monitor: StreamMonitor,
    options: StreamOptions,
    queue: VecDeque<Item>,
    phase: Phase,
    /// Before the next request.
    pause: Duration,
    /// How long the server holds a connect.
    held: Duration,
    /// Answers in a row that came at once and held nothing.
    restless: u32,
    /// Failures since the last good answer, and since when.
    attempt: u32,
    failing_since: Option<Duration>,
    /// The token the session was made with.
    token: Option<AccessToken>,
    renewed: bool,
}

impl Engine {
    async fn run(mut self: Box<Self>) -> (Box<Self>, Option<Item>) {
        loop {
            if let Some(item) = self.queue.pop_front() {
                return (self, Some(item));
            }
            if self.phase == Phase::Over {
                return (self, None);
            }
            let pause = std::mem::take(&mut self.pause);
            if !pause.is_zero() {
                self.host.sleep(pause).await;
            }
            let done = if self.phase == Phase::Open { self.open().await } else { self.listen().await };
            if let Err(trouble) = done {
                self.mend(trouble).await;
            }
            if self.queue.is_empty() {
                // Where time moves by waiting alone, a quiet server would never let anybody else wait.
                turn().await;
            }
        }
    }

    /// Handshake, a first connect that is answered at once, and the subscriptions.
    async fn open(&mut self) -> Result<(), Trouble> {
        let limit = self.options.answer_within;
        self.token = Some(self.session.token().await.map_err(given_up)?);
        let answer = self.session.handshake(limit).await.map_err(|silence| silent(silence, limit))?;
        let reply = self.take(answer, "/meta/handshake")?;
        let Some(client_id) = reply.client_id.filter(|id| !id.is_empty()) else {
            return Err(again(Error::decode("the server's handshake names no client").retrying(Retry::Backoff)));
        };
        self.session.adopt(client_id);
        self.heed(reply.advice.as_ref());
        let answer = self.session.connect(true, limit).await.map_err(|silence| silent(silence, limit))?;
        let reply = self.take(answer, "/meta/connect")?;
        self.heed(reply.advice.as_ref());
        let holes: Vec<StreamEvent> = self.channels.iter().filter_map(Channel::hole).map(StreamEvent::Reread).collect();
        let wanted: Vec<usize> = (0..self.channels.len()).collect();
        for batch in wanted.chunks(BATCH) {
            for at in self.subscribe(batch, limit).await? {
                // Its place is lost; from here it begins elsewhere.
                let again = self.subscribe(&[at], limit).await?;
                if !again.is_empty() {
                    return Err(Trouble::End(refused_replay()));
                }
            }
        }
        self.queue.extend(holes.into_iter().map(Ok));
        let now = self.host.now();
        self.channels.iter_mut().for_each(|channel| channel.held(now));
        let health = self.monitor.connected(now);
        self.queue.push_back(Ok(StreamEvent::Health(health)));
        self.phase = Phase::Listen;
        Ok(())
    }

    /// Subscribes the channels at these places; answers those whose replay id was refused, with the hole already told.
    async fn subscribe(&mut self, places: &[usize], limit: Duration) -> Result<Vec<usize>, Trouble> {
        let mut wanted = Vec::with_capacity(places.len());
        for at in places {
            let Some(channel) = self.channels.get(*at) else { continue };
            // A place that is no number was refused before anything was sent, and events of CometD have numbers.
            let replay = channel.replay().cometd().unwrap_or(-2);
            wanted.push((format!("s{at}"), channel.subscription.channel.clone(), replay));
        }
        let answer = self.session.subscribe(&wanted, limit).await.map_err(|silence| silent(silence, limit))?;
        self.monitor.answered(self.host.now());
        let mut replies: Vec<Message> = Vec::new();
        for message in answer {
            match message.channel.as_str() {
                "/meta/subscribe" => replies.push(message),
                _ => self.deliver(message),
            }
        }
        let mut refused = Vec::new();
        for (at, (id, name, _)) in places.iter().zip(&wanted) {
            let named = |value: &serde_json::Value| {
                value.as_str() == Some(name) || value.as_array().is_some_and(|list| list.iter().any(|one| one.as_str() == Some(name)))
            };
            let is_it = |reply: &&Message| {
                reply.id.as_ref().and_then(serde_json::Value::as_str) == Some(id) || reply.subscription.as_ref().is_some_and(named)
            };
            let Some(reply) = replies.iter().find(is_it) else {
                return Err(again(Error::decode("the server did not answer a subscription").retrying(Retry::Backoff)));
            };
            if reply.successful == Some(true) {
                continue;
            }
            match refusal(reply) {
                Refusal::Replay => match self.channels.get_mut(*at).and_then(Channel::refused) {
                    Some(hole) => {
                        self.queue.push_back(Ok(StreamEvent::Reread(hole)));
                        refused.push(*at);
                    }
                    None => return Err(Trouble::End(refused_replay())),
                },
                other => return Err(self.refused(other, reply)),
            }
        }
        Ok(refused)
    }

    /// One long poll.
    async fn listen(&mut self) -> Result<(), Trouble> {
        let limit = self.held.saturating_add(self.options.margin);
        let asked = self.host.monotonic();
        let answer = match self.session.connect(false, limit).await {
            Ok(answer) => answer,
            // Whatever the server answers, the session may have lost events with it: a new one resumes by replay id. If the
            // refusal is meant, the handshake gets it too.
            Err(Silence::Failed(error)) if !error.is_retryable() && error.kind() != ErrorKind::Authentication => {
                return Err(Trouble::Again { error: error.retrying(Retry::Backoff), state: StreamState::Reconnecting, soon: None });
            }
            Err(silence) => return Err(silent(silence, limit)),
        };
        let before = self.queue.len();
        let ended = answer.iter().any(|message| matches!(message.channel.as_str(), "/meta/disconnect" | "/meta/unsubscribe"));
        let reply = self.take(answer, "/meta/connect");
        let reply = match reply {
            // Some servers answer the connect with nothing but its events.
            Err(Trouble::Again { .. }) if self.queue.len() > before && !ended => Message::default(),
            other => other?,
        };
        let now = self.host.now();
        self.channels.iter_mut().for_each(|channel| channel.held(now));
        self.monitor.well();
        (self.attempt, self.failing_since, self.renewed) = (0, None, false);
        let advice = reply.advice.unwrap_or_default();
        if ended || advice.wants_handshake() || advice.wants_nothing() {
            let error = Error::new(ErrorKind::Network, "the server ended the session");
            return Err(Trouble::Again { error, state: StreamState::Reconnecting, soon: advice.interval() });
        }
        self.heed(Some(&advice));
        let at_once = self.host.monotonic().saturating_sub(asked) < RESTLESS;
        self.restless = if at_once && self.queue.len() == before { self.restless.saturating_add(1) } else { 0 };
        let pause = if self.restless > 3 { RESTLESS } else { Duration::ZERO };
        self.pause = advice.interval().unwrap_or_default().max(pause);
        Ok(())
    }

    /// Hands out the events of an answer and takes its reply on `channel`.
    fn take(&mut self, answer: Vec<Message>, channel: &str) -> Result<Message, Trouble> {
        self.monitor.answered(self.host.now());
        let mut reply = None;
        for message in answer {
            if message.channel == channel {
                reply = Some(message);
            } else {
                self.deliver(message);
            }
        }
        match reply {
            Some(reply) if reply.successful == Some(true) => Ok(reply),
            Some(reply) => Err(self.refused(refusal(&reply), &reply)),
            None => Err(again(Error::decode("the server's answer does not hold the reply").retrying(Retry::Backoff))),
        }
    }

    fn deliver(&mut self, message: Message) {
        let Some(data) = message.data.filter(|_| !message.channel.starts_with("/meta/")) else { return };
        self.monitor.event(self.host.now());
        if let Some(event) = decode(&mut self.channels, &message.channel, data, &self.own) {
            self.queue.push_back(Ok(event));
        }
    }

    fn refused(&self, refusal: Refusal, reply: &Message) -> Trouble {
        let soon = reply.advice.as_ref().and_then(Advice::interval);
        match refusal {
            Refusal::Gone(soon) => {
                let error = Error::new(ErrorKind::Network, "the server no longer knows the session");
                Trouble::Again { error, state: StreamState::Reconnecting, soon: Some(soon.unwrap_or_default()) }
            }
            Refusal::Token => Trouble::Token,
            Refusal::Replay => Trouble::End(refused_replay()),
            Refusal::Other(error) if error.is_retryable() => Trouble::Again { error, state: StreamState::Reconnecting, soon },
            Refusal::Other(error) => Trouble::End(error.during("listen")),
        }
    }

    fn heed(&mut self, advice: Option<&Advice>) {
        if let Some(timeout) = advice.and_then(Advice::timeout) {
            self.held = timeout;
        }
    }

    async fn mend(&mut self, trouble: Trouble) {
        self.phase = Phase::Open;
        let (error, state, soon) = match trouble {
            Trouble::End(error) => return self.end(error),
            Trouble::Again { error, state, soon } => (error, state, soon),
            Trouble::Token => {
                let refused = Error::new(ErrorKind::Authentication, "the streaming server refused the token");
                let renewed = match &self.token {
                    Some(stale) if !self.renewed => self.session.renew(stale).await,
                    // A fresh token that is refused too is not cured by another one.
                    _ => return self.end(refused.retrying(Retry::Never)),
                };
                match renewed {
                    Ok(()) => {
                        self.renewed = true;
                        let health = self.monitor.failed(StreamState::Reconnecting, &refused, self.host.now());
                        return self.queue.push_back(Ok(StreamEvent::Health(health)));
                    }
                    Err(error) if error.is_retryable() => (error, StreamState::Reconnecting, None),
                    Err(error) => return self.end(error),
                }
            }
        };
        self.attempt = self.attempt.saturating_add(1);
        let now = self.host.monotonic();
        let elapsed = now.saturating_sub(*self.failing_since.get_or_insert(now));
        let planned = self.options.retry.next_wait_repeatable(&error, self.attempt, elapsed, self.host.random());
        let Some(planned) = planned else { return self.end(error) };
        // The first time the server's own wish is followed, which is mostly "at once".
        self.pause = match soon {
            Some(soon) if self.attempt == 1 => soon,
            Some(soon) => planned.max(soon),
            None => planned,
        };
        let health = self.monitor.failed(state, &error, self.host.now());
        self.queue.push_back(Ok(StreamEvent::Health(health)));
    }

    fn end(&mut self, error: Error) {
        self.phase = Phase::Over;
        let now = self.host.now();
        self.monitor.failed(StreamState::Closed, &error, now);
        self.queue.push_back(Ok(StreamEvent::Health(self.monitor.closed(now))));
        self.queue.push_back(Err(error.during("listen")));
    }
}

/// Comes back to the next poll, which is asked for at once.
async fn turn() {
    let mut over = false;
    poll_fn(|context| {
        if std::mem::replace(&mut over, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn again(error: Error) -> Trouble {
    Trouble::Again { error, state: StreamState::Reconnecting, soon: None }
}

fn given_up(error: Error) -> Trouble {
    if error.is_retryable() && error.retry() != Retry::Reauthenticate { again(error) } else { Trouble::End(error) }
}

fn silent(silence: Silence, limit: Duration) -> Trouble {
    match silence {
        Silence::Stalled => Trouble::Again { error: stalled(limit), state: StreamState::Stalled, soon: None },
        Silence::Failed(error) => given_up(error),
    }
}

fn refused_replay() -> Error {
    let message = "the place to resume from is no longer known to the server; read the records again, then begin without it";
    Error::new(ErrorKind::Conflict, message)
}
