//! APIBindings: from "" over Binding to Bound, kept up to date, deleted with what they bind; and
//! the labels of what their claims claim.

use super::deletion::{Left, claim_storage, is_full};
use super::{Controllers, Key, Step, StepError, drop_finalizer};
use crate::bind::{Offer, Offered};
use crate::catalog::bound_resources;
use hanse_apis::kcp::{annotation, conditions as condition, finalizer, phase};
use hanse_cache::{Object, ResourceId, Scope, Write};
use hanse_rules::conditions::{self, Severity, State};
use hanse_rules::locks::{self, Locks};
use hanse_rules::naming::{self, Names, Owner};
use hanse_rules::{claims, path};
use serde_json::Value;
use std::time::Duration;

/// How long until a locked-out or missing thing is looked at again without an event.
const RECHECK: Duration = Duration::from_secs(30);

/// Storage names of all that a binding binds.
pub(super) fn bound_storages(binding: &Object) -> Vec<ResourceId> {
    bound_resources(binding)
        .iter()
        .map(|b| ResourceId::new(&b.group, &b.resource, &b.identity))
        .collect()
}

impl Controllers {
    pub(super) fn binding(&self, key: &Key) -> Result<Step, StepError> {
        let view = self.tenancy.view();
        let of = &view.resources().api_bindings;
        let Some(object) = view.get(of, &key.cluster, "", &key.name) else {
            return Ok(Step::done());
        };
        if object.is_deleting() {
            return self.binding_end(&object);
        }
        let mut value = object.value();
        let now = self.tenancy.maker().now();
        if value["status"]["phase"]
            .as_str()
            .unwrap_or_default()
            .is_empty()
        {
            value["status"]["phase"] = phase::BINDING.into();
        }
        let reference = &value["spec"]["reference"]["export"];
        let at = reference["path"].as_str().unwrap_or_default().to_owned();
        let name = reference["name"].as_str().unwrap_or_default().to_owned();
        let mut writes = Vec::new();
        match self.tenancy.binder().offer(&at, &name, &key.cluster) {
            Ok(offer) => {
                self.copy_extras(&offer, &mut value);
                self.bind(&object, &mut value, &offer, &mut writes, &now)?;
            }
            Err(not) => {
                let state = State::no(Severity::Error, not.reason, not.message);
                conditions::set(&mut value, condition::API_EXPORT_VALID, &state, &now);
                self.not_completed(&mut value, "WaitingForEstablished", "", &now);
            }
        }
        writes.extend(self.change(&object, &value)?);
        Ok(Step::write(writes))
    }

    /// `InitialBindingCompleted` is False until it is True once; then it stays.
    fn not_completed(&self, value: &mut Value, reason: &'static str, message: &str, now: &str) {
        let kind = condition::INITIAL_BINDING_COMPLETED;
        if !conditions::is_true(value, kind) {
            let state = State::no(Severity::Error, reason, message);
            conditions::set(value, kind, &state, now);
        }
        conditions::summarize(value, &[kind], now);
    }

    /// Takes what is free of the offer.
    fn bind(
        &self,
        object: &Object,
        value: &mut Value,
        offer: &Offer,
        writes: &mut Vec<Write>,
        now: &str,
    ) -> Result<(), StepError> {
        offer.note_export(value, now);
        offer.apply_claims(value, now);
        let view = self.tenancy.view();
        let cluster = &object.key().cluster;
        let Some(logical) = view.logical_cluster(cluster) else {
            self.not_completed(value, "WaitingForEstablished", "", now);
            return Ok(());
        };
        let table = logical.annotation(annotation::RESOURCE_BINDINGS);
        let before = table.as_deref().unwrap_or("{}").to_owned();
        let mut table = Locks::parse(&before);
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        let mut why = String::new();
        for offered in &offer.resources {
            let lock = locks::key(&offered.group, &offered.resource);
            if let Some(text) = self.name_conflict(object, offered) {
                refused.push(lock);
                why = text;
            } else if table.take(&lock, &object.key().name) {
                taken.push(offered);
            } else {
                refused.push(lock);
            }
        }
        match self
            .tenancy
            .binder()
            .crd_writes(offer, self.tenancy.maker())
        {
            Ok(crds) => {
                writes.extend(crds);
                writes.extend(self.claimed_crds(value));
            }
            Err(text) => {
                let state = State::no(Severity::Error, "APIResourceSchemaInvalid", text.clone());
                conditions::set(value, condition::BINDING_UP_TO_DATE, &state, now);
                self.not_completed(value, "APIResourceSchemaInvalid", &text, now);
                return Ok(());
            }
        }
        if table.to_text() != Locks::parse(&before).to_text() {
            let mut locked = logical.value();
            let notes = &mut locked["metadata"]["annotations"];
            notes[annotation::RESOURCE_BINDINGS] = table.to_text().into();
            writes.extend(self.change(&logical, &locked)?);
        }
        offer.bind_only(value, &taken);
        if refused.is_empty() {
            offer.bind(value, now);
            return Ok(());
        }
        if why.is_empty() {
            why = format!(
                "Unable to bind APIs because they are bound by other APIBindings or CRDs: {}",
                refused.join(", ")
            );
        }
        let state = State::no(Severity::Error, "NamingConflicts", why.clone());
        conditions::set(value, condition::BINDING_UP_TO_DATE, &state, now);
        self.not_completed(value, "NamingConflicts", &why, now);
        Ok(())
    }

