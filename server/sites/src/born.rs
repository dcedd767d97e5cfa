//! Objects born at a site come up beside the object that they belong to (rule 8).
//!
//! The syncer tells them in the Manifest's status, as the kind's rule asks; here they are made in
//! the tenant's workspace, marked with where they were born, owned by the tenant's object and gone
//! when they are gone below. Invariant: nothing is touched that does not carry that mark; what a
//! silent site had stays as it was last known; of one name at several sites the first site's
//! counts.

use std::collections::{BTreeMap, BTreeSet};

use hanse_apis::sites::{RelatedObject, names};
use hanse_cache::{ClusterName, DocumentError, Object, ObjectKey, ResourceId, Scope};
use hanse_kinds::CUSTOM_RESOURCES;
use hanse_projection::{Rule, kinds};
use hanse_tenancy::catalog::bound_resources;
use hanse_tenancy::{Draft, Maker};
use serde_json::{Map, Value, json};

use crate::object::Work;
use crate::run::Sites;

impl Sites {
    /// Where a workspace keeps the objects of a kind, if it has the kind.
    pub(crate) fn resource_in(
        &self,
        cluster: &ClusterName,
        group: &str,
        resource: &str,
    ) -> Option<ResourceId> {
        let view = self.tenancy.view();
        let scope = Scope::Cluster(cluster.clone());
        let kept = view.hub().contents(&scope).into_iter();
        let mut kept = kept.map(|(id, _)| id);
        if let Some(id) = kept.find(|id| id.group() == group && id.resource() == resource) {
            return Some(id);
        }
        for binding in view.list_cluster(&view.resources().api_bindings, cluster) {
            let bound = bound_resources(&binding).into_iter();
            let mut fits = bound.filter(|b| b.group == group && b.resource == resource);
            if let Some(bound) = fits.next() {
                return Some(ResourceId::new(group, resource, &bound.identity));
            }
        }
        let crds = ResourceId::new("apiextensions.k8s.io", "customresourcedefinitions", "");
        let name = format!("{resource}.{group}");
        if view.get(&crds, cluster, "", &name).is_some() {
            return Some(ResourceId::new(group, resource, CUSTOM_RESOURCES));
        }
        let built_in = ResourceId::new(group, resource, "");
        let known = self.tenancy.maker().forms().row(&built_in).is_some();
        (known || group.is_empty()).then_some(built_in)
    }
}

/// What was born, by group, plural and name, with the site that tells it.
type Births<'a> = BTreeMap<(String, String, String), (String, &'a RelatedObject)>;

