//! Hands that a host lends: the crate starts no threads of its own.

use std::sync::{Mutex, PoisonError};

/// Runs pieces of pure work, in any order, on as many threads as the host likes.
///
/// ```
/// use crm_sync::dedup::Workers;
///
/// /// Two threads that live as long as the work does.
/// struct Two;
///
/// impl Workers for Two {
///     fn run(&self, pieces: usize, work: &(dyn Fn(usize) + Sync)) {
///         let next = std::sync::atomic::AtomicUsize::new(0);
///         std::thread::scope(|scope| {
///             for _ in 0..2 {
///                 scope.spawn(|| {
///                     loop {
///                         let piece = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
///                         if piece >= pieces {
///                             break;
///                         }
///                         work(piece);
///                     }
///                 });
///             }
///         });
///     }
/// }
/// # let _ = Two;
/// ```
///
/// The answer is the same whatever order the pieces run in.
pub trait Workers {
    /// Calls `work` once with each number under `pieces` and returns when all are done.
    fn run(&self, pieces: usize, work: &(dyn Fn(usize) + Sync));

    /// Told before each [`Workers::run`] which share of the whole it stands for, 0 to 1, and with twice 1 at the end. Does
    /// nothing by default.
    fn progress(&self, from: f64, to: f64) {
        let _ = (from, to);
    }
}

/// One piece after the other, on the caller's thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct InPlace;

impl Workers for InPlace {
    fn run(&self, pieces: usize, work: &(dyn Fn(usize) + Sync)) {
        (0..pieces).for_each(work);
    }
}

/// Runs `work` for each piece and brings the results in the order of the pieces.
pub(super) fn collect<T: Send>(workers: &dyn Workers, pieces: usize, work: &(dyn Fn(usize) -> T + Sync)) -> Vec<T> {
    let slots: Vec<Mutex<Option<T>>> = (0..pieces).map(|_| Mutex::new(None)).collect();
    workers.run(pieces, &|piece| {
        let made = work(piece);
        if let Some(slot) = slots.get(piece) {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
        }
    });
    // A host that leaves a piece out is made up for here.
    let made = slots.into_iter().map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner));
    made.enumerate().map(|(piece, found)| found.unwrap_or_else(|| work(piece))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_nothing_is_left_out() {
        struct Lazy;
        impl Workers for Lazy {
            fn run(&self, pieces: usize, work: &(dyn Fn(usize) + Sync)) {
                (0..pieces).rev().filter(|piece| piece % 3 != 0).for_each(work);
            }
        }
        let squares = collect(&Lazy, 10, &|piece| piece * piece);
        assert_eq!(squares, (0..10).map(|piece| piece * piece).collect::<Vec<_>>());
        assert_eq!(collect(&InPlace, 10, &|piece| piece * piece), squares);
    }
}
