//! Queries whose lists of values do not fit into a request line, as several that do.
//!
//! Request line and headers may take 16,384 bytes, and there is no query by POST. The statements have disjoint lists, so that no
//! row comes twice: values that Salesforce may hold for the same (case, accents, blanks at the ends, ids of 15 and 18
//! characters) stay together.

use std::collections::HashMap;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::query::Criteria;
use crate::salesforce::ids;
use crate::salesforce::select::Soql;
use crate::salesforce::soql::encoded_len;

impl Soql {
    /// This query as queries whose statements take at most `max_bytes` in a URL each. Every record that matches this one matches
    /// exactly one of them; a limit stands in each.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if it is too long and has no list that could be split (lists within OR and NOT cannot);
    /// [`crate::error::ErrorKind::Unsupported`] if it is too long and sorted or has an offset.
    pub fn split(&self, max_bytes: usize) -> Result<Vec<Self>> {
        let total = self.encoded()?;
        if total <= max_bytes {
            return Ok(vec![self.clone()]);
        }
        if !self.order.is_empty() || self.offset.is_some() {
            return Err(Error::unsupported(
                "a list of the condition is too long for one request, and several cannot be sorted together; leave the order out",
            ));
        }
        let too_long = || Error::config("the query is too long for a request line and has no list of values that could be split");
        let filter = self.filter.as_ref().ok_or_else(too_long)?;
        let mut best = None;
        self.longest(filter, &mut Vec::new(), &mut best)?;
        let (cost, path) = best.ok_or_else(too_long)?;
        let room = (max_bytes + cost).checked_sub(total).filter(|room| *room > 0).ok_or_else(too_long)?;
        let Some(Criteria::In { field, values }) = at(filter, &path) else {
            return Err(Error::internal("a list of a condition was lost"));
        };
        let mut chunks: Vec<(usize, Vec<Value>)> = Vec::new();
        for group in alike(values) {
            let mut size = 0;
            for value in &group {
                size += self.cost(field, value)?;
            }
            if size > room {
                return Err(too_long());
            }
            match chunks.last_mut() {
                Some((used, chunk)) if *used + size <= room => {
                    *used += size;
                    chunk.extend(group);
                }
                _ => chunks.push((size, group)),
            }
        }
        let part = |values: Vec<Value>| {
            let mut part = self.clone();
            if let Some(list) = part.filter.as_mut().and_then(|filter| at_mut(filter, &path)) {
                *list = Criteria::In { field: field.clone(), values };
            }
            part
        };
        Ok(chunks.into_iter().map(|(_, values)| part(values)).collect())
    }

    fn encoded(&self) -> Result<usize> {
        Ok(encoded_len(&self.written(1)?))
    }

    /// What a value takes in a URL, with its comma; `OR field = null` for null.
    fn cost(&self, field: &str, value: &Value) -> Result<usize> {
        Ok(if value.is_null() { encoded_len(field) + 30 } else { encoded_len(&self.value(field, value)?) + 3 })
    }

