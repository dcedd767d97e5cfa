//! Bounds on what clients may make this crate do.

/// Deepest nesting of schemas in schemas that compiles.
pub const SCHEMA_DEPTH_MAX: usize = 100;
/// Compiled size of one pattern, in bytes; Go has a comparable bound on repetition.
pub const PATTERN_SIZE_MAX: usize = 1 << 20;
/// Longest text of one pattern, in bytes.
pub const PATTERN_LENGTH_MAX: usize = 64 * 1024;
/// Most paths of unknown fields that one call reports.
pub const UNKNOWN_FIELDS_MAX: usize = 100;
/// Most validation errors that one object collects before the walk stops.
pub const ERRORS_MAX: usize = 10_000;
