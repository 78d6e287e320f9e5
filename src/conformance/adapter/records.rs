//! Single records: made, read, changed, deleted.

use serde_json::Value;

use crate::adapter::WriteOptions;
use crate::conformance::adapter::run::{Done, Run, Stop, alike, did, ensure, fail, holds, needs, one};
use crate::error::ErrorKind;
use crate::model::{ExternalKey, Fields};
use crate::query::Criteria;

pub(super) async fn name_is_stable(run: &Run<'_>) -> Done {
    let name = run.adapter.name().to_owned();
    ensure(!name.is_empty() && !name.contains(char::is_whitespace), || "the name is empty or holds a blank".to_owned())?;
    ensure(name == run.adapter.name(), || "the name changes".to_owned())
}

pub(super) async fn authenticate_succeeds(run: &Run<'_>) -> Done {
    did("authenticate", run.adapter.authenticate().await).map(|_| ())
}

pub(super) async fn create_then_get(run: &Run<'_>) -> Done {
    let (id, fields) = run.made().await?;
    let record = run.record(&id, &fields).await?;
    ensure(record.id == id, || "get answers another id than create".to_owned())?;
    ensure(record.entity == *run.entity(), || "get answers another entity".to_owned())?;
    ensure(!record.deleted, || "a live record is marked as deleted".to_owned())?;
    alike(&record, &fields)
}

pub(super) async fn get_selects(run: &Run<'_>) -> Done {
    let (id, fields) = run.made().await?;
    let Some(record) = run.get(&id, &[run.text().to_owned()]).await? else { return fail("get does not find a record that exists") };
    ensure(holds(&record, run.text(), &one(&fields, run.text())), || "a field that was selected is not there".to_owned())?;
    for name in fields.names().filter(|name| *name != run.text() && **name != *run.adapter.capabilities().id_field) {
        ensure(!record.fields.contains(name), || format!("field {name} was not selected and is there"))?;
    }
    Ok(())
}

pub(super) async fn update_changes_only_what_is_given(run: &Run<'_>) -> Done {
    needs(run.adapter.capabilities().update, "the adapter does not claim update")?;
    let (id, mut fields) = run.made().await?;
    let text = one(&run.sample()?, run.text());
    let change: Fields = [(run.text(), text.clone())].into_iter().collect();
    let written = did("update", run.adapter.update(run.entity(), &id, &change, &WriteOptions::new()).await)?;
    ensure(written.id == id, || "update answers another id".to_owned())?;
    ensure(written.created != Some(true), || "update says that the record is new".to_owned())?;
    fields.insert(run.text(), text);
    alike(&run.record(&id, &fields).await?, &fields)
}

pub(super) async fn null_clears(run: &Run<'_>) -> Done {
    let Some(field) = &run.subject.clearable else { return Err(Stop::Skip("the subject names no clearable field".to_owned())) };
    needs(run.adapter.capabilities().update, "the adapter does not claim update")?;
    let (id, mut fields) = run.made().await?;
    let change: Fields = [(field, Value::Null)].into_iter().collect();
    did("update to null", run.adapter.update(run.entity(), &id, &change, &WriteOptions::new()).await)?;
    let record = run.record(&id, &fields).await?;
    ensure(Criteria::IsNull { field: field.clone() }.matches(&record.fields), || {
        format!("field {field} was set to null and is not empty")
    })?;
    ensure(record.fields.contains(field), || format!("field {field} was selected and is empty: it should be null, not absent"))?;
    fields.insert(field, Value::Null);
    alike(&record, &fields)
}

pub(super) async fn delete_then_get_none(run: &Run<'_>) -> Done {
    let id = run.gone().await?;
    let found = run.get(&id, &[]).await?;
    ensure(found.is_none(), || "get finds a record that was deleted".to_owned())
}

pub(super) async fn delete_twice_is_fine(run: &Run<'_>) -> Done {
    let id = run.gone().await?;
    did("the second delete", run.adapter.delete(run.entity(), &id, &WriteOptions::new()).await)
}

