//! The reconcilers at work, every story until nothing is left to do.

use super::{World, admin, comparable, golden, play, same};
use crate::catalog::bound_resources;
use crate::controllers::Controllers;
use hanse_cache::{Expect, ObjectKey, ResourceId, Txn, Write};
use hanse_rules::hash;
use hanse_seams::Shutdown;
use serde_json::{Value, json};
use std::time::Duration;

/// Starts the reconcilers.
pub(super) fn start(world: &World) {
    Controllers::new(world.tenancy.clone()).start(&Shutdown::new());
}

/// Waits until a while has brought no write.
pub(super) async fn rest(world: &World) {
    let seams = world.tenancy.maker().seams().clone();
    loop {
        let before = world.tenancy.view().hub().version();
        seams.clock.sleep(Duration::from_secs(40)).await;
        if world.tenancy.view().hub().version() == before {
            return;
        }
    }
}

pub(super) fn of(world: &World) -> hanse_auth::Resources {
    world.tenancy.view().resources().clone()
}

pub(super) async fn workspace(world: &World, parent: &str, name: &str) -> String {
    let made = world.workspace(&admin(), parent, name, None).await.unwrap();
    made["spec"]["cluster"].as_str().unwrap().to_owned()
}

fn schema(group: &str, plural: &str, kind: &str) -> Value {
    json!({
        "apiVersion": "apis.kcp.io/v1alpha1", "kind": "APIResourceSchema",
        "metadata": {"name": format!("v1.{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind,
                "listKind": format!("{kind}List")},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"type": "object"}}],
        },
    })
}

fn export(name: &str, resources: &[(&str, &str)], claims: Value) -> Value {
    let resources: Vec<Value> = resources
        .iter()
        .map(|(group, plural)| {
            json!({"group": group, "name": plural, "schema": format!("v1.{plural}.{group}"),
                "storage": {"crd": {}}})
        })
        .collect();
    json!({
        "apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIExport",
        "metadata": {"name": name, "generation": 1},
        "spec": {"resources": resources, "permissionClaims": claims},
    })
}

fn binding(name: &str, path: &str, export: &str, claims: Value) -> Value {
    json!({
        "apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIBinding",
        "metadata": {"name": name, "generation": 1},
        "spec": {"reference": {"export": {"name": export, "path": path}},
            "permissionClaims": claims},
    })
}

/// A provider with an export of widgets.
pub(super) async fn provide(world: &World, name: &str, claims: Value) -> String {
    let provider = workspace(world, "root", name).await;
    let of = of(world);
    let body = schema("golden.example.com", "widgets", "Widget");
    world
        .create(&admin(), &provider, &of.api_resource_schemas, body)
        .await
        .unwrap();
    let body = export("widgets", &[("golden.example.com", "widgets")], claims);
    world
        .create(&admin(), &provider, &of.api_exports, body)
        .await
        .unwrap();
    rest(world).await;
    provider
}

pub(super) async fn bind(
    world: &World,
    cluster: &str,
    name: &str,
    path: &str,
    claims: Value,
) -> Value {
    let of = of(world);
    let body = binding(name, path, "widgets", claims);
    world
        .create(&admin(), cluster, &of.api_bindings, body)
        .await
        .unwrap();
    rest(world).await;
    world
        .tenancy
        .view()
        .get(&of.api_bindings, cluster, "", name)
        .unwrap()
        .value()
}

pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let list = object["status"]["conditions"].as_array().unwrap();
    list.iter()
        .find(|c| c["type"] == kind)
        .unwrap_or(&Value::Null)
}

pub(super) async fn mark(world: &World, resource: &ResourceId, cluster: &str, name: &str) {
    let object = world
        .tenancy
        .view()
        .get(resource, cluster, "", name)
        .unwrap();
    let mut value = object.value();
    value["metadata"]["deletionTimestamp"] = world.tenancy.maker().now().into();
    let write = world.tenancy.maker().update(&object, &value).unwrap();
    world.tenancy.commit(vec![write]).await.unwrap();
}

