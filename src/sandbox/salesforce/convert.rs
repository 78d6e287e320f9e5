//! Lead conversion, as `convertLead()` does it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::ids;
use crate::sandbox::salesforce::schema::ObjectDef;
use crate::sandbox::salesforce::soql::day;
use crate::sandbox::salesforce::write::Write;
use crate::sandbox::store::Row;

/// What to convert, and into what (SOAP API Developer Guide, `LeadConvert`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Conversion {
    /// The lead.
    pub lead_id: String,
    /// A status of `LeadStatus` with `IsConverted`.
    pub converted_status: String,
    /// An account to merge into; a new one if absent.
    pub account_id: Option<String>,
    /// A contact to merge into; needs the account.
    pub contact_id: Option<String>,
    /// The name of the opportunity; the company's if absent.
    pub opportunity_name: Option<String>,
    /// Without an opportunity.
    pub do_not_create_opportunity: bool,
    /// The lead's source replaces the contact's.
    pub overwrite_lead_source: bool,
    /// The owner of what is made; the lead's owner if absent.
    pub owner_id: Option<String>,
}

impl Conversion {
    /// Into a new account, contact and opportunity.
    pub fn new(lead_id: impl Into<String>, converted_status: impl Into<String>) -> Self {
        Self { lead_id: lead_id.into(), converted_status: converted_status.into(), ..Self::default() }
    }
}

/// What a lead became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Converted {
    /// The lead.
    pub lead_id: String,
    /// Its account.
    pub account_id: String,
    /// Its contact.
    pub contact_id: String,
    /// Its opportunity, unless none was wanted.
    pub opportunity_id: Option<String>,
}

/// Lead field to account field.
const TO_ACCOUNT: [(&str, &str); 14] = [
    ("Company", "Name"),
    ("Street", "BillingStreet"),
    ("City", "BillingCity"),
    ("State", "BillingState"),
    ("PostalCode", "BillingPostalCode"),
    ("Country", "BillingCountry"),
    ("Phone", "Phone"),
    ("Fax", "Fax"),
    ("Website", "Website"),
    ("Industry", "Industry"),
    ("AnnualRevenue", "AnnualRevenue"),
    ("NumberOfEmployees", "NumberOfEmployees"),
    ("Rating", "Rating"),
    ("LeadSource", "AccountSource"),
];

/// Lead field to contact field; custom fields of the same name follow.
const TO_CONTACT: [(&str, &str); 16] = [
    ("LastName", "LastName"),
    ("FirstName", "FirstName"),
    ("Salutation", "Salutation"),
    ("Title", "Title"),
    ("Email", "Email"),
    ("Phone", "Phone"),
    ("MobilePhone", "MobilePhone"),
    ("Fax", "Fax"),
    ("LeadSource", "LeadSource"),
    ("Description", "Description"),
    ("HasOptedOutOfEmail", "HasOptedOutOfEmail"),
    ("Street", "MailingStreet"),
    ("City", "MailingCity"),
    ("State", "MailingState"),
    ("PostalCode", "MailingPostalCode"),
    ("Country", "MailingCountry"),
];

fn carried(lead: &Row, pairs: &[(&str, &str)]) -> Map<String, Value> {
    pairs.iter().filter_map(|(from, to)| Some(((*to).to_owned(), lead.fields.get(*from)?.clone()))).collect()
}

impl Salesforce {
    /// Converts a lead, or leaves everything as it was.
    pub(crate) fn edit_convert(&mut self, now: Timestamp, conversion: &Conversion) -> Result<Converted> {
        let mark = self.tables.mark();
        let write = self.by_hand(now);
        self.events.begin_by_hand(now, &self.other);
        let result = self.convert(&write, conversion);
        self.settle(mark, result)
    }

    fn target(&self, object: &ObjectDef, id: Option<&str>) -> Result<Option<String>, ApiError> {
        let Some(id) = id else { return Ok(None) };
        let id = Self::id_of(object, id)?;
        self.existing(object, &id)?;
        Ok(Some(id))
    }

    /// The existing record with its empty fields filled, or a new one.
    fn merge(
        &mut self,
        write: &Write,
        object: &Arc<ObjectDef>,
        id: Option<String>,
        mut body: Map<String, Value>,
    ) -> Result<String, ApiError> {
        let Some(id) = id else { return self.insert(write, object, &body) };
        let known = self.existing(object, &id)?;
        body.retain(|name, _| known.fields.get(name).is_none_or(|value| *value == Value::Bool(false)) && name != "OwnerId");
        self.update(write, object, &id, &body)?;
        Ok(id)
    }

