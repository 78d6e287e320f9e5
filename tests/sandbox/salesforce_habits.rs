//! Habits of clients the sandbox puts up with, in raw HTTP and on a socket.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use crate::raw_http;

use std::io::{Read as _, Write as _};

use crm_sync::host::Host;
use crm_sync::sandbox::Sandbox;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use raw_http::{Org, enc};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn bodies_are_compressed_both_ways() {
    let org = Org::new();
    let body = json!({"LastName": "X", "Company": "Y"}).to_string();
    let zipped = org.with("content-encoding", "gzip");
    assert_eq!(zipped.raw("POST", "/sobjects/Lead", "application/json", packed(&body)).0, 201);
    assert_eq!(zipped.raw("POST", "/sobjects/Lead", "application/json", body.clone()).0, 415);
    assert_eq!(org.with("content-encoding", "br").raw("POST", "/sobjects/Lead", "application/json", body).0, 415);
    let (status, headers, body) = org.with("accept-encoding", "deflate, gzip;q=1.0").raw("GET", "/limits", "", "");
    assert_eq!((status, headers["content-encoding"].to_str().unwrap()), (200, "gzip"));
    let mut text = String::new();
    GzDecoder::new(body.as_ref()).read_to_string(&mut text).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["DailyApiRequests"]["Max"], 100_000);
    for accept in ["identity", "gzip;q=0", "br"] {
        assert!(!org.with("accept-encoding", accept).raw("GET", "/limits", "", "").1.contains_key("content-encoding"), "{accept}");
    }
}

#[test]
fn paths_and_methods_may_be_spelt_otherwise() {
    let org = Org::new();
    let lead = org.lead("L");
    assert_eq!(org.get("/sobjects/").status, 200);
    assert_eq!(org.get(&format!("/query/?q={}", enc("SELECT Id FROM Lead"))).body["totalSize"], 1);
    assert_eq!(org.get(&format!("/sobjects/Lead/{lead}/")).status, 200);
    let patched = org.with("x-http-method-override", "PATCH").post(&format!("/sobjects/Lead/{lead}"), json!({"Title": "a"}));
    assert_eq!(patched.status, 204);
    assert_eq!(org.post(&format!("/sobjects/Lead/{lead}?_HttpMethod=PATCH"), json!({"Title": "b"})).status, 204);
    assert_eq!(org.get(&format!("/sobjects/Lead/{lead}")).body["Title"], "b");
    let (status, headers, body) = org.raw("HEAD", &format!("/sobjects/Lead/{lead}"), "", "");
    assert!(status == 200 && body.is_empty() && headers.contains_key("sforce-limit-info"));
    // A batch names its resources with the whole path or without.
    let requests: Vec<Value> = ["v68.0/limits", "/v68.0/limits", "/services/data/v68.0/limits", "services/data/v68.0/limits", "limits"]
        .iter()
        .map(|url| json!({"method": "GET", "url": url}))
        .collect();
    let results = org.post("/composite/batch", json!({"batchRequests": requests})).body;
    let statuses: Vec<u64> = results["results"].as_array().unwrap().iter().map(|one| one["statusCode"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 404]);
    // A composite does not.
    let request = json!({"compositeRequest": [{"method": "GET", "url": "v68.0/limits", "referenceId": "a"}]});
    assert_eq!(org.post("/composite", request).status, 400);
}

