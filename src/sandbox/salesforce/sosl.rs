//! The text of a search: terms with operators and wildcards, matched word by word.

use http::StatusCode;

use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::schema::{FieldDef, FieldKind, ObjectDef};
use crate::sandbox::store::Row;

/// What stands for itself in a search only behind a backslash, in quotes too.
const RESERVED: &str = "?&|!{}[]()^~*:\\\"'+-";

/// How deep parentheses may nest.
const DEEPEST: usize = 50;

pub(crate) fn malformed(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "MALFORMED_SEARCH", message)
}

/// The fields that are looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Group {
    All,
    Email,
    Name,
    Phone,
    Sidebar,
}

impl Group {
    /// `EMAIL`, in any case.
    pub(crate) fn named(word: &str) -> Option<Self> {
        let known = [("ALL", Self::All), ("EMAIL", Self::Email), ("NAME", Self::Name), ("PHONE", Self::Phone), ("SIDEBAR", Self::Sidebar)];
        known.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, group)| group)
    }

    fn has(self, field: &FieldDef) -> bool {
        let name = || field.name_field || ["FirstName", "LastName", "Name"].contains(&field.name.as_str());
        match self {
            Self::All => field.kind.is_text(),
            Self::Email => field.kind == FieldKind::Email,
            Self::Name => name(),
            Self::Phone => field.kind == FieldKind::Phone,
            Self::Sidebar => name() || field.external_id || matches!(field.kind, FieldKind::Email | FieldKind::Phone),
        }
    }
}

/// A letter of a term, or a wildcard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Glyph {
    Any,
    Letter(char),
    One,
}

/// What is searched for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Find {
    And(Vec<Find>),
    Not(Box<Find>),
    Or(Vec<Find>),
    /// Words that follow each other.
    Phrase(Vec<Vec<Glyph>>),
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    And,
    Close,
    Not,
    Open,
    Or,
    Phrase(Vec<Vec<Glyph>>),
}

/// A word, as far as an index is concerned.
fn in_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

struct Words {
    done: Vec<Vec<Glyph>>,
    word: Vec<Glyph>,
}

impl Words {
    fn push(&mut self, letter: char) {
        if in_word(letter) {
            self.word.extend(letter.to_lowercase().map(Glyph::Letter));
        } else {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if !self.word.is_empty() {
            self.done.push(std::mem::take(&mut self.word));
        }
    }

    fn finish(mut self) -> Vec<Vec<Glyph>> {
        self.cut();
        self.done
    }
}

/// `lenient` takes a reserved character that was not escaped for a blank instead of refusing it.
fn tokens(text: &str, lenient: bool) -> Result<Vec<Token>, ApiError> {
    let mut found = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(first) = letters.peek().copied() {
        match first {
            '(' | ')' => {
                letters.next();
                found.push(if first == '(' { Token::Open } else { Token::Close });
                continue;
            }
            _ if first.is_whitespace() => {
                letters.next();
                continue;
            }
            _ => {}
        }
        let quoted = first == '"';
        if quoted {
            letters.next();
        }
        let mut words = Words { done: Vec::new(), word: Vec::new() };
        let mut bare = String::new();
        let mut closed = false;
        while let Some(letter) = letters.peek().copied() {
            if !quoted && (letter.is_whitespace() || matches!(letter, '(' | ')' | '"')) {
                break;
            }
            letters.next();
            bare.push(letter);
            match letter {
                '"' if quoted => {
                    closed = true;
                    break;
                }
                '\\' => match letters.next() {
                    Some(escaped) => words.push(escaped),
                    None if lenient => {}
                    None => return Err(malformed("the search ends in a backslash")),
                },
                '*' => words.word.push(Glyph::Any),
                '?' => words.word.push(Glyph::One),
                _ if RESERVED.contains(letter) && !lenient => {
                    return Err(malformed(format!("the reserved character {letter} must be escaped with a backslash")));
                }
                _ => words.push(letter),
            }
        }
        if quoted && !closed && !lenient {
            return Err(malformed("a quoted phrase has no end"));
        }
        found.push(match bare.to_ascii_uppercase().as_str() {
            "AND" if !quoted => Token::And,
            "NOT" if !quoted => Token::Not,
            "OR" if !quoted => Token::Or,
            _ => Token::Phrase(words.finish()),
        });
    }
    Ok(found)
}

/// Reads what stands between the braces of `FIND`.
pub(crate) fn find(text: &str, lenient: bool) -> Result<Find, ApiError> {
    let tokens = tokens(text, lenient)?;
    let short =
        |token: &Token| matches!(token, Token::Phrase(words) if words.iter().flatten().filter(|glyph| **glyph != Glyph::Any).count() < 2);
    if tokens.iter().all(|token| short(token) || !matches!(token, Token::Phrase(_))) {
        return Err(malformed("search term must be longer than one character"));
    }
    let mut reader = Reader { tokens: &tokens, next: 0 };
    let found = reader.any(0)?;
    if reader.next < tokens.len() {
        return Err(malformed("unexpected operator or parenthesis in the search"));
    }
    Ok(found)
}

struct Reader<'a> {
    tokens: &'a [Token],
    next: usize,
}

