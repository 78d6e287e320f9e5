//! Types told before any record is seen: what can never work is a problem of the mapping, not of each record.

use super::ast::{Expr, ExprKind, Formula};
use super::error::{FormulaError, FormulaErrorKind};
use super::function::Function;

/// What is known about a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// Nothing.
    Any,
    Boolean,
    Date,
    Instant,
    List,
    Null,
    Number,
    Text,
}

impl Type {
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Any => "any value",
            Self::Boolean => "a boolean",
            Self::Date => "a date",
            Self::Instant => "a datetime",
            Self::List => "a list",
            Self::Null => "null",
            Self::Number => "a number",
            Self::Text => "a text",
        }
    }

    fn known(self) -> bool {
        !matches!(self, Self::Any | Self::Null)
    }

    /// What two branches have in common.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Null, other) => other,
            (one, Self::Null) => one,
            (one, other) if one == other => one,
            _ => Self::Any,
        }
    }

    fn is_day(self) -> bool {
        matches!(self, Self::Date | Self::Instant)
    }
}

/// Arguments and result of the functions that do not take anything: `t` text, `n` number, `b` boolean, `d` a date, datetime
/// or text, `s` any single value, `m` a list or text, `l` list, `a` anything; the last argument repeats. Results also `D` date
/// and `I` datetime.
const SIGNATURES: [(&str, &str, char); 93] = [
    ("ABS", "n", 'n'),
    ("ADD_DAYS", "dn", 'a'),
    ("ADD_MONTHS", "dn", 'a'),
    ("ADD_YEARS", "dn", 'a'),
    ("AND", "b", 'b'),
    ("BEGINS", "t", 'b'),
    ("CEILING", "n", 'n'),
    ("CLEAN", "t", 't'),
    ("CONCAT", "s", 't'),
    ("CONCATENATE", "s", 't'),
    ("CONTAINS", "t", 'b'),
    ("COUNT", "l", 'n'),
    ("DATE", "n", 'D'),
    ("DATETIME", "a", 'I'),
    ("DATETIMEVALUE", "a", 'I'),
    ("DATEVALUE", "d", 'D'),
    ("DAY", "d", 'n'),
    ("DAYS_BETWEEN", "d", 'n'),
    ("DEACCENT", "t", 't'),
    ("DOMAIN", "t", 't'),
    ("EMAIL_DOMAIN", "t", 't'),
    ("EMAIL_LOCAL", "t", 't'),
    ("ENDS", "t", 'b'),
    ("EPOCH_MS", "n", 'I'),
    ("FIND", "ttn", 'n'),
    ("FIRST", "l", 'a'),
    ("FIRST_WORD", "t", 't'),
    ("FLOOR", "n", 'n'),
    ("FORMAT_DATE", "dt", 't'),
    ("HASH", "st", 't'),
    ("HOUR", "dt", 'n'),
    ("IN", "a", 'b'),
    ("INCLUDES", "ma", 'b'),
    ("ISBLANK", "a", 'b'),
    ("ISNULL", "a", 'b'),
    ("ISPICKVAL", "a", 'b'),
    ("ISPRESENT", "a", 'b'),
    ("JOIN", "ta", 't'),
    ("JSON", "a", 't'),
    ("LAST", "l", 'a'),
    ("LAST_WORD", "t", 't'),
    ("LEFT", "tn", 't'),
    ("LEN", "t", 'n'),
    ("LIST", "a", 'l'),
    ("LOOKUP", "at", 'a'),
    ("LOWER", "t", 't'),
    ("MID", "tn", 't'),
    ("MINUTE", "dt", 'n'),
    ("MOD", "n", 'n'),
    ("MONTH", "d", 'n'),
    ("NORMALIZE_PHONE", "t", 't'),
    ("NOT", "b", 'b'),
    ("NOW", "", 'I'),
    ("NTH", "ln", 'a'),
    ("OR", "b", 'b'),
    ("PAD_LEFT", "snt", 't'),
    ("PARSE_JSON", "t", 'a'),
    ("PICKLIST", "at", 'a'),
    ("PROPER", "t", 't'),
    ("REGEX", "t", 'b'),
    ("REGEX_EXTRACT", "ttn", 't'),
    ("REGEX_REPLACE", "t", 't'),
    ("REPEAT", "tn", 't'),
    ("REPLACE", "tttn", 't'),
    ("REST", "t", 't'),
    ("REVERSE", "t", 't'),
    ("RIGHT", "tn", 't'),
    ("ROUND", "n", 'n'),
    ("SLUG", "t", 't'),
    ("SORT", "l", 'l'),
    ("SPLIT", "ttn", 'a'),
    ("SUBSTITUTE", "tttn", 't'),
    ("TEXT", "st", 't'),
    ("TODAY", "t", 'D'),
    ("TO_BOOLEAN", "s", 'b'),
    ("TO_EPOCH_MS", "d", 'n'),
    ("TO_NUMBER", "st", 'n'),
    ("TO_TEXT", "st", 't'),
    ("TRIM", "t", 't'),
    ("TRUNC", "n", 'n'),
    ("UNIQUE", "l", 'l'),
    ("UPPER", "t", 't'),
    ("UUID5", "ts", 't'),
    ("VALUE", "st", 'n'),
    ("WEEKDAY", "d", 'n'),
    ("XOR", "b", 'b'),
    ("YEAR", "d", 'n'),
    // Known by their rules, not by a signature.
    ("BLANKVALUE", "a", 'a'),
    ("CASE", "a", 'a'),
    ("COALESCE", "a", 'a'),
    ("IF", "a", 'a'),
    ("IFERROR", "a", 'a'),
    ("SWITCH", "a", 'a'),
];

