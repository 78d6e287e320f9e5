//! Text to tokens.

use crate::sandbox::salesforce::errors::ApiError;

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A word, with dots: `Owner.Email`.
    Word(String),
    /// What stands between quotes, escapes and all: what an escape means depends on the operator.
    Text(String),
    /// Digits, a date or a datetime.
    Number(String),
    /// `=`, `!=`, `(`, ...
    Sign(&'static str),
    End,
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// Where it starts, in bytes.
    pub(crate) at: usize,
    pub(crate) end: usize,
}

/// A refusal that shows where, as Salesforce does.
pub(crate) fn refuse(query: &str, at: usize, code: &'static str, message: impl AsRef<str>) -> ApiError {
    let column = query.get(..at).map_or(at, |before| before.chars().count());
    let skip = column.saturating_sub(40);
    let shown: String = query.chars().skip(skip).take(80).collect();
    let pad = " ".repeat(column - skip);
    ApiError::bad(code, format!("\n{shown}\n{pad}^\nERROR at Row:1:Column:{}\n{}", column + 1, message.as_ref()))
}

fn malformed(message: impl Into<String>) -> ApiError {
    ApiError::bad("MALFORMED_QUERY", message)
}

pub(crate) fn tokens(query: &str) -> Result<Vec<Token>, ApiError> {
    const SIGNS: [&str; 12] = ["!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", ",", ":", "*"];
    let mut found = Vec::new();
    let mut at = 0;
    'next: while let Some(letter) = query.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = query.get(at..).unwrap_or_default();
        if letter.is_whitespace() {
            at += letter.len_utf8();
            continue;
        }
        if letter == '\'' {
            let raw = quoted(rest).ok_or_else(|| malformed("line 1:0 mismatched character '<EOF>' expecting '''"))?;
            let end = at + raw.len() + 2;
            found.push(Token { kind: Kind::Text(raw.to_owned()), at, end });
            at = end;
            continue;
        }
        if letter.is_ascii_alphabetic() || letter == '_' {
            let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len());
            let word = rest.get(..len).unwrap_or_default();
            found.push(Token { kind: Kind::Word(word.to_owned()), at, end: at + len });
            at += len;
            continue;
        }
        let signed = (letter == '-' || letter == '+') && rest.chars().nth(1).is_some_and(|c| c.is_ascii_digit() || c == '.');
        if letter.is_ascii_digit() || signed || letter == '.' {
            let len = rest
                .char_indices()
                .find(|(n, c)| *n > 0 && !(c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '+' | '-')))
                .map_or(rest.len(), |(n, _)| n);
            let number = rest.get(..len).unwrap_or_default();
            found.push(Token { kind: Kind::Number(number.to_owned()), at, end: at + len });
            at += len;
            continue;
        }
        for sign in SIGNS {
            if rest.starts_with(sign) {
                found.push(Token { kind: Kind::Sign(sign), at, end: at + sign.len() });
                at += sign.len();
                continue 'next;
            }
        }
        return Err(refuse(query, at, "MALFORMED_QUERY", format!("unexpected token: '{letter}'")));
    }
    found.push(Token { kind: Kind::End, at, end: at });
    Ok(found)
}

/// What stands between the first quote of `rest` and the one that closes it.
fn quoted(rest: &str) -> Option<&str> {
    let mut escaped = false;
    for (n, letter) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if letter == '\\' {
            escaped = true;
        } else if letter == '\'' {
            return rest.get(1..n);
        }
    }
    None
}

/// A piece of a LIKE pattern.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    Any,
    Letter(char),
    One,
}

/// The meaning of a quoted text. `like` allows `\_` and `\%`, and makes bare ones wildcards.
pub(crate) fn unescape(raw: &str, like: bool) -> Result<Vec<Piece>, ApiError> {
    let bad = |what: &str| malformed(format!("Illegal escape sequence: \\{what}"));
    let mut pieces = Vec::with_capacity(raw.len());
    let mut letters = raw.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            pieces.push(match letter {
                '%' if like => Piece::Any,
                '_' if like => Piece::One,
                other => Piece::Letter(other),
            });
            continue;
        }
        let Some(escape) = letters.next() else { return Err(bad("")) };
        pieces.push(Piece::Letter(match escape {
            '\\' | '\'' | '"' => escape,
            'n' | 'N' => '\n',
            'r' | 'R' => '\r',
            't' | 'T' => '\t',
            'b' | 'B' => '\u{8}',
            'f' | 'F' => '\u{c}',
            '_' | '%' if like => escape,
            'u' | 'U' => {
                let digits: String = letters.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                code.and_then(char::from_u32).ok_or_else(|| bad(&format!("u{digits}")))?
            }
            other => return Err(bad(&other.to_string())),
        }));
    }
    Ok(pieces)
}

/// The text of pieces without wildcards.
pub(crate) fn plain(pieces: &[Piece]) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Letter(letter) => *letter,
            Piece::Any => '%',
            Piece::One => '_',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_mean_what_the_reference_says() {
        let text = |raw: &str| plain(&unescape(raw, false).unwrap());
        assert_eq!(text(r"O\'Brien"), "O'Brien");
        assert_eq!(text(r"\\\' OR Name LIKE \'%"), r"\' OR Name LIKE '%");
        assert_eq!(text(r"x\\"), r"x\");
        assert_eq!(text(r"a\nb\u00e9"), "a\nbé");
        assert!(unescape(r"50\%", false).is_err());
        assert!(unescape(r"a\d", false).is_err());
        assert_eq!(unescape(r"a\%%", true).unwrap(), [Piece::Letter('a'), Piece::Letter('%'), Piece::Any]);
    }

    #[test]
    fn an_open_quote_is_malformed() {
        assert!(tokens("SELECT Id FROM Lead WHERE Name = 'x").is_err());
        assert!(tokens(r"SELECT Id FROM Lead WHERE Name = 'x\'").is_err());
        assert!(tokens("SELECT Id FROM Lead WHERE Name = \"x\"").is_err());
    }
}
