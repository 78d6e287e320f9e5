//! Conditions as data.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How a field is compared with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Operator {
    /// Equal. Text is compared without regard to case, as CRMs do.
    Eq,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
    /// Not equal. An empty field is not equal to any value, so it matches.
    Ne,
}

/// A condition on the fields of a record, named in the CRM's spelling.
///
/// `Debug` shows its form without the values, which may be personal; `Display` is the text that [`Criteria::parse`] reads.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Criteria {
    /// Every part holds; an empty list holds always.
    All(Vec<Criteria>),
    /// At least one part holds; an empty list never does.
    Any(Vec<Criteria>),
    /// The field compares with the value. Not for null: use [`Criteria::IsNull`].
    Compare {
        /// The field.
        field: String,
        /// The comparison.
        op: Operator,
        /// The value: text, number, boolean, or a text that holds a date.
        value: Value,
    },
    /// The text contains this, without regard to case.
    Contains {
        /// The field.
        field: String,
        /// The part looked for, literally.
        text: String,
    },
    /// The field equals one of the values; an empty list never matches.
    In {
        /// The field.
        field: String,
        /// The values.
        values: Vec<Value>,
    },
    /// The field is empty.
    IsNull {
        /// The field.
        field: String,
    },
    /// The part does not hold.
    Not(Box<Criteria>),
    /// The text starts with this, without regard to case.
    StartsWith {
        /// The field.
        field: String,
        /// The beginning, literally.
        text: String,
    },
}

impl fmt::Debug for Criteria {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(parts) => f.debug_tuple("All").field(parts).finish(),
            Self::Any(parts) => f.debug_tuple("Any").field(parts).finish(),
            Self::Not(part) => f.debug_tuple("Not").field(part).finish(),
            Self::Compare { field, op, .. } => write!(f, "{field} {op:?} …"),
            Self::Contains { field, .. } => write!(f, "{field} Contains …"),
            Self::In { field, values } => write!(f, "{field} In {} values", values.len()),
            Self::IsNull { field } => write!(f, "{field} IsNull"),
            Self::StartsWith { field, .. } => write!(f, "{field} StartsWith …"),
        }
    }
}

impl Criteria {
    /// Matches every record.
    pub fn always() -> Self {
        Self::All(Vec::new())
    }

    /// `field` equals `value`; null asks for an empty field.
    pub fn eq(field: impl Into<String>, value: impl Into<Value>) -> Self {
        match value.into() {
            Value::Null => Self::IsNull { field: field.into() },
            value => Self::Compare { field: field.into(), op: Operator::Eq, value },
        }
    }

    /// `field` differs from `value`; null asks for a field that is not empty.
    pub fn ne(field: impl Into<String>, value: impl Into<Value>) -> Self {
        match value.into() {
            Value::Null => Self::Not(Box::new(Self::IsNull { field: field.into() })),
            value => Self::Compare { field: field.into(), op: Operator::Ne, value },
        }
    }

    /// `field` compares with `value`.
    pub fn compare(field: impl Into<String>, op: Operator, value: impl Into<Value>) -> Self {
        Self::Compare { field: field.into(), op, value: value.into() }
    }

    /// `field` is one of `values`.
    pub fn one_of(field: impl Into<String>, values: impl IntoIterator<Item = impl Into<Value>>) -> Self {
        Self::In { field: field.into(), values: values.into_iter().map(Into::into).collect() }
    }

    /// Both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match self {
            Self::All(mut parts) => {
                parts.push(other);
                Self::All(parts)
            }
            first => Self::All(vec![first, other]),
        }
    }

    /// Either holds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match self {
            Self::Any(mut parts) if !parts.is_empty() => {
                parts.push(other);
                Self::Any(parts)
            }
            first => Self::Any(vec![first, other]),
        }
    }

    /// How many comparisons it has, for CRMs that limit them.
    pub fn clauses(&self) -> usize {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().map(Self::clauses).sum(),
            Self::Not(part) => part.clauses(),
            _ => 1,
        }
    }

    /// True if an `OR` occurs in it.
    pub fn has_or(&self) -> bool {
        match self {
            Self::All(parts) => parts.iter().any(Self::has_or),
            Self::Any(parts) => parts.len() > 1 || parts.iter().any(Self::has_or),
            Self::Not(part) => part.has_or(),
            _ => false,
        }
    }

    /// Calls `visit` with each field it reads, in order, repeats included.
    pub fn visit_fields<'a>(&'a self, visit: &mut impl FnMut(&'a str)) {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.visit_fields(visit)),
            Self::Not(part) => part.visit_fields(visit),
            Self::Compare { field, .. }
            | Self::Contains { field, .. }
            | Self::In { field, .. }
            | Self::IsNull { field }
            | Self::StartsWith { field, .. } => visit(field),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_not_a_value_to_compare_with() {
        assert_eq!(Criteria::eq("A", Value::Null), Criteria::IsNull { field: "A".to_owned() });
        assert!(matches!(Criteria::ne("A", Value::Null), Criteria::Not(_)));
    }

    #[test]
    fn debug_shows_no_value() {
        let criteria = Criteria::eq("Email", "secret").and(Criteria::one_of("Name", ["secret"]));
        assert_eq!(format!("{criteria:?}"), "All([Email Eq …, Name In 1 values])");
    }

    #[test]
    fn counting_for_limits() {
        let both = Criteria::eq("A", 1).and(Criteria::eq("B", 2).or(Criteria::eq("C", 3)));
        assert_eq!(both.clauses(), 3);
        assert!(both.has_or());
        let mut seen = Vec::new();
        both.visit_fields(&mut |field| seen.push(field));
        assert_eq!(seen, ["A", "B", "C"]);
    }
}
