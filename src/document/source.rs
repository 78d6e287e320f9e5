//! The text a mapping was read from, and places in it.

use std::ops::Range;

/// A text with the name it goes by in messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) origin: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn new(origin: &str, text: &str) -> Self {
        Self { origin: origin.to_owned(), text: text.to_owned() }
    }

    /// Line and column of a byte offset, both from 1; the column counts characters.
    pub(crate) fn place(&self, offset: usize) -> (usize, usize) {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = self.text.get(..end).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(start..).unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    /// The byte offset of a line and column, both from 1.
    pub(crate) fn offset(&self, line: usize, column: usize) -> usize {
        let mut start = 0;
        for _ in 1..line {
            match self.text.get(start..).and_then(|rest| rest.find('\n')) {
                Some(at) => start += at + 1,
                None => return self.text.len(),
            }
        }
        let rest = self.text.get(start..).unwrap_or_default();
        rest.char_indices().nth(column.saturating_sub(1)).map_or(self.text.len(), |(at, _)| start + at)
    }

    pub(crate) fn slice(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }
}

/// Bytes of the source; `None` if the config was built in code.
pub(crate) type Span = Option<Range<usize>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_and_offsets_go_back() {
        let source = Source::new("x", "ab\ncä d\n");
        assert_eq!(source.place(0), (1, 1));
        assert_eq!(source.place(3), (2, 1));
        assert_eq!(source.place(6), (2, 3));
        assert_eq!(source.offset(2, 3), 6);
        assert_eq!(source.place(5), (2, 2));
        assert_eq!(source.offset(99, 1), source.text.len());
    }
}
