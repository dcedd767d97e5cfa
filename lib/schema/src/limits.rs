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
/// Errors of one list that show what is wrong in full; those after them are cut.
pub const WHOLE_ERRORS_MAX: usize = 16;
/// Bytes of the value and of the detail that a cut error shows. Without it ten thousand errors
/// about one string of a megabyte would make an answer of ten gigabytes.
pub const CUT_ERROR_BYTES: usize = 1024;
