//! The vocabulary: values, fields, records, schemas and changes. Pure data.

mod change;
mod drift;
mod entity;
mod fields;
mod hint;
pub(crate) mod phone;
#[cfg(any(feature = "hubspot", feature = "pipedrive"))]
mod projection;
mod record;
mod schema;
mod value;

pub use change::{Change, ChangeKind, EventId, Origin, Successor};
pub use drift::{FieldDrift, SchemaDrift};
pub use entity::Entity;
pub(crate) use fields::kind_of;
pub use fields::{Fields, FieldsIter, FieldsSeed, Shape, ShapeCache};
pub(crate) use hint::Hint;
#[cfg(any(feature = "hubspot", feature = "pipedrive"))]
pub(crate) use projection::Projection;
pub use record::{ExternalKey, Link, Record, RecordId, Version};
pub use schema::{EntitySchema, FieldSchema, Picklist, PicklistValue};
pub use serde_json::Value;
pub use value::{Canon, FieldType, canon, parse_date, parse_datetime, same};
