//! A flag that is raised once and that any number of tasks and threads can wait for.
//!
//! Used for stopping a server in order and for knowing that a task has ended. The invariant: once
//! triggered it stays triggered, and a waiter that comes late returns at once.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

/// See the module's own words. Cheap to clone; all clones are the same flag.
#[derive(Clone, Default)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    triggered: Mutex<bool>,
    threads: Condvar,
    tasks: Notify,
}

impl Shutdown {
    /// A flag that is down.
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the flag and wakes everybody. Further calls do nothing.
    pub fn trigger(&self) {
        *self.inner.triggered.lock() = true;
        self.inner.threads.notify_all();
        self.inner.tasks.notify_waiters();
    }

    /// Whether the flag is up.
    pub fn is_triggered(&self) -> bool {
        *self.inner.triggered.lock()
    }

    /// Resolves once the flag is up.
    pub async fn wait(&self) {
        loop {
            let notified = self.inner.tasks.notified();
            tokio::pin!(notified);
            // Registered before looking, so that a trigger in between is not missed.
            notified.as_mut().enable();
            if self.is_triggered() {
                return;
            }
            notified.await;
        }
    }

    /// Blocks this thread until the flag is up. Only for threads that drive no futures.
    pub fn wait_blocking(&self) {
        let mut triggered = self.inner.triggered.lock();
        while !*triggered {
            self.inner.threads.wait(&mut triggered);
        }
    }
}

impl std::fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Shutdown")
            .field(&self.is_triggered())
            .finish()
    }
}

/// Raises the flag when dropped: also when what held it panicked or was aborted.
pub(crate) struct TriggerOnDrop(pub(crate) Shutdown);

impl Drop for TriggerOnDrop {
    fn drop(&mut self) {
        self.0.trigger();
    }
}
