//! What is claimed, what is refused, and what an error says.

use crate::adapter::{Association, ChangeFeed, Since, WriteOptions};
use crate::conformance::adapter::run::{Done, MOST_PAGES, NO_FIELD, Run, did, ensure, fail, needs, one, same_ids};
use crate::error::{ErrorKind, chain};
use crate::model::{ChangeKind, Entity, ExternalKey, Fields, RecordId};
use crate::query::Criteria;

pub(super) async fn changes_tell_of_writes(run: &Run<'_>) -> Done {
    let can = run.adapter.capabilities();
    needs(can.changes, "the adapter does not claim changes")?;
    let (id, fields) = run.made().await?;
    let record = run.record(&id, &fields).await?;
    let since = record.modified_at.map_or(Since::Start, Since::At);
    let mut wanted = vec![(id.clone(), None)];
    if can.tells_deletes(run.entity()) && can.delete {
        let (doomed, _) = run.made().await?;
        did("delete", run.adapter.delete(run.entity(), &doomed, &WriteOptions::new()).await)?;
        wanted.push((doomed, Some(ChangeKind::Deleted)));
    }
    run.settle().await;
    let mut feed = ChangeFeed::new(run.entity().clone(), since);
    feed.select = vec![run.text().to_owned()];
    feed.deletes = can.tells_deletes(run.entity());
    for _ in 0..MOST_PAGES {
        let page = did("changes", run.adapter.changes(&feed).await)?;
        wanted.retain(|(id, kind)| !page.items.iter().any(|change| change.id == *id && kind.is_none_or(|kind| change.kind == kind)));
        if wanted.is_empty() {
            return Ok(());
        }
        match page.next.map(Since::Cursor) {
            Some(next) if next != feed.since && !page.items.is_empty() => feed.since = next,
            _ => break,
        }
    }
    fail(format!("the feed does not tell of {} writes", wanted.len()))
}

pub(super) async fn describe_lists_the_fields(run: &Run<'_>) -> Done {
    needs(run.adapter.capabilities().describe, "the adapter does not claim describe")?;
    let schema = did("describe", run.adapter.describe(run.entity()).await)?;
    ensure(schema.entity == *run.entity(), || "describe answers another entity".to_owned())?;
    for name in run.sample()?.names() {
        ensure(schema.field(name).is_some(), || format!("describe does not list {name}"))?;
    }
    let unknown = Entity::from_static("NoSuchEntityZq9");
    ensure(run.adapter.describe(&unknown).await.is_err(), || "describe knows an entity that does not exist".to_owned())
}

pub(super) async fn unknown_field_is_refused(run: &Run<'_>) -> Done {
    needs(run.adapter.capabilities().create, "the adapter does not claim create")?;
    let mut fields = run.sample()?;
    fields.insert(NO_FIELD, "x");
    match run.adapter.create(run.entity(), &fields, &WriteOptions::new()).await {
        Ok(written) => {
            run.note(&written.id);
            return fail("a create with a field that does not exist succeeded");
        }
        Err(error) if matches!(error.kind(), ErrorKind::Validation | ErrorKind::Config) && !error.is_retryable() => {}
        Err(error) => return fail(format!("expected a final validation or config error, found {} ({:?})", error.kind(), error.retry())),
    }
    needs(run.adapter.capabilities().search, "the adapter does not claim search")?;
    run.settle().await;
    let found = did("search", run.found(run.query(Criteria::eq(run.text(), one(&fields, run.text())))).await)?;
    same_ids(&found, [], "a create that failed left a record; a search for it")
}

pub(super) async fn unclaimed_is_unsupported(run: &Run<'_>) -> Done {
    let can = run.adapter.capabilities();
    let (adapter, entity, options) = (run.adapter, run.entity(), WriteOptions::new());
    let id = RecordId::new("1");
    let key = did("making a key", ExternalKey::new(run.text(), "x"))?;
    let tie = Association { from: (entity.clone(), id.clone()), to: (entity.clone(), id), relation: "x".to_owned() };
    let feed = ChangeFeed::new(entity.clone(), Since::Start);
    let mut results = Vec::new();
    if !can.upsert {
        results.push(("upsert", adapter.upsert(entity, &key, &Fields::new(), &options).await.map(|_| ())));
    }
    if !can.changes {
        results.push(("changes", adapter.changes(&feed).await.map(|_| ())));
    }
    if !can.associate {
        results.push(("associate", adapter.associate(&tie).await));
    }
    if !can.describe {
        results.push(("describe", adapter.describe(entity).await.map(|_| ())));
    }
    needs(!results.is_empty(), "the adapter claims everything")?;
    for (operation, result) in results {
        match result {
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            Err(error) => return fail(format!("{operation} is not claimed: expected unsupported, found {}", error.kind())),
            Ok(()) => return fail(format!("{operation} is not claimed, and succeeded")),
        }
    }
    Ok(())
}

pub(super) async fn errors_name_and_hide(run: &Run<'_>) -> Done {
    let can = run.adapter.capabilities();
    needs(can.create && can.update, "the adapter does not claim create and update")?;
    let secret = "kq7zv3personal";
    let mut wrong = run.sample()?;
    wrong.insert(NO_FIELD, secret);
    let create = run.adapter.create(run.entity(), &wrong, &WriteOptions::new()).await;
    if let Ok(written) = &create {
        run.note(&written.id);
    }
    let id = run.gone().await?;
    let change: Fields = [(run.text(), secret)].into_iter().collect();
    let update = run.adapter.update(run.entity(), &id, &change, &WriteOptions::new()).await;
    for (operation, result) in [("create", create), ("update", update)] {
        let Err(error) = result else { return fail(format!("a {operation} that cannot work succeeded")) };
        ensure(error.operation() == Some(operation), || format!("the error of {operation} does not name its operation"))?;
        ensure(error.entity() == Some(run.entity()), || format!("the error of {operation} does not name its entity"))?;
        ensure(!error.message().trim().is_empty(), || format!("the error of {operation} says nothing"))?;
        let shown = format!("{} {error:?}", chain(&error));
        ensure(!shown.contains(secret), || format!("the error of {operation} shows the value of a field"))?;
        ensure(!error.may_have_applied(), || format!("the {operation} was refused: it cannot have been applied"))?;
    }
    Ok(())
}

pub(super) async fn quota_answers(run: &Run<'_>) -> Done {
    did("quota", run.adapter.quota().await).map(|_| ())
}
