//! Pipelines, stages, activity types and labels of leads by name; read whole, kept for a while.
//!
//! Their ids are other ones in every account, and neither list tells what changed in it.

use std::sync::{Arc, PoisonError};

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::pipedrive::client::{Entries, Pipedrive};
use crate::pipedrive::config::StageRef;
use crate::pipedrive::list::ListQuery;
use crate::pipedrive::resource::Kind;
use crate::pipedrive::schema::UNKNOWN_AFTER;

/// Where a deal goes: a stage and the pipeline it belongs to, both, so that they agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The pipeline.
    pub pipeline_id: i64,
    /// The stage.
    pub stage_id: i64,
}

pub(crate) fn named<'a>(rows: &'a [Map<String, Value>], members: &[&str], name: &str) -> Vec<&'a Map<String, Value>> {
    let live = |row: &&Map<String, Value>| {
        row.get("is_deleted").and_then(Value::as_bool) != Some(true) && row.get("active_flag").and_then(Value::as_bool) != Some(false)
    };
    let same = |row: &&Map<String, Value>, exact: bool| {
        members.iter().filter_map(|member| row.get(*member)?.as_str()).any(|text| {
            let (text, name) = (text.trim(), name.trim());
            if exact { text == name } else { text.to_lowercase() == name.to_lowercase() }
        })
    };
    let hits: Vec<_> = rows.iter().filter(live).filter(|row| same(row, true)).collect();
    if hits.is_empty() { rows.iter().filter(live).filter(|row| same(row, false)).collect() } else { hits }
}

fn whole(row: &Map<String, Value>, member: &str) -> Option<i64> {
    row.get(member)?.as_i64()
}

impl Pipedrive {
    /// A whole list, at most once in the time descriptions are believed.
    pub(crate) async fn entries(&self, kind: Kind) -> Result<Entries> {
        self.entries_not_older(kind, self.config.settings.ttl()).await
    }

    /// The list again, unless it is fresh: a name in it is not known.
    pub(crate) async fn fresh_entries(&self, kind: Kind) -> Result<Entries> {
        self.entries_not_older(kind, UNKNOWN_AFTER).await
    }

    async fn entries_not_older(&self, kind: Kind, age: std::time::Duration) -> Result<Entries> {
        let now = self.host.monotonic();
        let known = self.catalog.lock().unwrap_or_else(PoisonError::into_inner).get(&kind).cloned();
        if let Some((at, entries)) = known
            && now.saturating_sub(at) < age
        {
            return Ok(entries);
        }
        let mut query = ListQuery::new().limit(500);
        let mut entries = Vec::new();
        loop {
            let page = self.list_rows(kind, &query).await?;
            entries.extend(page.rows);
            match page.next {
                Some(next) => query = query.after(next),
                None => break,
            }
        }
        let entries = Arc::new(entries);
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner).insert(kind, (now, Arc::clone(&entries)));
        Ok(entries)
    }

    /// Forgets pipelines, stages, activity types and labels of leads: somebody has changed them.
    pub fn forget_names(&self) {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The place of a stage, by the host's name of it, its own name, or its id; in the configured pipeline unless another is
    /// named. One list of pipelines and one of stages, if they are not known.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there is no such pipeline or stage, or several have the name; and for `won` and `lost`, which
    /// are statuses: a deal that is won keeps its stage.
    pub async fn place(&self, stage: &str, pipeline: Option<&str>) -> Result<Place> {
        if matches!(stage.trim().to_ascii_lowercase().as_str(), "won" | "lost") {
            return Err(Error::config("won and lost are statuses of a deal, not stages: set `status`"));
        }
        let settings = &self.config.settings.pipeline;
        let pipeline_id =
            match (pipeline.or(settings.default_pipeline.as_deref().filter(|_| settings.default_pipeline_id.is_none())), settings) {
                (Some(name), _) => Some(self.pipeline(name).await?),
                (None, settings) => settings.default_pipeline_id,
            };
        let told = settings.stages.get(stage).cloned().unwrap_or_else(|| StageRef::Name(stage.to_owned()));
        let stages = self.entries(Kind::Stage).await?;
        let hits: Vec<&Map<String, Value>> = match &told {
            StageRef::Id(id) => stages.iter().filter(|row| whole(row, "id") == Some(*id)).collect(),
            StageRef::Name(name) => {
                let hits = named(&stages, &["name"], name);
                // A stage name is usual in several pipelines.
                hits.into_iter().filter(|row| pipeline_id.is_none_or(|id| whole(row, "pipeline_id") == Some(id))).collect()
            }
        };
        let [row] = hits.as_slice() else {
            let what = if hits.is_empty() { "has no stage" } else { "has several stages" };
            return Err(Error::config(format!("the account {what} named {stage:?} in this pipeline; configure its id")));
        };
        let (Some(stage_id), Some(own)) = (whole(row, "id"), whole(row, "pipeline_id")) else {
            return Err(Error::decode("a stage came without its id or pipeline"));
        };
        if pipeline_id.is_some_and(|id| id != own) {
            return Err(Error::config(format!("the stage {stage:?} belongs to another pipeline than the configured one")));
        }
        Ok(Place { pipeline_id: own, stage_id })
    }

    async fn pipeline(&self, name: &str) -> Result<i64> {
        let rows = self.entries(Kind::Pipeline).await?;
        match named(&rows, &["name"], name).as_slice() {
            [row] => whole(row, "id").ok_or_else(|| Error::decode("a pipeline came without its id")),
            [] => Err(Error::config(format!("the account has no pipeline named {name:?}"))),
            _ => Err(Error::config(format!("the account has several pipelines named {name:?}; configure its id"))),
        }
    }

    /// The key of an activity type, by key or name. One list, if it is not known.
    ///
    /// # Errors
    /// [`ErrorKind::Validation`] if the account has no such type: it may have been renamed or switched off.
    pub async fn activity_type(&self, name: &str) -> Result<String> {
        let rows = self.entries(Kind::ActivityType).await?;
        let hits = named(&rows, &["key_string", "name"], name);
        let key = hits.first().and_then(|row| row.get("key_string")).and_then(Value::as_str);
        key.map(str::to_owned).ok_or_else(|| {
            let known: Vec<&str> = rows.iter().filter_map(|row| row.get("key_string")?.as_str()).take(12).collect();
            Error::new(ErrorKind::Validation, format!("the account has no activity type {name:?}; it has {}", known.join(", ")))
        })
    }
}
