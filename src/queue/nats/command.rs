//! What stands in the log, and what it does to the state.
//!
//! Each handle does the same commands in the same order at the same times, so all come to the same state. Whatever changes
//! that is a new version of the stream.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::model::Entity;
use crate::queue::entry::{Coalesce, Enqueued, EntryId, NewEntry, Priority};
use crate::queue::lane::Lane;
use crate::queue::lease::{Claim, Lease, LeaseToken};
use crate::queue::memory::State;
use crate::queue::parked::{Cause, ParkedFilter, Subject};
use crate::queue::settle::{Settle, Settled, Then};

pub(super) fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::Queue, format!("the log of the queue on NATS is damaged: {what}")).retrying(Retry::Never)
}

/// One message of the log.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Envelope {
    /// The handle that wrote it, and its number there.
    pub(super) origin: String,
    pub(super) number: u64,
    #[serde(flatten)]
    pub(super) command: Command,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(super) enum Command {
    Claim {
        lanes: usize,
        entries: usize,
        ttl: u64,
        skip: Vec<String>,
        kinds: Vec<String>,
    },
    Enqueue {
        window: i64,
        entries: Vec<WireNew>,
    },
    Extend {
        leases: Vec<LeaseToken>,
        ttl: u64,
    },
    /// Nothing but a moment of store time.
    Look,
    Purge {
        connection: Option<String>,
        entity: Option<Entity>,
        record: String,
    },
    Settle {
        outcomes: Vec<WireSettle>,
    },
    Take {
        ids: Vec<u64>,
        back: bool,
    },
}

/// What a command came to.
#[derive(Debug)]
pub(super) enum Outcome {
    Claimed(Vec<Lease>),
    Count(u64),
    Enqueued(Vec<Enqueued>),
    Looked(i64),
    Lost(Vec<LeaseToken>),
    Settled(Vec<Settled>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireNew {
    lane: Lane,
    op: String,
    kind: String,
    rank: u8,
    not_before: Option<i64>,
    scope: String,
    payload: String,
    mapping: String,
    coalesce: Option<Coalesce>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireSettle {
    token: LeaseToken,
    done: usize,
    then: WireThen,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "then", rename_all = "snake_case")]
enum WireThen {
    Defer { wait: u64 },
    Park { entries: usize, cause: Cause, freeze: bool },
    Release,
    Retry { wait: u64 },
}

pub(super) fn encode(payload: &[u8]) -> String {
    STANDARD.encode(payload)
}

pub(super) fn decode(payload: &str) -> Result<Bytes> {
    STANDARD.decode(payload).map(Bytes::from).map_err(|_| damaged("a payload is not base64"))
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(100 * 365 * 24 * 3_600_000_000)
}

impl WireNew {
    pub(super) fn new(entry: &NewEntry) -> Self {
        Self {
            lane: entry.lane.clone(),
            op: entry.op.clone(),
            kind: entry.kind.clone(),
            rank: entry.priority.rank(),
            not_before: entry.not_before.map(Timestamp::as_microsecond),
            scope: entry.scope.clone(),
            payload: encode(&entry.payload),
            mapping: entry.mapping.clone(),
            coalesce: entry.coalesce.clone(),
        }
    }

    fn entry(self) -> Result<NewEntry> {
        let mut entry = NewEntry::new(self.lane, self.op, decode(&self.payload)?)
            .kind(self.kind)
            .priority(Priority::from_rank(self.rank))
            .scope(self.scope)
            .mapping(self.mapping);
        entry.not_before = self.not_before.map(crate::queue::memory::time);
        entry.coalesce = self.coalesce;
        Ok(entry)
    }
}

impl WireSettle {
    pub(super) fn new(settle: Settle) -> Self {
        let then = match settle.then {
            Then::Defer { wait } => WireThen::Defer { wait: micros(wait) },
            Then::Park { entries, cause, freeze } => WireThen::Park { entries, cause, freeze },
            Then::Release => WireThen::Release,
            Then::Retry { wait } => WireThen::Retry { wait: micros(wait) },
        };
        Self { token: settle.token, done: settle.done, then }
    }

    fn settle(self) -> Settle {
        let then = match self.then {
            WireThen::Defer { wait } => Then::Defer { wait: Duration::from_micros(wait) },
            WireThen::Park { entries, cause, freeze } => Then::Park { entries, cause, freeze },
            WireThen::Release => Then::Release,
            WireThen::Retry { wait } => Then::Retry { wait: Duration::from_micros(wait) },
        };
        Settle { token: self.token, done: self.done, then }
    }
}

/// Does a command at a moment of store time.
pub(super) fn apply(state: &mut State, command: Command, now: i64) -> Result<Outcome> {
    Ok(match command {
        Command::Claim { lanes, entries, ttl, skip, kinds } => {
            let want = Claim::new("").lanes(lanes).entries(entries).ttl(Duration::from_micros(ttl)).skip_scopes(skip).kinds(kinds);
            state.promote(now);
            let lanes = state.choose(&want);
            Outcome::Claimed(lanes.iter().filter_map(|lane| state.lease(lane, &want, now)).collect())
        }
        Command::Enqueue { window, entries } => {
            state.forget_ops(now);
            let entries: Vec<NewEntry> = entries.into_iter().map(WireNew::entry).collect::<Result<_>>()?;
            Outcome::Enqueued(entries.into_iter().map(|entry| state.enqueue(entry, now, window)).collect())
        }
        Command::Extend { leases, ttl } => Outcome::Lost(state.extend(&leases, Duration::from_micros(ttl), now)),
        Command::Look => Outcome::Looked(now),
        Command::Purge { connection, entity, record } => {
            let mut subject = Subject::new(record);
            (subject.connection, subject.entity) = (connection, entity);
            Outcome::Count(state.purge(&subject, now))
        }
        Command::Settle { outcomes } => Outcome::Settled(outcomes.into_iter().map(|outcome| state.settle(outcome.settle(), now)).collect()),
        Command::Take { ids, back } => Outcome::Count(state.unpark(&ParkedFilter::all().ids(ids.into_iter().map(EntryId)), now, back)),
    })
}
