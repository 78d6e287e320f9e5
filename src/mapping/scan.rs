//! One pass over the JSON text of a record: what the mapping reads is noted where it stands, the rest is checked and skipped.
//! No tree is built, nothing is copied.

use std::borrow::Cow;

use serde_json::Value;

use crate::mapping::path::{Path, Place, Source};

/// Nesting that serde_json refuses as well.
const MAX_DEPTH: usize = 127;

/// Why a pass ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The text is not JSON, or no object: byte offset and what is wrong.
    Invalid(usize, &'static str),
    /// It is JSON that this pass does not understand (a key twice, a key with an escape): a tree has to be built.
    Tree,
}

/// Where the values of a mapping stand in a record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    root: Level,
    slots: usize,
}

/// The keys of one object that matter.
#[derive(Clone, Debug, Default)]
struct Level {
    /// By length, then text.
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    slot: usize,
    below: Level,
}

/// A value where it stands. Texts are without their quotes, escaped ones with them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Spot<'t> {
    #[default]
    Absent,
    Bool(bool),
    Escaped(&'t str),
    Null,
    Number(&'t str),
    Text(&'t str),
    Tree(&'t str),
}

/// A record after the pass.
#[derive(Debug)]
pub(crate) struct Scanned<'t> {
    spots: Vec<Spot<'t>>,
}

fn by_size(entry: &Entry, name: &str) -> std::cmp::Ordering {
    entry.name.len().cmp(&name.len()).then_with(|| entry.name.as_str().cmp(name))
}

impl Level {
    fn add(&mut self, name: &str, slots: &mut usize) -> &mut Entry {
        let at = match self.entries.binary_search_by(|entry| by_size(entry, name)) {
            Ok(at) => at,
            Err(at) => {
                self.entries.insert(at, Entry { name: name.to_owned(), slot: *slots, below: Self::default() });
                *slots += 1;
                at
            }
        };
        // The position was found or made just now.
        #[allow(clippy::indexing_slicing, reason = "the position was found or made just now")]
        &mut self.entries[at]
    }

    fn find(&self, name: &str) -> Option<&Entry> {
        let at = self.entries.binary_search_by(|entry| by_size(entry, name)).ok()?;
        self.entries.get(at)
    }
}

impl Layout {
    /// Gives the path its places.
    pub(crate) fn add(&mut self, path: &mut Path) {
        let whole = path.whole().map(|whole| self.root.add(whole, &mut self.slots).slot);
        let mut entry = self.root.add(&path.root, &mut self.slots);
        let mut walked = 0;
        if path.is_writable() {
            for key in path.keys() {
                entry = entry.below.add(key, &mut self.slots);
                walked += 1;
            }
        }
        path.place = Some(Place { whole, slot: entry.slot, walked });
    }

    /// Reads one record.
    pub(crate) fn scan<'t>(&self, text: &'t str) -> Result<Scanned<'t>, Stop> {
        let mut pass = Pass { text, bytes: text.as_bytes(), at: 0, depth: 0, tree: false, spots: vec![Spot::Absent; self.slots] };
        pass.blanks();
        if pass.peek() != Some(b'{') {
            // What is no JSON at all is told as such.
            let start = pass.at;
            pass.value()?;
            return Err(Stop::Invalid(start, "a record must be an object"));
        }
        pass.object(&self.root)?;
        pass.blanks();
        if pass.at < text.len() {
            return Err(pass.invalid("something follows the object"));
        }
        if pass.tree { Err(Stop::Tree) } else { Ok(Scanned { spots: pass.spots }) }
    }
}

struct Pass<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    depth: usize,
    /// True if a tree has to be built; the rest is checked all the same.
    tree: bool,
    spots: Vec<Spot<'t>>,
}

impl<'t> Pass<'t> {
    fn invalid(&self, what: &'static str) -> Stop {
        Stop::Invalid(self.at, what)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn slice(&self, start: usize, end: usize) -> &'t str {
        self.text.get(start..end).unwrap_or_default()
    }

