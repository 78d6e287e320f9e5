//! Which pairs of a set are worth comparing: blocks of records that share a key, no quadratic step.
//!
//! A pass takes every block whose pairs fit the budget (four a record, at least 600,000 in all); the members of a larger block
//! are put in three orders and compared with their neighbours only. So a pass compares at most `max(4 n, 600,000) + 3 w n` pairs
//! of `n` records, where the window `w` is 2 to 12.

use super::blocking::{PASSES, keys};
use super::records::{Kind, Records};
use super::workers::{Workers, collect};

/// Records whose keys are made in one piece of work.
const CHUNK: usize = 8192;
const PAIRS_PER_RECORD: u64 = 4;
const PAIRS_AT_LEAST: u64 = 600_000;

/// One pass: records in blocks, those of one record left out.
#[derive(Debug, Default)]
struct Pass {
    order: Vec<u32>,
    ends: Vec<u32>,
    /// Blocks larger than this are not compared whole.
    most: usize,
    window: usize,
}

impl Pass {
    fn blocks(&self) -> impl Iterator<Item = &[u32]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).filter_map(|(start, end)| self.order.get(start as usize..*end as usize))
    }
}

/// All passes over a set.
#[derive(Debug)]
pub(super) struct Plan {
    /// The key of each record in each pass; 0 where it has none or its block was too large.
    cells: Vec<Vec<u32>>,
    passes: Vec<Pass>,
    /// Order of names: (last, first) and (first, last).
    by_last: Vec<u64>,
    by_first: Vec<u64>,
    /// Records that stood in a block too large to be compared whole.
    pub(super) cut: u64,
}

impl Plan {
    pub(super) fn new(records: &Records, max_block: usize, workers: &dyn Workers) -> Self {
        let count = records.len();
        workers.progress(0.0, 0.1);
        let made = collect(workers, count.div_ceil(CHUNK), &|chunk| {
            let mut cells = vec![0_u32; CHUNK.min(count - chunk * CHUNK) * PASSES];
            let mut more: Vec<(u8, u32, u32)> = Vec::new();
            let mut own = Vec::new();
            for at in 0..cells.len() / PASSES {
                let number = (chunk * CHUNK + at) as u32;
                keys(records, &records.row(number), &mut own);
                for (pass, key) in &own {
                    match cells.get_mut(at * PASSES + usize::from(*pass)) {
                        Some(cell) if *cell == 0 => *cell = *key,
                        _ => more.push((*pass, *key, number)),
                    }
                }
            }
            (cells, more)
        });
        let (mut cells, more): (Vec<_>, Vec<_>) = made.into_iter().unzip();
        workers.progress(0.1, 0.2);
        let passes = collect(workers, PASSES, &|pass| {
            let mut filed: Vec<u64> = Vec::new();
            for (chunk, cells) in cells.iter().enumerate() {
                for (at, key) in cells.iter().skip(pass).step_by(PASSES).enumerate() {
                    if *key != 0 {
                        filed.push(u64::from(*key) << 32 | (chunk * CHUNK + at) as u64);
                    }
                }
            }
            let further = more.iter().flatten().filter(|(of, ..)| usize::from(*of) == pass);
            filed.extend(further.map(|(_, key, number)| u64::from(*key) << 32 | u64::from(*number)));
            filed.sort_unstable();
            lay_out(&filed, count, max_block)
        });
        let mut cut = 0;
        for (number, pass) in passes.iter().enumerate() {
            for record in pass.blocks().filter(|block| block.len() > pass.most).flatten() {
                cut += 1;
                let at = *record as usize;
                if let Some(cell) = cells.get_mut(at / CHUNK).and_then(|cells| cells.get_mut(at % CHUNK * PASSES + number)) {
                    *cell = 0;
                }
            }
        }
        let (by_last, by_first) = orders(records);
        Self { cells, passes, by_last, by_first, cut }
    }

    /// Pieces that can be worked on apart.
    pub(super) fn pieces(&self) -> usize {
        self.passes.len()
    }

    fn row(&self, record: u32) -> &[u32] {
        let at = record as usize;
        let start = at % CHUNK * PASSES;
        self.cells.get(at / CHUNK).and_then(|cells| cells.get(start..start + PASSES)).unwrap_or(&[])
    }

