//! A queue turned into a loop of workers.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hanse_seams::{Seams, Shutdown, Task};

use crate::queue::{Key, Queue};

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is right; its failures are forgotten.
    Done,
    /// It is right for now and must be looked at again after a while.
    Again(Duration),
    /// It failed; it comes back later each time.
    Retry,
    /// The worker has planned the next turn itself, or a change will bring one.
    Planned,
}

/// Starts `workers` tasks that take keys until the flag is raised; each finishes the key it has.
/// A key whose worker panics is retried; the worker itself is gone, since a panic is a bug.
pub fn run<K, F, Fut>(
    seams: &Seams,
    queue: &Queue<K>,
    workers: usize,
    stop: &Shutdown,
    work: F,
) -> Vec<Task>
where
    K: Key,
    F: Fn(K) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    let work = Arc::new(work);
    (0..workers.max(1))
        .map(|_| {
            let (queue, stop, work) = (queue.clone(), stop.clone(), Arc::clone(&work));
            seams.spawn("reconcile", async move {
                loop {
                    let key = tokio::select! {
                        biased;
                        () = stop.wait() => return,
                        key = queue.next() => key,
                    };
                    let turn = Turn {
                        queue: &queue,
                        key: &key,
                        ended: false,
                    };
                    let outcome = work(key.clone()).await;
                    turn.end(outcome);
                }
            })
        })
        .collect()
}

/// Gives a key back however its turn ends, also when the work panics or is dropped.
struct Turn<'a, K: Key> {
    queue: &'a Queue<K>,
    key: &'a K,
    ended: bool,
}

impl<K: Key> Turn<'_, K> {
    fn end(mut self, outcome: Outcome) {
        self.ended = true;
        match outcome {
            Outcome::Done => self.queue.forget(self.key),
            Outcome::Again(delay) => {
                self.queue.forget(self.key);
                self.queue.add_after(self.key.clone(), delay);
            }
            Outcome::Retry => {
                self.queue.retry(self.key.clone());
            }
            Outcome::Planned => {}
        }
        self.queue.done(self.key);
    }
}

impl<K: Key> Drop for Turn<'_, K> {
    fn drop(&mut self) {
        if !self.ended {
            self.queue.retry(self.key.clone());
            self.queue.done(self.key);
        }
    }
}
