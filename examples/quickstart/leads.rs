//! Reading the leads file: every fault is one sentence with its place and its remedy.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use crm_sync::model::{Fields, Shape, Value};

/// Longer cells are a broken quote, not a lead.
const LONGEST_CELL: usize = 131_072;

/// Columns without which a lead cannot be synced.
const NEEDED: [&str; 2] = ["id", "last_name"];

/// Columns a leads file may have, with the host's field they stand for.
const KNOWN: [(&str, &str); 13] = [
    ("id", "id"),
    ("source", "source"),
    ("first_name", "firstName"),
    ("last_name", "lastName"),
    ("email", "email"),
    ("phone", "phone"),
    ("company", "company"),
    ("title", "title"),
    ("website", "website"),
    ("street", "street"),
    ("city", "city"),
    ("postal_code", "postalCode"),
    ("country", "country"),
];

/// The host's records, in the order of the file.
pub(crate) fn read(path: &Path) -> Result<Vec<Fields>, String> {
    let place = path.display();
    let file = std::fs::File::open(path).map_err(|error| format!("{place}: cannot be opened ({error}); give a CSV file with --input"))?;
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(std::io::BufReader::new(file));
    let header = reader.byte_headers().map_err(|error| format!("{place}: cannot be read ({error})"))?.clone();
    let names: Vec<String> = header
        .iter()
        .enumerate()
        .map(|(column, name)| {
            let name = if column == 0 { name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name) } else { name };
            let name = std::str::from_utf8(name)
                .map_err(|_| format!("{place}:1: the name of column {} is not UTF-8; save the file as UTF-8", column + 1))?;
            if name.chars().count() > 200 {
                return Err(format!(
                    "{place}:1: the name of column {} is longer than 200 characters; is the first line the header?",
                    column + 1
                ));
            }
            Ok(name.trim().to_owned())
        })
        .collect::<Result<_, _>>()?;
    let mut seen = HashSet::new();
    for (column, name) in names.iter().enumerate() {
        if !seen.insert(name.to_lowercase()) {
            return Err(format!("{place}:1: the column {name:?} occurs twice (again as column {}); rename or remove one", column + 1));
        }
    }
    let missing: Vec<&str> = NEEDED.into_iter().filter(|needed| !names.iter().any(|name| host_name(name) == host_name(needed))).collect();
    if !missing.is_empty() {
        if names.is_empty() {
            return Err(format!("{place}: the file is empty; the first line must name the columns, {} among them", NEEDED.join(" and ")));
        }
        let found = names.join(", ");
        return Err(format!(
            "{place}:1: the column {} is missing (found: {found}); the first line must name the columns",
            missing.join(" and ")
        ));
    }
    let shape = Shape::new(names.iter().map(|name| host_name(name)));
    let mut rows = Vec::new();
    let mut row = csv::ByteRecord::new();
    loop {
        let more = reader.read_byte_record(&mut row).map_err(|error| format!("{place}: cannot be read ({error})"))?;
        if !more {
            break;
        }
        let line = row.position().map_or(0, csv::Position::line);
        if row.len() != names.len() {
            return Err(format!(
                "{place}:{line}: {} cells where the header names {}; look for a missing comma or an open quote",
                row.len(),
                names.len()
            ));
        }
        let mut values = Vec::with_capacity(names.len());
        for (column, cell) in row.iter().enumerate() {
            let name = names.get(column).map_or("", String::as_str);
            if cell.len() > LONGEST_CELL {
                return Err(format!(
                    "{place}:{line}: the cell in column {} ({name}) has {} bytes, more than the {LONGEST_CELL} any CRM takes; look for an open quote",
                    column + 1,
                    cell.len()
                ));
            }
            let text = std::str::from_utf8(cell).map_err(|error| {
                format!(
                    "{place}:{line}: the cell in column {} ({name}) is not UTF-8 at its byte {}; save the file as UTF-8",
                    column + 1,
                    error.valid_up_to() + 1
                )
            })?;
            // Blank means missing in this file.
            values.push((!text.trim().is_empty()).then(|| Value::from(text)));
        }
        rows.push(Fields::from_values(Arc::clone(&shape), values));
    }
    Ok(rows)
}

/// `first_name`, `First Name` and `firstName` are the host's `firstName`; other columns keep their names.
fn host_name(column: &str) -> String {
    let squashed = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    let wanted = squashed(column);
    KNOWN.iter().find(|(name, _)| squashed(name) == wanted).map_or_else(|| column.to_owned(), |(_, host)| (*host).to_owned())
}
