//! Every bound of this crate, in one place.

use std::time::Duration;

/// Keys worked on at the same time.
pub const WORKERS: usize = 4;
/// Events read from the hub at once.
pub const EVENTS_PER_READ: usize = 1_024;
/// Objects that one turn of a key deletes; more waits for its next turn, so that a namespace of a
/// million objects does not starve others.
pub const DELETIONS_PER_TURN: usize = 2_040;
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
