//! Each CRM's wire forms, through whole mappings and both ways.
#![cfg(feature = "yaml")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a test that fails should stop"
)]

use crm_sync::mapping::{Mapping, MappingConfig, MappingSet, Mode, Profile, code, diff};
use crm_sync::model::{Entity, EntitySchema, FieldSchema, FieldType, Fields, Picklist, PicklistValue, Value};
use serde_json::json;

const KEY: &str = "0123456789abcdef0123456789abcdef0123456";

fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

fn compile(crm: &str, lines: &str, schema: Option<&EntitySchema>) -> Mapping {
    try_compile(crm, lines, schema).unwrap_or_else(|problems| panic!("{problems}"))
}

fn try_compile(crm: &str, lines: &str, schema: Option<&EntitySchema>) -> Result<Mapping, crm_sync::mapping::Diagnostics> {
    let text = format!("{crm}:\n  thing:\n    {}\n", lines.replace('\n', "\n    "));
    let set = MappingSet::from_yaml(&text, "map.yaml")?;
    Mapping::compile(set.entity(crm, "thing").unwrap(), schema)
}

fn schema(fields: Vec<FieldSchema>) -> EntitySchema {
    EntitySchema::new(Entity::from_static("thing"), "Thing", fields)
}

fn list(name: &str, kind: FieldType, values: &[(&str, &str)]) -> FieldSchema {
    let mut field = FieldSchema::new(name, kind);
    let mut list = Picklist::of(true, values.iter().map(|(value, _)| *value));
    for (value, (_, label)) in list.values.iter_mut().zip(values) {
        value.label = (*label).to_owned();
    }
    field.picklist = Some(list);
    field
}

/// Outbound gives `theirs`, and inbound gives `ours` back.
fn both(mapping: &Mapping, ours: Value, theirs: Value) {
    let sent = mapping.outbound(&fields(ours.clone()), Mode::Update).unwrap_or_else(|error| panic!("{ours}: {error}"));
    assert_eq!(sent.fields.to_value(), theirs, "{ours}");
    let mut text = Vec::new();
    mapping.outbound_json_at(ours.to_string().as_bytes(), &mut text, Mode::Update, "2026-01-01T00:00:00Z".parse().unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), theirs, "{ours}");
    assert_eq!(mapping.inbound(&sent.fields).unwrap().fields.to_value(), ours, "{theirs}");
}

fn refuses(mapping: &Mapping, ours: Value, code: &str) {
    let error =
        mapping.outbound(&fields(ours.clone()), Mode::Update).map(|mapped| panic!("{ours}: {:?}", mapped.fields.to_value())).unwrap_err();
    assert_eq!(error.problems()[0].code, code, "{ours}");
}

