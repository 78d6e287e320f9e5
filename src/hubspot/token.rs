//! The token endpoint's refusals in the words of RFC 6749.

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::http::{Body, HttpError, HttpTransport};

const LIMIT: usize = 64 << 10;

/// HubSpot names the reason in `status` (`BAD_REFRESH_TOKEN`), sometimes with and sometimes without the standard `error`.
#[derive(Debug)]
pub(super) struct TokenEndpoint(pub(super) Arc<dyn HttpTransport>);

#[async_trait]
impl HttpTransport for TokenEndpoint {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
        let answer = self.0.send(request).await?;
        let status = answer.status().as_u16();
        if !(400..500).contains(&status) || matches!(status, 408 | 429) {
            return Ok(answer);
        }
        let (mut head, body) = answer.into_parts();
        let body = body.bytes(LIMIT).await?;
        let Ok(Value::Object(mut fields)) = serde_json::from_slice::<Value>(&body) else {
            return Ok(http::Response::from_parts(head, Body::from_bytes(body)));
        };
        let standard = match fields.get("status").and_then(Value::as_str) {
            Some("BAD_REFRESH_TOKEN" | "BAD_HUB" | "BAD_AUTH_CODE") => Some("invalid_grant"),
            Some("BAD_SCOPES") => Some("invalid_scope"),
            Some("BAD_GRANT_TYPE") => Some("unsupported_grant_type"),
            Some(_) if !fields.contains_key("error") => Some("invalid_client"),
            Some(name) if name.starts_with("BAD_") => Some("invalid_client"),
            _ => None,
        };
        if let Some(standard) = standard {
            fields.insert("error".to_owned(), json!(standard));
        }
        head.headers.remove(http::header::CONTENT_LENGTH);
        let body = serde_json::to_vec(&fields).map_or(body, Bytes::from);
        Ok(http::Response::from_parts(head, Body::from_bytes(body)))
    }
}
