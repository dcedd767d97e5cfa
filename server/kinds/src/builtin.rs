//! The built-in kinds as rows (kcp-api.md 2.1, kubernetes-api.md 49).
//!
//! Start at [`ROWS`]. A row says what differs between kinds in a handful of words; what its
//! objects look like comes from the data files, what it does beyond that from [`crate::hooks`].
//! [`builtin`] is the rows made whole, once.

use std::sync::{Arc, OnceLock};

use hanse_apply::types::TypeSchema;
use hanse_json::{Limits, Map, Value, json, parse};
use hanse_schema::names::NameRule;
use hanse_wire::gvk::SmolStr;
use hanse_wire::{GroupVersion, GroupVersionKind};
use sha2::{Digest, Sha256};

use crate::def::{
    CompiledKind, Conversion, Flags, Hooks, ResourceDef, SelectableField, Shape, StorageRef,
    Subresource,
};
use crate::native::{NativeType, Types};
use crate::table::{self, Columns, NativeColumns};
use crate::{events, hooks};

const COMPONENTS: &str = include_str!("../data/components.json");
/// Kept as text, read when a document is made: nothing of it is resident before.
const DESCRIPTIONS: &str = include_str!("../data/descriptions.json");
const GO_FIELDS: &str = include_str!("../data/go-fields.json");

/// The verbs of stored kinds, in the order of discovery.
pub const FULL: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
const NO_DELETE_COLLECTION: &[&str] = &[
    "create", "delete", "get", "list", "patch", "update", "watch",
];
const CREATE: &[&str] = &["create"];
const STATUS: &[&str] = &["get", "patch", "update"];
const FINALIZE: &[&str] = &["update"];

/// The order in which discovery lists the groups of Kubernetes; all others come behind them.
pub const GROUP_ORDER: [&str; 10] = [
    "",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "rbac.authorization.k8s.io",
    "admissionregistration.k8s.io",
    "events.k8s.io",
    "apiextensions.k8s.io",
    "flowcontrol.apiserver.k8s.io",
];

/// The place of a group in discovery; groups of custom resources share the last one.
pub fn group_rank(group: &str) -> usize {
    GROUP_ORDER
        .iter()
        .position(|known| *known == group)
        .unwrap_or(GROUP_ORDER.len())
}

/// Name, verbs, and the kind if it is another than the resource's own.
type SubRow = (
    &'static str,
    &'static [&'static str],
    Option<[&'static str; 3]>,
);

#[derive(Clone, Copy)]
struct Row {
    group: &'static str,
    /// `io.k8s.api.` and this is the component.
    component: &'static str,
    plural: &'static str,
    namespaced: bool,
    short: &'static [&'static str],
    verbs: &'static [&'static str],
    subresources: &'static [SubRow],
    columns: Option<&'static NativeColumns>,
    selectable: &'static [&'static str],
    names: NameRule,
    flags: &'static str,
    hooks: &'static Hooks,
}

/// Flags: `c` create on update, `u` unconditional update, `g` generation, `o` deletion returns the
/// object, `r` review, `m` status writes change metadata.
fn flags(text: &str) -> Flags {
    Flags {
        create_on_update: text.contains('c'),
        unconditional_update: text.contains('u'),
        generation: text.contains('g'),
        returns_deleted: text.contains('o'),
        native: true,
        strategic_merge: true,
        review: text.contains('r'),
        bare_items: true,
        system: false,
        status_metadata: text.contains('m'),
    }
}

const STORED: Row = Row {
    group: "",
    component: "",
    plural: "",
    namespaced: false,
    short: &[],
    verbs: FULL,
    subresources: &[],
    columns: None,
    selectable: &[],
    names: NameRule::DnsSubdomain,
    flags: "u",
    hooks: &hooks::NONE,
};
const NAMESPACED: Row = Row {
    namespaced: true,
    ..STORED
};
const REVIEW: Row = Row {
    verbs: CREATE,
    flags: "r",
    names: NameRule::Any,
    ..STORED
};
const RBAC: Row = Row {
    group: "rbac.authorization.k8s.io",
    names: NameRule::PathSegment,
    flags: "cu",
    ..STORED
};
const ADMISSION: Row = Row {
    group: "admissionregistration.k8s.io",
    flags: "g",
    ..STORED
};
const STATUS_ONLY: &[SubRow] = &[("status", STATUS, None)];

const EVENT_FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];
const NEW_EVENT_FIELDS: &[&str] = &[
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "regarding.apiVersion",
    "regarding.resourceVersion",
    "regarding.fieldPath",
    "reason",
    "reportingController",
    "type",
];

