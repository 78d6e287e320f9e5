//! Three sides of a record, field by field: what was agreed, what the host says now, what the CRM says now. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::mapping::{Direction, Owner};
use crate::model::{Canon, FieldType, Fields, Value, canon, same};

/// What a closure is asked: both sides changed a field.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Conflict<'a> {
    /// The field, in the CRM's spelling.
    pub field: &'a str,
    /// What was agreed; `None` for records that were never in step.
    pub base: Option<&'a Value>,
    /// The host's value, as the CRM would have it.
    pub local: &'a Value,
    /// The CRM's value.
    pub remote: &'a Value,
    /// When the host's record was changed last.
    pub local_at: Option<Timestamp>,
    /// When the CRM's record was changed last.
    pub remote_at: Option<Timestamp>,
}

/// How a conflict ends.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Pick {
    /// The host's value goes to the CRM.
    Local,
    /// The CRM's value goes to the host.
    Remote,
    /// A person decides; both sides stay as they are.
    Review,
    /// This value, in the CRM's words, goes to both.
    Value(Value),
}

/// A host's own rule for conflicts.
pub type Chooser = Arc<dyn Fn(&Conflict<'_>) -> Pick + Send + Sync>;

/// Who wins where both sides changed a field.
#[derive(Clone)]
#[non_exhaustive]
pub enum Policy {
    /// The host.
    Local,
    /// The side whose record was changed later; a person, if the times do not tell.
    Newest,
    /// The CRM.
    Remote,
    /// A person.
    Review,
    /// A closure.
    With(Chooser),
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "Local",
            Self::Newest => "Newest",
            Self::Remote => "Remote",
            Self::Review => "Review",
            Self::With(_) => "With(_)",
        })
    }
}

impl From<Owner> for Policy {
    fn from(owner: Owner) -> Self {
        match owner {
            Owner::Latest => Self::Newest,
            Owner::Ours => Self::Local,
            Owner::Theirs => Self::Remote,
        }
    }
}

impl Policy {
    fn pick(&self, conflict: &Conflict<'_>) -> Pick {
        match self {
            Self::Local => Pick::Local,
            Self::Remote => Pick::Remote,
            Self::Review => Pick::Review,
            Self::With(choose) => choose(conflict),
            Self::Newest => match (conflict.local_at, conflict.remote_at) {
                (Some(local), Some(remote)) if local > remote => Pick::Local,
                (Some(local), Some(remote)) if local < remote => Pick::Remote,
                _ => Pick::Review,
            },
        }
    }
}

/// A policy for all fields, and others for some.
#[derive(Clone, Debug)]
pub struct Policies {
    /// For fields that have none of their own.
    pub default: Policy,
    /// By the CRM's field names.
    pub fields: BTreeMap<String, Policy>,
}

impl Policies {
    /// One policy for all fields.
    pub fn all(default: Policy) -> Self {
        Self { default, fields: BTreeMap::new() }
    }

    fn of(&self, field: &str) -> &Policy {
        self.fields.get(field).unwrap_or(&self.default)
    }
}

/// Three sides of one record, in the CRM's words.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Sides<'a> {
    /// What the CRM had when both were in step.
    pub base: &'a Fields,
    /// What the host had then, where the CRM keeps another form of it.
    pub base_local: &'a Fields,
    /// What the host says now; absent fields say nothing.
    pub local: &'a Fields,
    /// What the CRM says now; absent fields were not read.
    pub remote: &'a Fields,
    /// When the host's record was changed last.
    pub local_at: Option<Timestamp>,
    /// When the CRM's record was changed last.
    pub remote_at: Option<Timestamp>,
}

impl<'a> Sides<'a> {
    /// Sides without times.
    pub fn new(base: &'a Fields, base_local: &'a Fields, local: &'a Fields, remote: &'a Fields) -> Self {
        Self { base, base_local, local, remote, local_at: None, remote_at: None }
    }
}

/// Field names only.
impl fmt::Debug for Sides<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sides").field("local", self.local).field("remote", self.remote).finish_non_exhaustive()
    }
}

/// Where a field's value goes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Flow {
    /// Both sides mean the same.
    Agreed,
    /// Nowhere: nothing changed, or the mapping does not carry it that way.
    Stay,
    /// To the CRM.
    Out(Value),
    /// To the host.
    In(Value),
    /// To both.
    Both(Value),
    /// Nowhere until a person has decided.
    Review,
}

