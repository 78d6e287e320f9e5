//! Which pairs of a set are worth comparing: blocks of records that share a key, no quadratic step.
//!
//! A pass takes the blocks, the smallest first, whose pairs fit the budget (one a record, at least 600,000 in all). The members of a
//! larger block are put in three orders and compared with their neighbours only, with a window as wide as another 600,000 pairs allow.
//! Where that is no window at all, only those who share what identifies somebody (address, number, whole name) are compared with
//! their neighbours: the others meet in smaller blocks, if they have anything else in common. So the pairs of a pass are at most
//! `max(n, 600,000) + max(2 n, 600,000)` of `n` records.

use std::hint::black_box;

use super::blocking::{PASSES, Sounds, keys};
use super::records::{Kind, Records, Row};
use super::workers::{Workers, collect};

/// Records whose keys are made in one piece of work.
const CHUNK: usize = 8192;
const PAIRS_PER_RECORD: u64 = 1;
const PAIRS_AT_LEAST: u64 = 600_000;
/// Records that are read ahead of their comparison, at least: the waits for memory overlap.
const AHEAD: usize = 32;
/// Passes whose keys say who somebody is: even the largest block is looked through.
const TELLING: [usize; 5] = [0, 3, 7, 8, 10];

/// One pass: records in blocks, those of one record left out.
#[derive(Debug, Default)]
struct Pass {
    order: Vec<u32>,
    ends: Vec<u32>,
    /// Blocks larger than this are not compared whole.
    most: usize,
    window: usize,
    /// In how many orders the members of larger ones are compared with their neighbours.
    orders: usize,
    /// Pairs that come of it.
    pairs: u64,
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
    /// The key of each record in each pass that is in use; 0 where it has none or its block was too large.
    cells: Vec<Vec<u32>>,
    /// Cells of one record.
    width: usize,
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
        let places = columns(records);
        let width = places.iter().flatten().count();
        let made = collect(workers, count.div_ceil(CHUNK), &|chunk| {
            let mut cells = vec![0_u32; CHUNK.min(count - chunk * CHUNK) * width];
            let mut more: Vec<(u8, u32, u32)> = Vec::new();
            let mut own = Vec::new();
            let mut sounds = Sounds::default();
            for at in 0..CHUNK.min(count - chunk * CHUNK) {
                let number = (chunk * CHUNK + at) as u32;
                keys(records, &records.row(number), &mut sounds, &mut own);
                for (pass, key) in &own {
                    let Some(place) = places.get(usize::from(*pass)).copied().flatten() else { continue };
                    match cells.get_mut(at * width + place) {
                        Some(cell) if *cell == 0 => *cell = *key,
                        _ => more.push((place as u8, *key, number)),
                    }
                }
            }
            (cells, more)
        });
        let (mut cells, more): (Vec<_>, Vec<_>) = made.into_iter().unzip();
        workers.progress(0.1, 0.2);
        let telling = |place: usize| TELLING.iter().any(|pass| places.get(*pass).copied().flatten() == Some(place));
        let passes = collect(workers, width, &|place| {
            let mut filed: Vec<u64> = Vec::with_capacity(count);
            for (chunk, cells) in cells.iter().enumerate() {
                for (at, key) in cells.iter().skip(place).step_by(width).enumerate() {
                    if *key != 0 {
                        filed.push(u64::from(*key) << 32 | (chunk * CHUNK + at) as u64);
                    }
                }
            }
            let further = more.iter().flatten().filter(|(of, ..)| usize::from(*of) == place);
            filed.extend(further.map(|(_, key, number)| u64::from(*key) << 32 | u64::from(*number)));
            filed.sort_unstable();
            lay_out(&filed, count, max_block, telling(place))
        });
        let mut cut = 0;
        for (number, pass) in passes.iter().enumerate() {
            for record in pass.blocks().filter(|block| block.len() > pass.most).flatten() {
                cut += 1;
                let at = *record as usize;
                if let Some(cell) = cells.get_mut(at / CHUNK).and_then(|cells| cells.get_mut(at % CHUNK * width + number)) {
                    *cell = 0;
                }
            }
        }
        let (by_last, by_first) = orders(records);
        Self { cells, width, passes, by_last, by_first, cut }
    }

    /// Without some pieces: their pairs come with later passes whose key they share, or not at all.
    pub(super) fn drop_passes(&mut self, pieces: &[usize]) {
        let kept: Vec<usize> = (0..self.passes.len()).filter(|piece| !pieces.contains(piece)).collect();
        if pieces.is_empty() || kept.is_empty() {
            return;
        }
        for cells in &mut self.cells {
            let rows = cells.chunks_exact(self.width).flat_map(|row| kept.iter().map(|piece| row.get(*piece).copied().unwrap_or(0)));
            *cells = rows.collect();
        }
        let passes = std::mem::take(&mut self.passes).into_iter().enumerate();
        self.passes = passes.filter(|(piece, _)| kept.contains(piece)).map(|(_, pass)| pass).collect();
        self.width = kept.len();
    }

    /// Pieces that can be worked on apart.
    pub(super) fn pieces(&self) -> usize {
        self.passes.len()
    }

    /// Pairs of all passes, those that come several times counted each time.
    pub(super) fn pairs(&self) -> u64 {
        self.passes.iter().map(|pass| pass.pairs).sum()
    }

    fn row(&self, record: u32) -> &[u32] {
        let at = record as usize;
        let start = at % CHUNK * self.width;
        self.cells.get(at / CHUNK).and_then(|cells| cells.get(start..start + self.width)).unwrap_or(&[])
    }

    fn touch(&self, records: &[u32]) -> u32 {
        records.iter().fold(0_u32, |sum, record| self.row(*record).iter().step_by(16).fold(sum, |sum, cell| sum ^ *cell))
    }

    /// The pairs of one piece whose leading record is `wanted`, the smaller number first. A pair that shares keys of several passes
    /// comes with the first of them, only neighbours in large blocks may come again. `ahead` is told of records that will come soon.
    pub(super) fn visit(
        &self,
        piece: usize,
        records: &Records,
        (wanted, ahead): (impl Fn(u32) -> bool, impl Fn(&[u32]) -> u32),
        mut visit: impl FnMut(u32, u32),
    ) {
        let Some(pass) = self.passes.get(piece) else { return };
        // All cells are looked at, also after a hit: that is several at a time.
        let met = |x: &[u32], b: u32| {
            let same = x.iter().zip(self.row(b)).take(piece);
            same.fold(0_u32, |met, (x, y)| met | u32::from((x == y) & (*x != 0))) != 0
        };
        let mut give = |a: u32, x: &[u32], b: u32| {
            if a != b && !met(x, b) {
                visit(a.min(b), a.max(b));
            }
        };
        let mut sorted: Vec<(u64, u32)> = Vec::new();
        let (mut start, mut ready) = (0, 0);
        for block in pass.blocks() {
            if start + block.len() > ready && block.len() <= pass.most {
                let next = pass.order.get(start..(start + block.len().max(AHEAD)).min(pass.order.len())).unwrap_or(block);
                black_box(self.touch(next) ^ ahead(next));
                ready = start + next.len();
            }
            start += block.len();
            if block.len() <= pass.most {
                for (at, a) in block.iter().enumerate().filter(|(_, a)| wanted(**a)) {
                    let x = self.row(*a);
                    for b in block.iter().skip(at + 1) {
                        give(*a, x, *b);
                    }
                }
                continue;
            }
            let place = |at: &u32| {
                let row = records.row(*at);
                let postal = records.of(&row, Kind::Postal).bytes().take(4).fold(0, |sum, byte| sum << 8 | u64::from(byte));
                u64::from(records.of(&row, Kind::Birth).parse::<u32>().unwrap_or(0)) << 32 | postal
            };
            let named = |order: &[u64], at: &u32| order.get(*at as usize).copied().unwrap_or(0);
            for order in 0..pass.orders {
                sorted.clear();
                sorted.extend(block.iter().map(|at| {
                    let rank = match order {
                        0 => named(&self.by_last, at),
                        1 => named(&self.by_first, at),
                        _ => place(at),
                    };
                    (rank, *at)
                }));
                // Those of one rank by what they hold, not by when they came: their keys tell.
                let rest = |x: u32, y: u32| self.row(x).cmp(self.row(y)).then(x.cmp(&y));
                sorted.sort_unstable_by(|(rank, x), (other, y)| rank.cmp(other).then_with(|| rest(*x, *y)));
                for (at, (_, a)) in sorted.iter().enumerate().filter(|(_, (_, a))| wanted(*a)) {
                    let x = self.row(*a);
                    for (_, b) in sorted.iter().skip(at + 1).take(pass.window) {
                        give(*a, x, *b);
                    }
                }
            }
        }
    }
}

