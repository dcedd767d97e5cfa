//! Power cuts: the disk stops in the middle of anything, what was not synced is lost in part, and
//! the store opens again with everything that was acknowledged and nothing by halves. So it does
//! when the disk was full.
//!
//! The file is made before the first cut: a new store gets its name only when it is whole.
//! `HANSE_ROUNDS=N` says how many disks are tried, the first with the seed `HANSE_SEED`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hanse_seams::{Rng, SimulatedDisk, Simulation};
use hanse_store::{Batch, CommitError, Expect, Op, Retention, Revision, Store};
use hanse_store_redb::{Config, RedbStore};
use parking_lot::Mutex;

const WRITERS: u64 = 4;

/// redb's file on a simulated disk.
#[derive(Debug)]
struct Storage {
    disk: SimulatedDisk,
    /// Whether it says that it has synced when it has not.
    lies: bool,
}

impl redb::StorageBackend for Storage {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.lies { Ok(()) } else { self.disk.sync() }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write(offset, data)
    }
}

fn config() -> Config {
    let mut config = Config::new("on a simulated disk");
    // A short past, so that compaction is cut as well.
    config.retention = Retention {
        age: Duration::MAX,
        bytes: 40_000,
    };
    config
}

/// What the world was told: for each writer its last number, and the latest revision.
#[derive(Clone, Default)]
struct Told {
    acknowledged: [u64; WRITERS as usize],
    tried: [u64; WRITERS as usize],
    revision: Revision,
}

fn op(key: String, number: u64) -> Op {
    let value = [&number.to_be_bytes()[..], &[7; 500]].concat();
    Op {
        key: key.into(),
        expect: Expect::Any,
        put: Some(value.into()),
        attachment: None,
    }
}

/// Writes the same number under two keys at once, until the disk fails.
async fn write(store: Arc<RedbStore>, writer: u64, told: Arc<Mutex<Told>>) {
    let place = writer as usize;
    loop {
        let number = {
            let mut told = told.lock();
            told.tried[place] += 1;
            told.tried[place]
        };
        let ops = ["left", "right"]
            .map(|side| op(format!("{writer}/{side}"), number))
            .to_vec();
        match store
            .commit(Batch {
                lane: writer,
                checks: Vec::new(),
                ops,
            })
            .await
        {
            Ok(committed) => {
                let mut told = told.lock();
                told.acknowledged[place] = number;
                told.revision = told.revision.max(committed.revision);
            }
            Err(CommitError::Unavailable(_)) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// One life on the disk: opens, writes until the power goes. False when it went while opening.
fn life(seed: u64, storage: Storage, told: &Arc<Mutex<Told>>) -> bool {
    let machine = Simulation::new(seed);
    let Ok(store) = RedbStore::open_on(storage, &config(), &machine.seams()) else {
        return false;
    };
    let store = Arc::new(store);
    let seams = machine.seams();
    let (writing, known) = (store.clone(), told.clone());
    let ended = machine.run(async move {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| seams.spawn("writer", write(writing.clone(), writer, known.clone())))
            .collect();
        for writer in &writers {
            writer.ended().await;
        }
        writing.failure().is_some()
    });
    assert_eq!(
        ended,
        Some(true),
        "writers stop only when the store says why"
    );
    drop(store);
    machine.run_ready();
    true
}

fn number(store: &Arc<RedbStore>, machine: &Simulation, key: String) -> u64 {
    let read = store.get(Bytes::from(key), None);
    let entry = machine.run(read).unwrap().unwrap();
    entry.map_or(0, |entry| {
        u64::from_be_bytes(entry.value[..8].try_into().unwrap())
    })
}

/// Opens what the power cut left, compares, and returns the disk for the next life.
fn check(disk: SimulatedDisk, told: &Arc<Mutex<Told>>) -> Result<SimulatedDisk, String> {
    let machine = Simulation::new(1);
    let storage = Storage {
        disk: disk.clone(),
        lies: false,
    };
    let store = RedbStore::open_on(storage, &config(), &machine.seams());
    let store = Arc::new(store.map_err(|error| error.to_string())?);
    let mut known = told.lock();
    if store.revision() < known.revision {
        return Err("acknowledged revisions are lost".into());
    }
    for writer in 0..WRITERS {
        let place = writer as usize;
        let left = number(&store, &machine, format!("{writer}/left"));
        let right = number(&store, &machine, format!("{writer}/right"));
        if left != right {
            return Err("a commit is half there".into());
        }
        let possible = known.acknowledged[place]..=known.tried[place];
        if !possible.contains(&left) {
            return Err(format!("{left} is not in {possible:?}"));
        }
        known.tried[place] = left;
        known.acknowledged[place] = left;
    }
    known.revision = store.revision();
    drop(known);
    drop(store);
    machine.run_ready();
    Ok(disk)
}

/// Four lives and power cuts on one disk; the number of commits that were found after the last.
fn cuts(seed: u64, lies: bool) -> Result<u64, String> {
    let chance = Simulation::new(seed ^ 0xd15c);
    let told = Arc::new(Mutex::new(Told::default()));
    let mut disk = check(SimulatedDisk::new(), &told)?;
    for _ in 0..4 {
        // Some cuts come while the file is opened, most in the middle of commits.
        let most = if chance.below(4) == 0 { 40 } else { 1500 };
        disk.fail_after(chance.below(most));
        let storage = Storage {
            disk: disk.clone(),
            lies,
        };
        life(chance.u64(), storage, &told);
        disk = check(disk.power_cut(&chance), &told)?;
    }
    let commits = told.lock().revision.0;
    Ok(commits)
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn power_cuts_lose_nothing_that_was_acknowledged() {
    let rounds = variable("HANSE_ROUNDS").unwrap_or(60);
    // Chunks of a soak have seeds that follow each other; their disks must not be the same.
    let first = variable("HANSE_SEED").unwrap_or(0) << 32;
    let mut commits = 0;
    for seed in first..first + rounds {
        commits += cuts(seed, false).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    println!("{commits} commits");
    assert!(
        commits > rounds * 20,
        "too little happened to prove anything: {commits} commits"
    );
}

/// A disk that takes no more: the store says so to everybody and stops, and with room again it
/// opens with all that was acknowledged.
fn full(seed: u64) -> Result<u64, String> {
    let chance = Simulation::new(seed ^ 0xf011);
    let told = Arc::new(Mutex::new(Told::default()));
    let mut disk = check(SimulatedDisk::new(), &told)?;
    for _ in 0..4 {
        disk.fail_after(chance.below(600));
        let storage = Storage {
            disk: disk.clone(),
            lies: false,
        };
        life(chance.u64(), storage, &told);
        disk.fail_after(u64::MAX >> 1);
        disk = check(disk, &told)?;
    }
    let commits = told.lock().revision.0;
    Ok(commits)
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let rounds = variable("HANSE_ROUNDS").unwrap_or(40);
    let first = variable("HANSE_SEED").unwrap_or(0) << 32;
    let mut commits = 0;
    for seed in first..first + rounds {
        commits += full(seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    assert!(
        commits > rounds * 20,
        "too little happened to prove anything: {commits} commits"
    );
}

/// The net catches fish: on a disk that lies about its syncs the same test finds what is lost.
/// redb may also notice by an assertion of its own.
#[test]
fn a_disk_that_lies_is_found_out() {
    let found = |seed: &u64| !matches!(std::panic::catch_unwind(|| cuts(*seed, true)), Ok(Ok(_)));
    let caught = (0..10).filter(found).count();
    assert!(caught > 5, "only {caught} of 10 were found out");
}
