//! The connection to an org, and single rows.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::adapter::Capabilities;
use crate::auth::TokenCache;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::http::HttpTransport;
use crate::model::{Entity, EntitySchema, ExternalKey, Fields, FieldsSeed, RecordId, ShapeCache};
use crate::rest::{Answer, Call, Client, Streamed};
use crate::salesforce::capabilities::capabilities;
use crate::salesforce::config::{AutoAssign, DuplicateRule, SalesforceConfig};
use crate::salesforce::dialect::{Complaint, SalesforceDialect, row_error};
use crate::salesforce::ids;
use crate::salesforce::limits::{ApiUsage, Limits, UserInfo, VersionInfo};
use crate::salesforce::precondition::Precondition;
use crate::salesforce::related::nested;
use crate::salesforce::schema::{Described, GlobalDescribe};
use crate::salesforce::soql::identifier;
use crate::salesforce::version::ApiVersion;

/// Request line and headers together may take 16,384 bytes (REST API Developer Guide, "REST API limits").
pub(super) const MAX_PATH: usize = 14_000;

/// The list of objects, and what to ask with the next time.
type KnownGlobal = (Arc<GlobalDescribe>, HeaderValue);

/// A connection to an org. Cloning copies a few pointers; clones share token, usage and schemas.
///
/// Every method is one HTTP request unless it says otherwise, plus one renewal of the token and one repetition if the session
/// had expired. Nothing here waits or retries.
///
/// # Errors
/// Every method can fail as [`Client::send`](crate::rest::Client::send) does. The kind follows Salesforce's error code, then the
/// status; `code()` is Salesforce's. A write whose outcome is unknown is marked by [`Error::may_have_applied`].
#[derive(Clone)]
pub struct Salesforce {
    pub(super) rest: Client<SalesforceDialect>,
    pub(super) config: Arc<SalesforceConfig>,
    pub(super) capabilities: Arc<Capabilities>,
    pub(super) query_headers: Arc<HeaderMap>,
    pub(super) transport: Arc<dyn HttpTransport>,
    host: Host,
    common_headers: Arc<HeaderMap>,
    write_headers: Arc<HeaderMap>,
    auto_assign: AutoAssign,
    duplicate_rule: Option<DuplicateRule>,
    described: Arc<Mutex<HashMap<Entity, Described>>>,
    global: Arc<Mutex<Option<KnownGlobal>>>,
}

impl fmt::Debug for Salesforce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Salesforce").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What became of an upsert.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upserted {
    /// The record.
    pub id: RecordId,
    /// Whether it is new.
    pub created: bool,
}

#[derive(Deserialize)]
struct Saved {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    success: bool,
    #[serde(default)]
    created: Option<bool>,
    #[serde(default)]
    errors: Vec<Complaint>,
}

impl Salesforce {
    /// A connection. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the option that is missing or cannot work.
    pub fn new(config: SalesforceConfig, transport: Arc<dyn HttpTransport>, host: Host) -> Result<Self> {
        let tokens = config.tokens(Arc::clone(&transport), host.clone(), None)?;
        let rest =
            Client::new(Arc::clone(&transport), tokens, SalesforceDialect::default(), config.base()?).pinned(config.pin_instance_url);
        Ok(Self {
            rest,
            capabilities: Arc::new(capabilities()),
            query_headers: Arc::new(config.query_headers()?),
            common_headers: Arc::new(config.common_headers()?),
            write_headers: Arc::new(SalesforceConfig::write_headers(&config.auto_assign, config.duplicate_rule)?),
            auto_assign: config.auto_assign.clone(),
            duplicate_rule: config.duplicate_rule,
            config: Arc::new(config),
            transport,
            host,
            described: Arc::default(),
            global: Arc::default(),
        })
    }

    /// Keeps tokens in `cache`, so that a rotated refresh token survives a restart and several processes renew one after the
    /// other. Without it tokens live in memory.
    #[must_use]
    pub fn with_token_cache(mut self, cache: Arc<dyn TokenCache>) -> Self {
        // The configuration was accepted by `new`, so the same parts fit again; otherwise the source in use stays.
        if let (Ok(tokens), Ok(base)) =
            (self.config.tokens(Arc::clone(&self.transport), self.host.clone(), Some(cache)), self.config.base())
        {
            let rest = Client::new(Arc::clone(&self.transport), tokens, SalesforceDialect::default(), base);
            self.rest = rest.pinned(self.config.pin_instance_url);
        }
        self
    }

