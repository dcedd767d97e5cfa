//! Scripts of applies and updates with the owners and objects that must come of them.

use hanse_json::{Map, Value, json};

use crate::managed::{self, ApplyError, Context, SingleVersion};
use crate::set::Set;
use crate::types::TypeSchema;

fn schema() -> TypeSchema {
    let schema = json!({
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "replicas": {"type": "integer"},
                    "name": {"type": "string"},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "unit": {
                        "type": "object", "x-kubernetes-map-type": "atomic",
                        "properties": {"a": {"type": "string"}, "b": {"type": "string"}}
                    },
                    "args": {"type": "array", "items": {"type": "string"}},
                    "tags": {
                        "type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"
                    },
                    "ports": {
                        "type": "array", "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["port", "protocol"],
                        "items": {
                            "type": "object",
                            "properties": {
                                "port": {"type": "integer"},
                                "protocol": {"type": "string", "default": "TCP"},
                                "name": {"type": "string"}
                            }
                        }
                    }
                }
            }
        }
    });
    TypeSchema::compile(&schema, &Map::new())
}

struct Script {
    schema: TypeSchema,
    live: Option<Value>,
    clock: u32,
}

impl Script {
    fn new() -> Self {
        Script {
            schema: schema(),
            live: None,
            clock: 0,
        }
    }

