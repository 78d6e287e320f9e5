//! A queue: a list of lanes behind a lock, searched from end to end.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use crm_sync::error::Result;
use crm_sync::host::Host;
use crm_sync::queue::{
    Claim, Coalesce, Enqueued, Entry, EntryId, Lane, Lease, LeaseToken, MAX_TTL, Merge, NewEntry, OP_WINDOW, Parked, ParkedFilter,
    ParkedPage, Queue, QueueCapabilities, QueueStats, ScopeStats, Settle, Settled, Subject, Then, check_batch, check_outcomes,
};
use jiff::Timestamp;

pub struct PlainQueue {
    host: Host,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lanes: HashMap<Lane, LaneState>,
    parked: BTreeMap<u64, (Parked, Waiting)>,
    ops: HashMap<String, Timestamp>,
    last_id: u64,
    last_fence: u64,
}

#[derive(Default)]
struct LaneState {
    entries: VecDeque<Waiting>,
    lease: Option<Held>,
    ready_at: Option<Timestamp>,
    deliveries: u32,
    attempts: u32,
    frozen: usize,
}

#[derive(Clone)]
struct Held {
    fence: u64,
    expires: Timestamp,
    ids: Vec<u64>,
}

#[derive(Clone)]
struct Waiting {
    entry: Entry,
    not_before: Option<Timestamp>,
    coalesce: Option<Coalesce>,
}

impl PlainQueue {
    pub fn new(host: Host) -> Self {
        Self { host, state: Mutex::default() }
    }

    /// The state, without lanes of which nothing is left.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap();
        state.lanes.retain(|_, lane| !lane.entries.is_empty() || lane.frozen > 0);
        state
    }
}

impl fmt::Debug for PlainQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainQueue")
    }
}

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

impl LaneState {
    fn held(&self, token: &LeaseToken, now: Timestamp) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.fence == token.fence && lease.expires > now)
    }

    fn leased(&self, now: Timestamp) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.expires > now)
    }

    fn head(&self) -> Option<u64> {
        self.entries.front().map(|waiting| waiting.entry.id.0)
    }

    fn free(&self, now: Timestamp) -> bool {
        let due = |at: Option<Timestamp>| at.is_none_or(|at| at <= now);
        self.frozen == 0 && !self.leased(now) && due(self.ready_at) && self.entries.front().is_some_and(|head| due(head.not_before))
    }
}

impl State {
    fn enqueue(&mut self, new: NewEntry, now: Timestamp) -> Enqueued {
        if self.ops.contains_key(&new.op) {
            return Enqueued::Duplicate;
        }
        self.ops.insert(new.op.clone(), after(now, OP_WINDOW));
        let lane = self.lanes.entry(new.lane.clone()).or_default();
        if let Some(wanted) = &new.coalesce {
            let leased = if lane.leased(now) { lane.lease.as_ref().and_then(|lease| lease.ids.last().copied()) } else { None };
            let joins = lane.entries.back_mut().filter(|last| {
                last.entry.kind == new.kind
                    && last.entry.scope == new.scope
                    && last.coalesce.as_ref().is_some_and(|coalesce| coalesce.key == wanted.key)
                    && leased != Some(last.entry.id.0)
            });
            if let Some(last) = joins {
                if wanted.merge == Merge::TakeNew {
                    last.entry.payload = new.payload;
                    last.entry.mapping = new.mapping;
                }
                last.entry.priority = last.entry.priority.min(new.priority);
                // No time at all is the earliest.
                last.not_before = last.not_before.zip(new.not_before).map(|(a, b)| a.min(b));
                return Enqueued::Coalesced(last.entry.id);
            }
        }
        self.last_id += 1;
        let id = EntryId(self.last_id);
        let entry = Entry::new(id, new.op, new.payload, now).kind(new.kind).priority(new.priority).scope(new.scope).mapping(new.mapping);
        lane.entries.push_back(Waiting { entry, not_before: new.not_before, coalesce: new.coalesce });
        Enqueued::New(id)
    }

