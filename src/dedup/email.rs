//! E-mail addresses and web domains: the canonical form that is compared, never the one that is written to.

use super::text::fold;
use super::text::{is_placeholder, squash};

/// An e-mail address after normalising. Debug does not show it.
#[derive(Clone, Eq, PartialEq)]
pub struct Email {
    /// `user@domain` as compared.
    pub canonical: String,
    /// The part before the `@`, without tag and ignored dots.
    pub user: String,
    /// The domain in lower case, as an A-label.
    pub domain: String,
    /// `info`, `sales`, ...: an inbox of a company, no evidence for a person.
    pub is_role: bool,
    /// A mail provider for everybody: says nothing about the employer.
    pub is_free: bool,
}

impl std::fmt::Debug for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Email").field("is_role", &self.is_role).field("is_free", &self.is_free).finish_non_exhaustive()
    }
}

const ROLES: &[&str] = &[
    "info",
    "sales",
    "office",
    "contact",
    "contacts",
    "admin",
    "support",
    "billing",
    "hello",
    "team",
    "hr",
    "jobs",
    "marketing",
    "press",
    "noreply",
    "donotreply",
    "postmaster",
    "webmaster",
    "abuse",
    "accounts",
    "accounting",
    "invoices",
    "invoice",
    "service",
    "services",
    "mail",
    "enquiries",
    "inquiries",
    "kontakt",
    "buchhaltung",
    "vertrieb",
    "compta",
    "commercial",
    "ventas",
    "administracion",
    "biuro",
    "sekretariat",
    "help",
    "helpdesk",
    "customerservice",
    "kundenservice",
    "verkauf",
    "einkauf",
    "bestellung",
    "orders",
    "order",
    "purchasing",
    "reception",
    "finance",
    "legal",
    "privacy",
    "security",
    "it",
    "careers",
    "career",
    "recruiting",
    "feedback",
    "newsletter",
    "post",
    "zentrale",
    "empfang",
    "contacto",
    "contato",
    "contatti",
    "accueil",
    "bonjour",
    "hallo",
    "hej",
    "ufficio",
    "klantenservice",
    "verkoop",
    "administratie",
];

const FREE: &[&str] = &[
    "gmail.com",
    "yahoo.com",
    "yahoo.co.uk",
    "yahoo.fr",
    "yahoo.de",
    "yahoo.it",
    "yahoo.es",
    "yahoo.co.in",
    "yahoo.com.br",
    "yahoo.co.jp",
    "ymail.com",
    "rocketmail.com",
    "icloud.com",
    "me.com",
    "mac.com",
    "outlook.com",
    "outlook.fr",
    "outlook.de",
    "outlook.es",
    "hotmail.com",
    "hotmail.co.uk",
    "hotmail.fr",
    "hotmail.de",
    "hotmail.it",
    "hotmail.es",
    "hotmail.nl",
    "hotmail.se",
    "live.com",
    "live.co.uk",
    "live.nl",
    "live.fr",
    "live.se",
    "live.de",
    "msn.com",
    "aol.com",
    "gmx.de",
    "gmx.net",
    "gmx.at",
    "gmx.ch",
    "gmx.com",
    "web.de",
    "t-online.de",
    "freenet.de",
    "arcor.de",
    "mail.de",
    "posteo.de",
    "mailbox.org",
    "orange.fr",
    "free.fr",
    "wanadoo.fr",
    "laposte.net",
    "sfr.fr",
    "neuf.fr",
    "btinternet.com",
    "sky.com",
    "virginmedia.com",
    "talktalk.net",
    "ntlworld.com",
    "blueyonder.co.uk",
    "telia.com",
    "comhem.se",
    "bredband.net",
    "spray.se",
    "ziggo.nl",
    "kpnmail.nl",
    "planet.nl",
    "xs4all.nl",
    "home.nl",
    "hetnet.nl",
    "upcmail.nl",
    "proton.me",
    "yandex.ru",
    "mail.ru",
    "bk.ru",
    "list.ru",
    "inbox.ru",
    "rambler.ru",
    "zoho.com",
    "fastmail.com",
    "fastmail.fm",
    "hey.com",
    "tutanota.com",
    "tuta.io",
    "comcast.net",
    "verizon.net",
    "att.net",
    "sbcglobal.net",
    "bellsouth.net",
    "cox.net",
    "charter.net",
    "earthlink.net",
    "rogers.com",
    "shaw.ca",
    "sympatico.ca",
    "bigpond.com",
    "optusnet.com.au",
    "libero.it",
    "virgilio.it",
    "tiscali.it",
    "alice.it",
    "tin.it",
    "telefonica.net",
    "terra.es",
    "uol.com.br",
    "bol.com.br",
    "terra.com.br",
    "qq.com",
    "163.com",
    "126.com",
    "sina.com",
    "naver.com",
    "daum.net",
    "wp.pl",
    "o2.pl",
    "onet.pl",
    "interia.pl",
    "op.pl",
    "seznam.cz",
    "centrum.cz",
    "email.cz",
    "azet.sk",
    "freemail.hu",
    "citromail.hu",
    "abv.bg",
    "bluewin.ch",
    "telenet.be",
    "skynet.be",
    "rediffmail.com",
    "mailinator.com",
    "guerrillamail.com",
    "10minutemail.com",
    "yopmail.com",
    "tempmail.com",
    "trashmail.com",
];

