//! All duplicates of a set in one pass.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::cluster::{Edge, groups};
use super::config::Scoring;
use super::frequency::Rarities;
use super::memo::Memo;
use super::plan::Plan;
use super::prepared::Prepared;
use super::records::{Kind, Records};
use super::score::{Deduper, Match, Reason, logit, prior, probability};
use super::workers::{InPlace, Workers, collect};

/// Two records of a set, by their places in it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Pair {
    /// Place of the first record; smaller than `b`.
    pub a: usize,
    /// Place of the second record.
    pub b: usize,
    /// Probability that they are one, judged by themselves; inside a group it may be low where others bridge the two.
    pub score: f64,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// What a search over a set found.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Found {
    /// Groups of two and more records, by place, each sorted, ordered by their first member. No record is in two of them.
    pub groups: Vec<Vec<usize>>,
    /// Every pair inside the groups.
    pub pairs: Vec<Pair>,
    /// Pairs above the review line that were not put into one group.
    pub review: Vec<Pair>,
    /// Pairs that were compared.
    pub candidates: u64,
}

/// Two records of a [`Records`], by number, and how likely they are one.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Likely {
    /// Number of the first record; smaller than `b`.
    pub a: u32,
    /// Number of the second record.
    pub b: u32,
    /// Probability that they are one, judged by themselves.
    pub score: f64,
}

/// What a search over [`Records`] found; reasons are made when asked for ([`Duplicates::explain`]), millions of pairs fit in memory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Duplicates {
    /// Groups of two and more records, by number, each sorted, ordered by their first member. No record is in two of them.
    pub groups: Vec<Vec<u32>>,
    /// Every pair inside the groups; of a link only those with one record of each set.
    pub pairs: Vec<Likely>,
    /// Pairs above the review line that were not put into one group.
    pub review: Vec<Likely>,
    /// Pairs that were compared.
    pub candidates: u64,
    /// Places in blocks that were too large to be compared whole (see [`DedupConfig::max_block`](super::DedupConfig::max_block)).
    pub cut: u64,
    /// The odds of two records picked blindly, in bits, as this set suggests them.
    pub prior: f64,
    rarities: Rarities,
}

impl Duplicates {
    /// The evidence for and against a pair of the records this was found in.
    pub fn explain(&self, deduper: &Deduper, records: &Records, a: u32, b: u32) -> Match {
        deduper.explain(records, &self.rarities, (a.min(b), a.max(b)), self.prior, &mut Memo::default())
    }

    /// The same in one line for a file of many pairs, without making a [`Match`] of it: returns the score and appends the reasons to
    /// `out`, the strongest first, `; ` between them, the odds before any evidence left out.
    ///
    /// ```
    /// use crm_sync::dedup::{DedupConfig, Deduper, InPlace, Prepared, Records, Role};
    ///
    /// let ann = Prepared::new(&[(Role::Full, "Ann Keller"), (Role::Email, "ann.keller@firm.com")]);
    /// let mut records = Records::new();
    /// records.push(&ann);
    /// records.push(&ann);
    /// let deduper = Deduper::new(DedupConfig::default())?;
    /// let found = deduper.find(&records, &InPlace);
    /// let mut line = String::new();
    /// let score = found.describe(&deduper, &records, (0, 1), &mut line);
    /// let why = found.explain(&deduper, &records, 0, 1);
    /// let reasons: Vec<String> = why.reasons.iter().filter(|reason| reason.rule != "prior").map(ToString::to_string).collect();
    /// assert_eq!((score, line), (why.score, reasons.join("; ")));
    /// # Ok::<(), crm_sync::error::Error>(())
    /// ```
    pub fn describe(&self, deduper: &Deduper, records: &Records, (a, b): (u32, u32), out: &mut String) -> f64 {
        deduper.describe(records, &self.rarities, (a.min(b), a.max(b)), self.prior, out)
    }
}

