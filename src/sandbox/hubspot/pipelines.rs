//! Pipelines and their stages.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::sandbox::call::Reply;
use crate::sandbox::hubspot::errors::{Answer, Refusal, object, only, text};
use crate::sandbox::hubspot::records::stage_names;
use crate::sandbox::hubspot::router::{Ask, no_content};
use crate::sandbox::hubspot::state::{HubSpot, Kind};
use crate::sandbox::hubspot::values::stamp;
use crate::sandbox::store::Row;

fn stages_of(row: &Row) -> Vec<Value> {
    row.fields.get("stages").and_then(Value::as_array).cloned().unwrap_or_default()
}

fn id_of(stage: &Value) -> &str {
    stage.get("id").and_then(Value::as_str).unwrap_or_default()
}

impl HubSpot {
    pub(crate) fn pipelines(&mut self, ask: &Ask<'_>, kind: &str, rest: &[&str]) -> Answer {
        let kind = self.kind_or(kind)?;
        let table = format!("pl/{}", kind.id);
        let known = |hubspot: &Self, id: &str| hubspot.tables.live(&table, id).cloned().ok_or_else(Refusal::missing);
        match (rest, ask.method) {
            ([], &Method::GET) => {
                let mut list: Vec<Value> =
                    self.tables.rows(&table).filter(|(_, row)| !row.deleted).map(|(_, row)| Value::Object(row.fields.clone())).collect();
                list.sort_by_key(|one| one.get("displayOrder").and_then(Value::as_i64));
                Ok(Reply::ok(json!({"results": list})))
            }
            ([], &Method::POST) => {
                let id = (700_000 + self.number()).to_string();
                let row = self.pipeline(&kind, object(ask.body()?)?, &id, None)?;
                self.tables.put(&table, &id, Some(row.clone()));
                Ok(Reply::json(StatusCode::CREATED, Value::Object(row.fields)))
            }
            ([id], &Method::GET) => Ok(Reply::ok(Value::Object(known(self, id)?.fields))),
            ([id], &Method::PUT) => {
                let old = known(self, id)?;
                let row = self.pipeline(&kind, object(ask.body()?)?, id, Some(&old))?;
                if self.checks(ask, true)? {
                    let kept: Vec<Value> = stages_of(&row);
                    for gone in stages_of(&old).iter().filter(|stage| !kept.iter().any(|one| id_of(one) == id_of(stage))) {
                        self.unused(&kind, id, Some(id_of(gone)))?;
                    }
                }
                self.tables.put(&table, id, Some(row.clone()));
                Ok(Reply::ok(Value::Object(row.fields)))
            }
            ([id], &Method::PATCH) => {
                let mut row = known(self, id)?;
                let body = object(ask.body()?)?;
                only(body, &["label", "displayOrder", "archived"])?;
                row.fields.extend(body.clone());
                row.fields.insert("updatedAt".to_owned(), json!(stamp(ask.now.as_millisecond())));
                self.tables.put(&table, id, Some(row.clone()));
                Ok(Reply::ok(Value::Object(row.fields)))
            }
            ([id], &Method::DELETE) => {
                let mut row = known(self, id)?;
                if self.checks(ask, ask.version.late)? {
                    self.unused(&kind, id, None)?;
                }
                row.deleted = true;
                self.tables.put(&table, id, Some(row));
                Ok(no_content())
            }
            ([id, "audit"] | [id, "stages", _, "audit"], &Method::GET) => {
                let row = known(self, id)?;
                let at = row.text("createdAt").unwrap_or_default();
                Ok(Reply::ok(json!({"results": [{"action": "CREATE", "identifier": id, "portalId": self.portal, "timestamp": at}]})))
            }
            ([id, "stages", rest @ ..], _) => {
                let row = known(self, id)?;
                self.stages(ask, &kind, id, row, rest)
            }
            ([] | [_] | [_, "audit"], _) => Err(Refusal::method()),
            _ => Err(Refusal::no_path()),
        }
    }

    /// Whether references are checked before something goes.
    fn checks(&self, ask: &Ask<'_>, default: bool) -> Result<bool, Refusal> {
        for name in ["validateReferencesBeforeDelete", "validateDealStageUsagesBeforeDelete"] {
            if ask.param(name).is_some() {
                return ask.flag(name);
            }
        }
        Ok(default)
    }

