//! The whole list.

use crate::conformance::queue::api::QueueBench;
use crate::conformance::queue::{claims, enqueue, leases, model, parking, settling, whole};
use crate::conformance::report::Report;

/// Runs every test, each on a queue of its own.
pub async fn all(bench: &dyn QueueBench) -> Report {
    let mut report = Report::default();
    macro_rules! run {
        ($($module:ident::$test:ident),+ $(,)?) => {
            $(report.add(stringify!($test), Box::pin($module::$test(bench)).await);)+
        };
    }
    run!(
        enqueue::entries_come_back,
        enqueue::bad_entries_are_refused,
        enqueue::op_ids_are_enqueued_once,
        enqueue::entries_join_as_they_say,
        enqueue::large_batches_work,
        claims::lanes_keep_their_order,
        claims::claims_come_by_priority_then_age,
        claims::scopes_are_skipped,
        claims::kinds_are_selected,
        claims::entries_wait_for_their_time,
        leases::one_lease_per_lane,
        leases::leases_end_by_themselves,
        leases::extended_leases_hold,
        leases::stale_tokens_change_nothing,
        leases::fences_grow_for_ever,
        settling::done_prefixes_are_gone,
        settling::released_lanes_are_free,
        settling::retries_keep_their_place,
        settling::deferrals_count_no_attempt,
        settling::rows_settle_one_by_one,
        parking::parked_entries_leave_their_lane,
        parking::frozen_lanes_stand_still,
        parking::replayed_entries_take_their_place,
        parking::dead_letters_come_in_pages_and_groups,
        parking::subjects_are_erased,
        whole::statistics_count,
        whole::wakeups_come,
        whole::workers_side_by_side_lose_and_repeat_nothing,
        whole::durable_means_durable,
        model::random_histories_match_the_model,
    );
    if bench.op_window().is_some() {
        run!(enqueue::op_ids_are_forgotten_after_their_window);
    } else {
        report.skip("op_ids_are_forgotten_after_their_window", "the bench cannot pass so much time");
    }
    report
}