/// How far the data may lift the prior, in bits.
const LIFT: f64 = 4.0;
/// Without employers and addresses of firms nobody shares much with a stranger: a union may be this much under the review line
/// on average, in bits.
const SLACK: f64 = 2.0;
/// Groups whose pairs are listed in one piece of work.
const GROUPS: usize = 4096;

impl Deduper {
    /// Finds the duplicates among `records`, with the reasons for each pair. For sets that fit in memory many times over;
    /// [`Deduper::find`] does the same on compact records.
    ///
    /// Time grows with the number of records, not with its square. The same records give the same groups in any order; rare
    /// values are told from common ones by counting in `records`.
    ///
    /// `progress` is called with the number of records that are done, some dozen times.
    pub fn find_all(&self, records: &[Prepared], progress: &mut dyn FnMut(usize)) -> Found {
        self.find_all_but(records, &[], progress)
    }

    /// As [`Deduper::find_all`]; the pairs of places in `apart` were said not to be one ([`Distinct::among`](super::Distinct::among)
    /// tells them): no group holds both, no pair names them. Places beyond the records are ignored.
    pub fn find_all_but(&self, records: &[Prepared], apart: &[(usize, usize)], progress: &mut dyn FnMut(usize)) -> Found {
        let mut set = Records::new();
        for record in records {
            set.push(record);
        }
        for (a, b) in apart {
            if let (Ok(a), Ok(b)) = (u32::try_from(*a), u32::try_from(*b)) {
                set.keep_apart(a, b);
            }
        }
        let found = self.find(&set, &Told { tell: RefCell::new(progress), records: records.len(), share: Cell::new((0.0, 0.0)) });
        let mut memo = Memo::roomy();
        let mut tell = |pair: &Likely| {
            let why = self.explain(&set, &found.rarities, (pair.a, pair.b), found.prior, &mut memo);
            Pair { a: pair.a as usize, b: pair.b as usize, score: why.score, reasons: why.reasons }
        };
        Found {
            groups: found.groups.iter().map(|group| group.iter().map(|at| *at as usize).collect()).collect(),
            pairs: found.pairs.iter().map(&mut tell).collect(),
            review: found.review.iter().map(&mut tell).collect(),
            candidates: found.candidates,
        }
    }

    /// Scores pairs of a set that the host has found by itself, in their order: only what says who is one, without groups. Rare
    /// values are told from common ones by counting in `records`; a number that is not in them scores 0.
    pub fn score_pairs(&self, records: &Records, pairs: &[(u32, u32)]) -> Vec<Likely> {
        let rarities = Rarities::count(records, &InPlace);
        let size = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let start = if self.config.scoring == Scoring::Evidence { prior(size) } else { 0.0 };
        let mut memo = Memo::roomy();
        let mut score = |a: u32, b: u32| {
            let (x, y) = (records.row(a), records.row(b));
            if x.is_blank() || y.is_blank() {
                return 0.0;
            }
            let bits = self.bits(records, &rarities, (&x, &y), f64::NEG_INFINITY, &mut memo);
            bits.map_or(0.0, |bits| probability(bits + start))
        };
        pairs.iter().map(|(a, b)| (*a.min(b), *a.max(b))).map(|(a, b)| Likely { a, b, score: score(a, b) }).collect()
    }

