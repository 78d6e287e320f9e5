//! A portal in miniature: objects, batches, search with its limits and its lag, associations. Written from HubSpot's developer
//! guide; it knows nothing of the client.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail by panicking, like the tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use crm_sync::host::Host;
use crm_sync::http::{Body, HttpError, HttpTransport};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

type Properties = BTreeMap<String, String>;

#[derive(Clone, Debug)]
struct Row {
    properties: Properties,
    created: i64,
    updated: i64,
    archived: Option<i64>,
    /// What the index knows from which time on.
    index: Vec<(i64, Properties)>,
}

#[derive(Debug, Default)]
struct World {
    rows: BTreeMap<String, BTreeMap<u64, Row>>,
    next: u64,
    /// Milliseconds a write may stay hidden from searches.
    lag: u64,
    random: u64,
    unique: BTreeSet<String>,
    properties: Vec<Value>,
    ties: BTreeSet<(String, String, String, String, u64)>,
    log: Vec<String>,
    bodies: Vec<String>,
    search_times: Vec<i64>,
}

#[derive(Clone, Debug)]
pub struct Portal {
    world: Arc<Mutex<World>>,
    host: Host,
}

pub fn iso(millis: i64) -> String {
    Timestamp::from_millisecond(millis).unwrap().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

impl Portal {
    pub fn new(host: Host, seed: u64) -> Self {
        let world = World { next: 100, random: seed.wrapping_mul(2).wrapping_add(1), ..World::default() };
        let portal = Self { world: Arc::new(Mutex::new(world)), host };
        portal.property("email", "string", "text", false);
        portal.property("firstname", "string", "text", false);
        portal.property("jobtitle", "string", "text", false);
        portal.property("score", "number", "number", false);
        portal.property("crm_sync_id", "string", "text", true);
        portal
    }

    pub fn property(&self, name: &str, kind: &str, field: &str, unique: bool) {
        let mut world = self.world.lock().unwrap();
        if unique || name == "email" {
            world.unique.insert(name.to_owned());
        }
        world.properties.push(json!({"name": name, "label": name, "type": kind, "fieldType": field, "groupName": "g",
            "hasUniqueValue": unique, "modificationMetadata": {"readOnlyValue": false, "archivable": true, "readOnlyDefinition": false}}));
    }

    pub fn lag(&self, millis: u64) {
        self.world.lock().unwrap().lag = millis;
    }

    /// Writes as somebody else.
    pub fn put(&self, kind: &str, id: Option<u64>, properties: &[(&str, &str)]) -> u64 {
        let now = self.host.now().as_millisecond();
        let mut world = self.world.lock().unwrap();
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        world.write(kind, id, properties, now)
    }

    /// Lets ten milliseconds pass.
    pub fn tick(&self) {
        use futures_util::FutureExt;
        self.host.sleep(std::time::Duration::from_millis(10)).now_or_never().unwrap();
    }

    pub fn remove(&self, kind: &str, id: u64) {
        let now = self.host.now().as_millisecond();
        self.world.lock().unwrap().rows.get_mut(kind).unwrap().get_mut(&id).unwrap().archived = Some(now);
    }

    pub fn log(&self) -> Vec<String> {
        self.world.lock().unwrap().log.clone()
    }

    pub fn writes(&self) -> usize {
        let reads = |line: &&String| line.starts_with("GET ") || line.contains("/search") || line.contains("/batch/read");
        self.log().iter().filter(|line| !reads(line)).count()
    }

    pub fn bodies(&self) -> Vec<String> {
        self.world.lock().unwrap().bodies.clone()
    }

    /// When searches came, in milliseconds of the host's clock.
    pub fn search_times(&self) -> Vec<i64> {
        self.world.lock().unwrap().search_times.clone()
    }

    pub fn ties(&self) -> usize {
        self.world.lock().unwrap().ties.len() / 2
    }

    pub fn count(&self, kind: &str) -> usize {
        self.world.lock().unwrap().rows.get(kind).map_or(0, |rows| rows.values().filter(|row| row.archived.is_none()).count())
    }
}

fn refuse(status: u16, category: &str, message: &str) -> (u16, Value) {
    (status, json!({"status": "error", "message": message, "category": category, "correlationId": "c-1"}))
}

fn modified_name(kind: &str) -> &'static str {
    if kind == "contacts" { "lastmodifieddate" } else { "hs_lastmodifieddate" }
}

