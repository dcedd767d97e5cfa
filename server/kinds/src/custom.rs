//! Rows for custom resources: from a CRD, or from an APIResourceSchema that is bound.
//!
//! Start at [`ResourceDef::from_crd`] and [`ResourceDef::from_api_resource_schema`]. Both give one
//! row for one served version. Schemas are shared by content across workspaces. A kind that
//! Kubernetes itself defines (a Deployment installed as a CRD) gets the merge keys of its lists
//! from `data/merge-keys.json` and takes strategic merge patches.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use hanse_apply::types::TypeSchema;
use hanse_json::{Limits, Map, Value, get, get_array, get_bool, get_object, get_str, json, parse};
use hanse_schema::Schema;
use hanse_schema::names::NameRule;
use hanse_wire::gvk::SmolStr;
use hanse_wire::table::PrinterColumn;
use hanse_wire::{GroupVersion, GroupVersionKind};
use sha2::{Digest, Sha256};

use crate::def::{
    CUSTOM_RESOURCES, CompiledKind, Conversion, Flags, NO_HOOKS, ResourceDef, ScalePaths,
    SelectableField, Shape, StorageRef, Subresource,
};
use crate::limits::MAX_SELECTABLE_FIELDS;
use crate::table::Columns;

/// The verbs of custom resources, in the order in which kcp's discovery lists them.
pub const CUSTOM_VERBS: &[&str] = &[
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];
const SUBRESOURCE_VERBS: &[&str] = &["get", "patch", "update"];

const MERGE_KEYS: &str = include_str!("../data/merge-keys.json");

impl ResourceDef {
    /// The row of one version of a CustomResourceDefinition. Names are the accepted ones, as far
    /// as there are any yet.
    ///
    /// # Errors
    /// A text if there is no such version, or its schema is not structural.
    pub fn from_crd(crd: &Value, version: &str) -> Result<ResourceDef, String> {
        let accepted = get(crd, &["status", "acceptedNames"])
            .filter(|names| !get_str(names, &["plural"]).unwrap_or_default().is_empty());
        let entry = find_version(crd, version)?;
        let schema = get(entry, &["schema", "openAPIV3Schema"]);
        let mut def = define(&Definition {
            spec: get(crd, &["spec"]).unwrap_or(&Value::Null),
            names: accepted
                .or_else(|| get(crd, &["spec", "names"]))
                .unwrap_or(&Value::Null),
            entry,
            schema,
            identity: CUSTOM_RESOURCES,
        })?;
        def.terminating = get_str(crd, &["metadata", "deletionTimestamp"]).is_some();
        Ok(def)
    }

    /// The row of one version of an APIResourceSchema that is bound under an export's identity.
    ///
    /// # Errors
    /// A text if there is no such version, or its schema is not structural.
    pub fn from_api_resource_schema(
        schema: &Value,
        identity: &str,
        version: &str,
    ) -> Result<ResourceDef, String> {
        let entry = find_version(schema, version)?;
        let spec = get(schema, &["spec"]).unwrap_or(&Value::Null);
        define(&Definition {
            spec,
            names: get(spec, &["names"]).unwrap_or(&Value::Null),
            entry,
            schema: get(entry, &["schema"]),
            identity,
        })
    }
}

fn find_version<'v>(object: &'v Value, version: &str) -> Result<&'v Value, String> {
    let mut versions = get_array(object, &["spec", "versions"]).iter();
    versions
        .find(|entry| get_str(entry, &["name"]) == Some(version))
        .ok_or_else(|| format!("there is no version {version}"))
}

struct Definition<'v> {
    spec: &'v Value,
    names: &'v Value,
    entry: &'v Value,
    schema: Option<&'v Value>,
    identity: &'v str,
}

