//! Who waits for whom: work takes turns over logical clusters and users.
//!
//! Start at [`Fair::enter`]. A seat is the right to compute: few requests compute at once, so that
//! the order in which they get it is decided here and not by who sends most. Every logical cluster
//! and every user has a meter of the CPU time and bytes they were served; a request's place in
//! the queue is the greater of its two meters (start-time fair queueing), so neither a thousand
//! users of one workspace nor one user of a thousand workspaces pushes the others aside. A seat is
//! free again at a request's first wait (for the disk, for a version): waiting computes nothing.
//! The invariants: nobody waits while a seat is free; who was idle begins at the present, without
//! credit; what a client can make wait here is bounded, and what is refused is told when to come
//! again (APF-04). Memory is one entry for each flow that is ahead of the present.

use std::collections::BTreeMap;
use std::future::Future;
use std::hash::BuildHasher;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use foldhash::fast::FixedState;
use hanse_seams::{Clock, Seams};
use hanse_wire::status::{Result, Status};
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::limits::{FLOW_METERS_KEPT, FLOW_WAIT_MAX};

/// What a request is thought to cost before it is known, in units of [`cost`].
const ESTIMATE: u64 = 100;

/// The cost of work: a microsecond of CPU, or a KiB on its way out, which costs about as much.
fn cost(cpu: Duration, bytes: usize) -> u64 {
    let cpu = u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX);
    cpu.saturating_add(bytes as u64 / 1024)
}

/// Whose turn a request takes: its logical cluster and its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow([u64; 2]);

impl Flow {
    /// The flow of a user in a logical cluster; shard-level requests share the empty one.
    #[must_use]
    pub fn of(cluster: &str, user: &str) -> Self {
        // Two names with one hash share their turns, and nothing else.
        let hash = |seed: u64, text: &str| FixedState::with_seed(seed).hash_one(text);
        Self([hash(1, cluster), hash(2, user)])
    }
}

/// How much may be going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Requests that compute at once.
    pub seats: usize,
    /// Requests that are waiting or being answered.
    pub requests: usize,
    /// The same of one logical cluster, and of one user.
    pub requests_each: usize,
}

/// One queue and its meters; cheap to clone.
#[derive(Clone)]
pub struct Fair(Arc<Inner>);

struct Inner {
    bounds: Bounds,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Requests that hold a seat.
    seated: usize,
    /// Requests that wait or are being answered.
    active: usize,
    /// The place of the request that got a seat last: the present.
    now: u64,
    waiting: BTreeMap<Place, oneshot::Sender<()>>,
    arrivals: u64,
    meters: HashMap<u64, Meter, FixedState>,
    sweep_at: usize,
    refused: u64,
    served: u64,
}

/// A place in the queue: what decides, and the order of arrival where that is equal.
type Place = (u64, u64);

#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    /// Where this meter's next request stands.
    finish: u64,
    active: usize,
}

/// Figures for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests that wait for a seat.
    pub waiting: usize,
    /// Requests being answered.
    pub executing: usize,
    /// Requests that got a seat so far.
    pub served: u64,
    /// Requests refused so far.
    pub refused: u64,
    /// Seats.
    pub seats: usize,
}

/// Why a request is not served now; all mean 429.
fn refuse() -> Box<Status> {
    Status::too_many_requests("Too many requests, please try again later.", 1)
}

impl Fair {
    /// An empty queue.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Inner {
            bounds,
            state: Mutex::default(),
        }))
    }

    /// Figures of now.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let state = self.0.state.lock();
        Figures {
            waiting: state.waiting.len(),
            executing: state.active - state.waiting.len(),
            served: state.served,
            refused: state.refused,
            seats: self.0.bounds.seats,
        }
    }

    /// Waits for a seat.
    ///
    /// # Errors
    /// 429 when too much is going on already, for all or for this flow, or when the wait is long.
    pub async fn enter(&self, flow: Flow, seams: &Seams) -> Result<Turn> {
        let (place, called) = {
            let mut state = self.0.state.lock();
            if !state.admits(flow, &self.0.bounds) {
                state.refused += 1;
                return Err(refuse());
            }
            let place = state.arrive(flow);
            if state.seated < self.0.bounds.seats {
                state.seat(place);
                return Ok(Turn::new(self, flow, true));
            }
            let (call, called) = oneshot::channel();
            state.waiting.insert(place, call);
            (place, called)
        };
        // From here on the turn gives back what was taken, also when the caller goes away.
        let mut turn = Turn::new(self, flow, false);
        turn.place = Some(place);
        if seams.timeout(FLOW_WAIT_MAX, called).await.is_none() {
            self.0.state.lock().refused += 1;
            return Err(refuse());
        }
        turn.place = None;
        turn.seated = true;
        Ok(turn)
    }

    /// Adds to what a flow was served.
    pub fn charge(&self, flow: Flow, cpu: Duration, bytes: usize) {
        self.0.state.lock().charge(flow, cost(cpu, bytes), 0);
    }
}

