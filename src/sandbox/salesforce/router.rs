//! From paths to resources, with everything every REST request shares: versions, tokens, the daily limit, media types.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::sandbox::call::{Call, Content, Reply};
use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::rest::{Ask, Ctx};

/// The oldest version that is still served, and the newest.
const VERSIONS: std::ops::RangeInclusive<u32> = 31..=68;

/// 68 of `v68.0`, whether it is served or not.
pub(crate) fn version_number(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('v')?.strip_suffix(".0")?;
    digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0'))
}

fn answer(error: &ApiError) -> Reply {
    Reply::json(error.status, json!([error.to_value()]))
}

/// Winter '27 is 68; three releases a year.
fn release(number: u32) -> String {
    let since = number - 31;
    let (name, year) = match since % 3 {
        0 => ("Summer", 2014 + since / 3),
        1 => ("Winter", 2015 + since / 3),
        _ => ("Spring", 2015 + since / 3),
    };
    format!("{name} '{:02}", year % 100)
}

impl Salesforce {
    /// True for paths of this face.
    pub(crate) fn owns(path: &str) -> bool {
        path.starts_with("/services/") || Self::streams(path) || path.starts_with("/id/")
    }

    /// Answers a request.
    pub(crate) fn handle(&mut self, call: &Call) -> Reply {
        let segments = call.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        self.events.begin(call, &self.user);
        match path.as_slice() {
            ["services", "oauth2", what] => self.oauth(call, what),
            ["id", _, _] => self.identity(call),
            ["services", "data"] => {
                let versions: Vec<Value> = VERSIONS
                    .map(|number| json!({"label": release(number), "url": format!("/services/data/v{number}.0"), "version": format!("{number}.0")}))
                    .collect();
                Reply::ok(Value::Array(versions))
            }
            ["services", "data", version, rest @ ..] => self.rest(call, version, rest),
            _ => answer(&ApiError::not_found()),
        }
    }

