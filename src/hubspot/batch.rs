//! Batches of 100: every input carries a trace id, and results are matched whatever their order.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::hubspot::client::HubSpot;
use crate::hubspot::entity::{CONTACTS, is};
use crate::hubspot::limits::BATCH_LIMIT;
use crate::hubspot::record::{HubSpotRecord, Listing};
use crate::hubspot::values::{Texts, text_of};
use crate::model::{Entity, Fields};
use crate::rest::Call;

/// One input of a write batch.
pub(super) struct Input<'a> {
    /// The record id, or the value of `property`.
    id: Option<&'a str>,
    property: Option<&'a str>,
    texts: Texts<'a>,
}

impl<'a> Input<'a> {
    pub(super) fn create(fields: &'a Fields) -> Result<Self> {
        Ok(Self { id: None, property: None, texts: Texts::new(fields)? })
    }

    pub(super) fn update(id: &'a str, fields: &'a Fields) -> Result<Self> {
        Ok(Self { id: Some(id), property: None, texts: Texts::new(fields)? })
    }

    pub(super) fn upsert(property: &'a str, value: &'a str, fields: &'a Fields) -> Result<Self> {
        Ok(Self { id: Some(value), property: Some(property), texts: Texts::new(fields)? })
    }

    /// True if `row` may be what this input made.
    fn fits(&self, row: &HubSpotRecord) -> bool {
        match (self.id, self.property) {
            (Some(value), Some(property)) => row.properties.text(property).is_some_and(|text| text.eq_ignore_ascii_case(value)),
            (Some(id), None) => id == row.id,
            (None, _) => {
                let same = |name: &str, value: &Value| {
                    let got = row.properties.text(name).unwrap_or_default();
                    text_of(name, value).is_ok_and(|sent| sent.eq_ignore_ascii_case(got))
                };
                !self.texts.fields().is_empty() && self.texts.fields().iter().all(|(name, value)| same(name, value))
            }
        }
    }
}

/// The inputs of one call, written straight into its body.
struct Inputs<'a> {
    inputs: &'a [Input<'a>],
    run: &'a [usize],
}

impl Serialize for Inputs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.run.len()))?;
        for (at, input) in self.run.iter().filter_map(|at| Some((*at, self.inputs.get(*at)?))) {
            list.serialize_element(&Body { input, at })?;
        }
        list.end()
    }
}

struct Body<'a> {
    input: &'a Input<'a>,
    at: usize,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(id) = self.input.id {
            map.serialize_entry("id", id)?;
        }
        if let Some(property) = &self.input.property {
            map.serialize_entry("idProperty", property)?;
        }
        map.serialize_entry("objectWriteTraceId", &format_args!("{TRACE}{}", self.at))?;
        map.serialize_entry("properties", &self.input.texts)?;
        map.end()
    }
}

const TRACE: &str = "row-";

/// The input a trace id names.
fn traced(trace: &str) -> Option<usize> {
    trace.strip_prefix(TRACE)?.parse().ok()
}

/// A refusal of the whole call that one bad input may have caused.
fn one_may_be_bad(error: &Error) -> bool {
    !error.may_have_applied()
        && matches!(error.kind(), ErrorKind::Validation | ErrorKind::NotFound | ErrorKind::Duplicate | ErrorKind::Conflict)
}

