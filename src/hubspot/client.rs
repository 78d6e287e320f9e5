//! The connection to an account, and single records.

use std::fmt;
use std::sync::Arc;

use http::Method;
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::adapter::Capabilities;
use crate::auth::TokenCache;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::http::HttpTransport;
use crate::hubspot::capabilities::capabilities;
use crate::hubspot::config::HubSpotConfig;
use crate::hubspot::dialect::{HubSpotDialect, burst};
use crate::hubspot::echoes::OwnWrites;
use crate::hubspot::limiter::{HubSpotLimiter, Lane};
use crate::hubspot::limits::MAX_NAMES;
use crate::hubspot::paths::segment;
use crate::hubspot::record::{HubSpotRecord, Listing, Paging};
use crate::hubspot::values::{Texts, encode};
use crate::model::{Entity, Fields, RecordId};
use crate::query::{Cursor, Page};
use crate::rest::{Answer, Call, Client};

/// A connection to an account. Cloning copies a few pointers; clones share token and allowances. A call may wait for its turn
/// under the rate limits ([`HubSpotLimiter`]); nothing here retries.
///
/// # Errors
/// Every method can fail as [`Client::send`](crate::rest::Client::send) does; `code()` is HubSpot's code or category, and
/// `request_id()` its correlation id. A write whose outcome is unknown is marked by [`Error::may_have_applied`].
#[derive(Clone)]
pub struct HubSpot {
    pub(super) rest: Client<HubSpotDialect>,
    pub(super) config: Arc<HubSpotConfig>,
    pub(super) capabilities: Arc<Capabilities>,
    pub(super) host: Host,
    transport: Arc<dyn HttpTransport>,
    own: Option<Arc<OwnWrites>>,
}

impl fmt::Debug for HubSpot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubSpot").field("name", &self.config.name).field("version", &self.config.api_version).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Account {
    #[serde(default)]
    pub(super) portal_id: Option<Value>,
    #[serde(default)]
    time_zone: Option<String>,
    #[serde(default)]
    utc_offset_milliseconds: Option<i64>,
}

/// The record that stands for this one already, by its email. A conflict about another unique value does not count: that record
/// may be somebody else's.
pub(super) fn in_the_way(error: &Error) -> Option<&RecordId> {
    let same = error.kind() == ErrorKind::Duplicate && error.code() == Some("CONFLICT");
    error.duplicates().first().filter(|_| same)
}

/// What a record is written from.
#[derive(Serialize)]
struct RowBody<'a> {
    properties: Texts<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    associations: Option<Vec<Value>>,
}

/// Names as one comma-separated query value.
pub(super) fn list(names: &[String]) -> String {
    names.iter().map(|name| segment(name)).collect::<Vec<_>>().join(",")
}

/// An offset (`-05:00`), or a name if this program has a time zone database.
fn zone(name: &str) -> Option<TimeZone> {
    let offset = || {
        let (sign, rest) = match name.split_at_checked(1)? {
            ("+", rest) => (1, rest),
            ("-", rest) => (-1, rest),
            _ => return None,
        };
        let (hours, minutes) = rest.split_once(':')?;
        let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
        Offset::from_seconds(sign * seconds).ok().map(TimeZone::fixed)
    };
    TimeZone::get(name).ok().or_else(offset)
}

impl HubSpot {
    /// A connection. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the option that is missing or cannot work.
    pub fn new(config: HubSpotConfig, transport: Arc<dyn HttpTransport>, host: Host) -> Result<Self> {
        let tokens = config.tokens(Arc::clone(&transport), host.clone(), None)?;
        let dialect = HubSpotDialect::new(host.clone()).limited(HubSpotLimiter::new(host.clone()));
        if let Some(name) = &config.time_zone {
            let zone = zone(name).ok_or_else(|| {
                Error::config("the HubSpot time_zone is neither an offset (-05:00) nor an IANA name of this program's time zone database")
            })?;
            dialect.set_zone(zone, false);
        }
        let rest = Client::new(Arc::clone(&transport), tokens, dialect, Some(config.base()?)).pinned(true);
        Ok(Self { rest, capabilities: Arc::new(capabilities()), config: Arc::new(config), host, transport, own: None })
    }

