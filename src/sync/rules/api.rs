//! Which records are synced, which way, how often.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::Fields;
use crate::pace::RetryPolicy;
use crate::query::Criteria;
use crate::sync::plan::Action;

/// Which way records go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum SyncDirection {
    /// Both ways.
    #[default]
    #[serde(alias = "both", alias = "two_way", alias = "twoWay")]
    Bidirectional,
    /// From the CRM to the host only.
    #[serde(alias = "from_crm", alias = "inbound", alias = "pull")]
    FromCrm,
    /// From the host to the CRM only.
    #[serde(alias = "to_crm", alias = "outbound", alias = "push")]
    ToCrm,
}

impl SyncDirection {
    /// Whether the host's records are written to the CRM.
    pub fn writes(self) -> bool {
        self != Self::FromCrm
    }

    /// Whether the CRM's changes are read.
    pub fn reads(self) -> bool {
        self != Self::ToCrm
    }
}

/// Which writes the CRM gets. In the guide's `createOrUpdate`, true is both and false is updates alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Writes {
    /// New records are made, known ones are changed.
    #[default]
    Both,
    /// Only new records are made.
    CreateOnly,
    /// Only known records are changed.
    UpdateOnly,
}

/// The guide's `syncRules` with the settings that stand beside them.
///
/// ```
/// # use crm_sync::sync::SyncRules;
/// let rules: SyncRules = serde_json::from_str(r#"{
///     "leadCriteria": "Status != 'Disqualified'", "createOrUpdate": true,
///     "syncDirection": "bidirectional", "syncInterval": 300000, "batchSize": 200, "retryAttempts": 3
/// }"#)?;
/// let lead = |status: &str| serde_json::from_value(serde_json::json!({ "Status": status })).unwrap();
/// assert!(rules.admits("lead", &lead("New")) && !rules.admits("lead", &lead("Disqualified")));
/// # Ok::<_, serde_json::Error>(())
/// ```
///
/// Every key that ends in `Criteria` is the condition of the entity in front of it, in the CRM's field names; an entity without
/// one is synced whole. Other keys are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
#[non_exhaustive]
pub struct SyncRules {
    /// Conditions by entity, as the host calls it (`lead`).
    pub criteria: BTreeMap<String, Criteria>,
    /// Which writes. Default: both.
    pub writes: Writes,
    /// Which way. Default: both.
    pub direction: SyncDirection,
    /// How often the host polls, for [`crate::sync::Reader::stream`] and [`crate::sync::TwoWay::rounds`]. Milliseconds in a file, 1 second at least. Default: 5 minutes.
    pub interval: Duration,
    /// Records of one write call, for [`crate::sync::EngineBuilder::batch_size`]; 1 to 10,000. Default: 200.
    pub batch_size: usize,
    /// Tries of one call, the first one counted; 1 to 100. Default: 3.
    pub retry_attempts: u32,
}

impl Default for SyncRules {
    fn default() -> Self {
        Self {
            criteria: BTreeMap::new(),
            writes: Writes::Both,
            direction: SyncDirection::Bidirectional,
            interval: Duration::from_secs(300),
            batch_size: 200,
            retry_attempts: 3,
        }
    }
}

impl SyncRules {
    /// The condition of an entity, as the host calls it.
    pub fn criteria(&self, name: &str) -> Option<&Criteria> {
        self.criteria.get(name).or_else(|| self.criteria.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, found)| found))
    }

    /// Whether a record with these fields, in the CRM's names, is synced. Fields the condition reads must be there: what is absent
    /// counts as null.
    pub fn admits(&self, name: &str, fields: &Fields) -> bool {
        self.criteria(name).is_none_or(|criteria| criteria.matches(fields))
    }

    /// Why a record with these fields is not written to the CRM, if it is not.
    pub(crate) fn leaves_out(&self, name: &str, fields: &Fields) -> Option<String> {
        if !self.direction.writes() {
            return Some("the sync rules read from the CRM only".to_owned());
        }
        (!self.admits(name, fields)).then(|| format!("it does not meet {name}Criteria of the sync rules"))
    }

    /// Whether the rules let a planned write of this kind go out.
    pub fn allows(&self, action: Action) -> bool {
        self.direction.writes()
            && match action {
                Action::Create => self.writes != Writes::UpdateOnly,
                Action::Update => self.writes != Writes::CreateOnly,
                _ => true,
            }
    }

    /// The guide's schedule of waits with these attempts.
    pub fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy::default().attempts(self.retry_attempts)
    }
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Raw {
    #[serde(alias = "create_or_update")]
    create_or_update: Option<Value>,
    #[serde(alias = "sync_direction")]
    sync_direction: SyncDirection,
    #[serde(alias = "sync_interval")]
    sync_interval: Option<u64>,
    #[serde(alias = "batch_size")]
    batch_size: Option<usize>,
    #[serde(alias = "retry_attempts")]
    retry_attempts: Option<u32>,
    #[serde(flatten)]
    criteria: BTreeMap<String, Value>,
}

