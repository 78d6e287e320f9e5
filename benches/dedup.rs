//! Finding duplicates: the string measure against other crates, scored pairs in a second, growth, lookups, and how good it all is.
//!
//! Criterion measures what is small; then come two tables: the quality on nine made-up sets whose truth is known, and lookups among
//! a million records. `-- tables` prints these alone, any other word picks measurements by name and leaves them out. Growth of time
//! and memory is in `find_duplicates --json`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench is a program of its own and reads the clock"
)]

#[allow(dead_code, reason = "the names of the columns are for files")]
#[path = "../examples/support/made_up.rs"]
mod made_up;

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group};
use crm_sync::dedup::{DedupConfig, Deduper, InPlace, Index, Prepared, Records, Role, jaro_winkler};
use made_up::{Dirt, Kind, Stock, make};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

const PEOPLE: [Role; 11] = [
    Role::First,
    Role::Last,
    Role::Email,
    Role::Phone,
    Role::Company,
    Role::Title,
    Role::Website,
    Role::Street,
    Role::City,
    Role::PostalCode,
    Role::Country,
];
const PRIVATE: [Role; 9] = [
    Role::First,
    Role::Last,
    Role::HouseNumber,
    Role::Street,
    Role::City,
    Role::PostalCode,
    Role::BirthDate,
    Role::Identifier,
    Role::Gender,
];
const COMPANIES: [Role; 7] = [Role::Company, Role::Website, Role::Phone, Role::Street, Role::City, Role::PostalCode, Role::Country];

/// Takes a record's values and the number of the person or company it stands for.
type Give<'a> = &'a mut dyn FnMut(Vec<(Role, &str)>, usize);

fn rows(kind: Kind, dirt: Dirt, count: usize, seed: u64, give: Give<'_>) {
    let roles: &[Role] = match kind {
        Kind::People => &PEOPLE,
        Kind::Private => &PRIVATE,
        Kind::Companies => &COMPANIES,
    };
    make(kind, dirt, count, seed, &Stock::read(ROOT).unwrap(), &mut |cells, entity| {
        give(roles.iter().copied().zip(cells.iter().skip(1).map(String::as_str)).collect(), entity);
    });
}

