//! How leases end, and how they are extended.

use rusqlite::{CachedStatement, Connection};

use crate::queue::lease::{LeaseToken, MAX_TTL};
use crate::queue::settle::{Settle, Settled, Then};
use crate::queue::sqlite::call::Call;
use crate::queue::sqlite::parking::park;
use crate::queue::sqlite::rows::{FIND, Head, micros, signed};

const DELETE: &str = "DELETE FROM crm_sync_queue_jobs WHERE id = ?1";

struct Statements<'c> {
    find: CachedStatement<'c>,
    delete: CachedStatement<'c>,
}

/// The lane, if the token holds it.
fn held(find: &mut CachedStatement<'_>, token: &LeaseToken, lane: &str, now: i64) -> rusqlite::Result<Option<Head>> {
    Ok(Head::find(find, lane)?.filter(|head| head.is_leased(now) && head.fence == signed(token.fence)))
}

/// Settles leases within an open transaction; the outcomes in order.
pub(super) fn settle(connection: &Connection, outcomes: &[Settle], now: i64) -> rusqlite::Result<Vec<Settled>> {
    // A store without a queue in its file commits nothing but rows of its own.
    if outcomes.is_empty() {
        return Ok(Vec::new());
    }
    let mut call = Call::begin(connection, now)?;
    let mut statements = Statements { find: connection.prepare_cached(FIND)?, delete: connection.prepare_cached(DELETE)? };
    let settled = outcomes.iter().map(|outcome| one(&mut call, &mut statements, outcome)).collect::<rusqlite::Result<_>>()?;
    call.finish()?;
    Ok(settled)
}

fn one(call: &mut Call<'_>, statements: &mut Statements<'_>, outcome: &Settle) -> rusqlite::Result<Settled> {
    let lane = outcome.token.lane.encode();
    let Some(mut head) = held(&mut statements.find, &outcome.token, &lane, call.now)? else { return Ok(Settled::LeaseLost) };
    call.stop_waiting(&head);
    let leased = std::mem::take(&mut head.leased.0);
    let (finished, rest) = leased.split_at_checked(outcome.done).unwrap_or((&leased, &[]));
    for id in finished {
        statements.delete.execute([id])?;
    }
    let mut gone = finished.contains(&head.id);
    let mut attempts = if gone { 0 } else { head.attempts };
    let mut ready_at = 0;
    match &outcome.then {
        Then::Defer { wait } => ready_at = call.now.saturating_add(micros(*wait)),
        Then::Retry { wait } if !rest.is_empty() => {
            ready_at = call.now.saturating_add(micros(*wait));
            attempts = attempts.saturating_add(1);
        }
        Then::Park { entries, cause, freeze } if !rest.is_empty() => {
            // The oldest entry that is left is the head.
            let first = if gone { rest.first().copied().unwrap_or(0) } else { head.id };
            for id in rest.iter().take((*entries).max(1)) {
                let of_head = *id == first;
                park(call, &outcome.token.lane, *id, cause, if of_head { attempts } else { 0 }, *freeze)?;
                if of_head {
                    attempts = 0;
                }
                gone |= *id == head.id;
            }
        }
        _ => {}
    }
    if gone {
        if !head.more {
            return Ok(Settled::Applied);
        }
        let Some(next) = Head::find(&mut statements.find, &lane)? else { return Ok(Settled::Applied) };
        // Whether there are more behind it is found when it is handed out.
        head = Head { more: true, leased: head.leased, fence: head.fence, ..next };
    }
    (head.deliveries, head.attempts, head.ready_at) = (0, attempts, ready_at);
    call.place(&lane, &mut head)?;
    Ok(Settled::Applied)
}

/// Extends leases within an open transaction; those that were not out any more.
pub(super) fn extend(
    connection: &Connection,
    leases: &[LeaseToken],
    ttl: std::time::Duration,
    now: i64,
) -> rusqlite::Result<Vec<LeaseToken>> {
    let mut call = Call::begin(connection, now)?;
    let mut find = connection.prepare_cached(FIND)?;
    let expires = now.saturating_add(micros(ttl.min(MAX_TTL)));
    let mut lost = Vec::new();
    for token in leases {
        let lane = token.lane.encode();
        let Some(mut head) = held(&mut find, token, &lane, now)? else {
            lost.push(token.clone());
            continue;
        };
        call.stop_waiting(&head);
        head.expires = expires;
        call.place(&lane, &mut head)?;
    }
    call.finish()?;
    Ok(lost)
}
