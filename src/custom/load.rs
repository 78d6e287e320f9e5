//! A definition read from a text.

use std::sync::Arc;

use crate::custom::definition::Definition;
use crate::custom::validate::{SHAPE, validate};
use crate::document::diagnostic::{Diagnostics, Severity};
use crate::document::node::{Kind, Node};
use crate::document::source::Source;
use crate::document::tree::{overlay, read};
use crate::error::{Error, ErrorKind, Result};

impl Definition {
    /// Reads and checks a definition in YAML. `origin` names the text in messages: a file name.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with the first problem's place; its source lists all of them ([`crate::mapping::Diagnostics`]).
    #[cfg(feature = "yaml")]
    pub fn from_yaml(text: &str, origin: &str) -> Result<Self> {
        Self::from_tree(text, origin, crate::document::read::yaml)
    }

    /// Reads and checks a definition in JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with the first problem's place; its source lists all of them ([`crate::mapping::Diagnostics`]).
    pub fn from_json(text: &str, origin: &str) -> Result<Self> {
        Self::from_tree(text, origin, crate::document::read::json)
    }

    /// Reads and checks a definition in TOML.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with the first problem's place; its source lists all of them ([`crate::mapping::Diagnostics`]).
    #[cfg(feature = "toml")]
    pub fn from_toml(text: &str, origin: &str) -> Result<Self> {
        Self::from_tree(text, origin, crate::document::read::toml)
    }

    /// The JSON Schema of definitions, for editors.
    #[cfg(feature = "json-schema")]
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(Definition).into()
    }

    fn from_tree(text: &str, origin: &str, parse: fn(&mut Diagnostics) -> Option<Node>) -> Result<Self> {
        let mut problems = Diagnostics::new(Arc::new(Source::new(origin, text)));
        let Some(tree) = parse(&mut problems) else { return Err(unusable(problems)) };
        duplicates(&tree, &mut problems);
        if problems.has_errors() {
            return Err(unusable(problems));
        }
        let merged = merge_defaults(&tree);
        match read::<Self>(&merged) {
            Ok(definition) => {
                validate(&definition, &merged, &mut problems);
                let verdict = problems.verdict();
                verdict.map(|_warnings| definition).map_err(unusable)
            }
            Err(misfit) => {
                problems.error(SHAPE, &misfit.span, misfit.message, misfit.help);
                Err(unusable(problems))
            }
        }
    }
}

/// YAML is read with its duplicate keys, so that both are known.
fn duplicates(node: &Node, problems: &mut Diagnostics) {
    match &node.kind {
        Kind::Map(pairs) => {
            for (at, (key, value)) in pairs.iter().enumerate() {
                if pairs.iter().take(at).any(|(earlier, _)| earlier.text == key.text) {
                    let message = format!("the key {:?} occurs twice", key.text);
                    problems.error(SHAPE, &key.span, message, Some("keep one of the two entries".to_owned()));
                }
                duplicates(value, problems);
            }
        }
        Kind::List(items) => items.iter().for_each(|item| duplicates(item, problems)),
        Kind::Scalar(_) => {}
    }
}

/// Lays each entity upon the defaults.
fn merge_defaults(tree: &Node) -> Node {
    let mut merged = tree.clone();
    let Kind::Map(pairs) = &mut merged.kind else { return merged };
    let defaults = pairs.iter().find(|(key, _)| key.text == "defaults").map(|(_, value)| value.clone());
    let entities = pairs.iter_mut().find(|(key, _)| key.text == "entities").map(|(_, value)| &mut value.kind);
    if let (Some(defaults), Some(Kind::Map(entities))) = (defaults, entities) {
        for (_, entity) in entities {
            // An entity that says nothing of its own is written as a bare key.
            let bare = matches!(&entity.kind, Kind::Scalar(scalar) if scalar.value.is_null());
            *entity = if bare { defaults.clone() } else { overlay(&defaults, entity) };
        }
    }
    merged
}

fn unusable(mut problems: Diagnostics) -> Error {
    problems.sort();
    let errors: Vec<_> = problems.iter().filter(|item| item.severity == Severity::Error).collect();
    let first = errors.first().map_or_else(String::new, |first| {
        let help = first.help.first().map_or_else(String::new, |help| format!(" ({help})"));
        format!(": {}:{}:{}: [{}] {}{help}", first.origin, first.line, first.column, first.code, first.message)
    });
    let more = if errors.len() > 1 { format!(" and {} more", errors.len() - 1) } else { String::new() };
    Error::new(ErrorKind::Config, format!("the definition is not usable{first}{more}")).with_source(problems)
}