/// One field of a merged record.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// The field, in the CRM's spelling.
    pub field: String,
    /// Where its value goes.
    pub flow: Flow,
    /// Both sides changed it to different values.
    pub conflict: bool,
}

/// Merges one record. `way` tells which way the mapping carries a field, `None` for those it does not carry; `picks` are answers
/// that were given already.
///
/// | since it was agreed | host the same | host changed |
/// | --- | --- | --- |
/// | CRM the same | stays | goes out |
/// | CRM changed | comes in | agreed if both mean the same, else a conflict |
///
/// A field that was never agreed on fills the side that is empty, and is a conflict if both have something else.
pub fn merge(
    sides: &Sides<'_>,
    policies: &Policies,
    picks: &BTreeMap<String, Pick>,
    way: &dyn Fn(&str) -> Option<Direction>,
    kind: &dyn Fn(&str) -> FieldType,
) -> Vec<Merged> {
    let names: BTreeSet<&str> = sides.local.names().chain(sides.remote.names()).collect();
    let mut merged = Vec::new();
    for field in names {
        let Some(way) = way(field) else { continue };
        let kind = kind(field);
        let (mut flow, conflict) = one(field, sides, &kind, |conflict| match picks.get(field) {
            Some(pick) => pick.clone(),
            None => policies.of(field).pick(conflict),
        });
        flow = match (way, flow) {
            (Direction::Out, Flow::In(_)) | (Direction::In, Flow::Out(_)) => Flow::Stay,
            (Direction::Out, Flow::Both(value)) => Flow::Out(value),
            (Direction::In, Flow::Both(value)) => Flow::In(value),
            (_, flow) => flow,
        };
        // What goes one way only cannot be in conflict: it belongs to where it comes from.
        if conflict && way != Direction::Both {
            flow = match (way, sides.local.get(field), sides.remote.get(field)) {
                (Direction::Out, Some(local), _) => Flow::Out(local.clone()),
                (_, _, Some(remote)) => Flow::In(remote.clone()),
                _ => Flow::Stay,
            };
        }
        merged.push(Merged { field: field.to_owned(), flow, conflict: conflict && way == Direction::Both });
    }
    merged
}

fn one(field: &str, sides: &Sides<'_>, kind: &FieldType, pick: impl Fn(&Conflict<'_>) -> Pick) -> (Flow, bool) {
    let base = sides.base.get(field);
    let said = sides.base_local.get(field).or(base);
    let empty = |value: &Value| canon(value, kind) == Canon::Null;
    let (local, remote) = match (sides.local.get(field), sides.remote.get(field)) {
        (None, None) => return (Flow::Stay, false),
        (Some(local), None) => {
            let changed = said.map_or_else(|| !empty(local), |said| !same(local, said, kind));
            return (if changed { Flow::Out(local.clone()) } else { Flow::Stay }, false);
        }
        (None, Some(remote)) => {
            let changed = base.map_or_else(|| !empty(remote), |base| !same(remote, base, kind));
            return (if changed { Flow::In(remote.clone()) } else { Flow::Stay }, false);
        }
        (Some(local), Some(remote)) => (local, remote),
    };
    if same(local, remote, kind) {
        return (Flow::Agreed, false);
    }
    let (here, there) = match (base, said) {
        (Some(base), Some(said)) => (!same(local, said, kind), !same(remote, base, kind)),
        _ => (!empty(local), !empty(remote)),
    };
    match (here, there) {
        (false, false) => (Flow::Agreed, false),
        (true, false) => (Flow::Out(local.clone()), false),
        (false, true) => (Flow::In(remote.clone()), false),
        (true, true) if alike(local, remote, kind) => (Flow::Agreed, false),
        (true, true) => {
            let conflict = Conflict { field, base, local, remote, local_at: sides.local_at, remote_at: sides.remote_at };
            let flow = match pick(&conflict) {
                Pick::Local => Flow::Out(local.clone()),
                Pick::Remote => Flow::In(remote.clone()),
                Pick::Review => Flow::Review,
                Pick::Value(value) if same(&value, local, kind) => Flow::Out(value),
                Pick::Value(value) if same(&value, remote, kind) => Flow::In(value),
                Pick::Value(value) => Flow::Both(value),
            };
            (flow, true)
        }
    }
}

