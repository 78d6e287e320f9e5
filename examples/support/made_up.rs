//! Made-up people and companies whose duplicates are known, the same on every run: to try and to measure deduplication.
//!
//! Names, places and titles are drawn from the table of leads that the tests use, as often as they stand there. Nobody is real, and
//! the domains must never be contacted.

use std::collections::{HashMap, HashSet};

/// What the made-up records are.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Leads and contacts, as several systems write them.
    People,
    /// People without employers: birth date, address, identifier.
    Private,
    Companies,
}

/// What goes wrong in a value.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Dirt {
    /// A letter too many, too few, another, or two swapped.
    Typing,
    /// Letters read wrongly, words run together, ends cut off.
    Scanning,
    /// Spelled as it sounds.
    Hearing,
}

pub(crate) const PEOPLE: [&str; 12] =
    ["id", "first_name", "last_name", "email", "phone", "company", "title", "website", "street", "city", "postal_code", "country"];
pub(crate) const PRIVATE: [&str; 10] =
    ["id", "first_name", "last_name", "house_number", "street", "city", "postal_code", "birth_date", "identifier", "gender"];
pub(crate) const COMPANIES: [&str; 8] = ["id", "name", "website", "phone", "street", "city", "postal_code", "country"];

const INDUSTRIES: [&str; 24] = [
    "Construction",
    "Systems",
    "Travel",
    "Insurance",
    "Foods",
    "Pharma",
    "Logistics",
    "Engineering",
    "Media",
    "Energy",
    "Textiles",
    "Robotics",
    "Partners",
    "Consulting",
    "Software",
    "Optics",
    "Metals",
    "Design",
    "Motors",
    "Chemicals",
    "Tools",
    "Finance",
    "Farms",
    "Labs",
];
const MARKS: [&str; 24] = [
    "Blue", "Granite", "Lumen", "Aurora", "Beacon", "Maple", "Sterling", "Nova", "Cedar", "Summit", "Harbor", "Falcon", "Crystal", "Delta",
    "Ember", "Orchid", "Pioneer", "Quartz", "River", "Silver", "Titan", "Vertex", "Willow", "Zenith",
];
const FREE: [&str; 5] = ["gmail.com", "yahoo.com", "outlook.com", "gmx.de", "orange.fr"];
const TITLES: [(&str, &str); 10] = [
    ("CEO", "Chief Executive Officer"),
    ("Head of IT", "IT Manager"),
    ("Sales Manager", "Manager Sales"),
    ("Founder", "Owner"),
    ("CTO", "Chief Technology Officer"),
    ("Office Manager", "Office Mgr"),
    ("HR Manager", "Head of HR"),
    ("Consultant", "Advisor"),
    ("Purchasing Manager", "Buyer"),
    ("Marketing Manager", "Head of Marketing"),
];
const COUNTRIES: [(&str, &str, &str, &[&str]); 6] = [
    ("US", "United States", "1", &["LLC", "Inc", "Corp"]),
    ("GB", "United Kingdom", "44", &["Ltd", "LLP", "PLC"]),
    ("DE", "Germany", "49", &["GmbH", "AG", "GmbH & Co. KG"]),
    ("FR", "France", "33", &["SARL", "SAS", "SA"]),
    ("NL", "Netherlands", "31", &["B.V.", "N.V.", "VOF"]),
    ("SE", "Sweden", "46", &["AB", "HB", "KB"]),
];

/// A fixed sequence of numbers.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut state = self.0;
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^ (state >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(1000) < percent * 10
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// Small numbers more often.
    fn skewed(&mut self, limit: usize) -> usize {
        let share = self.below(1 << 20) as f64 / f64::from(1 << 20);
        (share.powf(1.5) * limit as f64) as usize
    }
}

/// Names and places as often as the leads hold them, by country.
pub(crate) struct Stock {
    firsts: Vec<Vec<String>>,
    lasts: Vec<Vec<String>>,
    places: Vec<(String, String)>,
    streets: Vec<String>,
    nicknames: HashMap<String, Vec<String>>,
}

