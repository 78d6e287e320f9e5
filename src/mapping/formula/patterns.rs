//! Regular expressions, by an engine whose time is linear in the text. The pattern is a literal, compiled once.

use regex::Regex;

use super::arguments::{Arguments, Fail};
use super::error::{FormulaError, FormulaErrorKind};
use super::val::Val;

/// Compiles the pattern that stands at `at`.
pub(crate) fn compile(pattern: &str, at: usize) -> Result<Regex, FormulaError> {
    regex::RegexBuilder::new(pattern).size_limit(1 << 20).build().map_err(|error| {
        let message = match error {
            regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
            // The last line says what is wrong, those above draw it.
            other => format!("the pattern is no regular expression: {}", other.to_string().lines().last().unwrap_or_default().trim()),
        };
        FormulaError::new(FormulaErrorKind::Syntax, at, message)
    })
}

/// True if the whole text has the form of the pattern, as in Salesforce.
pub(crate) fn matches<'a>(regex: &Regex, arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let text = arguments.text(0)?;
    Ok(Val::Bool(regex.find_iter(&text).any(|hit| hit.start() == 0 && hit.end() == text.len())))
}

/// The first hit, or its group of that number; null if there is none.
pub(crate) fn extract<'a>(regex: &Regex, arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let group = if arguments.len() > 2 { arguments.count(2)? } else { usize::from(regex.captures_len() > 1) };
    let text = arguments.text(0)?;
    Ok(regex.captures(&text).and_then(|hit| hit.get(group).map(|part| Val::text(part.as_str()))).unwrap_or(Val::Null))
}

/// All hits replaced; `$1` in the new text is a group.
pub(crate) fn replace<'a>(regex: &Regex, arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let (text, new) = (arguments.text(0)?, arguments.text(2)?);
    let hits = regex.find_iter(&text).count();
    // A `$0` may repeat the hit as often as the new text has room for it.
    arguments.spend(text.len().saturating_add(hits.saturating_mul(new.len())))?;
    let made = regex.replace_all(&text, new.as_ref()).into_owned();
    arguments.spend(made.len())?;
    Ok(Val::text(made))
}
