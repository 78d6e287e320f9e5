//! The one error of the crate.
//!
//! It answers the questions a pipeline asks: what kind of failure is this, is it worth another try and when, and may the
//! write have happened although no answer came. Areas that are pure functions have error enums of their own
//! ([`crate::query::ParseError`], [`crate::http::HttpError`], ...), which convert into this one.
//!
//! A message says what was attempted. It never holds a token, a header, the query of a URL or the value of a field.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::model::{Entity, RecordId};

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What happened, in the terms a pipeline acts on.
///
/// `RateLimited`, `Authentication`, `Validation` and `Network` are the four classes of the original guide
/// (`RATE_LIMIT`, `AUTH_FAILURE`, `FIELD_VALIDATION`, `NETWORK_ERROR`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The credential was refused or has expired and could not be renewed.
    Authentication,
    /// The work was given up by its caller.
    Cancelled,
    /// Something the host configured cannot work: a wrong URL, an unknown entity, a missing certificate store.
    Config,
    /// A precondition failed: somebody changed the record in between.
    Conflict,
    /// An answer arrived that is not what the API documents.
    Decode,
    /// The CRM says another record already stands for this one.
    Duplicate,
    /// A broken promise inside this crate. Please report it.
    Internal,
    /// A mapping could not produce the record.
    Mapping,
    /// The connection failed, or broke before a whole answer was read.
    Network,
    /// The record or resource does not exist, or is not visible to this user.
    NotFound,
    /// The user may not do this.
    Permission,
    /// The work queue failed.
    Queue,
    /// A daily or monthly allowance is spent; waiting seconds does not help.
    QuotaExhausted,
    /// Too many requests just now.
    RateLimited,
    /// A webhook's signature was refused.
    Signature,
    /// The store failed.
    Store,
    /// No answer within the time allowed.
    Timeout,
    /// The CRM is down or overloaded.
    Unavailable,
    /// This adapter or CRM cannot do that.
    Unsupported,
    /// The CRM refused the data of the record.
    Validation,
}

impl ErrorKind {
    /// The kind as a stable lower-case word, for labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Cancelled => "cancelled",
            Self::Config => "config",
            Self::Conflict => "conflict",
            Self::Decode => "decode",
            Self::Duplicate => "duplicate",
            Self::Internal => "internal",
            Self::Mapping => "mapping",
            Self::Network => "network",
            Self::NotFound => "not_found",
            Self::Permission => "permission",
            Self::Queue => "queue",
            Self::QuotaExhausted => "quota_exhausted",
            Self::RateLimited => "rate_limited",
            Self::Signature => "signature",
            Self::Store => "store",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Unsupported => "unsupported",
            Self::Validation => "validation",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether another try is worth it, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// The CRM named a time; an earlier try is wasted or punished.
    After(Duration),
    /// It may pass; wait by the policy's schedule.
    Backoff,
    /// The same call fails again until somebody changes something.
    Never,
    /// It works once the credential is renewed.
    Reauthenticate,
}

/// What the CRM said about one field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldError {
    /// The field, in the CRM's spelling.
    pub field: String,
    /// The CRM's code, e.g. `STRING_TOO_LONG`.
    pub code: Option<String>,
}

impl FieldError {
    /// A complaint about `field`.
    pub fn new(field: impl Into<String>, code: Option<String>) -> Self {
        Self { field: field.into(), code }
    }
}

