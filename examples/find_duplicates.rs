//! Finds duplicates in a CSV file, or the records two files have in common, and writes the pairs that are one.
//!
//! ```text
//! cargo run --release --example find_duplicates -- --input tests/fixtures/leads.csv --id id \
//!     --fields first=first_name,last=last_name,email=email,phone=phone,company=company,country=country \
//!     --out pairs.csv --clusters clusters.csv --report report.html --truth tests/fixtures/leads-truth.csv --json
//! ```
//!
//! `pairs.csv` gets `id_l,id_r,score,reason`, `clusters.csv` gets `id,cluster` with a line per record, the report is one HTML page.
//! Comma, semicolon, tab and bar are recognised as delimiters. The weights are learned from the file, unless `--no-train` is given.
//! With `--link` the columns of the second file are the same, and only pairs across the files are looked for. With `--json` the
//! last line of standard output is one object: `records, candidates, pairs, clusters, seconds, peak_rss` (bytes; null where unknown).
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::hash::{Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader, BufWriter, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use crm_sync::dedup::{DedupConfig, Deduper, Duplicates, Gather, Intake, Likely, Part, Records, Role, Workers};
use crm_sync::host::{Clock as _, SystemClock};
use indicatif::{ProgressBar, ProgressStyle};

/// Millions of small texts are made and dropped on several threads: the system's allocator takes a tenth of the whole time for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: find_duplicates --input FILE [--link FILE] --id COLUMN --fields role=column,... --out FILE [--threshold 0.85] [--clusters FILE] [--report FILE] [--truth FILE] [--no-train] [--threads N] [--json]";
/// Rows that go from reading to normalising in one piece.
const BATCH: usize = 2_000;
/// Pairs whose reasons one thread writes down before they go to the file.
const ROUND: usize = 8_192;

type Outcome<T> = Result<T, String>;

#[derive(Default)]
struct Options {
    input: PathBuf,
    link: Option<PathBuf>,
    id: String,
    fields: Vec<(Role, String)>,
    threshold: Option<f64>,
    out: PathBuf,
    clusters: Option<PathBuf>,
    report: Option<PathBuf>,
    truth: Option<PathBuf>,
    threads: usize,
    untrained: bool,
    json: bool,
}

struct Table {
    ids: Vec<String>,
    records: Records,
    /// Records of the first file; the others came with `--link`.
    first: usize,
}

/// Threads lent to the library for as long as it works, and a bar on a terminal.
struct Threads {
    count: usize,
    bar: ProgressBar,
}

impl Workers for Threads {
    fn run(&self, pieces: usize, work: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..self.count.min(pieces) {
                scope.spawn(|| {
                    loop {
                        let piece = next.fetch_add(1, Ordering::Relaxed);
                        if piece >= pieces {
                            break;
                        }
                        work(piece);
                    }
                });
            }
        });
    }

    fn progress(&self, from: f64, _: f64) {
        self.bar.set_position((from * 100.0) as u64);
    }
}

