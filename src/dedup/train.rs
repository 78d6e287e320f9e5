//! Weights learned from the host's own records: without labels by expectation and maximisation, or from labelled pairs.

use serde::{Deserialize, Serialize};

use super::calibration::{Usual, base, usual};
use super::cluster::Edge;
use super::compare::Measure;
use super::find::{Duplicates, fit};
use super::frequency::Rarities;
use super::level::{Level, Population};
use super::memo::Memo;
use super::plan::Plan;
use super::records::Records;
use super::score::{Deduper, prior, probability};
use super::weights::Weights;
use super::workers::{InPlace, Workers, collect};
use crate::error::{Error, Result};

/// Pairs that are learned from, at most; of more a fixed share is taken by a hash of the pair.
const PAIRS: u64 = 400_000;
/// Plans of more pairs than this are not counted exactly, and passes that bring next to nothing are left out of them.
const COUNTED: u64 = 6_000_000;
/// The share of the matches that the passes left out may bring together.
const SPARED: f64 = 0.008;
/// Random pairs that show how often strangers agree.
const STRANGERS: u64 = 200_000;
const ROUNDS: u32 = 12;
/// Pairs the built-in shares count for: what is seen less often changes little.
const FAITH: f64 = 60.0;
/// The same for strangers, of whom there are many.
const DOUBT: f64 = 1.0;
/// A weight moves at most this far from the built-in one, in bits, and by this share of what the records suggest.
const REACH: f64 = 2.0;
/// Strangers who must show a level before its weight is held to what it tells them from the same.
const SEEN: f64 = 40.0;
/// Disagreements come together: one says this share of what it would say alone.
const SHRUNK: f64 = 0.16;
const PACE: f64 = 0.5;

/// What was learned about one level.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LevelShare {
    /// The level's word, e.g. `email.exact`.
    pub level: String,
    /// Whose pairs: `person`, `company` or `private`, as the maps of [`Weights`] are called.
    pub population: String,
    /// Its share of the pairs that are one, among those where the field is there on both sides.
    pub same: f64,
    /// Its share of strangers.
    pub different: f64,
    /// The base weight that follows, in bits.
    pub weight: f64,
    /// The pairs that showed it.
    pub pairs: u64,
}

/// Learned weights and what they rest on.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Training {
    /// For [`DedupConfig::weights`](super::DedupConfig::weights).
    pub weights: Weights,
    /// The shares behind the weights, in the order of [`Level::ALL`](super::Level::ALL), persons first.
    pub levels: Vec<LevelShare>,
    /// Pairs that were learned from.
    pub pairs: u64,
    /// Rounds until nothing moved any more.
    pub rounds: u32,
}

/// The levels of one pair and what they add beyond their base weights.
#[derive(Clone, Copy)]
struct Pattern {
    levels: [u8; 20],
    len: u8,
    population: Population,
    extras: [f32; 20],
    a: u32,
    b: u32,
    piece: u8,
}

impl Pattern {
    fn levels(&self) -> impl Iterator<Item = usize> + '_ {
        self.levels.iter().take(usize::from(self.len)).map(|level| usize::from(*level))
    }
}

/// Sums per level: pairs that are one, and all.
#[derive(Clone)]
struct Tally {
    weight: Vec<f64>,
    extra: Vec<f64>,
    pairs: Vec<u64>,
}

impl Tally {
    fn new() -> Self {
        Self { weight: vec![0.0; Level::ALL.len()], extra: vec![0.0; Level::ALL.len()], pairs: vec![0; Level::ALL.len()] }
    }

    fn add(&mut self, pattern: &Pattern, weight: f64) {
        for (level, own) in pattern.levels().zip(pattern.extras) {
            if let (Some(sum), Some(extra), Some(pairs)) =
                (self.weight.get_mut(level), self.extra.get_mut(level), self.pairs.get_mut(level))
            {
                *sum += weight;
                *extra += weight * f64::from(own);
                *pairs += 1;
            }
        }
    }

    /// The level's share within its field, the built-in share counting for `faith` pairs.
    fn share(&self, level: usize, known: f64, faith: f64) -> f64 {
        let field = Level::ALL.get(level).map_or("", |level| level.field());
        let all: f64 = Level::ALL.iter().zip(&self.weight).filter(|(other, _)| other.field() == field).map(|(_, sum)| sum).sum();
        (self.weight.get(level).copied().unwrap_or(0.0) + faith * known) / (all + faith)
    }
}

