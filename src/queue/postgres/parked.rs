//! Dead letters, numbers, erasure.

use jiff::Timestamp;
use sqlx::postgres::PgConnection;

use crate::error::Result;
use crate::queue::entry::{Entry, EntryId, Priority};
use crate::queue::parked::{Cause, CauseCount, Parked, ParkedFilter, ParkedPage, Subject};
use crate::queue::postgres::claim::{damaged, lane_of, stamp};
use crate::queue::postgres::queue::{CHANNEL, PostgresQueue};
use crate::queue::postgres::schema::{lock, preamble, refresh, timestamp, unsigned};
use crate::queue::stats::{QueueStats, ScopeStats};

/// The conditions of a filter: $1 connection, $2 entity, $3 record, $4 group, $5 ids, $6 since, $7 until.
macro_rules! filter {
    () => {
        "($1::text IS NULL OR connection = $1) AND ($2::text IS NULL OR entity = $2) AND ($3::text IS NULL OR record = $3) \
         AND ($4::text IS NULL OR cause_group = $4) AND ($5::bigint[] IS NULL OR id = ANY ($5)) \
         AND ($6::bigint IS NULL OR parked_at >= $6) AND ($7::bigint IS NULL OR parked_at < $7)"
    };
}

const PAGE: &str = concat!(
    "SELECT connection, entity, record, id, op, kind, priority, scope, payload, mapping, enqueued_at, cause, attempts, parked_at, froze \
     FROM crm_sync_queue_parked WHERE ",
    filter!(),
    " AND ($8::bigint IS NULL OR id > $8) ORDER BY id LIMIT $9"
);
const FIND: &str = concat!("SELECT id, lane FROM crm_sync_queue_parked WHERE ", filter!(), " ORDER BY id LIMIT 1000");
const CAUSES: &str = "SELECT cause_group, count(*), min(parked_at), (array_agg(cause ORDER BY parked_at, id))[1] \
    FROM crm_sync_queue_parked GROUP BY cause_group ORDER BY cause_group";
/// A row for each lane that has none: what comes back needs one, and it is what others wait for.
const LANES: &str = "INSERT INTO crm_sync_queue_lane \
    (lane, connection, entity, record, priority, scope, kind, not_before, ready, ready_at) \
    SELECT DISTINCT ON (lane) lane, connection, entity, record, priority, scope, kind, 0, false, 9223372036854775807 \
    FROM crm_sync_queue_parked WHERE id = ANY ($1::bigint[]) ORDER BY lane ON CONFLICT (lane) DO NOTHING";
const BACK: &str = "WITH taken AS (DELETE FROM crm_sync_queue_parked WHERE id = ANY ($1::bigint[]) RETURNING *), \
    thawed AS (UPDATE crm_sync_queue_lane AS lane SET frozen = lane.frozen - froze.number \
        FROM (SELECT lane, count(*) AS number FROM taken WHERE froze GROUP BY lane) AS froze WHERE lane.lane = froze.lane), \
    back AS (INSERT INTO crm_sync_queue_entry (id, lane, op, kind, priority, scope, payload, mapping, not_before, enqueued_at, coalesce_by) \
        SELECT id, lane, op, kind, priority, scope, payload, mapping, not_before, enqueued_at, coalesce_by FROM taken WHERE $2) \
    SELECT id FROM taken";
const PURGED_LANES: &str = "SELECT lane FROM crm_sync_queue_lane \
    WHERE record = $1 AND ($2::text IS NULL OR connection = $2) AND ($3::text IS NULL OR entity = $3)";
const PURGE_ENTRIES: &str = "DELETE FROM crm_sync_queue_entry WHERE lane = ANY ($1::text[])";
const PURGE_LANES: &str = "DELETE FROM crm_sync_queue_lane WHERE lane = ANY ($1::text[])";
const PURGE_PARKED: &str = "DELETE FROM crm_sync_queue_parked \
    WHERE record = $1 AND ($2::text IS NULL OR connection = $2) AND ($3::text IS NULL OR entity = $3)";
