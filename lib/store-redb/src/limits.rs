//! The bounds of the engine's own.

/// The most batches that share an fsync.
pub const GROUP_BATCHES: usize = 1024;

/// The most bytes that share an fsync; a single batch may be larger.
pub const GROUP_BYTES: usize = 8 << 20;

/// The most batches that may wait; beyond it the store says that it is not available.
pub const QUEUE_BATCHES: usize = 65_536;

/// redb's page cache. What is read often is in the hub, so a small one is enough.
pub const CACHE_BYTES: usize = 4 << 20;

/// Records of the past looked at in each commit while compaction has work left, ...
pub const SWEEP_WITH_COMMIT: usize = 256;

/// ... and in one go while nothing else is to be committed.
pub const SWEEP_IDLE: usize = 4096;

/// The time between two marks of the log, in milliseconds: how finely its age is known.
pub const MARK_MILLIS: u64 = 1000;

/// The bytes between two marks of the log: how finely its size is known.
pub const MARK_BYTES: u64 = 1 << 20;

/// The most broken things that one verification names.
pub const FINDINGS_MAX: usize = 1000;

/// How many of the latest commits are checked for gaps when the file is opened.
pub const CHECKED_COMMITS: u64 = 256;
