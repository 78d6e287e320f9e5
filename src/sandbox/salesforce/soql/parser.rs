//! Tokens to a tree.

use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::soql::lexer::{Kind, Token, refuse, tokens};

#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) parts: Vec<String>,
    pub(crate) at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agg {
    Avg,
    Count,
    CountDistinct,
    Max,
    Min,
    Sum,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DateFn {
    CalendarMonth,
    CalendarYear,
    DayInMonth,
    DayOnly,
    HourInDay,
}

#[derive(Clone, Debug)]
pub(crate) enum Expr {
    Agg(Agg, Path),
    Date(DateFn, Path),
    Field(Path),
    /// FORMAT (true), toLabel or convertCurrency: the field, shown otherwise.
    Shown(bool, Path),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    All,
    Custom,
    Standard,
}

#[derive(Clone, Debug)]
pub(crate) enum Item {
    Child(Box<Query>),
    Expr(Expr, Option<String>),
    Fields(Group, usize),
    TypeOf(TypeOf),
}

/// `TYPEOF What WHEN Account THEN Phone ELSE Name END`.
#[derive(Clone, Debug)]
pub(crate) struct TypeOf {
    pub(crate) path: Path,
    pub(crate) whens: Vec<(String, Vec<Path>)>,
    pub(crate) otherwise: Vec<Path>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Eq,
    Excludes,
    Ge,
    Gt,
    Includes,
    Le,
    Like,
    Lt,
    Ne,
}

#[derive(Clone, Debug)]
pub(crate) enum Literal {
    Bool(bool),
    /// A date literal and its number.
    Named(String, Option<i64>),
    Null,
    Number(String),
    Text(String),
}

#[derive(Clone, Debug)]
pub(crate) enum Cond {
    And(Vec<Cond>),
    Cmp(Expr, Op, Literal),
    /// Left side, negated, members.
    In(Expr, bool, Vec<Literal>),
    /// INCLUDES or EXCLUDES.
    Members(Expr, Op, Vec<Literal>),
    Not(Box<Cond>),
    Or(Vec<Cond>),
    Sub(Expr, bool, Box<Query>),
}

#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) expr: Expr,
    pub(crate) descending: bool,
    pub(crate) nulls_last: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) items: Vec<Item>,
    /// `SELECT COUNT()`.
    pub(crate) count: bool,
    pub(crate) object: String,
    pub(crate) object_at: usize,
    pub(crate) alias: Option<String>,
    pub(crate) filter: Option<Cond>,
    pub(crate) group: Vec<Expr>,
    pub(crate) having: Option<Cond>,
    pub(crate) order: Vec<Order>,
    pub(crate) limit: Option<u64>,
    pub(crate) offset: u64,
}

