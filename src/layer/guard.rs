//! Refuses what must not, or cannot, be done, before anything is sent.

use futures_util::future::BoxFuture;
use std::collections::BTreeSet;

use crate::error::{Error, ErrorKind, Result};
use crate::layer::api::{Call, Middleware};
use crate::model::Entity;
use crate::query::Criteria;

/// Holds each call against the adapter's [`Capabilities`](crate::adapter::Capabilities), and against the host's own rules.
///
/// What the CRM cannot do is [`ErrorKind::Unsupported`]; what the host forbids is [`ErrorKind::Permission`].
#[derive(Clone, Debug, Default)]
pub struct Guard {
    read_only: bool,
    no_deletes: bool,
    entities: Option<BTreeSet<Entity>>,
}

impl Guard {
    /// Checks capabilities alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses every write.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Refuses `delete`, and with it every `bulk`, which might hold one.
    #[must_use]
    pub fn no_deletes(mut self) -> Self {
        self.no_deletes = true;
        self
    }

    /// Refuses every entity but these.
    #[must_use]
    pub fn entities(mut self, entities: impl IntoIterator<Item = Entity>) -> Self {
        self.entities = Some(entities.into_iter().collect());
        self
    }

    fn forbidden(&self, call: &Call<'_>) -> Option<&'static str> {
        if self.read_only && call.is_write() {
            return Some("this connection is read-only");
        }
        if self.no_deletes && matches!(call.operation, "delete" | "bulk" | "open_job" | "run_job") {
            return Some("this connection deletes nothing");
        }
        let outside = |entities: &BTreeSet<Entity>| call.entity.is_some_and(|entity| !entities.contains(entity));
        self.entities.as_ref().is_some_and(outside).then_some("this connection is not allowed to touch the entity")
    }
}

/// What the adapter cannot do of this call.
fn impossible(call: &Call<'_>) -> Option<String> {
    let can = call.capabilities;
    let able = match call.operation {
        "search" => can.search,
        "create" => can.create,
        "update" => can.update,
        "delete" => can.delete,
        "upsert" => can.upsert,
        "changes" => can.changes,
        "associate" => can.associate,
        "describe" => can.describe,
        _ => true,
    };
    let adapter = call.adapter;
    if !able {
        return Some(format!("{adapter} has no {}", call.operation));
    }
    let over = |most: usize, count: usize| most > 0 && count > most;
    if call.operation == "bulk" && over(can.bulk_max_ops, call.records) {
        return Some(format!("{adapter} takes {} operations in one bulk call, not {}: use bulk_all", can.bulk_max_ops, call.records));
    }
    let query = call.query?;
    if !query.order.is_empty() && !can.search_with_order {
        return Some(format!("{adapter} cannot sort"));
    }
    // With the residual allowed, the adapter says itself what it filters here.
    if query.residual {
        return None;
    }
    if query.filter.has_or() && !can.search_with_or {
        return Some(format!("{adapter} cannot search with OR: use IN, several searches, or allow_residual"));
    }
    if has_not(&query.filter) && !can.search_with_not {
        return Some(format!("{adapter} cannot search with NOT: use != or allow_residual"));
    }
    if over(can.search_max_clauses, query.filter.clauses()) {
        return Some(format!("{adapter} takes {} comparisons in one search, not {}", can.search_max_clauses, query.filter.clauses()));
    }
    None
}

/// A NOT that is more than "is not empty", which every CRM can ask.
fn has_not(criteria: &Criteria) -> bool {
    match criteria {
        Criteria::All(parts) | Criteria::Any(parts) => parts.iter().any(has_not),
        Criteria::Not(part) => !matches!(**part, Criteria::IsNull { .. }),
        _ => false,
    }
}

impl Middleware for Guard {
    async fn around<'a, T, F>(&'a self, call: Call<'a>, run: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let refusal = match self.forbidden(&call) {
            Some(reason) => Some(Error::new(ErrorKind::Permission, reason)),
            None => impossible(&call).map(Error::unsupported),
        };
        let Some(error) = refusal else { return run().await };
        let error = error.during(call.operation);
        Err(match call.entity {
            Some(entity) => error.on(entity),
            None => error,
        })
    }
}
