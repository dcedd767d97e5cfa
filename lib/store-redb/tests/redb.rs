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
use redb::{Database, TableDefinition};

const PRESENT: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("present");
const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");

/// The first segment of the log of a store that began empty.
const FIRST: &str = "log-00000000000000000001";

/// Ends in an orderly way when it is opened again.
struct Redb {
    directory: tempfile::TempDir,
    limits: Limits,
    checkpoint_bytes: usize,
    opened: Option<Arc<RedbStore>>,
}

impl Redb {
    fn new(limits: Limits, checkpoint_bytes: usize) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            limits,
            checkpoint_bytes,
            opened: None,
        }
    }
}

impl Subject for Redb {
    fn open(&mut self) -> Opening<'_> {
        Box::pin(async {
            let mut config = Config::new(self.directory.path());
            (config.limits, config.retention) = (self.limits, Retention::FOREVER);
            config.checkpoint_bytes = self.checkpoint_bytes;
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

/// Ends as a killed process does: what lies on disk at that moment is opened elsewhere.
struct Killed(Redb);

impl Subject for Killed {
    fn open(&mut self) -> Opening<'_> {
        self.0.open()
    }

    fn reopen(&mut self, store: Arc<dyn Store>) -> Opening<'_> {
        let left = tempfile::tempdir().unwrap();
        copy(self.0.directory.path(), left.path());
        let old = std::mem::replace(&mut self.0.directory, left);
        drop(store);
        Box::pin(async move {
            let store = self.0.opened.take().unwrap();
            store.close().await;
            drop((store, old));
            self.0.open().await
        })
    }
}

fn copy(from: &Path, to: &Path) {
    let names = std::fs::read_dir(from).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    // A checkpoint may go on beside this: what redb holds is never ahead of the log.
    names.sort();
    for name in names {
        std::fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

#[test]
fn the_embedded_engine_passes_the_suite() {
    suite::run_all(64, |limits| Redb::new(limits, 4 << 20));
}

/// With a checkpoint beside almost every commit.
#[test]
fn the_embedded_engine_passes_the_suite_while_it_writes_redb() {
    suite::run_all(32, |limits| Redb::new(limits, 1));
}

/// Nothing is in redb; all is in the log.
#[test]
fn the_embedded_engine_passes_the_suite_when_it_is_killed() {
    suite::run_all(32, |limits| Killed(Redb::new(limits, usize::MAX)));
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

/// Runs a story over a store whose loop, reads and clock are simulated, and closes it.
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

/// The same, but what lies on disk afterwards is what was there when the story ended.
fn killed<F: Future<Output = ()> + Send + 'static>(
    directory: &Path,
    story: impl FnOnce(Simulation, Arc<RedbStore>) -> F,
) {
    let machine = Simulation::new(1);
    let store = RedbStore::open(&Config::new(directory), &machine.seams()).unwrap();
    let store = Arc::new(store);
    machine.run(story(machine.clone(), store.clone())).unwrap();
    let left = tempfile::tempdir().unwrap();
    copy(directory, left.path());
    drop(store);
    machine.run_ready();
    copy(left.path(), directory);
}

fn reopen(directory: &Path) -> Result<Revision, OpenError> {
    let machine = Simulation::new(1);
    let store = RedbStore::open(&Config::new(directory), &machine.seams())?;
    let revision = store.revision();
    drop(store);
    machine.run_ready();
    Ok(revision)
}

async fn puts(store: &RedbStore, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let batch = put(&format!("key{}", number % 7));
        store.commit(batch).await.unwrap();
    }
}

fn fill(directory: &Path, keys: usize) {
    simulated(directory, Retention::FOREVER, async move |_, store| {
        puts(&store, 0..keys).await;
    });
}

/// As [`fill`], but nothing of it comes into redb.
fn fill_log(directory: &Path, keys: usize) {
    killed(directory, async move |_, store| puts(&store, 0..keys).await);
}

/// Where the frames of a segment stand.
fn frames(segment: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut frames = Vec::new();
    let mut at = 56;
    while at < segment.len() {
        let length = segment[at + 24..at + 28].try_into().unwrap();
        let end = at + 40 + u32::from_le_bytes(length) as usize;
        frames.push(at..end);
        at = end;
    }
    frames
}

/// Changes the first segment of the log.
fn change_log(directory: &Path, change: impl FnOnce(&mut Vec<u8>, &[std::ops::Range<usize>])) {
    let path = directory.join(FIRST);
    let mut bytes = std::fs::read(&path).unwrap();
    let frames = frames(&bytes);
    change(&mut bytes, &frames);
    std::fs::write(path, bytes).unwrap();
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
        ..Retention::FOREVER
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
fn the_past_is_kept_by_its_number_of_writes() {
    let directory = tempfile::tempdir().unwrap();
    let retention = Retention {
        records: 20,
        ..Retention::FOREVER
    };
    let floor = simulated(directory.path(), retention, async |machine, store| {
        for number in 0..100 {
            store.commit(put(&format!("key{number}"))).await.unwrap();
            machine.advance(Duration::from_secs(2));
        }
        store.floor()
    });
    assert_eq!(floor, Revision(80));
}

#[test]
fn the_past_is_kept_by_size_and_its_space_is_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let retention = Retention {
        bytes: 4 << 20,
        ..Retention::FOREVER
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
    // A record holds its value and the one before it: ten of them fit.
    assert!((Revision(87)..Revision(93)).contains(&floor), "{floor}");
    let segments = std::fs::read_dir(directory.path()).unwrap();
    let segments = segments.map(Result::unwrap);
    let segments = segments.filter(|entry| entry.file_name().to_string_lossy().starts_with("log-"));
    let lengths: Vec<u64> = segments
        .map(|entry| entry.metadata().unwrap().len())
        .collect();
    // The past, and what shares a segment with its oldest commit.
    assert!(
        lengths.iter().sum::<u64>() < (4 << 20) + (1 << 20),
        "{lengths:?}"
    );
    assert!(lengths.len() > 3, "{lengths:?}");
    assert_eq!(reopen(directory.path()).unwrap(), Revision(100));
}

/// What a checkpoint wrote is not read from the log again, and the log before it may go.
#[test]
fn checkpoints_come_after_some_bytes_and_after_some_time() {
    let directory = tempfile::tempdir().unwrap();
    let held = |directory: &Path| {
        let database = Database::open(directory.join("hanse.redb")).unwrap();
        let read = redb::ReadableDatabase::begin_read(&database).unwrap();
        let revision = read.open_table(META).unwrap().get("revision").unwrap();
        revision.unwrap().value()
    };
    fill_log(directory.path(), 5);
    assert_eq!(
        held(directory.path()),
        0,
        "five small commits are not yet due"
    );
    killed(directory.path(), async |machine, store| {
        puts(&store, 0..1).await;
        machine.seams().clock.sleep(Duration::from_secs(3)).await;
        puts(&store, 0..1).await;
    });
    assert_eq!(held(directory.path()), 6, "all that stood two seconds");
    killed(directory.path(), async |_, store| {
        for number in 0..50 {
            let mut batch = put(&format!("large{number}"));
            batch.ops[0].put = Some(vec![0; 100_000].into());
            store.commit(batch).await.unwrap();
        }
    });
    assert!(held(directory.path()) > 40, "{}", held(directory.path()));
    assert_eq!(reopen(directory.path()).unwrap(), Revision(57));
}

#[test]
fn an_open_store_is_locked() {
    let directory = tempfile::tempdir().unwrap();
    simulated(directory.path(), Retention::FOREVER, {
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
    let (directory, copied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(directory.path(), 5);
    copy(directory.path(), copied.path());
    fill(directory.path(), 5);
    assert_eq!(reopen(directory.path()).unwrap(), Revision(10));
    let note = directory.path().join("acknowledged");
    std::fs::copy(note, copied.path().join("acknowledged")).unwrap();
    let error = reopen(copied.path()).unwrap_err();
    let OpenError::Lost {
        acknowledged,
        found,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((acknowledged, found), (Revision(10), Revision(5)));
    std::fs::remove_file(copied.path().join("acknowledged")).unwrap();
    assert_eq!(reopen(copied.path()).unwrap(), Revision(5));
}

#[test]
fn an_older_database_catches_up_from_the_log_and_an_older_log_is_refused() {
    let (directory, copied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(directory.path(), 5);
    copy(directory.path(), copied.path());
    fill(directory.path(), 5);
    let (path, older) = (directory.path(), copied.path());
    std::fs::copy(older.join("hanse.redb"), path.join("hanse.redb")).unwrap();
    assert_eq!(reopen(path).unwrap(), Revision(10));
    std::fs::copy(older.join(FIRST), path.join(FIRST)).unwrap();
    std::fs::remove_file(path.join("acknowledged")).unwrap();
    let error = reopen(path).unwrap_err();
    assert!(
        matches!(error, OpenError::Lost { acknowledged, found }
            if (acknowledged, found) == (Revision(10), Revision(5))),
        "{error}"
    );
}

#[test]
fn a_log_of_another_store_is_refused_by_name() {
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(directory.path(), 5);
    // The same keys, another value: so versions tell nothing.
    simulated(other.path(), Retention::FOREVER, async move |_, store| {
        for number in 0..5 {
            let mut batch = put(&format!("key{number}"));
            batch.ops[0].put = Some(vec![1; 100].into());
            store.commit(batch).await.unwrap();
        }
    });
    std::fs::copy(other.path().join(FIRST), directory.path().join(FIRST)).unwrap();
    let error = reopen(directory.path()).unwrap_err();
    assert!(matches!(error, OpenError::Segment { .. }), "{error}");
    std::fs::remove_file(directory.path().join(FIRST)).unwrap();
    let error = reopen(directory.path()).unwrap_err();
    let missing = Revision(6);
    assert!(
        matches!(error, OpenError::Broken { missing: found } if found == missing),
        "{error}"
    );
    std::fs::copy(other.path().join(FIRST), directory.path().join(FIRST)).unwrap();
    std::fs::remove_file(directory.path().join("hanse.redb")).unwrap();
    let error = reopen(directory.path()).unwrap_err();
    assert!(error.to_string().contains("not hanse.redb"), "{error}");
}

#[test]
fn damage_inside_the_log_is_refused_by_name() {
    for in_redb in [true, false] {
        for missing in [1, 6, 9] {
            for way in 0..3 {
                let directory = tempfile::tempdir().unwrap();
                let fill = if in_redb { fill } else { fill_log };
                fill(directory.path(), 10);
                change_log(directory.path(), |bytes, frames| {
                    let frame = frames[missing - 1].clone();
                    match way {
                        0 => bytes[frame.start + 60] ^= 1,
                        1 => bytes[frame].fill(0),
                        _ => drop(bytes.drain(frame)),
                    }
                });
                let error = reopen(directory.path()).unwrap_err();
                let OpenError::Broken { missing: found } = error else {
                    panic!("{missing}, {way}: {error}")
                };
                assert_eq!(found, Revision(missing as u64));
            }
        }
    }
}

#[test]
fn a_torn_end_is_cut_unless_it_was_acknowledged() {
    for way in 0..4 {
        let directory = tempfile::tempdir().unwrap();
        fill_log(directory.path(), 10);
        change_log(directory.path(), |bytes, frames| match way {
            0 => bytes.truncate(frames[9].end - 1),
            1 => bytes.truncate(frames[9].start + 7),
            2 => bytes[frames[9].start + 100] ^= 1,
            _ => bytes[frames[9].start..][..30].fill(0),
        });
        let error = reopen(directory.path()).unwrap_err();
        assert!(
            matches!(error, OpenError::Lost { acknowledged, found }
                if (acknowledged, found) == (Revision(10), Revision(9))),
            "{way}: {error}"
        );
        std::fs::remove_file(directory.path().join("acknowledged")).unwrap();
        assert_eq!(reopen(directory.path()).unwrap(), Revision(9), "{way}");
        fill(directory.path(), 3);
        assert_eq!(reopen(directory.path()).unwrap(), Revision(12), "{way}");
    }
}

#[test]
fn a_present_that_is_not_the_logs_is_refused_by_name() {
    for stale in [None, Some(256u64)] {
        let directory = tempfile::tempdir().unwrap();
        fill(directory.path(), 10);
        change(directory.path(), |write| {
            let mut present = write.open_table(PRESENT).unwrap();
            let key = &b"key2"[..];
            let Some(version) = stale else {
                return drop(present.remove(key).unwrap());
            };
            let version = version.to_le_bytes();
            let mut sum = crc32fast::Hasher::new();
            sum.update(&version);
            sum.update(key);
            let sum = sum.finalize().to_le_bytes();
            present
                .insert(key, &[&version[..], &sum].concat()[..])
                .unwrap();
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
        state(5, 4),
        Err(OpenError::TooNew {
            found: 5,
            oldest: 4,
            ours: 3
        })
    ));
    assert!(matches!(state(0, 0), Err(OpenError::NoFormat)));
    assert!(matches!(
        state(1, 1),
        Err(OpenError::TooOld { found: 1, ours: 2 })
    ));
    assert_eq!(state(4, 3).unwrap(), Revision(1));
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
    simulated(directory.path(), Retention::FOREVER, async |_, store| {
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
        simulated(
            directory.path(),
            Retention::FOREVER,
            async |machine, store| {
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
            },
        )
    };
    let (revisions, _) = run();
    assert_eq!(run().0, revisions);
    assert_eq!(&revisions[..6], [1, 2, 3, 4, 5, 6]);
}
