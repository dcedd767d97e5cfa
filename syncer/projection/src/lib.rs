//! The treaty between above and below, as pure functions.
//!
//! Start at [`render()`], the way down, and [`aggregate()`], the way up; [`rule`] is what a kind's
//! ProjectionRule changes on either, [`names`] decides what things are called at a site, [`owned`]
//! what of an object below is ours, [`contact`] whether a site is heard, and [`why`] what keeps an
//! object from being well. Invariant: no I/O, no clock, no chance: the same inputs
//! give the same answer on any replica, after any restart, on either side of the wire.
//! Deliberately elsewhere: which sites an object goes to
//! (`server/rules`), when to do any of this (`server/sites`, `syncer/agent`).

pub mod access;
pub mod aggregate;
pub mod contact;
mod digest;
pub mod expr;
pub mod kinds;
pub mod limits;
pub mod line;
pub mod mass;
pub mod names;
pub mod owned;
pub mod path;
pub mod references;
pub mod render;
pub mod rule;
pub mod steps;
pub mod tree;
pub mod why;

pub use aggregate::{SiteView, aggregate};
pub use contact::{Contact, contact};
pub use digest::{content_hash, digest16};
pub use render::{Render, dress, render};
pub use rule::Rule;
