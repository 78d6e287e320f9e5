//! `/search`: filters, sorts, pages, the ceiling, and an index that follows writes late.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use crate::sandbox::call::Reply;
use crate::sandbox::hubspot::errors::{Answer, Refusal, object, only, text};
use crate::sandbox::hubspot::kinds;
use crate::sandbox::hubspot::objects::View;
use crate::sandbox::hubspot::router::Ask;
use crate::sandbox::hubspot::state::{HubSpot, Kind};
use crate::sandbox::hubspot::values::millis;
use crate::sandbox::store::Row;

const GROUPS: usize = 5;
const FILTERS: usize = 6;
const FILTERS_IN_ALL: usize = 18;
const LONGEST: usize = 3_000;
const PAGE: usize = 200;

/// How a property's values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Choice,
    Id,
    Number,
    Text,
    Time,
}

#[derive(Clone, Debug)]
enum What {
    Property(String, Compare),
    /// The record is associated with this one.
    Association(Kind),
}

#[derive(Clone, Debug)]
struct Filter {
    what: What,
    operator: String,
    value: String,
    high: String,
    values: Vec<String>,
}

fn words(text: &str) -> Vec<String> {
    text.to_lowercase().split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Whether the words of `pattern` stand in `text` one after another; `*` stands for any letters.
fn token(pattern: &str, text: &str) -> bool {
    let pattern = pattern.to_lowercase();
    if pattern.contains('*') {
        let glob = |piece: &str| format!("(?s){}", piece.split('*').map(regex::escape).collect::<Vec<_>>().join(".*"));
        let text = text.to_lowercase();
        return regex::Regex::new(&format!("^{}$", glob(&pattern))).is_ok_and(|whole| {
            whole.is_match(&text)
                || text.split(|letter: char| letter.is_whitespace() || "@.-_/".contains(letter)).any(|word| whole.is_match(word))
        });
    }
    let (wanted, have) = (words(&pattern), words(text));
    !wanted.is_empty() && have.windows(wanted.len()).any(|part| part == wanted)
}

fn compare(kind: Compare, left: &str, right: &str) -> Option<Ordering> {
    match kind {
        Compare::Number | Compare::Id => left.trim().parse::<f64>().ok()?.partial_cmp(&right.trim().parse::<f64>().ok()?),
        Compare::Time => Some(millis(left)?.cmp(&millis(right)?)),
        Compare::Text => Some(left.to_lowercase().cmp(&right.to_lowercase())),
        Compare::Choice => Some(left.cmp(right)),
    }
}

/// What a sort compares.
enum Key {
    Number(f64),
    Text(String),
    Time(i64),
}

impl Key {
    fn of(kind: Compare, text: &str) -> Option<Self> {
        match kind {
            Compare::Number | Compare::Id => text.trim().parse().ok().map(Self::Number),
            Compare::Time => millis(text).map(Self::Time),
            Compare::Text => Some(Self::Text(text.to_lowercase())),
            Compare::Choice => Some(Self::Text(text.to_owned())),
        }
    }

    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(left), Self::Number(right)) => left.total_cmp(right),
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            (Self::Time(left), Self::Time(right)) => left.cmp(right),
            _ => Ordering::Equal,
        }
    }
}

impl HubSpot {
    fn comparing(&self, kind: &Kind, name: &str) -> Option<Compare> {
        if name == "hs_object_id" {
            return Some(Compare::Id);
        }
        let definition = self.property(kind, name)?;
        Some(match definition.get("type").and_then(Value::as_str) {
            Some("number") => Compare::Number,
            Some("date" | "datetime") => Compare::Time,
            Some("enumeration" | "bool") => Compare::Choice,
            _ => Compare::Text,
        })
    }

