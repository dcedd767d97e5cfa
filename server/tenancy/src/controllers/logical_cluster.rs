//! LogicalClusters: through their phases, with the server's own initializers, lock table, admin
//! binding and maintained default bindings.

use super::{Controllers, Key, Step, StepError, strings};
use crate::birth::INITIALIZER_UNIVERSAL;
use crate::objects;
use hanse_apis::kcp::{INITIALIZER_API_BINDINGS, WORKSPACE_ADMIN};
use hanse_apis::kcp::{annotation, conditions as condition, group, phase};
use hanse_cache::{Object, Write};
use hanse_rules::conditions::{self, Severity, State};
use hanse_rules::locks::Locks;
use hanse_rules::types::WorkspaceType;
use hanse_rules::{hash, locks, path};
use serde_json::Value;

impl Controllers {
    pub(super) fn logical_cluster(&self, key: &Key) -> Result<Step, StepError> {
        let Some(object) = self.tenancy.view().logical_cluster(&key.cluster) else {
            return self.sweep(&key.cluster);
        };
        if object.is_deleting() {
            return self.logical_cluster_end(&object);
        }
        let mut value = object.value();
        let mut writes = Vec::new();
        let now = self.tenancy.maker().now();
        self.enter_initializing(&mut value);
        let url = self.tenancy.shard().cluster_url(&key.cluster);
        value["status"]["URL"] = url.into();
        if value["status"]["phase"] == phase::INITIALIZING {
            self.initialize(&object, &mut value, &mut writes, &now)?;
        }
        self.activity(&object, &mut value);
        self.maintain(&object, &mut value, &mut writes, &now)?;
        self.clean_locks(&object, &mut value, &now);
        self.replication_words(&object, &mut value);
        self.admin_binding(&object, &value, &mut writes, &now)?;
        writes.extend(self.change(&object, &value)?);
        Ok(Step::write(writes))
    }

    /// `""` and Scheduling lead to Initializing by themselves; on the way the lists are copied.
    fn enter_initializing(&self, value: &mut Value) {
        let at = value["status"]["phase"].as_str().unwrap_or_default();
        if !matches!(at, "" | phase::SCHEDULING) {
            return;
        }
        let list = |name: &str| strings(&value["spec"][name]);
        let (initializers, terminators) = (list("initializers"), list("terminators"));
        objects::set_phase(value, phase::INITIALIZING);
        self.tenancy
            .list_lifecycle(value, &initializers, &terminators);
    }

    /// Does what the server's own initializers stand for; Ready when none is left.
    fn initialize(
        &self,
        object: &Object,
        value: &mut Value,
        writes: &mut Vec<Write>,
        now: &str,
    ) -> Result<(), StepError> {
        let mut remaining = strings(&value["status"]["initializers"]);
        if remaining.iter().any(|i| i == INITIALIZER_UNIVERSAL) {
            writes.extend(self.missing_namespaces(object, now)?);
            remaining.retain(|i| i != INITIALIZER_UNIVERSAL);
        }
        if remaining.iter().any(|i| i == INITIALIZER_API_BINDINGS) {
            match self.default_bindings(object, writes, now)? {
                None => {
                    remaining.retain(|i| i != INITIALIZER_API_BINDINGS);
                    let done = State::True;
                    conditions::set(value, condition::API_BINDINGS_INITIALIZED, &done, now);
                }
                Some(state) => {
                    conditions::set(value, condition::API_BINDINGS_INITIALIZED, &state, now);
                }
            }
        }
        let terminators = strings(&value["status"]["terminators"]);
        self.tenancy.list_lifecycle(value, &remaining, &terminators);
        self.tenancy.mark_initialized(value, &remaining, now);
        if remaining.is_empty() {
            objects::set_phase(value, phase::READY);
            let owner = value["metadata"]["annotations"][annotation::OWNER].as_str();
            if let Some(reduced) = owner.and_then(objects::reduced_owner) {
                value["metadata"]["annotations"][annotation::OWNER] = reduced.into();
            }
        }
        Ok(())
    }

    fn missing_namespaces(&self, object: &Object, now: &str) -> Result<Vec<Write>, StepError> {
        let view = self.tenancy.view();
        let cluster = &object.key().cluster;
        let mut writes = Vec::new();
        for name in ["default", "kube-system"] {
            let ca = &self.tenancy.shard().ca_pem;
            for draft in objects::namespace_set(view.resources(), name, true, ca) {
                if view
                    .get(&draft.resource, cluster, &draft.namespace, draft.name())
                    .is_none()
                {
                    writes.push(self.tenancy.maker().create(cluster, draft, now)?);
                }
            }
        }
        Ok(writes)
    }

