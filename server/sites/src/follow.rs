//! What placed objects need follows them: an index from what they name to the objects.
//!
//! Invariant: the index holds exactly the objects that are placed by a Placement with
//! `dependencies: Follow` or whose rule names related objects, and what follows those; it is made
//! before the first turn ([`Sites::remember_followers`]), so that nothing is taken back because
//! its object has not been looked at yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hanse_cache::{ClusterName, Object, ObjectKey, Scope};
use hanse_projection::Rule;
use hanse_projection::expr::Fuel;
use hanse_projection::references::references;

use crate::picture::Picture;
use crate::placement::{self, Choice, Failed};
use crate::run::{Key, Sites};

/// Something that is needed: logical cluster, group, plural, namespace, name. The identity of its
/// API is what the workspace has bound.
type Need = [Arc<str>; 5];

/// Where objects are looked for by labels: logical cluster, group, plural, namespace.
type Place = [Arc<str>; 4];

/// See the module's words.
#[derive(Default)]
pub struct Follows {
    needs: BTreeMap<Key, Needs>,
    needed: BTreeMap<Need, BTreeSet<Key>>,
    seeking: BTreeMap<Place, BTreeSet<Key>>,
}

/// What one object needs.
#[derive(Clone, Default, PartialEq)]
struct Needs {
    named: BTreeSet<Need>,
    sought: BTreeSet<Place>,
}

fn forget<K: Ord>(index: &mut BTreeMap<K, BTreeSet<Key>>, key: &K, by: &Key) {
    if let Some(all) = index.get_mut(key) {
        all.remove(by);
        if all.is_empty() {
            index.remove(key);
        }
    }
}

impl Follows {
    /// Notes what an object needs now; answers what it no longer needs and what it needs anew.
    fn set(&mut self, by: &Key, needs: Needs) -> Vec<Need> {
        let old = match needs == Needs::default() {
            true => self.needs.remove(by),
            false => self.needs.insert(by.clone(), needs.clone()),
        };
        let old = old.unwrap_or_default();
        for need in old.named.difference(&needs.named) {
            forget(&mut self.needed, need, by);
        }
        for need in needs.named.difference(&old.named) {
            let all = self.needed.entry(need.clone()).or_default();
            all.insert(by.clone());
        }
        for place in old.sought.difference(&needs.sought) {
            forget(&mut self.seeking, place, by);
        }
        for place in needs.sought.difference(&old.sought) {
            let all = self.seeking.entry(place.clone()).or_default();
            all.insert(by.clone());
        }
        old.named
            .symmetric_difference(&needs.named)
            .cloned()
            .collect()
    }
}

fn need(key: &ObjectKey) -> Need {
    let of = &key.resource;
    [
        Arc::clone(key.cluster.as_arc()),
        Arc::from(of.group()),
        Arc::from(of.resource()),
        Arc::clone(&key.namespace),
        Arc::clone(&key.name),
    ]
}

impl Sites {
    /// The objects that need an object.
    pub(crate) fn followed(&self, key: &ObjectKey) -> Vec<ObjectKey> {
        let follows = self.follows.lock();
        let by = follows.needed.get(&need(key));
        by.into_iter().flatten().filter_map(Key::object).collect()
    }

    /// The objects that look for such an object by its labels.
    pub(crate) fn seekers(&self, key: &ObjectKey) -> Vec<Key> {
        let [cluster, group, resource, namespace, _] = need(key);
        let follows = self.follows.lock();
        let by = follows.seeking.get(&[cluster, group, resource, namespace]);
        by.into_iter().flatten().cloned().collect()
    }

    /// Notes what an object needs, when it is placed with what it needs. Answers the keys that
    /// are worth a look: what it came to need, what it no longer needs, and all of it when it
    /// `moved` itself.
    pub(crate) fn follow(
        &self,
        key: &ObjectKey,
        object: Option<&Object>,
        choice: &Choice,
        moved: bool,
    ) -> Vec<Key> {
        let needs = object
            .filter(|o| !o.is_deleting())
            .map(|object| self.needs(object, choice));
        let own = Key::of(key);
        let concerned = {
            let mut follows = self.follows.lock();
            let mut concerned = follows.set(&own, needs.unwrap_or_default());
            if moved && let Some(needs) = follows.needs.get(&own) {
                concerned.extend(needs.named.iter().cloned());
            }
            concerned
        };
        let found = concerned.iter().filter_map(|need| self.needed_key(need));
        found.map(|key| Key::of(&key)).collect()
    }

