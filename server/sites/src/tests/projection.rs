//! ProjectionRules: how a kind travels, and what is said when a rule is wrong.

use hanse_apis::sites::names;
use hanse_cache::ResourceId;
use hanse_projection::Rule;
use serde_json::{Value, json};

use super::{HOME, World, play, things};
use crate::rules::is_of_site;

fn condition(object: &Value, kind: &str) -> Option<Value> {
    let all = object["status"]["conditions"].as_array()?;
    all.iter().find(|c| c["type"] == kind).cloned()
}

impl World {
    fn only(&self, of: &ResourceId) -> Value {
        self.list(of, HOME)[0].clone()
    }

    fn error(&self) -> Value {
        let projection = self.only(&self.sites.ids.projections);
        projection["status"]["sites"][0]["error"].clone()
    }
}

#[test]
fn a_kind_is_renamed_changed_and_named() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        w.rule(json!({
            "group": "example.com", "resource": "things",
            "target": {"group": "x.io", "version": "v2", "resource": "widgets", "kind": "Widget"},
            "names": {"name": "Hash", "prefix": "w"},
            "down": [{"path": "spec.where", "expression": "site.labels.site"},
                     {"path": "spec.of", "expression": "object.metadata.name"}],
            "siteOwned": ["spec.size"], "order": 7,
        }))
        .await;
        w.placement("p", json!({"objects": things()})).await;
        w.thing("one", json!({"spec": {"size": 3, "n": 1}})).await;
        let manifest = w.manifests(&a)[0].clone();
        let spec = &manifest["spec"];
        assert_eq!(spec["object"]["kind"], "Widget");
        assert_eq!(spec["object"]["apiVersion"], "x.io/v2");
        let want = json!({"n": 1, "of": "one", "where": "a"});
        assert_eq!(spec["object"]["spec"], want);
        assert_eq!(spec["target"]["resource"], "widgets");
        assert!(spec["target"]["name"].as_str().unwrap().starts_with("w-"));
        assert_eq!(
            (&spec["order"], &spec["source"]["resource"]),
            (&json!(7), &json!("things"))
        );
        let rule = w.only(&w.sites.ids.rules);
        assert_eq!(condition(&rule, "Valid").unwrap()["status"], "True");
        // A rule that changes changes what was sent.
        let rule = w.get(&w.sites.ids.rules, HOME, "", "rule").unwrap();
        w.change(&rule, |r| r["spec"]["down"] = json!([])).await;
        w.wait(1).await;
        assert_eq!(
            w.manifests(&a)[0]["spec"]["object"]["spec"],
            json!({"n": 1})
        );
        let rule = w.get(&w.sites.ids.rules, HOME, "", "rule").unwrap();
        w.delete(&rule).await;
        w.wait(1).await;
        assert_eq!(w.manifests(&a)[0]["spec"]["object"]["kind"], "Thing");
    });
}

#[test]
fn a_transform_that_fails_says_so_and_keeps_what_stands() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        w.rule(json!({
            "group": "example.com", "resource": "things",
            "down": [{"path": "spec.double", "expression": "object.spec.n * 2"}],
        }))
        .await;
        w.placement("p", json!({"objects": things()})).await;
        let of = w.thing("one", json!({"spec": {"n": 2}})).await;
        assert_eq!(w.manifests(&a)[0]["spec"]["object"]["spec"]["double"], 4);
        w.report(&a, json!({})).await;
        let one = || w.get(&of, HOME, "default", "one").unwrap();
        w.change(&one(), |o| o["spec"] = json!({"m": 1})).await;
        w.wait(1).await;
        assert_eq!(
            w.manifests(&a)[0]["spec"]["object"]["spec"]["double"],
            4,
            "it stays"
        );
        let error = w.error();
        assert_eq!(error["reason"], "TransformFailed");
        let message = error["message"].as_str().unwrap();
        let want = "ProjectionRule rule: down[0] spec.double: no such key: n; input: object = ";
        assert!(
            message.starts_with(want) && message.contains(r#""m":1"#),
            "{message}"
        );
        let projection = w.only(&w.sites.ids.projections);
        let rendered = condition(&projection, "Rendered").unwrap();
        assert_eq!(
            (&rendered["status"], &rendered["reason"]),
            (&json!("False"), &json!("ExpressionFailed"))
        );
        let line = one()
            .annotation(names::STATUS_ANNOTATION)
            .unwrap()
            .into_owned();
        assert!(line.starts_with("0/1 a: TransformFailed: "), "{line}");
        w.change(&one(), |o| o["spec"] = json!({"n": 5})).await;
        w.wait(1).await;
        assert_eq!(w.manifests(&a)[0]["spec"]["object"]["spec"]["double"], 10);
        let projection = w.only(&w.sites.ids.projections);
        assert_eq!(
            condition(&projection, "Rendered").unwrap()["status"],
            "True",
            "it clears itself"
        );
    });
}

