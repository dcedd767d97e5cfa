//! The table of kinds, and the three documents that each row becomes: a CustomResourceDefinition,
//! an APIResourceSchema and its line in the APIExport.
//!
//! Start at [`KINDS`]. Invariant: `apis/generated/` holds exactly what the functions here return;
//! the test `generated_is_fresh` fails otherwise and rewrites with `UPDATE_GENERATED=1`.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::describe::{Described, object};
use super::{
    ComparisonSpec, ComparisonStatus, Field, GROUP, ManifestSpec, ManifestStatus, PlacementSpec,
    PlacementStatus, PlanSpec, PlanStatus, ProjectionRuleSpec, ProjectionRuleStatus,
    ProjectionSpec, ProjectionStatus, SiteSpec, SiteStatus, VERSION,
};

/// One printer column: name, type, JSON path, description, priority.
pub type Column = (&'static str, &'static str, &'static str, &'static str, i64);

/// One kind of the group.
pub struct Kind {
    /// CamelCase name.
    pub kind: &'static str,
    /// Plural name.
    pub plural: &'static str,
    /// Singular name.
    pub singular: &'static str,
    /// Short names.
    pub short: &'static [&'static str],
    /// What the kind is, for `kubectl explain`.
    pub about: &'static str,
    /// Schema of `spec`.
    pub spec: fn() -> Value,
    /// Schema of `status`, when there is one.
    pub status: Option<fn() -> Value>,
    /// Columns of `kubectl get`.
    pub columns: &'static [Column],
}

const AGE: Column = (
    "Age",
    "date",
    ".metadata.creationTimestamp",
    "Since creation",
    0,
);

