//! Making a plan.

use std::collections::{BTreeMap, HashMap, HashSet};

use sha2::{Digest, Sha256};

use crate::adapter::Price;
use crate::error::{Result, chain};
use crate::mapping::{Lookup, Mode};
use crate::model::{Fields, Link, Record, RecordId, Value};
use crate::query::Criteria;
use crate::store::{base, ledger, links, parked};
use crate::sync::api::Incoming;
use crate::sync::decide::{Decision, decide};
use crate::sync::engine::{Engine, Inner};
use crate::sync::lookup::{Found, carries, fold};
use crate::sync::plan::{Action, Cost, Plan, PlanRow, Way};
use crate::sync::references::Reference;

/// Rows read from the store at once.
const STORE_PAGE: usize = 1_000;

impl Engine {
    /// What has to be written so that the CRM has `incoming`. Writes nothing, neither to the CRM nor to the store.
    ///
    /// Reads: none for records that are linked; for new ones one search that tells whether the CRM holds any record with a key,
    /// and if it does one search per few hundred records.
    ///
    /// # Errors
    /// Those of the store and of the CRM's search. A record that cannot be mapped is a row of the plan, not an error.
    pub async fn plan(&self, incoming: &[Incoming]) -> Result<Plan> {
        let inner = &*self.inner;
        let mut draft = Draft::new(inner, incoming);
        draft.read_store().await?;
        draft.refuse_alike_ids();
        draft.map();
        draft.fill_references().await?;
        draft.look_up_unsure().await?;
        draft.look_up_keys().await?;
        draft.look_up_matches().await?;
        draft.recognise().await?;
        draft.keep_links_unique().await?;
        draft.keep_targets_unique();
        let rows = draft.finish();
        let left = inner.adapter.quota().await?.and_then(|quota| quota.left());
        let prices = [if inner.guarantee.is_keyed() { "upsert" } else { "create" }, "update"]
            .map(|operation| inner.adapter.call_price(&inner.entity, operation));
        let [create, update] = prices.each_ref().map(|price| price.as_ref().map_or(1, |price| price.amount.max(1)));
        let mut plan = Plan {
            connection: inner.connection().to_owned(),
            entity: inner.entity.clone(),
            guarantee: inner.guarantee.clone(),
            mapping: inner.mapping.version().to_owned(),
            creates: Way::Rows,
            updates: Way::Rows,
            rows,
            cost: Cost { read_calls: draft.read_calls, write_calls: 0, price: None, left },
        };
        let summary = plan.summary();
        plan.creates = inner.way(Action::Create, summary.create, left.map(|left| left / create));
        let creates = plan.creates.calls(summary.create);
        let rest = left.map(|left| left.saturating_sub(creates.saturating_mul(create)) / update);
        plan.updates = inner.way(Action::Update, summary.update, rest);
        let updates = plan.updates.calls(summary.update);
        plan.cost.write_calls = creates + updates;
        plan.cost.price = prices.into_iter().flatten().next().map(|price| {
            let amount = creates.saturating_mul(create).saturating_add(updates.saturating_mul(update));
            Price::new(amount, price.unit)
        });
        Ok(plan)
    }
}

/// What is known about one incoming record so far.
pub(super) struct Work {
    /// The id under which the store knows it: its own, or that of an alias.
    pub(super) local: String,
    pub(super) link: Option<Link>,
    base: Option<base::Base>,
    /// As written when it is new (defaults applied), and as compared later.
    pub(super) mapped: Option<(Fields, Fields)>,
    pub(super) found: Option<Record>,
    /// Set once the row is decided without comparing.
    pub(super) verdict: Option<(Action, String)>,
}

pub(super) struct Draft<'a> {
    pub(super) inner: &'a Inner,
    incoming: &'a [Incoming],
    pub(super) work: Vec<Work>,
    parked: HashMap<String, parked::Parked>,
    /// References the mapped records wait for, by the place of the record.
    lookups: Vec<(usize, Lookup)>,
    pub(super) read_calls: u64,
}

