//! Micro-benchmarks of the spine: one JSON line `{"name", "value", "unit"}` each.
//!
//! ```text
//! cargo run --release -p hanse-cache --example bench [-- DIRECTORY]
//! ```
//!
//! The directory, a temporary one by default, holds the durable store that is measured. Times are
//! of the wall clock unless the name says `cpu`, which is the whole process's, by the kernel.

#![allow(
    clippy::expect_used,
    reason = "a program that measures ends when it cannot"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hanse_cache::{
    ClusterName, Config, Document, Expect, From, Hub, ListQuery, ObjectKey, ResourceId, SchemaHash,
    Scope, Txn,
};
use hanse_json::json;
use hanse_seams::Seams;
use hanse_store::{MemoryStore, Store};
use hanse_store_redb::RedbStore;

fn report(name: &str, value: f64, unit: &str) {
    println!(
        "{}",
        json!({"name": name, "value": (value * 100.0).round() / 100.0, "unit": unit})
    );
}

fn micros(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

/// User and system time of this process so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("a Linux kernel");
    let fields = stat.rsplit(')').next().expect("fields").split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().expect("ticks"))
        .sum();
    Duration::from_millis(ticks * 10)
}

/// Resident memory of this process in bytes.
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("a Linux kernel");
    let pages: f64 = statm
        .split(' ')
        .nth(1)
        .expect("a field")
        .parse()
        .expect("pages");
    pages * 4096.0
}

fn resource() -> ResourceId {
    ResourceId::new("", "configmaps", "")
}

fn key(cluster: usize, name: usize) -> ObjectKey {
    let cluster = ClusterName::from(format!("cluster{cluster}"));
    ObjectKey::new(
        &resource(),
        &cluster,
        "default",
        format!("object-{name:06}"),
    )
}

/// An object of about a KiB, as clients make them.
fn document(name: usize) -> Document {
    let value = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": format!("object-{name:06}"), "namespace": "default",
            "uid": format!("00000000-0000-4000-8000-{name:012}"),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": "bench", "tier": "backend"},
        },
        "data": {"text": "x".repeat(760)},
    });
    Document::from_value(&value, [("", ""); 0], SchemaHash::default()).expect("a document")
}

async fn create(hub: &Hub, cluster: usize, name: usize) {
    let txn = Txn::one(key(cluster, name), Expect::Absent, Some(document(name)));
    hub.commit(txn).await.expect("a commit");
}

/// Creates objects from so many callers at once.
async fn create_all(hub: &Hub, seams: &Seams, callers: usize, count: usize, base: usize) {
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let hub = hub.clone();
            seams.spawn("caller", async move {
                for number in (caller..count).step_by(callers) {
                    create(&hub, caller, base + number).await;
                }
            })
        })
        .collect();
    for task in &tasks {
        task.ended().await;
    }
}

async fn commits(directory: &Path, seams: &Seams) {
    let store = RedbStore::open(&hanse_store_redb::Config::new(directory), seams);
    let store = Arc::new(store.expect("a store"));
    let hub = Hub::open(store.clone(), Config::default())
        .await
        .expect("a hub");
    for (callers, count) in [(1, 2_000), (16, 10_000), (64, 20_000)] {
        let (wall, used) = (seams.clock.monotonic(), cpu());
        create_all(&hub, seams, callers, count, callers * 1_000_000).await;
        let took = seams.clock.monotonic() - wall;
        let name = format!("durable create of 1 KiB, {callers} callers");
        report(&name, count as f64 / took.as_secs_f64(), "per s");
        report(
            &format!("{name}, cpu"),
            micros(cpu().saturating_sub(used), count),
            "us",
        );
    }
    drop(hub);
    store.close().await;
    drop(store);
    let began = seams.clock.monotonic();
    let store = RedbStore::open(&hanse_store_redb::Config::new(directory), seams);
    let store = Arc::new(store.expect("the same store"));
    report(
        "store opened with 32,000 objects",
        micros(seams.clock.monotonic() - began, 1),
        "us",
    );
    let hub = Hub::open(store.clone(), Config::default())
        .await
        .expect("a hub");
    report(
        "hub opened with 32,000 objects",
        micros(seams.clock.monotonic() - began, 1),
        "us",
    );
    drop(hub);
    store.close().await;
}

