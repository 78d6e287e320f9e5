//! Dead letters.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::Entity;
use crate::queue::entry::{Entry, EntryId};
use crate::queue::lane::Lane;

/// Why an entry was parked. Holds no field value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cause {
    /// The kind of failure: that of [`crate::error::ErrorKind::as_str`], or a word of the worker's own (`ambiguous`, `poison`).
    pub kind: String,
    /// The vendor's code.
    pub code: Option<String>,
    /// The fields concerned, sorted.
    pub fields: Vec<String>,
    /// One line for people; not part of the group.
    pub message: String,
}

impl Cause {
    /// A cause of `kind`.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), code: None, fields: Vec::new(), message: message.into() }
    }

    /// The cause that an error is.
    pub fn of(error: &Error) -> Self {
        let mut fields: Vec<String> = error.fields().iter().map(|field| field.field.clone()).collect();
        fields.sort();
        fields.dedup();
        Self { kind: error.kind().as_str().to_owned(), code: error.code().map(str::to_owned), fields, message: error.to_string() }
    }

    /// Sets [`Cause::code`].
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Sets [`Cause::fields`].
    #[must_use]
    pub fn fields<S: Into<String>>(mut self, fields: impl IntoIterator<Item = S>) -> Self {
        self.fields = fields.into_iter().map(Into::into).collect();
        self.fields.sort();
        self
    }

    /// The name of its group: `kind`, or `kind:CODE`, and with fields `kind:CODE[FieldA,FieldB]`. Entries of one group were
    /// parked for one reason, and are replayed together once it is gone.
    pub fn group(&self) -> String {
        let mut group = self.kind.clone();
        if let Some(code) = &self.code {
            group.push(':');
            group.push_str(code);
        }
        if !self.fields.is_empty() {
            group.push('[');
            group.push_str(&self.fields.join(","));
            group.push(']');
        }
        group
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.group(), self.message)
    }
}

/// An entry in the dead letters. It stays until it is replayed, discarded or purged; nothing evicts it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parked {
    /// Its lane.
    pub lane: Lane,
    /// The entry, whole.
    pub entry: Entry,
    /// Why.
    pub cause: Cause,
    /// How many attempts were counted before ([`crate::queue::Lease::attempts`]); 0 for entries behind the head.
    pub attempts: u32,
    /// When, in store time.
    pub at: Timestamp,
    /// Whether it stops its lane.
    pub froze: bool,
}

impl Parked {
    /// A parked entry, for those who write a queue.
    pub fn new(lane: Lane, entry: Entry, cause: Cause, attempts: u32, at: Timestamp, froze: bool) -> Self {
        Self { lane, entry, cause, attempts, at, froze }
    }
}

/// Which dead letters; every part that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParkedFilter {
    /// Of this connection.
    pub connection: Option<String>,
    /// Of this entity.
    pub entity: Option<Entity>,
    /// Of this record.
    pub record: Option<String>,
    /// Of this group ([`Cause::group`]).
    pub group: Option<String>,
    /// These entries.
    pub ids: Option<Vec<EntryId>>,
    /// Parked at this moment or later.
    pub since: Option<Timestamp>,
    /// Parked before this moment.
    pub until: Option<Timestamp>,
}

impl ParkedFilter {
    /// All of them.
    pub fn all() -> Self {
        Self::default()
    }

    /// Sets [`ParkedFilter::connection`].
    #[must_use]
    pub fn connection(mut self, connection: impl Into<String>) -> Self {
        self.connection = Some(connection.into());
        self
    }

    /// Sets [`ParkedFilter::entity`].
    #[must_use]
    pub fn entity(mut self, entity: Entity) -> Self {
        self.entity = Some(entity);
        self
    }

    /// Sets [`ParkedFilter::record`].
    #[must_use]
    pub fn record(mut self, record: impl Into<String>) -> Self {
        self.record = Some(record.into());
        self
    }

    /// Sets [`ParkedFilter::group`].
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Sets [`ParkedFilter::ids`].
    #[must_use]
    pub fn ids(mut self, ids: impl IntoIterator<Item = EntryId>) -> Self {
        self.ids = Some(ids.into_iter().collect());
        self
    }

    /// Sets [`ParkedFilter::since`].
    #[must_use]
    pub fn since(mut self, at: Timestamp) -> Self {
        self.since = Some(at);
        self
    }

    /// Sets [`ParkedFilter::until`].
    #[must_use]
    pub fn until(mut self, at: Timestamp) -> Self {
        self.until = Some(at);
        self
    }

