use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use futures_util::FutureExt;
use http::{Response, StatusCode};
use secrecy::SecretString;

use super::*;
use crate::auth::StaticToken;
use crate::http::Body;

#[derive(Debug)]
struct Plain;

impl Dialect for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }
    fn classify(&self, failure: Failure<'_>) -> Error {
        let kind = match failure.status.as_u16() {
            401 => ErrorKind::Authentication,
            500.. => ErrorKind::Unavailable,
            _ => ErrorKind::Validation,
        };
        Error::new(kind, "refused")
    }
}

#[derive(Debug, Default)]
struct Script {
    answers: Mutex<VecDeque<Result<(u16, &'static str), HttpErrorKind>>>,
    seen: Mutex<Vec<(String, String)>>,
}

impl Script {
    fn of(answers: impl IntoIterator<Item = Result<(u16, &'static str), HttpErrorKind>>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), seen: Mutex::default() })
    }
}

#[async_trait]
impl HttpTransport for Script {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, HttpError> {
        let token = request.headers().get("authorization").unwrap().to_str().unwrap().to_owned();
        self.seen.lock().unwrap().push((request.uri().to_string(), token));
        let answer = self.answers.lock().unwrap().pop_front().unwrap();
        let (status, body) = answer.map_err(|kind| HttpError::new(kind, "scripted"))?;
        Ok(Response::builder().status(status).body(Body::from_bytes(body)).unwrap())
    }
}

/// Each renewal moves the instance.
#[derive(Debug)]
struct Moving;

#[async_trait]
impl TokenSource for Moving {
    async fn token(&self) -> Result<AccessToken> {
        Ok(AccessToken::new(SecretString::from("T1"), Some("https://one.example/p".into()), 1))
    }
    async fn refresh(&self, stale: &AccessToken) -> Result<AccessToken> {
        assert_eq!(stale.generation(), 1);
        Ok(AccessToken::new(SecretString::from("T2"), Some("https://two.example".into()), 2))
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().unwrap()
}

#[test]
fn an_expired_session_is_renewed_once_on_the_moved_instance() {
    let script = Script::of([Ok((401, "")), Ok((200, "{}"))]);
    let client = Client::new(Arc::clone(&script) as _, Arc::new(Moving), Plain, None);
    assert_eq!(run(client.send(&Call::get("get", "/a?b=c%20d"))).unwrap().status(), StatusCode::OK);
    let seen = script.seen.lock().unwrap().clone();
    assert_eq!(seen[0], ("https://one.example/p/a?b=c%20d".to_owned(), "Bearer T1".to_owned()));
    assert_eq!(seen[1], ("https://two.example/a?b=c%20d".to_owned(), "Bearer T2".to_owned()));

    let script = Script::of([Ok((401, "")), Ok((401, ""))]);
    let client = Client::new(Arc::clone(&script) as _, Arc::new(Moving), Plain, None);
    let error = run(client.send(&Call::post("create", "/a"))).unwrap_err();
    assert_eq!((error.kind(), error.retry(), error.may_have_applied()), (ErrorKind::Authentication, Retry::Never, false));
    assert_eq!(script.seen.lock().unwrap().len(), 2);
}

#[test]
fn only_writes_of_unknown_outcome_are_ambiguous() {
    let cases = [
        (Err(HttpErrorKind::Connect), false),
        (Err(HttpErrorKind::Sent), true),
        (Err(HttpErrorKind::Timeout), true),
        (Ok((500, "")), true),
        (Ok((503, "")), true),
        (Ok((400, "")), false),
    ];
    for (answer, unknown) in cases {
        let client = Client::new(Script::of([answer]) as _, Arc::new(Moving), Plain, None);
        assert_eq!(run(client.send(&Call::post("create", "/a"))).unwrap_err().may_have_applied(), unknown, "{answer:?}");
        let client = Client::new(Script::of([answer]) as _, Arc::new(Moving), Plain, None);
        assert!(!run(client.send(&Call::get("get", "/a"))).unwrap_err().may_have_applied(), "{answer:?}");
        let client = Client::new(Script::of([answer]) as _, Arc::new(Moving), Plain, None);
        assert!(!run(client.send(&Call::post("search", "/a").read_only())).unwrap_err().may_have_applied(), "{answer:?}");
    }
}

#[test]
fn a_broken_or_long_body_after_a_write_is_ambiguous() {
    let client = Client::new(Script::of([Ok((201, "{"))]) as _, Arc::new(Moving), Plain, None);
    let answer = run(client.send(&Call::post("create", "/a"))).unwrap();
    let error = answer.json::<serde_json::Value>().unwrap_err();
    assert_eq!((error.kind(), error.may_have_applied()), (ErrorKind::Decode, true));
    let client = Client::new(Script::of([Ok((201, "12345"))]) as _, Arc::new(Moving), Plain, None).body_limit(4);
    let error = run(client.send(&Call::post("create", "/a"))).unwrap_err();
    assert_eq!((error.kind(), error.may_have_applied()), (ErrorKind::Decode, true));
}

#[test]
fn links_stay_at_home() {
    let client = Client::new(Script::of([]) as _, Arc::new(Moving), Plain, None);
    assert_eq!(run(client.link("/data/q-1?x=1")).unwrap(), "/data/q-1?x=1");
    assert_eq!(run(client.link("/p/data/q-1")).unwrap(), "/data/q-1");
    assert_eq!(run(client.link("https://one.example/p/data")).unwrap(), "/data");
    for link in [
        "https://evil.example/p",
        "//evil.example/p",
        "http://one.example/p",
        "https://one.example:8443/",
        "\\\\evil.example/",
        "https://u:p@one.example/",
    ] {
        assert_eq!(run(client.link(link)).unwrap_err().kind(), ErrorKind::Decode, "{link}");
    }
}

#[test]
fn a_configured_base_serves_tokens_that_name_none() {
    let script = Script::of([Ok((200, "")), Ok((200, ""))]);
    let base = Url::parse("http://127.0.0.1:9000/prefix/").unwrap();
    let tokens = Arc::new(StaticToken::new(SecretString::from("T"), None));
    let client = Client::new(Arc::clone(&script) as _, tokens.clone(), Plain, Some(base.clone()));
    run(client.send(&Call::get("get", "/a"))).unwrap();
    run(Client::new(Arc::clone(&script) as _, Arc::new(Moving), Plain, Some(base)).pinned(true).send(&Call::get("get", "/a"))).unwrap();
    assert!(script.seen.lock().unwrap().iter().all(|(url, _)| url == "http://127.0.0.1:9000/prefix/a"));
    let error = run(Client::new(script as _, tokens, Plain, None).send(&Call::get("get", "/a"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}
