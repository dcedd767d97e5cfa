//! The same questions to this crate and to the Go originals (structured-merge-diff through
//! apimachinery's field manager, and apimachinery's strategic merge patch): random schemas' worth
//! of objects, equal answers. The oracle is `e2e/oracles/apply`; `HANSE_ORACLE_APPLY` names its
//! binary, and without it there is nothing to compare with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use hanse_apply::managed::{self, Context, SingleVersion};
use hanse_apply::patch::{MergeSchema, strategic_merge};
use hanse_apply::{Set, TypeSchema};
use hanse_json::{Map, Value, json};

struct Oracle {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Oracle {
    fn start() -> Option<Oracle> {
        let Ok(path) = std::env::var("HANSE_ORACLE_APPLY") else {
            eprintln!(
                "skipped: HANSE_ORACLE_APPLY does not name the Go oracle (cargo xtask setup)"
            );
            return None;
        };
        let mut child = Command::new(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the oracle starts");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Some(Oracle {
            child,
            input,
            output,
        })
    }

    fn ask(&mut self, question: &Value) -> Value {
        let mut line = hanse_json::to_vec(question);
        line.push(b'\n');
        self.input.write_all(&line).expect("the oracle reads");
        let mut answer = String::new();
        self.output
            .read_line(&mut answer)
            .expect("the oracle answers");
        let parsed = hanse_json::parse(answer.as_bytes(), &hanse_json::Limits::default());
        let value = parsed.expect("the oracle speaks JSON").value;
        assert!(
            value.get("fault").is_none(),
            "oracle: {value}\nquestion: {question}"
        );
        value
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A small generator whose whole state is the seed (xorshift*).
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.below(of.len() as u64)).expect("small")]
    }
}

fn seeds() -> (u64, u64) {
    let number = |name: &str, default| {
        std::env::var(name)
            .ok()
            .and_then(|v| v.parse().ok())
            .unwrap_or(default)
    };
    (number("HANSE_SEED", 1), number("HANSE_ROUNDS", 3_000))
}

fn spec_schema() -> Value {
    let strings = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let mut atomic_map = strings.clone();
    atomic_map["x-kubernetes-map-type"] = json!("atomic");
    let item = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string"}, "v": {"type": "integer"},
            "deep": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                "items": {"type": "object", "properties": {
                    "id": {"type": "integer"}, "w": {"type": "string"}
                }}
            }
        }
    });
    json!({
        "type": "object",
        "properties": {
            "num": {"type": "integer"}, "text": {"type": "string"}, "flag": {"type": "boolean"},
            "map": strings, "unit": atomic_map,
            "struct": {"type": "object", "properties": {
                "a": {"type": "string"}, "b": {"type": "object", "properties": {"c": {"type": "integer"}}}
            }},
            "plain": {"type": "array", "items": {"type": "string"}},
            "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "list": {
                "type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"], "items": item
            },
            "ports": {
                "type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["port", "protocol"],
                "items": {"type": "object", "properties": {
                    "port": {"type": "integer"},
                    "protocol": {"type": "string", "default": "TCP"}, "n": {"type": "string"}
                }}
            },
            "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "either": {"x-kubernetes-int-or-string": true}
        }
    })
}

fn models() -> Value {
    let strings = json!({"type": "object", "additionalProperties": {"type": "string"}});
    json!({"dev.x.v1.X": {
        "type": "object",
        "x-kubernetes-group-version-kind": [{"group": "x.dev", "version": "v1", "kind": "X"}],
        "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {
                "name": {"type": "string"}, "uid": {"type": "string"},
                "labels": strings, "annotations": strings,
                "managedFields": {
                    "type": "array", "x-kubernetes-list-type": "atomic",
                    "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}
                },
                "finalizers": {
                    "type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"
                }
            }},
            "spec": spec_schema()
        }
    }})
}

fn word(c: &mut Chance) -> Value {
    json!(c.pick(&["a", "b", "c", "d"]))
}

fn strings(c: &mut Chance) -> Value {
    let mut map = Map::new();
    for _ in 0..c.below(4) {
        map.insert(c.pick(&["k", "l", "m"]).to_owned(), word(c));
    }
    Value::Object(map)
}

