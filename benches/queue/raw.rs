//! What the queues ask of their servers, by the bare drivers: no leases to build, no tokens to check, no errors to tell apart.

use std::path::Path;
use std::time::Instant;

use crate::{BATCH, names, payload};

fn rate(batches: usize, began: Instant) -> f64 {
    (batches * BATCH) as f64 / began.elapsed().as_secs_f64()
}

/// On a file whose tables are the queue's.
pub(crate) fn sqlite(path: &Path, full: bool, batches: usize) -> f64 {
    use rusqlite::{OptionalExtension, params};
    let mut connection = rusqlite::Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection.pragma_update(None, "synchronous", if full { "full" } else { "normal" }).unwrap();
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute("INSERT INTO crm_sync_queue_groups (id, scope, kind) VALUES (1, 'acme', 'record')", []).unwrap();
    const NUMBERS: &str = "SELECT last_id, last_fence FROM crm_sync_queue_counters WHERE id = 1";
    const FIND: &str = "SELECT id, state, more, fence, expires, alarm, ready_at, deliveries, attempts, leased, not_before \
        FROM crm_sync_queue_jobs WHERE lane = ?1 ORDER BY id LIMIT 1";
    let began = Instant::now();
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
    rate(batches, began)
}

/// On the queue's tables: one statement for each thing that has to be done.
#[cfg(all(unix, feature = "postgres"))]
pub(crate) async fn postgres(pool: &sqlx::postgres::PgPool, batches: usize) -> f64 {
    let began = Instant::now();
    for batch in 0..batches {
        let (records, ops): (Vec<String>, Vec<String>) = names(batch).into_iter().unzip();
        let lanes: Vec<String> = records.iter().map(|record| format!("acme/Lead/{record}/")).collect();
        let mut transaction = pool.begin().await.unwrap();
        let ids: Vec<(String, i64)> = sqlx::query_as(
            "INSERT INTO crm_sync_queue_op AS known (op, known_until) SELECT op, $2 FROM unnest($1::text[]) AS new (op) \
             ON CONFLICT (op) DO UPDATE SET known_until = excluded.known_until WHERE known.known_until <= $3 \
             RETURNING op, nextval('crm_sync_queue_entry_id')",
        )
        .bind(&ops)
        .bind(i64::MAX)
        .bind(0_i64)
        .fetch_all(&mut *transaction)
        .await
        .unwrap();
        let ids: Vec<i64> = ids.into_iter().map(|(_, id)| id).collect();
        sqlx::query(
            "INSERT INTO crm_sync_queue_lane (lane, connection, entity, record, head, priority, scope, kind, not_before, ready, ready_at) \
             SELECT lane, 'acme', 'Lead', record, head, 2, 'acme', 'record', 0, true, 0 \
             FROM unnest($1::text[], $2::text[], $3::bigint[]) AS new (lane, record, head) \
             ON CONFLICT (lane) DO UPDATE SET fence = crm_sync_queue_lane.fence",
        )
        .bind(&lanes)
        .bind(&records)
        .bind(&ids)
        .execute(&mut *transaction)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO crm_sync_queue_entry (id, lane, op, kind, priority, scope, payload, mapping, not_before, enqueued_at, coalesce_by) \
             SELECT id, lane, op, 'record', 2, 'acme', $4, '', 0, 0, NULL FROM unnest($1::bigint[], $2::text[], $3::text[]) AS new (id, lane, op)",
        )
        .bind(&ids)
        .bind(&lanes)
        .bind(&ops)
        .bind(payload().as_bytes())
        .execute(&mut *transaction)
        .await
        .unwrap();
        transaction.commit().await.unwrap();

        let mut transaction = pool.begin().await.unwrap();
        let picked: Vec<(String,)> = sqlx::query_as(
            "SELECT lane FROM crm_sync_queue_lane WHERE ready AND scope = 'acme' AND kind = 'record' \
             ORDER BY priority, head LIMIT $1 FOR UPDATE SKIP LOCKED",
        )
        .bind(BATCH as i64)
        .fetch_all(&mut *transaction)
        .await
        .unwrap();
        let picked: Vec<String> = picked.into_iter().map(|(lane,)| lane).collect();
        let heads: Vec<(String, i64, Vec<u8>)> = sqlx::query_as(
            "SELECT head.lane, head.id, head.payload FROM unnest($1::text[]) WITH ORDINALITY AS wanted (lane, place) \
             CROSS JOIN LATERAL (SELECT * FROM crm_sync_queue_entry AS entry WHERE entry.lane = wanted.lane ORDER BY entry.id LIMIT 20) AS head \
             ORDER BY wanted.place, head.id",
        )
        .bind(&picked)
        .fetch_all(&mut *transaction)
        .await
        .unwrap();
        assert_eq!(heads.len(), BATCH);
        let ids: Vec<i64> = heads.iter().map(|(_, id, _)| *id).collect();
        sqlx::query(
            "UPDATE crm_sync_queue_lane AS lane SET ready = false, ready_at = $3, leased_until = $3, leased = ARRAY[given.id], \
             fence = nextval('crm_sync_queue_fence'), deliveries = lane.deliveries + 1 \
             FROM unnest($1::text[], $2::bigint[]) AS given (lane, id) WHERE lane.lane = given.lane",
        )
        .bind(heads.iter().map(|(lane, ..)| lane.as_str()).collect::<Vec<_>>())
        .bind(&ids)
        .bind(i64::MAX / 2)
        .execute(&mut *transaction)
        .await
        .unwrap();
        transaction.commit().await.unwrap();

        let mut transaction = pool.begin().await.unwrap();
        for sql in ["SELECT lane FROM crm_sync_queue_lane WHERE lane = ANY ($1) FOR UPDATE"] {
            sqlx::query(sql).bind(&picked).fetch_all(&mut *transaction).await.unwrap();
        }
        sqlx::query("DELETE FROM crm_sync_queue_entry WHERE id = ANY ($1)").bind(&ids).execute(&mut *transaction).await.unwrap();
        sqlx::query("DELETE FROM crm_sync_queue_lane WHERE lane = ANY ($1)").bind(&picked).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }
    rate(batches, began)
}

