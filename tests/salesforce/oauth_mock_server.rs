//! The OAuth code against a server nobody here wrote: npm's `oauth2-mock-server`, which checks PKCE.

#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking, like the tests")]

use crate::npm;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use crm_sync::auth::{Exchange, OAuthClient, OAuthGrant};
use crm_sync::error::{ErrorKind, Retry};
use crm_sync::host::Host;
use crm_sync::http::ReqwestTransport;
use crm_sync::salesforce::SalesforceConfig;
use npm::Server;
use secrecy::{ExposeSecret, SecretString};

const PACKAGE: (&str, &str) = ("oauth2-mock-server", "8.2.3");

/// Serves Salesforce's paths; refresh tokens that begin with `dead` are refused, each token names an instance, and every second
/// token that is asked about is dead.
const SCRIPT: &str = r"
import { OAuth2Server } from 'oauth2-mock-server';
const at = (name) => '/services/oauth2/' + name;
const server = new OAuth2Server(undefined, undefined, { endpoints: {
    token: at('token'), authorize: at('authorize'), userinfo: at('userinfo'), revoke: at('revoke'), introspect: at('introspect') } });
await server.issuer.keys.generate('RS256');
await server.start(0, '127.0.0.1');
const url = 'http://127.0.0.1:' + server.address().port;
server.service.on('beforeResponse', (response, request) => {
    response.body.instance_url = url;
    if (String(request.body.refresh_token).startsWith('dead')) {
        response.statusCode = 400;
        response.body = { error: 'invalid_grant', error_description: 'expired access/refresh token' };
    }
});
let questions = 0;
server.service.on('beforeIntrospect', (response) => {
    response.body = questions++ % 2 ? { active: false } : { active: true, scope: 'api', exp: 4102444800 };
});
console.log(url);
";

fn server() -> Option<Server> {
    let dir = npm::package(PACKAGE.0, PACKAGE.1)?;
    Some(Server::start(&dir, SCRIPT))
}

fn client(server: &Server) -> OAuthClient {
    let config = SalesforceConfig::with_client_credentials(&server.ready, "key", SecretString::from("secret"));
    config.oauth(Arc::new(ReqwestTransport::loopback().unwrap()), Host::tokio()).unwrap()
}

