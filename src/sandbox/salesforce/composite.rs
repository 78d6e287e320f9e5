//! `/composite`, `/composite/graph` and `/composite/batch`: requests inside a request.

use std::collections::{BTreeMap, HashSet};

use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::sandbox::call::{Content, Reply, pairs, segments};
use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::rest::{Ask, Ctx};

const MOST: usize = 25;

fn halted(message: &str) -> ApiError {
    ApiError::bad("PROCESSING_HALTED", message)
}

const ROLLED_BACK: &str = "The transaction was rolled back since another operation in the same transaction failed.";

impl Salesforce {
    /// `POST /composite`.
    pub(crate) fn composite(&mut self, ctx: &Ctx, ask: &Ask<'_>) -> Result<Reply, ApiError> {
        ask.only(&Method::POST)?;
        let Some(Value::Array(requests)) = ask.member("compositeRequest") else {
            return Err(ApiError::json("a composite request is an object with compositeRequest"));
        };
        if requests.len() > MOST {
            return Err(ApiError::bad("LIMIT_EXCEEDED", "Limit of 25 reached for number of operations"));
        }
        let all_or_none = ask.member("allOrNone").and_then(Value::as_bool).unwrap_or(false);
        let heavy = requests.iter().filter_map(|request| request.get("url").and_then(Value::as_str)).filter(|url| {
            let path = url.split('?').next().unwrap_or_default();
            path.contains("/query") || path.contains("/composite/sobjects")
        });
        if heavy.count() > 5 {
            return Err(ApiError::bad("LIMIT_EXCEEDED", "Limit of 5 reached for number of query and collection operations"));
        }
        let (answers, _) = self.run_all(ctx, requests, all_or_none)?;
        Ok(Reply::ok(json!({"compositeResponse": answers})))
    }

    /// `POST /composite/graph`: each graph is all or nothing, and independent.
    pub(crate) fn graph(&mut self, ctx: &Ctx, ask: &Ask<'_>) -> Result<Reply, ApiError> {
        if ctx.number < 50 {
            return Err(ApiError::not_found());
        }
        ask.only(&Method::POST)?;
        let Some(Value::Array(graphs)) = ask.member("graphs") else {
            return Err(ApiError::json("a composite graph request is an object with graphs"));
        };
        if graphs.len() > 75 {
            return Err(ApiError::bad("LIMIT_EXCEEDED", "a request has at most 75 graphs"));
        }
        let mut names = HashSet::new();
        let mut nodes = 0;
        let mut plans = Vec::new();
        for graph in graphs {
            let id = graph.get("graphId").and_then(Value::as_str).unwrap_or_default();
            let fit = id.len() < 40 && id.starts_with(|c: char| c.is_ascii_alphanumeric()) && !id.contains('.');
            if !fit || !names.insert(id) {
                return Err(ApiError::bad("INVALID_INPUT", "a graph needs a unique graphId of at most 39 characters, without a period"));
            }
            let Some(Value::Array(requests)) = graph.get("compositeRequest") else {
                return Err(ApiError::json("a graph is an object with compositeRequest"));
            };
            for request in requests {
                let url = request.get("url").and_then(Value::as_str).unwrap_or_default();
                let method = request.get("method").and_then(Value::as_str).unwrap_or_default();
                if !is_node(method, url) {
                    return Err(ApiError::bad(
                        "INVALID_INPUT",
                        format!("a graph does not take {method} of this resource, only records of sobjects"),
                    ));
                }
            }
            if depth(requests) > 15 {
                return Err(ApiError::bad("LIMIT_EXCEEDED", "a graph is at most 15 levels deep"));
            }
            nodes += requests.len();
            plans.push((id, requests));
        }
        if nodes > 500 {
            return Err(ApiError::bad("LIMIT_EXCEEDED", "a request has at most 500 nodes"));
        }
        let mut failures = 0;
        let mut answers = Vec::new();
        for (id, requests) in plans {
            if failures > 14 {
                let rows: Vec<Value> = requests.iter().map(|request| inner(request, &halted("too many graphs failed"))).collect();
                answers.push(json!({"graphId": id, "graphResponse": {"compositeResponse": rows}, "isSuccessful": false}));
                continue;
            }
            let (rows, good) = self.run_all(ctx, requests, true)?;
            failures += usize::from(!good);
            answers.push(json!({"graphId": id, "graphResponse": {"compositeResponse": rows}, "isSuccessful": good}));
        }
        Ok(Reply::ok(json!({"graphs": answers})))
    }

