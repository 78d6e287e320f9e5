//! Ways of a defined API that no example needs: how it is signed for, paused, how related records fail, and bodies without end.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that fails should stop, and its server is a task"
)]

use crate::fake;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crm_sync::adapter::{ChangeFeed, CrmAdapter, CrmAdapterExt, Since, WriteOptions};
use crm_sync::auth::Signer;
use crm_sync::custom::{Custom, Definition};
use crm_sync::error::{ErrorKind, Result};
use crm_sync::host::Host;
use crm_sync::http::ReqwestTransport;
use crm_sync::model::{Entity, RecordId};
use crm_sync::query::{Criteria, Query};
use fake::{custom, fields, query, run, with_host};
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const A: Entity = Entity::from_static("a");

#[derive(Debug)]
struct Length(Mutex<Vec<String>>);

#[async_trait::async_trait]
impl Signer for Length {
    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        self.0.lock().unwrap().push(String::from_utf8(message.to_vec()).unwrap());
        Ok(message.len().to_be_bytes().to_vec())
    }
}

fn claims(signed: &str) -> Value {
    use base64::Engine;
    let part = signed.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn an_assertion_buys_a_token_and_a_new_one_the_next() {
    let yaml = r#"
name: x
base_url: https://x.io
variables: {user: ann@x.io}
auth:
  type: oauth2
  grant: jwt_bearer
  token_url: /token
  client_id: app
  assertion: {issuer: app, subject: "{user}", audience: https://x.io, claims: {scope: "leads {user}"}, lifetime: 60}
defaults: {search: {}}
"#;
    let assertions = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&assertions);
    let (builder, log) = custom(yaml, move |request| {
        if request.uri().path() == "/token" {
            let form: Vec<(String, String)> = url::form_urlencoded::parse(request.body()).into_owned().collect();
            let value = |name: &str| form.iter().find(|(key, _)| key == name).unwrap().1.clone();
            assert_eq!(value("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
            seen.lock().unwrap().push(value("assertion"));
            return (200, vec![], json!({"access_token": format!("t{}", seen.lock().unwrap().len()), "expires_in": 3600}));
        }
        // The first token is refused once it is used a second time.
        let token = request.headers()["authorization"].to_str().unwrap().to_owned();
        (if token == "Bearer t1" { 401 } else { 200 }, vec![], json!([]))
    });
    let signer = Arc::new(Length(Mutex::default()));
    let crm = builder.signer(Arc::clone(&signer) as Arc<dyn Signer>).build().unwrap();
    run(crm.search(&Query::new(A))).unwrap();
    assert_eq!(*log.lock().unwrap(), ["POST /token", "GET /a", "POST /token", "GET /a"]);
    let assertions = assertions.lock().unwrap();
    let (first, second) = (claims(&assertions[0]), claims(&assertions[1]));
    assert_eq!((&first["iss"], &first["sub"], &first["scope"]), (&json!("app"), &json!("ann@x.io"), &json!("leads ann@x.io")));
    assert_eq!(first["exp"].as_i64().unwrap() - first["iat"].as_i64().unwrap(), 60);
    assert_ne!(first["jti"], second["jti"]);
    assert!(assertions[0].starts_with(&signer.0.lock().unwrap()[0]));
}

#[test]
fn a_self_signed_token_is_made_anew_before_it_ends() {
    let yaml = "name: x\nbase_url: https://x.io\nauth: {type: jwt, sign: {algorithm: hs256, secret: key, lifetime: 300}, inject: {header: X-Token}}\ndefaults: {search: {}}\n";
    let (host, clock) = Host::manual_with_clock(1);
    let tokens = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&tokens);
    let (builder, _) = with_host(yaml, host, move |request| {
        seen.lock().unwrap().push(request.headers()["x-token"].to_str().unwrap().to_owned());
        (200, vec![], json!([]))
    });
    let crm = builder.secret("key", "sh4red".to_owned()).build().unwrap();
    for _ in 0..2 {
        run(crm.search(&Query::new(A))).unwrap();
    }
    clock.advance(Duration::from_secs(301));
    run(crm.search(&Query::new(A))).unwrap();
    let tokens = tokens.lock().unwrap();
    assert_eq!(tokens[0], tokens[1]);
    assert_ne!(tokens[0], tokens[2]);
    assert!(!format!("{crm:?}").contains("sh4red"));
    // Nobody to sign is told when the adapter is built.
    let yaml = "name: x\nbase_url: https://x.io\nauth: {type: jwt, sign: {issuer: a}}\ndefaults: {search: {}}\n";
    let (builder, _) = custom(yaml, |_| (200, vec![], Value::Null));
    assert!(builder.build().unwrap_err().message().starts_with("nobody signs"));
}

#[test]
fn a_spent_allowance_is_waited_for() {
    let yaml = "name: x\nbase_url: https://x.io\nrate: {limit: X-Limit, remaining: X-Left, reset: X-Reset}\ndefaults: {search: {}}\n";
    let (host, clock) = Host::manual_with_clock(1);
    // Two are allowed; after the pause there are two again.
    let asked = Arc::new(AtomicUsize::new(0));
    let (builder, log) = with_host(yaml, host, move |_| {
        let left = 1 - asked.fetch_add(1, Ordering::SeqCst) % 2;
        (200, vec![("x-limit", "2".to_owned()), ("x-left", left.to_string()), ("x-reset", "20".to_owned())], json!([]))
    });
    let crm = builder.build().unwrap();
    let ask = || run(crm.search(&Query::new(A))).map(drop);
    ask().unwrap();
    ask().unwrap();
    let error = ask().unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(Duration::from_secs(20))));
    assert_eq!(log.lock().unwrap().len(), 2);
    clock.advance(Duration::from_secs(21));
    ask().unwrap();
    assert_eq!(log.lock().unwrap().len(), 3);
}

