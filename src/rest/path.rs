//! Where in a JSON text something stands, as a path a person can follow.
//!
//! serde reports a line and a column, and quotes the value it did not like. A message of ours says `records[3].Amount` and
//! quotes nothing. The text is only walked when decoding has failed, so that the usual case pays nothing.

use serde_json::error::Category;

use crate::error::Error;

/// The error for a body that does not fit.
pub(crate) fn decode_error(body: &[u8], error: &serde_json::Error) -> Error {
    let mut at = path_at(body, error.line(), error.column());
    if error.to_string().starts_with("missing field") {
        // Noticed at the end of the object, right after its last member: the object is meant.
        at.truncate(at.rfind('.').unwrap_or(0));
    }
    let at = if at.is_empty() { "the top level".to_owned() } else { at };
    let what = match error.classify() {
        Category::Eof => "ends too early".to_owned(),
        Category::Syntax | Category::Io => "is not JSON".to_owned(),
        Category::Data => expectation(&error.to_string()),
    };
    Error::decode(format!("the answer {what} at {at}"))
}

/// The part of serde's message that tells what was wanted; the part that quotes the value is left out.
fn expectation(message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or_default();
    if message.starts_with("missing field `") {
        return format!("has a {message}");
    }
    match message.rsplit_once("expected ") {
        Some((_, wanted)) => format!("does not fit ({wanted} expected)"),
        None => "does not fit".to_owned(),
    }
}

enum Step {
    Index(usize),
    Key(String),
}

/// The path of the value that stands at, or ends right before, a line and column (both from 1, columns in bytes).
fn path_at(body: &[u8], line: usize, column: usize) -> String {
    let start = match line {
        0 | 1 => 0,
        _ => body.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(line - 2).map_or(body.len(), |(at, _)| at + 1),
    };
    // The column names the last byte read, and a list or object that did not fit is reported at its first.
    let end = (start + column).min(body.len());
    let text = body.get(..end).unwrap_or(body);
    let mut stack: Vec<Step> = Vec::new();
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        let last = at + 1 == text.len();
        match byte {
            b'"' => {
                let mut end = None;
                let mut escaped = false;
                for (at, byte) in bytes.by_ref() {
                    match byte {
                        _ if escaped => escaped = false,
                        b'\\' => escaped = true,
                        b'"' => {
                            end = Some(at);
                            break;
                        }
                        _ => {}
                    }
                }
                let is_key = matches!(stack.last(), Some(Step::Key(key)) if key.is_empty());
                if let (true, Some(end), Some(Step::Key(key))) = (is_key, end, stack.last_mut()) {
                    *key = String::from_utf8_lossy(text.get(at + 1..end).unwrap_or_default()).into_owned();
                }
            }
            b'{' => stack.push(Step::Key(String::new())),
            b'[' => stack.push(Step::Index(0)),
            b'}' | b']' if !last => {
                stack.pop();
            }
            // A comma that was just read belongs to the value before it.
            b',' if !last => match stack.last_mut() {
                Some(Step::Key(key)) => key.clear(),
                Some(Step::Index(index)) => *index += 1,
                None => {}
            },
            _ => {}
        }
    }
    let mut path = String::new();
    for step in stack {
        match step {
            Step::Key(key) if key.is_empty() => {}
            Step::Key(key) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&key);
            }
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only decoded")]
    struct Page {
        records: Vec<Row>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only decoded")]
    struct Row {
        #[serde(rename = "Amount")]
        amount: f64,
        #[serde(rename = "Name")]
        name: String,
    }

    fn message(text: &str) -> String {
        decode_error(text.as_bytes(), &serde_json::from_str::<Page>(text).unwrap_err()).to_string()
    }

    #[test]
    fn the_path_of_what_does_not_fit() {
        let rows = r#"{"records": [{"Amount": 1, "Name": "a, \"]{b"}, {"Amount": "private", "Name": "x"}]}"#;
        assert_eq!(message(rows), "the answer does not fit (f64 expected) at records[1].Amount");
        assert_eq!(
            message("{\n\"records\": [\n{\"Amount\": 2.5,\n\"Name\": 7}]}"),
            "the answer does not fit (a string expected) at records[0].Name"
        );
        assert_eq!(message(r#"{"records": [{"Amount": 1}]}"#), "the answer has a missing field `Name` at records[0]");
        assert_eq!(message(r#"{"records": 5}"#), "the answer does not fit (a sequence expected) at records");
        assert_eq!(message("<html>"), "the answer is not JSON at the top level");
        assert_eq!(message(r#"{"records": [{"Am"#), "the answer ends too early at records[0]");
    }
}
