//! A hub and a site in one simulated machine: the hub's own controllers, the agent's own code, and
//! a small API server below. The inbox is carried between the two by hand ([`carry`]), which is
//! all that is left out.

use std::sync::Arc;
use std::time::Duration;

use hanse_admission::Admission;
use hanse_agent::{Agent, Facts as SiteFacts, Memory, Setup};
use hanse_apis::sites::names;
use hanse_auth::authority::Authority;
use hanse_auth::token::Signer;
use hanse_auth::{Authorizer, View};
use hanse_cache::{Config, Hub, Object, ObjectKey, ResourceId, Write};
use hanse_client::testing::Fake;
use hanse_client::{PatchKind, Resource};
use hanse_projection::why::Facts;
use hanse_seams::{Seams, Shutdown, Simulation, Task};
use hanse_sites::ids::Ids;
use hanse_sites::{PARTS, Sites, bootstrap};
use hanse_store::MemoryStore;
use hanse_tenancy::{Draft, Forms, Maker, ShardConfig, Tenancy};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value, json};

/// Where tenant and operator live.
pub const HOME: &str = "root";
const MASTER: &str = r#"{"username":"root","groups":["system:masters"]}"#;

/// The object that is asked about: group, plural, namespace, name.
pub type Asked = (&'static str, &'static str, &'static str, &'static str);

/// Hub and site.
#[derive(Clone)]
pub struct World {
    pub tenancy: Arc<Tenancy>,
    pub ids: Arc<Ids>,
    pub seams: Seams,
    /// The API below.
    pub site: Fake,
    /// The inbox as the agent reaches it.
    pub inbox: Fake,
    agent: Arc<Mutex<Option<Agent>>>,
    asked: Arc<Mutex<Asked>>,
}

pub fn manifests() -> Resource {
    Resource::new("sites.hanse.dev", "v1alpha1", "manifests")
}

fn leases() -> Resource {
    Resource::new("coordination.k8s.io", "v1", "leases")
}

pub fn kind(group: &str, plural: &str) -> Resource {
    Resource::new(group, "v1", plural)
}

pub fn stored(group: &str, plural: &str) -> ResourceId {
    let identity = if group.is_empty() { "" } else { "identity" };
    ResourceId::new(group, plural, identity)
}

/// Runs a story on a simulated machine.
pub fn play<T, F>(story: impl FnOnce(World) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let machine = Simulation::new(3);
    let seams = machine.seams();
    let told = machine.run(async move {
        let stop = Shutdown::new();
        let world = World::new(seams, &stop).await;
        let agent = Arc::clone(&world.agent);
        let told = story(world).await;
        agent.lock().take();
        stop.trigger();
        told
    });
    told.unwrap_or_else(|| panic!("the story waits for what never comes"))
}

