//! The rules of the syncer, each with a test, against two servers in memory under one seed.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hanse_agent::{Agent, Facts, Journal, Memory, Setup};
use hanse_apis::sites::{ManifestSpec, Source, names};
use hanse_client::testing::Fake;
use hanse_client::{Error, List, PatchKind, Refusal, Resource};
use hanse_projection::names::{object_name, target};
use hanse_projection::{Render, content_hash, render};
use hanse_seams::{Seams, Simulation};
use serde_json::{Value, json};

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
        let source = source(namespace, name);
        let target = target(&[5; 32], &source);
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
            "spec": spec,
        });
        let object = render(&Render {
            object: &object,
            source: &source,
            target: &target,
            site: INBOX,
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

#[test]
fn intents_come_below_statuses_come_up_and_then_it_is_quiet() {
    under_seeds(|w| async move {
        let agent = w.agent();
        let web = w.place("shop", "web", json!({"replicas": 2}), same).await;
        w.place("shop", "db", json!({"replicas": 1}), same).await;
        w.place("bank", "web", json!({"replicas": 3}), same).await;
        w.wait(5).await;
        assert_eq!(agent.objects(), 3);
        let live = w.below("shop", "web").await.unwrap();
        assert_eq!(live["spec"]["replicas"], 2);
        let at = (
            live["metadata"]["namespace"].as_str().unwrap(),
            "web",
            "status",
        );
        let patch = json!({"status": {"readyReplicas": 2}});
        w.site
            .api()
            .patch(&deployments(), at, PatchKind::Merge, &patch)
            .await
            .unwrap();
        w.wait(5).await;
        let status = w.status(&web).await;
        assert_eq!(status["state"], "Applied");
        assert_eq!(status["status"]["readyReplicas"], 2);
        assert_eq!(status["replicas"], 2);
        let (site, hub) = (w.site.writes(), w.hub.writes());
        w.wait(600).await;
        assert_eq!(w.site.writes(), site, "an idle agent writes nothing below");
        let leases = w.hub.writes() - hub;
        assert!(
            (58..=62).contains(&leases),
            "only one lease renewal in ten seconds: {leases}"
        );
    });
}

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
fn a_conflict_holds_back_only_its_field_and_is_shown() {
    under_seeds(|w| async move {
        let _agent = w.agent();
        let m = w
            .place("shop", "web", json!({"replicas": 2, "paused": false}), same)
            .await;
        w.wait(5).await;
        let ns = target(&[5; 32], &source("shop", "web")).namespace;
        let at = (ns.as_str(), "web", "");
        let scale = json!({"spec": {"replicas": 9}});
        w.site
            .api()
            .patch(&deployments(), at, PatchKind::Merge, &scale)
            .await
            .unwrap();
        w.wait(5).await;
        let status = w.status(&m).await;
        assert_eq!(status["state"], "Conflict", "{status}");
        assert_eq!(status["error"]["manager"], "test");
        assert_eq!(status["error"]["fields"], json!([".spec.replicas"]));
        w.place("shop", "web", json!({"replicas": 2, "paused": true}), same)
            .await;
        w.wait(5).await;
        let live = w.below("shop", "web").await.unwrap();
        assert_eq!(live["spec"], json!({"replicas": 9, "paused": true}));
        let writes = w.site.writes();
        w.wait(300).await;
        assert_eq!(w.site.writes(), writes, "a conflict is not fought");
        let back = json!({"spec": {"replicas": 2}});
        w.site
            .api()
            .patch(&deployments(), at, PatchKind::Merge, &back)
            .await
            .unwrap();
        w.wait(5).await;
        assert_eq!(
            w.status(&m).await["state"],
            "Applied",
            "the end of a conflict is seen"
        );
        let force = |s: &mut ManifestSpec| {
            s.force = vec![".spec.replicas".into()];
            s.hash.push('f');
        };
        w.site
            .api()
            .patch(&deployments(), at, PatchKind::Merge, &scale)
            .await
            .unwrap();
        w.place("shop", "web", json!({"replicas": 4, "paused": true}), force)
            .await;
        w.wait(5).await;
        assert_eq!(w.below("shop", "web").await.unwrap()["spec"]["replicas"], 4);
    });
}

#[test]
fn what_is_not_ours_is_never_taken_or_deleted() {
    under_seeds(|w| async move {
        let ns = target(&[5; 32], &source("shop", "web")).namespace;
        let first = w.place("shop", "db", json!({}), same).await;
        let _agent = w.agent();
        w.wait(5).await;
        assert_eq!(w.status(&first).await["state"], "Applied");
        let theirs = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 7},
            "metadata": {"name": "web", "namespace": ns},
        });
        w.site.api().create(&deployments(), &theirs).await.unwrap();
        let m = w.place("shop", "web", json!({"replicas": 1}), same).await;
        w.wait(5).await;
        let status = w.status(&m).await;
        assert_eq!(
            (&status["state"], &status["error"]["reason"]),
            (&json!("Failed"), &json!("NotOurs"))
        );
        w.hub
            .api()
            .delete(&manifests(), "", &m, None)
            .await
            .unwrap();
        w.wait(5).await;
        assert!(
            w.hub
                .api()
                .find(&manifests(), "", &m)
                .await
                .unwrap()
                .is_none(),
            "released"
        );
        assert_eq!(
            w.below("shop", "web").await.unwrap()["spec"]["replicas"],
            7,
            "left alone"
        );
        let adopt = |s: &mut ManifestSpec| s.adopt = true;
        let m = w.place("shop", "web", json!({"paused": true}), adopt).await;
        w.wait(5).await;
        assert_eq!(w.status(&m).await["state"], "Applied");
        assert_eq!(
            w.below("shop", "web").await.unwrap()["spec"]["paused"],
            true
        );
    });
}

