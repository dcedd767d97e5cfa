//! How long compiling and evaluating typical rules takes: one JSON line each.
//!
//! `cargo bench -p hanse-cel --bench rules` (or with `--profile fast`, which compiles faster).

// A benchmark that cannot set itself up has nothing to measure.
#![allow(clippy::expect_used, clippy::panic)]

use hanse_cel::{Binding, Budget, DeclType, Decls, Env, Program};
use serde_json::{Value, json};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Rules as they stand in published CRDs, from cheap to dear.
const RULES: [(&str, &str); 7] = [
    ("compare", "self.replicas >= self.minReplicas"),
    ("immutable", "self.name == oldSelf.name"),
    (
        "guarded",
        "!has(self.weight) || (self.weight >= 0 && self.weight <= 100)",
    ),
    (
        "regex",
        "self.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    ),
    ("all", "self.ports.all(p, p.port > 0 && p.port < 65536)"),
    (
        "unique",
        "self.ports.all(p, self.ports.exists_one(q, q.name == p.name))",
    ),
    (
        "text",
        "self.ports.map(p, p.name + '/' + string(p.port)).join(',').size() < 4096",
    ),
];

fn decls() -> Decls {
    let port = json!({"type": "object", "properties": {
        "name": {"type": "string", "maxLength": 15}, "port": {"type": "integer"}}});
    let schema = json!({"type": "object", "properties": {
        "replicas": {"type": "integer"}, "minReplicas": {"type": "integer"},
        "weight": {"type": "integer"}, "name": {"type": "string", "maxLength": 63},
        "ports": {"type": "array", "maxItems": 64, "items": port}}});
    let decl = DeclType::from_schema(&schema, false)
        .expect("a type")
        .named("self");
    Decls::new()
        .variable("self", decl.clone())
        .variable("oldSelf", decl)
}

fn object() -> Value {
    let ports: Vec<Value> = (0..32)
        .map(|i| json!({"name": format!("port-{i}"), "port": 8000 + i}))
        .collect();
    json!({"replicas": 3, "minReplicas": 1, "name": "web-frontend", "ports": ports})
}

/// Nanoseconds of one call, the best of several runs.
fn nanos(mut call: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let (start, mut calls) = (Instant::now(), 0_u32);
        while start.elapsed() < Duration::from_millis(60) {
            (0..16).for_each(|_| call());
            calls += 16;
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(calls));
    }
    best
}

fn report(name: &str, nanos: f64) {
    println!(
        "{}",
        json!({"name": name, "value": (nanos / 10.0).round() / 100.0, "unit": "us"})
    );
}

fn main() {
    let (decls, object) = (decls(), object());
    let env = Env::for_stored_expressions();
    for (name, rule) in RULES {
        let compiled: Program = env.compile(rule, &decls).expect("a rule");
        report(
            &format!("cel.compile.{name}"),
            nanos(|| {
                black_box(env.compile(black_box(rule), &decls).is_ok());
            }),
        );
        let mut cost = 0;
        report(
            &format!("cel.eval.{name}"),
            nanos(|| {
                let (result, spent) = compiled.eval(&|_| Binding::Json(&object), Budget::default());
                cost = spent;
                black_box(result.is_ok());
            }),
        );
        println!(
            "{}",
            json!({"name": format!("cel.cost.{name}"), "value": cost, "unit": "units"})
        );
    }
}
