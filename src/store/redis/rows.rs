//! How a row is written in Redis: `version:end:value`, the end in microseconds or empty.

use bytes::Bytes;

use crate::error::{Error, Result, Retry};
use crate::store::batch::Row;

/// The row, and when it ends.
pub(super) fn parse(raw: Vec<u8>) -> Result<(Row, Option<i64>)> {
    let damaged = || Error::store("a row of the store on Redis is damaged: it has no version and end").retrying(Retry::Never);
    let mut parts = raw.splitn(3, |byte| *byte == b':');
    let mut number = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
    let version = number().and_then(|text| text.parse().ok()).ok_or_else(damaged)?;
    let ends = match number().ok_or_else(damaged)? {
        "" => None,
        text => Some(text.parse().map_err(|_| damaged())?),
    };
    let start = raw.len() - parts.next().ok_or_else(damaged)?.len();
    Ok((Row { value: Bytes::from(raw).slice(start..), version }, ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_apart() {
        let (row, ends) = parse(b"12:1700000000000000:a:b\xff".to_vec()).unwrap();
        assert_eq!((row.version, row.value.as_ref(), ends), (12, b"a:b\xff".as_slice(), Some(1_700_000_000_000_000)));
        let (row, ends) = parse(b"1::".to_vec()).unwrap();
        assert_eq!((row.version, row.value.len(), ends), (1, 0, None));
        for damaged in ["", "1", "1:", ":1:", "x::v", "1:x:v"] {
            assert!(parse(damaged.as_bytes().to_vec()).is_err(), "{damaged}");
        }
    }
}
