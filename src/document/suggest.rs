//! "Did you mean": near names among those that exist.

/// A name without what people get wrong: case, `_`, blanks, `-` and Salesforce's `__c`.
pub(crate) fn squash(name: &str) -> String {
    let name = name.strip_suffix("__c").unwrap_or(name);
    name.chars().filter(|c| !matches!(c, '_' | ' ' | '-')).flat_map(char::to_lowercase).collect()
}

/// Up to three of `names` that are a slip of the finger away from `wanted`, nearest first.
pub(crate) fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let squashed: Vec<char> = squash(wanted).chars().take(64).collect();
    let limit = if squashed.len() <= 3 { 1 } else { 2 };
    let mut hits: Vec<(usize, &str)> = Vec::new();
    for name in names {
        let other: Vec<char> = squash(name).chars().take(64).collect();
        let distance = osa(&squashed, &other);
        if distance <= limit && !hits.iter().any(|(_, known)| *known == name) {
            hits.push((distance, name));
        }
    }
    hits.sort_by_key(|(distance, _)| *distance);
    hits.truncate(3);
    hits.into_iter().map(|(_, name)| name).collect()
}

/// `did you mean "A" or "B"?`, or nothing.
pub(crate) fn did_you_mean<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let hits = nearest(wanted, names);
    if hits.is_empty() {
        return None;
    }
    let quoted: Vec<String> = hits.iter().map(|hit| format!("{hit:?}")).collect();
    Some(format!("did you mean {}?", quoted.join(" or ")))
}

/// Optimal string alignment: insert, delete, replace, swap neighbours.
fn osa(a: &[char], b: &[char]) -> usize {
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let cost = usize::from(x != y);
            let mut best = (at(&last, j) + cost).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            if i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x) {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    at(&last, b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger() {
        let names = ["Email", "FirstName", "Marketing_Score__c", "City"];
        assert_eq!(nearest("Emial", names), ["Email"]);
        assert_eq!(nearest("marketingscore", names), ["Marketing_Score__c"]);
        assert_eq!(nearest("Firstname", names), ["FirstName"]);
        assert!(nearest("Telephone", names).is_empty());
        assert!(nearest("x", names).is_empty());
        assert_eq!(did_you_mean("Ciyt", names).as_deref(), Some(r#"did you mean "City"?"#));
    }
}
