//! Webhook settings and subscriptions, and the events on their way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::sandbox::call::Reply;
use crate::sandbox::hubspot::errors::{Answer, Refusal, object, only, text};
use crate::sandbox::hubspot::happenings::{Happening, What, number};
use crate::sandbox::hubspot::options::HubSpotSignature;
use crate::sandbox::hubspot::router::{Ask, created, inputs, no_content};
use crate::sandbox::hubspot::state::{HubSpot, row};
use crate::sandbox::hubspot::values::stamp;
use crate::sandbox::store::Row;
use crate::webhook::signature::{hex, hmac_sha256, sha256};

/// Events of one request, subscriptions of one app, tries after the first (Webhooks guide).
const MOST_EVENTS: usize = 100;
const MOST_SUBSCRIPTIONS: usize = 1_000;
const MOST_TRIES: u64 = 10;
/// Waits double from this, so that ten of them lie within a day.
const FIRST_WAIT: i64 = 60_000;

/// A webhook request to send.
#[derive(Clone)]
#[non_exhaustive]
pub struct HubSpotDelivery {
    /// Where it goes, by POST.
    pub url: String,
    /// The JSON array of events.
    pub body: String,
    /// The headers, signatures among them.
    pub headers: Vec<(String, String)>,
    ids: Vec<String>,
}

/// Not the body and the signatures.
impl std::fmt::Debug for HubSpotDelivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubSpotDelivery").field("url", &self.url).field("events", &self.ids.len()).finish_non_exhaustive()
    }
}

