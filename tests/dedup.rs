//! Deduplication on ten thousand made-up leads whose truth is known.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a test may panic and print")]

use std::collections::HashMap;

use crm_sync::dedup::{Action, DedupConfig, Deduper, InPlace, Index, Prepared, Records, Role, Workers};
use proptest::prelude::*;

const COLUMNS: [(Role, &str); 11] = [
    (Role::First, "first_name"),
    (Role::Last, "last_name"),
    (Role::Email, "email"),
    (Role::Phone, "phone"),
    (Role::Company, "company"),
    (Role::Title, "title"),
    (Role::Website, "website"),
    (Role::Street, "street"),
    (Role::City, "city"),
    (Role::PostalCode, "postal_code"),
    (Role::Country, "country"),
];

fn leads(deduper: &Deduper) -> (Vec<String>, Vec<Prepared>) {
    let mut reader = csv::Reader::from_path("tests/fixtures/leads.csv").unwrap();
    let headers = reader.headers().unwrap().clone();
    let places: Vec<(Role, usize)> =
        COLUMNS.iter().map(|(role, name)| (*role, headers.iter().position(|header| header == *name).unwrap())).collect();
    reader
        .records()
        .map(|row| {
            let row = row.unwrap();
            let values: Vec<(Role, &str)> = places.iter().map(|(role, at)| (*role, &row[*at])).collect();
            (row[0].to_owned(), deduper.prepare(&values))
        })
        .unzip()
}

fn truth() -> HashMap<String, String> {
    let mut reader = csv::Reader::from_path("tests/fixtures/leads-truth.csv").unwrap();
    reader.records().map(|row| row.unwrap()).map(|row| (row[0].to_owned(), row[1].to_owned())).collect()
}

#[test]
fn ten_thousand_leads_are_grouped_precisely() {
    let deduper = Deduper::new(DedupConfig::default()).unwrap();
    let (ids, records) = leads(&deduper);
    let truth = truth();
    let entity = |at: usize| &truth[&ids[at]];
    let mut calls = 0;
    let found = deduper.find_all(&records, &mut |_| calls += 1);

    let right = found.pairs.iter().filter(|pair| entity(pair.a) == entity(pair.b)).count() as f64;
    let mut sizes: HashMap<&String, usize> = HashMap::new();
    for entity in truth.values() {
        *sizes.entry(entity).or_insert(0) += 1;
    }
    let all: usize = sizes.values().map(|size| size * (size - 1) / 2).sum();
    assert_eq!(all, 5_819);
    let (precision, recall) = (right / found.pairs.len() as f64, right / all as f64);
    println!("precision {precision:.4} recall {recall:.4}");
    assert!(precision >= 0.97, "precision {precision:.4}");
    assert!(recall >= 0.92, "recall {recall:.4}");

    assert!(calls > 50, "progress was reported {calls} times");
    assert!(found.candidates < 20 * records.len() as u64, "{} candidates are too many", found.candidates);
    assert!(found.groups.iter().all(|group| group.len() > 1 && group.is_sorted()) && found.groups.is_sorted());
    assert!(found.review.iter().all(|pair| pair.a < pair.b && !pair.reasons.is_empty()));
}

#[test]
fn the_answer_is_the_same_every_time_and_in_any_order() {
    let deduper = Deduper::new(DedupConfig::default()).unwrap();
    let (_, mut records) = leads(&deduper);
    records.truncate(1_500);
    same_in_any_order(&deduper, records.clone());
    // With nearly every block too large to be compared whole.
    let mut crowded = DedupConfig::default();
    crowded.max_block = 3;
    same_in_any_order(&Deduper::new(crowded).unwrap(), records);
}

fn same_in_any_order(deduper: &Deduper, mut records: Vec<Prepared>) {
    let found = deduper.find_all(&records, &mut |_| {});
    assert!(!found.groups.is_empty());
    assert_eq!(deduper.find_all(&records, &mut |_| {}), found);
    let last = records.len() - 1;
    records.reverse();
    let mut turned: Vec<Vec<usize>> = deduper.find_all(&records, &mut |_| {}).groups;
    for group in &mut turned {
        group.iter_mut().for_each(|at| *at = last - *at);
        group.sort_unstable();
    }
    turned.sort();
    assert_eq!(turned, found.groups);
}

