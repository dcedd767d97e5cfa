//! The four patches.

use serde_json::{Value, json};

use crate::{MAPS, World, config_map, version};

const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

async fn patch(world: &World, query: &str, media: &str, body: Value) -> (u16, Value) {
    let line = format!("PATCH {MAPS}/a{query}");
    let answer = world
        .ask_with(&line, &[("content-type", media)], Some(body))
        .await;
    (answer.code, answer.body)
}

#[tokio::test]
async fn patches_change_what_they_say() {
    let world = World::new().await;
    world
        .ask(&format!("POST {MAPS}"), Some(config_map("a", "1")))
        .await;
    let (code, object) = patch(&world, "", MERGE, json!({"data": {"k": null, "l": "2"}})).await;
    assert_eq!((code, &object["data"]), (200, &json!({"l": "2"})));
    let add = json!([{"op": "add", "path": "/data/m", "value": "3"}]);
    let (code, object) = patch(&world, "", JSON, add).await;
    assert_eq!((code, &object["data"]["m"]), (200, &json!("3")));
    let hold = json!({"metadata": {"finalizers": ["example.com/a"]}});
    patch(&world, "", STRATEGIC, hold).await;
    let hold = json!({"metadata": {"finalizers": ["example.com/b"]}});
    let (_, object) = patch(&world, "", STRATEGIC, hold).await;
    let finalizers = object["metadata"]["finalizers"].as_array().unwrap();
    assert_eq!(finalizers.len(), 2, "primitive lists merge: {finalizers:?}");
    let (_, same) = patch(&world, "", MERGE, json!({"data": {"l": "2"}})).await;
    assert_eq!(version(&same), version(&object));
}

#[tokio::test]
async fn patches_that_do_not_fit_are_refused() {
    let world = World::new().await;
    world
        .ask(&format!("POST {MAPS}"), Some(config_map("a", "1")))
        .await;
    let absent = json!([{"op": "remove", "path": "/data/zzz"}]);
    let stale = json!({"metadata": {"resourceVersion": "1"}});
    let many: Vec<Value> = (0..10_001)
        .map(|_| json!({"op": "test", "path": "/data/k", "value": "1"}))
        .collect();
    for (query, media, body, code) in [
        ("", "application/json", json!({}), 415),
        ("", JSON, absent, 422),
        ("", JSON, json!({}), 400),
        ("", JSON, many.into(), 413),
        ("", MERGE, json!({"metadata": {"uid": "other"}}), 422),
        (
            "",
            MERGE,
            json!({"metadata": {"finalizers": ["short"]}}),
            422,
        ),
        ("", MERGE, json!([]), 400),
        ("", MERGE, stale, 409),
        ("", MERGE, json!({"kind": "Secret"}), 422),
        ("?force=true", MERGE, json!({}), 422),
        ("?fieldValidation=Strict", MERGE, json!({"nope": 1}), 422),
        ("", APPLY, config_map("a", "1"), 422),
    ] {
        let (got, answer) = patch(&world, query, media, body.clone()).await;
        assert_eq!(got, code, "{media} {body}: {answer}");
    }
}

#[tokio::test]
async fn appliers_own_what_they_apply() {
    let world = World::new().await;
    let of = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
    let nameless = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    let (code, refused) = patch(&world, "?fieldManager=one", APPLY, nameless).await;
    assert_eq!(code, 400);
    let why = "the name of the object (a based on URL) was undeterminable: name must be provided";
    assert_eq!(refused["message"], why);
    let (code, made) = patch(&world, "?fieldManager=one", APPLY, of(json!({"x": "1"}))).await;
    assert_eq!(code, 201, "{made}");
    let (code, refused) = patch(&world, "?fieldManager=two", APPLY, of(json!({"x": "2"}))).await;
    assert_eq!(code, 409);
    assert_eq!(
        refused["message"],
        "Apply failed with 1 conflict: conflict with \"one\": .data.x"
    );
    let force = "?fieldManager=two&force=true";
    let (code, taken) = patch(&world, force, APPLY, of(json!({"x": "2"}))).await;
    assert_eq!((code, &taken["data"]["x"]), (200, &json!("2")));
    let (_, again) = patch(&world, force, APPLY, of(json!({"x": "2"}))).await;
    assert_eq!(version(&again), version(&taken));
    let (_, dropped) = patch(&world, force, APPLY, of(json!({}))).await;
    assert!(
        dropped["data"]["x"].is_null(),
        "what its only owner no longer applies goes"
    );
}