fn define(from: &Definition<'_>) -> Result<ResourceDef, String> {
    let text = |name: &str| get_str(from.names, &[name]).unwrap_or_default();
    let group = get_str(from.spec, &["group"]).unwrap_or_default();
    let kind = text("kind");
    let version = get_str(from.entry, &["name"]).unwrap_or_default();
    let or = |text: &str, default: String| -> SmolStr {
        if text.is_empty() {
            default.into()
        } else {
            text.into()
        }
    };
    let versions = get_array(from.spec, &["versions"]);
    let stored = versions
        .iter()
        .find(|v| get_bool(v, &["storage"]) == Some(true));
    let storage_version = stored
        .and_then(|v| get_str(v, &["name"]))
        .unwrap_or(version);
    let review = hanse_apis::sites::is_review(group, text("plural"));
    let list = |name: &str| -> Vec<SmolStr> {
        let items = get_array(from.names, &[name])
            .iter()
            .filter_map(Value::as_str);
        items.map(SmolStr::from).collect()
    };
    Ok(ResourceDef {
        group: group.into(),
        version: version.into(),
        plural: text("plural").into(),
        singular: or(text("singular"), kind.to_lowercase()),
        kind: kind.into(),
        list_kind: or(text("listKind"), format!("{kind}List")),
        namespaced: get_str(from.spec, &["scope"]) == Some("Namespaced"),
        short_names: list("shortNames"),
        categories: list("categories"),
        verbs: if review { &["create"] } else { CUSTOM_VERBS },
        subresources: subresources(from.entry, hanse_apis::sites::mints(group, text("plural"))),
        schema: compile(group, kind, from.schema)?,
        columns: Columns::Printer(columns(from.entry)),
        selectable: selectable(from.entry),
        flags: Flags {
            generation: !review,
            review,
            strategic_merge: native_merge_table(group, kind).is_some(),
            ..Flags::default()
        },
        name_rule: match get_str(from.spec, &["nameValidation"]) {
            Some("PathSegmentName") => NameRule::PathSegment,
            _ => NameRule::DnsSubdomain,
        },
        storage: StorageRef {
            group: group.into(),
            resource: text("plural").into(),
            identity: from.identity.into(),
        },
        storage_version: GroupVersion::new(group, storage_version),
        storage_kind: kind.into(),
        served_versions: served_versions(versions),
        conversion: match get_str(from.spec, &["conversion", "strategy"]) {
            Some("Webhook") => Conversion::Webhook,
            _ => Conversion::None,
        },
        hooks: NO_HOOKS,
        deprecation: deprecation(group, kind, from.entry, versions),
        terminating: false,
    })
}

/// Compiled kinds by content, however many workspaces serve them.
static SHARED: Mutex<BTreeMap<[u8; 32], Weak<CompiledKind>>> = Mutex::new(BTreeMap::new());

fn compile(group: &str, kind: &str, source: Option<&Value>) -> Result<Arc<CompiledKind>, String> {
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let source = source.unwrap_or(&anything);
    let schema = Schema::compile(source).map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        texts.join(", ")
    })?;
    let facts = native_merge_table(group, kind);
    let key = match facts {
        None => schema.hash(),
        Some(_) => {
            let of_schema = Sha256::new().chain_update(schema.hash());
            of_schema
                .chain_update(format!("{group}/{kind}"))
                .finalize()
                .into()
        }
    };
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = shared.get(&key).and_then(Weak::upgrade) {
        return Ok(found);
    }
    let types = match facts {
        None => TypeSchema::compile(source, &Map::new()),
        Some(_) => {
            let mut annotated = source.clone();
            annotate_all(&mut annotated, group, kind);
            TypeSchema::compile(&annotated, &Map::new())
        }
    };
    let fresh = Arc::new(CompiledKind {
        hash: schema.hash(),
        types,
        shape: Shape::Structural(schema),
    });
    shared.retain(|_, weak| weak.strong_count() > 0);
    shared.insert(key, Arc::downgrade(&fresh));
    Ok(fresh)
}

/// How a list or map of a kind of Kubernetes merges in strategic merge patches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeFact {
    /// `merge`, `retainKeys`, or both with a comma.
    pub strategy: SmolStr,
    /// The field that tells items apart; none for scalars.
    pub key: Option<SmolStr>,
}

