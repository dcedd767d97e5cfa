//! A workspace is born: all of its objects in the commit that creates it.
//!
//! Start with [`Tenancy::on_create_workspace`], which the create path calls after admission. The
//! Workspace comes out as it will be stored, together with the writes for everything that it
//! holds from the first moment on. A workspace whose types need nothing from outside is `Ready`
//! at once; otherwise it is born in kcp's phase with kcp's conditions and the reconcilers go on.
//!
//! Where the store takes too few keys at once for that, the first write is the intent: the
//! Workspace with the id of its logical cluster and nothing behind it. The reconcilers make the
//! LogicalCluster next and its content after it, so whatever stands after a crash has an owner that
//! leads to it. [`Tenancy::born`] waits for the end of such a birth.

use crate::bind::Offer;
use crate::objects::{self, Draft};
use crate::tenancy::Tenancy;
use hanse_apis::kcp::{INITIALIZER_API_BINDINGS, cluster};
use hanse_apis::kcp::{annotation, conditions as condition, finalizer, group, label, phase, user};
use hanse_cache::{ClusterName, Limits, Object, Write};
use hanse_rules::conditions::{self, Severity, State};
use hanse_rules::locks::Locks;
use hanse_rules::types::{self, TypeRef, WorkspaceType};
use hanse_rules::{hash, path, selector};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long a creation waits for a birth that takes several commits.
const BIRTH_TIME_MAX: Duration = Duration::from_secs(5);

/// The initializer of the type `universal`, which the server serves itself.
pub const INITIALIZER_UNIVERSAL: &str = "root:universal";

/// What a new logical cluster is to be.
pub struct Plan {
    /// Its id.
    pub cluster: ClusterName,
    /// Its canonical path.
    pub path: String,
    /// Its type with all that it extends, itself last.
    pub types: Vec<WorkspaceType>,
    /// UserInfo of the creator as JSON, if known.
    pub owner: Option<String>,
    /// `authorization.kcp.io/required-groups`, if set.
    pub required_groups: Option<String>,
    /// `spec.owner`, if a Workspace owns it.
    pub spec_owner: Option<Value>,
}

/// A logical cluster with its first objects.
pub struct Newborn {
    /// Everything to be written, the LogicalCluster last.
    pub writes: Vec<Write>,
    /// Its phase.
    pub phase: &'static str,
    /// Initializers that remain.
    pub initializers: Vec<String>,
    /// Terminators.
    pub terminators: Vec<String>,
}

/// A default binding with what it binds.
type Default = (types::DefaultBinding, Arc<Offer>);

impl Tenancy {
    /// Makes a new Workspace what it will be when it is stored, and returns the writes that
    /// belong into the same commit. `workspace` has passed admission and has name and uid;
    /// `parent` is the logical cluster in which it is created.
    #[must_use]
    pub fn on_create_workspace(&self, parent: &ClusterName, workspace: &mut Value) -> Vec<Write> {
        let unborn = workspace.clone();
        let writes = self.schedule_workspace(parent, workspace);
        if fits(&writes, 1, self.view().hub().limits()) {
            return writes;
        }
        let chosen = std::mem::take(&mut workspace["spec"]["cluster"]);
        *workspace = unborn;
        workspace["metadata"]["generation"] = 1.into();
        workspace["metadata"]["annotations"][annotation::WORKSPACE_CLUSTER] = chosen;
        hold(workspace);
        objects::set_phase(workspace, phase::SCHEDULING);
        Vec::new()
    }

    /// As [`Tenancy::on_create_workspace`], for a Workspace that stands already: the writes may
    /// take several commits, and are in the order in which they must become true.
    #[must_use]
    pub(crate) fn schedule_workspace(
        &self,
        parent: &ClusterName,
        workspace: &mut Value,
    ) -> Vec<Write> {
        let now = self.maker().now();
        if workspace["spec"].get("mount").is_some() {
            return Vec::new();
        }
        // kcp writes the spec a second time when it has chosen a logical cluster.
        workspace["metadata"]["generation"] = 2.into();
        if let Err(state) = self.place(workspace) {
            workspace["metadata"]["generation"] = 1.into();
            objects::set_phase(workspace, phase::SCHEDULING);
            conditions::set(workspace, condition::WORKSPACE_SCHEDULED, &state, &now);
            return Vec::new();
        }
        let Some(plan) = self.plan(parent, workspace) else {
            objects::set_phase(workspace, phase::SCHEDULING);
            return Vec::new();
        };
        let Ok(newborn) = self.newborn(&plan, &now) else {
            objects::set_phase(workspace, phase::SCHEDULING);
            return Vec::new();
        };
        self.announce(workspace, &plan, &newborn, &now);
        newborn.writes
    }