impl Stock {
    /// Reads `tests/fixtures/leads.csv` and `src/dedup/nicknames.csv` under the folder `root`.
    pub(crate) fn read(root: &str) -> std::io::Result<Self> {
        let mut reader = csv::Reader::from_path(format!("{root}/tests/fixtures/leads.csv"))?;
        let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>()?;
        let mut stock = Self {
            firsts: vec![Vec::new(); COUNTRIES.len()],
            lasts: vec![Vec::new(); COUNTRIES.len()],
            places: Vec::new(),
            streets: Vec::new(),
            nicknames: HashMap::new(),
        };
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for row in &rows {
            row.iter().for_each(|value| *counts.entry(value).or_insert(0) += 1);
        }
        // What stands there once is likely a typing error.
        let clean = |text: &str| {
            counts[text] > 1 && text.chars().next().is_some_and(char::is_uppercase) && text.chars().skip(1).any(char::is_lowercase)
        };
        for row in &rows {
            let country = COUNTRIES.iter().position(|(code, name, ..)| [code, name].contains(&&&row[12]));
            let Some(at) = country else { continue };
            if clean(&row[2]) && !row[2].contains(' ') {
                stock.firsts[at].push(row[2].to_owned());
            }
            if clean(&row[3]) {
                stock.lasts[at].push(row[3].to_owned());
            }
            if clean(&row[10]) {
                stock.places.push((row[10].to_owned(), row[11].to_owned()));
            }
            if clean(&row[9]) {
                stock.streets.push(row[9].trim_matches(|c: char| c.is_ascii_digit() || c == ' ' || c == ',').to_owned());
            }
        }
        for line in std::fs::read_to_string(format!("{root}/src/dedup/nicknames.csv"))?.lines() {
            if let Some((name, short)) = line.split_once(',') {
                stock.nicknames.entry(name.to_owned()).or_default().push(short.to_owned());
            }
        }
        Ok(stock)
    }
}

#[derive(Clone)]
struct Firm {
    name: String,
    form: String,
    domain: String,
    phone: String,
    street: String,
    place: (String, String),
    country: usize,
}

struct Person {
    first: String,
    last: String,
    mail: String,
    private: String,
    phone: String,
    title: usize,
    firm: usize,
    house: usize,
    street: String,
    place: (String, String),
    birth: (usize, usize, usize),
    identifier: usize,
    gender: &'static str,
}

/// Calls `give` with each record (its cells in the order of the columns of its kind, the id first) and its entity.
pub(crate) fn make(kind: Kind, dirt: Dirt, count: usize, seed: u64, stock: &Stock, give: &mut dyn FnMut(&[String], usize)) {
    let mut dice = Dice::new(seed);
    let mut taken = HashSet::new();
    let firms: Vec<Firm> = (0..(count / 14).max(4)).map(|at| firm(&mut dice, stock, at, &mut taken)).collect();
    let mut before: Option<Person> = None;
    // Records of one entity do not stand together: they wait in a hat as large as the memory allows to be boring.
    let mut hat: Vec<(Vec<String>, usize)> = Vec::with_capacity(count);
    let mut entity = 0;
    while hat.len() < count {
        let copies = [1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5][if dice.chance(62) { 0 } else { 6 + dice.below(7) }];
        let copies = copies.min(count - hat.len());
        if kind == Kind::Companies {
            let sister = dice.chance(6);
            let base = &firms[entity % firms.len()];
            let mut own = if entity < firms.len() { base.clone() } else { firm(&mut dice, stock, entity, &mut taken) };
            if sister {
                own.name = format!("{} {}", base.name, dice.pick(&["Holding", "Services", "Group", "Capital"]));
                own.domain = base.domain.clone();
            }
            for _ in 0..copies {
                hat.push((company_cells(&mut dice, dirt, &own), entity));
            }
        } else {
            let person = person(&mut dice, stock, &firms, before.as_ref(), &mut taken);
            for _ in 0..copies {
                let cells = if kind == Kind::Private {
                    private_cells(&mut dice, dirt, stock, &person)
                } else {
                    people_cells(&mut dice, dirt, stock, &person, &firms[person.firm])
                };
                hat.push((cells, entity));
            }
            before = Some(person);
        }
        entity += 1;
    }
    for at in (1..hat.len()).rev() {
        hat.swap(at, dice.below(at + 1));
    }
    for (at, (cells, entity)) in hat.iter().enumerate() {
        let mut row = vec![format!("m{at:07}")];
        row.extend(cells.iter().cloned());
        give(&row, *entity);
    }
}

