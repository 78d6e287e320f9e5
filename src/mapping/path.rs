//! Paths into a record: `utm.source`, `emails[0].value`, `emails[type=work].value`, `tags[]`, `"key.with.dot"`.

use std::borrow::Cow;

use serde_json::Value;

use crate::model::{Fields, Hint};

/// Steps beyond this are refused.
const MAX_STEPS: usize = 32;

/// A parsed path. A record that has the whole text as a key is read by that key, whatever the text looks like.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Path {
    /// The key of the record.
    pub(crate) root: String,
    /// The text if it is more than a key.
    whole: Option<String>,
    steps: Vec<Step>,
    /// Where a pass over a record's text notes the value.
    pub(crate) place: Option<Place>,
    hint: Hint,
}

/// The places of a path in a layout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    /// Of a key that looks like the whole path.
    pub(crate) whole: Option<usize>,
    pub(crate) slot: usize,
    /// How many steps lead to the slot; the others are walked in a tree.
    pub(crate) walked: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// All items of a list.
    All,
    /// The first item whose member has this text.
    First(String, String),
    Index(i64),
    Key(String),
}

impl Path {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text;
        let mut steps = Vec::new();
        let mut wants_key = true;
        while !rest.is_empty() {
            if steps.len() > MAX_STEPS {
                return Err(format!("the path has more than {MAX_STEPS} steps"));
            }
            if wants_key {
                let (key, after) = if let Some(quoted) = rest.strip_prefix('"') {
                    let (key, after) = quoted.split_once('"').ok_or("the path has an open quote")?;
                    (key, after)
                } else {
                    rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()))
                };
                if key.is_empty() {
                    return Err("the path has an empty step".to_owned());
                }
                steps.push(Step::Key(key.to_owned()));
                rest = after;
                wants_key = false;
            } else if let Some(after) = rest.strip_prefix('.') {
                rest = after;
                wants_key = true;
            } else if let Some(after) = rest.strip_prefix('[') {
                let (inside, after) = after.split_once(']').ok_or("the path has an open `[`")?;
                let inside = inside.trim();
                steps.push(if inside.is_empty() {
                    Step::All
                } else if let Ok(index) = inside.parse() {
                    Step::Index(index)
                } else if let Some((key, value)) = inside.split_once('=') {
                    Step::First(key.trim().to_owned(), value.trim().trim_matches(['"', '\'']).to_owned())
                } else {
                    return Err("the path has something in `[ ]` that is neither a number nor key=value".to_owned());
                });
                rest = after;
            } else {
                return Err("the path has something after `]` or a quote that is neither `.` nor `[`".to_owned());
            }
        }
        if wants_key {
            return Err("the path ends with a point or is empty".to_owned());
        }
        let mut steps = steps.into_iter();
        let Some(Step::Key(root)) = steps.next() else { return Err("the path does not start with a name".to_owned()) };
        let steps: Vec<Step> = steps.collect();
        let whole = (!steps.is_empty()).then(|| text.to_owned());
        Ok(Self { root, whole, steps, place: None, hint: Hint::default() })
    }

    /// A path that is one key, whatever it looks like.
    pub(crate) fn key(text: &str) -> Self {
        Self { root: text.to_owned(), whole: None, steps: Vec::new(), place: None, hint: Hint::default() }
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.steps.is_empty()
    }

    /// The whole text, if it is more than a key.
    pub(crate) fn whole(&self) -> Option<&str> {
        self.whole.as_deref()
    }

    /// How many steps follow the root.
    pub(crate) fn len(&self) -> usize {
        self.steps.len()
    }

    /// The keys that follow the root.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            _ => None,
        })
    }

    /// The value below the root's.
    pub(crate) fn below<'a>(&self, root: &'a Value) -> Option<Cow<'a, Value>> {
        walk(root, &self.steps)
    }

    /// True if only the record's own key and object members are walked, so that it can be written to.
    pub(crate) fn is_writable(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Step::Key(_)))
    }

    /// The value; `None` if a step is missing, null if a step on the way is null.
    pub(crate) fn get<'a>(&self, fields: &'a Fields) -> Option<Cow<'a, Value>> {
        if let Some(whole) = &self.whole
            && let Some(value) = fields.get(whole)
        {
            return Some(Cow::Borrowed(value));
        }
        walk(fields.get(&self.root)?, &self.steps)
    }

    /// Takes the value out of the record. Only for paths that are [plain](Self::is_plain).
    pub(crate) fn take(&self, fields: &mut Fields) -> Option<Value> {
        self.hint.take(fields, &self.root)
    }

    /// Sets the value, making objects on the way. Only for paths that are [writable](Self::is_writable).
    pub(crate) fn set(&self, fields: &mut Fields, value: Value) {
        let Some((last, before)) = self.steps.split_last() else {
            fields.insert(&self.root, value);
            return;
        };
        let mut root = fields.remove(&self.root).unwrap_or_default();
        let mut at = &mut root;
        for step in before {
            if let Step::Key(key) = step {
                if !at.is_object() {
                    *at = Value::Object(serde_json::Map::new());
                }
                let Value::Object(map) = at else { return };
                at = map.entry(key.as_str()).or_insert(Value::Null);
            }
        }
        if let Step::Key(key) = last {
            if !at.is_object() {
                *at = Value::Object(serde_json::Map::new());
            }
            if let Value::Object(map) = at {
                map.insert(key.clone(), value);
            }
        }
        fields.insert(&self.root, root);
    }
}