#[test]
fn hubspot_takes_texts_only() {
    let schema = schema(vec![
        FieldSchema::new("name", FieldType::Text),
        FieldSchema::new("amount", FieldType::Decimal { scale: None }),
        FieldSchema::new("employees", FieldType::Integer),
        FieldSchema::new("active", FieldType::Boolean),
        FieldSchema::new("closed", FieldType::Date),
        FieldSchema::new("seen", FieldType::DateTime { whole_seconds: false }),
        list("stage", FieldType::Picklist, &[("new", "New one"), ("won", "Won")]),
        list("tags", FieldType::MultiPicklist, &[("A", "A"), ("B", "B"), ("C", "C")]),
        FieldSchema::new("owner", FieldType::Reference),
    ]);
    let lines = "name: name\namount: { field: amount, lenient: true }\nemployees: employees\nactive: active\nclosed: closed\nseen: seen\nstage: stage\ntags: tags\nowner: owner";
    let mapping = compile("hubspot", lines, Some(&schema));
    for (ours, theirs) in [
        (json!({"name": "Acme"}), json!({"name": "Acme"})),
        (json!({"name": null}), json!({"name": ""})),
        (json!({"amount": 1234.5}), json!({"amount": "1234.5"})),
        (json!({"employees": 0}), json!({"employees": "0"})),
        (json!({"active": false}), json!({"active": "false"})),
        (json!({"closed": "2026-02-28"}), json!({"closed": "2026-02-28"})),
        (json!({"seen": "2026-01-02T03:04:05.678Z"}), json!({"seen": "2026-01-02T03:04:05.678Z"})),
        (json!({"stage": "won"}), json!({"stage": "won"})),
        (json!({"tags": ["A", "C"]}), json!({"tags": "A;C"})),
        (json!({"owner": "71"}), json!({"owner": "71"})),
    ] {
        both(&mapping, ours, theirs);
    }
    let out = |ours: Value| mapping.outbound(&fields(ours), Mode::Update).unwrap().fields.to_value();
    // All 28 digits, for nothing passes through a double.
    assert_eq!(out(json!({"amount": "1234567890123456789.123456789"})), json!({"amount": "1234567890123456789.123456789"}));
    assert_eq!(out(json!({"closed": 1_772_236_800_000_i64})), json!({"closed": "2026-02-28"}));
    assert_eq!(out(json!({"tags": ";C"})), json!({"tags": ";C"}));
    assert_eq!(out(json!({"tags": []})), json!({"tags": ""}));
    refuses(&mapping, json!({"closed": 1_772_236_800_001_i64}), "no_zone");
    refuses(&mapping, json!({"stage": "Won"}), "picklist_value");
    refuses(&mapping, json!({"name": {"a": 1}}), "wrong_type");
    // Epochs of older answers, and empty texts for nothing.
    let read = |theirs: Value| mapping.inbound(&fields(theirs)).unwrap().fields.to_value();
    assert_eq!(
        read(json!({"seen": "1767323045678", "closed": "1772236800000"})),
        json!({"seen": "2026-01-02T03:04:05.678Z", "closed": "2026-02-28"})
    );
    assert_eq!(read(json!({"name": "", "amount": ""})), json!({"name": null, "amount": null}));

    let added = compile("hubspot", "tags: { field: tags, append: true }", Some(&schema));
    let sent = added.outbound(&fields(json!({"tags": ["B"]})), Mode::Update).unwrap().fields;
    assert_eq!(sent.to_value(), json!({"tags": ";B"}));
    assert!(diff(&fields(json!({"tags": "A;B"})), &sent, &added).is_empty());

    let blind = compile("hubspot", "a: a\nb: b\nc: c", None);
    let sent = blind.outbound(&fields(json!({"a": 1.5, "b": true, "c": ["x", "y"]})), Mode::Create).unwrap().fields;
    assert_eq!(sent.to_value(), json!({"a": "1.5", "b": "true", "c": "x;y"}));
}