    /// The list that takes the most, of those every record must match, and where it stands.
    fn longest(&self, criteria: &Criteria, path: &mut Vec<usize>, best: &mut Option<(usize, Vec<usize>)>) -> Result<()> {
        match criteria {
            Criteria::All(parts) => {
                for (position, part) in parts.iter().enumerate() {
                    path.push(position);
                    self.longest(part, path, best)?;
                    path.pop();
                }
            }
            Criteria::In { field, values } => {
                let mut cost = 0;
                for value in values {
                    cost += self.cost(field, value)?;
                }
                if best.as_ref().is_none_or(|(known, _)| cost > *known) {
                    *best = Some((cost, path.clone()));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn at<'a>(criteria: &'a Criteria, path: &[usize]) -> Option<&'a Criteria> {
    match (path.split_first(), criteria) {
        (None, found) => Some(found),
        (Some((position, rest)), Criteria::All(parts)) => at(parts.get(*position)?, rest),
        _ => None,
    }
}

fn at_mut<'a>(criteria: &'a mut Criteria, path: &[usize]) -> Option<&'a mut Criteria> {
    match (path.split_first(), criteria) {
        (None, found) => Some(found),
        (Some((position, rest)), Criteria::All(parts)) => at_mut(parts.get_mut(*position)?, rest),
        _ => None,
    }
}

/// Values in groups that Salesforce may hold for the same, in the order of their first appearance; exact repeats are left out.
fn alike(values: &[Value]) -> Vec<Vec<Value>> {
    let mut groups: Vec<Vec<Value>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for value in values {
        let key = match value {
            Value::String(text) => match ids::to_18(text) {
                Ok(id) => id.to_lowercase(),
                Err(_) => deunicode::deunicode(text.trim()).to_lowercase(),
            },
            other => other.to_string(),
        };
        let place = *places.entry(key).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) if group.contains(value) => {}
            Some(group) => group.push(value.clone()),
            None => groups.push(vec![value.clone()]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::query::Operator;
    use proptest::prelude::*;
    use serde_json::json;

    fn query(filter: &Criteria) -> Soql {
        Soql::select(["Id"]).from("Lead").filter(filter)
    }

    fn lists(parts: &[Soql]) -> Vec<Vec<Value>> {
        fn list(criteria: &Criteria) -> Option<Vec<Value>> {
            match criteria {
                Criteria::In { values, .. } => Some(values.clone()),
                Criteria::All(parts) => parts.iter().find_map(list),
                _ => None,
            }
        }
        parts.iter().map(|part| list(part.filter.as_ref().unwrap()).unwrap()).collect()
    }

    #[test]
    fn what_fits_stays_whole_and_what_cannot_be_split_is_told() {
        let short = Criteria::one_of("Email", ["a", "b"]);
        assert_eq!(query(&short).split(1000).unwrap().len(), 1);
        let many = Criteria::one_of("Email", (0..200).map(|n| format!("{n}@x.example")));
        let parts = query(&many.clone().and(Criteria::compare("Score__c", Operator::Gt, 5))).split(1000).unwrap();
        assert!(parts.len() > 3);
        assert!(parts.iter().all(|part| part.build().unwrap().contains("Score__c > 5")));
        let sorted = query(&many).order_by("Id", false).split(1000).unwrap_err();
        assert_eq!(sorted.kind(), ErrorKind::Unsupported);
        for never in [Criteria::Not(Box::new(many.clone())), many.or(Criteria::eq("A", 1))] {
            assert_eq!(query(&never).split(1000).unwrap_err().kind(), ErrorKind::Config);
        }
        assert!(query(&Criteria::one_of("A", ["x".repeat(2000)])).split(1000).is_err());
    }

    #[test]
    fn what_salesforce_holds_for_the_same_stays_together() {
        let mut values: Vec<Value> = vec![json!("Ann@x.example"), json!("00QAb00000Xy12Z"), json!("José")];
        values.extend((0..100).map(|n| json!(format!("filler {n}"))));
        values.extend([json!("ANN@X.EXAMPLE "), json!("00QAb00000Xy12ZMAR"), json!("jose"), Value::Null, json!("José")]);
        let parts = query(&Criteria::one_of("A", values)).split(900).unwrap();
        let lists = lists(&parts);
        let holds = |text: &str| lists.iter().position(|list| list.contains(&json!(text))).unwrap();
        assert_eq!(holds("Ann@x.example"), holds("ANN@X.EXAMPLE "));
        assert_eq!(holds("00QAb00000Xy12Z"), holds("00QAb00000Xy12ZMAR"));
        assert_eq!(holds("José"), holds("jose"));
        assert_eq!(lists.iter().flatten().filter(|value| value.is_null()).count(), 1);
        assert_eq!(lists.iter().flatten().filter(|value| **value == json!("José")).count(), 1);
    }

    proptest! {
        #[test]
        fn every_value_is_asked_for_once(values in prop::collection::hash_set("[a-zé'%& ]{1,20}", 1..200), max in 400usize..3000) {
            let wanted: Vec<String> = values.into_iter().collect();
            let parts = query(&Criteria::one_of("A", wanted.clone())).split(max).unwrap();
            for part in &parts {
                prop_assert!(encoded_len(&part.build().unwrap()) <= max);
            }
            let mut asked: Vec<String> = lists(&parts).into_iter().flatten().map(|value| value.as_str().unwrap().to_owned()).collect();
            let mut wanted = wanted;
            asked.sort();
            wanted.sort();
            prop_assert_eq!(asked, wanted);
        }
    }
}
