//! How each CRM merges records, as data a host can show, store and carry out.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::{Fields, RecordId};

/// The CRM that merges.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Merger {
    /// One loser at a time; not to be undone ("Merge two records", CRM API).
    Hubspot,
    /// One loser at a time; the survivor is the one named in the body (Pipedrive API v1).
    Pipedrive,
    /// Up to two losers at a time, for Lead, Contact and Account; SOAP or Apex only, there is no REST call (SOAP API `merge()`).
    Salesforce,
}

/// One call.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "crm", rename_all = "snake_case")]
#[non_exhaustive]
pub enum MergeStep {
    /// `POST /crm/v3/objects/{object}/merge` with `primaryObjectId` and `objectIdToMerge`. The answer may carry a new id, which is the
    /// primary of the next step.
    Hubspot {
        /// `contacts`, `companies`, `deals` or `tickets`.
        object: String,
        /// The record that stays.
        primary_object_id: RecordId,
        /// The record that goes.
        object_id_to_merge: RecordId,
    },
    /// `PUT /v1/{object}/{id}/merge` with `merge_with_id`.
    Pipedrive {
        /// `persons`, `organizations` or `deals`.
        object: String,
        /// The record that goes: the one in the path.
        id: RecordId,
        /// The record that stays.
        merge_with_id: RecordId,
    },
    /// SOAP or Apex `merge` of a master and one or two others.
    Salesforce {
        /// `Lead`, `Contact` or `Account`.
        object: String,
        /// The record that stays.
        master: RecordId,
        /// The records that go to the recycle bin.
        merged: Vec<RecordId>,
    },
}

/// The calls that make one record of several, in order.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MergePlan {
    /// The record that stays.
    pub survivor: RecordId,
    /// The records that go.
    pub losers: Vec<RecordId>,
    /// The calls, one after the other: stop at the first that fails.
    pub steps: Vec<MergeStep>,
    /// Whether the losers can be brought back (Salesforce: undelete from the recycle bin; their field values, not the merge).
    pub is_undoable: bool,
}

impl MergePlan {
    /// Plans the merge of `losers` into `survivor`. A loser that comes twice goes once.
    ///
    /// # Errors
    /// `Config` when the CRM does not merge this object, when there is no loser, or when the survivor is among them.
    pub fn new(merger: Merger, object: &str, survivor: &RecordId, losers: &[RecordId]) -> Result<Self> {
        let known: &[&str] = match merger {
            Merger::Hubspot => &["contacts", "companies", "deals", "tickets"],
            Merger::Pipedrive => &["persons", "organizations", "deals"],
            Merger::Salesforce => &["Lead", "Contact", "Account"],
        };
        if !known.contains(&object) {
            return Err(Error::config(format!("merging `{object}`: it can be done for {}", known.join(", "))));
        }
        let mut unique: Vec<RecordId> = Vec::new();
        for loser in losers {
            if !unique.contains(loser) {
                unique.push(loser.clone());
            }
        }
        if unique.is_empty() || unique.contains(survivor) {
            return Err(Error::config(format!("merging `{object}`: name at least one record to merge that is not the survivor")));
        }
        let object = object.to_owned();
        let steps = match merger {
            Merger::Hubspot => unique
                .iter()
                .map(|loser| MergeStep::Hubspot {
                    object: object.clone(),
                    primary_object_id: survivor.clone(),
                    object_id_to_merge: loser.clone(),
                })
                .collect(),
            Merger::Pipedrive => unique
                .iter()
                .map(|loser| MergeStep::Pipedrive { object: object.clone(), id: loser.clone(), merge_with_id: survivor.clone() })
                .collect(),
            Merger::Salesforce => unique
                .chunks(2)
                .map(|pair| MergeStep::Salesforce { object: object.clone(), master: survivor.clone(), merged: pair.to_vec() })
                .collect(),
        };
        Ok(Self { survivor: survivor.clone(), losers: unique, steps, is_undoable: merger == Merger::Salesforce })
    }
}

/// A record that a CRM holds for a duplicate. Debug shows no values.
#[derive(Clone, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CrmMatch {
    /// Its type; not always that of the record that was to be created (a lead may match a contact).
    pub entity: String,
    /// Its id.
    pub id: RecordId,
    /// The CRM's own confidence, 0 to 1.
    pub confidence: f64,
    /// The matching rule that fired.
    pub rule: String,
    /// What the answer tells of it: to be prepared and judged like any candidate. Often the id only.
    pub fields: Fields,
}