#[test]
fn errors_are_lists_except_at_the_token_endpoint() {
    let org = Org::new();
    let lead = org.lead("L");
    for (method, path) in [
        ("GET", "/nothing".to_owned()),
        ("GET", format!("/query?q={}", enc("SELECT"))),
        ("PUT", format!("/sobjects/Lead/{lead}")),
        ("POST", "/composite".to_owned()),
        ("GET", "/jobs/ingest/750000000000001".to_owned()),
        ("GET", "/services/data/v20.0/limits".to_owned()),
    ] {
        let answer = org.send(method, &path, None);
        assert!(answer.status >= 400 && answer.body.is_array(), "{method} {path}: {}", answer.body);
        assert!(answer.body[0]["errorCode"].is_string() && answer.body[0]["message"].is_string());
    }
    for token in ["", "00D!nonsense", "x"] {
        let stranger = Org { token: token.to_owned(), ..org.with("a", "b") };
        let answer = stranger.get("/sobjects");
        assert_eq!((answer.status, answer.code()), (401, "INVALID_SESSION_ID"), "{token}");
    }
    assert!(org.form("/services/oauth2/token", &[]).body["error"].is_string());
}

#[test]
fn the_global_describe_has_every_flag() {
    let org = Org::new();
    let all = org.get("/sobjects").body;
    assert_eq!((&all["encoding"], &all["maxBatchSize"]), (&json!("UTF-8"), &json!(200)));
    for object in all["sobjects"].as_array().unwrap() {
        for flag in [
            "custom",
            "customSetting",
            "createable",
            "updateable",
            "deletable",
            "undeletable",
            "queryable",
            "retrieveable",
            "searchable",
            "replicateable",
            "triggerable",
            "mergeable",
            "mruEnabled",
            "feedEnabled",
            "layoutable",
            "activateable",
            "deprecatedAndHidden",
            "hasSubtypes",
            "isSubtype",
            "isInterface",
            "idEnabled",
            "deepCloneable",
        ] {
            assert!(object[flag].is_boolean(), "{} {flag}", object["name"]);
        }
        for text in ["name", "label", "labelPlural", "keyPrefix"] {
            assert!(object[text].is_string());
        }
        assert!(object["urls"]["rowTemplate"].as_str().unwrap().ends_with("{ID}"));
    }
}

/// Sends `text` as it is and reads one answer.
async fn exchange(address: std::net::SocketAddr, text: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn an_upload_may_come_in_chunks_without_a_length() {
    let sandbox = Sandbox::new(Host::tokio(), 1);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let token = sandbox.salesforce(&format!("http://{address}")).access_token;
    let server = sandbox.serve(listener, std::future::pending::<()>());
    let client = async {
        let head = |line: &str, more: &str| {
            format!("{line} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{more}\r\n")
        };
        let job = r#"{"object":"Lead","operation":"insert"}"#;
        let length = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", job.len());
        let made = exchange(address, &format!("{}{job}", head("POST /services/data/v68.0/jobs/ingest/", &length))).await;
        let id = made.split("\"id\":\"").nth(1).unwrap().get(..18).unwrap().to_owned();
        let csv = ["LastName,Com", "pany\nX,Y\n", "Z,W"];
        let chunks: String = csv.iter().map(|part| format!("{:x}\r\n{part}\r\n", part.len())).collect();
        let chunked = "Content-Type: text/csv\r\nTransfer-Encoding: chunked\r\n";
        let put = head(&format!("PUT /services/data/v68.0/jobs/ingest/{id}/batches/"), chunked);
        let put = exchange(address, &format!("{put}{chunks}0\r\n\r\n")).await;
        assert!(put.starts_with("HTTP/1.1 201"), "{put}");
        let state = r#"{"state":"UploadComplete"}"#;
        let length = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", state.len());
        let closed = exchange(address, &format!("{}{state}", head(&format!("PATCH /services/data/v68.0/jobs/ingest/{id}"), &length))).await;
        assert!(closed.contains("UploadComplete"), "{closed}");
        assert_eq!(sandbox.records("Lead").len(), 2);
        let upgrade =
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let refused = format!("GET /services/data/v68.0/limits HTTP/1.1\r\nHost: {address}\r\n{upgrade}Connection: close\r\n\r\n");
        assert!(exchange(address, &refused).await.starts_with("HTTP/1.1 4"));
    };
    tokio::select! {
        _ = server => unreachable!("nothing ends the server"),
        () = client => {}
    }
}
