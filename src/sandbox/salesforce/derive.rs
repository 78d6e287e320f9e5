//! What the platform fills in by itself: full names, closed stages, campaign members and PushTopic checks.

use serde_json::{Value, json};

use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::schema::ObjectDef;
use crate::sandbox::salesforce::soql;
use crate::sandbox::salesforce::validate::stamp;
use crate::sandbox::salesforce::write::Write;
use crate::sandbox::store::Row;

fn set(row: &mut Row, name: &str, value: impl Into<Value>) {
    row.fields.insert(name.to_owned(), value.into());
}

impl Salesforce {
    /// Rules and derived fields of single objects, before a row is stored. `old` is the row before an update.
    pub(crate) fn before_save(&self, write: &Write, object: &ObjectDef, old: Option<&Row>, row: &mut Row) -> Result<(), ApiError> {
        match object.name.as_str() {
            "Lead" | "Contact" | "User" => {
                let name = [row.text("FirstName"), row.text("LastName")].into_iter().flatten().collect::<Vec<_>>().join(" ");
                set(row, "Name", name);
            }
            "Opportunity" => {
                let stage = row.text("StageName").unwrap_or_default().to_owned();
                let (closed, won) = (stage.starts_with("Closed"), stage == "Closed Won");
                set(row, "IsClosed", closed);
                set(row, "IsWon", won);
                let moved = old.is_none_or(|old| old.text("StageName") != Some(&stage));
                // A new stage brings its own probability, unless one was sent along.
                let stale = old.is_none_or(|old| old.fields.get("Probability") == row.fields.get("Probability"));
                if moved && old.is_some() {
                    set(row, "LastStageChangeDate", stamp(write.now));
                }
                if moved && (!row.fields.contains_key("Probability") || (old.is_some() && stale)) {
                    let chance = if won {
                        100.0
                    } else if closed {
                        0.0
                    } else {
                        10.0
                    };
                    set(row, "Probability", chance);
                }
                if !row.fields.contains_key("ForecastCategoryName") {
                    set(
                        row,
                        "ForecastCategoryName",
                        if won {
                            "Closed"
                        } else if closed {
                            "Omitted"
                        } else {
                            "Pipeline"
                        },
                    );
                }
            }
            "Task" => {
                let closed = row.text("Status") == Some("Completed");
                set(row, "IsClosed", closed);
            }
            "CampaignMember" => self.member(write, old, row)?,
            "StreamingChannel" if !row.text("Name").is_some_and(|name| name.starts_with("/u/") && name.len() > 3) => {
                return Err(ApiError::field("INVALID_FIELD", "the name of a streaming channel begins with /u/", &["Name"]));
            }
            "PushTopic" => self.push_topic(old.is_none(), row)?,
            _ => {}
        }
        Ok(())
    }

