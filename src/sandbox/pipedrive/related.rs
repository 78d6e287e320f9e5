//! What hangs on records in v2: followers, products of deals, conversions.

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::sandbox::call::{Reply, param};
use crate::sandbox::pipedrive::entity::Entity;
use crate::sandbox::pipedrive::errors::{self, Answer};
use crate::sandbox::pipedrive::lead::lead_record;
use crate::sandbox::pipedrive::read::{known_params, limit, page};
use crate::sandbox::pipedrive::router::{Ask, id_of};
use crate::sandbox::pipedrive::state::{Act, Pipedrive, key};
use crate::sandbox::pipedrive::text;
use crate::sandbox::pipedrive::write::{whole, words};
use crate::sandbox::store::Row;

fn object(value: Value) -> Row {
    match value {
        Value::Object(fields) => Row { fields, deleted: false },
        _ => Row::default(),
    }
}

const ATTACHED: &[&str] = &[
    "product_id",
    "item_price",
    "quantity",
    "tax",
    "comments",
    "discount",
    "is_enabled",
    "tax_method",
    "discount_type",
    "product_variation_id",
    "billing_frequency",
    "billing_frequency_cycles",
    "billing_start_date",
];

impl Pipedrive {
    pub(crate) fn followers(&self, entity: &str, id: i64) -> Vec<Value> {
        let mine =
            self.tables.rows("follower").filter(|(_, row)| row.text("of") == Some(entity) && whole(&row.fields, "record") == Some(id));
        mine.map(|(_, row)| json!({"user_id": row.fields.get("user_id"), "add_time": row.fields.get("add_time")})).collect()
    }

    /// `/{entities}/{id}/followers`.
    pub(crate) fn follow(&mut self, act: Act, ask: &Ask<'_>, entity: &Entity, id: i64, rest: &[&str]) -> Answer {
        if !self.exists(entity.name, id) {
            return Err(errors::missing(format!("{} not found", entity.title())));
        }
        let place = |user: i64| format!("{}:{id}:{user}", entity.name);
        match (rest, ask.method) {
            ([], &Method::GET) => {
                known_params(ask.params, &["limit", "cursor"])?;
                let list = self.followers(entity.name, id);
                Ok(Reply::ok(json!({"success": true, "data": list, "additional_data": {"next_cursor": null}})))
            }
            ([], &Method::POST) => {
                let user = ask.body.get("user_id").and_then(Value::as_i64).filter(|user| self.exists("user", *user));
                let user = user.ok_or_else(|| errors::invalid_one("user_id", "user does not exist"))?;
                if self.tables.get("follower", &place(user)).is_some() {
                    return Err(errors::invalid_one("user_id", "the user follows this already"));
                }
                let at = text::stamp(act.now);
                let row = object(json!({"of": entity.name, "record": id, "user_id": user, "add_time": at}));
                self.tables.put("follower", &place(user), Some(row));
                let body = json!({"success": true, "data": {"user_id": user, "add_time": at}});
                Ok(Reply::json(StatusCode::CREATED, body))
            }
            ([user], &Method::DELETE) => {
                let user = id_of(user)?;
                if self.tables.get("follower", &place(user)).is_none() {
                    return Err(errors::missing("Follower not found"));
                }
                self.tables.put("follower", &place(user), None);
                Ok(errors::data(json!({"user_id": user})))
            }
            _ => Err(errors::no_method()),
        }
    }