async fn reads(seams: &Seams) {
    const COUNT: usize = 10_000;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::with_defaults(seams.clock.clone()));
    let hub = Hub::open(store, Config::default()).await.expect("a hub");
    for number in 0..COUNT {
        create(&hub, 0, number).await;
    }
    let began = seams.clock.monotonic();
    let mut bytes = Vec::new();
    for number in 0..COUNT * 10 {
        bytes.clear();
        let object = hub.get(&key(0, number % COUNT)).expect("an object");
        object.json_into(&mut bytes);
    }
    report(
        "get from the hub, with its key and bytes",
        micros(seams.clock.monotonic() - began, COUNT * 10),
        "us",
    );
    let scope = Scope::Cluster(ClusterName::from("cluster0"));
    let began = seams.clock.monotonic();
    let mut total = 0;
    for _ in 0..10 {
        let page = hub
            .list(&resource(), &scope, &ListQuery::default())
            .expect("a list");
        bytes.clear();
        for object in &page.objects {
            object.json_into(&mut bytes);
        }
        total += bytes.len();
    }
    let took = seams.clock.monotonic() - began;
    report(
        "list of 10,000 objects of 1 KiB, with its bytes",
        micros(took, 10),
        "us",
    );
    report(
        "a MiB of list",
        took.as_secs_f64() * 1e6 / (total as f64 / 1048576.0),
        "us",
    );
    pages(&hub, &scope, seams).await;
}

/// A list in pages at a fixed version while others write.
async fn pages(hub: &Hub, scope: &Scope, seams: &Seams) {
    let at = Some(hub.version());
    for number in 0..2_000 {
        let txn = Txn::one(
            key(0, number * 3 % 10_000),
            Expect::Any,
            Some(document(number)),
        );
        hub.commit(txn).await.expect("a commit");
    }
    let began = seams.clock.monotonic();
    let mut query = ListQuery {
        at,
        limit: Some(500),
        ..ListQuery::default()
    };
    let mut found = 0;
    loop {
        let page = hub.list(&resource(), scope, &query).expect("a page");
        found += page.objects.len();
        query.after = page.objects.last().map(|object| object.key().path());
        if !page.more {
            break;
        }
    }
    assert_eq!(found, 10_000);
    report(
        "20 pages of 500, 2,000 events later",
        micros(seams.clock.monotonic() - began, 1),
        "us",
    );
}

async fn fan_out(watchers: usize, seams: &Seams) {
    const EVENTS: usize = 200;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::with_defaults(seams.clock.clone()));
    let hub = Hub::open(store, Config::default()).await.expect("a hub");
    let scope = Scope::Object(
        ClusterName::from("cluster0"),
        "default".into(),
        "object-000000".into(),
    );
    let tasks: Vec<_> = (0..watchers)
        .map(|_| {
            let mut watch = hub.watch(&resource(), &scope, From::Now, None);
            seams.spawn("watcher", async move {
                for _ in 0..EVENTS {
                    let event = watch.next().await.expect("an event");
                    let bytes = event.encoded(1, |event| event.object.json().into());
                    assert!(bytes.len() > 100);
                }
            })
        })
        .collect();
    // Others that do not want to know of this object cost nothing.
    let others: Vec<_> = (1..10_000)
        .map(|n| {
            let scope = Scope::Cluster(ClusterName::from(format!("cluster{n}")));
            hub.watch(&resource(), &scope, From::Now, None)
        })
        .collect();
    let (began, used) = (seams.clock.monotonic(), cpu());
    for number in 0..EVENTS {
        let txn = Txn::one(key(0, 0), Expect::Any, Some(document(number)));
        hub.commit(txn).await.expect("a commit");
        if number % 16 == 0 {
            seams.clock.sleep(Duration::from_millis(1)).await;
        }
    }
    for task in &tasks {
        task.ended().await;
    }
    let name = format!("an event at one of {watchers} watchers");
    report(
        &name,
        micros(seams.clock.monotonic() - began, EVENTS * watchers),
        "us",
    );
    report(
        &format!("{name}, cpu"),
        micros(cpu().saturating_sub(used), EVENTS * watchers),
        "us",
    );
    drop(others);
}

async fn memory(directory: &Path, seams: &Seams) {
    const COUNT: usize = 50_000;
    let store = RedbStore::open(&hanse_store_redb::Config::new(directory), seams).expect("a store");
    let store = Arc::new(store);
    let config = Config {
        recent_events: 100,
        recent_bytes: 1 << 20,
        ..Config::default()
    };
    let hub = Hub::open(store.clone(), config).await.expect("a hub");
    create_all(&hub, seams, 64, 5_000, 0).await;
    let before = resident();
    create_all(&hub, seams, 64, COUNT, 10_000).await;
    let page = hub.list(
        &resource(),
        &Scope::Wildcard,
        &ListQuery {
            limit: Some(1),
            ..ListQuery::default()
        },
    );
    let json = page.expect("a page").objects[0].json_len();
    report("bytes of an object's JSON", json as f64, "bytes");
    report(
        "resident bytes of an object",
        (resident() - before) / COUNT as f64,
        "bytes",
    );
    drop(hub);
    store.close().await;
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let scratch = tempfile::tempdir().expect("a directory");
    let directory = std::env::args()
        .nth(1)
        .map_or(scratch.path().to_owned(), PathBuf::from);
    runtime.expect("a runtime").block_on(async {
        let seams = Seams::real();
        memory(&directory.join("memory"), &seams).await;
        commits(&directory.join("commits"), &seams).await;
        reads(&seams).await;
        fan_out(100, &seams).await;
        fan_out(1_000, &seams).await;
    });
}