/// All kinds of the group; every one is cluster-scoped, and all but the reviews are stored.
pub const KINDS: &[Kind] = &[
    Kind {
        kind: "Site",
        plural: "sites",
        singular: "site",
        short: &[],
        about: "Site is a physical cluster with one syncer in it.",
        spec: SiteSpec::schema,
        status: Some(SiteStatus::schema),
        columns: &[
            (
                "Contact",
                "string",
                ".status.contact",
                "Live, Late or Lost",
                0,
            ),
            (
                "Since",
                "date",
                ".status.contactSince",
                "How long it is so",
                0,
            ),
            (
                "Ready",
                "string",
                ".status.conditions[?(@.type==\"Ready\")].status",
                "Ready",
                0,
            ),
            (
                "Objects",
                "integer",
                ".status.objects",
                "Objects sent to the site",
                0,
            ),
            (
                "Version",
                "string",
                ".status.kubernetesVersion",
                "Kubernetes below",
                0,
            ),
            ("Inbox", "string", ".status.cluster", "The site's inbox", 1),
            (
                "Parked",
                "string",
                ".status.parked",
                "A mass change that waits for the operator",
                1,
            ),
            AGE,
        ],
    },
    Kind {
        kind: "Placement",
        plural: "placements",
        singular: "placement",
        short: &[],
        about: "Placement says which objects of its workspace go to which sites.",
        spec: PlacementSpec::schema,
        status: Some(PlacementStatus::schema),
        columns: &[
            (
                "Sites",
                "integer",
                ".status.chosen",
                "Sites that were chosen",
                0,
            ),
            (
                "Objects",
                "integer",
                ".status.objects",
                "Objects that are placed",
                0,
            ),
            ("Mode", "string", ".spec.spread.mode", "All or Divide", 0),
            (
                "Placed",
                "string",
                ".status.conditions[?(@.type==\"Placed\")].status",
                "Placed",
                0,
            ),
            AGE,
        ],
    },
    Kind {
        kind: "Projection",
        plural: "projections",
        singular: "projection",
        short: &["proj"],
        about: "Projection says where one placed object went and what became of it there.",
        spec: ProjectionSpec::schema,
        status: Some(ProjectionStatus::schema),
        columns: &[
            (
                "Kind",
                "string",
                ".spec.object.kind",
                "Kind of the object",
                0,
            ),
            (
                "Namespace",
                "string",
                ".spec.object.namespace",
                "Namespace of the object",
                0,
            ),
            (
                "Object",
                "string",
                ".spec.object.name",
                "Name of the object",
                0,
            ),
            (
                "Ready",
                "string",
                ".status.ready",
                "Sites where all is well, of all",
                0,
            ),
            (
                "Reason",
                "string",
                ".status.sites[0].error.reason",
                "The worst site's error",
                0,
            ),
            AGE,
        ],
    },
    Kind {
        kind: "Manifest",
        plural: "manifests",
        singular: "manifest",
        short: &[],
        about: "Manifest is one object in a site's inbox.",
        spec: ManifestSpec::schema,
        status: Some(ManifestStatus::schema),
        columns: &[
            (
                "Kind",
                "string",
                ".spec.source.kind",
                "Kind of the object",
                0,
            ),
            (
                "Namespace",
                "string",
                ".spec.target.namespace",
                "Namespace below",
                0,
            ),
            ("Object", "string", ".spec.target.name", "Name below", 0),
            ("State", "string", ".status.state", "What became of it", 0),
            (
                "Reason",
                "string",
                ".status.error.reason",
                "Why it is not applied",
                0,
            ),
            AGE,
        ],
    },
    Kind {
        kind: "Comparison",
        plural: super::COMPARISONS,
        singular: "comparison",
        short: &[],
        about: "Comparison asks how a syncer's hash tree differs from its inbox's.",
        spec: ComparisonSpec::schema,
        status: Some(ComparisonStatus::schema),
        columns: &[AGE],
    },
    Kind {
        kind: "Plan",
        plural: super::PLANS,
        singular: "plan",
        short: &[],
        about: "Plan asks what would change if objects were written, or Sites went.",
        spec: PlanSpec::schema,
        status: Some(PlanStatus::schema),
        columns: &[AGE],
    },
    Kind {
        kind: "ProjectionRule",
        plural: "projectionrules",
        singular: "projectionrule",
        short: &[],
        about: "ProjectionRule says how objects of one kind travel.",
        spec: ProjectionRuleSpec::schema,
        status: Some(ProjectionRuleStatus::schema),
        columns: &[
            ("Group", "string", ".spec.group", "Group of the kind", 0),
            ("Resource", "string", ".spec.resource", "The kind", 0),
            (
                "Valid",
                "string",
                ".status.conditions[?(@.type==\"Valid\")].status",
                "Whether its expressions can be used",
                0,
            ),
            AGE,
        ],
    },
];

impl Kind {
    /// The structural schema of the whole object.
    #[must_use]
    pub fn schema(&self) -> Value {
        let field = |name, docs, schema, required| Described {
            name,
            docs,
            schema,
            required,
            extra: Value::Null,
        };
        let string = || json!({"type": "string"});
        let mut fields = vec![
            field(
                "apiVersion",
                &["Group and version of this object."],
                string(),
                false,
            ),
            field("kind", &["Kind of this object."], string(), false),
            field(
                "metadata",
                &["Standard metadata."],
                json!({"type": "object"}),
                false,
            ),
            field("spec", &["What is wished."], (self.spec)(), true),
        ];
        if let Some(status) = self.status {
            fields.push(field("status", &["What is observed."], status(), false));
        }
        let mut schema = object(&[self.about], fields);
        // A CRD may not say anything about metadata.
        schema["properties"]["metadata"] = json!({"type": "object"});
        schema
    }

    fn names(&self) -> Value {
        json!({
            "plural": self.plural, "singular": self.singular, "shortNames": self.short,
            "kind": self.kind, "listKind": format!("{}List", self.kind), "categories": ["hanse"],
        })
    }

