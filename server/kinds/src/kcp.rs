//! kcp's own kinds: those that every logical cluster has, and the schemas that `root` exports.
//!
//! Start at [`system_crds`], the rows that are served everywhere, and [`root_schemas`], what the
//! bootstrap of `root` writes as APIResourceSchemas. The two data files have one spec of an
//! APIResourceSchema per line: `kcp-schemas.json` is recorded, `kcp-apis.json` is written after
//! kcp-api.md 2.7 to 2.11 (its v1alpha2 schemas are the recorded ones).
//!
//! Also here: the conversion of APIExports and APIBindings between their two versions. What the
//! kinds *do* is deliberately elsewhere (`hanse-tenancy`).

use std::sync::{Arc, OnceLock};

use hanse_json::{
    Limits, Map, Value, entry_object, get, get_array, get_bool, get_object, get_str, json, parse,
    remove, set,
};

use crate::def::{CUSTOM_RESOURCES, Conversion, ResourceDef};

const SCHEMAS: &str = include_str!("../data/kcp-schemas.json");
const APIS: &str = include_str!("../data/kcp-apis.json");

/// Of the recorded schemas, those that are also served in every logical cluster.
const ALSO_SYSTEM: [&str; 3] = [
    "logicalclusters.core.kcp.io",
    "clustercachedresources.cache.kcp.io",
    "clustercachedresourceendpointslices.cache.kcp.io",
];

fn specs(text: &str) -> Map<String, Value> {
    match parse(text.as_bytes(), &Limits::default()).map(|parsed| parsed.value) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// The APIResourceSchemas of `root` as `<plural>.<group>` and spec, parsed anew. Their object
/// names carry a prefix that changes between releases; choosing it is the caller's business.
pub fn root_schemas() -> Vec<(String, Value)> {
    specs(SCHEMAS).into_iter().collect()
}

/// The kinds of kcp that every logical cluster serves, as `<plural>.<group>` and spec of an
/// APIResourceSchema, parsed anew.
pub fn system_specs() -> Vec<(String, Value)> {
    let recorded = specs(SCHEMAS).into_iter();
    let recorded = recorded.filter(|(name, _)| ALSO_SYSTEM.contains(&name.as_str()));
    specs(APIS).into_iter().chain(recorded).collect()
}

/// The rows of the kinds of kcp that every logical cluster serves, one for each version.
pub fn system_crds() -> &'static [Arc<ResourceDef>] {
    static DEFS: OnceLock<Vec<Arc<ResourceDef>>> = OnceLock::new();
    DEFS.get_or_init(|| {
        let mut defs = Vec::new();
        // A test holds that every version of every one of them compiles.
        for (_, spec) in system_specs() {
            let schema = json!({"spec": spec});
            for version in get_array(&schema, &["spec", "versions"]) {
                let name = get_str(version, &["name"]).unwrap_or_default();
                let def = ResourceDef::from_api_resource_schema(&schema, CUSTOM_RESOURCES, name);
                if let Ok(mut def) = def {
                    def.flags.system = true;
                    if matches!(def.kind.as_str(), "APIExport" | "APIBinding") {
                        def.conversion = Conversion::Native(convert);
                    }
                    defs.push(Arc::new(def));
                }
            }
        }
        defs
    })
}

const OLD: &str = "apis.kcp.io/v1alpha1";
const NEW: &str = "apis.kcp.io/v1alpha2";

/// Annotations that keep what the other version cannot say (kcp-api.md 2.8).
const RESOURCES: &str = "apis.v1alpha2.kcp.io/resource-schemas";
const EXPORT_CLAIMS: &str = "apis.v1alpha2.kcp.io/permission-claims";
const OLD_EXPORT_CLAIMS: &str = "apis.v1alpha2.kcp.io/v1alpha1-permission-claims";
const BINDING_CLAIMS: &str = "apis.v1alpha2.kcp.io/acceptable-permission-claims";
const STATUS_EXPORT_CLAIMS: &str = "apis.v1alpha2.kcp.io/status-export-permission-claims";
const STATUS_APPLIED_CLAIMS: &str = "apis.v1alpha2.kcp.io/status-applied-permission-claims";
const OLD_STATUS_EXPORT_CLAIMS: &str =
    "apis.v1alpha2.kcp.io/v1alpha1-status-export-permission-claims";
const OLD_STATUS_APPLIED_CLAIMS: &str =
    "apis.v1alpha2.kcp.io/v1alpha1-status-applied-permission-claims";

/// A list of claims, the annotation with the claims of the new version that the old one cannot
/// express, and the one with the original claims of the old version.
type ClaimPlace = (&'static [&'static str], &'static str, Option<&'static str>);

