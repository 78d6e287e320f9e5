//! A condition as what Pipedrive can do: ids, an exact search, the filters of a list; the rest is compared here.
//!
//! The search finds more than it was asked for, and its hits are not whole records. So a search gives ids only, the records are
//! read by id, and every condition is compared here again, for all ways alike.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::{Fields, RecordId, parse_datetime};
use crate::pipedrive::builtin::{F, S, builtin};
use crate::pipedrive::field_map::FieldMap;
use crate::pipedrive::list::ListQuery;
use crate::pipedrive::resource::{ApiVersion, Kind};
use crate::query::{Criteria, Operator};

/// How the records are reached.
#[derive(Debug, PartialEq)]
pub(crate) enum Access {
    /// By id.
    Ids(Vec<RecordId>),
    /// By exact searches for a field's values, one after the other.
    Terms { field: String, scope: &'static str, terms: Vec<String> },
    /// By a list; `whole` if its filters are the whole condition.
    List { query: ListQuery, whole: bool, not_null: bool },
    /// Nothing can match.
    Never,
}

/// The way to the records that satisfy `filter`.
pub(crate) fn lower(kind: Kind, filter: &Criteria, map: &FieldMap) -> Result<Access> {
    let mut parts = Vec::new();
    conjuncts(filter, &mut parts);
    if parts.iter().any(|part| matches!(part, Criteria::Any(any) if any.is_empty())) {
        return Ok(Access::Never);
    }
    let values = |part: &Criteria| match part {
        Criteria::Compare { field, op: Operator::Eq, value } => Some((field.clone(), vec![value.clone()])),
        Criteria::In { field, values } => Some((field.clone(), values.clone())),
        _ => None,
    };
    let known: Vec<(String, Vec<Value>)> = parts.iter().filter_map(|part| values(part)).collect();
    if known.iter().any(|(_, values)| values.is_empty()) {
        return Ok(Access::Never);
    }
    if let Some((_, values)) = known.iter().find(|(field, _)| field.eq_ignore_ascii_case("id")) {
        let mut ids: Vec<RecordId> = Vec::new();
        for id in values.iter().filter_map(text).map(RecordId::new) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        return Ok(Access::Ids(ids));
    }
    for (field, values) in &known {
        let Some(scope) = scope(kind, field, map) else { continue };
        let mut terms: Vec<String> = Vec::new();
        for term in values.iter().filter_map(text) {
            let term = term.trim().to_owned();
            if !term.is_empty() && !terms.iter().any(|known| known.to_lowercase() == term.to_lowercase()) {
                terms.push(term);
            }
        }
        return Ok(if terms.is_empty() { Access::Never } else { Access::Terms { field: field.clone(), scope, terms } });
    }
    let mut query = ListQuery::new();
    let (mut whole, mut not_null) = (true, true);
    for part in parts {
        match (list_part(kind, part, query), part) {
            (Ok(narrowed), _) => query = narrowed,
            (Err(same), part) => {
                query = *same;
                whole = false;
                not_null &= matches!(part, Criteria::Not(inner) if matches!(**inner, Criteria::IsNull { .. }));
            }
        }
    }
    Ok(Access::List { query, whole, not_null: not_null && !whole })
}

pub(crate) fn unsupported(kind: Kind) -> Error {
    let message = "pipedrive's lists cannot be narrowed by this condition; name an id, a searchable field by = or IN, an owner or a \
                   related record, or allow the rest to be filtered here (residual), which reads the whole list";
    Error::unsupported(message).on(&kind.entity())
}

fn conjuncts<'a>(filter: &'a Criteria, out: &mut Vec<&'a Criteria>) {
    match filter {
        Criteria::All(parts) => parts.iter().for_each(|part| conjuncts(part, out)),
        Criteria::Any(parts) => match parts.as_slice() {
            [only] => conjuncts(only, out),
            _ => out.push(filter),
        },
        part => out.push(part),
    }
}

/// What `fields=` of the search calls a field. Only some types of custom fields are searched ("Search").
pub(crate) fn scope(kind: Kind, field: &str, map: &FieldMap) -> Option<&'static str> {
    match (kind, field) {
        (Kind::Person, "email" | "emails") => return Some("email"),
        (Kind::Person, "phone" | "phones") => return Some("phone"),
        _ => {}
    }
    if let Some(found) = builtin(kind, field) {
        return found.has(S).then_some(match found.name {
            "title" => "title",
            "code" => "code",
            _ => "name",
        });
    }
    (kind.has_custom_fields() && map.find(field).is_ok_and(|info| info.kind.is_searchable())).then_some("custom_fields")
}

