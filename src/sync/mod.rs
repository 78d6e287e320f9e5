//! Pipelines: plan, apply, resolve; and the worker of a queue.
//!
//! [`Engine::plan`] compares the host's records with what was last agreed and with the CRM, and says what it would write, why,
//! how safe it is and what it costs. [`Engine::apply`] carries a plan out as a stream: before each write an intent is in the
//! store, after it the link, so that a crash at any moment leaves a question that [`Engine::resolve`] answers at the next start
//! instead of a lost or a doubled record.
//!
//! [`Worker`] does the same for what waits in a queue, record by record in order, in any number of processes.
//!
//! [`TwoWay`] keeps both sides in step: a merge of three sides per record and field, planned and applied in both directions.
//! [`Reader`] goes the other way: what changed in the CRM, page by page, with a cursor that moves in the commit of the host.
//! [`Inbound`] takes webhooks in: verified, dropped if seen, and enqueued before they are answered. [`Health`] reads from the journal
//! how it all goes, and [`Alerts`] tells the host when it does not.
//!
//! Nothing is spawned: the futures and streams do their work when they are polled, and may be dropped at any `.await`.

mod api;
mod apply;
mod batch;
mod batch_sync;
mod decide;
mod duplicates;
mod engine;
mod guarantee;
mod health;
mod inbound;
mod job;
mod lookup;
mod merge;
mod plan;
mod planner;
mod reader;
mod recognise;
mod records;
mod references;
mod resolve;
mod rules;
mod two_way;
mod worker;

pub use api::{Applied, Incoming, Outcome, Resolved};
pub use batch_sync::{BatchRecord, BatchReport, BatchRun, BatchSync};
pub use decide::{Decision, FieldChange, decide};
pub use duplicates::DuplicateCheck;
pub use engine::{Engine, EngineBuilder};
pub use guarantee::Guarantee;
pub use health::{Alert, AlertRule, AlertSink, AlertState, Alerts, Health, HealthReport, HealthStatus, OperationHealth, Signal, Vitals};
pub use inbound::{Accepted, Inbound, Worked};
pub use merge::{
    Chooser, Conflict, Fate, Flow, Merged, OnDelete, OnDeleteAndEdit, Pick, Policies, Policy, Presence, Rules, Sides, alike, merge,
};
pub use plan::{Action, Cost, Plan, PlanRow, Summary, Way};
pub use reader::{ChangeLog, Checkpoint, LogItem, LogPage, MassDelete, ReadPage, Reader, ReaderBuilder, Reconciled};
pub use records::{LocalChanges, LocalRecord, LocalWrite, MemoryRecords, Records};
pub use rules::{Setup, SyncDirection, SyncRules, Writes};
pub use two_way::{Attention, Decided, Erased, Settled, Step, TwoWay, TwoWayBuilder, TwoWayPlan, TwoWayReport, TwoWayRow, WriteGuard};
pub use worker::{Report, WorkItem, Worker, WorkerBuilder};
