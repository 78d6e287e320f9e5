//! Reading a CSV answer as it arrives.
//!
//! Chunks end anywhere; a record that has begun waits for the next one. Memory is one chunk and one record.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use crate::error::{Error, Result};
use crate::http::{Body, HttpError};
use crate::salesforce::bulk::block::{Block, Parser};
use crate::salesforce::bulk::job::Delimiter;

/// The longest record kept while its end has not arrived: 400,000 characters of up to four bytes, doubled by quotes, and room.
const MAX_PENDING: usize = 8 << 20;

const MARK: &[u8] = b"\xef\xbb\xbf";

/// A CSV answer: the header first, then its records.
pub(super) struct CsvReader {
    body: BoxStream<'static, Result<Bytes, HttpError>>,
    parser: Parser,
    /// The first bytes, until it is known whether they are a byte order mark.
    start: Option<Vec<u8>>,
    ended: bool,
}

impl std::fmt::Debug for CsvReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CsvReader").field("header", &self.header()).finish_non_exhaustive()
    }
}

impl CsvReader {
    pub(super) fn new(body: Body, delimiter: Delimiter) -> Self {
        Self { body: body.into_stream(), parser: Parser::new(delimiter.byte()), start: Some(Vec::new()), ended: false }
    }

    /// The names of the columns; empty before the first records were read.
    pub(super) fn header(&self) -> &[String] {
        self.parser.header().unwrap_or_default()
    }

    /// The next whole records, at least one; `None` at the end.
    ///
    /// # Errors
    /// What the connection says; [`crate::error::ErrorKind::Decode`] for what is no CSV, or breaks off within quotes.
    pub(super) async fn records(&mut self) -> Result<Option<Block>> {
        while !self.ended {
            let records = match self.body.next().await.transpose()? {
                Some(chunk) => {
                    let records = match self.start.take() {
                        None => self.parser.take(&chunk)?,
                        Some(mut start) => {
                            start.extend_from_slice(&chunk);
                            if start.len() < MARK.len() {
                                self.start = Some(start);
                                continue;
                            }
                            self.parser.take(start.strip_prefix(MARK).unwrap_or(&start))?
                        }
                    };
                    if self.parser.begun() > MAX_PENDING {
                        return Err(Error::decode("a record of a bulk job's file is longer than salesforce allows"));
                    }
                    records
                }
                None => {
                    self.ended = true;
                    match self.start.take() {
                        Some(mut start) if !start.is_empty() => {
                            start.push(b'\n');
                            self.parser.take(&start)?
                        }
                        _ => self.parser.finish()?,
                    }
                }
            };
            if records.len() > 0 {
                return Ok(Some(records));
            }
        }
        Ok(None)
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
            rows.extend(records.records().map(|record| record.cells().map(ToOwned::to_owned).collect()));
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
        let bytes = file.bytes().map(|byte| vec![byte]).collect();
        assert_eq!(read(reader(bytes, Delimiter::Comma)).unwrap(), (header, rows));
        assert_eq!(read(reader(vec![], Delimiter::Comma)).unwrap(), (vec![], vec![]));
        assert_eq!(read(reader(vec![b"A".to_vec()], Delimiter::Comma)).unwrap(), (vec!["A".to_owned()], vec![]));
        assert_eq!(read(reader(vec![b"A\n\"\"\n".to_vec()], Delimiter::Comma)).unwrap().1, [texts(&[""])], "one empty cell is a record");
    }

    #[test]
    fn what_is_broken_is_an_error() {
        for file in ["A,B\n1\n", "A\n\"1", "A\n\"1\n2\n", "A\n1\n\""] {
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
