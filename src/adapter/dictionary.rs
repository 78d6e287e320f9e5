//! Which entity of the host's is which of the CRM's, and by which mapping.

use std::sync::Arc;

use jiff::Timestamp;

use crate::document::suggest::did_you_mean;
use crate::error::{Error, FieldError, Result};
use crate::host::Host;
use crate::mapping::Mapping;
use crate::model::{Entity, Fields, Record};

/// The words of a host: for each of its entities the CRM's entity and the mapping between the two.
#[derive(Clone, Debug, Default)]
pub struct Dictionary {
    entries: Vec<Entry>,
    host: Option<Host>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// As the host calls it.
    pub(super) ours: Entity,
    /// As the CRM calls it.
    pub(super) theirs: Entity,
    pub(super) mapping: Arc<Mapping>,
}

impl Dictionary {
    /// No word.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entity: the CRM's name of it, and the mapping, which holds the host's ([`Mapping::entity`]). One entity of the CRM
    /// may be several of the host's; one of the host's that is there already is replaced.
    #[must_use]
    pub fn entity(mut self, theirs: impl Into<Entity>, mapping: impl Into<Arc<Mapping>>) -> Self {
        let mapping = mapping.into();
        let ours = Entity::new(mapping.entity().to_owned());
        self.entries.retain(|entry| entry.ours != ours);
        self.entries.push(Entry { ours, theirs: theirs.into(), mapping });
        self
    }

    /// Whose clock formulas with `NOW()` and `TODAY()` see. Without it such a formula is an error.
    #[must_use]
    pub fn time(mut self, host: Host) -> Self {
        self.host = Some(host);
        self
    }

    pub(super) fn now(&self) -> Option<Timestamp> {
        self.host.as_ref().map(Host::now)
    }

    pub(super) fn entry(&self, ours: &Entity) -> Result<&Entry> {
        self.entries.iter().find(|entry| entry.ours == *ours).ok_or_else(|| {
            let known = self.entries.iter().map(|entry| entry.ours.as_str());
            let help = did_you_mean(ours.as_str(), known).map_or_else(String::new, |help| format!(" ({help})"));
            Error::config(format!("no mapping was given for the entity {ours}{help}")).on(ours)
        })
    }
}

/// The CRM calls the entity as the host does.
impl From<Mapping> for Dictionary {
    fn from(mapping: Mapping) -> Self {
        let theirs = Entity::new(mapping.entity().to_owned());
        Self::new().entity(theirs, mapping)
    }
}

impl<E: Into<Entity>> From<(E, Mapping)> for Dictionary {
    fn from((theirs, mapping): (E, Mapping)) -> Self {
        Self::new().entity(theirs, mapping)
    }
}

impl Entry {
    /// Fields of the CRM's as the host's; of those only `select`, if any is named.
    pub(super) fn inbound(&self, fields: &Fields, select: &[String], now: Option<Timestamp>) -> Result<Fields> {
        let mapped = match now {
            Some(now) => self.mapping.inbound_at(fields, now),
            None => self.mapping.inbound(fields),
        };
        let mut ours = mapped?.fields;
        if !select.is_empty() {
            // `address.city` asks for a part of `address`.
            ours.retain(|name, _| select.iter().any(|wanted| wanted == name || wanted.split('.').next() == Some(name)));
        }
        Ok(ours)
    }

    pub(super) fn record(&self, mut record: Record, select: &[String], now: Option<Timestamp>) -> Result<Record> {
        let fields = self.inbound(&record.fields, select, now).map_err(|error| error.on(&self.ours).record_id(&record.id))?;
        record.entity = self.ours.clone();
        record.fields = fields;
        Ok(record)
    }

    /// An error of the CRM's in the host's words.
    pub(super) fn reworded(&self, error: Error) -> Error {
        let word = |field: &FieldError| {
            let name = self.mapping.host_for(&field.field).unwrap_or(&field.field);
            FieldError::new(name, field.code.clone())
        };
        let fields = error.fields().iter().map(word).collect();
        error.reworded(&self.ours, fields)
    }
}
