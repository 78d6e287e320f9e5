//! Conditions as text: reading.
//!
//! The language is SOQL's `WHERE`, as far as every CRM can follow, with a few forgiving spellings.

use serde_json::Value;

use crate::query::criteria::{Criteria, Operator};
use crate::query::error::ParseError;
use crate::query::lexer::Lexer;

/// Deeper nesting is refused: each level is a level of the stack.
const DEEPEST: usize = 64;

impl Criteria {
    /// Reads a condition.
    ///
    /// ```text
    /// Status != 'Disqualified' AND (HasOptedOutOfEmail = false OR Email = null)
    /// Rating IN ('Hot', 'Warm') AND NOT Name LIKE 'Test%' AND CreatedDate >= 2026-01-01T00:00:00Z
    /// ```
    ///
    /// * Comparisons: `=` (`==`), `!=` (`<>`), `<`, `<=`, `>`, `>=`, `IN (...)`, `NOT IN (...)`, `IS NULL`, `IS NOT NULL`,
    ///   `LIKE 'x%'` (starts with), `LIKE '%x%'` (contains). `AND` binds tighter than `OR`; `NOT` tighter than both.
    ///   Keywords have no case. `TRUE` alone matches everything, `FALSE` nothing.
    /// * Values: text in single or double quotes with SOQL's escapes (`\'`, `\"`, `\\`, `\n`, `\r`, `\t`, `\b`, `\f`, `\uXXXX`,
    ///   and `\%` and `\_` for those characters themselves in `LIKE`), numbers, `true`, `false`, `null`, and bare dates
    ///   (`2026-01-31`, `2026-01-31T10:00:00Z`), which become texts.
    /// * Fields: letters, digits, `_`, `.`, `$`; any other name in backquotes. A field named like a keyword too.
    ///
    /// An empty text matches everything. Whatever is displayed from a [`Criteria`] is read back as the same condition.
    ///
    /// # Errors
    /// [`ParseError`] with line, column and, mostly, help.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser { lexer: Lexer::new(text), depth: 0 };
        if parser.lexer.rest().is_empty() {
            return Ok(Self::always());
        }
        let criteria = parser.any()?;
        if parser.lexer.rest().is_empty() {
            return Ok(criteria);
        }
        let found = parser.lexer.found();
        let help = if parser.lexer.rest().starts_with(')') { "there is no open parenthesis" } else { "join conditions with AND or OR" };
        Err(parser.lexer.error(format!("expected AND, OR or the end, found {found}"), help))
    }
}

impl std::str::FromStr for Criteria {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    depth: usize,
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Criteria, ParseError> {
        let mut parts = vec![self.all()?];
        while self.lexer.keyword("OR") || self.lexer.symbol("||") {
            parts.push(self.all()?);
        }
        Ok(one_or(parts, Criteria::Any))
    }

    fn all(&mut self) -> Result<Criteria, ParseError> {
        let mut parts = vec![self.part()?];
        while self.lexer.keyword("AND") || self.lexer.symbol("&&") {
            parts.push(self.part()?);
        }
        Ok(one_or(parts, Criteria::All))
    }

    fn part(&mut self) -> Result<Criteria, ParseError> {
        if self.depth >= DEEPEST {
            return Err(self.lexer.error(format!("nested deeper than {DEEPEST} levels"), "use IN for long lists"));
        }
        self.depth += 1;
        let part = self.part_inside();
        self.depth -= 1;
        part
    }

