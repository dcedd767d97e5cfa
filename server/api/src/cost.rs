//! What tenants cost: requests, time and bytes, counted for each logical cluster that is active.
//!
//! Start at [`Costs::charge`], which every request ends with; `tenants.rs` shows the figures. A
//! tenant's counters are five numbers, however much it does. The invariant: their count is
//! bounded, and who asks for something in vain opens none, so nobody pushes another's out by
//! guessing names. Counters of those that were quiet while many others were active are dropped;
//! what is shown says since when it counts, and a reset is nothing new to who scrapes counters.
//! Deliberately not here: what a tenant has stored, which is looked up when it is asked for
//! (`Hub::usage`), and whose turn it is (`flow.rs`).

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use foldhash::fast::FixedState;
use hanse_cache::ClusterName;
use hanse_seams::Clock;
use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::body::Body;
use crate::limits::TENANTS_COUNTED;

/// The figures of one tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Since when it is counted, in microseconds since 1970.
    pub since_micros: i64,
    /// Requests that were answered.
    pub requests: u64,
    /// Time for which a thread worked on them: the encryption of the connection and the group
    /// commits, which all share, are not in it.
    pub cpu: Duration,
    /// Bytes of their bodies.
    pub received_bytes: u64,
    /// Bytes of the answers' bodies, those of watches among them.
    pub sent_bytes: u64,
    /// Bytes that were sent to watches.
    pub watch_bytes: u64,
}

#[derive(Default)]
struct Counters {
    since_micros: i64,
    requests: AtomicU64,
    cpu_nanos: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    watch_bytes: AtomicU64,
}

type Accounts = HashMap<ClusterName, Arc<Counters>, FixedState>;

/// Two generations: whoever is active is in the younger; when that is full, those that are in the
/// older alone are dropped.
struct Tenants {
    young: Accounts,
    old: Accounts,
    dropped: u64,
}

/// See the module's own words.
pub struct Costs {
    clock: Arc<dyn Clock>,
    tenants: Mutex<Tenants>,
    /// How many the younger generation holds.
    most: usize,
}

/// One request that has been answered, as far as its body.
pub struct Request<'r> {
    /// Where.
    pub cluster: &'r ClusterName,
    /// The time that it took on a thread.
    pub cpu: Duration,
    /// Bytes of its body.
    pub received: usize,
    /// It is a watch.
    pub watch: bool,
    /// It was refused, or asked for what is not there.
    pub in_vain: bool,
}

fn empty() -> Accounts {
    HashMap::with_hasher(FixedState::with_seed(7))
}

