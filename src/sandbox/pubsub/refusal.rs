//! Refusals: a status, and `error-code` and `rpc-id` in the trailers (Pub/Sub API, handling errors).

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

const BASE: &str = "sfdc.platform.eventbus.grpc.";

/// A status with an error code below the documented prefix.
pub(crate) fn refuse(code: Code, error: &str, message: impl Into<String>, rpc: &str) -> Status {
    let mut trailers = MetadataMap::new();
    let error = if error.starts_with(BASE) { error.to_owned() } else { format!("{BASE}{error}") };
    for (name, value) in [("error-code", error.as_str()), ("rpc-id", rpc)] {
        if let Ok(value) = MetadataValue::try_from(value) {
            trailers.insert(name, value);
        }
    }
    Status::with_metadata(code, message, trailers)
}

pub(crate) fn unauthenticated(message: &str, rpc: &str) -> Status {
    refuse(Code::Unauthenticated, "service.auth.error", message, rpc)
}

pub(crate) fn corrupted(rpc: &str) -> Status {
    let message = "The Replay ID is corrupted: it is not known, or its event is out of retention. Subscribe with another Replay ID.";
    refuse(Code::InvalidArgument, "subscription.fetch.replayid.corrupted", message, rpc)
}
