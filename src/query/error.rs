//! What is wrong with a condition as text.

use crate::error::Error;

/// A text that is no condition, and where.
///
/// Its one-line form shows no part of the text but unquoted words; [`ParseError::annotated`] shows the line with a caret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ParseError {
    line: usize,
    column: usize,
    offset: usize,
    message: String,
    help: Option<String>,
}

impl ParseError {
    /// At byte `at` of `text`; an empty help is none.
    pub(super) fn new(text: &str, at: usize, message: impl Into<String>, help: &str) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before.get(start..).unwrap_or("").chars().count() + 1,
            offset: at,
            message: message.into(),
            help: (!help.is_empty()).then(|| help.to_owned()),
        }
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// The place in bytes, from 0.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to write instead, where that can be said.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The error as a person wants to see it: the line of `text` it is in, a caret below the place, and the help.
    ///
    /// ```
    /// # use crm_sync::query::Criteria;
    /// let text = "Status = Open";
    /// assert_eq!(
    ///     Criteria::parse(text).unwrap_err().annotated(text),
    ///     "line 1, column 10: expected a value, found the word Open\n  |\n1 | Status = Open\n  |          ^ help: put text in quotes: 'Open'",
    /// );
    /// ```
    pub fn annotated(&self, text: &str) -> String {
        let line = text.lines().nth(self.line - 1).unwrap_or("");
        let gutter = " ".repeat(self.line.to_string().len());
        // Tabs stay tabs, so that the caret stands below its character.
        let indent: String = line.chars().take(self.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let help = self.help.as_ref().map(|help| format!(" help: {help}")).unwrap_or_default();
        format!("{self}\n{gutter} |\n{} | {line}\n{gutter} | {indent}^{help}", self.line)
    }
}

impl From<ParseError> for Error {
    fn from(error: ParseError) -> Self {
        Self::config("the condition cannot be read").with_source(error)
    }
}
