//! The embedded engine: a log of its own in front of redb.
//!
//! One directory, one process. All that wait are committed together: each batch has its own
//! revision and its own verdict, one append to the log and one fsync are shared (`commit.rs`).
//! redb holds the present and is written behind the log, in larger pieces (`checkpoint.rs`); what
//! it does not hold yet is in memory (`overlay.rs`) and, after a crash, is read from the log
//! (`recover.rs`). Start at [`RedbStore::open`] and [`Config`]; `segment.rs` and `format.rs` say
//! what lies on disk, `read.rs` what can be read, `verify.rs` what must hold of all of it.
//!
//! The invariant: what was acknowledged is in the log, in an unbroken chain of revisions, from
//! what redb holds on; files that say otherwise are refused by name when they are opened
//! ([`OpenError`]). Deliberately not here: what keys and values mean.

mod acknowledged;
mod checkpoint;
mod commit;
mod disk;
mod engine;
mod file;
mod format;
pub mod limits;
mod log;
mod migrate;
mod open;
mod overlay;
mod patient;
mod read;
mod recover;
mod segment;
mod verify;

pub use disk::Disk;
pub use engine::{Config, OpenError, RedbStore};
