//! One connection to a SQLite database, used where the host runs blocking work.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::host::Host;
use crate::sql::schema::{Schema, VERSIONS};

/// When a commit counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Synchronous {
    /// Each commit is flushed to the disk: it survives a power cut.
    #[default]
    Full,
    /// Commits are flushed at checkpoints: they survive the end of the process; a power cut may take the last ones. The
    /// database stays sound. About ten times as many small commits a second.
    Normal,
}

/// How a SQLite database is used.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// Default: [`Synchronous::Full`].
    pub synchronous: Synchronous,
    /// How long a call waits for another connection's write to end. Default: 10 seconds.
    pub busy_timeout: Duration,
    /// The generation the file must have; see [`SqliteStore::generation`](crate::store::SqliteStore::generation) and
    /// [`SqliteQueue::generation`](crate::queue::SqliteQueue::generation). Default: whichever is found.
    pub generation: Option<String>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { synchronous: Synchronous::Full, busy_timeout: Duration::from_secs(10), generation: None }
    }
}

impl SqliteOptions {
    /// Sets [`SqliteOptions::synchronous`].
    #[must_use]
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// Sets [`SqliteOptions::busy_timeout`].
    #[must_use]
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// Sets [`SqliteOptions::generation`].
    #[must_use]
    pub fn generation(mut self, generation: impl Into<String>) -> Self {
        self.generation = Some(generation.into());
        self
    }
}

/// A log of so many bytes is long: about a thousand pages, which is SQLite's own measure.
const LOG: u64 = 4_000_000;

/// A database; clones share the connection.
#[derive(Clone)]
pub(crate) struct Database {
    open: Arc<Mutex<Open>>,
    host: Host,
    path: Arc<PathBuf>,
    synchronous: Synchronous,
}

/// The connection, and what is known about the file behind it.
struct Open {
    connection: Connection,
    path: Arc<PathBuf>,
    /// Which file was opened, where the system tells.
    file: Option<(u64, u64)>,
    /// The log beside it, unless the database is in memory.
    log: Option<PathBuf>,
    generation: Option<String>,
    /// The components whose tables were found to be right.
    known: Vec<&'static str>,
}

impl Database {
    /// Opens or makes the file, in WAL mode.
    pub(crate) fn open(path: &Path, host: Host, options: &SqliteOptions) -> Result<Self> {
        let in_memory = is_memory(path);
        if !in_memory {
            create_private(path)?;
        }
        // Without SQLITE_OPEN_URI: a path is a path, whatever characters it has.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(path, flags);
        let connection = opened.map_err(|error| failure(&format!("could not open the database {}", path.display()), error))?;
        configure(&connection, in_memory, options)
            .map_err(|error| failure(&format!("could not set up the database {}", path.display()), error))?
            .then_some(())
            .ok_or_else(|| {
                Error::config(format!(
                    "the database {} cannot be used in WAL mode; put it on a local disk, not on a network share",
                    path.display()
                ))
            })?;
        let path = Arc::new(path.to_owned());
        let file = if in_memory { None } else { file_at(&path) };
        let log = (!in_memory).then(|| {
            let mut name = path.as_os_str().to_owned();
            name.push("-wal");
            PathBuf::from(name)
        });
        let open = Open { connection, path: Arc::clone(&path), file, log, generation: options.generation.clone(), known: Vec::new() };
        Ok(Self { open: Arc::new(Mutex::new(open)), host, path, synchronous: options.synchronous })
    }

    /// The host.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// True if the data ends with the connection.
    pub(crate) fn in_memory(&self) -> bool {
        is_memory(&self.path)
    }

    /// When a commit counts as written.
    pub(crate) fn synchronous(&self) -> Synchronous {
        self.synchronous
    }

