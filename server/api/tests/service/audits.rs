//! Audit: what is written of a request, at which level and when.

use std::io::Write;
use std::sync::Arc;

use hanse_api::audit::{Log, Policy};
use hanse_api::metrics::Metrics;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{MAPS, MASTER, NOBODY, World, config_map};

/// A log that can be read.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Shared {
    /// The events about ConfigMaps, once there are so many.
    async fn events(&self, count: usize) -> Vec<Value> {
        for _ in 0..500 {
            let text = String::from_utf8(self.0.lock().clone()).unwrap();
            let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
            let events: Vec<Value> = events
                .filter(|event: &Value| event["objectRef"]["resource"] == "configmaps")
                .collect();
            if events.len() >= count {
                return events;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("there are no {count} events")
    }
}

async fn audited(policy: Value) -> (World, Shared) {
    let log = Shared::default();
    let policy = Policy::from_value(&policy).unwrap();
    let shared = log.clone();
    let world = World::with(|parts| {
        let metrics = Metrics::new("v1.36.0");
        parts.audit = Some(Log::new(policy, Box::new(shared), &parts.seams, metrics));
    });
    (world.await, log)
}

fn policy(rule: Value) -> Value {
    json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [rule]})
}

#[tokio::test]
async fn bodies_are_recorded_where_the_level_asks_for_them() {
    let rule = json!({"level": "RequestResponse", "omitStages": ["RequestReceived"],
        "omitManagedFields": true});
    let (world, log) = audited(policy(rule)).await;
    let create = format!("POST {MAPS}?fieldManager=m");
    let (_, made) = world.ask(&create, Some(config_map("a", "1"))).await;
    assert!(made["metadata"]["managedFields"].is_array());
    let (code, _) = world.ask(&format!("GET {MAPS}/none"), None).await;
    assert_eq!(code, 404);
    world.ask(&format!("GET {MAPS}"), None).await;
    world.send(&format!("GET {MAPS}"), NOBODY, &[], None).await;
    let events = log.events(4).await;
    let created = &events[0];
    assert_eq!(created["level"], "RequestResponse");
    assert_eq!(created["stage"], "ResponseComplete");
    assert_eq!(
        (&created["verb"], &created["objectRef"]["name"]),
        (&json!("create"), &json!("a"))
    );
    assert_eq!(created["requestObject"]["data"]["k"], "1");
    let answered = &created["responseObject"];
    assert_eq!(answered["metadata"]["uid"], made["metadata"]["uid"]);
    assert!(answered["metadata"].get("managedFields").is_none());
    assert_eq!(
        created["responseStatus"],
        json!({"metadata": {}, "code": 201})
    );
    assert_eq!(
        created["annotations"]["authorization.k8s.io/decision"],
        "allow"
    );
    assert_eq!(events[1]["responseStatus"]["reason"], "NotFound");
    assert_eq!(events[1]["responseStatus"]["details"]["name"], "none");
    assert_eq!(events[2]["responseObject"]["items"][0]["data"]["k"], "1");
    assert_eq!(
        events[3]["annotations"]["authorization.k8s.io/decision"],
        "forbid"
    );
}

#[tokio::test]
async fn a_watch_is_recorded_when_it_starts_and_when_it_ends() {
    let (world, log) = audited(policy(json!({"level": "Metadata"}))).await;
    let line = format!("GET {MAPS}?watch=1&timeoutSeconds=1");
    let watch = world.send(&line, MASTER, &[], None).await;
    let stages = |events: &[Value]| -> Vec<String> {
        let stage = |event: &Value| event["stage"].as_str().unwrap().to_owned();
        events.iter().map(stage).collect()
    };
    let events = log.events(2).await;
    assert_eq!(stages(&events), ["RequestReceived", "ResponseStarted"]);
    assert!(events[0].get("responseStatus").is_none());
    drop(watch);
    let events = log.events(3).await;
    assert_eq!(stages(&events)[2], "ResponseComplete");
    assert_eq!(events[2]["responseStatus"]["code"], 200);
    assert_eq!(events[2]["auditID"], events[0]["auditID"]);
    assert!(
        events
            .iter()
            .all(|event| event.get("responseObject").is_none())
    );
}
