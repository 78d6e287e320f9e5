//! Callers in a line for borrowed calls: the most urgent first, then who came first.

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;
use std::time::Duration;

/// A place: rank of the priority, then number of arrival.
pub(super) type Place = (u8, u64);

/// What a caller has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Borrow so many calls for all; nobody else does meanwhile.
    Borrow(u32),
    /// Go: the call is paid.
    Go,
    /// Sleep so long and ask again.
    Sleep(Duration),
    /// Wait until woken.
    Wait,
}

/// The line of one process.
#[derive(Debug)]
pub(super) struct Line {
    waiting: BTreeMap<Place, Option<Waker>>,
    arrivals: u64,
    /// Monotonic marks of borrowed calls, in order.
    calls: VecDeque<Duration>,
    borrowing: bool,
    /// How many calls are borrowed at least: doubled while all are used, halved when one is lost.
    ahead: u32,
    lost: bool,
}

impl Line {
    pub(super) fn new() -> Self {
        Self { waiting: BTreeMap::new(), arrivals: 0, calls: VecDeque::new(), borrowing: false, ahead: 1, lost: false }
    }

    pub(super) fn enter(&mut self, rank: u8) -> Place {
        self.arrivals += 1;
        self.waiting.insert((rank, self.arrivals), None);
        (rank, self.arrivals)
    }

    pub(super) fn leave(&mut self, place: Place) {
        self.waiting.remove(&place);
        self.wake();
    }

    /// What the caller at `place` does at the mark `now`; a call is good for `valid` and at most `block` are borrowed.
    pub(super) fn next(&mut self, place: Place, now: Duration, valid: Duration, block: u32) -> Next {
        while self.calls.front().is_some_and(|at| at.saturating_add(valid) < now) {
            self.calls.pop_front();
            self.lost = true;
        }
        if !self.is_turn(place) {
            return Next::Wait;
        }
        let waiting = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        let have = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
        match self.calls.front() {
            Some(at) if *at <= now => {
                self.calls.pop_front();
                return Next::Go;
            }
            // While there is time more is borrowed, so that the sequence has no hole.
            Some(at) if have > 2 || have >= waiting => return Next::Sleep(*at - now),
            _ => {}
        }
        self.ahead = if std::mem::take(&mut self.lost) { (self.ahead / 2).max(1) } else { self.ahead.saturating_mul(2).min(block) };
        self.borrowing = true;
        Next::Borrow(waiting.saturating_sub(have).max(self.ahead).clamp(1, block))
    }

    /// True if the caller at `place` should ask again.
    pub(super) fn is_turn(&self, place: Place) -> bool {
        !self.borrowing && self.waiting.first_key_value().is_some_and(|(first, _)| *first == place)
    }

    pub(super) fn listen(&mut self, place: Place, waker: &Waker) {
        if let Some(slot) = self.waiting.get_mut(&place) {
            *slot = Some(waker.clone());
        }
    }

    pub(super) fn borrowed(&mut self, marks: impl IntoIterator<Item = Duration>) {
        self.calls.extend(marks);
    }

    pub(super) fn end_borrowing(&mut self) {
        self.borrowing = false;
        self.wake();
    }

    /// Everything borrowed is for a time that has not come any more: the CRM asked for a pause.
    pub(super) fn forget(&mut self) {
        self.calls.clear();
    }

    fn wake(&mut self) {
        if let Some(mut first) = self.waiting.first_entry()
            && let Some(waker) = first.get_mut().take()
        {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: Duration = Duration::from_millis(20);

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_urgent_pass_and_one_borrows_for_all() {
        let mut line = Line::new();
        let (slow, other, urgent) = (line.enter(3), line.enter(3), line.enter(0));
        assert_eq!(line.next(slow, at(0), VALID, 20), Next::Wait);
        assert_eq!(line.next(urgent, at(0), VALID, 20), Next::Borrow(3));
        assert_eq!(line.next(urgent, at(0), VALID, 20), Next::Wait);
        line.borrowed([at(0), at(10), at(20)]);
        line.end_borrowing();
        assert_eq!(line.next(urgent, at(0), VALID, 20), Next::Go);
        line.leave(urgent);
        assert_eq!(line.next(other, at(0), VALID, 20), Next::Wait);
        assert_eq!(line.next(slow, at(4), VALID, 20), Next::Sleep(at(6)));
        assert_eq!(line.next(slow, at(10), VALID, 20), Next::Go);
        line.leave(slow);
        // Too late: the call is lost, and fewer are borrowed.
        assert_eq!(line.next(other, at(41), VALID, 20), Next::Borrow(1));
    }

    #[test]
    fn a_steady_caller_borrows_more_and_more_ahead() {
        let mut line = Line::new();
        let mut asked = Vec::new();
        for _ in 0..40 {
            let place = line.enter(1);
            if let Next::Borrow(calls) = line.next(place, at(0), VALID, 8) {
                asked.push(calls);
                line.borrowed((0..calls).map(|_| at(0)));
                line.end_borrowing();
                assert_eq!(line.next(place, at(0), VALID, 8), Next::Go);
            }
            line.leave(place);
        }
        assert_eq!(asked, [2, 4, 8, 8, 8, 8, 8]);
    }

    #[test]
    fn who_leaves_lets_the_next_one_pass() {
        let mut line = Line::new();
        let (first, second) = (line.enter(1), line.enter(1));
        assert!(line.is_turn(first) && !line.is_turn(second));
        line.leave(first);
        assert!(line.is_turn(second));
    }
}
