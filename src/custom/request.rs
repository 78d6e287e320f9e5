//! Requests built from a definition.

use std::collections::BTreeMap;

use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;
use url::form_urlencoded::Serializer;

use crate::custom::exchange::encode;
use crate::custom::operation::BodyEncoding;
use crate::custom::shared::Shared;
use crate::custom::template::{Names, Template};
use crate::error::{Error, Result};
use crate::rest::{Call, segment};

/// A request in the making.
pub(super) struct Draft<'a> {
    pub(super) operation: &'static str,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) params: Vec<(String, String)>,
    pub(super) query: &'a BTreeMap<String, String>,
    pub(super) headers: &'a BTreeMap<String, String>,
    pub(super) body: Option<Value>,
    pub(super) encoding: BodyEncoding,
    pub(super) read_only: bool,
}

impl Shared {
    /// The placeholders that are the same for every request.
    pub(super) fn names(&self) -> Names<'_> {
        Names { of: self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect() }
    }

    /// The path with its placeholders filled in, each value one segment.
    pub(super) fn path(&self, template: &str, names: &Names<'_>) -> Result<String> {
        let template = Template::parse(template).map_err(Error::config)?;
        template.render(names, segment).map_err(|name| {
            if names.of.contains_key(name.as_str()) {
                Error::config(format!("the {name} is empty or only dots: it cannot be addressed in a URL"))
            } else {
                Error::config(format!("the path needs {name:?}, which this operation does not have"))
            }
        })
    }

    /// The headers of every request, and further ones.
    fn headers(&self, more: &BTreeMap<String, String>, names: &Names<'_>) -> Result<HeaderMap> {
        let unset = |name: String| Error::config(format!("{name:?} stands for nothing in a header"));
        let mut headers = HeaderMap::new();
        for (name, template) in self.definition.headers.iter().chain(more) {
            let text = Template::parse(template).map_err(Error::config)?.plain(names).map_err(unset)?;
            let name =
                HeaderName::try_from(name.as_str()).map_err(|_| Error::config(format!("{name:?} cannot be the name of a header")))?;
            let value = HeaderValue::try_from(text).map_err(|_| Error::config(format!("the header {name} cannot hold its value")))?;
            headers.insert(name, value);
        }
        Ok(headers)
    }

    /// The request for a page whose address the API gave: its query is in it.
    pub(super) fn follow(
        &self,
        operation: &'static str,
        path: &str,
        headers: &BTreeMap<String, String>,
        names: &Names<'_>,
    ) -> Result<Call> {
        let call = Call::new(operation, Method::GET, path.to_owned()).read_only();
        self.hooks.prepare(call.headers(self.headers(headers, names)?))
    }

    /// The finished request.
    pub(super) fn call(&self, draft: Draft<'_>, names: &Names<'_>) -> Result<Call> {
        let unset = |name: String| Error::config(format!("{name:?} stands for nothing in this request"));
        let text = |template: &str| -> Result<String> { Template::parse(template).map_err(Error::config)?.plain(names).map_err(unset) };
        let mut path = self.path(draft.path, names)?;
        let mut query = Serializer::new(String::new());
        for (name, value) in self.definition.query.iter().chain(draft.query) {
            query.append_pair(name, &text(value)?);
        }
        for (name, value) in &draft.params {
            query.append_pair(name, value);
        }
        let query = query.finish();
        if !query.is_empty() {
            path.push('?');
            path.push_str(&query);
        }
        let mut headers = self.headers(draft.headers, names)?;
        let method = Method::try_from(draft.method.to_ascii_uppercase().as_str()).map_err(|_| Error::config("an impossible method"))?;
        let mut call = Call::new(draft.operation, method, path);
        if draft.read_only {
            call = call.read_only();
        }
        if let Some(body) = draft.body {
            let bytes = encode(&body, draft.encoding, &mut headers)?;
            let kind = headers.remove(CONTENT_TYPE).unwrap_or(HeaderValue::from_static("application/json"));
            call = call.body(kind, bytes);
        }
        self.hooks.prepare(call.headers(headers))
    }
}