    /// The answers of a series, and whether all of them are good.
    fn run_all(&mut self, ctx: &Ctx, requests: &[Value], all_or_none: bool) -> Result<(Vec<Value>, bool), ApiError> {
        let mut names = HashSet::new();
        for request in requests {
            check(request, ctx, &mut names)?;
        }
        let mark = self.tables.mark();
        let mut answers: Vec<Value> = Vec::new();
        let mut known: BTreeMap<String, Value> = BTreeMap::new();
        let mut failed = None;
        for (at, request) in requests.iter().enumerate() {
            let name = request.get("referenceId").and_then(Value::as_str).unwrap_or_default();
            let (reply, good) = match resolve(request, &known) {
                Err(error) => (Reply::json(error.status, json!([error.to_value()])), false),
                Ok(request) => {
                    let ctx = nested(ctx, &request, all_or_none)?;
                    let url = request.get("url").and_then(Value::as_str).unwrap_or_default();
                    let reply = self.inside(&ctx, &request, url);
                    let rows_failed = all_or_none && has_failed_row(&reply, url);
                    let good = !(reply.status.is_client_error() || reply.status.is_server_error() || rows_failed);
                    (reply, good)
                }
            };
            let body = match &reply.body {
                Content::Json(value) => value.clone(),
                _ => Value::Null,
            };
            if good {
                known.insert(name.to_owned(), body.clone());
            }
            let headers: Map<String, Value> = reply
                .headers
                .iter()
                .filter(|(name, _)| *name == "location")
                .map(|(_, value)| ("Location".to_owned(), json!(value)))
                .collect();
            answers.push(json!({"body": body, "httpHeaders": headers, "httpStatusCode": reply.status.as_u16(), "referenceId": name}));
            if !good && all_or_none {
                failed = Some(at);
                break;
            }
        }
        let Some(failed) = failed else {
            let good = answers.iter().all(|answer| answer.get("httpStatusCode").and_then(Value::as_u64).is_some_and(|code| code < 400));
            return Ok((answers, good));
        };
        self.tables.rollback(mark);
        let answers = requests
            .iter()
            .enumerate()
            .map(|(at, request)| match answers.get(at) {
                Some(answer) if at == failed => answer.clone(),
                _ => inner(request, &halted(ROLLED_BACK)),
            })
            .collect();
        Ok((answers, false))
    }

    fn inside(&mut self, ctx: &Ctx, request: &Value, url: &str) -> Reply {
        let method = request.get("method").and_then(Value::as_str).unwrap_or_default();
        let Ok(method) = Method::from_bytes(method.as_bytes()) else {
            return Reply::json(
                StatusCode::METHOD_NOT_ALLOWED,
                json!([ApiError::method(&Method::GET, "GET,POST,PATCH,DELETE").to_value()]),
            );
        };
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let path = segments(path);
        // `/services/data/vNN.0/...`, as checked before.
        let rest: Vec<&str> = path.iter().skip(3).map(String::as_str).collect();
        let params = pairs(query.as_bytes());
        let body = request.get("body").filter(|body| !body.is_null());
        self.resource(ctx, &Ask { method: &method, path: &rest, params: &params, body })
    }

