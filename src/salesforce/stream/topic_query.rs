//! The rules of a PushTopic's query (Streaming API Developer Guide, "PushTopic Queries"), checked before anything is sent.

use crate::error::{Error, Result};
use crate::salesforce::soql::identifier;

/// The longest query.
const LONGEST: usize = 1_300;

/// The entity a query is of.
///
/// # Errors
/// [`crate::error::ErrorKind::Config`] naming the rule it breaks.
pub(super) fn entity_of(query: &str) -> Result<&str> {
    let refuse = |what: &str| Err(Error::config(format!("a PushTopic cannot have this query: {what}")));
    if query.chars().count() > LONGEST {
        return refuse("it is longer than 1,300 characters");
    }
    let words = words(query)?;
    let mut rest = words.as_slice();
    if !rest.first().is_some_and(|word| word.eq_ignore_ascii_case("SELECT")) {
        return refuse("it does not begin with SELECT");
    }
    rest = rest.get(1..).unwrap_or_default();
    let Some(from) = rest.iter().position(|word| word.eq_ignore_ascii_case("FROM")) else { return refuse("it has no FROM") };
    let (columns, after) = rest.split_at(from);
    let mut has_id = false;
    for column in columns.split(|word| *word == ",") {
        match column {
            [name] if name.contains('.') => return refuse("fields of other objects cannot be selected"),
            [name] if identifier(name).is_ok() => has_id = has_id || name.eq_ignore_ascii_case("Id"),
            [] => return refuse("a field is missing between two commas"),
            _ => return refuse("fields alone can be selected, without functions, aliases, TYPEOF and inner queries"),
        }
    }
    if !has_id {
        return refuse("Id must be selected");
    }
    let Some(entity) = after.get(1).copied().filter(|name| identifier(name).is_ok() && !name.contains('.')) else {
        return refuse("it must be of one object");
    };
    match after.get(2..).unwrap_or_default() {
        [] => Ok(entity),
        [first, condition @ ..] if first.eq_ignore_ascii_case("WHERE") && !condition.is_empty() => check(condition).map(|()| entity),
        _ => refuse("after the object there can only be WHERE: no alias, GROUP BY, ORDER BY, LIMIT or OFFSET"),
    }
}

fn check(condition: &[&str]) -> Result<()> {
    let refuse = |what: &str| Err(Error::config(format!("a PushTopic cannot have this condition: {what}")));
    let mut before = "";
    for (at, word) in condition.iter().enumerate() {
        let next = condition.get(at + 1).copied().unwrap_or_default();
        let upper = word.to_ascii_uppercase();
        match upper.as_str() {
            "SELECT" => return refuse("inner queries are not allowed"),
            "GROUP" | "ORDER" | "LIMIT" | "OFFSET" | "HAVING" | "TYPEOF" | "WITH" | "FOR" | "ALL" => {
                return refuse("GROUP BY, HAVING, ORDER BY, LIMIT, OFFSET, TYPEOF, WITH and FOR are not allowed");
            }
            "NOT" if !next.eq_ignore_ascii_case("IN") => return refuse("NOT is allowed before IN alone"),
            "(" => {
                let word = ["", "(", "AND", "OR", "IN", "INCLUDES", "EXCLUDES"].iter().any(|word| before.eq_ignore_ascii_case(word));
                if !word {
                    return refuse("functions are not allowed");
                }
            }
            _ => {
                let name = word.starts_with(|c: char| c.is_ascii_alphabetic());
                if name && word.contains('.') {
                    return refuse("fields of other objects are not allowed");
                }
            }
        }
        before = word;
    }
    Ok(())
}

/// Words, commas, parentheses, operators; a quoted text counts as one word.
fn words(query: &str) -> Result<Vec<&str>> {
    let mut words = Vec::new();
    let mut rest = query.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' => quoted(rest)?,
            ',' | '(' | ')' => 1,
            '=' | '<' | '>' | '!' => rest.find(|c| !matches!(c, '=' | '<' | '>' | '!')).unwrap_or(rest.len()),
            _ => rest.find(|c: char| c.is_whitespace() || ",()=<>!'".contains(c)).unwrap_or(rest.len()),
        };
        let (word, after) = rest.split_at(length);
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

/// The length of the quoted text `rest` begins with.
fn quoted(rest: &str) -> Result<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' => return Ok(at + 1),
            _ => {}
        }
    }
    Err(Error::config("a PushTopic cannot have this query: a quoted text does not end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_queries() {
        for query in [
            "SELECT Id FROM Lead",
            "select id, Email , Status from Lead where Status = 'Open' AND (Score__c >= 1.5 OR City NOT IN ('a, b', 'it\\'s (x'))",
            "SELECT Id,Name FROM Thing__c WHERE CreatedDate > 2026-01-01T00:00:00.000Z AND Kind__c INCLUDES ('a;b')",
            "SELECT Id FROM Lead WHERE Title = 'ORDER BY Owner.Name LIMIT 1'",
        ] {
            assert!(entity_of(query).is_ok(), "{query}: {:?}", entity_of(query));
        }
        assert_eq!(entity_of("SELECT Id FROM Lead").unwrap(), "Lead");
    }

    #[test]
    fn queries_salesforce_would_refuse() {
        for query in [
            "",
            "FIND {x}",
            "SELECT Id",
            "SELECT Email FROM Lead",
            "SELECT Id, Owner.Name FROM Lead",
            "SELECT COUNT() FROM Lead",
            "SELECT Id, COUNT(Email) FROM Lead",
            "SELECT Id, (SELECT Id FROM Tasks) FROM Lead",
            "SELECT Id,, Email FROM Lead",
            "SELECT Id e, Email FROM Lead",
            "SELECT Id FROM Lead l",
            "SELECT Id FROM Lead, Contact",
            "SELECT Id FROM Lead ORDER BY Email",
            "SELECT Id FROM Lead WHERE",
            "SELECT Id FROM Lead WHERE Email = 'a' LIMIT 5",
            "SELECT Id FROM Lead WHERE Owner.Name = 'a'",
            "SELECT Id FROM Lead WHERE NOT Email = 'a'",
            "SELECT Id FROM Lead WHERE Id IN (SELECT LeadId FROM CampaignMember)",
            "SELECT Id FROM Lead WHERE CALENDAR_YEAR(CreatedDate) = 2026",
            "SELECT Id FROM Lead WHERE Email = 'a",
        ] {
            assert!(entity_of(query).is_err(), "{query}");
        }
        let long = format!("SELECT Id FROM Lead WHERE Email = '{}'", "x".repeat(1_300));
        assert!(entity_of(&long).unwrap_err().message().contains("1,300"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            let _either = entity_of(&text);
            let _either = entity_of(&format!("SELECT Id FROM Lead WHERE {text}"));
        }
    }
}
