//! The ends of a lead: converted or disqualified, told to the host with what marketing needs to know.

use std::collections::HashMap;
use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::adapter::{ChangeFeed, Since};
use crate::error::{Error, Result};
use crate::model::{EventId, Fields, RecordId, parse_date, parse_datetime};
use crate::query::Cursor;
use crate::salesforce::client::Salesforce;
use crate::salesforce::entity::{LEAD, OPPORTUNITY};
use crate::salesforce::ids;

/// Records read by one request.
const PAGE: usize = 2_000;

/// The deal a conversion made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConvertedOpportunity {
    /// The opportunity.
    pub id: RecordId,
    /// Its value, if it has one and this user may see it.
    pub amount: Option<Decimal>,
    /// The value's currency, in orgs with several.
    pub currency: Option<String>,
    /// Its stage.
    pub stage: Option<String>,
    /// Its close date.
    pub close_date: Option<Date>,
    /// Whether it is won.
    pub won: Option<bool>,
}

/// A lead has become a contact.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct LeadConverted {
    /// The same for each report of the same conversion.
    pub event: EventId,
    /// The lead.
    pub lead: RecordId,
    /// Its e-mail address.
    pub email: Option<String>,
    /// When: Salesforce keeps the day alone.
    pub converted_on: Option<Date>,
    /// The contact it became.
    pub contact: Option<RecordId>,
    /// The contact's account.
    pub account: Option<RecordId>,
    /// The deal, unless none was made.
    pub opportunity: Option<ConvertedOpportunity>,
    /// The lead's own attribution fields, as the watch was told to read them.
    pub attribution: Fields,
    /// When the lead changed last.
    pub changed_at: Option<Timestamp>,
}

/// A lead was given up.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct LeadDisqualified {
    /// The same for each report of the same status. A lead that is taken up again and given up again has the same one too.
    pub event: EventId,
    /// The lead.
    pub lead: RecordId,
    /// Its e-mail address.
    pub email: Option<String>,
    /// The status that says so.
    pub status: String,
    /// The lead's own attribution fields, as the watch was told to read them.
    pub attribution: Fields,
    /// When the lead changed last.
    pub changed_at: Option<Timestamp>,
}

/// No address is shown.
impl fmt::Debug for LeadConverted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeadConverted")
            .field("lead", &self.lead)
            .field("converted_on", &self.converted_on)
            .field("contact", &self.contact)
            .finish_non_exhaustive()
    }
}

/// No address is shown.
impl fmt::Debug for LeadDisqualified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeadDisqualified").field("lead", &self.lead).field("status", &self.status).finish_non_exhaustive()
    }
}

/// The host's side. Each event is told at least once: remember [`LeadConverted::event`] to act once. An error ends the poll before
/// its cursor moves, so that the event comes again. The trait is object-safe.
#[async_trait]
pub trait LeadLifecycle: Send + Sync {
    /// A lead has become a contact.
    async fn converted(&self, event: LeadConverted) -> Result<()>;

    /// A lead was given up.
    async fn disqualified(&self, event: LeadDisqualified) -> Result<()>;
}

/// What a poll told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Watched {
    /// Where the next poll begins; keep it.
    pub next: Cursor,
    /// Leads that were read.
    pub leads: usize,
    /// Conversions told.
    pub converted: usize,
    /// Disqualifications told.
    pub disqualified: usize,
}

/// Finds conversions and disqualifications among the leads that changed.
#[derive(Clone, Debug)]
pub struct LifecycleWatch {
    client: Salesforce,
    disqualified: Vec<String>,
    attribution: Vec<String>,
}

impl LifecycleWatch {
    /// A watch for the status `Disqualified`, with `LeadSource` as attribution.
    pub fn new(client: &Salesforce) -> Self {
        Self { client: client.clone(), disqualified: vec!["Disqualified".to_owned()], attribution: vec!["LeadSource".to_owned()] }
    }

    /// The statuses that mean that a lead is given up; the org has its own.
    #[must_use]
    pub fn disqualified_by(mut self, statuses: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.disqualified = statuses.into_iter().map(Into::into).collect();
        self
    }

    /// The lead's fields that are handed on (`LeadSource`, `UTM_Source__c`, `Conversion_Path__c`, ...).
    #[must_use]
    pub fn attribution(mut self, fields: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.attribution = fields.into_iter().map(Into::into).collect();
        self
    }

    /// Tells `to` about the leads that changed since `since`, one page of them. Poll again at once while [`Watched::leads`] is not
    /// zero. Two requests, and a third for deals; once per connection the descriptions of Lead and Opportunity.
    ///
    /// # Errors
    /// See [`Salesforce`], or what `to` says; poll again from the same place then.
    pub async fn poll(&self, since: Since, to: &dyn LeadLifecycle) -> Result<Watched> {
        let mut feed = ChangeFeed::new(LEAD, since);
        feed.select = self.columns().await?;
        let page = self.client.changes_page(&feed).await.map_err(|error| error.during("lead lifecycle").on(&LEAD))?;
        let next = page.next.ok_or_else(|| Error::internal("a change feed ended"))?;
        let rows: Vec<(RecordId, Fields, Option<Timestamp>)> =
            page.items.into_iter().map(|change| (change.id, change.fields, change.at)).collect();
        let leads = rows.len();
        let (converted, disqualified) = self.tell(rows, to).await?;
        Ok(Watched { next, leads, converted, disqualified })
    }

