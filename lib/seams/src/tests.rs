//! What both kinds of seams promise, and that a simulation repeats.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::{Rng, SECTOR_BYTES, Seams, SimulatedDirectory, SimulatedDisk, Simulation, Turn};

fn story(seed: u64) -> (Vec<(u64, Duration)>, u64, String) {
    let machine = Simulation::new(seed);
    let seams = machine.seams();
    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = told.clone();
    let result = machine.run(async move {
        let mut tasks = Vec::new();
        for number in 0..20 {
            let (inner, teller) = (seams.clone(), teller.clone());
            tasks.push(seams.spawn("teller", async move {
                let pause = Duration::from_millis(inner.rng.below(5));
                inner.clock.sleep(pause).await;
                teller.lock().push((number, inner.clock.monotonic()));
            }));
        }
        for task in &tasks {
            task.ended().await;
        }
        seams.rng.uuid_v4()
    });
    let told = told.lock().clone();
    (told, machine.trace(), result.unwrap())
}

#[test]
fn the_same_seed_tells_the_same_story() {
    assert_eq!(story(7), story(7));
    assert_ne!(story(7), story(8));
    assert_eq!(story(7).0.len(), 20);
}

#[test]
fn a_deadlock_is_told_not_waited_for() {
    assert_eq!(Simulation::new(1).run(std::future::pending::<()>()), None);
}

#[test]
fn a_uuid_has_version_and_variant() {
    for seed in 0..64 {
        let uuid = Simulation::new(seed).uuid_v4();
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid.as_bytes()[14], b'4');
        assert!(
            matches!(uuid.as_bytes()[19], b'8' | b'9' | b'a' | b'b'),
            "{uuid}"
        );
    }
}

async fn worker_runs_once_for_every_wake(seams: Seams) -> u64 {
    let (asked, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (ask, count) = (asked.clone(), done.clone());
    let worker = seams.spawner.worker(
        "counter",
        Box::new(move || {
            count.store(ask.load(Ordering::SeqCst), Ordering::SeqCst);
            if count.load(Ordering::SeqCst) == 100 {
                Turn::Done
            } else {
                Turn::Idle
            }
        }),
    );
    for _ in 0..100 {
        asked.fetch_add(1, Ordering::SeqCst);
        worker.wake();
        seams.clock.sleep(Duration::from_micros(50)).await;
    }
    worker.ended().await;
    done.load(Ordering::SeqCst)
}

#[test]
fn workers_miss_no_wake() {
    let machine = Simulation::new(3);
    let seams = machine.seams();
    assert_eq!(
        machine.run(worker_runs_once_for_every_wake(seams)),
        Some(100)
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()
        .unwrap();
    let done = runtime.block_on(async { worker_runs_once_for_every_wake(Seams::real()).await });
    assert_eq!(done, 100);
}

async fn blocking_and_timeouts(seams: Seams) {
    assert_eq!(seams.blocking("sum", || 2 + 2).await, Some(4));
    let never = std::future::pending::<()>();
    assert_eq!(seams.timeout(Duration::from_millis(5), never).await, None);
    assert_eq!(
        seams.timeout(Duration::from_secs(5), async { 1 }).await,
        Some(1)
    );
    let task = seams.spawn("sleeper", std::future::pending());
    task.abort();
    task.ended().await;
}

#[test]
fn both_kinds_run_blocking_work_and_time_out() {
    let machine = Simulation::new(4);
    let seams = machine.seams();
    assert_eq!(machine.run(blocking_and_timeouts(seams)), Some(()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async { blocking_and_timeouts(Seams::real()).await });
}

#[test]
fn a_disk_keeps_what_was_synced_and_tears_the_rest() {
    let chance = Simulation::new(5);
    let disk = SimulatedDisk::new();
    disk.write(0, &[1; 4 * SECTOR_BYTES]).unwrap();
    disk.sync().unwrap();
    disk.write(100, &[2; 2 * SECTOR_BYTES]).unwrap();
    let mut outcomes = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let after = disk.power_cut(&chance);
        let mut bytes = vec![0; 4 * SECTOR_BYTES];
        after.read(0, &mut bytes).unwrap();
        assert!(bytes[..100].iter().all(|byte| *byte == 1));
        assert!(
            bytes[100 + 2 * SECTOR_BYTES..]
                .iter()
                .all(|byte| *byte == 1)
        );
        let torn = [100, SECTOR_BYTES, 2 * SECTOR_BYTES].map(|at| bytes[at]);
        outcomes.insert(torn);
    }
    assert_eq!(outcomes.len(), 8, "three sectors, each there or not");
    disk.fail_after(1);
    assert!(disk.sync().is_ok());
    assert!(disk.sync().is_err() && disk.write(0, &[0]).is_err());
    assert!(disk.read(0, &mut [0]).is_ok());
}

#[test]
fn a_name_that_was_not_synced_may_be_as_before() {
    let chance = Simulation::new(6);
    let directory = SimulatedDirectory::new();
    for name in ["kept", "going"] {
        let file = directory.create(name).unwrap();
        file.write(0, name.as_bytes()).unwrap();
        file.sync().unwrap();
    }
    directory.sync().unwrap();
    let new = directory.create("new").unwrap();
    new.write(0, b"new").unwrap();
    new.sync().unwrap();
    directory.remove("going").unwrap();
    directory.rename("kept", "renamed").unwrap();
    assert_eq!(directory.names(), ["new", "renamed"]);
    let mut outcomes = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let after = directory.power_cut(&chance);
        let names = after.names();
        let either = |a: &str, b: &str| {
            let there = |name: &str| names.iter().any(|other| other == name);
            there(a) != there(b)
        };
        assert!(either("kept", "renamed"), "a rename is whole: {names:?}");
        for name in &names {
            assert!(!after.open(name).unwrap().is_empty(), "{name} was synced");
        }
        outcomes.insert(names);
    }
    assert_eq!(outcomes.len(), 8, "three changes, each there or not");
    directory.sync().unwrap();
    assert_eq!(directory.power_cut(&chance).names(), ["new", "renamed"]);
    assert!(directory.create("new").is_err() && directory.open("going").is_err());
}

#[test]
fn a_full_disk_takes_what_fits_until_there_is_room() {
    let directory = SimulatedDirectory::new();
    let file = directory.create("file").unwrap();
    directory.set_room(Some(700));
    file.write(0, &[1; 512]).unwrap();
    let error = file.write(512, &[2; 512]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 700, "the write is torn");
    file.set_len(512).unwrap();
    directory.set_room(None);
    file.write(512, &[2; 512]).unwrap();
    assert_eq!(file.len().unwrap(), 1024);
}
