//! A job that is committed together with the host's own data: the outbox, on PostgreSQL.
//!
//! ```text
//! CRM_SYNC_POSTGRES_URL=postgres://user@localhost/db cargo run --features postgres --example postgres_outbox
//! ```
//!
//! An order and the job that tells the CRM about it are written in one transaction. One transaction is rolled back, as if the
//! process had died: neither the order nor its job exist. Then a worker takes what is there and settles it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its user")]

use std::process::ExitCode;
use std::time::Duration;

use crm_sync::error::Result;
use crm_sync::host::Host;
use crm_sync::model::Entity;
use crm_sync::queue::{Claim, Coalesce, Lane, Merge, NewEntry, PostgresQueue, Queue, Settle};
use sqlx::postgres::{PgPool, PgPoolOptions};

const URL: &str = "CRM_SYNC_POSTGRES_URL";

#[tokio::main]
async fn main() -> ExitCode {
    let Ok(url) = std::env::var(URL) else {
        eprintln!("this example needs a PostgreSQL server; set {URL}, e.g. to postgres://user@localhost/db, and run it again");
        return ExitCode::from(2);
    };
    let pool = match PgPoolOptions::new().acquire_timeout(Duration::from_secs(5)).connect(&url).await {
        Ok(pool) => pool,
        Err(error) => {
            eprintln!("could not connect to the server of {URL}: {error}; is it up, and may this user log in?");
            return ExitCode::from(2);
        }
    };
    match run(pool).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", crm_sync::error::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(pool: PgPool) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let queue = PostgresQueue::new(pool.clone(), Host::tokio());
    queue.migrate().await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS example_orders (id bigint GENERATED ALWAYS AS IDENTITY, customer text NOT NULL)")
        .execute(&pool)
        .await?;

    for (customer, keep) in [("ada", true), ("grace", true), ("nobody", false), ("ada", true)] {
        let mut transaction = pool.begin().await?;
        let order: i64 = sqlx::query_scalar("INSERT INTO example_orders (customer) VALUES ($1) RETURNING id")
            .bind(customer)
            .fetch_one(&mut *transaction)
            .await?;
        let lane = Lane::new("example", Entity::from_static("Contact"), customer);
        // Two orders of one customer need only one message to the CRM, so the jobs join.
        let job =
            NewEntry::new(lane, format!("example-order-{order}"), customer.to_owned()).coalesce(Coalesce::new("contact", Merge::TakeNew));
        queue.enqueue_in(&mut transaction, vec![job]).await?;
        if keep {
            transaction.commit().await?;
            println!("order {order} of {customer} and its job were committed");
        } else {
            transaction.rollback().await?;
            println!("order {order} of {customer} was rolled back, and its job with it");
        }
    }
    work(&queue).await?;
    Ok(())
}

async fn work(queue: &PostgresQueue) -> Result<()> {
    loop {
        let leases = queue.claim(&Claim::new("example")).await?;
        if leases.is_empty() {
            println!("nothing is left to do");
            return Ok(());
        }
        let mut settles = Vec::new();
        for lease in leases {
            println!("a worker got {} job(s) of the lane {}", lease.entries.len(), lease.lane().record);
            settles.push(Settle::done(lease.token.clone(), lease.entries.len()));
        }
        queue.settle(settles).await?;
    }
}
