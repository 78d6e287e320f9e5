//! The way from page to page.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::custom::pointer::Paths;

/// How one gets from page to page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Paging {
    /// A cursor from the last answer, given back in a parameter.
    Cursor {
        /// The parameter.
        param: String,
        /// Where the cursor stands.
        next: NextFrom,
        /// Where parameters go.
        #[serde(default)]
        target: PageTarget,
        /// The parameter with the size of a page.
        #[serde(default)]
        size_param: Option<String>,
        /// The size of a page.
        #[serde(default)]
        size: Option<u32>,
        /// A member that is false on the last page.
        #[serde(default)]
        has_more: Option<Paths>,
        /// The cursor that means that there is none, for APIs that always answer one: `-1`.
        #[serde(default)]
        last: Option<Value>,
    },
    /// The id of the last record of a page, given back in a parameter.
    Keyset {
        /// The parameter.
        param: String,
        /// The member of the last record. Default: its id.
        #[serde(default)]
        key: Option<Paths>,
        /// Where parameters go.
        #[serde(default)]
        target: PageTarget,
        /// The parameter with the size of a page.
        #[serde(default)]
        size_param: Option<String>,
        /// The size of a page. A shorter one is the last, unless `has_more` says otherwise.
        #[serde(default)]
        size: Option<u32>,
        /// A member that is false on the last page.
        #[serde(default)]
        has_more: Option<Paths>,
    },
    /// The answer holds the URL of the next page. It is followed on the API's own host only.
    NextLink {
        /// Where it stands.
        next: NextFrom,
        /// The parameter with the size of a page.
        #[serde(default)]
        size_param: Option<String>,
        /// The size of a page.
        #[serde(default)]
        size: Option<u32>,
    },
    /// There is one page.
    #[default]
    None,
    /// So many records are skipped.
    Offset {
        /// The parameter with how many. Default: `offset`.
        #[serde(default = "offset")]
        param: String,
        /// The parameter with the size of a page. Default: `limit`.
        #[serde(default = "limit")]
        size_param: String,
        /// The size of a page.
        size: u32,
        /// Where parameters go.
        #[serde(default)]
        target: PageTarget,
        /// A member that is false on the last page.
        #[serde(default)]
        has_more: Option<Paths>,
    },
    /// Pages are numbered.
    PageNumber {
        /// The parameter with the number. Default: `page`.
        #[serde(default = "page")]
        param: String,
        /// The number of the first page. Default: 1.
        #[serde(default = "one")]
        first: u64,
        /// The parameter with the size of a page.
        #[serde(default)]
        size_param: Option<String>,
        /// The size of a page, if known. A shorter one is the last, unless something better tells.
        #[serde(default)]
        size: Option<u32>,
        /// Where parameters go.
        #[serde(default)]
        target: PageTarget,
        /// How many pages there are.
        #[serde(default)]
        pages: Option<Paths>,
        /// A member that is false on the last page.
        #[serde(default)]
        has_more: Option<Paths>,
    },
    /// `Range: items=0-99`, answered by `Content-Range: items 0-99/1234`.
    Range {
        /// The unit. Default: `items`.
        #[serde(default = "items")]
        unit: String,
        /// The size of a page.
        size: u32,
    },
}

/// Where the next page is named.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NextFrom {
    /// A header of its own.
    Header(String),
    /// The `Link` header's entry of this relation, e.g. `next`.
    Link(String),
    /// A member of the body.
    Path(Paths),
}

/// Where the parameters of a page go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PageTarget {
    /// Members of the body; a name may be a path.
    Body,
    /// The query.
    #[default]
    Query,
}

fn offset() -> String {
    "offset".to_owned()
}

fn limit() -> String {
    "limit".to_owned()
}

fn page() -> String {
    "page".to_owned()
}

fn items() -> String {
    "items".to_owned()
}

fn one() -> u64 {
    1
}

