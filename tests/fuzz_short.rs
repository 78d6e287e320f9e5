//! The bodies of the fuzz targets in a seeded loop: the same inputs on every machine, more of them with `FUZZ_ITERATIONS`.
#![cfg(all(feature = "yaml", feature = "toml"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test that fails should stop")]

#[path = "../fuzz/bodies.rs"]
#[allow(unreachable_pub, reason = "the fuzz targets share it")]
mod bodies;

/// SplitMix64: enough for choosing bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    /// A seed with a few bytes changed, doubled, cut, or spliced with a word or with another seed.
    fn mutate(&mut self, seeds: &[&str], words: &[&str]) -> Vec<u8> {
        let mut data = seeds[self.below(seeds.len())].as_bytes().to_vec();
        for _ in 0..=self.below(6) {
            let at = self.below(data.len() + 1);
            match self.below(6) {
                0 if at < data.len() => data[at] = u8::try_from(self.below(256)).unwrap(),
                1 => data.insert(at, u8::try_from(self.below(128)).unwrap()),
                2 => data.truncate(at),
                3 => {
                    let end = (at + self.below(8)).min(data.len());
                    data.drain(at..end);
                }
                4 => {
                    let other = seeds[self.below(seeds.len())].as_bytes();
                    let from = self.below(other.len());
                    data.splice(at..at, other[from..].iter().copied());
                }
                _ => {
                    let word = words[self.below(words.len())];
                    data.splice(at..at, word.bytes());
                }
            }
            data.truncate(2_000);
        }
        data
    }
}

fn run(name: &str, body: fn(&[u8]), seeds: &[&str], words: &[&str]) {
    let iterations: usize = std::env::var("FUZZ_ITERATIONS").ok().map_or(1_500, |text| text.parse().expect("FUZZ_ITERATIONS is a number"));
    let mut random = Random(7);
    for seed in seeds {
        body(seed.as_bytes());
    }
    for iteration in 0..iterations {
        let data = random.mutate(seeds, words);
        if std::panic::catch_unwind(|| body(&data)).is_err() {
            panic!("{name}: iteration {iteration} fails with {:?}", String::from_utf8_lossy(&data));
        }
    }
}

#[test]
fn configs() {
    let seeds = [
        include_str!("../fuzz/mapping.yaml"),
        include_str!("fixtures/mapping/guide.yaml"),
        "salesforce: { lead: { email: Email, name: { field: N, formula: \"a & 'b'\" } } }",
        r#"{"crm": {"x": {"a": "b", "c": {"type": "picklist", "field": "d", "mapping": {"e": "f"}, "unmapped": {"in": "pass"}}}}}"#,
        "[crm.x]\na = \"b\"\n[crm.x.c]\ntype = \"constant\"\nfield = \"d\"\nvalue = 7\n",
    ];
    let words = [
        ": ", "{", "}", "[", "]", "\"", "'", "\n", "\n  ", "&a ", "*a", "<<: ", "!!str ", "|", ">", "#", "formula", "when", "~", "\t", "é",
        "%d",
    ];
    run("config", bodies::config, &seeds, &words);
}

#[test]
fn formulas() {
    let seeds = [
        "CONCAT(a, ' ', b) & LEFT(c, 2)",
        "IF(AND(a = 'x', NOT b), ROUND(1.5 * -2 ^ 2, 1), CASE(a, 'Ann', 1, 2))",
        "REGEX_REPLACE(a, '(n+)', '<$1>') & REGEX_EXTRACT(b, '[0-9]+')",
        "FORMAT_DATE(ADD_MONTHS(DATEVALUE(b), 1), '%d.%m.%Y') & TO_TEXT(TODAY(), '%j')",
        "JOIN(', ', SORT(UNIQUE(SPLIT(a, 'n')))) & SLUG([Lead Source]) /* x */",
        "PAD_LEFT(REPEAT(a, 3), 20, '*') & MID(a, 2, 2) & HASH(a) & UUID5('dns', a) & NORMALIZE_PHONE(c, 'DE')",
        "TO_NUMBER('1.234,50', 'de') + MAX(1, 2, NULL) / 3",
    ];
    let words = [
        "(",
        ")",
        ",",
        "'",
        "\"",
        "&",
        "-",
        "^",
        "NULL",
        "TRUE",
        "1e9",
        "999999999999",
        "0.0000001",
        "%Q",
        "%",
        "[",
        "]",
        "/*",
        "a.b[0]",
        "ß",
        "LIST(",
        "NOW()",
    ];
    run("formula", bodies::formula, &seeds, &words);
}