impl Deduper {
    /// Learns from records without labels how much each level of agreement is worth in them, starting from this deduper's weights:
    /// which fields are well kept and which are full of errors differs from file to file.
    ///
    /// The outcome does not depend on `workers`, and hardly on the order of the records: the strangers compared are drawn by position. What the records do not show keeps its weight.
    /// A few hundred records are enough to be of use; with less, little moves.
    pub fn train(&self, records: &Records, workers: &dyn Workers) -> Training {
        let rarities = Rarities::count(records, workers);
        let plan = Plan::new(records, self.config().max_block, workers);
        self.train_on(records, &rarities, &plan, workers).0
    }

    /// [`Deduper::train`] and [`Deduper::find`] in one, which takes less time than one after the other: the candidates are sought once.
    /// Returns the deduper with the learned weights, which found the duplicates and explains them.
    ///
    /// # Errors
    /// `Config` as [`Deduper::with_weights`]; learned weights give no reason for it.
    pub fn train_and_find(&self, records: &Records, workers: &dyn Workers) -> Result<(Self, Duplicates)> {
        self.train_and_search(records, workers, false)
    }

    /// [`Deduper::train`] and [`Deduper::link`] in one, like [`Deduper::train_and_find`].
    ///
    /// # Errors
    /// `Config` as [`Deduper::with_weights`]; learned weights give no reason for it.
    pub fn train_and_link(&self, records: &Records, workers: &dyn Workers) -> Result<(Self, Duplicates)> {
        self.train_and_search(records, workers, true)
    }

    fn train_and_search(&self, records: &Records, workers: &dyn Workers, across: bool) -> Result<(Self, Duplicates)> {
        let rarities = Rarities::count(records, workers);
        let mut plan = Plan::new(records, self.config().max_block, workers);
        let (training, idle) = self.train_on(records, &rarities, &plan, workers);
        let trained = self.with_weights(training.weights)?;
        plan.drop_passes(&idle);
        let found = trained.search(records, rarities, plan, workers, (across, records.apart()));
        Ok((trained, found))
    }

    fn train_on(&self, records: &Records, rarities: &Rarities, plan: &Plan, workers: &dyn Workers) -> (Training, Vec<usize>) {
        workers.progress(0.2, 0.3);
        let total = if plan.pairs() > COUNTED {
            // Every other one or so is met in several passes.
            plan.pairs() / 2
        } else {
            let counts = collect(workers, plan.pieces(), &|piece| {
                let mut count = 0_u64;
                plan.visit(piece, records, (|_| true, |_| 0), |_, _| count += 1);
                count
            });
            counts.iter().sum()
        };
        let every = total.div_ceil(PAIRS).max(1);
        let found = collect(workers, plan.pieces(), &|piece| {
            let mut memo = Memo::roomy();
            let mut patterns = Vec::new();
            // All pairs of some records, which spares looking at those of the others.
            let wanted = |a: u32| every == 1 || mix(u64::from(a)).is_multiple_of(every);
            plan.visit(piece, records, (wanted, |_: &[u32]| 0), |a, b| {
                let pattern = self.pattern(records, rarities, (a, b), &mut memo);
                patterns.extend(pattern.map(|pattern| Pattern { piece: piece as u8, ..pattern }));
            });
            patterns
        });
        let mut patterns: Vec<Pattern> = found.into_iter().flatten().collect();
        patterns.sort_unstable_by_key(|pattern| (pattern.a, pattern.b));
        patterns.dedup_by_key(|pattern| (pattern.a, pattern.b));
        let strangers = self.strangers(records, rarities);
        let size = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let mut bits = Population::ALL.map(|population| self.bases(population));
        let mut rounds = 0;
        let mut training = Training::default();
        let mut brought = vec![(0_u64, 0.0); plan.pieces()];
        while rounds < ROUNDS {
            rounds += 1;
            let total = |pattern: &Pattern| {
                let column = bits.get(pattern.population as usize);
                let base: f64 = pattern.levels().filter_map(|level| column.and_then(|column| column.get(level))).sum();
                base + f64::from(pattern.extras.iter().sum::<f32>())
            };
            let edges: Vec<Edge> = patterns.iter().map(|pattern| Edge { bits: total(pattern), a: pattern.a, b: pattern.b }).collect();
            // Of a sample only a share of the matches is seen: the odds are those of the whole.
            let odds = fit(&edges, prior(size), size, every as f64);
            let mut sums = [Tally::new(), Tally::new(), Tally::new()];
            brought.fill((0, 0.0));
            for (pattern, edge) in patterns.iter().zip(&edges) {
                if let Some((pairs, matches)) = brought.get_mut(usize::from(pattern.piece)) {
                    *pairs += 1;
                    *matches += probability(edge.bits + odds);
                }
                if let Some(tally) = sums.get_mut(pattern.population as usize) {
                    tally.add(pattern, probability(edge.bits + odds));
                }
            }
            let moved = self.settle(&sums, &strangers, &mut bits, &mut training);
            if moved < 0.01 {
                break;
            }
        }
        training.pairs = patterns.len() as u64;
        training.rounds = rounds;
        let idle = if total > COUNTED / 2 { idle(&brought) } else { Vec::new() };
        (training, idle)
    }

