//! redb's file, with patience: where the disk is full a write waits until there is room.
//!
//! redb cannot be used any more once a write of its has failed, and has to be opened again. What
//! it is to write is safe in the log already, so there is no hurry: the checkpoint waits, commits
//! are refused meanwhile when the overlay is full, and all goes on by itself when there is room.

use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use hanse_seams::Worker;
use parking_lot::{Condvar, Mutex};
use redb::{BackendError, StorageBackend};

use crate::disk::is_full;
use crate::limits::FULL_DISK_MILLIS;

/// Whether anybody waits, and whether waiting makes sense. None does before [`Patience::begin`].
#[derive(Debug, Default)]
pub(crate) struct Patience {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What the disk said, as long as a write waits.
    waiting: Option<Arc<str>>,
    /// Who is told that a write waits; as long as nobody is, none does.
    told: Option<Worker>,
}

impl Patience {
    /// From now on writes wait for room. The commit loop is woken when one begins to, so that
    /// it refuses what waits for redb.
    pub(crate) fn begin(&self, commits: Worker) {
        self.state.lock().told = Some(commits);
    }

    /// Why a checkpoint waits, if it does.
    pub(crate) fn waiting(&self) -> Option<Arc<str>> {
        self.state.lock().waiting.clone()
    }

    /// From now on nothing waits: the store is closed.
    pub(crate) fn end(&self) {
        self.state.lock().told = None;
        self.changed.notify_all();
    }

    /// Tries until there is room.
    fn attempt(&self, write: impl Fn() -> io::Result<()>) -> io::Result<()> {
        loop {
            match write() {
                Err(error) if is_full(&error) => {
                    let mut state = self.state.lock();
                    let Some(commits) = state.told.clone() else {
                        return Err(error);
                    };
                    if state.waiting.is_none() {
                        tracing::error!(%error, "the disk is full: the store waits for room");
                        state.waiting = Some(error.to_string().into());
                        commits.wake();
                    }
                    let pause = Duration::from_millis(FULL_DISK_MILLIS);
                    self.changed.wait_for(&mut state, pause);
                }
                result => {
                    if self.state.lock().waiting.take().is_some() {
                        tracing::info!("the store goes on");
                    }
                    return result;
                }
            }
        }
    }
}

/// See the module's own words.
#[derive(Debug)]
pub(crate) struct Patient {
    pub(crate) file: Box<dyn StorageBackend>,
    pub(crate) patience: Arc<Patience>,
}

type Place = Bound<u64>;

impl StorageBackend for Patient {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.patience.attempt(|| self.file.set_len(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.patience.attempt(|| self.file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Place, end: Place) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Place, end: Place) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Place, end: Place) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Place, end: Place) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Place, end: Place) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Place, end: Place) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
