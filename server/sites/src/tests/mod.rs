//! The hub's half over an in-memory hub; the tests play tenants, operators and the syncer. The
//! rules of the way to the sites have a module each: `docs/rules.md`.

use std::sync::Arc;
use std::time::Duration;

use hanse_admission::Admission;
use hanse_apis::sites::names;
use hanse_auth::authority::Authority;
use hanse_auth::token::Signer;
use hanse_auth::{Authorizer, View};
use hanse_cache::{Config, Hub, Object, ResourceId};
use hanse_seams::{Seams, Shutdown, Simulation};
use hanse_store::{MemoryStore, Store};
use hanse_tenancy::{Draft, Forms, Maker, ShardConfig, Tenancy};
use hanse_wire::table::Column;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use crate::turn::Turn;
use crate::{Sites, bootstrap};

mod bodies;
mod clock;
mod dependencies;
mod failing;
mod joining;
mod placing;
mod planning;
mod projection;
mod rule_01;
mod rule_03;
mod rule_05;
mod rule_06;
mod rule_08;
mod rule_09;
mod rule_11;
mod rule_12;
mod vault;
mod waves;

/// Where tenant and operator live in these tests.
const HOME: &str = "root";
const MASTER: &str = r#"{"username":"root","groups":["system:masters"]}"#;

struct World {
    sites: Arc<Sites>,
    seams: Seams,
    stop: Shutdown,
}

fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap().pem();
    let _ = Issuer::new(params, &key);
    Authority::from_pem(&certificate, &key.serialize_pem()).unwrap()
}

/// Runs a story on a simulated machine, with the controllers beside it.
fn play<F: Future<Output = ()> + Send + 'static>(story: impl FnOnce(World) -> F + Send + 'static) {
    let machine = Simulation::new(3);
    let store = Arc::new(MemoryStore::with_defaults(machine.seams().clock));
    play_over(machine, store, story);
}

/// The same over a store of the story's own.
fn play_over<F: Future<Output = ()> + Send + 'static>(
    machine: Simulation,
    store: Arc<dyn Store>,
    story: impl FnOnce(World) -> F + Send + 'static,
) {
    let seams = machine.seams();
    let told = machine.run(async move {
        let config = Config {
            parts: crate::PARTS,
            ..Config::default()
        };
        let hub = Hub::open(store, config).await.unwrap();
        let authorizer = Arc::new(Authorizer::new(Arc::new(View::new(hub))));
        let admission = Arc::new(Admission::new(authorizer));
        let maker = Maker::new(seams.clone(), Arc::new(Forms::default()));
        let url = "https://127.0.0.1:6443".to_owned();
        let shard = ShardConfig {
            name: "root".into(),
            base_url: url.clone(),
            external_url: url.clone(),
            virtual_workspace_url: url,
            ca_pem: "CA".into(),
            batteries: vec!["workspace-types".into()],
            home_creator_groups: vec![],
        };
        let tenancy = Arc::new(Tenancy::new(admission, shard, maker));
        tenancy.bootstrap().await.unwrap();
        bootstrap(&tenancy).await.unwrap();
        let key = KeyPair::generate().unwrap();
        let signer = Signer::from_pem(key.serialize_pem().as_bytes(), "https://x").unwrap();
        let sites = Sites::new(
            tenancy,
            Arc::new(signer),
            vec!["x".into()],
            Arc::new(authority()),
        )
        .unwrap();
        let stop = Shutdown::new();
        seams.spawn("sites", Arc::clone(&sites).run(stop.clone()));
        let world = World { sites, seams, stop };
        let stop = world.stop.clone();
        story(world).await;
        stop.trigger();
    });
    assert_eq!(told, Some(()), "the story waits for what never comes");
}

impl World {
    async fn wait(&self, seconds: u64) {
        self.seams.clock.sleep(Duration::from_secs(seconds)).await;
    }

    fn get(&self, of: &ResourceId, cluster: &str, namespace: &str, name: &str) -> Option<Object> {
        self.sites.tenancy.view().get(of, cluster, namespace, name)
    }

    fn list(&self, of: &ResourceId, cluster: &str) -> Vec<Value> {
        let view = self.sites.tenancy.view();
        view.list_cluster(of, cluster)
            .iter()
            .map(Object::value)
            .collect()
    }

