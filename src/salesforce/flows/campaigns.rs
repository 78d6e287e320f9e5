//! Campaigns found or made by a marker, and the statuses their members may have.

use std::collections::HashMap;

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Entity, ExternalKey, Fields, RecordId};
use crate::query::Criteria;
use crate::salesforce::client::Salesforce;
use crate::salesforce::entity::CAMPAIGN;
use crate::salesforce::ids;
use crate::salesforce::limits::COLLECTION_LIMIT;
use crate::salesforce::select::Soql;

const MEMBER_STATUS: Entity = Entity::from_static("CampaignMemberStatus");

/// Campaigns and their members. `marker` is a field of Campaign that holds the host's id of it; best an external id field, as then
/// two processes cannot make the same campaign twice.
///
/// Making and changing campaigns needs a user with the Marketing User flag.
#[derive(Clone, Debug)]
pub struct Campaigns {
    pub(super) client: Salesforce,
    marker: String,
    pub(super) statuses: HashMap<String, String>,
}

/// A campaign that is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnsuredCampaign {
    /// The campaign.
    pub id: RecordId,
    /// Whether it was made just now.
    pub created: bool,
}

/// A status a campaign's members may have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberStatus {
    /// Its name.
    pub label: String,
    /// Whether members with it count as responded. A member's own `HasResponded` is read-only and follows from this.
    pub responded: bool,
}

impl MemberStatus {
    /// A status.
    pub fn new(label: impl Into<String>, responded: bool) -> Self {
        Self { label: label.into(), responded }
    }
}

impl Campaigns {
    /// Campaigns marked by the field `marker`.
    pub fn new(client: &Salesforce, marker: impl Into<String>) -> Self {
        Self { client: client.clone(), marker: marker.into(), statuses: HashMap::new() }
    }

    /// The campaign's word for one of the host's member statuses. A status without one is used as it is.
    #[must_use]
    pub fn map_status(mut self, ours: impl Into<String>, theirs: impl Into<String>) -> Self {
        self.statuses.insert(ours.into(), theirs.into());
        self
    }