const HOSTS: &[&str] = &[
    "facebook.com",
    "linkedin.com",
    "twitter.com",
    "x.com",
    "instagram.com",
    "youtube.com",
    "wordpress.com",
    "blogspot.com",
    "wixsite.com",
    "weebly.com",
    "squarespace.com",
    "myshopify.com",
    "etsy.com",
    "amazon.com",
    "ebay.com",
    "github.io",
    "google.com",
    "medium.com",
    "tumblr.com",
    "xing.com",
    "jimdo.com",
    "netlify.app",
    "herokuapp.com",
    "vercel.app",
    "tiktok.com",
    "linktr.ee",
    "yelp.com",
    "pinterest.com",
];

/// Normalises an e-mail address; `None` when it is not one or is a placeholder.
///
/// | written | canonical |
/// |---|---|
/// | `Ann.Lee@Example.org` | `ann.lee@example.org` |
/// | `"Lee, Ann" <mailto:ann@firm.com>` | `ann@firm.com` |
/// | `a.n.n+news@googlemail.com` | `ann@gmail.com` |
/// | `ann+crm@firm.com` | `ann@firm.com` |
/// | `ann-shop@yahoo.com` | `ann@yahoo.com` |
/// | `a_n.n@pm.me` | `ann@proton.me` |
/// | `ann@ya.ru` | `ann@yandex.ru` |
/// | `test@example.com`, `none@none.com` | none |
///
/// Case is folded although RFC 5321 lets a server tell cases apart: in practice none does. Dots are ignored for Gmail only;
/// in Google Workspace domains they count.
pub fn email(text: &str) -> Option<Email> {
    let inside = text.rsplit_once('<').map_or(text, |(_, rest)| rest.split('>').next().unwrap_or(rest));
    let trimmed = inside.trim().trim_matches(|c: char| matches!(c, '"' | ',' | ';' | '.') || c.is_whitespace());
    let address =
        trimmed.get(..7).filter(|start| start.eq_ignore_ascii_case("mailto:")).map_or(trimmed, |_| trimmed.get(7..).unwrap_or(""));
    let (user, domain) = address.rsplit_once('@')?;
    let user: String = user.trim().to_lowercase();
    let domain = alias(&ascii_domain(domain.trim().trim_end_matches('.'))?).to_owned();
    if user.is_empty() || user.len() > 128 || user.contains(char::is_whitespace) || !domain.contains('.') {
        return None;
    }
    let untagged = user.split('+').next().filter(|base| !base.is_empty()).unwrap_or(&user);
    let base = if domain.starts_with("yahoo.") {
        untagged.split('-').next().filter(|base| !base.is_empty()).unwrap_or(untagged)
    } else {
        untagged
    };
    let user: String = match domain.as_str() {
        "gmail.com" => base.chars().filter(|c| *c != '.').collect(),
        "proton.me" => base.chars().filter(|c| !matches!(c, '.' | '-' | '_')).collect(),
        _ => base.to_owned(),
    };
    let invalid =
        matches!(domain.as_str(), "example.com" | "example.org" | "example.net" | "test.com" | "none.com" | "na.com" | "invalid.com");
    if user.is_empty()
        || (invalid && (is_placeholder(&user) || domain == "none.com"))
        || matches!(user.as_str(), "none" | "na" | "n/a" | "test" | "unknown")
    {
        return None;
    }
    let is_role = ROLES.contains(&squash(&fold(&user)).as_str());
    let is_free = FREE.contains(&domain.as_str());
    Some(Email { canonical: format!("{user}@{domain}"), user, domain, is_role, is_free })
}