#[test]
fn the_input_of_a_secret_is_not_told() {
    play(|w| async move {
        w.site("a", json!({})).await;
        w.rule(json!({
            "resource": "secrets",
            "down": [{"path": "data.x", "expression": "object.data.nothing"}],
        }))
        .await;
        let secrets = json!([{"resource": "secrets"}]);
        w.placement("p", json!({"objects": secrets})).await;
        let of = ResourceId::new("", "secrets", "");
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "data": {"k": "aHVzaA=="},
            "metadata": {"name": "s", "namespace": "default"},
        });
        w.create(HOME, &of, secret).await;
        w.wait(1).await;
        let message = w.error()["message"].as_str().unwrap().to_owned();
        assert!(
            message.contains("not shown") && !message.contains("aHVzaA"),
            "{message}"
        );
    });
}

#[test]
fn a_rule_with_a_mistake_sends_nothing_and_says_why() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        let health = "status.phase ==";
        w.rule(json!({"group": "example.com", "resource": "things", "health": health}))
            .await;
        w.placement("p", json!({"objects": things()})).await;
        w.thing("one", json!({"spec": {}})).await;
        assert!(w.manifests(&a).is_empty());
        assert_eq!(w.error()["reason"], "RuleInvalid");
        let rule = w.only(&w.sites.ids.rules);
        let valid = condition(&rule, "Valid").unwrap();
        assert_eq!(valid["status"], "False");
        assert!(
            valid["message"]
                .as_str()
                .unwrap()
                .starts_with("spec.health: "),
            "{valid}"
        );
    });
}

#[test]
fn statuses_are_mapped_judged_and_combined_by_the_rule() {
    play(|w| async move {
        let (a, b) = (w.site("a", json!({})).await, w.site("b", json!({})).await);
        w.rule(json!({
            "group": "example.com", "resource": "things",
            "up": [{"path": "status.ready", "expression": "status.phase == 'Up'"}],
            "health": "status.ready ? 'Healthy' : 'Degraded'",
            "combine": [{"path": "ready", "how": "All"}, {"path": "count", "how": "Sum"}],
        }))
        .await;
        w.placement("p", json!({"objects": things()})).await;
        let of = w.thing("one", json!({"spec": {}})).await;
        w.report(&a, json!({"status": {"phase": "Up", "count": 2}}))
            .await;
        w.report(&b, json!({"status": {"phase": "Down", "count": 1}}))
            .await;
        let status = || w.get(&of, HOME, "default", "one").unwrap().value()["status"].clone();
        assert_eq!(status(), json!({"count": 3, "ready": false}));
        let projection = || w.only(&w.sites.ids.projections);
        assert_eq!(projection()["status"]["ready"], "1/2");
        assert_eq!(
            projection()["status"]["sites"][0]["status"]["phase"],
            "Down",
            "as it came"
        );
        w.report(&b, json!({"status": {"phase": "Up", "count": 1}}))
            .await;
        assert_eq!(status(), json!({"count": 3, "ready": true}));
        assert_eq!(projection()["status"]["ready"], "2/2");
        // What cannot be mapped is not shown, and said.
        w.report(&b, json!({"status": {"count": 1}})).await;
        let mapped = condition(&projection(), "Mapped").unwrap();
        assert_eq!(mapped["status"], "False");
        let message = mapped["message"].as_str().unwrap();
        assert!(
            message.starts_with("b: up[0] status.ready: no such key: phase"),
            "{message}"
        );
        assert_eq!(status()["ready"], false);
    });
}

#[test]
fn only_the_sites_operator_names_a_namespace_of_the_site() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        w.rule(json!({
            "group": "example.com", "resource": "things",
            "names": {"namespace": "Fixed", "fixed": "shared"},
        }))
        .await;
        w.placement("p", json!({"objects": things()})).await;
        w.thing("one", json!({"spec": {}})).await;
        // The Site lives in the same workspace here, so its operator says it.
        let target = w.manifests(&a)[0]["spec"]["target"].clone();
        assert_eq!(target["namespace"], "shared");
        assert!(target["name"].as_str().unwrap().starts_with("h-"));
    });
}