fn comparable(text: &str) -> Result<f64, String> {
    if let Ok(number) = text.parse::<f64>() {
        return Ok(number);
    }
    text.parse::<Timestamp>().map(|at| at.as_millisecond() as f64).map_err(|_| text.to_lowercase())
}

fn order(a: &str, b: &str) -> std::cmp::Ordering {
    match (comparable(a), comparable(b)) {
        (Ok(a), Ok(b)) => a.total_cmp(&b),
        _ => a.to_lowercase().cmp(&b.to_lowercase()),
    }
}

fn token(value: &str, pattern: &str) -> bool {
    let pattern = pattern.to_lowercase();
    value.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).any(|word| {
        match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            (Some(_), Some(_)) => word.contains(pattern.trim_matches('*')),
            (None, Some(start)) => word.starts_with(start),
            (Some(end), None) => word.ends_with(end),
            (None, None) => word == pattern,
        }
    })
}

fn holds(properties: &Properties, filter: &Value) -> Result<bool, (u16, Value)> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let found = properties.get(filter["propertyName"].as_str().unwrap()).filter(|value| !value.is_empty());
    let operator = filter["operator"].as_str().unwrap();
    let value = filter["value"].as_str();
    if matches!(operator, "EQ" | "NEQ" | "LT" | "LTE" | "GT" | "GTE" | "CONTAINS_TOKEN" | "NOT_CONTAINS_TOKEN")
        && value.is_none_or(str::is_empty)
    {
        return Err(refuse(400, "VALIDATION_ERROR", "a filter needs a value"));
    }
    let value = value.unwrap_or_default();
    let list = || -> Vec<&str> { filter["values"].as_array().unwrap().iter().map(|value| value.as_str().unwrap()).collect() };
    Ok(match (operator, found) {
        ("HAS_PROPERTY", found) => found.is_some(),
        ("NOT_HAS_PROPERTY", found) => found.is_none(),
        // Negations do not match what is not there.
        (_, None) => false,
        ("EQ", Some(found)) => order(found, value) == Equal,
        ("NEQ", Some(found)) => order(found, value) != Equal,
        ("LT", Some(found)) => order(found, value) == Less,
        ("LTE", Some(found)) => order(found, value) != Greater,
        ("GT", Some(found)) => order(found, value) == Greater,
        ("GTE", Some(found)) => order(found, value) != Less,
        // Lists are compared in lower case.
        ("IN", Some(found)) => list().iter().any(|value| *value == found.to_lowercase()),
        ("NOT_IN", Some(found)) => !list().iter().any(|value| *value == found.to_lowercase()),
        ("CONTAINS_TOKEN", Some(found)) => token(found, value),
        ("NOT_CONTAINS_TOKEN", Some(found)) => !token(found, value),
        (other, _) => return Err(refuse(400, "VALIDATION_ERROR", &format!("no operator {other}"))),
    })
}

