//! The rules of the syncer, a module for each, against two servers in memory under one seed.
//!
//! Which rule is tested where, on this side and on the hub's: `docs/rules.md`.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hanse_agent::{Agent, Facts, Journal, Memory, Setup};
use hanse_apis::sites::{ManifestSpec, Source, names};
use hanse_client::testing::Fake;
use hanse_client::{List, PatchKind, Resource};
use hanse_projection::names::{object_name, target};
use hanse_projection::{Render, content_hash, render};
use hanse_seams::{Seams, Simulation};
use serde_json::{Value, json};

mod order;
mod rule_01;
mod rule_02;
mod rule_03;
mod rule_05;
mod rule_06;
mod rule_07;
mod rule_08;
mod rule_09;
mod rule_11;

const INBOX: &str = "site-0123456789abcdef";

#[derive(Clone)]
struct World {
    hub: Fake,
    site: Fake,
    journal: Memory,
    seams: Seams,
}

fn manifests() -> Resource {
    Resource::new("sites.hanse.dev", "v1alpha1", "manifests")
}
fn deployments() -> Resource {
    Resource::new("apps", "v1", "deployments")
}
fn namespaces() -> Resource {
    Resource::new("", "v1", "namespaces")
}
fn leases() -> Resource {
    Resource::new("coordination.k8s.io", "v1", "leases")
}

impl World {
    async fn new(seams: Seams) -> Self {
        let (hub, site) = (Fake::new(), Fake::new());
        hub.serve(manifests(), "Manifest", false);
        hub.serve(leases(), "Lease", true);
        site.serve(deployments(), "Deployment", true);
        let ns = json!({"metadata": {"name": "default"}});
        hub.api().create(&namespaces(), &ns).await.unwrap();
        Self {
            hub,
            site,
            journal: Memory::default(),
            seams,
        }
    }

    fn agent(&self) -> Agent {
        self.agent_with(Arc::new(self.journal.clone()))
    }

    fn agent_with(&self, journal: Arc<dyn Journal>) -> Agent {
        let facts = Facts {
            cluster_uid: "c".into(),
            kubernetes_version: "v1".into(),
        };
        Agent::start(Setup {
            hub: self.hub.api(),
            site: self.site.api(),
            inbox: INBOX.into(),
            journal,
            facts,
            seams: self.seams.clone(),
        })
        .unwrap()
    }

    async fn wait(&self, seconds: u64) {
        self.seams.clock.sleep(Duration::from_secs(seconds)).await;
    }

    /// Puts the intent of a Deployment into the inbox, as the hub does.
    async fn place(
        &self,
        namespace: &str,
        name: &str,
        spec: Value,
        change: impl Fn(&mut ManifestSpec),
    ) -> String {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
            "spec": spec,
        });
        self.send(source(namespace, name), object, change).await
    }

    /// Puts an intent of any kind into the inbox.
    async fn send(
        &self,
        source: Source,
        object: Value,
        change: impl Fn(&mut ManifestSpec),
    ) -> String {
        let target = target(&[5; 32], &source);
        let object = render(&Render {
            object: &object,
            source: &source,
            replicas: None,
        });
        let mut spec = ManifestSpec {
            hash: content_hash(&object),
            object,
            source,
            target,
            ..Default::default()
        };
        change(&mut spec);
        let name = object_name(&spec.source);
        let manifest = json!({
            "apiVersion": "sites.hanse.dev/v1alpha1", "kind": "Manifest",
            "metadata": {"name": name, "finalizers": [names::MANIFEST_FINALIZER]}, "spec": spec,
        });
        let hub = self.hub.api();
        match hub.create(&manifests(), &manifest).await {
            Ok(_) => {}
            Err(_) => {
                let patch = json!([{"op": "replace", "path": "/spec", "value": spec}]);
                let at = ("", name.as_str(), "");
                hub.patch(&manifests(), at, PatchKind::Json, &patch)
                    .await
                    .unwrap();
            }
        }
        name
    }

    async fn below(&self, namespace: &str, name: &str) -> Option<Value> {
        let t = target(&[5; 32], &source(namespace, name));
        self.site
            .api()
            .find(&deployments(), &t.namespace, &t.name)
            .await
            .unwrap()
    }

    async fn status(&self, manifest: &str) -> Value {
        self.hub
            .api()
            .get(&manifests(), "", manifest)
            .await
            .unwrap()["status"]
            .clone()
    }

    /// All that stands below, without what differs between two runs.
    async fn picture(&self) -> BTreeMap<String, Value> {
        let api = self.site.api();
        let mut out = BTreeMap::new();
        for resource in [deployments(), namespaces()] {
            for mut o in api.list(&resource, &List::default()).await.unwrap().items {
                let meta = o["metadata"].as_object_mut().unwrap();
                for key in ["uid", "resourceVersion", "generation"] {
                    meta.remove(key);
                }
                out.insert(
                    format!(
                        "{resource}/{}/{}",
                        o["metadata"]["namespace"], o["metadata"]["name"]
                    ),
                    o,
                );
            }
        }
        for o in self
            .hub
            .api()
            .list(&manifests(), &List::default())
            .await
            .unwrap()
            .items
        {
            let key = format!("manifest/{}", o["metadata"]["name"]);
            out.insert(key, o["status"]["state"].clone());
        }
        out
    }
}

fn source(namespace: &str, name: &str) -> Source {
    Source {
        cluster: "c1".into(),
        group: "apps".into(),
        version: "v1".into(),
        resource: "deployments".into(),
        kind: "Deployment".into(),
        namespace: namespace.into(),
        name: name.into(),
        generation: 1,
        ..Default::default()
    }
}

/// Runs a scenario under a few seeds.
fn under_seeds<F, Fut>(scenario: F)
where
    F: Fn(World) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    for seed in 0..5 {
        let simulation = Simulation::new(seed);
        let seams = simulation.seams();
        let scenario = scenario.clone();
        let done = simulation.run(async move {
            scenario(World::new(seams).await).await;
        });
        assert_eq!(done, Some(()), "seed {seed} came to a stop");
    }
}

fn same(_: &mut ManifestSpec) {}
