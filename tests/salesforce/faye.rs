//! The Bayeux client against a server nobody here wrote: npm's `faye`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use crate::npm;

use std::sync::Arc;
use std::time::Duration;

use crm_sync::host::Host;
use crm_sync::http::{HttpTransport, ReqwestTransport};
use crm_sync::pace::RetryPolicy;
use crm_sync::salesforce::stream::{CometdStream, RereadReason, StreamEvent, StreamOptions, StreamState, Subscription};
use crm_sync::salesforce::{Salesforce, SalesforceConfig};
use futures_util::StreamExt;
use npm::Server;

const PACKAGE: (&str, &str) = ("faye", "1.4.3");

/// Serves Bayeux where Salesforce does, on `PORT`; a POST to `/publish/CHANNEL` publishes its body, `/forget` drops all clients.
const SCRIPT: &str = r"
import http from 'http';
import faye from 'faye';
const bayeux = new faye.NodeAdapter({ mount: '/cometd/68.0', timeout: 2 });
let clients = [];
bayeux.on('handshake', (id) => clients.push(id));
const server = http.createServer((request, response) => {
    if (request.url === '/forget') {
        const engine = bayeux._server._engine;
        for (const id of clients) engine.destroyClient(id);
        clients = [];
        return response.end();
    }
    let body = '';
    request.on('data', (chunk) => { body += chunk; });
    request.on('end', () => bayeux.getClient().publish(request.url.slice('/publish'.length), JSON.parse(body)).then(() => response.end()));
});
bayeux.attach(server);
server.listen(PORT, '127.0.0.1', () => console.log('http://127.0.0.1:' + server.address().port));
";

fn start(port: u16) -> Option<Server> {
    let dir = npm::package(PACKAGE.0, PACKAGE.1)?;
    Some(Server::start(&dir, &SCRIPT.replace("PORT", &port.to_string())))
}

fn listen(base: &str, channels: &[&str]) -> CometdStream {
    let config = SalesforceConfig::with_access_token(base, String::from("token").into());
    let crm = Salesforce::new(config, Arc::new(ReqwestTransport::loopback().unwrap()), Host::tokio()).unwrap();
    let policy = RetryPolicy::new().attempts(u32::MAX).initial(Duration::from_millis(50)).cap(Duration::from_millis(200));
    crm.listen(channels.iter().map(|channel| Subscription::new(*channel)), StreamOptions::new().retry(policy)).unwrap()
}

async fn post(url: &str, body: &'static str) {
    let transport = ReqwestTransport::loopback().unwrap();
    let request = http::Request::post(url).body(bytes::Bytes::from_static(body.as_bytes())).unwrap();
    assert_eq!(transport.send(request).await.unwrap().status(), 200);
}

async fn next(stream: &mut CometdStream) -> StreamEvent {
    tokio::time::timeout(Duration::from_secs(20), stream.next()).await.expect("nothing came").expect("the stream ended").unwrap()
}

/// Follows the stream until it is in this state; what it was in between.
async fn until(stream: &mut CometdStream, state: StreamState) -> Vec<StreamEvent> {
    let mut before = Vec::new();
    loop {
        match next(stream).await {
            StreamEvent::Health(health) if health.state == state => return before,
            other => before.push(other),
        }
    }
}

fn text(event: &StreamEvent) -> (&str, &str) {
    match event {
        StreamEvent::Message(message) => (message.channel.as_str(), message.payload["text"].as_str().unwrap()),
        other => panic!("no message: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_published_arrives_over_several_polls() {
    let Some(server) = start(0) else { return };
    let mut stream = listen(&server.ready, &["/chat/one", "/chat/two"]);
    until(&mut stream, StreamState::Connected).await;
    // Longer than the server holds a request: several answers without an event are no trouble.
    let quiet = tokio::time::timeout(Duration::from_millis(4_500), stream.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    let publish = async {
        post(&format!("{}/publish/chat/one", server.ready), r#"{"text": "a"}"#).await;
        post(&format!("{}/publish/chat/three", server.ready), r#"{"text": "for others"}"#).await;
        post(&format!("{}/publish/chat/two", server.ready), r#"{"text": "b"}"#).await;
    };
    let ((), first) = tokio::join!(publish, next(&mut stream));
    assert_eq!(text(&first), ("/chat/one", "a"));
    assert_eq!(text(&next(&mut stream).await), ("/chat/two", "b"));
    assert_eq!(stream.monitor().health().connections, 1);
    stream.close().await;
}

#[tokio::test]
async fn a_forgotten_client_and_a_new_server_are_a_new_handshake() {
    let Some(server) = start(0) else { return };
    let base = server.ready.clone();
    let mut stream = listen(&base, &["/chat/one"]);
    until(&mut stream, StreamState::Connected).await;
    let forget = post(Box::leak(format!("{base}/forget").into_boxed_str()), "");
    let ((), told) = tokio::join!(forget, until(&mut stream, StreamState::Connected));
    // Faye keeps nothing to resume from, and the stream says so.
    let holes = |told: &[StreamEvent]| {
        told.iter().filter(|event| matches!(event, StreamEvent::Reread(reread) if reread.reason == RereadReason::ReplayLost)).count()
    };
    assert_eq!(holes(&told), 1, "{told:?}");
    let port: u16 = base.rsplit(':').next().unwrap().parse().unwrap();
    drop(server);
    until(&mut stream, StreamState::Reconnecting).await;
    let restarted = tokio::task::spawn_blocking(move || start(port).unwrap());
    let (server, told) = tokio::join!(restarted, until(&mut stream, StreamState::Connected));
    assert_eq!(holes(&told), 1, "{told:?}");
    let server = server.unwrap();
    assert_eq!(server.ready, base);
    let publish = async { post(&format!("{base}/publish/chat/one"), r#"{"text": "again"}"#).await };
    let ((), event) = tokio::join!(publish, next(&mut stream));
    assert_eq!(text(&event), ("/chat/one", "again"));
}
