//! The three file formats, read into one tree.

use crate::document::code;
use crate::document::diagnostic::Diagnostics;
#[cfg(any(feature = "toml", feature = "yaml"))]
use crate::document::node::Key;
use crate::document::node::{Kind, Node, Scalar};
use crate::document::source::Span;

/// YAML with the surprises switched off: `NO`, `01310` and `1_000` are texts, a duplicate key is reported, no tags.
#[cfg(feature = "yaml")]
pub(crate) fn yaml(problems: &mut Diagnostics) -> Option<Node> {
    let source = std::sync::Arc::clone(problems.source());
    let budget = serde_saphyr::budget! { max_depth: 64, max_nodes: 100_000, max_aliases: 1_000 };
    let options = serde_saphyr::options! {
        budget: budget,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<serde_saphyr::Spanned<yaml::Piece>>(&source.text, options) {
        Ok(piece) => Some(yaml::node(piece, &source)),
        Err(error) => {
            let duplicate = matches!(error.without_snippet(), serde_saphyr::Error::DuplicateMappingKey { .. });
            let span = error.location().and_then(|place| yaml::span(&place, &source));
            let text = error.without_snippet().to_string();
            let message = yaml::plain_message(&text);
            if duplicate {
                problems.error(code::DUPLICATE_KEY, &span, message, Some("keep one of the two entries".to_owned()));
            } else {
                let line = span.as_ref().map(|span| source.place(span.start).0).unwrap_or_default();
                if text.contains("tab")
                    && let Some(tab) = indented_by_tab(&source.text, line)
                {
                    let message = "this is not valid YAML: the line is indented with a tab";
                    problems.error(code::SYNTAX, &Some(tab), message, Some("indent with blanks, two for each level".to_owned()));
                    return None;
                }
                let formula = source.text.lines().nth(line.saturating_sub(1)).is_some_and(|line| line.contains("formula:"));
                let help = if text.contains("unclosed quote") {
                    Some("close the quote; a quote inside of one is written twice ('it''s') or with a backslash (\"a \\\" b\")".to_owned())
                } else {
                    formula.then(|| "put the formula in quotes: formula: \"...\"".to_owned())
                };
                problems.error(code::SYNTAX, &span, message, help);
            }
            None
        }
    }
}

/// The first tab that a line from `line` on is indented with; the parser may see it only where the line before ends.
#[cfg(feature = "yaml")]
fn indented_by_tab(text: &str, line: usize) -> Option<std::ops::Range<usize>> {
    let mut start = 0;
    for (at, content) in text.split_inclusive('\n').enumerate() {
        let indent = content.len() - content.trim_start_matches([' ', '\t']).len();
        let tab = content.get(..indent).and_then(|indent| indent.find('\t'));
        if let (true, Some(tab)) = (at + 1 >= line, tab) {
            return Some(start + tab..start + tab + 1);
        }
        start += content.len();
    }
    None
}

#[cfg(feature = "yaml")]
mod yaml {
    use std::fmt;

    use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
    use serde_saphyr::{Location, Spanned};

    use super::{Key, Kind, Node, Scalar, Span};
    use crate::document::source::Source;

    /// One YAML node before its place is known to it.
    pub(super) enum Piece {
        Bool(bool),
        List(Vec<Spanned<Piece>>),
        Map(Vec<(Spanned<String>, Spanned<Piece>)>),
        Null,
        Number(serde_json::Number),
        Text(String),
    }

    impl<'de> Deserialize<'de> for Piece {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(PieceVisitor)
        }
    }

    struct PieceVisitor;

    impl<'de> Visitor<'de> for PieceVisitor {
        type Value = Piece;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map, a list or a single value")
        }

        fn visit_bool<E>(self, value: bool) -> Result<Piece, E> {
            Ok(Piece::Bool(value))
        }

        fn visit_i64<E>(self, value: i64) -> Result<Piece, E> {
            Ok(Piece::Number(value.into()))
        }

        fn visit_u64<E>(self, value: u64) -> Result<Piece, E> {
            Ok(Piece::Number(value.into()))
        }

        fn visit_f64<E>(self, value: f64) -> Result<Piece, E> {
            Ok(serde_json::Number::from_f64(value).map_or_else(|| Piece::Text(value.to_string()), Piece::Number))
        }

        fn visit_str<E>(self, value: &str) -> Result<Piece, E> {
            Ok(Piece::Text(value.to_owned()))
        }

        fn visit_unit<E>(self) -> Result<Piece, E> {
            Ok(Piece::Null)
        }

        fn visit_none<E>(self) -> Result<Piece, E> {
            Ok(Piece::Null)
        }

        fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Piece, D::Error> {
            Piece::deserialize(deserializer)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Piece, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = seq.next_element()? {
                items.push(item);
            }
            Ok(Piece::List(items))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Piece, A::Error> {
            let mut pairs = Vec::new();
            while let Some(key) = map.next_key()? {
                pairs.push((key, map.next_value()?));
            }
            Ok(Piece::Map(pairs))
        }
    }

    pub(super) fn node(piece: Spanned<Piece>, source: &Source) -> Node {
        let span = span(&piece.defined, source);
        let kind = match piece.value {
            Piece::Bool(value) => Kind::Scalar(Scalar { text: value.to_string(), value: value.into() }),
            Piece::Null => Kind::Scalar(Scalar { text: String::new(), value: serde_json::Value::Null }),
            Piece::Text(text) => Kind::Scalar(Scalar::text(text)),
            Piece::Number(number) => {
                let spelling = span.as_ref().map_or("", |span| source.slice(span)).trim();
                Kind::Scalar(Scalar::number(number, spelling))
            }
            Piece::List(items) => Kind::List(items.into_iter().map(|item| node(item, source)).collect()),
            Piece::Map(pairs) => Kind::Map(
                pairs
                    .into_iter()
                    .map(|(key, value)| {
                        let span = self::span(&key.defined, source);
                        (Key { text: key.value, span }, node(value, source))
                    })
                    .collect(),
            ),
        };
        Node::new(kind, span)
    }

    pub(super) fn span(place: &Location, source: &Source) -> Span {
        let line = usize::try_from(place.line()).ok().filter(|line| *line > 0)?;
        let start = match place.span().byte_offset() {
            Some(offset) => usize::try_from(offset).ok()?,
            None => source.offset(line, usize::try_from(place.column()).ok()?),
        };
        let length = place.span().byte_len().and_then(|length| usize::try_from(length).ok()).unwrap_or(1).max(1);
        let start = start.min(source.text.len());
        let mut end = (start + length).min(source.text.len());
        while !source.text.is_char_boundary(end) {
            end += 1;
        }
        source.text.is_char_boundary(start).then_some(start..end)
    }

    /// The parser's message without the place, which is shown apart.
    pub(super) fn plain_message(text: &str) -> String {
        let first = text.lines().next().unwrap_or_default().trim();
        let first = first.strip_prefix("error: ").unwrap_or(first);
        let cut = first.rfind(" at line ").map_or(first, |at| first.get(..at).unwrap_or(first));
        let cut = match cut.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
            Some((_, message)) => message,
            None => cut,
        };
        format!("this is not valid YAML: {cut}")
    }
}

