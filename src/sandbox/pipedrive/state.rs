//! The company: its rows, its fields, its tokens, and how they are kept.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::sandbox::pipedrive::auth::Auth;
use crate::sandbox::pipedrive::limits::Limits;
use crate::sandbox::pipedrive::options::PipedriveOptions;
use crate::sandbox::pipedrive::schema::Schema;
use crate::sandbox::pipedrive::text;
use crate::sandbox::store::{Changed, Row, Tables};

/// Who writes, when, and through which door.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Act {
    pub(crate) user: i64,
    pub(crate) now: Timestamp,
    /// `api` or `app`, as webhooks tell it.
    pub(crate) source: &'static str,
}

/// The company.
#[derive(Debug)]
pub(crate) struct Pipedrive {
    seed: u64,
    pub(crate) company: i64,
    pub(crate) domain: String,
    pub(crate) tables: Tables,
    /// The last number given to each entity.
    made: BTreeMap<String, i64>,
    /// The user the tokens belong to.
    pub(crate) user: i64,
    /// Somebody else in the company.
    pub(crate) other: i64,
    pub(crate) auth: Auth,
    pub(crate) options: PipedriveOptions,
    pub(crate) schema: Schema,
    pub(crate) limits: Limits,
    /// What search still finds of rows it has not read again, until when.
    pub(crate) unindexed: BTreeMap<(String, String), (Timestamp, Option<Row>)>,
    now: Timestamp,
    made_saved: BTreeMap<String, i64>,
    auth_saved: Auth,
    options_saved: PipedriveOptions,
    schema_saved: Schema,
}

#[derive(Serialize)]
struct Line<'a> {
    /// Everything there is, not only what has changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    whole: bool,
    rows: Vec<Changed<'a>>,
    made: &'a BTreeMap<String, i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<&'a Auth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<&'a PipedriveOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a Schema>,
}

#[derive(Deserialize)]
struct OwnedLine {
    #[serde(default)]
    whole: bool,
    rows: Vec<(String, String, Option<Row>)>,
    made: BTreeMap<String, i64>,
    auth: Option<Auth>,
    options: Option<PipedriveOptions>,
    schema: Option<Schema>,
}

/// The form of a number under which a row is kept: in the order of the numbers.
pub(crate) fn key(id: i64) -> String {
    format!("{id:012}")
}

fn row(value: Value) -> Row {
    let fields = match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    Row { fields, deleted: false }
}

impl Pipedrive {
    /// A fresh company: two users, one pipeline of five stages, six activity types.
    pub(crate) fn new(seed: u64, now: Timestamp) -> Self {
        let options = PipedriveOptions::default();
        let auth = Auth::new(seed, now, options.token_lifetime);
        let at = text::stamp(now);
        let schema = Schema::new(seed, &at);
        let company = 7_000_000 + i64::try_from(seed % 1_000_000).unwrap_or(0);
        let mut pipedrive = Self {
            seed,
            company,
            domain: format!("sandbox-{company}"),
            tables: Tables::default(),
            made: BTreeMap::new(),
            user: 0,
            other: 0,
            auth_saved: auth.clone(),
            auth,
            options_saved: options.clone(),
            options,
            schema_saved: schema.clone(),
            schema,
            limits: Limits::default(),
            unindexed: BTreeMap::new(),
            now,
            made_saved: BTreeMap::new(),
        };
        pipedrive.made.insert("user".to_owned(), 21_000_000);
        pipedrive.user = pipedrive.furnish("user", json!({"name": "Ada Admin", "email": "ada@sandbox.example", "admin": true, "at": at}));
        pipedrive.other =
            pipedrive.furnish("user", json!({"name": "Otto Other", "email": "otto@sandbox.example", "admin": false, "at": at}));
        let pipeline = pipedrive.furnish(
            "pipeline",
            json!({"name": "Pipeline", "order_nr": 0, "is_deleted": false, "is_deal_probability_enabled": false, "add_time": at, "update_time": at}),
        );
        for (order, name) in
            ["Qualified", "Contact Made", "Demo Scheduled", "Proposal Made", "Negotiations Started"].into_iter().enumerate()
        {
            pipedrive.furnish(
                "stage",
                json!({"order_nr": order + 1, "name": name, "is_deleted": false, "deal_probability": 100, "pipeline_id": pipeline,
                       "is_deal_rot_enabled": false, "days_to_rotten": null, "add_time": at, "update_time": at}),
            );
        }
        for (order, name) in ["Call", "Meeting", "Task", "Deadline", "Email", "Lunch"].into_iter().enumerate() {
            pipedrive.furnish(
                "activityType",
                json!({"order_nr": order + 1, "name": name, "key_string": name.to_lowercase(), "icon_key": name.to_lowercase(),
                       "active_flag": true, "color": null, "is_custom_flag": false, "add_time": at, "update_time": null}),
            );
        }
        let filter = pipedrive.first_filter(&at);
        pipedrive.furnish("filter", filter);
        for (name, color) in [("Hot", "red"), ("Warm", "yellow"), ("Cold", "blue")] {
            let id = pipedrive.new_uuid("leadLabel");
            let millis = text::stamp_millis(now);
            let number = pipedrive.made.get("leadLabel").copied().unwrap_or(0);
            let label = json!({"id": id, "name": name, "color": color, "add_time": millis, "update_time": millis, "_nr": number});
            pipedrive.tables.put("leadLabel", &id, Some(row(label)));
        }
        pipedrive.committed();
        pipedrive
    }

