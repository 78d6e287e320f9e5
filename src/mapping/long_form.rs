//! A field as the file has it: a name, or the long form, a map of keys. Each is checked, all problems are reported.

use serde_json::Value;

use crate::document::diagnostic::Diagnostics;
use crate::document::node::{Key, Kind, Node, Scalar};
use crate::document::source::Span;
use crate::document::suggest::did_you_mean;
use crate::mapping::code;
use crate::mapping::field::{
    Blank, Direction, FieldConfig, OnError, OnNull, OnTooLong, Owner, PicklistConfig, SplitAt, Transform, Unmapped,
};

pub(crate) const TYPES: [&str; 8] = ["direct", "computed", "picklist", "constant", "lookup", "split", "join", "compound"];

pub(crate) const KEYS: [&str; 31] = [
    "field",
    "type",
    "formula",
    "mapping",
    "unmapped",
    "default",
    "required",
    "when",
    "direction",
    "format",
    "zone",
    "blank",
    "on_null",
    "max",
    "on_too_long",
    "aliases",
    "case",
    "owner",
    "value",
    "preferred",
    "entity",
    "by",
    "into",
    "at",
    "from",
    "separator",
    "split",
    "lenient",
    "on_error",
    "currency",
    "append",
];

/// Reads one field, short or long form; `None` if it is neither, which was said.
pub(crate) fn read(host: &str, span: &Span, node: &Node, problems: &mut Diagnostics) -> Option<FieldConfig> {
    let mut field = FieldConfig { span: span.clone(), ..FieldConfig::new(host) };
    let pairs = match &node.kind {
        Kind::Scalar(Scalar { value, text }) if !value.is_null() && !text.trim().is_empty() => {
            field.field = Some(text.trim().to_owned());
            field.spans.push(("field", node.span.clone()));
            return Some(field);
        }
        Kind::Map(pairs) => pairs,
        _ => {
            let message = format!("field {host:?} must name a CRM field or be a map, and is {}", node.what());
            problems.error(code::BAD_VALUE, span, message, None);
            return None;
        }
    };
    unique(pairs, problems);
    for (key, _) in pairs {
        if !KEYS.contains(&key.text.as_str()) {
            let help = did_you_mean(&key.text, KEYS).unwrap_or_else(|| format!("known keys: {}", KEYS.join(", ")));
            problems.error(code::UNKNOWN_KEY, &key.span, format!("unknown key {:?} in field {host:?}", key.text), Some(help));
        }
    }
    for key in KEYS {
        if let Some((_, value)) = pairs.iter().find(|(name, _)| name.text == key) {
            field.spans.push((key, value.span.clone()));
        }
    }
    LongForm { host, span, pairs, problems }.read(&mut field);
    Some(field)
}

/// JSON lets a key stand twice and the last one win in silence.
pub(crate) fn unique(pairs: &[(Key, Node)], problems: &mut Diagnostics) {
    let mut seen = std::collections::HashSet::new();
    for (key, _) in pairs {
        if !seen.insert(key.text.as_str()) {
            problems.error(
                code::DUPLICATE_KEY,
                &key.span,
                format!("the key {:?} stands twice", key.text),
                Some("keep one of the two entries".into()),
            );
        }
    }
}

/// Reads the keys of one long form.
struct LongForm<'a> {
    host: &'a str,
    span: &'a Span,
    pairs: &'a [(Key, Node)],
    problems: &'a mut Diagnostics,
}

