//! What must hold whatever clients send: no panic, and decoding what was decoded changes nothing.

#![allow(clippy::unwrap_used)]

use hanse_json::{Map, Value, json};
use hanse_kinds::quantity::{Quantity, canonical};
use hanse_kinds::{ResourceDef, Update, builtin};
use proptest::prelude::*;

/// Names that mean something somewhere, so that random objects get past the first field.
const NAMES: [&str; 40] = [
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "namespace",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "spec",
    "status",
    "data",
    "binaryData",
    "stringData",
    "type",
    "immutable",
    "rules",
    "verbs",
    "resources",
    "apiGroups",
    "subjects",
    "roleRef",
    "webhooks",
    "clientConfig",
    "url",
    "service",
    "hard",
    "scopes",
    "conditions",
    "versions",
    "schema",
    "openAPIV3Schema",
    "properties",
    "items",
    "matchConstraints",
    "validations",
    "expression",
    "involvedObject",
    "series",
    "eventTime",
];

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f32>().prop_filter_map("finite", |f| f.is_finite().then(|| json!(f))),
        "[a-zA-Z0-9:/.*= -]{0,12}".prop_map(Value::from),
        Just(json!("2026-11-21T00:00:00Z")),
        Just(json!("YQ==")),
    ];
    leaf.prop_recursive(6, 96, 8, |inner| {
        let name = prop_oneof![
            9 => prop::sample::select(NAMES.as_slice()).prop_map(str::to_owned),
            1 => "[a-z]{1,4}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..8)
                .prop_map(|map| Value::Object(Map::from_iter(map))),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    tree().prop_filter("objects only", Value::is_object)
}

proptest! {
    #[test]
    fn decoding_is_idempotent(value in object()) {
        for def in builtin() {
            let def: &ResourceDef = def;
            let mut once = value.clone();
            if def.schema.decode(&mut once).is_ok() {
                let mut twice = once.clone();
                let unknown = def.schema.decode(&mut twice).unwrap();
                prop_assert!(unknown.is_empty(), "{}: {unknown:?}", def.kind);
                prop_assert_eq!(&twice, &once, "{}", def.kind);
            }
        }
    }

    #[test]
    fn hooks_answer_for_any_object(value in object(), old in object()) {
        for def in builtin() {
            let (mut new, mut old) = (value.clone(), old.clone());
            if def.schema.decode(&mut new).is_err() || def.schema.decode(&mut old).is_err() {
                continue;
            }
            (def.hooks.default)(&mut new);
            let defaulted = new.clone();
            (def.hooks.default)(&mut new);
            prop_assert_eq!(&new, &defaulted, "{}: defaults twice", def.kind);
            let _ = (def.hooks.validate)(&new);
            let _ = (def.hooks.warnings)(&new, Some(&old));
            let cells = def.columns.cells(&new, 0);
            prop_assert_eq!(cells.len(), def.columns.heads().len());
            for subresource in ["", "status", "approval", "finalize"] {
                let update = Update { old: &old, subresource };
                let mut changed = new.clone();
                (def.hooks.prepare_update)(&mut changed, update);
                let _ = (def.hooks.validate_update)(&changed, update);
            }
            (def.hooks.prepare_create)(&mut new);
        }
    }

    #[test]
    fn quantities_have_a_fixed_point(text in "[+-]?[0-9]{0,12}[.]?[0-9]{0,6}(|[numkMGTPE]|[KMGTPE]i|e[0-9]|E-[0-9])") {
        if let Ok(form) = canonical(&text) {
            prop_assert_eq!(canonical(&form).unwrap(), form.clone());
            let (a, b) = (Quantity::parse(&text).unwrap(), Quantity::parse(&form).unwrap());
            prop_assert!(a.partial_cmp(&b) == Some(std::cmp::Ordering::Equal), "{text} {form}");
        }
    }
}
