//! The machine's clock is set, while the store is open and while it is not: nothing that was
//! acknowledged is lost, and the past is kept for as long as was promised.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hanse_seams::{Seams, Simulation, SteadyClock};
use hanse_store::{Batch, Expect, Op, Retention, Revision, Store};
use hanse_store_redb::{Config, RedbStore};

const HOURS: i64 = 5 * 3600;
const MINUTES: Duration = Duration::from_secs(600);

fn put(key: String) -> Batch {
    let op = Op {
        key: key.into(),
        expect: Expect::Any,
        put: Some(vec![0; 100].into()),
        attachment: None,
    };
    Batch {
        ops: vec![op],
        ..Batch::default()
    }
}

/// Opens the store of a machine, whose engine gets a clock that does not jump.
fn open(directory: &Path, machine: &Simulation) -> RedbStore {
    let seams = machine.seams();
    let seams = Seams {
        clock: Arc::new(SteadyClock::new(seams.clock.clone())),
        ..seams
    };
    let mut config = Config::new(directory);
    config.retention = Retention {
        age: MINUTES,
        ..Retention::FOREVER
    };
    RedbStore::open(&config, &seams).unwrap()
}

#[test]
fn a_clock_that_jumps_while_it_is_open_changes_nothing() {
    for seconds in [HOURS, -HOURS] {
        let directory = tempfile::tempdir().unwrap();
        let machine = Simulation::new(1);
        let store = open(directory.path(), &machine);
        let told = machine.clone();
        let done = machine.run(async move {
            for number in 0..50 {
                store.commit(put(format!("a{number}"))).await.unwrap();
                told.advance(Duration::from_secs(2));
            }
            told.shift_wall(seconds);
            for number in 0..50 {
                store.commit(put(format!("b{number}"))).await.unwrap();
                told.advance(Duration::from_secs(2));
            }
            // Three minutes and a bit have passed: all of the past is there.
            assert_eq!(store.floor(), Revision(0), "{seconds}");
            assert_eq!(
                store.log(Revision(0), 1000).await.unwrap().commits.len(),
                100
            );
            // What is really old goes in time, in spite of the jump.
            told.advance(MINUTES * 2);
            store.commit(put("late".to_owned())).await.unwrap();
            assert!(
                store.floor() > Revision(50),
                "{seconds}: {:?}",
                store.floor()
            );
            assert!(store.verify().await.unwrap().findings.is_empty());
            store.close().await;
        });
        assert!(done.is_some());
    }
}

#[test]
fn a_clock_that_jumps_over_a_restart_loses_nothing() {
    for seconds in [HOURS, -HOURS] {
        let directory = tempfile::tempdir().unwrap();
        let machine = Simulation::new(2);
        let store = open(directory.path(), &machine);
        let done = machine.run(async move {
            for number in 0..100 {
                store.commit(put(format!("a{number}"))).await.unwrap();
            }
            store.close().await;
        });
        assert!(done.is_some());
        machine.run_ready();
        machine.shift_wall(seconds);
        let store = open(directory.path(), &machine);
        let told = machine.clone();
        let done = machine.run(async move {
            assert_eq!(store.revision(), Revision(100));
            // Before the first commit nothing is given up, whatever the clock says.
            assert_eq!(
                store.log(Revision(0), 1000).await.unwrap().commits.len(),
                100
            );
            for number in 0..100 {
                store.commit(put(format!("b{number}"))).await.unwrap();
                told.advance(Duration::from_secs(1));
            }
            assert_eq!(store.revision(), Revision(200));
            // Of this life all of the past is there; of the one before, what the clock allows:
            // put back by hours it is kept for longer, put forward it is as old as it looks.
            let floor = store.floor();
            assert!(floor <= Revision(100), "{seconds}: {floor:?}");
            if seconds < 0 {
                assert_eq!(floor, Revision(0));
            }
            for number in 0..100 {
                for key in [format!("a{number}"), format!("b{number}")] {
                    assert!(store.get(key.into(), None).await.unwrap().is_some());
                }
            }
            assert!(store.verify().await.unwrap().findings.is_empty());
            store.close().await;
        });
        assert!(done.is_some());
    }
}
