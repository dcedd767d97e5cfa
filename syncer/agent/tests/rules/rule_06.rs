//! Rule 6: a mass change is parked and asks, and says how many of what.

use hanse_apis::sites::names;
use hanse_client::{List, PatchKind};
use serde_json::{Value, json};

use super::{World, deployments, leases, manifests, same, under_seeds};

impl World {
    /// What the hub writes on the Lease for the operator.
    async fn operator(&self, says: Value) {
        let patch = json!({"metadata": {"annotations": {
            names::MASS_CHANGE_ANNOTATION: says.to_string(),
        }}});
        let at = ("default", "syncer", "");
        let hub = self.hub.api();
        hub.patch(&leases(), at, PatchKind::Merge, &patch)
            .await
            .unwrap();
        self.wait(11).await;
    }

    async fn told(&self, annotation: &str) -> String {
        let lease = self
            .hub
            .api()
            .get(&leases(), "default", "syncer")
            .await
            .unwrap();
        let text = lease["metadata"]["annotations"][annotation].as_str();
        text.unwrap_or_default().to_owned()
    }

    async fn standing(&self) -> usize {
        let list = self.site.api().list(&deployments(), &List::default()).await;
        list.unwrap().items.len()
    }

    /// Ten objects, and an operator who wants to be asked about more than three tenths of them.
    async fn ten(&self) -> Vec<String> {
        let mut names = Vec::new();
        for n in 0..10 {
            names.push(self.place("shop", &format!("a{n}"), json!({}), same).await);
        }
        self.wait(2).await;
        self.operator(json!({"sharePercent": 30, "atLeast": 3}))
            .await;
        names
    }

    async fn withdraw(&self, names: &[String]) {
        for name in names {
            let hub = self.hub.api();
            hub.delete(&manifests(), "", name, None).await.unwrap();
        }
        self.wait(15).await;
    }
}

#[test]
fn few_removals_go_at_once() {
    under_seeds(|w| async move {
        let _agent = w.agent();
        let all = w.ten().await;
        w.withdraw(&all[..3]).await;
        assert_eq!(w.standing().await, 7);
        assert_eq!(w.told(names::PARKED_ANNOTATION).await, "");
    });
}

#[test]
fn many_are_parked_until_the_operator_confirms() {
    under_seeds(|w| async move {
        let agent = w.agent();
        let all = w.ten().await;
        w.withdraw(&all[..8]).await;
        assert_eq!(w.standing().await, 10, "nothing has begun");
        let what = w.told(names::PARKED_ANNOTATION).await;
        assert_eq!(what, "8 of 10 objects: 8 deployments.apps");
        let status = w.status(&all[0]).await;
        assert_eq!(status["error"]["reason"], "Parked", "{status}");
        // Not even over a restart, nor as time passes.
        agent.stop();
        let _agent = w.agent();
        w.wait(7200).await;
        assert_eq!(w.standing().await, 10);
        // Another word than the one that is waited for changes nothing.
        let mut says = json!({"sharePercent": 30, "atLeast": 3, "confirmed": "yesterday"});
        w.operator(says.clone()).await;
        assert_eq!(w.standing().await, 10);
        says["confirmed"] = json!(w.told(names::PARKED_SINCE_ANNOTATION).await);
        w.operator(says).await;
        w.wait(30).await;
        assert_eq!(w.standing().await, 2);
        assert_eq!(w.told(names::PARKED_ANNOTATION).await, "");
        let hub = w.hub.api();
        let left = hub.list(&manifests(), &List::default()).await.unwrap();
        assert_eq!(left.items.len(), 2, "and their Manifests are released");
        // What was confirmed counts for nothing that comes after it.
        w.withdraw(&all[8..9]).await;
        assert_eq!(w.standing().await, 1);
        assert_eq!(w.told(names::PARKED_ANNOTATION).await, "");
    });
}

#[test]
fn what_comes_back_while_it_is_parked_was_never_touched() {
    under_seeds(|w| async move {
        let _agent = w.agent();
        let all = w.ten().await;
        let before = w.below("shop", "a0").await.unwrap();
        w.withdraw(&all[..8]).await;
        assert_eq!(w.standing().await, 10);
        // The hub makes the Manifests again around the objects.
        for (n, name) in all[..8].iter().enumerate() {
            if n == 7 {
                w.wait(30).await;
                assert_eq!(w.standing().await, 10, "the last one waits, too");
                let what = w.told(names::PARKED_ANNOTATION).await;
                assert_eq!(what, "1 of 10 objects: 1 deployments.apps");
            }
            let hub = w.hub.api();
            let free = json!({"metadata": {"finalizers": null}});
            let at = ("", name.as_str(), "");
            hub.patch(&manifests(), at, PatchKind::Merge, &free)
                .await
                .unwrap();
            w.place("shop", &format!("a{n}"), json!({}), same).await;
        }
        w.wait(30).await;
        assert_eq!(
            w.told(names::PARKED_ANNOTATION).await,
            "",
            "nothing waits any more"
        );
        let after = w.below("shop", "a0").await.unwrap();
        assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
        assert_eq!(w.status(&all[0]).await["state"], "Applied");
    });
}

#[test]
fn an_inbox_that_is_suddenly_empty_takes_nothing_along() {
    under_seeds(|w| async move {
        let agent = w.agent();
        let all = w.ten().await;
        agent.stop();
        // A hub that was restored from nothing: no Manifest, no log.
        for name in &all {
            let hub = w.hub.api();
            let free = json!({"metadata": {"finalizers": null}});
            let at = ("", name.as_str(), "");
            hub.patch(&manifests(), at, PatchKind::Merge, &free)
                .await
                .unwrap();
            hub.delete(&manifests(), "", name, None).await.unwrap();
        }
        w.hub.forget();
        let _agent = w.agent();
        w.wait(600).await;
        assert_eq!(w.standing().await, 10);
        let what = w.told(names::PARKED_ANNOTATION).await;
        assert_eq!(what, "10 of 10 objects: 10 deployments.apps");
    });
}
