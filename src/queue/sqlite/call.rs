//! What one call keeps in memory until it is written at its end: numbers, alarms, names of groups.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, params};

use crate::queue::sqlite::rows::{Head, READY, STOPPED, WAITING, join};

/// Lanes of one alarm.
const CHUNK: usize = 1_000;
/// Lanes that are woken in one call, about. The rest of a flood follows with the next calls.
const WOKEN: usize = 10_000;

const PLACE: &str = "UPDATE crm_sync_queue_jobs SET state = ?2, more = ?3, fence = ?4, expires = ?5, alarm = ?6, ready_at = ?7, \
    deliveries = ?8, attempts = ?9, leased = ?10 WHERE id = ?1";

/// One call within an open transaction. [`Call::finish`] writes what it has gathered.
///
/// Lanes that wait for a time are written in lists: an alarm says which lanes are to be looked at then. So a call that leases
/// hundreds of lanes writes one row for all of them, and the call that settles them drops it. An alarm is a hint; what counts
/// is the row of the lane, which names the alarm it waits for.
pub(super) struct Call<'c> {
    pub(super) connection: &'c Connection,
    pub(super) now: i64,
    last_id: i64,
    last_number: i64,
    numbers: (i64, i64),
    /// By the time at which they ring: their numbers and lanes.
    alarms: BTreeMap<i64, Vec<(i64, Vec<i64>)>>,
    /// How many lanes no longer wait for an alarm.
    left: HashMap<(i64, i64), i64>,
    group_ids: HashMap<(String, String), i64>,
    groups: HashMap<i64, (String, String)>,
    freezes: Option<bool>,
}

