//! From a request to the endpoint: version, token, limits, scope, body.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::sandbox::call::{Call, Reply, pairs, param};
use crate::sandbox::pipedrive::costs::{Version, is_search, price, scopes};
use crate::sandbox::pipedrive::entity::Entity;
use crate::sandbox::pipedrive::errors::{self, Answer};
use crate::sandbox::pipedrive::fields::entity_of;
use crate::sandbox::pipedrive::read::{Extras, Params};
use crate::sandbox::pipedrive::state::{Act, Pipedrive, key};

/// What the generic host does not have below `/api/v1`.
const NOT_GENERIC: &[&str] = &["leads", "leadLabels", "leadSources", "goals", "mailbox"];

/// A request past token and limits.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a Method,
    pub(crate) params: &'a Params,
    pub(crate) body: &'a Value,
    /// The body came as a form: every value is a text.
    pub(crate) form: bool,
}

pub(crate) fn id_of(segment: &str) -> Result<i64, Reply> {
    segment.parse().ok().filter(|id| *id > 0).ok_or_else(|| errors::invalid_one("id", "Expected 'integer'"))
}

/// Writes of v1 are refused in the words of v1.
pub(crate) fn id_v1(segment: &str) -> Result<i64, Reply> {
    segment.parse().map_err(|_| errors::bad("Bad request: the id must be an integer"))
}

impl Pipedrive {
    /// True if the path is this face's also without its prefix.
    pub(crate) fn owns(path: &str, query: &str) -> bool {
        let api = ["/v1/", "/api/v1/", "/api/v2/"].iter().any(|prefix| path.starts_with(prefix));
        let oauth = matches!(path, "/oauth/token" | "/oauth/token/" | "/oauth/revoke");
        // Others have an `/oauth/authorize` too; our apps are known by their ids.
        let consent = path == "/oauth/authorize" && param(&pairs(query.as_bytes()), "client_id").is_some_and(|id| id.starts_with("pd"));
        api || oauth || consent
    }

    /// Answers a request; its path has no prefix.
    pub(crate) fn handle(&mut self, call: &Call) -> Reply {
        self.tell(call.now);
        self.settle_conversions(call.now);
        if call.path.starts_with("/oauth/") {
            return self.oauth(call);
        }
        let mark = self.tables.mark();
        self.api(call).unwrap_or_else(|refusal| {
            self.tables.rollback(mark);
            refusal
        })
    }

    fn api(&mut self, call: &Call) -> Answer {
        let segments = call.segments();
        let all: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (version, path, short) = match all.as_slice() {
            ["v1", rest @ ..] => (Version::V1, rest, true),
            ["api", "v1", rest @ ..] => (Version::V1, rest, false),
            ["api", "v2", rest @ ..] => (Version::V2, rest, false),
            _ => return Err(errors::no_path()),
        };
        if self.options.generic_host && version == Version::V1 && !short && path.first().is_some_and(|first| NOT_GENERIC.contains(first)) {
            return Err(errors::no_path());
        }
        let caller = self.caller(call)?;
        let tokens = price(version, &call.method, path);
        let standing = self.limits.admit(&self.options, &caller.token, caller.oauth, is_search(path), tokens, call.now)?;
        let needed = scopes(&call.method, path);
        let granted: Vec<&str> = caller.scope.split(',').map(str::trim).collect();
        if !needed.is_empty() && !needed.iter().any(|scope| granted.contains(scope)) {
            return Err(standing.on(errors::scope()));
        }
        let act = Act { user: self.user, now: call.now, source: "api" };
        let params = call.params();
        let result = self.body(call, version).and_then(|(body, form)| {
            let ask = Ask { method: &call.method, params: &params, body: &body, form };
            match version {
                Version::V1 => self.v1(act, &ask, path),
                Version::V2 => self.v2(act, &ask, path),
            }
        });
        result.map(|reply| standing.on(reply)).map_err(|refusal| standing.on(refusal))
    }

