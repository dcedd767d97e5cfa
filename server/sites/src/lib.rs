//! The hub's half of the way to the sites: joining, placing, rendering, aggregating.
//!
//! Start at [`Sites::run`], which feeds one fair queue from the hub's events, and at [`object`],
//! the function in the middle: from a tenant's object to the Manifests of its sites ([`intent`])
//! and from their statuses back to it; [`Sites::plan`] rehearses it. Each controller is a function
//! from what the hub shows and a key to a [`turn::Turn`]: writes with preconditions, and when to
//! look again. Invariant: the finalizer stands on a tenant's object, and the site in its
//! Projection, before a Manifest exists (rule 1); a turn that finds everything right writes nothing
//! (rule 3). Deliberately elsewhere: what is decided (`hanse-projection`), and everything that
//! happens below (`syncer/agent`).

mod bootstrap;
mod born;
mod certificates;
mod compare;
mod events;
mod facts;
mod follow;
mod gate;
mod going;
pub mod ids;
mod inbox;
mod intent;
mod join;
pub mod limits;
mod object;
mod picture;
mod placement;
mod plan;
mod rules;
mod run;
mod shown;
mod site;
mod status;
pub mod turn;

#[cfg(test)]
mod tests;

pub use bootstrap::bootstrap;
pub use plan::{PlanError, Question};
pub use run::{Key, PARTS, Sites};
pub use shown::Shown;