    async fn create(&self, cluster: &str, of: &ResourceId, value: Value) {
        let namespace = value["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let mut draft = Draft::new(of, value);
        draft.namespace = namespace;
        let mut turn = Turn::default();
        turn.create(self.sites.tenancy.maker(), &cluster.into(), draft)
            .unwrap();
        self.sites.tenancy.commit(turn.writes).await.unwrap();
    }

    async fn change(&self, object: &Object, change: impl FnOnce(&mut Value)) {
        let mut value = object.value();
        change(&mut value);
        let mut turn = Turn::default();
        turn.release(self.sites.tenancy.maker(), object, &value)
            .unwrap();
        self.sites.tenancy.commit(turn.writes).await.unwrap();
    }

    async fn delete(&self, object: &Object) {
        let mut turn = Turn::default();
        turn.delete(self.sites.tenancy.maker(), object).unwrap();
        self.sites.tenancy.commit(turn.writes).await.unwrap();
    }

    /// A Site that has joined and is heard; answers its inbox.
    async fn site(&self, name: &str, spec: Value) -> String {
        let ids = &self.sites.ids;
        let site = json!({
            "apiVersion": "sites.hanse.dev/v1alpha1", "kind": "Site",
            "metadata": {"name": name, "labels": {"site": name}}, "spec": spec,
        });
        self.create(HOME, &ids.sites, site).await;
        self.wait(2).await;
        let site = self.get(&ids.sites, HOME, "", name).unwrap();
        let inbox = site.text(&["status", "cluster"]).unwrap().into_owned();
        self.change(&site, |s| {
            s["status"]["clusterUid"] = json!(format!("uid-{name}"))
        })
        .await;
        self.renew(&inbox).await;
        self.wait(1).await;
        inbox
    }

    async fn renew(&self, inbox: &str) {
        let lease = self
            .get(&self.sites.ids.leases, inbox, "default", "syncer")
            .unwrap();
        let micros = i64::try_from(self.seams.clock.wall().as_micros()).unwrap();
        let now = hanse_wire::time::format_micro(micros);
        self.change(&lease, |l| l["spec"]["renewTime"] = json!(now))
            .await;
    }

    async fn placement(&self, name: &str, spec: Value) {
        let placement = json!({
            "apiVersion": "sites.hanse.dev/v1alpha1", "kind": "Placement",
            "metadata": {"name": name, "annotations": {names::AUTHOR_ANNOTATION: MASTER}},
            "spec": spec,
        });
        self.create(HOME, &self.sites.ids.placements, placement)
            .await;
        self.wait(2).await;
    }

    async fn rule(&self, spec: Value) {
        let rule = json!({
            "apiVersion": "sites.hanse.dev/v1alpha1", "kind": "ProjectionRule",
            "metadata": {"name": "rule", "generation": 1}, "spec": spec,
        });
        self.create(HOME, &self.sites.ids.rules, rule).await;
        self.wait(1).await;
    }

    /// An object of a kind that nobody knows.
    async fn thing(&self, name: &str, rest: Value) -> ResourceId {
        let of = ResourceId::new("example.com", "things", "identity");
        let mut value = json!({
            "apiVersion": "example.com/v1", "kind": "Thing",
            "metadata": {"name": name, "namespace": "default", "generation": 1},
        });
        for (key, part) in rest.as_object().unwrap() {
            value[key] = part.clone();
        }
        self.create(HOME, &of, value).await;
        self.wait(1).await;
        of
    }

    /// Plays the syncer: what the Manifest of an object reports.
    async fn report(&self, inbox: &str, status: Value) {
        let view = self.sites.tenancy.view();
        for manifest in view.list_cluster(&self.sites.ids.manifests, inbox) {
            self.change(&manifest, |m| {
                m["status"] = json!({
                    "appliedHash": m["spec"]["hash"], "state": "Applied", "generation": 1,
                    "appliedGeneration": m["spec"]["source"]["generation"],
                });
                for (key, part) in status.as_object().unwrap() {
                    m["status"][key] = part.clone();
                }
            })
            .await;
        }
        self.wait(1).await;
    }

    async fn deployment(&self, name: &str, replicas: i64) -> ResourceId {
        let of = ResourceId::new("apps", "deployments", "identity");
        let value = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "default", "generation": 1},
            "spec": {"replicas": replicas},
        });
        self.create(HOME, &of, value).await;
        self.wait(1).await;
        of
    }

    /// What the table of a resource says of an object under a head.
    fn cell(&self, of: &ResourceId, object: &Object, head: &str) -> String {
        let cluster = object.key().cluster.clone();
        let shown = self.sites.shown(of, Some(&cluster)).unwrap();
        let mut heads: Vec<Column> = ["Contact", "Since", "Ready"].map(Column::text).into();
        let value = object.value();
        let status = |member: &str| value["status"][member].clone();
        let mut cells = vec![status("contact"), status("contactSince"), status("ready")];
        let now = i64::try_from(self.seams.clock.wall().as_micros()).unwrap();
        shown.cells(&heads, &value, now, &mut cells);
        shown.heads(&mut heads);
        let at = heads.iter().position(|h| h.name == head).unwrap();
        cells[at].as_str().unwrap_or_default().to_owned()
    }

    fn manifests(&self, inbox: &str) -> Vec<Value> {
        self.list(&self.sites.ids.manifests, inbox)
    }

    /// Plays the syncer: everything in the inbox is applied, or gone.
    async fn sync(&self, inbox: &str, ready: i64) {
        let view = self.sites.tenancy.view();
        for manifest in view.list_cluster(&self.sites.ids.manifests, inbox) {
            if manifest.is_deleting() {
                self.change(&manifest, |m| {
                    m["metadata"].as_object_mut().unwrap().remove("finalizers");
                })
                .await;
                continue;
            }
            self.change(&manifest, |m| {
                m["status"] = json!({
                    "appliedHash": m["spec"]["hash"], "state": "Applied", "generation": 1,
                    "appliedGeneration": m["spec"]["source"]["generation"],
                    "replicas": m["spec"]["object"]["spec"]["replicas"],
                    "status": {"observedGeneration": 1, "replicas": ready,
                               "readyReplicas": ready, "availableReplicas": ready},
                });
            })
            .await;
        }
        self.wait(1).await;
    }
}

fn things() -> Value {
    json!([{"group": "example.com", "resource": "things"}])
}

fn everything() -> Value {
    json!([{"group": "apps", "resource": "deployments"}])
}
