//! Formulas that can be run backwards: arithmetic of one name with constants.

use rust_decimal::Decimal;
use serde_json::Value;

use super::ast::{Expr, ExprKind, Formula};
use super::numbers::arithmetic;
use super::val::{decimal_to_value, value_to_decimal};

/// The way back from a result to the one name a formula reads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Inverse {
    /// The name, as an index into [`Formula::names`].
    pub(crate) name: usize,
    /// From the outside in.
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// `x op constant`, undone by this operator.
    Undo(&'static str, Decimal),
    /// `constant - x` and `constant / x` are their own way back.
    Mirror(&'static str, Decimal),
    Negate,
}

impl Formula {
    /// The way back, if the formula is made of one name, constants, `+ - * /` and the minus sign.
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

fn constant(expr: &Expr) -> Option<Decimal> {
    match &expr.kind {
        ExprKind::Number(number) => Some(*number),
        ExprKind::Negate(inner) => constant(inner).map(|number| -number),
        _ => None,
    }
}

impl Inverse {
    /// The value the name must have had; `None` if the result is not a number, or out of range.
    pub(crate) fn run(&self, result: &Value) -> Option<Value> {
        if result.is_null() || self.steps.is_empty() {
            return Some(result.clone());
        }
        let mut number = value_to_decimal(result)?;
        for step in &self.steps {
            number = match step {
                Step::Negate => -number,
                Step::Undo(op, constant) => arithmetic(op, number, *constant).ok()?,
                Step::Mirror(op, constant) => arithmetic(op, *constant, number).ok()?,
            };
        }
        Some(decimal_to_value(number).0)
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
                    crate::model::same(&inverse.run(&result).unwrap(), &x, &crate::model::FieldType::Decimal { scale: Some(6) }),
                    "{text}"
                );
            }
        }
        for text in ["x * y", "x + x", "x * 0", "ROUND(x)", "x ^ 2", "1 + 2", "CONCAT(x, 'a')"] {
            assert_eq!(Formula::parse(text).unwrap().inverse(), None, "{text}");
        }
    }
}
