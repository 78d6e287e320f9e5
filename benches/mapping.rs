//! One record from the host's words to the CRM's: 25 fields in, 20 out.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench is a program of its own"
)]

use std::borrow::Cow;
use std::cell::RefCell;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crm_sync::mapping::{Mapping, MappingSet, Mode};
use crm_sync::model::{Entity, EntitySchema, FieldSchema, FieldType, Fields, FieldsSeed, Picklist, ShapeCache};
use serde::de::DeserializeSeed;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

const FILE: &str = r#"
crm:
  lead:
    email: Email
    firstName: FirstName
    lastName: LastName
    company: Company
    title: Title
    phone: Phone
    mobile: MobilePhone
    website: Website
    street: Street
    city: City
    state: State
    postalCode: PostalCode
    country: Country
    industry: Industry
    note: Description
    score: Score__c
    born: Birthday__c
    utm.source: UTM_Source__c
    fullName:
      type: computed
      field: Display_Name__c
      formula: "CONCAT(FirstName, ' ', LastName)"
    source:
      type: picklist
      field: LeadSource
      mapping: { linkedin: LinkedIn, google: Google Ads, organic: Web }
"#;

const PLAIN: [(&str, &str); 15] = [
    ("email", "Email"),
    ("firstName", "FirstName"),
    ("lastName", "LastName"),
    ("company", "Company"),
    ("title", "Title"),
    ("phone", "Phone"),
    ("mobile", "MobilePhone"),
    ("website", "Website"),
    ("street", "Street"),
    ("city", "City"),
    ("state", "State"),
    ("postalCode", "PostalCode"),
    ("country", "Country"),
    ("industry", "Industry"),
    ("note", "Description"),
];

fn record() -> Value {
    json!({
        "email": "ada@example.com", "firstName": "Ada", "lastName": "Lovelace", "company": "Analytical Engines", "title": "Head",
        "phone": "+44 20 7946 0000", "mobile": "+44 7700 900000", "website": "https://example.com", "street": "12 St James's Square",
        "city": "London", "state": "England", "postalCode": "SW1Y 4JH", "country": "GB", "industry": "Computing", "note": "a note",
        "score": 12.5, "born": "1815-12-10", "utm": { "source": "newsletter", "medium": "email" }, "source": "google",
        "unused1": 1, "unused2": "x", "unused3": true, "unused4": null, "unused5": "y", "unused6": "z",
    })
}

fn schema() -> EntitySchema {
    let mut fields: Vec<FieldSchema> = PLAIN.iter().map(|(_, name)| FieldSchema::new(*name, FieldType::Text)).collect();
    fields.extend(["UTM_Source__c", "Display_Name__c"].map(|name| FieldSchema::new(name, FieldType::Text)));
    fields.push(FieldSchema::new("Score__c", FieldType::Decimal { scale: Some(2) }));
    fields.push(FieldSchema::new("Birthday__c", FieldType::Date));
    let mut source = FieldSchema::new("LeadSource", FieldType::Picklist);
    source.picklist = Some(Picklist::of(true, ["LinkedIn", "Google Ads", "Web"]));
    fields.push(source);
    EntitySchema::new(Entity::from_static("lead"), "Lead", fields)
}

fn choice(source: &str) -> Option<&'static str> {
    match source {
        "linkedin" => Some("LinkedIn"),
        "google" => Some("Google Ads"),
        "organic" => Some("Web"),
        _ => None,
    }
}

/// What one would write over JSON values, with the same checks.
fn by_hand(record: &Map<String, Value>) -> Option<Map<String, Value>> {
    let text = |name: &str| record.get(name).and_then(Value::as_str);
    let mut out = Map::new();
    for (from, to) in PLAIN {
        out.insert(to.to_owned(), text(from)?.trim().into());
    }
    out.insert("UTM_Source__c".to_owned(), record.get("utm")?.get("source")?.clone());
    out.insert("Display_Name__c".to_owned(), format!("{} {}", text("firstName")?, text("lastName")?).into());
    out.insert("Score__c".to_owned(), ((record.get("score")?.as_f64()? * 100.0).round() / 100.0).into());
    out.insert("Birthday__c".to_owned(), text("born")?.parse::<jiff::civil::Date>().ok()?.to_string().into());
    out.insert("LeadSource".to_owned(), choice(text("source")?)?.into());
    Some(out)
}