const EXPORT_PLACES: &[ClaimPlace] = &[(
    &["spec", "permissionClaims"],
    EXPORT_CLAIMS,
    Some(OLD_EXPORT_CLAIMS),
)];
const BINDING_PLACES: &[ClaimPlace] = &[
    (&["spec", "permissionClaims"], BINDING_CLAIMS, None),
    (
        &["status", "exportPermissionClaims"],
        STATUS_EXPORT_CLAIMS,
        Some(OLD_STATUS_EXPORT_CLAIMS),
    ),
    (
        &["status", "appliedPermissionClaims"],
        STATUS_APPLIED_CLAIMS,
        Some(OLD_STATUS_APPLIED_CLAIMS),
    ),
];

/// Converts an APIExport or APIBinding between v1alpha1 and v1alpha2.
///
/// # Errors
/// A text for an annotation that is not the JSON that the conversion wrote.
pub fn convert(object: &mut Value, from: &str, to: &str) -> Result<(), String> {
    let export = get_str(object, &["kind"]) == Some("APIExport");
    let places = if export {
        EXPORT_PLACES
    } else {
        BINDING_PLACES
    };
    match (from, to) {
        (OLD, NEW) => {
            if export {
                resources_up(object)?;
            }
            for place in places {
                claims_up(object, place)?;
            }
        }
        (NEW, OLD) => {
            if export {
                resources_down(object);
            }
            for place in places {
                claims_down(object, place)?;
            }
        }
        _ => {}
    }
    set(object, &["apiVersion"], json!(to));
    Ok(())
}

/// Checks an APIExport or APIBinding that is written as v1alpha1: what its annotations add must be
/// readable, and fit what it says itself; otherwise it would be lost on the way to storage.
///
/// # Errors
/// A text that names the field.
pub fn check_v1alpha1(object: &Value) -> Result<(), String> {
    if get_str(object, &["kind"]) == Some("APIExport") {
        check_resources(object)?;
        return check_claims(object, EXPORT_CLAIMS);
    }
    check_claims(object, BINDING_CLAIMS)
}

fn check_resources(object: &Value) -> Result<(), String> {
    let mut seen = Vec::new();
    for (at, name) in get_array(object, &["spec", "latestResourceSchemas"])
        .iter()
        .enumerate()
    {
        let name = name.as_str().unwrap_or_default();
        let path = format!("spec.latestResourceSchemas[{at}]");
        let mut parts = name.splitn(3, '.').skip(1);
        let (Some(resource), Some(group)) = (parts.next(), parts.next()) else {
            return Err(format!(
                "{path}: Invalid value: {name:?}: must be <prefix>.<resource>.<group>"
            ));
        };
        let key = (resource.to_owned(), group.replace("core", ""));
        if seen.contains(&key) {
            return Err(format!("{path}: Duplicate value: {name:?}"));
        }
        seen.push(key);
    }
    let mut object = object.clone();
    for entry in take_annotation(&mut object, RESOURCES)? {
        let text = |key: &str| get_str(&entry, &[key]).unwrap_or_default().to_owned();
        let key = (text("name"), text("group"));
        if seen.contains(&key) {
            let schema = text("schema");
            return Err(format!(
                "metadata.annotations[{RESOURCES}]: Duplicate value: {schema:?}"
            ));
        }
        seen.push(key);
    }
    Ok(())
}

/// Claims in the annotation say more about claims of the spec, and add none.
fn check_claims(object: &Value, annotation: &str) -> Result<(), String> {
    let own = get_array(object, &["spec", "permissionClaims"]);
    let mut copy = object.clone();
    for claim in take_annotation(&mut copy, annotation)? {
        let known = own.iter().any(|own| claim_key(own) == claim_key(&claim));
        if !known {
            let [group, resource, identity] = claim_key(&claim);
            let name = format!("{resource}.{group}:{identity}");
            return Err(format!(
                "metadata.annotations[{annotation}]: Invalid value: {name:?}: no permission claim \
                 of the spec is about it"
            ));
        }
    }
    Ok(())
}

fn take_annotation(object: &mut Value, name: &str) -> Result<Vec<Value>, String> {
    let taken = remove(object, &["metadata", "annotations", name]);
    if get_object(object, &["metadata", "annotations"]).is_some_and(Map::is_empty) {
        remove(object, &["metadata", "annotations"]);
    }
    let Some(Value::String(text)) = taken else {
        return Ok(Vec::new());
    };
    let parsed = parse(text.as_bytes(), &Limits::default())
        .map_err(|err| format!("failed to decode annotation {name}: {err}"))?;
    match parsed.value {
        Value::Array(items) => Ok(items),
        _ => Err(format!("failed to decode annotation {name}: not a list")),
    }
}

