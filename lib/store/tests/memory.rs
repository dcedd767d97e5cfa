//! The in-memory engine passes the suite.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use hanse_seams::{Clock, Simulation};
use hanse_store::suite::{self, Opening, Subject};
use hanse_store::{Batch, Expect, Limits, MemoryStore, Op, Retention, Revision, Store};

struct Memory {
    store: MemoryStore,
}

impl Subject for Memory {
    fn open(&mut self) -> Opening<'_> {
        Box::pin(async { Arc::new(self.store.reopen()) as Arc<dyn Store> })
    }

    fn reopen(&mut self, _: Arc<dyn Store>) -> Opening<'_> {
        self.open()
    }
}

#[test]
fn the_in_memory_engine_passes_the_suite() {
    let clock = Arc::new(Simulation::new(1));
    suite::run_all(256, |limits| Memory {
        store: MemoryStore::new(clock.clone(), limits, Retention::FOREVER),
    });
}

fn put(key: String) -> Batch {
    let put = Some(vec![0; 100].into());
    let op = Op {
        key: key.into(),
        expect: Expect::Any,
        put,
        attachment: None,
    };
    Batch {
        ops: vec![op],
        ..Batch::default()
    }
}

#[test]
fn the_past_is_kept_by_age_and_by_bytes() {
    let machine = Simulation::new(1);
    let clock: Arc<dyn Clock> = Arc::new(machine.clone());
    let retention = Retention {
        age: Duration::from_secs(60),
        bytes: 1000,
        ..Retention::FOREVER
    };
    let store = MemoryStore::new(clock, Limits::default(), retention);
    let told = machine.clone();
    let floors = machine.run(async move {
        let mut floors = Vec::new();
        for number in 0..20 {
            store.commit(put(format!("key{number}"))).await.unwrap();
        }
        floors.push(store.floor());
        told.advance(Duration::from_secs(61));
        store.commit(put("late".into())).await.unwrap();
        floors.push(store.floor());
        floors
    });
    assert_eq!(floors, Some(vec![Revision(11), Revision(20)]));
}

#[test]
fn the_past_is_kept_by_its_number_of_writes() {
    let clock = Arc::new(Simulation::new(1));
    let retention = Retention {
        records: 7,
        ..Retention::FOREVER
    };
    let store = MemoryStore::new(clock.clone(), Limits::default(), retention);
    let floor = clock.run(async move {
        for number in 0..20 {
            store.commit(put(format!("key{number}"))).await.unwrap();
        }
        store.floor()
    });
    assert_eq!(floor, Some(Revision(13)));
}
