//! What HubSpot answers when it refuses.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::sandbox::call::Reply;

/// A handler's answer.
pub(crate) type Answer = Result<Reply, Refusal>;

/// A refusal, on its own or as an entry of a batch's `errors`.
#[derive(Clone, Debug)]
pub(crate) struct Refusal(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    status: StatusCode,
    category: &'static str,
    sub: Option<&'static str>,
    message: String,
    context: Map<String, Value>,
    errors: Vec<Value>,
}

impl Refusal {
    pub(crate) fn new(status: u16, category: &'static str, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self(Box::new(Inner { status, category, sub: None, message: message.into(), context: Map::new(), errors: Vec::new() }))
    }

    /// 400 `VALIDATION_ERROR`.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(400, "VALIDATION_ERROR", message)
    }

    /// A path nobody answers.
    pub(crate) fn no_path() -> Self {
        Self::new(404, "OBJECT_NOT_FOUND", "Unable to find a resource at this path")
    }

    /// Something that is not there.
    pub(crate) fn missing() -> Self {
        Self::new(404, "OBJECT_NOT_FOUND", "resource not found")
    }

    /// A method the path does not have.
    pub(crate) fn method() -> Self {
        Self::new(405, "METHOD_NOT_ALLOWED", "HTTP 405 Method Not Allowed")
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, "CONFLICT", message)
    }

    #[must_use]
    pub(crate) fn sub(mut self, sub: &'static str) -> Self {
        self.0.sub = Some(sub);
        self
    }

    #[must_use]
    pub(crate) fn context<T: Into<String>>(mut self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        let values: Vec<String> = values.into_iter().map(Into::into).collect();
        self.0.context.insert(name.to_owned(), json!(values));
        self
    }

    /// Adds an entry to `errors`.
    #[must_use]
    pub(crate) fn detail(mut self, detail: Value) -> Self {
        self.0.errors.push(detail);
        self
    }

    /// Without `context`, as an answer that does not say which input it means.
    #[must_use]
    pub(crate) fn bare(mut self) -> Self {
        self.0.context.clear();
        self
    }

    pub(crate) fn message(&self) -> &str {
        &self.0.message
    }

    fn members(&self) -> Map<String, Value> {
        let inner = &self.0;
        let mut map = Map::new();
        map.insert("status".to_owned(), json!("error"));
        map.insert("message".to_owned(), json!(inner.message));
        map.insert("category".to_owned(), json!(inner.category));
        if let Some(sub) = inner.sub {
            map.insert("subCategory".to_owned(), json!(sub));
        }
        if !inner.context.is_empty() {
            map.insert("context".to_owned(), Value::Object(inner.context.clone()));
        }
        if !inner.errors.is_empty() {
            map.insert("errors".to_owned(), json!(inner.errors));
        }
        map
    }

    /// As an entry of a batch's `errors`.
    pub(crate) fn entry(&self) -> Value {
        Value::Object(self.members())
    }

    /// As an answer.
    pub(crate) fn reply(&self, correlation: &str) -> Reply {
        let mut map = self.members();
        map.insert("correlationId".to_owned(), json!(correlation));
        Reply::json(self.0.status, Value::Object(map))
    }
}

/// One property value that was refused.
#[derive(Clone, Debug)]
pub(crate) struct Wrong {
    pub(crate) name: String,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// All refused values of a record. The details are a JSON array inside the message (Error handling guide); `errors` repeats them
/// only for unknown properties.
pub(crate) fn invalid(portal: u64, wrong: &[Wrong]) -> Refusal {
    let list: Vec<Value> = wrong
        .iter()
        .map(|one| {
            json!({"isValid": false, "message": one.message, "error": one.code, "name": one.name, "localizedErrorMessage": one.message,
                   "portalId": portal})
        })
        .collect();
    let mut refusal = Refusal::bad(format!("Property values were not valid: {}", Value::Array(list)));
    for one in wrong.iter().filter(|one| one.code == "PROPERTY_DOESNT_EXIST") {
        refusal = refusal.detail(json!({"message": one.message, "code": one.code, "context": {"propertyName": [one.name]}}));
    }
    refusal
}

/// Refuses members of a body that the resource does not have.
pub(crate) fn only(body: &Map<String, Value>, known: &[&str]) -> Result<(), Refusal> {
    match body.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Refusal::bad(format!("Invalid input JSON on line 1, column 1: Unrecognized field \"{name}\""))),
        None => Ok(()),
    }
}

/// A body that must be an object.
pub(crate) fn object(value: &Value) -> Result<&Map<String, Value>, Refusal> {
    value.as_object().ok_or_else(|| Refusal::bad("Invalid input JSON on line 1, column 1: Cannot deserialize value: an object is expected"))
}

/// A member that must be a text that is not empty.
pub(crate) fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Result<&'a str, Refusal> {
    match body.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(Value::Null) | None => {
            Err(Refusal::bad(format!("Invalid input JSON on line 1, column 1: some of required attributes are not set [{name}]")))
        }
        Some(_) => Err(Refusal::bad(format!("Invalid input JSON on line 1, column 1: {name} must be a string"))),
    }
}

/// An id, which clients write as a text or as a number.
pub(crate) fn id_of(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) if number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}
