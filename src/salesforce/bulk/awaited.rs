//! Which rows of a file are still without an outcome.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;

use crate::salesforce::bulk::block::Record;

/// Makes the marks rows are known by: equal for equal cells, within this process.
#[derive(Clone, Default)]
pub(super) struct Marker {
    text: Vec<u8>,
    ends: Vec<u8>,
}

impl Marker {
    /// The next cell of the row.
    pub(super) fn add(&mut self, cell: &str) {
        self.text.extend_from_slice(cell.as_bytes());
        self.end(self.text.len());
    }

    fn end(&mut self, at: usize) {
        self.ends.extend_from_slice(&at.to_ne_bytes());
    }

    /// True before the first cell of a row.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets the cells of a row that is not written.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// The mark of the row whose cells were added; the next row begins.
    pub(super) fn finish(&mut self) -> u64 {
        let mark = mark(&self.text, &self.ends);
        self.clear();
        mark
    }

    /// The mark of a record of a result file.
    pub(super) fn of(&mut self, record: Record<'_>, places: &Places) -> u64 {
        self.clear();
        match places {
            Places::Each(places) => {
                for place in places {
                    self.add(place.and_then(|at| record.get(at)).unwrap_or_default());
                }
                self.finish()
            }
            Places::Run(first, count) => {
                let text = record.run(*first, *count, |end| self.end(end)).unwrap_or_default();
                let mark = mark(text.as_bytes(), &self.ends);
                self.clear();
                mark
            }
        }
    }
}

fn mark(text: &[u8], ends: &[u8]) -> u64 {
    let mut hasher = FixedState::with_seed(0).build_hasher();
    hasher.write(text);
    hasher.write(ends);
    hasher.finish()
}

/// Where the cells that rows are known by stand in the records of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Places {
    Each(Vec<Option<usize>>),
    /// Side by side: from which one, and how many.
    Run(usize, usize),
}

impl Places {
    pub(super) fn new(places: Vec<Option<usize>>) -> Self {
        match places.first() {
            Some(Some(first)) if places.iter().enumerate().all(|(at, place)| *place == Some(first + at)) => Self::Run(*first, places.len()),
            _ => Self::Each(places),
        }
    }
}

/// The marks of a file's rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Awaited {
    /// In the order of the file.
    marks: Vec<u64>,
    /// How many of them have their outcome. Orgs mostly answer in the order of the file.
    settled: usize,
    /// How often each of the rest is waited for, once they have not.
    rest: Option<HashMap<u64, u32, FixedState>>,
}

impl Awaited {
    pub(super) fn push(&mut self, mark: u64) {
        self.marks.push(mark);
    }

    /// True if every row has its outcome.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.as_ref().map_or(self.settled == self.marks.len(), HashMap::is_empty)
    }

    /// Takes one outcome off the rows that are waited for; false if no such row was sent, or all of them are known already.
    pub(super) fn settle(&mut self, mark: u64) -> bool {
        let rest = match &mut self.rest {
            Some(rest) => rest,
            None if self.marks.get(self.settled) == Some(&mark) => {
                self.settled += 1;
                return true;
            }
            None => {
                let mut rest = HashMap::default();
                for mark in std::mem::take(&mut self.marks).into_iter().skip(self.settled) {
                    *rest.entry(mark).or_insert(0) += 1;
                }
                self.rest.insert(rest)
            }
        };
        match rest.get_mut(&mark) {
            Some(1) => rest.remove(&mark).is_some(),
            Some(count) => {
                *count -= 1;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
impl Awaited {
    pub(super) fn marks(&self) -> &[u64] {
        &self.marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::salesforce::bulk::block::Block;

    #[test]
    fn each_row_is_settled_once_in_whatever_order() {
        for order in [[1, 2, 1, 3], [3, 1, 1, 2], [1, 1, 2, 3]] {
            let mut awaited = Awaited::default();
            [1, 2, 1, 3].into_iter().for_each(|mark| awaited.push(mark));
            assert!(!awaited.settle(9), "not sent");
            for mark in order {
                assert!(!awaited.is_empty());
                assert!(awaited.settle(mark), "{order:?}");
            }
            assert!(awaited.is_empty() && !awaited.settle(1));
        }
        let mut in_order = Awaited::default();
        [7, 7, 8].into_iter().for_each(|mark| in_order.push(mark));
        assert_eq!([7, 7, 7, 8, 8].map(|mark| in_order.settle(mark)), [true, true, false, true, false]);
        assert!(in_order.is_empty());
    }

    #[test]
    fn a_mark_is_that_of_its_cells() {
        let block = Block::of(&["id", "a", "", "bc", "x"]);
        let mut marker = Marker::default();
        let mut written = |cells: &[&str]| {
            cells.iter().for_each(|cell| marker.add(cell));
            marker.finish()
        };
        let (right, wrong) = (written(&["a", "", "bc"]), [written(&["a", "b", "c"]), written(&["ab", "", "c"]), written(&["a", "bc"])]);
        let run = Places::new(vec![Some(1), Some(2), Some(3)]);
        assert_eq!(run, Places::Run(1, 3));
        assert_eq!(marker.of(block.record(0), &run), right);
        assert_eq!(marker.of(block.record(0), &Places::Each(vec![Some(1), None, Some(3)])), right);
        assert!(!wrong.contains(&right));
        assert_eq!(Places::new(vec![]), Places::Each(vec![]));
    }
}
