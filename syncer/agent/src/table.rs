//! What the agent holds in memory of each object: where it stands, never the object itself.
//!
//! Invariant: `by_place` names, for every place below, the one Manifest that may write there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hanse_apis::sites::{ApplyError, ManifestSpec};
use hanse_client::Resource;
use serde::{Deserialize, Serialize};

/// Where an object stands below.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// API group.
    pub group: Box<str>,
    /// Version in which it is applied.
    pub version: Box<str>,
    /// Plural name.
    pub plural: Box<str>,
    /// Namespace; empty for a cluster-scoped one.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
}

impl Place {
    /// The place that an intent names.
    pub fn of(spec: &ManifestSpec) -> Self {
        Self {
            group: Box::from(spec.source.group.as_str()),
            version: Box::from(spec.source.version.as_str()),
            plural: Box::from(spec.source.resource.as_str()),
            namespace: Box::from(spec.target.namespace.as_str()),
            name: Box::from(spec.target.name.as_str()),
        }
    }

    /// The resource.
    pub fn resource(&self) -> Resource {
        Resource::new(&self.group, &self.version, &self.plural)
    }
}

/// What is remembered of an object over a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// Where it stands below.
    pub place: Place,
    /// Uid of the Manifest: one made again under the same name is another.
    pub uid: String,
    /// Hash of the intent.
    pub hash: String,
    /// Generation of the source that the intent shows.
    pub generation: i64,
    /// Hash of the locator, which the object's label carries.
    pub locator: String,
    /// Whether it shall go.
    pub removing: bool,
    /// Whether its Manifest is already gone, so that nobody waits for a release.
    pub vanished: bool,
    /// Hash of the intent that stands below.
    pub applied_hash: String,
    /// Generation of the source that stands below.
    pub applied_generation: i64,
    /// Uid of the object below.
    pub live_uid: String,
    /// Digest of what is ours below, in hex.
    pub digest: String,
    /// Fields that others hold.
    pub disputed: Vec<String>,
    /// Why it is not applied.
    pub error: Option<ApplyError>,
    /// Hash of the last report that the hub has taken.
    pub reported: String,
}

/// One object.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// What a restart keeps.
    pub standing: Standing,
    /// Whether news from the inbox are being written down, so that it must not be forgotten.
    pub incoming: bool,
    /// Whether something of ours below was seen to be gone or changed.
    pub dirty: bool,
    /// When it was last applied (monotonic).
    pub applied_at: Duration,
    /// When it was repaired lately (monotonic).
    pub repairs: VecDeque<Duration>,
    /// Until when a fight is given up (monotonic).
    pub truce: Option<Duration>,
    /// Version of the object below that was last taken in.
    pub live_version: u64,
    /// Generation of the object below.
    pub live_generation: i64,
    /// Replicas that the object below asks for.
    pub replicas: Option<i64>,
    /// Its status below, as JSON; `None` before it was first seen.
    pub status: Option<Bytes>,
    /// Whether it was told since the watch below last started over.
    pub seen: bool,
}

/// All objects.
#[derive(Default)]
pub struct Table {
    entries: BTreeMap<Arc<str>, Entry>,
    by_place: BTreeMap<Place, Arc<str>>,
}

impl Table {
    /// One object.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// One object, to be changed; its place must stay.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Entry> {
        self.entries.get_mut(name)
    }

    /// Puts an object in.
    pub fn insert(&mut self, name: &str, entry: Entry) {
        let name: Arc<str> = Arc::from(name);
        if let Some(old) = self.entries.get(&name) {
            self.by_place.remove(&old.standing.place);
        }
        self.by_place
            .insert(entry.standing.place.clone(), Arc::clone(&name));
        self.entries.insert(name, entry);
    }

    /// Takes an object out.
    pub fn remove(&mut self, name: &str) -> Option<Entry> {
        let entry = self.entries.remove(name)?;
        if self
            .by_place
            .get(&entry.standing.place)
            .is_some_and(|n| **n == *name)
        {
            self.by_place.remove(&entry.standing.place);
        }
        Some(entry)
    }

    /// The Manifest that may write at a place.
    pub fn at(&self, place: &Place) -> Option<Arc<str>> {
        self.by_place.get(place).cloned()
    }

    /// All objects in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Entry)> {
        self.entries.iter()
    }

    /// All objects, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Arc<str>, &mut Entry)> {
        self.entries.iter_mut()
    }

    /// Whether anything but `except` shall stand in a namespace below.
    pub fn needs_namespace(&self, namespace: &str, except: &str) -> bool {
        self.entries.iter().any(|(name, e)| {
            **name != *except
                && *e.standing.place.namespace == *namespace
                && !(e.standing.removing && e.standing.applied_hash.is_empty())
        })
    }
}