    fn attach(&mut self, act: Act, deal: i64, body: &Value, at: Option<i64>) -> Result<Value, Reply> {
        let given = body.as_object().ok_or_else(|| errors::invalid(&["body: Expected 'object'".to_owned()]))?;
        let mut problems: Vec<String> =
            given.keys().filter(|name| !ATTACHED.contains(&name.as_str())).map(|name| errors::not_allowed(name)).collect();
        let old = at.and_then(|id| self.live("dealProduct", id)).cloned();
        for name in ["product_id", "item_price", "quantity"] {
            match given.get(name) {
                None if old.is_none() => problems.push(format!("{name}: Required")),
                Some(value) if !value.is_number() => problems.push(format!("{name}: Expected 'number'")),
                _ => {}
            }
        }
        let product = given.get("product_id").and_then(Value::as_i64);
        if product.is_some_and(|id| !self.exists("product", id)) {
            problems.push("product_id: product does not exist".to_owned());
        }
        if !problems.is_empty() {
            return Err(errors::invalid(&problems));
        }
        let stamp = text::stamp(act.now);
        let mut row = old.unwrap_or_else(|| {
            object(json!({
                "deal_id": deal, "tax": 0, "comments": "", "discount": 0, "is_enabled": true, "tax_method": "inclusive",
                "discount_type": "percentage", "product_variation_id": null, "billing_frequency": "one-time",
                "billing_frequency_cycles": null, "billing_start_date": null, "add_time": stamp,
            }))
        });
        row.fields.extend(given.clone());
        let amount = |name: &str| row.fields.get(name).and_then(Value::as_f64).unwrap_or(0.0);
        let full = amount("item_price") * amount("quantity");
        let off =
            if words(&row.fields, "discount_type") == Some("amount") { amount("discount") } else { full * amount("discount") / 100.0 };
        let sum = full - off;
        let product = whole(&row.fields, "product_id");
        let id = at.unwrap_or_else(|| self.new_id("dealProduct"));
        row.fields.insert("sum".to_owned(), json!(sum));
        row.fields.insert("id".to_owned(), json!(id));
        row.fields.insert("order_nr".to_owned(), json!(id));
        row.fields.insert("name".to_owned(), self.name_of("product", product, "name"));
        row.fields.insert("currency".to_owned(), self.name_of("deal", Some(deal), "currency"));
        row.fields.insert("update_time".to_owned(), json!(stamp));
        let shown = Value::Object(row.fields.clone());
        self.tables.put("dealProduct", &key(id), Some(row));
        Ok(shown)
    }

    fn detach(&mut self, id: i64) {
        if let Some(mut row) = self.live("dealProduct", id).cloned() {
            row.deleted = true;
            self.tables.put("dealProduct", &key(id), Some(row));
        }
    }

    /// `/deals/{id}/products...`.
    pub(crate) fn deal_products(&mut self, act: Act, ask: &Ask<'_>, deal: i64, rest: &[&str]) -> Answer {
        if !self.exists("deal", deal) {
            return Err(errors::missing("Deal not found"));
        }
        let created = |value: Value| Reply::json(StatusCode::CREATED, json!({"success": true, "data": value}));
        match (rest, ask.method.as_str()) {
            ([], "GET") => {
                known_params(ask.params, &["cursor", "limit", "sort_by", "sort_direction"])?;
                self.attachments(ask, &[deal])
            }
            ([], "POST") => self.attach(act, deal, ask.body, None).map(created),
            (["bulk"], "POST") => {
                let list = ask.body.get("data").and_then(Value::as_array).filter(|list| !list.is_empty() && list.len() <= 100);
                let list = list.ok_or_else(|| errors::invalid_one("data", "from 1 to 100 products are allowed"))?;
                let made: Result<Vec<Value>, Reply> = list.iter().map(|one| self.attach(act, deal, one, None)).collect();
                Ok(created(Value::Array(made?)))
            }
            ([], "DELETE") => {
                // Without ids up to a hundred of them go.
                known_params(ask.params, &["ids"])?;
                let wanted: Option<Vec<i64>> =
                    param(ask.params, "ids").map(|ids| ids.split(',').filter_map(|id| id.trim().parse().ok()).collect());
                let mine = self.tables.rows("dealProduct").filter(|(_, row)| !row.deleted && whole(&row.fields, "deal_id") == Some(deal));
                let ids = mine.filter_map(|(_, row)| whole(&row.fields, "id"));
                let ids: Vec<i64> = ids.filter(|id| wanted.as_ref().is_none_or(|wanted| wanted.contains(id))).take(100).collect();
                ids.iter().for_each(|id| self.detach(*id));
                Ok(Reply::ok(json!({"success": true, "data": {"ids": ids}, "additional_data": {"more_items_in_collection": false}})))
            }
            ([id], method @ ("PATCH" | "DELETE")) => {
                let id = id_of(id)?;
                let mine = self.live("dealProduct", id).is_some_and(|row| whole(&row.fields, "deal_id") == Some(deal));
                if !mine {
                    return Err(errors::missing("Deal product not found"));
                }
                if method == "PATCH" {
                    return self.attach(act, deal, ask.body, Some(id)).map(errors::data);
                }
                self.detach(id);
                Ok(errors::data(json!({"id": id})))
            }
            _ => Err(errors::no_method()),
        }
    }