fn annotate(object: &mut Value, name: &str, items: Vec<Value>) {
    if !items.is_empty() {
        let text = hanse_json::to_string(&Value::Array(items));
        entry_object(object, &["metadata", "annotations"]).insert(name.to_owned(), json!(text));
    }
}

/// `p.widgets.example.com` is the schema of `widgets` in `example.com`; `core` is the core group.
fn resources_up(object: &mut Value) -> Result<(), String> {
    let names = remove(object, &["spec", "latestResourceSchemas"]);
    let mut resources = Vec::new();
    for name in names
        .as_ref()
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let schema = name.as_str().unwrap_or_default();
        let mut parts = schema.splitn(3, '.').skip(1);
        let (Some(resource), Some(group)) = (parts.next(), parts.next()) else {
            return Err(format!("invalid schema name {schema}"));
        };
        let group = if group == "core" { "" } else { group };
        resources.push(json!({
            "name": resource, "group": group, "schema": schema, "storage": {"crd": {}},
        }));
    }
    resources.extend(take_annotation(object, RESOURCES)?);
    if !resources.is_empty() {
        set(object, &["spec", "resources"], Value::Array(resources));
    }
    Ok(())
}

fn resources_down(object: &mut Value) {
    let resources = remove(object, &["spec", "resources"]);
    let (mut names, mut others) = (Vec::new(), Vec::new());
    for resource in resources
        .as_ref()
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        match get(resource, &["storage", "virtual"]) {
            Some(_) => others.push(resource.clone()),
            None => names.push(get(resource, &["schema"]).cloned().unwrap_or_default()),
        }
    }
    if !names.is_empty() {
        set(
            object,
            &["spec", "latestResourceSchemas"],
            Value::Array(names),
        );
    }
    annotate(object, RESOURCES, others);
}

fn claim_key(claim: &Value) -> [&str; 3] {
    ["group", "resource", "identityHash"].map(|name| get_str(claim, &[name]).unwrap_or_default())
}

fn claims_up(object: &mut Value, (path, new, old): &ClaimPlace) -> Result<(), String> {
    let mut kept = take_annotation(object, new)?;
    let claims = remove(object, path);
    let claims = claims
        .as_ref()
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let mut out = Vec::new();
    for claim in &claims {
        if let Some(at) = kept.iter().position(|k| claim_key(k) == claim_key(claim)) {
            let mut claim_out = kept.remove(at);
            if let Some(state) = get(claim, &["state"]) {
                set(&mut claim_out, &["state"], state.clone());
            }
            out.push(claim_out);
            continue;
        }
        let mut converted = claim.clone();
        remove(&mut converted, &["all"]);
        remove(&mut converted, &["resourceSelector"]);
        set(&mut converted, &["verbs"], json!(["*"]));
        if (path[0] == "spec" && get(claim, &["state"]).is_some()) || path[1].starts_with("applied")
        {
            set(&mut converted, &["selector"], json!({"matchAll": true}));
        }
        out.push(converted);
    }
    if let Some(old) = old {
        let selective = claims
            .into_iter()
            .filter(|c| get_bool(c, &["all"]) != Some(true));
        annotate(object, old, selective.collect());
    }
    if !out.is_empty() {
        set(object, path, Value::Array(out));
    }
    Ok(())
}

