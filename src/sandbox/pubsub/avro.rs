//! Event bodies as binary Avro, without a container.

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use jiff::Timestamp;
use serde_json::{Map, Number, Value, json};

use crate::sandbox::salesforce::{Change, EventField, FieldKind, KINDS, Payload, Shape, stamp_millis};

fn millis(kind: FieldKind, text: &str) -> Option<i64> {
    match kind {
        FieldKind::Date => format!("{text}T00:00:00Z").parse::<Timestamp>().ok().map(Timestamp::as_millisecond),
        _ => text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond),
    }
}

fn scalar(kind: FieldKind, value: &Value) -> Option<Avro> {
    match (kind, value) {
        (FieldKind::Boolean, Value::Bool(on)) => Some(Avro::Boolean(*on)),
        (FieldKind::Int, value) => value.as_f64().map(|number| Avro::Int(number as i32)),
        (FieldKind::Currency | FieldKind::Double | FieldKind::Percent, value) => value.as_f64().map(Avro::Double),
        (FieldKind::Date | FieldKind::DateTime, Value::String(text)) => millis(kind, text).map(Avro::Long),
        (_, Value::String(text)) => Some(Avro::String(text.clone())),
        (_, Value::Null) => None,
        (_, other) => Some(Avro::String(other.to_string())),
    }
}

fn optional(kind: FieldKind, value: Option<&Value>) -> Avro {
    match value.and_then(|value| scalar(kind, value)) {
        Some(value) => Avro::Union(1, Box::new(value)),
        None => Avro::Union(0, Box::new(Avro::Null)),
    }
}

fn texts(list: Vec<String>) -> Avro {
    Avro::Array(list.into_iter().map(Avro::String).collect())
}

fn header(shape: &Shape, change: &Change) -> Avro {
    let at = KINDS.iter().position(|kind| *kind == change.kind).and_then(|at| u32::try_from(at).ok()).unwrap_or(0);
    let fields = [
        ("entityName", Avro::String(change.entity.clone())),
        ("recordIds", texts(change.ids.clone())),
        ("changeType", Avro::Enum(at, change.kind.clone())),
        ("changeOrigin", Avro::String(change.origin.clone())),
        ("transactionKey", Avro::String(change.transaction.clone())),
        ("sequenceNumber", Avro::Int(i32::try_from(change.sequence).unwrap_or(i32::MAX))),
        ("commitTimestamp", Avro::Long(change.timestamp)),
        ("commitNumber", Avro::Long(change.number)),
        ("commitUser", Avro::String(change.user.clone())),
        ("nulledFields", texts(shape.bitmaps(&change.nulled))),
        ("diffFields", texts(shape.bitmaps(&change.diffs))),
        ("changedFields", texts(shape.bitmaps(&change.changed))),
    ];
    Avro::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The body of an event in the form of `shape`; `None` if it does not fit, which is a fault of the sandbox.
pub(crate) fn encode(shape: &Shape, schema: &apache_avro::Schema, payload: &Payload) -> Option<Vec<u8>> {
    let (head, body) = match payload {
        Payload::Change(change) => (Some(header(shape, change)), &change.fields),
        Payload::Platform { fields, .. } => (None, fields),
        _ => return None,
    };
    let mut record: Vec<(String, Avro)> = head.map(|head| ("ChangeEventHeader".to_owned(), head)).into_iter().collect();
    for field in &shape.fields {
        let value = body.get(field.name());
        let avro = match field {
            EventField::Plain(part) if !shape.change && part.name.starts_with("Created") => scalar(part.kind, value?)?,
            EventField::Plain(part) => optional(part.kind, value),
            EventField::Compound { person, parts, .. } => match value {
                Some(Value::Object(inner)) if inner.values().any(|value| !value.is_null()) => {
                    let list = parts.iter().map(|part| (part.name.clone(), optional(part.kind, inner.get(&part.name)))).collect();
                    Avro::Union(if *person { 2 } else { 1 }, Box::new(Avro::Record(list)))
                }
                _ => Avro::Union(0, Box::new(Avro::Null)),
            },
        };
        record.push((field.name().to_owned(), avro));
    }
    GenericDatumWriter::builder(schema).build().ok()?.write_value_to_vec(Avro::Record(record)).ok()
}

fn plain(kind: FieldKind, value: Avro) -> Value {
    match value {
        Avro::Union(_, inner) => plain(kind, *inner),
        Avro::Boolean(on) => json!(on),
        Avro::Int(number) => json!(number),
        Avro::Double(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        Avro::Long(at) => {
            let text = stamp_millis(at);
            json!(if kind == FieldKind::Date { text.get(..10).unwrap_or_default() } else { &text })
        }
        Avro::String(text) => json!(text),
        _ => Value::Null,
    }
}

/// The fields of a published platform event, or what is wrong with its bytes.
pub(crate) fn decode(shape: &Shape, schema: &apache_avro::Schema, payload: &[u8]) -> Result<Map<String, Value>, String> {
    let mut bytes = payload;
    let reader = GenericDatumReader::builder(schema).build().map_err(|error| error.to_string())?;
    let value = reader.read_value(&mut bytes).map_err(|error| error.to_string())?;
    if !bytes.is_empty() {
        return Err(format!("{} bytes are left over after the event", bytes.len()));
    }
    // The reader takes what is missing at the end for null; such a value is not what was sent.
    let writer = GenericDatumWriter::builder(schema).build().map_err(|error| error.to_string())?;
    if writer.write_value_to_vec(value.clone()).ok().as_deref() != Some(payload) {
        return Err("the event ends too early".to_owned());
    }
    let Avro::Record(record) = value else { return Err("the event is not a record".to_owned()) };
    let mut fields = Map::new();
    for (name, value) in record {
        let kind = shape.fields.iter().find_map(|field| match field {
            EventField::Plain(part) if part.name == name => Some(part.kind),
            _ => None,
        });
        if let Some(kind) = kind {
            fields.insert(name, plain(kind, value));
        }
    }
    Ok(fields)
}
