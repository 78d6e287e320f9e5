//! Finds duplicates in a CSV file and writes the pairs that are one.
//!
//! ```text
//! cargo run --example find_duplicates -- --input tests/fixtures/leads.csv --id id \
//!     --fields first=first_name,last=last_name,email=email,phone=phone,company=company,country=country \
//!     --out pairs.csv --clusters clusters.csv --truth tests/fixtures/leads-truth.csv --json
//! ```
//!
//! `pairs.csv` gets `id_l,id_r,score,reason`, `clusters.csv` gets `id,cluster` with a line per record. With `--json` the last line
//! of standard output is one object: `records, candidates, pairs, clusters, seconds, peak_rss` (bytes; null where unknown).
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crm_sync::dedup::{DedupConfig, Deduper, Found, Prepared, Role};
use crm_sync::host::{Clock as _, SystemClock};
use indicatif::{ProgressBar, ProgressStyle};

const USAGE: &str = "usage: find_duplicates --input FILE --id COLUMN --fields role=column,... --out FILE [--threshold 0.85] [--clusters FILE] [--truth FILE] [--json]";

type Outcome<T> = Result<T, String>;

struct Options {
    input: PathBuf,
    id: String,
    fields: Vec<(Role, String)>,
    threshold: Option<f64>,
    out: PathBuf,
    clusters: Option<PathBuf>,
    truth: Option<PathBuf>,
    json: bool,
}

struct Table {
    ids: Vec<String>,
    records: Vec<Prepared>,
}

fn main() -> ExitCode {
    if std::env::args().skip(1).any(|word| word == "--help" || word == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match options(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("error: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Outcome<Options> {
    let (mut input, mut id, mut fields, mut threshold, mut out, mut clusters, mut truth, mut json) =
        (None, None, None, None, None, None, None, false);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("`{word}` needs a value; {USAGE}"));
        match word.as_str() {
            "--input" => input = Some(PathBuf::from(value()?)),
            "--id" => id = Some(value()?),
            "--fields" => fields = Some(roles(&value()?)?),
            "--threshold" => {
                let text = value()?;
                threshold =
                    Some(text.parse().map_err(|_| format!("`--threshold {text}` is not a number; give a probability such as 0.85"))?);
            }
            "--out" => out = Some(PathBuf::from(value()?)),
            "--clusters" => clusters = Some(PathBuf::from(value()?)),
            "--truth" => truth = Some(PathBuf::from(value()?)),
            "--json" => json = true,
            other => return Err(format!("unknown option `{other}`; {USAGE}")),
        }
    }
    let missing = |name: &str| format!("`{name}` is missing; {USAGE}");
    let options = Options {
        input: input.ok_or_else(|| missing("--input"))?,
        id: id.ok_or_else(|| missing("--id"))?,
        fields: fields.ok_or_else(|| missing("--fields"))?,
        threshold,
        out: out.ok_or_else(|| missing("--out"))?,
        clusters,
        truth,
        json,
    };
    let written = [Some(&options.out), options.clusters.as_ref()];
    let clash = written.iter().flatten().any(|path| **path == options.input) || options.clusters.as_ref() == Some(&options.out);
    if clash {
        return Err("`--input`, `--out` and `--clusters` must be different files".to_owned());
    }
    Ok(options)
}

fn roles(text: &str) -> Outcome<Vec<(Role, String)>> {
    let mut found = Vec::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let Some((role, column)) = part.split_once('=') else {
            return Err(format!("`--fields` has `{part}`, which is not `role=column`; write for example `email=Email,last=LastName`"));
        };
        let role: Role = role.parse().map_err(|error| format!("`--fields`: {error}"))?;
        found.push((role, column.trim().to_owned()));
    }
    if found.is_empty() {
        return Err("`--fields` names no column; write for example `email=Email,last=LastName`".to_owned());
    }
    Ok(found)
}

