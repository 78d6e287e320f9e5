//! Fields that live in records of their own: a contact's e-mail address in an entity of addresses.
//!
//! Cost in further requests: a create one per such field that is given; an update two (find it, then write it); a read of one
//! record one per field; a page of a search one per field if the related entity can be searched by a list of values, else one
//! per record. A condition on such a field costs one search of the related entity per page. Change feeds do not read them.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use serde_json::Value;

use crate::adapter::{CrmAdapter, CrmAdapterExt, WriteOptions, Written};
use crate::custom::connection::Custom;
use crate::custom::definition::EntitySpec;
use crate::custom::filter::OperatorName;
use crate::custom::relation::RelatedSpec;
use crate::error::{Error, Result};
use crate::model::{Entity, Fields, Record, RecordId};
use crate::query::{Criteria, Operator, Query};

/// Parents whose children are looked for in one search, unless the API takes fewer.
const PARENTS: usize = 50;
/// Records a condition on a related field may lead to.
const HITS: u64 = 200;

impl EntitySpec {
    /// The fields that are the record's own, and those that live elsewhere.
    pub(super) fn apart<'a>(&'a self, fields: &Fields) -> (Fields, Vec<(&'a RelatedSpec, Value)>) {
        let mut own = fields.clone();
        let related = self.related.iter().filter_map(|(name, spec)| Some((spec, own.remove(name)?))).collect();
        (own, related)
    }
}

impl Custom {
    /// Makes the children of a record that was just made; if one cannot be made, the record is deleted again.
    pub(super) async fn attach(&self, entity: &Entity, written: &Written, related: Vec<(&RelatedSpec, Value)>) -> Result<()> {
        for (spec, value) in related.into_iter().filter(|(_, value)| !value.is_null()) {
            let child = Entity::new(spec.entity.clone());
            let Err(error) = self.create(&child, &child_fields(spec, &written.id, value), &WriteOptions::new()).await else { continue };
            let undone = self.delete(entity, &written.id, &WriteOptions::new()).await;
            let what = format!("the related record of {} could not be made", spec.entity);
            let (kind, retry) = (error.kind(), error.retry());
            return Err(match undone {
                Ok(()) => Error::new(kind, format!("{what}; the record was deleted again")).retrying(retry).with_source(error),
                Err(_) => Error::new(kind, format!("{what}, and the record could not be deleted again: it is there without"))
                    .retrying(retry)
                    .with_source(error)
                    .ambiguous(),
            }
            .during("create")
            .on(entity)
            .record_id(&written.id));
        }
        Ok(())
    }

    /// Sets a related field of a record that is there.
    pub(super) async fn relate(&self, entity: &Entity, id: &RecordId, spec: &RelatedSpec, value: Value) -> Result<()> {
        let child = Entity::new(spec.entity.clone());
        let options = WriteOptions::new();
        let found = self.children(spec, std::slice::from_ref(id)).await?.into_iter().next();
        let outcome = match (found, value) {
            (None, Value::Null) => Ok(()),
            (Some(found), Value::Null) => self.delete(&child, &found.id, &options).await,
            (Some(found), value) if found.fields.get(&spec.field) == Some(&value) => Ok(()),
            (Some(found), value) => {
                let change: Fields = [(spec.field.as_str(), value)].into_iter().collect();
                self.update(&child, &found.id, &change, &options).await.map(drop)
            }
            (None, value) => self.create(&child, &child_fields(spec, id, value), &options).await.map(drop),
        };
        outcome.map_err(|error| error.during("update").on(entity).record_id(id))
    }

    /// Deletes what is to be deleted with a record.
    pub(super) async fn detach(&self, spec: &EntitySpec, id: &RecordId) -> Result<()> {
        for related in spec.related.values().filter(|related| related.delete) {
            for child in self.children(related, std::slice::from_ref(id)).await? {
                self.delete(&Entity::new(related.entity.clone()), &child.id, &WriteOptions::new()).await?;
            }
        }
        Ok(())
    }

