//! Bayeux over HTTP under `/cometd/{version}` (Streaming API Developer Guide; Bayeux 1.0).

use http::{Method, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::sandbox::call::{Call, Reply, pairs, param};
use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::events::channel::Channel;
use crate::sandbox::salesforce::events::session::{PATIENCE, Subscription, TIMEOUT};

/// A larger request is refused.
const LARGEST: usize = 32_768;

/// So many events, or so many bytes of them, come with one answer.
const BATCH: usize = 2_000;
const BATCH_BYTES: usize = 10_000_000;

const COOKIE: &str = "BAYEUX_BROWSER";

/// A request's answer, or what it must wait for.
#[derive(Debug)]
pub(crate) enum Polled {
    Held(Box<Held>),
    Reply(Reply),
}

/// A connect that waits for events.
#[derive(Debug)]
pub(crate) struct Held {
    client: String,
    connect: u64,
    deadline: i64,
    cuts: u64,
    id: Value,
}

/// How a wait ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The connection breaks.
    Cut,
    Reply(Reply),
}

/// What all messages of a request share.
struct Circumstances<'a> {
    now: i64,
    version: u32,
    token: Option<&'a str>,
    browser: Option<String>,
}

fn refused(message: &Value, error: impl Into<String>) -> Map<String, Value> {
    let mut reply = plain(message);
    reply.insert("successful".to_owned(), json!(false));
    reply.insert("error".to_owned(), json!(error.into()));
    reply
}

/// The answer's members that come from the question.
fn plain(message: &Value) -> Map<String, Value> {
    let mut reply = Map::new();
    for name in ["channel", "id", "clientId", "subscription"] {
        if let Some(value) = message.get(name) {
            reply.insert(name.to_owned(), value.clone());
        }
    }
    reply.insert("successful".to_owned(), json!(true));
    reply
}

fn advise(mut reply: Map<String, Value>, advice: Value) -> Map<String, Value> {
    reply.insert("advice".to_owned(), advice);
    reply
}

fn denied(message: &Value, reason: &str) -> Map<String, Value> {
    let mut reply = refused(message, "403::Handshake denied");
    reply.insert("ext".to_owned(), json!({"sfdc": {"failureReason": reason}, "replay": true}));
    advise(reply, json!({"reconnect": "none"}))
}

fn unknown_client(message: &Value) -> Map<String, Value> {
    advise(refused(message, "403::Unknown client"), json!({"reconnect": "handshake", "interval": 0}))
}

fn text_of<'a>(message: &'a Value, name: &str) -> &'a str {
    message.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn error(status: StatusCode, text: &str) -> Polled {
    Polled::Reply(Reply::json(status, json!([{"successful": false, "error": text}])))
}

fn cookie(call: &Call) -> Option<String> {
    let all = call.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE && !value.is_empty()).then(|| value.to_owned())
    })
}

impl Salesforce {
    /// Whether a path is a Bayeux endpoint.
    pub(crate) fn streams(path: &str) -> bool {
        path.starts_with("/cometd/")
    }

