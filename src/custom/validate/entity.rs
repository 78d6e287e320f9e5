//! One kind of record.

use crate::custom::definition::{EntitySpec, ID_PARTS};
use crate::custom::operation::{BatchMatch, BatchSpec};
use crate::custom::paging::PageTarget;
use crate::custom::pointer::{Paths, valid};
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
        let parts = entity.id_parts.as_ref().map_or(0, |parts| parts.paths.len());
        if let Some(spec) = &entity.id_parts {
            if !(2..=ID_PARTS.len()).contains(&parts) || spec.join.is_empty() {
                let help = Some("id_parts: {paths: [order, item], join: \"-\"}");
                self.wrong(at!["id_parts"], "an id of parts has two to four of them, with a text between them", help);
            }
            for path in &spec.paths {
                self.paths(Some(&Paths::from(path.as_str())), at!["id_parts"]);
            }
            if entity.id.is_some() {
                self.wrong(at!["id_parts"], "the id is said twice: by \"id\" and by \"id_parts\"", Some("keep one of the two"));
            }
        }
        let ids = || std::iter::once("id").chain(ID_PARTS.into_iter().take(parts));
        let with_ids = |names: &[&'static str]| names.iter().copied().chain(ids()).collect::<Vec<_>>();
        if let Some(version) = &entity.version {
            self.paths(version.path.as_ref(), at!["version"]);
        }
        if let Some(deleted) = &entity.deleted {
            self.paths(Some(&deleted.path), at!["deleted"]);
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
            self.body(template, at!["always"], &with_ids(&["entity"]));
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
                self.path(path, at!["get", "path"], &with_ids(&["entity"]));
                if !path.contains("{id}")
                    && !path.contains("{id.1}")
                    && get.body.is_none()
                    && !get.query.values().any(|value| value.contains("{id}"))
                {
                    self.wrong(at!["get", "path"], "a read of one record does not say which: {id} occurs nowhere", None);
                }
            }
            self.texts(&get.query, at!["get", "query"], &with_ids(&["entity"]));
            self.texts(&get.headers, at!["get", "headers"], &with_ids(&["entity"]));
            if let Some(body) = &get.body {
                self.body(body, at!["get", "body"], &with_ids(&["entity"]));
            }
            self.paths(get.record.as_ref(), at!["get", "record"]);
            for path in get.beside.values() {
                self.paths(Some(path), at!["get", "beside"]);
            }
            let gets = get.method.as_deref().is_none_or(|method| method.eq_ignore_ascii_case("GET"));
            if gets && get.select.as_ref().is_some_and(|select| select.target == PageTarget::Body) {
                let help = Some("method: POST, or target: query");
                self.wrong(at!["get", "select"], "a GET has no body to put the names of fields into", help);
            }
        }
        let lists = [&entity.get.as_ref().map(|op| &op.success), &entity.search.as_ref().map(|op| &op.success)];
        let writes = [&entity.create, &entity.update, &entity.upsert, &entity.delete].map(|op| op.as_ref().map(|op| &op.success));
        if lists.into_iter().chain(&writes).flatten().any(|list| list.iter().any(|status| !(100..=599).contains(status))) {
            self.wrong(at, "a status of success is a number from 100 to 599", Some("success: [200, 204]"));
        }
        for (key, op, names) in [
            ("create", &entity.create, if entity.client_id { with_ids(&["entity", "record"]) } else { vec!["entity", "record"] }),
            ("update", &entity.update, with_ids(&["entity", "record"])),
            ("upsert", &entity.upsert, vec!["entity", "key", "field", "record"]),
            ("delete", &entity.delete, with_ids(&["entity"])),
        ] {
            if let Some(op) = op {
                let stamped = entity.always.values().any(|value| value.to_string().contains("{id}"));
                self.write(op, key, &names, at![key], stamped);
            }
        }
        if entity.upsert.is_some() && entity.keys.is_empty() && !entity.client_id {
            self.wrong(at!["upsert"], "an upsert needs a field that identifies a record", Some("name it: keys: [external_id]"));
        }
        let several = entity.batches.iter().enumerate().map(|(position, batch)| (vec!["batches".to_owned(), position.to_string()], batch));
        for (place, batch) in entity.batch.iter().map(|batch| (vec!["batch".to_owned()], batch)).chain(several) {
            let place: Vec<&str> = at.iter().copied().chain(place.iter().map(String::as_str)).collect();
            self.batch(batch, &with_ids(&["method", "path", "body", "record", "key", "index", "entity", "items"]), &place);
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
            if let Some(problem) = changes.format.as_ref().and_then(WireFormat::problem) {
                self.wrong(at!["changes", "format"], problem, Some("%Y-%m-%dT%H:%M:%S, or an object with year, month and day"));
            }
            let posts = entity
                .search
                .as_ref()
                .and_then(|search| search.method.as_deref())
                .is_some_and(|method| !method.eq_ignore_ascii_case("GET"));
            if changes.target == PageTarget::Body && !posts {
                let help = Some("search: {method: POST}, or target: query");
                self.wrong(at!["changes", "target"], "a GET has no body to put the time into", help);
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

    fn batch(&mut self, batch: &BatchSpec, names: &[&str], at: &[&str]) {
        let under = |key: &'static str| -> Vec<&str> { at.iter().copied().chain([key]).collect() };
        self.path(&batch.path, &under("path"), &["entity"]);
        self.method(batch.method.as_deref(), &under("method"));
        self.texts(&batch.headers, &under("headers"), &["entity"]);
        if batch.max == 0 {
            self.wrong(&under("max"), "a batch of no writes does nothing", None);
        }
        if batch.success.iter().any(|status| !(100..=599).contains(status)) {
            self.wrong(&under("success"), "a status of success is a number from 100 to 599", Some("success: [200, 207]"));
        }
        const WRITES: [&str; 4] = ["create", "update", "upsert", "delete"];
        for operation in batch.operations.iter().filter(|operation| !WRITES.contains(&operation.as_str())) {
            let help = did_you_mean(operation, WRITES).unwrap_or_else(|| format!("known: {}", WRITES.join(", ")));
            self.wrong(&under("operations"), format!("{operation:?} is not a write"), Some(&help));
        }
        for (key, template) in [("body", &batch.body), ("item", &batch.item)] {
            if let Some(template) = template {
                self.body(template, &under(key), names);
            }
        }
        let says_index = batch.item.as_ref().is_some_and(|item| item.to_string().contains("{index}"));
        if matches!(batch.matching, BatchMatch::Index(_)) && !says_index {
            self.wrong(at, "results are matched by an index that no write sends", Some("put {index} into the item"));
        }
        for (key, paths) in [
            ("results", Some(&batch.results)),
            ("status", batch.status.as_ref()),
            ("answer", batch.answer.as_ref()),
            ("error", batch.error.as_ref()),
        ] {
            self.paths(paths, &under(key));
        }
        if batch.error_equals.is_some() && batch.error.is_none() {
            self.wrong(&under("error_equals"), "\"error_equals\" needs an \"error\" to look at", Some("error: status"));
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
