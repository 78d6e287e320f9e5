//! Conditions as SOQL, every value escaped, every name checked.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::{FieldType, parse_date, parse_datetime};
use crate::query::{Criteria, Operator};
use crate::salesforce::select::{Soql, sign};
use crate::salesforce::soql::{date, datetime, identifier, like, literal};

impl Soql {
    /// `None` stands for what always holds.
    pub(super) fn condition(&self, criteria: &Criteria, depth: usize) -> Result<Option<String>> {
        if depth > 100 {
            return Err(Error::config("the condition is nested too deeply for SOQL"));
        }
        Ok(Some(match criteria {
            Criteria::All(parts) => {
                let parts: Vec<String> =
                    parts.iter().filter_map(|part| self.condition(part, depth + 1).transpose()).collect::<Result<_>>()?;
                return Ok(joined(parts, " AND "));
            }
            Criteria::Any(parts) => {
                let mut lowered = Vec::with_capacity(parts.len());
                for part in parts {
                    match self.condition(part, depth + 1)? {
                        Some(part) => lowered.push(part),
                        None => return Ok(None),
                    }
                }
                joined(lowered, " OR ").unwrap_or_else(never)
            }
            Criteria::Not(part) => match &**part {
                Criteria::IsNull { field } => format!("{} != null", identifier(field)?),
                Criteria::Not(inner) => return self.condition(inner, depth + 1),
                part => match self.condition(part, depth + 1)? {
                    Some(condition) => format!("(NOT {})", wrapped(&condition)),
                    None => never(),
                },
            },
            Criteria::IsNull { field } => format!("{} = null", identifier(field)?),
            Criteria::Contains { field, text } => format!("{} LIKE {}", identifier(field)?, like("%", text, "%")?),
            Criteria::StartsWith { field, text } => format!("{} LIKE {}", identifier(field)?, like("", text, "%")?),
            Criteria::In { field, values } => {
                let name = identifier(field)?;
                let (nulls, values): (Vec<_>, Vec<_>) = values.iter().partition(|value| value.is_null());
                let literals = values.into_iter().map(|value| self.value(field, value)).collect::<Result<Vec<_>>>()?;
                match (literals.is_empty(), nulls.is_empty()) {
                    (true, true) => never(),
                    (true, false) => format!("{name} = null"),
                    (false, true) => format!("{name} IN ({})", literals.join(",")),
                    (false, false) => format!("({name} IN ({}) OR {name} = null)", literals.join(",")),
                }
            }
            Criteria::Compare { field, op, value } => {
                let sign = sign(*op);
                if (value.is_null() || value.is_boolean()) && !matches!(op, Operator::Eq | Operator::Ne) {
                    return Err(Error::unsupported("SOQL cannot order null or booleans"));
                }
                format!("{} {sign} {}", identifier(field)?, self.value(field, value)?)
            }
        }))
    }

    pub(super) fn value(&self, field: &str, value: &Value) -> Result<String> {
        let known = self.types.get(&field.to_ascii_lowercase());
        let unfit = || Error::config("a value of the condition does not fit the type of its field");
        match value {
            Value::Null => Ok("null".to_owned()),
            Value::Bool(flag) => Ok(if *flag { "TRUE" } else { "FALSE" }.to_owned()),
            Value::Number(number) => match known {
                Some(FieldType::Text | FieldType::Picklist | FieldType::Phone | FieldType::Email | FieldType::Url | FieldType::Id) => {
                    literal(&number.to_string())
                }
                _ => Ok(plain_number(&number.to_string())),
            },
            Value::String(text) => match known {
                Some(FieldType::Date) => parse_date(text).map(date).ok_or_else(unfit),
                Some(FieldType::DateTime { .. }) => {
                    let at = parse_datetime(text).or_else(|| midnight(text));
                    at.map(datetime).ok_or_else(unfit)
                }
                Some(FieldType::Integer | FieldType::Decimal { .. }) => {
                    let number = text.trim().parse::<rust_decimal::Decimal>().map_err(|_| unfit())?;
                    Ok(number.to_string())
                }
                Some(FieldType::Boolean) => match text.trim() {
                    flag if flag.eq_ignore_ascii_case("true") => Ok("TRUE".to_owned()),
                    flag if flag.eq_ignore_ascii_case("false") => Ok("FALSE".to_owned()),
                    _ => Err(unfit()),
                },
                Some(FieldType::Any) | None if dated(field) => match (bare_date(text), parse_datetime(text)) {
                    // A bare day against an instant means its midnight; only the date types know better.
                    (Some(day), _) if !stamped(field) => Ok(date(day)),
                    (Some(_), _) => midnight(text).map(datetime).ok_or_else(unfit),
                    (None, Some(at)) if text.contains('-') => Ok(datetime(at)),
                    _ => literal(text),
                },
                _ => literal(text),
            },
            Value::Array(_) | Value::Object(_) => Err(Error::unsupported("SOQL compares with texts, numbers, booleans and dates only")),
        }
    }
}

