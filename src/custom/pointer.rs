//! Places in a JSON answer.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where something stands in a JSON answer: one path, or several of which the first that is there counts.
///
/// A path is a JSON pointer (`/data/items/0`) or names with dots between them (`data.items.0`); the empty text is the answer as
/// a whole. `fields[id=12].value` goes through the entry of a list whose `id` is 12.
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

/// One step of a path.
#[derive(Debug, PartialEq)]
enum Step<'a> {
    Name(&'a str),
    /// The entry of a list whose member `.0` is `.1`.
    Where(&'a str, &'a str),
}

/// The steps of a path with dots: `fields[id=12].value` is `fields`, the entry whose `id` is 12, `value`.
fn steps(path: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut rest = path;
    loop {
        let inside = rest.find('[').filter(|open| !rest.get(..*open).is_some_and(|name| name.contains('.')));
        let selected = inside.and_then(|open| {
            let close = open + rest.get(open..)?.find(']')?;
            let (key, value) = rest.get(open + 1..close)?.split_once('=')?;
            let after = rest.get(close + 1..)?;
            let ends = after.is_empty() || after.starts_with(['.', '[']);
            (ends && !key.is_empty()).then_some((rest.get(..open)?, key, value, after))
        });
        match selected {
            Some((name, key, value, after)) => {
                if !name.is_empty() {
                    steps.push(Step::Name(name));
                }
                steps.push(Step::Where(key, value));
                if after.is_empty() {
                    return steps;
                }
                rest = after.strip_prefix('.').unwrap_or(after);
            }
            None => match rest.split_once('.') {
                Some((name, after)) => {
                    steps.push(Step::Name(name));
                    rest = after;
                }
                None => {
                    steps.push(Step::Name(rest));
                    return steps;
                }
            },
        }
    }
}

fn is_entry(item: &Value, key: &str, value: &str) -> bool {
    item.get(key).and_then(plain).is_some_and(|text| text == value)
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
    steps(path).into_iter().try_fold(value, |value, step| match (value, step) {
        (Value::Array(items), Step::Name(name)) => items.get(name.parse::<usize>().ok()?),
        (Value::Array(items), Step::Where(key, wanted)) => items.iter().find(|item| is_entry(item, key, wanted)),
        (other, Step::Name(name)) => other.get(name),
        (_, Step::Where(..)) => None,
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
    steps(path).into_iter().try_fold(value, |value, step| match (value, step) {
        (Value::Array(items), Step::Name(name)) => items.get_mut(name.parse::<usize>().ok()?),
        (Value::Array(items), Step::Where(key, wanted)) => items.iter_mut().find(|item| is_entry(item, key, wanted)),
        (other, Step::Name(name)) => other.get_mut(name),
        (_, Step::Where(..)) => None,
    })
}

/// The longest list that is made for a step that is a number.
const LONGEST_LIST: usize = 100;

/// Puts `item` at one path, making the objects and lists that are missing; a step that is a number makes a list. `None` if
/// something else stands in the way.
pub(super) fn put(value: &mut Value, path: &str, item: Value) -> Option<()> {
    let names: Vec<String>;
    let steps = match path.strip_prefix('/') {
        Some(pointer) => {
            names = pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
            names.iter().map(|name| Step::Name(name)).collect()
        }
        None if path.is_empty() => Vec::new(),
        None => steps(path),
    };
    let mut place = value;
    for step in steps {
        place = match step {
            Step::Name(name) => {
                let position = name.parse::<usize>().ok().filter(|at| *at < LONGEST_LIST);
                if place.is_null() {
                    *place = if position.is_some() { Value::Array(Vec::new()) } else { Value::Object(serde_json::Map::new()) };
                }
                match (place, position) {
                    (Value::Array(items), Some(at)) => {
                        if items.len() <= at {
                            items.resize(at + 1, Value::Null);
                        }
                        items.get_mut(at)?
                    }
                    (Value::Object(members), _) => members.entry(name).or_insert(Value::Null),
                    _ => return None,
                }
            }
            Step::Where(key, wanted) => {
                if place.is_null() {
                    *place = Value::Array(Vec::new());
                }
                let items = place.as_array_mut()?;
                let at = items.iter().position(|item| is_entry(item, key, wanted)).unwrap_or_else(|| {
                    // A number stays one only if it is written as numbers are.
                    let number = wanted.parse::<u64>().ok().filter(|number| number.to_string() == wanted);
                    let mark = number.map_or_else(|| Value::from(wanted), Value::from);
                    items.push(Value::Object(std::iter::once((key.to_owned(), mark)).collect()));
                    items.len() - 1
                });
                items.get_mut(at)?
            }
        };
    }
    *place = item;
    Some(())
}

/// The member that tells the entries of a list apart, for each list the path goes through.
pub(super) fn selectors(path: &str) -> impl Iterator<Item = &str> {
    let steps = if path.starts_with('/') { Vec::new() } else { steps(path) };
    steps.into_iter().filter_map(|step| if let Step::Where(key, _) = step { Some(key) } else { None })
}

/// The name of the top-level member a path begins with.
pub(super) fn top(path: &str) -> &str {
    match path.strip_prefix('/') {
        Some(pointer) => pointer.split('/').next().unwrap_or(pointer),
        None => match steps(path).first() {
            Some(Step::Name(name)) => name,
            _ => path,
        },
    }
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
    path.is_empty() || path.starts_with('/') || !steps(path).contains(&Step::Name(""))
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

    #[test]
    fn lists_by_position_and_by_a_member() {
        let mut value = Value::Null;
        put(&mut value, "emails.0.email", json!("a@b.c")).unwrap();
        put(&mut value, "emails.0.kind", json!("work")).unwrap();
        put(&mut value, "more[id=12].value", json!("x")).unwrap();
        put(&mut value, "more[id=12].note", json!("y")).unwrap();
        put(&mut value, "more[name=a.b].value", json!("w")).unwrap();
        assert_eq!(value["emails"], json!([{"email": "a@b.c", "kind": "work"}]));
        assert_eq!(value["more"][0], json!({"id": 12, "value": "x", "note": "y"}));
        assert_eq!(at(&value, "more[id=12].value"), Some(&json!("x")));
        assert_eq!(at(&value, "more[name=a.b].value"), Some(&json!("w")));
        assert_eq!((at(&value, "more[id=13].value"), at(&value, "emails[id=1]")), (None, None));
        assert_eq!(at(&json!([{"k": "v", "x": 1}]), "[k=v].x"), Some(&json!(1)));
        assert_eq!(selectors("more[id=12].value").collect::<Vec<_>>(), ["id"]);
        assert_eq!((top("more[id=12].value"), top("/a~1b/c"), top("a.b")), ("more", "a~1b", "a"));
        // What only looks like one is a name.
        assert_eq!(at(&json!({"a[b]": 1}), "a[b]"), Some(&json!(1)));
        assert!(valid("a[id=1].b") && !valid("a[id=1]..b") && !valid("a[id=1]."));
        assert_eq!(put(&mut value, "emails.5000.email", json!(1)), None);
        // An object with numbers for names stays one.
        let mut numbered = json!({"2": {}});
        put(&mut numbered, "2.x", json!(1)).unwrap();
        assert_eq!(numbered, json!({"2": {"x": 1}}));
    }
}
