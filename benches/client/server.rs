//! A CRM that answers at once, from bytes made before: what is measured is the client alone. It looks at a request just as far as
//! it must to know which answer is wanted.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

/// Rows of a page.
pub(crate) const SALESFORCE_PAGE: u64 = 2_000;
const HUBSPOT_PAGE: u64 = 100;
const PIPEDRIVE_PAGE: u64 = 500;

struct Answers {
    count: u64,
    delay: Duration,
    leads: Vec<u8>,
    contacts: Vec<u8>,
    persons: Vec<u8>,
    contact: String,
    person: Vec<u8>,
    /// Files of bulk jobs.
    files: Mutex<HashMap<String, Vec<u8>>>,
}

fn list(count: u64, row: impl Fn(u64) -> String) -> Vec<u8> {
    let rows: Vec<String> = (0..count).map(row).collect();
    format!("[{}]", rows.join(",")).into_bytes()
}

fn lead(n: u64) -> String {
    json!({
        "attributes": {"type": "Lead", "url": format!("/services/data/v68.0/sobjects/Lead/00Q{n:012}AAA")},
        "Id": format!("00Q{n:012}AAA"), "FirstName": "Ada", "LastName": format!("Lovelace {n}"),
        "Company": format!("Analytical Engines {}", n % 97), "Title": "Head of Computing", "Email": format!("ada.{n}@example.com"),
        "Phone": format!("+44 20 7946 {:04}", n % 10_000), "MobilePhone": null, "Website": "https://example.com",
        "Street": format!("{} St James's Square", n % 200), "City": "London", "State": null, "PostalCode": "SW1Y 4JH",
        "Country": "United Kingdom", "Industry": "Technology", "LeadSource": "Web", "Rating": "Hot", "Status": "Open - Not Contacted",
        "NumberOfEmployees": 10 + n % 500, "AnnualRevenue": 1_000.5 * (n % 900) as f64, "Description": "Asked for a demonstration.",
        "SystemModstamp": "2026-01-31T10:00:00.000+0000",
    })
    .to_string()
}

fn properties(n: u64) -> serde_json::Value {
    json!({
        "firstname": "Ada", "lastname": format!("Lovelace {n}"), "company": format!("Analytical Engines {}", n % 97),
        "jobtitle": "Head of Computing", "email": format!("ada.{n}@example.com"), "phone": format!("+44 20 7946 {:04}", n % 10_000),
        "mobilephone": null, "website": "https://example.com", "address": format!("{} St James's Square", n % 200), "city": "London",
        "state": null, "zip": "SW1Y 4JH", "country": "United Kingdom", "industry": "Technology", "fax": null, "salutation": "Dr",
        "hs_lead_status": "NEW", "numemployees": (10 + n % 500).to_string(), "annualrevenue": (1_000 * (n % 900)).to_string(),
        "message": "Asked for a demonstration.", "hs_object_id": n.to_string(), "createdate": "2026-01-30T10:00:00.000Z",
        "lastmodifieddate": "2026-01-31T10:00:00.000Z",
    })
}

fn contact(n: u64) -> String {
    json!({
        "id": n.to_string(), "properties": properties(n), "createdAt": "2026-01-30T10:00:00.000Z", "updatedAt": "2026-01-31T10:00:00.000Z",
        "archived": false, "url": format!("https://app.hubspot.com/contacts/1/record/0-1/{n}"),
    })
    .to_string()
}

