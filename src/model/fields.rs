//! Rows with shared keys.
//!
//! The rows of one page or file have the same field names in the same order. They share one [`Shape`] (the names), and each
//! row is only a slice of values; a row that gains a key of its own gets a shape of its own. Reading 100,000 records of 20
//! fields this way takes a third of the time of a map per record.
//!
//! A field is *absent*, *null*, or has a value; the three are kept apart everywhere. Wherever order can be seen (JSON, hashes,
//! iteration) it is the order of the names, so that it does not depend on how a row was made.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::error::{Error, Result};

/// The names of a row's fields, shared by all rows that look alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// In the order of arrival.
    names: Vec<Arc<str>>,
    /// Positions in `names`, sorted by name.
    sorted: Vec<u32>,
    /// A name has a dot in it.
    dotted: bool,
}

impl Shape {
    /// A shape of `names`; a repeated name counts once.
    pub fn new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Arc<Self> {
        let mut shape = Self::default();
        for name in names {
            shape.add(name.as_ref());
        }
        Arc::new(shape)
    }

    /// How many names.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The names in the order of arrival.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }

    /// The position of `name`.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.search(name).ok().and_then(|at| self.sorted.get(at)).map(|at| *at as usize)
    }

    /// Position and name, in the order of the names: the order in which fields are serialised.
    pub(crate) fn by_name(&self) -> impl Iterator<Item = (usize, &str)> {
        self.sorted.iter().map(|at| (*at as usize, self.name(*at as usize)))
    }

    /// True if a name may be a path: it has a dot.
    #[cfg_attr(not(feature = "salesforce"), allow(dead_code, reason = "only paths into related records have dots"))]
    pub(crate) fn is_dotted(&self) -> bool {
        self.dotted
    }

    /// True if `name` stands at `position`.
    pub(crate) fn is_at(&self, position: usize, name: &str) -> bool {
        self.names.get(position).is_some_and(|known| **known == *name)
    }

    fn name(&self, position: usize) -> &str {
        self.names.get(position).map_or("", AsRef::as_ref)
    }

    fn search(&self, name: &str) -> Result<usize, usize> {
        self.sorted.binary_search_by(|at| self.name(*at as usize).cmp(name))
    }

    fn add(&mut self, name: &str) -> usize {
        match self.search(name) {
            Ok(at) => self.sorted.get(at).map_or(0, |at| *at as usize),
            Err(at) => {
                let position = self.names.len();
                self.names.push(Arc::from(name));
                self.dotted |= name.contains('.');
                self.sorted.insert(at, u32::try_from(position).unwrap_or(u32::MAX));
                position
            }
        }
    }
}

/// The fields of a record: an ordered map from field name to JSON value.
#[derive(Clone, Default)]
pub struct Fields {
    shape: Arc<Shape>,
    /// One slot per name of the shape; `None` is absent. May be shorter than the shape.
    values: Vec<Option<Value>>,
}

impl Fields {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// No fields yet, of a known shape: setting them allocates no name.
    pub fn with_shape(shape: Arc<Shape>) -> Self {
        let values = Vec::with_capacity(shape.len());
        Self { shape, values }
    }

    /// A row of `shape` from its values, in the shape's order; `None` is absent. Surplus values are dropped.
    pub fn from_values(shape: Arc<Shape>, mut values: Vec<Option<Value>>) -> Self {
        values.truncate(shape.len());
        Self { shape, values }
    }

    /// The shape.
    pub fn shape(&self) -> &Arc<Shape> {
        &self.shape
    }

    /// How many fields are present.
    pub fn len(&self) -> usize {
        self.values.iter().flatten().count()
    }

    /// True if none is present.
    pub fn is_empty(&self) -> bool {
        self.values.iter().flatten().next().is_none()
    }