    /// The type of a logical cluster with all that it extends.
    fn types(&self, object: &Object) -> Result<Vec<WorkspaceType>, State> {
        let view = self.tenancy.view();
        let broken = |why: String| State::no(Severity::Error, "WorkspaceTypesInvalid", why);
        let of = view.type_of_cluster(&object.key().cluster);
        let of = of.ok_or_else(|| broken("the workspace type was not found".to_owned()))?;
        view.resolve_type(of).map_err(broken)
    }

    /// Makes the default bindings that are missing. `None` when all are bound, else what they
    /// wait for.
    fn default_bindings(
        &self,
        object: &Object,
        writes: &mut Vec<Write>,
        now: &str,
    ) -> Result<Option<State>, StepError> {
        let types = match self.types(object) {
            Ok(types) => types,
            Err(state) => return Ok(Some(state)),
        };
        let offers = match self.tenancy.default_offers(&types) {
            Ok(offers) => offers,
            Err(why) => return Ok(Some(State::no(Severity::Error, "APIBindingErrors", why))),
        };
        let view = self.tenancy.view();
        let cluster = &object.key().cluster;
        let existing = view.list_cluster(&view.resources().api_bindings, cluster);
        let path = view.canonical_path(cluster);
        let mut waiting = Vec::new();
        for (wanted, offer) in offers {
            let refers = |b: &&Object| {
                let at = |f: &str| {
                    b.text(&["spec", "reference", "export", f])
                        .unwrap_or_default()
                };
                *at("name") == *wanted.export && *at("path") == *wanted.path
            };
            let name = hash::default_binding_name(cluster, &wanted.path, &wanted.export);
            match existing.iter().find(refers) {
                Some(found) => {
                    if !has_completed(&found.value()) {
                        waiting.push(found.key().name.to_string());
                    }
                }
                None if existing.iter().any(|b| *b.key().name == *name) => waiting.push(name),
                None => {
                    let draft = objects::api_binding(
                        view.resources(),
                        &name,
                        &path,
                        (&wanted.path, &wanted.export),
                        &offer.cluster,
                        offer.accepted_claims(),
                    );
                    writes.push(self.tenancy.maker().create(cluster, draft, now)?);
                    waiting.push(name);
                }
            }
        }
        if waiting.is_empty() {
            return Ok(None);
        }
        let message = format!("Waiting on APIBindings: {}", waiting.join(", "));
        Ok(Some(State::no(
            Severity::Info,
            "WaitingOnAPIBindings",
            message,
        )))
    }

    /// The inactive annotation takes a ready logical cluster offline, and its watches with it.
    fn activity(&self, object: &Object, value: &mut Value) {
        let notes = &value["metadata"]["annotations"];
        let keys = [annotation::INACTIVE, annotation::INACTIVE_LEGACY];
        let inactive = keys.iter().any(|key| notes[*key] == "true");
        let at = value["status"]["phase"].as_str().unwrap_or_default();
        match (at, inactive) {
            (phase::READY, true) => {
                objects::set_phase(value, phase::INACTIVE);
                let cluster = object.key().cluster.clone();
                self.tenancy
                    .view()
                    .hub()
                    .cut(move |_, scope| scope.cluster().is_none_or(|named| *named == cluster));
            }
            (phase::INACTIVE, false) => {
                objects::set_phase(value, phase::READY);
            }
            _ => {}
        }
    }

    /// Default bindings of types with `defaultAPIBindingLifecycle: Maintain` are kept as declared.
    fn maintain(
        &self,
        object: &Object,
        value: &mut Value,
        writes: &mut Vec<Write>,
        now: &str,
    ) -> Result<(), StepError> {
        if value["status"]["phase"] != phase::READY {
            return Ok(());
        }
        let Ok(types) = self.types(object) else {
            return Ok(());
        };
        let kept: Vec<WorkspaceType> = types.into_iter().filter(|t| t.maintain).collect();
        if kept.is_empty() {
            return Ok(());
        }
        let state = match self.tenancy.default_offers(&kept) {
            Err(why) => State::no(Severity::Error, "APIBindingErrors", why),
            Ok(offers) => {
                for (wanted, offer) in offers {
                    self.keep_binding(object, &wanted.path, &wanted.export, &offer, writes, now)?;
                }
                State::True
            }
        };
        conditions::set(value, condition::API_BINDINGS_RECONCILED, &state, now);
        Ok(())
    }

