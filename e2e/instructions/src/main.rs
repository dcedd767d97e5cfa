//! The hot functions of the pure crates, each done on a fixed input, for callgrind to count.
//!
//! `cargo xtask bench instructions` builds this, runs it and compares; start at [`cases`]. A case
//! is prepared, and done twice within [`counted`], which is the only part that callgrind looks at:
//! what is made at the first use is made the first time, and only the second counts. The names are
//! printed in the same order. To add a case, add a row, then accept its count.

#![allow(clippy::expect_used)] // What cannot be set up cannot be counted.

mod inputs;

use std::hint::black_box;

use hanse_apply::managed::{self, SingleVersion};
use hanse_apply::patch::{MergeSchema, merge_patch, strategic_merge};
use hanse_apply::{Context, Set, TypeSchema};
use hanse_cel::{Binding, Budget, DeclType, Decls, Env};
use hanse_json::{Limits, Map, Value, json, scan};
use hanse_schema::{Schema, names};
use hanse_wire::negotiate::{self, Forms, MetaVersion, Wanted};
use hanse_wire::query::Query;
use hanse_wire::selector::{FieldSelector, LabelSelector};
use hanse_wire::table::{self, IncludeObject, PrinterColumn};
use hanse_wire::watch::{self, EventType};
use hanse_wire::yaml;

/// A function and its name.
type Case = (&'static str, Box<dyn FnMut()>);

fn main() {
    for (name, mut work) in cases() {
        // Callgrind counts calls also where it counts no instructions: nothing may stand between
        // the two.
        counted(&mut *work);
        counted(&mut *work);
        println!("{name}");
    }
}

/// The part that is counted: callgrind starts when it is entered and writes its numbers down when
/// it is left.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
    // So that the call above is no jump, which would leave this function too early.
    black_box(());
}

fn case<T>(name: &'static str, mut work: impl FnMut() -> T + 'static) -> Case {
    (name, Box::new(move || drop(black_box(work()))))
}

