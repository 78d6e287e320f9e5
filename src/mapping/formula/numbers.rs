//! Functions on numbers: exact decimals, rounded half away from zero as Salesforce does.

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

use super::arguments::{Arguments, Fail};
use super::val::Val;

fn too_large() -> Fail {
    Fail::domain("the result has more than 28 digits")
}

/// `+ - * / ^`.
pub(crate) fn arithmetic(op: &str, a: Decimal, b: Decimal) -> Result<Decimal, Fail> {
    match op {
        "+" => a.checked_add(b).ok_or_else(too_large),
        "-" => a.checked_sub(b).ok_or_else(too_large),
        "*" => a.checked_mul(b).ok_or_else(too_large),
        "/" if b.is_zero() => Err(Fail::domain("division by zero")),
        "/" => a.checked_div(b).ok_or_else(too_large),
        _ => power(a, b),
    }
}

fn power(base: Decimal, exponent: Decimal) -> Result<Decimal, Fail> {
    let whole = exponent.fract().is_zero().then(|| exponent.to_i64()).flatten();
    let whole = whole.filter(|whole| whole.abs() <= 1_000).ok_or_else(|| Fail::domain("`^` takes whole exponents up to 1,000"))?;
    let mut result = Decimal::ONE;
    for _ in 0..whole.abs() {
        result = result.checked_mul(base).ok_or_else(too_large)?;
    }
    if whole >= 0 {
        return Ok(result);
    }
    if result.is_zero() {
        return Err(Fail::domain("division by zero"));
    }
    Decimal::ONE.checked_div(result).ok_or_else(too_large)
}

pub(crate) fn abs<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    Ok(Val::Number(arguments.number(0)?.abs()))
}

pub(crate) fn ceiling<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    Ok(Val::Number(arguments.number(0)?.ceil()))
}

pub(crate) fn floor<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    Ok(Val::Number(arguments.number(0)?.floor()))
}

/// The remainder with the sign of the divisor, as in Excel.
pub(crate) fn modulo<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let (a, b) = (arguments.number(0)?, arguments.number(1)?);
    let rest = a.checked_rem(b).ok_or_else(|| Fail::domain("division by zero"))?;
    let wrong_sign = !rest.is_zero() && rest.is_sign_negative() != b.is_sign_negative();
    Ok(Val::Number(if wrong_sign { rest + b } else { rest }))
}

fn rounded<'a>(arguments: &mut Arguments<'a, '_>, strategy: RoundingStrategy) -> Result<Val<'a>, Fail> {
    let number = arguments.number(0)?;
    let places = if arguments.len() > 1 { arguments.whole(1)? } else { 0 };
    if let Ok(places) = u32::try_from(places) {
        return Ok(Val::Number(number.round_dp_with_strategy(places.min(28), strategy)));
    }
    let power = power(Decimal::TEN, Decimal::from(places.unsigned_abs().min(28)))?;
    let scaled = (number / power).round_dp_with_strategy(0, strategy);
    scaled.checked_mul(power).map(Val::Number).ok_or_else(too_large)
}

pub(crate) fn round<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    rounded(arguments, RoundingStrategy::MidpointAwayFromZero)
}

pub(crate) fn trunc<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    rounded(arguments, RoundingStrategy::ToZero)
}

/// The arguments and the items of lists among them, without nulls.
fn present<'a>(arguments: &mut Arguments<'a, '_>) -> Vec<Val<'a>> {
    let mut values = Vec::new();
    for value in arguments.all() {
        match value {
            Val::Null => {}
            Val::List(items) => values.extend(items.into_iter().filter(|item| *item != Val::Null)),
            other => values.push(other),
        }
    }
    values
}

fn extreme<'a>(arguments: &mut Arguments<'a, '_>, wanted: std::cmp::Ordering) -> Result<Val<'a>, Fail> {
    let mut best = Val::Null;
    for value in present(arguments) {
        if best == Val::Null {
            best = value;
        } else {
            let order = value.order(&best).ok_or_else(|| Fail::wrong(format!("{} takes values of one type", arguments.name)))?;
            if order == wanted {
                best = value;
            }
        }
    }
    Ok(best)
}

pub(crate) fn min<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    extreme(arguments, std::cmp::Ordering::Less)
}

pub(crate) fn max<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    extreme(arguments, std::cmp::Ordering::Greater)
}

pub(crate) fn sum<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let values = present(arguments);
    if values.is_empty() {
        return Ok(Val::Null);
    }
    let mut sum = Decimal::ZERO;
    for value in values {
        let Val::Number(number) = value else { return arguments.wrong(0, "numbers", &value) };
        sum = sum.checked_add(number).ok_or_else(too_large)?;
    }
    Ok(Val::Number(sum))
}

pub(crate) fn to_number<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let text = match arguments.take(0) {
        Val::Number(number) => return Ok(Val::Number(number)),
        Val::Bool(value) => return Ok(Val::Number(Decimal::from(u8::from(value)))),
        Val::Text(text) => text,
        other => return arguments.wrong(0, "a text", &other),
    };
    if text.trim().is_empty() {
        return Ok(Val::Null);
    }
    let locale = if arguments.len() > 1 { arguments.text(1)?.to_ascii_lowercase() } else { String::new() };
    let (group, point): (&[char], char) = match locale.as_str() {
        "" => (&[], '.'),
        "en" => (&[','], '.'),
        "de" | "es" | "it" | "nl" | "pt" => (&['.'], ','),
        "fr" | "pl" | "sv" | "cs" => (&[' ', '\u{a0}', '\u{202f}'], ','),
        "ch" => (&['\'', '’'], '.'),
        _ => return Err(Fail::domain("the locale of TO_NUMBER is one of en, de, es, it, nl, pt, fr, pl, sv, cs, ch")),
    };
    parse(text.trim(), group, point).map(Val::Number).ok_or_else(|| Fail::domain("the text is not a number"))
}

/// Strict: groups have three digits, the point stands once.
fn parse(text: &str, group: &[char], point: char) -> Option<Decimal> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once(point).unwrap_or((digits, ""));
    let groups: Vec<&str> = whole.split(|c| group.contains(&c)).collect();
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let fits = groups.iter().enumerate().all(|(at, part)| {
        let length = if groups.len() == 1 {
            true
        } else if at == 0 {
            (1..=3).contains(&part.len())
        } else {
            part.len() == 3
        };
        length && all_digits(part)
    });
    if !fits || !all_digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let fraction = if fraction.is_empty() { "0" } else { fraction };
    format!("{sign}0{}.{fraction}", groups.concat()).parse().ok()
}