    fn version(&self) -> Map<String, Value> {
        let columns: Vec<Value> = self
            .columns
            .iter()
            .map(|(name, ty, path, about, priority)| {
                let mut c = json!({
                    "name": name, "type": ty, "jsonPath": path, "description": about,
                });
                if *priority != 0 {
                    c["priority"] = json!(priority);
                }
                c
            })
            .collect();
        let mut out = Map::new();
        out.insert("name".into(), json!(VERSION));
        out.insert("served".into(), json!(true));
        out.insert("storage".into(), json!(true));
        out.insert("additionalPrinterColumns".into(), Value::Array(columns));
        if self.status.is_some() && !super::is_review(GROUP, self.plural) {
            out.insert("subresources".into(), json!({"status": {}}));
        }
        out
    }

    /// The kind as a CustomResourceDefinition.
    #[must_use]
    pub fn crd(&self) -> Value {
        let mut version = self.version();
        version.insert("schema".into(), json!({"openAPIV3Schema": self.schema()}));
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{}.{GROUP}", self.plural)},
            "spec": {
                "group": GROUP, "names": self.names(), "scope": "Cluster", "versions": [version],
            },
        })
    }

    /// The kind as an APIResourceSchema. A schema never changes, so its name says its content: a
    /// server that brings another one adds it beside the old, and the export names the new one.
    #[must_use]
    pub fn api_resource_schema(&self) -> Value {
        let mut version = self.version();
        version.insert("schema".into(), self.schema());
        version.entry("subresources").or_insert_with(|| json!({}));
        let spec = json!({
            "group": GROUP, "names": self.names(), "scope": "Cluster", "versions": [version],
        });
        let digest: [u8; 32] = Sha256::digest(spec.to_string().as_bytes()).into();
        let content: String = digest[..4].iter().map(|b| format!("{b:02x}")).collect();
        let name = format!("{SCHEMA_PREFIX}-{content}.{}.{GROUP}", self.plural);
        json!({
            "apiVersion": "apis.kcp.io/v1alpha1", "kind": "APIResourceSchema",
            "metadata": {"name": name}, "spec": spec,
        })
    }
}

/// First part of the schemas' names, before what says their content.
pub const SCHEMA_PREFIX: &str = "v261121";

/// The export of the group; it lives in `root` beside the schemas.
#[must_use]
pub fn api_export() -> Value {
    let resources: Vec<Value> = KINDS
        .iter()
        .map(|k| {
            json!({
                "group": GROUP, "name": k.plural,
                "schema": k.api_resource_schema()["metadata"]["name"],
                "storage": {"crd": {}},
            })
        })
        .collect();
    json!({
        "apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIExport",
        "metadata": {"name": super::EXPORT, "annotations": {"kcp.io/path": "root"}},
        "spec": {
            "identity": {"secretRef": {"name": super::EXPORT, "namespace": "kcp-system"}},
            "maximalPermissionPolicy": {"local": {}},
            "resources": resources,
        },
    })
}

/// Name of the export.
#[must_use]
pub fn api_export_name() -> &'static str {
    super::EXPORT
}

