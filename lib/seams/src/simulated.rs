//! One thread, one seed: a clock that moves when told to, chance that repeats, and a scheduler that
//! picks the next task by that chance.
//!
//! Start at [`Simulation::run`]; [`Simulation::process`] is a part of the machine that can be
//! killed on its own, as a server is under its clients. The invariant: the order of everything
//! follows from the seed and from the calls made, so the same program with the same seed does the
//! same thing; `trace()` states a hash over all picks to compare. Time moves only when nothing can
//! run, and then straight to the next sleeper.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use crate::planted::{Bug, Planted};
use crate::shutdown::TriggerOnDrop;
use crate::{BoxFuture, Clock, Rng, Seams, Shutdown, Spawner, Step, Task, Turn, Worker};

/// The wall clock of a simulation starts here: 2026-01-01T00:00:00Z.
const WALL_ORIGIN: Duration = Duration::from_secs(1_767_225_600);

/// A simulated machine, or one process on it. Cheap to clone; all clones are the same machine.
#[derive(Clone)]
pub struct Simulation {
    shared: Arc<Shared>,
    /// Whose jobs are started through this handle.
    process: u64,
    planted: Planted,
}

struct Shared {
    state: Mutex<State>,
}

struct State {
    random: SplitMix,
    schedule: SplitMix,
    now: Duration,
    /// What the wall clock said when this machine's time began.
    wall: Duration,
    next_id: u64,
    jobs: BTreeMap<u64, Job>,
    /// The process of each job.
    owners: BTreeMap<u64, u64>,
    /// Processes that were killed: what they still try to start never runs.
    killed: BTreeSet<u64>,
    /// In the order of their numbers: in which order they were woken is not always ours to say (a
    /// channel may wake its receivers in an order of its own).
    ready: BTreeSet<u64>,
    sleepers: BinaryHeap<Reverse<(Duration, u64)>>,
    sleeping: BTreeMap<u64, Option<Waker>>,
    trace: u64,
}

/// What stands in a job's place while it runs, and how often it was woken meanwhile.
enum Job {
    Task {
        future: Option<BoxFuture<()>>,
        woken: bool,
    },
    Blocking(Option<Box<dyn FnOnce() + Send>>),
    Worker {
        step: Option<Step>,
        woken: bool,
        ended: Shutdown,
    },
}

