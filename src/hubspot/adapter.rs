//! HubSpot as a [`CrmAdapter`].
//!
//! Cost in HTTP requests: one per call, with these exceptions. An upsert of contacts by `email` is one to three, because
//! HubSpot's own does not update partially; by another unique property it is one. `bulk` is one per run of up to 100 operations
//! of one kind, two or three for upserts by email, and more if an error does not say which operation it is about. A tie by label
//! reads labels and associations first. Properties too many for a request are read by a second one.
//!
//! Before each request there is a wait for its turn, none in most cases and a minute at most; with
//! [`HubSpotLimiter::longest_wait`](crate::hubspot::HubSpotLimiter::longest_wait) of zero the layers above do all the waiting.

use std::collections::HashMap;

use async_trait::async_trait;

use crate::adapter::{
    Association, BulkOp, BulkOutcome, Capabilities, ChangeFeed, CrmAdapter, Identity, Quota, QuotaWindow, WriteOptions, Written,
};
use crate::error::{Error, ErrorKind, Result};
use crate::hubspot::batch::Input;
use crate::hubspot::client::{HubSpot, in_the_way};
use crate::hubspot::dialect::plain;
use crate::hubspot::entity::{COMPANIES, CONTACTS, is};
use crate::hubspot::record::{HubSpotRecord, marks};
use crate::hubspot::search::ID;
use crate::model::{Change, Entity, EntitySchema, ExternalKey, Fields, Record, RecordId, Version};
use crate::query::{Page, Query};

fn written(row: HubSpotRecord, created: Option<bool>) -> Written {
    let mut written = Written::new(RecordId::new(row.id));
    written.created = created.or(row.new);
    written.version = row.updated_at.map(Version::new);
    written
}

fn is_contacts(entity: &Entity) -> bool {
    is(entity, &CONTACTS)
}

fn no_switches(options: &WriteOptions) -> Result<()> {
    if options.if_version.is_some() {
        return Err(Error::unsupported("hubspot has no conditional writes"));
    }
    if !options.native.is_empty() {
        return Err(Error::config("an unknown native option; HubSpot has none"));
    }
    Ok(())
}

fn key_works(entity: &Entity, key: &ExternalKey) -> Result<()> {
    if key.field == "domain" && is(entity, &COMPANIES) {
        let error = Error::unsupported("domain is not unique in hubspot: companies are upserted by a unique property of your own");
        return Err(error.during("upsert").on(entity));
    }
    Ok(())
}

#[async_trait]
impl CrmAdapter for HubSpot {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn authenticate(&self) -> Result<Identity> {
        let account = self.account().await?;
        let mut identity = Identity::new();
        identity.account = account.portal_id.as_ref().and_then(plain);
        identity.api_version = Some(self.config.api_version.as_str().to_owned());
        Ok(identity)
    }

    async fn search(&self, query: &Query) -> Result<Page<Record>> {
        self.search_page(query).await.map_err(|error| error.during("search").on(&query.entity))
    }

    async fn create(&self, entity: &Entity, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        no_switches(options)?;
        Ok(written(self.create_as(entity, fields, None, marks).await?, Some(true)))
    }

    async fn update(&self, entity: &Entity, id: &RecordId, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        no_switches(options)?;
        Ok(written(self.update_as(entity, None, id.as_str(), fields, marks).await?, Some(false)))
    }

    async fn delete(&self, entity: &Entity, id: &RecordId, options: &WriteOptions) -> Result<()> {
        no_switches(options)?;
        self.archive(entity, id).await
    }

    async fn get(&self, entity: &Entity, id: &RecordId, select: &[String]) -> Result<Option<Record>> {
        let row = self.retrieve(entity, id, select).await?;
        row.map(|row| row.into_record(entity, select)).transpose()
    }

    async fn upsert(&self, entity: &Entity, key: &ExternalKey, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        no_switches(options)?;
        key_works(entity, key)?;
        if key.field == ID {
            return CrmAdapter::update(self, entity, &RecordId::new(&*key.value), fields, options).await;
        }
        if key.field == "email" && is_contacts(entity) {
            let (row, new) = self.upsert_by_email(&key.value, fields).await.map_err(|error| error.during("upsert"))?;
            return Ok(written(row, Some(new)));
        }
        Ok(written(self.upsert_by(entity, &key.field, &key.value, fields).await?, None))
    }

