//! Everything at one version, as lines of text: what leaves an instance and what comes back.
//!
//! The format stands in `docs/dump-format.md`. Start at [`Hub::snapshot`] for the way out and at
//! [`Hub::restore`] for the way in. A snapshot holds handles, so it shows one version however long
//! it is read, and costs no copies. Its order lets it be restored into a running server: an owner
//! stands before what it owns, so that no garbage collector takes what is only early. The
//! invariant: a line is believed only when its seal says that all lines before it were as they
//! are, so whoever reads a damaged dump stops before the damage. Deliberately not here: which
//! objects belong to a subtree and in which order kinds come (`hanse-tenancy`), files and sockets.

use std::collections::BTreeMap;

use hanse_json::{Limits, Value};
use sha2::{Digest, Sha256};

use crate::document::Document;
use crate::hub::Hub;
use crate::names::{ClusterName, ObjectKey, ResourceId, Scope};
use crate::object::{CLUSTER_ANNOTATION, Object};
use crate::table::{ListQuery, ReadError};
use crate::txn::{CommitError, Expect, Txn, Write};
use crate::{SchemaHash, limits};

/// Letters of a seal.
const SEAL_LETTERS: usize = 16;

/// All wanted objects as of one version, in the order of a restore.
#[derive(Debug)]
pub struct Snapshot {
    /// The version (c * 256 + 255).
    pub version: u64,
    /// The objects.
    pub objects: Vec<Object>,
}

/// Why a line of a dump is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DumpError {
    /// It, or a line before it, is not as it was written.
    #[error("line {line} is damaged, or lines before it are missing")]
    Seal {
        /// Counted from 1.
        line: u64,
    },
    /// It is whole, but not what this version can read.
    #[error("{0}")]
    Content(String),
}

impl Hub {
    /// The objects of which `wanted` says so, as of now, sorted by `rank` and then so that owners
    /// come before what they own.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn snapshot(
        &self,
        wanted: impl Fn(&ObjectKey) -> bool,
        rank: impl Fn(&Object) -> u32,
    ) -> Result<Snapshot, ReadError> {
        let (version, resources) = {
            let state = self.shared.state.read();
            (state.version(), state.resources())
        };
        let query = ListQuery {
            at: Some(version),
            ..ListQuery::default()
        };
        let mut objects = Vec::new();
        for resource in resources {
            let page = self.list_past(&resource, &Scope::Wildcard, &query).await?;
            objects.extend(page.objects.into_iter().filter(|o| wanted(o.key())));
        }
        let depths = depths(&objects);
        let mut places: Vec<usize> = (0..objects.len()).collect();
        places.sort_by_key(|place| (rank(&objects[*place]), depths[*place], *place));
        let objects = places.into_iter().map(|place| objects[place].clone());
        Ok(Snapshot {
            version,
            objects: objects.collect(),
        })
    }

    /// Writes objects that must not be there, as they were. What is there already, by its uid, is
    /// left as it has become since, so that an interrupted restore can be begun again.
    /// Answers how many were written. At most `Hub::limits().max_keys` at once.
    ///
    /// # Errors
    /// As a commit; a conflict names an object that is there and is another.
    pub async fn restore(&self, objects: Vec<(ObjectKey, Document)>) -> Result<usize, CommitError> {
        let mut txn = Txn::default();
        for (key, document) in objects {
            if self
                .get(&key)
                .is_some_and(|there| there.uid() == document.uid())
            {
                continue;
            }
            txn.writes.push(Write {
                key,
                expect: Expect::Absent,
                put: Some(document),
            });
        }
        let written = txn.writes.len();
        if written > 0 {
            self.commit(txn).await?;
        }
        Ok(written)
    }
}

/// How many owners stand above each object, within the snapshot. Circles end somewhere.
fn depths(objects: &[Object]) -> Vec<u32> {
    let named = |object: &Object| (object.key().cluster.clone(), object.uid().to_owned());
    let owned = |object: &&Object| object.owners().next().is_some();
    let owners: Vec<(ClusterName, String)> = objects
        .iter()
        .filter(owned)
        .flat_map(|object| {
            let cluster = object.key().cluster.clone();
            object
                .owners()
                .map(move |uid| (cluster.clone(), uid.to_owned()))
        })
        .collect();
    let mut depth_of: BTreeMap<(ClusterName, String), u32> =
        owners.into_iter().map(|owner| (owner, 0)).collect();
    let mut depths = vec![0; objects.len()];
    for _ in 0..limits::OWNERS_DEPTH_MAX {
        let mut changed = false;
        for (place, object) in objects.iter().enumerate().filter(|(_, o)| owned(o)) {
            let above = object
                .owners()
                .filter_map(|uid| depth_of.get(&(object.key().cluster.clone(), uid.to_owned())));
            let depth = above.max().map_or(0, |depth| depth + 1);
            if depth > depths[place] {
                depths[place] = depth;
                changed = true;
                if let Some(own) = depth_of.get_mut(&named(object)) {
                    *own = depth;
                }
            }
        }
        if !changed {
            break;
        }
    }
    depths
}