fn cases() -> Vec<Case> {
    [
        json_cases(),
        wire_cases(),
        schema_cases(),
        cel_cases(),
        apply_cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn json_cases() -> Vec<Case> {
    let (map, deployment) = (inputs::config_map(7), inputs::deployment());
    let (map_bytes, bytes) = (hanse_json::to_vec(&map), hanse_json::to_vec(&deployment));
    let (scanned, compared) = (bytes.clone(), deployment.clone());
    let other = deployment.clone();
    vec![
        case("json/parse a ConfigMap", move || {
            hanse_json::parse(&map_bytes, &Limits::default())
                .expect("JSON")
                .value
        }),
        case("json/parse a Deployment", move || {
            hanse_json::parse(&bytes, &Limits::default())
                .expect("JSON")
                .value
        }),
        case("json/write a ConfigMap", move || hanse_json::to_vec(&map)),
        case("json/write a Deployment", move || {
            hanse_json::to_vec(&deployment)
        }),
        case("json/compare a Deployment", move || {
            hanse_json::equal(&compared, &other)
        }),
        case("json/find five fields in bytes", move || {
            let paths: [&[&str]; 5] = [
                &["metadata", "name"],
                &["metadata", "labels", "app"],
                &["metadata", "annotations", "note"],
                &["spec", "replicas"],
                &["status", "observedGeneration"],
            ];
            paths.map(|path| scan::find(&scanned, path).map_or(0, <[u8]>::len))
        }),
    ]
}

fn wire_cases() -> Vec<Case> {
    const SELECTOR: &str = "app=web,tier in (front,back),!canary,release!=old";
    const FIELDS: &str = "metadata.name=object-00007,metadata.namespace!=kube-system";
    const KUBECTL: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,\
        application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
    let objects: Vec<Value> = (0..50).map(inputs::config_map).collect();
    let (shown, labelled) = (objects.clone(), objects.clone());
    let selector = LabelSelector::parse(SELECTOR).expect("a selector");
    let fields = FieldSelector::parse(FIELDS).expect("a selector");
    let bytes = hanse_json::to_vec(&objects[0]);
    let text = yaml::to_string(&inputs::deployment());
    vec![
        case("wire/parse a label selector", || {
            LabelSelector::parse(SELECTOR)
        }),
        case("wire/match 50 objects by labels", move || {
            labelled
                .iter()
                .filter(|object| selector.matches_object(object))
                .count()
        }),
        case("wire/parse a field selector", || {
            FieldSelector::parse(FIELDS)
        }),
        case("wire/match 50 objects by fields", move || {
            let field = |object: &Value, path: &str| {
                let path: Vec<&str> = path.split('.').collect();
                hanse_json::get_str(object, &path)
                    .unwrap_or_default()
                    .to_owned()
            };
            let same = |object: &&Value| fields.matches(|path| field(object, path).into());
            objects.iter().filter(same).count()
        }),
        case("wire/negotiate what kubectl asks for", || {
            let wanted = Wanted {
                accept: Some(KUBECTL),
                user_agent: Some("kubectl/v1.35.4"),
                ..Wanted::default()
            };
            negotiate::output(&wanted, Forms::RESOURCE)
        }),
        case("wire/parse a query", || {
            Query::parse("limit=500&labelSelector=app%3Dweb&resourceVersion=0&watch=true")
        }),
        case("wire/a table of 50 objects", move || table_of(&shown)),
        case("wire/frame an event", move || {
            watch::frame(EventType::Modified, &bytes)
        }),
        case("wire/parse YAML of a Deployment", move || {
            yaml::parse(text.as_bytes()).expect("YAML").value
        }),
    ]
}

fn table_of(objects: &[Value]) -> Value {
    let age = PrinterColumn::age().expect("a path");
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut cells = table::default_cells(object);
            cells.push(age.cell(object, 1_795_260_000));
            table::row(cells, object, IncludeObject::Metadata, MetaVersion::V1)
        })
        .collect();
    let columns = table::default_columns();
    table::table(
        MetaVersion::V1,
        Some(&columns),
        Value::Array(rows),
        json!({}),
    )
}

fn schema_cases() -> Vec<Case> {
    let source = inputs::schema();
    let schema = Schema::compile(&source).expect("a schema");
    let stored = inputs::deployment();
    let mut whole = stored.clone();
    schema.default(&mut whole);
    let mut variant = 0_u64;
    let [pruning, defaulting, validating, updating] = [(); 4].map(|()| schema.clone());
    let mut unknown = stored.clone();
    unknown["spec"]["unknown"] = json!({"a": [1, 2, 3]});
    let old = whole.clone();
    let mut new = whole.clone();
    new["spec"]["replicas"] = json!(4);
    vec![
        case("schema/compile", move || {
            // Another description each time: nothing is found by content.
            variant += 1;
            let mut source = source.clone();
            source["description"] = json!(format!("{variant:09}"));
            Schema::compile(&source)
        }),
        case("schema/prune a Deployment", move || {
            pruning.prune(&mut unknown.clone())
        }),
        case("schema/default a Deployment", move || {
            let mut object = stored.clone();
            defaulting.default(&mut object);
            object
        }),
        case("schema/validate a new Deployment", move || {
            validating.validate(&whole, None)
        }),
        case("schema/validate an update", move || {
            updating.validate(&new, Some(&old))
        }),
        case("schema/validate ten names", || {
            let wrong = |index: usize| names::is_dns1123_subdomain(&format!("web-{index}.example"));
            (0..10).map(|index| wrong(index).len()).sum::<usize>()
        }),
    ]
}

