//! The webhook endpoints (v1): create, list, delete.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::sandbox::call::Reply;
use crate::sandbox::pipedrive::errors::{self, Answer};
use crate::sandbox::pipedrive::router::Ask;
use crate::sandbox::pipedrive::state::{Act, Pipedrive, key};
use crate::sandbox::pipedrive::text;
use crate::sandbox::pipedrive::write::whole;
use crate::sandbox::store::Row;

const ACTIONS: &[&str] = &["create", "change", "delete", "*"];
const OBJECTS: &[&str] = &["activity", "deal", "lead", "note", "organization", "person", "pipeline", "product", "stage", "user", "*"];

/// So many for each user.
const MOST: usize = 40;

/// Whether Pipedrive would send there: HTTPS; here also HTTP to this machine, where tests listen.
fn reachable(url: &str) -> bool {
    let Ok(url) = url::Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default();
    let local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    let own = host == "pipedrive.com" || host.ends_with(".pipedrive.com");
    !own && (url.scheme() == "https" || (url.scheme() == "http" && local))
}

fn show(row: &Row) -> Value {
    row.fields
        .iter()
        .filter(|(name, _)| !name.starts_with('_'))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect::<Map<_, _>>()
        .into()
}

impl Pipedrive {
    /// `/webhooks...`.
    pub(crate) fn webhooks(&mut self, act: Act, ask: &Ask<'_>, rest: &[&str]) -> Answer {
        match (rest, ask.method.as_str()) {
            ([], "GET") => {
                let all: Vec<Value> = self.tables.rows("webhook").map(|(_, row)| show(row)).collect();
                Ok(Reply::ok(json!({"status": "ok", "success": true, "data": all})))
            }
            ([], "POST") => {
                let row = self.new_hook(act, ask.body)?;
                Ok(Reply::json(StatusCode::CREATED, json!({"status": "ok", "success": true, "data": show(&row)})))
            }
            ([id], "DELETE") => {
                let known = id.parse::<i64>().ok().filter(|id| self.exists("webhook", *id));
                let id = known.ok_or_else(|| errors::hook(StatusCode::NOT_FOUND, "id", "not found"))?;
                self.drop_hook(id);
                Ok(Reply::ok(json!({"status": "ok", "success": true})))
            }
            _ => Err(errors::no_method()),
        }
    }

    pub(crate) fn drop_hook(&mut self, id: i64) {
        let of = |row: &Row| whole(&row.fields, "hook") == Some(id);
        let waiting: Vec<String> = self.tables.rows("delivery").filter(|(_, row)| of(row)).map(|(place, _)| place.to_owned()).collect();
        for place in waiting {
            self.tables.put("delivery", &place, None);
        }
        self.tables.put("webhook", &key(id), None);
    }

    fn new_hook(&mut self, act: Act, body: &Value) -> Result<Row, Reply> {
        let refuse = |field: &str, text: &str| errors::hook(StatusCode::BAD_REQUEST, field, text);
        let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let url = text("subscription_url").ok_or_else(|| refuse("subscription_url", "is required"))?;
        if !reachable(url) {
            return Err(refuse("subscription_url", "invalid or non-reachable URL"));
        }
        let action = text("event_action").filter(|action| ACTIONS.contains(action));
        let action = action.ok_or_else(|| refuse("event_action", "must be one of create, change, delete, *"))?;
        let object = text("event_object").filter(|object| OBJECTS.contains(object));
        let object = object.ok_or_else(|| refuse("event_object", &format!("must be one of {}", OBJECTS.join(", "))))?;
        let name = text("name").ok_or_else(|| refuse("name", "is required"))?;
        let version = text("version").unwrap_or("2.0");
        if !["1.0", "2.0"].contains(&version) {
            return Err(refuse("version", "must be one of 1.0, 2.0"));
        }
        let user = match body.get("user_id").filter(|id| !id.is_null()) {
            None => act.user,
            Some(id) => {
                let id = id.as_i64().or_else(|| id.as_str()?.parse().ok()).filter(|id| self.exists("user", *id));
                id.ok_or_else(|| refuse("user_id", "not found"))?
            }
        };
        if self.tables.rows("webhook").filter(|(_, row)| whole(&row.fields, "user_id") == Some(user)).count() >= MOST {
            return Err(errors::hook(StatusCode::UNPROCESSABLE_ENTITY, "webhooks", "limit of 40 webhooks per user reached"));
        }
        let id = self.new_id("webhook");
        let row = json!({
            "id": id, "company_id": self.company, "owner_id": act.user, "user_id": user, "event_action": action, "event_object": object,
            "subscription_url": url, "version": version, "is_active": 1, "add_time": text::stamp_millis(act.now), "remove_time": null,
            "type": "general", "http_auth_user": text("http_auth_user"), "http_auth_password": text("http_auth_password"),
            "remove_reason": null, "last_delivery_time": null, "last_http_status": null, "admin_id": act.user, "name": name,
            "_failures": 0, "_banned_until": 0, "_last_success": act.now.as_millisecond(),
        });
        let row = Row { fields: row.as_object().cloned().unwrap_or_default(), deleted: false };
        self.tables.put("webhook", &key(id), Some(row.clone()));
        Ok(row)
    }
}