    fn claim(&mut self, want: &Claim, now: Timestamp) -> Vec<Lease> {
        let wanted =
            |waiting: &Waiting| waiting.not_before.is_none_or(|at| at <= now) && want.wants(&waiting.entry.scope, &waiting.entry.kind);
        let mut found: Vec<(u8, u64, Lane)> = Vec::new();
        for (name, lane) in &self.lanes {
            if let Some(head) = lane.entries.front().filter(|head| lane.free(now) && wanted(head)) {
                found.push((head.entry.priority.rank(), head.entry.id.0, name.clone()));
            }
        }
        found.sort_by_key(|(rank, id, _)| (*rank, *id));
        found.truncate(want.lanes);
        let mut leases = Vec::new();
        for (_, _, name) in found {
            self.last_fence += 1;
            let fence = self.last_fence;
            let Some(lane) = self.lanes.get_mut(&name) else { continue };
            let entries: Vec<Entry> = lane
                .entries
                .iter()
                .take(want.entries.max(1))
                .take_while(|waiting| wanted(waiting))
                .map(|waiting| waiting.entry.clone())
                .collect();
            let expires = after(now, want.ttl.min(MAX_TTL));
            lane.deliveries += 1;
            lane.lease = Some(Held { fence, expires, ids: entries.iter().map(|entry| entry.id.0).collect() });
            leases.push(Lease::new(LeaseToken { lane: name, fence }, expires, lane.deliveries, lane.attempts, entries));
        }
        leases
    }

    fn settle(&mut self, settle: Settle, now: Timestamp) -> Settled {
        let name = &settle.token.lane;
        let Some(lane) = self.lanes.get_mut(name).filter(|lane| lane.held(&settle.token, now)) else { return Settled::LeaseLost };
        let held = lane.lease.take().map(|lease| lease.ids).unwrap_or_default();
        let head = lane.head();
        let (done, rest) = held.split_at(settle.done.min(held.len()));
        lane.entries.retain(|waiting| !done.contains(&waiting.entry.id.0));
        lane.deliveries = 0;
        lane.ready_at = None;
        if lane.head() != head {
            lane.attempts = 0;
        }
        let head = lane.head();
        match settle.then {
            Then::Defer { wait } => lane.ready_at = Some(after(now, wait)),
            Then::Retry { wait } if !rest.is_empty() => {
                lane.ready_at = Some(after(now, wait));
                lane.attempts += 1;
            }
            Then::Park { entries, cause, freeze } if !rest.is_empty() => {
                for id in rest.iter().take(entries.max(1)) {
                    let Some(at) = lane.entries.iter().position(|waiting| waiting.entry.id.0 == *id) else { continue };
                    let Some(waiting) = lane.entries.remove(at) else { continue };
                    let attempts = if Some(*id) == head { lane.attempts } else { 0 };
                    lane.frozen += usize::from(freeze);
                    let parked = Parked::new(name.clone(), waiting.entry.clone(), cause.clone(), attempts, now, freeze);
                    self.parked.insert(*id, (parked, waiting));
                }
                if lane.head() != head {
                    lane.attempts = 0;
                }
            }
            _ => {}
        }
        Settled::Applied
    }

    fn unpark(&mut self, which: &ParkedFilter, back: bool) -> u64 {
        let ids: Vec<u64> = self.parked.iter().filter(|(_, (parked, _))| which.matches(parked)).map(|(id, _)| *id).collect();
        for id in &ids {
            let Some((parked, waiting)) = self.parked.remove(id) else { continue };
            let lane = self.lanes.entry(parked.lane).or_default();
            lane.frozen -= usize::from(parked.froze);
            if back {
                let head = lane.head();
                let at = lane.entries.partition_point(|other| other.entry.id < waiting.entry.id);
                lane.entries.insert(at, waiting);
                if lane.head() != head {
                    (lane.attempts, lane.ready_at) = (0, None);
                }
            }
        }
        ids.len() as u64
    }
}

