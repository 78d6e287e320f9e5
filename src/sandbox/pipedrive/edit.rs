//! What other people in the company do: edits that no token pays for, told to webhooks as done in the app.

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::sandbox::call::{Content, Reply};
use crate::sandbox::pipedrive::entity::Entity;
use crate::sandbox::pipedrive::read::Extras;
use crate::sandbox::pipedrive::state::{Pipedrive, key};
use crate::sandbox::store::Row;

fn refused(reply: &Reply) -> Error {
    let text = match &reply.body {
        Content::Json(body) => body.get("error").and_then(Value::as_str).unwrap_or("the edit was refused").to_owned(),
        _ => "the edit was refused".to_owned(),
    };
    let kind = if reply.status == StatusCode::NOT_FOUND { ErrorKind::NotFound } else { ErrorKind::Validation };
    Error::new(kind, "the sandbox refused the edit").with_code(text)
}

fn number(id: &str) -> Result<i64> {
    id.parse().map_err(|_| Error::config("the record's id must be a number"))
}

impl Pipedrive {
    fn settle<T>(&mut self, mark: usize, result: std::result::Result<T, Reply>) -> Result<T> {
        result.map_err(|reply| {
            self.tables.rollback(mark);
            refused(&reply)
        })
    }

    /// Creates as somebody else: `lead` and `note` in the shape of v1, `user` with name and email, the rest in that of v2.
    pub(crate) fn edit_create(&mut self, now: Timestamp, entity: &str, body: &Value) -> Result<String> {
        self.tell(now);
        let act = self.by_hand(now);
        let mark = self.tables.mark();
        let result = match entity {
            "lead" => self.write_lead(act, body, None),
            "note" => self.edit_note(act, None, body).map(|id| id.to_string()),
            "user" => {
                let id = self.new_id("user");
                let at = crate::sandbox::pipedrive::text::stamp(now);
                let row = json!({"id": id, "name": body.get("name"), "email": body.get("email"), "admin": false, "at": at});
                self.save(act, "user", &key(id), Row { fields: row.as_object().cloned().unwrap_or_default(), deleted: false });
                Ok(id.to_string())
            }
            name => {
                let entity = Entity::named(name).ok_or_else(|| unknown(name))?;
                self.create(act, entity, body).map(|id| id.to_string())
            }
        };
        self.settle(mark, result)
    }

    /// Changes as somebody else.
    pub(crate) fn edit_update(&mut self, now: Timestamp, entity: &str, id: &str, body: &Value) -> Result<()> {
        self.tell(now);
        let act = self.by_hand(now);
        let mark = self.tables.mark();
        let result = match entity {
            "lead" => self.write_lead(act, body, Some(id)).map(drop),
            "note" => self.edit_note(act, Some(number(id)?), body).map(drop),
            name => {
                let entity = Entity::named(name).ok_or_else(|| unknown(name))?;
                self.change(act, entity, number(id)?, body)
            }
        };
        self.settle(mark, result)
    }

    /// Deletes as somebody else.
    pub(crate) fn edit_delete(&mut self, now: Timestamp, entity: &str, id: &str) -> Result<()> {
        self.tell(now);
        let act = self.by_hand(now);
        let mark = self.tables.mark();
        let result = match entity {
            "lead" => self.remove_lead(act, id),
            "note" => {
                let mut row =
                    self.live("note", number(id)?).cloned().ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no such note"))?;
                row.deleted = true;
                self.save(act, "note", &key(number(id)?), row);
                Ok(())
            }
            name => {
                let entity = Entity::named(name).ok_or_else(|| unknown(name))?;
                self.remove(act, entity, number(id)?)
            }
        };
        self.settle(mark, result)
    }

    /// Merges as somebody else.
    pub(crate) fn edit_merge(&mut self, now: Timestamp, entity: &str, gone: i64, kept: i64) -> Result<()> {
        self.tell(now);
        if !matches!(entity, "person" | "organization" | "deal") {
            return Err(Error::config("only persons, organizations and deals can be merged"));
        }
        let act = self.by_hand(now);
        let mark = self.tables.mark();
        let result = self.merge_records(act, entity, gone, kept);
        self.settle(mark, result)
    }

    /// The live records of an entity, in the shape of its version.
    pub(crate) fn edit_list(&self, entity: &str) -> Vec<Value> {
        let rows = self.tables.rows(entity).filter(|(_, row)| !row.deleted);
        rows.map(|(place, row)| match (entity, Entity::named(entity)) {
            ("lead", _) => self.lead(place),
            ("note", _) => self.note(place.parse().unwrap_or(0)),
            (_, Some(entity)) => self.show(entity, row, &Extras::default()),
            _ => row
                .fields
                .iter()
                .filter(|(name, _)| !name.starts_with('_') && !name.ends_with("password"))
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        })
        .collect()
    }

    /// `/_sandbox/pipedrive/...`; whoever calls it makes last what it has changed.
    pub(crate) fn admin(&mut self, method: &Method, path: &[&str], body: &[u8], now: Timestamp) -> Result<Reply> {
        let parsed: Value =
            if body.is_empty() { Value::Null } else { serde_json::from_slice(body).map_err(|_| Error::config("the body is no JSON"))? };
        let done = Reply::empty(StatusCode::NO_CONTENT);
        Ok(match (path, method.as_str()) {
            (["options"], "GET") => Reply::ok(json!(self.options)),
            (["options"], "POST") => {
                let mut options = json!(self.options);
                if let (Value::Object(map), Value::Object(change)) = (&mut options, parsed) {
                    map.extend(change);
                }
                self.options = serde_json::from_value(options).map_err(|error| Error::config(format!("these are not options: {error}")))?;
                done
            }
            (["tokens"], "DELETE") => {
                self.auth.expire_all();
                done
            }
            (["api_token"], "POST") => Reply::ok(json!({"api_token": self.auth.regenerate_api_token()})),
            (["uninstall"], "POST") => {
                self.auth.uninstall();
                done
            }
            (["spent"], "GET") => Reply::ok(json!({"tokens": self.limits.spent, "budget": self.options.daily()})),
            (["merge", entity, gone, kept], "POST") => {
                self.edit_merge(now, entity, number(gone)?, number(kept)?)?;
                done
            }
            (["deliveries"], "GET") => {
                let waiting = self.tables.rows("delivery").map(|(_, row)| Value::Object(row.fields.clone()));
                Reply::ok(waiting.collect::<Value>())
            }
            (["records", entity], "GET") => Reply::ok(json!(self.edit_list(entity))),
            (["records", entity], "POST") => Reply::json(StatusCode::CREATED, json!({"id": self.edit_create(now, entity, &parsed)?})),
            (["records", entity, id], "PATCH") => {
                self.edit_update(now, entity, id, &parsed)?;
                done
            }
            (["records", entity, id], "DELETE") => {
                self.edit_delete(now, entity, id)?;
                done
            }
            _ => Reply::json(
                StatusCode::NOT_FOUND,
                json!({"error": "the Pipedrive face has options, tokens, api_token, uninstall, spent, deliveries, merge/{entity}/{id}/{into} and \
                                 records/{entity}[/{id}]"}),
            ),
        })
    }
}

fn unknown(entity: &str) -> Error {
    Error::config(format!("the sandbox's company has no entity {entity}"))
}
