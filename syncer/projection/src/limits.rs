//! Every bound of the treaty in one place.

/// What all expressions of one object may cost in one turn, in CEL's units.
pub const TURN_COST: u64 = 10_000_000;
/// What they may cost beyond that for each site that the object goes to.
pub const SITE_COST: u64 = 100_000;
/// How much of its input a failed expression shows, in bytes.
pub const INPUT_BYTES_MAX: usize = 512;
/// Names that the expression of a related kind may yield.
pub const NAMES_MAX: usize = 64;
/// Related objects that come up beside one object.
pub const RELATED_MAX: usize = 50;
/// What they may weigh together, in bytes.
pub const RELATED_BYTES_MAX: usize = 256 * 1024;
/// Warnings from below that are shown with one object.
pub const EVENTS_MAX: usize = 8;
