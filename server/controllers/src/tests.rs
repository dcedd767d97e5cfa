//! Controllers over an in-memory hub on a simulated machine: each story writes objects, lets the
//! machine come to rest, and looks at what is there.

use std::sync::Arc;
use std::time::Duration;

use hanse_auth::authority::Authority;
use hanse_auth::token::Signer;
use hanse_cache::{
    ClusterName, Document, Expect, Hub, Object, ObjectKey, ResourceId, SchemaHash, Txn, Write,
};
use hanse_json::{Value, get_array, get_str, json};
use hanse_seams::{Seams, Shutdown, Simulation};
use hanse_store::MemoryStore;

use crate::{Config, Kinds, Owner, start};

struct Table;

impl Kinds for Table {
    fn find(&self, _: &ClusterName, api_version: &str, kind: &str) -> Option<Owner> {
        let (resource, namespaced) = match (api_version, kind) {
            ("v1", "ConfigMap") => (configmaps(), true),
            ("v1", "Namespace") => (ResourceId::new("", "namespaces", ""), false),
            ("x.dev/v1", "Widget") => (widgets(), true),
            _ => return None,
        };
        Some(Owner {
            resource,
            namespaced,
        })
    }
}

fn configmaps() -> ResourceId {
    ResourceId::new("", "configmaps", "")
}

fn widgets() -> ResourceId {
    ResourceId::new("x.dev", "widgets", crate::crds::LOCAL)
}

/// A hub with its controllers running.
#[derive(Clone)]
struct Story {
    hub: Hub,
    seams: Seams,
}

impl Story {
    fn key(resource: &ResourceId, namespace: &str, name: &str) -> ObjectKey {
        ObjectKey::new(resource, &ClusterName::from("c1"), namespace, name)
    }

    async fn put(&self, resource: &ResourceId, namespace: &str, value: Value) -> Object {
        let name = get_str(&value, &["metadata", "name"]).unwrap().to_owned();
        let mut value = value;
        if get_str(&value, &["metadata", "uid"]).is_none() {
            hanse_json::set(
                &mut value,
                &["metadata", "uid"],
                json!(format!("uid-{name}")),
            );
        }
        let ty = get_str(&value, &["type"]).unwrap_or_default().to_owned();
        let fields = [("type", ty)];
        let document = Document::from_value(&value, fields, SchemaHash::default()).unwrap();
        let key = Self::key(resource, namespace, &name);
        let done = self
            .hub
            .commit(Txn::one(key, Expect::Any, Some(document)))
            .await
            .unwrap();
        done.objects[0].clone().unwrap()
    }

    async fn namespace(&self, name: &str) {
        let value = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}
        });
        self.put(&ResourceId::new("", "namespaces", ""), "", value)
            .await;
    }

    /// A ConfigMap in namespace `n` with these owners, as `(name, blocks)`.
    async fn owned(&self, name: &str, owners: &[(&str, bool)], finalizers: &[&str]) -> Object {
        let references: Vec<Value> = owners
            .iter()
            .map(|(owner, blocks)| {
                json!({
                    "apiVersion": "v1", "kind": "ConfigMap", "name": owner,
                    "uid": format!("uid-{owner}"), "blockOwnerDeletion": blocks
                })
            })
            .collect();
        let mut value =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        if !references.is_empty() {
            value["metadata"]["ownerReferences"] = json!(references);
        }
        if !finalizers.is_empty() {
            value["metadata"]["finalizers"] = json!(finalizers);
        }
        self.put(&configmaps(), "n", value).await
    }

    async fn erase(&self, name: &str) {
        let key = Self::key(&configmaps(), "n", name);
        self.hub
            .commit(Txn::one(key, Expect::Present, None))
            .await
            .unwrap();
    }

    /// Marks as deleted, as DELETE does with finalizers.
    async fn mark(&self, resource: &ResourceId, namespace: &str, name: &str, finalizer: &str) {
        let object = self.hub.get(&Self::key(resource, namespace, name)).unwrap();
        let mut value = object.value();
        let when = json!("2026-01-01T00:00:00Z");
        hanse_json::set(&mut value, &["metadata", "deletionTimestamp"], when);
        if !finalizer.is_empty() {
            hanse_json::set(&mut value, &["metadata", "finalizers"], json!([finalizer]));
        }
        let write = crate::plan::restate(&object, &value).unwrap();
        self.hub
            .commit(Txn {
                writes: vec![write],
                checks: vec![],
            })
            .await
            .unwrap();
    }

    async fn rest(&self) {
        self.seams.clock.sleep(Duration::from_secs(3)).await;
    }

    fn has(&self, resource: &ResourceId, namespace: &str, name: &str) -> bool {
        self.hub
            .get(&Self::key(resource, namespace, name))
            .is_some()
    }

    /// The owner references of a ConfigMap.
    fn map_references(&self, name: &str) -> Value {
        self.map(name).unwrap()["metadata"]["ownerReferences"].clone()
    }

    fn map(&self, name: &str) -> Option<Value> {
        self.hub
            .get(&Self::key(&configmaps(), "n", name))
            .map(|object| object.value())
    }
}