impl<'c> Call<'c> {
    pub(super) fn begin(connection: &'c Connection, now: i64) -> rusqlite::Result<Self> {
        let sql = "SELECT last_id, last_fence FROM crm_sync_queue_counters WHERE id = 1";
        let numbers: (i64, i64) = connection.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self {
            connection,
            now,
            last_id: numbers.0,
            last_number: numbers.1,
            numbers,
            alarms: BTreeMap::new(),
            left: HashMap::new(),
            group_ids: HashMap::new(),
            groups: HashMap::new(),
            freezes: None,
        })
    }

    pub(super) fn finish(self) -> rusqlite::Result<()> {
        {
            let sql = "INSERT INTO crm_sync_queue_alarms (at, number, pending, heads) VALUES (?1, ?2, ?3, ?4)";
            let mut add = self.connection.prepare_cached(sql)?;
            for (at, (number, heads)) in self.alarms.iter().flat_map(|(at, lists)| lists.iter().map(move |list| (at, list))) {
                add.execute(params![at, number, i64::try_from(heads.len()).unwrap_or(i64::MAX), join(heads)])?;
            }
        }
        for ((at, number), left) in &self.left {
            let sql = "DELETE FROM crm_sync_queue_alarms WHERE at = ?1 AND number = ?2 AND pending <= ?3";
            if self.connection.prepare_cached(sql)?.execute(params![at, number, left])? == 0 {
                let sql = "UPDATE crm_sync_queue_alarms SET pending = pending - ?3 WHERE at = ?1 AND number = ?2";
                self.connection.prepare_cached(sql)?.execute(params![at, number, left])?;
            }
        }
        if self.numbers != (self.last_id, self.last_number) {
            let sql = "UPDATE crm_sync_queue_counters SET last_id = ?1, last_fence = ?2 WHERE id = 1";
            self.connection.prepare_cached(sql)?.execute([self.last_id, self.last_number])?;
        }
        Ok(())
    }

    /// The id of a new entry.
    pub(super) fn next_id(&mut self) -> i64 {
        self.last_id += 1;
        self.last_id
    }

    /// The newest fence.
    pub(super) fn last_number(&self) -> i64 {
        self.last_number
    }

    /// A new fence.
    pub(super) fn next_number(&mut self) -> i64 {
        self.last_number += 1;
        self.last_number
    }

    /// Lets the lane of `head` be looked at then; the number of the alarm.
    pub(super) fn wait(&mut self, at: i64, head: i64) -> i64 {
        let full = self.alarms.get(&at).and_then(|lists| lists.last()).is_none_or(|(_, heads)| heads.len() >= CHUNK);
        let number = if full { self.next_number() } else { 0 };
        let lists = self.alarms.entry(at).or_default();
        if full {
            lists.push((number, Vec::new()));
        }
        lists.last_mut().map_or(number, |(number, heads)| {
            heads.push(head);
            *number
        })
    }

    /// The lane no longer waits for the end of its lease.
    pub(super) fn stop_waiting(&mut self, head: &Head) {
        if head.state == WAITING {
            *self.left.entry((head.expires, head.alarm)).or_default() += 1;
        }
    }

    /// Wakes the lanes whose time has come.
    pub(super) fn wake(&mut self) -> rusqlite::Result<()> {
        let mut woken = 0;
        let mut due = self.connection.prepare_cached("SELECT at, number, heads FROM crm_sync_queue_alarms WHERE at <= ?1 LIMIT 1")?;
        let mut wake =
            self.connection.prepare_cached("UPDATE crm_sync_queue_jobs SET state = 0 WHERE id = ?1 AND state = 1 AND alarm = ?2")?;
        let mut remove = self.connection.prepare_cached("DELETE FROM crm_sync_queue_alarms WHERE at = ?1 AND number = ?2")?;
        while woken < WOKEN {
            let found: Option<(i64, i64, String)> =
                due.query_row([self.now], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
            let Some((at, number, heads)) = found else { break };
            for head in heads.split(',').filter_map(|id| id.parse::<i64>().ok()) {
                wake.execute([head, number])?;
                woken += 1;
            }
            remove.execute([at, number])?;
        }
        Ok(())
    }

    /// The number of a scope and a kind; made if it is new.
    pub(super) fn group_of(&mut self, scope: &str, kind: &str) -> rusqlite::Result<i64> {
        let key = (scope.to_owned(), kind.to_owned());
        if let Some(id) = self.group_ids.get(&key) {
            return Ok(*id);
        }
        let found: Option<i64> = self
            .connection
            .prepare_cached("SELECT id FROM crm_sync_queue_groups WHERE scope = ?1 AND kind = ?2")?
            .query_row([scope, kind], |row| row.get(0))
            .optional()?;
        let id = match found {
            Some(id) => id,
            None => {
                let sql = "INSERT INTO crm_sync_queue_groups (scope, kind) VALUES (?1, ?2)";
                self.connection.prepare_cached(sql)?.insert([scope, kind])?
            }
        };
        self.group_ids.insert(key, id);
        Ok(id)
    }

    /// The scope and the kind of a number.
    pub(super) fn group(&mut self, id: i64) -> rusqlite::Result<&(String, String)> {
        let connection = self.connection;
        Ok(match self.groups.entry(id) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(unknown) => unknown.insert(
                connection
                    .prepare_cached("SELECT scope, kind FROM crm_sync_queue_groups WHERE id = ?1")?
                    .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?,
            ),
        })
    }

    /// Whether a dead letter freezes the lane. Most queues have none, which is asked once.
    pub(super) fn is_frozen(&mut self, lane: &str) -> rusqlite::Result<bool> {
        let freezes = match self.freezes {
            Some(known) => known,
            None => self
                .connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM crm_sync_queue_parked WHERE froze = 1)")?
                .query_row([], |row| row.get(0))?,
        };
        self.freezes = Some(freezes);
        if !freezes {
            return Ok(false);
        }
        self.connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM crm_sync_queue_parked WHERE froze = 1 AND lane = ?1)")?
            .query_row([lane], |row| row.get(0))
    }

    /// Dead letters that freeze have come or gone.
    pub(super) fn froze(&mut self) {
        self.freezes = None;
    }

    /// Where a lane with this head stands, and the alarm it waits for.
    pub(super) fn state(&mut self, lane: &str, head: i64, free_at: i64) -> rusqlite::Result<(i64, i64)> {
        Ok(if self.is_frozen(lane)? {
            (STOPPED, self.last_number)
        } else if free_at > self.now {
            (WAITING, self.wait(free_at, head))
        } else {
            (READY, self.last_number)
        })
    }

    /// Finds out where a lane stands and writes its head.
    pub(super) fn place(&mut self, lane: &str, head: &mut Head) -> rusqlite::Result<()> {
        (head.state, head.alarm) = self.state(lane, head.id, head.free_at())?;
        self.connection.prepare_cached(PLACE)?.execute(params![
            head.id,
            head.state,
            head.more,
            head.fence,
            head.expires,
            head.alarm,
            head.ready_at,
            head.deliveries,
            head.attempts,
            head.leased.column(head.id)
        ])?;
        Ok(())
    }
}
