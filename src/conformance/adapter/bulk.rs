//! Many operations in one call.

use crate::adapter::{BulkOp, WriteOptions};
use crate::conformance::adapter::run::{Done, Run, alike, did, ensure, fail, needs, one};
use crate::error::ErrorKind;
use crate::model::Fields;

pub(super) async fn bulk_keeps_order_and_length(run: &Run<'_>) -> Done {
    let can = run.adapter.capabilities();
    needs(can.create, "the adapter does not claim create")?;
    needs(can.bulk_max_ops == 0 || can.bulk_max_ops >= 3, "the adapter takes fewer than three operations")?;
    let none = did("an empty bulk", run.adapter.bulk(run.entity(), &[], &WriteOptions::new()).await)?;
    ensure(none.is_empty(), || "an empty bulk has outcomes".to_owned())?;
    let samples = [run.sample()?, run.sample()?, run.sample()?];
    let ops: Vec<BulkOp> = samples.iter().map(|fields| BulkOp::Create { fields: fields.clone() }).collect();
    let outcomes = did("bulk", run.adapter.bulk(run.entity(), &ops, &WriteOptions::new()).await)?;
    ensure(outcomes.len() == ops.len(), || format!("a bulk of {} has {} outcomes", ops.len(), outcomes.len()))?;
    let mut made = Vec::new();
    for outcome in outcomes {
        let written = did("a create inside a bulk", outcome)?;
        run.note(&written.id);
        made.push(written.id);
    }
    for (id, fields) in made.iter().zip(&samples) {
        alike(&run.record(id, fields).await?, fields)?;
    }
    Ok(())
}

pub(super) async fn bulk_failures_stay_apart(run: &Run<'_>) -> Done {
    let can = run.adapter.capabilities();
    needs(can.create && can.update && can.delete, "the adapter does not claim create, update and delete")?;
    needs(can.bulk_max_ops == 0 || can.bulk_max_ops >= 4, "the adapter takes fewer than four operations")?;
    let gone = run.gone().await?;
    let (doomed, _) = run.made().await?;
    let (first, last) = (run.sample()?, run.sample()?);
    let text: Fields = [(run.text(), one(&run.sample()?, run.text()))].into_iter().collect();
    let ops = [
        BulkOp::Create { fields: first.clone() },
        BulkOp::Update { id: gone, fields: text },
        BulkOp::Delete { id: doomed.clone() },
        BulkOp::Create { fields: last.clone() },
    ];
    let outcomes = did("bulk", run.adapter.bulk(run.entity(), &ops, &WriteOptions::new()).await)?;
    for written in outcomes.iter().flatten().filter(|written| written.created == Some(true)) {
        run.note(&written.id);
    }
    let [Ok(one), Err(error), Ok(deleted), Ok(four)] = outcomes.as_slice() else {
        let shape: Vec<&str> = outcomes.iter().map(|outcome| if outcome.is_ok() { "done" } else { "failed" }).collect();
        return fail(format!("expected done, failed, done, done; found {}", shape.join(", ")));
    };
    ensure(error.kind() == ErrorKind::NotFound, || format!("the row that is gone failed with {}, not not_found", error.kind()))?;
    ensure(deleted.id == doomed, || "the outcome of a delete names another record".to_owned())?;
    run.note(&one.id);
    run.note(&four.id);
    alike(&run.record(&one.id, &first).await?, &first)?;
    alike(&run.record(&four.id, &last).await?, &last)?;
    ensure(run.get(&doomed, &[]).await?.is_none(), || "a delete inside a bulk deleted nothing".to_owned())
}
