//! The machine's own clock, chance and threads.
//!
//! This file and `simulated.rs` are the only places of the project that may name
//! `tokio::spawn`, `std::thread`, `Instant` and `SystemTime`.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use parking_lot::{Condvar, Mutex};

use crate::shutdown::TriggerOnDrop;
use crate::{BoxFuture, Clock, Rng, Shutdown, Spawner, Step, Task, Turn, Worker};

/// The machine's clocks.
#[derive(Debug)]
pub struct RealClock {
    origin: Instant,
}

impl RealClock {
    /// A clock whose monotonic time begins now.
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Default for RealClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for RealClock {
    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    fn wall(&self) -> Duration {
        // A machine whose clock stands before 1970 gets 1970.
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The operating system's random numbers, through the process's one cryptographic provider.
#[derive(Debug)]
pub struct RealRng {
    random: SystemRandom,
}

impl RealRng {
    /// A handle to the provider's generator.
    pub fn new() -> Self {
        Self {
            random: SystemRandom::new(),
        }
    }
}

impl Default for RealRng {
    fn default() -> Self {
        Self::new()
    }
}

impl Rng for RealRng {
    fn fill(&self, buffer: &mut [u8]) {
        if self.random.fill(buffer).is_err() {
            // Without random numbers every uid and every token would be a lie. The provider
            // documents no case on a supported system; going on would be worse than ending.
            std::process::abort();
        }
    }
}

/// Tasks on a tokio runtime, blocking work on its blocking pool, workers on threads of their own.
#[derive(Debug)]
pub struct RealSpawner {
    runtime: tokio::runtime::Handle,
}

impl RealSpawner {
    /// Spawns onto the runtime that the caller runs in; panics outside of one (start-up only).
    pub fn current() -> Self {
        Self {
            runtime: tokio::runtime::Handle::current(),
        }
    }

    /// Spawns onto the given runtime.
    pub fn on(runtime: tokio::runtime::Handle) -> Self {
        Self { runtime }
    }
}

impl Spawner for RealSpawner {
    fn task(&self, _name: &'static str, future: BoxFuture<()>) -> Task {
        let ended = Shutdown::new();
        let guard = TriggerOnDrop(ended.clone());
        let handle = self.runtime.spawn(async move {
            let _guard = guard;
            future.await;
        });
        Task {
            abort: Box::new(move || handle.abort()),
            ended,
        }
    }

    fn blocking(&self, _name: &'static str, work: Box<dyn FnOnce() + Send>) {
        self.runtime.spawn_blocking(work);
    }

    fn worker(&self, name: &'static str, step: Step) -> Worker {
        let bell = Arc::new(Bell::default());
        let ended = Shutdown::new();
        let guard = TriggerOnDrop(ended.clone());
        let thread_bell = bell.clone();
        let run = move || {
            // Dropped in reverse: whoever waits for the end finds the step and all it held gone.
            let _guard = guard;
            let mut step = step;
            loop {
                match step() {
                    Turn::Again => {}
                    Turn::Idle => thread_bell.wait(),
                    Turn::Done => return,
                }
            }
        };
        if std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .is_err()
        {
            // The closure, and with it the guard, was dropped: the worker counts as ended, and
            // whoever needs it finds it so.
            ended.trigger();
        }
        Worker {
            wake: Arc::new(move || bell.ring()),
            ended,
        }
    }
}

/// A bell that remembers one ring, so that a ring before the wait is not lost.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        let mut rung = self.rung.lock();
        if !*rung {
            *rung = true;
            self.changed.notify_one();
        }
    }

    fn wait(&self) {
        let mut rung = self.rung.lock();
        while !*rung {
            self.changed.wait(&mut rung);
        }
        *rung = false;
    }
}
