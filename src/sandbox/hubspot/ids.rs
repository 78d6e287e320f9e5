//! Ids that belong to the seed.

use sha2::{Digest, Sha256};

use crate::webhook::signature::hex;

/// A version 4 UUID; the same arguments make the same one.
pub(crate) fn uuid(seed: u64, what: &str, number: u64) -> String {
    let digest = Sha256::digest(format!("{seed}:{what}:{number}"));
    let text = hex(digest.as_slice());
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    format!("{}-{}-4{}-a{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}