    /// Keeps tokens in `cache`, so that they survive a restart and several processes renew one after the other.
    ///
    /// # Errors
    /// As [`HubSpot::new`].
    pub fn with_token_cache(mut self, cache: Arc<dyn TokenCache>) -> Result<Self> {
        let tokens = self.config.tokens(Arc::clone(&self.transport), self.host.clone(), Some(cache))?;
        let dialect = self.dialect().clone();
        self.rest = Client::new(Arc::clone(&self.transport), tokens, dialect, Some(self.config.base()?)).pinned(true);
        Ok(self)
    }

    /// Shares a limiter with other clients of the same account. Without it each client (and its clones) has one of its own.
    ///
    /// # Errors
    /// As [`HubSpot::new`].
    pub fn with_limiter(mut self, limiter: HubSpotLimiter) -> Result<Self> {
        let dialect = self.dialect().clone().limited(limiter);
        let tokens = Arc::clone(self.rest.tokens());
        self.rest = Client::new(Arc::clone(&self.transport), tokens, dialect, Some(self.config.base()?)).pinned(true);
        Ok(self)
    }

    /// Marks every write that succeeds in `own`, so that its echo is known when a webhook or the journal brings it back.
    #[must_use]
    pub fn with_own_writes(mut self, own: Arc<OwnWrites>) -> Self {
        self.own = Some(own);
        self
    }

    /// Remembers what was written; fields that cannot be written were not.
    pub(super) async fn mark(&self, entity: &Entity, writes: &[(&str, &Fields)]) {
        let Some(own) = &self.own else { return };
        let encoded: Vec<(&str, Map<String, Value>)> = writes.iter().filter_map(|(id, fields)| Some((*id, encode(fields).ok()?))).collect();
        let writes: Vec<(&str, &Map<String, Value>)> = encoded.iter().map(|(id, properties)| (*id, properties)).collect();
        own.remember(entity, &writes, self.host.now()).await;
    }

    pub(super) fn transport(&self) -> &Arc<dyn HttpTransport> {
        &self.transport
    }

    /// The limiter, to be shared.
    pub fn limiter(&self) -> Option<&HubSpotLimiter> {
        self.dialect().limiter()
    }

    /// The only way out: takes a turn, sends, and tells the limiter of a refusal.
    pub(super) async fn send(&self, call: &Call) -> Result<Answer> {
        let Some(limiter) = self.dialect().limiter() else { return self.rest.send(call).await };
        let lane = Lane::of(&call.path);
        limiter.turn(lane).await.map_err(|error| error.not_applied().during(call.operation))?;
        let answer = self.rest.send(call).await;
        match &answer {
            Ok(answer) => {
                if let Some(told) = burst(answer.headers()) {
                    limiter.told(lane, told.max, told.remaining, told.window);
                    if lane == Lane::Api {
                        self.dialect().tell_burst(told);
                    }
                }
            }
            Err(error) => limiter.refused(lane, error),
        }
        answer
    }

    /// The dialect, which knows the allowances.
    pub fn dialect(&self) -> &HubSpotDialect {
        self.rest.dialect()
    }

