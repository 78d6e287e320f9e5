//! Date literals as half-open ranges of days, in UTC; weeks begin on Sunday and the fiscal year in January.

use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{Span, Timestamp, ToSpan};

/// The day of an instant, in UTC.
pub(crate) fn day(at: Timestamp) -> Date {
    Offset::UTC.to_datetime(at).date()
}

const PLAIN: [&str; 23] = [
    "YESTERDAY",
    "TODAY",
    "TOMORROW",
    "LAST_WEEK",
    "THIS_WEEK",
    "NEXT_WEEK",
    "LAST_MONTH",
    "THIS_MONTH",
    "NEXT_MONTH",
    "LAST_90_DAYS",
    "NEXT_90_DAYS",
    "LAST_QUARTER",
    "THIS_QUARTER",
    "NEXT_QUARTER",
    "LAST_YEAR",
    "THIS_YEAR",
    "NEXT_YEAR",
    "LAST_FISCAL_QUARTER",
    "THIS_FISCAL_QUARTER",
    "NEXT_FISCAL_QUARTER",
    "LAST_FISCAL_YEAR",
    "THIS_FISCAL_YEAR",
    "NEXT_FISCAL_YEAR",
];

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Day,
    Month,
    Quarter,
    Week,
    Year,
}

#[derive(Clone, Copy)]
enum Reach {
    Ago,
    Last,
    Next,
}

fn numbered(name: &str) -> Option<(Reach, Unit)> {
    let (reach, unit) = if let Some(unit) = name.strip_prefix("LAST_N_") {
        (Reach::Last, unit)
    } else if let Some(unit) = name.strip_prefix("NEXT_N_") {
        (Reach::Next, unit)
    } else {
        (Reach::Ago, name.strip_prefix("N_")?.strip_suffix("_AGO")?)
    };
    let unit = match unit {
        "DAYS" => Unit::Day,
        "WEEKS" => Unit::Week,
        "MONTHS" => Unit::Month,
        "QUARTERS" | "FISCAL_QUARTERS" => Unit::Quarter,
        "YEARS" | "FISCAL_YEARS" => Unit::Year,
        _ => return None,
    };
    Some((reach, unit))
}

pub(crate) fn is_literal(name: &str) -> bool {
    PLAIN.contains(&name) || numbered(name).is_some()
}

pub(crate) fn takes_number(name: &str) -> bool {
    numbered(name).is_some()
}

fn start(today: Date, unit: Unit) -> Option<Date> {
    match unit {
        Unit::Day => Some(today),
        Unit::Week => today.checked_sub(i64::from(today.weekday().to_sunday_zero_offset()).days()).ok(),
        Unit::Month => Some(today.first_of_month()),
        Unit::Quarter => Date::new(today.year(), (today.month() - 1) / 3 * 3 + 1, 1).ok(),
        Unit::Year => Date::new(today.year(), 1, 1).ok(),
    }
}

fn span(unit: Unit, count: i64) -> Option<Span> {
    let span = Span::new();
    match unit {
        Unit::Day => span.try_days(count),
        Unit::Week => span.try_weeks(count),
        Unit::Month => span.try_months(count),
        Unit::Quarter => span.try_months(count.checked_mul(3)?),
        Unit::Year => span.try_years(count),
    }
    .ok()
}

/// The days a literal means: from the first, up to but not including the second. `None` if they leave the calendar.
pub(crate) fn range(name: &str, count: Option<i64>, today: Date) -> Option<(Date, Date)> {
    let shifted = |from: Date, unit: Unit, by: i64| from.checked_add(span(unit, by)?).ok();
    if let Some((reach, unit)) = numbered(name) {
        let count = count?;
        let base = start(today, unit)?;
        return match reach {
            // Days count up to and including today; the other units stop before the current one.
            Reach::Last if unit == Unit::Day => Some((shifted(base, unit, -count)?, shifted(base, unit, 1)?)),
            Reach::Last => Some((shifted(base, unit, -count)?, base)),
            Reach::Next => Some((shifted(base, unit, 1)?, shifted(base, unit, count.checked_add(1)?)?)),
            Reach::Ago => Some((shifted(base, unit, -count)?, shifted(base, unit, 1 - count)?)),
        };
    }
    let (offset, unit) = match name {
        "YESTERDAY" => (-1, Unit::Day),
        "TODAY" => (0, Unit::Day),
        "TOMORROW" => (1, Unit::Day),
        "LAST_90_DAYS" => return range("LAST_N_DAYS", Some(90), today),
        "NEXT_90_DAYS" => return range("NEXT_N_DAYS", Some(90), today),
        _ => {
            let (which, unit) = name.split_once('_')?;
            let offset = match which {
                "LAST" => -1,
                "THIS" => 0,
                _ => 1,
            };
            let unit = match unit {
                "WEEK" => Unit::Week,
                "MONTH" => Unit::Month,
                "QUARTER" | "FISCAL_QUARTER" => Unit::Quarter,
                _ => Unit::Year,
            };
            (offset, unit)
        }
    };
    let base = start(today, unit)?;
    Some((shifted(base, unit, offset)?, shifted(base, unit, offset + 1)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn literals_are_the_documented_days() {
        // A Tuesday.
        let today = date(2026, 11, 24);
        let of = |name: &str, count| range(name, count, today).unwrap();
        assert_eq!(of("TODAY", None), (today, date(2026, 11, 25)));
        assert_eq!(of("LAST_N_DAYS", Some(1)), (date(2026, 11, 23), date(2026, 11, 25)));
        assert_eq!(of("LAST_N_MONTHS", Some(2)), (date(2026, 9, 1), date(2026, 11, 1)));
        assert_eq!(of("THIS_WEEK", None), (date(2026, 11, 22), date(2026, 11, 29)));
        assert_eq!(of("LAST_QUARTER", None), (date(2026, 7, 1), date(2026, 10, 1)));
        assert_eq!(of("NEXT_N_DAYS", Some(2)), (date(2026, 11, 25), date(2026, 11, 27)));
        assert_eq!(of("N_DAYS_AGO", Some(3)), (date(2026, 11, 21), date(2026, 11, 22)));
        assert!(range("LAST_N_YEARS", Some(i64::MAX), today).is_none());
    }
}