    fn needed_key(&self, [cluster, group, resource, namespace, name]: &Need) -> Option<ObjectKey> {
        let cluster = ClusterName::from(&**cluster);
        let of = self.resource_in(&cluster, group, resource)?;
        Some(ObjectKey::new(&of, &cluster, &**namespace, &**name))
    }

    fn needs(&self, object: &Object, choice: &Choice) -> Needs {
        let key = object.key();
        let rule = self.rule(key);
        let follows = match &choice.placement {
            Some((_, policy)) => policy.spec.follows(),
            // What follows is followed by what it needs.
            None if !self.followed(key).is_empty() => true,
            None => return Needs::default(),
        };
        let value = object.value();
        let mut named = BTreeSet::new();
        let mut sought = BTreeSet::new();
        let mut add = |group: &str, resource: &str, name: &str| {
            let [cluster, _, _, namespace, _] = need(key);
            let text = |t: &str| Arc::from(t);
            named.insert([cluster, text(group), text(resource), namespace, text(name)]);
        };
        let of = &key.resource;
        if follows {
            let found = references(&value, of.group(), of.resource(), &rule.spec.pod_templates);
            for (group, resource, name) in found {
                add(&group, &resource, &name);
            }
        }
        let mut fuel = Fuel::default();
        for (index, related) in rule.related(false) {
            // A template that fails is told when the object itself is rendered.
            let names = rule.names(index, &value, &mut fuel, true);
            for name in names.unwrap_or_default() {
                add(&related.group, &related.resource, &name);
            }
            if !related.selector.is_empty() {
                for name in self.selected_by_labels(key, &rule, index) {
                    add(&related.group, &related.resource, &name);
                }
                let [cluster, _, _, namespace, _] = need(key);
                let (group, resource) = (&*related.group, &*related.resource);
                sought.insert([cluster, Arc::from(group), Arc::from(resource), namespace]);
            }
        }
        Needs { named, sought }
    }

    fn selected_by_labels(&self, key: &ObjectKey, rule: &Rule, index: usize) -> Vec<String> {
        let Some(related) = rule.spec.related.get(index) else {
            return Vec::new();
        };
        let Some(of) = self.resource_in(&key.cluster, &related.group, &related.resource) else {
            return Vec::new();
        };
        let scope = match &*key.namespace {
            "" => Scope::Cluster(key.cluster.clone()),
            _ => Scope::Namespace(key.cluster.clone(), Arc::clone(&key.namespace)),
        };
        let all = self.tenancy.view().list(&of, &scope);
        let fits = all.iter().filter(|object| {
            let labels = object.labels();
            let labels = labels.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            related.selector.matches(&labels)
        });
        fits.map(|object| object.key().name.to_string()).collect()
    }

    /// Notes whether the expressions of Placements fail for an object; answers the Placements of
    /// which that is news.
    pub(crate) fn note_failures(&self, key: &ObjectKey, failures: &[Failed]) -> Vec<Key> {
        let of = &key.resource;
        let told = match &*key.namespace {
            "" => format!("{} {}", of.resource(), key.name),
            namespace => format!("{} {namespace}/{}", of.resource(), key.name),
        };
        let mut known = self.failures.lock();
        known.note(&Key::of(key), &told, failures)
    }

    /// Makes the index of all that is placed, and of what follows it.
    pub(crate) fn remember_followers(&self) {
        let view = self.tenancy.view();
        let picture = Picture::live(self);
        let mut open: Vec<ObjectKey> = Vec::new();
        for placement in view.list(&self.ids.placements, &Scope::Wildcard) {
            for object in self.selected(&picture, &placement) {
                let choice = placement::of_object(&picture, &object);
                let needs = self.follow(object.key(), Some(&object), &choice, true);
                open.extend(needs.iter().filter_map(Key::object));
            }
        }
        let mut seen = BTreeSet::new();
        while let Some(key) = open.pop() {
            if let Some(object) = view.hub().get(&key).filter(|_| seen.insert(Key::of(&key))) {
                let choice = placement::of_object(&picture, &object);
                let needs = self.follow(&key, Some(&object), &choice, true);
                open.extend(needs.iter().filter_map(Key::object));
            }
        }
    }
}
