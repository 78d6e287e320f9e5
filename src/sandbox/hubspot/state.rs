//! The account: its rows, its tokens, and how they are kept.
//!
//! Everything that lasts is a row of [`Tables`], so that a refusal undoes all it touched and a commit finds what to log: records
//! (`r/{type}`), properties (`p/{type}`), groups (`g/{type}`), object types (`o`), association types (`l/{from}/{to}`),
//! associations of a record (`a/{type}/{id}`), pipelines (`pl/{type}`) and so on. Tokens and options stand beside them.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::sandbox::hubspot::furniture;
use crate::sandbox::hubspot::ids::uuid;
use crate::sandbox::hubspot::kinds;
use crate::sandbox::hubspot::limits::Limits;
use crate::sandbox::hubspot::options::HubSpotOptions;
use crate::sandbox::hubspot::tokens::Auth;
use crate::sandbox::hubspot::values::stamp;
use crate::sandbox::store::{Changed, Row, Tables};

/// Who writes.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    /// `changeSource` of webhooks, `sourceType` of histories.
    pub(crate) source: &'static str,
    pub(crate) id: String,
}

/// An object type as requests name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// `0-1`.
    pub(crate) id: String,
    /// `contacts`; the fully qualified name of a custom type.
    pub(crate) plural: String,
    /// `contact`; the fully qualified name of a custom type.
    pub(crate) singular: String,
    pub(crate) custom: bool,
}

impl Kind {
    pub(crate) fn table(&self) -> String {
        format!("r/{}", self.id)
    }

    pub(crate) fn created(&self) -> &'static str {
        kinds::dates(&self.id).0
    }

    pub(crate) fn modified(&self) -> &'static str {
        kinds::dates(&self.id).1
    }
}

/// Until when a row that was replaced still shows, in milliseconds since 1970; `None` for a record that was not there.
pub(crate) type Stale = (i64, Option<Row>);

/// The account.
#[derive(Debug)]
pub(crate) struct HubSpot {
    pub(crate) seed: u64,
    pub(crate) portal: u64,
    pub(crate) app: u64,
    pub(crate) tables: Tables,
    next: u64,
    /// Requests seen, for correlation ids.
    pub(crate) seen: u64,
    random: u64,
    pub(crate) auth: Auth,
    auth_saved: Auth,
    pub(crate) options: HubSpotOptions,
    options_saved: HubSpotOptions,
    pub(crate) limits: Limits,
    /// What the search index still shows: by record, rows that a write replaced, and until when they show.
    pub(crate) stale: HashMap<(String, String), Vec<Stale>>,
    pub(crate) actor: Actor,
    pub(crate) now: Timestamp,
}

/// One commit as it is logged.
#[derive(Serialize)]
struct Line<'a> {
    next: u64,
    rows: Vec<Changed<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<&'a Auth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<&'a HubSpotOptions>,
}

/// One commit as it is read back.
#[derive(Deserialize)]
struct OwnedLine {
    next: u64,
    rows: Vec<(String, String, Option<Row>)>,
    auth: Option<Auth>,
    options: Option<HubSpotOptions>,
}

/// Record ids have eleven digits: more than fit into 32 bits, and their order as texts is that of the numbers.
const FIRST_RECORD: u64 = 30_000_000_000;

/// The members of an object as a row.
pub(crate) fn row(fields: Value) -> Row {
    let fields = match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    Row { fields, deleted: false }
}

impl HubSpot {
    /// A fresh account. The same seed makes the same ids and tokens.
    pub(crate) fn new(seed: u64, now: Timestamp) -> Self {
        let auth = Auth::new(seed);
        let (portal, app) = (20_000_000 + seed % 1_000_000, 1_160_000 + seed % 10_000);
        let mut hubspot = Self {
            seed,
            portal,
            app,
            tables: Tables::default(),
            next: 1,
            seen: 0,
            random: seed ^ 0x9E6C_63D0_876A_46AD,
            auth_saved: auth.clone(),
            auth,
            options: HubSpotOptions::default(),
            options_saved: HubSpotOptions::default(),
            limits: Limits::default(),
            stale: HashMap::new(),
            actor: Actor { source: "INTEGRATION", id: app.to_string() },
            now,
        };
        hubspot.furnish(now);
        hubspot.committed();
        hubspot
    }

