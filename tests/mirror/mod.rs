//! A host's copy of the org's leads, kept by what a stream tells.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test that fails should stop")]

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use crm_sync::error::{Error, Result};
use crm_sync::model::{ChangeKind, Entity, Fields};
use crm_sync::salesforce::Salesforce;
use crm_sync::salesforce::stream::{Position, Reread, RereadReason, RereadScope, StreamEvent, StreamState};
use futures_util::{Stream, StreamExt};

pub const LEAD: Entity = Entity::from_static("Lead");
const NAMES: [&str; 3] = ["LastName", "Title", "City"];

#[derive(Debug, Default)]
pub struct Mirror {
    pub leads: BTreeMap<String, Fields>,
    /// What the changes said, in their order: the kind and the fields of interest.
    pub changes: Vec<(ChangeKind, Fields)>,
    pub rereads: Vec<Reread>,
    pub states: Vec<StreamState>,
    pub positions: Vec<Position>,
    pub own: Vec<bool>,
    pub error: Option<Error>,
    ids: HashSet<String>,
}

impl Mirror {
    pub fn reasons(&self) -> Vec<RereadReason> {
        self.rereads.iter().map(|reread| reread.reason).collect()
    }

    pub fn saw(&self, last: &str) -> bool {
        self.leads.values().any(|lead| lead.text("LastName") == Some(last))
    }

    /// A change said so.
    pub fn told(&self, last: &str) -> bool {
        self.changes.iter().any(|(_, fields)| fields.text("LastName") == Some(last))
    }

    async fn take(&mut self, crm: &Salesforce, item: Result<StreamEvent>) {
        let event = match item {
            Ok(event) => event,
            Err(error) => {
                self.error = Some(error);
                return;
            }
        };
        self.positions.extend(event.position().cloned());
        match event {
            StreamEvent::Change(change) => {
                let id = change.change.event.as_ref().unwrap_or_else(|| panic!("no event id: {change:?}")).as_str().to_owned();
                assert!(self.ids.insert(id), "an event came twice: {change:?}");
                let record = change.change.id.as_str().to_owned();
                match change.change.kind {
                    ChangeKind::Deleted => drop(self.leads.remove(&record)),
                    _ => self.leads.entry(record).or_default().merge(change.change.fields.clone()),
                }
                self.own.push(change.own);
                self.changes.push((change.change.kind, change.change.fields));
            }
            StreamEvent::Reread(reread) => {
                match &reread.scope {
                    RereadScope::Records(ids) => {
                        for id in ids {
                            match crm.retrieve(&LEAD, id, &NAMES).await.unwrap() {
                                Some(fields) => drop(self.leads.insert(id.as_str().to_owned(), fields)),
                                None => drop(self.leads.remove(id.as_str())),
                            }
                        }
                    }
                    _ => {
                        let soql = "SELECT Id, LastName, Title, City FROM Lead";
                        for row in crm.query_fields(soql).await.unwrap().records {
                            self.leads.insert(row.text("Id").unwrap().to_owned(), row);
                        }
                    }
                }
                self.rereads.push(reread);
            }
            StreamEvent::Health(health) => self.states.push(health.state),
            _ => {}
        }
    }

    /// Follows the stream until `done`, or until it ends.
    pub async fn follow<S>(&mut self, crm: &Salesforce, stream: &mut S, done: impl Fn(&Self) -> bool)
    where
        S: Stream<Item = Result<StreamEvent>> + Unpin,
    {
        while !done(self) {
            match tokio::time::timeout(Duration::from_secs(20), stream.next()).await {
                Ok(Some(item)) => self.take(crm, item).await,
                Ok(None) => return,
                Err(_) => panic!("nothing came: {self:?}"),
            }
        }
    }

    /// The copy is what the org is.
    pub fn assert_same(&self, records: &[Fields], context: &str) {
        let plain = |lead: &Fields| NAMES.map(|name| lead.text(name).map(ToOwned::to_owned));
        let org: BTreeMap<String, _> = records.iter().map(|lead| (lead.text("Id").unwrap().to_owned(), plain(lead))).collect();
        let own: BTreeMap<String, _> = self.leads.iter().map(|(id, lead)| (id.clone(), plain(lead))).collect();
        assert_eq!(own, org, "{context}: {self:?}");
    }
}
