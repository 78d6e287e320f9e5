//! What is handed out.

use rusqlite::{CachedStatement, Connection, params};

use crate::error::Result;
use crate::queue::entry::Entry;
use crate::queue::lease::{Claim, Lease, LeaseToken, MAX_TTL};
use crate::queue::sqlite::call::Call;
use crate::queue::sqlite::rows::{Head, Leased, entry, failure, lane, micros, time};

const WHAT: &str = "could not claim";

/// The next group that a ready lane has: a jump in the index, whatever the number of lanes.
const NEXT_GROUP: &str = "SELECT grp FROM crm_sync_queue_jobs WHERE state = 0 AND grp > ?1 ORDER BY grp LIMIT 1";
const READY: &str = "SELECT priority, id FROM crm_sync_queue_jobs WHERE state = 0 AND grp = ?1 ORDER BY priority, id LIMIT ?2";
const HEAD: &str = "SELECT id, op, priority, mapping, enqueued_at, payload, grp, not_before, lane, more, deliveries, attempts \
    FROM crm_sync_queue_jobs WHERE id = ?1";
const REST: &str = "SELECT id, op, priority, mapping, enqueued_at, payload, grp, not_before FROM crm_sync_queue_jobs \
    WHERE lane = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
const LEASE: &str = "UPDATE crm_sync_queue_jobs SET state = 1, more = ?2, fence = ?3, expires = ?4, alarm = ?5, deliveries = ?6, \
    leased = ?7 WHERE id = ?1";

/// True if there may be something to claim: looked at before a write is begun.
pub(super) fn any(connection: &Connection, now: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM crm_sync_queue_jobs WHERE state = 0) \
        OR EXISTS (SELECT 1 FROM crm_sync_queue_alarms WHERE at <= ?1)";
    connection.prepare_cached(sql)?.query_row([now], |row| row.get(0))
}

struct Statements<'c> {
    head: CachedStatement<'c>,
    rest: CachedStatement<'c>,
    lease: CachedStatement<'c>,
}

/// Claims within an open transaction.
pub(super) fn claim(connection: &Connection, want: &Claim, now: i64) -> Result<Vec<Lease>> {
    let wrap = |error| failure(WHAT, error);
    let mut call = Call::begin(connection, now).map_err(wrap)?;
    call.wake().map_err(wrap)?;
    let heads = choose(&mut call, want).map_err(wrap)?;
    let expires = now.saturating_add(micros(want.ttl.min(MAX_TTL)));
    let prepare = |sql| connection.prepare_cached(sql).map_err(wrap);
    let mut statements = Statements { head: prepare(HEAD)?, rest: prepare(REST)?, lease: prepare(LEASE)? };
    let mut leases = Vec::with_capacity(heads.len());
    for head in heads {
        leases.extend(lease(&mut call, &mut statements, want, head, expires)?);
    }
    call.finish().map_err(wrap)?;
    Ok(leases)
}

/// The heads of the lanes to hand out, in order.
fn choose(call: &mut Call<'_>, want: &Claim) -> rusqlite::Result<Vec<i64>> {
    let limit = i64::try_from(want.lanes).unwrap_or(i64::MAX);
    let mut found: Vec<(i64, i64)> = Vec::new();
    let mut ready = call.connection.prepare_cached(READY)?;
    let mut next = call.connection.prepare_cached(NEXT_GROUP)?;
    let mut last = i64::MIN;
    loop {
        let mut rows = next.query([last])?;
        let Some(row) = rows.next()? else { break };
        last = row.get(0)?;
        let (scope, kind) = call.group(last)?;
        if want.wants(scope, kind) {
            for row in ready.query_map(params![last, limit], |row| Ok((row.get(0)?, row.get(1)?)))? {
                found.push(row?);
            }
        }
    }
    found.sort_unstable();
    found.truncate(want.lanes);
    Ok(found.into_iter().map(|(_, id)| id).collect())
}

fn lease(call: &mut Call<'_>, statements: &mut Statements<'_>, want: &Claim, id: i64, expires: i64) -> Result<Option<Lease>> {
    let wrap = |error| failure(WHAT, error);
    let now = call.now;
    let mut read = |call: &mut Call<'_>| -> rusqlite::Result<_> {
        let mut rows = statements.head.query([id])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let (scope, kind) = call.group(row.get(6)?)?;
        let entry = entry(row, 0, scope, kind)?;
        let text: String = row.get(8)?;
        Ok(Some((entry, row.get::<_, i64>(7)?, text, row.get::<_, bool>(9)?, row.get::<_, u32>(10)?, row.get::<_, u32>(11)?)))
    };
    let Some((head, not_before, text, mut more, deliveries, attempts)) = read(call).map_err(wrap)? else { return Ok(None) };
    if not_before > now {
        // The clock was set back since the head came due.
        if let Some(mut head) = Head::find_on(call.connection, &text).map_err(wrap)? {
            call.place(&text, &mut head).map_err(wrap)?;
        }
        return Ok(None);
    }
    let mut entries = vec![head];
    if more && want.entries > 1 {
        more = rest(call, &mut statements.rest, want, (&text, id), &mut entries).map_err(wrap)?;
    }
    let leased = Leased(entries.iter().map(|entry| crate::queue::sqlite::rows::signed(entry.id.0)).collect());
    let (fence, alarm) = (call.next_number(), call.wait(expires, id));
    let deliveries = deliveries.saturating_add(1);
    statements.lease.execute(params![id, more, fence, expires, alarm, deliveries, leased.column(id)]).map_err(wrap)?;
    let token = LeaseToken { lane: lane(&text)?, fence: fence.unsigned_abs() };
    Ok(Some(Lease::new(token, time(expires), deliveries, attempts, entries)))
}

/// Adds the entries behind the head as far as they are due and wanted; whether there are any at all.
fn rest(
    call: &mut Call<'_>,
    statement: &mut CachedStatement<'_>,
    want: &Claim,
    (lane, head): (&str, i64),
    entries: &mut Vec<Entry>,
) -> rusqlite::Result<bool> {
    let mut rows = statement.query(params![lane, head, i64::try_from(want.entries - 1).unwrap_or(i64::MAX)])?;
    let mut any = false;
    while let Some(row) = rows.next()? {
        any = true;
        let not_before: i64 = row.get(7)?;
        let now = call.now;
        let (scope, kind) = call.group(row.get(6)?)?;
        if not_before > now || !want.wants(scope, kind) {
            break;
        }
        entries.push(entry(row, 0, scope, kind)?);
    }
    Ok(any)
}
