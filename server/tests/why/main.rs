//! `why` names the cause: faults planted between a tenant's request and the health of what it asked
//! for, and what the first broken link says of each.
//!
//! Start at [`faults`]. The hub's controllers and the agent are the product's own, in one
//! simulated machine with an API server in memory below. Each row plants one fault and says in
//! which link and in which words its cause must be named.

#![allow(clippy::unwrap_used, clippy::panic)]

mod world;

use std::future::Future;
use std::pin::Pin;

use hanse_apis::sites::names;
use hanse_client::{Error, PatchKind, Refusal};
use hanse_projection::why::{chain, first};
use serde_json::{Value, json};

use world::{HOME, World, everything, kind, play, stored};

type Plant = fn(World) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is planted, the link that must say so, the words that it must say.
type Fault = (&'static str, &'static str, &'static [&'static str], Plant);

macro_rules! fault {
    ($what:literal, $stage:literal, [$($word:literal),*], |$w:ident| $plant:block) => {
        ($what, $stage, &[$($word),*], |$w: World| Box::pin(async move { $plant }))
    };
}

/// The share of faults whose cause the first line must name: 28 of 30.
const NAMED_PERCENT: usize = 93;

/// Refuses writes of a kind below with these words.
fn refuse(w: &World, plural: &'static str, code: u16, reason: &'static str, message: &'static str) {
    w.site.intercept(Some(Box::new(move |r| {
        let hit = r.method == "PATCH" && r.path.contains(&format!("/{plural}/"));
        let body = json!({"reason": reason, "message": message}).to_string();
        hit.then(|| Error::Refused(Box::new(Refusal::new(code, None, body.into()))))
    })));
}

async fn thing(w: &World, spec: Value) {
    w.ask(("example.com", "things", "default", "one"));
    let value = json!({
        "apiVersion": "example.com/v1", "kind": "Thing", "spec": spec,
        "metadata": {"name": "one", "namespace": "default", "generation": 1},
    });
    w.create(&stored("example.com", "things"), value).await;
    w.wait(3).await;
}

fn things() -> Value {
    json!({"objects": [{"group": "example.com", "resource": "things"}]})
}

