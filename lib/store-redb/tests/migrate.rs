//! A store of format 2 is brought to this one with all that it has to tell, whatever interrupts
//! it: a crash or a power cut at any operation of the disk leaves the old store or the new one.
//!
//! `HANSE_ROUNDS` and `HANSE_SEED` say how many stores are tried and from which seed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hanse_seams::{Rng, SimulatedDirectory, Simulation};
use hanse_store::{
    Batch, Change, Commit, Entry, Expect, Op, Previous, Retention, Revision, Store, Version,
};
use hanse_store_redb::{Config, Disk as _, OpenError, RedbStore};
use redb::{Database, ReadableDatabase as _, TableDefinition};

mod common;

use common::{Storage, Truth, read, variable};

const LOG: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("log");
const HEAD: TableDefinition<'static, &[u8], u64> = TableDefinition::new("head");
const MARKS: TableDefinition<'static, u64, (u64, u64)> = TableDefinition::new("marks");
const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");

/// A record as format 2 had it.
fn record(version: u64, previous: u64, wall: u64, key: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let mut out = vec![2, u8::from(value.is_none())];
    out.extend_from_slice(&previous.to_le_bytes());
    out.extend_from_slice(&wall.to_le_bytes());
    out.extend_from_slice(&(key.len() as u16).to_le_bytes());
    let mut sum = crc32fast::Hasher::new();
    sum.update(&version.to_le_bytes());
    sum.update(&out);
    sum.update(key);
    sum.update(value.unwrap_or_default());
    out.extend_from_slice(&sum.finalize().to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(value.unwrap_or_default());
    out
}

/// A random history, and what a store that holds it must tell.
struct History {
    commits: Vec<Commit>,
    present: BTreeMap<Bytes, Entry>,
    floor: Revision,
}

fn history(chance: &Simulation) -> History {
    let mut history = History {
        commits: Vec::new(),
        present: BTreeMap::new(),
        floor: Revision(0),
    };
    for number in 1..=20 + chance.below(100) {
        let revision = Revision(number);
        let mut changes: Vec<Change> = Vec::new();
        for _ in 0..1 + chance.below(3) {
            let key = Bytes::from(format!("key{}", chance.below(30)));
            let before = history.present.get(&key).cloned();
            let put = before.is_none() || chance.below(4) > 0;
            if changes.iter().any(|change| change.key == key) {
                continue;
            }
            // Indices have gaps where nothing was to be deleted.
            let version = revision.version(changes.len() as u8 * 2);
            let size = chance.below(20_000) as usize;
            let value = put.then(|| Bytes::from(vec![number as u8; size]));
            match &value {
                Some(value) => history.present.insert(
                    key.clone(),
                    Entry {
                        key: key.clone(),
                        version,
                        value: value.clone(),
                    },
                ),
                None => history.present.remove(&key),
            };
            changes.push(Change {
                version,
                key,
                value,
                previous: before.map(|entry| Previous {
                    version: entry.version,
                    value: entry.value,
                }),
                attachment: None,
            });
        }
        history.commits.push(Commit {
            revision,
            wall_millis: number * 10,
            changes,
        });
    }
    if chance.below(3) > 0 {
        history.floor = Revision(chance.below(history.commits.len() as u64 + 1));
    }
    history
}

impl History {
    fn revision(&self) -> Revision {
        Revision(self.commits.len() as u64)
    }

    fn truth(&self) -> Truth {
        let commits = self.commits.iter();
        let commits = commits.filter(|commit| commit.revision > self.floor);
        Truth {
            entries: self.present.clone(),
            commits: commits
                .map(|commit| (commit.revision, commit.clone()))
                .collect(),
        }
    }

    /// Writes it as format 2 did, with the past below the floor swept away.
    fn write(&self, disk: &SimulatedDirectory) {
        let file = Storage::new(disk).create("hanse.redb").unwrap();
        let database = Database::builder()
            .create_with_backend(Owned(file))
            .unwrap();
        let write = database.begin_write().unwrap();
        {
            let mut log = write.open_table(LOG).unwrap();
            let mut head = write.open_table(HEAD).unwrap();
            let mut marks = write.open_table(MARKS).unwrap();
            let mut meta = write.open_table(META).unwrap();
            for commit in &self.commits {
                for change in &commit.changes {
                    let (key, version) = (&change.key[..], change.version.0);
                    let previous = change.previous.as_ref().map_or(0, |was| was.version.0);
                    let value = change.value.as_deref();
                    let bytes = record(version, previous, commit.wall_millis, key, value);
                    log.insert(version, &bytes[..]).unwrap();
                    if commit.revision <= self.floor {
                        log.remove(previous).unwrap();
                        if value.is_none() {
                            log.remove(version).unwrap();
                        }
                    }
                }
                marks
                    .insert(commit.revision.0, (commit.wall_millis, 1))
                    .unwrap();
            }
            for entry in self.present.values() {
                head.insert(&entry.key[..], entry.version.0).unwrap();
            }
            for (name, number) in [
                ("format", 2),
                ("oldest-reader", 2),
                ("revision", self.revision().0),
                ("floor", self.floor.0),
                ("swept", self.floor.end().0),
                ("bytes", 7),
            ] {
                meta.insert(name, number).unwrap();
            }
        }
        write.commit().unwrap();
        drop(database);
        disk.sync().unwrap();
    }
}

/// A file behind one more box, for redb.
#[derive(Debug)]
struct Owned(Box<dyn redb::StorageBackend>);

impl redb::StorageBackend for Owned {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, length: u64) -> std::io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write(offset, data)
    }
}