    fn attachments(&self, ask: &Ask<'_>, deals: &[i64]) -> Answer {
        let most = limit(ask.params, 500)?;
        let rows = self.tables.rows("dealProduct").map(|(_, row)| row);
        let rows = rows.filter(|row| !row.deleted && whole(&row.fields, "deal_id").is_some_and(|deal| deals.contains(&deal))).collect();
        let sort = (param(ask.params, "sort_by").unwrap_or("id"), param(ask.params, "sort_direction").unwrap_or("asc"));
        page(rows, sort, param(ask.params, "cursor"), most, |row| Value::Object(row.fields.clone()))
    }

    /// `GET /deals/products?deal_ids=`.
    pub(crate) fn products_of_deals(&self, params: &[(String, String)]) -> Answer {
        known_params(params, &["deal_ids", "cursor", "limit", "sort_by", "sort_direction"])?;
        let given = params.iter().filter(|(name, _)| name == "deal_ids").flat_map(|(_, ids)| ids.split(','));
        let ids: Vec<i64> = given.filter_map(|id| id.trim().parse().ok()).collect();
        if ids.is_empty() || ids.len() > 100 {
            return Err(errors::invalid_one("deal_ids", "from 1 to 100 ids are allowed"));
        }
        self.attachments(&Ask { method: &Method::GET, params, body: &Value::Null, form: false }, &ids)
    }

    /// `/leads/{id}/convert/...` and `/deals/{id}/convert/...`.
    pub(crate) fn convert(&mut self, act: Act, ask: &Ask<'_>, from: &str, source: &str, rest: &[&str]) -> Answer {
        let gone = || errors::missing("Entity was not found");
        let to = if from == "lead" { "deal" } else { "lead" };
        match (rest, ask.method.as_str()) {
            ([target], "POST") if *target == to => {
                if self.tables.live(from, source).is_none() {
                    return Err(gone());
                }
                let given = ask.body.as_object().cloned().unwrap_or_default();
                if given.contains_key("stage_id") && given.contains_key("pipeline_id") {
                    return Err(errors::invalid_one("stage_id", "stage_id and pipeline_id cannot both be given"));
                }
                let id = self.new_uuid("conversion");
                let wait = i64::try_from(self.options.conversion_millis).unwrap_or(i64::MAX);
                let due = act.now.as_millisecond().saturating_add(wait);
                let row = object(json!({"id": id, "from": from, "source": source, "due": due, "status": "running", "given": given}));
                self.tables.put("conversion", &id, Some(row));
                Ok(Reply::ok(json!({"success": true, "data": {"conversion_id": id}, "additional_data": null})))
            }
            (["status", id], "GET") => {
                let row = self.tables.get("conversion", id).filter(|row| row.text("source") == Some(source)).ok_or_else(gone)?;
                let mut data = json!({"conversion_id": id, "status": row.fields.get("status")});
                if let (Some(result), Value::Object(map)) = (row.fields.get("result"), &mut data) {
                    map.insert(format!("{to}_id"), result.clone());
                }
                Ok(Reply::ok(json!({"success": true, "data": data, "additional_data": null})))
            }
            _ => Err(errors::no_path()),
        }
    }