    fn convert(&mut self, write: &Write, conversion: &Conversion) -> Result<Converted, ApiError> {
        let (leads, accounts, contacts) = (self.object("Lead")?, self.object("Account")?, self.object("Contact")?);
        let lead_id = Self::id_of(&leads, &conversion.lead_id)?;
        let lead = self.existing(&leads, &lead_id)?.clone();
        if lead.is_true("IsConverted") {
            return Err(ApiError::field("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead", &[]));
        }
        let status = &conversion.converted_status;
        let closes = self.tables.rows("LeadStatus").any(|(_, row)| row.is_true("IsConverted") && row.text("MasterLabel") == Some(status));
        if !closes {
            return Err(ApiError::field("INVALID_STATUS", format!("invalid convertedStatus: {status}"), &[]));
        }
        let account = self.target(&accounts, conversion.account_id.as_deref())?;
        let contact = self.target(&contacts, conversion.contact_id.as_deref())?;
        if contact.is_some() && account.is_none() {
            return Err(ApiError::field("MISSING_ARGUMENT", "contactId needs accountId", &[]));
        }
        let owner = conversion.owner_id.as_deref().and_then(ids::normalize).or_else(|| lead.text("OwnerId").map(str::to_owned));
        let owner = owner.filter(|owner| owner.starts_with("005"));
        let owner = owner.ok_or_else(|| ApiError::field("MISSING_ARGUMENT", "a lead of a queue is converted with ownerId", &[]))?;

        let mut body = carried(&lead, &TO_ACCOUNT);
        body.insert("OwnerId".to_owned(), json!(owner));
        let account_id = self.merge(write, &accounts, account, body)?;

        let mut body = carried(&lead, &TO_CONTACT);
        let custom = leads.fields.iter().filter(|field| field.is_custom() && !field.unique && contacts.field(&field.name).is_some());
        body.extend(custom.filter_map(|field| Some((field.name.clone(), lead.fields.get(&field.name)?.clone()))));
        body.insert("AccountId".to_owned(), json!(account_id));
        body.insert("OwnerId".to_owned(), json!(owner));
        let known = contact.is_some();
        let contact_id = self.merge(write, &contacts, contact, body)?;
        if known
            && conversion.overwrite_lead_source
            && let Some(source) = lead.fields.get("LeadSource")
        {
            let body = [("LeadSource".to_owned(), source.clone())].into_iter().collect();
            self.update(write, &contacts, &contact_id, &body)?;
        }

        let opportunity_id = if conversion.do_not_create_opportunity {
            None
        } else {
            let name = conversion.opportunity_name.clone().or_else(|| lead.text("Company").map(str::to_owned)).unwrap_or_default();
            let today = day(write.now);
            let body = json!({"Name": name, "StageName": "Prospecting", "CloseDate": today.last_of_month().to_string(), "AccountId": account_id,
                              "ContactId": contact_id, "OwnerId": owner, "LeadSource": lead.fields.get("LeadSource")});
            let opportunities = self.object("Opportunity")?;
            Some(self.insert(write, &opportunities, body.as_object().unwrap_or(&Map::new()))?)
        };
        self.follow(write, &lead_id, &contact_id)?;
        let body = json!({"Status": status, "IsConverted": true, "ConvertedDate": day(write.now).to_string(), "ConvertedAccountId": account_id,
                          "ConvertedContactId": contact_id, "ConvertedOpportunityId": opportunity_id});
        self.update(write, &leads, &lead_id, body.as_object().unwrap_or(&Map::new()))?;
        Ok(Converted { lead_id, account_id, contact_id, opportunity_id })
    }

    /// Activities and campaign memberships of the lead go with the contact.
    fn follow(&mut self, write: &Write, lead: &str, contact: &str) -> Result<(), ApiError> {
        let links = [("Task", "WhoId", "WhoId"), ("Event", "WhoId", "WhoId"), ("CampaignMember", "LeadId", "ContactId")];
        for (entity, lookup, field) in links {
            let object = self.object(entity)?;
            let rows: Vec<String> = self.tables.lookup(entity, lookup, &lead.to_lowercase()).map(str::to_owned).collect();
            for id in rows {
                let mut body: Map<String, Value> = [(field.to_owned(), json!(contact))].into_iter().collect();
                if entity == "CampaignMember" {
                    body.insert("Type".to_owned(), json!("Contact"));
                    body.insert("LeadOrContactId".to_owned(), json!(contact));
                }
                self.update(write, &object, &id, &body)?;
            }
        }
        Ok(())
    }
}