#[test]
fn pipedrive_takes_numbers_and_objects() {
    let key = |digit: char| format!("{KEY}{digit}");
    let mut labelled = list(&key('1'), FieldType::Picklist, &[("11", "Hot"), ("12", "Cold")]);
    labelled.label = "Temperature".to_owned();
    let schema = schema(vec![
        labelled,
        list(&key('2'), FieldType::MultiPicklist, &[("21", "Sales"), ("22", "Support")]),
        FieldSchema::new(key('3'), FieldType::Monetary),
        FieldSchema::new(key('4'), FieldType::Time),
        FieldSchema::new(key('5'), FieldType::DateRange),
        FieldSchema::new(key('6'), FieldType::Address),
        FieldSchema::new("emails", FieldType::Text),
        FieldSchema::new("owner_id", FieldType::Reference),
        FieldSchema::new("name", FieldType::Text),
        FieldSchema::new("add_time", FieldType::DateTime { whole_seconds: true }),
    ]);
    let lines = format!(
        "heat: Temperature\nteams: {0}2\nvalue: {{ field: {0}3, currency: EUR }}\nat: {0}4\nstay: {0}5\nplace: {0}6\nemail: emails\nowner: owner_id\nname: name\nadded: add_time",
        KEY
    );
    let mapping = compile("pipedrive", &lines, Some(&schema));
    for (ours, theirs) in [
        (json!({"heat": "Cold"}), json!({key('1'): 12})),
        (json!({"heat": null}), json!({key('1'): null})),
        (json!({"teams": ["Sales", "Support"]}), json!({key('2'): [21, 22]})),
        (json!({"teams": null}), json!({key('2'): null})),
        (json!({"value": 12.5}), json!({key('3'): {"value": 12.5, "currency": "EUR"}})),
        (json!({"value": {"value": 3, "currency": "USD"}}), json!({key('3'): {"value": 3, "currency": "USD"}})),
        (json!({"at": "14:30:00"}), json!({key('4'): {"value": "14:30:00"}})),
        (
            json!({"at": {"value": "14:30:00", "timezone_name": "Europe/Rome"}}),
            json!({key('4'): {"value": "14:30:00", "timezone_name": "Europe/Rome"}}),
        ),
        (
            json!({"stay": {"value": "2026-01-01", "until": "2026-01-09"}}),
            json!({key('5'): {"value": "2026-01-01", "until": "2026-01-09"}}),
        ),
        (json!({"place": "Main St 1"}), json!({key('6'): {"value": "Main St 1"}})),
        (json!({"email": "a@b.c"}), json!({"emails": [{"value": "a@b.c", "label": "work", "primary": true}]})),
        (json!({"email": null}), json!({"emails": []})),
        (json!({"owner": 7}), json!({"owner_id": 7})),
        (json!({"added": "2026-01-02T03:04:05Z"}), json!({"add_time": "2026-01-02T03:04:05Z"})),
    ] {
        both(&mapping, ours, theirs);
    }
    refuses(&mapping, json!({"heat": "Warm"}), "picklist_value");
    refuses(&mapping, json!({"stay": "2026-01-01"}), "wrong_type");
    assert_eq!(
        mapping.inbound(&fields(json!({"add_time": "2024-07-11 01:14:00"}))).unwrap().fields.to_value(),
        json!({"added": "2024-07-11T01:14:00Z"})
    );
    // A table of the mapping may name labels; what it names is checked against them.
    let table = format!("heat: {{ type: picklist, field: {KEY}1, mapping: {{ h: Hot, c: Cold }} }}");
    let mapping = compile("pipedrive", &table, Some(&schema));
    both(&mapping, json!({"heat": "h"}), json!({key('1'): 11}));
    let problems = try_compile("pipedrive", &table.replace("Cold", "Cool"), Some(&schema)).unwrap_err();
    assert_eq!(problems.iter().next().unwrap().code, code::PICKLIST_VALUE);
    let problems = try_compile("salesforce", "a: { field: B, currency: EUR, append: true }", None).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems}");
}

#[test]
fn salesforce_takes_ids_of_eighteen_and_checks_digits_and_bytes() {
    let mut reference = FieldSchema::new("AccountId", FieldType::Reference);
    reference.references = vec!["Account".to_owned()];
    let mut name = FieldSchema::new("Name", FieldType::Text);
    name.max_bytes = Some(10);
    let mut amount = FieldSchema::new("Amount", FieldType::Decimal { scale: Some(2) });
    amount.max_digits = Some(6);
    let schema = schema(vec![
        reference,
        name,
        amount,
        FieldSchema::new("At", FieldType::Time),
        FieldSchema::new("Seen", FieldType::DateTime { whole_seconds: true }),
    ]);
    let mapping = compile("salesforce", "account: AccountId\nname: Name\namount: Amount\nat: At\nseen: Seen", Some(&schema));
    both(&mapping, json!({"account": "001D000000IqhSLIAZ"}), json!({"AccountId": "001D000000IqhSLIAZ"}));
    both(&mapping, json!({"at": "10:00:00"}), json!({"At": "10:00:00.000Z"}));
    let out = |ours: Value| mapping.outbound(&fields(ours), Mode::Update).unwrap().fields.to_value();
    assert_eq!(out(json!({"account": "001D000000IqhSL"})), json!({"AccountId": "001D000000IqhSLIAZ"}));
    assert_eq!(out(json!({"amount": 9999.99})), json!({"Amount": 9999.99}));
    assert_eq!(
        mapping.inbound(&fields(json!({"Seen": "2026-01-02T03:04:05.000+0000"}))).unwrap().fields.to_value(),
        json!({"seen": "2026-01-02T03:04:05Z"})
    );
    refuses(&mapping, json!({"account": "003D000000IqhSL"}), "wrong_format");
    refuses(&mapping, json!({"account": "Acme"}), "wrong_format");
    refuses(&mapping, json!({"amount": 10_000}), "out_of_range");
    refuses(&mapping, json!({"name": "ääääää"}), "too_long");
    let cut = compile("salesforce", "name: { field: Name, on_too_long: truncate }", Some(&schema));
    assert_eq!(cut.outbound(&fields(json!({"name": "ääääää"})), Mode::Update).unwrap().fields.to_value(), json!({"Name": "äääää"}));
}

