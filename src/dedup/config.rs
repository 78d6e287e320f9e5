//! Deduplication as data: what a host stores, shows and edits.

use serde::{Deserialize, Serialize};

use super::role::Role;
use super::weights::Weights;
use crate::error::{Error, Result};

/// How a strategy compares its fields.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Measure {
    /// The normalised values are equal in every field.
    Exact,
    /// The mean Jaro-Winkler similarity of the normalised values is above the threshold; every field must be there on both sides.
    Fuzzy,
}

/// One rule of thumb of the original guide: some fields, a measure, a threshold.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Strategy {
    /// Name, as reasons show it.
    pub name: String,
    /// The fields, all of which must be present on both sides.
    pub fields: Vec<Role>,
    /// How they are compared.
    pub measure: Measure,
}

impl Strategy {
    /// A strategy called `name`.
    pub fn new(name: impl Into<String>, fields: impl Into<Vec<Role>>, measure: Measure) -> Self {
        Self { name: name.into(), fields: fields.into(), measure }
    }
}

/// Where the score comes from.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scoring {
    /// Evidence of all fields is added up and becomes a probability; strategies that hit are only named among the reasons.
    #[default]
    Evidence,
    /// The best strategy decides alone, as in the original guide: 1 for an exact hit, the similarity for a fuzzy one. Found pairs are
    /// far less precise: one shared switchboard is enough.
    Strategies,
}

/// Everything a [`Deduper`](super::Deduper) is made of. `Default` suits people and companies alike and needs no training.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DedupConfig {
    /// From this probability on two records are one; 0.85 by default.
    pub threshold: f64,
    /// From this probability on a person should look at the pair; 0.5 by default. At most `threshold`.
    pub review: f64,
    /// Where the score comes from.
    pub scoring: Scoring,
    /// The rules of thumb; by default the guide's three: exact e-mail, telephone, and fuzzy first + last name + company.
    pub strategies: Vec<Strategy>,
    /// Weights that differ from the built-in ones.
    pub weights: Weights,
    /// How many records the CRM holds, for comparing one against one: the larger it is, the more namesakes there are. 10,000 by default.
    /// A whole set that is searched counts itself.
    pub directory_size: u32,
    /// Records that may share a blocking key before the key is refined by the neighbourhood of the name; 120 by default.
    pub max_block: usize,
    /// Records one group may hold; 100 by default. What would make it larger goes to review.
    pub max_group: usize,
}

impl Default for DedupConfig {
    fn default() -> Self {
        Self {
            threshold: 0.85,
            review: 0.5,
            scoring: Scoring::Evidence,
            strategies: vec![
                Strategy::new("exact_email", [Role::Email], Measure::Exact),
                Strategy::new("phone", [Role::Phone], Measure::Exact),
                Strategy::new("name_company", [Role::First, Role::Last, Role::Company], Measure::Fuzzy),
            ],
            weights: Weights::default(),
            directory_size: 10_000,
            max_block: 120,
            max_group: 100,
        }
    }
}

impl DedupConfig {
    pub(super) fn check(&self) -> Result<()> {
        for (name, value) in [("threshold", self.threshold), ("review", self.review)] {
            if !(value > 0.0 && value < 1.0) {
                return Err(Error::config(format!(
                    "deduplication: `{name}` is {value}; give a probability between 0 and 1, both excluded"
                )));
            }
        }
        if self.review > self.threshold {
            return Err(Error::config(format!(
                "deduplication: `review` ({}) is above `threshold` ({}); lower it",
                self.review, self.threshold
            )));
        }
        if self.max_block < 2 || self.max_group < 2 || self.directory_size < 2 {
            return Err(Error::config("deduplication: `max_block`, `max_group` and `directory_size` must be at least 2"));
        }
        if self.scoring == Scoring::Strategies && self.strategies.is_empty() {
            return Err(Error::config("deduplication: `scoring` is by strategies, but there are none"));
        }
        if let Some(bare) = self.strategies.iter().find(|strategy| strategy.fields.is_empty()) {
            return Err(Error::config(format!("deduplication: the strategy `{}` has no fields", bare.name)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_and_fills_in() {
        let config = DedupConfig::default();
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<DedupConfig>(&text).unwrap(), config);
        assert_eq!(serde_json::from_str::<DedupConfig>("{}").unwrap(), config);
        assert!(config.check().is_ok());
    }

    #[test]
    fn impossible_lines_are_refused() {
        for (threshold, review) in [(0.0, 0.5), (1.0, 0.5), (0.4, 0.5), (f64::NAN, 0.5)] {
            assert!(DedupConfig { threshold, review, ..DedupConfig::default() }.check().is_err());
        }
    }
}
