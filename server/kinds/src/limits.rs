//! Bounds on what clients may make this crate collect.

/// Most unknown fields that are reported for one object.
pub const MAX_UNKNOWN_FIELDS: usize = 100;
/// Bytes of data in a ConfigMap or Secret.
pub const MAX_DATA_BYTES: usize = 1024 * 1024;
/// Selectable fields of one version of a CRD.
pub const MAX_SELECTABLE_FIELDS: usize = 8;
