//! Mapping files and records, from outside.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use crm_sync::mapping::{Mapping, MappingConfig, MappingSet, Mode, Severity, code, diff};
use crm_sync::model::{Entity, EntitySchema, FieldSchema, FieldType, Fields, Picklist};
use serde_json::{Value, json};

const GUIDE: &str = include_str!("../fixtures/mapping/guide.yaml");
const EXAMPLE: &str = include_str!("../../examples/field-mappings.yaml");

fn text(name: &str, max: u32) -> FieldSchema {
    let mut field = FieldSchema::new(name, FieldType::Text);
    field.max_length = Some(max);
    field
}

fn read_only(name: &str, kind: FieldType) -> FieldSchema {
    let mut field = FieldSchema::new(name, kind);
    field.creatable = false;
    field.updatable = false;
    field
}

/// A Lead as Salesforce describes it, with the custom fields of the guide.
fn lead() -> EntitySchema {
    let mut last_name = text("LastName", 80);
    last_name.required = true;
    let mut company = text("Company", 255);
    company.required = true;
    let mut source = FieldSchema::new("LeadSource", FieldType::Picklist);
    source.picklist = Some(Picklist::of(false, ["Web", "LinkedIn", "Google Ads", "Email Campaign"]));
    let mut rating = FieldSchema::new("Rating", FieldType::Picklist);
    rating.picklist = Some(Picklist::of(true, ["Hot", "Warm", "Cold"]));
    let mut interests = FieldSchema::new("Interests__c", FieldType::MultiPicklist);
    interests.picklist = Some(Picklist::of(true, ["Sales", "Support", "Training"]));
    let mut opted_out = FieldSchema::new("HasOptedOutOfEmail", FieldType::Boolean);
    opted_out.nullable = false;
    let mut email = FieldSchema::new("Email", FieldType::Email);
    email.max_length = Some(80);
    let address = read_only("Address", FieldType::Address);
    let part = |name: &str| {
        let mut field = text(name, 255);
        field.compound = Some("Address".to_owned());
        field
    };
    EntitySchema::new(
        Entity::from_static("Lead"),
        "Lead",
        vec![
            read_only("Id", FieldType::Id),
            read_only("Name", FieldType::Text),
            text("FirstName", 40),
            last_name,
            company,
            email,
            FieldSchema::new("Phone", FieldType::Phone),
            FieldSchema::new("Website", FieldType::Url),
            text("Title", 128),
            source,
            rating,
            interests,
            opted_out,
            FieldSchema::new("Marketing_Score__c", FieldType::Decimal { scale: Some(2) }),
            FieldSchema::new("NumberOfEmployees", FieldType::Integer),
            FieldSchema::new("Birthday__c", FieldType::Date),
            FieldSchema::new("Last_Engagement_Date__c", FieldType::DateTime { whole_seconds: true }),
            text("UTM_Source__c", 255),
            text("UTM_Medium__c", 255),
            text("UTM_Campaign__c", 255),
            text("Display_Name__c", 121),
            address,
            part("Street"),
            part("City"),
            part("PostalCode"),
            part("Country"),
        ],
    )
}

fn set(yaml: &str) -> MappingSet {
    MappingSet::from_yaml(yaml, "map.yaml").unwrap_or_else(|problems| panic!("{problems}"))
}

