//! Authorize, send, renew once, classify. It does not sleep, and it repeats nothing but a request whose token had expired.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, CONTENT_LENGTH};
use http::uri::{Authority, PathAndQuery, Scheme};
use url::Url;

use crate::auth::{AccessToken, TokenSource};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::http::{Body, HttpError, HttpErrorKind, HttpTransport};
use crate::rest::call::{Answer, Call, Streamed};
use crate::rest::dialect::{Dialect, Failure};

/// The longest answer read, unless the host says otherwise: 64 MiB.
pub const DEFAULT_BODY_LIMIT: usize = 64 << 20;

/// The only place where a vendor is called.
///
/// Credentials go to the origin of the instance alone: to the one the token names, or else to the configured one. Every URL is
/// built from a path for each attempt, because an instance may move with any renewal of the token.
pub struct Client<D> {
    transport: Arc<dyn HttpTransport>,
    tokens: Arc<dyn TokenSource>,
    dialect: Arc<D>,
    base: Option<Url>,
    /// What the last call's instance looked like in a request; the instance hardly ever moves.
    root: Arc<Mutex<Option<Arc<Root>>>>,
    pinned: bool,
    limit: usize,
}

/// Where the API answers, ready to be put before a path.
struct Root {
    /// As the token named it; `None` for the configured one.
    named: Option<String>,
    scheme: Scheme,
    authority: Authority,
    prefix: String,
}

impl<D> Clone for Client<D> {
    fn clone(&self) -> Self {
        Self {
            transport: Arc::clone(&self.transport),
            tokens: Arc::clone(&self.tokens),
            dialect: Arc::clone(&self.dialect),
            base: self.base.clone(),
            // The copy may be pinned otherwise.
            root: Arc::default(),
            pinned: self.pinned,
            limit: self.limit,
        }
    }
}

impl<D: Dialect> std::fmt::Debug for Client<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("dialect", &self.dialect)
            .field("host", &self.base.as_ref().and_then(Url::host_str))
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}

impl<D: Dialect> Client<D> {
    /// A client. `base` is where the API answers if the token does not say so; it may have a path, which comes before each
    /// call's own.
    pub fn new(transport: Arc<dyn HttpTransport>, tokens: Arc<dyn TokenSource>, dialect: D, base: Option<Url>) -> Self {
        Self { transport, tokens, dialect: Arc::new(dialect), base, root: Arc::default(), pinned: false, limit: DEFAULT_BODY_LIMIT }
    }

    /// Always uses the configured base, whatever the token says: for a proxy or a sandbox in front of the instance.
    #[must_use]
    pub fn pinned(mut self, pinned: bool) -> Self {
        self.pinned = pinned;
        self.root = Arc::default();
        self
    }

    /// The longest answer read. Default: [`DEFAULT_BODY_LIMIT`].
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// The dialect.
    pub fn dialect(&self) -> &D {
        &self.dialect
    }

    /// The source of tokens.
    pub fn tokens(&self) -> &Arc<dyn TokenSource> {
        &self.tokens
    }

    /// Where the API answers for the token of now.
    ///
    /// # Errors
    /// What the token source says, or [`ErrorKind::Config`] if nobody names an instance.
    pub async fn instance(&self) -> Result<Url> {
        let token = self.tokens.token().await.map_err(Error::not_applied)?;
        self.root(&token)
    }

    /// Sends `call` and returns the answer, if it is a 2xx or the status the call accepts.
    ///
    /// # Errors
    /// What the dialect makes of the answer. A write whose outcome is unknown (no answer, a broken one, 5xx) is marked by
    /// [`Error::may_have_applied`].
    pub async fn send(&self, call: &Call) -> Result<Answer> {
        let answer = async { self.read(call, self.attempt(call).await?).await };
        answer.await.map_err(|error| error.during(call.operation))
    }

    /// As [`Client::send`], with the body still to be read: for answers of any length.
    ///
    /// # Errors
    /// As [`Client::send`]; what breaks later is an item of the body's stream.
    pub async fn open(&self, call: &Call) -> Result<Streamed> {
        self.attempt(call).await.map_err(|error| error.during(call.operation))
    }

    async fn attempt(&self, call: &Call) -> Result<Streamed> {
        let token = self.tokens.token().await.map_err(Error::not_applied)?;
        let answer = match self.once(call, &token).await? {
            Reply::Accepted(answer) => return Ok(answer),
            Reply::Refused(answer) => answer,
        };
        if !self.dialect.session_expired(failure(&answer)) {
            return Err(self.refused(call, &answer));
        }
        let token = self.tokens.refresh(&token).await.map_err(|error| error.not_applied().with_status(answer.status))?;
        let answer = match self.once(call, &token).await? {
            Reply::Accepted(answer) => return Ok(answer),
            Reply::Refused(answer) => answer,
        };
        let error = self.refused(call, &answer);
        // A fresh token that is refused too is not cured by another one.
        Err(if error.retry() == Retry::Reauthenticate { error.retrying(Retry::Never) } else { error })
    }

    fn refused(&self, call: &Call, answer: &Answer) -> Error {
        let error = self.dialect.classify(failure(answer)).with_status(answer.status);
        // A gateway that gave up waiting (408, 5xx) does not know whether the server did the work.
        let unknown = answer.status.is_server_error() || answer.status == http::StatusCode::REQUEST_TIMEOUT;
        if call.write && unknown { error.ambiguous() } else { error }
    }

