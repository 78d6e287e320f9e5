//! The messages of `eventbus.v1` that are spoken here, by their numbers in `pubsub_api.proto` (public, `forcedotcom/pub-sub-api`).

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct TopicRequest {
    #[prost(string, tag = "1")]
    pub(super) topic_name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TopicReply {
    #[prost(string, tag = "1")]
    pub(super) topic_name: String,
    #[prost(bool, tag = "3")]
    pub(super) can_publish: bool,
    #[prost(bool, tag = "4")]
    pub(super) can_subscribe: bool,
    #[prost(string, tag = "5")]
    pub(super) schema_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SchemaRequest {
    #[prost(string, tag = "1")]
    pub(super) schema_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SchemaInfo {
    #[prost(string, tag = "1")]
    pub(super) schema_json: String,
    #[prost(string, tag = "2")]
    pub(super) schema_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProducerEvent {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) schema_id: String,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) payload: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ConsumerEvent {
    #[prost(message, optional, tag = "1")]
    pub(super) event: Option<ProducerEvent>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) replay_id: Vec<u8>,
}

/// `ReplayPreset`.
pub(super) const LATEST: i32 = 0;
pub(super) const EARLIEST: i32 = 1;
pub(super) const CUSTOM: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub(super) struct FetchRequest {
    #[prost(string, tag = "1")]
    pub(super) topic_name: String,
    #[prost(int32, tag = "2")]
    pub(super) replay_preset: i32,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) replay_id: Vec<u8>,
    #[prost(int32, tag = "4")]
    pub(super) num_requested: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FetchResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) events: Vec<ConsumerEvent>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) latest_replay_id: Vec<u8>,
    #[prost(int32, tag = "4")]
    pub(super) pending_num_requested: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CommitReplayRequest {
    #[prost(string, tag = "1")]
    pub(super) commit_request_id: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) replay_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CommitReplayResponse {
    #[prost(string, tag = "1")]
    pub(super) commit_request_id: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) replay_id: Vec<u8>,
    #[prost(message, optional, tag = "3")]
    pub(super) error: Option<Fault>,
}

/// `Error`; its text may quote anything.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Fault {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ManagedFetchRequest {
    #[prost(string, tag = "1")]
    pub(super) subscription_id: String,
    #[prost(string, tag = "2")]
    pub(super) developer_name: String,
    #[prost(int32, tag = "3")]
    pub(super) num_requested: i32,
    #[prost(message, optional, tag = "5")]
    pub(super) commit_replay_id_request: Option<CommitReplayRequest>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ManagedFetchResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) events: Vec<ConsumerEvent>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) latest_replay_id: Vec<u8>,
    #[prost(int32, tag = "4")]
    pub(super) pending_num_requested: i32,
    #[prost(message, optional, tag = "5")]
    pub(super) commit_response: Option<CommitReplayResponse>,
}