static ROWS: &[Row] = &[
    Row {
        component: "core.v1.ConfigMap",
        plural: "configmaps",
        short: &["cm"],
        columns: Some(&table::CONFIG_MAP),
        hooks: &hooks::CONFIG_MAP,
        ..NAMESPACED
    },
    Row {
        component: "core.v1.Event",
        plural: "events",
        short: &["ev"],
        columns: Some(&table::EVENT),
        selectable: EVENT_FIELDS,
        flags: "cu",
        hooks: &hooks::EVENT,
        ..NAMESPACED
    },
    Row {
        component: "core.v1.Namespace",
        plural: "namespaces",
        short: &["ns"],
        verbs: NO_DELETE_COLLECTION,
        subresources: &[("finalize", FINALIZE, None), ("status", STATUS, None)],
        columns: Some(&table::NAMESPACE),
        selectable: &["status.phase", "name"],
        names: NameRule::DnsLabel,
        flags: "uom",
        hooks: &hooks::NAMESPACE,
        ..STORED
    },
    Row {
        component: "core.v1.ResourceQuota",
        plural: "resourcequotas",
        short: &["quota"],
        subresources: STATUS_ONLY,
        columns: Some(&table::RESOURCE_QUOTA),
        flags: "uom",
        hooks: &hooks::RESOURCE_QUOTA,
        ..NAMESPACED
    },
    Row {
        component: "core.v1.Secret",
        plural: "secrets",
        columns: Some(&table::SECRET),
        selectable: &["type"],
        hooks: &hooks::SECRET,
        ..NAMESPACED
    },
    Row {
        component: "core.v1.ServiceAccount",
        plural: "serviceaccounts",
        short: &["sa"],
        subresources: &[(
            "token",
            CREATE,
            Some(["authentication.k8s.io", "v1", "TokenRequest"]),
        )],
        columns: Some(&table::SERVICE_ACCOUNT),
        flags: "uo",
        hooks: &hooks::SERVICE_ACCOUNT,
        ..NAMESPACED
    },
    Row {
        group: "authentication.k8s.io",
        component: "authentication.v1.SelfSubjectReview",
        plural: "selfsubjectreviews",
        ..REVIEW
    },
    Row {
        group: "authentication.k8s.io",
        component: "authentication.v1.TokenReview",
        plural: "tokenreviews",
        ..REVIEW
    },
    Row {
        group: "authorization.k8s.io",
        component: "authorization.v1.LocalSubjectAccessReview",
        plural: "localsubjectaccessreviews",
        namespaced: true,
        ..REVIEW
    },
    Row {
        group: "authorization.k8s.io",
        component: "authorization.v1.SelfSubjectAccessReview",
        plural: "selfsubjectaccessreviews",
        ..REVIEW
    },
    Row {
        group: "authorization.k8s.io",
        component: "authorization.v1.SelfSubjectRulesReview",
        plural: "selfsubjectrulesreviews",
        ..REVIEW
    },
    Row {
        group: "authorization.k8s.io",
        component: "authorization.v1.SubjectAccessReview",
        plural: "subjectaccessreviews",
        ..REVIEW
    },
    Row {
        group: "certificates.k8s.io",
        component: "certificates.v1.CertificateSigningRequest",
        plural: "certificatesigningrequests",
        short: &["csr"],
        subresources: &[("approval", STATUS, None), ("status", STATUS, None)],
        columns: Some(&table::CSR),
        selectable: &["spec.signerName"],
        hooks: &hooks::CSR,
        ..STORED
    },
    Row {
        group: "coordination.k8s.io",
        component: "coordination.v1.Lease",
        plural: "leases",
        columns: Some(&table::LEASE),
        flags: "c",
        hooks: &hooks::LEASE,
        ..NAMESPACED
    },
    Row {
        component: "rbac.v1.ClusterRoleBinding",
        plural: "clusterrolebindings",
        columns: Some(&table::BINDING),
        hooks: &hooks::CLUSTER_ROLE_BINDING,
        ..RBAC
    },
    Row {
        component: "rbac.v1.ClusterRole",
        plural: "clusterroles",
        hooks: &hooks::CLUSTER_ROLE,
        ..RBAC
    },
    Row {
        component: "rbac.v1.RoleBinding",
        plural: "rolebindings",
        namespaced: true,
        columns: Some(&table::BINDING),
        hooks: &hooks::ROLE_BINDING,
        ..RBAC
    },
    Row {
        component: "rbac.v1.Role",
        plural: "roles",
        namespaced: true,
        hooks: &hooks::ROLE,
        ..RBAC
    },
    Row {
        component: "admissionregistration.v1.MutatingAdmissionPolicy",
        plural: "mutatingadmissionpolicies",
        columns: Some(&table::MUTATING_POLICY),
        hooks: &hooks::MUTATING_POLICY,
        ..ADMISSION
    },
    Row {
        component: "admissionregistration.v1.MutatingAdmissionPolicyBinding",
        plural: "mutatingadmissionpolicybindings",
        columns: Some(&table::POLICY_BINDING),
        hooks: &hooks::MUTATING_BINDING,
        ..ADMISSION
    },
    Row {
        component: "admissionregistration.v1.MutatingWebhookConfiguration",
        plural: "mutatingwebhookconfigurations",
        columns: Some(&table::WEBHOOKS),
        hooks: &hooks::MUTATING_WEBHOOK,
        ..ADMISSION
    },
    Row {
        component: "admissionregistration.v1.ValidatingAdmissionPolicy",
        plural: "validatingadmissionpolicies",
        subresources: STATUS_ONLY,
        columns: Some(&table::VALIDATING_POLICY),
        hooks: &hooks::VALIDATING_POLICY,
        ..ADMISSION
    },
    Row {
        component: "admissionregistration.v1.ValidatingAdmissionPolicyBinding",
        plural: "validatingadmissionpolicybindings",
        columns: Some(&table::POLICY_BINDING),
        hooks: &hooks::VALIDATING_BINDING,
        ..ADMISSION
    },
    Row {
        component: "admissionregistration.v1.ValidatingWebhookConfiguration",
        plural: "validatingwebhookconfigurations",
        columns: Some(&table::WEBHOOKS),
        hooks: &hooks::VALIDATING_WEBHOOK,
        ..ADMISSION
    },
    Row {
        group: "events.k8s.io",
        component: "events.v1.Event",
        plural: "events",
        short: &["ev"],
        columns: Some(&table::NEW_EVENT),
        selectable: NEW_EVENT_FIELDS,
        flags: "cu",
        hooks: &hooks::NEW_EVENT,
        ..NAMESPACED
    },
    Row {
        group: "apiextensions.k8s.io",
        component: "CustomResourceDefinition",
        plural: "customresourcedefinitions",
        short: &["crd", "crds"],
        subresources: STATUS_ONLY,
        flags: "g",
        hooks: &hooks::CRD,
        ..STORED
    },
];

