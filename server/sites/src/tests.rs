//! The hub's half over an in-memory hub; the tests play tenants, operators and the syncer.

use std::sync::Arc;
use std::time::Duration;

use hanse_admission::Admission;
use hanse_apis::sites::names;
use hanse_auth::token::{Signer, unverified_cluster};
use hanse_auth::{Authorizer, View};
use hanse_cache::{Config, Hub, Object, ResourceId};
use hanse_seams::{Seams, Shutdown, Simulation};
use hanse_store::MemoryStore;
use hanse_tenancy::{Draft, Forms, Maker, ShardConfig, Tenancy};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use crate::turn::{Turn, hold};
use crate::{Sites, bootstrap};
use hanse_auth::authority::Authority;

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
    let seams = machine.seams();
    let told = machine.run(async move {
        let store = Arc::new(MemoryStore::with_defaults(seams.clock.clone()));
        let hub = Hub::open(store, Config::default()).await.unwrap();
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

fn everything() -> Value {
    json!([{"group": "apps", "resource": "deployments"}])
}

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
fn deletion_waits_for_the_sites_and_a_tombstone_frees_it_from_a_lost_one() {
    play(|w| async move {
        let quick = json!({"times": {"leaseSeconds": 1, "lateSeconds": 2, "lostSeconds": 4}});
        let (a, b) = (w.site("a", quick.clone()).await, w.site("b", quick).await);
        w.placement("p", json!({"objects": everything()})).await;
        let of = w.deployment("web", 1).await;
        w.sync(&a, 1).await;
        w.sync(&b, 1).await;
        for _ in 0..6 {
            w.renew(&a).await;
            w.wait(1).await;
        }
        let site = |name: &str| w.get(&w.sites.ids.sites, HOME, "", name).unwrap();
        assert_eq!(site("a").text(&["status", "contact"]).unwrap(), "Live");
        assert_eq!(site("b").text(&["status", "contact"]).unwrap(), "Lost");
        let web = w.get(&of, HOME, "default", "web").unwrap();
        let line = web
            .annotation(names::STATUS_ANNOTATION)
            .unwrap()
            .into_owned();
        assert!(line.starts_with("1/2 (1 unknown since "), "{line}");
        assert_eq!(
            web.value()["status"]["readyReplicas"],
            1,
            "silence is not ready"
        );
        w.delete(&web).await;
        w.renew(&a).await;
        w.wait(1).await;
        assert!(
            w.get(&of, HOME, "default", "web").is_some(),
            "site a still has it"
        );
        w.sync(&a, 0).await;
        assert!(
            w.get(&of, HOME, "default", "web").is_none(),
            "b's end is promised"
        );
        assert!(w.list(&w.sites.ids.projections, HOME).is_empty());
        assert_eq!(w.manifests(&b).len(), 1, "the tombstone waits in b's inbox");
        w.sync(&b, 0).await;
        assert!(w.manifests(&b).is_empty());
    });
}

#[test]
fn what_is_no_longer_placed_is_taken_back() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        let b = w.site("b", json!({})).await;
        w.placement(
            "p",
            json!({"objects": everything(), "sites": {"names": ["a"]}}),
        )
        .await;
        let of = w.deployment("web", 1).await;
        w.sync(&a, 1).await;
        assert!(w.manifests(&b).is_empty());
        let p = w.get(&w.sites.ids.placements, HOME, "", "p").unwrap();
        assert_eq!(p.value()["status"]["sites"][1]["reason"], "NotNamed");
        w.change(&p, |p| p["spec"]["sites"]["names"] = json!(["b"]))
            .await;
        w.wait(2).await;
        assert_eq!(w.manifests(&b).len(), 1);
        assert!(w.manifests(&a)[0]["metadata"]["deletionTimestamp"].is_string());
        w.sync(&a, 0).await;
        w.sync(&b, 1).await;
        let projection = &w.list(&w.sites.ids.projections, HOME)[0];
        assert_eq!(projection["spec"]["sites"].as_array().unwrap().len(), 1);
        // The finalizer that somebody takes off comes back while the object is placed.
        let web = w.get(&of, HOME, "default", "web").unwrap();
        w.change(&web, |o| {
            o["metadata"].as_object_mut().unwrap().remove("finalizers");
        })
        .await;
        w.wait(1).await;
        let web = w.get(&of, HOME, "default", "web").unwrap();
        assert!(web.value()["metadata"]["finalizers"].is_array());
        let p = w.get(&w.sites.ids.placements, HOME, "", "p").unwrap();
        w.delete(&p).await;
        w.wait(1).await;
        w.sync(&b, 0).await;
        let web = w.get(&of, HOME, "default", "web").unwrap().value();
        assert!(web["metadata"].get("finalizers").is_none());
        assert!(web.get("status").is_none(), "nobody reports it any more");
    });
}

#[test]
fn a_refusal_is_told_on_the_object_in_an_event_and_in_the_projection() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        w.placement("p", json!({"objects": everything()})).await;
        let of = w.deployment("web", 1).await;
        let manifest = w
            .sites
            .tenancy
            .view()
            .list_cluster(&w.sites.ids.manifests, &a)[0]
            .clone();
        w.change(&manifest, |m| {
            m["status"] = json!({"state": "Incompatible", "error": {
                "reason": "Incompatible", "message": ".spec.x: field not declared in schema",
                "since": "2026-11-21T00:00:00Z",
            }});
        })
        .await;
        w.wait(1).await;
        let web = w.get(&of, HOME, "default", "web").unwrap();
        assert_eq!(
            web.annotation(names::STATUS_ANNOTATION).unwrap(),
            "0/1 a: Incompatible: .spec.x: field not declared in schema"
        );
        let events = w.list(&w.sites.ids.events, HOME);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["reason"], "Incompatible");
        let projection = &w.list(&w.sites.ids.projections, HOME)[0];
        assert_eq!(projection["status"]["conditions"][0]["status"], "False");
        w.sync(&a, 1).await;
        let web = w.get(&of, HOME, "default", "web").unwrap();
        assert_eq!(
            web.annotation(names::STATUS_ANNOTATION).unwrap(),
            "1/1",
            "it clears itself"
        );
    });
}

