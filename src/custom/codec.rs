//! The API's values and the host's.

use jiff::tz::Offset;
use serde_json::Value;

use crate::custom::definition::{EntitySpec, FieldSpec, ValueType};
use crate::custom::filter::Wire;
use crate::custom::pointer::{at, at_mut, plain, put, top};
use crate::custom::wire::WireFormat;
use crate::error::{Error, ErrorKind, FieldError, Result};
use crate::model::{Entity, FieldType, Fields, parse_date, parse_datetime};

impl EntitySpec {
    /// The host's fields as the body of a write. Fields that are computed, and the id, are left out.
    pub(super) fn encode(&self, entity: &Entity, fields: &Fields) -> Result<Value> {
        let mut body = Value::Object(serde_json::Map::new());
        for (name, value) in fields {
            let spec = self.fields.get(name);
            if spec.is_some_and(|spec| spec.read_only) || (spec.is_none() && name == self.id_name() && !self.client_id) {
                continue;
            }
            if self.strict && spec.is_none() && name != self.id_name() {
                return Err(refused(entity, name, "the definition names no such field"));
            }
            let wire = match spec {
                Some(spec) => spec.encode(value).map_err(|reason| refused(entity, name, reason))?,
                None => value.clone(),
            };
            let path = spec.and_then(|spec| spec.path.as_deref());
            let done = match path {
                Some(path) => put(&mut body, path, wire),
                // A bare name is a name, whatever characters it has.
                None => self.holder(&mut body).map(|members| drop(members.insert(name.to_owned(), wire))),
            };
            let beside = spec.into_iter().flat_map(|spec| &spec.also);
            let done = beside.fold(done, |done, (path, value)| done.and_then(|()| put(&mut body, path, value.clone())));
            done.ok_or_else(|| refused(entity, name, "another field stands where its object should be"))?;
        }
        Ok(body)
    }

    /// The object that holds the fields of a body.
    fn holder<'a>(&self, body: &'a mut Value) -> Option<&'a mut serde_json::Map<String, Value>> {
        let Some(path) = &self.attributes else { return body.as_object_mut() };
        if at(body, path).is_none() {
            put(body, path, Value::Object(serde_json::Map::new()))?;
        }
        at_mut(body, path)?.as_object_mut()
    }

    /// A record's members as the host's fields.
    pub(super) fn decode(&self, mut record: Value) -> Option<Value> {
        let mut moved = Vec::new();
        let inside = self.attributes.as_deref().and_then(|path| at(&record, path));
        for (name, spec) in &self.fields {
            let path = spec.path.as_deref().unwrap_or(name);
            let within = if spec.path.is_some() { &record } else { inside.unwrap_or(&record) };
            if let Some(value) = at(within, path) {
                moved.push((name.clone(), path, spec.decode(value)));
            }
        }
        if let Some(path) = &self.attributes {
            let id = self.id_paths().find(&record).cloned();
            let mut members =
                at_mut(&mut record, path).map(Value::take).filter(Value::is_object).unwrap_or_else(|| Value::Object(Default::default()));
            if let (Some(id), Some(members)) = (id, members.as_object_mut()) {
                members.entry(self.id_name()).or_insert(id);
            }
            record = members;
        }
        let members = record.as_object_mut()?;
        // An object whose parts were all moved out would only say them twice.
        for (name, path, _) in &moved {
            let top = top(path);
            if top != name {
                members.remove(top);
            }
        }
        for (name, _, value) in moved {
            members.insert(name, value);
        }
        Some(record)
    }
}

fn refused(entity: &Entity, field: &str, reason: &str) -> Error {
    let message = format!("the field {field} cannot be written: {reason}");
    Error::new(ErrorKind::Validation, message).on(entity).with_fields(vec![FieldError::new(field, None)])
}

impl Wire for EntitySpec {
    fn name(&self, field: &str) -> String {
        let spec = self.fields.get(field);
        spec.and_then(|spec| spec.filter.clone().or_else(|| spec.path.clone())).unwrap_or_else(|| field.to_owned())
    }

    fn value(&self, field: &str, value: &Value) -> Result<Value> {
        match self.fields.get(field) {
            Some(spec) => {
                spec.encode(value).map_err(|reason| Error::config(format!("the field {field} cannot be compared with that: {reason}")))
            }
            None if self.strict && field != self.id_name() => {
                Err(Error::config(format!("the field {field} cannot be compared: the definition names no such field")))
            }
            None if field == self.id_name() => Ok(plain(value).map_or_else(|| value.clone(), |id| self.id_value(&id))),
            None => Ok(value.clone()),
        }
    }
}