fn compile(fields: &str) -> Mapping {
    let set = set(&format!("salesforce:\n  lead:\n{}", indent(fields)));
    Mapping::compile(set.entity("salesforce", "lead").unwrap(), Some(&lead())).unwrap_or_else(|problems| panic!("{problems}"))
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

fn out(mapping: &Mapping, value: Value, mode: Mode) -> Value {
    mapping.outbound(&fields(value), mode).unwrap().fields.to_value()
}

fn problems(mapping: &Mapping, value: Value, mode: Mode) -> Vec<(String, &'static str)> {
    let error = mapping.outbound(&fields(value), mode).unwrap_err();
    error.problems().iter().map(|problem| (problem.field.clone(), problem.code)).collect()
}

fn errors(yaml: &str, schema: Option<&EntitySchema>) -> String {
    let set = match MappingSet::from_yaml(yaml, "map.yaml") {
        Ok(set) => set,
        Err(problems) => return problems.to_string(),
    };
    let config = set.entity("salesforce", "lead").unwrap();
    Mapping::compile(config, schema).map(|mapping| panic!("compiled: {}", mapping.warnings())).unwrap_err().to_string()
}

#[test]
fn the_guides_file_compiles_as_it_stands() {
    let set = MappingSet::from_path_text(GUIDE, "guide.yaml").unwrap();
    assert_eq!(set.crms(), ["salesforce", "hubspot"]);
    let schema = lead();
    for schema in [None, Some(&schema)] {
        let mapping = Mapping::compile(set.entity("salesforce", "lead").unwrap(), schema).unwrap();
        let codes: Vec<_> = mapping.warnings().iter().map(|item| (item.code, item.severity)).collect();
        assert_eq!(codes, [(code::NOT_WRITTEN, Severity::Warning)], "{}", mapping.warnings());
        let lead = json!({"email": "ada@example.com", "firstName": "Ada", "lastName": "Lovelace", "company": "Engines",
            "marketingScore": 0, "utmSource": "google", "leadSource": "google", "phone": "not mapped here"});
        let wanted = json!({"Email": "ada@example.com", "FirstName": "Ada", "LastName": "Lovelace", "Company": "Engines",
            "Marketing_Score__c": 0, "UTM_Source__c": "google", "LeadSource": "Google Ads"});
        assert_eq!(out(&mapping, lead.clone(), Mode::Create), wanted);
        let back = mapping.inbound(&fields(wanted)).unwrap().fields;
        let mut expected = fields(lead);
        expected.remove("phone");
        assert_eq!(back, expected);
    }
    assert!(Mapping::compile(set.entity("hubspot", "contact").unwrap(), None).unwrap().warnings().is_empty());
}

#[test]
fn the_example_file_fills_in_the_company() {
    let set = MappingSet::from_path_text(EXAMPLE, "field-mappings.yaml").unwrap();
    let mapping = Mapping::compile(set.entity("salesforce", "lead").unwrap(), Some(&lead())).unwrap();
    let lead = json!({"id": "7", "lastName": "Smith", "postalCode": "01310", "country": "NO"});
    assert_eq!(
        out(&mapping, lead.clone(), Mode::Create),
        json!({"Company": "[not provided]", "LastName": "Smith", "PostalCode": "01310", "Country": "NO"})
    );
    assert_eq!(out(&mapping, lead, Mode::Update), json!({"LastName": "Smith", "PostalCode": "01310", "Country": "NO"}));
    let back = mapping.inbound(&fields(json!({"Company": "[not provided]", "LastName": "Smith"}))).unwrap().fields;
    assert_eq!(back.to_value(), json!({"lastName": "Smith"}));
}

#[test]
fn absent_null_blank_and_value_are_four_things() {
    let mapping = compile(
        "a: Title\nb: { field: FirstName, blank: keep }\nc: { field: UTM_Source__c, blank: skip, on_null: skip }\nd: { field: UTM_Medium__c, default: none }",
    );
    for (record, create, update) in [
        (json!({}), json!({"UTM_Medium__c": "none"}), json!({})),
        (
            json!({"a": null, "b": null, "c": null, "d": null}),
            json!({"UTM_Medium__c": "none"}),
            json!({"Title": null, "FirstName": null, "UTM_Medium__c": null}),
        ),
        (
            json!({"a": " ", "b": " ", "c": " ", "d": ""}),
            json!({"FirstName": " ", "UTM_Medium__c": "none"}),
            json!({"Title": null, "FirstName": " ", "UTM_Medium__c": null}),
        ),
        (
            json!({"a": "0", "b": 0, "c": false, "d": "x"}),
            json!({"Title": "0", "FirstName": "0", "UTM_Source__c": "false", "UTM_Medium__c": "x"}),
            json!({"Title": "0", "FirstName": "0", "UTM_Source__c": "false", "UTM_Medium__c": "x"}),
        ),
    ] {
        assert_eq!(out(&mapping, record.clone(), Mode::Create), create, "{record}");
        assert_eq!(out(&mapping, record.clone(), Mode::Update), update, "{record}");
    }
}

#[test]
fn values_take_the_form_of_their_field() {
    let mapping = compile(
        "score: Marketing_Score__c\nstaff: NumberOfEmployees\nborn: { field: Birthday__c, zone: \"+02:00\" }\nseen: Last_Engagement_Date__c\ntags: Interests__c\nout: HasOptedOutOfEmail\nmail: Email\nrating: Rating",
    );
    for (record, wanted) in [
        (json!({"score": 12.345}), json!({"Marketing_Score__c": 12.35})),
        (json!({"score": 1_234_567_890_123.45}), json!({"Marketing_Score__c": 1_234_567_890_123.45})),
        (json!({"staff": 2.5}), json!({"NumberOfEmployees": 3})),
        (json!({"born": "2000-01-31"}), json!({"Birthday__c": "2000-01-31"})),
        (json!({"born": "2000-01-31T23:00:00Z"}), json!({"Birthday__c": "2000-02-01"})),
        (json!({"born": 949_359_600_000_i64}), json!({"Birthday__c": "2000-02-01"})),
        (json!({"seen": "2026-01-02T03:04:05.678+0100"}), json!({"Last_Engagement_Date__c": "2026-01-02T02:04:05Z"})),
        (json!({"tags": ["Training", "Sales", "Sales"]}), json!({"Interests__c": "Sales;Training"})),
        (json!({"tags": "Support; Sales"}), json!({"Interests__c": "Sales;Support"})),
        (json!({"tags": []}), json!({"Interests__c": null})),
        (json!({"out": false}), json!({"HasOptedOutOfEmail": false})),
        (json!({"mail": " a@b.c "}), json!({"Email": "a@b.c"})),
    ] {
        assert_eq!(out(&mapping, record.clone(), Mode::Update), wanted, "{record}");
    }
    for (record, code) in [
        (json!({"score": "12"}), "wrong_type"),
        (json!({"score": [1]}), "wrong_type"),
        (json!({"out": "yes"}), "wrong_type"),
        (json!({"out": null}), "not_nullable"),
        (json!({"seen": "2026-01-02T03:04:05"}), "no_zone"),
        (json!({"seen": 1_767_323_045}), "wrong_type"),
        (json!({"born": "yesterday"}), "wrong_type"),
        (json!({"born": "1600-01-01"}), "out_of_range"),
        (json!({"rating": "hot"}), "picklist_value"),
        (json!({"tags": ["Sales;Support"]}), "picklist_value"),
        (json!({"mail": "x".repeat(81)}), "too_long"),
        (json!({"mail": {"a": 1}}), "wrong_type"),
    ] {
        let found = problems(&mapping, record.clone(), Mode::Update);
        assert_eq!(found.first().map(|(_, code)| *code), Some(code), "{record}");
    }
}

#[test]
fn lenient_fields_read_texts() {
    let mapping = compile("score: { field: Marketing_Score__c, lenient: true }\nout: { field: HasOptedOutOfEmail, lenient: true }");
    assert_eq!(
        out(&mapping, json!({"score": " 12.30 ", "out": "Yes"}), Mode::Update),
        json!({"Marketing_Score__c": 12.3, "HasOptedOutOfEmail": true})
    );
}

#[test]
fn all_problems_of_a_record_at_once_and_no_value() {
    let mapping = compile("first: FirstName\nlast: LastName\ncompany: Company\nscore: Marketing_Score__c");
    let record = fields(json!({"first": "secret".repeat(20), "score": "secret"}));
    let error = mapping.outbound(&record, Mode::Create).unwrap_err();
    let found: Vec<_> = error.problems().iter().map(|p| (p.host.as_str(), p.field.as_str(), p.code)).collect();
    assert_eq!(
        found,
        [
            ("first", "FirstName", "too_long"),
            ("last", "LastName", "required"),
            ("company", "Company", "required"),
            ("score", "Marketing_Score__c", "wrong_type")
        ]
    );
    assert!(!format!("{error} {error:?}").contains("secret"));
    let error: crm_sync::error::Error = error.into();
    assert_eq!(error.kind(), crm_sync::error::ErrorKind::Mapping);
    assert_eq!(error.fields().len(), 4);
}

#[test]
fn long_texts_are_cut_between_characters_if_asked() {
    let mapping = compile("first: { field: FirstName, on_too_long: truncate }");
    let mapped = mapping.outbound(&fields(json!({"first": "ä".repeat(50)})), Mode::Create).unwrap();
    assert_eq!(mapped.fields.text("FirstName"), Some("ä".repeat(40).as_str()));
    assert_eq!(mapped.warnings.iter().map(|w| w.code).collect::<Vec<_>>(), ["truncated"]);
}

#[test]
fn formulas_read_host_fields_and_crm_fields() {
    let mapping = compile(
        "fullName: { field: Display_Name__c, formula: \"CONCAT(FirstName, ' ', LastName)\" }\nfirst: FirstName\nlast: LastName\nrating: { formula: \"IF(score >= 50, 'Hot', 'Cold')\" }\ntitle: { field: Title, type: constant, value: Lead }",
    );
    let record = json!({"first": "Ada", "last": "Lovelace", "score": 50});
    assert_eq!(
        out(&mapping, record, Mode::Update),
        json!({"FirstName": "Ada", "LastName": "Lovelace", "Display_Name__c": "Ada Lovelace", "Rating": "Hot", "Title": "Lead"})
    );
    // A formula whose inputs are all absent leaves an update alone.
    assert_eq!(out(&mapping, json!({}), Mode::Update), json!({"Title": "Lead"}));
    let filled = compile(
        "company: { field: Company, formula: \"BLANKVALUE(company, 'Unknown')\" }\nfull: { field: Title, formula: \"CONCAT(a, ' ', b)\" }",
    );
    assert_eq!(out(&filled, json!({}), Mode::Create), json!({"Company": "Unknown"}));
    assert_eq!(out(&filled, json!({}), Mode::Update), json!({}));
    assert_eq!(problems(&mapping, json!({"score": "x"}), Mode::Update), [("Rating".to_owned(), "formula_type")]);
}

#[test]
fn split_join_compound_lookup_paths_and_when() {
    let mapping = compile(
        "name: { type: split, into: [FirstName, LastName] }\nhome: { type: join, from: [\"a.b\", c], separator: \", \", field: Title, split: first blank }\naddress: Address\nutm.source: UTM_Source__c\nowner: { type: lookup, field: UTM_Medium__c, entity: user, by: Email }\nvip: { field: UTM_Campaign__c, when: \"vip = 'yes'\" }",
    );
    let record = fields(json!({
        "name": "Anna Maria Smith", "a": {"b": "x"}, "c": "y", "address": {"street": "S 1", "city": "C", "postal_code": "01310"},
        "utm": {"source": "google"}, "owner": "o@example.com", "vip": "no"
    }));
    let mapped = mapping.outbound(&record, Mode::Update).unwrap();
    assert_eq!(
        mapped.fields.to_value(),
        json!({"FirstName": "Anna Maria", "LastName": "Smith", "Title": "x, y", "Street": "S 1", "City": "C", "PostalCode": "01310", "UTM_Source__c": "google"})
    );
    assert_eq!(mapped.lookups.len(), 1);
    assert_eq!((mapped.lookups[0].field.as_str(), mapped.lookups[0].by.as_deref()), ("UTM_Medium__c", Some("Email")));
    assert!(!format!("{:?}", mapped.lookups).contains("o@example.com"));
    let back = mapping.inbound(&mapped.fields).unwrap().fields.to_value();
    assert_eq!(back["name"], json!("Anna Maria Smith"));
    assert_eq!(back["address"], json!({"street": "S 1", "city": "C", "postalCode": "01310"}));
    assert_eq!(back["utm"], json!({"source": "google"}));
}

#[test]
fn directions() {
    let mapping = compile(
        "id: { field: Id, direction: in }\na: { field: Title, direction: out }\nfull: { type: computed, direction: in, formula: \"UPPER(LastName)\" }",
    );
    assert_eq!(out(&mapping, json!({"id": "1", "a": "x", "full": "y"}), Mode::Update), json!({"Title": "x"}));
    let back = mapping.inbound(&fields(json!({"Id": "1", "Title": "x", "LastName": "b"}))).unwrap().fields;
    assert_eq!(back.to_value(), json!({"id": "1", "full": "B"}));
}

#[test]
fn inbound_values_become_plain() {
    let mapping = compile(
        "score: Marketing_Score__c\nseen: Last_Engagement_Date__c\ntags: Interests__c\nsource: { type: picklist, field: LeadSource, mapping: { web: Web } }",
    );
    let remote = json!({"Marketing_Score__c": "1.0", "Last_Engagement_Date__c": "2026-01-02T03:04:05.000+0000", "Interests__c": "Sales;Support", "LeadSource": "Web"});
    assert_eq!(
        mapping.inbound(&fields(remote)).unwrap().fields.to_value(),
        json!({"score": 1, "seen": "2026-01-02T03:04:05Z", "tags": ["Sales", "Support"], "source": "web"})
    );
    let error = mapping.inbound(&fields(json!({"LeadSource": "Else"}))).unwrap_err();
    assert_eq!(error.problems()[0].code, "picklist_unmapped");
    let odd = mapping.inbound(&fields(json!({"Marketing_Score__c": "12;13"}))).unwrap();
    assert_eq!(odd.fields.to_value(), json!({"score": "12;13"}));
    assert_eq!(odd.warnings[0].code, "kept_as_text");
}

#[test]
fn yaml_surprises_stay_texts() {
    let mapping = compile(
        "a: { type: constant, field: Title, value: NO }\nb: { type: constant, field: FirstName, value: 01310 }\nc: { type: constant, field: UTM_Source__c, value: 1.10 }\nd: { type: constant, field: UTM_Medium__c, value: +14155551234 }\ne: { type: picklist, field: LeadSource, mapping: { no: Web, 1: LinkedIn, true: Google Ads } }",
    );
    assert_eq!(
        out(&mapping, json!({"e": "no"}), Mode::Create),
        json!({"Title": "NO", "FirstName": "01310", "UTM_Source__c": "1.10", "UTM_Medium__c": "+14155551234", "LeadSource": "Web"})
    );
    assert_eq!(out(&mapping, json!({"e": 1}), Mode::Create)["LeadSource"], json!("LinkedIn"));
    assert_eq!(out(&mapping, json!({"e": true}), Mode::Create)["LeadSource"], json!("Google Ads"));
}

#[test]
fn every_problem_is_reported_at_its_place() {
    let yaml = "salesforce:
  lead:
    email: Emial
    name: Name
    a: { field: Title, fomula: x }
    b: { field: Phone, type: computd }
    c: { field: Website, formula: \"CONCTA(a, 'ä')\" }
    d: { field: City, formula: \"LEFT(a, \" }
    rating:
      type: picklist
      mapping: { hot: hot, warm: Warm }
    e: Title
    score: { field: Marketing_Score__c, default: many }
";
    let first = errors(yaml, Some(&lead()));
    assert_eq!(
        first,
        "error[M003]: unknown key \"fomula\" in field \"a\"
 --> map.yaml:5:24
  |
5 |     a: { field: Title, fomula: x }
  |                        ^^^^^^
  |
  = help: did you mean \"formula\"?

error[M004]: unknown type \"computd\" of field \"b\"
 --> map.yaml:6:30
  |
6 |     b: { field: Phone, type: computd }
  |                              ^^^^^^^
  |
  = help: did you mean \"computed\" or \"compound\"?"
    );
    let rest = yaml.replace("fomula: x", "required: false").replace("computd", "direct");
    let found = errors(&rest, Some(&lead()));
    assert_eq!(found, include_str!("../fixtures/mapping/problems.txt").trim_end(), "{found}");
}

#[test]
fn syntax_and_duplicate_keys() {
    assert_eq!(
        errors("salesforce:\n  lead:\n    a: Title\n    a: Phone\n", None),
        "error[M002]: the key \"a\" stands twice
 --> map.yaml:4:5
  |
4 |     a: Phone
  |     ^
  |
  = help: keep one of the two entries"
    );
    let problem = errors("salesforce:\n  lead:\n    a: { formula: CONCAT(x, ': ', y) }\n    b: [", None);
    assert!(problem.starts_with("error[M001]: this is not valid YAML"), "{problem}");
    let json = MappingSet::from_json("{\"salesforce\": {\"lead\": {\"a\": \"Title\", \"a\": \"Phone\"}}}", "map.json").unwrap_err();
    assert!(json.to_string().starts_with("error[M002]: the key \"a\" stands twice\n --> map.json:1:40"), "{json}");
    let json = MappingSet::from_json("{\"salesforce\": }", "map.json").unwrap_err();
    assert!(json.to_string().contains("error[M001]: this is not valid JSON"), "{json}");
    let toml = MappingSet::from_toml("[salesforce.lead]\na = ", "map.toml").unwrap_err();
    assert!(toml.to_string().contains("error[M001]: this is not valid TOML"), "{toml}");
    assert!(MappingSet::from_path_text("", "map.ini").unwrap_err().has_errors());
}

#[test]
fn diagnostics_are_data_and_an_error() {
    let set = set("salesforce:\n  lead:\n    email: Emial\n");
    let problems = Mapping::compile(set.entity("salesforce", "lead").unwrap(), Some(&lead())).unwrap_err();
    let json = serde_json::to_value(&problems).unwrap();
    assert_eq!(json[0]["code"], "M012");
    assert_eq!((json[0]["line"].as_u64(), json[0]["column"].as_u64()), (Some(3), Some(12)));
    assert_eq!(json[0]["help"], json!(["did you mean \"Email\"?"]));
    let error: crm_sync::error::Error = problems.into();
    assert_eq!(error.kind(), crm_sync::error::ErrorKind::Config);
    assert!(error.to_string().contains("map.yaml:3:12: [M012] unknown field \"Emial\""), "{error}");
}

#[test]
fn json_and_toml_say_the_same_as_yaml() {
    let yaml = set(
        "salesforce:\n  lead:\n    a: Title\n    b: { field: Company, default: x }\n    c: { type: picklist, field: LeadSource, mapping: { web: Web } }\n",
    );
    let json = MappingSet::from_json(r#"{"salesforce": {"lead": {"a": "Title", "b": {"field": "Company", "default": "x"}, "c": {"type": "picklist", "field": "LeadSource", "mapping": {"web": "Web"}}}}}"#, "x.json").unwrap();
    let toml = MappingSet::from_toml("[salesforce.lead]\na = \"Title\"\nb = { field = \"Company\", default = \"x\" }\n[salesforce.lead.c]\ntype = \"picklist\"\nfield = \"LeadSource\"\nmapping = { web = \"Web\" }\n", "x.toml").unwrap();
    let versions: Vec<String> = [&yaml, &json, &toml]
        .into_iter()
        .map(|set| Mapping::compile(set.entity("salesforce", "lead").unwrap(), Some(&lead())).unwrap().version().to_owned())
        .collect();
    assert_eq!(versions[0], versions[1]);
    assert_eq!(versions[0], versions[2]);
    let other = set("salesforce:\n  lead:\n    a: Phone\n");
    assert_ne!(Mapping::compile(other.entity("salesforce", "lead").unwrap(), Some(&lead())).unwrap().version(), versions[0]);
}

#[test]
fn cycles_and_twice_written_targets() {
    let problem = errors(
        "salesforce:\n  lead:\n    x: { field: Title, formula: \"Phone & 'a'\" }\n    y: { field: Phone, formula: \"Title & 'b'\" }\n",
        None,
    );
    assert!(problem.starts_with("error[M018]: the formulas of \"x\", \"y\" need each other's results"), "{problem}");
    let problem = errors("salesforce:\n  lead:\n    x: Title\n    y: Title\n", None);
    assert!(problem.starts_with("error[M015]: \"y\" and \"x\" both write \"Title\"\n --> map.yaml:4:8"), "{problem}");
}

#[test]
fn a_mapping_built_in_code() {
    let config = MappingConfig::new("custom", "person").field("email", "mail").field("name", "name");
    let mapping = Mapping::compile(&config, None).unwrap();
    let rows: Vec<Fields> =
        ["a", "b"].iter().map(|name| mapping.outbound(&fields(json!({"email": name})), Mode::Create).unwrap().fields).collect();
    assert!(std::sync::Arc::ptr_eq(rows[0].shape(), rows[1].shape()));
    assert_eq!(mapping.targets().iter().map(|target| target.name.as_str()).collect::<Vec<_>>(), ["mail", "name"]);
    assert_eq!(mapping.host_fields().collect::<Vec<_>>(), ["email", "name"]);
    let changed = diff(&fields(json!({"mail": "a"})), &rows[1], &mapping);
    assert_eq!(changed.to_value(), json!({"mail": "b"}));
}

#[test]
fn a_set_may_be_part_of_the_hosts_configuration() {
    #[derive(serde::Deserialize)]
    struct Host {
        mappings: MappingSet,
    }
    let host: Host =
        serde_json::from_value(json!({"mappings": {"crm": {"person": {"a": "b", "n": {"type": "constant", "field": "c", "value": 7}}}}}))
            .unwrap();
    let mapping = Mapping::compile(host.mappings.entity("crm", "person").unwrap(), None).unwrap();
    assert_eq!(out(&mapping, json!({"a": 1}), Mode::Create), json!({"b": 1, "c": 7}));
    assert!(serde_json::from_value::<Host>(json!({"mappings": {"crm": {"person": {"a": {"fild": "b"}}}}})).is_err());
}

#[test]
fn arithmetic_is_undone_on_the_way_in() {
    let mapping =
        compile("amount: { field: Marketing_Score__c, formula: \"cents / 100\" }\ntitle: { field: Title, formula: \"UPPER(x)\" }");
    let sent = mapping.outbound(&fields(json!({"cents": 1_999, "x": "a"})), Mode::Create).unwrap().fields;
    assert_eq!(sent.to_value(), json!({"Marketing_Score__c": 19.99, "Title": "A"}));
    assert_eq!(mapping.inbound(&sent).unwrap().fields.to_value(), json!({"cents": 1_999}));
    assert_eq!(mapping.one_way(), ["title"]);
}

#[test]
fn every_value_is_explained() {
    let mapping = compile(
        "first: FirstName\nlast: LastName\nname: { field: Display_Name__c, formula: \"FirstName & ' ' & LastName\" }\ncompany: { field: Company, default: x }\nscore: Marketing_Score__c",
    );
    let told = mapping.explain(&fields(json!({"first": "Ada", "last": "Lovelace", "company": "", "score": "many"})));
    let steps: Vec<_> = told.iter().map(|item| (item.field.as_str(), item.steps.join("; "))).collect();
    assert_eq!(
        steps,
        [
            ("FirstName", "first is a text; written as text".to_owned()),
            ("LastName", "last is a text; written as text".to_owned()),
            ("Company", "company is blank; the default is written".to_owned()),
            ("Marketing_Score__c", "score is a text; refused".to_owned()),
            (
                "Display_Name__c",
                "name is absent; FirstName & ' ' & LastName over FirstName (already mapped), LastName (already mapped); written as text"
                    .to_owned()
            ),
        ]
    );
    assert_eq!(told[4].value, Some(json!("Ada Lovelace")));
    assert_eq!(told[3].problems[0].code, "wrong_type");
}

proptest::proptest! {
    #[test]
    fn yaml_never_panics(text in "[a-z:{}\\[\\],'\"&*!|>#%@ \n0-9.~<-]{0,120}") {
        let _ = MappingSet::from_yaml(&text, "x.yaml").map_err(|problems| problems.to_string());
    }

    #[test]
    fn fields_never_panic(text in "[a-zA-Z(),'\"& .:{}\\[\\]äß-]{0,60}") {
        if let Ok(set) = MappingSet::from_yaml(&format!("salesforce:\n  lead:\n    a: {{ field: Title, formula: {text} }}\n    b: {text}\n"), "x.yaml")
            && let Some(config) = set.entity("salesforce", "lead")
        {
            let _ = Mapping::compile(config, Some(&lead())).map_err(|problems| problems.to_string());
        }
    }

    #[test]
    fn what_is_invertible_comes_back(first in "[A-Za-zäöü]{1,20}", last in "[A-Za-z]{1,20}", score in 0i64..1_000_000, source in 0usize..3, flag: bool, tags in proptest::sample::subsequence(vec!["Sales", "Support", "Training"], 0..=3)) {
        let mapping = compile("first: FirstName\nlast: LastName\nscore: { field: Marketing_Score__c }\nout: HasOptedOutOfEmail\ntags: Interests__c\nsource: { type: picklist, field: LeadSource, mapping: { a: Web, b: LinkedIn, c: Google Ads } }");
        let chosen = ["a", "b", "c"][source];
        let cents = serde_json::Number::from_f64(score as f64 / 100.0).unwrap();
        let tags = if tags.is_empty() { Value::Null } else { json!(tags) };
        let record = fields(json!({"first": first, "last": last, "score": cents, "out": flag, "tags": tags, "source": chosen}));
        let sent = mapping.outbound(&record, Mode::Update).unwrap().fields;
        let back = mapping.inbound(&sent).unwrap().fields;
        for (name, value) in &record {
            let got = back.get(name).unwrap();
            proptest::prop_assert!(crm_sync::model::same(value, got, &FieldType::Any), "{name}");
        }
        // And a second trip changes nothing.
        let again = mapping.outbound(&back, Mode::Update).unwrap().fields;
        proptest::prop_assert!(diff(&sent, &again, &mapping).is_empty());
    }
}

#[test]
fn an_email_that_no_crm_takes_is_a_problem_of_the_record() {
    let mapping = compile("email: Email");
    for text in ["a@webde", "k..c@x.com", "j@hotmail.co..uk", "zoe.example", "a b@c.com"] {
        for mode in [Mode::Create, Mode::Update] {
            let error = mapping.outbound(&fields(json!({"email": text})), mode).unwrap_err();
            assert_eq!(error.problems().iter().map(|problem| problem.code).collect::<Vec<_>>(), ["wrong_format"], "{text}");
            assert!(!format!("{error} {error:?}").contains(text), "{error:?}");
        }
    }
    assert_eq!(out(&mapping, json!({"email": " jörg@müller.de "}), Mode::Create), json!({"Email": "jörg@müller.de"}));
    assert_eq!(out(&mapping, json!({"email": "\"a b\"@c.com"}), Mode::Create), json!({"Email": "\"a b\"@c.com"}));
    assert_eq!(out(&mapping, json!({"email": "  "}), Mode::Update), json!({"Email": null}));
    let long = format!("{}@example.com", "x".repeat(69));
    assert_eq!(problems(&mapping, json!({"email": long}), Mode::Create), [("Email".to_owned(), "too_long")]);
    let cut = compile("email: { field: Email, max: 12, on_too_long: truncate }");
    assert_eq!(problems(&cut, json!({"email": "ann@longhost.example"}), Mode::Create), [("Email".to_owned(), "wrong_format")]);
}

#[test]
fn the_typos_of_the_sample_leads_are_found_and_no_others() {
    let mapping = compile("email: Email");
    let mut reader = csv::Reader::from_path("tests/fixtures/leads.csv").unwrap();
    let column = reader.headers().unwrap().iter().position(|name| name == "email").unwrap();
    let (mut found, mut typos, mut rows) = (Vec::new(), Vec::new(), 0);
    for row in reader.records() {
        let email = row.unwrap().get(column).unwrap().to_owned();
        rows += 1;
        // A dot too many or none after the `@`: what the makers of the file did to addresses.
        let domain = email.rsplit_once('@').map_or("", |(_, domain)| domain);
        if !email.is_empty() && (email.contains("..") || !domain.contains('.')) {
            typos.push(email.clone());
        }
        if mapping.outbound(&fields(json!({"email": email})), Mode::Create).is_err() {
            found.push(email);
        }
    }
    assert!(rows > 100 && typos.len() >= 9, "{rows} {}", typos.len());
    assert_eq!(found, typos);
}

/// The one problem of a file: code, line and column, and what is rendered.
fn only(text: &str, schema: Option<&EntitySchema>) -> (&'static str, usize, usize, String) {
    let found = match MappingSet::from_yaml(text, "map.yaml") {
        Err(problems) => problems,
        Ok(set) => match set.require("salesforce", "lead") {
            Err(problems) => problems,
            Ok(config) => Mapping::compile(config, schema).map(|_| panic!("compiled: {text}")).unwrap_err(),
        },
    };
    let errors: Vec<_> = found.iter().filter(|item| item.severity == Severity::Error).collect();
    let [item] = errors.as_slice() else { panic!("{} errors for {text:?}:\n{found}", errors.len()) };
    (item.code, item.line, item.column, found.to_string())
}

#[test]
fn each_slip_gives_one_problem_with_its_place_and_a_remedy() {
    let schema = lead();
    let plain = "salesforce:\n  lead:\n    lastName: LastName\n    company: Company\n";
    let with = |lines: &str| format!("{plain}{lines}");
    for (what, text, code, line, column, words) in [
        ("field", with("    email: Emial\n"), code::UNKNOWN_FIELD, 5, 12, "did you mean \"Email\""),
        ("duplicate key", with("    email: Email\n    email: Title\n"), code::DUPLICATE_KEY, 6, 5, "keep one of the two"),
        ("type", with("    email: { field: Email, type: pick_list }\n"), code::UNKNOWN_TYPE, 5, 34, "picklist"),
        ("key", with("    email: { field: Email, defualt: x }\n"), code::UNKNOWN_KEY, 5, 28, "did you mean \"default\""),
        ("tab", with("\temail: Email\n"), code::SYNTAX, 5, 1, "indent with blanks"),
        ("quote", with("    email: \"Email\n"), code::SYNTAX, 5, 12, "close the quote"),
        ("single quote", with("    email: 'Email\n    title: Title\n"), code::SYNTAX, 5, 12, "close the quote"),
        ("empty file", String::new(), code::BAD_VALUE, 1, 1, "salesforce:"),
        ("comments only", "# nothing\n".to_owned(), code::BAD_VALUE, 1, 1, "salesforce:"),
        ("list", "- email: Email\n- title: Title\n".to_owned(), code::BAD_VALUE, 1, 1, "salesforce:"),
        ("text", "email\n".to_owned(), code::BAD_VALUE, 1, 1, "salesforce:"),
        (
            "other CRM",
            "hubspot:\n  lead:\n    email: email\n".to_owned(),
            code::UNKNOWN_ENTITY,
            1,
            1,
            "it is for hubspot; add `salesforce:`",
        ),
        ("near CRM", "salesfroce:\n  lead:\n    email: Email\n".to_owned(), code::UNKNOWN_ENTITY, 1, 1, "did you mean \"salesfroce\""),
        (
            "other entity",
            "salesforce:\n  contact:\n    email: Email\n".to_owned(),
            code::UNKNOWN_ENTITY,
            1,
            1,
            "it has contact; add `lead:`",
        ),
    ] {
        let (found, at_line, at_column, shown) = only(&text, Some(&schema));
        assert_eq!((found, at_line, at_column), (code, line, column), "{what}:\n{shown}");
        assert!(shown.contains(words), "{what}:\n{shown}");
        assert!(shown.contains("help"), "{what}:\n{shown}");
    }
}
