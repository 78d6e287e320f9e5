//! All duplicates of a set in one pass.

use serde::{Deserialize, Serialize};

use super::blocking::candidates;
use super::cluster::{Edge, groups};
use super::config::Scoring;
use super::frequency::rarities;
use super::prepared::Prepared;
use super::score::{Deduper, Reason, logit, prior, probability};

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

impl Deduper {
    /// Finds the duplicates among `records`. Time grows with the number of records, not with its square; memory is about
    /// 8 bytes per compared pair. The same records in the same order give the same answer; rare values are told from common ones
    /// by counting in `records`.
    ///
    /// `progress` is called with the number of records that are done, some hundred times.
    pub fn find_all(&self, records: &[Prepared], progress: &mut dyn FnMut(usize)) -> Found {
        let size = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let rarities = rarities(records);
        let pairs = candidates(records, self.config.max_block);
        let weigh =
            |a: u32, b: u32| match (records.get(a as usize), records.get(b as usize), rarities.get(a as usize), rarities.get(b as usize)) {
                (Some(x), Some(y), Some(p), Some(q)) => self.bits(x, y, p, q),
                _ => f64::NEG_INFINITY,
            };
        let (match_line, review_line) = (logit(self.config.threshold), logit(self.config.review));
        let step = (records.len() / 200).max(1);
        let by_evidence = self.config.scoring == Scoring::Evidence;
        let highest = if by_evidence { prior(size) + LIFT } else { 0.0 };
        let mut reported = 0;
        let mut edges = Vec::new();
        for pair in &pairs {
            let (a, b) = ((pair >> 32) as u32, (pair & 0xffff_ffff) as u32);
            if a as usize >= reported + step {
                reported = a as usize;
                progress(reported);
            }
            let bits = weigh(a, b);
            // What even the highest prior does not lift over the line is out.
            if bits >= review_line - highest {
                edges.push(Edge { bits, a, b });
            }
        }
        progress(records.len());
        let prior = if by_evidence { fit(&edges, prior(size), size) } else { 0.0 };
        for edge in &mut edges {
            edge.bits += prior;
        }
        edges.retain(|edge| edge.bits >= review_line);
        let weigh = |a: u32, b: u32| weigh(a, b) + prior;
        let strong: Vec<Edge> = edges.iter().filter(|edge| edge.bits >= match_line).copied().collect();
        let groups = groups(records.len(), strong, review_line, self.config.max_group, &mut |a, b| weigh(a, b));
        let mut home: Vec<u32> = vec![0; records.len()];
        for (group, number) in groups.iter().zip(1_u32..) {
            for member in group {
                if let Some(place) = home.get_mut(*member) {
                    *place = number;
                }
            }
        }
        let explain = |a: usize, b: usize| {
            let found = match (records.get(a), records.get(b), rarities.get(a), rarities.get(b)) {
                (Some(x), Some(y), Some(p), Some(q)) => self.explain(x, y, p, q, prior),
                _ => super::score::Match::default(),
            };
            Pair { a, b, score: found.score, reasons: found.reasons }
        };
        let together = |edge: &Edge| {
            let group = |at: u32| home.get(at as usize).copied().unwrap_or(0);
            group(edge.a) != 0 && group(edge.a) == group(edge.b)
        };
        let mut inside = Vec::new();
        for group in &groups {
            for (at, a) in group.iter().enumerate() {
                inside.extend(group.iter().skip(at + 1).map(|b| explain(*a, *b)));
            }
        }
        let review = edges.iter().filter(|edge| !together(edge)).map(|edge| explain(edge.a as usize, edge.b as usize)).collect();
        Found { groups, pairs: inside, review, candidates: pairs.len() as u64 }
    }
}

/// How far the data may lift the prior, in bits.
const LIFT: f64 = 4.0;

/// The prior that the set itself suggests: expected matches over all pairs, a few steps from the assumption of one partner a record.
/// A file in which everybody stands ten times deserves higher odds.
fn fit(edges: &[Edge], start: f64, size: u32) -> f64 {
    let all = f64::from(size) * f64::from(size.saturating_sub(1)) / 2.0;
    let mut prior = start;
    for _ in 0..4 {
        let expected: f64 = edges.iter().map(|edge| probability(edge.bits + prior)).sum();
        if expected < 1.0 || all < expected * 2.0 {
            break;
        }
        prior = (expected / (all - expected)).log2().clamp(start, start + LIFT);
    }
    prior
}
