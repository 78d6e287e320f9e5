//! The parts of a query that was checked: columns, filters, what is shown, and what it runs on.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::civil::Date;

use crate::sandbox::salesforce::schema::{FieldKind, ObjectDef, Schema};
use crate::sandbox::salesforce::soql::lexer::Piece;
use crate::sandbox::salesforce::soql::parser::{Agg, DateFn, Op};
use crate::sandbox::store::Tables;

/// What a query runs on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) tables: &'a Tables,
    pub(crate) today: Date,
    /// `v68.0`, for the URLs in records.
    pub(crate) version: &'a str,
}

/// A field, reached over lookups.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Col {
    /// Lookup field and relationship name.
    pub(crate) steps: Vec<(String, String)>,
    pub(crate) field: String,
    pub(crate) kind: FieldKind,
    /// `Owner.Type`: the name of the parent's object.
    pub(crate) entity_name: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Key {
    /// Position among the plan's aggregates, and the type of its values.
    Agg(usize, FieldKind),
    Col(Col),
    Date(DateFn, Col),
}

impl Key {
    pub(crate) fn kind(&self) -> FieldKind {
        match self {
            Self::Agg(_, kind) => *kind,
            Self::Col(col) => col.kind,
            Self::Date(DateFn::DayOnly, _) => FieldKind::Date,
            Self::Date(..) => FieldKind::Int,
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Agg(..) => "aggregate",
            Self::Col(col) | Self::Date(_, col) => &col.field,
        }
    }
}

/// A literal in the form of the field's values.
#[derive(Clone, Debug)]
pub(crate) enum Want {
    Bool(bool),
    Null,
    Number(f64),
    /// From the first, up to but not including the second.
    Range(String, String),
    /// Folded text, a full id, a canonical date or datetime.
    Text(String),
}

/// A filter.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    And(Vec<Test>),
    Cmp(Key, Op, Want),
    /// Negated, members, null is a member.
    In(Key, bool, HashSet<String>, bool),
    Like(Key, Vec<Piece>),
    /// Negated; each member is a list of values that must all be chosen.
    Members(Key, bool, Vec<Vec<String>>),
    Not(Box<Test>),
    Or(Vec<Test>),
}

/// What a query answers with.
#[derive(Clone, Debug)]
pub(crate) enum Output {
    Count,
    /// Columns of aggregate rows.
    Groups(Vec<(String, Key)>),
    Rows(Node),
}

/// A query that can run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) object: Arc<ObjectDef>,
    pub(crate) output: Output,
    pub(crate) filter: Option<Test>,
    pub(crate) group: Vec<Key>,
    pub(crate) aggregates: Vec<(Agg, Col)>,
    pub(crate) having: Option<Test>,
    /// Key, descending, nulls last.
    pub(crate) order: Vec<(Key, bool, bool)>,
    pub(crate) limit: Option<u64>,
    pub(crate) offset: u64,
    /// How many long texts are selected.
    pub(crate) long_texts: usize,
}

/// What of a record is shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(super) fields: Vec<Col>,
    /// By relationship name: the lookup and what of the parent is shown.
    pub(super) parents: BTreeMap<String, (String, Node)>,
    pub(crate) children: Vec<Child>,
    /// Name, as text, and the column: FORMAT and its like.
    pub(super) shown: Vec<(String, bool, Col)>,
    pub(super) choices: Vec<Choice>,
}

/// A TYPEOF: what is shown depends on what the lookup leads to.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) name: String,
    pub(crate) lookup: String,
    pub(crate) whens: Vec<(String, Node)>,
    pub(crate) otherwise: Option<Node>,
}

/// A child subquery.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    pub(crate) name: String,
    pub(crate) lookup: String,
    pub(crate) plan: Box<Plan>,
}

impl Node {
    pub(crate) fn add(&mut self, col: Col) {
        let mut node = self;
        for (lookup, relationship) in &col.steps {
            node = &mut node.parents.entry(relationship.clone()).or_insert_with(|| (lookup.clone(), Self::default())).1;
        }
        node.fields.push(col);
    }

    /// Shows a column under a name of its own.
    pub(crate) fn show(&mut self, name: String, text: bool, col: Col) {
        self.shown.push((name, text, col));
    }

    /// Shows a parent by its type.
    pub(crate) fn choose(&mut self, choice: Choice) {
        self.choices.push(choice);
    }

    /// The one column of a semi-join's inner query.
    pub(crate) fn only(&self) -> Option<&Col> {
        match (self.fields.as_slice(), self.children.as_slice()) {
            _ if !self.shown.is_empty() || !self.choices.is_empty() => None,
            ([col], []) if self.parents.is_empty() => Some(col),
            ([], []) if self.parents.len() == 1 => self.parents.values().next()?.1.only(),
            _ => None,
        }
    }
}
