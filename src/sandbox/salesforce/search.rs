//! `/search` and `/parameterizedSearch`.
//!
//! A record is found the moment it is written; Salesforce's own index takes seconds to minutes.

use http::Method;
use serde_json::{Value, json};

use crate::sandbox::call::{Reply, param};
use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::rest::{Ask, Ctx};
use crate::sandbox::salesforce::soql::day;
use crate::sandbox::salesforce::soql::{self, Pages};
use crate::sandbox::salesforce::sosl::{Find, Group, find, malformed, words};

/// The most rows of an answer.
const MOST: usize = 2000;
/// The most rows of an object that stands alone, without conditions or a limit of its own.
const MOST_ALONE: usize = 250;

/// What one object contributes.
struct Part {
    object: String,
    /// As in `Lead(...)`: fields, conditions, order and limit.
    inside: String,
}

struct Search {
    find: Find,
    group: Group,
    /// Empty: every object that can be searched, ids only.
    parts: Vec<Part>,
    limit: usize,
    /// For parts without a limit of their own.
    part_limit: Option<usize>,
    /// Rows left out at the start; one object only.
    offset: usize,
}

/// Where `wanted` starts as a word of its own, outside quotes and parentheses.
fn word_at(text: &str, wanted: &str) -> Option<usize> {
    let (mut quoted, mut escaped, mut depth) = (false, false, 0_usize);
    let mut before = ' ';
    for (at, letter) in text.char_indices() {
        if quoted {
            (quoted, escaped) = (escaped || letter != '\'', !escaped && letter == '\\');
        } else {
            let edge = |c: char| !(c.is_alphanumeric() || c == '_' || c == '.');
            if depth == 0
                && edge(before)
                && text.get(at..at + wanted.len()).is_some_and(|found| found.eq_ignore_ascii_case(wanted))
                && text.get(at + wanted.len()..).is_some_and(|rest| rest.chars().next().is_none_or(edge))
            {
                return Some(at);
            }
            match letter {
                '\'' => quoted = true,
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        before = letter;
    }
    None
}

fn split_word<'a>(text: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let at = word_at(text, word)?;
    Some((text.get(..at)?, text.get(at + word.len()..)?))
}

/// The parts of a list, cut at commas outside quotes and parentheses.
fn list(text: &str) -> Vec<&str> {
    let (mut quoted, mut escaped, mut depth) = (false, false, 0_usize);
    text.split(|letter: char| {
        if quoted {
            (quoted, escaped) = (escaped || letter != '\'', !escaped && letter == '\\');
            return false;
        }
        match letter {
            '\'' => quoted = true,
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    })
    .map(str::trim)
    .collect()
}

/// Where the braces of `FIND` close.
fn brace(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, letter)| {
        let end = letter == '}' && !escaped;
        escaped = letter == '\\' && !escaped;
        end.then_some(at)
    })
}

fn part(text: &str) -> Result<Part, ApiError> {
    let (object, inside) = match text.split_once('(') {
        None => (text, ""),
        Some((object, rest)) => {
            let inside = rest.trim_end().strip_suffix(')').ok_or_else(|| malformed(format!("unexpected token: {text}")))?;
            (object, inside.trim())
        }
    };
    let object = object.trim();
    if object.is_empty()
        || !object.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        || (inside.is_empty() && text.contains('('))
    {
        return Err(malformed(format!("unexpected token: {text}")));
    }
    Ok(Part { object: object.to_owned(), inside: inside.to_owned() })
}

fn statement(text: &str) -> Result<Search, ApiError> {
    if text.chars().count() > 100_000 {
        return Err(malformed("the SOSL statement is longer than 100,000 characters"));
    }
    let text = text.trim();
    let rest = text.get(..4).filter(|word| word.eq_ignore_ascii_case("FIND")).and_then(|_| text.get(4..)).map(str::trim_start);
    let rest = rest.and_then(|rest| rest.strip_prefix('{')).ok_or_else(|| malformed("a search begins with FIND {term}"))?;
    let end = brace(rest).ok_or_else(|| malformed("the braces of FIND have no end"))?;
    let find = find(rest.get(..end).unwrap_or_default(), false)?;
    let mut rest = rest.get(end + 1..).unwrap_or_default().trim();
    let mut search = Search { find, group: Group::All, parts: Vec::new(), limit: MOST, part_limit: None, offset: 0 };
    // From the end: LIMIT, then the WITH clauses (which change nothing here), then what is returned.
    if let Some((before, limit)) = split_word(rest, "LIMIT") {
        let limit: usize = limit.trim().parse().map_err(|_| malformed(format!("unexpected token: {}", limit.trim())))?;
        if limit == 0 || limit > MOST {
            return Err(malformed(format!("LIMIT must be between 1 and {MOST}")));
        }
        search.limit = limit;
        rest = before.trim();
    }
    if let Some((before, _)) = split_word(rest, "WITH") {
        rest = before.trim();
    }
    if let Some((before, parts)) = split_word(rest, "RETURNING") {
        search.parts = list(parts).into_iter().map(part).collect::<Result<_, _>>()?;
        rest = before.trim();
    }
    if let Some((before, group)) = split_word(rest, "IN") {
        let mut group_words = group.split_whitespace();
        let named = group_words.next().and_then(Group::named);
        let fields = group_words.next().is_some_and(|word| word.eq_ignore_ascii_case("FIELDS"));
        search.group = named
            .filter(|_| fields && group_words.next().is_none())
            .ok_or_else(|| malformed(format!("unexpected token: {}", group.trim())))?;
        rest = before.trim();
    }
    if rest.is_empty() { Ok(search) } else { Err(malformed(format!("unexpected token: {rest}"))) }
}

