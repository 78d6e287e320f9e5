//! Tokens to a tree.

use super::ast::{Expr, ExprKind, Formula, Name};
use super::calls;
use super::error::{FormulaError, FormulaErrorKind};
use super::function::{Call, Function};
use super::lexer::{Token, tokens};
use super::patterns;
use crate::document::suggest::did_you_mean;
use crate::mapping::path::Path;

/// Nesting beyond this is refused.
const MAX_DEPTH: usize = 64;

impl Formula {
    /// Reads a formula.
    ///
    /// # Errors
    /// The first problem, with its byte offset: syntax, an unknown function (with near names), a wrong count of arguments,
    /// more than 64 levels.
    pub fn parse(text: &str) -> Result<Self, FormulaError> {
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens, next: 0, depth: 0, names: Vec::new(), tables: Vec::new(), pure: true };
        if matches!(parser.peek(), Token::End) {
            return Err(FormulaError::new(FormulaErrorKind::Syntax, 0, "the formula is empty"));
        }
        let root = parser.or()?;
        match parser.peek().clone() {
            Token::End => {}
            Token::Op(")") => return Err(parser.fail("there is a `)` too many")),
            Token::Comma => return Err(parser.fail("a comma outside of a function")),
            _ => return Err(parser.fail("an operator is missing here")),
        }
        Ok(Self { text: text.to_owned(), root, names: parser.names, tables: parser.tables, pure: parser.pure })
    }
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    next: usize,
    depth: usize,
    names: Vec<Name>,
    tables: Vec<(String, usize)>,
    pure: bool,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |(token, _)| token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(0, |(_, at)| *at)
    }

    fn fail(&self, message: impl Into<String>) -> FormulaError {
        FormulaError::new(FormulaErrorKind::Syntax, self.at(), message)
    }

    fn op(&mut self, ops: &[&str]) -> Option<&'static str> {
        match self.peek() {
            Token::Op(op) if ops.contains(op) => {
                let op = *op;
                self.next += 1;
                Some(op)
            }
            _ => None,
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let hit = matches!(self.peek(), Token::Name(name) if name.eq_ignore_ascii_case(word));
        self.next += usize::from(hit);
        hit
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, FormulaError>) -> Result<T, FormulaError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(FormulaError::new(FormulaErrorKind::Limit, self.at(), format!("more than {MAX_DEPTH} levels deep")));
        }
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// A chain of operators of one level, left to right.
    fn chain(
        &mut self,
        ops: &[&str],
        word: Option<(&str, &'static str)>,
        part: fn(&mut Self) -> Result<Expr, FormulaError>,
    ) -> Result<Expr, FormulaError> {
        let mut left = part(self)?;
        loop {
            let at = self.at();
            let op = match self.op(ops) {
                Some(op) => op,
                None => match word {
                    Some((word, op)) if self.word(word) => op,
                    _ => return Ok(left),
                },
            };
            let right = part(self)?;
            left = Expr::new(at, ExprKind::Binary(op, Box::new(left), Box::new(right)))?;
        }
    }

    fn or(&mut self) -> Result<Expr, FormulaError> {
        self.deeper(|parser| parser.chain(&["||"], Some(("OR", "||")), Self::and))
    }

    fn and(&mut self) -> Result<Expr, FormulaError> {
        self.chain(&["&&"], Some(("AND", "&&")), Self::not)
    }

    fn not(&mut self) -> Result<Expr, FormulaError> {
        let at = self.at();
        // `NOT(` without a blank is the function: NOT(a) = b compares, as in Excel.
        let function = matches!(self.tokens.get(self.next + 1), Some((Token::Op("("), open)) if *open == at + 3);
        if !function && self.word("NOT") {
            let inner = self.deeper(Self::not)?;
            return Expr::new(at, ExprKind::Not(Box::new(inner)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expr, FormulaError> {
        const OPS: [&str; 8] = ["=", "==", "<>", "!=", "<=", ">=", "<", ">"];
        let left = self.concatenation()?;
        let at = self.at();
        let Some(op) = self.op(&OPS) else { return Ok(left) };
        let right = self.concatenation()?;
        if matches!(self.peek(), Token::Op(op) if OPS.contains(op)) {
            return Err(self.fail("comparisons do not chain; join them with AND"));
        }
        Expr::new(at, ExprKind::Binary(op, Box::new(left), Box::new(right)))
    }

    fn concatenation(&mut self) -> Result<Expr, FormulaError> {
        self.chain(&["&"], None, Self::sum)
    }

    fn sum(&mut self) -> Result<Expr, FormulaError> {
        self.chain(&["+", "-"], None, Self::product)
    }

    fn product(&mut self) -> Result<Expr, FormulaError> {
        self.chain(&["*", "/"], None, Self::power)
    }

    fn power(&mut self) -> Result<Expr, FormulaError> {
        let left = self.unary()?;
        let at = self.at();
        if self.op(&["^"]).is_none() {
            return Ok(left);
        }
        let right = self.deeper(Self::power)?;
        Expr::new(at, ExprKind::Binary("^", Box::new(left), Box::new(right)))
    }

    fn unary(&mut self) -> Result<Expr, FormulaError> {
        let at = self.at();
        match self.op(&["-", "!", "+"]) {
            Some("-") => Expr::new(at, ExprKind::Negate(Box::new(self.deeper(Self::unary)?))),
            Some("!") => Expr::new(at, ExprKind::Not(Box::new(self.deeper(Self::unary)?))),
            Some(_) => self.deeper(Self::unary),
            None => self.primary(),
        }
    }

    fn primary(&mut self) -> Result<Expr, FormulaError> {
        let at = self.at();
        let token = self.peek().clone();
        self.next += 1;
        let kind = match token {
            Token::Number(number) => ExprKind::Number(number),
            Token::Text(text) => ExprKind::Text(text),
            Token::Name(name) => return self.name(name, at),
            Token::Op("(") => {
                let inner = self.or()?;
                if self.op(&[")"]).is_none() {
                    return Err(self.fail("a `)` is missing"));
                }
                return Ok(inner);
            }
            Token::End => {
                self.next -= 1;
                return Err(self.fail("the formula ends too early: a value is missing"));
            }
            Token::Op(op) => return Err(FormulaError::new(FormulaErrorKind::Syntax, at, format!("a value is missing before `{op}`"))),
            Token::Comma => return Err(FormulaError::new(FormulaErrorKind::Syntax, at, "a value is missing before the comma")),
        };
        Expr::new(at, kind)
    }

    fn name(&mut self, name: String, at: usize) -> Result<Expr, FormulaError> {
        if matches!(self.peek(), Token::Op("(")) {
            return self.call(&name, at);
        }
        let kind = match name.to_ascii_uppercase().as_str() {
            "TRUE" => ExprKind::Bool(true),
            "FALSE" => ExprKind::Bool(false),
            "NULL" => ExprKind::Null,
            _ => {
                let known = self.names.iter().position(|known| known.text == name);
                let index = match known {
                    Some(index) => index,
                    None => {
                        let path = Path::parse(&name).map_err(|message| FormulaError::new(FormulaErrorKind::Syntax, at, message))?;
                        self.names.push(Name { text: name, position: at, path });
                        self.names.len() - 1
                    }
                };
                ExprKind::Name(index)
            }
        };
        Expr::new(at, kind)
    }

    fn call(&mut self, name: &str, at: usize) -> Result<Expr, FormulaError> {
        let Some(function) = calls::find(name) else {
            let mut error = FormulaError::new(FormulaErrorKind::UnknownFunction, at, format!("unknown function {name:?}"));
            error.help = match name.to_ascii_uppercase().as_str() {
                "HYPERLINK" | "IMAGE" => Some("it makes HTML for pages, not data; use CONCAT to build the address".to_owned()),
                _ => did_you_mean(name, calls::names()),
            };
            return Err(error);
        };
        self.next += 1;
        let mut arguments = Vec::new();
        if self.op(&[")"]).is_none() {
            loop {
                arguments.push(self.or()?);
                if matches!(self.peek(), Token::Comma) {
                    self.next += 1;
                } else if self.op(&[")"]).is_some() {
                    break;
                } else {
                    return Err(self.fail(format!("a comma or `)` is missing in {}", function.name)));
                }
            }
        }
        function.check(arguments.len(), at)?;
        self.pure &= !matches!(function.name, "NOW" | "TODAY");
        let kind = match function.call {
            Call::Pattern(_) => {
                let (pattern, at) = literal(function, &arguments, "a pattern", at)?;
                let regex = patterns::compile(pattern, at)?;
                ExprKind::Match(function, Box::new(regex), arguments)
            }
            Call::Table(only) => {
                let (name, place) = literal(function, &arguments, "the name of a picklist", at)?;
                let known = self.tables.iter().position(|(known, _)| known == name);
                let table = known.unwrap_or_else(|| {
                    self.tables.push((name.to_owned(), place));
                    self.tables.len() - 1
                });
                match arguments.into_iter().next() {
                    Some(value) => ExprKind::Table { table, only, value: Box::new(value) },
                    None => ExprKind::Null,
                }
            }
            _ => ExprKind::Call(function, arguments),
        };
        Expr::new(at, kind)
    }
}

/// The second argument, which must stand there as a text.
fn literal<'a>(function: &Function, arguments: &'a [Expr], what: &str, at: usize) -> Result<(&'a str, usize), FormulaError> {
    match arguments.get(1) {
        Some(Expr { kind: ExprKind::Text(text), at, .. }) => Ok((text, *at)),
        other => {
            let at = other.map_or(at, |other| other.at);
            let message = format!("argument 2 of {} must be {what} in quotes", function.name);
            Err(FormulaError::new(FormulaErrorKind::Syntax, at, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_listed_once_in_order() {
        let formula = Formula::parse("CONCAT(FirstName, ' ', LastName, FirstName, [Lead Source], utm.source)").unwrap();
        let names: Vec<_> = formula.names().iter().map(|name| (name.text.as_str(), name.position)).collect();
        assert_eq!(names, [("FirstName", 7), ("LastName", 23), ("\"Lead Source\"", 44), ("utm.source", 59)]);
        assert!(formula.is_pure());
        assert!(!Formula::parse("TODAY()").unwrap().is_pure());
    }

    #[test]
    fn errors_point_at_the_place() {
        for (text, position, part) in [
            ("", 0, "empty"),
            ("CONCAT(a, ", 10, "ends too early"),
            ("CONCAT(a b)", 9, "a comma or `)`"),
            ("CONCTA(a)", 0, "unknown function"),
            ("1 + CONCTA(a)", 4, "unknown function"),
            ("LEFT(a)", 0, "LEFT takes 2"),
            ("a b", 2, "operator is missing"),
            ("(a", 2, "`)` is missing"),
            ("a)", 1, "too many"),
            ("a < b < c", 6, "do not chain"),
            ("* 2", 0, "a value is missing"),
            ("CONCAT(a,,b)", 9, "a value is missing"),
            ("a % 2", 2, "MOD"),
        ] {
            let error = Formula::parse(text).unwrap_err();
            assert_eq!(error.position(), position, "{text}: {error}");
            assert!(error.message().contains(part), "{text}: {error}");
        }
        assert_eq!(Formula::parse("CONCTA(a)").unwrap_err().help(), Some(r#"did you mean "CONCAT"?"#));
    }

    #[test]
    fn depth_is_limited() {
        let deep = format!("{}1{}", "(".repeat(63), ")".repeat(63));
        assert!(Formula::parse(&deep).is_ok());
        let deeper = format!("{}1{}", "(".repeat(65), ")".repeat(65));
        assert_eq!(Formula::parse(&deeper).unwrap_err().kind(), FormulaErrorKind::Limit);
        for text in ["-".repeat(100_000) + "1", "NOT ".repeat(100_000) + "a", "2^".repeat(100_000) + "2", "1+".repeat(100_000) + "1"] {
            assert_eq!(Formula::parse(&text).unwrap_err().kind(), FormulaErrorKind::Limit);
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[a-zA-Z0-9 '\"(),.+*/^&|!=<>\\[\\]äß\\\\-]{0,60}") {
            let _ = Formula::parse(&text);
        }

        #[test]
        fn never_panics_on_anything(text in "\\PC{0,80}") {
            let _ = Formula::parse(&text);
        }
    }
}
