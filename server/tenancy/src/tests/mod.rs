//! Tenancy over an in-memory hub, compared with recorded answers of kcp.

use crate::{Forms, Maker, ShardConfig, Tenancy};
use hanse_admission::{Admission, Operation, Request};
use hanse_auth::{Authorizer, UserInfo, View};
use hanse_cache::{ClusterName, Config, Expect, Hub, ObjectKey, ResourceId, Write};
use hanse_seams::{BoxFuture, Simulation};
use hanse_store::{Limits, MemoryStore, Retention};
use serde_json::{Value, json};
use std::sync::Arc;

mod admission;
mod authorization;
mod birth;
mod bootstrap;
mod catalog;
mod controllers;
mod ends;
mod verify;
mod views;

/// A bootstrapped shard.
pub(crate) struct World {
    pub tenancy: Arc<Tenancy>,
}

pub(crate) fn shard() -> ShardConfig {
    let url = "https://127.0.0.1:6443".to_owned();
    ShardConfig {
        name: "root".into(),
        base_url: url.clone(),
        external_url: url.clone(),
        virtual_workspace_url: url,
        ca_pem: "<removed>".into(),
        batteries: vec!["workspace-types".into()],
        home_creator_groups: vec!["system:authenticated".into()],
    }
}

pub(crate) fn admin() -> UserInfo {
    let mut admin = UserInfo::new("kcp-admin", &["system:kcp:admin", "system:authenticated"]);
    admin.uid = "48fef14e-de8f-48f8-bbef-d41a65593ca6".into();
    admin
}

/// Runs a story on a simulated machine over a bootstrapped shard.
pub(crate) fn play<F: Future<Output = ()> + Send + 'static>(
    story: impl FnOnce(World) -> F + Send + 'static,
) {
    play_bare(|world| async move {
        world.tenancy.bootstrap().await.unwrap();
        story(world).await;
    });
}

/// Runs a story over an empty store.
pub(crate) fn play_bare<F: Future<Output = ()> + Send + 'static>(
    story: impl FnOnce(World) -> F + Send + 'static,
) {
    play_with(shard(), story);
}

/// The same over an engine that commits one key at once: every sequence must do without a
/// transaction.
pub(crate) fn play_on_single_keys<F: Future<Output = ()> + Send + 'static>(
    story: impl FnOnce(World) -> F + Send + 'static,
) {
    let limits = Limits {
        max_keys: 1,
        ..Limits::default()
    };
    play_over(shard(), limits, story);
}

/// The same on a shard of its own.
pub(crate) fn play_with<F: Future<Output = ()> + Send + 'static>(
    shard: ShardConfig,
    story: impl FnOnce(World) -> F + Send + 'static,
) {
    play_over(shard, Limits::default(), story);
}

fn play_over<F: Future<Output = ()> + Send + 'static>(
    shard: ShardConfig,
    limits: Limits,
    story: impl FnOnce(World) -> F + Send + 'static,
) {
    let machine = Simulation::new(7);
    let seams = machine.seams();
    let told: BoxFuture<()> = Box::pin(async move {
        let store = Arc::new(MemoryStore::new(
            seams.clock.clone(),
            limits,
            Retention::default(),
        ));
        let hub = Hub::open(store, Config::default()).await.unwrap();
        let authorizer = Arc::new(Authorizer::new(Arc::new(View::new(hub))));
        let admission = Arc::new(Admission::new(authorizer));
        let maker = Maker::new(seams, Arc::new(Forms::default()));
        let tenancy = Arc::new(Tenancy::new(admission, shard, maker));
        story(World { tenancy }).await;
    });
    assert_eq!(
        machine.run(told),
        Some(()),
        "the story waits for what never comes"
    );
}