    fn run<T>(&mut self, act: impl FnOnce(Option<&Value>, &Context<'_>) -> T) -> T {
        self.clock += 1;
        let now = format!("2026-01-01T00:00:{:02}Z", self.clock);
        let versions = SingleVersion {
            api_version: "x.dev/v1",
            schema: &self.schema,
        };
        let ctx = Context {
            api_version: "x.dev/v1",
            subresource: "",
            now: &now,
            versions: &versions,
            ignored: &Set::new(),
            empty: &json!({}),
        };
        act(self.live.as_ref(), &ctx)
    }

    fn object(spec: Value) -> Value {
        json!({"apiVersion": "x.dev/v1", "kind": "X", "metadata": {"name": "o"}, "spec": spec})
    }

    fn apply(&mut self, manager: &str, force: bool, spec: Value) -> Result<(), ApplyError> {
        let config = Self::object(spec);
        let object = self.run(|live, ctx| managed::apply(live, &config, manager, force, ctx))?;
        self.live = Some(object);
        Ok(())
    }

    fn update(&mut self, manager: &str, spec: Value) {
        let mut new = Self::object(spec);
        self.run(|live, ctx| managed::update(live, &mut new, manager, ctx));
        self.live = Some(new);
    }

    fn spec(&self) -> &Value {
        &self.live.as_ref().expect("live")["spec"]
    }

    fn owned_by(&self, manager: &str) -> Value {
        let entries = &self.live.as_ref().expect("live")["metadata"]["managedFields"];
        let list = entries.as_array().cloned().unwrap_or_default();
        let entry = list.iter().find(|e| e["manager"] == manager);
        entry.map(|e| e["fieldsV1"].clone()).unwrap_or(Value::Null)
    }
}

#[test]
fn apply_takes_and_gives_back() {
    let mut s = Script::new();
    s.apply("a", false, json!({"replicas": 1, "labels": {"x": "1"}}))
        .expect("create");
    assert_eq!(
        s.owned_by("a"),
        json!({"f:spec": {"f:replicas": {}, "f:labels": {"f:x": {}}}})
    );
    s.apply("b", false, json!({"labels": {"y": "2"}}))
        .expect("second manager");
    assert_eq!(
        *s.spec(),
        json!({"replicas": 1, "labels": {"x": "1", "y": "2"}})
    );
    s.apply("a", false, json!({"labels": {"x": "1"}}))
        .expect("drop a field");
    assert_eq!(*s.spec(), json!({"labels": {"x": "1", "y": "2"}}));
    s.apply("b", false, json!({})).expect("drop all");
    assert_eq!(*s.spec(), json!({"labels": {"x": "1"}}));
}

#[test]
fn conflicts_name_the_owner() {
    let mut s = Script::new();
    s.apply("a", false, json!({"replicas": 1, "name": "n"}))
        .expect("create");
    let error = s
        .apply("b", false, json!({"replicas": 2}))
        .expect_err("conflict");
    assert_eq!(
        error.message(),
        "Apply failed with 1 conflict: conflict with \"a\": .spec.replicas"
    );
    s.apply("b", false, json!({"replicas": 1})).expect("shared");
    let error = s
        .apply("c", false, json!({"replicas": 2, "name": "m"}))
        .expect_err("conflicts");
    assert_eq!(
        error.message(),
        "Apply failed with 3 conflicts: conflicts with \"a\":\n- .spec.name\n- .spec.replicas\n\
         conflicts with \"b\":\n- .spec.replicas"
    );
    s.apply("c", true, json!({"replicas": 2})).expect("forced");
    assert_eq!(s.owned_by("b"), Value::Null);
    assert_eq!(s.owned_by("a"), json!({"f:spec": {"f:name": {}}}));
}

#[test]
fn updates_take_what_they_change() {
    let mut s = Script::new();
    s.update(
        "u",
        json!({"replicas": 1, "labels": {"x": "1"}, "args": ["a"]}),
    );
    assert_eq!(
        s.owned_by("u"),
        json!({"f:spec": {".": {}, "f:replicas": {}, "f:args": {}, "f:labels": {".": {}, "f:x": {}}}})
    );
    s.apply("a", true, json!({"replicas": 2})).expect("forced");
    s.update(
        "u",
        json!({"replicas": 3, "labels": {"x": "1"}, "args": ["a"]}),
    );
    assert_eq!(s.owned_by("a"), Value::Null);
    let error = s
        .apply("a", false, json!({"replicas": 2}))
        .expect_err("conflict");
    assert_eq!(error.causes()[0].1, "conflict with \"u\" using x.dev/v1");
}

#[test]
fn lists_merge_by_their_kind() {
    let mut s = Script::new();
    s.apply(
        "a",
        false,
        json!({"ports": [{"port": 80, "name": "w"}], "tags": ["p"]}),
    )
    .expect("a");
    s.apply(
        "b",
        false,
        json!({"ports": [{"port": 80, "protocol": "UDP"}], "tags": ["q"]}),
    )
    .expect("b");
    assert_eq!(
        *s.spec(),
        json!({
            "ports": [{"port": 80, "name": "w"}, {"port": 80, "protocol": "UDP"}],
            "tags": ["p", "q"]
        })
    );
    assert_eq!(
        s.owned_by("b"),
        json!({"f:spec": {
            "f:ports": {"k:{\"port\":80,\"protocol\":\"UDP\"}": {
                ".": {}, "f:port": {}, "f:protocol": {}
            }},
            "f:tags": {"v:\"q\"": {}}
        }})
    );
    s.apply("a", false, json!({})).expect("a leaves");
    assert_eq!(
        *s.spec(),
        json!({"ports": [{"port": 80, "protocol": "UDP"}], "tags": ["q"]})
    );
}

#[test]
fn typed_errors() {
    let mut s = Script::new();
    let fail =
        |s: &mut Script, spec: Value| s.apply("a", false, spec).expect_err("typed").message();
    assert_eq!(
        fail(&mut s, json!({"nope": 1})),
        "failed to create typed patch object (/o; x.dev/v1, Kind=X): .spec.nope: field not \
         declared in schema"
    );
    assert_eq!(
        fail(&mut s, json!({"replicas": "x"})),
        "failed to create typed patch object (/o; x.dev/v1, Kind=X): .spec.replicas: expected \
         numeric (int or float), got string"
    );
    assert_eq!(
        fail(
            &mut s,
            json!({"ports": [{"port": 1}, {"port": 1, "protocol": "TCP"}]})
        ),
        "failed to create typed patch object (/o; x.dev/v1, Kind=X): .spec.ports: duplicate \
         entries for key [port=1,protocol=\"TCP\"]"
    );
}

#[test]
fn first_apply_keeps_what_was_there() {
    let mut s = Script::new();
    s.live = Some(Script::object(json!({"replicas": 1})));
    let error = s
        .apply("a", false, json!({"replicas": 2}))
        .expect_err("owned before");
    assert!(
        error
            .message()
            .contains("\"before-first-apply\" using x.dev/v1")
    );
    s.apply("a", true, json!({"replicas": 2})).expect("forced");
    assert_eq!(*s.spec(), json!({"replicas": 2}));
}

#[test]
fn tracking_can_be_reset() {
    let mut s = Script::new();
    s.update("u", json!({"replicas": 1}));
    let mut new = s.live.clone().expect("live");
    hanse_json::set(&mut new, &["metadata", "managedFields"], json!([{}]));
    s.run(|live, ctx| managed::update(live, &mut new, "u", ctx));
    assert!(new["metadata"].get("managedFields").is_none());
}

#[test]
fn old_updates_collapse() {
    let mut s = Script::new();
    for n in 0..15 {
        let mut labels = Map::new();
        for k in 0..=n {
            labels.insert(format!("k{k}"), Value::String("v".to_owned()));
        }
        s.update(&format!("m{n:02}"), json!({ "labels": labels }));
    }
    let entries = s.live.as_ref().expect("live")["metadata"]["managedFields"].clone();
    assert_eq!(entries.as_array().map(Vec::len), Some(10));
    assert!(s.owned_by("ancient-changes").is_object());
}

#[test]
fn applying_again_changes_nothing() {
    let mut s = Script::new();
    s.apply("a", false, json!({"replicas": 1, "unit": {"a": "x"}}))
        .expect("first");
    let before = s.live.clone();
    s.apply("a", false, json!({"replicas": 1, "unit": {"a": "x"}}))
        .expect("again");
    assert_eq!(s.live, before);
}

#[test]
fn long_lists_are_not_looked_through_for_each_item() {
    let ports = |name: &str| -> Value {
        let ports = (0..8_000).map(|port| json!({"port": port, "name": name}));
        json!({"ports": ports.collect::<Vec<_>>()})
    };
    let mut s = Script::new();
    s.update("u", ports("a"));
    s.apply("a", true, ports("b")).expect("forced");
    assert_eq!(s.spec()["ports"][7_999]["name"], "b");
}
