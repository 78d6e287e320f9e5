//! Sending requests made of several.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::model::RecordId;
use crate::rest::{Call, Dialect, Failure};
use crate::salesforce::client::Salesforce;
use crate::salesforce::composite::answer::{BatchAnswer, CompositeAnswer, GraphOutcome, GraphsAnswer, Part, judge, outcomes};
use crate::salesforce::composite::batch::Batch;
use crate::salesforce::composite::build::{Composite, Subrequest};
use crate::salesforce::composite::graph::Graphs;
use crate::salesforce::composite::tree::Tree;
use crate::salesforce::dialect::{Complaint, row_error};
use crate::salesforce::ids;

impl Salesforce {
    /// Sends a composite; an outcome for each part by its name, in order. One API call.
    ///
    /// # Errors
    /// See [`Salesforce`]; an error of the whole says nothing about the parts unless it
    /// [may have been applied](Error::may_have_applied).
    pub async fn composite(&self, composite: &Composite) -> Result<Vec<(String, Result<Part>)>> {
        composite.check()?;
        let mut body = json!({"allOrNone": composite.all_or_none, "compositeRequest": self.parts(&composite.parts)});
        if let (Some(collate), Some(body)) = (composite.collate, body.as_object_mut()) {
            body.insert("collateSubrequests".to_owned(), Value::Bool(collate));
        }
        let call = Call::post("composite", self.path("/composite")).json(&body)?;
        let call = if composite.parts.iter().all(|part| part.method == http::Method::GET) { call.read_only() } else { call };
        let answer = self.send(call, self.write_headers()).await?;
        let answered: CompositeAnswer = answer.json()?;
        let names = composite.parts.iter().map(|part| part.reference.clone());
        outcomes(self.rest.dialect(), names, answered.composite_response, composite.all_or_none)
    }

    /// Sends graphs; an outcome for each, in order. One API call.
    ///
    /// # Errors
    /// As [`Salesforce::composite`].
    pub async fn composite_graph(&self, graphs: &Graphs) -> Result<Vec<GraphOutcome>> {
        let list: Vec<Value> =
            graphs.graphs.iter().map(|(name, graph)| json!({"graphId": name, "compositeRequest": self.parts(&graph.parts)})).collect();
        if list.is_empty() {
            return Ok(Vec::new());
        }
        let call = Call::post("composite_graph", self.path("/composite/graph")).json(&json!({ "graphs": list }))?;
        let answered: GraphsAnswer = self.send(call, self.write_headers()).await?.json()?;
        let mut by_name: std::collections::BTreeMap<_, _> =
            answered.graphs.into_iter().map(|graph| (graph.graph_id.clone(), graph)).collect();
        let mut out = Vec::with_capacity(graphs.graphs.len());
        for (name, graph) in &graphs.graphs {
            let missing = || Error::decode("salesforce answered other graphs than were sent").during("composite_graph").ambiguous();
            let answer = by_name.remove(name).ok_or_else(missing)?;
            let names = graph.parts.iter().map(|part| part.reference.clone());
            let mut parts = outcomes(self.rest.dialect(), names, answer.graph_response.composite_response, true)?;
            if !answer.is_successful {
                for (_, outcome) in &mut parts {
                    if outcome.is_ok() {
                        *outcome = Err(row_error(&[Complaint::of("PROCESSING_HALTED")]));
                    }
                }
            }
            let saved = parts.iter().all(|(_, outcome)| outcome.is_ok());
            out.push(GraphOutcome { name: name.clone(), saved, parts });
        }
        Ok(out)
    }

