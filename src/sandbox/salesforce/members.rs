//! The counters of campaigns, and the recycle bin.

use serde_json::{Value, json};

use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::schema::ObjectDef;
use crate::sandbox::salesforce::validate::stamp;
use crate::sandbox::store::Row;

/// What a member adds to its campaign: leads, contacts, responses.
fn share(member: &Row) -> [i64; 3] {
    let lead = member.text("Type") == Some("Lead");
    [i64::from(lead), i64::from(!lead), i64::from(member.is_true("HasResponded"))]
}

impl Salesforce {
    fn add_to_campaign(&mut self, campaign: &str, change: [i64; 3]) {
        if change == [0; 3] {
            return;
        }
        let Some(mut row) = self.tables.get("Campaign", campaign).cloned() else { return };
        for (name, change) in ["NumberOfLeads", "NumberOfContacts", "NumberOfResponses"].into_iter().zip(change) {
            let count = row.fields.get(name).and_then(Value::as_i64).unwrap_or(0);
            row.fields.insert(name.to_owned(), json!(count + change));
        }
        self.tables.put("Campaign", campaign, Some(row));
    }

    /// A member comes (1) or goes (-1).
    pub(crate) fn count_member(&mut self, id: &str, sign: i64) {
        let Some(member) = self.tables.get("CampaignMember", id) else { return };
        let change = share(member).map(|count| count * sign);
        let campaign = member.text("CampaignId").unwrap_or_default().to_owned();
        self.add_to_campaign(&campaign, change);
    }

    /// What follows from a change.
    pub(crate) fn after_update(&mut self, object: &ObjectDef, id: &str, old: &Row) {
        if object.name != "CampaignMember" {
            return;
        }
        let Some(member) = self.tables.get("CampaignMember", id) else { return };
        let (before, after) = (share(old), share(member));
        let campaign = member.text("CampaignId").unwrap_or_default().to_owned();
        let mut change = after;
        change.iter_mut().zip(before).for_each(|(now, before)| *now -= before);
        self.add_to_campaign(&campaign, change);
    }

    /// What follows from a deletion that is about to happen.
    pub(crate) fn before_remove(&mut self, object: &ObjectDef, id: &str) {
        if object.name == "CampaignMember" {
            self.count_member(id, -1);
        }
    }

    /// Takes a row out of the recycle bin.
    pub(crate) fn edit_undelete(&mut self, now: Timestamp, entity: &str, id: &str) -> Result<()> {
        let object = self.schema.object(entity).cloned();
        let object = object.ok_or_else(|| Error::config(format!("the sandbox's org has no object {entity}")))?;
        let mark = self.tables.mark();
        self.events.begin_by_hand(now, &self.other);
        let result = Self::id_of(&object, id).and_then(|id| {
            let row = self.tables.get(&object.name, &id).filter(|row| row.deleted).cloned();
            let mut row = row.ok_or_else(|| ApiError::bad("UNDELETE_FAILED", "the record is not in the recycle bin"))?;
            row.deleted = false;
            row.fields.insert("IsDeleted".to_owned(), json!(false));
            for name in ["LastModifiedDate", "SystemModstamp"] {
                row.fields.insert(name.to_owned(), json!(stamp(now)));
            }
            self.unique(&object, &id, &row)?;
            self.tables.put(&object.name, &id, Some(row));
            if object.name == "CampaignMember" {
                self.count_member(&id, 1);
            }
            Ok(())
        });
        self.settle(mark, result)
    }

    /// Removes for good what was deleted.
    pub(crate) fn empty_bin(&mut self) {
        let entities: Vec<String> = self.tables.entities().map(str::to_owned).collect();
        for entity in entities {
            let gone: Vec<String> = self.tables.rows(&entity).filter(|(_, row)| row.deleted).map(|(id, _)| id.to_owned()).collect();
            for id in gone {
                self.tables.put(&entity, &id, None);
            }
        }
    }
}
