//! Handing lanes out.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::postgres::PgConnection;

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::model::Entity;
use crate::queue::entry::{Entry, EntryId, Priority};
use crate::queue::lane::Lane;
use crate::queue::lease::{Claim, Lease, LeaseToken, MAX_TTL};
use crate::queue::postgres::queue::PostgresQueue;
use crate::queue::postgres::schema::{lock, preamble, preamble_by_index, timestamp, unsigned};

const WHAT: &str = "could not claim";

/// Lanes whose time has come. Bounded, so that no claim is slow because many come due at once.
const COME_DUE: &str = "UPDATE crm_sync_queue_lane SET ready = true WHERE lane = ANY (ARRAY(\
    SELECT lane FROM crm_sync_queue_lane WHERE NOT ready AND ready_at <= $1 ORDER BY ready_at LIMIT 10000 FOR UPDATE SKIP LOCKED))";
/// $1: lanes wanted, $2: scopes to skip, $3: kinds, $4: store time, $5: when the leases end. Reads as many index entries as it
/// answers, for each scope and kind there is, and leases the heads. Fences are drawn while the rows are locked: a lane's only grow.
///
/// A head that is not due has come due by a clock that was set back since: its lane is not leased and waits anew, so that it does
/// not stand before the others until then.
const PICK: &str = "WITH RECURSIVE groups (scope, kind) AS (\
        (SELECT scope, kind FROM crm_sync_queue_lane WHERE ready ORDER BY scope, kind LIMIT 1) \
        UNION ALL \
        SELECT further.scope, further.kind FROM groups CROSS JOIN LATERAL (\
            SELECT lane.scope, lane.kind FROM crm_sync_queue_lane AS lane \
            WHERE lane.ready AND (lane.scope, lane.kind) > (groups.scope, groups.kind) \
            ORDER BY lane.scope, lane.kind LIMIT 1) AS further), \
    picked AS (\
        SELECT best.* FROM groups CROSS JOIN LATERAL (\
            SELECT ctid AS place, priority, head FROM crm_sync_queue_lane AS lane \
            WHERE lane.ready AND lane.scope = groups.scope AND lane.kind = groups.kind \
            ORDER BY lane.priority, lane.head LIMIT $1 FOR UPDATE SKIP LOCKED) AS best \
        WHERE groups.scope <> ALL ($2::text[]) AND (cardinality($3::text[]) = 0 OR groups.kind = ANY ($3::text[]))), \
    chosen AS (SELECT place FROM picked ORDER BY priority, head LIMIT $1) \
    UPDATE crm_sync_queue_lane AS lane SET ready = false, \
        ready_at = CASE WHEN lane.not_before > $4 THEN lane.not_before ELSE $5 END, \
        leased_until = CASE WHEN lane.not_before > $4 THEN 0 ELSE $5 END, \
        leased = CASE WHEN lane.not_before > $4 THEN '{}' ELSE ARRAY[lane.head] END, \
        fence = CASE WHEN lane.not_before > $4 THEN lane.fence ELSE nextval('crm_sync_queue_fence') END, \
        deliveries = lane.deliveries + CASE WHEN lane.not_before > $4 THEN 0 ELSE 1 END \
    FROM chosen WHERE lane.ctid = chosen.place \
    RETURNING lane.lane, lane.head, lane.priority, lane.fence, lane.deliveries, lane.attempts, lane.more, lane.leased_until > 0";
const HEADS: &str = "SELECT id, op, kind, priority, scope, payload, mapping, enqueued_at FROM crm_sync_queue_entry \
    WHERE id = ANY ($1::bigint[])";
/// $1: heads, $2: how many more entries.
const BEHIND: &str = "SELECT wanted.head, behind.id, behind.op, behind.kind, behind.priority, behind.scope, behind.payload, \
        behind.mapping, behind.enqueued_at, behind.not_before \
    FROM unnest($1::text[], $2::bigint[]) AS wanted (lane, head) \
    CROSS JOIN LATERAL (SELECT * FROM crm_sync_queue_entry AS entry WHERE entry.lane = wanted.lane AND entry.id > wanted.head \
        ORDER BY entry.id LIMIT $3) AS behind \
    ORDER BY wanted.head, behind.id";
