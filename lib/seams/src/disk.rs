//! A simulated disk: what was not synced may be lost, in part, when the power goes.
//!
//! [`SimulatedDisk`] is one flat file. Writes go to a cache first; [`SimulatedDisk::sync`] makes
//! them durable. When the power goes ([`SimulatedDisk::power_cut`]) each write since the last sync
//! survives or not, by chance, sector by sector. A disk can also be told to fail after a number of
//! operations, which is how a test reaches every point in the middle of a commit, or to be full.
//! [`SimulatedDirectory`] is several such files under names; the names have a cache of their own.
//! The real disk needs no seam of its own: only engines touch it, below the contract of
//! `hanse-store`.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::Rng;

/// What a disk writes at once: a torn write ends at a multiple of it.
pub const SECTOR_BYTES: usize = 512;

/// See the module's own words. Cheap to clone; all clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    meter: Arc<Mutex<Meter>>,
}

#[derive(Debug, Default)]
struct State {
    durable: Vec<u8>,
    cached: Vec<u8>,
    unsynced: Vec<Change>,
}

/// What all files of a disk share.
#[derive(Debug, Default)]
struct Meter {
    operations: u64,
    fail_after: Option<u64>,
    /// Bytes that can still be written; `None` for no end.
    room: Option<u64>,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Length(usize),
}

impl Meter {
    fn operation(&mut self) -> io::Result<()> {
        self.operations += 1;
        match self.fail_after {
            Some(limit) if self.operations > limit => Err(io::Error::other("the power is gone")),
            _ => Ok(()),
        }
    }

    /// How many of so many bytes find room.
    fn take(&mut self, bytes: usize) -> usize {
        let Some(room) = &mut self.room else {
            return bytes;
        };
        let fits = bytes.min(usize::try_from(*room).unwrap_or(usize::MAX));
        *room -= fits as u64;
        fits
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of the file.
    pub fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().cached.len() as u64)
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.state.lock().cached.is_empty()
    }

    /// Fills `out` from the file; an error when the file ends before.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = place(offset)?;
        let state = self.state.lock();
        let bytes = state.cached.get(offset..offset.saturating_add(out.len()));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    /// Writes into the cache, growing the file where needed.
    pub fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = place(offset)?;
        let fits = {
            let mut meter = self.meter.lock();
            meter.operation()?;
            meter.take(data.len())
        };
        let mut state = self.state.lock();
        let written = &data[..fits];
        write(&mut state.cached, offset, written);
        state.unsynced.push(Change::Write {
            offset,
            data: written.to_vec(),
        });
        match fits == data.len() {
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    /// Sets the length of the file, in the cache; new bytes are zero.
    pub fn set_len(&self, length: u64) -> io::Result<()> {
        let length = place(length)?;
        self.meter.lock().operation()?;
        let mut state = self.state.lock();
        state.cached.resize(length, 0);
        state.unsynced.push(Change::Length(length));
        Ok(())
    }

    /// Makes everything written so far durable.
    pub fn sync(&self) -> io::Result<()> {
        self.meter.lock().operation()?;
        let mut guard = self.state.lock();
        let state = &mut *guard;
        // What was not touched since the last time need not be copied again.
        for change in state.unsynced.drain(..) {
            match change {
                Change::Length(length) => state.durable.resize(length, 0),
                Change::Write { offset, data } => write(&mut state.durable, offset, &data),
            }
        }
        Ok(())
    }

    /// Lets so many more operations succeed and none after them.
    pub fn fail_after(&self, operations: u64) {
        let mut meter = self.meter.lock();
        meter.fail_after = Some(meter.operations + operations);
    }

    /// How many operations there were, failed ones included.
    pub fn operations(&self) -> u64 {
        self.meter.lock().operations
    }

    /// Leaves room for so many more bytes, whether they are new or written over old ones. The
    /// write that finds too little is written in part and fails as on a full disk. `None`: there
    /// is room again.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.meter.lock().room = bytes;
    }

    /// The disk as the next start finds it: all that was synced, and of the rest what chance let
    /// reach the platter.
    pub fn power_cut(&self, chance: &dyn Rng) -> Self {
        let state = self.state.lock();
        let mut bytes = state.durable.clone();
        for change in &state.unsynced {
            match change {
                Change::Length(length) if chance.below(2) == 0 => bytes.resize(*length, 0),
                Change::Length(_) => {}
                Change::Write { offset, data } => {
                    let mut at = *offset;
                    for sector in sectors(*offset, data) {
                        if chance.below(2) == 0 {
                            write(&mut bytes, at, sector);
                        }
                        at += sector.len();
                    }
                }
            }
        }
        let state = State {
            durable: bytes.clone(),
            cached: bytes,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            meter: Arc::default(),
        }
    }
}