/// Borrowed from the text wherever it has no escapes: the fastest that serde does.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ours<'a> {
    #[serde(borrow)]
    email: Cow<'a, str>,
    #[serde(borrow)]
    first_name: Cow<'a, str>,
    #[serde(borrow)]
    last_name: Cow<'a, str>,
    #[serde(borrow)]
    company: Cow<'a, str>,
    #[serde(borrow)]
    title: Cow<'a, str>,
    #[serde(borrow)]
    phone: Cow<'a, str>,
    #[serde(borrow)]
    mobile: Cow<'a, str>,
    #[serde(borrow)]
    website: Cow<'a, str>,
    #[serde(borrow)]
    street: Cow<'a, str>,
    #[serde(borrow)]
    city: Cow<'a, str>,
    #[serde(borrow)]
    state: Cow<'a, str>,
    #[serde(borrow)]
    postal_code: Cow<'a, str>,
    #[serde(borrow)]
    country: Cow<'a, str>,
    #[serde(borrow)]
    industry: Cow<'a, str>,
    #[serde(borrow)]
    note: Cow<'a, str>,
    score: f64,
    #[serde(borrow)]
    born: Cow<'a, str>,
    #[serde(borrow)]
    utm: Utm<'a>,
    #[serde(borrow)]
    source: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Utm<'a> {
    #[serde(borrow)]
    source: Cow<'a, str>,
}

/// In the order of the names, as the mapping writes them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Theirs<'a> {
    #[serde(rename = "Birthday__c")]
    birthday: jiff::civil::Date,
    city: &'a str,
    company: &'a str,
    country: &'a str,
    description: &'a str,
    #[serde(rename = "Display_Name__c")]
    display_name: String,
    email: &'a str,
    first_name: &'a str,
    industry: &'a str,
    last_name: &'a str,
    lead_source: &'static str,
    mobile_phone: &'a str,
    phone: &'a str,
    postal_code: &'a str,
    #[serde(rename = "Score__c")]
    score: f64,
    state: &'a str,
    street: &'a str,
    title: &'a str,
    #[serde(rename = "UTM_Source__c")]
    utm_source: &'a str,
    website: &'a str,
}

fn typed<'a>(ours: &'a Ours<'_>) -> Option<Theirs<'a>> {
    Some(Theirs {
        email: ours.email.trim(),
        first_name: ours.first_name.trim(),
        last_name: ours.last_name.trim(),
        company: ours.company.trim(),
        title: ours.title.trim(),
        phone: ours.phone.trim(),
        mobile_phone: ours.mobile.trim(),
        website: ours.website.trim(),
        street: ours.street.trim(),
        city: ours.city.trim(),
        state: ours.state.trim(),
        postal_code: ours.postal_code.trim(),
        country: ours.country.trim(),
        industry: ours.industry.trim(),
        description: ours.note.trim(),
        utm_source: &ours.utm.source,
        display_name: format!("{} {}", ours.first_name, ours.last_name),
        score: (ours.score * 100.0).round() / 100.0,
        birthday: ours.born.parse().ok()?,
        lead_source: choice(&ours.source)?,
    })
}

/// The best of many short runs: what the machine does when nobody disturbs it.
fn best(mut run: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..60 {
        let start = std::time::Instant::now();
        for _ in 0..500 {
            run();
        }
        best = best.min(start.elapsed().as_secs_f64() / 500.0);
    }
    best
}

/// A way to do it, and its name.
type Row<'a> = (&'a str, Box<dyn FnMut() + 'a>);

