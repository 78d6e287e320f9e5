//! A connection: what is sent with whose credentials, and records out of answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use serde::de::DeserializeSeed;
use serde_json::Value;

use crate::custom::definition::{Definition, EntitySpec};
use crate::custom::dialect::{DefinedDialect, accepts, is_marked};
use crate::custom::shared::Shared;
use crate::custom::wire::WireFormat;
use crate::document::suggest::did_you_mean;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::model::{Entity, FieldsSeed, Record, RecordId, ShapeCache, Version};
use crate::rest::{Answer, Call, Client, Failure};

/// For so long a key of a pool that was refused is passed over.
const REFUSED: Duration = Duration::from_secs(300);

/// An API that is described by a [`Definition`].
#[derive(Clone)]
pub struct Custom {
    pub(super) shared: Arc<Shared>,
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom")
            .field("name", &self.shared.definition.name)
            .field("host", &self.shared.base.host_str())
            .finish_non_exhaustive()
    }
}

impl Custom {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// What it follows.
    pub fn definition(&self) -> &Definition {
        &self.shared.definition
    }

    /// The client of one of the keys.
    pub(super) fn client(&self, operation: &'static str, key: usize, success: &[u16]) -> Result<Client<DefinedDialect>> {
        let shared = &self.shared;
        let dialect = DefinedDialect { shared: Arc::clone(shared), operation, key, success: success.to_vec() };
        let tokens = shared.keys.get(key).map(|key| Arc::clone(&key.tokens));
        let tokens = tokens.ok_or_else(|| Error::internal("a key that is not there"))?;
        let client = Client::new(Arc::clone(&shared.transport), tokens, dialect, Some(shared.base.clone()));
        Ok(client.body_limit(shared.definition.max_body.unwrap_or(crate::rest::DEFAULT_BODY_LIMIT)))
    }

    /// Sends a request of the host's own making, with the connection's credentials; the path stands upon the base URL.
    ///
    /// # Errors
    /// As the definition's rules say.
    pub async fn call(&self, call: &Call) -> Result<Answer> {
        self.send(call, &[]).await
    }

    /// Sends `call`; the statuses in `success` mean success (none: every 2xx). With a pool of keys one that is refused rests, and
    /// the next one sends: at most one request for each key.
    pub(super) async fn send(&self, call: &Call, success: &[u16]) -> Result<Answer> {
        let mut tried = Vec::new();
        let mut busy: Option<Error> = None;
        loop {
            let now = self.shared.host.monotonic();
            let key = match self.shared.take(call, now, &tried) {
                Ok(key) => key,
                Err(error) => return Err(busy.unwrap_or_else(|| error.during(call.operation))),
            };
            let error = match self.send_by(call, success, key).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let too_busy = matches!(error.kind(), ErrorKind::RateLimited | ErrorKind::QuotaExhausted);
            let refused = error.kind() == ErrorKind::Authentication;
            if !(too_busy || refused) || error.may_have_applied() || self.shared.keys.len() < 2 {
                return Err(error);
            }
            if let Some(key) = self.shared.keys.get(key) {
                if refused {
                    key.refuse_until(now.saturating_add(REFUSED));
                } else {
                    key.pause_until(now.saturating_add(error.retry_after().unwrap_or(Duration::from_secs(1))));
                }
            }
            tried.push(key);
            // One key that only rests is reason enough to try again later.
            busy = busy.filter(|known| refused && known.kind() != ErrorKind::Authentication).or(Some(error));
        }
    }

    async fn send_by(&self, call: &Call, success: &[u16], key: usize) -> Result<Answer> {
        match self.send_once(call, success, key).await {
            // A refusal that hides in a success: the client below has taken it for an answer, and kept the token.
            Err(error)
                if self.shared.auth.renewable()
                    && error.retry() == Retry::Reauthenticate
                    && error.status().is_some_and(|status| status.is_success()) =>
            {
                let key = self.shared.keys.get(key).map(|key| Arc::clone(&key.tokens));
                let tokens = key.ok_or_else(|| Error::internal("a key that is not there"))?;
                let stale = tokens.token().await.map_err(Error::not_applied)?;
                tokens.refresh(&stale).await.map_err(|error| error.not_applied().during(call.operation))?;
            }
            outcome => return outcome,
        }
        self.send_once(call, success, key).await
    }

    async fn send_once(&self, call: &Call, success: &[u16], key: usize) -> Result<Answer> {
        let client = self.client(call.operation, key, success)?;
        let answer = client.send(call).await?;
        let failure = Failure { status: answer.status(), headers: answer.headers(), body: answer.bytes() };
        if let Some(error) = client.dialect().hidden_failure(failure) {
            return Err(error.with_status(answer.status()).during(call.operation));
        }
        if answer.status().is_success() && !accepts(answer.status(), success) {
            let text = format!("the API answered {}, which the definition does not count as success", answer.status().as_u16());
            let error = Error::decode(text).with_status(answer.status()).during(call.operation);
            return Err(if call.write { error.ambiguous() } else { error });
        }
        Ok(answer)
    }

    pub(super) fn spec(&self, entity: &Entity) -> Result<&EntitySpec> {
        let definition = &self.shared.definition;
        definition.entity(entity.as_str()).ok_or_else(|| {
            let help = did_you_mean(entity.as_str(), definition.entities.keys().map(String::as_str));
            Error::config(format!("the definition has no such entity{}", help.map_or_else(String::new, |help| format!("; {help}"))))
                .on(entity)
        })
    }

    pub(super) fn lacks(&self, what: &str, operation: &'static str, entity: &Entity) -> Error {
        Error::unsupported(format!("the definition of {} says no way to {what}", self.shared.definition.name)).during(operation).on(entity)
    }

    /// One record out of an answer or a list.
    pub(super) fn record(
        &self,
        entity: &Entity,
        spec: &EntitySpec,
        value: Value,
        etag: Option<&HeaderValue>,
        cache: &mut ShapeCache,
    ) -> Result<Record> {
        let value = self.shared.hooks.decode(entity, value)?;
        let id = spec.id_of(&value).ok_or_else(|| Error::decode(format!("a record has no id at {}", spec.id_told())).on(entity))?;
        let version = match &spec.version {
            None => None,
            Some(version) => {
                let header = etag.filter(|_| version.etag).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
                header.or_else(|| version.path.as_ref().and_then(|path| path.text(&value)))
            }
        };
        let usual = WireFormat::default();
        let format = spec.modified_format.as_ref().unwrap_or(&usual);
        let modified = spec.modified.as_ref().and_then(|path| path.find(&value)).and_then(|value| format.read(value));
        let deleted = spec.deleted.as_ref().is_some_and(|mark| is_marked(&value, &mark.path, mark.equals.as_ref()));
        let decoded = spec.decode(value).ok_or_else(|| Error::decode("a record is not an object").on(entity))?;
        let fields = FieldsSeed { cache }.deserialize(decoded).map_err(|_| Error::decode("a record is not an object").on(entity))?;
        let mut record = Record::new(entity.clone(), RecordId::new(id), fields);
        record.version = version.map(Version::new);
        record.modified_at = modified;
        record.deleted = deleted;
        Ok(record)
    }
}
