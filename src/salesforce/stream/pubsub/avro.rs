//! An event's bytes as the header and the body that CometD would have sent.

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use jiff::Timestamp;
use jiff::tz::Offset;
use serde_json::{Map, Number, Value};

use crate::salesforce::stream::header::ChangeHeader;
use crate::salesforce::stream::pubsub::bitmap::names;
use crate::salesforce::stream::pubsub::schema::{EventSchema, Meaning, Shape};

/// Numbers below are no times of this century in milliseconds.
const PAST: i64 = 100_000_000_000;

/// What the bytes say; `None` if they do not belong to the schema.
pub(super) fn read(schema: &EventSchema, mut payload: &[u8]) -> Option<(Option<ChangeHeader>, Map<String, Value>)> {
    let reader = GenericDatumReader::builder(&schema.avro).build().ok()?;
    let Avro::Record(record) = reader.read_value(&mut payload).ok()? else { return None };
    let mut header = None;
    let mut body = Map::new();
    for ((name, value), shape) in record.into_iter().zip(&schema.fields) {
        if name == "ChangeEventHeader" {
            header = Some(plain(value));
        } else {
            body.insert(name, json(value, shape));
        }
    }
    let Some(Value::Object(mut header)) = header else { return Some((None, body)) };
    let changed = listed(&header, "changedFields", schema)?;
    let mut nulled = listed(&header, "nulledFields", schema)?;
    // A compound that has become empty is named as a whole, also if one component of it was left to clear.
    if let (Some(changed), Some(nulled)) = (&changed, &mut nulled) {
        nulled.retain(|name| {
            let parent = name.split_once('.').map(|(parent, _)| format!("{parent}."));
            let told = parent.is_some_and(|parent| changed.iter().any(|other| other.starts_with(&parent)));
            !told || changed.contains(name)
        });
    }
    for (parent, component) in changed.iter().chain(&nulled).flatten().filter_map(|name| name.split_once('.')) {
        if let Some(value) = body.get_mut(parent) {
            if value.is_null() {
                *value = Value::Object(Map::new());
            }
            if let Value::Object(components) = value {
                components.entry(component).or_insert(Value::Null);
            }
        }
    }
    let lists = [("changedFields", changed), ("nulledFields", nulled), ("diffFields", listed(&header, "diffFields", schema)?)];
    for (name, list) in lists {
        header.insert(name.to_owned(), list.map_or(Value::Null, Value::from));
    }
    let header = serde_json::from_value(Value::Object(header)).ok()?;
    Some((Some(header), body))
}

/// The names of a list of bitmaps; `Some(None)` if there is no such list.
fn listed(header: &Map<String, Value>, list: &str, schema: &EventSchema) -> Option<Option<Vec<String>>> {
    let Some(Value::Array(maps)) = header.get(list) else { return Some(None) };
    let maps: Vec<&str> = maps.iter().map(Value::as_str).collect::<Option<_>>()?;
    names(maps, &schema.fields).map(Some)
}

fn json(value: Avro, shape: &Shape) -> Value {
    let number = match &value {
        Avro::Long(number) => Some(*number),
        Avro::Union(_, inner) => {
            if let Avro::Long(number) = **inner {
                Some(number)
            } else {
                None
            }
        }
        _ => None,
    };
    let Some(number) = number else { return plain(value) };
    let by_name = shape.name.ends_with("Date") || shape.name == "SystemModstamp";
    match shape.meaning {
        Meaning::DateTime => instant(number),
        Meaning::Unknown if by_name && number > PAST => instant(number),
        Meaning::Date => day(number),
        _ => Value::from(number),
    }
}

/// As CometD writes it: `2026-11-24T01:02:03.000Z`.
fn instant(millis: i64) -> Value {
    Timestamp::from_millisecond(millis).map_or_else(|_| Value::from(millis), |at| Value::String(format!("{at:.3}")))
}

fn day(millis: i64) -> Value {
    Timestamp::from_millisecond(millis)
        .map_or_else(|_| Value::from(millis), |at| Value::String(Offset::UTC.to_datetime(at).date().to_string()))
}

