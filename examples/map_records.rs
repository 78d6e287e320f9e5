//! Maps records, one JSON object a line, from the host's form to the CRM's or back.
//!
//! `cargo run --example map_records -- --mapping FILE --crm NAME --entity NAME [--direction in|out] < in.jsonl > out.jsonl`
//!
//! Needs no CRM: names are taken as the file has them. A record that cannot be mapped goes to standard error with its line
//! and its problems, never its values; the others are written all the same. Exits with 1 if any line failed, with 2 if the
//! command line is wrong.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a program speaks to its user")]

#[path = "support/args.rs"]
mod args;

use std::io::{BufRead, Write};
use std::process::ExitCode;

use crm_sync::host::Host;
use crm_sync::mapping::{Direction, JsonError, Mapping, MappingError, MappingSet, Mode, Problem};
use crm_sync::model::Fields;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde_json::error::Category;

use args::Args;

const USAGE: &str = "usage: map_records --mapping FILE --crm NAME --entity NAME [--direction in|out] [--mode create|update]

  --mapping FILE      the mapping file (.yaml, .yml, .toml or .json)
  --crm NAME          the section of the file
  --entity NAME       the entity in that section
  --direction in|out  out (default): records of the host become records of the CRM; in: the other way
  --mode MODE         outbound only: create (default) fills defaults and asks for required fields, update does not

Reads JSON objects from standard input, one a line, and writes them to standard output.";

struct Flags {
    mapping: String,
    crm: String,
    entity: String,
    direction: Direction,
    mode: Mode,
}

fn flags(args: &Args) -> Result<Flags, String> {
    Ok(Flags {
        mapping: args.need("--mapping")?,
        crm: args.need("--crm")?,
        entity: args.need("--entity")?,
        direction: args.choice("--direction", &[("out", Direction::Out), ("in", Direction::In)])?,
        mode: args.choice("--mode", &[("create", Mode::Create), ("update", Mode::Update)])?,
    })
}

fn load(flags: &Flags) -> Result<Mapping, String> {
    let file = &flags.mapping;
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: cannot be read ({error})"))?;
    let set = MappingSet::from_path_text(&text, file).map_err(|problems| problems.to_string())?;
    let config = set.require(&flags.crm, &flags.entity).map_err(|problems| problems.to_string())?;
    let mapping = Mapping::compile(config, None).map_err(|problems| problems.to_string())?;
    if !mapping.warnings().is_empty() {
        eprintln!("{}\n", mapping.warnings());
    }
    Ok(mapping)
}

/// What is wrong with a line, without its text.
fn explain(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Data => "this is JSON and no object of fields",
        Category::Eof => "the JSON object does not end on its line",
        _ => "this is not valid JSON",
    };
    format!("column {}: {what}; write one record a line", error.column().max(1))
}

fn tell(problem: &Problem) -> String {
    let field = if problem.host.is_empty() { &problem.field } else { &problem.host };
    format!("{field}: [{}] {}", problem.code, problem.reason)
}

/// Why a line is not in the output.
enum Lost {
    Failed(String),
    /// The mapping says so: `on_error: skip_record`.
    Skipped(String),
}

impl From<MappingError> for Lost {
    fn from(error: MappingError) -> Self {
        let text = error.problems().iter().map(tell).collect::<Vec<_>>().join("; ");
        if error.skips_record() { Self::Skipped(text) } else { Self::Failed(text) }
    }
}

/// Appends the mapped line; returns what was changed on the way.
fn convert(mapping: &Mapping, flags: &Flags, line: &[u8], out: &mut Vec<u8>, now: Timestamp) -> Result<Vec<String>, Lost> {
    let (warnings, lookups) = match flags.direction {
        Direction::In => {
            let record: Fields = serde_json::from_slice(line).map_err(|error| Lost::Failed(explain(&error)))?;
            let mapped = mapping.inbound_at(&record, now)?;
            serde_json::to_writer(&mut *out, &mapped.fields).map_err(|error| Lost::Failed(error.to_string()))?;
            (mapped.warnings, mapped.lookups)
        }
        _ => match mapping.outbound_json_at(line, out, flags.mode, now) {
            Ok(mapped) => (mapped.warnings, mapped.lookups),
            Err(JsonError::Record(error)) => return Err(error.into()),
            Err(JsonError::Invalid { offset, reason }) => {
                return Err(Lost::Failed(format!("column {}: {reason}; write one JSON object a line", offset + 1)));
            }
            Err(other) => return Err(Lost::Failed(other.to_string())),
        },
    };
    let mut notes: Vec<String> = warnings.iter().map(tell).collect();
    for lookup in &lookups {
        notes.push(format!("{}: left out; the id for {} has to be looked up in the CRM", lookup.host, lookup.field));
    }
    Ok(notes)
}

#[derive(Default)]
struct Counts {
    read: u64,
    skipped: u64,
    failed: u64,
}

fn run(mapping: &Mapping, flags: &Flags, host: &Host) -> Result<Counts, String> {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::BufWriter::new(std::io::stdout().lock()));
    // Hidden where standard error is no terminal.
    let progress = ProgressBar::new_spinner()
        .with_style(ProgressStyle::with_template("{spinner} {human_pos} records, {per_sec}, {msg}").map_err(|error| error.to_string())?);
    let say = |text: String| progress.suspend(|| eprintln!("{text}"));
    let mut counts = Counts::default();
    let (mut line, mut mapped) = (Vec::new(), Vec::new());
    let mut number = 0_u64;
    loop {
        line.clear();
        mapped.clear();
        number += 1;
        if input.read_until(b'\n', &mut line).map_err(|error| format!("line {number}: cannot be read ({error})"))? == 0 {
            break;
        }
        let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line).trim_ascii_end();
        if text.trim_ascii().is_empty() {
            continue;
        }
        counts.read += 1;
        match convert(mapping, flags, text, &mut mapped, host.now()) {
            Ok(notes) => {
                mapped.push(b'\n');
                output.write_all(&mapped).map_err(|error| format!("cannot write: {error}"))?;
                for note in notes {
                    say(format!("line {number}: warning: {note}"));
                }
            }
            Err(Lost::Skipped(reason)) => {
                counts.skipped += 1;
                say(format!("line {number}: skipped: {reason}"));
            }
            Err(Lost::Failed(problem)) => {
                counts.failed += 1;
                say(format!("line {number}: {problem}"));
            }
        }
        if counts.read % 1_024 == 0 {
            progress.set_position(counts.read);
            progress.set_message(format!("{} failed", counts.failed));
        }
    }
    output.flush().map_err(|error| format!("cannot write: {error}"))?;
    progress.finish_and_clear();
    Ok(counts)
}

fn main() -> ExitCode {
    let flags = match Args::read(USAGE, &["--mapping", "--crm", "--entity", "--direction", "--mode"]) {
        Ok(Some(args)) => flags(&args),
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => Err(message),
    };
    let flags = match flags {
        Ok(flags) => flags,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let mapping = match load(&flags) {
        Ok(mapping) => mapping,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::FAILURE;
        }
    };
    let host = Host::tokio();
    let started = host.monotonic();
    match run(&mapping, &flags, &host) {
        Ok(Counts { read, skipped, failed }) => {
            let seconds = host.monotonic().saturating_sub(started).as_secs_f64();
            let rate = if seconds > 0.0 { read as f64 / seconds } else { 0.0 };
            let left_out = if skipped == 0 { String::new() } else { format!("{skipped} skipped, ") };
            eprintln!("{read} records, {left_out}{failed} failed, {seconds:.2} s, {rate:.0} records/second");
            if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
