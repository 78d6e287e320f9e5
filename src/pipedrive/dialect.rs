//! What Pipedrive's answers mean.
//!
//! The status decides, then the shape of the body ("HTTP status codes"; "Error responses"). v1 says `error` and `error_info`, v2
//! `error` and `code` with several complaints in one text, webhooks `errors` or `message`, and the front in front of all of them
//! a web page. Pipedrive's text may quote what was sent, so only the names of fields are taken from it.

use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::auth::AccessToken;
use crate::error::{Error, ErrorKind, FieldError, Result, Retry};
use crate::http::retry_after;
use crate::pipedrive::limits::{Gate, number};
use crate::pipedrive::tokens::Scheme;
use crate::rest::{Dialect, Failure};

/// A burst limit looks at 2 s.
const BURST_WAIT: Duration = Duration::from_secs(2);
/// A wait longer than a burst can need is the end of the day's budget.
const LONGEST_BURST: Duration = Duration::from_secs(10 * 60);

/// Pipedrive's conventions, and the gate that its limits close.
#[derive(Debug)]
pub struct PipedriveDialect {
    scheme: Scheme,
    pub(crate) gate: Gate,
}

impl PipedriveDialect {
    pub(crate) fn new(scheme: Scheme, gate: Gate) -> Self {
        Self { scheme, gate }
    }
}

/// The body of an error, in any of its shapes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Complaint {
    pub(crate) success: Option<bool>,
    error: Option<Value>,
    code: Option<String>,
    message: Option<String>,
    errors: Option<Map<String, Value>>,
}

impl Complaint {
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    fn text(&self) -> &str {
        self.error.as_ref().and_then(Value::as_str).or(self.message.as_deref()).unwrap_or_default()
    }

