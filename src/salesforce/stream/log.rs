//! A stream of change events as the log behind a snapshot.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{Either, select};
use futures_util::lock::Mutex;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::model::Entity;
use crate::salesforce::client::Salesforce;
use crate::salesforce::stream::event::{Reread, RereadScope, StreamEvent};
use crate::salesforce::stream::health::StreamState;
use crate::salesforce::stream::options::{ReplayFallback, StreamOptions, Subscription};
use crate::salesforce::stream::position::{Replay, ReplayId};
use crate::sync::{ChangeLog, LogItem, LogPage};

/// Entries of one page, about: what one event is told by stays together.
const MOST: usize = 1_000;
/// A mark without an event: the moment from which on the stream listened.
const SINCE: &str = "since:";
/// Salesforce's clock and the host's may differ by this much.
const SKEW: Duration = Duration::from_secs(300);

type Events = BoxStream<'static, Result<StreamEvent>>;

/// Change data capture of one entity as the [`ChangeLog`] of a [`Reader`](crate::sync::Reader), by the Streaming API or by the
/// Pub/Sub API. The entity must be selected for change data capture in the org's setup.
///
/// The stream stays open between calls; a call that finds nothing waits for `wait` and says so. Marks are replay ids, so that
/// another process goes on where this one stopped. Events are kept for three days: a place that is refused, a gap and an overflow
/// become orders to read again, which the reader carries out. A dropped call loses nothing: what it took from the stream is
/// told again by the next one, which opens the stream anew.
pub struct StreamLog {
    open: Box<dyn Fn(Subscription) -> Result<Events> + Send + Sync>,
    host: Host,
    entity: Entity,
    wait: Duration,
    patience: Duration,
    live: Mutex<Option<Live>>,
}

struct Live {
    events: Events,
    /// Where it stands.
    place: String,
    /// Events committed earlier were told by the snapshot.
    from: Option<Timestamp>,
    /// Taken from the stream, not told yet.
    ahead: Option<StreamEvent>,
}

impl fmt::Debug for StreamLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamLog").field("entity", &self.entity).field("wait", &self.wait).finish_non_exhaustive()
    }
}

impl StreamLog {
    /// Over the Streaming API (CometD).
    pub fn cometd(crm: &Salesforce, entity: &Entity, options: StreamOptions) -> Self {
        let (host, crm, patience) = (crm.host().clone(), crm.clone(), options.answer_within);
        Self::over(host, entity, patience, move |topic| Ok(crm.listen([topic], options.clone())?.boxed()))
    }

    /// Over the Pub/Sub API.
    #[cfg(feature = "pubsub")]
    pub fn pubsub(api: &crate::salesforce::stream::pubsub::PubSub, host: Host, entity: &Entity, options: StreamOptions) -> Self {
        let (api, patience) = (api.clone(), options.answer_within);
        Self::over(host, entity, patience, move |topic| Ok(api.subscribe(topic, 100, options.clone())?.boxed()))
    }

    fn over(
        host: Host,
        entity: &Entity,
        patience: Duration,
        open: impl Fn(Subscription) -> Result<Events> + Send + Sync + 'static,
    ) -> Self {
        let wait = Duration::from_secs(5);
        Self { open: Box::new(open), host, entity: entity.clone(), wait, patience, live: Mutex::new(None) }
    }

