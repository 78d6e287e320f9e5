//! Formulas that can be run backwards: arithmetic of one name with constants.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde_json::Value;

use super::ast::{Expr, ExprKind, Formula};
use super::numbers::arithmetic;
use super::val::{decimal_to_value, value_to_decimal};
use crate::mapping::picklist::{Entry, Picklist};
use crate::model::parse_datetime;

/// The way back from a result to the one name a formula reads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Inverse {
    /// The name, as an index into [`Formula::names`].
    pub(crate) name: usize,
    /// From the outside in.
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// `x op constant`, undone by this operator.
    Undo(&'static str, Decimal),
    /// `constant - x` and `constant / x` are their own way back.
    Mirror(&'static str, Decimal),
    Negate,
    /// A boolean turned round.
    Not,
    /// A text in front and one behind.
    Peel(String, String),
    /// A number that became a text, and back.
    ToNumber,
    ToText,
    /// Milliseconds since 1970 and instants.
    ToInstant,
    ToEpoch,
    /// A date from its spelling.
    ToDate(String),
    /// A table, by its index.
    Table(usize),
}

impl Formula {
    /// The way back, if the formula is made of one name and of constants, `+ - * /`, the minus sign, NOT, texts before and
    /// behind (`CONCAT('LEAD-', id)`), TO_TEXT, TO_NUMBER, FORMAT_DATE of a day, EPOCH_MS, TO_EPOCH_MS and PICKLIST.
    pub(crate) fn inverse(&self) -> Option<Inverse> {
        let mut steps = Vec::new();
        let mut at = &self.root;
        loop {
            at = match &at.kind {
                ExprKind::Name(name) => return Some(Inverse { name: *name, steps }),
                ExprKind::Negate(inner) => {
                    steps.push(Step::Negate);
                    inner
                }
                ExprKind::Not(inner) => {
                    steps.push(Step::Not);
                    inner
                }
                ExprKind::Table { table, only: false, value } => {
                    steps.push(Step::Table(*table));
                    value
                }
                ExprKind::Call(function, arguments) => match (function.name, arguments.as_slice()) {
                    ("NOT", [inner]) => {
                        steps.push(Step::Not);
                        inner
                    }
                    ("TO_TEXT" | "TEXT", [inner]) => {
                        steps.push(Step::ToNumber);
                        inner
                    }
                    ("TO_NUMBER" | "VALUE", [inner]) => {
                        steps.push(Step::ToText);
                        inner
                    }
                    ("EPOCH_MS", [inner]) => {
                        steps.push(Step::ToEpoch);
                        inner
                    }
                    ("TO_EPOCH_MS", [inner]) => {
                        steps.push(Step::ToInstant);
                        inner
                    }
                    ("FORMAT_DATE", [inner, Expr { kind: ExprKind::Text(pattern), .. }]) if is_full(pattern) => {
                        steps.push(Step::ToDate(pattern.clone()));
                        inner
                    }
                    ("CONCAT" | "CONCATENATE", parts) => {
                        let (inner, before, behind) = framed(parts.iter())?;
                        steps.push(Step::Peel(before, behind));
                        inner
                    }
                    _ => return None,
                },
                ExprKind::Binary("&", left, right) => {
                    let (inner, before, behind) = framed([left.as_ref(), right.as_ref()].into_iter())?;
                    steps.push(Step::Peel(before, behind));
                    inner
                }
                ExprKind::Binary(op, left, right) => match (constant(left), constant(right)) {
                    (None, Some(number)) => {
                        let undo = match *op {
                            "+" => "-",
                            "-" => "+",
                            "*" if !number.is_zero() => "/",
                            "/" if !number.is_zero() => "*",
                            _ => return None,
                        };
                        steps.push(Step::Undo(undo, number));
                        left
                    }
                    (Some(number), None) => {
                        steps.push(match *op {
                            "+" => Step::Undo("-", number),
                            "*" if !number.is_zero() => Step::Undo("/", number),
                            "-" => Step::Mirror("-", number),
                            "/" if !number.is_zero() => Step::Mirror("/", number),
                            _ => return None,
                        });
                        right
                    }
                    _ => return None,
                },
                _ => return None,
            };
        }
    }
}

/// True if a pattern of strftime holds a whole day and nothing that a day has not.
fn is_full(pattern: &str) -> bool {
    let has = |parts: &[&str]| parts.iter().any(|part| pattern.contains(part));
    let timed = ["%H", "%I", "%M", "%S", "%T", "%R", "%z", "%Z", "%s", "%p", "%f"];
    (has(&["%F"]) || (has(&["%Y"]) && has(&["%m", "%b", "%B"]) && has(&["%d", "%e"]))) && !has(&timed)
}

/// The one part that is no text, and the texts around it. Two such parts have no way back: nobody knows where one ends.
fn framed<'a>(parts: impl Iterator<Item = &'a Expr>) -> Option<(&'a Expr, String, String)> {
    let (mut inner, mut before, mut behind) = (None, String::new(), String::new());
    for part in parts {
        match (&part.kind, inner.is_some()) {
            (ExprKind::Text(text), false) => before.push_str(text),
            (ExprKind::Text(text), true) => behind.push_str(text),
            (_, false) => inner = Some(part),
            (_, true) => return None,
        }
    }
    Some((inner?, before, behind))
}

