//! The calls that are answered once: topics and schemas.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use secrecy::ExposeSecret;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codegen::{Body as HttpBody, Service, StdError};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Response, Status};

use crate::auth::AccessToken;
use crate::error::{Error, ErrorKind, Result};
use crate::salesforce::client::Salesforce;
use crate::salesforce::ids;
use crate::salesforce::stream::pubsub::codec::Proto;
use crate::salesforce::stream::pubsub::proto::{SchemaInfo, SchemaRequest, TopicReply, TopicRequest};
use crate::salesforce::stream::pubsub::schema::EventSchema;
use crate::salesforce::stream::pubsub::service::AnyService;
use crate::salesforce::stream::pubsub::status::{error, fault};
use crate::salesforce::stream::session::within;

/// A call that is answered at once has this long.
const ANSWER: Duration = Duration::from_secs(30);
/// Answers hold up to a hundred events of up to 1 MB.
const LONGEST_ANSWER: usize = 128 << 20;
/// Schemas change when an object does; so many are kept.
const SCHEMAS: usize = 512;

/// A topic, as it is told to this user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicInfo {
    /// Its name: `/data/LeadChangeEvent`, `/event/Order_Placed__e`.
    pub name: String,
    /// Whether this user may publish to it.
    pub can_publish: bool,
    /// Whether this user may subscribe to it.
    pub can_subscribe: bool,
    /// The id of its newest schema; `None` for a channel of several events.
    pub schema_id: Option<String>,
}

/// The Pub/Sub API of an org, by the connection's token and over a channel of the host's. Clones share schemas.
#[derive(Clone)]
pub struct PubSub {
    pub(super) crm: Salesforce,
    service: AnyService,
    tenant: Arc<Mutex<Option<String>>>,
    schemas: Arc<Mutex<HashMap<String, Arc<EventSchema>>>>,
}

impl fmt::Debug for PubSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSub").field("crm", &self.crm).finish_non_exhaustive()
    }
}

