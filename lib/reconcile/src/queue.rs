//! A queue of keys: each at most once, fair over classes (workspaces), delayed and backed off.
//!
//! Invariant: a key is in exactly one of three places: ready (in its class's line), working, or
//! delayed; `dirty` remembers that a working key must come back. Classes take turns, so one
//! workspace with a million changes delays another by one key. An empty class costs nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hanse_seams::Seams;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// What a queue is keyed by.
pub trait Key: Clone + Ord + Send + Sync + 'static {
    /// The class that shares a turn with others: a logical cluster, usually.
    fn class(&self) -> Arc<str>;
}

impl Key for Arc<str> {
    fn class(&self) -> Arc<str> {
        Arc::from("")
    }
}

/// What a queue has done and has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys that wait for a worker.
    pub depth: usize,
    /// Keys that are worked on.
    pub working: usize,
    /// Keys that came into the line so far.
    pub adds: u64,
    /// Keys that came back after a failure so far.
    pub retries: u64,
}

/// How failures slow a key down.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Pause after the first failure; it doubles with each one.
    pub first: Duration,
    /// Longest pause.
    pub max: Duration,
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            max: Duration::from_secs(300),
        }
    }
}

/// The queue; cheap to clone, all clones are one.
pub struct Queue<K> {
    inner: Arc<Inner<K>>,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

struct Inner<K> {
    seams: Seams,
    rate: Rate,
    state: Mutex<State<K>>,
    ready: Notify,
}

struct State<K> {
    lines: BTreeMap<Arc<str>, VecDeque<K>>,
    turns: VecDeque<Arc<str>>,
    queued: BTreeSet<K>,
    working: BTreeSet<K>,
    dirty: BTreeSet<K>,
    delayed: BTreeSet<(Duration, K)>,
    due: BTreeMap<K, Duration>,
    failures: BTreeMap<K, u32>,
    adds: u64,
    retries: u64,
}

impl<K: Key> Queue<K> {
    /// An empty queue.
    #[must_use]
    pub fn new(seams: Seams, rate: Rate) -> Self {
        let state = State {
            lines: BTreeMap::new(),
            turns: VecDeque::new(),
            queued: BTreeSet::new(),
            working: BTreeSet::new(),
            dirty: BTreeSet::new(),
            delayed: BTreeSet::new(),
            due: BTreeMap::new(),
            failures: BTreeMap::new(),
            adds: 0,
            retries: 0,
        };
        let inner = Inner {
            seams,
            rate,
            state: Mutex::new(state),
            ready: Notify::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Asks for a key to be worked on: now, once, however often this is called before. A delay
    /// that was planned for it is over.
    pub fn add(&self, key: K) {
        self.inner.state.lock().enqueue(key);
        self.inner.ready.notify_one();
    }

    /// Asks for a key to be worked on after a while, unless an earlier moment is planned.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let at = self.inner.seams.clock.monotonic() + delay;
        let mut state = self.inner.state.lock();
        match state.due.get(&key) {
            Some(planned) if *planned <= at => return,
            Some(planned) => {
                let old = (*planned, key.clone());
                state.delayed.remove(&old);
            }
            None => {}
        }
        state.due.insert(key.clone(), at);
        state.delayed.insert((at, key));
        drop(state);
        // A sleeping worker may now have to wake earlier.
        self.inner.ready.notify_one();
    }

    /// Asks for a key again after a failure: later each time. Answers the pause.
    pub fn retry(&self, key: K) -> Duration {
        let pause = {
            let mut state = self.inner.state.lock();
            state.retries += 1;
            let failures = state.failures.entry(key.clone()).or_insert(0);
            *failures = failures.saturating_add(1);
            let factor = 1u32.checked_shl((*failures - 1).min(20)).unwrap_or(1 << 20);
            self.inner
                .rate
                .first
                .saturating_mul(factor)
                .min(self.inner.rate.max)
        };
        // Up to a tenth more, so that what failed together does not come back together.
        let tenth = u64::try_from(pause.as_millis() / 10).unwrap_or(0);
        let pause = pause + Duration::from_millis(self.inner.seams.rng.below(tenth + 1));
        self.add_after(key, pause);
        pause
    }

    /// Forgets a key's failures.
    pub fn forget(&self, key: &K) {
        self.inner.state.lock().failures.remove(key);
    }

    /// Waits for a key. Whoever gets it must call [`Queue::done`].
    pub async fn next(&self) -> K {
        loop {
            let notified = self.inner.ready.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            let now = self.inner.seams.clock.monotonic();
            let wake = {
                let mut state = self.inner.state.lock();
                state.release(now);
                if let Some(key) = state.take() {
                    if !state.turns.is_empty() {
                        self.inner.ready.notify_one();
                    }
                    return key;
                }
                state.delayed.first().map(|(at, _)| at.saturating_sub(now))
            };
            match wake {
                Some(delay) => {
                    tokio::select! {
                        biased;
                        () = notified => {}
                        () = self.inner.seams.clock.sleep(delay) => {}
                    }
                }
                None => notified.await,
            }
        }
    }

    /// Says that a key is no longer worked on.
    pub fn done(&self, key: &K) {
        let mut state = self.inner.state.lock();
        state.working.remove(key);
        if state.dirty.remove(key) {
            state.enqueue(key.clone());
            drop(state);
            self.inner.ready.notify_one();
        }
    }

    /// Figures of now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let state = self.inner.state.lock();
        Counts {
            depth: state.queued.len(),
            working: state.working.len(),
            adds: state.adds,
            retries: state.retries,
        }
    }