    /// Tells `to` about these leads as they are now: for ids that a stream, a trigger or an outbound message reported. Leads that
    /// are gone are left out. Answers how many conversions and disqualifications were told.
    ///
    /// # Errors
    /// As [`LifecycleWatch::poll`].
    pub async fn look_at(&self, leads: &[RecordId], to: &dyn LeadLifecycle) -> Result<(usize, usize)> {
        let columns = self.columns().await?;
        let (mut converted, mut disqualified) = (0, 0);
        for page in leads.chunks(PAGE) {
            let wanted: Vec<&RecordId> = page.iter().collect();
            let rows = self.client.retrieve_collection(&LEAD, &wanted, &columns).await?;
            let rows = page.iter().zip(rows).filter_map(|(id, row)| {
                let row = row?;
                let at = row.text("SystemModstamp").and_then(parse_datetime);
                Some((ids::record_id(id.as_str()), row, at))
            });
            let told = self.tell(rows.collect(), to).await?;
            converted += told.0;
            disqualified += told.1;
        }
        Ok((converted, disqualified))
    }

    async fn columns(&self) -> Result<Vec<String>> {
        let schema = self.client.schema(&LEAD).await?;
        let own = ["Id", "SystemModstamp", "Email", "Status", "IsConverted", "ConvertedDate", "ConvertedContactId", "ConvertedAccountId"];
        let mut columns: Vec<String> = own.iter().map(ToString::to_string).collect();
        columns.push("ConvertedOpportunityId".to_owned());
        for field in &self.attribution {
            let Some(known) = schema.field(field) else {
                return Err(Error::config(format!(
                    "Lead has no field {field}, or this user may not see it; it is asked for as attribution"
                )));
            };
            if !columns.contains(&known.name) {
                columns.push(known.name.clone());
            }
        }
        Ok(columns)
    }

    async fn tell(&self, rows: Vec<(RecordId, Fields, Option<Timestamp>)>, to: &dyn LeadLifecycle) -> Result<(usize, usize)> {
        let deals = self.deals(&rows).await?;
        let (mut converted, mut disqualified) = (0, 0);
        for (lead, row, changed_at) in rows {
            let id = |name: &str| row.text(name).filter(|id| !id.is_empty()).map(ids::record_id);
            let email = row.text("Email").map(ToOwned::to_owned);
            let mut attribution = row.clone();
            attribution.retain(|name, _| self.attribution.iter().any(|field| field.eq_ignore_ascii_case(name)));
            let status = row.text("Status").unwrap_or_default();
            if row.get("IsConverted").and_then(Value::as_bool) == Some(true) {
                let event = LeadConverted {
                    event: EventId::new(format!("{lead}:converted")),
                    email,
                    converted_on: row.text("ConvertedDate").and_then(parse_date),
                    contact: id("ConvertedContactId"),
                    account: id("ConvertedAccountId"),
                    opportunity: id("ConvertedOpportunityId").map(|id| deals.get(&id).cloned().unwrap_or_else(|| bare(id))),
                    attribution,
                    changed_at,
                    lead,
                };
                to.converted(event).await?;
                converted += 1;
            } else if self.disqualified.iter().any(|known| known == status) {
                let event = LeadDisqualified {
                    event: EventId::new(format!("{lead}:disqualified:{status}")),
                    email,
                    status: status.to_owned(),
                    attribution,
                    changed_at,
                    lead,
                };
                to.disqualified(event).await?;
                disqualified += 1;
            }
        }
        Ok((converted, disqualified))
    }

    async fn deals(&self, rows: &[(RecordId, Fields, Option<Timestamp>)]) -> Result<HashMap<RecordId, ConvertedOpportunity>> {
        let ids: Vec<RecordId> = rows
            .iter()
            .filter_map(|(_, row, _)| row.text("ConvertedOpportunityId"))
            .filter(|id| !id.is_empty())
            .map(ids::record_id)
            .collect();
        let mut deals = HashMap::with_capacity(ids.len());
        if ids.is_empty() {
            return Ok(deals);
        }
        let schema = self.client.schema(&OPPORTUNITY).await?;
        // The currency exists in some orgs alone, and each of the others can be hidden.
        let columns = ["Id", "Amount", "CurrencyIsoCode", "StageName", "CloseDate", "IsWon"];
        let columns: Vec<&str> = columns.into_iter().filter(|name| *name == "Id" || schema.field(name).is_some()).collect();
        for page in ids.chunks(PAGE) {
            let wanted: Vec<&RecordId> = page.iter().collect();
            for row in self.client.retrieve_collection(&OPPORTUNITY, &wanted, &columns).await?.into_iter().flatten() {
                let Some(id) = row.text("Id").map(ids::record_id) else { continue };
                let deal = ConvertedOpportunity {
                    amount: row.get("Amount").and_then(decimal),
                    currency: row.text("CurrencyIsoCode").map(ToOwned::to_owned),
                    stage: row.text("StageName").map(ToOwned::to_owned),
                    close_date: row.text("CloseDate").and_then(parse_date),
                    won: row.get("IsWon").and_then(Value::as_bool),
                    id: id.clone(),
                };
                deals.insert(id, deal);
            }
        }
        Ok(deals)
    }
}

/// A deal this user may not see.
fn bare(id: RecordId) -> ConvertedOpportunity {
    ConvertedOpportunity { id, amount: None, currency: None, stage: None, close_date: None, won: None }
}

fn decimal(value: &Value) -> Option<Decimal> {
    let text = value.as_number()?.to_string();
    text.parse().ok().or_else(|| Decimal::from_scientific(&text).ok()).map(|number: Decimal| number.normalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_safe() {
        fn takes(_: Option<&dyn LeadLifecycle>) {}
        takes(None);
    }

    #[test]
    fn money_is_a_decimal() {
        assert_eq!(decimal(&serde_json::json!(1.0e7)), Some(Decimal::from(10_000_000)));
        assert_eq!(decimal(&serde_json::json!(0.1)).unwrap().to_string(), "0.1");
        assert_eq!(decimal(&Value::Null), None);
    }
}