/// What stands between the request and the sites.
fn above() -> Vec<Fault> {
    vec![
        fault!(
            "the object was never made",
            "request",
            ["there is no deployments.apps \"web\""],
            |w| {
                w.join(json!({})).await;
            }
        ),
        fault!(
            "a finalizer holds its end",
            "request",
            ["being deleted", "example.com/hold"],
            |w| {
                w.usual().await;
                w.change(&w.web(), |o| {
                    o["metadata"]["finalizers"]
                        .as_array_mut()
                        .unwrap()
                        .push(json!("example.com/hold"));
                })
                .await;
                w.delete(&w.web()).await;
                w.wait(10).await;
            }
        ),
        fault!(
            "a label keeps it here",
            "policy",
            ["sites.hanse.dev/ignore"],
            |w| {
                w.join(json!({})).await;
                w.placement(everything()).await;
                w.deploy(|o| o["metadata"]["labels"][names::IGNORE_LABEL] = json!(""))
                    .await;
            }
        ),
        fault!(
            "its kind never travels",
            "policy",
            ["roles.rbac.authorization.k8s.io never travel"],
            |w| {
                w.ask(("rbac.authorization.k8s.io", "roles", "default", "r"));
                w.join(json!({})).await;
                let objects = json!([{"group": "rbac.authorization.k8s.io", "resource": "roles"}]);
                w.placement(json!({"objects": objects})).await;
                let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                              "metadata": {"name": "r", "namespace": "default"}});
                w.create(&stored("rbac.authorization.k8s.io", "roles"), role)
                    .await;
            }
        ),
        fault!(
            "a rule excludes its name",
            "policy",
            ["projectionrule/rule", "excludeNames"],
            |w| {
                w.rule(
                    json!({"group": "apps", "resource": "deployments", "excludeNames": ["web"]}),
                )
                .await;
                w.usual().await;
            }
        ),
        fault!(
            "a rule does not compile",
            "policy",
            ["projectionrule/rule", "spec.health"],
            |w| {
                let health = "status.x ==";
                w.rule(json!({"group": "apps", "resource": "deployments", "health": health}))
                    .await;
                w.usual().await;
            }
        ),
        fault!(
            "there is no Placement",
            "placement",
            ["there is no Placement"],
            |w| {
                w.join(json!({})).await;
                w.deploy(|_| {}).await;
            }
        ),
        fault!(
            "the Placement names another kind",
            "placement",
            ["placement/p does not name deployments.apps"],
            |w| {
                w.join(json!({})).await;
                w.placement(things()).await;
                w.deploy(|_| {}).await;
            }
        ),
        fault!(
            "the Placement names another namespace",
            "placement",
            ["does not name the namespace default"],
            |w| {
                w.join(json!({})).await;
                w.placement(json!({"objects": [
                {"group": "apps", "resource": "deployments", "namespaces": ["other"]}]}))
                    .await;
                w.deploy(|_| {}).await;
            }
        ),
        fault!(
            "the Placement asks for other labels",
            "placement",
            ["placement/p asks for other labels"],
            |w| {
                w.join(json!({})).await;
                w.placement(
                    json!({"objects": [{"group": "apps", "resource": "deployments",
                "selector": {"matchLabels": {"app": "db"}}}]}),
                )
                .await;
                w.deploy(|_| {}).await;
            }
        ),
        fault!(
            "the Placement's expression is not true of it",
            "placement",
            ["not true of it"],
            |w| {
                w.join(json!({})).await;
                w.placement(
                    json!({"objects": [{"group": "apps", "resource": "deployments",
                "expression": "object.spec.replicas > 5"}]}),
                )
                .await;
                w.deploy(|_| {}).await;
            }
        ),
        fault!(
            "the Placement's author has no Site",
            "placement",
            ["placement/p: NoSites"],
            |w| {
                w.placement(everything()).await;
                w.deploy(|_| {}).await;
            }
        ),
        fault!(
            "the Site's labels differ",
            "placement",
            ["placement/p: NoneFits", "a: LabelsDiffer"],
            |w| {
                w.join(json!({})).await;
                let mut spec = everything();
                spec["sites"] = json!({"selector": {"matchLabels": {"region": "us"}}});
                w.placement(spec).await;
                w.deploy(|_| {}).await;
            }
        ),
        fault!("the Site is not named", "placement", ["a: NotNamed"], |w| {
            w.join(json!({})).await;
            let mut spec = everything();
            spec["sites"] = json!({"names": ["elsewhere"]});
            w.placement(spec).await;
            w.deploy(|_| {}).await;
        }),
        fault!(
            "the Site is cordoned",
            "placement",
            ["a: Unschedulable"],
            |w| {
                w.join(json!({"unschedulable": true})).await;
                w.placement(everything()).await;
                w.deploy(|_| {}).await;
            }
        ),
        fault!(
            "no syncer has ever joined",
            "placement",
            ["a: NotJoined"],
            |w| {
                w.planned("a", json!({})).await;
                w.placement(everything()).await;
                w.deploy(|_| {}).await;
            }
        ),
        fault!(
            "a transform fails",
            "render",
            ["down[0] spec.x", "no such key: n"],
            |w| {
                w.join(json!({})).await;
                w.rule(json!({"group": "example.com", "resource": "things",
                "down": [{"path": "spec.x", "expression": "object.spec.n"}]}))
                    .await;
                w.placement(things()).await;
                thing(&w, json!({})).await;
            }
        ),
        fault!(
            "the object is too large",
            "render",
            ["TooLarge", "1 MiB"],
            |w| {
                w.join(json!({})).await;
                w.placement(things()).await;
                thing(&w, json!({"text": "x".repeat(1 << 20)})).await;
            }
        ),
        fault!(
            "the site takes no such kind outside of namespaces",
            "render",
            ["NotAccepted", "clusterScoped"],
            |w| {
                w.ask(("example.com", "globals", "", "one"));
                w.join(json!({})).await;
                w.placement(json!({"objects": [{"group": "example.com", "resource": "globals"}]}))
                    .await;
                let value = json!({"apiVersion": "example.com/v1", "kind": "Global",
                               "metadata": {"name": "one"}});
                w.create(&stored("example.com", "globals"), value).await;
            }
        ),
    ]
}

