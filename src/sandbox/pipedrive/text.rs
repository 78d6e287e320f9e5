//! Dates, times and codes as Pipedrive writes them.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use serde_json::{Value, json};

/// v2: RFC 3339 in whole seconds.
pub(crate) fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Leads and webhooks: RFC 3339 with milliseconds.
pub(crate) fn stamp_millis(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// v1: UTC without a zone, from the form of v2.
pub(crate) fn old_stamp(stamp: &str) -> String {
    let seconds = stamp.get(..19).unwrap_or(stamp);
    seconds.replace('T', " ")
}

/// The instant of any stored time.
pub(crate) fn instant(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// The instant of a request parameter: whole seconds of RFC 3339, nothing else.
pub(crate) fn whole_seconds(text: &str) -> Option<Timestamp> {
    let (head, zone) = text.split_at_checked(19)?;
    let plain = head.as_bytes().get(10) == Some(&b'T') && (zone == "Z" || (zone.len() == 6 && zone.starts_with(['+', '-'])));
    plain.then(|| text.parse().ok()).flatten()
}

/// `YYYY-MM-DD HH:MM:SS` in UTC.
pub(crate) fn old_instant(text: &str) -> Option<Timestamp> {
    let plain = text.len() == 19 && text.as_bytes().get(10) == Some(&b' ');
    plain.then(|| format!("{}Z", text.replace(' ', "T")).parse().ok()).flatten()
}

pub(crate) fn is_day(text: &str) -> bool {
    text.len() == 10 && text.parse::<Date>().is_ok()
}

/// `HH:MM` or `HH:MM:SS`.
pub(crate) fn is_clock(text: &str) -> bool {
    let shape = (text.len() == 5 || text.len() == 8) && text.bytes().enumerate().all(|(at, byte)| (at % 3 == 2) == (byte == b':'));
    shape && text.parse::<Time>().is_ok()
}

/// A length of time; hours may pass 23.
pub(crate) fn is_length(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let numbers = parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    numbers && (parts.len() == 2 || parts.len() == 3)
}

/// A time with its seconds.
pub(crate) fn seconds(value: &Value) -> Value {
    match value.as_str() {
        Some(text) if text.len() == 5 => json!(format!("{text}:00")),
        _ => value.clone(),
    }
}

/// The currencies the company has.
pub(crate) const CURRENCIES: &[(&str, &str, &str, u8)] = &[
    ("EUR", "Euro", "€", 2),
    ("USD", "US Dollar", "$", 2),
    ("GBP", "British Pound Sterling", "£", 2),
    ("CHF", "Swiss Franc", "CHF", 2),
    ("JPY", "Japanese Yen", "¥", 0),
    ("CAD", "Canadian Dollar", "CA$", 2),
    ("AUD", "Australian Dollar", "A$", 2),
    ("SEK", "Swedish Krona", "kr", 2),
    ("NOK", "Norwegian Krone", "kr", 2),
    ("DKK", "Danish Krone", "kr", 2),
    ("PLN", "Polish Zloty", "zł", 2),
    ("CZK", "Czech Republic Koruna", "Kč", 2),
    ("BRL", "Brazilian Real", "R$", 2),
    ("INR", "Indian Rupee", "₹", 2),
    ("CNY", "Chinese Yuan", "CN¥", 2),
];

pub(crate) fn is_currency(text: &str) -> bool {
    CURRENCIES.iter().any(|(code, ..)| *code == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_times_are_whole_seconds() {
        assert!(whole_seconds("2026-01-02T03:04:05Z").is_some());
        assert!(whole_seconds("2026-01-02T03:04:05+01:00").is_some());
        for wrong in ["2026-01-02T03:04:05.000Z", "2026-01-02 03:04:05", "2026-01-02", "2026-01-02T03:04:05", "nonsense", ""] {
            assert!(whole_seconds(wrong).is_none(), "{wrong}");
        }
        assert_eq!(old_stamp("2026-01-02T03:04:05.123Z"), "2026-01-02 03:04:05");
        assert!(old_instant("2026-01-02 03:04:05").is_some() && old_instant("2026-01-02T03:04:05").is_none());
    }

    #[test]
    fn times_of_the_day_have_two_forms() {
        assert!(is_clock("09:30") && is_clock("09:30:15"));
        assert!(!is_clock("9:30") && !is_clock("25:00") && !is_clock("09-30"));
        assert!(is_length("36:00") && !is_length("1h"));
        assert_eq!(seconds(&json!("09:30")), "09:30:00");
    }
}
