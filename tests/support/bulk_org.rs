//! An org in miniature that knows Bulk API 2.0 alone, and fails as told. Written from the Bulk API 2.0 Developer Guide.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, like the tests"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use crm_sync::http::{Body, HttpError, HttpErrorKind, HttpTransport};
use crm_sync::salesforce::bulk::JobState;
use futures_util::StreamExt;
use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Job creations answer TOO_MANY_JOBS so often.
    Busy(u32),
    /// Result pages break off so often.
    CutPages(u32),
    /// A start arrives, its answer does not.
    DropStart,
    /// An upload breaks.
    DropUpload,
    /// Rows with these keys stand in no file.
    Forget(Vec<String>),
    /// Rows with these keys are locked, once.
    LockRows(Vec<String>),
    /// The job fails before any row.
    RefuseFile(&'static str),
    /// The job is at work for so many looks.
    SlowBy(u32),
    /// The job fails after so many rows.
    StopAfter(usize),
    /// So many looks answer 503.
    Unavailable(u32),
}

#[derive(Debug)]
struct Job {
    id: String,
    kind: &'static str,
    spec: Value,
    state: JobState,
    file: Vec<u8>,
    message: Option<&'static str>,
    looks: u32,
    saved: String,
    failed: String,
    unprocessed: String,
    processed: usize,
    failures: usize,
}

#[derive(Debug, Default)]
struct World {
    jobs: Vec<Job>,
    faults: Vec<Fault>,
    rows: BTreeMap<String, Value>,
    inserted: usize,
    sizes: Vec<usize>,
    held: BTreeMap<String, Vec<String>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct BulkOrg {
    world: Arc<Mutex<World>>,
}

impl BulkOrg {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.world.lock().unwrap().faults.push(fault);
    }

    /// Lines a query of `object` gives, below `"Id","Name"`.
    pub(crate) fn hold(&self, object: &str, lines: Vec<String>) {
        self.world.lock().unwrap().held.insert(object.to_owned(), lines);
    }

    /// Stored cells by key (the column `Ext__c`).
    pub(crate) fn rows(&self) -> BTreeMap<String, Value> {
        self.world.lock().unwrap().rows.clone()
    }

    pub(crate) fn inserted(&self) -> usize {
        self.world.lock().unwrap().inserted
    }

    pub(crate) fn upload_sizes(&self) -> Vec<usize> {
        self.world.lock().unwrap().sizes.clone()
    }

    pub(crate) fn states(&self) -> Vec<JobState> {
        self.world.lock().unwrap().jobs.iter().map(|job| job.state).collect()
    }

    pub(crate) fn job_id(&self, at: usize) -> String {
        self.world.lock().unwrap().jobs[at].id.clone()
    }
}

impl World {
    fn take<T>(&mut self, wanted: impl Fn(&mut Fault) -> Option<(T, bool)>) -> Option<T> {
        for at in 0..self.faults.len() {
            if let Some((value, spent)) = wanted(&mut self.faults[at]) {
                if spent {
                    self.faults.remove(at);
                }
                return Some(value);
            }
        }
        None
    }

    fn counted(&mut self, of: impl Fn(&mut Fault) -> Option<&mut u32>) -> bool {
        self.take(|fault| {
            let left = of(fault)?;
            *left -= 1;
            Some(((), *left == 0))
        })
        .is_some()
    }
}

fn answer(status: u16, kind: &str, body: impl Into<Bytes>) -> http::Response<Bytes> {
    http::Response::builder().status(status).header("content-type", kind).body(body.into()).unwrap()
}

fn tell(value: &Value) -> http::Response<Bytes> {
    answer(200, "application/json", value.to_string())
}

fn complain(status: u16, code: &str) -> http::Response<Bytes> {
    answer(status, "application/json", json!([{"errorCode": code, "message": "as told"}]).to_string())
}

