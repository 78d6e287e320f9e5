//! The connection: where, what failures mean, how often, and its webhooks.

use std::collections::BTreeMap;

use url::Url;

use crate::custom::definition::{EntitySpec, StatusMatch};
use crate::custom::template::{Names, Template};
use crate::custom::validate::check::{OPERATIONS, Validator};
use crate::custom::validate::variables::resolve;
use crate::document::suggest::did_you_mean;

impl Validator<'_> {
    pub(super) fn connection(&mut self) {
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

    pub(super) fn limits(&mut self) {
        let rate = &self.definition.rate;
        let limits = rate.limits.iter().map(|limit| ("limits", &limit.methods, &limit.operations, &limit.path));
        let prices = rate.prices.iter().map(|price| ("prices", &price.methods, &price.operations, &price.path));
        for (at, (key, methods, operations, path)) in limits.enumerate().chain(prices.enumerate()) {
            let at = at.to_string();
            for method in methods {
                self.method(Some(method), &["rate", key, &at, "methods"]);
            }
            for operation in operations {
                self.operation(operation, &["rate", key, &at, "operations"]);
            }
            if path.as_ref().is_some_and(|path| !path.starts_with('/') || path.contains('?')) {
                let help = Some("path: /{entity}/search");
                self.wrong(&["rate", key, &at, "path"], "the pattern of a path begins with a slash and has no query", help);
            }
        }
        for (at, limit) in rate.limits.iter().enumerate().filter(|(_, limit)| limit.calls == 0 || limit.seconds == 0) {
            let what = if limit.calls == 0 { "a limit of no calls lets nothing through" } else { "a limit needs a time to count in" };
            self.wrong(&["rate", "limits", &at.to_string()], what, Some("{calls: 100, seconds: 60}"));
        }
    }

    fn operation(&mut self, operation: &str, at: &[&str]) {
        if !OPERATIONS.contains(&operation) {
            let help = did_you_mean(operation, OPERATIONS).unwrap_or_else(|| format!("known: {}", OPERATIONS.join(", ")));
            self.wrong(at, format!("{operation:?} is not an operation"), Some(&help));
        }
    }

    pub(super) fn errors(&mut self) {
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
                self.operation(operation, &["errors", &at, "operations"]);
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

    pub(super) fn webhook(&mut self) {
        let Some(webhook) = &self.definition.webhook else { return };
        const STYLES: [&str; 7] = ["hmac", "timestamped", "standard", "header", "basic", "path", "query"];
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
        if style == "query" && webhook.param.as_deref().is_none_or(str::is_empty) {
            self.wrong(&["webhook"], "the query parameter to look at is missing", Some("param: token"));
        }
        if style == "path" && webhook.path.as_deref().is_some_and(|path| path.matches("{secret}").count() != 1) {
            self.wrong(&["webhook", "path"], "the path needs exactly one step {secret}", Some("path: /hooks/{secret}"));
        }
        if style == "basic" && webhook.user.is_none() {
            self.wrong(&["webhook"], "the user is missing", None);
        }
        if let Err(error) = webhook.events.validate() {
            self.wrong(&["webhook", "events"], error.message(), None);
        }
    }
}