fn run(options: &Options) -> Outcome<()> {
    let clock = SystemClock::new();
    let start = clock.monotonic();
    let mut config = DedupConfig::default();
    if let Some(threshold) = options.threshold {
        config.threshold = threshold;
        config.review = config.review.min(threshold);
    }
    let deduper = Deduper::new(config).map_err(|error| error.to_string())?;
    let table = read(options, &deduper)?;
    let truth = options.truth.as_deref().map(|path| read_truth(path, &table.ids)).transpose()?;

    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(table.records.len() as u64) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("comparing {bar:40} {pos}/{len} records, {eta} left") {
        bar.set_style(style);
    }
    let found = deduper.find_all(&table.records, &mut |done| bar.set_position(done as u64));
    bar.finish_and_clear();

    write(options, &table, &found)?;
    let seconds = clock.monotonic().saturating_sub(start).as_secs_f64();
    println!(
        "{} records, {} pairs compared, {} duplicate pairs in {} groups, {} pairs to review, {seconds:.2} s",
        table.records.len(),
        found.candidates,
        found.pairs.len(),
        found.groups.len(),
        found.review.len()
    );
    if let Some(truth) = truth {
        println!("{}", score(&found, &truth));
    }
    if options.json {
        let line = serde_json::json!({
            "records": table.records.len(), "candidates": found.candidates, "pairs": found.pairs.len(), "clusters": found.groups.len(),
            "seconds": (seconds * 1000.0).round() / 1000.0, "peak_rss": peak_rss(),
        });
        println!("{line}");
    }
    Ok(())
}

fn open(path: &Path) -> Outcome<csv::Reader<File>> {
    let file = File::open(path).map_err(|error| format!("cannot open {}: {error}; check the path", path.display()))?;
    Ok(csv::ReaderBuilder::new().has_headers(true).from_reader(file))
}

/// The header, checked: readable text, no column twice.
fn header(reader: &mut csv::Reader<File>, path: &Path) -> Outcome<Vec<String>> {
    let raw = reader.byte_headers().map_err(|error| explain(path, &error))?.clone();
    let mut names = Vec::new();
    for (at, bytes) in raw.iter().enumerate() {
        let name = std::str::from_utf8(bytes).map_err(|_| not_utf8(path, 1, &format!("{} of the header", at + 1)))?;
        let name = name.trim_start_matches('\u{feff}').trim().to_owned();
        if let Some(first) = names.iter().position(|known| *known == name) {
            let (first, second) = (first + 1, at + 1);
            return Err(format!(
                "{}, line 1: the column `{name}` is there twice (columns {first} and {second}); rename one",
                path.display()
            ));
        }
        names.push(name);
    }
    if names.iter().all(String::is_empty) {
        return Err(format!("{} is empty; the first line must name the columns", path.display()));
    }
    Ok(names)
}

fn column(names: &[String], name: &str, path: &Path, option: &str) -> Outcome<usize> {
    names
        .iter()
        .position(|known| known == name)
        .ok_or_else(|| format!("{}, line 1: there is no column `{name}` ({option}); the columns are {}", path.display(), names.join(", ")))
}

fn read(options: &Options, deduper: &Deduper) -> Outcome<Table> {
    let path = options.input.as_path();
    let mut reader = open(path)?;
    let names = header(&mut reader, path)?;
    let id = column(&names, &options.id, path, "--id")?;
    let mut fields = Vec::new();
    for (role, name) in &options.fields {
        fields.push((*role, column(&names, name, path, &format!("--fields {role}={name}"))?));
    }
    let (mut ids, mut records, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    let mut row = csv::ByteRecord::new();
    while reader.read_byte_record(&mut row).map_err(|error| explain(path, &error))? {
        let line = row.position().map_or(0, csv::Position::line);
        let cell = |at: usize| {
            let bytes = row.get(at).unwrap_or_default();
            std::str::from_utf8(bytes).map_err(|_| not_utf8(path, line, &format!("`{}`", names.get(at).map_or("?", String::as_str))))
        };
        let key = cell(id)?.to_owned();
        if key.is_empty() {
            return Err(format!("{}, line {line}, column `{}`: the id is blank; give every record one", path.display(), options.id));
        }
        if !seen.insert(key.clone()) {
            return Err(format!(
                "{}, line {line}, column `{}`: the id `{key}` is there twice; ids must be unique",
                path.display(),
                options.id
            ));
        }
        let mut values = Vec::with_capacity(fields.len());
        for (role, at) in &fields {
            values.push((*role, cell(*at)?));
        }
        records.push(deduper.prepare(&values));
        ids.push(key);
    }
    Ok(Table { ids, records })
}

fn explain(path: &Path, error: &csv::Error) -> String {
    let line = error.position().map_or(1, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{}, line {line}: {len} columns where the header has {expected_len}; quote values that contain a comma", path.display())
        }
        _ => format!("{}, line {line}: {error}; save the file as CSV in UTF-8", path.display()),
    }
}