impl World {
    async fn new(seams: Seams, stop: &Shutdown) -> Self {
        let store = Arc::new(MemoryStore::with_defaults(seams.clock.clone()));
        let config = Config {
            parts: PARTS,
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
        let key = KeyPair::generate().unwrap().serialize_pem();
        let signer = Arc::new(Signer::from_pem(key.as_bytes(), "https://x").unwrap());
        let sites = Sites::new(Arc::clone(&tenancy), signer, vec![], Arc::new(authority()));
        let sites = sites.unwrap();
        seams.spawn("sites", sites.run(stop.clone()));
        let ids = Arc::new(Ids::of(tenancy.view()).unwrap());
        let (site, inbox) = (Fake::new(), Fake::new());
        inbox.serve(manifests(), "Manifest", false);
        inbox.serve(leases(), "Lease", true);
        let ns = json!({"metadata": {"name": "default"}});
        let namespaces = kind("", "namespaces");
        inbox.api().create(&namespaces, &ns).await.unwrap();
        for (group, plural, of) in [
            ("apps", "deployments", "Deployment"),
            ("batch", "jobs", "Job"),
            ("", "configmaps", "ConfigMap"),
            ("", "secrets", "Secret"),
            ("", "persistentvolumeclaims", "PersistentVolumeClaim"),
            ("", "events", "Event"),
            ("example.com", "things", "Thing"),
        ] {
            site.serve(kind(group, plural), of, true);
        }
        Self {
            tenancy,
            ids,
            seams,
            site,
            inbox,
            agent: Arc::default(),
            asked: Arc::new(Mutex::new(("apps", "deployments", "default", "web"))),
        }
    }

    pub async fn wait(&self, seconds: u64) {
        self.seams.clock.sleep(Duration::from_secs(seconds)).await;
    }

    pub fn ask(&self, asked: Asked) {
        *self.asked.lock() = asked;
    }

    // === above ===

    pub fn get(
        &self,
        of: &ResourceId,
        cluster: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Object> {
        self.tenancy.view().get(of, cluster, namespace, name)
    }

    fn list(&self, of: &ResourceId) -> Vec<Value> {
        let all = self.tenancy.view().list_cluster(of, HOME);
        all.iter().map(Object::value).collect()
    }

    pub async fn create(&self, of: &ResourceId, value: Value) {
        let mut draft = Draft::new(of, value);
        let namespace = draft.value["metadata"]["namespace"].as_str();
        draft.namespace = namespace.unwrap_or_default().to_owned();
        let maker = self.tenancy.maker();
        let write = maker.create(&HOME.into(), draft, &maker.now()).unwrap();
        self.commit(write).await;
    }

    pub async fn change(&self, object: &Object, change: impl FnOnce(&mut Value)) {
        let mut value = object.value();
        change(&mut value);
        let held = value["metadata"]["finalizers"].as_array();
        let held = held.is_some_and(|f| !f.is_empty());
        let write = match object.is_deleting() && !held {
            true => Maker::delete(object),
            false => self.tenancy.maker().update(object, &value).unwrap(),
        };
        self.commit(write).await;
    }

    /// What lost against a controller's write is tried again by whoever asked.
    async fn commit(&self, write: Write) {
        let _ = self.tenancy.commit(vec![write]).await;
    }

    pub async fn delete(&self, object: &Object) {
        let now = self.tenancy.maker().now();
        self.change(object, |o| o["metadata"]["deletionTimestamp"] = json!(now))
            .await;
    }

    pub fn web(&self) -> Object {
        let (group, plural, namespace, name) = *self.asked.lock();
        let of = stored(group, plural);
        self.get(&of, HOME, namespace, name).unwrap()
    }

    /// A Deployment `web`, changed.
    pub async fn deploy(&self, change: impl FnOnce(&mut Value)) {
        let mut web = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default", "generation": 1,
                         "labels": {"app": "web"}},
            "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "c"}]}}},
        });
        change(&mut web);
        self.create(&stored("apps", "deployments"), web).await;
        self.wait(2).await;
    }

    pub async fn placement(&self, spec: Value) {
        let placement = json!({
            "apiVersion": "sites.hanse.dev/v1alpha1", "kind": "Placement",
            "metadata": {"name": "p", "annotations": {names::AUTHOR_ANNOTATION: MASTER}},
            "spec": spec,
        });
        self.create(&self.ids.placements, placement).await;
        self.wait(2).await;
    }

    pub async fn rule(&self, spec: Value) {
        let rule = json!({
            "apiVersion": "sites.hanse.dev/v1alpha1", "kind": "ProjectionRule",
            "metadata": {"name": "rule", "generation": 1}, "spec": spec,
        });
        self.create(&self.ids.rules, rule).await;
        self.wait(1).await;
    }

    /// A Site that is made and not joined.
    pub async fn planned(&self, name: &str, spec: Value) -> Object {
        let site = json!({
            "apiVersion": "sites.hanse.dev/v1alpha1", "kind": "Site",
            "metadata": {"name": name, "labels": {"region": "eu"}}, "spec": spec,
        });
        self.create(&self.ids.sites, site).await;
        self.wait(2).await;
        self.get(&self.ids.sites, HOME, "", name).unwrap()
    }

    /// The Site `a`, joined, with its agent at work.
    pub async fn join(&self, spec: Value) {
        let site = self.planned("a", spec).await;
        self.change(&site, |s| s["status"]["clusterUid"] = json!("uid-a"))
            .await;
        let inbox = site.text(&["status", "cluster"]).unwrap().into_owned();
        let lease = self
            .get(&self.ids.leases, &inbox, "default", "syncer")
            .unwrap();
        let hub = self.inbox.api();
        let value = json!({
            "metadata": {"name": "syncer", "namespace": "default"},
            "spec": lease.value()["spec"],
        });
        hub.create(&leases(), &value).await.unwrap();
        self.start(&inbox);
        let world = self.clone();
        // Ends with the machine.
        let task: Task = self.seams.spawn("carry", async move {
            loop {
                carry(&world, &inbox).await;
                world.seams.clock.sleep(Duration::from_millis(100)).await;
            }
        });
        drop(task);
        self.wait(3).await;
    }

    fn start(&self, inbox: &str) {
        let agent = Agent::start(Setup {
            hub: self.inbox.api(),
            site: self.site.api(),
            inbox: inbox.into(),
            journal: Arc::new(Memory::default()),
            facts: SiteFacts {
                cluster_uid: "uid-a".into(),
                kubernetes_version: "v1.35".into(),
            },
            seams: self.seams.clone(),
        });
        *self.agent.lock() = Some(agent.unwrap());
    }

    /// The agent ends, and nothing follows it.
    pub fn stop_agent(&self) {
        self.agent.lock().take();
    }

    /// All is as it is mostly: a Site, a Placement of Deployments, and `web`.
    pub async fn usual(&self) {
        self.join(json!({})).await;
        self.placement(everything()).await;
        self.deploy(|_| {}).await;
        self.wait(2).await;
    }

    // === below ===

    /// The namespace below of what is placed.
    pub async fn namespace(&self) -> String {
        let api = self.inbox.api();
        let all = api.list(&manifests(), &hanse_client::List::default()).await;
        let all = all.unwrap().items;
        let of = |m: &Value| m["spec"]["target"]["namespace"].as_str().map(str::to_owned);
        all.iter().find_map(of).unwrap()
    }

    /// Sets the status of an object below, as its controller does.
    pub async fn told(&self, of: &Resource, name: &str, status: Value) {
        let namespace = self.namespace().await;
        let at = (namespace.as_str(), name, "status");
        let patch = json!({"status": status});
        let api = self.site.api();
        api.patch(of, at, PatchKind::Merge, &patch).await.unwrap();
        self.wait(3).await;
    }

    // === what a tenant can read ===

    pub fn facts(&self) -> Facts {
        let (group, resource, namespace, name) = *self.asked.lock();
        let object = self.get(&stored(group, resource), HOME, namespace, name);
        let object = object.map(|o| o.value());
        let projection = self.list(&self.ids.projections).into_iter().find(|p| {
            let of = &p["spec"]["object"];
            of["name"] == name && of["resource"] == resource
        });
        let named = object.as_ref();
        let named = named.map(|o| hanse_projection::why::named(o, group, resource));
        let absent = |(plural, name): &(String, String)| {
            self.get(&stored("", plural), HOME, namespace, name)
                .is_none()
        };
        let mut warnings = self.list(&self.ids.events);
        warnings.retain(|e| e["involvedObject"]["name"] == name);
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        Facts {
            group: group.into(),
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
            object,
            projection,
            placements: self.list(&self.ids.placements),
            rules: self.list(&self.ids.rules),
            sites: self.list(&self.ids.sites),
            missing: named.into_iter().flatten().filter(absent).collect(),
            warnings: warnings
                .iter()
                .map(|e| (text(&e["reason"]), text(&e["message"])))
                .collect(),
            now: i64::try_from(self.seams.clock.wall().as_micros()).unwrap(),
            ago: Some(hanse_wire::time::human_duration),
            ..Facts::default()
        }
    }
}

