//! A table for every function: formula, result. `!` stands for an error of that kind.

use serde_json::{Value, json};

use super::{Formula, FormulaErrorKind};
use crate::model::Fields;

fn record() -> Fields {
    Fields::from_value(json!({
        "first": "Ada", "last": "Lovelace", "blank": "  ", "none": null, "zero": 0, "n": 12.5, "flag": true, "tags": ["b", "a", "b"],
        "utm": {"source": "google"}, "Lead Source": "Web", "born": "2000-01-31", "at": "2026-03-04T23:30:00Z", "accent": "Élodie Müller",
        "mail": "Ada@Example.COM", "site": "https://www.Example.com/a?b", "multi": "A; B", "big": 9_007_199_254_740_993_i64
    }))
    .unwrap()
}

fn eval(text: &str) -> Result<Value, FormulaErrorKind> {
    let formula = Formula::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    formula.eval(&record(), "2026-05-06T07:08:09Z".parse().ok()).map_err(|error| error.kind())
}

fn table(rows: &[(&str, Value)]) {
    for (text, wanted) in rows {
        assert_eq!(eval(text).as_ref(), Ok(wanted), "{text}");
    }
}

fn fails(rows: &[(&str, FormulaErrorKind)]) {
    for (text, wanted) in rows {
        assert_eq!(eval(text), Err(*wanted), "{text}");
    }
}

#[test]
fn operators_and_precedence() {
    table(&[
        ("1 + 2 * 3", json!(7)),
        ("(1 + 2) * 3", json!(9)),
        ("-2 ^ 2", json!(4)),
        ("2 ^ 3 ^ 2", json!(512)),
        ("2 ^ -1", json!(0.5)),
        ("10 - 2 - 3", json!(5)),
        ("0.1 + 0.2", json!(0.3)),
        ("big + 0", json!(9_007_199_254_740_993_i64)),
        ("1 / 4", json!(0.25)),
        ("'a' & 1 + 1 & TRUE & NULL", json!("a2true")),
        ("1 = 1 && 2 <> 3", json!(true)),
        ("NOT 1 = 2", json!(true)),
        ("NOT(flag) = FALSE", json!(true)),
        ("!flag OR flag", json!(true)),
        ("first == 'Ada' AND last != 'x'", json!(true)),
        ("NULL = none", json!(true)),
        ("NULL = missing", json!(true)),
        ("none = 1", json!(false)),
        ("none <> 1", json!(true)),
        ("none < 1", Value::Null),
        ("none + 1", Value::Null),
        ("-none", Value::Null),
        ("'a' < 'b'", json!(true)),
        ("n >= 12.50", json!(true)),
        ("utm.source & [Lead Source]", json!("googleWeb")),
        ("/* a */ 1 /* b */", json!(1)),
        ("tags[0] & tags[-1]", json!("bb")),
    ]);
    fails(&[
        ("'1' = 1", FormulaErrorKind::Type),
        ("first < 1", FormulaErrorKind::Type),
        ("first + last", FormulaErrorKind::Type),
        ("1 / 0", FormulaErrorKind::Domain),
        ("2 ^ 0.5", FormulaErrorKind::Domain),
        ("10 ^ 40", FormulaErrorKind::Domain),
        ("-first", FormulaErrorKind::Type),
        ("!first", FormulaErrorKind::Type),
        ("tags & 'x'", FormulaErrorKind::Type),
    ]);
}