    fn deeper(&mut self) -> Result<(), Stop> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(self.invalid("more than 127 levels deep")) } else { Ok(()) }
    }

    /// An object whose keys matter.
    fn object(&mut self, level: &Level) -> Result<(), Stop> {
        self.deeper()?;
        self.at += 1;
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            self.depth -= 1;
            return Ok(());
        }
        loop {
            let entry = match self.string()? {
                Spot::Text(name) => level.find(name),
                // The name has to be made first to be compared.
                _ => {
                    self.tree = true;
                    None
                }
            };
            self.colon()?;
            match entry {
                None => {
                    self.value()?;
                }
                Some(entry) => {
                    if self.spots.get(entry.slot).is_some_and(|spot| *spot != Spot::Absent) {
                        self.tree = true;
                    }
                    let start = self.at;
                    let spot = if !entry.below.entries.is_empty() && self.peek() == Some(b'{') {
                        self.object(&entry.below)?;
                        Spot::Tree(self.slice(start, self.at))
                    } else {
                        self.value()?
                    };
                    if spot == Spot::Null {
                        self.nothing_below(&entry.below);
                    }
                    if let Some(place) = self.spots.get_mut(entry.slot) {
                        *place = spot;
                    }
                }
            }
            if self.next(b'}', "a comma or `}` is missing")? {
                self.depth -= 1;
                return Ok(());
            }
            if self.peek() != Some(b'"') {
                return Err(self.invalid("a key in quotes is missing"));
            }
        }
    }

    /// A step on the way is null: so is all that would follow.
    fn nothing_below(&mut self, level: &Level) {
        for entry in &level.entries {
            if let Some(place) = self.spots.get_mut(entry.slot) {
                *place = Spot::Null;
            }
            self.nothing_below(&entry.below);
        }
    }

    fn colon(&mut self) -> Result<(), Stop> {
        self.blanks();
        if self.peek() != Some(b':') {
            return Err(self.invalid("a `:` is missing"));
        }
        self.at += 1;
        self.blanks();
        Ok(())
    }

    /// After an item: true at the end of the container, false after a comma.
    fn next(&mut self, close: u8, missing: &'static str) -> Result<bool, Stop> {
        self.blanks();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.blanks();
                Ok(false)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(self.invalid(missing)),
        }
    }

    fn value(&mut self) -> Result<Spot<'t>, Stop> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'n') => self.word("null", Spot::Null),
            Some(b't') => self.word("true", Spot::Bool(true)),
            Some(b'f') => self.word("false", Spot::Bool(false)),
            Some(b'{') => {
                let start = self.at;
                self.members()?;
                Ok(Spot::Tree(self.slice(start, self.at)))
            }
            Some(b'[') => {
                let start = self.at;
                self.items()?;
                Ok(Spot::Tree(self.slice(start, self.at)))
            }
            _ => Err(self.invalid("a value is missing")),
        }
    }

    /// An object that nobody looks into.
    fn members(&mut self) -> Result<(), Stop> {
        self.deeper()?;
        self.at += 1;
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            self.depth -= 1;
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.invalid("a key in quotes is missing"));
            }
            self.string()?;
            self.colon()?;
            self.value()?;
            if self.next(b'}', "a comma or `}` is missing")? {
                self.depth -= 1;
                return Ok(());
            }
        }
    }

    fn items(&mut self) -> Result<(), Stop> {
        self.deeper()?;
        self.at += 1;
        self.blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            self.depth -= 1;
            return Ok(());
        }
        loop {
            self.value()?;
            if self.next(b']', "a comma or `]` is missing")? {
                self.depth -= 1;
                return Ok(());
            }
        }
    }

    fn word(&mut self, word: &str, spot: Spot<'t>) -> Result<Spot<'t>, Stop> {
        if self.bytes.get(self.at..self.at + word.len()) != Some(word.as_bytes()) {
            return Err(self.invalid("a value is missing"));
        }
        self.at += word.len();
        Ok(spot)
    }

    fn string(&mut self) -> Result<Spot<'t>, Stop> {
        if self.peek() != Some(b'"') {
            return Err(self.invalid("a key in quotes is missing"));
        }
        let quote = self.at;
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += plain(self.bytes.get(self.at..).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(if escaped {
                        Spot::Escaped(self.slice(quote, self.at))
                    } else {
                        Spot::Text(self.slice(quote + 1, self.at - 1))
                    });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.invalid("a control character in a text must be escaped")),
                None => return Err(self.invalid("the text has no closing quote")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Stop> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => match self.unit()? {
                0xdc00..=0xdfff => Err(self.invalid("half of a surrogate pair")),
                0xd800..=0xdbff => {
                    if self.bytes.get(self.at..self.at + 2) != Some(b"\\u") || !matches!(self.unit()?, 0xdc00..=0xdfff) {
                        return Err(self.invalid("half of a surrogate pair"));
                    }
                    Ok(())
                }
                _ => Ok(()),
            },
            _ => Err(self.invalid("an unknown escape")),
        }
    }

    /// The four digits of `\uXXXX`.
    fn unit(&mut self) -> Result<u32, Stop> {
        let digits = self.text.get(self.at + 2..self.at + 6).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(unit) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
            return Err(self.invalid("`\\u` needs four hexadecimal digits"));
        };
        self.at += 6;
        Ok(unit)
    }

    fn number(&mut self) -> Result<Spot<'t>, Stop> {
        let start = self.at;
        let mut odd = false;
        self.at += usize::from(self.peek() == Some(b'-'));
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.invalid("a digit is missing")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            odd = true;
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.some_digits()?;
        }
        let text = self.slice(start, self.at);
        // Beyond the range of a double.
        if (odd || text.len() > 300) && text.parse::<serde_json::Number>().is_err() {
            return Err(Stop::Invalid(start, "the number is out of range"));
        }
        Ok(Spot::Number(text))
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Result<(), Stop> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.invalid("a digit is missing"));
        }
        self.digits();
        Ok(())
    }
}

