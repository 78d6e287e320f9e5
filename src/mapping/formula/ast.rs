//! A formula as a tree.

use std::fmt;

use rust_decimal::Decimal;

use super::error::{FormulaError, FormulaErrorKind};
use super::function::Function;
use crate::mapping::path::Path;

/// A chain of operators is a tree as deep as it is long.
const MAX_TREE: usize = 200;

/// A formula, read and checked once, evaluated for each record.
#[derive(Clone)]
pub struct Formula {
    pub(crate) text: String,
    pub(crate) root: Expr,
    pub(crate) names: Vec<Name>,
    /// The picklists it looks up in: name and byte offset.
    pub(crate) tables: Vec<(String, usize)>,
    pub(crate) pure: bool,
}

/// A name in a formula.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Name {
    /// As written.
    pub text: String,
    /// Byte offset of its first use.
    pub position: usize,
    pub(crate) path: Path,
}

#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) at: usize,
    pub(crate) kind: ExprKind,
    depth: usize,
}

impl Expr {
    pub(crate) fn new(at: usize, kind: ExprKind) -> Result<Self, FormulaError> {
        let depth = 1 + match &kind {
            ExprKind::Binary(_, left, right) => left.depth.max(right.depth),
            ExprKind::Negate(inner) | ExprKind::Not(inner) => inner.depth,
            ExprKind::Table { value, .. } => value.depth,
            ExprKind::Call(_, arguments) | ExprKind::Match(_, _, arguments) => {
                arguments.iter().map(|argument| argument.depth).max().unwrap_or(0)
            }
            _ => 0,
        };
        if depth > MAX_TREE {
            return Err(FormulaError::new(FormulaErrorKind::Limit, at, format!("more than {MAX_TREE} operators in a row")));
        }
        Ok(Self { at, kind, depth })
    }
}

#[derive(Clone, Debug)]
pub(crate) enum ExprKind {
    Binary(&'static str, Box<Expr>, Box<Expr>),
    Bool(bool),
    Call(&'static Function, Vec<Expr>),
    /// A call with its compiled pattern; the pattern stays among the arguments.
    Match(&'static Function, Box<regex::Regex>, Vec<Expr>),
    Name(usize),
    Negate(Box<Expr>),
    Not(Box<Expr>),
    Null,
    Number(Decimal),
    Table {
        /// An index into [`Formula::tables`].
        table: usize,
        /// True if an unknown value is null whatever the policy.
        only: bool,
        value: Box<Expr>,
    },
    Text(String),
}

impl Formula {
    /// The formula as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names it reads, each once, in the order of first use.
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// True if the same record always gives the same result: no `NOW`, no `TODAY`.
    pub fn is_pure(&self) -> bool {
        self.pure
    }
}

/// The text.
impl fmt::Debug for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Formula").field(&self.text).finish()
    }
}