fn constant(expr: &Expr) -> Option<Decimal> {
    match &expr.kind {
        ExprKind::Number(number) => Some(*number),
        ExprKind::Negate(inner) => constant(inner).map(|number| -number),
        _ => None,
    }
}

impl Inverse {
    /// The value the name must have had; `None` if nothing gives this result, or it is out of range.
    pub(crate) fn run(&self, result: &Value, tables: &[Arc<Picklist>]) -> Option<Value> {
        let mut value = result.clone();
        for step in &self.steps {
            if value.is_null() {
                return Some(value);
            }
            value = step.run(&value, tables)?;
        }
        Some(value)
    }
}

impl Step {
    fn run(&self, value: &Value, tables: &[Arc<Picklist>]) -> Option<Value> {
        let number = || value_to_decimal(value);
        let made = match self {
            Self::Negate => -number()?,
            Self::Undo(op, constant) => arithmetic(op, number()?, *constant).ok()?,
            Self::Mirror(op, constant) => arithmetic(op, *constant, number()?).ok()?,
            Self::Not => return value.as_bool().map(|flag| Value::Bool(!flag)),
            Self::Peel(before, behind) => {
                let inner = value.as_str()?.strip_prefix(before.as_str())?.strip_suffix(behind.as_str())?;
                return Some(if inner.is_empty() { Value::Null } else { Value::from(inner) });
            }
            Self::ToNumber => return Some(value.as_str()?.parse().map_or_else(|_| value.clone(), |number| decimal_to_value(number).0)),
            Self::ToText => return Some(Value::String(number()?.normalize().to_string())),
            Self::ToEpoch => return parse_datetime(value.as_str()?).map(|at| Value::from(at.as_millisecond())),
            Self::ToInstant => return Timestamp::from_millisecond(value.as_i64()?).ok().map(|at| Value::String(at.to_string())),
            Self::ToDate(pattern) => {
                let date = Date::strptime(pattern, value.as_str()?.trim()).ok()?;
                return Some(Value::String(date.to_string()));
            }
            Self::Table(index) => match tables.get(*index)?.back(value) {
                Entry::Is(value) => return Some(value),
                Entry::Drop | Entry::Unmapped => return None,
            },
        };
        Some(decimal_to_value(made).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Fields;

    #[test]
    fn what_can_be_undone() {
        for text in ["x", "-x", "x * 100", "x / 100", "x + 0.5", "3 - x", "100 / x", "2 * (x - 1)", "-(x + 1) / 4", "-2 * x"] {
            let formula = Formula::parse(text).unwrap();
            let inverse = formula.inverse().unwrap_or_else(|| panic!("{text}"));
            for x in [serde_json::json!(12.5), serde_json::json!(-3)] {
                let record: Fields = [("x", x.clone())].into_iter().collect();
                let result = formula.eval(&record, None).unwrap();
                assert!(
                    crate::model::same(&inverse.run(&result, &[]).unwrap(), &x, &crate::model::FieldType::Decimal { scale: Some(6) }),
                    "{text}"
                );
            }
        }
        for text in ["x * y", "x + x", "x * 0", "ROUND(x)", "x ^ 2", "1 + 2", "CONCAT(x, ' ', y)", "x & y", "CONCAT('a')"] {
            assert_eq!(Formula::parse(text).unwrap().inverse(), None, "{text}");
        }
    }

    #[test]
    fn texts_and_instants_can_be_undone() {
        for (text, x) in [
            ("CONCAT('LEAD-', x)", serde_json::json!("17")),
            ("'<' & x & '>'", serde_json::json!("a")),
            ("TO_TEXT(x)", serde_json::json!(12.5)),
            ("TO_NUMBER(x)", serde_json::json!("12.5")),
            ("EPOCH_MS(x)", serde_json::json!(1_767_323_045_000_i64)),
            ("TO_EPOCH_MS(x)", serde_json::json!("2026-01-02T03:04:05Z")),
            ("FORMAT_DATE(x, '%d.%m.%Y')", serde_json::json!("2026-01-31")),
            ("NOT(x)", serde_json::json!(true)),
            ("!x", serde_json::json!(false)),
        ] {
            let formula = Formula::parse(text).unwrap();
            let inverse = formula.inverse().unwrap_or_else(|| panic!("{text}"));
            let record: Fields = [("x", x.clone())].into_iter().collect();
            let result = formula.eval(&record, None).unwrap();
            assert_eq!(inverse.run(&result, &[]), Some(x), "{text}");
        }
        assert_eq!(Formula::parse("CONCAT('LEAD-', x)").unwrap().inverse().unwrap().run(&"other".into(), &[]), None);
    }
}