    fn part_inside(&mut self) -> Result<Criteria, ParseError> {
        let negated = self.lexer.keyword("NOT") || (!self.lexer.rest().starts_with("!=") && self.lexer.symbol("!"));
        if negated {
            return Ok(Criteria::Not(Box::new(self.part()?)));
        }
        let open = self.lexer.at();
        if self.lexer.symbol("(") {
            let inside = self.any()?;
            if !self.lexer.symbol(")") {
                let message = format!("expected `)`, found {}", self.lexer.found());
                let line = self.lexer.error_at(open, "", "");
                return Err(self.lexer.error(message, &format!("it closes the `(` of line {}, column {}", line.line(), line.column())));
            }
            return Ok(inside);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Criteria, ParseError> {
        let start = self.lexer.at();
        let quoted = self.lexer.rest().starts_with('`');
        let field = self.lexer.field()?;
        let (lone, lone_value) = (!quoted, field.to_ascii_uppercase());
        if self.lexer.symbol("==") || self.lexer.symbol("=") {
            return Ok(Criteria::eq(field, self.lexer.value()?));
        }
        if self.lexer.symbol("!=") || self.lexer.symbol("<>") {
            return Ok(Criteria::ne(field, self.lexer.value()?));
        }
        for (symbol, op) in [("<=", Operator::Lte), (">=", Operator::Gte), ("<", Operator::Lt), (">", Operator::Gt)] {
            if !self.lexer.symbol(symbol) {
                continue;
            }
            let at = self.lexer.at();
            return match self.lexer.value()? {
                Value::Null => Err(self.lexer.error_at(at, "null is neither less nor greater", "ask for `= null` or `!= null`")),
                value => Ok(Criteria::Compare { field, op, value }),
            };
        }
        if self.lexer.keyword("IS") {
            let negated = self.lexer.keyword("NOT");
            if !self.lexer.keyword("NULL") {
                return Err(self
                    .lexer
                    .error(format!("expected NULL, found {}", self.lexer.found()), "only IS NULL and IS NOT NULL can be said"));
            }
            return Ok(negate(negated, Criteria::IsNull { field }));
        }
        let negated = self.lexer.keyword("NOT");
        if self.lexer.keyword("IN") {
            return Ok(negate(negated, self.list(field)?));
        }
        if self.lexer.keyword("LIKE") {
            return Ok(negate(negated, self.like(field)?));
        }
        if lone && !negated {
            match lone_value.as_str() {
                "TRUE" => return Ok(Criteria::always()),
                "FALSE" => return Ok(Criteria::Any(Vec::new())),
                _ => {}
            }
        }
        if self.lexer.rest().starts_with('(') {
            return Err(self.lexer.error_at(start, "functions cannot stand in a condition", "compare a field with a value"));
        }
        let expected = if negated { "IN or LIKE" } else { "a comparison" };
        let help = if negated { "" } else { "=, !=, <, <=, >, >=, IN, NOT IN, LIKE, IS NULL" };
        Err(self.lexer.error(format!("expected {expected}, found {}", self.lexer.found()), help))
    }

    fn list(&mut self, field: String) -> Result<Criteria, ParseError> {
        if !self.lexer.symbol("(") {
            return Err(self.lexer.error(format!("expected `(`, found {}", self.lexer.found()), "IN ('a', 'b')"));
        }
        let mut values = Vec::new();
        let mut null = false;
        if !self.lexer.symbol(")") {
            loop {
                match self.lexer.value()? {
                    Value::Null => null = true,
                    value => values.push(value),
                }
                if self.lexer.symbol(")") {
                    break;
                }
                if !self.lexer.symbol(",") {
                    return Err(self.lexer.error(format!("expected `,` or `)`, found {}", self.lexer.found()), ""));
                }
            }
        }
        // An empty field is never one of the values; null in the list asks for it apart.
        Ok(if null {
            let is_null = Criteria::IsNull { field: field.clone() };
            if values.is_empty() { is_null } else { Criteria::Any(vec![Criteria::In { field, values }, is_null]) }
        } else {
            Criteria::In { field, values }
        })
    }

    fn like(&mut self, field: String) -> Result<Criteria, ParseError> {
        let at = self.lexer.at();
        if !self.lexer.rest().starts_with(['\'', '"']) {
            return Err(self.lexer.error(format!("expected a text in quotes, found {}", self.lexer.found()), "LIKE 'Ann%'"));
        }
        let pattern = self.lexer.quoted()?;
        let wild = |part: &(char, bool)| *part == ('%', false);
        let (begins, ends) = (pattern.first().is_some_and(wild) && pattern.len() > 1, pattern.last().is_some_and(wild));
        let from = usize::from(begins);
        let inner = pattern.get(from..pattern.len() - usize::from(ends)).unwrap_or(&[]);
        if inner.iter().any(|part| wild(part) || *part == ('_', false)) {
            return Err(self.lexer.error_at(
                at,
                "this pattern is more than CRMs can search for",
                "only 'x%' and '%x%' can be said; write \\% and \\_ for the characters themselves",
            ));
        }
        let text: String = inner.iter().map(|(c, _)| *c).collect();
        match (begins, ends) {
            (true, true) => Ok(Criteria::Contains { field, text }),
            (false, true) => Ok(Criteria::StartsWith { field, text }),
            (false, false) => Ok(Criteria::eq(field, text)),
            (true, false) => Err(self.lexer.error_at(at, "CRMs cannot search for the end of a text", "use '%x%' and look at the result")),
        }
    }
}

fn one_or(mut parts: Vec<Criteria>, many: fn(Vec<Criteria>) -> Criteria) -> Criteria {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            many(parts)
        }
        None => many(parts),
    }
}

