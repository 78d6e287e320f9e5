//! The secret of a store: hashes of personal values that are made with it cannot be found again by trying likely values elsewhere.

use sha2::{Digest, Sha256};

use crate::error::{ErrorKind, Result};
use crate::host::Host;
use crate::store::api::Store;
use crate::store::batch::Batch;
use crate::store::key::{Family, Key};
use crate::store::value::{decode, encode};

const FORMAT: u32 = 1;

/// Makes hashes. Whoever has the store has the salt: it protects what leaves the store, not the store.
#[derive(Clone)]
pub(crate) struct Salt(String);

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt(_)")
    }
}

impl Salt {
    /// 128 bits of the parts, as hexadecimal digits.
    pub(crate) fn hash(&self, parts: &[&str]) -> String {
        let mut hash = Sha256::new();
        for part in std::iter::once(self.0.as_str()).chain(parts.iter().copied()) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The salt of a connection, made at first use.
pub(crate) async fn of(store: &dyn Store, host: &Host, connection: &str) -> Result<Salt> {
    let key = Key::new(Family::Gone, &["salt", connection]);
    loop {
        if let Some(row) = store.load(&key).await? {
            return Ok(Salt(decode(&key, FORMAT, &row)?));
        }
        let mut bytes = [0; 32];
        host.fill(&mut bytes);
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut batch = Batch::new();
        batch.insert(key.clone(), encode(&key, FORMAT, &text)?)?;
        match store.commit(batch).await {
            Ok(_) => return Ok(Salt(text)),
            // Somebody else made one just now.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
}