#[test]
fn one_that_cannot_be_applied_blocks_nobody_and_clears_itself() {
    under_seeds(|w| async move {
        w.site.intercept(Some(Box::new(|r| {
            let bad = r.method == "PATCH" && r.path.ends_with("/deployments/bad");
            bad.then(|| {
                let body = json!({
                    "reason": "BadRequest",
                    "message": "failed to create typed patch object: .spec.foo: field not declared in schema",
                });
                Error::Refused(Box::new(Refusal::new(400, None, body.to_string().into())))
            })
        })));
        let _agent = w.agent();
        let bad = w.place("a", "bad", json!({"foo": 1}), same).await;
        let mut good = Vec::new();
        for i in 0..20 {
            good.push(
                w.place("a", &format!("good{i}"), json!({"replicas": i}), same)
                    .await,
            );
        }
        w.wait(5).await;
        for name in &good {
            assert_eq!(w.status(name).await["state"], "Applied");
        }
        let status = w.status(&bad).await;
        assert_eq!(status["state"], "Incompatible");
        assert_eq!(status["error"]["fields"], json!([".spec.foo"]));
        assert!(status["error"]["nextTry"].is_string());
        w.site.intercept(None);
        w.wait(600).await;
        assert_eq!(w.status(&bad).await["state"], "Applied");
        assert!(w.status(&bad).await.get("error").is_none());
    });
}

#[test]
fn deletion_takes_the_object_then_the_namespace_then_releases() {
    under_seeds(|w| async move {
        let _agent = w.agent();
        let web = w.place("shop", "web", json!({}), same).await;
        let db = w.place("shop", "db", json!({}), same).await;
        w.wait(5).await;
        let ns = target(&[5; 32], &source("shop", "web")).namespace;
        w.hub
            .api()
            .delete(&manifests(), "", &web, None)
            .await
            .unwrap();
        w.wait(5).await;
        assert!(w.below("shop", "web").await.is_none());
        assert!(
            w.site
                .api()
                .find(&namespaces(), "", &ns)
                .await
                .unwrap()
                .is_some()
        );
        w.site.cut(true);
        w.hub
            .api()
            .delete(&manifests(), "", &db, None)
            .await
            .unwrap();
        w.wait(60).await;
        assert!(
            w.hub
                .api()
                .find(&manifests(), "", &db)
                .await
                .unwrap()
                .is_some(),
            "held"
        );
        w.site.cut(false);
        w.wait(600).await;
        assert!(
            w.hub
                .api()
                .find(&manifests(), "", &db)
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            w.site
                .api()
                .find(&namespaces(), "", &ns)
                .await
                .unwrap()
                .is_none()
        );
        assert!(w.journal.standings().unwrap().is_empty());
    });
}

#[test]
fn a_fight_is_given_up() {
    under_seeds(|w| async move {
        let _agent = w.agent();
        let m = w.place("shop", "web", json!({}), same).await;
        w.wait(5).await;
        let ns = target(&[5; 32], &source("shop", "web")).namespace;
        for _ in 0..6 {
            let _ = w.site.api().delete(&deployments(), &ns, "web", None).await;
            w.wait(5).await;
        }
        assert!(w.below("shop", "web").await.is_none(), "given up");
        assert_eq!(w.status(&m).await["error"]["reason"], "Fight");
        w.wait(700).await;
        assert!(
            w.below("shop", "web").await.is_some(),
            "and taken up again later"
        );
    });
}

