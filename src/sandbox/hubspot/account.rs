//! Owners, the account's details, usage and limits, and the end of an installation.

use http::Method;
use serde_json::{Value, json};

use crate::sandbox::call::Reply;
use crate::sandbox::hubspot::errors::{Answer, Refusal};
use crate::sandbox::hubspot::router::{Ask, no_content};
use crate::sandbox::hubspot::state::HubSpot;
use crate::sandbox::hubspot::tokens::Bearer;
use crate::sandbox::hubspot::values::stamp;
use crate::sandbox::store::Row;

impl HubSpot {
    pub(crate) fn owners(&self, ask: &Ask<'_>, rest: &[&str]) -> Answer {
        if !ask.is(&Method::GET) {
            return Err(if rest.len() > 1 { Refusal::no_path() } else { Refusal::method() });
        }
        let archived = ask.flag("archived")?;
        let fits = |row: &Row| row.is_true("archived") == archived;
        match rest {
            [] => {
                let limit = ask.limit(100, 500)?;
                let email = ask.param("email").map(str::to_lowercase);
                let after = ask.param("after").unwrap_or_default();
                let wanted = |row: &Row| fits(row) && email.as_deref().is_none_or(|email| row.text("email") == Some(email));
                let mut rows = self.tables.rows("owner").filter(|(id, row)| wanted(row) && *id > after);
                let page: Vec<(&str, &Row)> = rows.by_ref().take(limit).collect();
                let list: Vec<Value> = page.iter().map(|(_, row)| Value::Object(row.fields.clone())).collect();
                let mut body = json!({"results": list});
                if let (Some((last, _)), Some(_), Some(map)) = (page.last(), rows.next(), body.as_object_mut()) {
                    let link = format!("https://api.hubapi.com/crm/v3/owners/?after={last}&limit={limit}");
                    map.insert("paging".to_owned(), json!({"next": {"after": last, "link": link}}));
                }
                Ok(Reply::ok(body))
            }
            [id] => {
                let user = match ask.param("idProperty") {
                    None | Some("" | "id") => false,
                    Some("userId") => true,
                    Some(other) => return Err(Refusal::bad(format!("{other} is not an idProperty of owners"))),
                };
                let number = id.parse::<u64>().ok();
                let found = self.tables.rows("owner").find(|(known, row)| {
                    fits(row)
                        && if user { row.fields.get("userIdIncludingInactive").and_then(Value::as_u64) == number } else { known == id }
                });
                found.map(|(_, row)| Reply::ok(Value::Object(row.fields.clone()))).ok_or_else(Refusal::missing)
            }
            _ => Err(Refusal::no_path()),
        }
    }

