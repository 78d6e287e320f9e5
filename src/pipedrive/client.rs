//! The connection to an account.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use serde_json::{Map, Value};
use url::form_urlencoded::Serializer;

use crate::adapter::Capabilities;
use crate::auth::TokenCache;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::http::HttpTransport;
use crate::model::RecordId;
use crate::pipedrive::burst::Bursts;
use crate::pipedrive::capabilities::capabilities;
use crate::pipedrive::config::PipedriveConfig;
use crate::pipedrive::dialect::PipedriveDialect;
use crate::pipedrive::envelope::record;
use crate::pipedrive::field_map::FieldCache;
use crate::pipedrive::limits::{Gate, Usage};
use crate::pipedrive::resource::{ApiVersion, Kind};
use crate::pipedrive::types::User;
use crate::rest::{Answer, Call, Client};

/// A list that is read whole.
pub(crate) type Entries = Arc<Vec<Map<String, Value>>>;
/// Such lists, each with the mark of when it was read.
type CatalogCache = Arc<Mutex<HashMap<Kind, (Duration, Entries)>>>;

/// A connection to an account. Cloning copies a few pointers; clones share token, limits and descriptions.
///
/// Every method is one HTTP request unless it says otherwise, plus one renewal of an OAuth token and one repetition if it had
/// expired. Nothing here retries; a call may wait for its turn under the burst limits ([`PipedriveConfig::pace`]), up to a minute,
/// else it fails with the time and was not sent. A call that is dropped while it waits has used up its turn.
///
/// # Errors
/// Every method can fail as [`Client::send`](crate::rest::Client::send) does; the kinds are told at
/// [`PipedriveDialect`]. A write whose outcome is unknown is marked by [`Error::may_have_applied`]. Once the day's tokens are
/// spent, or Pipedrive's front has shut the door, calls fail here without being sent.
#[derive(Clone)]
pub struct Pipedrive {
    pub(crate) rest: Client<PipedriveDialect>,
    pub(crate) config: Arc<PipedriveConfig>,
    pub(crate) capabilities: Arc<Capabilities>,
    pub(crate) host: Host,
    pub(crate) fields: FieldCache,
    pub(crate) catalog: CatalogCache,
    v1: Arc<str>,
}

