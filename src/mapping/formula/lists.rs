//! Functions on lists, and the small logical ones.

use super::arguments::{Arguments, Fail};
use super::val::Val;

fn truth(arguments: &Arguments<'_, '_>, index: usize, value: &Val<'_>) -> Result<Option<bool>, Fail> {
    match value {
        Val::Null => Ok(None),
        Val::Bool(value) => Ok(Some(*value)),
        other => arguments.wrong(index, "a boolean", other),
    }
}

pub(crate) fn not<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let value = arguments.take(0);
    Ok(truth(arguments, 0, &value)?.map_or(Val::Null, |value| Val::Bool(!value)))
}

pub(crate) fn xor<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let (a, b) = (arguments.take(0), arguments.take(1));
    Ok(match (truth(arguments, 0, &a)?, truth(arguments, 1, &b)?) {
        (Some(a), Some(b)) => Val::Bool(a != b),
        _ => Val::Null,
    })
}

pub(crate) fn is_blank<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    Ok(Val::Bool(arguments.take(0).is_blank()))
}

pub(crate) fn is_null<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    Ok(Val::Bool(arguments.take(0) == Val::Null))
}

/// True if the first argument equals one of the others; values of another type are simply not it.
pub(crate) fn is_in<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let wanted = arguments.take(0);
    let hit = arguments.all().iter().skip(1).any(|value| match value {
        Val::List(items) => items.iter().any(|item| wanted.same(item) == Some(true)),
        other => wanted.same(other) == Some(true),
    });
    Ok(Val::Bool(hit))
}

/// A list, or the members of a multi-select text (`A;B`).
fn members<'a>(arguments: &mut Arguments<'a, '_>, index: usize) -> Result<Vec<Val<'a>>, Fail> {
    match arguments.take(index) {
        Val::List(items) => Ok(items),
        Val::Text(text) => Ok(text.split(';').map(str::trim).filter(|part| !part.is_empty()).map(Val::text).collect()),
        other => arguments.wrong(index, "a list", &other),
    }
}

pub(crate) fn includes<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let items = members(arguments, 0)?;
    let wanted = arguments.take(1);
    Ok(Val::Bool(items.iter().any(|item| wanted.same(item) == Some(true))))
}

pub(crate) fn list<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    Ok(Val::List(arguments.all()))
}

pub(crate) fn count<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    match arguments.take(0) {
        Val::Null => Ok(Val::integer(0)),
        Val::List(items) => Ok(Val::integer(items.len())),
        other => arguments.wrong(0, "a list", &other),
    }
}

pub(crate) fn first<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    Ok(arguments.list(0)?.into_iter().next().unwrap_or(Val::Null))
}

pub(crate) fn last<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    Ok(arguments.list(0)?.pop().unwrap_or(Val::Null))
}

/// The item at a position from 1, or from the end if negative.
pub(crate) fn nth<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let items = arguments.list(0)?;
    let position = arguments.whole(1)?;
    Ok(pick(items, position))
}

pub(crate) fn pick(mut items: Vec<Val<'_>>, position: i64) -> Val<'_> {
    let index = match usize::try_from(position) {
        Ok(0) => None,
        Ok(position) => Some(position - 1),
        Err(_) => usize::try_from(position.unsigned_abs()).ok().and_then(|back| items.len().checked_sub(back)),
    };
    match index {
        Some(index) if index < items.len() => items.swap_remove(index),
        _ => Val::Null,
    }
}

pub(crate) fn union<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let mut all = Vec::new();
    for value in arguments.all() {
        match value {
            Val::Null => {}
            Val::List(items) => all.extend(items),
            other => all.push(other),
        }
    }
    Ok(Val::List(distinct(all)))
}

pub(crate) fn unique<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    Ok(Val::List(distinct(arguments.list(0)?)))
}

fn distinct(items: Vec<Val<'_>>) -> Vec<Val<'_>> {
    let mut kept: Vec<Val<'_>> = Vec::new();
    for item in items {
        if !kept.iter().any(|known| known.same(&item) == Some(true)) {
            kept.push(item);
        }
    }
    kept
}

pub(crate) fn sort<'a>(arguments: &mut Arguments<'a, '_>) -> Result<Val<'a>, Fail> {
    let mut items = arguments.list(0)?;
    let comparable = items.windows(2).all(|pair| matches!(pair, [a, b] if a.order(b).is_some()));
    if !comparable {
        return Err(Fail::wrong("SORT takes a list of values of one type"));
    }
    items.sort_by(|a, b| a.order(b).unwrap_or(std::cmp::Ordering::Equal));
    Ok(Val::List(items))
}