    /// The campaign marked `value`; made with `fields` if there is none, and left as it is if there is. New ones are active unless
    /// `fields` says otherwise, as inactive ones are hidden. Two requests at most, and once per connection the description of
    /// Campaign.
    ///
    /// # Errors
    /// See [`Salesforce`]; [`ErrorKind::Duplicate`] with the campaigns if several have the mark. Safe to repeat.
    pub async fn ensure(&self, value: &str, fields: &Fields) -> Result<EnsuredCampaign> {
        let key = ExternalKey::new(self.marker.as_str(), value)?;
        let schema = self.client.schema(&CAMPAIGN).await?;
        let Some(marker) = schema.field(&self.marker) else {
            return Err(Error::config(format!("Campaign has no field {}, or this user may not see it", self.marker)));
        };
        if let Some(id) = self.marked(&key, marker.external_id).await? {
            return Ok(EnsuredCampaign { id, created: false });
        }
        let mut all = fields.clone();
        if !all.contains("IsActive") {
            all.insert("IsActive", true);
        }
        if marker.external_id {
            let made = match self.client.upsert(&CAMPAIGN, &key, &all).await {
                Err(error) if error.kind() == ErrorKind::Duplicate => match self.marked(&key, true).await? {
                    // Somebody else made it at the same moment.
                    Some(id) => return Ok(EnsuredCampaign { id, created: false }),
                    None => return Err(error),
                },
                made => made?,
            };
            return Ok(EnsuredCampaign { id: made.id, created: made.created });
        }
        all.insert(&key.field, key.value.as_str());
        match self.client.create(&CAMPAIGN, &all).await {
            Ok(id) => Ok(EnsuredCampaign { id, created: true }),
            // Made or not? The mark tells.
            Err(error) if error.may_have_applied() || error.kind() == ErrorKind::Duplicate => match self.marked(&key, false).await {
                Ok(Some(id)) => Ok(EnsuredCampaign { id, created: error.may_have_applied() }),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    async fn marked(&self, key: &ExternalKey, external_id: bool) -> Result<Option<RecordId>> {
        if external_id {
            let row = self.client.retrieve_by(&CAMPAIGN, key, &["Id"]).await?;
            return Ok(row.as_ref().and_then(|row| row.text("Id")).map(ids::record_id));
        }
        let filter = Criteria::eq(key.field.as_str(), key.value.as_str());
        let schema = self.client.schema(&CAMPAIGN).await?;
        let soql = Soql::select(["Id"]).from(CAMPAIGN.as_str()).filter(&filter).typed(&schema).limit(2).build()?;
        let page = self.client.query_fields(&soql).await.map_err(|error| error.on(&CAMPAIGN))?;
        let found: Vec<RecordId> = page.records.iter().filter_map(|row| row.text("Id")).map(ids::record_id).collect();
        match found.as_slice() {
            [] => Ok(None),
            [id] => Ok(Some(id.clone())),
            _ => {
                let message = format!("several campaigns have the same {}; clear it on all but one", key.field);
                Err(Error::new(ErrorKind::Duplicate, message).on(&CAMPAIGN).with_duplicates(found))
            }
        }
    }

    /// The statuses of a campaign's members.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn member_statuses(&self, campaign: &RecordId) -> Result<Vec<MemberStatus>> {
        Ok(self.statuses_of(campaign).await?.into_iter().map(|(status, _)| status).collect())
    }

    /// Makes those statuses that the campaign does not have yet, behind its own; answers which. An existing one is left as it is,
    /// whether it counts as responded or not. One request, or two.
    ///
    /// # Errors
    /// See [`Salesforce`]; the error of the first status that was refused. Safe to repeat.
    pub async fn ensure_statuses(&self, campaign: &RecordId, wanted: &[MemberStatus]) -> Result<Vec<MemberStatus>> {
        let known = self.statuses_of(campaign).await?;
        let mut missing: Vec<MemberStatus> = Vec::new();
        for status in wanted {
            let is = |other: &MemberStatus| other.label.eq_ignore_ascii_case(&status.label);
            if !known.iter().any(|(other, _)| is(other)) && !missing.iter().any(is) {
                missing.push(status.clone());
            }
        }
        let last = known.iter().map(|(_, order)| *order).max().unwrap_or(0);
        let rows: Vec<Fields> = missing
            .iter()
            .zip(last + 1..)
            .map(|(status, order)| {
                let mut row = Fields::new();
                row.insert("CampaignId", campaign.as_str());
                row.insert("Label", status.label.as_str());
                row.insert("HasResponded", status.responded);
                row.insert("SortOrder", order);
                row
            })
            .collect();
        let entity = MEMBER_STATUS;
        for chunk in rows.chunks(COLLECTION_LIMIT) {
            let chunk: Vec<(&Entity, &Fields)> = chunk.iter().map(|row| (&entity, row)).collect();
            for outcome in self.client.create_collection(&chunk).await? {
                match outcome {
                    Err(error) if error.kind() != ErrorKind::Duplicate => return Err(error.on(&MEMBER_STATUS)),
                    _ => {}
                }
            }
        }
        Ok(missing)
    }

    async fn statuses_of(&self, campaign: &RecordId) -> Result<Vec<(MemberStatus, i64)>> {
        let filter = Criteria::eq("CampaignId", campaign.as_str());
        let soql = Soql::select(["Label", "HasResponded", "SortOrder"]).from(MEMBER_STATUS.as_str()).filter(&filter);
        let page = self.client.query_fields(&soql.build()?).await.map_err(|error| error.on(&MEMBER_STATUS))?;
        let status = |row: &Fields| {
            let label = row.text("Label")?;
            let responded = row.get("HasResponded").and_then(Value::as_bool).unwrap_or(false);
            Some((MemberStatus::new(label, responded), row.get("SortOrder").and_then(Value::as_i64).unwrap_or(0)))
        };
        Ok(page.records.iter().filter_map(status).collect())
    }
}