// === lines ===

/// The line of an object, without its seal.
pub fn to_line(object: &Object) -> Vec<u8> {
    let mut out = Vec::with_capacity(object.json_len() + 320);
    address(object.key(), &mut out);
    out.extend_from_slice(b",\"schema\":\"");
    out.extend(object.schema().0.iter().flat_map(|byte| hex(*byte)));
    out.extend_from_slice(b"\",\"fields\":{");
    for (place, (name, value)) in object.fields().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        hanse_json::write_str(name, &mut out);
        out.push(b':');
        hanse_json::write_str(value, &mut out);
    }
    out.extend_from_slice(b"},\"object\":");
    object.json_into(&mut out);
    out.push(b'}');
    out
}

/// `{"group":...,"name":...` of a key, without the closing brace.
fn address(key: &ObjectKey, out: &mut Vec<u8>) {
    let parts = [
        ("{\"group\":", key.resource.group()),
        (",\"resource\":", key.resource.resource()),
        (",\"identity\":", key.resource.identity()),
        (",\"cluster\":", key.cluster.as_str()),
        (",\"namespace\":", &*key.namespace),
        (",\"name\":", &*key.name),
    ];
    for (name, value) in parts {
        out.extend_from_slice(name.as_bytes());
        hanse_json::write_str(value, out);
    }
}

/// Reads the line of an object.
///
/// # Errors
/// What the line says is not the object that it names.
pub fn from_line(line: &[u8]) -> Result<(ObjectKey, Document), DumpError> {
    let content = |text: String| DumpError::Content(text);
    let parsed = hanse_json::parse(line, &Limits::default());
    let value = parsed.map_err(|error| content(error.to_string()))?.value;
    let key = key_of(&value)?;
    let named = |text: &str| content(format!("{key}: {text}"));
    key.check().map_err(|error| named(&error.to_string()))?;
    let object = &value["object"];
    let metadata = &object["metadata"];
    let same = metadata["name"].as_str() == Some(&key.name)
        && metadata["namespace"].as_str().unwrap_or_default() == &*key.namespace
        && metadata["annotations"][CLUSTER_ANNOTATION].as_str() == Some(&key.cluster);
    if !same || metadata["uid"].as_str().is_none_or(str::is_empty) {
        return Err(named("its metadata is another's"));
    }
    let schema = value["schema"].as_str().and_then(unhex);
    let schema = SchemaHash(schema.ok_or_else(|| named("no schema"))?);
    let none = hanse_json::Map::new();
    let fields = value["fields"].as_object().unwrap_or(&none);
    let fields = fields
        .iter()
        .map(|(name, value)| (name, value.as_str().unwrap_or_default()));
    let document = Document::from_value(object, fields, schema);
    let document = document.map_err(|error| named(&error.to_string()))?;
    Ok((key, document))
}

/// The key that a line names.
///
/// # Errors
/// A part of it is missing.
pub fn key_of(value: &Value) -> Result<ObjectKey, DumpError> {
    let part = |name: &str| {
        let text = value[name].as_str();
        text.ok_or_else(|| DumpError::Content(format!("an object's line without its {name}")))
    };
    let resource = ResourceId::new(part("group")?, part("resource")?, part("identity")?);
    let cluster = ClusterName::from(part("cluster")?);
    Ok(ObjectKey::new(
        &resource,
        &cluster,
        part("namespace")?,
        part("name")?,
    ))
}

fn hex(byte: u8) -> [u8; 2] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[place * 2..place * 2 + 2], 16).ok()?;
    }
    Some(bytes)
}

/// The chain of seals: each is the beginning of SHA-256 over the one before and its own line.
#[derive(Default)]
pub struct Seal {
    chain: [u8; 32],
    lines: u64,
}

impl Seal {
    fn next(&mut self, line: &[u8]) -> [u8; SEAL_LETTERS] {
        self.chain = Sha256::new()
            .chain_update(self.chain)
            .chain_update(line)
            .finalize()
            .into();
        self.lines += 1;
        let mut seal = [0; SEAL_LETTERS];
        for (pair, byte) in seal.chunks_exact_mut(2).zip(self.chain) {
            pair.copy_from_slice(&hex(byte));
        }
        seal
    }

    /// Appends the next line with its seal before it and its end behind it.
    pub fn write(&mut self, line: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.next(line));
        out.push(b' ');
        out.extend_from_slice(line);
        out.push(b'\n');
    }

    /// The next line without its seal, of bytes without their end.
    ///
    /// # Errors
    /// The seal is not this line's.
    pub fn read<'l>(&mut self, line: &'l [u8]) -> Result<&'l [u8], DumpError> {
        let damaged = DumpError::Seal {
            line: self.lines + 1,
        };
        let (seal, content) = line
            .split_at_checked(SEAL_LETTERS + 1)
            .ok_or(damaged.clone())?;
        let wanted = self.next(content);
        match seal.strip_suffix(b" ") {
            Some(seal) if seal == wanted => Ok(content),
            _ => Err(damaged),
        }
    }
}
