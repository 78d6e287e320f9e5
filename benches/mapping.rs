//! One record from the host's words to the CRM's: 25 fields in, 20 out.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench is a program of its own")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crm_sync::mapping::{Mapping, MappingSet, Mode};
use crm_sync::model::{Entity, EntitySchema, FieldSchema, FieldType, Fields, Picklist};
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
    out.insert("Score__c".to_owned(), record.get("score")?.as_f64()?.into());
    out.insert("Birthday__c".to_owned(), text("born")?.parse::<jiff::civil::Date>().ok()?.to_string().into());
    out.insert("LeadSource".to_owned(), choice(text("source")?)?.into());
    Some(out)
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ours {
    email: String,
    first_name: String,
    last_name: String,
    company: String,
    title: String,
    phone: String,
    mobile: String,
    website: String,
    street: String,
    city: String,
    state: String,
    postal_code: String,
    country: String,
    industry: String,
    note: String,
    score: f64,
    born: String,
    utm: Utm,
    source: String,
}

#[derive(Clone, Deserialize)]
struct Utm {
    source: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Theirs {
    email: String,
    first_name: String,
    last_name: String,
    company: String,
    title: String,
    phone: String,
    mobile_phone: String,
    website: String,
    street: String,
    city: String,
    state: String,
    postal_code: String,
    country: String,
    industry: String,
    description: String,
    #[serde(rename = "UTM_Source__c")]
    utm_source: String,
    #[serde(rename = "Display_Name__c")]
    display_name: String,
    #[serde(rename = "Score__c")]
    score: f64,
    #[serde(rename = "Birthday__c")]
    birthday: String,
    lead_source: &'static str,
}

fn typed(ours: &Ours) -> Option<Theirs> {
    Some(Theirs {
        email: ours.email.clone(),
        first_name: ours.first_name.clone(),
        last_name: ours.last_name.clone(),
        company: ours.company.clone(),
        title: ours.title.clone(),
        phone: ours.phone.clone(),
        mobile_phone: ours.mobile.clone(),
        website: ours.website.clone(),
        street: ours.street.clone(),
        city: ours.city.clone(),
        state: ours.state.clone(),
        postal_code: ours.postal_code.clone(),
        country: ours.country.clone(),
        industry: ours.industry.clone(),
        description: ours.note.clone(),
        utm_source: ours.utm.source.clone(),
        display_name: format!("{} {}", ours.first_name, ours.last_name),
        score: ours.score,
        birthday: ours.born.parse::<jiff::civil::Date>().ok()?.to_string(),
        lead_source: choice(&ours.source)?,
    })
}

fn mapping(c: &mut Criterion) {
    let set = MappingSet::from_yaml(FILE, "bench.yaml").unwrap();
    let mapping = Mapping::compile(set.entity("crm", "lead").unwrap(), Some(&schema())).unwrap();
    let value = record();
    let object = value.as_object().unwrap();
    let fields = Fields::from_value(value.clone()).unwrap();
    let ours: Ours = serde_json::from_value(value.clone()).unwrap();
    let mapped = mapping.outbound(&fields, Mode::Create).unwrap().fields.to_value();
    // The three do the same work.
    assert_eq!(object.len(), 25);
    assert_eq!(mapped.as_object().map(Map::len), Some(20));
    assert_eq!(mapped, Value::Object(by_hand(object).unwrap()));
    assert_eq!(mapped, serde_json::to_value(typed(&ours).unwrap()).unwrap());

    let mut group = c.benchmark_group("map 25 fields to 20");
    group.throughput(Throughput::Elements(1));
    group.bench_function("mapping", |b| b.iter(|| mapping.outbound(black_box(&fields), Mode::Create)));
    group.bench_function("JSON by hand", |b| b.iter(|| by_hand(black_box(object))));
    group.bench_function("typed structs", |b| b.iter(|| typed(black_box(&ours))));
    group.finish();
    c.bench_function("compile the mapping", |b| b.iter(|| Mapping::compile(set.entity("crm", "lead").unwrap(), Some(&schema()))));
}

criterion_group!(benches, mapping);
criterion_main!(benches);
