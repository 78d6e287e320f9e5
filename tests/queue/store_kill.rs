//! A process that commits without pause is killed again and again; what it was told is done must be there, and of each batch
//! all or nothing.
//!
//! The parent starts this test binary again as a child. The child prints a line per acknowledged batch; the parent kills it
//! (SIGKILL) a seeded while after a seeded number of lines.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crm_sync::host::{Entropy, Host, SeededEntropy};
use crm_sync::store::{Batch, Family, Key, SqliteOptions, SqliteStore, Store, StoreExt, Synchronous};

const FILE: &str = "CRM_SYNC_KILL_FILE";
const MODE: &str = "CRM_SYNC_KILL_MODE";
const ROUNDS: u64 = 24;
const SEED: u64 = 7;

/// How many rows a batch has: known to both sides, different from batch to batch.
fn rows_of(number: u64) -> u64 {
    1 + number * 7 % 40
}

fn head_key() -> Key {
    Key::new(Family::Cursors, &["head"])
}

fn row_key(number: u64, row: u64) -> Key {
    Key::new(Family::Base, &["batch", &format!("{number:08}"), &row.to_string()])
}

/// One big row in each batch that spans pages, so that a torn write would show.
fn value_of(number: u64, row: u64) -> Vec<u8> {
    let length = if row == 0 { 20_000 } else { 100 };
    format!("{number}/{row};").into_bytes().into_iter().cycle().take(length).collect()
}

async fn open(path: &Path, synchronous: Synchronous) -> SqliteStore {
    let options = SqliteOptions::default().synchronous(synchronous);
    let store = SqliteStore::open_with(path, Host::tokio(), &options).unwrap();
    store.migrate().await.unwrap();
    store
}

#[tokio::test]
#[ignore = "run as a child process, and killed, by acknowledged_commits_survive_a_kill"]
async fn child() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let synchronous = if std::env::var(MODE).is_ok_and(|mode| mode == "full") { Synchronous::Full } else { Synchronous::Normal };
    let store = open(Path::new(&path), synchronous).await;
    let mut out = std::io::stdout();
    loop {
        let head = store.load_json::<u64>(&head_key()).await.unwrap();
        let number = head.map_or(1, |(number, _)| number + 1);
        let mut batch = Batch::new();
        match head {
            Some((_, version)) => batch.require_version(head_key(), version),
            None => batch.require_absent(head_key()),
        };
        batch.put_json(head_key(), &number).unwrap();
        for row in 0..rows_of(number) {
            batch.insert(row_key(number, row), value_of(number, row)).unwrap();
        }
        // An older batch loses its rows: deletes must be all or nothing too.
        if number % 5 == 0 {
            for row in 0..rows_of(number - 4) {
                batch.delete(row_key(number - 4, row));
            }
        }
        store.commit(batch).await.unwrap();
        // Straight to the pipe: the test harness does not hold it back, and a killed process leaves nothing in a buffer.
        out.write_all(format!("done {number}\n").as_bytes()).unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test]
async fn acknowledged_commits_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("killed.db");
    let random = SeededEntropy::new(SEED);
    let below = |limit: u64| {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        u64::from_le_bytes(bytes) % limit
    };
    let (mut newest, mut ahead, mut killed_by_us) = (0, 0, 0);
    for round in 0..ROUNDS {
        let mode = if round % 2 == 0 { "full" } else { "normal" };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["store_kill::child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(FILE, &path)
            .env(MODE, mode)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = newest;
        let mut note = |line: &str| {
            // The harness writes its own words into the same stream.
            if let Some((_, number)) = line.split_once("done ")
                && let Ok(number) = number.parse()
            {
                acknowledged = number;
                return true;
            }
            false
        };
        let (until, pause) = (1 + below(25), Duration::from_micros(below(12_000)));
        let mut heard = 0;
        while heard < until {
            let line = lines.next().unwrap_or_else(|| panic!("round {round}: the child ended by itself")).unwrap();
            heard += u64::from(note(&line));
        }
        tokio::time::sleep(pause).await;
        child.kill().unwrap();
        let status = child.wait().unwrap();
        killed_by_us += u64::from(std::os::unix::process::ExitStatusExt::signal(&status) == Some(9));
        // What it had said before it died counts; half a line does not.
        for line in lines.map_while(Result::ok) {
            note(&line);
        }

        let store = open(&path, Synchronous::Full).await;
        store.check().await.unwrap();
        let head = store.load_json::<u64>(&head_key()).await.unwrap().map_or(0, |(number, _)| number);
        assert!(head >= acknowledged, "round {round}: batch {acknowledged} was acknowledged, the newest is {head}");
        assert!(head <= acknowledged + 1, "round {round}: batch {head} is there, but {} was never acknowledged", head - 1);
        ahead += u64::from(head > acknowledged);

        let mut found: BTreeMap<u64, u64> = BTreeMap::new();
        for (key, row) in store.scan_all(&Key::new(Family::Base, &["batch"])).await.unwrap() {
            let parts = key.parts().unwrap();
            let (number, at) = (parts[1].parse().unwrap(), parts[2].parse().unwrap());
            assert!(row.value == value_of(number, at), "round {round}: {key} has another value");
            *found.entry(number).or_default() += 1;
        }
        let expected: BTreeMap<u64, u64> =
            (1..=head).filter(|number| number % 5 != 1 || number + 4 > head).map(|number| (number, rows_of(number))).collect();
        assert_eq!(found, expected, "round {round}: a batch is there in part");
        newest = head;
    }
    println!("{killed_by_us} kills, {newest} batches, {ahead} of them done and not yet acknowledged");
    assert_eq!(killed_by_us, ROUNDS);
    assert!(newest >= ROUNDS);
}
