//! Power cuts: the disk stops in the middle of anything, what was not synced is lost in part, and
//! the store opens again with everything that was acknowledged and nothing by halves. So it does
//! when the disk was full.
//!
//! The disk holds several files, whose names may be lost as well.
//! `HANSE_ROUNDS=N` says how many disks are tried, the first with the seed `HANSE_SEED`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hanse_seams::{Rng, Seams, SimulatedDirectory, Simulation};
use hanse_store::{Batch, CommitError, Expect, Op, Retention, Revision, Store};
use hanse_store_redb::{Config, RedbStore};
use parking_lot::Mutex;

mod common;

use common::{Storage, variable};

const WRITERS: u64 = 4;

/// A short past, so that segments come and go, and checkpoints at every size.
fn config(chance: &Simulation) -> Config {
    let mut config = Config::new("on a simulated disk");
    config.retention = Retention {
        bytes: 40_000,
        ..Retention::FOREVER
    };
    config.checkpoint_bytes = 1 << chance.below(18);
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
            Err(CommitError::Unavailable(_) | CommitError::Full) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// One life on the disk: opens, writes until the power goes. False when it went while opening.
fn life(seed: u64, storage: Storage, told: &Arc<Mutex<Told>>) -> bool {
    let machine = Simulation::new(seed);
    let config = config(&machine);
    let Ok(store) = RedbStore::open_on(Arc::new(storage), &config, &machine.seams()) else {
        return false;
    };
    let store = Arc::new(store);
    let ended = write_all(&machine, &store, told);
    assert!(ended, "writers stop only when the store says why");
    drop(store);
    machine.run_ready();
    true
}

/// Writers write until they are refused; whether the store says that it cannot go on.
fn write_all(machine: &Simulation, store: &Arc<RedbStore>, told: &Arc<Mutex<Told>>) -> bool {
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
    ended.unwrap()
}

fn number(store: &Arc<RedbStore>, machine: &Simulation, key: String) -> u64 {
    let read = store.get(Bytes::from(key), None);
    let entry = machine.run(read).unwrap().unwrap();
    entry.map_or(0, |entry| {
        u64::from_be_bytes(entry.value[..8].try_into().unwrap())
    })
}

/// Opens what the power cut left, compares, and returns the disk for the next life.
fn check(disk: SimulatedDirectory, told: &Arc<Mutex<Told>>) -> Result<SimulatedDirectory, String> {
    let machine = Simulation::new(1);
    let storage = Arc::new(Storage::new(&disk));
    let store = RedbStore::open_on(storage, &config(&machine), &machine.seams());
    let store = Arc::new(store.map_err(|error| error.to_string())?);
    compare(&store, &machine, told)?;
    drop(store);
    machine.run_ready();
    Ok(disk)
}

/// Compares what is there with what was told, and goes on from there; the log as well.
fn compare(
    store: &Arc<RedbStore>,
    machine: &Simulation,
    told: &Arc<Mutex<Told>>,
) -> Result<(), String> {
    let mut known = told.lock();
    if store.revision() < known.revision {
        return Err("acknowledged revisions are lost".into());
    }
    for writer in 0..WRITERS {
        let place = writer as usize;
        let left = number(store, machine, format!("{writer}/left"));
        let right = number(store, machine, format!("{writer}/right"));
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
    let (reading, floor) = (store.clone(), store.floor());
    let log = machine.run(async move { reading.log(floor, usize::MAX).await });
    let log = log.ok_or("the log cannot be read")?;
    let log = log.map_err(|error| error.to_string())?.commits;
    let revisions = log.iter().map(|commit| commit.revision.0);
    if !revisions.eq(floor.0 + 1..=known.revision.0) {
        return Err(format!(
            "the log has a gap between {floor} and {}",
            known.revision
        ));
    }
    let reading = store.clone();
    let verified = machine.run(async move { reading.verify().await });
    match verified.ok_or("nothing can be verified")? {
        Ok(verified) if verified.findings.is_empty() => Ok(()),
        Ok(verified) => Err(verified.findings.join("; ")),
        Err(error) => Err(error.to_string()),
    }
}

/// Four lives and power cuts on one disk; the number of commits that were found after the last.
fn cuts(seed: u64, lies: bool) -> Result<u64, String> {
    let chance = Simulation::new(seed ^ 0xd15c);
    let told = Arc::new(Mutex::new(Told::default()));
    let mut disk = check(SimulatedDirectory::new(), &told)?;
    for _ in 0..4 {
        // Some cuts come while the file is opened, most in the middle of commits.
        let most = if chance.below(4) == 0 { 40 } else { 1500 };
        disk.fail_after(chance.below(most));
        let storage = Storage {
            lies,
            ..Storage::new(&disk)
        };
        life(chance.u64(), storage, &told);
        disk = check(disk.power_cut(&chance), &told)?;
    }
    let commits = told.lock().revision.0;
    Ok(commits)
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

/// A disk that takes no more, again and again: nothing is acknowledged that is not there, nothing
/// is half there. Where the log found no room the store goes on by itself; where redb did, it says
/// so to everybody and opens with all that was acknowledged. Says how often it went on.
fn full(seed: u64) -> Result<(u64, u64), String> {
    let chance = Simulation::new(seed ^ 0xf011);
    let told = Arc::new(Mutex::new(Told::default()));
    let mut disk = check(SimulatedDirectory::new(), &told)?;
    let mut went_on = 0;
    for _ in 0..4 {
        let machine = Simulation::new(chance.u64());
        let storage = Arc::new(Storage::new(&disk));
        let mut config = config(&machine);
        if chance.below(2) == 0 {
            // redb is not written, so that the log alone finds the disk full.
            config.checkpoint_bytes = usize::MAX;
        }
        disk.set_room(Some(chance.below(4) * chance.below(100_000)));
        if let Ok(store) = RedbStore::open_on(storage, &config, &machine.seams()) {
            let store = Arc::new(store);
            for _ in 0..3 {
                let broken = write_all(&machine, &store, &told);
                disk.set_room(None);
                if broken {
                    break;
                }
                compare(&store, &machine, &told)?;
                went_on += 1;
                disk.set_room(Some(chance.below(100_000)));
            }
            drop(store);
            machine.run_ready();
        }
        disk.set_room(None);
        disk = check(disk, &told)?;
    }
    let commits = told.lock().revision.0;
    Ok((commits, went_on))
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let rounds = variable("HANSE_ROUNDS").unwrap_or(40);
    let first = variable("HANSE_SEED").unwrap_or(0) << 32;
    let (mut commits, mut went_on) = (0, 0);
    for seed in first..first + rounds {
        let done = full(seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        (commits, went_on) = (commits + done.0, went_on + done.1);
    }
    println!("{commits} commits, {went_on} times the store went on");
    assert!(
        commits > rounds * 20 && went_on > rounds,
        "too little happened to prove anything: {commits} commits, {went_on} times"
    );
}

/// With real threads: what is to come into redb waits for room, commits are refused meanwhile,
/// and when there is room all goes on, without anybody's help.
#[test]
fn a_full_disk_is_waited_for() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let disk = SimulatedDirectory::new();
        let storage = Storage {
            patient: true,
            ..Storage::new(&disk)
        };
        let seams = Seams::real();
        let mut config = Config::new("on a simulated disk");
        config.checkpoint_bytes = 1;
        let open = || RedbStore::open_on(Arc::new(storage.clone()), &config, &seams).unwrap();
        let store = open();
        let mut acknowledged = 0;
        for round in 0..3 {
            disk.set_room(Some(20_000 * round));
            let commit = |number| {
                let ops = vec![op("key".into(), number)];
                store.commit(Batch {
                    ops,
                    ..Batch::default()
                })
            };
            while commit(acknowledged + 1).await.is_ok() {
                acknowledged += 1;
            }
            // Long enough for a checkpoint to have met the full disk.
            seams.clock.sleep(Duration::from_millis(50)).await;
            assert_eq!(store.failure(), None);
            assert!(commit(u64::MAX).await.is_err());
            disk.set_room(None);
            for _ in 0..100 {
                commit(acknowledged + 1).await.unwrap();
                acknowledged += 1;
            }
        }
        store.close().await;
        drop(store);
        let store = open();
        let entry = store.get("key".into(), None).await.unwrap().unwrap();
        assert_eq!(entry.value[..8], acknowledged.to_be_bytes());
        assert_eq!(store.verify().await.unwrap().findings, Vec::<String>::new());
        store.close().await;
    });
}

/// The net catches fish: on a disk that lies about its syncs the same test finds what is lost.
/// redb may also notice by an assertion of its own.
#[test]
fn a_disk_that_lies_is_found_out() {
    let found = |seed: &u64| !matches!(std::panic::catch_unwind(|| cuts(*seed, true)), Ok(Ok(_)));
    let caught = (0..10).filter(found).count();
    assert!(caught > 5, "only {caught} of 10 were found out");
}