#[test]
fn logic_and_null() {
    table(&[
        ("AND(TRUE, NULL)", Value::Null),
        ("AND(FALSE, NULL)", json!(false)),
        ("OR(TRUE, NULL)", json!(true)),
        ("OR(FALSE, NULL)", Value::Null),
        ("AND(TRUE, TRUE)", json!(true)),
        ("NOT(NULL)", Value::Null),
        ("XOR(TRUE, FALSE)", json!(true)),
        ("XOR(TRUE, NULL)", Value::Null),
        ("IF(TRUE, 1, 1/0)", json!(1)),
        ("IF(none, 1, 2)", json!(2)),
        ("IIF(FALSE, 1)", Value::Null),
        ("CASE(first, 'Bob', 1, 'Ada', 2, 3)", json!(2)),
        ("CASE(first, 'Bob', 1, 3)", json!(3)),
        ("CASE(first, 'Bob', 1)", Value::Null),
        ("CASE(NULL, NULL, 'hit', 'no')", json!("hit")),
        ("CASE('a', 'a', 1, 'b', 1/0, 2)", json!(1)),
        ("SWITCH(FALSE, 1, n > 12, 2, 3)", json!(2)),
        ("SWITCH(FALSE, 1, 3)", json!(3)),
        ("IFERROR(1/0, 'x')", json!("x")),
        ("IFERROR(NULL, 'x')", Value::Null),
        ("COALESCE(none, missing, blank, 1)", json!("  ")),
        ("NVL(none, 2)", json!(2)),
        ("IFNULL(zero, 2)", json!(0)),
        ("NULLVALUE(none, 3)", json!(3)),
        ("BLANKVALUE(blank, 'x')", json!("x")),
        ("BLANKVALUE(first, 1/0)", json!("Ada")),
        ("ISBLANK(blank)", json!(true)),
        ("ISBLANK(missing)", json!(true)),
        ("ISBLANK(LIST())", json!(true)),
        ("ISBLANK(zero)", json!(false)),
        ("ISNULL(blank)", json!(false)),
        ("ISNULL(none)", json!(true)),
        ("ISPRESENT(none)", json!(true)),
        ("ISPRESENT(missing)", json!(false)),
        ("ISPICKVAL([Lead Source], 'Web')", json!(true)),
        ("IN(first, 'Bob', 'Ada')", json!(true)),
        ("IN(first, 1, 2)", json!(false)),
    ]);
    fails(&[
        ("IF('x', 1, 2)", FormulaErrorKind::Type),
        ("CASE(first, 1, 2, 3)", FormulaErrorKind::Type),
        ("ISPRESENT(1)", FormulaErrorKind::Type),
        ("AND(1)", FormulaErrorKind::Type),
        ("XOR(1, TRUE)", FormulaErrorKind::Type),
    ]);
}

