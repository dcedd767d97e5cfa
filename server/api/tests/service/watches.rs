//! Watches: what is told, in which order, and how they end.

use std::time::Duration;

use hanse_api::body::Body;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::{MAPS, MASTER, World, config_map, version};

/// A watch being read.
struct Watch {
    body: Body,
    lines: std::collections::VecDeque<Value>,
}

impl Watch {
    async fn open(world: &World, query: &str) -> Self {
        Self::at(world, &format!("GET {MAPS}?watch=1&{query}")).await
    }

    async fn at(world: &World, line: &str) -> Self {
        let response = world.send(line, MASTER, &[], None).await;
        assert_eq!(response.status(), 200);
        Self {
            body: response.into_body(),
            lines: Default::default(),
        }
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Value> {
        while self.lines.is_empty() {
            let frame = tokio::time::timeout(Duration::from_secs(5), self.body.frame());
            let frame = frame.await.expect("an event or the end")?.unwrap();
            let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
            self.lines
                .extend(text.lines().map(|line| serde_json::from_str(line).unwrap()));
        }
        self.lines.pop_front()
    }

    /// The next event as `TYPE name`.
    async fn told(&mut self) -> String {
        let event = self.next().await.expect("an event");
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or("-");
        format!("{} {name}", event["type"].as_str().unwrap())
    }
}

#[tokio::test]
async fn a_list_and_a_watch_from_it_miss_nothing() {
    let world = World::new().await;
    let (_, list) = world.ask(&format!("GET {MAPS}"), None).await;
    let query = format!("resourceVersion={}", version(&list));
    world
        .ask(&format!("POST {MAPS}"), Some(config_map("a", "1")))
        .await;
    let mut watch = Watch::open(&world, &query).await;
    assert_eq!(watch.told().await, "ADDED a");
    world
        .ask(&format!("POST {MAPS}"), Some(config_map("b", "1")))
        .await;
    let (_, a) = world.ask(&format!("GET {MAPS}/a"), None).await;
    world.ask(&format!("PUT {MAPS}/a"), Some(a)).await;
    world.ask(&format!("DELETE {MAPS}/a"), None).await;
    assert_eq!(watch.told().await, "ADDED b");
    let gone = watch.next().await.unwrap();
    assert_eq!(
        gone["type"], "DELETED",
        "a write that changes nothing makes no event"
    );
    assert!(version(&gone["object"]) > version(&list));
}

#[tokio::test]
async fn selectors_turn_changes_into_arrivals_and_departures() {
    let world = World::new().await;
    let (_, list) = world.ask(&format!("GET {MAPS}"), None).await;
    let query = format!("labelSelector=v%3Din&resourceVersion={}", version(&list));
    let mut watch = Watch::open(&world, &query).await;
    world
        .ask(&format!("POST {MAPS}"), Some(config_map("a", "out")))
        .await;
    for value in ["in", "out", "in"] {
        world
            .ask(&format!("PUT {MAPS}/a"), Some(config_map("a", value)))
            .await;
    }
    assert_eq!(watch.told().await, "ADDED a");
    assert_eq!(watch.told().await, "DELETED a");
    assert_eq!(watch.told().await, "ADDED a");
}

#[tokio::test]
async fn a_streamed_list_says_where_it_ends() {
    let world = World::new().await;
    world
        .ask(&format!("POST {MAPS}"), Some(config_map("a", "1")))
        .await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Watch::open(&world, query).await;
    assert_eq!(watch.told().await, "ADDED a");
    assert_eq!(watch.told().await, "ADDED kube-root-ca.crt");
    let mark = watch.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(
        mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    world.ask(&format!("DELETE {MAPS}/a"), None).await;
    assert_eq!(watch.told().await, "DELETED a");
    for query in [
        "sendInitialEvents=true",
        "resourceVersionMatch=NotOlderThan",
    ] {
        let line = format!("GET {MAPS}?watch=1&{query}");
        assert_eq!(world.ask(&line, None).await.0, 422, "{query}");
    }
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_over() {
    let world = World::new().await;
    let query = "timeoutSeconds=1&resourceVersion=0&labelSelector=v";
    let mut watch = Watch::open(&world, query).await;
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn failures_after_the_options_are_events() {
    let world = World::new().await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan\
                 &allowWatchBookmarks=true&resourceVersion=99999999999";
    let mut watch = Watch::open(&world, query).await;
    let event = watch.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["code"]),
        (&json!("ERROR"), &json!(504))
    );
    assert_eq!(watch.next().await, None);
    assert_eq!(
        world
            .ask(&format!("GET {MAPS}?watch=1&resourceVersion=abc"), None)
            .await
            .0,
        500
    );
}

#[tokio::test]
async fn tables_tell_their_columns_once() {
    let world = World::new().await;
    world
        .ask(&format!("POST {MAPS}"), Some(config_map("a", "1")))
        .await;
    world
        .ask(&format!("POST {MAPS}"), Some(config_map("b", "1")))
        .await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let line = format!("GET {MAPS}?watch=1&labelSelector=v&timeoutSeconds=1");
    let response = world.send(&line, MASTER, &accept, None).await;
    let mut watch = Watch {
        body: response.into_body(),
        lines: Default::default(),
    };
    let first = watch.next().await.unwrap();
    assert!(first["object"]["columnDefinitions"].is_array());
    let second = watch.next().await.unwrap();
    assert!(second["object"]["columnDefinitions"].is_null());
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
}

pub const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

pub fn widgets(field: &str) -> Value {
    let schema = json!({"type": "object", "properties": {field: {"type": "string"}}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Cluster",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget",
                      "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                          "schema": {"openAPIV3Schema": schema}}]},
    })
}

#[tokio::test]
async fn watches_end_when_what_is_served_changes() {
    const WIDGETS: &str = "/apis/example.com/v1/widgets";
    let world = World::new().await;
    let (code, made) = world.ask(&format!("POST {CRDS}"), Some(widgets("a"))).await;
    assert_eq!(code, 201, "{made}");
    let line = format!("GET {WIDGETS}?watch=1");
    let crd = format!("{CRDS}/widgets.example.com");
    let merge = [("content-type", "application/merge-patch+json")];
    let patch = async |path: &str, change: Value| {
        let line = format!("PATCH {crd}{path}");
        let answer = world.ask_with(&line, &merge, Some(change)).await;
        assert_eq!(answer.code, 200, "{}", answer.body);
    };
    // No controller establishes CRDs in this world.
    let established = json!([{"type": "Established", "status": "True",
        "reason": "InitialNamesAccepted", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let names = &widgets("a")["spec"]["names"];
    patch(
        "/status",
        json!({"status": {"conditions": established, "acceptedNames": names}}),
    )
    .await;
    let other = Watch::open(&world, "").await;
    let mut watch = Watch::at(&world, &line).await;
    let object = json!({"apiVersion": "example.com/v1", "kind": "Widget",
        "metadata": {"name": "w"}, "a": "1"});
    world.ask(&format!("POST {WIDGETS}"), Some(object)).await;
    // Labels of a CRD change nothing of what is served.
    patch("", json!({"metadata": {"labels": {"x": "y"}}})).await;
    patch("", json!({"spec": widgets("b")["spec"]})).await;
    assert_eq!(watch.told().await, "ADDED w");
    assert_eq!(watch.next().await, None, "the schema has changed");
    let mut watch = Watch::at(&world, &line).await;
    assert_eq!(watch.told().await, "ADDED w");
    world.ask(&format!("DELETE {WIDGETS}/w"), None).await;
    world.ask(&format!("DELETE {crd}"), None).await;
    // Nobody collects what is left in this world: the finalizer goes by hand.
    let finalizers = json!({"metadata": {"finalizers": null}});
    world
        .ask_with(&format!("PATCH {crd}"), &merge, Some(finalizers))
        .await;
    assert_eq!(watch.told().await, "DELETED w");
    assert_eq!(watch.next().await, None, "the CRD is gone");
    assert_eq!(world.ask(&format!("GET {WIDGETS}"), None).await.0, 404);
    drop(other);
}

#[tokio::test]
async fn each_version_is_told_of_in_its_own_words() {
    let world = World::new().await;
    let mut crd = widgets("a");
    let mut second = crd["spec"]["versions"][0].clone();
    second["name"] = "v2".into();
    second["storage"] = false.into();
    crd["spec"]["versions"].as_array_mut().unwrap().push(second);
    let names = crd["spec"]["names"].clone();
    let (code, made) = world.ask(&format!("POST {CRDS}"), Some(crd)).await;
    assert_eq!(code, 201, "{made}");
    let established = json!({"status": {"acceptedNames": names, "conditions": [{
        "type": "Established", "status": "True", "reason": "InitialNamesAccepted", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    let line = format!("PATCH {CRDS}/widgets.example.com/status");
    let merge = [("content-type", "application/merge-patch+json")];
    let answer = world.ask_with(&line, &merge, Some(established)).await;
    assert_eq!(answer.code, 200, "{}", answer.body);
    let at = |version: &str| format!("/apis/example.com/{version}/widgets");
    let mut watches = Vec::new();
    for version in ["v1", "v2"] {
        let line = format!("GET {}?watch=1", at(version));
        watches.push((version, Watch::at(&world, &line).await));
    }
    let object = json!({"apiVersion": "example.com/v1", "kind": "Widget",
        "metadata": {"name": "w"}});
    let (code, made) = world.ask(&format!("POST {}", at("v1")), Some(object)).await;
    assert_eq!(code, 201, "{made}");
    for (version, watch) in &mut watches {
        let event = watch.next().await.unwrap();
        assert_eq!(
            event["object"]["apiVersion"],
            format!("example.com/{version}")
        );
    }
}
