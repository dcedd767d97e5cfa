//! Every bound that this crate puts on what strangers send it, in one place.
//!
//! The first group are Kubernetes' and cel-go's own numbers, which a client can observe; the second
//! group are ours, far above what the first group lets through in practice, and exist so that
//! memory stays bounded where the originals rely on luck.

/// Cost that one evaluation may spend (Kubernetes' `PerCallLimit`).
pub const CALL_COST: u64 = 1_000_000;
/// Cost that all rules of one object may spend together (Kubernetes' runtime budget of a CRD).
pub const OBJECT_COST: u64 = 10_000_000;
/// Cost that the match conditions of one webhook or policy may spend together.
pub const MATCH_CONDITIONS_COST: u64 = 2_500_000;
/// Largest request in bytes; what is unbounded in a schema is estimated from it.
pub const REQUEST_BYTES: i64 = 3 * 1024 * 1024;
/// Longest expression in code points.
pub const EXPRESSION_CODE_POINTS: usize = 100_000;
/// Deepest nesting of one kind of grammar rule, and of the parsed tree.
pub const RECURSION: u32 = 250;
/// Issues reported for one expression; the rest is only counted.
pub const ISSUES: usize = 100;
/// Longest source line shown under an issue, in bytes.
pub const SNIPPET_BYTES: usize = 16_384;

/// Nodes of one syntax tree after macros: `optMap` copies its target, so chains of it double.
pub const NODES: usize = 400_000;
/// Longest string or byte sequence that an evaluation may build, in bytes.
pub const STRING_BYTES: usize = 32 << 20;
/// Longest list that an evaluation may build.
pub const LIST_ITEMS: usize = 4 << 20;
/// Largest regular expression program, in bytes.
pub const REGEX_BYTES: usize = 10 << 20;
/// Largest precision that a format clause may ask for.
pub const FORMAT_PRECISION: usize = 10_000;

const _: () = assert!(OBJECT_COST >= CALL_COST);
const _: () = assert!(NODES > EXPRESSION_CODE_POINTS);
