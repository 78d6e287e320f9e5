//! The token endpoint's refusals in the words of RFC 6749.

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::http::{Body, HttpError, HttpTransport};

const LIMIT: usize = 64 << 10;

/// Scopes that a grant asks for, which RFC 6749 allows and the common client does not send. Beside that, HubSpot names the reason in `status` (`BAD_REFRESH_TOKEN`), sometimes with and sometimes without the standard `error`.
#[derive(Debug)]
pub(super) struct TokenEndpoint {
    transport: Arc<dyn HttpTransport>,
    scope: Option<String>,
}

impl TokenEndpoint {
    pub(super) fn new(transport: Arc<dyn HttpTransport>) -> Self {
        Self { transport, scope: None }
    }

    /// Every grant asks for these scopes.
    pub(super) fn scoped(transport: Arc<dyn HttpTransport>, scopes: &[&str]) -> Self {
        Self { transport, scope: Some(scopes.join(" ")) }
    }
}

#[async_trait]
impl HttpTransport for TokenEndpoint {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
        let request = match &self.scope {
            Some(scope) => request.map(|body| {
                let scope: String = url::form_urlencoded::byte_serialize(scope.as_bytes()).collect();
                let mut form = body.to_vec();
                form.extend_from_slice(format!("&scope={scope}").as_bytes());
                Bytes::from(form)
            }),
            None => request,
        };
        let answer = self.transport.send(request).await?;
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