impl Paging {
    /// The size of a page the definition asks for.
    pub(super) fn size(&self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::Offset { size, .. } | Self::Range { size, .. } => Some(*size),
            Self::Cursor { size, .. } | Self::Keyset { size, .. } | Self::NextLink { size, .. } | Self::PageNumber { size, .. } => *size,
        }
    }
}

impl Paging {
    /// The next smaller size of a page, if it can be asked for. Numbered pages are cut into a whole number of smaller ones, so
    /// that what was read stays read.
    pub(super) fn smaller(&self, size: u32) -> Option<u32> {
        let divisor = || (2..=size).find(|by| size.is_multiple_of(*by)).map(|by| size / by);
        match self {
            _ if size < 2 => None,
            Self::Cursor { size_param: None, .. } | Self::Keyset { size_param: None, .. } | Self::NextLink { size_param: None, .. } => None,
            Self::None | Self::PageNumber { size_param: None, .. } => None,
            Self::PageNumber { .. } => divisor(),
            _ => Some(size / 2),
        }
    }
}

/// The URL of relation `wanted` in a `Link` header (RFC 8288).
pub(super) fn link<'a>(header: &'a str, wanted: &str) -> Option<&'a str> {
    let mut rest = header;
    loop {
        let (url, after) = rest.split_once('<')?.1.split_once('>')?;
        // Parameters reach to the comma before the next URL; quoted texts may hold commas.
        let end = after.find('<').map_or(after.len(), |at| after.get(..at).and_then(|part| part.rfind(',')).unwrap_or(at));
        let (params, tail) = after.split_at(end);
        let rel = params
            .split(';')
            .filter_map(|param| param.trim().trim_end_matches(',').split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("rel"));
        let is_wanted = rel
            .is_some_and(|(_, value)| value.trim().trim_matches('"').split_ascii_whitespace().any(|rel| rel.eq_ignore_ascii_case(wanted)));
        if is_wanted {
            return Some(url);
        }
        if tail.is_empty() {
            return None;
        }
        rest = tail;
    }
}

/// The last position and the total of `items 0-99/1234`; a total of `*` is unknown.
pub(super) fn content_range(header: &str) -> Option<(Option<u64>, Option<u64>)> {
    // PostgREST leaves the unit out.
    let range = header.split_once(' ').map_or(header, |(_, range)| range);
    let (span, total) = range.split_once('/')?;
    let last = if span == "*" { None } else { Some(span.split_once('-')?.1.trim().parse().ok()?) };
    Some((last, total.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_headers() {
        let header = r#"<https://x/a?page=1>; rel="prev first"; title="a, b", <https://x/a?page=3,4>; rel=next"#;
        assert_eq!(link(header, "next"), Some("https://x/a?page=3,4"));
        assert_eq!(link(header, "first"), Some("https://x/a?page=1"));
        assert_eq!(link(header, "last"), None);
        assert_eq!(link("", "next"), None);
        assert_eq!(link("<broken", "next"), None);
    }

    #[test]
    fn pages_shrink_where_they_can() {
        let paging = |value: Value| serde_json::from_value::<Paging>(value).unwrap();
        let numbered = paging(serde_json::json!({"type": "page_number", "size_param": "n", "size": 75}));
        assert_eq!(
            (numbered.smaller(75), numbered.smaller(25), numbered.smaller(5), numbered.smaller(1)),
            (Some(25), Some(5), Some(1), None)
        );
        assert_eq!(paging(serde_json::json!({"type": "offset", "size": 75})).smaller(75), Some(37));
        assert_eq!(paging(serde_json::json!({"type": "page_number", "size": 75})).smaller(75), None);
    }

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("items 0-99/1234"), Some((Some(99), Some(1234))));
        assert_eq!(content_range("items 0-99/*"), Some((Some(99), None)));
        assert_eq!(content_range("items */0"), Some((None, Some(0))));
        assert_eq!(content_range("0-24/*"), Some((Some(24), None)));
        assert_eq!(content_range("nonsense"), None);
    }
}
