//! Everything behind the lock: the faces, the script of faults, the list of requests, the log.

use std::collections::VecDeque;

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::sandbox::call::{Call, Reply};
use crate::sandbox::encoding;
use crate::sandbox::fault::{FaultKind, Faults};
use crate::sandbox::hubspot::HubSpot;
use crate::sandbox::log::Log;
use crate::sandbox::pipedrive::Pipedrive;
use crate::sandbox::requests::RequestRecord;
use crate::sandbox::salesforce::{Held, Polled, Salesforce};

/// So many requests are remembered.
const REMEMBERED: usize = 100_000;

/// Uploaded rows written before a request is answered; the batch that reaches the number is written whole.
const ROWS_AT_ONCE: usize = 40_000;

/// A vendor's part of the world. A new face gets a variant here and a field in [`World`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    HubSpot,
    Pipedrive,
    Salesforce,
}

impl Face {
    /// The face a path belongs to, and the path without the face's prefix.
    pub(crate) fn of<'a>(path: &'a str, query: &str) -> Option<(Self, &'a str)> {
        if let Some(rest) = path.strip_prefix("/pipedrive")
            && rest.starts_with('/')
        {
            return Some((Self::Pipedrive, rest));
        }
        if Pipedrive::owns(path, query) {
            return Some((Self::Pipedrive, path));
        }
        if let Some(rest) = path.strip_prefix("/salesforce")
            && rest.starts_with('/')
        {
            return Some((Self::Salesforce, rest));
        }
        if let Some(rest) = path.strip_prefix("/hubspot")
            && rest.starts_with('/')
        {
            return Some((Self::HubSpot, rest));
        }
        if HubSpot::owns(path) {
            return Some((Self::HubSpot, path));
        }
        Salesforce::owns(path).then_some((Self::Salesforce, path))
    }
}

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answer(http::Response<Bytes>),
    /// The connection breaks without an answer.
    Dropped,
    /// The connection breaks after so many bytes of the body.
    Truncated(http::Response<Bytes>, usize),
}

#[derive(Debug)]
pub(crate) struct World {
    seed: u64,
    pub(crate) hubspot: HubSpot,
    pub(crate) pipedrive: Pipedrive,
    pub(crate) salesforce: Salesforce,
    pub(crate) faults: Faults,
    pub(crate) requests: VecDeque<RequestRecord>,
    log: Option<Log>,
}

impl World {
    pub(crate) fn new(seed: u64, now: Timestamp) -> Self {
        let mut salesforce = Salesforce::new(seed, now);
        salesforce.committed();
        let hubspot = HubSpot::new(seed, now);
        let pipedrive = Pipedrive::new(seed, now);
        Self { seed, hubspot, pipedrive, salesforce, faults: Faults::new(seed), requests: VecDeque::new(), log: None }
    }

    /// The world that `log` tells of, and the log made short.
    pub(crate) fn reopen(seed: u64, now: Timestamp, mut log: Log, lines: Vec<Value>) -> Result<Self> {
        let mut world = Self::new(seed, now);
        for mut line in lines {
            if let Some(part) = line.get_mut("salesforce") {
                world.salesforce.replay(now, part.take())?;
            }
            if let Some(part) = line.get_mut("hubspot") {
                world.hubspot.replay(part.take())?;
            }
            if let Some(part) = line.get_mut("pipedrive") {
                world.pipedrive.replay(part.take())?;
            }
        }
        log.compact(&world.snapshot()?)?;
        world.log = Some(log);
        Ok(world)
    }

    fn snapshot(&self) -> Result<Value> {
        let failed = || Error::internal("the world does not serialise");
        let (salesforce, hubspot) = (self.salesforce.snapshot().ok_or_else(failed)?, self.hubspot.snapshot().ok_or_else(failed)?);
        let pipedrive = self.pipedrive.snapshot().ok_or_else(failed)?;
        Ok(json!({"salesforce": salesforce, "hubspot": hubspot, "pipedrive": pipedrive}))
    }

    /// Back to the beginning, script, requests and log too.
    pub(crate) fn reset(&mut self, now: Timestamp) -> Result<()> {
        let log = self.log.take();
        *self = Self::new(self.seed, now);
        self.log = log;
        let snapshot = self.snapshot()?;
        match &mut self.log {
            Some(log) => log.compact(&snapshot),
            None => Ok(()),
        }
    }

    /// Makes what has changed last; if that fails, it has not happened.
    pub(crate) fn commit(&mut self) -> Result<()> {
        self.salesforce.publish();
        self.hubspot.publish();
        let (salesforce, pipedrive) = (self.salesforce.is_dirty(), self.pipedrive.is_dirty());
        if let Some(log) = &mut self.log {
            let parts = [
                ("salesforce", salesforce.then(|| self.salesforce.pending()).flatten()),
                ("hubspot", self.hubspot.pending()),
                ("pipedrive", pipedrive.then(|| self.pipedrive.pending()).flatten()),
            ];
            let line: Map<String, Value> = parts.into_iter().filter_map(|(face, part)| Some((face.to_owned(), part?))).collect();
            if !line.is_empty()
                && let Err(error) = log.append(&Value::Object(line))
            {
                self.salesforce.discarded();
                self.hubspot.discarded();
                self.pipedrive.discarded();
                return Err(error);
            }
        }
        self.hubspot.committed();
        if salesforce {
            self.salesforce.committed();
            self.salesforce.events.wake();
        }
        if pipedrive {
            self.pipedrive.committed();
        }
        Ok(())
    }

