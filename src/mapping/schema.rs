//! The JSON Schema of mapping files, for editors: completion, and a red line before anything is compiled.
//!
//! What a file may say is told once more here as types, because the reader itself works on text with places. A test holds the
//! two together.

#![allow(dead_code, reason = "types that are described, not made")]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

use crate::mapping::config::MappingSet;

impl MappingSet {
    /// The JSON Schema (draft 2020-12) of mapping files, for YAML, JSON and TOML alike. In an editor: a first line of
    /// `# yaml-language-server: $schema=mapping.schema.json`.
    pub fn json_schema() -> Value {
        let mut schema = schemars::schema_for!(File).to_value();
        if let Value::Object(map) = &mut schema {
            map.insert("title".to_owned(), "Field mappings".into());
            map.insert("description".to_owned(), "CRM, below it entity, below that each field: ours, and the CRM's".into());
        }
        schema
    }
}

/// By CRM (salesforce, hubspot, pipedrive, or your own), then by entity, then by host field or path.
#[derive(JsonSchema)]
#[serde(transparent)]
struct File(BTreeMap<String, BTreeMap<String, BTreeMap<String, Field>>>);

#[derive(JsonSchema)]
#[serde(untagged)]
enum Field {
    /// The CRM field it is copied to and from.
    Name(String),
    Long(Box<LongForm>),
}

#[derive(JsonSchema)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Number(f64),
    Flag(bool),
    Null(()),
}

#[derive(JsonSchema)]
#[serde(untagged)]
enum OneOrMany {
    One(Scalar),
    Many(Vec<Scalar>),
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Type {
    Direct,
    Computed,
    Picklist,
    Constant,
    Lookup,
    Split,
    Join,
    Compound,
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Direction {
    Out,
    In,
    Both,
    Outbound,
    Inbound,
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Blank {
    Clear,
    Keep,
    Skip,
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OnNull {
    Clear,
    Skip,
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OnTooLong {
    Error,
    Truncate,
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OnError {
    Error,
    Null,
    Default,
    SkipRecord,
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Owner {
    Ours,
    Theirs,
    Latest,
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Case {
    Sensitive,
    Insensitive,
}

#[derive(JsonSchema)]
enum At {
    #[serde(rename = "first blank")]
    First,
    #[serde(rename = "last blank")]
    Last,
}

#[derive(JsonSchema)]
#[serde(untagged)]
enum Unmapped {
    /// error, pass, drop, null, default, or default(value).
    Policy(Option<String>),
    Both(UnmappedBoth),
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct UnmappedBoth {
    /// For host values that the table does not list.
    out: Option<String>,
    /// For CRM values that the table does not list.
    r#in: Option<String>,
}

#[derive(JsonSchema)]
#[serde(untagged)]
enum Format {
    /// A pattern of strftime such as %d.%m.%Y, epoch_s or epoch_ms.
    Pattern(String),
}

/// The long form of a field.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LongForm {
    /// The CRM field.
    field: Option<String>,
    /// How the value comes to be; told by the other keys if left out.
    r#type: Option<Type>,
    /// A formula over host fields, or CRM fields that this mapping fills: CONCAT(firstName, ' ', lastName).
    formula: Option<String>,
    /// Host value to CRM value; * catches the rest, ~ is null.
    mapping: Option<BTreeMap<String, Scalar>>,
    /// What happens to values that the table does not list.
    unmapped: Option<Unmapped>,
    /// Written by a create when the host has no value; never taken back inbound.
    default: Option<Scalar>,
    /// A create without a value is refused.
    required: Option<bool>,
    /// A formula; the field is left out unless it is true.
    when: Option<String>,
    /// Which way the field goes.
    direction: Option<Direction>,
    /// Another spelling of dates.
    format: Option<Format>,
    /// The zone of civil times: UTC or an offset such as +02:00.
    zone: Option<String>,
    /// What a blank text does.
    blank: Option<Blank>,
    /// What null does.
    on_null: Option<OnNull>,
    /// Longest text in characters.
    max: Option<u32>,
    /// What a longer text does.
    on_too_long: Option<OnTooLong>,
    /// Older spellings of CRM values that are read as well.
    aliases: Option<BTreeMap<String, OneOrMany>>,
    /// Whether the table tells upper from lower case.
    case: Option<Case>,
    /// Who wins a conflict.
    owner: Option<Owner>,
    /// The constant.
    value: Option<Scalar>,
    /// CRM value to the host value it is read as, where several stand for it.
    preferred: Option<BTreeMap<String, Scalar>>,
    /// For a lookup: the entity to look in.
    entity: Option<String>,
    /// For a lookup: the CRM field to look by.
    by: Option<String>,
    /// For a split: the CRM fields of the first and second part.
    into: Option<[String; 2]>,
    /// For a split: where to cut.
    at: Option<At>,
    /// For a join: the host fields.
    from: Option<Vec<String>>,
    /// For a join: what stands between the parts; a blank if left out.
    separator: Option<String>,
    /// For a join: where to cut inbound.
    split: Option<At>,
    /// Texts are read as the number or boolean the field wants.
    lenient: Option<bool>,
    /// What a failing formula or value does.
    on_error: Option<OnError>,
    /// The currency of amounts that come without one (Pipedrive).
    currency: Option<String>,
    /// Members of a multi-select are added to those the CRM has (HubSpot).
    append: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::long_form::{KEYS, TYPES};

    #[test]
    fn the_schema_knows_the_keys_that_the_reader_knows() {
        let schema = schemars::schema_for!(LongForm).to_value();
        let mut known: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut read = KEYS.to_vec();
        known.sort_unstable();
        read.sort_unstable();
        assert_eq!(known, read);
        assert_eq!(schema["additionalProperties"], Value::Bool(false));
        let types = schemars::schema_for!(Type).to_value();
        assert_eq!(types["enum"], serde_json::json!(TYPES));
    }
}
