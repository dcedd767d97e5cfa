//! Every bound of this crate, in one place.

use std::time::Duration;

/// Keys worked on at the same time.
pub const WORKERS: usize = 4;
/// Events read from the hub at once.
pub const EVENTS_PER_READ: usize = 1_024;
/// Objects that one turn of a key deletes; more waits for its next turn, so that a namespace of a
/// million objects does not starve others.
pub const DELETIONS_PER_TURN: usize = 2_040;
/// Bytes that one turn of a key writes, about: what it has not committed yet is in memory.
pub const BYTES_PER_TURN: usize = 16 << 20;
/// Namespaces in which an owner is looked for that is not where it is said to be.
pub const NAMESPACES_SEARCHED: usize = 1_000;
/// Dependents looked at in one step of a walk.
pub const DEPENDENTS_PAGE: usize = 1_000;
/// How long the deletions of dependents are gathered before what waits for the last of them is
/// looked at.
pub const GATHER: Duration = Duration::from_millis(20);
/// Objects that wait in one place for each millisecond that further deletions there are gathered:
/// a look at a place costs as much as there is in it.
pub const LEFT_PER_MILLISECOND: usize = 20;
/// How long an owner of a kind that nobody serves is waited for before it is looked for again
/// (GC-03: it may be a matter of time).
pub const UNKNOWN_KIND_RETRY: Duration = Duration::from_secs(30);
/// How long Events are kept after their last write (EVT-05).
pub const EVENT_TTL: Duration = Duration::from_secs(3_600);
/// The least time between two sweeps for expired Events.
pub const EVENT_SWEEP: Duration = Duration::from_secs(60);
/// How long decided certificate requests are kept (CSR-05).
pub const CSR_DECIDED_TTL: Duration = Duration::from_secs(3_600);
/// How long undecided certificate requests are kept (CSR-05).
pub const CSR_PENDING_TTL: Duration = Duration::from_secs(24 * 3_600);
/// The least time between two notes of the position reached, when there was anything to do.
pub const POSITION_SAVE: Duration = Duration::from_secs(10);

/// How long deletions in a place are gathered where `left` objects wait: nothing for the last few.
#[must_use]
pub fn gather(left: usize) -> Duration {
    Duration::from_millis((left / LEFT_PER_MILLISECOND) as u64)
}
