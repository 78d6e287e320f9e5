//! The host's connection to a Redis server, and what stores and queues on it share.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{FromRedisValue, RedisError, ScriptInvocation};

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::host::Host;
use crate::sql::wait::within;

/// What a store or queue needs of a connection: any of the driver's asynchronous connections that can be cloned, as
/// `redis::aio::MultiplexedConnection` or `ConnectionManager`.
pub trait RedisConnection: ConnectionLike + Clone + Send + Sync + 'static {}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisConnection for C {}

/// How a Redis server is used.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RedisOptions {
    /// What the keys begin with, in braces, so that a cluster keeps them on one node. Default: `crm_sync`.
    pub prefix: String,
    /// Also use a server that may lose writes it acknowledged: one whose log is off or not flushed with each write
    /// (`appendonly`, `appendfsync`), that may evict keys, or that does not tell. Default: false.
    pub accept_loss: bool,
    /// How long one call may take, measured by the host's sleep. Default: 30 seconds.
    pub call_timeout: Duration,
    /// The generation the data must have; see `generation()` of the store or queue. Default: whichever is found first.
    pub generation: Option<String>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { prefix: "crm_sync".to_owned(), accept_loss: false, call_timeout: Duration::from_secs(30), generation: None }
    }
}

impl RedisOptions {
    /// Sets [`RedisOptions::prefix`].
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets [`RedisOptions::accept_loss`].
    #[must_use]
    pub fn accept_loss(mut self, accept: bool) -> Self {
        self.accept_loss = accept;
        self
    }

    /// Sets [`RedisOptions::call_timeout`].
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Sets [`RedisOptions::generation`].
    #[must_use]
    pub fn generation(mut self, generation: impl Into<String>) -> Self {
        self.generation = Some(generation.into());
        self
    }
}

/// The keys of one component.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RedisSchema {
    /// The component, as it is called in the keys.
    pub(crate) component: &'static str,
    /// What its errors are.
    pub(crate) kind: ErrorKind,
    /// The version of the keys this library knows.
    pub(crate) version: u32,
}

/// What the server may lose, as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Promise {
    logged: bool,
    flushed: bool,
    keeps: bool,
}

/// The keys of one component on the host's server; clones share everything.
#[derive(Clone)]
pub(crate) struct RedisKeys<C> {
    connection: C,
    host: Host,
    options: Arc<RedisOptions>,
    schema: RedisSchema,
    promise: Promise,
    generation: Arc<OnceLock<String>>,
}

impl<C> fmt::Debug for RedisKeys<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisKeys").field("component", &self.schema.component).field("prefix", &self.options.prefix).finish_non_exhaustive()
    }
}

impl<C: RedisConnection> RedisKeys<C> {
    /// Asks the server what it may lose, and refuses one that may lose what it acknowledged.
    pub(crate) async fn open(connection: C, host: Host, options: RedisOptions, schema: RedisSchema) -> Result<Self> {
        if options.prefix.is_empty() || options.prefix.contains(['{', '}']) {
            return Err(Error::config("the prefix of the Redis keys must not be empty or contain braces"));
        }
        let unknown = Promise { logged: false, flushed: false, keeps: false };
        let mut keys = Self { connection, host, options: Arc::new(options), schema, promise: unknown, generation: Arc::default() };
        keys.promise = keys.ask_promise().await?;
        let found = keys.marker().await?;
        if let Some((version, generation)) = found {
            keys.check_version(version)?;
            keys.remember(generation)?;
        }
        Ok(keys)
    }

    async fn ask_promise(&self) -> Result<Promise> {
        let what = "could not ask the Redis server what it keeps";
        let (log, flush, evict) = (
            self.setting("appendonly", what).await?,
            self.setting("appendfsync", what).await?,
            self.setting("maxmemory-policy", what).await?,
        );
        let promise = Promise {
            logged: log.as_deref() == Some("yes"),
            flushed: flush.as_deref() == Some("always"),
            // No key of this library has a time to live, so the volatile policies never evict one.
            keeps: evict.as_deref().is_some_and(|policy| !policy.starts_with("allkeys")),
        };
        if self.options.accept_loss || (promise.logged && promise.flushed && promise.keeps) {
            return Ok(promise);
        }
        let told = |value: Option<String>| value.unwrap_or_else(|| "not told".to_owned());
        Err(Error::config(format!(
            "the Redis server may lose writes it acknowledged (appendonly {}, appendfsync {}, maxmemory-policy {}); the {} needs appendonly yes, \
             appendfsync always and a policy that evicts none of its keys, or RedisOptions::accept_loss",
            told(log),
            told(flush),
            told(evict),
            self.schema.component
        )))
    }

