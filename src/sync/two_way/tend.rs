//! What waits for a person: conflicts, and records that are frozen.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::error::Result;
use crate::model::Value;
use crate::store::Batch;
use crate::store::audit::{self, AuditEntry};
use crate::store::lanes::{self, Answer};
use crate::store::pending::{self, Note, Side};
use crate::sync::two_way::api::TwoWay;
use crate::sync::two_way::pair::TENDED;

/// A record that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attention {
    /// The host's id.
    pub local: String,
    /// Fields of the CRM that both sides changed, and since when that is known.
    pub conflicts: BTreeMap<String, Timestamp>,
    /// Fields that went back and forth, if it is frozen, and since when.
    pub frozen: Option<(Timestamp, Vec<String>)>,
}

/// A person's answer to a conflict.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Decided {
    /// The host's value.
    Local,
    /// The CRM's value.
    Remote,
    /// This value, in the CRM's words.
    Value(Value),
}

impl TwoWay {
    /// Records that wait for a person, at most `limit` behind the host id `after`, in the order of the encoded host ids.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn attention(&self, after: Option<&str>, limit: usize) -> Result<Vec<Attention>> {
        let inner = &*self.parts.engine.inner;
        let mut found = Vec::new();
        let mut last = after.map(str::to_owned);
        loop {
            let page = lanes::page(self.store(), inner.connection(), &inner.entity, last.as_deref(), 1_000).await?;
            let more = page.len() == 1_000;
            for (local, lane) in page {
                last = Some(local.clone());
                if lane.frozen.is_some() || !lane.conflicts.is_empty() {
                    found.push(Attention { local, conflicts: lane.conflicts, frozen: lane.frozen });
                    if found.len() >= limit {
                        return Ok(found);
                    }
                }
            }
            if !more {
                return Ok(found);
            }
        }
    }

    /// Answers the conflict of one field; the next settling writes it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn answer(&self, local: &str, field: &str, decided: Decided) -> Result<()> {
        let answer = match decided {
            Decided::Local => Answer::Local,
            Decided::Remote => Answer::Remote,
            Decided::Value(value) => Answer::Value(value),
        };
        self.change_lane(local, |lane| {
            lane.answers.insert(field.to_owned(), answer);
        })
        .await
    }

    /// Frees a frozen record; the next settling looks at it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn unfreeze(&self, local: &str) -> Result<()> {
        self.change_lane(local, |lane| {
            lane.frozen = None;
            lane.turns.clear();
        })
        .await
    }

    async fn change_lane(&self, local: &str, change: impl FnOnce(&mut lanes::Lane)) -> Result<()> {
        let inner = &*self.parts.engine.inner;
        let (connection, entity) = (inner.connection(), &inner.entity);
        let mut lane = lanes::get_many(self.store(), connection, entity, &[local]).await?.pop().unwrap_or_default();
        change(&mut lane);
        let mut batch = Batch::new();
        lanes::put(&mut batch, connection, entity, local, &lane)?;
        let note = Note { cause: TENDED.to_owned(), ..Note::default() };
        pending::put(&mut batch, connection, entity, Side::Local, local, &note)?;
        self.store().commit(batch).await?;
        Ok(())
    }

    /// What was written to a record, when, why, and from which change: at most `limit` entries, the oldest first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn audit_of(&self, local: &str, limit: usize) -> Result<Vec<AuditEntry>> {
        let inner = &*self.parts.engine.inner;
        audit::of(self.store(), inner.connection(), &inner.entity, local, limit).await
    }
}