#[test]
fn an_unserved_kind_is_named_and_applied_once_it_is_served() {
    under_seeds(|w| async move {
        let site = Fake::new();
        let w = World {
            site: site.clone(),
            ..w
        };
        let _agent = w.agent();
        let m = w.place("shop", "web", json!({}), same).await;
        w.wait(5).await;
        let status = w.status(&m).await;
        assert_eq!(status["state"], "Incompatible");
        assert_eq!(
            status["error"]["message"],
            "the site does not serve deployments.apps"
        );
        site.serve(deployments(), "Deployment", true);
        w.wait(20).await;
        assert_eq!(
            w.status(&m).await["state"],
            "Applied",
            "without waiting for the next try"
        );
    });
}

/// A journal that stops taking writes when the process is dead.
struct Mortal {
    inner: Memory,
    dead: Arc<AtomicBool>,
}
impl Journal for Mortal {
    fn standings(&self) -> Result<Vec<(String, Vec<u8>)>, hanse_agent::JournalError> {
        self.inner.standings()
    }
    fn intent(&self, name: &str) -> Result<Option<Vec<u8>>, hanse_agent::JournalError> {
        self.inner.intent(name)
    }
    fn cursor(&self) -> Result<String, hanse_agent::JournalError> {
        self.inner.cursor()
    }
    fn write(
        &self,
        changes: &[hanse_agent::Change<'_>],
        durable: bool,
    ) -> Result<(), hanse_agent::JournalError> {
        if self.dead.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.inner.write(changes, durable)
    }
}

/// One life of two Manifests: made, changed, one deleted. The agent dies after its `n`-th write
/// (never for none); answers what stands in the end and how many writes there were.
async fn life(w: World, n: Option<u64>) -> (BTreeMap<String, Value>, u64) {
    let (dead, writes) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    for fake in [&w.hub, &w.site] {
        let (dead, writes) = (Arc::clone(&dead), Arc::clone(&writes));
        fake.intercept(Some(Box::new(move |r| {
            if dead.load(Ordering::SeqCst) {
                return Some(Error::Unreachable("dead".into()));
            }
            // The agent's writes, not the test's own, which are posts, deletions and JSON patches
            // of the inbox.
            let ours = !r.path.contains("/manifests")
                || r.path.ends_with("/status")
                || r.content_type.contains("merge");
            let counts = r.method != "GET" && !r.path.contains("/leases") && ours;
            if counts && Some(writes.fetch_add(1, Ordering::SeqCst) + 1) == n {
                dead.store(true, Ordering::SeqCst);
            }
            None
        })));
    }
    let journal = Mortal {
        inner: w.journal.clone(),
        dead: Arc::clone(&dead),
    };
    let mut agent = w.agent_with(Arc::new(journal));
    w.place("shop", "web", json!({"replicas": 1}), same).await;
    let db = w.place("shop", "db", json!({"replicas": 1}), same).await;
    for step in 0..3 {
        w.wait(20).await;
        if dead.swap(false, Ordering::SeqCst) {
            agent.stop();
            w.hub.intercept(None);
            w.site.intercept(None);
            agent = w.agent();
        }
        w.wait(60).await;
        match step {
            0 => {
                w.place("shop", "web", json!({"replicas": 2}), same).await;
            }
            1 => {
                w.hub
                    .api()
                    .delete(&manifests(), "", &db, None)
                    .await
                    .unwrap();
            }
            _ => {}
        }
    }
    agent.stop();
    (w.picture().await, writes.load(Ordering::SeqCst))
}

#[test]
fn killed_between_any_two_writes_it_comes_to_the_same_end() {
    let run = |n: Option<u64>| {
        let simulation = Simulation::new(11);
        let seams = simulation.seams();
        simulation
            .run(async move { life(World::new(seams).await, n).await })
            .unwrap_or_else(|| panic!("killed after write {n:?} it came to a stop"))
    };
    let (want, writes) = run(None);
    assert_eq!(
        want.len(),
        3,
        "one object, its namespace, its manifest: {want:#?}"
    );
    assert!(writes >= 8, "{writes}");
    for n in 1..=writes {
        let (got, _) = run(Some(n));
        assert_eq!(got, want, "killed after write {n}");
    }
}
