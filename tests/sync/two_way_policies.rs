//! Who wins a conflict, which order counts, and rounds by the sync rules.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that fails should stop"
)]

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crm_sync::model::{ChangeKind, Origin};
use crm_sync::sync::{Chooser, Decided, Pick, Policy, Reader, SyncRules};
use futures_util::StreamExt;
use serde_json::json;

use super::reader_ways::Heard;
use super::two_way_rules::{ROW, World, change_of, fields};

/// Both sides changed the title, the host later or earlier: what the CRM has and what the host has in the end.
async fn conflict(policy: Policy, host_is_later: bool) -> (World, [String; 2]) {
    let world = World::new(|_| {});
    let sync = world.builder().policy(policy).build();
    world.linked(&sync, 1).await;
    let id = world.id("N0");
    for host in [!host_is_later, host_is_later] {
        world.clock.advance(Duration::from_secs(60));
        if host {
            world.people.put("h0", fields(json!({"title": "mine"})));
        } else {
            world.table.edit(&id, json!({"Title": "theirs"}));
        }
    }
    world.rest(&sync).await;
    let ends = [world.table.text(&id, "Title").unwrap(), world.title("h0").unwrap()];
    (world, ends)
}

#[tokio::test]
async fn each_policy_ends_a_conflict_its_way() {
    let both: Chooser = Arc::new(|conflict| {
        assert_eq!((conflict.field, conflict.base), ("Title", Some(&json!("t"))));
        Pick::Value(json!(format!("{} and {}", conflict.local.as_str().unwrap(), conflict.remote.as_str().unwrap())))
    });
    for (policy, host_is_later, ends) in [
        (Policy::Local, false, ["mine", "mine"]),
        (Policy::Remote, true, ["theirs", "theirs"]),
        (Policy::Newest, true, ["mine", "mine"]),
        (Policy::Newest, false, ["theirs", "theirs"]),
        (Policy::With(both), true, ["mine and theirs", "mine and theirs"]),
        (Policy::Review, true, ["theirs", "mine"]),
    ] {
        let (_, found) = conflict(policy.clone(), host_is_later).await;
        println!(
            "{policy:?}, {} later: the CRM {:?}, the host {:?}",
            if host_is_later { "the host" } else { "the CRM" },
            found[0],
            found[1]
        );
        assert_eq!(found, ends, "{policy:?}");
    }
}

#[tokio::test]
async fn a_field_has_a_policy_of_its_own() {
    let world = World::new(|_| {});
    let sync = world.builder().policy(Policy::Remote).field_policy("Title", Policy::Local).build();
    world.linked(&sync, 1).await;
    let id = world.id("N0");
    world.people.put("h0", fields(json!({"title": "mine", "name": "Mine"})));
    world.table.edit(&id, json!({"Title": "theirs", "Name": "Theirs"}));
    world.rest(&sync).await;
    let row = world.ours("h0").unwrap();
    assert_eq!((world.table.text(&id, "Title").unwrap(), world.table.text(&id, "Name").unwrap()), ("mine".to_owned(), "Theirs".to_owned()));
    assert_eq!((row.text("title"), row.text("name")), (Some("mine"), Some("Theirs")));
}