/// All ways in turns, three times, so that a slow minute of the machine is everybody's.
fn table(rows: &mut [Row<'_>]) {
    let mut times = vec![f64::INFINITY; rows.len()];
    for _ in 0..3 {
        for (time, (_, run)) in times.iter_mut().zip(rows.iter_mut()) {
            *time = time.min(best(run));
        }
    }
    println!("\n| JSON text in, JSON text out | records/s | to JSON by hand | to typed structs |\n|---|---|---|---|");
    for ((name, _), time) in rows.iter().zip(&times) {
        println!("| {name} | {:.0} | {:.2} | {:.2} |", 1.0 / time, times[0] / time, times[1] / time);
    }
}

fn mapping(c: &mut Criterion) {
    let set = MappingSet::from_yaml(FILE, "bench.yaml").unwrap();
    let mapping = Mapping::compile(set.entity("crm", "lead").unwrap(), Some(&schema())).unwrap();
    let value = record();
    let object = value.as_object().unwrap();
    let fields = Fields::from_value(value.clone()).unwrap();
    let input = serde_json::to_vec(&value).unwrap();

    let by_value = || {
        let record: Map<String, Value> = serde_json::from_slice(black_box(&input)).unwrap();
        serde_json::to_vec(&by_hand(&record).unwrap()).unwrap()
    };
    let by_structs = || {
        let ours: Ours<'_> = serde_json::from_slice(black_box(&input)).unwrap();
        serde_json::to_vec(&typed(&ours).unwrap()).unwrap()
    };
    // As rows of a stream are read: each shares the names of the one before.
    let cache = RefCell::new(ShapeCache::default());
    let by_fields = || {
        let mut reader = serde_json::Deserializer::from_slice(black_box(&input));
        let record = FieldsSeed { cache: &mut cache.borrow_mut() }.deserialize(&mut reader).unwrap();
        serde_json::to_vec(&mapping.outbound(&record, Mode::Create).unwrap().fields).unwrap()
    };
    let mut out = Vec::new();
    let mut by_text = || {
        out.clear();
        mapping.outbound_json(black_box(&input), &mut out).unwrap();
        black_box(out.len());
    };

    // The four do the same work and write the same bytes.
    assert_eq!(object.len(), 25);
    let wanted = String::from_utf8(by_value()).unwrap();
    assert_eq!(serde_json::from_str::<Map<String, Value>>(&wanted).unwrap().len(), 20);
    assert_eq!(String::from_utf8(by_structs()).unwrap(), wanted);
    assert_eq!(String::from_utf8(by_fields()).unwrap(), wanted);
    let mut text = Vec::new();
    mapping.outbound_json(&input, &mut text).unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), wanted);

    let mut group = c.benchmark_group("JSON text to JSON text, 25 fields to 20");
    group.throughput(Throughput::Elements(1));
    group.bench_function("JSON by hand", |b| b.iter(by_value));
    group.bench_function("typed structs", |b| b.iter(by_structs));
    group.bench_function("mapping over fields", |b| b.iter(by_fields));
    group.bench_function("mapping without a tree", |b| b.iter(&mut by_text));
    group.finish();
    let mut group = c.benchmark_group("map 25 fields to 20");
    group.throughput(Throughput::Elements(1));
    group.bench_function("mapping", |b| b.iter(|| mapping.outbound(black_box(&fields), Mode::Create)));
    group.bench_function("JSON by hand", |b| b.iter(|| by_hand(black_box(object))));
    group.finish();
    c.bench_function("compile the mapping", |b| b.iter(|| Mapping::compile(set.entity("crm", "lead").unwrap(), Some(&schema()))));

    let text: Box<dyn FnMut() + '_> = Box::new(by_text);
    table(&mut [
        ("JSON by hand", Box::new(|| drop(black_box(by_value())))),
        ("typed structs", Box::new(|| drop(black_box(by_structs())))),
        ("mapping over `Fields`", Box::new(|| drop(black_box(by_fields())))),
        ("mapping without a tree", text),
    ]);
}

criterion_group!(benches, mapping);
criterion_main!(benches);