#[test]
fn dependent_picklists_are_checked_by_pairs() {
    let country = list("Country", FieldType::Picklist, &[("IT", "Italy"), ("US", "USA")]);
    let mut state = FieldSchema::new("State", FieldType::Picklist);
    state.controller = Some("Country".to_owned());
    let value = |name: &str, with: &str| {
        let mut value = PicklistValue::new(name);
        value.valid_for = vec![with.to_owned()];
        value
    };
    let mut states = Picklist::of(true, [""; 0]);
    states.values = vec![value("RM", "IT"), value("CA", "US")];
    state.picklist = Some(states);
    let schema = schema(vec![country, state]);
    let mapping = compile("salesforce", "country: Country\nstate: State", Some(&schema));
    both(&mapping, json!({"country": "IT", "state": "RM"}), json!({"Country": "IT", "State": "RM"}));
    refuses(&mapping, json!({"country": "IT", "state": "CA"}), "picklist_value");
    assert!(mapping.outbound_json(br#"{"country":"IT","state":"CA"}"#, &mut Vec::new()).is_err());
    let never = compile(
        "salesforce",
        "country: { type: constant, field: Country, value: IT }\nstate: { type: picklist, field: State, mapping: { r: RM, c: CA } }",
        Some(&schema),
    );
    assert_eq!(never.warnings().iter().map(|problem| problem.code).collect::<Vec<_>>(), [code::DEPENDENT_VALUE]);
}

#[test]
fn dates_in_the_hosts_spelling() {
    let schema = schema(vec![FieldSchema::new("Born", FieldType::Date), FieldSchema::new("Note", FieldType::Text)]);
    let mapping =
        compile("salesforce", "born: { field: Born, format: \"%d.%m.%Y\" }\nnote: { field: Note, format: \"%d/%m/%Y\" }", Some(&schema));
    both(&mapping, json!({"born": "31.01.2026", "note": "2026-01-31"}), json!({"Born": "2026-01-31", "Note": "31/01/2026"}));
    refuses(&mapping, json!({"born": "2026-01-31"}), "wrong_format");
    let problems = try_compile("salesforce", "born: { field: Born, format: dd.mm.yyyy }", Some(&schema)).unwrap_err();
    assert_eq!((problems.iter().next().unwrap().code, problems.iter().next().unwrap().column), (code::BAD_VALUE, 34));
}

#[test]
fn formulas_are_checked_before_any_record() {
    let schema = schema(vec![
        FieldSchema::new("Count", FieldType::Integer),
        FieldSchema::new("Name", FieldType::Text),
        FieldSchema::new("Flag", FieldType::Boolean),
    ]);
    for (line, column, part) in [
        ("x: { field: Count, formula: \"UPPER(a)\" }", 34, "takes a number"),
        ("x: { field: Name, formula: \"'a' + 1\" }", 33, "TO_NUMBER"),
        ("x: { field: Flag, formula: \"LEN(a)\" }", 33, "true or false"),
        ("x: { field: Name, when: \"LEN(a)\" }", 30, "condition"),
        (
            "x: { field: Name, formula: \"PICKLIST(a, 'stge')\" }\nstage: { type: picklist, field: Count, mapping: { a: \"1\" } }",
            45,
            "did you mean \"stage\"",
        ),
        ("x: { field: Name, formula: \"REGEX(a, '(')\" }", 42, "regular expression"),
    ] {
        let problems = try_compile("salesforce", line, Some(&schema)).map(|_| panic!("{line}")).unwrap_err();
        let first = problems.iter().find(|problem| problem.severity == crm_sync::mapping::Severity::Error).unwrap();
        assert!(problems.to_string().contains(part), "{line}\n{problems}");
        assert_eq!(first.column, column, "{line}\n{problems}");
    }
    let tables = "stage: { type: picklist, field: Name, mapping: { a: Alpha } }\nboth: { field: Note, formula: \"PICKLIST(s, 'stage') & COALESCE(LOOKUP(t, 'stage'), '-')\" }";
    let mapping = compile("custom", tables, None);
    let sent = mapping.outbound(&fields(json!({"s": "a", "t": "z"})), Mode::Create).unwrap().fields;
    assert_eq!(sent.to_value(), json!({"Note": "Alpha-"}));
    assert!(mapping.outbound(&fields(json!({"s": "z"})), Mode::Create).is_err());
    let back = compile(
        "custom",
        "stage: { type: picklist, field: Name, mapping: { a: Alpha } }\nx: { field: Other, formula: \"PICKLIST(y, 'stage')\" }\nid: { field: Key, formula: \"CONCAT('LEAD-', number)\" }",
        None,
    );
    let sent = back.outbound(&fields(json!({"y": "a", "number": "7"})), Mode::Update).unwrap().fields;
    assert_eq!(sent.to_value(), json!({"Other": "Alpha", "Key": "LEAD-7"}));
    assert_eq!(back.inbound(&sent).unwrap().fields.to_value(), json!({"y": "a", "number": "7"}));
    assert!(back.one_way().is_empty());
}

#[test]
fn a_record_may_be_skipped_instead_of_failing() {
    let mapping = compile("custom", "a: { field: A, formula: \"1 / n\", on_error: skip_record }\nb: { field: B, required: true }", None);
    let error = mapping.outbound(&fields(json!({"n": 0, "b": 1})), Mode::Create).unwrap_err();
    assert!(error.skips_record());
    // Another problem of the record is a failure still.
    assert!(!mapping.outbound(&fields(json!({"n": 0})), Mode::Create).unwrap_err().skips_record());
}

proptest::proptest! {
    #[test]
    fn what_is_invertible_comes_back_from_every_crm(
        crm in proptest::sample::select(vec!["salesforce", "hubspot", "pipedrive", "custom"]),
        name in "[A-Za-zäß]([A-Za-z \"\\\\äß]{0,10}[A-Za-zäß])?",
        cents in -1_000_000_i64..1_000_000,
        flag: bool,
        day in 0_i32..20_000,
        second in 0_i64..2_000_000_000,
        tags in proptest::sample::subsequence(vec!["A", "B", "C"], 1..=3),
        id in "[a-z0-9]{1,8}",
    ) {
        let key = format!("{KEY}1");
        let schema = schema(vec![
            FieldSchema::new("name", FieldType::Text),
            FieldSchema::new("amount", FieldType::Decimal { scale: Some(4) }),
            FieldSchema::new("flag", FieldType::Boolean),
            FieldSchema::new("day", FieldType::Date),
            FieldSchema::new("seen", FieldType::DateTime { whole_seconds: true }),
            FieldSchema::new("code", FieldType::Text),
            list(&key, FieldType::MultiPicklist, &[("A", "A"), ("B", "B"), ("C", "C")]),
        ]);
        let lines = format!(
            "name: name\ncents: {{ field: amount, formula: \"money / 100\" }}\nflag: {{ field: flag, formula: \"NOT(off)\" }}\nday: {{ field: day, format: \"%d.%m.%Y\" }}\nseen: {{ field: seen, format: epoch_s }}\ncode: {{ field: code, formula: \"CONCAT('X-', id)\" }}\ntags: {key}"
        );
        let mapping = compile(crm, &lines, Some(&schema));
        proptest::prop_assert!(mapping.one_way().is_empty());
        let date = jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(day)).unwrap();
        let ours = json!({
            "name": name, "money": cents, "off": flag, "day": date.strftime("%d.%m.%Y").to_string(), "seen": second, "id": id, "tags": tags,
        });
        let sent = mapping.outbound(&fields(ours.clone()), Mode::Update).unwrap().fields;
        let back = mapping.inbound(&sent).unwrap().fields;
        proptest::prop_assert_eq!(back.to_value(), ours);
        // And the other way round: what comes back is written as it was.
        let again = mapping.outbound(&back, Mode::Update).unwrap().fields;
        proptest::prop_assert_eq!(again.to_value(), sent.to_value());
    }
}

#[test]
fn the_forms_go_by_the_name_or_as_told() {
    assert_eq!(Profile::by_name("HubSpot-EU"), Profile::Hubspot);
    let config = MappingConfig::new("crm_two", "thing").field("a", "a").speaking(Profile::Hubspot);
    let mapping = Mapping::compile(&config, None).unwrap();
    assert_eq!(mapping.outbound(&fields(json!({"a": 1})), Mode::Create).unwrap().fields.to_value(), json!({"a": "1"}));
}

#[cfg(feature = "json-schema")]
mod json_schema {
    use super::*;

    /// As much of JSON Schema as the schema uses.
    fn fits(schema: &Value, value: &Value, root: &Value) -> bool {
        if let Some(name) = schema["$ref"].as_str() {
            return fits(root.pointer(name.trim_start_matches('#')).unwrap(), value, root);
        }
        if schema.is_boolean() {
            return schema == &Value::Bool(true);
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let is = |wanted: &Value| wanted == kind || (wanted == "number" && kind == "integer");
        let typed = match &schema["type"] {
            Value::Null => true,
            Value::Array(kinds) => kinds.iter().any(is),
            one => is(one),
        };
        let any = ["anyOf", "oneOf"]
            .iter()
            .all(|key| schema[*key].as_array().is_none_or(|parts| parts.iter().any(|part| fits(part, value, root))));
        let listed = schema["enum"].as_array().is_none_or(|values| values.contains(value));
        let constant = schema.get("const").is_none_or(|wanted| wanted == value);
        let members = value.as_object().is_none_or(|map| {
            map.iter().all(|(key, part)| match (schema["properties"].get(key), schema.get("additionalProperties")) {
                (Some(known), _) => fits(known, part, root),
                (None, Some(rest)) => fits(rest, part, root),
                (None, None) => true,
            })
        });
        let items = value.as_array().is_none_or(|items| schema.get("items").is_none_or(|of| items.iter().all(|item| fits(of, item, root))));
        typed && any && listed && constant && members && items
    }

    #[test]
    fn the_files_of_this_repository_are_as_the_schema_says() {
        let schema = MappingSet::json_schema();
        for text in [
            include_str!("../fixtures/mapping/guide.yaml"),
            include_str!("../../examples/field-mappings.yaml"),
            include_str!("../../fuzz/mapping.yaml"),
        ] {
            let file: Value = serde_saphyr::from_str(text).unwrap();
            assert!(fits(&schema, &file, &schema), "{text}");
        }
        for wrong in [
            json!({"crm": {"lead": {"a": {"feild": "B"}}}}),
            json!({"crm": {"lead": {"a": {"field": "B", "type": "pick_list"}}}}),
            json!({"crm": {"lead": {"a": {"field": "B", "required": "yes"}}}}),
            json!({"crm": {"lead": {"a": 5}}}),
            json!({"crm": ["lead"]}),
        ] {
            assert!(!fits(&schema, &wrong, &schema), "{wrong}");
        }
    }
}
