//! What Kubernetes' own controllers do, once for all logical clusters: namespaces, CRDs, garbage,
//! aggregated roles, token Secrets, client certificates, expired Events.
//!
//! A controller is a function from what the hub holds and a key to a [`Plan`]: transactions with
//! preconditions, and when to look again. [`start`] feeds keys from the hub's events ([`feed`])
//! through one queue that is fair over logical clusters, and commits the plans ([`run`]). No
//! controller polls: whatever a plan waits for, an event brings its key back. The position in the
//! event log is saved while the queue is empty, so a restart replays what was not finished.

pub mod certificates;
pub mod crds;
pub mod expiry;
pub mod feed;
pub mod garbage;
pub mod key;
pub mod limits;
pub mod namespaces;
pub mod plan;
pub mod roles;
pub mod run;
pub mod tokens;

#[cfg(test)]
mod tests;

pub use key::Key;
pub use plan::{Plan, World};
pub use run::{Config, Kinds, Owner, Started, start};
