//! Associations v4: of one record, in batches, and their types.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::sandbox::call::Reply;
use crate::sandbox::hubspot::errors::{Answer, Refusal, id_of, object, only, text};
use crate::sandbox::hubspot::links::LinkType;
use crate::sandbox::hubspot::router::{Ask, input_id, inputs, no_content};
use crate::sandbox::hubspot::state::{HubSpot, Kind};

/// Labels between two object types (Associations guide).
const MOST_LABELS: usize = 10;

fn pair(input: &Value) -> Result<(String, String), Refusal> {
    let id = |name: &str| {
        let id = id_of(input.get(name).and_then(|end| end.get("id")));
        id.ok_or_else(|| Refusal::bad(format!("Invalid input JSON on line 1, column 1: some of required attributes are not set [{name}]")))
    };
    Ok((id("from")?, id("to")?))
}

fn number(id: &str) -> Value {
    id.parse::<u64>().map_or_else(|_| json!(id), |number| json!(number))
}

impl HubSpot {
    fn here(&self, kind: &Kind, id: &str) -> Result<String, Refusal> {
        self.resolve(kind, id, true).ok_or_else(|| {
            let message = format!("{} with id {id} does not exist", kind.singular.to_uppercase());
            Refusal::new(404, "OBJECT_NOT_FOUND", message).context("id", [id])
        })
    }

    /// A page of what a record is associated with; `after` goes on behind the id it names.
    fn association_page(
        &self,
        from: &Kind,
        id: &str,
        to: &Kind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Value>, Option<Value>), Refusal> {
        let after = after
            .filter(|text| !text.is_empty())
            .map(|text| text.strip_prefix("NTI1Cg").map(str::to_owned).ok_or_else(|| Refusal::bad(format!("Invalid after: {text}"))));
        let after = after.transpose()?;
        let all = self.linked(from, id, to);
        let mut rest = all.into_iter().filter(|(other, _)| after.as_ref().is_none_or(|after| other > after));
        let page: Vec<(String, Vec<LinkType>)> = rest.by_ref().take(limit).collect();
        let last = page.last().map(|(other, _)| other.clone());
        let more = rest.next().is_some();
        let shown = page
            .iter()
            .map(|(other, types)| {
                let types: Vec<Value> = types.iter().map(LinkType::value).collect();
                json!({"toObjectId": number(other), "associationTypes": types})
            })
            .collect();
        let next = last.filter(|_| more).map(|last| {
            let after = format!("NTI1Cg{last}");
            let link = format!("https://api.hubapi.com/crm/v4/objects/{}/{id}/associations/{}?after={after}", from.plural, to.plural);
            json!({"next": {"after": after, "link": link}})
        });
        Ok((shown, next))
    }

    /// `objects/{type}/{id}/associations/...`.
    pub(crate) fn record_associations(&mut self, ask: &Ask<'_>, kind: &str, id: &str, rest: &[&str]) -> Answer {
        let from = self.kind_or(kind)?;
        match (rest, ask.method) {
            ([to], &Method::GET) => {
                let to = self.kind_or(to)?;
                let limit = ask.limit(500, 500)?;
                let id = self.here(&from, id)?;
                let (results, next) = self.association_page(&from, &id, &to, ask.param("after"), limit)?;
                let mut body = json!({"results": results});
                if let (Some(next), Some(map)) = (next, body.as_object_mut()) {
                    map.insert("paging".to_owned(), next);
                }
                Ok(Reply::ok(body))
            }
            (["default", to, other], &Method::PUT) => {
                let to = self.kind_or(to)?;
                let (id, other) = (self.here(&from, id)?, self.here(&to, other)?);
                let results = self.by_default(&from, &id, &to, &other)?;
                Ok(self.batch(ask, StatusCode::OK, results, Vec::new()))
            }
            ([to, other], &Method::PUT) => {
                let to = self.kind_or(to)?;
                let types = self.specs(&from, &to, ask.body)?;
                let (id, other) = (self.here(&from, id)?, self.here(&to, other)?);
                self.link(&from, &id, &to, &other, &types, true)?;
                Ok(Reply::json(StatusCode::CREATED, self.labels_between(&from, &id, &to, &other)))
            }
            ([to, other], &Method::DELETE) => {
                let to = self.kind_or(to)?;
                let (id, other) = (self.here(&from, id)?, self.here(&to, other)?);
                self.unlink(&from, &id, &to, &other, None);
                Ok(no_content())
            }
            ([_] | [_, _] | ["default", _, _], _) => Err(Refusal::method()),
            _ => Err(Refusal::no_path()),
        }
    }

