//! What the clients cost beside a program written by hand: `cargo bench --bench client [-- --records N]`.
//!
//! For each CRM and job two programs do the same work against the same server, in turns: this crate (by the code of
//! `examples/throughput`), and reqwest with typed serde structs. Each is a process of its own; what counts is the processor time
//! of the whole process, the least of three, so that the server's and a neighbour's time stay out. The server answers at once.

#![allow(
    clippy::disallowed_methods,
    clippy::future_not_send,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a bench that fails should stop"
)]

#[path = "../../examples/support/args.rs"]
mod args;
mod ceiling;
#[path = "../../examples/throughput/jobs.rs"]
mod jobs;
#[path = "../../examples/throughput/options.rs"]
mod options;
#[path = "../../examples/throughput/records.rs"]
mod records;
mod server;
mod typed;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crm_sync::http::ReqwestTransport;

use crate::options::Options;

fn main() {
    let line: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match line.first().map(String::as_str) {
        Some("--serve") => server::serve(line[1].parse().unwrap(), Duration::from_millis(line[2].parse().unwrap())),
        Some("--ours") => work(&line[1..], Who::Ours),
        Some("--typed") => work(&line[1..], Who::Typed),
        Some("--by-hand") => work(&line[1..], Who::ByHand),
        _ => {
            // `cargo test --benches` only wants to know that it runs.
            let bench = std::env::args().any(|word| word == "--bench");
            let records = line.iter().position(|word| word == "--records").map(|at| line[at + 1].parse().unwrap());
            let only = line.iter().position(|word| word == "--only").map(|at| line[at + 1].clone());
            table(records.unwrap_or(if bench { 100_000 } else { 500 }), if bench { 3 } else { 1 }, only.as_deref());
        }
    }
}

/// Processor time of this process so far, in nanoseconds (proc(5), "schedstat").
fn processor() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let spent = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    spent.sum()
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Which program a child is.
#[derive(Clone, Copy)]
enum Who {
    ByHand,
    Ours,
    /// Ours, reading into the structs that are there by hand.
    Typed,
}

/// A child: does one job and prints what it took.
fn work(line: &[String], who: Who) {
    let options = Options::read(line.to_vec()).unwrap().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let start = std::time::Instant::now();
    let records = runtime.block_on(async {
        let transport = || Arc::new(ReqwestTransport::loopback().unwrap());
        match who {
            Who::Ours => jobs::run(&options, transport()).await.expect("the job").records,
            Who::Typed => typed::run(&options, transport()).await.expect("the job"),
            Who::ByHand => ceiling::run(&options).await,
        }
    });
    println!("{records} {} {} {}", processor(), peak_kib(), start.elapsed().as_nanos());
}

struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(records: u64, delay: u64) -> Self {
        let me = std::env::current_exe().unwrap();
        let mut child =
            Command::new(me).args(["--serve", &records.to_string(), &delay.to_string()]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, url: format!("http://127.0.0.1:{}", line.trim()) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[derive(Clone, Copy)]
struct Took {
    processor: u64,
    peak: u64,
    wall: u64,
}

fn once(role: &str, url: &str, crm: &str, job: &str, records: u64, more: &[&str]) -> Took {
    let records_text = records.to_string();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([role, "--crm", crm, "--url", url, "--token", "T", "--job", job, "--records", &records_text]).args(more);
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<u64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert_eq!(numbers[0], records, "{role} {crm} {job}: every record is accounted for");
    Took { processor: numbers[1], peak: numbers[2], wall: numbers[3] }
}

fn least(runs: &[Took]) -> Took {
    let least = |of: fn(&Took) -> u64| runs.iter().map(of).min().unwrap();
    Took { processor: least(|took| took.processor), peak: least(|took| took.peak), wall: least(|took| took.wall) }
}

/// CRM, job, share of the records, further words of the command line, the goal, and what it is a share of.
type Line = (&'static str, &'static str, u64, &'static [&'static str], f64);

const LINES: [Line; 14] = [
    ("salesforce", "read", 1, &[], 1.3),
    ("hubspot", "read", 1, &[], 1.3),
    ("pipedrive", "read", 1, &[], 1.3),
    ("salesforce", "read typed", 1, &[], 1.1),
    ("hubspot", "read typed", 1, &[], 1.1),
    ("pipedrive", "read typed", 1, &[], 1.1),
    ("salesforce", "write", 1, &[], 1.4),
    ("hubspot", "write", 1, &[], 1.4),
    ("pipedrive", "write", 4, &[], 1.4),
    ("salesforce", "single", 4, &[], 1.4),
    ("hubspot", "single", 4, &[], 1.4),
    ("pipedrive", "single", 4, &[], 1.4),
    ("salesforce", "bulk", 1, &[], 1.2),
    ("salesforce", "read --neutral", 1, &["--neutral"], 2.0),
];

fn table(records: u64, runs: usize, only: Option<&str>) {
    let server = Server::start(records, 0);
    println!("| CRM | job | records | by hand, CPU ms | crm-sync, CPU ms | ratio | goal | by hand, peak MiB | crm-sync, peak MiB |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for (crm, job, share, more, goal) in LINES {
        let word = job.split(' ').next().unwrap();
        if only.is_some_and(|only| !format!("{crm} {job}").contains(only)) {
            continue;
        }
        let records = records / share;
        let (mut by_hand, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            by_hand.push(once("--by-hand", &server.url, crm, word, records, more));
            let role = if job.ends_with(" typed") { "--typed" } else { "--ours" };
            ours.push(once(role, &server.url, crm, word, records, more));
        }
        let (by_hand, ours) = (least(&by_hand), least(&ours));
        let ms = |took: Took| took.processor as f64 / 1e6;
        let mib = |took: Took| took.peak as f64 / 1024.0;
        println!(
            "| {crm} | {job} | {records} | {:.0} | {:.0} | {:.2} | {goal} | {:.1} | {:.1} |",
            ms(by_hand),
            ms(ours),
            ms(ours) / ms(by_hand),
            mib(by_hand),
            mib(ours)
        );
    }
    println!("\n| CRM | one create, from the start of the process to its end | by hand, ms | crm-sync, ms |");
    println!("|---|---|---|---|");
    for crm in ["salesforce", "hubspot", "pipedrive"] {
        if only.is_some_and(|only| !format!("{crm} start").contains(only)) {
            continue;
        }
        let run = |role: &str| {
            let took = (0..5 * runs).map(|_| {
                let start = std::time::Instant::now();
                once(role, &server.url, crm, "single", 1, &[]);
                start.elapsed()
            });
            took.min().unwrap().as_secs_f64() * 1e3
        };
        println!("| {crm} | | {:.1} | {:.1} |", run("--by-hand"), run("--ours"));
    }
    drop(server);
    let slow = Server::start(records, 50);
    println!("\n| CRM | 50 ms an answer, 5 in flight | by hand, wall s | crm-sync, wall s | ratio | goal |");
    println!("|---|---|---|---|---|---|");
    let calls = if runs == 1 { 5 } else { 500 };
    for crm in ["salesforce", "hubspot", "pipedrive"] {
        if only.is_some_and(|only| !format!("{crm} in flight").contains(only)) {
            continue;
        }
        let run = |role: &str| once(role, &slow.url, crm, "single", calls, &["--in-flight", "5"]).wall as f64 / 1e9;
        let (by_hand, ours) = (run("--by-hand"), run("--ours"));
        println!("| {crm} | {calls} single creates | {by_hand:.2} | {ours:.2} | {:.2} | 1.1 |", ours / by_hand);
    }
}
