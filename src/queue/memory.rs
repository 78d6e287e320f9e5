//! A queue in memory: for tests, for one process that may forget, and as the model the others are compared with.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use jiff::Timestamp;

use crate::error::Result;
use crate::host::Host;
use crate::queue::api::{Queue, QueueCapabilities};
use crate::queue::entry::{Coalesce, Enqueued, Entry, EntryId, Merge, NewEntry, OP_WINDOW, check_batch, check_outcomes};
use crate::queue::lane::Lane;
use crate::queue::lease::{Claim, Lease, LeaseToken, MAX_TTL};
use crate::queue::parked::{Parked, ParkedFilter, ParkedPage, Subject};
use crate::queue::settle::{Settle, Settled, Then};
use crate::queue::stats::{QueueStats, ScopeStats};

/// Forgets everything at the end of the process. Clones share the queue.
///
/// Store time starts at the host's wall clock and moves with its monotonic mark, so that a wall clock that jumps moves no lease.
#[derive(Clone)]
pub struct MemoryQueue {
    inner: Arc<Inner>,
}

struct Inner {
    host: Host,
    /// Store time minus the monotonic mark, in microseconds.
    offset: i64,
    window: i64,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) lanes: HashMap<Arc<Lane>, LaneState>,
    /// Lanes that can be claimed, by scope and kind of their head.
    pub(super) ready: BTreeMap<Arc<Group>, Ready>,
    /// Lanes that can be claimed from a moment on.
    pub(super) later: BTreeSet<(i64, Arc<Lane>)>,
    pub(super) parked: BTreeMap<u64, (Parked, Stored)>,
    pub(super) ops: HashMap<Arc<str>, i64>,
    /// The same, oldest first.
    pub(super) op_ends: VecDeque<(i64, Arc<str>)>,
    pub(super) last_id: u64,
    pub(super) last_fence: u64,
    /// Counts changes, for the wake-ups.
    pub(super) changes: u64,
    pub(super) wakers: Vec<Waker>,
}

/// Scope and kind.
pub(super) type Group = (String, String);

/// Lanes by priority and age of their heads.
pub(super) type Ready = BTreeSet<(u8, u64, Arc<Lane>)>;

/// Where a lane stands in the indexes.
#[derive(Default)]
pub(super) enum Place {
    Later(i64),
    #[default]
    None,
    Ready(Arc<Group>, u8, u64),
}

#[derive(Default)]
pub(super) struct LaneState {
    pub(super) entries: VecDeque<Stored>,
    pub(super) lease: Option<Held>,
    /// Not before, after a retry or a deferral.
    pub(super) ready_at: i64,
    pub(super) deliveries: u32,
    pub(super) attempts: u32,
    /// Parked entries that stop it.
    pub(super) frozen: usize,
    pub(super) place: Place,
}

#[derive(Clone)]
pub(super) struct Held {
    pub(super) fence: u64,
    pub(super) expires: i64,
    /// The leased entries; a replay may put others between them.
    pub(super) ids: Vec<u64>,
}

#[derive(Clone)]
pub(super) struct Stored {
    pub(super) entry: Entry,
    pub(super) not_before: i64,
    pub(super) coalesce: Option<Coalesce>,
}

impl MemoryQueue {
    /// An empty queue that remembers op ids for [`OP_WINDOW`].
    pub fn new(host: Host) -> Self {
        Self::with_op_window(host, OP_WINDOW)
    }

