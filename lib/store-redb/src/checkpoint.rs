//! Checkpoints: what the log holds is written into redb, later and in larger pieces.
//!
//! Start at [`Checkpointer::step`]. A checkpoint is due when the overlay is large enough, some
//! time after it was last empty, and when the store is closed. The invariant: redb states the
//! revision that it has reached, in the same transaction; a segment goes only when redb durably
//! holds all that it says, and the past that it holds is below the floor that redb states.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hanse_seams::{Seams, Turn, Worker};
use hanse_store::Revision;

use crate::engine::Shared;
use crate::format::{self, Base, Failure, META, PRESENT, write_value};
use crate::limits::{BUFFER_BYTES, CHECKPOINT_MILLIS};
use crate::overlay::Layer;
use crate::segment;

/// The time after which a checkpoint is due.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    armed: AtomicBool,
    due: AtomicBool,
}

impl Timer {
    /// Makes a checkpoint due some time from now, unless one will be already.
    pub(crate) fn arm(self: &Arc<Self>, seams: &Seams, worker: &Worker) {
        if self.armed.swap(true, Ordering::AcqRel) {
            return;
        }
        let (timer, worker, clock) = (self.clone(), worker.clone(), seams.clock.clone());
        seams.spawn("store-timer", async move {
            clock.sleep(Duration::from_millis(CHECKPOINT_MILLIS)).await;
            timer.armed.store(false, Ordering::Release);
            timer.due.store(true, Ordering::Release);
            worker.wake();
        });
    }
}

/// What a checkpoint writes.
struct Frozen {
    layer: Arc<Layer>,
    revision: Revision,
    floor: Revision,
    chain: u32,
}

/// See the module's own words.
pub(crate) struct Checkpointer {
    shared: Arc<Shared>,
    value: Vec<u8>,
}

impl Checkpointer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            value: Vec::new(),
        }
    }

    /// One turn: one checkpoint, if it is due.
    pub(crate) fn step(&mut self) -> Turn {
        let (ended, broken) = {
            let waiting = self.shared.queue.lock();
            (waiting.ended, waiting.broken)
        };
        if broken {
            return if ended { Turn::Done } else { Turn::Idle };
        }
        let Some(frozen) = self.freeze(ended) else {
            return if ended { Turn::Done } else { Turn::Idle };
        };
        // Commits that waited for room in the overlay go on beside this.
        self.shared.wake_commits();
        match self.write(&frozen) {
            Ok(base) => {
                self.publish(base, frozen);
                self.shared.wake_commits();
                Turn::Again
            }
            Err(failure) => {
                tracing::error!(%failure, "the store cannot write any more");
                self.shared.fail(&failure.to_string().into());
                self.shared.wake_commits();
                Turn::Done
            }
        }
    }

    fn freeze(&self, ended: bool) -> Option<Frozen> {
        let timer = &self.shared.timer;
        let mut published = self.shared.published.lock();
        let overlay = &mut published.overlay;
        let due = ended
            || overlay.active.bytes >= self.shared.checkpoint_bytes
            || timer.due.swap(false, Ordering::AcqRel);
        if !due || overlay.active.slots.is_empty() {
            return None;
        }
        let layer = Arc::new(std::mem::take(&mut overlay.active));
        overlay.frozen = Some(layer.clone());
        Some(Frozen {
            layer,
            revision: published.revision,
            floor: published.floor,
            chain: published.chain,
        })
    }

    fn write(&mut self, frozen: &Frozen) -> Result<Base, Failure> {
        let database = self.shared.file.database()?;
        let mut transaction = database.begin_write()?;
        // The file is opened in milliseconds also after a crash.
        transaction.set_quick_repair(true);
        {
            let mut present = transaction.open_table(PRESENT)?;
            for (key, slot) in &frozen.layer.slots {
                match &slot.value {
                    Some(value) => {
                        write_value(key, slot.version, value, &mut self.value);
                        present.insert(&key[..], &self.value[..])?;
                    }
                    None => drop(present.remove(&key[..])?),
                }
            }
            let mut meta = transaction.open_table(META)?;
            for (name, number) in [
                (format::META_REVISION, frozen.revision.0),
                (format::META_FLOOR, frozen.floor.0),
                (format::META_CHAIN, u64::from(frozen.chain)),
            ] {
                meta.insert(name, number)?;
            }
        }
        transaction.commit()?;
        self.value.shrink_to(BUFFER_BYTES);
        Base::read(database)
    }

    /// Shows readers the new redb instead of the old one and what was written into it.
    fn publish(&self, base: Base, frozen: Frozen) {
        let old = {
            let mut published = self.shared.published.lock();
            let overlay = &mut published.overlay;
            let old = std::mem::replace(&mut overlay.base, Arc::new(base));
            (old, overlay.frozen.take())
        };
        // Much is freed here, without the lock.
        drop(old);
        let keep = frozen.revision.min(frozen.floor).next();
        drop(frozen);
        self.forget(keep);
    }

    /// Takes away the segments that hold nothing from this revision on.
    fn forget(&self, keep: Revision) {
        loop {
            let front = {
                let published = self.shared.published.lock();
                let mut log = published.log.iter();
                let front = log.next().map(|(segment, _)| segment.header.first);
                front.filter(|_| {
                    log.next()
                        .is_some_and(|(next, _)| next.header.first <= keep)
                })
            };
            let Some(first) = front else {
                return;
            };
            // One after the other: a segment that is missing between others is damage.
            let disk = &self.shared.disk;
            let gone = disk
                .remove(&segment::name(first))
                .and_then(|()| disk.sync());
            if let Err(error) = gone {
                tracing::warn!(%error, "a segment of the log could not be taken away");
                return;
            }
            self.shared.published.lock().log.pop_front();
        }
    }
}

impl Drop for Checkpointer {
    /// Also when a turn panicked: without checkpoints the overlay would grow for ever.
    fn drop(&mut self) {
        self.shared.fail(&"the checkpoints have ended".into());
        self.shared.wake_commits();
    }
}
