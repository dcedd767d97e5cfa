//! One version of one object as it rests in memory: bytes, and a small index entry beside them.
//!
//! [`Object`] is a pointer and a version. Behind the pointer stand the key and one allocation with
//! the index entry and the JSON, whole but for `metadata.resourceVersion`, which belongs at
//! `split`. That is why a deletion, which gives the last state a new version, copies nothing. A
//! part that many objects share (`part.rs`) stands there as its hash and is put in whenever the
//! document is written. What has lain still is there in packed form (`pack.rs`), which nobody
//! outside notices. The invariant: the bytes without the version are valid, canonical JSON of
//! their own.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use hanse_json::{Value, scan};

use crate::document::{self, Document, DocumentError, Entry, Join, Pairs, SchemaHash, Texts};
use crate::names::{ObjectKey, hash_parts};
use crate::pack::{Packed, Pattern};
use crate::part::{Part, PartHash, QUOTED};

/// The annotation that names the logical cluster of an object in every answer.
pub const CLUSTER_ANNOTATION: &str = "kcp.io/cluster";

/// An object at one version. Cheap to clone; never changes.
#[derive(Clone)]
pub struct Object {
    body: Arc<Body>,
    version: u64,
}

/// What does not depend on the version.
#[derive(Clone)]
pub(crate) struct Body {
    key: ObjectKey,
    /// The index entry, then the JSON, or what is left of it when it is packed.
    bytes: Box<[u8]>,
    json: u32,
    split: u32,
    part: Option<Box<Shared>>,
    packed: Option<Box<Packed>>,
}

/// A part, and where in the JSON its hash stands.
#[derive(Clone)]
struct Shared {
    at: u32,
    part: Arc<Part>,
}

/// An object's JSON in the pieces in which it rests; one after the other they are the document.
#[derive(Clone, Copy, Debug)]
pub struct Slices<'a> {
    /// Everything before the version.
    pub head: &'a [u8],
    /// The version, which belongs between as `,"resourceVersion":"..."`.
    pub version: u64,
    /// Everything after the version: what comes before a shared part, the part, the rest.
    pub tail: [&'a [u8]; 3],
}

const VERSION_OPEN: &[u8] = b",\"resourceVersion\":\"";

impl Slices<'_> {
    /// Appends the document.
    pub fn write(&self, out: &mut Vec<u8>) {
        let tail: usize = self.tail.iter().map(|piece| piece.len()).sum();
        out.reserve(self.head.len() + tail + 48);
        out.extend_from_slice(self.head);
        out.extend_from_slice(VERSION_OPEN);
        write_number(self.version, out);
        out.push(b'"');
        for piece in self.tail {
            out.extend_from_slice(piece);
        }
    }
}

impl Slices<'_> {
    /// Appends at most so many bytes of the document, from this place in it on; fewer at its end.
    pub fn write_window(&self, from: usize, most: usize, out: &mut Vec<u8>) {
        let mut version = VERSION_OPEN.to_vec();
        write_number(self.version, &mut version);
        version.push(b'"');
        let [first, second, third] = self.tail;
        let (mut skip, mut left) = (from, most);
        for piece in [self.head, &version, first, second, third] {
            let rest = piece.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(piece.len());
            let taken = &rest[..rest.len().min(left)];
            out.extend_from_slice(taken);
            left -= taken.len();
        }
    }

    /// Bytes of the whole document.
    pub fn total(&self) -> usize {
        let mut version = Vec::new();
        write_number(self.version, &mut version);
        let tail: usize = self.tail.iter().map(|piece| piece.len()).sum();
        self.head.len() + VERSION_OPEN.len() + version.len() + 1 + tail
    }
}

/// Appends a number in decimal.
fn write_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

impl Body {
    /// Puts a stored value together with what its key says, and with the part that it shares.
    pub(crate) fn new(
        key: ObjectKey,
        value: &[u8],
        part: impl FnOnce(PartHash) -> Option<Arc<Part>>,
    ) -> Result<Self, DocumentError> {
        let parts = document::decode(value)?;
        let (open, close): (&[u8], &[u8]) = match parts.join {
            Join::Wrap => (b"\"annotations\":{\"kcp.io/cluster\":", b"},"),
            Join::Before => (b"\"kcp.io/cluster\":", b","),
            Join::After => (b",\"kcp.io/cluster\":", b""),
        };
        let mut cluster = Vec::with_capacity(key.cluster.len() + 2);
        hanse_json::write_str(&key.cluster, &mut cluster);
        let grown = open.len() + cluster.len() + close.len();
        let length = parts.entry.len() + parts.json.len() + grown;
        let damaged = |_| DocumentError::Damaged;
        let json = u32::try_from(parts.entry.len()).map_err(damaged)?;
        let split = u32::try_from(parts.version + grown).map_err(damaged)?;
        u32::try_from(length).map_err(damaged)?;
        let (before, after) = parts.json.split_at(parts.cluster);
        let mut bytes = Vec::with_capacity(length);
        for piece in [parts.entry, before, open, &cluster, close, after] {
            bytes.extend_from_slice(piece);
        }
        let shared = match parts.part {
            Some((at, hash)) => Some(Box::new(Shared {
                at: u32::try_from(at + grown).map_err(damaged)?,
                part: part(hash).ok_or(DocumentError::PartGone)?,
            })),
            None => None,
        };
        Ok(Self {
            key,
            bytes: bytes.into_boxed_slice(),
            json,
            split,
            part: shared,
            packed: None,
        })
    }