    /// Fills in the related fields that are asked for; empty asks for all.
    pub(super) async fn fill_related(&self, spec: &EntitySpec, select: &[String], records: &mut [Record]) -> Result<()> {
        for (name, related) in &spec.related {
            if records.is_empty() || !(select.is_empty() || select.contains(name)) {
                continue;
            }
            let ids: Vec<RecordId> = records.iter().map(|record| record.id.clone()).collect();
            let mut values: BTreeMap<String, Value> = BTreeMap::new();
            for child in self.children(related, &ids).await? {
                let parent = child.fields.get(&related.parent).and_then(crate::custom::pointer::plain);
                if let (Some(parent), Some(value)) = (parent, child.fields.get(&related.field)) {
                    values.entry(parent).or_insert_with(|| value.clone());
                }
            }
            for record in &mut *records {
                let value = values.remove(record.id.as_str()).unwrap_or(Value::Null);
                record.fields.insert(name, value);
            }
        }
        Ok(())
    }

    /// The children of some records.
    async fn children(&self, spec: &RelatedSpec, parents: &[RecordId]) -> Result<Vec<Record>> {
        let child = Entity::new(spec.entity.clone());
        let filter = self.spec(&child)?.search.as_ref().map(|search| &search.filter);
        let lists = filter.is_some_and(|filter| filter.operators.contains_key(&OperatorName::In));
        let size = if lists { filter.and_then(|filter| filter.max_in).unwrap_or(PARENTS).clamp(1, PARENTS) } else { 1 };
        let mut found = Vec::new();
        for ids in parents.chunks(size) {
            let whose = match ids {
                [id] => Criteria::eq(&spec.parent, id.as_str()),
                ids => Criteria::one_of(&spec.parent, ids.iter().map(RecordId::as_str)),
            };
            let filter = spec.also.iter().fold(whose, |filter, (name, value)| filter.and(Criteria::eq(name, value.clone())));
            let mut hits = self.search_all(Query::new(child.clone()).filter(filter).allow_residual());
            while let Some(hit) = hits.try_next().await? {
                found.push(hit);
            }
        }
        Ok(found)
    }

    /// A condition without related fields, or `None` if nothing can match it.
    pub(super) async fn without_related(&self, spec: &EntitySpec, filter: &Criteria) -> Result<Option<Criteria>> {
        let touches = |part: &Criteria| {
            let mut touches = false;
            part.visit_fields(&mut |name| touches |= spec.related.contains_key(name));
            touches
        };
        let parts: Vec<&Criteria> = match filter {
            Criteria::All(parts) => parts.iter().collect(),
            other => vec![other],
        };
        let mut own = Vec::with_capacity(parts.len());
        for part in parts {
            if !touches(part) {
                own.push(part.clone());
                continue;
            }
            let (field, by) = match part {
                Criteria::Compare { field, op: Operator::Eq, value } => (field, std::slice::from_ref(value)),
                Criteria::In { field, values } => (field, values.as_slice()),
                _ => {
                    let text = "a field in a related record can be compared by = and IN alone, beside other conditions";
                    return Err(Error::unsupported(text));
                }
            };
            let Some(related) = spec.related.get(field) else { continue };
            let wanted = match by {
                [one] => Criteria::eq(&related.field, one.clone()),
                several => Criteria::one_of(&related.field, several.iter().cloned()),
            };
            let filter = related.also.iter().fold(wanted, |filter, (name, value)| filter.and(Criteria::eq(name, value.clone())));
            let mut hits = self.search_all(Query::new(Entity::new(related.entity.clone())).filter(filter).allow_residual().limit(HITS));
            let mut ids: Vec<String> = Vec::new();
            while let Some(hit) = hits.try_next().await? {
                if let Some(id) = hit.fields.get(&related.parent).and_then(crate::custom::pointer::plain)
                    && !ids.contains(&id)
                {
                    ids.push(id);
                }
            }
            match ids.as_slice() {
                [] => return Ok(None),
                [id] => own.push(Criteria::eq(spec.id_name(), id.as_str())),
                _ => own.push(Criteria::one_of(spec.id_name(), ids)),
            }
        }
        Ok(Some(if let [_] = own.as_slice() { own.swap_remove(0) } else { Criteria::All(own) }))
    }
}

fn child_fields(spec: &RelatedSpec, parent: &RecordId, value: Value) -> Fields {
    let mut fields: Fields = spec.also.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    fields.insert(&spec.parent, parent.as_str());
    fields.insert(&spec.field, value);
    fields
}