fn without_applied(mut list: Vec<Value>) -> Vec<Value> {
    for object in &mut list {
        if let Some(notes) = object["metadata"]["annotations"].as_object_mut() {
            notes.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    list
}

#[test]
fn a_shard_at_rest_writes_nothing() {
    play(|world| async move {
        start(&world);
        rest(&world).await;
        workspace(&world, "root", "a").await;
        rest(&world).await;
        let before = world.tenancy.view().hub().version();
        let of = of(&world);
        for (resource, path) in [
            (&of.cluster_roles, "/clusterroles"),
            (&of.cluster_role_bindings, "/clusterrolebindings"),
        ] {
            let ours = world.list(resource, "system:admin");
            same(
                &ours,
                &golden("system-admin-rbac.json", path),
                &str::to_owned,
            );
            same(
                &world.list(resource, "root"),
                &golden("root.json", path),
                &str::to_owned,
            );
        }
        rest(&world).await;
        assert_eq!(world.tenancy.view().hub().version(), before);
    });
}

#[test]
fn export_and_binding_are_as_recorded() {
    play(|world| async move {
        start(&world);
        let claim = json!({"group": "", "identityHash": "", "resource": "configmaps",
            "verbs": ["get", "list"]});
        let provider = provide(&world, "provider", json!([claim])).await;
        let of = of(&world);
        let consumer = workspace(&world, "root", "consumer2").await;
        let mut accepted = claim.clone();
        accepted["selector"] = json!({"matchAll": true});
        accepted["state"] = "Accepted".into();
        bind(
            &world,
            &consumer,
            "widgets",
            "root:provider",
            json!([accepted]),
        )
        .await;
        let ours = [provider.clone(), consumer.clone()];
        let rename = move |text: &str| {
            let golden = ["1o37n5p0chvpnjoy".to_owned(), "comvstj97u2e6i24".to_owned()];
            let mut text = text.to_owned();
            for ids in [&ours, &golden] {
                text = text.replace(&hash::export_hash(&ids[0], "widgets"), "EXPORT");
                for (id, word) in ids.iter().zip(["PROVIDER", "CONSUMER"]) {
                    for export in ["tenancy.kcp.io", "topology.kcp.io"] {
                        let name = hash::default_binding_name(id, "root", export);
                        text = text.replace(&name, &format!("{export}-default"));
                    }
                    text = text.replace(id.as_str(), word);
                }
            }
            // A client chose these numbers.
            text.replace("\"generation\": 3", "\"generation\": 1")
        };
        for (resource, path) in [
            (&of.api_exports, "/apiexports"),
            (&of.endpoint_slices, "/apiexportendpointslices"),
        ] {
            let golden = without_applied(golden("provider.json", path));
            same(&world.list(resource, &provider), &golden, &rename);
        }
        let golden_bindings = golden("workspace-with-a-binding.json", "/apibindings");
        let ours = world.list(&of.api_bindings, &consumer);
        same(&ours, &without_applied(golden_bindings), &rename);
        let golden_cluster = golden("workspace-with-a-binding.json", "/logicalclusters");
        same(
            &world.list(&of.logical_clusters, &consumer),
            &golden_cluster,
            &rename,
        );
        // Claimed objects carry the mark.
        let golden_maps = golden("workspace-with-a-binding.json", "/configmaps");
        let theirs: Vec<Value> = golden_maps
            .into_iter()
            .filter(|m| m["metadata"]["name"] != "claimed")
            .collect();
        same(&world.list(&of.config_maps, &consumer), &theirs, &rename);
    });
}

#[test]
fn the_second_binding_waits_and_takes_over() {
    play(|world| async move {
        start(&world);
        provide(&world, "one", json!([])).await;
        provide(&world, "two", json!([])).await;
        let consumer = workspace(&world, "root", "consumer").await;
        let first = bind(&world, &consumer, "first", "root:one", json!([])).await;
        assert_eq!(first["status"]["phase"], "Bound");
        let second = bind(&world, &consumer, "second", "root:two", json!([])).await;
        assert_eq!(second["status"]["phase"], "Binding");
        assert_eq!(
            condition(&second, "InitialBindingCompleted")["reason"],
            "NamingConflicts"
        );
        assert_eq!(
            condition(&second, "BindingUpToDate")["message"],
            "Unable to bind APIs because they are bound by other APIBindings or CRDs: \
             widgets.golden.example.com"
        );
        let of = of(&world);
        mark(&world, &of.api_bindings, &consumer, "first").await;
        rest(&world).await;
        let view = world.tenancy.view();
        assert!(view.get(&of.api_bindings, &consumer, "", "first").is_none());
        let second = view
            .get(&of.api_bindings, &consumer, "", "second")
            .unwrap()
            .value();
        assert_eq!(
            second["status"]["phase"],
            "Bound",
            "{}",
            comparable(&second)
        );
    });
}

#[test]
fn a_binding_takes_its_instances_with_it_and_waits_for_finalizers() {
    play(|world| async move {
        start(&world);
        provide(&world, "provider", json!([])).await;
        let consumer = workspace(&world, "root", "consumer").await;
        bind(&world, &consumer, "widgets", "root:provider", json!([])).await;
        let of = of(&world);
        let view = world.tenancy.view();
        let object = view
            .get(&of.api_bindings, &consumer, "", "widgets")
            .unwrap();
        let bound = &bound_resources(&object)[0];
        let widgets = ResourceId::new(&bound.group, &bound.resource, &bound.identity);
        let maker = world.tenancy.maker();
        for (name, finalizers) in [("free", json!([])), ("held", json!(["x.io/hold"]))] {
            let value = json!({"apiVersion": "golden.example.com/v1", "kind": "Widget",
                "metadata": {"name": name, "namespace": "default", "uid": name,
                    "finalizers": finalizers}});
            let key = ObjectKey::new(&widgets, &consumer.as_str().into(), "default", name);
            let put = maker.forms().document(&widgets, &value).unwrap();
            let write = Write {
                key,
                expect: Expect::Absent,
                put: Some(put),
            };
            world
                .tenancy
                .view()
                .hub()
                .commit(Txn {
                    writes: vec![write],
                    ..Txn::default()
                })
                .await
                .unwrap();
        }
        mark(&world, &of.api_bindings, &consumer, "widgets").await;
        rest(&world).await;
        let left = world.list(&widgets, &consumer);
        assert_eq!(left.len(), 1);
        let binding = view
            .get(&of.api_bindings, &consumer, "", "widgets")
            .unwrap()
            .value();
        let told = condition(&binding, "BindingResourceDeleteSuccess");
        assert_eq!(told["reason"], "SomeFinalizersRemain");
        assert_eq!(
            told["message"],
            "Some content in the workspace has finalizers remaining: x.io/hold in 1 resource \
             instances"
        );
        let held = view.get(&widgets, &consumer, "default", "held").unwrap();
        world
            .tenancy
            .commit(vec![crate::Maker::delete(&held)])
            .await
            .unwrap();
        rest(&world).await;
        assert!(
            view.get(&of.api_bindings, &consumer, "", "widgets")
                .is_none()
        );
    });
}

#[test]
fn a_foreign_initializer_holds_the_workspace() {
    play(|world| async move {
        start(&world);
        let types = world
            .tenancy
            .view()
            .tenancy()
            .unwrap()
            .workspace_types
            .clone();
        let body = json!({
            "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "WorkspaceType",
            "metadata": {"name": "guarded"},
            "spec": {"initializer": true, "extend": {"with": [{"name": "universal", "path": "root"}]},
                "defaultChildWorkspaceType": {"name": "universal", "path": "root"}},
        });
        world.create(&admin(), "root", &types, body).await.unwrap();
        rest(&world).await;
        let made = world
            .workspace(&admin(), "root", "held", Some("guarded"))
            .await
            .unwrap();
        assert_eq!(made["status"]["phase"], "Initializing");
        assert_eq!(made["status"]["initializers"], json!(["root:guarded"]));
        let id = made["spec"]["cluster"].as_str().unwrap().to_owned();
        let view = world.tenancy.view();
        let object = view.logical_cluster(&id).unwrap();
        let (key, value) = hash::initializer_label("root:guarded");
        assert_eq!(object.label(&key), Some(value.as_str()));
        let mut tree = object.value();
        tree["status"]
            .as_object_mut()
            .unwrap()
            .remove("initializers");
        let write = world.tenancy.maker().update(&object, &tree).unwrap();
        world.tenancy.commit(vec![write]).await.unwrap();
        rest(&world).await;
        let object = view.logical_cluster(&id).unwrap();
        assert_eq!(object.value()["status"]["phase"], "Ready");
        assert_eq!(object.label(&key), None);
        let workspaces = view.tenancy().unwrap().workspaces.clone();
        let workspace = view.get(&workspaces, "root", "", "held").unwrap().value();
        assert_eq!(workspace["status"]["phase"], "Ready");
        assert!(workspace["status"].get("initializers").is_none());
        assert_eq!(
            workspace["metadata"]["annotations"]["experimental.tenancy.kcp.io/owner"],
            "{\"username\":\"kcp-admin\"}"
        );
    });
}

#[test]
fn a_workspace_takes_only_its_own_logical_cluster_along() {
    play(|world| async move {
        start(&world);
        let victim = workspace(&world, "root", "victim").await;
        workspace(&world, "root", "thief").await;
        let view = world.tenancy.view();
        let workspaces = view.tenancy().unwrap().workspaces.clone();
        let thief = view.get(&workspaces, "root", "", "thief").unwrap();
        let mut value = thief.value();
        value["spec"]["cluster"] = victim.as_str().into();
        value["metadata"]["annotations"]["internal.tenancy.kcp.io/cluster"] =
            victim.as_str().into();
        let write = world.tenancy.maker().update(&thief, &value).unwrap();
        world.tenancy.commit(vec![write]).await.unwrap();
        mark(&world, &workspaces, "root", "thief").await;
        rest(&world).await;
        assert!(view.get(&workspaces, "root", "", "thief").is_none());
        let logical = view.logical_cluster(&victim);
        assert!(logical.is_some_and(|object| !object.is_deleting()));
    });
}

#[test]
fn an_identity_never_changes() {
    play(|world| async move {
        start(&world);
        let provider = provide(&world, "provider", json!([])).await;
        let of = of(&world);
        let view = world.tenancy.view();
        let before = view.get(&of.api_exports, &provider, "", "widgets").unwrap();
        let before = before
            .text(&["status", "identityHash"])
            .unwrap()
            .into_owned();
        let secret = view
            .get(&of.secrets, &provider, "kcp-system", "widgets")
            .unwrap();
        let mut value = secret.value();
        value["data"]["key"] = "b3RoZXI=".into();
        let write = world.tenancy.maker().update(&secret, &value).unwrap();
        world.tenancy.commit(vec![write]).await.unwrap();
        rest(&world).await;
        let export = view
            .get(&of.api_exports, &provider, "", "widgets")
            .unwrap()
            .value();
        assert_eq!(export["status"]["identityHash"], before.as_str());
        let told = condition(&export, "IdentityValid");
        assert_eq!(told["reason"], "IdentityVerificationFailed");
    });
}

#[test]
fn bound_crds_that_nobody_needs_go_after_half_an_hour() {
    play(|world| async move {
        start(&world);
        let seams = world.tenancy.maker().seams().clone();
        provide(&world, "p", json!([])).await;
        let consumer = workspace(&world, "root", "c").await;
        let other = workspace(&world, "root", "d").await;
        let bound = bind(&world, &consumer, "widgets", "root:p", json!([])).await;
        let uid = bound["status"]["boundResources"][0]["schema"]["UID"].clone();
        let uid = uid.as_str().unwrap().to_owned();
        let of = of(&world);
        let there = || {
            world
                .tenancy
                .view()
                .get(&of.crds, "system:bound-crds", "", &uid)
                .is_some()
        };
        // Another export claims what the first provides: its CRD is needed without a binding.
        let identity = bound["status"]["boundResources"][0]["schema"]["identityHash"].clone();
        let claim = json!({"group": "golden.example.com", "resource": "widgets",
            "identityHash": identity, "verbs": ["*"]});
        let claimer = workspace(&world, "root", "q").await;
        let body = export("widgets", &[], json!([claim]));
        world
            .create(&admin(), &claimer, &of.api_exports, body)
            .await
            .unwrap();
        rest(&world).await;
        let mut accepted = claim;
        accepted["state"] = "Accepted".into();
        accepted["selector"] = json!({"matchAll": true});
        bind(&world, &other, "claims", "root:q", json!([accepted])).await;
        mark(&world, &of.api_bindings, &consumer, "widgets").await;
        seams.clock.sleep(crate::controllers::UNUSED_MAX * 2).await;
        assert!(there(), "a claim needs it");
        mark(&world, &of.api_bindings, &other, "claims").await;
        rest(&world).await;
        let left = world.list(&of.crds, "system:bound-crds");
        assert!(!there());
        assert_eq!(left.len(), 10, "those of root stay");
        // Bound again it is there at once, also before it is old.
        bind(&world, &consumer, "widgets", "root:p", json!([])).await;
        assert!(there());
        mark(&world, &of.api_bindings, &consumer, "widgets").await;
        seams.clock.sleep(Duration::from_secs(60)).await;
        assert!(there(), "not yet");
        seams.clock.sleep(crate::controllers::UNUSED_MAX).await;
        assert!(!there());
    });
}

#[test]
fn a_store_that_takes_one_key_at_once_is_enough() {
    super::play_on_single_keys(|world| async move {
        world.tenancy.bootstrap().await.unwrap();
        start(&world);
        let provider = provide(&world, "p", json!([])).await;
        let consumer = workspace(&world, "root", "c").await;
        let bound = bind(&world, &consumer, "widgets", "root:p", json!([])).await;
        assert_eq!(bound["status"]["phase"], "Bound");
        let view = world.tenancy.view();
        let workspaces = view.tenancy().unwrap().workspaces.clone();
        for name in ["p", "c"] {
            let ready = view.get(&workspaces, "root", "", name).unwrap();
            assert_eq!(ready.text(&["status", "phase"]).as_deref(), Some("Ready"));
            mark(&world, &workspaces, "root", name).await;
        }
        rest(&world).await;
        for id in [provider, consumer] {
            let left = view
                .hub()
                .contents(&hanse_cache::Scope::Cluster(id.as_str().into()));
            assert!(left.is_empty(), "{left:?}");
        }
    });
}

#[test]
fn a_slice_with_a_partition_is_for_the_shards_in_it() {
    play(|world| async move {
        start(&world);
        let provider = provide(&world, "p", json!([])).await;
        let of = of(&world);
        let topology = world
            .tenancy
            .view()
            .get(&of.api_exports, "root", "", "topology.kcp.io");
        let identity = topology
            .unwrap()
            .text(&["status", "identityHash"])
            .unwrap()
            .into_owned();
        let partitions = ResourceId::new("topology.kcp.io", "partitions", &identity);
        let partition = |name: &str, region: &str| {
            json!({"apiVersion": "topology.kcp.io/v1alpha1", "kind": "Partition",
                "metadata": {"name": name},
                "spec": {"selector": {"matchLabels": {"name": region}}}})
        };
        for (name, shard) in [("here", "root"), ("there", "other")] {
            let body = partition(name, shard);
            world
                .create(&admin(), &provider, &partitions, body)
                .await
                .unwrap();
        }
        for name in ["here", "there", "nowhere"] {
            let slice = json!({"apiVersion": "apis.kcp.io/v1alpha1",
                "kind": "APIExportEndpointSlice", "metadata": {"name": name},
                "spec": {"partition": name, "export": {"name": "widgets", "path": "root:p"}},
                "status": {}});
            world
                .create(&admin(), &provider, &of.endpoint_slices, slice)
                .await
                .unwrap();
        }
        let consumer = workspace(&world, "root", "c").await;
        bind(&world, &consumer, "widgets", "root:p", json!([])).await;
        let slice = |name: &str| {
            let view = world.tenancy.view();
            view.get(&of.endpoint_slices, &provider, "", name)
                .unwrap()
                .value()
        };
        let here = slice("here");
        assert_eq!(here["status"]["shardSelector"], "name=root");
        assert_eq!(here["status"]["endpoints"].as_array().unwrap().len(), 1);
        let there = slice("there");
        assert_eq!(there["status"]["shardSelector"], "name=other");
        assert!(there["status"].get("endpoints").is_none());
        let nowhere = slice("nowhere");
        assert_eq!(
            condition(&nowhere, "PartitionValid")["reason"],
            "PartitionInvalidReference"
        );
        let body = partition("nowhere", "root");
        world
            .create(&admin(), &provider, &partitions, body)
            .await
            .unwrap();
        rest(&world).await;
        assert_eq!(
            slice("nowhere")["status"]["endpoints"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    });
}

#[test]
fn urls_follow_the_address_of_the_shard() {
    play(|world| async move {
        let stop = Shutdown::new();
        Controllers::new(world.tenancy.clone()).start(&stop);
        provide(&world, "p", json!([])).await;
        let id = workspace(&world, "root", "c").await;
        bind(&world, &id, "widgets", "root:p", json!([])).await;
        stop.trigger();
        rest(&world).await;
        let moved = "https://hub.example.com".to_owned();
        let shard = crate::ShardConfig {
            base_url: moved.clone(),
            external_url: moved.clone(),
            virtual_workspace_url: moved.clone(),
            ..super::shard()
        };
        let maker = world.tenancy.maker();
        let maker = crate::Maker::new(maker.seams().clone(), maker.forms().clone());
        let again = crate::Tenancy::new(world.tenancy.admission().clone(), shard, maker);
        let world = World {
            tenancy: std::sync::Arc::new(again),
        };
        world.tenancy.bootstrap().await.unwrap();
        start(&world);
        rest(&world).await;
        let view = world.tenancy.view();
        let workspaces = view.tenancy().unwrap().workspaces.clone();
        let workspace = view.get(&workspaces, "root", "", "c").unwrap().value();
        assert_eq!(workspace["spec"]["URL"], format!("{moved}/clusters/root:c"));
        let logical = view.logical_cluster(&id).unwrap().value();
        assert_eq!(logical["status"]["URL"], format!("{moved}/clusters/{id}"));
        for slice in view.list(&of(&world).endpoint_slices, &hanse_cache::Scope::Wildcard) {
            for endpoint in slice.value()["status"]["endpoints"].as_array().unwrap() {
                assert!(
                    endpoint["url"].as_str().unwrap().starts_with(&moved),
                    "{endpoint}"
                );
            }
        }
    });
}
