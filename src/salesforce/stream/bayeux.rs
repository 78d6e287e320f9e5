//! Bayeux messages, and what a refusal means (Streaming API Developer Guide, "Streaming API Error Codes").

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Retry};
use crate::rest::{Dialect, Failure};
use crate::salesforce::dialect::SalesforceDialect;

/// Places for listeners are given back within a minute of a client's silence.
const CLIENTS_WAIT: Duration = Duration::from_secs(30);
/// An allowance of 24 hours that is spent is not back in seconds.
const ALLOWANCE_WAIT: Duration = Duration::from_secs(900);

/// A message from the server.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Message {
    pub(super) channel: String,
    pub(super) id: Option<Value>,
    pub(super) successful: Option<bool>,
    pub(super) error: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) subscription: Option<Value>,
    pub(super) advice: Option<Advice>,
    pub(super) ext: Option<Value>,
    pub(super) data: Option<Value>,
}

/// How the server wants to be called.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Advice {
    reconnect: Option<String>,
    interval: Option<f64>,
    timeout: Option<f64>,
}

impl Advice {
    /// How long to wait before the next connect.
    pub(super) fn interval(&self) -> Option<Duration> {
        self.interval.and_then(millis)
    }

    /// How long the server holds a connect.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout.and_then(millis).filter(|timeout| !timeout.is_zero())
    }

    pub(super) fn wants_handshake(&self) -> bool {
        self.reconnect.as_deref() == Some("handshake")
    }

    pub(super) fn wants_nothing(&self) -> bool {
        self.reconnect.as_deref() == Some("none")
    }
}

fn millis(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number / 1000.0).ok()
}

/// The messages of a body: a list, or one alone.
pub(super) fn messages(body: &[u8]) -> serde_json::Result<Vec<Message>> {
    match body.trim_ascii_start().first() {
        Some(b'{') => Ok(vec![serde_json::from_slice(body)?]),
        _ => serde_json::from_slice(body),
    }
}

/// Salesforce's conventions, with answers that are Bayeux messages whatever their status.
#[derive(Debug, Default)]
pub(super) struct BayeuxDialect {
    plain: SalesforceDialect,
}

impl Dialect for BayeuxDialect {
    fn name(&self) -> &'static str {
        self.plain.name()
    }

    fn classify(&self, failure: Failure<'_>) -> Error {
        self.plain.classify(failure)
    }

    fn session_expired(&self, failure: Failure<'_>) -> bool {
        failure.status == StatusCode::UNAUTHORIZED
    }

    fn tolerates(&self, failure: Failure<'_>) -> bool {
        messages(failure.body).is_ok_and(|messages| messages.first().is_some_and(|message| message.channel.starts_with('/')))
    }
}

/// What to do about a refusal.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The session is gone; a new one may be made after this wait.
    Gone(Option<Duration>),
    /// The token is no longer good.
    Token,
    /// The place to resume from is not known.
    Replay,
    /// Anything else; the error says whether another try is worth it.
    Other(Error),
}

