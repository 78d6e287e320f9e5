//! Ending leases.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use sqlx::postgres::PgConnection;

use crate::error::{Error, Result};
use crate::queue::entry::check_outcomes;
use crate::queue::parked::Cause;
use crate::queue::postgres::claim::{damaged, micros};
use crate::queue::postgres::queue::PostgresQueue;
use crate::queue::postgres::schema::{LockedLane, drop_empty, lock, preamble, preamble_by_index, refresh};
use crate::queue::settle::{Settle, Settled, Then};

const WHAT: &str = "could not settle";
const DONE: &str = "DELETE FROM crm_sync_queue_entry WHERE id = ANY ($1::bigint[])";
/// Lanes whose only entry is done: they go, without being locked or looked through first. Each is looked up by its name, however few
/// the planner expects to find. A row that changes meanwhile is looked at again as it is then, so nothing that comes in is lost.
const GONE: &str = "DELETE FROM crm_sync_queue_lane AS lane WHERE lane.ctid = ANY (ARRAY(\
        SELECT found.place FROM unnest($1::text[]) AS held (lane) CROSS JOIN LATERAL (\
            SELECT ctid AS place FROM crm_sync_queue_lane AS one WHERE one.lane = held.lane OFFSET 0) AS found)) \
    AND NOT lane.more AND lane.frozen = 0 AND lane.leased_until > (date_part('epoch', clock_timestamp()) * 1000000)::bigint \
    RETURNING lane.lane, lane.fence, lane.leased";
/// Rows are not locked in the order of all others here, so nobody is waited for until the server finds a deadlock.
const DO_NOT_WAIT: &str = "SELECT set_config('lock_timeout', '200', true)";
/// For how many calls the short way is left alone after it was not one.
const LONG_WAYS: u32 = 16;
const PARK: &str = "WITH moved AS (DELETE FROM crm_sync_queue_entry WHERE id = ANY ($1::bigint[]) RETURNING *) \
    INSERT INTO crm_sync_queue_parked (id, lane, connection, entity, record, op, kind, priority, scope, payload, mapping, not_before, \
        enqueued_at, coalesce_by, cause, cause_group, attempts, parked_at, froze) \
    SELECT moved.id, moved.lane, lane.connection, lane.entity, lane.record, moved.op, moved.kind, moved.priority, moved.scope, \
        moved.payload, moved.mapping, moved.not_before, moved.enqueued_at, moved.coalesce_by, why.cause, why.cause_group, why.attempts, $6, why.froze \
    FROM moved JOIN crm_sync_queue_lane AS lane USING (lane) \
    JOIN unnest($1::bigint[], $2::text[], $3::text[], $4::integer[], $5::boolean[]) AS why (id, cause, cause_group, attempts, froze) USING (id)";
const FREE: &str = "UPDATE crm_sync_queue_lane AS lane SET leased_until = 0, leased = '{}', deliveries = 0, \
    attempts = freed.attempts, frozen = lane.frozen + freed.frozen, wait_until = freed.wait_until \
    FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[]) AS freed (lane, attempts, frozen, wait_until) WHERE lane.lane = freed.lane";

/// What the settles of one call come to.
#[derive(Default)]
struct Work {
    done: Vec<i64>,
    parked: Parking,
    lanes: Vec<String>,
    attempts: Vec<i32>,
    frozen: Vec<i64>,
    wait_until: Vec<i64>,
}

#[derive(Default)]
struct Parking {
    ids: Vec<i64>,
    causes: Vec<String>,
    groups: Vec<String>,
    attempts: Vec<i32>,
    froze: Vec<bool>,
}

impl PostgresQueue {
    /// Whether all of the outcomes may be of lanes that are empty afterwards.
    pub(super) fn may_be_short(&self, outcomes: &[Settle]) -> bool {
        let waits = self.long_ways.load(Ordering::Relaxed);
        if waits > 0 {
            self.long_ways.store(waits - 1, Ordering::Relaxed);
            return false;
        }
        outcomes.iter().all(|outcome| outcome.done > 0)
    }

