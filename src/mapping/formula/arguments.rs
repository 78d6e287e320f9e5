//! What a function gets, and how it says that it cannot go on.

use std::borrow::Cow;

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::error::FormulaErrorKind;
use super::val::Val;

/// Bytes of text that one evaluation may make.
const MAX_OUTPUT: usize = 1 << 20;

/// A failure that does not know its place yet.
#[derive(Debug)]
pub(crate) struct Fail {
    pub(crate) kind: FormulaErrorKind,
    pub(crate) message: String,
}

impl Fail {
    pub(crate) fn domain(message: impl Into<String>) -> Self {
        Self { kind: FormulaErrorKind::Domain, message: message.into() }
    }

    pub(crate) fn wrong(message: impl Into<String>) -> Self {
        Self { kind: FormulaErrorKind::Type, message: message.into() }
    }
}

/// The evaluated arguments of a call.
pub(crate) struct Arguments<'a, 'm> {
    pub(crate) values: Vec<Val<'a>>,
    pub(crate) now: Option<Timestamp>,
    pub(crate) output: &'m mut usize,
    pub(crate) name: &'static str,
}

impl<'a> Arguments<'a, '_> {
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Takes argument `index`; null if it was not given.
    pub(crate) fn take(&mut self, index: usize) -> Val<'a> {
        self.values.get_mut(index).map_or(Val::Null, |slot| std::mem::replace(slot, Val::Null))
    }

    pub(crate) fn all(&mut self) -> Vec<Val<'a>> {
        std::mem::take(&mut self.values)
    }

    pub(crate) fn wrong<T>(&self, index: usize, wanted: &str, found: &Val<'_>) -> Result<T, Fail> {
        Err(Fail::wrong(format!("argument {} of {} must be {wanted}, and is {}", index + 1, self.name, found.what())))
    }

    pub(crate) fn text(&mut self, index: usize) -> Result<Cow<'a, str>, Fail> {
        match self.take(index) {
            Val::Text(text) => Ok(text),
            other => self.wrong(index, "a text", &other),
        }
    }

    pub(crate) fn number(&mut self, index: usize) -> Result<Decimal, Fail> {
        match self.take(index) {
            Val::Number(number) => Ok(number),
            other => self.wrong(index, "a number", &other),
        }
    }

    /// A whole number.
    pub(crate) fn whole(&mut self, index: usize) -> Result<i64, Fail> {
        let number = self.number(index)?;
        let whole = (number.fract().is_zero()).then(|| rust_decimal::prelude::ToPrimitive::to_i64(&number)).flatten();
        whole.ok_or_else(|| Fail::domain(format!("argument {} of {} must be a whole number", index + 1, self.name)))
    }

    /// A count from 0.
    pub(crate) fn count(&mut self, index: usize) -> Result<usize, Fail> {
        let whole = self.whole(index)?;
        usize::try_from(whole).map_err(|_| Fail::domain(format!("argument {} of {} must not be negative", index + 1, self.name)))
    }

    pub(crate) fn list(&mut self, index: usize) -> Result<Vec<Val<'a>>, Fail> {
        match self.take(index) {
            Val::List(items) => Ok(items),
            other => self.wrong(index, "a list", &other),
        }
    }

    /// Counts text that is about to be made against the limit.
    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), Fail> {
        spend(self.output, bytes)
    }
}

/// Counts bytes of text that are about to be made.
pub(crate) fn spend(output: &mut usize, bytes: usize) -> Result<(), Fail> {
    *output = output.saturating_add(bytes);
    if *output > MAX_OUTPUT {
        return Err(Fail { kind: FormulaErrorKind::Limit, message: "the formula makes more than 1 MiB of text".to_owned() });
    }
    Ok(())
}