    async fn bulk(&self, entity: &Entity, ops: &[BulkOp], options: &WriteOptions) -> Result<Vec<BulkOutcome>> {
        no_switches(options)?;
        let mut outcomes: Vec<Option<BulkOutcome>> = ops.iter().map(|_| None).collect();
        for group in groups(ops) {
            let members: Vec<&BulkOp> = group.iter().filter_map(|at| ops.get(*at)).collect();
            for (at, outcome) in group.iter().zip(self.run(entity, &members).await) {
                if let Some(slot) = outcomes.get_mut(*at) {
                    *slot = Some(outcome);
                }
            }
        }
        let missing = || Err(Error::internal("an operation of a bulk call got no outcome").during("bulk").on(entity));
        Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect())
    }

    async fn changes(&self, feed: &ChangeFeed) -> Result<Page<Change>> {
        self.changes_page(feed).await.map_err(|error| error.during("changes").on(&feed.entity))
    }

    /// The relation is empty or `default`, `primary`, a type id, or a label. Labels there are stay.
    async fn associate(&self, link: &Association) -> Result<()> {
        self.tie(link).await.map_err(|error| error.during("associate"))
    }

    async fn describe(&self, entity: &Entity) -> Result<EntitySchema> {
        self.describe_entity(entity).await
    }

    async fn quota(&self) -> Result<Option<Quota>> {
        let heard = [("ten_secondly_rolling", self.dialect().burst()), ("daily", self.dialect().daily())];
        let windows: Vec<QuotaWindow> = heard
            .into_iter()
            .filter_map(|(name, heard)| {
                let heard = heard?;
                let mut window = QuotaWindow::new(name, heard.max.saturating_sub(heard.remaining), heard.max);
                window.window = Some(heard.window);
                Some(window)
            })
            .collect();
        Ok((!windows.is_empty()).then(|| Quota::new(windows)))
    }
}

/// Positions of operations that may share a request, in rounds: a batch must not name a record twice.
fn groups(ops: &[BulkOp]) -> Vec<Vec<usize>> {
    let mut groups: Vec<(&str, &str, Vec<usize>)> = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (at, op) in ops.iter().enumerate() {
        let (field, subject) = match op {
            BulkOp::Upsert { key, .. } if key.field == ID => (ID, Some(key.value.clone())),
            BulkOp::Upsert { key, .. } => (key.field.as_str(), Some(format!("{}\u{0}{}", key.field, key.value.to_lowercase()))),
            BulkOp::Update { id, .. } | BulkOp::Delete { id } => ("", Some(id.to_string())),
            BulkOp::Create { .. } => ("", None),
        };
        let after = subject.as_ref().and_then(|subject| seen.get(subject).copied()).map_or(0, |group| group + 1);
        let found = groups.iter().enumerate().skip(after).find(|(_, (kind, of, _))| *kind == op.operation() && *of == field);
        let group = found.map_or(groups.len(), |(group, _)| group);
        match groups.get_mut(group) {
            Some((_, _, members)) => members.push(at),
            None => groups.push((op.operation(), field, vec![at])),
        }
        if let Some(subject) = subject {
            seen.insert(subject, group);
        }
    }
    groups.into_iter().map(|(_, _, members)| members).collect()
}

fn input(op: &BulkOp) -> Result<Input<'_>> {
    match op {
        BulkOp::Create { fields } => Input::create(fields),
        BulkOp::Update { id, fields } => Input::update(id.as_str(), fields),
        BulkOp::Upsert { key, fields } if key.field == ID => Input::update(&key.value, fields),
        BulkOp::Upsert { key, fields } => Input::upsert(&key.field, &key.value, fields),
        BulkOp::Delete { .. } => Err(Error::internal("a deletion is no input of a write")),
    }
}

impl HubSpot {
    /// Operations of one kind, outcomes in their order.
    async fn run(&self, entity: &Entity, ops: &[&BulkOp]) -> Vec<BulkOutcome> {
        match ops.first() {
            None => Vec::new(),
            Some(BulkOp::Delete { .. }) => self.delete_all(entity, ops).await,
            Some(BulkOp::Upsert { key, .. }) if key_works(entity, key).is_err() => {
                ops.iter().map(|_| key_works(entity, key).and(Err(Error::internal("a key was refused without a reason")))).collect()
            }
            Some(BulkOp::Upsert { key, .. }) if key.field == "email" && is_contacts(entity) => self.upsert_emails(entity, ops).await,
            Some(first) => {
                let (verb, created) = match first {
                    BulkOp::Create { .. } => ("create", Some(true)),
                    BulkOp::Upsert { key, .. } if key.field != ID => ("upsert", None),
                    _ => ("update", Some(false)),
                };
                let inputs: Vec<Result<Input<'_>>> = ops.iter().map(|op| input(op)).collect();
                self.send_good(entity, verb, inputs).await.into_iter().map(|row| row.map(|row| written(row, created))).collect()
            }
        }
    }

