//! Company names: legal form apart, abbreviations and `&` in one spelling.

use std::collections::HashSet;
use std::sync::OnceLock;

use super::text::fold;

/// Legal forms of companies, from the package cleanco 2.3 (MIT).
const FORMS: &str = include_str!("legal_forms.csv");

const MORE_FORMS: &[&str] = &[
    "ug",
    "mbh",
    "ohg",
    "ek",
    "eg",
    "ev",
    "se",
    "sas",
    "sasu",
    "sarl",
    "eurl",
    "snc",
    "sci",
    "bv",
    "nv",
    "vof",
    "cv",
    "ab",
    "hb",
    "kb",
    "aps",
    "oy",
    "oyj",
    "spa",
    "srl",
    "sl",
    "slu",
    "sll",
    "lda",
    "ltda",
    "eireli",
    "sp z oo",
    "spk",
    "spj",
    "sro",
    "kft",
    "zrt",
    "nyrt",
    "bt",
    "doo",
    "dd",
    "eood",
    "ooo",
    "ao",
    "pao",
    "jsc",
    "kk",
    "gk",
    "yk",
    "pte ltd",
    "sdn bhd",
    "bhd",
    "pty ltd",
    "pty",
    "pvt ltd",
    "pvt",
    "llc",
    "llp",
    "lp",
    "plc",
    "inc",
    "ltd",
    "limited",
    "corp",
    "co",
    "company",
    "gmbh",
    "ag",
    "kg",
    "gesellschaft mbh",
    "gmbh and co kg",
    "gmbh co kg",
    "ag and co kg",
    "gmbh and cokg",
    "incorporated",
    "corporation",
    "handelsbolag",
    "aktiebolag",
];

/// Words that make a sister company of the same brand.
const SISTERS: &[&str] = &[
    "holding",
    "holdings",
    "group",
    "groupe",
    "gruppe",
    "groep",
    "services",
    "service",
    "international",
    "global",
    "europe",
    "usa",
    "uk",
    "germany",
    "france",
    "deutschland",
    "ventures",
    "capital",
    "properties",
    "logistics",
    "foundation",
    "partners",
    "academy",
    "retail",
    "digital",
    "north",
    "south",
    "east",
    "west",
];

/// A company name after normalising. Debug does not show it.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Company {
    /// Words without legal form and leading article, abbreviations written out.
    pub name: String,
    /// The words of `name` without those that only tell sisters apart (`holding`, `group`, ...).
    pub stem: String,
    /// The legal form as written, folded; empty when none was given.
    pub form: String,
    /// First letters of the words.
    pub acronym: String,
}

impl std::fmt::Debug for Company {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Company").field("form", &self.form).finish_non_exhaustive()
    }
}

/// Normalises a company's name; `None` when nothing is left.
///
/// | written | name | form |
/// |---|---|---|
/// | `The Acme Corp.` | `acme` | `corp` |
/// | `ACME, Inc` | `acme` | `inc` |
/// | `Müller & Söhne GmbH & Co. KG` | `muller and sohne` | `gmbh and co kg` |
/// | `Lebrun et Pascal S.A.R.L.` | `lebrun and pascal` | `sarl` |
/// | `Intl Mfg Sp. z o.o.` | `international manufacturing` | `sp z oo` |
/// | `株式会社トヨタ` | `トヨタ` | `株式会社` |
/// | `AG`, `The Limited` | `ag`, `limited` | none: never the last word |
pub fn company(text: &str) -> Option<Company> {
    let mut plain: String = text.chars().filter(|c| *c != '.').collect();
    let mut form = String::new();
    for mark in ["株式会社", "有限会社", "合同会社", "有限公司", "(株)"] {
        if plain.contains(mark) && plain.trim() != mark {
            plain = plain.replace(mark, " ");
            form.push_str(mark);
        }
    }
    let folded = fold(&plain.replace(['&', '+'], " and "));
    let mut words: Vec<&str> = folded.split(' ').filter(|word| !word.is_empty()).collect();
    if words.len() > 1 && words.first() == Some(&"the") {
        words.remove(0);
    }
    let forms = forms();
    let mut cut = words.len();
    loop {
        // Most names end in a word that ends no form.
        if !cut.checked_sub(1).and_then(|last| words.get(last)).is_some_and(|last| forms.ends.contains(*last) || *last == "and") {
            break;
        }
        let longest = (1..=5.min(cut.saturating_sub(1)))
            .rev()
            .find(|count| words.get(cut - count..cut).is_some_and(|end| forms.whole.contains(end.join(" ").as_str())));
        match longest {
            Some(count) => cut -= count,
            None if cut > 1 && cut < words.len() && words.get(cut - 1) == Some(&"and") => cut -= 1,
            None => break,
        }
    }
    let (name, end) = words.split_at(cut);
    if form.is_empty() {
        form = end.join(" ");
    }
    let name: Vec<&str> = name.iter().map(|word| expand(word)).collect();
    if name.is_empty() {
        return None;
    }
    let stem: Vec<&str> = name.iter().copied().filter(|word| !SISTERS.contains(word)).collect();
    let acronym = name.iter().filter(|word| **word != "and").filter_map(|word| word.chars().next()).collect();
    Some(Company { stem: if stem.is_empty() { name.join(" ") } else { stem.join(" ") }, name: name.join(" "), form, acronym })
}