impl<'a> Draft<'a> {
    fn new(inner: &'a Inner, incoming: &'a [Incoming]) -> Self {
        let mut seen = HashSet::new();
        let work = incoming
            .iter()
            .map(|record| {
                let verdict = if record.id.trim().is_empty() {
                    Some((Action::Invalid, "the record has no id".to_owned()))
                } else if !seen.insert(record.id.as_str()) {
                    Some((Action::Invalid, "the id occurs more than once in the input".to_owned()))
                } else if inner.key_length.is_some_and(|most| record.id.chars().count() > most as usize) {
                    Some((Action::Invalid, "the id is longer than the key field of the CRM".to_owned()))
                } else {
                    record.hold.clone().map(|reason| (Action::Review, reason))
                };
                Work { local: record.id.clone(), link: None, base: None, mapped: None, found: None, verdict }
            })
            .collect();
        Self { inner, incoming, work, parked: HashMap::new(), lookups: Vec::new(), read_calls: 0 }
    }

    async fn read_store(&mut self) -> Result<()> {
        let (store, connection, entity) = (&*self.inner.store, self.inner.connection(), &self.inner.entity);
        let open: HashSet<String> = ledger::open_intents(store, connection, entity).await?.into_iter().map(|intent| intent.local).collect();
        let any_parked = parked::any(store, connection, entity).await?;
        let mut ids: Vec<&str> = Vec::new();
        for record in self.incoming {
            ids.push(&record.id);
            ids.extend(record.aliases.iter().map(String::as_str));
        }
        let mut linked: HashMap<&str, Link> = HashMap::new();
        for page in ids.chunks(STORE_PAGE) {
            let links = links::by_local(store, connection, entity, page).await?;
            linked.extend(page.iter().copied().zip(links).filter_map(|(id, link)| Some((id, link?))));
            if any_parked {
                let parked = parked::get_many(store, connection, entity, page).await?;
                self.parked.extend(page.iter().zip(parked).filter_map(|(id, parked)| Some(((*id).to_owned(), parked?))));
            }
        }
        for (work, record) in self.work.iter_mut().zip(self.incoming) {
            let holder = std::iter::once(&record.id).chain(&record.aliases).find(|id| linked.contains_key(id.as_str()));
            if let Some(id) = holder {
                work.local.clone_from(id);
                work.link = linked.get(id.as_str()).cloned();
            }
            let waiting = std::iter::once(&record.id).chain(&record.aliases).any(|id| open.contains(id));
            if waiting && work.verdict.is_none() {
                let reason = "an earlier write of this record got no answer; resolve it first".to_owned();
                work.verdict = Some((Action::Review, reason));
            }
        }
        let locals: Vec<String> = self.work.iter().map(|work| work.local.clone()).collect();
        for (number, page) in locals.chunks(STORE_PAGE).enumerate() {
            let page: Vec<&str> = page.iter().map(String::as_str).collect();
            let bases = base::get_many(store, connection, entity, &page).await?;
            for (work, found) in self.work.iter_mut().skip(number * STORE_PAGE).zip(bases) {
                work.base = found;
            }
        }
        Ok(())
    }

    /// CRMs compare keys without regard to case: of two such ids the second would be written over the first one's record. A
    /// linked record is written by the CRM's id, so it is safe.
    fn refuse_alike_ids(&mut self) {
        let Some(key) = self.inner.guarantee.field() else { return };
        let mut alike: HashMap<String, usize> = HashMap::new();
        let valid = |work: &Work| !matches!(work.verdict, Some((Action::Invalid, _)));
        for (_, record) in self.work.iter().zip(self.incoming).filter(|(work, _)| valid(work)) {
            *alike.entry(fold(&record.id)).or_default() += 1;
        }
        for (work, record) in self.work.iter_mut().zip(self.incoming) {
            if work.link.is_none() && work.verdict.is_none() && alike.get(&fold(&record.id)).is_some_and(|count| *count > 1) {
                let reason = format!(
                    "another id of the input differs from this one only in case or blanks, which the CRM's key {key} does not tell apart"
                );
                work.verdict = Some((Action::Invalid, reason));
            }
        }
    }

    /// A linked record without a base, or with one in doubt (an unanswered write, an import), is compared with what the CRM holds.
    async fn look_up_unsure(&mut self) -> Result<()> {
        let unsure = |work: &Work| work.known().is_none() && work.verdict.is_none();
        let ids: Vec<RecordId> =
            self.work.iter().filter(|work| unsure(work)).filter_map(|work| Some(work.link.as_ref()?.remote.clone())).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let (records, calls) = self.inner.find_ids(&ids).await?;
        self.read_calls += calls;
        for work in self.work.iter_mut().filter(|work| unsure(work)) {
            work.found = work.link.as_ref().and_then(|link| records.get(&link.remote)).cloned();
        }
        Ok(())
    }

