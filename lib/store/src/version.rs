//! The two numbers of the log: the commit's revision and the write's version.
//!
//! Newtypes, because mixing them up would lose watch events without an error.

use std::fmt;

/// The number of a commit. 0 is the empty store, before its first commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The version of the operation at `index` of this commit; at most 254 by the contract.
    pub fn version(self, index: u8) -> Version {
        Version((self.0 << 8) | u64::from(index))
    }

    /// The version that stands after all operations of this commit (c * 256 + 255): what lists
    /// and bookmarks carry.
    pub fn end(self) -> Version {
        self.version(u8::MAX)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of one write: what clients see as `metadata.resourceVersion`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// The commit that this write belongs to.
    pub fn revision(self) -> Revision {
        Revision(self.0 >> 8)
    }

    /// The place of this write in its commit; 255 for the version of a whole commit.
    pub fn index(self) -> u8 {
        (self.0 & 0xff) as u8
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
