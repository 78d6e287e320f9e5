//! Credentials and personal values occur in no error, plan, result or Debug, whatever goes wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]
#![allow(clippy::unnecessary_literal_unwrap, reason = "the panic of an unwrapped error is what is looked at")]

mod support;

use std::sync::Arc;

use crm_sync::adapter::CrmAdapter;
use crm_sync::error::{Error, chain};
use crm_sync::http::HttpTransport;
use crm_sync::mapping::{Mapping, MappingSet};
use crm_sync::model::{ExternalKey, Fields};
use crm_sync::query::{Criteria, Query};
use crm_sync::salesforce::{Salesforce, SalesforceConfig, entity};
use crm_sync::sandbox::{DuplicateRule, Fault, FaultKind, Sandbox};
use crm_sync::store::StoreTokens;
use crm_sync::sync::{Engine, Incoming, Outcome};
use futures_util::StreamExt;
use serde_json::json;

use support::org::{KEYED, Org, PROBED};

const MAIL: &str = "canary.mail@example.org";
const NAME: &str = "Canarylastname";
const TOO_LONG: &str = "Canarytoolong";
const QUERY: &str = "Canaryquerytext";

struct Watch {
    canaries: Vec<String>,
    seen: usize,
}

impl Watch {
    fn text(&mut self, what: &str, text: &str) {
        self.seen += 1;
        for canary in &self.canaries {
            assert!(!text.to_lowercase().contains(&canary.to_lowercase()), "{what} shows {canary}: {text}");
        }
    }

    fn error(&mut self, what: &str, error: &Error) {
        self.text(what, &format!("{error} {error:?} {error:#?} {}", chain(error)));
    }
}

struct Story {
    org: Org,
    watch: Watch,
    crm: Salesforce,
    engine: Engine,
}

impl Story {
    async fn new(seed: u64, key: &str) -> Self {
        let org = Org::new(seed).await;
        let access = org.sandbox.salesforce(Sandbox::IN_PROCESS_URL);
        let config = SalesforceConfig::with_refresh_token(&access.instance_url, &access.client_id, access.refresh_token.clone().into())
            .client_secret(access.client_secret.clone().into());
        let mut watch = Watch { canaries: vec![access.access_token, access.refresh_token, access.client_secret], seen: 0 };
        watch.canaries.extend([MAIL, NAME, TOO_LONG, QUERY].map(str::to_owned));
        watch.text("the configuration", &format!("{config:?} {config:#?}"));
        let cache = Arc::new(StoreTokens::new(Arc::clone(&org.store)));
        let transport: Arc<dyn HttpTransport> = org.sandbox.transport();
        let crm = Salesforce::new(config, transport, org.host.clone()).unwrap().with_token_cache(cache);
        let schema = crm.describe(&entity::LEAD).await.unwrap();
        let mapping =
            r#"{"salesforce": {"lead": {"lastName": "LastName", "email": "Email", "company": {"field": "Company", "default": "C"}}}}"#;
        let set = MappingSet::from_json(mapping, "mapping.json").unwrap();
        let mapping = Mapping::compile(set.entity("salesforce", "lead").unwrap(), Some(&schema)).unwrap();
        let engine = Engine::builder(Arc::new(crm.clone()), Arc::clone(&org.store), org.host.clone(), schema, mapping);
        let engine = engine.external_key(key).match_on("Email").build().unwrap();
        Self { org, watch, crm, engine }
    }

    /// One run; everything it shows is watched. Returns how many errors there were.
    async fn run(&mut self, what: &str) -> usize {
        let fields = |value| Fields::from_value(value).unwrap();
        let input = [
            Incoming::new("one", fields(json!({"lastName": NAME, "email": MAIL}))),
            Incoming::new("long", fields(json!({"lastName": TOO_LONG.repeat(20), "email": MAIL}))),
            Incoming::new("bad", fields(json!({"lastName": NAME, "email": format!("{NAME} at nowhere")}))),
            Incoming::new("none", fields(json!({"email": MAIL}))),
            Incoming::new("shape", fields(json!({"lastName": {"deep": NAME}, "email": [MAIL, MAIL]}))),
        ];
        self.watch.text(what, &format!("{:?} {:?}", input[0], input));
        let mut errors = 0;
        match self.engine.resolve().await {
            Ok(resolved) => self.watch.text(what, &format!("{resolved:?}")),
            Err(error) => {
                errors += 1;
                self.watch.error(what, &error);
            }
        }
        match self.engine.plan(&input).await {
            Err(error) => {
                errors += 1;
                self.watch.error(what, &error);
            }
            Ok(plan) => {
                self.watch.text(what, &format!("{plan} {plan:?} {plan:#?}"));
                let mut stream = self.engine.apply(&plan);
                while let Some(item) = stream.next().await {
                    self.watch.text(what, &format!("{item:?} {item:#?}"));
                    match item {
                        Err(error) => {
                            errors += 1;
                            self.watch.error(what, &error);
                        }
                        Ok(applied) => {
                            if let Outcome::Failed(error) | Outcome::Ambiguous(error) = &applied.outcome {
                                errors += 1;
                                self.watch.error(what, error);
                            }
                        }
                    }
                }
            }
        }
        self.watch.text(what, &format!("{:?} {:#?} {:?} {:?}", self.engine, self.engine, self.crm, self.org.store));
        errors
    }
}