fn claims_down(object: &mut Value, (path, new, old): &ClaimPlace) -> Result<(), String> {
    let originals = match old {
        Some(old) => take_annotation(object, old)?,
        None => Vec::new(),
    };
    let claims = remove(object, path);
    let (mut out, mut kept) = (Vec::new(), Vec::new());
    for claim in claims
        .as_ref()
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let original = originals.iter().find(|o| claim_key(o) == claim_key(claim));
        let mut converted = original.cloned().unwrap_or_else(|| json!({"all": true}));
        for name in ["group", "resource", "identityHash", "state"] {
            if let Some(value) = get(claim, &[name]) {
                set(&mut converted, &[name], value.clone());
            }
        }
        out.push(converted);
        let all_verbs = get_array(claim, &["verbs"]) == [json!("*")];
        let select = |name: &str| get(claim, &[name]);
        let all = json!({"matchAll": true});
        let plain =
            select("selector").is_none_or(|s| *s == all) && select("defaultSelector").is_none();
        if !(all_verbs && plain) {
            kept.push(claim.clone());
        }
    }
    annotate(object, new, kept);
    if !out.is_empty() {
        set(object, path, Value::Array(out));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_compiles() {
        let versions: Vec<String> = system_crds()
            .iter()
            .map(|def| format!("{}.{}", def.plural, def.version))
            .collect();
        assert_eq!(
            versions,
            [
                "apibindings.v1alpha1",
                "apibindings.v1alpha2",
                "apiconversions.v1alpha1",
                "apiexportendpointslices.v1alpha1",
                "apiexports.v1alpha1",
                "apiexports.v1alpha2",
                "apiresourceschemas.v1alpha1",
                "clustercachedresourceendpointslices.v1alpha1",
                "clustercachedresources.v1alpha1",
                "logicalclusters.v1alpha1",
            ]
        );
        for (name, spec) in root_schemas() {
            let schema = json!({"spec": spec});
            let def = ResourceDef::from_api_resource_schema(&schema, "hash", "v1alpha1").unwrap();
            assert_eq!(name, format!("{}.{}", def.plural, def.group));
            assert_eq!(def.storage.identity, "hash");
        }
    }

    #[test]
    fn exports_survive_both_ways() {
        let export = json!({
            "apiVersion": NEW, "kind": "APIExport", "metadata": {"name": "e"},
            "spec": {
                "resources": [
                    {"name": "widgets", "group": "example.com", "schema": "v1.widgets.example.com",
                     "storage": {"crd": {}}},
                    {"name": "things", "group": "", "schema": "v1.things.core",
                     "storage": {"virtual": {"identityHash": "x"}}},
                ],
                "permissionClaims": [
                    {"group": "", "resource": "configmaps", "identityHash": "", "verbs": ["*"]},
                    {"group": "", "resource": "secrets", "identityHash": "", "verbs": ["get"]},
                ],
            },
        });
        let mut object = export.clone();
        convert(&mut object, NEW, OLD).unwrap();
        assert_eq!(
            object["spec"]["latestResourceSchemas"],
            json!(["v1.widgets.example.com"])
        );
        assert_eq!(object["spec"]["permissionClaims"][1]["all"], true);
        convert(&mut object, OLD, NEW).unwrap();
        assert_eq!(object, export);
    }

    #[test]
    fn bindings_survive_both_ways() {
        let binding = json!({
            "apiVersion": OLD, "kind": "APIBinding", "metadata": {"name": "b"},
            "spec": {"reference": {"export": {"name": "e"}}, "permissionClaims": [
                {"group": "", "resource": "configmaps", "all": true, "state": "Accepted"}]},
        });
        let mut object = binding.clone();
        convert(&mut object, OLD, NEW).unwrap();
        let claim = &object["spec"]["permissionClaims"][0];
        assert_eq!(claim["verbs"], json!(["*"]));
        assert_eq!(claim["selector"], json!({"matchAll": true}));
        convert(&mut object, NEW, OLD).unwrap();
        assert_eq!(object, binding);
        let bad = json!({"kind": "APIExport", "metadata": {"annotations": {RESOURCES: "{"}}});
        assert!(convert(&mut bad.clone(), OLD, NEW).is_err());
    }

    #[test]
    fn what_the_old_version_cannot_keep_is_refused() {
        let export = |schemas: Value, annotations: Value| {
            json!({"kind": "APIExport", "metadata": {"annotations": annotations}, "spec": {
                "latestResourceSchemas": schemas,
                "permissionClaims": [{"group": "", "resource": "configmaps", "all": true}]}})
        };
        let none = json!({});
        check_v1alpha1(&export(json!(["v1.xs.x.io", "v1.ys.x.io"]), none.clone())).unwrap();
        let virtual_ = json!([{"name": "xs", "group": "x.io", "schema": "v2.xs.x.io"}]).to_string();
        let claim = |resource: &str| json!([{"group": "", "resource": resource}]).to_string();
        check_v1alpha1(&export(json!([]), json!({RESOURCES: virtual_}))).unwrap();
        check_v1alpha1(&export(
            json!([]),
            json!({EXPORT_CLAIMS: claim("configmaps")}),
        ))
        .unwrap();
        for (schemas, annotations, why) in [
            (
                json!(["short"]),
                none.clone(),
                "spec.latestResourceSchemas[0]: Invalid value",
            ),
            (
                json!(["v1.xs.x.io", "v2.xs.x.io"]),
                none,
                "spec.latestResourceSchemas[1]: Duplicate",
            ),
            (
                json!(["v1.xs.x.io"]),
                json!({RESOURCES: virtual_}),
                "Duplicate value: \"v2.xs.x.io\"",
            ),
            (
                json!([]),
                json!({RESOURCES: "{"}),
                "failed to decode annotation",
            ),
            (json!([]), json!({EXPORT_CLAIMS: "3"}), "not a list"),
            (
                json!([]),
                json!({EXPORT_CLAIMS: claim("secrets")}),
                "no permission claim",
            ),
        ] {
            let said = check_v1alpha1(&export(schemas, annotations)).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        let binding = json!({"kind": "APIBinding", "spec": {},
            "metadata": {"annotations": {BINDING_CLAIMS: claim("secrets")}}});
        assert!(check_v1alpha1(&binding).is_err());
    }
}
