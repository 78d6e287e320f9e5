//! The file of one job, written row by row.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use foldhash::quality::FixedState;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Fields, Shape};
use crate::salesforce::bulk::block::Parser;
use crate::salesforce::bulk::cells::{Cell, NULL};
use crate::salesforce::bulk::job::{Delimiter, LineEnding};

/// Characters of a record (Bulk API 2.0 Developer Guide, "Limits").
const MAX_RECORD: usize = 400_000;
/// Characters of the header row.
const MAX_HEADER: usize = 32_000;
/// Fields of a record.
const MAX_COLUMNS: usize = 5_000;

/// The form of the files of one ingest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) delimiter: Delimiter,
    pub(super) ending: LineEnding,
    /// The longest file, in bytes.
    pub(super) bytes: usize,
    /// The most rows in one file.
    pub(super) rows: u64,
}

/// A file being written. Rows share its columns; a cell a row lacks is empty, which leaves the field alone.
#[derive(Debug)]
pub(super) struct JobFile {
    form: Form,
    columns: Vec<String>,
    key: Option<String>,
    out: Vec<u8>,
    header: usize,
    rows: u64,
    expected: Expected,
}

/// How often each row, by the hash of what it is known by, is still without an outcome.
type Expected = HashMap<u64, u32, FixedState>;

/// A file that is ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) body: Bytes,
    delimiter: Delimiter,
    pub(super) columns: Vec<String>,
    pub(super) key: Option<String>,
    pub(super) rows: u64,
    pub(super) expected: Expected,
}

impl JobFile {
    /// No rows yet; `columns` are those it starts with.
    pub(super) fn new(form: Form, columns: Vec<String>, key: Option<String>) -> Self {
        let mut file = Self { form, columns, key, out: Vec::new(), header: 0, rows: 0, expected: Expected::default() };
        file.write_header();
        file
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Adds a row. If it does not fit (another column, too many bytes or rows) the file so far is handed back, and the row is the
    /// first of the next one.
    ///
    /// # Errors
    /// [`ErrorKind::Validation`] for a row that fits no file; nothing has changed then.
    pub(super) fn push(&mut self, cells: &[Cell<'_>]) -> Result<Option<Sealed>> {
        // Rows that look alike name their fields in one order, so the next column is mostly the right one.
        let mut places = Vec::with_capacity(cells.len());
        let mut new: Vec<String> = Vec::new();
        let mut next = 0;
        for (column, _) in cells {
            let is = |name: &String| name.eq_ignore_ascii_case(column);
            let place = match self.columns.get(next).is_some_and(is) {
                true => next,
                false => match self.columns.iter().chain(&new).position(is) {
                    Some(place) => place,
                    None => {
                        new.push(column.clone().into_owned());
                        self.columns.len() + new.len() - 1
                    }
                },
            };
            places.push(place);
            next = place + 1;
        }
        let width = self.columns.len() + new.len();
        if width > MAX_COLUMNS || self.header + new.iter().map(|name| name.len() + 1).sum::<usize>() > MAX_HEADER {
            return Err(Error::new(ErrorKind::Validation, "the rows have more columns than a bulk job takes (5,000, 32,000 characters)"));
        }
        if cells.iter().map(|(_, cell)| cell.len()).sum::<usize>() > MAX_RECORD
            && cells.iter().map(|(_, cell)| cell.chars().count()).sum::<usize>() > MAX_RECORD
        {
            return Err(Error::new(ErrorKind::Validation, "the row is longer than a bulk job takes (400,000 characters)"));
        }
        let mut row = vec![""; width];
        for (place, (_, cell)) in places.into_iter().zip(cells) {
            if let Some(slot) = row.get_mut(place) {
                *slot = cell;
            }
        }
        let hash = match &self.key {
            Some(key) => hash([cells.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map_or("", |(_, cell)| cell.as_ref())]),
            None => hash(row.iter().copied()),
        };

        let mut sealed = (!new.is_empty() && self.rows > 0).then(|| self.seal());
        if !new.is_empty() {
            self.columns.append(&mut new);
            self.write_header();
        }
        let start = self.out.len();
        write_record(&mut self.out, &row, self.form);
        if self.rows > 0 && (self.out.len() > self.form.bytes || self.rows >= self.form.rows) {
            let last = self.out.split_off(start);
            sealed = Some(self.seal());
            self.out.extend_from_slice(&last);
        }
        self.rows += 1;
        *self.expected.entry(hash).or_insert(0) += 1;
        Ok(sealed)
    }

    /// The file so far; an empty one with the same columns stays.
    pub(super) fn seal(&mut self) -> Sealed {
        let sealed = Sealed {
            body: Bytes::from(std::mem::take(&mut self.out)),
            delimiter: self.form.delimiter,
            columns: self.columns.clone(),
            key: self.key.clone(),
            rows: std::mem::take(&mut self.rows),
            expected: std::mem::take(&mut self.expected),
        };
        self.write_header();
        sealed
    }

    fn write_header(&mut self) {
        self.out.clear();
        let names: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        write_record(&mut self.out, &names, self.form);
        self.header = self.out.len();
    }
}

impl Sealed {
    /// Where the cells a row is known by stand under `header`.
    pub(super) fn places(&self, header: &[String]) -> Vec<Option<usize>> {
        let at = |column: &String| header.iter().position(|name| name.eq_ignore_ascii_case(column));
        match &self.key {
            Some(key) => vec![at(key)],
            None => self.columns.iter().map(at).collect(),
        }
    }

    /// Takes one outcome off the rows that are waited for; false if no such row was sent, or all of them are known already.
    /// `cell` gives the cell at a place, `places` is [`Sealed::places`].
    pub(super) fn settle<'c>(&mut self, places: &[Option<usize>], cell: impl Fn(usize) -> &'c str) -> bool {
        let hash = hash(places.iter().map(|place| place.map_or("", &cell)));
        match self.expected.get_mut(&hash) {
            Some(1) => {
                self.expected.remove(&hash);
                true
            }
            Some(count) => {
                *count -= 1;
                true
            }
            None => false,
        }
    }
}

impl Sealed {
    /// The rows that are still without an outcome, with their keys.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if our own file cannot be read back.
    pub(super) fn unsettled(mut self) -> Result<Vec<(Option<String>, Fields)>> {
        let mut rows = Vec::new();
        if self.expected.is_empty() {
            return Ok(rows);
        }
        let shape = Shape::new(&self.columns);
        let places = self.places(&self.columns);
        let key = self.key.as_ref().and_then(|key| self.columns.iter().position(|name| name.eq_ignore_ascii_case(key)));
        let body = self.body.clone();
        let mut parser = Parser::new(self.delimiter.byte());
        for piece in body.chunks(1 << 16) {
            let block =
                parser.take(piece).map_err(|error| Error::internal("a bulk job's own file cannot be read back").with_source(error))?;
            for record in block.records() {
                if self.settle(&places, |at| record.get(at).unwrap_or_default()) {
                    let key = key.and_then(|at| record.get(at)).map(ToOwned::to_owned);
                    rows.push((key, Fields::from_values(Arc::clone(&shape), record.cells().map(sent).collect())));
                }
            }
        }
        Ok(rows)
    }
}

/// A cell as it was before it became one.
pub(super) fn sent(cell: &str) -> Option<Value> {
    match cell {
        "" => None,
        NULL => Some(Value::Null),
        text => Some(Value::from(text)),
    }
}

/// Equal for equal cells, within this process.
pub(super) fn hash<'a>(cells: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hasher = FixedState::with_seed(0).build_hasher();
    for cell in cells {
        hasher.write(cell.as_bytes());
        hasher.write_u8(0xff);
    }
    hasher.finish()
}

