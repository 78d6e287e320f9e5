//! A change event of either transport becomes an item of the stream.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::model::{Change, ChangeKind, Entity, EventId, Fields, RecordId};
use crate::salesforce::ids;
use crate::salesforce::stream::compound::{flat, flat_path, is_compound};
use crate::salesforce::stream::event::{Reread, RereadReason, RereadScope, StreamChange, StreamEvent};
use crate::salesforce::stream::header::{ChangeHeader, Type};
use crate::salesforce::stream::options::Own;
use crate::salesforce::stream::position::Position;

/// The first line of a text that was sent as a diff against its last value (Change Data Capture Developer Guide, "Sending Data
/// Differences for Fields of Updated Records").
const DIFF: &str = "--- \n+++ ";

/// What is known of an event beside header and body.
pub(super) struct Envelope<'a> {
    pub(super) channel: &'a str,
    pub(super) position: Option<Position>,
    pub(super) event: Option<EventId>,
    pub(super) own: &'a Own,
    /// Whether the body holds every field of the record, those that did not change as null (Pub/Sub).
    pub(super) every_field: bool,
}

/// The item. `body` is the payload without its header.
pub(super) fn assemble(header: &ChangeHeader, body: Map<String, Value>, envelope: Envelope<'_>) -> StreamEvent {
    let entity = Entity::new(&header.entity_name);
    let ids: Vec<RecordId> = header.ids().map(ids::record_id).collect();
    let kind = header.kind();
    let whole = |at: Option<Timestamp>| at.map_or(RereadScope::All, RereadScope::Since);
    let told = match kind {
        Type::Change(kind) | Type::Gap(Some(kind)) => Some(kind),
        _ => None,
    };
    let (scope, reason) = match kind {
        Type::Overflow => (RereadScope::All, RereadReason::Overflow),
        _ if header.is_wildcard() => (RereadScope::All, RereadReason::Wildcard),
        Type::Gap(_) if ids.is_empty() => (whole(header.commit().at), RereadReason::Gap),
        Type::Gap(_) => (RereadScope::Records(ids), RereadReason::Gap),
        Type::Unknown if ids.is_empty() => (whole(header.commit().at), RereadReason::Undecodable),
        Type::Unknown => (RereadScope::Records(ids), RereadReason::Undecodable),
        Type::Change(kind) => match <[RecordId; 1]>::try_from(ids) {
            Ok([id]) => match fields(header, body, kind, envelope.every_field) {
                Some(fields) => return StreamEvent::Change(change(header, entity, id, kind, fields, envelope)),
                None => (RereadScope::Records(vec![id]), RereadReason::Incomplete),
            },
            Err(ids) if ids.is_empty() => (whole(header.commit().at), RereadReason::Undecodable),
            Err(ids) => (RereadScope::Records(ids), RereadReason::ManyRecords),
        },
    };
    let mut reread = Reread::new(envelope.channel, Some(entity), scope, reason);
    reread.kind = told;
    reread.origin = header.origin();
    reread.own = envelope.own.is_own(&reread.origin);
    reread.event = envelope.event;
    reread.commit = header.commit();
    reread.position = envelope.position;
    StreamEvent::Reread(reread)
}

fn change(header: &ChangeHeader, entity: Entity, id: RecordId, kind: ChangeKind, fields: Fields, envelope: Envelope<'_>) -> StreamChange {
    let mut change = Change::new(entity, id, kind);
    let commit = header.commit();
    change.fields = fields;
    change.at = commit.at;
    change.event = envelope.event;
    change.origin = header.origin();
    let own = envelope.own.is_own(&change.origin);
    let changed = (kind == ChangeKind::Updated)
        .then_some(header.changed_fields.as_ref())
        .flatten()
        .map(|names| names.iter().map(|name| flat_path(name).into_owned()).collect());
    StreamChange { change, changed, own, commit, position: envelope.position }
}

/// The fields of the change by the record's names, or `None` if the event does not hold them all.
fn fields(header: &ChangeHeader, body: Map<String, Value>, kind: ChangeKind, every_field: bool) -> Option<Fields> {
    if kind == ChangeKind::Deleted {
        return Some(Fields::new());
    }
    if header.diff_fields.as_ref().is_some_and(|fields| !fields.is_empty()) {
        return None;
    }
    let cleared = Cleared::new(header, kind, every_field);
    let mut fields = Fields::new();
    for (name, value) in body {
        match value {
            Value::Object(components) => {
                for (component, value) in components {
                    if is_diff(&value) {
                        return None;
                    }
                    if !value.is_null() || cleared.component(&name, &component) {
                        fields.insert(flat(&name, &component), value);
                    }
                }
            }
            value if is_diff(&value) => return None,
            Value::Null if !cleared.field(&name) => {}
            // Which components there are, only the record knows.
            Value::Null if is_compound(&name) => return None,
            value => {
                fields.insert(&name, value);
            }
        }
    }
    Some(fields)
}

fn is_diff(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with(DIFF))
}

/// Which nulls say that a field was cleared.
struct Cleared<'a> {
    /// `None`: every null does.
    listed: Option<Vec<&'a str>>,
}

impl<'a> Cleared<'a> {
    fn new(header: &'a ChangeHeader, kind: ChangeKind, every_field: bool) -> Self {
        if kind != ChangeKind::Updated {
            // A record that is new or back holds what is not empty.
            return Self { listed: Some(Vec::new()) };
        }
        let lists = [&header.changed_fields, &header.nulled_fields];
        let listed: Vec<&str> = lists.into_iter().flatten().flatten().map(String::as_str).collect();
        // CometD sends what changed and nothing else, and does not always list it.
        Self { listed: if listed.is_empty() && !every_field { None } else { Some(listed) } }
    }

    fn field(&self, name: &str) -> bool {
        let Some(listed) = &self.listed else { return true };
        listed.iter().any(|known| known.split('.').next() == Some(name))
    }

    fn component(&self, parent: &str, component: &str) -> bool {
        let Some(listed) = &self.listed else { return true };
        listed.iter().any(|known| match known.split_once('.') {
            Some((first, second)) => first == parent && second == component,
            None => *known == parent,
        })
    }
}

#[cfg(test)]
#[path = "assemble_tests.rs"]
mod tests;
