//! API types and names that Hanse serves: kcp's groups and its own; no I/O.
//!
//! Start at [`sites`] for the way down to physical clusters and up again, and at [`kcp`] for the
//! names that kcp's clients know. Every type here is plain data; what a field *does* is decided
//! in the rooms above.

pub mod kcp;
pub mod sites;