    /// Refuses if records stand in the pipeline, or in the stage.
    fn unused(&self, kind: &Kind, pipeline: &str, stage: Option<&str>) -> Result<(), Refusal> {
        let (of, at) = stage_names(&kind.id);
        let standing = |row: &Row| !row.deleted && row.text(of) == Some(pipeline) && stage.is_none_or(|stage| row.text(at) == Some(stage));
        let used: Vec<&str> = self.tables.rows(&kind.table()).filter(|(_, row)| standing(row)).map(|(id, _)| id).take(100).collect();
        if used.is_empty() {
            return Ok(());
        }
        let what = stage.map_or_else(|| format!("pipeline {pipeline}"), |stage| format!("stage {stage}"));
        let refusal = Refusal::bad(format!("Cannot delete {what}: it is used by {} records", used.len()));
        Err(refusal.sub("PipelineError.STAGE_ID_IN_USE").context("objectIds", used).context("stageIds", stage))
    }

    /// A pipeline as it is kept, from a body with all of it.
    fn pipeline(&mut self, kind: &Kind, body: &Map<String, Value>, id: &str, old: Option<&Row>) -> Result<Row, Refusal> {
        only(body, &["label", "displayOrder", "stages", "pipelineId", "archived"])?;
        let label = text(body, "label")?;
        let order = body
            .get("displayOrder")
            .and_then(Value::as_i64)
            .ok_or_else(|| Refusal::bad("some of required attributes are not set [displayOrder]"))?;
        let list =
            body.get("stages").and_then(Value::as_array).ok_or_else(|| Refusal::bad("some of required attributes are not set [stages]"))?;
        let most = if matches!(kind.id.as_str(), "0-3" | "0-5") || kind.custom { 100 } else { 30 };
        if list.is_empty() || list.len() > most {
            return Err(Refusal::bad(format!("A pipeline has from 1 to {most} stages")));
        }
        let same = self
            .tables
            .rows(&format!("pl/{}", kind.id))
            .any(|(known, row)| known != id && !row.deleted && row.text("label") == Some(label));
        if same {
            return Err(Refusal::conflict(format!("A pipeline with the label '{label}' already exists.")));
        }
        let before = old.map(stages_of).unwrap_or_default();
        let mut stages: Vec<Value> = Vec::new();
        for stage in list {
            let stage = self.stage(kind, object(stage)?, &before)?;
            if stages.iter().any(|one| one.get("label") == stage.get("label")) {
                return Err(Refusal::bad("Stage labels must be unique within a pipeline"));
            }
            stages.push(stage);
        }
        stages.sort_by_key(|one| one.get("displayOrder").and_then(Value::as_i64));
        let now = stamp(self.now.as_millisecond());
        let created = old.and_then(|row| row.text("createdAt")).unwrap_or(&now).to_owned();
        Ok(crate::sandbox::hubspot::state::row(
            json!({"id": id, "label": label, "displayOrder": order, "archived": false, "createdAt": created,
            "updatedAt": now, "stages": stages}),
        ))
    }

    fn stage(&mut self, kind: &Kind, body: &Map<String, Value>, before: &[Value]) -> Result<Value, Refusal> {
        only(body, &["label", "displayOrder", "metadata", "stageId"])?;
        let label = text(body, "label")?;
        let order = body
            .get("displayOrder")
            .and_then(Value::as_i64)
            .ok_or_else(|| Refusal::bad("some of required attributes are not set [displayOrder]"))?;
        let metadata = metadata(kind, body.get("metadata"))?;
        let asked = body.get("stageId").and_then(Value::as_str);
        let old = before
            .iter()
            .find(|one| asked == Some(id_of(one)) || (asked.is_none() && one.get("label").and_then(Value::as_str) == Some(label)));
        let now = stamp(self.now.as_millisecond());
        let id = match (asked, old) {
            (Some(asked), _) => asked.to_owned(),
            (None, Some(old)) => id_of(old).to_owned(),
            (None, None) => (900_000 + self.number()).to_string(),
        };
        let created = old.and_then(|one| one.get("createdAt")).cloned().unwrap_or_else(|| json!(now));
        Ok(
            json!({"id": id, "label": label, "displayOrder": order, "metadata": metadata, "archived": false, "createdAt": created, "updatedAt": now,
                  "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT"}),
        )
    }

