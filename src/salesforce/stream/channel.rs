//! What a stream remembers of each of its channels.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashSet, VecDeque};
use std::hash::{Hash, Hasher};

use jiff::{SignedDuration, Timestamp};

use crate::model::Entity;
use crate::salesforce::stream::event::{Reread, RereadReason, RereadScope};
use crate::salesforce::stream::options::{ReplayFallback, Subscription};
use crate::salesforce::stream::position::{Replay, ReplayId};

/// So many events are remembered, to drop those that come twice after a resumption.
const MEMORY: usize = 4096;
/// Two clocks, and a commit that is told a moment later.
const CLOCKS: SignedDuration = SignedDuration::from_mins(2);

/// A channel of a stream.
pub(super) struct Channel {
    pub(super) subscription: Subscription,
    /// The last event handed out.
    last: Option<ReplayId>,
    /// When that happened, by Salesforce's clock.
    last_at: Option<Timestamp>,
    /// When the server was last known to hold our place without an event, by the host's clock.
    held_at: Option<Timestamp>,
    seen: Seen,
}

impl Channel {
    pub(super) fn new(subscription: Subscription) -> Self {
        Self { subscription, last: None, last_at: None, held_at: None, seen: Seen::default() }
    }

    /// The entity of all its events, if there is one.
    pub(super) fn entity(&self) -> Option<Entity> {
        self.subscription.entity.clone().or_else(|| entity_of(&self.subscription.channel))
    }

    /// Where to begin now.
    pub(super) fn replay(&self) -> Replay {
        self.last.clone().map_or_else(|| self.subscription.replay.clone(), Replay::After)
    }

    /// The hole that a new subscription leaves: from "now on" twice, and nothing to resume from in between.
    pub(super) fn hole(&self) -> Option<Reread> {
        let held = self.held_at.filter(|_| self.last.is_none() && self.subscription.replay == Replay::New)?;
        let since = held.checked_sub(CLOCKS).unwrap_or(held);
        Some(Reread::new(&self.subscription.channel, self.entity(), RereadScope::Since(since), RereadReason::ReplayLost))
    }

    /// The server holds our place at `now`.
    pub(super) fn held(&mut self, now: Timestamp) {
        self.held_at = Some(now);
    }

    /// The place was refused: where to begin instead, and the hole; `None` if the stream shall end.
    pub(super) fn refused(&mut self) -> Option<Reread> {
        self.subscription.replay = match self.subscription.fallback {
            ReplayFallback::All => Replay::All,
            ReplayFallback::New => Replay::New,
            ReplayFallback::Fail => return None,
        };
        self.last = None;
        let scope = self.last_at.map_or(RereadScope::All, RereadScope::Since);
        Some(Reread::new(&self.subscription.channel, self.entity(), scope, RereadReason::ReplayLost))
    }

    /// Takes note of an event; false if it came before. `mark` is what tells apart two events of one replay id.
    pub(super) fn note(&mut self, replay_id: &ReplayId, mark: &str, at: Option<Timestamp>) -> bool {
        let fresh = self.seen.add(replay_id, mark);
        if fresh {
            self.last = Some(replay_id.clone());
            self.last_at = at.or(self.last_at);
        }
        fresh
    }

    /// A place without an event.
    #[cfg(feature = "pubsub")]
    pub(super) fn moved(&mut self, replay_id: &ReplayId) -> bool {
        let moved = self.last.as_ref() != Some(replay_id);
        self.last = Some(replay_id.clone());
        moved
    }

    /// Whether a message of `channel` belongs here.
    pub(super) fn carries(&self, channel: &str) -> bool {
        let own = self.subscription.channel.as_str();
        let plain = |name: &str| name.split('?').next().unwrap_or_default().to_owned();
        match own.strip_suffix("/**").or_else(|| own.strip_suffix("/*")) {
            Some(prefix) => channel.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/')),
            None => own == channel || plain(own) == plain(channel),
        }
    }
}

/// The entity a channel is named by.
pub(super) fn entity_of(channel: &str) -> Option<Entity> {
    let name = channel.strip_prefix("/data/")?.strip_suffix("ChangeEvent")?;
    if name.is_empty() {
        return None;
    }
    Some(Entity::new(name.strip_suffix("__").map_or_else(|| name.to_owned(), |custom| format!("{custom}__c"))))
}

/// The newest events, as fingerprints: an id alone may be given again after a reset of the bus.
#[derive(Default)]
struct Seen {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Seen {
    fn add(&mut self, replay_id: &ReplayId, mark: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        (replay_id, mark).hash(&mut hasher);
        let print = hasher.finish();
        if !self.known.insert(print) {
            return false;
        }
        self.order.push_back(print);
        if self.order.len() > MEMORY
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resumes_behind_the_last_event_and_drops_repeats() {
        let mut channel = Channel::new(Subscription::new("/data/Thing__ChangeEvent"));
        assert_eq!((channel.replay(), channel.hole()), (Replay::New, None));
        assert_eq!(channel.entity().unwrap().as_str(), "Thing__c");
        channel.held(Timestamp::UNIX_EPOCH);
        assert_eq!(channel.hole().unwrap().reason, RereadReason::ReplayLost);
        let at = Timestamp::from_second(9).unwrap();
        assert!(channel.note(&ReplayId::from(7), "a", Some(at)));
        assert!(!channel.note(&ReplayId::from(7), "a", None));
        assert!(channel.note(&ReplayId::from(7), "b", None), "another event with an id given twice");
        assert_eq!((channel.replay(), channel.hole()), (Replay::After(ReplayId::from(7)), None));
        assert_eq!(channel.refused().unwrap().scope, RereadScope::Since(at));
        assert_eq!(channel.replay(), Replay::All);
        channel.subscription.fallback = ReplayFallback::Fail;
        assert!(channel.refused().is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let mut seen = Seen::default();
        for number in 0..3 * MEMORY as i64 {
            assert!(seen.add(&ReplayId::from(number), ""));
        }
        assert_eq!((seen.known.len(), seen.order.len()), (MEMORY, MEMORY));
    }

    #[test]
    fn messages_find_their_channel() {
        let of = |name: &str| Channel::new(Subscription::new(name));
        assert!(of("/topic/A?Status=Open").carries("/topic/A") && of("/topic/A").carries("/topic/A?Status=Open"));
        assert!(of("/foo/*").carries("/foo/bar") && !of("/foo/*").carries("/foobar"));
        assert!(!of("/topic/A").carries("/topic/a"));
        assert_eq!(entity_of("/data/ChangeEvents"), None);
        assert_eq!(entity_of("/data/Sales__chn"), None);
    }
}
