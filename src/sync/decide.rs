//! What to do about one record: a three-way comparison, field by field. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Canon, FieldType, Fields, Value, canon, same};

/// One field that would be written.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// The field, in the CRM's spelling.
    pub field: String,
    /// What stands there, as far as known.
    pub from: Option<Value>,
    /// What would be written.
    pub to: Value,
}

/// The field's name only: values may be personal.
impl fmt::Debug for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FieldChange({})", self.field)
    }
}

/// What one record needs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Decision {
    /// The CRM does not have it.
    Create,
    /// Nothing to write.
    Skip,
    /// These fields differ.
    Update(Vec<FieldChange>),
}

/// Compares what the host wants (`local`, mapped to the CRM's fields) with what was last agreed (`base`) and what the CRM has
/// now (`remote`), where known.
///
/// Only fields of `local` are looked at: an absent field is left alone. A field that differs from the CRM but not from the base
/// was changed there, not here, and is left alone too. An empty local field that was never known is no change.
pub fn decide(local: &Fields, base: Option<&Fields>, remote: Option<&Fields>, kind: &dyn Fn(&str) -> FieldType) -> Decision {
    if base.is_none() && remote.is_none() {
        return Decision::Create;
    }
    let mut changes = Vec::new();
    for (field, wanted) in local {
        let kind = kind(field);
        let agreed = base.and_then(|base| base.get(field));
        let present = remote.and_then(|remote| remote.get(field));
        let differs =
            |other: Option<&Value>| other.map_or_else(|| canon(wanted, &kind) != Canon::Null, |other| !same(wanted, other, &kind));
        let write = match (remote.is_some(), base.is_some()) {
            (true, true) => differs(present) && differs(agreed),
            (true, false) => differs(present),
            (false, _) => differs(agreed),
        };
        if write {
            changes.push(FieldChange { field: field.to_owned(), from: present.or(agreed).cloned(), to: wanted.clone() });
        }
    }
    if changes.is_empty() { Decision::Skip } else { Decision::Update(changes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        Fields::from_value(value).unwrap()
    }

    fn run(local: Value, base: Option<Value>, remote: Option<Value>) -> Option<Vec<String>> {
        let (base, remote) = (base.map(fields), remote.map(fields));
        match decide(&fields(local), base.as_ref(), remote.as_ref(), &|_| FieldType::Text) {
            Decision::Create => None,
            Decision::Skip => Some(vec![]),
            Decision::Update(changes) => Some(changes.into_iter().map(|change| change.field).collect()),
        }
    }

    #[test]
    fn the_table() {
        let none: Vec<String> = vec![];
        assert_eq!(run(json!({"A": "x"}), None, None), None);
        assert_eq!(run(json!({"A": "x"}), Some(json!({"A": "x "})), None), Some(none.clone()));
        assert_eq!(run(json!({"A": "y"}), Some(json!({"A": "x"})), None), Some(vec!["A".to_owned()]));
        // Never known and empty here: nothing to clear.
        assert_eq!(run(json!({"A": null, "B": ""}), Some(json!({})), None), Some(none.clone()));
        // Known and emptied here: cleared.
        assert_eq!(run(json!({"A": null}), Some(json!({"A": "x"})), None), Some(vec!["A".to_owned()]));
        // Changed in the CRM, not here: theirs stays.
        assert_eq!(run(json!({"A": "x"}), Some(json!({"A": "x"})), Some(json!({"A": "theirs"}))), Some(none.clone()));
        // Changed here, not in the CRM: ours goes out.
        assert_eq!(run(json!({"A": "y"}), Some(json!({"A": "x"})), Some(json!({"A": "x"}))), Some(vec!["A".to_owned()]));
        // Both sides came to the same value.
        assert_eq!(run(json!({"A": "y"}), Some(json!({"A": "x"})), Some(json!({"A": "y"}))), Some(none.clone()));
        // Found in the CRM, never agreed: whatever differs.
        assert_eq!(run(json!({"A": "y", "B": "b"}), None, Some(json!({"A": "x", "B": "b"}))), Some(vec!["A".to_owned()]));
        // A field that the host does not give is left alone.
        assert_eq!(run(json!({}), Some(json!({"A": "x"})), Some(json!({"A": "z"}))), Some(none));
    }

    #[test]
    fn zero_false_and_null_are_values() {
        assert_eq!(run(json!({"A": 0, "B": false}), Some(json!({})), None), Some(vec!["A".to_owned(), "B".to_owned()]));
    }
}
