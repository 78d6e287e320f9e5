//! Compressed bodies, both ways.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, VARY};

use crate::sandbox::call::Call;

/// What a compressed body may grow to.
const LARGEST: u64 = 512 * 1024 * 1024;

/// Decompresses the body of a request. One that cannot be read keeps its header, and is refused by the face.
pub(crate) fn request(call: &mut Call) {
    if !call.headers.get(CONTENT_ENCODING).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"gzip")) {
        return;
    }
    let mut body = Vec::new();
    let read = MultiGzDecoder::new(call.body.as_ref()).take(LARGEST).read_to_end(&mut body);
    if read.is_ok() {
        call.body = Bytes::from(body);
        call.headers.remove(CONTENT_ENCODING);
    }
}

/// Compresses the body of an answer if the request asked for gzip; other encodings are not looked at.
pub(crate) fn answer(call: &Call, response: &mut http::Response<Bytes>) {
    let wanted = call.headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        list.split(',').any(|part| {
            let (name, quality) = part.split_once(';').unwrap_or((part, ""));
            name.trim().eq_ignore_ascii_case("gzip") && !matches!(quality.trim(), "q=0" | "q=0.0")
        })
    });
    if !wanted || response.body().is_empty() {
        return;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    if encoder.write_all(response.body()).is_err() {
        return;
    }
    let Ok(small) = encoder.finish() else { return };
    *response.body_mut() = Bytes::from(small);
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
}
