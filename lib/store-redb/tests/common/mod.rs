//! What the tests of the engine share: a simulated disk for it, and all that a store tells.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(dead_code, reason = "not every test uses everything")]

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use hanse_seams::{SimulatedDirectory, SimulatedDisk};
use hanse_store::{Commit, Entry, Range, Revision, Store};
use hanse_store_redb::{Disk, RedbStore};

/// A number of the environment.
pub fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Everything that the store has to tell.
#[derive(Debug, PartialEq)]
pub struct Truth {
    pub entries: BTreeMap<Bytes, Entry>,
    pub commits: BTreeMap<Revision, Commit>,
}

/// Reads everything there is, as a hub that opens does, and then the whole log.
pub async fn read(store: &RedbStore) -> Result<Truth, String> {
    let range = Range {
        limit: usize::MAX,
        ..Range::default()
    };
    let page = store.range(range).await;
    let page = page.map_err(|error| error.to_string())?;
    let log = store.log(store.floor(), usize::MAX).await;
    let log = log.map_err(|error| error.to_string())?;
    Ok(Truth {
        entries: page
            .entries
            .into_iter()
            .map(|entry| (entry.key.clone(), entry))
            .collect(),
        commits: log
            .commits
            .into_iter()
            .map(|commit| (commit.revision, commit))
            .collect(),
    })
}

/// The store's files on a simulated disk.
#[derive(Clone, Debug)]
pub struct Storage {
    pub directory: SimulatedDirectory,
    /// Whether it says that it has synced when it has not.
    pub lies: bool,
    /// Whether writes wait for room.
    pub patient: bool,
}

impl Storage {
    pub fn new(directory: &SimulatedDirectory) -> Self {
        Self {
            directory: directory.clone(),
            lies: false,
            patient: false,
        }
    }

    fn file(&self, disk: SimulatedDisk) -> Box<dyn redb::StorageBackend> {
        let lies = self.lies;
        Box::new(StoredFile { disk, lies })
    }
}

impl Disk for Storage {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.directory.names())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn redb::StorageBackend>> {
        Ok(self.file(self.directory.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn redb::StorageBackend>> {
        Ok(self.file(self.directory.open(name)?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.directory.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.directory.rename(from, to)
    }

    fn sync(&self) -> io::Result<()> {
        if self.lies {
            Ok(())
        } else {
            self.directory.sync()
        }
    }

    fn is_patient(&self) -> bool {
        self.patient
    }
}

#[derive(Debug)]
struct StoredFile {
    disk: SimulatedDisk,
    lies: bool,
}

impl redb::StorageBackend for StoredFile {
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
