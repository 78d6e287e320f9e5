//! What goes in.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use crate::queue::entry::{Enqueued, EntryId, Merge, NewEntry};
use crate::queue::sqlite::call::Call;
use crate::queue::sqlite::rows::{BEHIND, FIND, Head, not_before};

/// Remembers an op id, unless it is remembered already: then no row changes.
const REMEMBER: &str = "INSERT INTO crm_sync_queue_ops (op, until) VALUES (?1, ?2) \
    ON CONFLICT (op) DO UPDATE SET until = excluded.until WHERE until <= ?3";
/// `expires`, `fence`, `alarm` and `leased` are as long as they will be under a lease.
const ADD: &str = "INSERT INTO crm_sync_queue_jobs (id, lane, grp, priority, state, more, fence, expires, alarm, ready_at, deliveries, \
    attempts, leased, not_before, enqueued_at, op, mapping, coalesce, payload) \
    VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, 0, 0, 0, -?1, ?9, ?7, ?10, ?11, ?12, ?13)";
const MORE: &str = "UPDATE crm_sync_queue_jobs SET more = 1 WHERE id = ?1";

struct Statements<'c> {
    remember: CachedStatement<'c>,
    find: CachedStatement<'c>,
    add: CachedStatement<'c>,
}

/// Enqueues within an open transaction.
pub(super) fn enqueue(connection: &Connection, entries: &[NewEntry], now: i64, window: i64) -> rusqlite::Result<Vec<Enqueued>> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    sweep(connection, entries.len(), now, window)?;
    let mut call = Call::begin(connection, now)?;
    let prepare = |sql| connection.prepare_cached(sql);
    let mut statements = Statements { remember: prepare(REMEMBER)?, find: prepare(FIND)?, add: prepare(ADD)? };
    let mut outcomes = Vec::with_capacity(entries.len());
    let mut group = (entries.first(), 0);
    if let Some(first) = group.0 {
        group.1 = call.group_of(&first.scope, &first.kind)?;
    }
    for entry in entries {
        if statements.remember.execute(params![entry.op, now.saturating_add(window), now])? == 0 {
            outcomes.push(Enqueued::Duplicate);
            continue;
        }
        // Most entries of a call are of one scope and kind.
        if group.0.is_none_or(|last| last.scope != entry.scope || last.kind != entry.kind) {
            group = (Some(entry), call.group_of(&entry.scope, &entry.kind)?);
        }
        outcomes.push(add(&mut call, &mut statements, entry, group.1)?);
    }
    call.finish()?;
    Ok(outcomes)
}

fn add(call: &mut Call<'_>, statements: &mut Statements<'_>, entry: &NewEntry, group: i64) -> rusqlite::Result<Enqueued> {
    let lane = entry.lane.encode();
    let head = Head::find(&mut statements.find, &lane)?;
    if let Some(head) = &head
        && let Some(id) = join_last(call, &lane, head, entry, group)?
    {
        return Ok(Enqueued::Coalesced(EntryId(id.unsigned_abs())));
    }
    let id = call.next_id();
    let not_before = not_before(entry.not_before);
    let (state, alarm) = match &head {
        Some(_) => (BEHIND, call.last_number()),
        None => call.state(&lane, id, not_before)?,
    };
    statements.add.execute(params![
        id,
        lane,
        group,
        entry.priority.rank(),
        state,
        call.last_number(),
        call.now,
        alarm,
        not_before,
        entry.op,
        entry.mapping,
        entry.coalesce.as_ref().map(|coalesce| coalesce.key.as_str()),
        entry.payload.as_ref()
    ])?;
    if let Some(head) = head
        && !head.more
    {
        call.connection.prepare_cached(MORE)?.execute([head.id])?;
    }
    Ok(Enqueued::New(EntryId(id.unsigned_abs())))
}

/// Lets an entry join the newest one of its lane, if it may.
fn join_last(call: &mut Call<'_>, lane: &str, head: &Head, new: &NewEntry, group: i64) -> rusqlite::Result<Option<i64>> {
    let Some(coalesce) = &new.coalesce else { return Ok(None) };
    let sql = "SELECT id, priority, not_before FROM \
        (SELECT * FROM crm_sync_queue_jobs WHERE lane = ?1 ORDER BY id DESC LIMIT 1) WHERE grp = ?2 AND coalesce = ?3";
    let last: Option<(i64, u8, i64)> = call
        .connection
        .prepare_cached(sql)?
        .query_row(params![lane, group, coalesce.key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((id, priority, due)) = last else { return Ok(None) };
    if head.is_leased(call.now) && head.leased.0.contains(&id) {
        return Ok(None);
    }
    let priority = priority.min(new.priority.rank());
    let due = due.min(not_before(new.not_before));
    match coalesce.merge {
        Merge::TakeNew => call
            .connection
            .prepare_cached("UPDATE crm_sync_queue_jobs SET priority = ?2, not_before = ?3, payload = ?4, mapping = ?5 WHERE id = ?1")?
            .execute(params![id, priority, due, new.payload.as_ref(), new.mapping])?,
        Merge::KeepOld => call
            .connection
            .prepare_cached("UPDATE crm_sync_queue_jobs SET priority = ?2, not_before = ?3 WHERE id = ?1")?
            .execute(params![id, priority, due])?,
    };
    if head.id == id
        && let Some(mut found) = Head::find_on(call.connection, lane)?
    {
        call.place(lane, &mut found)?;
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