impl State {
    fn admits(&self, flow: Flow, bounds: &Bounds) -> bool {
        let each = |key: &u64| {
            self.meters
                .get(key)
                .is_some_and(|m| m.active >= bounds.requests_each)
        };
        self.active < bounds.requests && !flow.0.iter().any(each)
    }

    /// Puts a request behind what its flow has been served, and counts it.
    fn arrive(&mut self, flow: Flow) -> Place {
        let finish = |key: &u64| self.meters.get(key).map_or(0, |meter| meter.finish);
        let place = flow.0.iter().map(finish).fold(self.now, u64::max);
        for key in flow.0 {
            let meter = self.meters.entry(key).or_default();
            meter.finish = place + ESTIMATE;
            meter.active += 1;
        }
        self.active += 1;
        self.arrivals += 1;
        (place, self.arrivals)
    }

    fn seat(&mut self, place: Place) {
        self.seated += 1;
        self.served += 1;
        self.now = self.now.max(place.0);
    }

    /// Gives a seat back; the first in the queue gets it.
    fn leave_seat(&mut self) {
        self.seated -= 1;
        while let Some((place, call)) = self.waiting.pop_first() {
            // Who has gone away meanwhile is passed over.
            if call.send(()).is_ok() {
                return self.seat(place);
            }
        }
    }

    fn charge(&mut self, flow: Flow, spent: u64, estimated: u64) {
        for key in flow.0 {
            let meter = self.meters.entry(key).or_insert(Meter {
                finish: self.now,
                active: 0,
            });
            meter.finish = (meter.finish + spent)
                .saturating_sub(estimated)
                .max(self.now);
        }
    }

    fn end(&mut self, flow: Flow, spent: u64) {
        self.charge(flow, spent, ESTIMATE);
        self.active -= 1;
        for key in flow.0 {
            if let Some(meter) = self.meters.get_mut(&key) {
                meter.active -= 1;
            }
        }
        // The present goes on by what is served to each of those that are here; with nobody here
        // everybody is equal again.
        match self.active {
            0 => self.meters.clear(),
            others => self.now += spent / others as u64,
        }
        if self.meters.len() > self.sweep_at {
            let now = self.now;
            self.meters
                .retain(|_, meter| meter.active > 0 || meter.finish > now);
            self.sweep_at = FLOW_METERS_KEPT.max(2 * self.meters.len());
        }
    }
}

/// A request that is being answered. Dropping it gives back all that it holds.
pub struct Turn {
    fair: Fair,
    flow: Flow,
    /// Where it waits.
    place: Option<Place>,
    seated: bool,
    cpu: Duration,
}

impl Turn {
    fn new(fair: &Fair, flow: Flow, seated: bool) -> Self {
        Self {
            fair: fair.clone(),
            flow,
            place: None,
            seated,
            cpu: Duration::ZERO,
        }
    }

    /// Does the work of the request: measures its CPU time, and leaves the seat at its first wait.
    pub async fn run<T>(mut self, clock: &dyn Clock, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        std::future::poll_fn(move |cx| {
            let began = clock.monotonic();
            let poll = work.as_mut().poll(cx);
            self.cpu += clock.monotonic().saturating_sub(began);
            if matches!(poll, Poll::Pending) {
                self.stand_up();
            }
            poll
        })
        .await
    }

    fn stand_up(&mut self) {
        if std::mem::replace(&mut self.seated, false) {
            self.fair.0.state.lock().leave_seat();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.fair.0.state.lock();
        if let Some(place) = self.place
            && state.waiting.remove(&place).is_none()
        {
            // It was called in the very moment in which it gave up.
            state.leave_seat();
        }
        if self.seated {
            state.leave_seat();
        }
        state.end(self.flow, cost(self.cpu, 0));
    }
}

/// Charges the bytes of an answer to its flow as they go out.
pub struct Outgoing {
    fair: Fair,
    flow: Flow,
    bytes: usize,
}

impl Outgoing {
    /// Bytes between two looks at the meters.
    const STEP_BYTES: usize = 64 * 1024;

    /// Nothing sent yet.
    #[must_use]
    pub fn new(fair: &Fair, flow: Flow) -> Self {
        Self {
            fair: fair.clone(),
            flow,
            bytes: 0,
        }
    }