impl std::fmt::Debug for CrmMatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CrmMatch").field("entity", &self.entity).field("rule", &self.rule).finish_non_exhaustive()
    }
}

/// The matches in Salesforce's answer `DUPLICATES_DETECTED`: the error list, one of its errors, or the `duplicateResult` in it.
///
/// A record that several rules found comes once, with the highest confidence. The list is empty when the user may not see the
/// matches, and in answers to collections, which leave them out.
pub fn salesforce_matches(answer: &Value) -> Vec<CrmMatch> {
    let mut out: Vec<CrmMatch> = Vec::new();
    let errors = answer.as_array().map_or(std::slice::from_ref(answer), Vec::as_slice);
    for error in errors {
        let result = error.get("duplicateResult").unwrap_or(error);
        let list = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        for rule in list(result, "matchResults") {
            let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            for found in list(&rule, "matchRecords") {
                let Some(Value::Object(record)) = found.get("record") else { continue };
                let Some(id) = record.get("Id").and_then(Value::as_str) else { continue };
                let confidence = found.get("matchConfidence").and_then(Value::as_f64).unwrap_or(0.0) / 100.0;
                let mut fields = Fields::new();
                for (name, value) in record.iter().filter(|(name, _)| name.as_str() != "attributes") {
                    fields.insert(name, value.clone());
                }
                let found = CrmMatch { entity: text("entityType"), id: RecordId::new(id), confidence, rule: text("rule"), fields };
                match out.iter_mut().find(|known| known.id == found.id) {
                    Some(known) if known.confidence < found.confidence => *known = found,
                    Some(_) => {}
                    None => out.push(found),
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ids(names: &[&str]) -> Vec<RecordId> {
        names.iter().map(|name| RecordId::new(*name)).collect()
    }

    #[test]
    fn each_crm_has_its_own_way() {
        let stays = RecordId::new("1");
        let plan = MergePlan::new(Merger::Salesforce, "Contact", &stays, &ids(&["2", "3", "4", "3"])).unwrap();
        assert_eq!((plan.steps.len(), plan.losers.len(), plan.is_undoable), (2, 3, true));
        let plan = MergePlan::new(Merger::Pipedrive, "persons", &stays, &ids(&["2"])).unwrap();
        let wanted = json!([{"crm": "pipedrive", "object": "persons", "id": "2", "merge_with_id": "1"}]);
        assert_eq!(serde_json::to_value(&plan.steps).unwrap(), wanted);
        let plan = MergePlan::new(Merger::Hubspot, "contacts", &stays, &ids(&["2", "3"])).unwrap();
        assert!(plan.steps.len() == 2 && !plan.is_undoable);
        assert!(MergePlan::new(Merger::Salesforce, "Opportunity", &stays, &ids(&["2"])).is_err());
        assert!(MergePlan::new(Merger::Hubspot, "contacts", &stays, &ids(&["1"])).is_err());
        assert!(MergePlan::new(Merger::Hubspot, "contacts", &stays, &[]).is_err());
    }

    #[test]
    fn matches_are_read_from_the_error() {
        let answer = json!([{"errorCode": "DUPLICATES_DETECTED", "message": "Use one of these records?", "duplicateResult": {
            "allowSave": true, "matchResults": [
                {"entityType": "Contact", "rule": "Standard", "matchRecords": [
                    {"matchConfidence": 90.0, "record": {"attributes": {"type": "Contact"}, "Id": "003A", "Email": "a@b.com"}}]},
                {"entityType": "Contact", "rule": "Own", "matchRecords": [
                    {"matchConfidence": 100.0, "record": {"Id": "003A"}}, {"matchConfidence": 80.0, "record": {"Id": "003B"}}]}]}}]);
        let found = salesforce_matches(&answer);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].id.as_str(), found[0].confidence, found[0].rule.as_str()), ("003A", 1.0, "Own"));
        assert!(salesforce_matches(&json!([{"errorCode": "DUPLICATES_DETECTED"}])).is_empty());
        assert!(salesforce_matches(&Value::Null).is_empty());
    }
}