/// Reads a statement.
pub(crate) fn parse(text: &str) -> Result<Query, ApiError> {
    if text.chars().count() > 100_000 {
        return Err(ApiError::bad("QUERY_TOO_COMPLICATED", "the SOQL statement is longer than 100,000 characters"));
    }
    let mut parser = Parser { text, tokens: tokens(text)?, next: 0, depth: 0 };
    let query = parser.query()?;
    match parser.peek() {
        Kind::End => Ok(query),
        _ => Err(parser.unexpected()),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

const END: Token = Token { kind: Kind::End, at: 0, end: 0 };
const RESERVED: [&str; 12] = ["FROM", "WHERE", "WITH", "GROUP", "HAVING", "ORDER", "LIMIT", "OFFSET", "FOR", "USING", "AND", "OR"];

impl Parser<'_> {
    fn token(&self) -> &Token {
        self.tokens.get(self.next).or_else(|| self.tokens.last()).unwrap_or(&END)
    }

    fn peek(&self) -> &Kind {
        &self.token().kind
    }

    fn peek_next(&self) -> Option<&Kind> {
        self.tokens.get(self.next + 1).map(|token| &token.kind)
    }

    fn take(&mut self) -> Token {
        let token = self.token().clone();
        self.next += 1;
        token
    }

    fn unexpected(&self) -> ApiError {
        let token = self.token();
        if token.kind == Kind::End {
            return ApiError::bad("MALFORMED_QUERY", "unexpected token: '<EOF>'");
        }
        let shown = self.text.get(token.at..token.end).unwrap_or_default();
        refuse(self.text, token.at, "MALFORMED_QUERY", format!("unexpected token: '{shown}'"))
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Kind::Word(found) if found.eq_ignore_ascii_case(word))
    }

    fn accept(&mut self, word: &str) -> bool {
        let hit = self.is_word(word);
        self.next += usize::from(hit);
        hit
    }

    fn expect(&mut self, word: &str) -> Result<(), ApiError> {
        if self.accept(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn accept_sign(&mut self, sign: &str) -> bool {
        let hit = matches!(self.peek(), Kind::Sign(found) if *found == sign);
        self.next += usize::from(hit);
        hit
    }

    fn expect_sign(&mut self, sign: &str) -> Result<(), ApiError> {
        if self.accept_sign(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn word(&mut self) -> Result<(String, usize), ApiError> {
        if let Kind::Word(word) = self.peek() {
            let word = word.clone();
            return Ok((word, self.take().at));
        }
        Err(self.unexpected())
    }

    fn path(&mut self) -> Result<Path, ApiError> {
        if let Kind::Word(word) = self.peek()
            && RESERVED.iter().any(|reserved| word.eq_ignore_ascii_case(reserved))
        {
            return Err(self.unexpected());
        }
        let (word, at) = self.word()?;
        let parts: Vec<String> = word.split('.').map(str::to_owned).collect();
        if parts.iter().any(String::is_empty) {
            self.next -= 1;
            return Err(self.unexpected());
        }
        Ok(Path { parts, at })
    }

    fn number(&mut self) -> Result<u64, ApiError> {
        if let Kind::Number(digits) = self.peek()
            && let Ok(number) = digits.parse()
        {
            self.next += 1;
            return Ok(number);
        }
        Err(self.unexpected())
    }

    fn query(&mut self) -> Result<Query, ApiError> {
        self.depth += 1;
        if self.depth > 6 {
            return Err(ApiError::bad("MALFORMED_QUERY", "subqueries are nested too deeply"));
        }
        self.expect("SELECT")?;
        let mut query = Query {
            items: Vec::new(),
            count: false,
            object: String::new(),
            object_at: 0,
            alias: None,
            filter: None,
            group: Vec::new(),
            having: None,
            order: Vec::new(),
            limit: None,
            offset: 0,
        };
        loop {
            let item = self.item(&mut query)?;
            query.items.extend(item);
            if !self.accept_sign(",") {
                break;
            }
        }
        self.expect("FROM")?;
        (query.object, query.object_at) = self.word()?;
        let clause = ["WHERE", "WITH", "GROUP", "ORDER", "LIMIT", "OFFSET", "FOR", "USING", "ALL", "HAVING"];
        let _as = self.accept("AS");
        if let Kind::Word(word) = self.peek()
            && !clause.iter().any(|known| word.eq_ignore_ascii_case(known))
        {
            query.alias = Some(self.word()?.0);
        }
        if self.accept("USING") {
            self.expect("SCOPE")?;
            self.word()?;
        }
        if self.accept("WHERE") {
            query.filter = Some(self.cond()?);
        }
        if self.accept("GROUP") {
            self.expect("BY")?;
            loop {
                query.group.push(self.expr()?);
                if !self.accept_sign(",") {
                    break;
                }
            }
        }
        if self.accept("HAVING") {
            query.having = Some(self.cond()?);
        }
        if self.accept("ORDER") {
            self.expect("BY")?;
            loop {
                query.order.push(self.order()?);
                if !self.accept_sign(",") {
                    break;
                }
            }
        }
        if self.accept("LIMIT") {
            query.limit = Some(self.number()?);
        }
        if self.accept("OFFSET") {
            query.offset = self.number()?;
            if query.offset > 2000 {
                return Err(ApiError::bad("NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000"));
            }
        }
        if self.accept("FOR") && !(self.accept("VIEW") || self.accept("REFERENCE")) {
            return Err(self.unexpected());
        }
        self.depth -= 1;
        Ok(query)
    }

    /// `None` for `COUNT()`.
    fn item(&mut self, query: &mut Query) -> Result<Option<Item>, ApiError> {
        if self.accept_sign("(") {
            let child = self.query()?;
            self.expect_sign(")")?;
            return Ok(Some(Item::Child(Box::new(child))));
        }
        if self.accept("TYPEOF") {
            return self.type_of().map(|item| Some(Item::TypeOf(item)));
        }
        if matches!(self.peek_next(), Some(Kind::Sign("("))) {
            if self.is_word("FIELDS") {
                let at = self.take().at;
                self.expect_sign("(")?;
                let (group, _) = self.word()?;
                self.expect_sign(")")?;
                let group = match group.to_ascii_uppercase().as_str() {
                    "ALL" => Group::All,
                    "CUSTOM" => Group::Custom,
                    "STANDARD" => Group::Standard,
                    _ => return Err(refuse(self.text, at, "MALFORMED_QUERY", "FIELDS takes ALL, STANDARD or CUSTOM")),
                };
                return Ok(Some(Item::Fields(group, at)));
            }
            if self.is_word("COUNT") && matches!(self.tokens.get(self.next + 2).map(|token| &token.kind), Some(Kind::Sign(")"))) {
                if query.count || !query.items.is_empty() {
                    return Err(self.unexpected());
                }
                self.next += 3;
                query.count = true;
                if !self.is_word("FROM") {
                    return Err(self.unexpected());
                }
                return Ok(None);
            }
        }
        let expr = self.expr()?;
        let alias = match self.peek() {
            Kind::Word(word) if !word.eq_ignore_ascii_case("FROM") => Some(self.word()?.0),
            _ => None,
        };
        Ok(Some(Item::Expr(expr, alias)))
    }

    fn paths(&mut self) -> Result<Vec<Path>, ApiError> {
        let mut paths = vec![self.path()?];
        while self.accept_sign(",") {
            paths.push(self.path()?);
        }
        Ok(paths)
    }

    fn type_of(&mut self) -> Result<TypeOf, ApiError> {
        let path = self.path()?;
        let mut whens = Vec::new();
        while self.accept("WHEN") {
            let object = self.word()?.0;
            self.expect("THEN")?;
            whens.push((object, self.paths()?));
        }
        if whens.is_empty() {
            return Err(self.unexpected());
        }
        let otherwise = if self.accept("ELSE") { self.paths()? } else { Vec::new() };
        self.expect("END")?;
        Ok(TypeOf { path, whens, otherwise })
    }

    fn expr(&mut self) -> Result<Expr, ApiError> {
        if !matches!(self.peek_next(), Some(Kind::Sign("("))) {
            return self.path().map(Expr::Field);
        }
        let (name, at) = self.word()?;
        self.expect_sign("(")?;
        let path = self.path()?;
        self.expect_sign(")")?;
        Ok(match name.to_ascii_uppercase().as_str() {
            "AVG" => Expr::Agg(Agg::Avg, path),
            "COUNT" => Expr::Agg(Agg::Count, path),
            "COUNT_DISTINCT" => Expr::Agg(Agg::CountDistinct, path),
            "MAX" => Expr::Agg(Agg::Max, path),
            "MIN" => Expr::Agg(Agg::Min, path),
            "SUM" => Expr::Agg(Agg::Sum, path),
            "CALENDAR_MONTH" => Expr::Date(DateFn::CalendarMonth, path),
            "CALENDAR_YEAR" => Expr::Date(DateFn::CalendarYear, path),
            "DAY_IN_MONTH" => Expr::Date(DateFn::DayInMonth, path),
            "DAY_ONLY" => Expr::Date(DateFn::DayOnly, path),
            "HOUR_IN_DAY" => Expr::Date(DateFn::HourInDay, path),
            // Labels and values are the same texts in this org, and there is one currency.
            "TOLABEL" | "CONVERTCURRENCY" => Expr::Shown(false, path),
            "FORMAT" => Expr::Shown(true, path),
            _ => return Err(refuse(self.text, at, "MALFORMED_QUERY", format!("Invalid function: {name}"))),
        })
    }

    fn order(&mut self) -> Result<Order, ApiError> {
        let expr = self.expr()?;
        let descending = !self.accept("ASC") && self.accept("DESC");
        let mut nulls_last = false;
        if self.accept("NULLS") {
            nulls_last = self.accept("LAST");
            if !nulls_last {
                self.expect("FIRST")?;
            }
        }
        Ok(Order { expr, descending, nulls_last })
    }

    /// AND and OR do not mix on one level, and a bare NOT takes nothing after it.
    fn cond(&mut self) -> Result<Cond, ApiError> {
        self.depth += 1;
        if self.depth > 60 {
            return Err(ApiError::bad("QUERY_TOO_COMPLICATED", "the filter is nested too deeply"));
        }
        let first = self.simple()?;
        let joined = if self.is_word("AND") && !matches!(first, Cond::Not(_)) {
            let mut all = vec![first];
            while self.accept("AND") {
                all.push(self.simple()?);
            }
            Cond::And(all)
        } else if self.is_word("OR") && !matches!(first, Cond::Not(_)) {
            let mut any = vec![first];
            while self.accept("OR") {
                any.push(self.simple()?);
            }
            Cond::Or(any)
        } else {
            first
        };
        if self.is_word("AND") || self.is_word("OR") {
            return Err(self.unexpected());
        }
        self.depth -= 1;
        Ok(joined)
    }

    fn simple(&mut self) -> Result<Cond, ApiError> {
        if self.accept("NOT") {
            return Ok(Cond::Not(Box::new(self.simple()?)));
        }
        if self.accept_sign("(") {
            let inner = self.cond()?;
            self.expect_sign(")")?;
            // A parenthesised NOT may be joined with others.
            return Ok(match inner {
                Cond::Not(_) => Cond::And(vec![inner]),
                other => other,
            });
        }
        let expr = self.expr()?;
        if self.accept("LIKE") {
            let literal = self.literal()?;
            return Ok(Cond::Cmp(expr, Op::Like, literal));
        }
        for (word, op) in [("INCLUDES", Op::Includes), ("EXCLUDES", Op::Excludes)] {
            if self.accept(word) {
                self.expect_sign("(")?;
                let members = self.literals()?;
                return Ok(Cond::Members(expr, op, members));
            }
        }
        let negated = self.accept("NOT");
        if self.accept("IN") {
            self.expect_sign("(")?;
            if self.is_word("SELECT") {
                let query = self.query()?;
                self.expect_sign(")")?;
                return Ok(Cond::Sub(expr, negated, Box::new(query)));
            }
            let members = self.literals()?;
            return Ok(Cond::In(expr, negated, members));
        }
        if negated {
            return Err(self.unexpected());
        }
        let op = match self.peek() {
            Kind::Sign("=") => Op::Eq,
            Kind::Sign("!=" | "<>") => Op::Ne,
            Kind::Sign("<") => Op::Lt,
            Kind::Sign("<=") => Op::Le,
            Kind::Sign(">") => Op::Gt,
            Kind::Sign(">=") => Op::Ge,
            _ => return Err(self.unexpected()),
        };
        self.next += 1;
        let literal = self.literal()?;
        Ok(Cond::Cmp(expr, op, literal))
    }

    /// At least one, up to the closing parenthesis.
    fn literals(&mut self) -> Result<Vec<Literal>, ApiError> {
        let mut all = Vec::new();
        loop {
            all.push(self.literal()?);
            if self.accept_sign(")") {
                return Ok(all);
            }
            self.expect_sign(",")?;
        }
    }

    fn literal(&mut self) -> Result<Literal, ApiError> {
        let literal = match self.peek() {
            Kind::Text(raw) if raw.chars().count() > 4000 => {
                return Err(ApiError::bad("INVALID_QUERY_FILTER_OPERATOR", "a text in a filter is longer than 4,000 characters"));
            }
            Kind::Text(raw) => Literal::Text(raw.clone()),
            Kind::Number(digits) => Literal::Number(digits.clone()),
            Kind::Word(word) => match word.to_ascii_uppercase().as_str() {
                "TRUE" => Literal::Bool(true),
                "FALSE" => Literal::Bool(false),
                "NULL" => Literal::Null,
                upper
                    if upper.get(..3).is_some_and(|iso| iso.bytes().all(|byte| byte.is_ascii_uppercase()))
                        && upper.len() > 3
                        && upper.get(3..).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')) =>
                {
                    Literal::Number(upper.get(3..).unwrap_or_default().to_owned())
                }
                upper if super::dates::is_literal(upper) => {
                    let name = upper.to_owned();
                    self.next += 1;
                    let mut count = None;
                    if self.accept_sign(":") {
                        count = Some(i64::try_from(self.number()?).unwrap_or(i64::MAX));
                    }
                    if super::dates::takes_number(&name) != count.is_some() {
                        return Err(self.unexpected());
                    }
                    return Ok(Literal::Named(name, count));
                }
                _ => return Err(self.unexpected()),
            },
            _ => return Err(self.unexpected()),
        };
        self.next += 1;
        Ok(literal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> &'static str {
        parse(text).map_or_else(|error| error.code, |_| "ok")
    }

    #[test]
    fn reads_what_salesforce_reads() {
        for text in [
            "SELECT Id FROM Lead",
            "select Id, Owner.Email from Lead l where Email = 'a@b.c' and (Status != null or Name like 'x\\%%') order by Id desc nulls last limit 5 offset 2",
            "SELECT COUNT() FROM Lead WHERE (NOT Name LIKE 'x%') AND Id != null",
            "SELECT Status, COUNT(Id) n, MAX(CreatedDate) FROM Lead GROUP BY Status HAVING COUNT(Id) > 1",
            "SELECT Id, (SELECT Id FROM Tasks) FROM Contact WHERE CreatedDate >= LAST_N_DAYS:30",
            "SELECT Id FROM Lead WHERE Id IN (SELECT LeadId FROM CampaignMember) AND CreatedDate > 2026-01-01T00:00:00+01:00",
            "SELECT FIELDS(STANDARD) FROM Lead",
        ] {
            assert_eq!(code(text), "ok", "{text}");
        }
    }

    #[test]
    fn refuses_what_salesforce_refuses() {
        for text in [
            "SELECT FROM Lead",
            "SELECT Id, FROM Lead",
            "SELECT * FROM Lead",
            "SELECT Id FROM Lead WHERE A = 1 AND B = 2 OR C = 3",
            "SELECT Id FROM Lead WHERE Id IN ()",
            "SELECT Id FROM Lead WHERE Name = x",
            "SELECT Id FROM Lead WHERE Name NOT LIKE 'x'",
            "SELECT Id FROM Lead WHERE Name IS NULL",
            "SELECT Id FROM Lead LIMIT -1",
            "SELECT Id FROM Lead;",
            "SELECT Id FROM Lead WHERE CreatedDate > LAST_N_DAYS",
            "UPDATE Lead",
            "",
        ] {
            assert_eq!(code(text), "MALFORMED_QUERY", "{text}");
        }
        assert_eq!(code("SELECT Id FROM Lead LIMIT 1 OFFSET 2001"), "NUMBER_OUTSIDE_VALID_RANGE");
    }
}
