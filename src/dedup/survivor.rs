//! The golden record: which value survives when records become one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Fields, Value};

/// How the value of a field is chosen among the records of a group.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Keep {
    /// The first record that has a value, in the order given.
    First,
    /// The last record that has a value: the most recent one, when records come oldest first.
    Last,
    /// The longest text.
    Longest,
    /// The greatest: the latest date, the highest number.
    Max,
    /// The least: the oldest creation date. For consent (`true` = may be contacted) this is the strictest.
    Min,
    /// The value most records agree on; the survivor's own breaks a tie.
    #[default]
    MostFrequent,
    /// The survivor's own value, if it has one, else the most frequent.
    Survivor,
}

/// Survivorship rules as data.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Survivorship {
    /// The rule for fields without one of their own.
    pub default: Keep,
    /// Rules by field name.
    pub fields: BTreeMap<String, Keep>,
    /// Fields that stay together: all are taken from the record that fills most of them (street, city and postal code of one place).
    pub together: Vec<Vec<String>>,
}

/// Place of the record that should stay: the most complete one, the first of several. `None` without records.
pub fn survivor(records: &[&Fields]) -> Option<usize> {
    let filled = |record: &Fields| record.iter().filter(|(_, value)| !is_blank(value)).count();
    (0..records.len()).max_by_key(|at| (records.get(*at).map_or(0, |record| filled(record)), std::cmp::Reverse(*at)))
}

/// Builds the golden record. Blank values never win over others; fields are in the order the survivor, then the others name them.
///
/// The outcome depends on the records and their order alone.
pub fn golden(records: &[&Fields], rules: &Survivorship) -> Fields {
    let Some(best) = survivor(records) else { return Fields::new() };
    let Some(base) = records.get(best) else { return Fields::new() };
    let mut names: Vec<&str> = base.names().collect();
    for record in records {
        for name in record.names() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let mut out = Fields::new();
    for name in names {
        let group = rules.together.iter().find(|group| group.iter().any(|member| member == name));
        let chosen = match group {
            Some(group) => fullest(records, best, group).and_then(|record| record.get(name)),
            None => choose(records, base, name, rules.fields.get(name).copied().unwrap_or(rules.default)),
        };
        if let Some(value) = chosen {
            out.insert(name, value.clone());
        }
    }
    out
}

fn fullest<'a>(records: &[&'a Fields], best: usize, group: &[String]) -> Option<&'a Fields> {
    let filled = |record: &Fields| group.iter().filter(|name| record.get(name).is_some_and(|value| !is_blank(value))).count();
    let at =
        (0..records.len()).max_by_key(|at| (records.get(*at).map_or(0, |record| filled(record)), *at == best, std::cmp::Reverse(*at)))?;
    records.get(at).copied()
}

fn choose<'a>(records: &[&'a Fields], base: &'a Fields, name: &str, keep: Keep) -> Option<&'a Value> {
    let own = base.get(name).filter(|value| !is_blank(value));
    let values: Vec<&Value> = records.iter().filter_map(|record| record.get(name)).filter(|value| !is_blank(value)).collect();
    let first_best = |better: &dyn Fn(&Value, &Value) -> bool| {
        values.iter().copied().fold(None, |kept: Option<&Value>, value| match kept {
            Some(known) if !better(value, known) => Some(known),
            _ => Some(value),
        })
    };
    let chosen = match keep {
        Keep::First => values.first().copied(),
        Keep::Last => values.last().copied(),
        Keep::Longest => first_best(&|x, y| length(x) > length(y)),
        Keep::Max => first_best(&|x, y| order(x, y).is_gt()),
        Keep::Min => first_best(&|x, y| order(x, y).is_lt()),
        Keep::Survivor if own.is_some() => own,
        Keep::MostFrequent | Keep::Survivor => {
            let count = |value: &Value| values.iter().filter(|other| **other == value).count();
            first_best(&|x, y| (count(x), Some(x) == own) > (count(y), Some(y) == own))
        }
    };
    chosen.or_else(|| base.get(name))
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn length(value: &Value) -> usize {
    value.as_str().map_or_else(|| value.to_string().len(), |text| text.chars().count())
}

fn order(x: &Value, y: &Value) -> std::cmp::Ordering {
    match (x.as_f64(), y.as_f64(), x.as_bool(), y.as_bool()) {
        (Some(a), Some(b), ..) => a.total_cmp(&b),
        (_, _, Some(a), Some(b)) => a.cmp(&b),
        _ => x.as_str().unwrap_or("").cmp(y.as_str().unwrap_or("")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        Fields::from_value(value).unwrap()
    }

    #[test]
    fn rules_choose_their_values() {
        let a = fields(json!({"name": "Ann", "city": "Ulm", "zip": "", "created": "2024-01-02", "ok": true}));
        let b = fields(json!({"name": "Anna", "city": "Bonn", "zip": "53111", "created": "2020-05-01", "ok": false, "title": "CEO"}));
        let c = fields(json!({"name": "Ann", "city": null}));
        let rules = Survivorship {
            fields: [("created".to_owned(), Keep::Min), ("ok".to_owned(), Keep::Min)].into(),
            together: vec![vec!["city".to_owned(), "zip".to_owned()]],
            ..Survivorship::default()
        };
        let gold = golden(&[&a, &b, &c], &rules);
        assert_eq!(survivor(&[&a, &b, &c]), Some(1));
        assert_eq!(
            gold.to_value(),
            json!({"name": "Ann", "city": "Bonn", "zip": "53111", "created": "2020-05-01", "ok": false, "title": "CEO"})
        );
        let longest = Survivorship { default: Keep::Longest, ..Survivorship::default() };
        assert_eq!(golden(&[&a, &b, &c], &longest).text("name"), Some("Anna"));
        assert!(golden(&[], &rules).is_empty());
    }
}
