//! `Retry-After` in all its forms.

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use jiff::Timestamp;

/// No honest answer asks for more; a longer wait is cut, so that a wrong header does not stop a connection for years.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// How long the server asks to wait: RFC 9110, section 10.2.3.
///
/// Whole seconds, or a date that is compared with the answer's own `Date`, so that no two clocks are mixed. A date that has
/// passed is no wait; a fraction of a second is rounded up; more than [`LONGEST_RETRY_AFTER`] is cut to it. `None` for what is
/// missing, negative, no number and no date, or a date in an answer without `Date`: the caller's schedule decides then.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let value = text(RETRY_AFTER)?;
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER));
    }
    if let Ok(seconds) = value.parse::<f64>() {
        // Not in the standard; some proxies write it.
        let whole = seconds.is_finite() && seconds >= 0.0 && !value.starts_with('-');
        return whole.then(|| Duration::from_secs_f64(seconds.ceil().min(LONGEST_RETRY_AFTER.as_secs_f64())));
    }
    let wait = date(value)?.duration_since(date(text(DATE)?)?);
    Some(Duration::try_from(wait).unwrap_or(Duration::ZERO).min(LONGEST_RETRY_AFTER))
}

fn date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, "Wed, 21 Oct 2026 07:28:00 GMT".parse().unwrap());
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        retry_after(&headers)
    }

    #[test]
    fn every_form() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (value, wait) in [
            ("0", seconds(0)),
            (" 7 ", seconds(7)),
            ("007", seconds(7)),
            ("1.2", seconds(2)),
            ("Wed, 21 Oct 2026 07:28:30 GMT", seconds(30)),
            ("Wed, 21 Oct 2026 07:27:00 GMT", seconds(0)),
            ("Wed, 21 Oct 2099 07:27:00 GMT", Some(LONGEST_RETRY_AFTER)),
            ("99999999", Some(LONGEST_RETRY_AFTER)),
            ("99999999999999999999999999", Some(LONGEST_RETRY_AFTER)),
            ("-1", None),
            ("-0.5", None),
            ("", None),
            ("NaN", None),
            ("inf", None),
            ("soon", None),
            ("Wed, 99 Oct 2026 07:28:30 GMT", None),
        ] {
            assert_eq!(asked(value), wait, "{value:?}");
        }
    }

    #[test]
    fn a_date_without_the_servers_clock_says_nothing() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        headers.insert(RETRY_AFTER, "Wed, 21 Oct 2026 07:28:30 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers), None);
    }
}
