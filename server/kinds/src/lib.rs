//! The kinds that every logical cluster serves, as rows: schemas, defaults, validation, columns.
//!
//! Start at [`ResourceDef`]: everything the server must know about one resource in one version.
//! [`builtin()`] has the kinds of Kubernetes that are always there; custom resources get their rows
//! from CRDs and APIResourceSchemas ([`custom`]). The data files are made by `codegen/`.
//!
//! Invariant: a row is data. No handler elsewhere may ask for a kind by name.

pub mod builtin;
pub mod custom;
pub mod def;
pub mod events;
pub mod hooks;
pub mod kcp;
pub mod limits;
pub mod native;
pub mod openapi;
pub mod protobuf;
pub mod quantity;
pub mod table;

pub use builtin::builtin;
pub use custom::{compare_versions, native_merge_table};
pub use def::{
    CUSTOM_RESOURCES, CompiledKind, Conversion, Flags, Hooks, ResourceDef, ScalePaths,
    SelectableField, Shape, StorageRef, Subresource, Update,
};