    fn keep_binding(
        &self,
        object: &Object,
        at: &str,
        export: &str,
        offer: &crate::bind::Offer,
        writes: &mut Vec<Write>,
        now: &str,
    ) -> Result<(), StepError> {
        let view = self.tenancy.view();
        let cluster = &object.key().cluster;
        let name = hash::default_binding_name(cluster, at, export);
        let of = view.resources();
        let draft = objects::api_binding(
            of,
            &name,
            &view.canonical_path(cluster),
            (at, export),
            &offer.cluster,
            offer.accepted_claims(),
        );
        let Some(found) = view.get(&of.api_bindings, cluster, "", &name) else {
            writes.push(self.tenancy.maker().create(cluster, draft, now)?);
            return Ok(());
        };
        let mut value = found.value();
        if value["spec"] != draft.value["spec"] && !found.is_deleting() {
            value["spec"] = draft.value["spec"].clone();
            let generation = value["metadata"]["generation"].as_u64().unwrap_or_default();
            value["metadata"]["generation"] = (generation + 1).into();
            writes.extend(self.change(&found, &value)?);
        }
        Ok(())
    }

    /// Drops locks of what is gone and adds those of established CRDs.
    fn clean_locks(&self, object: &Object, value: &mut Value, now: &str) {
        let view = self.tenancy.view();
        let cluster = &object.key().cluster;
        let notes = &value["metadata"]["annotations"];
        let before = notes[annotation::RESOURCE_BINDINGS].as_str();
        let mut table = Locks::parse(before.unwrap_or("{}"));
        let of = view.resources();
        let crds: Vec<Object> = view.list_cluster(&of.crds, cluster);
        let crd_key = |o: &Object| {
            let value = o.value();
            let part = |p: &Value| p.as_str().unwrap_or_default().to_owned();
            locks::key(
                &part(&value["spec"]["group"]),
                &part(&value["spec"]["names"]["plural"]),
            )
        };
        let established: Vec<String> = crds
            .iter()
            .filter(|o| conditions::is_true(&o.value(), "Established"))
            .map(crd_key)
            .collect();
        let binding = |name: &str| view.get(&of.api_bindings, cluster, "", name).is_some();
        table.retain(&binding, &|key| established.iter().any(|k| k == key), now);
        established.iter().for_each(|key| table.take_for_crd(key));
        value["metadata"]["annotations"][annotation::RESOURCE_BINDINGS] = table.to_text().into();
    }

    /// Words for which the LogicalCluster is replicated: it holds exports, or types.
    fn replication_words(&self, object: &Object, value: &mut Value) {
        let view = self.tenancy.view();
        let cluster = &object.key().cluster;
        let scope = hanse_cache::Scope::Cluster(cluster.clone());
        let any = |r: &hanse_cache::ResourceId| view.hub().count(r, &scope) > 0;
        let mut words = Vec::new();
        if any(&view.resources().api_exports) {
            words.push(group::APIS);
        }
        if view.tenancy().is_some_and(|t| any(&t.workspace_types)) {
            words.push(group::TENANCY);
        }
        let Some(notes) = value["metadata"]["annotations"].as_object_mut() else {
            return;
        };
        if words.is_empty() || path::is_system(cluster) {
            notes.remove(annotation::REPLICATE);
        } else {
            notes.insert(annotation::REPLICATE.into(), words.join(",").into());
        }
    }

    /// The creator's binding comes back whenever it is gone.
    fn admin_binding(
        &self,
        object: &Object,
        value: &Value,
        writes: &mut Vec<Write>,
        now: &str,
    ) -> Result<(), StepError> {
        let view = self.tenancy.view();
        let cluster = &object.key().cluster;
        let of = view.resources();
        let owner = value["metadata"]["annotations"][annotation::OWNER].as_str();
        let Some(creator) = owner.and_then(objects::owner_name) else {
            return Ok(());
        };
        if view
            .get(&of.cluster_role_bindings, cluster, "", WORKSPACE_ADMIN)
            .is_some()
        {
            return Ok(());
        }
        let replicated = value["metadata"]["annotations"]
            .get(annotation::REPLICATE)
            .is_some();
        let draft = objects::workspace_admin(of, &creator, objects::admin_words(replicated));
        writes.push(self.tenancy.maker().create(cluster, draft, now)?);
        Ok(())
    }
}

/// True for a binding whose resources are served and whose accepted claims are applied.
fn has_completed(binding: &Value) -> bool {
    let claims = binding["spec"]["permissionClaims"].as_array();
    let accepts = claims.is_some_and(|c| c.iter().any(|c| c["state"] == "Accepted"));
    conditions::is_true(binding, condition::INITIAL_BINDING_COMPLETED)
        && (!accepts || conditions::is_true(binding, condition::PERMISSION_CLAIMS_APPLIED))
}
