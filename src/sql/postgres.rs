//! The host's pool of PostgreSQL connections, and what stores and queues on it share.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Acquire, Postgres, Transaction};

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::host::Host;
use crate::sql::wait::within;

/// Store time: the server's clock when the expression is evaluated, in microseconds since 1970.
macro_rules! micros {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    };
}
pub(crate) use micros;

/// How a PostgreSQL database is used.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PostgresOptions {
    /// How long one call may take, waiting for a connection included, measured by the host's sleep. Default: 30 seconds.
    pub call_timeout: Duration,
    /// The generation the tables must have; see `generation()` of the store or queue. Default: whichever is found first.
    pub generation: Option<String>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { call_timeout: Duration::from_secs(30), generation: None }
    }
}

impl PostgresOptions {
    /// Sets [`PostgresOptions::call_timeout`].
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Sets [`PostgresOptions::generation`].
    #[must_use]
    pub fn generation(mut self, generation: impl Into<String>) -> Self {
        self.generation = Some(generation.into());
        self
    }
}

/// The tables of one component: step `n` leads from version `n` to version `n + 1`. A released step never changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PostgresSchema {
    /// The component, as it is called in the table of versions.
    pub(crate) component: &'static str,
    /// What its errors are.
    pub(crate) kind: ErrorKind,
    pub(crate) steps: &'static [&'static str],
}

const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS crm_sync_schema \
    (component text NOT NULL PRIMARY KEY, version bigint NOT NULL, generation text NOT NULL)";
const FIND_VERSION: &str = "SELECT version, generation FROM crm_sync_schema WHERE component = $1";
const SET_VERSION: &str = "INSERT INTO crm_sync_schema (component, version, generation) VALUES ($1, $2, $3) \
    ON CONFLICT (component) DO UPDATE SET version = excluded.version";
/// One migration at a time in a database; the number is this library's own.
const MIGRATION_LOCK: &str = "SELECT pg_advisory_xact_lock(7165065884183621491)";
/// A role or a pool may have turned waiting for the disk off; what this library acknowledges must be there.
macro_rules! wait_for_disk {
    () => {
        "set_config('synchronous_commit', \
         CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true)"
    };
}
pub(crate) use wait_for_disk;

/// The tables of one component in the host's database; clones share everything.
#[derive(Clone)]
pub(crate) struct PostgresTables {
    pool: PgPool,
    host: Host,
    options: Arc<PostgresOptions>,
    schema: PostgresSchema,
    /// The generation of the tables, once their version was found to be right.
    generation: Arc<OnceLock<String>>,
}

impl fmt::Debug for PostgresTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresTables")
            .field("component", &self.schema.component)
            .field("connections", &self.pool.size())
            .finish_non_exhaustive()
    }
}

impl PostgresTables {
    pub(crate) fn new(pool: PgPool, host: Host, options: PostgresOptions, schema: PostgresSchema) -> Self {
        Self { pool, host, options: Arc::new(options), schema, generation: Arc::default() }
    }

    /// The pool.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Brings the tables to the version this library knows. Safe from several processes at once.
    pub(crate) async fn migrate(&self) -> Result<()> {
        let what = format!("could not migrate the tables of the {}", self.schema.component);
        self.bounded(&what, async {
            let wrap = |error| self.failure(&what, error);
            let mut transaction = self.pool.begin().await.map_err(wrap)?;
            sqlx::query(MIGRATION_LOCK).execute(&mut *transaction).await.map_err(wrap)?;
            // The answer of two who create at once is an error even with IF NOT EXISTS; the lock above keeps them apart.
            sqlx::query(VERSIONS).execute(&mut *transaction).await.map_err(wrap)?;
            let found = find_version(&mut transaction, self.schema.component).await.map_err(wrap)?;
            let done = found.as_ref().map_or(0, |(version, _)| usize::try_from(*version).unwrap_or(usize::MAX));
            if done > self.schema.steps.len() {
                return Err(self.other_version(&what, done));
            }
            if let (None, Some(wanted)) = (&found, self.generation.get().or(self.options.generation.as_ref())) {
                return Err(self.replaced(wanted, "no tables"));
            }
            for step in self.schema.steps.iter().skip(done) {
                sqlx::raw_sql(*step).execute(&mut *transaction).await.map_err(wrap)?;
            }
            let generation = found.map_or_else(|| self.host.new_id(), |(_, generation)| generation);
            if done < self.schema.steps.len() {
                sqlx::query(SET_VERSION)
                    .bind(self.schema.component)
                    .bind(i64::try_from(self.schema.steps.len()).unwrap_or(i64::MAX))
                    .bind(&generation)
                    .execute(&mut *transaction)
                    .await
                    .map_err(wrap)?;
            }
            transaction.commit().await.map_err(wrap)?;
            self.expect_generation(&generation)
        })
        .await
    }

