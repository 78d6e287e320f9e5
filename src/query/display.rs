//! Conditions as text: writing. Whatever is written here, `parse.rs` reads back; its property test says so.

use std::fmt;

use serde_json::Value;

use crate::query::criteria::{Criteria, Operator};
use crate::query::lexer::{is_keyword, is_word};

/// The condition in the form [`Criteria::parse`] reads. A list of one part is displayed as that part.
impl fmt::Display for Criteria {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(parts) => join(f, parts, " AND ", "TRUE"),
            Self::Any(parts) => join(f, parts, " OR ", "FALSE"),
            Self::Compare { field, op, value } => {
                let op = match op {
                    Operator::Eq => "=",
                    Operator::Gt => ">",
                    Operator::Gte => ">=",
                    Operator::Lt => "<",
                    Operator::Lte => "<=",
                    Operator::Ne => "!=",
                };
                write!(f, "{} {op} {}", Name(field), Literal(value))
            }
            Self::Contains { field, text } => write!(f, "{} LIKE '%{}%'", Name(field), Escaped(text, true)),
            Self::In { field, values } => {
                write!(f, "{} IN (", Name(field))?;
                for (at, value) in values.iter().enumerate() {
                    write!(f, "{}{}", if at == 0 { "" } else { ", " }, Literal(value))?;
                }
                f.write_str(")")
            }
            Self::IsNull { field } => write!(f, "{} = null", Name(field)),
            Self::Not(part) => match &**part {
                Self::IsNull { field } => write!(f, "{} != null", Name(field)),
                part => {
                    f.write_str("NOT ")?;
                    enclosed(f, part)
                }
            },
            Self::StartsWith { field, text } => write!(f, "{} LIKE '{}%'", Name(field), Escaped(text, true)),
        }
    }
}

fn join(f: &mut fmt::Formatter<'_>, parts: &[Criteria], between: &str, none: &str) -> fmt::Result {
    match parts {
        [] => f.write_str(none),
        [only] => write!(f, "{only}"),
        parts => {
            for (at, part) in parts.iter().enumerate() {
                if at > 0 {
                    f.write_str(between)?;
                }
                enclosed(f, part)?;
            }
            Ok(())
        }
    }
}

/// In parentheses where the reader would else build another tree.
fn enclosed(f: &mut fmt::Formatter<'_>, part: &Criteria) -> fmt::Result {
    match part {
        Criteria::All(parts) | Criteria::Any(parts) if parts.len() > 1 => write!(f, "({part})"),
        Criteria::All(parts) | Criteria::Any(parts) => match parts.first() {
            Some(only) => enclosed(f, only),
            None => write!(f, "{part}"),
        },
        part => write!(f, "{part}"),
    }
}

struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_empty() && self.0.chars().all(is_word) && !is_keyword(self.0) {
            return f.write_str(self.0);
        }
        write!(f, "`{}`", self.0.replace('`', "``"))
    }
}

struct Literal<'a>(&'a Value);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) => write!(f, "'{}'", Escaped(text, false)),
            Value::Null | Value::Bool(_) | Value::Number(_) => write!(f, "{}", self.0),
            other => write!(f, "'{}'", Escaped(&other.to_string(), false)),
        }
    }
}

/// A text inside single quotes; the flag says whether `%` and `_` mean themselves in a pattern.
struct Escaped<'a>(&'a str, bool);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for c in self.0.chars() {
            match c {
                '\\' | '\'' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '%' | '_' if self.1 => write!(f, "\\{c}")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