    /// Answers a Bayeux request.
    pub(crate) fn cometd(&mut self, call: &Call) -> Polled {
        let segments = call.segments();
        // Clients may put the kind of message behind the endpoint.
        let version = match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["cometd", version] | ["cometd", version, "handshake" | "connect" | "disconnect"] => {
                version.strip_suffix(".0").and_then(|digits| digits.parse::<u32>().ok()).filter(|number| (37..=68).contains(number))
            }
            _ => None,
        };
        let Some(version) = version else {
            return Polled::Reply(Reply::html(StatusCode::NOT_FOUND, "<html><body>Not Found</body></html>"));
        };
        if call.headers.contains_key(header::UPGRADE) {
            return error(StatusCode::BAD_REQUEST, "400::Only long-polling is supported");
        }
        if call.method != Method::POST {
            let reply = Reply::html(StatusCode::METHOD_NOT_ALLOWED, "<html><body>Method Not Allowed</body></html>");
            return Polled::Reply(reply.header("allow", "POST"));
        }
        if call.body.len() > LARGEST {
            return error(StatusCode::PAYLOAD_TOO_LARGE, "413::Maximum Request Size Exceeded");
        }
        let kind = call.header("content-type").unwrap_or_default().to_ascii_lowercase();
        let text = if kind.starts_with("application/x-www-form-urlencoded") {
            param(&pairs(&call.body), "message").map(str::to_owned).unwrap_or_default().into_bytes()
        } else if kind.contains("json") || kind.is_empty() {
            call.body.to_vec()
        } else {
            return error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "415::Unsupported content type");
        };
        let messages = match serde_json::from_slice(&text) {
            Ok(Value::Array(list)) if !list.is_empty() => list,
            Ok(one @ Value::Object(_)) => vec![one],
            _ => return error(StatusCode::BAD_REQUEST, "400::The request is not a list of Bayeux messages"),
        };
        if messages.iter().any(|message| !text_of(message, "channel").starts_with('/')) {
            return error(StatusCode::BAD_REQUEST, "400::A message has no channel");
        }
        let token = call.header("authorization").and_then(|value| value.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer") || scheme.eq_ignore_ascii_case("OAuth"));
        let mut about =
            Circumstances { now: call.now.as_millisecond(), version, token: token.map(|(_, token)| token.trim()), browser: cookie(call) };
        self.events.sessions.sweep(about.now);
        let known = about.browser.clone();
        let alone = messages.len() == 1;
        let mut replies = Vec::new();
        for message in &messages {
            if text_of(message, "channel") != "/meta/connect" {
                replies.push(Value::Object(self.one(call.now, &mut about, message)));
                continue;
            }
            match self.connect(&about, message, alone) {
                Ok(held) => return Polled::Held(Box::new(held)),
                Err(reply) => {
                    let client = text_of(message, "clientId");
                    if reply.get("successful") == Some(&json!(true)) {
                        let events = self.collect(client, call.now);
                        replies.extend(events);
                    }
                    replies.push(Value::Object(reply));
                }
            }
        }
        let mut reply = Reply::ok(Value::Array(replies));
        if let Some(browser) = about.browser.filter(|browser| known.as_ref() != Some(browser)) {
            let secure = if call.origin.starts_with("https:") { "; Secure" } else { "" };
            reply = reply.header("set-cookie", format!("{COOKIE}={browser}; Path=/; HttpOnly{secure}"));
        }
        Polled::Reply(reply)
    }

    /// A scripted refusal, if one waits for this kind of message.
    fn scripted(&mut self, message: &Value) -> Option<Map<String, Value>> {
        let channel = text_of(message, "channel");
        let refusal = self.events.refusals.iter_mut().find(|refusal| refusal.channel == channel)?;
        refusal.left -= 1;
        let mut reply = refused(message, refusal.error.clone());
        if let Some(reason) = &refusal.reason {
            reply.insert("ext".to_owned(), json!({"sfdc": {"failureReason": reason}, "replay": true}));
        }
        if let Some(advice) = &refusal.advice {
            reply.insert("advice".to_owned(), advice.clone());
        }
        self.events.refusals.retain(|refusal| refusal.left > 0);
        Some(reply)
    }

    fn one(&mut self, now: Timestamp, about: &mut Circumstances<'_>, message: &Value) -> Map<String, Value> {
        if let Some(reply) = self.scripted(message) {
            return reply;
        }
        match text_of(message, "channel") {
            "/meta/handshake" => self.handshake(about, message),
            "/meta/subscribe" => self.subscribe(now, about, message),
            "/meta/unsubscribe" => match self.believed(about, message, false) {
                Err(reply) => reply,
                Ok(client) => {
                    let Ok(names) = names(message) else { return refused(message, "400::A subscription is missing") };
                    if let Some(session) = self.events.sessions.get_mut(&client) {
                        session.subscriptions.retain(|known| !names.contains(&known.text));
                    }
                    plain(message)
                }
            },
            "/meta/disconnect" => match self.believed(about, message, false) {
                Err(reply) => reply,
                Ok(client) => {
                    self.events.sessions.close(&client);
                    self.events.wake();
                    plain(message)
                }
            },
            channel if channel.starts_with("/meta/") => refused(message, "404::Unknown channel"),
            // Nobody publishes over Bayeux.
            _ => refused(message, "403::Restricted channel"),
        }
    }

    fn handshake(&mut self, about: &mut Circumstances<'_>, message: &Value) -> Map<String, Value> {
        let Some(token) = about.token else { return denied(message, "401::Request requires authentication") };
        if !self.auth.accepts(token, Timestamp::from_millisecond(about.now).unwrap_or_default()) {
            return denied(message, "401::Authentication invalid");
        }
        if !text_of(message, "version").starts_with("1.") {
            return advise(refused(message, "400::Unsupported Bayeux version"), json!({"reconnect": "none"}));
        }
        let types = message.get("supportedConnectionTypes").and_then(Value::as_array);
        if !types.is_some_and(|types| types.iter().any(|kind| kind == "long-polling")) {
            return advise(refused(message, "400::No supported connection type"), json!({"reconnect": "none"}));
        }
        if self.events.sessions.len() >= self.events.config.clients {
            return denied(message, "403::Organization concurrent user limit exceeded");
        }
        let id = self.events.sessions.open(about.browser.as_deref(), token, about.version, about.now);
        about.browser = self.events.sessions.get(&id).map(|session| session.browser.clone());
        let mut reply = plain(message);
        reply.insert("version".to_owned(), json!("1.0"));
        reply.insert("minimumVersion".to_owned(), json!("1.0"));
        reply.insert("clientId".to_owned(), json!(id));
        reply.insert("supportedConnectionTypes".to_owned(), json!(["long-polling"]));
        reply.insert("ext".to_owned(), json!({"replay": true, "payload.format": true}));
        reply
    }

    /// The client a message comes from, or why it is not believed.
    fn believed(&self, about: &Circumstances<'_>, message: &Value, connected: bool) -> Result<String, Map<String, Value>> {
        let id = text_of(message, "clientId");
        let Some(session) = self.events.sessions.get(id) else { return Err(unknown_client(message)) };
        if about.browser.as_ref() != Some(&session.browser) {
            let error = format!("400::Client {id} has established a session, but no {COOKIE} cookie present");
            return Err(advise(refused(message, error), json!({"reconnect": "none"})));
        }
        // While a client is connected its session does not run out; it can still be revoked.
        let now = Timestamp::from_millisecond(about.now).unwrap_or_default();
        let valid = about.token.is_some_and(|token| if connected { self.auth.knows(token) } else { self.auth.accepts(token, now) });
        if !valid {
            let error = if about.token.is_some() { "401::Authentication invalid" } else { "401::Request requires authentication" };
            return Err(advise(refused(message, error), json!({"reconnect": "none"})));
        }
        Ok(id.to_owned())
    }

    fn subscribe(&mut self, now: Timestamp, about: &Circumstances<'_>, message: &Value) -> Map<String, Value> {
        let client = match self.believed(about, message, false) {
            Ok(client) => client,
            Err(reply) => return reply,
        };
        let Ok(names) = names(message) else { return refused(message, "400::A subscription is missing") };
        let replay = message.get("ext").and_then(|ext| ext.get("replay")).and_then(Value::as_object);
        let mut wanted = Vec::new();
        for name in names {
            let channel = match self.channel(&name) {
                Ok(channel) => channel,
                Err(error) => return refused(message, error),
            };
            let asked = replay.and_then(|map| map.get(&name).or_else(|| map.get(name.split('?').next().unwrap_or(&name))));
            let after = match asked {
                None => self.events.log.last(),
                Some(value) => match value.as_i64() {
                    Some(-1) => self.events.log.last(),
                    Some(-2) => 0,
                    Some(id) if u64::try_from(id).is_ok_and(|id| self.events.log.knows(id, now)) => u64::try_from(id).unwrap_or(0),
                    _ => {
                        let error = format!(
                            "400::The replayId {{{value}}} you provided was invalid. Please provide a valid ID, -2 to replay all events, \
                             or -1 to replay only new events."
                        );
                        return refused(message, error);
                    }
                },
            };
            wanted.push(Subscription { text: name, channel, after });
        }
        if let Some(session) = self.events.sessions.get_mut(&client) {
            session.subscriptions.retain(|known| !wanted.iter().any(|new| new.text == known.text));
            session.subscriptions.extend(wanted);
        }
        // A connect that is held may have something to deliver now.
        self.events.wake();
        plain(message)
    }

    /// A connect is held, or answered at once.
    fn connect(&mut self, about: &Circumstances<'_>, message: &Value, alone: bool) -> Result<Held, Map<String, Value>> {
        if let Some(reply) = self.scripted(message) {
            return Err(reply);
        }
        let client = self.believed(about, message, true)?;
        if text_of(message, "connectionType") != "long-polling" {
            return Err(advise(refused(message, "400::Unsupported connection type"), json!({"reconnect": "none"})));
        }
        let Some(session) = self.events.sessions.get_mut(&client) else { return Err(unknown_client(message)) };
        session.connects += 1;
        if let Some(token) = about.token {
            token.clone_into(&mut session.token);
        }
        let first = session.connects == 1;
        let connect = session.connects;
        let hurry = message.pointer("/advice/timeout").and_then(Value::as_i64) == Some(0);
        let now = if first || hurry || !alone { about.now } else { about.now + TIMEOUT };
        session.forgotten_at = now + PATIENCE;
        // An earlier connect that is still held ends now.
        self.events.wake();
        if first || hurry || !alone {
            return Err(advise(plain(message), json!({"interval": 0, "timeout": TIMEOUT, "reconnect": "retry"})));
        }
        let id = message.get("id").cloned().unwrap_or(Value::Null);
        Ok(Held { client, connect, deadline: about.now + TIMEOUT, cuts: self.events.cuts, id })
    }

    /// How a held connect has ended, if it has.
    pub(crate) fn poll_held(&mut self, held: &Held, at: Timestamp) -> Option<Ended> {
        if self.events.cuts != held.cuts {
            return Some(Ended::Cut);
        }
        if self.events.stalled {
            return None;
        }
        let now = at.as_millisecond();
        let question = json!({"channel": "/meta/connect", "id": held.id, "clientId": held.client});
        let Some(session) = self.events.sessions.get_mut(&held.client) else {
            return Some(Ended::Reply(Reply::ok(json!([unknown_client(&question)]))));
        };
        if session.connects != held.connect {
            return Some(Ended::Reply(Reply::empty(StatusCode::REQUEST_TIMEOUT)));
        }
        session.forgotten_at = now + PATIENCE;
        if now < held.deadline {
            session.forgotten_at = held.deadline + PATIENCE;
        }
        let token = session.token.clone();
        if !self.auth.knows(&token) {
            let reply = advise(refused(&question, "401::Authentication invalid"), json!({"reconnect": "none"}));
            return Some(Ended::Reply(Reply::ok(json!([reply]))));
        }
        let mut replies = self.collect(&held.client, at);
        if replies.is_empty() && now < held.deadline {
            return None;
        }
        if let Some(session) = self.events.sessions.get_mut(&held.client) {
            session.forgotten_at = now + PATIENCE;
        }
        replies.push(Value::Object(plain(&question)));
        Some(Ended::Reply(Reply::ok(Value::Array(replies))))
    }

    /// What a client has not got yet, in order.
    fn collect(&mut self, client: &str, now: Timestamp) -> Vec<Value> {
        if self.events.stalled {
            return Vec::new();
        }
        let Some(session) = self.events.sessions.get(client).cloned() else { return Vec::new() };
        let from = session.subscriptions.iter().map(|one| one.after).min().unwrap_or(u64::MAX);
        let mut found = Vec::new();
        for event in self.events.log.after(from, now) {
            for (at, one) in session.subscriptions.iter().enumerate() {
                if event.replay > one.after && self.carries(&one.channel, event, &self.user) {
                    found.push((at, event.clone()));
                }
            }
            if found.len() >= BATCH {
                break;
            }
        }
        let (mut messages, mut size) = (Vec::new(), 0);
        for (at, event) in &found {
            let Some(one) = session.subscriptions.get(*at) else { continue };
            let custom = matches!(one.channel, Channel::Custom(_));
            let message = self.message(&one.text, custom, event, session.version);
            size += message.to_string().len();
            if size > BATCH_BYTES && !messages.is_empty() {
                break;
            }
            messages.push(message);
        }
        let replay = |at: usize| found.get(at).map(|(_, event)| event.replay);
        // An event that several subscriptions get is not torn.
        while messages.len() > 1 && replay(messages.len()).is_some() && replay(messages.len()) == replay(messages.len() - 1) {
            messages.pop();
        }
        let whole = messages.len() == found.len() && found.len() < BATCH;
        let until = if whole { self.events.log.last() } else { replay(messages.len().saturating_sub(1)).unwrap_or(0) };
        if let Some(session) = self.events.sessions.get_mut(client) {
            for one in &mut session.subscriptions {
                one.after = one.after.max(until);
            }
        }
        messages
    }
}

/// One channel, or several.
fn names(message: &Value) -> Result<Vec<String>, ()> {
    match message.get("subscription") {
        Some(Value::String(one)) if !one.is_empty() => Ok(vec![one.clone()]),
        Some(Value::Array(list)) if !list.is_empty() => list.iter().map(|name| name.as_str().map(str::to_owned).ok_or(())).collect(),
        _ => Err(()),
    }
}