fn negate(negated: bool, criteria: Criteria) -> Criteria {
    if negated { Criteria::Not(Box::new(criteria)) } else { criteria }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use proptest::prelude::*;
    use serde_json::json;

    fn parse(text: &str) -> Criteria {
        Criteria::parse(text).unwrap_or_else(|error| panic!("{}", error.annotated(text)))
    }

    fn refused(text: &str) -> String {
        let error = Criteria::parse(text).unwrap_err();
        format!("{}:{} {}", error.line(), error.column(), error.message())
    }

    #[test]
    fn the_rules_of_the_guide() {
        assert_eq!(parse("Status != 'Disqualified'"), Criteria::ne("Status", "Disqualified"));
        assert_eq!(parse("HasOptedOutOfEmail = false"), Criteria::eq("HasOptedOutOfEmail", false));
        assert_eq!(parse("  "), Criteria::always());
    }

    #[test]
    fn precedence_and_nesting() {
        let (a, b, c) = (Criteria::eq("A", 1), Criteria::eq("B", 2), Criteria::eq("C", 3));
        let both = Criteria::All(vec![b.clone(), c.clone()]);
        assert_eq!(parse("A = 1 or B = 2 and C = 3"), Criteria::Any(vec![a.clone(), both]));
        assert_eq!(parse("(A = 1 || B = 2) && C = 3"), Criteria::All(vec![Criteria::Any(vec![a.clone(), b.clone()]), c]));
        assert_eq!(parse("NOT A = 1 AND B = 2"), Criteria::All(vec![Criteria::Not(Box::new(a.clone())), b]));
        assert_eq!(parse("!(A = 1)"), Criteria::Not(Box::new(a)));
    }

    #[test]
    fn values_of_every_kind() {
        assert_eq!(parse("A >= -1.5e3"), Criteria::compare("A", Operator::Gte, -1500.0));
        assert_eq!(parse(r#"A = "it's""#), Criteria::eq("A", "it's"));
        assert_eq!(parse(r"A = 'O\'Neil \\ \u00e9\n'"), Criteria::eq("A", "O'Neil \\ é\n"));
        assert_eq!(parse("A < 2026-01-31"), Criteria::compare("A", Operator::Lt, "2026-01-31"));
        assert_eq!(parse("A > 2026-01-31T10:00:00+01:00"), Criteria::compare("A", Operator::Gt, "2026-01-31T10:00:00+01:00"));
        assert_eq!(parse("A = NULL"), Criteria::IsNull { field: "A".to_owned() });
        assert_eq!(parse("A is not null"), Criteria::ne("A", Value::Null));
        assert_eq!(parse("A != null"), Criteria::ne("A", Value::Null));
        assert_eq!(parse("A NOT IN ('x', 2)"), negate(true, Criteria::one_of("A", [json!("x"), json!(2)])));
        let either = Criteria::Any(vec![Criteria::one_of("A", ["x"]), Criteria::eq("A", Value::Null)]);
        assert_eq!(parse("A IN ('x', null)"), either);
        assert_eq!(parse("Account.Name = 'x'"), Criteria::eq("Account.Name", "x"));
        assert_eq!(parse("`first name` = 'x'"), Criteria::eq("first name", "x"));
        assert_eq!(parse("9dc3f0a1 = 'x'"), Criteria::eq("9dc3f0a1", "x"));
    }

    #[test]
    fn patterns() {
        let (field, text) = ("A".to_owned(), "x_%".to_owned());
        assert_eq!(parse(r"A LIKE 'x\_\%%'"), Criteria::StartsWith { field: field.clone(), text: text.clone() });
        assert_eq!(parse(r"A LIKE '%x\_\%%'"), Criteria::Contains { field, text });
        assert_eq!(parse("A like 'x'"), Criteria::eq("A", "x"));
        assert_eq!(refused("A LIKE '%x'"), "1:8 CRMs cannot search for the end of a text");
        assert_eq!(refused("A LIKE 'a_c%'"), "1:8 this pattern is more than CRMs can search for");
    }

    #[test]
    fn errors_point_at_the_place() {
        assert_eq!(refused("Status ="), "1:9 expected a value, found the end");
        assert_eq!(refused("A = 1\n  AND B ? 2"), "2:9 expected a comparison, found `?`");
        assert_eq!(refused("A = 'x"), "1:5 the text is not closed");
        assert_eq!(refused("(A = 1"), "1:7 expected `)`, found the end");
        assert_eq!(refused("A = 1)"), "1:6 expected AND, OR or the end, found `)`");
        assert_eq!(refused("A = 1 B = 2"), "1:7 expected AND, OR or the end, found the word B");
        assert_eq!(refused("AND = 1"), "1:1 expected a field, found the word AND");
        assert_eq!(refused("'secret' = A"), "1:1 expected a field, found a text");
        assert_eq!(refused("A > null"), "1:5 null is neither less nor greater");
        assert_eq!(refused("A = 12:99x"), "1:5 this is neither a number nor a date");
        assert_eq!(refused(r"A = 'a\q'"), "1:7 this escape is unknown");
        assert_eq!(refused("YEAR(A) = 1"), "1:1 functions cannot stand in a condition");
        assert_eq!(refused(&"(".repeat(100_000)), "1:65 nested deeper than 64 levels");
        let error = Error::from(Criteria::parse("A = ").unwrap_err());
        assert_eq!(crate::error::chain(&error), "the condition cannot be read: line 1, column 5: expected a value, found the end");
    }

    fn leaf() -> impl Strategy<Value = Criteria> {
        let field = prop_oneof!["[A-Za-z_][A-Za-z0-9_.]{0,8}", "\\PC{1,6}", Just("in".to_owned()), Just("true".to_owned())];
        let text = prop_oneof!["[a-z%_'\\\\\"\n ]{0,6}", "\\PC{0,6}"];
        let value = prop_oneof![
            text.clone().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            (-1e12..1e12).prop_map(Value::from),
        ];
        use Operator::{Eq, Gt, Gte, Lt, Lte, Ne};
        let op = prop_oneof![Just(Eq), Just(Gt), Just(Gte), Just(Lt), Just(Lte), Just(Ne)];
        prop_oneof![
            (field.clone(), op, value.clone()).prop_map(|(field, op, value)| Criteria::Compare { field, op, value }),
            (field.clone(), text.clone()).prop_map(|(field, text)| Criteria::Contains { field, text }),
            (field.clone(), text).prop_map(|(field, text)| Criteria::StartsWith { field, text }),
            (field.clone(), proptest::collection::vec(value, 0..3)).prop_map(|(field, values)| Criteria::In { field, values }),
            field.prop_map(|field| Criteria::IsNull { field }),
        ]
    }

    fn tree() -> impl Strategy<Value = Criteria> {
        leaf().prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Criteria::All),
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Criteria::Any),
                inner.prop_map(|part| Criteria::Not(Box::new(part))),
            ]
        })
    }

    /// A list of one part is that part: the only thing that display does not keep.
    fn plain(criteria: Criteria) -> Criteria {
        match criteria {
            Criteria::All(parts) => one_or(parts.into_iter().map(plain).collect(), Criteria::All),
            Criteria::Any(parts) => one_or(parts.into_iter().map(plain).collect(), Criteria::Any),
            Criteria::Not(part) => Criteria::Not(Box::new(plain(*part))),
            other => other,
        }
    }

    proptest! {
        #[test]
        fn what_is_displayed_is_read_back(criteria in tree()) {
            let text = criteria.to_string();
            let read = Criteria::parse(&text).map_err(|error| TestCaseError::fail(error.annotated(&text)))?;
            prop_assert_eq!(read, plain(criteria), "{}", text);
        }

        #[test]
        fn nothing_panics(text in "[A-C'\"\\\\`()=!<>&|% 0-9a-z\n,éλ-]{0,40}") {
            if let Err(error) = Criteria::parse(&text) {
                prop_assert!(error.offset() <= text.len());
                error.annotated(&text);
            }
        }
    }
}