/// Paths (`spec.template.spec.containers.*.env`) and how they merge.
pub type MergeTable = Vec<(SmolStr, MergeFact)>;

/// The merge facts of a kind that Kubernetes defines, none where it has no such list; `None` for
/// kinds of others.
pub fn native_merge_table(group: &str, kind: &str) -> Option<&'static MergeTable> {
    static TABLES: OnceLock<Vec<(String, MergeTable)>> = OnceLock::new();
    let tables = TABLES.get_or_init(|| {
        let parsed = parse(MERGE_KEYS.as_bytes(), &Limits::default());
        let parsed = parsed.map(|parsed| parsed.value).unwrap_or_default();
        let table = |facts: &Value| -> MergeTable {
            let facts = get_object(facts, &[]).into_iter().flatten();
            facts
                .map(|(path, fact)| (path.into(), merge_fact(fact)))
                .collect()
        };
        let kinds = get_object(&parsed, &[]).into_iter().flatten();
        kinds
            .map(|(name, facts)| (name.clone(), table(facts)))
            .collect()
    });
    let name = format!("{group}/{kind}");
    let at = tables
        .binary_search_by(|(known, _)| known.as_str().cmp(&name))
        .ok()?;
    Some(&tables[at].1)
}

fn merge_fact(fact: &Value) -> MergeFact {
    let part = |i: usize| fact.get(i).and_then(Value::as_str).map(SmolStr::from);
    MergeFact {
        strategy: part(0).unwrap_or_default(),
        key: part(1),
    }
}

/// Writes the merge facts of a kind of Kubernetes into its schema, where that has their paths.
pub(crate) fn annotate_all(schema: &mut Value, group: &str, kind: &str) {
    for (path, fact) in native_merge_table(group, kind).into_iter().flatten() {
        annotate(schema, path, fact);
    }
}

fn annotate(schema: &mut Value, path: &str, fact: &MergeFact) {
    let place = path.split('.').try_fold(schema, |at, step| match step {
        "*" if at.get("items").is_some() => at.get_mut("items"),
        "*" => at.get_mut("additionalProperties"),
        name => at.get_mut("properties")?.get_mut(name),
    });
    if let Some(Value::Object(place)) = place {
        place.insert(
            "x-kubernetes-patch-strategy".into(),
            json!(fact.strategy.as_str()),
        );
        if let Some(key) = &fact.key {
            place.insert("x-kubernetes-patch-merge-key".into(), json!(key.as_str()));
        }
    }
}

/// `mints`: whether the server adds a TokenRequest, which no schema can ask for.
fn subresources(entry: &Value, mints: bool) -> Vec<Subresource> {
    let mut out = Vec::new();
    let sub = |name: &str, kind: Option<GroupVersionKind>, scale: Option<ScalePaths>| Subresource {
        name: name.into(),
        kind,
        verbs: SUBRESOURCE_VERBS,
        scale,
    };
    if get_object(entry, &["subresources", "status"]).is_some() {
        out.push(sub("status", None, None));
    }
    if let Some(scale) = get(entry, &["subresources", "scale"]) {
        let path = |name: &str| -> Option<Vec<SmolStr>> {
            let text = get_str(scale, &[name]).filter(|text| !text.is_empty())?;
            Some(
                text.trim_start_matches('.')
                    .split('.')
                    .map(SmolStr::from)
                    .collect(),
            )
        };
        let paths = ScalePaths {
            spec_replicas: path("specReplicasPath").unwrap_or_default(),
            status_replicas: path("statusReplicasPath").unwrap_or_default(),
            label_selector: path("labelSelectorPath"),
        };
        let kind = GroupVersionKind::new("autoscaling", "v1", "Scale");
        out.push(sub("scale", Some(kind), Some(paths)));
    }
    if mints {
        let kind = GroupVersionKind::new("authentication.k8s.io", "v1", "TokenRequest");
        out.push(Subresource {
            verbs: &["create"],
            ..sub("token", Some(kind), None)
        });
    }
    out
}