    fn entry(&self) -> Entry<'_> {
        Entry(&self.bytes[..self.json as usize])
    }

    /// The JSON, for those who look into it: if it was packed, it stays open for a while.
    fn json(&self) -> &[u8] {
        let (entry, json) = self.bytes.split_at(self.json as usize);
        match &self.packed {
            Some(packed) => packed.open([entry, self.key.cluster.as_bytes()], json),
            None => json,
        }
    }

    /// The JSON, for those who only copy it.
    fn copied(&self) -> Cow<'_, [u8]> {
        let (entry, json) = self.bytes.split_at(self.json as usize);
        match &self.packed {
            Some(packed) => packed.copied([entry, self.key.cluster.as_bytes()], json),
            None => Cow::Borrowed(json),
        }
    }

    fn json_len(&self) -> usize {
        match &self.packed {
            Some(packed) => packed.len(),
            None => self.bytes.len() - self.json as usize,
        }
    }
}

impl Object {
    pub(crate) fn new(body: Arc<Body>, version: u64) -> Self {
        Self { body, version }
    }

    /// An object that no store holds, with version 0: what a write would leave, to reason about.
    ///
    /// # Errors
    /// A document that shares a part with others.
    pub fn supposed(key: ObjectKey, document: &Document) -> Result<Self, DocumentError> {
        let body = Body::new(key, document.value(), |_| None)?;
        Ok(Self::new(Arc::new(body), 0))
    }

    /// The same state under another version: what a deletion leaves in its event.
    pub(crate) fn with_version(&self, version: u64) -> Self {
        Self {
            body: self.body.clone(),
            version,
        }
    }

    /// The same in other memory.
    pub(crate) fn moved(&self) -> Self {
        let mut body = Body::clone(&self.body);
        body.key.name = Arc::from(&*body.key.name);
        Self::new(Arc::new(body), self.version)
    }

    /// Its name.
    pub fn key(&self) -> &ObjectKey {
        &self.body.key
    }

    /// `metadata.resourceVersion` as a number.
    pub fn resource_version(&self) -> u64 {
        self.version
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        self.body.entry().uid()
    }

    /// The schema under which the bytes are normalised.
    pub fn schema(&self) -> SchemaHash {
        self.body.entry().schema()
    }

