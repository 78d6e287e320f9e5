//! The OAuth endpoints of the sandbox beyond refresh and code, in raw HTTP.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use crate::raw_http;

use std::time::Duration;

use raw_http::Org;
use serde_json::json;

fn error(answer: &raw_http::Answer) -> (u16, &str, &str) {
    let text = |name: &str| answer.body[name].as_str().unwrap_or("");
    (answer.status, text("error"), text("error_description"))
}

#[cfg(feature = "jwt")]
mod bearer {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use serde_json::Value;

    use super::*;

    fn pem(key: &RsaKeyPair) -> String {
        let der = key.public_key().as_der().unwrap();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der.as_ref()))
    }

    fn signed(key: &RsaKeyPair, header: &Value, claims: &Value) -> String {
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn an_assertion_is_checked_claim_by_claim() {
        let org = Org::new();
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        org.sandbox.set_options(|options| options.jwt_key = Some(pem(&key))).unwrap();
        let client = org.sandbox.salesforce("http://localhost").client_id;
        // The manual clock stands at the beginning of 2026.
        let now = 1_767_225_600;
        let good = json!({"iss": client, "sub": "integration@sandbox.example", "aud": "https://login.salesforce.com", "exp": now + 180});
        let rs256 = json!({"alg": "RS256"});
        let ask = |assertion: &str| {
            let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
            org.form("/services/oauth2/token", &[grant, ("assertion", assertion)])
        };
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            signed(&key, &rs256, &claims)
        };
        let granted = ask(&signed(&key, &rs256, &good));
        assert_eq!(granted.status, 200, "{}", granted.body);
        assert!(granted.body.get("refresh_token").is_none() && granted.body.get("issued_at").is_none());
        let token = granted.body["access_token"].as_str().unwrap().to_owned();
        assert_eq!(Org { token, ..org.with("x", "y") }.get("/limits").status, 200);
        assert_eq!(ask(&with("aud", json!("http://localhost"))).status, 200);
        for (name, value, code, description) in [
            ("iss", json!("nobody"), "invalid_client_id", "client identifier invalid"),
            ("aud", json!("https://example.com"), "invalid_grant", "audience is invalid"),
            ("exp", json!(now), "invalid_grant", "invalid assertion"),
            ("exp", json!(now + 3600), "invalid_grant", "invalid assertion"),
            ("sub", json!("nobody@sandbox.example"), "invalid_grant", "user hasn't approved this consumer"),
        ] {
            assert_eq!(error(&ask(&with(name, value))), (400, code, description));
        }
        let user = org.column("SELECT Id FROM User WHERE Username = 'sales@sandbox.example'", "Id")[0].clone();
        org.send("PATCH", &format!("/_sandbox/records/User/{user}"), Some(json!({"IsActive": false})));
        assert_eq!(error(&ask(&with("sub", json!("sales@sandbox.example")))).2, "inactive user");
        let stranger = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        assert_eq!(error(&ask(&signed(&stranger, &rs256, &good))).2, "invalid assertion");
        assert_eq!(error(&ask(&signed(&key, &json!({"alg": "none"}), &good))).2, "invalid assertion");
        assert_eq!(error(&ask("no.assertion")).2, "invalid assertion");
        org.sandbox.set_options(|options| options.jwt_key = None).unwrap();
        assert_eq!(error(&ask(&signed(&key, &rs256, &good))).2, "invalid assertion");
        let missing = org.form("/services/oauth2/token", &[("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")]);
        assert_eq!(error(&missing).1, "invalid_request");
    }
}

#[test]
fn introspection_tells_what_a_token_is() {
    let org = Org::new();
    org.sandbox.set_options(|options| options.token_lifetime = Some(60)).unwrap();
    let access = org.sandbox.salesforce("http://localhost");
    let client = [("client_id", access.client_id.as_str()), ("client_secret", access.client_secret.as_str())];
    let form = |more: &[(&str, &str)], path: &str| org.form(path, &[&client[..], more].concat());
    let fresh = form(&[("grant_type", "refresh_token"), ("refresh_token", &access.refresh_token)], "/services/oauth2/token");
    let token = fresh.body["access_token"].as_str().unwrap().to_owned();
    let shown = form(&[("token", &token)], "/services/oauth2/introspect").body;
    assert_eq!((&shown["active"], &shown["token_type"]), (&json!(true), &json!("access_token")));
    assert_eq!((&shown["exp"], &shown["username"]), (&json!(1_767_225_660), &json!("integration@sandbox.example")));
    let refresh = form(&[("token", &access.refresh_token)], "/services/oauth2/introspect").body;
    assert_eq!(refresh["token_type"], "refresh_token");
    org.clock.advance(Duration::from_secs(60));
    assert_eq!(form(&[("token", &token)], "/services/oauth2/introspect").body, json!({"active": false}));
    let nobody = org.form("/services/oauth2/introspect", &[("token", &token)]);
    assert_eq!(error(&nobody).1, "invalid_client_id");
    // Revoking the refresh token ends its sessions.
    assert_eq!(org.form("/services/oauth2/revoke", &[("token", &access.refresh_token)]).status, 200);
    let dead = form(&[("grant_type", "refresh_token"), ("refresh_token", &access.refresh_token)], "/services/oauth2/token");
    assert_eq!(error(&dead), (400, "invalid_grant", "expired access/refresh token"));
    assert_eq!(org.get("/limits").status, 401);
}

#[test]
fn a_sixth_approval_ends_the_first() {
    let org = Org::new();
    let access = org.sandbox.salesforce("http://localhost");
    let approve = || {
        let query = format!("response_type=code&client_id={}&redirect_uri=http%3A%2F%2Flocalhost%2Fcb", access.client_id);
        let answer = org.get(&format!("/services/oauth2/authorize?{query}"));
        let code = answer.header("location").split_once("code=").unwrap().1.to_owned();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", "http://localhost/cb"),
            ("client_id", access.client_id.as_str()),
            ("client_secret", access.client_secret.as_str()),
        ];
        assert_eq!(org.form("/services/oauth2/token", &form).status, 200);
    };
    let refresh = || {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", access.refresh_token.as_str()),
            ("client_id", access.client_id.as_str()),
            ("client_secret", access.client_secret.as_str()),
        ];
        org.form("/services/oauth2/token", &form).status
    };
    (0..4).for_each(|_| approve());
    assert_eq!(refresh(), 200);
    approve();
    assert_eq!(refresh(), 400);
}

#[test]
fn an_org_that_moved_is_not_found_at_its_old_host() {
    let org = Org::new();
    org.sandbox
        .set_options(|options| {
            options.instance_url = Some("http://moved.example".to_owned());
            options.strict_instance = true;
        })
        .unwrap();
    assert_eq!(org.get("/limits").code(), "INVALID_SESSION_ID");
    assert_eq!(org.with("host", "moved.example").get("/limits").status, 200);
}
