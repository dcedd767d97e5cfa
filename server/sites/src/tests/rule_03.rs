//! Rule 3: no write without a difference.

use hanse_apis::sites::names;
use serde_json::json;

use super::{HOME, everything, play};

#[test]
fn a_divided_deployment_goes_down_and_its_replicas_come_up() {
    play(|w| async move {
        let (a, b) = (w.site("a", json!({})).await, w.site("b", json!({})).await);
        w.placement(
            "p",
            json!({"objects": everything(), "spread": {"mode": "Divide"}}),
        )
        .await;
        let of = w.deployment("web", 5).await;
        let shares: Vec<i64> = [&a, &b]
            .iter()
            .map(|i| {
                w.manifests(i)[0]["spec"]["object"]["spec"]["replicas"]
                    .as_i64()
                    .unwrap()
            })
            .collect();
        assert_eq!(shares, [3, 2]);
        let web = w.get(&of, HOME, "default", "web").unwrap();
        assert_eq!(
            web.value()["metadata"]["finalizers"],
            json!([names::SOURCE_FINALIZER])
        );
        assert_eq!(web.annotation(names::STATUS_ANNOTATION).unwrap(), "0/2");
        w.sync(&a, 3).await;
        w.sync(&b, 2).await;
        let web = w.get(&of, HOME, "default", "web").unwrap();
        assert_eq!(web.value()["status"]["readyReplicas"], 5);
        assert_eq!(web.value()["status"]["observedGeneration"], 1);
        assert_eq!(web.annotation(names::STATUS_ANNOTATION).unwrap(), "2/2");
        let projection = &w.list(&w.sites.ids.projections, HOME)[0];
        assert_eq!(projection["status"]["ready"], "2/2");
        assert_eq!(projection["status"]["conditions"][0]["status"], "True");
        // One more replica moves one share; the other site has nothing to do.
        let before = w.manifests(&a)[0].clone();
        w.change(&web, |o| {
            o["spec"]["replicas"] = json!(6);
            o["metadata"]["generation"] = json!(2);
        })
        .await;
        w.wait(1).await;
        assert_eq!(
            w.manifests(&a)[0],
            before,
            "an equal render commits nothing"
        );
        assert_eq!(w.manifests(&b)[0]["spec"]["object"]["spec"]["replicas"], 3);
        w.sync(&b, 3).await;
        let web = w.get(&of, HOME, "default", "web").unwrap();
        assert_eq!(web.value()["status"]["observedGeneration"], 2);
        // An idle fleet writes nothing.
        let version = w.sites.tenancy.view().hub().version();
        w.wait(5).await;
        assert_eq!(w.sites.tenancy.view().hub().version(), version);
    });
}

#[test]
fn a_site_that_is_late_writes_nothing_and_is_shown_as_late() {
    play(|w| async move {
        let quick = json!({"times": {"leaseSeconds": 1, "lateSeconds": 3, "lostSeconds": 600}});
        let a = w.site("a", quick).await;
        w.placement("p", json!({"objects": everything()})).await;
        let of = w.deployment("web", 1).await;
        w.sync(&a, 1).await;
        w.renew(&a).await;
        w.wait(2).await;
        let version = w.sites.tenancy.view().hub().version();
        let site = || w.get(&w.sites.ids.sites, HOME, "", "a").unwrap();
        assert_eq!(w.cell(&w.sites.ids.sites, &site(), "Contact"), "Live");
        w.wait(60).await;
        assert_eq!(
            w.sites.tenancy.view().hub().version(),
            version,
            "nothing is written"
        );
        assert_eq!(site().text(&["status", "contact"]).unwrap(), "Live");
        assert_eq!(w.cell(&w.sites.ids.sites, &site(), "Contact"), "Late");
        let web = w.get(&of, HOME, "default", "web").unwrap();
        let told = w.cell(&of, &web, "Sites");
        assert!(told.starts_with("1/1 (1 late "), "{told}");
        w.wait(600).await;
        let lost = w.sites.tenancy.view().hub().version();
        assert_eq!(w.cell(&w.sites.ids.sites, &site(), "Contact"), "Lost");
        let web = w.get(&of, HOME, "default", "web").unwrap();
        let told = w.cell(&of, &web, "Sites");
        assert!(told.starts_with("0/1 (1 unknown "), "{told}");
        w.wait(3600).await;
        assert_eq!(
            w.sites.tenancy.view().hub().version(),
            lost,
            "Lost is written once"
        );
    });
}

#[test]
fn what_status_says_never_changes_an_intent() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        w.placement("p", json!({"objects": everything()})).await;
        let of = w.deployment("web", 1).await;
        w.sync(&a, 1).await;
        let before = w.manifests(&a)[0]["spec"].clone();
        let web = w.get(&of, HOME, "default", "web").unwrap();
        w.change(&web, |o| {
            o["status"] = json!({"replicas": 99});
            o["metadata"]["annotations"][names::STATUS_ANNOTATION] = json!("a lie");
            o["metadata"]["managedFields"] = json!([{"manager": "x"}]);
        })
        .await;
        w.wait(2).await;
        assert_eq!(w.manifests(&a)[0]["spec"], before);
        let web = w.get(&of, HOME, "default", "web").unwrap();
        assert_eq!(
            web.value()["status"]["replicas"],
            1,
            "and the truth comes back"
        );
        assert_eq!(web.annotation(names::STATUS_ANNOTATION).unwrap(), "1/1");
    });
}
