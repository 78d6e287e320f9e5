//! `/sobjects/{T}/updated` and `/deleted`, and `/limits`.

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::sandbox::call::{Reply, param};
use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::rest::Ctx;
use crate::sandbox::salesforce::validate::{canonical_datetime, stamp};

fn minute(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second().div_euclid(60) * 60).unwrap_or(at)
}

impl Salesforce {
    /// Ids that were changed or deleted in a window; seconds do not count.
    pub(crate) fn replicate(&self, ctx: &Ctx, name: &str, deleted: bool, params: &[(String, String)]) -> Result<Reply, ApiError> {
        let object = self.object(name)?;
        let bad = |message: &str| ApiError::bad("INVALID_REPLICATION_DATE", message);
        let read = |name: &str| {
            let text = param(params, name)
                .ok_or_else(|| ApiError::bad("REQUIRED_FIELD_MISSING", format!("Required parameter is missing: {name}")))?;
            let at = canonical_datetime(text).and_then(|text| Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text).ok());
            at.map(minute).ok_or_else(|| ApiError::bad("INVALID_REPLICATION_DATE", format!("{name} is not a date and time with a zone")))
        };
        let (start, end) = (read("start")?, read("end")?);
        if end.duration_since(start).as_secs() < 60 {
            return Err(bad("endDate must be at least one minute greater than startDate"));
        }
        let days = if deleted { 15 } else { 30 };
        let earliest = ctx.now.checked_sub((days * 24).hours()).unwrap_or(ctx.now);
        if start < earliest {
            let what = if deleted { "startDate before the recycle bin's window" } else { "startDate cannot be more than 30 days ago" };
            return Err(bad(what));
        }
        // What is still being committed may show up later; nothing is in this org.
        let covered = stamp(end.min(minute(ctx.now)));
        let (from, to) = (stamp(start), stamp(end));
        let rows = self.tables.rows(&object.name).filter(|(_, row)| {
            let changed = row.text("SystemModstamp").unwrap_or_default();
            row.deleted == deleted && changed >= from.as_str() && changed < to.as_str()
        });
        Ok(Reply::ok(if deleted {
            let found: Vec<Value> = rows.map(|(id, row)| json!({"id": id, "deletedDate": row.text("SystemModstamp")})).collect();
            json!({"deletedRecords": found, "earliestDateAvailable": stamp(minute(earliest)), "latestDateCovered": covered})
        } else {
            let found: Vec<&str> = rows.map(|(id, _)| id).collect();
            json!({"ids": found, "latestDateCovered": covered})
        }))
    }

    /// `GET /limits`.
    pub(crate) fn limits(&self) -> Reply {
        let left = |max: u64, used: u64| json!({"Max": max, "Remaining": max.saturating_sub(used)});
        let full = |max: u64| left(max, 0);
        let calls = left(self.options.daily_limit, self.usage.calls);
        Reply::ok(json!({
            "DailyApiRequests": calls, "DailyAsyncApexExecutions": full(250_000), "DailyBulkApiBatches": left(self.options.bulk.daily_batches, self.jobs.batches.calls),
            "DailyBulkV2QueryFileStorageMB": full(976_562), "DailyBulkV2QueryJobs": left(self.options.bulk.daily_query_jobs, self.jobs.queries.calls), "DailyDeliveredPlatformEvents": full(10_000),
            "DailyDurableStreamingApiEvents": full(10_000), "DailyStreamingApiEvents": full(10_000), "DataStorageMB": full(5),
            "FileStorageMB": full(20), "HourlyPublishedPlatformEvents": full(50_000), "MonthlyPlatformEventsUsageEntitlement": full(0),
            "PermissionSets": {"Max": 1500, "Remaining": 1500, "CreateCustom": full(1000)}, "StreamingApiConcurrentClients": full(20),
        }))
    }
}
