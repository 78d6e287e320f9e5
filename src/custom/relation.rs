//! Which field lives in a record of another entity.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A field that lives in a record of its own.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RelatedSpec {
    /// The entity of that record, one of the definition's.
    pub entity: String,
    /// Its field with the id of the record it belongs to.
    pub parent: String,
    /// Its field with the value.
    pub field: String,
    /// What else it holds, and is recognised by: `{type: work}`.
    #[serde(default)]
    pub also: BTreeMap<String, Value>,
    /// It is deleted with the record it belongs to. Say so if the API does not do it by itself.
    #[serde(default)]
    pub delete: bool,
}