#[async_trait]
impl Queue for PlainQueue {
    async fn enqueue(&self, entries: Vec<NewEntry>) -> Result<Vec<Enqueued>> {
        check_batch(&entries)?;
        let (now, mut state) = (self.host.now(), self.state());
        state.ops.retain(|_, until| *until > now);
        Ok(entries.into_iter().map(|entry| state.enqueue(entry, now)).collect())
    }

    async fn claim(&self, want: &Claim) -> Result<Vec<Lease>> {
        Ok(self.state().claim(want, self.host.now()))
    }

    async fn extend(&self, leases: &[LeaseToken], ttl: Duration) -> Result<Vec<LeaseToken>> {
        let (now, mut state) = (self.host.now(), self.state());
        let mut lost = Vec::new();
        for token in leases {
            match state.lanes.get_mut(&token.lane).filter(|lane| lane.held(token, now)).and_then(|lane| lane.lease.as_mut()) {
                Some(lease) => lease.expires = after(now, ttl.min(MAX_TTL)),
                None => lost.push(token.clone()),
            }
        }
        Ok(lost)
    }

    async fn settle(&self, outcomes: Vec<Settle>) -> Result<Vec<Settled>> {
        check_outcomes(outcomes.len())?;
        let (now, mut state) = (self.host.now(), self.state());
        Ok(outcomes.into_iter().map(|outcome| state.settle(outcome, now)).collect())
    }

    async fn parked(&self, page: &ParkedPage) -> Result<Vec<Parked>> {
        let state = self.state();
        let after = page.after.map_or(0, |id| id.0 + 1);
        let found = state.parked.range(after..).map(|(_, (parked, _))| parked).filter(|parked| page.filter.matches(parked));
        Ok(found.take(page.limit).cloned().collect())
    }

    async fn replay(&self, which: &ParkedFilter) -> Result<u64> {
        Ok(self.state().unpark(which, true))
    }

    async fn discard(&self, which: &ParkedFilter) -> Result<u64> {
        Ok(self.state().unpark(which, false))
    }

    async fn stats(&self) -> Result<QueueStats> {
        let (now, state) = (self.host.now(), self.state());
        let mut stats = QueueStats::new(now);
        let mut scopes: BTreeMap<String, ScopeStats> = BTreeMap::new();
        for lane in state.lanes.values() {
            stats.lanes += u64::from(!lane.entries.is_empty());
            stats.leased += u64::from(lane.leased(now));
            stats.frozen += u64::from(lane.frozen > 0);
            stats.entries += lane.entries.len() as u64;
            for Waiting { entry, .. } in &lane.entries {
                let scope = scopes.entry(entry.scope.clone()).or_insert_with(|| ScopeStats::new(&entry.scope, 0, Some(entry.enqueued_at)));
                scope.entries += 1;
                scope.oldest = scope.oldest.min(Some(entry.enqueued_at));
            }
        }
        stats.parked = state.parked.len() as u64;
        stats.scopes = scopes.into_values().collect();
        stats.oldest = stats.scopes.iter().filter_map(|scope| scope.oldest).min();
        Ok(stats)
    }

    async fn purge(&self, subject: &Subject) -> Result<u64> {
        let mut state = self.state();
        let parked = state.parked.len();
        state.parked.retain(|_, (parked, _)| !subject.matches(&parked.lane));
        let mut count = (parked - state.parked.len()) as u64;
        state.lanes.retain(|name, lane| {
            let goes = subject.matches(name);
            count += if goes { lane.entries.len() as u64 } else { 0 };
            !goes
        });
        Ok(count)
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.host.now())
    }

    fn capabilities(&self) -> QueueCapabilities {
        let mut can = QueueCapabilities::default();
        can.atomic_enqueue = true;
        can.coalesces = true;
        can
    }
}