fn request(user: &str, cluster_uid: &str) -> Value {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::default();
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": hanse_projection::content_hash(&json!(pem)),
                     "annotations": {names::CLUSTER_UID_ANNOTATION: cluster_uid}},
        "spec": {"request": hanse_wire::base64::encode(pem.as_bytes()), "username": user,
                 "signerName": names::SIGNER, "usages": ["client auth"]},
    })
}

#[test]
fn a_token_joins_one_cluster_once() {
    play(|w| async move {
        let ids = w.sites.ids.clone();
        let of = w.sites.tenancy.view().resources().clone();
        let site = json!({
            "apiVersion": "sites.hanse.dev/v1alpha1", "kind": "Site",
            "metadata": {"name": "edge"}, "spec": {},
        });
        w.create(HOME, &ids.sites, site).await;
        let secret = |name: &str, site: &str| {
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": names::JOIN_SECRET_TYPE,
                "metadata": {"name": name, "namespace": "default",
                             "annotations": {names::SITE_ANNOTATION: site}},
            })
        };
        w.create(HOME, &of.secrets, secret("join", "edge")).await;
        w.create(HOME, &of.secrets, secret("wrong", "nowhere"))
            .await;
        w.wait(3).await;
        let wrong = w.get(&of.secrets, HOME, "default", "wrong").unwrap();
        assert!(wrong.annotation(crate::join::ERROR_ANNOTATION).is_some());
        let join = w.get(&of.secrets, HOME, "default", "join").unwrap();
        let packed = join.text(&["data", "kubeconfig"]).unwrap().into_owned();
        let config: Value =
            serde_json::from_slice(&hanse_wire::base64::decode(&packed).unwrap()).unwrap();
        let token = config["users"][0]["user"]["token"].as_str().unwrap();
        let inbox = unverified_cluster(token).unwrap();
        let account = w
            .list(&of.service_accounts, &inbox)
            .iter()
            .filter_map(|a| a["metadata"]["name"].as_str().map(str::to_owned))
            .find(|n| n.starts_with("bootstrap-"))
            .unwrap();
        let user = format!("system:serviceaccount:default:{account}");
        let ask = |user: String, uid: &'static str| {
            let (w, ids, inbox) = (&w, &ids, &inbox);
            async move {
                let value = request(&user, uid);
                let name = value["metadata"]["name"].as_str().unwrap().to_owned();
                w.create(inbox, &ids.requests, value).await;
                w.wait(1).await;
                w.get(&ids.requests, inbox, "", &name).unwrap().value()["status"].clone()
            }
        };
        let granted = ask(user.clone(), "uid-1").await;
        assert_eq!(granted["conditions"][0]["type"], "Approved", "{granted}");
        let pem = granted["certificate"].as_str().unwrap();
        let pem = String::from_utf8(hanse_wire::base64::decode(pem).unwrap()).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        let subject = certificate.subject().to_string();
        assert!(
            subject.contains(&format!("CN=system:hanse:site:{inbox}")),
            "{subject}"
        );
        let again = ask(user, "uid-1").await;
        assert_eq!(
            again["conditions"][0]["type"], "Denied",
            "a token is good once"
        );
        let syncer = format!("system:hanse:site:{inbox}");
        let renewal = ask(syncer.clone(), "uid-1").await;
        assert_eq!(renewal["conditions"][0]["type"], "Approved");
        let other = ask(syncer, "uid-2").await;
        let why = other["conditions"][0]["message"].as_str().unwrap();
        assert!(why.contains("joined by cluster uid-1"), "{why}");
        let stranger = ask("somebody".into(), "uid-1").await;
        assert_eq!(stranger["conditions"][0]["type"], "Denied");
    });
}

#[test]
fn forgetting_a_site_frees_everything() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        w.placement("p", json!({"objects": everything()})).await;
        let of = w.deployment("web", 1).await;
        assert_eq!(w.manifests(&a).len(), 1);
        let site = w.get(&w.sites.ids.sites, HOME, "", "a").unwrap();
        w.delete(&site).await;
        w.wait(3).await;
        assert!(w.get(&w.sites.ids.sites, HOME, "", "a").is_none());
        assert!(w.manifests(&a).is_empty());
        let bindings = w
            .sites
            .tenancy
            .view()
            .resources()
            .cluster_role_bindings
            .clone();
        assert!(w.list(&bindings, &a).is_empty(), "nobody gets in any more");
        let web = w.get(&of, HOME, "default", "web").unwrap();
        w.delete(&web).await;
        w.wait(1).await;
        assert!(w.get(&of, HOME, "default", "web").is_none());
    });
}

#[test]
fn a_finalizer_alone_is_no_reason_to_stay() {
    let mut value = json!({"metadata": {}});
    hold(&mut value, "a");
    hold(&mut value, "a");
    assert_eq!(value["metadata"]["finalizers"], json!(["a"]));
    crate::turn::let_go(&mut value, "a");
    assert!(value["metadata"].get("finalizers").is_none());
}
