//! May this object be so: the built-in admission plugins, in kcp's order.
//!
//! Start with [`MUTATING`] and [`VALIDATING`], the two lists, and [`Admission`], which runs them.
//! A plugin is a function from a request to yes or the exact refusal; all state comes from the
//! hub through [`hanse_auth::View`]. Deliberately elsewhere: schemas (`hanse-schema`), webhooks,
//! policies and quota (not served yet: creating one of their objects is answered with a warning).

mod apis;
mod certificates;
mod claims;
mod lifecycle;
mod logical_clusters;
mod metadata;
mod object_count;
mod request;
mod reserved;
mod sites;
mod workspaces;

pub use claims::Claims;
pub use request::{Operation, Request};

use crate::request::text;
use hanse_apis::kcp::{cluster, group, verb};
use hanse_auth::{Attributes, Authorizer, UserInfo, View, escalation};
use hanse_wire::status::Result;
use std::sync::Arc;

type Plugin = fn(&Admission, &mut Request<'_>) -> Result<()>;

/// Plugins that may change the object, in order.
const MUTATING: [(&str, Plugin); 13] = [
    ("ReservedMetadata", reserved::metadata),
    ("WorkspaceNamespaceLifecycle", lifecycle::namespace),
    ("tenancy.kcp.io/Workspace", workspaces::workspace_mutate),
    ("DeletionFinalizer", metadata::finalizer_mutate),
    ("tenancy.kcp.io/Shard", workspaces::shard),
    (
        "tenancy.kcp.io/WorkspaceTypeExists",
        workspaces::type_mutate,
    ),
    ("core.kcp.io/LogicalCluster", logical_clusters::mutate),
    ("apis.kcp.io/APIBinding", metadata::export_label),
    ("apis.kcp.io/ReservedNames", workspaces::reserved_names),
    ("apis.kcp.io/PermissionClaims", metadata::claim_labels),
    ("kcp.io/PathAnnotation", metadata::path),
    ("sites.hanse.dev/Placement", sites::author),
    ("CertificateRequestor", certificates::requestor),
];

/// Plugins that look at the object as it will be stored, in order.
const VALIDATING: [(&str, Plugin); 17] = [
    ("CertificateApproval", certificates::approval),
    ("CertificateSigning", certificates::signing),
    ("CertificateSubjectRestriction", certificates::subject),
    ("tenancy.kcp.io/APIResourceSchema", apis::resource_schema),
    ("tenancy.kcp.io/Workspace", workspaces::workspace_validate),
    ("DeletionFinalizer", metadata::finalizer_validate),
    ("tenancy.kcp.io/WorkspaceType", workspaces::workspace_type),
    (
        "tenancy.kcp.io/WorkspaceTypeExists",
        workspaces::type_validate,
    ),
    ("core.kcp.io/LogicalCluster", logical_clusters::validate),
    ("apis.kcp.io/APIExport", apis::export),
    ("apis.kcp.io/APIBinding", apis::binding),
    ("apis.kcp.io/APIExportEndpointSlice", apis::endpoint_slice),
    (
        "apis.kcp.io/ReservedCRDAnnotations",
        apis::reserved_crd_annotations,
    ),
    ("kcp.io/ReservedCRDGroups", apis::reserved_crd_groups),
    ("sites.hanse.dev/Placement", sites::placement),
    ("sites.hanse.dev/Site", sites::facts),
    (
        "core.kcp.io/LogicalClusterObjectCountLimit",
        object_count::limit,
    ),
];

/// Kinds that are stored but do nothing yet, as rows.
const WITHOUT_EFFECT: [(&str, &str); 7] = [
    ("", "resourcequotas"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies"),
    (
        "admissionregistration.k8s.io",
        "mutatingadmissionpolicybindings",
    ),
    (
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicybindings",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
    ),
];

/// Runs the plugins.
pub struct Admission {
    authorizer: Arc<Authorizer>,
    claims: Claims,
    object_limit: u64,
}

impl Admission {
    /// Asks `authorizer` where a plugin needs a permission, and looks at what it looks at.
    #[must_use]
    pub fn new(authorizer: Arc<Authorizer>) -> Admission {
        let claims = Claims::new(authorizer.view().clone());
        Admission {
            authorizer,
            claims,
            object_limit: 0,
        }
    }

    /// Sets how many objects a logical cluster may hold unless it says otherwise itself; 0 is no
    /// limit.
    #[must_use]
    pub fn with_object_limit(mut self, limit: u64) -> Admission {
        self.object_limit = limit;
        self
    }

    /// How many objects a logical cluster may hold unless it says otherwise itself.
    pub(crate) fn object_limit(&self) -> u64 {
        self.object_limit
    }

    /// Who decides about permissions.
    #[must_use]
    pub fn authorizer(&self) -> &Arc<Authorizer> {
        &self.authorizer
    }

    /// What the plugins look at.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        self.authorizer.view()
    }

    /// Claim labels.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Runs the mutating plugins: before defaults that depend on them and before validation.
    /// Returns warnings for the client.
    ///
    /// # Errors
    /// The first refusal.
    pub fn admit_mutating(&self, request: &mut Request<'_>) -> Result<Vec<String>> {
        self.check_escalation(request)?;
        for (_, plugin) in MUTATING {
            plugin(self, request)?;
        }
        Ok(warnings(request))
    }

    /// Runs the validating plugins: on the object as it will be stored.
    ///
    /// # Errors
    /// The first refusal.
    pub fn admit_validating(&self, request: &mut Request<'_>) -> Result<()> {
        for (_, plugin) in VALIDATING {
            plugin(self, request)?;
        }
        Ok(())
    }

    fn check_escalation(&self, request: &Request<'_>) -> Result<()> {
        let writes = request.operation != Operation::Delete && request.subresource.is_empty();
        let (true, Some(new)) = (writes && request.group == group::RBAC, &request.object) else {
            return Ok(());
        };
        let write = escalation::Write {
            cluster: request.cluster,
            user: request.user,
            resource: request.resource,
            namespace: request.namespace,
            name: request.name,
            new,
            old: request.old,
        };
        escalation::check(&self.authorizer, &write)
    }

    /// The logical cluster of an export that a binding in `home` names. `root` and the own one
    /// are accepted before the export exists.
    #[must_use]
    pub fn export_cluster(&self, home: &str, path: &str, name: &str) -> Option<String> {
        match path {
            "" => Some(home.to_owned()),
            cluster::ROOT => Some(cluster::ROOT.to_owned()),
            _ => {
                let export = self.view().export(path, name, home)?;
                Some(export.key().cluster.to_string())
            }
        }
    }

    /// True if the export can be found and the user may bind it.
    #[must_use]
    pub fn may_bind(&self, user: &UserInfo, home: &str, path: &str, name: &str) -> bool {
        let Some(cluster) = self.export_cluster(home, path, name) else {
            return false;
        };
        let want = Attributes::resource(user, verb::BIND, group::APIS, "apiexports", name);
        self.authorizer.authorize_deep(&want, &cluster).allowed
    }
}

/// What is stored and has no effect yet is said to whoever stores it.
fn warnings(request: &Request<'_>) -> Vec<String> {
    if !request.subresource.is_empty() {
        return Vec::new();
    }
    let inert = WITHOUT_EFFECT.iter().any(|(g, r)| request.is(g, r));
    if inert && request.operation == Operation::Create {
        return vec![format!(
            "{} are stored but have no effect in this version",
            request.group_resource()
        )];
    }
    let strategy = |object| text(object, &["spec", "conversion", "strategy"]);
    let defines = request.is("apiextensions.k8s.io", "customresourcedefinitions")
        || request.is(group::APIS, "apiresourceschemas");
    let webhook = strategy(request.new_object()) == "Webhook";
    if defines && webhook && strategy(request.old_object()) != "Webhook" {
        let why = "spec.conversion.webhook: not called in this version; only the storage version \
                   can be read and written";
        return vec![why.to_owned()];
    }
    Vec::new()
}
