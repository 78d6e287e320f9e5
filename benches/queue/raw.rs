//! What the queues ask of their servers, by the bare drivers: no leases to build, no tokens to check, no errors to tell apart.

use crate::cost::{Meter, Took};
use crate::{BATCH, names, payload};
use std::path::Path;

/// On a file whose tables are the queue's.
pub(crate) fn sqlite(path: &Path, full: bool, batches: usize, meter: Meter) -> Took {
    use rusqlite::{OptionalExtension, params};
    let mut connection = rusqlite::Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection.pragma_update(None, "synchronous", if full { "full" } else { "normal" }).unwrap();
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute("INSERT INTO crm_sync_queue_groups (id, scope, kind) VALUES (1, 'acme', 'record')", []).unwrap();
    const NUMBERS: &str = "SELECT last_id, last_fence FROM crm_sync_queue_counters WHERE id = 1";
    const FIND: &str = "SELECT id, state, more, fence, expires, alarm, ready_at, deliveries, attempts, leased, not_before \
        FROM crm_sync_queue_jobs WHERE lane = ?1 ORDER BY id LIMIT 1";
    let began = meter.start();
    for batch in 0..batches {
        let transaction = connection.transaction().unwrap();
        {
            let cached = |sql: &str| transaction.prepare_cached(sql).unwrap();
            let (mut last, fence): (i64, i64) = cached(NUMBERS).query_row([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            let mut remember = cached(
                "INSERT INTO crm_sync_queue_ops (op, until) VALUES (?1, ?2) ON CONFLICT (op) DO UPDATE SET until = excluded.until WHERE until <= ?3",
            );
            let mut find = cached(FIND);
            let mut add = cached(
                "INSERT INTO crm_sync_queue_jobs (id, lane, grp, priority, state, more, fence, expires, alarm, ready_at, deliveries, attempts, leased, not_before, enqueued_at, op, mapping, coalesce, payload) \
                 VALUES (?1, ?2, 1, 2, 0, 0, ?3, ?4, ?3, 0, 0, 0, -?1, 0, ?4, ?5, '', NULL, ?6)",
            );
            for (record, op) in names(batch) {
                let lane = format!("acme/Lead/{record}");
                remember.execute(params![op, i64::MAX, 0]).unwrap();
                assert!(find.query_row([&lane], |row| row.get::<_, i64>(0)).optional().unwrap().is_none());
                last += 1;
                add.execute(params![last, lane, fence, i64::MAX / 4, op, payload().as_bytes()]).unwrap();
            }
            cached("UPDATE crm_sync_queue_counters SET last_id = ?1 WHERE id = 1").execute([last]).unwrap();
        }
        transaction.commit().unwrap();

        let transaction = connection.transaction().unwrap();
        let mut claimed: Vec<(i64, String, String, Vec<u8>)> = Vec::new();
        let expires = i64::MAX / 2;
        {
            let cached = |sql: &str| transaction.prepare_cached(sql).unwrap();
            let (_, mut fence): (i64, i64) = cached(NUMBERS).query_row([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            let mut ready =
                cached("SELECT priority, id FROM crm_sync_queue_jobs WHERE state = 0 AND grp = 1 ORDER BY priority, id LIMIT ?1");
            let ids: Vec<i64> = ready.query_map([BATCH as i64], |row| row.get(1)).unwrap().collect::<Result<_, _>>().unwrap();
            let mut head = cached(
                "SELECT id, op, priority, mapping, enqueued_at, payload, grp, not_before, lane, more, deliveries, attempts \
                 FROM crm_sync_queue_jobs WHERE id = ?1",
            );
            let mut lease = cached(
                "UPDATE crm_sync_queue_jobs SET state = 1, more = 0, fence = ?2, expires = ?3, alarm = ?4, deliveries = 1, leased = ?1 WHERE id = ?1",
            );
            let alarm = fence + 1;
            let mut heads = String::new();
            for id in ids {
                claimed.push(head.query_row([id], |row| Ok((id, row.get(8)?, row.get(1)?, row.get(5)?))).unwrap());
                fence += 1;
                lease.execute(params![id, fence, expires, alarm]).unwrap();
                heads = format!("{id},");
            }
            cached("INSERT INTO crm_sync_queue_alarms (at, number, pending, heads) VALUES (?1, ?2, ?3, ?4)")
                .execute(params![expires, alarm, BATCH as i64, heads])
                .unwrap();
            cached("UPDATE crm_sync_queue_counters SET last_fence = ?1 WHERE id = 1").execute([fence]).unwrap();
        }
        transaction.commit().unwrap();
        assert!(claimed.len() == BATCH && claimed.iter().all(|(.., read)| read.len() == payload().len()));

        let transaction = connection.transaction().unwrap();
        {
            let cached = |sql: &str| transaction.prepare_cached(sql).unwrap();
            let mut find = cached(FIND);
            let mut delete = cached("DELETE FROM crm_sync_queue_jobs WHERE id = ?1");
            for (id, lane, ..) in &claimed {
                find.query_row([lane], |row| row.get::<_, i64>(0)).unwrap();
                delete.execute([id]).unwrap();
            }
            cached("DELETE FROM crm_sync_queue_alarms WHERE at = ?1").execute([expires]).unwrap();
        }
        transaction.commit().unwrap();
    }
    meter.stop(&began)
}

/// The server's clock, by which op ids are forgotten and leases end.
#[cfg(all(unix, feature = "postgres"))]
const POSTGRES_NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// On the queue's tables: one statement for each thing that has to be done.
#[cfg(all(unix, feature = "postgres"))]
pub(crate) async fn postgres(pool: &sqlx::postgres::PgPool, batches: usize, meter: Meter) -> Took {
    let began = meter.start();
    for batch in 0..batches {
        let (records, ops): (Vec<String>, Vec<String>) = names(batch).into_iter().unzip();
        let lanes: Vec<String> = records.iter().map(|record| format!("acme/Lead/{record}/")).collect();
        let mut transaction = pool.begin().await.unwrap();
        let now: i64 = sqlx::query_scalar(POSTGRES_NOW).fetch_one(&mut *transaction).await.unwrap();
        let ids: Vec<(String, i64)> = sqlx::query_as(
            "INSERT INTO crm_sync_queue_op AS known (op, known_until) SELECT op, $2 FROM unnest($1::text[]) AS new (op) \
             ON CONFLICT (op) DO UPDATE SET known_until = excluded.known_until WHERE known.known_until <= $3 \
             RETURNING op, nextval('crm_sync_queue_entry_id')",
        )
        .bind(&ops)
        .bind(now + 604_800_000_000)
        .bind(now)
        .fetch_all(&mut *transaction)
        .await
        .unwrap();
        sqlx::query(
            "DELETE FROM crm_sync_queue_op WHERE ctid = ANY (ARRAY(\
             SELECT ctid FROM crm_sync_queue_op WHERE known_until <= $1 LIMIT 1000 FOR UPDATE SKIP LOCKED))",
        )
        .bind(now)
        .execute(&mut *transaction)
        .await
        .unwrap();
        let ids: Vec<i64> = ids.into_iter().map(|(_, id)| id).collect();
        let existed: Vec<bool> = sqlx::query_scalar(
            "INSERT INTO crm_sync_queue_lane (lane, connection, entity, record, head, priority, scope, kind, not_before, ready, ready_at, more) \
             SELECT lane, 'acme', 'Lead', record, head, 2, 'acme', 'record', 0, true, 0, false \
             FROM unnest($1::text[], $2::text[], $3::bigint[]) AS new (lane, record, head) \
             ON CONFLICT (lane) DO UPDATE SET more = true RETURNING xmax <> 0",
        )
        .bind(&lanes)
        .bind(&records)
        .bind(&ids)
        .fetch_all(&mut *transaction)
        .await
        .unwrap();
        assert!(existed.iter().all(|existed| !existed), "an entry to join to");
        sqlx::query(
            "INSERT INTO crm_sync_queue_entry (id, lane, op, kind, priority, scope, payload, mapping, not_before, enqueued_at, coalesce_by) \
             SELECT id, lane, op, 'record', 2, 'acme', payload, '', 0, 0, NULL \
             FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[]) AS new (id, lane, op, payload)",
        )
        .bind(&ids)
        .bind(&lanes)
        .bind(&ops)
        .bind(vec![payload().as_bytes(); BATCH])
        .execute(&mut *transaction)
        .await
        .unwrap();
        transaction.commit().await.unwrap();

        let mut transaction = pool.begin().await.unwrap();
        let now: i64 = sqlx::query_scalar(POSTGRES_NOW).fetch_one(&mut *transaction).await.unwrap();
        sqlx::query(
            "UPDATE crm_sync_queue_lane SET ready = true WHERE lane = ANY (ARRAY(\
             SELECT lane FROM crm_sync_queue_lane WHERE NOT ready AND ready_at <= $1 ORDER BY ready_at LIMIT 10000 FOR UPDATE SKIP LOCKED))",
        )
        .bind(now)
        .execute(&mut *transaction)
        .await
        .unwrap();
        let picked: Vec<(String, i64, i64)> = sqlx::query_as(
            "WITH picked AS (SELECT ctid AS place FROM crm_sync_queue_lane WHERE ready AND scope = 'acme' AND kind = 'record' \
                 ORDER BY priority, head LIMIT $1 FOR UPDATE SKIP LOCKED) \
             UPDATE crm_sync_queue_lane AS lane SET ready = false, ready_at = $2, leased_until = $2, leased = ARRAY[head], \
                 fence = nextval('crm_sync_queue_fence'), deliveries = lane.deliveries + 1 \
             FROM picked WHERE lane.ctid = picked.place RETURNING lane.lane, lane.head, lane.fence",
        )
        .bind(BATCH as i64)
        .bind(i64::MAX / 2)
        .fetch_all(&mut *transaction)
        .await
        .unwrap();
        let ids: Vec<i64> = picked.iter().map(|(_, head, _)| *head).collect();
        let heads: Vec<(i64, String, Vec<u8>)> =
            sqlx::query_as("SELECT id, op, payload FROM crm_sync_queue_entry WHERE id = ANY ($1::bigint[])")
                .bind(&ids)
                .fetch_all(&mut *transaction)
                .await
                .unwrap();
        assert_eq!(heads.len(), BATCH);
        transaction.commit().await.unwrap();

        let mut transaction = pool.begin().await.unwrap();
        let now: i64 = sqlx::query_scalar(POSTGRES_NOW).fetch_one(&mut *transaction).await.unwrap();
        let lanes: Vec<String> = picked.into_iter().map(|(lane, ..)| lane).collect();
        let gone: Vec<(String, i64, Vec<i64>)> = sqlx::query_as(
            "DELETE FROM crm_sync_queue_lane AS lane WHERE lane.ctid = ANY (ARRAY(\
                 SELECT found.place FROM unnest($1::text[]) AS held (lane) CROSS JOIN LATERAL (\
                     SELECT ctid AS place FROM crm_sync_queue_lane AS one WHERE one.lane = held.lane OFFSET 0) AS found)) \
             AND NOT lane.more AND lane.leased_until > $2 RETURNING lane.lane, lane.fence, lane.leased",
        )
        .bind(lanes)
        .bind(now)
        .fetch_all(&mut *transaction)
        .await
        .unwrap();
        assert!(gone.iter().all(|(_, fence, _)| *fence > 0));
        let ids: Vec<i64> = gone.into_iter().flat_map(|(.., leased)| leased).collect();
        assert_eq!(ids.len(), BATCH);
        sqlx::query("DELETE FROM crm_sync_queue_entry WHERE id = ANY ($1)").bind(&ids).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }
    meter.stop(&began)
}

/// What the scripts of [`redis`] begin with.
#[cfg(all(unix, feature = "redis"))]
const REDIS_START: &str = "local P, time = KEYS[1], redis.call('TIME') \
    local now = time[1] * 1000000 + time[2] \
    local function all(command, key, list) if #list > 0 then return redis.call(command, key, unpack(list)) end return {} end ";
/// Op ids, lanes by age, entries and what the lanes hold, for lanes that have nothing yet.
#[cfg(all(unix, feature = "redis"))]
const REDIS_ENQUEUE: &str = "local ops, lanes = {}, {} \
    for at = 2, #ARGV, 3 do lanes[#lanes + 1] = ARGV[at] ops[#ops + 1] = ARGV[at + 1] end \
    local known, states = all('ZMSCORE', P .. 'ops', ops), all('HMGET', P .. 'lanes', lanes) \
    local id = tonumber(redis.call('HGET', P .. 'meta', 'id') or '0') \
    local till, stamp = now + tonumber(ARGV[1]), string.format('%.0f', now) \
    local op_scores, rows, held, ready, scope, answer = {}, {}, {}, {}, {}, {} \
    for number = 1, #ops do \
      if known[number] and tonumber(known[number]) > now then answer[number] = 'd' \
      elseif states[number] then return redis.error_reply('the lane has an entry') \
      else \
        id = id + 1 \
        local name, two = string.format('%.0f', id), number * 2 \
        op_scores[two - 1], op_scores[two] = till, ops[number] \
        rows[two - 1], rows[two] = name, stamp .. '\\n' .. ops[number] .. '\\n' .. ARGV[number * 3 + 1] \
        held[two - 1], held[two] = lanes[number], '0 0 ' .. name \
        ready[two - 1], ready[two] = id, lanes[number] \
        scope[two - 1], scope[two] = id, name \
        answer[number] = name \
      end \
    end \
    redis.call('HSET', P .. 'meta', 'id', id) \
    all('ZADD', P .. 'ops', op_scores) all('HSET', P .. 'entries', rows) all('HSET', P .. 'lanes', held) \
    all('ZADD', P .. 'ready', ready) all('ZADD', P .. 'scope', scope) \
    return answer";
/// The oldest lanes, leased under a new fence each.
#[cfg(all(unix, feature = "redis"))]
const REDIS_CLAIM: &str = "local lanes = redis.call('ZRANGE', P .. 'ready', 0, ARGV[1] - 1) \
    local states, expires, ids = all('HMGET', P .. 'lanes', lanes), now + tonumber(ARGV[2]), {} \
    for at, state in ipairs(states) do ids[at] = string.match(state, '%d+$') end \
    local rows, fence = all('HMGET', P .. 'entries', ids), tonumber(redis.call('HGET', P .. 'meta', 'fence') or '0') \
    local leases, held, answer, till = {}, {}, {}, string.format('%.0f', expires) \
    for at, lane in ipairs(lanes) do \
      fence = fence + 1 \
      leases[at * 2 - 1], leases[at * 2] = expires, lane \
      held[at * 2 - 1], held[at * 2] = lane, fence .. ' ' .. till .. ' ' .. ids[at] \
      answer[at] = {lane, fence, ids[at], rows[at]} \
    end \
    redis.call('HSET', P .. 'meta', 'fence', fence) \
    all('ZREM', P .. 'ready', lanes) all('ZADD', P .. 'leases', leases) all('HSET', P .. 'lanes', held) \
    return answer";
/// What is done goes, if the fence and the time are right.
#[cfg(all(unix, feature = "redis"))]
const REDIS_SETTLE: &str = "local lanes, ids, gone, answer = {}, {}, {}, {} \
    for at = 1, #ARGV, 2 do lanes[#lanes + 1] = ARGV[at] end \
    local states = all('HMGET', P .. 'lanes', lanes) \
    for at, lane in ipairs(lanes) do \
      local fence, till, id = string.match(states[at] or '', '^(%d+) (%d+) (%d+)$') \
      answer[at] = 0 \
      if fence == ARGV[at * 2] and tonumber(till) > now then \
        answer[at] = 1 \
        ids[#ids + 1], gone[#gone + 1] = id, lane \
      end \
    end \
    all('HDEL', P .. 'entries', ids) all('ZREM', P .. 'scope', ids) all('HDEL', P .. 'lanes', gone) all('ZREM', P .. 'leases', gone) \
    return answer";

/// By hand: one script per call, as short as the work of this loop allows, with one variadic command for each thing that has to
/// be read or written. No priorities, kinds, waits, dead letters or second entries of a lane.
#[cfg(all(unix, feature = "redis"))]
pub(crate) async fn redis(mut connection: redis::aio::MultiplexedConnection, batches: usize, meter: Meter) -> Took {
    let script = |text: &str| redis::Script::new(&format!("{REDIS_START}{text}"));
    let (enqueue, claim, settle) = (script(REDIS_ENQUEUE), script(REDIS_CLAIM), script(REDIS_SETTLE));
    let began = meter.start();
    for batch in 0..batches {
        let mut call = enqueue.key("{raw}:");
        call.arg(604_800_000_000_i64);
        for (record, op) in names(batch) {
            call.arg(format!("acme/Lead/{record}")).arg(op).arg(payload());
        }
        let ids: Vec<String> = call.invoke_async(&mut connection).await.unwrap();
        assert_eq!(ids.len(), BATCH);
        let leases: Vec<(String, u64, u64, Vec<u8>)> =
            claim.key("{raw}:").arg(BATCH).arg(60_000_000).invoke_async(&mut connection).await.unwrap();
        assert!(leases.len() == BATCH && leases.iter().all(|(.., row)| row.ends_with(payload().as_bytes())));
        let mut call = settle.key("{raw}:");
        for (lane, fence, ..) in &leases {
            call.arg(lane).arg(fence);
        }
        let done: Vec<bool> = call.invoke_async(&mut connection).await.unwrap();
        assert!(done.len() == BATCH && done.iter().all(|done| *done));
    }
    meter.stop(&began)
}

/// A work queue as JetStream has it: published with acknowledgement, fetched, acknowledged twice.
#[cfg(all(unix, feature = "nats"))]
pub(crate) async fn nats(context: async_nats::jetstream::Context, round: usize, batches: usize, meter: Meter) -> Took {
    use async_nats::jetstream::{consumer, stream};
    use futures_util::StreamExt;
    use futures_util::future::join_all;
    let config = stream::Config {
        name: format!("RAW{round}"),
        subjects: vec![format!("raw{round}.>")],
        retention: stream::RetentionPolicy::WorkQueue,
        ..stream::Config::default()
    };
    let stream = context.create_stream(config).await.unwrap();
    let pull = consumer::pull::Config { durable_name: Some("raw".to_owned()), max_ack_pending: 100_000, ..Default::default() };
    let consumer = stream.create_consumer(pull).await.unwrap();
    let began = meter.start();
    for batch in 0..batches {
        let mut acks = Vec::with_capacity(BATCH);
        for (record, _) in names(batch) {
            acks.push(context.publish(format!("raw{round}.{record}"), payload().into()).await.unwrap());
        }
        for ack in acks {
            ack.await.unwrap();
        }
        let messages: Vec<_> =
            consumer.batch().max_messages(BATCH).expires(std::time::Duration::from_secs(30)).messages().await.unwrap().collect().await;
        assert_eq!(messages.len(), BATCH);
        let done = join_all(messages.iter().map(|message| message.as_ref().unwrap().double_ack())).await;
        assert!(done.iter().all(Result::is_ok));
    }
    meter.stop(&began)
}
