//! Every bound of the room in one place.

use std::time::Duration;

/// Turns that are under way at the same time.
pub const WORKERS: usize = 8;
/// Events that are taken from the hub at once.
pub const EVENTS: usize = 256;
/// Manifests that the end of a Site deletes in one turn.
pub const FORGET: usize = 100;
/// Largest Manifest, body and envelope, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 1024 * 1024;
/// Largest status that a Projection shows for one site, in bytes.
pub const DETAIL_BYTES_MAX: usize = 2048;
/// Life of a bootstrap token, in seconds.
pub const TOKEN_SECONDS: u64 = 3600;
/// How long an answered certificate request stays.
pub const REQUEST_KEPT: Duration = Duration::from_secs(3600);
/// A body that no Manifest needs is kept this long: twice as long as the log reaches back, so that
/// watches resume over states that had it.
pub const BODIES_KEPT: Duration = Duration::from_secs(1200);
/// Manifests that the answer to a comparison names; a list is cheaper beyond.
pub const COMPARED: usize = 5_000;
/// A count that only informs is written this much later, together with others.
pub const COUNT_PAUSE: Duration = Duration::from_secs(1);
/// Something that must come soon is looked for again after this.
pub const SOON: Duration = Duration::from_millis(500);
/// Sites that a Placement's status explains.
pub const DECISIONS_MAX: usize = 1000;
/// Objects of one Placement whose failing expressions are counted.
pub const FAILURES_MAX: usize = 1000;
/// Sites that are kept read; twice as many at most.
pub const CANDIDATES_KEPT: usize = 2048;
/// Placements that are kept compiled; twice as many at most.
pub const POLICIES_KEPT: usize = 2048;
/// Lists of what sites serve that are kept read; twice as many at most.
pub const SERVED_KEPT: usize = 64;
/// Workspaces whose ancestors are kept; twice as many at most.
pub const LINEAGES_KEPT: usize = 16_384;
/// Objects that a plan shows in detail.
pub const PLANNED_OBJECTS: usize = 200;
/// Bytes of rendered objects that a plan shows.
pub const PLANNED_BYTES: usize = 2 * 1024 * 1024;
/// Times that a plan begins again when the hub forgets the version that it looks at.
pub const PLAN_TRIES: usize = 5;
/// Strings of each list in a site's inventory; the rest is not told.
pub const INVENTORY_ITEMS: usize = 2000;
/// Deepest workspace whose ancestors' Sites are looked at.
pub const ANCESTORS_MAX: usize = 32;
/// How far what is needed by what is needed follows a placed object.
pub const FOLLOW_DEPTH: usize = 4;
/// Rules that are kept ready at the same time.
pub const RULES_KEPT: usize = 4096;
/// Longest message of a condition about failed expressions, in bytes.
pub const CONDITION_BYTES_MAX: usize = 2048;
/// A warning from below that is older than this is no news, in seconds.
pub const NEWS_SECONDS: i64 = 3600;