fn main() -> ExitCode {
    if std::env::args().skip(1).any(|word| word == "--help" || word == "-h") {
        // Whoever reads it may have seen enough: `--help | head`.
        let _ = writeln!(std::io::stdout(), "{USAGE}");
        return ExitCode::SUCCESS;
    }
    match options(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("error: {sentence}");
            ExitCode::from(2)
        }
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Outcome<Options> {
    let mut options = Options { threads: std::thread::available_parallelism().map_or(2, std::num::NonZero::get), ..Options::default() };
    let mut given = HashSet::new();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("`{word}` needs a value; {USAGE}"));
        match word.as_str() {
            "--input" => options.input = PathBuf::from(value()?),
            "--link" => options.link = Some(PathBuf::from(value()?)),
            "--id" => options.id = value()?,
            "--fields" => options.fields = roles(&value()?)?,
            "--threshold" => {
                let text = value()?;
                let number = text.parse().map_err(|_| format!("`--threshold {text}` is not a number; give a probability such as 0.85"))?;
                options.threshold = Some(number);
            }
            "--out" => options.out = PathBuf::from(value()?),
            "--clusters" => options.clusters = Some(PathBuf::from(value()?)),
            "--report" => options.report = Some(PathBuf::from(value()?)),
            "--truth" => options.truth = Some(PathBuf::from(value()?)),
            "--threads" => {
                let text = value()?;
                let number = text.parse().ok().filter(|count| *count > 0);
                options.threads = number.ok_or_else(|| format!("`--threads {text}` is not a number above 0"))?;
            }
            "--no-train" => options.untrained = true,
            "--json" => options.json = true,
            other => return Err(format!("unknown option `{other}`; {USAGE}")),
        }
        given.insert(word);
    }
    if let Some(missing) = ["--input", "--id", "--fields", "--out"].iter().find(|name| !given.contains(**name)) {
        return Err(format!("`{missing}` is missing; {USAGE}"));
    }
    let read = [Some(&options.input), options.link.as_ref(), options.truth.as_ref()];
    let written: Vec<&PathBuf> = [Some(&options.out), options.clusters.as_ref(), options.report.as_ref()].into_iter().flatten().collect();
    let twice = written.iter().enumerate().any(|(at, path)| written.iter().skip(at + 1).any(|other| other == path));
    if twice || written.iter().any(|path| read.iter().flatten().any(|other| other == path)) {
        return Err("`--input`, `--link`, `--truth`, `--out`, `--clusters` and `--report` must be different files".to_owned());
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
    let table = read(options)?;
    let truth = options.truth.as_deref().map(|path| read_truth(path, &table.ids)).transpose()?;

    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(100) } else { ProgressBar::hidden() };
    let named = |what: &str| {
        if let Ok(style) = ProgressStyle::with_template(&format!("{what} {{bar:40}} {{percent}} %, {{elapsed}}")) {
            bar.set_style(style);
        }
    };
    let threads = Threads { count: options.threads, bar: bar.clone() };
    named("comparing");
    let (records, across) = (&table.records, options.link.is_some());
    let (deduper, found) = match (options.untrained, across) {
        (true, false) => (deduper.clone(), deduper.find(records, &threads)),
        (true, true) => (deduper.clone(), deduper.link(records, &threads)),
        (false, false) => deduper.train_and_find(records, &threads).map_err(|error| error.to_string())?,
        (false, true) => deduper.train_and_link(records, &threads).map_err(|error| error.to_string())?,
    };
    bar.finish_and_clear();

    write(options, &table, &deduper, &found)?;
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

fn open(path: &Path) -> Outcome<csv::Reader<BufReader<File>>> {
    let fail = |error: std::io::Error| format!("cannot open {}: {error}; check the path", path.display());
    let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(fail)?);
    let start = file.fill_buf().map_err(fail)?;
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    // The header tells the delimiter: the one that stands there most often, outside quotes.
    let mut quoted = false;
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0), (b'|', 0)];
    for byte in line {
        quoted ^= *byte == b'"';
        if let Some((_, count)) = counts.iter_mut().find(|(mark, _)| mark == byte && !quoted) {
            *count += 1;
        }
    }
    let delimiter = counts.iter().rev().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > 0).map_or(b',', |(mark, _)| *mark);
    if start.starts_with(b"\xef\xbb\xbf") {
        file.consume(3);
    }
    Ok(csv::ReaderBuilder::new().has_headers(true).delimiter(delimiter).from_reader(file))
}

/// The header, checked: readable text, no column twice.
fn header(reader: &mut csv::Reader<BufReader<File>>, path: &Path) -> Outcome<Vec<String>> {
    let raw = reader.byte_headers().map_err(|error| broken(path, &error))?.clone();
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

fn read(options: &Options) -> Outcome<Table> {
    let mut table = Table { ids: Vec::new(), records: Records::new(), first: 0 };
    let (mut seen, mut all) = (HashSet::new(), Gather::new());
    read_file(options, (&options.input, 0), (&mut table, &mut all), &mut seen)?;
    table.first = table.ids.len();
    if let Some(link) = &options.link {
        seen.clear();
        read_file(options, (link, 1), (&mut table, &mut all), &mut seen)?;
    }
    table.records = all.into_records();
    Ok(table)
}

/// Rows as read, in one piece of memory: the id and the named columns only.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Where each cell ends.
    ends: Vec<usize>,
    /// The line of each row.
    lines: Vec<u64>,
}

impl Batch {
    fn rows(&self, width: usize) -> impl Iterator<Item = (u64, Vec<&[u8]>)> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let bytes = &self.bytes;
        let mut cells = starts.zip(&self.ends).map(move |(start, end)| bytes.get(start..*end).unwrap_or_default());
        self.lines.iter().map(move |line| (*line, cells.by_ref().take(width).collect()))
    }
}

/// Rows of one batch after normalising: line and id of each, and the records.
type Made = (Vec<(u64, String)>, Part);