    /// The generation of the tables; asks the server the first time, and then checks their version too.
    pub(crate) async fn generation(&self, connection: &mut PgConnection) -> Result<&str> {
        if let Some(known) = self.generation.get() {
            return Ok(known);
        }
        let what = format!("could not use the tables of the {}", self.schema.component);
        let found = find_version(connection, self.schema.component).await.map_err(|error| self.failure(&what, error))?;
        let Some((version, generation)) = found else {
            return Err(missing_tables(&what));
        };
        if usize::try_from(version) != Ok(self.schema.steps.len()) {
            return Err(self.other_version(&what, usize::try_from(version).unwrap_or(usize::MAX)));
        }
        self.expect_generation(&generation)?;
        Ok(self.generation.get_or_init(|| generation))
    }

    /// As [`PostgresTables::generation`], on a connection of its own.
    pub(crate) async fn ask_generation(&self) -> Result<String> {
        let what = "could not ask for the generation";
        self.bounded(what, async { Ok(self.generation(&mut *self.connection(what).await?).await?.to_owned()) }).await
    }

    /// Refuses tables of another generation than the one known: they are not the ones that were written to.
    pub(crate) fn expect_generation(&self, found: &str) -> Result<()> {
        let wanted = self.options.generation.as_ref().or(self.generation.get());
        match wanted {
            Some(wanted) if wanted != found => Err(self.replaced(wanted, &format!("generation {found}"))),
            _ => Ok(()),
        }
    }

    fn replaced(&self, wanted: &str, found: &str) -> Error {
        let component = self.schema.component;
        Error::new(
            self.schema.kind,
            format!(
                "the {component} was replaced: its tables had generation {wanted}, the database now has {found}, so what was stored is gone; \
                 restore the backup, or start over knowingly with a new {component}"
            ),
        )
        .retrying(Retry::Never)
    }

    fn other_version(&self, what: &str, found: usize) -> Error {
        let known = self.schema.steps.len();
        let remedy = if found > known { "use a newer version of the library" } else { "call migrate() once" };
        Error::config(format!("{what}: they have version {found}, this library knows {known}; {remedy}"))
    }

    /// A connection of the pool whose tables are known to be right.
    pub(crate) async fn connection(&self, what: &str) -> Result<PoolConnection<Postgres>> {
        let mut connection = self.pool.acquire().await.map_err(|error| self.failure(what, error))?;
        self.generation(&mut connection).await?;
        Ok(connection)
    }

    /// A transaction that reads what is committed, whatever the server's default is. Dropped, it is rolled back.
    pub(crate) async fn begin(&self, what: &str) -> Result<Transaction<'static, Postgres>> {
        let mut transaction = self.pool.begin_with(BEGIN).await.map_err(|error| self.failure(what, error))?;
        self.generation(&mut transaction).await?;
        Ok(transaction)
    }

    /// A transaction, or a savepoint in the one `connection` is in.
    pub(crate) async fn nested<'a>(&self, connection: &'a mut PgConnection, what: &str) -> Result<Transaction<'a, Postgres>> {
        let mut transaction = Acquire::begin(connection).await.map_err(|error| self.failure(what, error))?;
        self.generation(&mut transaction).await?;
        Ok(transaction)
    }

    /// Ends a transaction. An error of it leaves open what happened, unless the server itself refused.
    pub(crate) async fn commit(&self, transaction: Transaction<'static, Postgres>, what: &str) -> Result<()> {
        let committed = async {
            transaction.commit().await.map_err(|error| {
                let refused = matches!(error, sqlx::Error::Database(_)) && !is_shutdown(&error);
                let failed = self.failure(what, error);
                if refused { failed } else { failed.ambiguous() }
            })
        };
        within(&self.host, self.options.call_timeout, self.schema.kind, what, committed).await.map_err(|error| match error.kind() {
            kind if kind == self.schema.kind && error.code() == Some("timeout") => error.ambiguous(),
            _ => error,
        })
    }

    /// Runs `work`, for at most the time a call may take.
    pub(crate) async fn bounded<T>(&self, what: &str, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        within(&self.host, self.options.call_timeout, self.schema.kind, what, work).await
    }

    /// The error of a failed call. `what` says what was attempted.
    pub(crate) fn failure(&self, what: &str, error: sqlx::Error) -> Error {
        failure(self.schema.kind, what, error)
    }
}

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