/// A plain HTTP GET that does not follow redirects: the `Location` of the answer.
fn location(url: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", url.port().unwrap())).unwrap();
    let target = format!("{}?{}", url.path(), url.query().unwrap_or_default());
    write!(stream, "GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let line = answer.lines().find(|line| line.to_ascii_lowercase().starts_with("location:"));
    line.unwrap_or_else(|| panic!("no redirect: {answer}")).split_once(':').unwrap().1.trim().to_owned()
}

fn parameter(url: &str, name: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    url.query_pairs().find(|(found, _)| found == name).map(|(_, value)| value.into_owned()).unwrap()
}

#[tokio::test]
async fn a_code_is_bought_with_its_verifier_and_refused_with_another() {
    let Some(server) = server() else { return };
    let client = client(&server);
    let redirect = "http://127.0.0.1:1717/callback";
    let way = client.authorize(redirect, &["api", "refresh_token"], &[("prompt", "login")]).unwrap();
    let back = location(way.url.as_str());
    assert!(back.starts_with(redirect), "{back}");
    assert_eq!(parameter(&back, "state"), way.state);
    let stored = client.exchange_code(&parameter(&back, "code"), redirect, &way.verifier).await.unwrap();
    assert!(!stored.access_token.is_empty() && stored.refresh_token.is_some() && stored.expires_at.is_some());
    assert_eq!(stored.instance_url.as_deref(), Some(server.ready.as_str()));

    let other = client.authorize(redirect, &["api"], &[]).unwrap();
    let code = parameter(&location(client.authorize(redirect, &["api"], &[]).unwrap().url.as_str()), "code");
    let refused = client.exchange_code(&code, redirect, &other.verifier).await.unwrap_err();
    assert_eq!((refused.kind(), refused.retry(), refused.code()), (ErrorKind::Config, Retry::Never, Some("invalid_request")));
    let used = client.exchange_code(&parameter(&back, "code"), redirect, &way.verifier).await.unwrap_err();
    assert_eq!(used.retry(), Retry::Never, "a code is good once");
}

#[tokio::test]
async fn tokens_are_renewed_rotated_refused_and_revoked() {
    let Some(server) = server() else { return };
    let client = client(&server);
    let first = client.refresh(&SecretString::from("R1")).await.unwrap();
    let rotated = SecretString::from(first.refresh_token.unwrap());
    assert_ne!(rotated.expose_secret(), "R1");
    let grant = OAuthGrant::refresh_token(client.clone(), SecretString::from("R1"));
    assert!(grant.exchange(Some(&rotated)).await.is_ok());
    let dead = client.refresh(&SecretString::from("dead-1")).await.unwrap_err();
    assert_eq!((dead.kind(), dead.retry(), dead.code()), (ErrorKind::Authentication, Retry::Never, Some("invalid_grant")));
    assert!(!dead.to_string().contains("dead-1"));
    client.revoke(&rotated).await.unwrap();
}

#[tokio::test]
async fn the_application_itself_and_questions_about_tokens() {
    let Some(server) = server() else { return };
    for client in [client(&server), client(&server).basic(true)] {
        let own = client.client_credentials().await.unwrap();
        assert_eq!(own.refresh_token, None);
        let token = SecretString::from(own.access_token);
        let told = client.introspect(&token).await.unwrap();
        assert!(told.active && told.scopes == ["api"] && told.expires_at.is_some());
        assert!(!client.introspect(&SecretString::from("gone")).await.unwrap().active);
        let userinfo = url::Url::parse(&format!("{}/services/oauth2/userinfo", server.ready)).unwrap();
        assert_eq!(client.user_info(&userinfo, &token).await.unwrap()["sub"], "johndoe");
    }
    // The server has no JWT bearer grant and says so as Salesforce says that an assertion is refused.
    let refused = client(&server).jwt_bearer(&SecretString::from("a.b.c")).await.unwrap_err();
    assert_eq!((refused.kind(), refused.retry()), (ErrorKind::Config, Retry::Never));
}

#[tokio::test]
async fn the_login_example_prints_what_the_browser_brought() {
    let Some(server) = server() else { return };
    let Some(example) = example("salesforce_login") else { return };
    let mut child = Command::new(example)
        .args(["--login-url", &server.ready, "--client-id", "key", "--port", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines.by_ref().map(Result::unwrap).find(|line| line.starts_with("http://")).unwrap();
    let back = location(&url);
    // Somebody else's state is answered and passed over; the right one ends it.
    let forged = back.replace(&parameter(&back, "state"), "forged");
    for (at, wanted) in [(forged, "HTTP/1.1 400"), (back, "HTTP/1.1 200")] {
        let url = url::Url::parse(&at).unwrap();
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", url.port().unwrap())).unwrap();
        write!(stream, "GET {}?{} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", url.path(), url.query().unwrap()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(wanted), "{answer}");
    }
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success());
    assert!(rest.iter().any(|line| line.strip_prefix("refresh_token: ").is_some_and(|token| token.len() > 10)), "{rest:?}");
    assert!(rest.contains(&format!("instance_url: {}", server.ready)), "{rest:?}");
}

/// The example, if it is built: `cargo test` builds examples beside tests, a filtered run may not.
fn example(name: &str) -> Option<std::path::PathBuf> {
    let dir = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples");
    let path = dir.join(name);
    if path.is_file() {
        return Some(path);
    }
    assert!(!std::env::var("CI").is_ok_and(|ci| ci == "1" || ci == "true"), "{} is not built", path.display());
    println!("skipped: {} is not built", path.display());
    None
}