impl World {
    /// Creates an object as the create path does: admission, then one commit.
    pub(crate) async fn create(
        &self,
        user: &UserInfo,
        cluster: &str,
        resource: &ResourceId,
        mut object: Value,
    ) -> Result<Value, String> {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let namespace = object["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let kind = object["kind"].as_str().unwrap().to_owned();
        let identity = match resource.identity() {
            "customresources" => "",
            other => other,
        };
        let mut request = Request {
            operation: Operation::Create,
            cluster,
            group: resource.group(),
            version: "v1alpha1",
            resource: resource.resource(),
            subresource: "",
            kind: &kind,
            identity,
            namespace: &namespace,
            name: &name,
            user,
            dry_run: false,
            object: Some(&mut object),
            old: None,
        };
        let admission = self.tenancy.admission();
        admission
            .admit_mutating(&mut request)
            .map_err(|s| s.message)?;
        admission
            .admit_validating(&mut request)
            .map_err(|s| s.message)?;
        let maker = self.tenancy.maker();
        maker.stamp(&mut object, &maker.now());
        let cluster = ClusterName::from(cluster);
        let mut writes = Vec::new();
        if resource.resource() == "workspaces" {
            writes = self.tenancy.on_create_workspace(&cluster, &mut object);
        }
        let put = maker.forms().document(resource, &object).unwrap();
        let key = ObjectKey::new(resource, &cluster, namespace.as_str(), name.as_str());
        // What an object brings along stands before it, as in the create path.
        writes.push(Write {
            key,
            expect: Expect::Absent,
            put: Some(put),
        });
        let committed = self.tenancy.commit(writes).await;
        let committed = committed.map_err(|e| e.to_string())?;
        let stored = committed.and_then(|mut c| c.objects.pop().flatten());
        if let Some(stored) = stored
            && let Some(born) = self.tenancy.born(&stored).await
        {
            return Ok(born.value());
        }
        Ok(object)
    }

    /// Creates a workspace of a type (or the default one).
    pub(crate) async fn workspace(
        &self,
        user: &UserInfo,
        parent: &str,
        name: &str,
        of: Option<&str>,
    ) -> Result<Value, String> {
        let mut object = json!({
            "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "Workspace",
            "metadata": {"name": name}, "spec": {}, "status": {},
        });
        if let Some(of) = of {
            object["spec"]["type"] = json!({"name": of, "path": "root"});
        }
        let resource = self.tenancy.view().tenancy().unwrap().workspaces.clone();
        self.create(user, parent, &resource, object).await
    }

    /// All objects of a resource in a logical cluster, by name.
    pub(crate) fn list(&self, resource: &ResourceId, cluster: &str) -> Vec<Value> {
        let view = self.tenancy.view();
        view.list_cluster(resource, cluster)
            .iter()
            .map(|o| o.value())
            .collect()
    }
}

/// Bodies of recorded lists, by the end of their path.
pub(crate) fn golden(file: &str, path_end: &str) -> Vec<Value> {
    let at = format!("{}/../../e2e/golden/kcp/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&at).unwrap_or_else(|e| panic!("{at}: {e}"));
    let all: Value = serde_json::from_str(&text).unwrap();
    let entry = all
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["request"]["path"].as_str().unwrap().ends_with(path_end));
    entry.unwrap()["body"]["items"].as_array().unwrap().clone()
}

/// Leaves out what no two runs share: uids, times, versions, managedFields.
pub(crate) fn comparable(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let aside = [
                "uid",
                "UID",
                "creationTimestamp",
                "lastTransitionTime",
                "resourceVersion",
                "managedFields",
                "identityHash",
                "kind",
                "apiVersion",
            ];
            map.iter()
                .filter(|(k, _)| !aside.contains(&k.as_str()))
                .map(|(k, v)| (k.clone(), comparable(v)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
        Value::Array(list) => list.iter().map(comparable).collect(),
        other => other.clone(),
    }
}

/// Compares two lists of objects by name, `rename` applied to the text of both.
pub(crate) fn same(ours: &[Value], golden: &[Value], rename: &dyn Fn(&str) -> String) {
    let show = |list: &[Value]| -> Vec<String> {
        let mut shown: Vec<String> = list
            .iter()
            .map(|v| rename(&serde_json::to_string_pretty(&comparable(v)).unwrap()))
            .collect();
        shown.sort();
        shown
    };
    let (ours, golden) = (show(ours), show(golden));
    for (ours, golden) in ours.iter().zip(&golden) {
        assert_eq!(ours, golden);
    }
    assert_eq!(ours.len(), golden.len());
}