    /// The same connection with another assignment rule for what is written through it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the rule's id is none.
    pub fn with_auto_assign(&self, rule: AutoAssign) -> Result<Self> {
        let write_headers = Arc::new(SalesforceConfig::write_headers(&rule, self.duplicate_rule)?);
        Ok(Self { write_headers, auto_assign: rule, ..self.clone() })
    }

    /// The same connection with other manners towards duplicate rules.
    ///
    /// # Errors
    /// None today.
    pub fn with_duplicate_rule(&self, rule: DuplicateRule) -> Result<Self> {
        let write_headers = Arc::new(SalesforceConfig::write_headers(&self.auto_assign, Some(rule))?);
        Ok(Self { write_headers, duplicate_rule: Some(rule), ..self.clone() })
    }

    /// The API version spoken.
    pub fn api_version(&self) -> ApiVersion {
        self.config.api_version
    }

    /// The API requests of the last 24 hours, as the newest answer told; `None` before the first.
    pub fn usage(&self) -> Option<ApiUsage> {
        self.rest.dialect().usage()
    }

    // ---- rows -----------------------------------------------------------------------------------------------------------

    /// Makes a record. Not repeatable: after an error that [may have been applied](Error::may_have_applied) search before
    /// trying again, or use [`Salesforce::upsert`].
    ///
    /// # Errors
    /// See [`Salesforce`]; [`ErrorKind::Duplicate`] with the records in the way.
    pub async fn create(&self, entity: &Entity, fields: &Fields) -> Result<RecordId> {
        let path = self.path(&format!("/sobjects/{}", identifier(entity.as_str())?));
        let call = Call::post("create", path).json(&RowBody::new(fields, None)?)?;
        let saved: Saved = self.send_on(call, &self.write_headers, entity).await?.json().map_err(|error| error.on(entity))?;
        saved.id(entity, "create")
    }

