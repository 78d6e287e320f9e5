//! Salesforce as a [`CrmAdapter`].
//!
//! Switches in [`WriteOptions::native`]: `auto_assign` (`"off"`, `"default"` or the id of an assignment rule) and `allow_save`
//! (true saves although a duplicate rule with an alert found something).
//!
//! Cost in HTTP requests: one per call, with these exceptions. A search whose condition compares a field of unknown type with a
//! text that looks like a date, or that selects nothing, reads the entity's description once per connection. `bulk` is one
//! request per run of up to 200 operations of one kind. A search whose lists do not fit into a request line is made of several
//! statements, one after the other; it cannot be sorted, and its pages do not tell how many records match in all.

use std::borrow::Cow;

use async_trait::async_trait;
use serde_json::Value;

use crate::adapter::{
    Association, BulkOp, BulkOutcome, Capabilities, ChangeFeed, CrmAdapter, Identity, JobTerms, JobTicket, Quota, QuotaWindow,
    WriteOptions, Written,
};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Change, Entity, EntitySchema, ExternalKey, Fields, Record, RecordId, parse_datetime};
use crate::query::{Criteria, Cursor, Page, Query};
use crate::salesforce::client::Salesforce;
use crate::salesforce::collections::SavedRow;
use crate::salesforce::condition::needs_type;
use crate::salesforce::config::{AutoAssign, DuplicateRule};
use crate::salesforce::ids;
use crate::salesforce::limits::COLLECTION_LIMIT;
use crate::salesforce::query::with_batch_size;
use crate::salesforce::record::{record, with_marks};
use crate::salesforce::select::Soql;

/// Statements longer than this, as they stand in a URL, are split. Request line and headers may take 16,384 bytes.
const MAX_SEARCH: usize = 10_000;

