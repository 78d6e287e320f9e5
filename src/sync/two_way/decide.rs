//! What becomes of one record.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::error::{Result, chain};
use crate::mapping::Mode;
use crate::model::{Fields, Successor, same};
use crate::store::gone::End;
use crate::store::lanes::Answer;
use crate::store::links;
use crate::store::pending::Side;
use crate::store::salt::Salt;
use crate::sync::merge::{Fate, Flow, OnDelete, OnDeleteAndEdit, Pick, Presence, Sides, alike, merge};
use crate::sync::records::LocalWrite;
use crate::sync::references::Reference;
use crate::sync::two_way::api::TwoWay;
use crate::sync::two_way::fields::told;
use crate::sync::two_way::pair::Pair;
use crate::sync::two_way::plan::Step;

impl TwoWay {
    /// What becomes of one record.
    pub(super) async fn decide(&self, pair: &mut Pair, salt: &Salt, now: Timestamp) -> Result<()> {
        let work = &mut pair.row.work;
        // As far as it is agreed: what is known to be our own write is.
        let stored = work.stored.clone();
        let (mut agreed, mut agreed_local) = stored.as_ref().map(|base| (base.fields.clone(), base.local.clone())).unwrap_or_default();
        let mapped = match &pair.local {
            None => Fields::new(),
            Some(local) => match self.outward(&local.fields, now).await? {
                Ok(mapped) => mapped,
                Err((step, reason)) => {
                    pair.decided(step, reason);
                    return Ok(());
                }
            },
        };
        let remote = pair.remote.as_ref().map(|record| record.fields.clone()).unwrap_or_default();
        let unread = stored.as_ref().is_some_and(|base| base.source_hash.is_empty());
        for (field, value) in &remote {
            let kind = self.kind(field);
            let ours = pair.marks.get(field).is_some_and(|marks| marks.contains(&self.mark(salt, field, value)));
            let respelled = unread && agreed.get(field).is_some_and(|base| !same(base, value, &kind) && alike(base, value, &kind));
            if ours || respelled {
                if let Some(sent) = agreed.get(field).filter(|_| respelled) {
                    agreed_local.insert(field, sent.clone());
                }
                agreed.insert(field, value.clone());
                if ours {
                    agreed_local.insert(field, value.clone());
                }
            } else if let Some(said) = mapped.get(field)
                && pair.marks.get(&told(field)).is_some_and(|marks| marks.contains(&self.mark(salt, field, said)))
            {
                // The host has what it was told, and has not changed it since.
                agreed.insert(field, said.clone());
                agreed_local.remove(field);
            }
        }

        let picks: BTreeMap<String, Pick> = work
            .lane
            .answers
            .iter()
            .map(|(field, answer)| {
                let pick = match answer {
                    Answer::Local => Pick::Local,
                    Answer::Remote => Pick::Remote,
                    Answer::Value(value) => Pick::Value(value.clone()),
                };
                (field.clone(), pick)
            })
            .collect();
        let sides = Sides {
            base: &agreed,
            base_local: &agreed_local,
            local: &mapped,
            remote: &remote,
            local_at: pair.local.as_ref().and_then(|record| record.modified_at),
            remote_at: pair.remote.as_ref().and_then(|record| record.modified_at),
        };
        let merged = merge(&sides, &self.parts.policies, &picks, &|field| self.way(field), &|field| self.kind(field));
        let moved_out = merged.iter().any(|field| matches!(field.flow, Flow::Out(_) | Flow::Both(_) | Flow::Review));
        let moved_in = merged.iter().any(|field| matches!(field.flow, Flow::In(_) | Flow::Both(_) | Flow::Review));
        work.agreed = agreed;
        work.agreed_local = agreed_local;
        work.mapped = mapped;
        work.remote_fields = remote;
        work.remote_version = pair.remote.as_ref().and_then(|record| record.version.clone());

        let here = match &pair.local {
            None => Presence::Gone,
            Some(_) if moved_out => Presence::Changed,
            Some(_) => Presence::Same,
        };
        let there = match &pair.remote {
            None if pair.told_deleted => Presence::Gone,
            None => Presence::Hidden,
            Some(_) if moved_in => Presence::Changed,
            Some(_) => Presence::Same,
        };
        if !work.linked {
            match (&pair.local, &pair.remote) {
                (Some(_), Some(_)) => {}
                (Some(_), None) if pair.row.remote.is_none() && pair.tomb.is_some_and(|tomb| tomb.end.stays()) => {
                    pair.decided(Step::Skip, "it ended in the CRM and is let be here");
                    return Ok(());
                }
                // The engine looks whether the CRM has it already, with all others of its kind.
                (Some(_), None) if pair.row.remote.is_none() => return Ok(()),
                (None, Some(_)) if pair.row.local.is_none() => {
                    match pair.tomb {
                        _ if !self.goes().reads() => pair.decided(Step::Skip, "the sync rules write to the CRM only"),
                        _ if pair.successor.as_ref().is_some_and(|next| next.entity != self.parts.engine.inner.entity) => {
                            pair.decided(Step::Skip, "the CRM made a record of another kind of it");
                        }
                        Some(tomb) if tomb.end.stays() || !self.parts.rules.restore => {
                            pair.decided(Step::Skip, "it ended here and was let be there");
                        }
                        _ => self.create_local(pair, salt).await?,
                    }
                    return Ok(());
                }
                _ => {
                    pair.decided(Step::Skip, "it is gone");
                    return Ok(());
                }
            }
        }
        if pair.row.work.linked
            && let Some(next) = pair.successor.clone()
            && self.succeeded(pair, next, here).await?
        {
            return Ok(());
        }
        let fate = if pair.row.work.linked { self.parts.rules.fate(here, there) } else { Fate::Merge };
        match fate {
            Fate::Merge => self.fields(pair, merged, salt, now),
            Fate::DeleteRemote if !self.goes().writes() => pair.decided(Step::Skip, "the sync rules read from the CRM only"),
            Fate::DeleteLocal if !self.goes().reads() => pair.decided(Step::Skip, "the sync rules write to the CRM only"),
            Fate::DeleteRemote => pair.decided(Step::DeleteRemote, "the host deleted it"),
            Fate::DeleteLocal => {
                if let Some(local) = &pair.local {
                    pair.row.work.into = Some(LocalWrite::Delete { id: local.id.clone(), expected: local.version.clone() });
                }
                pair.decided(Step::DeleteLocal, "the CRM deleted it");
            }
            // A record that is gone is made again under another id: first the link goes, then it is a new record.
            Fate::CreateLocal => {
                pair.row.work.again = Some(Side::Remote);
                pair.decided(Step::Unlink, "the host deleted it and the CRM changed it: it is made again");
            }
            Fate::CreateRemote => {
                pair.row.work.again = Some(Side::Local);
                pair.decided(Step::Unlink, "the CRM deleted it and the host changed it: it is made again");
            }
            Fate::Forget => pair.decided(Step::Unlink, "it is gone on both sides"),
            Fate::LetBe => {
                pair.row.work.end = Some(End::LetBe);
                pair.decided(Step::Unlink, "it was deleted on one side and is let be on the other");
            }
            Fate::Review if there == Presence::Hidden => {
                pair.decided(Step::Review, "the CRM does not show it, and nobody told that it was deleted");
            }
            Fate::Review => pair.decided(Step::Review, "one side deleted it and the other one changed it"),
            Fate::Skip => pair.decided(Step::Skip, "nothing to do"),
        }
        Ok(())
    }

