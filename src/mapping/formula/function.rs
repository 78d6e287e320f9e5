//! What a function is: a name, how many arguments it takes, and what it does with them.

use super::arguments::{Arguments, Fail};
use super::error::{FormulaError, FormulaErrorKind};
use super::val::Val;

/// What a function does with its arguments.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    /// Sees null arguments.
    All(for<'a> fn(&mut Arguments<'a, '_>) -> Result<Val<'a>, Fail>),
    /// Null in any argument gives null without a call.
    Strict(for<'a> fn(&mut Arguments<'a, '_>) -> Result<Val<'a>, Fail>),
    /// Takes a literal regular expression as its second argument, compiled with the formula.
    Pattern(for<'a> fn(&regex::Regex, &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail>),
    /// Looks the first argument up in the picklist that the second, a literal, names; `true` if a value that it does not
    /// have is null whatever the list's policy.
    Table(bool),
    /// Decides itself which arguments are evaluated; see `eval`.
    Lazy(Lazy),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Lazy {
    And,
    BlankValue,
    Case,
    Coalesce,
    If,
    IfError,
    IsPresent,
    Or,
    Switch,
}

pub(crate) struct Function {
    pub(crate) name: &'static str,
    min: usize,
    max: usize,
    pub(crate) call: Call,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Function {
    /// Checks the count of arguments of a call at `at`.
    pub(crate) fn check(&self, count: usize, at: usize) -> Result<(), FormulaError> {
        if (self.min..=self.max).contains(&count) {
            return Ok(());
        }
        let wanted = match (self.min, self.max) {
            (min, max) if min == max => format!("{min}"),
            (min, MANY) => format!("at least {min}"),
            (min, max) => format!("{min} to {max}"),
        };
        let noun = if wanted == "1" || wanted == "at least 1" { "argument" } else { "arguments" };
        Err(FormulaError::new(FormulaErrorKind::ArgumentCount, at, format!("{} takes {wanted} {noun}, not {count}", self.name)))
    }
}

pub(crate) const MANY: usize = usize::MAX;

pub(crate) const fn all(
    name: &'static str,
    min: usize,
    max: usize,
    call: for<'a> fn(&mut Arguments<'a, '_>) -> Result<Val<'a>, Fail>,
) -> Function {
    Function { name, min, max, call: Call::All(call) }
}

pub(crate) const fn strict(
    name: &'static str,
    min: usize,
    max: usize,
    call: for<'a> fn(&mut Arguments<'a, '_>) -> Result<Val<'a>, Fail>,
) -> Function {
    Function { name, min, max, call: Call::Strict(call) }
}

pub(crate) const fn lazy(name: &'static str, min: usize, max: usize, call: Lazy) -> Function {
    Function { name, min, max, call: Call::Lazy(call) }
}

pub(crate) const fn pattern(
    name: &'static str,
    min: usize,
    max: usize,
    call: for<'a> fn(&regex::Regex, &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail>,
) -> Function {
    Function { name, min, max, call: Call::Pattern(call) }
}

pub(crate) const fn table(name: &'static str, only: bool) -> Function {
    Function { name, min: 2, max: 2, call: Call::Table(only) }
}
