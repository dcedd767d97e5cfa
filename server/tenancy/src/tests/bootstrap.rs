//! The first objects of a shard.

use super::{golden, play, play_bare, same};
use hanse_cache::ResourceId;
use serde_json::Value;

#[test]
fn system_admin_is_as_recorded() {
    play(|world| async move {
        let of = world.tenancy.view().resources().clone();
        for (resource, path) in [
            (&of.cluster_roles, "/clusterroles"),
            (&of.cluster_role_bindings, "/clusterrolebindings"),
            (&of.roles, "/roles"),
            (&of.role_bindings, "/rolebindings"),
        ] {
            let ours = world.list(resource, "system:admin");
            same(
                &ours,
                &golden("system-admin-rbac.json", path),
                &str::to_owned,
            );
        }
    });
}

#[test]
fn root_is_as_recorded() {
    play(|world| async move {
        let view = world.tenancy.view();
        let of = view.resources().clone();
        let tenancy = view.tenancy().unwrap().clone();
        let shards = world.tenancy.shards().unwrap();
        let rows: [(&ResourceId, &str); 11] = [
            (&of.namespaces, "/root/api/v1/namespaces"),
            (&of.config_maps, "/root/api/v1/configmaps"),
            (&of.service_accounts, "/root/api/v1/serviceaccounts"),
            (&of.cluster_roles, "/clusterroles"),
            (&of.cluster_role_bindings, "/clusterrolebindings"),
            (&of.api_bindings, "/apibindings"),
            (&of.api_exports, "/apiexports"),
            (&of.endpoint_slices, "/apiexportendpointslices"),
            (&of.logical_clusters, "/logicalclusters"),
            (&tenancy.workspace_types, "/workspacetypes"),
            (&shards, "/shards"),
        ];
        for (resource, path) in rows {
            let ours = world.list(resource, "root");
            same(&ours, &golden("root.json", path), &str::to_owned);
        }
        let schemas = world.list(&of.api_resource_schemas, "root");
        same(
            &schemas,
            &golden("root-schemas.json", "/apiresourceschemas"),
            &str::to_owned,
        );
        assert_eq!(world.list(&of.secrets, "root").len(), 5);
        assert_eq!(world.list(&of.crds, "system:bound-crds").len(), 10);
        let system = world.list(&of.crds, "system:system-crds");
        let names: Vec<&str> = system
            .iter()
            .map(|c| c["metadata"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "apibindings.apis.kcp.io",
                "apiconversions.apis.kcp.io",
                "apiexportendpointslices.apis.kcp.io",
                "apiexports.apis.kcp.io",
                "apiresourceschemas.apis.kcp.io",
                "clustercachedresourceendpointslices.cache.kcp.io",
                "clustercachedresources.cache.kcp.io",
                "logicalclusters.core.kcp.io",
            ]
        );
        assert_eq!(world.list(&of.api_bindings, "system:shard").len(), 5);
    });
}

#[test]
fn a_second_start_changes_nothing_and_gives_rights_back() {
    play(|world| async move {
        let tenancy = &world.tenancy;
        let before = tenancy.view().hub().version();
        tenancy.bootstrap().await.unwrap();
        assert_eq!(tenancy.view().hub().version(), before);
        let of = tenancy.view().resources().clone();
        let role = tenancy
            .view()
            .get(&of.cluster_roles, "system:admin", "", "cluster-admin");
        let role = role.unwrap();
        let mut value = role.value();
        value["rules"] = Value::Array(Vec::new());
        tenancy
            .commit(vec![tenancy.maker().update(&role, &value).unwrap()])
            .await
            .unwrap();
        tenancy.bootstrap().await.unwrap();
        let role = tenancy
            .view()
            .get(&of.cluster_roles, "system:admin", "", "cluster-admin");
        assert_eq!(role.unwrap().value()["rules"].as_array().unwrap().len(), 2);
    });
}

#[test]
fn a_start_that_is_cut_short_is_repeated() {
    for cut in [1, 7, 60, 100] {
        play_bare(move |world| async move {
            let tenancy = &world.tenancy;
            tenancy
                .commit(tenancy.system_admin().unwrap())
                .await
                .unwrap();
            let (bound, root) = tenancy.root().unwrap();
            tenancy.commit(bound).await.unwrap();
            tenancy
                .commit(root.into_iter().take(cut).collect())
                .await
                .unwrap();
            tenancy.bootstrap().await.unwrap();
            let of = tenancy.view().resources().clone();
            let ours = world.list(&of.api_exports, "root");
            same(&ours, &golden("root.json", "/apiexports"), &str::to_owned);
            // Bindings speak of the schemas and identities that are really there.
            for binding in world.list(&of.api_bindings, "root") {
                for bound in binding["status"]["boundResources"].as_array().unwrap() {
                    let name = bound["schema"]["name"].as_str().unwrap();
                    let schemas = &of.api_resource_schemas;
                    let schema = tenancy.view().get(schemas, "root", "", name).unwrap();
                    assert_eq!(bound["schema"]["UID"], schema.uid());
                    let uid = schema.uid();
                    assert!(
                        tenancy
                            .view()
                            .get(&of.crds, "system:bound-crds", "", uid)
                            .is_some()
                    );
                }
            }
        });
    }
}

#[test]
fn a_server_without_a_battery_lacks_what_comes_with_it() {
    super::play_with(
        crate::ShardConfig {
            batteries: Vec::new(),
            ..super::shard()
        },
        |world| async move {
            world.tenancy.bootstrap().await.unwrap();
            let types = world
                .tenancy
                .view()
                .tenancy()
                .unwrap()
                .workspace_types
                .clone();
            let types = world.list(&types, "root");
            let names: Vec<&Value> = types.iter().map(|t| &t["metadata"]["name"]).collect();
            assert_eq!(names, ["home", "root", "universal"]);
            assert_eq!(
                types[1]["spec"]["defaultChildWorkspaceType"]["name"],
                "universal"
            );
            let made = world
                .workspace(&super::admin(), "root", "w", None)
                .await
                .unwrap();
            assert_eq!(made["spec"]["type"]["name"], "universal");
        },
    );
}