fn signature(name: &str) -> (&'static str, Type) {
    let Some((_, arguments, result)) = SIGNATURES.iter().find(|(known, ..)| *known == name) else { return ("a", Type::Any) };
    let result = match result {
        't' => Type::Text,
        'n' => Type::Number,
        'b' => Type::Boolean,
        'l' => Type::List,
        'D' => Type::Date,
        'I' => Type::Instant,
        _ => Type::Any,
    };
    (arguments, result)
}

fn fits(wanted: u8, found: Type) -> Option<&'static str> {
    let (ok, words) = match wanted {
        b't' => (found == Type::Text, "a text"),
        b'n' => (found == Type::Number, "a number"),
        b'b' => (found == Type::Boolean, "a boolean"),
        b'd' => (found.is_day() || found == Type::Text, "a date"),
        b's' => (found != Type::List, "a single value"),
        b'm' => (matches!(found, Type::List | Type::Text), "a list"),
        b'l' => (found == Type::List, "a list"),
        _ => (true, ""),
    };
    (!ok && found.known()).then_some(words)
}

fn remedy(wanted: &str, found: Type) -> Option<String> {
    Some(match (wanted, found) {
        ("a number", Type::Text) => "convert it: TO_NUMBER(...)".to_owned(),
        ("a text", Type::Number | Type::Boolean) => "convert it: TO_TEXT(...)".to_owned(),
        ("a text", Type::Date | Type::Instant) => "convert it: FORMAT_DATE(..., '%Y-%m-%d')".to_owned(),
        ("a boolean", Type::Text | Type::Number) => "compare it, for example `= 'yes'`, or convert it: TO_BOOLEAN(...)".to_owned(),
        ("a date", Type::Number) => "convert it: EPOCH_MS(...)".to_owned(),
        ("a single value", Type::List) => "take one of it: FIRST(...), or join it: JOIN(', ', ...)".to_owned(),
        ("a list", Type::Text) => "make one: SPLIT(..., ',')".to_owned(),
        _ => return None,
    })
}

