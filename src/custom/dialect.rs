//! What a defined API's answers mean.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::adapter::QuotaWindow;
use crate::auth::AccessToken;
use crate::custom::auth::AuthSpec;
use crate::custom::definition::{ErrorClass, ErrorRule, StatusMatch, Wait};
use crate::custom::pointer::{Paths, at, plain};
use crate::custom::shared::Shared;
use crate::custom::template::Template;
use crate::error::{Error, ErrorKind, FieldError, Result, Retry};
use crate::http::LONGEST_RETRY_AFTER;
use crate::model::RecordId;
use crate::rest::{Dialect, Failure};

/// One operation's view of the rules.
#[derive(Debug)]
pub(super) struct DefinedDialect {
    pub(super) shared: Arc<Shared>,
    pub(super) operation: &'static str,
    /// The key that sends.
    pub(super) key: usize,
    /// The statuses that mean success; none: every 2xx.
    pub(super) success: Vec<u16>,
}

/// The mark of an error that a smaller page may cure.
#[derive(Debug, thiserror::Error)]
#[error("the page is too large")]
struct TooLarge;

/// True if a smaller page may cure `error`.
pub(super) fn is_too_large(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<TooLarge>())
}

/// No CRM's sentence is longer, and a page of HTML is none.
const LONGEST_MESSAGE: usize = 300;

impl DefinedDialect {
    fn rule(&self, failure: Failure<'_>, body: Option<&Value>) -> Option<&ErrorRule> {
        self.shared.definition.errors.iter().find(|rule| {
            let status = failure.status.as_u16();
            let status_fits = if rule.status.is_empty() {
                !failure.status.is_success()
            } else {
                rule.status.iter().any(|wanted| match wanted {
                    StatusMatch::Code(code) => *code == status,
                    StatusMatch::Family(text) => match text.parse::<u16>() {
                        Ok(code) => code == status,
                        Err(_) => text.as_bytes().first().is_some_and(|digit| u16::from(digit.wrapping_sub(b'0')) == status / 100),
                    },
                })
            };
            let operation_fits = rule.operations.is_empty() || rule.operations.iter().any(|name| name == self.operation);
            let header_fits = rule.header.as_ref().is_none_or(|name| failure.headers.contains_key(name.as_str()));
            let path_fits = rule.path.as_ref().is_none_or(|path| {
                let found = body.and_then(|body| path.find(body));
                match (&rule.equals, found) {
                    (Some(wanted), Some(found)) => {
                        wanted == found || plain(wanted).is_some_and(|text| plain(found).as_ref() == Some(&text))
                    }
                    (None, Some(_)) => true,
                    (_, None) => false,
                }
            });
            let text_fits = rule.contains.as_ref().is_none_or(|text| contains(failure.body, text.as_bytes()));
            status_fits && operation_fits && header_fits && path_fits && text_fits
        })
    }

    /// What a 2xx answer says that is a failure by a rule; `None`: it is none.
    pub(super) fn hidden_failure(&self, failure: Failure<'_>) -> Option<Error> {
        if let Some(error) = self.shared.hooks.classify(self.operation, failure) {
            return Some(error);
        }
        if self.counts_as_success(failure.status) {
            return None;
        }
        if self.shared.definition.errors.iter().all(|rule| rule.status.is_empty()) {
            return None;
        }
        let body = serde_json::from_slice(failure.body).ok();
        let rule = self.rule(failure, body.as_ref())?;
        (rule.class != ErrorClass::Success).then(|| self.error(rule.class, Some(rule), failure, body.as_ref()))
    }

    /// True for a status beyond 2xx that the operation calls a success.
    fn counts_as_success(&self, status: StatusCode) -> bool {
        !status.is_success() && self.success.contains(&status.as_u16())
    }

    /// What the status says by itself.
    fn usual(&self, failure: Failure<'_>) -> ErrorClass {
        match failure.status.as_u16() {
            401 if self.shared.auth.renewable() => ErrorClass::Expired,
            401 => ErrorClass::Authentication,
            402 | 403 => ErrorClass::Permission,
            404 | 410 => ErrorClass::NotFound,
            409 if self.operation == "create" => ErrorClass::Duplicate,
            409 | 412 | 428 => ErrorClass::Conflict,
            400 | 422 => ErrorClass::Validation,
            413 if matches!(self.operation, "search" | "changes") => ErrorClass::PageTooLarge,
            429 => ErrorClass::RateLimited,
            408 | 423 | 425 | 500..=599 => ErrorClass::Transient,
            _ => ErrorClass::Configuration,
        }
    }

