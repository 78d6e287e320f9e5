//! Lists too long for one search: asked for in portions, one search after the other.

use std::collections::HashSet;

use serde_json::Value;

use crate::hubspot::dialect::plain;
use crate::model::Fields;
use crate::query::{Criteria, Query};

/// Characters of one request.
pub(super) const MAX_BODY: usize = 3_000;
/// What a request holds beside names and values.
const FRAME: usize = 450;
/// Characters a portion has at least.
const LEAST: usize = 600;

/// A search whose condition holds a list that is too long.
#[derive(Debug)]
pub(super) struct Portions {
    pub(super) field: String,
    values: Vec<Vec<Value>>,
    rest: Vec<Criteria>,
}

fn folded(value: &Value) -> String {
    plain(value).unwrap_or_default().trim().to_lowercase()
}

impl Portions {
    /// The portions of the longest list that all records must satisfy; `None` if the request is not too long.
    pub(super) fn of(query: &Query) -> Option<Self> {
        // Portions come one after the other, so there is no order over all of them.
        if !query.order.is_empty() {
            return None;
        }
        let parts: Vec<&Criteria> = match &query.filter {
            Criteria::All(parts) => parts.iter().collect(),
            one => vec![one],
        };
        // A text is sent in lower case too, where that is another one (see the filters).
        let width = |value: &Value| {
            let text = plain(value).unwrap_or_default();
            let lower = text.to_lowercase();
            let twice = if lower == text { 0 } else { lower.chars().count() + 3 };
            text.chars().count() + 3 + twice
        };
        let long = |part: &&Criteria| if let Criteria::In { values, .. } = part { values.iter().map(width).sum() } else { 0_usize };
        let at = (0..parts.len()).max_by_key(|at| parts.get(*at).map_or(0, long))?;
        let rest: Vec<Criteria> = parts.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, part)| (*part).clone()).collect();
        let Criteria::In { field, values } = *parts.get(at)? else { return None };
        let names: usize = query.select.iter().map(|name| name.chars().count() + 3).sum();
        let others: usize = rest.iter().map(|part| part.to_string().chars().count() * 2).sum();
        let room = MAX_BODY.saturating_sub(FRAME + field.len() + names + others).max(LEAST);
        if values.iter().map(width).sum::<usize>() <= room {
            return None;
        }
        // What differs only in case stays together: a text has one case for HubSpot.
        let mut sorted: Vec<(String, &Value)> = values.iter().map(|value| (folded(value), value)).collect();
        sorted.sort_by(|one, other| one.0.cmp(&other.0));
        let mut portions: Vec<Vec<Value>> = Vec::new();
        let (mut used, mut last) = (usize::MAX, String::new());
        for (text, value) in sorted {
            let fits = used.saturating_add(width(value)) <= room || text == last;
            match portions.last_mut().filter(|_| fits) {
                Some(portion) => portion.push(value.clone()),
                None => {
                    portions.push(vec![value.clone()]);
                    used = 0;
                }
            }
            used += width(value);
            last = text;
        }
        Some(Self { field: field.clone(), values: portions, rest })
    }

    pub(super) fn count(&self) -> usize {
        self.values.len()
    }

    /// The condition with one portion of the list.
    pub(super) fn filter(&self, at: usize) -> Criteria {
        let values = self.values.get(at).cloned().unwrap_or_default();
        let list = Criteria::In { field: self.field.clone(), values };
        Criteria::All(self.rest.iter().cloned().chain([list]).collect())
    }

    /// Tells records that an earlier portion found: a property of several choices may be in two of them.
    pub(super) fn found_before(&self, at: usize) -> impl Fn(&Fields) -> bool {
        let earlier: HashSet<String> = self.values.iter().take(at).flatten().map(folded).collect();
        let field = self.field.clone();
        move |fields: &Fields| {
            let text = fields.text(&field).unwrap_or_default();
            text.contains(';') && text.split(';').any(|item| earlier.contains(&item.trim().to_lowercase()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Entity;
    use serde_json::json;

    fn query(filter: Criteria) -> Query {
        Query::new(Entity::from_static("contacts")).filter(filter).select(["email", "firstname"])
    }

    #[test]
    fn portions_hold_each_value_once_and_fit() {
        let emails: Vec<String> = (0..200).map(|n| format!("Somebody.Else.{n:03}@a-company.example")).collect();
        let portions = Portions::of(&query(Criteria::one_of("email", emails.clone()).and(Criteria::eq("city", "Oslo")))).unwrap();
        let mut seen: Vec<String> = portions.values.iter().flatten().filter_map(plain).collect();
        seen.sort();
        assert_eq!(seen, emails);
        for at in 0..portions.count() {
            let lowered = crate::hubspot::filter::lower(&portions.filter(at), false).unwrap();
            let text = serde_json::to_string(&lowered.groups).unwrap();
            assert!(text.chars().count() < MAX_BODY - 200, "{}", text.len());
        }
        assert!(Portions::of(&query(Criteria::one_of("email", emails.into_iter().take(20)))).is_none(), "one request is enough");
    }

    #[test]
    fn a_record_of_two_choices_is_told_once() {
        let choices = (0..300).map(|n| format!("choice-{n:03}"));
        let portions = Portions::of(&query(Criteria::one_of("roles", choices))).unwrap();
        let fields = |text: &str| Fields::from_value(json!({ "roles": text })).unwrap();
        assert!(!portions.found_before(0)(&fields("choice-000;choice-299")));
        assert!(portions.found_before(1)(&fields("choice-000;choice-299")));
        assert!(!portions.found_before(1)(&fields("choice-299")));
    }

    #[test]
    fn cases_of_one_text_stay_together() {
        let values = (0..80).flat_map(|n| [format!("Value-{n:02}-{}", "x".repeat(40)), format!("VALUE-{n:02}-{}", "x".repeat(40))]);
        let portions = Portions::of(&query(Criteria::one_of("name", values))).unwrap();
        let mut seen = HashSet::new();
        for portion in &portions.values {
            let own: HashSet<String> = portion.iter().map(folded).collect();
            assert!(own.iter().all(|text| seen.insert(text.clone())));
        }
        assert!(portions.count() > 1);
    }
}