const COUNT: &str = "SELECT (SELECT count(*) FROM crm_sync_queue_entry), \
    (SELECT count(*) FROM crm_sync_queue_lane WHERE head IS NOT NULL), \
    (SELECT count(*) FROM crm_sync_queue_lane WHERE leased_until > $1), \
    (SELECT count(*) FROM crm_sync_queue_lane WHERE frozen > 0), \
    (SELECT count(*) FROM crm_sync_queue_parked)";
const SCOPES: &str = "SELECT scope, count(*), min(enqueued_at) FROM crm_sync_queue_entry GROUP BY scope ORDER BY scope";

type Row = (String, String, String, i64, String, String, i16, String, Vec<u8>, String, i64, String, i32, i64, bool);

/// Entries, lanes, leased, frozen, parked.
type Counts = (i64, i64, i64, i64, i64);

/// A filter as the statements take it.
macro_rules! bound {
    ($sql:expr, $filter:expr) => {{
        let filter = $filter;
        let ids = filter.ids.as_ref().map(|ids| ids.iter().filter_map(|id| i64::try_from(id.0).ok()).collect::<Vec<i64>>());
        sqlx::query_as($sql)
            .bind(filter.connection.clone())
            .bind(filter.entity.as_ref().map(|entity| entity.as_str().to_owned()))
            .bind(filter.record.clone())
            .bind(filter.group.clone())
            .bind(ids)
            .bind(filter.since.map(stamp))
            .bind(filter.until.map(stamp))
    }};
}

impl PostgresQueue {
    pub(super) async fn parked_page(&self, page: &ParkedPage) -> Result<Vec<Parked>> {
        const WHAT: &str = "could not read the dead letters";
        let rows: Vec<Row> = self
            .tables
            .bounded(WHAT, async {
                let mut connection = self.tables.connection(WHAT).await?;
                preamble(&self.tables, &mut connection, WHAT).await?;
                bound!(PAGE, &page.filter)
                    .bind(page.after.map(|id| i64::try_from(id.0).unwrap_or(i64::MAX)))
                    .bind(i64::try_from(page.limit).unwrap_or(i64::MAX))
                    .fetch_all(&mut *connection)
                    .await
                    .map_err(|error| self.tables.failure(WHAT, error))
            })
            .await?;
        rows.into_iter().map(parked).collect()
    }

    pub(super) async fn cause_counts(&self) -> Result<Vec<CauseCount>> {
        const WHAT: &str = "could not count the dead letters";
        let rows: Vec<(String, i64, i64, String)> = self
            .tables
            .bounded(WHAT, async {
                let mut connection = self.tables.connection(WHAT).await?;
                preamble(&self.tables, &mut connection, WHAT).await?;
                sqlx::query_as(CAUSES).fetch_all(&mut *connection).await.map_err(|error| self.tables.failure(WHAT, error))
            })
            .await?;
        rows.into_iter()
            .map(|(group, count, oldest, cause)| Ok(CauseCount::new(group, unsigned(count), timestamp(oldest)?, read_cause(&cause)?)))
            .collect()
    }

    /// Takes dead letters out, back into their lanes or away; a thousand per transaction.
    pub(super) async fn take_parked(&self, which: &ParkedFilter, back: bool) -> Result<u64> {
        let what = if back { "could not replay dead letters" } else { "could not discard dead letters" };
        let mut total = 0;
        loop {
            let (transaction, (seen, taken)) = self
                .tables
                .bounded(what, async {
                    let mut transaction = self.tables.begin(what).await?;
                    let taken = self.take_some(&mut transaction, which, back, what).await?;
                    Ok((transaction, taken))
                })
                .await?;
            self.tables.commit(transaction, what).await?;
            total += taken;
            if seen < 1000 {
                return Ok(total);
            }
        }
    }

