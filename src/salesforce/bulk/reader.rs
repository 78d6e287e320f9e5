//! Reading a CSV answer as it arrives.
//!
//! Chunks end anywhere, so only whole records are parsed; what is left waits for the next chunk. Memory is one chunk and one
//! record.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use crate::error::{Error, Result};
use crate::http::{Body, HttpError};
use crate::salesforce::bulk::job::Delimiter;

/// The longest record kept while its end has not arrived: 400,000 characters of up to four bytes, doubled by quotes, and room.
const MAX_PENDING: usize = 8 << 20;

/// A CSV answer: the header first, then its records.
pub(super) struct CsvReader {
    body: BoxStream<'static, Result<Bytes, HttpError>>,
    delimiter: u8,
    pending: Vec<u8>,
    scanned: usize,
    place: Place,
    header: Option<Vec<String>>,
    ended: bool,
}

impl std::fmt::Debug for CsvReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CsvReader").field("header", &self.header).finish_non_exhaustive()
    }
}

/// Where in a record the scan stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the first byte of a cell.
    Start,
    Plain,
    Quoted,
    /// Behind a quote within quotes: the end of the cell, or the first of two.
    Quote,
}

impl CsvReader {
    pub(super) fn new(body: Body, delimiter: Delimiter) -> Self {
        Self {
            body: body.into_stream(),
            delimiter: delimiter.byte(),
            pending: Vec::new(),
            scanned: 0,
            place: Place::Start,
            header: None,
            ended: false,
        }
    }

    /// The names of the columns; empty before the first records were read.
    pub(super) fn header(&self) -> &[String] {
        self.header.as_deref().unwrap_or_default()
    }

    /// The next whole records, at least one; `None` at the end.
    ///
    /// # Errors
    /// What the connection says; [`crate::error::ErrorKind::Decode`] for what is no CSV, or breaks off within quotes.
    pub(super) async fn records(&mut self) -> Result<Option<Vec<csv::StringRecord>>> {
        loop {
            let records = match self.body.next().await.transpose()? {
                Some(chunk) => {
                    self.pending.extend_from_slice(&chunk);
                    let whole = self.scan();
                    if whole == 0 && self.pending.len() > MAX_PENDING {
                        return Err(Error::decode("a record of a bulk job's file is longer than salesforce allows"));
                    }
                    let rest = self.pending.split_off(whole);
                    let whole = std::mem::replace(&mut self.pending, rest);
                    self.scanned = self.pending.len();
                    self.parse(&whole)?
                }
                None if self.ended => return Ok(None),
                None => {
                    self.ended = true;
                    if self.place == Place::Quoted {
                        return Err(Error::decode("a bulk job's file breaks off within a quoted cell"));
                    }
                    let whole = std::mem::take(&mut self.pending);
                    self.parse(&whole)?
                }
            };
            if !records.is_empty() {
                return Ok(Some(records));
            }
        }
    }

    /// How many bytes of what is pending are whole records.
    fn scan(&mut self) -> usize {
        let mut whole = 0;
        for (at, byte) in self.pending.iter().enumerate().skip(self.scanned) {
            self.place = match (self.place, *byte) {
                (Place::Quoted, b'"') => Place::Quote,
                (Place::Quoted, _) | (Place::Start | Place::Quote, b'"') => Place::Quoted,
                (_, b'\n') => {
                    whole = at + 1;
                    Place::Start
                }
                (_, byte) if byte == self.delimiter => Place::Start,
                _ => Place::Plain,
            };
        }
        whole
    }

    fn parse(&mut self, bytes: &[u8]) -> Result<Vec<csv::StringRecord>> {
        // A file may begin with a byte order mark.
        let bytes = if self.header.is_none() { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes) } else { bytes };
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.delimiter)
            .buffer_capacity(bytes.len().clamp(1, 1 << 16))
            .from_reader(bytes);
        let mut records = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|_| Error::decode("a bulk job's file is not UTF-8 text in CSV form"))?;
            match &self.header {
                None => self.header = Some(record.iter().map(ToOwned::to_owned).collect()),
                Some(header) if header.len() == record.len() => records.push(record),
                Some(header) => {
                    let message = format!("a record of a bulk job's file has {} cells under {} columns", record.len(), header.len());
                    return Err(Error::decode(message));
                }
            }
        }
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use futures_util::FutureExt;
    use futures_util::stream;
    use proptest::prelude::*;

    fn reader(chunks: Vec<Vec<u8>>, delimiter: Delimiter) -> CsvReader {
        let chunks: Vec<Result<Bytes, HttpError>> = chunks.into_iter().map(|chunk| Ok(Bytes::from(chunk))).collect();
        CsvReader::new(Body::from_stream(stream::iter(chunks).boxed()), delimiter)
    }

    fn read(mut reader: CsvReader) -> Result<(Vec<String>, Vec<Vec<String>>)> {
        let mut rows = Vec::new();
        while let Some(records) = reader.records().now_or_never().unwrap()? {
            rows.extend(records.iter().map(|record| record.iter().map(ToOwned::to_owned).collect()));
        }
        Ok((reader.header().to_vec(), rows))
    }

    fn texts(row: &[&str]) -> Vec<String> {
        row.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn marks_quotes_and_line_breaks() {
        let file = "\u{feff}\"A\",B\r\n\"1,\"\"2\"\"\",\"x\r\ny\"\r\n,\n3\"4,5";
        let (header, rows) = read(reader(vec![file.as_bytes().to_vec()], Delimiter::Comma)).unwrap();
        assert_eq!(header, ["A", "B"]);
        assert_eq!(rows, [texts(&["1,\"2\"", "x\r\ny"]), texts(&["", ""]), texts(&["3\"4", "5"])]);
        assert_eq!(read(reader(vec![], Delimiter::Comma)).unwrap(), (vec![], vec![]));
        assert_eq!(read(reader(vec![b"A\n\"\"\n".to_vec()], Delimiter::Comma)).unwrap().1, [texts(&[""])], "one empty cell is a record");
    }

    #[test]
    fn what_is_broken_is_an_error() {
        for file in ["A,B\n1\n", "A\n\"1", "A\n\"1\n2\n"] {
            assert_eq!(read(reader(vec![file.as_bytes().to_vec()], Delimiter::Comma)).unwrap_err().kind(), ErrorKind::Decode, "{file}");
        }
        assert_eq!(read(reader(vec![b"A\n\xff\n".to_vec()], Delimiter::Comma)).unwrap_err().kind(), ErrorKind::Decode);
    }

    proptest! {
        #[test]
        fn chunks_may_end_anywhere(
            rows in prop::collection::vec(prop::collection::vec("([,\"\r\n a]|\\PC){0,6}", 2), 0..6),
            cuts in prop::collection::vec(1usize..7, 1..40),
            crlf in any::<bool>(),
        ) {
            let mut writer = csv::WriterBuilder::new()
                .terminator(if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') })
                .from_writer(Vec::new());
            writer.write_record(["A", "B"]).unwrap();
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let bytes = writer.into_inner().unwrap();
            let mut rest = &bytes[..];
            let mut chunks = Vec::new();
            for cut in cuts.iter().cycle() {
                let (chunk, tail) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk.to_vec());
                rest = tail;
                if rest.is_empty() {
                    break;
                }
            }
            let (header, read) = read(reader(chunks, Delimiter::Comma)).unwrap();
            prop_assert_eq!(header, texts(&["A", "B"]));
            prop_assert_eq!(read, rows);
        }
    }
}