#[test]
fn scores_are_symmetric_and_nothing_beats_identity() {
    let deduper = Deduper::new(DedupConfig::default()).unwrap();
    let (_, records) = leads(&deduper);
    for (a, b) in records.iter().zip(records.iter().skip(7)).take(2_000) {
        let score = deduper.compare(a, b).score;
        assert_eq!(score, deduper.compare(b, a).score);
        assert!(deduper.compare(a, a).score >= score);
    }
}

#[test]
fn hostile_values_neither_panic_nor_match() {
    let deduper = Deduper::new(DedupConfig::default()).unwrap();
    let long = "x".repeat(65_536);
    let odd = ["", " ", "\0", "\u{202e}\u{200f}", "🙂", "@", "@@", "a@", "+", "00", ",", "''", long.as_str(), "٠١٢٣٤٥٦٧٨٩", "Å\u{30a}"];
    for (role, _) in Role::ALL {
        for value in odd {
            let record = deduper.prepare(&[(role, value)]);
            let score = deduper.compare(&record, &record).score;
            assert!((0.0..=1.0).contains(&score), "{role}: {score}");
        }
    }
    let blank: Vec<Prepared> = (0..1_000).map(|_| deduper.prepare(&[(Role::First, " "), (Role::Email, "n/a")])).collect();
    let found = deduper.find_all(&blank, &mut |_| {});
    assert_eq!((found.groups.len(), found.candidates), (0, 0));
}

#[test]
fn many_equal_records_are_no_quadratic_step() {
    let deduper = Deduper::new(DedupConfig::default()).unwrap();
    let records: Vec<Prepared> =
        (0..5_000).map(|_| deduper.prepare(&[(Role::Full, "Ann Keller"), (Role::Email, "ann@firm.com")])).collect();
    let found = deduper.find_all(&records, &mut |_| {});
    assert!(found.candidates < 800_000 * 20, "{}", found.candidates);
    assert!(found.groups.iter().all(|group| group.len() <= deduper.config().max_group));
}

/// Runs the pieces backwards on two threads.
struct Backwards;

impl Workers for Backwards {
    fn run(&self, pieces: usize, work: &(dyn Fn(usize) + Sync)) {
        let middle = pieces / 2;
        std::thread::scope(|scope| {
            scope.spawn(|| (middle..pieces).rev().for_each(work));
            (0..middle).rev().for_each(work);
        });
    }
}

fn set(records: &[Prepared]) -> Records {
    let mut set = Records::new();
    for record in records {
        set.push(record);
    }
    set
}

#[test]
fn learning_and_finding_do_not_depend_on_threads_or_order() {
    let deduper = Deduper::new(DedupConfig::default()).unwrap();
    let (_, mut leads) = leads(&deduper);
    leads.truncate(1_500);
    let records = set(&leads);
    let training = deduper.train(&records, &InPlace);
    assert_eq!(deduper.train(&records, &Backwards), training);
    let trained = deduper.with_weights(training.weights.clone()).unwrap();
    let found = trained.find(&records, &InPlace);
    let (both, at_once) = deduper.train_and_find(&records, &Backwards).unwrap();
    assert_eq!(both.config(), trained.config());
    assert_eq!((&found.groups, &found.pairs, &found.review), (&at_once.groups, &at_once.pairs, &at_once.review));
    let best = found.pairs.iter().max_by(|x, y| x.score.total_cmp(&y.score)).unwrap();
    let scored = trained.score_pairs(&records, &[(best.b, best.a), (0, 99_999)]);
    assert!((scored[0].a, scored[0].b) == (best.a, best.b) && scored[0].score > 0.8 && scored[1].score == 0.0);
    let again = trained.find(&records, &Backwards);
    assert_eq!((&found.groups, &found.pairs, &found.review), (&again.groups, &again.pairs, &again.review));
    assert!(!found.groups.is_empty() && training.pairs > 500 && training.weights.person.len() > 20);

    // Another order: the same shares among the duplicates, but for the strangers that happen to be drawn.
    leads.reverse();
    let turned = deduper.train(&set(&leads), &InPlace);
    for (x, y) in training.levels.iter().zip(&turned.levels) {
        assert_eq!((&x.level, x.pairs), (&y.level, y.pairs));
        assert!((x.same - y.same).abs() < 0.01, "{} {} {}", x.level, x.same, y.same);
    }
}

