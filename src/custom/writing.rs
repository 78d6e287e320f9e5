//! Writes of one record.

use http::header::{ETAG, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, LOCATION};
use serde_json::Value;

use crate::adapter::{WriteOptions, Written};
use crate::custom::connection::Custom;
use crate::custom::definition::EntitySpec;
use crate::custom::operation::WriteOp;
use crate::custom::pointer::{plain, put, selectors};
use crate::custom::request::Draft;
use crate::custom::template::{Names, fill, names_in};
use crate::error::{Error, Result};
use crate::model::{Entity, Fields, RecordId, Version};
use crate::rest::{Answer, Call};

/// What a write sends.
pub(super) struct Sending<'a> {
    pub(super) operation: &'static str,
    pub(super) entity: &'a Entity,
    pub(super) spec: &'a EntitySpec,
    pub(super) op: &'a WriteOp,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) record: Option<Value>,
    pub(super) names: Names<'a>,
    pub(super) options: &'a WriteOptions,
}

impl Custom {
    /// Sends a write and returns its answer.
    pub(super) async fn write(&self, sending: Sending<'_>) -> Result<Answer> {
        let call = self.write_call(&sending)?;
        self.send(&call, &sending.op.success).await.map_err(|error| error.on(sending.entity))
    }

    fn write_call(&self, sending: &Sending<'_>) -> Result<Call> {
        let (op, spec, options) = (sending.op, sending.spec, sending.options);
        let body = match (&op.body, &sending.record) {
            (Some(template), record) => {
                let id = sending.names.of.get("id").map(|id| spec.id_value(id));
                let record = record.as_ref().map(|record| ("record", record));
                let values = record.into_iter().chain(id.as_ref().map(|id| ("id", id))).collect();
                Some(
                    fill(template, &sending.names, &values)
                        .map_err(|name| Error::config(format!("{name:?} stands for nothing in the body")))?,
                )
            }
            (None, Some(record)) => Some(wrapped(spec, record.clone())?),
            (None, None) => None,
        };
        let draft = Draft {
            operation: sending.operation,
            method: sending.method,
            path: sending.path,
            params: Vec::new(),
            query: &op.query,
            headers: &op.headers,
            body,
            encoding: spec.encoding,
            read_only: false,
        };
        let mut call = self.shared.call(draft, &sending.names)?;
        if let Some(version) = &options.if_version {
            let known = spec.version.as_ref();
            if known.is_some_and(|known| known.etag || known.quoted) {
                let text = version.as_str();
                let quote = known.is_some_and(|known| known.quoted) && !text.starts_with(['"', 'W']);
                let text = if quote { format!("\"{text}\"") } else { text.to_owned() };
                let value = HeaderValue::try_from(text).map_err(|_| Error::config("the version cannot stand in a header"))?;
                call = call.header(IF_MATCH, value);
            } else if known.is_none_or(|known| known.send.is_none()) {
                return Err(Error::unsupported("the definition says no way to write on a condition"));
            }
        }
        if op.create_only {
            call = call.header(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        if let (Some(name), Some(key)) = (&op.idempotency_header, &options.idempotency_key) {
            let name = HeaderName::try_from(name.as_str()).map_err(|_| Error::config("the idempotency header has an impossible name"))?;
            let value = HeaderValue::try_from(key).map_err(|_| Error::config("the idempotency key cannot stand in a header"))?;
            call = call.header(name, value);
        }
        Ok(call)
    }

    /// What a create or upsert made.
    pub(super) fn written(&self, spec: &EntitySpec, op: &WriteOp, answer: &Answer, known: Option<&str>) -> Result<Written> {
        let body: Value = serde_json::from_slice(answer.bytes()).unwrap_or(Value::Null);
        let record = op.record.as_ref().or(spec.record.as_ref()).cloned().unwrap_or_default();
        let record = record.find(&body).unwrap_or(&Value::Null);
        let location = || {
            let name = op.id_header.as_deref().unwrap_or(LOCATION.as_str());
            id_in_address(answer.headers().get(name)?.to_str().ok()?, spec.id_name())
        };
        let told = op.id.as_ref().and_then(|path| path.text(&body)).or_else(|| spec.id_of(record));
        let id = told.or_else(location).or_else(|| known.map(ToOwned::to_owned));
        let id = id.ok_or_else(|| {
            let text = format!("the API did not say the id of the record it wrote (looked at {} and Location)", spec.id_told());
            Error::decode(text).with_status(answer.status()).ambiguous()
        })?;
        let mut written = Written::new(RecordId::new(id));
        if let Some(version) = &spec.version {
            let etag = answer.headers().get(ETAG).filter(|_| version.etag).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
            written.version = etag.or_else(|| version.path.as_ref().and_then(|path| path.text(record))).map(Version::new);
        }
        Ok(written)
    }

    pub(super) fn body_of(
        &self,
        entity: &Entity,
        spec: &EntitySpec,
        fields: &Fields,
        id: Option<&RecordId>,
        options: &WriteOptions,
    ) -> Result<Value> {
        if let Some((name, _)) = options.native.iter().next() {
            return Err(Error::config(format!("a defined API has no native option {name:?}")).on(entity));
        }
        let mut record = self.encoded(entity, spec, fields, id)?;
        let send = spec.version.as_ref().and_then(|version| version.send.as_deref());
        if let (Some(name), Some(version)) = (send, &options.if_version) {
            // A bare number stays one.
            let value = serde_json::from_str(version.as_str()).ok().filter(Value::is_number).unwrap_or_else(|| version.as_str().into());
            put(&mut record, name, value).ok_or_else(|| Error::config("another field stands where the version goes").on(entity))?;
        }
        Ok(record)
    }

    /// The fields as a record of the API's, with what every one of them has.
    pub(super) fn encoded(&self, entity: &Entity, spec: &EntitySpec, fields: &Fields, id: Option<&RecordId>) -> Result<Value> {
        let mut record = spec.encode(entity, fields)?;
        let mut names = self.shared.names().with("entity", entity.as_str());
        let value = id.map(|id| spec.id_value(id.as_str()));
        if let Some(id) = id {
            names = spec.with_id(names, id.as_str());
        }
        let values = value.iter().map(|value| ("id", value)).collect();
        for (path, template) in &spec.always {
            let mut needs_id = false;
            names_in(template, &mut |name| needs_id |= name == "id").map_err(Error::config)?;
            if needs_id && id.is_none() {
                continue;
            }
            let member =
                fill(template, &names, &values).map_err(|name| Error::config(format!("{name:?} stands for nothing in a record")))?;
            put(&mut record, path, member).ok_or_else(|| Error::config("a field stands where a member of every record goes").on(entity))?;
        }
        self.shared.hooks.encode(entity, record)
    }
}

impl EntitySpec {
    /// The members that tell the entries of lists apart.
    pub(super) fn selectors(&self) -> Vec<&str> {
        self.fields.values().filter_map(|field| field.path.as_deref()).flat_map(selectors).collect()
    }
}

/// The id in the address of a record: a query parameter of the id's name (PostgREST writes `/people?id=eq.5`), else the last step
/// of the path, or what stands in parentheses there (OData writes `leads(42)`).
fn id_in_address(address: &str, name: &str) -> Option<String> {
    let address = address.split('#').next().unwrap_or(address);
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let asked = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    if let Some(value) = asked {
        let id = value.strip_prefix("eq.").unwrap_or(&value);
        return Some(id.to_owned()).filter(|id| !id.is_empty());
    }
    let last = path.trim_end_matches('/').rsplit('/').next()?;
    let inside = last.strip_suffix(')').and_then(|last| last.split_once('(')).map(|(_, id)| id.trim_matches('\''));
    Some(inside.unwrap_or(last)).filter(|id| !id.is_empty()).map(ToOwned::to_owned)
}

/// The record where the API wants it in a body.
pub(super) fn wrapped(spec: &EntitySpec, record: Value) -> Result<Value> {
    match &spec.wrap {
        None => Ok(record),
        Some(path) => {
            let mut body = Value::Null;
            put(&mut body, path, record).ok_or_else(|| Error::config("the wrapping of a record is no path"))?;
            Ok(body)
        }
    }
}

/// `over` laid upon `under`, objects member by member, and lists entry by entry where a member of `marks` tells the entries apart.
pub(super) fn merged(under: Value, over: Value, marks: &[&str]) -> Value {
    match (under, over) {
        (Value::Object(mut below), Value::Object(above)) => {
            for (key, value) in above {
                let before = below.remove(&key).unwrap_or(Value::Null);
                below.insert(key, merged(before, value, marks));
            }
            Value::Object(below)
        }
        (Value::Array(mut below), Value::Array(above)) => {
            let mark = marks.iter().find(|mark| !above.is_empty() && above.iter().all(|entry| entry.get(mark).is_some()));
            let Some(mark) = mark else { return Value::Array(above) };
            for entry in above {
                let same = below.iter_mut().find(|known| known.get(mark).and_then(plain) == entry.get(mark).and_then(plain));
                match same {
                    Some(known) => *known = merged(known.take(), entry, marks),
                    None => below.push(entry),
                }
            }
            Value::Array(below)
        }
        (_, over) => over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_addresses() {
        for (address, id) in [
            ("/contacts/42", "42"),
            ("https://x.io/api/contacts/42/?lang=en#top", "42"),
            ("https://x.io/data/leads(7eb682f1-0c2a)", "7eb682f1-0c2a"),
            ("/leads('a-1')", "a-1"),
            ("/people?id=eq.5", "5"),
            ("/people?id=5", "5"),
        ] {
            assert_eq!(id_in_address(address, "id").as_deref(), Some(id), "{address}");
        }
        assert_eq!(id_in_address("", "id"), None);
    }
}