fn columns(entry: &Value) -> Vec<PrinterColumn> {
    match get_array(entry, &["additionalPrinterColumns"]) {
        [] => PrinterColumn::age().into_iter().collect(),
        columns => columns
            .iter()
            .filter_map(PrinterColumn::from_json)
            .collect(),
    }
}

fn selectable(entry: &Value) -> Vec<SelectableField> {
    let fields = get_array(entry, &["selectableFields"]).iter();
    let labels = fields.filter_map(|field| get_str(field, &["jsonPath"]));
    let labels = labels.map(|path| path.strip_prefix('.').unwrap_or(path));
    labels
        .take(MAX_SELECTABLE_FIELDS)
        .map(SelectableField::new)
        .collect()
}

fn served_versions(versions: &[Value]) -> Vec<SmolStr> {
    let served = versions
        .iter()
        .filter(|v| get_bool(v, &["served"]) == Some(true));
    let mut names: Vec<&str> = served.filter_map(|v| get_str(v, &["name"])).collect();
    names.sort_by(|a, b| compare_versions(b, a));
    names.into_iter().map(SmolStr::from).collect()
}

fn deprecation(group: &str, kind: &str, entry: &Value, versions: &[Value]) -> Option<String> {
    if get_bool(entry, &["deprecated"]) != Some(true) {
        return None;
    }
    if let Some(warning) = get_str(entry, &["deprecationWarning"]) {
        return Some(warning.to_owned());
    }
    let this = get_str(entry, &["name"]).unwrap_or_default();
    let stable = |name: &str| parse_version(name).map(|(stability, ..)| stability);
    let better = versions
        .iter()
        .filter(|v| get_bool(v, &["served"]) == Some(true))
        .filter(|v| get_bool(v, &["deprecated"]) != Some(true))
        .filter_map(|v| get_str(v, &["name"]))
        .filter(|name| compare_versions(name, this).is_gt() && stable(name) >= stable(this))
        .max_by(|a, b| compare_versions(a, b));
    let used = GroupVersion::new(group, this);
    Some(match better {
        Some(name) => {
            let instead = GroupVersion::new(group, name);
            format!("{used} {kind} is deprecated; use {instead} {kind}")
        }
        None => format!("{used} {kind} is deprecated"),
    })
}

/// Stability (GA 3, beta 2, alpha 1), major and minor number of a version like `v2beta1`.
fn parse_version(name: &str) -> Option<(u8, u64, u64)> {
    let rest = name.strip_prefix('v')?;
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (major, rest) = rest.split_at(digits);
    let major = major.parse().ok()?;
    let minor = |text: &str| text.parse().ok();
    if rest.is_empty() {
        return Some((3, major, 0));
    }
    if let Some(rest) = rest.strip_prefix("beta") {
        return Some((2, major, minor(rest)?));
    }
    Some((1, major, minor(rest.strip_prefix("alpha")?)?))
}

