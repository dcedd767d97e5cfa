//! What objects are called: resources, logical clusters, keys, and the scope of a read.
//!
//! A key's order everywhere is the order of the bytes `cluster/namespace/name`. The invariant: no
//! part of a key contains a slash, so the joined form is unambiguous; [`ObjectKey::check`] is asked
//! before anything is written.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashSet;
use parking_lot::Mutex;

/// The id of a logical cluster. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(Arc<str>);

impl ClusterName {
    /// The name as a string slice.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared string itself.
    pub fn as_arc(&self) -> &Arc<str> {
        &self.0
    }
}

impl Deref for ClusterName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ClusterName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for ClusterName {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<Arc<str>> for ClusterName {
    fn from(name: Arc<str>) -> Self {
        Self(name)
    }
}

impl std::borrow::Borrow<str> for ClusterName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What is stored together: all objects of one group-resource under one identity, over all
/// logical clusters. Cheap to clone; equal by content.
#[derive(Clone)]
pub struct ResourceId(Arc<ResourceParts>);

struct ResourceParts {
    group: Box<str>,
    resource: Box<str>,
    identity: Box<str>,
    hash: u64,
}

impl ResourceId {
    /// `identity` is "" for what is built in, `customresources` for objects of CRDs of the logical
    /// cluster itself or of the system, and the export's identity hash for what is bound.
    pub fn new(group: &str, resource: &str, identity: &str) -> Self {
        let hash = hash_parts(&[group, resource, identity]);
        let (group, resource, identity) = (group.into(), resource.into(), identity.into());
        Self(Arc::new(ResourceParts {
            group,
            resource,
            identity,
            hash,
        }))
    }

    /// The API group; "" is the core group.
    pub fn group(&self) -> &str {
        &self.0.group
    }

    /// The plural name.
    pub fn resource(&self) -> &str {
        &self.0.resource
    }

    /// The storage identity; see [`ResourceId::new`].
    pub fn identity(&self) -> &str {
        &self.0.identity
    }

    fn parts(&self) -> (&str, &str, &str) {
        (self.group(), self.resource(), self.identity())
    }
}

impl PartialEq for ResourceId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.hash == other.0.hash && self.parts() == other.parts())
    }
}

impl Eq for ResourceId {}

impl PartialOrd for ResourceId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ResourceId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl Hash for ResourceId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.resource())?;
        if !self.group().is_empty() {
            write!(f, ".{}", self.group())?;
        }
        if !self.identity().is_empty() {
            write!(f, ":{}", self.identity())?;
        }
        Ok(())
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceId({self})")
    }
}

/// Names one object of the shard. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ObjectKey {
    /// What it is.
    pub resource: ResourceId,
    /// The logical cluster that it is in.
    pub cluster: ClusterName,
    /// Its namespace; "" when the resource is not namespaced.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// A key that cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a part of an object's key is empty or contains a slash")]
pub struct KeyError;

impl ObjectKey {
    /// A key from its parts; `namespace` is "" when the resource is not namespaced.
    pub fn new(
        resource: &ResourceId,
        cluster: &ClusterName,
        namespace: impl Into<Arc<str>>,
        name: impl Into<Arc<str>>,
    ) -> Self {
        Self {
            resource: resource.clone(),
            cluster: cluster.clone(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Refuses a key whose parts could be mistaken for others'.
    pub fn check(&self) -> Result<(), KeyError> {
        let (group, resource, identity) = self.resource.parts();
        let optional = [group, identity, &*self.namespace];
        let required = [resource, &*self.cluster, &*self.name];
        let slash = optional
            .iter()
            .chain(&required)
            .any(|part| part.contains('/'));
        if slash || required.iter().any(|part| part.is_empty()) || group.starts_with('!') {
            return Err(KeyError);
        }
        Ok(())
    }

    /// `cluster/namespace/name`: the place in the order of lists, as `ListQuery::after` takes it.
    pub fn path(&self) -> String {
        [&*self.cluster, "/", &self.namespace, "/", &self.name].concat()
    }

    /// The key under which the store holds the object.
    pub(crate) fn to_store(&self) -> Bytes {
        let (group, resource, identity) = self.resource.parts();
        [
            group,
            resource,
            identity,
            &self.cluster,
            &self.namespace,
            &self.name,
        ]
        .join("/")
        .into()
    }

    /// Reads a key of the store; `None` for keys that name no object.
    pub(crate) fn from_store(key: &[u8], names: &Names) -> Option<Self> {
        let key = std::str::from_utf8(key).ok()?;
        if key.starts_with('!') {
            return None;
        }
        let mut parts = key.split('/');
        let mut next = || parts.next();
        let resource = names.resource(next()?, next()?, next()?);
        let (cluster, namespace) = (names.string(next()?), names.string(next()?));
        let name = names.known(next()?);
        Some(Self {
            resource,
            cluster: ClusterName(cluster),
            namespace,
            name,
        })
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource, self.path())
    }
}

/// Which objects of a resource a read is about.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// All logical clusters of the shard.
    Wildcard,
    /// One logical cluster.
    Cluster(ClusterName),
    /// One namespace.
    Namespace(ClusterName, Arc<str>),
    /// One object, whether it exists or not: namespace ("" when there is none) and name.
    Object(ClusterName, Arc<str>, Arc<str>),
}

impl Scope {
    /// Whether an object is in the scope.
    pub fn contains(&self, key: &ObjectKey) -> bool {
        match self {
            Self::Wildcard => true,
            Self::Cluster(cluster) => key.cluster == *cluster,
            Self::Namespace(cluster, namespace) => {
                key.cluster == *cluster && key.namespace == *namespace
            }
            Self::Object(cluster, namespace, name) => {
                key.cluster == *cluster && key.namespace == *namespace && key.name == *name
            }
        }
    }

