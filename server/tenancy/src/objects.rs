//! The objects that the server itself makes, as trees, and their way into the store.
//!
//! Start with [`Maker`]. Each function below it returns one object as kcp's clients see it; the
//! maker stamps it (uid, time, generation) and encodes it. Objects that the server makes carry no
//! managedFields: nobody but the server owns their fields, and an idle workspace shall be small.

use crate::forms::Forms;
use hanse_apis::kcp::{IDENTITY_NAMESPACE, IDENTITY_SECRET_KEY, WORKSPACE_ADMIN, annotation, user};
use hanse_apis::kcp::{cluster, finalizer, group, label};
use hanse_auth::Resources;
use hanse_cache::{
    ClusterName, Document, DocumentError, Expect, Object, ObjectKey, ResourceId, Write,
};
use hanse_rules::hash;
use hanse_seams::Seams;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Why a ConfigMap with the root CA is there; the text is Kubernetes'.
const ROOT_CA_DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the \
    kube-apiserver when using internal endpoints such as the internal service IP or \
    kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes \
    clusters.";
/// Name of the ConfigMap with the root CA in each namespace.
pub const ROOT_CA_NAME: &str = "kube-root-ca.crt";

/// An object to be made.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Where it is stored.
    pub resource: ResourceId,
    /// Its namespace; empty if none.
    pub namespace: String,
    /// What it is.
    pub value: Value,
}

impl Draft {
    /// A draft of an object without a namespace.
    #[must_use]
    pub fn new(resource: &ResourceId, value: Value) -> Draft {
        Draft {
            resource: resource.clone(),
            namespace: String::new(),
            value,
        }
    }

    /// The same in a namespace.
    #[must_use]
    pub fn within(mut self, namespace: &str) -> Draft {
        namespace.clone_into(&mut self.namespace);
        self.value["metadata"]["namespace"] = namespace.into();
        self
    }

    /// Name of the object.
    #[must_use]
    pub fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }
}

/// Stamps and encodes objects.
#[derive(Clone)]
pub struct Maker {
    seams: Seams,
    forms: Arc<Forms>,
}

impl Maker {
    /// Takes time and uids from `seams` and the stored form of a resource from `forms`.
    #[must_use]
    pub fn new(seams: Seams, forms: Arc<Forms>) -> Maker {
        Maker { seams, forms }
    }

    /// Stored forms of resources.
    #[must_use]
    pub fn forms(&self) -> &Arc<Forms> {
        &self.forms
    }

    /// Clock, chance, spawning.
    #[must_use]
    pub fn seams(&self) -> &Seams {
        &self.seams
    }

    /// Now, as metadata has it.
    #[must_use]
    pub fn now(&self) -> String {
        let micros = self.seams.clock.wall().as_micros();
        hanse_wire::time::format(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    /// Gives a new object its uid and time.
    pub fn stamp(&self, value: &mut Value, now: &str) {
        value["metadata"]["uid"] = self.seams.rng.uuid_v4().into();
        value["metadata"]["creationTimestamp"] = now.into();
    }

    /// A write that makes the object; it must not be there yet.
    ///
    /// # Errors
    /// A tree that is no object.
    pub fn create(
        &self,
        cluster: &ClusterName,
        mut draft: Draft,
        now: &str,
    ) -> Result<Write, DocumentError> {
        if draft.value["metadata"].get("uid").is_none() {
            self.stamp(&mut draft.value, now);
        }
        let put = self.document(&draft.resource, &draft.value)?;
        let key = ObjectKey::new(
            &draft.resource,
            cluster,
            draft.namespace.as_str(),
            draft.name(),
        );
        Ok(Write {
            key,
            expect: Expect::Absent,
            put: Some(put),
        })
    }

    /// A write that changes an object from what was read.
    ///
    /// # Errors
    /// A tree that is no object.
    pub fn update(&self, old: &Object, value: &Value) -> Result<Write, DocumentError> {
        let put = self.document(&old.key().resource, value)?;
        let expect = Expect::Version(old.resource_version());
        Ok(Write {
            key: old.key().clone(),
            expect,
            put: Some(put),
        })
    }

    /// A write that deletes an object as it was read.
    #[must_use]
    pub fn delete(old: &Object) -> Write {
        let expect = Expect::Version(old.resource_version());
        Write {
            key: old.key().clone(),
            expect,
            put: None,
        }
    }

    fn document(&self, resource: &ResourceId, value: &Value) -> Result<Document, DocumentError> {
        self.forms.document(resource, value)
    }
}

/// A namespace; `create_only` is what bootstrap writes on those of a workspace.
#[must_use]
pub fn namespace(of: &Resources, name: &str, create_only: bool) -> Draft {
    let mut meta = json!({"name": name, "labels": {"kubernetes.io/metadata.name": name}});
    if create_only {
        meta["annotations"] = json!({annotation::CREATE_ONLY: "true"});
    }
    Draft::new(
        &of.namespaces,
        json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": meta,
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
        }),
    )
}

/// The service account `default` of a namespace.
#[must_use]
pub fn default_account(of: &Resources, namespace: &str) -> Draft {
    let meta = json!({"name": "default"});
    let value = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta});
    Draft::new(&of.service_accounts, value).within(namespace)
}

/// The ConfigMap with the root CA of a namespace.
#[must_use]
pub fn root_ca(of: &Resources, namespace: &str, pem: &str) -> Draft {
    let annotations = json!({"kubernetes.io/description": ROOT_CA_DESCRIPTION});
    let value = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": ROOT_CA_NAME, "annotations": annotations},
        "data": {"ca.crt": pem},
    });
    Draft::new(&of.config_maps, value).within(namespace)
}

