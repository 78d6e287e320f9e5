//! Lists and writes.

use crate::custom::filter::{Combine, FilterStyle, FilterTarget};
use crate::custom::operation::{SearchOp, WriteOp};
use crate::custom::paging::{NextFrom, PageTarget, Paging};
use crate::custom::template::names_in;
use crate::custom::validate::check::Validator;
use crate::document::suggest::did_you_mean;

impl Validator<'_> {
    pub(super) fn search(&mut self, search: &SearchOp, at: &[&str]) {
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
        if let Some(sort) = &search.sort {
            if sort.target == PageTarget::Body && !post {
                self.wrong(at!["sort", "target"], "a GET has no body to put the order into", Some("method: POST, or target: query"));
            }
            for (key, template) in [("ascending", &sort.ascending), ("descending", &sort.descending)] {
                self.field_template(template, at!["sort", key]);
            }
        }
        if search.select.as_ref().is_some_and(|select| select.target == PageTarget::Body) && !post {
            let help = Some("method: POST, or target: query");
            self.wrong(at!["select", "target"], "a GET has no body to put the names of fields into", help);
        }
        if let Some(document) = &filter.document {
            let mut names = Vec::new();
            let read = names_in(document, &mut |name| names.push(name.to_owned()));
            let unknown = names.iter().find(|name| *name != "parts" && !self.allowed(name, &[])).cloned();
            match (read, unknown) {
                (Err(reason), _) => self.wrong(at!["filter", "document"], reason, None),
                (Ok(()), Some(name)) => self.unknown(&name, at!["filter", "document"], &["parts"]),
                (Ok(()), None) if names.is_empty() => {
                    let help = Some("document: {filters: \"{parts}\"}");
                    self.wrong(at!["filter", "document"], "the conditions have no place in it: {parts} occurs nowhere", help);
                }
                (Ok(()), None) => {}
            }
            if filter.style != FilterStyle::Json {
                self.wrong(at!["filter", "document"], "only a filter of style json has a document", Some("style: json"));
            }
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

    /// A piece of the order: it names its field, and nothing else.
    fn field_template(&mut self, template: &serde_json::Value, at: &[&str]) {
        let mut names = Vec::new();
        match names_in(template, &mut |name| names.push(name.to_owned())) {
            Err(reason) => self.wrong(at, reason, None),
            Ok(()) => match names.iter().find(|name| *name != "field") {
                Some(name) => {
                    let help = did_you_mean(name, ["field"]).unwrap_or_else(|| "known: {field}".to_owned());
                    self.wrong(at, format!("{{{name}}} stands for nothing here"), Some(&help));
                }
                None if names.is_empty() => self.wrong(at, "the order does not say by which field: {field} occurs nowhere", None),
                None => {}
            },
        }
    }

    pub(super) fn write(&mut self, op: &WriteOp, key: &str, names: &[&str], at: &[&str], stamped: bool) {
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
            // The record itself holds the key of an upsert, and the id where every record has it.
            let inside = key == "upsert" || (stamped && key != "delete");
            let in_parts = path.contains("{id.1}");
            if key != "create" && !inside && !path.contains(which) && !in_parts && !elsewhere {
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
}
