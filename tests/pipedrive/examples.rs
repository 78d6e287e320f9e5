//! Every example body of Pipedrive's OpenAPI documents is read and written again, and every price is the published one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::field_reassign_with_default,
    reason = "a test may panic, and writes what it means"
)]

use crm_sync::pipedrive::types::{
    Activity, ActivityType, Deal, Lead, LeadLabel, Note, Organization, Person, Pipeline, Product, Resource, Stage, User,
};
use crm_sync::pipedrive::{Envelope, Kind, Op};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Extract {
    /// Version, method, path, status, body.
    examples: Vec<(String, String, String, String, Value)>,
    /// Version, method, path, tokens.
    prices: Vec<(String, String, String, u32)>,
}

fn extract() -> Extract {
    serde_json::from_str(include_str!("../fixtures/pipedrive/examples.json")).unwrap()
}

/// Null and absent are the same here.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.clone(), without_nulls(value))).collect(),
        ),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

#[test]
fn all_401_bodies_come_back_as_they_were() {
    let extract = extract();
    assert_eq!(extract.examples.len(), 401);
    for (version, method, path, status, body) in &extract.examples {
        let place = format!("{version} {method} {path} {status}");
        if body.is_array() {
            continue;
        }
        let envelope: Envelope<Value> = serde_json::from_value(body.clone()).unwrap_or_else(|error| panic!("{place}: {error}"));
        let again = serde_json::to_value(&envelope).unwrap();
        assert_eq!(without_nulls(&again), without_nulls(body), "{place}");
    }
}

fn typed<T: Resource>(extract: &Extract) -> usize {
    let word = T::KIND.entity();
    let (list, one) = (format!("/{word}"), format!("/{word}/{{id}}"));
    let wanted = if T::KIND.version() == crm_sync::pipedrive::ApiVersion::V2 { "v2" } else { "v1" };
    let mut read = 0;
    for (version, method, path, status, body) in &extract.examples {
        if version != wanted || (*path != list && *path != one) || !status.starts_with('2') {
            continue;
        }
        let rows: Vec<&Value> = match &body["data"] {
            Value::Array(rows) => rows.iter().collect(),
            row @ Value::Object(_) => vec![row],
            _ => continue,
        };
        for row in rows {
            let record: T = serde_json::from_value(row.clone()).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
            assert_eq!(without_nulls(&serde_json::to_value(&record).unwrap()), without_nulls(row), "{method} {path}");
            read += 1;
        }
    }
    read
}

#[test]
fn records_fit_their_types() {
    let extract = extract();
    let counts = [
        typed::<Person>(&extract),
        typed::<Organization>(&extract),
        typed::<Deal>(&extract),
        typed::<Activity>(&extract),
        typed::<Product>(&extract),
        typed::<Pipeline>(&extract),
        typed::<Stage>(&extract),
        typed::<Note>(&extract),
        typed::<Lead>(&extract),
        typed::<User>(&extract),
        typed::<ActivityType>(&extract),
    ];
    assert!(counts.iter().all(|count| *count >= 3), "{counts:?}");
    assert!(typed::<LeadLabel>(&extract) >= 1);
}

#[test]
fn prices_are_the_published_ones() {
    let extract = extract();
    let published = |version: &str, method: &str, path: &str| {
        let found = extract.prices.iter().find(|(v, m, p, _)| v == version && m == method && p == path);
        found.map(|(_, _, _, tokens)| *tokens)
    };
    let mut compared = 0;
    for kind in Kind::ALL {
        let word = kind.entity();
        let version = if kind.version() == crm_sync::pipedrive::ApiVersion::V2 { "v2" } else { "v1" };
        let (list, one) = (format!("/{word}"), format!("/{word}/{{id}}"));
        let update = if matches!(kind, Kind::Note | Kind::ActivityType) { "PUT" } else { "PATCH" };
        for (op, method, path) in [
            (Op::List, "GET", &list),
            (Op::Get, "GET", &one),
            (Op::Create, "POST", &list),
            (Op::Update, update, &one),
            (Op::Delete, "DELETE", &one),
        ] {
            if let Some(tokens) = published(version, method, path) {
                assert_eq!(kind.price(op), tokens, "{method} {version} {path}");
                compared += 1;
            }
        }
    }
    assert!(compared > 45, "{compared}");
    for word in ["persons", "organizations", "deals"] {
        assert_eq!(published("v1", "PUT", &format!("/{word}/{{id}}/merge")), Some(Kind::Person.price(Op::Merge)));
        assert_eq!(published("v2", "GET", &format!("/{word}/search")), Some(Kind::Person.price(Op::Search)));
    }
    assert_eq!(published("v1", "GET", "/noteFields"), Some(Kind::Note.price(Op::Fields)));
    for word in ["personFields", "organizationFields", "dealFields", "productFields"] {
        assert_eq!(published("v2", "GET", &format!("/{word}")), Some(Kind::Person.price(Op::Fields)));
    }
}
