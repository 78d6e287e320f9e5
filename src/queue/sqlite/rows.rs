//! Rows of the tables, and where a lane stands.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::queue::entry::{Entry, EntryId, Priority};
use crate::queue::lane::Lane;
use crate::sql::failure_of;

/// The error of a failed call.
pub(super) fn failure(what: &str, error: rusqlite::Error) -> Error {
    failure_of(ErrorKind::Queue, what, error)
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn time(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A lane of a column. One that is no lane was written by something else.
pub(super) fn lane(text: &str) -> Result<Lane> {
    Lane::decode(text).ok_or_else(|| {
        Error::new(ErrorKind::Queue, "the queue holds a lane that is none; its tables were changed by something else or are damaged")
            .retrying(Retry::Never)
    })
}

/// An entry, from column `at` on: id, op, kind, priority, scope, mapping, enqueued_at, payload.
pub(super) fn entry(row: &Row<'_>, at: usize) -> rusqlite::Result<Entry> {
    let id: i64 = row.get(at)?;
    let payload: Vec<u8> = row.get(at + 7)?;
    let op: String = row.get(at + 1)?;
    let mut entry = Entry::new(EntryId(id.unsigned_abs()), op, Bytes::from(payload), time(row.get(at + 6)?));
    entry.kind = row.get(at + 2)?;
    entry.priority = Priority::from_rank(row.get(at + 3)?);
    entry.scope = row.get(at + 4)?;
    entry.mapping = row.get(at + 5)?;
    Ok(entry)
}

/// A lane that is there.
pub(super) struct LaneRow {
    pub(super) head: i64,
    pub(super) ready_at: i64,
    pub(super) fence: i64,
    pub(super) expires: i64,
    /// The ids of the leased entries; a replay may put others between them.
    pub(super) leased: Vec<i64>,
    pub(super) deliveries: u32,
    pub(super) attempts: u32,
    pub(super) frozen: i64,
}

impl LaneRow {
    /// A lane without entries.
    pub(super) fn empty() -> Self {
        Self { head: 0, ready_at: i64::MIN, fence: 0, expires: i64::MIN, leased: Vec::new(), deliveries: 0, attempts: 0, frozen: 0 }
    }

    pub(super) fn find(connection: &Connection, lane: &str) -> rusqlite::Result<Option<Self>> {
        let sql = "SELECT head, ready_at, fence, expires, leased, deliveries, attempts, frozen FROM crm_sync_queue_lanes WHERE lane = ?1";
        let mut find = connection.prepare_cached(sql)?;
        find.query_row([lane], |row| {
            Ok(Self {
                head: row.get(0)?,
                ready_at: row.get(1)?,
                fence: row.get(2)?,
                expires: row.get(3)?,
                leased: ids(row.get_ref(4)?.as_str()?),
                deliveries: row.get(5)?,
                attempts: row.get(6)?,
                frozen: row.get(7)?,
            })
        })
        .optional()
    }

    pub(super) fn is_leased(&self, now: i64) -> bool {
        !self.leased.is_empty() && self.expires > now
    }

    /// Looks for the head, and writes where the lane stands now; a lane without anything is dropped.
    pub(super) fn place(&mut self, connection: &Connection, lane: &str, now: i64) -> rusqlite::Result<()> {
        let sql = "SELECT id, scope, kind, priority, not_before FROM crm_sync_queue_entries WHERE lane = ?1 ORDER BY id LIMIT 1";
        let mut head = connection.prepare_cached(sql)?;
        let mut rows = head.query([lane])?;
        let Some(row) = rows.next()? else {
            if self.frozen == 0 {
                connection.prepare_cached("DELETE FROM crm_sync_queue_lanes WHERE lane = ?1")?.execute([lane])?;
                return Ok(());
            }
            self.head = 0;
            return self.write(connection, lane, &Head { scope: "", kind: "", priority: 0, not_before: i64::MIN }, now);
        };
        self.head = row.get(0)?;
        let head =
            Head { scope: row.get_ref(1)?.as_str()?, kind: row.get_ref(2)?.as_str()?, priority: row.get(3)?, not_before: row.get(4)? };
        self.write(connection, lane, &head, now)
    }

    /// Writes the lane, whose head is known.
    pub(super) fn write(&self, connection: &Connection, lane: &str, head: &Head<'_>, now: i64) -> rusqlite::Result<()> {
        let expires = if self.leased.is_empty() { i64::MIN } else { self.expires };
        let free_at = expires.max(self.ready_at).max(head.not_before);
        let state = match (self.head, self.frozen, free_at > now) {
            (0, ..) => 2,
            (_, frozen, _) if frozen > 0 => 2,
            (_, _, true) => 1,
            _ => 0,
        };
        let sql = "INSERT INTO crm_sync_queue_lanes \
            (lane, scope, kind, priority, head, state, free_at, ready_at, fence, expires, leased, deliveries, attempts, frozen) \
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) \
            ON CONFLICT (lane) DO UPDATE SET scope = excluded.scope, kind = excluded.kind, priority = excluded.priority, \
            head = excluded.head, state = excluded.state, free_at = excluded.free_at, ready_at = excluded.ready_at, \
            fence = excluded.fence, expires = excluded.expires, leased = excluded.leased, deliveries = excluded.deliveries, \
            attempts = excluded.attempts, frozen = excluded.frozen";
        connection.prepare_cached(sql)?.execute(params![
            lane,
            head.scope,
            head.kind,
            head.priority,
            self.head,
            state,
            free_at,
            self.ready_at,
            self.fence,
            expires,
            join(&self.leased),
            self.deliveries,
            self.attempts,
            self.frozen
        ])?;
        Ok(())
    }
}

/// What a lane shows of its head.
pub(super) struct Head<'a> {
    pub(super) scope: &'a str,
    pub(super) kind: &'a str,
    pub(super) priority: u8,
    pub(super) not_before: i64,
}

fn ids(text: &str) -> Vec<i64> {
    text.split(',').filter_map(|id| id.parse().ok()).collect()
}

pub(super) fn join(ids: &[i64]) -> String {
    let mut text = String::new();
    for id in ids {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&id.to_string());
    }
    text
}