impl FieldSpec {
    /// The type the rest of the library knows.
    pub(super) fn field_type(&self) -> FieldType {
        match self.kind {
            ValueType::Any => FieldType::Any,
            ValueType::Boolean => FieldType::Boolean,
            ValueType::Date => FieldType::Date,
            ValueType::Datetime => {
                FieldType::DateTime { whole_seconds: self.format.as_ref().unwrap_or(&WireFormat::default()).whole_seconds() }
            }
            ValueType::Decimal | ValueType::DecimalText => FieldType::Decimal { scale: None },
            ValueType::Email => FieldType::Email,
            ValueType::Integer => FieldType::Integer,
            ValueType::MultiPicklist => FieldType::MultiPicklist,
            ValueType::Phone => FieldType::Phone,
            ValueType::Picklist => FieldType::Picklist,
            ValueType::Reference => FieldType::Reference,
            ValueType::Text => FieldType::Text,
            ValueType::Url => FieldType::Url,
        }
    }

    /// The host's value as the API writes it.
    pub(super) fn encode(&self, value: &Value) -> Result<Value, &'static str> {
        if value.is_null() {
            return Ok(self.clear.clone().unwrap_or(Value::Null));
        }
        match self.kind {
            ValueType::Boolean => {
                let is = match value {
                    Value::Bool(is) => *is,
                    Value::String(text) if text.eq_ignore_ascii_case("true") => true,
                    Value::String(text) if text.eq_ignore_ascii_case("false") => false,
                    _ => return Err("it is neither true nor false"),
                };
                Ok(match &self.booleans {
                    Some([yes, no]) => if is { yes } else { no }.clone(),
                    None => Value::Bool(is),
                })
            }
            ValueType::Date => {
                let day = value.as_str().and_then(parse_date).ok_or("it is not a date")?;
                match &self.format {
                    None | Some(WireFormat::Date) => Ok(Value::String(day.to_string())),
                    Some(format) => {
                        let midnight = Offset::UTC.to_timestamp(day.at(0, 0, 0, 0)).map_err(|_| "the date is out of range")?;
                        Ok(format.write(midnight))
                    }
                }
            }
            ValueType::Datetime => {
                let instant = value.as_str().and_then(parse_datetime).ok_or("it is not a date with a time")?;
                Ok(self.format.as_ref().unwrap_or(&WireFormat::default()).write(instant))
            }
            ValueType::DecimalText => plain(value).map(Value::String).ok_or("it is not a number"),
            ValueType::Integer | ValueType::Decimal => match value {
                Value::Number(_) => Ok(value.clone()),
                Value::String(text) => {
                    serde_json::from_str::<serde_json::Number>(text.trim()).map(Value::Number).map_err(|_| "it is not a number")
                }
                _ => Err("it is not a number"),
            },
            ValueType::Reference if self.numeric => {
                let number = plain(value).and_then(|text| text.parse::<i64>().ok());
                number.map(Value::from).ok_or("it is not the number of a record")
            }
            ValueType::Picklist => Ok(self.option(value)),
            ValueType::MultiPicklist => {
                let items: Vec<Value> = match value {
                    Value::Array(items) => items.iter().map(|item| self.option(item)).collect(),
                    Value::String(text) => {
                        text.split(';').filter(|item| !item.is_empty()).map(|item| self.option(&item.trim().into())).collect()
                    }
                    _ => return Err("it is not a list of values"),
                };
                Ok(match &self.join {
                    Some(join) => {
                        let texts: Option<Vec<String>> = items.iter().map(plain).collect();
                        let texts = texts.ok_or("one of its values is neither text nor number")?;
                        if !join.is_empty() && texts.iter().any(|text| text.contains(join.as_str())) {
                            return Err("one of its values holds the separator");
                        }
                        Value::String(texts.join(join))
                    }
                    None => Value::Array(items),
                })
            }
            _ => Ok(value.clone()),
        }
    }

    fn option(&self, value: &Value) -> Value {
        let known = plain(value).and_then(|label| {
            let exact = self.options.get(&label);
            exact.or_else(|| self.options.iter().find(|(known, _)| known.eq_ignore_ascii_case(&label)).map(|(_, value)| value))
        });
        known.unwrap_or(value).clone()
    }

    /// True and false as the definition says; where it says nothing, 1 and 0 and the words count too, as numbers or as texts.
    fn boolean(&self, value: &Value) -> Option<bool> {
        let text = plain(value);
        if let Some([yes, no]) = &self.booleans {
            let is = |wire: &Value| wire == value || (text.is_some() && plain(wire) == text);
            return if is(yes) { Some(true) } else { is(no).then_some(false) };
        }
        match text?.to_ascii_lowercase().as_str() {
            "1" | "true" => Some(true),
            "0" | "false" => Some(false),
            _ => None,
        }
    }

    fn label(&self, value: &Value) -> Value {
        let found =
            self.options.iter().find(|(_, known)| *known == value || plain(known).is_some_and(|text| plain(value).as_ref() == Some(&text)));
        found.map_or_else(|| value.clone(), |(label, _)| Value::String(label.clone()))
    }

    /// The API's value as the host sees it. What does not fit its type goes through as it is: declared types lie at times.
    pub(super) fn decode(&self, value: &Value) -> Value {
        if value.is_null() || self.clear.as_ref() == Some(value) {
            return Value::Null;
        }
        match self.kind {
            ValueType::Boolean => self.boolean(value).map_or_else(|| value.clone(), Value::Bool),
            ValueType::Date => match &self.format {
                None | Some(WireFormat::Date) => value.clone(),
                Some(format) => {
                    format.read(value).map_or_else(|| value.clone(), |at| Value::String(Offset::UTC.to_datetime(at).date().to_string()))
                }
            },
            ValueType::Datetime => self
                .format
                .as_ref()
                .unwrap_or(&WireFormat::default())
                .read(value)
                .map_or_else(|| value.clone(), |at| Value::String(at.to_string())),
            ValueType::Picklist => self.label(value),
            ValueType::MultiPicklist => match (value, &self.join) {
                (Value::String(text), Some(join)) if !join.is_empty() => {
                    text.split(join.as_str()).map(str::trim).filter(|item| !item.is_empty()).map(|item| self.label(&item.into())).collect()
                }
                (Value::Array(items), _) => items.iter().map(|item| self.label(item)).collect(),
                _ => value.clone(),
            },
            _ => value.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entity(fields: &Value) -> EntitySpec {
        serde_json::from_value(json!({ "fields": fields })).unwrap()
    }

    #[test]
    fn both_ways() {
        let spec = entity(&json!({
            "active": {"type": "boolean", "booleans": [1, 0]},
            "born": {"type": "date", "format": "epoch_milliseconds"},
            "at": {"type": "datetime", "format": "sql"},
            "stage": {"type": "picklist", "options": {"Hot": 3, "Cold": 4}},
            "tags": {"type": "multi_picklist", "join": ","},
            "city": {"path": "address.city"},
            "amount": {"type": "decimal_text"},
            "note": {"clear": ""}
        }));
        let host = json!({
            "active": true, "born": "1980-02-29", "at": "2026-11-24T10:00:00Z", "stage": "Hot", "tags": ["a", "b"], "city": "Paris",
            "amount": "10.10", "note": null, "free": [1]
        });
        let wire = spec.encode(&Entity::from_static("x"), &Fields::from_value(host.clone()).unwrap()).unwrap();
        assert_eq!(
            wire,
            json!({
                "active": 1, "born": 320630400000_i64, "at": "2026-11-24 10:00:00", "stage": 3, "tags": "a,b",
                "address": {"city": "Paris"}, "amount": "10.10", "note": "", "free": [1]
            })
        );
        assert_eq!(spec.decode(wire).unwrap(), host);
    }

    #[test]
    fn booleans_of_every_kind() {
        let spec = entity(
            &json!({"a": {"type": "boolean"}, "b": {"type": "boolean", "booleans": ["1", "0"]}, "c": {"type": "boolean", "booleans": ["Y", "N"]}}),
        );
        let decoded = |value: Value| spec.decode(value).unwrap();
        assert_eq!(decoded(json!({"a": "0", "b": "1", "c": "Y"})), json!({"a": false, "b": true, "c": true}));
        assert_eq!(decoded(json!({"a": 1, "b": 0, "c": "N"})), json!({"a": true, "b": false, "c": false}));
        assert_eq!(decoded(json!({"a": true, "b": "x", "c": null})), json!({"a": true, "b": "x", "c": null}));
        let wire = spec.encode(&Entity::from_static("x"), &Fields::from_value(json!({"a": true, "b": false, "c": true})).unwrap()).unwrap();
        assert_eq!(wire, json!({"a": true, "b": "0", "c": "Y"}));
    }

    #[test]
    fn what_cannot_be_written_names_the_field_and_no_value() {
        let spec =
            entity(&json!({"at": {"type": "datetime"}, "tags": {"type": "multi_picklist", "join": ","}, "x": {"path": "a.b"}, "a": {}}));
        for (value, said) in [
            (json!({"at": "canary"}), "the field at cannot be written: it is not a date with a time"),
            (json!({"tags": ["can,ary"]}), "the field tags cannot be written: one of its values holds the separator"),
            (json!({"a": "canary", "x": 1}), "the field x cannot be written: another field stands where its object should be"),
        ] {
            let error = spec.encode(&Entity::from_static("e"), &Fields::from_value(value).unwrap()).unwrap_err();
            assert_eq!(error.message(), said);
        }
    }
}
