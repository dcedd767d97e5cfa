//! The bounds that the contract allows and the engines state.

use std::time::Duration;

/// The most operations that any engine may allow in a commit: the index has to fit in a byte, and
/// 255 itself stands for the whole commit.
pub const MAX_KEYS: usize = 255;

/// The most preconditions on keys that a commit does not write.
pub const MAX_CHECKS: usize = 256;

/// The longest key in bytes. Kubernetes names are at most 253 bytes each; a key of ours has six
/// parts, of which an identity hash takes 64.
pub const MAX_KEY_BYTES: usize = 2048;

/// What a commit may hold. Stated by the engine; a batch beyond it is refused, never split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most operations in one commit, at most [`MAX_KEYS`].
    pub max_keys: usize,
    /// The most bytes of keys and values in one commit.
    pub max_bytes: usize,
}

impl Default for Limits {
    /// What the embedded engines take: 255 keys, and 8 MiB, which holds the largest request body
    /// that Kubernetes reads (3 MiB) and the objects written with it.
    fn default() -> Self {
        Self {
            max_keys: MAX_KEYS,
            max_bytes: 8 << 20,
        }
    }
}

/// Bytes that one lane (a workspace) may add to a group of commits while others wait; what is
/// larger waits until its lane has saved up for it.
pub const LANE_BYTES: usize = 128 << 10;

/// How much of the past a store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Commits younger than this are kept ...
    pub age: Duration,
    /// ... as long as they take no more than this many bytes in the engine's log ...
    pub bytes: u64,
    /// ... and are no more than this many writes.
    pub records: u64,
}

impl Retention {
    /// Everything is kept until it is compacted by hand.
    pub const FOREVER: Self = Self {
        age: Duration::MAX,
        bytes: u64::MAX,
        records: u64::MAX,
    };
}

impl Default for Retention {
    /// Ten minutes, up to 512 MiB and a million writes.
    fn default() -> Self {
        Self {
            age: Duration::from_secs(600),
            bytes: 512 << 20,
            records: 1 << 20,
        }
    }
}

const _: () = assert!(MAX_KEYS < 256);