    fn stages(&mut self, ask: &Ask<'_>, kind: &Kind, pipeline: &str, mut row: Row, rest: &[&str]) -> Answer {
        let mut all = stages_of(&row);
        let place = |all: &[Value], id: &str| all.iter().position(|one| id_of(one) == id).ok_or_else(Refusal::missing);
        let (status, shown) = match (rest, ask.method) {
            ([], &Method::GET) => return Ok(Reply::ok(json!({"results": all}))),
            ([id], &Method::GET) => {
                let at = place(&all, id)?;
                return Ok(Reply::ok(all.swap_remove(at)));
            }
            ([], &Method::POST) => {
                let stage = self.stage(kind, object(ask.body()?)?, &[])?;
                if all.iter().any(|one| one.get("label") == stage.get("label")) {
                    return Err(Refusal::conflict("A stage with this label already exists in the pipeline"));
                }
                all.push(stage.clone());
                (StatusCode::CREATED, stage)
            }
            ([id], &Method::PUT | &Method::PATCH) => {
                let at = place(&all, id)?;
                let old = all.get(at).cloned().unwrap_or_default();
                let mut body = object(ask.body()?)?.clone();
                if ask.is(&Method::PATCH) {
                    only(&body, &["label", "displayOrder", "metadata", "archived"])?;
                    body.remove("archived");
                    let mut metadata = old.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
                    metadata.extend(body.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default());
                    body.insert("metadata".to_owned(), Value::Object(metadata));
                    for name in ["label", "displayOrder"] {
                        body.entry(name).or_insert_with(|| old.get(name).cloned().unwrap_or_default());
                    }
                }
                body.insert("stageId".to_owned(), json!(id));
                let stage = self.stage(kind, &body, &all)?;
                if let Some(place) = all.get_mut(at) {
                    *place = stage.clone();
                }
                (StatusCode::OK, stage)
            }
            ([id], &Method::DELETE) => {
                let at = place(&all, id)?;
                if self.checks(ask, true)? {
                    self.unused(kind, pipeline, Some(id))?;
                }
                if all.len() == 1 {
                    return Err(Refusal::bad("A pipeline needs at least one stage"));
                }
                all.remove(at);
                (StatusCode::NO_CONTENT, Value::Null)
            }
            ([] | [_], _) => return Err(Refusal::method()),
            _ => return Err(Refusal::no_path()),
        };
        all.sort_by_key(|one| one.get("displayOrder").and_then(Value::as_i64));
        row.fields.insert("stages".to_owned(), Value::Array(all));
        row.fields.insert("updatedAt".to_owned(), json!(stamp(ask.now.as_millisecond())));
        self.tables.put(&format!("pl/{}", kind.id), pipeline, Some(row));
        Ok(if shown.is_null() { no_content() } else { Reply::json(status, shown) })
    }
}

/// All values are texts; deals need a probability in steps of a tenth.
fn metadata(kind: &Kind, value: Option<&Value>) -> Result<Value, Refusal> {
    let mut map = match value {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(map)) => map.clone(),
        Some(_) => return Err(Refusal::bad("metadata must be an object")),
    };
    if let Some((name, _)) = map.iter().find(|(_, value)| !value.is_string()) {
        return Err(Refusal::bad(format!("metadata.{name} must be a string")));
    }
    if kind.id == "0-3" {
        let probability = map.get("probability").and_then(Value::as_str).and_then(|text| text.parse::<f64>().ok());
        let step =
            probability.is_some_and(|number| (0.0..=1.0).contains(&number) && ((number * 10.0).round() - number * 10.0).abs() < 1e-9);
        if !step {
            return Err(Refusal::bad("metadata.probability must be given, from \"0.0\" to \"1.0\" in steps of a tenth"));
        }
        let closed = probability.is_some_and(|number| number <= 0.0 || number >= 1.0);
        map.entry("isClosed").or_insert_with(|| json!(closed.to_string()));
    }
    if kind.id == "0-5" {
        let state = map.entry("ticketState").or_insert_with(|| json!("OPEN"));
        if !matches!(state.as_str(), Some("OPEN" | "CLOSED")) {
            return Err(Refusal::bad("metadata.ticketState must be OPEN or CLOSED"));
        }
    }
    Ok(Value::Object(map))
}
