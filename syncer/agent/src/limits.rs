//! Every bound of the agent in one place.

use std::time::Duration;

/// Objects that are applied at the same time.
pub const APPLIERS: usize = 8;
/// Reports that are on their way at the same time.
pub const REPORTERS: usize = 4;
/// Objects in one page of a list: a page is the largest thing the agent holds in memory.
pub const PAGE_OBJECTS: u32 = 50;
/// Intents that go into the journal together.
pub const BATCH_INTENTS: usize = 128;
/// Rounds of one apply: each takes out the fields that turned out to be held by others.
pub const CONFLICT_ROUNDS: usize = 4;
/// So many repairs of one object within [`FIGHT_WINDOW`] are a fight.
pub const FIGHT_REPAIRS: usize = 5;
/// See [`FIGHT_REPAIRS`].
pub const FIGHT_WINDOW: Duration = Duration::from_secs(300);
/// A fight is given up for so long.
pub const FIGHT_PAUSE: Duration = Duration::from_secs(600);
/// Longest pause between attempts to apply an object.
pub const APPLY_PAUSE_MAX: Duration = Duration::from_secs(300);
/// Longest pause between attempts to report or to release an object.
pub const REPORT_PAUSE_MAX: Duration = Duration::from_secs(10);
/// An object that is being deleted below is looked at this often.
pub const REMOVE_LOOK: Duration = Duration::from_secs(2);
/// An object that waits for others to be tried looks again after this, should nobody wake it.
pub const ORDER_LOOK: Duration = Duration::from_secs(2);
/// So long the end of an object is waited for by those that go after it.
pub const ORDER_PATIENCE: Duration = Duration::from_secs(30);
/// A removal may be the first of a mass change: it is judged when no more have come for so long.
pub const GUARD_SETTLE: Duration = Duration::from_millis(500);
/// A lease interval outside of these is not believed.
pub const LEASE_SECONDS: std::ops::RangeInclusive<u64> = 1..=3600;
/// Longest status of an object that travels up, in bytes.
pub const STATUS_BYTES_MAX: usize = 256 * 1024;
/// Longest message of an error that travels up, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1024;
/// The journal's page cache, in bytes.
pub const JOURNAL_CACHE_BYTES: usize = 1024 * 1024;
/// How long a certificate request may wait for its approval before it is asked again.
pub const JOIN_WAIT: Duration = Duration::from_secs(60);
/// How often a waiting certificate request is looked at.
pub const JOIN_LOOK: Duration = Duration::from_millis(500);
/// How often the cluster is looked over for what it has and serves.
pub const INVENTORY_PAUSE: Duration = Duration::from_secs(300);
/// How often it is asked whether other kinds are served.
pub const SERVED_LOOK: Duration = Duration::from_secs(5);
/// How soon an inventory that did not reach the hub is told again.
pub const INVENTORY_RETRY: Duration = Duration::from_secs(10);
/// Strings of each list in an inventory.
pub const INVENTORY_ITEMS: usize = 2000;
/// Kinds and namespaces that are watched for what is born there; what is beyond comes up when the
/// object beside it changes.
pub const BESIDE_WATCHES_MAX: usize = 256;
/// Longest message of a warning that travels up, in bytes.
pub const WARNING_BYTES_MAX: usize = 512;
/// A token that could not be renewed is asked for again after this.
pub const TOKEN_RETRY: Duration = Duration::from_secs(20);