    /// Runs `work` on the connection, one at a time, if the tables of the component are those this crate knows, in the file that
    /// was opened. It also gets the host, to ask for the time once it has its turn.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        schema: Schema,
        work: impl FnOnce(&mut Connection, &Host) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.on_open(move |open, host| {
            open.check(schema)?;
            work(&mut open.connection, host)
        })
        .await
    }

    /// As [`Database::run`], for a call that writes and may take a moment: if the log has become long, its pages are moved into the
    /// database first.
    ///
    /// SQLite itself would move them at the end of whichever commit makes the log long, and let whoever writes next wait for the
    /// disk at the start of the new log. So both are done by those who are not waited for.
    pub(crate) async fn run_at_leisure<T: Send + 'static>(
        &self,
        schema: Schema,
        work: impl FnOnce(&mut Connection, &Host) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.on_open(move |open, host| {
            open.check(schema)?;
            open.shorten_log();
            work(&mut open.connection, host)
        })
        .await
    }

    async fn on_open<T: Send + 'static>(&self, work: impl FnOnce(&mut Open, &Host) -> Result<T> + Send + 'static) -> Result<T> {
        let (open, host) = (Arc::clone(&self.open), self.host.clone());
        self.host
            .offload(move || {
                // A panic inside `work` has dropped, and so rolled back, its transaction.
                let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                work(&mut open, &host)
            })
            .await
    }

    /// Brings the tables of a component to the version this crate knows.
    pub(crate) async fn migrate(&self, schema: Schema) -> Result<()> {
        self.on_open(move |open, host| {
            open.check_file(schema)?;
            migrate(open, host, schema)
        })
        .await
    }

    /// The mark the file got when its first tables were made.
    pub(crate) async fn generation(&self, schema: Schema) -> Result<String> {
        self.run(schema, |connection, _| generation(connection).map_err(|error| failure("could not ask for the generation", error)))
            .await?
            .ok_or_else(|| Error::config("the file has no generation; call migrate() once before using it"))
    }

    /// Lets SQLite check the whole file; answers what it found.
    pub(crate) async fn integrity(&self) -> Result<Vec<String>> {
        self.on_open(|open, _| {
            let connection = &open.connection;
            let find = |connection: &Connection| -> rusqlite::Result<Vec<String>> {
                connection.prepare("PRAGMA integrity_check")?.query_map([], |row| row.get(0))?.collect()
            };
            let mut found = find(connection).map_err(|error| failure("could not check the database", error))?;
            found.retain(|line| line != "ok");
            Ok(found)
        })
        .await
    }
}

impl Open {
    /// Refuses a file that is not the one that was opened: what is written into it now is gone with it.
    fn check_file(&self, schema: Schema) -> Result<()> {
        if self.file.is_none() || self.file == file_at(&self.path) {
            return Ok(());
        }
        let (component, path) = (schema.component, self.path.display());
        let message = format!(
            "the {component} was lost: the file {path} was deleted, moved or replaced while it was open; put it back and open it again, or \
             start over knowingly with a new file"
        );
        Err(Error::new(schema.kind, message).retrying(Retry::Never))
    }

    fn shorten_log(&self) {
        let long = |log: &PathBuf| std::fs::metadata(log).is_ok_and(|found| found.len() > LOG);
        if self.log.as_ref().is_some_and(long) {
            // If it fails now, the next call tries again; a disk that fails is told by the call's own commit.
            let _ = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        }
    }

    /// Refuses tables that are missing, of another version or of another generation; these are looked at once.
    fn check(&mut self, schema: Schema) -> Result<()> {
        self.check_file(schema)?;
        if self.known.contains(&schema.component) {
            return Ok(());
        }
        let what = format!("could not use the tables of the {}", schema.component);
        match version(&self.connection, schema).map_err(|error| failure_of(schema.kind, &what, error))? {
            None => return Err(Error::config(format!("{what}: its tables are missing; call migrate() once before using it"))),
            Some(found) if found != schema.steps.len() => return Err(other_version(&what, found, schema)),
            Some(_) => {}
        }
        if self.generation.is_some() {
            let found = generation(&self.connection).map_err(|error| failure_of(schema.kind, &what, error))?;
            self.expect(found.as_deref(), schema)?;
        }
        self.known.push(schema.component);
        Ok(())
    }

    fn expect(&self, found: Option<&str>, schema: Schema) -> Result<()> {
        match &self.generation {
            Some(wanted) if Some(wanted.as_str()) != found => {
                let (component, path, found) = (schema.component, self.path.display(), found.unwrap_or("none"));
                let message = format!(
                    "the {component} was replaced: it had generation {wanted}, the file {path} has {found}, so what was stored is gone; \
                     restore the backup, or start over knowingly with a new file"
                );
                Err(Error::new(schema.kind, message).retrying(Retry::Never))
            }
            _ => Ok(()),
        }
    }
}

/// Which file is at a path; `None` where the system does not tell, or there is none.
#[cfg(unix)]
fn file_at(path: &Path) -> Option<(u64, u64)> {
    let found = std::fs::metadata(path).ok()?;
    Some((std::os::unix::fs::MetadataExt::dev(&found), std::os::unix::fs::MetadataExt::ino(&found)))
}