    fn furnish(&mut self, entity: &str, value: Value) -> i64 {
        let id = self.new_id(entity);
        let mut row = row(value);
        row.fields.insert("id".to_owned(), json!(id));
        self.tables.put(entity, &key(id), Some(row));
        id
    }

    pub(crate) fn new_id(&mut self, entity: &str) -> i64 {
        let made = self.made.entry(entity.to_owned()).or_insert(0);
        *made += 1;
        *made
    }

    pub(crate) fn new_uuid(&mut self, what: &str) -> String {
        let number = self.new_id(what);
        self.uuid(what, u64::try_from(number).unwrap_or(0))
    }

    pub(crate) fn uuid(&self, what: &str, number: u64) -> String {
        let digest = Sha256::digest(format!("pipedrive:{}:{what}:{number}", self.seed));
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    /// How a person in the company writes.
    pub(crate) fn by_hand(&self, now: Timestamp) -> Act {
        Act { user: self.other, now, source: "app" }
    }

    /// A row that is there and not deleted.
    pub(crate) fn live(&self, entity: &str, id: i64) -> Option<&Row> {
        self.tables.live(entity, &key(id))
    }

    pub(crate) fn exists(&self, entity: &str, id: i64) -> bool {
        self.live(entity, id).is_some()
    }

    /// A text of a row, if both are there.
    pub(crate) fn name_of(&self, entity: &str, id: Option<i64>, member: &str) -> Value {
        id.and_then(|id| self.tables.get(entity, &key(id))).and_then(|row| row.fields.get(member)).cloned().unwrap_or(Value::Null)
    }

    /// Everything, deleted rows too.
    pub(crate) fn state(&self) -> Value {
        let all: Map<String, Value> = self
            .tables
            .entities()
            .filter(|entity| !matches!(*entity, "changelog" | "delivery"))
            .map(|entity| {
                let rows: Vec<Value> = self
                    .tables
                    .rows(entity)
                    .map(|(_, row)| {
                        row.fields.iter().filter(|(name, _)| !name.ends_with("password")).map(|(n, v)| (n.clone(), v.clone())).collect()
                    })
                    .collect();
                (entity.to_owned(), Value::Array(rows))
            })
            .collect();
        Value::Object(all)
    }

    /// Told by each request, so that a commit knows when it happens.
    pub(crate) fn tell(&mut self, now: Timestamp) {
        self.now = now;
        self.unindexed.retain(|_, (until, _)| *until > now);
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.tables.mark() > 0
            || self.made != self.made_saved
            || self.auth != self.auth_saved
            || self.options != self.options_saved
            || self.schema != self.schema_saved
    }

    /// The line to log for what has changed since the last commit.
    pub(crate) fn pending(&self) -> Option<Value> {
        let line = Line {
            whole: false,
            rows: self.tables.changes(),
            made: &self.made,
            auth: (self.auth != self.auth_saved).then_some(&self.auth),
            options: (self.options != self.options_saved).then_some(&self.options),
            schema: (self.schema != self.schema_saved).then_some(&self.schema),
        };
        serde_json::to_value(line).ok()
    }

    /// The pending changes are safe.
    pub(crate) fn committed(&mut self) {
        let lag = i64::try_from(self.options.search_lag_millis).unwrap_or(i64::MAX);
        if lag > 0 {
            let until = Timestamp::from_millisecond(self.now.as_millisecond().saturating_add(lag)).unwrap_or(Timestamp::MAX);
            for (entity, id, old, _) in self.tables.edits() {
                if matches!(entity, "person" | "organization" | "deal" | "lead" | "product") {
                    self.unindexed.entry((entity.to_owned(), id.to_owned())).or_insert_with(|| (until, old.cloned()));
                }
            }
        }
        self.tables.commit();
        if self.made != self.made_saved {
            self.made_saved.clone_from(&self.made);
        }
        if self.auth != self.auth_saved {
            self.auth_saved.clone_from(&self.auth);
        }
        if self.options != self.options_saved {
            self.options_saved.clone_from(&self.options);
        }
        if self.schema != self.schema_saved {
            self.schema_saved.clone_from(&self.schema);
        }
    }

    /// The pending changes could not be kept.
    pub(crate) fn discarded(&mut self) {
        self.tables.rollback(0);
        self.made.clone_from(&self.made_saved);
        self.auth.clone_from(&self.auth_saved);
        self.options.clone_from(&self.options_saved);
        self.schema.clone_from(&self.schema_saved);
    }

    /// Everything in one line, to compact the log.
    pub(crate) fn snapshot(&self) -> Option<Value> {
        let entities: Vec<&str> = self.tables.entities().collect();
        let rows = entities.iter().flat_map(|entity| self.tables.rows(entity).map(|(id, row)| (*entity, id, Some(row)))).collect();
        let line =
            Line { whole: true, rows, made: &self.made, auth: Some(&self.auth), options: Some(&self.options), schema: Some(&self.schema) };
        serde_json::to_value(line).ok()
    }

    /// Applies a line of the log.
    pub(crate) fn replay(&mut self, line: Value) -> Result<()> {
        let line: OwnedLine = serde_json::from_value(line)
            .map_err(|_| Error::store("the sandbox's log holds a line this version cannot read; remove the data directory"))?;
        if line.whole {
            self.tables = Tables::default();
        }
        for (entity, id, row) in line.rows {
            self.tables.put(&entity, &id, row);
        }
        self.made = line.made;
        if let Some(auth) = line.auth {
            self.auth = auth;
        }
        if let Some(options) = line.options {
            self.options = options;
        }
        if let Some(schema) = line.schema {
            self.schema = schema;
        }
        self.committed();
        self.unindexed.clear();
        Ok(())
    }
}