impl Job {
    fn info(&self) -> Value {
        let mut info = self.spec.clone();
        info["id"] = json!(self.id);
        info["state"] = serde_json::to_value(self.state).unwrap();
        info["apiVersion"] = json!(68.0);
        info["jobType"] = json!(if self.kind == "ingest" { "V2Ingest" } else { "V2Query" });
        info["numberRecordsProcessed"] = json!(self.processed);
        info["numberRecordsFailed"] = json!(self.failures);
        if let Some(message) = self.message {
            info["errorMessage"] = json!(message);
        }
        info
    }

    fn delimiter(&self) -> u8 {
        match self.spec["columnDelimiter"].as_str().unwrap() {
            "TAB" => b'\t',
            "BACKQUOTE" => b'`',
            _ => b',',
        }
    }
}

#[async_trait]
impl HttpTransport for BulkOrg {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
        // A real org answers later than at once.
        let mut yielded = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut yielded, true) {
                return std::task::Poll::Ready(());
            }
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
        let mut world = self.world.lock().unwrap();
        let cut = request.uri().path().ends_with("/results")
            && world.counted(|fault| if let Fault::CutPages(n) = fault { Some(n) } else { None });
        let answer = world.answer(&request)?;
        Ok(answer.map(|body| {
            let mut pieces: Vec<Result<Bytes, HttpError>> = body.chunks(97).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            if cut {
                pieces.truncate(pieces.len() / 2);
                pieces.push(Err(HttpError::new(HttpErrorKind::Body, "the answer broke off")));
            }
            Body::from_stream(futures_util::stream::iter(pieces).boxed())
        }))
    }
}

