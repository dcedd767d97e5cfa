//! Random schemas and objects that nearly fit them.

use serde_json::{Map, Value, json};

use crate::random::Random;
use crate::rules;

const NAMES: &[&str] = &["a", "b", "c", "x-y", "metadata", "kind", "name"];
const FORMATS: &[&str] = &[
    "date",
    "date-time",
    "duration",
    "ipv4",
    "ipv6",
    "cidr",
    "uuid",
    "uri",
    "hostname",
    "byte",
    "mac",
    "email",
    "hexcolor",
    "int32",
    "unknown",
    "k8s-short-name",
    "isbn",
    "uuid4",
];
const TEXTS: &[&str] = &[
    "",
    "a",
    "ab",
    "abc",
    "äö",
    "2024-01-02",
    "2024-01-02T03:04:05Z",
    "1h",
    "3 days",
    "1.2.3.4",
    "::1",
    "10.0.0.0/8",
    "http://a/b",
    "a.example",
    "YQ==",
    "a@b.c",
    "#fff",
    "A-b",
    "1",
    "true",
    "01234567-89ab-4def-8123-456789abcdef",
    "00:11:22:33:44:55",
    "<&>",
    "a\"b\n",
    "0321751043",
];
const PATTERNS: &[&str] = &[
    "^a+$",
    "b",
    "^[a-z]*$",
    r"^\d+$",
    "^$",
    "[[:upper:]]",
    r"\w\W",
];

/// A root schema; now and then one that is refused.
pub fn root(random: &mut Random) -> Value {
    let mut schema = json!({"type": "object", "properties": {"spec": node(random, 4)}});
    if random.chance(20) {
        schema["properties"]["status"] = node(random, 2);
    }
    if random.chance(15) {
        schema["properties"]["metadata"] = json!({"type": "object", "properties": {
            "name": {"type": "string", "maxLength": random.below(5)}}});
    }
    if random.chance(10) {
        schema["required"] = json!([random.pick(&["spec", "status"])]);
    }
    if random.chance(5) {
        schema["x-kubernetes-preserve-unknown-fields"] = json!(true);
    }
    if random.chance(10) {
        rules::add(random, &mut schema);
    }
    if random.chance(4) {
        breakage(random, &mut schema["properties"]["spec"]);
    }
    schema
}

/// Something that a structural schema may not have.
fn breakage(random: &mut Random, schema: &mut Value) {
    match random.below(7) {
        0 => {
            schema.as_object_mut().unwrap().remove("type");
        }
        1 => schema["anyOf"] = json!([{"properties": {"nowhere": {"minLength": 1}}}]),
        2 => schema["allOf"] = json!([{"type": "string", "description": "x"}]),
        3 => schema["oneOf"] = json!([{"default": 1, "nullable": true}]),
        4 => {
            // Embedded resources in the metadata of others are refused at CRD write.
            schema["x-kubernetes-embedded-resource"] = json!(true);
            if let Some(properties) = schema["properties"].as_object_mut() {
                properties.remove("metadata");
            }
        }
        5 => schema["$ref"] = json!("#/definitions/x"),
        _ => schema["not"] = json!({"items": {"x-kubernetes-int-or-string": true}}),
    }
}

fn node(random: &mut Random, depth: usize) -> Value {
    let kinds = if depth == 0 { 6 } else { 10 };
    let mut schema = match random.below(kinds) {
        0 | 1 => string(random),
        2 => numeric(random, "integer"),
        3 => numeric(random, "number"),
        4 => json!({"type": "boolean"}),
        5 => special(random),
        6 | 7 => object_schema(random, depth),
        8 => map_schema(random, depth),
        _ => list_schema(random, depth),
    };
    if random.chance(12) {
        schema["nullable"] = json!(true);
    }
    if random.chance(8) {
        let size = 1 + random.below(3);
        let members: Vec<Value> = (0..size).map(|_| scalar(random)).collect();
        schema["enum"] = json!(members);
    }
    if random.chance(20) {
        schema["default"] = value(random, &schema, 2);
    }
    if random.chance(15) {
        let (keyword, junctor) = junctor(random, &schema);
        schema[keyword] = junctor;
    }
    if random.chance(15) {
        rules::add(random, &mut schema);
    }
    schema
}

fn string(random: &mut Random) -> Value {
    let mut schema = json!({"type": "string"});
    if random.chance(25) {
        schema["format"] = json!(random.pick(FORMATS));
    }
    if random.chance(20) {
        schema["pattern"] = json!(random.pick(PATTERNS));
    }
    if random.chance(20) {
        schema["maxLength"] = json!(random.below(4));
    }
    if random.chance(15) {
        schema["minLength"] = json!(random.below(4));
    }
    schema
}

fn bound(random: &mut Random) -> Value {
    random.pick(&[
        json!(0),
        json!(1),
        json!(2),
        json!(-3),
        json!(1.5),
        json!(0.1),
        json!(1e6),
    ])
}

