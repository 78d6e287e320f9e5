//! Conditions in the API's own words.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::custom::pointer::plain;
use crate::custom::template::{Names, Template, fill};
use crate::error::{Error, ErrorKind, Result};
use crate::query::{Criteria, Operator};

/// How conditions are said.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FilterSpec {
    /// The form.
    pub style: FilterStyle,
    /// Where the document goes, for `json` and `query`. Default: the body of a POST, else the parameter `q`.
    pub target: Option<FilterTarget>,
    /// The document is sent in base64.
    pub base64: bool,
    /// How each operator is said. `params`: the name of the parameter (`{field}`, `{field}_gte`, `min_{field}`,
    /// `filter[{field}][_eq]`), or `{"name": …, "value": …}`; `json`: a piece of JSON with `{field}` and `{value}`; `query`: a text
    /// with `{field}` and `{value}`, or `{literal}`, which puts texts in quotes and leaves numbers and booleans bare. An operator
    /// that is missing cannot be said.
    #[cfg_attr(feature = "json-schema", schemars(schema_with = "operators"))]
    pub operators: BTreeMap<OperatorName, Value>,
    /// How parts are tied by AND. `params` always can.
    pub and: Option<Combine>,
    /// The whole document of a `json` filter, with `{parts}`: the list of what is tied by AND, also if there is only one.
    pub document: Option<Value>,
    /// How parts are tied by OR.
    pub or: Option<Combine>,
    /// How a part is turned around: a template with `{part}`.
    pub not: Option<Value>,
    /// Characters of a value that need `escape_with` before them in a `query`. Default: the quote and `\`.
    pub escape: Option<String>,
    /// What is put before them. Default: `\`; a doubled quote is `'` here and under `escape`.
    pub escape_with: Option<String>,
    /// The quote around texts of a `{literal}`. Default: `"`.
    pub quote: Option<String>,
    /// Values of `params` are written as JSON, texts in quotes: for APIs that would read a number into a text of digits.
    pub json_values: bool,
    /// The API tells upper from lower case. Said in [`Capabilities::search_case_sensitive`](crate::adapter::Capabilities::search_case_sensitive).
    pub case_sensitive: bool,
    /// Values of an IN list are joined by this; without it the parameter is repeated. Default: a comma.
    pub join: Option<String>,
    /// The API finds more than was asked for (a fuzzy search): what comes back is compared once more here.
    pub recheck: bool,
    /// The most values in one IN list.
    pub max_in: Option<usize>,
}

/// The keys of a map are checked by editors too.
#[cfg(feature = "json-schema")]
fn operators(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let names = generator.subschema_for::<OperatorName>();
    schemars::json_schema!({"type": "object", "propertyNames": names})
}

/// The form of conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FilterStyle {
    /// A JSON document.
    Json,
    /// The API cannot filter.
    #[default]
    None,
    /// One query parameter for each comparison.
    Params,
    /// A text in the API's query language.
    Query,
}

/// Where a document of conditions goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FilterTarget {
    /// A member of the body; the empty text is the body itself.
    Body(String),
    /// A query parameter.
    Param(String),
}

/// An operator of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OperatorName {
    /// Contains a text.
    Contains,
    /// Equal.
    Eq,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// One of a list.
    In,
    /// Empty.
    IsNull,
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
    /// Not equal.
    Ne,
    /// Not empty.
    NotNull,
    /// Starts with a text.
    StartsWith,
}

/// How parts are tied together.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Combine {
    /// `json`: the word `merge` lays the parts over each other in one object; `query`: the text between them, e.g. ` AND `, or a
    /// function of them, e.g. `AND({parts})`.
    Word(String),
    /// `json`: a template with `{parts}`, e.g. `{"$and": "{parts}"}`.
    Template(Value),
}

/// Conditions, lowered.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Lowered {
    pub(super) params: Vec<(String, String)>,
    pub(super) document: Option<(FilterTarget, Value)>,
    /// What has to be compared here.
    pub(super) residual: Option<Criteria>,
}

/// What the API calls a field, and how it writes a value of it.
pub(super) trait Wire {
    fn name(&self, field: &str) -> String;
    fn value(&self, field: &str, value: &Value) -> Result<Value>;
}