    /// `POST /composite/batch`: independent requests, each counted.
    pub(crate) fn batch(&mut self, ctx: &Ctx, ask: &Ask<'_>) -> Result<Reply, ApiError> {
        ask.only(&Method::POST)?;
        let Some(Value::Array(requests)) = ask.member("batchRequests") else {
            return Err(ApiError::json("a batch is an object with batchRequests"));
        };
        if requests.len() > MOST {
            return Err(ApiError::bad("LIMIT_EXCEEDED", "Limit of 25 reached for number of operations"));
        }
        let halt = ask.member("haltOnError").and_then(Value::as_bool).unwrap_or(false);
        // The outer request was counted as one.
        self.usage.count(ctx.now, u64::try_from(requests.len()).unwrap_or(0).saturating_sub(1));
        let mut results = Vec::new();
        let mut broken = false;
        for request in requests {
            if broken && halt {
                let error =
                    ApiError::new(StatusCode::PRECONDITION_FAILED, "BATCH_PROCESSING_HALTED", "Batch processing halted per request");
                results.push(json!({"statusCode": 412, "result": [error.to_value()]}));
                continue;
            }
            let url = request.get("url").and_then(Value::as_str).unwrap_or_default();
            let method = request.get("method").and_then(Value::as_str).and_then(|method| Method::from_bytes(method.as_bytes()).ok());
            let (path, query) = url.split_once('?').unwrap_or((url, ""));
            // Documented is `v68.0/...`; clients send the whole path as well.
            let path = path.trim_start_matches('/');
            let path = segments(path.strip_prefix("services/data/").unwrap_or(path));
            let reply = match (path.split_first(), method) {
                (Some((version, rest)), Some(method)) if super::router::version_number(version).is_some() => {
                    let mut inner = nested(ctx, request, false)?;
                    inner.version.clone_from(version);
                    inner.number = super::router::version_number(version).unwrap_or(ctx.number);
                    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
                    let params = pairs(query.as_bytes());
                    let body = request.get("richInput").filter(|body| !body.is_null());
                    self.resource(&inner, &Ask { method: &method, path: &rest, params: &params, body })
                }
                _ => {
                    let error = ApiError::not_found();
                    Reply::json(error.status, json!([error.to_value()]))
                }
            };
            broken |= reply.status.as_u16() >= 400;
            let result = match reply.body {
                Content::Json(value) => value,
                _ => Value::Null,
            };
            results.push(json!({"statusCode": reply.status.as_u16(), "result": result}));
        }
        let errors = results.iter().any(|result| result.get("statusCode").and_then(Value::as_u64).is_some_and(|code| code >= 400));
        Ok(Reply::ok(json!({"hasErrors": errors, "results": results})))
    }
}

/// Records alone are nodes of a graph: created, or read, changed and deleted by id or external id.
fn is_node(method: &str, url: &str) -> bool {
    let path = segments(url.split('?').next().unwrap_or_default());
    let path: Vec<&str> = path.iter().skip(3).map(String::as_str).collect();
    match path.as_slice() {
        ["sobjects", _] => method == "POST",
        ["sobjects", _, "describe" | "updated" | "deleted"] => false,
        ["sobjects", _, _] => matches!(method, "GET" | "PATCH" | "DELETE"),
        ["sobjects", _, _, _] => matches!(method, "GET" | "PATCH" | "DELETE" | "POST"),
        _ => false,
    }
}

/// The longest chain of references.
fn depth(requests: &[Value]) -> usize {
    let mut depths: BTreeMap<&str, usize> = BTreeMap::new();
    for request in requests {
        let text = format!("{} {}", request.get("url").unwrap_or(&Value::Null), request.get("body").unwrap_or(&Value::Null));
        let names = text.split("@{").skip(1).filter_map(|rest| rest.split(['.', '[', '}']).next());
        let above = names.filter_map(|name| depths.get(name)).max().copied().unwrap_or(0);
        let name = request.get("referenceId").and_then(Value::as_str).unwrap_or_default();
        depths.insert(name, above + 1);
    }
    depths.into_values().max().unwrap_or(0)
}

fn inner(request: &Value, error: &ApiError) -> Value {
    let name = request.get("referenceId").cloned().unwrap_or(Value::Null);
    json!({"body": [error.to_value()], "httpHeaders": {}, "httpStatusCode": error.status.as_u16(), "referenceId": name})
}

/// What makes Salesforce refuse the whole request.
fn check<'a>(request: &'a Value, ctx: &Ctx, names: &mut HashSet<&'a str>) -> Result<(), ApiError> {
    let name = request.get("referenceId").and_then(Value::as_str).unwrap_or_default();
    let fit =
        name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !fit {
        return Err(ApiError::json("every subrequest needs a referenceId of letters, digits and underscores"));
    }
    if !names.insert(name) {
        return Err(ApiError::bad("INVALID_INPUT", format!("Duplicate referenceId: {name}")));
    }
    let url = request.get("url").and_then(Value::as_str).unwrap_or_default();
    let version = url.strip_prefix("/services/data/").and_then(|rest| rest.split('/').next());
    if version.and_then(super::router::version_number).is_none() {
        return Err(ApiError::bad("INVALID_INPUT", format!("the url of {name} must begin with /services/data/{}/", ctx.version)));
    }
    if request.get("method").and_then(Value::as_str).is_none() {
        return Err(ApiError::json(format!("the subrequest {name} has no method")));
    }
    if let Some(headers) = request.get("httpHeaders").and_then(Value::as_object)
        && headers.keys().any(|header| ["accept", "authorization", "content-type"].contains(&header.to_ascii_lowercase().as_str()))
    {
        return Err(ApiError::bad("INVALID_INPUT", "a subrequest may not set Accept, Authorization or Content-Type"));
    }
    Ok(())
}