impl TryFrom<Raw> for SyncRules {
    type Error = Error;

    fn try_from(raw: Raw) -> Result<Self> {
        let writes = match &raw.create_or_update {
            None | Some(Value::Null | Value::Bool(true)) => Writes::Both,
            Some(Value::Bool(false)) => Writes::UpdateOnly,
            Some(Value::String(text)) if matches!(text.as_str(), "both" | "createOrUpdate") => Writes::Both,
            Some(Value::String(text)) if matches!(text.as_str(), "create" | "createOnly") => Writes::CreateOnly,
            Some(Value::String(text)) if matches!(text.as_str(), "update" | "updateOnly") => Writes::UpdateOnly,
            Some(_) => return Err(Error::config("createOrUpdate is true, false, createOnly or updateOnly")),
        };
        let defaults = Self::default();
        let millis = raw.sync_interval.unwrap_or(300_000);
        if millis < 1_000 {
            return Err(Error::config("syncInterval is in milliseconds and at least 1000"));
        }
        let batch_size = raw.batch_size.unwrap_or(defaults.batch_size);
        if !(1..=10_000).contains(&batch_size) {
            return Err(Error::config("batchSize is between 1 and 10000 records"));
        }
        let retry_attempts = raw.retry_attempts.unwrap_or(defaults.retry_attempts);
        if !(1..=100).contains(&retry_attempts) {
            return Err(Error::config("retryAttempts counts the first try too: between 1 and 100"));
        }
        let mut criteria = BTreeMap::new();
        for (key, value) in &raw.criteria {
            let Some(name) = key.strip_suffix("Criteria").or_else(|| key.strip_suffix("_criteria")).filter(|name| !name.is_empty()) else {
                return Err(Error::config(format!(
                    "the sync rules know no key {key}; there are createOrUpdate, syncDirection, syncInterval, batchSize, retryAttempts, and a condition for each entity, like leadCriteria"
                )));
            };
            let Some(text) = value.as_str() else {
                return Err(Error::config(format!("{key} must be a text like: Status != 'Disqualified'")));
            };
            let parsed = Criteria::parse(text).map_err(|error| Error::config(format!("{key} is no condition: {error}")))?;
            criteria.insert(name.to_owned(), parsed);
        }
        Ok(Self { criteria, writes, direction: raw.sync_direction, interval: Duration::from_millis(millis), batch_size, retry_attempts })
    }
}

impl From<SyncRules> for Raw {
    fn from(rules: SyncRules) -> Self {
        let writes = match rules.writes {
            Writes::Both => Value::Bool(true),
            Writes::UpdateOnly => Value::Bool(false),
            Writes::CreateOnly => Value::from("createOnly"),
        };
        Self {
            create_or_update: Some(writes),
            sync_direction: rules.direction,
            sync_interval: u64::try_from(rules.interval.as_millis()).ok(),
            batch_size: Some(rules.batch_size),
            retry_attempts: Some(rules.retry_attempts),
            criteria: rules.criteria.into_iter().map(|(name, found)| (format!("{name}Criteria"), Value::from(found.to_string()))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_come_back_from_their_text() {
        let text = json!({ "leadCriteria": "Status != 'Disqualified'", "contact_criteria": "HasOptedOutOfEmail = false",
            "createOrUpdate": "updateOnly", "syncDirection": "pull", "syncInterval": 60_000 });
        let rules: SyncRules = serde_json::from_value(text).unwrap();
        assert_eq!((rules.writes, rules.direction, rules.interval.as_secs()), (Writes::UpdateOnly, SyncDirection::FromCrm, 60));
        assert!(!rules.allows(Action::Create) && !rules.direction.writes() && rules.direction.reads());
        let again: SyncRules = serde_json::from_value(serde_json::to_value(&rules).unwrap()).unwrap();
        assert_eq!(again, rules);
        let fields = |value: bool| serde_json::from_value::<Fields>(json!({ "HasOptedOutOfEmail": value })).unwrap();
        assert!(rules.admits("contact", &fields(false)) && !rules.admits("contact", &fields(true)));
        assert!(rules.admits("deal", &fields(true)));
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        for (text, word) in [
            (json!({ "leadCriterias": "a = 1" }), "leadCriterias"),
            (json!({ "leadCriteria": "Status !" }), "leadCriteria"),
            (json!({ "leadCriteria": 7 }), "leadCriteria"),
            (json!({ "syncInterval": 5 }), "syncInterval"),
            (json!({ "batchSize": 0 }), "batchSize"),
            (json!({ "retryAttempts": 0 }), "retryAttempts"),
            (json!({ "createOrUpdate": "never" }), "createOrUpdate"),
        ] {
            let error = serde_json::from_value::<SyncRules>(text).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
