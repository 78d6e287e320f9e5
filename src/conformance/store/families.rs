//! The typed families on top of the store.

use jiff::Timestamp;
use serde_json::json;

use crate::conformance::report::{Check, ensure};
use crate::conformance::store::api::StoreBench;
use crate::error::{Error, ErrorKind};
use crate::model::{Entity, ExternalKey, Fields, Link, RecordId, Version};
use crate::store::{Base, Batch, Intent, IntentKind, IntentState, Store, base, ledger, links};

const LEAD: Entity = Entity::from_static("Lead");

fn link(local: &str, remote: &str) -> Link {
    Link { local: local.to_owned(), entity: LEAD, remote: RecordId::new(remote) }
}

async fn add(store: &dyn Store, connection: &str, links: &[Link]) -> Result<(), Error> {
    let mut batch = Batch::new();
    for link in links {
        links::put(&mut batch, connection, link)?;
    }
    store.commit(batch).await.map(drop)
}

fn is_conflict<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(error) if error.kind() == ErrorKind::Conflict)
}

/// A link is found from both ends, and neither end can be linked twice.
///
/// # Errors
/// What is wrong.
pub async fn links_are_unique_both_ways(bench: &dyn StoreBench) -> Check {
    let store = bench.store().await?;
    add(&*store, "acme", &[link("1", "00Q1"), link("2/x", "00Q2")]).await?;
    add(&*store, "beta", &[link("1", "00Q9")]).await?;

    let found = links::by_local(&*store, "acme", &LEAD, &["2/x", "3", "1"]).await?;
    ensure!(found == [Some(link("2/x", "00Q2")), None, Some(link("1", "00Q1"))], "by_local answers other links");
    let (one, nine) = (RecordId::new("00Q1"), RecordId::new("00Q9"));
    let found = links::by_remote(&*store, "acme", &LEAD, &[&nine, &one]).await?;
    ensure!(found == [None, Some(link("1", "00Q1"))], "by_remote answers other links");
    ensure!(links::by_local(&*store, "acme", &Entity::from_static("Contact"), &["1"]).await? == [None], "entities are mixed up");

    for taken in [link("1", "00Q3"), link("3", "00Q1"), link("1", "00Q1")] {
        ensure!(is_conflict(&add(&*store, "acme", &[link("8", "00Q8"), taken]).await), "an end was linked twice");
    }
    for twins in [[link("5", "00Q5"), link("6", "00Q5")], [link("5", "00Q5"), link("5", "00Q6")]] {
        ensure!(is_conflict(&add(&*store, "acme", &twins).await), "one batch linked an end twice");
    }
    ensure!(links::all(&*store, "acme", &LEAD).await? == [link("1", "00Q1"), link("2/x", "00Q2")], "a refused link stayed");

    let mut batch = Batch::new();
    links::remove(&mut batch, "acme", &link("1", "00Q1"));
    store.commit(batch).await?;
    ensure!(links::by_remote(&*store, "acme", &LEAD, &[&one]).await? == [None], "a removed link is found from the CRM's end");
    add(&*store, "acme", &[link("1", "00Q3"), link("3", "00Q1")]).await?;
    ensure!(links::by_local(&*store, "beta", &LEAD, &["1"]).await? == [Some(link("1", "00Q9"))], "connections are mixed up");
    Ok(())
}

/// After a merge in the CRM the links follow, and stay unique.
///
/// # Errors
/// What is wrong.
pub async fn merged_records_are_relinked(bench: &dyn StoreBench) -> Check {
    let store = bench.store().await?;
    add(&*store, "acme", &[link("1", "00Q1"), link("2", "00Q2")]).await?;
    let mut batch = Batch::new();
    links::relink(&*store, &mut batch, "acme", &link("1", "00Q2")).await?;
    // Somebody else is faster.
    let mut late = Batch::new();
    links::relink(&*store, &mut late, "acme", &link("2", "00Q1")).await?;
    store.commit(batch).await?;
    ensure!(is_conflict(&store.commit(late).await), "a relink over a changed link was done");
    ensure!(links::all(&*store, "acme", &LEAD).await? == [link("1", "00Q2")], "the links after the merge are wrong");
    let remotes = [RecordId::new("00Q1"), RecordId::new("00Q2")];
    let found = links::by_remote(&*store, "acme", &LEAD, &remotes.each_ref()).await?;
    ensure!(found == [None, Some(link("1", "00Q2"))], "the CRM's end of the links is wrong after the merge");

    let mut batch = Batch::new();
    let removed = links::unlink(&*store, &mut batch, "acme", &LEAD, &["1", "7"]).await?;
    store.commit(batch.clone()).await?;
    ensure!(removed == [link("1", "00Q2")], "unlink answers other links");
    ensure!(links::all(&*store, "acme", &LEAD).await?.is_empty(), "an unlinked record is linked");
    ensure!(is_conflict(&store.commit(batch).await), "an unlink was done twice");
    Ok(())
}

