//! Functions on days and instants. Zones are `UTC` or an offset: rules of places need a database, which the pure engine has
//! not.

use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;
use jiff::{Span, Timestamp};
use rust_decimal::Decimal;

use super::arguments::{Arguments, Fail};
use super::val::{Val, parse_zone};

fn zone(arguments: &mut Arguments<'_, '_>, index: usize) -> Result<Option<Offset>, Fail> {
    if arguments.len() <= index {
        return Ok(None);
    }
    let text = arguments.text(index)?;
    match parse_zone(&text) {
        Some(offset) => Ok(Some(offset)),
        None => Err(Fail::domain("a zone is 'UTC' or an offset such as '+02:00'")),
    }
}

/// The day of an argument; a text in the form `2026-01-31` is one.
fn day_of(arguments: &mut Arguments<'_, '_>, index: usize) -> Result<Date, Fail> {
    match arguments.take(index) {
        Val::Date(date) => Ok(date),
        Val::Instant(at) => Ok(Offset::UTC.to_datetime(at).date()),
        Val::Text(text) => parse_day(&text).ok_or_else(|| Fail::domain("the text is not a day in the form 2026-01-31")),
        other => arguments.wrong(index, "a date", &other),
    }
}

fn parse_day(text: &str) -> Option<Date> {
    let text = text.trim();
    (text.len() == 10).then(|| text.parse().ok()).flatten()
}

fn instant_of(arguments: &mut Arguments<'_, '_>, index: usize) -> Result<Timestamp, Fail> {
    match arguments.take(index) {
        Val::Instant(at) => Ok(at),
        Val::Date(date) => Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).map_err(|_| out_of_range()),
        Val::Text(text) => parse_instant(&text, None).ok_or_else(|| Fail::domain("the text is not a datetime with a zone")),
        other => arguments.wrong(index, "a datetime", &other),
    }
}

/// With a zone in the text, or a civil time in `zone`.
fn parse_instant(text: &str, zone: Option<Offset>) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    if let Ok(at) = Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text) {
        return Some(at);
    }
    let civil: DateTime = text.parse().ok()?;
    zone?.to_timestamp(civil).ok()
}

fn out_of_range() -> Fail {
    Fail::domain("the date is out of range")
}

pub(crate) fn date<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let (year, month, day) = (arguments.whole(0)?, arguments.whole(1)?, arguments.whole(2)?);
    let made = i16::try_from(year).ok().zip(i8::try_from(month).ok()).zip(i8::try_from(day).ok());
    made.and_then(|((year, month), day)| Date::new(year, month, day).ok())
        .map(Val::Date)
        .ok_or_else(|| Fail::domain("there is no such day"))
}

pub(crate) fn datevalue<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let zone = zone(arguments, 1)?.unwrap_or(Offset::UTC);
    let at = match arguments.take(0) {
        Val::Date(date) => return Ok(Val::Date(date)),
        Val::Instant(at) => at,
        Val::Text(text) => {
            if text.trim().is_empty() {
                return Ok(Val::Null);
            }
            if let Some(date) = parse_day(&text) {
                return Ok(Val::Date(date));
            }
            // A civil time has a day of its own; no zone moves it.
            if let Ok(civil) = text.trim().parse::<DateTime>()
                && text.trim().parse::<Timestamp>().is_err()
            {
                return Ok(Val::Date(civil.date()));
            }
            parse_instant(&text, None).ok_or_else(|| Fail::domain("the text is neither a day nor a datetime"))?
        }
        other => return arguments.wrong(0, "a text, a date or a datetime", &other),
    };
    Ok(Val::Date(zone.to_datetime(at).date()))
}

pub(crate) fn datetime<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let zone = zone(arguments, 2)?;
    let text = match arguments.take(0) {
        Val::Instant(at) => return Ok(Val::Instant(at)),
        Val::Text(text) => text,
        other => return arguments.wrong(0, "a text", &other),
    };
    if text.trim().is_empty() {
        return Ok(Val::Null);
    }
    let format = if arguments.len() > 1 { arguments.text(1)?.into_owned() } else { String::new() };
    if format.is_empty() {
        return parse_instant(&text, zone)
            .map(Val::Instant)
            .ok_or_else(|| Fail::domain("the text is not a datetime with a zone; for one without, name the zone: DATETIME(x, '', 'UTC')"));
    }
    if let Ok(at) = Timestamp::strptime(&format, text.trim()) {
        return Ok(Val::Instant(at));
    }
    let civil = DateTime::strptime(&format, text.trim()).or_else(|_| Date::strptime(&format, text.trim()).map(|date| date.at(0, 0, 0, 0)));
    let civil = civil.map_err(|_| Fail::domain("the text does not have the format given"))?;
    let zone = zone.ok_or_else(|| Fail::domain("the format has no zone; name it: DATETIME(x, format, 'UTC')"))?;
    zone.to_timestamp(civil).map(Val::Instant).map_err(|_| out_of_range())
}

