//! Which records are the same person or company. Pure.
//!
//! A record is normalised once ([`Deduper::prepare`]), compared field by field ([`Deduper::compare`]), and the evidence is added up to
//! a probability: agreement on a rare value counts more than on a common one, disagreement counts against, what is missing counts
//! nothing. [`Deduper::judge`] says what to do with one record, [`Deduper::find_all`] finds the groups of a whole set without
//! comparing everything with everything, [`golden`] builds the record that stays. Nothing here waits or reads anything.
//!
//! For large sets there are [`Records`] (compact) with [`Deduper::find`], [`Deduper::link`] and [`Deduper::train`], on threads the host
//! lends ([`Workers`]); for records that come one by one an [`Index`]; for people a [report](Duplicates::report); for CRMs [`MergePlan`].
//!
//! The list of nicknames comes from the package nicknames 1.0.1 (Apache-2.0), the legal forms from cleanco 2.3 (MIT).

mod blocking;
mod calibration;
mod cluster;
mod company;
mod compare;
mod config;
mod distinct;
mod email;
mod find;
mod frequency;
mod glance;
mod index;
mod intake;
mod level;
mod memo;
mod merge;
mod name;
mod place;
mod plan;
mod pool;
mod prepared;
mod records;
mod report;
mod role;
mod score;
mod search;
mod similarity;
mod sound;
mod survivor;
mod text;
mod train;
mod verdict;
mod weights;
mod workers;

pub use crate::model::phone::{Phone, phone};
pub use blocking::{BlockingKey, blocking_keys};
pub use company::{Company, company};
pub use config::{DedupConfig, Measure, Scoring, Strategy};
pub use distinct::Distinct;
pub use email::{Email, domain, email};
pub use find::{Duplicates, Found, Likely, Pair};
pub use index::Index;
pub use intake::{Gather, Intake, Part};
pub use level::Level;
pub use merge::{CrmMatch, MergePlan, MergeStep, Merger, salesforce_matches};
pub use name::{PersonName, are_nicknames, person_name};
pub use place::{country, date, postal_code, street};
pub use prepared::Prepared;
pub use records::Records;
pub use role::Role;
pub use score::{Deduper, Match, Reason};
pub use search::search_criteria;
pub use similarity::{jaro_winkler, osa, within_one_edit};
pub use sound::sound;
pub use survivor::{Keep, Survivorship, golden, survivor};
pub use text::{fold, is_placeholder};
pub use train::{LevelShare, Training};
pub use verdict::{Action, Verdict};
pub use weights::Weights;
pub use workers::{InPlace, Workers};