/// What a reply that is not successful means.
pub(super) fn refusal(reply: &Message) -> Refusal {
    let error = reply.error.as_deref().unwrap_or_default();
    // A denied handshake has its reason elsewhere.
    let reason = reply.ext.as_ref().and_then(|ext| ext.pointer("/sfdc/failureReason")).and_then(Value::as_str).unwrap_or(error);
    let text = reason.to_ascii_lowercase();
    let code: u16 = reason.split(':').next().and_then(|code| code.trim().parse().ok()).unwrap_or(0);
    let advice = reply.advice.clone().unwrap_or_default();
    if text.contains("unknown client") || text.contains("cookie present") {
        return Refusal::Gone(advice.interval());
    }
    if text.contains("replayid") && text.contains("invalid") {
        return Refusal::Replay;
    }
    if code == 401 {
        return Refusal::Token;
    }
    let (kind, retry, message) = if text.contains("concurrent user limit") {
        (ErrorKind::RateLimited, Some(Retry::After(CLIENTS_WAIT)), "as many clients listen as the org allows")
    } else if text.contains("limit exceeded") {
        (ErrorKind::QuotaExhausted, Some(Retry::After(ALLOWANCE_WAIT)), "an allowance of the org's events or listeners is used up")
    } else if text.contains("does not exist") || code == 404 {
        (
            ErrorKind::Config,
            None,
            "the channel does not exist; check its name and case, and that the object is selected for change data capture",
        )
    } else if code == 503 || text.contains("too busy") {
        (ErrorKind::Unavailable, None, "the streaming server is too busy")
    } else if advice.wants_handshake() {
        return Refusal::Gone(advice.interval());
    } else {
        match code {
            403 => (ErrorKind::Permission, None, "the user may not listen to this channel, or not to events at all"),
            413 => (ErrorKind::Config, None, "a request to the streaming server is longer than it takes (32,768 bytes)"),
            400..=499 => (ErrorKind::Config, None, "the streaming server refused the request"),
            _ => (ErrorKind::Unavailable, None, "the streaming server refused the request for the moment"),
        }
    };
    // The server's own text may hold the client id, so its number stands for it.
    let error = Error::new(kind, message);
    let error = if code == 0 { error } else { error.with_code(code.to_string()) };
    Refusal::Other(match retry {
        Some(retry) => error.retrying(retry),
        None => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(reply: Value) -> Refusal {
        refusal(&serde_json::from_value(reply).unwrap())
    }

    #[test]
    fn refusals() {
        let gone = of(json!({"channel": "/meta/connect", "successful": false, "error": "403::Unknown client",
                             "advice": {"reconnect": "handshake", "interval": 0}}));
        assert!(matches!(gone, Refusal::Gone(Some(Duration::ZERO))));
        // Faye numbers it otherwise.
        assert!(matches!(of(json!({"error": "401:abc:Unknown client"})), Refusal::Gone(None)));
        assert!(matches!(
            of(json!({"error": "400::Client x has established a session, but no BAYEUX_BROWSER cookie present"})),
            Refusal::Gone(_)
        ));
        assert!(matches!(of(json!({"error": "401::Authentication invalid", "advice": {"reconnect": "none"}})), Refusal::Token));
        let denied = json!({"error": "403::Handshake denied", "ext": {"sfdc": {"failureReason": "401::Request requires authentication"}}});
        assert!(matches!(of(denied), Refusal::Token));
        let text = "400::The replayId {4711} you provided was invalid. Please provide a valid ID, -2 to replay all events, or -1 …";
        assert!(matches!(of(json!({"error": text})), Refusal::Replay));
        for (text, kind) in [
            ("403::Organization concurrent user limit exceeded", ErrorKind::RateLimited),
            ("403::Organization total events daily limit exceeded", ErrorKind::QuotaExhausted),
            ("403::Subscription limit exceeded for this topic", ErrorKind::QuotaExhausted),
            ("400::The channel you requested to subscribe to does not exist {/data/x}", ErrorKind::Config),
            ("404::Unknown channel", ErrorKind::Config),
            ("403::User not allowed to subscribe CDC without View All Data permissions", ErrorKind::Permission),
            ("403::Restricted channel", ErrorKind::Permission),
            ("413::Maximum Request Size Exceeded", ErrorKind::Config),
            ("503::Server is too busy. Please try your request again later.", ErrorKind::Unavailable),
            ("500::Server Error", ErrorKind::Unavailable),
            ("", ErrorKind::Unavailable),
        ] {
            let Refusal::Other(error) = of(json!({"error": text})) else { panic!("{text}") };
            assert_eq!(error.kind(), kind, "{text}");
        }
    }

    #[test]
    fn bodies_of_any_status_are_read() {
        assert_eq!(messages(br#" {"channel":"/meta/connect"}"#).unwrap().len(), 1);
        assert_eq!(messages(b"[]").unwrap().len(), 0);
        assert!(messages(b"<html>").is_err());
        let advice: Advice = serde_json::from_value(json!({"interval": -1, "timeout": 110_000, "reconnect": "retry"})).unwrap();
        assert_eq!((advice.interval(), advice.timeout()), (None, Some(Duration::from_secs(110))));
    }
}
