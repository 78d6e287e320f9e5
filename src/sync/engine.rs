//! The engine: one entity of one connection.

use std::collections::HashMap;
use std::sync::Arc;

use crate::adapter::CrmAdapter;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::mapping::Mapping;
use crate::model::{Entity, EntitySchema, FieldType};
use crate::pace::{RetryBudget, RetryPolicy};
use crate::store::Store;
use crate::sync::duplicates::DuplicateCheck;
use crate::sync::guarantee::Guarantee;
use crate::sync::rules::SyncRules;

/// Syncs one entity of one connection. Cheap to clone; all state is in the store.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Clone, Debug)]
pub(crate) struct Inner {
    pub(crate) adapter: Arc<dyn CrmAdapter>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) host: Host,
    pub(crate) mapping: Mapping,
    pub(crate) entity: Entity,
    pub(crate) types: HashMap<String, FieldType>,
    /// What reference fields may point to.
    pub(crate) references: HashMap<String, Vec<String>>,
    pub(crate) key_length: Option<u32>,
    pub(crate) guarantee: Guarantee,
    pub(crate) match_field: Option<String>,
    pub(crate) duplicates: Option<DuplicateCheck>,
    /// With the name the rules know the entity by.
    pub(crate) rules: Option<(String, SyncRules)>,
    pub(crate) policy: RetryPolicy,
    /// What in-call retries of writes are paid from, if not for nothing.
    pub(crate) budget: Option<RetryBudget>,
    pub(crate) batch_size: usize,
    pub(crate) in_flight: usize,
    pub(crate) jobs_from: Option<usize>,
    pub(crate) search_lag: std::time::Duration,
}

impl Engine {
    /// An engine for `entity`, whose fields `schema` describes and `mapping` fills.
    pub fn builder(
        adapter: Arc<dyn CrmAdapter>,
        store: Arc<dyn Store>,
        host: Host,
        schema: EntitySchema,
        mapping: Mapping,
    ) -> EngineBuilder {
        EngineBuilder {
            adapter,
            store,
            host,
            schema,
            mapping,
            key: None,
            match_field: None,
            duplicates: None,
            rules: None,
            policy: RetryPolicy::default(),
            batch_size: 200,
            in_flight: 1,
            jobs_from: None,
            search_lag: std::time::Duration::from_secs(60),
        }
    }

    /// The same engine with another policy, whose retries of writes are paid for.
    pub(crate) fn retrying(&self, policy: RetryPolicy, budget: RetryBudget) -> Self {
        Self { inner: Arc::new(Inner { policy, budget: Some(budget), ..(*self.inner).clone() }) }
    }

    /// How safe creates are, by the CRM's own metadata.
    pub fn guarantee(&self) -> &Guarantee {
        &self.inner.guarantee
    }

    /// The rules it is held to, if there are any.
    pub fn rules(&self) -> Option<&SyncRules> {
        self.inner.rules.as_ref().map(|(_, rules)| rules)
    }

    /// How often changes are asked for: the rules' `syncInterval`, or its default of five minutes. For
    /// [`Reader::stream`](crate::sync::Reader::stream); [`TwoWay::rounds`](crate::sync::TwoWay::rounds) keeps it by itself.
    pub fn interval(&self) -> std::time::Duration {
        self.rules().map_or_else(|| SyncRules::default().interval, |rules| rules.interval)
    }

    /// The CRM's entity.
    pub fn entity(&self) -> &Entity {
        &self.inner.entity
    }
}

impl Inner {
    pub(crate) fn connection(&self) -> &str {
        self.adapter.name()
    }

    pub(crate) fn field_type(&self, field: &str) -> FieldType {
        self.types.get(field).cloned().unwrap_or_default()
    }

    /// Runs a read until it answers or the policy gives up.
    pub(crate) async fn reading<T, F>(&self, read: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let started = self.host.monotonic();
        let mut attempt = 1;
        loop {
            match read().await {
                Ok(value) => return Ok(value),
                Err(error) => {
                    let elapsed = self.host.monotonic().saturating_sub(started);
                    match self.policy.next_wait_repeatable(&error, attempt, elapsed, self.host.random()) {
                        Some(wait) => self.host.sleep(wait).await,
                        None => return Err(error),
                    }
                    attempt += 1;
                }
            }
        }
    }
}

/// Puts an [`Engine`] together.
#[derive(Debug)]
pub struct EngineBuilder {
    adapter: Arc<dyn CrmAdapter>,
    store: Arc<dyn Store>,
    host: Host,
    schema: EntitySchema,
    mapping: Mapping,
    key: Option<String>,
    match_field: Option<String>,
    duplicates: Option<DuplicateCheck>,
    rules: Option<(String, SyncRules)>,
    policy: RetryPolicy,
    batch_size: usize,
    in_flight: usize,
    jobs_from: Option<usize>,
    search_lag: std::time::Duration,
}

impl EngineBuilder {
    /// The CRM's field that holds the host's id. Without one, creates carry no guarantee.
    #[must_use]
    pub fn external_key(mut self, field: impl Into<String>) -> Self {
        self.key = Some(field.into());
        self
    }

