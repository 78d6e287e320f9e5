//! The form of an e-mail address: what no CRM takes is found before it is sent.
//!
//! Not the whole of RFC 5321: no address literals (`ann@[192.0.2.1]`), no hosts without a dot, which CRMs refuse as well.
//! Letters outside of ASCII are allowed on both sides. Whether the mailbox exists is not asked.

/// What is wrong with an address, without the address; `None` if nothing is.
pub(crate) fn fault(text: &str) -> Option<&'static str> {
    if text.chars().any(char::is_control) {
        return Some("it contains a control character");
    }
    let (local, domain) = match text.strip_prefix('"') {
        Some(rest) => {
            let Some((quoted, rest)) = quoted(rest) else { return Some("the quote before the `@` is not closed") };
            if quoted.is_empty() {
                return Some("nothing stands before the `@`");
            }
            let Some(domain) = rest.strip_prefix('@') else { return Some("after the quoted part an `@` must follow") };
            (None, domain)
        }
        None => {
            let Some((local, domain)) = text.split_once('@') else { return Some("it has no `@`") };
            (Some(local), domain)
        }
    };
    if domain.contains('@') {
        return Some("it has more than one `@`");
    }
    local.and_then(local_fault).or_else(|| domain_fault(domain))
}

/// Cuts after the closing quote; a backslash takes the next character with it.
fn quoted(rest: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some((rest.get(..at)?, rest.get(at + 1..)?)),
            _ => {}
        }
    }
    None
}

/// A dot-atom: words of letters, digits and ``!#$%&'*+-/=?^_`{|}~``, with single dots between them.
fn local_fault(local: &str) -> Option<&'static str> {
    if local.is_empty() {
        return Some("nothing stands before the `@`");
    }
    if local.starts_with('.') || local.ends_with('.') {
        return Some("the part before the `@` begins or ends with a dot");
    }
    if local.contains("..") {
        return Some("the part before the `@` has two dots in a row");
    }
    if local.contains(char::is_whitespace) {
        return Some("it contains white space");
    }
    let fits = |c: char| if c.is_ascii() { c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c) } else { true };
    if !local.chars().all(fits) {
        return Some("the part before the `@` has a character that stands there in quotes only");
    }
    None
}

fn domain_fault(domain: &str) -> Option<&'static str> {
    if domain.is_empty() {
        return Some("nothing stands after the `@`");
    }
    if domain.contains(char::is_whitespace) {
        return Some("it contains white space");
    }
    if !domain.contains('.') {
        return Some("the domain has no dot");
    }
    for label in domain.split('.') {
        if label.is_empty() {
            return Some("the domain begins or ends with a dot or has two in a row");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Some("a part of the domain begins or ends with `-`");
        }
        if !label.chars().all(|c| !c.is_ascii() || c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            return Some("the domain has a character that no domain has");
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good() {
        for text in [
            "ann@example.com",
            "ANN.Smith+news@mail.example.co.uk",
            "o'brien@example.ie",
            "!#$%&'*+-/=?^_`{|}~@example.com",
            "a@b.c",
            "1@2.3",
            "jörg@müller.de",
            "用户@例子.公司",
            "\"ann smith\"@example.com",
            "\"a@b\"@example.com",
            "\"..\"@example.com",
            "\"a\\\"b\"@example.com",
            "x@xn--mller-kva.de",
            "x@a-b.c-d.example",
            "x@under_score.example.com",
        ] {
            assert_eq!(fault(text), None, "{text}");
        }
    }

    #[test]
    fn bad() {
        for (text, wanted) in [
            ("", "no `@`"),
            ("ann", "no `@`"),
            ("ann.example.com", "no `@`"),
            ("@example.com", "before"),
            ("\"\"@example.com", "before"),
            ("ann@", "after"),
            ("a@b@c.com", "more than one"),
            ("a@@c.com", "more than one"),
            ("\"a\"@b@c.com", "more than one"),
            ("a@b.com; c@d.com", "more than one"),
            ("a b@c.com", "white space"),
            ("a@c .com", "white space"),
            ("a@c.com d", "white space"),
            ("a\u{a0}b@c.com", "white space"),
            ("a\tb@c.com", "control"),
            ("a\r\nBcc: x@c.com", "control"),
            (".a@c.com", "begins or ends with a dot"),
            ("a.@c.com", "begins or ends with a dot"),
            ("k..c@x.com", "two dots"),
            ("a,b@c.com", "quotes only"),
            ("<a@c.com>", "quotes only"),
            ("a(b)@c.com", "quotes only"),
            ("a\"b@c.com", "quotes only"),
            ("\"ab@c.com", "not closed"),
            ("\"a\\\"@c.com", "not closed"),
            ("\"a\"b@c.com", "must follow"),
            ("a@webde", "no dot"),
            ("a@localhost", "no dot"),
            ("j@hotmail.co..uk", "two in a row"),
            ("a@.com", "begins or ends with a dot"),
            ("a@c.com.", "begins or ends with a dot"),
            ("a@-c.com", "`-`"),
            ("a@c-.com", "`-`"),
            ("a@c.-com", "`-`"),
            ("a@c,com.de", "no domain has"),
            ("a@[192.0.2.1]", "no domain has"),
            ("a@c.com>", "no domain has"),
        ] {
            let fault = fault(text).unwrap_or_default();
            assert!(fault.contains(wanted), "{text:?}: {fault:?}");
        }
    }
}