impl World {
    fn answer(&mut self, request: &http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        assert_eq!(request.headers()["authorization"], "Bearer T");
        let path = request.uri().path().strip_prefix("/services/data/v68.0/jobs/").unwrap_or_else(|| panic!("{}", request.uri()));
        let query = request.uri().query().unwrap_or_default();
        let parameter =
            |name: &str| url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let body = request.body();
        let verb = request.method().as_str();
        if let (["ingest" | "query"], "POST") = (parts.as_slice(), verb) {
            if self.counted(|fault| if let Fault::Busy(n) = fault { Some(n) } else { None }) {
                return Ok(complain(400, "TOO_MANY_JOBS"));
            }
            let mut spec: Value = serde_json::from_slice(body).unwrap();
            let ingest = parts[0] == "ingest";
            if let Some(soql) = spec.as_object_mut().unwrap().remove("query") {
                spec["object"] = json!(soql.as_str().unwrap().rsplit(' ').next().unwrap());
            }
            let id = format!("750{:015}", self.jobs.len());
            let state = if ingest { JobState::Open } else { JobState::UploadComplete };
            let kind = if ingest { "ingest" } else { "query" };
            let none = String::new;
            let job = Job {
                id,
                kind,
                spec,
                state,
                file: Vec::new(),
                message: None,
                looks: 0,
                saved: none(),
                failed: none(),
                unprocessed: none(),
                processed: 0,
                failures: 0,
            };
            let info = job.info();
            self.jobs.push(job);
            return Ok(tell(&info));
        }
        if let ([kind @ ("ingest" | "query")], "GET") = (parts.as_slice(), verb) {
            let all: Vec<Value> = self.jobs.iter().filter(|job| job.kind == *kind).map(Job::info).collect();
            let start: usize = parameter("queryLocator").map_or(0, |at| at.parse().unwrap());
            let next = (start + 2 < all.len()).then(|| format!("/services/data/v68.0/jobs/{kind}?queryLocator={}", start + 2));
            let mut records: Vec<Value> = all.into_iter().skip(start).take(2).collect();
            if start == 0 && *kind == "ingest" {
                records.push(json!({"id": "750000000000999", "state": "Closed", "jobType": "Classic", "apiVersion": "57.0"}));
            }
            return Ok(tell(&json!({"done": next.is_none(), "records": records, "nextRecordsUrl": next})));
        }
        let Some(at) = self.jobs.iter().position(|job| job.id == parts[1]) else { return Ok(complain(404, "NOT_FOUND")) };
        match (&parts[2..], verb) {
            ([], "GET") => {
                if self.counted(|fault| if let Fault::Unavailable(n) = fault { Some(n) } else { None }) {
                    return Ok(complain(503, "SERVER_UNAVAILABLE"));
                }
                self.work(at);
                Ok(tell(&self.jobs[at].info()))
            }
            ([], "DELETE") => {
                self.jobs.remove(at);
                Ok(answer(204, "application/json", ""))
            }
            ([], "PATCH") => {
                let to: Value = serde_json::from_slice(body).unwrap();
                let to: JobState = serde_json::from_value(to["state"].clone()).unwrap();
                let job = &mut self.jobs[at];
                let allowed = match to {
                    JobState::UploadComplete => job.state == JobState::Open,
                    _ => !job.state.is_terminal(),
                };
                if !allowed {
                    return Ok(complain(400, "INVALIDJOBSTATE"));
                }
                job.state = to;
                let info = json!({"id": job.id, "state": job.state, "apiVersion": 68.0});
                let lost = self.take(|fault| matches!(fault, Fault::DropStart).then_some(((), true)));
                match (to, lost) {
                    (JobState::UploadComplete, Some(())) => Err(HttpError::new(HttpErrorKind::Sent, "broke")),
                    _ => Ok(tell(&info)),
                }
            }
            (["batches"], "PUT") => {
                assert_eq!(request.headers()["content-type"], "text/csv");
                if self.take(|fault| matches!(fault, Fault::DropUpload).then_some(((), true))).is_some() {
                    return Err(HttpError::new(HttpErrorKind::Sent, "broke"));
                }
                assert!(self.jobs[at].file.is_empty(), "one upload a job");
                self.jobs[at].file = body.to_vec();
                self.sizes.push(body.len());
                Ok(answer(201, "text/csv", ""))
            }
            (["successfulResults"], "GET") => Ok(answer(200, "text/csv", self.jobs[at].saved.clone())),
            (["failedResults"], "GET") => Ok(answer(200, "text/csv", self.jobs[at].failed.clone())),
            (["unprocessedrecords"], "GET") => Ok(answer(200, "text/csv", self.jobs[at].unprocessed.clone())),
            (["results"], "GET") => {
                let lines = &self.held[self.jobs[at].spec["object"].as_str().unwrap()];
                let most: usize = parameter("maxRecords").map_or(250, |most| most.parse().unwrap());
                let start: usize = parameter("locator").map_or(0, |at| at.parse().unwrap());
                let page: Vec<&str> = lines.iter().skip(start).take(most).map(String::as_str).collect();
                let next = start + page.len();
                let mut answer = answer(200, "text/csv", format!("\"Id\",\"Name\"\n{}\n", page.join("\n")));
                let headers = answer.headers_mut();
                headers.insert("sforce-numberofrecords", page.len().to_string().parse().unwrap());
                headers
                    .insert("sforce-locator", if next < lines.len() { next.to_string().parse().unwrap() } else { "null".parse().unwrap() });
                Ok(answer)
            }
            (["resultPages"], "GET") => {
                let rows = self.held[self.jobs[at].spec["object"].as_str().unwrap()].len();
                let id = &self.jobs[at].id;
                let start: usize = parameter("locator").map_or(0, |at| at.parse().unwrap());
                let url = |at: usize| format!("/services/data/v68.0/jobs/query/{id}/results?locator={at}");
                let pages: Vec<Value> = (start..rows).step_by(250).take(2).map(|at| json!({"resultUrl": url(at)})).collect();
                let next = start + 500;
                let link = (next < rows).then(|| format!("/services/data/v68.0/jobs/query/{id}/resultPages?locator={next}"));
                Ok(tell(&json!({"resultPages": pages, "nextRecordsUrl": link, "done": link.is_none()})))
            }
            _ => panic!("{verb} {path}"),
        }
    }

