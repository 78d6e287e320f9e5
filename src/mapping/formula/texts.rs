//! Functions on texts. Counted in Unicode scalars; case by Unicode, without a locale.

use std::borrow::Cow;
use std::fmt::Write;

use rust_decimal::RoundingStrategy;
use sha2::Digest;

use super::arguments::{Arguments, Fail};
use super::lists;
use super::val::Val;

fn owned<'a>(arguments: &mut Arguments<'a, '_>, text: String) -> Result<Val<'a>, Fail> {
    arguments.spend(text.len())?;
    Ok(Val::text(text))
}

pub(crate) fn concat<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let mut joined = String::new();
    for (index, value) in arguments.all().iter().enumerate() {
        match value.to_text() {
            Some(text) => joined.push_str(&text),
            None => return arguments.wrong(index, "a text", value),
        }
    }
    owned(arguments, joined)
}

/// The parts that are not blank, with the separator between them; null if all are.
pub(crate) fn join<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let separator = match arguments.take(0) {
        Val::Text(text) => text,
        Val::Null => Cow::Borrowed(""),
        other => return arguments.wrong(0, "a text", &other),
    };
    let mut parts = Vec::new();
    for value in arguments.all().into_iter().skip(1) {
        match value {
            Val::List(items) => parts.extend(items),
            other => parts.push(other),
        }
    }
    let mut joined: Option<String> = None;
    for value in parts.iter().filter(|part| !part.is_blank()) {
        let Some(text) = value.to_text() else { return arguments.wrong(1, "texts", value) };
        match &mut joined {
            None => joined = Some(text.into_owned()),
            Some(joined) => {
                joined.push_str(&separator);
                joined.push_str(&text);
            }
        }
    }
    joined.map_or(Ok(Val::Null), |joined| owned(arguments, joined))
}

fn change<'a>(arguments: &mut Arguments<'a, '_>, change: impl FnOnce(&str) -> String) -> Result<Val<'a>, Fail> {
    let text = arguments.text(0)?;
    owned(arguments, change(&text))
}

pub(crate) fn lower<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    change(arguments, str::to_lowercase)
}

pub(crate) fn upper<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    change(arguments, str::to_uppercase)
}

/// The first letter of each word upper, the others lower; a word starts after anything that is no letter, digit or apostrophe.
pub(crate) fn proper<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    change(arguments, |text| {
        let mut made = String::with_capacity(text.len());
        let mut inside = false;
        for c in text.chars() {
            if inside {
                made.extend(c.to_lowercase());
            } else {
                made.extend(c.to_uppercase());
            }
            inside = c.is_alphanumeric() || matches!(c, '\'' | '’');
        }
        made
    })
}

pub(crate) fn trim<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    change(arguments, |text| text.trim().to_owned())
}

/// Without control and zero-width characters.
pub(crate) fn clean<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    change(arguments, |text| {
        text.chars().filter(|c| !c.is_control() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')).collect()
    })
}

pub(crate) fn reverse<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    change(arguments, |text| text.chars().rev().collect())
}

pub(crate) fn deaccent<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    change(arguments, deunicode::deunicode)
}

/// Lower-case ASCII letters and digits, with one `-` for whatever lies between.
pub(crate) fn slug<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    change(arguments, |text| {
        let plain = deunicode::deunicode(text).to_ascii_lowercase();
        plain.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
    })
}

pub(crate) fn len<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    Ok(Val::integer(arguments.text(0)?.chars().count()))
}

pub(crate) fn left<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let count = arguments.count(1)?;
    change(arguments, |text| text.chars().take(count).collect())
}

pub(crate) fn right<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let count = arguments.count(1)?;
    change(arguments, |text| text.chars().skip(text.chars().count().saturating_sub(count)).collect())
}

pub(crate) fn mid<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let (start, count) = (arguments.count(1)?, arguments.count(2)?);
    if start == 0 {
        return Err(Fail::domain("MID counts from 1"));
    }
    change(arguments, |text| text.chars().skip(start - 1).take(count).collect())
}

/// The position from 1 of the first argument in the second; 0 if it is not there.
pub(crate) fn find<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let start = if arguments.len() > 2 { arguments.count(2)? } else { 1 };
    let (needle, text) = (arguments.text(0)?, arguments.text(1)?);
    let offset = text.char_indices().nth(start.saturating_sub(1)).map_or(text.len(), |(at, _)| at);
    let hit = text.get(offset..).and_then(|rest| rest.find(needle.as_ref())).map(|at| at + offset);
    Ok(Val::integer(hit.and_then(|at| text.get(..at)).map_or(0, |before| before.chars().count() + 1)))
}

pub(crate) fn contains<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let (text, part) = (arguments.text(0)?, arguments.text(1)?);
    Ok(Val::Bool(text.contains(part.as_ref())))
}

pub(crate) fn begins<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let (text, part) = (arguments.text(0)?, arguments.text(1)?);
    Ok(Val::Bool(text.starts_with(part.as_ref())))
}

