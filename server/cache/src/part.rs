//! A member of an object that is kept once for each content, however many objects have it.
//!
//! Which member of which resource that is, the hub is told ([`PartRule`]); writers and readers see
//! whole objects. In an object's own value the part's hash stands in its place; the part is a row
//! of the store beside it, [`PARTS`] and the hash, and one piece of memory, counted. Invariants: a
//! commit that makes an object refer to a part writes the part's row too, so that its version
//! moves with every new reference; a row is deleted only at a version at which nothing referred to
//! it ([`Parts::spare`]), so a reference that came meanwhile wins. Deliberately elsewhere: how long
//! a spare row is kept, which is longer than the log reaches back (whoever calls
//! [`crate::Hub::drop_parts`] waits).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hanse_store::{Batch, Op};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::document::{self, Document, DocumentError};
use crate::hub::{Hub, commit_error};
use crate::names::ResourceId;
use crate::object::Body;
use crate::txn::{CommitError, Expect, Write};

/// Under this prefix the store holds parts. No API group begins like it.
pub(crate) const PARTS: &str = "!part/";

/// The first byte of a part's value.
const FORMAT: u8 = 1;

/// Bytes of a hash as text, and in its quotes.
const HASH_TEXT: usize = 64;
pub(crate) const QUOTED: usize = HASH_TEXT + 2;

/// Which member of a resource's objects is kept once for each content.
#[derive(Clone, Copy, Debug)]
pub struct PartRule {
    /// API group.
    pub group: &'static str,
    /// Plural name.
    pub resource: &'static str,
    /// The member's path; it holds a JSON object and stands behind `metadata`.
    pub path: &'static [&'static str],
}

impl PartRule {
    pub(crate) fn covers(&self, resource: &ResourceId) -> bool {
        self.group == resource.group() && self.resource == resource.resource()
    }
}

/// SHA-256 of a part's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartHash([u8; 32]);

impl PartHash {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The hash as it stands in an object in place of the part, quotes included.
    pub(crate) fn quoted(self) -> [u8; QUOTED] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut out = [b'"'; QUOTED];
        for (pair, byte) in out[1..=HASH_TEXT].chunks_exact_mut(2).zip(self.0) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        out
    }

    pub(crate) fn from_quoted(text: &[u8]) -> Option<Self> {
        Self::from_hex(text.strip_prefix(b"\"")?.strip_suffix(b"\"")?)
    }

    pub(crate) fn from_hex(text: &[u8]) -> Option<Self> {
        let digit = |c: u8| {
            char::from(c)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        let mut out = [0; 32];
        if text.len() != HASH_TEXT {
            return None;
        }
        for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(out))
    }

    pub(crate) fn store_key(self) -> Bytes {
        let quoted = self.quoted();
        [PARTS.as_bytes(), &quoted[1..=HASH_TEXT]].concat().into()
    }

    /// The hash that a key of the store names; `None` when it is no part's.
    pub(crate) fn from_store(key: &[u8]) -> Option<Self> {
        Self::from_hex(key.strip_prefix(PARTS.as_bytes())?)
    }
}

/// A part with its hash.
pub(crate) struct Part {
    pub(crate) hash: PartHash,
    pub(crate) bytes: Box<[u8]>,
}

impl Part {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self {
            hash: PartHash::of(bytes),
            bytes: bytes.into(),
        }
    }

    /// Reads the value of a part's row.
    pub(crate) fn from_store(value: &[u8]) -> Result<Self, DocumentError> {
        match value.split_first() {
            Some((&FORMAT, bytes)) => Ok(Self::new(bytes)),
            _ => Err(DocumentError::Damaged),
        }
    }

    /// The value of its row.
    pub(crate) fn to_store(&self) -> Bytes {
        [&[FORMAT], &self.bytes[..]].concat().into()
    }
}

/// A row that nothing refers to, at the version at which that was so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SparePart {
    pub(crate) hash: PartHash,
    pub(crate) version: u64,
}

struct Slot {
    part: Arc<Part>,
    /// Version of its row; 0 before it is stored.
    version: u64,
    /// Objects that refer to it now.
    count: usize,
}

/// All parts of a hub. Its lock is the innermost.
#[derive(Default)]
pub(crate) struct Parts {
    slots: Mutex<BTreeMap<PartHash, Slot>>,
}

impl Parts {
    pub(crate) fn get(&self, hash: PartHash) -> Option<Arc<Part>> {
        let slots = self.slots.lock();
        slots.get(&hash).map(|slot| Arc::clone(&slot.part))
    }

    /// The one copy of a part that is about to be written.
    pub(crate) fn intern(&self, part: Part) -> Arc<Part> {
        let mut slots = self.slots.lock();
        let slot = slots.entry(part.hash).or_insert_with(|| Slot {
            part: Arc::new(part),
            version: 0,
            count: 0,
        });
        Arc::clone(&slot.part)
    }

    /// A row was written.
    pub(crate) fn stored(&self, part: Part, version: u64) {
        let mut slots = self.slots.lock();
        let slot = slots.entry(part.hash).or_insert_with(|| Slot {
            part: Arc::new(part),
            version,
            count: 0,
        });
        slot.version = version;
    }

