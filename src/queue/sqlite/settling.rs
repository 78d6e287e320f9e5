//! How leases end, and how they are extended.

use rusqlite::{Connection, params};

use crate::queue::lease::{LeaseToken, MAX_TTL};
use crate::queue::settle::{Settle, Settled, Then};
use crate::queue::sqlite::parking::park;
use crate::queue::sqlite::rows::{LaneRow, micros, signed};

/// The lane, if the token holds it.
fn held(connection: &Connection, token: &LeaseToken, lane: &str, now: i64) -> rusqlite::Result<Option<LaneRow>> {
    Ok(LaneRow::find(connection, lane)?.filter(|row| row.is_leased(now) && row.fence == signed(token.fence)))
}

/// Settles one lease within an open transaction.
pub(super) fn settle(connection: &Connection, outcome: &Settle, now: i64) -> rusqlite::Result<Settled> {
    let lane = outcome.token.lane.encode();
    let Some(mut row) = held(connection, &outcome.token, &lane, now)? else { return Ok(Settled::LeaseLost) };
    let leased = std::mem::take(&mut row.leased);
    let (finished, rest) = leased.split_at_checked(outcome.done).unwrap_or((&leased, &[]));
    {
        let mut delete = connection.prepare_cached("DELETE FROM crm_sync_queue_entries WHERE lane = ?1 AND id = ?2")?;
        for id in finished {
            delete.execute(params![lane, id])?;
        }
    }
    row.deliveries = 0;
    row.ready_at = i64::MIN;
    let head = row.head;
    if finished.contains(&head) {
        row.attempts = 0;
    }
    match &outcome.then {
        Then::Defer { wait } => row.ready_at = now.saturating_add(micros(*wait)),
        Then::Retry { wait } if !rest.is_empty() => {
            row.ready_at = now.saturating_add(micros(*wait));
            row.attempts = row.attempts.saturating_add(1);
        }
        Then::Park { entries, cause, freeze } if !rest.is_empty() => {
            // The oldest entry that is left is the head.
            let first = if finished.contains(&head) { rest.first().copied().unwrap_or(0) } else { head };
            for id in rest.iter().take((*entries).max(1)) {
                let attempts = if *id == first { row.attempts } else { 0 };
                park(connection, &outcome.token.lane, &lane, *id, cause, attempts, *freeze, now)?;
                row.frozen += i64::from(*freeze);
                if *id == first {
                    row.attempts = 0;
                }
            }
        }
        _ => {}
    }
    row.place(connection, &lane, now)?;
    Ok(Settled::Applied)
}

/// Extends one lease within an open transaction; whether it was still out.
pub(super) fn extend(connection: &Connection, token: &LeaseToken, ttl: std::time::Duration, now: i64) -> rusqlite::Result<bool> {
    let lane = token.lane.encode();
    let Some(mut row) = held(connection, token, &lane, now)? else { return Ok(false) };
    row.expires = now.saturating_add(micros(ttl.min(MAX_TTL)));
    row.place(connection, &lane, now)?;
    Ok(true)
}
