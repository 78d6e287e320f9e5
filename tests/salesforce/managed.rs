//! Managed subscriptions against a scripted event bus: commits, an interruption, and what comes twice.

#![cfg(all(feature = "pubsub", feature = "sandbox-pubsub"))]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use apache_avro::Schema;
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use crm_sync::host::Host;
use crm_sync::pace::RetryPolicy;
use crm_sync::salesforce::stream::pubsub::{ManagedSubscription, PubSub};
use crm_sync::salesforce::stream::{ReplayId, StreamEvent, StreamMessage, StreamOptions, StreamState};
use crm_sync::salesforce::{Salesforce, SalesforceConfig};
use crm_sync::sandbox::Sandbox;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use prost::Message;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::Service;
use tonic::{Request, Response, Status, Streaming};

const SCHEMA: &str = r#"{"type":"record","name":"Ping__e","fields":[{"name":"Text__c","type":["null","string"]}]}"#;

#[derive(Clone, PartialEq, Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    schema_id: String,
    #[prost(bytes = "vec", tag = "3")]
    payload: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Received {
    #[prost(message, optional, tag = "1")]
    event: Option<Event>,
    #[prost(bytes = "vec", tag = "2")]
    replay_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Commit {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(bytes = "vec", tag = "2")]
    replay_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Ask {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(int32, tag = "3")]
    more: i32,
    #[prost(message, optional, tag = "5")]
    commit: Option<Commit>,
}

#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(message, repeated, tag = "1")]
    events: Vec<Received>,
    #[prost(bytes = "vec", tag = "2")]
    latest: Vec<u8>,
    #[prost(int32, tag = "4")]
    pending: i32,
    #[prost(message, optional, tag = "5")]
    commit: Option<Commit>,
}

struct Proto<E, D>(PhantomData<fn() -> (E, D)>);
struct Way<M>(PhantomData<fn() -> M>);

impl<E: Message + 'static, D: Message + Default + 'static> Codec for Proto<E, D> {
    type Encode = E;
    type Decode = D;
    type Encoder = Way<E>;
    type Decoder = Way<D>;
    fn encoder(&mut self) -> Way<E> {
        Way(PhantomData)
    }
    fn decoder(&mut self) -> Way<D> {
        Way(PhantomData)
    }
}

impl<M: Message + 'static> Encoder for Way<M> {
    type Item = M;
    type Error = Status;
    fn encode(&mut self, item: M, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl<M: Message + Default + 'static> Decoder for Way<M> {
    type Item = M;
    type Error = Status;
    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        M::decode(buffer).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// What was asked, call by call.
#[derive(Clone, Default)]
struct Bus(Arc<Mutex<Vec<Vec<Ask>>>>);

fn event(number: u8) -> Received {
    let schema = Schema::parse_str(SCHEMA).unwrap();
    let text = Avro::Union(1, Box::new(Avro::String(format!("text {number}"))));
    let payload = GenericDatumWriter::builder(&schema).build().unwrap();
    let payload = payload.write_value_to_vec(Avro::Record(vec![("Text__c".to_owned(), text)])).unwrap();
    Received { event: Some(Event { id: format!("event-{number}"), schema_id: "schema".to_owned(), payload }), replay_id: vec![number] }
}

impl Bus {
    /// The first call delivers 1 and 2 and breaks at a commit; the second delivers 2 again, then 3, and keeps the commit.
    fn answer(&self, call: usize, ask: &Ask) -> Result<Answer, Status> {
        self.0.lock().unwrap()[call].push(ask.clone());
        let pending = 100;
        match (call, &ask.commit) {
            (0, Some(_)) => Err(Status::unavailable("")),
            (_, Some(commit)) => Ok(Answer { commit: Some(commit.clone()), pending, ..Answer::default() }),
            _ if !ask.name.is_empty() => {
                let first = u8::try_from(call).unwrap() + 1;
                Ok(Answer { events: vec![event(first), event(first + 1)], latest: vec![first + 1], pending, commit: None })
            }
            _ => Ok(Answer { pending, ..Answer::default() }),
        }
    }
}

impl tonic::server::StreamingService<Ask> for Bus {
    type Response = Answer;
    type ResponseStream = BoxStream<'static, Result<Answer, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;
    fn call(&mut self, request: Request<Streaming<Ask>>) -> Self::Future {
        assert_eq!(request.metadata().get("tenantid").unwrap(), "00DAb0000001OrgMAE");
        let bus = self.clone();
        let call = {
            let mut calls = bus.0.lock().unwrap();
            calls.push(Vec::new());
            calls.len() - 1
        };
        let answers = request.into_inner().map(move |ask| bus.answer(call, &ask?));
        Box::pin(async move { Ok(Response::new(answers.boxed())) })
    }
}

impl tonic::server::UnaryService<Text> for Bus {
    type Response = Text;
    type Future = BoxFuture<'static, Result<Response<Text>, Status>>;
    fn call(&mut self, _: Request<Text>) -> Self::Future {
        Box::pin(async { Ok(Response::new(Text { text: SCHEMA.to_owned() })) })
    }
}

impl Service<http::Request<tonic::body::Body>> for Bus {
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let bus = self.clone();
        Box::pin(async move {
            Ok(if request.uri().path().ends_with("/ManagedSubscribe") {
                tonic::server::Grpc::new(Proto::<Answer, Ask>(PhantomData)).streaming(bus, request).await
            } else {
                tonic::server::Grpc::new(Proto::<Text, Text>(PhantomData)).unary(bus, request).await
            })
        })
    }
}