fn dedup(c: &mut Criterion) {
    let deduper = Deduper::new(DedupConfig::default()).unwrap();
    let mut texts: Vec<Vec<(Role, String)>> = Vec::new();
    rows(Kind::People, Dirt::Typing, 10_000, 7, &mut |values, _| {
        texts.push(values.iter().map(|(role, text)| (*role, (*text).to_owned())).collect());
    });
    let prepare = |row: &Vec<(Role, String)>| {
        let values: Vec<(Role, &str)> = row.iter().map(|(role, text)| (*role, text.as_str())).collect();
        deduper.prepare(&values)
    };
    let prepared: Vec<Prepared> = texts.iter().map(prepare).collect();
    let mut records = Records::new();
    for record in &prepared {
        records.push(record);
    }

    let mut group = c.benchmark_group("prepare");
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("1,000 people", |b| b.iter(|| texts.iter().take(1_000).map(prepare).for_each(|record| drop(black_box(record)))));
    group.finish();

    // Neighbours by surname: what a blocking key brings, mostly strangers. A hundred each, so that counting rare values is no share of it.
    let mut order: Vec<u32> = (0..records.len() as u32).collect();
    order.sort_by_key(|at| texts[*at as usize][1].1.to_lowercase());
    let pairs: Vec<(u32, u32)> =
        (0..order.len()).flat_map(|at| order[at + 1..].iter().take(100).map(move |b| (at, *b))).map(|(at, b)| (order[at], b)).collect();
    let mut group = c.benchmark_group("scored pairs, one core");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    group.throughput(Throughput::Elements(pairs.len() as u64));
    group.bench_function("neighbours by surname", |b| b.iter(|| deduper.likely_pairs(&records, black_box(&pairs))));
    group.bench_function("neighbours by surname, every field of all", |b| b.iter(|| deduper.score_pairs(&records, black_box(&pairs))));
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("compare, with reasons", |b| {
        b.iter(|| prepared.windows(2).take(1_000).map(|pair| deduper.compare(&pair[0], &pair[1]).score).sum::<f64>());
    });
    group.finish();

    let mut group = c.benchmark_group("find");
    group.sample_size(10);
    group.throughput(Throughput::Elements(records.len() as u64));
    group.bench_function("10,000 people", |b| b.iter(|| deduper.find(black_box(&records), &InPlace)));
    group.finish();

    let names: Vec<&str> = texts.iter().map(|row| row[1].1.as_str()).filter(|name| name.is_ascii()).take(1_001).collect();
    let mut group = c.benchmark_group("jaro-winkler");
    group.throughput(Throughput::Elements(1_000));
    let rapidfuzz = |a: &str, b: &str| rapidfuzz::distance::jaro_winkler::similarity(a.bytes(), b.bytes());
    type Measure<'a> = (&'a str, &'a dyn Fn(&str, &str) -> f64);
    let measures: [Measure<'_>; 3] = [("ours", &jaro_winkler), ("strsim", &strsim::jaro_winkler), ("rapidfuzz", &rapidfuzz)];
    for (name, measure) in measures {
        group.bench_function(name, |b| b.iter(|| black_box(&names).windows(2).map(|pair| measure(pair[0], pair[1])).sum::<f64>()));
    }
    group.finish();
}

/// One question to an index of a million people, many times: the median and the slow ones.
fn lookups() {
    let deduper = Deduper::new(DedupConfig::default()).unwrap();
    let mut index = Index::new();
    let mut asked = Vec::new();
    let start = Instant::now();
    rows(Kind::People, Dirt::Typing, 1_000_000, 7, &mut |values, _| {
        let record = deduper.prepare(&values);
        if index.len().is_multiple_of(250) {
            asked.push(record.clone());
        }
        index.insert(&format!("m{:07}", index.len()), &record);
    });
    println!("index of {} people built in {:.1} s", index.len(), start.elapsed().as_secs_f64());
    let mut times: Vec<f64> = asked
        .iter()
        .map(|record| {
            let start = Instant::now();
            black_box(index.judge(&deduper, record));
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("lookup among them: median {:.3} ms, 99th percentile {:.3} ms, slowest {:.3} ms", at(0.5), at(0.99), at(1.0));
}

fn quality() {
    println!("{:<12} {:<10} {:>9} {:>9} {:>9}", "kind", "dirt", "precision", "recall", "F1");
    for (name, kind, count) in [("people", Kind::People, 8_000), ("private", Kind::Private, 8_000), ("companies", Kind::Companies, 3_000)] {
        for (word, dirt) in [("typing", Dirt::Typing), ("scanning", Dirt::Scanning), ("hearing", Dirt::Hearing)] {
            let mut records = Records::new();
            let mut truth = Vec::new();
            rows(kind, dirt, count, 11, &mut |values, entity| {
                records.push(&Prepared::new(&values));
                truth.push(entity);
            });
            let deduper = Deduper::new(DedupConfig::default()).unwrap();
            let (_, found) = deduper.train_and_find(&records, &InPlace).unwrap();
            let right = found.pairs.iter().filter(|pair| truth[pair.a as usize] == truth[pair.b as usize]).count() as f64;
            let mut sizes: HashMap<usize, usize> = HashMap::new();
            truth.iter().for_each(|entity| *sizes.entry(*entity).or_insert(0) += 1);
            let all = sizes.values().map(|size| size * (size - 1) / 2).sum::<usize>() as f64;
            let (precision, recall) = (right / found.pairs.len() as f64, right / all);
            println!("{name:<12} {word:<10} {precision:>9.4} {recall:>9.4} {:>9.4}", 2.0 * precision * recall / (precision + recall));
        }
    }
}

criterion_group!(benches, dedup);

fn main() {
    if std::env::args().any(|word| word == "tables") {
        quality();
        lookups();
        return;
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
    if !std::env::args().skip(1).any(|word| word != "--bench") {
        quality();
        lookups();
    }
}