pub fn everything() -> Value {
    json!({"objects": [{"group": "apps", "resource": "deployments"}]})
}

fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap().pem();
    Authority::from_pem(&certificate, &key.serialize_pem()).unwrap()
}

/// Carries the inbox between the hub and the agent, both ways.
async fn carry(w: &World, inbox: &str) {
    let api = w.inbox.api();
    let ours = w.tenancy.view().list_cluster(&w.ids.manifests, inbox);
    for manifest in &ours {
        let value = manifest.value();
        let name = value["metadata"]["name"].as_str().unwrap().to_owned();
        let there = api.find(&manifests(), "", &name).await.unwrap_or_default();
        match there {
            None if manifest.is_deleting() => {
                w.change(manifest, |m| {
                    m["metadata"].as_object_mut().unwrap().remove("finalizers");
                })
                .await;
            }
            None => {
                let new = json!({
                    "apiVersion": value["apiVersion"], "kind": "Manifest", "spec": value["spec"],
                    "metadata": {"name": name, "finalizers": [names::MANIFEST_FINALIZER]},
                });
                let _ = api.create(&manifests(), &new).await;
            }
            Some(there) => {
                if there["spec"] != value["spec"] {
                    let patch = json!([{"op": "replace", "path": "/spec", "value": value["spec"]}]);
                    let at = ("", name.as_str(), "");
                    let _ = api.patch(&manifests(), at, PatchKind::Json, &patch).await;
                }
                let going = there["metadata"].get("deletionTimestamp").is_some();
                if manifest.is_deleting() && !going {
                    let _ = api.delete(&manifests(), "", &name, None).await;
                }
                if !there["status"].is_null() && there["status"] != value["status"] {
                    w.change(manifest, |m| m["status"] = there["status"].clone())
                        .await;
                }
            }
        }
    }
    let Ok(lease) = api.get(&leases(), "default", "syncer").await else {
        return;
    };
    let key = ObjectKey::new(&w.ids.leases, &inbox.into(), "default", "syncer");
    let Some(ours) = w.tenancy.view().hub().get(&key) else {
        return;
    };
    if ours.value()["spec"]["renewTime"] != lease["spec"]["renewTime"] {
        w.change(&ours, |l| {
            l["spec"]["renewTime"] = lease["spec"]["renewTime"].clone();
            l["metadata"]["annotations"] = lease["metadata"]["annotations"].clone();
        })
        .await;
    }
}