    /// One look's worth of work.
    fn work(&mut self, at: usize) {
        if !matches!(self.jobs[at].state, JobState::UploadComplete | JobState::InProgress) {
            return;
        }
        let slow = self.faults.iter().find_map(|fault| if let Fault::SlowBy(n) = fault { Some(*n) } else { None }).unwrap_or(1);
        self.jobs[at].looks += 1;
        self.jobs[at].state = JobState::InProgress;
        if self.jobs[at].looks <= slow {
            return;
        }
        if let Some(message) = self.take(|fault| if let Fault::RefuseFile(message) = fault { Some((*message, true)) } else { None }) {
            self.jobs[at].message = Some(message);
            self.jobs[at].state = JobState::Failed;
            return;
        }
        self.jobs[at].state = JobState::JobComplete;
        if self.jobs[at].kind == "query" {
            return;
        }
        let locked =
            self.take(|fault| if let Fault::LockRows(keys) = fault { Some((keys.clone(), true)) } else { None }).unwrap_or_default();
        let forgotten =
            self.take(|fault| if let Fault::Forget(keys) = fault { Some((keys.clone(), true)) } else { None }).unwrap_or_default();
        let stop = self.take(|fault| if let Fault::StopAfter(n) = fault { Some((*n, true)) } else { None }).unwrap_or(usize::MAX);
        let job = &mut self.jobs[at];
        let delimiter = job.delimiter();
        let file = std::mem::take(&mut job.file);
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(&file[..]);
        let header = reader.headers().unwrap().clone();
        let key = header.iter().position(|name| name == "Ext__c");
        let writer = |extra: &[&str], quoted: bool| {
            let mut out = Vec::new();
            // The names of the sender's own columns stand unquoted.
            let line = |cells: Vec<String>| cells.join(std::str::from_utf8(&[delimiter]).unwrap());
            let own: Vec<String> = extra.iter().map(|name| if quoted { format!("\"{name}\"") } else { (*name).to_owned() }).collect();
            out.extend_from_slice(line(own.into_iter().chain(header.iter().map(ToOwned::to_owned)).collect()).as_bytes());
            out.push(b'\n');
            out
        };
        let mut saved = writer(&["sf__Id", "sf__Created"], true);
        let mut failed = writer(&["sf__Id", "sf__Error"], true);
        let mut unprocessed = writer(&[], true);
        let put = |out: &mut Vec<u8>, cells: Vec<&str>| {
            let mut writer = csv::WriterBuilder::new().delimiter(delimiter).quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
            writer.write_record(cells).unwrap();
            out.extend_from_slice(&writer.into_inner().unwrap());
        };
        let mut records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let unreached = records.split_off(stop.min(records.len()));
        // Any order.
        records.reverse();
        let turn = records.len() / 3;
        records.rotate_left(turn);
        for (n, record) in records.iter().enumerate() {
            let name = key.and_then(|key| record.get(key)).unwrap_or_default().to_owned();
            if forgotten.contains(&name) {
                continue;
            }
            job.processed += 1;
            if locked.contains(&name) {
                job.failures += 1;
                let mut cells = vec!["", "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record:--"];
                cells.extend(record.iter());
                put(&mut failed, cells);
                continue;
            }
            self.inserted += 1;
            let id = format!("00Q{n:015}");
            let mut cells = vec![id.as_str(), "true"];
            cells.extend(record.iter());
            put(&mut saved, cells);
            let row: Value =
                header.iter().zip(record).map(|(name, cell)| (name.to_owned(), json!(cell))).collect::<serde_json::Map<_, _>>().into();
            self.rows.insert(name, row);
        }
        for record in &unreached {
            put(&mut unprocessed, record.iter().collect());
        }
        if !unreached.is_empty() {
            job.state = JobState::Failed;
            job.message = Some("TooManyLockFailure : as told");
        }
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (job.saved, job.failed, job.unprocessed) = (text(saved), text(failed), text(unprocessed));
    }
}
