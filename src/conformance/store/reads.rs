//! What was written is read, where and as it was written.

use bytes::Bytes;

use crate::conformance::report::{Check, ensure};
use crate::conformance::store::api::{StoreBench, key, put};
use crate::store::{Batch, Family, Key, StoreExt};

/// Values of any bytes under keys of any text come back, and families are kept apart.
///
/// # Errors
/// What is wrong.
pub async fn values_come_back(bench: &dyn StoreBench) -> Check {
    let store = bench.store().await?;
    let big = vec![0xA5; 1 << 20];
    let cases: Vec<(Key, Bytes)> = vec![
        (key("plain"), Bytes::from_static(b"{\"v\":1}")),
        (key("empty value"), Bytes::new()),
        (key("bytes"), (0..=255).collect::<Vec<u8>>().into()),
        (key("big"), big.into()),
        (key(""), Bytes::from_static(b"empty part")),
        (key("a/b%2F'\"\\;--\0\n"), Bytes::from_static(b"signs")),
        (key("Zoë 名前 🦀"), Bytes::from_static(b"letters")),
        (Key::new(Family::Links, &["test", "plain"]), Bytes::from_static(b"another family")),
        (key("Plain"), Bytes::from_static(b"another case")),
    ];
    ensure!(store.load(&key("plain")).await?.is_none(), "a new store is not empty");
    let mut batch = Batch::new();
    for (key, value) in &cases {
        batch.put(key.clone(), value.clone());
    }
    let versions = store.commit(batch).await?;
    ensure!(versions.len() == cases.len(), "{} puts, but {} versions", cases.len(), versions.len());
    for ((key, value), version) in cases.iter().zip(versions) {
        let row = store.load(key).await?;
        ensure!(row.as_ref().is_some_and(|row| row.value == *value), "{key} does not come back");
        ensure!(row.is_some_and(|row| row.version == version && version > 0), "{key} has another version than the commit answered");
    }
    let mut batch = Batch::new();
    batch.delete(key("plain")).delete(key("never there"));
    ensure!(store.commit(batch).await?.is_empty(), "deletes have no versions");
    ensure!(store.load(&key("plain")).await?.is_none(), "a deleted row is read");
    ensure!(store.load(&Key::new(Family::Links, &["test", "plain"])).await?.is_some(), "a delete reached into another family");
    Ok(())
}

/// `load_many` answers in the order asked, with gaps, and a key asked twice twice.
///
/// # Errors
/// What is wrong.
pub async fn reads_keep_their_order(bench: &dyn StoreBench) -> Check {
    let store = bench.store().await?;
    for (name, value) in [("a", "1"), ("b", "2"), ("c", "3")] {
        put(&*store, name, value).await?;
    }
    let rows = store.load_many(&[key("c"), key("missing"), key("a"), key("c"), key("b")]).await?;
    let values: Vec<Option<&[u8]>> = rows.iter().map(|row| row.as_ref().map(|row| row.value.as_ref())).collect();
    let expected: Vec<Option<&[u8]>> = vec![Some(b"3"), None, Some(b"1"), Some(b"3"), Some(b"2")];
    ensure!(values == expected, "load_many answers in another order than asked");
    ensure!(store.load_many(&[]).await?.is_empty(), "no keys, but rows");
    Ok(())
}

/// Scans go in key order, stay below their prefix, honour `after` and `limit`, and page through everything.
///
/// # Errors
/// What is wrong.
pub async fn scans_are_ordered_and_bounded(bench: &dyn StoreBench) -> Check {
    let store = bench.store().await?;
    let names = ["b", "a", "é", "a b", "B", "ab", "a-b", "\u{1F600}", "10", "9"];
    let below = |name: &str| Key::new(Family::Base, &["acme", "Lead", name]);
    let mut batch = Batch::new();
    for name in names {
        batch.put(below(name), name.to_owned());
    }
    for outside in [
        Key::new(Family::Base, &["acme", "Leads", "x"]),
        Key::new(Family::Base, &["acme", "Lea", "x"]),
        Key::new(Family::Base, &["acme/Lead", "x"]),
        Key::new(Family::Links, &["acme", "Lead", "x"]),
        Key::new(Family::Ledger, &["acme", "Lead", "x"]),
    ] {
        batch.put(outside, "outside");
    }
    store.commit(batch).await?;
    let prefix = Key::new(Family::Base, &["acme", "Lead"]);
    let mut expected: Vec<Key> = names.into_iter().map(below).collect();
    expected.sort();
    let keys = |rows: Vec<(Key, crate::store::Row)>| rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>();

    ensure!(keys(store.scan(&prefix, None, 100).await?) == expected, "a scan has other keys, or another order");
    ensure!(store.scan(&prefix, None, 0).await?.is_empty(), "limit 0 answers rows");
    for limit in [1, 3, names.len()] {
        let mut seen: Vec<Key> = Vec::new();
        loop {
            let page = keys(store.scan(&prefix, seen.last(), limit).await?);
            ensure!(page.len() <= limit, "a scan answers more rows than the limit");
            let done = page.len() < limit;
            seen.extend(page);
            ensure!(seen.len() <= expected.len(), "paging repeats rows");
            if done {
                break;
            }
        }
        ensure!(seen == expected, "pages of {limit} miss rows");
    }
    ensure!(keys(store.scan_all(&prefix).await?) == expected, "scan_all has other keys");
    let rest = |from: usize| expected.iter().skip(from).cloned().collect::<Vec<_>>();
    if let Some(third) = expected.get(2) {
        let mut batch = Batch::new();
        batch.delete(third.clone());
        store.commit(batch).await?;
        ensure!(keys(store.scan(&prefix, Some(third), 100).await?) == rest(3), "a scan after a deleted key is wrong");
    }
    let before = Key::new(Family::Base, &["aaa"]);
    ensure!(store.scan(&prefix, Some(&before), 100).await?.len() == expected.len() - 1, "`after` before the prefix hides rows");
    let behind = Key::new(Family::Base, &["zzz"]);
    ensure!(store.scan(&prefix, Some(&behind), 100).await?.is_empty(), "`after` behind the prefix shows rows");
    let family = store.scan_all(&Key::new(Family::Base, &[])).await?;
    ensure!(family.len() == expected.len() - 1 + 3, "the scan of a whole family has {} rows", family.len());
    Ok(())
}

/// Thousands of rows in one batch, one read and one scan.
///
/// # Errors
/// What is wrong.
pub async fn large_batches_work(bench: &dyn StoreBench) -> Check {
    const ROWS: usize = 2500;
    let store = bench.store().await?;
    let keys: Vec<Key> = (0..ROWS).map(|row| Key::new(Family::Base, &["large", &format!("{row:06}")])).collect();
    let mut batch = Batch::new();
    for (row, key) in keys.iter().enumerate() {
        batch.require_absent(key.clone()).put(key.clone(), row.to_string());
    }
    let versions = store.commit(batch).await?;
    ensure!(versions.len() == ROWS, "{ROWS} puts, but {} versions", versions.len());
    let rows = store.load_many(&keys).await?;
    let right = rows
        .iter()
        .zip(versions)
        .enumerate()
        .all(|(at, (row, version))| row.as_ref().is_some_and(|row| row.value == at.to_string().as_bytes() && row.version == version));
    ensure!(rows.len() == ROWS && right, "a large batch does not come back");
    let scanned = store.scan_all(&Key::new(Family::Base, &["large"])).await?;
    ensure!(scanned.iter().map(|(key, _)| key).eq(keys.iter()), "a large scan is wrong");
    Ok(())
}
