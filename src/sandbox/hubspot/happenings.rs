//! What a commit did, as webhooks and the journal tell it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::sandbox::hubspot::records::MERGED_INTO;
use crate::sandbox::hubspot::state::{HubSpot, Kind};
use crate::sandbox::store::Row;

/// One thing that happened to a record.
#[derive(Clone, Debug)]
pub(crate) struct Happening {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Changed(BTreeMap<String, String>),
    Created(BTreeMap<String, String>),
    Deleted,
    Linked {
        to: Kind,
        other: String,
        type_id: u64,
        removed: bool,
    },
    Merged {
        merged: Vec<String>,
        new: String,
        moved: usize,
    },
    /// Deleted for good.
    Purged,
    Restored,
}

fn types(row: Option<&Row>) -> BTreeSet<u64> {
    let list = row.filter(|row| !row.deleted).and_then(|row| row.fields.get("types")).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_u64).collect()
}

fn values(row: &Row) -> BTreeMap<String, String> {
    row.fields
        .iter()
        .filter(|(name, _)| !name.starts_with('#'))
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

impl HubSpot {
    /// What has happened to records since the last commit, in its order.
    pub(crate) fn happenings(&self) -> Vec<Happening> {
        let mut all: Vec<Happening> = Vec::new();
        let mut merges: Vec<(Kind, String, String, Vec<String>)> = Vec::new();
        for (entity, id, old, new) in self.tables.edits() {
            if let Some(rest) = entity.strip_prefix("a/") {
                let pair = rest.split_once('/').zip(id.split_once('/'));
                let Some(((from, from_id), (to, to_id))) = pair else { continue };
                let (Some(kind), Some(to)) = (self.kind(from), self.kind(to)) else { continue };
                let (before, after) = (types(old), types(new));
                for type_id in before.symmetric_difference(&after) {
                    let what =
                        What::Linked { to: to.clone(), other: to_id.to_owned(), type_id: *type_id, removed: before.contains(type_id) };
                    all.push(Happening { kind: kind.clone(), id: from_id.to_owned(), what });
                }
                continue;
            }
            let Some(kind) = entity.strip_prefix("r/").and_then(|id| self.kind(id)) else { continue };
            let what = match (old, new) {
                (Some(before), Some(after)) if !before.deleted && after.deleted => match after.text(MERGED_INTO) {
                    Some(target) => {
                        let primary = after.text("#primary").unwrap_or_default();
                        let other = (primary != id).then(|| id.to_owned());
                        match merges.iter_mut().find(|(of, _, into, _)| *of == kind && into == target) {
                            Some((.., list)) => list.extend(other),
                            None => merges.push((kind, primary.to_owned(), target.to_owned(), other.into_iter().collect())),
                        }
                        continue;
                    }
                    None => What::Deleted,
                },
                (None, Some(after)) if after.text("hs_merged_object_ids").is_some() => continue,
                (None, Some(after)) if !after.deleted => What::Created(values(after)),
                (Some(before), Some(after)) if before.deleted && !after.deleted => What::Restored,
                (Some(_), None) => What::Purged,
                (Some(before), Some(after)) if !after.deleted => {
                    let (before, mut after) = (values(before), values(after));
                    let gone: Vec<String> = before.keys().filter(|name| !after.contains_key(*name)).cloned().collect();
                    after.retain(|name, value| before.get(name) != Some(value));
                    after.extend(gone.into_iter().map(|name| (name, String::new())));
                    after.remove(kind.modified());
                    if after.is_empty() {
                        continue;
                    }
                    What::Changed(after)
                }
                _ => continue,
            };
            all.push(Happening { kind, id: id.to_owned(), what });
        }
        for (kind, primary, new, merged) in merges {
            let moved = self.tables.live(&kind.table(), &new).map_or(0, |row| values(row).len());
            all.push(Happening { kind, id: primary, what: What::Merged { merged, new, moved } });
        }
        all
    }

    /// Queues webhooks and writes the journal for what is about to be committed.
    pub(crate) fn publish(&mut self) {
        let wanted = self.tables.rows("whsub").next().is_some() || self.tables.rows("jsub").next().is_some();
        if !wanted {
            return;
        }
        let all = self.happenings();
        if all.is_empty() {
            return;
        }
        self.queue_webhooks(&all);
        self.write_journal(&all);
    }
}

/// A number if it is one: ids in events are numbers.
pub(crate) fn number(id: &str) -> Value {
    id.parse::<u64>().map_or_else(|_| json!(id), |number| json!(number))
}