/// Who may bind the export, and what its users may do at most: Projections are the hub's alone,
/// Manifests the hub's and the syncer's.
#[must_use]
pub fn root_rbac() -> Vec<Value> {
    let full = ["sites", "placements", "projectionrules"];
    let role = |name: &str, replicate: &str, rules: Value| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name, "annotations": {"internal.kcp.io/replicate": replicate}},
            "rules": rules,
        })
    };
    let binding = |name: &str, replicate: &str, group: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": name, "annotations": {"internal.kcp.io/replicate": replicate}},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name,
            },
            "subjects": [{
                "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group,
            }],
        })
    };
    let (bind, most) = ("hanse:sites:bind", "hanse:sites:maximal-permission-policy");
    let both = "apis.kcp.io,tenancy.kcp.io";
    let most_rules = json!([
        {"apiGroups": [GROUP], "resources": full, "verbs": ["*"]},
        {"apiGroups": [GROUP], "resources": ["projections", "projections/status",
            "sites/status", "placements/status", "projectionrules/status"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [GROUP], "resources": ["manifests", "manifests/status"],
         "verbs": ["get", "list", "watch", "update", "patch"]},
        {"apiGroups": [GROUP], "resources": ["manifests/token"], "verbs": ["create"]},
        {"apiGroups": [GROUP], "resources": [super::COMPARISONS, super::PLANS],
         "verbs": ["create"]},
    ]);
    let bind_rules = json!([{
        "apiGroups": ["apis.kcp.io"], "resources": ["apiexports"],
        "resourceNames": [super::EXPORT], "verbs": ["bind"],
    }]);
    vec![
        role(bind, "apis.kcp.io", bind_rules),
        binding(bind, "apis.kcp.io", "system:authenticated"),
        role(most, both, most_rules),
        binding(most, both, "apis.kcp.io:binding:system:authenticated"),
    ]
}

/// The type of an inbox: only the server makes one, and it binds this group by default.
#[must_use]
pub fn inbox_type() -> Value {
    json!({
        "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "WorkspaceType",
        "metadata": {"name": super::INBOX_TYPE, "annotations": {"kcp.io/path": "root"}},
        "spec": {
            "defaultAPIBindings": [{"path": "root", "export": super::EXPORT}],
            "limitAllowedChildren": {"none": true},
            "limitAllowedParents": {"none": true},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn documents() -> Vec<(String, Value)> {
        let mut out = Vec::new();
        for kind in KINDS {
            out.push((format!("crd-{}.json", kind.plural), kind.crd()));
            out.push((
                format!("schema-{}.json", kind.plural),
                kind.api_resource_schema(),
            ));
        }
        out.push(("apiexport.json".into(), api_export()));
        out.push(("workspacetype-site.json".into(), inbox_type()));
        out
    }

    #[test]
    fn generated_is_fresh() {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("generated/sites.hanse.dev");
        let update = std::env::var_os("UPDATE_GENERATED").is_some();
        if update {
            std::fs::create_dir_all(&dir).unwrap();
        }
        for (name, document) in documents() {
            let want = format!("{}\n", serde_json::to_string_pretty(&document).unwrap());
            let path = dir.join(&name);
            if update {
                std::fs::write(&path, &want).unwrap();
            }
            let have = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(have, want, "{name} is stale: run with UPDATE_GENERATED=1");
        }
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), documents().len());
    }

    #[test]
    fn every_schema_is_described_and_structural() {
        fn walk(schema: &Value, at: &str) {
            let anything = schema["x-kubernetes-preserve-unknown-fields"] == true;
            assert!(schema.get("type").is_some() || anything, "{at} has no type");
            if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
                for (name, inner) in properties {
                    let here = format!("{at}.{name}");
                    let words = inner["description"].as_str().unwrap_or_default();
                    let silent = words.is_empty() && name != "metadata";
                    assert!(!silent, "{here} has no description");
                    walk(inner, &here);
                }
            }
            if let Some(items) = schema.get("items") {
                walk(items, &format!("{at}[]"));
            }
        }
        for kind in KINDS {
            walk(&kind.schema(), kind.kind);
        }
    }

    #[test]
    fn typed_parts_survive_a_round_trip() {
        let spec = PlacementSpec {
            objects: vec![super::super::ObjectSelector {
                group: "apps".into(),
                resource: "deployments".into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut object = json!({"kind": "Placement"});
        super::super::write(&mut object, "spec", &spec);
        assert_eq!(
            object["spec"],
            json!({"objects": [{"group": "apps", "resource": "deployments"}]})
        );
        assert_eq!(
            super::super::read::<PlacementSpec>(&object, "spec").unwrap(),
            spec
        );
        super::super::write(&mut object, "status", &PlacementStatus::default());
        assert!(object.get("status").is_none());
    }
}