impl Reader<'_> {
    fn accept(&mut self, token: &Token) -> bool {
        let hit = self.tokens.get(self.next) == Some(token);
        self.next += usize::from(hit);
        hit
    }

    fn any(&mut self, depth: usize) -> Result<Find, ApiError> {
        if depth > DEEPEST {
            return Err(malformed("the search nests too deeply"));
        }
        let mut all = vec![self.all(depth)?];
        while self.accept(&Token::Or) {
            all.push(self.all(depth)?);
        }
        Ok(Find::Or(all))
    }

    fn all(&mut self, depth: usize) -> Result<Find, ApiError> {
        let mut all = vec![self.one(depth)?];
        loop {
            if self.accept(&Token::And) {
                let not = self.accept(&Token::Not);
                let one = self.one(depth)?;
                all.push(if not { Find::Not(Box::new(one)) } else { one });
            } else if matches!(self.tokens.get(self.next), Some(Token::Open | Token::Phrase(_))) {
                // Words side by side must all be found.
                all.push(self.one(depth)?);
            } else {
                return Ok(Find::And(all));
            }
        }
    }

    fn one(&mut self, depth: usize) -> Result<Find, ApiError> {
        if self.accept(&Token::Open) {
            let inner = self.any(depth + 1)?;
            return if self.accept(&Token::Close) { Ok(inner) } else { Err(malformed("a parenthesis of the search has no end")) };
        }
        match self.tokens.get(self.next) {
            Some(Token::Phrase(words)) => {
                self.next += 1;
                Ok(Find::Phrase(words.clone()))
            }
            _ => Err(malformed("an operator of the search has no term")),
        }
    }
}

fn fits(word: &[char], glyphs: &[Glyph]) -> bool {
    let (mut at, mut next) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(letter) = word.get(at) {
        match glyphs.get(next) {
            Some(Glyph::Any) => {
                star = Some((next, at));
                next += 1;
            }
            Some(Glyph::One) => (at, next) = (at + 1, next + 1),
            Some(Glyph::Letter(wanted)) if wanted == letter => (at, next) = (at + 1, next + 1),
            _ => match star {
                Some((back, from)) => {
                    star = Some((back, from + 1));
                    (at, next) = (from + 1, back + 1);
                }
                None => return false,
            },
        }
    }
    glyphs.get(next..).is_none_or(|rest| rest.iter().all(|glyph| *glyph == Glyph::Any))
}

/// The words of a record, field by field.
pub(crate) fn words(object: &ObjectDef, row: &Row, group: Group) -> Vec<Vec<Vec<char>>> {
    let texts = object.fields.iter().filter(|field| group.has(field)).filter_map(|field| row.text(&field.name));
    texts
        .map(|text| text.split(|letter| !in_word(letter)).filter(|word| !word.is_empty()).map(|word| word.to_lowercase().chars().collect()))
        .map(Iterator::collect)
        .collect()
}

impl Find {
    /// True if a record of these words is meant.
    pub(crate) fn is_in(&self, fields: &[Vec<Vec<char>>]) -> bool {
        match self {
            Self::And(all) => all.iter().all(|find| find.is_in(fields)),
            Self::Or(any) => any.iter().any(|find| find.is_in(fields)),
            Self::Not(inner) => !inner.is_in(fields),
            // A term of punctuation alone says nothing.
            Self::Phrase(wanted) if wanted.is_empty() => true,
            Self::Phrase(wanted) => fields
                .iter()
                .any(|field| field.windows(wanted.len()).any(|words| words.iter().zip(wanted).all(|(word, glyphs)| fits(word, glyphs)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(search: &str, text: &str) -> bool {
        let words = text.split(|c| !in_word(c)).filter(|word| !word.is_empty()).map(|word| word.to_lowercase().chars().collect()).collect();
        find(search, false).unwrap().is_in(&[words])
    }

    #[test]
    fn terms_match_words() {
        assert!(hit("smith", "John SMITH"));
        assert!(!hit("smi", "John Smith"));
        assert!(hit("smi*", "John Smith"));
        assert!(hit("sm?th", "John Smith"));
        assert!(!hit("sm?h", "John Smith"));
        assert!(hit("john@example.com", "JOHN@example.com"));
        assert!(!hit("john@example.org", "john@example.com"));
        assert!(hit("smith john", "John Smith"));
        assert!(!hit("\"smith john\"", "John Smith"));
        assert!(hit("\"john smith\"", "John Smith"));
        assert!(hit("nobody OR (john AND smith)", "John Smith"));
        assert!(!hit("john AND NOT smith", "John Smith"));
        assert!(hit("415\\-555\\-0100", "(415) 555-0100"));
        assert!(hit("Émile", "émile zola"));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for bad in ["", "a", "*", "a-bc", "john's", "(john", "john)", "john AND", "OR john", "\"john", "john\\", "john:smith"] {
            assert_eq!(find(bad, false).unwrap_err().code, "MALFORMED_SEARCH", "{bad}");
        }
        assert!(find("a-bc", true).is_ok());
        assert!(find(&"(".repeat(5000), false).is_err());
    }
}
