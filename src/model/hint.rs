//! Where a name stands in rows that look alike.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::model::fields::Fields;

/// Where a name stood in the row before: rows that look alike have it there again, so that one comparison finds it.
#[derive(Debug, Default)]
pub(crate) struct Hint(AtomicU32);

impl Hint {
    /// As [`Fields::get`].
    pub(crate) fn get<'f>(&self, fields: &'f Fields, name: &str) -> Option<&'f Value> {
        fields.at(self.position(fields, name)?)
    }

    /// As [`Fields::remove`].
    pub(crate) fn take(&self, fields: &mut Fields, name: &str) -> Option<Value> {
        fields.take(self.position(fields, name)?)
    }

    fn position(&self, fields: &Fields, name: &str) -> Option<usize> {
        let shape = fields.shape();
        let remembered = self.0.load(Ordering::Relaxed) as usize;
        if shape.is_at(remembered, name) {
            return Some(remembered);
        }
        let position = shape.position(name)?;
        self.0.store(u32::try_from(position).unwrap_or(u32::MAX), Ordering::Relaxed);
        Some(position)
    }
}

impl Clone for Hint {
    fn clone(&self) -> Self {
        Self(AtomicU32::new(self.0.load(Ordering::Relaxed)))
    }
}

/// What is remembered makes no difference.
impl PartialEq for Hint {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        Fields::from_value(value).unwrap()
    }

    #[test]
    fn a_hint_is_only_a_hint() {
        let hint = Hint::default();
        let rows = [json!({"b": 1}), json!({"a": 2, "b": 3}), json!({"a": 4}), json!({}), json!({"b": null})];
        let found: Vec<Option<Value>> = rows.into_iter().map(|row| hint.get(&fields(row), "b").cloned()).collect();
        assert_eq!(found, [Some(json!(1)), Some(json!(3)), None, None, Some(Value::Null)]);
    }
}
