//! Creation of built-in kinds, compared with what a real kube-apiserver answered: decoding,
//! defaults, strategies and validation, without a server around them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use hanse_json::{Limits, Value, get_str, json, parse, remove, set};
use hanse_kinds::{ResourceDef, Update, builtin};
use hanse_schema::field;
use hanse_schema::meta::validate_object_meta;
use hanse_wire::Status;

fn golden(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../e2e/golden")
        .join(name);
    let bytes = std::fs::read(&path).unwrap();
    match parse(&bytes, &Limits::default()).unwrap().value {
        Value::Array(entries) => entries,
        other => vec![other],
    }
}

/// Resource and namespace of a collection's path.
fn resource(path: &str) -> Option<(&'static ResourceDef, String)> {
    let path = path.split('?').next()?.trim_start_matches('/');
    let parts: Vec<&str> = path.split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", "v1", rest @ ..] => ("", rest),
        ["apis", group, "v1", rest @ ..] => (*group, rest),
        _ => return None,
    };
    let (namespace, plural) = match rest {
        ["namespaces", namespace, plural] => (*namespace, *plural),
        [plural] => ("", *plural),
        _ => return None,
    };
    let def = builtin()
        .iter()
        .find(|def| def.group == group && def.plural == plural)?;
    Some((def, namespace.to_owned()))
}

/// What the server would answer to a creation, as far as this crate decides about it.
fn create(def: &ResourceDef, namespace: &str, body: &Value) -> Result<Value, Box<Status>> {
    let mut object = body.clone();
    def.schema.decode(&mut object).map_err(|why| {
        let kind = &def.kind;
        let why = format!("{kind} in version \"v1\" cannot be handled as a {kind}: {why}");
        Status::bad_request(why)
    })?;
    if !namespace.is_empty() {
        set(&mut object, &["metadata", "namespace"], json!(namespace));
    }
    (def.hooks.default)(&mut object);
    if def.has_status() {
        remove(&mut object, &["status"]);
    }
    (def.hooks.prepare_create)(&mut object);
    let path = field::Path::new("metadata");
    let mut errors =
        validate_object_meta(&object["metadata"], def.namespaced, def.name_rule, &path);
    errors.extend((def.hooks.validate)(&object));
    let name = get_str(&object, &["metadata", "name"]).unwrap_or_default();
    errors
        .into_result()
        .map_err(|errors| Status::invalid(&def.kind, &def.group, name, &errors))?;
    Ok(object)
}

fn decided_elsewhere(status: &Value) -> bool {
    let cause = &status["details"]["causes"][0];
    cause["field"] == "metadata.name" || (cause.is_object() && cause.get("field").is_none())
}

/// Without what only a whole server knows.
fn comparable(mut object: Value) -> Value {
    remove(&mut object, &["metadata"]);
    object
}

#[test]
fn creations_answer_as_recorded() {
    let (mut created, mut refused) = (0, 0);
    for entry in golden("kubernetes/answers.json") {
        let request = &entry["request"];
        let (method, path) = (
            request["method"].as_str().unwrap(),
            request["path"].as_str().unwrap(),
        );
        let Some((def, namespace)) = resource(path) else {
            continue;
        };
        let strict = path.contains("fieldValidation=Strict");
        if method != "POST" || def.flags.review || strict || !request["body"].is_object() {
            continue;
        }
        let answer = create(def, &namespace, &request["body"]);
        match entry["status"].as_i64().unwrap() {
            201 if request["body"]["metadata"].get("generateName").is_some() => {}
            201 => {
                let mut expected = comparable(entry["body"].clone());
                let mut found = comparable(answer.unwrap_or_else(|err| panic!("{path}: {err}")));
                if def.plural == "secrets" {
                    // The recording hides values.
                    for object in [&mut expected, &mut found] {
                        remove(object, &["data"]);
                    }
                }
                assert_eq!(found, expected, "{path}");
                created += 1;
            }
            // Namespaces' names are checked without generated ones here, and policies elsewhere.
            400 | 422 if !decided_elsewhere(&entry["body"]) => {
                let status = answer.expect_err(path);
                assert_eq!(status.to_json(), entry["body"], "{path}");
                refused += 1;
            }
            // Existence, quota, policies, generated names: decided elsewhere.
            _ => {}
        }
    }
    assert!(
        created >= 12 && refused >= 12,
        "{created} created, {refused} refused"
    );
}

