//! The embedded engine passes the suite, keeps its past by age and size, and refuses files that
//! are not whole.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hanse_seams::{Clock, Seams, Simulation};
use hanse_store::suite::{self, Opening, Subject};
use hanse_store::{Batch, Expect, Limits, Op, Range, Retention, Revision, Store};
use hanse_store_redb::{Config, OpenError, RedbStore};
use redb::{Database, ReadableDatabase, TableDefinition};

const LOG: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("log");
const HEAD: TableDefinition<'static, &[u8], u64> = TableDefinition::new("head");
const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");

fn never() -> Retention {
    Retention {
        age: Duration::MAX,
        bytes: u64::MAX,
    }
}

struct Redb {
    directory: tempfile::TempDir,
    limits: Limits,
    opened: Option<Arc<RedbStore>>,
}

impl Subject for Redb {
    fn open(&mut self) -> Opening<'_> {
        Box::pin(async {
            let mut config = Config::new(self.directory.path());
            (config.limits, config.retention) = (self.limits, never());
            let store = Arc::new(RedbStore::open(&config, &Seams::real()).unwrap());
            self.opened = Some(store.clone());
            store as Arc<dyn Store>
        })
    }

    fn reopen(&mut self, store: Arc<dyn Store>) -> Opening<'_> {
        drop(store);
        Box::pin(async {
            let store = self.opened.take().unwrap();
            store.close().await;
            drop(store);
            self.open().await
        })
    }
}

#[tokio::test]
async fn what_is_stored_is_its_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    RedbStore::open(&Config::new(&data), &Seams::real()).unwrap();
    let mode = std::fs::metadata(&data).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "others can look into it: {mode:o}");
}

#[test]
fn the_embedded_engine_passes_the_suite() {
    suite::run_all(64, |limits| {
        let directory = tempfile::tempdir().unwrap();
        Redb {
            directory,
            limits,
            opened: None,
        }
    });
}

fn put(key: &str) -> Batch {
    let put = Some(vec![0; 100].into());
    let key = key.as_bytes().to_vec().into();
    let op = Op {
        key,
        expect: Expect::Any,
        put,
        attachment: None,
    };
    Batch {
        ops: vec![op],
        ..Batch::default()
    }
}

/// Runs a story over a store whose loop, reads and clock are simulated.
fn simulated<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    directory: &Path,
    retention: Retention,
    story: impl FnOnce(Simulation, RedbStore) -> F,
) -> T {
    let machine = Simulation::new(1);
    let mut config = Config::new(directory);
    config.retention = retention;
    let store = RedbStore::open(&config, &machine.seams()).unwrap();
    let told = machine.run(story(machine.clone(), store)).unwrap();
    machine.run_ready();
    told
}

fn reopen(directory: &Path) -> Result<Revision, OpenError> {
    let machine = Simulation::new(1);
    let store = RedbStore::open(&Config::new(directory), &machine.seams())?;
    let revision = store.revision();
    drop(store);
    machine.run_ready();
    Ok(revision)
}

fn fill(directory: &Path, keys: usize) {
    simulated(directory, never(), async move |_, store| {
        for number in 0..keys {
            store
                .commit(put(&format!("key{}", number % 7)))
                .await
                .unwrap();
        }
    });
}

fn change(directory: &Path, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = Database::open(directory.join("hanse.redb")).unwrap();
    let write = database.begin_write().unwrap();
    change(&write);
    write.commit().unwrap();
}

#[test]
fn the_past_is_kept_by_age() {
    let directory = tempfile::tempdir().unwrap();
    let retention = Retention {
        age: Duration::from_secs(60),
        bytes: u64::MAX,
    };
    let floors = simulated(directory.path(), retention, async |machine, store| {
        let mut floors = Vec::new();
        for _ in 0..100 {
            store.commit(put("key")).await.unwrap();
            machine.advance(Duration::from_secs(2));
            floors.push(store.floor().0);
        }
        floors
    });
    // One commit every two seconds: thirty of them are younger than a minute.
    assert_eq!(floors[30], 0);
    assert_eq!(floors[99], 69);
}

#[test]
fn the_past_is_kept_by_size_and_its_space_is_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let retention = Retention {
        age: Duration::MAX,
        bytes: 4 << 20,
    };
    let floor = simulated(directory.path(), retention, async |machine, store| {
        for number in 0..100 {
            let mut batch = put(&format!("key{}", number % 5));
            batch.ops[0].put = Some(vec![0; 200_000].into());
            store.commit(batch).await.unwrap();
        }
        machine.run_ready();
        store.floor()
    });
    assert!((Revision(78)..Revision(88)).contains(&floor), "{floor}");
    let database = Database::open(directory.path().join("hanse.redb")).unwrap();
    let log = database.begin_read().unwrap().open_table(LOG).unwrap();
    let records = redb::ReadableTableMetadata::len(&log).unwrap();
    // The records above the floor, and what is alive below it.
    assert!(records <= 100 - floor.0 + 5, "{records}");
}

