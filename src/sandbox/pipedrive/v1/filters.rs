//! Saved filters: made and changed in v1 alone, used by the lists of v2.

use serde_json::{Map, Value, json};

use crate::sandbox::call::{Reply, param};
use crate::sandbox::pipedrive::errors::{self, Answer};
use crate::sandbox::pipedrive::router::{Ask, id_v1};
use crate::sandbox::pipedrive::state::{Act, Pipedrive, key};
use crate::sandbox::pipedrive::text;
use crate::sandbox::store::Row;

/// What a filter can be of, and the object its conditions name.
const TYPES: &[(&str, &str)] = &[
    ("deals", "deal"),
    ("leads", "lead"),
    ("org", "organization"),
    ("people", "person"),
    ("products", "product"),
    ("activity", "activity"),
];

const OPERATORS: &[&str] =
    &["IS NOT NULL", "IS NULL", "<=", ">=", "<", ">", "!=", "LIKE '%$%'", "NOT LIKE '%$%'", "LIKE '$%'", "NOT LIKE '$%'", "LIKE '%$'", "="];

/// Conditions of one filter.
const MOST: usize = 16;

impl Pipedrive {
    /// The filter every company begins with.
    pub(crate) fn first_filter(&self, at: &str) -> Value {
        let open =
            json!({"object": "deal", "field_id": null, "field_code": "status", "operator": "=", "value": "open", "extra_value": null});
        json!({"name": "All open deals", "filter_code": null, "is_editable": true, "active_flag": true, "type": "deals",
               "temporary_flag": null, "user_id": self.user, "add_time": at, "update_time": at, "visible_to": "7",
               "last_used_time": null, "custom_view_id": null,
               "conditions": {"glue": "and", "conditions": [{"glue": "and", "conditions": [open]}, {"glue": "or", "conditions": []}]}})
    }

    /// `/filters...`.
    pub(crate) fn filters(&mut self, act: Act, ask: &Ask<'_>, rest: &[&str]) -> Answer {
        match (rest, ask.method.as_str()) {
            ([], "GET") => {
                let kind = param(ask.params, "type");
                let rows =
                    self.tables.rows("filter").filter(|(_, row)| !row.deleted && kind.is_none_or(|kind| row.text("type") == Some(kind)));
                Ok(errors::data(rows.map(|(_, row)| shown(row, false)).collect::<Vec<_>>()))
            }
            ([], "POST") => self.write_filter(act, ask.body, None),
            ([], "DELETE") => {
                let ids: Vec<i64> =
                    param(ask.params, "ids").into_iter().flat_map(|ids| ids.split(',')).map(id_v1).collect::<Result<_, _>>()?;
                if ids.is_empty() {
                    return Err(errors::bad("ids is required"));
                }
                ids.iter().for_each(|id| self.drop_filter(*id));
                Ok(errors::data(json!({"id": ids})))
            }
            (["helpers"], "GET") => {
                let operators: Map<String, Value> = OPERATORS.iter().map(|operator| ((*operator).to_owned(), json!(operator))).collect();
                Ok(errors::data(json!({"operators": {"varchar": operators}})))
            }
            ([id], method) => {
                let id = id_v1(id)?;
                let row = self.live("filter", id).ok_or_else(|| errors::missing("Filter not found"))?;
                match method {
                    "GET" => Ok(errors::data(shown(row, true))),
                    "PUT" => self.write_filter(act, ask.body, Some(id)),
                    "DELETE" => {
                        self.drop_filter(id);
                        Ok(errors::data(json!({"id": id})))
                    }
                    _ => Err(errors::no_method()),
                }
            }
            ([], _) => Err(errors::no_method()),
            _ => Err(errors::no_path()),
        }
    }

    /// One that is gone already stays so.
    fn drop_filter(&mut self, id: i64) {
        if let Some(mut row) = self.live("filter", id).cloned() {
            row.deleted = true;
            self.tables.put("filter", &key(id), Some(row));
        }
    }