/// Legal forms as folded words, and the last word of each.
struct Forms {
    whole: HashSet<String>,
    ends: HashSet<String>,
}

fn forms() -> &'static Forms {
    static TABLE: OnceLock<Forms> = OnceLock::new();
    TABLE.get_or_init(|| {
        let listed =
            FORMS.lines().filter(|line| !line.starts_with('#')).skip(1).filter_map(|line| line.splitn(3, ',').nth(2)).map(|term| {
                let plain: String = term.chars().filter(|c| *c != '.').collect();
                fold(&plain.replace('&', " and "))
            });
        let whole: HashSet<String> =
            listed.chain(MORE_FORMS.iter().map(|form| (*form).to_owned())).filter(|form| !form.is_empty()).collect();
        let ends = whole.iter().filter_map(|form| form.rsplit(' ').next()).map(str::to_owned).collect();
        Forms { whole, ends }
    })
}

fn expand(word: &str) -> &str {
    match word {
        "und" | "et" | "e" | "y" | "en" | "och" | "og" | "i" | "n" => "and",
        "intl" | "internat" | "int" => "international",
        "tech" | "technol" => "technologies",
        "technology" => "technologies",
        "mfg" => "manufacturing",
        "svcs" | "svc" | "serv" => "services",
        "bros" => "brothers",
        "assoc" | "assocs" => "associates",
        "univ" => "university",
        "natl" => "national",
        "mgmt" => "management",
        "eng" | "engr" => "engineering",
        "constr" => "construction",
        "grp" => "group",
        "hldgs" | "hldg" => "holdings",
        "sys" => "systems",
        "solns" | "sol" => "solutions",
        "dist" => "distribution",
        "ins" => "insurance",
        "cons" => "consulting",
        "mktg" => "marketing",
        "fin" => "finance",
        "pharm" => "pharma",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn company_table() {
        for (written, name, form) in [
            ("The Acme Corp.", "acme", "corp"),
            ("ACME, Inc", "acme", "inc"),
            ("Müller & Söhne GmbH & Co. KG", "muller and sohne", "gmbh and co kg"),
            ("Müller und Söhne", "muller and sohne", ""),
            ("Lebrun et Pascal S.A.R.L.", "lebrun and pascal", "sarl"),
            ("Intl Mfg Sp. z o.o.", "international manufacturing", "sp z oo"),
            ("株式会社トヨタ", "トヨタ", "株式会社"),
            ("AG", "ag", ""),
            ("The Limited", "limited", ""),
            ("Blue Labs B.V.", "blue labs", "bv"),
        ] {
            let found = company(written).unwrap();
            assert_eq!((found.name.as_str(), found.form.as_str()), (name, form), "{written}");
        }
        assert!(company(" - ").is_none());
        assert_eq!(company("Acme Holding Ltd").unwrap().stem, "acme");
    }
}
