//! Failover as controllers: a site that falls silent, what becomes of its objects, and overrides
//! that differ from site to site.

use serde_json::{Value, json};

use super::{HOME, World, everything, play};

const SHORT: &str = r#"{"leaseSeconds": 1, "lateSeconds": 2, "lostSeconds": 8}"#;

fn short(jurisdiction: &str) -> Value {
    let times: Value = serde_json::from_str(SHORT).unwrap();
    json!({"times": times, "facts": {"jurisdiction": jurisdiction}})
}

impl World {
    /// The inboxes in which an object stands and is not going, as indices.
    fn there(&self, inboxes: &[String]) -> Vec<usize> {
        let stands = |inbox: &str| {
            let list = self.manifests(inbox);
            list.iter()
                .any(|m| m["metadata"].get("deletionTimestamp").is_none())
        };
        (0..inboxes.len())
            .filter(|i| stands(&inboxes[*i]))
            .collect()
    }

    /// Sites that say they live, for so many seconds.
    async fn live(&self, inboxes: &[&String], seconds: u64) {
        for _ in 0..seconds {
            for inbox in inboxes {
                self.renew(inbox).await;
            }
            self.wait(1).await;
        }
    }
}

/// Three sites, two of them in one jurisdiction; an object at one of the two, which falls silent.
/// Answers where it was, the others of the jurisdiction, and the one outside.
async fn silence(w: &World, failover: Value) -> ([String; 3], usize) {
    let inboxes = [
        w.site("a", short("de")).await,
        w.site("b", short("de")).await,
        w.site("c", short("fr")).await,
    ];
    let all: Vec<&String> = inboxes.iter().collect();
    w.live(&all, 3).await;
    let spread = json!({"count": 1});
    let sites = json!({"facts": {"jurisdictions": ["de"]}});
    let objects = everything();
    let spec = json!({"objects": objects, "sites": sites, "spread": spread, "failover": failover});
    w.placement("p", spec).await;
    w.deployment("web", 1).await;
    let at = w.there(&inboxes)[0];
    w.sync(&inboxes[at], 1).await;
    let others: Vec<&String> = inboxes.iter().filter(|i| **i != inboxes[at]).collect();
    w.live(&others, 30).await;
    (inboxes, at)
}

#[test]
fn an_object_moves_within_its_jurisdiction_after_the_grace() {
    play(|w| async move {
        let (inboxes, at) = silence(&w, json!({"graceSeconds": 60})).await;
        let others: Vec<&String> = inboxes.iter().filter(|i| **i != inboxes[at]).collect();
        assert_eq!(w.there(&inboxes), [at], "it is waited for");
        w.live(&others, 60).await;
        assert_eq!(w.there(&inboxes), [1 - at]);
        assert!(w.reasons("p")[at].ends_with("Lost"), "{:?}", w.reasons("p"));
        // The promise is durable: the tenant's Projection names the new site alone.
        let projection = &w.list(&w.sites.ids.projections, HOME)[0];
        assert_eq!(projection["spec"]["sites"].as_array().unwrap().len(), 1);
        // It comes back, and nothing moves for it.
        let all: Vec<&String> = inboxes.iter().collect();
        w.live(&all, 10).await;
        assert_eq!(w.there(&inboxes), [1 - at]);
    });
}

#[test]
fn purging_gracefully_waits_for_the_others_and_never_leaves_it() {
    for mode in ["Graceful", "Never"] {
        play(move |w| async move {
            let failover = json!({"graceSeconds": 1, "purge": mode});
            let (inboxes, at) = silence(&w, failover).await;
            let others: Vec<&String> = inboxes.iter().filter(|i| **i != inboxes[at]).collect();
            w.live(&others, 5).await;
            assert_eq!(w.there(&inboxes), [0, 1], "{mode}");
            let projection = &w.list(&w.sites.ids.projections, HOME)[0];
            let states = projection["status"]["sites"].as_array().unwrap().iter();
            assert_eq!(states.filter(|s| s["state"] == "Left").count(), 1);
            assert_eq!(projection["status"]["ready"], "0/1");
            w.sync(&inboxes[1 - at], 1).await;
            w.live(&others, 5).await;
            let left = if mode == "Never" {
                vec![0, 1]
            } else {
                vec![1 - at]
            };
            assert_eq!(w.there(&inboxes), left, "{mode}");
        });
    }
}

