//! Webhooks that HubSpot sends: signatures v1, v2 and v3, and the events.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;
use std::borrow::Cow;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::hubspot::dialect::plain;
use crate::hubspot::entity::canonical;
use crate::model::{Change, ChangeKind, Entity, EventId, RecordId, Successor};
use crate::webhook::api::{bounded, digest_key, one_header};
use crate::webhook::signature::{equal, hex, hmac_sha256, sha256};
use crate::webhook::{
    DEFAULT_BODY_LIMIT, DEFAULT_TOLERANCE, EventFormat, RawRequest, Receipt, Secrets, SignatureError, Verified, Verifier, WebhookEvent,
};

const V3: &str = "x-hubspot-signature-v3";
const STAMP: &str = "x-hubspot-request-timestamp";
const LEGACY: &str = "x-hubspot-signature";
const VERSION: &str = "x-hubspot-signature-version";

/// Verifies requests from HubSpot by the app's client secret. A request that carries v3 stands or falls with it: v1 or v2 are
/// looked at only if it does not. Neither of those has a timestamp, so a request without v3 can be replayed;
/// [`HubSpotVerifier::require_v3`] refuses them.
#[derive(Clone, Debug)]
pub struct HubSpotVerifier {
    source: String,
    secrets: Secrets,
    tolerance: Duration,
    limit: usize,
    only_v3: bool,
    public: Option<String>,
}

impl HubSpotVerifier {
    /// A verifier with a tolerance of five minutes, either way.
    pub fn new(source: impl Into<String>, secrets: Secrets) -> Self {
        Self { source: source.into(), secrets, tolerance: DEFAULT_TOLERANCE, limit: DEFAULT_BODY_LIMIT, only_v3: false, public: None }
    }

    /// Refuses requests that carry only v1 or v2.
    #[must_use]
    pub fn require_v3(mut self, only: bool) -> Self {
        self.only_v3 = only;
        self
    }

    /// How far the timestamp of v3 may be off. Default: [`DEFAULT_TOLERANCE`].
    #[must_use]
    pub fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// The longest body that is hashed. Default: [`DEFAULT_BODY_LIMIT`].
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Scheme and host (and a path prefix that a proxy takes off) as HubSpot calls them, e.g. `https://hooks.example.com`: it
    /// replaces those of the request's URL.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if it is not an absolute http or https URL.
    pub fn public_base(mut self, base: impl Into<String>) -> Result<Self> {
        let base = base.into();
        let whole = url::Url::parse(&base).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none());
        if !whole {
            return Err(Error::config("the public base of webhooks must be an absolute http or https URL without a query"));
        }
        self.public = Some(base.trim_end_matches('/').to_owned());
        Ok(self)
    }

    fn url<'a>(&self, request: &RawRequest<'a>) -> Cow<'a, str> {
        let url = request.url.split('#').next().unwrap_or_default();
        match &self.public {
            None => Cow::Borrowed(url),
            Some(base) => {
                let rest = url.split_once("://").map_or(url, |(_, rest)| rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or(""));
                Cow::Owned(format!("{base}{rest}"))
            }
        }
    }
}

/// Decodes the twelve escapes that HubSpot decodes before it signs, and no other.
fn decoded(url: &str) -> String {
    let mut out = String::with_capacity(url.len());
    let mut rest = url;
    while let Some(at) = rest.find('%') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let code = escape.get(..3).unwrap_or(escape);
        let plain = match code.to_ascii_uppercase().as_str() {
            "%3A" => ":",
            "%2F" => "/",
            "%3F" => "?",
            "%40" => "@",
            "%21" => "!",
            "%24" => "$",
            "%27" => "'",
            "%28" => "(",
            "%29" => ")",
            "%2A" => "*",
            "%2C" => ",",
            "%3B" => ";",
            _ => {
                out.push('%');
                rest = escape.get(1..).unwrap_or_default();
                continue;
            }
        };
        out.push_str(plain);
        rest = escape.get(3..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

fn in_time(stamp: &str, tolerance: Duration, now: Timestamp) -> Result<Timestamp, SignatureError> {
    if stamp.is_empty() || !stamp.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SignatureError::BadTimestamp);
    }
    let millis: i64 = stamp.parse().map_err(|_| SignatureError::BadTimestamp)?;
    let at = Timestamp::from_millisecond(millis).map_err(|_| SignatureError::BadTimestamp)?;
    let age = now.as_millisecond().saturating_sub(millis);
    let tolerance = i64::try_from(tolerance.as_millis()).unwrap_or(i64::MAX);
    if age > tolerance {
        return Err(SignatureError::TooOld(age / 1000));
    }
    if age.saturating_neg() > tolerance {
        return Err(SignatureError::TooNew(age.saturating_neg() / 1000));
    }
    Ok(at)
}

