//! Structural schemas: compile, prune, default, validate, ratchet; OpenAPI out.
//!
//! Also the vocabulary in which every room says what is wrong with an object: start at [`field`],
//! then [`names`] and [`meta`]. The crate is pure: no I/O, no clock.

pub mod field;
pub mod go;
pub mod meta;
pub mod names;