    /// Any call this client has no method for; `path` starts with a slash and is percent-encoded.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let call = Call::new("call", method, path);
        self.send(&match body {
            Some(body) => call.json(body)?,
            None => call,
        })
        .await
    }

    pub(super) async fn account(&self) -> Result<Account> {
        let account: Account = self.send(&Call::get("authenticate", self.config.api_version.account())).await?.json()?;
        if self.config.time_zone.is_none() {
            let offset = account.utc_offset_milliseconds.and_then(|millis| i32::try_from(millis / 1000).ok());
            let offset = offset.and_then(|seconds| Offset::from_seconds(seconds).ok()).map(TimeZone::fixed);
            match (account.time_zone.as_deref().and_then(zone), offset) {
                (Some(zone), _) => self.dialect().set_zone(zone, false),
                (None, Some(offset)) => self.dialect().set_zone(offset, true),
                (None, None) => {}
            }
        }
        Ok(account)
    }

    pub(super) fn objects(&self, entity: &Entity) -> String {
        self.config.api_version.objects(entity.as_str())
    }

    pub(super) fn row_path(&self, entity: &Entity, id: &str) -> Result<String> {
        let id = crate::rest::segment(id).ok_or_else(|| Error::config("an empty or dotted id addresses another resource").on(entity))?;
        Ok(format!("{}/{id}", self.objects(entity)))
    }

    /// One record by id, or `None`. An empty `select` asks for HubSpot's default properties.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn retrieve(&self, entity: &Entity, id: &RecordId, select: &[String]) -> Result<Option<HubSpotRecord>> {
        self.retrieve_by(entity, None, id.as_str(), select).await
    }

    /// One record by the value of a unique property (`email` of contacts), or `None`: strongly consistent, which a search is
    /// not. `None` as property reads by record id.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn retrieve_by(
        &self,
        entity: &Entity,
        property: Option<&str>,
        value: &str,
        select: &[String],
    ) -> Result<Option<HubSpotRecord>> {
        let names = select.join(",");
        if names.len() > MAX_NAMES {
            let found = self.batch_read(entity, property, &[value.to_owned()], select).await?;
            return Ok(found.into_iter().next());
        }
        let mut query: Vec<String> = Vec::new();
        if let Some(property) = property {
            query.push(format!("idProperty={}", segment(property)));
        }
        if !select.is_empty() {
            query.push(format!("properties={}", list(select)));
        }
        let mut path = self.row_path(entity, value)?;
        if !query.is_empty() {
            path = format!("{path}?{}", query.join("&"));
        }
        match self.send(&Call::get("get", path)).await {
            Ok(answer) => answer.json().map(Some).map_err(|error| error.on(entity)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.on(entity)),
        }
    }

    /// Makes a record. Not repeatable: after an error that [may have been applied](Error::may_have_applied) look before trying
    /// again, or upsert by a unique property.
    ///
    /// # Errors
    /// See [`HubSpot`]; [`ErrorKind::Duplicate`] with the record in the way, never retried.
    pub async fn create(&self, entity: &Entity, fields: &Fields) -> Result<HubSpotRecord> {
        self.create_with(entity, fields, None).await
    }

    pub(super) async fn create_with(&self, entity: &Entity, fields: &Fields, associations: Option<Vec<Value>>) -> Result<HubSpotRecord> {
        self.create_as(entity, fields, associations, Answer::json).await
    }

    /// Makes a record; `read` takes out of the answer what is wanted.
    pub(super) async fn create_as(
        &self,
        entity: &Entity,
        fields: &Fields,
        associations: Option<Vec<Value>>,
        read: fn(&Answer) -> Result<HubSpotRecord>,
    ) -> Result<HubSpotRecord> {
        let body = RowBody { properties: Texts::new(fields)?, associations };
        let call = Call::post("create", self.objects(entity)).json(&body)?;
        let row = self.send(&call).await.and_then(|answer| read(&answer)).map_err(|error| error.on(entity))?;
        self.mark(entity, &[(&row.id, fields)]).await;
        Ok(row)
    }

    /// Changes the given properties; null clears. Repeatable. With `property`, `id` is that unique property's value.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn update(&self, entity: &Entity, property: Option<&str>, id: &str, fields: &Fields) -> Result<HubSpotRecord> {
        self.update_as(entity, property, id, fields, Answer::json).await
    }

    /// Changes a record; `read` takes out of the answer what is wanted.
    pub(super) async fn update_as(
        &self,
        entity: &Entity,
        property: Option<&str>,
        id: &str,
        fields: &Fields,
        read: fn(&Answer) -> Result<HubSpotRecord>,
    ) -> Result<HubSpotRecord> {
        let mut path = self.row_path(entity, id)?;
        if let Some(property) = property {
            path = format!("{path}?idProperty={}", segment(property));
        }
        let body = RowBody { properties: Texts::new(fields)?, associations: None };
        let call = Call::patch("update", path).json(&body)?;
        let row = self.send(&call).await.and_then(|answer| read(&answer)).map_err(|error| error.on(entity))?;
        self.mark(entity, &[(&row.id, fields)]).await;
        Ok(row)
    }

    /// Puts a record into the recycle bin. One that is gone already is deleted.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn archive(&self, entity: &Entity, id: &RecordId) -> Result<()> {
        match self.send(&Call::delete("delete", self.row_path(entity, id.as_str())?)).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.on(entity)),
        }
    }

    /// Makes the contact with this email, or changes it; true if it is new. A batch upsert by email would overwrite what the
    /// update leaves out, so this is an update by email, then a create, then an update of the record a conflict names: one to
    /// three requests.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn upsert_by_email(&self, email: &str, fields: &Fields) -> Result<(HubSpotRecord, bool)> {
        let contacts = Entity::from_static("contacts");
        match self.update(&contacts, Some("email"), email, fields).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            outcome => return outcome.map(|record| (record, false)),
        }
        let mut whole = fields.clone();
        whole.insert("email", email);
        self.create_or_update(&contacts, &whole).await
    }

    /// Makes a record, or changes the one that a conflict names (`Contact already exists. Existing ID: N`); true if it is new. One
    /// or two requests.
    ///
    /// # Errors
    /// See [`HubSpot`]; [`ErrorKind::Duplicate`] if the conflict names no record, or is about a unique property of your own: then
    /// the record in the way may be another one, and a person or a rule of yours has to say.
    pub async fn create_or_update(&self, entity: &Entity, fields: &Fields) -> Result<(HubSpotRecord, bool)> {
        match self.create(entity, fields).await {
            Ok(record) => Ok((record, true)),
            Err(error) => match in_the_way(&error) {
                Some(id) => self.update(entity, None, id.as_str(), fields).await.map(|record| (record, false)),
                None => Err(error),
            },
        }
    }

    /// Merges `other` into `primary`. The answer may have a new id; the old ones go on to resolve in single reads and updates,
    /// not in batches. Cannot be undone.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn merge(&self, entity: &Entity, primary: &RecordId, other: &RecordId) -> Result<HubSpotRecord> {
        let body = json!({ "primaryObjectId": primary.as_str(), "objectIdToMerge": other.as_str() });
        let call = Call::post("merge", format!("{}/merge", self.objects(entity))).json(&body)?;
        self.send(&call).await.and_then(|answer| answer.json()).map_err(|error| error.on(entity))
    }

    /// A page of all records by ascending id, up to 100; without the search's ceiling and lag. For full loads.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn list(
        &self,
        entity: &Entity,
        select: &[String],
        after: Option<&str>,
        limit: u32,
        archived: bool,
    ) -> Result<Page<HubSpotRecord>> {
        let names = select.join(",");
        let mut path = format!("{}?limit={}", self.objects(entity), limit.clamp(1, 100));
        if archived {
            path.push_str("&archived=true");
        }
        if let Some(after) = after {
            path = format!("{path}&after={}", segment(after));
        }
        let long = names.len() > MAX_NAMES;
        if !long && !names.is_empty() {
            path = format!("{path}&properties={}", list(select));
        }
        let listing: Listing =
            self.send(&Call::get("list", path)).await.and_then(|answer| answer.json()).map_err(|error| error.on(entity))?;
        let next = Paging::after(listing.paging.as_ref()).map(Cursor::new);
        let rows = if long && !archived { self.filled(entity, listing.results, select).await? } else { listing.results };
        Ok(Page::new(rows, next, None))
    }

    /// The same records with these properties, read by POST.
    pub(super) async fn filled(&self, entity: &Entity, rows: Vec<HubSpotRecord>, select: &[String]) -> Result<Vec<HubSpotRecord>> {
        let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
        let mut found: std::collections::HashMap<String, HubSpotRecord> =
            self.batch_read(entity, None, &ids, select).await?.into_iter().map(|row| (row.id.clone(), row)).collect();
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }
}