    /// A row was deleted.
    pub(crate) fn gone(&self, hash: PartHash) {
        let mut slots = self.slots.lock();
        match slots.get_mut(&hash) {
            // Somebody is about to write it again.
            Some(slot) if slot.count > 0 || Arc::strong_count(&slot.part) > 1 => slot.version = 0,
            _ => {
                slots.remove(&hash);
            }
        }
    }

    /// An object that refers to it came (1) or went (-1).
    pub(crate) fn count(&self, hash: PartHash, change: isize) {
        if let Some(slot) = self.slots.lock().get_mut(&hash) {
            slot.count = slot.count.saturating_add_signed(change);
        }
    }

    /// The rows that nothing refers to. Forgets what was never stored.
    pub(crate) fn spare(&self) -> Vec<SparePart> {
        let mut slots = self.slots.lock();
        slots.retain(|_, s| s.version > 0 || s.count > 0 || Arc::strong_count(&s.part) > 1);
        let spare = slots.iter().filter(|(_, s)| s.count == 0 && s.version > 0);
        spare
            .map(|(hash, slot)| SparePart {
                hash: *hash,
                version: slot.version,
            })
            .collect()
    }

    /// How many objects refer to a part.
    pub(crate) fn counted(&self, hash: PartHash) -> usize {
        self.slots.lock().get(&hash).map_or(0, |slot| slot.count)
    }

    /// How many there are, and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let slots = self.slots.lock();
        let bytes = slots.values().map(|slot| slot.part.bytes.len()).sum();
        (slots.len(), bytes)
    }
}

// === the hub's side ===

impl Hub {
    /// The value and the body of a write. A part that the object did not refer to before goes to
    /// `parts`, to be written too.
    pub(crate) fn prepare(
        &self,
        write: &Write,
        document: &Document,
        parts: &mut BTreeMap<PartHash, Arc<Part>>,
    ) -> Result<(Bytes, Arc<Body>), CommitError> {
        let damaged = |_| CommitError::Invalid("damaged document");
        let of = &write.key.resource;
        let rule = self.shared.config.parts.iter().find(|r| r.covers(of));
        let split = rule.map(|r| document::split(document.value(), r.path));
        let (value, part) = match split.transpose().map_err(damaged)?.flatten() {
            Some((value, part)) => (value, Some(self.shared.parts.intern(part))),
            None => (document.value().clone(), None),
        };
        if let Some(part) = &part {
            let known = match write.expect {
                Expect::Version(version) => self.get(&write.key).is_some_and(|o| {
                    o.resource_version() == version && o.part() == Some(part.hash)
                }),
                _ => false,
            };
            if !known {
                parts.insert(part.hash, Arc::clone(part));
            }
        }
        let named = self.shared.names.key(&write.key);
        let body = Body::new(named, &value, |_| part).map_err(damaged)?;
        Ok((value, Arc::new(body)))
    }

    /// Puts the rows of parts before what refers to them: into the same commit where they fit,
    /// else into commits of their own. Answers how many operations were added.
    pub(crate) async fn write_parts(
        &self,
        batch: &mut Batch,
        parts: BTreeMap<PartHash, Arc<Part>>,
    ) -> Result<usize, CommitError> {
        let mut ops: Vec<Op> = parts
            .values()
            .map(|part| Op {
                key: part.hash.store_key(),
                expect: hanse_store::Expect::Any,
                put: Some(part.to_store()),
                attachment: None,
            })
            .collect();
        let most = self.limits().max_keys.max(1);
        if batch.ops.len() + ops.len() <= most {
            let added = ops.len();
            batch.ops.splice(0..0, ops);
            return Ok(added);
        }
        while !ops.is_empty() {
            let rest = ops.split_off(ops.len().min(most));
            let first = Batch {
                ops,
                lane: batch.lane,
                ..Batch::default()
            };
            let done = self.shared.store.commit(first).await;
            done.map_err(|error| commit_error(error, Vec::new(), (0, 0)))?;
            ops = rest;
        }
        Ok(0)
    }

    /// The rows of parts that no object refers to now. One that is handed to
    /// [`Hub::drop_parts`] later goes unless an object came to refer to it meanwhile.
    pub fn spare_parts(&self) -> Vec<SparePart> {
        // Under the lock, so that counts and versions are of one moment.
        let _state = self.shared.state.read();
        self.shared.parts.spare()
    }

    /// Deletes the rows of parts that have not been written since they were spare. The past that
    /// needed them is gone for readers, so let the log forget it first. Answers how many went.
    pub async fn drop_parts(&self, spare: &[SparePart]) -> Result<usize, CommitError> {
        let mut dropped = 0;
        for part in spare {
            let op = Op {
                key: part.hash.store_key(),
                expect: hanse_store::Expect::Version(hanse_store::Version(part.version)),
                put: None,
                attachment: None,
            };
            let batch = Batch {
                ops: vec![op],
                ..Batch::default()
            };
            match self.shared.store.commit(batch).await {
                Ok(_) => dropped += 1,
                Err(hanse_store::CommitError::Conflict { .. }) => {}
                Err(error) => return Err(commit_error(error, Vec::new(), (0, 0))),
            }
        }
        Ok(dropped)
    }
}