    /// What every account has from the beginning.
    fn furnish(&mut self, now: Timestamp) {
        let epoch = stamp(0);
        for one in kinds::STANDARD {
            let required: Vec<&str> = one.required.iter().filter_map(|group| group.first().copied()).collect();
            let definition = json!({"id": one.id, "plural": one.plural, "singular": one.singular, "custom": false,
                "fqn": one.singular.to_uppercase(), "name": one.singular.to_uppercase(), "labels": {"singular": one.labels[0], "plural": one.labels[1]},
                "required": required, "searchable": one.searched, "primary": one.defaults.first(), "secondary": [], "createdAt": epoch,
                "updatedAt": epoch, "description": null});
            self.tables.put("o", one.id, Some(row(definition)));
            self.add_properties(one.id, one.singular, &epoch);
        }
        for (from, to, id, inverse, name, label) in kinds::ASSOCIATIONS {
            self.add_association_type("HUBSPOT_DEFINED", (from, to), (*id, *inverse), name, *label, None);
        }
        for (kind, id, pipeline) in furniture::pipelines(&stamp(now.as_millisecond())) {
            self.tables.put(&format!("pl/{kind}"), id, Some(row(pipeline)));
        }
        for (id, owner) in furniture::owners(&epoch) {
            self.tables.put("owner", id, Some(row(owner)));
        }
        let guid = self.uuid("form");
        self.tables.put("form", &guid, Some(row(furniture::contact_form(&guid, &epoch))));
    }

    pub(crate) fn add_properties(&mut self, id: &str, singular: &str, at: &str) {
        let group = kinds::group(singular);
        self.tables.put(
            &format!("g/{id}"),
            &group,
            Some(row(json!({"name": group, "label": "Information", "displayOrder": 0, "archived": false}))),
        );
        for (name, mut property) in kinds::properties(id, singular) {
            property.insert("createdAt".to_owned(), json!(at));
            property.insert("updatedAt".to_owned(), json!(at));
            self.put_property(id, &name, Some(Row { fields: property, deleted: false }));
        }
    }

    /// Keeps a property, with the index that a unique one needs.
    pub(crate) fn put_property(&mut self, kind: &str, name: &str, row: Option<Row>) {
        if row.as_ref().is_some_and(|row| row.is_true("hasUniqueValue")) {
            self.index(kind, name);
        }
        self.tables.put(&format!("p/{kind}"), name, row);
    }

    fn index(&mut self, kind: &str, name: &str) {
        let table = format!("r/{kind}");
        if !self.tables.has_index(&table, name) {
            self.tables.add_index(&table, name);
        }
    }

    /// A number no other thing of the account has.
    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    pub(crate) fn record_id(&mut self) -> String {
        (FIRST_RECORD + (self.seed % 1_000) * 10_000_000 + self.number()).to_string()
    }

    /// The same seed and the same order of calls make the same one.
    pub(crate) fn uuid(&mut self, what: &str) -> String {
        let number = self.number();
        uuid(self.seed, what, number)
    }

    /// For the correlation id of the request at hand.
    pub(crate) fn correlation(&self) -> String {
        uuid(self.seed, "request", self.seen)
    }

    pub(crate) fn chance(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Another order, by the seed. Two or more never keep theirs.
    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        let length = list.len();
        if length < 2 {
            return;
        }
        for at in (1..length).rev() {
            // Sattolo: every element moves.
            let other = usize::try_from(self.chance() % u64::try_from(at).unwrap_or(1)).unwrap_or(0);
            list.swap(at, other);
        }
    }

