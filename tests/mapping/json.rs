//! From JSON text to JSON text: the same bytes as over fields, for any mapping and any record.
#![cfg(feature = "yaml")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that fails should stop")]

use crm_sync::mapping::{JsonError, Mapping, MappingConfig, MappingSet, Mode};
use crm_sync::model::{Entity, EntitySchema, FieldSchema, FieldType, Fields, Picklist, Value};
use proptest::prelude::*;
use serde_json::json;

fn schema() -> EntitySchema {
    let mut name = FieldSchema::new("Name", FieldType::Text);
    name.max_length = Some(12);
    name.required = true;
    name.nullable = false;
    let mut bytes = FieldSchema::new("Bytes", FieldType::Text);
    bytes.max_bytes = Some(8);
    let mut stage = FieldSchema::new("Stage", FieldType::Picklist);
    stage.picklist = Some(Picklist::of(true, ["New", "Old"]));
    let mut amount = FieldSchema::new("Amount", FieldType::Decimal { scale: Some(2) });
    amount.max_digits = Some(8);
    let mut made = FieldSchema::new("Made", FieldType::DateTime { whole_seconds: true });
    made.updatable = false;
    EntitySchema::new(
        Entity::from_static("lead"),
        "Lead",
        vec![
            name,
            bytes,
            stage,
            amount,
            made,
            FieldSchema::new("Score", FieldType::Decimal { scale: None }),
            FieldSchema::new("Count", FieldType::Integer),
            FieldSchema::new("Email", FieldType::Email),
            FieldSchema::new("Phone", FieldType::Phone),
            FieldSchema::new("Born", FieldType::Date),
            FieldSchema::new("Flag", FieldType::Boolean),
            FieldSchema::new("Tags", FieldType::MultiPicklist),
            FieldSchema::new("Owner", FieldType::Reference),
            FieldSchema::new("Free", FieldType::Any),
        ],
    )
}

const FIELDS: [&str; 20] = [
    "a: Name",
    "b: Bytes",
    "c: Amount",
    "d: Score",
    "e: { field: Count, lenient: true }",
    "f: Email",
    "g: Phone",
    "h: { field: Born, zone: UTC }",
    "i: Flag",
    "j: Tags",
    "k: Owner",
    "l: Free",
    "a.b: Made",
    "m: { type: picklist, field: Stage, mapping: { x: New, y: Old, \"1\": New }, unmapped: drop }",
    "n: { field: Name, formula: \"CONCAT(a, '-', b)\" }",
    "o: { field: Free, formula: \"IF(ISBLANK(a), c, LOWER(a))\", on_error: \"null\" }",
    "p: { field: Score, formula: \"d * 2\" }",
    "q: { type: join, field: Bytes, from: [a, \"b[0]\", g], separator: \" \" }",
    "r: { type: constant, field: Phone, value: 5 }",
    "s: { type: lookup, field: Owner, entity: user, by: email }",
];