impl<'a> LongForm<'a> {
    fn get(&self, key: &str) -> Option<&'a Node> {
        self.pairs.iter().find(|(name, _)| name.text == key).map(|(_, node)| node)
    }

    fn bad(&mut self, key: &str, node: &Node, wanted: &str) {
        let found = node.as_text().map_or_else(|| node.what().to_owned(), |text| format!("{text:?}"));
        self.problems.error(
            code::BAD_VALUE,
            &node.span,
            format!("`{key}` of field {:?} must be {wanted}, and is {found}", self.host),
            None,
        );
    }

    fn text(&mut self, key: &str) -> Option<String> {
        let node = self.get(key)?;
        if let Some(text) = node.as_text() {
            return Some(text.to_owned());
        }
        self.bad(key, node, "a text");
        None
    }

    fn flag(&mut self, key: &str) -> bool {
        let Some(node) = self.get(key) else { return false };
        node.as_bool().unwrap_or_else(|| {
            self.bad(key, node, "true or false");
            false
        })
    }

    fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let node = self.get(key)?;
        let text = node.as_text();
        if let Some((_, value)) = choices.iter().find(|(name, _)| Some(*name) == text) {
            return Some(*value);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.bad(key, node, &format!("one of {}", names.join(", ")));
        None
    }

    fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let node = self.get(key)?;
        if let Kind::List(items) = &node.kind {
            let texts: Vec<String> = items.iter().filter_map(|item| item.as_text().map(str::to_owned)).collect();
            if texts.len() == items.len() {
                return Some(texts);
            }
        }
        self.bad(key, node, "a list of names");
        None
    }

    fn map(&mut self, key: &str) -> &'a [(Key, Node)] {
        match self.get(key) {
            None => &[],
            Some(Node { kind: Kind::Map(pairs), .. }) => {
                unique(pairs, self.problems);
                pairs
            }
            Some(node) => {
                self.bad(key, node, "a map");
                &[]
            }
        }
    }

    fn missing(&mut self, key: &str, kind: &str) {
        let message = format!("field {:?} is of type {kind} and needs `{key}`", self.host);
        self.problems.error(code::MISSING_KEY, self.span, message, None);
    }

    fn read(mut self, field: &mut FieldConfig) {
        field.field = self.text("field");
        field.default = self.get("default").map(Node::to_value);
        field.required = self.flag("required");
        field.lenient = self.flag("lenient");
        field.when = self.text("when");
        field.zone = self.text("zone");
        field.max = self.text("max").and_then(|text| {
            let max = text.parse().ok();
            if max.is_none()
                && let Some(node) = self.get("max")
            {
                self.bad("max", node, "a whole number");
            }
            max
        });
        let directions = [
            ("out", Direction::Out),
            ("in", Direction::In),
            ("both", Direction::Both),
            ("outbound", Direction::Out),
            ("inbound", Direction::In),
        ];
        field.direction = self.choice("direction", &directions).unwrap_or_default();
        field.blank = self.choice("blank", &[("clear", Blank::Clear), ("keep", Blank::Keep), ("skip", Blank::Skip)]).unwrap_or_default();
        field.on_null = self.choice("on_null", &[("clear", OnNull::Clear), ("skip", OnNull::Skip)]).unwrap_or_default();
        field.on_too_long =
            self.choice("on_too_long", &[("error", OnTooLong::Error), ("truncate", OnTooLong::Truncate)]).unwrap_or_default();
        let on_error =
            [("error", OnError::Error), ("null", OnError::Null), ("default", OnError::Default), ("skip_record", OnError::SkipRecord)];
        field.on_error = self.choice("on_error", &on_error).unwrap_or_default();
        field.owner = self.choice("owner", &[("ours", Owner::Ours), ("theirs", Owner::Theirs), ("latest", Owner::Latest)]);
        field.append = self.flag("append");
        field.currency = self.text("currency");
        field.format = self.text("format");
        let kind = match self.text("type") {
            Some(kind) => kind,
            None if self.get("formula").is_some() => "computed".to_owned(),
            None if self.get("mapping").is_some() => "picklist".to_owned(),
            None if self.get("value").is_some() => "constant".to_owned(),
            None if self.get("into").is_some() => "split".to_owned(),
            None if self.get("from").is_some() => "join".to_owned(),
            None => "direct".to_owned(),
        };
        let splits = [("first blank", SplitAt::FirstBlank), ("last blank", SplitAt::LastBlank)];
        field.transform = match kind.as_str() {
            "direct" => Transform::Direct,
            "compound" => Transform::Compound,
            "computed" => match self.text("formula") {
                Some(formula) => Transform::Computed { formula },
                None => {
                    self.missing("formula", "computed");
                    Transform::Direct
                }
            },
            "constant" => match self.get("value") {
                Some(node) => Transform::Constant { value: node.to_value() },
                None => {
                    self.missing("value", "constant");
                    Transform::Direct
                }
            },
            "lookup" => Transform::Lookup { entity: self.text("entity"), by: self.text("by") },
            "picklist" => Transform::Picklist(self.picklist(field.default.as_ref())),
            "split" => {
                let at = self.choice("at", &splits).unwrap_or_default();
                match self.texts("into").map(<[String; 2]>::try_from) {
                    Some(Ok(into)) => Transform::Split { into, at },
                    _ => {
                        self.missing("into", "split");
                        Transform::Direct
                    }
                }
            }
            "join" => match self.texts("from") {
                Some(from) => {
                    let separator = self.text("separator").unwrap_or_else(|| " ".to_owned());
                    Transform::Join { from, separator, split: self.choice("split", &splits) }
                }
                None => {
                    self.missing("from", "join");
                    Transform::Direct
                }
            },
            other => {
                let help = did_you_mean(other, TYPES).unwrap_or_else(|| format!("known types: {}", TYPES.join(", ")));
                let message = format!("unknown type {other:?} of field {:?}", self.host);
                self.problems.error(code::UNKNOWN_TYPE, field.span_of("type"), message, Some(help));
                Transform::Direct
            }
        };
        if matches!(
            field.transform,
            Transform::Direct | Transform::Constant { .. } | Transform::Lookup { .. } | Transform::Compound | Transform::Join { .. }
        ) && field.field.is_none()
            && TYPES.contains(&kind.as_str())
            && !matches!(kind.as_str(), "computed" | "picklist" | "split")
        {
            self.missing("field", &kind);
        }
    }

    fn picklist(&mut self, default: Option<&Value>) -> PicklistConfig {
        let mut list = PicklistConfig::default();
        if self.get("mapping").is_none() {
            self.missing("mapping", "picklist");
        }
        for (key, node) in self.map("mapping") {
            if let Kind::Scalar(scalar) = &node.kind {
                list.mapping.push((key.text.clone(), scalar.value.clone()));
                list.spans.push(node.span.clone());
            } else {
                self.bad("mapping", node, "a map of single values");
            }
        }
        for (key, node) in self.map("aliases") {
            match &node.kind {
                Kind::List(items) => {
                    list.aliases.push((key.text.clone(), items.iter().filter_map(|item| item.as_text().map(str::to_owned)).collect()));
                }
                _ => list.aliases.extend(node.as_text().map(|text| (key.text.clone(), vec![text.to_owned()]))),
            }
        }
        for (key, node) in self.map("preferred") {
            list.preferred.extend(node.as_text().map(|text| (key.text.clone(), text.to_owned())));
        }
        list.ignore_case = self.choice("case", &[("sensitive", false), ("insensitive", true)]).unwrap_or_default();
        match self.get("unmapped") {
            Some(Node { kind: Kind::Map(pairs), .. }) => {
                for (key, node) in pairs {
                    match key.text.as_str() {
                        "out" => list.unmapped = self.policy(node, default),
                        "in" => list.unmapped_in = self.policy(node, default),
                        _ => self.bad("unmapped", node, "a policy, or a map with `out` and `in`"),
                    }
                }
            }
            Some(node) => {
                list.unmapped = self.policy(node, default);
                // The outbound default is a CRM value: it means nothing on the host's side.
                list.unmapped_in = if matches!(list.unmapped, Unmapped::Default(_)) { Unmapped::Error } else { list.unmapped.clone() };
            }
            None => {}
        }
        list
    }

    fn policy(&mut self, node: &Node, default: Option<&Value>) -> Unmapped {
        let text = match &node.kind {
            Kind::Scalar(scalar) if scalar.value.is_null() => "null",
            Kind::Scalar(scalar) => scalar.text.as_str(),
            _ => "",
        };
        match text {
            "error" => Unmapped::Error,
            "pass" => Unmapped::Pass,
            "drop" => Unmapped::Drop,
            "null" => Unmapped::Null,
            "default" => match default {
                Some(value) => Unmapped::Default(value.clone()),
                None => {
                    self.missing("default", "picklist with `unmapped: default`");
                    Unmapped::Error
                }
            },
            other => match other.strip_prefix("default(").and_then(|rest| rest.strip_suffix(')')) {
                Some(value) => Unmapped::Default(value.trim().trim_matches(['"', '\'']).into()),
                None => {
                    self.bad("unmapped", node, "one of error, default, default(value), pass, drop, null");
                    Unmapped::Error
                }
            },
        }
    }
}
