//! Webhook events that were seen, so that a repeated delivery does nothing.

use jiff::Timestamp;

use crate::error::Result;
use crate::model::EventId;
use crate::store::api::Store;
use crate::store::batch::Batch;
use crate::store::key::{Family, Key};

/// Notes an event as seen until `until` (store time), in the same commit as what it led to. The commit is refused with a
/// conflict if it was seen before. Keep it for longer than the sender repeats deliveries.
///
/// # Errors
/// [`crate::error::ErrorKind::Conflict`] if the batch holds the event already.
pub fn admit(batch: &mut Batch, connection: &str, event: &EventId, until: Timestamp) -> Result<()> {
    let key = key(connection, event);
    batch.insert_until(key, "1", until)?;
    Ok(())
}

/// Which events were seen, in the order of `events`.
///
/// # Errors
/// [`crate::error::ErrorKind::Store`] if the store fails.
pub async fn seen(store: &dyn Store, connection: &str, events: &[&EventId]) -> Result<Vec<bool>> {
    let keys: Vec<Key> = events.iter().map(|event| key(connection, event)).collect();
    Ok(store.load_many(&keys).await?.iter().map(Option::is_some).collect())
}

fn key(connection: &str, event: &EventId) -> Key {
    Key::new(Family::Inbox, &[connection, event.as_str()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::host::Host;
    use crate::store::memory::MemoryStore;
    use std::time::Duration;

    #[tokio::test]
    async fn an_event_is_admitted_once_until_it_is_forgotten() {
        let (host, clock) = Host::manual_with_clock(1);
        let store = MemoryStore::new(host.clone());
        let (one, two) = (EventId::new("e/1"), EventId::new("e/2"));
        let admitting = |events: &[&EventId]| {
            let mut batch = Batch::new();
            let filled: Result<()> =
                events.iter().try_for_each(|event| admit(&mut batch, "acme", event, host.now() + Duration::from_secs(60)));
            filled.map(|()| batch)
        };
        store.commit(admitting(&[&one]).unwrap()).await.unwrap();
        assert_eq!(store.commit(admitting(&[&two, &one]).unwrap()).await.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(admitting(&[&two, &two]).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(seen(&store, "acme", &[&two, &one]).await.unwrap(), [false, true]);
        assert_eq!(seen(&store, "beta", &[&one]).await.unwrap(), [false]);
        clock.advance(Duration::from_secs(60));
        store.commit(admitting(&[&one]).unwrap()).await.unwrap();
    }
}