#[test]
fn immutable_fields_answer_as_recorded() {
    let config_map = hanse_kinds::builtin::find("", "configmaps").unwrap();
    let old = json!({"data": {"a": "1"}, "immutable": true});
    let new = json!({"data": {"a": "2"}, "immutable": true});
    let update = Update {
        old: &old,
        subresource: "",
    };
    let errors = (config_map.hooks.validate_update)(&new, update);
    let status = Status::invalid("ConfigMap", "", "imm", &errors);
    let recorded = golden("kubernetes/answers.json");
    let answer = |path: &str| {
        let patches = recorded
            .iter()
            .filter(|entry| entry["request"]["method"] == "PATCH");
        let mut of_path = patches.filter(|entry| entry["request"]["path"] == path);
        of_path.find(|entry| entry["status"] == 422).unwrap()["body"].clone()
    };
    assert_eq!(
        status.to_json(),
        answer("/api/v1/namespaces/golden/configmaps/imm")
    );

    let binding = hanse_kinds::builtin::find("rbac.authorization.k8s.io", "clusterrolebindings");
    let role = |name: &str| {
        json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                           "name": name}})
    };
    let (old, new) = (role("g1"), role("view"));
    let update = Update {
        old: &old,
        subresource: "",
    };
    let errors = (binding.unwrap().hooks.validate_update)(&new, update);
    let status = Status::invalid(
        "ClusterRoleBinding",
        "rbac.authorization.k8s.io",
        "g1",
        &errors,
    );
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/g1";
    assert_eq!(status.to_json(), answer(path));
}

#[test]
fn unknown_fields_are_found_as_recorded() {
    let config_map = hanse_kinds::builtin::find("", "configmaps").unwrap();
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "dta": {"a": "1"},
        "metadata": {"name": "x", "foo": 1, "ownerReferences": [{"bar": 1}]}});
    let unknown = config_map.schema.decode(&mut object).unwrap();
    assert_eq!(
        unknown,
        ["metadata.ownerReferences[0].bar", "metadata.foo", "dta"]
    );
    let again = object.clone();
    assert!(config_map.schema.decode(&mut object).unwrap().is_empty());
    assert_eq!(object, again, "decoding is idempotent");
}

#[test]
fn tables_have_the_recorded_columns() {
    for file in ["kubernetes/tables.json", "kcp/tables.json"] {
        for entry in golden(file) {
            let path = entry["request"]["path"].as_str().unwrap();
            let path = path.trim_start_matches("/clusters/root:consumer2");
            let Some((def, _)) = resource(path) else {
                continue;
            };
            let heads = entry["body"]["columnDefinitions"].as_array().unwrap();
            let expected: Vec<String> = heads
                .iter()
                .map(|h| {
                    format!(
                        "{}:{}:{}:{}",
                        h["name"], h["type"], h["format"], h["priority"]
                    )
                })
                .collect();
            let quote = |text: &str| json!(text).to_string();
            let found: Vec<String> = def
                .columns
                .heads()
                .iter()
                .map(|c| {
                    let (name, kind) = (quote(&c.name), quote(&c.kind));
                    format!("{name}:{kind}:{}:{}", quote(&c.format), c.priority)
                })
                .collect();
            assert_eq!(found, expected, "{path}");
        }
    }
}

#[test]
fn discovery_rows_are_those_recorded() {
    let mut seen = 0;
    for entry in golden("kcp/discovery.json") {
        let path = entry["request"]["path"].as_str().unwrap();
        let Some(path) = path.strip_prefix("/clusters/root:consumer2") else {
            continue;
        };
        let group = match path {
            "/api/v1" => "",
            "/apis/rbac.authorization.k8s.io/v1" => "rbac.authorization.k8s.io",
            "/apis/apiextensions.k8s.io/v1" => "apiextensions.k8s.io",
            _ => continue,
        };
        for row in entry["body"]["resources"].as_array().unwrap() {
            let name = row["name"].as_str().unwrap();
            let (plural, sub) = name.split_once('/').unwrap_or((name, ""));
            let def = hanse_kinds::builtin::find(group, plural).unwrap();
            let verbs = match sub {
                "" => {
                    assert_eq!(row["singularName"], def.singular.as_str());
                    assert_eq!(row["kind"], def.kind.as_str());
                    assert_eq!(row["namespaced"], def.namespaced);
                    // Upstream stores CRDs in a version that it has not served for years.
                    if group != "apiextensions.k8s.io" {
                        let hash = def.storage_version_hash();
                        assert_eq!(row["storageVersionHash"], hash.as_str());
                    }
                    let short: Vec<&str> = def.short_names.iter().map(|s| s.as_str()).collect();
                    assert_eq!(row.get("shortNames").unwrap_or(&json!([])), &json!(short));
                    def.verbs
                }
                sub => def.subresource(sub).unwrap().verbs,
            };
            assert_eq!(row["verbs"], json!(verbs), "{name}");
            seen += 1;
        }
    }
    assert!(seen >= 16);
}
