//! The file of one job, written row by row.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Fields, Shape};
use crate::salesforce::bulk::awaited::{Awaited, Marker, Places};
use crate::salesforce::bulk::block::{Parser, Record};
use crate::salesforce::bulk::cells::{Cell, Encoding, NULL};
use crate::salesforce::bulk::job::{Delimiter, LineEnding};
use crate::salesforce::bulk::layout::{Layout, alike};
use crate::salesforce::bulk::sent::SentColumns;

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
pub(super) struct JobFile {
    form: Form,
    columns: Vec<String>,
    key: Option<String>,
    out: Vec<u8>,
    header: usize,
    rows: u64,
    expected: Awaited,
    /// What is known of rows that look like the last one, and how the last one looked.
    layout: Option<Layout>,
    last: Option<Arc<Shape>>,
    marker: Marker,
    /// The bytes a cell is quoted for.
    special: Special,
    /// A number on its way to a cell.
    number: String,
}

/// A file that is ready to be sent.
#[derive(Clone)]
pub(super) struct Sealed {
    pub(super) body: Bytes,
    delimiter: Delimiter,
    pub(super) columns: Vec<String>,
    pub(super) key: Option<String>,
    pub(super) rows: u64,
    expected: Awaited,
    marker: Marker,
}

impl JobFile {
    /// No rows yet; `columns` are those it starts with.
    pub(super) fn new(form: Form, columns: Vec<String>, key: Option<String>) -> Self {
        let mut file = Self {
            form,
            columns,
            key,
            out: Vec::new(),
            header: 0,
            rows: 0,
            expected: Awaited::default(),
            layout: None,
            last: None,
            marker: Marker::default(),
            special: Special::new(form.delimiter),
            number: String::new(),
        };
        file.write_header();
        file
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// As [`JobFile::push`], of a row whose cells are still to be made. Those of rows that look alike are written straight into
    /// the file; what is out of the ordinary is looked at cell by cell.
    ///
    /// # Errors
    /// As [`JobFile::push`] and [`Encoding::cells`].
    pub(super) fn push_row(&mut self, encoding: &Encoding, row: &Fields) -> Result<Option<Sealed>> {
        let shape = row.shape();
        let known = self.layout.take().filter(|layout| layout.fits(shape));
        let again = known.is_some() || self.last.as_ref().is_some_and(|last| alike(last, shape));
        if again {
            let layout = known.unwrap_or_else(|| Layout::new(shape, encoding, &self.columns));
            let start = self.out.len();
            let mark = self.write_row(&layout, encoding, row);
            self.layout = Some(layout);
            if let Some(mark) = mark {
                return Ok(self.keep(start, mark));
            }
            self.out.truncate(start);
            self.marker.clear();
        } else {
            self.last = Some(Arc::clone(shape));
        }
        self.push(&encoding.cells(row)?)
    }

    /// Writes a row at the end of the file, and says what it is known by; `None` if it is not an ordinary one.
    fn write_row(&mut self, layout: &Layout, encoding: &Encoding, row: &Fields) -> Option<u64> {
        if layout.strangers.iter().any(|at| row.at(*at).is_some()) {
            return None;
        }
        let key = match &self.key {
            Some(key) => Some(self.columns.iter().position(|name| name.eq_ignore_ascii_case(key))?),
            None => None,
        };
        let (width, delimiter) = (self.columns.len(), self.form.delimiter.byte());
        let (mut next, mut length, mut found) = (0, 0, !encoding.names_records());
        for slot in &layout.slots {
            let Some(value) = row.at(slot.at) else { continue };
            let text = match value {
                Value::String(text) if !(slot.instant || text.is_empty() || text == NULL) => Cow::Borrowed(text.as_str()),
                Value::Number(number) => {
                    self.number.clear();
                    write!(self.number, "{number}").ok()?;
                    Cow::Borrowed(self.number.as_str())
                }
                Value::Object(_) => return None,
                value => encoding.cell(self.columns.get(slot.place)?, value).ok()?.1,
            };
            if slot.named {
                if text == NULL {
                    return None;
                }
                found = true;
            }
            length += text.len();
            // Cells the row lacks are empty.
            for empty in next..slot.place {
                if empty > 0 {
                    self.out.push(delimiter);
                }
                if key.is_none() {
                    self.marker.add("");
                }
            }
            if slot.place > 0 {
                self.out.push(delimiter);
            }
            if key.is_none_or(|key| key == slot.place) {
                self.marker.add(&text);
            }
            write_cell(&mut self.out, &text, &self.special, false);
            next = slot.place + 1;
        }
        if !found || next == 0 || length > MAX_RECORD {
            return None;
        }
        for _ in next..width {
            self.out.push(delimiter);
            if key.is_none() {
                self.marker.add("");
            }
        }
        // A row without its key is known by an empty one.
        if key.is_some() && self.marker.is_empty() {
            self.marker.add("");
        }
        self.out.extend_from_slice(ending(self.form));
        Some(self.marker.finish())
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
        match &self.key {
            Some(key) => {
                self.marker.add(cells.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map_or("", |(_, cell)| cell.as_ref()))
            }
            None => row.iter().for_each(|cell| self.marker.add(cell)),
        }
        let mark = self.marker.finish();

        let sealed = (!new.is_empty() && self.rows > 0).then(|| self.seal());
        if !new.is_empty() {
            self.columns.append(&mut new);
            self.layout = None;
            self.write_header();
        }
        let start = self.out.len();
        write_record(&mut self.out, &row, self.form, &self.special);
        let full = self.keep(start, mark);
        Ok(sealed.or(full))
    }

    /// Counts the row that begins at `start`; if it was too much, the file without it.
    fn keep(&mut self, start: usize, mark: u64) -> Option<Sealed> {
        let mut sealed = None;
        if self.rows > 0 && (self.out.len() > self.form.bytes || self.rows >= self.form.rows) {
            let last = self.out.split_off(start);
            sealed = Some(self.seal());
            self.out.extend_from_slice(&last);
        }
        self.rows += 1;
        self.expected.push(mark);
        sealed
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
            marker: Marker::default(),
        };
        // The next one is likely to be as long: room is made once, and used as it fills.
        self.out = Vec::with_capacity(sealed.body.len() + sealed.body.len() / 16);
        self.write_header();
        sealed
    }

