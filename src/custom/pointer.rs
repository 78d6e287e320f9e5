//! Places in a JSON answer.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where something stands in a JSON answer: one path, or several of which the first that is there counts.
///
/// A path is a JSON pointer (`/data/items/0`) or names with dots between them (`data.items.0`); the empty text is the answer as
/// a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Paths {
    /// One path.
    One(String),
    /// The first that is there.
    First(Vec<String>),
}

impl Default for Paths {
    fn default() -> Self {
        Self::One(String::new())
    }
}

impl From<&str> for Paths {
    fn from(path: &str) -> Self {
        Self::One(path.to_owned())
    }
}

impl Paths {
    pub(super) fn all(&self) -> &[String] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::First(paths) => paths,
        }
    }

    /// The first that is there and not null.
    pub(super) fn find<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.all().iter().filter_map(|path| at(value, path)).find(|value| !value.is_null())
    }

    /// A text or number, as text.
    pub(super) fn text(&self, value: &Value) -> Option<String> {
        self.find(value).and_then(plain)
    }

    /// A whole number, also if written as text.
    pub(super) fn number(&self, value: &Value) -> Option<u64> {
        match self.find(value)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    pub(super) fn told(&self) -> String {
        self.all().join(" or ")
    }
}

/// What stands at one path.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    if path.is_empty() || path.starts_with('/') {
        return value.pointer(path);
    }
    // A name with a dot in it is itself before it is a way down.
    if let Some(found) = value.get(path) {
        return Some(found);
    }
    path.split('.').try_fold(value, |value, step| match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        other => other.get(step),
    })
}

/// What stands at one path, to be changed.
pub(super) fn at_mut<'a>(value: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    if path.is_empty() || path.starts_with('/') {
        return value.pointer_mut(path);
    }
    if value.get(path).is_some() {
        return value.get_mut(path);
    }
    path.split('.').try_fold(value, |value, step| match value {
        Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
        other => other.get_mut(step),
    })
}

/// Puts `item` at one path of objects, making those that are missing. `None` if something else stands in the way.
pub(super) fn put(value: &mut Value, path: &str, item: Value) -> Option<()> {
    let steps: Vec<String> = match path.strip_prefix('/') {
        Some(pointer) => pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect(),
        None if path.is_empty() => Vec::new(),
        None => path.split('.').map(ToOwned::to_owned).collect(),
    };
    let mut place = value;
    for step in steps {
        if place.is_null() {
            *place = Value::Object(serde_json::Map::new());
        }
        place = place.as_object_mut()?.entry(step).or_insert(Value::Null);
    }
    *place = item;
    Some(())
}

/// A text or number, as text.
pub(super) fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// True if the text can be a path.
pub(super) fn valid(path: &str) -> bool {
    path.is_empty() || path.starts_with('/') || !path.split('.').any(str::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_spellings_and_the_first_that_is_there() {
        let value = json!({"data": {"items": [{"id": 7}], "a.b": 1, "none": null}});
        assert_eq!(at(&value, "data.items.0.id"), Some(&json!(7)));
        assert_eq!(at(&value, "/data/items/0/id"), Some(&json!(7)));
        assert_eq!(at(&value["data"], "a.b"), Some(&json!(1)));
        let paths: Paths = serde_json::from_value(json!(["data.none", "data.missing", "data.items.0.id"])).unwrap();
        assert_eq!(paths.text(&value).as_deref(), Some("7"));
        assert_eq!(Paths::default().find(&value), Some(&value));
        assert!(valid("a.b") && valid("/a//b") && !valid("a..b") && !valid(".a"));
    }

    #[test]
    fn a_path_is_made_where_it_is_missing() {
        let mut value = Value::Null;
        put(&mut value, "data.address.city", json!("Paris")).unwrap();
        put(&mut value, "/data/x~1y", json!(1)).unwrap();
        assert_eq!(value, json!({"data": {"address": {"city": "Paris"}, "x/y": 1}}));
        assert_eq!(put(&mut value, "data.address.city.name", json!(1)), None);
    }
}