impl Verifier for HubSpotVerifier {
    fn source(&self) -> &str {
        &self.source
    }

    fn verify<'a>(&self, request: &RawRequest<'a>, now: Timestamp) -> Result<Verified<'a>, SignatureError> {
        bounded(request, self.limit)?;
        let url = self.url(request);
        let method = request.method.as_str().as_bytes();
        if self.only_v3 || request.headers.contains_key(V3) {
            let signature = one_header(request.headers, V3)?;
            let stamp = one_header(request.headers, STAMP)?;
            let at = in_time(stamp, self.tolerance, now)?;
            let url = decoded(&url);
            let parts = [method, url.as_bytes(), request.body, stamp.as_bytes()];
            let matching = self
                .secrets
                .iter()
                .find(|(_, secret)| equal(STANDARD.encode(hmac_sha256(secret, &parts)).as_bytes(), signature.as_bytes()));
            let (label, _) = matching.ok_or(SignatureError::WrongSignature)?;
            let receipt = Receipt { scheme: "hubspot_v3", secret: label.to_owned(), id: None, at: Some(at), key: digest_key(&parts) };
            return Ok(Verified::new(request.body, receipt));
        }
        let signature = one_header(request.headers, LEGACY)?.to_ascii_lowercase();
        let version = if request.headers.contains_key(VERSION) { one_header(request.headers, VERSION)? } else { "v1" };
        let (scheme, parts): (_, Vec<&[u8]>) = match version {
            "v1" => ("hubspot_v1", vec![request.body]),
            "v2" => ("hubspot_v2", vec![method, url.as_bytes(), request.body]),
            _ => return Err(SignatureError::BadHeader(Cow::Borrowed(VERSION))),
        };
        let matching = self.secrets.iter().find(|(_, secret)| {
            let all: Vec<&[u8]> = std::iter::once(*secret).chain(parts.iter().copied()).collect();
            equal(hex(&sha256(&all)).as_bytes(), signature.as_bytes())
        });
        let (label, _) = matching.ok_or(SignatureError::WrongSignature)?;
        let receipt = Receipt { scheme, secret: label.to_owned(), id: None, at: None, key: digest_key(&parts) };
        Ok(Verified::new(request.body, receipt))
    }
}

/// Reads HubSpot's events: a list of 1 to 100. A merge gives one event for each record merged away and one for the record that
/// is left, which may have a new id. Ids of events are made of what tells them apart, as HubSpot's own are not unique.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct HubSpotEvents;

impl HubSpotEvents {
    /// The format.
    pub fn new() -> Self {
        Self
    }
}

impl EventFormat for HubSpotEvents {
    fn events(&self, verified: &Verified<'_>) -> Result<Vec<WebhookEvent>> {
        let body: Value = serde_json::from_slice(verified.body())
            .map_err(|error| Error::decode(format!("the webhook is not JSON: line {}, column {}", error.line(), error.column())))?;
        let list = match body {
            Value::Array(list) => list,
            one @ Value::Object(_) => vec![one],
            _ => return Err(Error::decode("the webhook is neither an event nor a list of events")),
        };
        let mut events = Vec::with_capacity(list.len());
        for (at, data) in list.into_iter().enumerate() {
            read(at, &data, &mut events)?;
        }
        Ok(events)
    }
}