fn walk<'a>(value: &'a Value, steps: &[Step]) -> Option<Cow<'a, Value>> {
    let mut value = value;
    let mut steps = steps;
    while let Some((step, rest)) = steps.split_first() {
        if value.is_null() {
            return Some(Cow::Owned(Value::Null));
        }
        value = match step {
            Step::Key(key) => value.get(key)?,
            Step::Index(index) => {
                let items = value.as_array()?;
                let position = if *index < 0 {
                    items.len().checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?
                } else {
                    usize::try_from(*index).ok()?
                };
                items.get(position)?
            }
            Step::First(key, wanted) => {
                let is_it = |item: &&Value| match item.get(key) {
                    Some(Value::String(text)) => text == wanted,
                    Some(Value::Number(number)) => wanted.parse::<serde_json::Number>().is_ok_and(|wanted| wanted == *number),
                    Some(Value::Bool(flag)) => wanted.parse() == Ok(*flag),
                    _ => false,
                };
                value.as_array()?.iter().find(is_it)?
            }
            Step::All => {
                let items = value.as_array()?;
                let found: Vec<Value> = items.iter().filter_map(|item| walk(item, rest)).map(Cow::into_owned).collect();
                return Some(Cow::Owned(Value::Array(found)));
            }
        };
        steps = rest;
    }
    Some(Cow::Borrowed(value))
}

/// A record in whatever form: what paths are read from.
pub(crate) trait Source {
    /// The value; `None` if a step is missing, null if a step on the way is null.
    fn value(&self, path: &Path) -> Option<Cow<'_, Value>>;
}

impl Source for Fields {
    fn value(&self, path: &Path) -> Option<Cow<'_, Value>> {
        // The usual case without a detour: one look-up.
        if path.is_plain() { path.hint.get(self, &path.root).map(Cow::Borrowed) } else { path.get(self) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields() -> Fields {
        Fields::from_value(json!({
            "email": "x", "utm": {"source": "google", "empty": null}, "tags": ["a", "b", "c"], "key.with.dot": 7, "a.b": 1,
            "emails": [{"type": "home", "value": "h"}, {"type": "work", "value": "w"}], "none": null
        }))
        .unwrap()
    }

    #[test]
    fn paths_are_walked() {
        let fields = fields();
        for (path, wanted) in [
            ("email", Some(json!("x"))),
            ("utm.source", Some(json!("google"))),
            ("utm.missing", None),
            ("utm.empty.deeper", Some(Value::Null)),
            ("none.x", Some(Value::Null)),
            ("email.x", None),
            ("tags[0]", Some(json!("a"))),
            ("tags[-1]", Some(json!("c"))),
            ("tags[9]", None),
            ("tags[-9]", None),
            ("tags[]", Some(json!(["a", "b", "c"]))),
            ("emails[].value", Some(json!(["h", "w"]))),
            ("emails[type=work].value", Some(json!("w"))),
            ("emails[type=x].value", None),
            ("\"key.with.dot\"", Some(json!(7))),
            ("a.b", Some(json!(1))),
        ] {
            assert_eq!(Path::parse(path).unwrap().get(&fields).map(Cow::into_owned), wanted, "{path}");
        }
    }

    #[test]
    fn what_is_no_path() {
        for path in ["", ".", "a.", "a..b", "a[", "a[x]", "[0]", "\"a", "a[0]b"] {
            assert!(Path::parse(path).is_err(), "{path}");
        }
        assert!(Path::parse(&vec!["a"; 40].join(".")).is_err());
    }

    #[test]
    fn setting_makes_objects_and_keeps_siblings() {
        let mut fields = fields();
        Path::parse("utm.source").unwrap().set(&mut fields, json!("bing"));
        Path::parse("new.deep.er").unwrap().set(&mut fields, json!(1));
        Path::parse("email").unwrap().set(&mut fields, json!("y"));
        assert_eq!(fields.get("utm"), Some(&json!({"source": "bing", "empty": null})));
        assert_eq!(fields.get("new"), Some(&json!({"deep": {"er": 1}})));
        assert_eq!(fields.text("email"), Some("y"));
        assert!(!Path::parse("tags[0]").unwrap().is_writable());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[a-c.\\[\\]\"=0-9é-]{0,20}") {
            if let Ok(path) = Path::parse(&text) {
                let mut fields = fields();
                let _ = path.get(&fields);
                if path.is_writable() {
                    path.set(&mut fields, json!(1));
                    proptest::prop_assert!(path.get(&fields).is_some());
                }
            }
        }
    }
}