#[async_trait]
impl CrmAdapter for Salesforce {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn authenticate(&self) -> Result<Identity> {
        let mut identity = Identity::new();
        identity.api_version = Some(self.api_version().to_string());
        match self.user_info().await {
            Ok(user) => {
                identity.user = user.user_id;
                identity.account = user.organization_id;
            }
            // A token without the identity scope may still use the API: ask for what every user may see.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Permission | ErrorKind::Decode) => {
                self.call(http::Method::GET, "/sobjects", None).await.map_err(|error| error.during("authenticate"))?;
            }
            Err(error) => return Err(error),
        }
        Ok(identity)
    }

    async fn search(&self, query: &Query) -> Result<Page<Record>> {
        let outcome = self.search_page(query).await;
        outcome.map_err(|error| error.during("search").on(&query.entity))
    }

    async fn create(&self, entity: &Entity, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        let id = Salesforce::create(&*self.with(options)?, entity, fields).await?;
        Ok(Written::new(id).created(true))
    }

    async fn update(&self, entity: &Entity, id: &RecordId, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        let since = options.if_version.as_ref().map(|version| {
            parse_datetime(version.as_str())
                .ok_or_else(|| Error::config("a Salesforce version is a SystemModstamp").during("update").on(entity))
        });
        self.with(options)?.update_if(entity, id, fields, since.transpose()?).await?;
        Ok(Written::new(ids::record_id(id.as_str())).created(false))
    }

    async fn delete(&self, entity: &Entity, id: &RecordId, _options: &WriteOptions) -> Result<()> {
        Salesforce::delete(self, entity, id).await.map(|_was_there| ())
    }

    async fn get(&self, entity: &Entity, id: &RecordId, select: &[String]) -> Result<Option<Record>> {
        let columns = if select.is_empty() { Cow::Borrowed(select) } else { Cow::Owned(with_marks(select)) };
        let row = match self.retrieve(entity, id, &columns).await {
            // An id that cannot be one names no record.
            Err(error) if error.code() == Some("MALFORMED_ID") => return Ok(None),
            row => row?,
        };
        row.map(|row| record(entity, row, select)).transpose()
    }

    async fn upsert(&self, entity: &Entity, key: &ExternalKey, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        let upserted = Salesforce::upsert(&*self.with(options)?, entity, key, fields).await?;
        Ok(Written::new(upserted.id).created(upserted.created))
    }

    async fn bulk(&self, entity: &Entity, ops: &[BulkOp], options: &WriteOptions) -> Result<Vec<BulkOutcome>> {
        let client = self.with(options)?;
        let mut outcomes: Vec<Option<BulkOutcome>> = ops.iter().map(|_| None).collect();
        for group in groups(ops) {
            for run in group.chunks(COLLECTION_LIMIT) {
                match client.run(entity, ops, run).await {
                    Ok(rows) => {
                        for (at, row) in run.iter().zip(rows) {
                            put(&mut outcomes, *at, row);
                        }
                    }
                    // The rows of the other requests have outcomes of their own: this one's error is its rows' alone.
                    Err(error) => {
                        for at in run {
                            put(&mut outcomes, *at, Err(error.echo()));
                        }
                    }
                }
            }
        }
        let missing = || Err(Error::internal("an operation of a bulk call got no outcome").during("bulk").on(entity));
        Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect())
    }

    /// Jobs of the Bulk API 2.0 for updates, upserts and deletions, from more records on than [`SalesforceConfig::volume`] says.
    ///
    /// None where a job would not do what the other calls do: with all-or-none and with a duplicate rule, which jobs do not know,
    /// and for leads, cases and accounts while the org's active assignment rule is to be run ([`AutoAssign::Default`]).
    ///
    /// [`SalesforceConfig::volume`]: crate::salesforce::SalesforceConfig::volume
    fn job_terms(&self, entity: &Entity, operation: &str) -> Option<JobTerms> {
        self.terms(entity, operation)
    }

    /// Two requests: the job and its file. Operations that no file can hold are left out, and have no outcome then.
    async fn open_job(&self, entity: &Entity, ops: &[BulkOp], options: &WriteOptions) -> Result<JobTicket> {
        let outcome = self.with(options)?.open_operations(entity, ops).await;
        outcome.map_err(|error| error.not_applied().during("open_job").on(entity))
    }

    /// A look, the start, looks of growing distance, and three result files.
    async fn run_job(&self, entity: &Entity, ticket: &JobTicket, ops: &[BulkOp], begin: bool) -> Result<Vec<BulkOutcome>> {
        let outcome = self.run_operations(entity, ticket, ops, begin).await;
        outcome.map_err(|error| error.during("run_job").on(entity))
    }

    async fn changes(&self, feed: &ChangeFeed) -> Result<Page<Change>> {
        let outcome = self.changes_page(feed).await;
        outcome.map_err(|error| error.during("changes").on(&feed.entity))
    }

    /// Sets the lookup field `relation` of `from` to `to`.
    async fn associate(&self, link: &Association) -> Result<()> {
        let fields: Fields = [(link.relation.as_str(), link.to.1.as_str())].into_iter().collect();
        let outcome = Salesforce::update(self, &link.from.0, &link.from.1, &fields).await;
        outcome.map_err(|error| error.during("associate"))
    }

    async fn describe(&self, entity: &Entity) -> Result<EntitySchema> {
        self.describe_object(entity).await
    }

    async fn quota(&self) -> Result<Option<Quota>> {
        Ok(self.usage().map(|usage| {
            let mut window = QuotaWindow::new("DailyApiRequests", usage.used, usage.max);
            window.window = Some(std::time::Duration::from_secs(24 * 60 * 60));
            Quota::new(vec![window])
        }))
    }
}

fn put(outcomes: &mut [Option<BulkOutcome>], at: usize, outcome: BulkOutcome) {
    if let Some(slot) = outcomes.get_mut(at) {
        *slot = Some(outcome);
    }
}

