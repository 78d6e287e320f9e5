//! A step of the plan: is a new record in the CRM, or in the input, already under other words?

use std::collections::HashMap;

use crate::dedup::{self, Index, Match, Prepared, Role, search_criteria};
use crate::error::{ErrorKind, Result};
use crate::model::{Fields, Record, RecordId, Value};
use crate::query::{Criteria, Query};
use crate::sync::duplicates::DuplicateCheck;
use crate::sync::engine::Inner;
use crate::sync::lookup::carries;
use crate::sync::plan::Action;
use crate::sync::planner::Draft;

/// Records of one search that are looked at; who has more namesakes than this is not recognised by a name.
const CANDIDATES: u64 = 100;
/// Searches for one record, the most telling ones. HubSpot takes five groups of filters in one search.
const SEARCHES: usize = 5;

impl Draft<'_> {
    /// Judges the records that are still new: against what a search by their signs brings out of the CRM, and against the new records
    /// before them in the input. What is surely one record of the CRM is taken for it; what is likely, or in the input twice, is
    /// held for a person.
    pub(super) async fn recognise(&mut self) -> Result<()> {
        let inner = self.inner;
        let Some(check) = &inner.duplicates else { return Ok(()) };
        let mut index = Index::new();
        for work in &mut self.work {
            if work.link.is_some() || work.found.is_some() || work.verdict.is_some() {
                continue;
            }
            let Some((create, _)) = &work.mapped else { continue };
            let texts = texts(check, create);
            let values: Vec<(Role, &str)> = texts.iter().map(|(role, text)| (*role, text.as_str())).collect();
            let prepared = check.deduper.prepare(&values);
            if prepared.is_blank() {
                continue;
            }
            let (records, calls) = inner.search_alike(check, &values).await?;
            self.read_calls += calls;
            let known: Vec<(RecordId, Prepared)> = (records.iter())
                .filter(|(id, _)| !check.distinct.contains(&work.local, id.as_str()))
                .map(|(id, record)| (id.clone(), prepare(check, &record.fields)))
                .collect();
            let candidates: Vec<(RecordId, &Prepared)> = known.iter().map(|(id, record)| (id.clone(), record)).collect();
            let verdict = check.deduper.judge(&prepared, &candidates);
            let why = why(&verdict.matches);
            match verdict.action {
                dedup::Action::Create => {}
                dedup::Action::Update(id) => {
                    let record = records.get(&id);
                    let taken = record.zip(inner.guarantee.field()).is_some_and(|(record, key)| {
                        let text = record.fields.get(key).is_some_and(|value| !matches!(value, Value::Null | Value::Bool(_)));
                        text && record.fields.text(key) != Some("") && !carries(record, key, &work.local)
                    });
                    if taken {
                        let reason = format!("the CRM's record {id} seems to be the same, but carries the key of another ({why})");
                        work.verdict = Some((Action::Review, reason));
                    } else {
                        work.found = record.cloned();
                    }
                    continue;
                }
                dedup::Action::Merge(ids) => {
                    let reason =
                        format!("{} records in the CRM are the same as this one, merge them first: {} ({why})", ids.len(), list(&ids));
                    work.verdict = Some((Action::Review, reason));
                    continue;
                }
                dedup::Action::Review(ids) => {
                    work.verdict = Some((Action::Review, format!("may be in the CRM already: {} ({why})", list(&ids))));
                    continue;
                }
            }
            for (a, b) in check.distinct.iter().filter(|(a, b)| *a == work.local || *b == work.local) {
                index.keep_apart(a, b);
            }
            let verdict = index.judge_as(&check.deduper, &work.local, &prepared);
            let reason = match (&verdict.action, verdict.matches.first()) {
                (dedup::Action::Create, _) | (_, None) => None,
                (_, Some((id, found))) => Some(format!("seems to be the same as {id} of the input ({})", told(found))),
            };
            match reason {
                Some(reason) => work.verdict = Some((Action::Review, reason)),
                None => {
                    index.insert(&work.local, &prepared);
                }
            }
        }
        Ok(())
    }
}

impl Inner {
    /// The records that share a telling sign with these values, and the calls it took.
    async fn search_alike(&self, check: &DuplicateCheck, values: &[(Role, &str)]) -> Result<(HashMap<RecordId, Record>, u64)> {
        let fields: Vec<(Role, &str)> = check.fields.iter().map(|(role, field)| (*role, field.as_str())).collect();
        let mut parts = search_criteria(values, &fields);
        parts.truncate(SEARCHES);
        let mut records = HashMap::new();
        let mut calls = 0;
        if parts.is_empty() {
            return Ok((records, calls));
        }
        let together = if parts.len() == 1 { Vec::new() } else { vec![Criteria::Any(parts.clone())] };
        for filters in [together, parts] {
            let mut refused = filters.is_empty();
            for filter in filters {
                let query = Query::new(self.entity.clone()).select(self.alike_fields(check)).filter(filter).limit(CANDIDATES);
                calls += 1;
                match self.reading(|| self.adapter.search(&query)).await {
                    Ok(page) => records.extend(page.items.into_iter().map(|record| (record.id.clone(), record))),
                    // One search for all signs is more than this CRM can do: one after the other, then.
                    Err(error) if error.kind() == ErrorKind::Unsupported && matches!(query.filter, Criteria::Any(_)) => refused = true,
                    Err(error) => return Err(error),
                }
            }
            if !refused {
                break;
            }
        }
        Ok((records, calls))
    }

    fn alike_fields(&self, check: &DuplicateCheck) -> Vec<String> {
        let mut select: Vec<String> = self.mapping.targets().iter().map(|target| target.name.clone()).collect();
        let compared = check.fields.iter().map(|(_, field)| field.as_str());
        for name in compared.chain([self.adapter.capabilities().id_field.as_ref()]).chain(self.guarantee.field()) {
            if !select.iter().any(|chosen| chosen == name) {
                select.push(name.to_owned());
            }
        }
        select
    }
}

fn texts(check: &DuplicateCheck, fields: &Fields) -> Vec<(Role, String)> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    check.fields.iter().filter_map(|(role, field)| Some((*role, text(fields.get(field)?)?))).collect()
}

fn prepare(check: &DuplicateCheck, fields: &Fields) -> Prepared {
    let texts = texts(check, fields);
    let values: Vec<(Role, &str)> = texts.iter().map(|(role, text)| (*role, text.as_str())).collect();
    check.deduper.prepare(&values)
}

fn why(matches: &[(RecordId, Match)]) -> String {
    matches.first().map_or_else(String::new, |(_, found)| told(found))
}

/// The strongest evidence in words, without values.
fn told(found: &Match) -> String {
    let evidence = found.reasons.iter().filter(|reason| reason.rule != "prior" && reason.level != "hit").take(3);
    let words: Vec<&str> = evidence.map(|reason| reason.text.as_str()).collect();
    format!("{:.0} %: {}", found.score * 100.0, words.join(", "))
}

fn list(ids: &[RecordId]) -> String {
    ids.iter().map(RecordId::as_str).collect::<Vec<_>>().join(", ")
}