impl Work<'_> {
    /// Brings the tenant's copies in line with what was born below.
    ///
    /// # Errors
    /// A tree that is no object.
    pub(crate) fn bring_born(&mut self, rule: &Rule, placed: bool) -> Result<(), DocumentError> {
        let kinds: BTreeSet<(String, String)> = rule
            .related(true)
            .filter(|(_, r)| kinds::stays(&r.group, &r.resource, "").is_none())
            .map(|(_, r)| (r.group.clone(), r.resource.clone()))
            .collect();
        if kinds.is_empty() {
            return Ok(());
        }
        let parts = std::mem::take(&mut self.parts);
        let mut births = Births::new();
        let mut silent = BTreeSet::new();
        for part in parts.iter().filter(|part| part.counts) {
            let Some(born) = part.born() else {
                silent.insert(part.site.clone());
                continue;
            };
            for one in born {
                let kind = (one.group.clone(), one.resource.clone());
                if kinds.contains(&kind) {
                    let key = (kind.0, kind.1, one.name.clone());
                    let told = births.entry(key).or_insert((part.site.clone(), one));
                    if part.site < told.0 {
                        *told = (part.site.clone(), one);
                    }
                }
            }
        }
        let mut done = Ok(());
        for kind in &kinds {
            done = done.and_then(|()| self.bring_kind(kind, placed, &births, &silent));
        }
        self.parts = parts;
        done
    }

    fn bring_kind(
        &mut self,
        (group, resource): &(String, String),
        placed: bool,
        births: &Births<'_>,
        silent: &BTreeSet<String>,
    ) -> Result<(), DocumentError> {
        let cluster = ClusterName::from(self.source.cluster.as_str());
        let Some(of) = self.sites.resource_in(&cluster, group, resource) else {
            return Ok(());
        };
        let view = self.sites.tenancy.view();
        let scope = match self.source.namespace.as_str() {
            "" => Scope::Cluster(cluster.clone()),
            namespace => Scope::Namespace(cluster.clone(), namespace.into()),
        };
        let mark = |object: &Object| -> Option<String> {
            let born = object.annotation(names::BORN_ANNOTATION)?;
            let (site, of) = born.split_once('/')?;
            (of == self.name).then(|| site.to_owned())
        };
        let mut known = BTreeMap::new();
        for object in view.list(&of, &scope) {
            if let Some(site) = mark(&object) {
                known.insert(object.key().name.to_string(), (site, object));
            }
        }
        for (name, (site, object)) in &known {
            let key = (group.clone(), resource.clone(), name.clone());
            let stays = placed && (births.contains_key(&key) || silent.contains(site));
            if !stays && !object.is_deleting() {
                self.turn.writes.push(Maker::delete(object));
            }
        }
        let Some(owner) = self.object.clone().filter(|_| placed) else {
            return Ok(());
        };
        for ((g, r, name), (site, born)) in births {
            if g != group || r != resource {
                continue;
            }
            let old = known.get(name).map(|(_, object)| object);
            let key = ObjectKey::new(&of, &cluster, self.source.namespace.as_str(), name.as_str());
            if old.is_none() && view.hub().get(&key).is_some() {
                let text = format!("{resource}/{name} exists here and was not born at {site}");
                self.told_up.push(text);
                continue;
            }
            self.bring_one(&of, &owner, (site, born), old)?;
        }
        Ok(())
    }

    fn bring_one(
        &mut self,
        of: &ResourceId,
        owner: &Object,
        (site, born): (&str, &RelatedObject),
        old: Option<&Object>,
    ) -> Result<(), DocumentError> {
        let mut value = born.object.clone();
        let Some(map) = value.as_object_mut() else {
            return Ok(());
        };
        map.remove("status");
        let meta = map.remove("metadata").unwrap_or_default();
        let mut annotations = strings(&meta["annotations"]);
        let mark = format!("{site}/{}", self.name);
        annotations.insert(names::BORN_ANNOTATION.into(), mark.into());
        let mut new = json!({
            "name": born.name, "annotations": annotations, "labels": strings(&meta["labels"]),
            "ownerReferences": [{
                "apiVersion": api_version(&self.source.group, &self.source.version),
                "kind": self.source.kind, "name": self.source.name, "uid": owner.uid(),
            }],
        });
        if !self.source.namespace.is_empty() {
            new["namespace"] = self.source.namespace.clone().into();
        }
        let maker = self.sites.tenancy.maker();
        value["metadata"] = new;
        if let Some(schema) = maker
            .forms()
            .row(of)
            .as_ref()
            .and_then(|r| r.schema.structural())
        {
            schema.prune(&mut value);
            let errors = schema.validate(&value, None);
            if let Some(error) = errors.0.first() {
                let text = format!("{}/{} from {site}: {error}", born.resource, born.name);
                self.told_up.push(text);
                return Ok(());
            }
        }
        let Some(old) = old else {
            let cluster = owner.key().cluster.clone();
            let mut draft = Draft::new(of, value);
            draft.namespace = self.source.namespace.clone();
            return self.turn.create(maker, &cluster, draft);
        };
        if old.is_deleting() {
            return Ok(());
        }
        let was = old.value();
        for kept in [
            "uid",
            "creationTimestamp",
            "resourceVersion",
            "generation",
            "finalizers",
        ] {
            if let Some(known) = was["metadata"].get(kept) {
                value["metadata"][kept] = known.clone();
            }
        }
        for kept in [hanse_cache::CLUSTER_ANNOTATION, names::STATUS_ANNOTATION] {
            if let Some(known) = was["metadata"]["annotations"].get(kept) {
                value["metadata"]["annotations"][kept] = known.clone();
            }
        }
        self.turn.update(maker, old, &value)
    }
}

fn api_version(group: &str, version: &str) -> String {
    match group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    }
}

/// The strings of a map, without marks of ours.
fn strings(map: &Value) -> Map<String, Value> {
    let all = map.as_object().into_iter().flatten();
    let theirs = all.filter(|(key, value)| value.is_string() && !key.contains("sites.hanse.dev/"));
    theirs.map(|(k, v)| (k.clone(), v.clone())).collect()
}
