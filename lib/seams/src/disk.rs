//! A simulated disk: what was not synced may be lost, in part, when the power goes.
//!
//! One flat file. Writes go to a cache first; [`SimulatedDisk::sync`] makes them durable. When the
//! power goes ([`SimulatedDisk::power_cut`]) each write since the last sync survives or not, by
//! chance, sector by sector. A disk can also be told to fail after a number of operations, which
//! is how a test reaches every point in the middle of a commit. The real disk needs no seam of its
//! own: only engines touch it, below the contract of `hanse-store`.

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
}

#[derive(Debug, Default)]
struct State {
    durable: Vec<u8>,
    cached: Vec<u8>,
    unsynced: Vec<Change>,
    operations: u64,
    fail_after: Option<u64>,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Length(usize),
}

impl State {
    fn operation(&mut self) -> io::Result<()> {
        self.operations += 1;
        match self.fail_after {
            Some(limit) if self.operations > limit => Err(io::Error::other("the power is gone")),
            _ => Ok(()),
        }
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
        let mut state = self.state.lock();
        state.operation()?;
        write(&mut state.cached, offset, data);
        state.unsynced.push(Change::Write {
            offset,
            data: data.to_vec(),
        });
        Ok(())
    }

    /// Sets the length of the file, in the cache; new bytes are zero.
    pub fn set_len(&self, length: u64) -> io::Result<()> {
        let length = place(length)?;
        let mut state = self.state.lock();
        state.operation()?;
        state.cached.resize(length, 0);
        state.unsynced.push(Change::Length(length));
        Ok(())
    }

    /// Makes everything written so far durable.
    pub fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operation()?;
        state.durable = state.cached.clone();
        state.unsynced.clear();
        Ok(())
    }

    /// Lets so many more operations succeed and none after them.
    pub fn fail_after(&self, operations: u64) {
        let mut state = self.state.lock();
        state.fail_after = Some(state.operations + operations);
    }

    /// How many operations there were, failed ones included.
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
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