impl Formula {
    /// The type of the result, and everything that fails for every record. `name` tells the type of a name by its index.
    pub(crate) fn types(&self, name: &dyn Fn(usize) -> Type) -> (Type, Vec<FormulaError>) {
        let mut checker = Checker { name, errors: Vec::new() };
        let result = checker.expr(&self.root);
        (result, checker.errors)
    }
}

struct Checker<'a> {
    name: &'a dyn Fn(usize) -> Type,
    errors: Vec<FormulaError>,
}

impl Checker<'_> {
    fn fail(&mut self, at: usize, message: String, help: Option<String>) {
        let mut error = FormulaError::new(FormulaErrorKind::Type, at, message);
        error.help = help;
        self.errors.push(error);
    }

    fn want(&mut self, wanted: u8, expr: &Expr, what: impl FnOnce(&str) -> String) -> Type {
        let found = self.expr(expr);
        if let Some(words) = fits(wanted, found) {
            let message = format!("{}, and is {}", what(words), found.what());
            self.fail(expr.at, message, remedy(words, found));
        }
        found
    }

    fn expr(&mut self, expr: &Expr) -> Type {
        match &expr.kind {
            ExprKind::Null => Type::Null,
            ExprKind::Bool(_) => Type::Boolean,
            ExprKind::Number(_) => Type::Number,
            ExprKind::Text(_) => Type::Text,
            ExprKind::Name(index) => (self.name)(*index),
            ExprKind::Negate(inner) => {
                self.want(b'n', inner, |wanted| format!("`-` takes {wanted}"));
                Type::Number
            }
            ExprKind::Not(inner) => {
                self.want(b'b', inner, |wanted| format!("a condition must be {wanted}"));
                Type::Boolean
            }
            ExprKind::Binary(op, left, right) => self.binary(op, expr.at, left, right),
            ExprKind::Table { value, .. } => {
                self.expr(value);
                Type::Any
            }
            ExprKind::Call(function, arguments) | ExprKind::Match(function, _, arguments) => self.call(function, arguments),
        }
    }

    fn binary(&mut self, op: &str, at: usize, left: &Expr, right: &Expr) -> Type {
        let want = match op {
            "&&" | "||" => Some((b'b', Type::Boolean)),
            "&" => Some((b's', Type::Text)),
            "+" | "-" | "*" | "/" | "^" => Some((b'n', Type::Number)),
            _ => None,
        };
        if let Some((wanted, result)) = want {
            for side in [left, right] {
                let found = self.want(wanted, side, |words| format!("`{op}` takes {words}"));
                if op == "+"
                    && found == Type::Text
                    && let Some(error) = self.errors.last_mut()
                {
                    error.help = Some("join texts with `&`, or convert them: TO_NUMBER(...)".to_owned());
                }
            }
            return result;
        }
        let (a, b) = (self.expr(left), self.expr(right));
        self.compared(a, b, at);
        Type::Boolean
    }

    fn compared(&mut self, a: Type, b: Type, at: usize) {
        if a.known() && b.known() && a != b && !(a.is_day() && b.is_day()) {
            let message = format!("{} cannot be compared with {}", a.what(), b.what());
            self.fail(at, message, Some("convert one of them (TO_NUMBER, TO_TEXT, DATEVALUE)".to_owned()));
        }
    }

    fn condition(&mut self, expr: &Expr) {
        self.want(b'b', expr, |wanted| format!("a condition must be {wanted}"));
    }

    fn call(&mut self, function: &Function, arguments: &[Expr]) -> Type {
        match function.name {
            "IF" | "IIF" | "SWITCH" => {
                let mut result = Type::Null;
                let mut rest = arguments;
                while let [condition, value, more @ ..] = rest {
                    self.condition(condition);
                    result = result.or(self.expr(value));
                    rest = more;
                }
                rest.first().map_or(result, |other| result.or(self.expr(other)))
            }
            "CASE" => {
                let [subject, rest @ ..] = arguments else { return Type::Any };
                let subject = self.expr(subject);
                let mut result = Type::Null;
                let mut rest = rest;
                while let [candidate, value, more @ ..] = rest {
                    let found = self.expr(candidate);
                    self.compared(subject, found, candidate.at);
                    result = result.or(self.expr(value));
                    rest = more;
                }
                rest.first().map_or(result, |other| result.or(self.expr(other)))
            }
            "COALESCE" | "NVL" | "IFNULL" | "NULLVALUE" | "BLANKVALUE" => {
                arguments.iter().fold(Type::Null, |result, argument| result.or(self.expr(argument)))
            }
            "IFERROR" => {
                let [value, other] = arguments else { return Type::Any };
                // It is there to fail.
                let before = self.errors.len();
                let result = self.expr(value);
                self.errors.truncate(before);
                result.or(self.expr(other))
            }
            name => {
                let (wanted, result) = signature(name);
                for (index, argument) in arguments.iter().enumerate() {
                    let wanted = wanted.as_bytes().get(index).or(wanted.as_bytes().last()).copied().unwrap_or(b'a');
                    self.want(wanted, argument, |words| format!("argument {} of {name} must be {words}", index + 1));
                }
                result
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> (Type, Vec<(usize, String)>) {
        let formula = Formula::parse(text).unwrap();
        let names: Vec<String> = formula.names().iter().map(|name| name.text.clone()).collect();
        let (kind, errors) = formula.types(&|index| match names[index].as_str() {
            "n" => Type::Number,
            "t" => Type::Text,
            "b" => Type::Boolean,
            _ => Type::Any,
        });
        (kind, errors.into_iter().map(|error| (error.position(), format!("{}; {}", error.message(), error.help().unwrap_or("")))).collect())
    }

    #[test]
    fn what_can_work_has_a_type() {
        for (text, wanted) in [
            ("1 + n", Type::Number),
            ("x & 'a'", Type::Text),
            ("n > 1 && b", Type::Boolean),
            ("IF(b, 1, 2)", Type::Number),
            ("IF(b, 1, NULL)", Type::Number),
            ("IF(b, 1, 'x')", Type::Any),
            ("DATE(2026, 1, 1)", Type::Date),
            ("NOW()", Type::Instant),
            ("CASE(t, 'a', 1, 2)", Type::Number),
            ("COALESCE(x, 'a')", Type::Any),
            ("IFERROR(TO_NUMBER(t), 0)", Type::Number),
            ("LEN(t & n)", Type::Number),
            ("DATE(2026, 1, 1) < NOW()", Type::Boolean),
            ("LIST(1)", Type::List),
        ] {
            assert_eq!(check(text), (wanted, Vec::new()), "{text}");
        }
    }

    #[test]
    fn what_cannot_work_is_told_with_its_place() {
        for (text, at, part) in [
            ("t + 1", 0, "join texts with `&`"),
            ("UPPER(n)", 6, "TO_TEXT"),
            ("1 = t", 2, "cannot be compared"),
            ("IF(n, 1, 2)", 3, "TO_BOOLEAN"),
            ("CASE(n, 'a', 1)", 8, "cannot be compared"),
            ("ROUND('x')", 6, "TO_NUMBER"),
            ("YEAR(n)", 5, "EPOCH_MS"),
            ("LIST(1) & 'a'", 0, "FIRST"),
            ("SORT(t)", 5, "SPLIT"),
        ] {
            let (_, errors) = check(text);
            assert_eq!(errors.len(), 1, "{text}: {errors:?}");
            assert!(errors[0].0 == at && errors[0].1.contains(part), "{text}: {errors:?}");
        }
    }

    #[test]
    fn every_function_is_listed() {
        let without = ["ISPRESENT", "MAX", "MIN", "SUM", "UNION", "IFNULL", "IIF", "NULLVALUE", "NVL"];
        for name in super::super::calls::names().filter(|name| !without.contains(name)) {
            assert!(SIGNATURES.iter().any(|(known, ..)| *known == name), "{name}");
        }
    }
}
