//! What is wrong with a mapping, and where: every problem at once, each with a stable code.
//!
//! A person reads the [`Display`](fmt::Display) form (source line, caret, help); a tool reads the serialised one.

use std::fmt;
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

use crate::error::{Error, ErrorKind};
use crate::mapping::source::{Source, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// The mapping does not compile.
    Error,
    /// It compiles, and may not do what was meant.
    Warning,
}

/// Stable codes of [`Diagnostic`]s.
pub mod code {
    /// The text is not YAML, JSON or TOML.
    pub const SYNTAX: &str = "M001";
    /// The same key twice in one map.
    pub const DUPLICATE_KEY: &str = "M002";
    /// A key the long form does not know.
    pub const UNKNOWN_KEY: &str = "M003";
    /// A `type:` that does not exist.
    pub const UNKNOWN_TYPE: &str = "M004";
    /// A value that its key cannot take.
    pub const BAD_VALUE: &str = "M005";
    /// A key is missing that the `type:` needs.
    pub const MISSING_KEY: &str = "M006";
    /// A formula that cannot be read.
    pub const FORMULA_SYNTAX: &str = "M010";
    /// A function that does not exist.
    pub const UNKNOWN_FUNCTION: &str = "M011";
    /// A field the CRM does not have, or does not show to this user.
    pub const UNKNOWN_FIELD: &str = "M012";
    /// A field the CRM computes itself.
    pub const READ_ONLY: &str = "M013";
    /// No CRM field is named and none can be found by the host's name.
    pub const NO_TARGET: &str = "M014";
    /// Two host fields write the same CRM field.
    pub const TARGET_TWICE: &str = "M015";
    /// A picklist value the CRM's restricted list does not have.
    pub const PICKLIST_VALUE: &str = "M016";
    /// A function with too few or too many arguments.
    pub const ARGUMENT_COUNT: &str = "M017";
    /// Formulas that need each other's results.
    pub const CYCLE: &str = "M018";
    /// A constant or default that does not fit the CRM field.
    pub const BAD_CONSTANT: &str = "M019";
    /// A CRM or entity the set does not have.
    pub const UNKNOWN_ENTITY: &str = "M020";
    /// A formula whose types cannot fit, whatever the record.
    pub const FORMULA_TYPE: &str = "M021";
    /// A formula names a table that is no picklist of this mapping.
    pub const UNKNOWN_TABLE: &str = "M022";
    /// A required CRM field that nothing fills.
    pub const REQUIRED_NOT_MAPPED: &str = "M030";
    /// A picklist value that an open list of the CRM does not have yet.
    pub const PICKLIST_NEW_VALUE: &str = "M031";
    /// A computed field that has no CRM field to go to.
    pub const NOT_WRITTEN: &str = "M032";
    /// Several host values stand for one CRM value.
    pub const AMBIGUOUS_INVERSE: &str = "M033";
    /// A name that is both a host field and a CRM field.
    pub const AMBIGUOUS_NAME: &str = "M034";
    /// A name in a formula that looks like a slip of the finger.
    pub const SUSPICIOUS_NAME: &str = "M035";
    /// A value of a dependent picklist that no mapped value of its controlling field goes with.
    pub const DEPENDENT_VALUE: &str = "M036";
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Diagnostic {
    /// Stable code, see [`code`].
    pub code: &'static str,
    /// How bad.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// The file or whatever name the caller gave.
    pub origin: String,
    /// Line, from 1; 0 if the config was built in code.
    pub line: usize,
    /// Column in characters, from 1; 0 if the config was built in code.
    pub column: usize,
    /// What to do.
    pub help: Vec<String>,
    /// The formula and the byte offset in it, when the place in the file cannot be told.
    pub formula: Option<(String, usize)>,
    #[serde(skip)]
    span: Span,
}

impl Diagnostic {
    pub(crate) fn new(severity: Severity, code: &'static str, message: impl Into<String>, source: &Source, span: Span) -> Self {
        let (line, column) = span.as_ref().map_or((0, 0), |span| source.place(span.start));
        Self { code, severity, message: message.into(), origin: source.origin.clone(), line, column, help: Vec::new(), formula: None, span }
    }

    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help.extend(help);
        self
    }

    fn render(&self, source: &Source) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(self.message.as_str()).id(self.code);
        let mut group = match (&self.formula, &self.span) {
            (Some((formula, at)), _) => {
                let at = (*at).min(formula.len());
                let end = formula.get(at..).and_then(|rest| rest.chars().next()).map_or(at, |c| at + c.len_utf8());
                title.element(Snippet::source(formula.as_str()).path("formula").annotation(AnnotationKind::Primary.span(at..end)))
            }
            (None, Some(span)) => title.element(
                Snippet::source(source.text.as_str()).path(self.origin.as_str()).annotation(AnnotationKind::Primary.span(span.clone())),
            ),
            (None, None) => Group::with_title(title),
        };
        for help in &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        Renderer::plain().decor_style(DecorStyle::Ascii).render(&[group])
    }
}

/// Problems of one mapping, in the order of the text.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    source: Arc<Source>,
}

impl Diagnostics {
    pub(crate) fn new(source: Arc<Source>) -> Self {
        Self { list: Vec::new(), source }
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    pub(crate) fn error(&mut self, code: &'static str, span: &Span, message: impl Into<String>, help: Option<String>) {
        self.list.push(Diagnostic::new(Severity::Error, code, message, &self.source, span.clone()).maybe_help(help));
    }

    pub(crate) fn warning(&mut self, code: &'static str, span: &Span, message: impl Into<String>, help: Option<String>) {
        self.list.push(Diagnostic::new(Severity::Warning, code, message, &self.source, span.clone()).maybe_help(help));
    }

    pub(crate) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    pub(crate) fn sort(&mut self) {
        // What has no place comes last.
        self.list.sort_by_key(|item| (item.line == 0, item.line, item.column, item.code));
    }

    /// Takes the warnings out of what has no error, or gives everything back.
    pub(crate) fn verdict(mut self) -> Result<Self, Self> {
        self.sort();
        if self.has_errors() { Err(self) } else { Ok(self) }
    }

    /// The problems.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// True if one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|item| item.severity == Severity::Error)
    }

    /// Adds the problems of `other`, which must be about the same text for the rendered form to show the right lines.
    pub fn extend(&mut self, other: Self) {
        if self.source.text.is_empty() {
            self.source = other.source;
        }
        self.list.extend(other.list);
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

/// Two sets of problems are equal if they list the same ones.
impl PartialEq for Diagnostics {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, item) in self.list.iter().enumerate() {
            if at > 0 {
                f.write_str("\n\n")?;
            }
            // annotate-snippets leaves blanks at the end of lines.
            let text = item.render(&self.source);
            let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
            f.write_str(&lines.join("\n"))?;
        }
        Ok(())
    }
}

impl Serialize for Diagnostics {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.list)
    }
}

impl std::error::Error for Diagnostics {}

impl From<Diagnostics> for Error {
    fn from(diagnostics: Diagnostics) -> Self {
        let errors: Vec<&Diagnostic> = diagnostics.list.iter().filter(|item| item.severity == Severity::Error).collect();
        let first = errors.first().map_or_else(String::new, |first| {
            format!(": {}:{}:{}: [{}] {}", first.origin, first.line, first.column, first.code, first.message)
        });
        let more = if errors.len() > 1 { format!(" and {} more", errors.len() - 1) } else { String::new() };
        Self::new(ErrorKind::Config, format!("the mapping does not compile{first}{more}")).with_source(diagnostics)
    }
}
