//! What HubSpot's answers mean.
//!
//! Every member of an error body is optional (developer guide, "Error handling"), so category, then policy, then status decide.
//! Messages quote property values, so none is shown.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::SignedDuration;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, ErrorKind, FieldError, Retry};
use crate::host::Host;
use crate::http::retry_after;
use crate::hubspot::limiter::HubSpotLimiter;
use crate::model::RecordId;
use crate::rest::{Dialect, Failure};

/// How often a spent day is looked at again while its end is not sure.
const PROBE: Duration = Duration::from_secs(900);

/// One allowance of requests, as the newest answer told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateWindow {
    /// Requests in a window.
    pub max: u64,
    /// Requests left in it.
    pub remaining: u64,
    /// How long it lasts.
    pub window: Duration,
}

#[derive(Debug, Default)]
struct Heard {
    burst: Option<RateWindow>,
    daily: Option<RateWindow>,
    zone: Option<TimeZone>,
    /// The zone is an offset that summer time may have moved since.
    offset_only: bool,
}

/// HubSpot's conventions, and the allowances it told last. Clones share them.
#[derive(Clone, Debug)]
pub struct HubSpotDialect {
    host: Host,
    heard: Arc<Mutex<Heard>>,
    limiter: Option<HubSpotLimiter>,
}

impl HubSpotDialect {
    /// A dialect; `host` tells how long it is until the account's midnight.
    pub fn new(host: Host) -> Self {
        Self { host, heard: Arc::default(), limiter: None }
    }

    pub(super) fn limited(self, limiter: HubSpotLimiter) -> Self {
        Self { limiter: Some(limiter), ..self }
    }

    pub(super) fn limiter(&self) -> Option<&HubSpotLimiter> {
        self.limiter.as_ref()
    }

    /// The rolling ten-second window. Searches do not tell it.
    pub fn burst(&self) -> Option<RateWindow> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).burst
    }

    /// The day's allowance. Not told to OAuth apps.
    pub fn daily(&self) -> Option<RateWindow> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).daily
    }

    pub(super) fn tell_burst(&self, burst: RateWindow) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).burst = Some(burst);
    }

    pub(super) fn set_zone(&self, zone: TimeZone, offset_only: bool) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        (heard.zone, heard.offset_only) = (Some(zone), offset_only);
    }

    fn until_midnight(&self) -> Duration {
        let (zone, unsure) = {
            let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            (heard.zone.clone().unwrap_or(TimeZone::UTC), heard.offset_only || heard.zone.is_none())
        };
        let now = self.host.now();
        // Midnight may have been put an hour early by summer time: the next one is a day too late.
        if unsure && zone.to_datetime(now).hour() < 2 {
            return PROBE;
        }
        let midnight = zone.to_datetime(now).date().tomorrow().ok();
        let midnight = midnight.and_then(|day| zone.to_timestamp(day.to_datetime(Time::midnight())).ok());
        let wait = midnight.map_or(SignedDuration::from_hours(1), |midnight| midnight.duration_since(now));
        Duration::try_from(wait).unwrap_or(Duration::from_secs(3600))
    }
}

/// An error, alone or of one input of a batch.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Complaint {
    category: Option<String>,
    message: Option<String>,
    #[serde(deserialize_with = "lenient")]
    id: Option<Value>,
    correlation_id: Option<String>,
    policy_name: Option<String>,
    error_type: Option<String>,
    #[serde(deserialize_with = "lenient")]
    context: Option<Value>,
    #[serde(deserialize_with = "lenient")]
    errors: Option<Value>,
}

fn lenient<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Option::<Value>::deserialize(deserializer)
}

impl Complaint {
    /// Texts of the context under `name`.
    pub(super) fn context(&self, name: &str) -> Vec<String> {
        match self.context.as_ref().and_then(|context| context.get(name)) {
            Some(Value::Array(values)) => values.iter().filter_map(plain).collect(),
            Some(value) => plain(value).into_iter().collect(),
            None => Vec::new(),
        }
    }

    pub(super) fn named_ids(&self) -> Vec<String> {
        let mut ids = self.context("ids");
        ids.extend(self.context("id"));
        ids.extend(self.id.as_ref().and_then(plain));
        ids
    }