    /// How many keys wait, are worked on, or are delayed.
    #[must_use]
    pub fn len(&self) -> usize {
        let state = self.inner.state.lock();
        state.queued.len() + state.working.len() + state.delayed.len()
    }

    /// Whether nothing waits, is worked on or is delayed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Key> State<K> {
    fn enqueue(&mut self, key: K) {
        if let Some(at) = self.due.remove(&key) {
            self.delayed.remove(&(at, key.clone()));
        }
        if self.working.contains(&key) {
            self.dirty.insert(key);
            return;
        }
        if !self.queued.insert(key.clone()) {
            return;
        }
        self.adds += 1;
        let class = key.class();
        let line = self.lines.entry(Arc::clone(&class)).or_default();
        if line.is_empty() {
            self.turns.push_back(class);
        }
        line.push_back(key);
    }

    fn release(&mut self, now: Duration) {
        while let Some((at, key)) = self.delayed.first().cloned() {
            if at > now {
                return;
            }
            self.enqueue(key);
        }
    }

    fn take(&mut self) -> Option<K> {
        let class = self.turns.pop_front()?;
        let line = self.lines.get_mut(&class)?;
        let key = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&class);
        } else {
            self.turns.push_back(class);
        }
        let key = key?;
        self.queued.remove(&key);
        self.working.insert(key.clone());
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hanse_seams::Simulation;
    use proptest::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct K(&'static str, u32);
    impl Key for K {
        fn class(&self) -> Arc<str> {
            Arc::from(self.0)
        }
    }

    fn drain(queue: &Queue<K>, n: usize) -> Vec<K> {
        let mut out = Vec::new();
        for _ in 0..n {
            let mut state = queue.inner.state.lock();
            let Some(key) = state.take() else { break };
            drop(state);
            queue.done(&key);
            out.push(key);
        }
        out
    }

    #[test]
    fn a_crowd_delays_another_by_one() {
        let simulation = Simulation::new(1);
        let queue = Queue::new(simulation.seams(), Rate::default());
        (0..100).for_each(|i| queue.add(K("crowd", i)));
        queue.add(K("quiet", 0));
        assert_eq!(
            drain(&queue, 3),
            [K("crowd", 0), K("quiet", 0), K("crowd", 1)]
        );
    }

    #[test]
    fn one_key_has_one_worker_and_comes_back_when_dirty() {
        let simulation = Simulation::new(1);
        let queue = Queue::new(simulation.seams(), Rate::default());
        let again = queue.clone();
        let got = simulation.run(async move {
            again.add(K("a", 1));
            again.add(K("a", 1));
            let first = again.next().await;
            again.add(K("a", 1));
            let none = again
                .inner
                .seams
                .timeout(Duration::from_secs(1), again.next())
                .await;
            again.done(&first);
            let second = again.next().await;
            again.done(&second);
            (none, second, again.is_empty())
        });
        assert_eq!(got, Some((None, K("a", 1), true)));
    }

    #[test]
    fn failures_slow_a_key_down_and_a_change_does_not_wait() {
        let simulation = Simulation::new(7);
        let seams = simulation.seams();
        let queue = Queue::new(seams.clone(), Rate::default());
        let got = simulation.run(async move {
            let mut pauses = Vec::new();
            for _ in 0..15 {
                pauses.push(queue.retry(K("a", 1)));
            }
            assert!(
                pauses
                    .windows(2)
                    .all(|w| w[1] >= w[0] || w[1] >= Duration::from_secs(300))
            );
            assert!(pauses.iter().all(|p| *p <= Duration::from_secs(330)));
            let before = seams.clock.monotonic();
            let key = queue.next().await;
            let slept = seams.clock.monotonic() - before;
            queue.done(&key);
            queue.retry(K("a", 1));
            queue.add(K("a", 1));
            let before = seams.clock.monotonic();
            queue.next().await;
            (slept, seams.clock.monotonic() - before)
        });
        let (slept, at_once) = got.unwrap();
        // The earliest planned moment counts: the first pause of 100 ms and at most a tenth.
        assert!(slept >= Duration::from_millis(100) && slept <= Duration::from_millis(111));
        assert_eq!(at_once, Duration::ZERO);
    }

    proptest! {
        #[test]
        fn every_added_key_comes_once(keys in proptest::collection::vec((0usize..3, 0u32..20), 0..80)) {
            let simulation = Simulation::new(3);
            let queue = Queue::new(simulation.seams(), Rate::default());
            let names = ["a", "b", "c"];
            let mut want: Vec<K> = keys.iter().map(|(c, i)| K(names[*c], *i)).collect();
            want.iter().for_each(|k| queue.add(k.clone()));
            let mut got = drain(&queue, 1000);
            want.sort();
            want.dedup();
            got.sort();
            prop_assert_eq!(got, want);
            prop_assert!(queue.is_empty());
        }
    }
}