/// A base comes back as it was, also with nulls, numbers and objects.
///
/// # Errors
/// What is wrong.
pub async fn base_comes_back(bench: &dyn StoreBench) -> Check {
    let store = bench.store().await?;
    let fields: Fields = [
        ("LastName", json!("Ångström")),
        ("Phone", json!(null)),
        ("Amount", json!(12.5)),
        ("Big", json!(9_007_199_254_740_993_i64)),
        ("Tags", json!(["a", {"b": [1, null]}])),
    ]
    .into_iter()
    .collect();
    let full = Base {
        fields,
        local: [("Phone", json!("(0) 1"))].into_iter().collect(),
        version: Some(Version::new("2026-01-02T03:04:05.000Z")),
        mapping: "m1".to_owned(),
        source_hash: "h1".to_owned(),
        checked_at: store.now().await?,
    };
    let bare = Base { fields: Fields::new(), version: None, source_hash: String::new(), ..full.clone() };
    let mut batch = Batch::new();
    base::put(&mut batch, "acme", &LEAD, "1", &full)?;
    base::put(&mut batch, "acme", &LEAD, "2", &bare)?;
    store.commit(batch).await?;
    let found = base::get_many(&*store, "acme", &LEAD, &["2", "x", "1"]).await?;
    ensure!(found == [Some(bare), None, Some(full)], "a base comes back as another one");
    let mut batch = Batch::new();
    base::remove(&mut batch, "acme", &LEAD, "1");
    store.commit(batch).await?;
    ensure!(base::get_many(&*store, "acme", &LEAD, &["1"]).await? == [None], "a removed base is found");
    Ok(())
}

fn intent(op: &str, local: &str, opened_at: Timestamp) -> Intent {
    Intent {
        op: op.to_owned(),
        entity: LEAD,
        local: local.to_owned(),
        kind: IntentKind::Create,
        key: Some(ExternalKey { field: "Ext__c".to_owned(), value: local.to_owned() }),
        remote: None,
        fields_hash: "f".to_owned(),
        mapping: "m".to_owned(),
        opened_at,
        state: IntentState::Open,
        job: None,
    }
}

/// A record has one open intent; a closed one cannot be closed or marked again by who slept through it.
///
/// # Errors
/// What is wrong.
pub async fn intents_open_once_and_close_once(bench: &dyn StoreBench) -> Check {
    let store = bench.store().await?;
    let now = store.now().await?;
    let (one, two) = (intent("op1", "1", now), intent("op2", "2", now));
    let opening = |intents: &[&Intent]| {
        let mut batch = Batch::new();
        let filled: Result<(), Error> = intents.iter().try_for_each(|intent| ledger::open(&mut batch, "acme", intent));
        filled.map(|()| batch)
    };
    store.commit(opening(&[&one, &two])?).await?;
    let second = store.commit(opening(&[&intent("op2b", "0", now), &intent("op3", "1", now)])?).await;
    ensure!(is_conflict(&second), "a record has two open intents");
    ensure!(second.err().as_ref().and_then(ledger::blocked_by).as_deref() == Some("1"), "the conflict does not tell the record");
    ensure!(is_conflict(&opening(&[&intent("op4", "4", now), &intent("op5", "4", now)])), "a batch opens two intents of a record");

    let mut batch = Batch::new();
    ledger::mark_ambiguous(&mut batch, "acme", &one)?;
    store.commit(batch).await?;
    let ambiguous = Intent { state: IntentState::Ambiguous, ..one.clone() };
    ensure!(ledger::open_intents(&*store, "acme", &LEAD).await? == [ambiguous.clone(), two.clone()], "the open intents are others");
    ensure!(
        ledger::by_local(&*store, "acme", &LEAD, &["2", "9", "1"]).await? == [Some(two.clone()), None, Some(ambiguous.clone())],
        "the intents of records are others"
    );
    ensure!(ledger::open_intents(&*store, "beta", &LEAD).await?.is_empty(), "connections are mixed up");

    // The resolver closes what the worker left, and the record goes on.
    let mut resolved = Batch::new();
    ledger::close(&mut resolved, "acme", &ambiguous)?;
    store.commit(resolved).await?;
    let next = intent("op6", "1", now);
    store.commit(opening(&[&next])?).await?;
    // The worker wakes up.
    let mut late = Batch::new();
    links::put(&mut late, "acme", &link("1", "00Q1"))?;
    ledger::close(&mut late, "acme", &one)?;
    let late = store.commit(late).await;
    ensure!(is_conflict(&late), "an intent was closed twice");
    ensure!(late.err().as_ref().and_then(ledger::blocked_by).is_none(), "a closed intent counts as an open one");
    let mut late = Batch::new();
    ledger::mark_ambiguous(&mut late, "acme", &one)?;
    ensure!(is_conflict(&store.commit(late).await), "a closed intent was marked");
    ensure!(links::all(&*store, "acme", &LEAD).await?.is_empty(), "a late worker's link stayed");
    ensure!(ledger::open_intents(&*store, "acme", &LEAD).await? == [next.clone(), two], "a late worker changed the ledger");

    // The same operation may be tried again after its try was closed.
    let mut closed = Batch::new();
    ledger::close(&mut closed, "acme", &next)?;
    store.commit(closed).await?;
    store.commit(opening(&[&next])?).await?;
    let mut closed = Batch::new();
    ledger::close(&mut closed, "acme", &next)?;
    store.commit(closed).await?;
    Ok(())
}
