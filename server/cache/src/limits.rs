//! How much of the past stays in memory, and how far a reader may fall behind.
//!
//! The past that is not here is read from the store's log; nothing is lost by a small number.

/// Recent events that stay in memory, of all resources together.
pub const RECENT_EVENTS: usize = 65_536;

/// Bytes that recent events may hold beyond what is alive anyway: the states before them.
pub const RECENT_BYTES: usize = 2 << 20;

/// Recent events of one resource that stay in memory.
pub const RING_EVENTS: usize = 8_192;

/// How many commits of the log's tail fill the rings when the hub opens.
pub const OPEN_COMMITS: u64 = 2_048;

/// Events that may wait for one watcher; a slower one reads on from the ring.
pub const WATCHER_QUEUE: usize = 256;

/// Objects looked at under one turn of the lock by a list.
pub const LIST_CHUNK: usize = 2_048;

/// The same of a list with a filter, which may take long for each object.
pub const FILTER_CHUNK: usize = 128;

/// Events that keep their encoded form for watchers that have not sent it yet, ...
pub const HOT_EVENTS: usize = 1_024;

/// ... and the bytes of their objects.
pub const HOT_BYTES: usize = 2 << 20;

/// The most broken things that one verification names.
pub const FINDINGS_MAX: usize = 1000;

/// How many owners one above the other a dump puts in order; deeper ones come as they are.
pub const OWNERS_DEPTH_MAX: u32 = 32;

/// Objects that one turn of packing looks at under the lock, ...
pub const PACK_LOOKS: usize = 4_096;

/// ... and those of them that it packs.
pub const PACK_OBJECTS: usize = 128;

/// Events of the past that are put beside each other under one turn of the lock.
pub const SETTLE_EVENTS: usize = 512;

/// Bytes of a body beyond which it stays as it is.
pub const PACK_BYTES_MAX: usize = 16 << 10;

/// Bytes that are written, ...
pub const PACK_BYTES_SOON: usize = 8 << 20;

/// ... or packed bodies that are looked into, until a pass begins at the next look; ...
pub const PACK_OPENED_SOON: usize = 8_192;

/// ... and the looks, one a second, after which one begins anyway.
pub const PACK_LOOKS_MAX: usize = 30;

/// Bytes of bodies that are taken as known when others of their resource are packed.
pub const PATTERN_BYTES: usize = 8 << 10;

/// Bodies of a resource that must be there before any of them is taken as a pattern.
pub const PATTERN_OBJECTS: usize = 32;

/// How often a resource gets a new pattern while the server runs.
pub const PACK_PATTERNS: usize = 4;

/// Entries read from the store at once while the hub opens.
pub const OPEN_PAGE: usize = 2_048;

/// Entries read at once by whoever reads a store without a hub.
pub const STORED_PAGE: usize = 256;

/// Changes read at once from the store's log.
pub const LOG_PAGE: usize = 1_024;

/// Pages of the store's log kept decoded for watchers that read the same stretch.
pub const LOG_PAGES: usize = 4;

/// The longest name of a saved cursor.
pub const CURSOR_NAME_BYTES: usize = 128;