/// Leases that are of more than the head.
const LEASE_MORE: &str = "UPDATE crm_sync_queue_lane AS lane SET leased = lane.leased || given.ids \
    FROM (SELECT lane, array_agg(id ORDER BY id) AS ids FROM unnest($1::text[], $2::bigint[]) AS one (lane, id) GROUP BY lane) AS given \
    WHERE lane.lane = given.lane";
const EXTEND: &str = "UPDATE crm_sync_queue_lane AS lane SET leased_until = $3, ready_at = CASE WHEN frozen > 0 THEN ready_at ELSE $3 END \
    FROM unnest($1::text[], $2::bigint[]) AS held (lane, fence) WHERE lane.lane = held.lane AND lane.fence = held.fence";

/// Lane, head, priority, fence, deliveries, attempts, whether there may be more, whether it is leased.
type Picked = (String, i64, i16, i64, i32, i32, bool, bool);
type Found = (i64, String, String, i16, String, Vec<u8>, String, i64);
/// The head before it, and when it is due.
type FoundBehind = (i64, i64, String, String, i16, String, Vec<u8>, String, i64, i64);

impl PostgresQueue {
    pub(super) async fn claim_on(&self, connection: &mut PgConnection, want: &Claim) -> Result<Vec<Lease>> {
        let wrap = |error| self.tables.failure(WHAT, error);
        let now = preamble_by_index(&self.tables, connection, WHAT).await?;
        sqlx::query(COME_DUE).bind(now).execute(&mut *connection).await.map_err(wrap)?;
        let expires = now.saturating_add(micros(want.ttl.min(MAX_TTL)));
        let mut picked: Vec<Picked> = sqlx::query_as(PICK)
            .bind(i64::try_from(want.lanes).unwrap_or(i64::MAX))
            .bind(&want.skip_scopes)
            .bind(&want.kinds)
            .bind(now)
            .bind(expires)
            .fetch_all(&mut *connection)
            .await
            .map_err(wrap)?;
        picked.retain(|(.., leased)| *leased);
        if picked.is_empty() {
            return Ok(Vec::new());
        }
        picked.sort_unstable_by_key(|(_, head, priority, ..)| (*priority, *head));
        let heads: Vec<i64> = picked.iter().map(|(_, head, ..)| *head).collect();
        let found: Vec<Found> = sqlx::query_as(HEADS).bind(&heads).fetch_all(&mut *connection).await.map_err(wrap)?;
        let mut entries: HashMap<i64, Vec<Entry>> = HashMap::with_capacity(found.len());
        for (id, op, kind, priority, scope, payload, mapping, enqueued_at) in found {
            entries.insert(id, vec![entry(id, op, kind, priority, scope, payload, mapping, enqueued_at)?]);
        }
        if want.entries > 1 {
            self.add_behind(connection, &picked, want, now, &mut entries).await?;
        }
        let mut leases = Vec::with_capacity(picked.len());
        for (text, head, _, fence, deliveries, attempts, ..) in &picked {
            let entries = entries.remove(head).ok_or_else(|| damaged("the head of a lane is missing"))?;
            let lane = Lane::decode(text).ok_or_else(|| damaged("a lane does not parse"))?;
            let token = LeaseToken { lane, fence: unsigned(*fence) };
            let count = |number: i32| u32::try_from(number).unwrap_or(0);
            leases.push(Lease::new(token, timestamp(expires)?, count(*deliveries), count(*attempts), entries));
        }
        Ok(leases)
    }

