//! Rule 5: the link may be down for weeks; afterwards only what changed travels: by the cursor
//! while the log holds it, by the hash tree after that, and by a list where nobody compares.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hanse_apis::sites::names;
use hanse_client::{PatchKind, Resource};
use hanse_projection::names::object_name;
use hanse_projection::tree::{Leaf, Tree, differing};
use serde_json::{Value, json};

use super::{INBOX, World, deployments, manifests, namespaces, same, under_seeds};

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
        w.wait(10_800).await;
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

fn leaf(manifest: &Value) -> Leaf {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    Leaf::new(
        &text(&manifest["metadata"]["name"]),
        &text(&manifest["metadata"]["uid"]),
        &text(&manifest["spec"]["hash"]),
        manifest["metadata"].get("deletionTimestamp").is_some(),
        &text(&manifest["status"]["digest"]),
    )
}

fn name(manifest: &Value) -> &str {
    manifest["metadata"]["name"].as_str().unwrap_or_default()
}

impl World {
    /// Lets the hub answer comparisons, as the real one does.
    fn compares(&self) {
        let of = Resource::new("sites.hanse.dev", "v1alpha1", "comparisons");
        let review = |body: &Value, all: &[&Value], version: u64| {
            let theirs = body["spec"]["buckets"].as_array().unwrap().iter();
            let theirs: Vec<String> = theirs.map(|b| b.as_str().unwrap().to_owned()).collect();
            let rows = differing(all.iter().map(|m| (name(m), leaf(m))), &theirs);
            let buckets: Vec<Value> = rows
                .into_iter()
                .map(|(bucket, leaves)| {
                    let leaves: Vec<Value> = leaves
                        .into_iter()
                        .map(|(name, leaf)| json!({"name": name, "digest": leaf.text()}))
                        .collect();
                    json!({"bucket": bucket, "leaves": leaves})
                })
                .collect();
            json!({"status": {"version": version.to_string(), "buckets": buckets}})
        };
        self.hub.review(&of, &manifests(), Box::new(review));
    }

    /// Counts lists of the inbox, and Manifests that are fetched.
    fn counts(&self) -> (Arc<AtomicU64>, Arc<AtomicU64>) {
        let counts = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (lists, gets) = counts.clone();
        self.hub.intercept(Some(Box::new(move |r| {
            let watches = r.query.iter().any(|(key, _)| *key == "watch");
            if r.method == "GET" && !watches {
                if r.path.ends_with("/manifests") {
                    lists.fetch_add(1, Ordering::SeqCst);
                } else if r.path.contains("/manifests/") {
                    gets.fetch_add(1, Ordering::SeqCst);
                }
            }
            None
        })));
        counts
    }

    async fn roots(&self) -> (String, String) {
        let hub = self.hub.api();
        let lease = hub
            .get(&super::leases(), "default", "syncer")
            .await
            .unwrap();
        let site = lease["metadata"]["annotations"][names::TREE_ANNOTATION].as_str();
        let site = site.unwrap_or_default().to_owned();
        let list = hanse_client::List::default();
        let mut tree = Tree::default();
        for manifest in hub.list(&manifests(), &list).await.unwrap().items {
            tree.add(name(&manifest), leaf(&manifest));
        }
        (site, tree.root())
    }
}

#[test]
fn when_the_log_has_forgotten_only_the_gap_travels() {
    under_seeds(|w| async move {
        w.compares();
        let agent = w.agent();
        for n in 0..40 {
            w.place("shop", &format!("a{n}"), json!({"replicas": 1}), same)
                .await;
        }
        w.wait(30).await;
        let (site, hub) = w.roots().await;
        assert_eq!(site, hub, "equal roots prove that nothing is left to do");
        agent.stop();
        w.place("shop", "new", json!({"replicas": 1}), same).await;
        w.place("shop", "a1", json!({"replicas": 5}), same).await;
        let api = w.hub.api();
        let of = |n: &str| object_name(&super::source("shop", n));
        api.delete(&manifests(), "", &of("a2"), None).await.unwrap();
        let free = json!({"metadata": {"finalizers": null}});
        let gone = of("a3");
        let at = ("", gone.as_str(), "");
        api.patch(&manifests(), at, PatchKind::Merge, &free)
            .await
            .unwrap();
        api.delete(&manifests(), "", &gone, None).await.unwrap();
        // A report that the hub has lost.
        let lost = json!([{"op": "add", "path": "/status", "value": {}}]);
        let at = of("a4");
        let at = ("", at.as_str(), "status");
        api.patch(&manifests(), at, PatchKind::Json, &lost)
            .await
            .unwrap();
        let (site, hub) = w.roots().await;
        assert_ne!(site, hub, "and different ones its absence");
        w.hub.forget();
        let (lists, gets) = w.counts();
        let _agent = w.agent();
        w.wait(60).await;
        assert_eq!(lists.load(Ordering::SeqCst), 0, "nothing is listed");
        // The new, the changed, the going (again for its release), the lost report.
        assert_eq!(gets.load(Ordering::SeqCst), 5);
        w.hub.intercept(None);
        assert!(w.below("shop", "new").await.is_some());
        assert_eq!(w.below("shop", "a1").await.unwrap()["spec"]["replicas"], 5);
        assert!(w.below("shop", "a2").await.is_none());
        assert!(w.below("shop", "a3").await.is_none());
        assert_eq!(w.status(&of("a4")).await["state"], "Applied");
        let (site, hub) = w.roots().await;
        assert_eq!(site, hub);
        // And the stream goes on from there.
        w.place("shop", "later", json!({"replicas": 1}), same).await;
        w.wait(5).await;
        assert!(w.below("shop", "later").await.is_some());
    });
}