impl Row {
    fn component(&self) -> String {
        match self.group {
            "apiextensions.k8s.io" => format!(
                "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.{}",
                self.component
            ),
            _ => format!("io.k8s.api.{}", self.component),
        }
    }

    fn def(&self, schema: CompiledKind) -> ResourceDef {
        let kind: SmolStr = self.component.rsplit('.').next().unwrap_or_default().into();
        let is_new_event = self.group == "events.k8s.io";
        let storage_group = if is_new_event { "" } else { self.group };
        let extension = matches!(
            self.group,
            "apiextensions.k8s.io" | "admissionregistration.k8s.io"
        );
        ResourceDef {
            group: self.group.into(),
            version: "v1".into(),
            plural: self.plural.into(),
            singular: kind.to_lowercase().into(),
            list_kind: format!("{kind}List").into(),
            namespaced: self.namespaced,
            short_names: self.short.iter().map(|name| (*name).into()).collect(),
            categories: if extension {
                vec!["api-extensions".into()]
            } else {
                Vec::new()
            },
            verbs: self.verbs,
            subresources: self.subresources.iter().map(subresource).collect(),
            schema: Arc::new(schema),
            columns: match self.columns {
                Some(columns) => Columns::Native(columns),
                None if self.flags.contains('r') => Columns::None,
                None => Columns::Default,
            },
            selectable: self
                .selectable
                .iter()
                .map(|label| selectable(label))
                .collect(),
            flags: flags(self.flags),
            name_rule: self.names,
            storage: StorageRef {
                group: storage_group.into(),
                resource: self.plural.into(),
                identity: SmolStr::default(),
            },
            storage_version: GroupVersion::new(storage_group, "v1"),
            storage_kind: kind.clone(),
            served_versions: vec!["v1".into()],
            conversion: match is_new_event {
                true => Conversion::Native(events::convert),
                false => Conversion::None,
            },
            hooks: *self.hooks,
            deprecation: None,
            terminating: false,
            kind,
        }
    }
}

fn subresource(row: &SubRow) -> Subresource {
    let (name, verbs, kind) = row;
    let kind = kind.map(|[group, version, kind]| GroupVersionKind::new(group, version, kind));
    Subresource {
        name: (*name).into(),
        kind,
        verbs,
        scale: None,
    }
}

