//! Pub/Sub on a port: TLS from a certificate made at the start, HTTP/2, all in one future.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::error::{Error, ErrorKind, Result};
use crate::sandbox::api::Sandbox;
use crate::sandbox::pubsub::service::answer;
use crate::sandbox::serve::{accept, connection, until};

/// The Pub/Sub face on a listener: what [`Sandbox::serve_with_pubsub`] serves. Its certificate is made anew each time.
#[derive(Clone)]
pub struct PubSub {
    listener: Arc<TcpListener>,
    acceptor: TlsAcceptor,
    url: String,
    ca_pem: String,
}

impl fmt::Debug for PubSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSub").field("url", &self.url).finish_non_exhaustive()
    }
}

impl PubSub {
    /// `https://localhost:7443`: where clients connect.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate authority a client must trust, in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }
}

fn failed(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal(format!("the sandbox could not {what}")).with_source(error)
}

/// The authority's certificate in PEM, and what serves with a certificate of it.
fn tls() -> Result<(String, TlsAcceptor)> {
    let make = |error| failed("make its certificate", error);
    let mut params = CertificateParams::new(Vec::new()).map_err(make)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.distinguished_name.push(DnType::CommonName, "Pretend Salesforce");
    let authority_key = KeyPair::generate().map_err(make)?;
    let authority = params.self_signed(&authority_key).map_err(make)?;
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().map_err(make)?;
    let mut leaf = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]).map_err(make)?;
    leaf.distinguished_name.push(DnType::CommonName, "localhost");
    leaf.use_authority_key_identifier_extension = true;
    let leaf = leaf.signed_by(&key, &issuer).map_err(make)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed("set up TLS", error))?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone(), authority.der().clone()], private)
        .map_err(|error| failed("set up TLS", error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok((authority.pem(), TlsAcceptor::from(Arc::new(config))))
}

/// What hyper would spawn: the streams of one connection, driven with it.
#[derive(Clone, Default)]
struct Streams(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        let future = Box::pin(async move {
            future.await;
        });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(future);
    }
}

impl Sandbox {
    /// Prepares Pub/Sub on `listener`: makes a certificate for `localhost`, and tells URL and authority in
    /// [`Sandbox::salesforce`] and `GET /_sandbox/events`. Nothing is served before [`Sandbox::serve_with_pubsub`].
    ///
    /// # Errors
    /// [`ErrorKind::Network`] if the listener has no address, `Internal` if the certificate cannot be made.
    pub fn pubsub(&self, listener: TcpListener) -> Result<PubSub> {
        let address = listener
            .local_addr()
            .map_err(|error| Error::new(ErrorKind::Network, "the listener of the Pub/Sub face has no address").with_source(error))?;
        let (ca_pem, acceptor) = tls()?;
        let url = format!("https://localhost:{}", address.port());
        self.world().salesforce.events.pubsub = Some((url.clone(), ca_pem.clone()));
        Ok(PubSub { listener: Arc::new(listener), acceptor, url, ca_pem })
    }

    /// As [`Sandbox::serve`], with Pub/Sub next to it, in the same future.
    ///
    /// # Errors
    /// [`ErrorKind::Network`] if a listener breaks for good.
    pub async fn serve_with_pubsub(&self, listener: TcpListener, pubsub: PubSub, shutdown: impl Future) -> Result<()> {
        let http = accept(&listener, |stream| Box::pin(connection(self.clone(), stream)));
        let grpc = accept(&pubsub.listener, |stream| Box::pin(secured(self.clone(), pubsub.acceptor.clone(), stream)));
        until(shutdown, async { futures_util::future::try_join(http, grpc).await.map(|_| ()) }).await
    }

    /// Serves Pub/Sub to one client over any pair of pipes, without TLS, until the client hangs up.
    pub async fn serve_pubsub_over(&self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        streams(self.clone(), io).await;
    }
}

async fn secured(sandbox: Sandbox, acceptor: TlsAcceptor, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    // A client that does not trust the certificate tells its own user.
    if let Ok(stream) = acceptor.accept(stream).await {
        streams(sandbox, stream).await;
    }
}

async fn streams(sandbox: Sandbox, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let fresh = Streams::default();
    let service = hyper::service::service_fn(move |request| {
        let sandbox = sandbox.clone();
        async move { Ok::<_, Infallible>(answer(sandbox, request).await) }
    });
    let mut connection = pin!(hyper::server::conn::http2::Builder::new(fresh.clone()).serve_connection(TokioIo::new(io), service));
    let mut running: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    poll_fn(|context| {
        loop {
            if connection.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            let more = std::mem::take(&mut *fresh.0.lock().unwrap_or_else(PoisonError::into_inner));
            running.extend(more);
            let mut ended = false;
            while let Poll::Ready(Some(())) = running.poll_next_unpin(context) {
                ended = true;
            }
            let none = fresh.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
            if none && !ended {
                return Poll::Pending;
            }
        }
    })
    .await;
}
