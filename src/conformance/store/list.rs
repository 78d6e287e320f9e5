//! The whole list.

use crate::conformance::report::Report;
use crate::conformance::store::api::StoreBench;
use crate::conformance::store::{commits, families, model, reads, time};

/// Runs every test, each on a store of its own.
pub async fn all(bench: &dyn StoreBench) -> Report {
    let mut report = Report::default();
    macro_rules! run {
        ($($module:ident::$test:ident),+ $(,)?) => {
            $(report.add(stringify!($test), Box::pin($module::$test(bench)).await);)+
        };
    }
    run!(
        reads::values_come_back,
        reads::reads_keep_their_order,
        reads::scans_are_ordered_and_bounded,
        reads::large_batches_work,
        commits::versions_grow_for_ever,
        commits::conflicts_name_the_first_key,
        commits::batches_are_all_or_nothing,
        commits::preconditions_see_the_state_before,
        commits::concurrent_changes_are_not_lost,
        commits::one_of_many_inserts_wins,
        time::expired_rows_are_absent,
        time::locks_exclude_and_fence,
        time::durable_means_durable,
        families::links_are_unique_both_ways,
        families::merged_records_are_relinked,
        families::base_comes_back,
        families::intents_open_once_and_close_once,
        model::random_batches_match_a_model,
    );
    report
}
