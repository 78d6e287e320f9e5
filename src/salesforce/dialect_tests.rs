use super::*;

fn classify(status: u16, body: &str) -> Error {
    let headers = HeaderMap::new();
    SalesforceDialect::default().classify(Failure {
        status: StatusCode::from_u16(status).unwrap(),
        headers: &headers,
        body: body.as_bytes(),
    })
}

fn coded(status: u16, code: &str, message: &str) -> Error {
    classify(status, &serde_json::json!([{ "errorCode": code, "message": message }]).to_string())
}

#[test]
fn the_code_decides_before_the_status() {
    for (status, code, message, kind, retryable) in [
        (401, "INVALID_SESSION_ID", "Session expired or invalid", ErrorKind::Authentication, true),
        (403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", ErrorKind::QuotaExhausted, false),
        (403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded.", ErrorKind::RateLimited, true),
        (403, "INSUFFICIENT_ACCESS_OR_READONLY", "", ErrorKind::Permission, false),
        (403, "API_DISABLED_FOR_ORG", "", ErrorKind::Permission, false),
        (400, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record", ErrorKind::Unavailable, true),
        (400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "LeadTrigger: ... UNABLE_TO_LOCK_ROW ...", ErrorKind::Unavailable, true),
        (400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "LeadTrigger: null", ErrorKind::Validation, false),
        (400, "REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName]", ErrorKind::Validation, false),
        (400, "STRING_TOO_LONG", "", ErrorKind::Validation, false),
        (400, "SOMETHING_NEW", "", ErrorKind::Validation, false),
        (400, "DUPLICATE_VALUE", "", ErrorKind::Duplicate, false),
        (400, "MALFORMED_QUERY", "", ErrorKind::Config, false),
        (400, "INVALID_QUERY_LOCATOR", "invalid query locator", ErrorKind::Conflict, false),
        (400, "QUERY_TIMEOUT", "", ErrorKind::Unavailable, true),
        (400, "ALL_OR_NONE_OPERATION_ROLLED_BACK", "", ErrorKind::Cancelled, true),
        (404, "NOT_FOUND", "", ErrorKind::NotFound, false),
        (404, "ENTITY_IS_DELETED", "", ErrorKind::NotFound, false),
        (404, "INVALID_TYPE", "", ErrorKind::Config, false),
        (500, "UNKNOWN_EXCEPTION", "", ErrorKind::Unavailable, true),
        (503, "SERVER_UNAVAILABLE", "", ErrorKind::Unavailable, true),
    ] {
        let error = coded(status, code, message);
        assert_eq!((error.kind(), error.is_retryable(), error.code()), (kind, retryable, Some(code)), "{code} {message}");
    }
    assert_eq!(coded(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn").retry_after(), Some(CONCURRENT_WAIT));
}

#[test]
fn every_shape_of_body() {
    assert_eq!(classify(400, r#"{"errorCode":"STRING_TOO_LONG","message":"x"}"#).code(), Some("STRING_TOO_LONG"));
    assert_eq!(classify(400, r#"{"error":"invalid_grant","error_description":"x"}"#).code(), Some("invalid_grant"));
    for (status, kind) in [
        (503, ErrorKind::Unavailable),
        (420, ErrorKind::Unavailable),
        (410, ErrorKind::Config),
        (429, ErrorKind::RateLimited),
        (414, ErrorKind::Config),
        (302, ErrorKind::Config),
        (403, ErrorKind::Permission),
    ] {
        for body in ["<html><body>Down for maintenance</body></html>", "", "[]", "[1]", "{"] {
            assert_eq!(classify(status, body).kind(), kind, "{status} {body}");
        }
    }
    let several = classify(
        300,
        r#"["/services/data/v68.0/sobjects/Contact/003D000000QV9n2IAD","/services/data/v68.0/sobjects/Contact/003D000000QV9n2"]"#,
    );
    assert_eq!(several.kind(), ErrorKind::Duplicate);
    assert_eq!(several.duplicates(), [RecordId::from("003D000000QV9n2IAD"), RecordId::from("003D000000QV9n2IAD")]);
}

#[test]
fn the_records_in_the_way() {
    let detected = classify(400, include_str!("../../tests/fixtures/salesforce/duplicates_detected.json"));
    assert_eq!((detected.kind(), detected.code()), (ErrorKind::Duplicate, Some("DUPLICATES_DETECTED")));
    assert_eq!(detected.duplicates(), [RecordId::from("003D000000QV9n2IAD")]);
    let unique = coded(400, "DUPLICATE_VALUE", "duplicate value found: Ext__c duplicates value on record with id: 00QAb00000Xy12Z");
    assert_eq!(unique.duplicates(), [RecordId::from("00QAb00000Xy12ZMAR")]);
    for message in
        ["", "duplicate value found: unknown duplicates value on record with id: <unknown>", "duplicate value found", "x: authenticationx"]
    {
        assert!(coded(400, "DUPLICATE_VALUE", message).duplicates().is_empty(), "{message}");
    }
}

#[test]
fn fields_are_named_and_values_are_not_shown() {
    let error = classify(
        400,
        r#"[{"errorCode":"INVALID_EMAIL_ADDRESS","message":"Email: invalid email address: ann@private","fields":["Email"]}]"#,
    );
    assert_eq!(error.fields().iter().map(|field| field.field.as_str()).collect::<Vec<_>>(), ["Email"]);
    assert!(!format!("{error} {error:?}").contains("private"));
    let unknown = coded(400, "INVALID_FIELD", "No such column 'Foo__c' on sobject of type Lead");
    assert_eq!(unknown.fields()[0].field, "Foo__c");
    // An org's own rule may quote the record.
    assert!(!coded(400, "FIELD_CUSTOM_VALIDATION_EXCEPTION", "Pick a region\n first").message().contains("Pick a region"));
}

#[test]
fn only_a_dead_session_is_renewed() {
    let expired = |status: u16, body: &str| {
        let headers = HeaderMap::new();
        SalesforceDialect::default().session_expired(Failure {
            status: StatusCode::from_u16(status).unwrap(),
            headers: &headers,
            body: body.as_bytes(),
        })
    };
    assert!(expired(401, r#"[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]"#));
    assert!(expired(401, ""));
    assert!(!expired(401, r#"[{"message":"This session is not valid for use with the REST API","errorCode":"INVALID_SESSION_ID"}]"#));
    assert!(!expired(401, r#"[{"message":"Connected app is not attached to Agent","errorCode":"INVALID_SESSION_ID"}]"#));
    assert!(!expired(401, r#"[{"message":"x","errorCode":"APEX_ERROR"}]"#));
    assert!(!expired(403, r#"[{"message":"x","errorCode":"INVALID_SESSION_ID"}]"#));
    assert!(!expired(401, "<html/>"));
}
