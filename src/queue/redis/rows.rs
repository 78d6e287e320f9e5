//! How entries and dead letters are written in Redis.

use bytes::Bytes;
use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::queue::entry::{Entry, EntryId, NewEntry, Priority};
use crate::queue::lane::{Lane, escape, unescape};
use crate::queue::parked::{Cause, Parked};

pub(super) fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::Queue, format!("the queue on Redis is damaged: {what}")).retrying(Retry::Never)
}

/// A name without line ends and slashes.
pub(super) fn name(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape(&mut out, text);
    out
}

/// Scope and kind, as lanes are sorted by them.
pub(super) fn group(entry: &NewEntry) -> String {
    format!("{}/{}", name(&entry.scope), name(&entry.kind))
}

/// The key entries join by; empty for those that never join.
pub(super) fn joining(entry: &NewEntry) -> String {
    entry.coalesce.as_ref().map_or_else(String::new, |coalesce| format!("={}", name(&coalesce.key)))
}

/// The end of an entry, which only this side reads.
pub(super) fn rest(entry: &NewEntry) -> Vec<u8> {
    let mut rest = name(&entry.mapping).into_bytes();
    rest.push(b'\n');
    rest.extend_from_slice(&entry.payload);
    rest
}

/// Lines from the front of a row; the last piece has what is left.
struct Lines {
    raw: Bytes,
}

impl Lines {
    fn text(&mut self) -> Result<String> {
        let end = self.raw.iter().position(|byte| *byte == b'\n').ok_or_else(|| damaged("a row has too few parts"))?;
        let line = self.raw.split_to(end);
        self.raw = self.raw.slice(1..);
        String::from_utf8(line.to_vec()).map_err(|_| damaged("a row is not UTF-8"))
    }

    fn number(&mut self) -> Result<i64> {
        self.text()?.parse().map_err(|_| damaged("a row has a text where a number belongs"))
    }

    fn name(&mut self) -> Result<String> {
        unescape(&self.text()?).ok_or_else(|| damaged("a name in a row is not escaped"))
    }
}

pub(super) fn time(micros: i64) -> Result<Timestamp> {
    Timestamp::from_microsecond(micros).map_err(|_| damaged("a time is out of range"))
}

pub(super) fn entry(id: u64, raw: Vec<u8>) -> Result<Entry> {
    entry_from(id, Lines { raw: Bytes::from(raw) })
}

fn entry_from(id: u64, mut lines: Lines) -> Result<Entry> {
    let enqueued_at = time(lines.number()?)?;
    lines.number()?;
    let rank = u8::try_from(lines.number()?).unwrap_or(u8::MAX);
    let group = lines.text()?;
    let (scope, kind) = group.split_once('/').ok_or_else(|| damaged("a group has no kind"))?;
    let (scope, kind) = unescape(scope).zip(unescape(kind)).ok_or_else(|| damaged("a group is not escaped"))?;
    lines.text()?;
    let (op, mapping) = (lines.name()?, lines.name()?);
    Ok(Entry::new(EntryId(id), op, lines.raw, enqueued_at).kind(kind).scope(scope).mapping(mapping).priority(Priority::from_rank(rank)))
}

pub(super) fn parked(id: u64, raw: Vec<u8>) -> Result<Parked> {
    let mut lines = Lines { raw: Bytes::from(raw) };
    let at = time(lines.number()?)?;
    let attempts = u32::try_from(lines.number()?).unwrap_or(0);
    let froze = lines.number()? == 1;
    lines.text()?;
    let lane = Lane::decode(&lines.text()?).ok_or_else(|| damaged("a lane does not parse"))?;
    let cause: Cause = serde_json::from_str(&lines.text()?).map_err(|_| damaged("a cause does not parse"))?;
    Ok(Parked::new(lane, entry_from(id, lines)?, cause, attempts, at, froze))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_apart() {
        let raw = b"1700000000000000\n0\n2\nscope%2Fx/kind\n=key\nop%0A1\nv1\nline 1\nline 2\xff".to_vec();
        let found = entry(7, raw).unwrap();
        assert_eq!((found.id.0, found.op.as_str(), found.scope.as_str(), found.kind.as_str()), (7, "op\n1", "scope/x", "kind"));
        assert_eq!((found.mapping.as_str(), found.payload.as_ref()), ("v1", b"line 1\nline 2\xff".as_slice()));
        assert!(entry(7, b"1\n0\n2\n".to_vec()).is_err() && entry(7, b"x\n0\n2\na/b\n\nop\nm\n".to_vec()).is_err());
    }
}
