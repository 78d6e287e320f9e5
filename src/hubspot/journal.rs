//! The webhooks journal: changes of all accounts an app is installed in, pulled instead of pushed.
//!
//! Entries are kept for three days, in order, at offsets that are opaque texts. Keep the offset after its entries are processed;
//! a process that dies before reads them again. Read by the app itself (client credentials), not by an account's token.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::auth::{OAuthGrant, Renewable, TokenSource};
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::http::HttpTransport;
use crate::hubspot::config::HubSpotConfig;
use crate::hubspot::dialect::{HubSpotDialect, plain};
use crate::hubspot::entity::canonical;
use crate::hubspot::limiter::{HubSpotLimiter, Lane};
use crate::hubspot::paths::segment;
use crate::hubspot::token::TokenEndpoint;
use crate::model::{Change, ChangeKind, EventId, RecordId, parse_datetime};
use crate::rest::{Answer, Call, Client};
use crate::store::{Batch, Store, cursors};

const SCOPES: &[&str] =
    &["developer.webhooks_journal.read", "developer.webhooks_journal.subscriptions.read", "developer.webhooks_journal.subscriptions.write"];
/// The longest file read. HubSpot's limit is 5 MB or 10,000 events.
const FILE_LIMIT: usize = 16 << 20;

/// What an app wants to hear of the objects of one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct JournalSubscription {
    subscription_type: &'static str,
    /// The account.
    pub portal_id: u64,
    /// The object's type id.
    pub object_type_id: String,
    /// `CREATE`, `UPDATE`, `DELETE`, `MERGE`, `RESTORE`.
    pub actions: Vec<String>,
    /// Properties whose changes are told.
    pub properties: Vec<String>,
    /// Only these records; empty means all.
    pub object_ids: Vec<u64>,
}

impl JournalSubscription {
    /// Every change of these properties, and of the records' being there.
    pub fn object(portal: u64, type_id: impl Into<String>, properties: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            subscription_type: "OBJECT",
            portal_id: portal,
            object_type_id: type_id.into(),
            actions: ["CREATE", "UPDATE", "DELETE", "MERGE", "RESTORE"].map(ToOwned::to_owned).to_vec(),
            properties: properties.into_iter().map(Into::into).collect(),
            object_ids: Vec::new(),
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
}

/// One entry of the journal.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct JournalEvent {
    /// The account.
    pub portal_id: Option<u64>,
    /// When it happened.
    pub occurred_at: Option<Value>,
    /// `CREATE`, `UPDATE`, `DELETE`, `MERGE`, `RESTORE`, `SNAPSHOT` and others.
    pub action: String,
    /// The object's type id.
    pub object_type_id: String,
    /// The record.
    pub object_id: Option<Value>,
    /// New values.
    pub property_changes: BTreeMap<String, Value>,
}

impl JournalEvent {
    /// The change it tells; `None` for what is not about a record (an installation). `place` tells entries of one offset apart.
    pub fn change(&self, offset: &str, place: usize) -> Option<Change> {
        let id = plain(self.object_id.as_ref()?)?;
        let kind = match self.action.as_str() {
            "CREATE" => ChangeKind::Created,
            "DELETE" | "GDPR_DELETE" => ChangeKind::Deleted,
            "RESTORE" => ChangeKind::Restored,
            "APP_INSTALL" | "APP_UNINSTALL" => return None,
            _ => ChangeKind::Updated,
        };
        let mut change = Change::new(canonical(&self.object_type_id), RecordId::new(id), kind);
        if kind != ChangeKind::Deleted {
            self.property_changes.iter().for_each(|(name, value)| {
                change.fields.insert(name, value.clone());
            });
        }
        change.at = self.occurred_at.as_ref().and_then(|at| match at {
            Value::Number(millis) => Timestamp::from_millisecond(millis.as_i64()?).ok(),
            at => parse_datetime(at.as_str()?),
        });
        change.event = Some(EventId::new(format!("journal:{offset}:{place}")));
        Some(change)
    }
}

/// The entries at one offset.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct JournalPage {
    /// Where reading goes on; keep it once the entries are processed.
    pub offset: String,
    /// The entries, oldest first.
    pub events: Vec<JournalEvent>,
}

