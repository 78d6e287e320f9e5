//! Every job of `examples/throughput`, for every CRM, against the sandbox: what is written is there, and is read back whole.

#![allow(clippy::unwrap_used, reason = "a test that fails should stop")]

#[path = "../../examples/throughput/jobs.rs"]
mod jobs;

use crm_sync::host::Host;
use crm_sync::sandbox::Sandbox;

use crate::options::Options;
use crate::portal::Portal;

/// A CRM of the sandbox, and how the example speaks to it.
struct Crm {
    sandbox: Sandbox,
    words: Vec<String>,
}

impl Crm {
    fn new(name: &str) -> Self {
        let host = Host::tokio();
        let sandbox = match name {
            // With a unique property to upsert by.
            "hubspot" => Portal::new(host, 1).sandbox,
            _ => Sandbox::new(host, 1),
        };
        sandbox.set_pipedrive_options(|options| (options.burst, options.daily_budget) = (Some(1_000_000), Some(1_000_000))).unwrap();
        sandbox.set_hubspot_options(|options| options.search_lag_millis = 0).unwrap();
        let url = Sandbox::IN_PROCESS_URL;
        let (url, token) = match name {
            "salesforce" => (sandbox.salesforce(url).instance_url, sandbox.salesforce(url).access_token),
            "hubspot" => (sandbox.hubspot(url).base_url, sandbox.hubspot(url).access_token),
            _ => (sandbox.pipedrive(url).base_url, sandbox.pipedrive(url).api_token),
        };
        let words = ["--crm", name, "--url", &url, "--token", &token].map(ToOwned::to_owned).to_vec();
        Self { sandbox, words }
    }

    /// Records done, their sum, and the requests it took.
    async fn run(&self, line: &str) -> (u64, Option<f64>, usize) {
        self.sandbox.clear_requests();
        let words = self.words.iter().cloned().chain(line.split(' ').map(ToOwned::to_owned)).collect();
        let options = Options::read(words).unwrap().unwrap();
        let done = jobs::run(&options, self.sandbox.transport()).await.unwrap();
        (done.records, done.sum, self.sandbox.requests().len())
    }
}

/// The revenue of the first `count` made-up contacts.
fn revenue(count: u64) -> f64 {
    (0..count).map(|n| (1_000 * (n % 900)) as f64).sum()
}

#[tokio::test]
async fn salesforce() {
    let crm = Crm::new("salesforce");
    assert_eq!(crm.run("--job nothing").await, (0, None, 0));
    assert_eq!(crm.run("--job write --records 250").await, (250, None, 2));
    assert_eq!(crm.run("--job read --sum AnnualRevenue").await.1, Some(revenue(250)));
    assert_eq!(crm.run("--job read --neutral --sum revenue").await.1, Some(revenue(250)));
    assert_eq!(crm.run("--job read --records 100").await.0, 100);
    assert_eq!(crm.run("--job single --records 5 --in-flight 2").await, (5, None, 5));
    assert_eq!(crm.run("--job upsert --records 201").await, (201, None, 2));
    assert_eq!(crm.run("--job upsert --records 201 --in-flight 2").await, (201, None, 2));
    assert_eq!(crm.sandbox.records("Lead").len(), 250 + 5 + 201);
    assert_eq!(crm.run("--job bulk --records 300 --api-version 66.0").await.0, 300);
    assert_eq!(crm.run("--job read").await.0, 250 + 5 + 201 + 300);
}

#[tokio::test]
async fn hubspot() {
    let crm = Crm::new("hubspot");
    assert_eq!(crm.run("--job nothing").await, (0, None, 0));
    assert_eq!(crm.run("--job write --records 150").await, (150, None, 2));
    assert_eq!(crm.run("--job read --sum annualrevenue").await.1, Some(revenue(150)));
    assert_eq!(crm.run("--job read --neutral --sum revenue --api-version v3").await.1, Some(revenue(150)));
    assert_eq!(crm.run("--job read --records 110").await, (110, None, 2));
}

#[tokio::test]
async fn hubspot_one_by_one_and_by_key() {
    // Addresses are unique there: each account takes the made-up contacts once.
    let crm = Crm::new("hubspot");
    assert_eq!(crm.run("--job single --records 5 --in-flight 2").await, (5, None, 5));
    let crm = Crm::new("hubspot");
    assert_eq!(crm.run("--job upsert --records 101 --key crm_sync_id").await, (101, None, 2));
    assert_eq!(crm.run("--job upsert --records 101 --key crm_sync_id --in-flight 2").await, (101, None, 2));
    assert_eq!(crm.run("--job read").await.0, 101);
}

#[tokio::test]
async fn pipedrive() {
    let crm = Crm::new("pipedrive");
    assert_eq!(crm.run("--job nothing").await, (0, None, 0));
    assert_eq!(crm.run("--job write --records 120 --in-flight 3").await, (120, None, 120));
    assert_eq!(crm.run("--job single --records 5").await, (5, None, 5));
    assert_eq!(crm.run("--job read --sum visible_to").await, (125, Some(375.0), 1));
    assert_eq!(crm.run("--job read --neutral --sum visibility").await.1, Some(375.0));
}

#[test]
fn what_cannot_be_is_refused() {
    for line in [
        "--crm pipedrive --job bulk --records 1",
        "--crm pipedrive --job upsert --records 1",
        "--crm hubspot --job bulk --records 1",
        "--crm hubspot --job write",
        "--crm salesforce --job write --records 1 --sum AnnualRevenue",
        "--crm salesforce --job write --records 0",
    ] {
        let words = format!("--url http://127.0.0.1:1 --token T {line}");
        assert!(Options::read(words.split(' ').map(ToOwned::to_owned).collect()).is_err(), "{line}");
    }
}
