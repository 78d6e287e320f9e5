//! Maps records, one JSON object a line, from the host's form to the CRM's or back.
//!
//! `cargo run --example map_records -- --mapping FILE --crm NAME --entity NAME [--direction in|out] < in.jsonl > out.jsonl`
//!
//! Needs no CRM: names are taken as the file has them. A record that cannot be mapped goes to standard error with its line
//! and its problems, never its values; the others are written all the same. Exits with 1 if any line failed, with 2 if the
//! command line is wrong.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a program speaks to its user")]

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use crm_sync::host::Host;
use crm_sync::mapping::{Direction, Mapping, MappingSet, Mode, Problem};
use crm_sync::model::Fields;
use jiff::Timestamp;
use serde_json::error::Category;

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

/// `None` if the user asked for help.
fn flags(mut args: impl Iterator<Item = String>) -> Result<Option<Flags>, String> {
    let (mut mapping, mut crm, mut entity, mut direction, mut mode) = (None, None, None, None, None);
    while let Some(flag) = args.next() {
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (flag, None),
        };
        let slot = match name.as_str() {
            "--help" | "-h" => return Ok(None),
            "--mapping" => &mut mapping,
            "--crm" => &mut crm,
            "--entity" => &mut entity,
            "--direction" => &mut direction,
            "--mode" => &mut mode,
            _ => return Err(format!("unknown argument {name}\n\n{USAGE}")),
        };
        let value = value.or_else(|| args.next()).filter(|value| !value.is_empty());
        *slot = Some(value.ok_or_else(|| format!("{name} needs a value\n\n{USAGE}"))?);
    }
    let needed = |value: Option<String>, name: &str| value.ok_or_else(|| format!("{name} is missing\n\n{USAGE}"));
    Ok(Some(Flags {
        mapping: needed(mapping, "--mapping")?,
        crm: needed(crm, "--crm")?,
        entity: needed(entity, "--entity")?,
        direction: match direction.as_deref() {
            None | Some("out") => Direction::Out,
            Some("in") => Direction::In,
            Some(other) => return Err(format!("--direction takes in or out, not {other}")),
        },
        mode: match mode.as_deref() {
            None | Some("create") => Mode::Create,
            Some("update") => Mode::Update,
            Some(other) => return Err(format!("--mode takes create or update, not {other}")),
        },
    }))
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

/// The mapped line and what was changed on the way, or what is wrong with it.
fn convert(mapping: &Mapping, flags: &Flags, line: &str, now: Timestamp) -> Result<(String, Vec<String>), String> {
    let record: Fields = serde_json::from_str(line).map_err(|error| explain(&error))?;
    let mapped = match flags.direction {
        Direction::In => mapping.inbound_at(&record, now),
        _ => mapping.outbound_at(&record, flags.mode, now),
    };
    let mapped = mapped.map_err(|error| error.problems().iter().map(tell).collect::<Vec<_>>().join("; "))?;
    let mut notes: Vec<String> = mapped.warnings.iter().map(tell).collect();
    for lookup in &mapped.lookups {
        notes.push(format!("{}: left out; the id for {} has to be looked up in the CRM", lookup.host, lookup.field));
    }
    let text = serde_json::to_string(&mapped.fields).map_err(|error| error.to_string())?;
    Ok((text, notes))
}

/// How many lines were read, and how many of them failed.
fn run(mapping: &Mapping, flags: &Flags, host: &Host) -> Result<(u64, u64), String> {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::BufWriter::new(std::io::stdout().lock()));
    let progress = std::io::stderr().is_terminal();
    let mut told = host.monotonic();
    let (mut number, mut read, mut failed) = (0_u64, 0_u64, 0_u64);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        number += 1;
        if input.read_until(b'\n', &mut bytes).map_err(|error| format!("line {number}: cannot be read ({error})"))? == 0 {
            break;
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        read += 1;
        let text = std::str::from_utf8(&bytes).map_err(|_| "the line is not valid UTF-8; save the file as UTF-8".to_owned());
        let text = text.map(|text| text.strip_prefix('\u{feff}').unwrap_or(text).trim_end());
        match text.and_then(|text| convert(mapping, flags, text, host.now())) {
            Ok((line, notes)) => {
                writeln!(output, "{line}").map_err(|error| format!("cannot write: {error}"))?;
                for note in notes {
                    eprintln!("line {number}: warning: {note}");
                }
            }
            Err(problem) => {
                failed += 1;
                eprintln!("line {number}: {problem}");
            }
        }
        if progress && host.monotonic().saturating_sub(told) > Duration::from_millis(200) {
            told = host.monotonic();
            eprint!("\r{read} records, {failed} failed");
        }
    }
    output.flush().map_err(|error| format!("cannot write: {error}"))?;
    if progress {
        eprint!("\r");
    }
    Ok((read, failed))
}

fn main() -> ExitCode {
    let flags = match flags(std::env::args().skip(1)) {
        Ok(Some(flags)) => flags,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
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
        Ok((read, failed)) => {
            let seconds = host.monotonic().saturating_sub(started).as_secs_f64();
            let rate = if seconds > 0.0 { read as f64 / seconds } else { 0.0 };
            eprintln!("{read} records, {failed} failed, {seconds:.2} s, {rate:.0} records/second");
            if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
