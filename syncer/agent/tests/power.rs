//! Power cuts and torn writes: the journal opens again with everything that was durable, whole.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::io;

use hanse_agent::{Change, Disk, Journal};
use hanse_seams::{Rng, SimulatedDisk, Simulation};

/// redb's file on a simulated disk.
#[derive(Debug)]
struct Storage(SimulatedDisk);

impl redb::StorageBackend for Storage {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// Writes numbered batches until the disk fails; answers the last one that was durable. Between
/// them stand changes that may be lost.
fn life(disk: &SimulatedDisk, from: u64) -> (u64, u64) {
    let (mut durable, mut tried) = (from, from);
    let Ok(journal) = Disk::open_on(Storage(disk.clone())) else {
        return (durable, tried);
    };
    loop {
        tried += 1;
        let (number, intent) = (tried.to_string(), vec![b'i'; 700]);
        let intent = [number.as_bytes(), b" ", &intent].concat();
        let changes = [
            Change::Intent("a", &intent),
            Change::Standing("a", number.as_bytes()),
            Change::Cursor(&number),
        ];
        if journal.write(&changes, true).is_err() {
            return (durable, tried);
        }
        durable = tried;
        let lost = Change::Standing("b", number.as_bytes());
        if journal.write(&[lost], false).is_err() {
            return (durable, tried);
        }
    }
}

#[test]
fn what_was_durable_is_there_and_whole() {
    let mut batches = 0;
    for seed in 0..40u64 {
        let chance = Simulation::new(seed);
        let mut disk = SimulatedDisk::new();
        drop(Disk::open_on(Storage(disk.clone())).unwrap());
        let mut number = 0;
        for _ in 0..4 {
            disk.fail_after(chance.below(400));
            let (durable, tried) = life(&disk, number);
            disk = disk.power_cut(&chance);
            let journal = Disk::open_on(Storage(disk.clone()));
            let journal = journal.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let cursor = journal.cursor().unwrap();
            let found: u64 = cursor.parse().unwrap_or(0);
            let possible = durable..=tried;
            assert!(
                possible.contains(&found),
                "seed {seed}: {found} {possible:?}"
            );
            let rows = journal.standings().unwrap();
            let of = |name: &str| rows.iter().find(|(n, _)| n == name).map(|(_, b)| b.clone());
            if found > 0 {
                assert_eq!(of("a").unwrap(), cursor.as_bytes(), "seed {seed}");
                let intent = journal.intent("a").unwrap().unwrap();
                assert!(
                    intent.starts_with(format!("{cursor} ").as_bytes()),
                    "seed {seed}"
                );
                assert_eq!(intent.len(), cursor.len() + 701, "seed {seed}");
            }
            batches += found - number;
            number = found;
        }
    }
    assert!(batches > 500, "too little happened: {batches}");
}