fn items(c: &mut Chance, mut make: impl FnMut(&mut Chance) -> Value) -> Value {
    let count = c.below(4);
    Value::Array((0..count).map(|_| make(c)).collect())
}

fn keyed(c: &mut Chance, keys: &[&str], mut make: impl FnMut(&mut Chance, &str) -> Value) -> Value {
    let mut names: Vec<&str> = keys.iter().copied().filter(|_| c.one_in(2)).collect();
    if c.one_in(2) {
        names.reverse();
    }
    if c.one_in(40) && !names.is_empty() {
        names.push(names[0]);
    }
    Value::Array(names.into_iter().map(|name| make(c, name)).collect())
}

fn item(c: &mut Chance, name: &str) -> Value {
    let mut item = json!({"name": name});
    if c.one_in(2) {
        item["v"] = json!(c.below(3));
    }
    if c.one_in(3) {
        item["deep"] = keyed(
            c,
            &["1", "2"],
            |c, id| json!({"id": id.parse::<i64>().expect("digit"), "w": word(c)}),
        );
    }
    item
}

fn port(c: &mut Chance, name: &str) -> Value {
    let mut port = json!({"port": name.parse::<i64>().expect("digits")});
    if c.one_in(2) {
        port["protocol"] = json!(c.pick(&["TCP", "UDP"]));
    }
    if c.one_in(2) {
        port["n"] = word(c);
    }
    port
}

fn anything(c: &mut Chance, depth: u64) -> Value {
    match c.below(if depth == 0 { 3 } else { 6 }) {
        0 => json!(c.below(3)),
        1 => word(c),
        2 => Value::Null,
        3 => items(c, |c| anything(c, depth - 1)),
        _ => {
            let mut map = Map::new();
            for _ in 0..c.below(3) {
                map.insert(c.pick(&["p", "q"]).to_owned(), anything(c, depth - 1));
            }
            Value::Object(map)
        }
    }
}

fn spec(c: &mut Chance) -> Value {
    let mut spec = Map::new();
    for name in [
        "num", "text", "flag", "map", "unit", "struct", "plain", "set", "list", "ports", "any",
        "either",
    ] {
        if !c.one_in(3) {
            continue;
        }
        let value = match name {
            _ if c.one_in(25) => Value::Null,
            "num" => json!(c.below(3)),
            "text" => word(c),
            "flag" => json!(c.one_in(2)),
            "map" | "unit" => strings(c),
            "struct" => match c.below(4) {
                0 => json!({}),
                1 => json!({"a": word(c)}),
                2 => json!({"b": {"c": c.below(2)}}),
                _ => json!({"a": word(c), "b": {}}),
            },
            "plain" => items(c, word),
            "set" => keyed(c, &["a", "b", "c"], |_, name| json!(name)),
            "list" => keyed(c, &["a", "b", "c"], item),
            "ports" => keyed(c, &["1", "2", "3"], port),
            "any" => {
                let mut map = Map::new();
                map.insert(c.pick(&["p", "q"]).to_owned(), anything(c, 2));
                Value::Object(map)
            }
            _ => {
                if c.one_in(2) {
                    json!(1)
                } else {
                    word(c)
                }
            }
        };
        spec.insert(name.to_owned(), value);
    }
    if c.one_in(60) {
        spec.insert("unknown".to_owned(), json!(1));
    }
    // One error at a time: the original stops at the first in Go's map order.
    if c.one_in(60) && !spec.contains_key("unknown") {
        spec.insert("num".to_owned(), json!("text"));
    }
    Value::Object(spec)
}

fn object(c: &mut Chance) -> Value {
    let mut object = json!({"apiVersion": "x.dev/v1", "kind": "X", "metadata": {"name": "o"}});
    if c.one_in(3) {
        object["metadata"]["labels"] = strings(c);
    }
    if c.one_in(5) {
        object["metadata"]["finalizers"] = keyed(c, &["x.dev/a", "x.dev/b"], |_, name| json!(name));
    }
    if !c.one_in(10) {
        object["spec"] = spec(c);
    }
    object
}

/// Entries of one second may stand in either order: compare them as a set.
fn settled(mut object: Value) -> Value {
    if let Some(Value::Array(entries)) =
        hanse_json::get_mut(&mut object, &["metadata", "managedFields"])
    {
        for entry in entries.iter_mut() {
            hanse_json::remove(entry, &["time"]);
        }
        entries.sort_by_key(hanse_json::to_string);
    }
    object
}