/// Positions of operations that may share a request: creates, updates and deletes each by themselves, upserts by field. An
/// operation on a record that an earlier group of another kind touches starts a new round, so that the order per record holds.
fn groups(ops: &[BulkOp]) -> Vec<Vec<usize>> {
    let mut groups: Vec<(&str, Option<&str>, Vec<usize>)> = Vec::new();
    let mut seen = std::collections::HashMap::<Cow<'_, str>, usize>::new();
    for (at, op) in ops.iter().enumerate() {
        let (field, subject) = match op {
            BulkOp::Upsert { key, .. } => (Some(key.field.as_str()), Some(Cow::Owned(format!("{}\u{0}{}", key.field, key.value)))),
            // 15 and 18 characters name the same record.
            BulkOp::Update { id, .. } | BulkOp::Delete { id } => (None, Some(Cow::Owned(ids::record_id(id.as_str()).into_string()))),
            BulkOp::Create { .. } => (None, None),
        };
        // A second operation on the same record must come after the first, and never in the same request: a collection that
        // names one record twice fails.
        let after = subject.as_ref().and_then(|subject| seen.get(subject).copied()).map_or(0, |group| group + 1);
        let found = groups.iter().enumerate().skip(after).find(|(_, (kind, of, _))| *kind == op.operation() && *of == field);
        let group = match found.map(|(group, _)| group) {
            Some(group) => group,
            None => {
                groups.push((op.operation(), field, Vec::new()));
                groups.len() - 1
            }
        };
        if let Some((_, _, members)) = groups.get_mut(group) {
            members.push(at);
        }
        if let Some(subject) = subject {
            seen.insert(subject, group);
        }
    }
    groups.into_iter().map(|(_, _, members)| members).collect()
}