    /// Waits for a Workspace whose birth takes several commits, as long as only the server itself
    /// is to act, and a bounded time; `None` when there is nothing to wait for, or it is gone.
    pub async fn born(&self, workspace: &Object) -> Option<Object> {
        let is_intent = |object: &Object| {
            object.text(&["status", "phase"]).as_deref() == Some(phase::SCHEDULING)
                && object.annotation(annotation::WORKSPACE_CLUSTER).is_some()
        };
        if !is_intent(workspace) {
            return None;
        }
        let hub = self.view().hub();
        let grown = async {
            loop {
                let seen = hub.version();
                let object = hub.get(workspace.key())?;
                if !is_intent(&object) && !waits_for_us(&object.value()) {
                    return Some(object);
                }
                hub.wait_for(seen + 1).await;
            }
        };
        let grown = self.maker().seams().timeout(BIRTH_TIME_MAX, grown).await;
        grown.unwrap_or_else(|| hub.get(workspace.key()))
    }

    /// Checks that this shard may take the workspace.
    fn place(&self, workspace: &mut Value) -> Result<(), State> {
        let nowhere = |why: &str| State::no(Severity::Error, "Unschedulable", why);
        let none = "No available shards to schedule the workspace";
        let Some(shard) = self.shard_object() else {
            return Err(nowhere(none));
        };
        let labels: Vec<(&str, &str)> = shard.labels().collect();
        let label = |key: &str| labels.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
        let wanted = workspace["spec"]
            .get("location")
            .and_then(|l| l.get("selector"));
        let unschedulable = shard.annotation(annotation::UNSCHEDULABLE).is_some();
        if unschedulable || !selector::matches(wanted, &label) {
            return Err(nowhere(none));
        }
        if let Some(region) = label(label::REGION) {
            workspace["metadata"]["labels"][label::REGION] = region.into();
        }
        Ok(())
    }

    /// What the logical cluster of a new workspace is to be; `None` if its type is gone.
    pub(crate) fn plan(&self, parent: &ClusterName, workspace: &Value) -> Option<Plan> {
        let view = self.view();
        let of = TypeRef::from_value(workspace["spec"].get("type")?)?;
        let types = view.resolve_type(view.workspace_type(&of)?).ok()?;
        let annotated = |key: &str| {
            Some(
                workspace["metadata"]["annotations"]
                    .get(key)?
                    .as_str()?
                    .to_owned(),
            )
        };
        let name = workspace["metadata"]["name"].as_str()?;
        let chosen = annotated(annotation::WORKSPACE_CLUSTER);
        Some(Plan {
            cluster: chosen.map_or_else(|| self.new_cluster(), ClusterName::from),
            path: path::join(&view.canonical_path(parent), name),
            types,
            owner: annotated(annotation::OWNER),
            required_groups: annotated(annotation::REQUIRED_GROUPS),
            spec_owner: Some(json!({
                "apiVersion": "tenancy.kcp.io/v1alpha1", "resource": "workspaces",
                "name": name, "cluster": &**parent, "uid": workspace["metadata"]["uid"],
            })),
        })
    }

    /// A fresh id.
    fn new_cluster(&self) -> ClusterName {
        let mut random = [0; 32];
        self.maker().seams().rng.fill(&mut random);
        hash::cluster_id(&random).into()
    }

