//! What the agent holds in memory of each object: where it stands, never the object itself.
//!
//! Invariants: `by_place` names, for every place below, the one Manifest that may write there;
//! `open` holds exactly what waits for its first try since its intent changed, and `leaving` what
//! still stands and shall go, by namespace and order of kinds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hanse_apis::sites::{ApplyError, BelowEvent, LabelSelector, ManifestSpec};
use hanse_client::Resource;
use hanse_projection::{digest16, kinds};
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
        let (source, to) = (&spec.source, &spec.target);
        let (group, version, plural) = match to.resource.is_empty() {
            true => (&source.group, &source.version, &source.resource),
            false => (&to.group, &to.version, &to.resource),
        };
        Self {
            group: Box::from(group.as_str()),
            version: Box::from(version.as_str()),
            plural: Box::from(plural.as_str()),
            namespace: Box::from(spec.target.namespace.as_str()),
            name: Box::from(spec.target.name.as_str()),
        }
    }

    /// A digest that no other place has.
    fn digest(&self) -> [u8; 16] {
        let parts = [
            &self.group,
            &self.version,
            &self.plural,
            &self.namespace,
            &self.name,
        ];
        digest16(&parts.map(|p| &**p))
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
    /// When it comes among the objects of its namespace: lower first, at deletion last.
    pub order: i64,
    /// Uid of the Manifest: one made again under the same name is another.
    pub uid: String,
    /// Hash of the intent.
    pub hash: String,
    /// Generation of the source that the intent shows.
    pub generation: i64,
    /// Hash of the locator, which the object's label carries.
    pub locator: String,
    /// Whether objects born beside it come up.
    pub comes_up: bool,
    /// Whether its Pods reach the workspace.
    pub has_access: bool,
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
    pub error: Option<Box<ApplyError>>,
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
    /// When its deletion below was first asked for (monotonic).
    pub asked: Option<Duration>,
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
    /// Its status below, as JSON, until it is told: then only what it digests to is kept, because
    /// statuses are most of what an agent would hold otherwise.
    pub status: Option<Bytes>,
    /// What its status below digests to; `None` before it was first seen.
    pub status_digest: Option<[u8; 16]>,
    /// Whether it was told since the watch below last started over.
    pub seen: bool,
    /// What few objects have beside.
    pub extra: Option<Box<Extra>>,
}

/// What is known beside an object.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// Objects born beside it, as JSON; empty when there are none.
    pub related: Bytes,
    /// What is looked for beside it.
    pub seeks: Vec<Seeks>,
    /// The latest warnings about it.
    pub events: Vec<BelowEvent>,
}

/// Objects of one kind that are looked for in an object's namespace.
#[derive(Clone, Debug)]
pub struct Seeks {
    /// The kind.
    pub resource: Resource,
    /// By these names.
    pub names: BTreeSet<String>,
    /// Or by these labels.
    pub selector: LabelSelector,
}

impl Entry {
    /// What is known beside the object, to be changed.
    pub fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }
}

/// Names by namespace and order.
type Lines = BTreeMap<Box<str>, BTreeSet<(i64, Arc<str>)>>;

/// All objects.
#[derive(Default)]
pub struct Table {
    entries: BTreeMap<Arc<str>, Entry>,
    /// By the digest of the place, which is smaller.
    by_place: BTreeMap<[u8; 16], Arc<str>>,
    open: Lines,
    leaving: Lines,
}

/// When an intent comes among the objects of its namespace.
pub fn order(spec: &ManifestSpec) -> i64 {
    let known = || kinds::order(&spec.source.group, &spec.source.resource);
    spec.order.unwrap_or_else(known)
}