fn mapping(chosen: &[usize], crm: &str, extra: &str, with_schema: bool) -> Option<Mapping> {
    let lines: Vec<String> = chosen
        .iter()
        .map(|at| {
            let line = FIELDS[*at];
            match (line.strip_suffix(" }"), extra) {
                (_, "") => line.to_owned(),
                (Some(long), extra) => format!("{long}, {extra} }}"),
                (None, extra) => {
                    let (ours, theirs) = line.split_once(": ").unwrap();
                    format!("{ours}: {{ field: {theirs}, {extra} }}")
                }
            }
        })
        .collect();
    let text = format!("{crm}:\n  lead:\n    {}\n", lines.join("\n    "));
    let set = MappingSet::from_yaml(&text, "x.yaml").unwrap_or_else(|problems| panic!("{problems}"));
    // Two fields for one target do not compile: another choice will.
    Mapping::compile(set.entity(crm, "lead").unwrap(), with_schema.then(schema).as_ref()).ok()
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1_000_000_i64..1_000_000, 0_u32..6).prop_map(|(whole, places)| json!(whole as f64 / 10_f64.powi(places as i32))),
        any::<f64>().prop_filter_map("JSON has no such number", |number| serde_json::Number::from_f64(number).map(Value::Number)),
        "[ -~]{0,14}".prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        prop_oneof![
            Just(""),
            Just("   "),
            Just("x"),
            Just(" y "),
            Just("ann@b.example"),
            Just(" ann@b.example "),
            Just("2026-01-31"),
            Just("1600-01-01"),
            Just("2026-01-02T03:04:05.678Z"),
            Just("2026-02-30"),
            Just("a\"b\\c\n"),
            Just("12.50"),
            Just("A;B"),
            Just("+49 30 1234567"),
            Just("001D000000IqhSL"),
        ]
        .prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => scalar(),
        1 => proptest::collection::vec(scalar(), 0..3).prop_map(Value::from),
        1 => proptest::collection::btree_map("[ab]", scalar(), 0..3).prop_map(|map| Value::Object(map.into_iter().collect())),
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![12 => "[a-u]", 1 => Just("a.b".to_owned()), 1 => Just("é".to_owned()), 1 => Just("a\"".to_owned())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]
    #[test]
    fn both_ways_write_the_same(
        chosen in proptest::sample::subsequence((0..FIELDS.len()).collect::<Vec<_>>(), 1..8),
        crm in prop_oneof![Just("custom"), Just("salesforce"), Just("hubspot"), Just("pipedrive")],
        extra in prop_oneof![4 => Just(""), 1 => Just("on_null: skip"), 1 => Just("blank: keep"), 1 => Just("max: 5, on_too_long: truncate"), 1 => Just("when: \"ISPRESENT(c)\"")],
        with_schema: bool,
        pairs in proptest::collection::vec((key(), value()), 0..14),
        pretty: bool,
        create: bool,
    ) {
        let Some(mapping) = mapping(&chosen, crm, extra, with_schema) else { return Ok(()) };
        let mode = if create { Mode::Create } else { Mode::Update };
        // Keys may stand twice: then the last one counts, as it does in a tree.
        let members: Vec<String> = pairs
            .iter()
            .map(|(key, value)| {
                let value = if pretty { serde_json::to_string_pretty(value).unwrap() } else { value.to_string() };
                format!("{}{}{value}", json!(key), if pretty { " : " } else { ":" })
            })
            .collect();
        let input = format!("{{{}}}", members.join(if pretty { " ,\n" } else { "," }));
        let record: Fields = serde_json::from_str(&input).unwrap();
        let now = "2026-01-31T12:00:00Z".parse().unwrap();
        let mut out = b"#".to_vec();
        match (mapping.outbound_json_at(input.as_bytes(), &mut out, mode, now), mapping.outbound_at(&record, mode, now)) {
            (Ok(notes), Ok(mapped)) => {
                let wanted = format!("#{}", serde_json::to_string(&mapped.fields).unwrap());
                prop_assert_eq!(String::from_utf8(out).unwrap(), wanted, "{}", input);
                prop_assert_eq!((notes.lookups, notes.warnings), (mapped.lookups, mapped.warnings));
            }
            (Err(JsonError::Record(error)), Err(wanted)) => {
                prop_assert_eq!(error, wanted);
                prop_assert_eq!(out, b"#");
            }
            (json, fields) => prop_assert!(false, "{json:?} {fields:?} {input}"),
        }
    }
}

#[test]
fn what_is_no_json_is_refused_at_its_byte() {
    let mapping = Mapping::compile(&MappingConfig::new("custom", "person").field("name", "Name"), None).unwrap();
    for (input, at) in [
        (&b"{\"name\":\"Ann\""[..], 13),
        (b"{\"name\":\"Ann\"} x", 15),
        (b"{\"name\":\"A\xff\"}", 10),
        (b"[1]", 0),
        (b"", 0),
        (b"{\"name\":nul}", 8),
        (b"{\"name\":1,\"name\":nul}", 17),
    ] {
        let mut out = b"kept".to_vec();
        match mapping.outbound_json(input, &mut out) {
            Err(JsonError::Invalid { offset, .. }) => assert_eq!(offset, at, "{}", String::from_utf8_lossy(input)),
            other => panic!("{other:?}"),
        }
        assert_eq!(out, b"kept");
    }
    let error: crm_sync::error::Error = mapping.outbound_json(b"{", &mut Vec::new()).unwrap_err().into();
    assert_eq!(error.kind(), crm_sync::error::ErrorKind::Decode);
    let mut out = Vec::new();
    mapping.outbound_json(b" { \"name\" : \"Ann\" } \n", &mut out).unwrap();
    mapping.outbound_json(b"{\"na\\u006de\":\"Bob\"}", &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), r#"{"Name":"Ann"}{"Name":"Bob"}"#);
}