#[test]
fn labelled_pairs_teach_as_well_and_wrong_numbers_are_refused() {
    let deduper = Deduper::new(DedupConfig::default()).unwrap();
    let (ids, leads) = leads(&deduper);
    let truth = truth();
    let mut firsts: HashMap<&String, u32> = HashMap::new();
    let mut same = Vec::new();
    for (at, id) in (0_u32..).zip(&ids) {
        if let Some(first) = firsts.insert(&truth[id], at) {
            same.push((first, at));
        }
    }
    let records = set(&leads);
    let labelled = deduper.train_from_pairs(&records, &same, &[]).unwrap();
    let unlabelled = deduper.train(&records, &InPlace);
    for share in labelled.levels.iter().filter(|share| share.pairs > 300) {
        let other = unlabelled.levels.iter().find(|other| other.level == share.level && other.population == share.population).unwrap();
        assert!((share.same - other.same).abs() < 0.1, "{}: {} learned, {} in truth", share.level, other.same, share.same);
    }
    assert!(deduper.train_from_pairs(&records, &[], &[]).is_err());
    assert!(deduper.train_from_pairs(&records, &[(0, 99_999)], &[]).is_err());
}

#[test]
fn a_link_pairs_only_across() {
    let deduper = Deduper::new(DedupConfig::default()).unwrap();
    let person = |mail: &str| deduper.prepare(&[(Role::Full, "Ann Keller"), (Role::Email, mail)]);
    let mut records = Records::new();
    for mail in ["ann@firm.com", "ann+x@firm.com"] {
        records.push(&person(mail));
    }
    records.push_other(&person("ann@firm.com"));
    let found = deduper.link(&records, &InPlace);
    assert_eq!(found.pairs.iter().map(|pair| (pair.a, pair.b)).collect::<Vec<_>>(), [(0, 2), (1, 2)]);
    assert_eq!(deduper.find(&records, &InPlace).pairs.len(), 3);
}

