//! The engine over the sandbox's HubSpot account: the fewest calls, lost answers, lost state, and a process that dies anywhere.

#![cfg(feature = "hubspot")]
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::portal;
use crate::support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crm_sync::adapter::CrmAdapter;
use crm_sync::error::{Error, Result};
use crm_sync::host::{Host, ManualClock};
use crm_sync::http::HttpTransport;
use crm_sync::hubspot::HubSpot;
use crm_sync::hubspot::entity::CONTACTS;
use crm_sync::mapping::{Mapping, MappingSet};
use crm_sync::model::Fields;
use crm_sync::sandbox::{Fault, FaultKind, HubSpotTrouble};
use crm_sync::store::{MemoryStore, Store};
use crm_sync::sync::{Action, Applied, Engine, Incoming, Outcome, Plan};
use futures_util::StreamExt;
use portal::Portal;
use serde_json::json;
use support::{Death, Life, MortalStore, MortalTransport};

const MAPPING: &str = r#"{"hubspot": {"contact": {"firstName": "firstname", "email": "email", "score": "score"}}}"#;
const KEY: &str = "crm_sync_id";

struct World {
    portal: Portal,
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
}

impl World {
    /// An account as it comes: searches lag, and limits hold.
    fn new(seed: u64) -> Self {
        let (host, clock) = Host::manual_with_clock(seed);
        let portal = Portal::new(host.clone(), seed);
        portal.set(|options| options.search_lag_millis = 500);
        Self { portal, store: Arc::new(MemoryStore::new(host)), clock }
    }

    async fn engine(&self) -> Engine {
        let engine = self.over(Arc::new(self.portal.clone()), Arc::clone(&self.store)).await.unwrap();
        self.portal.forget();
        engine
    }

    async fn over(&self, transport: Arc<dyn HttpTransport>, store: Arc<dyn Store>) -> Result<Engine> {
        let host = self.portal.host.clone();
        let crm: Arc<dyn CrmAdapter> = Arc::new(HubSpot::new(self.portal.config(), transport, host.clone())?);
        let schema = crm.describe(&CONTACTS).await?;
        let set = MappingSet::from_json(MAPPING, "mapping.json").unwrap();
        let mapping = Mapping::compile(set.entity("hubspot", "contact").unwrap(), Some(&schema)).unwrap();
        Engine::builder(crm, store, host, schema, mapping).external_key(KEY).match_on("email").build()
    }

    fn assert_whole(&self, count: usize, context: &str) {
        let keys: Vec<String> = self.portal.rows("contacts").iter().map(|row| row.text(KEY).unwrap_or("none").to_owned()).collect();
        assert_eq!(keys.len(), count, "{context}: lost or doubled");
        assert_eq!(keys.into_iter().collect::<BTreeSet<_>>().len(), count, "{context}: doubled");
    }
}

fn contact(n: usize) -> Incoming {
    let value = json!({"firstName": format!("F{n}"), "email": format!("p{n}@b.test"), "score": n});
    Incoming::new(format!("a-contact-of-the-host-with-a-long-id-{n:04}"), Fields::from_value(value).unwrap())
}

fn contacts(count: usize) -> Vec<Incoming> {
    (0..count).map(contact).collect()
}

async fn apply(engine: &Engine, plan: &Plan) -> (Vec<Applied>, Option<Error>) {
    let mut done = Vec::new();
    let mut stream = engine.apply(plan);
    while let Some(item) = stream.next().await {
        match item {
            Ok(applied) => done.push(applied),
            Err(error) => return (done, Some(error)),
        }
    }
    (done, None)
}

#[tokio::test]
async fn the_fewest_calls() {
    let world = World::new(1);
    let engine = world.engine().await;
    assert!(engine.guarantee().is_keyed(), "{}", engine.guarantee());
    // 450 contacts are five batches of up to 100, after one search for any key and one for any contact without.
    let mut input = contacts(450);
    let plan = engine.plan(&input).await.unwrap();
    assert_eq!((plan.cost.read_calls, plan.cost.write_calls), (2, 5));
    let (done, failure) = apply(&engine, &plan).await;
    assert!(failure.is_none() && done.iter().all(|one| matches!(one.outcome, Outcome::Created(_))), "{failure:?}");
    assert_eq!((world.portal.search_times().len(), world.portal.writes(), world.portal.log().len()), (2, 5, 7));
    world.assert_whole(450, "first load");

    world.portal.forget();
    let plan = engine.plan(&input).await.unwrap();
    assert_eq!((plan.summary().skip, apply(&engine, &plan).await.0.len(), world.portal.log().len()), (450, 0, 0), "no call at all");

    // One in a hundred: five contacts, one call, and the changed property alone.
    for record in input.iter_mut().take(5) {
        record.fields.insert("firstName", "Changed");
    }
    let plan = engine.plan(&input).await.unwrap();
    assert_eq!((plan.summary().update, plan.cost.write_calls), (5, 1));
    assert_eq!(apply(&engine, &plan).await.0.len(), 5);
    assert_eq!(world.portal.log(), ["POST /crm/objects/2026-03/contacts/batch/update"]);
    let bodies = world.portal.bodies();
    assert!(bodies[0].contains("Changed") && !bodies[0].contains("score"), "{bodies:?}");
}

