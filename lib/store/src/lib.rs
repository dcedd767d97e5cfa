//! The store contract, its in-memory engine and the suite that every engine passes.
