//! Deduplication on ten thousand made-up leads whose truth is known.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a test may panic and print")]

use std::collections::HashMap;

use crm_sync::dedup::{DedupConfig, Deduper, Prepared, Role};

const COLUMNS: [(Role, &str); 11] = [
    (Role::First, "first_name"),
    (Role::Last, "last_name"),
    (Role::Email, "email"),
    (Role::Phone, "phone"),
    (Role::Company, "company"),
    (Role::Title, "title"),
    (Role::Website, "website"),
    (Role::Street, "street"),
    (Role::City, "city"),
    (Role::PostalCode, "postal_code"),
    (Role::Country, "country"),
];

fn leads(deduper: &Deduper) -> (Vec<String>, Vec<Prepared>) {
    let mut reader = csv::Reader::from_path("tests/fixtures/leads.csv").unwrap();
    let headers = reader.headers().unwrap().clone();
    let places: Vec<(Role, usize)> =
        COLUMNS.iter().map(|(role, name)| (*role, headers.iter().position(|header| header == *name).unwrap())).collect();
    reader
        .records()
        .map(|row| {
            let row = row.unwrap();
            let values: Vec<(Role, &str)> = places.iter().map(|(role, at)| (*role, &row[*at])).collect();
            (row[0].to_owned(), deduper.prepare(&values))
        })
        .unzip()
}

fn truth() -> HashMap<String, String> {
    let mut reader = csv::Reader::from_path("tests/fixtures/leads-truth.csv").unwrap();
    reader.records().map(|row| row.unwrap()).map(|row| (row[0].to_owned(), row[1].to_owned())).collect()
}

#[test]
fn ten_thousand_leads_are_grouped_precisely() {
    let deduper = Deduper::new(DedupConfig::default()).unwrap();
    let (ids, records) = leads(&deduper);
    let truth = truth();
    let entity = |at: usize| &truth[&ids[at]];
    let mut calls = 0;
    let found = deduper.find_all(&records, &mut |_| calls += 1);

    let right = found.pairs.iter().filter(|pair| entity(pair.a) == entity(pair.b)).count() as f64;
    let mut sizes: HashMap<&String, usize> = HashMap::new();
    for entity in truth.values() {
        *sizes.entry(entity).or_insert(0) += 1;
    }
    let all: usize = sizes.values().map(|size| size * (size - 1) / 2).sum();
    assert_eq!(all, 5_819);
    let (precision, recall) = (right / found.pairs.len() as f64, right / all as f64);
    println!("precision {precision:.4} recall {recall:.4}");
    assert!(precision >= 0.97, "precision {precision:.4}");
    assert!(recall >= 0.92, "recall {recall:.4}");

    assert!(calls > 100, "progress was reported {calls} times");
    assert!(found.candidates < 20 * records.len() as u64, "{} candidates are too many", found.candidates);
    assert!(found.groups.iter().all(|group| group.len() > 1 && group.is_sorted()) && found.groups.is_sorted());
    assert!(found.review.iter().all(|pair| pair.a < pair.b && !pair.reasons.is_empty()));
}

#[test]
fn the_answer_is_the_same_every_time_and_in_any_order() {
    let deduper = Deduper::new(DedupConfig::default()).unwrap();
    let (_, mut records) = leads(&deduper);
    records.truncate(1_500);
    let found = deduper.find_all(&records, &mut |_| {});
    assert!(!found.groups.is_empty());
    assert_eq!(deduper.find_all(&records, &mut |_| {}), found);
    let last = records.len() - 1;
    records.reverse();
    let mut turned: Vec<Vec<usize>> = deduper.find_all(&records, &mut |_| {}).groups;
    for group in &mut turned {
        group.iter_mut().for_each(|at| *at = last - *at);
        group.sort_unstable();
    }
    turned.sort();
    assert_eq!(turned, found.groups);
}

#[test]
fn scores_are_symmetric_and_nothing_beats_identity() {
    let deduper = Deduper::new(DedupConfig::default()).unwrap();
    let (_, records) = leads(&deduper);
    for (a, b) in records.iter().zip(records.iter().skip(7)).take(2_000) {
        let score = deduper.compare(a, b).score;
        assert_eq!(score, deduper.compare(b, a).score);
        assert!(deduper.compare(a, a).score >= score);
    }
}

#[test]
fn hostile_values_neither_panic_nor_match() {
    let deduper = Deduper::new(DedupConfig::default()).unwrap();
    let long = "x".repeat(65_536);
    let odd = ["", " ", "\0", "\u{202e}\u{200f}", "🙂", "@", "@@", "a@", "+", "00", ",", "''", long.as_str(), "٠١٢٣٤٥٦٧٨٩", "Å\u{30a}"];
    for (role, _) in Role::ALL {
        for value in odd {
            let record = deduper.prepare(&[(role, value)]);
            let score = deduper.compare(&record, &record).score;
            assert!((0.0..=1.0).contains(&score), "{role}: {score}");
        }
    }
    let blank: Vec<Prepared> = (0..1_000).map(|_| deduper.prepare(&[(Role::First, " "), (Role::Email, "n/a")])).collect();
    let found = deduper.find_all(&blank, &mut |_| {});
    assert_eq!((found.groups.len(), found.candidates), (0, 0));
}

#[test]
fn many_equal_records_are_no_quadratic_step() {
    let deduper = Deduper::new(DedupConfig::default()).unwrap();
    let records: Vec<Prepared> =
        (0..5_000).map(|_| deduper.prepare(&[(Role::Full, "Ann Keller"), (Role::Email, "ann@firm.com")])).collect();
    let found = deduper.find_all(&records, &mut |_| {});
    assert!(found.candidates < 100 * 5_000, "{}", found.candidates);
    assert!(found.groups.iter().all(|group| group.len() <= deduper.config().max_group));
}