impl Salesforce {
    /// This connection with the switches of one write.
    fn with(&self, options: &WriteOptions) -> Result<Cow<'_, Self>> {
        let mut client = Cow::Borrowed(self);
        for (name, value) in &options.native {
            client = Cow::Owned(match (name, value) {
                ("auto_assign", Value::String(rule)) => client.with_auto_assign(match rule.as_str() {
                    "default" => AutoAssign::Default,
                    "off" => AutoAssign::Off,
                    id => AutoAssign::Rule(id.to_owned()),
                })?,
                ("auto_assign", Value::Bool(on)) => client.with_auto_assign(if *on { AutoAssign::Default } else { AutoAssign::Off })?,
                ("allow_save", Value::Bool(allow)) => {
                    let rule = DuplicateRule { allow_save: *allow, ..client.config.duplicate_rule.unwrap_or_default() };
                    client.with_duplicate_rule(rule)?
                }
                _ => {
                    return Err(Error::config(
                        "an unknown native option, or a value it does not take; Salesforce has auto_assign and allow_save",
                    ));
                }
            });
        }
        Ok(client)
    }

    async fn run(&self, entity: &Entity, ops: &[BulkOp], run: &[usize]) -> Result<Vec<BulkOutcome>> {
        let ops: Vec<&BulkOp> = run.iter().filter_map(|at| ops.get(*at)).collect();
        let saved = match ops.first() {
            None => return Ok(Vec::new()),
            Some(BulkOp::Create { .. }) => {
                let rows: Vec<_> =
                    ops.iter().filter_map(|op| if let BulkOp::Create { fields } = op { Some((entity, fields)) } else { None }).collect();
                self.create_collection(&rows).await?
            }
            Some(BulkOp::Update { .. }) => {
                let rows: Vec<_> = ops
                    .iter()
                    .filter_map(|op| if let BulkOp::Update { id, fields } = op { Some((entity, id, fields)) } else { None })
                    .collect();
                self.update_collection(&rows).await?
            }
            Some(BulkOp::Upsert { key, .. }) => {
                let rows: Vec<_> =
                    ops.iter().filter_map(|op| if let BulkOp::Upsert { key, fields } = op { Some((key, fields)) } else { None }).collect();
                self.upsert_collection(entity, &key.field, &rows).await?
            }
            Some(BulkOp::Delete { .. }) => {
                let rows: Vec<_> = ops.iter().filter_map(|op| if let BulkOp::Delete { id } = op { Some(id) } else { None }).collect();
                let rows = self.delete_collection(&rows).await?;
                let gone = ops.iter().zip(rows).map(|(op, row)| match (op, row) {
                    // Gone already is deleted. The reference code is what a delete of an unknown id answers.
                    (BulkOp::Delete { id }, Err(error))
                        if error.kind() == ErrorKind::NotFound || error.code() == Some("INVALID_CROSS_REFERENCE_KEY") =>
                    {
                        Ok(SavedRow { id: ids::record_id(id.as_str()), created: None })
                    }
                    (_, row) => row,
                });
                gone.collect()
            }
        };
        let outcomes = ops.iter().zip(saved).map(|(op, row)| {
            row.map_err(|error| error.during(op.operation()).on(entity)).map(|row| match (op, row.created) {
                (BulkOp::Create { .. }, _) => Written::new(row.id).created(true),
                (BulkOp::Update { .. }, _) => Written::new(row.id).created(false),
                (_, Some(created)) => Written::new(row.id).created(created),
                (_, None) => Written::new(row.id),
            })
        });
        Ok(outcomes.collect())
    }

    async fn search_page(&self, query: &Query) -> Result<Page<Record>> {
        let mark = query.fingerprint();
        let headers = with_batch_size(&self.query_headers, query.page_size);
        let place = query.cursor.as_ref().map(|cursor| Place::read(cursor.as_str(), &mark)).transpose()?;
        // The pages of a query that fits into one request need nothing but their link.
        if let Some(Place { part: None, next, .. }) = &place {
            let page = self.fields_page(self.locator_path(next).await?, &headers).await?;
            let next = page.next.map(|next| Cursor::new(Place { part: None, left: None, next }.text(&mark)));
            return self.page_of(query, page.records, next, Some(page.total));
        }
        let parts = self.lower(query).await?.split(MAX_SEARCH)?;
        let count = parts.len();
        let mut place = place.unwrap_or(Place { part: Some((0, count)), left: query.limit, next: String::new() });
        loop {
            let (at, of) = place.part.unwrap_or((0, count));
            let Some(part) = parts.get(at).filter(|_| of == count) else {
                return Err(Error::config("the cursor belongs to another query, or the description has changed; start again"));
            };
            let path = if place.next.is_empty() {
                let part = match place.left {
                    Some(left) => part.clone().limit(left),
                    None => part.clone(),
                };
                self.query_path(&part.build()?, false)?
            } else {
                self.locator_path(&place.next).await?
            };
            let page = self.fields_page(path, &headers).await?;
            if count == 1 {
                let next = page.next.map(|next| Cursor::new(Place { part: None, left: None, next }.text(&mark)));
                return self.page_of(query, page.records, next, Some(page.total));
            }
            // The limit stands in each statement, so that only what whole parts answered is taken off.
            place.left = place.left.map(|left| left.saturating_sub(page.records.len() as u64));
            match page.next {
                Some(next) => place.next = next,
                None => {
                    place.next = String::new();
                    place.part = Some((at + 1, count));
                }
            }
            let over = place.part.is_some_and(|(at, _)| at >= count) || place.left == Some(0);
            if over || !page.records.is_empty() {
                let next = (!over).then(|| Cursor::new(place.text(&mark)));
                return self.page_of(query, page.records, next, None);
            }
        }
    }

    fn page_of(&self, query: &Query, rows: Vec<Fields>, next: Option<Cursor>, total: Option<u64>) -> Result<Page<Record>> {
        let records = rows.into_iter().map(|row| record(&query.entity, row, &query.select)).collect::<Result<Vec<_>>>()?;
        Ok(Page::new(records, next, total))
    }

    async fn lower(&self, query: &Query) -> Result<Soql> {
        let columns = self.columns(&query.entity, &query.select).await?;
        let mut soql = Soql::select(columns).from(query.entity.as_str()).filter(&query.filter);
        let schema = if unsure(&query.filter) { Some(self.schema(&query.entity).await?) } else { self.known_schema(&query.entity) };
        if let Some(schema) = schema {
            soql = soql.typed(&schema);
        }
        for order in &query.order {
            soql = soql.order_by(&order.field, order.descending);
        }
        if let Some(limit) = query.limit {
            soql = soql.limit(limit);
        }
        Ok(soql)
    }
}