    /// Learns from pairs a person has judged, by the numbers of their records. Few labels change little; pairs that are not the same
    /// may be left out, strangers are then drawn from the records.
    ///
    /// # Errors
    /// `Config` without a pair that is the same, or when a number is not in `records`.
    pub fn train_from_pairs(&self, records: &Records, same: &[(u32, u32)], different: &[(u32, u32)]) -> Result<Training> {
        let known = |pair: &&(u32, u32)| (pair.0.max(pair.1) as usize) < records.len();
        if same.is_empty() {
            return Err(Error::config("deduplication: there is no pair that is the same; label some"));
        }
        if let Some((a, b)) = same.iter().chain(different).find(|pair| !known(pair)) {
            return Err(Error::config(format!("deduplication: the labelled pair {a}, {b} names a record that is not in the set")));
        }
        let rarities = Rarities::count(records, &InPlace);
        let mut memo = Memo::roomy();
        let mut sums = [Tally::new(), Tally::new(), Tally::new()];
        let mut strangers = self.strangers(records, &rarities);
        let mut sorted: [Vec<(u32, u32)>; 2] = [same, different].map(|pairs| pairs.iter().map(|(a, b)| (*a.min(b), *a.max(b))).collect());
        let mut count = 0;
        for (pairs, into) in sorted.iter_mut().zip([&mut sums, &mut strangers]) {
            pairs.sort_unstable();
            pairs.dedup();
            for pattern in pairs.iter().filter_map(|pair| self.pattern(records, &rarities, *pair, &mut memo)) {
                count += 1;
                if let Some(tally) = into.get_mut(pattern.population as usize) {
                    tally.add(&pattern, 1.0);
                }
            }
        }
        let mut training = Training { pairs: count, rounds: 1, ..Training::default() };
        let mut bits = Population::ALL.map(|population| self.bases(population));
        self.settle(&sums, &strangers, &mut bits, &mut training);
        Ok(training)
    }

    /// The same deduper with learned weights.
    ///
    /// # Errors
    /// `Config` if a weight names an unknown level or is not finite.
    pub fn with_weights(&self, weights: Weights) -> Result<Self> {
        let mut config = self.config().clone();
        config.weights = weights;
        Self::new(config)
    }

    fn bases(&self, population: Population) -> Vec<f64> {
        Level::ALL.iter().map(|level| f64::from(self.table.base(*level, population))).collect()
    }

    fn pattern(&self, records: &Records, rarities: &Rarities, (a, b): (u32, u32), memo: &mut Memo) -> Option<Pattern> {
        let (x, y) = (records.row(a), records.row(b));
        let measure = Measure { records, rarities, table: &self.table };
        let findings = measure.run(&x, &y, f32::NEG_INFINITY, memo)?;
        let population = measure.population(&x, &y);
        let mut out = Pattern { levels: [0; 20], len: 0, population, extras: [0.0; 20], a, b, piece: 0 };
        for ((level, bits), (slot, extra)) in findings.iter().zip(out.levels.iter_mut().zip(out.extras.iter_mut())) {
            *slot = level as u8;
            *extra = bits - self.table.base(level, population);
            out.len += 1;
        }
        Some(out)
    }