    /// All first objects of a logical cluster.
    ///
    /// # Errors
    /// An object that cannot be encoded.
    pub fn newborn(&self, plan: &Plan, now: &str) -> Result<Newborn, hanse_cache::DocumentError> {
        let of = self.view().resources();
        let initializers = types::initializers(&plan.types);
        let mut remaining = initializers.clone();
        let mut drafts: Vec<Draft> = Vec::new();
        if initializers.iter().any(|i| i == INITIALIZER_UNIVERSAL) {
            for name in ["default", "kube-system"] {
                drafts.extend(objects::namespace_set(of, name, true, &self.shard().ca_pem));
            }
            remaining.retain(|i| i != INITIALIZER_UNIVERSAL);
        }
        if let Some(creator) = plan.owner.as_deref().and_then(objects::owner_name) {
            drafts.push(objects::workspace_admin(
                of,
                &creator,
                objects::admin_words(false),
            ));
        }
        let mut locks = Locks::default();
        let mut writes = Vec::new();
        let offers = self.default_offers(&plan.types);
        let waits = match offers {
            Ok(offers) => {
                let (bindings, crds, missing) = self.default_drafts(plan, &offers, &mut locks, now);
                drafts.extend(bindings);
                writes.extend(crds);
                missing
            }
            Err(message) => Some(State::no(Severity::Error, "APIBindingErrors", message)),
        };
        if waits.is_none() {
            remaining.retain(|i| i != INITIALIZER_API_BINDINGS);
        }
        let ready = remaining.is_empty();
        let at = if ready {
            phase::READY
        } else {
            phase::INITIALIZING
        };
        for draft in drafts {
            // What is there already is left of a birth that was cut short.
            let (namespace, name) = (draft.namespace.as_str(), draft.name());
            if self
                .view()
                .get(&draft.resource, &plan.cluster, namespace, name)
                .is_none()
            {
                writes.push(self.maker().create(&plan.cluster, draft, now)?);
            }
        }
        let terminators = types::terminators(&plan.types);
        let newborn = Newborn {
            writes,
            phase: at,
            initializers: remaining,
            terminators,
        };
        let object = self.logical_cluster_draft(plan, &newborn, &initializers, &locks, waits, now);
        let last = self.maker().create(&plan.cluster, object, now)?;
        let mut newborn = newborn;
        newborn.writes.push(last);
        if fits(&newborn.writes, 1, self.view().hub().limits()) {
            return Ok(newborn);
        }
        self.embryo(plan, now)
    }

    /// A logical cluster of which only the LogicalCluster is written: its reconciler does what its
    /// initializers stand for, in as many commits as the store needs.
    fn embryo(&self, plan: &Plan, now: &str) -> Result<Newborn, hanse_cache::DocumentError> {
        let initializers = types::initializers(&plan.types);
        let mut newborn = Newborn {
            writes: Vec::new(),
            phase: phase::INITIALIZING,
            initializers: initializers.clone(),
            terminators: types::terminators(&plan.types),
        };
        let locks = Locks::default();
        let object = self.logical_cluster_draft(plan, &newborn, &initializers, &locks, None, now);
        newborn
            .writes
            .push(self.maker().create(&plan.cluster, object, now)?);
        Ok(newborn)
    }

    /// Offers of all default bindings of a type.
    ///
    /// # Errors
    /// The message of the first that is not to be had.
    pub(crate) fn default_offers(&self, types: &[WorkspaceType]) -> Result<Vec<Default>, String> {
        types::default_bindings(types)
            .into_iter()
            .map(|wanted| {
                let offer = self.binder().offer(&wanted.path, &wanted.export, "");
                offer
                    .map(|offer| (wanted, offer))
                    .map_err(|not| not.message)
            })
            .collect()
    }

    /// Bound default bindings with the CRDs that they need; a state if one has to wait.
    fn default_drafts(
        &self,
        plan: &Plan,
        offers: &[Default],
        locks: &mut Locks,
        now: &str,
    ) -> (Vec<Draft>, Vec<Write>, Option<State>) {
        let mut drafts = Vec::with_capacity(offers.len());
        let mut crds: Vec<Write> = Vec::new();
        let mut waits = None;
        for (wanted, offer) in offers {
            let name = hash::default_binding_name(&plan.cluster, &wanted.path, &wanted.export);
            let mut draft = objects::api_binding(
                self.view().resources(),
                &name,
                &plan.path,
                (&wanted.path, &wanted.export),
                &offer.cluster,
                offer.accepted_claims(),
            );
            let free = offer.lock_keys().all(|key| locks.owner(&key).is_none());
            match self.binder().crd_writes(offer, self.maker()) {
                Ok(more) if free => {
                    offer.lock_keys().for_each(|key| {
                        locks.take(&key, &name);
                    });
                    crds.extend(
                        more.into_iter()
                            .filter(|w| crds.iter().all(|c| c.key != w.key))
                            .collect::<Vec<_>>(),
                    );
                    offer.bind(&mut draft.value, now);
                }
                _ => {
                    let message = format!("APIBinding {name} is not bound");
                    waits = Some(State::no(Severity::Info, "WaitingOnAPIBindings", message));
                }
            }
            drafts.push(draft);
        }
        (drafts, crds, waits)
    }

