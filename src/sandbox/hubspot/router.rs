//! From paths to resources, with everything every request shares: versions, tokens, scopes, limits, media types.

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::sandbox::call::{Call, Content, Reply, param};
use crate::sandbox::fault::FaultKind;
use crate::sandbox::hubspot::errors::{Answer, Refusal, id_of};
use crate::sandbox::hubspot::limits::{HubSpotTrouble, daily, secondly, ten_secondly};
use crate::sandbox::hubspot::state::{Actor, HubSpot};
use crate::sandbox::hubspot::tokens::Bearer;

/// A version of a path: `v3`, `2026-03`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// Batches answer as from 2026-09 on.
    pub(crate) late: bool,
    pub(crate) dated: bool,
}

impl Version {
    fn legacy() -> Self {
        Self { late: false, dated: false }
    }

    /// The dated versions that are or will be served.
    pub(crate) fn dated(text: &str) -> Option<Self> {
        match text {
            "2025-09" | "2026-03" => Some(Self { late: false, dated: true }),
            "2026-09" | "2026-09-beta" | "2027-03-beta" => Some(Self { late: true, dated: true }),
            _ => None,
        }
    }
}

/// A request inside its resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a Method,
    pub(crate) version: Version,
    pub(crate) params: &'a [(String, String)],
    pub(crate) body: Option<&'a Value>,
    pub(crate) now: Timestamp,
    pub(crate) origin: &'a str,
    pub(crate) bearer: Bearer,
}

impl<'a> Ask<'a> {
    pub(crate) fn param(&self, name: &str) -> Option<&'a str> {
        param(self.params, name)
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.param(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("" | "false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Refusal::bad(format!("{name} must be true or false"))),
        }
    }

    /// A list, as repeated or comma-separated values.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let values = self.params.iter().filter(|(known, _)| known == name || known.strip_suffix("[]") == Some(name));
        values.flat_map(|(_, value)| value.split(',')).map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect()
    }

    pub(crate) fn limit(&self, default: usize, most: usize) -> Result<usize, Refusal> {
        match self.param("limit") {
            None | Some("") => Ok(default),
            Some(text) => match text.parse::<usize>() {
                Ok(limit) if (1..=most).contains(&limit) => Ok(limit),
                _ => Err(Refusal::bad(format!("limit must be a number from 1 to {most}"))),
            },
        }
    }

    pub(crate) fn body(&self) -> Result<&'a Value, Refusal> {
        self.body.ok_or_else(|| Refusal::bad("Invalid input JSON: the request has no body"))
    }

    pub(crate) fn is(&self, method: &Method) -> bool {
        self.method == method
    }
}

/// The part of the API a path belongs to, which decides on tokens and limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Area {
    Associations,
    /// Webhook settings, timeline templates: a developer key or an app-level token.
    Developer,
    FormSecure,
    General,
    Journal(&'static str, usize),
    Search,
}

fn area(path: &[&str], method: &Method) -> Area {
    match path {
        ["webhooks" | "app-webhooks", ..] => Area::Developer,
        ["integrators", "timeline", "v3", app, "event-templates", ..] if *app != "events" => Area::Developer,
        ["webhooks-journal", "subscriptions", ..] => Area::Journal("journal-subscriptions", 50),
        ["webhooks-journal", "snapshots", ..] => Area::Journal("journal-snapshots", 10),
        ["webhooks-journal", ..] => Area::Journal("journal", 100),
        ["submissions", ..] => Area::FormSecure,
        ["crm", _, "objects", _, "search"] | ["crm", "objects", _, _, "search"] if method == Method::POST => Area::Search,
        ["crm", "associations", ..] | ["crm", "v3" | "v4", "associations", ..] => Area::Associations,
        ["crm", _, "objects", _, _, "associations", ..] | ["crm", "objects", _, _, _, "associations", ..] => Area::Associations,
        _ => Area::General,
    }
}

