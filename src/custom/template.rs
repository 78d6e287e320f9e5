//! Texts with names in braces.

use std::collections::BTreeMap;

use serde_json::Value;

/// A text that was cut at its placeholders. `{{` and `}}` stand for single braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Name(String),
    Text(String),
}

/// What the placeholders of one rendering stand for.
#[derive(Clone, Default)]
pub(super) struct Names<'a> {
    pub(super) of: BTreeMap<&'a str, &'a str>,
}

impl<'a> Names<'a> {
    pub(super) fn with(mut self, name: &'a str, value: &'a str) -> Self {
        self.of.insert(name, value);
        self
    }
}

impl Template {
    /// Cuts `text`.
    ///
    /// # Errors
    /// What is wrong with its braces.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(at);
            plain.push_str(before);
            if let Some(tail) = after.strip_prefix("{{").or_else(|| after.strip_prefix("}}")) {
                plain.push_str(after.get(..1).unwrap_or_default());
                rest = tail;
                continue;
            }
            let Some(inside) = after.strip_prefix('{') else {
                return Err("a closing brace has no opening one; write }} for a brace".to_owned());
            };
            let Some((name, tail)) = inside.split_once('}') else {
                return Err("an opening brace is not closed; write {{ for a brace".to_owned());
            };
            let name = name.trim();
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':')) {
                return Err(format!("{name:?} cannot be the name of a placeholder; write {{{{ for a brace"));
            }
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Name(name.to_owned()));
            rest = tail;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| if let Part::Name(name) = part { Some(name.as_str()) } else { None })
    }

    /// The text, each value run through `escape`.
    ///
    /// # Errors
    /// The name that stands for nothing, or whose value `escape` refuses.
    pub(super) fn render(&self, names: &Names<'_>, mut escape: impl FnMut(&str) -> Option<String>) -> Result<String, String> {
        self.walk(names, |_before, value| escape(value))
    }

    /// The same; `escape` is told what stands before the value.
    pub(super) fn walk(&self, names: &Names<'_>, mut escape: impl FnMut(&str, &str) -> Option<String>) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Name(name) => {
                    let value = names.of.get(name.as_str()).ok_or_else(|| name.clone())?;
                    let value = escape(&text, value).ok_or_else(|| name.clone())?;
                    text.push_str(&value);
                }
            }
        }
        Ok(text)
    }

    pub(super) fn plain(&self, names: &Names<'_>) -> Result<String, String> {
        self.render(names, |value| Some(value.to_owned()))
    }
}

/// A JSON template: texts in it are templates; a text that is one placeholder and nothing more is replaced by the JSON value of
/// that name, if there is one.
pub(super) fn fill(template: &Value, names: &Names<'_>, values: &BTreeMap<&str, &Value>) -> Result<Value, String> {
    let text = |text: &str| -> Result<Template, String> { Template::parse(text) };
    Ok(match template {
        Value::String(plain) => {
            if let Some(value) = plain.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).and_then(|name| values.get(name)) {
                return Ok((*value).clone());
            }
            Value::String(text(plain)?.plain(names)?)
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| fill(item, names, values)).collect::<Result<_, _>>()?),
        Value::Object(members) => {
            let mut object = serde_json::Map::new();
            for (key, value) in members {
                object.insert(text(key)?.plain(names)?, fill(value, names, values)?);
            }
            Value::Object(object)
        }
        other => other.clone(),
    })
}

/// Every placeholder of a JSON template.
pub(super) fn names_in(template: &Value, found: &mut impl FnMut(&str)) -> Result<(), String> {
    match template {
        Value::String(text) => Template::parse(text)?.names().for_each(found),
        Value::Array(items) => items.iter().try_for_each(|item| names_in(item, found))?,
        Value::Object(members) => {
            for (key, value) in members {
                Template::parse(key)?.names().for_each(&mut *found);
                names_in(value, found)?;
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::segment;
    use serde_json::json;

    #[test]
    fn placeholders_and_braces() {
        let template = Template::parse("/{entity}/{{x}}/{id}").unwrap();
        let names = Names::default().with("entity", "a b").with("id", "1/2");
        assert_eq!(template.render(&names, segment).unwrap(), "/a%20b/{x}/1%2F2");
        assert_eq!(template.render(&Names::default().with("entity", "x"), segment), Err("id".to_owned()));
        assert_eq!(Template::parse("/{id}").unwrap().render(&Names::default().with("id", ".."), segment), Err("id".to_owned()));
        for bad in ["{", "}", "{a b}", "{}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn json_keeps_the_type_of_a_lone_placeholder() {
        let (record, number) = (json!({"a": 1}), json!(7));
        let values = BTreeMap::from([("record", &record), ("value", &number)]);
        let names = Names::default().with("value", "7").with("field", "age");
        let filled = fill(&json!({"data": "{record}", "{field}": {"gte": "{value}", "text": "x{value}"}}), &names, &values).unwrap();
        assert_eq!(filled, json!({"data": {"a": 1}, "age": {"gte": 7, "text": "x7"}}));
    }
}
