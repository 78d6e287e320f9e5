//! Putting entries in: op ids first, then the lanes, then the entries.
//!
//! Everybody locks in this order and each kind sorted, so that no two wait for each other. Ids of entries for a lane that has
//! a row are drawn once the row is locked: a smaller id means an older entry.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use sqlx::postgres::PgConnection;

use crate::error::Result;
use crate::queue::entry::{Enqueued, EntryId, Merge, NewEntry, check_batch};
use crate::queue::postgres::queue::{CHANNEL, PostgresQueue};
use crate::queue::postgres::schema::{preamble, refresh, unsigned};

const WHAT: &str = "could not enqueue";
const REMEMBER: &str = "INSERT INTO crm_sync_queue_op AS known (op, known_until) SELECT op, $2 FROM unnest($1::text[]) AS new (op) \
    ON CONFLICT (op) DO UPDATE SET known_until = excluded.known_until WHERE known.known_until <= $3 \
    RETURNING op, nextval('crm_sync_queue_entry_id')";
/// Op ids whose window is over, a bounded number per call: more than come with it, so that they do not become ever more.
const FORGET: &str = "DELETE FROM crm_sync_queue_op WHERE ctid = ANY (ARRAY(\
    SELECT ctid FROM crm_sync_queue_op WHERE known_until <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))";
/// Answers those that had a row before.
const LANES: &str = "WITH put AS (INSERT INTO crm_sync_queue_lane AS lane \
    (lane, connection, entity, record, head, priority, scope, kind, not_before, ready, ready_at, more) \
    SELECT new.lane, connection, entity, record, head, priority, scope, kind, not_before, not_before <= $11, not_before, more \
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::smallint[], $7::text[], $8::text[], $9::bigint[], \
        $10::boolean[]) AS new (lane, connection, entity, record, head, priority, scope, kind, not_before, more) \
    ON CONFLICT (lane) DO UPDATE SET more = true \
    RETURNING lane.lane, xmax <> 0 AS existed, lane.leased, lane.leased_until) \
    SELECT lane, leased, leased_until FROM put WHERE existed";
const TAILS: &str = "SELECT tail.lane, tail.id, tail.kind, tail.scope, tail.coalesce_by, tail.priority, tail.not_before \
    FROM unnest($1::text[]) AS wanted (lane) \
    CROSS JOIN LATERAL (SELECT * FROM crm_sync_queue_entry AS entry WHERE entry.lane = wanted.lane ORDER BY entry.id DESC LIMIT 1) AS tail";
const IDS: &str = "SELECT nextval('crm_sync_queue_entry_id') FROM generate_series(1, $1)";
const ENTRIES: &str = "INSERT INTO crm_sync_queue_entry \
    (id, lane, op, kind, priority, scope, payload, mapping, not_before, enqueued_at, coalesce_by) \
    SELECT id, lane, op, kind, priority, scope, payload, mapping, not_before, $11, coalesce_by \
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::smallint[], $6::text[], $7::bytea[], $8::text[], $9::bigint[], $10::text[]) \
        AS new (id, lane, op, kind, priority, scope, payload, mapping, not_before, coalesce_by)";
const JOIN: &str = "UPDATE crm_sync_queue_entry AS entry SET priority = joined.priority, not_before = joined.not_before, \
    payload = coalesce(joined.payload, entry.payload), mapping = coalesce(joined.mapping, entry.mapping) \
    FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bytea[], $5::text[]) AS joined (id, priority, not_before, payload, mapping) \
    WHERE entry.id = joined.id";

/// A lane that had a row, the ids that are leased, and until when.
type HadRow = (String, Vec<i64>, i64);

/// The first entry of a call for a lane, and whether there are more.
struct First<'a> {
    id: i64,
    entry: &'a NewEntry,
    more: bool,
}

/// What stands or will stand at the end of a lane.
struct Tail {
    id: i64,
    kind: String,
    scope: String,
    coalesce_by: Option<String>,
    priority: i16,
    not_before: i64,
    /// Its place among the new entries; `None` for one that is in the table.
    new: Option<usize>,
}

/// A change to an entry in the table.
struct Joined {
    priority: i16,
    not_before: i64,
    payload: Option<Vec<u8>>,
    mapping: Option<String>,
}

/// An entry to insert.
struct Row<'a> {
    entry: &'a NewEntry,
    lane: &'a str,
    id: i64,
    priority: i16,
    not_before: i64,
    payload: &'a [u8],
    mapping: &'a str,
}