/// Refusals whose message quotes the record.
fn chatty(status: u16, code: &str) -> FaultKind {
    let message = format!("{NAME} <{MAIL}> is not allowed: value {QUERY}");
    FaultKind::Status { status, body: json!([{"errorCode": code, "message": message, "fields": ["Email"]}]) }
}

#[tokio::test]
async fn runs_under_every_trouble() {
    let troubles = [
        FaultKind::DropAfter,
        FaultKind::DropBefore,
        FaultKind::Truncate,
        FaultKind::ExpireToken,
        FaultKind::Unavailable { html: true, retry_after: None },
        FaultKind::TooManyRequests { retry_after: Some("5".to_owned()) },
        FaultKind::RequestLimit { concurrent: false },
        chatty(400, "STRING_TOO_LONG"),
        chatty(401, "INVALID_SESSION_ID"),
        chatty(403, "INSUFFICIENT_ACCESS"),
        chatty(404, "NOT_FOUND"),
        chatty(500, "UNKNOWN_EXCEPTION"),
    ];
    for key in [KEYED, PROBED] {
        for (seed, kind) in (1..).zip(&troubles) {
            for method in [None, Some(if key == KEYED { "PATCH" } else { "POST" })] {
                let mut story = Story::new(seed, key).await;
                let mut fault = Fault::new(kind.clone()).path("/services/data").always();
                if let Some(method) = method {
                    fault = fault.method(method);
                }
                story.org.sandbox.fault(fault);
                let errors = story.run(&format!("{key} {kind:?}")).await;
                assert!(errors > 0, "{key} {kind:?} {method:?} made no error");
                // The next run finds what this one left.
                story.org.sandbox.clear_faults();
                story.run(&format!("after {key} {kind:?}")).await;
            }
        }
    }
}

#[tokio::test]
async fn refused_records_and_duplicates() {
    let mut story = Story::new(1, KEYED).await;
    let theirs = Fields::from_value(json!({"LastName": NAME, "Company": "C", "Email": MAIL})).unwrap();
    story.org.sandbox.create("Lead", &theirs).unwrap();
    story.org.sandbox.create("Lead", &theirs).unwrap();
    // Two have the same address: a row for review, whose reason names the field.
    story.run("two with one address").await;
    assert!(story.watch.seen > 4);

    let mut story = Story::new(2, KEYED).await;
    let mut rule = DuplicateRule::new("Leads", "Lead", &["LastName"]);
    rule.message = format!("{NAME} exists");
    story.org.sandbox.set_options(|options| options.duplicate_rules = vec![rule]).unwrap();
    let other = Fields::from_value(json!({"LastName": NAME, "Company": "C", "Email": "other@example.org"})).unwrap();
    story.org.sandbox.create("Lead", &other).unwrap();
    assert!(story.run("a duplicate rule").await > 0);
    assert!(story.watch.seen > 5);
}

#[tokio::test]
async fn a_dead_grant() {
    let mut story = Story::new(3, KEYED).await;
    let body = json!({"error": "invalid_grant", "error_description": format!("expired access/refresh token {}", story.watch.canaries[1])});
    story.org.sandbox.fault(Fault::new(FaultKind::Status { status: 400, body }).path("/services/oauth2").always());
    story.org.sandbox.expire_tokens().unwrap();
    assert!(story.run("invalid_grant").await > 0);
    for kind in [FaultKind::DropAfter, FaultKind::Truncate] {
        story.org.sandbox.clear_faults();
        story.org.sandbox.fault(Fault::new(kind).path("/services/oauth2").always());
        assert!(story.run("a lost token answer").await > 0);
    }
}