    /// Settles all outcomes if each ends the only entry of its lane. With `false` the transaction is of no use: settle in another
    /// one, the long way.
    pub(super) async fn settle_short(&self, connection: &mut PgConnection, outcomes: &[Settle]) -> Result<bool> {
        check_outcomes(outcomes.len())?;
        preamble_by_index(&self.tables, connection, WHAT).await?;
        let done = self.drop_done(connection, outcomes).await.or_else(|error| {
            let code = error.as_database_error().and_then(|error| error.code());
            if matches!(code.as_deref(), Some("55P03" | "40P01")) { Ok(false) } else { Err(self.tables.failure(WHAT, error)) }
        })?;
        if !done {
            self.long_ways.store(LONG_WAYS, Ordering::Relaxed);
        }
        Ok(done)
    }

    async fn drop_done(&self, connection: &mut PgConnection, outcomes: &[Settle]) -> sqlx::Result<bool> {
        sqlx::query(DO_NOT_WAIT).execute(&mut *connection).await?;
        let texts: Vec<String> = outcomes.iter().map(|outcome| outcome.token.lane.encode()).collect();
        let lanes: Vec<&str> = texts.iter().map(String::as_str).collect();
        let gone: Vec<(String, i64, Vec<i64>)> = sqlx::query_as(GONE).bind(lanes).fetch_all(&mut *connection).await?;
        let mut fences: HashMap<&str, i64> = HashMap::with_capacity(gone.len());
        fences.extend(gone.iter().map(|(lane, fence, _)| (lane.as_str(), *fence)));
        // Each token once, and the right one.
        let held = |(outcome, text): (&Settle, &String)| {
            let fence = fences.remove(text.as_str());
            fence.is_some_and(|fence| u64::try_from(fence) == Ok(outcome.token.fence))
        };
        if !outcomes.iter().zip(&texts).all(held) {
            return Ok(false);
        }
        let ids: Vec<i64> = gone.iter().flat_map(|(.., leased)| leased).copied().collect();
        sqlx::query(DONE).bind(ids).execute(connection).await?;
        Ok(true)
    }

    pub(super) async fn settle_on(&self, connection: &mut PgConnection, outcomes: &[Settle]) -> Result<Vec<Settled>> {
        check_outcomes(outcomes.len())?;
        preamble(&self.tables, connection, WHAT).await?;
        self.settle_locked(connection, outcomes).await
    }

    async fn settle_locked(&self, connection: &mut PgConnection, outcomes: &[Settle]) -> Result<Vec<Settled>> {
        let wrap = |error| self.tables.failure(WHAT, error);
        let texts: Vec<String> = outcomes.iter().map(|outcome| outcome.token.lane.encode()).collect();
        let names: Vec<&str> = texts.iter().map(String::as_str).collect();
        let locked = lock(connection, &names).await.map_err(wrap)?;
        let now = locked.first().map_or(0, |row| row.6);
        // Taken out by the first settle that holds: a second one of the same lane is stale.
        let mut open: HashMap<&str, &LockedLane> = locked.iter().map(|row| (row.0.as_str(), row)).collect();
        let mut work = Work::default();
        let mut settled = Vec::with_capacity(outcomes.len());
        for (outcome, text) in outcomes.iter().zip(&names) {
            // A stale token does not spend the lane: a good one may follow in the same call.
            let held = |row: &&LockedLane| u64::try_from(row.1) == Ok(outcome.token.fence) && row.2 > now;
            if let Entry::Occupied(row) = open.entry(text)
                && held(row.get())
            {
                work.add(row.remove(), outcome, now)?;
                settled.push(Settled::Applied);
            } else {
                settled.push(Settled::LeaseLost);
            }
        }
        work.write(connection, now).await.map_err(wrap)?;
        Ok(settled)
    }
}

