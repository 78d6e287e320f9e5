//! Answering the writes that got no answer.

use crate::error::Result;
use crate::model::{Fields, Link, RecordId};
use crate::store::{Batch, base, ledger, links, own, parked};
use crate::sync::api::Resolved;
use crate::sync::engine::{Engine, Inner};
use crate::sync::guarantee::Guarantee;
use crate::sync::lookup::carries;
use crate::sync::planner::doubt;

/// Intents closed in one commit.
const PAGE: usize = 200;

impl Engine {
    /// Finds out what became of the writes that were under way when the process ended, or that got no answer. Call it before
    /// the first plan of a run, when no other process applies a plan to the same entity.
    ///
    /// What went out as a job is answered by the job, which is waited for if it is still at work. Creates are looked for by the key or marker they carried. Updates are closed, and marked so that the next plan reads the
    /// record: they write absolute values, so it writes what is still missing. Without a guarantee a create stays open until
    /// [`Engine::answer`].
    ///
    /// # Errors
    /// Those of the store and of the CRM's search.
    pub async fn resolve(&self) -> Result<Resolved> {
        let inner = &*self.inner;
        let mut resolved = Resolved::default();
        let open = ledger::open_intents(&*inner.store, inner.connection(), &inner.entity).await?;
        let open = inner.resolve_jobs(open, &mut resolved).await?;
        for page in open.chunks(PAGE) {
            inner.resolve_page(page, &mut resolved).await?;
        }
        Ok(resolved)
    }

    /// As [`Engine::resolve`], for the open intents of these records alone. No other process may be about to write them: whoever
    /// holds their lanes of a queue, longer than any earlier lease lasted, may call it.
    ///
    /// # Errors
    /// As [`Engine::resolve`].
    pub async fn resolve_records(&self, locals: &[&str]) -> Result<Resolved> {
        let inner = &*self.inner;
        let mut resolved = Resolved::default();
        for page in locals.chunks(PAGE) {
            let found = ledger::by_local(&*inner.store, inner.connection(), &inner.entity, page).await?;
            let open = inner.resolve_jobs(found.into_iter().flatten().collect(), &mut resolved).await?;
            if !open.is_empty() {
                inner.resolve_page(&open, &mut resolved).await?;
            }
        }
        Ok(resolved)
    }

    /// Lets records that the CRM refused be tried again although nothing about them has changed, as after a change of the
    /// CRM's own rules. Returns how many there were; `None` lets all of them go.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn unpark(&self, locals: Option<&[&str]>) -> Result<usize> {
        let inner = &*self.inner;
        let mut freed = 0;
        let parked: Vec<String> = match locals {
            None => parked::all(&*inner.store, inner.connection(), &inner.entity).await?.into_iter().map(|(local, _)| local).collect(),
            Some(locals) => {
                let found = parked::get_many(&*inner.store, inner.connection(), &inner.entity, locals).await?;
                locals.iter().zip(found).filter(|(_, found)| found.is_some()).map(|(local, _)| (*local).to_owned()).collect()
            }
        };
        for page in parked.chunks(PAGE) {
            let mut batch = Batch::default();
            for local in page {
                parked::remove(&mut batch, inner.connection(), &inner.entity, local);
                freed += 1;
            }
            inner.store.commit(batch).await?;
        }
        Ok(freed)
    }

    /// The host's own answer for a create that nobody can tell about: `Some` record it led to, or `None`. Returns whether there
    /// was such an open intent.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn answer(&self, local: &str, remote: Option<RecordId>) -> Result<bool> {
        let inner = &*self.inner;
        let open = ledger::open_intents(&*inner.store, inner.connection(), &inner.entity).await?;
        let Some(intent) = open.iter().find(|intent| intent.local == local) else { return Ok(false) };
        let mut batch = Batch::default();
        if let Some(remote) = remote {
            let link = Link { local: local.to_owned(), entity: inner.entity.clone(), remote };
            links::put(&mut batch, inner.connection(), &link)?;
        }
        ledger::close(&mut batch, inner.connection(), intent)?;
        inner.store.commit(batch).await?;
        Ok(true)
    }
}

