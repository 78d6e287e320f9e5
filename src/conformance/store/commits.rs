//! One commit: preconditions, versions, all or nothing, one at a time.

use std::sync::Arc;

use futures_util::future::join_all;

use crate::conformance::report::{Broken, Check, ensure};
use crate::conformance::store::api::{StoreBench, batch, key, only, put, refused};
use crate::error::ErrorKind;
use crate::store::{Batch, Store};

/// Each put has a greater version than any before under its key, also after the row was deleted, and an old version is never
/// valid again.
///
/// # Errors
/// What is wrong.
pub async fn versions_grow_for_ever(bench: &dyn StoreBench) -> Check {
    let store = bench.store().await?;
    let mut last = 0;
    let mut first = None;
    for round in 0..4 {
        for _ in 0..3 {
            let version = put(&*store, "a", "same").await?;
            ensure!(version > last, "round {round}: version {version} after {last}");
            first.get_or_insert(version);
            last = version;
        }
        let mut batch = Batch::new();
        batch.delete(key("a"));
        store.commit(batch).await?;
    }
    put(&*store, "a", "again").await?;
    let mut batch = Batch::new();
    batch.require_version(key("a"), first.unwrap_or(0)).put(key("a"), "stale");
    refused(store.commit(batch).await, "a")?;

    let mut batch = Batch::new();
    batch.put(key("x"), "1").delete(key("x")).put(key("y"), "2").put(key("x"), "3").put(key("y"), "4");
    let versions = store.commit(batch).await?;
    let rows = store.load_many(&[key("x"), key("y")]).await?;
    let found: Vec<_> = rows.iter().map(|row| row.as_ref().map(|row| (row.value.as_ref(), row.version))).collect();
    match versions.as_slice() {
        [x1, y1, x2, y2] => {
            ensure!(found == [Some((b"3".as_ref(), *x2)), Some((b"4".as_ref(), *y2))], "the mutations did not happen in order");
            ensure!(x1 < x2 && y1 < y2, "two puts of one batch share a version");
        }
        other => return Err(Broken::new(format!("four puts, but {} versions", other.len()))),
    }
    Ok(())
}

/// A refused commit is a conflict that names the first key, in the order of the preconditions.
///
/// # Errors
/// What is wrong.
pub async fn conflicts_name_the_first_key(bench: &dyn StoreBench) -> Check {
    let store = bench.store().await?;
    let version = put(&*store, "there", "1").await?;
    let cases: [(&str, Batch); 5] = [
        ("there", batch(|batch| batch.require_absent(key("there")))),
        ("gone", batch(|batch| batch.require_version(key("gone"), version))),
        ("there", batch(|batch| batch.require_version(key("there"), version + 1))),
        ("there", batch(|batch| batch.require_absent(key("new")).require_absent(key("there")).require_version(key("gone"), 1))),
        ("gone", batch(|batch| batch.require_version(key("there"), version).require_version(key("gone"), 1).require_absent(key("there")))),
    ];
    for (culprit, conditions) in cases {
        // With and without something to do: a precondition alone is a valid batch.
        refused(store.commit(conditions.clone()).await, culprit)?;
        let mut with_put = conditions;
        with_put.put(key("other"), "2");
        refused(store.commit(with_put).await, culprit)?;
    }
    ensure!(store.load(&key("other")).await?.is_none(), "a refused batch has written");
    let fine = batch(|batch| batch.require_version(key("there"), version).require_absent(key("other")));
    ensure!(store.commit(fine).await?.is_empty(), "a batch without puts has versions");
    ensure!(store.commit(Batch::new()).await?.is_empty(), "an empty batch has versions");
    Ok(())
}

/// Of a refused batch nothing stays, however much of it was fine.
///
/// # Errors
/// What is wrong.
pub async fn batches_are_all_or_nothing(bench: &dyn StoreBench) -> Check {
    let store = bench.store().await?;
    let version = put(&*store, "kept", "old").await?;
    let names: Vec<String> = (0..300).map(|number| format!("n{number:03}")).collect();
    let mut refusable = Batch::new();
    for name in &names {
        refusable.require_absent(key(name)).put(key(name), "x");
    }
    refusable.put(key("kept"), "new").delete(key("kept")).require_version(key("kept"), version + 1_000_000);
    refused(store.commit(refusable).await, "kept")?;
    let keys: Vec<_> = names.iter().map(|name| key(name)).collect();
    ensure!(store.load_many(&keys).await?.iter().all(Option::is_none), "part of a refused batch stayed");
    let kept = store.load(&key("kept")).await?;
    ensure!(kept.is_some_and(|row| row.value == "old" && row.version == version), "a refused batch changed a row");
    Ok(())
}

