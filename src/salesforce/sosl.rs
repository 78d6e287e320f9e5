//! Full-text search: SOSL, and the same as JSON (`parameterizedSearch`).
//!
//! The index follows writes by seconds to minutes: search by SOQL for what was just written. At most 2,000 rows, and 250 for an
//! object without condition or limit ("SOQL and SOSL Reference").

use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::{Entity, Fields};
use crate::query::Criteria;
use crate::rest::Call;
use crate::rest::percent_encode;
use crate::salesforce::client::Salesforce;
use crate::salesforce::query::strip;
use crate::salesforce::select::Soql;
use crate::salesforce::soql::{MAX_STATEMENT, identifier};

/// Rows of a whole search.
const MAX_ROWS: u32 = 2000;

/// Which fields are looked into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SearchGroup {
    /// Every searchable field.
    #[default]
    All,
    /// E-mail addresses.
    Email,
    /// Names.
    Name,
    /// Phone numbers.
    Phone,
    /// What the sidebar looks into.
    Sidebar,
}

impl SearchGroup {
    fn word(self) -> &'static str {
        match self {
            Self::All => "ALL",
            Self::Email => "EMAIL",
            Self::Name => "NAME",
            Self::Phone => "PHONE",
            Self::Sidebar => "SIDEBAR",
        }
    }
}

/// `text` with every character that means something in a FIND clause escaped; the text then stands for itself. Wildcards are
/// the caller's to add.
///
/// # Errors
/// [`crate::error::ErrorKind::Config`] for control characters, or if nothing is left to look for.
pub fn escape(text: &str) -> Result<String> {
    if text.chars().any(char::is_control) {
        return Err(Error::config("a search text holds a control character; clean it first"));
    }
    let text = text.trim();
    if text.is_empty() {
        return Err(Error::config("a search text is empty"));
    }
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if "?&|!{}[]()^~*:\\\"'+-".contains(character) {
            out.push('\\');
        }
        out.push(character);
    }
    Ok(out)
}

/// A full-text search.
///
/// ```
/// use crm_sync::query::Criteria;
/// use crm_sync::salesforce::entity::{CONTACT, LEAD};
/// use crm_sync::salesforce::sosl::{SearchGroup, Sosl};
///
/// let sosl = Sosl::phrase("a-b'c").group(SearchGroup::Name).returning(&LEAD, &["Id", "Email"], &Criteria::ne("Status", "Closed"), Some(20));
/// assert_eq!(sosl.returning(&CONTACT, &["Id"], &Criteria::always(), None).build()?,
///     r#"FIND {"a\-b\'c"} IN NAME FIELDS RETURNING Lead(Id, Email WHERE Status != 'Closed' LIMIT 20), Contact(Id)"#);
/// # Ok::<(), crm_sync::error::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Sosl {
    find: Find,
    group: SearchGroup,
    returning: Vec<Returning>,
    limit: Option<u32>,
}

#[derive(Clone, Debug)]
enum Find {
    Phrase(String),
    Words(String),
    Prefix(String),
}

#[derive(Clone, Debug)]
struct Returning {
    entity: String,
    fields: Vec<String>,
    filter: Criteria,
    limit: Option<u32>,
}

impl Sosl {
    fn new(find: Find) -> Self {
        Self { find, group: SearchGroup::All, returning: Vec::new(), limit: None }
    }

    /// These words in this order. Words that are operators (AND, OR, NOT) stand for themselves.
    pub fn phrase(text: impl Into<String>) -> Self {
        Self::new(Find::Phrase(text.into()))
    }

    /// All of these words, in any order.
    pub fn words(text: impl Into<String>) -> Self {
        Self::new(Find::Words(text.into()))
    }

    /// Words that begin like this one.
    pub fn prefix(text: impl Into<String>) -> Self {
        Self::new(Find::Prefix(text.into()))
    }

    /// Which fields are looked into. Default: all.
    pub fn group(mut self, group: SearchGroup) -> Self {
        self.group = group;
        self
    }

    /// Which objects are looked for, with which fields, which of them, and how many at most. Without this the ids of every kind
    /// of object come back.
    pub fn returning(mut self, entity: &Entity, fields: &[&str], filter: &Criteria, limit: Option<u32>) -> Self {
        self.returning.push(Returning {
            entity: entity.as_str().to_owned(),
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            filter: filter.clone(),
            limit,
        });
        self
    }

    /// At most so many rows in all.
    pub fn limit(mut self, rows: u32) -> Self {
        self.limit = Some(rows);
        self
    }

    fn term(&self) -> Result<String> {
        Ok(match &self.find {
            Find::Phrase(text) => format!("\"{}\"", escape(text)?),
            // Every word in quotes: none can be an operator.
            Find::Words(text) => {
                let words = text.split_whitespace().map(|word| Ok(format!("\"{}\"", escape(word)?))).collect::<Result<Vec<_>>>()?;
                if words.is_empty() {
                    return Err(Error::config("a search text is empty"));
                }
                words.join(" AND ")
            }
            Find::Prefix(text) if text.split_whitespace().count() == 1 => format!("{}*", escape(text)?),
            Find::Prefix(_) => return Err(Error::config("a search by prefix takes one word")),
        })
    }