impl JournalPage {
    /// The changes of one account's records, or of all.
    pub fn changes(&self, portal: Option<u64>) -> Vec<Change> {
        let ours = self.events.iter().enumerate().filter(|(_, event)| portal.is_none() || event.portal_id == portal);
        ours.filter_map(|(place, event)| event.change(&self.offset, place)).collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fetch {
    url: String,
    current_offset: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    journal_events: Vec<JournalEvent>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default = "Vec::new")]
    results: Vec<JournalSubscribed>,
}

/// The journal of an app.
#[derive(Clone, Debug)]
pub struct HubSpotJournal {
    rest: Client<HubSpotDialect>,
    transport: Arc<dyn HttpTransport>,
    config: Arc<HubSpotConfig>,
    limiter: HubSpotLimiter,
}

impl HubSpotJournal {
    /// The journal of the app with this client id and secret. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the option that is missing.
    pub fn new(config: HubSpotConfig, transport: Arc<dyn HttpTransport>, host: Host) -> Result<Self> {
        if config.client_secret.is_none() {
            return Err(Error::config("the webhooks journal is read by the app itself: it needs client_id and client_secret"));
        }
        let client = config.oauth_over(TokenEndpoint::scoped(Arc::clone(&transport), SCOPES), host.clone())?;
        let grant = Arc::new(OAuthGrant::client_credentials(client));
        let key = format!("hubspot-journal:{}", config.client_id);
        let tokens: Arc<dyn TokenSource> = Arc::new(Renewable::in_memory(grant, key, host.clone()));
        let rest = Client::new(Arc::clone(&transport), tokens, HubSpotDialect::new(host.clone()), Some(config.base()?)).pinned(true);
        Ok(Self { rest, transport, config: Arc::new(config), limiter: HubSpotLimiter::new(host) })
    }

    async fn send(&self, call: &Call) -> Result<Answer> {
        self.limiter.turn(Lane::Journal).await.map_err(|error| error.not_applied().during(call.operation))?;
        let answer = self.rest.send(call).await;
        if let Err(error) = &answer {
            self.limiter.refused(Lane::Journal, error);
        }
        answer
    }

    /// The entries after `offset`, or the earliest there are; `None` if there is nothing new. Two requests: one to HubSpot, and
    /// one for the file, which goes to the address HubSpot names, without a credential.
    ///
    /// # Errors
    /// As [`Client::send`]; [`ErrorKind::NotFound`] if the offset is no longer kept (three days): read the accounts anew, then go on
    /// from the earliest.
    pub async fn next(&self, offset: Option<&str>) -> Result<Option<JournalPage>> {
        let base = self.config.api_version.journal("journal");
        let path = match offset {
            Some(offset) => format!("{base}/offset/{}/next", segment(offset)),
            None => format!("{base}/earliest"),
        };
        let answer = self.send(&Call::get("journal", path)).await?;
        if answer.status() == StatusCode::NO_CONTENT || answer.bytes().is_empty() {
            return Ok(None);
        }
        let fetch: Fetch = answer.json()?;
        let events = self.download(&fetch.url).await.map_err(|error| error.during("journal"))?;
        Ok(Some(JournalPage { offset: fetch.current_offset, events }))
    }

    /// Reads on from the offset that `store` keeps for `connection`, or from the earliest. Beside the entries there is a batch that
    /// moves the offset: put what the entries lead to into it and commit it. Without the commit they are read again; of two
    /// readers at once only one can commit. `None` if there is nothing new.
    ///
    /// # Errors
    /// As [`HubSpotJournal::next`]; [`ErrorKind::Store`] if the store fails.
    pub async fn follow(&self, store: &dyn Store, connection: &str) -> Result<Option<(JournalPage, Batch)>> {
        const FEED: &str = "hubspot/journal";
        let kept = cursors::load::<String>(store, connection, FEED).await?;
        let Some(page) = self.next(kept.as_ref().map(|kept| kept.position.as_str())).await? else { return Ok(None) };
        let mut batch = Batch::new();
        cursors::advance(&mut batch, connection, FEED, kept.map(|kept| kept.generation), &page.offset)?;
        Ok(Some((page, batch)))
    }