impl PostgresQueue {
    pub(super) async fn enqueue_on(&self, connection: &mut PgConnection, entries: Vec<NewEntry>) -> Result<Vec<Enqueued>> {
        check_batch(&entries)?;
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let wrap = |error| self.tables.failure(WHAT, error);
        let now = preamble(&self.tables, connection, WHAT).await?;
        let mut ops: Vec<&str> = entries.iter().map(|entry| entry.op.as_str()).collect();
        ops.sort_unstable();
        ops.dedup();
        let known_until = now.saturating_add(self.window);
        let accepted: Vec<(String, i64)> =
            sqlx::query_as(REMEMBER).bind(&ops).bind(known_until).bind(now).fetch_all(&mut *connection).await.map_err(wrap)?;
        let forgotten = i64::try_from(entries.len().saturating_mul(2)).unwrap_or(i64::MAX).max(1_000);
        sqlx::query(FORGET).bind(now).bind(forgotten).execute(&mut *connection).await.map_err(wrap)?;
        let mut ids: Vec<i64> = accepted.iter().map(|(_, id)| *id).collect();
        ids.sort_unstable();
        let mut accepted: HashSet<String> = accepted.into_iter().map(|(op, _)| op).collect();
        // Of two equal ops of one call the first is the one.
        let fresh: Vec<(usize, &NewEntry)> = entries.iter().enumerate().filter(|(_, entry)| accepted.remove(&entry.op)).collect();
        let mut outcome = vec![Enqueued::Duplicate; entries.len()];
        if fresh.is_empty() {
            return Ok(outcome);
        }

        let lanes: Vec<String> = fresh.iter().map(|(_, entry)| entry.lane.encode()).collect();
        let mut first: BTreeMap<&str, First<'_>> = BTreeMap::new();
        for ((lane, (_, entry)), id) in lanes.iter().zip(&fresh).zip(&ids) {
            first.entry(lane).and_modify(|first| first.more = true).or_insert(First { id: *id, entry, more: false });
        }
        let found = self.lock_lanes(connection, &first, now).await?;
        let existing: HashMap<&str, &HadRow> = found.iter().map(|row| (row.0.as_str(), row)).collect();
        if !existing.is_empty() {
            ids = sqlx::query_scalar(IDS)
                .bind(i64::try_from(fresh.len()).unwrap_or(i64::MAX))
                .fetch_all(&mut *connection)
                .await
                .map_err(wrap)?;
            ids.sort_unstable();
            // A new lane's row names the id its first entry was to have; that changes below.
        }
        let mut tails = self.tails(connection, &fresh, &lanes, &existing, now).await?;

        let mut rows: Vec<Row<'_>> = Vec::with_capacity(fresh.len());
        let mut joined: BTreeMap<i64, Joined> = BTreeMap::new();
        for (((at, entry), lane), id) in fresh.iter().zip(&lanes).zip(ids) {
            let (priority, not_before) = (i16::from(entry.priority.rank()), entry.not_before.map_or(0, Timestamp::as_microsecond));
            if let Some(coalesce) = &entry.coalesce
                && let Some(tail) = tails.get_mut(lane.as_str())
                && tail.coalesce_by.as_deref() == Some(coalesce.key.as_str())
                && tail.kind == entry.kind
                && tail.scope == entry.scope
            {
                tail.priority = tail.priority.min(priority);
                tail.not_before = tail.not_before.min(not_before);
                let takes = coalesce.merge == Merge::TakeNew;
                if let Some(row) = tail.new.and_then(|place| rows.get_mut(place)) {
                    (row.priority, row.not_before) = (tail.priority, tail.not_before);
                    if takes {
                        (row.payload, row.mapping) = (&entry.payload, &entry.mapping);
                    }
                } else {
                    let change = joined.entry(tail.id).or_insert(Joined { priority, not_before, payload: None, mapping: None });
                    (change.priority, change.not_before) = (tail.priority, tail.not_before);
                    if takes {
                        (change.payload, change.mapping) = (Some(entry.payload.to_vec()), Some(entry.mapping.clone()));
                    }
                }
                if let Some(slot) = outcome.get_mut(*at) {
                    *slot = Enqueued::Coalesced(EntryId(unsigned(tail.id)));
                }
                continue;
            }
            tails.insert(
                lane,
                Tail {
                    id,
                    kind: entry.kind.clone(),
                    scope: entry.scope.clone(),
                    coalesce_by: entry.coalesce.as_ref().map(|coalesce| coalesce.key.clone()),
                    priority,
                    not_before,
                    new: Some(rows.len()),
                },
            );
            rows.push(Row { entry, lane, id, priority, not_before, payload: &entry.payload, mapping: &entry.mapping });
            if let Some(slot) = outcome.get_mut(*at) {
                *slot = Enqueued::New(EntryId(unsigned(id)));
            }
        }
        insert(connection, &rows, now).await.map_err(wrap)?;
        let joins = !joined.is_empty();
        join(connection, joined).await.map_err(wrap)?;
        if joins || !existing.is_empty() || rows.len() < fresh.len() {
            let touched: Vec<&str> = first.into_keys().collect();
            refresh(connection, &touched, now, false).await.map_err(wrap)?;
        }
        if self.notify {
            sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL).execute(connection).await.map_err(wrap)?;
        }
        Ok(outcome)
    }

    async fn lock_lanes(&self, connection: &mut PgConnection, first: &BTreeMap<&str, First<'_>>, now: i64) -> Result<Vec<HadRow>> {
        let column = |of: fn(&NewEntry) -> &str| first.values().map(|first| of(first.entry)).collect::<Vec<&str>>();
        sqlx::query_as(LANES)
            .bind(first.keys().copied().collect::<Vec<&str>>())
            .bind(column(|entry| &entry.lane.connection))
            .bind(column(|entry| entry.lane.entity.as_str()))
            .bind(column(|entry| &entry.lane.record))
            .bind(first.values().map(|first| first.id).collect::<Vec<i64>>())
            .bind(first.values().map(|first| i16::from(first.entry.priority.rank())).collect::<Vec<i16>>())
            .bind(column(|entry| &entry.scope))
            .bind(column(|entry| &entry.kind))
            .bind(first.values().map(|first| first.entry.not_before.map_or(0, Timestamp::as_microsecond)).collect::<Vec<i64>>())
            .bind(first.values().map(|first| first.more).collect::<Vec<bool>>())
            .bind(now)
            .fetch_all(connection)
            .await
            .map_err(|error| self.tables.failure(WHAT, error))
    }

    /// The newest entries of the lanes into which something may be joined; none for those whose newest entry is leased.
    async fn tails<'a>(
        &self,
        connection: &mut PgConnection,
        fresh: &[(usize, &NewEntry)],
        lanes: &'a [String],
        existing: &HashMap<&str, &HadRow>,
        now: i64,
    ) -> Result<HashMap<&'a str, Tail>> {
        let wanted: HashSet<&'a str> = fresh
            .iter()
            .zip(lanes)
            .filter(|((_, entry), lane)| entry.coalesce.is_some() && existing.contains_key(lane.as_str()))
            .map(|(_, lane)| lane.as_str())
            .collect();
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        type Found = (String, i64, String, String, Option<String>, i16, i64);
        let found: Vec<Found> = sqlx::query_as(TAILS)
            .bind(wanted.iter().copied().collect::<Vec<&str>>())
            .fetch_all(connection)
            .await
            .map_err(|error| self.tables.failure(WHAT, error))?;
        let mut tails = HashMap::with_capacity(found.len());
        for (lane, id, kind, scope, coalesce_by, priority, not_before) in found {
            let leased = existing.get(lane.as_str()).is_some_and(|(_, leased, until)| *until > now && leased.contains(&id));
            if let Some(lane) = wanted.get(lane.as_str())
                && !leased
            {
                tails.insert(*lane, Tail { id, kind, scope, coalesce_by, priority, not_before, new: None });
            }
        }
        Ok(tails)
    }
}