    /// A linked record that was merged or converted; false if it goes on as it is.
    async fn succeeded(&self, pair: &mut Pair, next: Successor, here: Presence) -> Result<bool> {
        let inner = &*self.parts.engine.inner;
        let rules = &self.parts.rules;
        let merged = next.entity == inner.entity;
        if merged && (pair.remote.is_some() || !pair.told_deleted) {
            return Ok(false);
        }
        let (rule, what, end) = match merged {
            true => (rules.remote_merged, format!("the CRM merged it into {}", next.id), End::Merged),
            false => (rules.remote_converted, format!("the CRM made {} {} of it", next.entity, next.id), End::Converted),
        };
        pair.row.work.end = Some(end);
        if pair.local.is_none() {
            pair.decided(Step::Unlink, format!("{what}, and it is gone here"));
            return Ok(true);
        }
        match rule {
            OnDelete::LetBe => pair.decided(Step::Unlink, format!("{what}; the host's record is let be")),
            OnDelete::Review => pair.decided(Step::Review, what),
            OnDelete::Follow => {
                let holder = match merged {
                    true => links::by_remote(self.store(), inner.connection(), &inner.entity, &[&next.id]).await?.pop().flatten(),
                    false => None,
                };
                if merged && holder.is_none() {
                    pair.row.work.relink = Some(next.id);
                    pair.row.work.again = Some(Side::Local);
                    pair.decided(Step::Relink, format!("{what}: the host's record goes on with that"));
                } else if here == Presence::Changed && rules.deleted_and_changed != OnDeleteAndEdit::DeleteWins {
                    pair.decided(Step::Review, format!("{what}, and the host changed it"));
                } else {
                    if let Some(local) = &pair.local {
                        pair.row.work.into = Some(LocalWrite::Delete { id: local.id.clone(), expected: local.version.clone() });
                    }
                    let held = holder.map(|link| format!(", which is the host's {}", link.local)).unwrap_or_default();
                    pair.decided(Step::DeleteLocal, format!("{what}{held}"));
                }
            }
        }
        Ok(true)
    }

    /// The host's record in the CRM's words, references filled in.
    pub(super) async fn outward(&self, fields: &Fields, now: Timestamp) -> Result<std::result::Result<Fields, (Step, String)>> {
        let inner = &*self.parts.engine.inner;
        let mapped = match inner.mapping.outbound_at(fields, Mode::Update, now) {
            Ok(mapped) => mapped,
            Err(error) => return Ok(Err((if error.skips_record() { Step::Skip } else { Step::Invalid }, chain(&error)))),
        };
        let mut out = mapped.fields;
        if !mapped.lookups.is_empty() {
            let (answers, _) = inner.references(&mapped.lookups).await?;
            for (lookup, answer) in mapped.lookups.iter().zip(answers) {
                match answer {
                    Reference::Known(id) => {
                        out.insert(&lookup.field, id.as_str());
                    }
                    Reference::Missing(reason) => return Ok(Err((Step::Invalid, reason))),
                    Reference::Unclear(reason) => return Ok(Err((Step::Review, reason))),
                }
            }
        }
        Ok(Ok(out))
    }
}
