//! From committed rows to events.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::events::bus::Writer;
use crate::sandbox::salesforce::events::kind::kind_of;
use crate::sandbox::salesforce::events::log::{Change, Payload, uuid};
use crate::sandbox::salesforce::events::shape::{Delta, Shape, entity_of};
use crate::sandbox::store::Edit;

/// More changes in a transaction end in a `GAP_OVERFLOW` (Change Data Capture Developer Guide, overflow events).
const OVERFLOW: usize = 100_000;

/// A larger event becomes a gap event.
const LARGEST: usize = 1_000_000;

/// The id an overflow event carries.
pub(crate) const NO_ID: &str = "000000000000000AAA";

impl Salesforce {
    /// Objects whose changes become events.
    pub(crate) fn captured(&self) -> BTreeSet<String> {
        let config = &self.events.config;
        let members = config.channels.values().flat_map(|channel| &channel.members).filter_map(|member| entity_of(member));
        config.enabled.iter().cloned().chain(members).collect()
    }

    /// Turns what is about to be committed into events.
    pub(crate) fn publish(&mut self) {
        let staged = self.events.staged();
        let edits_made = self.tables.mark() > 0;
        if staged.is_empty() && !edits_made {
            return;
        }
        let Some(writer) = self.events.writer.take().or_else(|| self.writer_by_rows()) else { return };
        self.events.log.purge(writer.now);
        for payload in staged {
            self.events.log.append(writer.now, payload);
        }
        if !edits_made {
            return;
        }
        let topics = self.active_topics();
        let captured = self.captured();
        let mut shapes: BTreeMap<String, Arc<Shape>> = BTreeMap::new();
        for entity in self.tables.edits().iter().map(|(entity, ..)| (*entity).to_owned()).collect::<BTreeSet<_>>() {
            if captured.contains(&entity)
                && let Some(shape) = self.shape(&entity)
            {
                shapes.insert(entity, shape);
            }
        }
        let edits = self.tables.edits();
        let mut payloads: Vec<Payload> = changes(&edits, &shapes, &writer);
        payloads.extend(
            topics.iter().flat_map(|topic| topic.notices(&self.scope("v68.0", crate::sandbox::salesforce::soql::day(writer.now)), &edits)),
        );
        let notices = self.events.config.outbound.wanted(&edits);
        if payloads.iter().any(|payload| matches!(payload, Payload::Change(_))) {
            let number = self.events.number();
            let key = uuid(self.events.seed, "transaction", number);
            for payload in &mut payloads {
                if let Payload::Change(change) = payload {
                    change.transaction.clone_from(&key);
                    change.number = 1_080_000_000_000 + i64::try_from(number).unwrap_or(0) * 3;
                }
            }
        }
        for payload in payloads {
            self.events.log.append(writer.now, payload);
        }
        for (message, record) in notices {
            let id = self.new_id("04l");
            self.events.change().outbound.queue(message, id, record, writer.now);
        }
    }

    /// For writers that did not say who they are.
    fn writer_by_rows(&self) -> Option<Writer> {
        let edits = self.tables.edits();
        let row = edits.iter().find_map(|(_, _, _, new)| *new)?;
        let at = row.text("SystemModstamp").and_then(|at| Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", at).ok())?;
        let user = row.text("LastModifiedById").unwrap_or(&self.other).to_owned();
        Some(Writer { now: at, user, origin: String::new() })
    }
}

fn changes(edits: &[Edit<'_>], shapes: &BTreeMap<String, Arc<Shape>>, writer: &Writer) -> Vec<Payload> {
    let mut found: Vec<Change> = Vec::new();
    let mut merged: HashMap<(String, &str, String), usize> = HashMap::new();
    let mut overflown: BTreeSet<&str> = BTreeSet::new();
    let mut count = 0;
    for (entity, id, old, new) in edits {
        let (Some(shape), Some(kind)) = (shapes.get(*entity), kind_of(*old, *new)) else { continue };
        count += 1;
        if count > OVERFLOW {
            overflown.insert(entity);
            continue;
        }
        let delta = match (kind, old, new) {
            ("UPDATE", Some(old), Some(new)) => {
                // The update that converts a lead does not show its LastModifiedDate.
                let converted = !old.is_true("IsConverted") && new.is_true("IsConverted");
                let mut delta = shape.delta(old, new, !converted);
                if converted {
                    delta.fields.remove("LastModifiedDate");
                    delta.changed.retain(|name| name != "LastModifiedDate");
                }
                delta
            }
            ("DELETE", ..) | (.., None) => Delta::default(),
            (.., Some(new)) => Delta { fields: shape.full(new), ..Delta::default() },
        };
        let body = Value::Object(delta.fields.clone()).to_string();
        if body.len() > LARGEST {
            found.push(change(entity, vec![(*id).to_owned()], format!("GAP_{kind}"), writer, Delta::default()));
            continue;
        }
        // The same change to several rows of a transaction is one event.
        if kind == "UPDATE" || kind == "DELETE" {
            let key = ((*entity).to_owned(), kind, body);
            if let Some(same) = merged.get(&key).and_then(|at| found.get_mut(*at)) {
                same.ids.push((*id).to_owned());
                continue;
            }
            merged.insert(key, found.len());
        }
        found.push(change(entity, vec![(*id).to_owned()], kind.to_owned(), writer, delta));
    }
    found.extend(
        overflown.into_iter().map(|entity| change(entity, vec![NO_ID.to_owned()], "GAP_OVERFLOW".to_owned(), writer, Delta::default())),
    );
    for (at, change) in found.iter_mut().enumerate() {
        change.sequence = u32::try_from(at + 1).unwrap_or(u32::MAX);
    }
    found.into_iter().map(|change| Payload::Change(Box::new(change))).collect()
}

/// Without the numbers that belong to the transaction.
pub(crate) fn change(entity: &str, ids: Vec<String>, kind: String, writer: &Writer, delta: Delta) -> Change {
    Change {
        entity: entity.to_owned(),
        ids,
        kind,
        origin: writer.origin.clone(),
        transaction: String::new(),
        sequence: 1,
        timestamp: writer.now.as_millisecond(),
        number: 0,
        user: writer.user.clone(),
        changed: delta.changed,
        nulled: delta.nulled,
        diffs: delta.diffs,
        fields: delta.fields,
    }
}