impl FilterSpec {
    /// The same condition with several `=` and IN of one field as one; `None` if nothing can match it. Most APIs cannot be asked
    /// for the same field twice.
    pub(super) fn simplified(&self, criteria: &Criteria) -> Option<Criteria> {
        let Criteria::All(parts) = criteria else { return Some(criteria.clone()) };
        let same = |a: &Value, b: &Value| match (a, b) {
            (Value::String(a), Value::String(b)) if !self.case_sensitive => a.to_lowercase() == b.to_lowercase(),
            (a, b) => a == b || plain(a).is_some_and(|text| plain(b) == Some(text)),
        };
        let mut kept: Vec<Criteria> = Vec::with_capacity(parts.len());
        let mut lists: Vec<(&str, Vec<Value>)> = Vec::new();
        for part in parts {
            let (field, values) = match part {
                Criteria::Compare { field, op: Operator::Eq, value } => (field.as_str(), std::slice::from_ref(value)),
                Criteria::In { field, values } => (field.as_str(), values.as_slice()),
                other => {
                    kept.push(other.clone());
                    continue;
                }
            };
            match lists.iter_mut().find(|(known, _)| *known == field) {
                Some((_, known)) => known.retain(|value| values.iter().any(|other| same(value, other))),
                None => lists.push((field, values.to_vec())),
            }
        }
        for (field, mut values) in lists {
            match values.len() {
                0 => return None,
                1 => kept.push(Criteria::eq(field, values.swap_remove(0))),
                _ => kept.push(Criteria::In { field: field.to_owned(), values }),
            }
        }
        Some(if let [_] = kept.as_slice() { kept.swap_remove(0) } else { Criteria::All(kept) })
    }

    /// The operators, in words.
    pub(super) fn lower(&self, criteria: &Criteria, wire: &dyn Wire, post: bool) -> Result<Lowered> {
        let parts: Vec<&Criteria> = match criteria {
            Criteria::All(parts) => parts.iter().collect(),
            other => vec![other],
        };
        let mut lowered = Lowered::default();
        let mut rest = Vec::new();
        match self.style {
            FilterStyle::None => rest.extend(parts.iter().map(|part| (*part).clone())),
            FilterStyle::Params => {
                for part in parts {
                    match self.params(part, wire)? {
                        // A parameter that stands twice means OR to some servers, and the last one alone to others.
                        Some(params) if !params.iter().any(|(name, _)| lowered.params.iter().any(|(known, _)| known == name)) => {
                            lowered.params.extend(params);
                        }
                        _ => rest.push(part.clone()),
                    }
                }
            }
            FilterStyle::Json => {
                let mut said: Vec<Value> = Vec::new();
                for part in parts {
                    if self.document.is_some() {
                        match self.json(part, wire)? {
                            Some(piece) => said.push(piece),
                            None => rest.push(part.clone()),
                        }
                        continue;
                    }
                    let Some(piece) = self.json(part, wire)?.filter(|_| said.is_empty() || self.and.is_some()) else {
                        rest.push(part.clone());
                        continue;
                    };
                    let mut more = said.clone();
                    more.push(piece);
                    match self.tie(more.clone(), self.and.as_ref()) {
                        Ok(_) => said = more,
                        // Pieces that do not lie beside each other in one object.
                        Err(error) if error.kind() == ErrorKind::Unsupported => rest.push(part.clone()),
                        Err(error) => return Err(error),
                    }
                }
                if let Some(template) = &self.document {
                    if !said.is_empty() {
                        let document = filled(template, &Names::default(), &[("parts", &Value::Array(said))])?;
                        lowered.document = Some((self.target(post), document));
                    }
                } else if let Some(document) = self.tie(said, self.and.as_ref())? {
                    lowered.document = Some((self.target(post), document));
                }
            }
            FilterStyle::Query => {
                let mut said = Vec::new();
                for part in parts {
                    match self.text(part, wire)? {
                        Some(piece) if said.is_empty() || self.and.is_some() => said.push(piece),
                        _ => rest.push(part.clone()),
                    }
                }
                if !said.is_empty() {
                    let text = joined(&said, word(self.and.as_ref()).unwrap_or(" "));
                    lowered.document = Some((self.target(post), Value::String(text)));
                }
            }
        }
        if self.base64
            && let Some((_, document)) = &mut lowered.document
        {
            let text = document.as_str().map_or_else(|| document.to_string(), ToOwned::to_owned);
            *document = Value::String(STANDARD.encode(text));
        }
        lowered.residual = match rest.len() {
            0 => None,
            1 => rest.pop(),
            _ => Some(Criteria::All(rest)),
        };
        Ok(lowered)
    }