    /// Sends a batch; an outcome for each part by its name, in order. As many API calls as it has parts.
    ///
    /// # Errors
    /// As [`Salesforce::composite`].
    pub async fn composite_batch(&self, batch: &Batch) -> Result<Vec<(String, Result<Part>)>> {
        let requests: Vec<Value> = batch
            .parts
            .parts
            .iter()
            .map(|part| {
                let mut request = Map::new();
                request.insert("method".to_owned(), json!(part.method.as_str()));
                request.insert("url".to_owned(), json!(format!("v{}{}", self.api_version(), part.tail)));
                if let Some(body) = &part.body {
                    request.insert("richInput".to_owned(), body.clone());
                }
                Value::Object(request)
            })
            .collect();
        let body = json!({"haltOnError": batch.halt, "batchRequests": requests});
        let call = Call::post("composite_batch", self.path("/composite/batch")).json(&body)?;
        let call = if batch.parts.parts.iter().all(|part| part.method == http::Method::GET) { call.read_only() } else { call };
        let answered: BatchAnswer = self.send(call, self.write_headers()).await?.json()?;
        if answered.results.len() != requests.len() {
            return Err(Error::decode("salesforce answered another number of parts than was sent").during("composite_batch").ambiguous());
        }
        let outcomes = batch.parts.parts.iter().zip(answered.results).map(|(part, result)| {
            let outcome = judge(self.rest.dialect(), result.status_code, result.result, None);
            (part.reference.clone(), outcome)
        });
        Ok(outcomes.collect())
    }

    /// Makes the records of a tree, all or none; an outcome for each by its reference, parents before children. One API call.
    ///
    /// # Errors
    /// As [`Salesforce::composite`].
    pub async fn create_tree(&self, tree: &Tree) -> Result<Vec<(String, Result<RecordId>)>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answered {
            has_errors: bool,
            results: Vec<Row>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Row {
            reference_id: String,
            #[serde(default)]
            id: Option<String>,
            #[serde(default)]
            errors: Vec<Complaint>,
        }
        let path = self.path(&format!("/composite/tree/{}", tree.entity));
        let call = Call::post("create_tree", path).json(&tree.body)?.accept(StatusCode::BAD_REQUEST);
        let answer = self.send_on(call, self.write_headers(), &tree.entity).await?;
        let answered: Answered = match answer.json() {
            Ok(answered) => answered,
            Err(_) if answer.status() == StatusCode::BAD_REQUEST => {
                let failure = Failure { status: answer.status(), headers: answer.headers(), body: answer.bytes() };
                return Err(self.rest.dialect().classify(failure).during("create_tree").on(&tree.entity));
            }
            Err(error) => return Err(error.on(&tree.entity)),
        };
        let mut rows: std::collections::BTreeMap<_, _> = answered.results.into_iter().map(|row| (row.reference_id.clone(), row)).collect();
        let mut out = Vec::with_capacity(tree.references.len());
        for reference in &tree.references {
            let outcome = match rows.remove(reference) {
                Some(row) if !row.errors.is_empty() => Err(row_error(&row.errors)),
                _ if answered.has_errors => Err(row_error(&[Complaint::of("ALL_OR_NONE_OPERATION_ROLLED_BACK")])),
                Some(Row { id: Some(id), .. }) => Ok(ids::record_id(&id)),
                _ => {
                    let error = Error::decode("salesforce made a tree and did not say every record's id");
                    return Err(error.during("create_tree").on(&tree.entity).ambiguous());
                }
            };
            out.push((reference.clone(), outcome));
        }
        Ok(out)
    }

    fn parts(&self, parts: &[Subrequest]) -> Vec<Value> {
        let headers: Map<String, Value> = self
            .write_headers()
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), Value::String(value.to_str().ok()?.to_owned()))))
            .collect();
        let part = |part: &Subrequest| {
            let mut request = Map::new();
            request.insert("method".to_owned(), json!(part.method.as_str()));
            request.insert("url".to_owned(), json!(self.path(&part.tail)));
            request.insert("referenceId".to_owned(), json!(part.reference));
            if let Some(body) = &part.body {
                request.insert("body".to_owned(), body.clone());
                // Rules of assignment and duplicates are said for each part; a part with headers is not collated.
                if !headers.is_empty() {
                    request.insert("httpHeaders".to_owned(), Value::Object(headers.clone()));
                }
            }
            Value::Object(request)
        };
        parts.iter().map(part).collect()
    }
}
