//! The calls that answer once, and who may call.

use apache_avro::Schema;
use jiff::Timestamp;
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::sandbox::api::Sandbox;
use crate::sandbox::pubsub::avro;
use crate::sandbox::pubsub::messages::{
    Error, ErrorCode, PublishRequest, PublishResponse, PublishResult, SchemaInfo, SchemaRequest, TopicInfo, TopicRequest,
};
use crate::sandbox::pubsub::refusal::{refuse, unauthenticated};
use crate::sandbox::salesforce::{Channel, Payload, Salesforce, stamp_millis, uuid};
use crate::sandbox::world::World;

/// Limits of a publish request (Pub/Sub API, allocations).
const MOST_EVENTS: usize = 200;
const LARGEST_EVENT: usize = 1_000_000;
const LARGEST_BATCH: usize = 4 * 1024 * 1024;

/// Who calls.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) token: String,
    pub(crate) rpc: String,
    pub(crate) method: &'static str,
}

impl Caller {
    /// Whether the call may begin, or go on.
    pub(crate) fn check(&self, world: &mut World, now: Timestamp) -> Result<(), Status> {
        if let Some(at) =
            world.salesforce.events.breakages.iter().position(|known| known.method.as_deref().is_none_or(|method| method == self.method))
            && let Some(breakage) = world.salesforce.events.breakages.get_mut(at)
        {
            breakage.left = breakage.left.saturating_sub(1);
            let status = refuse(Code::from(breakage.status), &breakage.code, "the sandbox was told to end this call", &self.rpc);
            world.salesforce.events.breakages.retain(|known| known.left > 0);
            return Err(status);
        }
        if !world.salesforce.auth.accepts(&self.token, now) {
            return Err(unauthenticated("The authentication is invalid or has expired.", &self.rpc));
        }
        Ok(())
    }
}

/// The caller, by the metadata every call carries.
pub(crate) fn caller(sandbox: &Sandbox, metadata: &MetadataMap, method: &'static str) -> Result<Caller, Status> {
    let now = sandbox.host().now();
    let mut world = sandbox.world();
    let number = world.salesforce.events.call();
    let rpc = uuid(world.salesforce.events.seed, "rpc", number);
    let text = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty());
    let (Some(token), Some(instance), Some(tenant)) = (text("accesstoken"), text("instanceurl"), text("tenantid")) else {
        return Err(unauthenticated("The metadata accesstoken, instanceurl and tenantid are required.", &rpc));
    };
    let url = url::Url::parse(instance).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    let org = world.salesforce.org.as_str();
    if !url || (tenant != org && Some(tenant) != org.get(..15)) {
        return Err(unauthenticated("The instanceurl is no URL or the tenantid is not this org's.", &rpc));
    }
    let caller = Caller { token: token.to_owned(), rpc, method };
    caller.check(&mut world, now)?;
    Ok(caller)
}

/// The channel of a topic. PushTopics and generic channels have no topics here.
pub(crate) fn topic(salesforce: &Salesforce, name: &str, rpc: &str) -> Result<Channel, Status> {
    match salesforce.channel(name) {
        Ok(channel @ (Channel::Change(_) | Channel::Changes | Channel::Custom(_) | Channel::Platform(_))) => Ok(channel),
        _ => Err(refuse(Code::NotFound, "topic.not.found", format!("The topic {name} was not found."), rpc)),
    }
}

pub(crate) fn get_topic(sandbox: &Sandbox, caller: &Caller, request: TopicRequest) -> Result<TopicInfo, Status> {
    let mut world = sandbox.world();
    let channel = topic(&world.salesforce, &request.topic_name, &caller.rpc)?;
    let object = match &channel {
        Channel::Change(name) | Channel::Platform(name) => Some(name.clone()),
        _ => None,
    };
    let schema = object.and_then(|object| world.salesforce.shape(&object)).map_or_else(String::new, |shape| shape.id.clone());
    Ok(TopicInfo {
        topic_name: request.topic_name,
        tenant_guid: format!("core/sandbox/{}", world.salesforce.org),
        can_publish: matches!(channel, Channel::Platform(_)),
        can_subscribe: true,
        schema_id: schema,
        rpc_id: caller.rpc.clone(),
    })
}