    fn target(&self, post: bool) -> FilterTarget {
        self.target.clone().unwrap_or_else(|| if post { FilterTarget::Body(String::new()) } else { FilterTarget::Param("q".to_owned()) })
    }

    fn params(&self, part: &Criteria, wire: &dyn Wire) -> Result<Option<Vec<(String, String)>>> {
        let Some(clause) = clause(part) else { return Ok(None) };
        let Some(template) = self.operators.get(&clause.op) else { return Ok(None) };
        let (name, text) = match template {
            Value::String(name) => (name.as_str(), "{value}"),
            Value::Object(both) => {
                let member = |key: &str| both.get(key).and_then(Value::as_str);
                (member("name").unwrap_or("{field}"), member("value").unwrap_or("{value}"))
            }
            _ => return Err(Error::config("an operator of a filter by parameters is neither a name nor a name and a value")),
        };
        let field = wire.name(clause.field);
        let of = |value: &str| -> Result<(String, String)> {
            let names = Names::default().with("field", &field).with("value", value);
            Ok((plain_text(name, &names)?, plain_text(text, &names)?))
        };
        if clause.op == OperatorName::In {
            let values = clause.values.iter().map(|value| self.said(&wire.value(clause.field, value)?)).collect::<Result<Vec<_>>>()?;
            return Ok(Some(match self.join.as_deref().unwrap_or(",") {
                "" => values.iter().map(|value| of(value)).collect::<Result<_>>()?,
                join => {
                    // A value that holds the separator would become two.
                    if values.iter().any(|value| value.contains(join)) {
                        return Ok(None);
                    }
                    vec![of(&values.join(join))?]
                }
            }));
        }
        let value = clause.values.first().map(|value| self.said(&wire.value(clause.field, value)?)).transpose()?.unwrap_or_default();
        Ok(Some(vec![of(&value)?]))
    }

    fn json(&self, part: &Criteria, wire: &dyn Wire) -> Result<Option<Value>> {
        let tied = |parts: &[Criteria], how: &Option<Combine>| -> Result<Option<Value>> {
            let Some(how) = how else { return Ok(None) };
            let pieces: Option<Vec<Value>> = parts.iter().map(|part| self.json(part, wire)).collect::<Result<_>>()?;
            pieces.map_or(Ok(None), |pieces| self.tie(pieces, Some(how)))
        };
        match part {
            Criteria::All(parts) => return tied(parts, &self.and),
            Criteria::Any(parts) if !parts.is_empty() => return tied(parts, &self.or),
            Criteria::Not(inner) if !matches!(**inner, Criteria::IsNull { .. }) => {
                let (Some(not), Some(piece)) = (&self.not, self.json(inner, wire)?) else { return Ok(None) };
                return filled(not, &Names::default(), &[("part", &piece)]).map(Some);
            }
            _ => {}
        }
        let Some(clause) = clause(part) else { return Ok(None) };
        let Some(template) = self.operators.get(&clause.op) else { return Ok(None) };
        let field = wire.name(clause.field);
        let values = clause.values.iter().map(|value| wire.value(clause.field, value)).collect::<Result<Vec<_>>>()?;
        let value = if clause.op == OperatorName::In { Value::Array(values) } else { values.into_iter().next().unwrap_or_default() };
        let text = said(&value).unwrap_or_default();
        let names = Names::default().with("field", &field).with("value", &text);
        filled(template, &names, &[("value", &value)]).map(Some)
    }

    fn tie(&self, pieces: Vec<Value>, how: Option<&Combine>) -> Result<Option<Value>> {
        if pieces.len() < 2 {
            return Ok(pieces.into_iter().next());
        }
        match how {
            Some(Combine::Template(template)) => filled(template, &Names::default(), &[("parts", &Value::Array(pieces))]).map(Some),
            _ => {
                let mut merged = serde_json::Map::new();
                for piece in pieces {
                    let Value::Object(members) = piece else {
                        return Err(Error::config("a filter is merged, and one of its parts is not an object"));
                    };
                    for (key, value) in members {
                        match (merged.get_mut(&key), value) {
                            // Two comparisons of one field: {"a": {"gte": 1}} and {"a": {"lt": 9}}.
                            (Some(Value::Object(known)), Value::Object(more)) if more.keys().all(|key| !known.contains_key(key)) => {
                                known.extend(more);
                            }
                            (Some(_), _) => {
                                let text =
                                    format!("the API cannot compare {key} twice in one condition; allow the rest to be filtered here");
                                return Err(Error::unsupported(text));
                            }
                            (None, value) => {
                                merged.insert(key, value);
                            }
                        }
                    }
                }
                Ok(Some(Value::Object(merged)))
            }
        }
    }

