//! Running a formula.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::arguments::{Arguments, Fail, spend};
use super::ast::{Expr, ExprKind, Formula};
use super::error::{FormulaError, FormulaErrorKind};
use super::function::{Call, Function, Lazy};
use super::numbers;
use super::val::Val;
use crate::mapping::picklist::{Entry, Picklist};
use crate::model::Fields;

/// Steps of one evaluation.
const MAX_STEPS: usize = 1_000;

impl Formula {
    /// Evaluates over the fields of a record, each name being a path into it. `now` is what `NOW()` and `TODAY()` say.
    ///
    /// # Errors
    /// A value of the wrong type, an impossible value, or a limit (1,000 steps, 1 MiB of text), with the byte offset.
    ///
    /// `PICKLIST` and `LOOKUP` work within a mapping only, which has the tables.
    pub fn eval(&self, fields: &Fields, now: Option<Timestamp>) -> Result<Value, FormulaError> {
        let inputs: Vec<_> = self.names.iter().map(|name| Input::from(name.path.get(fields))).collect();
        self.run(&Env { inputs: &inputs, tables: &[], now, inbound: false }).map(Val::into_value)
    }

    /// Evaluates over a value for each of [`names`](Self::names).
    pub(crate) fn run<'a>(&'a self, env: &Env<'a>) -> Result<Val<'a>, FormulaError> {
        let mut machine = Machine { env: *env, steps: 0, output: 0 };
        machine.eval(&self.root)
    }

    /// Whether the result counts as yes: null is no.
    pub(crate) fn holds<'a>(&'a self, env: &Env<'a>) -> Result<bool, FormulaError> {
        let mut machine = Machine { env: *env, steps: 0, output: 0 };
        let value = machine.eval(&self.root)?;
        machine.truth(&value, self.root.at).map(|truth| truth == Some(true))
    }
}

/// The value of a name.
#[derive(Clone, Debug)]
pub(crate) enum Input<'a> {
    Absent,
    /// A text that is in no tree.
    Text(&'a str),
    Value(Cow<'a, Value>),
}

impl<'a> From<Option<Cow<'a, Value>>> for Input<'a> {
    fn from(value: Option<Cow<'a, Value>>) -> Self {
        value.map_or(Self::Absent, Self::Value)
    }
}

/// What a formula sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Env<'a> {
    /// One for each name.
    pub(crate) inputs: &'a [Input<'a>],
    /// One for each table.
    pub(crate) tables: &'a [Arc<Picklist>],
    pub(crate) now: Option<Timestamp>,
    /// True if tables are read from the CRM's side.
    pub(crate) inbound: bool,
}

struct Machine<'a> {
    env: Env<'a>,
    steps: usize,
    output: usize,
}