fn read(place: usize, data: &Value, events: &mut Vec<WebhookEvent>) -> Result<()> {
    let text = |name: &str| data.get(name).and_then(plain).filter(|text| !text.is_empty());
    let kind = text("subscriptionType").or_else(|| text("eventType"));
    let kind = kind.ok_or_else(|| Error::decode(format!("event {place} of the webhook has no subscriptionType")))?;
    let at = data.get("occurredAt").and_then(Value::as_i64).and_then(|millis| Timestamp::from_millisecond(millis).ok());
    let (object, what) = kind.split_once('.').unwrap_or((kind.as_str(), ""));
    let entity = match object {
        "contact" => Some("contacts".to_owned()),
        "company" => Some("companies".to_owned()),
        "deal" => Some("deals".to_owned()),
        "ticket" => Some("tickets".to_owned()),
        "product" => Some("products".to_owned()),
        "line_item" => Some("line_items".to_owned()),
        "object" => text("objectTypeId").map(|id| canonical(&id).to_string()),
        _ => None,
    };
    let parts = ["portalId", "objectId", "fromObjectId", "toObjectId", "propertyName", "occurredAt", "eventId"];
    let id = format!("{kind}:{}", parts.map(|name| text(name).unwrap_or_default()).join(":"));
    let first = events.len();
    let mut add = |record: Option<String>, change_kind: ChangeKind, suffix: &str| {
        let mut event = WebhookEvent::new(kind.clone(), data.clone());
        let id = EventId::new(format!("{id}{suffix}"));
        event.change = entity.clone().zip(record).map(|(entity, record)| {
            let mut change = Change::new(Entity::new(entity), RecordId::new(record), change_kind);
            if let (ChangeKind::Updated, Some(name), Some(value)) = (change_kind, text("propertyName"), data.get("propertyValue")) {
                change.fields.insert(name, value.clone());
            }
            (change.at, change.event) = (at, Some(id.clone()));
            change.origin.client =
                text("changeSource").filter(|source| matches!(source.as_str(), "API" | "INTEGRATION")).and(text("sourceId"));
            change.origin.user = text("sourceId").and_then(|source| source.strip_prefix("userId:").map(ToOwned::to_owned));
            change
        });
        (event.id, event.at) = (Some(id), at);
        events.push(event);
    };
    match what {
        "creation" => add(text("objectId"), ChangeKind::Created, ""),
        "deletion" | "privacyDeletion" => add(text("objectId"), ChangeKind::Deleted, ""),
        "restore" => add(text("objectId"), ChangeKind::Restored, ""),
        "merge" => {
            let left = text("newObjectId").or_else(|| text("primaryObjectId")).or_else(|| text("objectId"));
            let merged = data.get("mergedObjectIds").and_then(Value::as_array).into_iter().flatten().filter_map(plain);
            let mut gone: Vec<String> = Vec::new();
            for id in merged.chain(text("primaryObjectId")).filter(|id| Some(id) != left.as_ref()) {
                // The primary record may stand among the merged ones too.
                if !gone.contains(&id) {
                    gone.push(id);
                }
            }
            for id in gone {
                let suffix = format!(":{id}");
                add(Some(id), ChangeKind::Deleted, &suffix);
            }
            add(left.clone(), ChangeKind::Updated, "");
            for change in events.iter_mut().skip(first).filter_map(|event| event.change.as_mut()) {
                if let (ChangeKind::Deleted, Some(left)) = (change.kind, &left) {
                    change.successor = Some(Successor::new(change.entity.clone(), RecordId::new(left.as_str())));
                }
            }
        }
        "associationChange" => add(text("fromObjectId").or_else(|| text("objectId")), ChangeKind::Updated, ""),
        _ => add(text("objectId"), ChangeKind::Updated, ""),
    }
    Ok(())
}