/// A list narrowed by one part, or the list as it was.
fn list_part(kind: Kind, part: &Criteria, query: ListQuery) -> Result<ListQuery, Box<ListQuery>> {
    match part {
        Criteria::Compare { field, op: Operator::Eq, value } => {
            let Some(found) = builtin(kind, field).filter(|found| found.has(F)) else { return Err(Box::new(query)) };
            match text(value) {
                Some(value) if !value.is_empty() => Ok(query.filter(found.name, value)),
                _ => Err(Box::new(query)),
            }
        }
        Criteria::In { field, values } if field == "status" && kind == Kind::Deal => {
            let all: Option<Vec<String>> = values.iter().map(text).collect();
            match all {
                Some(all) => Ok(query.filter("status", all.join(","))),
                None => Err(Box::new(query)),
            }
        }
        Criteria::Compare { field, op, value } if field == "update_time" && kind.has_changes() => {
            let whole = |at: &jiff::Timestamp| value.as_str().is_some() && at.subsec_nanosecond() == 0;
            match (value.as_str().and_then(parse_datetime), op) {
                (Some(at), Operator::Gte) if whole(&at) => Ok(query.updated_since(at)),
                (Some(at), Operator::Lt) if whole(&at) && kind.version() == ApiVersion::V2 && kind != Kind::Product => {
                    Ok(query.updated_until(at))
                }
                _ => Err(Box::new(query)),
            }
        }
        Criteria::All(parts) if parts.is_empty() => Ok(query),
        _ => Err(Box::new(query)),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Our own comparison. One of a person's addresses or numbers is enough; amounts, times and addresses are compared by their
/// main member; a phone number by its digits.
pub(crate) fn holds(kind: Kind, filter: &Criteria, fields: &Fields, map: &FieldMap) -> bool {
    match filter {
        Criteria::All(parts) => parts.iter().all(|part| holds(kind, part, fields, map)),
        Criteria::Any(parts) => parts.iter().any(|part| holds(kind, part, fields, map)),
        Criteria::Not(part) => !holds(kind, part, fields, map),
        leaf => {
            let mut name = String::new();
            leaf.visit_fields(&mut |field| name = field.to_owned());
            let member = match (kind, name.as_str()) {
                (Kind::Person, "email") => "emails",
                (Kind::Person, "phone") => "phones",
                (_, name) => name,
            };
            let found = fields.get(member).cloned();
            let found = found.or_else(|| fields.get(&map.find(member).ok()?.key).cloned()).unwrap_or_default();
            let phone = member == "phones" || map.find(member).is_ok_and(|info| info.kind == crate::pipedrive::CustomType::Phone);
            match &found {
                Value::Array(items) if items.iter().any(Value::is_object) => {
                    items.iter().filter_map(|item| item.get("value")).any(|value| leaf_holds(leaf, &name, value, phone))
                }
                Value::Object(map) if map.contains_key("value") => leaf_holds(leaf, &name, map.get("value").unwrap_or(&Value::Null), phone),
                other => leaf_holds(leaf, &name, other, phone),
            }
        }
    }
}

fn leaf_holds(leaf: &Criteria, name: &str, value: &Value, phone: bool) -> bool {
    let one: Fields = [(name, value.clone())].into_iter().collect();
    if leaf.matches(&one) {
        return true;
    }
    let digits = |text: &str| text.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect::<String>();
    let same = |wanted: &Value| match (wanted.as_str(), value.as_str()) {
        (Some(wanted), Some(found)) => digits(wanted).len() > 3 && digits(wanted) == digits(found),
        _ => false,
    };
    phone
        && match leaf {
            Criteria::Compare { op: Operator::Eq, value, .. } => same(value),
            Criteria::In { values, .. } => values.iter().any(same),
            _ => false,
        }
}

/// The newest first, for a question about any record at all.
pub(crate) fn newest_first(kind: Kind, query: ListQuery) -> ListQuery {
    if kind.multi_get() { query.sort("id", true) } else { query }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lowered(kind: Kind, filter: &Criteria) -> Access {
        lower(kind, filter, &FieldMap::default()).unwrap()
    }

    #[test]
    fn the_best_way_is_taken() {
        let both = Criteria::eq("name", "Jo").and(Criteria::one_of("id", ["7", "8", "7"]));
        assert_eq!(lowered(Kind::Person, &both), Access::Ids(vec!["7".into(), "8".into()]));
        let Access::Terms { scope, terms, .. } = lowered(Kind::Person, &Criteria::one_of("emails", ["A@x.com", "a@x.com", " "])) else {
            panic!()
        };
        assert_eq!((scope, terms), ("email", vec!["A@x.com".to_owned()]));
        let list = Criteria::eq("org_id", 7).and(Criteria::compare("update_time", Operator::Gte, "2026-01-01T00:00:00Z"));
        assert!(matches!(lowered(Kind::Person, &list), Access::List { whole: true, .. }));
        assert!(matches!(lowered(Kind::Person, &Criteria::eq("job_title", "x")), Access::List { whole: false, not_null: false, .. }));
        assert!(matches!(lowered(Kind::Person, &Criteria::ne("k", Value::Null)), Access::List { whole: false, not_null: true, .. }));
        assert_eq!(lowered(Kind::Person, &Criteria::one_of("emails", Vec::<String>::new())), Access::Never);
        // A fraction of a second would widen or narrow what was asked.
        let fine = Criteria::compare("update_time", Operator::Gte, "2026-01-01T00:00:00.5Z");
        assert!(matches!(lowered(Kind::Person, &fine), Access::List { whole: false, .. }));
    }

    #[test]
    fn our_own_comparison_refuses_what_the_search_adds() {
        let person: Fields = [
            ("emails", json!([{"value": "myself@example.com", "primary": true}, {"value": "Jo@x.com", "primary": false}])),
            ("phones", json!([{"value": "+32 (2) 555-12", "primary": true}])),
        ]
        .into_iter()
        .collect();
        let ask = |filter: Criteria| holds(Kind::Person, &filter, &person, &FieldMap::default());
        assert!(!ask(Criteria::eq("emails", "self@example.com")));
        assert!(ask(Criteria::eq("email", "jo@X.com")) && ask(Criteria::one_of("emails", ["a", "myself@example.com"])));
        assert!(ask(Criteria::eq("phone", "+32255512")) && !ask(Criteria::eq("phones", "255512")));
    }
}
