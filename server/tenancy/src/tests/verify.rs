//! Every rule between objects is broken once, behind the back of all who keep it, and named.

use super::controllers::{bind, of, provide, rest, start, workspace};
use super::{World, play};
use crate::verify::verify;
use hanse_cache::{
    ClusterName, Document, Expect, Hub, ObjectKey, ResourceId, SchemaHash, Txn, Write,
};
use serde_json::{Value, json};

const PATH: &str = "kcp.io/path";
const LOCKS: &str = "internal.apis.kcp.io/resource-bindings";

/// A shard with a bit of everything, and how to break it.
struct Shard {
    world: World,
    provider: String,
    consumer: String,
}

fn widgets(identity: &str) -> ResourceId {
    ResourceId::new("golden.example.com", "widgets", identity)
}

impl Shard {
    async fn new(world: World) -> Self {
        start(&world);
        let provider = provide(&world, "p", json!([])).await;
        let consumer = workspace(&world, "root", "c").await;
        let bound = bind(&world, &consumer, "widgets", "root:p", json!([])).await;
        let identity = &bound["status"]["boundResources"][0]["schema"]["identityHash"];
        let shard = Self {
            world,
            provider,
            consumer,
        };
        shard
            .plant(
                &widgets(identity.as_str().unwrap()),
                "default",
                "w",
                json!({}),
            )
            .await;
        let owner = shard
            .plant(&configmaps(), "default", "owner", json!({}))
            .await;
        let owned = json!({"ownerReferences": [{"name": "owner", "kind": "ConfigMap",
            "apiVersion": "v1", "uid": owner}]});
        shard.plant(&configmaps(), "default", "owned", owned).await;
        rest(&shard.world).await;
        assert_eq!(verify(shard.hub()), [] as [&str; 0]);
        shard
    }

    fn hub(&self) -> &Hub {
        self.world.tenancy.view().hub()
    }

    /// Puts an object into the consumer's workspace, past everybody; answers its uid.
    async fn plant(&self, of: &ResourceId, namespace: &str, name: &str, more: Value) -> String {
        self.plant_in(&self.consumer, of, namespace, name, more)
            .await
    }

    async fn plant_in(
        &self,
        cluster: &str,
        of: &ResourceId,
        namespace: &str,
        name: &str,
        more: Value,
    ) -> String {
        let uid = format!("uid-of-{name}");
        let mut value =
            json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": name, "uid": uid}});
        if !namespace.is_empty() {
            value["metadata"]["namespace"] = namespace.into();
        }
        let metadata = value["metadata"].as_object_mut().unwrap();
        metadata.extend(more.as_object().unwrap().clone());
        let cluster = ClusterName::from(cluster);
        let key = ObjectKey::new(of, &cluster, namespace, name);
        self.put(key, &value).await;
        uid
    }

    async fn put(&self, key: ObjectKey, value: &Value) {
        let none: [(&str, &str); 0] = [];
        let document = Document::from_value(value, none, SchemaHash([0; 16])).unwrap();
        let write = Write {
            key,
            expect: Expect::Any,
            put: Some(document),
        };
        let txn = Txn {
            writes: vec![write],
            ..Txn::default()
        };
        self.hub().commit(txn).await.unwrap();
    }

    /// Changes what lies there, past everybody.
    async fn change(
        &self,
        of: &ResourceId,
        cluster: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) {
        let object = self
            .world
            .tenancy
            .view()
            .get(of, cluster, "", name)
            .unwrap();
        let mut value = object.value();
        change(&mut value);
        self.put(object.key().clone(), &value).await;
    }

    async fn lose(&self, of: &ResourceId, cluster: &str, name: &str) {
        let key = ObjectKey::new(of, &ClusterName::from(cluster), "", name);
        let txn = Txn::one(key, Expect::Present, None);
        self.hub().commit(txn).await.unwrap();
    }
}

fn configmaps() -> ResourceId {
    ResourceId::new("", "configmaps", "")
}

