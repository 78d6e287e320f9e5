//! Personal names: titles off, particles kept, first and last told apart.

use std::collections::HashSet;
use std::sync::OnceLock;

use super::text::{fold, hash, squash};

/// English given names and nicknames, from the package nicknames 1.0.1 (Apache-2.0).
const NICKNAMES: &str = include_str!("nicknames.csv");

const TITLES: &[&str] = &[
    "mr",
    "mrs",
    "ms",
    "miss",
    "mx",
    "sir",
    "dame",
    "lady",
    "lord",
    "dr",
    "drs",
    "prof",
    "professor",
    "rev",
    "hon",
    "herr",
    "frau",
    "mme",
    "mlle",
    "madame",
    "monsieur",
    "m",
    "dhr",
    "mevr",
    "ing",
    "dipl",
    "mag",
    "sig",
    "sra",
    "don",
    "dott",
    "avv",
    "pan",
    "pani",
];
const SUFFIXES: &[&str] = &["mba", "phd", "md", "msc", "bsc", "ma", "ba", "esq", "cpa", "pmp", "llm", "llb", "dds", "obe", "rn"];
const PARTICLES: &[&str] = &[
    "van", "von", "vom", "de", "da", "di", "del", "della", "der", "den", "des", "dos", "du", "la", "le", "bin", "ibn", "al", "el", "ter",
    "ten", "te", "zu", "zum", "zur", "mc", "mac", "st", "san", "o",
];

/// A personal name after normalising.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct PersonName {
    /// Given names as folded words.
    pub first: String,
    /// Family name as folded words, with its particles.
    pub last: String,
    /// 1 for Sr, 2 for Jr or II, 3 for III, ...: two different ones are two persons.
    pub generation: Option<u8>,
}

impl std::fmt::Debug for PersonName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PersonName").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// Normalises a name given as parts, as a whole, or as a whole in the wrong part.
///
/// | first | last | whole | gives first / last |
/// |---|---|---|---|
/// | `Dr. José` | `García` | | `jose` / `garcia` |
/// | | | `Smith, John` | `john` / `smith` |
/// | | | `Ludwig van Beethoven` | `ludwig` / `van beethoven` |
/// | | `Anna Schmidt` | | `anna` / `schmidt` |
/// | `Anna Schmidt` | | | `anna` / `schmidt` |
/// | `Martin Luther` | `King Jr.` | | `martin luther` / `king`, generation 2 |
/// | `Prof.` | `Kim` | | empty / `kim` |
///
/// Family-name-first orders are not guessed: names are always compared swapped as well.
pub fn person_name(first: &str, last: &str, whole: &str) -> PersonName {
    let mut generation = None;
    let given = words(first, &mut generation);
    let family = words(last, &mut generation);
    if given.is_empty() && family.is_empty() {
        return split(whole, generation);
    }
    if family.is_empty() && given.len() > 1 {
        return split(first, generation);
    }
    if given.is_empty() && family.len() > 1 && !family.first().is_some_and(|word| PARTICLES.contains(&word.as_str())) {
        return split(last, generation);
    }
    PersonName { first: given.join(" "), last: family.join(" "), generation }
}

fn split(whole: &str, mut generation: Option<u8>) -> PersonName {
    if let Some((family, given)) = whole.split_once(',') {
        let family = words(family, &mut generation);
        let given = words(given, &mut generation);
        if !given.is_empty() && !family.is_empty() {
            return PersonName { first: given.join(" "), last: family.join(" "), generation };
        }
    }
    let all = words(whole, &mut generation);
    if all.len() < 2 {
        return PersonName { first: String::new(), last: all.join(" "), generation };
    }
    let mut at = all.len() - 1;
    while at > 1 && all.get(at - 1).is_some_and(|word| PARTICLES.contains(&word.as_str())) {
        at -= 1;
    }
    let (given, family) = all.split_at(at);
    PersonName { first: given.join(" "), last: family.join(" "), generation }
}

