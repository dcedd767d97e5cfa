//! Connections that are open, bounded in number.
//!
//! Start at [`Connections::place`]. When there is no room, the connection that has done least gives
//! way: first those that never got an answer (half-open handshakes, slow headers), the oldest
//! first; then those that have been idle for longest. A connection with a request or a watch on its
//! way never gives way. The invariant: whoever holds connections and does nothing with them keeps
//! nobody out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hanse_seams::{Seams, Shutdown};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// See the module's words; cheap to clone.
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    seams: Seams,
    most: usize,
    room: Arc<Semaphore>,
    open: Mutex<BTreeMap<u64, Arc<State>>>,
    next: AtomicU64,
    gave_way: AtomicU64,
}

/// What is known of one connection.
struct State {
    answered: AtomicU64,
    busy: AtomicUsize,
    last_millis: AtomicU64,
    give_way: Shutdown,
}

/// One connection's place; dropping it makes room.
pub struct Place {
    all: Connections,
    number: u64,
    state: Arc<State>,
    _permit: OwnedSemaphorePermit,
}

/// Figures for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Connections that are open.
    pub open: usize,
    /// How many may be.
    pub most: usize,
    /// How many gave way so far.
    pub gave_way: u64,
}

impl Connections {
    /// Room for so many.
    pub fn new(most: usize, seams: &Seams) -> Self {
        Self(Arc::new(Inner {
            seams: seams.clone(),
            most,
            room: Arc::new(Semaphore::new(most)),
            open: Mutex::default(),
            next: AtomicU64::new(0),
            gave_way: AtomicU64::new(0),
        }))
    }

    /// Figures of now.
    pub fn figures(&self) -> Figures {
        Figures {
            open: self.0.open.lock().len(),
            most: self.0.most,
            gave_way: self.0.gave_way.load(Ordering::Relaxed),
        }
    }

    /// Waits for a place, and lets another connection give way for it where that is possible.
    pub async fn place(&self) -> Option<Place> {
        let room = &self.0.room;
        let permit = match Arc::clone(room).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.make_room();
                Arc::clone(room).acquire_owned().await.ok()?
            }
        };
        let state = Arc::new(State {
            answered: AtomicU64::new(0),
            busy: AtomicUsize::new(0),
            last_millis: AtomicU64::new(self.now()),
            give_way: Shutdown::new(),
        });
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.0.open.lock().insert(number, Arc::clone(&state));
        Some(Place {
            all: self.clone(),
            number,
            state,
            _permit: permit,
        })
    }

    /// Lets one connection give way; false when all of them do something.
    pub fn make_room(&self) -> bool {
        let open = self.0.open.lock();
        let idle = open
            .values()
            .filter(|state| state.busy.load(Ordering::Relaxed) == 0)
            .filter(|state| !state.give_way.is_triggered());
        let least = idle.min_by_key(|state| {
            let answered = state.answered.load(Ordering::Relaxed) > 0;
            (answered, state.last_millis.load(Ordering::Relaxed))
        });
        let Some(least) = least else { return false };
        least.give_way.trigger();
        self.0.gave_way.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn now(&self) -> u64 {
        millis(self.0.seams.clock.monotonic())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Place {
    /// Resolves when the connection is to give way.
    pub fn give_way(&self) -> Shutdown {
        self.state.give_way.clone()
    }

    /// Counts a request until the guard is dropped.
    pub fn request(self: &Arc<Self>) -> Request {
        self.state.busy.fetch_add(1, Ordering::Relaxed);
        Request(Arc::clone(self))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.0.open.lock().remove(&self.number);
    }
}

/// A request that is being answered, to its last byte.
pub struct Request(Arc<Place>);

impl Drop for Request {
    fn drop(&mut self) {
        let (state, all) = (&self.0.state, &self.0.all);
        state.last_millis.store(all.now(), Ordering::Relaxed);
        state.answered.fetch_add(1, Ordering::Relaxed);
        state.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_does_nothing_gives_way_and_who_is_busy_does_not() {
        let all = Connections::new(3, &Seams::real());
        let mut places = Vec::new();
        for _ in 0..3 {
            places.push(Arc::new(all.place().await.unwrap()));
        }
        // The first is busy, the second was answered once, the third has done nothing.
        let _busy = places[0].request();
        drop(places[1].request());
        let asked = |places: &[Arc<Place>]| -> Vec<bool> {
            let asked = places.iter().map(|p| p.give_way().is_triggered());
            asked.collect()
        };
        assert!(all.make_room());
        assert_eq!(asked(&places), [false, false, true]);
        assert!(all.make_room());
        assert_eq!(asked(&places), [false, true, true]);
        assert!(!all.make_room(), "a busy one gave way");
        let waiting = all.clone();
        let next = tokio::spawn(async move { waiting.place().await.is_some() });
        drop(places.pop());
        assert!(next.await.unwrap());
        let figures = all.figures();
        assert_eq!((figures.open, figures.most, figures.gave_way), (2, 3, 2));
    }
}