impl Simulation {
    /// A machine whose whole behaviour follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: SplitMix(seed),
            schedule: SplitMix(seed ^ 0x9e37_79b9_7f4a_7c15),
            now: Duration::ZERO,
            wall: WALL_ORIGIN,
            next_id: 0,
            jobs: BTreeMap::new(),
            owners: BTreeMap::new(),
            killed: BTreeSet::new(),
            ready: BTreeSet::new(),
            sleepers: BinaryHeap::new(),
            sleeping: BTreeMap::new(),
            trace: 0,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
            }),
            process: 0,
            planted: Planted::default(),
        }
    }

    /// The same machine with a bug in whatever is given its seams, to see that a test finds it.
    #[must_use]
    pub fn with_bug(mut self, bug: Option<Bug>) -> Self {
        self.planted = Planted(bug);
        self
    }

    /// A new process on this machine: what is started through its seams ends when it is killed.
    #[must_use]
    pub fn process(&self) -> Self {
        let mut process = self.clone();
        let mut state = self.shared.state.lock();
        state.next_id += 1;
        process.process = state.next_id;
        drop(state);
        process
    }

    /// Ends everything that this handle's process runs, at once and between two of its steps, as
    /// `kill -9` does. The running step ends where it waits next.
    pub fn kill(&self) {
        let mut ended = Vec::new();
        {
            let mut state = self.shared.state.lock();
            let State {
                jobs,
                owners,
                killed,
                ready,
                ..
            } = &mut *state;
            killed.insert(self.process);
            owners.retain(|id, owner| {
                let ends = *owner == self.process;
                if ends {
                    ended.extend(jobs.remove(id));
                }
                !ends
            });
            ready.retain(|id| jobs.contains_key(id));
        }
        // Outside the lock: what is dropped may call back into the machine.
        drop(ended);
    }

    /// The seams of this machine.
    pub fn seams(&self) -> Seams {
        Seams {
            clock: Arc::new(self.clone()),
            rng: Arc::new(self.clone()),
            spawner: Arc::new(self.clone()),
            planted: self.planted,
        }
    }

    /// Moves the clock on without running anything; sleepers that are due become ready.
    pub fn advance(&self, by: Duration) {
        let wakers = {
            let mut state = self.shared.state.lock();
            state.now += by;
            state.due()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Sets the wall clock forward, or back, by so many seconds; nothing else notices.
    pub fn shift_wall(&self, seconds: i64) {
        let by = Duration::from_secs(seconds.unsigned_abs());
        let mut state = self.shared.state.lock();
        state.wall = match seconds < 0 {
            true => state.wall.saturating_sub(by),
            false => state.wall + by,
        };
    }

    /// Runs one ready job; false when none is ready.
    pub fn turn(&self) -> bool {
        let Some((id, work)) = self.shared.state.lock().pick() else {
            return false;
        };
        match work {
            Work::Task(mut future) => {
                let waker = Waker::from(Arc::new(JobWaker {
                    id,
                    machine: self.clone(),
                }));
                let done = future
                    .as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_ready();
                // Dropped outside the lock: a future's parts may call back into the machine.
                let rest = if done { None } else { Some(future) };
                self.put_back_task(id, rest);
            }
            Work::Blocking(work) => work(),
            Work::Worker(mut step) => {
                let turn = step();
                self.put_back_worker(id, step, turn);
            }
        }
        true
    }

    /// Runs everything that can run without time passing.
    pub fn run_ready(&self) {
        while self.turn() {}
    }

    /// Runs `future` to its end, with everything spawned meanwhile beside it; time jumps to the
    /// next sleeper whenever nothing can run. `None` when nothing will ever run again (a
    /// deadlock), so that a test can say so instead of hanging.
    pub fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let slot = Arc::new(Mutex::new(None));
        let filled = slot.clone();
        let task = self.seams().spawn("main", async move {
            let value = future.await;
            *filled.lock() = Some(value);
        });
        loop {
            self.run_ready();
            if task.ended.is_triggered() {
                return slot.lock().take();
            }
            let next = self.shared.state.lock().next_sleeper();
            let now = self.monotonic();
            match next {
                Some(at) => self.advance(at.saturating_sub(now)),
                None => return None,
            }
        }
    }

    /// A hash over every pick of the scheduler so far: equal for equal runs.
    pub fn trace(&self) -> u64 {
        self.shared.state.lock().trace
    }

    fn put_back_task(&self, id: u64, rest: Option<BoxFuture<()>>) {
        let mut state = self.shared.state.lock();
        let dropped = match (state.jobs.get_mut(&id), rest) {
            (Some(Job::Task { future, woken }), Some(rest)) => {
                *future = Some(rest);
                if std::mem::take(woken) {
                    state.ready.insert(id);
                }
                None
            }
            (_, rest) => {
                state.remove(id);
                rest
            }
        };
        drop(state);
        drop(dropped);
    }

    fn put_back_worker(&self, id: u64, rest: Step, turn: Turn) {
        let mut state = self.shared.state.lock();
        if let Some(Job::Worker { step, woken, .. }) = state.jobs.get_mut(&id)
            && turn != Turn::Done
        {
            *step = Some(rest);
            if std::mem::take(woken) || turn == Turn::Again {
                state.ready.insert(id);
            }
            return;
        }
        let job = state.remove(id);
        drop(state);
        drop(rest);
        if let Some(Job::Worker { ended, .. }) = job {
            // Outside the lock: it wakes jobs of this machine.
            ended.trigger();
        }
    }

    fn add(&self, job: Job) -> u64 {
        let mut state = self.shared.state.lock();
        state.next_id += 1;
        let id = state.next_id;
        if state.killed.contains(&self.process) {
            drop(state);
            drop(job);
            return id;
        }
        state.jobs.insert(id, job);
        state.owners.insert(id, self.process);
        state.ready.insert(id);
        id
    }

    fn wake(&self, id: u64) {
        let mut state = self.shared.state.lock();
        let State { jobs, ready, .. } = &mut *state;
        let running = match jobs.get_mut(&id) {
            Some(Job::Task { future, woken }) => future.is_none().then_some(woken),
            Some(Job::Worker { step, woken, .. }) => step.is_none().then_some(woken),
            Some(Job::Blocking(_)) | None => return,
        };
        match running {
            Some(woken) => *woken = true,
            None => drop(ready.insert(id)),
        }
    }

    fn abort(&self, id: u64) {
        let job = {
            let mut state = self.shared.state.lock();
            state.ready.remove(&id);
            state.remove(id)
        };
        drop(job);
    }
}