    /// The statement.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] for a text, name or value SOSL cannot hold, more than 2,000 rows, or a statement longer
    /// than 100,000 characters.
    pub fn build(&self) -> Result<String> {
        let mut out = format!("FIND {{{}}} IN {} FIELDS", self.term()?, self.group.word());
        for (at, part) in self.returning.iter().enumerate() {
            out.push_str(if at == 0 { " RETURNING " } else { ", " });
            out.push_str(identifier(&part.entity)?);
            if part.fields.is_empty() {
                if part.limit.is_some() || part.filter != Criteria::always() {
                    return Err(Error::config("a search with a condition or limit for an object names the fields it returns"));
                }
                continue;
            }
            let fields = part.fields.iter().map(|field| identifier(field)).collect::<Result<Vec<_>>>()?;
            out.push('(');
            out.push_str(&fields.join(", "));
            if let Some(condition) = Soql::default().condition(&part.filter, 0)? {
                out.push_str(" WHERE ");
                out.push_str(&condition);
            }
            if let Some(limit) = part.limit {
                out.push_str(&format!(" LIMIT {}", rows(limit)?));
            }
            out.push(')');
        }
        if let Some(limit) = self.limit {
            out.push_str(&format!(" LIMIT {}", rows(limit)?));
        }
        if out.chars().count() > MAX_STATEMENT {
            return Err(Error::config("a SOSL statement has at most 100,000 characters"));
        }
        Ok(out)
    }
}

fn rows(limit: u32) -> Result<u32> {
    if (1..=MAX_ROWS).contains(&limit) { Ok(limit) } else { Err(Error::config("a search returns 1 to 2,000 rows")) }
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SearchHit {
    /// Its kind.
    pub entity: Entity,
    /// Its fields, as far as asked for.
    pub fields: Fields,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    search_records: Vec<Fields>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Parameters<'a> {
    q: String,
    r#in: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sobjects: Vec<ParameterObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overall_limit: Option<u32>,
    spell_correction: bool,
}

#[derive(Serialize)]
struct ParameterObject<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#where: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
}

impl Salesforce {
    /// Searches (`GET /search`). Long statements do not fit a URL; [`Salesforce::parameterized_search`] takes them in a body.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn search_text(&self, sosl: &Sosl) -> Result<Vec<SearchHit>> {
        let path = self.path(&format!("/search?q={}", percent_encode(&sosl.build()?)));
        hits(&self.send(Call::get("search", path), &HeaderMap::new()).await?)
    }

    /// Searches (`POST /parameterizedSearch`).
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn parameterized_search(&self, sosl: &Sosl) -> Result<Vec<SearchHit>> {
        sosl.build()?;
        let sobjects = sosl.returning.iter().map(|part| {
            Ok(ParameterObject {
                name: identifier(&part.entity)?,
                fields: part.fields.iter().map(String::as_str).collect(),
                r#where: Soql::default().condition(&part.filter, 0)?,
                limit: part.limit,
            })
        });
        let parameters = Parameters {
            q: sosl.term()?,
            r#in: sosl.group.word(),
            sobjects: sobjects.collect::<Result<_>>()?,
            overall_limit: sosl.limit,
            // Only what was asked for.
            spell_correction: false,
        };
        let call = Call::post("search", self.path("/parameterizedSearch")).read_only().json(&parameters)?;
        hits(&self.send(call, &HeaderMap::new()).await?)
    }
}

fn hits(answer: &crate::rest::Answer) -> Result<Vec<SearchHit>> {
    let found: Found = answer.json()?;
    let hit = |mut fields: Fields| {
        let kind = fields.get("attributes").and_then(|attributes| attributes.get("type")).and_then(Value::as_str);
        let entity = kind.map(|kind| Entity::new(kind.to_owned()));
        let entity = entity.ok_or_else(|| Error::decode("a row of a search came without its type").during("search"))?;
        fields.remove("attributes");
        strip(&mut fields);
        Ok(SearchHit { entity, fields })
    };
    found.search_records.into_iter().map(hit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_vectors() {
        assert_eq!(escape("{1+1}:2").unwrap(), r"\{1\+1\}\:2");
        assert_eq!(escape("a-b'c").unwrap(), r"a\-b\'c");
        assert!(escape("  ").is_err() && escape("a\0").is_err());
        assert_eq!(Sosl::words("Smith AND Sons").build().unwrap(), r#"FIND {"Smith" AND "AND" AND "Sons"} IN ALL FIELDS"#);
        assert_eq!(Sosl::prefix("Smi*").limit(5).build().unwrap(), r"FIND {Smi\**} IN ALL FIELDS LIMIT 5");
        assert!(Sosl::prefix("a b").build().is_err());
        assert!(Sosl::phrase("x").limit(2001).build().is_err());
        let lead = Entity::from_static("Lead");
        assert!(Sosl::phrase("x").returning(&lead, &["Id) x"], &Criteria::always(), None).build().is_err());
        assert!(Sosl::phrase("x").returning(&lead, &[], &Criteria::eq("A", 1), None).build().is_err());
    }

    proptest! {
        /// Read as Salesforce does: an unescaped reserved character would end the term or change its meaning.
        #[test]
        fn no_text_leaves_its_braces(text in r#"([?&|!{}\[\]()^~*:\\"'+a-c -]|\PC){1,30}"#) {
            prop_assume!(!text.trim().is_empty());
            let statement = Sosl::phrase(text.clone()).build().unwrap();
            let inside = statement.strip_prefix("FIND {\"").unwrap().strip_suffix("\"} IN ALL FIELDS").unwrap();
            let mut back = String::new();
            let mut chars = inside.chars();
            while let Some(character) = chars.next() {
                if character == '\\' {
                    back.push(chars.next().unwrap());
                } else {
                    prop_assert!(!"?&|!{}[]()^~*:\"'+-".contains(character), "{inside}");
                    back.push(character);
                }
            }
            prop_assert_eq!(back, text.trim());
        }
    }
}
