//! Who waits for whom: work takes turns over logical clusters and users.
//!
//! Start at [`Fair::enter`]. A seat is the right to compute until the next wait: few requests have
//! one at once, so that the order in which they get it is decided here and not by who sends most.
//! Every logical cluster and every user has a meter of the CPU time and bytes they were served; a
//! request's place in the queue is the greater of its two meters (start-time fair queueing), so
//! neither a thousand users of one workspace nor one user of a thousand workspaces pushes the
//! others aside. Whoever goes on after a wait, or after a slice of long work, needs a seat again;
//! so does each piece of a long answer. A flow that is ahead of the present never goes on at once,
//! even where a seat is free: it steps behind everything that this thread has to do already, among
//! which may be others' requests that have not come this far. That keeps few of its requests on
//! the threads' own queues, which know no fairness.
//! The invariants: nobody waits for long while a seat is free; who was idle begins at the present,
//! without credit; what a client can make wait here is bounded, and what is refused is told when
//! to come again (APF-04). Memory is one entry for each flow that is ahead of the present.

use std::collections::BTreeMap;
use std::future::Future;
use std::hash::BuildHasher;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use foldhash::fast::FixedState;
use hanse_seams::{Clock, Seams};
use hanse_wire::status::{Result, Status};
use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;

use crate::limits::{FLOW_METERS_KEPT, FLOW_WAIT_MAX};

/// What a request is thought to cost before it is known, in units of [`cost`].
const ESTIMATE: u64 = 100;
/// What reading a request and sending its answer costs beside the work for it.
const REQUEST_COST: u64 = 20;
/// The same of one piece of a long answer, or of some events of a watch.
const PIECE_COST: u64 = 5;

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
    /// The same of one logical cluster, and of one user.
    pub seats_each: usize,
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
    /// Seats that are taken.
    seated: usize,
    /// Requests that wait or are being answered.
    active: usize,
    /// The place of the request that got a seat last: the present.
    now: u64,
    waiting: BTreeMap<Place, Waiting>,
    /// Those who got a seat while they waited and have not looked yet.
    called: HashSet<Place, FixedState>,
    arrivals: u64,
    meters: HashMap<u64, Meter, FixedState>,
    sweep_at: usize,
    refused: u64,
    served: u64,
}

/// A place in the queue: what decides, and the order of arrival where that is equal.
type Place = (u64, u64);

struct Waiting {
    flow: Flow,
    waker: Waker,
}

#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    /// Where this meter's next request stands.
    finish: u64,
    active: usize,
    seated: usize,
}

