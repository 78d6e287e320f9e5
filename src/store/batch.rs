//! A batch: what must hold, and what then changes.

use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::store::key::Key;

/// What stands under a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// The value, opaque to the store.
    pub value: Bytes,
    /// Changes with every put. It grows for ever per key, also over delete and re-create: an old version never becomes
    /// valid again. At least 1.
    pub version: u64,
}

/// Length only: a value may hold a token or personal data.
impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("bytes", &self.value.len()).field("version", &self.version).finish()
    }
}

/// What must hold before the batch, or nothing of it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precondition {
    /// Nothing stands under the key, or it has expired.
    Absent(Key),
    /// The row under the key has exactly this version and has not expired.
    Version(Key, u64),
}

impl Precondition {
    /// The key it is about.
    pub fn key(&self) -> &Key {
        match self {
            Self::Absent(key) | Self::Version(key, _) => key,
        }
    }

    /// Whether it holds, given the version of the live row under its key.
    pub fn holds(&self, found: Option<u64>) -> bool {
        match self {
            Self::Absent(_) => found.is_none(),
            Self::Version(_, version) => found == Some(*version),
        }
    }
}

/// One change.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutation {
    /// Writes the value, whatever stood there.
    Put {
        /// Where.
        key: Key,
        /// What.
        value: Bytes,
        /// From this instant of store time on the row reads as absent. Whole microseconds; the rest is cut off.
        expires: Option<Timestamp>,
    },
    /// Removes the row; no error if there is none.
    Delete(Key),
}

impl Mutation {
    /// The key it changes.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete(key) => key,
        }
    }
}

/// Keys and lengths only.
impl fmt::Debug for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, value, expires } => {
                f.debug_struct("Put").field("key", key).field("bytes", &value.len()).field("expires", expires).finish()
            }
            Self::Delete(key) => f.debug_tuple("Delete").field(key).finish(),
        }
    }
}

/// Preconditions and mutations that happen together or not at all.
///
/// All preconditions look at the state before the batch. The mutations then happen in order; of two puts to one key the
/// later stays.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    preconditions: Vec<Precondition>,
    mutations: Vec<Mutation>,
    /// Keys required to be absent, to tell when one batch would insert a key twice.
    absent: HashSet<Key>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes `value`.
    pub fn put(&mut self, key: Key, value: impl Into<Bytes>) -> &mut Self {
        self.mutations.push(Mutation::Put { key, value: value.into(), expires: None });
        self
    }

    /// Writes `value`, which reads as absent from `expires` on (store time).
    pub fn put_until(&mut self, key: Key, value: impl Into<Bytes>, expires: Timestamp) -> &mut Self {
        self.mutations.push(Mutation::Put { key, value: value.into(), expires: Some(expires) });
        self
    }

    /// Writes `value` as JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if the value does not serialise, as a map with keys that are not texts.
    pub fn put_json<T: Serialize + ?Sized>(&mut self, key: Key, value: &T) -> Result<&mut Self> {
        let json = serde_json::to_vec(value)
            .map_err(|error| Error::internal(format!("the value for {key} does not serialise ({:?} error)", error.classify())))?;
        Ok(self.put(key, json))
    }

    /// Removes the row.
    pub fn delete(&mut self, key: Key) -> &mut Self {
        self.mutations.push(Mutation::Delete(key));
        self
    }

    /// The batch happens only if nothing stands under `key`.
    pub fn require_absent(&mut self, key: Key) -> &mut Self {
        if self.absent.insert(key.clone()) {
            self.preconditions.push(Precondition::Absent(key));
        }
        self
    }

    /// The batch happens only if the row under `key` has this version.
    pub fn require_version(&mut self, key: Key, version: u64) -> &mut Self {
        self.preconditions.push(Precondition::Version(key, version));
        self
    }

    /// Writes `value` under a key that must be new, both in the store and in this batch.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if this batch inserts the key already: a precondition alone would not see that, since it looks
    /// at the state before the batch.
    pub fn insert(&mut self, key: Key, value: impl Into<Bytes>) -> Result<&mut Self> {
        self.claim(&key)?;
        Ok(self.put(key, value))
    }

    /// As [`Batch::insert`], for a row that reads as absent from `expires` on (store time).
    ///
    /// # Errors
    /// As [`Batch::insert`].
    pub fn insert_until(&mut self, key: Key, value: impl Into<Bytes>, expires: Timestamp) -> Result<&mut Self> {
        self.claim(&key)?;
        Ok(self.put_until(key, value, expires))
    }

    fn claim(&mut self, key: &Key) -> Result<()> {
        if self.absent.contains(key) {
            return Err(Conflict::new(key.clone()).into_error("the batch itself inserts it twice"));
        }
        self.require_absent(key.clone());
        Ok(())
    }

    /// Adds everything of `other` behind what is here.
    pub fn append(&mut self, other: Self) -> &mut Self {
        for precondition in other.preconditions {
            match precondition {
                Precondition::Absent(key) => self.require_absent(key),
                Precondition::Version(key, version) => self.require_version(key, version),
            };
        }
        self.mutations.extend(other.mutations);
        self
    }

    /// True if there is neither precondition nor mutation.
    pub fn is_empty(&self) -> bool {
        self.preconditions.is_empty() && self.mutations.is_empty()
    }

    /// How many mutations.
    pub fn len(&self) -> usize {
        self.mutations.len()
    }

    /// True if the batch requires `key` to be absent.
    pub fn requires_absent(&self, key: &Key) -> bool {
        self.absent.contains(key)
    }

    /// The preconditions, in the order they were given.
    pub fn preconditions(&self) -> &[Precondition] {
        &self.preconditions
    }

    /// The mutations, in the order they happen.
    pub fn mutations(&self) -> &[Mutation] {
        &self.mutations
    }

    /// The mutations, to keep.
    pub fn into_mutations(self) -> Vec<Mutation> {
        self.mutations
    }
}