/// How many bytes from the start are neither a quote, a backslash nor a control character; eight are looked at at once.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let mut at = 0;
    let (chunks, _) = bytes.as_chunks::<8>();
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk);
        let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
        // Bit tricks of "Hacker's Delight": a byte that is zero, or below a bound, leaves its high bit. A borrow may mark bytes
        // above the first hit, never below it.
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let backslash = zero(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let hit = quote | backslash | control;
        if hit != 0 {
            return at + usize::try_from(hit.trailing_zeros() / 8).unwrap_or(0);
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count()
}

impl<'t> Spot<'t> {
    /// As a value of a tree.
    pub(crate) fn to_value(self) -> Option<Value> {
        match self {
            Self::Absent => None,
            Self::Null => Some(Value::Null),
            Self::Bool(value) => Some(Value::Bool(value)),
            Self::Text(text) => Some(Value::String(text.to_owned())),
            // Checked on the way: these are JSON.
            Self::Escaped(text) | Self::Number(text) | Self::Tree(text) => serde_json::from_str(text).ok(),
        }
    }
}

impl<'t> Scanned<'t> {
    /// Where the value of a path stands; `None` if it has to be looked for in a tree.
    pub(crate) fn spot(&self, path: &Path) -> Option<Spot<'t>> {
        let place = path.place?;
        if let Some(whole) = place.whole.and_then(|slot| self.spots.get(slot))
            && *whole != Spot::Absent
        {
            return Some(*whole);
        }
        (place.walked == path.len()).then(|| self.spots.get(place.slot).copied().unwrap_or_default())
    }
}

