//! The store contract, its in-memory engine and the suite that every engine passes.
//!
//! A store is one log of revisions over keys and values, both opaque bytes. Each commit takes the
//! next [`Revision`] c and its i-th operation the [`Version`] c * 256 + i, deletions included, so
//! no two writes share a version. Start at [`Store`], which states the promises; [`memory`] is the
//! plainest engine that keeps them; `suite` (feature `suite`) checks any engine against a model.
//!
//! The invariant: a version, once acknowledged, names the same write for ever, and numbers only
//! grow, also over a restart. Deliberately not here: what the bytes mean (`hanse-cache`), durable
//! engines (`hanse-store-redb`).

mod contract;
pub mod limits;
pub mod memory;
mod queue;
#[cfg(feature = "suite")]
pub mod suite;
mod version;

pub use contract::{
    Attachment, Batch, Change, Check, Commit, CommitError, Committed, Entry, Expect, LogPage,
    Observer, Op, Page, Place, Previous, Range, ReadError, Store, Verified,
};
pub use limits::{Limits, Retention};
pub use memory::MemoryStore;
pub use queue::{LaneQueue, Queued};
pub use version::{Revision, Version};