    fn member(&self, write: &Write, old: Option<&Row>, row: &mut Row) -> Result<(), ApiError> {
        let campaign = row.text("CampaignId").unwrap_or_default().to_owned();
        if old.is_none() {
            let (kind, lookup, person) = match (row.text("LeadId"), row.text("ContactId")) {
                (Some(id), None) => ("Lead", "LeadId", id.to_owned()),
                (None, Some(id)) => ("Contact", "ContactId", id.to_owned()),
                (Some(_), Some(_)) => {
                    let message = "a campaign member is either a lead or a contact: set exactly one of LeadId and ContactId";
                    return Err(ApiError::field("FIELD_INTEGRITY_EXCEPTION", message, &["LeadId", "ContactId"]));
                }
                (None, None) => {
                    return Err(ApiError::field("REQUIRED_FIELD_MISSING", "Required fields are missing: [LeadId]", &["LeadId"]));
                }
            };
            let same = |id: &&str| self.tables.get("CampaignMember", id).is_some_and(|other| other.text("CampaignId") == Some(&campaign));
            if self.tables.lookup("CampaignMember", lookup, &person.to_lowercase()).any(|id| same(&id)) {
                let message = format!("Already a campaign member: {kind} {person} belongs to campaign {campaign}");
                return Err(ApiError::field("DUPLICATE_VALUE", message, &[]));
            }
            if let Some(source) = self.tables.live(kind, &person) {
                for name in ["Name", "FirstName", "LastName", "Email"] {
                    if let Some(value) = source.fields.get(name) {
                        set(row, name, value.clone());
                    }
                }
                let company = match kind {
                    "Lead" => source.text("Company"),
                    _ => source.text("AccountId").and_then(|id| self.tables.live("Account", id)).and_then(|row| row.text("Name")),
                };
                if let Some(company) = company {
                    set(row, "CompanyOrAccount", company);
                }
            }
            set(row, "LeadOrContactId", person);
            set(row, "Type", kind);
        }
        // Statuses belong to the campaign; one it does not know becomes its default.
        let statuses: Vec<&Row> = self
            .tables
            .lookup("CampaignMemberStatus", "CampaignId", &campaign.to_lowercase())
            .filter_map(|id| self.tables.get("CampaignMemberStatus", id))
            .collect();
        let wanted = row.text("Status").unwrap_or_default().to_lowercase();
        let found = statuses
            .iter()
            .find(|status| status.text("Label").is_some_and(|label| label.to_lowercase() == wanted))
            .or_else(|| statuses.iter().find(|status| status.is_true("IsDefault")));
        let responded = found.is_some_and(|status| status.is_true("HasResponded"));
        if let Some(label) = found.and_then(|status| status.text("Label")) {
            set(row, "Status", label);
        }
        set(row, "HasResponded", responded);
        if responded && !row.fields.contains_key("FirstRespondedDate") {
            set(row, "FirstRespondedDate", write.now.strftime("%Y-%m-%d").to_string());
        }
        Ok(())
    }

    /// The rules of the Streaming API for a topic's query.
    fn push_topic(&self, new: bool, row: &Row) -> Result<(), ApiError> {
        let text = row.text("Query").unwrap_or_default();
        let refuse = |message: &str| ApiError::field("INVALID_FIELD", message, &["QUERY"]);
        let query = soql::parse(text).map_err(|error| refuse(&error.message))?;
        let scope = self.scope("v68.0", row_day(row));
        let plan = soql::plan(&query, text, &scope).map_err(|error| refuse(&error.message))?;
        let plain = ["Account", "Campaign", "Contact", "Event", "Lead", "Opportunity", "Task"];
        if !plain.contains(&plan.object.name.as_str()) && !plan.object.is_custom() {
            return Err(refuse(&format!("entity {} is not supported", plan.object.name)));
        }
        if !query.group.is_empty() || !query.order.is_empty() || query.limit.is_some() || query.offset > 0 || query.count {
            return Err(refuse("ORDER BY, GROUP BY, LIMIT, OFFSET and aggregates are not supported in a PushTopic query"));
        }
        if !plan.is_flat() {
            return Err(refuse("a PushTopic query must select Id, and may not follow relationships"));
        }
        self.topic_rules(&query, &plan.object, new)
    }

    /// What a new row brings along.
    pub(crate) fn after_insert(&mut self, write: &Write, object: &ObjectDef, id: &str) -> Result<(), ApiError> {
        if object.name == "CampaignMember" {
            self.count_member(id, 1);
        }
        if object.name != "Campaign" {
            return Ok(());
        }
        let Some(statuses) = self.schema.object("CampaignMemberStatus").cloned() else { return Ok(()) };
        let system = Write { system: true, locked: false, ..write.clone() };
        for (label, order, responded) in [("Sent", 1, false), ("Responded", 2, true)] {
            let body = json!({"CampaignId": id, "Label": label, "SortOrder": order, "IsDefault": order == 1, "HasResponded": responded});
            if let Value::Object(body) = body {
                self.insert(&system, &statuses, &body)?;
            }
        }
        Ok(())
    }
}

fn row_day(_: &Row) -> jiff::civil::Date {
    // The literals of a topic's filter are evaluated with the events, not when the topic is saved.
    jiff::civil::Date::constant(2026, 1, 1)
}