    fn filter(&self, kind: &Kind, value: &Value) -> Result<Filter, Refusal> {
        let body = object(value)?;
        only(body, &["propertyName", "operator", "value", "highValue", "values"])?;
        let (name, operator) = (text(body, "propertyName")?, text(body, "operator")?);
        let what = match name.strip_prefix("associations.") {
            Some(to) => {
                What::Association(self.kind(to).filter(|to| !to.custom).ok_or_else(|| Refusal::bad(format!("Cannot filter by {name}")))?)
            }
            None => {
                let hidden = name == "hs_body_preview_html" || (kind.id == "0-49" && matches!(name, "hs_email_html" | "hs_body_preview"));
                let known = self.comparing(kind, name).filter(|_| !hidden);
                What::Property(
                    name.to_owned(),
                    known.ok_or_else(|| {
                        Refusal::bad(format!("There was a problem with the request: property {name} does not exist or cannot be filtered"))
                            .context("propertyName", [name])
                    })?,
                )
            }
        };
        let single = |member: &str| match body.get(member) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Number(number)) => Ok(number.to_string()),
            Some(Value::Bool(flag)) => Ok(flag.to_string()),
            _ => Err(Refusal::bad(format!("Operator {operator} needs {member} for property {name}"))),
        };
        let mut filter = Filter { what, operator: operator.to_owned(), value: String::new(), high: String::new(), values: Vec::new() };
        match operator {
            "EQ" | "NEQ" | "LT" | "LTE" | "GT" | "GTE" | "CONTAINS_TOKEN" | "NOT_CONTAINS_TOKEN" => filter.value = single("value")?,
            "BETWEEN" => (filter.value, filter.high) = (single("value")?, single("highValue")?),
            "IN" | "NOT_IN" => {
                let list = body.get("values").and_then(Value::as_array).filter(|list| !list.is_empty());
                let list = list.ok_or_else(|| Refusal::bad(format!("Operator {operator} needs values for property {name}")))?;
                for one in list {
                    filter.values.push(match one {
                        Value::String(text) => text.clone(),
                        Value::Number(number) => number.to_string(),
                        _ => return Err(Refusal::bad("values must be strings")),
                    });
                }
            }
            "HAS_PROPERTY" | "NOT_HAS_PROPERTY" => {}
            other => return Err(Refusal::bad(format!("Invalid input JSON on line 1, column 1: {other} is not a filter operator"))),
        }
        if let What::Property(_, compared @ (Compare::Number | Compare::Time | Compare::Id)) = &filter.what {
            let given = [&filter.value, &filter.high].into_iter().filter(|text| !text.is_empty()).chain(&filter.values);
            for text in given {
                if compare(*compared, text, text).is_none() {
                    return Err(Refusal::bad(format!("{text} is not a valid value for property {name}")));
                }
            }
        }
        Ok(filter)
    }

    fn matches(&self, kind: &Kind, id: &str, row: &Row, filter: &Filter) -> bool {
        let (name, kind_of) = match &filter.what {
            What::Association(to) => {
                let linked = |wanted: &str| !self.links(kind, id, to, wanted).is_empty();
                return match filter.operator.as_str() {
                    "EQ" => linked(&filter.value),
                    "NEQ" => !linked(&filter.value),
                    "IN" => filter.values.iter().any(|value| linked(value)),
                    "HAS_PROPERTY" => !self.linked(kind, id, to).is_empty(),
                    "NOT_HAS_PROPERTY" => self.linked(kind, id, to).is_empty(),
                    _ => false,
                };
            }
            What::Property(name, compared) => (name, *compared),
        };
        let value = row.text(name);
        let Some(value) = value else { return matches!(filter.operator.as_str(), "NOT_HAS_PROPERTY" | "NOT_CONTAINS_TOKEN") };
        let order = |right: &str| compare(kind_of, value, right);
        // Multiple choices match by each of them.
        let equal =
            |right: &str| order(right) == Some(Ordering::Equal) || (kind_of == Compare::Choice && value.split(';').any(|one| one == right));
        // Values of IN are not folded: on texts they must be in lower case (Search guide).
        let listed = || match kind_of {
            Compare::Text => filter.values.contains(&value.to_lowercase()),
            _ => filter.values.iter().any(|right| equal(right)),
        };
        match filter.operator.as_str() {
            "EQ" => equal(&filter.value),
            "NEQ" => !equal(&filter.value),
            "LT" => order(&filter.value).is_some_and(Ordering::is_lt),
            "LTE" => order(&filter.value).is_some_and(Ordering::is_le),
            "GT" => order(&filter.value).is_some_and(Ordering::is_gt),
            "GTE" => order(&filter.value).is_some_and(Ordering::is_ge),
            "BETWEEN" => order(&filter.value).is_some_and(Ordering::is_ge) && order(&filter.high).is_some_and(Ordering::is_le),
            "IN" => listed(),
            "NOT_IN" => !listed(),
            "HAS_PROPERTY" => true,
            "CONTAINS_TOKEN" => token(&filter.value, value),
            "NOT_CONTAINS_TOKEN" => !token(&filter.value, value),
            _ => false,
        }
    }

    /// The row as the index has it: what a recent write replaced still shows.
    fn indexed<'a>(&'a self, kind: &Kind, id: &str, row: Option<&'a Row>) -> Option<&'a Row> {
        if self.stale.is_empty() {
            return row.filter(|row| !row.deleted);
        }
        let stale = self.stale.get(&(kind.id.clone(), id.to_owned()));
        let now = self.now.as_millisecond();
        match stale.into_iter().flatten().find(|(until, _)| *until > now) {
            Some((_, old)) => old.as_ref(),
            None => row,
        }
        .filter(|row| !row.deleted)
    }

    pub(crate) fn search(&mut self, ask: &Ask<'_>, kind: &Kind) -> Answer {
        let body = object(ask.body()?)?;
        only(body, &["filterGroups", "filters", "query", "sorts", "properties", "limit", "after"])?;
        let length = serde_json::to_string(body).map_or(0, |text| text.chars().count());
        if length > LONGEST {
            return Err(Refusal::bad(format!("The request body is {length} characters long; at most {LONGEST} are allowed")));
        }
        let groups = self.groups(kind, body)?;
        let sort = sorting(body)?;
        if let Some((name, _)) = &sort
            && self.comparing(kind, name).is_none()
        {
            return Err(Refusal::bad(format!("Cannot sort by property {name}: it does not exist")));
        }
        let count = |name: &str| match body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => number.as_u64().map(Some).ok_or_else(|| Refusal::bad(format!("{name} must be a whole number"))),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => text.parse().map(Some).map_err(|_| Refusal::bad(format!("{name} must be a whole number"))),
            Some(_) => Err(Refusal::bad(format!("{name} must be a whole number"))),
        };
        let limit = usize::try_from(count("limit")?.unwrap_or(10)).unwrap_or(usize::MAX);
        if !(1..=PAGE).contains(&limit) {
            return Err(Refusal::bad(format!("limit must be a number from 1 to {PAGE}")));
        }
        let after = usize::try_from(count("after")?.unwrap_or(0)).unwrap_or(usize::MAX);
        let ceiling = self.options.search_ceiling;
        if after >= ceiling || after.saturating_add(limit) > ceiling {
            return Err(Refusal::bad(format!(
                "Paging through more than {ceiling} results is not supported; after {after} with limit {limit} goes beyond"
            )));
        }
        let properties = match body.get("properties") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(_) => return Err(Refusal::bad("properties must be a list of strings")),
        };
        let query = match body.get("query") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(text)) => words(text),
            Some(_) => return Err(Refusal::bad("query must be a string")),
        };
        let searched = self.searched(kind);
        let table = kind.table();
        // A record that was deleted for good has no row, but may still show.
        let gone = self.stale.keys().filter(|(of, id)| *of == kind.id && self.tables.get(&table, id).is_none());
        let gone: Vec<&str> = gone.map(|(_, id)| id.as_str()).collect();
        let all = self.tables.rows(&table).map(|(id, row)| (id, Some(row))).chain(gone.into_iter().map(|id| (id, None)));
        let mut found: Vec<(&str, &Row)> = all
            .filter_map(|(id, row)| Some((id, self.indexed(kind, id, row)?)))
            .filter(|(id, row)| {
                groups.is_empty() || groups.iter().any(|group| group.iter().all(|filter| self.matches(kind, id, row, filter)))
            })
            .filter(|(_, row)| asked(&query, &searched, row))
            .collect();
        let (name, descending) = sort.unwrap_or_else(|| (kind.created().to_owned(), false));
        let comparing = self.comparing(kind, &name).unwrap_or(Compare::Text);
        // Keys are made once; what has no value comes last, whichever way.
        let mut keyed: Vec<(Option<Key>, &str, &Row)> =
            found.drain(..).map(|(id, row)| (row.text(&name).and_then(|text| Key::of(comparing, text)), id, row)).collect();
        keyed.sort_by(|(left, left_id, _), (right, right_id, _)| {
            let order = match (left, right) {
                (Some(left), Some(right)) if descending => right.cmp(left),
                (Some(left), Some(right)) => left.cmp(right),
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
            };
            order.then_with(|| left_id.cmp(right_id))
        });
        let view = View { properties, ..View::default() };
        let results: Vec<Value> = keyed.iter().skip(after).take(limit).map(|(_, id, row)| self.render(kind, id, row, &view)).collect();
        let next = after + results.len();
        let mut answer = json!({"total": keyed.len(), "results": results});
        if next < keyed.len()
            && let Some(map) = answer.as_object_mut()
        {
            map.insert("paging".to_owned(), json!({"next": {"after": next.to_string()}}));
        }
        let now = self.now.as_millisecond();
        self.stale.retain(|_, list| {
            list.retain(|(until, _)| *until > now);
            !list.is_empty()
        });
        Ok(Reply::ok(answer))
    }

    fn groups(&self, kind: &Kind, body: &Map<String, Value>) -> Result<Vec<Vec<Filter>>, Refusal> {
        let list = |value: Option<&Value>, name: &str| match value {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(list.clone()),
            Some(_) => Err(Refusal::bad(format!("{name} must be a list"))),
        };
        let mut groups: Vec<Vec<Filter>> = Vec::new();
        let own = list(body.get("filters"), "filters")?;
        if !own.is_empty() {
            groups.push(own.iter().map(|one| self.filter(kind, one)).collect::<Result<_, _>>()?);
        }
        for group in list(body.get("filterGroups"), "filterGroups")? {
            let members = object(&group)?;
            only(members, &["filters"])?;
            let filters = list(members.get("filters"), "filters")?;
            groups.push(filters.iter().map(|one| self.filter(kind, one)).collect::<Result<_, _>>()?);
        }
        groups.retain(|group| !group.is_empty());
        let all: usize = groups.iter().map(Vec::len).sum();
        if groups.len() > GROUPS || groups.iter().any(|group| group.len() > FILTERS) || all > FILTERS_IN_ALL {
            let message = format!("A search may have {GROUPS} filter groups, {FILTERS} filters in each and {FILTERS_IN_ALL} in all");
            return Err(Refusal::bad(message));
        }
        Ok(groups)
    }

    fn searched(&self, kind: &Kind) -> Vec<String> {
        if let Some(one) = kinds::STANDARD.iter().find(|one| one.id == kind.id) {
            return one.searched.iter().map(|name| (*name).to_owned()).collect();
        }
        let list = self.tables.get("o", &kind.id).and_then(|row| row.fields.get("searchable")).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }
}

