//! Finding what changed: 10,000 records of 20 fields, one in ten of them changed in one field.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench is a program of its own")]

mod support;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crm_sync::model::{FieldType, Fields, canon, same};
use crm_sync::sync::{Decision, decide};
use serde_json::{Value, json};
use support::{Contact, contact};

const RECORDS: u32 = 10_000;

fn kind(field: &str) -> FieldType {
    match field {
        "email" => FieldType::Email,
        "employees" => FieldType::Integer,
        "score" => FieldType::Decimal { scale: Some(2) },
        "opted_out" => FieldType::Boolean,
        "modified_at" => FieldType::DateTime { whole_seconds: true },
        _ => FieldType::Text,
    }
}

fn changed(n: u32) -> Value {
    let mut record = contact(n);
    if n.is_multiple_of(10)
        && let Some(city) = record.get_mut("city")
    {
        *city = json!("Paris");
    }
    record
}

fn updates(local: &[Fields], base: &[Fields], remote: Option<&[Fields]>) -> usize {
    let remotes = (0..local.len()).map(|at| remote.and_then(|remote| remote.get(at)));
    let decisions = local.iter().zip(base).zip(remotes).map(|((local, base), remote)| decide(local, Some(base), remote, &kind));
    decisions.filter(|decision| matches!(decision, Decision::Update(_))).count()
}

fn diff(c: &mut Criterion) {
    let fields = |make: fn(u32) -> Value| -> Vec<Fields> { (0..RECORDS).map(|n| Fields::from_value(make(n)).unwrap()).collect() };
    let typed = |make: fn(u32) -> Value| -> Vec<Contact> { (0..RECORDS).map(|n| serde_json::from_value(make(n)).unwrap()).collect() };
    let (base, local) = (fields(contact), fields(changed));
    let (typed_base, typed_local) = (typed(contact), typed(changed));
    assert_eq!(updates(&local, &base, None), RECORDS as usize / 10);

    let mut group = c.benchmark_group("compare 10,000 records of 20 fields");
    group.throughput(Throughput::Elements(RECORDS.into()));
    group.bench_function("decide, base", |b| b.iter(|| updates(black_box(&local), black_box(&base), None)));
    group.bench_function("decide, base and remote", |b| b.iter(|| updates(black_box(&local), black_box(&base), Some(&base))));
    group.bench_function("same", |b| {
        b.iter(|| {
            let pairs = black_box(&local).iter().zip(black_box(&base));
            let differs = |a: &Fields, b: &Fields| a.iter().any(|(name, a)| b.get(name).is_none_or(|b| !same(a, b, &kind(name))));
            pairs.filter(|(a, b)| differs(a, b)).count()
        });
    });
    group.bench_function("canon of every value", |b| {
        b.iter(|| {
            for (name, value) in black_box(&local).iter().flatten() {
                black_box(canon(value, &kind(name)));
            }
        });
    });
    group.bench_function("== on typed structs", |b| {
        b.iter(|| black_box(&typed_local).iter().zip(black_box(&typed_base)).filter(|(a, b)| a != b).count());
    });
    group.finish();
}

criterion_group!(benches, diff);
criterion_main!(benches);