#[test]
fn texts() {
    table(&[
        ("CONCAT(first, ' ', last)", json!("Ada Lovelace")),
        ("CONCAT('', NULL)", json!("")),
        ("CONCATENATE('a', 1.50, TRUE)", json!("a1.5true")),
        ("JOIN(', ', first, none, blank, last)", json!("Ada, Lovelace")),
        ("JOIN(', ', none, blank)", Value::Null),
        ("JOIN('-', tags)", json!("b-a-b")),
        ("LOWER(accent)", json!("élodie müller")),
        ("UPPER('straße')", json!("STRASSE")),
        ("PROPER('o\\'neill and MÜLLER-smith')", json!("O'neill And Müller-Smith")),
        ("TRIM('  a  b ')", json!("a  b")),
        ("CLEAN('a\u{200b}b\\n')", json!("ab")),
        ("LEFT(accent, 2)", json!("Él")),
        ("LEFT('ab', 9)", json!("ab")),
        ("RIGHT('abc', 2)", json!("bc")),
        ("MID('abcde', 2, 3)", json!("bcd")),
        ("MID('abc', 9, 1)", json!("")),
        ("LEN(accent)", json!(13)),
        ("FIND('b', 'abab')", json!(2)),
        ("FIND('b', 'abab', 3)", json!(4)),
        ("FIND('ü', accent)", json!(9)),
        ("FIND('x', 'abab')", json!(0)),
        ("CONTAINS(first, '')", json!(true)),
        ("BEGINS(first, 'A')", json!(true)),
        ("ENDS(first, 'x')", json!(false)),
        ("SUBSTITUTE('a-b-c', '-', '+')", json!("a+b+c")),
        ("REPLACE('a-b-c', '-', '', 2)", json!("a-bc")),
        ("SUBSTITUTE('abc', '', 'x')", json!("abc")),
        ("SUBSTITUTE('abc', 'b', 'x', 5)", json!("abc")),
        ("SPLIT('a,b,c', ',')", json!(["a", "b", "c"])),
        ("SPLIT('a,b,c', ',', -1)", json!("c")),
        ("SPLIT('a,b,c', ',', 9)", Value::Null),
        ("FIRST_WORD('Anna Maria Smith')", json!("Anna")),
        ("LAST_WORD('Anna Maria Smith')", json!("Smith")),
        ("REST('Anna Maria Smith')", json!("Maria Smith")),
        ("REST('Anna')", Value::Null),
        ("FIRST_WORD(blank)", Value::Null),
        ("PAD_LEFT(7, 3, '0')", json!("007")),
        ("PAD_LEFT('abcd', 3)", json!("abcd")),
        ("REPEAT('ab', 3)", json!("ababab")),
        ("REVERSE('äb')", json!("bä")),
        ("DEACCENT(accent)", json!("Elodie Muller")),
        ("SLUG('  Élodie & Co. ')", json!("elodie-co")),
        ("TO_TEXT(n)", json!("12.5")),
        ("TEXT(n, '0.00')", json!("12.50")),
        ("TO_TEXT(1234567.895, '#,##0.00')", json!("1,234,567.90")),
        ("TO_TEXT(-0.4, '0')", json!("0")),
        ("TO_TEXT(DATE(2026, 1, 2), '%d.%m.%Y')", json!("02.01.2026")),
        ("TO_BOOLEAN('Yes')", json!(true)),
        ("TO_BOOLEAN(0)", json!(false)),
        ("TO_BOOLEAN(blank)", Value::Null),
        ("EMAIL_DOMAIN(mail)", json!("example.com")),
        ("EMAIL_LOCAL(mail)", json!("Ada")),
        ("EMAIL_DOMAIN('x')", Value::Null),
        ("DOMAIN(site)", json!("example.com")),
        ("DOMAIN('acme.io/path')", json!("acme.io")),
        ("DOMAIN('not a site')", Value::Null),
        ("HASH('abc')", json!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")),
        ("JSON(utm)", json!("{\"source\":\"google\"}")),
        ("PARSE_JSON('{\"a\": [1]}')", json!({"a": [1]})),
        ("LOWER(none)", Value::Null),
        ("LEFT(first, none)", Value::Null),
    ]);
    fails(&[
        ("LEFT(first, -1)", FormulaErrorKind::Domain),
        ("LEFT(first, 1.5)", FormulaErrorKind::Domain),
        ("LEFT(n, 1)", FormulaErrorKind::Type),
        ("MID(first, 0, 1)", FormulaErrorKind::Domain),
        ("CONCAT(tags)", FormulaErrorKind::Type),
        ("REPEAT('a', 1001)", FormulaErrorKind::Domain),
        ("PAD_LEFT('a', 5, 'xy')", FormulaErrorKind::Domain),
        ("TO_BOOLEAN('maybe')", FormulaErrorKind::Domain),
        ("TO_TEXT(n, 'x')", FormulaErrorKind::Domain),
        ("TO_TEXT(DATE(2026,1,2), '%')", FormulaErrorKind::Domain),
        ("HASH('a', 'md5')", FormulaErrorKind::Domain),
        ("PARSE_JSON('{')", FormulaErrorKind::Domain),
        ("JOIN(1, 'a')", FormulaErrorKind::Type),
    ]);
}

#[test]
fn numbers() {
    table(&[
        ("ROUND(2.5)", json!(3)),
        ("ROUND(-2.5, 0)", json!(-3)),
        ("ROUND(1.005, 2)", json!(1.01)),
        ("ROUND(1250, -2)", json!(1300)),
        ("TRUNC(-2.79, 1)", json!(-2.7)),
        ("FLOOR(-2.5)", json!(-3)),
        ("CEILING(2.1)", json!(3)),
        ("ABS(-3)", json!(3)),
        ("MOD(7, 3)", json!(1)),
        ("MOD(-7, 3)", json!(2)),
        ("MOD(7, -3)", json!(-2)),
        ("MIN(3, none, 1, 2)", json!(1)),
        ("MAX(LIST(3, 9), 1)", json!(9)),
        ("MAX('a', 'b')", json!("b")),
        ("MIN(none)", Value::Null),
        ("SUM(1, none, LIST(2, 3))", json!(6)),
        ("SUM(none)", Value::Null),
        ("TO_NUMBER('1,234.50', 'en')", json!(1234.5)),
        ("TO_NUMBER('1.234,50', 'de')", json!(1234.5)),
        ("VALUE(' -12 ')", json!(-12)),
        ("TO_NUMBER(blank)", Value::Null),
        ("TO_NUMBER('.5')", json!(0.5)),
    ]);
    fails(&[
        ("TO_NUMBER('12a')", FormulaErrorKind::Domain),
        ("TO_NUMBER('1,2')", FormulaErrorKind::Domain),
        ("TO_NUMBER('12,34.5', 'en')", FormulaErrorKind::Domain),
        ("TO_NUMBER('1', 'xx')", FormulaErrorKind::Domain),
        ("TO_NUMBER('.')", FormulaErrorKind::Domain),
        ("MOD(1, 0)", FormulaErrorKind::Domain),
        ("SUM('a')", FormulaErrorKind::Type),
        ("MIN(1, 'a')", FormulaErrorKind::Type),
    ]);
}

#[test]
fn dates() {
    table(&[
        ("DATE(2024, 2, 29)", json!("2024-02-29")),
        ("DATEVALUE(born)", json!("2000-01-31")),
        ("DATEVALUE(at)", json!("2026-03-04")),
        ("DATEVALUE(at, '+01:00')", json!("2026-03-05")),
        ("DATEVALUE('2026-03-04 23:30:00', '+05:00')", json!("2026-03-04")),
        ("DATEVALUE(blank)", Value::Null),
        ("DATETIME(at)", json!("2026-03-04T23:30:00Z")),
        ("DATETIME('2026-03-04T23:30:00.000+0000')", json!("2026-03-04T23:30:00Z")),
        ("DATETIME('2026-03-04 23:30:00', '', '+02:00')", json!("2026-03-04T21:30:00Z")),
        ("DATETIMEVALUE('04/03/2026 10:00', '%d/%m/%Y %H:%M', 'UTC')", json!("2026-03-04T10:00:00Z")),
        ("DATETIME('04/03/2026', '%d/%m/%Y', 'UTC')", json!("2026-03-04T00:00:00Z")),
        ("EPOCH_MS(0)", json!("1970-01-01T00:00:00Z")),
        ("TO_EPOCH_MS(at)", json!(1_772_667_000_000_i64)),
        ("TO_EPOCH_MS(EPOCH_MS(1500))", json!(1500)),
        ("FORMAT_DATE(born, '%d.%m.%Y')", json!("31.01.2000")),
        ("FORMAT_DATE(at, '%Y-%m-%d %H:%M', '+01:00')", json!("2026-03-05 00:30")),
        ("ADD_DAYS(born, 1)", json!("2000-02-01")),
        ("ADD_MONTHS(born, 1)", json!("2000-02-29")),
        ("ADD_YEARS(DATE(2024, 2, 29), 1)", json!("2025-02-28")),
        ("ADD_MONTHS(DATETIME(at), 1)", json!("2026-04-04T23:30:00Z")),
        ("DAYS_BETWEEN(born, DATE(2000, 3, 1))", json!(30)),
        ("DAYS_BETWEEN(DATE(2000, 3, 1), born)", json!(-30)),
        ("YEAR(born)", json!(2000)),
        ("MONTH(born)", json!(1)),
        ("DAY(born)", json!(31)),
        ("HOUR(at)", json!(23)),
        ("HOUR(at, '+01:00')", json!(0)),
        ("MINUTE(at)", json!(30)),
        ("WEEKDAY(DATE(2026, 11, 22))", json!(1)),
        ("WEEKDAY(DATE(2026, 11, 21))", json!(7)),
        ("NOW()", json!("2026-05-06T07:08:09Z")),
        ("TODAY()", json!("2026-05-06")),
        ("TODAY('-08:00')", json!("2026-05-05")),
        ("DATE(2026, 1, 1) < DATETIME('2026-01-01T00:00:01Z')", json!(true)),
        ("YEAR(none)", Value::Null),
    ]);
    fails(&[
        ("DATE(2026, 2, 29)", FormulaErrorKind::Domain),
        ("DATE(1, 400, 1)", FormulaErrorKind::Domain),
        ("DATETIME('2026-03-04 23:30:00')", FormulaErrorKind::Domain),
        ("DATEVALUE('x')", FormulaErrorKind::Domain),
        ("DATEVALUE(at, 'Mars')", FormulaErrorKind::Domain),
        ("ADD_DAYS(born, 99999999999)", FormulaErrorKind::Domain),
        ("EPOCH_MS(9999999999999999)", FormulaErrorKind::Domain),
        ("YEAR(1)", FormulaErrorKind::Type),
    ]);
    let error = Formula::parse("NOW()").unwrap().eval(&record(), None).unwrap_err();
    assert!(error.message().contains("needs the time"), "{error}");
}

#[test]
fn lists() {
    table(&[
        ("LIST(1, 'a', NULL)", json!([1, "a", null])),
        ("COUNT(tags)", json!(3)),
        ("COUNT(none)", json!(0)),
        ("FIRST(tags)", json!("b")),
        ("LAST(LIST())", Value::Null),
        ("NTH(tags, 2)", json!("a")),
        ("NTH(tags, -3)", json!("b")),
        ("NTH(tags, 0)", Value::Null),
        ("NTH(tags, 4)", Value::Null),
        ("SORT(tags)", json!(["a", "b", "b"])),
        ("UNIQUE(tags)", json!(["b", "a"])),
        ("UNION(tags, LIST('c', 'a'), none)", json!(["b", "a", "c"])),
        ("INCLUDES(tags, 'a')", json!(true)),
        ("INCLUDES(multi, 'B')", json!(true)),
        ("INCLUDES(multi, 'C')", json!(false)),
        ("tags = LIST('b', 'a', 'b')", json!(true)),
    ]);
    fails(&[("SORT(LIST(1, 'a'))", FormulaErrorKind::Type), ("FIRST('a')", FormulaErrorKind::Type), ("COUNT(1)", FormulaErrorKind::Type)]);
}

#[test]
fn patterns_phones_and_keys() {
    table(&[
        ("REGEX(first, 'A[a-z]+')", json!(true)),
        ("REGEX(first, 'd')", json!(false)),
        ("REGEX(none, 'd')", Value::Null),
        ("REGEX_EXTRACT(mail, '@(.+)$')", json!("Example.COM")),
        ("REGEX_EXTRACT(mail, '@(.+)[.](.+)$', 2)", json!("COM")),
        ("REGEX_EXTRACT(mail, '[a-z]+')", json!("da")),
        ("REGEX_EXTRACT(mail, '[0-9]+')", Value::Null),
        ("REGEX_REPLACE(last, '([aeo])', '<$1>')", json!("L<o>v<e>l<a>c<e>")),
        ("NORMALIZE_PHONE('+1 650-253-0000')", json!("+16502530000")),
        ("NORMALIZE_PHONE('(650) 253-0000', 'us')", json!("+16502530000")),
        ("NORMALIZE_PHONE('none')", Value::Null),
        ("UUID5('dns', 'python.org')", json!("886313e1-3b8a-5372-9b90-0c9aee199e5d")),
        ("UUID5('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 'python.org')", json!("886313e1-3b8a-5372-9b90-0c9aee199e5d")),
    ]);
    fails(&[
        ("NORMALIZE_PHONE('x', 'Germany')", FormulaErrorKind::Domain),
        ("UUID5('mine', 'x')", FormulaErrorKind::Domain),
        ("REGEX(n, 'd')", FormulaErrorKind::Type),
        ("PICKLIST(first, 'x')", FormulaErrorKind::Domain),
        ("LOOKUP(first, 'x')", FormulaErrorKind::Domain),
    ]);
    for (text, at) in [("REGEX(first, last)", 13), ("REGEX(first, '(')", 13), ("PICKLIST(first, 1)", 16)] {
        let error = Formula::parse(text).unwrap_err();
        assert_eq!((error.kind(), error.position()), (FormulaErrorKind::Syntax, at), "{text}");
    }
}

#[test]
fn limits() {
    let wide = format!("CONCAT({})", vec!["1"; 1_200].join(", "));
    assert_eq!(eval(&wide), Err(FormulaErrorKind::Limit));
    let big = "REPEAT(REPEAT('0123456789', 1000), 1000)";
    assert_eq!(eval(big), Err(FormulaErrorKind::Limit));
    // A limit is not an error to be caught.
    assert_eq!(eval(&format!("IFERROR({big}, 1)")), Err(FormulaErrorKind::Limit));
    assert_eq!(eval("PAD_LEFT('a', 99999999999)"), Err(FormulaErrorKind::Limit));
}

/// Every function of the list is called by one of the tables above.
#[test]
fn every_function_has_a_row() {
    let rows = include_str!("tables.rs");
    let missing: Vec<_> = super::calls::names().filter(|name| !rows.contains(&format!("{name}("))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

proptest::proptest! {
    #[test]
    fn evaluation_never_panics(name in 0usize..101, arguments in proptest::collection::vec(proptest::sample::select(vec![
        "first", "none", "missing", "n", "-3", "0", "99999999999999999999", "'%Y'", "'x'", "tags", "flag", "at", "born", "utm", "''", "DATE(2024,1,31)", "0.001", "multi", "accent"
    ]), 0..4)) {
        let name = super::calls::names().nth(name).unwrap();
        if let Ok(formula) = Formula::parse(&format!("{name}({})", arguments.join(", "))) {
            let _ = formula.eval(&record(), None);
        }
    }
}
