//! Placeholder entry point, replaced within this change set.
fn main() {}