    fn write_filter(&mut self, act: Act, body: &Value, id: Option<i64>) -> Answer {
        let at = text::stamp(act.now);
        let mut fields = match id.and_then(|id| self.live("filter", id)) {
            Some(row) => row.fields.clone(),
            None => match self.first_filter(&at) {
                Value::Object(fields) => fields,
                _ => Map::new(),
            },
        };
        let given = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        match (given("name"), id) {
            (Some(name), _) => drop(fields.insert("name".to_owned(), json!(name))),
            (None, None) => return Err(errors::bad("name is required")),
            (None, Some(_)) => {}
        }
        if id.is_none() {
            let kind = given("type").filter(|kind| TYPES.iter().any(|(known, _)| known == kind));
            fields.insert(
                "type".to_owned(),
                json!(kind.ok_or_else(|| errors::bad("type is required: deals, leads, org, people, products or activity"))?),
            );
            fields.insert("temporary_flag".to_owned(), json!(false));
            fields.insert("visible_to".to_owned(), json!("1"));
        }
        let object =
            TYPES.iter().find(|(kind, _)| fields.get("type").is_some_and(|known| known == kind)).map_or("deal", |(_, object)| *object);
        let conditions = body.get("conditions").ok_or_else(|| errors::bad("conditions is required"))?;
        fields.insert("conditions".to_owned(), self.conditions(object, conditions)?);
        fields.insert("update_time".to_owned(), json!(at));
        let id = id.unwrap_or_else(|| self.new_id("filter"));
        fields.insert("id".to_owned(), json!(id));
        let row = Row { fields, deleted: false };
        let data = shown(&row, false);
        self.tables.put("filter", &key(id), Some(row));
        Ok(errors::data(data))
    }

    /// The conditions with the codes of their fields: two groups, the first joined by and, the second by or.
    fn conditions(&self, object: &str, given: &Value) -> Result<Value, Reply> {
        let groups = given.get("conditions").and_then(Value::as_array).filter(|groups| groups.len() == 2);
        let groups = groups.ok_or_else(|| errors::bad("conditions needs two groups: one with the glue and, one with or"))?;
        let mut count = 0;
        let mut made = Vec::new();
        for (group, glue) in groups.iter().zip(["and", "or"]) {
            let list =
                group.get("conditions").and_then(Value::as_array).filter(|_| group.get("glue").and_then(Value::as_str) == Some(glue));
            let list = list.ok_or_else(|| errors::bad("conditions needs two groups: one with the glue and, one with or"))?;
            let mut own = Vec::new();
            for condition in list {
                count += 1;
                let text = |name: &str| condition.get(name).and_then(Value::as_str);
                if text("object") != Some(object) {
                    return Err(errors::bad("this pretend company filters by fields of the record itself only"));
                }
                let operator =
                    text("operator").filter(|operator| OPERATORS.contains(operator)).ok_or_else(|| errors::bad("operator is unknown"))?;
                let number = condition.get("field_id").and_then(|id| id.as_i64().or_else(|| id.as_str()?.parse().ok()));
                let owner = if object == "lead" { "deal" } else { object };
                let by_number = number.and_then(|number| self.schema.fields(owner).iter().find(|field| field.id == number));
                let field = by_number
                    .or_else(|| self.schema.field(owner, text("field_code")?))
                    .ok_or_else(|| errors::bad("field_id is unknown"))?;
                own.push(json!({"object": object, "field_id": field.id.to_string(), "field_code": field.code, "operator": operator,
                                "value": condition.get("value"), "extra_value": condition.get("extra_value"), "json_value_flag": false}));
            }
            made.push(json!({"glue": glue, "conditions": own}));
        }
        if count > MOST {
            return Err(errors::bad("a filter has at most 16 conditions"));
        }
        Ok(json!({"glue": "and", "conditions": made}))
    }

    /// The filter with this number, if it is one of records of this kind.
    pub(crate) fn filter_of(&self, entity: &str, id: i64) -> Option<&Row> {
        let kind = TYPES.iter().find(|(_, object)| *object == entity)?.0;
        self.live("filter", id).filter(|row| row.text("type") == Some(kind))
    }
}

/// A filter as v1 shows it; lists leave the conditions out.
fn shown(row: &Row, conditions: bool) -> Value {
    let mut fields = row.fields.clone();
    for name in ["add_time", "update_time"] {
        let at = row.text(name).map_or(Value::Null, |at| json!(text::old_stamp(at)));
        fields.insert(name.to_owned(), at);
    }
    if !conditions {
        fields.remove("conditions");
    }
    Value::Object(fields)
}