    /// As [`Deduper::score_pairs`], but only the pairs at or above the review line are returned: a pair is left as soon as no
    /// agreement of the rest can lift it there, which takes a fraction of the time.
    ///
    /// ```
    /// use crm_sync::dedup::{DedupConfig, Deduper, Prepared, Records, Role};
    ///
    /// let mut records = Records::new();
    /// for mail in ["ann.keller@firm.com", "Ann.Keller@firm.com", "bob@other.org"] {
    ///     records.push(&Prepared::new(&[(Role::Full, "Ann Keller"), (Role::Email, mail)]));
    /// }
    /// let likely = Deduper::new(DedupConfig::default())?.likely_pairs(&records, &[(0, 1), (0, 2), (1, 2)]);
    /// assert_eq!(likely.iter().map(|pair| (pair.a, pair.b)).collect::<Vec<_>>(), [(0, 1)]);
    /// # Ok::<(), crm_sync::error::Error>(())
    /// ```
    pub fn likely_pairs(&self, records: &Records, pairs: &[(u32, u32)]) -> Vec<Likely> {
        let rarities = Rarities::count(records, &InPlace);
        let size = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let start = if self.config.scoring == Scoring::Evidence { prior(size) } else { 0.0 };
        let floor = logit(self.config.review) - start;
        let (rows, mut memo) = (records.rows(), Memo::roomy());
        let mut score = |(a, b): (u32, u32)| {
            let (x, y) = (rows.get(a as usize)?, rows.get(b as usize)?);
            if x.is_blank() || y.is_blank() {
                return None;
            }
            let bits = self.bits(records, &rarities, (x, y), floor, &mut memo)?;
            Some(Likely { a, b, score: probability(bits + start) })
        };
        pairs.iter().filter_map(|(a, b)| score((*a.min(b), *a.max(b)))).collect()
    }

    /// Finds the duplicates in a set of compact records on the hands that `workers` lends ([`InPlace`](super::InPlace) for none).
    ///
    /// Beside the records this takes about 400 bytes a record. The answer is the same whatever order the pieces of work run in.
    pub fn find(&self, records: &Records, workers: &dyn Workers) -> Duplicates {
        self.find_but(records, records.apart(), workers)
    }

    /// Finds the records of one set ([`Records::push`]) that are in the other ([`Records::push_other`]); pairs inside a set are not
    /// looked at.
    pub fn link(&self, records: &Records, workers: &dyn Workers) -> Duplicates {
        let plan = Plan::new(records, self.config.max_block, workers);
        self.search(records, Rarities::count(records, workers), plan, workers, (true, records.apart()))
    }

    /// As [`Deduper::find`], with the pairs that are not one given, in both directions.
    pub(super) fn find_but(&self, records: &Records, apart: &BTreeSet<(u32, u32)>, workers: &dyn Workers) -> Duplicates {
        let plan = Plan::new(records, self.config.max_block, workers);
        self.search(records, Rarities::count(records, workers), plan, workers, (false, apart))
    }

