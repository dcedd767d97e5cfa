//! Memory: what requests take is reserved first, and refused where it does not fit.
//!
//! Start at [`Memory::admit`], which looks at the whole process, and at [`Pot::reserve`], which
//! counts what single requests take: their bodies, the trees that are made of them, answers that
//! wait for slow readers. The process's memory is looked at now and then only, so the pots are what
//! keeps it from growing by more than is left between two looks. The invariant: the sum of the pots
//! is less than the memory that is allowed, each has its share of it, and nothing that a client
//! determines the size of is held beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use hanse_seams::Clock;
use hanse_wire::status::{Result, Status};

use crate::limits::{
    ANSWERS_BYTES_MAX, BODIES_BYTES_MAX, MEMORY_LOOK_PERIOD, MEMORY_SHORT_PERCENT,
    MEMORY_SPENT_PERCENT, WATCH_MEMORY_BYTES, WATCHES_MAX, WORK_BYTES_MAX,
};
use crate::metrics::{Figure, limit_figures};

/// A bounded amount of something that requests take and give back.
#[derive(Debug)]
pub struct Pot {
    name: &'static str,
    used: AtomicUsize,
    most: usize,
    /// What there was room for when the process was last looked at, ...
    room: AtomicUsize,
    /// ... and what was in use at that time, which is in the process's memory already.
    used_then: AtomicUsize,
    refused: AtomicU64,
}

