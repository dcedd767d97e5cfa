//! From a tree to what the store holds: the index entry and the canonical bytes, written once.
//!
//! A value of the store is a format byte, the index entry and the object as JSON without
//! `metadata.resourceVersion` and without the annotation `kcp.io/cluster`, which both follow from
//! the key and the version. While writing, [`Document::from_value`] notes where the two belong, so
//! that putting them back is copying slices. Every object has `metadata.name`, which sorts between
//! the two: so the version always follows a member, and an annotations object of our own making
//! always precedes one. Putting together is in `object.rs`.
//!
//! The invariant: [`decode`] of what [`Document::from_value`] wrote never fails. Everything else
//! it refuses, so that a damaged or newer value is named and not guessed at.

use bytes::Bytes;
use hanse_json::{Map, Value};

use crate::object::CLUSTER_ANNOTATION;
use crate::part::{Part, PartHash, QUOTED};

/// The first byte of every value that is an object ...
pub(crate) const FORMAT: u8 = 1;
/// ... and of one in which the hash of a part stands instead of the part.
const FORMAT_SPLIT: u8 = 2;

/// What a value begins with that was encrypted at rest; no format begins so.
const SEALED: &[u8] = b"k8s:enc:";

const DELETING: u8 = 1;

/// What a schema is called: the first 16 bytes of its content hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaHash(pub [u8; 16]);

impl From<[u8; 32]> for SchemaHash {
    fn from(hash: [u8; 32]) -> Self {
        let mut short = [0; 16];
        short.copy_from_slice(&hash[..16]);
        Self(short)
    }
}

/// Why a tree is no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// The tree, its metadata or its annotations are no JSON objects, or it has no name.
    #[error("the object or its metadata is no JSON object, or has no name")]
    NotAnObject,
    /// The bytes are not what this version writes.
    #[error("the stored value has an unknown format or is damaged")]
    Damaged,
    /// The value is encrypted, and nobody opened it on the way here.
    #[error("the stored value is encrypted: name its keys with --encryption-provider-config")]
    Sealed,
    /// The value is of the past, and a part of it is no longer kept.
    #[error("a part of the stored value is no longer kept")]
    PartGone,
}

/// An object ready to be written. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Document {
    value: Bytes,
}

impl Document {
    /// Encodes the tree and extracts its index entry. `fields` are the selectable fields beside
    /// `metadata.name` and `metadata.namespace`, with their values; `schema` names the schema
    /// under which the tree is normalised.
    pub fn from_value<K: AsRef<str>, V: AsRef<str>>(
        value: &Value,
        fields: impl IntoIterator<Item = (K, V)>,
        schema: SchemaHash,
    ) -> Result<Self, DocumentError> {
        let root = value.as_object().ok_or(DocumentError::NotAnObject)?;
        let metadata = root.get("metadata").and_then(Value::as_object);
        let metadata = metadata.ok_or(DocumentError::NotAnObject)?;
        if !metadata.get("name").is_some_and(Value::is_string) {
            return Err(DocumentError::NotAnObject);
        }
        let mut writer = Writer {
            out: Vec::with_capacity(1024),
            ..Writer::default()
        };
        writer.root(root, metadata)?;
        let mut bytes = Vec::with_capacity(writer.out.len() + 160);
        bytes.push(FORMAT);
        let entry = entry(metadata, fields, schema);
        for number in [writer.version, writer.cluster, entry.len()] {
            put_number(number, &mut bytes);
        }
        bytes.push(writer.join as u8);
        bytes.extend_from_slice(&entry);
        bytes.extend_from_slice(&writer.out);
        Ok(Self {
            value: bytes.into(),
        })
    }

    /// How many bytes the store will hold.
    pub fn len(&self) -> usize {
        self.value.len()
    }

    /// `metadata.uid`.
    pub(crate) fn uid(&self) -> &str {
        decode(&self.value).map_or("", |parts| Entry(parts.entry).uid())
    }

    /// Never: a document has at least its format byte.
    pub fn is_empty(&self) -> bool {
        self.value.is_empty()
    }

    pub(crate) fn value(&self) -> &Bytes {
        &self.value
    }
}

/// How the cluster's annotation joins what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Join {
    /// There are no annotations: it brings the object around it, and a comma behind.
    #[default]
    Wrap = 0,
    /// It precedes another annotation: a comma stands behind it.
    Before = 1,
    /// It follows all other annotations: a comma stands before it.
    After = 2,
}

impl Join {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Wrap, Self::Before, Self::After]
            .into_iter()
            .find(|join| *join as u8 == byte)
    }
}

/// A stored value taken apart.
pub(crate) struct Decoded<'a> {
    /// Where in `json` the version belongs.
    pub(crate) version: usize,
    /// Where in `json` the cluster's annotation belongs, ...
    pub(crate) cluster: usize,
    /// ... and how it joins.
    pub(crate) join: Join,
    /// The index entry.
    pub(crate) entry: &'a [u8],
    /// The object without the two.
    pub(crate) json: &'a [u8],
    /// Where in `json` the hash of a part stands, and the hash.
    pub(crate) part: Option<(usize, PartHash)>,
}

