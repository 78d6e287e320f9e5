//! Expiry, locks, durability.

use std::time::Duration;

use crate::conformance::report::{Broken, Check, ensure};
use crate::conformance::store::api::{StoreBench, key, only, put, refused};
use crate::error::ErrorKind;
use crate::store::{Batch, Family, Key, StoreExt};

/// An expired row is as if it had been deleted: for reads, for scans and for preconditions.
///
/// # Errors
/// What is wrong.
pub async fn expired_rows_are_absent(bench: &dyn StoreBench) -> Check {
    let store = bench.store().await?;
    let start = store.now().await?;
    let mut batch = Batch::new();
    batch.put_until(key("short"), "1", start + Duration::from_secs(2)).put_until(key("long"), "2", start + Duration::from_secs(3600));
    batch.put(key("ever"), "3").put_until(key("past"), "4", start - Duration::from_secs(1));
    let versions = store.commit(batch).await?;
    let all = [key("short"), key("long"), key("ever"), key("past")];
    let present = |rows: Vec<Option<crate::store::Row>>| rows.iter().map(Option::is_some).collect::<Vec<_>>();
    ensure!(present(store.load_many(&all).await?) == [true, true, true, false], "a row is absent before its time, or present after it");

    bench.pass(Duration::from_millis(2100)).await;
    ensure!(store.now().await? >= start + Duration::from_secs(2), "store time does not move");
    ensure!(present(store.load_many(&all).await?) == [false, true, true, false], "a row is present after its time");
    let prefix = Key::new(Family::Base, &["test"]);
    let scanned: Vec<Key> = store.scan(&prefix, None, 2).await?.into_iter().map(|(key, _)| key).collect();
    ensure!(scanned == [key("ever"), key("long")], "a scan shows expired rows, or counts them against the limit");

    let old = versions.first().copied().unwrap_or(0);
    let mut stale = Batch::new();
    stale.require_version(key("short"), old).put(key("short"), "5");
    refused(store.commit(stale).await, "short")?;
    let mut anew = Batch::new();
    anew.insert(key("short"), "6")?;
    let version = only(&store.commit(anew).await?)?;
    ensure!(version > old, "the version did not grow over the expiry");

    // A put without an end takes the end away, one with an end sets it.
    let mut change = Batch::new();
    change.put(key("long"), "7").put_until(key("ever"), "8", store.now().await? + Duration::from_secs(1));
    store.commit(change).await?;
    bench.pass(Duration::from_millis(1100)).await;
    ensure!(present(store.load_many(&all).await?) == [true, true, false, false], "a put does not replace the end of a row");
    Ok(())
}

/// A lock has one holder, ends with its time, and its token keeps a former holder from committing.
///
/// # Errors
/// What is wrong.
pub async fn locks_exclude_and_fence(bench: &dyn StoreBench) -> Check {
    let store = bench.store().await?;
    let ttl = Duration::from_secs(2);
    let none = || Broken::new("a free lock was not given");
    let first = store.lock("refresh", "a", ttl).await?.ok_or_else(none)?;
    ensure!(store.lock("refresh", "b", ttl).await?.is_none(), "two hold one lock");
    ensure!(store.lock("refresh", "a", ttl).await?.is_none(), "two of one name hold one lock");
    ensure!(store.lock("other", "b", ttl).await?.is_some(), "locks of other names are not free");
    ensure!(!store.unlock_owned("refresh", "b").await?, "a stranger gave the lock back");

    let mut guarded = Batch::new();
    first.guard(&mut guarded);
    guarded.put(key("a"), "by the first holder");
    store.commit(guarded.clone()).await?;

    bench.pass(Duration::from_millis(2100)).await;
    let second = store.lock("refresh", "b", ttl).await?.ok_or_else(none)?;
    ensure!(second.fence() > first.fence(), "the fence does not grow");
    match store.commit(guarded).await {
        Err(error) if error.kind() == ErrorKind::Conflict => {}
        other => return Err(Broken::new(format!("a former holder committed: {other:?}"))),
    }
    ensure!(!store.unlock(&first).await?, "a former holder gave the lock back");
    ensure!(store.renew(&first, ttl).await?.is_none(), "a former holder renewed the lock");

    let renewed = store.renew(&second, ttl).await?.ok_or_else(|| Broken::new("the holder could not renew"))?;
    ensure!(renewed.fence() > second.fence(), "the fence does not grow with a renewal");
    ensure!(!store.unlock(&second).await?, "a token that was renewed away still works");
    ensure!(store.unlock(&renewed).await?, "the holder could not give the lock back");
    let third = store.lock_again("refresh", "c", ttl).await?.ok_or_else(none)?;
    ensure!(third.fence() > renewed.fence(), "the fence does not grow over giving back");
    let again = store.lock_again("refresh", "c", ttl).await?.ok_or_else(|| Broken::new("the owner could not prolong"))?;
    ensure!(again.fence() > third.fence(), "the fence does not grow when the owner prolongs");
    ensure!(store.lock_again("refresh", "d", ttl).await?.is_none(), "a stranger prolonged a lock");
    ensure!(store.unlock_owned("refresh", "c").await?, "the owner could not give the lock back");
    ensure!(!store.unlock_owned("refresh", "c").await?, "a lock was given back twice");
    Ok(())
}

/// A store that says it is durable has everything after it was opened anew, and its versions go on.
///
/// # Errors
/// What is wrong.
pub async fn durable_means_durable(bench: &dyn StoreBench) -> Check {
    let store = bench.store().await?;
    let promises = store.capabilities();
    ensure!(promises.durable || !promises.survives_power_loss, "a store cannot survive power cuts without being durable");
    let version = put(&*store, "a", "1").await?;
    let deleted = put(&*store, "b", "2").await?;
    let mut batch = Batch::new();
    batch.delete(key("b"));
    store.commit(batch).await?;
    let Some(store) = bench.reopen(store).await? else {
        ensure!(!promises.durable, "the store says it is durable, but the bench cannot open it anew");
        return Ok(());
    };
    let rows = store.load_many(&[key("a"), key("b")]).await?;
    let found: Vec<_> = rows.iter().map(|row| row.as_ref().map(|row| (row.value.as_ref(), row.version))).collect();
    ensure!(found == [Some((b"1".as_ref(), version)), None], "the data is another one after opening it anew");
    ensure!(put(&*store, "b", "3").await? > deleted, "versions begin anew after opening it anew");
    Ok(())
}
