//! The unmaintained crate `backoff` is named in one private file, and stands in no public signature.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

mod common;

use common::{code, sources};

#[test]
fn one_file_names_it() {
    let names: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| code(text).iter().any(|(_, line)| line.contains("backoff::")))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(names, ["pace/schedule.rs"]);
}

#[test]
fn nothing_of_it_is_public() {
    let (_, text) = sources().into_iter().find(|(path, _)| path == "pace/schedule.rs").unwrap();
    for (at, line) in code(&text) {
        let names_it = line.contains("Backoff") || line.contains("backoff::");
        assert!(!(names_it && line.trim_start().starts_with("pub")), "line {at} makes it public");
    }
}