/// The kinds of damage, by number; `None` when there are no more.
async fn damage(shard: &Shard, number: usize) -> Option<&'static str> {
    let of = of(&shard.world);
    let workspaces = shard
        .world
        .tenancy
        .view()
        .tenancy()
        .unwrap()
        .workspaces
        .clone();
    let (consumer, provider) = (shard.consumer.as_str(), shard.provider.as_str());
    let clusters = &of.logical_clusters;
    Some(match number {
        0 => {
            shard.lose(clusters, consumer, "cluster").await;
            "is missing"
        }
        1 => {
            let wrong = |o: &mut Value| o["metadata"]["annotations"][PATH] = "root:x".into();
            shard.change(clusters, consumer, "cluster", wrong).await;
            "says that it is root:x"
        }
        2 => {
            shard.lose(&workspaces, "root", "c").await;
            "no workspace names it"
        }
        3 => {
            let wrong = |o: &mut Value| o["spec"]["owner"]["uid"] = "another".into();
            shard.change(clusters, consumer, "cluster", wrong).await;
            "its owner is not"
        }
        4 => {
            let taken = consumer.to_owned();
            let wrong = move |o: &mut Value| o["spec"]["cluster"] = taken.into();
            shard.change(&workspaces, "root", "p", wrong).await;
            "has the same logical cluster"
        }
        5 => {
            let wrong = |o: &mut Value| o["status"]["identityHash"] = "another".into();
            shard
                .change(&of.api_exports, provider, "widgets", wrong)
                .await;
            "its identity is not that of"
        }
        6 => {
            let wrong = |o: &mut Value| o["status"]["identityHash"] = "another".into();
            shard
                .change(&of.api_exports, provider, "widgets", wrong)
                .await;
            "has another identity than its export"
        }
        7 => {
            let view = shard.world.tenancy.view();
            let binding = view.get(&of.api_bindings, consumer, "", "widgets").unwrap();
            let uid = crate::catalog::bound_resources(&binding)[0].uid.clone();
            shard.lose(&of.crds, "system:bound-crds", &uid).await;
            "of its widgets.golden.example.com is missing"
        }
        8 => {
            let wrong = |o: &mut Value| o["metadata"]["annotations"][LOCKS] = "{}".into();
            shard.change(clusters, consumer, "cluster", wrong).await;
            "is nobody's by the table of locks"
        }
        9 => {
            shard.lose(&of.api_bindings, consumer, "widgets").await;
            "is locked by widgets, which is missing"
        }
        10 => {
            shard
                .plant(&widgets("another"), "default", "stray", json!({}))
                .await;
            "nobody binds it in its logical cluster"
        }
        11 => {
            let own = ResourceId::new("example.org", "ships", "customresources");
            shard.plant(&own, "default", "kogge", json!({})).await;
            "no CRD of its logical cluster defines it"
        }
        12 => {
            shard
                .plant_in("nowhere", &configmaps(), "default", "x", json!({}))
                .await;
            "there is no such logical cluster"
        }
        13 => {
            shard.plant(&configmaps(), "nowhere", "x", json!({})).await;
            "there is no such namespace"
        }
        14 => {
            let wrong = json!({"ownerReferences": [{"name": "other", "uid": "uid-of-owner"}]});
            shard.plant(&configmaps(), "default", "owned", wrong).await;
            "its owner other is"
        }
        15 => {
            let far = json!({"ownerReferences": [{"name": "owner", "uid": "uid-of-owner"}]});
            shard.plant(&configmaps(), "kube-system", "far", far).await;
            "is in another namespace"
        }
        _ => return None,
    })
}

#[test]
fn every_broken_rule_is_named() {
    let tried = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    for number in 0.. {
        let told = std::sync::Arc::clone(&tried);
        play(move |world| async move {
            let shard = Shard::new(world).await;
            if let Some(words) = damage(&shard, number).await {
                let findings = verify(shard.hub());
                let found = findings.iter().any(|finding| finding.contains(words));
                assert!(found, "{number}: {words:?} is not among {findings:#?}");
                told.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        });
        if tried.load(std::sync::atomic::Ordering::SeqCst) == number {
            break;
        }
    }
    assert_eq!(tried.load(std::sync::atomic::Ordering::SeqCst), 16);
}