    fn map(&mut self) {
        let now = self.inner.host.now();
        for (at, (work, record)) in self.work.iter_mut().zip(self.incoming).enumerate() {
            if matches!(work.verdict, Some((Action::Invalid, _))) {
                continue;
            }
            let update = self.inner.mapping.outbound_at(&record.fields, Mode::Update, now);
            let create = match &work.link {
                Some(_) => update.clone(),
                None => self.inner.mapping.outbound_at(&record.fields, Mode::Create, now),
            };
            match (create, update) {
                (Ok(create), Ok(update)) => {
                    // An update speaks of no more references than a create.
                    self.lookups.extend(create.lookups.into_iter().map(|lookup| (at, lookup)));
                    if let Some((name, rules)) = &self.inner.rules
                        && let Some(reason) = rules.leaves_out(name, &create.fields)
                    {
                        work.verdict = Some((Action::Skip, reason));
                    }
                    work.mapped = Some((create.fields, update.fields));
                }
                (Err(error), _) | (_, Err(error)) => {
                    let action = if error.skips_record() { Action::Skip } else { Action::Invalid };
                    work.verdict = Some((action, chain(&error)));
                }
            }
        }
    }

    /// Puts the ids of records that are referred to into the mapped fields. A record whose reference leads nowhere is not written:
    /// it comes back with its reason, and is written once what it refers to is there.
    async fn fill_references(&mut self) -> Result<()> {
        if self.lookups.is_empty() {
            return Ok(());
        }
        let (places, lookups): (Vec<usize>, Vec<Lookup>) = std::mem::take(&mut self.lookups).into_iter().unzip();
        let (answers, calls) = self.inner.references(&lookups).await?;
        self.read_calls += calls;
        for ((at, lookup), answer) in places.into_iter().zip(lookups).zip(answers) {
            let Some(work) = self.work.get_mut(at) else { continue };
            match answer {
                Reference::Known(id) => {
                    if let Some((create, update)) = &mut work.mapped {
                        create.insert(&lookup.field, id.as_str());
                        update.insert(&lookup.field, id.as_str());
                    }
                }
                Reference::Missing(reason) => work.verdict = Some((Action::Invalid, reason)),
                Reference::Unclear(reason) => work.verdict = Some((Action::Review, reason)),
            }
        }
        Ok(())
    }

    /// Records made by an earlier run whose state is gone carry our key.
    async fn look_up_keys(&mut self) -> Result<()> {
        let Some(key) = self.inner.guarantee.field().map(str::to_owned) else { return Ok(()) };
        let mut ids: Vec<&str> = Vec::new();
        for (work, record) in self.work.iter().zip(self.incoming) {
            if work.link.is_none() && work.verdict.is_none() {
                ids.push(&record.id);
                ids.extend(record.aliases.iter().map(String::as_str));
            }
        }
        if ids.is_empty() {
            return Ok(());
        }
        self.read_calls += 1;
        if !self.inner.any_with(&key).await? {
            return Ok(());
        }
        let found = self.inner.find_by(&key, &ids, None).await?;
        self.read_calls += found.calls;
        for (work, record) in self.work.iter_mut().zip(self.incoming) {
            if work.link.is_some() || work.verdict.is_some() {
                continue;
            }
            for id in std::iter::once(&record.id).chain(&record.aliases) {
                match found.get(id) {
                    [] => continue,
                    [one] if carries(one, &key, id) => {
                        work.local.clone_from(id);
                        work.found = Some(one.clone());
                    }
                    [_] => {
                        let reason = format!(
                            "a record in the CRM has a {key} that differs from this id only in case, which the CRM does not tell apart"
                        );
                        work.verdict = Some((Action::Invalid, reason));
                    }
                    several => {
                        let reason = format!("{} records in the CRM have the same {key}", several.len());
                        work.verdict = Some((Action::Review, reason));
                    }
                }
                break;
            }
        }
        Ok(())
    }