    fn write_header(&mut self) {
        self.out.clear();
        let names: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        write_record(&mut self.out, &names, self.form, &self.special);
        self.header = self.out.len();
    }
}

impl Sealed {
    /// Where the cells a row is known by stand under `header`.
    pub(super) fn places(&self, header: &[String]) -> Places {
        let at = |column: &String| header.iter().position(|name| name.eq_ignore_ascii_case(column));
        Places::new(match &self.key {
            Some(key) => vec![at(key)],
            None => self.columns.iter().map(at).collect(),
        })
    }

    /// Takes one outcome off the rows that are waited for; false if no such row was sent, or all of them are known already.
    /// `places` is [`Sealed::places`].
    pub(super) fn settle(&mut self, places: &Places, record: Record<'_>) -> bool {
        let mark = self.marker.of(record, places);
        self.expected.settle(mark)
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
        let columns = SentColumns::new(&self.columns, |_| true);
        let places = self.places(&self.columns);
        let key = self.key.as_ref().and_then(|key| self.columns.iter().position(|name| name.eq_ignore_ascii_case(key)));
        let body = self.body.clone();
        let mut parser = Parser::new(self.delimiter.byte());
        for piece in body.chunks(1 << 16) {
            let block =
                parser.take(piece).map_err(|error| Error::internal("a bulk job's own file cannot be read back").with_source(error))?;
            for record in block.records() {
                if self.settle(&places, record) {
                    let key = key.and_then(|at| record.get(at)).map(ToOwned::to_owned);
                    rows.push((key, columns.fields(record)));
                }
            }
        }
        Ok(rows)
    }
}

/// The bytes a cell is quoted for.
struct Special([bool; 256]);

impl Special {
    fn new(delimiter: Delimiter) -> Self {
        let mut special = [false; 256];
        for byte in [delimiter.byte(), b'"', b'\n', b'\r'] {
            if let Some(is) = special.get_mut(usize::from(byte)) {
                *is = true;
            }
        }
        Self(special)
    }

    /// Every byte is looked at, which takes fewer steps than to stop at the first.
    fn is_in(&self, text: &[u8]) -> bool {
        text.iter().fold(false, |any, byte| any | self.0.get(usize::from(*byte)).copied().unwrap_or(true))
    }
}

fn ending(form: Form) -> &'static [u8] {
    match form.ending {
        LineEnding::Lf => b"\n",
        LineEnding::Crlf => b"\r\n",
    }
}