/// What stands between the hub and the object below.
fn between() -> Vec<Fault> {
    vec![
        fault!(
            "the site has gone silent",
            "apply",
            ["a: silent for"],
            |w| {
                w.join(json!({"times": {"leaseSeconds": 1, "lateSeconds": 2, "lostSeconds": 4}}))
                    .await;
                w.placement(everything()).await;
                w.deploy(|_| {}).await;
                w.wait(2).await;
                w.stop_agent();
                w.wait(20).await;
            }
        ),
        fault!(
            "the syncer has not spoken yet",
            "apply",
            ["a: sent, and its syncer has not said anything"],
            |w| {
                w.join(json!({})).await;
                w.stop_agent();
                w.placement(everything()).await;
                w.deploy(|_| {}).await;
            }
        ),
        fault!(
            "the site does not serve the kind",
            "apply",
            ["Incompatible", "does not serve others.example.com"],
            |w| {
                w.ask(("example.com", "others", "default", "one"));
                w.join(json!({})).await;
                w.placement(json!({"objects": [{"group": "example.com", "resource": "others"}]}))
                    .await;
                let value = json!({"apiVersion": "example.com/v1", "kind": "Other",
                               "metadata": {"name": "one", "namespace": "default"}});
                w.create(&stored("example.com", "others"), value).await;
            }
        ),
        fault!(
            "a field is unknown below",
            "apply",
            ["Incompatible", ".spec.foo"],
            |w| {
                refuse(
                    &w,
                    "deployments",
                    500,
                    "",
                    "failed to create typed patch object (a; apps/v1, \
                Kind=Deployment): .spec.foo: field not declared in schema",
                );
                w.usual().await;
            }
        ),
        fault!(
            "a webhook refuses it",
            "apply",
            ["a: Rejected", "image not signed"],
            |w| {
                refuse(
                    &w,
                    "deployments",
                    400,
                    "BadRequest",
                    "admission webhook \"v.example.com\" denied the request: image not signed",
                );
                w.usual().await;
            }
        ),
        fault!(
            "a quota is full",
            "apply",
            ["a: Forbidden", "exceeded quota: pods"],
            |w| {
                refuse(&w, "deployments", 403, "Forbidden", "exceeded quota: pods");
                w.usual().await;
            }
        ),
        fault!(
            "the syncer may not write it",
            "apply",
            ["a: Forbidden", "cannot patch resource"],
            |w| {
                refuse(
                    &w,
                    "deployments",
                    403,
                    "Forbidden",
                    "User \"hanse-syncer\" cannot patch resource \"deployments\"",
                );
                w.usual().await;
            }
        ),
        fault!("the API below is away", "apply", ["a: Unreachable"], |w| {
            w.join(json!({})).await;
            w.site.cut(true);
            w.placement(everything()).await;
            w.deploy(|_| {}).await;
        }),
        fault!("its name is taken below", "apply", ["a: NotOurs"], |w| {
            w.join(json!({})).await;
            let objects =
                json!([{"resource": "configmaps"}, {"group": "apps", "resource": "deployments"}]);
            w.placement(json!({"objects": objects})).await;
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
                             "metadata": {"name": "m", "namespace": "default"}});
            w.create(&stored("", "configmaps"), map).await;
            w.wait(3).await;
            let theirs = json!({"metadata": {"name": "web", "namespace": w.namespace().await}});
            let api = w.site.api();
            api.create(&kind("apps", "deployments"), &theirs)
                .await
                .unwrap();
            w.deploy(|_| {}).await;
        }),
        fault!(
            "somebody else holds a field",
            "apply",
            ["Conflict", ".spec.replicas is held by \"test\""],
            |w| {
                w.usual().await;
                let namespace = w.namespace().await;
                let scale = json!({"spec": {"replicas": 9}});
                let at = (namespace.as_str(), "web", "");
                let api = w.site.api();
                api.patch(&kind("apps", "deployments"), at, PatchKind::Merge, &scale)
                    .await
                    .unwrap();
            }
        ),
        fault!(
            "somebody undoes it again and again",
            "apply",
            ["a: Fight"],
            |w| {
                w.usual().await;
                let namespace = w.namespace().await;
                for _ in 0..6 {
                    let api = w.site.api();
                    let _ = api
                        .delete(&kind("apps", "deployments"), &namespace, "web", None)
                        .await;
                    w.wait(5).await;
                }
            }
        ),
        fault!(
            "its account has no token",
            "apply",
            ["a: NoToken", "serviceaccounts/runner"],
            |w| {
                w.join(json!({})).await;
                w.placement(everything()).await;
                w.deploy(|o| {
                    o["metadata"]["annotations"] = json!({names::API_ACCESS_ANNOTATION: "true"});
                    o["spec"]["template"]["spec"]["serviceAccountName"] = json!("runner");
                })
                .await;
            }
        ),
        fault!(
            "a Secret that it names is missing",
            "apply",
            ["secrets/tls is named by it"],
            |w| {
                w.join(json!({})).await;
                w.placement(everything()).await;
                w.deploy(|o| {
                    let volumes = json!([{"name": "v", "secret": {"secretName": "tls"}}]);
                    o["spec"]["template"]["spec"]["volumes"] = volumes;
                })
                .await;
            }
        ),
        fault!(
            "its end is held below",
            "request",
            ["being deleted", "still at site a"],
            |w| {
                w.usual().await;
                let namespace = w.namespace().await;
                let held = json!({"metadata": {"finalizers": ["example.com/slow"]}});
                let at = (namespace.as_str(), "web", "");
                let api = w.site.api();
                api.patch(&kind("apps", "deployments"), at, PatchKind::Merge, &held)
                    .await
                    .unwrap();
                w.delete(&w.web()).await;
                w.wait(10).await;
            }
        ),
    ]
}