const RELATED: &str = r#"
name: x
base_url: https://x.io
entities:
  people:
    search: {}
    create: {}
    update: {}
    delete: {}
    related: {email: {entity: emails, parent: person, field: address}}
  emails:
    search: {filter: {style: params, operators: {eq: "{field}"}}}
    create: {}
    update: {}
    delete: {}
"#;

#[test]
fn a_parent_whose_child_fails_is_taken_back() {
    let people = Entity::from_static("people");
    for (undo, said, ambiguous) in [(204, "the record was deleted again", false), (500, "could not be deleted again", true)] {
        let (builder, log) = custom(RELATED, move |request| match (request.method().as_str(), request.uri().path()) {
            ("POST", "/people") => (201, vec![], json!({"id": "1"})),
            ("POST", "/emails") => (422, vec![], json!({"message": "no"})),
            ("DELETE", "/people/1") => (undo, vec![], Value::Null),
            other => panic!("{other:?}"),
        });
        let crm = builder.build().unwrap();
        let person = fields(json!({"name": "Ada", "email": "canary@x.io"}));
        let error = run(crm.create(&people, &person, &WriteOptions::new())).unwrap_err();
        assert_eq!((error.kind(), error.may_have_applied(), error.operation()), (ErrorKind::Validation, ambiguous, Some("create")));
        assert!(error.message().contains(said) && !error.to_string().contains("canary"), "{error}");
        assert_eq!(error.record().unwrap().as_str(), "1");
        assert_eq!(*log.lock().unwrap(), ["POST /people", "POST /emails", "DELETE /people/1"]);
    }
    // What cannot be said of a related field is refused before anything is sent.
    let (builder, log) = custom(RELATED, |request| panic!("{request:?}"));
    let crm = builder.build().unwrap();
    let like = Criteria::Contains { field: "email".to_owned(), text: "x".to_owned() };
    for query in [Query::new(people.clone()).filter(like), Query::new(people).order_by("email", false)] {
        assert_eq!(run(crm.search(&query)).unwrap_err().kind(), ErrorKind::Unsupported);
    }
    assert!(log.lock().unwrap().is_empty());
}

#[test]
fn changes_by_parameter_by_filter_and_by_comparing_here() {
    let rows = json!([
        {"id": "1", "at": "2026-01-01T00:00:00Z"}, {"id": "2", "at": "2026-01-02T00:00:00Z"}, {"id": "3", "at": "2026-01-03T00:00:00Z"}
    ]);
    let since = "2026-01-02T00:00:00Z";
    for (changes, filter, asked, told) in [
        ("{since: from, until: to}", "{}", "/a?from=2026-01-02T00%3A00%3A00Z", 3),
        ("{since: from, inclusive: false}", "{}", "/a?from=2026-01-01T23%3A59%3A59Z", 3),
        ("{field: at}", "{style: params, operators: {gte: '{field}[min]'}}", "/a?at%5Bmin%5D=2026-01-02T00%3A00%3A00Z", 3),
        ("{field: at}", "{style: query, operators: {gte: '{field}:>=\"{value}\"'}}", "/a?q=at%3A%3E%3D%222026-01-02T00%3A00%3A00Z%22", 3),
        ("{client_side: true}", "{}", "/a", 2),
    ] {
        let yaml =
            format!("name: x\nbase_url: https://x.io\ndefaults: {{modified: at, search: {{filter: {filter}}}, changes: {changes}}}\n");
        let rows = rows.clone();
        let (builder, log) = custom(&yaml, move |request| {
            assert_eq!(query(request, "to").is_some(), request.uri().to_string().contains("to="));
            (200, vec![], rows.clone())
        });
        let page = run(builder.build().unwrap().changes(&ChangeFeed::new(A, Since::At(since.parse().unwrap())))).unwrap();
        assert_eq!(page.items.len(), told, "{changes}");
        let line = log.lock().unwrap()[0].clone();
        assert!(line == format!("GET {asked}") || (changes.contains("until") && line.contains("to=")), "{changes}: {line}");
    }
}

