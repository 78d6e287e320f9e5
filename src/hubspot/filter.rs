//! Conditions as HubSpot's filter groups: OR of groups, AND within each.

use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::hubspot::dialect::plain;
use crate::query::{Criteria, Operator};

pub(super) const MAX_GROUPS: usize = 5;
pub(super) const MAX_FILTERS: usize = 6;
pub(super) const MAX_TOTAL: usize = 18;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Filter {
    pub(super) property_name: String,
    pub(super) operator: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) values: Vec<String>,
}

impl Filter {
    pub(super) fn new(property: &str, operator: &'static str, value: impl Into<Option<String>>) -> Self {
        Self { property_name: property.to_owned(), operator, value: value.into(), values: Vec::new() }
    }
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Group {
    pub(super) filters: Vec<Filter>,
}

/// A condition as HubSpot can say it, and what is left to filter here.
#[derive(Debug)]
pub(super) struct Lowered {
    /// None of them: nothing matches.
    pub(super) groups: Vec<Group>,
    pub(super) local: Vec<Criteria>,
}

/// Lowers `criteria`; with `residual`, parts that HubSpot cannot say stay local.
pub(super) fn lower(criteria: &Criteria, residual: bool) -> Result<Lowered> {
    let mut parts = Vec::new();
    flatten(criteria, &mut parts);
    let mut groups: Vec<Vec<Filter>> = vec![Vec::new()];
    let mut local = Vec::new();
    for part in parts {
        let lowered = match part {
            // A token that begins so need not be the first of the text: HubSpot narrows, the rest is looked at here.
            Criteria::StartsWith { field, text } if is_word(text) => {
                local.push(part.clone());
                Ok(vec![vec![Filter::new(field, "CONTAINS_TOKEN", format!("{text}*"))]])
            }
            part => dnf(part, false),
        };
        let lowered =
            match lowered.and_then(|lowered| product(&groups, &lowered)).and_then(|all| within_limits(all.as_slice()).map(|()| all)) {
                Ok(lowered) => lowered,
                Err(_) if residual => {
                    if !local.contains(part) {
                        local.push(part.clone());
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
        groups = lowered;
    }
    Ok(Lowered { groups: groups.into_iter().map(|filters| Group { filters }).collect(), local })
}

fn flatten<'a>(criteria: &'a Criteria, parts: &mut Vec<&'a Criteria>) {
    match criteria {
        Criteria::All(all) => all.iter().for_each(|part| flatten(part, parts)),
        part => parts.push(part),
    }
}

pub(super) fn within_limits(groups: &[Vec<Filter>]) -> Result<()> {
    let total: usize = groups.iter().map(Vec::len).sum();
    let widest = groups.iter().map(Vec::len).max().unwrap_or_default();
    if groups.len() > MAX_GROUPS || widest > MAX_FILTERS || total > MAX_TOTAL {
        return Err(Error::unsupported(format!(
            "the condition needs {} groups with up to {widest} filters, {total} in all; hubspot takes {MAX_GROUPS}, {MAX_FILTERS} and {MAX_TOTAL}: split the search",
            groups.len()
        )));
    }
    Ok(())
}

fn product(left: &[Vec<Filter>], right: &[Vec<Filter>]) -> Result<Vec<Vec<Filter>>> {
    if left.len() * right.len() > 64 {
        return Err(Error::unsupported("the condition has far more alternatives than a hubspot search takes: split the search"));
    }
    let mut groups: Vec<Vec<Filter>> = Vec::new();
    for (one, other) in left.iter().flat_map(|one| right.iter().map(move |other| (one, other))) {
        let mut group = one.clone();
        for filter in other {
            if !group.contains(filter) {
                group.push(filter.clone());
            }
        }
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    Ok(groups)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(char::is_alphanumeric)
}

fn dnf(criteria: &Criteria, not: bool) -> Result<Vec<Vec<Filter>>> {
    match criteria {
        Criteria::Not(part) => dnf(part, !not),
        Criteria::All(parts) if !not => every(parts, false),
        Criteria::Any(parts) if not => every(parts, true),
        Criteria::All(parts) => either(parts, true),
        Criteria::Any(parts) => either(&joined(parts), false),
        leaf => leaf_filters(leaf, not),
    }
}

fn every(parts: &[Criteria], not: bool) -> Result<Vec<Vec<Filter>>> {
    parts.iter().try_fold(vec![Vec::new()], |groups, part| product(&groups, &dnf(part, not)?))
}

fn either(parts: &[Criteria], not: bool) -> Result<Vec<Vec<Filter>>> {
    let mut groups: Vec<Vec<Filter>> = Vec::new();
    for part in parts {
        for group in dnf(part, not)? {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
    }
    Ok(groups)
}

/// Equalities of one field, OR-ed, are one list: groups are scarce.
fn joined(parts: &[Criteria]) -> Vec<Criteria> {
    let mut out: Vec<Criteria> = Vec::new();
    for part in parts {
        let (field, more) = match part {
            Criteria::Compare { field, op: Operator::Eq, value } => (field, vec![value.clone()]),
            Criteria::In { field, values } => (field, values.clone()),
            other => {
                out.push(other.clone());
                continue;
            }
        };
        let known = out.iter_mut().find_map(|known| match known {
            Criteria::In { field: of, values } if of == field => Some(values),
            _ => None,
        });
        match known {
            Some(values) => values.extend(more),
            None => out.push(Criteria::In { field: field.clone(), values: more }),
        }
    }
    out
}

fn text(field: &str, value: &Value) -> Result<String> {
    match value {
        Value::Bool(yes) => Ok(yes.to_string()),
        value => plain(value).ok_or_else(|| Error::unsupported(format!("hubspot compares {field} with a text, number or boolean only"))),
    }
}

/// `filter`, or with `empty` also records without the property: HubSpot's negations do not match those.
fn with_empty(field: &str, filter: Filter, empty: bool) -> Vec<Vec<Filter>> {
    let mut groups = vec![vec![filter]];
    if empty {
        groups.push(vec![Filter::new(field, "NOT_HAS_PROPERTY", None)]);
    }
    groups
}

fn leaf_filters(leaf: &Criteria, not: bool) -> Result<Vec<Vec<Filter>>> {
    match leaf {
        // An empty text is no value.
        Criteria::Compare { field, op, value } if value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty()) => {
            let empty = || vec![vec![Filter::new(field, "NOT_HAS_PROPERTY", None)]];
            let filled = || vec![vec![Filter::new(field, "HAS_PROPERTY", None)]];
            Ok(match (op, not) {
                (Operator::Eq, false) | (Operator::Ne, true) => empty(),
                (Operator::Eq, true) | (Operator::Ne, false) => filled(),
                // Neither less nor greater.
                (_, false) => Vec::new(),
                (_, true) => vec![Vec::new()],
            })
        }
        Criteria::Compare { field, op, value } => {
            let value = text(field, value)?;
            let (operator, empty) = match (op, not) {
                (Operator::Eq, false) | (Operator::Ne, true) => ("EQ", false),
                (Operator::Eq, true) | (Operator::Ne, false) => ("NEQ", true),
                (Operator::Gt, false) => ("GT", false),
                (Operator::Gt, true) => ("LTE", true),
                (Operator::Gte, false) => ("GTE", false),
                (Operator::Gte, true) => ("LT", true),
                (Operator::Lt, false) => ("LT", false),
                (Operator::Lt, true) => ("GTE", true),
                (Operator::Lte, false) => ("LTE", false),
                (Operator::Lte, true) => ("GT", true),
            };
            Ok(with_empty(field, Filter::new(field, operator, value), empty))
        }
        Criteria::In { field, values } => {
            if values.is_empty() {
                return Ok(if not { vec![Vec::new()] } else { Vec::new() });
            }
            if values.iter().any(|value| value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())) {
                return Err(Error::unsupported(format!("a list for {field} holds an empty value; ask for the empty field by itself")));
            }
            let texts: Vec<String> = values.iter().map(|value| text(field, value)).collect::<Result<_>>()?;
            if let [one] = texts.as_slice() {
                return Ok(with_empty(field, Filter::new(field, if not { "NEQ" } else { "EQ" }, one.clone()), not));
            }
            let mut filter = Filter::new(field, if not { "NOT_IN" } else { "IN" }, None);
            // Lists of text properties must be in lower case, those of enumerations as they are.
            for value in texts.iter().cloned().chain(texts.iter().map(|text| text.to_lowercase())) {
                if !filter.values.contains(&value) {
                    filter.values.push(value);
                }
            }
            Ok(with_empty(field, filter, not))
        }
        Criteria::IsNull { field } => Ok(vec![vec![Filter::new(field, if not { "HAS_PROPERTY" } else { "NOT_HAS_PROPERTY" }, None)]]),
        Criteria::Contains { field, text } if is_word(text) => {
            let operator = if not { "NOT_CONTAINS_TOKEN" } else { "CONTAINS_TOKEN" };
            Ok(with_empty(field, Filter::new(field, operator, format!("*{text}*")), not))
        }
        Criteria::Contains { field, .. } | Criteria::StartsWith { field, .. } => Err(Error::unsupported(format!(
            "hubspot looks for whole words: the condition on {field} cannot be searched; allow it to be filtered here"
        ))),
        _ => Err(Error::unsupported("hubspot cannot search by this condition")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lowered(text: &str, residual: bool) -> Result<(Vec<Vec<String>>, usize)> {
        let lowered = lower(&Criteria::parse(text).unwrap(), residual)?;
        let show = |filter: &Filter| {
            let value = filter.value.clone().unwrap_or_else(|| filter.values.join("|"));
            format!("{} {} {value}", filter.property_name, filter.operator).trim_end().to_owned()
        };
        let groups = lowered.groups.iter().map(|group| group.filters.iter().map(show).collect()).collect();
        Ok((groups, lowered.local.len()))
    }

    #[test]
    fn conditions_become_groups() {
        let cases: [(&str, &[&[&str]]); 6] = [
            ("a = 1 AND b > 2", &[&["a EQ 1", "b GT 2"]]),
            ("a = 1 OR a = 2", &[&["a IN 1|2"]]),
            ("a != 1", &[&["a NEQ 1"], &["a NOT_HAS_PROPERTY"]]),
            ("NOT (a > 1)", &[&["a LTE 1"], &["a NOT_HAS_PROPERTY"]]),
            ("a IN ('Web', 'Fair')", &[&["a IN Web|Fair|web|fair"]]),
            ("(a = 1 OR b = 2) AND c = 3", &[&["a EQ 1", "c EQ 3"], &["b EQ 2", "c EQ 3"]]),
        ];
        for (text, wanted) in cases {
            assert_eq!(lowered(text, false).unwrap().0, wanted, "{text}");
        }
    }

    #[test]
    fn what_hubspot_cannot_say_is_refused_or_stays_here() {
        let text = "a = 1 AND name LIKE '%two words%'";
        assert_eq!(lowered(text, false).unwrap_err().kind(), crate::error::ErrorKind::Unsupported);
        assert_eq!(lowered(text, true).unwrap(), (vec![vec!["a EQ 1".to_owned()]], 1));
    }
}