    fn rest(&mut self, call: &Call, version: &str, rest: &[&str]) -> Reply {
        match version_number(version) {
            Some(number) if VERSIONS.contains(&number) => {}
            Some(number) if number < *VERSIONS.start() => {
                let message = format!("API version {version} is retired. Use a version from v31.0 on.");
                return answer(&ApiError::new(StatusCode::GONE, "GONE", message));
            }
            _ => return answer(&ApiError::not_found()),
        }
        let token = call.header("authorization").and_then(|value| value.split_once(' '));
        let token = token
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer") || scheme.eq_ignore_ascii_case("OAuth"))
            .map(|(_, token)| token.trim());
        match token {
            Some(token) if self.auth.accepts(token, call.now) && self.lives_at(&call.origin) => {}
            None if call.headers.contains_key(http::header::AUTHORIZATION) => {
                return answer(&ApiError::new(StatusCode::UNAUTHORIZED, "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE"));
            }
            _ => return answer(&ApiError::new(StatusCode::UNAUTHORIZED, "INVALID_SESSION_ID", "Session expired or invalid")),
        }
        self.usage.count(call.now, 0);
        if self.usage.calls >= self.options.daily_limit {
            let error = ApiError::new(StatusCode::FORBIDDEN, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.");
            return self.metered(answer(&error));
        }
        self.usage.count(call.now, 1);
        let reply = self.read_and_run(call, version, rest).unwrap_or_else(|error| answer(&error));
        self.metered(reply)
    }

    /// Whether the org is served at `origin`.
    fn lives_at(&self, origin: &str) -> bool {
        let instance = self.options.instance_url.as_deref().filter(|_| self.options.strict_instance);
        instance.is_none_or(|instance| instance.trim_end_matches('/').eq_ignore_ascii_case(origin))
    }

    fn metered(&self, reply: Reply) -> Reply {
        let info = format!("api-usage={}/{}", self.usage.calls, self.options.daily_limit);
        reply.header("sforce-limit-info", info)
    }

    fn read_and_run(&mut self, call: &Call, version: &str, rest: &[&str]) -> Result<Reply, ApiError> {
        let override_method = call.query.split('&').find_map(|pair| pair.strip_prefix("_HttpMethod="));
        let override_method = override_method.or_else(|| call.header("x-http-method-override"));
        let method = match (&call.method, override_method) {
            (&Method::POST, Some(method)) => {
                Method::from_bytes(method.as_bytes()).map_err(|_| ApiError::method(&call.method, "GET,POST,PATCH,DELETE"))?
            }
            (&Method::HEAD, _) => Method::GET,
            _ => call.method.clone(),
        };
        let ctx = Ctx {
            number: version_number(version).unwrap_or(*VERSIONS.end()),
            version: version.to_owned(),
            now: call.now,
            user: self.user.clone(),
            headers: call.headers.clone(),
            origin: call.origin.clone(),
            locked: call.locked.clone(),
            all_or_none: false,
            nested: false,
        };
        if call.headers.contains_key(http::header::CONTENT_ENCODING) {
            let message = "the Content-Encoding of the body is not supported; send it plain or as gzip";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message));
        }
        if let ["jobs", rest @ ..] = rest {
            return self.jobs(&ctx, &method, rest, call);
        }
        let mut body = None;
        if !call.body.is_empty() && method != Method::GET && method != Method::DELETE {
            let kind = call.header("content-type").unwrap_or("application/json").to_ascii_lowercase();
            if !kind.starts_with("application/json") {
                let shown = kind.split(';').next().unwrap_or_default();
                let message = format!("Content-Type '{shown}' not supported.");
                return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message));
            }
            let parsed: Result<Value, _> = serde_json::from_slice(&call.body);
            body = Some(parsed.map_err(|error| {
                let (line, column) = (error.line(), error.column());
                ApiError::json(format!("Unexpected character or end of input in the JSON text at [line:{line}, column:{column}]"))
            })?);
        }
        Ok(self.resource(&ctx, &Ask { method: &method, path: rest, params: &call.params(), body: body.as_ref() }))
    }

    /// A resource below the version; what it changed before a refusal is undone.
    pub(crate) fn resource(&mut self, ctx: &Ctx, ask: &Ask<'_>) -> Reply {
        let mark = self.tables.mark();
        self.dispatch(ctx, ask).unwrap_or_else(|error| {
            self.tables.rollback(mark);
            answer(&error)
        })
    }

    fn dispatch(&mut self, ctx: &Ctx, ask: &Ask<'_>) -> Result<Reply, ApiError> {
        let Ask { method, path, params, .. } = *ask;
        let get = || if method == Method::GET { Ok(()) } else { Err(ApiError::method(method, "HEAD,GET")) };
        match path {
            [] => get().map(|()| self.directory(ctx)),
            ["limits"] => get().map(|()| self.limits()),
            ["sobjects"] => get().map(|()| self.describe_global(ctx)),
            ["sobjects", name] if method == Method::GET => self.describe_basic(ctx, name),
            ["sobjects", name, "describe"] => get().and_then(|()| self.describe(ctx, name)),
            ["sobjects", name, "updated"] => get().and_then(|()| self.replicate(ctx, name, false, params)),
            ["sobjects", name, "deleted"] => get().and_then(|()| self.replicate(ctx, name, true, params)),
            ["sobjects", "StreamingChannel", id, "push"] => self.push_generic(ctx, method, id, ask.body),
            ["sobjects", name, "eventSchema"] => get().and_then(|()| self.event_schema(name)),
            ["event", "eventSchema", id] => get().and_then(|()| self.event_schema_by_id(id)),
            ["tooling", "sobjects", name, rest @ ..] if Self::tools(name) => self.tooling(method, name, rest, ask.body),
            ["sobjects", ..] => self.sobject(ctx, ask),
            ["query"] => get().and_then(|()| self.query(ctx, params, false)),
            ["queryAll"] => get().and_then(|()| self.query(ctx, params, true)),
            ["query" | "queryAll", locator] => get().and_then(|()| self.query_more(ctx, locator)),
            ["search"] => get().and_then(|()| self.search(ctx, params)),
            ["parameterizedSearch"] => self.parameterized_search(ctx, ask),
            ["composite"] if method == Method::GET => {
                let base = format!("/services/data/{}/composite", ctx.version);
                Ok(Reply::ok(
                    json!({"tree": format!("{base}/tree"), "batch": format!("{base}/batch"), "sobjects": format!("{base}/sobjects"),
                                    "graph": format!("{base}/graph")}),
                ))
            }
            ["composite", ..] if ctx.nested && path.get(1) != Some(&"sobjects") && path.get(1) != Some(&"tree") => {
                Err(ApiError::not_found())
            }
            ["composite"] => self.composite(ctx, ask),
            ["composite", "batch"] => self.batch(ctx, ask),
            ["composite", "graph"] => self.graph(ctx, ask),
            ["composite", "tree", name] => self.tree(ctx, ask, name),
            ["composite", "sobjects", ..] => self.collections(ctx, ask),
            _ => Err(ApiError::not_found()),
        }
    }

    fn directory(&self, ctx: &Ctx) -> Reply {
        let mut all: Map<String, Value> = ["composite", "jobs", "limits", "parameterizedSearch", "query", "queryAll", "search", "sobjects"]
            .into_iter()
            .map(|name| (name.to_owned(), json!(format!("/services/data/{}/{name}", ctx.version))))
            .collect();
        all.insert("identity".to_owned(), json!(format!("{}/id/{}/{}", ctx.origin, self.org, self.user)));
        Reply { status: StatusCode::OK, headers: Vec::new(), body: Content::Json(Value::Object(all)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_their_names() {
        assert_eq!(release(68), "Winter '27");
        assert_eq!(release(60), "Spring '24");
        assert_eq!(release(57), "Spring '23");
        assert_eq!(release(31), "Summer '14");
        assert_eq!(version_number("v68.0"), Some(68));
        assert_eq!(version_number("68.0"), None);
        assert_eq!(version_number("v057.0"), None);
    }
}
