//! A configuration as a tree that remembers where each piece stood; the same for YAML, JSON and TOML.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::document::source::Span;

/// A piece of configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key and where it stood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// A scalar with its spelling: `1.10` is the text `1.10`, whatever number it also is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) value: Value,
}

impl Scalar {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { value: Value::String(text.clone()), text }
    }

    /// A number stays one only if it is written as a number is printed: `12` and `1.5` do, `01310`, `1.10` and `+1415` are texts.
    pub(crate) fn number(number: serde_json::Number, spelling: &str) -> Self {
        let printed = number.to_string();
        if printed == spelling || spelling.is_empty() { Self { text: printed, value: Value::Number(number) } } else { Self::text(spelling) }
    }
}

impl Node {
    pub(crate) fn new(kind: Kind, span: Span) -> Self {
        Self { kind, span }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(scalar) if !scalar.value.is_null() => Some(&scalar.text),
            _ => None,
        }
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        match &self.kind {
            Kind::Scalar(scalar) => match scalar.text.as_str() {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(scalar) => scalar.value.clone(),
            Kind::List(items) => items.iter().map(Self::to_value).collect(),
            Kind::Map(pairs) => Value::Object(pairs.iter().map(|(key, node)| (key.text.clone(), node.to_value())).collect()),
        }
    }

    /// What it is, for messages.
    pub(crate) fn what(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar(scalar) if scalar.value.is_null() => "nothing",
            Kind::Scalar(_) => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }
}

/// Without places, from any format.
impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tree;

        impl<'de> Visitor<'de> for Tree {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of CRMs, their entities and their fields")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(scalar(Scalar { text: value.to_string(), value: Value::Bool(value) }))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(scalar(Scalar::number(value.into(), "")))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(scalar(Scalar::number(value.into(), "")))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
                Ok(scalar(serde_json::Number::from_f64(value).map_or_else(|| Scalar::text(value.to_string()), |n| Scalar::number(n, ""))))
            }

            fn visit_str<E>(self, value: &str) -> Result<Node, E> {
                Ok(scalar(Scalar::text(value)))
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(scalar(Scalar { text: String::new(), value: Value::Null }))
            }

            fn visit_none<E: serde::de::Error>(self) -> Result<Node, E> {
                self.visit_unit()
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
                Node::deserialize(deserializer)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Node::new(Kind::List(items), None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut pairs = Vec::new();
                while let Some(text) = map.next_key::<String>()? {
                    pairs.push((Key { text, span: None }, map.next_value()?));
                }
                Ok(Node::new(Kind::Map(pairs), None))
            }
        }

        deserializer.deserialize_any(Tree)
    }
}

fn scalar(scalar: Scalar) -> Node {
    Node::new(Kind::Scalar(scalar), None)
}
