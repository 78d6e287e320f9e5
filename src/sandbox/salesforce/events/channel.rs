//! Channels: which exist, what they carry, and how their messages look in Bayeux.

use serde_json::{Map, Value, json};

use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::events::log::{Change, Event, Payload};
use crate::sandbox::salesforce::events::shape::{entity_of, event_of};
use crate::sandbox::salesforce::validate::stamp_millis;

/// A channel that exists.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Channel {
    /// Changes of one object.
    Change(String),
    /// Changes of all selected objects.
    Changes,
    Custom(String),
    Generic(String),
    Platform(String),
    /// A PushTopic and what its messages are filtered by.
    Topic(String, Vec<(String, String)>),
}

fn missing(channel: &str) -> String {
    format!("400::The channel you requested to subscribe to does not exist {{{channel}}}")
}

impl Salesforce {
    /// The channel of that name, or the Bayeux error. Names mind their case.
    pub(crate) fn channel(&self, text: &str) -> Result<Channel, String> {
        if text.starts_with("/meta/") || text.starts_with("/service/") || text.contains('*') {
            return Err("403::Restricted channel".to_owned());
        }
        let config = &self.events.config;
        let segments: Vec<&str> = text.strip_prefix('/').unwrap_or_default().splitn(2, '/').collect();
        match segments.as_slice() {
            ["data", "ChangeEvents"] => Ok(Channel::Changes),
            ["data" | "event", name] if name.ends_with("__chn") => {
                let kind = segments.first().copied().unwrap_or_default();
                let known = config.channels.get(*name).is_some_and(|channel| channel.kind == kind);
                known.then(|| Channel::Custom((*name).to_owned())).ok_or_else(|| missing(text))
            }
            ["data", event] => entity_of(event)
                .and_then(|entity| self.schema.object(&entity).filter(|object| object.name == entity && object.writable))
                .map(|object| Channel::Change(object.name.clone()))
                .ok_or_else(|| missing(text)),
            ["event", name] => {
                let known = self.schema.object(name).filter(|object| object.name == *name && name.ends_with("__e"));
                known.map(|object| Channel::Platform(object.name.clone())).ok_or_else(|| missing(text))
            }
            ["topic", rest] => {
                let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
                let is_it = |row: &crate::sandbox::store::Row| !row.deleted && row.is_true("IsActive") && row.text("Name") == Some(name);
                if !self.tables.rows("PushTopic").any(|(_, row)| is_it(row)) {
                    return Err(missing(text));
                }
                let filter = crate::sandbox::call::pairs(query.as_bytes());
                Ok(Channel::Topic(name.to_owned(), filter))
            }
            ["u", _] => {
                let known = self.tables.rows("StreamingChannel").any(|(_, row)| !row.deleted && row.text("Name") == Some(text));
                known.then(|| Channel::Generic(text.to_owned())).ok_or_else(|| missing(text))
            }
            _ => Err("404::Unknown channel".to_owned()),
        }
    }

    /// Whether a channel carries an event. `user` is the subscriber.
    pub(crate) fn carries(&self, channel: &Channel, event: &Event, user: &str) -> bool {
        match (channel, &event.payload) {
            (Channel::Changes, Payload::Change(change)) => self.events.config.enabled.contains(&change.entity),
            (Channel::Change(entity), Payload::Change(change)) => *entity == change.entity && self.events.config.enabled.contains(entity),
            (Channel::Custom(name), Payload::Change(change)) => self.is_member(name, &event_of(&change.entity)),
            (Channel::Custom(name), Payload::Platform { event, .. }) => self.is_member(name, event),
            (Channel::Platform(name), Payload::Platform { event, .. }) => name == event,
            (Channel::Generic(name), Payload::Generic { channel, users, .. }) => {
                name == channel && (users.is_empty() || users.iter().any(|known| known == user))
            }
            (Channel::Topic(name, filter), Payload::Topic { topic, sobject, .. }) => {
                // A filter on a field the topic does not select lets nothing pass.
                let same = |(field, wanted): &(String, String)| {
                    sobject.get(field).is_some_and(|value| match value {
                        Value::String(text) => text == wanted,
                        Value::Null => wanted == "null",
                        other => wanted.parse::<Value>().is_ok_and(|wanted| wanted == *other),
                    })
                };
                name == topic && filter.iter().all(same)
            }
            _ => false,
        }
    }

    fn is_member(&self, channel: &str, event: &str) -> bool {
        self.events.config.channels.get(channel).is_some_and(|channel| channel.members.contains(event))
    }

    /// The Bayeux message of an event. `version` is the endpoint's.
    pub(crate) fn message(&mut self, subscription: &str, custom: bool, event: &Event, version: u32) -> Value {
        let mut about = Map::new();
        about.insert("replayId".to_owned(), json!(event.replay));
        let data = match &event.payload {
            Payload::Change(change) => {
                let mut body = change.fields.clone();
                body.insert("ChangeEventHeader".to_owned(), header(change));
                self.schema_data(&change.entity, &body, event, version, custom, about)
            }
            Payload::Platform { event: name, fields } => self.schema_data(name, fields, event, version, custom, about),
            Payload::Topic { kind, sobject, .. } => {
                about.insert("type".to_owned(), json!(kind));
                about.insert("createdDate".to_owned(), json!(stamp_millis(event.at)));
                json!({"event": about, "sobject": sobject})
            }
            Payload::Generic { payload, .. } => {
                about.insert("createdDate".to_owned(), json!(stamp_millis(event.at)));
                json!({"event": about, "payload": payload})
            }
            Payload::Mark => json!({"event": about}),
        };
        json!({"channel": subscription, "data": data})
    }

    fn schema_data(
        &mut self,
        object: &str,
        body: &Map<String, Value>,
        event: &Event,
        version: u32,
        custom: bool,
        mut about: Map<String, Value>,
    ) -> Value {
        let shape = self.shape(object);
        if version >= 52 {
            about.insert("EventUuid".to_owned(), json!(event.uuid));
        }
        if version >= 55 && custom {
            about.insert("EventApiName".to_owned(), json!(shape.as_ref().map(|shape| shape.event.clone())));
        }
        json!({"schema": shape.map(|shape| shape.id.clone()), "payload": body, "event": about})
    }
}

/// The header as CometD shows it: without `nulledFields` and `diffFields`.
fn header(change: &Change) -> Value {
    json!({
        "entityName": change.entity,
        "recordIds": change.ids,
        "changeType": change.kind,
        "changeOrigin": change.origin,
        "transactionKey": change.transaction,
        "sequenceNumber": change.sequence,
        "commitTimestamp": change.timestamp,
        "commitNumber": change.number,
        "commitUser": change.user,
        "changedFields": change.changed,
    })
}