#[tokio::test]
async fn queries_and_single_calls() {
    let mut story = Story::new(4, KEYED).await;
    let key = ExternalKey::new("Email", MAIL).unwrap();
    let record = Fields::from_value(json!({"LastName": NAME, "Company": "C", "Email": MAIL, "Nowhere__c": QUERY})).unwrap();
    let mut errors = Vec::new();
    for filter in [Criteria::eq("Nowhere__c", QUERY), Criteria::eq("CreatedDate", QUERY), Criteria::eq("NumberOfEmployees", QUERY)] {
        errors.extend(story.crm.search(&Query::new(entity::LEAD).select(["Id"]).filter(filter)).await.err());
    }
    errors
        .extend(story.crm.call(http::Method::GET, &format!("/query?q=SELECT+Id+FROM+Lead+WHERE+{QUERY}+Email='{MAIL}'"), None).await.err());
    errors.extend(story.crm.call(http::Method::GET, &format!("/sobjects/Lead/{QUERY} {MAIL}"), None).await.err());
    errors.extend(story.crm.upsert(&entity::LEAD, &key, &record).await.err());
    errors.extend(story.crm.create(&entity::LEAD, &record).await.err());
    for kind in [FaultKind::DropBefore, FaultKind::Truncate, chatty(400, "MALFORMED_QUERY"), chatty(400, "INVALID_FIELD")] {
        story.org.sandbox.fault(Fault::new(kind).path("/services/data"));
        let filter = Criteria::eq("LastName", QUERY);
        errors.push(story.crm.search(&Query::new(entity::LEAD).select(["Id"]).filter(filter)).await.unwrap_err());
    }
    assert!(errors.len() >= 9, "only {} errors: {errors:?}", errors.len());
    for error in &errors {
        story.watch.error("a single call", error);
    }
}

/// What a panic of the host's code around our values says: `unwrap` of our errors, `assert_eq!` on our types.
#[tokio::test]
async fn panics_of_the_host_show_nothing() {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    let mut story = Story::new(5, KEYED).await;
    let person = Fields::from_value(json!({"lastName": NAME, "email": MAIL})).unwrap();
    let record = Fields::from_value(json!({"LastName": NAME, "Company": "C", "Email": MAIL, "Nowhere__c": QUERY})).unwrap();
    let key = ExternalKey::new("Email", MAIL).unwrap();
    let plan = story.engine.plan(&[Incoming::new("one", person.clone())]).await.unwrap();
    let headers = {
        let mut headers = http::HeaderMap::new();
        headers.insert("authorization", format!("Bearer {}", story.watch.canaries[0]).parse().unwrap());
        headers
    };
    let body = format!(r#"{{"type":"contact.updated","id":"1","data":{{"email":"{MAIL}"}}}}"#);
    let request = crm_sync::webhook::RawRequest {
        method: &http::Method::POST,
        url: "https://hooks.example.org/crm",
        headers: &headers,
        body: body.as_bytes(),
    };
    let lane = crm_sync::queue::Lane::new("salesforce:test", entity::LEAD, "1");
    let entry = crm_sync::queue::NewEntry::new(lane, "op", body.clone());
    let event = crm_sync::webhook::WebhookEvent::new("contact.updated", json!({"email": MAIL, "name": NAME}));
    let mut change = crm_sync::model::Change::new(entity::LEAD, crm_sync::model::RecordId::new("1"), crm_sync::model::ChangeKind::Updated);
    change.fields = record.clone();
    let failed = story.crm.create(&entity::LEAD, &record).await.unwrap_err();
    story.org.sandbox.fault(Fault::new(chatty(400, "STRING_TOO_LONG")).path("/services/data"));
    let chatty = story.crm.create(&entity::LEAD, &record).await.unwrap_err();
    let refused = {
        let secrets = crm_sync::webhook::Secrets::new("a", format!("{NAME} as a secret")).unwrap();
        let verifier = crm_sync::webhook::HmacVerifier::new("crm", secrets, "x-signature");
        let refused = crm_sync::webhook::Verifier::verify(&verifier, &request, story.org.host.now()).map(|_| ()).unwrap_err();
        story.watch.text("a verifier", &format!("{verifier:?}"));
        refused
    };
    let panics: Vec<Box<dyn FnOnce()>> = vec![
        Box::new(move || Err::<(), _>(failed).unwrap()),
        Box::new(move || Err::<(), _>(chatty).expect("a lead")),
        Box::new(move || Err::<(), _>(refused).unwrap()),
        Box::new({
            let person = person.clone();
            move || assert_eq!(person, Fields::new())
        }),
        Box::new(move || assert_eq!(Incoming::new("one", person), Incoming::new("two", Fields::new()))),
        Box::new(move || panic!("{plan:?}")),
        Box::new(|| panic!("{request:?}")),
        Box::new(move || panic!("{entry:?}")),
        Box::new(move || panic!("{event:?}")),
        Box::new(move || panic!("{change:?}")),
        Box::new(move || panic!("{key:?}")),
        Box::new(|| panic!("{:?} {:?} {:?}", story.crm, story.engine, story.org.store)),
    ];
    let count = panics.len();
    let mut told = Vec::new();
    for panic in panics {
        let payload = catch_unwind(AssertUnwindSafe(panic)).unwrap_err();
        told.push(*payload.downcast::<String>().expect("a text"));
    }
    assert!(told.len() == count && told.iter().all(|text| !text.is_empty()));
    for text in &told {
        story.watch.text("a panic", text);
    }
}