/// Takes a stored value apart, and makes sure that its parts can be relied on.
pub(crate) fn decode(value: &[u8]) -> Result<Decoded<'_>, DocumentError> {
    let (format, mut rest) = value.split_first().ok_or(DocumentError::Damaged)?;
    if value.starts_with(SEALED) {
        return Err(DocumentError::Sealed);
    }
    if !matches!(*format, FORMAT | FORMAT_SPLIT) {
        return Err(DocumentError::Damaged);
    }
    let mut number = || take_number(&mut rest).ok_or(DocumentError::Damaged);
    let (version, cluster, length) = (number()?, number()?, number()?);
    let at = match *format {
        FORMAT_SPLIT => Some(number()?),
        _ => None,
    };
    let (join, rest) = rest.split_first().ok_or(DocumentError::Damaged)?;
    let join = Join::from_byte(*join).ok_or(DocumentError::Damaged)?;
    let (entry, json) = rest
        .split_at_checked(length)
        .ok_or(DocumentError::Damaged)?;
    if cluster > version || version > json.len() || !Entry(entry).is_sound() {
        return Err(DocumentError::Damaged);
    }
    let hash = |at: usize| {
        let text = json.get(at..at.checked_add(QUOTED)?)?;
        (at >= version).then(|| PartHash::from_quoted(text))?
    };
    let part = match at {
        Some(at) => Some((at, hash(at).ok_or(DocumentError::Damaged)?)),
        None => None,
    };
    Ok(Decoded {
        version,
        cluster,
        join,
        entry,
        json,
        part,
    })
}

/// Takes the member at a path out of a whole value, its hash stays in its place; `None` when it is
/// no object, or stands before the version.
pub(crate) fn split(value: &[u8], path: &[&str]) -> Result<Option<(Bytes, Part)>, DocumentError> {
    let whole = decode(value)?;
    let found = hanse_json::scan::find(whole.json, path).filter(|raw| raw.starts_with(b"{"));
    let Some(raw) = found.filter(|_| whole.part.is_none()) else {
        return Ok(None);
    };
    // `raw` lies within `json`.
    let at = (raw.as_ptr() as usize).wrapping_sub(whole.json.as_ptr() as usize);
    if at < whole.version || at > whole.json.len() {
        return Ok(None);
    }
    let part = Part::new(raw);
    let mut out = Vec::with_capacity(value.len() - raw.len() + QUOTED + 4);
    out.push(FORMAT_SPLIT);
    for number in [whole.version, whole.cluster, whole.entry.len(), at] {
        put_number(number, &mut out);
    }
    out.push(whole.join as u8);
    out.extend_from_slice(whole.entry);
    out.extend_from_slice(&whole.json[..at]);
    out.extend_from_slice(&part.hash.quoted());
    out.extend_from_slice(&whole.json[at + raw.len()..]);
    Ok(Some((out.into(), part)))
}

#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    version: usize,
    cluster: usize,
    join: Join,
}

type Members = Map<String, Value>;