    /// Every text of the context, for errors that name an input by its unique property.
    pub(super) fn context_texts(&self) -> Vec<String> {
        let Some(Value::Object(context)) = &self.context else { return Vec::new() };
        context.keys().flat_map(|name| self.context(name)).collect()
    }

    /// `No company is associated with contact 1`: an answer, not a failure.
    pub(super) fn says_none_associated(&self) -> bool {
        let message = self.message.as_deref().unwrap_or_default().to_ascii_lowercase();
        message.starts_with("no ") && message.contains(" associated with ")
    }

    /// What was said about fields: the JSON list that stands inside the message, and `errors`.
    fn fields(&self) -> Vec<FieldError> {
        let mut fields: Vec<FieldError> = Vec::new();
        let mut add = |field: String, code: Option<String>| {
            if !fields.iter().any(|known| known.field == field) {
                fields.push(FieldError::new(field, code));
            }
        };
        let message = self.message.as_deref().unwrap_or_default();
        let inner = message.find('[').and_then(|at| message.get(at..));
        let inner = inner.and_then(|text| serde_json::Deserializer::from_str(text).into_iter::<Value>().next()?.ok());
        for item in inner.iter().filter_map(Value::as_array).flatten() {
            if let Some(name) = item.get("name").and_then(Value::as_str) {
                add(name.to_owned(), item.get("error").and_then(Value::as_str).map(ToOwned::to_owned));
            }
        }
        for item in self.errors.iter().filter_map(Value::as_array).flatten() {
            let code = item.get("code").or_else(|| item.get("errorType")).and_then(Value::as_str).map(ToOwned::to_owned);
            let names = item.pointer("/context/propertyName");
            let names = names.and_then(Value::as_array).into_iter().flatten().chain(names.filter(|name| name.is_string()));
            // Forms name it in the message: Error in 'fields.email'.
            let message = item.get("message").and_then(Value::as_str).unwrap_or_default();
            let quoted = message.split_once("'fields.").and_then(|(_, rest)| rest.split_once('\'')).map(|(name, _)| name);
            for name in names.chain(item.get("in")).filter_map(Value::as_str).chain(quoted) {
                add(name.to_owned(), code.clone());
            }
        }
        fields
    }

    /// The record in the way: `Contact already exists. Existing ID: 101`. The wording is no contract, the digits are.
    fn existing(&self) -> Option<RecordId> {
        // Only digits right after the word: a message may quote the value, which may be digits too.
        let lower = self.message.as_deref()?.to_ascii_lowercase();
        let found: Vec<(usize, &str)> = lower
            .match_indices("id")
            .filter_map(|(at, word)| {
                if lower.get(..at)?.ends_with(|c: char| c.is_ascii_alphabetic()) {
                    return None;
                }
                let tail = lower.get(at + word.len()..)?;
                let number = tail.trim_start_matches([':', '=', '#', ' ', '"', '\'']);
                let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
                let digits = number.get(..end).filter(|digits| !digits.is_empty())?;
                (digits.len() < tail.len() && number.len() < tail.len()).then_some((at, digits))
            })
            .collect();
        let named = match (lower.find("existing"), found.as_slice()) {
            (Some(from), _) => found.iter().find(|(at, _)| *at > from),
            (None, [one]) => Some(one),
            (None, _) => None,
        };
        named.map(|(_, digits)| RecordId::new(*digits))
    }