    /// The pairs of one piece, the smaller number first. A pair that shares keys of several passes comes with the first of them,
    /// only neighbours in large blocks may come again.
    pub(super) fn visit(&self, piece: usize, records: &Records, visit: &mut dyn FnMut(u32, u32)) {
        let Some(pass) = self.passes.get(piece) else { return };
        let met = |a: u32, b: u32| self.row(a).iter().zip(self.row(b)).take(piece).any(|(x, y)| x == y && *x != 0);
        let mut give = |a: u32, b: u32| {
            if a != b && !met(a, b) {
                visit(a.min(b), a.max(b));
            }
        };
        let mut sorted: Vec<(u64, u32)> = Vec::new();
        for block in pass.blocks() {
            if block.len() <= pass.most {
                for (at, a) in block.iter().enumerate() {
                    for b in block.iter().skip(at + 1) {
                        give(*a, *b);
                    }
                }
                continue;
            }
            let place = |at: &u32| {
                let row = records.row(*at);
                u64::from(row.one(Kind::Birth)) << 32 | u64::from(row.one(Kind::Postal))
            };
            let named = |order: &[u64], at: &u32| order.get(*at as usize).copied().unwrap_or(0);
            for order in 0..3 {
                sorted.clear();
                sorted.extend(block.iter().map(|at| {
                    let rank = match order {
                        0 => named(&self.by_last, at),
                        1 => named(&self.by_first, at),
                        _ => place(at),
                    };
                    (rank, *at)
                }));
                sorted.sort_unstable();
                for (at, (_, a)) in sorted.iter().enumerate() {
                    for (_, b) in sorted.iter().skip(at + 1).take(pass.window) {
                        give(*a, *b);
                    }
                }
            }
        }
    }
}

/// Blocks of two and more, and the size up to which all their pairs fit the budget.
fn lay_out(filed: &[u64], count: usize, max_block: usize) -> Pass {
    let mut pass = Pass::default();
    let mut sizes: Vec<u64> = vec![0; max_block + 1];
    let mut crowded = 0_u64;
    for block in filed.chunk_by(|x, y| x >> 32 == y >> 32).filter(|block| block.len() > 1) {
        pass.order.extend(block.iter().map(|entry| (entry & 0xffff_ffff) as u32));
        pass.ends.push(pass.order.len() as u32);
        match sizes.get_mut(block.len()) {
            Some(blocks) => *blocks += 1,
            None => crowded += block.len() as u64,
        }
    }
    let budget = (PAIRS_PER_RECORD * count as u64).max(PAIRS_AT_LEAST);
    let mut pairs = 0;
    pass.most = max_block;
    for (size, blocks) in sizes.iter().enumerate().skip(2) {
        pairs += blocks * (size * (size - 1) / 2) as u64;
        if pairs > budget {
            pass.most = size - 1;
            crowded += sizes.iter().enumerate().skip(size).map(|(size, blocks)| size as u64 * blocks).sum::<u64>();
            break;
        }
    }
    pass.window = (PAIRS_AT_LEAST / (3 * crowded.max(1))).clamp(2, 12) as usize;
    pass.order.shrink_to_fit();
    pass.ends.shrink_to_fit();
    pass
}

fn orders(records: &Records) -> (Vec<u64>, Vec<u64>) {
    let table = records.values(Kind::First);
    let count = table.map_or(0, |table| table.len() as u32);
    let mut sorted: Vec<u32> = (0..count).collect();
    sorted.sort_unstable_by(|x, y| records.text(Kind::First, *x, 1).cmp(records.text(Kind::First, *y, 1)).then(x.cmp(y)));
    let mut ranks = vec![0_u32; count as usize];
    let mut rank = 0;
    let mut before = None;
    for value in sorted {
        let key = records.value(Kind::First, value).get(1).copied();
        if before != Some(key) {
            rank += 1;
            before = Some(key);
        }
        if let Some(slot) = ranks.get_mut(value as usize) {
            *slot = rank;
        }
    }
    let of = |value: u32| u64::from(ranks.get(value as usize).copied().unwrap_or(0));
    let by = |major: Kind, minor: Kind| records.rows().iter().map(|row| of(row.one(major)) << 32 | of(row.one(minor))).collect();
    (by(Kind::Last, Kind::First), by(Kind::First, Kind::Last))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::dedup::{InPlace, Prepared, Role};

    #[test]
    fn a_pair_comes_once_and_equal_records_are_no_quadratic_step() {
        let mut records = Records::new();
        for at in 0..60 {
            let email = format!("ann.keller{}@firm.com", at / 3);
            records.push(&Prepared::new(&[(Role::Full, "Ann Keller"), (Role::Email, &email), (Role::City, "Ulm")]));
        }
        let plan = Plan::new(&records, 120, &InPlace);
        let mut seen: BTreeMap<(u32, u32), u32> = BTreeMap::new();
        for piece in 0..plan.pieces() {
            plan.visit(piece, &records, &mut |a, b| *seen.entry((a, b)).or_insert(0) += 1);
        }
        assert_eq!(seen.len(), 60 * 59 / 2);
        assert!(seen.iter().all(|((a, b), times)| a < b && *times == 1));

        let mut records = Records::new();
        for _ in 0..20_000 {
            records.push(&Prepared::new(&[(Role::Full, "Ann Keller"), (Role::City, "Ulm")]));
        }
        let plan = Plan::new(&records, 120, &InPlace);
        let mut pairs = 0_u64;
        (0..plan.pieces()).for_each(|piece| plan.visit(piece, &records, &mut |_, _| pairs += 1));
        assert!(plan.cut > 0 && pairs < 20_000 * 36 * PASSES as u64, "{pairs}");
    }
}