impl HubSpot {
    /// True for paths of this face.
    pub(crate) fn owns(path: &str) -> bool {
        let mut parts = path.trim_start_matches('/').split('/');
        match parts.next().unwrap_or_default() {
            "oauth" => parts.next().is_some_and(|next| matches!(next, "authorize" | "v1" | "v2" | "v3") || Version::dated(next).is_some()),
            "crm" | "crm-object-schemas" | "account-info" | "integrators" | "marketing" | "form-integrations" | "submissions"
            | "webhooks" | "app-webhooks" | "webhooks-journal" | "appinstalls" | "properties" | "automation" => true,
            _ => false,
        }
    }

    /// Notes that a request came, and who writes.
    pub(crate) fn begin(&mut self, now: Timestamp) {
        self.seen += 1;
        self.now = now;
        self.actor = Actor { source: "INTEGRATION", id: self.app.to_string() };
    }

    /// What a fault answers in this face's own words, instead of the request.
    pub(crate) fn early(&mut self, call: &Call, fault: Option<&FaultKind>) -> Option<Reply> {
        let trouble = match fault? {
            FaultKind::HubSpot(trouble) => trouble.clone(),
            FaultKind::RequestLimit { concurrent: false } => HubSpotTrouble::DailyLimit,
            FaultKind::RequestLimit { concurrent: true } | FaultKind::TooManyRequests { .. } => HubSpotTrouble::TenSecondlyLimit,
            FaultKind::RowLock { .. } => HubSpotTrouble::Locked,
            FaultKind::ExpireToken => {
                if let Some((_, token)) = call.header("authorization").and_then(|value| value.split_once(' ')) {
                    let token = token.trim().to_owned();
                    self.auth.expire(&token, call.now);
                }
                return None;
            }
            _ => return None,
        };
        self.begin(call.now);
        let reply = trouble.reply(&self.correlation(), self.app);
        Some(match fault {
            Some(FaultKind::TooManyRequests { retry_after: Some(value) }) => reply.header("retry-after", value.clone()),
            _ => reply,
        })
    }

    /// Answers a request; what it changed before a refusal is undone.
    pub(crate) fn handle(&mut self, call: &Call) -> Reply {
        self.begin(call.now);
        let segments = call.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        let mark = self.tables.mark();
        let correlation = self.correlation();
        let reply = self.route(call, &path).unwrap_or_else(|refusal| {
            self.tables.rollback(mark);
            refusal.reply(&correlation)
        });
        reply.header("x-hubspot-correlation-id", correlation)
    }