    /// A setting of the server; `None` if it does not tell, as managed servers do not.
    async fn setting(&self, name: &str, what: &str) -> Result<Option<String>> {
        let mut connection = self.connection.clone();
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg(name);
        let asked = async {
            match command.query_async::<Vec<String>>(&mut connection).await {
                Ok(pair) => Ok(pair.into_iter().nth(1)),
                Err(error) if error.is_io_error() => Err(self.failure(what, error)),
                Err(_) => Ok(None),
            }
        };
        self.bounded(what, asked).await
    }

    /// Makes the marker of the data, if there is none.
    pub(crate) async fn migrate(&self) -> Result<()> {
        let what = format!("could not prepare the {} on Redis", self.schema.component);
        let found = match self.marker().await? {
            Some(found) => found,
            None => {
                if let Some(wanted) = self.options.generation.as_ref().or(self.generation.get()) {
                    return Err(self.replaced(wanted, "none"));
                }
                let (key, generation) = (self.key("meta"), self.host.new_id());
                let mut connection = self.connection.clone();
                let set = async {
                    // Of several that begin at once the first one's generation stays.
                    redis::pipe()
                        .atomic()
                        .hset_nx(&key, "generation", &generation)
                        .ignore()
                        .hset_nx(&key, "version", self.schema.version)
                        .ignore()
                        .query_async::<()>(&mut connection)
                        .await
                        .map_err(|error| self.failure(&what, error))
                };
                self.bounded(&what, set).await?;
                self.marker().await?.ok_or_else(|| self.replaced(&generation, "none"))?
            }
        };
        self.check_version(found.0)?;
        self.remember(found.1)
    }

    async fn marker(&self) -> Result<Option<(u32, String)>> {
        let what = format!("could not look for the {} on Redis", self.schema.component);
        let mut connection = self.connection.clone();
        let mut command = redis::cmd("HMGET");
        command.arg(self.key("meta")).arg("version").arg("generation");
        let asked = async {
            let (version, generation): (Option<u32>, Option<String>) =
                command.query_async(&mut connection).await.map_err(|error| self.failure(&what, error))?;
            Ok(version.zip(generation))
        };
        self.bounded(&what, asked).await
    }

    fn check_version(&self, found: u32) -> Result<()> {
        let known = self.schema.version;
        if found == known {
            return Ok(());
        }
        let remedy = if found > known { "use a newer version of the library" } else { "use the version of the library that wrote them" };
        Err(Error::config(format!(
            "the keys of the {} on Redis have version {found}, this library knows {known}; {remedy}",
            self.schema.component
        )))
    }

    fn remember(&self, generation: String) -> Result<()> {
        let wanted = self.options.generation.as_ref().unwrap_or_else(|| self.generation.get_or_init(|| generation.clone()));
        if *wanted != generation {
            return Err(self.replaced(wanted, &format!("generation {generation}")));
        }
        self.generation.get_or_init(|| generation);
        Ok(())
    }

    fn replaced(&self, wanted: &str, found: &str) -> Error {
        let component = self.schema.component;
        Error::new(
            self.schema.kind,
            format!(
                "the {component} on Redis lost its data: it had generation {wanted}, the server now has {found}; restore the server's log, or \
                 start over knowingly with a new {component}"
            ),
        )
        .retrying(Retry::Never)
    }

    /// The generation of the data.
    pub(crate) async fn generation(&self) -> Result<&str> {
        if let Some(known) = self.generation.get() {
            return Ok(known);
        }
        match self.marker().await? {
            Some((version, generation)) => {
                self.check_version(version)?;
                self.remember(generation)?;
            }
            None => return Err(self.unprepared()),
        }
        self.generation.get().map(String::as_str).ok_or_else(|| self.unprepared())
    }

    fn unprepared(&self) -> Error {
        Error::config(format!(
            "the {} on Redis is not prepared; call migrate() once before using it, and if that was done, the server has lost its data",
            self.schema.component
        ))
    }

