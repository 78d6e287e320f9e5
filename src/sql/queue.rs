//! The tables of the queue.

use crate::sql::schema::Schema;

/// A lane is `ready` (state 0), free from `free_at` on (1), or stopped (2: frozen, or only kept because it is). What stands in
/// `scope`, `kind`, `priority` and `head` is of its oldest entry. Both indexes are partial: a claim reads as many rows as it
/// hands out, however many lanes wait.
pub(crate) const QUEUE: Schema = Schema {
    component: "queue",
    steps: &["
        CREATE TABLE crm_sync_queue_lanes (
            lane       TEXT    NOT NULL PRIMARY KEY,
            scope      TEXT    NOT NULL,
            kind       TEXT    NOT NULL,
            priority   INTEGER NOT NULL,
            head       INTEGER NOT NULL,
            state      INTEGER NOT NULL,
            free_at    INTEGER NOT NULL,
            ready_at   INTEGER NOT NULL,
            fence      INTEGER NOT NULL,
            expires    INTEGER NOT NULL,
            leased     TEXT    NOT NULL,
            deliveries INTEGER NOT NULL,
            attempts   INTEGER NOT NULL,
            frozen     INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX crm_sync_queue_ready ON crm_sync_queue_lanes (scope, kind, priority, head) WHERE state = 0;
        CREATE INDEX crm_sync_queue_later ON crm_sync_queue_lanes (free_at) WHERE state = 1;
        CREATE TABLE crm_sync_queue_entries (
            lane        TEXT    NOT NULL,
            id          INTEGER NOT NULL,
            op          TEXT    NOT NULL,
            kind        TEXT    NOT NULL,
            priority    INTEGER NOT NULL,
            scope       TEXT    NOT NULL,
            not_before  INTEGER NOT NULL,
            mapping     TEXT    NOT NULL,
            coalesce    TEXT,
            enqueued_at INTEGER NOT NULL,
            payload     BLOB    NOT NULL,
            PRIMARY KEY (lane, id)
        ) WITHOUT ROWID;
        CREATE TABLE crm_sync_queue_parked (
            id          INTEGER NOT NULL PRIMARY KEY,
            lane        TEXT    NOT NULL,
            connection  TEXT    NOT NULL,
            entity      TEXT    NOT NULL,
            record      TEXT    NOT NULL,
            cause_group TEXT    NOT NULL,
            cause       TEXT    NOT NULL,
            attempts    INTEGER NOT NULL,
            at          INTEGER NOT NULL,
            froze       INTEGER NOT NULL,
            op          TEXT    NOT NULL,
            kind        TEXT    NOT NULL,
            priority    INTEGER NOT NULL,
            scope       TEXT    NOT NULL,
            not_before  INTEGER NOT NULL,
            mapping     TEXT    NOT NULL,
            coalesce    TEXT,
            enqueued_at INTEGER NOT NULL,
            payload     BLOB    NOT NULL
        );
        CREATE INDEX crm_sync_queue_causes ON crm_sync_queue_parked (cause_group, id);
        CREATE TABLE crm_sync_queue_ops (op TEXT NOT NULL PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE crm_sync_queue_counters (
            id         INTEGER PRIMARY KEY CHECK (id = 1),
            last_id    INTEGER NOT NULL,
            last_fence INTEGER NOT NULL,
            sweep_at   INTEGER NOT NULL,
            sweep_from TEXT
        );
        INSERT INTO crm_sync_queue_counters (id, last_id, last_fence, sweep_at) VALUES (1, 0, 0, 0);
    "],
};
