//! One record that must exist once, whatever happened before.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::model::{Fields, Link, RecordId};
use crate::pipedrive::client::{Pipedrive, row_id};
use crate::pipedrive::flows::probe::Probe;
use crate::pipedrive::resolve::SEARCH_LAG;
use crate::pipedrive::resource::Kind;
use crate::store::{Batch, Intent, IntentKind, IntentState, Store, ledger, links};

/// How a record came to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ensured {
    /// This call made it.
    Created,
    /// It was in the CRM already.
    Found,
    /// An earlier call made or found it.
    Known,
}

/// A record that must exist.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) kind: Kind,
    /// What the store knows it by.
    pub(super) local: String,
    pub(super) fields: Fields,
    pub(super) probe: Probe,
}

#[derive(Clone, Debug)]
pub(super) struct Steps {
    pub(super) client: Pipedrive,
    pub(super) store: Arc<dyn Store>,
}

impl Steps {
    fn connection(&self) -> &str {
        &self.client.config.name
    }

    /// The record, made if it is not there. Dropping the future leaves at most an open intent, which the next call resolves.
    pub(super) async fn ensure(&self, wanted: &Wanted) -> Result<(RecordId, Ensured)> {
        let (store, entity) = (&*self.store, wanted.kind.entity());
        let locals = [wanted.local.as_str()];
        if let Some(link) = links::by_local(store, self.connection(), &entity, &locals).await?.pop().flatten() {
            return Ok((link.remote, Ensured::Known));
        }
        let open = ledger::by_local(store, self.connection(), &entity, &locals).await?.pop().flatten();
        if let Some(intent) = open {
            if let Some(found) = self.doubtful(wanted, &intent).await? {
                return Ok((found, Ensured::Known));
            }
        } else if let Some(id) = self.first(wanted, None).await? {
            self.link(wanted, &id, None).await?;
            return Ok((id, Ensured::Found));
        }
        self.create(wanted).await.map(|id| (id, Ensured::Created))
    }

    async fn first(&self, wanted: &Wanted, since: Option<jiff::Timestamp>) -> Result<Option<RecordId>> {
        let mut found = wanted.probe.find(&self.client, wanted.kind, since, &wanted.local).await?;
        // The oldest of several is the one the others are copies of.
        found.sort_by_key(|id| (id.as_str().len(), id.as_str().to_owned()));
        Ok(found.into_iter().next())
    }

    /// A create that was begun: what it made, or nothing once that is sure.
    async fn doubtful(&self, wanted: &Wanted, intent: &Intent) -> Result<Option<RecordId>> {
        if let Some(id) = self.first(wanted, Some(intent.opened_at)).await? {
            self.link(wanted, &id, Some(intent)).await?;
            return Ok(Some(id));
        }
        let age = Duration::try_from(self.store.now().await?.duration_since(intent.opened_at)).unwrap_or_default();
        if let Some(wait) = SEARCH_LAG.checked_sub(age).filter(|wait| !wait.is_zero()) {
            let message = "an earlier create of this record may still be under way; nothing was written, come back later";
            return Err(Error::new(ErrorKind::Unavailable, message)
                .retrying(Retry::After(wait))
                .during("create")
                .on(&wanted.kind.entity()));
        }
        let mut batch = Batch::new();
        ledger::close(&mut batch, self.connection(), intent)?;
        self.store.commit(batch).await?;
        Ok(None)
    }

    async fn create(&self, wanted: &Wanted) -> Result<RecordId> {
        let intent = Intent {
            op: self.client.host.new_id(),
            entity: wanted.kind.entity(),
            local: wanted.local.clone(),
            kind: IntentKind::Create,
            key: None,
            remote: None,
            fields_hash: String::new(),
            mapping: "pipedrive.flow".to_owned(),
            opened_at: self.store.now().await?,
            state: IntentState::Open,
            job: None,
        };
        let marked = self.client.with_operation(wanted.kind, &wanted.fields, Some(&wanted.local)).await?;
        let mut batch = Batch::new();
        ledger::open(&mut batch, self.connection(), &intent)?;
        self.store.commit(batch).await?;
        match self.client.create_row(wanted.kind, marked.as_ref().unwrap_or(&wanted.fields)).await {
            Ok(row) => {
                let id = row_id(&row).ok_or_else(|| Error::decode("pipedrive did not say the id of the record").ambiguous())?;
                self.link(wanted, &id, Some(&intent)).await?;
                Ok(id)
            }
            Err(error) => {
                let mut batch = Batch::new();
                if error.may_have_applied() {
                    ledger::mark_ambiguous(&mut batch, self.connection(), &intent)?;
                } else {
                    ledger::close(&mut batch, self.connection(), &intent)?;
                }
                // An intent that stays open is resolved by the next call: the first error is the one to tell.
                let _resolved_later = self.store.commit(batch).await;
                Err(error)
            }
        }
    }

    /// Remembers the record, unless another of the host's is tied to it already (two leads of one person).
    async fn link(&self, wanted: &Wanted, id: &RecordId, intent: Option<&Intent>) -> Result<()> {
        let entity = wanted.kind.entity();
        let taken = links::by_remote(&*self.store, self.connection(), &entity, &[id]).await?.pop().flatten();
        let mut batch = Batch::new();
        if taken.is_none() {
            let link = Link { local: wanted.local.clone(), entity, remote: id.clone() };
            links::put(&mut batch, self.connection(), &link)?;
        }
        if let Some(intent) = intent {
            ledger::close(&mut batch, self.connection(), intent)?;
        }
        if !batch.is_empty() {
            self.store.commit(batch).await?;
        }
        Ok(())
    }

    /// Forgets a record that is gone from the CRM.
    pub(super) async fn forget(&self, kind: Kind, local: &str, id: &RecordId) -> Result<()> {
        let mut batch = Batch::new();
        links::remove(&mut batch, self.connection(), &Link { local: local.to_owned(), entity: kind.entity(), remote: id.clone() });
        self.store.commit(batch).await.map(drop)
    }
}
