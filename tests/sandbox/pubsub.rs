//! The Pub/Sub face of the sandbox, spoken to with messages and an Avro reader of the test's own.

#![cfg(feature = "sandbox-pubsub")]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::bayeux;
use crate::raw_http;

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use bayeux::script;
use crm_sync::host::Host;
use crm_sync::sandbox::Sandbox;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use prost::Message;
use raw_http::Org;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status, Streaming};

#[derive(Clone, PartialEq, Message)]
struct Name {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Topic {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bool, tag = "3")]
    can_publish: bool,
    #[prost(bool, tag = "4")]
    can_subscribe: bool,
    #[prost(string, tag = "5")]
    schema_id: String,
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
struct Fetch {
    #[prost(string, tag = "1")]
    topic: String,
    #[prost(int32, tag = "2")]
    preset: i32,
    #[prost(bytes = "vec", tag = "3")]
    replay_id: Vec<u8>,
    #[prost(int32, tag = "4")]
    more: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Fetched {
    #[prost(message, repeated, tag = "1")]
    events: Vec<Received>,
    #[prost(bytes = "vec", tag = "2")]
    latest: Vec<u8>,
    #[prost(string, tag = "3")]
    rpc: String,
    #[prost(int32, tag = "4")]
    pending: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Publish {
    #[prost(string, tag = "1")]
    topic: String,
    #[prost(message, repeated, tag = "2")]
    events: Vec<Event>,
}

#[derive(Clone, PartialEq, Message)]
struct Fault {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    text: String,
}

#[derive(Clone, PartialEq, Message)]
struct Outcome {
    #[prost(bytes = "vec", tag = "1")]
    replay_id: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    error: Option<Fault>,
    #[prost(string, tag = "3")]
    key: String,
}

#[derive(Clone, PartialEq, Message)]
struct Published {
    #[prost(message, repeated, tag = "1")]
    results: Vec<Outcome>,
    #[prost(string, tag = "2")]
    schema_id: String,
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

/// Hands out one connection that the sandbox serves over plain pipes.
#[derive(Clone)]
struct Pipes(Sandbox);

impl tonic::codegen::Service<Uri> for Pipes {
    type Response = TokioIo<TcpStream>;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Result<TokioIo<TcpStream>, std::io::Error>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, _: Uri) -> Self::Future {
        let sandbox = self.0.clone();
        Box::pin(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let near = TcpStream::connect(listener.local_addr()?).await?;
            let (far, _) = listener.accept().await?;
            #[allow(clippy::disallowed_methods, reason = "the test has a runtime of its own")]
            tokio::spawn(async move { sandbox.serve_pubsub_over(far).await });
            Ok(TokioIo::new(near))
        })
    }
}

struct Client {
    org: Org,
    channel: Channel,
    tenant: String,
}

impl Client {
    async fn new() -> Self {
        let (_, clock) = Host::manual_with_clock(1);
        let org = Org::over(Sandbox::new(Host::tokio(), 1), clock);
        Self::of(org).await
    }

    async fn of(org: Org) -> Self {
        let channel = Endpoint::from_static("http://sandbox").connect_with_connector(Pipes(org.sandbox.clone())).await.unwrap();
        let tenant = org.sandbox.salesforce("http://localhost").organization_id;
        Self { org, channel, tenant }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for (name, value) in [("accesstoken", self.org.token.as_str()), ("instanceurl", "https://localhost"), ("tenantid", &self.tenant)] {
            if !value.is_empty() {
                request.metadata_mut().insert(name, value.parse().unwrap());
            }
        }
        request
    }

    async fn call<Q: Message + 'static, R: Message + Default + 'static>(&self, method: &str, message: Q) -> Result<R, Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        let path = format!("/eventbus.v1.PubSub/{method}").parse().unwrap();
        grpc.unary(self.request(message), path, Proto::<Q, R>(PhantomData)).await.map(tonic::Response::into_inner)
    }

    async fn topic(&self, name: &str) -> Result<Topic, Status> {
        self.call("GetTopic", Name { name: name.to_owned() }).await
    }

    async fn schema(&self, id: &str) -> Schema {
        let found: Name = self.call("GetSchema", Name { name: id.to_owned() }).await.unwrap();
        Schema::parse_str(&found.name).unwrap()
    }