/// One thread reads, the others normalise, this one puts the parts together in the order of the file.
fn read_file(
    options: &Options,
    (path, side): (&Path, usize),
    (table, all): (&mut Table, &mut Gather),
    seen: &mut HashSet<u64>,
) -> Outcome<()> {
    let mut reader = open(path)?;
    let names = header(&mut reader, path)?;
    let id = column(&names, &options.id, path, "--id")?;
    let mut fields = Vec::new();
    for (role, name) in &options.fields {
        fields.push((*role, column(&names, name, path, &format!("--fields {role}={name}"))?));
    }
    let names = &names;
    let fields = &fields;
    let columns: Vec<usize> = std::iter::once(id).chain(fields.iter().map(|(_, at)| *at)).collect();
    let columns = &columns;
    let text = |bytes: &[u8], line: u64, at: usize| -> Outcome<()> {
        let named = || names.get(at).map_or("?", String::as_str);
        std::str::from_utf8(bytes).map(|_| ()).map_err(|_| not_utf8(path, line, &format!("`{}`", named())))
    };
    let prepare = |intake: &mut Intake, batch: &Batch| -> Outcome<Made> {
        let mut keys = Vec::with_capacity(batch.lines.len());
        let mut values = Vec::with_capacity(fields.len());
        for (line, cells) in batch.rows(columns.len()) {
            values.clear();
            for (cell, at) in cells.iter().zip(columns) {
                text(cell, line, *at)?;
            }
            let mut cells = cells.into_iter().map(|cell| std::str::from_utf8(cell).unwrap_or_default());
            keys.push((line, cells.next().unwrap_or_default().to_owned()));
            values.extend(fields.iter().map(|(role, _)| *role).zip(cells));
            if side == 0 { intake.push(&values) } else { intake.push_other(&values) }
        }
        Ok((keys, intake.take()))
    };
    let prepare = &prepare;
    std::thread::scope(|scope| {
        let lanes = options.threads.max(1);
        let mut full = Vec::new();
        let mut empty = Vec::new();
        for lane in 0..lanes {
            let (to, rows) = sync_channel::<Batch>(2);
            let (made, records) = sync_channel(2);
            empty.push(to);
            full.push(records);
            scope.spawn(move || {
                // Each file has lanes of its own.
                let mut intake = Intake::new(side * lanes + lane);
                for batch in rows {
                    if made.send(prepare(&mut intake, &batch)).is_err() {
                        return;
                    }
                }
            });
        }
        let reading = scope.spawn(move || -> Outcome<()> {
            let mut lane = empty.iter().cycle();
            let mut batch = Batch::default();
            let mut row = csv::ByteRecord::new();
            let mut send = |batch: Batch| lane.next().is_some_and(|lane| lane.send(batch).is_ok());
            while reader.read_byte_record(&mut row).map_err(|error| broken(path, &error))? {
                batch.lines.push(row.position().map_or(0, csv::Position::line));
                for at in columns {
                    batch.bytes.extend_from_slice(row.get(*at).unwrap_or_default());
                    batch.ends.push(batch.bytes.len());
                }
                if batch.lines.len() == BATCH {
                    let room = Batch {
                        bytes: Vec::with_capacity(batch.bytes.len() * 5 / 4),
                        ends: Vec::with_capacity(batch.ends.len()),
                        lines: Vec::with_capacity(BATCH),
                    };
                    if !send(std::mem::replace(&mut batch, room)) {
                        return Ok(());
                    }
                }
            }
            send(batch);
            Ok(())
        });
        let mut filed = Ok(());
        for lane in full.iter().cycle() {
            let Ok(batch) = lane.recv() else { break };
            let (keys, part) = match batch {
                Ok(made) => made,
                Err(sentence) => {
                    filed = Err(sentence);
                    break;
                }
            };
            filed = keys.into_iter().try_for_each(|key| file(options, path, key, table, seen));
            if filed.is_err() {
                break;
            }
            all.add(&part);
        }
        drop(full);
        let read = reading.join().unwrap_or_else(|_| Err(format!("{}: reading stopped", path.display())));
        filed.and(read)
    })
}

fn file(options: &Options, path: &Path, (line, key): (u64, String), table: &mut Table, seen: &mut HashSet<u64>) -> Outcome<()> {
    if key.is_empty() {
        return Err(format!("{}, line {line}, column `{}`: the id is blank; give every record one", path.display(), options.id));
    }
    // Hashes take less room than the ids; where two are alike the ids themselves decide.
    let mut hasher = std::hash::DefaultHasher::new();
    key.hash(&mut hasher);
    if !seen.insert(hasher.finish()) && table.ids.iter().skip(table.first).any(|known| *known == key) {
        return Err(format!("{}, line {line}, column `{}`: the id `{key}` is there twice; ids must be unique", path.display(), options.id));
    }
    table.ids.push(key);
    Ok(())
}

