//! The world on disk: a line of JSON for each commit.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind as IoKind, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};

/// An open log.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: File,
}

fn failed(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::store(format!("could not {what} {}: {}", path.display(), error.kind())).with_source(error)
}

impl Log {
    /// Opens the log in `dir`, which is made if needed, and returns the lines it holds. A last line that was torn by a crash was
    /// never answered, and is left out.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Vec<Value>)> {
        std::fs::create_dir_all(dir).map_err(|error| failed("make the directory", dir, error))?;
        let path = dir.join("world.jsonl");
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == IoKind::NotFound => Vec::new(),
            Err(error) => return Err(failed("read", &path, error)),
        };
        let complete = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut lines = Vec::new();
        for (at, line) in text.get(..complete).unwrap_or_default().split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let value = serde_json::from_slice(line).map_err(|_| {
                Error::store(format!("line {} of {} is not what the sandbox wrote; remove the file", at + 1, path.display()))
            })?;
            lines.push(value);
        }
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(|error| failed("open", &path, error))?;
        if complete < text.len() {
            let length = u64::try_from(complete).unwrap_or(0);
            file.set_len(length).map_err(|error| failed("shorten", &path, error))?;
        }
        Ok((Self { path, file }, lines))
    }

    /// Writes a line; it is with the operating system when this returns.
    pub(crate) fn append(&mut self, value: &Value) -> Result<()> {
        let mut line = serde_json::to_vec(value).map_err(|_| Error::internal("a commit does not serialise"))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|error| failed("write", &self.path, error))
    }

    /// Replaces everything by one line; the old log stays until the new one is whole.
    pub(crate) fn compact(&mut self, value: &Value) -> Result<()> {
        let fresh = self.path.with_extension("tmp");
        let mut line = serde_json::to_vec(value).map_err(|_| Error::internal("a snapshot does not serialise"))?;
        line.push(b'\n');
        let mut file = File::create(&fresh).map_err(|error| failed("write", &fresh, error))?;
        file.write_all(&line).and_then(|()| file.sync_all()).map_err(|error| failed("write", &fresh, error))?;
        std::fs::rename(&fresh, &self.path).map_err(|error| failed("replace", &self.path, error))?;
        self.file = OpenOptions::new().append(true).open(&self.path).map_err(|error| failed("open", &self.path, error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_torn_last_line_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, lines) = Log::open(dir.path()).unwrap();
        assert!(lines.is_empty());
        log.append(&json!({"a": 1})).unwrap();
        log.file.write_all(b"{\"a\": 2").unwrap();
        drop(log);
        let (mut log, lines) = Log::open(dir.path()).unwrap();
        assert_eq!(lines, [json!({"a": 1})]);
        log.append(&json!({"a": 3})).unwrap();
        drop(log);
        let (mut log, lines) = Log::open(dir.path()).unwrap();
        assert_eq!(lines, [json!({"a": 1}), json!({"a": 3})]);
        log.compact(&json!({"all": true})).unwrap();
        log.append(&json!({"a": 4})).unwrap();
        drop(log);
        assert_eq!(Log::open(dir.path()).unwrap().1, [json!({"all": true}), json!({"a": 4})]);
    }

    #[test]
    fn a_damaged_log_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("world.jsonl"), "nonsense\n").unwrap();
        assert!(Log::open(dir.path()).unwrap_err().to_string().contains("line 1"));
    }
}
