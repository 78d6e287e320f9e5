//! A step along the adapter's own change feed.

use crate::adapter::{ChangeFeed, Since};
use crate::error::Result;
use crate::model::Change;
use crate::sync::reader::engine::Reader;
use crate::sync::reader::position::{Place, Round};

impl Reader {
    /// One page; true if nothing more is there.
    pub(super) async fn feed_step(&self, round: &mut Round) -> Result<(Vec<Change>, bool)> {
        let since = match (&round.place, round.since) {
            (Place::Feed(cursor), _) => Since::Cursor(cursor.clone()),
            (_, Some(at)) => Since::At(at),
            (_, None) => Since::Start,
        };
        let mut feed = ChangeFeed::new(self.entity.clone(), since);
        feed.select.clone_from(&self.select);
        feed.deletes = round.deletes;
        let page = self.adapter.changes(&feed).await?;
        let stands = match (&page.next, &round.place) {
            (None, _) => true,
            (Some(next), Place::Feed(before)) => next == before,
            _ => false,
        };
        let drained = page.items.is_empty() || stands;
        if let Some(next) = page.next {
            round.place = Place::Feed(next);
        }
        Ok((page.items, drained))
    }
}