    fn error(&self, class: ErrorClass, rule: Option<&ErrorRule>, failure: Failure<'_>, body: Option<&Value>) -> Error {
        let words = &self.shared.definition.error_body;
        let first = |names: &[&str]| Paths::First(names.iter().map(|name| (*name).to_owned()).collect());
        let usual_message = || first(&["message", "error_description", "error.message", "error", "errors.0.message", "detail", "title"]);
        let usual_code = || first(&["code", "errorCode", "error.code", "errors.0.code", "error"]);
        let told = body.and_then(|body| words.message.clone().unwrap_or_else(usual_message).text(body)).map(|text| tidy(&text));
        let code = body
            .and_then(|body| words.code.clone().unwrap_or_else(usual_code).text(body))
            .filter(|code| code.len() <= 64 && !code.contains(' '));
        let status = failure.status.as_u16();
        let what = match class {
            ErrorClass::Authentication => "the credentials were refused; configure new ones",
            ErrorClass::Configuration => "the API refuses the request",
            ErrorClass::Conflict => "the record was changed by somebody else in between",
            ErrorClass::Duplicate => "the record exists already",
            ErrorClass::Expired => "the token has expired",
            ErrorClass::NotFound => "there is no such record",
            ErrorClass::PageTooLarge => "the page of the list is too large",
            ErrorClass::Permission => "this user may not do that",
            ErrorClass::Quota => "the allowance is spent",
            ErrorClass::RateLimited => "too many requests just now",
            ErrorClass::Success => "the API answered",
            ErrorClass::Transient => "the API is not available just now",
            ErrorClass::Validation => "the API refuses a value",
        };
        let what = rule.and_then(|rule| rule.message.as_deref()).unwrap_or(what);
        // A validation's own sentence may quote the value it refuses.
        let told = told.filter(|text| !text.is_empty() && class != ErrorClass::Validation);
        let message = match (told, is_html(failure)) {
            (Some(text), _) => format!("{what} ({status}): {text}"),
            (None, true) => format!("{what} ({status}); the answer is a web page: a proxy, or another base URL"),
            (None, false) => format!("{what} ({status})"),
        };
        let kind = match class {
            ErrorClass::Authentication | ErrorClass::Expired => ErrorKind::Authentication,
            ErrorClass::Configuration => ErrorKind::Config,
            ErrorClass::Conflict => ErrorKind::Conflict,
            ErrorClass::Duplicate => ErrorKind::Duplicate,
            ErrorClass::NotFound => ErrorKind::NotFound,
            ErrorClass::PageTooLarge => ErrorKind::Unavailable,
            ErrorClass::Permission => ErrorKind::Permission,
            ErrorClass::Quota => ErrorKind::QuotaExhausted,
            ErrorClass::RateLimited => ErrorKind::RateLimited,
            ErrorClass::Success => ErrorKind::Internal,
            ErrorClass::Transient => ErrorKind::Unavailable,
            ErrorClass::Validation => ErrorKind::Validation,
        };
        let retry = match class {
            ErrorClass::PageTooLarge | ErrorClass::RateLimited | ErrorClass::Transient | ErrorClass::Quota => {
                self.wait(rule, failure, body).map_or(Retry::Backoff, Retry::After)
            }
            ErrorClass::Expired => Retry::Reauthenticate,
            _ => Retry::Never,
        };
        let mut error = Error::new(kind, message).retrying(retry);
        if class == ErrorClass::PageTooLarge {
            error = error.with_source(TooLarge);
        }
        if let Some(code) = code {
            error = error.with_code(code);
        }
        let header = |name: &str| failure.headers.get(name).and_then(|value| value.to_str().ok());
        let usual = ["x-request-id", "request-id", "x-correlation-id"];
        let id = words.request_id.as_deref().map_or_else(|| usual.into_iter().find_map(header), header);
        if let Some(id) = id {
            error = error.with_request_id(id);
        }
        if let Some(body) = body {
            if let Some(id) = words.duplicate.as_ref().and_then(|path| path.text(body)) {
                error = error.with_duplicates(vec![RecordId::new(id)]);
            }
            let fields = self.fields(body);
            if !fields.is_empty() {
                error = error.with_fields(fields);
            }
        }
        error
    }

    fn fields(&self, body: &Value) -> Vec<FieldError> {
        let Some(spec) = &self.shared.definition.error_body.fields else { return Vec::new() };
        match spec.list.find(body) {
            Some(Value::Array(entries)) => {
                let field = |entry: &Value| {
                    let name = plain(entry).or_else(|| spec.name.text(entry))?;
                    Some(FieldError::new(name, spec.code.as_ref().and_then(|code| code.text(entry))))
                };
                entries.iter().filter_map(field).collect()
            }
            Some(Value::Object(members)) => members.keys().map(|name| FieldError::new(name.clone(), None)).collect(),
            _ => Vec::new(),
        }
    }

