//! What is put back into a document stands where canonical JSON wants it.

use std::sync::Arc;

use hanse_json::{Value, json, to_vec};
use proptest::prelude::*;

use super::key;
use crate::document::DocumentError;
use crate::object::Body;
use crate::{Document, Object, SchemaHash};

fn object(value: &Value) -> Object {
    let fields = [("spec.type", "a"), ("status.phase", "b")];
    let document = Document::from_value(value, fields, SchemaHash([7; 16])).unwrap();
    let body = Body::new(key("a\"b", "ns", "n"), document.value(), |_| None).unwrap();
    Object::new(Arc::new(body), 513)
}

/// The tree as it should come back.
fn expected(value: &Value) -> Value {
    let mut value = value.clone();
    let metadata = value["metadata"].as_object_mut().unwrap();
    if !metadata.get("annotations").is_some_and(Value::is_object) {
        metadata.insert("annotations".into(), json!({}));
    }
    metadata.insert("resourceVersion".into(), json!("513"));
    metadata["annotations"]["kcp.io/cluster"] = json!("a\"b");
    value
}

fn check(value: &Value) {
    let object = object(value);
    let bytes = object.json();
    let wanted = to_vec(&expected(value));
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        String::from_utf8_lossy(&wanted)
    );
    assert_eq!(object.value(), expected(value));
    assert_eq!(
        object.json_len() + ",\"resourceVersion\":\"513\"".len(),
        bytes.len()
    );
    object.slices(|slices| {
        assert_eq!(slices.total(), bytes.len());
        for most in [1, 7, 1_000] {
            let mut out = Vec::new();
            while out.len() < bytes.len() {
                let before = out.len();
                slices.write_window(before, most, &mut out);
                assert!(out.len() > before && out.len() - before <= most);
            }
            assert_eq!(out, bytes, "in windows of {most}");
            slices.write_window(bytes.len(), most, &mut out);
            assert_eq!(out.len(), bytes.len());
        }
    });
}

#[test]
fn the_entry_says_what_the_tree_says() {
    let value = json!({"metadata": {"name": "n", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"b": "2", "a": "1"}, "ownerReferences": [{"uid": "x"}, {"uid": "y"}],
        "annotations": {"note": "ü"}}});
    let object = object(&value);
    assert_eq!(object.uid(), "u");
    assert!(object.is_deleting());
    assert_eq!(
        object.labels().collect::<Vec<_>>(),
        [("a", "1"), ("b", "2")]
    );
    assert_eq!(object.label("b"), Some("2"));
    assert_eq!(object.owners().collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(object.field("status.phase"), Some("b"));
    assert_eq!(object.field("metadata.namespace"), Some("ns"));
    assert_eq!(object.field("spec.other"), None);
    assert_eq!(object.schema(), SchemaHash([7; 16]));
    assert_eq!(object.annotation("note").as_deref(), Some("ü"));
    assert_eq!(object.annotation("kcp.io/cluster").as_deref(), Some("a\"b"));
}

#[test]
fn what_is_no_object_is_refused() {
    for value in [
        json!(1),
        json!({}),
        json!({"metadata": 1}),
        json!({"metadata": {}}),
        json!({"metadata": {"name": "n", "annotations": []}}),
    ] {
        let document = Document::from_value(&value, [("", ""); 0], SchemaHash::default());
        assert_eq!(document.unwrap_err(), DocumentError::NotAnObject, "{value}");
    }
}

#[test]
fn damaged_values_are_refused() {
    let value = json!({"metadata": {"name": "n", "labels": {"a": "1"}}});
    let document = Document::from_value(&value, [("f", "v")], SchemaHash::default()).unwrap();
    let good = document.value().to_vec();
    assert!(Body::new(key("c", "ns", "n"), &good, |_| None).is_ok());
    let entry = good.len() - value.to_string().len();
    for length in 0..entry {
        assert!(
            Body::new(key("c", "ns", "n"), &good[..length], |_| None).is_err(),
            "{length}"
        );
    }
    let mut newer = good;
    newer[0] += 1;
    assert!(Body::new(key("c", "ns", "n"), &newer, |_| None).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_metadata_comes_back(
        names in proptest::collection::btree_map("[a-z]{1,4}(.io/[a-z]{1,3})?", ".{0,3}", 0..4),
        own in any::<bool>(),
        annotated in any::<bool>(),
        others in proptest::collection::btree_map("[a-zA-Z]{1,12}", any::<i32>(), 0..4),
        versioned in any::<bool>(),
        root in proptest::collection::btree_map("[a-z]{1,10}", any::<i32>(), 0..4),
    ) {
        let mut value = json!(root);
        value["metadata"] = json!(others);
        value["metadata"]["name"] = json!("n");
        if annotated {
            value["metadata"]["annotations"] = json!(names);
            if own {
                value["metadata"]["annotations"]["kcp.io/cluster"] = json!("stale");
            }
        }
        if versioned {
            value["metadata"]["resourceVersion"] = json!("1");
        }
        check(&value);
    }
}
