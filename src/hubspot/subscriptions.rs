//! What the journal tells: subscriptions, filters within them, and snapshots on request.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::hubspot::dialect::plain;
use crate::hubspot::journal::HubSpotJournal;
use crate::hubspot::paths::segment;
use crate::rest::Call;

/// What an app wants to hear of one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct JournalSubscription {
    subscription_type: &'static str,
    /// The account.
    pub portal_id: u64,
    /// The object's type id.
    pub object_type_id: String,
    /// What is told: of records `CREATE`, `UPDATE`, `DELETE`, `MERGE`, `RESTORE`.
    pub actions: Vec<String>,
    /// Properties whose changes are told, of records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Vec<String>>,
    /// Only these records; empty means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_ids: Option<Vec<u64>>,
    /// Of associations: the kinds of record at the other end, by type id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub associated_object_type_ids: Option<Vec<String>>,
}

impl JournalSubscription {
    /// Every change of these properties, and of the records' being there.
    pub fn object(portal: u64, type_id: impl Into<String>, properties: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut all = Self::of("OBJECT", portal, type_id.into(), &["CREATE", "UPDATE", "DELETE", "MERGE", "RESTORE"]);
        all.properties = Some(properties.into_iter().map(Into::into).collect());
        all.object_ids = Some(Vec::new());
        all
    }

    /// Associations that these records get or lose with records of the kinds `others`, by type id.
    pub fn associations(portal: u64, type_id: impl Into<String>, others: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut all = Self::of("ASSOCIATION", portal, type_id.into(), &["ASSOCIATION_ADDED", "ASSOCIATION_REMOVED"]);
        all.associated_object_type_ids = Some(others.into_iter().map(Into::into).collect());
        all.object_ids = Some(Vec::new());
        all
    }

    /// Records that are erased for the sake of privacy.
    pub fn privacy_deletions(portal: u64, type_id: impl Into<String>) -> Self {
        Self::of("GDPR_PRIVACY_DELETION", portal, type_id.into(), &["GDPR_DELETE"])
    }

    fn of(kind: &'static str, portal: u64, object_type_id: String, actions: &[&str]) -> Self {
        Self {
            subscription_type: kind,
            portal_id: portal,
            object_type_id,
            actions: actions.iter().map(|action| (*action).to_owned()).collect(),
            properties: None,
            object_ids: None,
            associated_object_type_ids: None,
        }
    }
}

/// A subscription as HubSpot keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct JournalSubscribed {
    /// Its id.
    pub id: u64,
    /// The account.
    pub portal_id: Option<u64>,
    /// `OBJECT`, `ASSOCIATION` or another.
    pub subscription_type: String,
    /// The object.
    pub object_type_id: String,
    /// What it tells.
    pub actions: Vec<String>,
    /// Of which properties.
    pub properties: Vec<String>,
    /// Of which records; empty means all.
    pub object_ids: Vec<u64>,
    /// Of associations with which kinds of record.
    pub associated_object_type_ids: Vec<String>,
}

/// One condition of a filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct JournalCondition {
    #[serde(default = "JournalCondition::kind")]
    filter_type: String,
    /// The property.
    pub property: String,
    /// `EQ`, `N_EQ`, `IN`, `NOT_IN`, `CONTAINS`, `STARTS_WITH`, `ENDS_WITH`, `GT`, `GTE`, `LT`, `LTE`, `IS_EMPTY` or
    /// `IS_NOT_EMPTY`.
    pub operator: String,
    /// What it is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Of `IN` and `NOT_IN`: what it is one of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

impl JournalCondition {
    fn kind() -> String {
        "CRM_OBJECT_PROPERTY".to_owned()
    }

    /// A comparison with one value.
    pub fn new(property: impl Into<String>, operator: impl Into<String>, value: impl Into<String>) -> Self {
        let (property, operator) = (property.into(), operator.into());
        Self { filter_type: Self::kind(), property, operator, value: Some(value.into()), values: Vec::new() }
    }

    /// The property is one of these values.
    pub fn one_of(property: impl Into<String>, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        Self { filter_type: Self::kind(), property: property.into(), operator: "IN".to_owned(), value: None, values }
    }

    /// The property has a value.
    pub fn filled(property: impl Into<String>) -> Self {
        let operator = "IS_NOT_EMPTY".to_owned();
        Self { filter_type: Self::kind(), property: property.into(), operator, value: None, values: Vec::new() }
    }
}

/// A filter of a subscription: an event passes that satisfies all conditions of one of them. It is about events that a record
/// was made or changed, and cannot be changed itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalFilter {
    /// Its id.
    pub id: u64,
    /// All of them must hold.
    pub conditions: Vec<JournalCondition>,
}

#[derive(Deserialize)]
struct Conditions {
    #[serde(default)]
    conditions: Vec<JournalCondition>,
}

#[derive(Deserialize)]
struct Kept {
    id: u64,
    filter: Conditions,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    filter_id: u64,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default = "Vec::new")]
    results: Vec<JournalSubscribed>,
}

impl HubSpotJournal {
    fn room(&self) -> String {
        self.config.api_version.journal("subscriptions")
    }

    /// Subscribes; one subscription for each account and object. Its id.
    ///
    /// # Errors
    /// As [`Client::send`](crate::rest::Client::send).
    pub async fn subscribe(&self, subscription: &JournalSubscription) -> Result<JournalSubscribed> {
        self.send(&Call::post("journal", self.room()).json(subscription)?).await?.json()
    }