fn nested(ctx: &Ctx, request: &Value, all_or_none: bool) -> Result<Ctx, ApiError> {
    let mut inner = Ctx { nested: true, all_or_none, ..ctx.clone() };
    if let Some(version) = request.get("url").and_then(Value::as_str).and_then(|url| url.strip_prefix("/services/data/"))
        && let Some(version) = version.split('/').next()
        && let Some(number) = super::router::version_number(version)
    {
        inner.version = version.to_owned();
        inner.number = number;
    }
    for name in ["if-modified-since", "if-unmodified-since"] {
        inner.headers.remove(name);
    }
    for (name, value) in request.get("httpHeaders").and_then(Value::as_object).into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&text)) else {
            return Err(ApiError::bad("INVALID_INPUT", "a subrequest has a malformed header"));
        };
        inner.headers.insert(name, value);
    }
    Ok(inner)
}

fn has_failed_row(reply: &Reply, url: &str) -> bool {
    match &reply.body {
        Content::Json(Value::Array(rows)) if url.contains("/composite/sobjects") => {
            rows.iter().any(|row| row.get("success").and_then(Value::as_bool) == Some(false))
        }
        _ => false,
    }
}

/// The request with its `@{...}` replaced.
fn resolve(request: &Value, known: &BTreeMap<String, Value>) -> Result<Value, ApiError> {
    let mut resolved = request.clone();
    for part in ["url", "body"] {
        if let Some(value) = resolved.get_mut(part) {
            replace(value, known)?;
        }
    }
    Ok(resolved)
}

fn replace(value: &mut Value, known: &BTreeMap<String, Value>) -> Result<(), ApiError> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| replace(item, known)),
        Value::Object(map) => map.values_mut().try_for_each(|item| replace(item, known)),
        Value::String(text) if text.contains("@{") => {
            if let Some(whole) = text.strip_prefix("@{").and_then(|rest| rest.strip_suffix('}'))
                && !whole.contains('}')
            {
                *value = look_up(whole, known)?;
                return Ok(());
            }
            let mut built = String::new();
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once("@{") {
                built.push_str(before);
                let Some((name, after)) = after.split_once('}') else {
                    built.push_str("@{");
                    rest = after;
                    continue;
                };
                match look_up(name, known)? {
                    Value::String(text) => built.push_str(&text),
                    other => built.push_str(&other.to_string()),
                }
                rest = after;
            }
            built.push_str(rest);
            *text = built;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// `ref.records[0].Id`, case and all.
fn look_up(path: &str, known: &BTreeMap<String, Value>) -> Result<Value, ApiError> {
    let missing =
        || halted(&format!("Invalid reference specified. No value for {path} found in {}", path.split('.').next().unwrap_or_default()));
    let (name, rest) = match path.find(['.', '[']) {
        Some(at) => path.split_at(at),
        None => (path, ""),
    };
    let mut value = known.get(name).ok_or_else(missing)?;
    for step in rest.split(['.', '[']).filter(|step| !step.is_empty()) {
        value = match step.strip_suffix(']') {
            Some(index) => index.parse::<usize>().ok().and_then(|index| value.get(index)),
            None => value.get(step),
        }
        .ok_or_else(missing)?;
    }
    if value.is_null() { Err(missing()) } else { Ok(value.clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_followed() {
        let known = [("q".to_owned(), json!({"records": [{"Id": "001"}], "n": 3}))].into_iter().collect();
        let mut body = json!({"a": "@{q.records[0].Id}", "b": "x@{q.records[0].Id}y", "c": "@{q.n}", "d": ["@{q.n}"]});
        replace(&mut body, &known).unwrap();
        assert_eq!(body, json!({"a": "001", "b": "x001y", "c": 3, "d": [3]}));
        assert_eq!(look_up("q.records[0].id", &known).unwrap_err().code, "PROCESSING_HALTED");
        assert!(look_up("nobody.id", &known).is_err());
    }
}
