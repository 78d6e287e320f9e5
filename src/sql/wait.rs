//! A call to a server, and no longer than the host allows.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::host::Host;

/// Runs `work` for at most `limit`, then drops it. The error of a call that took too long has the code `timeout`; whether the
/// call may have happened is for the caller to add.
pub(crate) async fn within<T>(
    host: &Host,
    limit: Duration,
    kind: ErrorKind,
    what: &str,
    work: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    match select(pin!(work), pin!(host.sleep(limit))).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(_) => Err(Error::new(kind, format!("{what}: no answer within {limit:?}; is the server up and reachable?"))
            .retrying(Retry::Backoff)
            .with_code("timeout")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test]
    async fn what_takes_too_long_is_dropped() {
        let host = Host::manual(1);
        let limit = Duration::from_secs(3);
        let error = within::<()>(&host, limit, ErrorKind::Queue, "could not claim", pending()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry(), error.code()), (ErrorKind::Queue, Retry::Backoff, Some("timeout")));
        assert_eq!(error.message(), "could not claim: no answer within 3s; is the server up and reachable?");
        // An answer that is there counts, however short the limit.
        assert_eq!(within(&host, Duration::ZERO, ErrorKind::Queue, "could not claim", async { Ok(7) }).await.unwrap(), 7);
    }
}