    /// `metadata.labels`, in the order of their names.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        let pairs: Pairs<'_> = self.body.entry().labels();
        pairs
    }

    /// One of `metadata.labels`.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels()
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// The uids of `metadata.ownerReferences`, in their order.
    pub fn owners(&self) -> impl Iterator<Item = &str> + Clone {
        let texts: Texts<'_> = self.body.entry().owners();
        texts
    }

    /// Whether `metadata.deletionTimestamp` is set.
    pub fn is_deleting(&self) -> bool {
        self.body.entry().is_deleting()
    }

    /// A selectable field: `metadata.name`, `metadata.namespace`, and those that its document was
    /// made with. `None` for fields that are not selectable.
    pub fn field(&self, name: &str) -> Option<&str> {
        match name {
            "metadata.name" => Some(&self.body.key.name),
            "metadata.namespace" => Some(&self.body.key.namespace),
            _ => self
                .fields()
                .find_map(|(key, value)| (key == name).then_some(value)),
        }
    }

    /// The selectable fields that its document was made with.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        let pairs: Pairs<'_> = self.body.entry().fields();
        pairs
    }

    /// The raw bytes of the JSON value at a path, without parsing the rest. The path
    /// `metadata.resourceVersion` is not among them: ask [`Object::resource_version`].
    /// Around a shared part, which has to be asked for by its own path, its hash stands for it.
    pub fn raw(&self, path: &[&str]) -> Option<&[u8]> {
        let json = self.body.json();
        let Some(shared) = &self.body.part else {
            return scan::find(json, path);
        };
        let place = json.get(shared.at as usize..)?.as_ptr();
        for depth in 1..=path.len() {
            let found = scan::find(json, &path[..depth])?;
            if found.as_ptr() == place {
                return scan::find(&shared.part.bytes, &path[depth..]);
            }
        }
        scan::find(json, path)
    }

    /// The raw keys, in their quotes, and values of the document's first level: for those who ask
    /// for several.
    pub fn members(&self) -> scan::Entries<'_> {
        scan::entries(self.body.json())
    }

    /// The string at a path, without parsing the rest.
    pub fn text(&self, path: &[&str]) -> Option<std::borrow::Cow<'_, str>> {
        scan::decode_str(self.raw(path)?)
    }

    /// One of `metadata.annotations`.
    pub fn annotation(&self, name: &str) -> Option<std::borrow::Cow<'_, str>> {
        self.text(&["metadata", "annotations", name])
    }

    /// Whether the JSON rests packed, so that each look at it opens it anew.
    pub fn rests_packed(&self) -> bool {
        self.body.packed.is_some()
    }

    /// Shows the JSON in the pieces in which it rests.
    pub fn slices<T>(&self, read: impl FnOnce(Slices<'_>) -> T) -> T {
        let json = self.body.copied();
        let (head, rest) = json.split_at(self.body.split as usize);
        let tail: [&[u8]; 3] = match &self.body.part {
            Some(shared) => {
                let (before, after) = rest.split_at((shared.at - self.body.split) as usize);
                [before, &shared.part.bytes, &after[QUOTED..]]
            }
            None => [rest, b"", b""],
        };
        read(Slices {
            head,
            version: self.version,
            tail,
        })
    }

    /// Appends the JSON document.
    pub fn json_into(&self, out: &mut Vec<u8>) {
        self.slices(|slices| slices.write(out));
    }

    /// The JSON document.
    pub fn json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.json_into(&mut out);
        out
    }

    /// Bytes of the JSON document, without its version.
    pub fn json_len(&self) -> usize {
        let own = self.body.json_len();
        match &self.body.part {
            Some(shared) => own - QUOTED + shared.part.bytes.len(),
            None => own,
        }
    }

    /// The part that it shares with others.
    pub(crate) fn part(&self) -> Option<PartHash> {
        self.body.part.as_ref().map(|shared| shared.part.hash)
    }

    /// Bytes that this state takes in memory, what it shares with others aside.
    pub fn memory(&self) -> usize {
        let packed = self.body.packed.as_ref();
        self.body.bytes.len() + size_of::<Body>() + 16 + packed.map_or(0, |_| size_of::<Packed>())
    }

    /// The same state, packed; `None` when that saves too little.
    pub(crate) fn packed(&self, pattern: &Arc<Pattern>) -> Option<Self> {
        let body = &self.body;
        let entry = body.entry().0;
        let beside = [entry, body.key.cluster.as_bytes()];
        let (packed, small) = Packed::new(pattern, beside, body.json())?;
        let body = Body {
            key: body.key.clone(),
            bytes: [entry, &small].concat().into_boxed_slice(),
            json: body.json,
            split: body.split,
            part: body.part.clone(),
            packed: Some(Box::new(packed)),
        };
        Some(Self::new(Arc::new(body), self.version))
    }

    /// Whether it is packed, and was opened by somebody who looked into it.
    pub(crate) fn is_open(&self) -> bool {
        let packed = self.body.packed.as_ref();
        packed.is_some_and(|packed| packed.is_open())
    }

    /// The same state; if it is packed, closed.
    pub(crate) fn closed(&self) -> Self {
        Self::new(Arc::new(Body::clone(&self.body)), self.version)
    }

    /// The JSON as it rests.
    pub(crate) fn plain(&self) -> &[u8] {
        self.body.json()
    }

    /// The document as a tree, for a write or a computation that ends with the request.
    pub fn value(&self) -> Value {
        // The bytes were written by `Document`; a tree of nothing is what is left when memory
        // itself is broken.
        serde_json::from_slice(&self.json()).unwrap_or(Value::Null)
    }

    /// Whether this is exactly the state that lies in the store.
    pub(crate) fn has_body(&self, body: &Body) -> bool {
        self.body.entry().0 == body.entry().0 && self.body.copied() == body.copied()
    }

    /// Whether two handles are the same state, whatever their versions.
    pub fn same_state(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.body, &other.body)
    }

    pub(crate) fn owner_hashes(&self) -> impl Iterator<Item = u64> {
        self.owners()
            .map(|uid| owner_hash(&self.body.key.cluster, uid))
    }
}

/// Where the dependents of an owner stand in the index.
pub(crate) fn owner_hash(cluster: &str, uid: &str) -> u64 {
    hash_parts(&[cluster, uid])
}

impl PartialEq for Object {
    /// Versions are unique in a shard, so the key and the version say it all.
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version && self.body.key == other.body.key
    }
}

impl Eq for Object {}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({} @{})", self.body.key, self.version)
    }
}