    /// The logical cluster, when it is only one.
    pub fn cluster(&self) -> Option<&ClusterName> {
        match self {
            Self::Wildcard => None,
            Self::Cluster(name) | Self::Namespace(name, _) | Self::Object(name, ..) => Some(name),
        }
    }

    /// A number that is equal for equal scopes; see [`interests`].
    pub(crate) fn interest(&self) -> u64 {
        match self {
            Self::Wildcard => 0,
            Self::Cluster(cluster) => hash_parts(&[cluster]),
            Self::Namespace(cluster, namespace) => hash_parts(&[cluster, namespace]),
            Self::Object(cluster, namespace, name) => hash_parts(&[cluster, namespace, name]),
        }
    }
}

/// The numbers of all scopes that contain the key. Two scopes may share a number by chance, so
/// whoever is found by it still compares.
pub(crate) fn interests(key: &ObjectKey) -> [u64; 4] {
    [
        0,
        hash_parts(&[&key.cluster]),
        hash_parts(&[&key.cluster, &key.namespace]),
        hash_parts(&[&key.cluster, &key.namespace, &key.name]),
    ]
}

/// The same on every run: no order may depend on a random seed.
pub(crate) fn hash_parts(parts: &[&str]) -> u64 {
    use std::hash::BuildHasher;
    FixedState::with_seed(0x68_616e_7365).hash_one(parts)
}

/// One copy of each string that many keys share.
///
/// Strings that nobody uses any more are dropped whenever the set has doubled.
#[derive(Default)]
pub(crate) struct Names {
    strings: Mutex<Shared<Arc<str>>>,
    resources: Mutex<Shared<ResourceId>>,
    lately: Mutex<Lately>,
}

/// Places for names seen lately.
const LATELY: usize = 512;

/// Names of objects that were seen lately, one for each place that a hash names: a name that
/// comes in every logical cluster is found here by the next, others soon make room.
struct Lately(Vec<Option<Arc<str>>>);

impl Default for Lately {
    fn default() -> Self {
        Self(vec![None; LATELY])
    }
}

/// A resource by what its key says, for a look-up without making one.
struct ByParts<'a>([&'a str; 3]);

impl Hash for ByParts<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(hash_parts(&self.0));
    }
}

impl hashbrown::Equivalent<ResourceId> for ByParts<'_> {
    fn equivalent(&self, known: &ResourceId) -> bool {
        <[&str; 3]>::from(known.parts()) == self.0
    }
}

struct Shared<T> {
    set: HashSet<T, FixedState>,
    sweep_at: usize,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self {
            set: HashSet::with_hasher(FixedState::with_seed(1)),
            sweep_at: 1024,
        }
    }
}

impl<T: Eq + Hash> Shared<T> {
    fn add(&mut self, value: T, used: impl Fn(&T) -> bool) {
        if self.set.len() >= self.sweep_at {
            self.set.retain(used);
            self.sweep_at = (self.set.len() * 2).max(1024);
        }
        self.set.insert(value);
    }
}

impl Names {
    /// The shared copy of a string.
    pub(crate) fn string(&self, text: &str) -> Arc<str> {
        let mut shared = self.strings.lock();
        if let Some(known) = shared.set.get(text) {
            return known.clone();
        }
        let text: Arc<str> = text.into();
        shared.add(text.clone(), |known| Arc::strong_count(known) > 1);
        text
    }

    /// Drops the strings that nobody uses any more, and gives their place back.
    pub(crate) fn tidy(&self) {
        let mut shared = self.strings.lock();
        shared.set.retain(|known| Arc::strong_count(known) > 1);
        shared.set.shrink_to_fit();
        shared.sweep_at = (shared.set.len() * 2).max(1024);
    }

    /// The shared copy of a string if there is one already or was one lately: for names of
    /// objects, most of which are the only ones of their name.
    pub(crate) fn known(&self, text: &str) -> Arc<str> {
        if let Some(known) = self.strings.lock().set.get(text) {
            return known.clone();
        }
        let mut lately = self.lately.lock();
        let place = &mut lately.0[hash_parts(&[text]) as usize % LATELY];
        match place {
            Some(known) if **known == *text => known.clone(),
            _ => place.insert(text.into()).clone(),
        }
    }

    fn resource(&self, group: &str, resource: &str, identity: &str) -> ResourceId {
        let wanted = ByParts([group, resource, identity]);
        if let Some(known) = self.resources.lock().set.get(&wanted) {
            return known.clone();
        }
        self.shared_resource(ResourceId::new(group, resource, identity))
    }

    fn shared_resource(&self, resource: ResourceId) -> ResourceId {
        let mut shared = self.resources.lock();
        if let Some(known) = shared.set.get(&resource) {
            return known.clone();
        }
        shared.add(resource.clone(), |known| Arc::strong_count(&known.0) > 1);
        resource
    }

    /// The same key in shared copies.
    pub(crate) fn key(&self, key: &ObjectKey) -> ObjectKey {
        ObjectKey {
            resource: self.shared_resource(key.resource.clone()),
            cluster: ClusterName(self.string(&key.cluster)),
            namespace: self.string(&key.namespace),
            name: self.known(&key.name),
        }
    }
}
