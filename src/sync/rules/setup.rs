//! A CRM's configuration block of the original guide, as it stands.
//!
//! The block holds the way into the CRM, and below `config` what belongs to the sync: rules, interval, sizes and field mappings.
//! [`Setup`] takes the two apart.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::mapping::MappingSet;
use crate::sync::rules::api::SyncRules;

/// What a block holds. `C` is the CRM's own configuration, e.g. `SalesforceConfig`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Setup<C> {
    /// The way into the CRM.
    pub connection: C,
    /// `syncRules`, with `syncInterval`, `batchSize` and `retryAttempts` (or HubSpot's `retryConfig`).
    pub rules: SyncRules,
    /// `fieldMappings` (or HubSpot's `propertyMappings`), if there are any.
    pub mappings: Option<MappingSet>,
    /// What was left out, why, and what stands in for it. No values.
    pub notes: Vec<String>,
}

impl<C: DeserializeOwned> Setup<C> {
    /// From JSON. `crm` is the name under which the mappings are found (`salesforce`).
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] naming what is wrong, never a value.
    pub fn from_json(text: &str, crm: &str) -> Result<Self> {
        let value = serde_json::from_str(text).map_err(|error| {
            Error::config(format!("the {crm} configuration is no JSON: line {}, column {}", error.line(), error.column()))
        })?;
        Self::from_value(value, crm)
    }

    /// From YAML of the same shape.
    ///
    /// # Errors
    /// As [`Setup::from_json`].
    #[cfg(feature = "yaml")]
    pub fn from_yaml(text: &str, crm: &str) -> Result<Self> {
        let value = serde_saphyr::from_str(text).map_err(|_| Error::config(format!("the {crm} configuration is no YAML")))?;
        Self::from_value(value, crm)
    }

    /// From a tree of the same shape.
    ///
    /// # Errors
    /// As [`Setup::from_json`].
    pub fn from_value(value: Value, crm: &str) -> Result<Self> {
        let Value::Object(mut block) = value else {
            return Err(Error::config(format!("the {crm} configuration must be an object of settings")));
        };
        let mut notes = Vec::new();
        let mut inner = match block.remove("config") {
            Some(Value::Object(inner)) => inner,
            Some(Value::Null) | None => Map::new(),
            Some(_) => return Err(Error::config(format!("config of the {crm} configuration must be an object of settings"))),
        };
        let rules = rules(&mut inner, &mut notes, crm)?;
        let mut mappings = None;
        for key in ["fieldMappings", "field_mappings", "propertyMappings", "property_mappings"] {
            let Some(found) = inner.remove(key) else { continue };
            if mappings.is_some() {
                return Err(Error::config(format!("the {crm} configuration holds its mappings twice, the second time as {key}")));
            }
            let mut file = Map::new();
            file.insert(crm.to_owned(), found);
            mappings = Some(MappingSet::from_json(&Value::Object(file).to_string(), &format!("{crm} {key}"))?);
        }
        for key in ["apiVersion", "api_version"] {
            if let Some(version) = inner.remove(key)
                && block.insert(key.to_owned(), version).is_some()
            {
                return Err(Error::config(format!("the {crm} configuration says {key} twice")));
            }
        }
        let has_token = ["accessToken", "access_token", "refreshToken", "refresh_token"].iter().any(|key| block.contains_key(*key));
        for key in ["apiKey", "api_key"] {
            if crm.eq_ignore_ascii_case("hubspot") && has_token && block.remove(key).is_some() {
                notes.push(format!("{key} is not used: HubSpot's account API keys ended on 30 November 2022; the token beside it is"));
            }
        }
        if !inner.is_empty() {
            block.insert("config".to_owned(), Value::Object(inner));
        }
        let connection = serde_json::from_value(Value::Object(block)).map_err(|error| {
            let text = error.to_string();
            // The message of a wrong value quotes it; that of an unknown or missing key holds names alone.
            let told = if text.starts_with("unknown field") || text.starts_with("missing field") {
                text
            } else {
                "a value has the wrong type".to_owned()
            };
            Error::config(format!("the {crm} configuration cannot be used: {told}"))
        })?;
        Ok(Self { connection, rules, mappings, notes })
    }
}

fn rules(inner: &mut Map<String, Value>, notes: &mut Vec<String>, crm: &str) -> Result<SyncRules> {
    let mut rules = match inner.remove("syncRules").or_else(|| inner.remove("sync_rules")) {
        Some(Value::Object(rules)) => rules,
        Some(Value::Null) | None => Map::new(),
        Some(_) => return Err(Error::config(format!("syncRules of the {crm} configuration must be an object"))),
    };
    for key in ["syncInterval", "batchSize", "retryAttempts", "sync_interval", "batch_size", "retry_attempts"] {
        if let Some(value) = inner.remove(key)
            && rules.insert(key.to_owned(), value).is_some()
        {
            return Err(Error::config(format!("the {crm} configuration says {key} twice")));
        }
    }
    if let Some(Value::Object(retry)) = inner.remove("retryConfig") {
        for (key, value) in retry {
            match (key.as_str(), value.as_u64()) {
                ("retries", Some(retries)) => {
                    rules.entry("retryAttempts").or_insert_with(|| Value::from(retries.saturating_add(1)));
                }
                ("retryDelay", _) => notes.push("retryDelay is not used: waits double from 1 s to 60 s, or are the CRM's own".to_owned()),
                ("retryCondition", _) => {
                    notes.push("retryCondition is not used: each error says itself whether it may be repeated, 429 among them".to_owned());
                }
                _ => return Err(Error::config(format!("retryConfig of the {crm} configuration: {key} is unknown or no whole number"))),
            }
        }
    }
    serde_json::from_value(Value::Object(rules)).map_err(|error| Error::config(format!("the sync rules of {crm}: {error}")))
}
