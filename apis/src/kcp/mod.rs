//! kcp's names on the wire: groups, kinds, logical clusters, annotations, labels, finalizers,
//! user groups, extra keys, verbs, condition types and reasons.
//!
//! Invariant: each word stands here once and is spelled as kcp's clients spell it. The formulas
//! that make names out of names (hashes, ids) are rules and live in the server.

pub mod conditions;
pub mod names;

pub use names::*;
