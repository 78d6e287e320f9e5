//! The resources of the API as data: version, path, paging, prices.
//!
//! Prices are `x-token-cost` of the OpenAPI documents; `tests/pipedrive/examples.rs` compares them with the documents' extract.

use std::fmt;

use crate::error::{Error, Result};
use crate::model::Entity;

/// Which API a resource lives in. Neither has all: leads, notes, users and webhooks never came to v2, persons and deals left v1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApiVersion {
    /// `/v1`: offset paging, PUT, dates with a blank, custom fields flat.
    V1,
    /// `/api/v2`: cursor paging, PATCH, RFC 3339, custom fields nested, unknown members refused.
    V2,
}

/// How a list is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paging {
    Cursor,
    Offset,
    /// All at once.
    Whole,
}

/// A kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// v2.
    Activity,
    /// v1.
    ActivityType,
    /// v2.
    Deal,
    /// v1; ids are UUIDs.
    Lead,
    /// v1; ids are UUIDs.
    LeadLabel,
    /// v1.
    Note,
    /// v2.
    Organization,
    /// v2.
    Person,
    /// v2.
    Pipeline,
    /// v2.
    Product,
    /// v2.
    Stage,
    /// v1; read only here.
    User,
    /// v1; cannot be changed, only made and deleted.
    Webhook,
}

/// What is done with a resource; each has its price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// A new record.
    Create,
    /// The end of one.
    Delete,
    /// The description of its fields, a page of it.
    Fields,
    /// One record by id.
    Get,
    /// A page of a list.
    List,
    /// Two records into one.
    Merge,
    /// A page of a search.
    Search,
    /// Fields of a record.
    Update,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::Activity,
        Self::ActivityType,
        Self::Deal,
        Self::Lead,
        Self::LeadLabel,
        Self::Note,
        Self::Organization,
        Self::Person,
        Self::Pipeline,
        Self::Product,
        Self::Stage,
        Self::User,
        Self::Webhook,
    ];

    /// The kind an entity names: `persons`, or `person` as webhooks and field lists write it.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] for another name.
    pub fn of(entity: &Entity) -> Result<Self> {
        let name = entity.as_str();
        let found = Self::ALL.into_iter().find(|kind| kind.path().eq_ignore_ascii_case(name) || kind.singular().eq_ignore_ascii_case(name));
        found.ok_or_else(|| Error::config("pipedrive has no such entity; write it like persons, organizations, deals or leads").on(entity))
    }

    /// The kind as an entity: the word in its path.
    pub fn entity(self) -> Entity {
        Entity::from_static(self.path())
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Activity => "activities",
            Self::ActivityType => "activityTypes",
            Self::Deal => "deals",
            Self::Lead => "leads",
            Self::LeadLabel => "leadLabels",
            Self::Note => "notes",
            Self::Organization => "organizations",
            Self::Person => "persons",
            Self::Pipeline => "pipelines",
            Self::Product => "products",
            Self::Stage => "stages",
            Self::User => "users",
            Self::Webhook => "webhooks",
        }
    }

    /// The word webhooks, item search and configuration use.
    pub fn singular(self) -> &'static str {
        match self {
            Self::Activity => "activity",
            Self::ActivityType => "activityType",
            Self::Deal => "deal",
            Self::Lead => "lead",
            Self::LeadLabel => "leadLabel",
            Self::Note => "note",
            Self::Organization => "organization",
            Self::Person => "person",
            Self::Pipeline => "pipeline",
            Self::Product => "product",
            Self::Stage => "stage",
            Self::User => "user",
            Self::Webhook => "webhook",
        }
    }

    /// The API it lives in.
    pub fn version(self) -> ApiVersion {
        match self {
            Self::ActivityType | Self::Lead | Self::LeadLabel | Self::Note | Self::User | Self::Webhook => ApiVersion::V1,
            _ => ApiVersion::V2,
        }
    }

    pub(crate) fn paging(self) -> Paging {
        match self {
            Self::Lead | Self::Note => Paging::Offset,
            Self::ActivityType | Self::LeadLabel | Self::User | Self::Webhook => Paging::Whole,
            _ => Paging::Cursor,
        }
    }

    /// True if `ids=` reads up to 100 records at once.
    pub(crate) fn multi_get(self) -> bool {
        matches!(self, Self::Activity | Self::Deal | Self::Organization | Self::Person | Self::Product)
    }

    /// True if a single record has a path of its own for reading.
    pub(crate) fn single_get(self) -> bool {
        !matches!(self, Self::ActivityType | Self::LeadLabel | Self::Webhook)
    }

    /// True if its list takes `updated_since`. Pipelines and stages answer it with a 400.
    pub(crate) fn has_changes(self) -> bool {
        self.multi_get() || matches!(self, Self::Lead | Self::Note)
    }

    /// True if its records are named by UUIDs.
    pub(crate) fn has_uuids(self) -> bool {
        matches!(self, Self::Lead | Self::LeadLabel)
    }

    /// The path of the list that describes its fields. Leads have the fields of deals; those of notes are described in v1 alone.
    pub(crate) fn fields_path(self) -> Option<&'static str> {
        Some(match self {
            Self::Activity => "activityFields",
            Self::Deal | Self::Lead => "dealFields",
            Self::Note => "noteFields",
            Self::Organization => "organizationFields",
            Self::Person => "personFields",
            Self::Product => "productFields",
            _ => return None,
        })
    }

    /// True if records carry custom fields. Activities have a schema and never answer them.
    pub(crate) fn has_custom_fields(self) -> bool {
        matches!(self, Self::Deal | Self::Lead | Self::Organization | Self::Person | Self::Product)
    }

    /// Tokens of one call, by the published prices.
    pub fn price(self, op: Op) -> u32 {
        let (v1, plain) = (self.version() == ApiVersion::V1, matches!(self, Self::Pipeline | Self::Stage));
        match op {
            Op::Get if v1 => 2,
            Op::Get => 1,
            Op::List if matches!(self, Self::LeadLabel | Self::Webhook) => 10,
            Op::List if v1 => 20,
            Op::List if plain => 5,
            Op::List => 10,
            Op::Create | Op::Update if v1 => 10,
            Op::Create | Op::Update => 5,
            Op::Delete if v1 => 6,
            Op::Delete => 3,
            Op::Fields if self == Self::Note => 20,
            Op::Fields => 10,
            Op::Merge => 40,
            Op::Search => 20,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_words_name_a_kind() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of(&kind.entity()).unwrap(), kind);
            assert_eq!(Kind::of(&Entity::new(kind.singular())).unwrap(), kind);
        }
        assert!(Kind::of(&Entity::from_static("contacts")).is_err());
    }
}
