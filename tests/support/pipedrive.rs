//! A pretend Pipedrive of a few dozen lines: strict bodies, whole seconds, a search that lags and finds too much.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "helpers of tests fail by panicking, like the tests"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use crm_sync::host::Host;
use crm_sync::http::{Body, HttpError, HttpTransport};
use crm_sync::pipedrive::{Pipedrive, PipedriveConfig};
use secrecy::SecretString;
use serde_json::{Map, Value, json};

/// A custom text field of persons.
pub const KEY: &str = "0123456789abcdef0123456789abcdef01234567";
/// A custom single choice: 1 Hot, 2 Cold.
pub const CHOICE: &str = "89abcdef0123456789abcdef0123456789abcdef";

type Row = Map<String, Value>;

pub struct Account {
    host: Host,
    /// How long the search does not see a new record.
    pub lag: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tables: BTreeMap<String, BTreeMap<i64, Row>>,
    indexed: BTreeMap<(String, i64), Duration>,
    next: i64,
    log: Vec<String>,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").finish_non_exhaustive()
    }
}

fn ok(data: Value, next: Option<Value>) -> (u16, Value) {
    let mut body = json!({"success": true, "data": data});
    if let Some(next) = next {
        body["additional_data"] = next;
    }
    (200, body)
}

fn refuse(status: u16, text: &str) -> (u16, Value) {
    (status, json!({"success": false, "error": text, "code": "ERR_SCHEMA_VALIDATION_FAILED"}))
}

fn writable(kind: &str) -> &'static [&'static str] {
    match kind {
        "persons" => {
            &["name", "owner_id", "org_id", "add_time", "emails", "phones", "visible_to", "label_ids", "job_title", "custom_fields"]
        }
        "organizations" => &["name", "owner_id", "address", "visible_to", "label_ids", "custom_fields"],
        "deals" => {
            &["title", "person_id", "org_id", "pipeline_id", "stage_id", "value", "currency", "status", "lost_reason", "custom_fields"]
        }
        "activities" => &["subject", "type", "deal_id", "org_id", "due_date", "due_time", "duration", "done", "participants", "note"],
        "notes" => &["content", "deal_id", "person_id", "org_id", "pinned_to_deal_flag"],
        _ => &[],
    }
}

impl Account {
    pub fn new(host: Host, lag: Duration) -> Arc<Self> {
        let account = Self { host, lag, state: Mutex::new(State { next: 100, ..State::default() }) };
        {
            let mut state = account.state.lock().unwrap();
            let mut put = |table: &str, id: i64, row: Value| {
                let mut row = row.as_object().unwrap().clone();
                row.insert("id".to_owned(), json!(id));
                state.tables.entry(table.to_owned()).or_default().insert(id, row);
            };
            put("pipelines", 1, json!({"name": "Sales", "is_deleted": false}));
            put("pipelines", 2, json!({"name": "Partners", "is_deleted": false}));
            for (id, pipeline, name) in [(1, 1, "New"), (2, 1, "Qualified"), (3, 2, "New"), (4, 2, "Signed")] {
                put("stages", id, json!({"name": name, "pipeline_id": pipeline, "is_deleted": false}));
            }
            put("activityTypes", 1, json!({"name": "Call", "key_string": "call", "active_flag": true}));
            put("activityTypes", 2, json!({"name": "Old", "key_string": "old", "active_flag": false}));
        }
        Arc::new(account)
    }

    /// A client of this account, adjusted.
    pub fn client(self: &Arc<Self>, adjust: impl FnOnce(PipedriveConfig) -> PipedriveConfig) -> Pipedrive {
        self.client_over(Arc::clone(self) as _, adjust)
    }

    pub fn client_over(&self, transport: Arc<dyn HttpTransport>, adjust: impl FnOnce(PipedriveConfig) -> PipedriveConfig) -> Pipedrive {
        let config = PipedriveConfig::with_api_token("acme", SecretString::from("T"));
        Pipedrive::new(adjust(config), transport, self.host.clone()).unwrap()
    }

    /// Method and target of each request.
    pub fn log(&self) -> Vec<String> {
        self.state.lock().unwrap().log.clone()
    }

    pub fn rows(&self, table: &str) -> Vec<Row> {
        self.state.lock().unwrap().tables.get(table).map(|rows| rows.values().cloned().collect()).unwrap_or_default()
    }