    fn text(&self, part: &Criteria, wire: &dyn Wire) -> Result<Option<String>> {
        let tied = |parts: &[Criteria], how: &Option<Combine>| -> Result<Option<String>> {
            let Some(between) = word(how.as_ref()) else { return Ok(None) };
            let pieces: Option<Vec<String>> = parts.iter().map(|part| self.text(part, wire)).collect::<Result<_>>()?;
            Ok(pieces.map(|pieces| grouped(&pieces, between)))
        };
        match part {
            Criteria::All(parts) if !parts.is_empty() => return tied(parts, &self.and),
            Criteria::Any(parts) if !parts.is_empty() => return tied(parts, &self.or),
            Criteria::Not(inner) if !matches!(**inner, Criteria::IsNull { .. }) => {
                let (Some(Value::String(not)), Some(piece)) = (&self.not, self.text(inner, wire)?) else { return Ok(None) };
                return plain_text(not, &Names::default().with("part", &piece)).map(Some);
            }
            _ => {}
        }
        let Some(clause) = clause(part) else { return Ok(None) };
        let Some(Value::String(template)) = self.operators.get(&clause.op) else { return Ok(None) };
        let field = wire.name(clause.field);
        let render = |value: &Value| -> Result<String> {
            let value = wire.value(clause.field, value)?;
            let text = self.escaped(&said(&value)?);
            let quote = self.quote.as_deref().unwrap_or("\"");
            let literal = if value.is_string() { format!("{quote}{text}{quote}") } else { said(&value)? };
            plain_text(template, &Names::default().with("field", &field).with("value", &text).with("literal", &literal))
        };
        if clause.op == OperatorName::In {
            // A list is said as alternatives, each by the template of the operator.
            let Some(between) = word(self.or.as_ref()) else { return Ok(None) };
            let pieces = clause.values.iter().map(render);
            return Ok(Some(grouped(&pieces.collect::<Result<Vec<_>>>()?, between)));
        }
        render(clause.values.first().unwrap_or(&Value::Null)).map(Some)
    }

    /// A value of `params`.
    fn said(&self, value: &Value) -> Result<String> {
        match value {
            Value::String(_) if self.json_values => Ok(value.to_string()),
            other => said(other),
        }
    }

    fn escapes(&self) -> String {
        self.escape.clone().unwrap_or_else(|| format!("{}\\", self.quote.as_deref().unwrap_or("\"")))
    }

    fn escaped(&self, text: &str) -> String {
        let (escapes, with) = (self.escapes(), self.escape_with.as_deref().unwrap_or("\\"));
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            if escapes.contains(c) {
                out.push_str(with);
            }
            out.push(c);
        }
        out
    }

    /// True if a value may stand in a query language without leaving its place: its template puts it in quotes that the value
    /// cannot end, or it is said by parameters or JSON, which need none.
    pub(super) fn quotes_values(&self) -> bool {
        if self.style != FilterStyle::Query {
            return true;
        }
        let escapes = self.escapes();
        let quote = self.quote.as_deref().unwrap_or("\"");
        self.operators.values().all(|template| {
            let text = template.as_str().unwrap_or_default();
            let values = text.match_indices("{value}").all(|(at, _)| {
                // `"{value}"` and `"%{value}%"`: an odd number of one quote stands before it.
                let before = text.get(..at).unwrap_or_default();
                let quoted = ['"', '\''].into_iter().any(|quote| before.matches(quote).count() % 2 == 1 && escapes.contains(quote));
                // `({field}:equals:{value})`: what ends the value is escaped inside of it, and so is what escapes.
                let end = text.get(at + "{value}".len()..).and_then(|after| after.chars().next());
                let with = self.escape_with.as_deref().unwrap_or("\\");
                quoted || (end.is_some_and(|end| escapes.contains(end)) && with.chars().all(|c| escapes.contains(c)))
            });
            let literals = !text.contains("{literal}") || quote.chars().all(|quote| escapes.contains(quote));
            values && literals
        })
    }
}

