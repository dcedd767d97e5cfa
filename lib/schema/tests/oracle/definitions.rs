//! Random CustomResourceDefinitions, mostly good ones.

use serde_json::{Value, json};

use crate::random::Random;
use crate::schemas;

/// A definition with a few things wrong, perhaps.
pub fn definition(random: &mut Random) -> Value {
    let schema = root_schema(random);
    let version = |name: &str, storage: bool, schema: Value| {
        json!({"name": name, "served": true, "storage": storage,
            "schema": {"openAPIV3Schema": schema}})
    };
    let mut versions = vec![version("v1", true, schema.clone())];
    if random.chance(25) {
        let other = if random.chance(50) {
            schema
        } else {
            root_schema(random)
        };
        versions.push(version("v2", false, other));
    }
    let mut crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com", "resourceVersion": "1"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"}, "versions": versions}});
    for _ in 0..random.below(3) {
        change(random, &mut crd);
    }
    crd
}

fn root_schema(random: &mut Random) -> Value {
    let mut schema = schemas::root(random);
    if random.chance(15) {
        schema_breakage(random, &mut schema);
    }
    if random.chance(10) {
        let field = random.pick(&["spec", "status"]);
        schema["properties"][field] = json!({"type": "object", "properties": {
            "deep": {"type": "object", "default": {"a": "x"}, "properties": {
                "a": {"type": "string", "default": "y"}}}}});
    }
    schema
}

fn schema_breakage(random: &mut Random, schema: &mut Value) {
    let spec = &mut schema["properties"]["spec"];
    match random.below(14) {
        0 => spec["x-kubernetes-list-type"] = json!(random.pick(&["set", "bag", "map"])),
        1 => spec["x-kubernetes-map-type"] = json!(random.pick(&["atomic", "loose"])),
        2 => spec["uniqueItems"] = json!(true),
        3 => spec["type"] = json!(random.pick(&["null", "text", "array"])),
        4 => spec["patternProperties"] = json!({"a": {"type": "string"}}),
        5 => spec["definitions"] = json!({"a": {"type": "string"}}),
        6 => spec["pattern"] = json!("("),
        7 => spec["x-kubernetes-preserve-unknown-fields"] = json!(false),
        8 => schema["nullable"] = json!(true),
        9 => spec["items"] = json!([{"type": "string"}]),
        10 => spec["id"] = json!("x"),
        11 => {
            *spec = json!({"type": "array", "x-kubernetes-list-type": "set", "items":
            random.pick(&[json!({"type": "object"}),
                json!({"type": "array", "items": {"type": "string"},
                    "x-kubernetes-list-type": "set"}),
                json!({"type": "object", "x-kubernetes-map-type": "atomic", "nullable": true})])});
        }
        12 => {
            *spec = json!({"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": random.pick(&[json!(["a"]), json!(["a", "a"]),
                json!(["b", "z"]), json!([])]),
            "items": {"type": "object", "required": ["a"], "properties": {
                "a": {"type": "string", "nullable": random.chance(50)},
                "b": {"type": "object"}}}});
        }
        _ => {
            schema["properties"]["metadata"] = json!({"type": "object", "properties": {
            "name": {"type": "string", "default": "x"}, "labels": {"type": "object"}}});
        }
    }
}