    /// A key of this component.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{{{}}}:{}:{name}", self.options.prefix, self.schema.component)
    }

    /// Runs a script. Its first key is the marker and its first argument the generation, which it compares.
    pub(crate) async fn run<T: FromRedisValue + Send>(&self, what: &str, invocation: &ScriptInvocation<'_>) -> Result<T> {
        let mut connection = self.connection.clone();
        let run = async { invocation.invoke_async(&mut connection).await.map_err(|error| self.failure(what, error)) };
        self.bounded(what, run).await
    }

    /// As [`RedisKeys::run`], for one that writes: if no answer came, nobody knows whether it happened.
    pub(crate) async fn write<T: FromRedisValue + Send>(&self, what: &str, invocation: &ScriptInvocation<'_>) -> Result<T> {
        self.run(what, invocation).await.map_err(|error| match error.code() {
            Some("timeout" | "broken") => error.ambiguous(),
            _ => error,
        })
    }

    /// One step through the names in a hash: where to go on (0 at the end), and some names.
    pub(crate) async fn scan_names(&self, hash: &str, cursor: u64, count: usize, what: &str) -> Result<(u64, Vec<String>)> {
        let mut connection = self.connection.clone();
        let mut command = redis::cmd("HSCAN");
        command.arg(self.key(hash)).arg(cursor).arg("COUNT").arg(count);
        let asked = async {
            let (next, pairs): (u64, Vec<(String, redis::Value)>) =
                command.query_async(&mut connection).await.map_err(|error| self.failure(what, error))?;
            Ok((next, pairs.into_iter().map(|(name, _)| name).collect()))
        };
        self.bounded(what, asked).await
    }

    /// The server's clock, in microseconds since 1970.
    pub(crate) async fn micros(&self, what: &str) -> Result<i64> {
        let mut connection = self.connection.clone();
        let asked = async {
            let time = redis::cmd("TIME");
            let (seconds, micros): (i64, i64) = time.query_async(&mut connection).await.map_err(|error| self.failure(what, error))?;
            Ok(seconds.saturating_mul(1_000_000).saturating_add(micros))
        };
        self.bounded(what, asked).await
    }

    async fn bounded<T>(&self, what: &str, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        within(&self.host, self.options.call_timeout, self.schema.kind, what, work).await
    }

    fn failure(&self, what: &str, error: RedisError) -> Error {
        match error.code() {
            Some("CRMSYNCGONE") => {
                let wanted = self.generation.get().map_or("unknown", String::as_str);
                self.replaced(wanted, error.detail().unwrap_or("none"))
            }
            Some("CRMSYNCBACK") => Error::new(
                self.schema.kind,
                format!(
                    "the {} on Redis went back in time: the server lost writes it had acknowledged, by a restart or a failover; check what was \
                     done last before going on with a new handle",
                    self.schema.component
                ),
            )
            .retrying(Retry::Never),
            _ => failure(self.schema.kind, what, error),
        }
    }
}

impl<C> RedisKeys<C> {
    /// The log is written, so that data outlive the server's process.
    pub(crate) fn logged(&self) -> bool {
        self.promise.logged && self.promise.keeps
    }

    /// The log is on the disk before a write is acknowledged.
    pub(crate) fn flushed(&self) -> bool {
        self.logged() && self.promise.flushed
    }
}

fn failure(kind: ErrorKind, what: &str, error: RedisError) -> Error {
    let (why, retry, code) = match error.code() {
        Some("LOADING") => ("the server is still reading its log", Retry::Backoff, "LOADING"),
        Some("BUSY") => ("the server is busy with a script", Retry::Backoff, "BUSY"),
        Some("OOM") => ("the server is out of memory", Retry::Backoff, "OOM"),
        Some("MISCONF") => ("the server cannot write to its disk", Retry::Backoff, "MISCONF"),
        Some("READONLY") => ("the server takes no writes; is it a replica?", Retry::Backoff, "READONLY"),
        Some("MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN") => ("the cluster is not ready", Retry::Backoff, "CLUSTERDOWN"),
        Some("NOAUTH" | "WRONGPASS" | "NOPERM") => ("the server does not let this user do it", Retry::Never, "NOPERM"),
        Some("WRONGTYPE") => ("a key of this library holds something else", Retry::Never, "WRONGTYPE"),
        _ if error.is_timeout() => ("no answer within the connection's own limit", Retry::Backoff, "timeout"),
        _ if error.is_connection_refusal() => ("the server cannot be reached", Retry::Backoff, "refused"),
        _ if error.is_io_error() || error.is_connection_dropped() => ("the connection to the server broke", Retry::Backoff, "broken"),
        _ => return Error::new(kind, format!("{what}: the server refused")).retrying(Retry::Never).with_source(error),
    };
    Error::new(kind, format!("{what}: {why}")).retrying(retry).with_code(code).with_source(error)
}