/// True if `value` may need the field's type to be written right.
pub(crate) fn needs_type(field: &str, value: &Value) -> bool {
    // A custom field's name promises nothing: `Seen_Date__c` may hold days or instants.
    let unsure = !dated(field) || field.ends_with("__c");
    value.as_str().is_some_and(|text| unsure && (bare_date(text).is_some() || (text.contains('-') && parse_datetime(text).is_some())))
}

/// A condition that never holds.
fn never() -> String {
    "Id = null".to_owned()
}

fn joined(mut parts: Vec<String>, word: &str) -> Option<String> {
    match parts.len() {
        0 => None,
        1 => parts.pop(),
        // SOQL wants parentheses wherever AND and OR meet.
        _ => Some(format!("({})", parts.join(word))),
    }
}

fn wrapped(condition: &str) -> String {
    if condition.starts_with('(') && condition.ends_with(')') && balanced(condition) {
        condition.to_owned()
    } else {
        format!("({condition})")
    }
}

/// True if the first parenthesis is closed by the last one; texts in quotes are passed over.
fn balanced(condition: &str) -> bool {
    let mut depth = 0usize;
    let mut quoted = false;
    let mut escaped = false;
    for (at, character) in condition.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => {
                depth = depth.saturating_sub(1);
                if depth == 0 && at + 1 < condition.len() {
                    return false;
                }
            }
            _ => {}
        }
    }
    true
}

/// SOQL has no exponents.
fn plain_number(text: &str) -> String {
    if !text.contains(['e', 'E']) {
        return text.to_owned();
    }
    rust_decimal::Decimal::from_scientific(text).map_or_else(|_| text.to_owned(), |number| number.normalize().to_string())
}

fn bare_date(text: &str) -> Option<jiff::civil::Date> {
    (text.len() == 10).then(|| parse_date(text)).flatten()
}

fn midnight(text: &str) -> Option<jiff::Timestamp> {
    jiff::tz::Offset::UTC.to_timestamp(bare_date(text.trim())?.at(0, 0, 0, 0)).ok()
}

fn last_part(field: &str) -> &str {
    let name = field.rsplit('.').next().unwrap_or(field);
    name.strip_suffix("__c").unwrap_or(name)
}

/// Names that hold days or instants in the standard schema.
fn dated(field: &str) -> bool {
    let name = last_part(field);
    ["Date", "date", "Modstamp", "DateTime", "Datetime", "Timestamp"].iter().any(|end| name.ends_with(end)) || stamped(field)
}

