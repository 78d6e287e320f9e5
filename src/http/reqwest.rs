//! The transport over reqwest; the one file that names it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;

use crate::error::{Error, Result, chain};
use crate::http::api::HttpTransport;
use crate::http::body::Body;
use crate::http::error::{HttpError, HttpErrorKind};

/// [`HttpTransport`] over a `reqwest::Client`.
#[derive(Clone, Debug)]
pub struct ReqwestTransport {
    client: reqwest::Client,
}

impl ReqwestTransport {
    /// Over the host's own client. It should not follow redirects: reqwest drops `Authorization` when the host changes, but a
    /// CRM's other credentials (query, custom headers) would travel along.
    pub fn new(client: reqwest::Client) -> Self {
        Self { client }
    }

    /// A client with this crate's defaults, to be adjusted.
    pub fn builder() -> ReqwestBuilder {
        ReqwestBuilder { timeout: Duration::from_secs(120), connect_timeout: Duration::from_secs(10), loopback: false }
    }

    /// A client for plain HTTP on this machine: it works where there is no certificate store, and uses no proxy.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if reqwest cannot be set up.
    pub fn loopback() -> Result<Self> {
        Self::builder().loopback().build()
    }
}

/// Builds a [`ReqwestTransport`].
#[derive(Clone, Debug)]
pub struct ReqwestBuilder {
    timeout: Duration,
    connect_timeout: Duration,
    loopback: bool,
}

impl ReqwestBuilder {
    /// From the first byte of the request to the last of the answer. Default: 120 s, as Salesforce's long polls hold for 110.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// For the connection alone. Default: 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Plain HTTP on this machine only: no certificate store is read and no proxy used.
    #[must_use]
    pub fn loopback(mut self) -> Self {
        self.loopback = true;
        self
    }

    /// The transport.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if TLS cannot be set up, as on a machine without a certificate store.
    pub fn build(self) -> Result<ReqwestTransport> {
        let mut builder = reqwest::Client::builder()
            .timeout(self.timeout)
            .connect_timeout(self.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .user_agent(concat!("crm-sync/", env!("CARGO_PKG_VERSION")))
            .tcp_nodelay(true);
        if self.loopback {
            builder = builder.no_proxy();
            #[cfg(any(feature = "rustls", feature = "rustls-no-provider", feature = "native-tls"))]
            {
                builder = builder.tls_certs_only([]);
            }
        }
        builder.build().map(ReqwestTransport::new).map_err(|error| {
            let message = "the HTTP client could not be set up; if the machine has no certificate store, install one \
                           (Debian: ca-certificates) or pass a client of your own to ReqwestTransport::new";
            Error::config(message).with_source(error.without_url())
        })
    }
}

#[async_trait]
impl HttpTransport for ReqwestTransport {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
        let host = request.uri().authority().cloned();
        let request = reqwest::Request::try_from(request.map(reqwest::Body::from))
            .map_err(|error| HttpError::new(HttpErrorKind::Request, "the request could not be built").with_source(error.without_url()))?;
        let mut answer =
            self.client.execute(request).await.map_err(|error| refine(error, host.as_ref().map_or("", |host| host.as_str())))?;
        let mut out = http::Response::new(());
        (*out.status_mut(), *out.version_mut()) = (answer.status(), answer.version());
        std::mem::swap(out.headers_mut(), answer.headers_mut());
        let chunks = answer.bytes_stream().map(|chunk| {
            chunk.map_err(|error| {
                let kind = if error.is_timeout() { HttpErrorKind::Timeout } else { HttpErrorKind::Body };
                HttpError::new(kind, "the answer broke off").with_source(error.without_url())
            })
        });
        Ok(out.map(|()| Body::from_stream(chunks.boxed())))
    }
}

fn refine(error: reqwest::Error, host: &str) -> HttpError {
    let error = error.without_url();
    if error.is_connect() {
        // A person needs the reason (refused, name not found) at once; it holds the address and no secret.
        let reason = chain(&error);
        let reason = reason.rsplit(": ").next().unwrap_or("no connection").to_owned();
        // The reason is in the message; the layers between say nothing more.
        return HttpError::new(HttpErrorKind::Connect, format!("could not connect to {host} ({reason})"));
    }
    if error.is_timeout() {
        return HttpError::new(HttpErrorKind::Timeout, format!("{host} did not answer in time")).with_source(error);
    }
    if error.is_builder() {
        return HttpError::new(HttpErrorKind::Request, "the request could not be built").with_source(error);
    }
    HttpError::new(HttpErrorKind::Sent, format!("the connection to {host} broke before an answer came")).with_source(error)
}
