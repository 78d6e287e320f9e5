//! One kind of record.

use crate::custom::definition::EntitySpec;
use crate::custom::operation::BatchMatch;
use crate::custom::pointer::valid;
use crate::custom::relation::RelatedSpec;
use crate::custom::validate::check::Validator;
use crate::custom::wire::WireFormat;
use crate::document::suggest::did_you_mean;

impl Validator<'_> {
    pub(super) fn entity(&mut self, entity: &EntitySpec, at: &[&str]) {
        let under = |more: &[&'static str]| -> Vec<String> {
            at.iter().map(|step| (*step).to_owned()).chain(more.iter().map(|step| (*step).to_owned())).collect()
        };
        macro_rules! at {
            ($($step:expr),*) => { &under(&[$($step),*]).iter().map(String::as_str).collect::<Vec<_>>() };
        }
        if let Some(path) = &entity.path {
            self.path(path, at!["path"], &["entity"]);
        }
        for (key, paths) in [("id", &entity.id), ("modified", &entity.modified), ("record", &entity.record), ("records", &entity.records)] {
            self.paths(paths.as_ref(), at![key]);
        }
        if let Some(problem) = entity.modified_format.as_ref().and_then(WireFormat::problem) {
            self.wrong(at!["modified_format"], problem, Some("%Y-%m-%dT%H:%M:%S, or an object with year, month and day"));
        }
        if entity.concurrency == Some(0) {
            self.wrong(at!["concurrency"], "with no request under way nothing is done", Some("concurrency: 1"));
        }
        for template in entity.always.values() {
            self.body(template, at!["always"], &["entity", "id"]);
        }
        for (name, field) in &entity.fields {
            let place: Vec<String> = under(&["fields"]).into_iter().chain([name.clone()]).collect();
            let place: Vec<&str> = place.iter().map(String::as_str).collect();
            if let Some(problem) = field.format.as_ref().and_then(WireFormat::problem) {
                self.wrong(&place, problem, Some("%Y-%m-%dT%H:%M:%S, or an object with year, month and day"));
            }
            if field.path.as_deref().is_some_and(|path| path.is_empty() || !valid(path)) {
                self.wrong(&place, "the path of a field is empty or has an empty step", None);
            }
            let mut values: Vec<String> = field.options.values().map(ToString::to_string).collect();
            values.sort();
            if values.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
                self.wrong(&place, "two options have the same value: what comes back cannot be told apart", None);
            }
        }
        if let Some(search) = &entity.search {
            self.search(search, at!["search"]);
        }
        if let Some(get) = &entity.get {
            self.method(get.method.as_deref(), at!["get", "method"]);
            if let Some(path) = &get.path {
                self.path(path, at!["get", "path"], &["entity", "id"]);
                if !path.contains("{id}") && get.body.is_none() && !get.query.values().any(|value| value.contains("{id}")) {
                    self.wrong(at!["get", "path"], "a read of one record does not say which: {id} occurs nowhere", None);
                }
            }
            self.texts(&get.query, at!["get", "query"], &["entity", "id"]);
            self.texts(&get.headers, at!["get", "headers"], &["entity", "id"]);
        }
        let lists = [&entity.get.as_ref().map(|op| &op.success), &entity.search.as_ref().map(|op| &op.success)];
        let writes = [&entity.create, &entity.update, &entity.upsert, &entity.delete].map(|op| op.as_ref().map(|op| &op.success));
        if lists.into_iter().chain(&writes).flatten().any(|list| list.iter().any(|status| !(100..=599).contains(status))) {
            self.wrong(at, "a status of success is a number from 100 to 599", Some("success: [200, 204]"));
        }
        for (key, op, names) in [
            ("create", &entity.create, &["entity", "record"][..]),
            ("update", &entity.update, &["entity", "id", "record"]),
            ("upsert", &entity.upsert, &["entity", "key", "field", "record"]),
            ("delete", &entity.delete, &["entity", "id"]),
        ] {
            if let Some(op) = op {
                let stamped = entity.always.values().any(|value| value.to_string().contains("{id}"));
                self.write(op, key, names, at![key], stamped);
            }
        }
        if entity.upsert.is_some() && entity.keys.is_empty() && !entity.client_id {
            self.wrong(at!["upsert"], "an upsert needs a field that identifies a record", Some("name it: keys: [external_id]"));
        }
        for batch in entity.all_batches() {
            self.path(&batch.path, at!["batch", "path"], &["entity"]);
            if batch.max == 0 {
                self.wrong(at!["batch", "max"], "a batch of no writes does nothing", None);
            }
            for operation in &batch.operations {
                if !["create", "update", "upsert", "delete"].contains(&operation.as_str()) {
                    let message = format!("{operation:?} is not a write");
                    self.wrong(at!["batch", "operations"], message, Some("known: create, update, upsert, delete"));
                }
            }
            let names = ["method", "path", "body", "record", "id", "key", "index", "entity", "items"];
            for (key, template) in [("body", &batch.body), ("item", &batch.item)] {
                if let Some(template) = template {
                    self.body(template, at!["batch", key], &names);
                }
            }
            let says_index = batch.item.as_ref().is_some_and(|item| item.to_string().contains("{index}"));
            if matches!(batch.matching, BatchMatch::Index(_)) && !says_index {
                self.wrong(at!["batch"], "results are matched by an index that no write sends", Some("put {index} into the item"));
            }
            for paths in [Some(&batch.results), batch.status.as_ref(), batch.answer.as_ref(), batch.error.as_ref()] {
                self.paths(paths, at!["batch"]);
            }
        }
        if let Some(changes) = &entity.changes {
            if let Some(path) = &changes.path {
                self.path(path, at!["changes", "path"], &["entity"]);
            }
            self.texts(&changes.query, at!["changes", "query"], &["entity"]);
            let ways = [!changes.since.is_empty(), changes.since_header.is_some(), changes.field.is_some(), changes.client_side];
            if ways.into_iter().filter(|way| *way).count() != 1 {
                let help = "since: updated_after (a parameter), since_header: If-Modified-Since, field: updated_at (the filter), or client_side: true";
                self.wrong(at!["changes"], "the time to begin at is said in exactly one of four ways", Some(help));
            }
            if let Some(removed) = &changes.removed {
                self.path(&removed.path, at!["changes", "removed", "path"], &["entity"]);
                for paths in [&removed.records, &removed.id, &removed.at] {
                    self.paths(paths.as_ref(), at!["changes", "removed"]);
                }
                if removed.since.is_none() && changes.since.is_empty() {
                    let help = Some("since: deleted_after");
                    self.wrong(at!["changes", "removed"], "the parameter with the time to begin at is missing", help);
                }
            }
            if entity.search.is_none() {
                self.wrong(at!["changes"], "changes are read as lists are, and there is no search", Some("search: {}"));
            }
            if entity.modified.is_none() {
                self.wrong(at!["changes"], "changes need to know where a record says when it was changed", Some("modified: updated_at"));
            }
            if changes.deletes && entity.deleted.is_none() {
                self.wrong(at!["changes", "deletes"], "deletions need to know what marks them", Some("deleted: {path: deleted}"));
            }
        }
        for (name, related) in &entity.related {
            let place: Vec<String> = under(&["related"]).into_iter().chain([name.clone()]).collect();
            let place: Vec<&str> = place.iter().map(String::as_str).collect();
            self.related(related, at, &place);
            if entity.fields.contains_key(name) {
                self.wrong(&place, format!("the field {name} is described under \"fields\" too"), Some("keep one of the two"));
            }
        }
        if let Some(schema) = &entity.schema {
            self.path(&schema.path, at!["schema", "path"], &["entity"]);
        }
    }

    pub(super) fn related(&mut self, related: &RelatedSpec, of: &[&str], place: &[&str]) {
        let entities = &self.definition.entities;
        let Some(child) = entities.get(&related.entity) else {
            let help = did_you_mean(&related.entity, entities.keys().map(String::as_str));
            let help = help.unwrap_or_else(|| "describe it under entities".to_owned());
            self.wrong(place, format!("there is no entity {:?}", related.entity), Some(&help));
            return;
        };
        for (what, there) in [("search", child.search.is_some()), ("create", child.create.is_some()), ("update", child.update.is_some())] {
            if !there {
                self.wrong(place, format!("the related entity {:?} has no {what}", related.entity), None);
            }
        }
        // A way from the related entity back to this one would be followed for ever.
        let mut open: Vec<&str> = vec![&related.entity];
        let mut seen: Vec<&str> = Vec::new();
        while let Some(name) = open.pop() {
            if of.last() == Some(&name) {
                self.wrong(place, "the related records lead back to this entity: a cycle", None);
                return;
            }
            if !seen.contains(&name) {
                seen.push(name);
                open.extend(entities.get(name).into_iter().flat_map(|entity| entity.related.values()).map(|next| next.entity.as_str()));
            }
        }
    }
}