async fn insert(connection: &mut PgConnection, rows: &[Row<'_>], now: i64) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(ENTRIES)
        .bind(rows.iter().map(|row| row.id).collect::<Vec<i64>>())
        .bind(rows.iter().map(|row| row.lane).collect::<Vec<&str>>())
        .bind(rows.iter().map(|row| row.entry.op.as_str()).collect::<Vec<&str>>())
        .bind(rows.iter().map(|row| row.entry.kind.as_str()).collect::<Vec<&str>>())
        .bind(rows.iter().map(|row| row.priority).collect::<Vec<i16>>())
        .bind(rows.iter().map(|row| row.entry.scope.as_str()).collect::<Vec<&str>>())
        .bind(rows.iter().map(|row| row.payload).collect::<Vec<&[u8]>>())
        .bind(rows.iter().map(|row| row.mapping).collect::<Vec<&str>>())
        .bind(rows.iter().map(|row| row.not_before).collect::<Vec<i64>>())
        .bind(rows.iter().map(|row| row.entry.coalesce.as_ref().map(|coalesce| coalesce.key.as_str())).collect::<Vec<Option<&str>>>())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

async fn join(connection: &mut PgConnection, joined: BTreeMap<i64, Joined>) -> sqlx::Result<()> {
    if joined.is_empty() {
        return Ok(());
    }
    sqlx::query(JOIN)
        .bind(joined.keys().copied().collect::<Vec<i64>>())
        .bind(joined.values().map(|change| change.priority).collect::<Vec<i16>>())
        .bind(joined.values().map(|change| change.not_before).collect::<Vec<i64>>())
        .bind(joined.values().map(|change| change.payload.as_deref()).collect::<Vec<Option<&[u8]>>>())
        .bind(joined.values().map(|change| change.mapping.as_deref()).collect::<Vec<Option<&str>>>())
        .execute(connection)
        .await?;
    Ok(())
}
