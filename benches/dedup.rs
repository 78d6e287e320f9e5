//! Finding duplicates among ten thousand leads, and the measure under it.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench is a program of its own")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crm_sync::dedup::{DedupConfig, Deduper, Prepared, Role, jaro_winkler};

const LEADS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/leads.csv");
const COLUMNS: [(Role, &str); 8] = [
    (Role::First, "first_name"),
    (Role::Last, "last_name"),
    (Role::Email, "email"),
    (Role::Phone, "phone"),
    (Role::Company, "company"),
    (Role::City, "city"),
    (Role::PostalCode, "postal_code"),
    (Role::Country, "country"),
];

type Row = Vec<(Role, String)>;

fn rows() -> Vec<Row> {
    let mut reader = csv::Reader::from_path(LEADS).unwrap();
    let headers = reader.headers().unwrap().clone();
    let places = COLUMNS.map(|(role, name)| (role, headers.iter().position(|header| header == name).unwrap()));
    let cell = |row: &csv::StringRecord, at: usize| row.get(at).unwrap_or_default().to_owned();
    reader.records().map(|row| row.unwrap()).map(|row| places.iter().map(|(role, at)| (*role, cell(&row, *at))).collect()).collect()
}

fn prepare(deduper: &Deduper, row: &Row) -> Prepared {
    let values: Vec<(Role, &str)> = row.iter().map(|(role, text)| (*role, text.as_str())).collect();
    deduper.prepare(&values)
}

fn dedup(c: &mut Criterion) {
    let deduper = Deduper::new(DedupConfig::default()).unwrap();
    let rows = rows();
    let records: Vec<Prepared> = rows.iter().map(|row| prepare(&deduper, row)).collect();

    let mut group = c.benchmark_group("prepare");
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("1,000 leads", |b| {
        b.iter(|| {
            for row in rows.iter().take(1_000) {
                black_box(prepare(&deduper, row));
            }
        });
    });
    group.finish();

    // Neighbours in the file: mostly strangers, as among the candidates of a blocking key.
    let mut group = c.benchmark_group("scored pairs");
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("compare, with reasons", |b| {
        b.iter(|| {
            records.windows(2).take(1_000).map(|pair| if let [a, b] = pair { deduper.compare(a, b).score } else { 0.0 }).sum::<f64>()
        });
    });
    group.finish();

    let mut group = c.benchmark_group("find all");
    group.sample_size(10);
    group.throughput(Throughput::Elements(deduper.find_all(&records, &mut |_| {}).candidates));
    group.bench_function("10,000 leads, per candidate pair", |b| b.iter(|| deduper.find_all(black_box(&records), &mut |_| {})));
    group.finish();

    let names: Vec<&str> =
        rows.iter().flatten().filter(|(role, _)| *role == Role::Last).map(|(_, text)| text.as_str()).take(1_001).collect();
    let mut group = c.benchmark_group("jaro-winkler");
    group.throughput(Throughput::Elements(1_000));
    for (name, measure) in [("ours", jaro_winkler as fn(&str, &str) -> f64), ("strsim", strsim::jaro_winkler)] {
        group.bench_function(name, |b| {
            b.iter(|| black_box(&names).windows(2).map(|pair| if let [a, b] = pair { measure(a, b) } else { 0.0 }).sum::<f64>());
        });
    }
    group.finish();
}

criterion_group!(benches, dedup);
criterion_main!(benches);
