//! Associations in the manner of v3: types by name.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::sandbox::call::Reply;
use crate::sandbox::hubspot::errors::{Answer, Refusal, id_of, object, only, text};
use crate::sandbox::hubspot::links::LinkType;
use crate::sandbox::hubspot::objects::View;
use crate::sandbox::hubspot::router::{Ask, input_id, inputs, no_content};
use crate::sandbox::hubspot::state::{HubSpot, Kind};

impl HubSpot {
    /// What a record is associated with: a record with several types comes several times.
    pub(crate) fn associated_v3(&self, from: &Kind, id: &str, to: &Kind) -> Vec<Value> {
        let all = self.linked(from, id, to);
        all.iter().flat_map(|(other, types)| types.iter().map(move |one| json!({"id": other, "type": one.name}))).collect()
    }

    fn named(&self, from: &Kind, to: &Kind, name: &str) -> Result<LinkType, Refusal> {
        let all = self.link_types(from, to);
        let found = all.into_iter().find(|one| one.name == name || one.id.to_string() == name);
        found.ok_or_else(|| Refusal::bad(format!("Invalid association type: {name}")))
    }

    /// `/crm/v3/objects/{type}/{id}/associations/...`.
    pub(crate) fn associations_of_v3(&mut self, ask: &Ask<'_>, from: &Kind, id: &str, rest: &[&str]) -> Answer {
        match (rest, ask.method) {
            ([to], &Method::GET) => {
                let to = self.kind_or(to)?;
                let id = self.resolve(from, id, true).ok_or_else(Refusal::missing)?;
                Ok(Reply::ok(json!({"results": self.associated_v3(from, &id, &to)})))
            }
            ([to, other, name], &Method::PUT) => {
                let to = self.kind_or(to)?;
                let one = self.named(from, &to, name)?;
                let id = self.resolve(from, id, true).ok_or_else(Refusal::missing)?;
                let other = self.resolve(&to, other, true).ok_or_else(Refusal::missing)?;
                self.link(from, &id, &to, &other, std::slice::from_ref(&one), false)?;
                let view = View { associations: vec![to], ..View::default() };
                let row = self.tables.live(&from.table(), &id).ok_or_else(Refusal::missing)?;
                Ok(Reply::ok(self.render(from, &id, row, &view)))
            }
            ([to, other, name], &Method::DELETE) => {
                let to = self.kind_or(to)?;
                let one = self.named(from, &to, name)?;
                let id = self.resolve(from, id, true).ok_or_else(Refusal::missing)?;
                self.unlink(from, &id, &to, other, Some(&[one.id]));
                Ok(no_content())
            }
            ([_] | [_, _, _], _) => Err(Refusal::method()),
            _ => Err(Refusal::no_path()),
        }
    }

    /// `/crm/v3/associations/{from}/{to}/...`.
    pub(crate) fn associations_v3(&mut self, ask: &Ask<'_>, from: &str, to: &str, rest: &[&str]) -> Answer {
        let (from, to) = (self.kind_or(from)?, self.kind_or(to)?);
        match rest {
            ["types"] if ask.is(&Method::GET) => {
                let list: Vec<Value> =
                    self.link_types(&from, &to).iter().map(|one| json!({"id": one.id.to_string(), "name": one.name})).collect();
                Ok(Reply::ok(json!({"results": list})))
            }
            ["batch", "read" | "create" | "archive"] | ["types"] if !ask.is(&Method::POST) => Err(Refusal::method()),
            ["batch", "read"] => {
                only(object(ask.body()?)?, &["inputs"])?;
                let (mut results, mut errors) = (Vec::new(), Vec::new());
                for input in inputs(ask.body()?, 1_000)? {
                    let id = input_id(input)?;
                    let list = self.associated_v3(&from, &id, &to);
                    if list.is_empty() {
                        let message = format!("No {} is associated with {} {id}.", to.singular, from.singular);
                        errors.push(
                            Refusal::new(404, "OBJECT_NOT_FOUND", message)
                                .sub("crm.associations.NO_ASSOCIATIONS_FOUND")
                                .context("fromObjectId", [id]),
                        );
                    } else {
                        results.push(json!({"from": {"id": id}, "to": list}));
                    }
                }
                Ok(self.batch(ask, StatusCode::OK, results, errors))
            }
            ["batch", what @ ("create" | "archive")] => {
                only(object(ask.body()?)?, &["inputs"])?;
                let (mut results, mut errors) = (Vec::new(), Vec::new());
                for input in inputs(ask.body()?, 2_000)? {
                    let body = object(input)?;
                    only(body, &["from", "to", "type"])?;
                    let one = self.named(&from, &to, text(body, "type")?)?;
                    let end = |name: &str| {
                        id_of(body.get(name).and_then(|end| end.get("id")))
                            .ok_or_else(|| Refusal::bad(format!("some of required attributes are not set [{name}]")))
                    };
                    let (id, other) = (end("from")?, end("to")?);
                    if *what == "archive" {
                        self.unlink(&from, &id, &to, &other, Some(&[one.id]));
                        continue;
                    }
                    match (self.resolve(&from, &id, true), self.resolve(&to, &other, true)) {
                        (Some(id), Some(other)) => {
                            self.link(&from, &id, &to, &other, std::slice::from_ref(&one), false)?;
                            results.push(json!({"from": {"id": id}, "to": {"id": other}, "type": one.name}));
                        }
                        _ => errors
                            .push(Refusal::new(404, "OBJECT_NOT_FOUND", "One of the records does not exist").context("ids", [id, other])),
                    }
                }
                if *what == "archive" {
                    return Ok(no_content());
                }
                Ok(self.batch(ask, StatusCode::CREATED, results, errors))
            }
            _ => Err(Refusal::no_path()),
        }
    }
}