fn config() -> Config {
    let key = rcgen::KeyPair::generate().unwrap();
    let signer = Signer::from_pem(key.serialize_pem().as_bytes(), "https://test").unwrap();
    Config {
        root_ca: "CA".into(),
        client_ca: Some(Arc::new(authority())),
        signer: Arc::new(signer),
        kinds: Arc::new(Table),
    }
}

/// Runs a story with its controllers and fails when it does not come to its end.
fn play<F: Future<Output = ()> + Send + 'static>(story: impl FnOnce(Story) -> F + Send + 'static) {
    let machine = Simulation::new(7);
    let seams = machine.seams();
    let told = async move {
        let store = Arc::new(MemoryStore::with_defaults(seams.clock.clone()));
        let hub = Hub::open(store, hanse_cache::Config::default())
            .await
            .unwrap();
        let stop = Shutdown::new();
        start(&hub, &seams, config(), &stop);
        story(Story { hub, seams }).await;
        stop.trigger();
    };
    assert!(machine.run(told).is_some(), "the story did not end");
}

#[test]
fn a_namespace_is_born_with_its_objects_and_keeps_them() {
    play(|s| async move {
        s.namespace("n").await;
        s.rest().await;
        assert!(s.has(&ResourceId::new("", "serviceaccounts", ""), "n", "default"));
        let ca = s.map("kube-root-ca.crt").unwrap();
        assert_eq!(ca["data"], json!({"ca.crt": "CA"}));
        let mut forged = ca.clone();
        forged["data"] = json!({"ca.crt": "other"});
        s.put(&configmaps(), "n", forged).await;
        s.rest().await;
        assert_eq!(
            s.map("kube-root-ca.crt").unwrap()["data"],
            json!({"ca.crt": "CA"})
        );
        s.erase("kube-root-ca.crt").await;
        s.rest().await;
        assert!(s.map("kube-root-ca.crt").is_some());
    });
}

#[test]
fn a_namespace_ends_when_all_in_it_is_gone() {
    play(|s| async move {
        let namespaces = ResourceId::new("", "namespaces", "");
        s.namespace("n").await;
        s.owned("free", &[], &[]).await;
        s.owned("held", &[], &["x.dev/hold"]).await;
        s.rest().await;
        s.mark(&namespaces, "", "n", "").await;
        s.rest().await;
        assert!(s.map("free").is_none());
        assert!(s.map("held").unwrap()["metadata"]["deletionTimestamp"].is_string());
        let namespace = s
            .hub
            .get(&Story::key(&namespaces, "", "n"))
            .unwrap()
            .value();
        let conditions = get_array(&namespace, &["status", "conditions"]);
        let waits = conditions
            .iter()
            .find(|c| c["type"] == "NamespaceFinalizersRemaining")
            .unwrap();
        assert_eq!(
            waits["message"],
            "Some content in the namespace has finalizers remaining: x.dev/hold in 1 resource \
             instances"
        );
        s.erase("held").await;
        s.rest().await;
        assert!(!s.has(&namespaces, "", "n"));
    });
}

#[test]
fn dependents_follow_their_owners() {
    play(|s| async move {
        s.namespace("n").await;
        s.owned("a", &[], &[]).await;
        s.owned("b", &[], &[]).await;
        s.owned("one", &[("a", false)], &[]).await;
        s.owned("two", &[("a", false), ("b", false)], &[]).await;
        s.owned("below", &[("one", false)], &[]).await;
        s.owned("never", &[("nobody", false)], &[]).await;
        s.rest().await;
        assert!(s.map("never").is_none(), "an owner that never was");
        s.erase("a").await;
        s.rest().await;
        assert!(s.map("one").is_none() && s.map("below").is_none());
        let two = s.map("two").unwrap();
        let names = get_array(&two, &["metadata", "ownerReferences"]);
        assert_eq!(
            names.len(),
            1,
            "the reference to the gone owner went, the object stayed"
        );
    });
}

