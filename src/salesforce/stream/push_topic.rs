//! PushTopics: queries whose results are told as they change.

use serde_json::json;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Entity, Fields, RecordId};
use crate::query::Criteria;
use crate::salesforce::client::{Salesforce, Upserted};
use crate::salesforce::ids;
use crate::salesforce::select::Soql;
use crate::salesforce::stream::options::Subscription;
use crate::salesforce::stream::topic_query::entity_of;
use crate::salesforce::version::ApiVersion;

const PUSH_TOPIC: Entity = Entity::from_static("PushTopic");
/// The longest name (Object Reference, "PushTopic").
const LONGEST_NAME: usize = 25;

/// Which fields make an update an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotifyForFields {
    /// Any field of the record, if the record fits the condition.
    All,
    /// Those in SELECT or WHERE.
    #[default]
    Referenced,
    /// Those in SELECT.
    Select,
    /// Those in WHERE.
    Where,
}

impl NotifyForFields {
    fn as_str(self) -> &'static str {
        match self {
            Self::All => "All",
            Self::Referenced => "Referenced",
            Self::Select => "Select",
            Self::Where => "Where",
        }
    }
}

/// A PushTopic that Salesforce would take: the name and the query were checked.
///
/// An org may have 40 to 100 of them; `CampaignMember` and some other objects cannot be listened to this way (Streaming API
/// Developer Guide, "Supported Objects in PushTopic Queries").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushTopic {
    name: String,
    query: String,
    entity: Entity,
    fields: NotifyForFields,
    create: bool,
    update: bool,
    delete: bool,
    undelete: bool,
}

impl PushTopic {
    /// A topic that tells creations, updates, deletions and restorations of what `query` finds, e.g.
    /// `SELECT Id, Email, Status FROM Lead`. Quote values by [`Soql`] or [`soql::literal`](crate::salesforce::soql::literal).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a name of more than 25 characters or with characters that mean something in a channel, and for a
    /// query that breaks a rule: Id must be selected, one object, at most 1,300 characters; no relationships, functions,
    /// aliases, inner queries, `NOT` but in `NOT IN`, GROUP BY, ORDER BY, LIMIT, OFFSET.
    pub fn new(name: impl Into<String>, query: impl Into<String>) -> Result<Self> {
        let (name, query) = (name.into(), query.into());
        let length = name.chars().count();
        if length == 0 || length > LONGEST_NAME {
            return Err(Error::config(format!("the name of a PushTopic has 1 to {LONGEST_NAME} characters, this one has {length}")));
        }
        if name.trim() != name || name.chars().any(|c| c.is_control() || "/?*&#".contains(c)) {
            return Err(Error::config(
                "the name of a PushTopic becomes part of a channel: no slash, question mark, star, ampersand or hash",
            ));
        }
        let entity = Entity::new(entity_of(&query)?);
        let fields = NotifyForFields::default();
        Ok(Self { name, query, entity, fields, create: true, update: true, delete: true, undelete: true })
    }

    /// Sets which fields make an update an event.
    #[must_use]
    pub fn fields(mut self, fields: NotifyForFields) -> Self {
        self.fields = fields;
        self
    }

    /// Sets whether creations, updates, deletions and restorations are told.
    #[must_use]
    pub fn operations(mut self, create: bool, update: bool, delete: bool, undelete: bool) -> Self {
        (self.create, self.update, self.delete, self.undelete) = (create, update, delete, undelete);
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The entity of its query.
    pub fn entity(&self) -> &Entity {
        &self.entity
    }

    /// Its channel.
    pub fn subscription(&self) -> Subscription {
        Subscription::push_topic(&self.name, self.entity.clone())
    }

    fn record(&self, version: ApiVersion) -> Result<Fields> {
        Fields::from_value(json!({
            "Name": self.name, "Query": self.query, "ApiVersion": f64::from(version.major()),
            "NotifyForFields": self.fields.as_str(), "NotifyForOperationCreate": self.create,
            "NotifyForOperationUpdate": self.update, "NotifyForOperationDelete": self.delete,
            "NotifyForOperationUndelete": self.undelete, "IsActive": true,
        }))
    }
}

impl Salesforce {
    /// Makes `topic` what it should be: makes it, changes one of its name that differs, or does nothing. Up to three requests.
    ///
    /// # Errors
    /// See [`Salesforce`]; [`ErrorKind::Config`] with the code `INVALID_FIELD` for an object or field that cannot be listened to.
    pub async fn put_push_topic(&self, topic: &PushTopic) -> Result<Upserted> {
        let wanted = topic.record(self.api_version())?;
        let Some((id, known)) = self.push_topic(&topic.name, wanted.names().map(ToOwned::to_owned).collect()).await? else {
            return Ok(Upserted { id: self.create(&PUSH_TOPIC, &wanted).await?, created: true });
        };
        let number = serde_json::Value::as_f64;
        let differs = |name: &str| match (wanted.get(name), known.get(name)) {
            // Numbers come back as 68 or 68.0.
            (Some(wanted), Some(known)) if number(wanted).is_some() => number(wanted) != number(known),
            (wanted, known) => wanted != known,
        };
        let mut changed = wanted.clone();
        changed.retain(|name, _| differs(name));
        if !changed.is_empty() {
            self.update(&PUSH_TOPIC, &id, &changed).await?;
        }
        Ok(Upserted { id, created: false })
    }

    /// Deletes the PushTopic of this name; false if there is none. Up to two requests.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn delete_push_topic(&self, name: &str) -> Result<bool> {
        match self.push_topic(name, Vec::new()).await? {
            Some((id, _)) => self.delete(&PUSH_TOPIC, &id).await,
            None => Ok(false),
        }
    }

    async fn push_topic(&self, name: &str, mut columns: Vec<String>) -> Result<Option<(RecordId, Fields)>> {
        columns.push("Id".to_owned());
        let soql = Soql::select(columns).from(PUSH_TOPIC.as_str()).filter(&Criteria::eq("Name", name)).limit(1).build()?;
        let Some(row) = self.query_fields(&soql).await?.records.into_iter().next() else { return Ok(None) };
        let id = row.text("Id").map(ids::record_id);
        let id = id.ok_or_else(|| Error::new(ErrorKind::Decode, "a row came without its Id").on(&PUSH_TOPIC))?;
        Ok(Some((id, row)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_25_characters_at_most() {
        let query = "SELECT Id FROM Lead";
        assert!(PushTopic::new("MarketingEngineLeadUpdate", query).is_ok());
        let error = PushTopic::new("MarketingEngineLeadUpdates", query).unwrap_err();
        assert!(error.message().contains("this one has 26"), "{error}");
        for name in ["", "a/b", " a", "a?b"] {
            assert!(PushTopic::new(name, query).is_err(), "{name}");
        }
        let topic = PushTopic::new("Leads", query).unwrap().operations(true, false, true, false).fields(NotifyForFields::All);
        let record = topic.record(ApiVersion::new(68)).unwrap().to_value();
        assert_eq!(record["ApiVersion"], 68.0);
        assert_eq!((&record["NotifyForFields"], &record["NotifyForOperationUpdate"]), (&json!("All"), &json!(false)));
        assert_eq!(topic.subscription().channel, "/topic/Leads");
    }
}