    /// Records that somebody else made are recognised by the match field.
    async fn look_up_matches(&mut self) -> Result<()> {
        let Some(field) = self.inner.match_field.clone() else { return Ok(()) };
        let values: Vec<String> = self.work.iter().filter_map(|work| work.match_value(&field)).collect();
        if values.is_empty() {
            return Ok(());
        }
        // A record with a key of another of our records is that record, not this one.
        let also = self.inner.guarantee.field().map(|key| Criteria::eq(key, Value::Null));
        let mut foreign = Criteria::ne(field.as_str(), Value::Null);
        if let Some(also) = &also {
            foreign = foreign.and(also.clone());
        }
        self.read_calls += 1;
        if !self.inner.any(foreign).await? {
            return Ok(());
        }
        let wanted: Vec<&str> = values.iter().map(String::as_str).collect();
        let found: Found = self.inner.find_by(&field, &wanted, also.as_ref()).await?;
        self.read_calls += found.calls;
        let mut taken: HashSet<RecordId> = HashSet::new();
        for work in &mut self.work {
            let Some(value) = work.match_value(&field) else { continue };
            match found.get(&value) {
                [] => {}
                [one] if taken.insert(one.id.clone()) => work.found = Some(one.clone()),
                [_] => {
                    work.verdict =
                        Some((Action::Review, format!("another record of the input matches the same record of the CRM by {field}")))
                }
                several => work.verdict = Some((Action::Review, format!("{} records in the CRM have the same {field}", several.len()))),
            }
        }
        Ok(())
    }

    /// A record of the CRM belongs to one record of the host.
    async fn keep_links_unique(&mut self) -> Result<()> {
        let found: Vec<RecordId> = self.work.iter().filter_map(|work| work.found.as_ref()).map(|record| record.id.clone()).collect();
        let mut holders: HashMap<RecordId, String> = HashMap::new();
        for page in found.chunks(STORE_PAGE) {
            let page: Vec<&RecordId> = page.iter().collect();
            let links = links::by_remote(&*self.inner.store, self.inner.connection(), &self.inner.entity, &page).await?;
            holders.extend(links.into_iter().flatten().map(|link| (link.remote, link.local)));
        }
        for work in &mut self.work {
            let holder = work.found.as_ref().and_then(|record| holders.get(&record.id));
            if holder.is_some_and(|holder| *holder != work.local) {
                work.verdict = Some((Action::Review, "the matching record of the CRM is linked to another record already".to_owned()));
            }
        }
        Ok(())
    }

    /// Two records of the input cannot be the same record, neither here nor there: one of them would be lost.
    fn keep_targets_unique(&mut self) {
        let (mut locals, mut remotes) = (HashSet::new(), HashSet::new());
        for work in self.work.iter_mut().filter(|work| work.verdict.is_none()) {
            let remote = work.link.as_ref().map(|link| &link.remote).or_else(|| work.found.as_ref().map(|record| &record.id));
            let new_here = locals.insert(work.local.clone());
            let new_there = remote.is_none_or(|id| remotes.insert(id.clone()));
            if !(new_here && new_there) {
                work.verdict = Some((Action::Review, "another record of the input stands for the same record of the CRM".to_owned()));
            }
        }
    }

