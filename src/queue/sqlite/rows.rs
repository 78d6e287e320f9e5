//! Rows of the tables as values.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, Row};

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

/// When an entry may be handed out; 0 is at once.
pub(super) fn not_before(at: Option<Timestamp>) -> i64 {
    at.map_or(0, |at| at.as_microsecond().max(0))
}

/// A lane of a column. One that is no lane was written by something else.
pub(super) fn lane(text: &str) -> Result<Lane> {
    Lane::decode(text).ok_or_else(|| {
        Error::new(ErrorKind::Queue, "the queue holds a lane that is none; its tables were changed by something else or are damaged")
            .retrying(Retry::Never)
    })
}

/// An entry, from column `at` on: id, op, priority, mapping, enqueued_at, payload.
pub(super) fn entry(row: &Row<'_>, at: usize, scope: &str, kind: &str) -> rusqlite::Result<Entry> {
    let id: i64 = row.get(at)?;
    let op: String = row.get(at + 1)?;
    let payload = Bytes::copy_from_slice(row.get_ref(at + 5)?.as_blob()?);
    let mut entry = Entry::new(EntryId(id.unsigned_abs()), op, payload, time(row.get(at + 4)?));
    kind.clone_into(&mut entry.kind);
    entry.priority = Priority::from_rank(row.get(at + 2)?);
    scope.clone_into(&mut entry.scope);
    entry.mapping = row.get(at + 3)?;
    Ok(entry)
}

/// Can be claimed.
pub(super) const READY: i64 = 0;
/// Can be claimed once its alarm has rung.
pub(super) const WAITING: i64 = 1;
/// Its lane is frozen.
pub(super) const STOPPED: i64 = 2;
/// Not the oldest of its lane.
pub(super) const BEHIND: i64 = 3;

/// The ids of the leased entries of a lane, the first one being a number alone, as most often it is.
///
/// None is written as the row's own id below zero: so a row keeps its length when it is leased, and is changed in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leased(pub(super) Vec<i64>);

impl Leased {
    fn read(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Integer(id) if id > 0 => Self(vec![id]),
            ValueRef::Text(text) => Self(String::from_utf8_lossy(text).split(',').filter_map(|id| id.parse().ok()).collect()),
            _ => Self::default(),
        }
    }

    /// As it is written into the row `of`.
    pub(super) fn column(&self, of: i64) -> LeasedColumn {
        match self.0.as_slice() {
            [] => LeasedColumn::One(of.saturating_neg()),
            [one] => LeasedColumn::One(*one),
            more => LeasedColumn::More(join(more)),
        }
    }
}

pub(super) enum LeasedColumn {
    More(String),
    One(i64),
}

impl ToSql for LeasedColumn {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::More(ids) => ids.to_sql(),
            Self::One(id) => id.to_sql(),
        }
    }
}

/// A lane, as the row of its oldest entry holds it.
pub(super) struct Head {
    pub(super) id: i64,
    pub(super) state: i64,
    /// Whether there may be entries behind.
    pub(super) more: bool,
    pub(super) fence: i64,
    pub(super) expires: i64,
    /// The number of the alarm it waits for.
    pub(super) alarm: i64,
    /// Not before, after a retry or a deferral; 0 for at once.
    pub(super) ready_at: i64,
    pub(super) deliveries: u32,
    pub(super) attempts: u32,
    pub(super) leased: Leased,
    pub(super) not_before: i64,
}

pub(super) const FIND: &str = "SELECT id, state, more, fence, expires, alarm, ready_at, deliveries, attempts, leased, \
    not_before FROM crm_sync_queue_jobs WHERE lane = ?1 ORDER BY id LIMIT 1";

impl Head {
    /// The oldest entry of a lane, by the statement [`FIND`].
    pub(super) fn find(find: &mut CachedStatement<'_>, lane: &str) -> rusqlite::Result<Option<Self>> {
        let mut rows = find.query([lane])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some(Self {
            id: row.get(0)?,
            state: row.get(1)?,
            more: row.get(2)?,
            fence: row.get(3)?,
            expires: row.get(4)?,
            alarm: row.get(5)?,
            ready_at: row.get(6)?,
            deliveries: row.get(7)?,
            attempts: row.get(8)?,
            leased: Leased::read(row.get_ref(9)?),
            not_before: row.get(10)?,
        }))
    }

    /// As [`Head::find`], where it is not done often.
    pub(super) fn find_on(connection: &Connection, lane: &str) -> rusqlite::Result<Option<Self>> {
        Self::find(&mut connection.prepare_cached(FIND)?, lane)
    }

    pub(super) fn is_leased(&self, now: i64) -> bool {
        !self.leased.0.is_empty() && self.expires > now
    }

    /// From when on the lane is free.
    pub(super) fn free_at(&self) -> i64 {
        let lease = if self.leased.0.is_empty() { 0 } else { self.expires };
        lease.max(self.ready_at).max(self.not_before)
    }
}

pub(super) fn join(ids: &[i64]) -> String {
    let mut text = String::with_capacity(ids.len() * 8);
    for id in ids {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&id.to_string());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leased_ids_come_back() {
        assert_eq!(Leased::read(ValueRef::Integer(-7)), Leased::default());
        assert_eq!(Leased::read(ValueRef::Integer(7)), Leased(vec![7]));
        assert_eq!(Leased::read(ValueRef::Text(b"7,9")), Leased(vec![7, 9]));
        assert!(matches!(Leased(vec![7, 9]).column(7), LeasedColumn::More(text) if text == "7,9"));
        assert!(matches!(Leased::default().column(7), LeasedColumn::One(-7)));
    }
}
