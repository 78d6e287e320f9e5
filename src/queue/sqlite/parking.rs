//! Dead letters, and the erasure of a subject.

use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::queue::entry::EntryId;
use crate::queue::lane::Lane;
use crate::queue::parked::{Cause, CauseCount, Parked, ParkedFilter, ParkedPage, Subject};
use crate::queue::sqlite::call::Call;
use crate::queue::sqlite::rows::{Head, entry, failure, lane, signed, time};

const READ: &str = "could not read the dead letters";
const TAKE: &str = "could not take dead letters out";

/// Moves one entry to the dead letters.
pub(super) fn park(call: &mut Call<'_>, lane: &Lane, id: i64, cause: &Cause, attempts: u32, freeze: bool) -> rusqlite::Result<()> {
    let sql = "INSERT INTO crm_sync_queue_parked (id, lane, connection, entity, record, cause_group, cause, attempts, at, froze, \
        op, kind, priority, scope, not_before, mapping, coalesce, enqueued_at, payload) \
        SELECT job.id, lane, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, op, kind, priority, scope, not_before, mapping, coalesce, enqueued_at, payload \
        FROM crm_sync_queue_jobs AS job JOIN crm_sync_queue_groups AS names ON names.id = job.grp WHERE job.id = ?1";
    let cause_text = serde_json::to_string(cause).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    call.connection.prepare_cached(sql)?.execute(params![
        id,
        lane.connection,
        lane.entity.as_str(),
        lane.record,
        cause.group(),
        cause_text,
        attempts,
        call.now,
        freeze
    ])?;
    call.connection.prepare_cached("DELETE FROM crm_sync_queue_jobs WHERE id = ?1")?.execute([id])?;
    if freeze {
        call.froze();
    }
    Ok(())
}

/// The condition of a filter and its values.
fn condition(filter: &ParkedFilter) -> (String, Vec<Value>) {
    let mut parts = vec!["1".to_owned()];
    let mut values: Vec<Value> = Vec::new();
    let mut add = |column: &str, operator: &str, value: Value| {
        values.push(value);
        parts.push(format!("{column} {operator} ?{}", values.len()));
    };
    let text = |text: &str| Value::Text(text.to_owned());
    if let Some(connection) = &filter.connection {
        add("connection", "=", text(connection));
    }
    if let Some(entity) = &filter.entity {
        add("entity", "=", text(entity.as_str()));
    }
    if let Some(record) = &filter.record {
        add("record", "=", text(record));
    }
    if let Some(group) = &filter.group {
        add("cause_group", "=", text(group));
    }
    if let Some(since) = filter.since {
        add("at", ">=", Value::Integer(since.as_microsecond()));
    }
    if let Some(until) = filter.until {
        add("at", "<", Value::Integer(until.as_microsecond()));
    }
    if let Some(ids) = &filter.ids {
        // Numbers: nothing to quote.
        let ids: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
        parts.push(format!("id IN ({})", ids.join(",")));
    }
    (parts.join(" AND "), values)
}

/// One page, in the order of the ids.
pub(super) fn parked(connection: &Connection, page: &ParkedPage) -> Result<Vec<Parked>> {
    let (condition, mut values) = condition(&page.filter);
    let after = page.after.map_or(-1, |EntryId(id)| signed(id));
    values.push(Value::Integer(after));
    values.push(Value::Integer(i64::try_from(page.limit).unwrap_or(i64::MAX)));
    let count = values.len();
    let sql = format!(
        "SELECT lane, cause, attempts, at, froze, scope, kind, id, op, priority, mapping, enqueued_at, payload FROM crm_sync_queue_parked \
         WHERE {condition} AND id > ?{} ORDER BY id LIMIT ?{count}",
        count - 1
    );
    let wrap = |error| failure(READ, error);
    let mut statement = connection.prepare(&sql).map_err(wrap)?;
    let mut rows = statement.query(params_from_iter(values)).map_err(wrap)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(wrap)? {
        let read = || -> rusqlite::Result<_> {
            let (text, cause): (String, String) = (row.get(0)?, row.get(1)?);
            let entry = entry(row, 7, row.get_ref(5)?.as_str()?, row.get_ref(6)?.as_str()?)?;
            Ok((text, cause, row.get(2)?, time(row.get(3)?), row.get(4)?, entry))
        };
        let (text, cause, attempts, at, froze, entry) = read().map_err(wrap)?;
        found.push(Parked::new(lane(&text)?, entry, self::cause(&cause)?, attempts, at, froze));
    }
    Ok(found)
}

fn cause(text: &str) -> Result<Cause> {
    serde_json::from_str(text).map_err(|_| {
        Error::new(ErrorKind::Queue, format!("{READ}: a cause is unreadable; it was written by something else or is damaged"))
            .retrying(Retry::Never)
    })
}

