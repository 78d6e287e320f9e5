//! From gRPC paths to calls.

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use hyper::body::Incoming;
use prost::Message;
use tonic::body::Body;
use tonic::server::{Grpc, StreamingService, UnaryService};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::sandbox::api::Sandbox;
use crate::sandbox::pubsub::calls::{self, Caller, caller};
use crate::sandbox::pubsub::codec::Proto;
use crate::sandbox::pubsub::feed::{Ask, Given, feed};
use crate::sandbox::pubsub::messages::{
    FetchRequest, FetchResponse, ManagedFetchRequest, ManagedFetchResponse, PublishRequest, PublishResponse, SchemaInfo, SchemaRequest,
    TopicInfo, TopicRequest,
};
use crate::sandbox::pubsub::refusal::refuse;

/// The largest message that is read at all; larger ones are refused by the call itself.
const LARGEST: usize = 16 * 1024 * 1024;

/// A call with one answer.
struct Once<Q, R> {
    sandbox: Sandbox,
    method: &'static str,
    run: fn(&Sandbox, &Caller, Q) -> Result<R, Status>,
}

impl<Q: Send + 'static, R: Send + 'static> UnaryService<Q> for Once<Q, R> {
    type Response = R;
    type Future = BoxFuture<'static, Result<Response<R>, Status>>;

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let result = caller(&self.sandbox, request.metadata(), self.method)
            .and_then(|caller| (self.run)(&self.sandbox, &caller, request.into_inner()))
            .map(Response::new);
        Box::pin(std::future::ready(result))
    }
}

type Answers<R> = BoxStream<'static, Result<R, Status>>;

/// A call with a stream of answers.
struct Stream<Q, R> {
    sandbox: Sandbox,
    method: &'static str,
    run: fn(Sandbox, Caller, Streaming<Q>) -> Answers<R>,
}

impl<Q: Send + 'static, R: Send + 'static> StreamingService<Q> for Stream<Q, R> {
    type Response = R;
    type ResponseStream = Answers<R>;
    type Future = BoxFuture<'static, Result<Response<Answers<R>>, Status>>;

    fn call(&mut self, request: Request<Streaming<Q>>) -> Self::Future {
        let result = caller(&self.sandbox, request.metadata(), self.method);
        let (sandbox, run) = (self.sandbox.clone(), self.run);
        Box::pin(async move { Ok(Response::new(run(sandbox, result?, request.into_inner()))) })
    }
}

fn publish_stream(sandbox: Sandbox, caller: Caller, incoming: Streaming<PublishRequest>) -> Answers<PublishResponse> {
    let state = (sandbox, caller, incoming, false);
    Box::pin(stream::unfold(state, |(sandbox, caller, mut incoming, over)| async move {
        if over {
            return None;
        }
        let now = sandbox.host().now();
        let result = match incoming.next().await? {
            Err(status) => Err(status),
            Ok(request) => {
                let alive = caller.check(&mut sandbox.world(), now);
                alive.and_then(|()| calls::publish(&sandbox, &caller, &request))
            }
        };
        let over = result.is_err();
        Some((result, (sandbox, caller, incoming, over)))
    }))
}

async fn once<Q, R>(
    sandbox: Sandbox,
    method: &'static str,
    run: fn(&Sandbox, &Caller, Q) -> Result<R, Status>,
    request: http::Request<Incoming>,
) -> http::Response<Body>
where
    Q: Message + Default + 'static,
    R: Message + 'static,
{
    let mut grpc = Grpc::new(Proto::<R, Q>::new()).max_decoding_message_size(LARGEST);
    grpc.unary(Once { sandbox, method, run }, request).await
}

async fn streaming<Q, R>(
    sandbox: Sandbox,
    method: &'static str,
    run: fn(Sandbox, Caller, Streaming<Q>) -> Answers<R>,
    request: http::Request<Incoming>,
) -> http::Response<Body>
where
    Q: Message + Default + 'static,
    R: Message + 'static,
{
    let mut grpc = Grpc::new(Proto::<R, Q>::new()).max_decoding_message_size(LARGEST);
    grpc.streaming(Stream { sandbox, method, run }, request).await
}

fn subscription<Q: Into<Ask> + Send + 'static, R: From<Given> + Send + 'static>(
    sandbox: Sandbox,
    caller: Caller,
    incoming: Streaming<Q>,
) -> Answers<R> {
    feed(sandbox, caller, incoming)
}

/// Answers a gRPC request.
pub(crate) async fn answer(sandbox: Sandbox, request: http::Request<Incoming>) -> http::Response<Body> {
    let path = request.uri().path().to_owned();
    match path.strip_prefix("/eventbus.v1.PubSub/") {
        Some("GetTopic") => once::<TopicRequest, TopicInfo>(sandbox, "GetTopic", calls::get_topic, request).await,
        Some("GetSchema") => {
            once::<SchemaRequest, SchemaInfo>(
                sandbox,
                "GetSchema",
                |sandbox, caller, request| calls::get_schema(sandbox, caller, &request),
                request,
            )
            .await
        }
        Some("Publish") => {
            once::<PublishRequest, PublishResponse>(
                sandbox,
                "Publish",
                |sandbox, caller, request| calls::publish(sandbox, caller, &request),
                request,
            )
            .await
        }
        Some("PublishStream") => streaming::<PublishRequest, PublishResponse>(sandbox, "PublishStream", publish_stream, request).await,
        Some("Subscribe") => streaming::<FetchRequest, FetchResponse>(sandbox, "Subscribe", subscription, request).await,
        Some("ManagedSubscribe") => {
            streaming::<ManagedFetchRequest, ManagedFetchResponse>(sandbox, "ManagedSubscribe", subscription, request).await
        }
        _ => refuse(Code::Unimplemented, "service.method.unknown", "There is no such method.", "").into_http(),
    }
}