#[test]
fn an_owner_of_another_uid_is_no_owner() {
    play(|s| async move {
        s.namespace("n").await;
        s.owned("a", &[], &[]).await;
        let mut value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}});
        value["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "other"}]);
        s.put(&configmaps(), "n", value).await;
        s.rest().await;
        assert!(s.map("x").is_none());
    });
}

#[test]
fn an_unknown_kind_is_never_taken_for_absent() {
    play(|s| async move {
        s.namespace("n").await;
        let mut value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}});
        value["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "y.dev/v1", "kind": "Y", "name": "a", "uid": "u"}]);
        s.put(&configmaps(), "n", value).await;
        s.seams.clock.sleep(Duration::from_secs(120)).await;
        assert!(s.map("x").is_some());
    });
}

#[test]
fn foreground_deletion_waits_for_those_that_block() {
    play(|s| async move {
        s.namespace("n").await;
        s.owned("a", &[], &[]).await;
        s.owned("held", &[("a", true)], &["x.dev/hold"]).await;
        s.owned("free", &[("a", true)], &[]).await;
        s.mark(&configmaps(), "n", "a", "foregroundDeletion").await;
        s.rest().await;
        assert!(s.map("free").is_none());
        assert!(
            s.map("a").is_some(),
            "a dependent that blocks is still there"
        );
        s.erase("held").await;
        s.rest().await;
        assert!(s.map("a").is_none());
    });
}

#[test]
fn orphans_stay() {
    play(|s| async move {
        s.namespace("n").await;
        s.owned("a", &[], &[]).await;
        s.owned("child", &[("a", true)], &[]).await;
        s.mark(&configmaps(), "n", "a", "orphan").await;
        s.rest().await;
        assert!(s.map("a").is_none());
        assert!(
            s.map("child").unwrap()["metadata"]
                .get("ownerReferences")
                .is_none()
        );
    });
}

#[test]
fn owners_in_a_circle_do_not_hold_each_other() {
    play(|s| async move {
        s.namespace("n").await;
        for (name, owner) in [("a", "c"), ("b", "a"), ("c", "b"), ("self", "self")] {
            s.owned(name, &[(owner, true)], &["x.dev/wait"]).await;
        }
        s.rest().await;
        for name in ["a", "b", "c", "self"] {
            s.owned(name, &[(before(name), true)], &[]).await;
        }
        s.mark(&configmaps(), "n", "a", "foregroundDeletion").await;
        s.mark(&configmaps(), "n", "self", "foregroundDeletion")
            .await;
        s.rest().await;
        for name in ["a", "b", "c", "self"] {
            assert!(s.map(name).is_none(), "{name}: {:?}", s.map(name));
        }
    });
}

/// Who owns whom in the circle.
fn before(name: &str) -> &str {
    match name {
        "a" => "c",
        "b" => "a",
        "c" => "b",
        own => own,
    }
}

#[test]
fn a_solid_owner_outweighs_a_waiting_one() {
    play(|s| async move {
        s.namespace("n").await;
        s.owned("a", &[], &[]).await;
        s.owned("b", &[], &[]).await;
        s.owned("both", &[("a", true), ("b", true)], &[]).await;
        s.mark(&configmaps(), "n", "a", "foregroundDeletion").await;
        s.rest().await;
        assert!(s.map("a").is_none());
        let both = s.map("both").unwrap();
        let left = get_array(&both, &["metadata", "ownerReferences"]);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0]["name"], "b");
    });
}

