//! Workspaces, logical clusters, exports, bindings: what a logical cluster serves and how it is
//! born and dies.
//!
//! Start with [`Tenancy`]: `bootstrap` makes a shard's first objects, `on_create_workspace` lets a
//! workspace be born in one commit, `home` gives a user his own. [`Catalog`] knows what a logical
//! cluster serves, [`controllers::Controllers`] brings right what could not be right at once, and
//! [`views`] has the rules of the virtual workspaces. Invariant: a workspace is visible only with
//! all of its first objects, and everything here is a function from the present to writes.
//! Deliberately elsewhere: HTTP (api), what a namespace or an owner takes with it (controllers).

pub mod bind;
pub mod birth;
mod bootstrap;
pub mod catalog;
pub mod controllers;
pub mod exit;
pub mod exports;
mod forms;
mod home;
pub mod moved;
pub mod objects;
mod tenancy;
pub mod verify;
pub mod views;
pub mod workspace_types;

#[cfg(test)]
mod tests;

pub use birth::{INITIALIZER_UNIVERSAL, Newborn, Plan};
pub use bootstrap::{BootstrapError, restore};
pub use catalog::{Catalog, Lookup, Surface};
pub use forms::Forms;
pub use home::HOME_NAME;
pub use objects::{Draft, Maker};
pub use tenancy::{ShardConfig, Tenancy};
