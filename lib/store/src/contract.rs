//! What a store promises, as types and as prose. Start at [`Store`].

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use hanse_seams::BoxFuture;

use crate::limits::{Limits, MAX_CHECKS, MAX_KEY_BYTES};
use crate::{Revision, Version};

/// Something of the caller's that travels with an operation to the observers of the same process:
/// what it has already decoded need not be decoded again. Never stored.
pub type Attachment = Arc<dyn Any + Send + Sync>;

/// What must hold of a key for the batch to be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Any,
    /// The key has no value.
    Absent,
    /// The key has some value.
    Present,
    /// The key's value was written by exactly this version.
    Version(Version),
}

impl Expect {
    /// Whether a key whose value was written by `current` is as expected.
    pub fn holds(self, current: Option<Version>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => current.is_none(),
            Self::Present => current.is_some(),
            Self::Version(version) => current == Some(version),
        }
    }
}

/// A precondition on a key that the batch does not write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The key.
    pub key: Bytes,
    /// What must hold of it.
    pub expect: Expect,
}

/// One write of a batch.
#[derive(Clone)]
pub struct Op {
    /// The key; no two operations of a batch name the same one.
    pub key: Bytes,
    /// What must hold of it before the batch.
    pub expect: Expect,
    /// The value to put, or `None` to delete. Deleting a key that has no value changes nothing.
    pub put: Option<Bytes>,
    /// For the observers of this process.
    pub attachment: Option<Attachment>,
}

/// What is to be written at once or not at all.
#[derive(Clone, Default)]
pub struct Batch {
    /// Whose turn it is: batches of one lane are committed in the order in which they came, and
    /// lanes take turns. A hash of the logical cluster's name.
    pub lane: u64,
    /// Preconditions on other keys.
    pub checks: Vec<Check>,
    /// The writes, in the order of their versions.
    pub ops: Vec<Op>,
}

impl Batch {
    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.ops
            .iter()
            .map(|op| op.key.len() + op.put.as_ref().map_or(0, Bytes::len))
            .sum()
    }

    /// Refuses what no store with these limits can commit. Engines call this first.
    pub fn validate(&self, limits: &Limits) -> Result<(), CommitError> {
        if self.ops.is_empty() {
            return Err(CommitError::Invalid("a batch without operations"));
        }
        if self.ops.len() > limits.max_keys || self.checks.len() > MAX_CHECKS {
            return Err(CommitError::TooManyKeys {
                keys: self.ops.len(),
                max: limits.max_keys,
            });
        }
        let bytes = self.bytes();
        if bytes > limits.max_bytes {
            return Err(CommitError::TooLarge {
                bytes,
                max: limits.max_bytes,
            });
        }
        let mut keys: Vec<&Bytes> = self.ops.iter().map(|op| &op.key).collect();
        let longest = keys.iter().map(|key| key.len()).max().unwrap_or(0);
        if longest > MAX_KEY_BYTES || keys.iter().any(|key| key.is_empty()) {
            return Err(CommitError::Invalid("a key is empty or too long"));
        }
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(CommitError::Invalid("a key is written twice in one batch"));
        }
        Ok(())
    }

    /// The first precondition that does not hold, with `current` telling a key's version.
    pub fn conflict<E>(
        &self,
        mut current: impl FnMut(&[u8]) -> Result<Option<Version>, E>,
    ) -> Result<Option<CommitError>, E> {
        let checks = self.checks.iter().map(|check| (&check.key, check.expect));
        let ops = self.ops.iter().map(|op| (&op.key, op.expect));
        for (index, (key, expect)) in checks.chain(ops).enumerate() {
            if expect == Expect::Any {
                continue;
            }
            let version = current(key)?;
            if !expect.holds(version) {
                let place = match index.checked_sub(self.checks.len()) {
                    Some(op) => Place::Op(op),
                    None => Place::Check(index),
                };
                return Ok(Some(CommitError::Conflict {
                    place,
                    key: key.clone(),
                    current: version,
                }));
            }
        }
        Ok(None)
    }
}