impl Source for Scanned<'_> {
    fn value(&self, path: &Path) -> Option<Cow<'_, Value>> {
        if let Some(spot) = self.spot(path) {
            return spot.to_value().map(Cow::Owned);
        }
        let root = self.spots.get(path.place?.slot)?.to_value()?;
        path.below(&root).map(|value| Cow::Owned(value.into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(paths: &[&str]) -> (Layout, Vec<Path>) {
        let mut layout = Layout::default();
        let mut parsed: Vec<Path> = paths.iter().map(|path| Path::parse(path).unwrap()).collect();
        for path in &mut parsed {
            layout.add(path);
        }
        (layout, parsed)
    }

    #[test]
    fn values_are_found_where_a_tree_has_them() {
        let (layout, paths) = layout(&["a", "b.c", "b.d.e", "list[1]", "list[].x", "b"]);
        for text in [
            r#"{"a":1,"b":{"c":"x","d":{"e":true}},"list":[{"x":1},{"x":"\u00e9"}]}"#,
            r#" { "b" : null , "z" : [1, {"q": []}], "a" : "é\n" } "#,
            r#"{"b":"text","list":7,"a":-1.50e3}"#,
            r#"{"b":{"c":null,"d":null},"a":[]}"#,
            r#"{"b.c":5,"b":{"c":6}}"#,
            "{}",
        ] {
            let scanned = layout.scan(text).unwrap();
            let fields: crate::model::Fields = serde_json::from_str(text).unwrap();
            for path in &paths {
                assert_eq!(scanned.value(path), path.get(&fields), "{text} {path:?}");
            }
        }
        assert!(matches!(layout.scan(r#"{"a":1,"a":2}"#), Err(Stop::Tree)));
        assert!(matches!(layout.scan(r#"{"\u0061":1}"#), Err(Stop::Tree)));
    }

    #[test]
    fn the_place_of_what_is_no_json() {
        let (layout, _) = layout(&["a"]);
        for (text, at) in [
            ("", 0),
            ("[]", 0),
            ("{", 1),
            (r#"{"a"}"#, 4),
            (r#"{"a":}"#, 5),
            (r#"{"a":1,}"#, 7),
            (r#"{"a":01}"#, 6),
            (r#"{"a":1}x"#, 7),
            (r#"{"a":"x"#, 7),
            (r#"{"a":"\q"}"#, 6),
            (r#"{"a":"\ud800"}"#, 12),
            (r#"{"a":tru}"#, 5),
            (r#"{"a":1e999}"#, 5),
            ("{\"a\":\"\t\"}", 6),
        ] {
            match layout.scan(text) {
                Err(Stop::Invalid(offset, _)) => assert_eq!(offset, at, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        let deep = |levels: usize| format!("{{\"x\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
        for levels in [126, 127, 128] {
            let text = deep(levels);
            assert_eq!(layout.scan(&text).is_ok(), serde_json::from_str::<Value>(&text).is_ok(), "{levels}");
        }
    }

    proptest::proptest! {
        #[test]
        fn takes_what_serde_json_takes(text in r#"[{}\[\]",:0-9.eE+ \\untrf/a\t-]{0,24}"#, framed: bool) {
            let (layout, _) = layout(&["a", "a.b"]);
            let text = if framed { format!("{{\"a\":{text}}}") } else { text };
            let wanted = serde_json::from_str::<serde_json::Map<String, Value>>(&text).is_ok();
            match layout.scan(&text) {
                Ok(_) => proptest::prop_assert!(wanted, "{text}"),
                Err(Stop::Invalid(at, _)) => proptest::prop_assert!(!wanted && at <= text.len(), "{text}"),
                Err(Stop::Tree) => {}
            }
        }

        #[test]
        fn eight_at_once_is_one_at_a_time(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)) {
            let slow = bytes.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count();
            proptest::prop_assert_eq!(plain(&bytes), slow);
        }
    }
}
