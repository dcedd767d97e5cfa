//! All that a client can see of our encoding: Status, selectors, negotiation, tables, watch frames.
//!
//! Start with [`status`], the shape of every failure, and [`options`], what a query may ask for.
//! [`negotiate`] decides the form of the answer. The invariant of the crate: texts, codes and
//! shapes are those of kube-apiserver, byte for byte where clients compare them.
//!
//! Nothing here does I/O, reads a clock or knows a kind by name.

pub mod base64;
pub mod continue_token;
pub mod gvk;
pub mod gzip;
pub mod jsonpath;
pub mod limits;
pub mod negotiate;
pub mod openapi_v2;
pub mod options;
pub mod protobuf;
pub mod query;
pub mod selector;
pub mod status;
pub mod table;
pub mod time;
pub mod warning;
pub mod watch;
pub mod yaml;

pub use gvk::{GroupKind, GroupResource, GroupVersion, GroupVersionKind, GroupVersionResource};
pub use status::{Cause, Details, Reason, Result, Status};
