//! Pure rules of tenancy: hashes, paths, workspace types, claims, naming, locks, identities; and
//! placement.
//!
//! Start with [`types`] (who may live under whom), [`claims`] (what a provider may see), [`users`]
//! (who somebody is in a logical cluster) and [`placement`] (which sites an object goes to).
//! Invariant: no I/O, no clock, no chance; everything that depends on the present state comes in
//! as an argument. Deliberately elsewhere: reading and writing objects (tenancy), deciding requests
//! (auth, admission).

pub mod bound_crd;
pub mod claims;
pub mod conditions;
pub mod hash;
pub mod locks;
pub mod naming;
pub mod path;
pub mod placement;
pub mod replicate;
pub mod selector;
pub mod types;
pub mod users;
