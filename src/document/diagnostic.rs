//! What is wrong with a configuration, and where: every problem at once, each with a stable code.
//!
//! A person reads the [`Display`](fmt::Display) form (source line, caret, help); a tool reads the serialised one.

use std::fmt;
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

use crate::document::source::{Source, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// It cannot be used.
    Error,
    /// It can be used, and may not do what was meant.
    Warning,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Diagnostic {
    /// Stable code; those of mappings are in [`crate::mapping::code`].
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

/// Problems of one text, in the order of the text.
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