    pub(super) fn error(&self, status: Option<StatusCode>) -> Error {
        let number = status.map_or(0, |status| status.as_u16());
        let category = self.category.as_deref().or(self.error_type.as_deref()).unwrap_or_default();
        let fields = self.fields();
        let code = fields.iter().find_map(|field| field.code.clone()).filter(|_| category == "VALIDATION_ERROR");
        let taken =
            self.message.as_deref().is_some_and(|message| message.contains("already has that value") || message.contains("already exists"));
        let (kind, message) = match category {
            "CONFLICT" | "OBJECT_ALREADY_EXISTS" => (ErrorKind::Duplicate, "another record already stands for this one"),
            _ if taken && matches!(number, 0 | 400 | 409) => (ErrorKind::Duplicate, "another record already has this unique value"),
            "OBJECT_NOT_FOUND" | "NOT_FOUND" => (ErrorKind::NotFound, "hubspot has no such record"),
            "MISSING_SCOPES" => (ErrorKind::Permission, "the app lacks a scope; authorize it again with what the error's fields name"),
            "EXPIRED_AUTHENTICATION" | "INVALID_AUTHENTICATION" => (ErrorKind::Authentication, "hubspot refused the token"),
            "RATE_LIMITS" | "RATE_LIMIT" => (ErrorKind::RateLimited, "too many requests just now"),
            "VALIDATION_ERROR" => (ErrorKind::Validation, "hubspot refused the data"),
            _ => by_status(number),
        };
        let mut error = Error::new(kind, message);
        if category == "MISSING_SCOPES" {
            let scopes = self.errors.iter().filter_map(Value::as_array).flatten();
            let scopes = scopes.filter_map(|item| item.pointer("/context/requiredGranularScopes")?.as_array()).flatten();
            error = error.with_fields(scopes.filter_map(Value::as_str).map(|scope| FieldError::new(scope, None)).collect());
        } else {
            error = error.with_fields(fields);
        }
        if kind == ErrorKind::Duplicate {
            error = error.with_duplicates(self.existing().into_iter().collect()).retrying(Retry::Never);
        }
        if let Some(code) = code.or_else(|| (!category.is_empty()).then(|| category.to_owned())) {
            error = error.with_code(code);
        }
        match &self.correlation_id {
            Some(id) => error.with_request_id(id),
            None => error,
        }
    }
}