fn person(n: u64) -> String {
    json!({
        "id": n, "name": format!("Ada Lovelace {n}"), "first_name": "Ada", "last_name": format!("Lovelace {n}"), "owner_id": 7,
        "org_id": n % 97, "add_time": "2026-01-30T10:00:00Z", "update_time": "2026-01-31T10:00:00Z",
        "emails": [{"label": "work", "value": format!("ada.{n}@example.com"), "primary": true}],
        "phones": [{"label": "work", "value": format!("+44 20 7946 {:04}", n % 10_000), "primary": true}],
        "is_deleted": false, "visible_to": 3, "label_ids": [1, 2], "picture_id": null, "marketing_status": "subscribed",
        "custom_fields": {
            "0123456789abcdef0123456789abcdef01234567": "Head of Computing", "1123456789abcdef0123456789abcdef01234567": 12.5,
            "2123456789abcdef0123456789abcdef01234567": "London", "3123456789abcdef0123456789abcdef01234567": 10 + n % 500,
            "4123456789abcdef0123456789abcdef01234567": null,
        },
    })
    .to_string()
}

/// Serves until it is killed; the port is the first line it prints.
pub(crate) fn serve(count: u64, delay: Duration) -> ! {
    let answers = Arc::new(Answers {
        count,
        delay,
        leads: list(SALESFORCE_PAGE.min(count), lead),
        contacts: list(HUBSPOT_PAGE.min(count), contact),
        persons: list(PIPEDRIVE_PAGE.min(count), person),
        contact: contact(1),
        person: format!(r#"{{"success":true,"data":{}}}"#, person(1)).into_bytes(),
        files: Mutex::default(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    std::io::stdout().flush().unwrap();
    loop {
        let (socket, _) = listener.accept().unwrap();
        socket.set_nodelay(true).unwrap();
        let answers = Arc::clone(&answers);
        std::thread::spawn(move || talk(&socket, &answers));
    }
}

/// One connection, until the client leaves.
fn talk(socket: &TcpStream, answers: &Answers) {
    let mut input = BufReader::with_capacity(1 << 16, socket);
    let mut out = Vec::new();
    loop {
        let mut request = String::new();
        if input.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let mut length = 0;
        let mut header = String::new();
        loop {
            header.clear();
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
        out.clear();
        let status = answers.answer(verb, target, body, &mut out);
        std::thread::sleep(answers.delay);
        let mut socket = socket;
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", out.len());
        if socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(&out)).is_err() {
            return;
        }
    }
}

fn count(body: &[u8], word: &[u8]) -> usize {
    body.windows(word.len()).filter(|window| *window == word).count()
}

impl Answers {
    fn page(&self, out: &mut Vec<u8>, rows: &[u8], head: &str, tail: &str) {
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(rows);
        out.extend_from_slice(tail.as_bytes());
    }

    fn answer(&self, verb: &str, target: &str, body: Vec<u8>, out: &mut Vec<u8>) -> &'static str {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let at = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse::<u64>().ok()).unwrap_or(0)
        };
        if let Some(rest) = path.strip_prefix("/services/data/v68.0/jobs/") {
            return self.job(verb, rest, body, out);
        }
        match (verb, path) {
            ("GET", path) if path.starts_with("/services/data/v68.0/query") => {
                let page: u64 = path.rsplit_once('-').map_or(0, |(_, page)| page.parse().unwrap());
                let head = if (page + 1) * SALESFORCE_PAGE < self.count {
                    let next = page + 1;
                    format!(
                        r#"{{"totalSize":{},"done":false,"nextRecordsUrl":"/services/data/v68.0/query/01gX-{next}","records":"#,
                        self.count
                    )
                } else {
                    format!(r#"{{"totalSize":{},"done":true,"records":"#, self.count)
                };
                self.page(out, &self.leads, &head, "}");
            }
            ("POST", "/services/data/v68.0/composite/sobjects") => {
                let rows = count(&body, br#""attributes""#);
                out.extend_from_slice(&list(rows as u64, |n| format!(r#"{{"id":"00Q{n:012}AAA","success":true,"errors":[]}}"#)));
            }
            ("POST", "/services/data/v68.0/sobjects/Lead") => {
                out.extend_from_slice(br#"{"id":"00Q000000000001AAA","success":true,"errors":[]}"#);
                return "201 Created";
            }
            ("GET", "/crm/objects/2026-03/contacts") => {
                let read = at("after") + HUBSPOT_PAGE;
                let tail = if read < self.count { format!(r#","paging":{{"next":{{"after":"{read}"}}}}}}"#) } else { "}".to_owned() };
                self.page(out, &self.contacts, r#"{"results":"#, &tail);
            }
            ("POST", "/crm/objects/2026-03/contacts/batch/create") => {
                let rows = count(&body, br#""properties""#);
                let open = self.contact.trim_end_matches('}').len();
                let row = |n: u64| {
                    let (head, tail) = self.contact.split_at(open);
                    // The braces of the properties are closed in the head; the last one is the record's.
                    let tail = tail.strip_suffix('}').unwrap();
                    format!(r#"{head}{tail},"objectWriteTraceId":"row-{n}"}}"#)
                };
                let rows = list(rows as u64, row);
                self.page(out, &rows, r#"{"status":"COMPLETE","results":"#, "}");
                return "201 Created";
            }
            ("POST", "/crm/objects/2026-03/contacts") => {
                out.extend_from_slice(self.contact.as_bytes());
                return "201 Created";
            }
            ("GET", "/api/v2/persons") => {
                let read = at("cursor") + PIPEDRIVE_PAGE;
                let next = if read < self.count { format!(r#""{read}""#) } else { "null".to_owned() };
                let tail = format!(r#","additional_data":{{"next_cursor":{next}}}}}"#);
                self.page(out, &self.persons, r#"{"success":true,"data":"#, &tail);
            }
            ("POST", "/api/v2/persons") => {
                out.extend_from_slice(&self.person);
                return "201 Created";
            }
            _ => {
                out.extend_from_slice(br#"{"message":"not served here"}"#);
                return "404 Not Found";
            }
        }
        "200 OK"
    }

    /// Bulk API 2.0, ingest.
    fn job(&self, verb: &str, rest: &str, body: Vec<u8>, out: &mut Vec<u8>) -> &'static str {
        let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
        let mut files = self.files.lock().unwrap();
        let rows = |file: &[u8]| file.iter().filter(|byte| **byte == b'\n').count() - 1;
        let info = |id: &str, state: &str, rows: usize| {
            let info = json!({
                "id": id, "state": state, "apiVersion": 68.0, "columnDelimiter": "COMMA", "object": "Lead", "operation": "insert",
                "numberRecordsProcessed": rows, "numberRecordsFailed": 0,
            });
            info.to_string().into_bytes()
        };
        match (verb, parts.as_slice()) {
            ("POST", ["ingest"]) => {
                let id = format!("750{:015}", files.len());
                files.insert(id.clone(), Vec::new());
                *out = info(&id, "Open", 0);
            }
            ("PUT", ["ingest", id, "batches"]) => {
                files.insert((*id).to_owned(), body);
                return "201 Created";
            }
            ("PATCH", ["ingest", id]) => *out = info(id, "UploadComplete", 0),
            ("GET", ["ingest", id]) => *out = info(id, "JobComplete", rows(&files[*id])),
            ("GET", ["ingest", id, "successfulResults"]) => {
                let file = std::str::from_utf8(&files[*id]).unwrap();
                let mut text = String::with_capacity(file.len() + file.len() / 8);
                for (n, line) in file.lines().enumerate() {
                    if n == 0 {
                        writeln!(text, "\"sf__Id\",\"sf__Created\",{line}").unwrap();
                    } else {
                        writeln!(text, "\"00Q{n:012}AAA\",\"true\",{line}").unwrap();
                    }
                }
                *out = text.into_bytes();
            }
            ("GET", ["ingest", id, kind]) => {
                let header = std::str::from_utf8(&files[*id]).unwrap().lines().next().unwrap_or_default();
                let marks = if *kind == "failedResults" { "\"sf__Id\",\"sf__Error\"," } else { "" };
                out.extend_from_slice(format!("{marks}{header}\n").as_bytes());
            }
            _ => return "404 Not Found",
        }
        "200 OK"
    }
}
