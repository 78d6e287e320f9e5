//! Rows of any shape, brought to one.

use std::sync::Arc;

use crate::model::fields::{Fields, Shape};

/// Brings rows to one list of names; a name a row does not have is null.
#[derive(Debug)]
pub(crate) struct Projection {
    wanted: Arc<Shape>,
    last: Option<(Arc<Shape>, Vec<Option<usize>>)>,
}

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
    use serde_json::{Value, json};

    fn fields(value: Value) -> Fields {
        Fields::from_value(value).unwrap()
    }

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
