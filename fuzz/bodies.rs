//! What the fuzz targets do with their bytes. The same functions run in a short seeded loop among the crate's tests
//! (`tests/fuzz_short.rs`), so that a toolchain without libFuzzer finds the shallow faults as well.

use std::sync::OnceLock;

use crm_sync::mapping::formula::Formula;
use crm_sync::mapping::{JsonError, Mapping, MappingSet, Mode};
use crm_sync::model::Fields;
use crm_sync::webhook::{
    BasicVerifier, EventFormat, HmacVerifier, JsonEvents, RawRequest, Secrets, StandardWebhooks, UrlVerifier, Verified, Verifier,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// A mapping file: read, compiled, run on a record. Nothing may panic, and every problem can be shown.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for origin in ["x.yaml", "x.json", "x.toml"] {
        match MappingSet::from_path_text(text, origin) {
            Err(problems) => assert!(!problems.to_string().is_empty()),
            Ok(set) => {
                for config in set.iter() {
                    match Mapping::compile(config, None) {
                        Err(problems) => assert!(!problems.to_string().is_empty()),
                        Ok(mapping) => {
                            let record: Fields = [("email", "a@b.example"), ("name", "Ann Lee"), ("n", "12")].into_iter().collect();
                            let _ = mapping.outbound(&record, Mode::Create).map_err(|error| error.to_string());
                            let _ = mapping.inbound(&record).map_err(|error| error.to_string());
                        }
                    }
                }
            }
        }
    }
}

/// A formula: read, evaluated. An error points into the text.
pub fn formula(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Formula::parse(text) {
        Err(error) => assert!(error.position() <= text.len(), "{error}"),
        Ok(formula) => {
            let record: Fields = [("a", "Ann"), ("b", "2026-01-31"), ("c", "12.5")].into_iter().collect();
            if let Err(error) = formula.eval(&record, "2026-01-31T12:00:00Z".parse().ok()) {
                assert!(error.position() <= text.len(), "{error}");
            }
        }
    }
}

fn mapping() -> &'static Mapping {
    static MAPPING: OnceLock<Mapping> = OnceLock::new();
    MAPPING.get_or_init(|| {
        let set = MappingSet::from_yaml(include_str!("mapping.yaml"), "mapping.yaml").expect("the file is read");
        Mapping::compile(set.entity("crm", "lead").expect("the entity is there"), None).expect("the mapping compiles")
    })
}

/// A record as JSON text: both ways take the same texts and write the same bytes.
pub fn record(data: &[u8]) {
    let mut out = b"before".to_vec();
    let direct = mapping().outbound_json(data, &mut out);
    let tree = serde_json::from_slice::<Fields>(data);
    match (direct, tree) {
        (Err(JsonError::Invalid { offset, .. }), tree) => {
            assert!(offset <= data.len());
            assert!(tree.is_err(), "refused at {offset}, and a tree can be built");
            assert_eq!(out, b"before");
        }
        (direct, Err(error)) => panic!("{direct:?} for what is no JSON: {error}"),
        (Ok(notes), Ok(record)) => {
            let mapped = mapping().outbound(&record, Mode::Create).expect("the other way maps it");
            assert_eq!(out.strip_prefix(b"before"), Some(serde_json::to_vec(&mapped.fields).expect("it is JSON").as_slice()));
            assert_eq!((notes.lookups, notes.warnings), (mapped.lookups, mapped.warnings));
        }
        (Err(JsonError::Record(error)), Ok(record)) => {
            assert_eq!(Err(error), mapping().outbound(&record, Mode::Create).map(|_| ()));
            assert_eq!(out, b"before");
        }
        (Err(other), Ok(_)) => panic!("{other:?}"),
    }
}

/// A webhook: lines `name: value` until an empty one are the headers, the rest is the body. No verifier believes it, since nobody
/// who wrote it has the secrets, and no format of events panics.
pub fn webhook(data: &[u8]) {
    let at = data.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = at.map_or((data, &b""[..]), |at| (&data[..at], &data[at + 2..]));
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii())) {
            headers.append(name, value);
        }
    }
    let request = RawRequest { method: &Method::POST, url: "https://hooks.example.org/crm?x=%2F", headers: &headers, body };
    let now = jiff::Timestamp::from_second(1_614_265_330).expect("a time");
    for verifier in verifiers() {
        if let Err(error) = verifier.verify(&request, now) {
            assert!(!error.to_string().is_empty() && !error.reason().is_empty());
        } else {
            panic!("{} believes it", verifier.source());
        }
    }
    let body = Verified::trust_without_verifying(body, "fuzz", "key");
    for format in formats() {
        match format.events(&body) {
            Ok(events) => assert!(events.iter().all(|event| !format!("{event:?}").is_empty())),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

fn verifiers() -> &'static [Box<dyn Verifier>] {
    static ALL: OnceLock<Vec<Box<dyn Verifier>>> = OnceLock::new();
    ALL.get_or_init(|| {
        let secrets = || Secrets::new("a", "a secret of some length".to_owned()).expect("a secret");
        let standard = StandardWebhooks::new("standard")
            .secret("a", "whsec_plJ3nmyCDGBKInavdOK15jsl".to_owned())
            .and_then(|all| all.public_key("b", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="));
        vec![
            Box::new(HmacVerifier::new("plain", secrets(), "x-signature").prefix("sha256=")),
            Box::new(HmacVerifier::timestamped("timestamped", secrets(), "x-signature")),
            Box::new(standard.expect("two keys")),
            Box::new(BasicVerifier::new("basic", "user", "a secret of some length".to_owned()).expect("a user")),
            Box::new(UrlVerifier::path("path", "/hooks/{secret}", "a", "a secret of some length".to_owned()).expect("one step")),
            Box::new(UrlVerifier::query("query", "x", "a", "a secret of some length".to_owned()).expect("a name")),
            #[cfg(feature = "hubspot")]
            Box::new(crm_sync::hubspot::HubSpotVerifier::new("hubspot", secrets())),
            #[cfg(feature = "outbound-messages")]
            Box::new(
                crm_sync::salesforce::webhook::OutboundVerifier::new("00DAb0000001Org")
                    .and_then(|verifier| verifier.path_secret("a", "a secret of some length".to_owned()))
                    .expect("an organisation"),
            ),
        ]
    })
}

fn formats() -> &'static [Box<dyn EventFormat>] {
    static ALL: OnceLock<Vec<Box<dyn EventFormat>>> = OnceLock::new();
    ALL.get_or_init(|| {
        vec![
            Box::new(JsonEvents::default()),
            #[cfg(feature = "hubspot")]
            Box::new(crm_sync::hubspot::HubSpotEvents::new()),
            #[cfg(feature = "pipedrive")]
            Box::new(crm_sync::pipedrive::PipedriveEvents),
            #[cfg(feature = "outbound-messages")]
            Box::new(crm_sync::salesforce::webhook::OutboundFormat),
        ]
    })
}
