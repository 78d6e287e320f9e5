//! Tables, as steps that are only ever added to.
//!
//! The names begin with `crm_sync_`, so that the tables can live in a database of the host's. Times are microseconds since
//! 1970. What the tables hold is private to this crate.

use crate::error::ErrorKind;

/// The tables of one component: step `n` leads from version `n` to version `n + 1`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schema {
    /// The component, as it is called in the table of versions.
    pub(crate) component: &'static str,
    /// What its errors are.
    pub(crate) kind: ErrorKind,
    /// Its steps. A released step never changes.
    pub(crate) steps: &'static [&'static str],
}

/// The tables of the store.
pub(crate) const STORE: Schema = Schema {
    component: "store",
    kind: ErrorKind::Store,
    steps: &["
        CREATE TABLE crm_sync_store (
            family  TEXT    NOT NULL,
            key     TEXT    NOT NULL,
            value   BLOB    NOT NULL,
            version INTEGER NOT NULL,
            expires INTEGER,
            PRIMARY KEY (family, key)
        );
        CREATE INDEX crm_sync_store_expires ON crm_sync_store (expires) WHERE expires IS NOT NULL;
        CREATE TABLE crm_sync_store_version (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL);
        INSERT INTO crm_sync_store_version (id, last) VALUES (1, 0);
    "],
};

/// Which version each component is at, and the mark of the file.
pub(crate) const VERSIONS: &str = "
    CREATE TABLE IF NOT EXISTS crm_sync_schema (component TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS crm_sync_generation (id INTEGER PRIMARY KEY CHECK (id = 1), generation TEXT NOT NULL);
";