fn change(random: &mut Random, crd: &mut Value) {
    if crd["spec"]["versions"]
        .as_array()
        .is_some_and(Vec::is_empty)
    {
        return;
    }
    match random.below(24) {
        0 => crd["metadata"]["name"] = json!(random.pick(&["wrong", "Things.example.com", ""])),
        1 => crd["spec"]["group"] = json!(random.pick(&["", "nodots", "Bad.example", "x.k8s.io"])),
        2 => crd["spec"]["scope"] = json!(random.pick(&["", "Cluster", "World"])),
        3 => crd["spec"]["names"]["plural"] = json!(random.pick(&["", "Things", "others"])),
        4 => crd["spec"]["names"]["kind"] = json!(random.pick(&["", "Th_ing", "thing"])),
        5 => crd["spec"]["names"]["listKind"] = json!(random.pick(&["Thing", "1", "Things"])),
        6 => crd["spec"]["names"]["shortNames"] = json!(["t", random.pick(&["T", "tt", ""])]),
        7 => crd["spec"]["names"]["categories"] = json!(["all", random.pick(&["A-", "b"])]),
        8 => crd["spec"]["versions"][0]["name"] = json!(random.pick(&["V1", "v2", "v3", ""])),
        9 => crd["spec"]["versions"][0]["storage"] = json!(false),
        10 => crd["spec"]["preserveUnknownFields"] = json!(true),
        11 => {
            crd["spec"]["versions"][0]["deprecationWarning"] =
                json!(random.pick(&["old", "", "a\u{7}", "x\u{e9}"]));
            crd["spec"]["versions"][0]["deprecated"] = json!(random.chance(70));
        }
        12 => crd["spec"]["versions"] = json!([]),
        13 => {
            crd["spec"]["versions"][0]
                .as_object_mut()
                .unwrap()
                .remove("schema");
        }
        14 | 15 => {
            crd["spec"]["versions"][0]["subresources"] = random.pick(&[
                json!({"status": {}}),
                json!({"scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".n"}}),
                json!({"scale": {"specReplicasPath": "spec", "statusReplicasPath": ".status.n",
                    "labelSelectorPath": ".foo"}, "status": {}}),
                json!({"scale": {}}),
            ]);
        }
        16 | 17 => {
            crd["spec"]["versions"][0]["additionalPrinterColumns"] = random.pick(&[
                json!([{"name": "A", "type": "string", "jsonPath": ".spec"}]),
                json!([{"name": "", "type": "text", "format": "odd", "jsonPath": "spec"}]),
                json!([{"name": "A", "type": "", "jsonPath": ""}]),
            ]);
        }
        18 | 19 => {
            let field = |path: &str| json!({"jsonPath": path});
            let fields = [
                ".spec",
                ".spec.a",
                "spec",
                ".metadata.name",
                "",
                ".status",
                ".kind",
            ];
            let count = 1 + random.below(3);
            let list: Vec<Value> = (0..count).map(|_| field(random.pick(&fields))).collect();
            crd["spec"]["versions"][0]["selectableFields"] = json!(list);
        }
        20 | 21 => crd["spec"]["conversion"] = conversion(random),
        22 => {
            crd["status"] = json!({"storedVersions": random.pick(&[json!(["v1"]), json!(["v0"]),
            json!(["v1", "v2"])]), "acceptedNames": {"plural": "Bad"}})
        }
        _ => {
            crd["metadata"]["annotations"] = json!({"api-approved.kubernetes.io":
                random.pick(&["unapproved, later", "https://x.example/1", "yes", ""])});
        }
    }
}

fn conversion(random: &mut Random) -> Value {
    let webhook = |config: Value, versions: Value| {
        json!({"strategy": "Webhook", "webhook":
            {"clientConfig": config, "conversionReviewVersions": versions}})
    };
    let service = |path: &str, port: i64| json!({"service": {"name": "s", "namespace": "n", "path": path, "port": port}});
    random.pick(&[
        json!({"strategy": "None"}),
        json!({"strategy": "Maybe"}),
        json!({"strategy": "Webhook"}),
        json!({"strategy": "None", "webhook": {"clientConfig": {"url": "https://a"},
            "conversionReviewVersions": ["v1"]}}),
        webhook(json!({"url": "https://a/b"}), json!(["v1", "v1beta1"])),
        webhook(json!({"url": "http://u:p@a/b?c=d#e"}), json!(["v2", "v2"])),
        webhook(json!({"url": "https://%zz"}), json!([])),
        webhook(json!({"url": "https:"}), json!(["V1"])),
        webhook(json!({}), json!(["v1"])),
        webhook(service("/a/b", 443), json!(["v1"])),
        webhook(service("//a", 0), json!(["v1"])),
        webhook(service("a/B/", 70000), json!(["v1"])),
        webhook(json!({"service": {"name": "s"}}), json!(["v1"])),
    ])
}

/// The definition before a change.
pub fn neighbour(random: &mut Random, crd: &Value) -> Value {
    let mut old = crd.clone();
    for _ in 0..random.below(3) {
        change(random, &mut old);
    }
    if random.chance(50) {
        old["status"]["conditions"] = json!([{"type": "Established", "status": "True",
            "reason": "x", "message": "y", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    }
    old
}
