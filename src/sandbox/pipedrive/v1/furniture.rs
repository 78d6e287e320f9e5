//! What a company has besides records: users, activity types, currencies, sources.

use serde_json::{Value, json};

use crate::sandbox::call::{Reply, param};
use crate::sandbox::pipedrive::errors::{self, Answer};
use crate::sandbox::pipedrive::paging::pages;
use crate::sandbox::pipedrive::read::Params;
use crate::sandbox::pipedrive::router::{Ask, id_v1};
use crate::sandbox::pipedrive::state::{Act, Pipedrive, key};
use crate::sandbox::pipedrive::text;
use crate::sandbox::pipedrive::write::whole;
use crate::sandbox::store::Row;

impl Pipedrive {
    /// A user as v1 shows them.
    pub(crate) fn user_record(&self, row: &Row) -> Value {
        let at = row.text("at").map(text::old_stamp);
        let admin = row.is_true("admin");
        let id = row.fields.get("id");
        let access: Vec<Value> = ["sales", "global", "account_settings"]
            .into_iter()
            .enumerate()
            .map(|(at, app)| json!({"app": app, "admin": admin, "permission_set_id": self.uuid("permission set", u64::try_from(at).unwrap_or(0))}))
            .collect();
        json!({
            "id": id, "name": row.fields.get("name"), "default_currency": "EUR", "locale": "en_GB", "lang": 1, "email": row.fields.get("email"),
            "phone": null, "activated": true, "last_login": at, "created": at, "modified": at, "has_created_company": admin, "access": access,
            "active_flag": !row.deleted, "timezone_name": "Europe/Berlin", "timezone_offset": "+01:00", "role_id": 1, "icon_url": null,
            "is_you": id.and_then(Value::as_i64) == Some(self.user), "is_deleted": row.deleted, "is_admin": i32::from(admin),
        })
    }

    pub(crate) fn users(&self, ask: &Ask<'_>, rest: &[&str]) -> Answer {
        match rest {
            [] => Ok(errors::data(self.tables.rows("user").map(|(_, row)| self.user_record(row)).collect::<Vec<_>>())),
            ["me"] => {
                let row = self.live("user", self.user).ok_or_else(|| errors::missing("User not found"))?;
                let mut me = self.user_record(row);
                if let Value::Object(map) = &mut me {
                    map.insert("company_id".to_owned(), json!(self.company));
                    map.insert("company_name".to_owned(), json!("Sandbox"));
                    map.insert("company_domain".to_owned(), json!(self.domain));
                    map.insert("company_country".to_owned(), json!("EE"));
                    map.insert("company_industry".to_owned(), json!("IT Services"));
                    map.insert("language".to_owned(), json!({"language_code": "en", "country_code": "GB"}));
                }
                Ok(errors::data(me))
            }
            ["find"] => {
                let term = param(ask.params, "term").unwrap_or_default().to_lowercase();
                if term.is_empty() {
                    return Err(errors::bad("term is required"));
                }
                let member = if param(ask.params, "search_by_email") == Some("1") { "email" } else { "name" };
                let found =
                    self.tables.rows("user").filter(|(_, row)| row.text(member).is_some_and(|text| text.to_lowercase().contains(&term)));
                Ok(errors::data(found.map(|(_, row)| self.user_record(row)).collect::<Vec<_>>()))
            }
            [id] => {
                let row = self.live("user", id_v1(id)?).ok_or_else(|| errors::missing("User not found"))?;
                Ok(errors::data(self.user_record(row)))
            }
            _ => Err(errors::no_path()),
        }
    }

