//! What holds for any input: walks end, never panic, and doing them twice changes nothing more.

#![allow(clippy::unwrap_used)]

use hanse_schema::{Schema, crd};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z\\-\"<é\u{0}]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        let key = prop_oneof![
            "a",
            "b",
            "c",
            "apiVersion",
            "kind",
            "metadata",
            "spec",
            "[a-z]{1,3}"
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..5)
                .prop_map(|m| Value::Object(m.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Structural by construction.
fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string", "maxLength": 2, "default": "x"})),
        Just(json!({"type": "integer", "minimum": 1, "nullable": true})),
        Just(json!({"type": "number", "multipleOf": 0.5})),
        Just(json!({"x-kubernetes-int-or-string": true, "pattern": "^a"})),
        Just(json!({"x-kubernetes-preserve-unknown-fields": true})),
        Just(
            json!({"type": "object", "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true})
        ),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let properties = prop::collection::btree_map("[a-c]", inner.clone(), 0..4);
        prop_oneof![
            properties.prop_map(|p| json!({"type": "object", "properties": p, "default": {}})),
            inner
                .clone()
                .prop_map(|s| json!({"type": "object", "additionalProperties": s})),
            inner.prop_map(|s| json!({"type": "array", "items": s,
                "x-kubernetes-list-type": "atomic", "maxItems": 3})),
        ]
    })
}

fn root(spec: &Value) -> Schema {
    Schema::compile(&json!({"type": "object", "properties": {"spec": spec}})).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pruning_and_defaulting_twice_is_once(spec in any_schema(), value in any_json()) {
        let schema = root(&spec);
        let mut object = json!({"spec": value});
        schema.prune(&mut object);
        schema.default(&mut object);
        let once = object.clone();
        prop_assert!(schema.prune(&mut object).is_empty());
        schema.default(&mut object);
        prop_assert_eq!(once, object);
    }

    #[test]
    fn any_object_can_be_judged(spec in any_schema(), new in any_json(), old in any_json()) {
        let schema = root(&spec);
        let (mut new, mut old) = (json!({"spec": new}), json!({"spec": old}));
        for object in [&mut new, &mut old] {
            let _ = schema.coerce(object, true);
        }
        schema.validate(&new, None);
        schema.validate_status(&new, &old);
        prop_assert!(schema.validate(&new, Some(&new)).len() <= schema.validate(&new, None).len());
        schema.validate(&new, Some(&old));
    }

    #[test]
    fn any_json_can_be_a_schema(source in any_json(), object in any_json()) {
        if let Ok(schema) = Schema::compile(&source) {
            let mut object = object;
            schema.prune(&mut object);
            schema.default(&mut object);
            schema.validate(&object, None);
        }
    }

    #[test]
    fn any_json_can_be_a_definition(value in any_json(), part in any_json()) {
        let mut whole = json!({"metadata": value.clone(), "spec": value, "status": part.clone()});
        crd::default(&mut whole);
        crd::validate_create(&whole);
        let mut close = json!({"metadata": {"name": "a.b.c"}, "spec": {"group": "b.c",
            "names": {"plural": "a", "kind": "A"}, "scope": "Cluster", "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": part}]}});
        crd::default(&mut close);
        crd::validate_create(&close);
        crd::validate_update(&close, &whole);
        crd::warnings(&close, Some(&whole));
    }
}
