//! `/query`, `/queryAll` and the pages that follow.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::sandbox::call::{Reply, param};
use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::rest::Ctx;
use crate::sandbox::salesforce::soql::day;
use crate::sandbox::salesforce::soql::{self, Output, Pages, Plan, cursor_id, next_url};

/// Open result sets.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    open: BTreeMap<u64, Cursor>,
    next: u64,
}

#[derive(Clone, Debug)]
struct Cursor {
    plan: Arc<Plan>,
    ids: Arc<Vec<String>>,
    opened: Timestamp,
}

/// More than this and the oldest is closed.
const MOST_OPEN: usize = 50;

impl Salesforce {
    /// Runs `text`. `all` adds the recycle bin.
    pub(crate) fn query(&mut self, ctx: &Ctx, params: &[(String, String)], all: bool) -> Result<Reply, ApiError> {
        if param(params, "explain").is_some() {
            return self.explain(ctx, param(params, "explain").unwrap_or_default());
        }
        let text = param(params, "q").ok_or_else(|| ApiError::bad("MALFORMED_QUERY", "unexpected token: '<EOF>'"))?;
        let query = soql::parse(text)?;
        let scope = self.scope(&ctx.version, day(ctx.now));
        let plan = soql::plan(&query, text, &scope)?;
        match &plan.output {
            Output::Count => {
                let count = plan.count(&scope, all);
                Ok(Reply::ok(json!({"totalSize": count, "done": true, "records": []})))
            }
            Output::Groups(_) => {
                let records = plan.groups(&scope, all);
                if records.len() > 2000 {
                    return Err(ApiError::bad(
                        "EXCEEDED_ID_LIMIT",
                        "an aggregate query does not support queryMore(): use LIMIT to restrict the results",
                    ));
                }
                Ok(Reply::ok(json!({"totalSize": records.len(), "done": true, "records": records})))
            }
            Output::Rows(_) => {
                let ids = plan.ids(&scope, all);
                let cursor = Cursor { plan: Arc::new(plan), ids: Arc::new(ids), opened: ctx.now };
                self.cursors.next += 1;
                let number = self.cursors.next;
                self.page(ctx, number, &cursor, 0)
            }
        }
    }

    fn explain(&self, ctx: &Ctx, text: &str) -> Result<Reply, ApiError> {
        let query = soql::parse(text)?;
        let scope = self.scope(&ctx.version, day(ctx.now));
        let plan = soql::plan(&query, text, &scope)?;
        let rows = self.tables.rows(&plan.object.name).count();
        let plans = json!([{"cardinality": plan.count(&scope, false), "fields": [], "leadingOperationType": "TableScan", "notes": [],
                            "relativeCost": 1.0, "sobjectCardinality": rows, "sobjectType": plan.object.name}]);
        Ok(Reply::ok(json!({"plans": plans})))
    }

    /// The page that `locator` (`01g...-2000`) stands for.
    pub(crate) fn query_more(&mut self, ctx: &Ctx, locator: &str) -> Result<Reply, ApiError> {
        let bad = || ApiError::bad("INVALID_QUERY_LOCATOR", "invalid query locator");
        let (id, from) = locator.split_once('-').ok_or_else(bad)?;
        let from: usize = from.parse().map_err(|_| bad())?;
        let found = self.cursors.open.iter().find(|(number, _)| cursor_id(**number) == id);
        let (number, cursor) = found.map(|(number, cursor)| (*number, cursor.clone())).ok_or_else(bad)?;
        let age = ctx.now.duration_since(cursor.opened).as_secs();
        if age >= i64::try_from(self.options.locator_lifetime).unwrap_or(i64::MAX) {
            self.cursors.open.remove(&number);
            return Err(bad());
        }
        if from >= cursor.ids.len() {
            return Err(bad());
        }
        self.page(ctx, number, &cursor, from)
    }

    fn page(&mut self, ctx: &Ctx, number: u64, cursor: &Cursor, from: usize) -> Result<Reply, ApiError> {
        let mut size = ctx.batch_size()?;
        if cursor.plan.long_texts >= 2 {
            size = size.min(200);
        }
        if let Some(rows) = self.options.page_rows {
            size = size.min(rows.max(1));
        }
        let total = cursor.ids.len();
        let scope = self.scope(&ctx.version, day(ctx.now));
        let mut pages = Pages::new(size, self.cursors.next + 1);
        let (records, used) = cursor.plan.records(&scope, cursor.ids.get(from..).unwrap_or_default(), &mut pages);
        let to = from.saturating_add(used);
        for (child, plan, ids) in pages.opened {
            let cursor = Cursor { plan: Arc::new(plan), ids: Arc::new(ids), opened: ctx.now };
            self.cursors.open.insert(child, cursor);
            self.cursors.next = child;
        }
        let done = to >= total;
        let mut answer = json!({"totalSize": total, "done": done, "records": records});
        // The last page may be asked for again until the locator dies; a set of one page never had one.
        if !done {
            if let Value::Object(map) = &mut answer {
                map.insert("nextRecordsUrl".to_owned(), json!(next_url(&ctx.version, number, to)));
            }
            self.cursors.open.entry(number).or_insert_with(|| cursor.clone());
        }
        while self.cursors.open.len() > MOST_OPEN {
            // The set being read stays, however many children it opened.
            let Some(oldest) = self.cursors.open.keys().copied().find(|open| *open != number) else { break };
            self.cursors.open.remove(&oldest);
        }
        Ok(Reply::ok(answer))
    }
}

impl Plan {
    /// True if the query reads plain fields of one object, `Id` among them.
    pub(crate) fn is_flat(&self) -> bool {
        matches!(&self.output, Output::Rows(node) if node.is_flat())
    }
}