#[test]
fn more_definitions_that_cannot_work() {
    let entity = |text: &str| format!("name: x\nbase_url: https://x.io\nentities:\n  a:\n{text}");
    let two = |a: &str, b: &str| {
        entity(&format!(
            "    search: {{}}\n    create: {{}}\n    update: {{}}\n    related: {a}\n  b:\n    search: {{}}\n    create: {{}}\n    update: {{}}\n    related: {b}\n"
        ))
    };
    let link = |to: &str| format!("{{x: {{entity: {to}, parent: p, field: f}}}}");
    for (text, said) in [
        (two(&link("b"), &link("a")), "test.yaml:8:15: [D002] the related records lead back to this entity: a cycle"),
        (two(&link("bb"), "{}"), "test.yaml:8:15: [D002] there is no entity \"bb\""),
        (entity("    search: {filter: {style: query, operators: {eq: \"{field}:'{value}'\"}}}\n"), "a value stands in the query language without quotes"),
        (entity("    search: {}\n    modified: at\n    changes: {since: a, field: b}\n"), "test.yaml:7:5: [D002] the time to begin at is said in exactly one of four ways"),
        (entity("    search: {}\n    modified: at\n    changes: {field: b, removed: {path: /x}}\n"), "the parameter with the time to begin at is missing"),
        (entity("    search: {path: 'https://evil.example/a'}\n"), "test.yaml:5:20: [D002] the path leaves the host of the base URL"),
        (entity("    search: {path: '/a/{{b}}/{x}'}\n"), "{x} stands for nothing here"),
        (entity("    search: {filter: {style: params, operators: {like: '{field}'}}}\n"), "[D001] unknown \"like\""),
        (entity("    create: {body: {a: '{recrd}'}}\n"), "{recrd} stands for nothing here (did you mean \"record\"?)"),
        ("name: x\nbase_url: https://x.io\nauth: {type: oauth2, grant: jwt_bearer, token_url: /t, client_id: a}\ndefaults: {create: {}}\n".to_owned(), "test.yaml:3:1: [D002] the grant jwt_bearer needs the key \"assertion\""),
        ("name: x\nbase_url: https://x.io\nauth: {type: jwt, sign: {algorithm: hs256}}\ndefaults: {create: {}}\n".to_owned(), "hs256 needs the name of the shared secret"),
        ("name: x\nbase_url: https://x.io/{a}\nvariables: {a: '{b}', b: '{c}', c: '{a}'}\ndefaults: {create: {}}\n".to_owned(), "test.yaml:3:"),
        ("base_url: https://x.io\ndefaults: {create: {}}\n".to_owned(), "the key \"name\" is missing"),
    ] {
        let error = Definition::from_yaml(&text, "test.yaml").expect_err(&text);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(said), "expected «{said}» of\n{text}\ngot: {}", error.message());
    }
}

/// A list that leads round in a circle, page after page.
#[test]
fn pages_in_a_circle_end_at_the_cap() {
    let yaml = "name: x\nbase_url: https://x.io\nmax_pages: 7\ndefaults: {records: data, search: {paging: {type: cursor, param: after, next: {path: next}}}}\n";
    let (builder, log) = custom(yaml, |request| {
        let next = if query(request, "after").as_deref() == Some("b") { "a" } else { "b" };
        (200, vec![], json!({"data": [{"id": 1}], "next": next}))
    });
    let crm = builder.build().unwrap();
    let error = run(crm.search_all(Query::new(A)).try_collect::<Vec<_>>()).unwrap_err();
    assert!(error.message().contains("seems to have no end"), "{error}");
    assert_eq!(log.lock().unwrap().len(), 7);
}

/// Two gigabytes are announced, and sent for as long as somebody reads.
#[tokio::test]
async fn a_body_of_two_gigabytes_is_not_read() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            let chunked = String::from_utf8_lossy(&head[..read]).contains("GET /chunked");
            let length = if chunked { "transfer-encoding: chunked".to_owned() } else { format!("content-length: {}", 2_u64 << 30) };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{length}\r\n\r\n");
            if stream.write_all(head.as_bytes()).await.is_err() {
                continue;
            }
            let mut piece = vec![b' '; 65536];
            if chunked {
                piece = [b"10000\r\n".as_slice(), &piece, b"\r\n"].concat();
            }
            while stream.write_all(&piece).await.is_ok() {
                count.fetch_add(65536, Ordering::SeqCst);
            }
        }
    });
    let yaml = "name: x\nbase_url: http://{host}\nvariables: {host: h}\nmax_body: 1000000\ndefaults: {search: {}}\n";
    let definition = Definition::from_yaml(yaml, "x.yaml").unwrap();
    let transport = ReqwestTransport::loopback().unwrap();
    let crm = Custom::builder(definition, transport, Host::tokio()).variable("host", address.to_string()).build().unwrap();
    for entity in ["whole", "chunked"] {
        let error = crm.search(&Query::new(Entity::from_static(entity))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert_eq!(error.message(), "the answer is longer than the client allows");
        let error = crm.get(&Entity::from_static(entity), &RecordId::new("1"), &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
    }
    // What lay in the buffers of four connections, and no more.
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent < 64 << 20, "{sent} bytes were taken");
    server.abort();
}
