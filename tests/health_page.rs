//! The page of `examples/health_page.rs` in a real browser: drawn from the numbers, and its button replays.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "a test may spawn")]

#[allow(dead_code, reason = "the test has no command line")]
#[path = "../examples/health_page.rs"]
mod health_page;

use std::convert::Infallible;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use health_page::App;
use http_body_util::Full;
use hyper::Response;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

const BROWSER: &str = "/usr/bin/chromium";

/// What a person does at `/press`: waits for the first button and presses it.
const PRESS: &str = "<script>const wait = setInterval(() => { const button = document.querySelector('#causes button'); \
    if (button) { clearInterval(wait); button.click(); } }, 50);</script>";

async fn serve(listener: tokio::net::TcpListener, app: Arc<App>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let app = Arc::clone(&app);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let app = Arc::clone(&app);
                async move {
                    let request: hyper::Request<hyper::body::Incoming> = request;
                    Ok::<_, Infallible>(if request.uri().path() == "/press" {
                        let page = format!("{}{PRESS}", include_str!("../examples/health_page.html"));
                        let mut response = Response::new(Full::new(Bytes::from(page)));
                        response.headers_mut().insert("content-type", "text/html; charset=utf-8".parse().unwrap());
                        response
                    } else {
                        health_page::answer(request, &app).await
                    })
                }
            });
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

/// The inside of the element that has this id.
fn part<'a>(dom: &'a str, id: &str, end: &str) -> &'a str {
    dom.split_once(&format!("id=\"{id}\"")).and_then(|(_, rest)| rest.split_once(end)).map_or("", |(text, _)| text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_the_numbers_and_its_button_replays() {
    if !Path::new(BROWSER).exists() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "1"), "CI must have {BROWSER}");
        println!("skipped: there is no {BROWSER}");
        return;
    }
    let app = Arc::new(App::new().await.unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, Arc::clone(&app)));
    for number in 0..200 {
        app.put(number).await.unwrap();
        if number % 20 == 19 {
            app.drain().await.unwrap();
        }
    }
    let before = app.page().await.unwrap();
    let parked = before["report"]["parked"].as_u64().unwrap();
    assert!(parked >= 3, "{before}");

    let folder = tempfile::tempdir().unwrap();
    let opened = async |path: &str, what: &str| {
        let mut browser = Command::new(BROWSER);
        browser
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
            .args(["--window-size=1100,1000", "--virtual-time-budget=5000", what])
            .args([format!("--user-data-dir={}", folder.path().join("profile").display()), format!("{url}{path}")]);
        let output = tokio::task::spawn_blocking(move || browser.output()).await.unwrap().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let shot = folder.path().join("health.png");
    opened("/", &format!("--screenshot={}", shot.display())).await;
    let picture = std::fs::read(&shot).unwrap();
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000, "{} bytes", picture.len());
    if let Some(keep) = std::env::var_os("HEALTH_SCREENSHOT") {
        std::fs::write(keep, picture).unwrap();
    }

    let dom = opened("/", "--dump-dom").await;
    assert!(part(&dom, "status", "</span>").ends_with(">healthy"), "{dom}");
    assert!(part(&dom, "operations", "</table>").contains(">create</td>"), "{dom}");
    assert!(part(&dom, "causes", "</table>").contains(&format!(">{parked}</td>")), "{dom}");
    let rows = part(&dom, "recent", "</table>").matches("<tr>").count();
    assert_eq!(rows, 1 + before["recent"].as_array().unwrap().len(), "{dom}");

    let pressed = opened("/press", "--dump-dom").await;
    assert!(part(&pressed, "causes", "</table>").contains(">none</td>"), "{pressed}");
    app.drain().await.unwrap();
    let after = app.page().await.unwrap();
    assert_eq!((&after["report"]["parked"], &after["report"]["backlog"]), (&0.into(), &0.into()), "{after}");
}
