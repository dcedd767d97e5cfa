//! The embedded engine: redb behind one commit loop with grouped fsync.
//!
//! One directory, one process. Start at [`RedbStore::open`] and [`Config`]; `commit.rs` is the
//! loop, `read.rs` what can be read, `format.rs` what lies on disk,
//! `verify.rs` what must hold of all of it. All that wait are committed
//! together: each batch has its own revision and its own verdict, the fsync is shared.
//!
//! The invariant: what was acknowledged is in the file, in an unbroken chain of revisions; a file
//! that says otherwise is refused by name when it is opened ([`OpenError`]). Deliberately not
//! here: what keys and values mean.

mod acknowledged;
mod commit;
mod engine;
mod file;
mod format;
pub mod limits;
mod read;
mod verify;

pub use engine::{Config, OpenError, RedbStore};
