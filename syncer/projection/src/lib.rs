//! The treaty between above and below, as pure functions.
//!
//! Start at [`render()`], the way down, and [`aggregate()`], the way up; [`names`] decides what
//! things are called at a site, [`owned`] what of an object below is ours, and [`contact`] whether
//! a site is heard. Invariant: no I/O, no clock, no chance: the same inputs
//! give the same answer on any replica, after any restart, on either side of the wire.
//! Deliberately elsewhere: which sites an object goes to
//! (`server/rules`), when to do any of this (`server/sites`, `syncer/agent`).

pub mod aggregate;
pub mod contact;
mod digest;
pub mod kinds;
pub mod line;
pub mod mass;
pub mod names;
pub mod owned;
pub mod path;
pub mod references;
pub mod render;
pub mod tree;

pub use aggregate::{SiteView, aggregate};
pub use contact::{Contact, contact};
pub use digest::content_hash;
pub use render::{Render, dress, render};
