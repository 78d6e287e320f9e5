//! Conditions carried out in memory, as a CRM would.

use std::cmp::Ordering;

use jiff::Timestamp;
use jiff::tz::Offset;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::model::{Fields, parse_date, parse_datetime};
use crate::query::criteria::{Criteria, Operator};

impl Criteria {
    /// Whether a record with these fields matches.
    ///
    /// As in SOQL: text is compared without regard to case, an empty text is null, null is equal to no value (so `!=` matches
    /// it) and neither less nor greater, and `NOT` turns yes into no and no into yes. A field that is absent counts as null:
    /// select every field a condition reads ([`Criteria::visit_fields`]). Beyond that:
    ///
    /// * A number and a text that holds one compare as numbers, and so do booleans; texts that hold dates compare as instants,
    ///   a bare day as its midnight UTC.
    /// * `Account.Name` finds the field of that name, or else the field `Name` inside the object `Account`.
    /// * A name that no field has exactly finds the only field that differs in case alone.
    /// * A list (a multi-select) equals a text if its members, in any order, are those between the text's semicolons, and
    ///   contains what one of its members contains.
    pub fn matches(&self, fields: &Fields) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(fields)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(fields)),
            Self::Compare { field, op, value } => compare(find(fields, field), *op, value),
            Self::Contains { field, text } => {
                let wanted = text.to_lowercase();
                has_text(find(fields, field), |found| found.contains(&wanted))
            }
            Self::In { field, values } => {
                let found = find(fields, field);
                values.iter().any(|value| equal(found, value))
            }
            Self::IsNull { field } => is_null(find(fields, field)),
            Self::Not(part) => !part.matches(fields),
            Self::StartsWith { field, text } => {
                let wanted = text.to_lowercase();
                has_text(find(fields, field), |found| found.starts_with(&wanted))
            }
        }
    }
}

fn find<'a>(fields: &'a Fields, name: &str) -> &'a Value {
    const NULL: &Value = &Value::Null;
    if let Some(value) = fields.get(name) {
        return value;
    }
    if let Some((first, rest)) = name.split_once('.') {
        let inside = rest.split('.').try_fold(any_case(fields, first).unwrap_or(NULL), |value, part| value.get(part));
        if let Some(value) = inside {
            return value;
        }
    }
    any_case(fields, name).unwrap_or(NULL)
}

fn any_case<'a>(fields: &'a Fields, name: &str) -> Option<&'a Value> {
    if let Some(value) = fields.get(name) {
        return Some(value);
    }
    let mut hits = fields.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
    let (_, value) = hits.next()?;
    hits.next().is_none().then_some(value)
}

fn is_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn compare(found: &Value, op: Operator, value: &Value) -> bool {
    match op {
        Operator::Eq => equal(found, value),
        Operator::Ne => !equal(found, value),
        Operator::Gt => order(found, value) == Some(Ordering::Greater),
        Operator::Gte => matches!(order(found, value), Some(Ordering::Greater | Ordering::Equal)),
        Operator::Lt => order(found, value) == Some(Ordering::Less),
        Operator::Lte => matches!(order(found, value), Some(Ordering::Less | Ordering::Equal)),
    }
}

fn equal(found: &Value, value: &Value) -> bool {
    if is_null(found) || is_null(value) {
        return is_null(found) && is_null(value);
    }
    match (found, value) {
        (Value::Array(_), _) | (_, Value::Array(_)) => match (members(found), members(value)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        },
        (Value::Object(_), _) => found == value,
        _ => order(found, value) == Some(Ordering::Equal),
    }
}

/// The order of two values, if they have one.
fn order(found: &Value, value: &Value) -> Option<Ordering> {
    if is_null(found) || is_null(value) {
        return None;
    }
    match (found, value) {
        (Value::Number(_), _) | (_, Value::Number(_)) => {
            // Numbers beyond 28 digits fall back on doubles.
            match (decimal(found), decimal(value)) {
                (Some(a), Some(b)) => Some(a.cmp(&b)),
                _ => double(found)?.partial_cmp(&double(value)?),
            }
        }
        (Value::Bool(_), _) | (_, Value::Bool(_)) => Some(boolean(found)?.cmp(&boolean(value)?)),
        (Value::String(a), Value::String(b)) => match (instant(a), instant(b)) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => Some(a.trim().to_lowercase().cmp(&b.trim().to_lowercase())),
        },
        _ => None,
    }
}