    /// One record by id, or `None` if there is none this user sees. An empty `select` asks for every field.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn retrieve<S: AsRef<str> + Sync>(&self, entity: &Entity, id: &RecordId, select: &[S]) -> Result<Option<Fields>> {
        let path = self.row_path(entity, id)?;
        self.read_row(entity, path, select).await
    }

    /// One record by external id, or `None`.
    ///
    /// # Errors
    /// See [`Salesforce`]; [`ErrorKind::Duplicate`] with the records if several have this value.
    pub async fn retrieve_by<S: AsRef<str> + Sync>(&self, entity: &Entity, key: &ExternalKey, select: &[S]) -> Result<Option<Fields>> {
        let path = self.key_path(entity, key)?;
        self.read_row(entity, path, select).await
    }

    /// Changes the given fields. Null clears a field, an absent one stays. Repeatable, though the org's automation runs again.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn update(&self, entity: &Entity, id: &RecordId, fields: &Fields) -> Result<()> {
        self.update_if(entity, id, fields, None).await
    }

    /// As [`Salesforce::update`], if the record was not changed after `unmodified_since`. HTTP dates have whole seconds: a
    /// change within the same second is not noticed.
    ///
    /// # Errors
    /// See [`Salesforce`]; [`ErrorKind::Conflict`] if it was changed.
    pub async fn update_if(&self, entity: &Entity, id: &RecordId, fields: &Fields, unmodified_since: Option<Timestamp>) -> Result<()> {
        let condition = unmodified_since.map_or_else(Precondition::new, |at| Precondition::new().unmodified_since(at));
        self.update_when(entity, id, fields, &condition).await
    }

    /// Deletes a record; false if it was gone already.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn delete(&self, entity: &Entity, id: &RecordId) -> Result<bool> {
        self.delete_when(entity, id, &Precondition::new()).await
    }

    /// Deletes the record with this external id; false if there is none.
    ///
    /// # Errors
    /// See [`Salesforce`]; [`ErrorKind::Duplicate`] with the records if several have this value.
    pub async fn delete_by(&self, entity: &Entity, key: &ExternalKey) -> Result<bool> {
        match self.send_on(Call::delete("delete", self.key_path(entity, key)?), &HeaderMap::new(), entity).await {
            Ok(_) => Ok(true),
            // An unknown field answers 404 as well, and is no record that is gone.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes or changes the record with this external id; repeatable. The key's field is left out of the body, as Salesforce
    /// refuses a body that repeats it differently.
    ///
    /// API versions before 46.0 do not answer the id of a changed record; it is then read by a second request.
    ///
    /// # Errors
    /// See [`Salesforce`]; [`ErrorKind::Duplicate`] with the records if several have this value, or if another process made the
    /// record at the same moment (`DUPLICATE_VALUE`: do it again, it will be an update).
    pub async fn upsert(&self, entity: &Entity, key: &ExternalKey, fields: &Fields) -> Result<Upserted> {
        self.upsert_at(entity, key, fields, false).await
    }

    /// As [`Salesforce::upsert`], but never makes a record.
    ///
    /// # Errors
    /// See [`Salesforce::upsert`]; [`ErrorKind::NotFound`] if no record has this value.
    pub async fn update_by(&self, entity: &Entity, key: &ExternalKey, fields: &Fields) -> Result<RecordId> {
        Ok(self.upsert_at(entity, key, fields, true).await?.id)
    }

    async fn upsert_at(&self, entity: &Entity, key: &ExternalKey, fields: &Fields, update_only: bool) -> Result<Upserted> {
        let mut path = self.key_path(entity, key)?;
        if update_only {
            path.push_str("?updateOnly=true");
        }
        let call = Call::patch("upsert", path).json(&RowBody::new(fields, Some(&key.field))?)?;
        let answer = self.send_on(call, &self.write_headers, entity).await?;
        if answer.bytes().is_empty() {
            let row = self.retrieve_by(entity, key, &["Id"]).await?;
            let id = row.as_ref().and_then(|row| row.text("Id")).map(ids::record_id);
            let id = id.ok_or_else(|| Error::decode("the upserted record cannot be read back").during("upsert").on(entity).ambiguous())?;
            return Ok(Upserted { id, created: answer.status() == StatusCode::CREATED });
        }
        let created = answer.status() == StatusCode::CREATED;
        let saved: Saved = answer.json().map_err(|error| error.on(entity))?;
        let created = saved.created.unwrap_or(created);
        Ok(Upserted { id: saved.id(entity, "upsert")?, created })
    }

    // ---- the org --------------------------------------------------------------------------------------------------------

    /// `GET /limits`: all allowances. Needs the permission "View Setup and Configuration".
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn limits(&self) -> Result<Limits> {
        self.send(Call::get("limits", self.path("/limits")), &HeaderMap::new()).await?.json()
    }

    /// `GET /services/data`: the API versions this instance serves, oldest first.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn versions(&self) -> Result<Vec<VersionInfo>> {
        let mut versions: Vec<VersionInfo> = self.send(Call::get("versions", "/services/data"), &HeaderMap::new()).await?.json()?;
        versions.sort_by_key(|info| info.version);
        Ok(versions)
    }

    /// Who the token acts for.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn user_info(&self) -> Result<UserInfo> {
        self.send(Call::get("user_info", "/services/oauth2/userinfo"), &HeaderMap::new()).await?.json()
    }

    /// The raw door: any resource, with the connection's token and error rules. A path that starts with `/services/` is taken
    /// as it is, any other is relative to `/services/data/vNN.0`. Everything but GET and HEAD counts as a write.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let path = if path.starts_with("/services/") { path.to_owned() } else { self.path(path) };
        let call = Call::new("call", method, path);
        let call = match body {
            Some(body) => call.json(body)?,
            None => call,
        };
        self.send(call, &HeaderMap::new()).await
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    pub(super) fn now(&self) -> Timestamp {
        self.host.now()
    }

    // ---- shared ---------------------------------------------------------------------------------------------------------

    /// `tail` under this version's root.
    pub(super) fn path(&self, tail: &str) -> String {
        let slash = if tail.starts_with('/') { "" } else { "/" };
        format!("/services/data/v{}{slash}{tail}", self.config.api_version)
    }

    pub(super) fn write_headers(&self) -> &HeaderMap {
        &self.write_headers
    }

    /// Sends with the connection's headers and those of the kind of call.
    pub(super) async fn send(&self, call: Call, headers: &HeaderMap) -> Result<Answer> {
        if call.path_len() > MAX_PATH {
            let message = "the request line is too long for salesforce (16,384 bytes with headers); split the query or its IN list, \
                           read by id with a collection, or use a bulk query; there is no query by POST";
            return Err(Error::config(message));
        }
        self.rest.send(&call.headers((*self.common_headers).clone()).headers(headers.clone())).await
    }

    /// As [`Salesforce::send`], with the body still to be read.
    pub(super) async fn open(&self, call: Call) -> Result<Streamed> {
        self.rest.open(&call.headers((*self.common_headers).clone())).await
    }

    pub(super) async fn send_on(&self, call: Call, headers: &HeaderMap, entity: &Entity) -> Result<Answer> {
        self.send(call, headers).await.map_err(|error| error.on(entity))
    }

    /// The schema, read once per connection.
    pub(super) async fn schema(&self, entity: &Entity) -> Result<Arc<EntitySchema>> {
        match self.known_schema(entity) {
            Some(known) => Ok(known),
            None => self.describe_entity(entity).await.map(|described| described.schema),
        }
    }

    pub(super) fn known_schema(&self, entity: &Entity) -> Option<Arc<EntitySchema>> {
        self.known(entity).map(|described| described.schema)
    }

    pub(super) fn known(&self, entity: &Entity) -> Option<Described> {
        self.described.lock().unwrap_or_else(PoisonError::into_inner).get(entity).cloned()
    }

    pub(super) fn keep(&self, entity: &Entity, described: Described) {
        self.described.lock().unwrap_or_else(PoisonError::into_inner).insert(entity.clone(), described);
    }

    pub(super) fn known_global(&self) -> Option<(Arc<GlobalDescribe>, HeaderValue)> {
        self.global.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn keep_global(&self, global: Arc<GlobalDescribe>, modified: HeaderValue) {
        *self.global.lock().unwrap_or_else(PoisonError::into_inner) = Some((global, modified));
    }

    pub(super) fn row_path(&self, entity: &Entity, id: &RecordId) -> Result<String> {
        Ok(self.path(&format!("/sobjects/{}/{}", identifier(entity.as_str())?, segment(id.as_str())?)))
    }

    pub(super) fn key_path(&self, entity: &Entity, key: &ExternalKey) -> Result<String> {
        let (entity, field) = (identifier(entity.as_str())?, identifier(&key.field)?);
        Ok(self.path(&format!("/sobjects/{entity}/{field}/{}", segment(&key.value)?)))
    }

    async fn read_row<S: AsRef<str> + Sync>(&self, entity: &Entity, mut path: String, select: &[S]) -> Result<Option<Fields>> {
        for (at, field) in select.iter().enumerate() {
            path.push_str(if at == 0 { "?fields=" } else { "," });
            path.push_str(identifier(field.as_ref())?);
        }
        match self.send_on(Call::get("get", path), &HeaderMap::new(), entity).await {
            Ok(answer) => answer.decode(row).map(Some).map_err(|error| error.on(entity)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Saved {
    fn id(self, entity: &Entity, operation: &'static str) -> Result<RecordId> {
        if !self.success && !self.errors.is_empty() {
            return Err(row_error(&self.errors).during(operation).on(entity));
        }
        let id = self.id.filter(|id| !id.is_empty()).map(ids::record_id_of);
        id.ok_or_else(|| Error::decode("salesforce saved the record and did not say its id").during(operation).on(entity).ambiguous())
    }
}

pub(super) fn row(body: &[u8]) -> serde_json::Result<Fields> {
    use serde::de::DeserializeSeed;
    let mut cache = ShapeCache::skipping(&["attributes"]);
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let fields = FieldsSeed { cache: &mut cache }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(fields)
}

/// One segment of a path. Dots alone would be eaten by every URL parser, and an empty one is another resource.
pub(super) fn segment(text: &str) -> Result<String> {
    let empty = || Error::config("an id or external id that is empty or only dots cannot be addressed in a URL");
    crate::rest::segment(text).ok_or_else(empty)
}

/// The body of a row: its fields without what Salesforce refuses there, lookups by external id as objects.
pub(super) struct RowBody<'a> {
    fields: Cow<'a, Fields>,
    /// The field that already stands in the URL.
    without: Option<&'a str>,
}

impl<'a> RowBody<'a> {
    pub(super) fn new(fields: &'a Fields, without: Option<&'a str>) -> Result<Self> {
        let fields = nested(fields)?.map_or(Cow::Borrowed(fields), Cow::Owned);
        Ok(Self { fields, without })
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        let without = self.without;
        self.fields.iter().filter(move |(name, _)| writable(name) && without.is_none_or(|without| !name.eq_ignore_ascii_case(without)))
    }
}

impl Serialize for RowBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.entries() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Neither the id nor the decoration of an answer may come back.
pub(super) fn writable(name: &str) -> bool {
    !name.eq_ignore_ascii_case("id") && name != "attributes"
}
