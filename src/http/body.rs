//! The body of an answer: in memory, or a stream of chunks.

use std::fmt;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use crate::http::error::{HttpError, HttpErrorKind};

/// A body that is read once.
pub struct Body(Inner);

enum Inner {
    Whole(Bytes),
    Stream(BoxStream<'static, Result<Bytes, HttpError>>),
}

impl Body {
    /// A body in memory.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self(Inner::Whole(bytes.into()))
    }

    /// A body that arrives in chunks.
    pub fn from_stream(stream: BoxStream<'static, Result<Bytes, HttpError>>) -> Self {
        Self(Inner::Stream(stream))
    }

    /// The whole body, if it has at most `limit` bytes.
    ///
    /// # Errors
    /// [`HttpErrorKind::TooLarge`] past the limit (the rest is not read), or what the stream says.
    pub async fn bytes(self, limit: usize) -> Result<Bytes, HttpError> {
        self.bytes_of(limit, 0).await
    }

    /// As [`Body::bytes`], of a body that is said to have `expected` bytes: so much room is made at once, 4 MiB at most.
    pub(crate) async fn bytes_of(self, limit: usize, expected: usize) -> Result<Bytes, HttpError> {
        let too_large = || HttpError::new(HttpErrorKind::TooLarge, format!("the answer is longer than {limit} bytes"));
        match self.0 {
            Inner::Whole(bytes) if bytes.len() <= limit => Ok(bytes),
            Inner::Whole(_) => Err(too_large()),
            Inner::Stream(mut stream) => {
                let Some(first) = stream.next().await.transpose()? else { return Ok(Bytes::new()) };
                let Some(second) = stream.next().await.transpose()? else {
                    return if first.len() <= limit { Ok(first) } else { Err(too_large()) };
                };
                let mut whole = BytesMut::with_capacity(expected.min(limit).min(4 << 20).max(first.len() + second.len()));
                whole.extend_from_slice(&first);
                whole.extend_from_slice(&second);
                while whole.len() <= limit {
                    match stream.next().await.transpose()? {
                        Some(chunk) => whole.extend_from_slice(&chunk),
                        None => return Ok(whole.freeze()),
                    }
                }
                Err(too_large())
            }
        }
    }

    /// The chunks as they arrive.
    pub fn into_stream(self) -> BoxStream<'static, Result<Bytes, HttpError>> {
        match self.0 {
            Inner::Whole(bytes) => futures_util::stream::iter([Ok(bytes)]).boxed(),
            Inner::Stream(stream) => stream,
        }
    }
}

/// Never the content.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Whole(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Inner::Stream(_) => f.write_str("Body(stream)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn chunks(parts: &[&'static str]) -> Body {
        let parts: Vec<Result<Bytes, HttpError>> = parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes()))).collect();
        Body::from_stream(futures_util::stream::iter(parts).boxed())
    }

    #[test]
    fn the_limit_holds_for_both_forms() {
        for body in [|| Body::from_bytes("abcdef"), || chunks(&["ab", "cd", "ef"]), || chunks(&["abcdef"])] {
            assert_eq!(body().bytes(6).now_or_never().unwrap().unwrap(), "abcdef");
            assert_eq!(body().bytes(5).now_or_never().unwrap().unwrap_err().kind(), HttpErrorKind::TooLarge);
        }
        assert_eq!(chunks(&[]).bytes(0).now_or_never().unwrap().unwrap(), "");
    }
}