fn cel_cases() -> Vec<Case> {
    const RULES: [(&str, &str, &str); 4] = [
        (
            "compare",
            "cel/compile a comparison",
            "cel/evaluate a comparison",
        ),
        (
            "has",
            "cel/compile a guarded bound",
            "cel/evaluate a guarded bound",
        ),
        (
            "all",
            "cel/compile a loop",
            "cel/evaluate a loop over 32 items",
        ),
        ("matches", "cel/compile a pattern", "cel/evaluate a pattern"),
    ];
    let text = |name: &str| match name {
        "compare" => "self.replicas >= self.minReplicas",
        "has" => "!has(self.weight) || (self.weight >= 0 && self.weight <= 100)",
        "all" => "self.ports.all(p, p.port > 0 && p.port < 65536)",
        _ => "self.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    };
    let port = json!({"type": "object", "properties": {
        "name": {"type": "string", "maxLength": 15}, "port": {"type": "integer"}}});
    let schema = json!({"type": "object", "properties": {
        "replicas": {"type": "integer"}, "minReplicas": {"type": "integer"},
        "weight": {"type": "integer"}, "name": {"type": "string", "maxLength": 63},
        "ports": {"type": "array", "maxItems": 64, "items": port}}});
    let decl = DeclType::from_schema(&schema, false).expect("a type");
    let ports: Vec<Value> = (0..32)
        .map(|i| json!({"name": "p", "port": 8000 + i}))
        .collect();
    let object = json!({"replicas": 3, "minReplicas": 1, "name": "web-frontend", "ports": ports});
    let mut cases = Vec::new();
    for (rule, compile, evaluate) in RULES {
        let decls = Decls::new().variable("self", decl.clone().named("self"));
        let env = Env::for_stored_expressions();
        let (text, object) = (text(rule), object.clone());
        let program = env.compile(text, &decls).expect("a rule");
        cases.push(case(compile, move || env.compile(text, &decls).is_ok()));
        cases.push(case(evaluate, move || {
            let (value, cost) = program.eval(&|_| Binding::Json(&object), Budget::default());
            (value.is_ok(), cost)
        }));
    }
    cases
}

fn apply_cases() -> Vec<Case> {
    let stored = inputs::deployment();
    let schema = inputs::schema();
    let manage = |live: Option<&Value>, config: &Value| {
        let types = TypeSchema::compile(&inputs::schema(), &Map::new());
        managed_by(&types, |ctx| {
            managed::apply(live, config, "shop", true, ctx)
        })
    };
    let live = manage(None, &stored).expect("an object");
    let mut changed = live.clone();
    changed["spec"]["replicas"] = json!(7);
    let fields = live["metadata"]["managedFields"][0]["fieldsV1"].clone();
    let types = TypeSchema::compile(&schema, &Map::new());
    let (first, again) = (types.clone(), types.clone());
    let merging = MergeSchema::compile(&schema, &Map::new());
    let patch = inputs::applied();
    let (patched, merged) = (patch.clone(), patch.clone());
    let (of_merge, of_strategic, of_update) = (live.clone(), live.clone(), live.clone());
    vec![
        case("apply/read fieldsV1", move || Set::from_fields_v1(&fields)),
        case("apply/a first apply", move || {
            managed_by(&first, |ctx| {
                managed::apply(None, &stored, "shop", false, ctx)
            })
        }),
        case("apply/an apply over an object", move || {
            managed_by(&again, |ctx| {
                managed::apply(Some(&live), &patch, "shop", true, ctx)
            })
        }),
        case("apply/who owns what after an update", move || {
            let mut new = changed.clone();
            managed_by(&types, |ctx| {
                managed::update(Some(&of_update), &mut new, "bench", ctx)
            });
            new
        }),
        case("apply/merge patch", move || {
            merge_patch(&of_merge, &patched)
        }),
        case("apply/strategic merge patch", move || {
            strategic_merge(&of_strategic, &merged, &merging)
        }),
    ]
}

/// Runs something with the context of a request for a Deployment.
fn managed_by<T>(types: &TypeSchema, work: impl FnOnce(&Context<'_>) -> T) -> T {
    let versions = SingleVersion {
        api_version: "apps/v1",
        schema: types,
    };
    work(&Context {
        api_version: "apps/v1",
        subresource: "",
        now: "2026-11-21T10:00:00Z",
        versions: &versions,
        ignored: &Set::of_fields(&[&["status"]]),
        empty: &json!({}),
    })
}