    /// CRDs of resources that the binding's claims are on and that other exports provide: they
    /// stand on this shard even if nobody here binds them.
    fn claimed_crds(&self, value: &Value) -> Vec<Write> {
        let applied = serde_json::json!({"spec": {
            "permissionClaims": value["status"]["appliedPermissionClaims"]}});
        let mut writes = Vec::new();
        for claim in claims::of_binding(&applied) {
            if claim.identity.is_empty() {
                continue;
            }
            for export in self.tenancy.exports_with_identity(&claim.identity) {
                let binder = self.tenancy.binder();
                let Ok(offer) = binder.offer_of(&export, &export.key().name) else {
                    continue;
                };
                let ours = |o: &&Offered| o.group == claim.group && o.resource == claim.resource;
                let only = Offer {
                    resources: offer.resources.iter().filter(ours).cloned().collect(),
                    ..(*offer).clone()
                };
                let crds = binder.crd_writes(&only, self.tenancy.maker());
                writes.extend(crds.unwrap_or_default());
            }
        }
        writes
    }

    /// A name of the offered resource that another binding or CRD of the group has.
    fn name_conflict(&self, object: &Object, offered: &Offered) -> Option<String> {
        let view = self.tenancy.view();
        let of = view.resources();
        let cluster = &object.key().cluster;
        let mut taken: Vec<(Names, Owner)> = Vec::new();
        for other in view.list_cluster(&of.api_bindings, cluster) {
            if other.key().name == object.key().name {
                continue;
            }
            let at = |f: &str| {
                other
                    .text(&["spec", "reference", "export", f])
                    .unwrap_or_default()
            };
            let export = path::join(&at("path"), &at("name"));
            let bound = bound_resources(&other);
            for one in bound.iter().filter(|b| b.group == offered.group) {
                let crd = view.get(&of.crds, hanse_apis::kcp::cluster::BOUND_CRDS, "", &one.uid);
                let Some(crd) = crd else { continue };
                let owner = Owner::Binding(other.key().name.to_string(), export.clone());
                taken.push((Names::from_spec(&crd.value()["spec"]), owner));
            }
        }
        for crd in view.list_cluster(&of.crds, cluster) {
            let names = Names::from_spec(&crd.value()["spec"]);
            // A CRD of the very same name is shadowed, or has the lock; it is no conflict here.
            if names.plural != offered.resource {
                taken.push((names, Owner::Crd(crd.key().name.to_string())));
            }
        }
        let same = |n: &Names| n.plural == offered.resource;
        let others = taken.iter().filter(|(n, _)| !same(n)).map(|(n, o)| (n, o));
        naming::conflict(&offered.names, others)
    }

