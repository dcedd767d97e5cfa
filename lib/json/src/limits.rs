//! How much of a stranger's JSON we are willing to look at.
//!
//! Every reader in this crate recurses over the document, so its depth is what has to be bounded;
//! the number of bytes is bounded by whoever reads the body.

/// Deepest nesting of objects and arrays that [`crate::parse`] accepts by default. Go's decoder
/// stops at 10,000; no published Kubernetes type comes near 100, and a bound that fits every
/// thread's stack also holds for all later recursive walks over the tree.
pub const MAX_DEPTH: usize = 512;

/// Most violations of strict decoding that are remembered for one document
/// (Kubernetes stops collecting at 100, too).
pub const MAX_STRICT_ERRORS: usize = 100;

/// Bounds for one call of [`crate::parse`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Deepest nesting of objects and arrays.
    pub depth: usize,
    /// Most duplicate fields that are reported; further ones are resolved in silence.
    pub duplicates: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            depth: MAX_DEPTH,
            duplicates: MAX_STRICT_ERRORS,
        }
    }
}
