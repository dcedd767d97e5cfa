//! What is written at once or not at all, in terms of objects.

use std::sync::Arc;

use hanse_store::Limits;

use crate::document::Document;
use crate::names::ObjectKey;
use crate::object::Object;

/// What must hold of an object for the transaction to be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Any,
    /// It does not exist.
    Absent,
    /// It exists.
    Present,
    /// It is at exactly this version.
    Version(u64),
}

/// One write.
#[derive(Clone, Debug)]
pub struct Write {
    /// The object; no two writes of a transaction name the same one.
    pub key: ObjectKey,
    /// What must hold of it before.
    pub expect: Expect,
    /// Its new state, or `None` to delete it. Deleting what does not exist changes nothing.
    pub put: Option<Document>,
}

/// What a write takes of a commit beside the bytes of its document: the longest key, and room for
/// what the store adds.
const OVERHEAD: usize = 4 << 10;

impl Write {
    /// Bytes that it may take of a commit.
    #[must_use]
    pub fn weight(&self) -> usize {
        OVERHEAD + self.put.as_ref().map_or(0, Document::len)
    }
}

/// Writes that need not be committed at once, in their order, as few commits as `limits` allow.
#[must_use]
pub fn split(writes: Vec<Write>, limits: Limits) -> Vec<Txn> {
    let mut txns: Vec<Txn> = Vec::new();
    let mut bytes = 0;
    for write in writes {
        let weight = write.weight();
        match txns.last_mut() {
            Some(txn)
                if txn.writes.len() < limits.max_keys && bytes + weight <= limits.max_bytes =>
            {
                bytes += weight;
                txn.writes.push(write);
            }
            _ => {
                bytes = weight;
                txns.push(Txn {
                    writes: vec![write],
                    checks: Vec::new(),
                });
            }
        }
    }
    txns
}

/// Writes that become durable and visible at once, or not at all.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    /// The writes, in the order of their versions; at most `Hub::limits().max_keys`.
    pub writes: Vec<Write>,
    /// What must hold of objects that are not written.
    pub checks: Vec<(ObjectKey, Expect)>,
}

impl Txn {
    /// A transaction of one write.
    pub fn one(key: ObjectKey, expect: Expect, put: Option<Document>) -> Self {
        Self {
            writes: vec![Write { key, expect, put }],
            checks: Vec::new(),
        }
    }

    /// Adds the creation of an object that must not exist.
    pub fn create(mut self, key: ObjectKey, document: Document) -> Self {
        self.writes.push(Write {
            key,
            expect: Expect::Absent,
            put: Some(document),
        });
        self
    }

    /// Adds the next state of an object that must be at the version of `old`.
    pub fn update(mut self, old: &Object, document: Document) -> Self {
        let expect = Expect::Version(old.resource_version());
        self.writes.push(Write {
            key: old.key().clone(),
            expect,
            put: Some(document),
        });
        self
    }

    /// Adds the deletion of an object that must be at the version of `old`.
    pub fn delete(mut self, old: &Object) -> Self {
        let expect = Expect::Version(old.resource_version());
        self.writes.push(Write {
            key: old.key().clone(),
            expect,
            put: None,
        });
        self
    }

    /// Adds a precondition on an object that is not written.
    pub fn check(mut self, key: ObjectKey, expect: Expect) -> Self {
        self.checks.push((key, expect));
        self
    }
}

/// What a transaction did.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The version after the transaction (c * 256 + 255): a read at it shows all of it.
    pub version: u64,
    /// For each write its version; `None` for the deletion of what did not exist.
    pub versions: Vec<Option<u64>>,
    /// For each write the object as it is stored now; `None` for deletions.
    pub objects: Vec<Option<Object>>,
}

/// Why a transaction was not committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A precondition did not hold. Nothing was written; read again and decide anew (409).
    #[error("conflict on {key}")]
    Conflict {
        /// The object.
        key: ObjectKey,
        /// Its version, or `None` when it does not exist.
        current: Option<u64>,
    },
    /// More than the store takes at once (413).
    #[error("the transaction is too large for the store")]
    TooLarge,
    /// A transaction that no store could commit: a mistake of the caller.
    #[error("invalid transaction: {0}")]
    Invalid(&'static str),
    /// A value cannot be brought into the form in which it is to lie at rest; nothing was written
    /// (500).
    #[error("{0}")]
    Refused(Arc<str>),
    /// There is no room left; nothing was written (500, in the words of etcd).
    #[error("mvcc: database space exceeded")]
    Full,
    /// The store cannot write. Whether the transaction was committed is not known.
    #[error("the store is not available: {0}")]
    Unavailable(Arc<str>),
}