fn ours(schema: &TypeSchema, operations: &[Value]) -> Vec<Value> {
    let versions = SingleVersion {
        api_version: "x.dev/v1",
        schema,
    };
    let (ignored, empty) = (Set::new(), json!({"apiVersion": "x.dev/v1", "kind": "X"}));
    let ctx = Context {
        api_version: "x.dev/v1",
        subresource: "",
        now: "2026-01-01T00:00:00Z",
        versions: &versions,
        ignored: &ignored,
        empty: &empty,
    };
    let mut live: Option<Value> = None;
    let mut out = Vec::new();
    for operation in operations {
        let manager = operation["manager"].as_str().expect("manager");
        let request = &operation["object"];
        let op = operation["op"].as_str().expect("op");
        let result = if op == "update" {
            let mut new = request.clone();
            managed::update(live.as_ref(), &mut new, manager, &ctx);
            Ok(new)
        } else {
            managed::apply(live.as_ref(), request, manager, op == "force", &ctx)
        };
        match result {
            Ok(object) => {
                out.push(json!({"object": settled(object.clone())}));
                live = Some(object);
            }
            Err(error) => out.push(json!({"error": error.message()})),
        }
    }
    out
}

/// Go prints the value behind `got` in a form of its own (`&value.valueUnstructured{...}`).
fn comparable(outcome: Value) -> Value {
    match outcome.get("error").and_then(Value::as_str) {
        Some(text) => {
            let mut cut: Vec<&str> = text
                .lines()
                .map(|l| l.split(", got &").next().unwrap_or(l))
                .collect();
            // The original visits fields in Go's map order and stops at the first unknown one.
            if let Some(unknown) = text.find(".spec.unknown: ") {
                cut = vec![text[unknown..].lines().next().unwrap_or_default()];
            } else if cut.len() > 2 && text.contains("errors:") {
                cut[1..].sort_unstable();
            }
            json!({"error": cut.join("\n")})
        }
        None => json!({"object": settled(outcome["object"].clone())}),
    }
}

#[test]
fn apply_and_update_as_the_original() {
    let Some(mut oracle) = Oracle::start() else {
        return;
    };
    let models = models();
    let schema = TypeSchema::compile(&models["dev.x.v1.X"], &Map::new());
    let (seed, rounds) = seeds();
    for round in 0..rounds {
        let mut c = Chance(seed.wrapping_mul(1_000_003).wrapping_add(round) | 1);
        for _ in 0..8 {
            c.below(2);
        }
        let operations: Vec<Value> = (0..2 + c.below(5))
            .map(|_| {
                let op = c.pick(&["apply", "apply", "force", "update"]);
                let mut object = object(&mut c);
                if op == "update" {
                    // Only an apply can meet an object that is not of its type.
                    hanse_json::remove(&mut object, &["spec", "unknown"]);
                    if hanse_json::get_str(&object, &["spec", "num"]).is_some() {
                        object["spec"]["num"] = json!(7);
                    }
                }
                json!({"op": op, "manager": c.pick(&["m1", "m2", "m3"]), "object": object})
            })
            .collect();
        let question = json!({"ask": "script", "schema": models, "operations": operations});
        let theirs = oracle.ask(&question);
        let theirs = theirs["outcomes"].as_array().cloned().unwrap_or_default();
        let mine = ours(&schema, &operations);
        for (step, (mine, theirs)) in mine.into_iter().zip(theirs).enumerate() {
            let (mine, theirs) = (comparable(mine), comparable(theirs));
            assert!(
                hanse_json::equal(&mine, &theirs),
                "seed {seed} round {round} step {step}\noperations: {}\nours:   {}\ntheirs: {}",
                operations[..=step]
                    .iter()
                    .map(|o| format!("\n  {o}"))
                    .collect::<String>(),
                mine,
                theirs
            );
        }
    }
    println!("{rounds} scripts agree with the original, seed {seed}");
}