    /// The body, and whether it came as a form.
    fn body(&self, call: &Call, version: Version) -> Result<(Value, bool), Reply> {
        if call.body.is_empty() || call.method == Method::GET {
            return Ok((Value::Null, false));
        }
        let kind = call.header("content-type").unwrap_or_default().to_ascii_lowercase();
        if version == Version::V1 && kind.starts_with("application/x-www-form-urlencoded") {
            let form: Map<String, Value> = pairs(&call.body).into_iter().map(|(name, value)| (name, Value::String(value))).collect();
            return Ok((Value::Object(form), true));
        }
        let refuse = |text: &str| match version {
            Version::V1 => errors::bad(text),
            Version::V2 => errors::invalid(&[format!("body: {text}")]),
        };
        if !kind.starts_with("application/json") {
            return Err(refuse("Content-Type must be application/json"));
        }
        serde_json::from_slice(&call.body).map(|body| (body, false)).map_err(|_| refuse("Invalid JSON"))
    }

    fn v2(&mut self, act: Act, ask: &Ask<'_>, path: &[&str]) -> Answer {
        let method = ask.method;
        let get = || if method == Method::GET { Ok(()) } else { Err(errors::no_method()) };
        let now = act.now.as_second();
        match path {
            ["itemSearch"] => get().and_then(|()| self.item_search(ask.params)),
            ["itemSearch", "field"] => get().and_then(|()| self.field_search(ask.params)),
            ["leads", "search"] => get().and_then(|()| self.search_entity("lead", ask.params)),
            [plural @ ("persons" | "organizations" | "deals" | "products"), "search"] => {
                get()?;
                let entity = Entity::plural(plural).ok_or_else(errors::no_path)?;
                self.search_entity(entity.name, ask.params)
            }
            ["deals", "archived"] => {
                get()?;
                let entity = Entity::plural("deals").ok_or_else(errors::no_path)?;
                self.get_list(entity, true, ask.params, now)
            }
            ["deals", "products"] => get().and_then(|()| self.products_of_deals(ask.params)),
            ["deals", id, "products", rest @ ..] => self.deal_products(act, ask, id_of(id)?, rest),
            ["leads", id, "convert", rest @ ..] => self.convert(act, ask, "lead", id, rest),
            ["deals", id, "convert", rest @ ..] => self.convert(act, ask, "deal", &key(id_of(id)?), rest),
            ["persons", id, "picture"] => {
                get()?;
                id_of(id)?;
                Err(errors::missing("Picture not found"))
            }
            [plural @ ("persons" | "organizations" | "deals" | "products"), id, "followers", rest @ ..] => {
                let entity = Entity::plural(plural).ok_or_else(errors::no_path)?;
                self.follow(act, ask, entity, id_of(id)?, rest)
            }
            [fields, rest @ ..] if entity_of(fields).is_some() => {
                let entity = entity_of(fields).ok_or_else(errors::no_path)?;
                self.fields_v2(act, method, entity, rest, ask.params, ask.body)
            }
            [plural, rest @ ..] if rest.len() < 2 => {
                let entity = Entity::plural(plural).ok_or_else(errors::no_path)?;
                self.record(act, ask, entity, rest.first().copied())
            }
            _ => Err(errors::no_path()),
        }
    }

    fn record(&mut self, act: Act, ask: &Ask<'_>, entity: &'static Entity, id: Option<&str>) -> Answer {
        let now = act.now.as_second();
        let id = id.map(id_of).transpose()?;
        match (id, ask.method.as_str()) {
            (None, "GET") => self.get_list(entity, false, ask.params, now),
            (None, "POST") => {
                let id = self.create(act, entity, ask.body)?;
                let mut reply = self.after_write(entity, id)?;
                reply.status = StatusCode::from_u16(entity.created).unwrap_or(StatusCode::OK);
                Ok(reply)
            }
            (Some(id), "GET") => self.get_one(entity, id, ask.params, now),
            (Some(id), "PATCH") => {
                self.change(act, entity, id, ask.body)?;
                self.after_write(entity, id)
            }
            (Some(id), "DELETE") => {
                self.remove(act, entity, id)?;
                Ok(errors::data(json!({"id": id})))
            }
            _ => Err(errors::no_method()),
        }
    }

    fn after_write(&self, entity: &Entity, id: i64) -> Answer {
        let row = self.tables.get(entity.name, &key(id)).ok_or_else(errors::unknown)?;
        Ok(errors::data(self.show(entity, row, &Extras::default())))
    }

    /// A limit that a script says was hit.
    pub(crate) fn limited(&self, day_is_spent: bool) -> Reply {
        self.limits.scripted(&self.options, day_is_spent)
    }
}