impl<'a> Machine<'a> {
    fn eval(&mut self, expr: &'a Expr) -> Result<Val<'a>, FormulaError> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(FormulaError::new(FormulaErrorKind::Limit, expr.at, "the formula takes more than 1,000 steps"));
        }
        Ok(match &expr.kind {
            ExprKind::Null => Val::Null,
            ExprKind::Bool(value) => Val::Bool(*value),
            ExprKind::Number(number) => Val::Number(*number),
            ExprKind::Text(text) => Val::Text(Cow::Borrowed(text)),
            ExprKind::Name(index) => match self.env.inputs.get(*index) {
                Some(Input::Value(value)) => Val::from_value(value),
                Some(Input::Text(text)) => Val::Text(Cow::Borrowed(text)),
                Some(Input::Absent) | None => Val::Null,
            },
            ExprKind::Table { table, only, value } => {
                let value = self.eval(value)?;
                self.look_up(*table, *only, value, expr.at)?
            }
            ExprKind::Match(function, regex, arguments) => {
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    values.push(self.eval(argument)?);
                }
                let Call::Pattern(call) = function.call else { return Ok(Val::Null) };
                if values.contains(&Val::Null) {
                    return Ok(Val::Null);
                }
                let mut arguments = Arguments { values, now: self.env.now, output: &mut self.output, name: function.name };
                call(regex, &mut arguments).map_err(|fail| place(fail, expr.at))?
            }
            ExprKind::Negate(inner) => match self.eval(inner)? {
                Val::Null => Val::Null,
                Val::Number(number) => Val::Number(-number),
                other => return Err(operand("-", expr.at, "a number", &other)),
            },
            ExprKind::Not(inner) => {
                let value = self.eval(inner)?;
                self.truth(&value, expr.at)?.map_or(Val::Null, |truth| Val::Bool(!truth))
            }
            ExprKind::Binary("&&", left, right) => self.and(&[left, right], expr.at, false)?,
            ExprKind::Binary("||", left, right) => self.and(&[left, right], expr.at, true)?,
            ExprKind::Binary(op, left, right) => {
                let left = self.eval(left)?;
                let right = self.eval(right)?;
                self.binary(op, left, right).map_err(|fail| place(fail, expr.at))?
            }
            ExprKind::Call(function, arguments) => self.call(function, arguments, expr.at)?,
        })
    }

    fn call(&mut self, function: &'static Function, arguments: &'a [Expr], at: usize) -> Result<Val<'a>, FormulaError> {
        let (call, strict) = match function.call {
            Call::Lazy(lazy) => return self.lazy(lazy, arguments, at),
            Call::All(call) => (call, false),
            Call::Strict(call) => (call, true),
            // The parser makes other expressions of these.
            Call::Pattern(_) | Call::Table(_) => return Ok(Val::Null),
        };
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            values.push(self.eval(argument)?);
        }
        if strict && values.iter().any(|value| matches!(value, Val::Null)) {
            return Ok(Val::Null);
        }
        let mut arguments = Arguments { values, now: self.env.now, output: &mut self.output, name: function.name };
        call(&mut arguments).map_err(|fail| place(fail, at))
    }

    fn look_up(&mut self, table: usize, only: bool, value: Val<'a>, at: usize) -> Result<Val<'a>, FormulaError> {
        let Some(list) = self.env.tables.get(table) else {
            return Err(place(Fail::domain("there is no mapping here to look the table up in"), at));
        };
        let value = value.into_value();
        let known = if self.env.inbound { list.knows_back(&value) } else { list.knows_out(&value) };
        let found = match self.env.inbound {
            _ if only && !known => Entry::Drop,
            true => list.back(&value),
            false => list.out(&value),
        };
        match found {
            Entry::Is(value) => Ok(Val::from_owned(value)),
            Entry::Drop => Ok(Val::Null),
            Entry::Unmapped => Err(place(Fail::domain("the value is not in the table; add it, or set the picklist's `unmapped:`"), at)),
        }
    }

    fn lazy(&mut self, lazy: Lazy, arguments: &'a [Expr], at: usize) -> Result<Val<'a>, FormulaError> {
        match lazy {
            Lazy::And | Lazy::Or => {
                let parts: Vec<&Expr> = arguments.iter().collect();
                self.and(&parts, at, matches!(lazy, Lazy::Or))
            }
            Lazy::Coalesce => {
                for argument in arguments {
                    let value = self.eval(argument)?;
                    if value != Val::Null {
                        return Ok(value);
                    }
                }
                Ok(Val::Null)
            }
            Lazy::BlankValue => {
                let [value, other] = arguments else { return Ok(Val::Null) };
                let value = self.eval(value)?;
                if value.is_blank() { self.eval(other) } else { Ok(value) }
            }
            Lazy::IsPresent => match arguments {
                [Expr { kind: ExprKind::Name(index), .. }] => {
                    Ok(Val::Bool(matches!(self.env.inputs.get(*index), Some(Input::Text(_) | Input::Value(_)))))
                }
                _ => Err(FormulaError::new(FormulaErrorKind::Type, at, "ISPRESENT takes the name of a field")),
            },
            Lazy::If | Lazy::Switch => {
                let mut rest = arguments;
                while let [condition, result, more @ ..] = rest {
                    let value = self.eval(condition)?;
                    if self.truth(&value, condition.at)? == Some(true) {
                        return self.eval(result);
                    }
                    rest = more;
                }
                rest.first().map_or(Ok(Val::Null), |other| self.eval(other))
            }
            Lazy::Case => {
                let [subject, rest @ ..] = arguments else { return Ok(Val::Null) };
                let subject = self.eval(subject)?;
                let mut rest = rest;
                while let [candidate, result, more @ ..] = rest {
                    let value = self.eval(candidate)?;
                    match subject.same(&value) {
                        Some(true) => return self.eval(result),
                        Some(false) => {}
                        None => return Err(place(unlike(&subject, &value), candidate.at)),
                    }
                    rest = more;
                }
                rest.first().map_or(Ok(Val::Null), |other| self.eval(other))
            }
            Lazy::IfError => {
                let [value, other] = arguments else { return Ok(Val::Null) };
                match self.eval(value) {
                    // A limit is there to stop the formula, not to be caught by it.
                    Err(error) if error.kind != FormulaErrorKind::Limit => self.eval(other),
                    result => result,
                }
            }
        }
    }

    /// Three-valued AND, or OR if `or`: stops at the first part that decides.
    fn and(&mut self, parts: &[&'a Expr], at: usize, or: bool) -> Result<Val<'a>, FormulaError> {
        let mut unknown = false;
        for part in parts {
            let value = self.eval(part)?;
            match self.truth(&value, at)? {
                Some(truth) if truth == or => return Ok(Val::Bool(or)),
                Some(_) => {}
                None => unknown = true,
            }
        }
        Ok(if unknown { Val::Null } else { Val::Bool(!or) })
    }

    fn truth(&self, value: &Val<'_>, at: usize) -> Result<Option<bool>, FormulaError> {
        match value {
            Val::Bool(value) => Ok(Some(*value)),
            Val::Null => Ok(None),
            other => Err(FormulaError::new(FormulaErrorKind::Type, at, format!("a condition must be a boolean, and is {}", other.what()))),
        }
    }

    fn binary(&mut self, op: &str, left: Val<'a>, right: Val<'a>) -> Result<Val<'a>, Fail> {
        match op {
            "&" => {
                let text = |value: &Val<'_>| {
                    value
                        .to_text()
                        .map(Cow::into_owned)
                        .ok_or_else(|| Fail::wrong(format!("`&` joins texts, and this is {}", value.what())))
                };
                let mut joined = text(&left)?;
                joined.push_str(&text(&right)?);
                spend(&mut self.output, joined.len())?;
                Ok(Val::text(joined))
            }
            "=" | "==" | "<>" | "!=" => {
                let same = left.same(&right).ok_or_else(|| unlike(&left, &right))?;
                Ok(Val::Bool(same == matches!(op, "=" | "==")))
            }
            _ if left == Val::Null || right == Val::Null => Ok(Val::Null),
            "<" | "<=" | ">" | ">=" => {
                let order = left.order(&right).ok_or_else(|| unlike(&left, &right))?;
                Ok(Val::Bool(match op {
                    "<" => order.is_lt(),
                    "<=" => order.is_le(),
                    ">" => order.is_gt(),
                    _ => order.is_ge(),
                }))
            }
            _ => match (left, right) {
                (Val::Number(a), Val::Number(b)) => numbers::arithmetic(op, a, b).map(Val::Number),
                (Val::Text(_), _) | (_, Val::Text(_)) if op == "+" => Err(Fail::wrong("`+` adds numbers; join texts with `&`")),
                (Val::Number(_), other) | (other, _) => Err(Fail::wrong(format!("`{op}` takes numbers, and this is {}", other.what()))),
            },
        }
    }
}

fn unlike(left: &Val<'_>, right: &Val<'_>) -> Fail {
    Fail::wrong(format!("{} cannot be compared with {}; convert one of them (TO_NUMBER, TO_TEXT, DATEVALUE)", left.what(), right.what()))
}

fn operand(op: &str, at: usize, wanted: &str, found: &Val<'_>) -> FormulaError {
    FormulaError::new(FormulaErrorKind::Type, at, format!("`{op}` takes {wanted}, and this is {}", found.what()))
}

fn place(fail: Fail, at: usize) -> FormulaError {
    FormulaError::new(fail.kind, at, fail.message)
}
