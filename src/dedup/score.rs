//! From evidence to a probability, with its reasons.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::compare::{Comparison, Findings};
use super::config::{DedupConfig, Measure, Scoring, Strategy};
use super::frequency::{Rarity, TYPICAL};
use super::level::{Level, Table};
use super::prepared::Prepared;
use super::role::Role;
use super::similarity::jaro_winkler;
use crate::error::Result;

/// One thing that speaks for or against two records being one. It holds no field value.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Reason {
    /// The field, or the name of a strategy that hit.
    pub rule: String,
    /// The level of agreement, e.g. `email.exact`; `hit` for a strategy.
    pub level: String,
    /// Its weight in bits: +1 doubles the odds, -1 halves them.
    pub weight: f64,
    /// In words.
    pub text: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:+.1})", self.text, self.weight)
    }
}

/// How likely two records are one, and why.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Match {
    /// Probability, 0 to 1.
    pub score: f64,
    /// The evidence, the strongest first. The first entry of the sum, the odds before any evidence, is the rule `prior`.
    pub reasons: Vec<Reason>,
}

/// Finds out which records are the same person or company. Cheap to share; it keeps nothing of what it compares.
///
/// ```
/// use crm_sync::dedup::{DedupConfig, Deduper, Role};
///
/// let deduper = Deduper::new(DedupConfig::default())?;
/// let ann = deduper.prepare(&[(Role::First, "Ann"), (Role::Last, "Müller"), (Role::Email, "ann.mueller+crm@firm.com")]);
/// let same = deduper.prepare(&[(Role::Full, "Mueller, Ann"), (Role::Email, "Ann.Mueller@FIRM.com")]);
/// let brother = deduper.prepare(&[(Role::First, "Bert"), (Role::Last, "Müller"), (Role::Email, "bert.mueller@firm.com")]);
/// assert!(deduper.compare(&ann, &same).score > 0.99);
/// assert!(deduper.compare(&ann, &brother).score < 0.01);
/// # Ok::<(), crm_sync::error::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Deduper {
    pub(super) config: DedupConfig,
    pub(super) table: Table,
}

impl Deduper {
    /// A deduper of this configuration.
    ///
    /// # Errors
    /// `Config` if a threshold is no probability, the review line is above the match line, or a weight names an unknown level.
    pub fn new(config: DedupConfig) -> Result<Self> {
        config.check()?;
        let table = Table::new(&config.weights)?;
        Ok(Self { config, table })
    }

    /// The configuration.
    pub fn config(&self) -> &DedupConfig {
        &self.config
    }

    /// Normalises one record. A role may come several times; blanks and placeholders count as missing.
    pub fn prepare(&self, values: &[(Role, &str)]) -> Prepared {
        Prepared::new(values)
    }

    /// Compares two records. Symmetric; what is missing on either side is no evidence.
    pub fn compare(&self, a: &Prepared, b: &Prepared) -> Match {
        self.explain(a, b, &TYPICAL, &TYPICAL, prior(self.config.directory_size))
    }

    pub(super) fn findings(&self, a: &Prepared, b: &Prepared, rare_a: &Rarity, rare_b: &Rarity) -> Findings {
        Comparison::run(a, b, rare_a, rare_b, &self.table)
    }