/// Figures for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Those that wait for a seat.
    pub waiting: usize,
    /// Requests that wait or are being answered.
    pub active: usize,
    /// Requests being answered.
    pub executing: usize,
    /// Seats that are taken.
    pub seated: usize,
    /// Seats given so far.
    pub served: u64,
    /// Requests refused so far.
    pub refused: u64,
    /// Seats.
    pub seats: usize,
    /// Requests that may wait or be answered.
    pub requests: usize,
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
            active: state.active,
            executing: state.active.saturating_sub(state.waiting.len()),
            seated: state.seated,
            served: state.served,
            refused: state.refused,
            seats: self.0.bounds.seats,
            requests: self.0.bounds.requests,
        }
    }

    /// Waits for a seat.
    ///
    /// # Errors
    /// 429 when too much is going on already, for all or for this flow, or when the wait is long.
    pub async fn enter(&self, flow: Flow, seams: &Seams) -> Result<Turn> {
        let mut turn = self.admit(flow)?;
        let at_once = |cx: &mut Context<'_>| Poll::Ready(turn.seat.poll(cx).is_ready());
        if std::future::poll_fn(at_once).await {
            return Ok(turn);
        }
        // Whoever was called in the same moment steps back all the same.
        let mut stepped = false;
        let back = std::future::poll_fn(|cx| match std::mem::replace(&mut stepped, true) {
            false => Poll::Pending,
            true => turn.seat.poll(cx),
        });
        if seams.timeout(FLOW_WAIT_MAX, back).await.is_none() {
            self.0.state.lock().refused += 1;
            return Err(refuse());
        }
        Ok(turn)
    }

    /// Counts a request, if it may wait here at all.
    fn admit(&self, flow: Flow) -> Result<Turn> {
        let mut state = self.0.state.lock();
        if !state.admits(flow, &self.0.bounds) {
            state.refused += 1;
            return Err(refuse());
        }
        state.active += 1;
        for key in flow.0 {
            state.meters.entry(key).or_default().active += 1;
        }
        drop(state);
        Ok(Turn {
            home: self.clone(),
            seat: Seat::new(self, flow, ESTIMATE),
            counted: true,
            spent: 0,
        })
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

    /// A place behind what the flow has been served.
    fn arrive(&mut self, flow: Flow, estimate: u64) -> Place {
        let finish = |key: &u64| self.meters.get(key).map_or(0, |meter| meter.finish);
        let place = flow.0.iter().map(finish).fold(self.now, u64::max);
        for key in flow.0 {
            self.meters.entry(key).or_default().finish = place + estimate;
        }
        self.arrivals += 1;
        (place, self.arrivals)
    }

    fn seat(&mut self, flow: Flow, place: Place) {
        self.seated += 1;
        self.served += 1;
        self.now = self.now.max(place.0);
        for key in flow.0 {
            self.meters.entry(key).or_default().seated += 1;
        }
    }

    /// Gives a seat back.
    fn leave(&mut self, flow: Flow) {
        self.seated -= 1;
        for key in flow.0 {
            if let Some(meter) = self.meters.get_mut(&key) {
                meter.seated = meter.seated.saturating_sub(1);
            }
        }
    }

    /// Gives free seats to those who wait, and answers whom to wake once the lock is free.
    fn fill(&mut self, bounds: &Bounds) -> Called {
        let mut called = Called::None;
        while self.seated < bounds.seats {
            let may = |waiting: &Waiting| {
                bounds.seats_each >= bounds.seats
                    || !waiting.flow.0.iter().any(|key| {
                        let meter = self.meters.get(key);
                        meter.is_some_and(|meter| meter.seated >= bounds.seats_each)
                    })
            };
            let first = self.waiting.iter().find(|(_, waiting)| may(waiting));
            let Some(place) = first.map(|(place, _)| *place) else {
                break;
            };
            if let Some(waiting) = self.waiting.remove(&place) {
                self.seat(waiting.flow, place);
                self.called.insert(place);
                called.add(waiting.waker);
            }
        }
        called
    }

    fn charge(&mut self, flow: Flow, spent: u64, estimated: u64) {
        for key in flow.0 {
            let now = self.now;
            let meter = self.meters.entry(key).or_insert(Meter {
                finish: now,
                ..Meter::default()
            });
            meter.finish = (meter.finish + spent).saturating_sub(estimated).max(now);
        }
        if self.meters.len() > self.sweep_at {
            let now = self.now;
            self.meters
                .retain(|_, m| m.active > 0 || m.seated > 0 || m.finish > now);
            self.sweep_at = FLOW_METERS_KEPT.max(2 * self.meters.len());
        }
    }

    /// A request that was served so much is no longer counted.
    fn end(&mut self, flow: Flow, spent: u64) {
        self.active -= 1;
        // The present goes on by what is served to each of those that are here.
        self.now += spent / self.active.max(1) as u64;
        for key in flow.0 {
            if let Some(meter) = self.meters.get_mut(&key) {
                meter.active = meter.active.saturating_sub(1);
            }
        }
        if self.active == 0 && self.seated == 0 && self.waiting.is_empty() {
            // With nobody here everybody is equal again.
            self.meters.clear();
        }
    }
}

/// Whom to wake; seldom more than one.
enum Called {
    None,
    One(Waker),
    More(Vec<Waker>),
}

impl Called {
    fn add(&mut self, waker: Waker) {
        *self = match std::mem::replace(self, Self::None) {
            Self::None => Self::One(waker),
            Self::One(first) => Self::More(vec![first, waker]),
            Self::More(mut all) => {
                all.push(waker);
                Self::More(all)
            }
        };
    }

    fn wake(self) {
        match self {
            Self::None => {}
            Self::One(waker) => waker.wake(),
            Self::More(all) => all.into_iter().for_each(Waker::wake),
        }
    }
}

/// Where somebody stands who computes now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// Elsewhere: has nothing to compute.
    Away,
    Waiting(Place),
    Seated,
}

/// A seat that is taken again and again. Dropping it gives back all that it holds.
struct Seat {
    fair: Fair,
    flow: Flow,
    stand: Stand,
    /// What was charged already before it was spent.
    estimate: u64,
}