    fn finish(&mut self) -> Vec<PlanRow> {
        let inner = self.inner;
        let parked = std::mem::take(&mut self.parked);
        self.work
            .drain(..)
            .map(|mut work| {
                let remote =
                    work.link.as_ref().map(|link| link.remote.clone()).or_else(|| work.found.as_ref().map(|record| record.id.clone()));
                let mut row = PlanRow {
                    local: work.local.clone(),
                    action: Action::Skip,
                    remote,
                    changes: Vec::new(),
                    reason: String::new(),
                    fields: Fields::new(),
                    mapped: Fields::new(),
                    hash: String::new(),
                    linked: work.link.is_some(),
                    seen: work.base.as_ref().map(seen),
                    marks: BTreeMap::new(),
                    expected: None,
                };
                if let Some((action, reason)) = work.verdict {
                    (row.action, row.reason) = (action, reason);
                    return row;
                }
                let Some((create, update)) = work.mapped.take() else { return row };
                row.hash = fingerprint(&update, inner.mapping.version());
                if work.base.as_ref().is_some_and(|base| base.source_hash == row.hash) {
                    row.reason = "unchanged since it was last written".to_owned();
                    // Nothing to remember either.
                    row.hash.clear();
                    return row;
                }
                if let Some(refusal) = parked.get(&row.local).filter(|refusal| refusal.source_hash == row.hash) {
                    (row.action, row.reason) = (Action::Review, refused(refusal));
                    return row;
                }
                let kind = |field: &str| inner.field_type(field);
                let remote_fields = work.found.as_ref().map(|record| &record.fields);
                // A link without a base (a crash in between, an import) must not look like a new record.
                let empty = Fields::new();
                let base_fields = match (work.known(), &work.link, remote_fields) {
                    (Some(base), _, _) => Some(&base.fields),
                    (None, Some(_), None) => Some(&empty),
                    (None, ..) => None,
                };
                // What the host says is compared with what it said, where the CRM keeps another form of it.
                let said = work.known().filter(|base| !base.local.is_empty()).map(|base| {
                    let mut said = base.fields.clone();
                    said.merge(base.local.clone());
                    said
                });
                let base_fields = said.as_ref().or(base_fields);
                match decide(&update, base_fields, remote_fields, &kind) {
                    Decision::Create => {
                        row.action = Action::Create;
                        row.reason = "not in the CRM yet".to_owned();
                        row.fields = create.clone();
                        row.mapped = create;
                    }
                    Decision::Skip => {
                        row.reason = "the CRM has the same values".to_owned();
                        row.mapped = update;
                    }
                    Decision::Update(changes) => {
                        row.action = Action::Update;
                        let names: Vec<&str> = changes.iter().map(|change| change.field.as_str()).collect();
                        row.reason = format!("differs in {}", names.join(", "));
                        row.fields = changes.iter().map(|change| (change.field.as_str(), change.to.clone())).collect();
                        row.changes = changes;
                        row.mapped = update;
                    }
                }
                if let Some((_, rules)) = &inner.rules
                    && !rules.allows(row.action)
                {
                    let kind = if row.action == Action::Create { "create" } else { "update" };
                    row.reason = format!("the sync rules leave out every {kind}");
                    row.action = Action::Skip;
                    // Nothing was agreed: it is planned anew once the rules allow it.
                    (row.fields, row.mapped, row.changes) = (Fields::new(), Fields::new(), Vec::new());
                    row.hash.clear();
                    return row;
                }
                // What was read is known from now on, also where this record says nothing: a field that is emptied later must
                // not look like one that was always empty.
                for target in inner.mapping.targets() {
                    if let Some(value) = remote_fields.and_then(|fields| fields.get(&target.name))
                        && row.mapped.get(&target.name).is_none()
                    {
                        row.mapped.insert(&target.name, value.clone());
                    }
                }
                row
            })
            .collect()
    }
}

impl Work {
    /// The base, unless it is in doubt.
    fn known(&self) -> Option<&base::Base> {
        self.base.as_ref().filter(|base| !base.mapping.is_empty())
    }

    /// The value to recognise the record by, if that is still to be done.
    fn match_value(&self, field: &str) -> Option<String> {
        if self.link.is_some() || self.found.is_some() || self.verdict.is_some() {
            return None;
        }
        let text = self.mapped.as_ref()?.0.text(field)?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// Why a parked record is not tried again.
fn refused(refusal: &parked::Parked) -> String {
    let code = refusal.code.as_deref().unwrap_or(&refusal.kind);
    let fields = if refusal.fields.is_empty() { String::new() } else { format!(" in {}", refusal.fields.join(", ")) };
    format!("the CRM refused it ({code}{fields}) and nothing has changed since")
}

/// Stands for a base after a write nobody knows the outcome of: no plan of an earlier time fits it, and the next one reads the
/// record. What was agreed before stays, for a comparison of three sides.
pub(crate) fn doubt(intent: &ledger::Intent, old: Option<&base::Base>, now: jiff::Timestamp) -> base::Base {
    let (fields, local) = old.map(|old| (old.fields.clone(), old.local.clone())).unwrap_or_default();
    base::Base { fields, local, version: None, mapping: String::new(), source_hash: intent.op.clone(), checked_at: now }
}

/// What tells one state of a base from another.
pub(crate) fn seen(base: &base::Base) -> (String, jiff::Timestamp) {
    (base.source_hash.clone(), base.checked_at)
}

/// Equal for equal fields under the same mapping version.
pub(super) fn fingerprint(fields: &Fields, mapping: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(mapping.as_bytes());
    for (name, value) in fields {
        hash.update([0]);
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update(value.to_string().as_bytes());
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