    async fn download(&self, url: &str) -> Result<Vec<JournalEvent>> {
        let target = url::Url::parse(url).ok().filter(|target| {
            // Loopback serves tests; anything else is signed and encrypted.
            target.scheme() == "https" || (target.scheme() == "http" && target.origin() == self.origin())
        });
        let target = target.ok_or_else(|| Error::decode("the journal names a file whose address is not https"))?;
        let request = http::Request::get(target.as_str())
            .body(Bytes::new())
            .map_err(|_| Error::decode("the journal's file has no usable address"))?;
        let (head, body) = self.transport.send(request).await?.into_parts();
        let body = body.bytes(FILE_LIMIT).await?;
        match head.status.as_u16() {
            200..=299 => {}
            // The address expired while the reader waited: the same offset gives another.
            400..=499 => {
                let error = Error::new(ErrorKind::Unavailable, "the journal's file is not there any more; read the same offset again");
                return Err(error.with_status(head.status));
            }
            _ => return Err(Error::new(ErrorKind::Unavailable, "the journal's file cannot be read just now").with_status(head.status)),
        }
        let file: File = serde_json::from_slice(&body).map_err(|error| {
            Error::decode(format!("the journal's file is not as expected: line {}, column {}", error.line(), error.column()))
        })?;
        Ok(file.journal_events)
    }

    fn origin(&self) -> url::Origin {
        url::Url::parse(&self.config.base_url).map_or_else(|_| url::Origin::new_opaque(), |url| url.origin())
    }

    /// Subscribes; one subscription for each account and object. Its id.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn subscribe(&self, subscription: &JournalSubscription) -> Result<JournalSubscribed> {
        let call = Call::post("journal", self.config.api_version.journal("subscriptions")).json(subscription)?;
        self.send(&call).await?.json()
    }

    /// Subscribes unless a subscription of the same account, object and properties is there. True if it is new. One or two
    /// requests; repeatable.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn ensure_subscription(&self, wanted: &JournalSubscription) -> Result<bool> {
        let covers = |known: &JournalSubscribed| {
            known.portal_id == Some(wanted.portal_id)
                && known.subscription_type == wanted.subscription_type
                && known.object_type_id == wanted.object_type_id
                && wanted.properties.iter().all(|name| known.properties.contains(name))
                && wanted.actions.iter().all(|action| known.actions.contains(action))
        };
        if self.subscriptions().await?.iter().any(covers) {
            return Ok(false);
        }
        self.subscribe(wanted).await.map(|_| true)
    }

    /// Every subscription of the app.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn subscriptions(&self) -> Result<Vec<JournalSubscribed>> {
        let listed: Listed = self.send(&Call::get("journal", self.config.api_version.journal("subscriptions"))).await?.json()?;
        Ok(listed.results)
    }

    /// Ends a subscription. One that is gone is success.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn unsubscribe(&self, id: u64) -> Result<()> {
        match self.send(&Call::delete("journal", format!("{}/{id}", self.config.api_version.journal("subscriptions")))).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks for the present state of records; it comes through the journal, as entries with the action `SNAPSHOT`. Triples of
    /// account, object type id and record id; the ids of the requests, whose state [`HubSpotJournal::snapshot_status`] tells.
    ///
    /// # Errors
    /// As [`Client::send`].
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
    /// As [`Client::send`].
    pub async fn snapshot_status(&self, id: &str) -> Result<String> {
        let path = format!("{}/status/{}", self.config.api_version.journal("journal"), segment(id));
        let answer: Value = self.send(&Call::get("journal", path)).await?.json()?;
        answer.get("status").and_then(plain).ok_or_else(|| Error::decode("the answer has no status").during("journal"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_become_changes() {
        let event: JournalEvent = serde_json::from_value(json!({"type": "x", "portalId": 33, "occurredAt": "2026-11-24T09:00:00Z",
            "action": "UPDATE", "objectTypeId": "0-1", "objectId": 9_000_000_123_u64, "propertyChanges": {"email": "new"}}))
        .unwrap();
        let page = JournalPage { offset: "o1".into(), events: vec![event.clone(), JournalEvent { action: "DELETE".into(), ..event }] };
        let changes = page.changes(Some(33));
        assert_eq!(
            (changes[0].entity.as_str(), changes[0].id.as_str(), changes[0].fields.text("email")),
            ("contacts", "9000000123", Some("new"))
        );
        assert_eq!((changes[1].kind, changes[1].fields.len()), (ChangeKind::Deleted, 0));
        assert_ne!(changes[0].event, changes[1].event);
        assert!(page.changes(Some(34)).is_empty());
    }
}
