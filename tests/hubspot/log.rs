//! The snapshot joined with the webhooks journal: what happens in between, and what the journal no longer keeps.

#![cfg(feature = "hubspot")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use crate::portal;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crm_sync::host::Host;
use crm_sync::hubspot::entity::CONTACTS;
use crm_sync::hubspot::{HubSpotConfig, HubSpotJournal, JournalLog, JournalSubscription};
use crm_sync::model::{Change, ChangeKind};
use crm_sync::store::{Batch, MemoryStore};
use crm_sync::sync::Reader;
use portal::Portal;

/// The host's copy: scores by id.
#[derive(Default)]
struct Copy {
    scores: BTreeMap<u64, String>,
    /// Records that came twice without a change of what the copy knows.
    again: usize,
}

impl Copy {
    fn take(&mut self, changes: &[Change]) {
        for change in changes {
            let id: u64 = change.id.as_str().parse().unwrap();
            if change.kind == ChangeKind::Deleted {
                self.scores.remove(&id);
            } else if let Some(score) = change.fields.get("score") {
                let score = score.as_str().map_or_else(|| score.to_string(), str::to_owned);
                let score = score.trim_end_matches(".0").to_owned();
                self.again += usize::from(self.scores.get(&id) == Some(&score));
                self.scores.insert(id, score);
            }
        }
    }
}

struct World {
    portal: Portal,
    truth: BTreeMap<u64, String>,
    count: u64,
}

impl World {
    fn score(&mut self, id: Option<u64>) -> u64 {
        self.count += 1;
        let (score, mail) = (self.count.to_string(), format!("p{}@b.test", self.count));
        let id = match id {
            Some(id) => self.portal.put("contacts", Some(id), &[("score", &score)]),
            None => self.portal.put("contacts", None, &[("email", &mail), ("score", &score)]),
        };
        self.truth.insert(id, score);
        id
    }

    fn remove(&mut self, id: u64) {
        self.portal.remove("contacts", id);
        self.truth.remove(&id);
    }

    fn any(&self) -> u64 {
        let at = self.portal.random(self.truth.len() as u64) as usize;
        *self.truth.keys().nth(at).unwrap()
    }
}

#[tokio::test]
async fn a_snapshot_is_joined_with_the_journal_and_a_hole_is_read_again() {
    let (host, clock) = Host::manual_with_clock(3);
    let portal = Portal::new(host.clone(), 3);
    let (client, access) = (portal.client(), portal.access());
    let mut app =
        HubSpotConfig::with_refresh_token(&access.client_id, access.client_secret.clone().into(), access.refresh_token.clone().into())
            .base_url(&access.base_url);
    app.refresh_token = None;
    let journal = HubSpotJournal::new(app, Arc::new(portal.clone()), host.clone()).unwrap();
    journal.ensure_subscription(&JournalSubscription::object(access.portal_id, "0-1", ["email", "score"])).await.unwrap();
    let log = Arc::new(JournalLog::new(journal, Some(access.portal_id)));
    let store = Arc::new(MemoryStore::new(host.clone()));
    let mut world = World { portal, truth: BTreeMap::new(), count: 0 };
    for _ in 0..250 {
        world.score(None);
    }
    clock.advance(Duration::from_secs(3_600));
    let build = || {
        let reader = Reader::builder(Arc::new(client.clone()), store.clone(), host.clone(), CONTACTS).select(["email", "score"]);
        reader.log(log.clone()).build().unwrap()
    };
    let (mut copy, mut reader, mut pages) = (Copy::default(), build(), 0);
    // The snapshot, with edits, a creation and a deletion between its pages.
    while let Some(page) = reader.next().await.unwrap() {
        copy.take(&page.changes);
        reader.commit(page, Batch::new()).await.unwrap();
        if pages < 3 {
            for _ in 0..5 {
                let id = world.any();
                world.score(Some(id));
            }
            world.score(None);
            let id = world.any();
            world.remove(id);
            clock.advance(Duration::from_secs(2));
        }
        pages += 1;
    }
    // Rounds by the journal; now and then a new process, and once a journal that forgot.
    for round in 0..20 {
        let id = world.any();
        world.score(Some(id));
        if round % 4 == 1 {
            world.score(None);
            let id = world.any();
            world.remove(id);
        }
        if round % 5 == 4 {
            reader = build();
        }
        clock.advance(if round == 12 { Duration::from_secs(4 * 86_400) } else { Duration::from_secs(400) });
        while let Some(page) = reader.next().await.unwrap() {
            copy.take(&page.changes);
            reader.commit(page, Batch::new()).await.unwrap();
        }
        if round == 11 {
            assert_eq!(copy.scores, world.truth, "before the hole");
            println!("{} records, {} told again without a change", copy.scores.len(), copy.again);
        }
    }
    assert_eq!(copy.scores, world.truth);
}