impl HubSpot {
    /// Carries out `verb` (`create`, `update`, `upsert`) for each input, in the order given. One request for each 100 inputs;
    /// more if an error does not say which input it is about: the batch is then halved until it does.
    pub(super) async fn batch(&self, entity: &Entity, verb: &'static str, inputs: &[Input<'_>]) -> Vec<Result<HubSpotRecord>> {
        let mut outcomes: Vec<Option<Result<HubSpotRecord>>> = inputs.iter().map(|_| None).collect();
        let all: Vec<usize> = (0..inputs.len()).collect();
        let mut work: Vec<Vec<usize>> = all.chunks(BATCH_LIMIT).rev().map(<[usize]>::to_vec).collect();
        while let Some(run) = work.pop() {
            match self.batch_call(entity, verb, inputs, &run).await {
                Err(error) if run.len() > 1 && one_may_be_bad(&error) => halve(&run, &mut work),
                Err(error) => run.iter().for_each(|at| put(&mut outcomes, *at, Err(error.echo().during(verb).on(entity)))),
                Ok(listing) => {
                    let (blame, stray) = attribute(listing, inputs, &run, &mut outcomes, verb, entity);
                    let missing: Vec<usize> = run.iter().copied().filter(|at| outcomes.get(*at).is_some_and(Option::is_none)).collect();
                    match blame {
                        // Everything that worked is accounted for, so what is missing was not done and may be sent again.
                        Some(_) if !stray && missing.len() > 1 => halve(&missing, &mut work),
                        Some(error) if !stray => missing.iter().for_each(|at| put(&mut outcomes, *at, Err(error.echo()))),
                        _ => missing.iter().for_each(|at| {
                            let error = Error::decode("hubspot's batch answer says nothing of this input");
                            put(&mut outcomes, *at, Err(error.ambiguous().during(verb).on(entity)));
                        }),
                    }
                }
            }
        }
        let done = inputs.iter().zip(&outcomes).filter_map(|(input, outcome)| match outcome {
            Some(Ok(row)) => Some((row.id.as_str(), input.texts.fields())),
            _ => None,
        });
        let done: Vec<(&str, &Fields)> = done.collect();
        self.mark(entity, &done).await;
        let missing = || Err(Error::internal("an input of a batch got no outcome").during(verb).on(entity));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }

    async fn batch_call(&self, entity: &Entity, verb: &'static str, inputs: &[Input<'_>], run: &[usize]) -> Result<Listing> {
        #[derive(Serialize)]
        struct Request<'a> {
            inputs: Inputs<'a>,
        }
        let body = Request { inputs: Inputs { inputs, run } };
        let call = Call::post(verb, format!("{}/batch/{verb}", self.objects(entity))).json(&body)?;
        self.send(&call).await?.json()
    }

    /// Makes the record that has `value` in the unique property `property`, or changes it. One request; repeatable.
    ///
    /// # Errors
    /// See [`HubSpot`]; [`ErrorKind::Unsupported`] for the emails of contacts, whose upsert would clear what `fields` leave out:
    /// use [`HubSpot::upsert_by_email`].
    pub async fn upsert_by(&self, entity: &Entity, property: &str, value: &str, fields: &Fields) -> Result<HubSpotRecord> {
        if property == "email" && is(entity, &CONTACTS) {
            let error = Error::unsupported("an upsert of contacts by email does not update partially; use upsert_by_email");
            return Err(error.during("upsert").on(entity));
        }
        let mut rows = self.batch(entity, "upsert", &[Input::upsert(property, value, fields)?]).await;
        rows.pop().unwrap_or_else(|| Err(Error::internal("an upsert got no outcome")))
    }

    /// The records with these ids, or with these values of `property`; those that do not exist are left out. The order is
    /// HubSpot's, not that of `ids`. One request for each 100.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn batch_read(
        &self,
        entity: &Entity,
        property: Option<&str>,
        ids: &[String],
        select: &[String],
    ) -> Result<Vec<HubSpotRecord>> {
        let mut rows = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(BATCH_LIMIT) {
            let inputs: Vec<Value> = chunk.iter().map(|id| json!({ "id": id })).collect();
            let mut body = json!({ "properties": select, "propertiesWithHistory": [], "inputs": inputs });
            if let (Some(property), Some(object)) = (property, body.as_object_mut()) {
                object.insert("idProperty".to_owned(), json!(property));
            }
            let call = Call::post("get", format!("{}/batch/read", self.objects(entity))).read_only().json(&body)?;
            let listing: Listing = self.send(&call).await.and_then(|answer| answer.json()).map_err(|error| error.on(entity))?;
            let errors = listing.errors.iter().map(|complaint| complaint.error(None));
            if let Some(error) = errors.into_iter().find(|error| error.kind() != ErrorKind::NotFound) {
                return Err(error.during("get").on(entity));
            }
            rows.extend(listing.results);
        }
        Ok(rows)
    }

    /// Puts records into the recycle bin, 100 for each request. All or nothing for each request.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn batch_archive(&self, entity: &Entity, ids: &[String]) -> Result<()> {
        for chunk in ids.chunks(BATCH_LIMIT) {
            let inputs: Vec<Value> = chunk.iter().map(|id| json!({ "id": id })).collect();
            let call = Call::post("delete", format!("{}/batch/archive", self.objects(entity))).json(&json!({ "inputs": inputs }))?;
            self.send(&call).await.map_err(|error| error.on(entity))?;
        }
        Ok(())
    }
}

fn halve(run: &[usize], work: &mut Vec<Vec<usize>>) {
    let (first, second) = run.split_at(run.len() / 2);
    work.extend([second.to_vec(), first.to_vec()]);
}

fn put(outcomes: &mut [Option<Result<HubSpotRecord>>], at: usize, outcome: Result<HubSpotRecord>) {
    if let Some(slot @ None) = outcomes.get_mut(at) {
        *slot = Some(outcome);
    }
}

/// Gives results and errors to their inputs. Answers an error that names no input, and whether a result fits none.
fn attribute(
    listing: Listing,
    inputs: &[Input<'_>],
    run: &[usize],
    outcomes: &mut [Option<Result<HubSpotRecord>>],
    verb: &'static str,
    entity: &Entity,
) -> (Option<Error>, bool) {
    let (mut blame, mut stray) = (None, false);
    let open = |outcomes: &[Option<Result<HubSpotRecord>>], at: &usize| outcomes.get(*at).is_some_and(Option::is_none);
    for row in listing.results {
        // A run is in the order of its inputs, halved or not.
        let found = row.object_write_trace_id.as_deref().and_then(traced).and_then(|at| run.get(run.binary_search(&at).ok()?));
        let found = found.or_else(|| run.iter().find(|at| open(outcomes, at) && inputs.get(**at).is_some_and(|input| input.fits(&row))));
        match found {
            Some(at) => put(outcomes, *at, Ok(row)),
            None => stray = true,
        }
    }
    for complaint in &listing.errors {
        let error = || complaint.error(None).during(verb).on(entity);
        let traces = complaint.context("objectWriteTraceId");
        let traces: Vec<usize> = traces.iter().filter_map(|trace| traced(trace)).collect();
        let mut named: Vec<usize> = run.iter().copied().filter(|at| traces.contains(at)).collect();
        if named.is_empty() {
            let mut ids = complaint.named_ids();
            ids.extend(complaint.context_texts());
            let is = |at: &usize| inputs.get(*at).and_then(|input| input.id).is_some_and(|id| ids.iter().any(|named| named == id));
            named = run.iter().copied().filter(is).collect();
        }
        if named.is_empty() {
            blame = Some(error());
        }
        for at in named {
            put(outcomes, at, Err(error()));
        }
    }
    (blame, stray)
}