impl Pot {
    /// An empty one.
    #[must_use]
    pub fn new(name: &'static str, most: usize) -> Arc<Self> {
        Arc::new(Self {
            name,
            used: AtomicUsize::new(0),
            most,
            room: AtomicUsize::new(usize::MAX),
            used_then: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// Takes so much until the answer is dropped.
    ///
    /// # Errors
    /// 429 when there is not so much left; 413 when there never is.
    pub fn reserve(self: &Arc<Self>, amount: usize) -> Result<Reserved> {
        let mut reserved = Reserved {
            amount: 0,
            pot: Arc::clone(self),
        };
        reserved.add(amount)?;
        Ok(reserved)
    }

    /// Says how much room there is for more than is used now.
    fn set_room(&self, room: usize) {
        let used = self.used.load(Ordering::Relaxed);
        self.used_then.store(used, Ordering::Relaxed);
        self.room.store(room, Ordering::Relaxed);
    }

    fn fits(&self, used: usize) -> bool {
        let more = used.saturating_sub(self.used_then.load(Ordering::Relaxed));
        used <= self.most && more <= self.room.load(Ordering::Relaxed)
    }

    fn figures(&self) -> Vec<Figure> {
        let used = self.used.load(Ordering::Relaxed) as f64;
        let refused = self.refused.load(Ordering::Relaxed);
        limit_figures(self.name, used, self.most as f64, refused)
    }
}

/// What was taken from a pot.
#[derive(Debug)]
pub struct Reserved {
    amount: usize,
    pot: Arc<Pot>,
}

impl Reserved {
    /// Takes more.
    ///
    /// # Errors
    /// As [`Pot::reserve`].
    pub fn add(&mut self, amount: usize) -> Result<()> {
        let pot = &self.pot;
        let before = pot.used.fetch_add(amount, Ordering::Relaxed);
        self.amount += amount;
        if pot.fits(before.saturating_add(amount)) {
            return Ok(());
        }
        pot.refused.fetch_add(1, Ordering::Relaxed);
        if self.amount > pot.most {
            let why = "it needs more memory than this server has for one request";
            return Err(Status::request_entity_too_large(why));
        }
        let why = "The server has no memory for more, please try again later.";
        Err(Status::too_many_requests(why, 1))
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.pot.used.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

/// Bytes that keep a reservation for as long as any of them are held anywhere.
struct Held {
    bytes: Bytes,
    _reserved: Reserved,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// How much memory there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Enough,
    /// What would take more is refused; reading and deleting go on: they are the way out.
    Short,
    /// Only deleting goes on, and no connection is taken.
    Spent,
}

/// See the module's words.
pub struct Memory {
    limit: Option<u64>,
    resident: fn() -> u64,
    looked_millis: AtomicU64,
    level: AtomicU8,
    told: AtomicBool,
    refused: AtomicU64,
    /// Request bodies.
    pub bodies: Arc<Pot>,
    /// Trees that are made of bodies and of objects.
    pub work: Arc<Pot>,
    /// Answers that are not sent yet.
    pub answers: Arc<Pot>,
    /// Open watches, in number.
    pub watches: Arc<Pot>,
    /// Answers that are sent piece by piece, in number.
    pub streams: Arc<Pot>,
}

impl Memory {
    /// A process that may have so many bytes, and how many it has.
    #[must_use]
    pub fn new(limit: Option<u64>, resident: fn() -> u64) -> Self {
        let part = |most: usize, part: u64| match limit {
            Some(limit) => most.min(usize::try_from(limit / part).unwrap_or(usize::MAX)),
            None => most,
        };
        let watches = part(WATCHES_MAX * WATCH_MEMORY_BYTES, 8) / WATCH_MEMORY_BYTES;
        Self {
            limit,
            resident,
            looked_millis: AtomicU64::new(0),
            level: AtomicU8::new(0),
            told: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            bodies: Pot::new("request_bodies_bytes", part(BODIES_BYTES_MAX, 8)),
            work: Pot::new("request_work_bytes", part(WORK_BYTES_MAX, 4)),
            answers: Pot::new("answers_bytes", part(ANSWERS_BYTES_MAX, 8)),
            watches: Pot::new("watches", watches),
            streams: Pot::new("streams", watches),
        }
    }

    /// Lets a request in if there is memory for what it does.
    ///
    /// # Errors
    /// 429 otherwise.
    pub fn admit(&self, clock: &dyn Clock, takes: bool, removes: bool) -> Result<()> {
        let refused = match self.level(clock) {
            Level::Enough => false,
            Level::Short => takes && !removes,
            Level::Spent => !removes,
        };
        if !refused {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        let why = "The server has no memory for more, please try again later.";
        Err(Status::too_many_requests(why, 5))
    }

    /// Whether another connection may be taken.
    #[must_use]
    pub fn has_room(&self, clock: &dyn Clock) -> bool {
        self.level(clock) != Level::Spent
    }

    fn level(&self, clock: &dyn Clock) -> Level {
        let Some(limit) = self.limit else {
            return Level::Enough;
        };
        let now = u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        let period = MEMORY_LOOK_PERIOD.as_millis() as u64;
        let looked = self.looked_millis.load(Ordering::Relaxed);
        let due = looked == 0 || now.saturating_sub(looked) >= period;
        let (all, ours) = (&self.looked_millis, Ordering::Relaxed);
        if due && all.compare_exchange(looked, now.max(1), ours, ours).is_ok() {
            self.look(limit);
        }
        match self.level.load(Ordering::Relaxed) {
            0 => Level::Enough,
            1 => Level::Short,
            _ => Level::Spent,
        }
    }

    fn look(&self, limit: u64) {
        let resident = (self.resident)();
        let percent = |percent: u64| limit / 100 * percent;
        let level = u8::from(resident > percent(MEMORY_SHORT_PERCENT))
            + u8::from(resident > percent(MEMORY_SPENT_PERCENT));
        self.level.store(level, Ordering::Relaxed);
        let room = percent(MEMORY_SPENT_PERCENT).saturating_sub(resident);
        self.work
            .set_room(usize::try_from(room).unwrap_or(usize::MAX));
        if self.told.swap(level > 0, Ordering::Relaxed) != (level > 0) {
            tracing::warn!(resident, limit, level, "memory: what takes more is refused");
        }
    }

    /// An answer that is reserved until the last of it is sent.
    ///
    /// # Errors
    /// 429 when too much waits for slow readers.
    pub fn hold(&self, answer: Bytes) -> Result<Bytes> {
        let _reserved = self.answers.reserve(answer.len())?;
        let bytes = answer;
        Ok(Bytes::from_owner(Held { bytes, _reserved }))
    }

    /// Figures for the metrics.
    #[must_use]
    pub fn figures(&self) -> Vec<Figure> {
        let numbers = [&self.watches, &self.streams];
        let pots = [&self.bodies, &self.work, &self.answers].into_iter();
        let pots = pots.chain(numbers);
        let mut out: Vec<Figure> = pots.flat_map(|pot| pot.figures()).collect();
        let limit = self.limit.map_or(f64::INFINITY, |limit| limit as f64);
        let refused = self.refused.load(Ordering::Relaxed);
        let resident = (self.resident)() as f64;
        out.extend(limit_figures("memory_bytes", resident, limit, refused));
        out
    }
}

/// Memory that the tree of one container takes at least, ...
const CONTAINER_BYTES: usize = 640;
/// ... of one more value in it, ...
const VALUE_BYTES: usize = 64;
/// ... how many trees of an object a write has at once, ...
const TREES: usize = 2;
/// ... and how many copies of its texts: read, made a tree of, merged, encoded, committed, sent.
const COPIES: usize = 6;

/// About how much memory the trees of a document take: it is the marks between its values that are
/// dear, not its bytes.
#[must_use]
pub fn weigh(document: &[u8]) -> usize {
    let containers = memchr::memchr2_iter(b'{', b'[', document).count();
    let values = memchr::memchr3_iter(b',', b':', b'\n', document).count();
    COPIES * document.len() + TREES * (containers * CONTAINER_BYTES + values * VALUE_BYTES)
}

/// The same for objects of so many bytes, of which it is known that they are ordinary.
#[must_use]
pub fn weigh_objects(bytes: usize) -> usize {
    bytes.saturating_mul(12)
}

#[cfg(test)]
mod tests {
    use hanse_seams::RealClock;

    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_given_back() {
        let pot = Pot::new("x", 100);
        let first = pot.reserve(60).unwrap();
        assert_eq!(pot.reserve(60).unwrap_err().code, 429);
        assert_eq!(pot.reserve(101).unwrap_err().code, 413);
        drop(first);
        assert_eq!(pot.used.load(Ordering::Relaxed), 0);
        let memory = Memory::new(Some(800), || 0);
        let held = memory.hold(Bytes::from_static(&[0; 90])).unwrap();
        let slice = held.slice(80..);
        drop(held);
        assert_eq!(
            memory.hold(Bytes::from_static(&[0; 90])).unwrap_err().code,
            429
        );
        drop(slice);
        assert!(memory.hold(Bytes::from_static(&[0; 90])).is_ok());
    }

    #[test]
    fn levels_follow_the_process() {
        let clock = RealClock::new();
        for (resident, take, read, remove) in [
            ((|| 10) as fn() -> u64, true, true, true),
            (|| 70, false, true, true),
            (|| 99, false, false, true),
        ] {
            let memory = Memory::new(Some(100), resident);
            let admit = |takes, removes| memory.admit(&clock, takes, removes).is_ok();
            assert_eq!(admit(true, false), take);
            assert_eq!(admit(false, false), read);
            assert_eq!(admit(true, true), remove);
            assert_eq!(memory.has_room(&clock), read);
        }
    }

    #[test]
    fn many_small_values_weigh_more_than_a_long_text() {
        let small = br#"{"a":1},"#.repeat(1_000);
        let long = vec![b'x'; small.len()];
        assert!(weigh(&small) > 1_000 * 1_400, "{}", weigh(&small));
        assert!(weigh(&long) < 7 * long.len());
    }
}