    /// The value of `name`; `None` if absent.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.at(self.shape.position(name)?)
    }

    /// The value at a position of the shape.
    pub fn at(&self, position: usize) -> Option<&Value> {
        self.values.get(position)?.as_ref()
    }

    /// The text of `name`, if it is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// True if `name` is present, null or not.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Sets `name`; returns what was there.
    pub fn insert(&mut self, name: impl AsRef<str>, value: impl Into<Value>) -> Option<Value> {
        let name = name.as_ref();
        let position = match self.shape.position(name) {
            Some(position) => position,
            None => Arc::make_mut(&mut self.shape).add(name),
        };
        self.set(position, Some(value.into()))
    }

    /// Takes out what stands at a position of the shape.
    pub(crate) fn take(&mut self, position: usize) -> Option<Value> {
        self.values.get_mut(position)?.take()
    }

    /// Removes `name`; returns what was there.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let position = self.shape.position(name)?;
        self.values.get_mut(position)?.take()
    }

    /// Sets the slot at a position of the shape; a position outside it changes nothing.
    pub fn set(&mut self, position: usize, value: Option<Value>) -> Option<Value> {
        if position >= self.shape.len() {
            return None;
        }
        if position >= self.values.len() {
            self.values.resize(position + 1, None);
        }
        self.values.get_mut(position).and_then(|slot| std::mem::replace(slot, value))
    }

    /// Present fields, in the order of their names.
    pub fn iter(&self) -> FieldsIter<'_> {
        FieldsIter { fields: self, next: 0 }
    }

    /// Names of the present fields, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(name, _)| name)
    }

    /// Takes over every field of `other`.
    pub fn merge(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        for (position, value) in other.values.into_iter().enumerate() {
            if let Some(value) = value {
                self.insert(other.shape.name(position), value);
            }
        }
    }

    /// Keeps the fields `keep` says yes to.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &Value) -> bool) {
        for (position, slot) in self.values.iter_mut().enumerate() {
            if let Some(value) = slot
                && !keep(self.shape.name(position), value)
            {
                *slot = None;
            }
        }
    }

    /// As a JSON object.
    pub fn to_value(&self) -> Value {
        Value::Object(self.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect())
    }

    /// From a JSON object.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Decode`] if `value` is not an object.
    pub fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(map.into_iter().collect()),
            other => Err(Error::decode(format!("expected an object of fields, found {}", kind_of(&other)))),
        }
    }

    /// As a type of the host's.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Decode`] naming what does not fit; the value itself is not shown.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(self.to_value()).map_err(|error| {
            // serde_json's message may quote the value; its category does not.
            Error::decode(format!("the fields do not fit the type asked for ({:?} error)", error.classify()))
        })
    }

    /// From a type of the host's, which must serialise as an object.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Decode`] if it does not.
    pub fn from_typed<T: Serialize>(value: &T) -> Result<Self> {
        let value =
            serde_json::to_value(value).map_err(|error| Error::decode(format!("the value does not serialise: {:?}", error.classify())))?;
        Self::from_value(value)
    }
}

/// The JSON kind of a value, for messages that must not show it.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Iterator of [`Fields::iter`].
#[derive(Debug)]
pub struct FieldsIter<'a> {
    fields: &'a Fields,
    next: usize,
}

impl<'a> Iterator for FieldsIter<'a> {
    type Item = (&'a str, &'a Value);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let position = *self.fields.shape.sorted.get(self.next)? as usize;
            self.next += 1;
            if let Some(value) = self.fields.at(position) {
                return Some((self.fields.shape.name(position), value));
            }
        }
    }
}

impl<'a> IntoIterator for &'a Fields {
    type Item = (&'a str, &'a Value);
    type IntoIter = FieldsIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<N: AsRef<str>, V: Into<Value>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut fields = Self::new();
        for (name, value) in pairs {
            fields.insert(name, value);
        }
        fields
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.shape, &other.shape) {
            let longest = self.values.len().max(other.values.len());
            return (0..longest).all(|position| self.at(position) == other.at(position));
        }
        self.iter().eq(other.iter())
    }
}

/// Names only: a value may be personal.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fields")?;
        f.debug_set().entries(self.names()).finish()
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        FieldsSeed { cache: &mut ShapeCache::default() }.deserialize(deserializer)
    }
}