fn alias(domain: &str) -> &str {
    match domain {
        "googlemail.com" => "gmail.com",
        "ya.ru" | "yandex.com" => "yandex.ru",
        "pm.me" | "protonmail.com" | "protonmail.ch" => "proton.me",
        other => other,
    }
}

fn ascii_domain(domain: &str) -> Option<String> {
    if domain.is_ascii() {
        let lower = domain.to_ascii_lowercase();
        return lower.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')).then_some(lower);
    }
    url::Host::parse(domain).ok().map(|host| host.to_string())
}

/// The registrable domain of a web address; `None` for social networks, site builders and what is no address.
///
/// | written | domain |
/// |---|---|
/// | `https://www.Acme.com/en?x=1` | `acme.com` |
/// | `shop.acme.co.uk:8080` | `acme.co.uk` |
/// | `http://müller.de` | `xn--mller-kva.de` |
/// | `facebook.com/acme`, `acme.wordpress.com` | none |
///
/// Second-level registries are recognised by their usual names (`co`, `com`, `org`, `net`, `ac`, `gov`, ...), without a list of public suffixes.
pub fn domain(text: &str) -> Option<String> {
    let lower = text.trim();
    let rest = lower.split_once("://").map_or(lower, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#', ':']).next().unwrap_or(rest);
    let host = host.rsplit('@').next().unwrap_or(host);
    let host = ascii_domain(host.trim_end_matches('.'))?;
    registrable(&host)
}

pub(super) fn registrable(host: &str) -> Option<String> {
    let labels: Vec<&str> = host.split('.').filter(|label| !label.is_empty()).collect();
    let [.., second, top] = labels.as_slice() else { return None };
    if top.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let registry = top.len() == 2
        && matches!(*second, "co" | "com" | "org" | "net" | "ac" | "gov" | "edu" | "gob" | "or" | "ne" | "go" | "ltd" | "plc" | "me");
    let keep = if registry && labels.len() > 2 { 3 } else { 2 };
    let found = labels.get(labels.len() - keep..)?.join(".");
    (!HOSTS.contains(&found.as_str()) && !FREE.contains(&found.as_str())).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_table() {
        for (written, canonical) in [
            ("Ann.Lee@Firm.org ", Some("ann.lee@firm.org")),
            ("\"Lee, Ann\" <mailto:ann@firm.com>", Some("ann@firm.com")),
            ("a.n.n+news@googlemail.com", Some("ann@gmail.com")),
            ("ann+crm@firm.com", Some("ann@firm.com")),
            ("ann-shop@yahoo.com", Some("ann@yahoo.com")),
            ("a_n.n@pm.me", Some("ann@proton.me")),
            ("ann@ya.ru", Some("ann@yandex.ru")),
            ("ann@müller.de", Some("ann@xn--mller-kva.de")),
            ("test@example.com", None),
            ("none@none.com", None),
            ("nobody", None),
            ("", None),
        ] {
            assert_eq!(email(written).map(|found| found.canonical).as_deref(), canonical, "{written}");
        }
        assert!(email("Info@firm.com").unwrap().is_role && email("no-reply@firm.com").unwrap().is_role);
        assert!(email("ann@gmail.com").unwrap().is_free);
        assert!(!format!("{:?}", email("ann@gmail.com")).contains("ann"));
    }

    #[test]
    fn domain_table() {
        for (written, found) in [
            ("https://www.Acme.com/en?x=1", Some("acme.com")),
            ("shop.acme.co.uk:8080", Some("acme.co.uk")),
            ("http://müller.de", Some("xn--mller-kva.de")),
            ("facebook.com/acme", None),
            ("acme.wordpress.com", None),
            ("co.uk", Some("co.uk")),
            ("10.0.0.1", None),
            ("n/a", None),
        ] {
            assert_eq!(domain(written).as_deref(), found, "{written}");
        }
    }
}
