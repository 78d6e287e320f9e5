//! A tree read into Rust values, with the place of what does not fit.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, VariantAccess, Visitor};
use serde_json::Value;

use crate::document::node::{Key, Kind, Node, Scalar};
use crate::document::source::Span;
use crate::document::suggest::did_you_mean;

/// What does not fit, and where.
#[derive(Debug)]
pub(crate) struct Misfit {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    pub(crate) span: Span,
    /// A key whose own place is better than that of the map around it.
    key: Option<String>,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Misfit {}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), help: None, span: None, key: None }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let help = did_you_mean(field, expected.iter().copied()).or_else(|| Some(format!("known keys: {}", expected.join(", "))));
        Self { message: format!("unknown key {field:?}"), help, span: None, key: Some(field.to_owned()) }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let help = did_you_mean(variant, expected.iter().copied()).or_else(|| Some(format!("known: {}", expected.join(", "))));
        Self { message: format!("unknown {variant:?}"), help, span: None, key: Some("type".to_owned()) }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { message: format!("the key {field:?} is missing"), help: None, span: None, key: None }
    }
}

impl Misfit {
    /// Fills in the place, if no deeper one is known.
    fn at(mut self, node: &Node) -> Self {
        if self.span.is_none() {
            // What is tagged by a member is read as a whole first: the key may stand deeper.
            let key = self.key.as_deref().and_then(|name| key_below(node, name));
            self.span = key.or_else(|| node.span.clone());
        }
        self
    }
}

fn key_below(node: &Node, name: &str) -> Span {
    match &node.kind {
        Kind::Map(pairs) => {
            let here = pairs.iter().find(|(key, _)| key.text == name).and_then(|(key, _)| key.span.clone());
            here.or_else(|| pairs.iter().find_map(|(_, value)| key_below(value, name)))
        }
        Kind::List(items) => items.iter().find_map(|item| key_below(item, name)),
        Kind::Scalar(_) => None,
    }
}

/// Reads `node` as `T`.
pub(crate) fn read<'de, T: de::Deserialize<'de>>(node: &'de Node) -> Result<T, Misfit> {
    T::deserialize(Tree(node)).map_err(|misfit| misfit.at(node))
}

#[derive(Clone, Copy)]
struct Tree<'a>(&'a Node);

impl<'a> Tree<'a> {
    fn scalar(self) -> Option<&'a Scalar> {
        match &self.0.kind {
            Kind::Scalar(scalar) if !scalar.value.is_null() => Some(scalar),
            _ => None,
        }
    }
}

impl<'de> Deserializer<'de> for Tree<'de> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let node = self.0;
        let outcome = match &node.kind {
            Kind::Scalar(scalar) => match &scalar.value {
                Value::Null => visitor.visit_unit(),
                Value::Bool(value) => visitor.visit_bool(*value),
                Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                    (Some(number), _) => visitor.visit_u64(number),
                    (_, Some(number)) => visitor.visit_i64(number),
                    _ => visitor.visit_f64(number.as_f64().unwrap_or_default()),
                },
                _ => visitor.visit_borrowed_str(&scalar.text),
            },
            Kind::List(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(Tree))),
            Kind::Map(pairs) => visitor.visit_map(Pairs { pairs: pairs.iter(), value: None }),
        };
        outcome.map_err(|misfit| misfit.at(node))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.0.kind {
            Kind::Scalar(scalar) if scalar.value.is_null() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    /// A text may be written without quotes even where it looks like a number or a yes.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.scalar() {
            Some(scalar) => visitor.visit_borrowed_str(&scalar.text).map_err(|misfit: Misfit| misfit.at(self.0)),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        let node = self.0;
        let outcome = match (&node.kind, self.scalar()) {
            (_, Some(scalar)) => {
                let name: StrDeserializer<'de, Misfit> = scalar.text.as_str().into_deserializer();
                visitor.visit_enum(name)
            }
            (Kind::Map(pairs), _) if pairs.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(Pairs { pairs: pairs.iter(), value: None }))
            }
            _ => Err(de::Error::custom(format!("{} stands where a single word is wanted", node.what()))),
        };
        outcome.map_err(|misfit: Misfit| misfit.at(node))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Misfit> for Tree<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

