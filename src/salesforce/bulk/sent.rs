//! A row as it was sent, read back from the cells of a file.

use std::sync::Arc;

use serde_json::Value;

use crate::model::{Fields, Shape};
use crate::salesforce::bulk::block::Record;
use crate::salesforce::bulk::cells::NULL;

/// Which cells of a record were sent, and under which names.
#[derive(Debug)]
pub(super) struct SentColumns {
    shape: Arc<Shape>,
    /// Per cell of a record: where it goes.
    places: Vec<Option<usize>>,
}

impl SentColumns {
    /// The columns of `header` that `is_sent` says yes to.
    pub(super) fn new(header: &[String], is_sent: impl Fn(&str) -> bool) -> Self {
        let shape = Shape::new(header.iter().filter(|name| is_sent(name)));
        let places = header.iter().map(|name| if is_sent(name) { shape.position(name) } else { None }).collect();
        Self { shape, places }
    }

    pub(super) fn fields(&self, record: Record<'_>) -> Fields {
        let mut values = vec![None; self.shape.len()];
        for (cell, place) in record.cells().zip(&self.places) {
            if let Some(slot) = place.and_then(|place| values.get_mut(place)) {
                *slot = sent(cell);
            }
        }
        Fields::from_values(Arc::clone(&self.shape), values)
    }
}

/// A cell as it was before it became one.
fn sent(cell: &str) -> Option<Value> {
    match cell {
        "" => None,
        NULL => Some(Value::Null),
        text => Some(Value::from(text)),
    }
}
