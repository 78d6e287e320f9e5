//! A record, its identity and its link to the host's side.

use std::fmt;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::entity::Entity;
use crate::model::fields::Fields;

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// From its text.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// Its text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Its text, without a copy.
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }
    };
}
pub(crate) use text_newtype;

text_newtype! {
    /// The CRM's id of a record, opaque. Adapters normalise it (Salesforce: always 18 characters), so that it can be a map key.
    RecordId
}

text_newtype! {
    /// A mark that changes whenever the record does: an ETag, a `SystemModstamp`, an `update_time`. Opaque; compared for equality.
    Version
}

/// A value of a unique field that names a record from outside.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExternalKey {
    /// The unique field, in the CRM's spelling.
    pub field: String,
    /// Its value. Never empty.
    pub value: String,
}

/// The field only: the value may be personal.
impl fmt::Debug for ExternalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExternalKey({})", self.field)
    }
}

impl ExternalKey {
    /// A key; `field` is the CRM's field name.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if either part is empty: an empty value addresses another resource in every CRM.
    pub fn new(field: impl Into<String>, value: impl Into<String>) -> Result<Self> {
        let key = Self { field: field.into(), value: value.into() };
        if key.field.is_empty() || key.value.is_empty() {
            return Err(Error::config("an external key needs a field and a value"));
        }
        Ok(key)
    }
}

/// A record as the CRM returned it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// Its kind.
    pub entity: Entity,
    /// Its id.
    pub id: RecordId,
    /// The fields that were asked for; a field not asked for is absent, an empty one is null.
    pub fields: Fields,
    /// Its version mark, where the CRM has one and it was read.
    pub version: Option<Version>,
    /// When it last changed, by the CRM's clock.
    pub modified_at: Option<Timestamp>,
    /// True for a tombstone.
    #[serde(default)]
    pub deleted: bool,
}

impl Record {
    /// A live record without version and time.
    pub fn new(entity: Entity, id: RecordId, fields: Fields) -> Self {
        Self { entity, id, fields, version: None, modified_at: None, deleted: false }
    }

    /// The fields as a type of the host's or of a CRM's `types` module.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Decode`] naming the field that does not fit.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        self.fields.parse().map_err(|error| error.on(&self.entity).record_id(&self.id))
    }
}

/// The tie between a record of the host and one of the CRM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The host's id.
    pub local: String,
    /// The CRM's entity.
    pub entity: Entity,
    /// The CRM's id.
    pub remote: RecordId,
}