    fn route(&mut self, call: &Call, path: &[&str]) -> Answer {
        match path {
            ["oauth", rest @ ..] => return self.oauth(call, rest),
            ["submissions", "v3", "integration", "submit", portal, guid] => return self.submit_public(call, portal, guid),
            ["webhooks-journal", "files", name] => return self.journal_file(call, name),
            _ => {}
        }
        let area = area(path, &call.method);
        let correlation = self.correlation();
        let params = call.params();
        if area == Area::Developer {
            let keyed = param(&params, "hapikey") == Some(&self.auth.developer_key);
            let bearer = match (keyed, self.bearer(call)) {
                (true, _) => Bearer::App,
                (false, Ok((Bearer::App, _))) => Bearer::App,
                (false, Ok(_)) => {
                    let message = "This call needs a developer API key (hapikey) or an app-level token.";
                    return Err(Refusal::new(403, "MISSING_SCOPES", message));
                }
                (false, Err(refusal)) => return Err(refusal),
            };
            return self.dispatch(call, path, &params, bearer);
        }
        if params.iter().any(|(name, _)| name == "hapikey") {
            let message =
                "The API key used to make this call is no longer accepted: API keys were removed on November 30, 2022. Use a private app.";
            return Err(Refusal::new(401, "INVALID_AUTHENTICATION", message));
        }
        let (bearer, scopes) = self.bearer(call)?;
        if let Area::Journal(window, limit) = area {
            if bearer != Bearer::App {
                return Err(Refusal::new(403, "MISSING_SCOPES", "This call needs an app-level token, from client credentials."));
            }
            if self.limits.take(window, call.now, 1_000, limit).is_none() {
                return Ok(secondly(&correlation));
            }
            self.scoped(path, &call.method, scopes.as_ref())?;
            return self.dispatch(call, path, &params, bearer);
        }
        if bearer == Bearer::App {
            return Err(Refusal::new(403, "MISSING_SCOPES", "An app-level token cannot reach the data of an account."));
        }
        let options = self.options.clone();
        // Every call counts for the day of the private app; an OAuth app has no daily quota.
        let mut left = None;
        if bearer == Bearer::Private {
            left = self.limits.take_daily(call.now, &options);
            if left.is_none() {
                return Ok(daily(&correlation, self.app));
            }
        }
        let (window, millis, limit) = match area {
            Area::Search => ("search", 1_000, options.search_per_second),
            Area::Associations => ("associations", 10_000, options.association_burst_limit),
            Area::FormSecure => ("form-secure", 10_000, options.association_burst_limit),
            _ if bearer == Bearer::Private => ("private", 10_000, options.burst_limit),
            _ => ("oauth", 10_000, options.oauth_burst_limit),
        };
        let remaining = self.limits.take(window, call.now, millis, limit);
        let reply = match remaining {
            None if area == Area::Search => return Ok(secondly(&correlation)),
            None => ten_secondly(&correlation, self.app),
            Some(_) => {
                let mark = self.tables.mark();
                let result = self.scoped(path, &call.method, scopes.as_ref()).and_then(|()| self.dispatch(call, path, &params, bearer));
                result.unwrap_or_else(|refusal| {
                    self.tables.rollback(mark);
                    refusal.reply(&correlation)
                })
            }
        };
        if area == Area::Search || area == Area::FormSecure {
            return Ok(reply);
        }
        let mut reply = reply
            .header("x-hubspot-ratelimit-max", limit.to_string())
            .header("x-hubspot-ratelimit-remaining", remaining.unwrap_or(0).to_string())
            .header("x-hubspot-ratelimit-interval-milliseconds", "10000")
            .header("x-hubspot-ratelimit-secondly", (limit / 10).to_string())
            .header("x-hubspot-ratelimit-secondly-remaining", (remaining.unwrap_or(0) / 10).to_string());
        if let Some(left) = left {
            reply = reply
                .header("x-hubspot-ratelimit-daily", options.daily_limit.to_string())
                .header("x-hubspot-ratelimit-daily-remaining", left.to_string());
        }
        Ok(reply)
    }

