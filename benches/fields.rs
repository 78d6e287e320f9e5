//! Decoding one query page: 2,000 records of 20 fields.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench is a program of its own")]

mod support;

use std::fmt;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crm_sync::model::{Fields, FieldsSeed, ShapeCache};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::{Map, Value};
use support::{Contact, contact};

const RECORDS: u32 = 2_000;

#[derive(Deserialize)]
struct Page<T> {
    records: Vec<T>,
}

/// The records of a page, each sharing the shape of the one before it.
struct Rows(ShapeCache);

impl<'de> DeserializeSeed<'de> for Rows {
    type Value = Vec<Fields>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Fields>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows {
    type Value = Vec<Fields>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("records")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Vec<Fields>, A::Error> {
        let mut rows = Vec::new();
        while let Some(row) = seq.next_element_seed(FieldsSeed { cache: &mut self.0 })? {
            rows.push(row);
        }
        Ok(rows)
    }
}

fn decode(c: &mut Criterion) {
    let records: Vec<Value> = (0..RECORDS).map(contact).collect();
    let array = serde_json::to_string(&records).unwrap();
    let page = format!("{{\"records\":{array}}}");
    let mut group = c.benchmark_group("decode 2,000 records of 20 fields");
    group.throughput(Throughput::Elements(RECORDS.into()));
    group.bench_function("fields, shared shape", |b| {
        b.iter(|| {
            let mut json = serde_json::Deserializer::from_str(black_box(&array));
            Rows(ShapeCache::default()).deserialize(&mut json).unwrap()
        });
    });
    group.bench_function("fields, a shape per record", |b| {
        b.iter(|| serde_json::from_str::<Page<Fields>>(black_box(&page)).unwrap().records);
    });
    group.bench_function("serde_json map per record", |b| {
        b.iter(|| serde_json::from_str::<Page<Map<String, Value>>>(black_box(&page)).unwrap().records);
    });
    group.bench_function("typed struct", |b| {
        b.iter(|| serde_json::from_str::<Page<Contact>>(black_box(&page)).unwrap().records);
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