impl Costs {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_room(clock, TENANTS_COUNTED / 2)
    }

    fn with_room(clock: Arc<dyn Clock>, most: usize) -> Self {
        let (young, old) = (empty(), empty());
        let tenants = Mutex::new(Tenants {
            young,
            old,
            dropped: 0,
        });
        Self {
            clock,
            tenants,
            most,
        }
    }

    /// Counts a request, and the bytes of its answer as they go out.
    pub fn charge(&self, request: &Request<'_>, body: &mut Body) {
        let Some(counters) = self.account(request.cluster, request.in_vain) else {
            return;
        };
        let add = |counter: &AtomicU64, n: u64| counter.fetch_add(n, Ordering::Relaxed);
        add(&counters.requests, 1);
        add(&counters.cpu_nanos, nanos(request.cpu));
        add(&counters.received_bytes, request.received as u64);
        if let Some(whole) = body.as_whole() {
            add(&counters.sent_bytes, whole.len() as u64);
            return;
        }
        let watch = request.watch;
        body.meter(Meter {
            counters,
            clock: Arc::clone(&self.clock),
            watch,
        });
    }

    /// What is known of a logical cluster; `None` when it has not been active lately.
    #[must_use]
    pub fn of(&self, cluster: &str) -> Option<Cost> {
        let tenants = self.tenants.lock();
        let found = tenants.young.get(cluster).or(tenants.old.get(cluster))?;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Some(Cost {
            since_micros: found.since_micros,
            requests: read(&found.requests),
            cpu: Duration::from_nanos(read(&found.cpu_nanos)),
            received_bytes: read(&found.received_bytes),
            sent_bytes: read(&found.sent_bytes),
            watch_bytes: read(&found.watch_bytes),
        })
    }

    /// How many are counted now, and how many were dropped so far.
    #[must_use]
    pub fn size(&self) -> (usize, u64) {
        let tenants = self.tenants.lock();
        (tenants.young.len() + tenants.old.len(), tenants.dropped)
    }

    fn account(&self, cluster: &ClusterName, only_known: bool) -> Option<Arc<Counters>> {
        let mut tenants = self.tenants.lock();
        if let Some(found) = tenants.young.get(cluster) {
            return Some(Arc::clone(found));
        }
        let found = match tenants.old.remove(cluster) {
            Some(found) => found,
            None if only_known => return None,
            None => Arc::new(Counters {
                since_micros: i64::try_from(self.clock.wall().as_micros()).unwrap_or(i64::MAX),
                ..Counters::default()
            }),
        };
        if tenants.young.len() >= self.most {
            let young = std::mem::replace(&mut tenants.young, empty());
            let gone = std::mem::replace(&mut tenants.old, young);
            tenants.dropped += gone.len() as u64;
        }
        tenants.young.insert(cluster.clone(), Arc::clone(&found));
        Some(found)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Counts what an answer costs while it goes out.
pub struct Meter {
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
    watch: bool,
}

impl Meter {
    /// Makes a piece, and counts its bytes and the time that it took.
    pub fn measure<T>(&self, make: impl FnOnce() -> T, bytes: impl FnOnce(&T) -> usize) -> T {
        let began = self.clock.monotonic();
        let made = make();
        let took = self.clock.monotonic().saturating_sub(began);
        let add = |counter: &AtomicU64, n: u64| counter.fetch_add(n, Ordering::Relaxed);
        add(&self.counters.cpu_nanos, nanos(took));
        let bytes = bytes(&made) as u64;
        if bytes > 0 {
            add(&self.counters.sent_bytes, bytes);
        }
        if bytes > 0 && self.watch {
            add(&self.counters.watch_bytes, bytes);
        }
        made
    }
}

/// Does some work, and says for how long a thread was busy with it.
pub async fn timed<T>(clock: &dyn Clock, work: impl Future<Output = T>) -> (T, Duration) {
    let mut work = pin!(work);
    let mut busy = Duration::ZERO;
    std::future::poll_fn(move |cx| {
        let began = clock.monotonic();
        let poll = work.as_mut().poll(cx);
        busy += clock.monotonic().saturating_sub(began);
        match poll {
            Poll::Ready(done) => Poll::Ready((done, busy)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(most: usize) -> Costs {
        Costs::with_room(Arc::new(hanse_seams::RealClock::new()), most)
    }

    fn ask(costs: &Costs, cluster: &str, in_vain: bool) {
        let request = Request {
            cluster: &cluster.into(),
            cpu: Duration::from_micros(30),
            received: 10,
            watch: false,
            in_vain,
        };
        costs.charge(&request, &mut Body::whole("four"));
    }

    #[test]
    fn what_is_counted_adds_up() {
        let costs = costs(8);
        (0..3).for_each(|_| ask(&costs, "a", false));
        ask(&costs, "a", true);
        let cost = costs.of("a").unwrap();
        assert_eq!((cost.requests, cost.cpu.as_micros()), (4, 120));
        assert_eq!((cost.received_bytes, cost.sent_bytes), (40, 16));
        assert_eq!(cost.watch_bytes, 0);
        assert!(cost.since_micros > 0);
        assert_eq!(costs.of("b"), None);
    }

    #[test]
    fn the_quiet_are_dropped_and_guesses_are_not_counted() {
        let costs = costs(8);
        ask(&costs, "busy", false);
        ask(&costs, "quiet", false);
        for n in 0..100 {
            ask(&costs, &format!("n{n}"), false);
            ask(&costs, "busy", false);
            ask(&costs, &format!("guess{n}"), true);
        }
        let (counted, dropped) = costs.size();
        assert!(counted <= 16, "{counted}");
        assert_eq!(counted as u64 + dropped, 102);
        assert_eq!(costs.of("busy").unwrap().requests, 101);
        assert_eq!((costs.of("quiet"), costs.of("guess1")), (None, None));
    }
}