/// Version 3 decodes these escapes of the URI, and no others, before it signs.
fn decoded(uri: &str) -> String {
    const ESCAPES: [(&str, &str); 12] = [
        ("3A", ":"),
        ("2F", "/"),
        ("3F", "?"),
        ("40", "@"),
        ("21", "!"),
        ("24", "$"),
        ("27", "'"),
        ("28", "("),
        ("29", ")"),
        ("2A", "*"),
        ("2C", ","),
        ("3B", ";"),
    ];
    let mut out = String::with_capacity(uri.len());
    let mut rest = uri;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let code = after.get(..2).unwrap_or_default();
        match ESCAPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(code)) {
            Some((_, letter)) => {
                out.push_str(letter);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push('%');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The headers that sign a POST of `body` to `uri` at `now`.
pub(crate) fn signed(secret: &str, uri: &str, body: &str, now: i64, version: HubSpotSignature, third: bool) -> Vec<(String, String)> {
    let (name, digest) = match version {
        HubSpotSignature::V1 => ("v1", sha256(&[secret.as_bytes(), body.as_bytes()])),
        HubSpotSignature::V2 => ("v2", sha256(&[secret.as_bytes(), b"POST", uri.as_bytes(), body.as_bytes()])),
    };
    let mut headers = vec![("X-HubSpot-Signature".to_owned(), hex(&digest)), ("X-HubSpot-Signature-Version".to_owned(), name.to_owned())];
    if third {
        let now = now.to_string();
        let digest = hmac_sha256(secret.as_bytes(), &[b"POST", decoded(uri).as_bytes(), body.as_bytes(), now.as_bytes()]);
        headers.push(("X-HubSpot-Signature-v3".to_owned(), STANDARD.encode(digest)));
        headers.push(("X-HubSpot-Request-Timestamp".to_owned(), now));
    }
    headers
}

fn subscribable(event: &str) -> bool {
    let Some((of, what)) = event.split_once('.') else { return false };
    match of {
        "contact" | "company" | "deal" | "ticket" | "product" | "line_item" | "object" => {
            matches!(what, "creation" | "deletion" | "merge" | "restore" | "propertyChange")
                || (what == "associationChange" && of != "product")
                || (what == "privacyDeletion" && of == "contact")
        }
        "conversation" => matches!(what, "creation" | "deletion" | "privacyDeletion" | "propertyChange" | "newMessage"),
        "event" => what == "completed",
        _ => false,
    }
}

impl HubSpot {
    pub(crate) fn webhooks(&mut self, ask: &Ask<'_>, app: &str, rest: &[&str]) -> Answer {
        if app != self.app.to_string() {
            return Err(Refusal::missing());
        }
        let now = stamp(ask.now.as_millisecond());
        let known = |hubspot: &Self, id: &str| hubspot.tables.live("whsub", id).cloned().ok_or_else(Refusal::missing);
        match (rest, ask.method) {
            (["settings"], &Method::GET) => {
                let row = self.tables.live("whset", "settings").ok_or_else(Refusal::missing)?;
                Ok(Reply::ok(Value::Object(row.fields.clone())))
            }
            (["settings"], &Method::PUT) => {
                let body = object(ask.body()?)?;
                only(body, &["targetUrl", "throttling"])?;
                let url = text(body, "targetUrl")?;
                let parsed = url::Url::parse(url).map_err(|_| Refusal::bad("targetUrl is not a URL"))?;
                let local = matches!(parsed.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
                if parsed.scheme() != "https" && !local {
                    return Err(Refusal::bad("targetUrl must use https"));
                }
                let most = body.get("throttling").and_then(|throttling| throttling.get("maxConcurrentRequests")).and_then(Value::as_u64);
                let most =
                    most.filter(|most| *most > 5).ok_or_else(|| Refusal::bad("throttling.maxConcurrentRequests must be greater than 5"))?;
                let settings = json!({"targetUrl": url, "throttling": {"maxConcurrentRequests": most}, "createdAt": now, "updatedAt": now});
                self.tables.put("whset", "settings", Some(row(settings.clone())));
                Ok(Reply::ok(settings))
            }
            (["settings"], &Method::DELETE) => {
                self.tables.put("whset", "settings", None);
                Ok(no_content())
            }
            (["subscriptions"], &Method::GET) => {
                let list: Vec<Value> = self.tables.rows("whsub").map(|(_, row)| Value::Object(row.fields.clone())).collect();
                Ok(Reply::ok(json!({"results": list})))
            }
            (["subscriptions"], &Method::POST) => {
                let subscription = self.subscribe(object(ask.body()?)?, &now)?;
                Ok(created(subscription))
            }
            (["subscriptions", "batch", "update"], &Method::POST) => {
                only(object(ask.body()?)?, &["inputs"])?;
                let (mut results, mut errors) = (Vec::new(), Vec::new());
                for input in inputs(ask.body()?, 100)? {
                    let body = object(input)?;
                    only(body, &["id", "active"])?;
                    let id = crate::sandbox::hubspot::errors::id_of(body.get("id")).unwrap_or_default();
                    match self.activate(&id, body, &now) {
                        Ok(one) => results.push(one),
                        Err(refusal) => errors.push(refusal.context("id", [id])),
                    }
                }
                Ok(self.batch(ask, StatusCode::OK, results, errors))
            }
            (["subscriptions", id], &Method::GET) => Ok(Reply::ok(Value::Object(known(self, id)?.fields))),
            (["subscriptions", id], &Method::PATCH) => {
                let body = object(ask.body()?)?;
                only(body, &["active"])?;
                Ok(Reply::ok(self.activate(id, body, &now)?))
            }
            (["subscriptions", id], &Method::DELETE) => {
                known(self, id)?;
                self.tables.put("whsub", id, None);
                Ok(no_content())
            }
            (["settings"] | ["subscriptions"] | ["subscriptions", _] | ["subscriptions", "batch", "update"], _) => Err(Refusal::method()),
            _ => Err(Refusal::no_path()),
        }
    }

    fn activate(&mut self, id: &str, body: &Map<String, Value>, now: &str) -> Result<Value, Refusal> {
        let mut row = self.tables.live("whsub", id).cloned().ok_or_else(Refusal::missing)?;
        let active = body.get("active").and_then(Value::as_bool).ok_or_else(|| Refusal::bad("active must be true or false"))?;
        row.fields.insert("active".to_owned(), json!(active));
        row.fields.insert("updatedAt".to_owned(), json!(now));
        self.tables.put("whsub", id, Some(row.clone()));
        Ok(Value::Object(row.fields))
    }

    fn subscribe(&mut self, body: &Map<String, Value>, now: &str) -> Result<Value, Refusal> {
        only(body, &["eventType", "propertyName", "objectTypeId", "active", "eventTypeName"])?;
        let event = text(body, "eventType")?;
        if !subscribable(event) {
            return Err(Refusal::bad(format!("{event} is not an event type")));
        }
        let property = body.get("propertyName").and_then(Value::as_str);
        if event.ends_with(".propertyChange") {
            let name = property.ok_or_else(|| Refusal::bad("A propertyChange subscription needs propertyName"))?;
            if matches!(name, "hs_lastmodifieddate" | "lastmodifieddate" | "num_unique_conversion_events") {
                return Err(Refusal::bad(format!("Property {name} cannot be subscribed to")));
            }
        } else if property.is_some() {
            return Err(Refusal::bad(format!("A subscription to {event} takes no propertyName")));
        }
        let of = body.get("objectTypeId").and_then(Value::as_str);
        if event.starts_with("object.") {
            self.kind_or(of.ok_or_else(|| Refusal::bad("A subscription to object.* needs objectTypeId"))?)?;
        }
        let same =
            |row: &Row| row.text("eventType") == Some(event) && row.text("propertyName") == property && row.text("objectTypeId") == of;
        if self.tables.rows("whsub").any(|(_, row)| same(row)) {
            return Err(Refusal::conflict(format!("A subscription to {event} already exists")));
        }
        if self.tables.rows("whsub").count() >= MOST_SUBSCRIPTIONS {
            return Err(Refusal::bad(format!("An app may have {MOST_SUBSCRIPTIONS} subscriptions")));
        }
        let id = self.number() + 1_000;
        let active = body.get("active").and_then(Value::as_bool).unwrap_or(false);
        let mut subscription = json!({"id": id.to_string(), "eventType": event, "active": active, "createdAt": now, "updatedAt": now});
        if let Some(map) = subscription.as_object_mut() {
            for (name, value) in [("propertyName", property), ("objectTypeId", of)] {
                if let Some(value) = value {
                    map.insert(name.to_owned(), json!(value));
                }
            }
        }
        self.tables.put("whsub", &id.to_string(), Some(row(subscription.clone())));
        Ok(subscription)
    }

    /// Queues an event for each subscription that asks for it.
    pub(crate) fn queue_webhooks(&mut self, all: &[Happening]) {
        let subscriptions: Vec<(String, Row)> =
            self.tables.rows("whsub").filter(|(_, row)| row.is_true("active")).map(|(id, row)| (id.to_owned(), row.clone())).collect();
        let mut events: Vec<Value> = Vec::new();
        for happening in all {
            let word = match &happening.what {
                What::Changed(_) => "propertyChange",
                What::Created(_) => "creation",
                What::Deleted => "deletion",
                What::Linked { .. } => "associationChange",
                What::Merged { .. } => "merge",
                What::Purged => "privacyDeletion",
                What::Restored => "restore",
            };
            for (id, subscription) in &subscriptions {
                let Some((of, what)) = subscription.text("eventType").and_then(|event| event.split_once('.')) else { continue };
                let generic = of == "object";
                let fits =
                    if generic { subscription.text("objectTypeId") == Some(&happening.kind.id) } else { of == happening.kind.singular };
                if !fits || what != word {
                    continue;
                }
                let mut event = self.event_base(id, &format!("{of}.{what}"));
                if generic {
                    event.insert("objectTypeId".to_owned(), json!(happening.kind.id));
                }
                if self.complete(&mut event, happening, subscription) {
                    events.push(Value::Object(event));
                }
            }
        }
        for event in events {
            let every = self.options.webhook_duplicate_every;
            let key = self.number();
            let twice = every > 0 && key.is_multiple_of(every);
            for copy in 0..=u8::from(twice) {
                let waiting = json!({"event": event, "due": self.now.as_millisecond(), "tries": 0, "made": self.now.as_millisecond()});
                self.tables.put("whq", &format!("{key:012}{copy}"), Some(row(waiting)));
            }
        }
    }

    fn event_base(&mut self, subscription: &str, kind: &str) -> Map<String, Value> {
        let id = 100 + self.chance() % 4_000_000_000;
        let event = json!({"eventId": id, "subscriptionId": number(subscription), "portalId": self.portal, "appId": self.app,
            "occurredAt": self.now.as_millisecond(), "subscriptionType": kind, "attemptNumber": 0, "changeSource": self.actor.source,
            "sourceId": self.actor.id});
        event.as_object().cloned().unwrap_or_default()
    }

    /// Adds what the kind of event has of its own; false if the subscription asks for another property.
    fn complete(&self, event: &mut Map<String, Value>, happening: &Happening, subscription: &Row) -> bool {
        let mut set = |name: &str, value: Value| drop(event.insert(name.to_owned(), value));
        match &happening.what {
            What::Changed(values) => {
                let Some((name, value)) = subscription.text("propertyName").and_then(|name| values.get_key_value(name)) else {
                    return false;
                };
                set("objectId", number(&happening.id));
                set("propertyName", json!(name));
                set("propertyValue", json!(value));
                set("isSensitive", json!(false));
            }
            What::Created(_) => {
                set("objectId", number(&happening.id));
                set("changeFlag", json!("CREATED"));
            }
            What::Deleted | What::Purged => {
                set("objectId", number(&happening.id));
                set("changeFlag", json!("DELETED"));
            }
            What::Restored => {
                set("objectId", number(&happening.id));
                set("changeFlag", json!("RESTORED"));
            }
            What::Merged { merged, new, moved } => {
                set("objectId", number(&happening.id));
                set("primaryObjectId", number(&happening.id));
                set("mergedObjectIds", json!(merged.iter().map(|id| number(id)).collect::<Vec<_>>()));
                set("newObjectId", number(new));
                set("numberOfPropertiesMoved", json!(moved));
            }
            What::Linked { to, other, type_id, removed } => {
                set("associationType", json!(format!("{}_TO_{}", happening.kind.singular.to_uppercase(), to.singular.to_uppercase())));
                set("associationTypeId", json!(type_id));
                set("fromObjectId", number(&happening.id));
                set("toObjectId", number(other));
                set("associationRemoved", json!(removed));
                set("isPrimaryAssociation", json!(matches!(type_id, 1 | 2 | 5 | 6 | 25 | 26)));
            }
        }
        true
    }

    /// The requests that are due, at most as many at a time as the settings allow.
    pub(crate) fn next_webhooks(&mut self, now: Timestamp) -> Vec<HubSpotDelivery> {
        let at = now.as_millisecond();
        let Some(settings) = self.tables.live("whset", "settings").cloned() else { return Vec::new() };
        let url = settings.text("targetUrl").unwrap_or_default().to_owned();
        let most = settings.fields.get("throttling").and_then(|throttling| throttling.get("maxConcurrentRequests")).and_then(Value::as_u64);
        let due = |row: &Row| row.fields.get("due").and_then(Value::as_i64).is_some_and(|due| due <= at);
        let mut waiting: Vec<(String, Value)> = self
            .tables
            .rows("whq")
            .filter(|(_, row)| due(row))
            .map(|(id, row)| {
                let mut event = row.fields.get("event").cloned().unwrap_or_default();
                if let Some(map) = event.as_object_mut() {
                    map.insert("attemptNumber".to_owned(), row.fields.get("tries").cloned().unwrap_or_default());
                }
                (id.to_owned(), event)
            })
            .collect();
        if self.options.webhook_shuffle {
            self.shuffle(&mut waiting);
        }
        let batches = usize::try_from(most.unwrap_or(10)).unwrap_or(10);
        let chunks: Vec<Vec<(String, Value)>> = waiting.chunks(MOST_EVENTS).take(batches).map(<[_]>::to_vec).collect();
        chunks
            .into_iter()
            .map(|chunk| {
                let (ids, events): (Vec<String>, Vec<Value>) = chunk.into_iter().unzip();
                let body = Value::Array(events).to_string();
                let mut headers =
                    signed(&self.auth.client_secret, &url, &body, at, self.options.webhook_signature, self.options.webhook_v3);
                headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
                headers.push(("User-Agent".to_owned(), "HubSpot Connect 2.0 (http://dev.hubspot.com/) - WebHooks".to_owned()));
                HubSpotDelivery { url: url.clone(), body, headers, ids }
            })
            .collect()
    }

    /// What came of a request: gone, or tried again later, or given up.
    pub(crate) fn settle_webhooks(&mut self, delivery: &HubSpotDelivery, accepted: bool, now: Timestamp) {
        for id in &delivery.ids {
            let Some(mut row) = self.tables.live("whq", id).cloned() else { continue };
            let tries = row.fields.get("tries").and_then(Value::as_u64).unwrap_or(0) + 1;
            if accepted || tries > MOST_TRIES {
                self.tables.put("whq", id, None);
                continue;
            }
            let wait = FIRST_WAIT << tries.min(MOST_TRIES).saturating_sub(1);
            // A random spread, so that a receiver that comes back is not run over.
            let spread = i64::try_from(self.chance() % 30_000).unwrap_or(0);
            row.fields.insert("tries".to_owned(), json!(tries));
            row.fields.insert("due".to_owned(), json!(now.as_millisecond() + wait + spread));
            self.tables.put("whq", id, Some(row));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy";
    const BODY: &str = r#"[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM","changeFlag":"NEW","appId":54321}]"#;

    fn value(headers: &[(String, String)], name: &str) -> String {
        headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// The vectors of the Validating requests guide, and those made with the official helper.
    #[test]
    fn signatures_are_those_of_the_guide() {
        let uri = "https://www.example.com/webhook_uri";
        let headers = signed(SECRET, uri, BODY, 1_564_113_600_123, HubSpotSignature::V1, true);
        assert_eq!(value(&headers, "X-HubSpot-Signature"), "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de");
        assert_eq!(value(&headers, "X-HubSpot-Signature-v3"), "q+yg44lS7QBlv+UGAWaDm3MqZlBS65mPXB2u4RhTbvE=");
        let headers = signed(SECRET, uri, r#"{"example_field":"example_value"}"#, 0, HubSpotSignature::V2, false);
        assert_eq!(value(&headers, "X-HubSpot-Signature"), "9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900");
        let uri = "https://www.example.com/cb?next=https%3A%2F%2Fx.io%2Fa%3Fb%3D1&e=a%40b.co&sp=a%20b&pct=%25";
        assert_eq!(decoded(uri), "https://www.example.com/cb?next=https://x.io/a?b%3D1&e=a@b.co&sp=a%20b&pct=%25");
        let headers = signed(SECRET, uri, BODY, 1_564_113_600_123, HubSpotSignature::V1, true);
        assert_eq!(value(&headers, "X-HubSpot-Signature-v3"), "IJOcWN21QWLupNvM8zEhVU/2x1FzmJaexq9r38ZQ1bU=");
    }

    #[test]
    fn only_known_events_can_be_subscribed_to() {
        assert!(subscribable("contact.privacyDeletion") && subscribable("object.associationChange"));
        assert!(!subscribable("company.privacyDeletion") && !subscribable("product.associationChange") && !subscribable("contact"));
    }
}
