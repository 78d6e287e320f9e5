//! Each two distinct values are compared once: a small cache of what was found.

use super::level::Level;
use super::name::are_nicknames;
use super::records::{Kind, Records};
use super::similarity::{jaro_winkler, within_one_edit, within_two_edits};

/// Jaro-Winkler with its arguments in a fixed order, so that scores do not depend on who comes first.
pub(super) fn alike(a: &str, b: &str) -> f64 {
    if a <= b { jaro_winkler(a, b) } else { jaro_winkler(b, a) }
}

/// How two names go together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Relation(u16);

impl Relation {
    const EQUAL: u16 = 1;
    const SAME: u16 = 2;
    const ONE_EDIT: u16 = 4;
    const KEY_EDIT: u16 = 8;
    const HEAD: u16 = 16;
    const NICKNAME: u16 = 32;
    const INITIAL: u16 = 64;
    const ALIKE_80: u16 = 128;
    const ALIKE_88: u16 = 256;
    const ALIKE_90: u16 = 512;
    const TWO_EDITS: u16 = 1024;
    const PART: u16 = 2048;

    fn has(self, bit: u16) -> bool {
        self.0 & bit != 0
    }

    pub(super) fn is_equal(self) -> bool {
        self.has(Self::EQUAL)
    }

    /// Equal, or equal in the loose spelling.
    pub(super) fn is_same(self) -> bool {
        self.has(Self::SAME)
    }

    pub(super) fn is_one_edit(self) -> bool {
        self.has(Self::ONE_EDIT)
    }

    pub(super) fn is_key_edit(self) -> bool {
        self.has(Self::KEY_EDIT)
    }

    pub(super) fn has_same_head(self) -> bool {
        self.has(Self::HEAD)
    }

    pub(super) fn is_nickname(self) -> bool {
        self.has(Self::NICKNAME)
    }

    pub(super) fn is_initial(self) -> bool {
        self.has(Self::INITIAL)
    }

    pub(super) fn is_alike_80(self) -> bool {
        self.has(Self::ALIKE_80)
    }

    pub(super) fn is_alike_88(self) -> bool {
        self.has(Self::ALIKE_88)
    }

    pub(super) fn is_alike_90(self) -> bool {
        self.has(Self::ALIKE_90)
    }

    pub(super) fn is_two_edits(self) -> bool {
        self.has(Self::TWO_EDITS)
    }

    pub(super) fn shares_part(self) -> bool {
        self.has(Self::PART)
    }

    fn find(records: &Records, x: u32, y: u32, listed: bool) -> Self {
        let ([text_x, key_x, head_x, parts_x], [text_y, key_y, head_y, parts_y]) =
            (records.value(Kind::First, x), records.value(Kind::First, y));
        let (p, q) = (records.word(text_x), records.word(text_y));
        let mut bits = 0;
        let mut set = |bit: u16, holds: bool| bits |= if holds { bit } else { 0 };
        set(Self::EQUAL, text_x == text_y);
        set(Self::SAME, text_x == text_y || key_x == key_y);
        let (given, other) = (records.word(head_x), records.word(head_y));
        let (given, other) = (if given.is_empty() { p } else { given }, if other.is_empty() { q } else { other });
        set(Self::HEAD, head_x != 0 && head_x == head_y && given.len() >= 3);
        set(Self::NICKNAME, listed && text_x != text_y && are_nicknames(given, other));
        set(Self::INITIAL, p.len() == 1 && q.starts_with(p) || q.len() == 1 && p.starts_with(q));
        let (parts, others) = (records.word(parts_x), records.word(parts_y));
        // All parts of the shorter: of two double surnames with one part in common each names another family too.
        let within = |few: &str, many: &str| !few.is_empty() && few.split(' ').all(|part| many.split(' ').any(|other| other == part));
        set(Self::PART, (parts.contains(' ') || others.contains(' ')) && (within(parts, others) || within(others, parts)));
        if may_be_alike(p, q) {
            set(Self::ONE_EDIT, within_one_edit(p, q));
            let likeness = alike(p, q);
            set(Self::ALIKE_80, likeness >= 0.8);
            set(Self::ALIKE_88, likeness >= 0.88);
            set(Self::ALIKE_90, likeness >= 0.9);
            set(Self::TWO_EDITS, p.len() >= 7 && q.len() >= 7 && within_two_edits(p, q));
        }
        set(Self::KEY_EDIT, within_one_edit(records.word(key_x), records.word(key_y)));
        Self(bits)
    }
}

/// A bound from the letters that stand in one name only: false when Jaro-Winkler is surely under 0.8 and the names are
/// more than two edits apart.
fn may_be_alike(p: &str, q: &str) -> bool {
    if p.len() < 4 || q.len() < 4 {
        return true;
    }
    let mask = |text: &str| text.bytes().fold(0_u64, |mask, byte| mask | 1 << (byte & 63));
    let (in_p, in_q) = (mask(p), mask(q));
    let matches = |len: usize, lonely: u64| len.saturating_sub(lonely.count_ones() as usize);
    let most = matches(p.len(), in_p & !in_q).min(matches(q.len(), in_q & !in_p)) as f64;
    // Three equal shares make Jaro; the bonus of four equal letters makes 0.667 to 0.8.
    let jaro = (most / p.len() as f64 + most / q.len() as f64 + 1.0) / 3.0;
    !p.is_ascii() || !q.is_ascii() || jaro >= 0.666
}

const SLOTS: usize = 1 << 15;

/// The cache of one worker.
#[derive(Debug, Default)]
pub(super) struct Memo {
    names: Vec<(u64, Relation)>,
    levels: Vec<(u64, Level)>,
}

impl Memo {
    /// A memo with room, for many comparisons; the default one keeps nothing.
    pub(super) fn roomy() -> Self {
        Self { names: vec![(u64::MAX, Relation::default()); SLOTS], levels: vec![(u64::MAX, Level::OtherElse); SLOTS] }
    }

    /// `listed` is false when one of the two is surely in no list of nicknames.
    pub(super) fn relate(&mut self, records: &Records, x: u32, y: u32, listed: bool) -> Relation {
        let (x, y) = (x.min(y), x.max(y));
        let key = u64::from(x) << 32 | u64::from(y);
        match self.names.get_mut(place(key)) {
            Some((known, relation)) if *known == key => *relation,
            Some(slot) => {
                *slot = (key, Relation::find(records, x, y, listed));
                slot.1
            }
            None => Relation::find(records, x, y, listed),
        }
    }

    pub(super) fn level(&mut self, kind: Kind, x: u32, y: u32, find: impl FnOnce() -> Level) -> Level {
        // Kinds fit into the bits that numbers under 2^30 leave free; beyond that nothing is kept.
        if x.max(y) >= 1 << 28 {
            return find();
        }
        let key = (kind as u64) << 56 | u64::from(x.min(y)) << 28 | u64::from(x.max(y));
        match self.levels.get_mut(place(key)) {
            Some((known, level)) if *known == key => *level,
            Some(slot) => {
                *slot = (key, find());
                slot.1
            }
            None => find(),
        }
    }
}

fn place(key: u64) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 49) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_bound_never_hides_a_likeness(a in "[a-f]{4,12}", b in "[a-f]{4,12}") {
            if !may_be_alike(&a, &b) {
                prop_assert!(alike(&a, &b) < 0.8 && !within_one_edit(&a, &b));
            }
        }
    }
}