    pub(super) fn search(
        &self,
        records: &Records,
        rarities: Rarities,
        plan: Plan,
        workers: &dyn Workers,
        (across, apart): (bool, &BTreeSet<(u32, u32)>),
    ) -> Duplicates {
        let size = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let (match_line, review_line) = (logit(self.config.threshold), logit(self.config.review));
        let by_evidence = self.config.scoring == Scoring::Evidence;
        let start = if by_evidence { prior(size) } else { 0.0 };
        // What even the highest prior does not lift over the line is out.
        let floor = review_line - if by_evidence { start + LIFT } else { 0.0 };
        workers.progress(0.3, 0.8);
        let rows = records.rows();
        let ahead = |next: &[u32]| {
            let next = || next.iter().filter_map(|at| rows.get(*at as usize));
            let found = next().fold(0, |sum, row| sum ^ row.one(Kind::First) ^ row.one(Kind::Gender));
            next().fold(found, |sum, row| sum ^ rarities.glances().map_or(0, |glances| glances.touch(row)))
        };
        let scored = collect(workers, plan.pieces(), &|piece| {
            let mut memo = Memo::roomy();
            let mut edges = Vec::new();
            let mut candidates = 0_u64;
            let visit = |a: u32, b: u32| {
                let (Some(x), Some(y)) = (rows.get(a as usize), rows.get(b as usize)) else { return };
                if across && x.side == y.side {
                    return;
                }
                candidates += 1;
                if !apart.is_empty() && apart.contains(&(a, b)) {
                    return;
                }
                if let Some(bits) = self.bits(records, &rarities, (x, y), floor, &mut memo) {
                    edges.push(Edge { bits, a, b });
                }
            };
            plan.visit(piece, records, (|_| true, ahead), visit);
            (edges, candidates)
        });
        let cut = plan.cut;
        drop(plan);
        let candidates = scored.iter().map(|(_, count)| count).sum();
        let mut edges: Vec<Edge> = scored.into_iter().flat_map(|(edges, _)| edges).collect();
        edges.sort_unstable_by_key(|edge| (edge.a, edge.b));
        edges.dedup_by_key(|edge| (edge.a, edge.b));
        let prior = if by_evidence { fit(&edges, start, size, 1.0) } else { 0.0 };
        for edge in &mut edges {
            edge.bits += prior;
        }
        edges.retain(|edge| edge.bits >= review_line);
        let weigh = |a: u32, b: u32, memo: &mut Memo| {
            let bits = self.bits(records, &rarities, (&records.row(a), &records.row(b)), f64::NEG_INFINITY, memo);
            bits.map_or(f64::NEG_INFINITY, |bits| bits + prior)
        };
        let strong: Vec<Edge> = edges.iter().filter(|edge| edge.bits >= match_line).copied().collect();
        let mut memo = Memo::roomy();
        let union_line = review_line - if rarities.is_private() { SLACK } else { 0.0 };
        let groups = groups(records.len(), strong, (union_line, self.config.max_group), apart, &mut |a, b| weigh(a, b, &mut memo));
        workers.progress(0.9, 1.0);
        let mut home: Vec<u32> = vec![0; records.len()];
        for (group, number) in groups.iter().zip(1_u32..) {
            for member in group {
                if let Some(place) = home.get_mut(*member as usize) {
                    *place = number;
                }
            }
        }
        let inside = collect(workers, groups.len().div_ceil(GROUPS), &|piece| {
            let mut memo = Memo::roomy();
            let mut pairs = Vec::new();
            for group in groups.iter().skip(piece * GROUPS).take(GROUPS) {
                for (at, a) in group.iter().enumerate() {
                    for b in group.iter().skip(at + 1) {
                        if !across || records.row(*a).side != records.row(*b).side {
                            pairs.push(Likely { a: *a, b: *b, score: probability(weigh(*a, *b, &mut memo)) });
                        }
                    }
                }
            }
            pairs
        });
        let group = |at: u32| home.get(at as usize).copied().unwrap_or(0);
        let across_groups = |edge: &&Edge| group(edge.a) == 0 || group(edge.a) != group(edge.b);
        let review =
            edges.iter().filter(across_groups).map(|edge| Likely { a: edge.a, b: edge.b, score: probability(edge.bits) }).collect();
        workers.progress(1.0, 1.0);
        Duplicates { groups, pairs: inside.into_iter().flatten().collect(), review, candidates, cut, prior, rarities }
    }
}

/// Tells a caller on the same thread how many records are done.
struct Told<'a> {
    tell: RefCell<&'a mut dyn FnMut(usize)>,
    records: usize,
    share: Cell<(f64, f64)>,
}

impl Workers for Told<'_> {
    fn run(&self, pieces: usize, work: &(dyn Fn(usize) + Sync)) {
        let (from, to) = self.share.get();
        for piece in 0..pieces {
            work(piece);
            let done = from + (to - from) * (piece + 1) as f64 / pieces as f64;
            (self.tell.borrow_mut())((done * self.records as f64) as usize);
        }
    }

    fn progress(&self, from: f64, to: f64) {
        self.share.set((from, to));
        (self.tell.borrow_mut())((from * self.records as f64) as usize);
    }
}

/// The prior that the set itself suggests: expected matches over all pairs, a few steps from the assumption of one partner a record.
/// A file in which everybody stands ten times deserves higher odds.
///
/// `each` is how many matches one edge stands for, when the edges are a sample.
pub(super) fn fit(edges: &[Edge], start: f64, size: u32, each: f64) -> f64 {
    let all = f64::from(size) * f64::from(size.saturating_sub(1)) / 2.0;
    let mut prior = start;
    for _ in 0..4 {
        let expected: f64 = each * edges.iter().map(|edge| probability(edge.bits + prior)).sum::<f64>();
        if expected < 1.0 || all < expected * 2.0 {
            break;
        }
        prior = (expected / (all - expected)).log2().clamp(start, start + LIFT);
    }
    prior
}