#[test]
fn records() {
    let seeds = [
        r#"{"email":"ann@b.example","n":12.50,"utm":{"source":"web","medium":"x"},"tags":["a","b"],"source":"web","note":"a long note"}"#,
        r#"{ "name" : "Ann \u00e9 Lee" , "items":[{"value":1}], "emails":[{"type":"home","value":"h"},{"type":"work","value":"w"}], "seen":"31.01.2026" }"#,
        r#"{"utm.source":"literal","source":1,"owner":"x","n":-0.0,"email":null,"seen":"junk"}"#,
        r#"{"n":1e400,"email":"","note":"   ","whole":true,"source":"other"}"#,
    ];
    let words = [
        "\\u00e9",
        "\\ud83d\\ude00",
        "\\ud800",
        "\\n",
        "null",
        "true",
        "1e5",
        "-0",
        "{}",
        "[]",
        "\"email\":",
        "\"utm\":",
        ",",
        ":",
        "\"",
        " ",
        "\n",
        "12345678901234567890",
        "\u{1f600}",
    ];
    run("record", bodies::record, &seeds, &words);
}

#[test]
fn webhooks() {
    let seeds = [
        "webhook-id: msg_1\nwebhook-timestamp: 1614265330\nwebhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1a,AAAA\n\n{\"type\":\"lead.converted\",\"id\":1,\"timestamp\":\"2021-02-25T15:02:10Z\",\"data\":{\"leadId\":\"1\"}}",
        "x-signature: t=1614265330,v1=00ff,v1=11\n\n[{\"type\":\"a\"},{\"type\":\"b\",\"id\":\"x\",\"timestamp\":1614265330000}]",
        "x-signature: sha256=00\nauthorization: Basic dXNlcjpwdw==\n\n{\"meta\":{\"action\":\"change\",\"entity\":\"deal\",\"entity_id\":\"7\",\"id\":\"e\",\"timestamp\":\"2021-02-25T15:02:10Z\",\"version\":\"2.0\"},\"data\":{\"id\":7,\"status\":\"won\"},\"previous\":{\"status\":\"open\"}}",
        "x-hubspot-signature-v3: AAAA\nx-hubspot-request-timestamp: 1614265330000\n\n[{\"eventId\":1,\"portalId\":1,\"occurredAt\":1564113600000,\"subscriptionType\":\"contact.propertyChange\",\"objectId\":123,\"propertyName\":\"email\",\"propertyValue\":\"x\"}]",
        concat!("content-type: text/xml\n\n", include_str!("fixtures/salesforce/outbound_message.xml")),
    ];
    let words = [
        "\n\n",
        ": ",
        "webhook-id: ",
        "webhook-timestamp: -1",
        "x-signature: ",
        "t=",
        ",v1=",
        " v1,",
        "v1a,",
        "99999999999999999999",
        "1e400",
        "\"",
        "{",
        "}",
        "[",
        "]",
        "null",
        "\\ud800",
        "<",
        ">",
        "</",
        "<!--",
        "&amp;",
        "&#0;",
        "<![CDATA[",
        "xsi:nil=\"true\"",
        "deletion",
        "merge",
        "\u{feff}",
    ];
    run("webhook", bodies::webhook, &seeds, &words);
}