impl World {
    fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if below == 0 { 0 } else { (self.random >> 33) % below }
    }

    fn write(&mut self, kind: &str, id: Option<u64>, properties: Properties, now: i64) -> u64 {
        let id = id.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        let lag = self.lag;
        let visible = now + i64::try_from(self.random(lag + 1)).unwrap();
        let row = self.rows.entry(kind.to_owned()).or_default().entry(id).or_insert_with(|| Row {
            properties: Properties::from([("hs_object_id".to_owned(), id.to_string()), ("createdate".to_owned(), iso(now))]),
            created: now,
            updated: now,
            archived: None,
            index: Vec::new(),
        });
        row.properties.extend(properties);
        row.properties.retain(|_, value| !value.is_empty());
        row.updated = now;
        row.properties.insert(modified_name(kind).to_owned(), iso(now));
        row.index.push((visible, row.properties.clone()));
        id
    }

    fn show(&self, kind: &str, id: u64, properties: &Properties, select: &[String]) -> Value {
        let row = &self.rows[kind][&id];
        let mut names: Vec<&str> = match kind {
            _ if !select.is_empty() => select.iter().map(String::as_str).collect(),
            "contacts" => vec!["email", "firstname", "lastname"],
            _ => vec!["name", "domain"],
        };
        names.extend(["hs_object_id", "createdate", modified_name(kind)]);
        let shown: Map<String, Value> =
            names.into_iter().map(|name| (name.to_owned(), properties.get(name).map_or(Value::Null, |value| json!(value)))).collect();
        let mut answer = json!({"id": id.to_string(), "properties": shown, "createdAt": iso(row.created), "updatedAt": iso(row.updated),
            "archived": row.archived.is_some()});
        if let Some(at) = row.archived {
            answer["archivedAt"] = json!(iso(at));
        }
        answer
    }

    fn shown(&self, kind: &str, id: u64, select: &[String]) -> Value {
        self.show(kind, id, &self.rows[kind][&id].properties.clone(), select)
    }

    fn find(&self, kind: &str, property: Option<&str>, value: &str) -> Option<u64> {
        let rows = self.rows.get(kind)?;
        let row = match property.filter(|property| *property != "hs_object_id") {
            Some(property) => rows.iter().find(|(_, row)| {
                row.archived.is_none() && row.properties.get(property).is_some_and(|known| known.eq_ignore_ascii_case(value))
            })?,
            None => rows.get_key_value(&value.parse().ok()?)?,
        };
        row.1.archived.is_none().then_some(*row.0)
    }

    fn check(&self, kind: &str, id: Option<u64>, properties: &Properties) -> Result<(), (u16, Value)> {
        let known = |name: &str| self.properties.iter().any(|property| property["name"] == name) || kind != "contacts";
        for (name, value) in properties {
            if !known(name) {
                let inner = json!([{"isValid": false, "message": "no such property", "error": "PROPERTY_DOESNT_EXIST", "name": name}]);
                return Err(refuse(400, "VALIDATION_ERROR", &format!("Property values were not valid: {inner}")));
            }
            let number = self.properties.iter().any(|property| property["name"] == name.as_str() && property["type"] == "number");
            if number && !value.is_empty() && value.parse::<f64>().is_err() {
                let inner = json!([{"isValid": false, "message": "no number", "error": "INVALID_INTEGER", "name": name}]);
                return Err(refuse(400, "VALIDATION_ERROR", &format!("Property values were not valid: {inner}")));
            }
            let known = |name: &str| self.find(kind, Some(name), value).filter(|other| Some(*other) != id);
            if self.unique.contains(name)
                && !value.is_empty()
                && let Some(other) = known(name)
            {
                return Err(if name == "email" {
                    refuse(409, "CONFLICT", &format!("Contact already exists. Existing ID: {other}"))
                } else {
                    refuse(400, "VALIDATION_ERROR", &format!("{name} {value} already has that value on record {other}"))
                });
            }
        }
        Ok(())
    }

    fn search(&mut self, kind: &str, request: &Value, text: &str, now: i64) -> (u16, Value) {
        if text.chars().count() > 3_000 {
            return refuse(400, "VALIDATION_ERROR", "too long");
        }
        let groups = request["filterGroups"].as_array().cloned().unwrap_or_default();
        let counts: Vec<usize> = groups.iter().map(|group| group["filters"].as_array().unwrap().len()).collect();
        let limit = request["limit"].as_u64().unwrap_or(10);
        let after: u64 = request["after"].as_str().map_or(0, |after| after.parse().unwrap());
        if counts.len() > 5 || counts.iter().any(|count| *count > 6 || *count == 0) || counts.iter().sum::<usize>() > 18 || limit > 200 {
            return refuse(400, "VALIDATION_ERROR", "too many filters");
        }
        if after + limit > 10_000 {
            return refuse(400, "VALIDATION_ERROR", "beyond 10,000");
        }
        let mut found: Vec<(u64, Properties)> = Vec::new();
        for (id, row) in self.rows.get(kind).into_iter().flatten().filter(|(_, row)| row.archived.is_none()) {
            let Some((_, properties)) = row.index.iter().rev().find(|(visible, _)| *visible <= now) else { continue };
            let mut any = groups.is_empty();
            for group in &groups {
                let mut all = true;
                for filter in group["filters"].as_array().unwrap() {
                    match holds(properties, filter) {
                        Ok(holds) => all &= holds,
                        Err(refusal) => return refusal,
                    }
                }
                any |= all;
            }
            if any {
                found.push((*id, properties.clone()));
            }
        }
        let sort = &request["sorts"][0];
        let name = sort["propertyName"].as_str().unwrap_or("createdate");
        // Ties come in any order.
        found.sort_by_key(|(id, _)| id.wrapping_mul(2_654_435_761) % 1_000_003);
        let key = |properties: &Properties| comparable(properties.get(name).map_or("", String::as_str));
        let mut keyed: Vec<(Result<f64, String>, (u64, Properties))> = found.into_iter().map(|row| (key(&row.1), row)).collect();
        keyed.sort_by(|(a, _), (b, _)| match (a, b) {
            (Ok(a), Ok(b)) => a.total_cmp(b),
            (Ok(_), Err(_)) => std::cmp::Ordering::Less,
            (Err(_), Ok(_)) => std::cmp::Ordering::Greater,
            (Err(a), Err(b)) => a.cmp(b),
        });
        let mut found: Vec<(u64, Properties)> = keyed.into_iter().map(|(_, row)| row).collect();
        if sort["direction"] == "DESCENDING" {
            found.reverse();
        }
        let total = found.len();
        let select: Vec<String> = serde_json::from_value(request["properties"].clone()).unwrap_or_default();
        let (from, limit) = (usize::try_from(after).unwrap(), usize::try_from(limit).unwrap());
        let rows: Vec<Value> =
            found.iter().skip(from).take(limit).map(|(id, properties)| self.show(kind, *id, properties, &select)).collect();
        let mut answer = json!({"total": total, "results": rows});
        if from + limit < total {
            answer["paging"] = json!({"next": {"after": (from + limit).to_string(), "link": "https://api.hubapi.com/crm/v3/old"}});
        }
        (200, answer)
    }

    fn batch(&mut self, kind: &str, verb: &str, request: &Value, now: i64) -> (u16, Value) {
        let inputs = request["inputs"].as_array().unwrap().clone();
        if inputs.len() > 100 {
            return refuse(400, "VALIDATION_ERROR", "more than 100 inputs");
        }
        let select: Vec<String> = serde_json::from_value(request["properties"].clone()).unwrap_or_default();
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        if verb == "read" {
            let mut missing = Vec::new();
            for input in &inputs {
                let value = input["id"].as_str().unwrap();
                match self.find(kind, request["idProperty"].as_str(), value) {
                    Some(id) => results.push(self.shown(kind, id, &select)),
                    None => missing.push(value.to_owned()),
                }
            }
            if !missing.is_empty() {
                errors.push(json!({"status": "error", "category": "OBJECT_NOT_FOUND", "message": "Could not get some", "context": {"ids": missing}}));
            }
        } else if verb == "archive" {
            for input in &inputs {
                if let Some(id) = self.find(kind, None, input["id"].as_str().unwrap()) {
                    self.rows.get_mut(kind).unwrap().get_mut(&id).unwrap().archived = Some(now);
                }
            }
            return (204, Value::Null);
        } else {
            for input in &inputs {
                let properties: Properties = serde_json::from_value(input["properties"].clone()).unwrap();
                let outcome = self.batch_input(kind, verb, input, properties, now);
                match outcome {
                    Ok(mut row) => {
                        if !input["objectWriteTraceId"].is_null() {
                            row["objectWriteTraceId"] = input["objectWriteTraceId"].clone();
                        }
                        results.push(row);
                    }
                    Err((_, mut body)) => {
                        body["context"] = json!({"objectWriteTraceId": [input["objectWriteTraceId"]]});
                        errors.push(body);
                    }
                }
            }
        }
        for at in (1..results.len()).rev() {
            let other = usize::try_from(self.random(at as u64 + 1)).unwrap();
            results.swap(at, other);
        }
        let mut answer = json!({"status": "COMPLETE", "results": results, "startedAt": iso(now), "completedAt": iso(now)});
        if errors.is_empty() {
            return (if verb == "create" { 201 } else { 200 }, answer);
        }
        answer["numErrors"] = json!(errors.len());
        answer["errors"] = json!(errors);
        (207, answer)
    }

    fn batch_input(&mut self, kind: &str, verb: &str, input: &Value, mut properties: Properties, now: i64) -> Result<Value, (u16, Value)> {
        let value = input["id"].as_str();
        let found = value.and_then(|value| self.find(kind, input["idProperty"].as_str(), value));
        if verb == "update" && found.is_none() {
            return Err(refuse(404, "OBJECT_NOT_FOUND", "no such record"));
        }
        if let ("upsert", Some(property), Some(value)) = (verb, input["idProperty"].as_str(), value) {
            properties.insert(property.to_owned(), value.to_owned());
        }
        self.check(kind, found, &properties)?;
        let names: Vec<String> = properties.keys().cloned().collect();
        let id = self.write(kind, found, properties, now);
        let mut row = self.shown(kind, id, &names);
        if verb == "upsert" {
            row["new"] = json!(found.is_none());
        }
        Ok(row)
    }

    fn tie(&mut self, from: (&str, &str), to: (&str, &str), kind: u64) {
        for ((a, b), (c, d)) in [(from, to), (to, from)] {
            self.ties.insert((a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned(), kind));
        }
    }

    fn answer(&mut self, method: &str, path: &str, query: &BTreeMap<String, String>, text: &str, now: i64) -> (u16, Value) {
        let body: Value = serde_json::from_str(text).unwrap_or(Value::Null);
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let select: Vec<String> =
            query.get("properties").map(|names| names.split(',').map(ToOwned::to_owned).collect()).unwrap_or_default();
        let properties = || -> Properties { serde_json::from_value(body["properties"].clone()).unwrap() };
        match (method, parts.as_slice()) {
            ("GET", ["account-info", _, "details"]) => {
                (200, json!({"portalId": 33, "timeZone": "US/Eastern", "utcOffsetMilliseconds": -18_000_000}))
            }
            ("GET", ["crm", "properties", _, kind]) if !["contacts", "companies", "deals", "notes"].contains(kind) => {
                refuse(404, "OBJECT_NOT_FOUND", "unable to infer the object type")
            }
            ("GET", ["crm", "properties", _, _]) => (200, json!({"results": self.properties})),
            ("POST", ["crm", "objects", _, kind, "search"]) => self.search(kind, &body, text, now),
            ("POST", ["crm", "objects", _, kind, "batch", verb]) => self.batch(kind, verb, &body, now),
            ("GET", ["crm", "objects", _, kind]) => {
                let archived = query.get("archived").is_some_and(|archived| archived == "true");
                let after: u64 = query.get("after").map_or(0, |after| after.parse().unwrap());
                let limit: usize = query.get("limit").map_or(10, |limit| limit.parse().unwrap());
                assert!(limit <= 100, "a list gives 100 at most");
                let rows = self.rows.get(*kind).cloned().unwrap_or_default();
                let ids: Vec<u64> =
                    rows.iter().filter(|(id, row)| **id >= after && row.archived.is_some() == archived).map(|(id, _)| *id).collect();
                let results: Vec<Value> = ids.iter().take(limit).map(|id| self.shown(kind, *id, &select)).collect();
                let mut answer = json!({ "results": results });
                if let Some(next) = ids.get(limit) {
                    answer["paging"] = json!({"next": {"after": next.to_string(), "link": "https://api.hubapi.com/crm/v3/old"}});
                }
                (200, answer)
            }
            ("POST", ["crm", "objects", _, kind]) => {
                let properties = properties();
                if let Err(refusal) = self.check(kind, None, &properties) {
                    return refusal;
                }
                let names: Vec<String> = properties.keys().cloned().collect();
                let id = self.write(kind, None, properties, now);
                for tie in body["associations"].as_array().into_iter().flatten() {
                    let type_id = tie["types"][0]["associationTypeId"].as_u64().unwrap();
                    let other = if type_id == 279 { "companies" } else { "contacts" };
                    self.tie((kind, &id.to_string()), (other, tie["to"]["id"].as_str().unwrap()), type_id);
                }
                (201, self.shown(kind, id, &names))
            }
            (_, ["crm", "objects", _, kind, id]) => {
                let id = percent(id);
                let Some(found) = self.find(kind, query.get("idProperty").map(String::as_str), &id) else {
                    return if method == "DELETE" { (204, Value::Null) } else { refuse(404, "OBJECT_NOT_FOUND", "resource not found") };
                };
                match method {
                    "GET" => (200, self.shown(kind, found, &select)),
                    "PATCH" => {
                        let properties = properties();
                        if let Err(refusal) = self.check(kind, Some(found), &properties) {
                            return refusal;
                        }
                        let names: Vec<String> = properties.keys().cloned().collect();
                        self.write(kind, Some(found), properties, now);
                        (200, self.shown(kind, found, &names))
                    }
                    _ => {
                        self.rows.get_mut(*kind).unwrap().get_mut(&found).unwrap().archived = Some(now);
                        (204, Value::Null)
                    }
                }
            }
            ("PUT", ["crm", "objects", _, kind, id, "associations", "default", other, to]) => {
                if self.find(kind, None, id).is_none() || self.find(other, None, to).is_none() {
                    return refuse(404, "OBJECT_NOT_FOUND", "no such record");
                }
                self.tie((kind, id), (other, to), 279);
                (200, json!({"status": "COMPLETE", "results": [], "startedAt": iso(now), "completedAt": iso(now)}))
            }
            ("GET", ["crm", "objects", _, kind, id, "associations", other]) => {
                let rows: Vec<Value> = self
                    .ties
                    .iter()
                    .filter(|(a, b, c, _, _)| (a.as_str(), b.as_str(), c.as_str()) == (*kind, *id, *other))
                    .map(|(_, _, _, to, kind)| {
                        json!({"toObjectId": to.parse::<u64>().unwrap(), "associationTypes": [{"category": "HUBSPOT_DEFINED", "typeId": kind, "label": null}]})
                    })
                    .collect();
                (200, json!({ "results": rows }))
            }
            _ => panic!("nobody expected {method} {path}"),
        }
    }
}

fn percent(text: &str) -> String {
    url::form_urlencoded::parse(format!("x={text}").as_bytes()).next().unwrap().1.into_owned()
}

#[async_trait]
impl HttpTransport for Portal {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
        let now = self.host.now().as_millisecond();
        assert!(request.headers().contains_key("authorization"));
        let uri = request.uri();
        let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let text = String::from_utf8(request.body().to_vec()).unwrap();
        let mut world = self.world.lock().unwrap();
        world.log.push(format!("{} {}", request.method(), uri.path_and_query().unwrap()));
        world.bodies.push(text.clone());
        if uri.path().ends_with("/search") {
            world.search_times.push(now);
        }
        let (status, body) = world.answer(request.method().as_str(), uri.path(), &query, &text, now);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        Ok(http::Response::builder().status(status).body(Body::from_bytes(body)).unwrap())
    }
}
