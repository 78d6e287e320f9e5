//! Pipelines and their stages. A stage is written by its id, which is not its label.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{Error, ErrorKind, Result};
use crate::hubspot::client::HubSpot;
use crate::hubspot::paths::segment;
use crate::model::Entity;
use crate::rest::Call;

/// A stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct Stage {
    /// Its id; what `dealstage` and `hs_pipeline_stage` hold.
    #[serde(skip_serializing)]
    pub id: String,
    /// What people see.
    pub label: String,
    /// Its place.
    pub display_order: i64,
    /// Texts: `probability` (`0.0` to `1.0`) of deals, `ticketState` (`OPEN`, `CLOSED`) of tickets.
    pub metadata: BTreeMap<String, String>,
    /// Deleted.
    #[serde(skip_serializing)]
    pub archived: bool,
}

impl Stage {
    /// A stage of a deal pipeline; `tenths` is the probability of winning, from 0 to 10.
    pub fn deal(label: impl Into<String>, tenths: u8) -> Self {
        let tenths = tenths.min(10);
        let metadata = BTreeMap::from([("probability".to_owned(), format!("{}.{}", tenths / 10, tenths % 10))]);
        Self { label: label.into(), metadata, ..Self::default() }
    }

    /// A stage of a ticket pipeline.
    pub fn ticket(label: impl Into<String>, closed: bool) -> Self {
        let state = if closed { "CLOSED" } else { "OPEN" };
        Self { label: label.into(), metadata: BTreeMap::from([("ticketState".to_owned(), state.to_owned())]), ..Self::default() }
    }
}

/// A pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct Pipeline {
    /// Its id (`default` for the first one of deals).
    #[serde(skip_serializing)]
    pub id: String,
    /// What people see.
    pub label: String,
    /// Its place.
    pub display_order: i64,
    /// Its stages.
    pub stages: Vec<Stage>,
    /// Deleted.
    #[serde(skip_serializing)]
    pub archived: bool,
}

impl Pipeline {
    /// A pipeline; stages are placed in the order given.
    pub fn new(label: impl Into<String>, stages: impl IntoIterator<Item = Stage>) -> Self {
        let stages = stages.into_iter().zip(0..).map(|(stage, display_order)| Stage { display_order, ..stage }).collect();
        Self { label: label.into(), stages, ..Self::default() }
    }

    /// The stage with this id or, if none has it, this label (without regard to case).
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        let by_id = self.stages.iter().find(|stage| stage.id == name);
        by_id.or_else(|| self.stages.iter().find(|stage| stage.label.eq_ignore_ascii_case(name)))
    }
}

#[derive(Deserialize)]
struct Pipelines {
    #[serde(default = "Vec::new")]
    results: Vec<Pipeline>,
}

impl HubSpot {
    /// The pipelines of deals, tickets or another object, with their stages.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn pipelines(&self, entity: &Entity) -> Result<Vec<Pipeline>> {
        let call = Call::get("pipelines", self.config.api_version.pipelines(entity.as_str()));
        let all: Pipelines = self.send(&call).await.and_then(|answer| answer.json()).map_err(|error| error.on(entity))?;
        Ok(all.results)
    }

    /// Makes the pipeline unless one has its label; one that is there gets the stages it lacks, by label, after its own, and
    /// loses none. Answers it as it is now. One request if nothing is missing; repeatable.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for more stages than HubSpot takes (100), or none; see [`HubSpot`].
    pub async fn ensure_pipeline(&self, entity: &Entity, wanted: &Pipeline) -> Result<Pipeline> {
        if wanted.label.is_empty() || wanted.stages.is_empty() || wanted.stages.len() > 100 {
            return Err(Error::config("a pipeline needs a label and 1 to 100 stages").during("provision").on(entity));
        }
        let base = self.config.api_version.pipelines(entity.as_str());
        let there = self.pipelines(entity).await?.into_iter().find(|known| known.label.eq_ignore_ascii_case(&wanted.label));
        let Some(mut there) = there else {
            let answer = self.send(&Call::post("provision", base).json(wanted)?).await;
            return answer.and_then(|answer| answer.json()).map_err(|error| error.on(entity));
        };
        let last = there.stages.iter().map(|stage| stage.display_order).max().unwrap_or(-1);
        let missing: Vec<Stage> = wanted.stages.iter().filter(|stage| there.stage(&stage.label).is_none()).cloned().collect();
        for (stage, display_order) in missing.into_iter().zip(last + 1..) {
            let path = format!("{base}/{}/stages", segment(&there.id));
            let call = Call::post("provision", path).json(&Stage { display_order, ..stage })?;
            let made: Stage = self.send(&call).await.and_then(|answer| answer.json()).map_err(|error| error.on(entity))?;
            there.stages.push(made);
        }
        Ok(there)
    }

    /// Changes label, place or texts of a stage.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn update_stage(&self, entity: &Entity, pipeline: &str, stage: &Stage) -> Result<Stage> {
        let base = self.config.api_version.pipelines(entity.as_str());
        let path = format!("{base}/{}/stages/{}", segment(pipeline), segment(&stage.id));
        let body = json!({ "label": stage.label, "displayOrder": stage.display_order, "metadata": stage.metadata });
        self.send(&Call::patch("provision", path).json(&body)?).await.and_then(|answer| answer.json()).map_err(|error| error.on(entity))
    }

    /// Deletes a stage that no record is in. One that is gone is success.
    ///
    /// # Errors
    /// See [`HubSpot`]; [`ErrorKind::Validation`] while records are in it.
    pub async fn delete_stage(&self, entity: &Entity, pipeline: &str, stage: &str) -> Result<()> {
        let base = self.config.api_version.pipelines(entity.as_str());
        self.gone(entity, format!("{base}/{}/stages/{}", segment(pipeline), segment(stage))).await
    }

    /// Deletes a pipeline that no record is in. One that is gone is success.
    ///
    /// # Errors
    /// See [`HubSpot`]; [`ErrorKind::Validation`] while records are in it.
    pub async fn delete_pipeline(&self, entity: &Entity, pipeline: &str) -> Result<()> {
        let base = self.config.api_version.pipelines(entity.as_str());
        // Versions before 2026-09 delete what is in use unless they are told to look.
        self.gone(entity, format!("{base}/{}?validateReferencesBeforeDelete=true", segment(pipeline))).await
    }

    async fn gone(&self, entity: &Entity, path: String) -> Result<()> {
        match self.send(&Call::delete("provision", path)).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.on(entity)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_found_by_id_before_label() {
        let mut pipeline = Pipeline::new("Sales", [Stage::deal("New", 1), Stage::deal("Won", 10)]);
        assert_eq!(pipeline.stages[1].display_order, 1);
        assert_eq!(pipeline.stages[1].metadata["probability"], "1.0");
        (pipeline.stages[0].id, pipeline.stages[1].id) = ("won".to_owned(), "17".to_owned());
        assert_eq!(pipeline.stage("won").unwrap().label, "New");
        assert_eq!(pipeline.stage("WON").unwrap().id, "17");
    }
}