#[test]
fn a_tenants_rule_is_not_the_sites() {
    play(|w| async move {
        let of = |place: &str| Rule::compile(Default::default(), (place.into(), "r".into()));
        let is = |rule: &str, home: &str| is_of_site(&w.sites, &of(rule), home);
        assert!(is("root", "root") && is("root", "root:platform"));
        assert!(!is("root:platform:tenant", "root:platform") && !is("root:plat", "root:platform"));
    });
}

#[test]
fn nothing_that_describes_the_workspace_travels_under_another_name() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        let group = "rbac.authorization.k8s.io";
        w.rule(json!({
            "group": "example.com", "resource": "things",
            "target": {"group": group, "version": "v1", "resource": "rolebindings", "kind": "RoleBinding"},
        }))
        .await;
        w.placement("p", json!({"objects": things()})).await;
        w.thing("one", json!({})).await;
        assert!(w.manifests(&a).is_empty());
        assert_eq!(w.error()["reason"], "NotAccepted");
    });
}

#[test]
fn related_objects_go_down_by_reference_template_and_label() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        w.rule(json!({
            "group": "example.com", "resource": "things",
            "related": [
                {"resource": "secrets", "direction": "Down", "references": ["spec.users[].secret"],
                 "template": "object.metadata.name + '-ca'"},
                {"resource": "configmaps", "direction": "Down",
                 "selector": {"matchLabels": {"for": "one"}}},
            ],
        }))
        .await;
        w.placement("p", json!({"objects": things()})).await;
        let of = w
            .thing("one", json!({"spec": {"users": [{"secret": "u1"}]}}))
            .await;
        let object = |kind: &str, name: &str, labels: Value| {
            json!({
                "apiVersion": "v1", "kind": kind, "data": {},
                "metadata": {"name": name, "namespace": "default", "labels": labels},
            })
        };
        let (secrets, maps) = (
            ResourceId::new("", "secrets", ""),
            ResourceId::new("", "configmaps", ""),
        );
        for name in ["u1", "one-ca", "other"] {
            w.create(HOME, &secrets, object("Secret", name, json!({})))
                .await;
        }
        for (name, label) in [("map", "one"), ("stray", "two")] {
            w.create(
                HOME,
                &maps,
                object("ConfigMap", name, json!({"for": label})),
            )
            .await;
        }
        w.wait(2).await;
        let sent = || {
            let all = w.manifests(&a);
            let staying = all
                .iter()
                .filter(|m| m["metadata"].get("deletionTimestamp").is_none());
            let name = |m: &Value| m["spec"]["source"]["name"].as_str().unwrap().to_owned();
            let mut all: Vec<String> = staying.map(name).collect();
            all.sort();
            all
        };
        assert_eq!(sent(), ["map", "one", "one-ca", "u1"]);
        let map = w.get(&maps, HOME, "default", "map").unwrap();
        w.change(&map, |m| m["metadata"]["labels"] = json!({}))
            .await;
        let one = w.get(&of, HOME, "default", "one").unwrap();
        w.change(&one, |o| o["spec"] = json!({})).await;
        w.wait(2).await;
        assert_eq!(sent(), ["one", "one-ca"]);
    });
}

#[test]
fn what_is_needed_by_what_is_needed_follows() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        let objects = json!([{"group": "apps", "resource": "deployments"}]);
        w.placement("p", json!({"objects": objects, "dependencies": "Follow"}))
            .await;
        let accounts = ResourceId::new("", "serviceaccounts", "");
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "imagePullSecrets": [{"name": "pull"}],
            "metadata": {"name": "runner", "namespace": "default"},
        });
        w.create(HOME, &accounts, account).await;
        let secrets = ResourceId::new("", "secrets", "");
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "pull", "namespace": "default"},
        });
        w.create(HOME, &secrets, secret).await;
        let of = w.deployment("web", 1).await;
        let web = w.get(&of, HOME, "default", "web").unwrap();
        let pods = json!({"spec": {"serviceAccountName": "runner", "containers": []}});
        w.change(&web, |o| o["spec"]["template"] = pods).await;
        w.wait(2).await;
        assert_eq!(w.manifests(&a).len(), 3);
        let web = w.get(&of, HOME, "default", "web").unwrap();
        w.change(&web, |o| {
            o["spec"]["template"]["spec"]["serviceAccountName"] = json!("")
        })
        .await;
        w.wait(2).await;
        let going = w.manifests(&a).into_iter();
        let going = going.filter(|m| m["metadata"].get("deletionTimestamp").is_some());
        assert_eq!(going.count(), 2, "the account and what it needed");
    });
}