/// Whether one value is the other in another spelling: a CRM stores numbers of phones as digits, texts in capitals or trimmed.
/// That is no change of anybody.
pub fn alike(a: &Value, b: &Value, kind: &FieldType) -> bool {
    same(a, b, kind) || spelling(a, kind) == spelling(b, kind)
}

/// Equal for values that are [`alike`].
pub(crate) fn spelling(value: &Value, kind: &FieldType) -> String {
    match canon(value, kind) {
        Canon::Text(text) => {
            let plain: String = text.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect();
            let plain = if *kind == FieldType::Phone { plain.chars().filter(char::is_ascii_digit).collect() } else { plain };
            if plain.is_empty() { text } else { plain }
        }
        other => format!("{other:?}"),
    }
}

/// What becomes of a record, before its fields are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// Make it in the CRM.
    CreateRemote,
    /// Make it in the host.
    CreateLocal,
    /// Compare the fields.
    Merge,
    /// Delete it in the CRM.
    DeleteRemote,
    /// Delete it in the host.
    DeleteLocal,
    /// Forget the link: it is gone on both sides.
    Forget,
    /// Forget the link and let the other side be.
    LetBe,
    /// A person decides.
    Review,
    /// Nothing.
    Skip,
}

/// A side of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Presence {
    /// There, and as it was agreed.
    Same,
    /// There, and changed since; or never agreed on.
    Changed,
    /// Gone.
    Gone,
    /// Not to be seen, and nobody said that it is gone.
    Hidden,
}

/// What a deletion does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDelete {
    /// The other side is deleted too.
    Follow,
    /// The other side stays, and is no longer synced.
    LetBe,
    /// A person decides.
    Review,
}

/// What happens to a record that one side deleted and the other one changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDeleteAndEdit {
    /// It is gone.
    DeleteWins,
    /// It is made again where it was deleted.
    EditWins,
    /// A person decides.
    Review,
}

/// What ends a record, and what does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The host deleted it.
    pub local_deleted: OnDelete,
    /// The CRM deleted it.
    pub remote_deleted: OnDelete,
    /// The CRM merged it into another record. [`OnDelete::Follow`]: the host's record goes on with the winner, or is deleted if the
    /// winner has one in the host already.
    pub remote_merged: OnDelete,
    /// The CRM made a record of another kind of it, as of a lead. By default it is let be: the host keeps its record, which is no
    /// longer synced with this entity.
    pub remote_converted: OnDelete,
    /// One side deleted it, the other one changed it.
    pub deleted_and_changed: OnDeleteAndEdit,
    /// A record that had ended is there again in the CRM (taken from its recycle bin): make it in the host again.
    pub restore: bool,
}

/// Deletions follow, a person decides between a deletion and a change, and what comes back in the CRM comes back in the host.
impl Default for Rules {
    fn default() -> Self {
        Self {
            local_deleted: OnDelete::Follow,
            remote_deleted: OnDelete::Follow,
            remote_merged: OnDelete::Follow,
            remote_converted: OnDelete::LetBe,
            deleted_and_changed: OnDeleteAndEdit::Review,
            restore: true,
        }
    }
}