pub(super) fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn by_status(status: u16) -> (ErrorKind, &'static str) {
    match status {
        401 => (ErrorKind::Authentication, "hubspot refused the token"),
        403 => (ErrorKind::Permission, "the app or the account's edition may not do this"),
        404 => (ErrorKind::NotFound, "hubspot has no such record or path"),
        405 | 415 => (ErrorKind::Config, "hubspot does not know this method or content type here; check the API version"),
        409 => (ErrorKind::Duplicate, "another record already stands for this one"),
        414 => (ErrorKind::Config, "the URL is too long, or the merge names more than 250 identities; ask for fewer at once"),
        423 => (ErrorKind::Unavailable, "the account is locked by heavy writes"),
        429 => (ErrorKind::RateLimited, "too many requests just now"),
        477 => (ErrorKind::Unavailable, "the account is being moved to another data centre"),
        500.. => (ErrorKind::Unavailable, "hubspot is not available"),
        _ => (ErrorKind::Validation, "hubspot refused the data"),
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

fn pair(headers: &HeaderMap, max: &str, left: &str, window: Duration) -> Option<RateWindow> {
    Some(RateWindow { max: number(headers, max)?, remaining: number(headers, left)?, window })
}

/// The rolling window that an answer tells of: that of the app, or that of associations if it is an answer about those.
pub(super) fn burst(headers: &HeaderMap) -> Option<RateWindow> {
    let window = number(headers, "x-hubspot-ratelimit-interval-milliseconds").unwrap_or(10_000);
    pair(headers, "x-hubspot-ratelimit-max", "x-hubspot-ratelimit-remaining", Duration::from_millis(window))
}

impl Dialect for HubSpotDialect {
    fn name(&self) -> &'static str {
        "hubspot"
    }

    fn classify(&self, failure: Failure<'_>) -> Error {
        let complaint: Complaint = serde_json::from_slice(failure.body).unwrap_or_default();
        let mut error = complaint.error(Some(failure.status)).with_status(failure.status);
        if error.request_id().is_none()
            && let Some(id) = failure.headers.get("x-hubspot-correlation-id").and_then(|value| value.to_str().ok())
        {
            error = error.with_request_id(id);
        }
        let told = retry_after(failure.headers);
        match failure.status.as_u16() {
            429 => {
                let message = complaint.message.as_deref().unwrap_or_default().to_ascii_lowercase();
                let policy = complaint.policy_name.as_deref().unwrap_or_default();
                let wait = |default| Retry::After(told.unwrap_or(default));
                if policy == "DAILY" || (policy.is_empty() && message.contains("daily")) {
                    let daily =
                        Error::new(ErrorKind::QuotaExhausted, "the account's daily allowance is spent; it comes back at its midnight");
                    let daily = daily
                        .with_code("DAILY")
                        .with_status(failure.status)
                        .retrying(Retry::After(told.unwrap_or_else(|| self.until_midnight())));
                    match complaint.correlation_id {
                        Some(id) => daily.with_request_id(id),
                        None => daily,
                    }
                } else if policy == "TEN_SECONDLY_ROLLING" || message.contains("ten_secondly") {
                    error.with_code("TEN_SECONDLY_ROLLING").retrying(wait(Duration::from_secs(10)))
                } else if policy == "SECONDLY" || message.contains("secondly") {
                    error.with_code("SECONDLY").retrying(wait(Duration::from_secs(1)))
                } else {
                    error.retrying(told.map_or(Retry::Backoff, Retry::After))
                }
            }
            423 => error.retrying(Retry::After(told.unwrap_or_default().max(Duration::from_secs(2)))),
            477 => error.retrying(Retry::After(told.unwrap_or(Duration::from_secs(3600)))),
            409 | 414 => error.retrying(Retry::Never),
            401 if !self.session_expired(failure) => error.retrying(Retry::Never),
            500.. => match told {
                Some(wait) => error.retrying(Retry::After(wait)),
                None => error,
            },
            _ => error,
        }
    }

    /// Tokens are renewed by the clock; only the category that names expiry asks for one renewal more.
    fn session_expired(&self, failure: Failure<'_>) -> bool {
        failure.status == StatusCode::UNAUTHORIZED
            && serde_json::from_slice::<Complaint>(failure.body)
                .is_ok_and(|complaint| complaint.category.as_deref() == Some("EXPIRED_AUTHENTICATION"))
    }

    fn observe(&self, headers: &HeaderMap) {
        let daily = pair(headers, "x-hubspot-ratelimit-daily", "x-hubspot-ratelimit-daily-remaining", Duration::from_secs(86_400));
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.daily = daily.or(heard.daily);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn existing(message: &str) -> Option<String> {
        let complaint: Complaint = serde_json::from_value(serde_json::json!({ "message": message })).unwrap();
        complaint.existing().map(RecordId::into_string)
    }

    #[test]
    fn only_an_id_that_is_named_counts() {
        assert_eq!(existing("Contact already exists. Existing ID: 101").as_deref(), Some("101"));
        assert_eq!(existing("existing object id 7 has it").as_deref(), Some("7"));
        assert_eq!(existing("Contact in portal id 33 already exists. Existing ID: 101 (portal id: 33)").as_deref(), Some("101"));
        for message in ["my_key 4711 already has that value", "in portal id 33, record id 7", "the id is taken", "id5", "valid 5", ""] {
            assert_eq!(existing(message), None, "{message}");
        }
    }

    fn wait(zone: Option<(i8, bool)>, now: &str) -> u64 {
        let (host, clock) = Host::manual_with_clock(1);
        clock.set_wall(now.parse().unwrap());
        let dialect = HubSpotDialect::new(host);
        if let Some((hours, offset_only)) = zone {
            dialect.set_zone(TimeZone::fixed(jiff::tz::offset(hours)), offset_only);
        }
        dialect.until_midnight().as_secs()
    }

    #[test]
    fn the_day_ends_at_the_accounts_midnight() {
        assert_eq!(wait(Some((-5, false)), "2026-11-24T04:59:00Z"), 60);
        assert_eq!(wait(Some((-5, false)), "2026-11-24T05:00:00Z"), 86_400);
        assert_eq!(wait(None, "2026-11-24T22:00:00Z"), 7_200);
        // Summer time may have moved midnight since the offset was learned: it is looked for, not slept through.
        assert_eq!(wait(Some((-5, true)), "2026-11-24T05:00:30Z"), 900);
        assert_eq!(wait(Some((-5, true)), "2026-11-24T07:00:00Z"), 79_200);
    }

    #[test]
    fn every_member_of_an_error_may_be_missing() {
        for (status, body, kind) in [
            (400, "", ErrorKind::Validation),
            (404, "<html></html>", ErrorKind::NotFound),
            (409, "{}", ErrorKind::Duplicate),
            (400, r#"{"category":"VALIDATION_ERROR","subCategory":{"x":1},"context":null,"errors":null}"#, ErrorKind::Validation),
            (403, r#"{"category":"MISSING_SCOPES"}"#, ErrorKind::Permission),
            (500, "null", ErrorKind::Unavailable),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let headers = HeaderMap::new();
            let failure = Failure { status, headers: &headers, body: body.as_bytes() };
            let error = HubSpotDialect::new(Host::manual(1)).classify(failure);
            assert_eq!((error.kind(), error.status()), (kind, Some(status)), "{body}");
        }
    }
}
