//! The part of the Tooling API that sets up channels: `PlatformEventChannel`, `PlatformEventChannelMember` and
//! `ManagedEventSubscription`.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::sandbox::call::Reply;
use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::events::bus::{CustomChannel, Managed};
use crate::sandbox::salesforce::events::channel::Channel;
use crate::sandbox::salesforce::events::shape::{entity_of, event_of};
use crate::sandbox::salesforce::ids;

/// Objects with change events, over all channels, without an add-on.
const MOST_OBJECTS: usize = 5;

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::bad("FIELD_INTEGRITY_EXCEPTION", message)
}

fn text<'a>(body: &'a Value, name: &str) -> Result<&'a str, ApiError> {
    let found = body.get(name).or_else(|| body.get("Metadata").and_then(|inner| inner.get(name)));
    found
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| ApiError::field("REQUIRED_FIELD_MISSING", format!("Required fields are missing: [{name}]"), &[name]))
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl Salesforce {
    /// Whether the Tooling face has the object.
    pub(crate) fn tools(name: &str) -> bool {
        ["PlatformEventChannel", "PlatformEventChannelMember", "ManagedEventSubscription"].contains(&name)
    }

    /// `/tooling/sobjects/{name}` and below.
    pub(crate) fn tooling(&mut self, method: &Method, name: &str, rest: &[&str], body: Option<&Value>) -> Result<Reply, ApiError> {
        match (method, rest) {
            (&Method::POST, []) => {
                let body = body.ok_or_else(|| ApiError::json("No content to map to Object due to end of input"))?;
                let id = match name {
                    "PlatformEventChannel" => self.add_channel(body)?,
                    "PlatformEventChannelMember" => self.add_member(body)?,
                    _ => self.add_managed(body)?,
                };
                Ok(Reply::json(StatusCode::CREATED, json!({"id": id, "success": true, "errors": [], "warnings": [], "infos": []})))
            }
            (&Method::GET, [id]) => self.tool(name, id).map(Reply::ok).ok_or_else(ApiError::not_found),
            (&Method::DELETE, [id]) => {
                self.tool(name, id).ok_or_else(ApiError::not_found)?;
                self.remove_tool(name, id);
                Ok(Reply::empty(StatusCode::NO_CONTENT))
            }
            (&Method::PATCH, [id]) if name == "ManagedEventSubscription" => {
                let state = text(body.unwrap_or(&Value::Null), "state")?.to_owned();
                let found = self.events.change().managed.values_mut().find(|managed| same(&managed.id, id));
                found.ok_or_else(ApiError::not_found)?.running = state == "RUN";
                Ok(Reply::empty(StatusCode::NO_CONTENT))
            }
            _ => Err(ApiError::method(method, "HEAD,GET,POST,DELETE")),
        }
    }

    fn add_channel(&mut self, body: &Value) -> Result<String, ApiError> {
        let name = text(body, "FullName")?.to_owned();
        if !name.ends_with("__chn") || !is_name(&name) {
            return Err(bad("the name of a custom channel ends in __chn"));
        }
        let kind = text(body, "channelType")?;
        if kind != "data" && kind != "event" {
            return Err(bad("channelType is data or event"));
        }
        if self.events.config.channels.contains_key(&name) {
            return Err(ApiError::bad("DUPLICATE_DEVELOPER_NAME", format!("the channel {name} exists already")));
        }
        if self.events.config.channels.len() >= 100 {
            return Err(ApiError::bad("LIMIT_EXCEEDED", "the org has 100 custom channels, and can have no more"));
        }
        let channel =
            CustomChannel { kind: kind.to_owned(), label: text(body, "label")?.to_owned(), members: std::collections::BTreeSet::new() };
        self.events.change().channels.insert(name.clone(), channel);
        Ok(tool_id("0YL", &name))
    }

    fn add_member(&mut self, body: &Value) -> Result<String, ApiError> {
        let channel = text(body, "eventChannel")?.to_owned();
        let event = text(body, "selectedEntity")?.to_owned();
        let member_id = tool_id("0v8", &format!("{channel}:{event}"));
        let change = entity_of(&event).and_then(|entity| self.schema.object(&entity)).map(|object| object.name.clone());
        let data = channel == "ChangeEvents" || self.events.config.channels.get(&channel).is_some_and(|known| known.kind == "data");
        match (&change, data) {
            (Some(entity), true) if event_of(entity) == event => {
                let captured = self.captured();
                if !captured.contains(entity) && captured.len() >= MOST_OBJECTS {
                    let message = format!("the org has change events for {MOST_OBJECTS} objects, and can have no more");
                    return Err(ApiError::bad("LIMIT_EXCEEDED", message));
                }
            }
            (None, false) if event.ends_with("__e") && self.schema.object(&event).is_some() => {}
            _ => return Err(bad(format!("{event} cannot be selected for the channel {channel}"))),
        }
        let config = self.events.change();
        if channel == "ChangeEvents" {
            config.enabled.extend(change);
            return Ok(member_id);
        }
        let known = config.channels.get_mut(&channel).ok_or_else(|| bad(format!("there is no channel {channel}")))?;
        known.members.insert(event);
        Ok(member_id)
    }

    fn add_managed(&mut self, body: &Value) -> Result<String, ApiError> {
        let name = text(body, "FullName")?.to_owned();
        if !is_name(&name) {
            return Err(bad("FullName holds letters, digits and underscores"));
        }
        let topic = text(body, "topicName")?.to_owned();
        match self.channel(&topic) {
            Ok(Channel::Changes | Channel::Change(_) | Channel::Custom(_) | Channel::Platform(_)) => {}
            _ => return Err(bad(format!("there is no topic {topic}"))),
        }
        let preset = |field: &str| match text(body, field) {
            Ok("EARLIEST") => Ok(true),
            Ok("LATEST") | Err(_) => Ok(false),
            Ok(_) => Err(bad(format!("{field} is LATEST or EARLIEST"))),
        };
        let managed = Managed {
            id: tool_id("18x", &name),
            label: text(body, "label").unwrap_or(&name).to_owned(),
            topic,
            earliest: preset("defaultReplay")?,
            recover_earliest: preset("errorRecoveryReplay")?,
            running: text(body, "state")? == "RUN",
            committed: None,
            name: name.clone(),
        };
        let id = managed.id.clone();
        if self.events.config.managed.contains_key(&name) {
            return Err(ApiError::bad("DUPLICATE_DEVELOPER_NAME", format!("the subscription {name} exists already")));
        }
        self.events.change().managed.insert(name, managed);
        Ok(id)
    }

    fn tool(&self, name: &str, id: &str) -> Option<Value> {
        let config = &self.events.config;
        match name {
            "PlatformEventChannel" => {
                let (name, channel) = config.channels.iter().find(|(name, _)| same(&tool_id("0YL", name), id))?;
                Some(
                    json!({"Id": tool_id("0YL", name), "FullName": name, "Metadata": {"channelType": channel.kind, "label": channel.label}}),
                )
            }
            "PlatformEventChannelMember" => {
                let (channel, event) = self.members().into_iter().find(|(channel, event)| same(&member_id(channel, event), id))?;
                Some(json!({"Id": member_id(&channel, &event), "FullName": format!("{channel}_{event}"),
                            "Metadata": {"eventChannel": channel, "selectedEntity": event}}))
            }
            _ => {
                let managed = config.managed.values().find(|managed| same(&managed.id, id))?;
                let preset = |earliest: bool| if earliest { "EARLIEST" } else { "LATEST" };
                Some(json!({"Id": managed.id, "FullName": managed.name, "DeveloperName": managed.name, "Metadata": {
                    "label": managed.label, "topicName": managed.topic, "defaultReplay": preset(managed.earliest),
                    "errorRecoveryReplay": preset(managed.recover_earliest), "state": if managed.running { "RUN" } else { "STOP" }}}))
            }
        }
    }

    /// Channels and their members, the standard one too.
    fn members(&self) -> Vec<(String, String)> {
        let config = &self.events.config;
        let standard = config.enabled.iter().map(|entity| ("ChangeEvents".to_owned(), event_of(entity)));
        let custom = config.channels.iter().flat_map(|(name, channel)| channel.members.iter().map(|event| (name.clone(), event.clone())));
        standard.chain(custom).collect()
    }

    fn remove_tool(&mut self, name: &str, id: &str) {
        let members = self.members();
        let config = self.events.change();
        match name {
            "PlatformEventChannel" => config.channels.retain(|name, _| !same(&tool_id("0YL", name), id)),
            "PlatformEventChannelMember" => {
                for (channel, event) in members.iter().filter(|(channel, event)| same(&member_id(channel, event), id)) {
                    match config.channels.get_mut(channel) {
                        Some(channel) => _ = channel.members.remove(event),
                        None => _ = entity_of(event).map(|entity| config.enabled.remove(&entity)),
                    }
                }
            }
            _ => config.managed.retain(|_, managed| !same(&managed.id, id)),
        }
    }
}

fn member_id(channel: &str, event: &str) -> String {
    tool_id("0v8", &format!("{channel}:{event}"))
}

/// An id that follows from the name, since names are unique.
fn tool_id(prefix: &str, name: &str) -> String {
    let number = name.bytes().fold(7u64, |sum, byte| sum.wrapping_mul(131).wrapping_add(u64::from(byte)));
    ids::make(prefix, 0, number % 62u64.pow(9))
}

fn same(known: &str, asked: &str) -> bool {
    ids::normalize(asked).as_deref() == Some(known)
}
