//! What the Pods of a placed object need goes where it goes, and leaves with it.

use std::sync::Arc;

use hanse_auth::token::Signer;
use hanse_cache::{ObjectKey, ResourceId};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::{HOME, World, authority, everything, play};
use crate::Sites;
use crate::run::Key;

fn of(resource: &str) -> ResourceId {
    ResourceId::new("", resource, "")
}

impl World {
    async fn core(&self, resource: &str, kind: &str, name: &str) {
        let value = json!({
            "apiVersion": "v1", "kind": kind, "data": {},
            "metadata": {"name": name, "namespace": "default"},
        });
        self.create(HOME, &of(resource), value).await;
        self.wait(1).await;
    }

    /// What is in an inbox, by kind and name, without what is going.
    fn sent(&self, inbox: &str) -> Vec<String> {
        let all = self.manifests(inbox);
        let staying = all
            .iter()
            .filter(|m| m["metadata"].get("deletionTimestamp").is_none());
        let name = |m: &Value| {
            let source = &m["spec"]["source"];
            let text = |key: &str| source[key].as_str().unwrap_or_default().to_owned();
            format!("{}/{}", text("resource"), text("name"))
        };
        let mut names: Vec<String> = staying.map(name).collect();
        names.sort();
        names
    }
}

fn pods() -> Value {
    json!({"spec": {
        "containers": [{"envFrom": [{"configMapRef": {"name": "settings"}}]}],
        "volumes": [{"secret": {"secretName": "tls"}}],
    }})
}

#[test]
fn what_pods_name_follows_them() {
    play(|w| async move {
        let (a, b) = (w.site("a", json!({})).await, w.site("b", json!({})).await);
        let spec = json!({
            "objects": everything(), "dependencies": "Follow", "sites": {"names": ["a"]},
        });
        w.placement("p", spec).await;
        w.core("configmaps", "ConfigMap", "settings").await;
        w.core("configmaps", "ConfigMap", "other").await;
        let workloads = w.deployment("web", 1).await;
        assert_eq!(w.sent(&a), ["deployments/web"]);
        let web = || w.get(&workloads, HOME, "default", "web").unwrap();
        w.change(&web(), |o| o["spec"]["template"] = pods()).await;
        w.wait(1).await;
        assert_eq!(w.sent(&a), ["configmaps/settings", "deployments/web"]);
        // What is made later goes too.
        w.core("secrets", "Secret", "tls").await;
        let all = ["configmaps/settings", "deployments/web", "secrets/tls"];
        assert_eq!(w.sent(&a), all);
        assert!(w.manifests(&b).is_empty());
        // To another site all of it moves.
        w.sync(&a, 1).await;
        let placement = w.get(&w.sites.ids.placements, HOME, "", "p").unwrap();
        w.change(&placement, |p| p["spec"]["sites"] = json!({"names": ["b"]}))
            .await;
        w.wait(2).await;
        assert_eq!(
            (w.sent(&a).len(), w.sent(&b)),
            (0, all.map(str::to_owned).to_vec())
        );
        w.sync(&a, 0).await;
        w.sync(&b, 1).await;
        // A name that is taken out leaves, the rest stays.
        w.change(&web(), |o| {
            o["spec"]["template"]["spec"]["volumes"] = json!([]);
        })
        .await;
        w.wait(1).await;
        assert_eq!(w.sent(&b), ["configmaps/settings", "deployments/web"]);
        w.sync(&b, 1).await;
        w.delete(&web()).await;
        w.wait(1).await;
        assert!(w.sent(&b).is_empty());
        w.sync(&b, 0).await;
        assert!(w.manifests(&b).is_empty());
        let map = w
            .get(&of("configmaps"), HOME, "default", "settings")
            .unwrap();
        assert!(map.value()["metadata"].get("finalizers").is_none());
    });
}

#[test]
fn nothing_is_taken_back_by_a_hub_that_starts_again() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        w.placement(
            "p",
            json!({"objects": everything(), "dependencies": "Follow"}),
        )
        .await;
        w.core("configmaps", "ConfigMap", "settings").await;
        let workloads = w.deployment("web", 1).await;
        let web = w.get(&workloads, HOME, "default", "web").unwrap();
        w.change(&web, |o| o["spec"]["template"] = pods()).await;
        w.wait(1).await;
        w.sync(&a, 1).await;
        assert_eq!(w.sent(&a), ["configmaps/settings", "deployments/web"]);
        w.stop.trigger();
        w.wait(1).await;
        let key = KeyPair::generate().unwrap().serialize_pem();
        let signer = Signer::from_pem(key.as_bytes(), "https://x").unwrap();
        let tenancy = Arc::clone(&w.sites.tenancy);
        let again = Sites::new(tenancy, Arc::new(signer), vec![], Arc::new(authority()));
        let again = again.unwrap();
        let cluster = HOME.into();
        let map = ObjectKey::new(&of("configmaps"), &cluster, "default", "settings");
        again.remember_followers();
        let site = w.get(&w.sites.ids.sites, HOME, "", "a").unwrap();
        again.know_inbox(&a.as_str().into(), &site.key().cluster, "a");
        let turn = again.decide(&Key::of(&map)).unwrap();
        assert!(turn.writes.is_empty(), "{:?}", turn.writes);
    });
}