    fn by_default(&mut self, from: &Kind, id: &str, to: &Kind, other: &str) -> Result<Vec<Value>, Refusal> {
        let one = self.unlabelled(from, to)?;
        self.link(from, id, to, other, std::slice::from_ref(&one), false)?;
        let entry = |from: &str, to: &str, type_id: u64| {
            json!({"from": {"id": from}, "to": {"id": to},
                   "associationSpec": {"associationCategory": one.category, "associationTypeId": type_id}})
        };
        Ok(vec![entry(id, other, one.id), entry(other, id, one.inverse)])
    }

    fn labels_between(&self, from: &Kind, id: &str, to: &Kind, other: &str) -> Value {
        let types = self.links(from, id, to, other);
        let labels: Vec<String> = types.iter().filter_map(|id| self.link_type(from, to, None, *id)?.label).collect();
        json!({"fromObjectTypeId": from.id, "fromObjectId": number(id), "toObjectTypeId": to.id, "toObjectId": number(other), "labels": labels})
    }

    /// `associations/...`.
    pub(crate) fn associations(&mut self, ask: &Ask<'_>, rest: &[&str]) -> Answer {
        match rest {
            ["usage", "high-usage-report", user] => {
                if !ask.is(&Method::POST) {
                    return Err(Refusal::method());
                }
                let user: u64 = user.parse().map_err(|_| Refusal::bad("userId must be a number"))?;
                let at = json!({"value": ask.now.as_millisecond(), "dateOnly": false, "timeZoneShift": 0});
                Ok(Reply::ok(json!({"userId": user, "userEmail": "ada@sandbox.example", "enqueueTime": at})))
            }
            ["definitions", "configurations", rest @ ..] => self.configurations(ask, rest),
            [from, to, "labels", rest @ ..] => {
                let (from, to) = (self.kind_or(from)?, self.kind_or(to)?);
                self.labels(ask, &from, &to, rest)
            }
            [_, _, "batch", ..] if !ask.is(&Method::POST) => Err(Refusal::method()),
            [from, to, "batch", rest @ ..] => {
                let (from, to) = (self.kind_or(from)?, self.kind_or(to)?);
                match rest {
                    ["read"] => self.batch_read_links(ask, &from, &to),
                    ["create"] => self.batch_create_links(ask, &from, &to),
                    ["associate", "default"] => self.batch_default_links(ask, &from, &to),
                    ["archive"] => self.batch_archive_links(ask, &from, &to),
                    ["labels", "archive"] => self.batch_archive_labels(ask, &from, &to),
                    _ => Err(Refusal::no_path()),
                }
            }
            _ => Err(Refusal::no_path()),
        }
    }

    fn batch_read_links(&mut self, ask: &Ask<'_>, from: &Kind, to: &Kind) -> Answer {
        only(object(ask.body()?)?, &["inputs"])?;
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        for input in inputs(ask.body()?, 1_000)? {
            only(object(input)?, &["id", "after"])?;
            let id = input_id(input)?;
            let found = self.resolve(from, &id, true).unwrap_or_else(|| id.clone());
            let (list, next) = self.association_page(from, &found, to, input.get("after").and_then(Value::as_str), 500)?;
            if list.is_empty() {
                let message = format!("No {} is associated with {} {id}.", to.singular, from.singular);
                errors.push(
                    Refusal::new(404, "OBJECT_NOT_FOUND", message)
                        .sub("crm.associations.NO_ASSOCIATIONS_FOUND")
                        .context("fromObjectId", [id]),
                );
                continue;
            }
            let mut one = json!({"from": {"id": id}, "to": list});
            if let (Some(next), Some(map)) = (next, one.as_object_mut()) {
                map.insert("paging".to_owned(), next);
            }
            results.push(one);
        }
        Ok(self.batch(ask, StatusCode::OK, results, errors))
    }

    fn batch_create_links(&mut self, ask: &Ask<'_>, from: &Kind, to: &Kind) -> Answer {
        only(object(ask.body()?)?, &["inputs"])?;
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        for input in inputs(ask.body()?, 2_000)? {
            only(object(input)?, &["from", "to", "types"])?;
            let (id, other) = pair(input)?;
            let types = self.specs(from, to, input.get("types"))?;
            let mark = self.tables.mark();
            let done = self.ends(from, &id, to, &other).and_then(|(id, other)| {
                self.link(from, &id, to, &other, &types, false)?;
                Ok(self.labels_between(from, &id, to, &other))
            });
            match done {
                Ok(one) => results.push(one),
                Err(refusal) => {
                    self.tables.rollback(mark);
                    errors.push(refusal);
                }
            }
        }
        let status = if ask.version.late { StatusCode::OK } else { StatusCode::CREATED };
        Ok(self.batch(ask, status, results, errors))
    }

