//! How a stream is doing, to be looked at from anywhere.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::error::{Error, ErrorKind};

/// What a stream is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamState {
    /// It has ended, by an error or because it was closed.
    Closed,
    /// It listens.
    Connected,
    /// It has not listened yet.
    #[default]
    Connecting,
    /// The connection broke or was refused; it is being made again.
    Reconnecting,
    /// The server said nothing for longer than it promised; the connection is given up and made again.
    Stalled,
}

impl StreamState {
    /// The state as a stable lower-case word, for labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Connected => "connected",
            Self::Connecting => "connecting",
            Self::Reconnecting => "reconnecting",
            Self::Stalled => "stalled",
        }
    }
}

/// How a stream is doing. Times are the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamHealth {
    /// What it is doing.
    pub state: StreamState,
    /// Since when.
    pub since: Timestamp,
    /// The last answer of the server, an empty one included.
    pub last_answer: Option<Timestamp>,
    /// The last event that came.
    pub last_event: Option<Timestamp>,
    /// Failures since the last good answer.
    pub failures: u32,
    /// Connections made, the first included.
    pub connections: u64,
    /// Why it is not connected: the kind and the message of the last failure.
    pub cause: Option<(ErrorKind, String)>,
}

/// A look at a stream's health from outside the loop that polls it. A stream nobody polls does nothing, and shows it by an
/// old `last_answer`.
#[derive(Clone, Debug)]
pub struct StreamMonitor(Arc<Mutex<StreamHealth>>);

impl StreamMonitor {
    pub(super) fn new(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(StreamHealth {
            state: StreamState::Connecting,
            since: now,
            last_answer: None,
            last_event: None,
            failures: 0,
            connections: 0,
            cause: None,
        })))
    }

    /// As it is now.
    pub fn health(&self) -> StreamHealth {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut StreamHealth)) -> StreamHealth {
        let mut health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut health);
        health.clone()
    }

    pub(super) fn answered(&self, now: Timestamp) {
        self.change(|health| health.last_answer = Some(now));
    }

    pub(super) fn event(&self, now: Timestamp) {
        self.change(|health| health.last_event = Some(now));
    }

    pub(super) fn connected(&self, now: Timestamp) -> StreamHealth {
        self.change(|health| {
            (health.state, health.since, health.cause) = (StreamState::Connected, now, None);
            health.connections = health.connections.saturating_add(1);
        })
    }

    pub(super) fn well(&self) {
        self.change(|health| health.failures = 0);
    }

    pub(super) fn failed(&self, state: StreamState, cause: &Error, now: Timestamp) -> StreamHealth {
        self.change(|health| {
            if health.state != state {
                (health.state, health.since) = (state, now);
            }
            health.failures = health.failures.saturating_add(1);
            health.cause = Some((cause.kind(), cause.to_string()));
        })
    }

    pub(super) fn closed(&self, now: Timestamp) -> StreamHealth {
        self.change(|health| (health.state, health.since) = (StreamState::Closed, now))
    }
}