    /// The object type a path names: by id, plural or singular name, or the (short) fully qualified name.
    pub(crate) fn kind(&self, name: &str) -> Option<Kind> {
        let folded = name.to_lowercase();
        let found = self.tables.rows("o").find(|(id, row)| {
            *id == name
                || (row.is_true("custom") && {
                    let full = row.text("fqn").unwrap_or_default().to_lowercase();
                    full == folded
                        || folded
                            .strip_prefix("p_")
                            .is_some_and(|short| row.text("name").is_some_and(|known| known.to_lowercase() == short))
                })
                || (!row.is_true("custom") && (row.text("plural") == Some(&folded) || row.text("singular") == Some(&folded)))
        });
        found.filter(|(_, row)| !row.deleted).map(|(id, row)| {
            let text = |name: &str| row.text(name).unwrap_or_default().to_owned();
            Kind { id: id.to_owned(), plural: text("plural"), singular: text("singular"), custom: row.is_true("custom") }
        })
    }

    /// A property that is not archived.
    pub(crate) fn property(&self, kind: &Kind, name: &str) -> Option<&Map<String, Value>> {
        self.tables.live(&format!("p/{}", kind.id), name).map(|row| &row.fields)
    }

    /// Every row of the account, by table.
    pub(crate) fn state(&self) -> Value {
        let all: Map<String, Value> = self
            .tables
            .entities()
            .filter(|entity| self.tables.rows(entity).next().is_some())
            .map(|entity| {
                let rows: Map<String, Value> = self
                    .tables
                    .rows(entity)
                    .map(|(id, row)| {
                        let mut fields = row.fields.clone();
                        if row.deleted {
                            fields.insert("#archived".to_owned(), json!(true));
                        }
                        (id.to_owned(), Value::Object(fields))
                    })
                    .collect();
                (entity.to_owned(), Value::Object(rows))
            })
            .collect();
        Value::Object(all)
    }

    /// The line to log for what has changed since the last commit; `None` if nothing has.
    pub(crate) fn pending(&self) -> Option<Value> {
        let rows = self.tables.changes();
        let auth = (self.auth != self.auth_saved).then_some(&self.auth);
        let options = (self.options != self.options_saved).then_some(&self.options);
        if rows.is_empty() && auth.is_none() && options.is_none() {
            return None;
        }
        serde_json::to_value(Line { next: self.next, rows, auth, options }).ok()
    }

    /// The pending changes are safe.
    pub(crate) fn committed(&mut self) {
        self.tables.commit();
        if self.auth != self.auth_saved {
            self.auth_saved = self.auth.clone();
        }
        if self.options != self.options_saved {
            self.options_saved = self.options.clone();
        }
    }

    /// The pending changes could not be kept.
    pub(crate) fn discarded(&mut self) {
        self.tables.rollback(0);
        self.auth = self.auth_saved.clone();
        self.options = self.options_saved.clone();
    }

    /// Everything in one line, to compact the log.
    pub(crate) fn snapshot(&self) -> Option<Value> {
        let entities: Vec<&str> = self.tables.entities().collect();
        let rows = entities.iter().flat_map(|entity| self.tables.rows(entity).map(|(id, row)| (*entity, id, Some(row)))).collect();
        serde_json::to_value(Line { next: self.next, rows, auth: Some(&self.auth), options: Some(&self.options) }).ok()
    }

    /// Applies a line of the log.
    pub(crate) fn replay(&mut self, line: Value) -> Result<()> {
        let line: OwnedLine = serde_json::from_value(line)
            .map_err(|_| Error::store("the sandbox's log holds a line this version cannot read; remove the data directory"))?;
        for (entity, id, row) in line.rows {
            match entity.strip_prefix("p/") {
                Some(kind) => {
                    let kind = kind.to_owned();
                    self.put_property(&kind, &id, row);
                }
                None => self.tables.put(&entity, &id, row),
            }
        }
        self.next = line.next;
        if let Some(auth) = line.auth {
            self.auth = auth;
        }
        if let Some(options) = line.options {
            self.options = options;
        }
        self.committed();
        Ok(())
    }
}