/// Instants of every standard object.
fn stamped(field: &str) -> bool {
    let name = last_part(field);
    ["SystemModstamp", "CreatedDate", "LastModifiedDate", "LastViewedDate", "LastReferencedDate"]
        .iter()
        .any(|stamp| name.eq_ignore_ascii_case(stamp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Entity, EntitySchema, FieldSchema};
    use serde_json::json;

    fn filter(criteria: &Criteria) -> String {
        let soql = Soql::select(["Id"]).from("Lead").filter(criteria).build().unwrap();
        soql.strip_prefix("SELECT Id FROM Lead WHERE ").map_or_else(String::new, ToOwned::to_owned)
    }

    #[test]
    fn conditions() {
        let a = || Criteria::eq("A", "x");
        let b = || Criteria::compare("B", Operator::Gte, 5);
        assert_eq!(filter(&a().and(b().or(a()))), "(A = 'x' AND (B >= 5 OR A = 'x'))");
        assert_eq!(filter(&Criteria::always()), "");
        assert_eq!(filter(&Criteria::Any(vec![])), "Id = null");
        assert_eq!(filter(&Criteria::Any(vec![a(), Criteria::always()])), "");
        assert_eq!(filter(&Criteria::Not(Box::new(Criteria::always()))), "Id = null");
        assert_eq!(filter(&Criteria::ne("A", Value::Null)), "A != null");
        assert_eq!(filter(&Criteria::ne("A", true)), "A != TRUE");
        assert_eq!(filter(&Criteria::one_of("A", Vec::<String>::new())), "Id = null");
        assert_eq!(filter(&Criteria::one_of("A", ["x", "y'"])), r"A IN ('x','y\'')");
        assert_eq!(filter(&Criteria::one_of("A", [json!("x"), Value::Null])), "(A IN ('x') OR A = null)");
        assert_eq!(
            filter(&Criteria::Not(Box::new(Criteria::StartsWith { field: "A".into(), text: "50%".into() }))),
            r"(NOT (A LIKE '50\%%'))"
        );
        assert_eq!(filter(&Criteria::Contains { field: "Owner.Name".into(), text: "_".into() }), r"Owner.Name LIKE '%\_%'");
        assert_eq!(filter(&Criteria::eq("A", 1e21)), "A = 1000000000000000000000");
        assert!(Soql::select(["Id"]).from("Lead").filter(&Criteria::eq("A = '' OR B", 1)).build().is_err());
        assert!(Soql::select(["Id"]).from("Lead").filter(&Criteria::compare("A", Operator::Gt, true)).build().is_err());
        assert!(Soql::select(["Id FROM User"]).from("Lead").build().is_err());
    }

    #[test]
    fn dates_by_name_and_by_type() {
        assert_eq!(
            filter(&Criteria::compare("CreatedDate", Operator::Gt, "2026-01-02T03:04:05.000+0000")),
            "CreatedDate > 2026-01-02T03:04:05Z"
        );
        assert_eq!(filter(&Criteria::compare("CreatedDate", Operator::Gt, "2026-01-02")), "CreatedDate > 2026-01-02T00:00:00Z");
        assert_eq!(filter(&Criteria::eq("CloseDate", "2026-01-02")), "CloseDate = 2026-01-02");
        assert_eq!(filter(&Criteria::eq("LastName", "2026-01-02")), "LastName = '2026-01-02'");
        let schema = EntitySchema::new(
            Entity::from_static("Lead"),
            "Lead",
            vec![
                FieldSchema::new("Seen__c", FieldType::DateTime { whole_seconds: true }),
                FieldSchema::new("Code_Date", FieldType::Text),
                FieldSchema::new("Score__c", FieldType::Decimal { scale: Some(0) }),
            ],
        );
        let typed = |criteria: Criteria| Soql::select(["Id"]).from("Lead").typed(&schema).filter(&criteria).build();
        assert!(typed(Criteria::eq("Seen__c", "2026-01-02")).unwrap().ends_with("Seen__c = 2026-01-02T00:00:00Z"));
        assert!(typed(Criteria::eq("Code_Date", "2026-01-02")).unwrap().ends_with("Code_Date = '2026-01-02'"));
        assert!(typed(Criteria::eq("Score__c", "7")).unwrap().ends_with("Score__c = 7"));
        assert!(typed(Criteria::eq("Code_Date", 7)).unwrap().ends_with("Code_Date = '7'"));
        assert!(typed(Criteria::eq("Score__c", "7 OR 1=1")).is_err());
    }
}