/// Every word of the query begins a word of a searched property.
fn asked(query: &[String], searched: &[String], row: &Row) -> bool {
    if query.is_empty() {
        return true;
    }
    let have: Vec<String> = searched.iter().filter_map(|name| row.text(name)).flat_map(words).collect();
    query.iter().all(|word| have.iter().any(|known| known.starts_with(word.as_str())))
}

/// Property and direction; only one sort is allowed.
fn sorting(body: &Map<String, Value>) -> Result<Option<(String, bool)>, Refusal> {
    let list = match body.get("sorts") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(Refusal::bad("sorts must be a list")),
    };
    if list.len() > 1 {
        return Err(Refusal::bad("Only one sort is allowed"));
    }
    match list.first() {
        None => Ok(None),
        Some(Value::String(name)) => Ok(Some((name.trim_start_matches('-').to_owned(), name.starts_with('-')))),
        Some(value) => {
            let sort = object(value)?;
            only(sort, &["propertyName", "direction"])?;
            let descending = match sort.get("direction").and_then(Value::as_str) {
                None | Some("ASCENDING") => false,
                Some("DESCENDING") => true,
                Some(other) => return Err(Refusal::bad(format!("{other} is not a sort direction"))),
            };
            Ok(Some((text(sort, "propertyName")?.to_owned(), descending)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_whole_words_or_globs() {
        assert!(token("acme", "The Acme Corp") && !token("acm", "The Acme Corp"));
        assert!(token("acm*", "The Acme Corp") && token("*@example.com", "ada@example.com"));
        assert!(token("acme corp", "the ACME-corp") && !token("corp acme", "acme corp"));
    }

    #[test]
    fn values_compare_as_their_type_does() {
        assert_eq!(compare(Compare::Number, "9", "10"), Some(Ordering::Less));
        assert_eq!(compare(Compare::Text, "Ada", "ada"), Some(Ordering::Equal));
        assert_eq!(compare(Compare::Choice, "LOW", "low"), Some(Ordering::Less));
        assert_eq!(compare(Compare::Time, "2026-02-28", "1772236800000"), Some(Ordering::Equal));
        assert_eq!(compare(Compare::Time, "2026-02-28", "soon"), None);
    }
}