/// What is wrong with the object where it stands.
fn below() -> Vec<Fault> {
    vec![
        fault!(
            "its Pods crash",
            "health",
            ["a: Progressing", "BackOff", "pod/web-5f-x"],
            |w| {
                w.usual().await;
                let namespace = w.namespace().await;
                let event = json!({
                    "type": "Warning", "reason": "BackOff", "message": "restarting failed container",
                    "firstTimestamp": w.tenancy.maker().now(),
                    "metadata": {"name": "e", "namespace": namespace},
                    "involvedObject": {"kind": "Pod", "name": "web-5f-x", "namespace": namespace},
                });
                w.site
                    .api()
                    .create(&kind("", "events"), &event)
                    .await
                    .unwrap();
                w.told(
                    &kind("apps", "deployments"),
                    "web",
                    json!({"observedGeneration": 1, "replicas": 1, "readyReplicas": 0}),
                )
                .await;
            }
        ),
        fault!(
            "its roll-out has come to a stop",
            "health",
            ["a: Degraded", "ProgressDeadlineExceeded"],
            |w| {
                w.usual().await;
                w.told(&kind("apps", "deployments"), "web", json!({
                "observedGeneration": 1, "replicas": 1, "conditions": [{"type": "Progressing",
                "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}],
            })).await;
            }
        ),
        fault!(
            "its Pods cannot be made",
            "health",
            ["ReplicaFailure", "exceeded quota"],
            |w| {
                w.usual().await;
                w.told(&kind("apps", "deployments"), "web", json!({
                "observedGeneration": 1, "conditions": [{"type": "ReplicaFailure", "status": "True",
                "reason": "FailedCreate", "message": "exceeded quota"}],
            })).await;
            }
        ),
        fault!(
            "the Job has failed",
            "health",
            ["a: Degraded", "BackoffLimitExceeded"],
            |w| {
                w.ask(("batch", "jobs", "default", "once"));
                w.join(json!({})).await;
                w.placement(json!({"objects": [{"group": "batch", "resource": "jobs"}]}))
                    .await;
                let job = json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {},
                             "metadata": {"name": "once", "namespace": "default", "generation": 1}});
                w.create(&stored("batch", "jobs"), job).await;
                w.wait(3).await;
                w.told(
                    &kind("batch", "jobs"),
                    "once",
                    json!({"conditions": [{"type": "Failed",
                "status": "True", "reason": "BackoffLimitExceeded", "message": "m"}]}),
                )
                .await;
            }
        ),
        fault!(
            "the claim is not bound",
            "health",
            ["a: Progressing", "phase Pending"],
            |w| {
                w.ask(("", "persistentvolumeclaims", "default", "data"));
                w.join(json!({})).await;
                w.placement(json!({"objects": [{"resource": "persistentvolumeclaims"}]}))
                    .await;
                let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {},
                               "metadata": {"name": "data", "namespace": "default"}});
                w.create(&stored("", "persistentvolumeclaims"), claim).await;
                w.wait(3).await;
                let claims = kind("", "persistentvolumeclaims");
                w.told(&claims, "data", json!({"phase": "Pending"})).await;
            }
        ),
        fault!(
            "the rule cannot judge its health",
            "health",
            ["health: no such key: phase"],
            |w| {
                w.join(json!({})).await;
                w.rule(json!({"group": "example.com", "resource": "things",
                          "health": "status.phase == 'Up'"}))
                    .await;
                w.placement(things()).await;
                thing(&w, json!({})).await;
                w.told(
                    &kind("example.com", "things"),
                    "one",
                    json!({"state": "Up"}),
                )
                .await;
            }
        ),
        fault!(
            "its status cannot be mapped",
            "health",
            ["up[0] status.ready", "no such key: phase"],
            |w| {
                w.join(json!({})).await;
                w.rule(json!({"group": "example.com", "resource": "things",
                "up": [{"path": "status.ready", "expression": "status.phase == 'Up'"}]}))
                    .await;
                w.placement(things()).await;
                thing(&w, json!({})).await;
                w.told(
                    &kind("example.com", "things"),
                    "one",
                    json!({"state": "Up"}),
                )
                .await;
            }
        ),
    ]
}

