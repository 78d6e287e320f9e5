//! The host's connection, whatever it is.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, Service, StdError};
use tonic::transport::Endpoint;
#[cfg(feature = "rustls")]
use tonic::transport::{Certificate, ClientTlsConfig};

use crate::error::{Error, Result};

type Request = http::Request<Body>;
type Response = http::Response<Body>;
type Answer = BoxFuture<'static, Result<Response, StdError>>;

/// A service of any type.
#[derive(Clone)]
pub(super) struct AnyService(Arc<dyn Call>);

trait Call: Send + Sync {
    fn call(&self, request: Request) -> Answer;
}

/// In a lock, as a service need not be shared between threads but cloned.
struct Held<S>(Mutex<S>);

impl<S, B> Call for Held<S>
where
    S: Service<Request, Response = http::Response<B>> + Clone + Send + 'static,
    S::Error: Into<StdError>,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError>,
{
    fn call(&self, request: Request) -> Answer {
        let mut service = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            poll_fn(|context| service.poll_ready(context)).await.map_err(Into::into)?;
            let answer = service.call(request).await.map_err(Into::into)?;
            Ok(answer.map(Body::new))
        })
    }
}

impl AnyService {
    pub(super) fn new<S, B>(service: S) -> Self
    where
        S: Service<Request, Response = http::Response<B>> + Clone + Send + 'static,
        S::Error: Into<StdError>,
        S::Future: Send,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<StdError>,
    {
        Self(Arc::new(Held(Mutex::new(service))))
    }
}

impl Service<Request> for AnyService {
    type Response = Response;
    type Error = StdError;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        // The clone that is called waits until it is ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Answer {
        self.0.call(request)
    }
}

/// Where the Pub/Sub API answers, e.g. `https://api.pubsub.salesforce.com:7443`, with pings that keep a silent connection from
/// being forgotten on its way. With `https` and the feature `rustls` the platform's certificates are trusted; without the
/// feature the host sets up TLS itself (a connector of its own, or a service).
///
/// # Errors
/// [`ErrorKind::Config`](crate::error::ErrorKind::Config) if `url` is none, or TLS cannot be set up.
pub fn endpoint(url: &str) -> Result<Endpoint> {
    let endpoint = plain(url)?;
    #[cfg(feature = "rustls")]
    if url.starts_with("https") {
        return endpoint.tls_config(ClientTlsConfig::new().with_native_roots()).map_err(no_tls);
    }
    Ok(endpoint)
}

/// As [`endpoint`], trusting this authority alone (PEM): for a proxy or a test server.
///
/// # Errors
/// As [`endpoint`].
#[cfg(feature = "rustls")]
pub fn endpoint_with_ca(url: &str, pem: &str) -> Result<Endpoint> {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
    plain(url)?.tls_config(tls).map_err(no_tls)
}

fn plain(url: &str) -> Result<Endpoint> {
    let endpoint = Endpoint::from_shared(url.to_owned());
    let endpoint =
        endpoint.map_err(|_| Error::config("the URL of the Pub/Sub API is not one; it is like https://api.pubsub.salesforce.com:7443"))?;
    let endpoint = endpoint.connect_timeout(Duration::from_secs(10)).keep_alive_timeout(Duration::from_secs(20));
    Ok(endpoint.http2_keep_alive_interval(Duration::from_secs(60)).keep_alive_while_idle(true).tcp_nodelay(true))
}

#[cfg(feature = "rustls")]
fn no_tls(error: tonic::transport::Error) -> Error {
    Error::config("TLS to the Pub/Sub API could not be set up; is there a certificate store on this machine?").with_source(error)
}