/// The column of each pass; those for which the records hold no value have none.
fn columns(records: &Records) -> [Option<usize>; PASSES] {
    let has = |kind: Kind| records.values(kind).is_some_and(|values| values.len() > 1);
    let company = records.rows().iter().any(Row::is_company);
    let mut columns = [None; PASSES];
    let mut next = 0;
    for (pass, column) in columns.iter_mut().enumerate() {
        let used = match pass {
            0..=2 => has(Kind::Identifier),
            3..=6 => has(Kind::Email),
            7 => has(Kind::Phone),
            8 | 9 => has(Kind::Phone) && has(Kind::First),
            18..=26 => has(Kind::Birth),
            27 | 28 => has(Kind::Postal),
            29 => has(Kind::Postal) && has(Kind::Title),
            30..=33 => has(Kind::Street),
            34..=36 => has(Kind::City),
            37 => has(Kind::Title),
            38..=41 => has(Kind::Company) || has(Kind::Domain),
            42..=PASSES => company,
            _ => has(Kind::First),
        };
        if used {
            *column = Some(next);
            next += 1;
        }
    }
    columns
}

/// Blocks of two and more, and the size up to which all their pairs fit the budget.
fn lay_out(filed: &[u64], count: usize, max_block: usize, telling: bool) -> Pass {
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
    pass.most = max_block;
    for (size, blocks) in sizes.iter().enumerate().skip(2) {
        let pairs = blocks * (size * (size - 1) / 2) as u64;
        if pass.pairs + pairs > budget {
            pass.most = size - 1;
            crowded += sizes.iter().enumerate().skip(size).map(|(size, blocks)| size as u64 * blocks).sum::<u64>();
            break;
        }
        pass.pairs += pairs;
    }
    (pass.orders, pass.window) = match (PAIRS_AT_LEAST / (3 * crowded.max(1))).min(12) {
        0 if telling => (1, 2),
        0 => (0, 0),
        window => (3, window as usize),
    };
    pass.pairs += crowded * (pass.orders * pass.window) as u64;
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
            plan.visit(piece, &records, (|_| true, |_| 0), |a, b| *seen.entry((a, b)).or_insert(0) += 1);
        }
        assert_eq!(seen.len(), 60 * 59 / 2);
        assert!(seen.iter().all(|((a, b), times)| a < b && *times == 1));

        let mut records = Records::new();
        for _ in 0..20_000 {
            records.push(&Prepared::new(&[(Role::Full, "Ann Keller"), (Role::City, "Ulm")]));
        }
        let mut plan = Plan::new(&records, 120, &InPlace);
        let mut pairs = 0_u64;
        (0..plan.pieces()).for_each(|piece| plan.visit(piece, &records, (|_| true, |_| 0), |_, _| pairs += 1));
        assert!(plan.cut > 0 && pairs < 20_000 * 36 * PASSES as u64, "{pairs}");

        let pieces = plan.pieces();
        plan.drop_passes(&[]);
        assert_eq!(plan.pieces(), pieces);
        plan.drop_passes(&[0, 2]);
        assert_eq!((plan.pieces(), plan.row(7).len()), (pieces - 2, pieces - 2));
    }
}