pub(crate) fn epoch_ms<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let milliseconds = arguments.whole(0)?;
    Timestamp::from_millisecond(milliseconds).map(Val::Instant).map_err(|_| out_of_range())
}

pub(crate) fn to_epoch_ms<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    Ok(Val::Number(Decimal::from(instant_of(arguments, 0)?.as_millisecond())))
}

pub(crate) fn format_date<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let zone = zone(arguments, 2)?.unwrap_or(Offset::UTC);
    let format = arguments.text(1)?;
    let civil = match arguments.take(0) {
        Val::Date(date) => date.at(0, 0, 0, 0),
        Val::Instant(at) => zone.to_datetime(at),
        Val::Text(text) => match parse_day(&text) {
            Some(date) => date.at(0, 0, 0, 0),
            None => parse_instant(&text, None)
                .map(|at| zone.to_datetime(at))
                .ok_or_else(|| Fail::domain("the text is neither a day nor a datetime"))?,
        },
        other => return arguments.wrong(0, "a date", &other),
    };
    let text = format_civil(civil, &format).ok_or_else(|| Fail::domain("the format is not one of strftime's"))?;
    arguments.spend(text.len())?;
    Ok(Val::text(text))
}

fn format_civil(civil: DateTime, format: &str) -> Option<String> {
    let mut text = String::new();
    let broken = jiff::fmt::strtime::BrokenDownTime::from(civil);
    broken.format(format, &mut text).ok()?;
    Some(text)
}

fn add<'a>(arguments: &mut Arguments<'a, '_>, span: fn(i64) -> Result<Span, jiff::Error>) -> Result<Val<'a>, Fail> {
    let amount = arguments.whole(1)?;
    let span = span(amount).map_err(|_| out_of_range())?;
    match arguments.take(0) {
        Val::Date(date) => date.checked_add(span).map(Val::Date).map_err(|_| out_of_range()),
        Val::Instant(at) => {
            let civil = Offset::UTC.to_datetime(at).checked_add(span).map_err(|_| out_of_range())?;
            Offset::UTC.to_timestamp(civil).map(Val::Instant).map_err(|_| out_of_range())
        }
        Val::Text(text) => {
            let date = parse_day(&text).ok_or_else(|| Fail::domain("the text is not a day in the form 2026-01-31"))?;
            date.checked_add(span).map(Val::Date).map_err(|_| out_of_range())
        }
        other => arguments.wrong(0, "a date", &other),
    }
}

pub(crate) fn add_days<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    add(arguments, |amount| Span::new().try_days(amount))
}

pub(crate) fn add_months<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    add(arguments, |amount| Span::new().try_months(amount))
}

pub(crate) fn add_years<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    add(arguments, |amount| Span::new().try_years(amount))
}

/// Whole days from the first to the second.
pub(crate) fn days_between<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let (from, to) = (day_of(arguments, 0)?, day_of(arguments, 1)?);
    let days = from.until(to).map_err(|_| out_of_range())?.get_days();
    Ok(Val::Number(Decimal::from(days)))
}

pub(crate) fn year<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    Ok(Val::Number(Decimal::from(day_of(arguments, 0)?.year())))
}

pub(crate) fn month<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    Ok(Val::Number(Decimal::from(day_of(arguments, 0)?.month())))
}

pub(crate) fn day<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    Ok(Val::Number(Decimal::from(day_of(arguments, 0)?.day())))
}

pub(crate) fn hour<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let zone = zone(arguments, 1)?.unwrap_or(Offset::UTC);
    Ok(Val::Number(Decimal::from(zone.to_datetime(instant_of(arguments, 0)?).hour())))
}

pub(crate) fn minute<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let zone = zone(arguments, 1)?.unwrap_or(Offset::UTC);
    Ok(Val::Number(Decimal::from(zone.to_datetime(instant_of(arguments, 0)?).minute())))
}

/// 1 is Sunday, 7 is Saturday, as in Salesforce and Excel.
pub(crate) fn weekday<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    Ok(Val::Number(Decimal::from(day_of(arguments, 0)?.weekday().to_sunday_one_offset())))
}

pub(crate) fn now<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    clock(arguments).map(Val::Instant)
}

pub(crate) fn today<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let zone = zone(arguments, 0)?.unwrap_or(Offset::UTC);
    Ok(Val::Date(zone.to_datetime(clock(arguments)?).date()))
}

fn clock(arguments: &Arguments<'_, '_>) -> Result<Timestamp, Fail> {
    arguments.now.ok_or_else(|| Fail::domain(format!("{} needs the time, and none was given to the mapping", arguments.name)))
}