    fn now(&self) -> String {
        self.host.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    fn answer(&self, method: &str, path: &str, query: &BTreeMap<String, String>, body: &[u8]) -> (u16, Value) {
        let parts: Vec<&str> = path.trim_start_matches("/api/v2/").trim_start_matches("/v1/").split('/').collect();
        let v1 = path.starts_with("/v1/");
        let body: Option<Row> = (!body.is_empty()).then(|| serde_json::from_slice(body).unwrap());
        match (method, parts.as_slice()) {
            ("GET", ["users", "me"]) => ok(json!({"id": 5, "company_domain": "acme", "company_id": 9}), None),
            ("GET", [fields]) if fields.ends_with("Fields") => {
                let text = json!({"field_name": "External id", "field_code": KEY, "field_type": "varchar", "is_custom_field": true, "options": null});
                let choice = json!({"field_name": "Temperature", "field_code": CHOICE, "field_type": "enum", "is_custom_field": true,
                    "options": [{"id": 1, "label": "Hot"}, {"id": 2, "label": "Cold"}]});
                ok(json!([text, choice]), Some(json!({"next_cursor": null})))
            }
            ("GET", [kind, "search"]) => self.search(kind, query),
            ("GET", [kind]) => self.list(kind, query, v1),
            ("POST", [kind]) => self.write(kind, None, body.unwrap()),
            ("GET", [kind, id]) => match self.state.lock().unwrap().tables.get(*kind).and_then(|rows| rows.get(&id.parse().ok()?)) {
                Some(row) => ok(Value::Object(row.clone()), None),
                None => refuse(404, "not found"),
            },
            ("PATCH" | "PUT", [kind, id]) => self.write(kind, id.parse().ok(), body.unwrap()),
            ("DELETE", [kind, id]) => {
                let now = self.now();
                let mut state = self.state.lock().unwrap();
                let row = state.tables.get_mut(*kind).and_then(|rows| rows.get_mut(&id.parse().ok()?));
                match row.filter(|row| row.get("is_deleted") != Some(&json!(true))) {
                    Some(row) => {
                        row.insert("is_deleted".to_owned(), json!(true));
                        row.insert("update_time".to_owned(), json!(now));
                        ok(json!({"id": id.parse::<i64>().unwrap()}), None)
                    }
                    None => refuse(404, "not found"),
                }
            }
            _ => refuse(404, "no such path"),
        }
    }

    fn write(&self, kind: &str, id: Option<i64>, body: Row) -> (u16, Value) {
        if let Some(name) = body.keys().find(|name| !writable(kind).contains(&name.as_str())) {
            return refuse(400, &format!("Validation failed: {name}: Parameter '{name}' is not allowed for this request"));
        }
        let custom = body.get("custom_fields").and_then(Value::as_object);
        if custom.is_some_and(|custom| custom.is_empty() || custom.keys().any(|key| key != KEY && key != CHOICE)) {
            return refuse(400, "Validation failed: custom_fields: wrong");
        }
        let now = self.now();
        let mut state = self.state.lock().unwrap();
        let new = id.is_none();
        let id = id.unwrap_or_else(|| {
            state.next += 1;
            state.next
        });
        if new {
            let since = self.host.monotonic();
            state.indexed.insert((kind.to_owned(), id), since);
        }
        let rows = state.tables.entry(kind.to_owned()).or_default();
        if new {
            let mut row = Row::from_iter([
                ("id".to_owned(), json!(id)),
                ("add_time".to_owned(), json!(now)),
                ("is_deleted".to_owned(), json!(false)),
            ]);
            if kind == "deals" {
                row.insert("status".to_owned(), json!("open"));
            }
            rows.insert(id, row);
        }
        let Some(row) = rows.get_mut(&id).filter(|row| row.get("is_deleted") != Some(&json!(true))) else {
            return refuse(404, "not found");
        };
        for (name, value) in body {
            match (name.as_str(), value) {
                ("custom_fields", Value::Object(custom)) => {
                    let stored = row.entry("custom_fields").or_insert_with(|| json!({})).as_object_mut().unwrap();
                    stored.extend(custom);
                }
                (_, value) => {
                    row.insert(name, value);
                }
            }
        }
        row.insert("update_time".to_owned(), json!(now));
        if kind == "activities" {
            let primary = row.get("participants").and_then(|list| list[0].get("person_id")).cloned().unwrap_or_default();
            row.insert("person_id".to_owned(), primary);
        }
        ok(Value::Object(row.clone()), None)
    }

    fn list(&self, kind: &str, query: &BTreeMap<String, String>, v1: bool) -> (u16, Value) {
        let state = self.state.lock().unwrap();
        let empty = BTreeMap::new();
        let ids: Option<Vec<i64>> = query.get("ids").map(|ids| ids.split(',').filter_map(|id| id.parse().ok()).collect());
        let statuses: Option<Vec<&str>> = query.get("status").map(|text| text.split(',').collect());
        let mut rows: Vec<Row> = state.tables.get(kind).unwrap_or(&empty).values().cloned().collect();
        rows.retain(|row| {
            let deleted = row.get("is_deleted") == Some(&json!(true));
            let status = if deleted { "deleted" } else { row.get("status").and_then(Value::as_str).unwrap_or_default() };
            let listed = statuses.as_ref().map_or(!deleted, |statuses| statuses.contains(&status));
            let time = row.get("update_time").and_then(Value::as_str).unwrap_or_default();
            let since = query.get("updated_since").is_none_or(|since| time >= since.as_str());
            let filters = ["owner_id", "org_id", "person_id", "deal_id", "pipeline_id", "stage_id"];
            let narrowed = filters
                .iter()
                .all(|name| query.get(*name).is_none_or(|wanted| row.get(*name).map(Value::to_string).as_ref() == Some(wanted)));
            listed && since && narrowed && ids.as_ref().is_none_or(|ids| ids.contains(&row["id"].as_i64().unwrap()))
        });
        if query.get("sort_by").is_some_and(|field| field == "update_time") || query.get("sort").is_some() {
            rows.sort_by_key(|row| (row.get("update_time").and_then(Value::as_str).unwrap_or_default().to_owned(), row["id"].as_i64()));
        }
        if query.get("sort_direction").is_some_and(|direction| direction == "desc") {
            rows.reverse();
        }
        let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(100);
        let start: usize = query.get("cursor").or_else(|| query.get("start")).and_then(|start| start.parse().ok()).unwrap_or(0);
        let more = rows.len() > start + limit;
        let page: Vec<Value> = rows.into_iter().skip(start).take(limit).map(Value::Object).collect();
        let next = start + limit;
        let place = if v1 {
            json!({"pagination": {"start": start, "limit": limit, "more_items_in_collection": more, "next_start": next}})
        } else {
            json!({"next_cursor": if more { json!(next.to_string()) } else { Value::Null }})
        };
        // v1 answers null for an empty list.
        let data = if v1 && page.is_empty() { Value::Null } else { Value::Array(page) };
        ok(data, Some(place))
    }

    /// Finds whatever contains the term, exact or not: the client has to compare.
    fn search(&self, kind: &str, query: &BTreeMap<String, String>) -> (u16, Value) {
        let term = query["term"].to_lowercase();
        if query.get("exact_match").map(String::as_str) != Some("true") && term.chars().count() < 2 {
            return refuse(400, "Validation failed: term: too short");
        }
        let now = self.host.monotonic();
        let state = self.state.lock().unwrap();
        let empty = BTreeMap::new();
        let hits = state.tables.get(kind).unwrap_or(&empty).values().filter(|row| {
            let seen = state
                .indexed
                .get(&(kind.to_owned(), row["id"].as_i64().unwrap()))
                .is_none_or(|since| now.saturating_sub(*since) >= self.lag);
            let member = match query["fields"].as_str() {
                "email" => "emails",
                "phone" => "phones",
                other => other,
            };
            let text = row.get(member).map(|value| value.to_string().to_lowercase()).unwrap_or_default();
            seen && row.get("is_deleted") != Some(&json!(true)) && text.contains(&term)
        });
        let items: Vec<Value> = hits.map(|row| json!({"result_score": 0.5, "item": {"id": row["id"], "type": "x"}})).collect();
        ok(json!({"items": items}), Some(json!({"next_cursor": null})))
    }
}

#[async_trait]
impl HttpTransport for Account {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
        assert_eq!(request.headers()["x-api-token"], "T");
        assert!(request.headers().get("authorization").is_none());
        let uri = request.uri();
        self.state.lock().unwrap().log.push(format!("{} {}", request.method(), uri.path_and_query().unwrap()));
        let url = url::Url::parse(&uri.to_string()).unwrap();
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let (status, mut body) = self.answer(request.method().as_str(), uri.path(), &query, request.body());
        // Pins are written as numbers and answered as booleans.
        let rows = match &mut body["data"] {
            Value::Array(rows) => rows.iter_mut().collect(),
            row => vec![row],
        };
        for row in rows {
            if let Some(pin) = row.get_mut("pinned_to_deal_flag") {
                *pin = json!(*pin == 1);
            }
        }
        Ok(http::Response::builder().status(status).body(Body::from_bytes(body.to_string())).unwrap())
    }
}