struct Pairs<'a> {
    pairs: std::slice::Iter<'a, (Key, Node)>,
    value: Option<&'a Node>,
}

impl<'de> MapAccess<'de> for Pairs<'de> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        let Some((key, value)) = self.pairs.next() else { return Ok(None) };
        self.value = Some(value);
        let name: StrDeserializer<'de, Misfit> = key.text.as_str().into_deserializer();
        let read = seed.deserialize(name).map_err(|mut misfit| {
            misfit.span = misfit.span.or_else(|| key.span.clone());
            misfit
        });
        read.map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let value = self.value.take().ok_or_else(|| de::Error::custom("a value without a key"))?;
        seed.deserialize(Tree(value)).map_err(|misfit| misfit.at(value))
    }
}

impl<'de> EnumAccess<'de> for Tree<'de> {
    type Error = Misfit;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Misfit> {
        Ok((seed.deserialize(self)?, self))
    }
}

impl<'de> VariantAccess<'de> for Tree<'de> {
    type Error = Misfit;

    fn unit_variant(self) -> Result<(), Misfit> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Misfit> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _fields: &'static [&'static str], visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_any(visitor)
    }
}

/// `over` laid upon `under`: maps are merged key by key, everything else is replaced. A key set to nothing is removed.
pub(crate) fn overlay(under: &Node, over: &Node) -> Node {
    match (&under.kind, &over.kind) {
        (Kind::Map(below), Kind::Map(above)) => {
            let mut pairs = Vec::new();
            for (key, node) in below {
                match above.iter().find(|(name, _)| name.text == key.text) {
                    None => pairs.push((key.clone(), node.clone())),
                    Some((_, top)) if is_nothing(top) => {}
                    // Members of another kind of thing (a paging of another type) are not mixed.
                    Some((name, top)) if tagged(node) != tagged(top) && tagged(top).is_some() => pairs.push((name.clone(), top.clone())),
                    Some((name, top)) => pairs.push((name.clone(), overlay(node, top))),
                }
            }
            for (key, node) in above {
                if !below.iter().any(|(name, _)| name.text == key.text) && !is_nothing(node) {
                    pairs.push((key.clone(), node.clone()));
                }
            }
            Node::new(Kind::Map(pairs), over.span.clone())
        }
        _ => over.clone(),
    }
}

fn is_nothing(node: &Node) -> bool {
    matches!(&node.kind, Kind::Scalar(scalar) if scalar.value.is_null())
}

fn tagged(node: &Node) -> Option<&str> {
    match &node.kind {
        Kind::Map(pairs) => {
            pairs.iter().find(|(key, _)| matches!(key.text.as_str(), "type" | "style")).and_then(|(_, value)| value.as_text())
        }
        _ => None,
    }
}

/// The place of the value (or, failing that, of the deepest part that exists) under `path` of keys and list positions.
pub(crate) fn place(root: &Node, path: &[&str]) -> Span {
    let mut node = root;
    let mut best = root.span.clone();
    for step in path {
        let next = match &node.kind {
            Kind::Map(pairs) => pairs.iter().find(|(key, _)| key.text == *step).map(|(key, value)| (key.span.clone(), value)),
            Kind::List(items) => step.parse::<usize>().ok().and_then(|at| items.get(at)).map(|item| (item.span.clone(), item)),
            Kind::Scalar(_) => None,
        };
        let Some((span, value)) = next else { break };
        best = match &value.kind {
            Kind::Scalar(_) => value.span.clone().or(span),
            _ => span.or_else(|| value.span.clone()),
        };
        node = value;
    }
    best
}