    fn wait(&self, rule: Option<&ErrorRule>, failure: Failure<'_>, body: Option<&Value>) -> Option<Duration> {
        let header = |name: &str| failure.headers.get(name).and_then(|value| value.to_str().ok());
        // A moment is compared with the answer's own clock, if it tells it.
        let told = header("date").and_then(|date| Some(jiff::fmt::rfc2822::parse(date.trim()).ok()?.timestamp()));
        let now = told.unwrap_or_else(|| self.shared.host.now());
        let rate = &self.shared.definition.rate;
        match rule.and_then(|rule| rule.wait.as_ref()) {
            Some(Wait::Header(name)) => delay(header(name)?, false, now),
            Some(Wait::HeaderMilliseconds(name)) => delay(header(name)?, true, now),
            Some(Wait::Path(path)) => delay(&path.text(body?)?, false, now),
            Some(Wait::Seconds(seconds)) => Some(Duration::from_secs(*seconds)),
            None => {
                let name = rate.retry_after.as_deref().unwrap_or(RETRY_AFTER.as_str());
                delay(header(name)?, rate.retry_after_milliseconds, now)
            }
        }
    }
}

impl Dialect for DefinedDialect {
    fn name(&self) -> &'static str {
        "custom"
    }

    fn classify(&self, failure: Failure<'_>) -> Error {
        if let Some(error) = self.shared.hooks.classify(self.operation, failure) {
            return error;
        }
        let body = serde_json::from_slice(failure.body).ok();
        let rule = self.rule(failure, body.as_ref());
        let class = rule.map_or_else(|| self.usual(failure), |rule| rule.class);
        self.error(class, rule, failure, body.as_ref())
    }

    fn session_expired(&self, failure: Failure<'_>) -> bool {
        let body = serde_json::from_slice(failure.body).ok();
        let class = self.rule(failure, body.as_ref()).map_or_else(|| self.usual(failure), |rule| rule.class);
        class == ErrorClass::Expired && self.shared.auth.renewable()
    }

    fn tolerates(&self, failure: Failure<'_>) -> bool {
        if self.counts_as_success(failure.status) {
            return true;
        }
        let body = serde_json::from_slice(failure.body).ok();
        self.rule(failure, body.as_ref()).is_some_and(|rule| rule.class == ErrorClass::Success)
    }

    fn observe(&self, headers: &HeaderMap) {
        let rate = &self.shared.definition.rate;
        let Some(key) = self.shared.keys.get(self.key) else { return };
        let number = |name: &Option<String>| -> Option<u64> { headers.get(name.as_deref()?)?.to_str().ok()?.trim().parse().ok() };
        if let (Some(limit), Some(left)) = (number(&rate.limit), number(&rate.remaining)) {
            let mut window = QuotaWindow::new("requests", limit.saturating_sub(left), limit);
            window.window = rate.window.map(Duration::from_secs);
            key.observed(window);
        }
        let reset = rate.reset.as_deref().and_then(|name| headers.get(name)?.to_str().ok());
        if let (Some(0), Some(text)) = (number(&rate.remaining), reset)
            && let Some(wait) = delay(text, false, self.shared.host.now())
        {
            key.pause_until(self.shared.host.monotonic().saturating_add(wait.min(Duration::from_secs(3600))));
        }
        if let Some(seconds) = number(&rate.backoff) {
            let until = self.shared.host.monotonic().saturating_add(Duration::from_secs(seconds.min(3600)));
            key.pause_until(until);
        }
    }

    fn authorize(&self, token: &AccessToken, headers: &mut HeaderMap) -> Result<()> {
        if self.shared.hooks.authorize(headers)? {
            return Ok(());
        }
        let secret = token.secret().expose_secret();
        let (name, text) = match &self.shared.auth {
            AuthSpec::None => return Ok(()),
            AuthSpec::Basic { user, password, .. } => {
                let names = self.shared.names().with("secret", secret);
                let text = |template: &str| -> Result<String> {
                    let unset = |name: String| Error::config(format!("the variable {name:?} is not set"));
                    Template::parse(template).map_err(Error::config)?.plain(&names).map_err(unset)
                };
                let key_is_user = Template::parse(user).is_ok_and(|user| user.names().any(|name| name == "secret"));
                let password = text(password.as_deref().unwrap_or(if key_is_user { "" } else { "{secret}" }))?;
                (AUTHORIZATION, format!("Basic {}", STANDARD.encode(format!("{}:{password}", text(user)?))))
            }
            other => match other.inject() {
                Some(inject) if inject.header.is_none() => return Ok(()),
                Some(inject) => {
                    let name = HeaderName::try_from(inject.header.unwrap_or_default());
                    (
                        name.map_err(|_| Error::config("the credential's header has an impossible name"))?,
                        format!("{}{secret}", inject.prefix),
                    )
                }
                None => (AUTHORIZATION, format!("Bearer {secret}")),
            },
        };
        let mut value =
            HeaderValue::try_from(text).map_err(|_| Error::config("the credential holds characters that cannot stand in a header"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok(())
    }

    fn query_credential(&self, token: &AccessToken) -> Option<(String, String)> {
        let name = self.shared.auth.inject()?.query?;
        Some((name, token.secret().expose_secret().to_owned()))
    }
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

fn is_html(failure: Failure<'_>) -> bool {
    let typed =
        failure.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains("html"));
    typed || failure.body.trim_ascii_start().first() == Some(&b'<')
}

/// One line, of bounded length.
fn tidy(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(LONGEST_MESSAGE).collect()
}

/// The wait a header asks for: a number of seconds (or thousandths), an HTTP date, or an absolute time in epoch seconds.
fn delay(text: &str, milliseconds: bool, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        if !number.is_finite() || number < 0.0 {
            return None;
        }
        let seconds = if milliseconds { number / 1000.0 } else { number };
        // Nobody asks for thirty years: that is a point in time.
        if seconds > 1_000_000_000.0 {
            let until = Timestamp::from_second(format!("{seconds:.0}").parse().ok()?).ok()?;
            return Some(until_then(until, now));
        }
        return Some(Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_RETRY_AFTER).min(LONGEST_RETRY_AFTER));
    }
    Some(until_then(jiff::fmt::rfc2822::parse(text).ok()?.timestamp(), now))
}

