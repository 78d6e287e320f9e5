//! The tables, and statements that several calls share.
//!
//! A lane has a row as long as it has entries or is frozen. The row holds what a claim looks at: the head's priority, scope and
//! kind; without `more` the head is its only entry, so that nobody has to look for others. A lane that can be claimed is `ready`;
//! any other one becomes so at `ready_at` (lease, wait and the head's `not_before`, whichever is last). So a claim reads one index
//! from its start and never passes over lanes that wait, however many they are.

use jiff::Timestamp;
use sqlx::postgres::PgConnection;

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::sql::{PostgresSchema, PostgresTables, micros, wait_for_disk};

pub(super) const SCHEMA: PostgresSchema = PostgresSchema {
    component: "queue",
    kind: ErrorKind::Queue,
    steps: &[
        "
        CREATE SEQUENCE crm_sync_queue_entry_id;
        CREATE SEQUENCE crm_sync_queue_fence;
        CREATE TABLE crm_sync_queue_lane (
            lane         text     COLLATE \"C\" NOT NULL PRIMARY KEY,
            connection   text     COLLATE \"C\" NOT NULL,
            entity       text     COLLATE \"C\" NOT NULL,
            record       text     COLLATE \"C\" NOT NULL,
            head         bigint,
            priority     smallint NOT NULL,
            scope        text     COLLATE \"C\" NOT NULL,
            kind         text     COLLATE \"C\" NOT NULL,
            not_before   bigint   NOT NULL,
            wait_until   bigint   NOT NULL DEFAULT 0,
            leased_until bigint   NOT NULL DEFAULT 0,
            leased       bigint[] NOT NULL DEFAULT '{}',
            fence        bigint   NOT NULL DEFAULT 0,
            deliveries   integer  NOT NULL DEFAULT 0,
            attempts     integer  NOT NULL DEFAULT 0,
            frozen       bigint   NOT NULL DEFAULT 0,
            ready        boolean  NOT NULL,
            ready_at     bigint   NOT NULL
        ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
        CREATE INDEX crm_sync_queue_lane_ready ON crm_sync_queue_lane (scope, kind, priority, head) WHERE ready;
        CREATE INDEX crm_sync_queue_lane_later ON crm_sync_queue_lane (ready_at) WHERE NOT ready;
        CREATE INDEX crm_sync_queue_lane_record ON crm_sync_queue_lane (record);
        CREATE TABLE crm_sync_queue_entry (
            id          bigint   NOT NULL PRIMARY KEY,
            lane        text     COLLATE \"C\" NOT NULL,
            op          text     COLLATE \"C\" NOT NULL,
            kind        text     COLLATE \"C\" NOT NULL,
            priority    smallint NOT NULL,
            scope       text     COLLATE \"C\" NOT NULL,
            payload     bytea    NOT NULL,
            mapping     text     COLLATE \"C\" NOT NULL,
            not_before  bigint   NOT NULL,
            enqueued_at bigint   NOT NULL,
            coalesce_by text     COLLATE \"C\"
        ) WITH (autovacuum_vacuum_scale_factor = 0.05);
        CREATE INDEX crm_sync_queue_entry_lane ON crm_sync_queue_entry (lane, id);
        CREATE TABLE crm_sync_queue_op (op text COLLATE \"C\" NOT NULL PRIMARY KEY, known_until bigint NOT NULL);
        CREATE INDEX crm_sync_queue_op_until ON crm_sync_queue_op (known_until);
        CREATE TABLE crm_sync_queue_parked (
            id          bigint   NOT NULL PRIMARY KEY,
            lane        text     COLLATE \"C\" NOT NULL,
            connection  text     COLLATE \"C\" NOT NULL,
            entity      text     COLLATE \"C\" NOT NULL,
            record      text     COLLATE \"C\" NOT NULL,
            op          text     COLLATE \"C\" NOT NULL,
            kind        text     COLLATE \"C\" NOT NULL,
            priority    smallint NOT NULL,
            scope       text     COLLATE \"C\" NOT NULL,
            payload     bytea    NOT NULL,
            mapping     text     COLLATE \"C\" NOT NULL,
            not_before  bigint   NOT NULL,
            enqueued_at bigint   NOT NULL,
            coalesce_by text     COLLATE \"C\",
            cause       text     NOT NULL,
            cause_group text     COLLATE \"C\" NOT NULL,
            attempts    integer  NOT NULL,
            parked_at   bigint   NOT NULL,
            froze       boolean  NOT NULL
        );
        CREATE INDEX crm_sync_queue_parked_group ON crm_sync_queue_parked (cause_group, id);
        CREATE INDEX crm_sync_queue_parked_record ON crm_sync_queue_parked (record);
    ",
        "
        ALTER TABLE crm_sync_queue_lane ADD COLUMN more boolean NOT NULL DEFAULT true;
        DROP INDEX crm_sync_queue_lane_record;
    ",
    ],
};

const PREAMBLE: &str = concat!(
    "SELECT ",
    micros!(),
    ", (SELECT generation FROM crm_sync_schema WHERE component = 'queue'), current_setting('transaction_isolation'), ",
    wait_for_disk!()
);

/// As [`PREAMBLE`], and the planner keeps to the indexes: one that knows nothing yet of a fast-changing table may want to read all
/// of it.
const BY_INDEX: &str = concat!(
    "SELECT ",
    micros!(),
    ", (SELECT generation FROM crm_sync_schema WHERE component = 'queue'), current_setting('transaction_isolation'), ",
    wait_for_disk!(),
    " || set_config('enable_seqscan', 'off', true)"
);

/// As [`preamble`], for a transaction of the queue's own, which reads along the indexes.
pub(super) async fn preamble_by_index(tables: &PostgresTables, connection: &mut PgConnection, what: &str) -> Result<i64> {
    begin(tables, connection, what, BY_INDEX).await
}

/// The start of each transaction: the tables are those known, the answer waits for the disk. Answers store time.
pub(super) async fn preamble(tables: &PostgresTables, connection: &mut PgConnection, what: &str) -> Result<i64> {
    begin(tables, connection, what, PREAMBLE).await
}

async fn begin(tables: &PostgresTables, connection: &mut PgConnection, what: &str, sql: &'static str) -> Result<i64> {
    let (now, generation, isolation, _): (i64, Option<String>, String, String) =
        sqlx::query_as(sql).fetch_one(connection).await.map_err(|error| tables.failure(what, error))?;
    tables.expect_generation(generation.as_deref().unwrap_or("none"))?;
    if isolation != "read committed" {
        return Err(Error::config(format!(
            "{what}: the host's transaction is {isolation}, so it would not see what others committed since it began; use READ COMMITTED"
        )));
    }
    Ok(now)
}

/// Finds the heads of lanes anew, and when the lanes can be claimed. $1: lanes, $2: store time, $3: whether a new head starts
/// afresh, without the waits and attempts of the one before.
const REFRESH: &str = "UPDATE crm_sync_queue_lane AS lane SET head = head.id, \
    priority = coalesce(head.priority, lane.priority), scope = coalesce(head.scope, lane.scope), \
    kind = coalesce(head.kind, lane.kind), not_before = coalesce(head.not_before, 0), more = coalesce(head.more, false), \
    attempts = CASE WHEN $3 AND head.id IS DISTINCT FROM lane.head THEN 0 ELSE lane.attempts END, \
    wait_until = CASE WHEN $3 AND head.id IS DISTINCT FROM lane.head THEN 0 ELSE lane.wait_until END, \
    ready = head.id IS NOT NULL AND lane.frozen = 0 AND greatest(head.not_before, lane.leased_until, \
        CASE WHEN $3 AND head.id IS DISTINCT FROM lane.head THEN 0 ELSE lane.wait_until END) <= $2, \
    ready_at = CASE WHEN lane.frozen > 0 OR head.id IS NULL THEN 9223372036854775807 ELSE greatest(head.not_before, lane.leased_until, \
        CASE WHEN $3 AND head.id IS DISTINCT FROM lane.head THEN 0 ELSE lane.wait_until END) END \
    FROM unnest($1::text[]) AS wanted (lane) \
    LEFT JOIN LATERAL (SELECT entry.id, entry.priority, entry.scope, entry.kind, entry.not_before, \
        EXISTS (SELECT FROM crm_sync_queue_entry AS other WHERE other.lane = wanted.lane AND other.id > entry.id) AS more \
        FROM crm_sync_queue_entry AS entry WHERE entry.lane = wanted.lane ORDER BY entry.id LIMIT 1) AS head ON true \
    WHERE lane.lane = wanted.lane";
/// Lanes with nothing to remember. $1: lanes.
const DROP_EMPTY: &str = "DELETE FROM crm_sync_queue_lane AS lane \
    WHERE lane.lane = ANY($1::text[]) AND lane.frozen = 0 \
    AND NOT EXISTS (SELECT FROM crm_sync_queue_entry AS entry WHERE entry.lane = lane.lane)";
const LEFT: &str = "SELECT lane FROM crm_sync_queue_lane WHERE lane = ANY($1::text[])";
/// In one order for all, so that no two wait for each other. Outer values are computed once the locks are held; the time of each
/// row as a float, which is exact to the microsecond and much less work than the server's numeric.
const LOCK: &str = "SELECT lane, fence, leased_until, leased, attempts, head, \
    (date_part('epoch', clock_timestamp()) * 1000000)::bigint \
    FROM (SELECT * FROM crm_sync_queue_lane WHERE lane = ANY($1::text[]) ORDER BY lane FOR UPDATE) AS locked";

/// A lane's row as settling sees it.
pub(super) type LockedLane = (String, i64, i64, Vec<i64>, i32, Option<i64>, i64);

/// Locks the rows of lanes; those without a row are left out.
pub(super) async fn lock(connection: &mut PgConnection, lanes: &[&str]) -> sqlx::Result<Vec<LockedLane>> {
    sqlx::query_as(LOCK).bind(lanes).fetch_all(connection).await
}

/// Removes those of some locked lanes that have nothing to remember; which are left.
pub(super) async fn drop_empty(connection: &mut PgConnection, lanes: &[&str]) -> sqlx::Result<Vec<String>> {
    let dropped = sqlx::query(DROP_EMPTY).bind(lanes).execute(&mut *connection).await?.rows_affected();
    // Nearly always all of them: their names need not be sent.
    if dropped == lanes.len() as u64 {
        return Ok(Vec::new());
    }
    sqlx::query_scalar(LEFT).bind(lanes).fetch_all(connection).await
}

/// Brings the rows of locked lanes up to date after entries came or went.
pub(super) async fn refresh(connection: &mut PgConnection, lanes: &[&str], now: i64, afresh: bool) -> sqlx::Result<()> {
    let left = drop_empty(connection, lanes).await?;
    if !left.is_empty() {
        sqlx::query(REFRESH).bind(left).bind(now).bind(afresh).execute(connection).await?;
    }
    Ok(())
}

pub(super) fn timestamp(micros: i64) -> Result<Timestamp> {
    Timestamp::from_microsecond(micros).map_err(|error| {
        Error::new(ErrorKind::Queue, "the queue's tables are damaged: a time is out of range").retrying(Retry::Never).with_source(error)
    })
}

/// A number the library itself wrote as unsigned.
pub(super) fn unsigned(number: i64) -> u64 {
    number.unsigned_abs()
}