    /// A CRM field (an e-mail address) by which records that were not made by us are recognised: a single hit is taken over
    /// and updated, several are held for review.
    #[must_use]
    pub fn match_on(mut self, field: impl Into<String>) -> Self {
        self.match_field = Some(field.into());
        self
    }

    /// Holds the engine to the guide's rules, under the name they know its entity by (`lead` for `leadCriteria`): records whose mapped
    /// fields do not meet the condition are skipped, and so are creates or updates that `createOrUpdate` and `syncDirection` leave
    /// out; the plan says so. `retryAttempts` becomes the retry policy and `batchSize` the batch size, unless they are set after this;
    /// `syncInterval` is [`Engine::interval`].
    #[must_use]
    pub fn rules(mut self, entity: impl Into<String>, rules: SyncRules) -> Self {
        self.policy = rules.retry_policy();
        self.batch_size = rules.batch_size.max(1);
        self.rules = Some((entity.into(), rules));
        self
    }

    /// Recognises records by all their signs, not by one field: each record that is new is searched for in the CRM by its e-mail,
    /// telephone, name and so on ([`crate::dedup::search_criteria`], mostly one call a record), and compared with what comes and with
    /// the new records before it in the input. Surely one record of the CRM: it is taken over and updated. Likely, several, or
    /// twice in the input: held for review, with the evidence.
    #[must_use]
    pub fn duplicates(mut self, check: DuplicateCheck) -> Self {
        self.duplicates = Some(check);
        self
    }

    /// When and how often to repeat. Default: that of the original guide (1 s doubling to 60 s, five attempts).
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Records in one write call; the adapter's own limit holds as well. Default: 200.
    #[must_use]
    pub fn batch_size(mut self, records: usize) -> Self {
        self.batch_size = records.max(1);
        self
    }

    /// Write calls under way at once. Default: 1, which never lets two calls lock the same parent record.
    #[must_use]
    pub fn in_flight(mut self, calls: usize) -> Self {
        self.in_flight = calls.max(1);
        self
    }

    /// From how many records on writes of one kind are a job of the CRM, where a job can do them; `usize::MAX` is never. Default:
    /// the adapter's word ([`crate::adapter::JobTerms::from`]).
    ///
    /// A job takes fewer calls and longer: its outcomes come when all of it is done. Creates without an external key are never
    /// one.
    #[must_use]
    pub fn jobs_from(mut self, records: usize) -> Self {
        self.jobs_from = Some(records);
        self
    }

    /// How long the CRM's search may lag behind its writes. Default: 60 s. Only for [`Guarantee::ProbedWithLag`].
    #[must_use]
    pub fn search_lag(mut self, lag: std::time::Duration) -> Self {
        self.search_lag = lag;
        self
    }

    /// The engine.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if the key or the match field does not exist or cannot do what it is for, or if the
    /// mapping fills the key field itself.
    pub fn build(self) -> Result<Engine> {
        let guarantee = Guarantee::of(self.key.as_deref(), &self.schema, self.adapter.capabilities())?;
        let entity = self.schema.entity.clone();
        if let Some(key) = guarantee.field()
            && self.mapping.targets().iter().any(|target| target.name == key)
        {
            return Err(Error::config(format!(
                "the mapping writes {entity}.{key}, which holds the host's id; map another field or choose another key"
            )));
        }
        let match_field = match &self.match_field {
            None => None,
            Some(name) => match self.schema.field(name) {
                Some(field) if field.filterable => Some(field.name.clone()),
                Some(_) => return Err(Error::config(format!("{entity}.{name} cannot be searched, so records cannot be recognised by it"))),
                None => return Err(Error::config(format!("{entity} has no field {name}, or this user may not see it"))),
            },
        };
        for (_, name) in self.duplicates.iter().flat_map(|check| &check.fields) {
            if self.schema.field(name).is_none() {
                return Err(Error::config(format!("{entity} has no field {name} to compare records by, or this user may not see it")));
            }
        }
        let most = self.adapter.capabilities().bulk_max_ops;
        let inner = Inner {
            types: self.schema.fields.iter().map(|field| (field.name.clone(), field.kind.clone())).collect(),
            references: (self.schema.fields.iter())
                .filter(|field| !field.references.is_empty())
                .map(|field| (field.name.clone(), field.references.clone()))
                .collect(),
            key_length: guarantee.field().and_then(|key| self.schema.field(key)).and_then(|field| field.max_length),
            batch_size: if most == 0 { self.batch_size } else { self.batch_size.min(most) },
            adapter: self.adapter,
            store: self.store,
            host: self.host,
            mapping: self.mapping,
            entity,
            guarantee,
            match_field,
            duplicates: self.duplicates,
            rules: self.rules,
            policy: self.policy,
            budget: None,
            in_flight: self.in_flight,
            jobs_from: self.jobs_from,
            search_lag: self.search_lag,
        };
        Ok(Engine { inner: Arc::new(inner) })
    }
}
