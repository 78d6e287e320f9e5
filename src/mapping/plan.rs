//! A compiled mapping.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::document::diagnostic::Diagnostics;
use crate::mapping::encode::Encoder;
use crate::mapping::field::{Blank, Direction, OnError, OnNull, Owner, SplitAt};
use crate::mapping::formula::{Formula, Inverse};
use crate::mapping::path::Path;
use crate::mapping::picklist::Picklist;
use crate::mapping::record::{Mapped, MappingError, Mode};
use crate::mapping::scan::Layout;
use crate::model::{FieldType, Fields, Shape};

/// A CRM field that a mapping writes or reads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// The field, in the CRM's spelling.
    pub name: String,
    /// What its values mean; [`FieldType::Any`] without a schema.
    pub kind: FieldType,
    /// The host field that fills it.
    pub host: String,
    /// Which way it goes.
    pub direction: Direction,
    /// Who wins a conflict, if the mapping says so.
    pub owner: Option<Owner>,
    pub(crate) creatable: bool,
    pub(crate) updatable: bool,
    pub(crate) nullable: bool,
}

/// A mapping of one entity, compiled: immutable, cheap to share behind an `Arc`, and without I/O.
///
/// See [`compile`](Self::compile).
#[derive(Clone, Debug)]
pub struct Mapping {
    pub(crate) crm: String,
    pub(crate) entity: String,
    pub(crate) version: String,
    pub(crate) targets: Vec<Target>,
    pub(crate) shape: Arc<Shape>,
    pub(crate) inbound_shape: Arc<Shape>,
    /// In the order they are evaluated.
    pub(crate) plans: Vec<Plan>,
    pub(crate) hosts: Vec<String>,
    pub(crate) warnings: Diagnostics,
    pub(crate) dependent: Vec<Dependent>,
    pub(crate) layout: Layout,
    /// The CRM fields in the order of their names, each with its name as JSON writes it before a value.
    pub(crate) keys: Vec<(usize, Vec<u8>)>,
}

/// A picklist whose values go with some values of another field only.
#[derive(Clone, Debug)]
pub(crate) struct Dependent {
    pub(crate) target: usize,
    pub(crate) controller: usize,
    /// Value, and the controlling values it goes with.
    pub(crate) valid_for: Vec<(String, Vec<String>)>,
}

/// How one host field travels.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) host: String,
    pub(crate) path: Path,
    pub(crate) rule: Rule,
    /// One for most rules, two for a split, one per component for a compound.
    pub(crate) slots: Vec<Slot>,
    pub(crate) direction: Direction,
    pub(crate) when: Option<Program>,
    pub(crate) on_error: OnError,
    pub(crate) ready: Ready,
    /// True if the host's value is this plan's alone from here on, so that it need not be copied.
    pub(crate) moves: bool,
    /// The CRM field, if besides every value that is neither null nor blank is written as it is, by any write.
    pub(crate) straight: Option<usize>,
}

/// Encoded values that no record changes, as JSON.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ready {
    pub(crate) constant: Option<Vec<u8>>,
    /// By the host's value.
    pub(crate) choices: HashMap<String, Vec<u8>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Rule {
    /// The compound field and the key of each slot in the host's object.
    Compound(String, Vec<String>),
    Computed(Box<Program>),
    Constant(Value),
    Direct,
    Join(Vec<Path>, String, Option<SplitAt>),
    Lookup(Option<String>, Option<String>),
    Picklist(Arc<Picklist>),
    Split(SplitAt),
}

/// A place in the CRM's record.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) target: usize,
    pub(crate) encoder: Encoder,
    /// Already encoded.
    pub(crate) default: Option<Value>,
    pub(crate) required: bool,
    pub(crate) blank: Blank,
    pub(crate) on_null: OnNull,
}

/// A formula with its names resolved.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) formula: Formula,
    pub(crate) sources: Vec<NameSource>,
    /// The picklists it looks up in.
    pub(crate) tables: Vec<Arc<Picklist>>,
    /// The way back to one host field, if there is one.
    pub(crate) inverse: Option<(Inverse, Path)>,
}

#[derive(Clone, Debug)]
pub(crate) enum NameSource {
    /// A path into the record that is mapped.
    Record(Path),
    /// A CRM field that this mapping fills.
    Target(usize),
}

impl Mapping {
    /// The CRM, as the host calls it.
    pub fn crm(&self) -> &str {
        &self.crm
    }

    /// The entity, as the host calls it.
    pub fn entity(&self) -> &str {
        &self.entity
    }

