//! The whole state as messages, so that the log before it can go.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::queue::entry::{Coalesce, Entry, EntryId, Priority};
use crate::queue::lane::Lane;
use crate::queue::memory::{Held, LaneState, State, Stored, time};
use crate::queue::nats::command::{damaged, decode, encode};
use crate::queue::parked::{Cause, Parked};

/// The end of a snapshot: where its parts are and which message of the log was the last in it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) id: String,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) applied: u64,
    pub(super) stamp: i64,
    pub(super) now: i64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    Counters { id: u64, fence: u64 },
    Entry { lane: Lane, entry: WireStored },
    Lane { lane: Lane, lease: Option<(u64, i64, Vec<u64>)>, ready_at: i64, deliveries: u32, attempts: u32, frozen: usize },
    Op { op: String, until: i64 },
    Parked { lane: Lane, entry: WireStored, cause: Cause, attempts: u32, at: i64, froze: bool },
}

#[derive(Debug, Serialize, Deserialize)]
struct WireStored {
    id: u64,
    op: String,
    kind: String,
    rank: u8,
    scope: String,
    payload: String,
    mapping: String,
    at: i64,
    not_before: i64,
    coalesce: Option<Coalesce>,
}

impl WireStored {
    fn new(stored: &Stored) -> Self {
        let entry = &stored.entry;
        Self {
            id: entry.id.0,
            op: entry.op.clone(),
            kind: entry.kind.clone(),
            rank: entry.priority.rank(),
            scope: entry.scope.clone(),
            payload: encode(&entry.payload),
            mapping: entry.mapping.clone(),
            at: entry.enqueued_at.as_microsecond(),
            not_before: stored.not_before,
            coalesce: stored.coalesce.clone(),
        }
    }

    fn stored(self) -> Result<Stored> {
        let entry = Entry::new(EntryId(self.id), self.op, decode(&self.payload)?, time(self.at))
            .kind(self.kind)
            .priority(Priority::from_rank(self.rank))
            .scope(self.scope)
            .mapping(self.mapping);
        Ok(Stored { entry, not_before: self.not_before, coalesce: self.coalesce })
    }
}

/// The state in pieces of at most `limit` bytes, one part a line.
pub(super) fn write(state: &State, limit: usize) -> Result<Vec<Vec<u8>>> {
    let mut pieces = vec![Vec::new()];
    let mut add = |part: Part| -> Result<()> {
        let mut line = serde_json::to_vec(&part).map_err(|_| damaged("a snapshot does not serialise"))?;
        line.push(b'\n');
        match pieces.last_mut() {
            Some(piece) if piece.is_empty() || piece.len() + line.len() <= limit => piece.append(&mut line),
            _ => pieces.push(line),
        }
        Ok(())
    };
    add(Part::Counters { id: state.last_id, fence: state.last_fence })?;
    for (until, op) in &state.op_ends {
        if state.ops.get(op) == Some(until) {
            add(Part::Op { op: op.to_string(), until: *until })?;
        }
    }
    for (lane, found) in &state.lanes {
        let lane = Lane::clone(lane);
        let lease = found.lease.as_ref().map(|held| (held.fence, held.expires, held.ids.clone()));
        let LaneState { ready_at, deliveries, attempts, frozen, .. } = *found;
        add(Part::Lane { lane: lane.clone(), lease, ready_at, deliveries, attempts, frozen })?;
        for stored in &found.entries {
            add(Part::Entry { lane: lane.clone(), entry: WireStored::new(stored) })?;
        }
    }
    for (parked, stored) in state.parked.values() {
        add(Part::Parked {
            lane: parked.lane.clone(),
            entry: WireStored::new(stored),
            cause: parked.cause.clone(),
            attempts: parked.attempts,
            at: parked.at.as_microsecond(),
            froze: parked.froze,
        })?;
    }
    Ok(pieces)
}

/// The state of pieces made by [`write`].
pub(super) fn read(pieces: &[impl AsRef<[u8]>], now: i64) -> Result<State> {
    let mut state = State::default();
    for line in pieces.iter().flat_map(|piece| piece.as_ref().split(|byte| *byte == b'\n')).filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line).map_err(|_| damaged("a snapshot does not parse"))? {
            Part::Counters { id, fence } => (state.last_id, state.last_fence) = (id, fence),
            Part::Op { op, until } => {
                let op: Arc<str> = op.into();
                state.op_ends.push_back((until, Arc::clone(&op)));
                state.ops.insert(op, until);
            }
            Part::Lane { lane, lease, ready_at, deliveries, attempts, frozen } => {
                let lease = lease.map(|(fence, expires, ids)| Held { fence, expires, ids });
                let found = LaneState { lease, ready_at, deliveries, attempts, frozen, ..LaneState::default() };
                state.lanes.insert(Arc::new(lane), found);
            }
            Part::Entry { lane, entry } => {
                let found = state.lanes.get_mut(&lane).ok_or_else(|| damaged("a snapshot has an entry without a lane"))?;
                if found.entries.is_empty() {
                    found.entries.reserve_exact(1);
                }
                found.entries.push_back(entry.stored()?);
            }
            Part::Parked { lane, entry, cause, attempts, at, froze } => {
                let stored = entry.stored()?;
                let parked = Parked::new(lane, stored.entry.clone(), cause, attempts, time(at), froze);
                state.parked.insert(stored.entry.id.0, (parked, stored));
            }
        }
    }
    let lanes: Vec<Arc<Lane>> = state.lanes.keys().cloned().collect();
    for lane in lanes {
        state.place(&lane, now);
    }
    Ok(state)
}