/// Remembers the last row's shape, so that the next row can share it.
#[derive(Clone, Debug, Default)]
pub struct ShapeCache {
    last: Option<Arc<Shape>>,
    /// Names that are left out of every row.
    pub skip: Vec<&'static str>,
    /// An object whose members are taken as the row's own.
    flat: Option<&'static str>,
}

impl ShapeCache {
    /// A cache that leaves `skip` (e.g. Salesforce's `attributes`) out of every row.
    pub fn skipping(skip: &[&'static str]) -> Self {
        Self { skip: skip.to_vec(), ..Self::default() }
    }

    /// A cache that takes the members of the object `name` (e.g. Pipedrive's `custom_fields`) as the row's own.
    #[must_use]
    pub fn flattening(name: &'static str) -> Self {
        Self { flat: Some(name), ..Self::default() }
    }
}

/// Decodes one row and shares its shape with the rows before it.
#[derive(Debug)]
pub struct FieldsSeed<'a> {
    /// The rows before.
    pub cache: &'a mut ShapeCache,
}

impl<'de> DeserializeSeed<'de> for FieldsSeed<'_> {
    type Value = Fields;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fields, D::Error> {
        deserializer.deserialize_map(self)
    }
}

/// What the next key of a row turned out to be.
enum Key {
    At(usize),
    Flat,
    New(String),
    Skip,
}

struct KeySeed<'a> {
    shape: &'a Shape,
    expected: usize,
    skip: &'a [&'static str],
    flat: Option<&'static str>,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Key, E> {
        // Rows of one page repeat their keys in order: one comparison is the common case.
        if self.shape.names.get(self.expected).is_some_and(|expected| **expected == *name) {
            return Ok(Key::At(self.expected));
        }
        if self.skip.contains(&name) {
            return Ok(Key::Skip);
        }
        if self.flat == Some(name) {
            return Ok(Key::Flat);
        }
        Ok(self.shape.position(name).map_or_else(|| Key::New(name.to_owned()), Key::At))
    }
}

impl<'de> Visitor<'de> for FieldsSeed<'_> {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::with_shape(self.cache.last.clone().unwrap_or_default());
        let mut members = Members { fields: &mut fields, expected: 0, skip: &self.cache.skip, flat: self.cache.flat };
        members.take(map)?;
        self.cache.last = Some(Arc::clone(&fields.shape));
        Ok(fields)
    }
}

/// Members of an object, on their way into a row.
struct Members<'a> {
    fields: &'a mut Fields,
    /// The position of the name that probably comes next.
    expected: usize,
    skip: &'a [&'static str],
    flat: Option<&'static str>,
}

impl Members<'_> {
    fn take<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> Result<(), A::Error> {
        loop {
            let seed = KeySeed { shape: &self.fields.shape, expected: self.expected, skip: self.skip, flat: self.flat };
            match map.next_key_seed(seed)? {
                None => return Ok(()),
                Some(Key::Skip) => {
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
                Some(Key::Flat) => {
                    let inner = Members { fields: self.fields, expected: self.expected, skip: &[], flat: None };
                    self.expected = map.next_value_seed(inner)?;
                }
                Some(Key::At(position)) => {
                    let value = map.next_value()?;
                    if position == self.fields.values.len() {
                        self.fields.values.push(Some(value));
                    } else {
                        self.fields.set(position, Some(value));
                    }
                    self.expected = position + 1;
                }
                Some(Key::New(name)) => {
                    let value: Value = map.next_value()?;
                    self.fields.insert(name, value);
                    self.expected = self.fields.shape.len();
                }
            }
        }
    }
}

