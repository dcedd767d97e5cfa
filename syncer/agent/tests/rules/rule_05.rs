//! Rule 5, without the hash tree: the link may be down for weeks; afterwards only what changed
//! travels, or, when the log no longer reaches back, everything is listed once.

use hanse_apis::sites::names;
use hanse_client::PatchKind;
use serde_json::json;

use super::{INBOX, deployments, manifests, namespaces, same, under_seeds};

#[test]
fn drift_is_repaired_with_and_without_the_hub() {
    under_seeds(|w| async move {
        let agent = w.agent();
        w.place("shop", "web", json!({"replicas": 2, "paused": true}), same)
            .await;
        w.wait(5).await;
        let live = w.below("shop", "web").await.unwrap();
        let ns = live["metadata"]["namespace"].as_str().unwrap().to_owned();
        w.hub.cut(true);
        w.site
            .api()
            .delete(&deployments(), &ns, "web", None)
            .await
            .unwrap();
        w.wait(5).await;
        assert!(
            w.below("shop", "web").await.is_some(),
            "deleted: made again"
        );
        let patch = json!({"spec": {"paused": null}, "metadata": {"labels": {"sites.hanse.dev/site": null}}});
        let at = (ns.as_str(), "web", "");
        w.site
            .api()
            .patch(&deployments(), at, PatchKind::Merge, &patch)
            .await
            .unwrap();
        w.wait(5).await;
        let live = w.below("shop", "web").await.unwrap();
        assert_eq!(
            live["spec"]["paused"], true,
            "a field that nobody owns is set again"
        );
        assert_eq!(live["metadata"]["labels"][names::SITE_LABEL], INBOX);
        let marks = json!({"metadata": {"annotations": null, "labels": null}});
        w.site
            .api()
            .patch(&namespaces(), ("", &ns, ""), PatchKind::Merge, &marks)
            .await
            .unwrap();
        w.wait(5).await;
        let namespace = w.site.api().get(&namespaces(), "", &ns).await.unwrap();
        assert_eq!(namespace["metadata"]["labels"][names::SITE_LABEL], INBOX);
        assert!(namespace["metadata"]["annotations"][names::LOCATOR_ANNOTATION].is_string());
        // The agent starts again while the hub is away, and something went meanwhile.
        agent.stop();
        w.site
            .api()
            .delete(&namespaces(), "", &ns, None)
            .await
            .unwrap();
        let _agent = w.agent();
        w.wait(10).await;
        assert!(
            w.below("shop", "web").await.is_some(),
            "made again after a restart"
        );
    });
}

#[test]
fn after_a_long_time_without_the_hub_a_list_brings_what_came_went_and_changed() {
    under_seeds(|w| async move {
        let agent = w.agent();
        for name in ["stays", "goes", "vanishes", "changes"] {
            w.place("shop", name, json!({"replicas": 1}), same).await;
        }
        w.wait(5).await;
        w.hub.cut(true);
        w.wait(60).await;
        // The operator's side goes on meanwhile, and the log forgets.
        w.hub.cut(false);
        agent.stop();
        w.place("shop", "comes", json!({"replicas": 1}), same).await;
        w.place("shop", "changes", json!({"replicas": 5}), same)
            .await;
        let hub = w.hub.api();
        let name = |n: &str| hanse_projection::names::object_name(&super::source("shop", n));
        hub.delete(&manifests(), "", &name("goes"), None)
            .await
            .unwrap();
        // Forgotten by force: nobody waits for this one, its object goes all the same.
        let free = json!({"metadata": {"finalizers": null}});
        let gone = name("vanishes");
        let at = ("", gone.as_str(), "");
        hub.patch(&manifests(), at, PatchKind::Merge, &free)
            .await
            .unwrap();
        hub.delete(&manifests(), "", &gone, None).await.unwrap();
        w.hub.forget();
        let untouched =
            w.below("shop", "stays").await.unwrap()["metadata"]["resourceVersion"].clone();
        w.hub.cut(true);
        let agent = w.agent();
        w.wait(43_200).await;
        assert_eq!(agent.objects(), 4, "it goes on with what it knows");
        w.hub.cut(false);
        w.wait(60).await;
        assert!(w.below("shop", "comes").await.is_some());
        assert!(w.below("shop", "goes").await.is_none());
        assert!(w.below("shop", "vanishes").await.is_none());
        assert_eq!(
            w.below("shop", "changes").await.unwrap()["spec"]["replicas"],
            5
        );
        let stays = w.below("shop", "stays").await.unwrap();
        assert_eq!(stays["metadata"]["resourceVersion"], untouched);
        assert!(
            hub.find(&manifests(), "", &name("goes"))
                .await
                .unwrap()
                .is_none()
        );
    });
}

#[test]
fn statuses_wait_for_the_link_one_deep_for_each_object() {
    under_seeds(|w| async move {
        let _agent = w.agent();
        let web = w.place("shop", "web", json!({"replicas": 1}), same).await;
        w.wait(5).await;
        let live = w.below("shop", "web").await.unwrap();
        let ns = live["metadata"]["namespace"].as_str().unwrap().to_owned();
        w.hub.cut(true);
        for ready in 0..50 {
            let patch = json!({"status": {"readyReplicas": ready}});
            let at = (ns.as_str(), "web", "status");
            let site = w.site.api();
            site.patch(&deployments(), at, PatchKind::Merge, &patch)
                .await
                .unwrap();
            w.wait(1).await;
        }
        w.hub.cut(false);
        let before = w.hub.writes();
        w.wait(30).await;
        assert_eq!(w.status(&web).await["status"]["readyReplicas"], 49);
        let leases = 4;
        assert!(
            w.hub.writes() - before <= 1 + leases,
            "only the latest travels"
        );
    });
}