/// What a commit did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The commit's number; the latest one when the batch changed nothing.
    pub revision: Revision,
    /// For each operation its version, or `None` for the deletion of a key without a value.
    pub versions: Vec<Option<Version>>,
}

/// Which precondition did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The check with this index.
    Check(usize),
    /// The operation with this index.
    Op(usize),
}

/// Why a batch was not committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A precondition did not hold. Nothing was written; read again and decide anew.
    #[error("conflict on a key that is at {current:?}")]
    Conflict {
        /// Which one.
        place: Place,
        /// Its key.
        key: Bytes,
        /// What the key's version is instead; `None` when it has no value.
        current: Option<Version>,
    },
    /// More operations than the engine takes in one commit.
    #[error("{keys} keys in one commit, at most {max} are possible")]
    TooManyKeys {
        /// Operations in the batch.
        keys: usize,
        /// What the engine takes.
        max: usize,
    },
    /// More bytes than the engine takes in one commit.
    #[error("{bytes} bytes in one commit, at most {max} are possible")]
    TooLarge {
        /// Bytes of keys and values in the batch.
        bytes: usize,
        /// What the engine takes.
        max: usize,
    },
    /// A batch that no engine could commit: a mistake of the caller.
    #[error("invalid batch: {0}")]
    Invalid(&'static str),
    /// The value cannot be brought into the form that it is to lie in. Nothing was written; the
    /// same may succeed later.
    #[error("{0}")]
    Refused(Arc<str>),
    /// There is no room left. Nothing was written; reading goes on, and the same succeeds once
    /// there is room again.
    #[error("no space left")]
    Full,
    /// The engine cannot write, now or ever again. Whether the batch was committed is not known
    /// when the engine failed while writing it.
    #[error("store unavailable: {0}")]
    Unavailable(Arc<str>),
}

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The revision was compacted away.
    #[error("revision is compacted, the oldest one readable is {floor}")]
    Compacted {
        /// The oldest revision that can be read.
        floor: Revision,
    },
    /// The revision has not been committed yet.
    #[error("revision is in the future, the latest one is {current}")]
    Future {
        /// The latest revision.
        current: Revision,
    },
    /// The engine cannot read.
    #[error("store unavailable: {0}")]
    Unavailable(Arc<str>),
}

/// A key with the value it has, or had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// The version that wrote the value.
    pub version: Version,
    /// The value.
    pub value: Bytes,
}

/// Which keys to read, and as of when.
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// The first key.
    pub start: Bytes,
    /// The first key that is not wanted any more; `None` for no end.
    pub end: Option<Bytes>,
    /// As of which revision; `None` for the latest.
    pub at: Option<Revision>,
    /// The most entries to return, at least 1.
    pub limit: usize,
}

/// Entries in the order of their keys, all as of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Whether there are more keys in the range.
    pub more: bool,
    /// The revision that was read.
    pub revision: Revision,
}

/// What a key had before a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// The version that wrote it.
    pub version: Version,
    /// The value.
    pub value: Bytes,
}

/// One operation of a commit that changed something.
#[derive(Clone)]
pub struct Change {
    /// Its version.
    pub version: Version,
    /// Its key.
    pub key: Bytes,
    /// The value put, or `None` for a deletion.
    pub value: Option<Bytes>,
    /// What the key had before. Filled by [`Store::log`]; observers hold the present already, so
    /// for them it may be absent.
    pub previous: Option<Previous>,
    /// What the committer attached. Only for observers.
    pub attachment: Option<Attachment>,
}

impl PartialEq for Change {
    /// Attachments are no part of what was written.
    fn eq(&self, other: &Self) -> bool {
        (self.version, &self.key, &self.value, &self.previous)
            == (other.version, &other.key, &other.value, &other.previous)
    }
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Change")
            .field("version", &self.version)
            .field("key", &self.key)
            .field("value", &self.value)
            .field("previous", &self.previous)
            .finish_non_exhaustive()
    }
}

