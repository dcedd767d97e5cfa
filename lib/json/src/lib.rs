//! An object is bytes: look inside, change it, write it back.
//!
//! Start with [`parse`], which turns a client's bytes into a tree and remembers every field that
//! was given twice, and [`to_vec`], which writes the one form in which objects rest: compact, keys
//! sorted by bytes, numbers as Go prints them. [`scan`] reads single values out of bytes at rest
//! without building a tree; [`get`] and its neighbours walk a tree by path.
//!
//! Invariant: `parse(to_vec(v))` is semantically [`equal`] to `v`, and `to_vec` of equal trees is
//! byte for byte the same. What a field *means* is deliberately elsewhere (`hanse-schema`).

mod access;
pub mod go;
pub mod limits;
mod parse;
pub mod scan;
mod write;

pub use access::{
    entry_object, equal, get, get_array, get_bool, get_i64, get_mut, get_object, get_str, remove,
    set, type_name,
};
pub use limits::Limits;
pub use parse::{ParseError, Parsed, parse};
pub use serde_json::{Map, Number, Value, json};
pub use write::{format_float, number_string, to_string, to_vec, to_vec_pretty, write, write_str};
