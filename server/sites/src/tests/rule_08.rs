//! Rule 8: objects born below come up beside their object, and leave with it; warnings become
//! Events, once each.

use hanse_apis::sites::names;
use hanse_cache::ResourceId;
use serde_json::{Value, json};

use super::{HOME, World, play, things};

fn secrets() -> ResourceId {
    ResourceId::new("", "secrets", "")
}

fn rule() -> Value {
    json!({
        "group": "example.com", "resource": "things",
        "related": [{"resource": "secrets", "direction": "Up", "references": ["status.secret"]}],
    })
}

fn born(name: &str, value: &str) -> Value {
    json!({"related": [{"resource": "secrets", "name": name, "object": {
        "apiVersion": "v1", "kind": "Secret", "data": {"k": value},
        "metadata": {"labels": {"x": "y"}, "annotations": {"sites.hanse.dev/locator": "z"}},
    }}]})
}

impl World {
    fn secret(&self, name: &str) -> Option<Value> {
        let found = self.get(&secrets(), HOME, "default", name);
        found.map(|o| o.value())
    }
}

#[test]
fn what_is_born_below_comes_up_follows_and_goes() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        w.rule(rule()).await;
        w.placement("p", json!({"objects": things()})).await;
        let of = w.thing("one", json!({"spec": {}})).await;
        assert_eq!(
            w.manifests(&a)[0]["spec"]["upsync"][0]["references"],
            json!(["status.secret"])
        );
        w.report(&a, born("made", "MQ==")).await;
        let made = w.secret("made").unwrap();
        assert_eq!(made["data"]["k"], "MQ==");
        assert_eq!(made["metadata"]["labels"], json!({"x": "y"}));
        let one = w.get(&of, HOME, "default", "one").unwrap();
        assert_eq!(made["metadata"]["ownerReferences"][0]["uid"], one.uid());
        let mark = made["metadata"]["annotations"][names::BORN_ANNOTATION]
            .as_str()
            .unwrap();
        assert!(mark.starts_with("a/m-"), "{mark}");
        assert!(
            made["metadata"]["annotations"]
                .get(names::LOCATOR_ANNOTATION)
                .is_none()
        );
        w.report(&a, born("made", "Mg==")).await;
        assert_eq!(w.secret("made").unwrap()["data"]["k"], "Mg==");
        let version = w
            .get(&secrets(), HOME, "default", "made")
            .unwrap()
            .resource_version();
        w.report(
            &a,
            json!({"status": {"phase": "Up"}, "related": born("made", "Mg==")["related"]}),
        )
        .await;
        let now = w
            .get(&secrets(), HOME, "default", "made")
            .unwrap()
            .resource_version();
        assert_eq!(version, now, "no write without a difference");
        w.report(&a, born("next", "Mw==")).await;
        assert!(w.secret("made").is_none() && w.secret("next").is_some());
        let placement = w.get(&w.sites.ids.placements, HOME, "", "p").unwrap();
        w.change(&placement, |p| {
            p["spec"]["sites"] = json!({"names": ["nowhere"]})
        })
        .await;
        w.wait(2).await;
        w.sync(&a, 0).await;
        assert!(w.secret("next").is_none(), "it left with its object");
    });
}

#[test]
fn what_stands_above_is_not_taken_and_a_silent_site_takes_nothing_back() {
    play(|w| async move {
        let quick = json!({"times": {"leaseSeconds": 1, "lateSeconds": 2, "lostSeconds": 4}});
        let a = w.site("a", quick).await;
        w.rule(rule()).await;
        w.placement("p", json!({"objects": things()})).await;
        w.thing("one", json!({"spec": {}})).await;
        let mine = json!({
            "apiVersion": "v1", "kind": "Secret", "data": {"k": "bWluZQ=="},
            "metadata": {"name": "mine", "namespace": "default"},
        });
        w.create(HOME, &secrets(), mine).await;
        w.renew(&a).await;
        w.report(&a, born("mine", "MQ==")).await;
        assert_eq!(w.secret("mine").unwrap()["data"]["k"], "bWluZQ==");
        let projection = &w.list(&w.sites.ids.projections, HOME)[0];
        let conditions = projection["status"]["conditions"].as_array().unwrap();
        let mapped = conditions.iter().find(|c| c["type"] == "Mapped").unwrap();
        let message = mapped["message"].as_str().unwrap();
        assert_eq!(message, "secrets/mine exists here and was not born at a");
        w.renew(&a).await;
        w.report(&a, born("made", "MQ==")).await;
        w.wait(10).await;
        assert!(w.secret("made").is_some(), "it is as it was last known");
    });
}

#[test]
fn what_was_born_at_a_site_is_not_sent_back_there() {
    play(|w| async move {
        let (a, b) = (w.site("a", json!({})).await, w.site("b", json!({})).await);
        w.rule(rule()).await;
        let objects =
            json!([{"group": "example.com", "resource": "things"}, {"resource": "secrets"}]);
        w.placement("p", json!({"objects": objects})).await;
        w.thing("one", json!({"spec": {}})).await;
        w.report(&a, born("made", "MQ==")).await;
        w.wait(1).await;
        let has = |inbox: &str| {
            let all = w.manifests(inbox);
            all.iter().any(|m| m["spec"]["source"]["name"] == "made")
        };
        assert!(!has(&a) && has(&b));
    });
}

#[test]
fn warnings_from_below_are_events_above() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        w.placement("p", json!({"objects": things()})).await;
        w.thing("one", json!({"spec": {}})).await;
        let now = w.sites.now();
        let events = json!({"events": [
            {"kind": "Pod", "name": "one-x", "reason": "BackOff", "message": "again", "since": now},
            {"kind": "Pod", "name": "one-y", "reason": "Old", "message": "m",
             "since": "2001-01-01T00:00:00Z"},
        ]});
        w.report(&a, events.clone()).await;
        w.report(&a, json!({"status": {"n": 1}, "events": events["events"]}))
            .await;
        let all = w.list(&w.sites.ids.events, HOME);
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(all[0]["message"], "a: pod/one-x: again");
        assert_eq!(all[0]["involvedObject"]["name"], "one");
    });
}
