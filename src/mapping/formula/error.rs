//! What is wrong with a formula.

use std::fmt;

use crate::error::{Error, ErrorKind};

/// The kinds of [`FormulaError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FormulaErrorKind {
    /// Too few or too many arguments.
    ArgumentCount,
    /// An argument has the right type and no meaning there: 31 February, division by zero, a text that is no number.
    Domain,
    /// More steps, depth or output than allowed.
    Limit,
    /// The text is not a formula.
    Syntax,
    /// A value of the wrong type.
    Type,
    /// No such function.
    UnknownFunction,
}

impl FormulaErrorKind {
    /// A stable lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ArgumentCount => "argument_count",
            Self::Domain => "domain",
            Self::Limit => "limit",
            Self::Syntax => "syntax",
            Self::Type => "type",
            Self::UnknownFunction => "unknown_function",
        }
    }
}

/// A formula that cannot be read or evaluated. Never holds a value of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormulaError {
    pub(crate) kind: FormulaErrorKind,
    pub(crate) message: String,
    pub(crate) position: usize,
    pub(crate) help: Option<String>,
}

impl FormulaError {
    pub(crate) fn new(kind: FormulaErrorKind, position: usize, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), position, help: None }
    }

    /// What kind of failure.
    pub fn kind(&self) -> FormulaErrorKind {
        self.kind
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The byte offset in the formula.
    pub fn position(&self) -> usize {
        self.position
    }

    /// What to do.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl fmt::Display for FormulaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at character {}", self.message, self.position + 1)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}

impl std::error::Error for FormulaError {}

impl From<FormulaError> for Error {
    fn from(error: FormulaError) -> Self {
        let kind = match error.kind {
            FormulaErrorKind::Domain | FormulaErrorKind::Limit | FormulaErrorKind::Type => ErrorKind::Mapping,
            _ => ErrorKind::Config,
        };
        Self::new(kind, format!("formula: {error}")).with_source(error)
    }
}