    pub(super) fn explain(&self, a: &Prepared, b: &Prepared, rare_a: &Rarity, rare_b: &Rarity, prior: f64) -> Match {
        let mut reasons = Vec::new();
        let mut best = 0.0_f64;
        for strategy in &self.config.strategies {
            if let Some(similarity) = hit(strategy, a, b, self.config.threshold) {
                best = best.max(similarity);
                let text = format!("strategy {} agrees at {similarity:.2}", strategy.name);
                reasons.push(Reason { rule: strategy.name.clone(), level: "hit".to_owned(), weight: 0.0, text });
            }
        }
        if self.config.scoring == Scoring::Strategies {
            return Match { score: best, reasons };
        }
        let findings = self.findings(a, b, rare_a, rare_b);
        let mut evidence: Vec<(Level, f32)> = findings.iter().collect();
        evidence.sort_by(|x, y| y.1.abs().total_cmp(&x.1.abs()).then(x.0.cmp(&y.0)));
        let found = evidence.iter().map(|(level, bits)| Reason {
            rule: level.field().to_owned(),
            level: level.as_str().to_owned(),
            weight: f64::from(*bits),
            text: level.explanation().to_owned(),
        });
        reasons.splice(0..0, found);
        reasons.push(Reason {
            rule: "prior".to_owned(),
            level: "prior".to_owned(),
            weight: prior,
            text: "odds of two records picked blindly".to_owned(),
        });
        let blank = a.is_blank() || b.is_blank();
        Match { score: if blank { 0.0 } else { probability(prior + f64::from(findings.total)) }, reasons }
    }

    /// The score alone, in bits, without the prior; for strategies the bits of the best hit.
    pub(super) fn bits(&self, a: &Prepared, b: &Prepared, rare_a: &Rarity, rare_b: &Rarity) -> f64 {
        match self.config.scoring {
            Scoring::Evidence => f64::from(self.findings(a, b, rare_a, rare_b).total),
            Scoring::Strategies => {
                let best =
                    self.config.strategies.iter().filter_map(|strategy| hit(strategy, a, b, self.config.threshold)).fold(0.0, f64::max);
                logit(best)
            }
        }
    }
}

/// One expected partner among `size` records: the odds of a random pair, in bits.
pub(super) fn prior(size: u32) -> f64 {
    -f64::from(size.max(1024)).log2()
}

pub(super) fn probability(bits: f64) -> f64 {
    1.0 / (1.0 + (-bits).exp2())
}

pub(super) fn logit(probability: f64) -> f64 {
    let p = probability.clamp(1e-9, 1.0 - 1e-9);
    (p / (1.0 - p)).log2()
}

fn hit(strategy: &Strategy, a: &Prepared, b: &Prepared, threshold: f64) -> Option<f64> {
    let mut sum = 0.0;
    for role in &strategy.fields {
        let (x, y) = (texts(a, *role), texts(b, *role));
        let mut best = 0.0_f64;
        for p in x.iter().filter(|text| !text.is_empty()) {
            for q in y.iter().filter(|text| !text.is_empty()) {
                let similarity = match strategy.measure {
                    Measure::Exact => f64::from(u8::from(p == q)),
                    Measure::Fuzzy if p <= q => jaro_winkler(p, q),
                    Measure::Fuzzy => jaro_winkler(q, p),
                };
                best = best.max(similarity);
            }
        }
        if best == 0.0 {
            return None;
        }
        sum += best;
    }
    let mean = sum / strategy.fields.len().max(1) as f64;
    (mean > threshold).then_some(mean)
}

fn texts(record: &Prepared, role: Role) -> Vec<&str> {
    match role {
        Role::First => vec![&record.first],
        Role::Last => vec![&record.last],
        Role::Full => vec![&record.first, &record.last],
        Role::Email => record.emails.iter().map(|email| email.canonical.as_str()).collect(),
        Role::Phone => record.phones.iter().map(|phone| phone.national.as_str()).collect(),
        Role::Company => record.company.iter().map(|company| company.name.as_str()).collect(),
        Role::Title => vec![&record.title],
        Role::Website => vec![&record.domain],
        Role::Street => record.streets.iter().map(|(name, _)| name.as_str()).collect(),
        Role::HouseNumber => record.streets.iter().map(|(_, number)| number.as_str()).collect(),
        Role::City => vec![&record.city],
        Role::PostalCode => vec![&record.postal],
        Role::Region => vec![&record.region],
        Role::Country => vec![&record.country],
        Role::BirthDate => vec![&record.birth],
        Role::Identifier => record.identifiers.iter().map(String::as_str).collect(),
        Role::Gender => vec![&record.gender],
        Role::Other => record.others.iter().map(String::as_str).collect(),
    }
}