    /// As [`MemoryQueue::new`], with another time.
    pub fn with_op_window(host: Host, window: Duration) -> Self {
        let offset = host.now().as_microsecond().saturating_sub(micros(host.monotonic()));
        let inner = Inner { host, offset, window: micros(window), state: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn micros(&self) -> i64 {
        self.inner.offset.saturating_add(micros(self.inner.host.monotonic()))
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        state.changes += 1;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for MemoryQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryQueue").field("lanes", &self.state().lanes.len()).finish_non_exhaustive()
    }
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A length of time of the queue's own.
pub(super) fn length(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

pub(super) fn time(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

impl LaneState {
    fn is_gone(&self) -> bool {
        self.entries.is_empty() && self.frozen == 0
    }

    fn leased(&self, now: i64) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.expires > now)
    }

    /// The lease, if the token is its and it has not ended.
    fn held(&self, token: &LeaseToken, now: i64) -> Option<&Held> {
        self.lease.as_ref().filter(|lease| lease.fence == token.fence && lease.expires > now)
    }

    fn head(&self) -> Option<u64> {
        self.entries.front().map(|stored| stored.entry.id.0)
    }

    fn insert(&mut self, stored: Stored) {
        let at = self.entries.partition_point(|other| other.entry.id < stored.entry.id);
        self.entries.insert(at, stored);
    }

    /// The newest entry, if `new` may join it.
    fn joins(&mut self, new: &NewEntry, now: i64) -> Option<&mut Stored> {
        let wanted = new.coalesce.as_ref()?;
        let leased = if self.leased(now) { self.lease.as_ref().and_then(|lease| lease.ids.last().copied()) } else { None };
        let last = self.entries.back_mut()?;
        let same = last.entry.kind == new.kind
            && last.entry.scope == new.scope
            && last.coalesce.as_ref().is_some_and(|coalesce| coalesce.key == wanted.key);
        (same && leased != Some(last.entry.id.0)).then_some(last)
    }
}

impl State {
    /// Puts a lane where it belongs in the indexes, or drops it if nothing is left of it.
    pub(super) fn place(&mut self, lane: &Lane, now: i64) {
        let Some((key, state)) = self.lanes.get_key_value(lane) else { return };
        let key = Arc::clone(key);
        let wanted = match state.entries.front() {
            Some(head) if state.frozen == 0 => {
                let lease = state.lease.as_ref().map_or(i64::MIN, |lease| lease.expires);
                let free = lease.max(state.ready_at).max(head.not_before);
                if free > now {
                    Place::Later(free)
                } else {
                    let group = (head.entry.scope.clone(), head.entry.kind.clone());
                    // Of all lanes of a group one name.
                    let group = self.ready.get_key_value(&group).map_or_else(|| Arc::new(group), |(known, _)| Arc::clone(known));
                    Place::Ready(group, head.entry.priority.rank(), head.entry.id.0)
                }
            }
            _ => Place::None,
        };
        let gone = state.is_gone();
        let Some(state) = self.lanes.get_mut(lane) else { return };
        match std::mem::take(&mut state.place) {
            Place::None => {}
            Place::Later(at) => {
                self.later.remove(&(at, Arc::clone(&key)));
            }
            Place::Ready(group, rank, id) => {
                if let Some(set) = self.ready.get_mut(&group) {
                    set.remove(&(rank, id, Arc::clone(&key)));
                    if set.is_empty() {
                        self.ready.remove(&group);
                    }
                }
            }
        }
        match &wanted {
            Place::None => {}
            Place::Later(at) => {
                self.later.insert((*at, Arc::clone(&key)));
            }
            Place::Ready(group, rank, id) => {
                self.ready.entry(Arc::clone(group)).or_default().insert((*rank, *id, Arc::clone(&key)));
            }
        }
        state.place = wanted;
        if gone {
            self.lanes.remove(lane);
        }
    }

    /// Lanes whose time has come become ready.
    pub(super) fn promote(&mut self, now: i64) {
        while let Some((at, lane)) = self.later.first()
            && *at <= now
        {
            let lane = Arc::clone(lane);
            self.place(&lane, now);
        }
    }

    pub(super) fn forget_ops(&mut self, now: i64) {
        while let Some((until, _)) = self.op_ends.front()
            && *until <= now
            && let Some((until, op)) = self.op_ends.pop_front()
        {
            if self.ops.get(&op) == Some(&until) {
                self.ops.remove(&op);
            }
        }
    }

    pub(super) fn enqueue(&mut self, new: NewEntry, now: i64, window: i64) -> Enqueued {
        if self.ops.contains_key(new.op.as_str()) {
            return Enqueued::Duplicate;
        }
        let until = now.saturating_add(window);
        let op: Arc<str> = new.op.as_str().into();
        self.ops.insert(Arc::clone(&op), until);
        self.op_ends.push_back((until, op));
        let not_before = new.not_before.map_or(i64::MIN, Timestamp::as_microsecond);
        let lane = new.lane.clone();
        if let Some(state) = self.lanes.get_mut(&lane)
            && let Some(last) = state.joins(&new, now)
        {
            if let Some(Coalesce { merge: Merge::TakeNew, .. }) = &new.coalesce {
                last.entry.payload = new.payload;
                last.entry.mapping = new.mapping;
            }
            last.entry.priority = last.entry.priority.min(new.priority);
            last.not_before = last.not_before.min(not_before);
            let id = last.entry.id;
            self.place(&lane, now);
            return Enqueued::Coalesced(id);
        }
        self.last_id += 1;
        let id = EntryId(self.last_id);
        let mut entry = Entry::new(id, new.op, new.payload, time(now)).kind(new.kind).priority(new.priority).scope(new.scope);
        entry.mapping = new.mapping;
        let state = self.lanes.entry(Arc::new(new.lane)).or_default();
        let was_empty = state.entries.is_empty();
        if was_empty {
            // Most lanes have one entry; the list would begin with room for four.
            state.entries.reserve_exact(1);
        }
        state.entries.push_back(Stored { entry, not_before, coalesce: new.coalesce });
        if was_empty {
            self.place(&lane, now);
        }
        Enqueued::New(id)
    }

    /// The lanes to hand out, in order.
    pub(super) fn choose(&self, want: &Claim) -> Vec<Arc<Lane>> {
        let mut found: Vec<&(u8, u64, Arc<Lane>)> = Vec::new();
        for (group, set) in &self.ready {
            if want.wants(&group.0, &group.1) {
                found.extend(set.iter().take(want.lanes));
            }
        }
        found.sort_unstable_by_key(|(rank, id, _)| (*rank, *id));
        found.into_iter().take(want.lanes).map(|(_, _, lane)| Arc::clone(lane)).collect()
    }

    pub(super) fn lease(&mut self, lane: &Arc<Lane>, want: &Claim, now: i64) -> Option<Lease> {
        self.last_fence += 1;
        let fence = self.last_fence;
        let state = self.lanes.get_mut(lane)?;
        let wanted = |stored: &&Stored| stored.not_before <= now && want.wants(&stored.entry.scope, &stored.entry.kind);
        let entries: Vec<Entry> =
            state.entries.iter().take(want.entries.max(1)).take_while(wanted).map(|stored| stored.entry.clone()).collect();
        let expires = now.saturating_add(micros(want.ttl.min(MAX_TTL)));
        state.deliveries = state.deliveries.saturating_add(1);
        state.lease = Some(Held { fence, expires, ids: entries.iter().map(|entry| entry.id.0).collect() });
        let token = LeaseToken { lane: Lane::clone(lane), fence };
        let lease = Lease::new(token, time(expires), state.deliveries, state.attempts, entries);
        self.place(lane, now);
        Some(lease)
    }

    /// Prolongs leases; answers those that have ended.
    pub(super) fn extend(&mut self, leases: &[LeaseToken], ttl: Duration, now: i64) -> Vec<LeaseToken> {
        let expires = now.saturating_add(micros(ttl.min(MAX_TTL)));
        let mut lost = Vec::new();
        for token in leases {
            let held = self.lanes.get_mut(&token.lane).filter(|lane| lane.held(token, now).is_some()).and_then(|lane| lane.lease.as_mut());
            match held {
                Some(lease) => {
                    lease.expires = expires;
                    self.place(&token.lane, now);
                }
                None => lost.push(token.clone()),
            }
        }
        lost
    }

    pub(super) fn settle(&mut self, settle: Settle, now: i64) -> Settled {
        let lane = &settle.token.lane;
        let Some(state) = self.lanes.get_mut(lane) else { return Settled::LeaseLost };
        let Some(held) = state.held(&settle.token, now).cloned() else { return Settled::LeaseLost };
        let head = state.head();
        let done = settle.done.min(held.ids.len());
        let (finished, rest) = held.ids.split_at_checked(done).unwrap_or((&held.ids, &[]));
        state.entries.retain(|stored| !finished.contains(&stored.entry.id.0));
        state.lease = None;
        state.deliveries = 0;
        if state.head() != head {
            state.attempts = 0;
        }
        state.ready_at = i64::MIN;
        let head = state.head();
        match settle.then {
            Then::Defer { wait } => state.ready_at = now.saturating_add(micros(wait)),
            Then::Retry { wait } if !rest.is_empty() => {
                state.ready_at = now.saturating_add(micros(wait));
                state.attempts = state.attempts.saturating_add(1);
            }
            Then::Park { entries, cause, freeze } if !rest.is_empty() => {
                let ids: Vec<u64> = rest.iter().take(entries.max(1)).copied().collect();
                let (gone, kept): (VecDeque<Stored>, _) =
                    std::mem::take(&mut state.entries).into_iter().partition(|stored| ids.contains(&stored.entry.id.0));
                state.entries = kept;
                for stored in gone {
                    let attempts = if Some(stored.entry.id.0) == head { state.attempts } else { 0 };
                    state.frozen += usize::from(freeze);
                    let parked = Parked::new(lane.clone(), stored.entry.clone(), cause.clone(), attempts, time(now), freeze);
                    self.parked.insert(stored.entry.id.0, (parked, stored));
                }
                if state.head() != head {
                    state.attempts = 0;
                }
            }
            _ => {}
        }
        self.place(&settle.token.lane, now);
        Settled::Applied
    }

    /// Takes the selected dead letters out, and thaws their lanes.
    pub(super) fn unpark(&mut self, which: &ParkedFilter, now: i64, back: bool) -> u64 {
        let ids: Vec<u64> = self.parked.iter().filter(|(_, (parked, _))| which.matches(parked)).map(|(id, _)| *id).collect();
        let mut count = 0;
        for id in ids {
            let Some((parked, stored)) = self.parked.remove(&id) else { continue };
            count += 1;
            let state = self.lanes.entry(Arc::new(parked.lane.clone())).or_default();
            state.frozen = state.frozen.saturating_sub(usize::from(parked.froze));
            if back {
                let head = state.head();
                state.insert(stored);
                if state.head() != head {
                    state.attempts = 0;
                    state.ready_at = i64::MIN;
                }
            }
            self.place(&parked.lane, now);
        }
        count
    }

    pub(super) fn stats(&self, now: i64) -> QueueStats {
        let mut stats = QueueStats::new(time(now));
        let mut scopes: BTreeMap<&str, ScopeStats> = BTreeMap::new();
        for state in self.lanes.values() {
            stats.lanes += u64::from(!state.entries.is_empty());
            stats.leased += u64::from(state.leased(now));
            stats.frozen += u64::from(state.frozen > 0);
            stats.entries += state.entries.len() as u64;
            for Stored { entry, .. } in &state.entries {
                let scope = scopes.entry(&entry.scope).or_insert_with(|| ScopeStats::new(entry.scope.clone(), 0, None));
                scope.entries += 1;
                scope.oldest = Some(scope.oldest.map_or(entry.enqueued_at, |oldest| oldest.min(entry.enqueued_at)));
            }
        }
        stats.parked = self.parked.len() as u64;
        stats.scopes = scopes.into_values().collect();
        stats.oldest = stats.scopes.iter().filter_map(|scope| scope.oldest).min();
        stats
    }

    pub(super) fn purge(&mut self, subject: &Subject, now: i64) -> u64 {
        let before = self.parked.len();
        self.parked.retain(|_, (parked, _)| !subject.matches(&parked.lane));
        let mut count = (before - self.parked.len()) as u64;
        let lanes: Vec<Arc<Lane>> = self.lanes.keys().filter(|lane| subject.matches(lane)).cloned().collect();
        for lane in lanes {
            if let Some(state) = self.lanes.get_mut(&lane) {
                count += state.entries.len() as u64;
                let place = std::mem::take(&mut state.place);
                *state = LaneState { place, ..LaneState::default() };
            }
            self.place(&lane, now);
        }
        count
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn enqueue(&self, entries: Vec<NewEntry>) -> Result<Vec<Enqueued>> {
        check_batch(&entries)?;
        let (now, window) = (self.micros(), self.inner.window);
        let mut state = self.state();
        state.forget_ops(now);
        let outcomes = entries.into_iter().map(|entry| state.enqueue(entry, now, window)).collect();
        self.wake(state);
        Ok(outcomes)
    }

    async fn claim(&self, want: &Claim) -> Result<Vec<Lease>> {
        let now = self.micros();
        let mut state = self.state();
        state.promote(now);
        let lanes = state.choose(want);
        Ok(lanes.iter().filter_map(|lane| state.lease(lane, want, now)).collect())
    }

    async fn extend(&self, leases: &[LeaseToken], ttl: Duration) -> Result<Vec<LeaseToken>> {
        let now = self.micros();
        Ok(self.state().extend(leases, ttl, now))
    }

    async fn settle(&self, outcomes: Vec<Settle>) -> Result<Vec<Settled>> {
        check_outcomes(outcomes.len())?;
        let now = self.micros();
        let mut state = self.state();
        let settled = outcomes.into_iter().map(|outcome| state.settle(outcome, now)).collect();
        self.wake(state);
        Ok(settled)
    }

    async fn parked(&self, page: &ParkedPage) -> Result<Vec<Parked>> {
        let state = self.state();
        let after = page.after.map_or(0, |id| id.0.saturating_add(1));
        let selected = state.parked.range(after..).map(|(_, (parked, _))| parked).filter(|parked| page.filter.matches(parked));
        Ok(selected.take(page.limit).cloned().collect())
    }

    async fn replay(&self, which: &ParkedFilter) -> Result<u64> {
        let now = self.micros();
        let mut state = self.state();
        let count = state.unpark(which, now, true);
        self.wake(state);
        Ok(count)
    }

    async fn discard(&self, which: &ParkedFilter) -> Result<u64> {
        let now = self.micros();
        let mut state = self.state();
        let count = state.unpark(which, now, false);
        self.wake(state);
        Ok(count)
    }

    async fn stats(&self) -> Result<QueueStats> {
        let now = self.micros();
        Ok(self.state().stats(now))
    }

    async fn purge(&self, subject: &Subject) -> Result<u64> {
        let now = self.micros();
        Ok(self.state().purge(subject, now))
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(time(self.micros()))
    }

    fn capabilities(&self) -> QueueCapabilities {
        QueueCapabilities {
            durable: false,
            survives_power_loss: false,
            shared: false,
            atomic_enqueue: true,
            atomic_with_store: false,
            coalesces: true,
            notify: true,
            op_window: length(self.inner.window),
        }
    }

    fn wakeups(&self) -> Option<BoxStream<'static, ()>> {
        let seen = self.state().changes;
        let wakeups = stream::unfold((self.clone(), seen), |(queue, seen)| async move {
            let changes = std::future::poll_fn(|context| {
                let mut state = queue.state();
                if state.changes != seen {
                    return Poll::Ready(state.changes);
                }
                if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                    state.wakers.push(context.waker().clone());
                }
                Poll::Pending
            })
            .await;
            Some(((), (queue, changes)))
        });
        Some(wakeups.boxed())
    }
}