/// Preconditions look at the state before the batch, not at what the batch does.
///
/// # Errors
/// What is wrong.
pub async fn preconditions_see_the_state_before(bench: &dyn StoreBench) -> Check {
    let store = bench.store().await?;
    let version = put(&*store, "a", "1").await?;
    let mut swap = Batch::new();
    swap.delete(key("a")).require_absent(key("a")).put(key("a"), "2");
    refused(store.commit(swap).await, "a")?;
    let mut right = Batch::new();
    right.put(key("a"), "2").put(key("b"), "3").require_version(key("a"), version).require_absent(key("b"));
    let versions = store.commit(right).await?;
    ensure!(versions.len() == 2, "the preconditions looked at what the batch does");
    // Deleting what one requires is how a lock is given back.
    let mut delete = Batch::new();
    delete.require_version(key("a"), versions.first().copied().unwrap_or(0)).delete(key("a"));
    store.commit(delete.clone()).await?;
    refused(store.commit(delete).await, "a")?;
    Ok(())
}

/// Many tasks that each load, add one and commit under the loaded version: no step is lost.
///
/// # Errors
/// What is wrong.
pub async fn concurrent_changes_are_not_lost(bench: &dyn StoreBench) -> Check {
    const TASKS: usize = 8;
    const STEPS: usize = 6;
    let store = bench.store().await?;
    let mut start = Batch::new();
    start.put(key("counter"), "0");
    store.commit(start).await?;
    let steps = join_all((0..TASKS).map(|_| count_up(Arc::clone(&store), STEPS))).await;
    for step in steps {
        step?;
    }
    let found = store.load(&key("counter")).await?.map(|row| row.value);
    let expected = (TASKS * STEPS).to_string();
    ensure!(found.as_deref() == Some(expected.as_bytes()), "steps were lost: {found:?} instead of {expected}");
    Ok(())
}

async fn count_up(store: Arc<dyn Store>, steps: usize) -> Check {
    let mut done = 0;
    // One of those who try succeeds each time, so this ends; the limit is for a store that never lets anybody through.
    for _ in 0..10_000 {
        if done == steps {
            return Ok(());
        }
        let row = store.load(&key("counter")).await?.ok_or_else(|| Broken::new("the counter is gone"))?;
        let count: usize = std::str::from_utf8(&row.value)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Broken::new("the counter is no number"))?;
        let mut batch = Batch::new();
        batch.require_version(key("counter"), row.version).put(key("counter"), (count + 1).to_string());
        match store.commit(batch).await {
            Ok(_) => done += 1,
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Broken::new("no commit gets through"))
}

/// Of many inserts of one key at once exactly one succeeds, and its value stays.
///
/// # Errors
/// What is wrong.
pub async fn one_of_many_inserts_wins(bench: &dyn StoreBench) -> Check {
    let store = bench.store().await?;
    for round in 0..5 {
        let name = format!("round {round}");
        let outcomes = join_all((0..8).map(|task| {
            let (store, name) = (Arc::clone(&store), name.clone());
            async move {
                let mut batch = Batch::new();
                batch.insert(key(&name), format!("{task}"))?;
                store.commit(batch).await.map(|versions| (task, versions))
            }
        }))
        .await;
        let mut winners = Vec::new();
        for outcome in outcomes {
            match outcome {
                Ok((task, versions)) => winners.push((task.to_string(), only(&versions)?)),
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error.into()),
            }
        }
        let row = store.load(&key(&name)).await?;
        match winners.as_slice() {
            [(value, version)] => {
                let kept = row.is_some_and(|row| row.value == value.as_bytes() && row.version == *version);
                ensure!(kept, "the winner's value did not stay");
            }
            others => return Err(Broken::new(format!("{} of 8 inserts of one key succeeded", others.len()))),
        }
    }
    Ok(())
}