fn words(text: &str, generation: &mut Option<u8>) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let folded = fold(text);
    let mut words: Vec<String> = folded.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    while words.len() > 1 && words.first().is_some_and(|word| TITLES.contains(&word.as_str()) && word.len() > 1) {
        words.remove(0);
    }
    while words.len() > 1 {
        let Some(word) = words.last() else { break };
        match word.as_str() {
            "jr" | "junior" | "ii" => *generation = Some(2),
            "sr" | "senior" => *generation = Some(1),
            "iii" => *generation = Some(3),
            "iv" => *generation = Some(4),
            other if SUFFIXES.contains(&other) => {}
            _ => break,
        }
        words.pop();
    }
    if let [word] = words.as_slice()
        && matches!(word.as_str(), "dr" | "prof" | "mr" | "mrs" | "ms" | "na" | "unknown" | "none" | "null" | "test")
    {
        words.clear();
    }
    words
}

/// Whether one given name is a known short or pet form of the other (`bill`, `william`).
///
/// Both are folded single words. One hop only: `alex` goes with `alexander` and with `alexandra`, which do not go together.
pub fn are_nicknames(a: &str, b: &str) -> bool {
    static TABLE: OnceLock<Vec<u64>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let pairs = NICKNAMES.lines().filter(|line| !line.starts_with('#')).skip(1).filter_map(|line| line.split_once(','));
        let mut table: Vec<u64> = pairs.map(|(name, nickname)| hash(0, &[name, nickname])).collect();
        table.sort_unstable();
        table
    });
    let knows = |name: &str, other: &str| table.binary_search(&hash(0, &[name, other])).is_ok();
    !a.is_empty() && !b.is_empty() && (knows(a, b) || knows(b, a))
}

/// Whether a given name stands in the list of nicknames at all.
pub(super) fn is_nickname_listed(name: &str) -> bool {
    static TABLE: OnceLock<HashSet<&'static str>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let pairs = NICKNAMES.lines().filter(|line| !line.starts_with('#')).skip(1).filter_map(|line| line.split_once(','));
        pairs.flat_map(|(name, nickname)| [name, nickname]).collect()
    });
    table.contains(name)
}

/// The parts of a double surname that can stand alone, three letters and longer.
pub(super) fn surname_parts(last: &str) -> Vec<String> {
    let parts: Vec<&str> = last.split(' ').filter(|part| !part.is_empty() && !PARTICLES.contains(part)).collect();
    if parts.len() < 2 {
        return parts.iter().map(|part| squash(part)).collect();
    }
    parts.into_iter().filter(|part| part.len() >= 3).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_table() {
        for (first, last, whole, given, family, generation) in [
            ("Dr. José", "García", "", "jose", "garcia", None),
            ("", "", "Smith, John", "john", "smith", None),
            ("", "", "Ludwig van Beethoven", "ludwig", "van beethoven", None),
            ("", "Anna Schmidt", "", "anna", "schmidt", None),
            ("Anna Schmidt", "", "", "anna", "schmidt", None),
            ("Martin Luther", "King Jr.", "", "martin luther", "king", Some(2)),
            ("Prof.", "Kim", "", "", "kim", None),
            ("", "van Dyk", "", "", "van dyk", None),
            ("", "", "", "", "", None),
        ] {
            let name = person_name(first, last, whole);
            assert_eq!((name.first.as_str(), name.last.as_str(), name.generation), (given, family, generation));
        }
    }

    #[test]
    fn nicknames_are_one_hop() {
        assert!(are_nicknames("bill", "william") && are_nicknames("william", "bill"));
        assert!(!are_nicknames("alexander", "alexandra") || are_nicknames("alex", "alexander"));
        assert!(!are_nicknames("peter", "mary"));
        assert_eq!(surname_parts("garcia lopez"), ["garcia", "lopez"]);
        assert_eq!(surname_parts("van dyk"), ["dyk"]);
    }
}