struct Clause<'a> {
    op: OperatorName,
    field: &'a str,
    values: Vec<Value>,
}

fn clause(part: &Criteria) -> Option<Clause<'_>> {
    let one = |op, field, value: Value| Some(Clause { op, field, values: vec![value] });
    match part {
        Criteria::Compare { field, op, value } => {
            let op = match op {
                Operator::Eq => OperatorName::Eq,
                Operator::Gt => OperatorName::Gt,
                Operator::Gte => OperatorName::Gte,
                Operator::Lt => OperatorName::Lt,
                Operator::Lte => OperatorName::Lte,
                Operator::Ne => OperatorName::Ne,
            };
            one(op, field, value.clone())
        }
        Criteria::Contains { field, text } => one(OperatorName::Contains, field, text.as_str().into()),
        Criteria::StartsWith { field, text } => one(OperatorName::StartsWith, field, text.as_str().into()),
        Criteria::In { field, values } if !values.is_empty() => Some(Clause { op: OperatorName::In, field, values: values.clone() }),
        Criteria::IsNull { field } => Some(Clause { op: OperatorName::IsNull, field, values: Vec::new() }),
        Criteria::Not(inner) => match &**inner {
            Criteria::IsNull { field } => Some(Clause { op: OperatorName::NotNull, field, values: Vec::new() }),
            _ => None,
        },
        _ => None,
    }
}

/// Parts with a text between them, or as a function of them.
fn joined(pieces: &[String], between: &str) -> String {
    match (pieces, between.split_once("{parts}")) {
        ([one], _) => one.clone(),
        (pieces, Some((before, after))) => format!("{before}{}{after}", pieces.join(",")),
        (pieces, None) => pieces.join(between),
    }
}

/// The same, in parentheses where it has none of its own.
fn grouped(pieces: &[String], between: &str) -> String {
    let text = joined(pieces, between);
    if between.contains("{parts}") { text } else { format!("({text})") }
}

fn word(how: Option<&Combine>) -> Option<&str> {
    match how {
        Some(Combine::Word(word)) => Some(word),
        _ => None,
    }
}

/// A value as it stands in a URL or a query text.
pub(super) fn said(value: &Value) -> Result<String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::String(text) => Ok(text.clone()),
        other => plain(other).ok_or_else(|| Error::config("a list or an object cannot be compared with a field")),
    }
}

fn plain_text(template: &str, names: &Names<'_>) -> Result<String> {
    let unknown = |name: String| Error::config(format!("{name:?} stands for nothing in a filter"));
    Template::parse(template).map_err(Error::config)?.plain(names).map_err(unknown)
}