enum Work {
    Task(BoxFuture<()>),
    Blocking(Box<dyn FnOnce() + Send>),
    Worker(Step),
}

impl State {
    fn remove(&mut self, id: u64) -> Option<Job> {
        self.owners.remove(&id);
        self.jobs.remove(&id)
    }

    fn pick(&mut self) -> Option<(u64, Work)> {
        while !self.ready.is_empty() {
            let count = self.ready.len() as u64;
            let place = usize::try_from(self.schedule.next() % count).unwrap_or(0);
            let id = self.ready.iter().nth(place).copied()?;
            self.ready.remove(&id);
            let work = match self.jobs.get_mut(&id) {
                Some(Job::Task { future, .. }) => future.take().map(Work::Task),
                Some(Job::Worker { step, .. }) => step.take().map(Work::Worker),
                Some(Job::Blocking(work)) => {
                    let work = work.take().map(Work::Blocking);
                    self.remove(id);
                    work
                }
                None => None,
            };
            if let Some(work) = work {
                self.trace = SplitMix(self.trace ^ id).next();
                return Some((id, work));
            }
        }
        None
    }

    fn next_sleeper(&mut self) -> Option<Duration> {
        while let Some(Reverse((at, id))) = self.sleepers.peek().copied() {
            if self.sleeping.contains_key(&id) {
                return Some(at);
            }
            self.sleepers.pop();
        }
        None
    }

    fn due(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while let Some(at) = self.next_sleeper() {
            if at > self.now {
                break;
            }
            if let Some(Reverse((_, id))) = self.sleepers.pop() {
                wakers.extend(self.sleeping.remove(&id).flatten());
            }
        }
        wakers
    }
}

struct JobWaker {
    id: u64,
    machine: Simulation,
}

impl Wake for JobWaker {
    fn wake(self: Arc<Self>) {
        self.machine.wake(self.id);
    }
}

struct Sleep {
    machine: Simulation,
    until: Duration,
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let machine = self.machine.clone();
        let mut state = machine.shared.state.lock();
        if state.now >= self.until {
            return Poll::Ready(());
        }
        let id = match self.id {
            Some(id) => id,
            None => {
                state.next_id += 1;
                let id = state.next_id;
                state.sleepers.push(Reverse((self.until, id)));
                self.id = Some(id);
                id
            }
        };
        state.sleeping.insert(id, Some(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let waker = self.machine.shared.state.lock().sleeping.remove(&id);
            drop(waker);
        }
    }
}

impl Clock for Simulation {
    fn monotonic(&self) -> Duration {
        self.shared.state.lock().now
    }

    fn wall(&self) -> Duration {
        let state = self.shared.state.lock();
        state.wall + state.now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        let until = self.monotonic() + duration;
        Box::pin(Sleep {
            machine: self.clone(),
            until,
            id: None,
        })
    }
}

impl Rng for Simulation {
    fn fill(&self, buffer: &mut [u8]) {
        let mut state = self.shared.state.lock();
        for chunk in buffer.chunks_mut(8) {
            let bytes = state.random.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

impl Spawner for Simulation {
    fn task(&self, _name: &'static str, future: BoxFuture<()>) -> Task {
        let ended = Shutdown::new();
        let guard = TriggerOnDrop(ended.clone());
        let future: BoxFuture<()> = Box::pin(async move {
            let _guard = guard;
            future.await;
        });
        let id = self.add(Job::Task {
            future: Some(future),
            woken: false,
        });
        let machine = self.clone();
        Task {
            abort: Box::new(move || machine.abort(id)),
            ended,
        }
    }

    fn blocking(&self, _name: &'static str, work: Box<dyn FnOnce() + Send>) {
        self.add(Job::Blocking(Some(work)));
    }

    fn worker(&self, _name: &'static str, step: Step) -> Worker {
        let ended = Shutdown::new();
        let job = Job::Worker {
            step: Some(step),
            woken: false,
            ended: ended.clone(),
        };
        let id = self.add(job);
        let machine = self.clone();
        Worker {
            wake: Arc::new(move || machine.wake(id)),
            ended,
        }
    }
}

/// SplitMix64: small, even, and the same on every machine.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
