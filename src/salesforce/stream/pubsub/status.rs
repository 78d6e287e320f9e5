//! What the end of a call means (Pub/Sub API guide, "Handle Errors"): the status, refined by `error-code` in the trailers.

use std::time::Duration;

use tonic::{Code, Status};

use crate::error::{Error, ErrorKind, Retry};

/// An allowance of 24 hours that is spent is not back in seconds; events wait for up to 72 hours.
const ALLOWANCE_WAIT: Duration = Duration::from_secs(900);
/// Codes of the event bus begin with this.
const PREFIX: &str = "sfdc.platform.eventbus.grpc.";

/// What to do about it.
#[derive(Debug)]
pub(super) enum Fault {
    /// Renew the token.
    Token,
    /// The place to resume from is not known.
    Replay,
    /// Anything else; the error says whether another try is worth it.
    Other(Error),
}

pub(super) fn fault(status: &Status) -> Fault {
    let text = |name: &str| status.metadata().get(name).and_then(|value| value.to_str().ok());
    let code = text("error-code").unwrap_or_default();
    match status.code() {
        Code::Unauthenticated => return Fault::Token,
        Code::InvalidArgument if code.contains("replayid") => return Fault::Replay,
        _ => {}
    }
    let (kind, message) = match status.code() {
        _ if code.contains("limit.exceeded") => (ErrorKind::QuotaExhausted, "an allowance of the org's event deliveries is used up"),
        Code::ResourceExhausted => (ErrorKind::QuotaExhausted, "an allowance of the org's event deliveries is used up"),
        Code::PermissionDenied => (ErrorKind::Permission, "the user may not do this in the event bus"),
        Code::NotFound => (ErrorKind::Config, "the topic, schema or subscription does not exist; check its name and case"),
        Code::InvalidArgument | Code::FailedPrecondition => (ErrorKind::Config, "the event bus refused the request"),
        Code::Unimplemented => (ErrorKind::Unsupported, "the event bus does not know this call"),
        Code::OutOfRange => (ErrorKind::Decode, "an answer of the event bus is longer than the client allows"),
        Code::DeadlineExceeded => (ErrorKind::Timeout, "the event bus did not answer in time"),
        _ => (ErrorKind::Unavailable, "the event bus broke off or is not available"),
    };
    let mut error =
        Error::new(kind, message).with_code(code.strip_prefix(PREFIX).filter(|code| !code.is_empty()).unwrap_or(name(status.code())));
    if let Some(id) = text("rpc-id") {
        error = error.with_request_id(id);
    }
    Fault::Other(if kind == ErrorKind::QuotaExhausted { error.retrying(Retry::After(ALLOWANCE_WAIT)) } else { error })
}

/// The error for a caller who does nothing about it himself.
pub(super) fn error(fault: Fault) -> Error {
    match fault {
        Fault::Token => Error::new(ErrorKind::Authentication, "the event bus refused the token").retrying(Retry::Never),
        Fault::Replay => {
            let message = "the place to resume from is no longer known to the server; read the records again, then begin without it";
            Error::new(ErrorKind::Conflict, message)
        }
        Fault::Other(error) => error,
    }
}

fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
        Code::Unknown => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::metadata::MetadataMap;

    fn of(code: Code, error_code: &'static str) -> Fault {
        let mut trailers = MetadataMap::new();
        trailers.insert("error-code", error_code.parse().unwrap());
        trailers.insert("rpc-id", "rpc-1".parse().unwrap());
        fault(&Status::with_metadata(code, "texts are not read", trailers))
    }

    #[test]
    fn codes() {
        let corrupted = "sfdc.platform.eventbus.grpc.subscription.fetch.replayid.corrupted";
        assert!(matches!(of(Code::InvalidArgument, corrupted), Fault::Replay));
        assert!(matches!(
            of(Code::InvalidArgument, "sfdc.platform.eventbus.grpc.subscription.fetch.replayid.validation.failed"),
            Fault::Replay
        ));
        assert!(matches!(of(Code::Unauthenticated, "sfdc.platform.eventbus.grpc.service.auth.error"), Fault::Token));
        for (code, error_code, kind) in [
            (Code::ResourceExhausted, "x", ErrorKind::QuotaExhausted),
            (Code::FailedPrecondition, "sfdc.platform.eventbus.grpc.subscription.limit.exceeded", ErrorKind::QuotaExhausted),
            (Code::Unavailable, "sfdc.platform.eventbus.grpc.service.unavailable", ErrorKind::Unavailable),
            (Code::NotFound, "x", ErrorKind::Config),
            (Code::PermissionDenied, "x", ErrorKind::Permission),
            (Code::Internal, "x", ErrorKind::Unavailable),
        ] {
            let Fault::Other(error) = of(code, error_code) else { panic!("{code:?}") };
            assert_eq!((error.kind(), error.request_id()), (kind, Some("rpc-1")), "{code:?}");
        }
        let Fault::Other(error) = of(Code::Unavailable, "sfdc.platform.eventbus.grpc.service.unavailable") else { panic!() };
        assert_eq!(error.code(), Some("service.unavailable"));
        assert!(error.is_retryable());
    }
}