    /// How often two records picked blindly agree.
    fn strangers(&self, records: &Records, rarities: &Rarities) -> [Tally; 3] {
        let count = records.len() as u64;
        let mut memo = Memo::roomy();
        let mut sums = [Tally::new(), Tally::new(), Tally::new()];
        if count < 2 {
            return sums;
        }
        // Picked by what the records hold, so that their order does not matter to speak of; a fixed seed, so that no run differs.
        for draw in 0..STRANGERS.min(count * 20) {
            let (a, b) = ((mix(draw * 2) % count) as u32, (mix(draw * 2 + 1) % count) as u32);
            if a != b
                && let Some(pattern) = self.pattern(records, rarities, (a.min(b), a.max(b)), &mut memo)
                && let Some(tally) = sums.get_mut(pattern.population as usize)
            {
                tally.add(&pattern, 1.0);
            }
        }
        sums
    }

    /// New weights from shares; returns how far the weight that moved most moved.
    fn settle(&self, same: &[Tally; 3], strangers: &[Tally; 3], bits: &mut [Vec<f64>; 3], training: &mut Training) -> f64 {
        let mut most = 0.0_f64;
        training.levels.clear();
        training.weights = self.config().weights.clone();
        for ((population, (sums, others)), column) in Population::ALL.into_iter().zip(same.iter().zip(strangers)).zip(bits.iter_mut()) {
            let (name, into) = match population {
                Population::Person => ("person", &mut training.weights.person),
                Population::Company => ("company", &mut training.weights.company),
                Population::Private => ("private", &mut training.weights.private),
            };
            for (at, (level, slot)) in Level::ALL.iter().zip(column.iter_mut()).enumerate() {
                let pairs = sums.pairs.get(at).copied().unwrap_or(0);
                let Some(known) = usual(*level, population).filter(|_| pairs > 0) else { continue };
                let found = Usual { same: sums.share(at, known.same, FAITH), different: others.share(at, known.different, DOUBT) };
                let weight = if population == Population::Private {
                    let seen = sums.weight.get(at).copied().unwrap_or(0.0);
                    let rarity = sums.extra.get(at).copied().unwrap_or(0.0) / seen.max(1e-6);
                    let typical = f64::from(level.private_rarity()) * 9.5;
                    base(*level, found, if level.private_rarity() > 0.0 { (rarity * seen + typical * FAITH) / (seen + FAITH) } else { 0.0 })
                } else {
                    // The built-in weight holds what colleagues have in common; it is moved, not replaced.
                    let log = |share: f64| share.max(1e-4).log2();
                    let apart = if level.has_rarity() { 0.0 } else { log(found.different) - log(known.different) };
                    let moved = (log(found.same) - log(known.same) - apart) * PACE;
                    let weight = f64::from(self.table.base(*level, population)) + moved.clamp(-REACH, REACH);
                    let seen = others.weight.get(at).copied().unwrap_or(0.0);
                    let extra = others.extra.get(at).copied().unwrap_or(0.0) / seen.max(1.0);
                    let told = log(found.same) - log(found.different);
                    // What strangers show as often as the same do is no evidence for them, however often the same show it. Of companies
                    // too little is compared for that: what speaks for one is left.
                    if seen < SEEN || population == Population::Company && told > 0.0 {
                        weight
                    } else {
                        weight.min(if told > 0.0 { told } else { told * SHRUNK } - extra)
                    }
                };
                most = most.max((weight - *slot).abs());
                *slot = weight;
                let weight = (weight * 1000.0).round() / 1000.0;
                let (same, different) = (found.same, found.different);
                training.levels.push(LevelShare {
                    level: level.as_str().to_owned(),
                    population: name.to_owned(),
                    same,
                    different,
                    weight,
                    pairs,
                });
                into.insert(level.as_str().to_owned(), weight);
            }
        }
        most
    }
}

/// The passes that bring the fewest matches per pair, as long as together they bring next to none.
fn idle(brought: &[(u64, f64)]) -> Vec<usize> {
    let all: f64 = brought.iter().map(|(_, matches)| matches).sum();
    let mut order: Vec<(f64, usize)> = brought
        .iter()
        .enumerate()
        .filter(|(_, (pairs, _))| *pairs > 0)
        .map(|(piece, (pairs, matches))| (matches / *pairs as f64, piece))
        .collect();
    order.sort_by(|x, y| x.0.total_cmp(&y.0).then(x.1.cmp(&y.1)));
    let mut lost = 0.0;
    let mut out = Vec::new();
    for (_, piece) in order {
        lost += brought.get(piece).map_or(0.0, |(_, matches)| *matches);
        if lost > all * SPARED {
            break;
        }
        out.push(piece);
    }
    out
}

/// A fixed scramble of a number.
fn mix(number: u64) -> u64 {
    let mut state = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}
