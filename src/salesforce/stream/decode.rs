//! A message of a CometD channel becomes an item of the stream.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::model::{Change, ChangeKind, Entity, EventId, Fields, parse_datetime};
use crate::salesforce::ids;
use crate::salesforce::stream::assemble::{Envelope, assemble};
use crate::salesforce::stream::channel::{Channel, entity_of};
use crate::salesforce::stream::event::{Commit, Reread, RereadReason, RereadScope, StreamChange, StreamEvent, StreamMessage};
use crate::salesforce::stream::header::ChangeHeader;
use crate::salesforce::stream::options::Own;
use crate::salesforce::stream::position::{Position, ReplayId};

/// The item of a message, or `None` if it came before. `channels` are those subscribed to.
pub(super) fn decode(channels: &mut [Channel], name: &str, data: Value, own: &Own) -> Option<StreamEvent> {
    let at = channels
        .iter()
        .position(|channel| channel.subscription.channel == name)
        .or_else(|| channels.iter().position(|channel| channel.carries(name)));
    let mut channel = at.and_then(|at| channels.get_mut(at));
    let subscribed = channel.as_ref().map_or(name, |channel| channel.subscription.channel.as_str()).to_owned();
    let replay_id = data.pointer("/event/replayId").and_then(replay_id);
    let position = replay_id.clone().map(|id| Position::new(subscribed.as_str(), id));
    let entity = channel.as_ref().and_then(|channel| channel.entity());
    // A PushTopic's events have no id of their own; two of them differ in their time.
    let mark = data.pointer("/event/EventUuid").or_else(|| data.pointer("/event/createdDate")).and_then(Value::as_str);
    let mark = mark.unwrap_or_default().to_owned();
    let event = item(&subscribed, data, entity, position, own);
    if let (Some(channel), Some(id)) = (&mut channel, &replay_id)
        && !channel.note(id, &mark, time(&event))
    {
        return None;
    }
    Some(event)
}

fn replay_id(value: &Value) -> Option<ReplayId> {
    match value {
        Value::Number(number) => number.as_i64().map(ReplayId::from),
        Value::String(text) if !text.is_empty() => Some(ReplayId::new(text.as_str())),
        _ => None,
    }
}

fn time(event: &StreamEvent) -> Option<Timestamp> {
    match event {
        StreamEvent::Change(change) => change.change.at,
        StreamEvent::Message(message) => message.at,
        StreamEvent::Reread(reread) => reread.commit.at,
        _ => None,
    }
}

fn item(channel: &str, mut data: Value, entity: Option<Entity>, position: Option<Position>, own: &Own) -> StreamEvent {
    let event = data.get("event").cloned().unwrap_or(Value::Null);
    let uuid = event.get("EventUuid").and_then(Value::as_str).filter(|uuid| !uuid.is_empty()).map(EventId::from);
    let mut payload = data.get_mut("payload").map(Value::take);
    if let Some(Value::Object(body)) = &mut payload
        && let Some(header) = body.remove("ChangeEventHeader")
    {
        return match serde_json::from_value::<ChangeHeader>(header) {
            Ok(header) => {
                let envelope = Envelope { channel, position, event: uuid, own, every_field: false };
                assemble(&header, std::mem::take(body), envelope)
            }
            Err(_) => undecodable(channel, entity, position, uuid),
        };
    }
    if let Some(Value::Object(record)) = data.get_mut("sobject").map(Value::take) {
        return match entity {
            Some(entity) => pushed(channel, entity, record, &event, position),
            None => message(channel, Value::Object(record), &event, uuid, position),
        };
    }
    // A channel of changes carries nothing else.
    if channel.starts_with("/data/") {
        return undecodable(channel, entity.or_else(|| entity_of(channel)), position, uuid);
    }
    let payload = payload.unwrap_or(data);
    message(channel, payload, &event, uuid, position)
}

fn undecodable(channel: &str, entity: Option<Entity>, position: Option<Position>, event: Option<EventId>) -> StreamEvent {
    let mut reread = Reread::new(channel, entity, RereadScope::All, RereadReason::Undecodable);
    (reread.position, reread.event) = (position, event);
    StreamEvent::Reread(reread)
}

/// An event of a PushTopic: the fields of its query as they are now.
fn pushed(channel: &str, entity: Entity, mut record: Map<String, Value>, event: &Value, position: Option<Position>) -> StreamEvent {
    let kind = match event.get("type").and_then(Value::as_str) {
        Some("created") => ChangeKind::Created,
        Some("deleted") => ChangeKind::Deleted,
        Some("undeleted") => ChangeKind::Restored,
        _ => ChangeKind::Updated,
    };
    record.remove("attributes");
    let id = record.remove("Id").as_ref().and_then(Value::as_str).map(ids::record_id);
    let Some(id) = id else { return undecodable(channel, Some(entity), position, None) };
    let mut change = Change::new(entity, id, kind);
    change.at = event.get("createdDate").and_then(Value::as_str).and_then(parse_datetime);
    if kind != ChangeKind::Deleted {
        change.fields = record.into_iter().fold(Fields::new(), |mut fields, (name, value)| {
            fields.insert(name, value);
            fields
        });
    }
    let commit = Commit { at: change.at, ..Commit::default() };
    StreamEvent::Change(StreamChange { change, changed: None, own: false, commit, position })
}