impl Inner {
    async fn resolve_page(&self, intents: &[ledger::Intent], resolved: &mut Resolved) -> Result<()> {
        let connection = self.connection();
        let creates: Vec<&str> = intents.iter().filter(|intent| is_create(intent)).map(|intent| intent.local.as_str()).collect();
        let found = match self.guarantee.field() {
            Some(key) if !creates.is_empty() => {
                if let Guarantee::ProbedWithLag { .. } = self.guarantee {
                    self.wait_for_index(intents).await?;
                }
                let found = self.find_by(key, &creates, None).await?;
                resolved.read_calls += found.calls;
                Some(found)
            }
            _ => None,
        };
        let locals: Vec<&str> = intents.iter().map(|intent| intent.local.as_str()).collect();
        let linked = links::by_local(&*self.store, connection, &self.entity, &locals).await?;
        let bases = base::get_many(&*self.store, connection, &self.entity, &locals).await?;
        let marked = own::get_many(&*self.store, connection, &self.entity, &locals).await?;
        let now = self.store.now().await?;
        let mut batch = Batch::default();
        for (((intent, linked), old), marked) in intents.iter().zip(linked).zip(bases).zip(marked) {
            if !is_create(intent) {
                // Whether the CRM has the old values or the new ones, the host may have moved on, or back.
                base::put(&mut batch, connection, &self.entity, &intent.local, &doubt(intent, old.as_ref(), now))?;
                ledger::close(&mut batch, connection, intent)?;
                resolved.not_applied += 1;
                continue;
            }
            if linked.is_some() {
                // Somebody linked it meanwhile: the create is answered.
                base::put(&mut batch, connection, &self.entity, &intent.local, &doubt(intent, old.as_ref(), now))?;
                ledger::close(&mut batch, connection, intent)?;
                resolved.applied += 1;
                continue;
            }
            match found.as_ref().map(|found| found.get(&intent.local)) {
                // Several records with our marker: a person has to look.
                None | Some([_, _, ..]) => resolved.unknown += 1,
                Some([]) => {
                    ledger::close(&mut batch, connection, intent)?;
                    resolved.not_applied += 1;
                }
                // A record of another id that a search without regard to case took for this one.
                Some([record]) if self.guarantee.field().is_some_and(|key| !carries(record, key, &intent.local)) => {
                    ledger::close(&mut batch, connection, intent)?;
                    resolved.not_applied += 1;
                }
                Some([record]) => {
                    let link = Link { local: intent.local.clone(), entity: self.entity.clone(), remote: record.id.clone() };
                    links::put(&mut batch, connection, &link)?;
                    let mut fields: Fields = record.fields.clone();
                    fields.retain(|name, _| self.mapping.targets().iter().any(|target| target.name == name));
                    // No source hash: the next plan compares field by field with what the CRM holds.
                    let known = base::Base {
                        fields,
                        local: Fields::new(),
                        version: record.version.clone(),
                        mapping: intent.mapping.clone(),
                        source_hash: String::new(),
                        checked_at: now,
                    };
                    // What was written is known by its marks: only by them a change made since is told from it.
                    let known = if marked.is_empty() { known } else { doubt(intent, None, now) };
                    base::put(&mut batch, connection, &self.entity, &intent.local, &known)?;
                    ledger::close(&mut batch, connection, intent)?;
                    resolved.applied += 1;
                }
            }
        }
        self.store.commit(batch).await?;
        Ok(())
    }

    /// Waits until the search index must have caught up with the youngest intent.
    async fn wait_for_index(&self, intents: &[ledger::Intent]) -> Result<()> {
        let Some(youngest) = intents.iter().map(|intent| intent.opened_at).max() else { return Ok(()) };
        let age = self.store.now().await?.duration_since(youngest);
        let age = std::time::Duration::try_from(age).unwrap_or_default();
        if let Some(wait) = self.search_lag.checked_sub(age) {
            self.host.sleep(wait).await;
        }
        Ok(())
    }
}

fn is_create(intent: &ledger::Intent) -> bool {
    matches!(intent.kind, ledger::IntentKind::Create | ledger::IntentKind::Upsert)
}
