//! From request to answer, in order: routes, verbs, resources as data, discovery, subresources.
//!
//! Start at [`Service::handle`]: one HTTP request in, one answer out, without a socket, so that
//! tests and the simulation call it directly. `service.rs` holds the steps that every request
//! takes; [`verbs`] what happens to resources; [`write`] the way of a write; [`paths`] what is
//! served beside resources. The invariant: no handler here knows a kind by name where a row of
//! `hanse-kinds` could say it. TLS, sockets and flags are the binary's; who may do what is
//! `hanse-auth`'s; what a logical cluster serves is `hanse-tenancy`'s.

pub mod answer;
pub mod audit;
pub mod body;
pub mod call;
pub mod convert;
pub mod cost;
pub mod discovery;
pub mod documents;
mod duration;
pub mod endings;
pub mod flow;
pub mod health;
pub mod info;
pub mod limits;
pub mod long;
pub mod memory;
pub mod metrics;
pub mod openapi;
mod operator;
pub mod path;
pub mod paths;
pub mod render;
pub mod reviews;
pub mod series;
pub mod service;
pub mod subresources;
mod tenants;
pub mod trace;
pub mod traffic;
pub mod verbs;
pub mod version;
pub mod views;
pub mod write;

pub use long::LongWork;
pub use service::{ConnInfo, Parts, Service};
