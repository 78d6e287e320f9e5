//! How much memory does a bulk job of a million rows take?
//!
//! `cargo bench --bench bulk [-- --rows N]`. The org is a loopback server in a process of its own, so that its memory is not ours; it
//! answers at once, so that the numbers are the client's alone. Peak memory is `VmHWM` of `/proc/self/status`, set back between the
//! two parts; where that file does not exist only the speed is told.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench that fails should stop"
)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crm_sync::host::Host;
use crm_sync::http::ReqwestTransport;
use crm_sync::model::{Fields, Shape};
use crm_sync::salesforce::bulk::{Bulk, IngestEvent, IngestOperation, Polling, RowResult};
use crm_sync::salesforce::{Salesforce, SalesforceConfig, entity};
use futures_util::{StreamExt, TryStreamExt, stream};
use secrecy::SecretString;
use serde_json::{Value, json};

/// What the whole program may take.
const LIMIT_KIB: u64 = 64 * 1024;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "--serve") {
        serve();
    }
    // `cargo test --benches` only wants to know that it runs.
    let default = if args.iter().any(|arg| arg == "--bench") { 1_000_000 } else { 20_000 };
    let rows = args.iter().position(|arg| arg == "--rows").map_or(default, |at| args[at + 1].parse().expect("--rows takes a number"));
    let mut child = Command::new(std::env::current_exe().unwrap()).arg("--serve").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let org = Org { child, url: format!("http://127.0.0.1:{}", line.trim()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = SalesforceConfig::with_access_token(org.url.as_str(), SecretString::from("T"));
    let client = Salesforce::new(config, Arc::new(ReqwestTransport::loopback().unwrap()), Host::tokio()).unwrap();
    let fine = runtime.block_on(async {
        let ingest = measured("ingest", rows, ingest(&client.bulk(), rows)).await;
        let query = measured("query", rows, query(&client.bulk(), rows)).await;
        ingest && query
    });
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Org {
    child: Child,
    url: String,
}

impl Drop for Org {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

async fn measured(name: &str, rows: u64, work: impl Future<Output = String>) -> bool {
    // Sets the peak back (proc(5), "clear_refs").
    std::fs::write("/proc/self/clear_refs", "5").ok();
    let start = Instant::now();
    let told = work.await;
    let took = start.elapsed();
    let peak = peak_kib();
    let speed = rows as f64 / took.as_secs_f64();
    let memory = peak.map_or("unknown".to_owned(), |kib| format!("{:.1} MiB", kib as f64 / 1024.0));
    println!("{name:<7} {rows} rows  {:>6.1} s  {speed:>9.0} rows/s  peak RSS {memory}  ({told})", took.as_secs_f64());
    peak.is_none_or(|kib| kib < LIMIT_KIB)
}

fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().trim_end_matches(" kB").parse().ok()
}

fn quick() -> Polling {
    Polling::new().between(Duration::from_millis(1), Duration::from_millis(50))
}

async fn ingest(bulk: &Bulk, count: u64) -> String {
    let shape = Shape::new(["Company", "Email", "Ext__c", "FirstName", "LastName", "LeadSource", "Score__c", "Title"]);
    let rows = stream::iter(0..count).map(move |n| {
        let texts = |text: String| Some(Value::from(text));
        let values = vec![
            texts(format!("Analytical Engines, {}", n % 97)),
            texts(format!("ada.{n}@example.com")),
            texts(format!("k{n}")),
            texts("Ada".to_owned()),
            texts(format!("Lovelace \"{n}\"")),
            texts("Web".to_owned()),
            Some(Value::from(n % 100)),
            Some(Value::Null),
        ];
        Fields::from_values(Arc::clone(&shape), values)
    });
    let mut events = bulk.ingest(&entity::LEAD, IngestOperation::upsert("Ext__c")).polling(quick()).run(rows);
    let (mut saved, mut jobs) = (0, 0);
    while let Some(event) = events.try_next().await.unwrap() {
        match event {
            IngestEvent::Row(row) => {
                assert!(matches!(row.result, RowResult::Saved { .. }));
                saved += 1;
            }
            IngestEvent::Finished(report) => {
                assert!(report.is_complete());
                jobs += 1;
            }
            _ => {}
        }
    }
    assert_eq!(saved, count, "every row has its outcome");
    format!("{jobs} jobs, every row has one outcome")
}

async fn query(bulk: &Bulk, count: u64) -> String {
    let job = bulk.query(&format!("SELECT Id, Email, LastName, Company, Title, LeadSource FROM Lead LIMIT {count}")).await.unwrap();
    let job = job.polling(quick()).untyped();
    job.wait().await.unwrap();
    let mut rows = job.rows();
    let mut read = 0;
    while let Some(row) = rows.try_next().await.unwrap() {
        assert!(row.text("LastName").is_some_and(|name| name.starts_with("Lovelace")));
        read += 1;
    }
    assert_eq!(read, count, "every row has come");
    format!("pages of {PAGE} rows")
}

/// The client's own page.
const PAGE: u64 = 50_000;

// ---- the org --------------------------------------------------------------------------------------------------------------

type Files = Arc<Mutex<HashMap<String, Vec<u8>>>>;

fn serve() -> ! {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    std::io::stdout().flush().unwrap();
    let files = Files::default();
    loop {
        let (socket, _) = listener.accept().unwrap();
        let files = Arc::clone(&files);
        std::thread::spawn(move || talk(&socket, &files));
    }
}

/// One connection, until the client leaves.
fn talk(socket: &TcpStream, files: &Files) {
    let mut input = BufReader::new(socket);
    loop {
        let mut request = String::new();
        if input.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut header = String::new();
            input.read_line(&mut header).unwrap();
            if header.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        input.read_exact(&mut body).unwrap();
        let mut words = request.split_whitespace();
        let (verb, target) = (words.next().unwrap(), words.next().unwrap());
        let (headers, answer) = answer(verb, target, body, files);
        let mut socket = socket;
        write!(socket, "HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", answer.len()).unwrap();
        if socket.write_all(&answer).is_err() {
            return;
        }
    }
}

fn answer(verb: &str, target: &str, body: Vec<u8>, files: &Files) -> (String, Vec<u8>) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parts: Vec<&str> = path.trim_start_matches("/services/data/v68.0/jobs/").split('/').filter(|part| !part.is_empty()).collect();
    let mut files = files.lock().unwrap();
    let job = |id: &str, state: &str, rows: usize| {
        json!({"id": id, "state": state, "apiVersion": 68.0, "columnDelimiter": "COMMA", "object": "Lead", "numberRecordsProcessed": rows})
            .to_string()
            .into_bytes()
    };
    let lines = |file: &[u8]| file.iter().filter(|byte| **byte == b'\n').count() - 1;
    let none = String::new;
    match (verb, parts.as_slice()) {
        ("POST", ["ingest"]) => (none(), job(&format!("750{:015}", files.len()), "Open", 0)),
        ("POST", ["query"]) => {
            let soql: Value = serde_json::from_slice(&body).unwrap();
            let count = soql["query"].as_str().unwrap().rsplit(' ').next().unwrap();
            (none(), job(&format!("750{count:0>15}"), "UploadComplete", 0))
        }
        ("PUT", ["ingest", id, "batches"]) => {
            files.insert((*id).to_owned(), body);
            (none(), Vec::new())
        }
        ("PATCH", ["ingest", id]) => (none(), job(id, "UploadComplete", 0)),
        ("GET", ["ingest", id]) => (none(), job(id, "JobComplete", lines(&files[*id]))),
        ("GET", ["ingest", id, "successfulResults"]) => {
            let mut out = Vec::new();
            for (n, line) in files[*id].split_inclusive(|byte| *byte == b'\n').enumerate() {
                match n {
                    0 => out.extend_from_slice(b"\"sf__Id\",\"sf__Created\","),
                    n => write!(out, "\"00Q{n:012}AAA\",\"true\",").unwrap(),
                }
                out.extend_from_slice(line);
            }
            (none(), out)
        }
        ("GET", ["ingest", id, _]) => {
            // Asked for last, so the file has done its duty.
            let header = files[*id].split_inclusive(|byte| *byte == b'\n').next().unwrap().to_vec();
            (none(), header)
        }
        ("GET", ["query", id]) => (none(), job(id, "JobComplete", 0)),
        ("GET", ["query", id, "results"]) => {
            let count: u64 = id[3..].parse().unwrap();
            let number =
                |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)).map(|number| number.parse::<u64>().unwrap());
            let start = number("locator=").unwrap_or(0);
            let end = (start + number("maxRecords=").unwrap()).min(count);
            let mut out = b"\"Id\",\"Email\",\"LastName\",\"Company\",\"Title\",\"LeadSource\"\n".to_vec();
            for n in start..end {
                let company = n % 97;
                writeln!(
                    out,
                    "\"00Q{n:012}AAA\",\"ada.{n}@example.com\",\"Lovelace \"\"{n}\"\"\",\"Analytical Engines, {company}\",\"\",\"Web\""
                )
                .unwrap();
            }
            let next = if end < count { end.to_string() } else { "null".to_owned() };
            (format!("Sforce-Locator: {next}\r\nSforce-NumberOfRecords: {}\r\n", end - start), out)
        }
        other => panic!("{other:?}"),
    }
}