/// A number of rows, as JSON or as the text of a URL.
fn rows(value: Option<&Value>, name: &str) -> Result<Option<usize>, ApiError> {
    let number = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(other) => other.as_u64().and_then(|number| usize::try_from(number).ok()),
    };
    number.filter(|number| *number <= MOST).map(Some).ok_or_else(|| malformed(format!("{name} must be a number up to {MOST}")))
}

fn parameterized(body: &Value) -> Result<Search, ApiError> {
    let text = body.get("q").and_then(Value::as_str).unwrap_or_default();
    let group = match body.get("in").and_then(Value::as_str) {
        None => Group::All,
        Some(word) => Group::named(word.split_whitespace().next().unwrap_or_default())
            .ok_or_else(|| malformed(format!("unknown search group {word}")))?,
    };
    let names = |value: Option<&Value>| -> Vec<String> {
        match value {
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::String(text)) => text.split(',').map(|name| name.trim().to_owned()).collect(),
            _ => Vec::new(),
        }
    };
    let shared = names(body.get("fields"));
    let mut parts = Vec::new();
    for object in body.get("sobjects").and_then(Value::as_array).into_iter().flatten() {
        let name = object.get("name").or(Some(object)).and_then(Value::as_str).ok_or_else(|| malformed("an sobject has no name"))?;
        let own = names(object.get("fields"));
        let fields = if own.is_empty() { &shared } else { &own };
        let mut inside = if fields.is_empty() { "Id".to_owned() } else { fields.join(", ") };
        for (key, word) in [("where", "WHERE"), ("orderBy", "ORDER BY")] {
            if let Some(text) = object.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty()) {
                inside.push_str(&format!(" {word} {text}"));
            }
        }
        if let Some(limit) = rows(object.get("limit"), "limit")? {
            inside.push_str(&format!(" LIMIT {limit}"));
        }
        parts.push(part(&format!("{name}({inside})"))?);
    }
    if parts.is_empty() && !shared.is_empty() {
        return Err(malformed("fields need an sobject"));
    }
    let offset = rows(body.get("offset"), "offset")?.unwrap_or(0);
    if offset > 0 && parts.len() != 1 {
        return Err(malformed("offset needs exactly one sobject"));
    }
    Ok(Search {
        find: find(text, true)?,
        group,
        parts,
        limit: rows(body.get("overallLimit"), "overallLimit")?.unwrap_or(MOST),
        part_limit: rows(body.get("defaultLimit"), "defaultLimit")?,
        offset,
    })
}

/// The body that the pairs of a GET stand for.
fn from_params(params: &[(String, String)]) -> Value {
    let mut body = json!({});
    let mut sobjects = Vec::new();
    for (name, value) in params {
        match name.as_str() {
            "sobject" => sobjects.extend(value.split(',').map(str::trim).filter(|name| !name.is_empty()).map(|name| json!({"name": name}))),
            _ if name.contains('.') => {}
            _ => {
                if let Value::Object(map) = &mut body {
                    map.insert(name.clone(), json!(value));
                }
            }
        }
    }
    for (name, value) in params {
        if let Some((object, key)) = name.split_once('.')
            && let Some(Value::Object(map)) = sobjects.iter_mut().find(|known| known.get("name").and_then(Value::as_str) == Some(object))
        {
            map.insert(key.to_owned(), json!(value));
        }
    }
    if let Value::Object(map) = &mut body {
        map.insert("sobjects".to_owned(), Value::Array(sobjects));
    }
    body
}