    fn logical_cluster_draft(
        &self,
        plan: &Plan,
        newborn: &Newborn,
        initializers: &[String],
        locks: &Locks,
        waits: Option<State>,
        now: &str,
    ) -> Draft {
        let ready = newborn.phase == phase::READY;
        let mut annotations = Map::new();
        let mut note = |key: &str, value: String| annotations.insert(key.into(), value.into());
        note(annotation::SHARD, self.shard().name.clone());
        note(annotation::RESOURCE_BINDINGS, locks.to_text());
        note(annotation::PATH, plan.path.clone());
        if let Some(of) = plan.types.last() {
            note(annotation::TYPE, of.qualified());
        }
        if let Some(groups) = &plan.required_groups {
            note(annotation::REQUIRED_GROUPS, groups.clone());
        }
        if let Some(owner) = &plan.owner {
            let reduced = objects::reduced_owner(owner).filter(|_| ready);
            note(annotation::OWNER, reduced.unwrap_or_else(|| owner.clone()));
        }
        let mut spec = json!({"directlyDeletable": false});
        if !initializers.is_empty() {
            spec["initializers"] = initializers.into();
        }
        if !newborn.terminators.is_empty() {
            spec["terminators"] = newborn.terminators.clone().into();
        }
        if let Some(created_by) = plan.owner.as_deref().and_then(parse_user) {
            spec["createdBy"] = created_by;
        }
        if let Some(owner) = &plan.spec_owner {
            spec["owner"] = owner.clone();
        }
        let mut draft = objects::logical_cluster(self.view().resources(), annotations, spec);
        let value = &mut draft.value;
        value["status"]["URL"] = self.shard().cluster_url(&plan.cluster).into();
        objects::set_phase(value, newborn.phase);
        self.mark_initialized(value, &newborn.initializers, now);
        if let Some(state) = waits {
            conditions::set(value, condition::API_BINDINGS_INITIALIZED, &state, now);
        }
        self.list_lifecycle(value, &newborn.initializers, &newborn.terminators);
        draft
    }

    /// Condition of remaining initializers on a Workspace or LogicalCluster.
    pub(crate) fn mark_initialized(&self, object: &mut Value, remaining: &[String], now: &str) {
        let state = if remaining.is_empty() {
            State::True
        } else {
            State::no(
                Severity::Info,
                "InitializerExists",
                format!("Initializers still exist: {}", remaining.join(", ")),
            )
        };
        conditions::set(object, condition::WORKSPACE_INITIALIZED, &state, now);
    }

    /// Lists and labels of remaining initializers and terminators, and the finalizer that goes
    /// with the latter.
    pub(crate) fn list_lifecycle(
        &self,
        object: &mut Value,
        initializers: &[String],
        terminators: &[String],
    ) {
        for (field, list) in [("initializers", initializers), ("terminators", terminators)] {
            let Some(status) = object["status"].as_object_mut() else {
                return;
            };
            if list.is_empty() {
                status.remove(field);
            } else {
                status.insert(field.into(), list.into());
            }
        }
        let wanted = initializers.iter().map(|i| hash::initializer_label(i));
        let wanted = wanted.chain(terminators.iter().map(|t| hash::terminator_label(t)));
        let wanted: Vec<(String, String)> = wanted.collect();
        if let Some(labels) = object["metadata"]["labels"].as_object_mut() {
            labels.retain(|key, _| {
                !key.starts_with(label::INITIALIZER_PREFIX)
                    && !key.starts_with(label::TERMINATOR_PREFIX)
            });
            labels.extend(wanted.into_iter().map(|(k, v)| (k, Value::from(v))));
        }
        if let Some(finalizers) = object["metadata"]["finalizers"].as_array_mut() {
            finalizers.retain(|f| f != finalizer::HAS_TERMINATORS);
            if !terminators.is_empty() {
                finalizers.push(finalizer::HAS_TERMINATORS.into());
            }
        }
    }