/// Which file is at a path; `None` where the system does not tell, or there is none.
#[cfg(not(unix))]
fn file_at(_: &Path) -> Option<(u64, u64)> {
    None
}

fn other_version(what: &str, found: usize, schema: Schema) -> Error {
    let known = schema.steps.len();
    let remedy = if found > known { "use a newer version of the library" } else { "call migrate() once" };
    Error::config(format!("{what}: they have version {found}, this library knows {known}; {remedy}"))
}

fn version(connection: &Connection, schema: Schema) -> rusqlite::Result<Option<usize>> {
    let found: Option<i64> = connection
        .query_row("SELECT version FROM crm_sync_schema WHERE component = ?1", [schema.component], |row| row.get(0))
        .optional()?;
    Ok(found.map(|version| usize::try_from(version).unwrap_or(0)))
}

fn generation(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT generation FROM crm_sync_generation WHERE id = 1", [], |row| row.get(0)).optional()
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("path", &self.path).field("synchronous", &self.synchronous).finish_non_exhaustive()
    }
}

/// The error of a failed call. `what` says what was attempted and where.
pub(crate) fn failure(what: &str, error: rusqlite::Error) -> Error {
    failure_of(ErrorKind::Store, what, error)
}

/// As [`failure`], of the kind that a failing component has.
pub(crate) fn failure_of(kind: ErrorKind, what: &str, error: rusqlite::Error) -> Error {
    let code = error.sqlite_error_code();
    let said = error.to_string();
    let failed = if said.contains("no such table") {
        Error::config(format!("{what}: its tables are missing; call migrate() once before using it"))
    } else {
        let (why, retry) = match code {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                ("another connection kept it locked for longer than the busy timeout", Retry::Backoff)
            }
            Some(ErrorCode::DatabaseCorrupt) => ("the database file is damaged; restore it from a backup", Retry::Never),
            Some(ErrorCode::NotADatabase) => ("the file is not a SQLite database", Retry::Never),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => ("the file or its folder may not be written", Retry::Never),
            Some(ErrorCode::CannotOpen) => ("the file cannot be opened; does its folder exist?", Retry::Never),
            Some(ErrorCode::DiskFull) => ("the disk is full", Retry::Backoff),
            Some(ErrorCode::SystemIoFailure) => ("the disk failed", Retry::Backoff),
            _ => ("SQLite refused", Retry::Never),
        };
        Error::new(kind, format!("{what}: {why}")).retrying(retry)
    };
    failed.with_source(error)
}

fn is_memory(path: &Path) -> bool {
    path.as_os_str() == ":memory:" || path.as_os_str().is_empty()
}

/// Makes the file readable by its owner alone, as it may hold tokens; SQLite gives its side files the same mode.
fn create_private(path: &Path) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::store(format!("could not create the database {}; does its folder exist, and may it be written?", path.display()))
                .retrying(Retry::Never)
                .with_source(error))
        }
        _ => Ok(()),
    }
}

/// True if the database is in the mode that is needed.
fn configure(connection: &Connection, in_memory: bool, options: &SqliteOptions) -> rusqlite::Result<bool> {
    connection.busy_timeout(options.busy_timeout)?;
    let synchronous = match options.synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    if options.synchronous == Synchronous::Full {
        // On macOS a plain fsync does not reach the disk; elsewhere this does nothing.
        connection.pragma_update(None, "fullfsync", true)?;
    }
    connection.set_prepared_statement_cache_capacity(64);
    // 16 MiB at most.
    connection.pragma_update(None, "cache_size", -16_384)?;
    if in_memory {
        return Ok(true);
    }
    // See `run_at_leisure`. A log that begins anew is cut, so that its length tells how much is in it.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update_and_check(None, "journal_size_limit", 0, |_| Ok(()))?;
    // Two connections that switch a new file to WAL at once can be refused without waiting. An empty write transaction waits
    // for the other one by the busy timeout.
    let mut attempts = 0;
    loop {
        attempts += 1;
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0)) {
            Ok(mode) => return Ok(mode.eq_ignore_ascii_case("wal")),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && attempts < 20 => {
                connection.execute_batch("BEGIN IMMEDIATE; COMMIT")?;
            }
            Err(error) => return Err(error),
        }
    }
}

