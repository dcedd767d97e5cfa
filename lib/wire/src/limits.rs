//! Bounds on what clients may make us build or send.

/// Runes of warning text in one answer before every warning is cut short.
pub const MAX_WARNING_RUNES: usize = 4096;
/// Runes of one warning once the answer as a whole has too many.
pub const MAX_SHORT_WARNING_RUNES: usize = 256;
/// Smallest body that is worth compressing, in bytes.
pub const MIN_GZIP_BYTES: usize = 128 * 1024;
/// Longest request deadline that a client may ask for, in seconds.
pub const MAX_TIMEOUT_SECONDS: u64 = 60;
/// Most clauses of one Accept header that are looked at.
pub const MAX_ACCEPT_CLAUSES: usize = 64;
/// Most parameters of one query that are looked at.
pub const MAX_QUERY_PARAMETERS: usize = 256;
/// Most requirements in one label or field selector.
pub const MAX_REQUIREMENTS: usize = 4096;
/// Decoded size of a continue token in bytes; keys are far shorter.
pub const MAX_CONTINUE_BYTES: usize = 4096;
