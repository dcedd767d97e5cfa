//! The Common Expression Language as Kubernetes speaks it: parsed, type-checked, costed, metered.
//!
//! Start at [`Env`]: `Env::compile` turns text and [`Decls`] into a [`Program`] or a
//! [`CompileError`] with cel-go's texts; a program knows its estimated cost and evaluates over JSON
//! under a [`Budget`]. Values are read straight from `serde_json::Value` through a [`DeclType`];
//! nothing is copied.
//!
//! **Invariant:** whatever text and data come from outside, compiling and evaluating end within the
//! bounds of [`limits`] and never panic (an optimised build needs a stack of 1 MiB for the deepest
//! expression that is let in). Costs, verdicts and error texts are those of cel-go with
//! Kubernetes' environment; `e2e/oracles/cel` holds the proof.
//!
//! Deliberately elsewhere: schemas and ratcheting (`hanse-schema`), messages of API errors,
//! admission variables. Absent: the authorizer library, message construction, `google.protobuf`
//! types.

mod ast;
mod call;
mod check;
mod decl;
mod env;
mod equal;
mod escape;
mod estimate;
mod estimate_lib;
mod eval;
mod functions;
mod issue;
mod lexer;
mod lib_format;
mod lib_kube;
mod lib_list;
mod lib_std;
mod lib_text;
pub mod limits;
mod macros;
mod named;
mod net;
mod number;
mod opaque;
mod parser;
mod pattern;
mod plan;
mod quantity;
mod semver;
mod spend;
mod syntax;
mod time;
mod types;
mod url;
mod validate;
mod value;

pub use decl::{DeclKind, DeclType, ListKind, ListType, ObjectType};
pub use env::{Decls, Env, KUBERNETES_MINOR, Program};
pub use escape::{escape, unescape};
pub use estimate::CostEstimate;
pub use eval::{Binding, Budget, EvalError, Halt};
pub use issue::{CompileError, Issue};
pub use named::NamedFormat;
pub use net::Cidr;
pub use opaque::Opaque;
pub use quantity::Quantity;
pub use semver::Semver;
pub use time::Timestamp;
pub use types::Type;
pub use url::Url;
pub use value::{CelError, Key, List, Map, Merged, Text, Value};
