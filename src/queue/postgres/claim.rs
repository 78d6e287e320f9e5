//! Handing lanes out.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::postgres::PgConnection;

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::model::Entity;
use crate::queue::entry::{Entry, EntryId, Priority};
use crate::queue::lane::Lane;
use crate::queue::lease::{Claim, Lease, LeaseToken, MAX_TTL};
use crate::queue::postgres::queue::PostgresQueue;
use crate::queue::postgres::schema::{lock, preamble, preamble_by_index, refresh, timestamp, unsigned};

const WHAT: &str = "could not claim";

/// Lanes whose time has come. Bounded, so that no claim is slow because many come due at once.
const COME_DUE: &str = "UPDATE crm_sync_queue_lane SET ready = true WHERE lane = ANY (ARRAY(\
    SELECT lane FROM crm_sync_queue_lane WHERE NOT ready AND ready_at <= $1 ORDER BY ready_at LIMIT 10000 FOR UPDATE SKIP LOCKED))";
/// $1: lanes wanted, $2: scopes to skip, $3: kinds. Reads as many index entries as it answers, for each scope and kind there is.
/// Fences are drawn while the rows are locked: a lane's only grow.
const PICK: &str = "WITH RECURSIVE groups (scope, kind) AS (\
        (SELECT scope, kind FROM crm_sync_queue_lane WHERE ready ORDER BY scope, kind LIMIT 1) \
        UNION ALL \
        SELECT further.scope, further.kind FROM groups CROSS JOIN LATERAL (\
            SELECT lane.scope, lane.kind FROM crm_sync_queue_lane AS lane \
            WHERE lane.ready AND (lane.scope, lane.kind) > (groups.scope, groups.kind) \
            ORDER BY lane.scope, lane.kind LIMIT 1) AS further), \
    picked AS (\
        SELECT best.* FROM groups CROSS JOIN LATERAL (\
            SELECT lane, priority, head, deliveries, attempts FROM crm_sync_queue_lane AS lane \
            WHERE lane.ready AND lane.scope = groups.scope AND lane.kind = groups.kind \
            ORDER BY lane.priority, lane.head LIMIT $1 FOR UPDATE SKIP LOCKED) AS best \
        WHERE groups.scope <> ALL ($2::text[]) AND (cardinality($3::text[]) = 0 OR groups.kind = ANY ($3::text[]))) \
    SELECT lane, deliveries, attempts, nextval('crm_sync_queue_fence') FROM picked ORDER BY priority, head LIMIT $1";
const HEADS: &str = "SELECT head.lane, head.id, head.op, head.kind, head.priority, head.scope, head.payload, head.mapping, \
    head.not_before, head.enqueued_at \
    FROM unnest($1::text[]) WITH ORDINALITY AS wanted (lane, place) \
    CROSS JOIN LATERAL (SELECT * FROM crm_sync_queue_entry AS entry WHERE entry.lane = wanted.lane ORDER BY entry.id LIMIT $2) AS head \
    ORDER BY wanted.place, head.id";
const LEASE: &str = "UPDATE crm_sync_queue_lane AS lane SET ready = false, ready_at = $4, leased_until = $4, leased = given.ids, \
    fence = given.fence, deliveries = lane.deliveries + 1 \
    FROM (SELECT lane, fence, array_agg(id ORDER BY id) AS ids \
        FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS one (lane, fence, id) GROUP BY lane, fence) AS given \
    WHERE lane.lane = given.lane";
/// As [`LEASE`], when each lane is handed out with one entry.
const LEASE_ONE: &str = "UPDATE crm_sync_queue_lane AS lane SET ready = false, ready_at = $4, leased_until = $4, \
    leased = ARRAY[given.id], fence = given.fence, deliveries = lane.deliveries + 1 \
    FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS given (lane, fence, id) WHERE lane.lane = given.lane";
