//! What is handed out.

use rusqlite::{Connection, params};

use crate::error::Result;
use crate::queue::lease::{Claim, Lease, LeaseToken, MAX_TTL};
use crate::queue::sqlite::rows::{LaneRow, entry, failure, join, lane, micros, signed, time};

const WHAT: &str = "could not claim";

/// Lanes that came due and become ready in one call. The rest of a flood follows with the next calls.
const PROMOTED: i64 = 10_000;

const PROMOTE: &str = "UPDATE crm_sync_queue_lanes SET state = 0 WHERE lane IN \
    (SELECT lane FROM crm_sync_queue_lanes WHERE state = 1 AND free_at <= ?1 ORDER BY free_at LIMIT ?2)";
/// The next scope and kind that a ready lane has: a jump in the index, whatever the number of lanes.
const NEXT_GROUP: &str = "SELECT scope, kind FROM crm_sync_queue_lanes WHERE state = 0 AND (scope, kind) > (?1, ?2) \
    ORDER BY scope, kind LIMIT 1";
const FIRST_GROUP: &str = "SELECT scope, kind FROM crm_sync_queue_lanes WHERE state = 0 ORDER BY scope, kind LIMIT 1";
const READY: &str = "SELECT priority, head, lane, deliveries, attempts FROM crm_sync_queue_lanes \
    WHERE state = 0 AND scope = ?1 AND kind = ?2 ORDER BY priority, head LIMIT ?3";
const HEADS: &str = "SELECT not_before, id, op, kind, priority, scope, mapping, enqueued_at, payload \
    FROM crm_sync_queue_entries WHERE lane = ?1 ORDER BY id LIMIT ?2";
const LEASE: &str = "UPDATE crm_sync_queue_lanes SET state = 1, free_at = ?2, expires = ?2, fence = ?3, leased = ?4, \
    deliveries = ?5 WHERE lane = ?1";

struct Ready {
    rank: u8,
    head: i64,
    lane: String,
    deliveries: u32,
    attempts: u32,
}

/// True if there may be something to claim: looked at before a write is begun.
pub(super) fn any(connection: &Connection, now: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM crm_sync_queue_lanes WHERE state = 0) \
        OR EXISTS (SELECT 1 FROM crm_sync_queue_lanes WHERE state = 1 AND free_at <= ?1)";
    connection.prepare_cached(sql)?.query_row([now], |row| row.get(0))
}

/// Claims within an open transaction.
pub(super) fn claim(connection: &Connection, want: &Claim, now: i64) -> Result<Vec<Lease>> {
    let wrap = |error| failure(WHAT, error);
    connection.prepare_cached(PROMOTE).and_then(|mut promote| promote.execute(params![now, PROMOTED])).map_err(wrap)?;
    let lanes = choose(connection, want).map_err(wrap)?;
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    let fence = fences(connection, lanes.len()).map_err(wrap)?;
    let expires = now.saturating_add(micros(want.ttl.min(MAX_TTL)));
    let mut leases = Vec::with_capacity(lanes.len());
    for (at, ready) in lanes.into_iter().enumerate() {
        let token = LeaseToken { lane: lane(&ready.lane)?, fence: fence + at as u64 };
        leases.extend(lease(connection, want, &ready, token, expires, now).map_err(wrap)?);
    }
    Ok(leases)
}

/// The lanes to hand out, in order.
fn choose(connection: &Connection, want: &Claim) -> rusqlite::Result<Vec<Ready>> {
    let limit = i64::try_from(want.lanes).unwrap_or(i64::MAX);
    let mut found = Vec::new();
    let mut ready = connection.prepare_cached(READY)?;
    let mut next = connection.prepare_cached(NEXT_GROUP)?;
    let mut group = groups(connection.prepare_cached(FIRST_GROUP)?.query([])?)?;
    while let Some((scope, kind)) = group {
        if want.wants(&scope, &kind) {
            let rows = ready.query_map(params![scope, kind, limit], |row| {
                Ok(Ready { rank: row.get(0)?, head: row.get(1)?, lane: row.get(2)?, deliveries: row.get(3)?, attempts: row.get(4)? })
            })?;
            for row in rows {
                found.push(row?);
            }
        }
        group = groups(next.query([scope, kind])?)?;
    }
    found.sort_unstable_by_key(|ready| (ready.rank, ready.head));
    found.truncate(want.lanes);
    Ok(found)
}

fn groups(mut rows: rusqlite::Rows<'_>) -> rusqlite::Result<Option<(String, String)>> {
    rows.next()?.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

/// The first of `count` new fences.
fn fences(connection: &Connection, count: usize) -> rusqlite::Result<u64> {
    let sql = "UPDATE crm_sync_queue_counters SET last_fence = last_fence + ?1 WHERE id = 1 RETURNING last_fence";
    let last: i64 = connection.prepare_cached(sql)?.query_row([signed(count as u64)], |row| row.get(0))?;
    Ok(last.unsigned_abs() + 1 - count as u64)
}

fn lease(
    connection: &Connection,
    want: &Claim,
    ready: &Ready,
    token: LeaseToken,
    expires: i64,
    now: i64,
) -> rusqlite::Result<Option<Lease>> {
    let mut heads = connection.prepare_cached(HEADS)?;
    let mut rows = heads.query(params![ready.lane, i64::try_from(want.entries.max(1)).unwrap_or(i64::MAX)])?;
    let mut entries = Vec::new();
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        let found = entry(row, 1)?;
        if row.get::<_, i64>(0)? > now || !want.wants(&found.scope, &found.kind) {
            break;
        }
        ids.push(signed(found.id.0));
        entries.push(found);
    }
    if entries.is_empty() {
        // The clock was set back since the head came due.
        if let Some(mut row) = LaneRow::find(connection, &ready.lane)? {
            row.place(connection, &ready.lane, now)?;
        }
        return Ok(None);
    }
    let deliveries = ready.deliveries.saturating_add(1);
    connection.prepare_cached(LEASE)?.execute(params![ready.lane, expires, signed(token.fence), join(&ids), deliveries])?;
    Ok(Some(Lease::new(token, time(expires), deliveries, ready.attempts, entries)))
}
