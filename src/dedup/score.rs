//! From evidence to a probability, with its reasons.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::compare::Measure;
use super::config::{self, DedupConfig, Scoring, Strategy};
use super::frequency::Rarities;
use super::level::Level;
use super::memo::Memo;
use super::prepared::Prepared;
use super::records::{Kind, Records, Row};
use super::role::Role;
use super::similarity::jaro_winkler;
use super::weights::Table;
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
        let mut records = Records::new();
        let pair = (records.push(a), records.push(b));
        self.explain(&records, &Rarities::Typical, pair, prior(self.config.directory_size), &mut Memo::default())
    }

    pub(super) fn explain(&self, records: &Records, rarities: &Rarities, pair: (u32, u32), prior: f64, memo: &mut Memo) -> Match {
        let (a, b) = (records.row(pair.0), records.row(pair.1));
        let mut reasons = Vec::new();
        let mut best = 0.0_f64;
        for strategy in &self.config.strategies {
            if let Some(similarity) = hit(strategy, records, &a, &b, self.config.threshold) {
                best = best.max(similarity);
                let text = format!("strategy {} agrees at {similarity:.2}", strategy.name);
                reasons.push(Reason { rule: strategy.name.clone(), level: "hit".to_owned(), weight: 0.0, text });
            }
        }
        if self.config.scoring == Scoring::Strategies {
            return Match { score: best, reasons };
        }
        let measure = Measure { records, rarities, table: &self.table };
        let Some(findings) = measure.run(&a, &b, f32::NEG_INFINITY, memo) else { return Match::default() };
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

    /// The score alone, in bits, without the prior; for strategies the bits of the best hit. `None` when it is under `floor`.
    pub(super) fn bits(&self, records: &Records, rarities: &Rarities, (a, b): (&Row, &Row), floor: f64, memo: &mut Memo) -> Option<f64> {
        let bits = match self.config.scoring {
            Scoring::Evidence => {
                let measure = Measure { records, rarities, table: &self.table };
                f64::from(measure.run(a, b, floor as f32, memo)?.total)
            }
            Scoring::Strategies => {
                let hits = self.config.strategies.iter().filter_map(|strategy| hit(strategy, records, a, b, self.config.threshold));
                logit(hits.fold(0.0, f64::max))
            }
        };
        (bits >= floor).then_some(bits)
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

fn hit(strategy: &Strategy, records: &Records, a: &Row, b: &Row, threshold: f64) -> Option<f64> {
    let mut sum = 0.0;
    for role in &strategy.fields {
        let (x, y) = (texts(records, a, *role), texts(records, b, *role));
        let mut best = 0.0_f64;
        for p in x.iter().filter(|text| !text.is_empty()) {
            for q in y.iter().filter(|text| !text.is_empty()) {
                let similarity = match strategy.measure {
                    config::Measure::Exact => f64::from(u8::from(p == q)),
                    config::Measure::Fuzzy if p <= q => jaro_winkler(p, q),
                    config::Measure::Fuzzy => jaro_winkler(q, p),
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

fn texts<'a>(records: &'a Records, row: &'a Row, role: Role) -> Vec<&'a str> {
    let all = |kind: Kind, part: usize| records.all(row, kind).map(|value| records.text(kind, value, part)).collect();
    match role {
        Role::First => all(Kind::First, 0),
        Role::Last => all(Kind::Last, 0),
        Role::Full => vec![records.of(row, Kind::First), records.of(row, Kind::Last)],
        Role::Email => all(Kind::Email, 0),
        Role::Phone => all(Kind::Phone, 0),
        Role::Company => all(Kind::Company, 0),
        Role::Title => all(Kind::Title, 0),
        Role::Website => all(Kind::Domain, 0),
        Role::Street => all(Kind::Street, 0),
        Role::HouseNumber => all(Kind::Street, 1),
        Role::City => all(Kind::City, 0),
        Role::PostalCode => all(Kind::Postal, 0),
        Role::Region => all(Kind::Region, 0),
        Role::Country => all(Kind::Country, 0),
        Role::BirthDate => all(Kind::Birth, 0),
        Role::Identifier => all(Kind::Identifier, 0),
        Role::Gender => all(Kind::Gender, 0),
        Role::Other => all(Kind::Other, 0),
    }
}
