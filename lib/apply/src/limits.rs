//! Every bound of this crate, in one place.

/// Update entries that an object's `managedFields` may hold; older ones collapse (KEP-555).
pub const UPDATE_MANAGERS_MAX: usize = 10;
/// Operations in one JSON patch; more is answered with 413.
pub const JSON_PATCH_OPERATIONS_MAX: usize = 10_000;
/// Bytes that the `copy` operations of one JSON patch may add, all together: 3 MiB.
pub const JSON_PATCH_COPY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// How deep a set, a schema or a walk may go; deeper input is an error, never a stack overflow.
pub const DEPTH_MAX: usize = 600;
/// Bytes of `kubectl.kubernetes.io/last-applied-configuration` that the server itself writes.
pub const LAST_APPLIED_BYTES_MAX: usize = 262_144;