/// The order of Kubernetes' versions: the greater one is preferred. What is no such version is
/// behind all that are, in reverse alphabetical order.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    match (parse_version(a), parse_version(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => b.cmp(a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crd() -> Value {
        json!({
            "spec": {
                "group": "example.com", "scope": "Namespaced",
                "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
                "versions": [
                    {"name": "v1beta1", "served": true, "storage": false, "deprecated": true,
                     "schema": {"openAPIV3Schema": {"type": "object"}}},
                    {"name": "v1", "served": true, "storage": true,
                     "subresources": {"status": {}, "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas"}},
                     "selectableFields": [{"jsonPath": ".spec.color"}],
                     "additionalPrinterColumns": [
                        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                     "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                        "spec": {"type": "object", "properties": {
                            "color": {"type": "string"}, "size": {"type": "integer"}}}}}}},
                ],
            },
        })
    }

    #[test]
    fn reads_a_crd() {
        let def = ResourceDef::from_crd(&crd(), "v1").unwrap();
        assert_eq!(
            (def.singular.as_str(), def.list_kind.as_str()),
            ("widget", "WidgetList")
        );
        assert_eq!(def.served_versions, ["v1", "v1beta1"]);
        assert!(def.has_status() && def.namespaced && def.flags.generation);
        let scale = def.subresource("scale").unwrap().scale.as_ref().unwrap();
        assert_eq!(scale.spec_replicas, ["spec", "replicas"]);
        let object = json!({"metadata": {"name": "x"}, "spec": {"color": "red", "size": 3}});
        assert_eq!(def.columns.cells(&object, 0), [json!("x"), json!(3)]);
        assert_eq!(def.field(&object, "spec.color"), "red");
        assert_eq!(
            def.fields(&json!({})),
            [("spec.color".into(), String::new())]
        );
        let changed = json!({"metadata": {"name": "y"}, "spec": {"color": "red", "size": 4}});
        assert!(def.changes_generation(&changed, &object));
        let status = json!({"spec": {"color": "red", "size": 3.0}, "status": {"a": 1}});
        assert!(!def.changes_generation(&status, &object));
        assert!(ResourceDef::from_crd(&crd(), "v2").is_err());
        let again = ResourceDef::from_crd(&crd(), "v1").unwrap();
        assert!(Arc::ptr_eq(&def.schema, &again.schema), "compiled once");
    }

    #[test]
    fn warns_of_deprecated_versions() {
        let def = ResourceDef::from_crd(&crd(), "v1beta1").unwrap();
        let text = "example.com/v1beta1 Widget is deprecated; use example.com/v1 Widget";
        assert_eq!(def.deprecation.as_deref(), Some(text));
    }

    #[test]
    fn refuses_unknown_field_selectors_in_the_words_of_the_kind() {
        use hanse_wire::selector::FieldSelector;
        let check = |def: &ResourceDef, text: &str| {
            let result = def.check_field_selector(&FieldSelector::parse(text).unwrap());
            result.map_err(|status| status.message)
        };
        let widget = ResourceDef::from_crd(&crd(), "v1").unwrap();
        assert!(check(&widget, "metadata.name=x,spec.color=red").is_ok());
        let text = "field label not supported: spec.size";
        assert_eq!(check(&widget, "spec.size=3"), Err(text.to_owned()));
        let config_map = crate::builtin::find("", "configmaps").unwrap();
        let text = "\"data.x\" is not a known field selector: only \"metadata.name\", \
                    \"metadata.namespace\"";
        assert_eq!(check(config_map, "data.x=1"), Err(text.to_owned()));
    }

    #[test]
    fn orders_versions_by_stability() {
        let mut versions = [
            "v1alpha2", "foo", "v1", "v2", "v1beta1", "v11", "v2beta2", "bar",
        ];
        versions.sort_by(|a, b| compare_versions(b, a));
        let expected = [
            "v11", "v2", "v1", "v2beta2", "v1beta1", "v1alpha2", "bar", "foo",
        ];
        assert_eq!(versions, expected);
    }

    #[test]
    fn kinds_of_kubernetes_keep_their_merge_keys() {
        let table = native_merge_table("apps", "Deployment").unwrap();
        let fact = |path: &str| table.iter().find(|(p, _)| p == path).map(|(_, fact)| fact);
        let containers = fact("spec.template.spec.containers").unwrap();
        assert_eq!(containers.key.as_deref(), Some("name"));
        assert!(fact("spec.strategy").unwrap().strategy == "retainKeys");
        assert!(native_merge_table("example.com", "Deployment").is_none());
        let mut schema = json!({"properties": {"a": {"type": "array", "items": {
            "properties": {"b": {"type": "array"}}}}}});
        let fact = MergeFact {
            strategy: "merge".into(),
            key: Some("name".into()),
        };
        annotate(&mut schema, "a.*.b", &fact);
        let b = &schema["properties"]["a"]["items"]["properties"]["b"];
        assert_eq!(b["x-kubernetes-patch-merge-key"], "name");
    }
}