    /// Subscribes unless a subscription that tells as much of the same account and object is there. True if it is new. One or two
    /// requests; repeatable.
    ///
    /// # Errors
    /// As [`Client::send`](crate::rest::Client::send).
    pub async fn ensure_subscription(&self, wanted: &JournalSubscription) -> Result<bool> {
        fn within<T: PartialEq>(wanted: Option<&Vec<T>>, known: &[T]) -> bool {
            wanted.into_iter().flatten().all(|item| known.contains(item))
        }
        // An empty list of records means all of them.
        let records = |known: &[u64]| match wanted.object_ids.as_deref() {
            None | Some([]) => known.is_empty(),
            Some(ids) => known.is_empty() || ids.iter().all(|id| known.contains(id)),
        };
        let covers = |known: &JournalSubscribed| {
            known.portal_id == Some(wanted.portal_id)
                && known.subscription_type == wanted.subscription_type
                && known.object_type_id == wanted.object_type_id
                && within(wanted.properties.as_ref(), &known.properties)
                && within(wanted.associated_object_type_ids.as_ref(), &known.associated_object_type_ids)
                && wanted.actions.iter().all(|action| known.actions.contains(action))
                && records(&known.object_ids)
        };
        if self.subscriptions().await?.iter().any(covers) {
            return Ok(false);
        }
        self.subscribe(wanted).await.map(|_| true)
    }

    /// Every subscription of the app.
    ///
    /// # Errors
    /// As [`Client::send`](crate::rest::Client::send).
    pub async fn subscriptions(&self) -> Result<Vec<JournalSubscribed>> {
        let listed: Listed = self.send(&Call::get("journal", self.room())).await?.json()?;
        Ok(listed.results)
    }

    /// Ends a subscription. One that is gone is success.
    ///
    /// # Errors
    /// As [`Client::send`](crate::rest::Client::send).
    pub async fn unsubscribe(&self, id: u64) -> Result<()> {
        self.gone(format!("{}/{id}", self.room())).await
    }

    /// Ends every subscription of an account.
    ///
    /// # Errors
    /// As [`Client::send`](crate::rest::Client::send).
    pub async fn unsubscribe_account(&self, portal: u64) -> Result<()> {
        self.gone(format!("{}/portals/{portal}", self.room())).await
    }

    async fn gone(&self, path: String) -> Result<()> {
        match self.send(&Call::delete("journal", path)).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Narrows a subscription: its events of records made or changed are told only if all of `conditions` hold, or those of
    /// another filter. The filter's id. Not repeatable: a second one is another filter.
    ///
    /// # Errors
    /// As [`Client::send`](crate::rest::Client::send); [`ErrorKind::Config`] without conditions.
    pub async fn add_filter(&self, subscription: u64, conditions: &[JournalCondition]) -> Result<u64> {
        if conditions.is_empty() {
            return Err(Error::config("a filter of the journal needs a condition").during("journal"));
        }
        let body = json!({ "subscriptionId": subscription, "filter": { "conditions": conditions } });
        let made: Made = self.send(&Call::post("journal", format!("{}/filters", self.room())).json(&body)?).await?.json()?;
        Ok(made.filter_id)
    }

    /// The filters of a subscription.
    ///
    /// # Errors
    /// As [`Client::send`](crate::rest::Client::send).
    pub async fn filters(&self, subscription: u64) -> Result<Vec<JournalFilter>> {
        let path = format!("{}/filters/subscription/{subscription}", self.room());
        let kept: Vec<Kept> = self.send(&Call::get("journal", path)).await?.json()?;
        Ok(kept.into_iter().map(|kept| JournalFilter { id: kept.id, conditions: kept.filter.conditions }).collect())
    }

    /// Ends a filter. One that is gone is success.
    ///
    /// # Errors
    /// As [`Client::send`](crate::rest::Client::send).
    pub async fn remove_filter(&self, id: u64) -> Result<()> {
        self.gone(format!("{}/filters/{id}", self.room())).await
    }

    /// Asks for the present state of records; it comes through the journal, as entries with the action `SNAPSHOT`. Triples of
    /// account, object type id and record id; the ids of the requests, whose state [`HubSpotJournal::snapshot_status`] tells. Needs
    /// scopes of its own (`developer.webhooks_journal.snapshots.*`).
    ///
    /// # Errors
    /// As [`Client::send`](crate::rest::Client::send).
    pub async fn request_snapshots(&self, records: &[(u64, String, u64)], properties: &[String]) -> Result<Vec<String>> {
        let requests: Vec<Value> = records
            .iter()
            .map(|(portal, kind, id)| json!({ "portalId": portal, "objectTypeId": kind, "objectId": id, "properties": properties }))
            .collect();
        let path = format!("{}/crm", self.config.api_version.journal("snapshots"));
        let answer: Value = self.send(&Call::post("journal", path).json(&json!({ "snapshotRequests": requests }))?).await?.json()?;
        let responses = answer.get("snapshotResponses").and_then(Value::as_array).into_iter().flatten();
        Ok(responses.filter_map(|response| plain(response.get("snapshotStatusId")?)).collect())
    }

    /// The state of a request for a snapshot: `PENDING`, `IN_PROGRESS`, `COMPLETED` (or `SUCCESS`), `FAILED`, `EXPIRED`.
    ///
    /// # Errors
    /// As [`Client::send`](crate::rest::Client::send).
    pub async fn snapshot_status(&self, id: &str) -> Result<String> {
        let path = format!("{}/status/{}", self.config.api_version.journal("journal"), segment(id));
        let answer: Value = self.send(&Call::get("journal", path)).await?.json()?;
        answer.get("status").and_then(plain).ok_or_else(|| Error::decode("the answer has no status").during("journal"))
    }
}
