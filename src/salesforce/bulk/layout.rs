//! Rows that look alike: their names are looked at once, not once for each row.

use std::sync::Arc;

use crate::model::Shape;
use crate::salesforce::bulk::cells::{Encoding, is_column};

/// Where the fields of rows of one shape stand in a file.
#[derive(Debug)]
pub(super) struct Layout {
    shape: Arc<Shape>,
    /// In the order of the columns, each column once.
    pub(super) slots: Vec<Slot>,
    /// Where the row has what no column is known for: such a field is looked at by its name.
    pub(super) strangers: Vec<usize>,
}

/// A field that is sent.
#[derive(Debug)]
pub(super) struct Slot {
    /// Where its value stands in the row.
    pub(super) at: usize,
    /// Its column.
    pub(super) place: usize,
    /// It holds an instant.
    pub(super) instant: bool,
    /// The record is found by it.
    pub(super) named: bool,
}

impl Layout {
    pub(super) fn new(shape: &Arc<Shape>, encoding: &Encoding, columns: &[String]) -> Self {
        let (mut slots, mut strangers) = (Vec::new(), Vec::new());
        for (at, name) in shape.by_name().filter(|(_, name)| encoding.sends(name)) {
            match columns.iter().position(|column| column.eq_ignore_ascii_case(name) && is_column(name)) {
                Some(place) => slots.push(Slot { at, place, instant: encoding.is_instant(name), named: encoding.is_named(name) }),
                None => strangers.push(at),
            }
        }
        slots.sort_by_key(|slot| slot.place);
        // Two names of one column differ in case alone.
        let twice = |place: usize, slots: &[Slot]| slots.iter().filter(|slot| slot.place == place).count() > 1;
        strangers.extend(slots.iter().filter(|slot| twice(slot.place, &slots)).map(|slot| slot.at));
        slots.retain(|slot| !strangers.contains(&slot.at));
        Self { shape: Arc::clone(shape), slots, strangers }
    }

    /// True for rows of this shape.
    pub(super) fn fits(&self, shape: &Arc<Shape>) -> bool {
        alike(&self.shape, shape)
    }
}

pub(super) fn alike(one: &Arc<Shape>, other: &Arc<Shape>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}
