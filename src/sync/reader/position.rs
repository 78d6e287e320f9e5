//! Where a reader stands. Pure.
//!
//! Rows are read in rounds. A round begins at the watermark and ends when nothing more is there; only then the watermark moves.
//! It moves to a time before which every row was visible when the round began: the CRM's time at that moment less the settle
//! time. The CRM's clock is known by the newest stamp it gave and by how long ago the host heard it, so that a clock behind or
//! ahead of the host's does no harm; and the watermark never passes that newest stamp, so that a jump of the host's clock cannot
//! carry it over rows that are not written yet.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::{Change, ChangeKind};
use crate::query::Cursor;

/// Changes remembered to tell repeats; beyond that many, rows of the open window come again.
const REMEMBERED: usize = 5_000;
/// A stamp so far ahead of the host's clock is no evidence of the CRM's time.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// Where a round goes on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// At the watermark.
    #[default]
    Start,
    /// Behind a page of the adapter's feed.
    Feed(Cursor),
    /// Behind the row `id` of the instant `at`; `tie` while more rows of that instant may follow.
    Keyset { at: Timestamp, id: String, tie: bool },
}

/// A round under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Round {
    /// When it began, by the host's clock.
    pub(super) begun: Timestamp,
    /// From when on it reads, by the CRM's clock; `None` from the first row.
    pub(super) since: Option<Timestamp>,
    /// Deletions too.
    pub(super) deletes: bool,
    #[serde(default)]
    pub(super) place: Place,
}

/// The last told state of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Told(i64, String);

/// Where in a log the reader stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Joined {
    /// The log's own mark.
    pub(super) place: String,
    /// When the mark was taken, by the host's clock.
    pub(super) taken: Timestamp,
    /// A whole round has begun long enough after that: the log alone tells everything from here on.
    pub(super) whole: bool,
}

/// The stored form of a cursor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Position {
    /// Every row before it has been told.
    pub(super) watermark: Option<Timestamp>,
    /// The newest stamp seen.
    pub(super) newest: Option<Timestamp>,
    /// When it was heard, by the host's clock.
    pub(super) heard: Option<Timestamp>,
    /// Every deletion before it has been told.
    pub(super) deletes_from: Option<Timestamp>,
    /// When the last round with deletions began, by the host's clock.
    pub(super) deletes_at: Option<Timestamp>,
    /// The last told state of the records of the open window.
    pub(super) told: BTreeMap<String, Told>,
    /// More rows share the newest stamps than are remembered.
    pub(super) crowded: bool,
    pub(super) round: Option<Round>,
    pub(super) log: Option<Joined>,
}

impl Position {
    /// The round to go on with. `deletes_every`: how often deletions are asked for; `None` never. `hole`: this round reads what a log
    /// did not tell, deletions among it.
    pub(super) fn take_round(
        &mut self,
        now: Timestamp,
        deletes_every: Option<SignedDuration>,
        start: Option<Timestamp>,
        hole: bool,
    ) -> Round {
        if let Some(round) = self.round.take() {
            return round;
        }
        let due = |every: SignedDuration| self.deletes_at.is_none_or(|last| now < last || now.duration_since(last) >= every);
        let deletes = hole || deletes_every.is_some_and(due);
        let since = if deletes { self.watermark.min(self.deletes_from.or(self.watermark)) } else { self.watermark };
        Round { begun: now, since: since.max(start), deletes, place: Place::Start }
    }

    /// Drops what was told already, and remembers the rest as told.
    pub(super) fn fresh(&mut self, changes: Vec<Change>, round: &Round, now: Timestamp, settle: SignedDuration) -> Vec<Change> {
        let mut fresh = Vec::with_capacity(changes.len());
        for change in changes {
            let deleted = change.kind == ChangeKind::Deleted;
            if let Some(at) = change.at {
                if at <= now.checked_add(AHEAD).unwrap_or(Timestamp::MAX) && self.newest.is_none_or(|newest| at > newest) {
                    (self.newest, self.heard, self.crowded) = (Some(at), Some(now), false);
                }
                let told_before = if deleted { self.deletes_from } else { self.watermark };
                // A round with deletions begins where the last of its kind did: its other rows below the watermark are old.
                if round.deletes && told_before.is_some_and(|before| at < before) {
                    continue;
                }
            }
            if self.tell(&change) {
                fresh.push(change);
            }
        }
        self.prune(settle);
        fresh
    }

    /// True unless this is the last told state of the record.
    pub(super) fn tell(&mut self, change: &Change) -> bool {
        let told = Told(change.at.map_or(i64::MAX, Timestamp::as_microsecond), print(change));
        if self.told.get(change.id.as_str()) == Some(&told) {
            return false;
        }
        self.told.insert(change.id.as_str().to_owned(), told);
        true
    }

    /// Forgets what lies too far back to come again. Forgetting too much repeats rows and loses none.
    pub(super) fn prune(&mut self, settle: SignedDuration) {
        let Some(newest) = self.newest else { return };
        let mut from = newest.checked_sub(settle.saturating_mul(2)).unwrap_or(Timestamp::MIN);
        for bound in [self.watermark, self.deletes_from].into_iter().flatten() {
            from = from.min(bound);
        }
        let from = from.as_microsecond();
        self.told.retain(|_, told| told.0 >= from);
        if self.told.len() > REMEMBERED {
            self.crowded = true;
            let mut stamps: Vec<i64> = self.told.values().map(|told| told.0).collect();
            let cut = stamps.len() - REMEMBERED;
            let (_, cut, _) = stamps.select_nth_unstable(cut);
            let cut = *cut;
            self.told.retain(|_, told| told.0 >= cut);
            // More rows of one instant than are remembered: any of them may go.
            while self.told.len() > REMEMBERED {
                self.told.pop_first();
            }
        }
    }

    /// Moves the watermark at the end of `round`.
    pub(super) fn end(&mut self, round: &Round, settle: SignedDuration) {
        if let (Some(newest), Some(heard)) = (self.newest, self.heard) {
            let then = newest.saturating_add(round.begun.duration_since(heard)).unwrap_or(newest);
            let settled = then.saturating_sub(settle).unwrap_or(Timestamp::MIN).min(newest);
            // A bulk load within one second would come again for ever. Long after it, its second is over, and is left behind.
            let settled = if self.crowded && round.begun.duration_since(heard) >= settle.saturating_mul(2) {
                newest.saturating_add(SignedDuration::from_secs(1)).unwrap_or(newest)
            } else {
                settled
            };
            if round.deletes {
                self.deletes_from = self.deletes_from.max(Some(settled));
            }
            self.watermark = self.watermark.max(Some(settled));
        }
        if round.deletes {
            self.deletes_at = Some(round.begun);
        }
        self.round = None;
        self.prune(settle);
    }
}

/// A short hash of all that a sink may look at.
fn print(change: &Change) -> String {
    let seen = (&change.kind, &change.version, &change.fields);
    let text = serde_json::to_vec(&seen).unwrap_or_default();
    Sha256::digest(text).iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}
