//! Searches find what they should, all of it, once.

use serde_json::Value;

use crate::conformance::adapter::run::{Done, Run, did, ensure, fail, needs, one, same_ids};
use crate::error::{ErrorKind, chain};
use crate::query::{Criteria, Operator};

pub(super) async fn create_then_search_finds(run: &Run<'_>) -> Done {
    needs(run.adapter.capabilities().search, "the adapter does not claim search")?;
    let (id, fields) = run.made().await?;
    run.settle().await;
    let found = did("search", run.found(run.query(Criteria::eq(run.text(), one(&fields, run.text())))).await)?;
    same_ids(&found, [&id], "a search for the text of one record")?;
    let nothing = Criteria::eq(run.text(), "conformance: no record holds this text");
    same_ids(&did("search", run.found(run.query(nothing)).await)?, [], "a search for nothing")
}

pub(super) async fn search_operators(run: &Run<'_>) -> Done {
    needs(run.adapter.capabilities().search, "the adapter does not claim search")?;
    let records = run.several(3).await?;
    run.settle().await;
    let text = |at: usize| records.get(at).and_then(|(_, fields)| fields.text(run.text())).unwrap_or_default().to_owned();
    let mut conditions = vec![
        ("=", Criteria::eq(run.text(), text(0))),
        ("= in another case", Criteria::eq(run.text(), text(1).to_uppercase())),
        ("!=", Criteria::ne(run.text(), text(0))),
        ("IN", Criteria::one_of(run.text(), [text(0), text(2)])),
        ("LIKE 'x%'", Criteria::StartsWith { field: run.text().to_owned(), text: text(1) }),
        ("LIKE '%x%'", Criteria::Contains { field: run.text().to_owned(), text: text(2).chars().skip(1).collect() }),
        ("= a quote", Criteria::eq(run.text(), format!("{}' OR '1'='1", text(0)))),
    ];
    if let Some(field) = &run.subject.clearable {
        conditions.push(("= null", Criteria::IsNull { field: field.clone() }));
        conditions.push(("!= null", Criteria::ne(field, Value::Null)));
    }
    if let Some((field, middle)) = run.subject.number.as_ref().zip(records.get(1)) {
        for (name, op) in [("<", Operator::Lt), ("<=", Operator::Lte), (">", Operator::Gt), (">=", Operator::Gte)] {
            conditions.push((name, Criteria::compare(field, op, one(&middle.1, field))));
        }
    }
    if run.adapter.capabilities().search_case_sensitive {
        conditions.retain(|(name, _)| *name != "= in another case");
    }
    for (name, condition) in conditions {
        let wanted = records.iter().filter(|(_, fields)| condition.matches(fields)).map(|(id, _)| id);
        match run.found(run.query(run.these(&records).and(condition.clone()))).await {
            Ok(found) => same_ids(&found, wanted, &format!("a search with {name}"))?,
            // An operator a CRM does not have is refused; = and IN every one has.
            Err(error) if error.kind() == ErrorKind::Unsupported && !matches!(name, "=" | "IN") => {}
            Err(error) => return fail(format!("a search with {name} failed: {}", chain(&error))),
        }
    }
    Ok(())
}

pub(super) async fn search_combined(run: &Run<'_>) -> Done {
    let can = run.adapter.capabilities();
    needs(can.search, "the adapter does not claim search")?;
    let records = run.several(3).await?;
    run.settle().await;
    let nth = |at: usize| Criteria::eq(run.text(), records.get(at).map(|(_, fields)| one(fields, run.text())).unwrap_or_default());
    let or = nth(0).or(nth(2));
    let not = run.these(&records).and(Criteria::Not(Box::new(nth(1))));
    for (name, condition, claimed) in [("OR", or, can.search_with_or), ("NOT", not, can.search_with_not)] {
        let wanted = records.iter().filter(|(_, fields)| condition.matches(fields)).map(|(id, _)| id);
        match run.found(run.query(condition.clone())).await {
            Ok(found) => same_ids(&found, wanted, &format!("a search with {name}"))?,
            Err(error) if error.kind() == ErrorKind::Unsupported && !claimed => {}
            Err(error) => return fail(format!("a search with {name} failed: {}", chain(&error))),
        }
    }
    Ok(())
}

pub(super) async fn search_order(run: &Run<'_>) -> Done {
    let can = run.adapter.capabilities();
    needs(can.search && can.search_with_order, "the adapter does not claim search_with_order")?;
    let records = run.several(3).await?;
    run.settle().await;
    for descending in [false, true] {
        let query = run.query(run.these(&records)).order_by(run.text(), descending);
        let found = did("a sorted search", run.found(query).await)?;
        let texts: Vec<String> = found.iter().map(|record| record.fields.text(run.text()).unwrap_or_default().to_lowercase()).collect();
        let mut sorted = texts.clone();
        sorted.sort_unstable();
        if descending {
            sorted.reverse();
        }
        ensure(texts.len() == records.len() && texts == sorted, || "a sorted search is not sorted".to_owned())?;
    }
    Ok(())
}

pub(super) async fn search_pages_return_all_once(run: &Run<'_>) -> Done {
    needs(run.adapter.capabilities().search, "the adapter does not claim search")?;
    let records = run.several(5).await?;
    run.settle().await;
    for size in [1, 2, 5] {
        let found = did("a paged search", run.found(run.query(run.these(&records)).page_size(size)).await)?;
        same_ids(&found, records.iter().map(|(id, _)| id), &format!("a search in pages of {size}"))?;
    }
    Ok(())
}

pub(super) async fn search_limit(run: &Run<'_>) -> Done {
    needs(run.adapter.capabilities().search, "the adapter does not claim search")?;
    let records = run.several(4).await?;
    run.settle().await;
    for (size, limit) in [(10, 3), (2, 3)] {
        let query = run.query(run.these(&records)).page_size(size).limit(limit);
        let found = did("a limited search", run.found(query).await)?;
        ensure(found.len() as u64 == limit, || format!("a search with limit {limit} in pages of {size} found {}", found.len()))?;
    }
    Ok(())
}