impl Seat {
    fn new(fair: &Fair, flow: Flow, estimate: u64) -> Self {
        Self {
            fair: fair.clone(),
            flow,
            stand: Stand::Away,
            estimate,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (inner, flow) = (&self.fair.0, self.flow);
        let mut state = inner.state.lock();
        match self.stand {
            Stand::Seated => return Poll::Ready(()),
            Stand::Waiting(place) if state.called.remove(&place) => {
                self.stand = Stand::Seated;
                return Poll::Ready(());
            }
            Stand::Waiting(place) => {
                if let Some(waiting) = state.waiting.get_mut(&place) {
                    waiting.waker.clone_from(cx.waker());
                }
                return Poll::Pending;
            }
            Stand::Away => {}
        }
        let place = state.arrive(flow, self.estimate);
        let free = state.seated < inner.bounds.seats && state.waiting.is_empty();
        if free && place.0 <= state.now && inner.bounds.seats_each >= inner.bounds.seats {
            state.seat(flow, place);
            self.stand = Stand::Seated;
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        state.waiting.insert(place, Waiting { flow, waker });
        self.stand = Stand::Waiting(place);
        let called = state.fill(&inner.bounds);
        drop(state);
        called.wake();
        Poll::Pending
    }

    /// Pays for what was done and gives the seat back, until there is more to do.
    fn stand_up(&mut self, spent: u64) {
        let mut state = self.fair.0.state.lock();
        let estimate = std::mem::take(&mut self.estimate);
        state.charge(self.flow, spent, estimate);
        match self.stand {
            Stand::Away => return,
            Stand::Waiting(place) => {
                // Called in the very moment in which it gave up, if it does not wait any more.
                if state.waiting.remove(&place).is_none() && state.called.remove(&place) {
                    state.leave(self.flow);
                }
            }
            Stand::Seated => state.leave(self.flow),
        }
        self.stand = Stand::Away;
        let called = state.fill(&self.fair.0.bounds);
        drop(state);
        called.wake();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.stand != Stand::Away || self.estimate > 0 {
            self.stand_up(0);
        }
    }
}

/// A request that is being answered. Dropping it gives back all that it holds.
pub struct Turn {
    /// The queue that counts the request.
    home: Fair,
    seat: Seat,
    counted: bool,
    spent: u64,
}

impl Turn {
    /// Does the work of the request: measures its CPU time, leaves the seat whenever it waits and
    /// takes one again to go on. Once the work has said that it is `long`, the seats are those of
    /// `fair`.
    pub async fn run<T>(
        &mut self,
        clock: &dyn Clock,
        (long, fair): (&AtomicBool, &Fair),
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = pin!(work);
        let mut moved = false;
        std::future::poll_fn(move |cx| {
            if self.seat.poll(cx).is_pending() {
                return Poll::Pending;
            }
            let began = clock.monotonic();
            let poll = work.as_mut().poll(cx);
            let spent = cost(clock.monotonic().saturating_sub(began), 0);
            if poll.is_ready() {
                self.leave(spent + REQUEST_COST, moved);
                return poll;
            }
            self.leave(spent, moved);
            if !moved && long.load(Ordering::Relaxed) {
                moved = true;
                self.seat = Seat::new(fair, self.seat.flow, 0);
            }
            poll
        })
        .await
    }

    /// Gives the seat back and pays, on both meters when the seat is another queue's.
    fn leave(&mut self, spent: u64, moved: bool) {
        self.spent += spent;
        self.seat.stand_up(spent);
        if moved {
            let mut state = self.home.0.state.lock();
            state.charge(self.seat.flow, spent, 0);
        }
    }

    /// The meter of what goes out. A stream without a foreseeable end is not counted any more.
    #[must_use]
    pub fn outgoing(mut self, endless: bool, clock: &Arc<dyn Clock>) -> Outgoing {
        self.seat = Seat::new(&self.home, self.seat.flow, 0);
        if endless {
            self.uncount();
        }
        Outgoing {
            turn: self,
            clock: Arc::clone(clock),
            busy: false,
        }
    }

    fn uncount(&mut self) {
        if std::mem::replace(&mut self.counted, false) {
            let mut state = self.home.0.state.lock();
            state.end(self.seat.flow, self.spent);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.seat = Seat::new(&self.home, self.seat.flow, 0);
        self.uncount();
    }
}

/// Charges an answer to its flow as it goes out, and lets it out by turns.
pub struct Outgoing {
    turn: Turn,
    clock: Arc<dyn Clock>,
    /// Making it took long when it was last looked for more: looking again needs a seat.
    busy: bool,
}

impl Outgoing {
    /// More than this is long for a look whether there is more to send.
    const LOOK_MAX: Duration = Duration::from_micros(100);

    /// Resolves once the next piece may be sent.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.turn.seat.poll(cx)
    }

    /// So many bytes more, in a piece that [`Outgoing::poll_ready`] has let out.
    pub fn sent(&mut self, bytes: usize) {
        self.pay(PIECE_COST + cost(Duration::ZERO, bytes));
    }

    /// All bytes at once: they belong to the request's own turn, which ends with this.
    pub fn whole(self, bytes: usize) {
        if bytes >= 1024 {
            let flow = self.turn.seat.flow;
            self.turn.home.charge(flow, Duration::ZERO, bytes);
        }
    }

    /// Looks whether there is more to send, which costs little unless much is passed over.
    pub fn look(
        &mut self,
        cx: &mut Context<'_>,
        look: impl FnOnce(&mut Context<'_>) -> Poll<()>,
    ) -> Poll<()> {
        if self.busy && self.poll_ready(cx).is_pending() {
            return Poll::Pending;
        }
        let began = self.clock.monotonic();
        let poll = look(cx);
        let took = self.clock.monotonic().saturating_sub(began);
        let long = took > Self::LOOK_MAX;
        if long || self.busy {
            self.pay(cost(took, 0));
        }
        self.busy = long;
        poll
    }

    fn pay(&mut self, spent: u64) {
        self.turn.spent += spent;
        self.turn.seat.stand_up(spent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        seats: 1,
        seats_each: 1,
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
            let (clock, long) = (seams.clock.as_ref(), AtomicBool::new(false));
            turn.unwrap()
                .run(clock, (&long, &fair), async { order.lock().push(cluster) })
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
        let mut first = fair.enter(Flow::of("a", "u"), &seams).await.unwrap();
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let (clock, same) = (Arc::clone(&seams.clock), fair.clone());
        let waiting = tokio::spawn(async move {
            let long = AtomicBool::new(false);
            let work = async { wait.await.is_ok() };
            first.run(clock.as_ref(), (&long, &same), work).await
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

    /// Who asks for much does not go on at once, even where a seat is free.
    #[tokio::test]
    async fn who_is_ahead_lets_first_come_what_is_there_already() {
        let bounds = Bounds {
            seats: 4,
            seats_each: 4,
            ..BOUNDS
        };
        let (fair, order) = (Fair::new(bounds), Order::default());
        fair.charge(Flow::of("loud", "u"), Duration::from_millis(5), 0);
        let there = fair
            .enter(Flow::of("x", "x"), &Seams::real())
            .await
            .unwrap();
        for (cluster, user) in [("loud", "u"), ("quiet", "v")] {
            ask(&fair, cluster, user, &order);
        }
        settle().await;
        drop(there);
        assert_eq!(*order.lock(), ["quiet", "loud"]);
    }

    /// Long work of one flow leaves seats for that of others.
    #[tokio::test]
    async fn no_flow_has_all_seats_for_long_work() {
        let fair = Fair::new(BOUNDS);
        let pool = Fair::new(Bounds {
            seats: 2,
            seats_each: 1,
            ..BOUNDS
        });
        let seams = Seams::real();
        let running = Arc::new(Mutex::new(Vec::new()));
        for (cluster, user) in [("loud", "u"), ("loud", "w"), ("quiet", "v")] {
            let (fair, pool, seams) = (fair.clone(), pool.clone(), seams.clone());
            let running = Arc::clone(&running);
            tokio::spawn(async move {
                let mut turn = fair.enter(Flow::of(cluster, user), &seams).await.unwrap();
                let long = AtomicBool::new(true);
                let mut slices = 0;
                let work = std::future::poll_fn(|cx| {
                    slices += 1;
                    if slices == 2 {
                        let pool = pool.figures();
                        running.lock().push((cluster, pool.seated, pool.waiting));
                    }
                    cx.waker().wake_by_ref();
                    if slices < 3 {
                        Poll::Pending
                    } else {
                        Poll::Ready(())
                    }
                });
                turn.run(seams.clock.as_ref(), (&long, &pool), work).await;
            });
        }
        settle().await;
        let running = running.lock();
        assert_eq!(running.len(), 3, "{running:?}");
        assert!(
            running.iter().all(|(_, seated, _)| *seated <= 2),
            "{running:?}"
        );
        let figures = (pool.figures().seated, fair.figures().executing);
        assert_eq!(figures, (0, 0));
    }
}
