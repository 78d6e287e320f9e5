//! One lead: made with an assignment rule, later changed only where it differs.

use serde_json::Value;

use crate::error::{ErrorKind, Result};
use crate::model::{ExternalKey, Fields, RecordId, same};
use crate::salesforce::client::Salesforce;
use crate::salesforce::config::AutoAssign;
use crate::salesforce::entity::LEAD;
use crate::salesforce::ids;

/// Keeps leads in step by an external id field of Lead, which holds the host's id.
///
/// The owner is given by the assignment rule when the lead is made, and only then: a change through this flow never moves a lead
/// to somebody else.
#[derive(Clone, Debug)]
pub struct LeadFlow {
    client: Salesforce,
    key: String,
    on_create: Fields,
    assign: AutoAssign,
}

/// What became of a lead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncedLead {
    /// The lead.
    pub id: RecordId,
    /// What was done.
    pub write: LeadWrite,
}

/// What was done to a lead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeadWrite {
    /// Nothing: it is converted and therefore read-only. Go on with its contact.
    Converted {
        /// The contact it became, if this user may see it.
        contact: Option<RecordId>,
    },
    /// It was made.
    Created,
    /// Nothing: the org has it so already.
    Unchanged,
    /// These fields were written.
    Updated {
        /// Their names.
        fields: Vec<String>,
    },
}

impl LeadFlow {
    /// A flow over the external id field `key` of Lead. New leads get their owner by the org's active assignment rule.
    pub fn new(client: &Salesforce, key: impl Into<String>) -> Self {
        Self { client: client.clone(), key: key.into(), on_create: Fields::new(), assign: AutoAssign::Default }
    }

    /// Fields that are set when a lead is made, unless given, and never changed later (a first `Status`, a `Company` for people
    /// without one).
    #[must_use]
    pub fn on_create(mut self, fields: Fields) -> Self {
        self.on_create = fields;
        self
    }

    /// Which rule gives a new lead its owner.
    #[must_use]
    pub fn auto_assign(mut self, rule: AutoAssign) -> Self {
        self.assign = rule;
        self
    }

    /// Makes the lead that `key` stands for, or changes what differs. One request if nothing differs, two otherwise, and once per
    /// connection the description of Lead.
    ///
    /// Relations given as objects cannot be compared and are written every time.
    ///
    /// # Errors
    /// See [`Salesforce`]. Safe to repeat whatever the error.
    pub async fn sync(&self, key: &str, fields: &Fields) -> Result<SyncedLead> {
        let key = ExternalKey::new(self.key.as_str(), key)?;
        match self.once(&key, fields).await {
            // Somebody made it at the same moment: now it is there to be changed.
            Err(error) if error.kind() == ErrorKind::Duplicate && error.code() == Some("DUPLICATE_VALUE") => self.once(&key, fields).await,
            outcome => outcome,
        }
    }

    async fn once(&self, key: &ExternalKey, fields: &Fields) -> Result<SyncedLead> {
        let mut select = vec!["Id", "IsConverted", "ConvertedContactId"];
        select.extend(fields.iter().filter(|(name, value)| !value.is_object() && comparable(name)).map(|(name, _)| name));
        let Some(row) = self.client.retrieve_by(&LEAD, key, &select).await? else {
            let mut all = self.on_create.clone();
            all.merge(fields.clone());
            let made = self.client.with_auto_assign(self.assign.clone())?.upsert(&LEAD, key, &all).await?;
            let write = if made.created { LeadWrite::Created } else { LeadWrite::Updated { fields: names(&all) } };
            return Ok(SyncedLead { id: made.id, write });
        };
        let id = row.text("Id").map(ids::record_id).ok_or_else(|| crate::error::Error::decode("a lead came without its id"))?;
        if row.get("IsConverted").and_then(Value::as_bool) == Some(true) {
            let contact = row.text("ConvertedContactId").filter(|id| !id.is_empty()).map(ids::record_id);
            return Ok(SyncedLead { id, write: LeadWrite::Converted { contact } });
        }
        let schema = self.client.schema(&LEAD).await?;
        let mut changed = fields.clone();
        changed.retain(|name, value| {
            let known = row.get(name).unwrap_or(&Value::Null);
            comparable(name) && (value.is_object() || !same(value, known, &schema.field_type(name)))
        });
        changed.remove(&self.key);
        if changed.is_empty() {
            return Ok(SyncedLead { id, write: LeadWrite::Unchanged });
        }
        // A change must not run the rules again, or the lead is torn from its owner.
        self.client.with_auto_assign(AutoAssign::Off)?.update(&LEAD, &id, &changed).await?;
        Ok(SyncedLead { id, write: LeadWrite::Updated { fields: names(&changed) } })
    }
}

fn comparable(name: &str) -> bool {
    !["id", "attributes", "isconverted", "convertedcontactid"].iter().any(|own| name.eq_ignore_ascii_case(own))
}

fn names(fields: &Fields) -> Vec<String> {
    fields.names().map(ToOwned::to_owned).collect()
}