/// Files under names on one simulated disk. A name that was made, taken away or changed since
/// [`SimulatedDirectory::sync`] may be as it was before when the power goes, whatever was synced
/// of the file itself. Cheap to clone; all clones are the same directory.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDirectory {
    names: Arc<Mutex<Names>>,
    meter: Arc<Mutex<Meter>>,
}

type Files = BTreeMap<String, SimulatedDisk>;

#[derive(Debug, Default)]
struct Names {
    durable: Files,
    cached: Files,
    unsynced: Vec<Naming>,
}

#[derive(Clone, Debug)]
enum Naming {
    Made(String, SimulatedDisk),
    Removed(String),
    Renamed(String, String),
}

impl Naming {
    fn apply(self, files: &mut Files) {
        match self {
            Self::Made(name, file) => drop(files.insert(name, file)),
            Self::Removed(name) => drop(files.remove(&name)),
            Self::Renamed(from, to) => {
                if let Some(file) = files.remove(&from) {
                    files.insert(to, file);
                }
            }
        }
    }
}

impl SimulatedDirectory {
    /// An empty directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// The names of all files, in order.
    pub fn names(&self) -> Vec<String> {
        self.names.lock().cached.keys().cloned().collect()
    }

    /// The file of this name.
    pub fn open(&self, name: &str) -> io::Result<SimulatedDisk> {
        let file = self.names.lock().cached.get(name).cloned();
        file.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// A new, empty file under a name that is free.
    pub fn create(&self, name: &str) -> io::Result<SimulatedDisk> {
        if self.names.lock().cached.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = SimulatedDisk {
            meter: self.meter.clone(),
            ..SimulatedDisk::default()
        };
        self.change(Naming::Made(name.to_owned(), file.clone()))?;
        Ok(file)
    }

    /// Takes a name away. Whoever has the file open keeps it.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        self.open(name)?;
        self.change(Naming::Removed(name.to_owned()))
    }

    /// Gives a file another name, in place of the file that had it: all at once.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.open(from)?;
        self.change(Naming::Renamed(from.to_owned(), to.to_owned()))
    }

    fn change(&self, naming: Naming) -> io::Result<()> {
        self.meter.lock().operation()?;
        let mut names = self.names.lock();
        naming.clone().apply(&mut names.cached);
        names.unsynced.push(naming);
        Ok(())
    }

    /// Makes the names durable, and nothing of what the files hold.
    pub fn sync(&self) -> io::Result<()> {
        self.meter.lock().operation()?;
        let mut names = self.names.lock();
        names.durable = names.cached.clone();
        names.unsynced.clear();
        Ok(())
    }

    /// As [`SimulatedDisk::fail_after`], counting the operations of all files and of the names.
    pub fn fail_after(&self, operations: u64) {
        let mut meter = self.meter.lock();
        meter.fail_after = Some(meter.operations + operations);
    }

    /// As [`SimulatedDisk::set_room`], for all files together.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.meter.lock().room = bytes;
    }

    /// The directory as the next start finds it: each name that changed since the last sync as
    /// chance left it, and each file as [`SimulatedDisk::power_cut`] leaves it.
    pub fn power_cut(&self, chance: &dyn Rng) -> Self {
        let meter = Arc::default();
        let names = self.names.lock();
        let mut files = names.durable.clone();
        for naming in &names.unsynced {
            if chance.below(2) == 0 {
                naming.clone().apply(&mut files);
            }
        }
        for file in files.values_mut() {
            *file = SimulatedDisk {
                meter: Arc::clone(&meter),
                ..file.power_cut(chance)
            };
        }
        let names = Names {
            durable: files.clone(),
            cached: files,
            ..Names::default()
        };
        Self {
            names: Arc::new(Mutex::new(names)),
            meter,
        }
    }
}

/// The data in the pieces in which it reaches the platter.
fn sectors(offset: usize, mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut room = SECTOR_BYTES - offset % SECTOR_BYTES;
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        let (sector, rest) = data.split_at(room.min(data.len()));
        (data, room) = (rest, SECTOR_BYTES);
        Some(sector)
    })
}