pub(crate) fn ends<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let (text, part) = (arguments.text(0)?, arguments.text(1)?);
    Ok(Val::Bool(text.ends_with(part.as_ref())))
}

pub(crate) fn substitute<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let which = if arguments.len() > 3 { Some(arguments.count(3)?) } else { None };
    let (text, old, new) = (arguments.text(0)?, arguments.text(1)?, arguments.text(2)?);
    if old.is_empty() {
        return Ok(Val::Text(text));
    }
    let hits = text.matches(old.as_ref()).count();
    arguments.spend((text.len() + hits.saturating_mul(new.len())).saturating_sub(hits * old.len()))?;
    let Some(which) = which else { return Ok(Val::text(text.replace(old.as_ref(), &new))) };
    let place = which.checked_sub(1).and_then(|index| text.match_indices(old.as_ref()).nth(index)).map(|(at, _)| at);
    let Some(at) = place else { return Ok(Val::Text(text)) };
    let (before, after) = (text.get(..at).unwrap_or_default(), text.get(at + old.len()..).unwrap_or_default());
    Ok(Val::text(format!("{before}{new}{after}")))
}

pub(crate) fn split<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let which = if arguments.len() > 2 { Some(arguments.whole(2)?) } else { None };
    let (text, separator) = (arguments.text(0)?, arguments.text(1)?);
    arguments.spend(text.len())?;
    let parts: Vec<Val<'a>> =
        if separator.is_empty() { vec![Val::Text(text)] } else { text.split(separator.as_ref()).map(Val::text).collect() };
    Ok(match which {
        None => Val::List(parts),
        Some(which) => lists::pick(parts, which),
    })
}

pub(crate) fn first_word<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let text = arguments.text(0)?;
    Ok(text.split_whitespace().next().map_or(Val::Null, Val::text))
}

pub(crate) fn last_word<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let text = arguments.text(0)?;
    Ok(text.split_whitespace().next_back().map_or(Val::Null, Val::text))
}

/// What follows the first word; null if nothing does.
pub(crate) fn rest<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let text = arguments.text(0)?;
    let after = text.trim().split_once(char::is_whitespace).map(|(_, after)| after.trim());
    Ok(after.filter(|after| !after.is_empty()).map_or(Val::Null, Val::text))
}

pub(crate) fn pad_left<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let width = arguments.count(1)?;
    let fill = if arguments.len() > 2 { arguments.text(2)?.into_owned() } else { " ".to_owned() };
    let mut fill = fill.chars();
    let (Some(fill), None) = (fill.next(), fill.next()) else { return Err(Fail::domain("PAD_LEFT fills with one character")) };
    let value = arguments.take(0);
    let Some(text) = value.to_text() else { return arguments.wrong(0, "a text", &value) };
    let missing = width.saturating_sub(text.chars().count());
    arguments.spend(text.len().saturating_add(missing.saturating_mul(fill.len_utf8())))?;
    let mut made: String = std::iter::repeat_n(fill, missing).collect();
    made.push_str(&text);
    Ok(Val::text(made))
}

pub(crate) fn repeat<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let count = arguments.count(1)?;
    if count > 1_000 {
        return Err(Fail::domain("REPEAT repeats up to 1,000 times"));
    }
    let text = arguments.text(0)?;
    arguments.spend(text.len().saturating_mul(count))?;
    Ok(Val::text(text.repeat(count)))
}

pub(crate) fn to_text<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let format = if arguments.len() > 1 { Some(arguments.text(1)?) } else { None };
    let value = arguments.take(0);
    match (format, &value) {
        (None, _) => match value.to_text() {
            Some(text) => {
                let text = text.into_owned();
                owned(arguments, text)
            }
            None => arguments.wrong(0, "a single value", &value),
        },
        (Some(format), Val::Number(number)) => {
            let text = format_number(*number, &format).ok_or_else(|| Fail::domain("a number format is '0', '0.00' or '#,##0.00'"))?;
            owned(arguments, text)
        }
        (Some(format), Val::Date(_) | Val::Instant(_)) => {
            let civil = match value {
                Val::Date(date) => date.at(0, 0, 0, 0),
                Val::Instant(at) => jiff::tz::Offset::UTC.to_datetime(at),
                _ => return Ok(Val::Null),
            };
            let mut text = String::new();
            let written = jiff::fmt::strtime::BrokenDownTime::from(civil).format(format.as_ref(), &mut text);
            written.map_err(|_| Fail::domain("the format is not one of strftime's"))?;
            owned(arguments, text)
        }
        (Some(_), other) => arguments.wrong(0, "a number or a date where a format is given", other),
    }
}

