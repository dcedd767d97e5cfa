//! What a workspace costs is told to those who may read its metrics, and to nobody else.

use serde_json::Value;

use crate::views::workspace;
use crate::{ADMIN, MAPS, NOBODY, World, config_map};

const JSON: [(&str, &str); 1] = [("accept", "application/json")];

async fn costs(world: &World, path: &str) -> Value {
    let line = format!("GET /services/metrics/clusters/{path}");
    let answer = world.ask_with(&line, &JSON, None).await;
    assert_eq!(answer.code, 200, "{line}: {}", answer.body);
    answer.body
}

fn number(entry: &Value, name: &str) -> u64 {
    entry[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} in {entry}"))
}

#[tokio::test]
async fn requests_and_bytes_are_counted_where_they_belong() {
    let world = World::new().await;
    let other = workspace(&world, "other").await;
    let before = costs(&world, "root:w").await["workspaces"][0].clone();
    assert_eq!(
        (number(&before, "requests"), before.get("since")),
        (0, None)
    );
    assert!(number(&before, "objects") >= 8, "{before}");
    let mut map = config_map("m", "v");
    map["data"]["k"] = "x".repeat(1_000).into();
    assert_eq!(world.ask(&format!("POST {MAPS}"), Some(map)).await.0, 201);
    for _ in 0..3 {
        assert_eq!(world.ask(&format!("GET {MAPS}/m"), None).await.0, 200);
    }
    // In vain, and yet known: it is counted.
    assert_eq!(world.ask(&format!("GET {MAPS}/none"), None).await.0, 404);
    let after = costs(&world, "root:w").await["workspaces"][0].clone();
    assert_eq!(after["path"], "root:w");
    assert_eq!(number(&after, "requests"), 5);
    assert_eq!(number(&after, "objects"), number(&before, "objects") + 1);
    let stored = number(&after, "storedBytes") - number(&before, "storedBytes");
    assert!((1_000..3_000).contains(&stored), "{stored}");
    assert!(number(&after, "sentBytes") > 4_000, "{after}");
    assert!(number(&after, "receivedBytes") > 1_000, "{after}");
    assert!(number(&after, "cpuMicroseconds") > 0, "{after}");
    assert_eq!(number(&after, "watchBytes"), 0);
    assert!(after["since"].is_string());
    let other = costs(&world, &other).await["workspaces"][0].clone();
    assert_eq!(
        (number(&other, "requests"), &other["path"]),
        (0, &"root:other".into())
    );
}

#[tokio::test]
async fn what_a_watch_sends_is_counted() {
    let world = World::new().await;
    let made = world
        .ask(&format!("POST {MAPS}"), Some(config_map("m", "1")))
        .await;
    assert_eq!(made.0, 201);
    let line = format!("GET {MAPS}?watch=true&resourceVersion=0&timeoutSeconds=1");
    assert_eq!(world.ask(&line, None).await.0, 200);
    let after = costs(&world, "root:w").await["workspaces"][0].clone();
    assert!(number(&after, "watchBytes") > 200, "{after}");
    assert!(
        number(&after, "sentBytes") > number(&after, "watchBytes"),
        "{after}"
    );
}

#[tokio::test]
async fn prometheus_gets_a_page_and_children_are_listed() {
    let world = World::new().await;
    workspace(&world, "x").await;
    let (code, page) = world
        .ask("GET /services/metrics/clusters/root:w", None)
        .await;
    let page = page.as_str().unwrap();
    assert_eq!(code, 200);
    for wanted in [
        "workspace=\"root:w\",group=\"\",resource=\"namespaces\",identity=\"\"} 2",
        "# TYPE hanse_workspace_requests counter\nhanse_workspace_requests_total{cluster=",
        "# EOF",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    let below = costs(&world, "root?children=true").await;
    let entries = below["workspaces"].as_array().unwrap();
    let paths: Vec<&str> = entries.iter().filter_map(|e| e["path"].as_str()).collect();
    assert_eq!(paths, ["root", "root:w", "root:x"]);
    let rest = costs(&world, "root?children=true&continue=w").await;
    assert_eq!(rest["workspaces"][0]["path"], "root:x");
    assert_eq!(rest.get("continue"), None);
}

#[tokio::test]
async fn who_may_not_read_metrics_learns_nothing() {
    let world = World::new().await;
    for (token, path, code) in [
        (NOBODY, "root:w", 403),
        (NOBODY, "root:none", 403),
        ("", "root:w", 403),
        ("wrong", "root:w", 401),
        (ADMIN, "root:w", 200),
        (ADMIN, "root:none", 403),
        (crate::MASTER, "root:none", 404),
        (crate::MASTER, "nowhere", 404),
        (crate::MASTER, "Bad$", 404),
    ] {
        let line = format!("GET /services/metrics/clusters/{path}");
        let (found, body) = world.ask_as(token, &line, None).await;
        assert_eq!(found, code, "{token} {path}: {body}");
    }
    let line = "POST /services/metrics/clusters/root:w";
    assert_eq!(world.ask(line, None).await.0, 405);
}