#[test]
fn an_open_store_is_locked() {
    let directory = tempfile::tempdir().unwrap();
    simulated(directory.path(), never(), {
        let path = directory.path().to_owned();
        async move |_, store| {
            store.commit(put("key")).await.unwrap();
            assert!(matches!(reopen(&path), Err(OpenError::Locked(_))));
        }
    });
    assert_eq!(reopen(directory.path()).unwrap(), Revision(1));
}

#[test]
fn an_older_copy_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), 5);
    let (file, copy) = (
        directory.path().join("hanse.redb"),
        directory.path().join("copy"),
    );
    std::fs::copy(&file, &copy).unwrap();
    fill(directory.path(), 5);
    assert_eq!(reopen(directory.path()).unwrap(), Revision(10));
    std::fs::copy(&copy, &file).unwrap();
    let error = reopen(directory.path()).unwrap_err();
    let OpenError::Lost {
        acknowledged,
        found,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((acknowledged, found), (Revision(10), Revision(5)));
    std::fs::remove_file(directory.path().join("acknowledged")).unwrap();
    assert_eq!(reopen(directory.path()).unwrap(), Revision(5));
}

#[test]
fn a_broken_chain_is_refused_by_name() {
    for (version, missing) in [(10 << 8, 10), (6 << 8, 6), (1 << 8, 1)] {
        let directory = tempfile::tempdir().unwrap();
        fill(directory.path(), 10);
        change(directory.path(), |write| {
            write.open_table(LOG).unwrap().remove(version).unwrap();
        });
        let error = reopen(directory.path()).unwrap_err();
        let OpenError::Broken { missing: found } = error else {
            panic!("{error}")
        };
        assert_eq!(found, Revision(missing));
    }
}

#[test]
fn a_head_that_does_not_show_the_log_is_refused_by_name() {
    for stale in [None, Some(256)] {
        let directory = tempfile::tempdir().unwrap();
        fill(directory.path(), 10);
        change(directory.path(), |write| {
            let mut head = write.open_table(HEAD).unwrap();
            match stale {
                None => drop(head.remove(&b"key2"[..]).unwrap()),
                Some(version) => drop(head.insert(&b"key2"[..], version).unwrap()),
            }
        });
        let error = reopen(directory.path()).unwrap_err();
        assert!(
            matches!(error, OpenError::Head { version } if version.0 == 10 << 8),
            "{error}"
        );
    }
}

#[test]
fn other_formats_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), 1);
    let state = |format: u64, oldest: u64| {
        change(directory.path(), |write| {
            let mut meta = write.open_table(META).unwrap();
            meta.insert("format", format).unwrap();
            meta.insert("oldest-reader", oldest).unwrap();
        });
        reopen(directory.path())
    };
    assert!(matches!(
        state(4, 3),
        Err(OpenError::TooNew {
            found: 4,
            oldest: 3,
            ours: 2
        })
    ));
    assert!(matches!(state(0, 0), Err(OpenError::NoFormat)));
    assert!(matches!(
        state(1, 1),
        Err(OpenError::TooOld { found: 1, ours: 2 })
    ));
    assert_eq!(state(3, 2).unwrap(), Revision(1));
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("hanse.redb"), vec![7; 8192]).unwrap();
    assert!(matches!(
        reopen(directory.path()),
        Err(OpenError::Database(_) | OpenError::Io { .. })
    ));
}

#[test]
fn after_closing_nothing_is_committed() {
    let directory = tempfile::tempdir().unwrap();
    simulated(directory.path(), never(), async |_, store| {
        store.commit(put("key")).await.unwrap();
        store.close().await;
        assert!(store.commit(put("late")).await.is_err());
        let all = Range {
            limit: 9,
            ..Range::default()
        };
        assert_eq!(store.range(all).await.unwrap().entries.len(), 1);
    });
}

/// The simulated loop commits in groups, in the order of its lanes, the same way every time.
#[test]
fn simulated_runs_repeat() {
    let run = || {
        let directory = tempfile::tempdir().unwrap();
        simulated(directory.path(), never(), async |machine, store| {
            let waiting: Vec<_> = (0..50u64)
                .map(|number| {
                    let batch = Batch {
                        lane: number % 3,
                        ..put(&format!("key{number}"))
                    };
                    store.commit(batch)
                })
                .collect();
            let mut revisions = Vec::new();
            for answer in waiting {
                revisions.push(answer.await.unwrap().revision.0);
            }
            (revisions, machine.monotonic())
        })
    };
    let (revisions, _) = run();
    assert_eq!(run().0, revisions);
    assert_eq!(&revisions[..6], [1, 2, 3, 4, 5, 6]);
}