    /// So many bytes more.
    pub fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= Self::STEP_BYTES {
            let bytes = std::mem::take(&mut self.bytes);
            self.fair.charge(self.flow, Duration::ZERO, bytes);
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if self.bytes >= 1024 {
            self.fair.charge(self.flow, Duration::ZERO, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        seats: 1,
        requests: 100,
        requests_each: 50,
    };

    /// Lets everything that can go on go on.
    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    type Order = Arc<Mutex<Vec<&'static str>>>;

    /// A request that takes its turn and writes its name down when it gets its seat.
    fn ask(fair: &Fair, cluster: &'static str, user: &'static str, order: &Order) {
        let (fair, order) = (fair.clone(), Arc::clone(order));
        let seams = Seams::real();
        tokio::spawn(async move {
            let turn = fair.enter(Flow::of(cluster, user), &seams).await;
            let clock = seams.clock.as_ref();
            turn.unwrap()
                .run(clock, async { order.lock().push(cluster) })
                .await;
        });
    }

    #[tokio::test]
    async fn a_flood_of_one_lets_the_others_in_between() {
        let (fair, seams, order) = (Fair::new(BOUNDS), Seams::real(), Order::default());
        let held = fair.enter(Flow::of("x", "x"), &seams).await.unwrap();
        for _ in 0..20 {
            ask(&fair, "loud", "u", &order);
        }
        settle().await;
        ask(&fair, "quiet", "v", &order);
        settle().await;
        assert_eq!(fair.figures().waiting, 21);
        drop(held);
        settle().await;
        let order = order.lock();
        let quiet = order.iter().position(|name| *name == "quiet");
        assert!(quiet.unwrap() <= 1, "{order:?}");
        assert_eq!((order.len(), fair.figures().executing), (21, 0));
    }

    /// Neither many users of a workspace nor many workspaces of a user are more than one flow.
    #[tokio::test]
    async fn both_meters_count() {
        for many_users in [true, false] {
            let (fair, seams, order) = (Fair::new(BOUNDS), Seams::real(), Order::default());
            let held = fair.enter(Flow::of("x", "x"), &seams).await.unwrap();
            const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
            for name in NAMES {
                match many_users {
                    true => ask(&fair, "loud", name, &order),
                    false => ask(&fair, name, "loud", &order),
                }
            }
            settle().await;
            ask(&fair, "quiet", "v", &order);
            settle().await;
            drop(held);
            settle().await;
            let quiet = order.lock().iter().position(|name| *name == "quiet");
            assert!(quiet.unwrap() <= 1, "many users: {many_users}");
        }
    }

    #[tokio::test]
    async fn who_was_served_much_waits_longer() {
        let (fair, seams, order) = (Fair::new(BOUNDS), Seams::real(), Order::default());
        let held = fair.enter(Flow::of("x", "x"), &seams).await.unwrap();
        fair.charge(Flow::of("dear", "u"), Duration::from_millis(50), 0);
        fair.charge(Flow::of("wide", "w"), Duration::ZERO, 100 << 20);
        for (cluster, user) in [("wide", "w"), ("dear", "u"), ("new", "v")] {
            ask(&fair, cluster, user, &order);
            settle().await;
        }
        drop(held);
        settle().await;
        assert_eq!(*order.lock(), ["new", "dear", "wide"]);
    }

    #[tokio::test]
    async fn a_wait_within_the_work_frees_the_seat() {
        let (fair, seams) = (Fair::new(BOUNDS), Seams::real());
        let first = fair.enter(Flow::of("a", "u"), &seams).await.unwrap();
        let (go, wait) = oneshot::channel::<()>();
        let clock = Arc::clone(&seams.clock);
        let waiting = tokio::spawn(async move {
            first
                .run(clock.as_ref(), async { wait.await.is_ok() })
                .await
        });
        settle().await;
        let second = fair.enter(Flow::of("b", "u"), &seams).await.unwrap();
        assert_eq!(fair.figures().executing, 2);
        drop(second);
        go.send(()).unwrap();
        assert!(waiting.await.unwrap());
        assert_eq!(fair.figures().executing, 0);
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_what_goes_away_leaves_nothing() {
        let (fair, seams) = (Fair::new(BOUNDS), Seams::real());
        let held = fair.enter(Flow::of("a", "u"), &seams).await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..BOUNDS.requests_each - 1 {
            let mut entering = Box::pin(fair.enter(Flow::of("a", "u"), &seams));
            let poll = std::future::poll_fn(|cx| Poll::Ready(entering.as_mut().poll(cx)));
            assert!(poll.await.is_pending());
            waiting.push(entering);
        }
        let refused = fair.enter(Flow::of("a", "v"), &seams).await.err().unwrap();
        assert_eq!((refused.code, refused.retry_after()), (429, Some(1)));
        drop(waiting);
        assert_eq!(fair.figures().waiting, 0);
        drop(held);
        let figures = fair.figures();
        assert_eq!((figures.executing, figures.refused), (0, 1));
        drop(fair.enter(Flow::of("a", "u"), &seams).await.unwrap());
    }
}
