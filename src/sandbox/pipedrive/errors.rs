//! What Pipedrive answers when it refuses: each version, and webhooks, in its own shape.

use http::StatusCode;
use serde_json::{Value, json};

use crate::sandbox::call::Reply;

/// An answer, or a refusal that undoes what the request has done so far.
pub(crate) type Answer = Result<Reply, Reply>;

/// The general body, of v1 and of what v2 has taken over from it.
pub(crate) fn general(status: StatusCode, error: impl Into<String>, info: &str) -> Reply {
    let error: String = error.into();
    Reply::json(status, json!({"success": false, "error": error, "error_info": info, "data": null, "additional_data": null}))
}

/// A 400 of v1.
pub(crate) fn bad(error: impl Into<String>) -> Reply {
    general(StatusCode::BAD_REQUEST, error, "Please check developers.pipedrive.com for more information about Pipedrive API.")
}

/// A 404 that names what is missing.
pub(crate) fn missing(error: impl Into<String>) -> Reply {
    general(StatusCode::NOT_FOUND, error, "Object was not found.")
}

/// A 403 that is not about the URL.
pub(crate) fn forbidden(error: impl Into<String>) -> Reply {
    general(StatusCode::FORBIDDEN, error, "Please check developers.pipedrive.com for more information about Pipedrive API.")
}

/// No endpoint has this path.
pub(crate) fn no_path() -> Reply {
    missing("Unknown method .")
}

/// The path is known, the method is not.
pub(crate) fn no_method() -> Reply {
    general(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed", "The method is not allowed for this path.")
}

/// The 400 of v2.
pub(crate) fn invalid(problems: &[String]) -> Reply {
    let error = format!("Validation failed: {}", problems.join("; "));
    Reply::json(StatusCode::BAD_REQUEST, json!({"success": false, "error": error, "code": "ERR_SCHEMA_VALIDATION_FAILED"}))
}

/// The 400 of v2 for one problem.
pub(crate) fn invalid_one(path: &str, text: &str) -> Reply {
    invalid(&[format!("{path}: {text}")])
}

/// What an unknown member is told.
pub(crate) fn not_allowed(name: &str) -> String {
    format!("Parameter '{name}' is not allowed for this request")
}

/// The 500 of v2.
pub(crate) fn unknown() -> Reply {
    let body = json!({"success": false, "error": "Internal Server Error", "code": "ERR_UNKNOWN"});
    Reply::json(StatusCode::INTERNAL_SERVER_ERROR, body)
}

/// 401, as the gateway answers it.
pub(crate) fn unauthorized(correlation: &str) -> Reply {
    let info = "Please check developers.pipedrive.com";
    let body = json!({"success": false, "error": "unauthorized access", "errorCode": 401, "error_info": info});
    Reply::json(StatusCode::UNAUTHORIZED, body).header("x-401-by-gw", "true").header("x-correlation-id", correlation)
}

/// A token whose scope does not reach so far.
pub(crate) fn scope() -> Reply {
    let body = json!({"success": false, "error": "Scope and URL mismatch", "errorCode": 403, "error_info": "Please check developers.pipedrive.com"});
    Reply::json(StatusCode::FORBIDDEN, body)
}

/// 429, without the headers.
pub(crate) fn too_many() -> Reply {
    let body =
        json!({"success": false, "error": "Request over limit", "errorCode": 429, "error_info": "Please check developers.pipedrive.com"});
    Reply::json(StatusCode::TOO_MANY_REQUESTS, body)
}

/// What stands before Pipedrive stops a client that does not listen.
pub(crate) fn blocked() -> Reply {
    let page = "<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head><body><h1>Sorry, you have been \
                blocked</h1><p>You are unable to access pipedrive.com</p></body></html>";
    Reply::html(StatusCode::FORBIDDEN, page).header("server", "cloudflare")
}

/// A refusal of the webhook endpoints.
pub(crate) fn hook(status: StatusCode, field: &str, text: &str) -> Reply {
    let mut errors = serde_json::Map::new();
    errors.insert(field.to_owned(), json!([text]));
    Reply::json(status, json!({"status": "error", "success": false, "errors": errors}))
}

/// Success of either version.
pub(crate) fn data(value: impl Into<Value>) -> Reply {
    let value: Value = value.into();
    Reply::ok(json!({"success": true, "data": value}))
}
