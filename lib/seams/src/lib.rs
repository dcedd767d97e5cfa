//! The only door to clock, chance, disk, net and spawning: real ones and simulated ones.
//!
//! Everything above this crate takes a [`Seams`] and asks it for the time, for random bytes and for
//! somewhere to run, so that a whole server can run from one seed in one thread ([`Simulation`]).
//! Start at the three traits below; `real.rs` and `simulated.rs` implement them.
//!
//! The invariant: nothing behind a simulated seam depends on the machine. What is deliberately not
//! here: real files and sockets. An engine's files stand behind `hanse_store::Store`, and in
//! simulation lie in a [`SimulatedDirectory`]; requests enter at the service, without a socket.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

mod disk;
mod planted;
mod real;
mod shutdown;
mod simulated;
mod steady;
#[cfg(test)]
mod tests;

pub use disk::{SECTOR_BYTES, SimulatedDirectory, SimulatedDisk};
pub use planted::{Bug, Planted};
pub use real::{RealClock, RealRng, RealSpawner};
pub use shutdown::Shutdown;
pub use simulated::Simulation;
pub use steady::SteadyClock;

/// A future that owns what it needs and may move between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// Time: a monotonic one to measure with and a wall clock to write down.
pub trait Clock: Send + Sync + 'static {
    /// Time since an arbitrary but fixed origin of this process; never goes back.
    fn monotonic(&self) -> Duration;
    /// Time since 1970-01-01T00:00:00Z. May jump when the machine's clock is set.
    fn wall(&self) -> Duration;
    /// Resolves once `duration` of monotonic time has passed.
    fn sleep(&self, duration: Duration) -> BoxFuture<()>;

    /// The wall clock in whole milliseconds.
    fn wall_millis(&self) -> u64 {
        u64::try_from(self.wall().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Chance. The real one is fit for keys and tokens; the simulated one repeats from its seed.
pub trait Rng: Send + Sync + 'static {
    /// Fills `buffer` with random bytes.
    fn fill(&self, buffer: &mut [u8]);

    /// A uniformly random number.
    fn u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A random number below `bound`; 0 when `bound` is 0. The bias is below 2^-32 for bounds
    /// below 2^32, which is good enough for jitter and names and never used for keys.
    fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.u64() % bound }
    }

    /// A version 4 UUID in its usual spelling (RFC 9562), as `metadata.uid` carries it.
    fn uuid_v4(&self) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(36);
        for (place, byte) in bytes.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        text
    }
}

/// What a worker's turn says about the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There is more to do now.
    Again,
    /// Nothing left until somebody calls [`Worker::wake`].
    Idle,
    /// The worker is done for good; it is not called again.
    Done,
}

/// One turn of a worker.
pub type Step = Box<dyn FnMut() -> Turn + Send>;

/// Where things run. Names appear in thread lists and traces; they are not unique.
pub trait Spawner: Send + Sync + 'static {
    /// Runs a future to its end, beside everything else.
    fn task(&self, name: &'static str, future: BoxFuture<()>) -> Task;
    /// Runs blocking work once, never on a thread that drives futures.
    fn blocking(&self, name: &'static str, work: Box<dyn FnOnce() + Send>);
    /// A thread of its own (one turn at a time in simulation) that calls `step` whenever it is
    /// woken, until it answers [`Turn::Idle`]. `step` may block.
    fn worker(&self, name: &'static str, step: Step) -> Worker;
}

/// A handle to a running task. Dropping it lets the task run on.
pub struct Task {
    abort: Box<dyn Fn() + Send + Sync>,
    ended: Shutdown,
}

impl Task {
    /// Ends the task at its next await point. Does nothing when it has ended already.
    pub fn abort(&self) {
        (self.abort)();
    }

    /// Resolves once the task has ended: by itself, by abort or by a panic.
    pub async fn ended(&self) {
        self.ended.wait().await;
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("ended", &self.ended.is_triggered())
            .finish()
    }
}

/// A handle to a worker. Cheap to clone; the worker lives until its step answers [`Turn::Done`].
#[derive(Clone)]
pub struct Worker {
    wake: Arc<dyn Fn() + Send + Sync>,
    ended: Shutdown,
}

impl Worker {
    /// Makes sure that the worker's step runs at least once after this call.
    pub fn wake(&self) {
        (self.wake)();
    }

    /// Resolves once the step has answered [`Turn::Done`] or has panicked.
    pub async fn ended(&self) {
        self.ended.wait().await;
    }

    /// Whether the step has answered [`Turn::Done`] or has panicked.
    pub fn has_ended(&self) -> bool {
        self.ended.is_triggered()
    }

    /// Blocks this thread until the worker has ended. Only for threads that drive no futures.
    pub fn join(&self) {
        self.ended.wait_blocking();
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("ended", &self.has_ended())
            .finish()
    }
}

/// The three seams together, as one cheap handle.
#[derive(Clone)]
pub struct Seams {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Arc<dyn Rng>,
    /// Where things run.
    pub spawner: Arc<dyn Spawner>,
    /// Bugs on purpose: none but in a simulation that asks for one.
    pub planted: Planted,
}

impl Seams {
    /// The machine's own. Must be called inside a tokio runtime with its time driver on: tasks
    /// are spawned onto that runtime.
    pub fn real() -> Self {
        Self {
            clock: Arc::new(RealClock::new()),
            rng: Arc::new(RealRng::new()),
            spawner: Arc::new(RealSpawner::current()),
            planted: Planted::default(),
        }
    }

    /// Spawns a task; see [`Spawner::task`].
    pub fn spawn(
        &self,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Task {
        self.spawner.task(name, Box::pin(future))
    }

    /// Runs blocking work and resolves to its result; `None` when the work panicked.
    pub async fn blocking<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let work = move || {
            // Nobody waiting any more is no error: the work was wanted when it was asked for.
            let _ = sender.send(work());
        };
        self.spawner.blocking(name, Box::new(work));
        receiver.await.ok()
    }

    /// Resolves to `None` when `duration` passes before the future does.
    pub async fn timeout<T>(
        &self,
        duration: Duration,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let sleep = self.clock.sleep(duration);
        tokio::select! {
            biased;
            value = future => Some(value),
            () = sleep => None,
        }
    }
}

impl fmt::Debug for Seams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seams")
    }
}