fn decimal(value: &Value) -> Option<Decimal> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    text.parse().ok().or_else(|| Decimal::from_scientific(&text).ok())
}

fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) if text.trim().eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.trim().eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Only what is written like a date: digits alone may be a phone number.
fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.as_bytes().get(4) != Some(&b'-') {
        return None;
    }
    parse_datetime(text).or_else(|| Offset::UTC.to_timestamp(parse_date(text)?.at(0, 0, 0, 0)).ok())
}

/// The members of a multi-select, in lower case and order, each once.
fn members(value: &Value) -> Option<Vec<String>> {
    let mut members: Vec<String> = match value {
        Value::Array(items) => items.iter().map(text).collect::<Option<_>>()?,
        Value::String(text) => text.split(';').map(|member| member.trim().to_lowercase()).filter(|member| !member.is_empty()).collect(),
        other => vec![text(other)?],
    };
    members.sort_unstable();
    members.dedup();
    Some(members)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_lowercase()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

fn has_text(found: &Value, test: impl Fn(&str) -> bool) -> bool {
    match found {
        found if is_null(found) => false,
        Value::Array(items) => items.iter().filter_map(text).any(|member| test(&member)),
        found => text(found).is_some_and(|found| test(&found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn holds(condition: &str, fields: &Value) -> bool {
        Criteria::parse(condition).unwrap().matches(&Fields::from_value(fields.clone()).unwrap())
    }

    #[test]
    fn as_soql_does() {
        let lead = json!({"Status": "Open", "Rating": null, "Company": "", "HasOptedOutOfEmail": false, "Employees": 20});
        for yes in [
            "Status != 'Disqualified'",
            "Status = 'OPEN'",
            "HasOptedOutOfEmail = false",
            "Rating != 'Hot'",
            "Missing != 'x'",
            "Rating = null AND Company = null AND Missing = null",
            "Employees >= 20 AND Employees < 20.5",
            "Status IN ('closed', 'open')",
            "NOT Rating > 5",
            "Status LIKE 'op%' AND Status LIKE '%PE%'",
            "status = 'Open'",
            "TRUE",
        ] {
            assert!(holds(yes, &lead), "{yes}");
        }
        for no in [
            "Rating = 'Hot'",
            "Rating < 'Hot'",
            "Rating > 'Hot'",
            "Rating IN ('Hot')",
            "Status != 'open'",
            "Employees > 20",
            "Company LIKE '%%'",
            "Status IN ()",
            "FALSE",
            "HasOptedOutOfEmail != false",
            "Status > 5",
        ] {
            assert!(!holds(no, &lead), "{no}");
        }
    }

    #[test]
    fn vendors_dresses() {
        let deal = json!({
            "amount": "1200.50", "open": "true", "at": "2026-01-31T10:00:00.000+0000", "tags": ["B", "a"],
            "account": {"name": "Acme"}, "phone": "0491234567890"
        });
        for yes in [
            "amount > 999",
            "amount = 1200.5",
            "open = true",
            "at = 2026-01-31T11:00:00+01:00",
            "at > 2026-01-31 AND at < 2026-02-01",
            "tags = 'A;B'",
            "tags LIKE '%a%'",
            "account.name = 'ACME'",
            "Account.name = 'acme'",
        ] {
            assert!(holds(yes, &deal), "{yes}");
        }
        assert!(!holds("phone = '491234567890'", &deal));
        assert!(!holds("tags = 'A'", &deal));
    }

    proptest! {
        #[test]
        fn not_is_the_other_answer_and_ne_the_other_of_eq(found in "[a-c ]{0,2}", wanted in "[a-cA-C]{1,2}") {
            let fields: Fields = [("F", found)].into_iter().collect();
            let eq = Criteria::eq("F", wanted.clone());
            prop_assert_eq!(Criteria::ne("F", wanted).matches(&fields), !eq.matches(&fields));
            prop_assert_eq!(Criteria::Not(Box::new(eq.clone())).matches(&fields), !eq.matches(&fields));
        }

        #[test]
        fn exactly_one_order_holds(a in any::<i32>(), b in any::<i32>()) {
            let fields: Fields = [("F", a)].into_iter().collect();
            let count = [Operator::Lt, Operator::Eq, Operator::Gt].into_iter()
                .filter(|op| Criteria::compare("F", *op, b).matches(&fields)).count();
            prop_assert_eq!(count, 1);
        }
    }
}