    /// The fields that a text of v2 names: `Validation failed: custom_fields.ab…: text; name: text`, or
    /// `Parameter 'ab…' is not allowed for this request`.
    fn fields(&self) -> Vec<FieldError> {
        let mut names: Vec<String> = self.errors.iter().flat_map(Map::keys).filter(|name| is_path(name)).cloned().collect();
        let text = self.text();
        let list = text.strip_prefix("Validation failed:").unwrap_or(text);
        for part in list.split(';').map(str::trim) {
            let quoted = part.split_once("Parameter '").and_then(|(_, rest)| rest.split_once('\'')).map(|(name, _)| name);
            let named = quoted.or_else(|| part.split_once(':').map(|(path, _)| path.trim()));
            if let Some(name) = named.filter(|name| is_path(name)) {
                let name = name.strip_prefix("custom_fields.").unwrap_or(name).to_owned();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names.into_iter().map(|name| FieldError::new(name, self.code.clone())).collect()
    }

    /// The error of a refusal that came with a status of success.
    pub(crate) fn into_error(self) -> Error {
        let kind = if self.text().to_ascii_lowercase().contains("not found") { ErrorKind::NotFound } else { ErrorKind::Validation };
        let error = Error::new(kind, "pipedrive answered success: false").with_fields(self.fields());
        with_code(error, &self)
    }
}

/// The name of a field, and nothing a person could have typed into one.
fn is_path(text: &str) -> bool {
    !text.is_empty() && text.len() <= 120 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.[]-".contains(&byte))
}

fn with_code(error: Error, complaint: &Complaint) -> Error {
    match &complaint.code {
        Some(code) if is_path(code) => error.with_code(code),
        _ => error,
    }
}

impl Dialect for PipedriveDialect {
    fn name(&self) -> &'static str {
        "pipedrive"
    }

    fn authorize(&self, token: &AccessToken, headers: &mut HeaderMap) -> Result<()> {
        let (name, value) = match self.scheme {
            Scheme::ApiToken => (HeaderName::from_static("x-api-token"), token.header("")?),
            Scheme::Bearer => (AUTHORIZATION, token.header("Bearer ")?),
        };
        headers.insert(name, value);
        Ok(())
    }

    fn session_expired(&self, failure: Failure<'_>) -> bool {
        self.scheme == Scheme::Bearer && failure.status == StatusCode::UNAUTHORIZED
    }

    fn observe(&self, headers: &HeaderMap) {
        self.gate.observe(headers);
    }

    fn classify(&self, failure: Failure<'_>) -> Error {
        let complaint = Complaint::read(failure.body);
        let error = match (failure.status.as_u16(), &complaint) {
            (403, None) => self.gate.stop(),
            (429, complaint) => self.throttled(failure.headers, complaint.as_ref()),
            (status, complaint) => by_status(status, complaint.as_ref().unwrap_or(&Complaint::default()), failure.headers, self.scheme),
        };
        let error = match &complaint {
            Some(complaint) if error.code().is_none() => with_code(error, complaint).with_fields(complaint.fields()),
            _ => error,
        };
        match failure.headers.get("x-correlation-id").and_then(|id| id.to_str().ok()) {
            Some(id) => error.with_request_id(id),
            None => error,
        }
    }
}

impl PipedriveDialect {
    /// A burst passes; a spent day does not.
    fn throttled(&self, headers: &HeaderMap, complaint: Option<&Complaint>) -> Error {
        let seconds = |name: &str| number(headers, name).map(Duration::from_secs);
        // Relative seconds, never a time of day.
        let wait = retry_after(headers);
        let wait = wait.or_else(|| seconds("x-ratelimit-reset"));
        let spent = number(headers, "x-daily-ratelimit-token-remaining") == Some(0)
            || complaint.is_some_and(|complaint| complaint.text().to_ascii_lowercase().contains("daily"))
            || wait.is_some_and(|wait| wait > LONGEST_BURST);
        if spent {
            return self.gate.day_is_spent(wait.filter(|wait| *wait > LONGEST_BURST));
        }
        let wait = wait.unwrap_or(BURST_WAIT);
        self.gate.bursts.pause(wait);
        Error::new(ErrorKind::RateLimited, "too many calls within two seconds").retrying(Retry::After(wait))
    }
}

fn by_status(status: u16, complaint: &Complaint, headers: &HeaderMap, scheme: Scheme) -> Error {
    let text = complaint.text().to_ascii_lowercase();
    match status {
        300..=399 => Error::config("pipedrive answered a redirect, which is not followed; check company_domain or api_domain"),
        400 | 422 if complaint.errors.is_some() || status == 422 => {
            Error::new(ErrorKind::Validation, "pipedrive refused the webhook or the record")
        }
        400 => Error::new(ErrorKind::Validation, "pipedrive refused the record or the parameters"),
        401 if scheme == Scheme::ApiToken => {
            Error::new(ErrorKind::Authentication, "pipedrive refused the API token; it may have been regenerated").retrying(Retry::Never)
        }
        401 => Error::new(ErrorKind::Authentication, "pipedrive refused the access token"),
        402 => Error::new(ErrorKind::Permission, "the account is not open: its trial is over or it is not paid"),
        403 if complaint.code.as_deref().is_some_and(|code| code.starts_with("feature_capping")) => {
            Error::new(ErrorKind::QuotaExhausted, "a limit of the account's plan is reached")
        }
        403 if text.contains("scope") => Error::new(ErrorKind::Permission, "the app's scopes do not cover this call"),
        403 => Error::new(ErrorKind::Permission, "the user may not do this"),
        404 => Error::new(ErrorKind::NotFound, "the record or resource does not exist or is not visible"),
        405 => Error::config("pipedrive does not know this method here"),
        408 => Error::new(ErrorKind::Timeout, "pipedrive gave up waiting for the request"),
        409 => Error::new(ErrorKind::Conflict, "the record was changed at the same time"),
        410 => Error::new(ErrorKind::NotFound, "the record or resource is gone for good"),
        415 | 501 => Error::unsupported("the account does not have this feature"),
        500..=599 => {
            let error = Error::new(ErrorKind::Unavailable, "pipedrive is not available or in maintenance");
            let wait = retry_after(headers);
            match wait {
                Some(wait) => error.retrying(Retry::After(wait)),
                None => error,
            }
        }
        _ => Error::new(ErrorKind::Validation, "pipedrive refused the request without a reason it documents"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::pipedrive::burst::Bursts;
    use http::HeaderValue;

    fn answer(dialect: &PipedriveDialect, status: u16, headers: &[(&'static str, &str)], body: &str) -> Error {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::try_from(*value).unwrap());
        }
        dialect.classify(Failure { status: StatusCode::from_u16(status).unwrap(), headers: &map, body: body.as_bytes() })
    }

    fn dialect(scheme: Scheme) -> PipedriveDialect {
        let host = Host::manual(1);
        PipedriveDialect::new(scheme, Gate::new(host.clone(), Bursts::new(host, 20, true)))
    }

    #[test]
    fn every_status_has_a_verdict() {
        let dialect = dialect(Scheme::ApiToken);
        for (status, kind, retry) in [
            (400, ErrorKind::Validation, Retry::Never),
            (401, ErrorKind::Authentication, Retry::Never),
            (402, ErrorKind::Permission, Retry::Never),
            (403, ErrorKind::Permission, Retry::Never),
            (404, ErrorKind::NotFound, Retry::Never),
            (410, ErrorKind::NotFound, Retry::Never),
            (415, ErrorKind::Unsupported, Retry::Never),
            (422, ErrorKind::Validation, Retry::Never),
            (429, ErrorKind::RateLimited, Retry::After(BURST_WAIT)),
            (500, ErrorKind::Unavailable, Retry::Backoff),
            (503, ErrorKind::Unavailable, Retry::Backoff),
            (302, ErrorKind::Config, Retry::Never),
        ] {
            let error = answer(&dialect, status, &[], r#"{"success":false,"error":"x"}"#);
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{status}");
        }
    }

    #[test]
    fn v2_names_several_fields_and_no_value() {
        let dialect = dialect(Scheme::ApiToken);
        let key = "0123456789abcdef0123456789abcdef01234567";
        let body = format!(
            r#"{{"success":false,"error":"Validation failed: emails[0].value: 'jane canary' is wrong; custom_fields.{key}: Expected 'number'; a canary text: b","code":"ERR_SCHEMA_VALIDATION_FAILED"}}"#
        );
        let error = answer(&dialect, 400, &[("x-correlation-id", "c-1")], &body);
        assert_eq!((error.code(), error.request_id()), (Some("ERR_SCHEMA_VALIDATION_FAILED"), Some("c-1")));
        let names: Vec<&str> = error.fields().iter().map(|field| field.field.as_str()).collect();
        assert_eq!(names, ["emails[0].value", key]);
        assert!(!format!("{error:?} {error}").contains("canary"));
        let body = format!(r#"{{"success":false,"error":"Parameter '{key}' is not allowed for this request"}}"#);
        assert_eq!(answer(&dialect, 400, &[], &body).fields()[0].field, key);
        let body = r#"{"status":"error","success":false,"errors":{"subscription_url":["invalid or non-reachable URL"]}}"#;
        assert_eq!(answer(&dialect, 400, &[], body).fields()[0].field, "subscription_url");
        let body = r#"{"success":false,"error":"Couldn't add the deal. Open deals limit reached.","code":"feature_capping_deals_limit"}"#;
        assert_eq!(answer(&dialect, 403, &[], body).kind(), ErrorKind::QuotaExhausted);
    }

    #[test]
    fn a_burst_is_not_a_spent_day() {
        let one = dialect(Scheme::ApiToken);
        let error = answer(&one, 429, &[("x-ratelimit-reset", "1"), ("x-daily-ratelimit-token-remaining", "7")], "");
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(Duration::from_secs(1))));
        let error = answer(&one, 429, &[("retry-after", "3"), ("x-ratelimit-reset", "1")], "");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
        one.gate.enter(1).unwrap();
        let error = answer(&one, 429, &[("x-daily-ratelimit-token-remaining", "0")], r#"{"success":false,"error":"Request over limit"}"#);
        assert_eq!((error.kind(), error.retry()), (ErrorKind::QuotaExhausted, Retry::Never));
        assert!(one.gate.enter(1).is_err());
    }

    #[test]
    fn a_web_page_stops_everything() {
        let one = dialect(Scheme::ApiToken);
        let error = answer(&one, 403, &[], "<!DOCTYPE html><html>canary</html>");
        assert_eq!((error.kind(), error.retry(), error.code()), (ErrorKind::Permission, Retry::Never, Some("BLOCKED")));
        assert!(one.gate.enter(1).is_err() && !error.to_string().contains("canary"));
        // Permission denied in JSON stops nothing.
        let other = dialect(Scheme::ApiToken);
        answer(&other, 403, &[], r#"{"success":false,"message":"Forbidden"}"#);
        other.gate.enter(1).unwrap();
    }

    #[test]
    fn only_an_oauth_token_is_renewed() {
        let headers = HeaderMap::new();
        let failure = Failure { status: StatusCode::UNAUTHORIZED, headers: &headers, body: b"" };
        assert!(dialect(Scheme::Bearer).session_expired(failure) && !dialect(Scheme::ApiToken).session_expired(failure));
    }
}
