//! Work done once for all rows of one shape.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::model::fields::{Fields, Shape};

/// Where a name stood in the row before: rows that look alike have it there again, so that one comparison finds it.
#[derive(Debug, Default)]
pub(crate) struct Hint(AtomicU32);

impl Hint {
    /// As [`Fields::get`].
    pub(crate) fn get<'f>(&self, fields: &'f Fields, name: &str) -> Option<&'f Value> {
        let shape = fields.shape();
        let remembered = self.0.load(Ordering::Relaxed) as usize;
        if shape.is_at(remembered, name) {
            return fields.at(remembered);
        }
        let position = shape.position(name)?;
        self.0.store(u32::try_from(position).unwrap_or(u32::MAX), Ordering::Relaxed);
        fields.at(position)
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

/// Brings rows to one list of names; a name a row does not have is null.
#[cfg(any(feature = "hubspot", feature = "pipedrive"))]
#[derive(Debug)]
pub(crate) struct Projection {
    wanted: Arc<Shape>,
    last: Option<(Arc<Shape>, Vec<Option<usize>>)>,
}

#[cfg(any(feature = "hubspot", feature = "pipedrive"))]
impl Projection {
    pub(crate) fn new(names: &[String]) -> Self {
        Self { wanted: Shape::new(names), last: None }
    }

    pub(crate) fn apply(&mut self, mut fields: Fields) -> Fields {
        let shape = fields.shape();
        let places = match &mut self.last {
            Some((known, places)) if Arc::ptr_eq(known, shape) => places,
            last => {
                let places = self.wanted.names().map(|name| shape.position(name)).collect();
                &mut last.insert((Arc::clone(shape), places)).1
            }
        };
        let values = places.iter().map(|place| Some(place.and_then(|at| fields.set(at, None)).unwrap_or_default())).collect();
        Fields::from_values(Arc::clone(&self.wanted), values)
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

    #[cfg(any(feature = "hubspot", feature = "pipedrive"))]
    #[test]
    fn rows_of_any_shape_come_out_alike() {
        let mut projection = Projection::new(&["x".to_owned(), "y".to_owned(), "x".to_owned()]);
        for (row, wanted) in [
            (json!({"a": 1, "x": 2, "y": 3}), json!({"x": 2, "y": 3})),
            (json!({"y": 4}), json!({"x": null, "y": 4})),
            (json!({}), json!({"x": null, "y": null})),
        ] {
            assert_eq!(projection.apply(fields(row)), fields(wanted));
        }
    }
}
