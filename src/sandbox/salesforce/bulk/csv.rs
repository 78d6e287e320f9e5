//! CSV as strictly as the Bulk API reads it.
//!
//! Readers from the shelf forgive what Salesforce refuses (a space beside a quote, a quote inside a bare value), and result
//! files repeat the uploaded rows as they stand, so that the reader must tell where each begins and ends.

use std::borrow::Cow;

/// One record: where it stands, its cells, and what is wrong with it.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) from: usize,
    /// Without the line ending.
    pub(crate) to: usize,
    /// Where the next one begins.
    pub(crate) next: usize,
    pub(crate) cells: Vec<Cow<'a, str>>,
    pub(crate) fault: Option<&'static str>,
}

/// The record that begins at `from`; `None` at the end of the text. Empty lines are passed over.
pub(crate) fn record(text: &str, mut from: usize, delimiter: u8) -> Option<Record<'_>> {
    loop {
        let rest = text.as_bytes().get(from..)?;
        match rest {
            [] => return None,
            [b'\n', ..] => from += 1,
            [b'\r', b'\n', ..] => from += 2,
            _ => return Some(read(text, from, delimiter)),
        }
    }
}

fn read(text: &str, from: usize, delimiter: u8) -> Record<'_> {
    let bytes = text.as_bytes();
    let mut record = Record { from, to: from, next: from, cells: Vec::new(), fault: None };
    let mut at = from;
    loop {
        let (cell, after) = if bytes.get(at) == Some(&b'"') { quoted(text, at) } else { bare(text, at, delimiter) };
        match cell {
            Ok(cell) => record.cells.push(cell),
            Err(fault) => {
                record.cells.push(Cow::Borrowed(""));
                record.fault = Some(fault);
            }
        }
        at = after;
        // What follows a closing quote up to the delimiter is a fault, but not part of the next cell.
        if at < bytes.len() && bytes.get(at) != Some(&delimiter) && !ends(bytes, at) {
            record.fault = Some("a quoted value is followed by something that is neither a delimiter nor a line ending");
            while at < bytes.len() && bytes.get(at) != Some(&delimiter) && !ends(bytes, at) {
                at += 1;
            }
        }
        if bytes.get(at) == Some(&delimiter) {
            at += 1;
            continue;
        }
        record.to = at;
        record.next = at + usize::from(bytes.get(at) == Some(&b'\r')) + usize::from(at < bytes.len());
        return record;
    }
}

/// True at a line ending.
fn ends(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(at..), Some([b'\n', ..] | [b'\r', b'\n', ..]))
}

type Cell<'a> = (Result<Cow<'a, str>, &'static str>, usize);

fn quoted(text: &str, from: usize) -> Cell<'_> {
    let bytes = text.as_bytes();
    let mut doubled = false;
    let mut at = from + 1;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'"' {
            if bytes.get(at + 1) != Some(&b'"') {
                let inner = text.get(from + 1..at).unwrap_or_default();
                let cell = if doubled { Cow::Owned(inner.replace("\"\"", "\"")) } else { Cow::Borrowed(inner) };
                return (Ok(cell), at + 1);
            }
            doubled = true;
            at += 1;
        }
        at += 1;
    }
    (Err("a quoted value has no end"), bytes.len())
}

fn bare(text: &str, from: usize, delimiter: u8) -> Cell<'_> {
    let bytes = text.as_bytes();
    let mut at = from;
    while at < bytes.len() && bytes.get(at) != Some(&delimiter) && !ends(bytes, at) {
        at += 1;
    }
    let cell = text.get(from..at).unwrap_or_default();
    if cell.contains('"') {
        return (Err("a value that is not quoted holds a quote"), at);
    }
    (Ok(Cow::Borrowed(cell)), at)
}

/// Appends `cell` in quotes.
pub(crate) fn quote(out: &mut String, cell: &str) {
    out.push('"');
    for part in cell.split_inclusive('"') {
        out.push_str(part);
        if part.ends_with('"') {
            out.push('"');
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &str) -> Vec<(Vec<String>, bool, &str)> {
        let mut rows = Vec::new();
        let mut at = 0;
        while let Some(row) = record(text, at, b',') {
            rows.push((row.cells.iter().map(|cell| cell.to_string()).collect(), row.fault.is_none(), &text[row.from..row.to]));
            at = row.next;
        }
        rows
    }

    fn texts(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn quotes_newlines_and_blanks_are_read() {
        let rows = all("A,B\r\n\r\n\"a,\"\"b\"\"\nc\", d \n,\n");
        assert_eq!(rows[0], (texts(&["A", "B"]), true, "A,B"));
        assert_eq!(rows[1], (texts(&["a,\"b\"\nc", " d "]), true, "\"a,\"\"b\"\"\nc\", d "));
        assert_eq!(rows[2], (texts(&["", ""]), true, ","));
        assert_eq!(rows.len(), 3);
    }

    #[test]
    fn a_space_beside_a_quote_spoils_its_row_only() {
        let rows = all("a, \"b\"\n\"a\" ,b\na,b\n\"never");
        assert_eq!(rows.iter().map(|row| row.1).collect::<Vec<_>>(), [false, false, true, false]);
        assert_eq!(rows[1].0[1], "b");
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back(cells in proptest::collection::vec(".{0,12}", 1..5)) {
            let mut line = String::new();
            for (at, cell) in cells.iter().enumerate() {
                if at > 0 {
                    line.push(',');
                }
                quote(&mut line, cell);
            }
            let row = record(&line, 0, b',').unwrap();
            prop_assert!(row.fault.is_none());
            prop_assert_eq!(row.cells.iter().map(|cell| cell.to_string()).collect::<Vec<_>>(), cells);
            prop_assert_eq!((row.to, row.next), (line.len(), line.len()));
        }
    }
}
