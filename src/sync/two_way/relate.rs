//! Records that belong together although no link says so.

use std::collections::HashSet;

use crate::error::Result;
use crate::model::{RecordId, Value};
use crate::store::{base, links, own};
use crate::sync::records::LocalRecord;
use crate::sync::two_way::api::TwoWay;
use crate::sync::two_way::pair::Pair;
use crate::sync::two_way::plan::Step;

impl TwoWay {
    /// Records that we made in the host for one of the CRM's, and died before the link was kept.
    pub(super) async fn adopt(&self, pairs: &mut [Pair]) -> Result<()> {
        let inner = &*self.parts.engine.inner;
        let prefix = format!("{}/{}/", inner.connection(), inner.entity);
        let lost = |pair: &Pair| {
            let local = pair.local.as_ref().filter(|_| pair.row.reason.is_empty() && pair.row.remote.is_none())?;
            Some((local.clone(), RecordId::new(local.key.as_deref()?.strip_prefix(&prefix)?)))
        };
        let lost: Vec<(usize, LocalRecord, RecordId)> =
            pairs.iter().enumerate().filter_map(|(at, pair)| lost(pair).map(|(local, remote)| (at, local, remote))).collect();
        for (at, local, remote) in lost {
            let linked = links::by_remote(self.store(), inner.connection(), &inner.entity, &[&remote]).await?;
            if linked.into_iter().flatten().next().is_some() {
                continue;
            }
            let other = pairs.iter().position(|pair| pair.row.remote.as_ref() == Some(&remote));
            if let Some(pair) = pairs.get_mut(at).filter(|_| other.is_some()) {
                pair.decided(Step::Skip, "it is matched with a record of the CRM");
            }
            if let Some(pair) = pairs.get_mut(other.unwrap_or(at)) {
                pair.row.local = Some(local.id.clone());
                pair.row.remote = Some(remote);
                let key = local.key.clone().unwrap_or_default();
                pair.marks =
                    own::get_many(self.store(), inner.connection(), &inner.entity, &[key.as_str()]).await?.pop().unwrap_or_default();
                pair.local = Some(local);
            }
        }
        Ok(())
    }

    /// Records of the CRM that are not linked: are they one of the host's?
    pub(super) async fn relate(&self, pairs: &mut [Pair]) -> Result<()> {
        self.relate_by_key(pairs).await?;
        if let Some((field, crm)) = &self.parts.match_on {
            self.relate_by_value(pairs, field, crm).await?;
        }
        // The host's side of it was noted too: one row is enough.
        let matched: HashSet<String> = pairs
            .iter()
            .filter(|pair| !pair.row.work.linked && pair.row.remote.is_some())
            .filter_map(|pair| pair.row.local.clone())
            .collect();
        for pair in pairs.iter_mut().filter(|pair| pair.row.remote.is_none() && pair.row.reason.is_empty()) {
            if pair.row.local.as_ref().is_some_and(|local| matched.contains(local)) {
                pair.decided(Step::Skip, "it is matched with a record of the CRM");
            }
        }
        Ok(())
    }

    /// Records of the CRM that carry the host's id, and whose link was lost or is not kept yet.
    pub(super) async fn relate_by_key(&self, pairs: &mut [Pair]) -> Result<()> {
        let inner = &*self.parts.engine.inner;
        let Some(key) = inner.guarantee.field() else { return Ok(()) };
        let carried: Vec<(usize, String)> = pairs
            .iter()
            .enumerate()
            .filter(|(_, pair)| pair.row.reason.is_empty() && pair.row.local.is_none())
            .filter_map(|(at, pair)| Some((at, pair.remote.as_ref()?.fields.text(key)?.to_owned())))
            .collect();
        if carried.is_empty() {
            return Ok(());
        }
        let ids: Vec<&str> = carried.iter().map(|(_, id)| id.as_str()).collect();
        let found = self.parts.records.read(&ids).await?;
        let linked = links::by_local(self.store(), inner.connection(), &inner.entity, &ids).await?;
        let marks = own::get_many(self.store(), inner.connection(), &inner.entity, &ids).await?;
        let bases = base::get_many(self.store(), inner.connection(), &inner.entity, &ids).await?;
        for (((((at, _), local), linked), marks), stored) in carried.into_iter().zip(found).zip(linked).zip(marks).zip(bases) {
            let Some(pair) = pairs.get_mut(at) else { continue };
            match (local, linked) {
                (Some(_), Some(_)) => pair.decided(Step::Review, "it carries the id of a record of the host that is linked to another one"),
                (Some(local), None) => {
                    pair.row.local = Some(local.id.clone());
                    (pair.local, pair.marks, pair.row.work.stored) = (Some(local), marks, stored);
                }
                (None, _) => {}
            }
        }
        Ok(())
    }

    pub(super) async fn relate_by_value(&self, pairs: &mut [Pair], field: &str, crm: &str) -> Result<()> {
        let inner = &*self.parts.engine.inner;
        let places: Vec<usize> = (0..pairs.len())
            .filter(|at| pairs.get(*at).is_some_and(|pair| pair.row.reason.is_empty() && pair.row.local.is_none() && pair.remote.is_some()))
            .collect();
        let values: Vec<Value> = places
            .iter()
            .map(|at| pairs.get(*at).and_then(|pair| pair.remote.as_ref()?.fields.get(crm).cloned()).unwrap_or(Value::Null))
            .collect();
        if values.is_empty() {
            return Ok(());
        }
        let hits = self.parts.records.find(field, &values).await?;
        let mut taken: HashSet<String> =
            pairs.iter().filter(|pair| pair.row.remote.is_some()).filter_map(|pair| pair.row.local.clone()).collect();
        for ((at, hits), value) in places.into_iter().zip(hits).zip(values) {
            let Some(pair) = pairs.get_mut(at).filter(|_| !value.is_null()) else { continue };
            match hits.as_slice() {
                [] => {}
                [one] => {
                    let links = links::by_local(self.store(), inner.connection(), &inner.entity, &[one]).await?;
                    if links.into_iter().flatten().next().is_some() || !taken.insert(one.clone()) {
                        pair.decided(Step::Review, "the matching record of the host is linked to another record already");
                    } else {
                        pair.local = self.parts.records.read(&[one]).await?.pop().flatten();
                        pair.row.local = pair.local.as_ref().map(|record| record.id.clone());
                    }
                }
                several => pair.decided(Step::Review, format!("{} records of the host have the same {field}", several.len())),
            }
        }
        Ok(())
    }
}