fn migrate(open: &mut Open, host: &Host, schema: Schema) -> Result<()> {
    let what = format!("could not migrate the tables of the {}", schema.component);
    let wrap = |error| failure(&what, error);
    // Dropped without a commit, it leaves the file as it was.
    let transaction = Transaction::new_unchecked(&open.connection, TransactionBehavior::Immediate).map_err(wrap)?;
    transaction.execute_batch(VERSIONS).map_err(wrap)?;
    let done = version(&transaction, schema).map_err(wrap)?.unwrap_or(0);
    if done > schema.steps.len() {
        return Err(other_version(&what, done, schema));
    }
    let marked = generation(&transaction).map_err(wrap)?;
    open.expect(marked.as_deref(), schema)?;
    if marked.is_none() {
        transaction.execute("INSERT INTO crm_sync_generation (id, generation) VALUES (1, ?1)", [host.new_id()]).map_err(wrap)?;
    }
    for step in schema.steps.iter().skip(done) {
        transaction.execute_batch(step).map_err(wrap)?;
    }
    if done < schema.steps.len() {
        let version = i64::try_from(schema.steps.len()).unwrap_or(i64::MAX);
        transaction
            .execute("INSERT OR REPLACE INTO crm_sync_schema (component, version) VALUES (?1, ?2)", (schema.component, version))
            .map_err(wrap)?;
    }
    transaction.commit().map_err(wrap)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const ONE: Schema = Schema { component: "test", kind: ErrorKind::Store, steps: &["CREATE TABLE a (x INTEGER)"] };
    const TWO: Schema =
        Schema { component: "test", kind: ErrorKind::Store, steps: &["CREATE TABLE a (x INTEGER)", "ALTER TABLE a ADD COLUMN y INTEGER"] };

    fn migrated(database: &Database, schema: Schema) -> Result<()> {
        database.migrate(schema).now_or_never().unwrap()
    }

    #[test]
    fn steps_are_done_once_and_a_newer_schema_is_refused() {
        let database = Database::open(Path::new(":memory:"), Host::manual(1), &SqliteOptions::default()).unwrap();
        migrated(&database, ONE).unwrap();
        migrated(&database, ONE).unwrap();
        migrated(&database, TWO).unwrap();
        migrated(&database, TWO).unwrap();
        let inserted = database
            .run(TWO, |connection, _| connection.execute("INSERT INTO a (x, y) VALUES (1, 2)", []).map_err(|e| failure("insert", e)));
        assert_eq!(inserted.now_or_never().unwrap().unwrap(), 1);
        let error = migrated(&database, ONE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("version 2"), "{error}");
    }

    #[test]
    fn a_failed_step_leaves_nothing_behind() {
        const BROKEN: Schema =
            Schema { component: "test", kind: ErrorKind::Store, steps: &["CREATE TABLE a (x INTEGER); CREATE TABLE a (x INTEGER)"] };
        let database = Database::open(Path::new(":memory:"), Host::manual(1), &SqliteOptions::default()).unwrap();
        assert_eq!(migrated(&database, BROKEN).unwrap_err().kind(), ErrorKind::Store);
        migrated(&database, ONE).unwrap();
    }

    #[test]
    fn what_is_no_database_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "These are my notes. ".repeat(100)).unwrap();
        let error = Database::open(&path, Host::manual(1), &SqliteOptions::default()).unwrap_err();
        assert!(error.to_string().contains("not a SQLite database") && !error.is_retryable(), "{error}");
        let error = Database::open(&folder.path().join("no/such/folder.db"), Host::manual(1), &SqliteOptions::default()).unwrap_err();
        assert!(error.to_string().contains("folder") && !error.is_retryable(), "{error}");
    }

    #[test]
    fn tables_of_another_version_are_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Database::open(&folder.path().join("a.db"), Host::manual(1), &SqliteOptions::default()).unwrap();
        migrated(&open(), TWO).unwrap();
        let error = open().run(ONE, |_, _| Ok(())).now_or_never().unwrap().unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains("version 2"), "{error}");
        open().run(TWO, |_, _| Ok(())).now_or_never().unwrap().unwrap();
    }

    #[test]
    fn a_file_is_in_wal_mode_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let database = Database::open(&path, Host::manual(1), &SqliteOptions::default()).unwrap();
        migrated(&database, ONE).unwrap();
        let asked = database.run(ONE, |connection, _| {
            let text = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, String>(0));
            let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            Ok((text("journal_mode").unwrap(), number("synchronous").unwrap(), number("busy_timeout").unwrap()))
        });
        assert_eq!(asked.now_or_never().unwrap().unwrap(), ("wal".to_owned(), 2, 10_000));
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
            assert_eq!(mode & 0o077, 0, "{mode:o}");
        }
    }
}
