//! What a host says about a stream.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::model::{Entity, Origin};
use crate::pace::RetryPolicy;
use crate::salesforce::ids;
use crate::salesforce::stream::position::{Position, Replay};

/// What to do when Salesforce refuses the place to resume from. The hole is told as a
/// [`Reread`](crate::salesforce::stream::Reread) either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayFallback {
    /// Begin with everything that is retained. What this stream has handed out already is dropped; events a former run handed out
    /// come again.
    #[default]
    All,
    /// End the stream with an error of the kind [`Conflict`](crate::error::ErrorKind::Conflict).
    Fail,
    /// Begin with what happens from now on.
    New,
}

/// A channel and where to begin in it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Subscription {
    /// The channel, with its exact case.
    pub channel: String,
    /// Where to begin.
    pub replay: Replay,
    /// What if that is refused.
    pub fallback: ReplayFallback,
    /// The entity of a PushTopic's query, which its messages do not tell; without it they are
    /// [`StreamMessage`](crate::salesforce::stream::StreamMessage)s.
    pub entity: Option<Entity>,
}

impl Subscription {
    /// Any channel: `/data/…`, `/topic/…` (a filter `?Field=value` may follow), `/event/…`, `/u/…`. Begins with what is new.
    pub fn new(channel: impl Into<String>) -> Self {
        Self { channel: channel.into(), replay: Replay::New, fallback: ReplayFallback::All, entity: None }
    }

    /// Changes of one entity: `/data/LeadChangeEvent`, `/data/Thing__ChangeEvent`.
    pub fn changes(entity: &Entity) -> Self {
        Self::new(match entity.as_str().strip_suffix("__c") {
            Some(custom) => format!("/data/{custom}__ChangeEvent"),
            None => format!("/data/{entity}ChangeEvent"),
        })
    }

    /// Changes of every entity that was selected for change data capture in the org's setup.
    pub fn all_changes() -> Self {
        Self::new("/data/ChangeEvents")
    }

    /// A platform event by its API name (`Order_Placed__e`), or a custom channel of platform events (`Orders__chn`).
    pub fn platform_event(name: &str) -> Self {
        Self::new(format!("/event/{name}"))
    }

    /// A PushTopic whose query is of `entity`.
    pub fn push_topic(name: &str, entity: Entity) -> Self {
        Self { entity: Some(entity), ..Self::new(format!("/topic/{name}")) }
    }

    /// A generic channel, by the name after `/u/`.
    pub fn generic(name: &str) -> Self {
        Self::new(format!("/u/{name}"))
    }

    /// Sets where to begin.
    #[must_use]
    pub fn replay(mut self, replay: Replay) -> Self {
        self.replay = replay;
        self
    }

    /// Begins behind `position` if there is one, else with everything retained: what a host does that keeps positions.
    #[must_use]
    pub fn from(self, position: Option<&Position>) -> Self {
        self.replay(position.map_or(Replay::All, |position| Replay::After(position.replay_id.clone())))
    }

    /// Sets what to do if the place to resume from is refused.
    #[must_use]
    pub fn fallback(mut self, fallback: ReplayFallback) -> Self {
        self.fallback = fallback;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let name = self.channel.split_once('?').map_or(self.channel.as_str(), |(name, _)| name);
        let plain = name.starts_with('/') && !name.ends_with('/') && !name.chars().any(|c| c.is_whitespace() || c.is_control());
        if !plain || name.starts_with("/meta/") {
            return Err(Error::config("not a channel: write /data/…, /topic/…, /event/… or /u/…, with the exact case of the name"));
        }
        if self.replay.cometd().is_none() && !matches!(&self.replay, Replay::After(id) if id.bytes().is_some()) {
            return Err(Error::config("the replay id is neither a number nor bytes written as 0x…"));
        }
        Ok(())
    }
}

/// How a stream behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StreamOptions {
    /// How long one request may take beyond what the server promised. Default: 10 s.
    pub margin: Duration,
    /// How long a request may take that is answered at once (handshake, subscription). Default: 30 s.
    pub answer_within: Duration,
    /// When to try again after a failure. Attempts are counted from the last good answer. Default: without end, from one second
    /// to a minute. What it does not wait for ends the stream, such as a daily allowance that is spent: its last error says when
    /// to come back ([`Error::retry_after`]).
    pub retry: RetryPolicy,
    /// The name that own writes announce. Default: the connection's
    /// [`client_name`](crate::salesforce::SalesforceConfig::client_name).
    pub own_client: Option<String>,
    /// The user own writes are made by; others can announce the same name. Default: not compared.
    pub own_user: Option<String>,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            margin: Duration::from_secs(10),
            answer_within: Duration::from_secs(30),
            retry: RetryPolicy::new().attempts(u32::MAX),
            own_client: None,
            own_user: None,
        }
    }
}

impl StreamOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`StreamOptions::margin`].
    #[must_use]
    pub fn margin(mut self, margin: Duration) -> Self {
        self.margin = margin;
        self
    }

    /// Sets [`StreamOptions::answer_within`].
    #[must_use]
    pub fn answer_within(mut self, limit: Duration) -> Self {
        self.answer_within = limit;
        self
    }

    /// Sets [`StreamOptions::retry`].
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sets [`StreamOptions::own_client`].
    #[must_use]
    pub fn own_client(mut self, name: impl Into<String>) -> Self {
        self.own_client = Some(name.into());
        self
    }

    /// Sets [`StreamOptions::own_user`].
    #[must_use]
    pub fn own_user(mut self, id: impl Into<String>) -> Self {
        self.own_user = Some(id.into());
        self
    }

    pub(super) fn own(&self, client_name: Option<&str>) -> Own {
        Own { client: self.own_client.clone().or_else(|| client_name.map(ToOwned::to_owned)), user: self.own_user.clone() }
    }
}

/// Who we are, as events tell it.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) client: Option<String>,
    pub(super) user: Option<String>,
}

impl Own {
    pub(super) fn is_own(&self, origin: &Origin) -> bool {
        let same_user = |user: &String| origin.user.as_deref().is_some_and(|other| ids::record_id(other) == ids::record_id(user));
        self.client.is_some() && self.client == origin.client && self.user.as_ref().is_none_or(same_user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_by_what_they_carry() {
        let of = |subscription: Subscription| subscription.channel;
        assert_eq!(of(Subscription::changes(&Entity::from_static("Lead"))), "/data/LeadChangeEvent");
        assert_eq!(of(Subscription::changes(&Entity::from_static("Thing__c"))), "/data/Thing__ChangeEvent");
        assert_eq!(of(Subscription::all_changes()), "/data/ChangeEvents");
        assert_eq!(of(Subscription::platform_event("A__e")), "/event/A__e");
        assert_eq!(of(Subscription::generic("Broadcast")), "/u/Broadcast");
        for wrong in ["data/x", "/meta/connect", "/data/", "/data/ x", ""] {
            assert!(Subscription::new(wrong).check().is_err(), "{wrong}");
        }
        assert!(Subscription::new("/topic/Leads?Status=New one").check().is_ok());
    }
}
