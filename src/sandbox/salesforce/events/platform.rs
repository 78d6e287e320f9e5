//! Platform events and generic channels: what is published through REST.

use http::Method;
use serde_json::{Map, Value, json};

use crate::sandbox::call::Reply;
use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::events::log::{Payload, uuid};
use crate::sandbox::salesforce::events::shape::{Shape, entity_of, wire};
use crate::sandbox::salesforce::rest::Ctx;
use crate::sandbox::salesforce::schema::ObjectDef;
use crate::sandbox::salesforce::validate::stamp;
use crate::sandbox::salesforce::write::Write;
use crate::sandbox::store::Row;

/// A generic event's payload.
const LONGEST: usize = 3_000;

/// Whether rows of the object are events, which are published and not stored.
pub(crate) fn is_event(object: &ObjectDef) -> bool {
    object.name.ends_with("__e")
}

/// The entry in `errors` that tells of an event in the queue; it is a success (Platform Events Developer Guide, publish
/// with REST).
pub(crate) fn enqueued(seed: u64, id: &str) -> Value {
    let number = id.bytes().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    json!([{"statusCode": "OPERATION_ENQUEUED", "message": uuid(seed, "publish", number), "fields": []}])
}

impl Salesforce {
    /// Publishes a checked row of an event object with the next commit.
    pub(crate) fn enqueue(&mut self, write: &Write, object: &ObjectDef, mut row: Row) -> String {
        row.fields.insert("CreatedDate".to_owned(), json!(stamp(write.now)));
        row.fields.insert("CreatedById".to_owned(), json!(write.user));
        let mut fields = Map::new();
        for field in object.fields.iter().filter(|field| field.is_custom() || field.name.starts_with("Created")) {
            let value = row.fields.get(&field.name).map_or(Value::Null, |value| wire(field.kind, value));
            fields.insert(field.name.clone(), value);
        }
        self.events.stage(Payload::Platform { event: object.name.clone(), fields });
        self.new_id(&object.prefix)
    }

    /// `POST /sobjects/StreamingChannel/{id}/push`.
    pub(crate) fn push_generic(&mut self, ctx: &Ctx, method: &Method, id: &str, body: Option<&Value>) -> Result<Reply, ApiError> {
        if method != Method::POST {
            return Err(ApiError::method(method, "POST"));
        }
        let object = self.object("StreamingChannel")?;
        let id = Self::id_of(&object, id)?;
        let channel = self.existing(&object, &id)?.text("Name").unwrap_or_default().to_owned();
        let events = body.and_then(|body| body.get("pushEvents")).and_then(Value::as_array);
        let events = events.ok_or_else(|| ApiError::json("pushEvents is missing or not a list"))?;
        let mut answers = Vec::new();
        for event in events {
            let payload = event.get("payload").cloned().unwrap_or(Value::Null);
            let length = payload.as_str().map(|text| text.chars().count());
            if length.is_none_or(|length| length > LONGEST) {
                return Err(ApiError::bad("INVALID_FIELD", "a payload is a text of at most 3,000 characters"));
            }
            let users: Vec<String> = event
                .get("userIds")
                .and_then(Value::as_array)
                .map(|list| list.iter().filter_map(Value::as_str).filter_map(crate::sandbox::salesforce::ids::normalize).collect())
                .unwrap_or_default();
            answers.push(json!({"fanoutCount": -1, "userOnlineStatus": {}}));
            self.events.stage(Payload::Generic { channel: channel.clone(), payload, users });
        }
        self.events.begin_at(ctx.now, &ctx.user);
        Ok(Reply::ok(Value::Array(answers)))
    }

    /// `GET /sobjects/{Event}/eventSchema`.
    pub(crate) fn event_schema(&mut self, name: &str) -> Result<Reply, ApiError> {
        let object = entity_of(name).unwrap_or_else(|| name.to_owned());
        let shape = self.shape(&object).filter(|shape| shape.event == name).ok_or_else(ApiError::not_found)?;
        schema_reply(&shape)
    }

    /// `GET /event/eventSchema/{id}`.
    pub(crate) fn event_schema_by_id(&mut self, id: &str) -> Result<Reply, ApiError> {
        let shape = self.schema_by_id(id).ok_or_else(ApiError::not_found)?;
        schema_reply(&shape)
    }
}

fn schema_reply(shape: &Shape) -> Result<Reply, ApiError> {
    let mut schema: Value = serde_json::from_str(&shape.json).map_err(|_| ApiError::not_found())?;
    if let Some(map) = schema.as_object_mut() {
        map.insert("uuid".to_owned(), json!(shape.id));
    }
    Ok(Reply::ok(schema))
}