impl fmt::Debug for Pipedrive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipedrive").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Pipedrive {
    /// A connection. Nothing is sent yet.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] naming the option that is missing or cannot work.
    pub fn new(config: PipedriveConfig, transport: Arc<dyn HttpTransport>, host: Host) -> Result<Self> {
        Self::build(config, transport, host, None)
    }

    /// As [`Pipedrive::new`], with OAuth tokens kept in `cache`, so that they survive a restart and several processes renew one
    /// after the other. Without it tokens live in memory.
    ///
    /// # Errors
    /// As [`Pipedrive::new`].
    pub fn with_token_cache(
        config: PipedriveConfig,
        transport: Arc<dyn HttpTransport>,
        host: Host,
        cache: Arc<dyn TokenCache>,
    ) -> Result<Self> {
        Self::build(config, transport, host, Some(cache))
    }

    fn build(config: PipedriveConfig, transport: Arc<dyn HttpTransport>, host: Host, cache: Option<Arc<dyn TokenCache>>) -> Result<Self> {
        let tokens = config.tokens(Arc::clone(&transport), host.clone(), cache)?;
        let bursts = Bursts::new(host.clone(), config.plan.calls(config.scheme()), config.pace);
        let dialect = PipedriveDialect::new(config.scheme(), Gate::new(host.clone(), bursts));
        let rest = Client::new(transport, tokens, dialect, Some(config.base()?)).pinned(config.pin_api_domain);
        Ok(Self {
            rest,
            v1: config.v1()?.into(),
            capabilities: Arc::new(capabilities()),
            config: Arc::new(config),
            fields: Arc::default(),
            catalog: Arc::default(),
            host,
        })
    }

    /// What is known of the limits.
    pub fn usage(&self) -> Usage {
        self.rest.dialect().gate.usage()
    }

    /// Lets calls go again after Pipedrive's front had shut the door, or the day's tokens were spent: for a person who has looked
    /// why, or bought a top-up.
    pub fn resume(&self) {
        self.rest.dialect().gate.resume();
    }

    /// The user whose token this is. Price: 2.
    ///
    /// # Errors
    /// See [`Pipedrive`].
    pub async fn me(&self) -> Result<User> {
        let path = format!("{}/users/me", self.v1);
        let answer = self.send(&Call::get("authenticate", path), 2).await?;
        let row = record(&answer)?.ok_or_else(|| Error::decode("pipedrive answered no user"))?;
        serde_json::from_value(Value::Object(row)).map_err(|_| Error::decode("pipedrive's user does not fit"))
    }

    /// Any call this client has no method for: `path` begins with `/api/v2` or the v1 prefix and may hold a query. The answer is
    /// the body as it came; `price` is what the documents say it costs, for [`Usage::spent`].
    ///
    /// # Errors
    /// See [`Pipedrive`].
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>, price: u32) -> Result<Value> {
        let call = Call::new("call", method, path);
        let words = path.split(['?', '/']).collect::<Vec<_>>();
        let search = words.contains(&"search") || words.contains(&"itemSearch");
        let call = match body {
            Some(body) => call.json(body)?,
            None => call,
        };
        let answer = self.paced(&call, price, search).await?;
        if answer.bytes().is_empty() {
            return Ok(Value::Null);
        }
        answer.json()
    }

    // ---- below the surface ------------------------------------------------------------------------------------------------

    pub(crate) async fn send(&self, call: &Call, price: u32) -> Result<Answer> {
        self.paced(call, price, false).await
    }

    /// As [`Pipedrive::send`], for the search endpoints, which have a limit of their own.
    pub(crate) async fn send_search(&self, call: &Call, price: u32) -> Result<Answer> {
        self.paced(call, price, true).await
    }

    async fn paced(&self, call: &Call, price: u32, search: bool) -> Result<Answer> {
        let gate = &self.rest.dialect().gate;
        gate.open()?;
        gate.bursts.turn(search).await?;
        // The day may have been spent while this one waited.
        gate.enter(price)?;
        self.rest.send(call).await
    }

    /// The path of a resource: its version's prefix, its word, a tail such as `/7/merge`, and a query.
    pub(crate) fn path(&self, version: ApiVersion, word: &str, tail: &str, pairs: &[(&str, String)]) -> String {
        let prefix = match version {
            ApiVersion::V1 => &*self.v1,
            ApiVersion::V2 => "/api/v2",
        };
        let mut path = format!("{prefix}/{word}{tail}");
        if !pairs.is_empty() {
            path.push('?');
            // A plus sign in an address becomes %2B here.
            path.push_str(&Serializer::new(String::new()).extend_pairs(pairs).finish());
        }
        path
    }

    /// A write with a body, or without one; the record it answered.
    pub(crate) async fn write(&self, call: Call, body: Option<&Map<String, Value>>, price: u32) -> Result<Option<Map<String, Value>>> {
        let call = match body {
            Some(body) => call.json(body)?,
            None => call,
        };
        match self.written(&call, price).await? {
            Some(answer) => record(&answer),
            None => Ok(None),
        }
    }

    /// The answer to a write, if it has a body.
    pub(crate) async fn written(&self, call: &Call, price: u32) -> Result<Option<Answer>> {
        let answer = self.send(call, price).await?;
        Ok((!answer.bytes().trim_ascii().is_empty()).then_some(answer))
    }
}

/// `/7`: an id as the end of a path. Ids are whole numbers, and UUIDs for leads.
pub(crate) fn tail(kind: Kind, id: &RecordId) -> Result<String> {
    let id = id.as_str();
    let good = match kind {
        kind if kind.has_uuids() => id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'),
        _ => !id.is_empty() && id.len() <= 18 && id.bytes().all(|byte| byte.is_ascii_digit()),
    };
    if !good {
        let form = if kind.has_uuids() { "a UUID" } else { "a whole number" };
        return Err(Error::config(format!("the id of {kind} is not {form}")).on(&kind.entity()));
    }
    Ok(format!("/{id}"))
}

/// The id of a row, in digits or as a UUID.
pub(crate) fn row_id(row: &Map<String, Value>) -> Option<RecordId> {
    row.get("id").and_then(id_of)
}

/// An id in digits or as a text.
pub(crate) fn id_of(id: &Value) -> Option<RecordId> {
    match id {
        Value::Number(id) => Some(RecordId::new(id.to_string())),
        Value::String(id) if !id.is_empty() => Some(RecordId::new(id.as_str())),
        _ => None,
    }
}
