//! A CRM: cards in this process, with versions, a unique key, a change feed and a description.

use std::sync::Mutex;

use async_trait::async_trait;
use crm_sync::adapter::{Capabilities, ChangeFeed, CrmAdapter, Identity, Quota, QuotaWindow, Since, WriteOptions, Written};
use crm_sync::error::{Error, ErrorKind, FieldError, Result};
use crm_sync::host::Host;
use crm_sync::model::{
    Change, ChangeKind, Entity, EntitySchema, EventId, ExternalKey, FieldSchema, FieldType, Fields, Record, RecordId, Version,
};
use crm_sync::query::{Cursor, Page, Query};
use jiff::Timestamp;
use serde_json::Value;

/// The only kind of record.
const CARD: Entity = Entity::from_static("Card");
const PAGE: usize = 100;

#[derive(Debug)]
pub struct Rolodex {
    can: Capabilities,
    host: Host,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    cards: Vec<Card>,
    /// Counts writes: the version of a card, and its place in the feed.
    writes: u64,
}

#[derive(Clone, Debug)]
struct Card {
    fields: Fields,
    version: u64,
    at: Timestamp,
    deleted: bool,
}

fn schema() -> EntitySchema {
    let mut key = FieldSchema::new("key", FieldType::Text);
    (key.unique, key.external_id) = (true, true);
    let mut name = FieldSchema::new("name", FieldType::Text);
    (name.required, name.max_length) = (true, Some(80));
    let fields = vec![key, name, FieldSchema::new("note", FieldType::Text), FieldSchema::new("score", FieldType::Integer)];
    EntitySchema::new(CARD, "Card", fields)
}

impl Rolodex {
    pub fn new(host: Host) -> Self {
        let mut can = Capabilities::basic("id");
        can.search_with_or = true;
        can.search_with_not = true;
        can.search_with_order = true;
        can.update_with_version = true;
        can.upsert = true;
        can.changes = true;
        can.changes_with_deletes = true;
        can.describe = true;
        Self { can, host, state: Mutex::default() }
    }
}

fn checked(entity: &Entity, fields: &Fields) -> Result<()> {
    if *entity != CARD {
        return Err(Error::new(ErrorKind::NotFound, "a rolodex has cards only"));
    }
    match fields.names().find(|name| schema().field(name).is_none()) {
        None => Ok(()),
        Some(name) => {
            let error = Error::new(ErrorKind::Validation, format!("a card has no field {name}"));
            Err(error.with_fields(vec![FieldError::new(name, None)]))
        }
    }
}

impl State {
    fn live(&mut self, id: &RecordId) -> Result<(usize, &mut Card)> {
        let at = id.as_str().parse::<usize>().ok();
        let gone = || Error::new(ErrorKind::NotFound, "there is no such card").record_id(id);
        let at = at.filter(|at| self.cards.get(*at).is_some_and(|card| !card.deleted)).ok_or_else(gone)?;
        Ok((at, &mut self.cards[at]))
    }

    fn put(&mut self, at: Option<usize>, fields: Fields, now: Timestamp) -> Written {
        self.writes += 1;
        let version = self.writes;
        let (at, created) = match at {
            Some(at) => {
                let card = &mut self.cards[at];
                card.fields.merge(fields);
                (card.version, card.at) = (version, now);
                (at, false)
            }
            None => {
                let mut row: Fields = schema().fields.iter().map(|field| (field.name.as_str(), Value::Null)).collect();
                row.merge(fields);
                row.insert("id", self.cards.len().to_string());
                self.cards.push(Card { fields: row, version, at: now, deleted: false });
                (self.cards.len() - 1, true)
            }
        };
        let mut written = Written::new(RecordId::new(at.to_string())).created(created);
        written.version = Some(Version::new(version.to_string()));
        written
    }
}

fn record(at: usize, card: &Card, select: &[String]) -> Record {
    let mut fields = card.fields.clone();
    fields.retain(|name, _| select.is_empty() || select.iter().any(|wanted| wanted == name));
    let mut record = Record::new(CARD, RecordId::new(at.to_string()), fields);
    record.version = Some(Version::new(card.version.to_string()));
    record.modified_at = Some(card.at);
    record
}

#[async_trait]
impl CrmAdapter for Rolodex {
    fn name(&self) -> &str {
        "rolodex"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.can
    }

    async fn authenticate(&self) -> Result<Identity> {
        let mut identity = Identity::new();
        identity.user = Some("whoever opens the drawer".to_owned());
        Ok(identity)
    }