    pub(crate) fn activity_types(&mut self, act: Act, ask: &Ask<'_>, rest: &[&str]) -> Answer {
        let show = |row: &Row| {
            let mut fields = row.fields.clone();
            for name in ["add_time", "update_time"] {
                let at = row.text(name).map_or(Value::Null, |at| json!(text::old_stamp(at)));
                fields.insert(name.to_owned(), at);
            }
            Value::Object(fields)
        };
        let at = text::stamp(act.now);
        let given = |name: &str| ask.body.get(name).filter(|value| !value.is_null());
        match (rest, ask.method.as_str()) {
            ([], "GET") => {
                let mut rows: Vec<&Row> = self.tables.rows("activityType").map(|(_, row)| row).collect();
                rows.sort_by_key(|row| whole(&row.fields, "order_nr"));
                Ok(errors::data(rows.into_iter().map(show).collect::<Vec<_>>()))
            }
            ([], "POST") => {
                let name = given("name").and_then(Value::as_str).filter(|name| !name.trim().is_empty());
                let icon = given("icon_key").and_then(Value::as_str);
                let (Some(name), Some(icon)) = (name, icon) else { return Err(errors::bad("name and icon_key are required")) };
                let word = name.trim().to_lowercase().replace(|letter: char| !letter.is_alphanumeric(), "_");
                let id = self.new_id("activityType");
                let row = json!({"id": id, "order_nr": id, "name": name, "key_string": word, "icon_key": icon, "active_flag": true,
                                 "color": given("color"), "is_custom_flag": true, "add_time": at, "update_time": at});
                let row = Row { fields: row.as_object().cloned().unwrap_or_default(), deleted: false };
                let data = show(&row);
                self.tables.put("activityType", &key(id), Some(row));
                Ok(errors::data(data))
            }
            ([id], method @ ("PUT" | "DELETE")) => {
                let id = id_v1(id)?;
                let mut row = self.live("activityType", id).ok_or_else(|| errors::missing("Activity type not found"))?.clone();
                if method == "DELETE" {
                    row.fields.insert("active_flag".to_owned(), json!(false));
                } else {
                    for name in ["name", "icon_key", "color", "order_nr"] {
                        if let Some(value) = given(name) {
                            row.fields.insert(name.to_owned(), value.clone());
                        }
                    }
                }
                row.fields.insert("update_time".to_owned(), json!(at));
                let data = show(&row);
                self.tables.put("activityType", &key(id), Some(row));
                Ok(errors::data(data))
            }
            _ => Err(errors::no_method()),
        }
    }

    pub(crate) fn currencies(&self, params: &Params) -> Answer {
        let term = param(params, "term").unwrap_or_default().to_lowercase();
        let all = text::CURRENCIES.iter().enumerate();
        let found = all.filter(|(_, (code, name, ..))| code.to_lowercase().contains(&term) || name.to_lowercase().contains(&term));
        let show = |(at, (code, name, symbol, points)): (usize, &(&str, &str, &str, u8))| json!({"id": at + 1, "code": code, "name": name, "decimal_points": points, "symbol": symbol, "active_flag": true, "is_custom_flag": false});
        Ok(errors::data(found.map(show).collect::<Vec<_>>()))
    }

    pub(crate) fn lead_sources() -> Reply {
        let names = [
            "Manually created",
            "Deal",
            "Web forms",
            "Prospector",
            "Leadbooster",
            "Live chat",
            "Import",
            "Website visitors",
            "Workflow automation",
            "API",
        ];
        errors::data(names.map(|name| json!({"name": name})).to_vec())
    }

    pub(crate) fn note_fields(params: &Params) -> Answer {
        let field = |id: usize, code: &str, name: &str, kind: &str, options: Value| {
            let mut one = json!({"id": id, "key": code, "name": name, "field_type": kind, "active_flag": true, "edit_flag": false,
                                 "bulk_edit_allowed": true, "mandatory_flag": id == 1});
            if let (Value::Object(map), false) = (&mut one, options.is_null()) {
                map.insert("options".to_owned(), options);
            }
            one
        };
        let yes_no = json!([{"id": 1, "label": "Yes"}, {"id": 0, "label": "No"}]);
        let mut all = vec![field(1, "content", "Content", "text", Value::Null)];
        for (at, of) in ["deal", "person", "organization", "lead"].into_iter().enumerate() {
            all.push(field(at + 2, &format!("pinned_to_{of}_flag"), &format!("Note is pinned to {of}"), "enum", yes_no.clone()));
        }
        pages(all, params)
    }
}