async fn find_version(connection: &mut PgConnection, component: &str) -> sqlx::Result<Option<(i64, String)>> {
    sqlx::query_as(FIND_VERSION).bind(component).fetch_optional(connection).await
}

fn missing_tables(what: &str) -> Error {
    Error::config(format!(
        "{what}: its tables are missing; call migrate() once before using it, and if that was done, the database has lost its data"
    ))
}

fn is_shutdown(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code.starts_with("57P"))
}

/// The message of the server is kept as the cause only where it cannot hold a value of a row.
fn failure(kind: ErrorKind, what: &str, error: sqlx::Error) -> Error {
    let code = error.as_database_error().and_then(|error| error.code()).map(std::borrow::Cow::into_owned);
    let (why, retry) = match (&error, code.as_deref()) {
        (_, Some("42P01" | "42704")) => return missing_tables(what).with_source(error),
        (_, Some("42703" | "42883")) => {
            return Error::config(format!("{what}: its tables are of another version; call migrate() of the newest library"))
                .with_source(error);
        }
        (_, Some("57014")) => ("the server stopped the statement after its own time limit", Retry::Backoff),
        (_, Some("57P03")) => ("the server is starting up or shutting down", Retry::Backoff),
        (_, Some(code)) if code.starts_with("57P") => ("the server is shutting down", Retry::Backoff),
        (_, Some("55P03")) => ("a lock was held for longer than the server's own limit", Retry::Backoff),
        (_, Some(code)) if code.starts_with("40") => ("another transaction was in the way", Retry::Backoff),
        (_, Some(code)) if code.starts_with("53") => ("the server is out of connections, memory or disk", Retry::Backoff),
        (_, Some(code)) if code.starts_with("08") => ("the connection to the server broke", Retry::Backoff),
        (_, Some(code)) if code.starts_with("28") => ("the server does not let this user in", Retry::Never),
        (_, Some("42501")) => ("this user may not use the tables", Retry::Never),
        (_, Some("25006")) => ("the server takes no writes; is it a replica?", Retry::Backoff),
        (_, Some("54000" | "22001")) => ("a value is larger than the server takes", Retry::Never),
        (_, Some(_)) => ("the server refused", Retry::Never),
        (sqlx::Error::Io(_), None) => ("the server cannot be reached, or the connection broke", Retry::Backoff),
        (sqlx::Error::PoolTimedOut, None) => ("no connection became free within the pool's own limit; is the server up?", Retry::Backoff),
        (sqlx::Error::PoolClosed, None) => ("the host closed the pool", Retry::Never),
        (sqlx::Error::Tls(_), None) => ("no TLS connection could be made", Retry::Never),
        (sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed, None) => ("the connection broke", Retry::Backoff),
        _ => ("the driver refused", Retry::Never),
    };
    let failed = Error::new(kind, format!("{what}: {why}")).retrying(retry);
    match code {
        Some(code) => failed.with_code(code),
        None => failed.with_source(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_driver_say_whether_to_try_again() {
        let wait = failure(ErrorKind::Store, "could not read", sqlx::Error::PoolTimedOut);
        assert_eq!((wait.kind(), wait.retry(), wait.may_have_applied()), (ErrorKind::Store, Retry::Backoff, false));
        let closed = failure(ErrorKind::Queue, "could not read", sqlx::Error::PoolClosed);
        assert_eq!((closed.kind(), closed.retry()), (ErrorKind::Queue, Retry::Never));
        assert!(closed.to_string().contains("closed the pool"), "{closed}");
    }
}
