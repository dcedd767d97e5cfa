//! The child: writers that tell what was acknowledged, watchers that tell what they saw.
//!
//! Each writer owns a few objects and a ledger. Every transaction changes some of the objects and,
//! in the same commit, the ledger, which says the transaction's number and what each object is
//! now: so whoever reads the ledger can tell whether the transaction is there as a whole.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hanse_cache::{
    ClusterName, CommitError, Config, Document, Expect, Filter, From, Hub, Object, ObjectKey,
    ResourceId, SchemaHash, Scope, Txn, Watcher,
};
use hanse_json::{Value, json};
use hanse_seams::{Rng, Seams, Simulation};
use hanse_store::Retention;
use hanse_store_redb::RedbStore;

pub const WRITERS: usize = 6;
const OBJECTS: u64 = 6;

pub fn resource() -> ResourceId {
    ResourceId::new("crash.test", "things", "")
}

fn key(writer: usize, name: &str) -> ObjectKey {
    let cluster = ClusterName::from(format!("cluster{}", writer % 3));
    ObjectKey::new(&resource(), &cluster, "default", name)
}

pub fn ledger_key(writer: usize) -> ObjectKey {
    key(writer, &format!("ledger{writer}"))
}

/// Selects what carries an even number.
pub fn even() -> Filter {
    Arc::new(|object| object.label("even") == Some("true"))
}

/// A past short enough for compaction to go on all the time.
pub fn config(directory: &Path) -> hanse_store_redb::Config {
    let mut config = hanse_store_redb::Config::new(directory);
    config.retention = Retention {
        age: Duration::from_secs(600),
        bytes: 8 << 20,
        ..Retention::FOREVER
    };
    config
}

pub fn memory() -> Config {
    // So little that resuming often has to read the store's log.
    Config {
        recent_events: 300,
        recent_bytes: 1 << 20,
        ..Config::default()
    }
}

/// One line at once, so that lines of several tasks never mix.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    if out
        .write_all(line.as_bytes())
        .and_then(|()| out.flush())
        .is_err()
    {
        std::process::exit(1);
    }
}

pub async fn run(directory: &Path) {
    let seams = Seams::real();
    let store = RedbStore::open(&config(directory), &seams).expect("the store opens");
    let hub = Hub::open(Arc::new(store), memory())
        .await
        .expect("the hub opens");
    let resume = std::env::var(super::RESUME).expect("where to resume");
    let resume: Vec<u64> = resume
        .split(',')
        .map(|part| part.parse().expect("a number"))
        .collect();
    for (watcher, (from, filter)) in resume.iter().zip([None, Some(even())]).enumerate() {
        let watch = hub.watch(&resource(), &Scope::Wildcard, From::Version(*from), filter);
        seams.spawn("watcher", watch_on(watcher, watch));
    }
    let seed: u64 = std::env::var(super::SEED)
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(0);
    for writer in 0..WRITERS {
        let random = Simulation::new(seed.wrapping_add(writer as u64));
        seams.spawn("writer", write_on(hub.clone(), writer, random));
    }
    std::future::pending::<()>().await;
}

async fn watch_on(watcher: usize, mut watch: Watcher) {
    loop {
        match watch.next().await {
            Ok(event) => {
                let (kind, version) = (event.kind.as_str(), event.version());
                let name = &event.object.key().name;
                let number = number(&event.object);
                tell(&format!(
                    "event {watcher} {version} {kind} {name} {number}\n"
                ));
            }
            Err(error) => {
                tell(&format!("broken {watcher} {error}\n"));
                return;
            }
        }
    }
}

pub fn number(object: &Object) -> u64 {
    object
        .text(&["data", "number"])
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// What the ledger says of the writer's objects: their numbers.
pub fn entries(ledger: &Object) -> BTreeMap<String, u64> {
    let value = ledger.value();
    let entries = value["data"]["objects"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|(name, number)| Some((name, number.as_u64()?)))
        .collect()
}

fn document(name: &str, number: u64, objects: Value) -> Document {
    let value = json!({
        "apiVersion": "crash.test/v1", "kind": "Thing",
        "metadata": {"name": name, "uid": name, "labels": {"even": number.is_multiple_of(2).to_string()}},
        "data": {"number": number.to_string(), "objects": objects, "filler": "x".repeat(300)},
    });
    Document::from_value(&value, [("", ""); 0], SchemaHash::default()).expect("a document")
}

async fn write_on(hub: Hub, writer: usize, random: Simulation) {
    let ledger_key = ledger_key(writer);
    loop {
        let ledger = hub.get(&ledger_key);
        let next = ledger.as_ref().map_or(0, number) + 1;
        let mut objects = ledger.as_ref().map(entries).unwrap_or_default();
        let mut txn = Txn::default();
        for _ in 0..random.below(4) {
            let name = format!("thing{writer}-{}", random.below(OBJECTS));
            let key = key(writer, &name);
            if txn.writes.iter().any(|write| write.key == key) {
                continue;
            }
            let old = hub.get(&key);
            txn = match (old, random.below(3)) {
                (Some(old), 0) => {
                    objects.remove(&name);
                    txn.delete(&old)
                }
                (Some(old), _) => {
                    objects.insert(name.clone(), next);
                    txn.update(&old, document(&name, next, json!({})))
                }
                (None, _) => {
                    objects.insert(name.clone(), next);
                    txn.create(key, document(&name, next, json!({})))
                }
            };
        }
        let document = document(&ledger_key.name, next, json!(objects));
        txn = match &ledger {
            Some(ledger) => txn.update(ledger, document),
            None => txn.create(ledger_key.clone(), document),
        };
        let committed = hub.commit(txn).await.expect("a commit");
        tell(&format!(
            "acknowledged {writer} {next} {}\n",
            committed.version
        ));
        if random.below(8) == 0 {
            refused(&hub, writer).await;
        }
    }
}

/// A transaction that must be refused, and must leave nothing.
async fn refused(hub: &Hub, writer: usize) {
    let poison = key(writer, "poison");
    let txn = Txn::default()
        .create(poison, document("poison", 0, json!({})))
        .check(ledger_key(writer), Expect::Absent);
    let refused = hub.commit(txn).await;
    assert!(
        matches!(refused, Err(CommitError::Conflict { .. })),
        "{refused:?}"
    );
}
