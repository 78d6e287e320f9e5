//! How safe a create is, by name.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::adapter::Capabilities;
use crate::error::{Error, Result};
use crate::model::EntitySchema;

/// What keeps a create from happening twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Guarantee {
    /// Written by a unique key of ours: repeating it changes nothing.
    Keyed {
        /// The unique external-id field.
        field: String,
    },
    /// Nothing: an unanswered create is never repeated by itself; it is parked as ambiguous.
    None,
    /// Our id is kept in a field, and looked for before a create is repeated.
    Probed {
        /// The field.
        field: String,
    },
    /// As probed, once the CRM's search index has caught up.
    ProbedWithLag {
        /// The field.
        field: String,
    },
}

impl Guarantee {
    /// The guarantee that live metadata allows for keeping the host's id in `field`.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if `field` does not exist, cannot be written or cannot be searched: a host that asked
    /// for a key must not silently get a weaker promise than the field can give.
    pub fn of(field: Option<&str>, schema: &EntitySchema, can: &Capabilities) -> Result<Self> {
        let Some(name) = field else { return Ok(Self::None) };
        let entity = &schema.entity;
        let Some(found) = schema.field(name) else {
            return Err(Error::config(format!(
                "{entity} has no field {name}, or this user may not see it; create it as a unique external id"
            )));
        };
        if !found.creatable {
            return Err(Error::config(format!("{entity}.{name} cannot be written by this user, so it cannot hold the key")));
        }
        let field = found.name.clone();
        if can.upsert && found.external_id && found.unique {
            return Ok(Self::Keyed { field });
        }
        if !can.search || !found.filterable {
            return Err(Error::config(format!(
                "{entity}.{name} is neither a unique external id nor searchable, so it cannot hold the key"
            )));
        }
        Ok(if can.search_read_your_writes { Self::Probed { field } } else { Self::ProbedWithLag { field } })
    }

    /// The field that holds the host's id.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Keyed { field } | Self::Probed { field } | Self::ProbedWithLag { field } => Some(field),
            Self::None => None,
        }
    }

    /// True if an unanswered create may simply be repeated.
    pub fn is_keyed(&self) -> bool {
        matches!(self, Self::Keyed { .. })
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyed { field } => write!(f, "Keyed (upsert by the unique external id {field}; repeating a create changes nothing)"),
            Self::Probed { field } => write!(f, "Probed (our id in {field} is looked for before a create is repeated)"),
            Self::ProbedWithLag { field } => {
                write!(f, "ProbedWithLag (our id in {field} is looked for once the search index has caught up)")
            }
            Self::None => f.write_str("None (an unanswered create is parked, never repeated by itself)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Entity, FieldSchema, FieldType};

    fn schema(unique: bool, external: bool, filterable: bool) -> EntitySchema {
        let mut field = FieldSchema::new("Key__c", FieldType::Text);
        (field.unique, field.external_id, field.filterable) = (unique, external, filterable);
        EntitySchema::new(Entity::from_static("Lead"), "Lead", vec![field])
    }

    #[test]
    fn named_from_metadata() {
        let mut can = Capabilities::basic("Id");
        can.upsert = true;
        let of = |schema: &EntitySchema, can: &Capabilities| Guarantee::of(Some("Key__c"), schema, can);
        assert!(of(&schema(true, true, true), &can).unwrap().is_keyed());
        // An external id that is not unique may match several records: no key.
        assert!(matches!(of(&schema(false, true, true), &can).unwrap(), Guarantee::Probed { .. }));
        can.search_read_your_writes = false;
        assert!(matches!(of(&schema(false, false, true), &can).unwrap(), Guarantee::ProbedWithLag { .. }));
        assert!(of(&schema(false, false, false), &can).is_err());
        assert!(Guarantee::of(Some("Kee__c"), &schema(true, true, true), &can).is_err());
        assert_eq!(Guarantee::of(None, &schema(true, true, true), &can).unwrap(), Guarantee::None);
    }
}
