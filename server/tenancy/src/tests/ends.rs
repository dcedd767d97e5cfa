//! The end of logical clusters: whole, in order, told, and bounded in what it costs.

use super::controllers::{condition, mark, of, rest, start, workspace};
use super::{World, play};
use hanse_auth::UserInfo;
use serde_json::json;
use std::time::Duration;

#[test]
fn a_tree_is_deleted_whole() {
    play(|world| async move {
        start(&world);
        rest(&world).await;
        let view = world.tenancy.view().clone();
        let count = |world: &World| -> usize {
            let hub = world.tenancy.view().hub();
            hub.contents(&hanse_cache::Scope::Wildcard)
                .iter()
                .map(|(_, n)| n)
                .sum()
        };
        let before = count(&world);
        let parent = workspace(&world, "root", "parent").await;
        for n in 0..5 {
            let child = workspace(&world, &parent, &format!("c{n}")).await;
            workspace(&world, &child, "grandchild").await;
        }
        assert_eq!(count(&world), before + 11 * 11);
        let workspaces = view.tenancy().unwrap().workspaces.clone();
        mark(&world, &workspaces, "root", "parent").await;
        rest(&world).await;
        assert!(view.get(&workspaces, "root", "", "parent").is_none());
        assert_eq!(count(&world), before, "something stays behind");
    });
}

#[test]
fn what_has_finalizers_holds_the_logical_cluster_and_is_told() {
    play(|world| async move {
        start(&world);
        let id = workspace(&world, "root", "w").await;
        let of = of(&world);
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "held", "namespace": "default", "uid": "u",
                "finalizers": ["x.io/hold"]}});
        let draft = crate::Draft::new(&of.config_maps, value).within("default");
        let maker = world.tenancy.maker();
        let write = maker
            .create(&id.as_str().into(), draft, &maker.now())
            .unwrap();
        world.tenancy.commit(vec![write]).await.unwrap();
        let workspaces = world.tenancy.view().tenancy().unwrap().workspaces.clone();
        mark(&world, &workspaces, "root", "w").await;
        rest(&world).await;
        let view = world.tenancy.view();
        let told = view.get(&workspaces, "root", "", "w").unwrap().value();
        assert_eq!(told["status"]["phase"], "Deleting");
        let told = condition(&told, "WorkspaceContentDeleted");
        assert_eq!(told["reason"], "SomeResourcesRemain");
        assert!(
            told["message"]
                .as_str()
                .unwrap()
                .contains("x.io/hold in 1 resource instances")
        );
        let alice = UserInfo::new("kcp-admin", &["system:authenticated"]);
        let want = hanse_auth::Attributes::resource(&alice, "update", "", "configmaps", "held");
        assert!(
            world
                .tenancy
                .authorizer()
                .authorize(&want, Some(&id))
                .allowed,
            "RBAC goes last"
        );
        let held = view.get(&of.config_maps, &id, "default", "held").unwrap();
        world
            .tenancy
            .commit(vec![crate::Maker::delete(&held)])
            .await
            .unwrap();
        rest(&world).await;
        assert!(view.get(&workspaces, "root", "", "w").is_none());
        assert!(view.logical_cluster(&id).is_none());
    });
}

#[test]
fn a_logical_cluster_that_disappears_leaves_its_workspace_unavailable() {
    play(|world| async move {
        start(&world);
        let id = workspace(&world, "root", "w").await;
        rest(&world).await;
        let of = of(&world);
        mark(&world, &of.logical_clusters, &id, "cluster").await;
        rest(&world).await;
        let view = world.tenancy.view();
        assert!(view.logical_cluster(&id).is_none(), "it came back");
        let workspaces = view.tenancy().unwrap().workspaces.clone();
        let left = view.get(&workspaces, "root", "", "w").unwrap().value();
        assert_eq!(left["status"]["phase"], "Unavailable");
        assert_eq!(
            condition(&left, "WorkspaceInitialized")["reason"],
            "WorkspaceDisappeared"
        );
        let end = view.resolve("root:w");
        assert_eq!(end, hanse_auth::Resolution::Unavailable);
        mark(&world, &workspaces, "root", "w").await;
        rest(&world).await;
        assert!(view.get(&workspaces, "root", "", "w").is_none());
    });
}

#[test]
fn large_objects_with_finalizers_go_in_small_commits() {
    play(|world| async move {
        start(&world);
        let id = workspace(&world, "root", "w").await;
        let of = of(&world);
        let maker = world.tenancy.maker();
        for n in 0..30 {
            let value = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": format!("big{n}"), "namespace": "default",
                    "uid": format!("u{n}"), "finalizers": ["x.io/hold"]},
                "data": {"k": "x".repeat(1 << 20)}});
            let draft = crate::Draft::new(&of.config_maps, value).within("default");
            let write = maker
                .create(&id.as_str().into(), draft, &maker.now())
                .unwrap();
            world.tenancy.commit(vec![write]).await.unwrap();
        }
        let workspaces = world.tenancy.view().tenancy().unwrap().workspaces.clone();
        mark(&world, &workspaces, "root", "w").await;
        rest(&world).await;
        let held = world.tenancy.view().list_cluster(&of.config_maps, &id);
        let held: Vec<_> = held
            .into_iter()
            .filter(|o| o.key().name.starts_with("big"))
            .collect();
        assert_eq!(held.len(), 30);
        assert!(held.iter().all(hanse_cache::Object::is_deleting));
        for object in held {
            world
                .tenancy
                .commit(vec![crate::Maker::delete(&object)])
                .await
                .unwrap();
        }
        rest(&world).await;
        assert!(world.tenancy.view().logical_cluster(&id).is_none());
    });
}

#[test]
fn a_crowd_that_goes_one_by_one_is_looked_at_now_and_then() {
    const CROWD: usize = 2_000;
    play(|world| async move {
        start(&world);
        let id = workspace(&world, "root", "w").await;
        let of = of(&world);
        let maker = world.tenancy.maker();
        let held = |n: usize| {
            let value = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": format!("held{n}"), "namespace": "default",
                    "uid": format!("u{n}"), "finalizers": ["x.io/hold"]}});
            let draft = crate::Draft::new(&of.config_maps, value).within("default");
            maker
                .create(&id.as_str().into(), draft, &maker.now())
                .unwrap()
        };
        world
            .tenancy
            .commit((0..CROWD).map(held).collect())
            .await
            .unwrap();
        let view = world.tenancy.view();
        let workspaces = view.tenancy().unwrap().workspaces.clone();
        mark(&world, &workspaces, "root", "w").await;
        rest(&world).await;
        let before = view.hub().version();
        for n in 0..CROWD {
            let name = format!("held{n}");
            let object = view.get(&of.config_maps, &id, "default", &name).unwrap();
            world
                .tenancy
                .commit(vec![crate::Maker::delete(&object)])
                .await
                .unwrap();
            maker.seams().clock.sleep(Duration::from_millis(1)).await;
        }
        rest(&world).await;
        assert!(view.logical_cluster(&id).is_none());
        // What is left is told with each look: two writes.
        let told = (view.hub().version() - before) / 256 - CROWD as u64;
        assert!(told < 120, "{told} writes about what is left");
    });
}