#[test]
fn an_owner_in_another_namespace_is_none_and_that_is_told() {
    play(|s| async move {
        s.namespace("n").await;
        s.namespace("m").await;
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "o"}});
        s.put(&configmaps(), "m", owner).await;
        s.owned("x", &[("o", false)], &[]).await;
        let mut event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}});
        event["metadata"]["ownerReferences"] = s.map_references("x");
        s.put(&ResourceId::new("", "events", ""), "n", event).await;
        s.rest().await;
        assert!(s.map("x").is_none());
        let events = ResourceId::new("", "events", "");
        assert!(s.has(&events, "n", "e"), "events are not collected");
        let all = crate::feed::list(&s.hub, &events, &hanse_cache::Scope::Wildcard);
        let told: Vec<Value> = all.iter().map(Object::value).collect();
        let warning = told.iter().find(|e| e["type"] == "Warning").unwrap();
        assert_eq!(warning["reason"], "OwnerRefInvalidNamespace");
        assert_eq!(
            warning["message"],
            "ownerRef [v1/ConfigMap, namespace: n, name: o, uid: uid-o] does not exist in \
             namespace \"n\""
        );
    });
}

/// Dependents of the owner whose end must not take others along.
const CROWD: usize = 6_000;

#[test]
fn a_crowd_of_dependents_goes_and_others_hardly_wait() {
    for policy in ["", "foregroundDeletion", "orphan"] {
        play(move |s| async move {
            s.namespace("n").await;
            s.owned("a", &[], &[]).await;
            let reference = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "a",
                "uid": "uid-a", "blockOwnerDeletion": true}]);
            let body = |name: &str| {
                let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata":
                    {"name": name, "uid": format!("uid-{name}"), "ownerReferences": reference}});
                Document::from_value(&value, [("", ""); 0], SchemaHash::default()).unwrap()
            };
            let names: Vec<String> = (0..CROWD).map(|n| format!("d{n}")).collect();
            for batch in names.chunks(s.hub.limits().max_keys) {
                let writes = batch.iter().map(|name| Write {
                    key: Story::key(&configmaps(), "n", name),
                    expect: Expect::Any,
                    put: Some(body(name)),
                });
                let txn = Txn {
                    writes: writes.collect(),
                    checks: vec![],
                };
                s.hub.commit(txn).await.unwrap();
            }
            s.rest().await;
            let before = s.hub.version();
            match policy {
                "" => s.erase("a").await,
                policy => s.mark(&configmaps(), "n", "a", policy).await,
            }
            // Another tenant's namespace gets its objects meanwhile.
            let other = ClusterName::from("c2");
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": "n", "uid": "u"}, "spec": {"finalizers": ["kubernetes"]}});
            let put = Document::from_value(&namespace, [("", ""); 0], SchemaHash::default());
            let key = ObjectKey::new(&ResourceId::new("", "namespaces", ""), &other, "", "n");
            s.hub
                .commit(Txn::one(key, Expect::Any, Some(put.unwrap())))
                .await
                .unwrap();
            s.rest().await;
            let account = ResourceId::new("", "serviceaccounts", "");
            let born = s
                .hub
                .get(&ObjectKey::new(&account, &other, "n", "default"))
                .unwrap();
            // A version is 256 a commit: the account stood before most of the crowd had gone.
            let commits = (born.resource_version() - before) / 256;
            assert!(commits < 30, "{policy}: {commits} commits came first");
            s.seams.clock.sleep(Duration::from_secs(30)).await;
            let scope = hanse_cache::Scope::Cluster("c1".into());
            let left = s.hub.count(&configmaps(), &scope);
            assert_eq!(
                left,
                if policy == "orphan" { CROWD + 1 } else { 1 },
                "{policy}"
            );
            assert!(s.hub.owned(&"c1".into(), "uid-a", 0, 1).is_empty());
            let commits = (s.hub.version() - before) / 256;
            assert!(
                commits < 200,
                "{policy}: {commits} commits for {CROWD} objects"
            );
        });
    }
}

fn crd() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "widgets.x.dev", "finalizers": ["customresourcecleanup.apiextensions.k8s.io"]
        },
        "spec": {
            "group": "x.dev", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}]
        }
    })
}

