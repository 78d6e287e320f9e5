//! How far a reader has come.
//!
//! A cursor is moved in the same commit as what was read under it, and only by the one who loaded it: two readers of one feed
//! cannot both move it, and a slow one cannot set it back.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::store::api::Store;
use crate::store::batch::Batch;
use crate::store::key::{Family, Key};
use crate::store::value::{decode, encode};

const FORMAT: u32 = 1;

/// A stored position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor<T> {
    /// Where the reader is; its form is the reader's own.
    pub position: T,
    /// Which writing of the cursor this is; grows with each.
    pub generation: u64,
}

/// The cursor of the feed `feed` (for instance `Lead/changes`); `None` before the first move.
///
/// # Errors
/// [`crate::error::ErrorKind::Store`] if the store fails or the position does not fit `T`.
pub async fn load<T: DeserializeOwned>(store: &dyn Store, connection: &str, feed: &str) -> Result<Option<Cursor<T>>> {
    let key = key(connection, feed);
    let Some(row) = store.load(&key).await? else { return Ok(None) };
    Ok(Some(Cursor { position: decode(&key, FORMAT, &row)?, generation: row.version }))
}

/// Moves the cursor to `position`. `expected` is the generation that was loaded, `None` if there was no cursor; the commit is
/// refused with a conflict if somebody moved it in between.
///
/// # Errors
/// [`crate::error::ErrorKind::Internal`] if the position does not serialise.
pub fn advance<T: Serialize>(batch: &mut Batch, connection: &str, feed: &str, expected: Option<u64>, position: &T) -> Result<()> {
    let key = key(connection, feed);
    match expected {
        Some(generation) => batch.require_version(key.clone(), generation),
        None => batch.require_absent(key.clone()),
    };
    let value = encode(&key, FORMAT, position)?;
    batch.put(key, value);
    Ok(())
}

/// Forgets the cursor: the next reader begins anew.
pub fn reset(batch: &mut Batch, connection: &str, feed: &str) {
    batch.delete(key(connection, feed));
}

fn key(connection: &str, feed: &str) -> Key {
    Key::new(Family::Cursors, &[connection, feed])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::host::Host;
    use crate::store::memory::MemoryStore;
    use futures_util::FutureExt;

    #[test]
    fn a_slow_reader_cannot_set_it_back() {
        let store = MemoryStore::new(Host::manual(1));
        let loaded = || load::<u32>(&store, "acme", "Lead").now_or_never().unwrap().unwrap();
        let moved = |expected, position: u32| {
            let mut batch = Batch::new();
            advance(&mut batch, "acme", "Lead", expected, &position).unwrap();
            store.commit(batch).now_or_never().unwrap()
        };
        assert_eq!(loaded(), None);
        moved(None, 10).unwrap();
        let slow = loaded().unwrap();
        moved(Some(slow.generation), 20).unwrap();
        assert_eq!(moved(Some(slow.generation), 15).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(moved(None, 1).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(loaded().unwrap().position, 20);
        let mut batch = Batch::new();
        reset(&mut batch, "acme", "Lead");
        store.commit(batch).now_or_never().unwrap().unwrap();
        assert_eq!(loaded(), None);
    }
}
