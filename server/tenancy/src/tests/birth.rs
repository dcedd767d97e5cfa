//! Workspaces are born whole.

use super::{World, admin, golden, play, same};
use hanse_auth::UserInfo;
use hanse_rules::hash;
use serde_json::Value;

/// Replaces ids and the names made of them by words that both sides share.
fn renamed(cluster: &str, parent: &str) -> impl Fn(&str) -> String {
    let names: Vec<(String, String)> = ["tenancy.kcp.io", "topology.kcp.io"]
        .iter()
        .map(|e| {
            (
                hash::default_binding_name(cluster, "root", e),
                format!("{e}-default"),
            )
        })
        .collect();
    let (cluster, parent) = (cluster.to_owned(), parent.to_owned());
    move |text: &str| {
        let text = text.replace(&cluster, "CHILD").replace(&parent, "PARENT");
        names
            .iter()
            .fold(text, |text, (name, word)| text.replace(name, word))
    }
}

async fn tree(world: &World) -> (Value, Value) {
    let parent = world
        .workspace(&admin(), "root", "consumer2", None)
        .await
        .unwrap();
    let id = parent["spec"]["cluster"].as_str().unwrap();
    let child = world.workspace(&admin(), id, "fresh", None).await.unwrap();
    (parent.clone(), child)
}

#[test]
fn every_object_of_a_birth_is_as_recorded() {
    play(|world| async move {
        let (parent, child) = tree(&world).await;
        let of = world.tenancy.view().resources().clone();
        let tenancy = world.tenancy.view().tenancy().unwrap().clone();
        let parent = parent["spec"]["cluster"].as_str().unwrap().to_owned();
        let cluster = child["spec"]["cluster"].as_str().unwrap().to_owned();
        let ours = renamed(&cluster, &parent);
        let theirs = renamed("2tq3qd0cl07stfyo", "comvstj97u2e6i24");
        let both = |text: &str| ours(&theirs(text));
        for (resource, path) in [
            (&of.namespaces, "/namespaces"),
            (&of.config_maps, "/configmaps"),
            (&of.secrets, "/secrets"),
            (&of.service_accounts, "/serviceaccounts"),
            (&of.cluster_roles, "/clusterroles"),
            (&of.cluster_role_bindings, "/clusterrolebindings"),
            (&of.api_bindings, "/apibindings"),
            (&of.api_exports, "/apiexports"),
            (&of.logical_clusters, "/logicalclusters"),
            (&tenancy.workspaces, "/workspaces"),
        ] {
            let ours = world.list(resource, &cluster);
            same(&ours, &golden("birth-of-a-workspace.json", path), &both);
        }
        let mut golden = golden("workspace-with-a-binding.json", "/workspaces");
        let notes = golden[0]["metadata"]["annotations"]
            .as_object_mut()
            .unwrap();
        notes.remove("kubectl.kubernetes.io/last-applied-configuration");
        same(&world.list(&tenancy.workspaces, &parent), &golden, &both);
    });
}

#[test]
fn paths_lead_to_it_at_once() {
    play(|world| async move {
        let (_, child) = tree(&world).await;
        let id = child["spec"]["cluster"].as_str().unwrap();
        let found = world
            .tenancy
            .view()
            .existing_cluster("root:consumer2:fresh")
            .unwrap();
        assert_eq!(&*found, id);
        use hanse_auth::Resolution;
        let view = world.tenancy.view();
        assert_eq!(view.resolve("root:none"), Resolution::NotFound);
        assert_eq!(view.resolve("Bad$"), Resolution::Malformed);
        assert_eq!(view.resolve("*"), Resolution::Wildcard);
        assert_eq!(
            view.resolve("nosuchcluster123"),
            Resolution::Cluster("nosuchcluster123".into())
        );
    });
}

#[test]
fn refusals_have_the_recorded_texts() {
    play(|world| async move {
        let (parent, _) = tree(&world).await;
        let id = parent["spec"]["cluster"].as_str().unwrap();
        let master = UserInfo::new("shard-admin", &["system:masters", "system:authenticated"]);
        assert_eq!(
            world
                .workspace(&master, "root", "x", Some("none"))
                .await
                .unwrap_err(),
            "workspaces.tenancy.kcp.io \"x\" is forbidden: Internal error occurred: \
             workspacetypes.tenancy.kcp.io \"root:none\" not found"
        );
        assert_eq!(
            world
                .workspace(&master, id, "x", Some("organization"))
                .await
                .unwrap_err(),
            "workspaces.tenancy.kcp.io \"x\" is forbidden: workspace type root:organization only \
             allows [root:root] parent workspaces, but parent type root:organization only \
             implements [root:organization root:universal]"
        );
        let nobody = UserInfo::new("user-1", &["system:authenticated"]);
        assert_eq!(
            world
                .workspace(&nobody, "root", "x", Some("home"))
                .await
                .unwrap_err(),
            "workspaces.tenancy.kcp.io \"x\" is forbidden: unable to use workspace type \
             root:home: missing verb='use' permission on workspacetype"
        );
    });
}