impl PubSub {
    /// The event bus of the org of `crm`, over `service`: a `tonic::transport::Channel`, or any other service that sends gRPC
    /// requests. Nothing is sent yet.
    pub fn new<S, B>(crm: &Salesforce, service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + 'static,
        S::Error: Into<StdError>,
        S::Future: Send,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<StdError>,
    {
        Self { crm: crm.clone(), service: AnyService::new(service), tenant: Arc::default(), schemas: Arc::default() }
    }

    /// The org's id. Default: the beginning of the token, or else what the user's information says (one request).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if it is no id.
    pub fn organization(self, id: &str) -> Result<Self> {
        let id = ids::to_18(id)?;
        *self.tenant.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
        Ok(self)
    }

    /// A topic.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there is none of this name that the user sees; [`ErrorKind::Permission`],
    /// [`ErrorKind::Authentication`], [`ErrorKind::Unavailable`], [`ErrorKind::Timeout`].
    pub async fn topic(&self, name: &str) -> Result<TopicInfo> {
        let request = TopicRequest { topic_name: name.to_owned() };
        let reply: TopicReply = self.unary("/eventbus.v1.PubSub/GetTopic", request).await.map_err(|error| error.during("topic"))?;
        Ok(TopicInfo {
            name: reply.topic_name,
            can_publish: reply.can_publish,
            can_subscribe: reply.can_subscribe,
            schema_id: Some(reply.schema_id).filter(|id| !id.is_empty()),
        })
    }

    /// A schema, as Avro writes it in JSON.
    ///
    /// # Errors
    /// As [`PubSub::topic`].
    pub async fn schema(&self, id: &str) -> Result<String> {
        let request = SchemaRequest { schema_id: id.to_owned() };
        let reply: SchemaInfo = self.unary("/eventbus.v1.PubSub/GetSchema", request).await.map_err(|error| error.during("schema"))?;
        Ok(reply.schema_json)
    }

    /// A schema made ready, asked for once.
    pub(super) async fn event_schema(&self, id: &str) -> Result<Arc<EventSchema>> {
        if let Some(known) = self.schemas().get(id) {
            return Ok(Arc::clone(known));
        }
        let mut schema = EventSchema::parse(&self.schema(id).await?)?;
        match self.crm.schema(&schema.entity()).await {
            Ok(described) => schema.describe(&described),
            Err(error) if error.is_retryable() => return Err(error),
            // Not every event can be described by every user; then names decide what is a time.
            Err(_) => {}
        }
        let schema = Arc::new(schema);
        let mut schemas = self.schemas();
        if schemas.len() >= SCHEMAS {
            schemas.clear();
        }
        schemas.insert(id.to_owned(), Arc::clone(&schema));
        Ok(schema)
    }

    fn schemas(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<EventSchema>>> {
        self.schemas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn grpc(&self) -> Grpc<AnyService> {
        Grpc::new(self.service.clone()).max_decoding_message_size(LONGEST_ANSWER)
    }

    pub(super) async fn token(&self) -> Result<AccessToken> {
        self.crm.rest.tokens().token().await
    }

    pub(super) async fn renew(&self, stale: &AccessToken) -> Result<AccessToken> {
        self.crm.rest.tokens().refresh(stale).await
    }

    /// One call, and one more if the token had expired.
    async fn unary<Q, R>(&self, path: &'static str, message: Q) -> Result<R>
    where
        Q: Message + Clone + 'static,
        R: Message + Default + 'static,
    {
        let token = self.token().await?;
        let status = match self.once(path, message.clone(), &token).await? {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => status,
        };
        if status.code() != Code::Unauthenticated {
            return Err(error(fault(&status)));
        }
        let token = self.renew(&token).await?;
        self.once(path, message, &token).await?.map(Response::into_inner).map_err(|status| error(fault(&status)))
    }

    async fn once<Q, R>(&self, path: &'static str, message: Q, token: &AccessToken) -> Result<Result<Response<R>, Status>>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        let request = self.request(message, token).await?;
        let mut grpc = self.grpc();
        let call = grpc.unary(request, PathAndQuery::from_static(path), Proto::<Q, R>::new());
        let answer = within(self.crm.host(), ANSWER, call).await;
        answer.ok_or_else(|| Error::new(ErrorKind::Timeout, "the event bus did not answer in time"))
    }

    /// A request that says who asks (Pub/Sub API guide, "Authentication").
    pub(super) async fn request<T>(&self, message: T, token: &AccessToken) -> Result<Request<T>> {
        let instance = self.crm.rest.instance().await?;
        let tenant = self.tenant(token).await?;
        let mut request = Request::new(message);
        let values = [
            ("accesstoken", token.secret().expose_secret()),
            ("instanceurl", instance.as_str().trim_end_matches('/')),
            ("tenantid", &tenant),
        ];
        for (name, value) in values {
            let mut value =
                MetadataValue::try_from(value).map_err(|_| Error::config(format!("the {name} cannot stand in the metadata of a call")))?;
            value.set_sensitive(name == "accesstoken");
            request.metadata_mut().insert(name, value);
        }
        Ok(request)
    }

    async fn tenant(&self, token: &AccessToken) -> Result<String> {
        let known = self.tenant.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let begins = token.secret().expose_secret().split_once('!').and_then(|(org, _)| ids::to_18(org).ok());
        let id = match begins.filter(|org| org.starts_with("00D")) {
            Some(org) => org,
            None => {
                let told = self.crm.user_info().await?.organization_id;
                let told = told.ok_or_else(|| Error::config("nobody says which org the token is of; set the organization"))?;
                ids::to_18(&told)?
            }
        };
        *self.tenant.lock().unwrap_or_else(PoisonError::into_inner) = Some(id.clone());
        Ok(id)
    }
}