    /// How long a call waits for an event before it says that there is none. Default: 5 seconds.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    fn subscribe(&self, replay: Replay) -> Result<Events> {
        (self.open)(Subscription::changes(&self.entity).replay(replay).fallback(ReplayFallback::New))
    }

    /// A stream behind `place`.
    fn resume(&self, place: &str) -> Result<Live> {
        let (replay, from) = match place.strip_prefix(SINCE) {
            None => (Replay::After(ReplayId::new(place)), None),
            Some(moment) => {
                let moment: Timestamp =
                    moment.parse().map_err(|_| Error::decode("the kept place of the change events is neither a replay id nor a moment"))?;
                (Replay::All, moment.checked_sub(SKEW).ok())
            }
        };
        Ok(Live { events: self.subscribe(replay)?, place: place.to_owned(), from, ahead: None })
    }

    /// The next event; `None` if there is none within `limit`.
    async fn next(&self, live: &mut Live, limit: Duration) -> Result<Option<StreamEvent>> {
        if let Some(event) = live.ahead.take() {
            return Ok(Some(event));
        }
        let sleep = self.host.sleep(limit);
        match select(live.events.next(), std::pin::pin!(sleep)).await {
            Either::Left((Some(event), _)) => event.map(Some),
            Either::Left((None, _)) => Err(Error::new(ErrorKind::Network, "the stream of change events ended")),
            Either::Right(_) => Ok(None),
        }
    }

    /// What an event means for the reader.
    fn items(&self, event: StreamEvent, from: Option<Timestamp>, items: &mut Vec<LogItem>) {
        let told = |at: Option<Timestamp>| from.zip(at).is_some_and(|(from, at)| at < from);
        match event {
            StreamEvent::Change(change) if !told(change.commit.at) => items.push(LogItem::Change(change.change)),
            StreamEvent::Reread(Reread { entity, scope, commit, .. })
                if entity.as_ref().is_none_or(|entity| *entity == self.entity) && !told(commit.at) =>
            {
                items.push(match scope {
                    RereadScope::All => LogItem::RereadAll,
                    RereadScope::Records(ids) => LogItem::RereadRecords(ids),
                    RereadScope::Since(at) => LogItem::RereadSince(at.checked_sub(SKEW).unwrap_or(at)),
                });
            }
            _ => {}
        }
    }

    async fn page(&self, live: &mut Live) -> Result<LogPage> {
        let mut items = Vec::new();
        let until = self.host.monotonic().saturating_add(self.wait);
        loop {
            let left = until.saturating_sub(self.host.monotonic());
            let event = if items.is_empty() {
                if left.is_zero() {
                    break;
                }
                self.next(live, left).await?
            } else {
                // What is there already belongs to this page; nobody waits for more.
                match live.ahead.take() {
                    Some(event) => Some(event),
                    None => live.events.next().now_or_never().flatten().transpose()?,
                }
            };
            let Some(event) = event else { break };
            let place = event.position().map(|position| position.replay_id.as_str().to_owned());
            if items.len() >= MOST && place.as_ref().is_some_and(|place| *place != live.place) {
                live.ahead = Some(event);
                break;
            }
            self.items(event, live.from, &mut items);
            if let Some(place) = place {
                live.place = place;
            }
        }
        Ok(LogPage::new(items, live.place.clone()))
    }
}

#[async_trait]
impl ChangeLog for StreamLog {
    /// Begins to listen. The mark is this moment; the stream that listens since then is kept for [`ChangeLog::read`], and a process
    /// that does not have it reads all that is retained.
    async fn mark(&self) -> Result<String> {
        let mut slot = self.live.lock().await;
        *slot = None;
        let place = format!("{SINCE}{}", self.host.now());
        let mut live = Live { events: self.subscribe(Replay::New)?, place: place.clone(), from: None, ahead: None };
        let until = self.host.monotonic().saturating_add(self.patience);
        loop {
            let left = until.saturating_sub(self.host.monotonic());
            match self.next(&mut live, left).await? {
                Some(StreamEvent::Health(health)) if health.state == StreamState::Connected => break,
                Some(event @ (StreamEvent::Change(_) | StreamEvent::Reread(_))) => {
                    live.ahead = Some(event);
                    break;
                }
                Some(_) if !left.is_zero() => {}
                _ => return Err(Error::new(ErrorKind::Timeout, "the stream of change events could not be opened in time")),
            }
        }
        *slot = Some(live);
        Ok(place)
    }

    async fn read(&self, mark: &str) -> Result<LogPage> {
        let mut slot = self.live.lock().await;
        // Taken out while it is used: a call that is dropped or fails leaves none, and the next one opens it at the mark.
        let mut live = match slot.take() {
            Some(live) if live.place == mark => live,
            _ => self.resume(mark)?,
        };
        let page = self.page(&mut live).await?;
        *slot = Some(live);
        Ok(page)
    }
}