fn patch_schema() -> Value {
    let mut schema = spec_schema();
    for (name, key) in [("list", Some("name")), ("set", None)] {
        schema["properties"][name]["x-kubernetes-patch-strategy"] = json!("merge");
        if let Some(key) = key {
            schema["properties"][name]["x-kubernetes-patch-merge-key"] = json!(key);
        }
    }
    let deep = &mut schema["properties"]["list"]["items"]["properties"]["deep"];
    deep["x-kubernetes-patch-strategy"] = json!("merge");
    deep["x-kubernetes-patch-merge-key"] = json!("id");
    schema["properties"]["struct"]["x-kubernetes-patch-strategy"] = json!("retainKeys");
    // What the original cannot look up has no place here.
    for name in ["any", "either", "map", "unit"] {
        hanse_json::remove(&mut schema, &["properties", name]);
    }
    schema
}

fn patch(c: &mut Chance) -> Value {
    let mut patch = spec(c);
    let mut ordered = false;
    for name in ["any", "either", "map", "unit", "unknown"] {
        hanse_json::remove(&mut patch, &[name]);
    }
    if c.one_in(4) {
        // An empty order leaves the original's sort without a rule.
        let order = keyed(c, &["a", "b", "c"], |_, name| json!({"name": name}));
        if order != json!([]) {
            ordered = true;
            patch["$setElementOrder/list"] = order;
        }
    }
    if c.one_in(6) {
        // With additions to the same list the original's answer depends on Go's map order.
        hanse_json::remove(&mut patch, &["set"]);
        patch["$deleteFromPrimitiveList/set"] = keyed(c, &["a", "b"], |_, name| json!(name));
    }
    if let Some(Value::Array(items)) = patch.get_mut("list") {
        if c.one_in(4) && !items.is_empty() && !ordered {
            items[0]["$patch"] = json!("delete");
        } else if c.one_in(8) && !ordered {
            items.push(json!({"$patch": "replace"}));
        }
    }
    if let (Some(Value::Object(fields)), true) = (patch.get_mut("struct"), c.one_in(3)) {
        let word = c.pick(&["replace", "delete", "merge"]);
        fields.insert("$patch".to_owned(), json!(word));
    }
    patch
}

#[test]
fn strategic_merge_as_the_original() {
    let Some(mut oracle) = Oracle::start() else {
        return;
    };
    let schema = patch_schema();
    let table = MergeSchema::compile(&schema, &Map::new());
    let (seed, rounds) = seeds();
    let mut compared = 0;
    for round in 0..rounds {
        let mut c = Chance(seed.wrapping_mul(7_000_003).wrapping_add(round) | 1);
        for _ in 0..8 {
            c.below(2);
        }
        let mut document = spec(&mut c);
        for name in ["any", "either", "map", "unit", "unknown"] {
            hanse_json::remove(&mut document, &[name]);
        }
        // A stored object holds no nulls, and its sets no doubles. (Where a deletion meets an order
        // in one patch, the original's order depends on how Go's slices share memory.)
        let document = hanse_apply::patch::merge_patch(&json!({}), &document);
        if document
            .get("set")
            .and_then(Value::as_array)
            .is_some_and(|set| {
                set.iter()
                    .enumerate()
                    .any(|(place, item)| set[..place].contains(item))
            })
        {
            continue;
        }
        let patch = patch(&mut c);
        let question =
            json!({"ask": "smp", "schema": {"x": schema}, "document": document, "patch": patch});
        let theirs = oracle.ask(&question)["outcomes"][0].clone();
        let mine = strategic_merge(&document, &patch, &table);
        let agree = match (&mine, theirs.get("error")) {
            (Err(_), Some(_)) => true,
            // The original cannot order a list that is null, or empty on both sides; there is no
            // harm in doing so.
            (Ok(_), Some(Value::String(error))) => {
                error == "no elements in any of the given slices"
                    || error == "expected a []interface {}, but received a %!s(<nil>)"
            }
            (Ok(mine), None) => {
                let empty = json!({});
                hanse_json::equal(mine, theirs.get("object").unwrap_or(&empty))
            }
            _ => false,
        };
        compared += 1;
        assert!(
            agree,
            "seed {seed} round {round}\ndocument: {document}\npatch:    {patch}\nours:   {}\ntheirs: {theirs}",
            mine.map_or_else(|e| e.to_string(), |v| v.to_string())
        );
    }
    println!("{compared} strategic patches agree with the original, seed {seed}");
}
