//! Rule 8: objects born below come up; warnings do, too; what the site changes of its own stays.

use hanse_apis::sites::{LabelSelector, ManifestSpec, Upsync, names};
use hanse_client::{PatchKind, Resource};
use hanse_projection::names::target;
use serde_json::{Value, json};

use super::{World, deployments, same, source, under_seeds};

fn secrets() -> Resource {
    Resource::new("", "v1", "secrets")
}

fn events() -> Resource {
    Resource::new("", "v1", "events")
}

fn ask(references: &[&str], labels: &[(&str, &str)]) -> Upsync {
    let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    Upsync {
        version: "v1".into(),
        resource: "secrets".into(),
        references: references.iter().map(|r| (*r).to_owned()).collect(),
        selector: LabelSelector {
            match_labels: labels.iter().map(own).collect(),
            ..LabelSelector::default()
        },
        ..Upsync::default()
    }
}

fn names_of(status: &Value) -> Vec<String> {
    let related = status["related"].as_array().cloned().unwrap_or_default();
    let name = |r: &Value| r["name"].as_str().unwrap_or_default().to_owned();
    related.iter().map(name).collect()
}

async fn born(w: &World, namespace: &str, name: &str, labels: Value) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "data": {"k": "dg=="},
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
    });
    let site = w.site.api();
    site.create(&secrets(), &secret).await.unwrap();
}

#[test]
fn what_is_born_beside_an_object_comes_up_and_goes_with_it() {
    under_seeds(|w| async move {
        w.site.serve(secrets(), "Secret", true);
        let change = |s: &mut ManifestSpec| {
            let by_name = ask(&["status.secretName"], &[]);
            s.upsync = vec![by_name, ask(&[], &[("app", "web")])];
        };
        let m = w.place("shop", "web", json!({}), change).await;
        let agent = w.agent();
        w.wait(3).await;
        let ns = target(&[5; 32], &source("shop", "web")).namespace;
        assert!(names_of(&w.status(&m).await).is_empty());
        let site = w.site.api();
        // By a name that the object below tells, which comes after the object that it names.
        born(&w, &ns, "made", json!({})).await;
        born(&w, &ns, "other", json!({})).await;
        let status = json!({"status": {"secretName": "made"}});
        let at = (ns.as_str(), "web", "status");
        let merge = PatchKind::Merge;
        site.patch(&deployments(), at, merge, &status)
            .await
            .unwrap();
        w.wait(3).await;
        let told = w.status(&m).await;
        assert_eq!(names_of(&told), ["made"], "{told}");
        assert_eq!(told["related"][0]["object"]["data"]["k"], "dg==");
        assert!(
            told["related"][0]["object"]["metadata"]
                .get("uid")
                .is_none()
        );
        // By labels, but nothing that we brought ourselves.
        born(&w, &ns, "labelled", json!({"app": "web"})).await;
        let ours = json!({"app": "web", names::SITE_LABEL: super::INBOX});
        born(&w, &ns, "ours", ours).await;
        w.wait(3).await;
        assert_eq!(names_of(&w.status(&m).await), ["made", "labelled"]);
        let quiet = w.hub.writes();
        w.wait(60).await;
        let renewed = w.hub.writes() - quiet;
        assert!(renewed <= 7, "only leases: {renewed}");
        site.delete(&secrets(), &ns, "made", None).await.unwrap();
        w.wait(3).await;
        assert_eq!(names_of(&w.status(&m).await), ["labelled"]);
        // A restart knows what to look for.
        drop(agent);
        site.delete(&secrets(), &ns, "labelled", None)
            .await
            .unwrap();
        let _agent = w.agent();
        w.wait(5).await;
        assert!(names_of(&w.status(&m).await).is_empty());
    });
}

#[test]
fn warnings_come_up_once_and_few() {
    under_seeds(|w| async move {
        w.site.serve(events(), "Event", true);
        let m = w.place("shop", "web", json!({}), same).await;
        let other = w.place("shop", "web-two", json!({}), same).await;
        let _agent = w.agent();
        w.wait(3).await;
        let ns = target(&[5; 32], &source("shop", "web")).namespace;
        let warn = |n: usize, kind: &str, of: &str, reason: &str, ty: &str| {
            json!({
                "apiVersion": "v1", "kind": "Event", "type": ty, "reason": reason,
                "message": "no nodes", "firstTimestamp": "2026-01-01T00:00:00Z",
                "metadata": {"name": format!("e{n}"), "namespace": ns},
                "involvedObject": {"kind": kind, "name": of, "namespace": ns},
            })
        };
        let all = [
            warn(0, "Pod", "web-5f-abc", "FailedScheduling", "Warning"),
            warn(1, "Pod", "web-5f-def", "FailedScheduling", "Warning"),
            warn(2, "Deployment", "web", "Odd", "Warning"),
            warn(3, "Deployment", "web", "Scaled", "Normal"),
            warn(4, "Pod", "web-two-5f-x", "BackOff", "Warning"),
            warn(5, "Pod", "stranger", "BackOff", "Warning"),
        ];
        for event in &all {
            w.site.api().create(&events(), event).await.unwrap();
        }
        w.wait(3).await;
        let reasons = |status: &Value| {
            let events = status["events"].as_array().cloned().unwrap_or_default();
            let reason = |e: &Value| e["reason"].as_str().unwrap_or_default().to_owned();
            let mut all: Vec<String> = events.iter().map(reason).collect();
            all.sort();
            all
        };
        assert_eq!(reasons(&w.status(&m).await), ["FailedScheduling", "Odd"]);
        assert_eq!(reasons(&w.status(&other).await), ["BackOff"]);
        for n in 10..40 {
            let event = warn(n, "Deployment", "web", &format!("R{n}"), "Warning");
            w.site.api().create(&events(), &event).await.unwrap();
        }
        w.wait(3).await;
        assert_eq!(reasons(&w.status(&m).await).len(), 8);
    });
}

#[test]
fn what_the_site_owns_it_may_change() {
    under_seeds(|w| async move {
        // The hub leaves the field out: a rule says that the site owns it.
        let m = w.place("shop", "web", json!({"paused": true}), same).await;
        let _agent = w.agent();
        w.wait(3).await;
        let ns = target(&[5; 32], &source("shop", "web")).namespace;
        let at = (ns.as_str(), "web", "");
        let scale = json!({"spec": {"replicas": 7}});
        let site = w.site.api();
        let merge = PatchKind::Merge;
        site.patch(&deployments(), at, merge, &scale).await.unwrap();
        w.place("shop", "web", json!({"paused": false}), same).await;
        w.wait(5).await;
        let live = w.below("shop", "web").await.unwrap();
        assert_eq!(live["spec"], json!({"paused": false, "replicas": 7}));
        assert_eq!(w.status(&m).await["state"], "Applied");
    });
}