fn message(channel: &str, payload: Value, event: &Value, uuid: Option<EventId>, position: Option<Position>) -> StreamEvent {
    let told = event.get("EventApiName").and_then(Value::as_str);
    let named = channel.strip_prefix("/event/").filter(|name| name.ends_with("__e"));
    let at = event.get("createdDate").or_else(|| payload.get("CreatedDate")).and_then(Value::as_str).and_then(parse_datetime);
    StreamEvent::Message(StreamMessage {
        channel: channel.to_owned(),
        name: told.or(named).map(ToOwned::to_owned),
        event: uuid,
        at,
        payload,
        position,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::salesforce::stream::options::Subscription;
    use serde_json::json;

    fn read(subscription: Subscription, data: Value) -> StreamEvent {
        let own = Own { client: None, user: None };
        let name = subscription.channel.clone();
        decode(&mut [Channel::new(subscription)], &name, data, &own).unwrap()
    }

    #[test]
    fn a_push_topic_of_an_entity_is_a_change() {
        let topic = || Subscription::push_topic("Leads", Entity::from_static("Lead"));
        let data = json!({"event": {"type": "updated", "createdDate": "2026-01-01T00:00:00.208Z", "replayId": 13},
                          "sobject": {"Id": "00QAb00000Xy12Z", "Status": "Open", "Title": null}});
        let StreamEvent::Change(change) = read(topic(), data.clone()) else { panic!() };
        assert_eq!(change.change.id.as_str(), "00QAb00000Xy12ZMAR");
        assert_eq!(change.change.fields.to_value(), json!({"Status": "Open", "Title": null}));
        assert_eq!(change.position.unwrap(), Position::new("/topic/Leads", ReplayId::from(13)));
        assert_eq!(change.commit.at.unwrap().as_millisecond() % 1000, 208);
        let StreamEvent::Message(message) = read(Subscription::new("/topic/Leads"), data) else { panic!() };
        assert_eq!(message.payload["Status"], "Open");
        let nobody = json!({"event": {"type": "deleted", "replayId": 1}, "sobject": {}});
        assert!(matches!(read(topic(), nobody), StreamEvent::Reread(_)));
    }

    #[test]
    fn platform_and_generic_events_are_messages() {
        let data = json!({"schema": "x", "payload": {"CreatedDate": "2026-01-01T00:00:00.000Z", "Text__c": "secret"},
                          "event": {"replayId": 5, "EventUuid": "u1"}});
        let StreamEvent::Message(message) = read(Subscription::platform_event("A__e"), data) else { panic!() };
        assert_eq!((message.name.as_deref(), message.event.as_ref().map(EventId::as_str)), (Some("A__e"), Some("u1")));
        assert!(message.at.is_some() && !format!("{message:?}").contains("secret"));
        let data = json!({"payload": "hello", "event": {"createdDate": "2026-01-01T00:00:00.000Z", "replayId": 5}});
        let StreamEvent::Message(message) = read(Subscription::generic("B"), data) else { panic!() };
        assert_eq!((message.payload, message.name), (json!("hello"), None));
        let StreamEvent::Message(bare) = read(Subscription::new("/chat"), json!({"text": "hi"})) else { panic!() };
        assert_eq!((bare.payload, bare.position), (json!({"text": "hi"}), None));
    }

    #[test]
    fn a_change_that_cannot_be_read_is_an_order() {
        let channel = Subscription::changes(&Entity::from_static("Lead"));
        for payload in [json!({"ChangeEventHeader": {"entityName": 7}}), json!("torn"), json!({})] {
            let StreamEvent::Reread(reread) = read(channel.clone(), json!({"payload": payload, "event": {"replayId": 3}})) else {
                panic!()
            };
            assert_eq!((reread.reason, reread.entity.unwrap().as_str()), (RereadReason::Undecodable, "Lead"));
            assert!(reread.position.is_some());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_message_makes_it_panic(text in "\\PC{0,60}", number in proptest::num::i64::ANY) {
            let data = json!({"payload": {"ChangeEventHeader": {"entityName": text, "recordIds": [text], "changeType": "UPDATE",
                              "commitTimestamp": number}, text.clone(): {text.clone(): null}}, "event": {"replayId": number}});
            read(Subscription::new("/data/ChangeEvents"), data);
        }
    }
}