#[test]
fn known_traps() {
    let deduper = Deduper::new(DedupConfig::default()).unwrap();
    let of = |text: &str| {
        let values: Vec<(Role, &str)> =
            text.split('|').map(|part| part.split_once('=').unwrap()).map(|(role, value)| (role.parse().unwrap(), value)).collect();
        deduper.prepare(&values)
    };
    for (trap, same, a, b) in [
        ("junior", false, "full=John Harlow Sr.|phone=+1 212 555 0147", "full=John Harlow Jr.|phone=+1 212 555 0147"),
        ("siblings", false, "full=Ann Keller|phone=0921 2336403|company=Keller", "full=Bert Keller|phone=0921 2336403|company=Keller"),
        ("colleagues", false, "full=Ann Keller|email=ann@firm.com|company=Firm", "full=Bob Stone|email=bob@firm.com|company=Firm"),
        ("inbox", false, "full=Ann Keller|email=info@firm.com", "full=Bob Stone|email=info@firm.com"),
        ("namesakes", false, "full=John Smith|company=Acme|city=Leeds", "full=John Smith|company=Borealis|city=Paris"),
        ("sisters", false, "company=Acme Holding|website=acme.com", "company=Acme Services|website=acme.com"),
        ("married", true, "first=Ann|last=Keller|email=ann.k@firm.com", "first=Ann|last=Keller-Stone|email=ann.k@firm.com"),
        ("swapped", true, "first=Keller|last=Ann|email=ann.k@firm.com", "first=Ann|last=Keller|email=Ann.K+x@firm.com"),
        ("umlaut", true, "full=Jörg Müller|email=jm@firm.de|company=Firm GmbH", "full=Joerg Mueller|email=jm@firm.de|company=Firm"),
        ("blank", false, "full=n/a|email=-", "full=n/a|email=-"),
    ] {
        let score = deduper.compare(&of(a), &of(b)).score;
        assert_eq!(score >= deduper.config().threshold, same, "{trap}: {score}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Inserted one by one, with detours, in any order: the groups of a batch.
    #[test]
    fn an_index_finds_the_groups_of_a_batch(
        people in prop::collection::vec((0..5_usize, 0..4_usize, 0..6_usize), 2..40),
        detours in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        turn in any::<bool>(),
    ) {
        let deduper = Deduper::new(DedupConfig::default()).unwrap();
        let person = |(first, last, mail): (usize, usize, usize)| {
            let (first, last) = (["Ann", "Anna", "Bob", "Eve", "Tom"][first], ["Keller", "Stone", "Frost", "Wood"][last]);
            deduper.prepare(&[(Role::First, first), (Role::Last, last), (Role::Email, &format!("mail{mail}@firm.com"))])
        };
        let records: Vec<Prepared> = people.iter().map(|at| person(*at)).collect();
        let batch = deduper.find(&set(&records), &InPlace);
        let wanted: Vec<Vec<String>> = batch.groups.iter().map(|group| group.iter().map(|at| format!("{at:03}")).collect()).collect();

        let mut index = Index::new();
        let mut order: Vec<usize> = (0..records.len()).collect();
        if turn {
            order.reverse();
        }
        for at in order {
            index.insert(&format!("{at:03}"), &records[at]);
        }
        for detour in detours {
            let at = detour.index(records.len());
            index.insert(&format!("{at:03}"), &person((0, 0, 0)));
            index.remove(&format!("{at:03}"));
            index.insert(&format!("{at:03}"), &records[at]);
        }
        let found = index.find(&deduper, &InPlace);
        let mut groups: Vec<Vec<String>> =
            found.groups.iter().map(|group| group.iter().map(|at| index.key(*at).to_owned()).collect()).collect();
        groups.iter_mut().for_each(|group| group.sort());
        groups.sort();
        prop_assert_eq!(groups, wanted);
    }

    /// A record put in and taken out leaves nothing behind.
    #[test]
    fn insert_and_remove_are_nothing(mail in "[a-z]{5,9}") {
        let deduper = Deduper::new(DedupConfig::default()).unwrap();
        let record = deduper.prepare(&[(Role::Full, "Ann Keller"), (Role::Email, &format!("{mail}@firm.com"))]);
        let mut index = Index::new();
        index.insert("a", &record);
        prop_assert_eq!(index.judge(&deduper, &record).action, Action::Update("a".to_owned()));
        index.remove("a");
        prop_assert_eq!(index.judge(&deduper, &record).action, Action::Create);
        prop_assert!(index.candidates(&record).is_empty() && index.find(&deduper, &InPlace).groups.is_empty());
    }
}

/// The report in a real browser: drawn without a script, with its bars in place.
#[test]
fn the_report_opens_in_a_browser() {
    let browser = std::path::Path::new("/usr/bin/chromium");
    if !browser.exists() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "1"), "CI must have /usr/bin/chromium");
        println!("skipped: there is no /usr/bin/chromium");
        return;
    }
    let deduper = Deduper::new(DedupConfig::default()).unwrap();
    let (ids, mut leads) = leads(&deduper);
    leads.truncate(1_000);
    let records = set(&leads);
    let found = deduper.find(&records, &InPlace);
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    let shot = folder.path().join("report.png");
    std::fs::write(&page, found.report(&deduper, &records, &|at| ids[at as usize].clone())).unwrap();
    let run = |what: &str| {
        std::process::Command::new(browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1000,1400"])
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .arg(what)
            .arg(format!("file://{}", page.display()))
            .output()
            .unwrap()
    };
    let drawn = run("--dump-dom");
    let dom = String::from_utf8(drawn.stdout).unwrap();
    assert!(dom.contains("id=\"scores\"") && dom.contains("class=\"waterfall\"") && dom.contains("class=\"group\""), "{}", dom.len());
    assert_eq!(dom.matches("<rect class=\"bar\"").count(), 25);
    run(&format!("--screenshot={}", shot.display()));
    let picture = std::fs::read(&shot).unwrap();
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000, "{} bytes", picture.len());
    if let Some(keep) = std::env::var_os("REPORT_SCREENSHOT") {
        std::fs::write(keep, picture).unwrap();
    }
}
