//! What Salesforce answers when it refuses: a JSON array of `{message, errorCode, fields?}`.

use http::StatusCode;
use serde_json::{Value, json};

/// A refusal. Rows of collections show the same with `statusCode` instead of `errorCode`.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// `None` leaves the member out.
    pub(crate) fields: Option<Vec<String>>,
    /// `duplicateResult`.
    pub(crate) duplicates: Option<Box<Value>>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), fields: None, duplicates: None }
    }

    /// A 400.
    pub(crate) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// A 400 that names fields.
    pub(crate) fn field(code: &'static str, message: impl Into<String>, fields: &[&str]) -> Self {
        let mut error = Self::bad(code, message);
        error.fields = Some(fields.iter().map(|field| (*field).to_owned()).collect());
        error
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "The requested resource does not exist")
    }

    pub(crate) fn method(method: &http::Method, allowed: &str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "METHOD_NOT_ALLOWED",
            format!("HTTP Method '{method}' not allowed. Allowed are {allowed}"),
        )
    }

    pub(crate) fn json(message: impl Into<String>) -> Self {
        Self::bad("JSON_PARSER_ERROR", message)
    }

    /// One member of the array body.
    pub(crate) fn to_value(&self) -> Value {
        let mut value = json!({"message": self.message, "errorCode": self.code});
        if let Some(map) = value.as_object_mut() {
            if let Some(fields) = &self.fields {
                map.insert("fields".to_owned(), json!(fields));
            }
            if let Some(duplicates) = &self.duplicates {
                map.insert("duplicateResult".to_owned(), Value::clone(duplicates));
            }
        }
        value
    }

    /// One member of a collection row's `errors`.
    pub(crate) fn to_row_value(&self) -> Value {
        json!({"statusCode": self.code, "message": self.message, "fields": self.fields.clone().unwrap_or_default()})
    }
}
