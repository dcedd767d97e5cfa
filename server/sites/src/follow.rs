//! What placed workloads need follows them: an index from what their Pods name to the workloads.
//!
//! Invariant: the index holds exactly the workloads that are placed by a Placement with
//! `dependencies: Follow`; it is made before the first turn ([`Sites::remember_followers`]), so
//! that nothing is taken back because its workload has not been looked at yet.

use std::collections::{BTreeMap, BTreeSet};

use hanse_cache::{Object, ObjectKey, ResourceId, Scope};
use hanse_projection::references::references;

use crate::placement;
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

    /// Notes what an object needs, when it is placed with what it needs. Answers the keys that
    /// are worth a look: what it came to need, what it no longer needs, and all of it when it
    /// `moved` itself.
    pub(crate) fn follow(&self, key: &ObjectKey, object: Option<&Object>, moved: bool) -> Vec<Key> {
        let placed = object.filter(|o| !o.is_deleting()).and_then(|object| {
            let (_, spec) = placement::of_object(self, object)?;
            spec.follows().then(|| needs(object))
        });
        let key = Key::of(key);
        let mut follows = self.follows.lock();
        let mut concerned = follows.set(&key, placed.unwrap_or_default());
        if moved {
            concerned.extend(follows.needs.get(&key).into_iter().flatten().cloned());
        }
        concerned
    }

    /// Makes the index of all that is placed.
    pub(crate) fn remember_followers(&self) {
        let view = self.tenancy.view();
        for placement in view.list(&self.ids.placements, &Scope::Wildcard) {
            for object in self.selected(&placement) {
                self.follow(object.key(), Some(&object), false);
            }
        }
    }
}

fn needs(object: &Object) -> BTreeSet<Key> {
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
