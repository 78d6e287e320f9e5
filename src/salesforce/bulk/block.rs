//! Records of a CSV file, side by side in one text: a file of a million rows costs an allocation for each piece that arrives,
//! not one for each record.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::error::{Error, Result};

/// Whole records, all of the same number of cells.
#[derive(Debug, Default)]
pub(super) struct Block {
    text: String,
    /// Where each cell ends; it begins where the one before it ends.
    ends: Vec<u32>,
    width: usize,
}

/// One record of a [`Block`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    block: &'a Block,
    row: usize,
}

impl Block {
    pub(super) fn len(&self) -> usize {
        self.ends.len().checked_div(self.width).unwrap_or(0)
    }

    pub(super) fn record(&self, row: usize) -> Record<'_> {
        Record { block: self, row }
    }

    pub(super) fn records(&self) -> impl ExactSizeIterator<Item = Record<'_>> {
        (0..self.len()).map(|row| self.record(row))
    }

    fn cell(&self, at: usize) -> Option<&str> {
        let end = *self.ends.get(at)? as usize;
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize);
        self.text.get(start..end)
    }
}

impl<'a> Record<'a> {
    /// The cell at a place.
    pub(super) fn get(self, at: usize) -> Option<&'a str> {
        if at < self.block.width { self.block.cell(self.row * self.block.width + at) } else { None }
    }

    pub(super) fn cells(self) -> impl Iterator<Item = &'a str> {
        (0..self.block.width).map(move |at| self.get(at).unwrap_or_default())
    }

    /// The text of `count` cells side by side; `end` hears where each of them ends in it.
    pub(super) fn run(self, first: usize, count: usize, mut end: impl FnMut(usize)) -> Option<&'a str> {
        let from = self.row * self.block.width + first;
        let start = from.checked_sub(1).and_then(|before| self.block.ends.get(before)).map_or(0, |end| *end as usize);
        let ends = self.block.ends.get(from..from + count)?;
        ends.iter().for_each(|at| end((*at as usize).saturating_sub(start)));
        self.block.text.get(start..*ends.last()? as usize)
    }

    /// The record in a block of its own, which keeps no other one in memory.
    pub(super) fn alone(self) -> Block {
        let mut block = Block { text: String::new(), ends: Vec::with_capacity(self.block.width), width: self.block.width };
        for cell in self.cells() {
            block.text.push_str(cell);
            block.ends.push(u32::try_from(block.text.len()).unwrap_or(u32::MAX));
        }
        block
    }
}

/// Takes a file apart, piece by piece: a record may begin in one and end in another.
pub(super) struct Parser {
    core: Reader,
    /// The cells of the records of the piece, and of the one that has begun.
    out: Vec<u8>,
    used: usize,
    /// Where the cells of the record that has begun end, counted from its start.
    cells: Vec<usize>,
    known: usize,
    /// How many cells the piece before had: the next one is likely to have as many.
    last_ends: usize,
    header: Option<Vec<String>>,
}

impl Parser {
    pub(super) fn new(delimiter: u8) -> Self {
        let core = ReaderBuilder::new().delimiter(delimiter).build();
        Self { core, out: Vec::new(), used: 0, cells: vec![0; 32], known: 0, last_ends: 0, header: None }
    }

    /// The names of the columns, once their record is whole.
    pub(super) fn header(&self) -> Option<&[String]> {
        self.header.as_deref()
    }

    /// How many bytes of a record have come whose end has not.
    pub(super) fn begun(&self) -> usize {
        self.used
    }

