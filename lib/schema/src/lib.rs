//! Structural schemas: compile, prune, default, validate, ratchet; OpenAPI out.
//!
//! Start at [`Schema`]. [`field`], [`names`] and [`meta`] are the vocabulary in which every room
//! says what is wrong with an object. Inside, [`props`] is a schema as written, [`node`] as
//! compiled; one file per verb walks the compiled tree: `prune`, `default`, `validate`, `lists`,
//! `embedded`; [`rules`] are those in CEL. [`crd`] is all about CustomResourceDefinitions,
//! [`openapi`] what clients see of them. The crate is pure: no I/O, no clock. Invariant: on the
//! same input the answers are those of Kubernetes' apiextensions, which the oracle under
//! `e2e/oracles/schema` checks.

pub mod crd;
mod default;
mod embedded;
pub mod field;
mod formats;
pub mod limits;
mod lists;
mod literal;
pub mod meta;
pub mod names;
pub mod node;
pub mod object_meta;
pub mod openapi;
mod pattern;
pub mod props;
mod prune;
mod ratchet;
pub mod rules;
pub mod scale;
mod schema;
mod structural;
mod trail;
mod validate;

pub use rules::CelOutcome;
pub use schema::{Schema, blocking_error};
