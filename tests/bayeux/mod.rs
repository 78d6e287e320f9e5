//! A Bayeux client that checks nothing and remembers only its cookie.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test that fails should stop")]
#![allow(clippy::needless_pass_by_value, reason = "messages are written where they are sent")]

use bytes::Bytes;
use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::raw_http::Org;

pub struct Comet<'a> {
    pub org: &'a Org,
    pub id: String,
    pub cookie: String,
}

pub struct Raw {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Value,
}

pub async fn post(org: &Org, path: &str, cookie: &str, body: Vec<u8>) -> Raw {
    let mut request = http::Request::post(format!("http://localhost{path}")).header("content-type", "application/json");
    if !org.token.is_empty() {
        request = request.header("authorization", format!("Bearer {}", org.token));
    }
    for (name, value) in &org.headers {
        request = request.header(name, value);
    }
    if !cookie.is_empty() {
        request = request.header("cookie", format!("other=1; BAYEUX_BROWSER={cookie}"));
    }
    let answer = org.transport.send(request.body(Bytes::from(body)).unwrap()).await.expect("an answer");
    let (parts, body) = answer.into_parts();
    let bytes = body.bytes(usize::MAX).await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
    Raw { status: parts.status.as_u16(), headers: parts.headers, body }
}

pub fn now(org: &Org, cookie: &str, messages: &Value) -> Raw {
    post(org, "/cometd/68.0", cookie, serde_json::to_vec(messages).unwrap()).now_or_never().expect("answered at once")
}

pub fn shake(org: &Org) -> Raw {
    now(
        org,
        "",
        &json!([{"channel": "/meta/handshake", "id": "1", "version": "1.0", "minimumVersion": "1.0",
                 "supportedConnectionTypes": ["websocket", "long-polling"], "ext": {"replay": true}}]),
    )
}

impl<'a> Comet<'a> {
    /// Handshake and the first connect.
    pub fn open(org: &'a Org) -> Self {
        let answer = shake(org);
        let reply = &answer.body[0];
        assert_eq!(reply["successful"], true, "{reply}");
        let cookie = answer.headers["set-cookie"].to_str().unwrap();
        let cookie = cookie.strip_prefix("BAYEUX_BROWSER=").unwrap().split(';').next().unwrap().to_owned();
        let comet = Self { org, id: reply["clientId"].as_str().unwrap().to_owned(), cookie };
        let first = comet.one(comet.connect_message());
        assert_eq!(first["advice"], json!({"interval": 0, "timeout": 110_000, "reconnect": "retry"}));
        comet
    }

    pub fn connect_message(&self) -> Value {
        json!({"channel": "/meta/connect", "id": "c", "clientId": self.id, "connectionType": "long-polling"})
    }

    /// One message that is answered at once.
    pub fn one(&self, message: Value) -> Value {
        now(self.org, &self.cookie, &json!([message])).body[0].clone()
    }

    pub fn subscribe(&self, channel: &str, replay: Option<i64>) -> Value {
        let mut message = json!({"channel": "/meta/subscribe", "id": "s", "clientId": self.id, "subscription": channel});
        if let Some(replay) = replay {
            message["ext"] = json!({"replay": {channel: replay}});
        }
        self.one(message)
    }

    pub fn listen(&self, channel: &str, replay: i64) {
        let reply = self.subscribe(channel, Some(replay));
        assert_eq!(reply["successful"], true, "{reply}");
    }

    /// A connect that may be held.
    pub async fn connect(&self) -> Raw {
        post(self.org, "/cometd/68.0/connect", &self.cookie, serde_json::to_vec(&json!([self.connect_message()])).unwrap()).await
    }

    /// The events there are now.
    pub fn events(&self) -> Vec<Value> {
        let mut message = self.connect_message();
        message["advice"] = json!({"timeout": 0});
        let answer = now(self.org, &self.cookie, &json!([message]));
        let mut list = answer.body.as_array().unwrap().clone();
        let reply = list.pop().unwrap();
        assert_eq!(reply["successful"], true, "{reply}");
        list
    }

    pub fn replays(&self) -> Vec<i64> {
        self.events().iter().map(|event| event["data"]["event"]["replayId"].as_i64().unwrap()).collect()
    }

    pub fn headers(&self) -> Vec<Value> {
        self.events().iter().map(|event| event["data"]["payload"]["ChangeEventHeader"].clone()).collect()
    }
}

pub fn script(org: &Org, what: Value) {
    let answer = org.post("/_sandbox/events", what);
    assert_eq!(answer.status, 204, "{}", answer.body);
}
