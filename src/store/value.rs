//! The stored form of a typed value: JSON with the version of its format.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Retry};
use crate::store::batch::Row;
use crate::store::key::Key;

#[derive(Serialize)]
struct Sealed<'a, T: ?Sized> {
    v: u32,
    d: &'a T,
}

#[derive(Deserialize)]
struct Opened<T> {
    d: T,
}

#[derive(Deserialize)]
struct Head {
    v: u32,
}

/// `value` in format `v`, for the row under `key`.
pub(crate) fn encode<T: Serialize + ?Sized>(key: &Key, v: u32, value: &T) -> Result<Vec<u8>> {
    // serde_json's message may quote the value; its category does not.
    serde_json::to_vec(&Sealed { v, d: value })
        .map_err(|error| Error::internal(format!("the value for {key} does not serialise ({:?} error)", error.classify())))
}

/// Reads a row that must be in format `v`.
pub(crate) fn decode<T: DeserializeOwned>(key: &Key, v: u32, row: &Row) -> Result<T> {
    let head: Head = serde_json::from_slice(&row.value).map_err(|error| unreadable(key, &error))?;
    if head.v != v {
        return Err(Error::store(format!(
            "the row {key} has format {}, this version of the library reads {v}; do not run an older version on a newer store",
            head.v
        ))
        .retrying(Retry::Never));
    }
    serde_json::from_slice::<Opened<T>>(&row.value).map(|opened| opened.d).map_err(|error| unreadable(key, &error))
}

fn unreadable(key: &Key, error: &serde_json::Error) -> Error {
    Error::store(format!("the row {key} cannot be read ({:?} error); it was written by something else or is damaged", error.classify()))
        .retrying(Retry::Never)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::key::Family;

    #[test]
    fn another_format_is_named_and_not_misread() {
        let key = Key::new(Family::Base, &["a"]);
        let row = |bytes: Vec<u8>| Row { value: bytes.into(), version: 1 };
        assert_eq!(decode::<u8>(&key, 1, &row(encode(&key, 1, &7u8).unwrap())).unwrap(), 7);
        let newer = decode::<u8>(&key, 1, &row(encode(&key, 2, &7u8).unwrap())).unwrap_err();
        assert!(newer.to_string().contains("format 2") && !newer.is_retryable(), "{newer}");
        let broken = decode::<u8>(&key, 1, &row(b"{\"v\":1,\"d\":\"secret\"}".to_vec())).unwrap_err();
        assert!(broken.to_string().contains("base/a/") && !broken.to_string().contains("secret"), "{broken}");
    }
}
