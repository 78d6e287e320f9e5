//! Labels by name. Those of persons, organizations and deals are options of the field `label_ids`, with numbers; those of leads
//! are records of their own, with UUIDs.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::pipedrive::body::refused;
use crate::pipedrive::catalog::named;
use crate::pipedrive::client::{Pipedrive, id_of};
use crate::pipedrive::field_map::FieldOption;
use crate::pipedrive::resource::Kind;
use crate::pipedrive::schema::UNKNOWN_AFTER;

impl Pipedrive {
    /// The labels that records of this kind can have; read as descriptions are, and kept as long.
    ///
    /// # Errors
    /// See [`Pipedrive`]; [`crate::error::ErrorKind::Unsupported`] for kinds without labels.
    pub async fn labels(&self, kind: Kind) -> Result<Vec<FieldOption>> {
        match kind {
            Kind::Deal | Kind::Organization | Kind::Person => {
                let map = self.fields(kind).await?;
                let field = map.by_key("label_ids").or_else(|| map.by_key("label"));
                Ok(field.map(|field| field.options.clone()).unwrap_or_default())
            }
            Kind::Lead => {
                let rows = self.entries(Kind::LeadLabel).await?;
                let option = |row: &serde_json::Map<String, Value>| {
                    let label = row.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
                    Some(FieldOption { id: row.get("id").and_then(id_of)?.into_string(), label })
                };
                Ok(rows.iter().filter_map(option).collect())
            }
            _ => Err(Error::unsupported("only deals, leads, organizations and persons have labels").during("labels").on(&kind.entity())),
        }
    }

    /// `label_ids` of a body, with ids for names. Ids need no call: digits, and UUIDs of leads, are never looked up as names. One
    /// text may name several, separated by commas or semicolons.
    pub(crate) async fn label_ids<'v>(&self, kind: Kind, value: &'v Value) -> Result<Cow<'v, Value>> {
        let items = match value {
            Value::Null => return Ok(Cow::Borrowed(value)),
            Value::Array(items) if !items.iter().any(|item| is_name(kind, item)) => return Ok(Cow::Borrowed(value)),
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        let mut ids = Vec::with_capacity(items.len());
        for item in items {
            let Some(text) = item.as_str().filter(|_| is_name(kind, item)) else {
                ids.push(item.clone());
                continue;
            };
            if text.trim().is_empty() {
                continue;
            }
            if let Some(id) = self.label(kind, text).await? {
                ids.push(id);
                continue;
            }
            // A name may hold a comma, so the whole text was tried first.
            let parts: Vec<&str> = text.split([',', ';']).map(str::trim).filter(|part| !part.is_empty()).collect();
            let unknown = || refused(kind, "label_ids", "has no label of this name, or several");
            if value.is_array() || parts.len() < 2 {
                return Err(unknown());
            }
            for part in parts {
                let named = is_name(kind, &json!(part));
                ids.push(if named { self.label(kind, part).await?.ok_or_else(unknown)? } else { json!(part) });
            }
        }
        Ok(Cow::Owned(Value::Array(ids)))
    }

    /// The id of the label with this name; the description is read again if it is not known.
    async fn label(&self, kind: Kind, name: &str) -> Result<Option<Value>> {
        if kind == Kind::Lead {
            let id = |rows: &[serde_json::Map<String, Value>]| match named(rows, &["name"], name).as_slice() {
                [row] => row.get("id").cloned(),
                _ => None,
            };
            if let Some(id) = id(&self.entries(Kind::LeadLabel).await?) {
                return Ok(Some(id));
            }
            return Ok(id(&self.fresh_entries(Kind::LeadLabel).await?));
        }
        for age in [self.config.settings.ttl(), UNKNOWN_AFTER] {
            let map = self.fields_not_older(kind, age).await?;
            let field = map.by_key("label_ids").or_else(|| map.by_key("label"));
            if let Some(id) = field.and_then(|field| field.option_id(name)) {
                return Ok(Some(id.parse::<i64>().map_or_else(|_| json!(id), Value::from)));
            }
        }
        Ok(None)
    }
}

/// True for a text that is not an id.
fn is_name(kind: Kind, item: &Value) -> bool {
    let Some(text) = item.as_str().map(str::trim) else { return false };
    if kind == Kind::Lead {
        return !(text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'));
    }
    text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit())
}
