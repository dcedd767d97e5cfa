//! Lists: chunks, selectors, forms.

use serde_json::{Value, json};

use crate::{MAPS, World, config_map, version};

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect()
}

async fn five() -> World {
    let world = World::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        let value = if name < "c" { "low" } else { "high" };
        world
            .ask(&format!("POST {MAPS}"), Some(config_map(name, value)))
            .await;
    }
    world
}

#[tokio::test]
async fn chunks_of_one_list_show_one_version() {
    let world = five().await;
    let (_, first) = world.ask(&format!("GET {MAPS}?limit=2"), None).await;
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(
        first["metadata"]["remainingItemCount"], 4,
        "kube-root-ca.crt is there too"
    );
    world.ask(&format!("DELETE {MAPS}/d"), None).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let line = format!("GET {MAPS}?limit=500&continue={token}");
    let (_, rest) = world.ask(&line, None).await;
    assert_eq!(names(&rest), ["c", "d", "e", "kube-root-ca.crt"]);
    assert_eq!(version(&rest), version(&first));
    let line = format!("{line}&resourceVersion=7");
    assert_eq!(world.ask(&line, None).await.0, 400);
    assert_eq!(
        world
            .ask(&format!("GET {MAPS}?continue=bogus"), None)
            .await
            .0,
        400
    );
}

#[tokio::test]
async fn selectors_select() {
    let world = five().await;
    for (query, expected) in [
        ("labelSelector=v%3Dlow", &["a", "b"][..]),
        ("labelSelector=v%20in%20(high)", &["c", "d", "e"]),
        ("labelSelector=!v", &["kube-root-ca.crt"]),
        ("fieldSelector=metadata.name%3Dc", &["c"]),
        ("fieldSelector=metadata.name%3Dc&labelSelector=v%3Dlow", &[]),
        ("labelSelector=v%3Dhigh&limit=1", &["c"]),
    ] {
        let (_, list) = world.ask(&format!("GET {MAPS}?{query}"), None).await;
        assert_eq!(names(&list), expected, "{query}");
    }
    for query in [
        "fieldSelector=data.k%3Dx",
        "labelSelector=a%3D%3D%3Db",
        "limit=x",
    ] {
        assert_eq!(
            world.ask(&format!("GET {MAPS}?{query}"), None).await.0,
            400,
            "{query}"
        );
    }
    assert_eq!(
        world
            .ask(&format!("GET {MAPS}?resourceVersionMatch=Exact"), None)
            .await
            .0,
        422
    );
}

#[tokio::test]
async fn versions_of_the_past_are_exact() {
    let world = five().await;
    let (_, before) = world.ask(&format!("GET {MAPS}"), None).await;
    world.ask(&format!("DELETE {MAPS}/a"), None).await;
    let at = version(&before);
    let line = format!("GET {MAPS}?resourceVersion={at}&resourceVersionMatch=Exact");
    let (_, past) = world.ask(&line, None).await;
    assert_eq!(past, before);
    let line = format!("GET {MAPS}?resourceVersion={at}&resourceVersionMatch=NotOlderThan");
    let (_, now) = world.ask(&line, None).await;
    assert_eq!(names(&now), ["b", "c", "d", "e", "kube-root-ca.crt"]);
}

#[tokio::test]
async fn forms_are_tables_and_metadata_and_yaml() {
    let world = five().await;
    let get = format!("GET {MAPS}?labelSelector=v%3Dlow");
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let answer = world.ask_with(&get, &[("accept", table)], None).await;
    assert_eq!(answer.body["kind"], "Table");
    let cells = &answer.body["rows"][0]["cells"];
    assert_eq!((&cells[0], &cells[1]), (&json!("a"), &json!(1)));
    assert_eq!(
        answer.body["rows"][0]["object"]["kind"],
        "PartialObjectMetadata"
    );
    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let answer = world.ask_with(&get, &[("accept", partial)], None).await;
    assert_eq!(answer.body["kind"], "PartialObjectMetadataList");
    assert!(answer.body["items"][0]["data"].is_null());
    assert_eq!(answer.body["items"][0]["metadata"]["name"], "a");
    let single = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    assert_eq!(
        world.ask_with(&get, &[("accept", single)], None).await.code,
        406
    );
    let yaml = world
        .ask_with(&get, &[("accept", "application/yaml")], None)
        .await;
    assert!(yaml.body.as_str().unwrap().contains("kind: ConfigMapList"));
    assert_eq!(
        world
            .ask_with(&get, &[("accept", "application/xml")], None)
            .await
            .code,
        406
    );
    let (_, plain) = world.ask(&get, None).await;
    assert!(
        plain["items"][0]["kind"].is_null(),
        "items do not repeat their kind: {plain}"
    );
    assert_eq!(plain["items"][0]["data"]["k"], "low");
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let world = five().await;
    let (code, deleted) = world
        .ask(&format!("DELETE {MAPS}?labelSelector=v%3Dlow"), None)
        .await;
    assert_eq!((code, names(&deleted)), (200, vec!["a", "b"]));
    let (_, rest) = world.ask(&format!("GET {MAPS}"), None).await;
    assert_eq!(names(&rest), ["c", "d", "e", "kube-root-ca.crt"]);
}