impl Table {
    /// One object.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// One object, to be changed; its place, its intent and whether it goes must stay.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Entry> {
        self.entries.get_mut(name)
    }

    /// Puts an object in.
    pub fn insert(&mut self, name: &str, entry: Entry) {
        let name: Arc<str> = Arc::from(name);
        if let Some(old) = self.entries.get(&name) {
            let old = old.standing.clone();
            self.by_place.remove(&old.place.digest());
            take_out(&mut self.open, &old, &name);
            take_out(&mut self.leaving, &old, &name);
        }
        let standing = &entry.standing;
        self.by_place
            .insert(standing.place.digest(), Arc::clone(&name));
        let lines = match standing.removing {
            true if !standing.applied_hash.is_empty() => Some(&mut self.leaving),
            false if standing.applied_hash != standing.hash => Some(&mut self.open),
            _ => None,
        };
        if let Some(lines) = lines {
            let line = lines.entry(standing.place.namespace.clone()).or_default();
            line.insert((standing.order, Arc::clone(&name)));
        }
        self.entries.insert(name, entry);
    }

    /// Takes an object out.
    pub fn remove(&mut self, name: &str) -> Option<Entry> {
        let entry = self.entries.remove(name)?;
        let (standing, key) = (&entry.standing, Arc::from(name));
        take_out(&mut self.open, standing, &key);
        take_out(&mut self.leaving, standing, &key);
        let place = entry.standing.place.digest();
        if self.by_place.get(&place).is_some_and(|n| **n == *name) {
            self.by_place.remove(&place);
        }
        Some(entry)
    }

    /// Whether something that comes before an object has not been tried yet: in its namespace, or
    /// outside of all.
    pub fn waits(&self, name: &str) -> bool {
        let Some(standing) = self.get(name).map(|e| &e.standing) else {
            return false;
        };
        let before = |namespace: &str| {
            let first = self.open.get(namespace).and_then(BTreeSet::first);
            first.is_some_and(|(order, _)| *order < standing.order)
        };
        before(&standing.place.namespace) || before("")
    }

    /// An object has been tried: it stands, or it cannot be applied and holds nobody back. Answers
    /// those whose turn it is now.
    pub fn tried(&mut self, name: &Arc<str>) -> Vec<Arc<str>> {
        let Some(standing) = self.entries.get(name).map(|e| e.standing.clone()) else {
            return Vec::new();
        };
        if !take_out(&mut self.open, &standing, name) {
            return Vec::new();
        }
        let namespace = &*standing.place.namespace;
        let lines = self.open.iter().filter(|(n, _)| {
            // What stands outside of namespaces goes before what is inside of any.
            namespace.is_empty() || ***n == *namespace
        });
        let mut out = Vec::new();
        let still = self.open.get(namespace).and_then(BTreeSet::first);
        if still.is_some_and(|(order, _)| *order <= standing.order) {
            return out;
        }
        for (_, line) in lines {
            let next = line.first().map(|(order, _)| *order);
            let turn = line.iter().take_while(|(order, _)| Some(*order) == next);
            out.extend(turn.map(|(_, name)| Arc::clone(name)));
        }
        out
    }

    /// Whether something that must go before an object is still there: in its namespace, or
    /// anywhere for what stands outside. Only what `counts` is waited for.
    pub fn waits_to_leave(&self, name: &str, counts: &dyn Fn(&str, &Entry) -> bool) -> bool {
        let Some(standing) = self.get(name).map(|e| &e.standing) else {
            return false;
        };
        let namespace = &*standing.place.namespace;
        let lines = self
            .leaving
            .iter()
            .filter(|(n, _)| namespace.is_empty() || ***n == *namespace);
        let first = |line: &BTreeSet<(i64, Arc<str>)>| {
            line.iter()
                .rev()
                .take_while(|(order, _)| *order > standing.order)
                .any(|(_, name)| self.get(name).is_some_and(|e| counts(name, e)))
        };
        lines.into_iter().any(|(_, line)| first(line))
    }

    /// An object holds back nobody's end any more: it is gone, or cannot be taken away now.
    /// Answers those whose turn it may be.
    pub fn left(&mut self, name: &Arc<str>) -> Vec<Arc<str>> {
        let Some(standing) = self.entries.get(name).map(|e| e.standing.clone()) else {
            return Vec::new();
        };
        if !take_out(&mut self.leaving, &standing, name) {
            return Vec::new();
        }
        let namespace = &*standing.place.namespace;
        let mut out = Vec::new();
        for scope in [namespace, ""] {
            let line = self.leaving.get(scope);
            let next = line.and_then(BTreeSet::last).map(|(order, _)| *order);
            if next.is_none_or(|next| next >= standing.order) {
                continue;
            }
            let turn = line.into_iter().flatten().rev();
            let turn = turn.take_while(|(order, _)| Some(*order) == next);
            out.extend(turn.map(|(_, name)| Arc::clone(name)));
        }
        out
    }

    /// The Manifest that may write at a place.
    pub fn at(&self, place: &Place) -> Option<Arc<str>> {
        self.by_place.get(&place.digest()).cloned()
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

fn take_out(lines: &mut Lines, standing: &Standing, name: &Arc<str>) -> bool {
    let namespace = &standing.place.namespace;
    let Some(line) = lines.get_mut(namespace) else {
        return false;
    };
    let was = line.remove(&(standing.order, Arc::clone(name)));
    if line.is_empty() {
        lines.remove(namespace);
    }
    was
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(table: &mut Table, namespace: &str, name: &str, order: i64, removing: bool) {
        let place = Place {
            namespace: Box::from(namespace),
            name: Box::from(name),
            ..Place::default()
        };
        let standing = Standing {
            place,
            order,
            removing,
            hash: "new".into(),
            applied_hash: if removing { "new" } else { "" }.into(),
            ..Standing::default()
        };
        let entry = Entry {
            standing,
            ..Entry::default()
        };
        table.insert(name, entry);
    }

    fn names(of: Vec<Arc<str>>) -> Vec<String> {
        of.iter().map(|n| n.to_string()).collect()
    }

    #[test]
    fn what_comes_first_is_tried_first() {
        let mut t = Table::default();
        for (ns, name, order) in [
            ("a", "web", 50),
            ("a", "map", 20),
            ("a", "key", 20),
            ("b", "other", 50),
            ("", "crd", 10),
        ] {
            put(&mut t, ns, name, order, false);
        }
        let waiting = |t: &Table| -> Vec<&'static str> {
            let all = ["crd", "key", "map", "other", "web"];
            all.into_iter().filter(|n| t.waits(n)).collect()
        };
        assert_eq!(waiting(&t), ["key", "map", "other", "web"]);
        assert_eq!(names(t.tried(&Arc::from("crd"))), ["key", "map", "other"]);
        assert_eq!(waiting(&t), ["web"]);
        assert!(
            t.tried(&Arc::from("map")).is_empty(),
            "the key is still to come"
        );
        assert_eq!(names(t.tried(&Arc::from("key"))), ["web"]);
        assert!(waiting(&t).is_empty());
        assert!(t.tried(&Arc::from("key")).is_empty(), "once");
    }

    #[test]
    fn what_comes_last_goes_first() {
        let mut t = Table::default();
        for (ns, name, order) in [("a", "web", 50), ("a", "map", 20), ("", "crd", 10)] {
            put(&mut t, ns, name, order, true);
        }
        let all = |_: &str, _: &Entry| true;
        assert!(t.waits_to_leave("map", &all) && t.waits_to_leave("crd", &all));
        assert!(!t.waits_to_leave("web", &all));
        assert!(!t.waits_to_leave("map", &|name, _| name != "web"));
        assert_eq!(names(t.left(&Arc::from("web"))), ["map", "crd"]);
        assert!(!t.waits_to_leave("map", &all) && t.waits_to_leave("crd", &all));
        t.remove("map");
        assert!(!t.waits_to_leave("crd", &all));
    }
}