    /// Sends the inputs that could be written; the others keep their errors.
    async fn send_good(&self, entity: &Entity, verb: &'static str, inputs: Vec<Result<Input<'_>>>) -> Vec<Result<HubSpotRecord>> {
        let mut places: Vec<Option<Error>> = Vec::with_capacity(inputs.len());
        let mut good = Vec::with_capacity(inputs.len());
        for input in inputs {
            match input {
                Ok(input) => {
                    good.push(input);
                    places.push(None);
                }
                Err(error) => places.push(Some(error.during(verb).on(entity))),
            }
        }
        let mut rows = self.batch(entity, verb, &good).await.into_iter();
        let missing = || Err(Error::internal("an input of a batch got no outcome").during(verb).on(entity));
        places.into_iter().map(|place| place.map_or_else(|| rows.next().unwrap_or_else(missing), Err)).collect()
    }

    async fn delete_all(&self, entity: &Entity, ops: &[&BulkOp]) -> Vec<BulkOutcome> {
        let ids: Vec<String> =
            ops.iter().filter_map(|op| if let BulkOp::Delete { id } = op { Some(id.to_string()) } else { None }).collect();
        let mut outcomes = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(crate::hubspot::limits::BATCH_LIMIT) {
            let whole = self.batch_archive(entity, chunk).await;
            for id in chunk {
                let id = RecordId::new(id.as_str());
                outcomes.push(match &whole {
                    Ok(()) => Ok(Written::new(id)),
                    // The answer names no id: one by one tells.
                    Err(error) if matches!(error.kind(), ErrorKind::Validation | ErrorKind::NotFound) => {
                        self.archive(entity, &id).await.map(|()| Written::new(id))
                    }
                    Err(error) => Err(error.echo()),
                });
            }
        }
        outcomes
    }

    /// Upserts by email without losing what the fields leave out: reads which exist, updates those and makes the others.
    async fn upsert_emails(&self, entity: &Entity, ops: &[&BulkOp]) -> Vec<BulkOutcome> {
        let keyed: Vec<(&ExternalKey, &Fields)> =
            ops.iter().filter_map(|op| if let BulkOp::Upsert { key, fields } = op { Some((key, fields)) } else { None }).collect();
        let emails: Vec<String> = keyed.iter().map(|(key, _)| key.value.clone()).collect();
        let select = ["email".to_owned(), "hs_additional_emails".to_owned()];
        let found = match self.batch_read(entity, Some("email"), &emails, &select).await {
            Ok(found) => found,
            Err(error) => return keyed.iter().map(|_| Err(error.echo().during("upsert"))).collect(),
        };
        let mut known: HashMap<String, String> = HashMap::new();
        for row in &found {
            let more = row.properties.text("hs_additional_emails").unwrap_or_default().split(';');
            for email in more.chain(row.properties.text("email")).filter(|email| !email.is_empty()) {
                known.insert(email.trim().to_lowercase(), row.id.clone());
            }
        }
        let of = |key: &ExternalKey| known.get(&key.value.trim().to_lowercase());
        let updates = keyed.iter().filter_map(|(key, fields)| Some(Input::update(of(key)?, fields))).collect();
        let new = keyed.iter().filter(|(key, _)| of(key).is_none()).map(|(key, fields)| {
            let mut whole = (*fields).clone();
            whole.insert("email", key.value.as_str());
            whole
        });
        let new: Vec<Fields> = new.collect();
        let creates = new.iter().map(Input::create).collect();
        let mut updated = self.send_good(entity, "update", updates).await.into_iter();
        let mut made = self.send_good(entity, "create", creates).await.into_iter();
        let mut outcomes = Vec::with_capacity(keyed.len());
        for (key, fields) in keyed {
            let there = of(key).is_some();
            let row = if there { updated.next() } else { made.next() };
            outcomes.push(match row {
                Some(Ok(row)) => Ok(written(row, Some(!there))),
                // Somebody was faster.
                Some(Err(error)) if !there && in_the_way(&error).is_some() => match in_the_way(&error) {
                    Some(id) => HubSpot::update(self, entity, None, id.as_str(), fields).await.map(|row| written(row, Some(false))),
                    None => Err(error),
                },
                Some(Err(error)) => Err(error.during("upsert")),
                None => Err(Error::internal("an upsert got no outcome").during("upsert").on(entity)),
            });
        }
        outcomes
    }
}