/// JSON. Places are found by walking the text along the tree.
pub(crate) fn json(problems: &mut Diagnostics) -> Option<Node> {
    let source = std::sync::Arc::clone(problems.source());
    match serde_json::from_str::<Node>(&source.text) {
        Ok(mut node) => {
            Walker { text: &source.text, at: 0 }.place(&mut node);
            Some(node)
        }
        Err(error) => {
            let start = source.offset(error.line(), error.column().max(1));
            let text = error.to_string();
            let message = text.rfind(" at line ").map_or(text.as_str(), |at| text.get(..at).unwrap_or(&text));
            let start = start.min(source.text.len());
            let end = source.text.get(start..).and_then(|rest| rest.chars().next()).map_or(start, |c| start + c.len_utf8());
            problems.error(code::SYNTAX, &Some(start..end), format!("this is not valid JSON: {message}"), None);
            None
        }
    }
}

/// Gives places to the nodes of a text that is known to be JSON.
struct Walker<'a> {
    text: &'a str,
    at: usize,
}

impl Walker<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// To the next byte that is neither blank nor punctuation between values.
    fn skip(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n' | b',' | b':')) {
            self.at += 1;
        }
    }

    fn scalar(&mut self) -> Span {
        let start = self.at;
        if self.peek() == Some(b'"') {
            self.at += 1;
            while let Some(byte) = self.peek() {
                self.at += if byte == b'\\' { 2 } else { 1 };
                if byte == b'"' {
                    break;
                }
            }
        } else {
            while matches!(self.peek(), Some(byte) if !matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n')) {
                self.at += 1;
            }
        }
        Some(start..self.at.min(self.text.len()))
    }

    fn place(&mut self, node: &mut Node) {
        self.skip();
        let start = self.at;
        match &mut node.kind {
            Kind::Scalar(scalar) => {
                node.span = self.scalar();
                if let (serde_json::Value::Number(number), Some(span)) = (&scalar.value, &node.span) {
                    *scalar = Scalar::number(number.clone(), self.text.get(span.clone()).unwrap_or_default());
                    // A JSON number is a number however it is spelt.
                    if let serde_json::Value::String(_) = scalar.value {
                        scalar.value = self.text.get(span.clone()).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
                    }
                }
            }
            Kind::List(items) => {
                self.at += 1;
                for item in items {
                    self.place(item);
                }
                self.skip();
                self.at += 1;
                node.span = Some(start..start + 1);
            }
            Kind::Map(pairs) => {
                self.at += 1;
                for (key, value) in pairs {
                    self.skip();
                    key.span = self.scalar();
                    self.place(value);
                }
                self.skip();
                self.at += 1;
                node.span = Some(start..start + 1);
            }
        }
    }
}