    /// Whether it selects `parked`.
    pub fn matches(&self, parked: &Parked) -> bool {
        let lane = &parked.lane;
        self.connection.as_ref().is_none_or(|connection| *connection == lane.connection)
            && self.entity.as_ref().is_none_or(|entity| *entity == lane.entity)
            && self.record.as_ref().is_none_or(|record| *record == lane.record)
            && self.group.as_ref().is_none_or(|group| *group == parked.cause.group())
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&parked.entry.id))
            && self.since.is_none_or(|since| parked.at >= since)
            && self.until.is_none_or(|until| parked.at < until)
    }
}

/// A page of dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParkedPage {
    /// Which.
    pub filter: ParkedFilter,
    /// Only entries with a greater id.
    pub after: Option<EntryId>,
    /// At most so many.
    pub limit: usize,
}

impl ParkedPage {
    /// The first `limit` of those that `filter` selects.
    pub fn new(filter: ParkedFilter, limit: usize) -> Self {
        Self { filter, after: None, limit }
    }

    /// Sets [`ParkedPage::after`].
    #[must_use]
    pub fn after(mut self, id: EntryId) -> Self {
        self.after = Some(id);
        self
    }
}

/// One group of dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CauseCount {
    /// The name of the group ([`Cause::group`]).
    pub group: String,
    /// How many entries.
    pub count: u64,
    /// When the first of them was parked.
    pub oldest: Timestamp,
    /// One of its causes, for its message.
    pub example: Cause,
}

impl CauseCount {
    /// A group, for those who write a queue.
    pub fn new(group: impl Into<String>, count: u64, oldest: Timestamp, example: Cause) -> Self {
        Self { group: group.into(), count, oldest, example }
    }
}

/// Whose entries are erased: every lane that all set parts name.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subject {
    /// Of this connection only.
    pub connection: Option<String>,
    /// Of this entity only.
    pub entity: Option<Entity>,
    /// The record's key.
    pub record: String,
}

impl Subject {
    /// The record of this key, in every connection and entity.
    pub fn new(record: impl Into<String>) -> Self {
        Self { connection: None, entity: None, record: record.into() }
    }

    /// Sets [`Subject::connection`].
    #[must_use]
    pub fn connection(mut self, connection: impl Into<String>) -> Self {
        self.connection = Some(connection.into());
        self
    }

    /// Sets [`Subject::entity`].
    #[must_use]
    pub fn entity(mut self, entity: Entity) -> Self {
        self.entity = Some(entity);
        self
    }

    /// Whether `lane` is the subject's.
    pub fn matches(&self, lane: &Lane) -> bool {
        self.record == lane.record
            && self.connection.as_ref().is_none_or(|connection| *connection == lane.connection)
            && self.entity.as_ref().is_none_or(|entity| *entity == lane.entity)
    }
}

/// Without the record's key, which may be an e-mail address.
impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("connection", &self.connection).field("entity", &self.entity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorKind, FieldError};

    #[test]
    fn a_group_is_what_has_to_be_fixed() {
        let fields = vec![FieldError::new("Rating", None), FieldError::new("Industry", None)];
        let error = Error::new(ErrorKind::Validation, "the CRM refused it").with_code("INVALID_PICKLIST").with_fields(fields);
        let cause = Cause::of(&error);
        assert_eq!(cause.group(), "validation:INVALID_PICKLIST[Industry,Rating]");
        assert_eq!(Cause::new("poison", "x").group(), "poison");
    }

    #[test]
    fn every_part_of_a_filter_must_hold() {
        let lane = Lane::new("sf", Entity::from_static("Lead"), "1");
        let entry = Entry::new(EntryId(7), "op", "x", Timestamp::UNIX_EPOCH);
        let parked = Parked::new(lane.clone(), entry, Cause::new("poison", "x"), 0, Timestamp::UNIX_EPOCH, false);
        let all = ParkedFilter::all();
        assert!(all.matches(&parked));
        let exact = all.clone().connection("sf").entity(Entity::from_static("Lead")).record("1").group("poison").ids([EntryId(7)]);
        assert!(exact.clone().since(Timestamp::UNIX_EPOCH).matches(&parked));
        assert!(!exact.until(Timestamp::UNIX_EPOCH).matches(&parked));
        assert!(!all.clone().connection("hs").matches(&parked) && !all.clone().group("x").matches(&parked));
        assert!(!all.ids([]).matches(&parked));
        assert!(Subject::new("1").connection("sf").matches(&lane) && !Subject::new("1").connection("hs").matches(&lane));
    }
}