fn format_number(number: rust_decimal::Decimal, format: &str) -> Option<String> {
    let (grouped, rest) = match format.strip_prefix("#,##0") {
        Some(rest) => (true, rest),
        None => (false, format.strip_prefix('0')?),
    };
    let places = match rest.strip_prefix('.') {
        Some(zeros) if !zeros.is_empty() && zeros.len() <= 20 && zeros.bytes().all(|byte| byte == b'0') => zeros.len(),
        None if rest.is_empty() => 0,
        _ => return None,
    };
    let mut number = number.round_dp_with_strategy(u32::try_from(places).ok()?, RoundingStrategy::MidpointAwayFromZero);
    let negative = number.is_sign_negative() && !number.is_zero();
    number.set_sign_positive(true);
    let text = format!("{number:.places$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(whole, fraction)| (whole, Some(fraction)));
    let mut made = String::from(if negative { "-" } else { "" });
    for (at, digit) in whole.chars().enumerate() {
        if grouped && at > 0 && (whole.len() - at) % 3 == 0 {
            made.push(',');
        }
        made.push(digit);
    }
    if let Some(fraction) = fraction {
        made.push('.');
        made.push_str(fraction);
    }
    Some(made)
}

/// The texts people write for yes and no.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "1" | "on" => Some(true),
        "false" | "no" | "n" | "0" | "off" => Some(false),
        _ => None,
    }
}

pub(crate) fn to_boolean<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let value = arguments.take(0);
    if value.is_blank() {
        return Ok(Val::Null);
    }
    if let Val::Bool(_) = value {
        return Ok(value);
    }
    value
        .to_text()
        .and_then(|text| boolean(&text))
        .map(Val::Bool)
        .ok_or_else(|| Fail::domain("the value is none of true/false, yes/no, y/n, 1/0, on/off"))
}

fn at_sign(text: &str) -> Option<(&str, &str)> {
    text.trim().rsplit_once('@').filter(|(local, domain)| !local.is_empty() && !domain.is_empty())
}

pub(crate) fn email_domain<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let text = arguments.text(0)?;
    Ok(at_sign(&text).map_or(Val::Null, |(_, domain)| Val::text(domain.to_lowercase())))
}

pub(crate) fn email_local<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let text = arguments.text(0)?;
    Ok(at_sign(&text).map_or(Val::Null, |(local, _)| Val::text(local)))
}

/// The host of a web address, without `www.`; null if it has none.
pub(crate) fn domain<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let text = arguments.text(0)?;
    let text = text.trim();
    let address = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let host = url::Url::parse(&address).ok().and_then(|url| url.host_str().map(str::to_lowercase));
    Ok(host.filter(|host| host.contains('.')).map_or(Val::Null, |host| Val::text(host.strip_prefix("www.").unwrap_or(&host))))
}

/// SHA-256 in lower-case hexadecimal.
pub(crate) fn hash<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    if arguments.len() > 1 && !arguments.text(1)?.eq_ignore_ascii_case("sha256") {
        return Err(Fail::domain("HASH knows 'sha256'"));
    }
    let value = arguments.take(0);
    let Some(text) = value.to_text() else { return arguments.wrong(0, "a text", &value) };
    let mut made = String::with_capacity(64);
    for byte in sha2::Sha256::digest(text.as_bytes()) {
        // Writing to a String does not fail.
        let _ = write!(made, "{byte:02x}");
    }
    owned(arguments, made)
}

pub(crate) fn json<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let text = arguments.take(0).into_value().to_string();
    owned(arguments, text)
}

pub(crate) fn parse_json<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let text = arguments.text(0)?;
    arguments.spend(text.len())?;
    serde_json::from_str(&text).map(Val::from_owned).map_err(|_| Fail::domain("the text is not JSON"))
}

/// A phone number as `+` and digits; the digits alone if its country is not known. Null if it is none.
pub(crate) fn normalize_phone<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let region = if arguments.len() > 1 { Some(arguments.text(1)?.to_ascii_uppercase()) } else { None };
    if region.as_ref().is_some_and(|region| region.len() != 2) {
        return Err(Fail::domain("the region is a country's code of two letters such as 'DE'"));
    }
    let text = arguments.text(0)?;
    let Some(found) = crate::model::phone::phone(&text, region.as_deref()) else { return Ok(Val::Null) };
    let made = match (found.e164, found.country) {
        (Some(whole), _) => whole,
        (None, Some(country)) => format!("+{country}{}", found.national),
        (None, None) => found.national,
    };
    owned(arguments, made)
}

/// The UUID that a name has in a namespace: 'dns', 'url', 'oid', 'x500', or a UUID of one's own (RFC 9562, version 5).
pub(crate) fn uuid5<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let namespace = arguments.text(0)?;
    let namespace = match namespace.trim().to_ascii_lowercase().as_str() {
        "dns" => uuid::Uuid::NAMESPACE_DNS,
        "url" => uuid::Uuid::NAMESPACE_URL,
        "oid" => uuid::Uuid::NAMESPACE_OID,
        "x500" => uuid::Uuid::NAMESPACE_X500,
        own => own.parse().map_err(|_| Fail::domain("the namespace of UUID5 is 'dns', 'url', 'oid', 'x500' or a UUID"))?,
    };
    let value = arguments.take(1);
    let Some(text) = value.to_text() else { return arguments.wrong(1, "a text", &value) };
    let made = uuid::Uuid::new_v5(&namespace, text.as_bytes()).to_string();
    owned(arguments, made)
}