/// Opens the store, compares it with the truth, writes, and opens it again.
fn check(disk: &SimulatedDirectory, history: &History) {
    let open = |machine: &Simulation| {
        let mut config = Config::new("on a simulated disk");
        // By the simulated clock the history is older than what is usually kept.
        config.retention = Retention::FOREVER;
        RedbStore::open_on(Arc::new(Storage::new(disk)), &config, &machine.seams())
    };
    for round in 0..2 {
        let machine = Simulation::new(1);
        let store = open(&machine).unwrap_or_else(|error| panic!("{round}: {error}"));
        let truth = history.truth();
        let revision = Revision(history.revision().0 + round);
        assert_eq!((store.revision(), store.floor()), (revision, history.floor));
        let checked = machine.run(async move {
            let mut told = read(&store).await.unwrap();
            if round > 0 {
                told.entries.remove(&b"one more"[..]);
                told.commits.remove(&revision);
            }
            assert_eq!(told, truth);
            assert_eq!(store.verify().await.unwrap().findings, Vec::<String>::new());
            let op = Op {
                key: "one more".into(),
                expect: Expect::Any,
                put: Some("value".into()),
                attachment: None,
            };
            let batch = Batch {
                ops: vec![op],
                ..Batch::default()
            };
            let committed = store.commit(batch).await.unwrap();
            assert_eq!(committed.versions, [Some(Version(revision.next().0 << 8))]);
        });
        assert!(checked.is_some());
        machine.run_ready();
    }
}

#[test]
fn a_store_of_format_2_is_brought_to_this_one_whatever_interrupts_it() {
    let rounds = variable("HANSE_ROUNDS").unwrap_or(30);
    let first = variable("HANSE_SEED").unwrap_or(0) << 32;
    let mut interrupted = 0;
    for seed in first..first + rounds {
        println!("seed {seed}");
        let chance = Simulation::new(seed);
        let history = history(&chance);
        let mut disk = SimulatedDirectory::new();
        history.write(&disk);
        for _ in 0..chance.below(6) {
            let machine = Simulation::new(chance.u64());
            disk.fail_after(chance.below(60));
            let storage = Arc::new(Storage::new(&disk));
            let config = Config::new("on a simulated disk");
            let opened = RedbStore::open_on(storage, &config, &machine.seams());
            interrupted += u64::from(opened.is_err());
            drop(opened);
            machine.run_ready();
            disk = match chance.below(2) {
                // A crash of the process leaves what it wrote, a power cut what chance left.
                0 => {
                    disk.fail_after(u64::MAX >> 1);
                    disk
                }
                _ => disk.power_cut(&chance),
            };
        }
        check(&disk, &history);
    }
    assert!(
        interrupted > rounds / 2,
        "too little was interrupted: {interrupted}"
    );
}

#[test]
fn a_damaged_store_of_format_2_is_refused_and_left_as_it_is() {
    let disk = SimulatedDirectory::new();
    let mut history = history(&Simulation::new(3));
    history.floor = Revision(0);
    history.commits.remove(8);
    history.write(&disk);
    let machine = Simulation::new(1);
    let config = Config::new("on a simulated disk");
    let open = || RedbStore::open_on(Arc::new(Storage::new(&disk)), &config, &machine.seams());
    for _ in 0..2 {
        let error = open().unwrap_err();
        assert!(matches!(error, OpenError::Broken { .. }), "{error}");
        let file = Storage::new(&disk).open("hanse.redb").unwrap();
        let database = Database::builder()
            .create_with_backend(Owned(file))
            .unwrap();
        let read = database.begin_read().unwrap();
        let format = read.open_table(META).unwrap().get("format").unwrap();
        assert_eq!(format.map(|format| format.value()), Some(2));
    }
}