/// TOML.
#[cfg(feature = "toml")]
pub(crate) fn toml(problems: &mut Diagnostics) -> Option<Node> {
    use toml::de::{DeTable, DeValue};

    fn table(table: &DeTable<'_>, span: Span) -> Node {
        let mut pairs: Vec<(Key, Node)> = table
            .iter()
            .map(|(key, value)| {
                (Key { text: key.get_ref().to_string(), span: Some(key.span()) }, node(value.get_ref(), Some(value.span())))
            })
            .collect();
        // The table is sorted by name; problems are told in the order of the text.
        pairs.sort_by_key(|(key, _)| key.span.as_ref().map(|span| span.start));
        Node::new(Kind::Map(pairs), span)
    }

    fn node(value: &DeValue<'_>, span: Span) -> Node {
        let kind = match value {
            DeValue::String(text) => Kind::Scalar(Scalar::text(text.to_string())),
            DeValue::Integer(number) => {
                let value = i64::from_str_radix(number.as_str(), number.radix()).map(serde_json::Value::from);
                Kind::Scalar(Scalar { text: number.as_str().to_owned(), value: value.unwrap_or_else(|_| number.as_str().into()) })
            }
            DeValue::Float(number) => {
                let value = number.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64);
                let value = value.map_or_else(|| number.as_str().into(), serde_json::Value::Number);
                Kind::Scalar(Scalar { text: number.as_str().to_owned(), value })
            }
            DeValue::Boolean(value) => Kind::Scalar(Scalar { text: value.to_string(), value: (*value).into() }),
            DeValue::Datetime(value) => Kind::Scalar(Scalar::text(value.to_string())),
            DeValue::Array(items) => Kind::List(items.iter().map(|item| node(item.get_ref(), Some(item.span()))).collect()),
            DeValue::Table(inner) => return table(inner, span),
        };
        Node::new(kind, span)
    }

    let source = std::sync::Arc::clone(problems.source());
    match DeTable::parse(&source.text) {
        Ok(parsed) => Some(table(parsed.get_ref(), Some(0..0))),
        Err(error) => {
            let duplicate = error.message().contains("duplicate");
            let code = if duplicate { code::DUPLICATE_KEY } else { code::SYNTAX };
            let message = format!("this is not valid TOML: {}", error.message().lines().next().unwrap_or_default());
            problems.error(code, &error.span(), message, None);
            None
        }
    }
}
