//! A definition looked at as a whole, before anything is sent.

use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;

use crate::custom::auth::{AuthSpec, Inject, TokenRequest};
use crate::custom::definition::{Definition, EntitySpec, StatusMatch};
use crate::custom::filter::{Combine, FilterStyle, FilterTarget};
use crate::custom::jwt::{JwtAlgorithm, JwtSpec};
use crate::custom::operation::{BatchMatch, SearchOp, WriteOp};
use crate::custom::paging::{NextFrom, PageTarget, Paging};
use crate::custom::pointer::{Paths, valid};
use crate::custom::relation::RelatedSpec;
use crate::custom::template::{Names, Template, names_in};
use crate::document::diagnostic::Diagnostics;
use crate::document::node::Node;
use crate::document::suggest::did_you_mean;
use crate::document::tree::place;

/// Stable codes of what can be wrong with a definition.
pub(super) mod code {
    /// A key that is unknown, missing, or holds what it cannot.
    pub(in crate::custom) const SHAPE: &str = "D001";
    /// A template, path or name that cannot be right.
    pub(in crate::custom) const CONTENT: &str = "D002";
}

const OPERATIONS: [&str; 9] = ["get", "search", "create", "update", "upsert", "delete", "bulk", "changes", "describe"];

/// Puts everything that cannot work into `problems`.
pub(super) fn validate(definition: &Definition, tree: &Node, problems: &mut Diagnostics) {
    let mut check = Validator { definition, tree, problems };
    check.connection();
    check.auth();
    check.errors();
    if definition.entities.is_empty() {
        check.entity(&definition.defaults, &["defaults"]);
    }
    for (name, entity) in &definition.entities {
        check.entity(entity, &["entities", name]);
    }
    check.webhook();
}

/// The variables with what they stand for, variables in variables included.
///
/// # Errors
/// The name of one that stands for itself in the end, and why.
pub(super) fn resolve(variables: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, (String, String)> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut open: BTreeMap<&String, Template> = BTreeMap::new();
    for (name, text) in variables {
        open.insert(name, Template::parse(text).map_err(|reason| (name.clone(), reason))?);
    }
    while !open.is_empty() {
        let before = open.len();
        let mut unknown = None;
        open.retain(|name, template| {
            let names = Names { of: known.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect() };
            match template.plain(&names) {
                Ok(text) => {
                    known.insert((*name).clone(), text);
                    false
                }
                Err(missing) => {
                    unknown = Some(((*name).clone(), missing));
                    true
                }
            }
        });
        if open.len() == before {
            let (name, missing) = unknown.unwrap_or_default();
            let reason = if variables.contains_key(&missing) {
                format!("the variables {name:?} and {missing:?} need each other")
            } else {
                format!("the variable {name:?} needs {missing:?}, which is not one")
            };
            return Err((name, reason));
        }
    }
    Ok(known)
}

struct Validator<'a> {
    definition: &'a Definition,
    tree: &'a Node,
    problems: &'a mut Diagnostics,
}