    async fn subscribe(&self, asks: impl futures_util::Stream<Item = Fetch> + Send + 'static) -> Result<Streaming<Fetched>, Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        let path = "/eventbus.v1.PubSub/Subscribe".parse().unwrap();
        let asks: Pin<Box<dyn futures_util::Stream<Item = Fetch> + Send>> = Box::pin(asks);
        grpc.streaming(self.request(asks), path, Proto::<Fetch, Fetched>(PhantomData)).await.map(tonic::Response::into_inner)
    }

    /// A stream that asks these and then nothing more.
    async fn open(&self, asks: Vec<Fetch>) -> Streaming<Fetched> {
        self.subscribe(futures_util::stream::iter(asks).chain(futures_util::stream::pending())).await.unwrap()
    }

    async fn refusal(&self, ask: Fetch) -> (Code, String) {
        let status = match self.subscribe(futures_util::stream::iter([ask])).await {
            Err(status) => status,
            Ok(mut answers) => answers.next().await.unwrap().unwrap_err(),
        };
        (status.code(), code(&status))
    }

    async fn read(&self, received: &Received) -> Vec<(String, Avro)> {
        let event = received.event.as_ref().unwrap();
        let schema = self.schema(&event.schema_id).await;
        let reader = GenericDatumReader::builder(&schema).build().unwrap();
        match reader.read_value(&mut event.payload.as_slice()).unwrap() {
            Avro::Record(fields) => fields,
            other => panic!("{other:?}"),
        }
    }
}

fn code(status: &Status) -> String {
    assert!(status.metadata().get("rpc-id").is_some());
    status.metadata().get("error-code").unwrap().to_str().unwrap().strip_prefix("sfdc.platform.eventbus.grpc.").unwrap().to_owned()
}

fn ask(topic: &str, preset: i32, more: i32) -> Fetch {
    Fetch { topic: topic.to_owned(), preset, replay_id: Vec::new(), more }
}

const LEADS: &str = "/data/LeadChangeEvent";

