//! Where a walk is: a path through the stack, made into text only when there is an error to show.

use crate::field::Path;

/// One step from the parent, or the start.
#[derive(Clone, Copy)]
pub enum Trail<'a> {
    Start(&'a Path),
    Child(&'a Trail<'a>, &'a str),
    Key(&'a Trail<'a>, &'a str),
    Index(&'a Trail<'a>, usize),
}

impl Trail<'_> {
    /// The path as field errors have it.
    pub fn path(&self) -> Path {
        match self {
            Trail::Start(path) => (*path).clone(),
            Trail::Child(parent, name) => parent.path().child(name),
            Trail::Key(parent, key) => parent.path().key(key),
            Trail::Index(parent, index) => parent.path().index(*index),
        }
    }
}