    async fn take_some(&self, connection: &mut PgConnection, which: &ParkedFilter, back: bool, what: &str) -> Result<(usize, u64)> {
        let wrap = |error| self.tables.failure(what, error);
        let now = preamble(&self.tables, connection, what).await?;
        let found: Vec<(i64, String)> = bound!(FIND, which).fetch_all(&mut *connection).await.map_err(wrap)?;
        if found.is_empty() {
            return Ok((0, 0));
        }
        let ids: Vec<i64> = found.iter().map(|(id, _)| *id).collect();
        let mut lanes: Vec<&str> = found.iter().map(|(_, lane)| lane.as_str()).collect();
        lanes.sort_unstable();
        lanes.dedup();
        if back {
            sqlx::query(LANES).bind(&ids).execute(&mut *connection).await.map_err(wrap)?;
        }
        lock(connection, &lanes).await.map_err(wrap)?;
        // Another call may have taken some of them while this one waited.
        let taken: Vec<(i64,)> = sqlx::query_as(BACK).bind(&ids).bind(back).fetch_all(&mut *connection).await.map_err(wrap)?;
        refresh(connection, &lanes, now, true).await.map_err(wrap)?;
        if back && self.notify {
            sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL).execute(connection).await.map_err(wrap)?;
        }
        Ok((found.len(), taken.len() as u64))
    }

    pub(super) async fn purge_on(&self, connection: &mut PgConnection, subject: &Subject) -> Result<u64> {
        const WHAT: &str = "could not purge";
        let wrap = |error| self.tables.failure(WHAT, error);
        preamble(&self.tables, connection, WHAT).await?;
        let (part, entity) = (subject.connection.as_deref(), subject.entity.as_ref().map(|entity| entity.as_str().to_owned()));
        let lanes: Vec<(String,)> =
            sqlx::query_as(PURGED_LANES).bind(&subject.record).bind(part).bind(&entity).fetch_all(&mut *connection).await.map_err(wrap)?;
        let lanes: Vec<&str> = lanes.iter().map(|(lane,)| lane.as_str()).collect();
        lock(connection, &lanes).await.map_err(wrap)?;
        let entries = sqlx::query(PURGE_ENTRIES).bind(&lanes).execute(&mut *connection).await.map_err(wrap)?.rows_affected();
        let parked = sqlx::query(PURGE_PARKED)
            .bind(&subject.record)
            .bind(part)
            .bind(&entity)
            .execute(&mut *connection)
            .await
            .map_err(wrap)?
            .rows_affected();
        sqlx::query(PURGE_LANES).bind(&lanes).execute(connection).await.map_err(wrap)?;
        Ok(entries + parked)
    }

    pub(super) async fn count(&self) -> Result<QueueStats> {
        const WHAT: &str = "could not count the queue";
        let (now, counts, scopes): (i64, Counts, Vec<(String, i64, i64)>) = self
            .tables
            .bounded(WHAT, async {
                let wrap = |error| self.tables.failure(WHAT, error);
                let mut connection = self.tables.connection(WHAT).await?;
                let now = preamble(&self.tables, &mut connection, WHAT).await?;
                let counts = sqlx::query_as(COUNT).bind(now).fetch_one(&mut *connection).await.map_err(wrap)?;
                let scopes = sqlx::query_as(SCOPES).fetch_all(&mut *connection).await.map_err(wrap)?;
                Ok((now, counts, scopes))
            })
            .await?;
        let mut stats = QueueStats::new(timestamp(now)?);
        stats.entries = unsigned(counts.0);
        stats.lanes = unsigned(counts.1);
        stats.leased = unsigned(counts.2);
        stats.frozen = unsigned(counts.3);
        stats.parked = unsigned(counts.4);
        for (scope, entries, oldest) in scopes {
            let oldest: Timestamp = timestamp(oldest)?;
            stats.oldest = Some(stats.oldest.map_or(oldest, |known| known.min(oldest)));
            stats.scopes.push(ScopeStats::new(scope, unsigned(entries), Some(oldest)));
        }
        Ok(stats)
    }
}

fn read_cause(json: &str) -> Result<Cause> {
    serde_json::from_str(json).map_err(|_| damaged("the cause of a dead letter does not parse"))
}

fn parked(row: Row) -> Result<Parked> {
    let (connection, entity, record, id, op, kind, priority, scope, payload, mapping, enqueued_at, cause, attempts, at, froze) = row;
    let entry = Entry::new(EntryId(unsigned(id)), op, payload, timestamp(enqueued_at)?)
        .kind(kind)
        .scope(scope)
        .mapping(mapping)
        .priority(Priority::from_rank(u8::try_from(priority).unwrap_or(u8::MAX)));
    let attempts = u32::try_from(attempts).unwrap_or(0);
    Ok(Parked::new(lane_of(connection, entity, record), entry, read_cause(&cause)?, attempts, timestamp(at)?, froze))
}
