//! Workspaces, logical clusters, exports, bindings: what a logical cluster serves and how it is
//! born and dies.

pub mod bind;
pub mod birth;
mod bootstrap;
pub mod catalog;
pub mod controllers;
pub mod exports;
mod forms;
pub mod objects;
mod tenancy;
pub mod workspace_types;

#[cfg(test)]
mod tests;

pub use birth::{INITIALIZER_UNIVERSAL, Newborn, Plan};
pub use bootstrap::BootstrapError;
pub use catalog::{Catalog, Lookup, Surface};
pub use forms::Forms;
pub use objects::{Draft, Maker};
pub use tenancy::{ShardConfig, Tenancy};