#[tokio::test]
async fn a_conflict_waits_in_the_queue_for_its_answer() {
    for (answer, end) in [(Decided::Local, "mine"), (Decided::Remote, "theirs"), (Decided::Value(json!("ours")), "ours")] {
        let (world, ends) = conflict(Policy::Review, true).await;
        assert_eq!(ends, ["theirs", "mine"]);
        let sync = world.builder().policy(Policy::Review).build();
        let waiting = sync.attention(None, 10).await.unwrap();
        assert_eq!((waiting.len(), waiting[0].conflicts.keys().map(String::as_str).collect::<Vec<_>>()), (1, vec!["Title"]));
        sync.answer("h0", "Title", answer).await.unwrap();
        world.rest(&sync).await;
        assert_eq!((world.table.text(&world.id("N0"), "Title").as_deref(), world.title("h0").as_deref()), (Some(end), Some(end)));
        assert!(sync.attention(None, 10).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn versions_count_and_not_the_order_of_arrival() {
    let world = World::new(|_| {});
    let sync = world.builder().own_origin(Origin::new().client("this-sync")).build();
    world.linked(&sync, 1).await;
    let id = world.id("N0");
    let events = || std::mem::take(&mut world.table.state().log);
    events();
    world.table.edit(&id, json!({"Title": "one"}));
    world.clock.advance(Duration::from_secs(1));
    world.table.edit(&id, json!({"Title": "two"}));
    let told = events();
    // The younger event comes first, the older one is told hours later.
    sync.note(&told[1..]).await.unwrap();
    sync.settle().await.unwrap();
    assert_eq!(world.title("h0").as_deref(), Some("two"));
    let writes = world.people.writes();
    world.clock.advance(Duration::from_secs(7_200));
    sync.note(&told[..1]).await.unwrap();
    assert_eq!((world.rest(&sync).await, world.people.writes()), (0, writes));
    assert_eq!((world.title("h0").as_deref(), world.table.text(&id, "Title").as_deref()), (Some("two"), Some("two")));

    // News is noted, and whoever noted it dies. What is told next is old, or our own echo: the news is not lost behind it.
    let known = change_of(&id, &world.table.state().rows[&id]);
    let mut echo = known.clone();
    (echo.version, echo.origin) = (None, Origin::new().client("this-sync"));
    for (n, late) in [known, echo].into_iter().enumerate() {
        let title = format!("news {n}");
        world.table.edit(&id, json!({"Title": title}));
        sync.note(&events()).await.unwrap();
        let mut late = late;
        late.fields.insert("Title", world.title("h0").unwrap());
        sync.note(&[late]).await.unwrap();
        sync.settle().await.unwrap();
        assert_eq!(world.title("h0"), Some(title));
    }
}

#[tokio::test]
async fn rounds_keep_the_interval_and_the_direction_of_the_rules() {
    let rules =
        |direction: &str| -> SyncRules { serde_json::from_value(json!({"syncInterval": 60_000, "syncDirection": direction})).unwrap() };
    for (direction, out, into) in [("bidirectional", true, true), ("toCrm", true, false), ("fromCrm", false, true)] {
        let world = World::new(|_| {});
        let sync = world.builder_of(Some(rules(direction))).build();
        let reader = Reader::builder(world.table.clone(), Arc::clone(&world.store), world.host.clone(), ROW).build().unwrap();
        world.people.put("h", fields(json!({"name": "Host", "title": "t"})));
        world.table.put("c", fields(json!({"Name": "Crm", "Title": "t"})), ChangeKind::Created);
        let mut rounds = pin!(sync.rounds(&reader));
        let mut times = Vec::new();
        for _ in 0..6 {
            rounds.next().await.unwrap().unwrap();
            times.push(world.host.now());
        }
        let waits: Vec<u64> = times.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs() as u64).collect();
        println!("{direction}: {waits:?} seconds between the rounds");
        assert!(waits.iter().all(|wait| [0, 60].contains(wait)) && waits[4] == 60, "{waits:?}");
        assert_eq!((world.table.of("Host").is_some(), world.people.all().len() == 2), (out, into), "{direction}");

        // What goes one way only is not changed and not deleted on the other.
        if direction == "bidirectional" {
            continue;
        }
        let (name, local) =
            if out { ("Host", "h".to_owned()) } else { ("Crm", world.people.all().into_iter().find(|(id, _)| id != "h").unwrap().0) };
        let id = world.id(name);
        world.people.put(&local, fields(json!({"title": "mine"})));
        world.rest(&sync).await;
        assert_eq!(world.table.text(&id, "Title").as_deref(), Some(if out { "mine" } else { "t" }), "{direction}");
        world.table.edit(&id, json!({"Title": "theirs"}));
        world.rest(&sync).await;
        assert_eq!(world.title(&local).as_deref(), Some(if out { "mine" } else { "theirs" }), "{direction}");
        if out {
            world.table.end(&id, None);
        } else {
            world.people.remove(&local);
        }
        world.rest(&sync).await;
        assert_eq!((world.ours("h").is_some(), world.table.state().rows.contains_key("c")), (true, true), "{direction}");
    }
}

#[tokio::test]
async fn a_mass_deletion_that_is_held_back_is_told() {
    let world = World::new(|_| {});
    let heard = Arc::new(Heard::default());
    let sync = world.builder().observer(heard.clone()).build();
    world.linked(&sync, 20).await;
    for n in 0..15 {
        world.table.end(&world.id(&format!("N{n}")), None);
    }
    world.round(&sync).await;
    assert_eq!(world.people.all().len(), 20);
    assert_eq!(heard.0.lock().unwrap().first(), Some(&("mass_delete: 15 of 20".to_owned(), None)));
}