fn not_utf8(path: &Path, line: u64, column: &str) -> String {
    format!("{}, line {line}, column {column}: the text is not valid UTF-8; save the file as UTF-8", path.display())
}

/// The entity of each record, by place.
fn read_truth(path: &Path, ids: &[String]) -> Outcome<Vec<String>> {
    let mut reader = open(path)?;
    let names = header(&mut reader, path)?;
    if names.len() < 2 {
        return Err(format!("{}: two columns are needed, the id and the entity", path.display()));
    }
    let mut entities = HashMap::new();
    for row in reader.records() {
        let row = row.map_err(|error| explain(path, &error))?;
        if let (Some(id), Some(entity)) = (row.get(0), row.get(1)) {
            entities.insert(id.to_owned(), entity.to_owned());
        }
    }
    ids.iter().map(|id| entities.remove(id).ok_or_else(|| format!("{}: the id `{id}` of the input is missing", path.display()))).collect()
}

fn score(found: &Found, truth: &[String]) -> String {
    let right = found.pairs.iter().filter(|pair| truth.get(pair.a) == truth.get(pair.b)).count();
    let mut sizes: HashMap<&str, usize> = HashMap::new();
    for entity in truth {
        *sizes.entry(entity).or_insert(0) += 1;
    }
    let all: usize = sizes.values().map(|size| size * (size - 1) / 2).sum();
    let share = |part: usize, whole: usize| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let (precision, recall) = (share(right, found.pairs.len()), share(right, all));
    let f1 = if precision + recall == 0.0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) };
    format!("precision {precision:.4}, recall {recall:.4}, F1 {f1:.4} over the pairs inside groups ({all} true pairs)")
}

/// Writes beside the target and renames at the end: a file is whole or not there.
fn write(options: &Options, table: &Table, found: &Found) -> Outcome<()> {
    let id = |at: usize| table.ids.get(at).map_or("", String::as_str);
    let mut pairs = vec![["id_l".to_owned(), "id_r".to_owned(), "score".to_owned(), "reason".to_owned()]];
    for pair in &found.pairs {
        let reasons: Vec<String> = pair.reasons.iter().filter(|reason| reason.rule != "prior").map(ToString::to_string).collect();
        pairs.push([id(pair.a).to_owned(), id(pair.b).to_owned(), format!("{:.6}", pair.score), reasons.join("; ")]);
    }
    let out = part(&options.out, &pairs)?;
    let mut parts = vec![(out, options.out.clone())];
    if let Some(path) = &options.clusters {
        let mut home: Vec<usize> = (0..table.ids.len()).collect();
        for group in &found.groups {
            for (member, first) in group.iter().zip(std::iter::repeat(group.first())) {
                if let (Some(place), Some(first)) = (home.get_mut(*member), first) {
                    *place = *first;
                }
            }
        }
        let mut rows = vec![["id".to_owned(), "cluster".to_owned()]];
        rows.extend(home.iter().enumerate().map(|(at, first)| [id(at).to_owned(), id(*first).to_owned()]));
        match part(path, &rows) {
            Ok(done) => parts.push((done, path.clone())),
            Err(error) => {
                for (done, _) in parts {
                    let _ = std::fs::remove_file(done);
                }
                return Err(error);
            }
        }
    }
    for (from, to) in parts {
        std::fs::rename(&from, &to).map_err(|error| format!("cannot write {}: {error}", to.display()))?;
    }
    Ok(())
}

fn part<const N: usize>(path: &Path, rows: &[[String; N]]) -> Outcome<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let beside = PathBuf::from(name);
    let fail = |error: &dyn std::fmt::Display| {
        let _ = std::fs::remove_file(&beside);
        format!("cannot write {}: {error}; check that the folder exists and has room", path.display())
    };
    let file = File::create(&beside).map_err(|error| fail(&error))?;
    let mut writer = csv::Writer::from_writer(file);
    for row in rows {
        writer.write_record(row).map_err(|error| fail(&error))?;
    }
    let mut file = writer.into_inner().map_err(|error| fail(&error))?;
    file.flush().map_err(|error| fail(&error))?;
    Ok(beside)
}

/// The most memory the process has held, in bytes, where the system tells.
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
