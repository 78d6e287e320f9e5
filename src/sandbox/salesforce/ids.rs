//! Salesforce record ids: 15 characters that mind their case, and the 18-character form with a checksum.

const CHECK: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The 18-character form of 15 characters.
pub(crate) fn to18(id: &str) -> String {
    let mut text = id.to_owned();
    for group in id.as_bytes().chunks(5) {
        let bits = group.iter().enumerate().filter(|(_, byte)| byte.is_ascii_uppercase()).fold(0usize, |bits, (at, _)| bits | 1 << at);
        text.push(char::from(CHECK.get(bits).copied().unwrap_or(b'A')));
    }
    text
}

/// The 18-character form of an id given as 15 or 18 characters; `None` if it is neither.
///
/// The checksum is the memory of the case: an 18-character id that lost its case gets it back.
pub(crate) fn normalize(text: &str) -> Option<String> {
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    match text.len() {
        15 => Some(to18(text)),
        18 => {
            let (id, check) = text.split_at_checked(15)?;
            let mut restored = String::with_capacity(18);
            for (group, check) in id.as_bytes().chunks(5).zip(check.bytes()) {
                let bits = CHECK.iter().position(|known| *known == check.to_ascii_uppercase())?;
                for (at, byte) in group.iter().enumerate() {
                    let upper = bits & (1 << at) != 0;
                    if upper && !byte.is_ascii_alphabetic() {
                        return None;
                    }
                    restored.push(char::from(if upper { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() }));
                }
            }
            Some(to18(&restored))
        }
        _ => None,
    }
}

/// The id number `number` of an org, in 18 characters. Ids of one prefix sort in the order of their numbers.
pub(crate) fn make(prefix: &str, seed: u64, number: u64) -> String {
    let mut id = String::with_capacity(18);
    id.push_str(prefix);
    id.push(digit(10 + seed % 26));
    id.push(digit(36 + (seed / 26) % 26));
    id.push('0');
    let mut tail = [b'0'; 9];
    let mut rest = number;
    for slot in tail.iter_mut().rev() {
        *slot = DIGITS.get(usize::try_from(rest % 62).unwrap_or(0)).copied().unwrap_or(b'0');
        rest /= 62;
    }
    id.extend(tail.iter().map(|byte| char::from(*byte)));
    to18(&id)
}

fn digit(at: u64) -> char {
    char::from(DIGITS.get(usize::try_from(at).unwrap_or(0)).copied().unwrap_or(b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_match_the_documented_ones() {
        for id in ["001D000000Kv3g5IAB", "003D000000QV9n2IAD", "0015f00002J9YYEAA3", "001ZM000001n4n5YAA", "00QAb00000Xy12ZMAR"] {
            assert_eq!(to18(&id[..15]), id);
            assert_eq!(normalize(id).as_deref(), Some(id));
            assert_eq!(normalize(&id.to_lowercase()).as_deref(), Some(id));
            assert_eq!(normalize(&id[..15]).as_deref(), Some(id));
        }
        assert_eq!(to18("000000000000000"), "000000000000000AAA");
        assert_eq!(normalize("001D000000Kv3g5"), normalize("001D000000Kv3g5IAB"));
        assert_eq!(normalize("not-an-id-at-all"), None);
        assert_eq!(normalize("0010000000000009ZZ"), None);
    }

    #[test]
    fn made_ids_are_valid_and_sorted() {
        let (a, b) = (make("00Q", 7, 61), make("00Q", 7, 62));
        assert!(a < b);
        assert_eq!(normalize(&a).as_deref(), Some(a.as_str()));
        assert_eq!(a.len(), 18);
    }
}
