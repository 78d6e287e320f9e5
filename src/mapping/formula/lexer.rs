//! Text to tokens.

use rust_decimal::Decimal;

use super::error::{FormulaError, FormulaErrorKind};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Comma,
    End,
    Name(String),
    Number(Decimal),
    Op(&'static str),
    Text(String),
}

/// Longest first, so that `<=` is not read as `<`.
const OPERATORS: [&str; 19] = ["&&", "||", "==", "<>", "!=", "<=", ">=", "&", "+", "-", "*", "/", "^", "=", "<", ">", "!", "(", ")"];

fn syntax(position: usize, message: impl Into<String>) -> FormulaError {
    FormulaError::new(FormulaErrorKind::Syntax, position, message)
}

/// The tokens with their byte offsets; the last one is `End`.
pub(crate) fn tokens(text: &str) -> Result<Vec<(Token, usize)>, FormulaError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(next) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = text.get(at..).unwrap_or_default();
        let start = at;
        if next.is_whitespace() {
            at += next.len_utf8();
            continue;
        }
        if let Some(comment) = rest.strip_prefix("/*") {
            let end = comment.find("*/").ok_or_else(|| syntax(start, "the comment has no end"))?;
            at += end + 4;
            continue;
        }
        let token = match next {
            '\'' | '"' => {
                let (literal, length) = quoted(rest, next).ok_or_else(|| syntax(start, "the text has no closing quote"))?;
                at += length;
                Token::Text(literal)
            }
            '0'..='9' => {
                let length = number_length(rest);
                let digits = rest.get(..length).unwrap_or_default();
                at += length;
                if text.get(at..).and_then(|rest| rest.chars().next()).is_some_and(|c| c.is_alphanumeric() || c == '_') {
                    return Err(syntax(start, "a number is followed by letters; a name that starts with a digit goes in [ ]"));
                }
                Token::Number(digits.parse().map_err(|_| syntax(start, "the number has more than 28 digits"))?)
            }
            ',' => {
                at += 1;
                Token::Comma
            }
            '[' => {
                let end = rest.find(']').ok_or_else(|| syntax(start, "the name has no closing `]`"))?;
                let name = rest.get(1..end).unwrap_or_default().trim();
                if name.is_empty() {
                    return Err(syntax(start, "there is no name between `[` and `]`"));
                }
                at += end + 1;
                // The quotes keep blanks and points of the name from being read as a path.
                Token::Name(format!("\"{name}\""))
            }
            c if c.is_alphabetic() || c == '_' || c == '$' => {
                at += name_length(rest);
                Token::Name(text.get(start..at).unwrap_or_default().to_owned())
            }
            other => match OPERATORS.iter().find(|op| rest.starts_with(**op)) {
                Some(op) => {
                    at += op.len();
                    Token::Op(op)
                }
                None if other == '%' => return Err(syntax(start, "there is no `%`; use MOD(a, b)")),
                None if other == ';' => return Err(syntax(start, "arguments are separated by commas")),
                None => return Err(syntax(start, format!("unexpected character {other:?}"))),
            },
        };
        tokens.push((token, start));
    }
    tokens.push((Token::End, text.len()));
    Ok(tokens)
}

fn number_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let digits = |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(0);
    match bytes.get(whole) {
        Some(b'.') if digits(whole + 1) > 0 => whole + 1 + digits(whole + 1),
        _ => whole,
    }
}

/// A name with its path: `utm.source`, `emails[0].value`, `emails[type=work].value`, `tags[]`.
fn name_length(rest: &str) -> usize {
    let mut end = 0;
    let mut chars = rest.char_indices().peekable();
    while let Some((at, c)) = chars.peek().copied() {
        if c.is_alphanumeric() || c == '_' || c == '$' {
            chars.next();
            end = at + c.len_utf8();
        } else if c == '.' {
            let after = rest.get(at + 1..).and_then(|rest| rest.chars().next());
            if !after.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
                break;
            }
            chars.next();
            end = at + 1;
        } else if c == '[' {
            let Some(close) = rest.get(at..).and_then(|rest| rest.find(']')) else { break };
            while chars.peek().is_some_and(|(next, _)| *next <= at + close) {
                chars.next();
            }
            end = at + close + 1;
        } else {
            break;
        }
    }
    end
}

/// The text of a literal and the bytes it takes; a doubled quote and backslash escapes stand for themselves.
fn quoted(rest: &str, quote: char) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next()?.1 {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                other => text.push(other),
            },
            c if c == quote => {
                if chars.peek().is_some_and(|(_, next)| *next == quote) {
                    chars.next();
                    text.push(quote);
                } else {
                    return Some((text, at + 1));
                }
            }
            c => text.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Token> {
        tokens(text).unwrap().into_iter().map(|(token, _)| token).collect()
    }

    #[test]
    fn tokens_of_every_kind() {
        assert_eq!(
            kinds("a.b[0].c <= 1.50 /* x */ & 'it''s' , [Lead Source]"),
            [
                Token::Name("a.b[0].c".into()),
                Token::Op("<="),
                Token::Number("1.50".parse().unwrap()),
                Token::Op("&"),
                Token::Text("it's".into()),
                Token::Comma,
                Token::Name("\"Lead Source\"".into()),
                Token::End
            ]
        );
        assert_eq!(kinds(r#""a\n\"b""#), [Token::Text("a\n\"b".into()), Token::End]);
    }

    #[test]
    fn what_is_no_token() {
        for (text, position) in [("a % b", 2), ("'abc", 0), ("/* x", 0), ("1abc", 0), ("a ; b", 2), ("[]", 0), ("é # b", 3)] {
            assert_eq!(tokens(text).unwrap_err().position, position, "{text}");
        }
    }
}