/// A list of lanes by age, a hash per job and an op id with a time limit, in pipelines.
#[cfg(all(unix, feature = "redis"))]
pub(crate) async fn redis(mut connection: redis::aio::MultiplexedConnection, batches: usize) -> f64 {
    let began = Instant::now();
    for batch in 0..batches {
        let mut pipe = redis::pipe();
        for (at, (record, op)) in names(batch).into_iter().enumerate() {
            pipe.cmd("SET").arg(format!("raw:op:{op}")).arg(1).arg("NX").arg("EX").arg(604_800).ignore();
            pipe.cmd("HSET").arg(format!("raw:job:{record}")).arg("op").arg(op).arg("payload").arg(payload()).ignore();
            pipe.cmd("ZADD").arg("raw:ready").arg(batch * BATCH + at).arg(record).ignore();
        }
        pipe.exec_async(&mut connection).await.unwrap();
        let lanes: Vec<String> = redis::cmd("ZRANGE").arg("raw:ready").arg(0).arg(BATCH - 1).query_async(&mut connection).await.unwrap();
        assert_eq!(lanes.len(), BATCH);
        let mut pipe = redis::pipe();
        for lane in &lanes {
            pipe.cmd("HMGET").arg(format!("raw:job:{lane}")).arg("op").arg("payload");
            pipe.cmd("ZREM").arg("raw:ready").arg(lane).ignore();
            pipe.cmd("ZADD").arg("raw:leased").arg(1).arg(lane).ignore();
        }
        let jobs: Vec<(String, String)> = pipe.query_async(&mut connection).await.unwrap();
        assert_eq!(jobs.len(), BATCH);
        let mut pipe = redis::pipe();
        for lane in &lanes {
            pipe.cmd("ZREM").arg("raw:leased").arg(lane).ignore();
            pipe.cmd("DEL").arg(format!("raw:job:{lane}")).ignore();
        }
        pipe.exec_async(&mut connection).await.unwrap();
    }
    rate(batches, began)
}

/// A work queue as JetStream has it: published with acknowledgement, fetched, acknowledged twice.
#[cfg(all(unix, feature = "nats"))]
pub(crate) async fn nats(context: async_nats::jetstream::Context, batches: usize) -> f64 {
    use async_nats::jetstream::{consumer, stream};
    use futures_util::StreamExt;
    use futures_util::future::join_all;
    let config = stream::Config {
        name: "RAW".to_owned(),
        subjects: vec!["raw.>".to_owned()],
        retention: stream::RetentionPolicy::WorkQueue,
        ..stream::Config::default()
    };
    let stream = context.create_stream(config).await.unwrap();
    let pull = consumer::pull::Config { durable_name: Some("raw".to_owned()), max_ack_pending: 100_000, ..Default::default() };
    let consumer = stream.create_consumer(pull).await.unwrap();
    let began = Instant::now();
    for batch in 0..batches {
        let mut acks = Vec::with_capacity(BATCH);
        for (record, _) in names(batch) {
            acks.push(context.publish(format!("raw.{record}"), payload().into()).await.unwrap());
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
    rate(batches, began)
}
