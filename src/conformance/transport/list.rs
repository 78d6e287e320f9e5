//! The list, and running it.

use futures_util::future::BoxFuture;

use crate::conformance::report::{Check, Report};
use crate::conformance::transport::subject::{Run, Subject};
use crate::conformance::transport::{answers, breakage};
use crate::http::HttpTransport;

/// Runs every check that applies. With a far end it has to be served meanwhile
/// ([`FarEnd::serve_while`](crate::conformance::transport::FarEnd::serve_while)).
pub async fn check(transport: &dyn HttpTransport, subject: &Subject) -> Report {
    let run = Run { transport, subject };
    let mut report = Report::default();
    for (name, needs, check) in LIST {
        match needs {
            _ if subject.known().is_empty() => report.skip(name, "the subject names no request"),
            Needs::FarEnd | Needs::Impatience if !subject.has_far_end() => report.skip(name, "it needs a far end"),
            Needs::Impatience if !subject.is_impatient() => report.skip(name, "the subject does not say that the transport gives up"),
            _ => report.add(name, check(&run).await),
        }
    }
    report
}

#[derive(Clone, Copy)]
enum Needs {
    Answers,
    FarEnd,
    Impatience,
}

type CheckFn = for<'a> fn(&'a Run<'a>) -> BoxFuture<'a, Check>;

macro_rules! list {
    ($($needs:ident $module:ident::$name:ident),* $(,)?) => {
        &[$((stringify!($name), Needs::$needs, |run| Box::pin($module::$name(run)))),*]
    };
}

const LIST: &[(&str, Needs, CheckFn)] = list![
    Answers answers::every_status_is_an_answer,
    Answers answers::a_body_is_the_same_whole_and_in_pieces,
    Answers answers::many_requests_at_once,
    FarEnd answers::a_request_arrives_as_it_was_sent,
    FarEnd answers::headers_of_an_answer_are_all_there,
    FarEnd answers::no_content_is_an_empty_body,
    FarEnd answers::large_bodies_go_both_ways,
    FarEnd answers::a_limit_stops_the_reading,
    FarEnd answers::a_body_is_handed_on_as_it_comes,
    FarEnd breakage::redirects_are_not_followed,
    FarEnd breakage::nothing_is_sent_twice,
    FarEnd breakage::half_a_body_is_an_error,
    FarEnd breakage::a_refused_connection_is_told,
    FarEnd breakage::errors_hide_what_was_sent,
    FarEnd breakage::a_drop_ends_the_request,
    Impatience breakage::silence_ends,
];
