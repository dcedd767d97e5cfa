//! One memory of the present and the recent past, shared by all readers: objects, lists, watches.
//!
//! Start at [`Hub`]: every object of the shard is resident there as compact JSON bytes with a small
//! index entry beside them, and every recent event in a bounded ring. Writes go through
//! [`Hub::commit`] to the store and come back, durable, into this memory before they are
//! acknowledged.
//!
//! The invariant: what the hub shows at version X is exactly what all commits up to X left, no
//! matter how busy the store is; no reader waits for a disk. Deliberately not here: what a write
//! must satisfy (`hanse-admission`, `hanse-api`), what a resource is called by clients
//! (`hanse-kinds`), durability (the engines of `hanse-store`).

mod cursor;
mod document;
pub mod dump;
mod event;
mod history;
mod hub;
pub mod limits;
mod names;
mod object;
mod open;
mod order;
mod pack;
mod page;
mod part;
mod state;
mod stored;
mod table;
mod txn;
mod verify;
mod watch;

#[cfg(test)]
mod tests;

pub use cursor::Cursor;
pub use document::{Document, DocumentError, SchemaHash};
pub use event::{Event, WatchEvent, WatchKind};
pub use hanse_store::{Limits, Verified};
pub use hub::{Config, Hub, OpenError, Stats, Usage};
pub use names::{ClusterName, KeyError, ObjectKey, ResourceId, Scope};
pub use object::{CLUSTER_ANNOTATION, Object, Slices};
pub use pack::Packer;
pub use part::{PartHash, PartRule, SparePart};
pub use stored::Stored;
pub use table::{Filter, ListPage, ListQuery, ReadError};
pub use txn::{CommitError, Committed, Expect, Txn, Write, split};
pub use watch::{From, Watcher};
