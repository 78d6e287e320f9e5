//! Forms: their definitions, and what people send.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::sandbox::call::{Call, Content, Reply};
use crate::sandbox::hubspot::errors::{Answer, Refusal, object, only, text};
use crate::sandbox::hubspot::limits::ten_secondly;
use crate::sandbox::hubspot::router::{Ask, Version, created, no_content};
use crate::sandbox::hubspot::state::{Actor, HubSpot, row};
use crate::sandbox::hubspot::tokens::Bearer;
use crate::sandbox::hubspot::values::{is_email, options, stamp};
use crate::sandbox::store::Row;

const MOST_FIELDS: usize = 1_000;
const MONTH: i64 = 31 * 86_400_000;

fn fields_of(form: &Row) -> Vec<&Map<String, Value>> {
    let groups = form.fields.get("fieldGroups").and_then(Value::as_array).into_iter().flatten();
    groups.filter_map(|group| group.get("fields").and_then(Value::as_array)).flatten().filter_map(Value::as_object).collect()
}

/// What is wrong with a submission, in the forms API's own shape.
fn wrong(errors: &[(String, &'static str)], correlation: &str) -> Reply {
    let list: Vec<Value> = errors.iter().map(|(message, code)| json!({"message": message, "errorType": code})).collect();
    let body = json!({"status": "error", "message": "The request is not valid", "correlationId": correlation, "errors": list});
    Reply::json(StatusCode::BAD_REQUEST, body)
}

impl HubSpot {
    pub(crate) fn forms(&mut self, ask: &Ask<'_>, rest: &[&str]) -> Answer {
        let known = |hubspot: &Self, id: &str| hubspot.tables.get("form", id).cloned().ok_or_else(Refusal::missing);
        let now = stamp(ask.now.as_millisecond());
        const MEMBERS: &[&str] = &[
            "name",
            "formType",
            "fieldGroups",
            "configuration",
            "displayOptions",
            "legalConsentOptions",
            "archived",
            "createdAt",
            "updatedAt",
            "archivedAt",
            "id",
        ];
        match (rest, ask.method) {
            ([], &Method::GET) => {
                let limit = ask.limit(20, 500)?;
                let archived = ask.flag("archived")?;
                let kinds = ask.list("formTypes");
                let after = ask.param("after").unwrap_or_default();
                let wanted = |row: &Row| {
                    row.deleted == archived
                        && (kinds.is_empty() || kinds.iter().any(|kind| kind == "all" || row.text("formType") == Some(kind)))
                };
                let mut rows = self.tables.rows("form").filter(|(id, row)| wanted(row) && *id > after);
                let page: Vec<(&str, &Row)> = rows.by_ref().take(limit).collect();
                let list: Vec<Value> = page.iter().map(|(_, row)| Value::Object(row.fields.clone())).collect();
                let mut body = json!({"results": list});
                if let (Some((last, _)), Some(_), Some(map)) = (page.last(), rows.next(), body.as_object_mut()) {
                    map.insert("paging".to_owned(), json!({"next": {"after": last}}));
                }
                Ok(Reply::ok(body))
            }
            ([], &Method::POST) => {
                let body = object(ask.body()?)?;
                only(body, MEMBERS)?;
                text(body, "name")?;
                if text(body, "formType")? != "hubspot" {
                    return Err(Refusal::bad("Only forms of type hubspot can be created"));
                }
                let guid = self.uuid("form");
                let mut form = body.clone();
                self.check_form(&form)?;
                for (name, value) in [("id", json!(guid)), ("createdAt", json!(now)), ("updatedAt", json!(now)), ("archived", json!(false))]
                {
                    form.insert(name.to_owned(), value);
                }
                self.tables.put("form", &guid, Some(Row { fields: form.clone(), deleted: false }));
                Ok(created(Value::Object(form)))
            }
            ([id], &Method::GET) => Ok(Reply::ok(Value::Object(known(self, id)?.fields))),
            ([id], &Method::PATCH | &Method::PUT) => {
                let mut row = known(self, id)?;
                let body = object(ask.body()?)?;
                only(body, MEMBERS)?;
                let (id, created_at) = (json!(id), row.fields.get("createdAt").cloned().unwrap_or_default());
                if ask.is(&Method::PUT) {
                    row.fields.clear();
                }
                row.fields.extend(body.clone());
                self.check_form(&row.fields)?;
                for (name, value) in [("id", id), ("createdAt", created_at), ("updatedAt", json!(now))] {
                    row.fields.insert(name.to_owned(), value);
                }
                self.tables.put("form", rest.first().copied().unwrap_or_default(), Some(row.clone()));
                Ok(Reply::ok(Value::Object(row.fields)))
            }
            ([id], &Method::DELETE) => {
                let mut row = known(self, id)?;
                row.deleted = true;
                row.fields.insert("archived".to_owned(), json!(true));
                self.tables.put("form", id, Some(row));
                Ok(no_content())
            }
            ([] | [_], _) => Err(Refusal::method()),
            _ => Err(Refusal::no_path()),
        }
    }

    fn check_form(&self, form: &Map<String, Value>) -> Result<(), Refusal> {
        let row = Row { fields: form.clone(), deleted: false };
        for field in fields_of(&row) {
            let kind = self.kind_or(field.get("objectTypeId").and_then(Value::as_str).unwrap_or("0-1"))?;
            let name = text(field, "name")?;
            if self.property(&kind, name).is_none() {
                return Err(Refusal::bad(format!("Form field {name} is not a property of {}", kind.plural)));
            }
        }
        Ok(())
    }

    /// Submissions without a token; whoever keeps calling against the limit is locked out for a minute.
    pub(crate) fn submit_public(&mut self, call: &Call, portal: &str, guid: &str) -> Answer {
        if call.method != Method::POST {
            return Err(Refusal::method());
        }
        let correlation = self.correlation();
        let blocked = || {
            let body = Content::Html("error code: 1015".to_owned());
            Reply { status: StatusCode::TOO_MANY_REQUESTS, headers: Vec::new(), body }.header("content-type", "text/plain; charset=UTF-8")
        };
        if self.limits.is_blocked(call.now) {
            return Ok(blocked());
        }
        if self.limits.take("form-public", call.now, 10_000, self.options.form_burst_limit).is_none() {
            if self.limits.take("form-refused", call.now, 1_000, 9).is_none() {
                self.limits.block(call.now, 60_000);
                return Ok(blocked());
            }
            return Ok(ten_secondly(&correlation, self.app));
        }
        let kind = call.header("content-type").unwrap_or_default().to_ascii_lowercase();
        if kind.split(';').next().map(str::trim) != Some("application/json") {
            return Err(Refusal::new(415, "UNSUPPORTED_MEDIA_TYPE", "HTTP 415 Unsupported Media Type"));
        }
        let body: Value = serde_json::from_slice(&call.body).map_err(|_| Refusal::bad("Invalid input JSON"))?;
        let version = Version { late: false, dated: false };
        let ask = Ask {
            method: &call.method,
            version,
            params: &[],
            body: Some(&body),
            now: call.now,
            origin: &call.origin,
            bearer: Bearer::OAuth,
        };
        self.submit(&ask, portal, guid)
    }

    pub(crate) fn submit(&mut self, ask: &Ask<'_>, portal: &str, guid: &str) -> Answer {
        if !ask.is(&Method::POST) {
            return Err(Refusal::method());
        }
        let correlation = self.correlation();
        let form = self.tables.live("form", guid).filter(|_| portal == self.portal.to_string()).cloned();
        let Some(form) = form else {
            return Err(Refusal::new(404, "OBJECT_NOT_FOUND", "The form does not exist in this account"));
        };
        let body = object(ask.body()?)?;
        only(body, &["fields", "context", "legalConsentOptions", "submittedAt", "skipValidation"])?;
        let mut errors: Vec<(String, &'static str)> = Vec::new();
        let values = self.check_fields(&form, body, &mut errors);
        self.check_context(&form, body, &mut errors);
        if !errors.is_empty() {
            return Ok(wrong(&errors, &correlation));
        }
        let now = ask.now.as_millisecond();
        self.actor = Actor { source: "FORM", id: guid.to_owned() };
        let contact = self.kind_or("contacts")?;
        let email = values.get("email").and_then(Value::as_str).map(str::to_owned);
        let known = match &email {
            Some(email) => self.by_property(&contact, "email", email)?,
            None => None,
        };
        let id = match known {
            Some(id) => {
                self.change(&contact, &id, &values)?;
                id
            }
            None => self.create(&contact, &values)?,
        };
        if let Some(mut contact_row) = self.tables.live(&contact.table(), &id).cloned() {
            let count = |name: &str| contact_row.text(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) + 1;
            let mark = format!("\u{1f}{guid}\u{1f}");
            let seen = contact_row.text("#forms").unwrap_or_default().to_owned();
            let mut counts: Map<String, Value> =
                [("num_conversion_events".to_owned(), json!(count("num_conversion_events").to_string()))].into_iter().collect();
            if !seen.contains(&mark) {
                counts.insert("num_unique_conversion_events".to_owned(), json!(count("num_unique_conversion_events").to_string()));
                contact_row.fields.insert("#forms".to_owned(), json!(format!("{seen}{mark}")));
            }
            self.apply(&contact, &mut contact_row, &counts);
            self.store(&contact, &id, Some(contact_row));
        }
        let at = submitted(body).unwrap_or(now);
        let shown: Vec<Value> = values.iter().map(|(name, value)| json!({"name": name, "value": value, "objectTypeId": "0-1"})).collect();
        let number = self.number();
        let page = body.get("context").and_then(|context| context.get("pageUri")).cloned().unwrap_or_else(|| json!(""));
        let kept = json!({"submittedAt": at, "values": shown, "pageUrl": page, "conversionId": self.uuid("conversion")});
        self.tables.put(&format!("sub/{guid}"), &format!("{number:012}"), Some(row(kept)));
        let action = form.fields.get("configuration").and_then(|configuration| configuration.get("postSubmitAction"));
        let said = action.and_then(|action| action.get("value")).and_then(Value::as_str).unwrap_or_default();
        let redirects = action.and_then(|action| action.get("type")).and_then(Value::as_str) == Some("redirect_url");
        Ok(Reply::ok(if redirects { json!({"redirectUri": said}) } else { json!({"inlineMessage": said}) }))
    }

    /// The values by property; what is wrong with them goes to `errors`.
    fn check_fields(&self, form: &Row, body: &Map<String, Value>, errors: &mut Vec<(String, &'static str)>) -> Map<String, Value> {
        let mut values: Map<String, Value> = Map::new();
        let Some(list) = body.get("fields").and_then(Value::as_array) else {
            errors.push(("Error in 'fields'. A list of fields is required".to_owned(), "INVALID_METADATA"));
            return values;
        };
        if list.len() > MOST_FIELDS {
            errors.push((
                format!("Error in 'fields'. At most {MOST_FIELDS} fields can be submitted"),
                "MAX_NUMBER_OF_SUBMITTED_VALUES_EXCEEDED",
            ));
            return values;
        }
        let defined = fields_of(form);
        for field in list {
            let name = field.get("name").and_then(Value::as_str).unwrap_or_default();
            let value = match field.get("value") {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Number(number)) => number.to_string(),
                Some(Value::Bool(flag)) => flag.to_string(),
                _ => String::new(),
            };
            let object_type = field.get("objectTypeId").and_then(Value::as_str).unwrap_or("0-1");
            let definition = defined.iter().find(|one| {
                one.get("name").and_then(Value::as_str) == Some(name)
                    && one.get("objectTypeId").and_then(Value::as_str).unwrap_or("0-1") == object_type
            });
            if definition.is_none() {
                errors.push((format!("Error in 'fields.{name}'. The field is not in the form definition"), "FIELD_NOT_IN_FORM_DEFINITION"));
                continue;
            }
            if value.chars().count() > 65_536 {
                errors.push((format!("Error in 'fields.{name}'. The value is too large"), "INPUT_TOO_LARGE"));
                continue;
            }
            if value.is_empty() {
                continue;
            }
            if name == "email" && !is_email(value.trim()) {
                errors.push((format!("Error in 'fields.{name}'. Invalid email address"), "INVALID_EMAIL"));
                continue;
            }
            if let Some(blocked) = definition.and_then(|one| one.get("validation")?.get("blockedEmailDomains")?.as_array())
                && blocked.iter().filter_map(Value::as_str).any(|domain| value.trim().ends_with(&format!("@{domain}")))
            {
                errors.push((format!("Error in 'fields.{name}'. The email address is blocked"), "BLOCKED_EMAIL"));
                continue;
            }
            let property = self.kind("contacts").and_then(|kind| self.property(&kind, name).cloned()).unwrap_or_default();
            match property.get("type").and_then(Value::as_str) {
                Some("number") if value.parse::<f64>().is_err() => {
                    errors.push((format!("Error in 'fields.{name}'. Invalid number"), "INVALID_NUMBER"));
                }
                Some("enumeration") if !options(&property).is_empty() && !value.split(';').all(|one| options(&property).contains(&one)) => {
                    errors
                        .push((format!("Error in 'fields.{name}'. The value is not one of the field's"), "VALUE_NOT_IN_FIELD_DEFINITION"));
                }
                _ => drop(values.insert(name.to_owned(), json!(value))),
            }
        }
        for field in defined.iter().filter(|field| field.get("required") == Some(&json!(true))) {
            let name = field.get("name").and_then(Value::as_str).unwrap_or_default();
            let tried = list
                .iter()
                .any(|one| one.get("name").and_then(Value::as_str) == Some(name) && one.get("value").is_some_and(|value| value != ""));
            if !tried {
                errors.push((format!("Error in 'fields.{name}'. Required field '{name}' is missing"), "REQUIRED_FIELD"));
            }
        }
        values
    }

    fn check_context(&self, form: &Row, body: &Map<String, Value>, errors: &mut Vec<(String, &'static str)>) {
        let now = self.now.as_millisecond();
        if body.contains_key("submittedAt") && !submitted(body).is_some_and(|at| at > now - MONTH && at <= now + 86_400_000) {
            errors.push(("Error in 'submittedAt'. It must be in milliseconds and not older than a month".to_owned(), "INVALID_METADATA"));
        }
        if form.fields.get("configuration").and_then(|configuration| configuration.get("recaptchaEnabled")) == Some(&json!(true)) {
            errors.push(("The form has reCAPTCHA enabled".to_owned(), "FORM_HAS_RECAPTCHA_ENABLED"));
        }
        let context = body.get("context").and_then(Value::as_object).cloned().unwrap_or_default();
        let given = |name: &str| context.get(name).map(|value| value.as_str().unwrap_or_default().to_owned());
        if given("hutk").is_some_and(|token| token.len() != 32 || !token.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            errors.push(("Error in 'context.hutk'. Invalid hutk".to_owned(), "INVALID_HUTK"));
        }
        if given("ipAddress").is_some_and(|address| address.parse::<std::net::IpAddr>().is_err()) {
            errors.push(("Error in 'context.ipAddress'. Invalid IP address".to_owned(), "INVALID_IP_ADDRESS"));
        }
        if given("pageUri").is_some_and(|page| page.parse::<http::Uri>().is_err()) {
            errors.push(("Error in 'context.pageUri'. Invalid page URI".to_owned(), "INVALID_PAGE_URI"));
        }
        let Some(legal) = body.get("legalConsentOptions").filter(|legal| !legal.is_null()) else { return };
        let (consent, interest) = (legal.get("consent"), legal.get("legitimateInterest"));
        let one = match (consent, interest) {
            (Some(one), None) | (None, Some(one)) => one,
            _ => {
                errors.push((
                    "Error in 'legalConsentOptions'. Either consent or legitimateInterest".to_owned(),
                    "INVALID_LEGAL_OPTION_FORMAT",
                ));
                return;
            }
        };
        let empty = |value: Option<&Value>| value.and_then(Value::as_str).is_none_or(str::is_empty);
        if consent.is_some() && one.get("consentToProcess") != Some(&json!(true)) {
            errors.push(("Error in 'legalConsentOptions.consent'. Consent to process is missing".to_owned(), "MISSING_PROCESSING_CONSENT"));
        }
        if empty(one.get("text")) {
            let code = if consent.is_some() { "MISSING_PROCESSING_CONSENT_TEXT" } else { "MISSING_LEGITIMATE_INTEREST_TEXT" };
            errors.push(("Error in 'legalConsentOptions'. The text is missing".to_owned(), code));
        }
        let mut seen: Vec<&Value> = Vec::new();
        for communication in one.get("communications").and_then(Value::as_array).into_iter().flatten() {
            if empty(communication.get("text")) {
                errors.push(("Error in 'communications'. The text is missing".to_owned(), "MISSING_COMMUNICATION_CONSENT_TEXT"));
            }
            let id = communication.get("subscriptionTypeId").unwrap_or(&Value::Null);
            if seen.contains(&id) {
                errors.push(("Error in 'communications'. A subscription type is named twice".to_owned(), "DUPLICATE_SUBSCRIPTION_TYPE_ID"));
            }
            seen.push(id);
        }
    }

    /// What was sent to a form, the newest first.
    pub(crate) fn submissions(&self, ask: &Ask<'_>, guid: &str) -> Answer {
        if !ask.is(&Method::GET) {
            return Err(Refusal::method());
        }
        self.tables.get("form", guid).ok_or_else(Refusal::missing)?;
        let limit = ask.limit(20, 50)?;
        let before = ask.param("after").filter(|text| !text.is_empty());
        let mut rows: Vec<(&str, &Row)> = self.tables.rows(&format!("sub/{guid}")).collect();
        rows.reverse();
        let mut rows = rows.into_iter().filter(|(id, _)| before.is_none_or(|before| *id < before));
        let page: Vec<(&str, &Row)> = rows.by_ref().take(limit).collect();
        let list: Vec<Value> = page.iter().map(|(_, row)| Value::Object(row.fields.clone())).collect();
        let mut body = json!({"results": list});
        if let (Some((last, _)), Some(_), Some(map)) = (page.last(), rows.next(), body.as_object_mut()) {
            map.insert("paging".to_owned(), json!({"next": {"after": last}}));
        }
        Ok(Reply::ok(body))
    }
}

fn submitted(body: &Map<String, Value>) -> Option<i64> {
    match body.get("submittedAt")? {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_i64(),
        _ => None,
    }
}
