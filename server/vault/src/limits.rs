//! How long plugins are waited for, how often they are asked, and how much of theirs is kept.

use std::time::Duration;

/// Bytes of a commit that are kept free for what sealing adds to its values.
pub const SEALING_BYTES: usize = 1 << 20;

/// The largest encryption configuration.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// How long a KMS plugin may take to answer when the configuration does not say.
pub const KMS_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a healthy KMS plugin is asked for its status.
pub const KMS_POLL: Duration = Duration::from_secs(20);

/// How often an unhealthy one is.
pub const KMS_POLL_UNHEALTHY: Duration = Duration::from_secs(3);

/// How long values are sealed after the last good status of their plugin. Reading goes on.
pub const KMS_SEALING: Duration = Duration::from_secs(180);

/// The longest key id of a plugin, in bytes.
pub const KMS_KEY_ID_BYTES: usize = 1024;

/// The longest sealed seed that a plugin may answer with, in bytes.
pub const KMS_SOURCE_BYTES: usize = 1024;

/// The most bytes of annotations, names and values together, that a plugin may add.
pub const KMS_ANNOTATIONS_BYTES: usize = 32 << 10;

/// The largest answer of a plugin.
pub const KMS_ANSWER_BYTES: usize = 256 << 10;

/// Opened seeds that are remembered; beyond it those not used longest are asked for again.
pub const KMS_SEEDS: usize = 10_000;

/// How often the configuration's file is looked at, when it is to be.
pub const CONFIG_POLL: Duration = Duration::from_secs(10);

/// Values looked at between two pauses while stale ones are written again.
pub const REWRITE_PAGE: usize = 256;
