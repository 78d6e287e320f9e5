//! Conditions as text: words, symbols, names and values.

use serde_json::Value;

use crate::model::{parse_date, parse_datetime};
use crate::query::error::ParseError;

/// A text, and how far it has been read. What stands next is never a blank.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

/// A character of a quoted text, and whether it was escaped.
pub(super) type Quoted = Vec<(char, bool)>;

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut lexer = Self { text, at: 0 };
        lexer.space();
        lexer
    }

    /// How many bytes have been read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    pub(super) fn error_at(&self, at: usize, message: impl Into<String>, help: &str) -> ParseError {
        ParseError::new(self.text, at, message, help)
    }

    pub(super) fn error(&self, message: impl Into<String>, help: &str) -> ParseError {
        self.error_at(self.at, message, help)
    }

    /// What stands here, without showing the inside of quotes.
    pub(super) fn found(&self) -> String {
        let word = self.peek_word();
        match self.rest().chars().next() {
            None => "the end".to_owned(),
            Some('\'' | '"') => "a text".to_owned(),
            Some(_) if word.chars().next().is_some_and(|c| c.is_ascii_digit()) => "a number".to_owned(),
            Some(_) if !word.is_empty() => format!("the word {word}"),
            Some(other) => format!("`{other}`"),
        }
    }

    fn peek_word(&self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        rest.get(..end).unwrap_or("")
    }

    /// Takes `keyword` if it is the next word.
    pub(super) fn keyword(&mut self, keyword: &str) -> bool {
        let word = self.peek_word();
        if !word.eq_ignore_ascii_case(keyword) {
            return false;
        }
        self.at += word.len();
        self.space();
        true
    }

    /// Takes `symbol` if it is next.
    pub(super) fn symbol(&mut self, symbol: &str) -> bool {
        if !self.rest().starts_with(symbol) {
            return false;
        }
        self.at += symbol.len();
        self.space();
        true
    }

    pub(super) fn field(&mut self) -> Result<String, ParseError> {
        if self.rest().starts_with('`') {
            let open = self.at;
            let inside = self.text.get(open + 1..).unwrap_or("");
            let mut name = String::new();
            let mut chars = inside.char_indices().peekable();
            while let Some((at, c)) = chars.next() {
                if c != '`' {
                    name.push(c);
                    continue;
                }
                // A doubled backquote is one of the name.
                if chars.next_if(|(_, next)| *next == '`').is_some() {
                    name.push('`');
                    continue;
                }
                if name.is_empty() {
                    return Err(self.error_at(open, "a field needs a name", ""));
                }
                self.at = open + 1 + at + 1;
                self.space();
                return Ok(name);
            }
            return Err(self.error_at(open, "the name is not closed", "end it with a backquote"));
        }
        let word = self.peek_word();
        if word.is_empty() || (is_keyword(word) && !self.is_compared(word)) {
            let help = match self.rest().chars().next() {
                Some('\'' | '"') => "the field stands first: Status = 'Open'",
                Some(_) if is_keyword(word) => "a field with such a name goes in backquotes",
                _ => "a field, an operator and a value: Status = 'Open'",
            };
            return Err(self.error(format!("expected a field, found {}", self.found()), help));
        }
        self.at += word.len();
        self.space();
        Ok(word.to_owned())
    }

    /// `TRUE` and `FALSE` may begin a condition; the other keywords may not.
    fn is_compared(&self, word: &str) -> bool {
        word.eq_ignore_ascii_case("TRUE") || word.eq_ignore_ascii_case("FALSE")
    }

    pub(super) fn value(&mut self) -> Result<Value, ParseError> {
        let at = self.at;
        if let Some('\'' | '"') = self.rest().chars().next() {
            return Ok(Value::String(self.quoted()?.into_iter().map(|(c, _)| c).collect()));
        }
        let rest = self.rest();
        let end = rest.find(|c: char| !(is_word(c) || matches!(c, '-' | '+' | ':'))).unwrap_or(rest.len());
        let word = rest.get(..end).unwrap_or("");
        let value = match word.to_ascii_lowercase().as_str() {
            "" => return Err(self.error(format!("expected a value, found {}", self.found()), "")),
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            _ if is_date(word) => Value::String(word.to_owned()),
            lower => match number(lower) {
                Some(number) => number,
                None if word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) => {
                    return Err(self.error_at(at, "this is neither a number nor a date", "put text in quotes"));
                }
                None => {
                    return Err(self.error_at(
                        at,
                        format!("expected a value, found the word {word}"),
                        &format!("put text in quotes: '{word}'"),
                    ));
                }
            },
        };
        self.at += end;
        self.space();
        Ok(value)
    }

    pub(super) fn quoted(&mut self) -> Result<Quoted, ParseError> {
        let open = self.at;
        let mut chars = self.rest().char_indices();
        let quote = chars.next().map_or('\'', |(_, quote)| quote);
        let mut text = Quoted::new();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.at = open + at + c.len_utf8();
                self.space();
                return Ok(text);
            }
            if c != '\\' {
                text.push((c, false));
                continue;
            }
            let unknown = |parser: &Self| parser.error_at(open + at, "this escape is unknown", "a backslash is written twice: \\\\");
            let escaped = match chars.next().map(|(_, c)| c) {
                Some('n' | 'N') => '\n',
                Some('r' | 'R') => '\r',
                Some('t' | 'T') => '\t',
                Some('b' | 'B') => '\u{8}',
                Some('f' | 'F') => '\u{c}',
                Some(same @ ('\'' | '"' | '\\' | '%' | '_')) => same,
                Some('u') => {
                    let digits = chars.by_ref().take(4).map(|(_, c)| c).collect::<String>();
                    let code = (digits.len() == 4).then(|| u32::from_str_radix(&digits, 16).ok()).flatten();
                    code.and_then(char::from_u32).ok_or_else(|| unknown(self))?
                }
                _ => return Err(unknown(self)),
            };
            text.push((escaped, true));
        }
        Err(self.error_at(open, "the text is not closed", &format!("end it with {quote}; a {quote} inside is written \\{quote}")))
    }
}

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '$')
}

pub(super) fn is_keyword(word: &str) -> bool {
    ["AND", "OR", "NOT", "IN", "LIKE", "IS", "NULL", "TRUE", "FALSE"].iter().any(|keyword| word.eq_ignore_ascii_case(keyword))
}

/// A date has its first hyphen after a year; digits alone are a number.
fn is_date(word: &str) -> bool {
    word.as_bytes().get(4) == Some(&b'-') && (parse_date(word).is_some() || parse_datetime(word).is_some())
}

fn number(word: &str) -> Option<Value> {
    let word = word.strip_prefix('+').unwrap_or(word);
    if let Ok(whole) = word.parse::<i64>() {
        return Some(whole.into());
    }
    if let Ok(whole) = word.parse::<u64>() {
        return Some(whole.into());
    }
    // Rust reads `inf` and `nan` as numbers too. serde_json's own reader is off by a last digit at times.
    let digits = word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '.'));
    let number = if digits { word.parse::<f64>().ok()? } else { return None };
    serde_json::Number::from_f64(number).map(Value::Number)
}
