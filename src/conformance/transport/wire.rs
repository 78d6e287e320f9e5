//! HTTP/1.1 by hand, so that it can be broken at will.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LONGEST_HEAD: usize = 64 << 10;
const LONGEST_BODY: usize = 64 << 20;

/// A request as it arrived.
pub(super) struct Arrived {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Arrived {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(super) fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

/// One end of a connection, with what was read too far.
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    rest: Vec<u8>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, rest: Vec::new() }
    }

    /// More bytes; false at the end of the connection.
    async fn more(&mut self) -> io::Result<bool> {
        let mut chunk = vec![0; 64 << 10];
        let read = self.stream.read(&mut chunk).await?;
        self.rest.extend_from_slice(chunk.get(..read).unwrap_or_default());
        Ok(read > 0)
    }

    /// The next request; `None` at the end of the connection.
    pub(super) async fn request(&mut self) -> io::Result<Option<Arrived>> {
        let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        let end = loop {
            if let Some(at) = self.rest.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at;
            }
            if self.rest.len() > LONGEST_HEAD {
                return Err(wrong("the head is too long"));
            }
            if !self.more().await? {
                return Ok(None);
            }
        };
        let body = self.rest.split_off(end + 4);
        let head = String::from_utf8_lossy(&std::mem::replace(&mut self.rest, body)).into_owned();
        let mut lines = head.trim_end().split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target)) = (first.next(), first.next()) else { return Err(wrong("no request line")) };
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers: Vec<(String, String)> = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        let mut arrived = Arrived { method: method.to_owned(), target: target.to_owned(), headers, body: Vec::new() };
        if arrived.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            arrived.body = self.chunks().await?;
            return Ok(Some(arrived));
        }
        let length = arrived.header("content-length").map_or(Ok(0), str::parse::<usize>).map_err(|_| wrong("no length"))?;
        if length > LONGEST_BODY {
            return Err(wrong("the body is too long"));
        }
        arrived.body = self.exactly(length).await?;
        Ok(Some(arrived))
    }

    async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.rest.len() < length {
            if !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.rest.split_off(length);
        Ok(std::mem::replace(&mut self.rest, rest))
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.rest.windows(2).position(|bytes| bytes == b"\r\n") {
                let line = self.exactly(at + 2).await?;
                return Ok(String::from_utf8_lossy(&line).trim().to_owned());
            }
            if !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16).unwrap_or(usize::MAX);
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(body);
            }
            if size > LONGEST_BODY - body.len() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            body.extend(self.exactly(size).await?);
            self.line().await?;
        }
    }

    /// Sends bytes as they are.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Sends a whole answer.
    pub(super) async fn answer(&mut self, status: u16, headers: &str, body: &[u8]) -> io::Result<()> {
        let bare = status == 204 || status == 304;
        let length = if bare { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        self.send(format!("HTTP/1.1 {status} X\r\n{length}{headers}\r\n").as_bytes()).await?;
        if bare { Ok(()) } else { self.send(body).await }
    }

    /// Returns when the other side has closed.
    pub(super) async fn closed(&mut self) {
        while self.more().await.unwrap_or(false) {}
    }
}