    async fn search(&self, query: &Query) -> Result<Page<Record>> {
        checked(&query.entity, &Fields::new()).map_err(|error| error.during("search").on(&query.entity))?;
        let state = self.state.lock().unwrap();
        let mut hits: Vec<(usize, &Card)> =
            state.cards.iter().enumerate().filter(|(_, card)| !card.deleted && query.filter.matches(&card.fields)).collect();
        for order in query.order.iter().rev() {
            let key = |card: &Card| card.fields.text(&order.field).unwrap_or_default().to_lowercase();
            hits.sort_by_key(|(_, card)| key(card));
            if order.descending {
                hits.reverse();
            }
        }
        let total = hits.len() as u64;
        hits.truncate(query.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)));
        let wrong = || Error::config("the cursor is not one of a rolodex").during("search");
        let from = query.cursor.as_ref().map_or(Ok(0), |cursor| cursor.as_str().parse::<usize>().map_err(|_| wrong()))?;
        let size = query.page_size.map_or(PAGE, |size| size as usize).max(1);
        let next = (from + size < hits.len()).then(|| Cursor::new((from + size).to_string()));
        let page = hits.iter().skip(from).take(size).map(|(at, card)| record(*at, card, &query.select)).collect();
        Ok(Page::new(page, next, Some(total)))
    }

    async fn create(&self, entity: &Entity, fields: &Fields, _: &WriteOptions) -> Result<Written> {
        checked(entity, fields).map_err(|error| error.during("create").on(entity))?;
        Ok(self.state.lock().unwrap().put(None, fields.clone(), self.host.now()))
    }

    async fn update(&self, entity: &Entity, id: &RecordId, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        let told = |error: Error| error.during("update").on(entity).record_id(id);
        checked(entity, fields).map_err(told)?;
        let mut state = self.state.lock().unwrap();
        let (at, card) = state.live(id).map_err(told)?;
        if options.if_version.as_ref().is_some_and(|version| version.as_str() != card.version.to_string()) {
            return Err(told(Error::new(ErrorKind::Conflict, "the card was changed by somebody else")));
        }
        Ok(state.put(Some(at), fields.clone(), self.host.now()))
    }

    async fn delete(&self, entity: &Entity, id: &RecordId, _: &WriteOptions) -> Result<()> {
        checked(entity, &Fields::new()).map_err(|error| error.during("delete").on(entity))?;
        let mut state = self.state.lock().unwrap();
        state.writes += 1;
        let (version, now) = (state.writes, self.host.now());
        if let Ok((_, card)) = state.live(id) {
            (card.deleted, card.version, card.at) = (true, version, now);
        }
        Ok(())
    }

    async fn upsert(&self, entity: &Entity, key: &ExternalKey, fields: &Fields, _: &WriteOptions) -> Result<Written> {
        checked(entity, fields).map_err(|error| error.during("upsert").on(entity))?;
        if key.field != "key" {
            return Err(Error::config("a card is found by its field key").during("upsert").on(entity));
        }
        let mut fields = fields.clone();
        fields.insert("key", key.value.as_str());
        let mut state = self.state.lock().unwrap();
        let at = state.cards.iter().position(|card| !card.deleted && card.fields.text("key") == Some(&key.value));
        Ok(state.put(at, fields, self.host.now()))
    }

    async fn changes(&self, feed: &ChangeFeed) -> Result<Page<Change>> {
        let told = |error: Error| error.during("changes").on(&feed.entity);
        checked(&feed.entity, &Fields::new()).map_err(told)?;
        let state = self.state.lock().unwrap();
        let wrong = || told(Error::config("the cursor is not one of this feed"));
        let (after, from) = match &feed.since {
            Since::Start => (0, None),
            Since::At(at) => (0, Some(*at)),
            Since::Cursor(cursor) => (cursor.as_str().parse().map_err(|_| wrong())?, None),
            other => return Err(told(Error::unsupported(format!("a feed cannot begin at {other:?}")))),
        };
        let mut changed: Vec<(usize, &Card)> = state.cards.iter().enumerate().collect();
        changed.retain(|(_, card)| card.version > after && from.is_none_or(|from| card.at >= from) && (feed.deletes || !card.deleted));
        changed.sort_by_key(|(_, card)| card.version);
        changed.truncate(PAGE);
        let next = changed.last().map_or(after, |(_, card)| card.version);
        let change = |(at, card): &(usize, &Card)| {
            let kind = if card.deleted { ChangeKind::Deleted } else { ChangeKind::Updated };
            let mut change = Change::new(CARD, RecordId::new(at.to_string()), kind);
            change.at = Some(card.at);
            change.event = Some(EventId::new(format!("{at}@{}", card.version)));
            change.fields = if card.deleted { Fields::new() } else { record(*at, card, &feed.select).fields };
            change
        };
        Ok(Page::new(changed.iter().map(change).collect(), Some(Cursor::new(next.to_string())), None))
    }

    async fn describe(&self, entity: &Entity) -> Result<EntitySchema> {
        checked(entity, &Fields::new()).map_err(|error| error.during("describe").on(entity))?;
        Ok(schema())
    }

    async fn quota(&self) -> Result<Option<Quota>> {
        Ok(Some(Quota::new(vec![QuotaWindow::new("cards", self.state.lock().unwrap().cards.len() as u64, 1_000_000)])))
    }
}