#[tokio::test]
async fn an_answer_that_is_lost_doubles_nothing() {
    for kind in [FaultKind::DropAfter, FaultKind::Truncate, FaultKind::DropBefore, FaultKind::HubSpot(HubSpotTrouble::Locked)] {
        let world = World::new(2);
        let engine = world.engine().await;
        let plan = engine.plan(&contacts(130)).await.unwrap();
        world.portal.sandbox.fault(Fault::new(kind.clone()).contains("/batch/upsert"));
        let (done, failure) = apply(&engine, &plan).await;
        assert!(failure.is_none(), "{kind:?}: {failure:?}");
        let written = |one: &Applied| matches!(one.outcome, Outcome::Created(_) | Outcome::Updated(_));
        assert!(done.iter().all(written), "{kind:?}: {:?}", done.iter().find(|one| !written(one)));
        world.assert_whole(130, &format!("{kind:?}"));
        world.portal.forget();
        assert_eq!(engine.plan(&contacts(130)).await.unwrap().writes(), 0, "{kind:?}");
    }
}

#[tokio::test]
async fn lost_state_is_found_again_by_the_key() {
    let world = World::new(3);
    let engine = world.engine().await;
    let input = contacts(130);
    apply(&engine, &engine.plan(&input).await.unwrap()).await;
    world.clock.advance(Duration::from_secs(1));
    let empty: Arc<dyn Store> = Arc::new(MemoryStore::new(world.portal.host.clone()));
    let fresh = world.over(Arc::new(world.portal.clone()), empty).await.unwrap();
    let plan = fresh.plan(&input).await.unwrap();
    assert_eq!((plan.writes(), plan.rows_to(Action::Skip).count()), (0, 130));
    assert!(world.portal.bodies().iter().all(|body| body.chars().count() <= 3_000 || body.contains("\"inputs\"")));
    world.assert_whole(130, "lost state");
}

#[tokio::test]
async fn a_contact_that_is_there_is_taken_over() {
    let world = World::new(4);
    world.portal.put("contacts", None, &[("email", "p7@b.test"), ("jobtitle", "CTO")]);
    world.clock.advance(Duration::from_secs(1));
    let engine = world.engine().await;
    let plan = engine.plan(&contacts(10)).await.unwrap();
    assert_eq!((plan.summary().create, plan.summary().update), (9, 1));
    apply(&engine, &plan).await;
    world.assert_whole(10, "taken over");
    let there = world.portal.rows("contacts").into_iter().find(|row| row.text("email") == Some("p7@b.test")).unwrap();
    assert_eq!((there.text("jobtitle"), there.text("firstname")), (Some("CTO"), Some("F7")));
}

#[tokio::test]
async fn a_process_that_dies_anywhere_loses_and_doubles_nothing() {
    const COUNT: usize = 120;
    async fn live(world: &World, life: &Arc<Life>) -> Result<usize> {
        let transport = Arc::new(MortalTransport { inner: Arc::new(world.portal.clone()), life: Arc::clone(life) });
        let store = Arc::new(MortalStore { inner: Arc::clone(&world.store), life: Arc::clone(life) });
        let engine = world.over(transport, store).await?;
        engine.resolve().await?;
        let plan = engine.plan(&contacts(COUNT)).await?;
        assert_eq!(plan.rows_to(Action::Review).count() + plan.rows_to(Action::Invalid).count(), 0);
        let (done, failure) = apply(&engine, &plan).await;
        failure.map_or(Ok(done.len()), Err)
    }
    for step in 0_u64.. {
        let mut survived = true;
        for death in [Death::Before(step), Death::After(step)] {
            let world = World::new(step + 1);
            let life = Life::new(Some(death));
            let first = live(&world, &life).await;
            survived &= !life.is_dead();
            assert_eq!(first.is_err(), life.is_dead(), "{death:?}: {first:?}");
            live(&world, &Life::new(None)).await.unwrap_or_else(|error| panic!("{death:?}: {error:?}"));
            world.assert_whole(COUNT, &format!("{death:?}"));
            assert_eq!(live(&world, &Life::new(None)).await.unwrap(), 0, "{death:?}: the third run wrote again");
        }
        if survived {
            assert!(step > 6, "only {step} steps: the run did not do its work");
            return;
        }
    }
}