fn number(dice: &mut Dice) -> String {
    format!("{}{:02}{:03}{:04}", 2 + dice.below(8), dice.below(100), dice.below(1000), dice.below(10_000))
}

fn plain(text: &str) -> String {
    let folded = text.to_lowercase().replace('ß', "ss").replace(['ä', 'à', 'å', 'â', 'á'], "a").replace(['ö', 'ô', 'ó'], "o");
    let folded = folded.replace('ü', "u").replace(['é', 'è', 'ê', 'ë'], "e").replace('ç', "c").replace(['ï', 'î'], "i");
    folded.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// An address that nobody else has.
fn unique(mut user: String, domain: &str, taken: &mut HashSet<String>) -> String {
    let plain = user.clone();
    // Far apart, so that no typing error leads from one to another.
    for at in (37..).step_by(1_217) {
        let whole = format!("{user}{domain}");
        if taken.insert(whole.clone()) {
            return whole;
        }
        user = format!("{plain}{at}");
    }
    user
}

fn firm(dice: &mut Dice, stock: &Stock, at: usize, taken: &mut HashSet<String>) -> Firm {
    let country = dice.skewed(COUNTRIES.len());
    let last = dice.pick(&stock.lasts[country]).clone();
    let name = match at % 4 {
        0 => format!("{last} {}", dice.pick(&INDUSTRIES)),
        1 => format!("{last} & {}", dice.pick(&stock.lasts[country])),
        2 => format!("{} {}", dice.pick(&MARKS), dice.pick(&INDUSTRIES)),
        _ => format!("{} {last} {}", dice.pick(&MARKS), dice.pick(&INDUSTRIES)),
    };
    let (_, _, _, forms) = COUNTRIES[country];
    let ending = ["com", "io", "co.uk", "de", "fr", "nl"][if dice.chance(60) { 0 } else { dice.below(6) }];
    Firm {
        domain: unique(plain(&name), &format!(".{ending}"), taken),
        form: (*dice.pick(forms)).to_owned(),
        phone: number(dice),
        street: format!("{} {}", 1 + dice.below(300), dice.pick(&stock.streets)),
        place: dice.pick(&stock.places).clone(),
        name,
        country,
    }
}

fn person(dice: &mut Dice, stock: &Stock, firms: &[Firm], before: Option<&Person>, taken: &mut HashSet<String>) -> Person {
    let firm = dice.skewed(firms.len());
    let country = firms[firm].country;
    let first = dice.pick(&stock.firsts[country]).clone();
    let last = dice.pick(&stock.lasts[country]).clone();
    let mut made = Person {
        mail: String::new(),
        private: String::new(),
        phone: if dice.chance(15) { firms[firm].phone.clone() } else { number(dice) },
        title: dice.below(TITLES.len()),
        firm,
        house: 1 + dice.below(300),
        street: dice.pick(&stock.streets).clone(),
        place: dice.pick(&stock.places).clone(),
        birth: (1930 + dice.below(75), 1 + dice.below(12), 1 + dice.below(28)),
        identifier: 1_000_000 + dice.below(9_000_000),
        gender: if dice.chance(50) { "f" } else { "m" },
        first,
        last,
    };
    // Relatives: one household or one family firm.
    if let Some(before) = before.filter(|_| dice.chance(5)) {
        made.last.clone_from(&before.last);
        made.firm = before.firm;
        made.phone.clone_from(&before.phone);
        (made.house, made.street, made.place) = (before.house, before.street.clone(), before.place.clone());
    }
    let (first, last) = (plain(&made.first), plain(&made.last));
    let user = match dice.below(6) {
        0 => last.clone(),
        1 => format!("{}{last}", &first[..1.min(first.len())]),
        2 => format!("{}.{last}", &first[..1.min(first.len())]),
        _ => format!("{first}.{last}"),
    };
    made.mail = unique(user, &format!("@{}", firms[made.firm].domain), taken);
    made.private = unique(format!("{first}{}{last}", dice.pick(&["", ".", "_"])), &format!("@{}", dice.pick(&FREE)), taken);
    made
}

fn written(dice: &mut Dice, number: &str, country: usize) -> String {
    let (_, _, code, _) = COUNTRIES[country];
    let (area, rest) = number.split_at(3);
    match dice.below(7) {
        0 => format!("+{code}{number}"),
        1 => format!("+{code} {area} {rest}"),
        2 if country > 0 => format!("+{code} (0){area} {rest}"),
        3 if country > 0 => format!("0{area}/{rest}"),
        4 => format!("{area}-{}-{}", &rest[..3], &rest[3..]),
        5 => format!("{area}.{}.{}", &rest[..3], &rest[3..]),
        _ => number.to_owned(),
    }
}

fn kept(dice: &mut Dice, percent: usize, text: String) -> String {
    if dice.chance(percent) { text } else { String::new() }
}

fn cased(dice: &mut Dice, text: String) -> String {
    match dice.below(25) {
        0 => text.to_uppercase(),
        1 => text.to_lowercase(),
        2 => format!("{text} "),
        _ => text,
    }
}

fn names(dice: &mut Dice, dirt: Dirt, stock: &Stock, person: &Person) -> (String, String) {
    let (mut first, mut last) = (person.first.clone(), person.last.clone());
    if dice.chance(8)
        && let Some(known) = stock.nicknames.get(&first.to_lowercase())
    {
        let short = dice.pick(known);
        first = short.chars().take(1).flat_map(char::to_uppercase).chain(short.chars().skip(1)).collect();
    } else if dice.chance(5) {
        first = format!("{}.", first.chars().next().unwrap_or('A'));
    }
    if dice.chance(10) {
        first = spoil(dice, dirt, &first);
    }
    if dice.chance(10) {
        last = spoil(dice, dirt, &last);
    }
    if dice.chance(2) {
        last = format!("{last}-{}", dice.pick(&stock.lasts[0]));
    }
    if dice.chance(15) {
        last = last.replace('ü', "ue").replace('ö', "oe").replace('ä', "ae").replace(['é', 'è'], "e");
    }
    if dice.chance(3) {
        (first, last) = (last, first);
    } else if dice.chance(2) {
        (first, last) = (String::new(), format!("{first} {last}"));
    } else if dice.chance(2) {
        first = format!("Dr. {first}");
    }
    (cased(dice, first), cased(dice, last))
}

fn people_cells(dice: &mut Dice, dirt: Dirt, stock: &Stock, person: &Person, firm: &Firm) -> Vec<String> {
    let (first, last) = names(dice, dirt, stock, person);
    let mut mail = if dice.chance(20) { person.private.clone() } else { person.mail.clone() };
    match dice.below(40) {
        0 => mail = mail.replace('@', "+crm@"),
        1 => mail = mail.to_uppercase(),
        2 => mail = format!("info@{}", firm.domain),
        3 | 4 => mail = spoil(dice, dirt, &mail),
        _ => {}
    }
    let phone = if dice.chance(80) { &person.phone } else { &firm.phone };
    let (first, mail) = (kept(dice, 97, first), kept(dice, 95, mail));
    let phone = written(dice, phone, firm.country);
    let phone = kept(dice, 53, phone);
    let company = company_name(dice, dirt, firm);
    let (title, other) = TITLES[person.title];
    let title = if dice.chance(20) { other } else { title }.to_owned();
    let city = if dice.chance(8) { spoil(dice, dirt, &firm.place.0) } else { firm.place.0.clone() };
    let there = dice.chance(38);
    let (code, long, ..) = COUNTRIES[firm.country];
    let country = if dice.chance(35) { long } else { code }.to_owned();
    vec![
        first,
        last,
        mail,
        phone,
        kept(dice, 83, company),
        kept(dice, 63, title),
        kept(dice, 24, format!("https://www.{}", firm.domain)),
        if there { kept(dice, 75, firm.street.clone()) } else { String::new() },
        if there { city } else { String::new() },
        if there { firm.place.1.clone() } else { String::new() },
        kept(dice, 76, country),
    ]
}

fn company_name(dice: &mut Dice, dirt: Dirt, firm: &Firm) -> String {
    let mut name = firm.name.clone();
    if dice.chance(8) {
        name = spoil(dice, dirt, &name);
    }
    name = match dice.below(20) {
        0 => format!("The {name}"),
        1 => name.replace('&', "and"),
        2 => name.replace('&', "+"),
        3 => name.replace("Engineering", "Eng").replace("Systems", "Sys").replace("Construction", "Constr"),
        _ => name,
    };
    if dice.chance(60) {
        name = format!("{name} {}", firm.form);
    }
    cased(dice, name)
}

fn company_cells(dice: &mut Dice, dirt: Dirt, firm: &Firm) -> Vec<String> {
    let name = company_name(dice, dirt, firm);
    let street = if dice.chance(10) { spoil(dice, dirt, &firm.street) } else { firm.street.clone() };
    let city = if dice.chance(8) { spoil(dice, dirt, &firm.place.0) } else { firm.place.0.clone() };
    let phone = written(dice, &firm.phone, firm.country);
    let (code, long, ..) = COUNTRIES[firm.country];
    let country = if dice.chance(35) { long } else { code }.to_owned();
    vec![
        name,
        kept(dice, 55, format!("http://{}/home", firm.domain)),
        kept(dice, 55, phone),
        kept(dice, 60, street),
        kept(dice, 70, city),
        kept(dice, 70, firm.place.1.clone()),
        kept(dice, 76, country),
    ]
}

fn private_cells(dice: &mut Dice, dirt: Dirt, stock: &Stock, person: &Person) -> Vec<String> {
    let (first, last) = names(dice, dirt, stock, person);
    let spoiled = |dice: &mut Dice, text: String| if dice.chance(10) { spoil(dice, dirt, &text) } else { text };
    let (year, month, day) = person.birth;
    let birth = if dice.chance(4) { format!("{year}-{day:02}-{month:02}") } else { format!("{year}-{month:02}-{day:02}") };
    let values = [person.house.to_string(), person.street.clone(), person.place.0.clone(), person.place.1.clone(), birth];
    let [house, street, city, postal, birth] = values.map(|text| spoiled(dice, text));
    let identifier = spoiled(dice, person.identifier.to_string());
    vec![
        kept(dice, 96, first),
        kept(dice, 98, last),
        kept(dice, 92, house),
        kept(dice, 92, street),
        kept(dice, 95, city),
        kept(dice, 92, postal),
        kept(dice, 88, birth),
        kept(dice, 70, identifier),
        kept(dice, 90, person.gender.to_owned()),
    ]
}

fn spoil(dice: &mut Dice, dirt: Dirt, text: &str) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    if letters.len() < 3 {
        return text.to_owned();
    }
    let at = 1 + dice.below(letters.len() - 2);
    let swap = |from: &[(&str, &str)], dice: &mut Dice| {
        let fit: Vec<&(&str, &str)> = from.iter().filter(|(old, _)| text.contains(old)).collect();
        (!fit.is_empty()).then(|| {
            let (old, new) = dice.pick(&fit);
            text.replacen(old, new, 1)
        })
    };
    match dirt {
        Dirt::Typing => match dice.below(4) {
            0 => letters.insert(at, (b'a' + dice.below(26) as u8) as char),
            1 => drop(letters.remove(at)),
            2 => letters[at] = (b'a' + dice.below(26) as u8) as char,
            _ => letters.swap(at, at + 1),
        },
        Dirt::Scanning => {
            let known =
                [("rn", "m"), ("m", "rn"), ("l", "1"), ("o", "0"), ("0", "O"), ("1", "l"), ("cl", "d"), ("h", "b"), ("5", "S"), ("e", "c")];
            match dice.below(4) {
                0 => letters.truncate(letters.len() - 1 - usize::from(letters.len() > 6)),
                1 if text.contains(' ') => letters.retain(|letter| *letter != ' '),
                _ => return swap(&known, dice).unwrap_or_else(|| text.to_owned()),
            }
        }
        Dirt::Hearing => {
            let known = [
                ("ph", "f"),
                ("f", "ph"),
                ("ck", "k"),
                ("k", "ck"),
                ("ie", "y"),
                ("y", "ie"),
                ("ei", "ai"),
                ("c", "k"),
                ("th", "t"),
                ("ll", "l"),
                ("l", "ll"),
                ("s", "ss"),
                ("v", "w"),
                ("ou", "u"),
                ("sch", "sh"),
                ("z", "s"),
                ("n", "nn"),
            ];
            return swap(&known, dice).unwrap_or_else(|| text.to_owned());
        }
    }
    letters.into_iter().collect()
}