    /// The records that are whole with this piece.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Decode`] for what is not UTF-8, and for a record of another length than the header.
    pub(super) fn take(&mut self, mut piece: &[u8]) -> Result<Block> {
        // What comes out is never longer than what goes in.
        self.out.resize(self.used + piece.len() + 1, 0);
        let (mut start, mut ends) = (0, Vec::with_capacity(self.last_ends));
        while !piece.is_empty() {
            let out = self.out.get_mut(self.used..).unwrap_or_default();
            let cells = self.cells.get_mut(self.known..).unwrap_or_default();
            let (outcome, read, wrote, ended) = self.core.read_record(piece, out, cells);
            piece = piece.get(read..).unwrap_or_default();
            self.used += wrote;
            self.known += ended;
            match outcome {
                ReadRecordResult::Record => {
                    let cells = self.cells.get(..self.known).unwrap_or_default();
                    match &self.header {
                        Some(header) if header.len() != cells.len() => {
                            let message = "a record of a bulk job's file has another number of cells than there are columns";
                            return Err(Error::decode(format!("{message}: {} and {}", cells.len(), header.len())));
                        }
                        Some(_) => {
                            ends.extend(cells.iter().map(|end| u32::try_from(start + end).unwrap_or(u32::MAX)));
                            start = self.used;
                        }
                        None => {
                            self.header = Some(names(self.out.get(..self.used).unwrap_or_default(), cells)?);
                            self.used = 0;
                        }
                    }
                    self.known = 0;
                }
                ReadRecordResult::OutputEndsFull => self.cells.resize(self.cells.len() * 2, 0),
                ReadRecordResult::OutputFull => self.out.resize(self.out.len() * 2, 0),
                ReadRecordResult::InputEmpty | ReadRecordResult::End => {}
            }
        }
        self.last_ends = ends.len();
        self.used -= start;
        let rest = self.out.get(start..start + self.used).unwrap_or_default().to_vec();
        let mut text = std::mem::replace(&mut self.out, rest);
        text.truncate(start);
        let text = String::from_utf8(text).map_err(|_| no_text())?;
        // A character of several bytes must not be torn by a delimiter.
        if !text.is_ascii() && !ends.iter().all(|end| text.is_char_boundary(*end as usize)) {
            return Err(no_text());
        }
        Ok(Block { text, ends, width: self.header.as_ref().map_or(0, Vec::len) })
    }

    /// The last record, if the file does not end with a line break.
    ///
    /// # Errors
    /// As [`Parser::take`]; [`crate::error::ErrorKind::Decode`] if the file breaks off within quotes.
    pub(super) fn finish(&mut self) -> Result<Block> {
        // Within quotes a line break is text, anywhere else it ends the record.
        let last = self.take(b"\n")?;
        if self.used > 0 || self.known > 0 {
            return Err(Error::decode("a bulk job's file breaks off within a quoted cell"));
        }
        Ok(last)
    }
}

fn no_text() -> Error {
    Error::decode("a bulk job's file is not UTF-8 text in CSV form")
}

fn names(text: &[u8], ends: &[usize]) -> Result<Vec<String>> {
    let text = std::str::from_utf8(text).map_err(|_| no_text())?;
    let mut start = 0;
    let name = |end: &usize| text.get(std::mem::replace(&mut start, *end)..*end).map(ToOwned::to_owned).ok_or_else(no_text);
    ends.iter().map(name).collect()
}

#[cfg(test)]
impl Block {
    /// One record of these cells.
    pub(super) fn of(cells: &[&str]) -> Self {
        let mut block = Self { width: cells.len(), ..Self::default() };
        for cell in cells {
            block.text.push_str(cell);
            block.ends.push(block.text.len() as u32);
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_stand_side_by_side() {
        let mut parser = Parser::new(b',');
        assert_eq!(parser.take(b"A,B\r\n1,\"2,").unwrap().len(), 0);
        let block = parser.take(b"3\"\r\n\xc3\xa9,\r\n4").unwrap();
        assert_eq!(parser.header().unwrap(), ["A", "B"]);
        let rows: Vec<Vec<&str>> = block.records().map(|record| record.cells().collect()).collect();
        assert_eq!(rows, [["1", "2,3"], ["é", ""]]);
        assert_eq!((block.record(1).get(1), block.record(1).get(2), block.record(2).get(0)), (Some(""), None, None));
        let alone = block.record(1).alone();
        assert_eq!((alone.len(), alone.record(0).get(0), alone.text.len()), (1, Some("é"), 2));
        assert_eq!(parser.begun(), 1);
        assert!(parser.finish().is_err(), "a cell is missing");
    }

    #[test]
    fn a_character_is_not_torn_by_a_delimiter() {
        let mut parser = Parser::new(b',');
        assert!(parser.take(b"A,B\n\xc3,\xa9\n").is_err());
    }

    #[test]
    fn more_columns_than_were_expected() {
        let names: Vec<String> = (0..100).map(|n| format!("C{n}")).collect();
        let mut parser = Parser::new(b';');
        let block = parser.take(format!("{}\n{}\n", names.join(";"), names.join(";")).as_bytes()).unwrap();
        assert_eq!(parser.header().unwrap(), names);
        assert_eq!(block.record(0).cells().collect::<Vec<_>>(), names);
    }
}