/// The dead letters by group.
pub(super) fn causes(connection: &Connection) -> Result<Vec<CauseCount>> {
    let wrap = |error| failure(READ, error);
    let sql = "SELECT cause_group, count(*), min(at), min(id) FROM crm_sync_queue_parked GROUP BY cause_group ORDER BY cause_group";
    let mut statement = connection.prepare_cached(sql).map_err(wrap)?;
    let groups: Vec<(String, i64, i64, i64)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .and_then(Iterator::collect)
        .map_err(wrap)?;
    let mut example = connection.prepare_cached("SELECT cause FROM crm_sync_queue_parked WHERE id = ?1").map_err(wrap)?;
    groups
        .into_iter()
        .map(|(group, count, oldest, id)| {
            let text: String = example.query_row([id], |row| row.get(0)).map_err(wrap)?;
            Ok(CauseCount::new(group, count.unsigned_abs(), time(oldest), cause(&text)?))
        })
        .collect()
}

/// Takes the selected dead letters out, back into their lanes or away, and thaws the lanes.
pub(super) fn take(connection: &Connection, which: &ParkedFilter, now: i64, back: bool) -> Result<u64> {
    take_rows(connection, which, now, back).map_err(|error| failure(TAKE, error))
}

fn take_rows(connection: &Connection, which: &ParkedFilter, now: i64, back: bool) -> rusqlite::Result<u64> {
    let (condition, values) = condition(which);
    let sql = format!("SELECT id, lane, scope, kind FROM crm_sync_queue_parked WHERE {condition} ORDER BY id");
    let mut statement = connection.prepare(&sql)?;
    let selected: Vec<(i64, String, String, String)> = statement
        .query_map(params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<Result<_, _>>()?;
    let mut call = Call::begin(connection, now)?;
    let mut restore = connection.prepare_cached(
        "INSERT INTO crm_sync_queue_jobs (id, lane, grp, priority, state, more, fence, expires, alarm, ready_at, deliveries, attempts, \
         leased, not_before, enqueued_at, op, mapping, coalesce, payload) \
         SELECT id, lane, ?2, priority, 3, 0, 0, 0, 0, 0, 0, 0, -id, not_before, enqueued_at, op, mapping, coalesce, payload \
         FROM crm_sync_queue_parked WHERE id = ?1",
    )?;
    let mut behind = connection.prepare_cached("UPDATE crm_sync_queue_jobs SET state = 3, leased = -id WHERE id = ?1")?;
    let mut remove = connection.prepare_cached("DELETE FROM crm_sync_queue_parked WHERE id = ?1")?;
    for (id, lane, scope, kind) in &selected {
        let before = Head::find_on(connection, lane)?;
        if back {
            let group = call.group_of(scope, kind)?;
            restore.execute([*id, group])?;
        }
        remove.execute([id])?;
        call.froze();
        let Some(mut head) = Head::find_on(connection, lane)? else { continue };
        if let Some(old) = before {
            if back {
                head.more = true;
            }
            if head.id != old.id {
                // The lane is as it was, with another head.
                behind.execute([old.id])?;
                head = Head { leased: old.leased, fence: old.fence, expires: old.expires, deliveries: old.deliveries, ..head };
            }
        }
        call.place(lane, &mut head)?;
    }
    call.finish()?;
    Ok(selected.len() as u64)
}

/// Erases a subject: every lane is looked at.
pub(super) fn purge(connection: &Connection, subject: &Subject) -> Result<u64> {
    let wrap = |error| failure("could not erase a subject", error);
    let mut lanes: Vec<String> = Vec::new();
    for sql in [
        "SELECT DISTINCT lane FROM crm_sync_queue_jobs WHERE substr(lane, -length(?1)) = ?1",
        "SELECT DISTINCT lane FROM crm_sync_queue_parked WHERE substr(lane, -length(?1)) = ?1",
    ] {
        let suffix = Lane::new("", crate::model::Entity::new(""), subject.record.clone()).encode();
        // The lane of an empty connection and entity is "//record".
        let suffix = suffix.strip_prefix('/').unwrap_or(&suffix);
        let mut statement = connection.prepare_cached(sql).map_err(wrap)?;
        let found: Vec<String> = statement.query_map([suffix], |row| row.get(0)).and_then(Iterator::collect).map_err(wrap)?;
        for text in found {
            if subject.matches(&lane(&text)?) {
                lanes.push(text);
            }
        }
    }
    let mut count = 0;
    for sql in ["DELETE FROM crm_sync_queue_jobs WHERE lane = ?1", "DELETE FROM crm_sync_queue_parked WHERE lane = ?1"] {
        let mut delete = connection.prepare_cached(sql).map_err(wrap)?;
        for lane in &lanes {
            count += delete.execute([lane]).map_err(wrap)? as u64;
        }
    }
    Ok(count)
}
