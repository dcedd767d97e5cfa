//! What a Kubernetes API can do, as one handle, and how to do it over HTTP/2.
//!
//! Start at [`Api`]: every verb, over a [`Transport`] that is either [`http::Http`] (a real
//! server) or [`testing::Fake`] (a small one in memory, for tests and the simulator). A watch that
//! survives everything is a [`follow::Follow`]; where servers and credentials come from is
//! [`config`]. Invariant: a failure that a server answered is carried whole ([`Refusal`]); nothing
//! is retried behind the caller's back except a request that never left. Deliberately elsewhere:
//! queues and caches over all this (`lib/reconcile`), and any knowledge of API groups.

pub mod api;
pub mod config;
pub mod discovery;
mod error;
pub mod follow;
pub mod http;
pub mod limits;
pub mod request;
pub mod testing;
mod tls;

pub use api::{Api, Event, EventKind, List, Listing, Transport, Watch};
pub use config::Config;
pub use error::{Error, Refusal, Result};
pub use follow::{Follow, Notice};
pub use request::{PatchKind, Request, Resource};