    /// Lets the clock do what it is due to do, a commit at a time. A great upload is not written while one request waits: what is
    /// left is done when the world is looked at again.
    pub(crate) fn advance(&mut self, now: Timestamp) -> Result<()> {
        let mut rows = 0;
        while rows < ROWS_AT_ONCE
            && let Some(written) = self.salesforce.step_jobs(now)
        {
            self.commit()?;
            rows += written;
        }
        self.salesforce.jobs.seen(now);
        Ok(())
    }

    /// Answers a request to a face, as the fault wants it; or says what the answer must wait for.
    pub(crate) fn run(&mut self, face: Face, call: &mut Call, fault: Option<&FaultKind>) -> Result<Outcome, Box<Held>> {
        // What cannot be kept shows when the request's own changes are committed.
        let advanced = self.advance(call.now);
        let own = if face == Face::HubSpot { self.hubspot.early(call, fault) } else { None };
        let early = match fault {
            _ if own.is_some() => own,
            Some(FaultKind::DropBefore) => {
                self.remember(call, 0);
                return Ok(Outcome::Dropped);
            }
            Some(FaultKind::TooManyRequests { retry_after }) if face == Face::Pipedrive => {
                Some(after(self.pipedrive.limited(false), retry_after.as_ref()))
            }
            Some(FaultKind::RequestLimit { concurrent }) if face == Face::Pipedrive => Some(self.pipedrive.limited(!*concurrent)),
            Some(FaultKind::ExpireToken) if face == Face::Pipedrive => {
                self.pipedrive.expire_shown(call);
                None
            }
            Some(FaultKind::TooManyRequests { retry_after }) => {
                let reply = Reply::html(StatusCode::TOO_MANY_REQUESTS, "<html><body>Too Many Requests</body></html>");
                Some(after(reply, retry_after.as_ref()))
            }
            Some(FaultKind::Unavailable { html, retry_after }) => {
                let page = "<html><head><title>Service Unavailable</title></head><body>We are down for maintenance.</body></html>";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let reply = if *html { Reply::html(status, page) } else { Reply::empty(status) };
                Some(after(reply, retry_after.as_ref()))
            }
            Some(FaultKind::RequestLimit { concurrent }) => {
                let message = if *concurrent {
                    "ConcurrentPerOrgLongTxn Limit exceeded. ConcurrentRequests (Concurrent API Requests) Limit exceeded."
                } else {
                    "TotalRequests Limit exceeded."
                };
                let body = json!([{"message": message, "errorCode": "REQUEST_LIMIT_EXCEEDED"}]);
                Some(Reply::json(StatusCode::FORBIDDEN, body))
            }
            Some(FaultKind::Status { status, body }) => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                Some(if body.is_null() { Reply::empty(status) } else { Reply::json(status, body.clone()) })
            }
            Some(FaultKind::ExpireToken) => {
                if let Some((_, token)) = call.header("authorization").and_then(|value| value.split_once(' ')) {
                    let token = token.trim().to_owned();
                    self.salesforce.auth.expire(&token);
                }
                None
            }
            Some(FaultKind::RowLock { rows }) => {
                call.locked = Some(rows.clone());
                None
            }
            _ => None,
        };
        let reply = match early {
            Some(reply) => reply,
            None => match face {
                Face::HubSpot => self.hubspot.handle(call),
                Face::Pipedrive => self.pipedrive.handle(call),
                Face::Salesforce if Salesforce::streams(&call.path) => match self.salesforce.cometd(call) {
                    Polled::Held(held) => return Err(held),
                    Polled::Reply(reply) => reply,
                },
                Face::Salesforce => self.salesforce.handle(call),
            },
        };
        Ok(self.finish(call, fault, advanced, reply))
    }

    /// Makes last what the request has changed, and lets the answer go as the fault wants it.
    pub(crate) fn finish(&mut self, call: &Call, fault: Option<&FaultKind>, advanced: Result<()>, reply: Reply) -> Outcome {
        let reply = match advanced.and_then(|()| self.commit()) {
            Ok(()) => reply,
            Err(_) => {
                let body = json!([{"message": "the change could not be stored", "errorCode": "SERVER_UNAVAILABLE"}]);
                Reply::json(StatusCode::SERVICE_UNAVAILABLE, body)
            }
        };
        let head = call.method == http::Method::HEAD;
        let mut response = reply.into_response();
        encoding::answer(call, &mut response);
        if head {
            *response.body_mut() = Bytes::new();
        }
        match fault {
            Some(FaultKind::DropAfter) => {
                self.remember(call, 0);
                Outcome::Dropped
            }
            Some(FaultKind::Truncate) if !response.body().is_empty() => {
                self.remember(call, response.status().as_u16());
                let half = response.body().len() / 2;
                Outcome::Truncated(response, half)
            }
            _ => {
                self.remember(call, response.status().as_u16());
                Outcome::Answer(response)
            }
        }
    }

    pub(crate) fn remember(&mut self, call: &Call, status: u16) {
        if self.requests.len() >= REMEMBERED {
            self.requests.pop_front();
        }
        self.requests.push_back(RequestRecord {
            method: call.method.as_str().to_owned(),
            path: call.path.clone(),
            query: call.query.clone(),
            status,
            at: call.now,
            api_calls: self.salesforce.usage.calls,
        });
    }
}

fn after(reply: Reply, retry_after: Option<&String>) -> Reply {
    match retry_after {
        Some(value) => reply.header("retry-after", value.clone()),
        None => reply,
    }
}
