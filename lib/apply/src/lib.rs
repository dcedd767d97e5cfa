//! Field sets, server-side apply, JSON patch, merge patch, strategic merge patch.
//!
//! Layers, each knowing only those before it: [`path`] (one step into an object) -> [`set`] (a trie
//! of steps, and its `fieldsV1` form) -> [`types`] (how a kind's lists and maps merge) -> [`typed`]
//! (validate, compare, merge, remove, to-set: walks over one or two objects) -> [`updater`] (who
//! owns what after an update or an apply) -> [`managed`] (the `metadata.managedFields` of an
//! object; start here). [`patch`] holds the three patches that know nothing of ownership.
//!
//! No I/O, no clock: the caller says what time it is. Behaviour follows KEP-555 (server-side
//! apply) and the strategic merge patch rules of Kubernetes' API conventions.

pub mod limits;
pub mod managed;
pub mod patch;
pub mod path;
pub mod set;
pub mod typed;
pub mod types;
pub mod updater;

pub use managed::{ApplyError, Context, Versions};
pub use path::PathElement;
pub use set::Set;
pub use types::TypeSchema;