pub(super) async fn deleted_ids_stay_dead(run: &Run<'_>) -> Done {
    let gone = run.gone().await?;
    let (id, _) = run.made().await?;
    ensure(id != gone, || "the id of a deleted record was given to another one".to_owned())
}

pub(super) async fn get_of_unknown_id_is_none(run: &Run<'_>) -> Done {
    let id = run.gone().await?;
    let found = run.get(&id, &[run.text().to_owned()]).await?;
    ensure(found.is_none(), || "get finds a record under an id that names nothing".to_owned())
}

pub(super) async fn update_of_unknown_id_fails(run: &Run<'_>) -> Done {
    needs(run.adapter.capabilities().update, "the adapter does not claim update")?;
    let id = run.gone().await?;
    let change: Fields = [(run.text(), one(&run.sample()?, run.text()))].into_iter().collect();
    match run.adapter.update(run.entity(), &id, &change, &WriteOptions::new()).await {
        Ok(_) => fail("an update of a record that is gone succeeded"),
        Err(error) if error.kind() == ErrorKind::NotFound && !error.is_retryable() => Ok(()),
        Err(error) => fail(format!("expected a final not_found, found {} ({:?})", error.kind(), error.retry())),
    }
}

pub(super) async fn version_guards_update(run: &Run<'_>) -> Done {
    let can = run.adapter.capabilities();
    needs(can.update, "the adapter does not claim update")?;
    let (id, fields) = run.made().await?;
    let record = run.record(&id, &fields).await?;
    let text = |fields: Fields| -> Fields { [(run.text(), one(&fields, run.text()))].into_iter().collect() };
    let (first, second) = (text(run.sample()?), text(run.sample()?));
    if !can.update_with_version {
        // No CRM's version looks like this. An adapter that keeps the condition as far as it can refuses it, and so does one
        // that cannot at all; only one that ignores it goes on.
        let options = WriteOptions::new().if_version("conformance, no version".into());
        let update = run.adapter.update(run.entity(), &id, &first, &options).await;
        return ensure(update.is_err(), || {
            "if_version was ignored: answer unsupported, or a change of somebody else is overwritten".to_owned()
        });
    }
    let Some(version) = record.version else { return fail("update_with_version is claimed, and a record has no version") };
    let options = WriteOptions::new().if_version(version);
    let update = run.adapter.update(run.entity(), &id, &first, &options).await;
    did("an update under the right version", update)?;
    match run.adapter.update(run.entity(), &id, &second, &options).await {
        Err(error) if error.kind() == ErrorKind::Conflict => {}
        Err(error) => return fail(format!("an update under an old version: expected conflict, found {}", error.kind())),
        Ok(_) => return fail("an update under an old version succeeded"),
    }
    alike(&run.record(&id, &first).await?, &first)
}

pub(super) async fn upsert_twice_creates_once(run: &Run<'_>) -> Done {
    let can = run.adapter.capabilities();
    needs(can.upsert, "the adapter does not claim upsert")?;
    let Some(field) = &run.subject.key else { return Err(Stop::Skip("the subject names no key".to_owned())) };
    let mut fields = run.sample()?;
    let value = fields.remove(field).unwrap_or_default();
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let key = did("making the key", ExternalKey::new(field, value))?;
    let options = WriteOptions::new();
    let first = did("the first upsert", run.adapter.upsert(run.entity(), &key, &fields, &options).await)?;
    run.note(&first.id);
    ensure(first.created != Some(false), || "the first upsert says that the record is not new".to_owned())?;
    fields.insert(run.text(), one(&run.sample()?, run.text()));
    let second = did("the second upsert", run.adapter.upsert(run.entity(), &key, &fields, &options).await)?;
    if second.id != first.id {
        run.note(&second.id);
        return fail("two upserts with one key made two records");
    }
    ensure(second.created != Some(true), || "the second upsert says that the record is new".to_owned())?;
    alike(&run.record(&first.id, &fields).await?, &fields)
}