#[test]
fn a_crd_is_established_and_takes_its_objects_along() {
    play(|s| async move {
        let crds = ResourceId::new("apiextensions.k8s.io", "customresourcedefinitions", "");
        s.namespace("n").await;
        s.put(&crds, "", crd()).await;
        s.rest().await;
        let seen = s
            .hub
            .get(&Story::key(&crds, "", "widgets.x.dev"))
            .unwrap()
            .value();
        assert!(
            hanse_schema::crd::status::is_true(&seen, "Established"),
            "{seen}"
        );
        let widget = json!({"apiVersion": "x.dev/v1", "kind": "Widget", "metadata": {
            "name": "w", "finalizers": ["x.dev/hold"]
        }});
        s.put(&widgets(), "n", widget).await;
        let finalizer = "customresourcecleanup.apiextensions.k8s.io";
        s.mark(&crds, "", "widgets.x.dev", finalizer).await;
        s.rest().await;
        let seen = s
            .hub
            .get(&Story::key(&crds, "", "widgets.x.dev"))
            .unwrap()
            .value();
        assert!(hanse_schema::crd::status::is_true(&seen, "Terminating"));
        let key = Story::key(&widgets(), "n", "w");
        s.hub
            .commit(Txn::one(key, Expect::Present, None))
            .await
            .unwrap();
        s.rest().await;
        assert!(!s.has(&crds, "", "widgets.x.dev"));
    });
}

#[test]
fn a_token_secret_is_filled_and_goes_with_its_account() {
    play(|s| async move {
        let (secrets, accounts) = (
            crate::tokens::secrets(),
            ResourceId::new("", "serviceaccounts", ""),
        );
        s.namespace("n").await;
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa"}});
        s.put(&accounts, "n", account).await;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": {
                "name": "t", "annotations": {"kubernetes.io/service-account.name": "sa"}
            }
        });
        s.put(&secrets, "n", secret).await;
        s.rest().await;
        let seen = s.hub.get(&Story::key(&secrets, "n", "t")).unwrap().value();
        assert!(get_str(&seen, &["data", "token"]).is_some_and(|t| t.len() > 100));
        let key = Story::key(&accounts, "n", "sa");
        s.hub
            .commit(Txn::one(key, Expect::Present, None))
            .await
            .unwrap();
        s.rest().await;
        assert!(!s.has(&secrets, "n", "t"));
    });
}

#[test]
fn events_expire() {
    play(|s| async move {
        let events = ResourceId::new("", "events", "");
        s.namespace("n").await;
        let event = json!({
            "apiVersion": "v1", "kind": "Event", "lastTimestamp": "1970-01-01T00:00:00Z",
            "metadata": {"name": "old"}
        });
        s.put(&events, "n", event).await;
        s.seams.clock.sleep(Duration::from_secs(120)).await;
        assert!(!s.has(&events, "n", "old"));
    });
}

fn authority() -> Authority {
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap();
    Authority::from_pem(&ca.pem(), &key.serialize_pem()).unwrap()
}

fn certificate_request(organisation: &str) -> String {
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    let names = [
        (rcgen::DnType::CommonName, "user"),
        (rcgen::DnType::OrganizationName, organisation),
    ];
    for (ty, text) in names {
        params.distinguished_name.push(ty, text);
    }
    let key = rcgen::KeyPair::generate().unwrap();
    params.serialize_request(&key).unwrap().pem().unwrap()
}

#[test]
fn client_certificates_are_signed_once_approved() {
    let requests = ResourceId::new("certificates.k8s.io", "certificatesigningrequests", "");
    play(move |s| async move {
        let put = async |name: &str, organisation: &str, approved: bool| {
            let request = certificate_request(organisation);
            let mut value = json!({
                "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
                "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"signerName": "kubernetes.io/kube-apiserver-client",
                    "request": hanse_wire::base64::encode(request.as_bytes())},
            });
            if approved {
                value["status"] = json!({"conditions": [{"type": "Approved", "status": "True"}]});
            }
            s.put(&requests, "", value).await;
        };
        put("waits", "team", false).await;
        put("good", "team", true).await;
        put("master", "system:masters", true).await;
        s.rest().await;
        let of = |name: &str| s.hub.get(&Story::key(&requests, "", name)).unwrap().value();
        assert!(of("waits").get("status").is_none());
        let issued = of("good")["status"]["certificate"]
            .as_str()
            .unwrap()
            .to_owned();
        let pem = hanse_wire::base64::decode(&issued).unwrap();
        assert!(
            String::from_utf8(pem)
                .unwrap()
                .contains("BEGIN CERTIFICATE")
        );
        let refused = of("master");
        assert!(refused["status"].get("certificate").is_none());
        let conditions = get_array(&refused, &["status", "conditions"]);
        let failed = conditions.iter().find(|c| c["type"] == "Failed").unwrap();
        let why = failed["message"].as_str().unwrap();
        assert!(why.contains("system:masters group is not allowed"), "{why}");
    });
}
