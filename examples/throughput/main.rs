//! How many records a second: one job against the server at a URL, and what it took.
//!
//! `cargo run --release --example throughput -- --crm salesforce --url http://127.0.0.1:8080 --token T --job read --sum AnnualRevenue`
//!
//! Any server that speaks the CRM's API will do; `cargo run --example sandbox` starts one.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program speaks to its user")]

#[path = "../support/args.rs"]
mod args;
mod counting;
mod jobs;
mod options;
mod records;

use std::process::ExitCode;
use std::sync::Arc;

use crm_sync::error::chain;
use crm_sync::http::ReqwestTransport;
use serde_json::json;

use crate::counting::Counting;
use crate::options::{Options, USAGE};

/// The most memory this process has had, in bytes; `None` where the system does not tell.
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib * 1024)
}

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::disallowed_methods, reason = "a program may ask the clock itself")]
async fn main() -> ExitCode {
    let started = std::time::Instant::now();
    let options = match args::or_end(Options::read(std::env::args().skip(1).collect()), USAGE) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let outcome = async {
        let plain = options.url.starts_with("http://");
        let transport = Counting::new(if plain { ReqwestTransport::loopback()? } else { ReqwestTransport::builder().build()? });
        let counted = Arc::clone(&transport.counted);
        Ok((jobs::run(&options, Arc::new(transport)).await?, counted))
    };
    match outcome.await {
        Ok((done, counted)) => {
            let seconds = started.elapsed().as_secs_f64();
            let line = json!({
                "records": done.records, "sum": done.sum, "seconds": (seconds * 1e6).round() / 1e6,
                "requests": counted.requests(), "bytes": counted.bytes(), "peak_rss": peak_rss(),
            });
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let error: crm_sync::error::Error = error;
            eprintln!("{}", chain(&error));
            ExitCode::FAILURE
        }
    }
}