fn broken(path: &Path, error: &csv::Error) -> String {
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
        let row = row.map_err(|error| broken(path, &error))?;
        if let (Some(id), Some(entity)) = (row.get(0), row.get(1)) {
            entities.insert(id.to_owned(), entity.to_owned());
        }
    }
    ids.iter().map(|id| entities.remove(id).ok_or_else(|| format!("{}: the id `{id}` of the input is missing", path.display()))).collect()
}

fn score(found: &Duplicates, truth: &[String]) -> String {
    let right = found.pairs.iter().filter(|pair| truth.get(pair.a as usize) == truth.get(pair.b as usize)).count();
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

/// Writes beside the targets and renames at the end: a file is whole or not there.
fn write(options: &Options, table: &Table, deduper: &Deduper, found: &Duplicates) -> Outcome<()> {
    let id = |at: u32| table.ids.get(at as usize).map_or("", String::as_str);
    let mut parts: Vec<(PathBuf, PathBuf)> = Vec::new();
    let made = (|| -> Outcome<()> {
        parts.push((
            part(&options.out, &mut |out| {
                out.write_all(b"id_l,id_r,score,reason\n")?;
                // In rounds, so that the reasons of millions of pairs are never in memory at once.
                for pairs in found.pairs.chunks(options.threads * ROUND) {
                    for lines in explain(options, table, deduper, found, pairs) {
                        out.write_all(&lines)?;
                    }
                }
                Ok(())
            })?,
            options.out.clone(),
        ));
        if let Some(path) = &options.clusters {
            let mut home: Vec<u32> = (0..table.ids.len() as u32).collect();
            for group in &found.groups {
                for member in group {
                    if let (Some(place), Some(first)) = (home.get_mut(*member as usize), group.first()) {
                        *place = *first;
                    }
                }
            }
            let done = part(path, &mut |out| {
                let mut writer = csv::Writer::from_writer(out);
                writer.write_record(["id", "cluster"])?;
                for (at, first) in (0_u32..).zip(&home) {
                    writer.write_record([id(at), id(*first)])?;
                }
                writer.flush()
            })?;
            parts.push((done, path.clone()));
        }
        if let Some(path) = &options.report {
            let page = found.report(deduper, &table.records, &|at| id(at).to_owned());
            parts.push((part(path, &mut |out| out.write_all(page.as_bytes()))?, path.clone()));
        }
        Ok(())
    })();
    if let Err(error) = made {
        for (done, _) in parts {
            let _ = std::fs::remove_file(done);
        }
        return Err(error);
    }
    for (from, to) in parts {
        std::fs::rename(&from, &to).map_err(|error| format!("cannot write {}: {error}", to.display()))?;
    }
    Ok(())
}

/// The lines of some pairs, made on all threads.
fn explain(options: &Options, table: &Table, deduper: &Deduper, found: &Duplicates, pairs: &[Likely]) -> Vec<Vec<u8>> {
    let id = |at: u32| table.ids.get(at as usize).map_or("", String::as_str);
    let lines = |pairs: &[Likely]| {
        let mut writer = csv::Writer::from_writer(Vec::with_capacity(pairs.len() * 256));
        let mut reason = String::new();
        for pair in pairs {
            reason.clear();
            let score = found.describe(deduper, &table.records, (pair.a, pair.b), &mut reason);
            // Writing into memory does not fail.
            let _ = writer.write_record([id(pair.a), id(pair.b), &format!("{score:.6}"), &reason]);
        }
        writer.into_inner().unwrap_or_default()
    };
    let lines = &lines;
    std::thread::scope(|scope| {
        let share = pairs.len().div_ceil(options.threads.max(1)).max(1);
        let hands: Vec<_> = pairs.chunks(share).map(|pairs| scope.spawn(move || lines(pairs))).collect();
        hands.into_iter().map(|hand| hand.join().unwrap_or_default()).collect()
    })
}

fn part(path: &Path, fill: &mut dyn FnMut(&mut BufWriter<File>) -> std::io::Result<()>) -> Outcome<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let beside = PathBuf::from(name);
    let made = File::create(&beside).map(BufWriter::new).and_then(|mut out| {
        fill(&mut out)?;
        out.flush()
    });
    made.map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        format!("cannot write {}: {error}; check that the folder exists and has room", path.display())
    })?;
    Ok(beside)
}

/// The most memory the process has held, in bytes, where the system tells.
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
