//! The server at the other end.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, pin_mut};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::conformance::transport::wire::{Arrived, Wire};
use crate::host::Host;
use crate::webhook::signature::{hex, sha256};

/// Longer than any transport that says it is impatient.
const SILENCE: Duration = Duration::from_secs(20);
/// How long one side waits for the other inside of a check.
const MOMENT: Duration = Duration::from_secs(4);
const TICK: Duration = Duration::from_millis(5);

/// An HTTP/1.1 server on loopback that behaves well or badly as the path says. It spawns nothing: it runs while
/// [`FarEnd::serve_while`] is polled, on the host's tokio runtime.
#[derive(Debug)]
pub struct FarEnd {
    listener: TcpListener,
    url: String,
    refusing: String,
    host: Host,
    seen: Mutex<Seen>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    broken: u64,
    closed: bool,
    go: bool,
    held: bool,
    landed: u64,
}

impl FarEnd {
    /// Binds a free port. `host` sleeps in real time, as `Host::tokio()` does.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn bind(host: Host) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        // Nobody listens on a port that was free a moment ago.
        let unused = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        Ok(Self { listener, url, refusing: format!("http://{unused}"), host, seen: Mutex::default() })
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where nobody does.
    pub fn refusing(&self) -> &str {
        &self.refusing
    }

    /// Answers requests until `work` is done. A drop closes every connection.
    pub async fn serve_while<T>(&self, work: impl Future<Output = T>) -> T {
        let serving = self.serve();
        pin_mut!(work, serving);
        match select(work, serving).await {
            Either::Left((done, _)) => done,
            Either::Right(((), work)) => work.await,
        }
    }

    /// Ends only if no connection can be accepted any more.
    async fn serve(&self) {
        let mut open = FuturesUnordered::new();
        loop {
            let accepted = {
                let accept = self.listener.accept();
                pin_mut!(accept);
                loop {
                    if open.is_empty() {
                        break accept.await;
                    }
                    match select(accept.as_mut(), open.next()).await {
                        Either::Left((accepted, _)) => break accepted,
                        Either::Right(_) => {}
                    }
                }
            };
            match accepted {
                Ok((stream, _)) => open.push(self.connection(stream)),
                Err(_) => self.host.sleep(TICK).await,
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits a moment for something to happen.
    async fn until(&self, happened: impl Fn(&Seen) -> bool) -> bool {
        let end = self.host.monotonic() + MOMENT;
        while !happened(&self.seen()) {
            if self.host.monotonic() >= end {
                return false;
            }
            self.host.sleep(TICK).await;
        }
        true
    }

    /// A connection that breaks is no concern of the others.
    async fn connection(&self, stream: TcpStream) {
        let mut wire = Wire::new(stream);
        while let Ok(Some(request)) = wire.request().await {
            match self.respond(&mut wire, &request).await {
                Ok(true) => {}
                Ok(false) | Err(_) => return,
            }
        }
    }

    /// Answers one request; false if the connection ends with it.
    async fn respond(&self, wire: &mut Wire, request: &Arrived) -> io::Result<bool> {
        let head = request.method == "HEAD";
        match request.path() {
            "/echo" => {
                let body = described(request).to_string();
                wire.answer(200, "content-type: application/json\r\n", body.as_bytes()).await?;
            }
            "/headers" => {
                let headers = "X-MiXeD-CaSe: kept\r\nX-Many: one\r\nX-Many: two\r\nx-empty: \r\n";
                wire.answer(200, headers, if head { b"" } else { b"body" }).await?;
            }
            "/redirect" => wire.answer(302, &format!("location: {}/landed\r\n", self.url), b"elsewhere").await?,
            "/landed" => {
                self.seen().landed += 1;
                wire.answer(200, "", b"landed").await?;
            }
            "/break" => {
                self.seen().broken += 1;
                return Ok(false);
            }
            "/short" => {
                wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nbegin").await?;
                return Ok(false);
            }
            "/short-chunks" => {
                wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegin\r\n").await?;
                return Ok(false);
            }
            "/large" => wire.answer(200, "", &large()).await?,
            "/drip" => {
                wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").await?;
                let told = self.until(|seen| seen.go).await;
                self.seen().go = false;
                let second: &[u8] = if told { b"4\r\nsoon\r\n0\r\n\r\n" } else { b"4\r\nlate\r\n0\r\n\r\n" };
                wire.send(second).await?;
            }
            "/go" => {
                self.seen().go = true;
                wire.answer(200, "", b"gone").await?;
            }
            "/hold" => {
                self.seen().held = true;
                let silence = self.host.sleep(SILENCE);
                pin_mut!(silence);
                if let Either::Left(_) = select(Box::pin(wire.closed()), silence).await {
                    self.seen().closed = true;
                }
                return Ok(false);
            }
            "/seen" => {
                match request.query() {
                    "held" => drop(self.until(|seen| seen.held).await),
                    "closed" => drop(self.until(|seen| seen.closed).await),
                    "reset" => *self.seen() = Seen::default(),
                    _ => {}
                }
                let seen = self.seen().clone();
                let body = json!({"broken": seen.broken, "closed": seen.closed, "held": seen.held, "landed": seen.landed});
                wire.answer(200, "content-type: application/json\r\n", body.to_string().as_bytes()).await?;
            }
            path => {
                let status = path.strip_prefix("/status/").and_then(|status| status.parse().ok()).unwrap_or(404);
                wire.answer(status, "", if head { b"" } else { b"as asked" }).await?;
            }
        }
        Ok(true)
    }
}

fn described(request: &Arrived) -> Value {
    let headers: Vec<Value> = request.headers.iter().map(|(name, value)| json!([name.to_ascii_lowercase(), value])).collect();
    json!({"method": request.method, "target": request.target, "headers": headers, "length": request.body.len(),
        "sum": hex(&sha256(&[&request.body]))})
}

/// Eight mebibytes that do not repeat at a power of two.
pub(super) fn large() -> Vec<u8> {
    (0..8_u32 << 20).map(|at| u8::try_from(at % 251).unwrap_or_default()).collect()
}
