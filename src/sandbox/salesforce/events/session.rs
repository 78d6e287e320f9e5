//! CometD clients.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::sandbox::salesforce::events::channel::Channel;

/// A client that does not connect for so long is forgotten.
pub(crate) const PATIENCE: i64 = 40_000;
/// So long a connect is held.
pub(crate) const TIMEOUT: i64 = 110_000;

/// A channel a client listens to.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    /// As the client wrote it.
    pub(crate) text: String,
    pub(crate) channel: Channel,
    /// What was delivered so far.
    pub(crate) after: u64,
}

/// A client.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The value of its cookie.
    pub(crate) browser: String,
    pub(crate) token: String,
    pub(crate) version: u32,
    pub(crate) subscriptions: Vec<Subscription>,
    /// Milliseconds since 1970.
    pub(crate) forgotten_at: i64,
    /// Connects so far; an earlier one that is still held has lost its place.
    pub(crate) connects: u64,
}

/// All clients.
#[derive(Debug)]
pub(crate) struct Sessions {
    seed: u64,
    made: u64,
    by_id: BTreeMap<String, Session>,
}

impl Sessions {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, made: 0, by_id: BTreeMap::new() }
    }

    fn secret(&self, what: &str) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{}:{}:{what}", self.seed, self.made))).replace(['-', '_'], "x")
    }

    /// A new client's id.
    pub(crate) fn open(&mut self, browser: Option<&str>, token: &str, version: u32, now: i64) -> String {
        self.made += 1;
        let tail = self.secret("client");
        let id = format!("{:x}p1{}", self.made, tail.get(..24).unwrap_or(&tail)).to_lowercase();
        let browser = browser.map_or_else(|| self.secret("browser"), str::to_owned);
        let session =
            Session { browser, token: token.to_owned(), version, subscriptions: Vec::new(), forgotten_at: now + PATIENCE, connects: 0 };
        self.by_id.insert(id.clone(), session);
        id
    }

    /// Forgets who has been silent too long.
    pub(crate) fn sweep(&mut self, now: i64) {
        self.by_id.retain(|_, session| now < session.forgotten_at);
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Session> {
        self.by_id.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Session> {
        self.by_id.get_mut(id)
    }

    pub(crate) fn close(&mut self, id: &str) -> bool {
        self.by_id.remove(id).is_some()
    }

    pub(crate) fn close_all(&mut self) {
        self.by_id.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Session)> {
        self.by_id.iter().map(|(id, session)| (id.as_str(), session))
    }
}
