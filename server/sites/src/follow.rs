//! What placed workloads need follows them: an index from what their Pods name to the workloads.
//!
//! Invariant: the index holds exactly the workloads that are placed by a Placement with
//! `dependencies: Follow`; it is made before the first turn ([`Sites::remember_followers`]), so
//! that nothing is taken back because its workload has not been looked at yet.

use std::collections::{BTreeMap, BTreeSet};

use hanse_cache::{Object, ObjectKey, ResourceId, Scope};
use hanse_projection::references::references;
use hanse_rules::placement::policy::Failure;

use crate::placement::{self, Choice};
use crate::run::{Key, Sites};

/// See the module's words.
#[derive(Default)]
pub struct Follows {
    needs: BTreeMap<Key, BTreeSet<Key>>,
    needed: BTreeMap<Key, BTreeSet<Key>>,
}

impl Follows {
    /// Notes what a workload needs now; answers what it no longer needs and what it needs anew.
    fn set(&mut self, workload: &Key, needs: BTreeSet<Key>) -> Vec<Key> {
        let old = match needs.is_empty() {
            true => self.needs.remove(workload),
            false => self.needs.insert(workload.clone(), needs.clone()),
        };
        let old = old.unwrap_or_default();
        for key in old.difference(&needs) {
            if let Some(by) = self.needed.get_mut(key) {
                by.remove(workload);
                if by.is_empty() {
                    self.needed.remove(key);
                }
            }
        }
        for key in needs.difference(&old) {
            let by = self.needed.entry(key.clone()).or_default();
            by.insert(workload.clone());
        }
        old.symmetric_difference(&needs).cloned().collect()
    }
}

impl Sites {
    /// The workloads that need an object.
    pub(crate) fn followed(&self, key: &ObjectKey) -> Vec<ObjectKey> {
        let follows = self.follows.lock();
        let by = follows.needed.get(&Key::of(key));
        by.into_iter().flatten().filter_map(Key::object).collect()
    }

    /// Notes what an object needs. Answers the keys that are worth a look: what it came to need,
    /// what it no longer needs, and all of it when it `moved` itself.
    pub(crate) fn follow(&self, key: &ObjectKey, needs: BTreeSet<Key>, moved: bool) -> Vec<Key> {
        let key = Key::of(key);
        let mut follows = self.follows.lock();
        let mut concerned = follows.set(&key, needs);
        if moved {
            concerned.extend(follows.needs.get(&key).into_iter().flatten().cloned());
        }
        concerned
    }

    /// Notes whether the expressions of Placements fail for an object; answers the Placements of
    /// which that is news.
    pub(crate) fn note_failures(
        &self,
        key: &ObjectKey,
        failures: &[(ObjectKey, Failure)],
    ) -> Vec<Key> {
        let of = &key.resource;
        let told = match &*key.namespace {
            "" => format!("{} {}", of.resource(), key.name),
            namespace => format!("{} {namespace}/{}", of.resource(), key.name),
        };
        let mut known = self.failures.lock();
        known.note(&Key::of(key), &told, failures)
    }

    /// Makes the index of all that is placed.
    pub(crate) fn remember_followers(&self) {
        let view = self.tenancy.view();
        for placement in view.list(&self.ids.placements, &Scope::Wildcard) {
            for object in self.selected(&placement) {
                let choice = placement::of_object(self, &object);
                self.follow(object.key(), needs(Some(&object), &choice), false);
            }
        }
    }
}

/// What an object needs, when it is placed with what it needs.
pub(crate) fn needs(object: Option<&Object>, choice: &Choice) -> BTreeSet<Key> {
    let follows = choice
        .placement
        .as_ref()
        .is_some_and(|(_, policy)| policy.spec.follows());
    let Some(object) = object.filter(|o| follows && !o.is_deleting()) else {
        return BTreeSet::new();
    };
    let key = object.key();
    let of = |(resource, name): (&'static str, String)| {
        let resource = ResourceId::new("", resource, "");
        Key::of(&ObjectKey::new(
            &resource,
            &key.cluster,
            &*key.namespace,
            name.as_str(),
        ))
    };
    references(&object.value()).into_iter().map(of).collect()
}
