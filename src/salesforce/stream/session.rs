//! One Bayeux session: a client id, its cookies, and requests with a limit in the host's time.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{Either, poll_fn, select};
use http::header::COOKIE;
use serde_json::{Value, json};

use crate::auth::AccessToken;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::host::Host;
use crate::rest::{Call, Client};
use crate::salesforce::stream::bayeux::{BayeuxDialect, Message, messages};
use crate::salesforce::stream::cookies::Cookies;

/// The host's timer is looked at this often, so that a clock that moves only by sleeping moves gently.
const STEP: Duration = Duration::from_secs(5);

/// Who the server takes us for.
#[derive(Default)]
struct Identity {
    client_id: Option<String>,
    cookies: Cookies,
    sent: u64,
}

/// A session. Clones are the same one.
#[derive(Clone)]
pub(super) struct Session {
    rest: Client<BayeuxDialect>,
    host: Host,
    path: String,
    identity: Arc<Mutex<Identity>>,
}

/// Why there is no answer.
pub(super) enum Silence {
    /// None came in time.
    Stalled,
    /// What the transport, the token source or the server's status say.
    Failed(Error),
}

impl Session {
    pub(super) fn new(rest: Client<BayeuxDialect>, host: Host, path: String) -> Self {
        Self { rest, host, path, identity: Arc::default() }
    }

    /// The token of now, to be told apart from a newer one later.
    pub(super) async fn token(&self) -> Result<AccessToken> {
        self.rest.tokens().token().await
    }

    /// Buys a token newer than `stale`.
    pub(super) async fn renew(&self, stale: &AccessToken) -> Result<()> {
        self.rest.tokens().refresh(stale).await.map(drop)
    }

    pub(super) fn adopt(&self, client_id: String) {
        self.identity().client_id = Some(client_id);
    }

    pub(super) async fn handshake(&self, limit: Duration) -> Result<Vec<Message>, Silence> {
        {
            let mut identity = self.identity();
            identity.client_id = None;
            identity.cookies.clear();
        }
        let message = json!({
            "channel": "/meta/handshake", "version": "1.0", "minimumVersion": "1.0",
            "supportedConnectionTypes": ["long-polling"], "ext": {"replay": true, "payload.format": true},
        });
        self.send("handshake", vec![message], limit).await
    }

    /// Waits for messages; `at_once` asks the server not to hold the request.
    pub(super) async fn connect(&self, at_once: bool, limit: Duration) -> Result<Vec<Message>, Silence> {
        let mut message = json!({"channel": "/meta/connect", "connectionType": "long-polling"});
        if at_once && let Some(message) = message.as_object_mut() {
            message.insert("advice".to_owned(), json!({"timeout": 0}));
        }
        self.send("connect", vec![message], limit).await
    }

    /// Subscribes; each message gets the id in `ids` at its place.
    pub(super) async fn subscribe(&self, wanted: &[(String, String, i64)], limit: Duration) -> Result<Vec<Message>, Silence> {
        let message = |(id, channel, replay): &(String, String, i64)| json!({"channel": "/meta/subscribe", "id": id, "subscription": channel, "ext": {"replay": {channel: replay}}});
        self.send("subscribe", wanted.iter().map(message).collect(), limit).await
    }

    /// Says goodbye, if there is a session; whether it was heard does not matter.
    pub(super) async fn disconnect(&self, limit: Duration) {
        if self.identity().client_id.is_some() {
            let _heard = self.send("disconnect", vec![json!({"channel": "/meta/disconnect"})], limit).await;
            self.identity().client_id = None;
        }
    }

    async fn send(&self, operation: &'static str, messages: Vec<Value>, limit: Duration) -> Result<Vec<Message>, Silence> {
        let call = self.call(operation, messages).map_err(Silence::Failed)?;
        match within(&self.host, limit, self.answer(&call)).await {
            Some(answer) => answer.map_err(Silence::Failed),
            None => Err(Silence::Stalled),
        }
    }

    fn call(&self, operation: &'static str, mut list: Vec<Value>) -> Result<Call> {
        let mut identity = self.identity();
        for message in list.iter_mut().filter_map(Value::as_object_mut) {
            identity.sent += 1;
            let number = identity.sent.to_string();
            message.entry("id").or_insert_with(|| Value::String(number));
            if let Some(client_id) = &identity.client_id {
                message.insert("clientId".to_owned(), Value::String(client_id.clone()));
            }
        }
        let call = Call::post(operation, self.path.clone()).read_only().json(&list)?;
        Ok(match identity.cookies.header()? {
            Some(cookies) => call.header(COOKIE, cookies),
            None => call,
        })
    }

    async fn answer(&self, call: &Call) -> Result<Vec<Message>> {
        let answer = self.rest.send(call).await?;
        self.identity().cookies.keep(answer.headers());
        // What is no list of messages comes from something in between, and may be gone the next time.
        answer.decode(messages).map_err(|error| error.retrying(Retry::Backoff))
    }

    fn identity(&self) -> std::sync::MutexGuard<'_, Identity> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error of a silence.
pub(super) fn stalled(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("the server did not answer within {} s", limit.as_secs()))
}

/// What `work` returns if it does so within `limit` of the host's time; it is dropped otherwise.
pub(super) async fn within<F: Future + Send>(host: &Host, limit: Duration, work: F) -> Option<F::Output> {
    let deadline = host.monotonic().saturating_add(limit);
    let mut work = pin!(work);
    loop {
        let left = deadline.saturating_sub(host.monotonic());
        if left.is_zero() {
            return None;
        }
        match select(work.as_mut(), pin!(host.sleep(left.min(STEP)))).await {
            Either::Left((output, _)) => return Some(output),
            Either::Right(_) => yield_once().await,
        }
    }
}

/// Lets others run: a manual clock's sleep never waits.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_has_its_time_and_no_more() {
        let host = Host::manual(1);
        assert_eq!(within(&host, Duration::from_secs(12), async { 7 }).await, Some(7));
        assert_eq!(host.monotonic(), Duration::ZERO);
        assert_eq!(within(&host, Duration::from_secs(12), std::future::pending::<u8>()).await, None);
        assert_eq!(host.monotonic(), Duration::from_secs(12));
    }
}
