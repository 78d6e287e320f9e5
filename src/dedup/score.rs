//! From evidence to a probability, with its reasons.

use std::fmt;
use std::fmt::Write as _;

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
        for (strategy, similarity) in self.hits(records, &a, &b) {
            best = best.max(similarity);
            let text = format!("strategy {} agrees at {similarity:.2}", strategy.name);
            reasons.push(Reason { rule: strategy.name.clone(), level: "hit".to_owned(), weight: 0.0, text });
        }
        if self.config.scoring == Scoring::Strategies {
            return Match { score: best, reasons };
        }
        let Some((total, evidence)) = self.evidence(records, rarities, (&a, &b), memo) else { return Match::default() };
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
        Match { score: if blank { 0.0 } else { probability(prior + f64::from(total)) }, reasons }
    }

    /// The score; the reasons go to `out`.
    pub(super) fn describe(&self, records: &Records, rarities: &Rarities, pair: (u32, u32), prior: f64, out: &mut String) -> f64 {
        let (a, b) = (records.row(pair.0), records.row(pair.1));
        let start = out.len();
        // Writing into a text does not fail.
        let evidence = if self.config.scoring == Scoring::Evidence {
            let Some((total, evidence)) = self.evidence(records, rarities, (&a, &b), &mut Memo::default()) else { return 0.0 };
            for (level, bits) in evidence {
                let gap = if out.len() == start { "" } else { "; " };
                let _ = write!(out, "{gap}{} ({bits:+.1})", level.explanation());
            }
            if a.is_blank() || b.is_blank() { 0.0 } else { probability(prior + f64::from(total)) }
        } else {
            0.0
        };
        let mut best = 0.0_f64;
        for (strategy, similarity) in self.hits(records, &a, &b) {
            best = best.max(similarity);
            let gap = if out.len() == start { "" } else { "; " };
            let _ = write!(out, "{gap}strategy {} agrees at {similarity:.2} (+0.0)", strategy.name);
        }
        if self.config.scoring == Scoring::Evidence { evidence } else { best }
    }

    fn hits<'a>(&'a self, records: &'a Records, a: &'a Row, b: &'a Row) -> impl Iterator<Item = (&'a Strategy, f64)> {
        let found = move |strategy: &'a Strategy| Some((strategy, hit(strategy, records, a, b, self.config.threshold)?));
        self.config.strategies.iter().filter_map(found)
    }

    /// The sum in bits and what it is made of, the strongest first.
    fn evidence(&self, records: &Records, rarities: &Rarities, (a, b): (&Row, &Row), memo: &mut Memo) -> Option<(f32, Vec<(Level, f32)>)> {
        let measure = Measure { records, rarities, table: &self.table };
        let findings = measure.run(a, b, f32::NEG_INFINITY, memo)?;
        let mut evidence: Vec<(Level, f32)> = findings.iter().collect();
        evidence.sort_by(|x, y| y.1.abs().total_cmp(&x.1.abs()).then(x.0.cmp(&y.0)));
        Some((findings.total, evidence))
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
    let count = strategy.fields.len().max(1) as f64;
    let mut sum = 0.0;
    for (role, left) in strategy.fields.iter().zip((0..strategy.fields.len()).rev()) {
        let mut best = 0.0_f64;
        for p in texts(records, a, *role).filter(|text| !text.is_empty()) {
            for q in texts(records, b, *role).filter(|text| !text.is_empty()) {
                let similarity = match strategy.measure {
                    config::Measure::Exact => f64::from(u8::from(p == q)),
                    config::Measure::Fuzzy if p <= q => jaro_winkler(p, q),
                    config::Measure::Fuzzy => jaro_winkler(q, p),
                };
                best = best.max(similarity);
            }
        }
        sum += best;
        // Not even full agreement of the rest would do.
        if best == 0.0 || (sum + left as f64) / count <= threshold {
            return None;
        }
    }
    let mean = sum / count;
    (mean > threshold).then_some(mean)
}

fn texts<'a>(records: &'a Records, row: &'a Row, role: Role) -> impl Iterator<Item = &'a str> {
    let (kind, part) = match role {
        Role::First | Role::Full => (Kind::First, 0),
        Role::Last => (Kind::Last, 0),
        Role::Email => (Kind::Email, 0),
        Role::Phone => (Kind::Phone, 0),
        Role::Company => (Kind::Company, 0),
        Role::Title => (Kind::Title, 0),
        Role::Website => (Kind::Domain, 0),
        Role::Street => (Kind::Street, 0),
        Role::HouseNumber => (Kind::Street, 1),
        Role::City => (Kind::City, 0),
        Role::PostalCode => (Kind::Postal, 0),
        Role::Region => (Kind::Region, 0),
        Role::Country => (Kind::Country, 0),
        Role::BirthDate => (Kind::Birth, 0),
        Role::Identifier => (Kind::Identifier, 0),
        Role::Gender => (Kind::Gender, 0),
        Role::Other => (Kind::Other, 0),
    };
    let last = (role == Role::Full).then(|| records.of(row, Kind::Last));
    records.all(row, kind).map(move |value| records.text(kind, value, part)).chain(last)
}