impl Salesforce {
    /// `GET /search?q=FIND {term} ...`.
    pub(crate) fn search(&self, ctx: &Ctx, params: &[(String, String)]) -> Result<Reply, ApiError> {
        let text = param(params, "q").ok_or_else(|| malformed("No search query has been specified"))?;
        self.found(ctx, statement(text)?)
    }

    /// `GET` and `POST /parameterizedSearch`.
    pub(crate) fn parameterized_search(&self, ctx: &Ctx, ask: &Ask<'_>) -> Result<Reply, ApiError> {
        let search = match *ask.method {
            Method::GET => parameterized(&from_params(ask.params))?,
            Method::POST => match ask.body {
                Some(body @ Value::Object(_)) => parameterized(body)?,
                _ => return Err(ApiError::json("a parameterized search is an object with q")),
            },
            _ => return Err(ApiError::method(ask.method, "GET,HEAD,POST")),
        };
        self.found(ctx, search)
    }

    fn found(&self, ctx: &Ctx, mut search: Search) -> Result<Reply, ApiError> {
        if search.parts.is_empty() {
            // Of every object that people write to and that has a name to be found by.
            let all = self.schema.objects().filter(|object| object.writable && object.name_field().is_some());
            search.parts = all.map(|object| Part { object: object.name.clone(), inside: String::new() }).collect();
        }
        let scope = self.scope(&ctx.version, day(ctx.now));
        let count = search.parts.len();
        let mut records = Vec::new();
        for Part { object, inside } in &search.parts {
            let clauses = ["USING", "WHERE", "ORDER", "LIMIT", "OFFSET"];
            let cut = clauses.iter().filter_map(|word| word_at(inside, word)).min().unwrap_or(inside.len());
            let (fields, clauses) = inside.split_at_checked(cut).unwrap_or((inside, ""));
            if fields.contains('(') && fields.to_ascii_uppercase().contains("SELECT") {
                return Err(malformed("a search has no subqueries"));
            }
            let fields = if inside.is_empty() { "Id" } else { fields.trim() };
            let text = format!("SELECT {fields} FROM {object} {clauses}");
            let mut plan = soql::plan(&soql::parse(&text)?, &text, &scope)?;
            if !matches!(plan.output, soql::Output::Rows(_)) {
                return Err(malformed("a search has no aggregates"));
            }
            // The rows are cut after the words have been looked for.
            let own = plan.limit.take().map(|limit| usize::try_from(limit).unwrap_or(MOST));
            let skip = usize::try_from(std::mem::take(&mut plan.offset)).unwrap_or(MOST) + search.offset;
            let alone = count == 1 && plan.filter.is_none();
            let usual = if alone { MOST_ALONE } else { MOST / count };
            let take = own.or(search.part_limit).unwrap_or(usual).min(MOST).min(search.limit.saturating_sub(records.len()));
            let matches = |id: &String| {
                let row = scope.tables.get(&plan.object.name, id);
                row.is_some_and(|row| search.find.is_in(&words(&plan.object, row, search.group)))
            };
            let ids: Vec<String> = plan.ids(&scope, false).into_iter().filter(matches).skip(skip).take(take).collect();
            records.extend(plan.records(&scope, &ids, &mut Pages::new(MOST, 0)).0);
        }
        // The envelope came with 37.0.
        Ok(Reply::ok(if ctx.number < 37 { Value::Array(records) } else { json!({"searchRecords": records}) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_taken_apart() {
        let text = "find {ann\\}a} in email fields returning Lead(Id, Name where Name = 'x, LIMIT (' order by Name limit 3), Contact \
                    with METADATA='LABELS' limit 10";
        let search = statement(text).unwrap();
        assert_eq!((search.limit, search.group, search.parts.len()), (10, Group::Email, 2));
        assert_eq!(search.parts[0].inside, "Id, Name where Name = 'x, LIMIT (' order by Name limit 3");
        assert_eq!((search.parts[1].object.as_str(), search.parts[1].inside.as_str()), ("Contact", ""));
        for bad in [
            "",
            "FIND",
            "FIND acme",
            "FIND {acme",
            "FIND {acme} IN SOME FIELDS",
            "FIND {acme} RETURNING",
            "FIND {acme} RETURNING Lead()",
            "FIND {acme} LIMIT 0",
            "FIND {acme} LIMIT x",
            "FIND {acme} nonsense",
            "FIND {acme} RETURNING Lead(Id",
        ] {
            assert_eq!(statement(bad).err().map(|error| error.code), Some("MALFORMED_SEARCH"), "{bad}");
        }
    }
}