/// The error of every fallible call in this crate; one word wide.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    retry: Retry,
    may_have_applied: bool,
    message: String,
    operation: Option<&'static str>,
    entity: Option<Entity>,
    record: Option<RecordId>,
    status: Option<http::StatusCode>,
    code: Option<String>,
    request_id: Option<String>,
    fields: Vec<FieldError>,
    duplicates: Vec<RecordId>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; the retry verdict is the usual one of that kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retry = match kind {
            ErrorKind::Network
            | ErrorKind::Timeout
            | ErrorKind::Unavailable
            | ErrorKind::RateLimited
            | ErrorKind::Queue
            | ErrorKind::Store => Retry::Backoff,
            ErrorKind::Authentication => Retry::Reauthenticate,
            _ => Retry::Never,
        };
        Self(Box::new(Inner {
            kind,
            retry,
            may_have_applied: false,
            message: message.into(),
            operation: None,
            entity: None,
            record: None,
            status: None,
            code: None,
            request_id: None,
            fields: Vec::new(),
            duplicates: Vec::new(),
            source: None,
        }))
    }

    /// Shorthand for [`ErrorKind::Config`].
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// Shorthand for [`ErrorKind::Decode`].
    pub fn decode(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Decode, message)
    }

    /// Shorthand for [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Shorthand for [`ErrorKind::Store`].
    pub fn store(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Store, message)
    }

    /// Shorthand for [`ErrorKind::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// Sets the retry verdict.
    #[must_use]
    pub fn retrying(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Says that a write was sent and its outcome is unknown.
    #[must_use]
    pub fn ambiguous(mut self) -> Self {
        self.0.may_have_applied = true;
        self
    }

    /// Says that the write certainly did not happen.
    #[must_use]
    pub fn not_applied(mut self) -> Self {
        self.0.may_have_applied = false;
        self
    }

    /// Names the adapter operation (`"create"`, `"search"`, ...), unless one is named already.
    #[must_use]
    pub fn during(mut self, operation: &'static str) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// Names the entity, unless one is named already.
    #[must_use]
    pub fn on(mut self, entity: &Entity) -> Self {
        if self.0.entity.is_none() {
            self.0.entity = Some(entity.clone());
        }
        self
    }

    /// Names the record, unless one is named already.
    #[must_use]
    pub fn record_id(mut self, id: &RecordId) -> Self {
        if self.0.record.is_none() {
            self.0.record = Some(id.clone());
        }
        self
    }

    /// The same error in other words: of this entity, with these fields.
    #[must_use]
    pub(crate) fn reworded(mut self, entity: &Entity, fields: Vec<FieldError>) -> Self {
        self.0.entity = Some(entity.clone());
        self.0.fields = fields;
        self
    }

    /// Keeps the HTTP status.
    #[must_use]
    pub fn with_status(mut self, status: http::StatusCode) -> Self {
        self.0.status = Some(status);
        self
    }

    /// Keeps the vendor's code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.0.code = Some(code.into());
        self
    }

    /// Keeps the vendor's request id, for support tickets.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = Some(id.into());
        self
    }

    /// Keeps what the CRM said about single fields.
    #[must_use]
    pub fn with_fields(mut self, fields: Vec<FieldError>) -> Self {
        self.0.fields = fields;
        self
    }

    /// Keeps the ids of the records that are in the way.
    #[must_use]
    pub fn with_duplicates(mut self, ids: Vec<RecordId>) -> Self {
        self.0.duplicates = ids;
        self
    }

    /// Keeps the cause. It is not repeated in the message.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// A copy without the cause, for each of several operations that failed together.
    #[must_use]
    pub fn echo(&self) -> Self {
        let inner = &self.0;
        Self(Box::new(Inner {
            kind: inner.kind,
            retry: inner.retry,
            may_have_applied: inner.may_have_applied,
            message: inner.message.clone(),
            operation: inner.operation,
            entity: inner.entity.clone(),
            record: inner.record.clone(),
            status: inner.status,
            code: inner.code.clone(),
            request_id: inner.request_id.clone(),
            fields: inner.fields.clone(),
            duplicates: inner.duplicates.clone(),
            source: None,
        }))
    }

    /// What happened.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether another try is worth it.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// True unless the verdict is [`Retry::Never`].
    pub fn is_retryable(&self) -> bool {
        self.0.retry != Retry::Never
    }

    /// The wait the CRM asked for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.0.retry {
            Retry::After(wait) => Some(wait),
            _ => None,
        }
    }

    /// True if a write was sent and nobody knows whether it happened. Never repeat such a create blindly.
    pub fn may_have_applied(&self) -> bool {
        self.0.may_have_applied
    }

    /// The message without context and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The adapter operation that failed.
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The entity concerned.
    pub fn entity(&self) -> Option<&Entity> {
        self.0.entity.as_ref()
    }

    /// The record concerned.
    pub fn record(&self) -> Option<&RecordId> {
        self.0.record.as_ref()
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> Option<http::StatusCode> {
        self.0.status
    }

    /// The vendor's code, e.g. `UNABLE_TO_LOCK_ROW`.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// The vendor's request id.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// What the CRM said about single fields.
    pub fn fields(&self) -> &[FieldError] {
        &self.0.fields
    }

    /// The records the CRM says are in the way.
    pub fn duplicates(&self) -> &[RecordId] {
        &self.0.duplicates
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        if let Some(operation) = inner.operation {
            write!(f, "{operation}")?;
            if let Some(entity) = &inner.entity {
                write!(f, " {entity}")?;
            }
            if let Some(record) = &inner.record {
                write!(f, " {record}")?;
            }
            write!(f, ": ")?;
        } else if let Some(entity) = &inner.entity {
            write!(f, "{entity}: ")?;
        }
        write!(f, "{}", inner.message)?;
        let mut notes = Vec::new();
        if let Some(code) = &inner.code
            && !inner.message.contains(code.as_str())
        {
            notes.push(code.clone());
        }
        if let Some(status) = inner.status {
            notes.push(format!("HTTP {}", status.as_u16()));
        }
        let named: Vec<&str> =
            inner.fields.iter().map(|field| field.field.as_str()).filter(|field| !inner.message.contains(field)).collect();
        if !named.is_empty() {
            notes.push(format!("fields {}", named.join(", ")));
        }
        if inner.may_have_applied {
            notes.push("may have been applied".to_owned());
        }
        if !notes.is_empty() {
            write!(f, " ({})", notes.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        let mut out = f.debug_struct("Error");
        out.field("kind", &inner.kind).field("message", &inner.message).field("retry", &inner.retry);
        if inner.may_have_applied {
            out.field("may_have_applied", &true);
        }
        if let Some(operation) = inner.operation {
            out.field("operation", &operation);
        }
        if let Some(entity) = &inner.entity {
            out.field("entity", entity);
        }
        if let Some(record) = &inner.record {
            out.field("record", record);
        }
        if let Some(status) = inner.status {
            out.field("status", &status.as_u16());
        }
        if let Some(code) = &inner.code {
            out.field("code", code);
        }
        if let Some(id) = &inner.request_id {
            out.field("request_id", id);
        }
        if !inner.fields.is_empty() {
            out.field("fields", &inner.fields);
        }
        if !inner.duplicates.is_empty() {
            out.field("duplicates", &inner.duplicates);
        }
        if let Some(source) = &inner.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Writes `error` and its causes on one line, as a program shows it to a person.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let line = cause.to_string();
        if !text.contains(&line) {
            text.push_str(": ");
            text.push_str(&line);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_wide_and_shareable() {
        fn shareable<T: Send + Sync + 'static>() {}
        shareable::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        assert_eq!(size_of::<Option<Error>>(), size_of::<usize>());
    }

    #[test]
    fn display_is_one_line_with_context() {
        let error = Error::new(ErrorKind::Validation, "the CRM refused the record")
            .during("create")
            .on(&Entity::from_static("Lead"))
            .with_status(http::StatusCode::BAD_REQUEST)
            .with_code("STRING_TOO_LONG")
            .with_fields(vec![FieldError::new("LastName", None)]);
        assert_eq!(error.to_string(), "create Lead: the CRM refused the record (STRING_TOO_LONG, HTTP 400, fields LastName)");
        assert!(!error.is_retryable());
    }

    #[test]
    fn kinds_carry_their_usual_verdict() {
        assert_eq!(Error::new(ErrorKind::RateLimited, "x").retry(), Retry::Backoff);
        assert_eq!(Error::new(ErrorKind::QuotaExhausted, "x").retry(), Retry::Never);
        assert_eq!(Error::new(ErrorKind::Authentication, "x").retry(), Retry::Reauthenticate);
        let after = Error::new(ErrorKind::RateLimited, "x").retrying(Retry::After(Duration::from_secs(3)));
        assert_eq!(after.retry_after(), Some(Duration::from_secs(3)));
    }

    #[test]
    fn the_chain_does_not_repeat_itself() {
        let inner = Error::new(ErrorKind::Network, "connection refused");
        let outer = Error::new(ErrorKind::Unavailable, "could not reach the CRM").with_source(inner);
        assert_eq!(chain(&outer), "could not reach the CRM: connection refused");
    }
}