    /// Makes the Workspace say where its logical cluster is.
    pub(crate) fn lead_to(&self, workspace: &mut Value, cluster: &str, path: &str) {
        let shard = self.shard();
        let notes = [
            (annotation::SHARD, shard.name.clone()),
            (
                annotation::WORKSPACE_SHARD_HASH,
                hash::shard_hash(&shard.name),
            ),
            (annotation::WORKSPACE_CLUSTER, cluster.to_owned()),
        ];
        for (key, value) in notes {
            workspace["metadata"]["annotations"][key] = value.into();
        }
        hold(workspace);
        workspace["spec"]["cluster"] = cluster.into();
        workspace["spec"]["URL"] = shard.path_url(path).into();
    }

    /// Makes the Workspace say what became of it.
    pub(crate) fn announce(
        &self,
        workspace: &mut Value,
        plan: &Plan,
        newborn: &Newborn,
        now: &str,
    ) {
        self.lead_to(workspace, &plan.cluster, &plan.path);
        let ready = newborn.phase == phase::READY;
        let owner = plan
            .owner
            .as_deref()
            .filter(|_| ready)
            .and_then(objects::reduced_owner);
        if let Some(owner) = owner {
            workspace["metadata"]["annotations"][annotation::OWNER] = owner.into();
        }
        objects::set_phase(workspace, newborn.phase);
        for (field, list) in [
            ("initializers", &newborn.initializers),
            ("terminators", &newborn.terminators),
        ] {
            if !list.is_empty() {
                workspace["status"][field] = list.clone().into();
            }
        }
        self.mark_initialized(workspace, &newborn.initializers, now);
        conditions::set(workspace, condition::WORKSPACE_SCHEDULED, &State::True, now);
    }

    /// The Shard object of this shard.
    pub(crate) fn shard_object(&self) -> Option<hanse_cache::Object> {
        self.view()
            .get(&self.shards()?, cluster::ROOT, "", &self.shard().name)
    }

    /// Storage name of shards.
    pub(crate) fn shards(&self) -> Option<hanse_cache::ResourceId> {
        let name = "shards.core.kcp.io";
        let of = &self.view().resources().api_exports;
        let export = self.view().get(of, cluster::ROOT, "", name)?;
        let identity = export.text(&["status", "identityHash"])?;
        Some(hanse_cache::ResourceId::new(
            group::CORE,
            "shards",
            &identity,
        ))
    }
}

/// Whether writes and `more` others go in one commit.
fn fits(writes: &[Write], more: usize, limits: Limits) -> bool {
    let bytes: usize = writes.iter().map(Write::weight).sum();
    writes.is_empty() || writes.len() + more <= limits.max_keys && bytes <= limits.max_bytes
}

/// Puts the finalizer on a Workspace that waits for the end of its logical cluster.
fn hold(workspace: &mut Value) {
    let finalizers = &mut workspace["metadata"]["finalizers"];
    match finalizers.as_array_mut() {
        Some(list) if list.iter().any(|f| f == finalizer::LOGICAL_CLUSTER) => {}
        Some(list) => list.push(finalizer::LOGICAL_CLUSTER.into()),
        None => *finalizers = json!([finalizer::LOGICAL_CLUSTER]),
    }
}

/// Whether a Workspace is on its way to Ready and nobody else has to act for it.
fn waits_for_us(workspace: &Value) -> bool {
    let ours = [INITIALIZER_UNIVERSAL, INITIALIZER_API_BINDINGS];
    let status = &workspace["status"];
    let remaining = status["initializers"].as_array().map(Vec::as_slice);
    let foreign = |name: &Value| name.as_str().is_none_or(|name| !ours.contains(&name));
    status["phase"] == phase::INITIALIZING && !remaining.unwrap_or_default().iter().any(foreign)
}

/// `spec.createdBy` out of the owner annotation: the same fields, empty ones left out.
fn parse_user(owner: &str) -> Option<Value> {
    let owner: Value = serde_json::from_str(owner).ok()?;
    owner
        .get("username")
        .is_some_and(|u| u != user::ROOT_OWNER)
        .then_some(owner)
}