/// Which precondition failed; the source of an [`ErrorKind::Conflict`] of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// The first key whose precondition failed.
    pub key: Key,
}

impl Conflict {
    /// A conflict about `key`, for stores outside this crate.
    pub fn new(key: Key) -> Self {
        Self { key }
    }

    /// The conflict inside an error; `None` if the error is something else.
    pub fn of(error: &Error) -> Option<&Self> {
        std::error::Error::source(error)?.downcast_ref()
    }

    pub(crate) fn into_error(self, why: &str) -> Error {
        Error::new(ErrorKind::Conflict, format!("the store refused the batch because of {}: {why}", self.key)).with_source(self)
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the precondition on {} failed", self.key)
    }
}

impl std::error::Error for Conflict {}

impl From<Conflict> for Error {
    fn from(conflict: Conflict) -> Self {
        conflict.into_error("it changed in between; load it again and decide anew")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::key::Family;

    fn key(name: &str) -> Key {
        Key::new(Family::Base, &[name])
    }

    #[test]
    fn a_batch_counts_its_mutations() {
        let mut batch = Batch::new();
        assert!(batch.is_empty());
        batch.require_absent(key("a"));
        assert!(!batch.is_empty());
        assert_eq!(batch.len(), 0);
        batch.put(key("a"), "1").delete(key("b"));
        assert_eq!(batch.len(), 2);
        let mut all = Batch::new();
        all.require_absent(key("a")).append(batch);
        assert_eq!((all.preconditions().len(), all.len()), (1, 2));
    }

    #[test]
    fn a_second_insert_in_one_batch_is_a_conflict() {
        let mut batch = Batch::new();
        batch.insert(key("a"), "1").unwrap();
        let error = batch.insert(key("a"), "2").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(Conflict::of(&error).unwrap().key, key("a"));
        assert_eq!(batch.len(), 1);
    }

    #[test]
    fn debug_shows_no_value() {
        let mut batch = Batch::new();
        batch.put(key("a"), "secret-value");
        let row = Row { value: Bytes::from_static(b"secret-value"), version: 1 };
        let text = format!("{batch:?} {row:?}");
        assert!(!text.contains("secret") && text.contains("12"), "{text}");
    }
}