impl Writer {
    fn root(&mut self, root: &Members, metadata: &Members) -> Result<(), DocumentError> {
        self.out.push(b'{');
        for (place, (name, value)) in root.iter().enumerate() {
            self.name(place > 0, name);
            match name.as_str() {
                "metadata" => self.metadata(metadata)?,
                _ => hanse_json::write(value, &mut self.out),
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    fn name(&mut self, comma: bool, name: &str) {
        if comma {
            self.out.push(b',');
        }
        hanse_json::write_str(name, &mut self.out);
        self.out.push(b':');
    }

    fn metadata(&mut self, metadata: &Members) -> Result<(), DocumentError> {
        let others = match metadata.get("annotations") {
            None | Some(Value::Null) => None,
            Some(Value::Object(map)) => map
                .keys()
                .any(|name| name != CLUSTER_ANNOTATION)
                .then_some(map),
            Some(_) => return Err(DocumentError::NotAnObject),
        };
        self.out.push(b'{');
        let (mut first, mut annotated, mut versioned) = (true, false, false);
        for (name, value) in metadata {
            if !annotated && name.as_str() >= "annotations" {
                annotated = true;
                // The comma goes before the place: what wraps there brings one behind itself.
                if !std::mem::replace(&mut first, true) {
                    self.out.push(b',');
                }
                self.cluster = self.out.len();
                if let Some(others) = others {
                    self.annotations(others);
                    first = false;
                }
            }
            if !versioned && name.as_str() >= "resourceVersion" {
                versioned = true;
                self.version = self.out.len();
            }
            if !matches!(name.as_str(), "annotations" | "resourceVersion") {
                self.name(!first, name);
                hanse_json::write(value, &mut self.out);
                first = false;
            }
        }
        if !versioned {
            self.version = self.out.len();
        }
        self.out.push(b'}');
        Ok(())
    }

    /// Writes the annotations that are not ours, at least one.
    fn annotations(&mut self, map: &Members) {
        self.name(false, "annotations");
        self.out.push(b'{');
        self.join = Join::After;
        let mut comma = false;
        for (name, value) in map.iter().filter(|(name, _)| *name != CLUSTER_ANNOTATION) {
            if self.join == Join::After && name.as_str() > CLUSTER_ANNOTATION {
                if std::mem::take(&mut comma) {
                    self.out.push(b',');
                }
                (self.cluster, self.join) = (self.out.len(), Join::Before);
            }
            self.name(comma, name);
            hanse_json::write(value, &mut self.out);
            comma = true;
        }
        if self.join == Join::After {
            self.cluster = self.out.len();
        }
        self.out.push(b'}');
    }
}

fn entry<K: AsRef<str>, V: AsRef<str>>(
    metadata: &Members,
    fields: impl IntoIterator<Item = (K, V)>,
    schema: SchemaHash,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    let deleting = metadata
        .get("deletionTimestamp")
        .is_some_and(|time| !time.is_null());
    out.push(if deleting { DELETING } else { 0 });
    out.extend_from_slice(&schema.0);
    put_text(
        metadata.get("uid").and_then(Value::as_str).unwrap_or(""),
        &mut out,
    );
    let labels = metadata
        .get("labels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    put_list(&mut out, labels, |(name, value), out| {
        put_text(name, out);
        put_text(value.as_str().unwrap_or(""), out);
    });
    let owners = metadata
        .get("ownerReferences")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let uids = owners.filter_map(|owner| owner.get("uid").and_then(Value::as_str));
    put_list(&mut out, uids, put_text);
    put_list(&mut out, fields.into_iter(), |(name, value), out| {
        put_text(name.as_ref(), out);
        put_text(value.as_ref(), out);
    });
    out
}

/// The index entry, read in place.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a>(pub(crate) &'a [u8]);

const TEXTS: usize = 1 + 16;

impl<'a> Entry<'a> {
    pub(crate) fn is_deleting(self) -> bool {
        self.0.first().is_some_and(|flags| flags & DELETING != 0)
    }

    pub(crate) fn schema(self) -> SchemaHash {
        let bytes = self.0.get(1..TEXTS).and_then(|bytes| bytes.try_into().ok());
        SchemaHash(bytes.unwrap_or_default())
    }

    pub(crate) fn uid(self) -> &'a str {
        take_text(&mut self.texts()).unwrap_or("")
    }

    pub(crate) fn labels(self) -> Pairs<'a> {
        let mut rest = self.texts();
        take_text(&mut rest);
        Pairs {
            left: take_number(&mut rest).unwrap_or(0),
            rest,
        }
    }

    pub(crate) fn owners(self) -> Texts<'a> {
        let mut rest = self.labels().skip_all();
        Texts {
            left: take_number(&mut rest).unwrap_or(0),
            rest,
        }
    }

    pub(crate) fn fields(self) -> Pairs<'a> {
        let mut owners = self.owners();
        owners.by_ref().for_each(drop);
        let mut rest = owners.rest;
        Pairs {
            left: take_number(&mut rest).unwrap_or(0),
            rest,
        }
    }

    fn texts(self) -> &'a [u8] {
        self.0.get(TEXTS..).unwrap_or(&[])
    }

    /// Whether all parts are there and nothing is left over.
    fn is_sound(self) -> bool {
        fn walk(mut rest: &[u8]) -> Option<&[u8]> {
            take_text(&mut rest)?;
            for per_item in [2, 1, 2] {
                for _ in 0..take_number(&mut rest)?.checked_mul(per_item)? {
                    take_text(&mut rest)?;
                }
            }
            Some(rest)
        }
        self.0.len() > TEXTS && walk(self.texts()).is_some_and(<[u8]>::is_empty)
    }
}

/// Names with values.
#[derive(Clone)]
pub(crate) struct Pairs<'a> {
    left: usize,
    rest: &'a [u8],
}

impl<'a> Pairs<'a> {
    fn skip_all(mut self) -> &'a [u8] {
        self.by_ref().for_each(drop);
        self.rest
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some((take_text(&mut self.rest)?, take_text(&mut self.rest)?))
    }
}

/// Names alone.
#[derive(Clone)]
pub(crate) struct Texts<'a> {
    left: usize,
    rest: &'a [u8],
}

impl<'a> Iterator for Texts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        take_text(&mut self.rest)
    }
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put_number(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_number(rest: &mut &[u8]) -> Option<usize> {
    let mut number = 0usize;
    for shift in (0..35).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    put_number(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = take_number(rest)?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

fn put_list<T>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, put: impl Fn(T, &mut Vec<u8>)) {
    let mut body = Vec::new();
    let mut count = 0;
    for item in items {
        put(item, &mut body);
        count += 1;
    }
    put_number(count, out);
    out.extend_from_slice(&body);
}
