//! String measures: a bit-parallel Jaro-Winkler and a banded edit distance.

/// Jaro-Winkler similarity, 0 to 1: prefix of at most 4 at weight 0.1, counted only when Jaro is above 0.7.
///
/// | a | b | value |
/// |---|---|---|
/// | `martha` | `marhta` | 0.9611 |
/// | `dixon` | `dicksonx` | 0.8133 |
/// | `dwayne` | `duane` | 0.84 |
///
/// Two empty texts are equal (1.0). Time is linear for ASCII texts of at most 64 bytes.
pub fn jaro_winkler(a: &str, b: &str) -> f64 {
    if a == b {
        return 1.0;
    }
    if a.is_ascii() && b.is_ascii() && a.len() <= 64 && b.len() <= 64 {
        let (a, b) = (a.as_bytes(), b.as_bytes());
        let prefix = a.iter().zip(b).take(4).take_while(|(x, y)| x == y).count();
        boost(jaro_bits(a, b), prefix)
    } else {
        let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
        let prefix = a.iter().zip(&b).take(4).take_while(|(x, y)| x == y).count();
        boost(jaro_chars(&a, &b), prefix)
    }
}

fn boost(jaro: f64, prefix: usize) -> f64 {
    if jaro > 0.7 { jaro + 0.1 * prefix as f64 * (1.0 - jaro) } else { jaro }
}

fn jaro_bits(a: &[u8], b: &[u8]) -> f64 {
    if a.is_empty() || b.is_empty() {
        return if a.len() == b.len() { 1.0 } else { 0.0 };
    }
    let mut places = [0_u64; 128];
    let mut bit = 1_u64;
    for byte in a {
        if let Some(place) = places.get_mut(usize::from(*byte)) {
            *place |= bit;
        }
        bit = bit.wrapping_shl(1);
    }
    let reach = (a.len().max(b.len()) / 2).saturating_sub(1);
    let all = if a.len() == 64 { u64::MAX } else { (1_u64 << a.len()) - 1 };
    let (mut used_a, mut used_b) = (0_u64, 0_u64);
    let mut matches = 0_u32;
    for (at, byte) in b.iter().enumerate() {
        let low = at.saturating_sub(reach);
        let high = at + reach;
        if low >= 64 {
            break;
        }
        let window = (if high >= 63 { u64::MAX } else { (1_u64 << (high + 1)) - 1 }) & (u64::MAX << low) & all;
        let free = places.get(usize::from(*byte)).copied().unwrap_or(0) & window & !used_a;
        if free != 0 {
            used_a |= free & free.wrapping_neg();
            used_b |= 1 << at;
            matches += 1;
        }
    }
    if matches == 0 {
        return 0.0;
    }
    let mut moved = 0_u32;
    let (mut rest_a, mut rest_b) = (used_a, used_b);
    while rest_a != 0 && rest_b != 0 {
        if a.get(rest_a.trailing_zeros() as usize) != b.get(rest_b.trailing_zeros() as usize) {
            moved += 1;
        }
        rest_a &= rest_a - 1;
        rest_b &= rest_b - 1;
    }
    mean(f64::from(matches), f64::from(moved / 2), a.len(), b.len())
}

fn mean(matches: f64, transposed: f64, a: usize, b: usize) -> f64 {
    (matches / a as f64 + matches / b as f64 + (matches - transposed) / matches) / 3.0
}

fn jaro_chars(a: &[char], b: &[char]) -> f64 {
    if a.is_empty() || b.is_empty() {
        return if a.len() == b.len() { 1.0 } else { 0.0 };
    }
    let reach = (a.len().max(b.len()) / 2).saturating_sub(1);
    let mut used = vec![false; a.len()];
    let mut from_b = Vec::new();
    for (at, c) in b.iter().enumerate() {
        let low = at.saturating_sub(reach);
        for (other, taken) in a.iter().zip(used.iter_mut()).take(at + reach + 1).skip(low) {
            if other == c && !*taken {
                *taken = true;
                from_b.push(*c);
                break;
            }
        }
    }
    if from_b.is_empty() {
        return 0.0;
    }
    let from_a = a.iter().zip(&used).filter(|(_, taken)| **taken).map(|(c, _)| c);
    let moved = from_a.zip(&from_b).filter(|(x, y)| x != y).count();
    mean(from_b.len() as f64, (moved / 2) as f64, a.len(), b.len())
}

/// Whether the texts differ by at most one insertion, deletion, replacement or swap of neighbours
/// (optimal string alignment distance of at most 1). Linear time, no allocation.
pub fn within_one_edit(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    if a.len().abs_diff(b.len()) > 4 {
        return false;
    }
    let (x, y) = (a.as_bytes(), b.as_bytes());
    let prefix = x.iter().zip(y).take_while(|(p, q)| p == q).count();
    let (x, y) = (x.get(prefix..).unwrap_or(&[]), y.get(prefix..).unwrap_or(&[]));
    let suffix = x.iter().rev().zip(y.iter().rev()).take_while(|(p, q)| p == q).count();
    match (x.get(..x.len() - suffix).unwrap_or(&[]), y.get(..y.len() - suffix).unwrap_or(&[])) {
        // Two letters of four bytes are the most that one edit leaves.
        (x, y) if x.len().max(y.len()) > 8 => false,
        (x, y) if !x.is_ascii() || !y.is_ascii() => within_one_letter(a, b),
        ([] | [_], [] | [_]) => true,
        ([p1, p2], [q1, q2]) => p1 == q2 && p2 == q1,
        _ => false,
    }
}

