//! Renewing tokens: once, whoever asks, also across processes; a revoked grant ends in one clear error.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use crate::support;

use std::sync::Arc;

use crm_sync::adapter::CrmAdapter;
use crm_sync::error::{ErrorKind, Retry};
use crm_sync::salesforce::{Salesforce, SalesforceConfig};
use crm_sync::sandbox::{Fault, FaultKind, SalesforceAccess, Sandbox};
use crm_sync::store::StoreTokens;
use futures_util::future::{join, join_all};

use support::org::{KEYED, Org, apply, incoming, people};
use support::pausing::Pausing;

const TOKEN: &str = "/services/oauth2/token";

async fn org(seed: u64) -> (Org, SalesforceAccess) {
    let org = Org::new(seed).await;
    org.sandbox.set_options(|options| options.rotate_refresh_tokens = true).unwrap();
    let access = org.sandbox.salesforce(Sandbox::IN_PROCESS_URL);
    (org, access)
}

/// A client that pauses at every request, as a network does.
fn client(org: &Org, access: &SalesforceAccess) -> Salesforce {
    let config = SalesforceConfig::with_refresh_token(&access.instance_url, &access.client_id, access.refresh_token.clone().into())
        .client_secret(access.client_secret.clone().into())
        .name("salesforce:test");
    Salesforce::new(config, Arc::new(Pausing(org.sandbox.transport())), org.host.clone()).unwrap()
}

/// Statuses of the token requests since the last clearing.
fn renewals(org: &Org) -> Vec<u16> {
    org.sandbox.requests().iter().filter(|request| request.path == TOKEN).map(|request| request.status).collect()
}

#[tokio::test]
async fn fifty_callers_and_one_renewal() {
    let (org, access) = org(1).await;
    let client = client(&org, &access);
    for round in 0..3 {
        org.sandbox.expire_tokens().unwrap();
        org.sandbox.clear_requests();
        let answers = join_all((0..50).map(|_| client.versions())).await;
        // The list of versions is public, so ask for something that is not.
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let answers = join_all((0..50).map(|_| client.limits())).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert_eq!(renewals(&org), [200], "round {round}");
    }
}

#[tokio::test]
async fn two_processes_share_one_renewal_and_no_dead_refresh_token() {
    let (org, access) = org(2).await;
    let process = || client(&org, &access).with_token_cache(Arc::new(StoreTokens::new(Arc::new(Pausing(Arc::clone(&org.store))))));
    let (one, two) = (process(), process());
    for round in 0..4 {
        org.sandbox.expire_tokens().unwrap();
        org.sandbox.clear_requests();
        let (first, second) = join(join_all((0..10).map(|_| one.limits())), join_all((0..10).map(|_| two.limits()))).await;
        for answer in first.iter().chain(&second) {
            assert!(answer.is_ok(), "round {round}: {answer:?}");
        }
        // A refresh token that was used already would be answered 400, and would end the whole family.
        assert_eq!(renewals(&org), [200], "round {round}");
    }
    // A third process comes later, with the refresh token of the configuration, which is long dead.
    org.sandbox.clear_requests();
    process().limits().await.unwrap();
    assert_eq!(renewals(&org), [0; 0]);
}

#[tokio::test]
async fn a_token_that_dies_in_the_middle_of_an_apply() {
    let (org, access) = org(3).await;
    let crm: Arc<dyn CrmAdapter> = Arc::new(client(&org, &access));
    let engine = org.engine_of(KEYED, crm, Arc::clone(&org.store));
    let people = people(12);
    let plan = engine.plan(&incoming(&people)).await.unwrap();
    org.sandbox.clear_requests();
    org.sandbox.fault(Fault::new(FaultKind::ExpireToken).method("PATCH").skip(2));
    let (done, failure) = apply(&engine, &plan).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(done.len(), 12);
    assert_eq!(renewals(&org), [200]);
    org.assert_whole(KEYED, &people, "after the renewal");
    // Four chunks, and the refused one again.
    assert_eq!(org.sandbox.requests().iter().filter(|request| request.method == "PATCH").count(), 5);
}

#[tokio::test]
async fn an_instance_that_moved_is_followed() {
    let (org, access) = org(4).await;
    let client = client(&org, &access);
    client.limits().await.unwrap();
    org.sandbox.set_options(|options| options.instance_url = Some("http://moved.example".to_owned())).unwrap();
    org.sandbox.expire_tokens().unwrap();
    client.limits().await.unwrap();
    let page = client.call(http::Method::GET, "/services/oauth2/userinfo", None).await.unwrap();
    let page: serde_json::Value = page.json().unwrap();
    assert!(page["id"].as_str().unwrap().starts_with("http://moved.example/"), "requests still go to the old instance");
}

#[tokio::test]
async fn a_revoked_grant_is_one_clear_error_and_no_loop() {
    let (org, access) = org(5).await;
    let client = client(&org, &access);
    client.limits().await.unwrap();
    // Somebody shows the dead refresh token: Salesforce ends the whole family.
    let thief = self::client(&org, &access);
    assert!(thief.limits().await.is_err());
    org.sandbox.clear_requests();
    let answers = join_all((0..20).map(|_| client.limits())).await;
    for answer in answers {
        let error = answer.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Authentication, Retry::Never), "{error:?}");
        assert!(error.to_string().contains("authorize") || error.to_string().contains("log in"), "no remedy: {error}");
        assert!(!format!("{error} {error:?}").contains(&access.refresh_token));
    }
    assert!(renewals(&org).len() <= 2, "{:?}", renewals(&org));

    // An engine over it stops at once.
    org.sandbox.clear_requests();
    let engine = org.engine_of(KEYED, Arc::new(client), Arc::clone(&org.store));
    let error = engine.plan(&incoming(&people(2))).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Authentication, Retry::Never), "{error:?}");
    assert!(renewals(&org).len() <= 1, "{:?}", renewals(&org));
}