fn filled(template: &Value, names: &Names<'_>, values: &[(&str, &Value)]) -> Result<Value> {
    let values = values.iter().copied().collect();
    fill(template, names, &values).map_err(|name| Error::config(format!("{name:?} stands for nothing in a filter")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Same;

    impl Wire for Same {
        fn name(&self, field: &str) -> String {
            field.to_owned()
        }

        fn value(&self, _field: &str, value: &Value) -> Result<Value> {
            Ok(value.clone())
        }
    }

    fn lower(spec: Value, criteria: &str, post: bool) -> Lowered {
        let spec: FilterSpec = serde_json::from_value(spec).unwrap();
        spec.lower(&Criteria::parse(criteria).unwrap(), &Same, post).unwrap()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn by_parameters_plain_prefixed_suffixed_and_in_brackets() {
        let kinto = json!({"style": "params", "operators": {"eq": "{field}", "gte": "min_{field}", "in": "in_{field}", "not_null": {"name": "has_{field}", "value": "true"}}});
        let lowered = lower(kinto.clone(), "a = 'x' AND n >= 5 AND s IN ('p', 'q') AND m != null", false);
        assert_eq!(lowered.params, pairs(&[("a", "x"), ("min_n", "5"), ("in_s", "p,q"), ("has_m", "true")]));
        assert_eq!(lowered.residual, None);
        // What cannot be said is left for the caller; what can is still said.
        let lowered = lower(kinto.clone(), "a = 'x' AND (b = 1 OR c = 2)", false);
        assert_eq!(lowered.params, pairs(&[("a", "x")]));
        assert!(matches!(lowered.residual, Some(Criteria::Any(_))));
        // A separator inside of a value would make two of it.
        assert!(lower(kinto, "s IN ('p,q', 'r')", false).residual.is_some());
        let brackets = json!({"style": "params", "operators": {"eq": "filter[{field}][_eq]", "lt": "{field}:lt"}});
        assert_eq!(lower(brackets, "a = 1 AND b < 2", false).params, pairs(&[("filter[a][_eq]", "1"), ("b:lt", "2")]));
    }

    #[test]
    fn as_a_json_document() {
        let spec = json!({"style": "json", "target": {"param": "where"}, "or": {"$or": "{parts}"}, "and": {"$and": "{parts}"}, "not": {"$not": "{part}"},
            "operators": {"eq": {"{field}": {"$eq": "{value}"}}, "in": {"{field}": {"$in": "{value}"}}}});
        let lowered = lower(spec.clone(), "a = 5 AND (b = 'x' OR NOT c = true) AND d IN (1, 2)", false);
        let (target, document) = lowered.document.unwrap();
        assert_eq!(target, FilterTarget::Param("where".to_owned()));
        assert_eq!(
            document,
            json!({"$and": [{"a": {"$eq": 5}}, {"$or": [{"b": {"$eq": "x"}}, {"$not": {"c": {"$eq": true}}}]}, {"d": {"$in": [1, 2]}}]})
        );
        let guide = json!({"style": "json", "operators": {"eq": {"{field}": "{value}"}}, "and": "merge"});
        let lowered = lower(guide, "email = 'a@b.c' AND city = 'x'", true);
        assert_eq!(lowered.document, Some((FilterTarget::Body(String::new()), json!({"email": "a@b.c", "city": "x"}))));
        let coded = json!({"style": "json", "base64": true, "operators": {"eq": {"{field}": "{value}"}}});
        assert_eq!(lower(coded, "a = 1", false).document.unwrap().1, json!("eyJhIjoxfQ=="));
    }

    #[test]
    fn one_field_is_asked_for_once() {
        let spec = FilterSpec::default();
        let said = |text: &str| spec.simplified(&Criteria::parse(text).unwrap());
        let is = |text: &str| Some(Criteria::parse(text).unwrap());
        assert_eq!(said("a IN ('x', 'y') AND b > 1 AND a IN ('Y', 'z')"), is("b > 1 AND a = 'y'"));
        assert_eq!(said("a = 'x' AND a = 'y'"), None);
        assert_eq!(said("a IN ('x', 'y') AND a != 'x'"), is("a != 'x' AND a IN ('x', 'y')"));
        // Two that cannot be one are not said together.
        let params = json!({"style": "params", "operators": {"ne": "not_{field}"}});
        let lowered = lower(params, "a != 'x' AND a != 'y'", false);
        assert_eq!((lowered.params, lowered.residual), (pairs(&[("not_a", "x")]), is("a != 'y'")));
        let merged = json!({"style": "json", "and": "merge", "operators": {"ne": {"{field}": {"ne": "{value}"}}}});
        assert_eq!(lower(merged, "a != 'x' AND a != 'y'", true).residual, is("a != 'y'"));
    }

    #[test]
    fn as_a_query_language() {
        let spec = json!({"style": "query", "and": " AND ", "or": " OR ", "not": "NOT {part}", "operators": {"eq": "{field}:\"{value}\"", "in": "{field}:\"{value}\""}});
        let lowered = lower(spec, r#"name = 'a "b" \\' AND (x = 1 OR x = 2) AND NOT y IN ('p', 'q')"#, false);
        let text = lowered.document.unwrap().1;
        let odata = json!({"style": "query", "and": " and ", "quote": "'", "escape": "'", "escape_with": "'",
            "operators": {"eq": "{field} eq {literal}", "gt": "{field} gt {literal}", "contains": "contains({field},'{value}')"}});
        let said = lower(odata, r"name = 'O\'Neil' AND n > 5 AND t LIKE '%x\'y%'", false).document.unwrap().1;
        assert_eq!(said.as_str().unwrap(), "name eq 'O''Neil' and n gt 5 and contains(t,'x''y')");
        assert_eq!(text.as_str().unwrap(), r#"name:"a \"b\" \\" AND (x:"1" OR x:"2") AND NOT (y:"p" OR y:"q")"#);
    }
}
