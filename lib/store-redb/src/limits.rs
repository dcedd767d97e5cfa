//! The bounds of the engine's own.

/// The most batches that share an fsync.
pub const GROUP_BATCHES: usize = 1024;

/// The most bytes that share an fsync; a single batch may be larger.
pub const GROUP_BYTES: usize = 8 << 20;

/// The most batches that may wait; beyond it the store says that it is not available.
pub const QUEUE_BATCHES: usize = 65_536;

/// redb's page cache. What is read often is in the hub, so a small one is enough.
pub const CACHE_BYTES: usize = 4 << 20;

/// Bytes of keys and values that are in the log and not yet in redb, beyond which they are
/// written there, ...
pub const CHECKPOINT_BYTES: usize = 4 << 20;

/// ... and the time after which they are, however few, in milliseconds, ...
pub const CHECKPOINT_MILLIS: u64 = 2000;

/// ... and the bytes beyond which commits wait for redb.
pub const BACKLOG_BYTES: usize = 16 << 20;

/// What a key that is not yet in redb costs beside its own bytes and its value's, about.
pub const SLOT_BYTES: usize = 100;

/// How long a checkpoint waits before it tries a full disk again, in milliseconds.
pub const FULL_DISK_MILLIS: u64 = 200;

/// The most bytes of a segment of the log: what retention frees at once; less where an eighth of
/// what retention keeps is less.
pub const SEGMENT_BYTES: u64 = 8 << 20;

/// The fewest bytes after which the log goes on in a new segment, however little is kept.
pub const SEGMENT_BYTES_MIN: u64 = 4096;

/// The time after which the log goes on in a new segment, in milliseconds, so that what is old
/// can go.
pub const SEGMENT_MILLIS: u64 = 60_000;

/// Bytes of the log that are read at once.
pub const READ_BYTES: usize = 256 << 10;

/// The largest buffer for groups that is kept for the next one.
pub const BUFFER_BYTES: usize = 1 << 20;

/// The time between two marks of the log, in milliseconds: how finely its age is known.
pub const MARK_MILLIS: u64 = 1000;

/// The bytes between two marks of the log: how finely its size is known, and how far a reader
/// begins before what it looks for.
pub const MARK_BYTES: u64 = 1 << 20;

/// The most broken things that one verification names.
pub const FINDINGS_MAX: usize = 1000;

/// How many of the latest commits in redb are compared with the log when the store is opened.
pub const CHECKED_COMMITS: u64 = 256;
