//! What a person has decided once: these two are not one. Kept by the host, respected ever after.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use serde::{Deserialize, Serialize};

/// Pairs of records that are not duplicates of each other, by the host's ids. As JSON a list of pairs.
///
/// A pair has no direction; a record is never distinct from itself. [`Index::keep_apart`](super::Index::keep_apart) and the
/// engine's plan respect it; for [`Records`](super::Records) see [`Records::keep_apart`](super::Records::keep_apart).
///
/// ```
/// use crm_sync::dedup::Distinct;
///
/// let mut distinct = Distinct::new();
/// assert!(distinct.insert("003B", "003A"));
/// assert!(!distinct.insert("003A", "003B"), "known already");
/// assert!(distinct.contains("003A", "003B") && !distinct.contains("003A", "003A"));
/// ```
#[derive(Clone, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Distinct {
    /// Both directions, so that the partners of a record stand together.
    pairs: BTreeSet<(String, String)>,
}

impl fmt::Debug for Distinct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Distinct").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Distinct {
    /// No decisions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers that the two are not one; returns whether that is news.
    pub fn insert(&mut self, a: &str, b: &str) -> bool {
        if a == b {
            return false;
        }
        self.pairs.insert((b.to_owned(), a.to_owned()));
        self.pairs.insert((a.to_owned(), b.to_owned()))
    }

    /// Takes a decision back; returns whether there was one.
    pub fn remove(&mut self, a: &str, b: &str) -> bool {
        self.pairs.remove(&(b.to_owned(), a.to_owned()));
        self.pairs.remove(&(a.to_owned(), b.to_owned()))
    }

    /// Whether the two were said not to be one.
    pub fn contains(&self, a: &str, b: &str) -> bool {
        // Nearly always nothing was decided: that costs no allocation.
        !self.pairs.is_empty() && self.pairs.contains(&(a.to_owned(), b.to_owned()))
    }

    /// The decisions among records of these ids, as pairs of their places, for [`Deduper::find_all_but`](super::Deduper::find_all_but).
    ///
    /// ```
    /// use crm_sync::dedup::{DedupConfig, Deduper, Distinct, Prepared, Role};
    ///
    /// let ann = Prepared::new(&[(Role::Full, "Ann Keller"), (Role::Email, "ann.keller@firm.com")]);
    /// let mut distinct = Distinct::new();
    /// distinct.insert("003B", "003A");
    /// let apart = distinct.among(&["003A", "003B"]);
    /// assert_eq!(apart, [(0, 1)]);
    /// let found = Deduper::new(DedupConfig::default())?.find_all_but(&[ann.clone(), ann], &apart, &mut |_| {});
    /// assert!(found.groups.is_empty() && found.review.is_empty());
    /// # Ok::<(), crm_sync::error::Error>(())
    /// ```
    pub fn among(&self, ids: &[impl AsRef<str>]) -> Vec<(usize, usize)> {
        if self.is_empty() {
            return Vec::new();
        }
        let places: HashMap<&str, usize> = ids.iter().enumerate().map(|(at, id)| (id.as_ref(), at)).collect();
        let place = |id: &str| places.get(id).copied();
        self.pairs.iter().filter(|(a, b)| a < b).filter_map(|(a, b)| Some((place(a)?, place(b)?))).collect()
    }

    /// Decisions held.
    pub fn len(&self) -> usize {
        self.pairs.iter().filter(|(a, b)| a < b).count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The decided pairs, each once, the smaller id first, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().filter(|(a, b)| a < b).map(|(a, b)| (a.as_str(), b.as_str()))
    }
}

impl<A: AsRef<str>, B: AsRef<str>> FromIterator<(A, B)> for Distinct {
    fn from_iter<I: IntoIterator<Item = (A, B)>>(pairs: I) -> Self {
        let mut out = Self::default();
        for (a, b) in pairs {
            out.insert(a.as_ref(), b.as_ref());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_has_no_direction_and_can_be_taken_back() {
        let mut distinct: Distinct = [("b", "a"), ("a", "b"), ("c", "a"), ("d", "d")].into_iter().collect();
        assert_eq!(distinct.iter().collect::<Vec<_>>(), [("a", "b"), ("a", "c")]);
        let mut back: Distinct = serde_json::from_str(&serde_json::to_string(&distinct).unwrap()).unwrap();
        assert_eq!(back, distinct);
        assert!(back.remove("b", "a") && !back.remove("a", "b") && back.len() == 1);
        assert!(distinct.remove("a", "c") && distinct.remove("a", "b") && distinct.is_empty());
    }
}