/// One line; the only cell of a line is quoted when it is empty, as an empty line is no record.
fn write_record(out: &mut Vec<u8>, cells: &[&str], form: Form, special: &Special) {
    let delimiter = form.delimiter.byte();
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            out.push(delimiter);
        }
        write_cell(out, cell, special, cells.len() == 1 && cell.is_empty());
    }
    out.extend_from_slice(ending(form));
}

/// A cell is quoted when it holds the delimiter, a quote or a line break, or begins or ends with a blank.
fn write_cell(out: &mut Vec<u8>, cell: &str, special: &Special, quoted: bool) {
    let bytes = cell.as_bytes();
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if !(quoted || special.is_in(bytes) || blank(bytes.first()) || blank(bytes.last())) {
        out.extend_from_slice(bytes);
        return;
    }
    out.push(b'"');
    for (at, part) in cell.split('"').enumerate() {
        if at > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(part.as_bytes());
    }
    out.push(b'"');
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::salesforce::bulk::block::Block;
    use crate::salesforce::bulk::job::IngestOperation;
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
        assert_eq!((text(&first), first.rows), ("K\n1234\n5678\n", 2));
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
        let mut settle = |key: &'static str| sealed.settle(&places, Block::of(&["", "other", key]).record(0));
        assert_eq!([settle("a"), settle("a"), settle("a"), settle("c"), settle("b")], [true, true, false, false, true]);
        assert!(sealed.unsettled().unwrap().is_empty());
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

    fn any_value() -> impl Strategy<Value = Option<Value>> {
        let text = prop_oneof!["[a-z ]{0,4}", "([,\"\r\n é]|\\PC){0,6}", Just(NULL.to_owned())];
        let relation = text.clone().prop_map(|text| serde_json::json!({"Ext__c": text}));
        prop_oneof![
            6 => text.prop_map(|text| Some(Value::from(text))),
            2 => any::<i64>().prop_map(|number| Some(Value::from(number))),
            1 => any::<f64>().prop_map(|number| Some(Value::from(number))),
            1 => any::<bool>().prop_map(|flag| Some(Value::from(flag))),
            1 => Just(Some(Value::Null)),
            1 => Just(Some(serde_json::json!(["a", "b;"]))),
            1 => Just(Some(serde_json::json!([{}]))),
            1 => relation.prop_map(Some),
            3 => Just(None),
        ]
    }

    proptest! {
        /// What is known of a shape makes no difference to the file.
        #[test]
        fn rows_that_look_alike_are_written_as_any_others(
            rows in prop::collection::vec((any::<bool>(), prop::collection::vec(any_value(), 6)), 1..12),
            names in prop::sample::subsequence(vec!["Email", "Ext__c", "b", "a'b"], 0..4).prop_shuffle(),
            operation in prop::sample::select(vec![
                IngestOperation::Insert, IngestOperation::Update, IngestOperation::upsert("ext__c"), IngestOperation::Delete,
            ]),
            bytes in 20usize..200,
            by_mail in any::<bool>(),
        ) {
            let shapes = [
                Shape::new(["Id", "Ext__c", "B", "Email", "Rel__r", "attributes"]),
                Shape::new(["Email", "Id", "b", "B", "ext__c", "a'b"]),
            ];
            let encoding = Encoding::new(operation.clone());
            let key = operation.required().or(by_mail.then_some("email")).map(ToOwned::to_owned);
            let columns: Vec<String> = names.into_iter().map(ToOwned::to_owned).collect();
            let form = Form { bytes, ..form(Delimiter::Comma, LineEnding::Lf) };
            let mut quick = JobFile::new(form, columns.clone(), key.clone());
            let mut slow = JobFile::new(form, columns, key);
            let text_of = |sealed: Option<Sealed>| sealed.map(|sealed| (text(&sealed).to_owned(), sealed.rows, sealed.expected.marks().to_vec()));
            for (first, values) in rows {
                let row = Fields::from_values(Arc::clone(&shapes[usize::from(first)]), values);
                let by_cell = encoding.cells(&row).and_then(|cells| slow.push(&cells)).map(text_of).map_err(|error| error.to_string());
                prop_assert_eq!(quick.push_row(&encoding, &row).map(text_of).map_err(|error| error.to_string()), by_cell);
            }
            prop_assert_eq!(text_of(Some(quick.seal())), text_of(Some(slow.seal())));
        }
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