#[tokio::test]
async fn what_is_committed_is_told_again_until_it_is_kept() {
    let sandbox = Sandbox::new(Host::manual(1), 1);
    let access = sandbox.salesforce(Sandbox::IN_PROCESS_URL);
    let config = SalesforceConfig::with_access_token(&access.instance_url, access.access_token.into());
    let crm = Salesforce::new(config, sandbox.transport(), Host::tokio()).unwrap();
    let bus = Bus::default();
    let api = PubSub::new(&crm, bus.clone()).organization("00DAb0000001Org").unwrap();
    let policy = RetryPolicy::new().initial(Duration::from_millis(5));
    let options = StreamOptions::new().retry(policy);
    let mut stream = api.subscribe_managed(ManagedSubscription::Name("Pings".to_owned()), 10, options).unwrap();
    let mut messages: Vec<StreamMessage> = Vec::new();
    let mut states = Vec::new();
    while messages.len() < 3 {
        match tokio::time::timeout(Duration::from_secs(10), stream.next()).await.expect("nothing came").unwrap().unwrap() {
            StreamEvent::Message(message) => {
                if messages.is_empty() {
                    stream.commit(message.position.as_ref().unwrap()).unwrap();
                }
                messages.push(message);
            }
            StreamEvent::Health(health) => states.push(health.state),
            _ => {}
        }
    }
    let told: Vec<&str> = messages.iter().map(|message| message.payload["Text__c"].as_str().unwrap()).collect();
    assert_eq!(told, ["text 1", "text 2", "text 3"]);
    assert_eq!(messages[2].position.as_ref().unwrap().replay_id, ReplayId::from_bytes(&[3]));
    assert_eq!(messages[0].name.as_deref(), Some("Ping__e"));
    assert_eq!(states, [StreamState::Connected, StreamState::Reconnecting, StreamState::Connected]);
    let calls = bus.0.lock().unwrap().clone();
    assert_eq!((calls.len(), calls[0][0].name.as_str(), calls[0][0].more), (2, "Pings", 10));
    for call in &calls {
        let commits: Vec<&Commit> = call.iter().filter_map(|ask| ask.commit.as_ref()).collect();
        assert_eq!((commits.len(), commits[0].replay_id.as_slice()), (1, [1].as_slice()), "{calls:?}");
    }
    assert_ne!(calls[0].last().unwrap().commit.as_ref().unwrap().id, "");
}
