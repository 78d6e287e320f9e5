//! Writes a made-up CSV whose duplicates are known: for trying `find_duplicates`, and for measuring it at any size.
//!
//! ```text
//! cargo run --release --example make_duplicates -- --kind people --records 1000000 --out people.csv --truth truth.csv
//! ```
//!
//! Kinds: `people` (of companies), `private` (birth date, address, identifier), `companies`. Dirt: `typing` (default), `scanning`,
//! `hearing`. The same options give the same bytes, on every machine.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a program talks to its user; the tables are fixed"
)]

#[path = "support/made_up.rs"]
mod made_up;

use std::path::PathBuf;
use std::process::ExitCode;

use made_up::{Dirt, Kind, Stock, make};

const USAGE: &str = "usage: make_duplicates --records N --out FILE --truth FILE [--kind people|private|companies] [--dirt typing|scanning|hearing] [--seed N]";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("error: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut words: impl Iterator<Item = String>) -> Result<(), String> {
    let (mut kind, mut dirt, mut count, mut seed) = (Kind::People, Dirt::Typing, None, 7);
    let (mut out, mut truth) = (None, None);
    while let Some(word) = words.next() {
        if matches!(word.as_str(), "--help" | "-h") {
            println!("{USAGE}");
            return Ok(());
        }
        let value = words.next().ok_or_else(|| format!("`{word}` needs a value; {USAGE}"))?;
        let number = || value.parse().map_err(|_| format!("`{word} {value}` is not a whole number"));
        match (word.as_str(), value.as_str()) {
            ("--kind", "people") => kind = Kind::People,
            ("--kind", "private") => kind = Kind::Private,
            ("--kind", "companies") => kind = Kind::Companies,
            ("--dirt", "typing") => dirt = Dirt::Typing,
            ("--dirt", "scanning") => dirt = Dirt::Scanning,
            ("--dirt", "hearing") => dirt = Dirt::Hearing,
            ("--records", _) => count = Some(number()?),
            ("--seed", _) => seed = number()?,
            ("--out", _) => out = Some(PathBuf::from(value)),
            ("--truth", _) => truth = Some(PathBuf::from(value)),
            _ => return Err(format!("unknown option `{word} {value}`; {USAGE}")),
        }
    }
    let (Some(count), Some(out), Some(truth)) = (count, out, truth) else { return Err(USAGE.to_owned()) };
    let fail = |error: &dyn std::fmt::Display| format!("cannot write or read: {error}; check the paths");
    let stock = Stock::read(env!("CARGO_MANIFEST_DIR")).map_err(|error| fail(&error))?;
    let mut records = csv::Writer::from_path(out).map_err(|error| fail(&error))?;
    let mut entities = csv::Writer::from_path(truth).map_err(|error| fail(&error))?;
    let header: &[&str] = match kind {
        Kind::People => &made_up::PEOPLE,
        Kind::Private => &made_up::PRIVATE,
        Kind::Companies => &made_up::COMPANIES,
    };
    let mut made = records.write_record(header).and(entities.write_record(["id", "entity"]));
    make(kind, dirt, count as usize, seed, &stock, &mut |cells, entity| {
        if made.is_ok() {
            made = records.write_record(cells).and_then(|()| entities.write_record([cells[0].as_str(), &entity.to_string()]));
        }
    });
    made.map_err(|error| fail(&error))?;
    records.flush().and(entities.flush()).map_err(|error| fail(&error))
}