#[test]
fn rebalancing_makes_before_it_breaks() {
    play(|w| async move {
        let inboxes = [w.site("a", json!({})).await, w.site("b", json!({})).await];
        let spec = json!({"objects": everything(), "spread": {"count": 1}});
        w.placement("p", spec).await;
        w.deployment("web", 1).await;
        let best = w.there(&inboxes)[0];
        w.edit(["a", "b"][best], |s| {
            s["spec"]["taints"] = json!([{"key": "repair", "effect": "NoExecute"}]);
        })
        .await;
        w.wait(2).await;
        w.sync(&inboxes[best], 0).await;
        w.sync(&inboxes[1 - best], 1).await;
        w.edit(["a", "b"][best], |s| s["spec"]["taints"] = json!([]))
            .await;
        w.wait(2).await;
        assert_eq!(w.there(&inboxes), [1 - best], "valid decisions stay");
        let placement = w.get(&w.sites.ids.placements, HOME, "", "p").unwrap();
        w.change(&placement, |p| {
            p["spec"]["rebalance"] = json!({"requested": "2026-11-21T10:00:00Z"});
        })
        .await;
        w.wait(2).await;
        assert_eq!(w.there(&inboxes), [0, 1], "the new one is not healthy yet");
        w.sync(&inboxes[best], 1).await;
        w.wait(2).await;
        assert_eq!(w.there(&inboxes), [best]);
    });
}

#[test]
fn overrides_make_what_sites_get_differ_and_failures_are_told() {
    play(|w| async move {
        let inboxes = [w.site("a", json!({})).await, w.site("b", json!({})).await];
        let overrides = json!([
            {"sites": {"names": ["b"]},
             "patch": [{"op": "test", "path": "/spec/replicas", "value": 2},
                       {"op": "replace", "path": "/spec/replicas", "value": 9}]},
            {"fields": [{"path": "/metadata/annotations/at", "expression": "site.name"}]},
            {"sites": {"selector": {"matchLabels": {"site": "b"}}},
             "fields": [{"path": "/spec/x", "expression": "object.spec.replicas + 1"}]},
        ]);
        w.placement(
            "p",
            json!({"objects": everything(), "overrides": overrides}),
        )
        .await;
        let of = w.deployment("web", 2).await;
        let bodies = || {
            inboxes
                .each_ref()
                .map(|i| w.manifests(i)[0]["spec"]["object"].clone())
        };
        let [a, b] = bodies();
        assert_eq!(a["spec"], json!({"replicas": 2}));
        assert_eq!(b["spec"], json!({"replicas": 9, "x": 10}));
        assert_eq!(b["metadata"]["annotations"]["at"], "b");
        let web = w.get(&of, HOME, "default", "web").unwrap();
        w.change(&web, |o| o["spec"] = json!({})).await;
        w.wait(2).await;
        let condition = w.condition("p", "OverridesApplied");
        assert_eq!(condition["reason"], "OverrideFailed");
        let told = condition["message"].as_str().unwrap();
        assert!(told.starts_with("spec.overrides[0].patch: "), "{told}");
        assert!(told.ends_with("(deployments default/web)"), "{told}");
        let projection = &w.list(&w.sites.ids.projections, HOME)[0];
        let worst = &projection["status"]["sites"][0];
        assert_eq!(
            (&worst["site"], &worst["error"]["reason"]),
            (&json!("b"), &json!("OverrideFailed"))
        );
        assert_eq!(bodies()[1], b, "what is there stays");
    });
}
