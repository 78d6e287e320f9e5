//! Finding many records by one field in few searches.

use std::collections::HashMap;

use crate::error::{ErrorKind, Result};
use crate::model::{Record, RecordId, Value};
use crate::query::{Criteria, Query};
use crate::sync::engine::Inner;

/// Values in one search, where the CRM names no limit of its own.
const IN_LIST: usize = 400;

/// Bytes of values in one search. Salesforce takes 16,384 bytes of URI and headers, and every byte may become three.
const IN_BYTES: usize = 4_000;

/// What a lookup found, and what it cost.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Records by the canonical form of the field.
    by_value: HashMap<String, Vec<Record>>,
    /// Searches made.
    pub(crate) calls: u64,
}

impl Found {
    /// Takes the records with this value.
    pub(crate) fn get(&self, value: &str) -> &[Record] {
        self.by_value.get(&fold(value)).map_or(&[], Vec::as_slice)
    }
}

/// Whether `record` carries exactly `id` in `field`: a search finds it in another case as well.
pub(crate) fn carries(record: &Record, field: &str, id: &str) -> bool {
    match record.fields.get(field) {
        Some(Value::String(text)) => text.trim() == id.trim(),
        Some(Value::Number(number)) => number.to_string() == id.trim(),
        _ => false,
    }
}

impl Inner {
    /// The records with these ids, and the calls it took. One search where a search shows what was written just now, else
    /// one read for each.
    pub(crate) async fn find_ids(&self, ids: &[RecordId]) -> Result<(HashMap<RecordId, Record>, u64)> {
        let can = self.adapter.capabilities();
        if can.search && can.search_read_your_writes {
            let wanted: Vec<&str> = ids.iter().map(RecordId::as_str).collect();
            match self.find_by(&can.id_field, &wanted, None).await {
                Ok(found) => {
                    let records = found.by_value.into_values().flatten().map(|record| (record.id.clone(), record)).collect();
                    return Ok((records, found.calls));
                }
                Err(error) if error.kind() == ErrorKind::Unsupported => {}
                Err(error) => return Err(error),
            }
        }
        let select: Vec<String> = self.mapping.targets().iter().map(|target| target.name.clone()).collect();
        let mut records = HashMap::new();
        for id in ids {
            if let Some(record) = self.reading(|| self.adapter.get(&self.entity, id, &select)).await? {
                records.insert(id.clone(), record);
            }
        }
        Ok((records, ids.len() as u64))
    }

    /// True if any record satisfies `filter`; one call.
    pub(crate) async fn any(&self, filter: Criteria) -> Result<bool> {
        let query = Query::new(self.entity.clone()).select([self.adapter.capabilities().id_field.as_ref()]).filter(filter).limit(1);
        Ok(!self.reading(|| self.adapter.search(&query)).await?.items.is_empty())
    }

    /// Records whose `field` is one of `values`, with the mapped fields; `also` narrows the search.
    pub(crate) async fn find_by(&self, field: &str, values: &[&str], also: Option<&Criteria>) -> Result<Found> {
        let mut select: Vec<String> = self.mapping.targets().iter().map(|target| target.name.clone()).collect();
        for name in [field, self.adapter.capabilities().id_field.as_ref()].into_iter().chain(self.guarantee.field()) {
            if !select.iter().any(|chosen| chosen == name) {
                select.push(name.to_owned());
            }
        }
        let mut found = Found::default();
        for chunk in chunks(values, self.adapter.capabilities().search_max_in) {
            let mut filter = Criteria::one_of(field, chunk.iter().copied());
            if let Some(also) = also {
                filter = filter.and(also.clone());
            }
            let mut query = Query::new(self.entity.clone()).select(select.iter().cloned()).filter(filter);
            loop {
                let page = self.reading(|| self.adapter.search(&query)).await?;
                found.calls += 1;
                for record in page.items {
                    let value = match record.fields.get(field) {
                        Some(Value::String(text)) => fold(text),
                        Some(Value::Number(number)) => number.to_string(),
                        _ => continue,
                    };
                    found.by_value.entry(value).or_default().push(record);
                }
                match page.next {
                    Some(next) => query.cursor = Some(next),
                    None => break,
                }
            }
        }
        Ok(found)
    }

    /// The key-field query that tells whether a lookup is worth it at all.
    pub(crate) async fn any_with(&self, field: &str) -> Result<bool> {
        self.any(Criteria::ne(field, Value::Null)).await
    }
}

/// CRMs compare text without regard to case.
pub(crate) fn fold(value: &str) -> String {
    value.trim().to_lowercase()
}

pub(super) fn chunks<'v>(values: &'v [&'v str], limit: usize) -> impl Iterator<Item = &'v [&'v str]> {
    let most = if limit == 0 { IN_LIST } else { limit };
    let mut rest = values;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let mut take = 0;
        for value in rest {
            bytes += value.len() + 3;
            if take > 0 && (bytes > IN_BYTES || take >= most) {
                break;
            }
            take += 1;
        }
        let (chunk, after) = rest.split_at(take);
        rest = after;
        (take > 0).then_some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_hold_both_limits_and_lose_nothing() {
        let values: Vec<String> = (0..1000).map(|n| format!("key-{n}")).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let cut: Vec<_> = chunks(&values, 150).collect();
        assert!(cut.iter().all(|chunk| chunk.len() <= 150));
        assert_eq!(cut.concat(), values);
        let long = "x".repeat(9_000);
        let cut: Vec<_> = chunks(&[&long, "a", &long], 0).map(<[&str]>::len).collect::<Vec<_>>();
        assert_eq!(cut, [1, 1, 1]);
        assert_eq!(chunks(&[], 0).count(), 0);
    }
}