impl Validator<'_> {
    fn wrong(&mut self, path: &[&str], message: impl Into<String>, help: Option<&str>) {
        let span = place(self.tree, path);
        self.problems.error(code::CONTENT, &span, message, help.map(ToOwned::to_owned));
    }

    fn connection(&mut self) {
        let definition = self.definition;
        if definition.name.trim().is_empty() {
            self.wrong(&["name"], "the name is empty", Some("give the connection a label; it stands in errors, metrics and links"));
        }
        if let Err((name, reason)) = resolve(&definition.variables) {
            self.wrong(&["variables", &name], reason, None);
        }
        match Template::parse(&definition.base_url) {
            Err(reason) => self.wrong(&["base_url"], reason, None),
            Ok(template) => {
                let dummy = template.names().map(|name| (name.to_owned(), "x".to_owned())).collect::<BTreeMap<_, _>>();
                let names = Names { of: dummy.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect() };
                let url = template.plain(&names).ok().and_then(|text| Url::parse(&text).ok());
                let usable = url.is_some_and(|url| {
                    matches!(url.scheme(), "http" | "https")
                        && url.host_str().is_some()
                        && url.username().is_empty()
                        && url.password().is_none()
                        && url.query().is_none()
                        && url.fragment().is_none()
                });
                if !usable {
                    let help = "write a scheme, a host and perhaps a path: https://{tenant}.example.com/api; the rest has keys of its own";
                    self.wrong(&["base_url"], "the base URL is not an absolute http or https URL", Some(help));
                }
            }
        }
        self.texts(&definition.headers, &["headers"], &[]);
        self.texts(&definition.query, &["query"], &[]);
        for name in definition.headers.keys() {
            self.header(name, &["headers", name]);
        }
        if let Some(check) = &definition.check {
            self.method(Some(&check.method), &["check", "method"]);
            self.path(&check.path, &["check", "path"], &[]);
            for paths in [&check.user, &check.account] {
                self.paths(paths.as_ref(), &["check"]);
            }
        }
        if definition.entities.is_empty() && definition.defaults == EntitySpec::default() {
            self.wrong(&[], "there is no entity", Some("describe one under entities, or all of them under defaults"));
        }
    }

    fn auth(&mut self) {
        let inject = self.definition.auth.inject();
        if let Some(Inject { header, query, .. }) = &inject {
            if header.is_some() == query.is_some() {
                self.wrong(&["auth"], "the credential goes into exactly one of header and query", None);
            }
            if let Some(header) = header {
                self.header(header, &["auth", "header"]);
            }
        }
        match &self.definition.auth {
            AuthSpec::ApiKey { .. } | AuthSpec::Bearer { .. } | AuthSpec::None => {}
            AuthSpec::Basic { user, .. } => self.template(user, &["auth", "user"], &[]),
            AuthSpec::Jwt { sign, .. } => self.jwt(sign, &["auth", "sign"]),
            AuthSpec::Oauth2 { token_url, client_id, grant, refresh_token, client_secret, extra, answer, assertion, .. } => {
                self.template(client_id, &["auth", "client_id"], &[]);
                self.texts(extra, &["auth", "extra"], &[]);
                if !token_url.starts_with('/') && !token_url.starts_with("http://") && !token_url.starts_with("https://") {
                    let help = Some("write a path that begins with a slash, or an absolute http or https URL");
                    self.wrong(&["auth", "token_url"], "the token URL is neither a path nor an absolute URL", help);
                }
                self.template(token_url, &["auth", "token_url"], &[]);
                match grant {
                    crate::custom::auth::TokenGrant::RefreshToken if refresh_token.is_none() => {
                        let help = Some("name the secret that the host gives the first refresh token under: refresh_token: my_token");
                        self.wrong(&["auth"], "the grant refresh_token needs the key \"refresh_token\"", help);
                    }
                    crate::custom::auth::TokenGrant::ClientCredentials if client_secret.is_none() => {
                        self.wrong(&["auth"], "the grant client_credentials needs the key \"client_secret\"", None);
                    }
                    crate::custom::auth::TokenGrant::JwtBearer if assertion.is_none() => {
                        let help = Some("say what is signed: assertion: {issuer: ..., subject: ..., audience: ..., secret: ...}");
                        self.wrong(&["auth"], "the grant jwt_bearer needs the key \"assertion\"", help);
                    }
                    _ => {}
                }
                if let Some(sign) = assertion {
                    self.jwt(sign, &["auth", "assertion"]);
                }
                self.answer(answer);
            }
            AuthSpec::Session { login, refresh, answer, .. } => {
                self.token_request(login, "login");
                if let Some(refresh) = refresh {
                    self.token_request(refresh, "refresh");
                }
                self.answer(answer);
            }
        }
    }

    fn answer(&mut self, answer: &crate::custom::auth::TokenAnswer) {
        for paths in [&answer.token, &answer.refresh_token, &answer.expires, &answer.instance_url] {
            self.paths(Some(paths), &["auth", "answer"]);
        }
    }

    fn token_request(&mut self, request: &TokenRequest, key: &str) {
        self.method(request.method.as_deref(), &["auth", key, "method"]);
        self.path(&request.path, &["auth", key, "path"], &[]);
        let known = self.definition.auth.secrets().iter().map(|name| format!("secret:{name}")).collect::<Vec<_>>();
        let mut allowed: Vec<&str> = known.iter().map(String::as_str).collect();
        allowed.push("refresh_token");
        self.texts(&request.headers, &["auth", key, "headers"], &allowed);
        if let Some(body) = &request.body {
            self.body(body, &["auth", key, "body"], &allowed);
        }
    }

    fn errors(&mut self) {
        for (at, rule) in self.definition.errors.iter().enumerate() {
            let at = at.to_string();
            for status in &rule.status {
                let fits = match status {
                    StatusMatch::Code(code) => (100..=599).contains(code),
                    StatusMatch::Family(text) => {
                        matches!(text.as_bytes(), [b'2'..=b'5', b'x' | b'X', b'x' | b'X']) || text.parse::<u16>().is_ok()
                    }
                };
                if !fits {
                    self.wrong(&["errors", &at, "status"], "a status is a number such as 404, or 4xx", None);
                }
            }
            for operation in &rule.operations {
                if !OPERATIONS.contains(&operation.as_str()) {
                    let help = did_you_mean(operation, OPERATIONS).unwrap_or_else(|| format!("known: {}", OPERATIONS.join(", ")));
                    self.wrong(&["errors", &at, "operations"], format!("{operation:?} is not an operation"), Some(&help));
                }
            }
            self.paths(rule.path.as_ref(), &["errors", &at, "path"]);
            if rule.equals.is_some() && rule.path.is_none() {
                self.wrong(&["errors", &at, "equals"], "\"equals\" needs a \"path\" to look at", None);
            }
            if rule.status.is_empty() && rule.path.is_none() && rule.contains.is_none() && rule.header.is_none() {
                self.wrong(&["errors", &at], "this rule matches every failure", Some("say which: status, header, path or contains"));
            }
        }
    }

    fn entity(&mut self, entity: &EntitySpec, at: &[&str]) {
        let under = |more: &[&'static str]| -> Vec<String> {
            at.iter().map(|step| (*step).to_owned()).chain(more.iter().map(|step| (*step).to_owned())).collect()
        };
        macro_rules! at {
            ($($step:expr),*) => { &under(&[$($step),*]).iter().map(String::as_str).collect::<Vec<_>>() };
        }
        if let Some(path) = &entity.path {
            self.path(path, at!["path"], &["entity"]);
        }
        for (key, paths) in [("id", &entity.id), ("modified", &entity.modified), ("record", &entity.record), ("records", &entity.records)] {
            self.paths(paths.as_ref(), at![key]);
        }
        for (name, field) in &entity.fields {
            let place: Vec<String> = under(&["fields"]).into_iter().chain([name.clone()]).collect();
            let place: Vec<&str> = place.iter().map(String::as_str).collect();
            if field.path.as_deref().is_some_and(|path| path.is_empty() || !valid(path)) {
                self.wrong(&place, "the path of a field is empty or has an empty step", None);
            }
            let mut values: Vec<String> = field.options.values().map(ToString::to_string).collect();
            values.sort();
            if values.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
                self.wrong(&place, "two options have the same value: what comes back cannot be told apart", None);
            }
        }
        if let Some(search) = &entity.search {
            self.search(search, at!["search"]);
        }
        if let Some(get) = &entity.get {
            self.method(get.method.as_deref(), at!["get", "method"]);
            if let Some(path) = &get.path {
                self.path(path, at!["get", "path"], &["entity", "id"]);
                if !path.contains("{id}") && get.body.is_none() && !get.query.values().any(|value| value.contains("{id}")) {
                    self.wrong(at!["get", "path"], "a read of one record does not say which: {id} occurs nowhere", None);
                }
            }
            self.texts(&get.query, at!["get", "query"], &["entity", "id"]);
            self.texts(&get.headers, at!["get", "headers"], &["entity", "id"]);
        }
        for (key, op, names) in [
            ("create", &entity.create, &["entity", "record"][..]),
            ("update", &entity.update, &["entity", "id", "record"]),
            ("upsert", &entity.upsert, &["entity", "key", "field", "record"]),
            ("delete", &entity.delete, &["entity", "id"]),
        ] {
            if let Some(op) = op {
                self.write(op, key, names, at![key]);
            }
        }
        if entity.upsert.is_some() && entity.keys.is_empty() && !entity.client_id {
            self.wrong(at!["upsert"], "an upsert needs a field that identifies a record", Some("name it: keys: [external_id]"));
        }
        if let Some(batch) = &entity.batch {
            self.path(&batch.path, at!["batch", "path"], &["entity"]);
            if batch.max == 0 {
                self.wrong(at!["batch", "max"], "a batch of no writes does nothing", None);
            }
            for operation in &batch.operations {
                if !["create", "update", "upsert", "delete"].contains(&operation.as_str()) {
                    let message = format!("{operation:?} is not a write");
                    self.wrong(at!["batch", "operations"], message, Some("known: create, update, upsert, delete"));
                }
            }
            let names = ["method", "path", "body", "record", "id", "key", "index", "entity", "items"];
            for (key, template) in [("body", &batch.body), ("item", &batch.item)] {
                if let Some(template) = template {
                    self.body(template, at!["batch", key], &names);
                }
            }
            let says_index = batch.item.as_ref().is_some_and(|item| item.to_string().contains("{index}"));
            if matches!(batch.matching, BatchMatch::Index(_)) && !says_index {
                self.wrong(at!["batch"], "results are matched by an index that no write sends", Some("put {index} into the item"));
            }
            for paths in [Some(&batch.results), batch.status.as_ref(), batch.answer.as_ref(), batch.error.as_ref()] {
                self.paths(paths, at!["batch"]);
            }
        }
        if let Some(changes) = &entity.changes {
            if let Some(path) = &changes.path {
                self.path(path, at!["changes", "path"], &["entity"]);
            }
            self.texts(&changes.query, at!["changes", "query"], &["entity"]);
            let ways = [!changes.since.is_empty(), changes.field.is_some(), changes.client_side];
            if ways.into_iter().filter(|way| *way).count() != 1 {
                let help = "since: updated_after (a parameter), field: updated_at (the filter), or client_side: true";
                self.wrong(at!["changes"], "the time to begin at is said in exactly one of three ways", Some(help));
            }
            if let Some(removed) = &changes.removed {
                self.path(&removed.path, at!["changes", "removed", "path"], &["entity"]);
                for paths in [&removed.records, &removed.id, &removed.at] {
                    self.paths(paths.as_ref(), at!["changes", "removed"]);
                }
                if removed.since.is_none() && changes.since.is_empty() {
                    let help = Some("since: deleted_after");
                    self.wrong(at!["changes", "removed"], "the parameter with the time to begin at is missing", help);
                }
            }
            if entity.search.is_none() {
                self.wrong(at!["changes"], "changes are read as lists are, and there is no search", Some("search: {}"));
            }
            if entity.modified.is_none() {
                self.wrong(at!["changes"], "changes need to know where a record says when it was changed", Some("modified: updated_at"));
            }
            if changes.deletes && entity.deleted.is_none() {
                self.wrong(at!["changes", "deletes"], "deletions need to know what marks them", Some("deleted: {path: deleted}"));
            }
        }
        for (name, related) in &entity.related {
            let place: Vec<String> = under(&["related"]).into_iter().chain([name.clone()]).collect();
            let place: Vec<&str> = place.iter().map(String::as_str).collect();
            self.related(related, at, &place);
            if entity.fields.contains_key(name) {
                self.wrong(&place, format!("the field {name} is described under \"fields\" too"), Some("keep one of the two"));
            }
        }
        if let Some(schema) = &entity.schema {
            self.path(&schema.path, at!["schema", "path"], &["entity"]);
        }
    }

    fn related(&mut self, related: &RelatedSpec, of: &[&str], place: &[&str]) {
        let entities = &self.definition.entities;
        let Some(child) = entities.get(&related.entity) else {
            let help = did_you_mean(&related.entity, entities.keys().map(String::as_str));
            let help = help.unwrap_or_else(|| "describe it under entities".to_owned());
            self.wrong(place, format!("there is no entity {:?}", related.entity), Some(&help));
            return;
        };
        for (what, there) in [("search", child.search.is_some()), ("create", child.create.is_some()), ("update", child.update.is_some())] {
            if !there {
                self.wrong(place, format!("the related entity {:?} has no {what}", related.entity), None);
            }
        }
        // A way from the related entity back to this one would be followed for ever.
        let mut open: Vec<&str> = vec![&related.entity];
        let mut seen: Vec<&str> = Vec::new();
        while let Some(name) = open.pop() {
            if of.last() == Some(&name) {
                self.wrong(place, "the related records lead back to this entity: a cycle", None);
                return;
            }
            if !seen.contains(&name) {
                seen.push(name);
                open.extend(entities.get(name).into_iter().flat_map(|entity| entity.related.values()).map(|next| next.entity.as_str()));
            }
        }
    }

    fn jwt(&mut self, sign: &JwtSpec, at: &[&str]) {
        for text in [&sign.key_id, &sign.issuer, &sign.subject, &sign.audience].into_iter().flatten() {
            self.template(text, at, &[]);
        }
        for claim in sign.claims.values() {
            self.body(claim, at, &[]);
        }
        if sign.lifetime == 0 {
            self.wrong(at, "a token that lasts no second is never good", Some("lifetime: 180"));
        }
        if sign.algorithm == JwtAlgorithm::Hs256 && sign.secret.is_none() {
            self.wrong(at, "hs256 needs the name of the shared secret", Some("secret: signing_key"));
        }
    }

    fn search(&mut self, search: &SearchOp, at: &[&str]) {
        let sub = |more: &[&'static str]| -> Vec<String> { at.iter().chain(more).map(|step| (*step).to_owned()).collect() };
        macro_rules! at {
            ($($step:expr),*) => { &sub(&[$($step),*]).iter().map(String::as_str).collect::<Vec<_>>() };
        }
        self.method(search.method.as_deref(), at!["method"]);
        if let Some(path) = &search.path {
            self.path(path, at!["path"], &["entity"]);
        }
        self.texts(&search.query, at!["query"], &["entity"]);
        self.texts(&search.headers, at!["headers"], &["entity"]);
        if let Some(body) = &search.body {
            self.body(body, at!["body"], &["entity"]);
        }
        for paths in [&search.records, &search.item, &search.total] {
            self.paths(paths.as_ref(), at);
        }
        let post = search.method.as_deref().is_some_and(|method| !method.eq_ignore_ascii_case("GET"));
        let filter = &search.filter;
        if filter.style != FilterStyle::None && filter.operators.is_empty() {
            self.wrong(at!["filter"], "no operator of the filter is said", Some("operators: {eq: \"{field}\"}"));
        }
        for template in filter.operators.values().chain(filter.not.iter()) {
            let outcome = {
                let mut bad = None;
                let read = names_in(template, &mut |name| {
                    if !["field", "literal", "value", "part"].contains(&name) {
                        bad = Some(name.to_owned());
                    }
                });
                read.map(|()| bad)
            };
            match outcome {
                Err(reason) => self.wrong(at!["filter", "operators"], reason, None),
                Ok(Some(name)) => {
                    self.wrong(
                        at!["filter", "operators"],
                        format!("{{{name}}} stands for nothing here"),
                        Some("known: {field}, {value}, {literal}"),
                    );
                }
                Ok(None) => {}
            }
        }
        if !filter.quotes_values() {
            let help = Some("put the value in quotes that `escape` names: {field}:\"{value}\"; bare, it could say more than a value");
            self.wrong(at!["filter", "operators"], "a value stands in the query language without quotes", help);
        }
        for (key, how) in [("and", &filter.and), ("or", &filter.or)] {
            let fits = match (filter.style, how) {
                (_, None) => true,
                (FilterStyle::Json, Some(Combine::Word(word))) => word == "merge" && key == "and",
                (FilterStyle::Json, Some(Combine::Template(template))) => template.to_string().contains("{parts}"),
                (FilterStyle::Query, Some(Combine::Word(_))) => true,
                _ => false,
            };
            if !fits {
                let help = "json: a template with {parts}, or merge for and; query: the text between the parts; params need neither";
                self.wrong(at!["filter", key], "parts cannot be tied together like this", Some(help));
            }
        }
        if !post && matches!(filter.target, Some(FilterTarget::Body(_))) {
            self.wrong(at!["filter", "target"], "a GET has no body to put conditions into", Some("method: POST, or target: {param: q}"));
        }
        let in_body = match &search.paging {
            Paging::Cursor { target, .. }
            | Paging::Keyset { target, .. }
            | Paging::Offset { target, .. }
            | Paging::PageNumber { target, .. } => *target == PageTarget::Body,
            _ => false,
        };
        if in_body && !post {
            self.wrong(at!["paging"], "a GET has no body to put the page into", Some("method: POST, or target: query"));
        }
        if search.paging.size() == Some(0) {
            self.wrong(at!["paging", "size"], "a page of no records ends nowhere", None);
        }
        if let Paging::Cursor { next, .. } | Paging::NextLink { next, .. } = &search.paging
            && let NextFrom::Path(paths) = next
        {
            self.paths(Some(paths), at!["paging", "next"]);
        }
    }

    fn write(&mut self, op: &WriteOp, key: &str, names: &[&str], at: &[&str]) {
        let sub = |more: &'static str| -> Vec<String> { at.iter().copied().chain([more]).map(ToOwned::to_owned).collect() };
        macro_rules! at {
            ($step:expr) => {
                &sub($step).iter().map(String::as_str).collect::<Vec<_>>()
            };
        }
        self.method(op.method.as_deref(), at!["method"]);
        let in_url: Vec<&str> = names.iter().copied().filter(|name| *name != "record").collect();
        if let Some(path) = &op.path {
            self.path(path, at!["path"], &in_url);
            let which = if key == "upsert" { "{key}" } else { "{id}" };
            let elsewhere = op.query.values().any(|value| value.contains(which))
                || op.body.as_ref().is_some_and(|body| body.to_string().contains(which));
            if key != "create" && !path.contains(which) && !elsewhere {
                self.wrong(at!["path"], format!("the request does not say which record: {which} occurs nowhere"), None);
            }
        }
        self.texts(&op.query, at!["query"], &in_url);
        self.texts(&op.headers, at!["headers"], &in_url);
        for name in op.headers.keys().chain(&op.idempotency_header) {
            self.header(name, at!["headers"]);
        }
        if let Some(body) = &op.body {
            self.body(body, at!["body"], names);
        }
        for paths in [&op.record, &op.id, &op.created] {
            self.paths(paths.as_ref(), at);
        }
    }

    fn webhook(&mut self) {
        let Some(webhook) = &self.definition.webhook else { return };
        const STYLES: [&str; 5] = ["hmac", "timestamped", "standard", "header", "basic"];
        if let Some(style) = webhook.style.as_deref().filter(|style| !STYLES.contains(style)) {
            let help = did_you_mean(style, STYLES).unwrap_or_else(|| format!("known: {}", STYLES.join(", ")));
            self.wrong(&["webhook", "style"], format!("{style:?} is not a way to verify"), Some(&help));
        }
        let style = webhook.style.as_deref().unwrap_or("hmac");
        if webhook.secret.is_none() {
            self.wrong(&["webhook"], "the name of the secret is missing", Some("secret: webhook_secret"));
        }
        if matches!(style, "hmac" | "timestamped" | "header") && webhook.header.is_none() {
            self.wrong(&["webhook"], "the header to look at is missing", Some("header: X-Signature"));
        }
        if style == "basic" && webhook.user.is_none() {
            self.wrong(&["webhook"], "the user is missing", None);
        }
        if let Err(error) = webhook.events.validate() {
            self.wrong(&["webhook", "events"], error.message(), None);
        }
    }

    fn allowed(&self, name: &str, allowed: &[&str]) -> bool {
        allowed.contains(&name) || self.definition.variables.contains_key(name) || self.free(name)
    }

    /// A variable of the base URL that the host has to set may be used elsewhere too.
    fn free(&self, name: &str) -> bool {
        Template::parse(&self.definition.base_url).is_ok_and(|template| template.names().any(|known| known == name))
    }

    fn template(&mut self, text: &str, at: &[&str], allowed: &[&str]) {
        match Template::parse(text) {
            Err(reason) => self.wrong(at, reason, None),
            Ok(template) => {
                for name in template.names() {
                    if !self.allowed(name, allowed) {
                        self.unknown(name, at, allowed);
                    }
                }
            }
        }
    }

    fn unknown(&mut self, name: &str, at: &[&str], allowed: &[&str]) {
        let variables: Vec<String> = self.definition.variables.keys().cloned().collect();
        let known = allowed.iter().copied().chain(variables.iter().map(String::as_str));
        let help = did_you_mean(name, known).unwrap_or_else(|| "name it under variables, with what it stands for".to_owned());
        self.wrong(at, format!("{{{name}}} stands for nothing here"), Some(&help));
    }

    fn texts(&mut self, texts: &BTreeMap<String, String>, at: &[&str], allowed: &[&str]) {
        for (name, text) in texts {
            let at: Vec<&str> = at.iter().copied().chain([name.as_str()]).collect();
            self.template(text, &at, allowed);
        }
    }

    fn body(&mut self, template: &Value, at: &[&str], allowed: &[&str]) {
        let mut names = Vec::new();
        match names_in(template, &mut |name| names.push(name.to_owned())) {
            Err(reason) => self.wrong(at, reason, None),
            Ok(()) => {
                for name in names {
                    if !self.allowed(&name, allowed) {
                        self.unknown(&name, at, allowed);
                    }
                }
            }
        }
    }

    /// A path may not leave the host the credentials are for.
    fn path(&mut self, path: &str, at: &[&str], allowed: &[&str]) {
        if !path.starts_with('/') || path.starts_with("//") || path.contains("://") || path.contains('\\') {
            let help = Some("a path begins with one slash and stands upon the base URL; another host is another definition");
            self.wrong(at, "the path leaves the host of the base URL", help);
            return;
        }
        if path.split(['/', '?']).any(|step| step == "..") {
            self.wrong(at, "the path climbs out of the base URL", None);
            return;
        }
        if path.contains(['?', '#']) {
            self.wrong(at, "a path has no query and no fragment", Some("put parameters under query"));
            return;
        }
        self.template(path, at, allowed);
    }

    fn paths(&mut self, paths: Option<&Paths>, at: &[&str]) {
        let bad = paths.and_then(|paths| paths.all().iter().find(|path| !valid(path)));
        if let Some(bad) = bad {
            let help = Some("write names with dots between them, or a JSON pointer that begins with a slash");
            self.wrong(at, format!("{bad:?} is not a path: it has an empty step"), help);
        }
        if paths.is_some_and(|paths| paths.all().is_empty()) {
            self.wrong(at, "the list of paths is empty", None);
        }
    }

    fn method(&mut self, method: Option<&str>, at: &[&str]) {
        const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
        if let Some(method) = method.filter(|method| !METHODS.contains(&method.to_ascii_uppercase().as_str())) {
            let help = did_you_mean(method, METHODS).unwrap_or_else(|| format!("known: {}", METHODS.join(", ")));
            self.wrong(at, format!("{method:?} is not a method"), Some(&help));
        }
    }

    fn header(&mut self, name: &str, at: &[&str]) {
        if http::HeaderName::try_from(name).is_err() {
            self.wrong(at, format!("{name:?} cannot be the name of a header"), None);
        }
    }
}
