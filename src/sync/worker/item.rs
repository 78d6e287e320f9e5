//! The payload of an entry.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::model::Fields;
use crate::queue::{Entry, Lane, NewEntry};
use crate::sync::api::Incoming;
use crate::sync::engine::Engine;

/// What of a host record is to be brought to the CRM: fields that are absent stay as they are, null clears.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkItem {
    /// The host's fields, in the host's words.
    pub fields: Fields,
    /// As [`Incoming::aliases`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

impl WorkItem {
    /// The kind of entry that a worker claims.
    pub const KIND: &'static str = "record";

    /// Of these fields.
    pub fn new(fields: Fields) -> Self {
        Self { fields, aliases: Vec::new() }
    }

    /// Sets [`WorkItem::aliases`].
    #[must_use]
    pub fn aliases(mut self, aliases: Vec<String>) -> Self {
        self.aliases = aliases;
        self
    }

    /// The entry that lets a worker of `engine` write the record `local`; `op` is unique per change.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if it does not serialise.
    pub fn entry(&self, engine: &Engine, local: &str, op: impl Into<String>) -> Result<NewEntry> {
        let payload = serde_json::to_vec(self).map_err(|_| Error::internal("the record does not serialise"))?;
        let lane = Lane::new(engine.inner.connection(), engine.entity().clone(), local);
        Ok(NewEntry::new(lane, op, payload).kind(Self::KIND).mapping(engine.inner.mapping.version()))
    }

    /// The item of an entry.
    pub(super) fn read(entry: &Entry) -> Result<Self> {
        // serde_json's message may quote the value.
        serde_json::from_slice(&entry.payload)
            .map_err(|_| Error::new(ErrorKind::Decode, "the payload of the entry is no record; it was enqueued by something else"))
    }

    /// Several changes of one record, oldest first, as one.
    pub(super) fn merged(local: &str, items: impl IntoIterator<Item = Self>) -> Incoming {
        let mut all = Self::default();
        for item in items {
            for (name, value) in &item.fields {
                all.fields.insert(name, value.clone());
            }
            all.aliases.extend(item.aliases);
        }
        all.aliases.sort();
        all.aliases.dedup();
        Incoming::new(local, all.fields).aliases(all.aliases)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_value_of_each_field_stays() {
        let of = |text: &str| serde_json::from_str::<WorkItem>(text).unwrap();
        let items = [
            of(r#"{"fields": {"a": 1, "b": 1}, "aliases": ["x"]}"#),
            of(r#"{"fields": {"b": null}}"#),
            of(r#"{"fields": {"c": 3}, "aliases": ["x"]}"#),
        ];
        let merged = WorkItem::merged("1", items);
        assert_eq!(serde_json::to_string(&merged.fields).unwrap(), r#"{"a":1,"b":null,"c":3}"#);
        assert_eq!(merged.aliases, ["x"]);
    }
}