fn numeric(random: &mut Random, ty: &str) -> Value {
    let mut schema = json!({"type": ty});
    for keyword in ["minimum", "maximum", "multipleOf"] {
        if random.chance(20) {
            schema[keyword] = bound(random);
        }
    }
    for keyword in ["exclusiveMinimum", "exclusiveMaximum"] {
        if random.chance(10) {
            schema[keyword] = json!(true);
        }
    }
    if random.chance(15) {
        schema["format"] = json!(random.pick(&["int32", "int64", "double", "date"]));
    }
    schema
}

fn special(random: &mut Random) -> Value {
    match random.below(5) {
        0 => json!({"x-kubernetes-int-or-string": true}),
        1 => json!({"x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}]}),
        2 => json!({"x-kubernetes-preserve-unknown-fields": true}),
        3 => json!({"type": "object", "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true}),
        _ => json!({"type": "object", "x-kubernetes-embedded-resource": true,
            "properties": {"spec": {"type": "string"}}}),
    }
}

fn object_schema(random: &mut Random, depth: usize) -> Value {
    let mut properties = Map::new();
    for _ in 0..random.below(4) {
        properties.insert(random.pick(NAMES).to_owned(), node(random, depth - 1));
    }
    let mut schema = json!({"type": "object"});
    if random.chance(30) && !properties.is_empty() {
        let mut required: Vec<&str> = vec![random.pick(NAMES)];
        required.extend(properties.keys().take(1).map(String::as_str));
        schema["required"] = json!(required);
    }
    schema["properties"] = Value::Object(properties);
    if random.chance(15) {
        schema["x-kubernetes-preserve-unknown-fields"] = json!(true);
    }
    if random.chance(10) {
        schema["minProperties"] = json!(random.below(3));
    }
    if random.chance(10) {
        schema["maxProperties"] = json!(random.below(3));
    }
    if random.chance(10) {
        schema["x-kubernetes-map-type"] = json!(random.pick(&["atomic", "granular"]));
    }
    schema
}

fn map_schema(random: &mut Random, depth: usize) -> Value {
    let additional = if random.chance(20) {
        json!(true)
    } else {
        node(random, depth - 1)
    };
    let mut schema = json!({"type": "object", "additionalProperties": additional});
    if random.chance(15) {
        schema["maxProperties"] = json!(random.below(3));
    }
    schema
}

fn list_schema(random: &mut Random, depth: usize) -> Value {
    let mut schema = json!({"type": "array"});
    match random.below(4) {
        0 => {
            schema["x-kubernetes-list-type"] = json!("set");
            schema["items"] = if random.chance(50) {
                string(random)
            } else {
                node(random, 0)
            };
        }
        1 => {
            let keys = if random.chance(70) {
                json!(["a"])
            } else {
                json!(["a", "b"])
            };
            let mut item = object_schema(random, depth);
            for key in ["a", "b"] {
                item["properties"][key] = json!({"type": random.pick(&["string", "integer"])});
            }
            schema["x-kubernetes-list-type"] = json!("map");
            schema["x-kubernetes-list-map-keys"] = keys;
            schema["items"] = item;
        }
        _ => schema["items"] = node(random, depth - 1),
    }
    if random.chance(15) {
        schema["maxItems"] = json!(random.below(3));
    }
    if random.chance(15) {
        schema["minItems"] = json!(random.below(3));
    }
    schema
}

/// A junctor about a value of this schema.
fn junctor(random: &mut Random, schema: &Value) -> (&'static str, Value) {
    let one = |random: &mut Random| clause(random, schema);
    match random.below(5) {
        0 => ("not", one(random)),
        1 => ("allOf", json!([one(random), one(random)])),
        2 => ("anyOf", json!([one(random), one(random)])),
        _ => ("oneOf", json!([one(random), one(random), one(random)])),
    }
}

fn clause(random: &mut Random, schema: &Value) -> Value {
    let names: Vec<String> = schema["properties"]
        .as_object()
        .map(|p| p.keys().filter(|k| *k != "metadata").cloned().collect())
        .unwrap_or_default();
    if !names.is_empty() && random.chance(80) {
        let name = random.pick(&names);
        return match random.below(3) {
            0 => json!({"required": [name]}),
            1 => json!({"required": [name], "minProperties": 1}),
            _ => json!({"properties": {name.clone(): bare_clause(random)}, "required": [name]}),
        };
    }
    bare_clause(random)
}

fn bare_clause(random: &mut Random) -> Value {
    match random.below(7) {
        0 => json!({"maxLength": random.below(3)}),
        1 => json!({"pattern": random.pick(PATTERNS)}),
        2 => json!({"minimum": bound(random)}),
        3 => json!({"enum": [scalar(random), scalar(random)]}),
        4 => json!({"minItems": random.below(3)}),
        5 => json!({"not": {"minLength": random.below(3)}}),
        _ => json!({"format": random.pick(FORMATS)}),
    }
}

fn scalar(random: &mut Random) -> Value {
    match random.below(8) {
        0 => json!(random.chance(50)),
        1 | 2 => json!(random.below(4) as i64 - 1),
        3 => random.pick(&[
            json!(0.5),
            json!(1.0),
            json!(-2.25),
            json!(1e21),
            json!(1.5),
        ]),
        _ => json!(random.pick(TEXTS)),
    }
}

fn anything(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 5 } else { 8 }) {
        0 => Value::Null,
        1..=4 => scalar(random),
        5 => json!([anything(random, depth - 1)]),
        _ => json!({random.pick(NAMES): anything(random, depth - 1)}),
    }
}

/// A value that mostly fits the schema.
fn value(random: &mut Random, schema: &Value, depth: usize) -> Value {
    if random.chance(6) {
        return anything(random, 2);
    }
    if random.chance(4) {
        return Value::Null;
    }
    if let Some(members) = schema["enum"].as_array().filter(|_| random.chance(70)) {
        return random.pick(members);
    }
    match schema["type"].as_str().unwrap_or_default() {
        "string" => json!(random.pick(TEXTS)),
        "integer" => json!(random.below(5) as i64 - 1),
        "number" => scalar_number(random),
        "boolean" => json!(random.chance(50)),
        "object" => object_value(random, schema, depth),
        "array" => {
            let size = random.below(4);
            let item = |random: &mut Random| value(random, &schema["items"], depth);
            json!((0..size).map(|_| item(random)).collect::<Vec<_>>())
        }
        _ => anything(random, depth.min(2)),
    }
}

fn scalar_number(random: &mut Random) -> Value {
    random.pick(&[
        json!(0),
        json!(1),
        json!(2.5),
        json!(3.0),
        json!(-1),
        json!(0.1),
        json!(1e7),
    ])
}

fn object_value(random: &mut Random, schema: &Value, depth: usize) -> Value {
    let mut map = Map::new();
    if schema["x-kubernetes-embedded-resource"] == true {
        resource_fields(random, &mut map);
    }
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        if random.chance(70) {
            map.insert(name.clone(), value(random, child, depth));
        }
    }
    if schema["additionalProperties"].is_object() || schema["additionalProperties"] == true {
        for _ in 0..random.below(3) {
            let child = value(random, &schema["additionalProperties"], depth);
            map.insert(random.pick(NAMES).to_owned(), child);
        }
    }
    if random.chance(15) {
        map.insert(random.pick(NAMES).to_owned(), anything(random, 2));
    }
    Value::Object(map)
}

fn resource_fields(random: &mut Random, map: &mut Map<String, Value>) {
    for (key, choices) in [
        (
            "apiVersion",
            [json!("v1"), json!("a/b"), json!("a/b/c"), json!("")],
        ),
        ("kind", [json!("Pod"), json!("Po_d"), json!(""), json!("X")]),
        (
            "metadata",
            [
                json!({"name": "a", "labels": {"x": "y", "bad key": "-"}}),
                json!({"name": "a/b", "unknown": 1, "namespace": "N"}),
                json!({"annotations": {}, "creationTimestamp": null, "generateName": "g-"}),
                json!({"finalizers": ["a b"], "ownerReferences": [{"kind": "A", "x": 1}]}),
            ],
        ),
    ] {
        if random.chance(80) {
            map.insert(key.to_owned(), random.pick(&choices));
        }
    }
}

/// An object for a root schema.
pub fn object(random: &mut Random, schema: &Value) -> Value {
    let mut object = json!({"apiVersion": "example.com/v1", "kind": "Thing",
        "metadata": {"name": random.pick(&["a", "abcdef"])}});
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        if name != "metadata" && random.chance(90) {
            object[name] = value(random, child, 3);
        }
    }
    if random.chance(10) {
        object[random.pick(NAMES)] = json!({"junk": [1]});
        object["kind"] = json!("Thing");
        object["metadata"] = json!({"name": "a"});
    }
    object
}

/// The object before or after a small change.
pub fn neighbour(random: &mut Random, schema: &Value, object_now: &Value) -> Value {
    let other = object(random, schema);
    let mut old = object_now.clone();
    mix(random, &mut old, &other);
    old
}

fn mix(random: &mut Random, into: &mut Value, other: &Value) {
    match (into, other) {
        (Value::Object(into), Value::Object(other)) => {
            for (key, child) in into.iter_mut() {
                if let Some(other) = other.get(key)
                    && random.chance(50)
                {
                    mix(random, child, other);
                }
            }
        }
        (Value::Array(items), _) if random.chance(50) => items.reverse(),
        (into, other) if random.chance(60) => *into = other.clone(),
        _ => {}
    }
}