#[tokio::test]
async fn every_call_carries_who_calls() {
    let mut client = Client::new().await;
    assert!(client.topic(LEADS).await.is_ok());
    client.tenant.truncate(15);
    assert!(client.topic(LEADS).await.is_ok());
    for (token, tenant) in [("", "keep"), ("nonsense", "keep"), ("keep", "00D000000000000AAA"), ("keep", "")] {
        let mut other = Client {
            org: Org::over(client.org.sandbox.clone(), client.org.clock.clone()),
            channel: client.channel.clone(),
            tenant: client.tenant.clone(),
        };
        if token != "keep" {
            other.org.token = token.to_owned();
        }
        if tenant != "keep" {
            other.tenant = tenant.to_owned();
        }
        let status = other.topic(LEADS).await.unwrap_err();
        assert_eq!((status.code(), code(&status).as_str()), (Code::Unauthenticated, "service.auth.error"));
    }
    client.org.sandbox.expire_tokens().unwrap();
    assert_eq!(client.topic(LEADS).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn topics_and_schemas() {
    let client = Client::new().await;
    let leads = client.topic(LEADS).await.unwrap();
    assert!(leads.can_subscribe && !leads.can_publish && leads.schema_id.len() == 22);
    assert!(client.topic("/event/Lead_Signal__e").await.unwrap().can_publish);
    assert!(client.topic("/data/ChangeEvents").await.unwrap().schema_id.is_empty());
    for name in ["/topic/Leads", "/u/x", "/data/None__chn", "nonsense"] {
        assert_eq!(client.topic(name).await.unwrap_err().code(), Code::NotFound);
    }
    let Schema::Record(record) = client.schema(&leads.schema_id).await else { panic!("no record") };
    assert_eq!(record.fields[0].name, "ChangeEventHeader");
    client.org.sandbox.add_field("Lead", crm_sync::sandbox::FieldDef::text("New__c", 10)).unwrap();
    let after = client.topic(LEADS).await.unwrap();
    assert_ne!(after.schema_id, leads.schema_id);
    let Schema::Record(old) = client.schema(&leads.schema_id).await else { panic!("no record") };
    assert_eq!(old.fields.len(), record.fields.len());
}

#[tokio::test]
async fn a_subscription_delivers_what_it_is_asked_for() {
    let client = Client::new().await;
    let mut answers = client.open(vec![ask(LEADS, 0, 2), Fetch { more: 500, ..Fetch::default() }]).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let id = client.org.lead("Müller");
    let first = answers.next().await.unwrap().unwrap();
    // More than a hundred are never owed.
    assert_eq!((first.events.len(), first.pending), (1, 99));
    assert_eq!(first.latest, first.events[0].replay_id);
    let fields = client.read(&first.events[0]).await;
    let Avro::Record(header) = &fields[0].1 else { panic!("no header") };
    assert_eq!(header[1].1, Avro::Array(vec![Avro::String(id.clone())]));
    assert_eq!(header[2].1, Avro::Enum(0, "CREATE".to_owned()));
    client.org.patch(&format!("/sobjects/Lead/{id}"), json!({"Title": "CTO", "Status": "Working - Contacted"}));
    client.org.patch(&format!("/sobjects/Lead/{id}"), json!({"Title": null, "City": "Bern"}));
    let mut events = Vec::new();
    while events.len() < 2 {
        events.extend(answers.next().await.unwrap().unwrap().events);
    }
    let fields = client.read(&events[1]).await;
    let at = |name: &str| fields.iter().position(|(known, _)| known == name).unwrap();
    let Avro::Record(header) = &fields[0].1 else { panic!("no header") };
    let maps = |field: usize| match &header[field].1 {
        Avro::Array(list) => list.iter().map(|map| if let Avro::String(map) = map { map.clone() } else { panic!("no text") }).collect(),
        _ => Vec::new(),
    };
    let bits = |map: &str| u128::from_str_radix(map.strip_prefix("0x").unwrap(), 16).unwrap();
    let (nulled, changed): (Vec<String>, Vec<String>) = (maps(9), maps(11));
    assert_eq!(bits(&nulled[0]), 1 << at("Title"));
    assert_eq!(bits(&changed[0]), 1 << at("Title") | 1 << at("LastModifiedDate"));
    assert_eq!(changed[1], format!("{}-0x02", at("Address")));
    // Unchanged fields are null without having been cleared.
    assert_eq!(fields[at("Status")].1, Avro::Union(0, Box::new(Avro::Null)));
    let mut later = client.open(vec![Fetch { replay_id: first.latest.clone(), ..ask(LEADS, 2, 10) }]).await;
    assert_eq!(later.next().await.unwrap().unwrap().events.len(), 2);
    let mut all = client.open(vec![ask("/data/ChangeEvents", 1, 10)]).await;
    assert_eq!(all.next().await.unwrap().unwrap().events.len(), 3);
}

#[tokio::test]
async fn bad_requests_are_refused_with_their_codes() {
    let client = Client::new().await;
    client.org.lead("A");
    let custom = |replay: &[u8]| Fetch { replay_id: replay.to_vec(), ..ask(LEADS, 2, 1) };
    let corrupted = "subscription.fetch.replayid.corrupted";
    assert_eq!(client.refusal(custom(&4711_u64.to_be_bytes())).await, (Code::InvalidArgument, corrupted.to_owned()));
    assert_eq!(client.refusal(custom(b"xx")).await.1, "subscription.fetch.replayid.validation.failed");
    assert_eq!(client.refusal(ask(LEADS, 0, 0)).await.0, Code::InvalidArgument);
    assert_eq!(client.refusal(ask("", 0, 1)).await.0, Code::InvalidArgument);
    assert_eq!(client.refusal(ask("/topic/X", 0, 1)).await.0, Code::NotFound);
    let mut answers = client.open(vec![ask(LEADS, 0, 1), ask("/data/AccountChangeEvent", 0, 1)]).await;
    assert_eq!(answers.next().await.unwrap().unwrap_err().code(), Code::InvalidArgument);
    let mut answers = client.open(vec![ask(LEADS, 1, 1)]).await;
    let seen = answers.next().await.unwrap().unwrap().latest;
    script(&client.org, json!({"do": "expire"}));
    assert_eq!(client.refusal(custom(&seen)).await.1, corrupted);
    script(&client.org, json!({"do": "break", "method": "GetTopic", "status": 14, "error_code": "service.unavailable"}));
    assert_eq!(client.topic(LEADS).await.unwrap_err().code(), Code::Unavailable);
    assert!(client.topic(LEADS).await.is_ok());
    let mut open = client.open(vec![ask(LEADS, 0, 1)]).await;
    script(&client.org, json!({"do": "cut"}));
    assert_eq!(open.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
    let mut open = client.open(vec![ask(LEADS, 0, 1)]).await;
    client.org.sandbox.expire_tokens().unwrap();
    assert_eq!(open.next().await.unwrap().unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_quiet_stream_says_that_it_lives_and_an_idle_one_is_closed() {
    // The clock moves with the waiting: nothing here takes its real time.
    let client = Client::of(Org::new()).await;
    let start = client.org.clock_now();
    let mut answers = client.open(vec![ask(LEADS, 0, 3)]).await;
    let first = answers.next().await.unwrap().unwrap();
    assert!(first.events.is_empty() && first.pending == 3);
    assert!((270..300).contains(&(client.org.clock_now() - start)), "{}", client.org.clock_now() - start);
    drop(answers);
    let mut resumed = client.open(vec![Fetch { replay_id: first.latest, ..ask(LEADS, 2, 1) }]).await;
    let wrote = client.org.clock_now();
    client.org.lead("A");
    assert_eq!(resumed.next().await.unwrap().unwrap().pending, 0);
    assert!(resumed.next().await.is_none());
    let closed = client.org.clock_now() - wrote;
    assert!((60..600).contains(&closed), "{closed}");
}

#[tokio::test]
async fn platform_events_are_published() {
    let client = Client::new().await;
    let topic = client.topic("/event/Lead_Signal__e").await.unwrap();
    let schema = client.schema(&topic.schema_id).await;
    let text = |value: &str| Avro::Union(1, Box::new(Avro::String(value.to_owned())));
    let none = || Avro::Union(0, Box::new(Avro::Null));
    let record = |signal: Avro| {
        let fields = [
            ("CreatedDate", Avro::Long(0)),
            ("CreatedById", Avro::String("005".to_owned())),
            ("Lead_Id__c", none()),
            ("Signal__c", signal),
            ("Score__c", Avro::Union(1, Box::new(Avro::Double(1.5)))),
            ("Seen_At__c", none()),
            ("Is_Test__c", none()),
        ];
        let record = Avro::Record(fields.map(|(name, value)| (name.to_owned(), value)).to_vec());
        GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(record).unwrap()
    };
    let event = |id: &str, payload: Vec<u8>| Event { id: id.to_owned(), schema_id: topic.schema_id.clone(), payload };
    let mut answers = client.open(vec![ask("/event/Lead_Signal__e", 1, 5)]).await;
    let good = record(text("visit"));
    let events = vec![
        event("good", good.clone()),
        event("torn", good[..good.len() - 4].to_vec()),
        event("empty", record(none())),
        Event { schema_id: "other".to_owned(), ..event("schema", good.clone()) },
    ];
    let done: Published = client.call("Publish", Publish { topic: "/event/Lead_Signal__e".to_owned(), events }).await.unwrap();
    let keys: Vec<(&str, bool)> = done.results.iter().map(|result| (result.key.as_str(), result.error.is_none())).collect();
    assert_eq!(keys, [("good", true), ("torn", false), ("empty", false), ("schema", false)]);
    assert!(done.results[1..].iter().all(|result| result.error.as_ref().unwrap().code == 1));
    let got = answers.next().await.unwrap().unwrap();
    assert_eq!(got.events[0].replay_id, done.results[0].replay_id);
    let fields = client.read(&got.events[0]).await;
    assert_eq!(fields[3].1, text("visit"));
    assert_ne!(fields[0].1, Avro::Long(0));
    let refused: Result<Published, Status> =
        client.call("Publish", Publish { topic: LEADS.to_owned(), events: vec![event("x", good.clone())] }).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let many = vec![event("x", good); 201];
    let refused: Result<Published, Status> =
        client.call("Publish", Publish { topic: "/event/Lead_Signal__e".to_owned(), events: many }).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn both_faces_are_served_by_one_future() {
    let sandbox = Sandbox::new(Host::tokio(), 1);
    let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", http.local_addr().unwrap());
    let pubsub = sandbox.pubsub(TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
    let access = sandbox.salesforce(&base);
    assert_eq!(access.pubsub_url.as_deref(), Some(pubsub.url()));
    assert!(access.pubsub_ca_pem.unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    let port = pubsub.url().rsplit_once(':').unwrap().1.to_owned();
    let serving = sandbox.serve_with_pubsub(http, pubsub.clone(), async {
        let tls = tls(pubsub.ca_pem(), &port).await;
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        let other = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).await;
        assert!(other.is_ok());
    });
    serving.await.unwrap();
}

async fn tls(pem: &str, port: &str) -> tokio_rustls::client::TlsStream<TcpStream> {
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(std::sync::Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
}
