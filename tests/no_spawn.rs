//! The library is a guest: it spawns no task, starts no thread, reads no clock and draws no randomness of its own.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

mod common;

use common::{code, sources};

#[test]
fn only_the_host_folder_touches_the_machine() {
    let forbidden = [
        "tokio::spawn",
        "task::spawn",
        "spawn_blocking",
        "spawn_local",
        "thread::spawn",
        "thread::Builder",
        "thread::sleep",
        "SystemTime::now",
        "Instant::now",
        "Timestamp::now",
        "Zoned::now",
        "getrandom::",
        "Runtime::new",
        "block_on(",
    ];
    let mut found = Vec::new();
    let mut read = 0;
    for (path, text) in sources() {
        if path.starts_with("host/") {
            continue;
        }
        read += 1;
        for (at, line) in code(&text) {
            found.extend(forbidden.iter().filter(|word| line.contains(*word)).map(|word| format!("src/{path}:{at}: {word}")));
        }
    }
    assert!(read > 10, "the sources were not found");
    assert!(found.is_empty(), "only src/host may do this:\n{}", found.join("\n"));
}

#[test]
fn the_host_folder_does_touch_it() {
    // If this fails the search above finds nothing anywhere.
    let host = sources().into_iter().filter(|(path, _)| path.starts_with("host/"));
    let text: String = host.flat_map(|(_, text)| code(&text).into_iter().map(|(_, line)| line).collect::<Vec<_>>()).collect();
    assert!(text.contains("Instant::now") && text.contains("spawn_blocking") && text.contains("getrandom::"));
}