/// Whether the optimal string alignment distance is at most 2, without building its table.
pub(super) fn within_two_edits(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() { few_edits(a.as_bytes(), b.as_bytes(), 2) } else { osa(a, b) <= 2 }
}

fn few_edits(a: &[u8], b: &[u8], left: usize) -> bool {
    let same = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    match (a.get(same..).unwrap_or(&[]), b.get(same..).unwrap_or(&[])) {
        ([], rest) | (rest, []) => rest.len() <= left,
        (x, y) if left == 0 || x.len().abs_diff(y.len()) > left => false,
        (all_x @ [p, x @ ..], all_y @ [q, y @ ..]) => {
            let swapped = match (x, y) {
                ([next_p, x @ ..], [next_q, y @ ..]) => p == next_q && q == next_p && few_edits(x, y, left - 1),
                _ => false,
            };
            swapped || few_edits(x, y, left - 1) || few_edits(x, all_y, left - 1) || few_edits(all_x, y, left - 1)
        }
    }
}

fn within_one_letter(a: &str, b: &str) -> bool {
    let prefix: usize = a.chars().zip(b.chars()).take_while(|(x, y)| x == y).map(|(x, _)| x.len_utf8()).sum();
    let (a, b) = (a.get(prefix..).unwrap_or(""), b.get(prefix..).unwrap_or(""));
    let suffix: usize = a.chars().rev().zip(b.chars().rev()).take_while(|(x, y)| x == y).map(|(x, _)| x.len_utf8()).sum();
    let (a, b) = (a.get(..a.len() - suffix).unwrap_or(""), b.get(..b.len() - suffix).unwrap_or(""));
    let (mut left, mut right) = (a.chars(), b.chars());
    match (left.next(), left.next(), left.next(), right.next(), right.next(), right.next()) {
        (_, None, _, _, None, _) => true,
        (Some(x1), Some(x2), None, Some(y1), Some(y2), None) => x1 == y2 && x2 == y1,
        _ => false,
    }
}

/// Optimal string alignment distance (Damerau-Levenshtein where no part is edited twice).
///
/// Time is the product of the lengths; meant for short values.
pub fn osa(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let width = b.len() + 1;
    let mut before: Vec<usize> = vec![0; width];
    let mut above: Vec<usize> = (0..width).collect();
    let mut last_a = None;
    for (row, x) in a.iter().enumerate() {
        let mut here = Vec::with_capacity(width);
        here.push(row + 1);
        let mut last_b = None;
        for (column, y) in b.iter().enumerate() {
            let at = |line: &[usize], place: usize| line.get(place).copied().unwrap_or(usize::MAX / 2);
            let mut cost = (at(&above, column + 1) + 1).min(at(&here, column) + 1).min(at(&above, column) + usize::from(x != y));
            if column > 0 && last_a == Some(*y) && last_b == Some(*x) {
                cost = cost.min(at(&before, column - 1) + 1);
            }
            here.push(cost);
            last_b = Some(*y);
        }
        before = above;
        above = here;
        last_a = Some(*x);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vectors() {
        for (a, b, value) in
            [("martha", "marhta", 0.9611), ("dixon", "dicksonx", 0.8133), ("dwayne", "duane", 0.84), ("", "", 1.0), ("", "a", 0.0)]
        {
            assert!((jaro_winkler(a, b) - value).abs() < 1e-4, "{a} {b} {}", jaro_winkler(a, b));
        }
        assert!(within_one_edit("kim", "kiim") && within_one_edit("jfefrey", "jeffrey") && !within_one_edit("abc", "cba"));
    }

    proptest! {
        #[test]
        fn equal_to_strsim(a in "[a-d]{0,70}", b in "[a-d]{0,70}") {
            prop_assert!((jaro_winkler(&a, &b) - strsim::jaro_winkler(&a, &b)).abs() < 1e-9);
        }

        #[test]
        fn equal_to_strsim_in_any_script(a in "[aäß東é]{0,12}", b in "[aäß東é]{0,12}") {
            prop_assert!((jaro_winkler(&a, &b) - strsim::jaro_winkler(&a, &b)).abs() < 1e-9);
            prop_assert_eq!(osa(&a, &b), strsim::osa_distance(&a, &b));
            prop_assert_eq!(within_one_edit(&a, &b), strsim::osa_distance(&a, &b) <= 1);
        }

        #[test]
        fn two_edits_are_those_of_the_table(a in "[a-c]{0,9}", b in "[a-c]{0,9}", c in "[aä東b]{0,5}", d in "[aä東b]{0,5}") {
            prop_assert_eq!(within_two_edits(&a, &b), strsim::osa_distance(&a, &b) <= 2);
            prop_assert_eq!(within_two_edits(&c, &d), strsim::osa_distance(&c, &d) <= 2);
        }

        #[test]
        fn symmetric(a in "[a-c]{0,9}", b in "[a-c]{0,9}") {
            prop_assert_eq!(within_one_edit(&a, &b), within_one_edit(&b, &a));
            prop_assert_eq!(within_one_edit(&a, &b), strsim::osa_distance(&a, &b) <= 1);
        }
    }
}