    /// The records of a pair, or an error that names them.
    fn ends(&self, from: &Kind, id: &str, to: &Kind, other: &str) -> Result<(String, String), Refusal> {
        let missing = |refusal: Refusal| refusal.context("fromObjectId", [id]).context("toObjectId", [other]);
        Ok((self.here(from, id).map_err(missing)?, self.here(to, other).map_err(missing)?))
    }

    fn batch_default_links(&mut self, ask: &Ask<'_>, from: &Kind, to: &Kind) -> Answer {
        only(object(ask.body()?)?, &["inputs"])?;
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        for input in inputs(ask.body()?, 2_000)? {
            only(object(input)?, &["from", "to"])?;
            let (id, other) = pair(input)?;
            match self.ends(from, &id, to, &other).and_then(|(id, other)| self.by_default(from, &id, to, &other)) {
                Ok(list) => results.extend(list),
                Err(refusal) => errors.push(refusal),
            }
        }
        Ok(self.batch(ask, StatusCode::OK, results, errors))
    }

    fn archived(ask: &Ask<'_>) -> Reply {
        Reply::empty(if ask.version.dated { StatusCode::OK } else { StatusCode::NO_CONTENT })
    }

    fn batch_archive_links(&mut self, ask: &Ask<'_>, from: &Kind, to: &Kind) -> Answer {
        only(object(ask.body()?)?, &["inputs"])?;
        for input in inputs(ask.body()?, 2_000)? {
            only(object(input)?, &["from", "to"])?;
            let id = id_of(input.get("from").and_then(|end| end.get("id")))
                .ok_or_else(|| Refusal::bad("some of required attributes are not set [from]"))?;
            let list =
                input.get("to").and_then(Value::as_array).ok_or_else(|| Refusal::bad("some of required attributes are not set [to]"))?;
            for other in list {
                let other = input_id(other)?;
                if let Ok((id, other)) = self.ends(from, &id, to, &other) {
                    self.unlink(from, &id, to, &other, None);
                }
            }
        }
        Ok(Self::archived(ask))
    }

    fn batch_archive_labels(&mut self, ask: &Ask<'_>, from: &Kind, to: &Kind) -> Answer {
        only(object(ask.body()?)?, &["inputs"])?;
        for input in inputs(ask.body()?, 2_000)? {
            only(object(input)?, &["from", "to", "types"])?;
            let (id, other) = pair(input)?;
            let types: Vec<u64> = self.specs(from, to, input.get("types"))?.iter().map(|one| one.id).collect();
            if let Ok((id, other)) = self.ends(from, &id, to, &other) {
                self.unlink(from, &id, to, &other, Some(&types));
            }
        }
        Ok(Self::archived(ask))
    }

    fn labels(&mut self, ask: &Ask<'_>, from: &Kind, to: &Kind, rest: &[&str]) -> Answer {
        match (rest, ask.method) {
            ([], &Method::GET) => {
                let list: Vec<Value> = self.link_types(from, to).iter().map(LinkType::value).collect();
                Ok(Reply::ok(json!({"results": list})))
            }
            ([], &Method::POST) => {
                let body = object(ask.body()?)?;
                only(body, &["label", "name", "inverseLabel"])?;
                let (label, name) = (text(body, "label")?, text(body, "name")?);
                if name.contains('-') || name.starts_with(|letter: char| letter.is_ascii_digit()) {
                    return Err(Refusal::bad("An association label's name must not hold a hyphen or begin with a digit"));
                }
                let all = self.link_types(from, to);
                if all.iter().any(|one| one.name == name && one.category == "USER_DEFINED") {
                    return Err(Refusal::conflict(format!("An association label named {name} already exists")));
                }
                if all.iter().filter(|one| one.category == "USER_DEFINED" && one.label.is_some()).count() >= MOST_LABELS {
                    return Err(Refusal::bad(format!("At most {MOST_LABELS} association labels can be defined between two object types")));
                }
                let inverse_label = body.get("inverseLabel").and_then(Value::as_str);
                let id = self.number() + 100;
                let inverse = if from.id == to.id && inverse_label.is_none() { id } else { self.number() + 100 };
                self.add_association_type("USER_DEFINED", (&from.id, &to.id), (id, inverse), name, Some(label), inverse_label);
                let entry = |id: u64, label: &str| json!({"category": "USER_DEFINED", "typeId": id, "label": label});
                Ok(Reply::ok(json!({"results": [entry(id, label), entry(inverse, inverse_label.unwrap_or(label))]})))
            }
            ([], &Method::PUT) => {
                let body = object(ask.body()?)?;
                only(body, &["associationTypeId", "label", "inverseLabel"])?;
                let label = text(body, "label")?;
                let id = body.get("associationTypeId").and_then(Value::as_u64);
                let id = id.ok_or_else(|| Refusal::bad("some of required attributes are not set [associationTypeId]"))?;
                let one = self.link_type(from, to, Some("USER_DEFINED"), id).ok_or_else(Refusal::missing)?;
                let other = body.get("inverseLabel").and_then(Value::as_str).unwrap_or(label);
                self.set_link_type(from, to, id, |row| drop(row.fields.insert("label".to_owned(), json!(label))));
                if one.inverse != id {
                    self.set_link_type(to, from, one.inverse, |row| drop(row.fields.insert("label".to_owned(), json!(other))));
                }
                Ok(no_content())
            }
            ([id], &Method::DELETE) => {
                let id: u64 = id.parse().map_err(|_| Refusal::bad("associationTypeId must be a number"))?;
                let one =
                    self.link_type(from, to, Some("USER_DEFINED"), id).filter(|one| one.label.is_some()).ok_or_else(Refusal::missing)?;
                self.drop_link_type(from, to, id);
                self.drop_link_type(to, from, one.inverse);
                Ok(no_content())
            }
            ([] | [_], _) => Err(Refusal::method()),
            _ => Err(Refusal::no_path()),
        }
    }