/// Where a search stands; the text of a cursor.
struct Place {
    /// Which of how many statements, for a query whose lists do not fit into one request.
    part: Option<(usize, usize)>,
    /// Rows left of the query's limit, where there are several statements.
    left: Option<u64>,
    /// The link of the next page; empty at the start of a statement.
    next: String,
}

impl Place {
    fn text(&self, mark: &str) -> String {
        match self.part {
            None => format!("{mark} {}", self.next),
            Some((at, of)) => {
                let left = self.left.map_or_else(|| "-".to_owned(), |left| left.to_string());
                format!("{mark} +{at}/{of}/{left} {}", self.next)
            }
        }
    }

    fn read(text: &str, mark: &str) -> Result<Self> {
        let foreign = || Error::config("the cursor belongs to another query");
        let (_, rest) = text.split_once(' ').filter(|(of, _)| *of == mark).ok_or_else(foreign)?;
        let Some(rest) = rest.strip_prefix('+') else {
            return Ok(Self { part: None, left: None, next: rest.to_owned() });
        };
        let (place, next) = rest.split_once(' ').ok_or_else(foreign)?;
        let mut numbers = place.split('/');
        let mut number = || numbers.next().ok_or_else(foreign);
        let (at, of, left) = (number()?, number()?, number()?);
        let part = at.parse().ok().zip(of.parse().ok()).ok_or_else(foreign)?;
        let left = if left == "-" { None } else { Some(left.parse().map_err(|_| foreign())?) };
        Ok(Self { part: Some(part), left, next: next.to_owned() })
    }
}

/// True if the condition holds a value that only the description tells how to write.
fn unsure(criteria: &Criteria) -> bool {
    match criteria {
        Criteria::All(parts) | Criteria::Any(parts) => parts.iter().any(unsure),
        Criteria::Not(part) => unsure(part),
        Criteria::Compare { field, value, .. } => needs_type(field, value),
        Criteria::In { field, values } => values.iter().any(|value| needs_type(field, value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(id: &str) -> BulkOp {
        BulkOp::Update { id: RecordId::from(id), fields: Fields::new() }
    }

    #[test]
    fn bulk_groups_by_kind_and_keeps_the_order_per_record() {
        let create = || BulkOp::Create { fields: Fields::new() };
        let delete = |id: &str| BulkOp::Delete { id: RecordId::from(id) };
        assert_eq!(groups(&[create(), update("a"), create(), update("b")]), [vec![0, 2], vec![1, 3]]);
        assert_eq!(groups(&[update("a"), delete("a"), update("b")]), [vec![0, 2], vec![1]]);
        assert_eq!(groups(&[update("a"), update("a")]), [vec![0], vec![1]]);
        assert_eq!(groups(&[delete("b"), update("a"), delete("a"), update("b")]), [vec![0], vec![1, 3], vec![2]]);
        let upsert = |field: &str, value: &str| BulkOp::Upsert { key: ExternalKey::new(field, value).unwrap(), fields: Fields::new() };
        assert_eq!(groups(&[upsert("A__c", "1"), upsert("B__c", "1"), upsert("A__c", "2")]), [vec![0, 2], vec![1]]);
    }
}
