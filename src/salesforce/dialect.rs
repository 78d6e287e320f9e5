//! What Salesforce's answers mean.
//!
//! The decision is taken by the error code and only then by the status: a rate limit is a 403, a lock that will be free in a
//! second is a 400 (REST API Developer Guide, "Status Codes and Error Responses"; SOAP API Developer Guide, "ExceptionCode").
//! The vendor's message may quote field values, so it is shown for those codes only whose texts are known to name fields and
//! rules.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::error::{Error, ErrorKind, FieldError, Retry};
use crate::http::retry_after;
use crate::model::RecordId;
use crate::rest::{Dialect, Failure};
use crate::salesforce::ids;
use crate::salesforce::limits::ApiUsage;

/// Long-running requests fill the 25 concurrent places; one that ran for 20 s counts, so it takes that long to get better.
const CONCURRENT_WAIT: Duration = Duration::from_secs(20);
/// Maintenance and realignment take minutes at least.
const MAINTENANCE_WAIT: Duration = Duration::from_secs(300);

/// Salesforce's conventions, and the API usage it told last.
#[derive(Debug, Default)]
pub struct SalesforceDialect {
    usage: Mutex<Option<ApiUsage>>,
}

impl SalesforceDialect {
    /// The usage of the newest answer that told it.
    pub fn usage(&self) -> Option<ApiUsage> {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One complaint, in any of the shapes: `errorCode` of the REST resources, `statusCode` of rows, `error` of OAuth.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Complaint {
    #[serde(default, alias = "statusCode", alias = "error")]
    #[serde(rename = "errorCode")]
    pub(crate) code: String,
    #[serde(default, alias = "error_description")]
    pub(crate) message: Option<String>,
    #[serde(default)]
    fields: Option<Vec<String>>,
    #[serde(default, rename = "duplicateResult")]
    duplicates: Option<DuplicateResult>,
    #[serde(default, rename = "extendedErrorDetails")]
    extended: Option<Vec<Extended>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Extended {
    #[serde(default, rename = "extendedErrorCode")]
    code: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DuplicateResult {
    match_results: Vec<MatchResult>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MatchResult {
    match_records: Vec<MatchRecord>,
}

#[derive(Clone, Debug, Deserialize)]
struct MatchRecord {
    #[serde(default)]
    record: Option<MatchedId>,
}

#[derive(Clone, Debug, Deserialize)]
struct MatchedId {
    #[serde(rename = "Id")]
    id: Option<String>,
}

impl Dialect for SalesforceDialect {
    fn name(&self) -> &'static str {
        "salesforce"
    }

    fn classify(&self, failure: Failure<'_>) -> Error {
        let error = match failure.status {
            StatusCode::MULTIPLE_CHOICES => several(failure.body),
            status => match complaints(failure.body) {
                Some(complaints) => from_complaints(&complaints, Some(status), failure.headers),
                None => by_status(status, failure.headers),
            },
        };
        let error = error.with_status(failure.status);
        match request_id(failure.headers) {
            Some(id) => error.with_request_id(id),
            None => error,
        }
    }

    fn session_expired(&self, failure: Failure<'_>) -> bool {
        let complaints = complaints(failure.body);
        let first = complaints.as_ref().and_then(|complaints| complaints.first());
        if let Some(first) = first {
            // A wrong host is mended by the instance_url that comes with a renewed token.
            if first.code == "ORG_NOT_OWNED_BY_INSTANCE" {
                return true;
            }
            let message = first.message.as_deref().unwrap_or_default();
            return failure.status == StatusCode::UNAUTHORIZED
                && matches!(first.code.as_str(), "INVALID_SESSION_ID" | "INVALID_AUTH_HEADER" | "INVALIDSESSIONID" | "InvalidSessionId")
                // Neither is cured by a new token.
                && !message.contains("not attached to Agent")
                && !message.contains("not valid for use with the REST API");
        }
        // Nothing was said: one renewal does no harm. A web page is a proxy's.
        failure.status == StatusCode::UNAUTHORIZED && failure.body.trim_ascii().is_empty()
    }

    fn observe(&self, headers: &HeaderMap) {
        if let Some(usage) = ApiUsage::from_headers(headers) {
            *self.usage.lock().unwrap_or_else(PoisonError::into_inner) = Some(usage);
        }
    }
}

/// An array of complaints, or one bare; `None` for anything else.
fn complaints(body: &[u8]) -> Option<Vec<Complaint>> {
    let complaints = match body.trim_ascii_start().first()? {
        b'[' => serde_json::from_slice::<Vec<Complaint>>(body).ok()?,
        b'{' => vec![serde_json::from_slice::<Complaint>(body).ok()?],
        _ => return None,
    };
    complaints.first().is_some_and(|complaint| !complaint.code.is_empty()).then_some(complaints)
}

/// The error of a row in a collection: nothing of it was applied, whatever the status of the whole.
pub(crate) fn row_error(complaints: &[Complaint]) -> Error {
    from_complaints(complaints, None, &HeaderMap::new())
}

fn from_complaints(complaints: &[Complaint], status: Option<StatusCode>, headers: &HeaderMap) -> Error {
    let Some(first) = complaints.first() else {
        return Error::new(ErrorKind::Validation, "salesforce refused the record and gave no reason");
    };
    let message = first.message.as_deref().unwrap_or_default();
    let (kind, retry) = match first.extended_code() {
        Some("TEMPORARY_QUERY_MORE_FAILURE") => (ErrorKind::Unavailable, None),
        Some("QUERY_LOCATOR_EXPIRED" | "QUERY_LOCATOR_NOT_FOUND" | "UNAUTHORIZED_USER_FOR_CURSOR") => (ErrorKind::Conflict, None),
        _ => verdict(&first.code, message, status, headers),
    };
    let mut fields: Vec<FieldError> = Vec::new();
    for complaint in complaints {
        let named = complaint.fields.iter().flatten().map(String::as_str);
        for field in named.chain(unknown_column(complaint)) {
            if !fields.iter().any(|known| known.field == field) {
                fields.push(FieldError::new(field, Some(complaint.code.clone())));
            }
        }
    }
    let mut error = Error::new(kind, text(first, kind)).with_fields(fields).with_code(&first.code);
    if let Some(retry) = retry {
        error = error.retrying(retry);
    }
    if kind == ErrorKind::Duplicate {
        error = error.with_duplicates(complaints.iter().flat_map(in_the_way).collect());
    }
    error
}

/// The kind of a code, and the retry verdict where it is not the usual one of that kind.
fn verdict(code: &str, message: &str, status: Option<StatusCode>, headers: &HeaderMap) -> (ErrorKind, Option<Retry>) {
    match code {
        "INVALID_SESSION_ID" | "INVALID_AUTH_HEADER" => (ErrorKind::Authentication, None),
        "INVALID_LOGIN" | "LOGIN_MUST_USE_SECURITY_TOKEN" | "PASSWORD_LOCKOUT" | "ORG_LOCKED" | "INVALID_CLIENT" => {
            (ErrorKind::Authentication, Some(Retry::Never))
        }
        // One code for two very different limits; only the text tells them apart.
        "REQUEST_LIMIT_EXCEEDED" | "CONCURRENT_REQUESTS_LIMIT_EXCEEDED"
            if code.starts_with("CONCURRENT") || message.to_ascii_lowercase().contains("concurrent") =>
        {
            (ErrorKind::RateLimited, Some(Retry::After(retry_after(headers).unwrap_or(CONCURRENT_WAIT))))
        }
        "REQUEST_LIMIT_EXCEEDED" | "STORAGE_LIMIT_EXCEEDED" | "EXCEEDED_QUOTA" | "LIMIT_EXCEEDED" | "LICENSE_LIMIT_EXCEEDED" => {
            (ErrorKind::QuotaExhausted, None)
        }
        "UNABLE_TO_LOCK_ROW"
        | "RECORD_IN_USE_BY_WORKFLOW"
        | "QUERY_TIMEOUT"
        | "REQUEST_RUNNING_TOO_LONG"
        | "IAS_TIMEOUT_EXCEPTION"
        | "TOO_MANY_APEX_REQUESTS"
        | "TOO_MANY_JOBS"
        | "SERVER_UNAVAILABLE"
        | "UNKNOWN_EXCEPTION"
        | "INTERNAL_ERROR"
        | "EXTERNAL_SERVICE_CONNECTION_EXCEPTION"
        | "PLATFORM_EVENT_PUBLISHING_UNAVAILABLE"
        | "PLATFORM_EVENT_PUBLISH_FAILED" => (ErrorKind::Unavailable, retry_after(headers).map(Retry::After)),
        "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE" | "TERRITORY_REALIGN_IN_PROGRESS" => {
            (ErrorKind::Unavailable, Some(Retry::After(MAINTENANCE_WAIT)))
        }
        // The org's automation failed; a lock it ran into passes like any other.
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY" | "CANNOT_EXECUTE_FLOW_TRIGGER" | "APEX_ERROR" | "SELF_REFERENCE_FROM_TRIGGER"
            if message.contains("UNABLE_TO_LOCK_ROW") =>
        {
            (ErrorKind::Unavailable, None)
        }
        // Victims of another row; by themselves they may be fine.
        "ALL_OR_NONE_OPERATION_ROLLED_BACK" | "PROCESSING_HALTED" | "BATCH_PROCESSING_HALTED" => {
            (ErrorKind::Cancelled, Some(Retry::Backoff))
        }
        "DUPLICATE_VALUE" | "DUPLICATE_EXTERNAL_ID" | "DUPLICATES_DETECTED" => (ErrorKind::Duplicate, None),
        "ENTITY_IS_DELETED" | "NOT_FOUND" => (ErrorKind::NotFound, None),
        "INSUFFICIENT_ACCESS"
        | "INSUFFICIENT_ACCESS_OR_READONLY"
        | "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY"
        | "TRANSFER_REQUIRES_READ"
        | "API_DISABLED_FOR_ORG"
        | "API_CURRENTLY_DISABLED" => (ErrorKind::Permission, None),
        "INVALID_TYPE"
        | "INVALID_FIELD"
        | "METHOD_NOT_ALLOWED"
        | "UNSUPPORTED_MEDIA_TYPE"
        | "UNSUPPORTED_API_VERSION"
        | "INVALID_VERSION"
        | "GONE"
        | "ORG_NOT_OWNED_BY_INSTANCE"
        | "MALFORMED_QUERY"
        | "INVALID_QUERY_FILTER_OPERATOR"
        | "INVALID_FILTER_VALUE"
        | "QUERY_TOO_COMPLICATED"
        | "OPERATION_TOO_LARGE"
        | "MALFORMED_SEARCH"
        | "INVALID_SEARCH"
        | "INVALID_BATCH_SIZE"
        | "EXCEEDED_ID_LIMIT"
        | "INVALID_REPLICATION_DATE" => (ErrorKind::Config, None),
        // The cursor is gone; the same call fails again, the query itself does not.
        "INVALID_QUERY_LOCATOR" | "INVALID_LOCATOR" => (ErrorKind::Conflict, None),
        "REQUIRED_FIELD_MISSING" | "JSON_PARSER_ERROR" | "MALFORMED_ID" | "FIELD_CUSTOM_VALIDATION_EXCEPTION" => {
            (ErrorKind::Validation, None)
        }
        _ => match (bulk_kind(code), status) {
            (Some(kind), _) => (kind, retry_after(headers).map(Retry::After).filter(|_| kind == ErrorKind::Unavailable)),
            // Rows carry record errors; whatever is unknown there is about the data.
            (None, None) => (ErrorKind::Validation, None),
            (None, Some(status)) => kind_of(status, headers),
        },
    }
}

/// Bulk API 2.0 writes its codes without underscores: in upper case in answers, mixed in the message of a failed job
/// (Bulk API 2.0 Developer Guide, "Bulk API 2.0 Errors").
fn bulk_kind(code: &str) -> Option<ErrorKind> {
    Some(match code.to_ascii_uppercase().as_str() {
        "INVALIDSESSIONID" => ErrorKind::Authentication,
        "CLIENTINPUTERROR" | "INVALIDBATCH" | "INVALIDJOB" | "INVALIDOPERATION" | "INVALIDURL" | "METHODNOTALLOWED" => ErrorKind::Config,
        "INVALIDJOBSTATE" => ErrorKind::Conflict,
        "EXCEEDEDQUOTA" => ErrorKind::QuotaExhausted,
        "FEATURENOTENABLED" | "INVALIDUSER" => ErrorKind::Permission,
        "NOTFOUND" => ErrorKind::NotFound,
        "TIMEOUT" | "TOOMANYJOBS" | "TOOMANYLOCKFAILURE" | "UNKNOWN" => ErrorKind::Unavailable,
        _ => return None,
    })
}

fn kind_of(status: StatusCode, headers: &HeaderMap) -> (ErrorKind, Option<Retry>) {
    match status.as_u16() {
        401 => (ErrorKind::Authentication, None),
        403 => (ErrorKind::Permission, None),
        404 => (ErrorKind::NotFound, None),
        408 => (ErrorKind::Timeout, None),
        409 | 412 => (ErrorKind::Conflict, None),
        300..=399 | 405 | 406 | 410 | 411 | 414 | 415 | 428 | 431 => (ErrorKind::Config, None),
        // 420: Salesforce Edge does not know the host just now; it may be migrating.
        420 => (ErrorKind::Unavailable, None),
        429 => (ErrorKind::RateLimited, retry_after(headers).map(Retry::After)),
        500.. => (ErrorKind::Unavailable, retry_after(headers).map(Retry::After)),
        _ => (ErrorKind::Validation, None),
    }
}

fn by_status(status: StatusCode, headers: &HeaderMap) -> Error {
    let (kind, retry) = kind_of(status, headers);
    let message = match status.as_u16() {
        300..=399 => "salesforce answered a redirect; check the instance URL",
        410 => "salesforce no longer serves this API version or resource; configure a newer api_version",
        414 | 431 => "the request line or headers are too long for salesforce (16,384 bytes); split the query",
        420 => "salesforce does not know this instance just now; it may be migrating",
        401 => "salesforce refused the token",
        500.. => "salesforce is not available",
        _ => "salesforce refused the request without a reason it documents",
    };
    let error = Error::new(kind, message);
    match retry {
        Some(retry) => error.retrying(retry),
        None => error,
    }
}

/// 300: an external id that several records have. The body is a list of their URLs.
fn several(body: &[u8]) -> Error {
    let urls = serde_json::from_slice::<Vec<String>>(body).unwrap_or_default();
    let ids = urls.iter().filter_map(|url| url.trim_end_matches('/').rsplit('/').next()).map(ids::record_id).collect();
    Error::new(ErrorKind::Duplicate, "several records have this external id").with_code("MULTIPLE_CHOICES").with_duplicates(ids)
}

/// The records that are in the way: those of a duplicate rule, or the one a unique index names at the end of its message.
fn in_the_way(complaint: &Complaint) -> Vec<RecordId> {
    let results = complaint.duplicates.iter().flat_map(|result| &result.match_results);
    let matched = results.flat_map(|result| &result.match_records).filter_map(|found| found.record.as_ref()?.id.as_deref());
    let mut found: Vec<RecordId> = Vec::new();
    for id in matched.map(ids::record_id) {
        if !found.contains(&id) {
            found.push(id);
        }
    }
    if found.is_empty() && complaint.code.starts_with("DUPLICATE_") {
        // The wording is not contract: take the last word that is an id, after the last colon.
        let message = complaint.message.as_deref().unwrap_or_default();
        let tail = message.rsplit(':').next().unwrap_or_default();
        let words = tail.split(|c: char| !c.is_ascii_alphanumeric());
        if let Some(id) = words.filter(|word| word.bytes().any(|byte| byte.is_ascii_digit())).find_map(|word| ids::to_18(word).ok()) {
            found.push(RecordId::new(id));
        }
    }
    found
}

/// `No such column 'Foo__c' on ...`: the field, for a complaint that does not list it.
fn unknown_column(complaint: &Complaint) -> Option<&str> {
    if complaint.code != "INVALID_FIELD" || complaint.fields.as_ref().is_some_and(|fields| !fields.is_empty()) {
        return None;
    }
    let after = complaint.message.as_deref()?.split_once("No such column '")?.1;
    let name = after.split('\'').next()?;
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.');
    (plain && !name.is_empty()).then_some(name)
}

fn text(complaint: &Complaint, kind: ErrorKind) -> String {
    let own = match complaint.code.as_str() {
        "UNABLE_TO_LOCK_ROW" => "another process holds the record's lock",
        "REQUEST_LIMIT_EXCEEDED" if kind == ErrorKind::RateLimited => "too many long-running requests at once",
        "REQUEST_LIMIT_EXCEEDED" => "the org's API requests of the last 24 hours are used up",
        "INVALID_QUERY_LOCATOR" | "INVALID_LOCATOR" => "the query's cursor has expired; start the query again",
        "ALL_OR_NONE_OPERATION_ROLLED_BACK" | "PROCESSING_HALTED" | "BATCH_PROCESSING_HALTED" => {
            "not saved because another record of the same request failed"
        }
        "DUPLICATES_DETECTED" => "a duplicate rule found records like this one",
        "DUPLICATE_VALUE" | "DUPLICATE_EXTERNAL_ID" => "another record has the same unique value",
        "INVALID_FIELD" => "a field does not exist or is hidden from this user",
        "INVALID_TYPE" => "the entity does not exist or is hidden from this user",
        "INVALID_SESSION_ID" => "the session has expired or is not valid",
        "CANNOT_UPDATE_CONVERTED_LEAD" => "the lead is converted; update its contact instead",
        "UNSUPPORTED_API_VERSION" | "INVALID_VERSION" | "GONE" => "salesforce does not serve this API version",
        "EXCEEDED_MAX_SIZE_REQUEST" => "the request is longer than salesforce takes",
        _ => match kind {
            ErrorKind::Validation => "salesforce refused the record",
            ErrorKind::Permission => "the user may not do this",
            ErrorKind::NotFound => "the record or resource does not exist or is not visible",
            ErrorKind::Unavailable => "salesforce is busy or not available",
            ErrorKind::QuotaExhausted => "an allowance of the org is used up",
            ErrorKind::Authentication => "salesforce refused the credentials",
            _ => "salesforce refused the request",
        },
    };
    // Salesforce's own text names fields here. Other texts may quote values of the record: those of validation rules and triggers
    // are written by the org's people.
    let names_fields = complaint.code == "REQUIRED_FIELD_MISSING";
    let shown = complaint.message.as_deref().map(one_line).filter(|text| names_fields && !text.is_empty());
    shown.map_or_else(|| own.to_owned(), |text| format!("{own}: {text}"))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect()
}

/// Not documented; some answers carry one of these.
fn request_id(headers: &HeaderMap) -> Option<&str> {
    ["x-sfdc-request-id", "sforce-request-id", "x-request-id"].iter().find_map(|name| headers.get(*name)?.to_str().ok())
}

impl Complaint {
    /// One that says a code and nothing else.
    pub(crate) fn of(code: &str) -> Self {
        Self { code: code.to_owned(), ..Self::default() }
    }

    /// One that was told in text (Bulk API).
    pub(crate) fn told(code: &str, message: &str, fields: Vec<String>) -> Self {
        Self { code: code.to_owned(), message: Some(message.to_owned()), fields: Some(fields), ..Self::default() }
    }

    /// Salesforce refines some codes in `extendedErrorDetails`.
    fn extended_code(&self) -> Option<&str> {
        self.extended.iter().flatten().find_map(|detail| detail.code.as_deref())
    }
}

#[cfg(test)]
#[path = "dialect_tests.rs"]
mod tests;