impl Rules {
    /// The fate of a linked record.
    pub fn fate(&self, local: Presence, remote: Presence) -> Fate {
        use Presence::{Changed, Gone, Hidden, Same};
        let follow = |rule: OnDelete, delete: Fate| match rule {
            OnDelete::Follow => delete,
            OnDelete::LetBe => Fate::LetBe,
            OnDelete::Review => Fate::Review,
        };
        let edit = |delete: Fate, again: Fate| match self.deleted_and_changed {
            OnDeleteAndEdit::DeleteWins => delete,
            OnDeleteAndEdit::EditWins => again,
            OnDeleteAndEdit::Review => Fate::Review,
        };
        match (local, remote) {
            (Same | Changed, Same | Changed) => Fate::Merge,
            (_, Hidden) | (Hidden, _) => Fate::Review,
            (Gone, Gone) => Fate::Forget,
            (Gone, Same) => follow(self.local_deleted, Fate::DeleteRemote),
            (Same, Gone) => follow(self.remote_deleted, Fate::DeleteLocal),
            (Gone, Changed) => edit(Fate::DeleteRemote, Fate::CreateLocal),
            (Changed, Gone) => edit(Fate::DeleteLocal, Fate::CreateRemote),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        Fields::from_value(value).unwrap()
    }

    fn run(base: Value, local: Value, remote: Value, policy: Policy) -> Flow {
        let (base, local, remote) = (fields(base), fields(local), fields(remote));
        let none = Fields::new();
        let mut sides = Sides::new(&base, &none, &local, &remote);
        (sides.local_at, sides.remote_at) = (Some(Timestamp::UNIX_EPOCH), Some(Timestamp::MAX));
        let merged = merge(&sides, &Policies::all(policy), &BTreeMap::new(), &|_| Some(Direction::Both), &|_| FieldType::Text);
        merged.into_iter().next().unwrap().flow
    }

    #[test]
    fn the_table() {
        let v = |text: &str| json!({"A": text});
        let (none, x, y, z) = (json!({}), v("x"), v("y"), v("z"));
        let rows = [
            (&x, &x, &x, Flow::Agreed),
            (&x, &y, &x, Flow::Out(json!("y"))),
            (&x, &x, &y, Flow::In(json!("y"))),
            (&x, &y, &y, Flow::Agreed),
            (&x, &y, &z, Flow::In(json!("z"))),
            (&none, &x, &v(""), Flow::Out(json!("x"))),
            (&none, &v(""), &x, Flow::In(json!("x"))),
            (&none, &none, &x, Flow::In(json!("x"))),
            (&none, &y, &x, Flow::In(json!("x"))),
            (&x, &v(""), &x, Flow::Out(json!(""))),
            (&x, &none, &x, Flow::Stay),
        ];
        for (base, local, remote, wanted) in rows {
            let flow = run(base.clone(), local.clone(), remote.clone(), Policy::Remote);
            println!("agreed {base:<10} host {local:<10} CRM {remote:<10} -> {flow:?}");
            assert_eq!(flow, wanted);
        }
    }

    #[test]
    fn policies_decide_conflicts() {
        let conflict = |policy| run(json!({"A": "x"}), json!({"A": "y"}), json!({"A": "z"}), policy);
        assert_eq!(conflict(Policy::Local), Flow::Out(json!("y")));
        assert_eq!(conflict(Policy::Newest), Flow::In(json!("z")));
        assert_eq!(conflict(Policy::Review), Flow::Review);
        let both: Chooser = Arc::new(|conflict| {
            Pick::Value(format!("{}{}", conflict.local.as_str().unwrap_or_default(), conflict.remote.as_str().unwrap_or_default()).into())
        });
        assert_eq!(conflict(Policy::With(both)), Flow::Both(json!("yz")));
    }

    #[test]
    fn another_spelling_is_no_conflict() {
        let phone = FieldType::Phone;
        assert!(alike(&json!("+49 (30) 12-34"), &json!("49301234"), &phone));
        assert!(!alike(&json!("+49 30 1235"), &json!("49301234"), &phone));
        assert!(!alike(&json!("Hot"), &json!("Cold"), &FieldType::Text));
        assert!(alike(&json!(" Acme "), &json!("ACME"), &FieldType::Text));
    }

    #[test]
    fn fates() {
        use Presence::{Changed, Gone, Hidden, Same};
        let rules = Rules::default();
        let rows = [
            (Same, Same, Fate::Merge),
            (Gone, Same, Fate::DeleteRemote),
            (Same, Gone, Fate::DeleteLocal),
            (Gone, Changed, Fate::Review),
            (Changed, Gone, Fate::Review),
            (Gone, Gone, Fate::Forget),
            (Changed, Hidden, Fate::Review),
        ];
        for (local, remote, wanted) in rows {
            println!("host {local:?} CRM {remote:?} -> {wanted:?}");
            assert_eq!(rules.fate(local, remote), wanted);
        }
        let edits = Rules { deleted_and_changed: OnDeleteAndEdit::EditWins, ..rules };
        assert_eq!((edits.fate(Gone, Changed), edits.fate(Changed, Gone)), (Fate::CreateLocal, Fate::CreateRemote));
    }
}