fn plain(value: Avro) -> Value {
    match value {
        Avro::Boolean(value) => Value::Bool(value),
        Avro::Int(number) | Avro::Date(number) | Avro::TimeMillis(number) => Value::from(number),
        Avro::Long(number) | Avro::TimeMicros(number) => Value::from(number),
        Avro::TimestampMillis(number) | Avro::LocalTimestampMillis(number) => instant(number),
        Avro::Float(number) => Number::from_f64(f64::from(number)).map_or(Value::Null, Value::Number),
        Avro::Double(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        Avro::String(text) | Avro::Enum(_, text) => Value::String(text),
        Avro::Union(_, inner) => plain(*inner),
        Avro::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        Avro::Map(entries) => Value::Object(entries.into_iter().map(|(name, value)| (name, plain(value))).collect()),
        Avro::Record(fields) => Value::Object(fields.into_iter().map(|(name, value)| (name, plain(value))).collect()),
        Avro::Bytes(bytes) | Avro::Fixed(_, bytes) => {
            use base64::Engine;
            Value::String(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        // Salesforce's schemas use none of the others.
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apache_avro::writer::datum::GenericDatumWriter;
    use serde_json::json;

    /// The documented shape, cut to a few fields (Change Data Capture Developer Guide, "Change Event Schema").
    fn schema() -> EventSchema {
        let list = json!({"type": "array", "items": "string"});
        let nullable = |kind: Value| json!(["null", kind]);
        let address = json!({"type": "record", "name": "Address", "fields": [
            {"name": "Street", "type": ["null", "string"]}, {"name": "City", "type": ["null", "string"]}]});
        let schema = json!({"type": "record", "name": "AccountChangeEvent", "namespace": "com.sforce.eventbus", "fields": [
            {"name": "ChangeEventHeader", "type": {"type": "record", "name": "ChangeEventHeader", "fields": [
                {"name": "entityName", "type": "string"}, {"name": "recordIds", "type": list},
                {"name": "changeType", "type": {"type": "enum", "name": "ChangeType", "symbols": ["CREATE", "UPDATE"]}},
                {"name": "commitTimestamp", "type": "long"},
                {"name": "nulledFields", "type": list}, {"name": "diffFields", "type": list}, {"name": "changedFields", "type": list}]}},
            {"name": "Name", "type": nullable(json!("string"))},
            {"name": "Industry", "type": nullable(json!("string"))},
            {"name": "BillingAddress", "type": nullable(address)},
            {"name": "ShippingAddress", "type": ["null", "Address"]},
            {"name": "AnnualRevenue", "type": nullable(json!("double"))},
            {"name": "LastModifiedDate", "type": nullable(json!("long"))},
            {"name": "Size__c", "type": nullable(json!("long"))},
        ]});
        EventSchema::parse(&schema.to_string()).unwrap()
    }

    fn some(value: Avro) -> Avro {
        Avro::Union(1, Box::new(value))
    }

    fn none() -> Avro {
        Avro::Union(0, Box::new(Avro::Null))
    }

    fn event(nulled: &[&str], changed: &[&str], billing: Avro) -> Vec<u8> {
        let texts = |list: &[&str]| Avro::Array(list.iter().map(|text| Avro::String((*text).to_owned())).collect());
        let header = Avro::Record(vec![
            ("entityName".to_owned(), Avro::String("Account".to_owned())),
            ("recordIds".to_owned(), texts(&["001ABCDEFGHIJKL"])),
            ("changeType".to_owned(), Avro::Enum(1, "UPDATE".to_owned())),
            ("commitTimestamp".to_owned(), Avro::Long(1_764_000_000_000)),
            ("nulledFields".to_owned(), texts(nulled)),
            ("diffFields".to_owned(), texts(&[])),
            ("changedFields".to_owned(), texts(changed)),
        ]);
        let record = Avro::Record(vec![
            ("ChangeEventHeader".to_owned(), header),
            ("Name".to_owned(), none()),
            ("Industry".to_owned(), some(Avro::String("Media".to_owned()))),
            ("BillingAddress".to_owned(), billing),
            ("ShippingAddress".to_owned(), none()),
            ("AnnualRevenue".to_owned(), none()),
            ("LastModifiedDate".to_owned(), some(Avro::Long(1_764_000_000_000))),
            ("Size__c".to_owned(), some(Avro::Long(5))),
        ]);
        GenericDatumWriter::builder(&schema().avro).build().unwrap().write_value_to_vec(record).unwrap()
    }

    #[test]
    fn bitmaps_become_names() {
        let street = Avro::Record(vec![("Street".to_owned(), some(Avro::String("Main".to_owned()))), ("City".to_owned(), none())]);
        let (header, body) = read(&schema(), &event(&["0x02"], &["0x46", "3-0x01"], some(street))).unwrap();
        let header = header.unwrap();
        assert_eq!(header.changed_fields.unwrap(), ["Name", "Industry", "LastModifiedDate", "BillingAddress.Street"]);
        assert_eq!((header.nulled_fields.unwrap(), header.diff_fields.unwrap()), (vec!["Name".to_owned()], vec![]));
        assert_eq!(body["LastModifiedDate"], "2025-11-24T16:00:00.000Z");
        assert_eq!((&body["Size__c"], &body["BillingAddress"]["Street"]), (&json!(5), &json!("Main")));
    }

    #[test]
    fn a_compound_that_was_cleared_names_its_components() {
        let (header, body) = read(&schema(), &event(&["0x18"], &["0x18"], none())).unwrap();
        let all = ["BillingAddress.Street", "BillingAddress.City", "ShippingAddress.Street", "ShippingAddress.City"];
        assert_eq!(header.unwrap().nulled_fields.unwrap(), all, "also of a type that was defined before");
        assert_eq!(body["ShippingAddress"], json!({"Street": null, "City": null}));
        let (header, body) = read(&schema(), &event(&["0x08"], &["3-0x01"], none())).unwrap();
        assert_eq!(header.unwrap().nulled_fields.unwrap(), ["BillingAddress.Street"], "the city was empty before");
        assert_eq!(body["BillingAddress"], json!({"Street": null}));
    }

    #[test]
    fn what_does_not_belong_to_the_schema() {
        let good = event(&[], &["0x4000"], none());
        assert!(read(&schema(), &good).is_none(), "a bit beyond the fields");
        let good = event(&[], &[], none());
        assert!(read(&schema(), &good).is_some() && read(&schema(), &good[..good.len() - 4]).is_none());
        assert!(EventSchema::parse(r#"{"type":"string"}"#).is_err() && EventSchema::parse("x").is_err());
        assert_eq!(schema().entity().as_str(), "Account");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120)) {
            let _either = read(&schema(), &bytes);
        }
    }
}