fn selectable(label: &str) -> SelectableField {
    let mut field = SelectableField::new(label);
    let path = |path: &[&str]| path.iter().map(|name| SmolStr::from(*name)).collect();
    match label {
        "name" => field.path = path(&["metadata", "name"]),
        "source" => {
            field.path = path(&["source", "component"]);
            field.otherwise = Some(path(&["reportingComponent"]));
        }
        "reportingController" => field.index = "reportingComponent".into(),
        _ => {
            if let Some(rest) = label.strip_prefix("regarding.") {
                field.index = format!("involvedObject.{rest}").into();
            }
        }
    }
    field
}

fn compile(
    component: &str,
    components: &Map<String, Value>,
    types: &Arc<Types>,
) -> Option<CompiledKind> {
    let root = json!({"$ref": format!("#/components/schemas/{component}")});
    let hash = Sha256::new()
        .chain_update(COMPONENTS)
        .chain_update(GO_FIELDS);
    Some(CompiledKind {
        hash: hash.chain_update(component).finalize().into(),
        types: TypeSchema::compile(&root, components),
        shape: Shape::Native(types.native(component)?),
    })
}

fn read(text: &str) -> Value {
    parse(text.as_bytes(), &Limits::default())
        .map(|parsed| parsed.value)
        .unwrap_or_default()
}

/// The OpenAPI components of the built-in kinds, by name; read anew at each call.
pub(crate) fn components() -> Map<String, Value> {
    match read(COMPONENTS) {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The components with what Kubernetes says about types and fields, for OpenAPI documents.
pub(crate) fn described_components() -> Map<String, Value> {
    let mut components = components();
    let Value::Object(texts) = read(DESCRIPTIONS) else {
        return components;
    };
    for (name, texts) in texts {
        let (Some(component), Value::Object(texts)) = (components.get_mut(&name), texts) else {
            continue;
        };
        for (field, text) in texts {
            let place = match field.as_str() {
                "" => Some(&mut *component),
                field => component
                    .get_mut("properties")
                    .and_then(|all| all.get_mut(field)),
            };
            // Beside a reference nothing else may stand.
            if let Some(Value::Object(place)) = place
                && !place.contains_key("$ref")
            {
                place.insert("description".to_owned(), text);
            }
        }
    }
    components
}

/// The OpenAPI component of a kind, or of the list, of a built-in row.
pub(crate) fn component_name(def: &ResourceDef, kind: &str) -> String {
    let row = ROWS
        .iter()
        .find(|row| row.group == def.group && row.plural == def.plural);
    let component = row.map(Row::component).unwrap_or_default();
    let package = component
        .rsplit_once('.')
        .map_or("", |(package, _)| package);
    format!("{package}.{kind}")
}

/// What the data files become: they are parsed once, and their trees do not stay.
struct Loaded {
    types: Arc<Types>,
    defs: Vec<Arc<ResourceDef>>,
}

fn loaded() -> &'static Loaded {
    static LOADED: OnceLock<Loaded> = OnceLock::new();
    LOADED.get_or_init(|| {
        let components = components();
        let types = Arc::new(Types::load(&components, &read(GO_FIELDS)));
        // A test holds that every row has its component.
        let def = |row: &Row| {
            let compiled = compile(&row.component(), &components, &types)?;
            Some(Arc::new(row.def(compiled)))
        };
        let defs = ROWS.iter().filter_map(def).collect();
        Loaded { types, defs }
    })
}

/// All built-in kinds, by group in the order of discovery.
pub fn builtin() -> &'static [Arc<ResourceDef>] {
    &loaded().defs
}

/// A built-in kind by group and plural.
pub fn find(group: &str, plural: &str) -> Option<&'static Arc<ResourceDef>> {
    builtin()
        .iter()
        .find(|def| def.group == group && def.plural == plural)
}

/// The type of a component that is no resource, such as
/// `io.k8s.api.authentication.v1.TokenRequest`: to decode the bodies of subresources.
pub fn decoder(component: &str) -> Option<NativeType> {
    loaded().types.native(component)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_component() {
        assert_eq!(builtin().len(), ROWS.len());
        for def in builtin() {
            assert_eq!(def.list_kind, format!("{}List", def.kind));
        }
    }

    #[test]
    fn hashes_of_storage_versions_are_those_of_kubernetes() {
        let hash = |group: &str, plural: &str| find(group, plural).unwrap().storage_version_hash();
        assert_eq!(hash("", "configmaps"), "BcsYVNKF43M=");
        assert_eq!(hash("", "namespaces"), "DYe+LmmEOcs=");
        assert_eq!(hash("rbac.authorization.k8s.io", "roles"), "dL2xUOdnrqs=");
        assert_eq!(hash("events.k8s.io", "events"), hash("", "events"));
        assert_eq!(hash("authentication.k8s.io", "tokenreviews"), "");
    }
}
