//! The tables of the queue.

use crate::error::ErrorKind;
use crate::sql::schema::Schema;

/// The tables of version 2, on which the queue works:
///
/// * `jobs`: an entry a row, in the order of the ids, so that rows are added at one end and mostly removed at the other. The row
///   of the oldest entry of a lane is the lane as well: `state` is ready (0), waiting for an alarm (1) or stopped (2, frozen);
///   all others are behind it (3). The index of the ready ones is what a claim reads: as many rows as it hands out, however many
///   lanes wait.
/// * `alarms`: which lanes are to be looked at when; see the queue's calls.
/// * `groups`: numbers for pairs of scope and kind, so that the index is short. A pair stays for ever.
pub(crate) const QUEUE: Schema = Schema {
    component: "queue",
    kind: ErrorKind::Queue,
    steps: &[
        "
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
    ",
        "
        CREATE TABLE crm_sync_queue_groups (
            id    INTEGER PRIMARY KEY,
            scope TEXT NOT NULL,
            kind  TEXT NOT NULL,
            UNIQUE (scope, kind)
        );
        CREATE TABLE crm_sync_queue_jobs (
            id          INTEGER PRIMARY KEY,
            lane        TEXT    NOT NULL,
            grp         INTEGER NOT NULL,
            priority    INTEGER NOT NULL,
            state       INTEGER NOT NULL,
            more        INTEGER NOT NULL,
            fence       INTEGER NOT NULL,
            expires     INTEGER NOT NULL,
            alarm       INTEGER NOT NULL,
            ready_at    INTEGER NOT NULL,
            deliveries  INTEGER NOT NULL,
            attempts    INTEGER NOT NULL,
            leased      NOT NULL,
            not_before  INTEGER NOT NULL,
            enqueued_at INTEGER NOT NULL,
            op          TEXT    NOT NULL,
            mapping     TEXT    NOT NULL,
            coalesce    TEXT,
            payload     BLOB    NOT NULL
        );
        CREATE TABLE crm_sync_queue_alarms (
            at      INTEGER NOT NULL,
            number  INTEGER NOT NULL,
            pending INTEGER NOT NULL,
            heads   TEXT    NOT NULL,
            PRIMARY KEY (at, number)
        ) WITHOUT ROWID;
        INSERT INTO crm_sync_queue_groups (scope, kind) SELECT DISTINCT scope, kind FROM crm_sync_queue_entries;
        INSERT INTO crm_sync_queue_jobs
            SELECT entry.id, entry.lane, names.id, entry.priority, CASE WHEN lane.head = entry.id THEN lane.state ELSE 3 END,
                lane.head = entry.id, lane.fence, max(lane.expires, 0), -entry.id,
                CASE WHEN lane.head = entry.id THEN max(lane.ready_at, 0) ELSE 0 END,
                CASE WHEN lane.head = entry.id THEN lane.deliveries ELSE 0 END,
                CASE WHEN lane.head = entry.id THEN lane.attempts ELSE 0 END,
                CASE WHEN lane.head = entry.id AND lane.leased <> '' THEN lane.leased ELSE -entry.id END,
                max(entry.not_before, 0), entry.enqueued_at, entry.op, entry.mapping, entry.coalesce, entry.payload
            FROM crm_sync_queue_entries AS entry JOIN crm_sync_queue_lanes AS lane ON lane.lane = entry.lane
            JOIN crm_sync_queue_groups AS names ON names.scope = entry.scope AND names.kind = entry.kind ORDER BY entry.id;
        INSERT INTO crm_sync_queue_alarms
            SELECT free_at, -head, 1, CAST(head AS TEXT) FROM crm_sync_queue_lanes WHERE state = 1 AND head > 0;
        DROP TABLE crm_sync_queue_lanes;
        DROP TABLE crm_sync_queue_entries;
        CREATE INDEX crm_sync_queue_jobs_lane ON crm_sync_queue_jobs (lane);
        CREATE INDEX crm_sync_queue_jobs_ready ON crm_sync_queue_jobs (grp, priority) WHERE state = 0;
        CREATE INDEX crm_sync_queue_parked_froze ON crm_sync_queue_parked (lane) WHERE froze = 1;
    ",
    ],
};