    /// Refuses a token without any of the scopes the path needs.
    fn scoped(&self, path: &[&str], method: &Method, scopes: Option<&Vec<String>>) -> Result<(), Refusal> {
        let Some(scopes) = scopes else { return Ok(()) };
        let verb = |reading: bool| if reading { "read" } else { "write" };
        let named = |kind: &str, reading: bool, schema: bool| {
            let kind = self.kind(kind);
            let id = kind.as_ref().map_or("", |kind| kind.id.as_str());
            let area = if schema { "schemas" } else { "objects" };
            match id {
                "0-5" => vec!["tickets".to_owned()],
                "0-7" | "0-8" => vec![format!("crm.{area}.line_items.{}", verb(reading)), "e-commerce".to_owned()],
                "0-2" => vec![format!("crm.{area}.companies.{}", verb(reading))],
                "0-3" => vec![format!("crm.{area}.deals.{}", verb(reading))],
                "0-136" => vec![format!("crm.{area}.leads.{}", verb(reading))],
                other if other.starts_with("2-") => vec![format!("crm.{area}.custom.{}", verb(reading))],
                // Activities go with contacts (Activities guide).
                _ => vec![format!("crm.{area}.contacts.{}", verb(reading))],
            }
        };
        let reading = method == Method::GET;
        let wanted = match path {
            ["crm", _, "objects", kind, rest @ ..] | ["crm", "objects", _, kind, rest @ ..] => {
                named(kind, reading || matches!(rest, ["search"] | ["batch", "read"]), false)
            }
            ["crm", _, "associations", kind, _, rest @ ..] | ["crm", "associations", _, kind, _, rest @ ..] => {
                named(kind, reading || rest.last() == Some(&"read"), false)
            }
            ["crm", "v3", "properties" | "pipelines", kind, rest @ ..] | ["crm", "properties" | "pipelines", _, kind, rest @ ..] => {
                named(kind, reading || rest.last() == Some(&"read"), true)
            }
            ["crm", "v3", "owners", ..] | ["crm", "owners", ..] => vec!["crm.objects.owners.read".to_owned()],
            ["crm-object-schemas", ..] | ["crm", "v3", "schemas", ..] => vec![format!("crm.schemas.custom.{}", verb(reading))],
            ["integrators", ..] => vec!["timeline".to_owned()],
            ["marketing", ..] | ["form-integrations", ..] | ["submissions", ..] => vec!["forms".to_owned()],
            ["webhooks-journal", "journal" | "journal-local", ..] => vec!["developer.webhooks_journal.read".to_owned()],
            ["webhooks-journal", part, ..] => vec![format!("developer.webhooks_journal.{part}.{}", verb(reading))],
            _ => return Ok(()),
        };
        if wanted.iter().any(|scope| scopes.contains(scope)) {
            return Ok(());
        }
        let message = "This app hasn't been granted all required scopes to make this call. Read more about required scopes here: \
                       https://developers.hubspot.com/scopes.";
        let detail = json!({"message": "One or more of the following scopes are required.", "context": {"requiredGranularScopes": wanted}});
        Err(Refusal::new(403, "MISSING_SCOPES", message).detail(detail))
    }

