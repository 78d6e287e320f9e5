//! The list, and running it.

use futures_util::future::BoxFuture;

use crate::adapter::CrmAdapter;
use crate::conformance::adapter::run::{Done, Run, Stop};
use crate::conformance::adapter::subject::Subject;
use crate::conformance::adapter::{bulk, contract, records, search};
use crate::conformance::report::{Broken, Report};

/// Runs every check that applies, and deletes what they made.
///
/// ```no_run
/// # async fn test(adapter: &dyn crm_sync::adapter::CrmAdapter) -> Result<(), crm_sync::conformance::Report> {
/// use crm_sync::conformance::adapter::{Subject, check};
/// use crm_sync::model::{Entity, Fields};
///
/// let subject = Subject::new(Entity::from_static("Ticket"), "title", |n| {
///     [("title", format!("conformance ticket {n}"))].into_iter().collect()
/// });
/// check(adapter, &subject).await.into_result()?;
/// # Ok(())
/// # }
/// ```
pub async fn check(adapter: &dyn CrmAdapter, subject: &Subject) -> Report {
    let run = Run::new(adapter, subject);
    let mut report = Report::default();
    for (name, check) in LIST {
        match check(&run).await {
            Ok(()) => report.add(name, Ok(())),
            Err(Stop::Skip(reason)) => report.skip(name, reason),
            Err(Stop::Fail(reason)) => report.add(name, Err(Broken::new(reason))),
        }
    }
    run.clean_up().await;
    report
}

type CheckFn = for<'a> fn(&'a Run<'a>) -> BoxFuture<'a, Done>;

macro_rules! list {
    ($($module:ident::$name:ident),* $(,)?) => {
        &[$((stringify!($name), |run| Box::pin($module::$name(run)))),*]
    };
}

const LIST: &[(&str, CheckFn)] = list![
    records::name_is_stable,
    records::authenticate_succeeds,
    records::create_then_get,
    records::get_selects,
    search::create_then_search_finds,
    records::update_changes_only_what_is_given,
    records::null_clears,
    records::delete_then_get_none,
    records::delete_twice_is_fine,
    records::deleted_ids_stay_dead,
    records::get_of_unknown_id_is_none,
    records::update_of_unknown_id_fails,
    search::search_operators,
    search::search_combined,
    search::search_order,
    search::search_pages_return_all_once,
    search::search_limit,
    records::upsert_twice_creates_once,
    bulk::bulk_keeps_order_and_length,
    bulk::bulk_failures_stay_apart,
    records::version_guards_update,
    contract::changes_tell_of_writes,
    contract::describe_lists_the_fields,
    contract::unknown_field_is_refused,
    contract::unclaimed_is_unsupported,
    contract::errors_name_and_hide,
    contract::quota_answers,
];
