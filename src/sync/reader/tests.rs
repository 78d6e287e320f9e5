use jiff::{SignedDuration, Timestamp};

use crate::model::{Change, ChangeKind, Entity, RecordId};
use crate::sync::reader::MassDelete;
use crate::sync::reader::position::Position;

const SETTLE: SignedDuration = SignedDuration::from_mins(5);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn change(id: &str, second: i64) -> Change {
    let mut change = Change::new(Entity::new("Lead"), RecordId::new(id), ChangeKind::Updated);
    change.at = Some(at(second));
    change
}

fn round(position: &mut Position, now: i64, changes: Vec<Change>) -> usize {
    let round = position.take_round(at(now), None, None, false);
    let told = position.fresh(changes, &round, at(now), SETTLE).len();
    position.end(&round, SETTLE);
    told
}

#[test]
fn the_watermark_stays_a_settle_time_behind_and_never_passes_the_newest_row() {
    let mut position = Position::default();
    assert_eq!(round(&mut position, 10_000, vec![change("a", 10_000)]), 1);
    assert_eq!(position.watermark, Some(at(9_700)));
    // A row that shows up late is told, the one known is not.
    assert_eq!(round(&mut position, 10_010, vec![change("b", 9_800), change("a", 10_000)]), 1);
    assert_eq!(position.watermark, Some(at(9_710)));
    // Hours of rest, or a clock that jumped: not beyond the newest row.
    assert_eq!(round(&mut position, 20_000, vec![change("b", 9_800), change("a", 10_000)]), 0);
    assert_eq!(position.watermark, Some(at(10_000)));
    // A clock set back does not set it back.
    assert_eq!(round(&mut position, 5_000, vec![change("a", 10_000)]), 0);
    assert_eq!(position.watermark, Some(at(10_000)));
}

#[test]
fn a_crm_an_hour_behind_or_ahead_is_read_by_its_own_clock() {
    for skew in [-3_600, 3_600] {
        let mut position = Position::default();
        round(&mut position, 100_000, vec![change("a", 100_000 + skew)]);
        round(&mut position, 100_100, vec![change("a", 100_000 + skew)]);
        assert_eq!(position.watermark, Some(at(100_000 + skew - 200)), "{skew}");
    }
    // A row from the year 2100 proves nothing about the clock.
    let mut position = Position::default();
    round(&mut position, 100_000, vec![change("a", 99_000), change("z", 4_102_444_800)]);
    assert_eq!(position.newest, Some(at(99_000)));
}

#[test]
fn a_state_that_comes_back_within_one_second_is_told_again() {
    let mut position = Position::default();
    let state = |text: &str| {
        let mut change = change("a", 100);
        change.fields.insert("Name", text);
        change
    };
    assert_eq!(round(&mut position, 100, vec![state("A")]), 1);
    assert_eq!(round(&mut position, 101, vec![state("B")]), 1);
    assert_eq!(round(&mut position, 102, vec![state("A")]), 1);
    assert_eq!(round(&mut position, 103, vec![state("A")]), 0);
}

#[test]
fn the_guard_believes_a_few_and_not_most() {
    let guard = MassDelete::default();
    assert!(guard.allows(10, 10) && guard.allows(100, 1_000));
    assert!(!guard.allows(101, 1_000) && !guard.allows(11, 20));
}
