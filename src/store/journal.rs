//! What was done, for a person who asks later. It holds names of operations and outcomes, never the fields of a record.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::{Entity, RecordId};
use crate::store::api::Store;
use crate::store::batch::Batch;
use crate::store::key::{Family, Key};
use crate::store::value::{decode, encode};

const FORMAT: u32 = 1;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was done.
    pub at: Timestamp,
    /// The entity concerned, if one was.
    pub entity: Option<Entity>,
    /// The CRM's id of the record, if one record was concerned.
    pub record: Option<RecordId>,
    /// What was done: `create`, `pull`, `token_refresh`, ...
    pub operation: String,
    /// How it ended: `ok`, or the kind of the error.
    pub status: String,
    /// How long it took, in microseconds.
    pub duration_us: u64,
}

/// Adds a line. `id` tells lines of one microsecond apart (see [`crate::host::Host::new_id`]); after `keep` from `entry.at`
/// on the line is forgotten, `None` keeps it for ever.
///
/// # Errors
/// [`crate::error::ErrorKind::Internal`] if it does not serialise.
pub fn append(batch: &mut Batch, connection: &str, id: &str, entry: &Entry, keep: Option<Duration>) -> Result<()> {
    let key = Key::new(Family::Journal, &[connection, &moment(entry.at), id]);
    let value = encode(&key, FORMAT, entry)?;
    match keep {
        Some(keep) => batch.put_until(key, value, entry.at.checked_add(keep).unwrap_or(Timestamp::MAX)),
        None => batch.put(key, value),
    };
    Ok(())
}

/// At most `limit` lines from `since` on, the oldest first.
///
/// # Errors
/// [`crate::error::ErrorKind::Store`] if the store fails or a line cannot be read.
pub async fn since(store: &dyn Store, connection: &str, since: Timestamp, limit: usize) -> Result<Vec<Entry>> {
    let prefix = Key::new(Family::Journal, &[connection]);
    let rows = store.scan(&prefix, Some(&prefix.child(&moment(since))), limit).await?;
    rows.iter().map(|(key, row)| decode(key, FORMAT, row)).collect()
}

/// A page of at most `limit` lines from `since` on that stand behind the line `after`, each with its key; fewer mean that there
/// are no more.
///
/// # Errors
/// As [`since`].
pub async fn page(store: &dyn Store, connection: &str, since: Timestamp, after: Option<&Key>, limit: usize) -> Result<Vec<(Key, Entry)>> {
    let prefix = Key::new(Family::Journal, &[connection]);
    let start = prefix.child(&moment(since));
    let rows = store.scan(&prefix, Some(after.unwrap_or(&start)), limit).await?;
    rows.into_iter()
        .map(|(key, row)| {
            let entry = decode(&key, FORMAT, &row)?;
            Ok((key, entry))
        })
        .collect()
}

/// The time as a text that is ordered as the times are: microseconds since the year -9999, with leading zeros.
fn moment(at: Timestamp) -> String {
    format!("{:018}", at.as_microsecond().saturating_sub(Timestamp::MIN.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn lines_come_back_in_order_and_are_forgotten() {
        let (host, clock) = Host::manual_with_clock(1);
        let store = MemoryStore::new(host.clone());
        let start = host.now();
        let entry = |seconds: u64| Entry {
            at: start + Duration::from_secs(seconds),
            entity: Some(Entity::from_static("Lead")),
            record: None,
            operation: "create".to_owned(),
            status: "ok".to_owned(),
            duration_us: seconds,
        };
        let mut batch = Batch::new();
        for seconds in [30, 5, 10, 20] {
            append(&mut batch, "acme", &seconds.to_string(), &entry(seconds), Some(Duration::from_secs(60))).unwrap();
        }
        append(&mut batch, "acme", "5b", &entry(5), None).unwrap();
        append(&mut batch, "beta", "1", &entry(10), None).unwrap();
        store.commit(batch).await.unwrap();
        let found = |from: u64, limit| {
            let store = &store;
            async move {
                let entries = since(store, "acme", start + Duration::from_secs(from), limit).await.unwrap();
                entries.into_iter().map(|entry| entry.duration_us).collect::<Vec<_>>()
            }
        };
        assert_eq!(found(0, 100).await, [5, 5, 10, 20, 30]);
        assert_eq!(found(10, 2).await, [10, 20]);
        clock.advance(Duration::from_secs(75));
        assert_eq!(found(0, 100).await, [5, 20, 30]);
    }

    #[test]
    fn moments_are_ordered_as_times_are() {
        let mut times = [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX, Timestamp::from_microsecond(-1).unwrap()].map(moment);
        times.sort();
        assert_eq!(times.each_ref().map(|text| text.len()), [18; 4]);
        assert_eq!(times, [Timestamp::MIN, Timestamp::from_microsecond(-1).unwrap(), Timestamp::UNIX_EPOCH, Timestamp::MAX].map(moment));
    }
}