    /// Does the conversions that are due.
    pub(crate) fn settle_conversions(&mut self, now: Timestamp) {
        let due =
            |row: &Row| row.text("status") == Some("running") && whole(&row.fields, "due").is_some_and(|due| due <= now.as_millisecond());
        let waiting: Vec<(String, Row)> =
            self.tables.rows("conversion").filter(|(_, row)| due(row)).map(|(id, row)| (id.to_owned(), row.clone())).collect();
        for (id, mut row) in waiting {
            let act = Act { user: self.user, now, source: "api" };
            let result = match (row.text("from"), row.text("source").map(str::to_owned)) {
                (Some("lead"), Some(source)) => self.lead_to_deal(act, &source, row.fields.get("given")),
                (Some(_), Some(source)) => self.deal_to_lead(act, &source),
                _ => None,
            };
            row.fields.insert("status".to_owned(), json!(if result.is_some() { "completed" } else { "failed" }));
            if let Some(result) = result {
                row.fields.insert("result".to_owned(), result);
            }
            self.tables.put("conversion", &id, Some(row));
        }
    }

    fn lead_to_deal(&mut self, act: Act, source: &str, given: Option<&Value>) -> Option<Value> {
        let mut lead = self.tables.live("lead", source)?.clone();
        let entity = Entity::named("deal")?;
        let value = |name: &str| lead.fields.get(name).cloned().unwrap_or(Value::Null);
        let worth = value("value");
        let mut body = given.and_then(Value::as_object).cloned().unwrap_or_default();
        body.insert("title".to_owned(), value("title"));
        let links = [("person_id", value("person_id")), ("org_id", value("organization_id")), ("owner_id", value("owner_id"))];
        let sums = [
            ("value", worth.get("amount").cloned().unwrap_or(Value::Null)),
            ("currency", worth.get("currency").cloned().unwrap_or(Value::Null)),
            ("expected_close_date", value("expected_close_date")),
        ];
        for (name, value) in links.into_iter().chain(sums).filter(|(_, value)| !value.is_null()) {
            body.insert(name.to_owned(), value);
        }
        let custom = value("custom_fields");
        if custom.as_object().is_some_and(|custom| !custom.is_empty()) {
            body.insert("custom_fields".to_owned(), custom);
        }
        let id = self.create(act, entity, &Value::Object(body)).ok()?;
        if let Some(mut deal) = self.live("deal", id).cloned() {
            deal.fields.insert("source_lead_id".to_owned(), json!(source));
            self.tables.put("deal", &key(id), Some(deal));
        }
        lead.deleted = true;
        self.save(act, "lead", source, lead);
        Some(json!(id))
    }

    fn deal_to_lead(&mut self, act: Act, source: &str) -> Option<Value> {
        let deal = self.tables.live("deal", source)?.clone();
        let value = |name: &str| deal.fields.get(name).cloned().unwrap_or(Value::Null);
        let id = self.new_uuid("lead");
        let mut fields: Map<String, Value> = lead_record(&id, act, &self.domain);
        let number = whole(&deal.fields, "id")?;
        fields.insert("_nr".to_owned(), json!(self.new_id("lead row")));
        fields.insert("title".to_owned(), value("title"));
        fields.insert("person_id".to_owned(), value("person_id"));
        fields.insert("organization_id".to_owned(), value("org_id"));
        fields.insert("owner_id".to_owned(), value("owner_id"));
        fields.insert("source_name".to_owned(), json!("Deal"));
        fields.insert("value".to_owned(), json!({"amount": value("value"), "currency": value("currency")}));
        fields.insert("custom_fields".to_owned(), value("custom_fields"));
        self.save(act, "lead", &id, Row { fields, deleted: false });
        self.remove(act, Entity::named("deal")?, number).ok()?;
        Some(json!(id))
    }
}