    /// Twelve hexadecimal digits that change when the mapping, or what it uses of the schema, does.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The CRM fields, in the order of the mapping.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The host fields, in the order of the mapping; formulas may read more.
    pub fn host_fields(&self) -> impl ExactSizeIterator<Item = &str> {
        self.hosts.iter().map(String::as_str)
    }

    /// The host fields that are written to the CRM and cannot be read back: constants, formulas that cannot be run backwards
    /// (see [`inbound`](Self::inbound)), joins without `split`, lookups, and what `direction: out` says.
    pub fn one_way(&self) -> Vec<&str> {
        let lost = |plan: &&Plan| match (&plan.rule, plan.direction) {
            (_, Direction::In) => false,
            (_, Direction::Out) | (Rule::Constant(_) | Rule::Join(_, _, None) | Rule::Lookup(..), _) => true,
            (Rule::Computed(program), _) => program.inverse.is_none(),
            _ => false,
        };
        self.plans.iter().filter(lost).map(|plan| plan.host.as_str()).collect()
    }

    /// What may not do what was meant.
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }

    /// The type of a CRM field; [`FieldType::Any`] if the mapping does not know it.
    pub fn field_type(&self, field: &str) -> FieldType {
        self.targets.iter().find(|target| target.name == field).map_or(FieldType::Any, |target| target.kind.clone())
    }

    /// True if the same record always gives the same result: no formula asks for the time.
    pub fn is_pure(&self) -> bool {
        let asks = |plan: &Plan| {
            let computed = matches!(&plan.rule, Rule::Computed(program) if !program.formula.is_pure());
            computed || plan.when.as_ref().is_some_and(|program| !program.formula.is_pure())
        };
        !self.plans.iter().any(asks)
    }

    /// The CRM's record for one of the host's.
    ///
    /// A field that is absent stays absent (on create: takes its default). Null and blank texts do what `on_null` and `blank`
    /// say, by default they empty the CRM field; on create, emptied fields are left out. For a formula, absent is null; an
    /// update leaves a computed field alone if everything its formula reads is absent.
    ///
    /// # Errors
    /// All problems of the record at once. A formula with `NOW()` or `TODAY()` needs [`outbound_at`](Self::outbound_at).
    pub fn outbound(&self, source: &Fields, mode: Mode) -> Result<Mapped, MappingError> {
        self.send(source, mode, None)
    }

    /// [`outbound`](Self::outbound) with the time that formulas see.
    ///
    /// # Errors
    /// As there.
    pub fn outbound_at(&self, source: &Fields, mode: Mode, now: Timestamp) -> Result<Mapped, MappingError> {
        self.send(source, mode, Some(now))
    }

    /// [`outbound`](Self::outbound) of a record that is not needed any more: what the mapping leaves as it is moves over without
    /// a copy.
    ///
    /// # Errors
    /// As there.
    pub fn outbound_from(&self, source: Fields, mode: Mode) -> Result<Mapped, MappingError> {
        self.send_whole(source, mode, None)
    }

    /// [`outbound_from`](Self::outbound_from) with the time that formulas see.
    ///
    /// # Errors
    /// As [`outbound`](Self::outbound).
    pub fn outbound_from_at(&self, source: Fields, mode: Mode, now: Timestamp) -> Result<Mapped, MappingError> {
        self.send_whole(source, mode, Some(now))
    }

    /// The host's record for one of the CRM's.
    ///
    /// Only fields that are present are mapped. A value equal to the field's `default` is left out, because it may be a
    /// placeholder that an earlier create has put there. A formula is run backwards if it is made of one host field and
    /// constants, by arithmetic (`cents / 100`), texts around it (`CONCAT('LEAD-', id)`), `NOT`, `TO_TEXT`, `TO_NUMBER`,
    /// `FORMAT_DATE` of a whole day, `EPOCH_MS`, `TO_EPOCH_MS` or `PICKLIST`; a computed field of `direction: in` reads the CRM's fields. Other formulas and constants
    /// do not go this way, see [`one_way`](Self::one_way).
    ///
    /// # Errors
    /// Picklist values that the table does not list, if its inbound policy is to refuse; failing formulas.
    pub fn inbound(&self, remote: &Fields) -> Result<Mapped, MappingError> {
        self.receive(remote, None)
    }

    /// [`inbound`](Self::inbound) with the time that formulas see.
    ///
    /// # Errors
    /// As there.
    pub fn inbound_at(&self, remote: &Fields, now: Timestamp) -> Result<Mapped, MappingError> {
        self.receive(remote, Some(now))
    }
}
