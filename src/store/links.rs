//! Which record of the host is which record of the CRM.
//!
//! A link is unique both ways within `(connection, entity)`: one host record has one CRM record and the other way round. Two
//! rows keep it, one per direction, always written together.

use crate::error::{Error, Result, Retry};
use crate::model::{Entity, Link, RecordId};
use crate::store::api::Store;
use crate::store::batch::{Batch, Conflict, Row};
use crate::store::ext::StoreExt;
use crate::store::key::{Family, Key};
use crate::store::value::{decode, encode};

const FORMAT: u32 = 1;

/// Adds a new link. The commit is refused with a conflict if either end is linked already, even to the same other end.
///
/// # Errors
/// [`crate::error::ErrorKind::Conflict`] if the batch itself links either end already.
pub fn put(batch: &mut Batch, connection: &str, link: &Link) -> Result<()> {
    let (local, remote) = (local_key(connection, &link.entity, &link.local), remote_key(connection, &link.entity, link.remote.as_str()));
    if batch.requires_absent(&remote) {
        return Err(Conflict::new(remote).into_error("the batch links it twice"));
    }
    let forward = encode(&local, FORMAT, link.remote.as_str())?;
    let back = encode(&remote, FORMAT, &link.local)?;
    batch.insert(local, forward)?.insert(remote, back)?;
    Ok(())
}

/// Removes both directions of `link`, which must be the link as it stands: see [`unlink`] if it may have changed.
pub fn remove(batch: &mut Batch, connection: &str, link: &Link) {
    batch.delete(local_key(connection, &link.entity, &link.local)).delete(remote_key(connection, &link.entity, link.remote.as_str()));
}

/// The links of host records, in the order of `locals`.
///
/// # Errors
/// [`crate::error::ErrorKind::Store`] if the store fails or a row cannot be read.
pub async fn by_local(store: &dyn Store, connection: &str, entity: &Entity, locals: &[&str]) -> Result<Vec<Option<Link>>> {
    let keys: Vec<Key> = locals.iter().map(|local| local_key(connection, entity, local)).collect();
    let rows = store.load_many(&keys).await?;
    keys.iter()
        .zip(locals)
        .zip(rows)
        .map(|((key, local), row)| {
            let Some(row) = row else { return Ok(None) };
            Ok(Some(Link {
                local: (*local).to_owned(),
                entity: entity.clone(),
                remote: RecordId::new(decode::<String>(key, FORMAT, &row)?),
            }))
        })
        .collect()
}

/// The links of CRM records, in the order of `remotes`.
///
/// # Errors
/// As [`by_local`].
pub async fn by_remote(store: &dyn Store, connection: &str, entity: &Entity, remotes: &[&RecordId]) -> Result<Vec<Option<Link>>> {
    let keys: Vec<Key> = remotes.iter().map(|remote| remote_key(connection, entity, remote.as_str())).collect();
    let rows = store.load_many(&keys).await?;
    keys.iter()
        .zip(remotes)
        .zip(rows)
        .map(|((key, remote), row)| {
            let Some(row) = row else { return Ok(None) };
            Ok(Some(Link { local: decode(key, FORMAT, &row)?, entity: entity.clone(), remote: (*remote).clone() }))
        })
        .collect()
}

/// Every link of an entity, in the order of the encoded host ids.
///
/// # Errors
/// As [`by_local`].
pub async fn all(store: &dyn Store, connection: &str, entity: &Entity) -> Result<Vec<Link>> {
    let rows = store.scan_all(&Key::new(Family::Links, &[connection, entity.as_str()])).await?;
    rows.iter()
        .map(|(key, row)| {
            let local = key
                .parts()
                .and_then(|mut parts| parts.pop())
                .ok_or_else(|| Error::store(format!("the key {key} is not one of this library's")).retrying(Retry::Never))?;
            Ok(Link { local, entity: entity.clone(), remote: RecordId::new(decode::<String>(key, FORMAT, row)?) })
        })
        .collect()
}

/// Points a host record to another CRM record (after a merge in the CRM), or makes the link if there is none. A link that
/// held the new CRM record before is dissolved. The commit is refused if any of these links changes in between.
///
/// # Errors
/// As [`by_local`]; [`crate::error::ErrorKind::Conflict`] if the batch links either end already.
pub async fn relink(store: &dyn Store, batch: &mut Batch, connection: &str, link: &Link) -> Result<()> {
    let local = local_key(connection, &link.entity, &link.local);
    let remote = remote_key(connection, &link.entity, link.remote.as_str());
    if let Some(key) = [&local, &remote].into_iter().find(|key| batch.requires_absent(key)) {
        return Err(Conflict::new(key.clone()).into_error("the batch links it twice"));
    }
    let mut rows = store.load_many(&[local.clone(), remote.clone()]).await?.into_iter();
    let (forward, back) = (rows.next().flatten(), rows.next().flatten());
    guard(batch, &local, forward.as_ref());
    guard(batch, &remote, back.as_ref());
    if let Some(row) = &forward {
        let old = decode::<String>(&local, FORMAT, row)?;
        if old != link.remote.as_str() {
            batch.delete(remote_key(connection, &link.entity, &old));
        }
    }
    if let Some(row) = &back {
        let old = decode::<String>(&remote, FORMAT, row)?;
        if old != link.local {
            batch.delete(local_key(connection, &link.entity, &old));
        }
    }
    let (to, from) = (encode(&local, FORMAT, link.remote.as_str())?, encode(&remote, FORMAT, &link.local)?);
    batch.put(local, to).put(remote, from);
    Ok(())
}

/// Removes the links of host records, whatever they point to, and answers those that stood. The commit is refused if one of
/// them changes in between.
///
/// # Errors
/// As [`by_local`].
pub async fn unlink(store: &dyn Store, batch: &mut Batch, connection: &str, entity: &Entity, locals: &[&str]) -> Result<Vec<Link>> {
    let keys: Vec<Key> = locals.iter().map(|local| local_key(connection, entity, local)).collect();
    let rows = store.load_many(&keys).await?;
    let mut removed = Vec::new();
    for ((key, local), row) in keys.into_iter().zip(locals).zip(rows) {
        let Some(row) = row else { continue };
        let link =
            Link { local: (*local).to_owned(), entity: entity.clone(), remote: RecordId::new(decode::<String>(&key, FORMAT, &row)?) };
        batch.require_version(key, row.version);
        remove(batch, connection, &link);
        removed.push(link);
    }
    Ok(removed)
}

fn guard(batch: &mut Batch, key: &Key, row: Option<&Row>) {
    match row {
        Some(row) => batch.require_version(key.clone(), row.version),
        None => batch.require_absent(key.clone()),
    };
}

fn local_key(connection: &str, entity: &Entity, local: &str) -> Key {
    Key::new(Family::Links, &[connection, entity.as_str(), local])
}

fn remote_key(connection: &str, entity: &Entity, remote: &str) -> Key {
    Key::new(Family::LinksByRemote, &[connection, entity.as_str(), remote])
}