pub(crate) fn get_schema(sandbox: &Sandbox, caller: &Caller, request: &SchemaRequest) -> Result<SchemaInfo, Status> {
    let shape = sandbox.world().salesforce.schema_by_id(&request.schema_id);
    match shape {
        Some(shape) => Ok(SchemaInfo { schema_json: shape.json.clone(), schema_id: shape.id.clone(), rpc_id: caller.rpc.clone() }),
        None => Err(refuse(Code::NotFound, "schema.not.found", "The schema was not found.", &caller.rpc)),
    }
}

fn failed(id: &str, message: impl Into<String>) -> PublishResult {
    let error = Error { code: ErrorCode::Publish.into(), msg: message.into() };
    PublishResult { replay_id: Vec::new(), error: Some(error), correlation_key: id.to_owned() }
}

pub(crate) fn publish(sandbox: &Sandbox, caller: &Caller, request: &PublishRequest) -> Result<PublishResponse, Status> {
    let invalid = |error: &str, message: &str| Err(refuse(Code::InvalidArgument, error, message, &caller.rpc));
    if request.encoded_len() > LARGEST_BATCH {
        return Err(refuse(Code::Unavailable, "service.unavailable", "The request is larger than 4 MB.", &caller.rpc));
    }
    if request.events.is_empty() || request.events.len() > MOST_EVENTS {
        return invalid("publish.validation.failed", "A publish request holds 1 to 200 events.");
    }
    let now = sandbox.host().now();
    let mut world = sandbox.world();
    let Channel::Platform(name) = topic(&world.salesforce, &request.topic_name, &caller.rpc)? else {
        let message = "Events of this topic cannot be published.";
        return Err(refuse(Code::PermissionDenied, "publish.permission.denied", message, &caller.rpc));
    };
    let (Some(shape), Some(object)) = (world.salesforce.shape(&name), world.salesforce.schema.object(&name).cloned()) else {
        return invalid("publish.validation.failed", "The event is not known.");
    };
    let user = world.salesforce.user.clone();
    let before = world.salesforce.events.log.last();
    let mut results = Vec::new();
    for event in &request.events {
        if event.payload.len() > LARGEST_EVENT {
            results.push(failed(&event.id, "The event is larger than 1 MB."));
            continue;
        }
        let writer = world.salesforce.schema_by_id(&event.schema_id).filter(|known| known.event == shape.event);
        let Some(writer) = writer else {
            results.push(failed(&event.id, "The schema is not one of this event."));
            continue;
        };
        let decoded = Schema::parse_str(&writer.json)
            .map_err(|error| error.to_string())
            .and_then(|schema| avro::decode(&writer, &schema, &event.payload));
        let mut fields = match decoded {
            Ok(fields) => fields,
            Err(error) => {
                results.push(failed(&event.id, format!("The payload does not fit the schema: {error}")));
                continue;
            }
        };
        let empty = object.fields.iter().find(|field| {
            field.is_custom() && !field.nillable && !field.defaulted && fields.get(&field.name).is_none_or(serde_json::Value::is_null)
        });
        if let Some(field) = empty {
            results.push(failed(&event.id, format!("Required fields are missing: [{}]", field.name)));
            continue;
        }
        // Who and when are the server's.
        fields.insert("CreatedDate".to_owned(), serde_json::json!(stamp_millis(now.as_millisecond())));
        fields.insert("CreatedById".to_owned(), serde_json::json!(user));
        world.salesforce.events.stage(Payload::Platform { event: name.clone(), fields });
        results.push(PublishResult { replay_id: Vec::new(), error: None, correlation_key: event.id.clone() });
    }
    world.salesforce.events.begin_at(now, &user);
    if world.commit().is_err() {
        return Err(refuse(Code::Internal, "service.unavailable", "The events could not be stored.", &caller.rpc));
    }
    let mut ids = world.salesforce.events.log.after(before, now).map(|event| event.replay);
    for result in results.iter_mut().filter(|result| result.error.is_none()) {
        result.replay_id = ids.next().unwrap_or_default().to_be_bytes().to_vec();
    }
    Ok(PublishResponse { results, schema_id: shape.id.clone(), rpc_id: caller.rpc.clone() })
}
