//! What the levels are worth.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::calibration::private_base;
use super::level::{Level, Population};
use super::records::Kind;
use crate::error::{Error, Result};

/// What the levels are worth where they differ from the built-in weights.
///
/// A weight is a base-2 logarithm: +1 doubles the odds that the records are one, -1 halves them. To the base weight of some
/// levels the rarity of the value is added: agreement on a rare surname says more than on a common one.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Weights {
    /// Base weights between persons by level word, in bits, e.g. `{"email.exact": 2.5}`.
    pub person: BTreeMap<String, f64>,
    /// Base weights between companies by level word, in bits.
    pub company: BTreeMap<String, f64>,
    /// Base weights between persons in a set that knows nothing of employers (no company, web site or e-mail anywhere): there
    /// agreement on a place or a title is not what all colleagues share.
    pub private: BTreeMap<String, f64>,
}

/// The fields that are compared last, and where their values stand.
const LATE: [(&str, Kind); 10] = [
    ("company", Kind::Company),
    ("domain", Kind::Domain),
    ("title", Kind::Title),
    ("street", Kind::Street),
    ("postal_code", Kind::Postal),
    ("city", Kind::City),
    ("region", Kind::Region),
    ("country", Kind::Country),
    ("gender", Kind::Gender),
    ("other", Kind::Other),
];
/// What says who employs somebody; together it is bounded.
const OFFICE: &[&str] = &["company", "domain", "street", "postal_code", "city"];

/// The weights as the comparison reads them.
#[derive(Clone, Debug)]
pub(super) struct Table {
    person: Vec<f32>,
    company: Vec<f32>,
    private: Vec<f32>,
    rarity: Vec<f32>,
    private_rarity: Vec<f32>,
    /// What each of the fields that are compared last can add at most: base and share of rarity; by population, the last are
    /// persons whose employer is not known.
    rest: [[(f32, f32); LATE.len()]; 4],
}

impl Table {
    pub(super) fn new(weights: &Weights) -> Result<Self> {
        let mut table = Self {
            person: Level::ALL.iter().map(|level| level.defaults().0).collect(),
            company: Level::ALL.iter().map(|level| level.defaults().1).collect(),
            private: Level::ALL.iter().map(|level| private_base(*level)).collect(),
            rarity: Level::ALL.iter().map(|level| level.defaults().2).collect(),
            private_rarity: Level::ALL.iter().map(|level| level.private_rarity()).collect(),
            rest: [[(0.0, 0.0); LATE.len()]; 4],
        };
        let columns =
            [(&weights.person, &mut table.person), (&weights.company, &mut table.company), (&weights.private, &mut table.private)];
        for (given, column) in columns {
            for (word, bits) in given {
                let place = Level::ALL.iter().position(|level| level.as_str() == word);
                let slot = place.and_then(|place| column.get_mut(place));
                let slot = slot.ok_or_else(|| Error::config(format!("deduplication weights: there is no level `{word}`")))?;
                if !bits.is_finite() {
                    return Err(Error::config(format!("deduplication weights: the weight of `{word}` is not a finite number of bits")));
                }
                *slot = *bits as f32;
            }
        }
        table.rest = table.bounds();
        Ok(table)
    }

    fn bounds(&self) -> [[(f32, f32); LATE.len()]; 4] {
        let best = |column: &[f32], shares: &[f32], factor: f32, skip: &[&str]| {
            LATE.map(|(field, _)| {
                let levels = Level::ALL.iter().zip(column.iter().zip(shares));
                let levels = levels.filter(|(level, _)| level.field() == field && !skip.contains(&field));
                levels.fold((0.0_f32, 0.0_f32), |(base, share), (_, (bits, rarity))| (base.max(factor * bits), share.max(factor * rarity)))
            })
        };
        [
            best(&self.person, &self.rarity, 1.0, OFFICE),
            best(&self.company, &self.rarity, 1.0, &[]),
            best(&self.private, &self.private_rarity, 1.0, &[]),
            best(&self.person, &self.rarity, 1.6, &["company", "domain"]),
        ]
    }

    /// More than the fields after telephone can add, of which both records have those in `shared` (bits by kind), when the rarest
    /// value has `most` bits.
    pub(super) fn rest(&self, population: Population, home: bool, shared: u32, most: f32) -> f32 {
        let at = if home && population == Population::Person { 3 } else { population as usize };
        let Some(bounds) = self.rest.get(at) else { return f32::INFINITY };
        let bound = |(base, share): &(f32, f32)| base + share * most;
        let sum = LATE.iter().zip(bounds).filter(|((_, kind), _)| shared >> *kind as u32 & 1 != 0).map(|(_, bounds)| bound(bounds)).sum();
        if at == Population::Person as usize { 8.0 + sum } else { sum }
    }

    fn column(&self, population: Population) -> (&[f32], &[f32]) {
        match population {
            Population::Person => (&self.person, &self.rarity),
            Population::Company => (&self.company, &self.rarity),
            Population::Private => (&self.private, &self.private_rarity),
        }
    }

    pub(super) fn base(&self, level: Level, population: Population) -> f32 {
        self.column(population).0.get(level as usize).copied().unwrap_or(0.0)
    }

    pub(super) fn bits(&self, level: Level, population: Population, rarity: f32) -> f32 {
        let (bases, shares) = self.column(population);
        let of = |column: &[f32]| column.get(level as usize).copied().unwrap_or(0.0);
        of(bases) + of(shares) * rarity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_named_after_their_field() {
        let words: std::collections::BTreeSet<&str> = Level::ALL.iter().map(|level| level.as_str()).collect();
        assert_eq!(words.len(), Level::ALL.len());
    }

    #[test]
    fn ranges_of_levels_are_those_of_their_fields() {
        for level in Level::ALL {
            assert_eq!(level.is_office(), OFFICE.contains(&level.field()), "{level:?}");
            assert_eq!(level.is_place_or_title(), ["title", "street", "postal_code", "city"].contains(&level.field()), "{level:?}");
        }
    }

    #[test]
    fn unknown_levels_and_odd_numbers_are_refused() {
        let mut weights = Weights::default();
        weights.person.insert("email.exakt".to_owned(), 1.0);
        assert!(Table::new(&weights).unwrap_err().to_string().contains("email.exakt"));
        weights.person.clear();
        weights.company.insert("email.exact".to_owned(), f64::NAN);
        assert!(Table::new(&weights).is_err());
    }
}
