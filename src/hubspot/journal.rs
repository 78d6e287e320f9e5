//! The webhooks journal: changes of all accounts an app is installed in, pulled instead of pushed.
//!
//! Entries are kept for three days, in order, at offsets that are opaque texts. Keep the offset after its entries are processed;
//! a process that dies before reads them again. Read by the app itself (client credentials), not by an account's token.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::{OAuthGrant, Renewable, TokenSource};
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::http::HttpTransport;
use crate::hubspot::config::HubSpotConfig;
use crate::hubspot::dialect::{Complaint, HubSpotDialect, plain};
use crate::hubspot::entity::canonical;
use crate::hubspot::limiter::{HubSpotLimiter, Lane};
use crate::hubspot::paths::segment;
use crate::hubspot::token::TokenEndpoint;
use crate::model::{Change, ChangeKind, EventId, RecordId, parse_datetime};
use crate::rest::{Answer, Call, Client};
use crate::store::{Batch, Store, cursors};

const SCOPES: &[&str] =
    &["developer.webhooks_journal.read", "developer.webhooks_journal.subscriptions.read", "developer.webhooks_journal.subscriptions.write"];
/// Asked for only once a snapshot is: an app may lack them.
const SNAPSHOT_SCOPES: &[&str] = &["developer.webhooks_journal.snapshots.read", "developer.webhooks_journal.snapshots.write"];
/// Files named by one request.
const MOST_FILES: usize = 100;
/// The longest file read. HubSpot's limit is 5 MB or 10,000 events.
const FILE_LIMIT: usize = 16 << 20;

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
    /// Of a merge: records that are gone, as far as HubSpot says.
    pub merged_object_ids: Vec<Value>,
    /// Of a merge: the record that is left, if it is another than [`JournalEvent::object_id`].
    pub new_object_id: Option<Value>,
}

impl JournalEvent {
    /// The changes it tells: none for what is not about a record (an installation), one for most, and for a merge one for each
    /// record that is gone and one for the record that is left. `place` tells entries of one offset apart.
    pub fn changes(&self, offset: &str, place: usize) -> Vec<Change> {
        let Some(id) = self.object_id.as_ref().and_then(plain) else { return Vec::new() };
        let kind = match self.action.as_str() {
            "CREATE" => ChangeKind::Created,
            "DELETE" | "GDPR_DELETE" => ChangeKind::Deleted,
            "RESTORE" => ChangeKind::Restored,
            "APP_INSTALL" | "APP_UNINSTALL" => return Vec::new(),
            _ => ChangeKind::Updated,
        };
        let left = self.new_object_id.as_ref().and_then(plain).filter(|_| self.action == "MERGE").unwrap_or_else(|| id.clone());
        let mut gone: Vec<String> = Vec::new();
        if self.action == "MERGE" {
            for other in self.merged_object_ids.iter().filter_map(plain).chain([id]).filter(|other| *other != left) {
                if !gone.contains(&other) {
                    gone.push(other);
                }
            }
        }
        let event = format!("journal:{offset}:{place}");
        let mut all: Vec<Change> = Vec::new();
        for other in gone {
            let mut change = self.bare(&other, ChangeKind::Deleted);
            change.event = Some(EventId::new(format!("{event}:{other}")));
            all.push(change);
        }
        let mut change = self.bare(&left, kind);
        if kind != ChangeKind::Deleted {
            self.property_changes.iter().for_each(|(name, value)| {
                change.fields.insert(name, value.clone());
            });
        }
        change.event = Some(EventId::new(event));
        all.push(change);
        all
    }

    fn bare(&self, id: &str, kind: ChangeKind) -> Change {
        let mut change = Change::new(canonical(&self.object_type_id), RecordId::new(id), kind);
        change.at = self.occurred_at.as_ref().and_then(|at| match at {
            Value::Number(millis) => Timestamp::from_millisecond(millis.as_i64()?).ok(),
            at => parse_datetime(at.as_str()?),
        });
        change
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
        ours.flat_map(|(place, event)| event.changes(&self.offset, place)).collect()
    }
}

/// Where the entries at one offset can be had for some minutes. Its address is signed, so it is not shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct JournalFile {
    /// Its offset.
    #[serde(rename = "currentOffset")]
    pub offset: String,
    url: String,
}

