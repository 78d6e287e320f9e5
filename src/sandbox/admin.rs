//! `/_sandbox/`: the sandbox itself over HTTP, for programs in other languages.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind};
use crate::sandbox::api::Sandbox;
use crate::sandbox::call::{Call, Reply};
use crate::sandbox::fault::Fault;
use crate::sandbox::salesforce::Automation;
use crate::sandbox::world::World;

impl Sandbox {
    /// Every row of every face, deleted ones too, as `GET /_sandbox/state` shows them.
    pub fn state(&self) -> Value {
        state(&self.advanced())
    }
}

/// Every row of every face.
fn state(world: &World) -> Value {
    json!({"hubspot": world.hubspot.state(), "pipedrive": world.pipedrive.state(), "salesforce": world.salesforce.state()})
}

fn refuse(error: &Error) -> Reply {
    let status = match error.kind() {
        ErrorKind::Store => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    Reply::json(status, json!({"error": error.to_string()}))
}

fn bad(message: impl Into<String>) -> Reply {
    Reply::json(StatusCode::BAD_REQUEST, json!({"error": message.into()}))
}

fn fields(call: &Call) -> Result<Map<String, Value>, Reply> {
    serde_json::from_slice(&call.body).map_err(|error| bad(format!("the body must be an object of fields: {error}")))
}

/// Answers a request below `/_sandbox/`.
pub(crate) fn handle(sandbox: &Sandbox, call: &Call) -> Reply {
    let segments = call.segments();
    let path: Vec<&str> = segments.iter().skip(1).map(String::as_str).collect();
    let mut world = sandbox.world();
    let now = call.now;
    let done = Reply::empty(StatusCode::NO_CONTENT);
    if let Err(error) = world.advance(now) {
        return refuse(&error);
    }
    match (path.as_slice(), &call.method) {
        (["pipedrive", rest @ ..], method) => {
            let result = world.pipedrive.admin(method, rest, &call.body, now);
            let result = result.and_then(|reply| world.commit().map(|()| reply));
            result.unwrap_or_else(|error| refuse(&error))
        }
        (["state"], &Method::GET) => Reply::ok(state(&world)),
        (["state"], &Method::DELETE) => world.reset(now).map_or_else(|error| refuse(&error), |()| done),
        (["requests"], &Method::GET) => Reply::ok(json!(world.requests)),
        (["requests"], &Method::DELETE) => {
            world.requests.clear();
            done
        }
        (["faults"], &Method::GET) => Reply::ok(json!(world.faults.pending())),
        (["faults"], &Method::POST) => {
            let list = match serde_json::from_slice::<Value>(&call.body) {
                Ok(list @ Value::Array(_)) => list,
                Ok(one) => Value::Array(vec![one]),
                Err(error) => return bad(format!("the body must be a fault or a list of faults: {error}")),
            };
            match serde_json::from_value::<Vec<Fault>>(list) {
                Ok(faults) => {
                    faults.into_iter().for_each(|fault| world.faults.add(fault));
                    Reply::json(StatusCode::CREATED, json!(world.faults.pending()))
                }
                Err(error) => bad(format!("this is not a fault: {error}")),
            }
        }
        (["faults"], &Method::DELETE) => {
            world.faults.clear();
            done
        }
        (["options"], &Method::GET) => Reply::ok(json!(world.salesforce.options)),
        (["options"], &Method::POST) => {
            let mut options = json!(world.salesforce.options);
            match (fields(call), &mut options) {
                (Ok(change), Value::Object(map)) => map.extend(change),
                (Err(reply), _) => return reply,
                _ => {}
            }
            match serde_json::from_value(options) {
                Ok(options) => {
                    world.salesforce.options = options;
                    world.commit().map_or_else(|error| refuse(&error), |()| done)
                }
                Err(error) => bad(format!("these are not options: {error}")),
            }
        }
        (["tokens"], &Method::DELETE) => {
            world.salesforce.auth.expire_all();
            world.commit().map_or_else(|error| refuse(&error), |()| done)
        }
        (["events"], &Method::GET) => Reply::ok(world.salesforce.events_state(now)),
        (["events"], &Method::POST) => match serde_json::from_slice(&call.body) {
            Ok(script) => {
                let result = world.salesforce.script(now, script).and_then(|()| world.commit());
                result.map_or_else(|error| refuse(&error), |()| done)
            }
            Err(error) => bad(format!("this is not an event script: {error}")),
        },
        (["hubspot", rest @ ..], _) => {
            let result = world.hubspot.admin(call, rest);
            let result = result.and_then(|reply| world.commit().map(|()| reply));
            result.unwrap_or_else(|error| refuse(&error))
        }
        (["clock"], &Method::GET) => Reply::ok(json!({"now": now})),
        (["convert"], &Method::POST) => {
            let conversion = match serde_json::from_slice(&call.body) {
                Ok(conversion) => conversion,
                Err(error) => return bad(format!("this is not a conversion: {error}")),
            };
            let result = world.salesforce.edit_convert(now, &conversion);
            let result = result.and_then(|converted| world.commit().map(|()| converted));
            result.map_or_else(|error| refuse(&error), |converted| Reply::json(StatusCode::CREATED, json!(converted)))
        }
        (["undelete", entity, id], &Method::POST) => {
            let result = world.salesforce.edit_undelete(now, entity, id);
            let result = result.and_then(|()| world.commit());
            result.map_or_else(|error| refuse(&error), |()| done)
        }
        (["recycle_bin"], &Method::DELETE) => {
            world.salesforce.empty_bin();
            world.commit().map_or_else(|error| refuse(&error), |()| done)
        }
        (["automations"], &Method::GET) => Reply::ok(json!(world.salesforce.options.automations)),
        (["automations"], &Method::DELETE) => {
            world.salesforce.options.automations.clear();
            world.commit().map_or_else(|error| refuse(&error), |()| done)
        }
        (["automations"], &Method::POST) => match serde_json::from_slice::<Automation>(&call.body) {
            Ok(automation) => {
                world.salesforce.options.automations.push(automation);
                let all = json!(world.salesforce.options.automations);
                world.commit().map_or_else(|error| refuse(&error), |()| Reply::json(StatusCode::CREATED, all))
            }
            Err(error) => bad(format!("this is not an automation: {error}")),
        },
        (["records", entity], &Method::GET) => Reply::ok(json!(world.salesforce.records(entity))),
        (["records", entity], &Method::POST) => {
            let result = match fields(call) {
                Ok(fields) => world.salesforce.edit_create(now, entity, &fields),
                Err(reply) => return reply,
            };
            let result = result.and_then(|id| world.commit().map(|()| id));
            result.map_or_else(|error| refuse(&error), |id| Reply::json(StatusCode::CREATED, json!({"id": id})))
        }
        (["records", entity, id], &Method::PATCH) => {
            let result = match fields(call) {
                Ok(fields) => world.salesforce.edit_update(now, entity, id, &fields),
                Err(reply) => return reply,
            };
            let result = result.and_then(|()| world.commit());
            result.map_or_else(|error| refuse(&error), |()| done)
        }
        (["records", entity, id], &Method::DELETE) => {
            let result = world.salesforce.edit_delete(now, entity, id);
            let result = result.and_then(|()| world.commit());
            result.map_or_else(|error| refuse(&error), |()| done)
        }
        _ => Reply::json(
            StatusCode::NOT_FOUND,
            json!({"error": "the sandbox has state, requests, faults, options, events, automations, tokens, clock, hubspot, pipedrive, convert, recycle_bin, undelete/{object}/{id} and \
                             records/{object}[/{id}]"}),
        ),
    }
}
