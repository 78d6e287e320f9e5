//! What goes in.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::queue::entry::{Enqueued, EntryId, Merge, NewEntry};
use crate::queue::sqlite::rows::{Head, LaneRow};

/// Remembers an op id, unless it is remembered already: then no row changes.
const REMEMBER: &str = "INSERT INTO crm_sync_queue_ops (op, until) VALUES (?1, ?2) \
    ON CONFLICT (op) DO UPDATE SET until = excluded.until WHERE until <= ?3";
const ADD: &str = "INSERT INTO crm_sync_queue_entries \
    (lane, id, op, kind, priority, scope, not_before, mapping, coalesce, enqueued_at, payload) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

/// Enqueues within an open transaction.
pub(super) fn enqueue(connection: &Connection, entries: &[NewEntry], now: i64, window: i64) -> rusqlite::Result<Vec<Enqueued>> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    sweep(connection, entries.len(), now, window)?;
    let mut last: i64 =
        connection.prepare_cached("SELECT last_id FROM crm_sync_queue_counters WHERE id = 1")?.query_row([], |row| row.get(0))?;
    let mut outcomes = Vec::with_capacity(entries.len());
    {
        let mut remember = connection.prepare_cached(REMEMBER)?;
        let mut add = connection.prepare_cached(ADD)?;
        for entry in entries {
            if remember.execute(params![entry.op, now.saturating_add(window), now])? == 0 {
                outcomes.push(Enqueued::Duplicate);
                continue;
            }
            let lane = entry.lane.encode();
            let found = LaneRow::find(connection, &lane)?;
            if let Some(row) = &found
                && let Some(id) = join_last(connection, &lane, row, entry, now)?
            {
                outcomes.push(Enqueued::Coalesced(EntryId(id.unsigned_abs())));
                continue;
            }
            last += 1;
            let not_before = entry.not_before.map_or(i64::MIN, Timestamp::as_microsecond);
            let coalesce = entry.coalesce.as_ref().map(|coalesce| coalesce.key.as_str());
            let rank = entry.priority.rank();
            add.execute(params![
                lane,
                last,
                entry.op,
                entry.kind,
                rank,
                entry.scope,
                not_before,
                entry.mapping,
                coalesce,
                now,
                entry.payload.as_ref()
            ])?;
            // A lane that has a head keeps it.
            if found.as_ref().is_none_or(|row| row.head == 0) {
                let row = LaneRow { head: last, ..found.unwrap_or_else(LaneRow::empty) };
                let head = Head { scope: &entry.scope, kind: &entry.kind, priority: rank, not_before };
                row.write(connection, &lane, &head, now)?;
            }
            outcomes.push(Enqueued::New(EntryId(last.unsigned_abs())));
        }
    }
    connection.prepare_cached("UPDATE crm_sync_queue_counters SET last_id = ?1 WHERE id = 1")?.execute([last])?;
    Ok(outcomes)
}

/// Lets an entry join the newest one of its lane, if it may.
fn join_last(connection: &Connection, lane: &str, row: &LaneRow, new: &NewEntry, now: i64) -> rusqlite::Result<Option<i64>> {
    let Some(coalesce) = &new.coalesce else { return Ok(None) };
    let sql = "SELECT id, priority, not_before FROM \
        (SELECT * FROM crm_sync_queue_entries WHERE lane = ?1 ORDER BY id DESC LIMIT 1) WHERE kind = ?2 AND scope = ?3 AND coalesce = ?4";
    let last: Option<(i64, u8, i64)> = connection
        .prepare_cached(sql)?
        .query_row(params![lane, new.kind, new.scope, coalesce.key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((id, priority, not_before)) = last else { return Ok(None) };
    if row.is_leased(now) && row.leased.contains(&id) {
        return Ok(None);
    }
    let priority = priority.min(new.priority.rank());
    let not_before = not_before.min(new.not_before.map_or(i64::MIN, Timestamp::as_microsecond));
    match coalesce.merge {
        Merge::TakeNew => connection
            .prepare_cached(
                "UPDATE crm_sync_queue_entries SET priority = ?3, not_before = ?4, payload = ?5, mapping = ?6 WHERE lane = ?1 AND id = ?2",
            )?
            .execute(params![lane, id, priority, not_before, new.payload.as_ref(), new.mapping])?,
        Merge::KeepOld => connection
            .prepare_cached("UPDATE crm_sync_queue_entries SET priority = ?3, not_before = ?4 WHERE lane = ?1 AND id = ?2")?
            .execute(params![lane, id, priority, not_before])?,
    };
    if row.head == id
        && let Some(mut found) = LaneRow::find(connection, lane)?
    {
        found.place(connection, lane, now)?;
    }
    Ok(Some(id))
}

/// Forgets op ids whose time is over, some at each call: a round through the table begins when op ids of the first hours are
/// over, and again an eighth of the window after the last one has ended.
fn sweep(connection: &Connection, count: usize, now: i64, window: i64) -> rusqlite::Result<()> {
    let sql = "SELECT sweep_at, sweep_from FROM crm_sync_queue_counters WHERE id = 1";
    let (at, from): (i64, Option<String>) = connection.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let set = |at: i64, from: Option<&str>| {
        connection
            .prepare_cached("UPDATE crm_sync_queue_counters SET sweep_at = ?1, sweep_from = ?2 WHERE id = 1")?
            .execute(params![at, from])
    };
    if at == 0 {
        return set(now.saturating_add(window), None).map(drop);
    }
    if now < at {
        return Ok(());
    }
    let from = from.unwrap_or_default();
    let limit = i64::try_from(count.saturating_mul(4).max(100)).unwrap_or(i64::MAX);
    let sql = "SELECT max(op), count(*) FROM (SELECT op FROM crm_sync_queue_ops WHERE op > ?1 ORDER BY op LIMIT ?2)";
    let (to, found): (Option<String>, i64) =
        connection.prepare_cached(sql)?.query_row(params![from, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if let Some(to) = &to {
        connection
            .prepare_cached("DELETE FROM crm_sync_queue_ops WHERE op > ?1 AND op <= ?2 AND until <= ?3")?
            .execute(params![from, to, now])?;
    }
    match to {
        Some(to) if found == limit => set(at, Some(&to)),
        _ => set(now.saturating_add(window / 8), None),
    }
    .map(drop)
}