const EXTEND: &str = "UPDATE crm_sync_queue_lane AS lane SET leased_until = $3, ready_at = CASE WHEN frozen > 0 THEN ready_at ELSE $3 END \
    FROM unnest($1::text[], $2::bigint[]) AS held (lane, fence) WHERE lane.lane = held.lane AND lane.fence = held.fence";

type Picked = (String, i32, i32, i64);
type Found = (String, i64, String, String, i16, String, Vec<u8>, String, i64, i64);

impl PostgresQueue {
    pub(super) async fn claim_on(&self, connection: &mut PgConnection, want: &Claim) -> Result<Vec<Lease>> {
        let wrap = |error| self.tables.failure(WHAT, error);
        let now = preamble_by_index(&self.tables, connection, WHAT).await?;
        sqlx::query(COME_DUE).bind(now).execute(&mut *connection).await.map_err(wrap)?;
        let picked: Vec<Picked> = sqlx::query_as(PICK)
            .bind(i64::try_from(want.lanes).unwrap_or(i64::MAX))
            .bind(&want.skip_scopes)
            .bind(&want.kinds)
            .fetch_all(&mut *connection)
            .await
            .map_err(wrap)?;
        if picked.is_empty() {
            return Ok(Vec::new());
        }
        let lanes: Vec<&str> = picked.iter().map(|row| row.0.as_str()).collect();
        let limit = i64::try_from(want.entries.max(1)).unwrap_or(i64::MAX);
        let found: Vec<Found> = sqlx::query_as(HEADS).bind(&lanes).bind(limit).fetch_all(&mut *connection).await.map_err(wrap)?;
        let mut entries: HashMap<String, (bool, Vec<Entry>)> = HashMap::with_capacity(lanes.len());
        for (lane, id, op, kind, priority, scope, payload, mapping, not_before, enqueued_at) in found {
            let (closed, prefix) = entries.entry(lane).or_default();
            // The prefix ends at the first entry that is not due or not wanted.
            if *closed || not_before > now || !want.wants(&scope, &kind) {
                *closed = true;
                continue;
            }
            let entry = Entry::new(EntryId(unsigned(id)), op, payload, timestamp(enqueued_at)?)
                .kind(kind)
                .scope(scope)
                .mapping(mapping)
                .priority(Priority::from_rank(u8::try_from(priority).unwrap_or(u8::MAX)));
            prefix.push(entry);
        }
        let expires = now.saturating_add(micros(want.ttl.min(MAX_TTL)));
        let (mut of, mut fences, mut ids) = (Vec::new(), Vec::new(), Vec::new());
        let (mut leases, mut undue, mut one_each) = (Vec::with_capacity(picked.len()), Vec::new(), true);
        for (text, deliveries, attempts, fence) in &picked {
            let Some((_, prefix)) = entries.remove(text.as_str()).filter(|(_, prefix)| !prefix.is_empty()) else {
                undue.push(text.as_str());
                continue;
            };
            one_each &= prefix.len() == 1;
            for entry in &prefix {
                of.push(text.as_str());
                fences.push(*fence);
                ids.push(i64::try_from(entry.id.0).unwrap_or(i64::MAX));
            }
            let lane = Lane::decode(text).ok_or_else(|| damaged("a lane does not parse"))?;
            let token = LeaseToken { lane, fence: unsigned(*fence) };
            let count = |number: i32| u32::try_from(number).unwrap_or(0);
            leases.push(Lease::new(token, timestamp(expires)?, count(*deliveries) + 1, count(*attempts), prefix));
        }
        if !undue.is_empty() {
            // The server's clock was set back since their heads came due. They must not stand before the others until it is there.
            refresh(connection, &undue, now, false).await.map_err(wrap)?;
        }
        let sql = if one_each { LEASE_ONE } else { LEASE };
        sqlx::query(sql).bind(of).bind(fences).bind(ids).bind(expires).execute(connection).await.map_err(wrap)?;
        Ok(leases)
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