/// One line. A cell is quoted when it holds the delimiter, a quote or a line break, or begins or ends with a blank; the only
/// cell of a line is quoted when it is empty, as an empty line is no record.
fn write_record(out: &mut Vec<u8>, cells: &[&str], form: Form) {
    let delimiter = form.delimiter.byte();
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            out.push(delimiter);
        }
        let bytes = cell.as_bytes();
        let special = |byte: &u8| *byte == delimiter || matches!(byte, b'"' | b'\n' | b'\r');
        let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if bytes.iter().any(special) || blank(bytes.first()) || blank(bytes.last()) || (cells.len() == 1 && bytes.is_empty()) {
            let doubled: Cow<'_, str> = if bytes.contains(&b'"') { Cow::Owned(cell.replace('"', "\"\"")) } else { Cow::Borrowed(cell) };
            out.push(b'"');
            out.extend_from_slice(doubled.as_bytes());
            out.push(b'"');
        } else {
            out.extend_from_slice(bytes);
        }
    }
    out.extend_from_slice(match form.ending {
        LineEnding::Lf => b"\n",
        LineEnding::Crlf => b"\r\n",
    });
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn form(delimiter: Delimiter, ending: LineEnding) -> Form {
        Form { delimiter, ending, bytes: 1 << 20, rows: 1000 }
    }

    fn cells<'a>(pairs: &[(&'a str, &'a str)]) -> Vec<Cell<'a>> {
        pairs.iter().map(|(name, cell)| (Cow::Borrowed(*name), Cow::Borrowed(*cell))).collect()
    }

    fn text(sealed: &Sealed) -> &str {
        std::str::from_utf8(&sealed.body).unwrap()
    }

    #[test]
    fn the_vectors() {
        let mut file = JobFile::new(form(Delimiter::Comma, LineEnding::Lf), Vec::new(), None);
        assert!(file.push(&cells(&[("A", "a,\"b\""), ("B", " Smith"), ("C", "x\ny"), ("D", "#N/A")])).unwrap().is_none());
        assert!(file.push(&cells(&[("D", "é;x")])).unwrap().is_none());
        assert_eq!(text(&file.seal()), "A,B,C,D\n\"a,\"\"b\"\"\",\" Smith\",\"x\ny\",#N/A\n,,,é;x\n");
        assert!(file.is_empty());
        let mut file = JobFile::new(form(Delimiter::Semicolon, LineEnding::Crlf), vec!["A".to_owned()], None);
        file.push(&cells(&[("a", "1;2")])).unwrap();
        assert_eq!(text(&file.seal()), "A\r\n\"1;2\"\r\n", "names differ in case alone");
    }

    #[test]
    fn a_file_ends_at_its_bytes_its_rows_or_a_new_column() {
        let mut small = form(Delimiter::Comma, LineEnding::Lf);
        small.bytes = 12;
        let mut file = JobFile::new(small, Vec::new(), Some("K".to_owned()));
        assert!(file.push(&cells(&[("K", "1234")])).unwrap().is_none());
        assert!(file.push(&cells(&[("K", "5678")])).unwrap().is_none());
        let first = file.push(&cells(&[("K", "9")])).unwrap().unwrap();
        assert_eq!((text(&first), first.rows, first.expected.len()), ("K\n1234\n5678\n", 2, 2));
        let second = file.push(&cells(&[("K", "10"), ("L", "x")])).unwrap().unwrap();
        assert_eq!((text(&second), second.rows), ("K\n9\n", 1));
        assert_eq!(text(&file.seal()), "K,L\n10,x\n");

        let mut few = form(Delimiter::Comma, LineEnding::Lf);
        few.rows = 1;
        let mut file = JobFile::new(few, Vec::new(), None);
        assert!(file.push(&cells(&[("K", "1")])).unwrap().is_none());
        assert_eq!(file.push(&cells(&[("K", "2")])).unwrap().unwrap().rows, 1);
        assert!(!file.is_empty());
    }

    #[test]
    fn each_row_is_settled_once() {
        let mut file = JobFile::new(form(Delimiter::Comma, LineEnding::Lf), Vec::new(), Some("K".to_owned()));
        for key in ["a", "b", "a"] {
            file.push(&cells(&[("K", key), ("V", "x")])).unwrap();
        }
        let mut sealed = file.seal();
        let header = vec!["sf__Id".to_owned(), "V".to_owned(), "k".to_owned()];
        let places = sealed.places(&header);
        let mut settle = |key: &'static str| sealed.settle(&places, |at| ["", "other", key][at]);
        assert_eq!([settle("a"), settle("a"), settle("a"), settle("c"), settle("b")], [true, true, false, false, true]);
        assert!(sealed.expected.is_empty());
    }

    #[test]
    fn rows_that_fit_no_file() {
        let mut file = JobFile::new(form(Delimiter::Comma, LineEnding::Lf), Vec::new(), None);
        let long = "x".repeat(MAX_RECORD + 1);
        assert!(file.push(&cells(&[("A", &long)])).is_err());
        let names: Vec<String> = (0..=MAX_COLUMNS).map(|n| format!("F{n}")).collect();
        let wide: Vec<Cell<'_>> = names.iter().map(|name| (Cow::Borrowed(name.as_str()), Cow::Borrowed("x"))).collect();
        assert!(file.push(&wide).is_err());
        file.push(&cells(&[("A", "1")])).unwrap();
        assert_eq!(text(&file.seal()), "A\n1\n");
    }

    proptest! {
        #[test]
        fn the_csv_crate_reads_what_was_written(
            rows in prop::collection::vec(prop::collection::vec("([,;\"\r\n\t |^`\u{feff}a]|\\PC){0,8}", 3), 1..6),
            delimiter in prop::sample::select(vec![
                Delimiter::Comma, Delimiter::Tab, Delimiter::Pipe, Delimiter::Caret, Delimiter::Semicolon, Delimiter::Backquote,
            ]),
            crlf in any::<bool>(),
        ) {
            let ending = if crlf { LineEnding::Crlf } else { LineEnding::Lf };
            let mut file = JobFile::new(form(delimiter, ending), vec!["A".to_owned(), "B".to_owned(), "C".to_owned()], None);
            for row in &rows {
                let row: Vec<Cell<'_>> =
                    ["A", "B", "C"].into_iter().zip(row).map(|(name, cell)| (Cow::Borrowed(name), Cow::Borrowed(cell.as_str()))).collect();
                prop_assert!(file.push(&row).unwrap().is_none());
            }
            let sealed = file.seal();
            let mut reader = csv::ReaderBuilder::new().delimiter(delimiter.byte()).from_reader(&sealed.body[..]);
            let read: Vec<Vec<String>> =
                reader.records().map(|record| record.unwrap().iter().map(ToOwned::to_owned).collect()).collect();
            prop_assert_eq!(read, rows);
        }
    }
}