fn faults() -> Vec<Fault> {
    let mut all = above();
    all.extend(between());
    all.extend(below());
    all
}

#[test]
fn the_first_line_names_the_planted_cause() {
    let mut missed = Vec::new();
    let all = faults();
    for (what, stage, words, plant) in &all {
        let plant = *plant;
        let links = play(move |w| async move {
            plant(w.clone()).await;
            w.wait(3).await;
            chain(&w.facts())
        });
        let said = first(&links).map(|l| format!("{}: {}", l.stage.as_str(), l.text));
        let said = said.unwrap_or_else(|| "nothing is wrong".into());
        println!("{what}\n    {said}");
        let named = said.starts_with(stage) && words.iter().all(|word| said.contains(word));
        if !named {
            missed.push(format!("{what}: wanted {stage} {words:?}, got {said}"));
        }
    }
    println!("{} of {} causes named", all.len() - missed.len(), all.len());
    assert!(all.len() >= 30);
    let least = all.len() * NAMED_PERCENT;
    assert!(
        (all.len() - missed.len()) * 100 >= least,
        "{}",
        missed.join("\n")
    );
    // Today all of them are; a miss is a step back.
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn where_nothing_is_wrong_nothing_is_said() {
    let links = play(|w| async move {
        w.usual().await;
        let status = json!({"observedGeneration": 1, "replicas": 1, "availableReplicas": 1});
        w.told(&kind("apps", "deployments"), "web", status).await;
        assert!(
            w.get(&stored("apps", "deployments"), HOME, "default", "web")
                .is_some()
        );
        chain(&w.facts())
    });
    assert_eq!(first(&links), None, "{links:?}");
}