    /// How many associations of a type a record may have.
    fn configurations(&mut self, ask: &Ask<'_>, rest: &[&str]) -> Answer {
        let limited = |one: &LinkType| json!({"category": one.category, "typeId": one.id, "label": one.label, "userEnforcedMaxToObjectIds": one.most});
        match rest {
            ["all"] if ask.is(&Method::GET) => {
                let kinds: Vec<Kind> = self.tables.rows("o").filter_map(|(id, _)| self.kind(id)).collect();
                let all = kinds.iter().flat_map(|from| kinds.iter().map(move |to| (from, to)));
                let list: Vec<Value> = all
                    .flat_map(|(from, to)| self.link_types(from, to))
                    .filter(|one| one.most.is_some())
                    .map(|one| limited(&one))
                    .collect();
                Ok(Reply::ok(json!({"results": list})))
            }
            ["all"] => Err(Refusal::method()),
            [from, to] if ask.is(&Method::GET) => {
                let (from, to) = (self.kind_or(from)?, self.kind_or(to)?);
                let list: Vec<Value> = self.link_types(&from, &to).iter().filter(|one| one.most.is_some()).map(limited).collect();
                Ok(Reply::ok(json!({"results": list})))
            }
            [_, _, "batch", "create" | "update" | "purge"] if !ask.is(&Method::POST) => Err(Refusal::method()),
            [from, to, "batch", what @ ("create" | "update" | "purge")] => {
                let (from, to) = (self.kind_or(from)?, self.kind_or(to)?);
                only(object(ask.body()?)?, &["inputs"])?;
                let (mut results, mut errors) = (Vec::new(), Vec::new());
                for input in inputs(ask.body()?, 100)? {
                    let body = object(input)?;
                    only(body, if *what == "purge" { &["category", "typeId"] } else { &["category", "typeId", "maxToObjectIds"] })?;
                    let category = text(body, "category")?;
                    let id = body.get("typeId").and_then(Value::as_u64).unwrap_or(0);
                    let most = body.get("maxToObjectIds").and_then(Value::as_u64).filter(|most| *most > 0);
                    let Some(one) = self.link_type(&from, &to, Some(category), id) else {
                        errors.push(
                            Refusal::bad(format!("{category} association type {id} doesn't exist")).context("typeId", [id.to_string()]),
                        );
                        continue;
                    };
                    if *what != "purge" && (most.is_none() || (*what == "update") != one.most.is_some()) {
                        errors.push(
                            Refusal::bad(format!("the limit of type {id} cannot be set this way")).context("typeId", [id.to_string()]),
                        );
                        continue;
                    }
                    self.set_link_type(&from, &to, id, |row| {
                        match most.filter(|_| *what != "purge") {
                            Some(most) => row.fields.insert("max".to_owned(), json!(most)),
                            None => row.fields.remove("max"),
                        };
                    });
                    results.push(limited(&LinkType { most, ..one }));
                }
                if *what == "purge" {
                    return Ok(Self::archived(ask));
                }
                let status = if *what == "create" && !ask.version.late { StatusCode::CREATED } else { StatusCode::OK };
                Ok(self.batch(ask, status, results, errors))
            }
            [_, _] => Err(Refusal::method()),
            _ => Err(Refusal::no_path()),
        }
    }
}