/// A moment that has passed is no wait; a wrong one does not stop a connection for years.
fn until_then(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO).min(LONGEST_RETRY_AFTER)
}

/// True if `status` is one a check accepts.
pub(super) fn accepts(status: StatusCode, wanted: &[u16]) -> bool {
    if wanted.is_empty() { status.is_success() } else { wanted.contains(&status.as_u16()) }
}

/// A member of a record that marks it as deleted.
pub(super) fn is_marked(record: &Value, path: &Paths, equals: Option<&Value>) -> bool {
    let found = path.all().iter().find_map(|path| at(record, path));
    match (equals, found) {
        (Some(wanted), Some(found)) => wanted == found || plain(wanted).is_some_and(|text| plain(found).as_ref() == Some(&text)),
        (Some(_), None) | (None, None) => false,
        (None, Some(found)) => match found {
            Value::Null | Value::Bool(false) => false,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty() && text != "false" && text != "0",
            _ => true,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_in_every_form() {
        let now: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
        assert_eq!(delay("7", false, now), Some(Duration::from_secs(7)));
        assert_eq!(delay("1500", true, now), Some(Duration::from_millis(1500)));
        assert_eq!(delay("Tue, 24 Nov 2026 00:01:00 GMT", false, now), Some(Duration::from_secs(60)));
        assert_eq!(delay("Mon, 23 Nov 2026 00:01:00 GMT", false, now), Some(Duration::ZERO));
        assert_eq!(delay(&(now.as_second() + 9).to_string(), false, now), Some(Duration::from_secs(9)));
        for far in ["Tue, 24 Nov 2099 00:01:00 GMT", "99999999", "99999999999"] {
            assert_eq!(delay(far, false, now), Some(LONGEST_RETRY_AFTER), "{far}");
        }
        for odd in ["-1", "soon", "NaN", "inf", ""] {
            assert_eq!(delay(odd, false, now), None, "{odd}");
        }
    }

    #[test]
    fn tombstones() {
        use serde_json::json;
        let path = Paths::from("deleted");
        assert!(is_marked(&json!({"deleted": true}), &path, None) && is_marked(&json!({"deleted": 1}), &path, None));
        assert!(!is_marked(&json!({"deleted": "0"}), &path, None) && !is_marked(&json!({}), &path, None));
        assert!(is_marked(&json!({"state": "gone"}), &Paths::from("state"), Some(&json!("gone"))));
        assert!(!is_marked(&json!({"state": "here"}), &Paths::from("state"), Some(&json!("gone"))));
    }
}