impl fmt::Debug for JournalFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalFile").field("offset", &self.offset).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Files {
    #[serde(default = "Vec::new")]
    results: Vec<JournalFile>,
    #[serde(default)]
    errors: Vec<Complaint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    journal_events: Vec<JournalEvent>,
}

/// The journal of an app.
#[derive(Clone, Debug)]
pub struct HubSpotJournal {
    rest: Client<HubSpotDialect>,
    snapshots: Client<HubSpotDialect>,
    transport: Arc<dyn HttpTransport>,
    pub(super) config: Arc<HubSpotConfig>,
    limiter: HubSpotLimiter,
    pub(super) host: Host,
    /// The account whose region's journal is read, instead of the whole one.
    local: Option<u64>,
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
        let client = |scopes: &[&str], key: &str| -> Result<Client<HubSpotDialect>> {
            let client = config.oauth_over(TokenEndpoint::scoped(Arc::clone(&transport), scopes), host.clone())?;
            let grant = Arc::new(OAuthGrant::client_credentials(client));
            let key = format!("{key}:{}", config.client_id);
            let tokens: Arc<dyn TokenSource> = Arc::new(Renewable::in_memory(grant, key, host.clone()));
            Ok(Client::new(Arc::clone(&transport), tokens, HubSpotDialect::new(host.clone()), Some(config.base()?)).pinned(true))
        };
        let (rest, snapshots) = (client(SCOPES, "hubspot-journal")?, client(SNAPSHOT_SCOPES, "hubspot-snapshots")?);
        Ok(Self { rest, snapshots, transport, config: Arc::new(config), limiter: HubSpotLimiter::new(host.clone()), host, local: None })
    }

    /// Reads the journal of one region alone: that of the account `portal`, which has the app installed. Its offsets are its own.
    #[must_use]
    pub fn local(mut self, portal: u64) -> Self {
        self.local = Some(portal);
        self
    }

    pub(super) async fn send(&self, call: &Call) -> Result<Answer> {
        let lane = Lane::of(&call.path);
        self.limiter.turn(lane).await.map_err(|error| error.not_applied().during(call.operation))?;
        let client = if lane == Lane::Snapshots { &self.snapshots } else { &self.rest };
        let answer = client.send(call).await;
        if let Err(error) = &answer {
            self.limiter.refused(lane, error);
        }
        answer
    }

    /// A path of the journal that is read.
    fn path(&self, rest: &str) -> String {
        let version = self.config.api_version;
        match self.local {
            Some(portal) => format!("{}/{rest}?installPortalId={portal}", version.journal("journal-local")),
            None => format!("{}/{rest}", version.journal("journal")),
        }
    }

    /// The entries after `offset`, or the earliest there are; `None` if there is nothing new. Two requests: one to HubSpot, and
    /// one for the file, which goes to the address HubSpot names, without a credential.
    ///
    /// # Errors
    /// As [`Client::send`]; [`ErrorKind::NotFound`] if the offset is no longer kept (three days): read the accounts anew, then go on
    /// from the earliest.
    pub async fn next(&self, offset: Option<&str>) -> Result<Option<JournalPage>> {
        let path = offset.map_or_else(|| "earliest".to_owned(), |offset| format!("offset/{}/next", segment(offset)));
        match self.file(&path).await? {
            Some(file) => self.open(&file).await.map(Some),
            None => Ok(None),
        }
    }

    /// The newest entries there are, or `None`: where a reader begins that has just read the accounts whole.
    ///
    /// # Errors
    /// As [`HubSpotJournal::next`].
    pub async fn latest(&self) -> Result<Option<JournalFile>> {
        self.file("latest").await
    }

    async fn file(&self, rest: &str) -> Result<Option<JournalFile>> {
        let answer = self.send(&Call::get("journal", self.path(rest))).await?;
        if answer.status() == StatusCode::NO_CONTENT || answer.bytes().is_empty() {
            return Ok(None);
        }
        answer.json().map(Some)
    }

    /// Up to `count` files (at most 100) after `offset`, or from the earliest, by one request; each is read by
    /// [`HubSpotJournal::open`]. Keep the offset of the last one once all of them are processed.
    ///
    /// # Errors
    /// As [`HubSpotJournal::next`].
    pub async fn files(&self, offset: Option<&str>, count: usize) -> Result<Vec<JournalFile>> {
        let count = count.clamp(1, MOST_FILES);
        let path = self.path(&match offset {
            Some(offset) => format!("batch/{}/next/{count}", segment(offset)),
            None => format!("batch/earliest/{count}"),
        });
        let answer = self.send(&Call::get("journal", path)).await?;
        if answer.bytes().is_empty() {
            return Ok(Vec::new());
        }
        Ok(answer.json::<Files>()?.results)
    }

    /// The newest files, up to `count` (at most 100), as [`HubSpotJournal::files`].
    ///
    /// # Errors
    /// As [`HubSpotJournal::next`].
    pub async fn latest_files(&self, count: usize) -> Result<Vec<JournalFile>> {
        let path = self.path(&format!("batch/latest/{}", count.clamp(1, MOST_FILES)));
        let answer = self.send(&Call::get("journal", path)).await?;
        if answer.bytes().is_empty() {
            return Ok(Vec::new());
        }
        Ok(answer.json::<Files>()?.results)
    }

    /// The files at these offsets, in their order; `None` for those that are not kept any more. One request for each 100.
    ///
    /// # Errors
    /// As [`HubSpotJournal::next`].
    pub async fn files_at(&self, offsets: &[String]) -> Result<Vec<Option<JournalFile>>> {
        let mut found = Vec::with_capacity(offsets.len());
        for chunk in offsets.chunks(MOST_FILES) {
            let call = Call::post("journal", self.path("batch/read")).read_only().json(&json!({ "inputs": chunk }))?;
            let files: Files = self.send(&call).await?.json()?;
            let errors = files.errors.iter().map(|complaint| complaint.error(None));
            if let Some(error) = errors.into_iter().find(|error| error.kind() != ErrorKind::NotFound) {
                return Err(error.during("journal"));
            }
            found.extend(chunk.iter().map(|offset| files.results.iter().find(|file| file.offset == *offset).cloned()));
        }
        Ok(found)
    }

    /// The entries of a file. It goes to the address HubSpot names, without a credential.
    ///
    /// # Errors
    /// As [`HubSpotJournal::next`]; [`ErrorKind::Unavailable`] if the address has expired: ask for the offset again.
    pub async fn open(&self, file: &JournalFile) -> Result<JournalPage> {
        let events = self.download(&file.url).await.map_err(|error| error.during("journal"))?;
        Ok(JournalPage { offset: file.offset.clone(), events })
    }

    /// Reads on from the offset that `store` keeps for `connection`, or from the earliest. Beside the entries there is a batch that
    /// moves the offset: put what the entries lead to into it and commit it. Without the commit they are read again; of two
    /// readers at once only one can commit. `None` if there is nothing new.
    ///
    /// # Errors
    /// As [`HubSpotJournal::next`]; [`ErrorKind::Store`] if the store fails.
    pub async fn follow(&self, store: &dyn Store, connection: &str) -> Result<Option<(JournalPage, Batch)>> {
        // Offsets of a region's journal are its own.
        let feed = self.local.map_or_else(|| "hubspot/journal".to_owned(), |portal| format!("hubspot/journal-local/{portal}"));
        let kept = cursors::load::<String>(store, connection, &feed).await?;
        let Some(page) = self.next(kept.as_ref().map(|kept| kept.position.as_str())).await? else { return Ok(None) };
        let mut batch = Batch::new();
        cursors::advance(&mut batch, connection, &feed, kept.map(|kept| kept.generation), &page.offset)?;
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
        let merge: JournalEvent = serde_json::from_value(json!({"portalId": 33, "action": "MERGE", "objectTypeId": "0-1", "objectId": 1,
            "mergedObjectIds": [1, 2], "newObjectId": 900}))
        .unwrap();
        let told: Vec<(String, ChangeKind)> = merge.changes("o", 0).iter().map(|change| (change.id.to_string(), change.kind)).collect();
        let wanted = [("1", ChangeKind::Deleted), ("2", ChangeKind::Deleted), ("900", ChangeKind::Updated)];
        assert_eq!(told, wanted.map(|(id, kind)| (id.to_owned(), kind)));
    }
}