/// A commit with all that it changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// Its number.
    pub revision: Revision,
    /// When it was committed, in milliseconds since 1970 by the engine's wall clock.
    pub wall_millis: u64,
    /// What it changed, in the order of the versions; never empty.
    pub changes: Vec<Change>,
}

/// Whole commits in order.
#[derive(Clone, Debug, PartialEq)]
pub struct LogPage {
    /// The commits.
    pub commits: Vec<Commit>,
    /// Whether the log goes on after them.
    pub more: bool,
}

/// What a look at everything found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Keys that have a value.
    pub keys: u64,
    /// Writes that are still there, of the present and the past.
    pub records: u64,
    /// What is broken, each by its name; empty when all is well.
    pub findings: Vec<String>,
}

/// Who is told of commits as they happen.
pub trait Observer: Send + Sync + 'static {
    /// Called with the next commits in order, once each, when they are durable and before their
    /// committers are told. Must not block, and must not call the store.
    fn committed(&self, commits: &[Commit]);
}

/// One log of revisions over keys and values.
///
/// Promises, all checked by the suite:
///
/// 1. A commit is atomic: all its operations or none, also when the process is killed.
/// 2. What was acknowledged is durable; what was refused with anything but `Unavailable` left no
///    trace.
/// 3. Preconditions hold at the commit's place in the order of commits, and that order is the
///    order of revisions. Commits are linearizable: a batch handed over after another one was
///    acknowledged is committed after it.
/// 4. Revisions grow by at least one with each commit that changes something, for the life of the
///    data, also over reopening. The i-th operation has version c * 256 + i.
/// 5. A read at X shows for each key what the last version of revision at most X left, and answers
///    X. The present can always be read; the past down to [`Store::floor`].
/// 6. The log after X holds every change of every later commit, once, in order, with what the key
///    had before, as long as X is not below the floor.
/// 7. Observers see commits gap-free and in order from the revision that `attach` returned, and
///    see each before its committer is told (so a reader beside them reads its own writes).
/// 8. Compaction takes away only the past: no present value, no later change, no version.
pub trait Store: Send + Sync + 'static {
    /// What a commit may hold.
    fn limits(&self) -> Limits;

    /// The latest durable revision.
    fn revision(&self) -> Revision;

    /// The oldest revision that can be read; 0 as long as nothing was compacted.
    fn floor(&self) -> Revision;

    /// Why nothing can be committed any more, ever; `None` while all is well.
    fn failure(&self) -> Option<Arc<str>> {
        None
    }

    /// From now on tells `observer` of every commit after the returned revision.
    fn attach(&self, observer: Arc<dyn Observer>) -> Revision;

    /// Commits the batch, or says why not. The future may be dropped; the batch may be committed
    /// all the same.
    fn commit(&self, batch: Batch) -> BoxFuture<Result<Committed, CommitError>>;

    /// What a key has, or had as of a revision.
    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<Result<Option<Entry>, ReadError>>;

    /// A range of keys.
    fn range(&self, range: Range) -> BoxFuture<Result<Page, ReadError>>;

    /// The commits after a revision, whole ones, until about `limit` changes or the end. After
    /// the latest revision there is nothing, which is no error.
    fn log(&self, after: Revision, limit: usize) -> BoxFuture<Result<LogPage, ReadError>>;

    /// Looks at everything that is stored and names what is broken, as of one moment, while
    /// commits go on. Engines without a form of their own at rest have nothing to look at.
    fn verify(&self) -> BoxFuture<Result<Verified, ReadError>> {
        Box::pin(std::future::ready(Ok(Verified::default())))
    }

    /// Whether the value of a key lies in another form than it would get if it were written now,
    /// so that writing it again without a change is of use. Engines know one form only.
    fn is_stale(&self, _key: Bytes) -> BoxFuture<Result<bool, ReadError>> {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// Makes `to` the oldest revision that can be read, or the latest one if that is lower; never
    /// lowers it. The space may be freed later.
    fn compact(&self, to: Revision) -> BoxFuture<Result<(), ReadError>>;
}
