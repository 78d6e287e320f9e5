//! The order of the checks, and the small ones all others use.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::custom::definition::Definition;
use crate::custom::pointer::{Paths, valid};
use crate::custom::template::{Template, names_in};
use crate::custom::validate::code::CONTENT;
use crate::document::diagnostic::Diagnostics;
use crate::document::node::Node;
use crate::document::suggest::did_you_mean;
use crate::document::tree::place;

pub(super) const OPERATIONS: [&str; 9] = ["get", "search", "create", "update", "upsert", "delete", "bulk", "changes", "describe"];

/// Puts everything that cannot work into `problems`.
pub(in crate::custom) fn validate(definition: &Definition, tree: &Node, problems: &mut Diagnostics) {
    let mut check = Validator { definition, tree, problems };
    check.connection();
    check.login();
    check.errors();
    check.limits();
    if definition.entities.is_empty() {
        check.entity(&definition.defaults, &["defaults"]);
    }
    for (name, entity) in &definition.entities {
        check.entity(entity, &["entities", name]);
    }
    check.webhook();
}

pub(super) struct Validator<'a> {
    pub(super) definition: &'a Definition,
    pub(super) tree: &'a Node,
    pub(super) problems: &'a mut Diagnostics,
}

impl Validator<'_> {
    pub(super) fn wrong(&mut self, path: &[&str], message: impl Into<String>, help: Option<&str>) {
        let span = place(self.tree, path);
        self.problems.error(CONTENT, &span, message, help.map(ToOwned::to_owned));
    }

    pub(super) fn allowed(&self, name: &str, allowed: &[&str]) -> bool {
        allowed.contains(&name) || self.definition.variables.contains_key(name) || self.free(name)
    }

    /// A variable of the base URL that the host has to set may be used elsewhere too.
    pub(super) fn free(&self, name: &str) -> bool {
        Template::parse(&self.definition.base_url).is_ok_and(|template| template.names().any(|known| known == name))
    }

    pub(super) fn template(&mut self, text: &str, at: &[&str], allowed: &[&str]) {
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

    pub(super) fn unknown(&mut self, name: &str, at: &[&str], allowed: &[&str]) {
        let variables: Vec<String> = self.definition.variables.keys().cloned().collect();
        let known = allowed.iter().copied().chain(variables.iter().map(String::as_str));
        let help = did_you_mean(name, known).unwrap_or_else(|| "name it under variables, with what it stands for".to_owned());
        self.wrong(at, format!("{{{name}}} stands for nothing here"), Some(&help));
    }

    pub(super) fn texts(&mut self, texts: &BTreeMap<String, String>, at: &[&str], allowed: &[&str]) {
        for (name, text) in texts {
            let at: Vec<&str> = at.iter().copied().chain([name.as_str()]).collect();
            self.template(text, &at, allowed);
        }
    }

    pub(super) fn body(&mut self, template: &Value, at: &[&str], allowed: &[&str]) {
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
    pub(super) fn path(&mut self, path: &str, at: &[&str], allowed: &[&str]) {
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

    pub(super) fn paths(&mut self, paths: Option<&Paths>, at: &[&str]) {
        let bad = paths.and_then(|paths| paths.all().iter().find(|path| !valid(path)));
        if let Some(bad) = bad {
            let help = Some("write names with dots between them, or a JSON pointer that begins with a slash");
            self.wrong(at, format!("{bad:?} is not a path: it has an empty step"), help);
        }
        if paths.is_some_and(|paths| paths.all().is_empty()) {
            self.wrong(at, "the list of paths is empty", None);
        }
    }

    pub(super) fn method(&mut self, method: Option<&str>, at: &[&str]) {
        const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
        if let Some(method) = method.filter(|method| !METHODS.contains(&method.to_ascii_uppercase().as_str())) {
            let help = did_you_mean(method, METHODS).unwrap_or_else(|| format!("known: {}", METHODS.join(", ")));
            self.wrong(at, format!("{method:?} is not a method"), Some(&help));
        }
    }

    pub(super) fn header(&mut self, name: &str, at: &[&str]) {
        if http::HeaderName::try_from(name).is_err() {
            self.wrong(at, format!("{name:?} cannot be the name of a header"), None);
        }
    }
}