    async fn once(&self, call: &Call, token: &AccessToken) -> Result<Reply> {
        let request = self.request(call, token)?;
        let (head, body) = match self.transport.send(request).await {
            Ok(answer) => answer.into_parts(),
            Err(error) => return Err(unanswered(call, error)),
        };
        self.dialect.observe(&head.headers);
        let answer = Streamed { status: head.status, headers: head.headers, body };
        if answer.status.is_success() || call.also == Some(answer.status) {
            return Ok(Reply::Accepted(answer));
        }
        let answer = self.read(call, answer).await?;
        if self.dialect.tolerates(failure(&answer)) {
            let Answer { status, headers, body, .. } = answer;
            return Ok(Reply::Accepted(Streamed { status, headers, body: Body::from_bytes(body) }));
        }
        Ok(Reply::Refused(answer))
    }

    async fn read(&self, call: &Call, answer: Streamed) -> Result<Answer> {
        let Streamed { status, headers, body } = answer;
        let expected = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(0);
        let body = body.bytes_of(self.limit, expected).await.map_err(|error| unanswered(call, error).with_status(status))?;
        Ok(Answer { status, headers, body, write: call.write, operation: call.operation })
    }

    fn request(&self, call: &Call, token: &AccessToken) -> Result<Request<Bytes>> {
        let root = self.ready_root(token)?;
        if !call.path.starts_with('/') {
            return Err(Error::config("the path of a call must start with a slash"));
        }
        let credential = self.dialect.query_credential(token).map(|(name, value)| {
            let pair = url::form_urlencoded::Serializer::new(String::new()).append_pair(&name, &value).finish();
            format!("{}{pair}", if call.path.contains('?') { '&' } else { '?' })
        });
        let path = PathAndQuery::try_from(format!("{}{}{}", root.prefix, call.path, credential.unwrap_or_default()))
            .map_err(|_| Error::config("the path of a call holds characters that must be percent-encoded"))?;
        let mut parts = http::uri::Parts::default();
        (parts.scheme, parts.authority, parts.path_and_query) = (Some(root.scheme.clone()), Some(root.authority.clone()), Some(path));
        let uri = http::Uri::from_parts(parts).map_err(|_| no_url())?;
        let mut request = Request::new(call.body.clone());
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        // Room for what the dialect and the transport add.
        headers.reserve(call.headers.len() + 6);
        headers.extend(call.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        headers.entry(ACCEPT).or_insert(http::HeaderValue::from_static("application/json"));
        self.dialect.authorize(token, headers)?;
        Ok(request)
    }

    fn named<'t>(&self, token: &'t AccessToken) -> Option<&'t str> {
        token.instance_url().filter(|_| !(self.pinned && self.base.is_some()))
    }

    fn ready_root(&self, token: &AccessToken) -> Result<Arc<Root>> {
        let named = self.named(token);
        let mut last = self.root.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = last.as_ref().filter(|root| root.named.as_deref() == named) {
            return Ok(Arc::clone(root));
        }
        let url = self.root(token)?;
        let root = Arc::new(Root {
            named: named.map(ToOwned::to_owned),
            scheme: url.scheme().parse().map_err(|_| no_url())?,
            authority: url.authority().parse().map_err(|_| no_url())?,
            prefix: url.path().trim_end_matches('/').to_owned(),
        });
        *last = Some(Arc::clone(&root));
        Ok(root)
    }

    fn root(&self, token: &AccessToken) -> Result<Url> {
        let root = match (self.named(token), &self.base) {
            (Some(named), _) => Url::parse(named).map_err(|_| Error::config("the token names an instance that is not a URL"))?,
            (None, Some(base)) => base.clone(),
            (None, None) => return Err(Error::config("nobody names the instance: the token has no instance_url and none is configured")),
        };
        if !matches!(root.scheme(), "http" | "https") || root.host_str().is_none() {
            return Err(Error::config("the instance must be an absolute http or https URL"));
        }
        Ok(root)
    }

    /// The path of a link the server gave (a next page, a location), to be called like any other path.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] if the link leaves the origin of the instance: the token must not go there.
    pub async fn link(&self, link: &str) -> Result<String> {
        let root = self.instance().await?;
        let foreign = || Error::decode("the server's link leads away from the instance; it was not followed");
        let joined = root.join(link).map_err(|_| foreign())?;
        if joined.origin() != root.origin() || !joined.username().is_empty() || joined.password().is_some() {
            return Err(foreign());
        }
        // Servers behind a path prefix write their links with it or without.
        let prefix = root.path().trim_end_matches('/');
        let path = joined.path();
        let path = path.strip_prefix(prefix).filter(|rest| rest.starts_with('/')).unwrap_or(path);
        Ok(match joined.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        })
    }
}

/// An answer the call wants is read by its taker; any other one is read here, for its reason.
enum Reply {
    Accepted(Streamed),
    Refused(Answer),
}

fn no_url() -> Error {
    Error::config("the URL of a call could not be built")
}

fn failure(answer: &Answer) -> Failure<'_> {
    Failure { status: answer.status, headers: &answer.headers, body: &answer.body }
}

fn unanswered(call: &Call, error: HttpError) -> Error {
    let sent = error.may_have_executed();
    let too_large = error.kind() == HttpErrorKind::TooLarge;
    let error = Error::from(error);
    let error =
        if too_large { Error::new(ErrorKind::Decode, "the answer is longer than the client allows").with_source(error) } else { error };
    if call.write && sent { error.ambiguous() } else { error }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