/// A namespace with all that each namespace has.
#[must_use]
pub fn namespace_set(of: &Resources, name: &str, create_only: bool, ca: &str) -> [Draft; 3] {
    [
        namespace(of, name, create_only),
        default_account(of, name),
        root_ca(of, name, ca),
    ]
}

/// The binding that makes the creator of a workspace its admin. `words` is the replication
/// annotation.
#[must_use]
pub fn workspace_admin(of: &Resources, creator: &str, words: &str) -> Draft {
    let annotations = json!({annotation::REPLICATE: words});
    Draft::new(
        &of.cluster_role_bindings,
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": WORKSPACE_ADMIN, "annotations": annotations},
            "roleRef": {"apiGroup": group::RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": group::RBAC, "kind": "User", "name": creator}],
        }),
    )
}

/// An identity secret for an export; `key` is the raw identity (43 characters).
#[must_use]
pub fn identity_secret(of: &Resources, name: &str, key: &str) -> Draft {
    let data = json!({IDENTITY_SECRET_KEY: hanse_wire::base64::encode(key.as_bytes())});
    let value = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
        "data": data, "type": "Opaque",
    });
    Draft::new(&of.secrets, value).within(IDENTITY_NAMESPACE)
}

/// The endpoint slice that an export gets by itself.
#[must_use]
pub fn endpoint_slice(of: &Resources, export: &Object, path: &str) -> Draft {
    let name = &*export.key().name;
    let owner = json!([{"apiVersion": "apis.kcp.io/v1alpha1", "kind": "APIExport",
        "name": name, "uid": export.uid()}]);
    Draft::new(
        &of.endpoint_slices,
        json!({
            "apiVersion": "apis.kcp.io/v1alpha1", "kind": "APIExportEndpointSlice",
            "metadata": {"name": name, "generation": 1, "ownerReferences": owner},
            "spec": {"export": {"name": name, "path": path}},
            "status": {},
        }),
    )
}

/// A LogicalCluster without spec and status of its own yet.
#[must_use]
pub fn logical_cluster(of: &Resources, annotations: Map<String, Value>, spec: Value) -> Draft {
    Draft::new(
        &of.logical_clusters,
        json!({
            "apiVersion": "core.kcp.io/v1alpha1", "kind": "LogicalCluster",
            "metadata": {
                "name": cluster::OBJECT_NAME, "annotations": annotations, "generation": 1,
                "finalizers": [finalizer::LOGICAL_CLUSTER_DELETION], "labels": {},
            },
            "spec": spec, "status": {},
        }),
    )
}

/// An APIBinding to an export, not yet bound. `claims` are accepted claims.
#[must_use]
pub fn api_binding(
    of: &Resources,
    name: &str,
    path: &str,
    export: (&str, &str),
    export_cluster: &str,
    claims: Vec<Value>,
) -> Draft {
    let (export_path, export_name) = export;
    let export_hash = hash::export_hash(export_cluster, export_name);
    let reflexive = format!("{}{export_hash}", label::CLAIMED_PREFIX);
    let labels = json!({
        reflexive: hanse_apis::kcp::REFLEXIVE_CLAIM_VALUE, label::EXPORT: export_hash,
    });
    let mut annotations = Map::new();
    if !path.is_empty() {
        annotations.insert(annotation::PATH.into(), path.into());
    }
    let mut spec = json!({"reference": {"export": {"name": export_name, "path": export_path}}});
    if !claims.is_empty() {
        spec["permissionClaims"] = claims.into();
    }
    Draft::new(
        &of.api_bindings,
        json!({
            "apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIBinding",
            "metadata": {
                "name": name, "annotations": annotations, "generation": 1, "labels": labels,
                "finalizers": [finalizer::API_BINDING],
            },
            "spec": spec, "status": {},
        }),
    )
}

/// The owner annotation once a workspace is Ready: only the name is left.
#[must_use]
pub fn reduced_owner(owner: &str) -> Option<String> {
    let owner: Value = serde_json::from_str(owner).ok()?;
    Some(json!({"username": owner.get("username")?.as_str()?}).to_string())
}

/// The user whom an owner annotation names.
#[must_use]
pub fn owner_name(owner: &str) -> Option<String> {
    let owner: Value = serde_json::from_str(owner).ok()?;
    Some(owner.get("username")?.as_str()?.to_owned())
}

/// Replication words of the binding `workspace-admin`: its role is `cluster-admin`.
#[must_use]
pub fn admin_words(cluster_is_replicated: bool) -> &'static str {
    if cluster_is_replicated {
        "apis.kcp.io,core.kcp.io,tenancy.kcp.io"
    } else {
        "apis.kcp.io,tenancy.kcp.io"
    }
}

/// The owner annotation of `root`.
#[must_use]
pub fn root_owner() -> String {
    json!({"username": user::ROOT_OWNER}).to_string()
}

/// Sets the phase of a Workspace or LogicalCluster, in status and label. True if it changed.
pub fn set_phase(object: &mut Value, phase: &str) -> bool {
    let labelled = object["metadata"]["labels"][label::PHASE].as_str() == Some(phase);
    if labelled && object["status"]["phase"].as_str() == Some(phase) {
        return false;
    }
    object["status"]["phase"] = phase.into();
    object["metadata"]["labels"][label::PHASE] = phase.into();
    true
}