    /// Annotations under `extra.apis.kcp.io/` follow the export.
    fn copy_extras(&self, offer: &Offer, value: &mut Value) {
        let view = self.tenancy.view();
        let of = &view.resources().api_exports;
        let Some(export) = view.get(of, &offer.cluster, "", &offer.export) else {
            return;
        };
        let export = export.value();
        let extra = |key: &str| key.starts_with(annotation::EXTRA_PREFIX);
        let wanted = export["metadata"]["annotations"].as_object();
        let wanted: Vec<(String, Value)> = wanted
            .into_iter()
            .flatten()
            .filter(|(key, _)| extra(key))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let has = value["metadata"]["annotations"].as_object();
        if wanted.is_empty() && !has.is_some_and(|h| h.keys().any(|k| extra(k))) {
            return;
        }
        let notes = &mut value["metadata"]["annotations"];
        if notes.is_null() {
            *notes = serde_json::json!({});
        }
        if let Some(notes) = notes.as_object_mut() {
            notes.retain(|key, _| !extra(key));
            notes.extend(wanted);
        }
    }

    /// Deletes the instances of what is bound, then the binding.
    fn binding_end(&self, object: &Object) -> Result<Step, StepError> {
        let view = self.tenancy.view();
        let cluster = &object.key().cluster;
        let now = self.tenancy.maker().now();
        let mut value = object.value();
        let scope = Scope::Cluster(cluster.clone());
        let (mut writes, mut left) = (Vec::new(), Left::default());
        let others: Vec<Object> = view
            .list_cluster(&view.resources().api_bindings, cluster)
            .into_iter()
            .filter(|o| o.key().name != object.key().name && !o.is_deleting())
            .collect();
        for bound in bound_resources(object) {
            let adopts = |other: &Object| self.adopts(other, &bound);
            if others.iter().any(adopts) {
                continue;
            }
            let resource = ResourceId::new(&bound.group, &bound.resource, &bound.identity);
            self.delete_all(&resource, &scope, &mut writes, &mut left)?;
        }
        let kind = condition::BINDING_RESOURCE_DELETE_SUCCESS;
        let state = if left.is_empty() && writes.is_empty() {
            State::True
        } else {
            match left.finalizer_message("workspace") {
                Some(text) => State::no(Severity::Error, "SomeFinalizersRemain", text),
                None => State::no(
                    Severity::Error,
                    "SomeResourcesRemain",
                    left.message("workspace"),
                ),
            }
        };
        let done = state == State::True;
        if done || !left.is_empty() {
            conditions::set(&mut value, kind, &state, &now);
        }
        if done {
            drop_finalizer(&mut value, finalizer::API_BINDING);
        }
        let more = !writes.is_empty();
        writes.extend(self.change(object, &value)?);
        let again = if more {
            Some(Duration::from_millis(1))
        } else {
            None
        };
        let again = again.or((!left.is_empty()).then_some(RECHECK));
        Ok(Step { writes, again })
    }

    /// True if another binding takes the instances over: same identity and schema.
    fn adopts(&self, other: &Object, bound: &crate::catalog::BoundResource) -> bool {
        let at = |f: &str| {
            other
                .text(&["spec", "reference", "export", f])
                .unwrap_or_default()
        };
        let offer = self
            .tenancy
            .binder()
            .offer(&at("path"), &at("name"), &other.key().cluster);
        offer.is_ok_and(|offer| {
            offer.identity == bound.identity
                && offer.resources.iter().any(|r| {
                    r.uid == bound.uid && r.group == bound.group && r.resource == bound.resource
                })
        })
    }

    /// Brings the claim labels of all objects of a claimed resource right, in batches.
    pub(super) fn labels(&self, key: &Key) -> Result<Step, StepError> {
        let mut parts = key.name.splitn(3, '/');
        let mut part = || parts.next().unwrap_or_default();
        let (group_name, resource, identity) = (part(), part(), part());
        let mut pairs = vec![(group_name, resource)];
        if resource == "events" {
            pairs = vec![("", "events"), ("events.k8s.io", "events")];
        }
        let view = self.tenancy.view();
        let mut writes = Vec::new();
        for (group_name, resource) in pairs {
            let storage = claim_storage(group_name, resource, identity);
            for object in view.list_cluster(&storage, &key.cluster) {
                let mut value = object.value();
                let expected = self.tenancy.admission().claims().expected(
                    &key.cluster,
                    group_name,
                    resource,
                    identity,
                    &value,
                );
                if claims::apply_labels(&mut value, &expected) {
                    writes.extend(self.change(&object, &value)?);
                }
                if is_full(&writes) {
                    return Ok(Step {
                        writes,
                        again: Some(Duration::ZERO),
                    });
                }
            }
        }
        Ok(Step::write(writes))
    }
}
