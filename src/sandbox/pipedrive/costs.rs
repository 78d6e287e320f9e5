//! What a call costs of the daily budget, and which scope it needs (`x-token-cost` and `security` of the OpenAPI documents).

use http::Method;

/// Which of the two interfaces is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

fn is_id(segment: &str) -> bool {
    segment.starts_with('{') || segment.bytes().all(|byte| byte.is_ascii_digit()) || (segment.len() == 36 && segment.contains('-'))
}

/// Tokens for one call of the path below the version.
pub(crate) fn price(version: Version, method: &Method, path: &[&str]) -> u64 {
    match version {
        Version::V1 => price_v1(method, path),
        Version::V2 => price_v2(method, path),
    }
}

fn price_v2(method: &Method, path: &[&str]) -> u64 {
    let get = method == Method::GET;
    match path {
        ["itemSearch", ..] | [_, "search"] => 20,
        [_, _, "convert", "status", _] => 1,
        [_, _, "convert", _] => 40,
        ["deals", "archived"] => 20,
        ["deals", _, "products", "bulk"] => 25,
        ["deals", _, "products"] if method == Method::DELETE => 15,
        ["pipelines" | "stages"] if get => 5,
        ["persons", _, "picture"] => 1,
        [fields, _] if get && fields.ends_with("Fields") => 1,
        [_, id] if get && is_id(id) => 1,
        _ if get => 10,
        _ if method == Method::DELETE => 3,
        _ => 5,
    }
}

fn price_v1(method: &Method, path: &[&str]) -> u64 {
    let get = method == Method::GET;
    match path {
        [_, _, "merge"] => 40,
        [_, "search" | "archived"] if get => 40,
        ["users", "find"] | [_, _, "flow"] | ["deals", "summary"] => 40,
        ["users", "me"] | ["leadSources"] | ["userSettings"] => 2,
        ["webhooks" | "leadLabels"] => 10,
        [_, _, "permittedUsers" | "participants" | "participantsChangelog"] if get => 10,
        // Their v2 twins are free of this: the old forms cost as lists and records do.
        [_, id] | [_, _, "comments", id] if get && is_id(id) => 2,
        _ if get => 20,
        [_] | ["deals" | "dealFields" | "personFields" | "organizationFields" | "productFields"] if method == Method::DELETE => 10,
        _ if method == Method::DELETE => 6,
        _ => 10,
    }
}

/// True for the calls that count in the bucket of searches.
pub(crate) fn is_search(path: &[&str]) -> bool {
    matches!(path, ["itemSearch", ..] | [_, "search"])
}

/// The scopes any one of which is enough; none if `base` is.
pub(crate) fn scopes(method: &Method, path: &[&str]) -> &'static [&'static str] {
    let read = method == Method::GET;
    match path {
        [_, "search"] | ["itemSearch", ..] => &["search:read"],
        ["persons" | "organizations", ..] if read => &["contacts:read", "contacts:full"],
        ["persons" | "organizations", ..] => &["contacts:full"],
        ["personFields" | "organizationFields", ..] if read => &["contacts:read", "contacts:full", "contact-fields:full", "admin"],
        ["personFields" | "organizationFields", ..] => &["contact-fields:full", "admin"],
        ["dealFields", ..] if read => &["deals:read", "deals:full", "deal-fields:full", "admin"],
        ["dealFields", ..] => &["deal-fields:full", "admin"],
        ["productFields", ..] if read => &["products:read", "products:full", "product-fields:full", "admin"],
        ["productFields", ..] => &["product-fields:full", "admin"],
        ["deals" | "pipelines" | "stages", ..] if read => &["deals:read", "deals:full", "admin"],
        ["deals", ..] => &["deals:full"],
        ["pipelines" | "stages", ..] => &["admin"],
        ["notes" | "noteFields", ..] if read => &["deals:read", "deals:full", "contacts:read", "contacts:full"],
        ["notes", ..] => &["deals:full", "contacts:full"],
        ["activities" | "activityFields" | "activityTypes", ..] if read => &["activities:read", "activities:full", "admin"],
        ["activities", ..] => &["activities:full"],
        ["activityTypes", ..] => &["admin"],
        ["leads" | "leadLabels" | "leadSources" | "leadFields", ..] if read => &["leads:read", "leads:full"],
        ["leads" | "leadLabels", ..] => &["leads:full"],
        ["products", ..] if read => &["products:read", "products:full"],
        ["products", ..] => &["products:full"],
        ["users", "me"] => &[],
        ["users", ..] => &["users:read", "admin"],
        ["recents"] => &["recents:read"],
        ["webhooks", ..] if read => &["webhooks:read", "webhooks:full", "admin"],
        ["webhooks", ..] => &["webhooks:full", "admin"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every operation of the published documents that the sandbox answers.
    const PUBLISHED: &str = include_str!("costs.tsv");

    #[test]
    fn every_price_is_the_published_one() {
        let mut lines = 0;
        for line in PUBLISHED.lines() {
            let mut parts = line.split('\t');
            let (version, method, path, cost) =
                (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
            let version = if version == "v1" { Version::V1 } else { Version::V2 };
            let method: Method = method.parse().unwrap();
            let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
            assert_eq!(price(version, &method, &segments).to_string(), cost, "{line}");
            lines += 1;
        }
        assert!(lines > 100, "{lines}");
    }
}