    /// The entries behind the heads as far as they are due and wanted. The prefix ends at the first one that is not.
    async fn add_behind(
        &self,
        connection: &mut PgConnection,
        picked: &[Picked],
        want: &Claim,
        now: i64,
        entries: &mut HashMap<i64, Vec<Entry>>,
    ) -> Result<()> {
        let wrap = |error| self.tables.failure(WHAT, error);
        let long = || picked.iter().filter(|(.., more, _)| *more);
        let (lanes, heads): (Vec<&str>, Vec<i64>) = long().map(|(lane, head, ..)| (lane.as_str(), *head)).unzip();
        if lanes.is_empty() {
            return Ok(());
        }
        let limit = i64::try_from(want.entries - 1).unwrap_or(i64::MAX);
        let found: Vec<FoundBehind> =
            sqlx::query_as(BEHIND).bind(&lanes).bind(&heads).bind(limit).fetch_all(&mut *connection).await.map_err(wrap)?;
        let mut closed: HashSet<i64> = HashSet::new();
        let of_head: HashMap<i64, &str> = heads.into_iter().zip(lanes).collect();
        let (mut of, mut ids) = (Vec::new(), Vec::new());
        for (head, id, op, kind, priority, scope, payload, mapping, enqueued_at, not_before) in found {
            if closed.contains(&head) || not_before > now || !want.wants(&scope, &kind) {
                closed.insert(head);
                continue;
            }
            if let (Some(prefix), Some(lane)) = (entries.get_mut(&head), of_head.get(&head)) {
                prefix.push(entry(id, op, kind, priority, scope, payload, mapping, enqueued_at)?);
                of.push(*lane);
                ids.push(id);
            }
        }
        if !ids.is_empty() {
            sqlx::query(LEASE_MORE).bind(of).bind(ids).execute(connection).await.map_err(wrap)?;
        }
        Ok(())
    }

    pub(super) async fn extend_on(&self, connection: &mut PgConnection, leases: &[LeaseToken], ttl: Duration) -> Result<Vec<LeaseToken>> {
        const WHAT: &str = "could not extend leases";
        let wrap = |error| self.tables.failure(WHAT, error);
        preamble(&self.tables, connection, WHAT).await?;
        let texts: Vec<String> = leases.iter().map(|token| token.lane.encode()).collect();
        let lanes: Vec<&str> = texts.iter().map(String::as_str).collect();
        let locked = lock(connection, &lanes).await.map_err(wrap)?;
        let mut out: HashMap<&str, (i64, i64)> = HashMap::new();
        let mut now = 0;
        for (lane, fence, until, .., time) in &locked {
            out.insert(lane, (*fence, *until));
            now = *time;
        }
        let (mut held, mut fences, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        for (token, lane) in leases.iter().zip(&lanes) {
            match (out.get(lane), i64::try_from(token.fence)) {
                (Some((fence, until)), Ok(mine)) if *fence == mine && *until > now => {
                    held.push(*lane);
                    fences.push(mine);
                }
                _ => lost.push(token.clone()),
            }
        }
        let until = now.saturating_add(micros(ttl.min(MAX_TTL)));
        sqlx::query(EXTEND).bind(held).bind(fences).bind(until).execute(connection).await.map_err(wrap)?;
        Ok(lost)
    }
}

#[allow(clippy::too_many_arguments, reason = "the columns of a row")]
fn entry(
    id: i64,
    op: String,
    kind: String,
    priority: i16,
    scope: String,
    payload: Vec<u8>,
    mapping: String,
    enqueued_at: i64,
) -> Result<Entry> {
    let priority = Priority::from_rank(u8::try_from(priority).unwrap_or(u8::MAX));
    let entry = Entry::new(EntryId(unsigned(id)), op, payload, timestamp(enqueued_at)?);
    Ok(entry.kind(kind).scope(scope).mapping(mapping).priority(priority))
}

pub(super) fn micros(duration: Duration) -> i64 {
    // Far below the ends of both ranges, so that sums stay a time.
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX).min(100 * 365 * 24 * 3_600_000_000)
}

/// What stands under a lane's name in the tables.
pub(super) fn lane_of(connection: String, entity: String, record: String) -> Lane {
    Lane::new(connection, Entity::new(entity), record)
}

/// A time of the host's as the tables hold it.
pub(super) fn stamp(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// A number that does not fit is damage.
pub(super) fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::Queue, format!("the queue's tables are damaged: {what}")).retrying(Retry::Never)
}
