//! Groups out of pairs, stricter than "connected": a chain of weak links does not merge a town.

use std::collections::BTreeSet;

/// Bits beyond which one pair cannot outvote the others.
const CAP: f64 = 12.0;
/// What one pair can speak against a union: a garbled record disagrees with its own kind, and many small objections still weigh.
const VETO: f64 = 3.0;
/// Pairs that are looked at when two large groups meet.
const WITNESSES: usize = 400;

/// A scored pair.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) bits: f64,
    pub(super) a: u32,
    pub(super) b: u32,
}

/// Merges by falling weight; a union is refused when the average weight between the two groups is not over `line` bits, or the group
/// would hold more than `most` records, or two that are `apart` (pairs in both directions). `score` weighs any pair, also one that was no candidate.
///
/// Groups are sorted, those of one record left out; the outcome does not depend on the order of `edges`.
pub(super) fn groups(
    count: usize,
    mut edges: Vec<Edge>,
    (line, most): (f64, usize),
    apart: &BTreeSet<(u32, u32)>,
    score: &mut dyn FnMut(u32, u32) -> f64,
) -> Vec<Vec<u32>> {
    edges.sort_unstable_by(|x, y| y.bits.total_cmp(&x.bits).then(x.a.cmp(&y.a)).then(x.b.cmp(&y.b)));
    let mut home: Vec<u32> = (0..count as u32).collect();
    // A record that is alone has no list yet.
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); count];
    for edge in &edges {
        let (Some(&p), Some(&q)) = (home.get(edge.a as usize), home.get(edge.b as usize)) else { continue };
        if p == q {
            continue;
        }
        let (lone_p, lone_q) = ([p], [q]);
        let of = |at: u32, lone: &'_ [u32; 1]| members.get(at as usize).filter(|group| !group.is_empty()).map_or(lone.len(), Vec::len);
        let (size_p, size_q) = (of(p, &lone_p), of(q, &lone_q));
        if size_p + size_q > most {
            continue;
        }
        if !apart.is_empty() {
            let (small, other) = if size_p <= size_q { (p, q) } else { (q, p) };
            let own = [small];
            let small = members.get(small as usize).filter(|group| !group.is_empty()).map_or(&own[..], Vec::as_slice);
            let home = |record: u32| home.get(record as usize).copied();
            if small.iter().any(|at| apart.range((*at, 0)..=(*at, u32::MAX)).any(|(_, foe)| home(*foe) == Some(other))) {
                continue;
            }
        }
        let mean = if size_p == 1 && size_q == 1 {
            edge.bits
        } else {
            let list = |at: u32| members.get(at as usize).map_or(&[][..], Vec::as_slice);
            let (x, y) = (if size_p == 1 { &lone_p[..] } else { list(p) }, if size_q == 1 { &lone_q[..] } else { list(q) });
            if size_p >= size_q { average(x, y, score) } else { average(y, x, score) }
        };
        // As much against as for is not enough.
        if mean <= line {
            continue;
        }
        let (keep, goes) = if size_p >= size_q { (p, q) } else { (q, p) };
        let mut moved = members.get_mut(goes as usize).map(std::mem::take).unwrap_or_default();
        if moved.is_empty() {
            moved.push(goes);
        }
        for member in &moved {
            if let Some(place) = home.get_mut(*member as usize) {
                *place = keep;
            }
        }
        if let Some(group) = members.get_mut(keep as usize) {
            if group.is_empty() {
                group.push(keep);
            }
            group.extend(moved);
        }
    }
    let mut out: Vec<Vec<u32>> = members.into_iter().filter(|group| group.len() > 1).collect();
    for group in &mut out {
        group.sort_unstable();
    }
    out.sort_unstable();
    out
}

fn average(left: &[u32], right: &[u32], score: &mut dyn FnMut(u32, u32) -> f64) -> f64 {
    let all = left.len() * right.len();
    let step = all.div_ceil(WITNESSES).max(1);
    let (mut sum, mut seen) = (0.0, 0_usize);
    for at in (0..all).step_by(step) {
        if let (Some(a), Some(b)) = (left.get(at / right.len()), right.get(at % right.len())) {
            sum += score(*a.min(b), *a.max(b)).clamp(-VETO, CAP);
            seen += 1;
        }
    }
    sum / seen.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(a: u32, b: u32, bits: f64) -> Edge {
        Edge { bits, a, b }
    }

    #[test]
    fn a_chain_does_not_merge_a_town() {
        let edges: Vec<Edge> = (0..50).map(|at| edge(at, at + 1, 3.0)).collect();
        let mut score = |a: u32, b: u32| if b - a == 1 { 3.0 } else { -10.0 };
        assert!(groups(51, edges, (0.0, 100), &BTreeSet::new(), &mut score).iter().all(|group| group.len() == 2));
    }

    #[test]
    fn order_of_the_edges_does_not_matter_and_size_is_bounded() {
        let edges = vec![edge(0, 1, 5.0), edge(1, 2, 4.0), edge(3, 4, 9.0)];
        let backwards: Vec<Edge> = edges.iter().rev().copied().collect();
        let mut score = |_: u32, _: u32| 5.0;
        let none = BTreeSet::new();
        let found = groups(6, edges.clone(), (0.0, 100), &none, &mut score);
        assert_eq!(found, [vec![0, 1, 2], vec![3, 4]]);
        assert_eq!(groups(6, backwards, (0.0, 100), &none, &mut score), found);
        assert_eq!(groups(6, edges.clone(), (0.0, 2), &none, &mut score), [vec![0, 1], vec![3, 4]]);
        // Two that are not one never come together, also not by way of a third.
        let apart = BTreeSet::from([(0, 2), (2, 0), (3, 4), (4, 3)]);
        assert_eq!(groups(6, edges, (0.0, 100), &apart, &mut score), [vec![0, 1]]);
    }
}