impl Work {
    fn add(&mut self, row: &LockedLane, outcome: &Settle, now: i64) -> Result<()> {
        let (lane, _, _, leased, attempts, head, _) = row;
        let (done, rest) = leased.split_at(outcome.done.min(leased.len()));
        self.done.extend_from_slice(done);
        // The attempts are the head's; a head that goes takes them along.
        let is_head = |id: &i64| *head == Some(*id);
        let mut kept = if done.iter().any(is_head) { 0 } else { *attempts };
        let (mut frozen, mut wait_until) = (0, 0);
        match &outcome.then {
            Then::Park { entries, cause, freeze } => {
                let parked = rest.get(..(*entries).max(1).min(rest.len())).unwrap_or_default();
                for id in parked {
                    self.parked.add(*id, cause, if is_head(id) { kept } else { 0 }, *freeze)?;
                }
                if *freeze {
                    frozen = i64::try_from(parked.len()).unwrap_or(i64::MAX);
                }
                if parked.iter().any(is_head) {
                    kept = 0;
                }
            }
            Then::Retry { wait } if !rest.is_empty() => {
                kept = kept.saturating_add(1);
                wait_until = now.saturating_add(micros(*wait));
            }
            Then::Defer { wait } => wait_until = now.saturating_add(micros(*wait)),
            Then::Retry { .. } | Then::Release => {}
        }
        self.lanes.push(lane.clone());
        self.attempts.push(kept);
        self.frozen.push(frozen);
        self.wait_until.push(wait_until);
        Ok(())
    }

    async fn write(self, connection: &mut PgConnection, now: i64) -> sqlx::Result<()> {
        if self.lanes.is_empty() {
            return Ok(());
        }
        if !self.done.is_empty() {
            sqlx::query(DONE).bind(self.done).execute(&mut *connection).await?;
        }
        if !self.parked.ids.is_empty() {
            sqlx::query(PARK)
                .bind(self.parked.ids)
                .bind(self.parked.causes)
                .bind(self.parked.groups)
                .bind(self.parked.attempts)
                .bind(self.parked.froze)
                .bind(now)
                .execute(&mut *connection)
                .await?;
        }
        // Most lanes are empty now: they go without being written first.
        let melting: Vec<&str> =
            self.lanes.iter().zip(&self.frozen).filter(|(_, frozen)| **frozen == 0).map(|(lane, _)| lane.as_str()).collect();
        let kept: HashSet<String> = drop_empty(connection, &melting).await?.into_iter().collect();
        let stays = |at: &usize| {
            let frozen = self.frozen.get(*at).is_some_and(|frozen| *frozen > 0);
            frozen || self.lanes.get(*at).is_some_and(|lane| kept.contains(lane))
        };
        let left: Vec<usize> = (0..self.lanes.len()).filter(stays).collect();
        if left.is_empty() {
            return Ok(());
        }
        let lanes: Vec<&str> = left.iter().filter_map(|at| self.lanes.get(*at)).map(String::as_str).collect();
        let attempts: Vec<i32> = left.iter().filter_map(|at| self.attempts.get(*at)).copied().collect();
        let frozen: Vec<i64> = left.iter().filter_map(|at| self.frozen.get(*at)).copied().collect();
        let wait_until: Vec<i64> = left.iter().filter_map(|at| self.wait_until.get(*at)).copied().collect();
        sqlx::query(FREE).bind(&lanes).bind(attempts).bind(frozen).bind(wait_until).execute(&mut *connection).await?;
        refresh(connection, &lanes, now, false).await
    }
}

impl Parking {
    fn add(&mut self, id: i64, cause: &Cause, attempts: i32, froze: bool) -> Result<()> {
        let json = serde_json::to_string(cause).map_err(|error| -> Error { damaged(&format!("a cause does not serialise: {error}")) })?;
        self.ids.push(id);
        // The server's texts hold no NUL.
        self.causes.push(json.replace("\\u0000", ""));
        self.groups.push(cause.group().replace('\0', ""));
        self.attempts.push(attempts);
        self.froze.push(froze);
        Ok(())
    }
}
