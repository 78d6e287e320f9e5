//! References to other records: what a mapping wants by a value becomes the CRM's id.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::error::Result;
use crate::mapping::Lookup;
use crate::model::{Entity, RecordId, Value};
use crate::query::{Criteria, Query};
use crate::store::links;
use crate::sync::engine::Inner;
use crate::sync::lookup::{chunks, fold};

/// Links read at once.
const PAGE: usize = 1_000;

/// What became of a reference.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reference {
    /// The record.
    Known(RecordId),
    /// Why there is none. Holds no value.
    Missing(String),
    /// Why it cannot be told which one it is.
    Unclear(String),
}

impl Inner {
    /// Answers lookups in their order, and tells the calls it took. Without `by` the value is the host's id of a record that is
    /// linked; with it, the record of the CRM that has the value in that field, found by one search per few hundred values.
    pub(super) async fn references(&self, lookups: &[Lookup]) -> Result<(Vec<Reference>, u64)> {
        let mut answers: Vec<Option<Reference>> = vec![None; lookups.len()];
        // By entity and field: the places of the lookups, and their values.
        type Groups<'a> = BTreeMap<(Entity, Option<&'a str>), Vec<(usize, String)>>;
        let mut groups = Groups::new();
        for (at, (lookup, answer)) in lookups.iter().zip(&mut answers).enumerate() {
            let field = &lookup.field;
            let text = match &lookup.value {
                Value::String(text) => text.trim().to_owned(),
                Value::Number(number) => number.to_string(),
                _ => {
                    *answer = Some(Reference::Unclear(format!("{field} refers to a record by something else than a text or a number")));
                    continue;
                }
            };
            match self.referred(lookup) {
                Some(entity) => groups.entry((entity, lookup.by.as_deref())).or_default().push((at, text)),
                None => {
                    let message = format!("{field} may point to records of several entities; name one by `entity` in the mapping");
                    *answer = Some(Reference::Unclear(message));
                }
            }
        }
        let mut calls = 0;
        for ((entity, by), wanted) in groups {
            let values: Vec<&str> = wanted.iter().map(|(_, value)| value.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
            let found = match by {
                None => self.linked(&entity, &values).await?,
                Some(by) => {
                    let (found, made) = self.with_value(&entity, by, &values).await?;
                    calls += made;
                    found
                }
            };
            for (at, value) in wanted {
                let key = if by.is_some() { fold(&value) } else { value };
                let field = lookups.get(at).map_or("", |lookup| lookup.field.as_str());
                let answer = match (found.get(&key).map(Vec::as_slice), by) {
                    (Some([one]), _) => Reference::Known(one.clone()),
                    (None | Some([]), None) => {
                        Reference::Missing(format!("{field} refers to a record of {entity} that is not linked yet; sync {entity} first"))
                    }
                    (None | Some([]), Some(by)) => Reference::Missing(format!("{field} refers to a record of {entity} that no {by} names")),
                    (Some(several), _) => {
                        let by = by.unwrap_or("id");
                        Reference::Unclear(format!("{field} refers to a record of {entity}, and {} have the same {by}", several.len()))
                    }
                };
                if let Some(slot) = answers.get_mut(at) {
                    *slot = Some(answer);
                }
            }
        }
        let untold = || Reference::Unclear("the reference got no answer".to_owned());
        Ok((answers.into_iter().map(|answer| answer.unwrap_or_else(untold)).collect(), calls))
    }

    /// The CRM's entity a lookup is about: the one its mapping names, as far as the field may point to it, or the only one the
    /// field may point to.
    fn referred(&self, lookup: &Lookup) -> Option<Entity> {
        let may: &[String] = self.references.get(&lookup.field).map_or(&[], Vec::as_slice);
        let named = lookup.entity.as_ref().map(|name| {
            let same = |known: &&String| known.eq_ignore_ascii_case(name);
            may.iter().find(same).cloned()
        });
        match (named, may, &lookup.entity) {
            (Some(Some(known)), ..) => Some(Entity::new(known)),
            // The host calls it by a word of its own; there is no choice.
            (_, [only], _) => Some(Entity::new(only.clone())),
            (_, [], Some(name)) => Some(Entity::new(name.clone())),
            _ => None,
        }
    }

    async fn linked(&self, entity: &Entity, values: &[&str]) -> Result<HashMap<String, Vec<RecordId>>> {
        let mut found = HashMap::with_capacity(values.len());
        for page in values.chunks(PAGE) {
            let links = links::by_local(&*self.store, self.connection(), entity, page).await?;
            found.extend(links.into_iter().flatten().map(|link| (link.local, vec![link.remote])));
        }
        Ok(found)
    }

    async fn with_value(&self, entity: &Entity, by: &str, values: &[&str]) -> Result<(HashMap<String, Vec<RecordId>>, u64)> {
        let can = self.adapter.capabilities();
        let mut found: HashMap<String, Vec<RecordId>> = HashMap::new();
        let mut calls = 0;
        for chunk in chunks(values, can.search_max_in) {
            let filter = Criteria::one_of(by, chunk.iter().copied());
            let mut query = Query::new(entity.clone()).select([can.id_field.as_ref(), by]).filter(filter);
            loop {
                let page = self.reading(|| self.adapter.search(&query)).await?;
                calls += 1;
                for record in page.items {
                    let value = match record.fields.get(by) {
                        Some(Value::String(text)) => fold(text),
                        Some(Value::Number(number)) => number.to_string(),
                        _ => continue,
                    };
                    found.entry(value).or_default().push(record.id);
                }
                match page.next {
                    Some(next) => query.cursor = Some(next),
                    None => break,
                }
            }
        }
        Ok((found, calls))
    }
}
