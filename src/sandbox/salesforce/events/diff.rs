//! Changes of long texts.

use sha2::{Digest, Sha256};

/// A unified diff from `old` to `new` under the SHA-256 of `new`, for texts of a thousand characters and more; `None` if the
/// text is short or the diff is no shorter than it (Change Data Capture Developer Guide, large text fields).
pub(crate) fn unified(old: &str, new: &str) -> Option<String> {
    if old.chars().count() < 1000 || new.chars().count() < 1000 {
        return None;
    }
    let (before, after): (Vec<&str>, Vec<&str>) = (old.split('\n').collect(), new.split('\n').collect());
    let head = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let most = before.len().min(after.len()) - head;
    let tail = before.iter().rev().zip(after.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let gone = before.get(head..before.len() - tail)?;
    let come = after.get(head..after.len() - tail)?;
    let start = |count: usize| if count == 0 { head } else { head + 1 };
    let hash: String = Sha256::digest(new).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut text = format!("--- \n+++ {hash}\n@@ -{},{} +{},{} @@\n", start(gone.len()), gone.len(), start(come.len()), come.len());
    for (sign, lines) in [('-', gone), ('+', come)] {
        for line in lines {
            text.push(sign);
            text.push_str(line);
            text.push('\n');
        }
    }
    (text.len() < new.len()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_texts_that_gain_by_it() {
        let old: String = (0..200).map(|at| format!("line {at}\n")).collect();
        let new = old.replace("line 100\n", "another\nand more\n");
        let diff = unified(&old, &new).unwrap();
        assert!(diff.starts_with("--- \n+++ "));
        assert!(diff.contains("\n@@ -101,1 +101,2 @@\n-line 100\n+another\n+and more\n"));
        assert_eq!(diff.lines().nth(1).unwrap().len(), 4 + 64);
        assert!(unified("short", &new).is_none());
        assert!(unified(&old, &"x".repeat(1500)).is_none());
    }
}