    fn dispatch(&mut self, call: &Call, path: &[&str], params: &[(String, String)], bearer: Bearer) -> Answer {
        let mut body = None;
        let writes = matches!(call.method, Method::POST | Method::PUT | Method::PATCH);
        if writes && !call.body.is_empty() {
            let kind = call.header("content-type").unwrap_or_default().to_ascii_lowercase();
            if kind.split(';').next().map(str::trim) != Some("application/json") {
                return Err(Refusal::new(415, "UNSUPPORTED_MEDIA_TYPE", "HTTP 415 Unsupported Media Type"));
            }
            let parsed: Result<Value, _> = serde_json::from_slice(&call.body);
            body = Some(parsed.map_err(|error| {
                Refusal::bad(format!(
                    "Invalid input JSON on line {}, column {}: Unexpected character or end of input",
                    error.line(),
                    error.column()
                ))
            })?);
        }
        let method = if call.method == Method::HEAD { &Method::GET } else { &call.method };
        let ask = |version: Version| Ask { method, version, params, body: body.as_ref(), now: call.now, origin: &call.origin, bearer };
        let old = Version::legacy();
        match path {
            ["crm", "v3", "objects", kind, rest @ ..] => self.objects(&ask(old), kind, rest),
            ["crm", "v4", "objects", kind, id, "associations", rest @ ..] => self.record_associations(&ask(old), kind, id, rest),
            ["crm", "objects", version, kind, rest @ ..] => {
                let version = Version::dated(version).ok_or_else(Refusal::no_path)?;
                match rest {
                    [id, "associations", rest @ ..] => self.record_associations(&ask(version), kind, id, rest),
                    _ => self.objects(&ask(version), kind, rest),
                }
            }
            ["crm", "v3", "associations", from, to, rest @ ..] => self.associations_v3(&ask(old), from, to, rest),
            ["crm", "v4", "associations", rest @ ..] | ["crm", "associations", "v4", rest @ ..] => self.associations(&ask(old), rest),
            ["crm", "v3", "properties", kind, rest @ ..] => self.properties(&ask(old), kind, rest),
            ["crm", "v3", "pipelines", kind, rest @ ..] => self.pipelines(&ask(old), kind, rest),
            ["crm", "v3", "owners", rest @ ..] => self.owners(&ask(old), rest),
            ["crm", "v3", "schemas", rest @ ..] | ["crm-object-schemas", "v3", "schemas", rest @ ..] => self.schemas(&ask(old), rest),
            ["crm", "v3", "limits", rest @ ..] => self.account_limits(&ask(old), rest),
            ["account-info", "v3", rest @ ..] => self.account(&ask(old), rest),
            ["appinstalls", "v3", "external-install"] => self.uninstall(&ask(old)),
            ["integrators", "timeline", "v3", rest @ ..] => self.timeline(&ask(old), rest),
            ["integrators", "timeline", "2026-03", rest @ ..] => self.app_events(&ask(old), rest),
            ["marketing", "v3", "forms", rest @ ..] => self.forms(&ask(old), rest),
            ["form-integrations", "v1", "submissions", "forms", guid] => self.submissions(&ask(old), guid),
            ["submissions", "v3", "integration", "secure", "submit", portal, guid] => self.submit(&ask(old), portal, guid),
            ["webhooks", "v3" | "2026-03", app, rest @ ..] | ["app-webhooks", "2026-09", app, rest @ ..] => {
                self.webhooks(&ask(Version { late: path.first() == Some(&"app-webhooks"), dated: true }), app, rest)
            }
            ["webhooks-journal", part, "v4", rest @ ..] => self.journal(&ask(old), part, rest),
            ["webhooks-journal", part, version, rest @ ..] => {
                let version = Version::dated(version).ok_or_else(Refusal::no_path)?;
                self.journal(&ask(version), part, rest)
            }
            ["crm", area, version, rest @ ..] => {
                let ask = ask(Version::dated(version).ok_or_else(Refusal::no_path)?);
                match (*area, rest) {
                    ("associations", _) => self.associations(&ask, rest),
                    ("properties", [kind, rest @ ..]) => self.properties(&ask, kind, rest),
                    ("pipelines", [kind, rest @ ..]) => self.pipelines(&ask, kind, rest),
                    ("owners", _) => self.owners(&ask, rest),
                    ("limits", _) => self.account_limits(&ask, rest),
                    _ => Err(Refusal::no_path()),
                }
            }
            ["crm-object-schemas", version, "schemas", rest @ ..] => {
                self.schemas(&ask(Version::dated(version).ok_or_else(Refusal::no_path)?), rest)
            }
            ["account-info", version, rest @ ..] => self.account(&ask(Version::dated(version).ok_or_else(Refusal::no_path)?), rest),
            ["appinstalls", version, "external-install"] => self.uninstall(&ask(Version::dated(version).ok_or_else(Refusal::no_path)?)),
            _ => Err(Refusal::no_path()),
        }
    }

    /// The object type of a path, or 400.
    pub(crate) fn kind_or(&self, name: &str) -> Result<crate::sandbox::hubspot::state::Kind, Refusal> {
        self.kind(name).ok_or_else(|| Refusal::bad(format!("Unable to infer object type from: {name}")))
    }
}

/// The `inputs` of a batch: at least one and at most `most`.
pub(crate) fn inputs(body: &Value, most: usize) -> Result<&Vec<Value>, Refusal> {
    let list = body
        .get("inputs")
        .and_then(Value::as_array)
        .ok_or_else(|| Refusal::bad("Invalid input JSON on line 1, column 1: some of required attributes are not set [inputs]"))?;
    match list.len() {
        0 => Err(Refusal::bad("At least one input is required")),
        length if length > most => Err(Refusal::bad(format!("Maximum number of inputs exceeded: {length} of {most}"))),
        _ => Ok(list),
    }
}

/// The `id` of a batch's input.
pub(crate) fn input_id(input: &Value) -> Result<String, Refusal> {
    id_of(input.get("id"))
        .ok_or_else(|| Refusal::bad("Invalid input JSON on line 1, column 1: some of required attributes are not set [id]"))
}

/// 201 with a body.
pub(crate) fn created(value: Value) -> Reply {
    Reply::json(StatusCode::CREATED, value)
}

/// 204.
pub(crate) fn no_content() -> Reply {
    Reply { status: StatusCode::NO_CONTENT, headers: Vec::new(), body: Content::Empty }
}