/// The object inside, or null; the position that is expected after it.
impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of fields, or null")
    }

    fn visit_unit<E>(self) -> Result<usize, E> {
        Ok(self.expected)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<usize, A::Error> {
        self.take(map)?;
        Ok(self.expected)
    }

    /// PHP writes an empty object as an empty list.
    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<usize, A::Error> {
        match items.next_element::<serde::de::IgnoredAny>()? {
            None => Ok(self.expected),
            Some(_) => Err(serde::de::Error::invalid_type(serde::de::Unexpected::Seq, &"an object of fields, or null")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn absent_null_and_value_are_three_things() {
        let fields: Fields = serde_json::from_value(json!({"b": null, "a": 1})).unwrap();
        assert_eq!(fields.get("a"), Some(&json!(1)));
        assert_eq!(fields.get("b"), Some(&Value::Null));
        assert_eq!(fields.get("c"), None);
        assert_eq!(fields.len(), 2);
        assert_eq!(fields.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(serde_json::to_string(&fields).unwrap(), r#"{"a":1,"b":null}"#);
    }

    #[test]
    fn rows_share_their_shape_and_skip_what_is_not_data() {
        let mut cache = ShapeCache::skipping(&["attributes"]);
        let mut row = |text: &str| {
            let mut de = serde_json::Deserializer::from_str(text);
            FieldsSeed { cache: &mut cache }.deserialize(&mut de).unwrap()
        };
        let a = row(r#"{"attributes":{"type":"Lead"},"Id":"1","Name":"x"}"#);
        let b = row(r#"{"attributes":{"type":"Lead"},"Id":"2","Name":null}"#);
        let c = row(r#"{"Name":"only","Id":"3"}"#);
        let d = row(r#"{"Id":"4","Extra":true}"#);
        assert!(Arc::ptr_eq(a.shape(), b.shape()) && Arc::ptr_eq(b.shape(), c.shape()));
        assert_eq!(a.to_value(), json!({"Id": "1", "Name": "x"}));
        assert_eq!(c.to_value(), json!({"Id": "3", "Name": "only"}));
        assert_eq!(d.to_value(), json!({"Id": "4", "Extra": true}));
    }

    #[test]
    fn the_members_of_an_object_may_be_the_rows_own() {
        let mut cache = ShapeCache::flattening("more");
        let mut row = |text: &str| FieldsSeed { cache: &mut cache }.deserialize(&mut serde_json::Deserializer::from_str(text)).unwrap();
        let a = row(r#"{"id":1,"more":{"x":2,"more":3},"y":4}"#);
        let b = row(r#"{"id":5,"more":{"x":6,"more":7},"y":8}"#);
        assert!(Arc::ptr_eq(a.shape(), b.shape()));
        assert_eq!(a.to_value(), json!({"id": 1, "x": 2, "more": 3, "y": 4}));
        assert_eq!(row(r#"{"id":1,"more":null,"y":2}"#).to_value(), json!({"id": 1, "y": 2}));
        assert_eq!(row(r#"{"more":[],"y":2}"#).to_value(), json!({"y": 2}));
    }

    #[test]
    fn equality_does_not_look_at_how_a_row_was_made() {
        let a: Fields = [("x", 1), ("y", 2)].into_iter().collect();
        let mut b: Fields = [("y", 2), ("z", 3), ("x", 1)].into_iter().collect();
        assert_ne!(a, b);
        b.remove("z");
        assert_eq!(a, b);
    }

    #[test]
    fn debug_shows_names_only() {
        let fields: Fields = [("Email", "secret@example.com")].into_iter().collect();
        assert_eq!(format!("{fields:?}"), r#"Fields{"Email"}"#);
    }

    proptest::proptest! {
        #[test]
        fn behaves_like_a_map(ops in proptest::collection::vec(("[a-f]", proptest::option::of(0i32..5)), 0..40)) {
            let mut fields = Fields::new();
            let mut model = std::collections::BTreeMap::new();
            for (name, value) in ops {
                match value {
                    Some(value) => {
                        fields.insert(&name, value);
                        model.insert(name, value);
                    }
                    None => {
                        proptest::prop_assert_eq!(fields.remove(&name), model.remove(&name).map(Value::from));
                    }
                }
            }
            let seen: Vec<_> = fields.iter().map(|(name, value)| (name.to_owned(), value.as_i64())).collect();
            let wanted: Vec<_> = model.into_iter().map(|(name, value)| (name, Some(i64::from(value)))).collect();
            proptest::prop_assert_eq!(seen, wanted);
        }
    }
}