    pub(crate) fn account(&mut self, ask: &Ask<'_>, rest: &[&str]) -> Answer {
        match rest {
            ["details"] | ["api-usage", "daily", "private-apps"] if !ask.is(&Method::GET) => Err(Refusal::method()),
            ["details"] => {
                let minutes = self.options.utc_offset_minutes;
                let sign = if minutes < 0 { '-' } else { '+' };
                let offset = format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60);
                Ok(Reply::ok(
                    json!({"portalId": self.portal, "accountType": "STANDARD", "timeZone": self.options.time_zone, "companyCurrency": "USD",
                    "additionalCurrencies": ["EUR"], "utcOffset": offset, "utcOffsetMilliseconds": i64::from(minutes) * 60_000,
                    "uiDomain": "app.hubspot.com", "dataHostingLocation": "na1"}),
                ))
            }
            ["api-usage", "daily", "private-apps"] => {
                let (used, resets) = self.limits.today(ask.now, &self.options);
                Ok(Reply::ok(
                    json!({"results": [{"name": "private-apps-api-calls-daily", "usageLimit": self.options.daily_limit, "currentUsage": used,
                    "collectedAt": stamp(ask.now.as_millisecond()), "resetsAt": stamp(resets), "fetchStatus": "SUCCESS"}]}),
                ))
            }
            _ => Err(Refusal::no_path()),
        }
    }

    pub(crate) fn uninstall(&mut self, ask: &Ask<'_>) -> Answer {
        if !ask.is(&Method::DELETE) {
            return Err(Refusal::method());
        }
        if ask.bearer != Bearer::OAuth {
            return Err(Refusal::new(403, "MISSING_SCOPES", "Only the OAuth token of an account can uninstall the app from it."));
        }
        self.auth.uninstall();
        Ok(no_content())
    }

    /// How much of the account's room is used.
    pub(crate) fn account_limits(&self, ask: &Ask<'_>, rest: &[&str]) -> Answer {
        if !ask.is(&Method::GET) {
            return Err(Refusal::method());
        }
        let share = |usage: usize, limit: usize| (usage as f64 / limit as f64 * 10_000.0).round() / 100.0;
        let kinds: Vec<(&str, &Row)> = self.tables.rows("o").filter(|(_, row)| !row.deleted).collect();
        let entry = |id: &str, row: &Row, usage: usize, limit: Option<usize>| {
            let label = |name: &str| row.fields.get("labels").and_then(|labels| labels.get(name)).cloned().unwrap_or_default();
            let mut one = json!({"objectTypeId": id, "singularLabel": label("singular"), "pluralLabel": label("plural"), "usage": usage});
            if let (Some(limit), Some(map)) = (limit, one.as_object_mut()) {
                map.insert("limit".to_owned(), json!(limit));
                map.insert("percentage".to_owned(), json!(share(usage, limit)));
            }
            one
        };
        let by_kind = |count: &dyn Fn(&str) -> usize, custom: bool, limit: Option<usize>| -> (Vec<Value>, usize) {
            let of: Vec<&(&str, &Row)> = kinds.iter().filter(|(_, row)| row.is_true("custom") == custom).collect();
            (of.iter().map(|(id, row)| entry(id, row, count(id), limit)).collect(), of.iter().map(|(id, _)| count(id)).sum())
        };
        let counted = |count: &dyn Fn(&str) -> usize, each: usize, all: usize| {
            let (standard, _) = by_kind(count, false, Some(each));
            let (custom, used) = by_kind(count, true, None);
            json!({"hubspotDefinedObjectTypes": standard, "customObjectTypes": {"byObjectType": custom, "overallLimit": all,
                   "overallUsage": used, "overallPercentage": share(used, all)}})
        };
        let rows =
            |table: String, keep: &dyn Fn(&Row) -> bool| self.tables.rows(&table).filter(|(_, row)| !row.deleted && keep(row)).count();
        match rest {
            ["custom-object-types"] => {
                let usage = kinds.iter().filter(|(_, row)| row.is_true("custom")).count();
                Ok(Reply::ok(json!({"limit": 10, "usage": usage, "percentage": share(usage, 10)})))
            }
            ["custom-properties"] => {
                let count = |id: &str| rows(format!("p/{id}"), &|row| row.fields.get("hubspotDefined") == Some(&json!(false)));
                let list: Vec<Value> = kinds.iter().map(|(id, row)| entry(id, row, count(id), Some(1_000))).collect();
                let used: usize = kinds.iter().map(|(id, _)| count(id)).sum();
                Ok(Reply::ok(
                    json!({"byObjectType": list, "overallLimit": 10_000, "overallUsage": used, "overallPercentage": share(used, 10_000)}),
                ))
            }
            ["calculated-properties"] => {
                let count = |id: &str| rows(format!("p/{id}"), &|row| row.is_true("calculated") && !row.is_true("hubspotDefined"));
                let list: Vec<Value> = kinds.iter().map(|(id, row)| entry(id, row, count(id), None)).collect();
                let used: usize = kinds.iter().map(|(id, _)| count(id)).sum();
                Ok(Reply::ok(
                    json!({"byObjectType": list, "overallLimit": 200, "overallUsage": used, "overallPercentage": share(used, 200)}),
                ))
            }
            ["records"] => Ok(Reply::ok(counted(&|id| rows(format!("r/{id}"), &|_| true), 15_000_000, 1_500_000))),
            ["pipelines"] => Ok(Reply::ok(counted(&|id| rows(format!("pl/{id}"), &|_| true), 100, 100))),
            ["associations", "labels"] => {
                let side = |name: &str| ask.param(name).and_then(|id| self.kind(id));
                let (from, to) = (side("fromObjectTypeId"), side("toObjectTypeId"));
                let mut list = Vec::new();
                for (from_id, from_row) in &kinds {
                    for (to_id, to_row) in &kinds {
                        if from.as_ref().is_some_and(|kind| kind.id != *from_id) || to.as_ref().is_some_and(|kind| kind.id != *to_id) {
                            continue;
                        }
                        let (Some(one), Some(other)) = (self.kind(from_id), self.kind(to_id)) else { continue };
                        let labels: Vec<String> = self
                            .link_types(&one, &other)
                            .into_iter()
                            .filter(|one| one.category == "USER_DEFINED")
                            .filter_map(|one| one.label)
                            .collect();
                        if !labels.is_empty() || (from.is_some() && to.is_some()) {
                            let side = |id: &str, row: &Row| {
                                let label =
                                    |name: &str| row.fields.get("labels").and_then(|labels| labels.get(name)).cloned().unwrap_or_default();
                                json!({"objectTypeId": id, "singularLabel": label("singular"), "pluralLabel": label("plural")})
                            };
                            list.push(json!({"allLabels": labels, "fromObjectType": side(from_id, from_row), "toObjectType": side(to_id, to_row), "limit": 10,
                                "usage": labels.len(), "percentage": share(labels.len(), 10)}));
                        }
                    }
                }
                Ok(Reply::ok(json!({"results": list})))
            }
            ["associations", "records", "from"] | ["associations", "records", _, "to"] => Ok(Reply::ok(json!({"results": []}))),
            ["associations", "records", from, to] => {
                self.kind_or(from)?;
                self.kind_or(to)?;
                Ok(Reply::ok(json!({"limit": 50_000, "totalRecordsAtLimit": 0, "totalRecordsNearLimit": 0, "atLimitFromRecordSamples": [],
                    "nearLimitFromRecordSamples": []})))
            }
            _ => Err(Refusal::no_path()),
        }
    }
}
