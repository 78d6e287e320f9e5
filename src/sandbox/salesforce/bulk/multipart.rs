//! The one-call form of an ingest job: `multipart/form-data` with the parts `job` and `content`.

/// The boundary a `Content-Type` names.
pub(crate) fn boundary(content_type: &str) -> Option<&str> {
    let (kind, rest) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = rest.split(';').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then_some(value.trim())
    })?;
    Some(value.trim_matches('"')).filter(|value| !value.is_empty())
}

fn find(text: &str, what: &str, from: usize) -> Option<usize> {
    text.get(from..)?.find(what).map(|at| at + from)
}

/// The content of the part called `name`.
pub(crate) fn part<'a>(body: &'a str, boundary: &str, name: &str) -> Option<&'a str> {
    let mark = format!("--{boundary}");
    let mut at = body.find(&mark)? + mark.len();
    loop {
        let end = find(body, &format!("\n{mark}"), at)?;
        let whole = body.get(at..end)?;
        at = end + 1 + mark.len();
        let whole = whole.trim_start_matches([' ', '\t']);
        let whole = whole.strip_prefix("\r\n").or_else(|| whole.strip_prefix('\n'))?;
        let whole = whole.strip_suffix('\r').unwrap_or(whole);
        let (head, content) = whole.split_once("\r\n\r\n").or_else(|| whole.split_once("\n\n"))?;
        let hit = head.lines().any(|line| {
            let lower = line.to_ascii_lowercase();
            lower.starts_with("content-disposition:")
                && (lower.contains(&format!("name=\"{name}\"")) || lower.split(';').any(|part| part.trim() == format!("name={name}")))
        });
        if hit {
            return Some(content);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found() {
        let kind = "multipart/form-data; charset=utf-8; boundary=\"B\"";
        assert_eq!(boundary(kind), Some("B"));
        assert_eq!(boundary("text/csv"), None);
        let body = "--B\r\nContent-Type: application/json\r\nContent-Disposition: form-data; name=\"job\"\r\n\r\n{\"a\":1}\r\n--B\r\n\
                    Content-Disposition: form-data; name=\"content\"; filename=\"content\"\r\nContent-Type: text/csv\r\n\r\nA,B\n1,2\n\r\n--B--\r\n";
        assert_eq!(part(body, "B", "job"), Some("{\"a\":1}"));
        assert_eq!(part(body, "B", "content"), Some("A,B\n1,2\n"));
        assert_eq!(part(body, "B", "other"), None);
    }
}
