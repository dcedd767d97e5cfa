//! kcp's chain of stages over a bootstrapped shard.

use super::{World, admin, play};
use hanse_auth::{Attributes, Decision, UserInfo, review};
use hanse_cache::ClusterName;
use serde_json::{Value, json};

fn ask(world: &World, user: &UserInfo, verb: &str, what: (&str, &str), at: &str) -> Decision {
    let want = Attributes::resource(user, verb, what.0, what.1, "");
    world.tenancy.authorizer().authorize(&want, Some(at))
}

fn user(name: &str) -> UserInfo {
    UserInfo::new(name, &["system:authenticated"])
}

async fn put(world: &World, cluster: &str, draft: crate::Draft) {
    let maker = world.tenancy.maker();
    let write = maker
        .create(&ClusterName::from(cluster), draft, &maker.now())
        .unwrap();
    world.tenancy.commit(vec![write]).await.unwrap();
}

fn binding(world: &World, name: &str, role: &str, subject: Value) -> crate::Draft {
    let value = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    });
    crate::Draft::new(
        &world.tenancy.view().resources().cluster_role_bindings,
        value,
    )
}

#[test]
fn who_may_enter() {
    play(|world| async move {
        let alice = user("alice");
        let cm = ("", "configmaps");
        let ws = ("tenancy.kcp.io", "workspaces");
        assert!(ask(&world, &alice, "list", ws, "root").allowed);
        assert!(!ask(&world, &alice, "create", ws, "root").allowed);
        assert!(!ask(&world, &alice, "list", cm, "root").allowed);
        assert!(ask(&world, &admin(), "list", cm, "root").allowed);
        let master = UserInfo::new("m", &["system:masters"]);
        assert!(ask(&world, &master, "list", cm, "nosuch").allowed);
        assert!(ask(&world, &admin(), "list", cm, "nosuch").denied);
        assert!(!ask(&world, &admin(), "list", cm, "system:admin").allowed);
        assert!(
            !world
                .tenancy
                .authorizer()
                .authorize(
                    &Attributes::resource(&admin(), "list", "", "namespaces", ""),
                    Some("*")
                )
                .allowed
        );
        let health = Attributes::url(&alice, "get", "/readyz");
        assert!(world.tenancy.authorizer().authorize(&health, None).allowed);
        let status = Attributes {
            subresource: "status",
            ..Attributes::resource(&master, "get", "apis.kcp.io", "apibindings", "")
        };
        assert!(
            world
                .tenancy
                .authorizer()
                .authorize(&status, Some("root"))
                .allowed
        );
        let denied = Attributes {
            user: &admin(),
            ..status
        };
        assert!(
            world
                .tenancy
                .authorizer()
                .authorize(&denied, Some("root"))
                .denied
        );
    });
}

#[test]
fn a_creator_is_admin_of_its_workspace_and_nobody_else_gets_in() {
    play(|world| async move {
        let alice = user("alice");
        let of = world.tenancy.view().resources().clone();
        put(
            &world,
            "root",
            binding(
                &world,
                "alice",
                "cluster-admin",
                json!({"kind": "User", "name": "alice"}),
            ),
        )
        .await;
        let made = world
            .workspace(&alice, "root", "alice", None)
            .await
            .unwrap();
        let id = made["spec"]["cluster"].as_str().unwrap().to_owned();
        let cm = ("", "configmaps");
        let bob = user("bob");
        assert!(ask(&world, &alice, "create", cm, &id).allowed);
        assert!(!ask(&world, &bob, "list", cm, &id).allowed);
        // Access alone is not a right to objects.
        put(
            &world,
            &id,
            binding(
                &world,
                "bob",
                "system:kcp:workspace:access",
                json!({"kind": "User", "name": "bob"}),
            ),
        )
        .await;
        assert!(!ask(&world, &bob, "list", cm, &id).allowed);
        put(
            &world,
            &id,
            binding(
                &world,
                "bobview",
                "view",
                json!({"kind": "User", "name": "bob"}),
            ),
        )
        .await;
        assert!(ask(&world, &bob, "list", cm, &id).allowed);
        assert!(!ask(&world, &bob, "list", ("", "secrets"), &id).allowed);
        // The tenancy export's policy lets tenants read the status of workspaces, not write it.
        let mut want = Attributes::resource(&alice, "update", "tenancy.kcp.io", "workspaces", "x");
        assert!(
            world
                .tenancy
                .authorizer()
                .authorize(&want, Some(&id))
                .allowed
        );
        want.subresource = "status";
        assert!(
            !world
                .tenancy
                .authorizer()
                .authorize(&want, Some(&id))
                .allowed
        );
        want.verb = "get";
        assert!(
            world
                .tenancy
                .authorizer()
                .authorize(&want, Some(&id))
                .allowed
        );
        let rules = review::rules(world.tenancy.authorizer(), &bob, &id, "default");
        assert!(rules["resourceRules"].as_array().unwrap().len() > 3);
        let gone = world
            .tenancy
            .view()
            .get(&of.cluster_role_bindings, &id, "", "bobview")
            .unwrap();
        world
            .tenancy
            .commit(vec![crate::Maker::delete(&gone)])
            .await
            .unwrap();
        assert!(!ask(&world, &bob, "list", cm, &id).allowed);
    });
}

#[test]
fn a_change_of_the_bootstrap_policy_counts_at_once() {
    play(|world| async move {
        let carol = UserInfo::new("carol", &["everywhere"]);
        let cm = ("", "configmaps");
        assert!(!ask(&world, &carol, "list", cm, "root").allowed);
        let subject = json!({"kind": "Group", "name": "everywhere"});
        put(
            &world,
            "system:admin",
            binding(&world, "everywhere", "cluster-admin", subject),
        )
        .await;
        assert!(ask(&world, &carol, "list", cm, "root").allowed);
    });
}

#[test]
fn nobody_grants_what_he_lacks() {
    play(|world| async move {
        let alice = user("alice");
        put(
            &world,
            "root",
            binding(
                &world,
                "alice",
                "edit",
                json!({"kind": "User", "name": "alice"}),
            ),
        )
        .await;
        put(
            &world,
            "root",
            binding(
                &world,
                "alicerbac",
                "admin",
                json!({"kind": "User", "name": "dora"}),
            ),
        )
        .await;
        let of = world.tenancy.view().resources().clone();
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "r"},
            "rules": [{"apiGroups": ["x.io"], "resources": ["secrets"], "verbs": ["get"]}],
        });
        let refused = world
            .create(&alice, "root", &of.cluster_roles, role.clone())
            .await;
        assert_eq!(
            refused.unwrap_err(),
            "clusterroles.rbac.authorization.k8s.io \"r\" is forbidden: user \"alice\" \
             (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not \
             currently held:\n{APIGroups:[\"x.io\"], Resources:[\"secrets\"], Verbs:[\"get\"]}"
        );
        world
            .create(&admin(), "root", &of.cluster_roles, role)
            .await
            .unwrap();
        let bind = binding(&world, "b", "r", json!({"kind": "User", "name": "alice"})).value;
        let refused = world
            .create(&alice, "root", &of.cluster_role_bindings, bind.clone())
            .await;
        assert!(refused.unwrap_err().contains("not currently held"));
        world
            .create(&admin(), "root", &of.cluster_role_bindings, bind)
            .await
            .unwrap();
        let missing = binding(&world, "c", "nowhere", json!({"kind": "User", "name": "x"})).value;
        let refused = world
            .create(&alice, "root", &of.cluster_role_bindings, missing)
            .await;
        assert_eq!(
            refused.unwrap_err(),
            "clusterroles.rbac.authorization.k8s.io \"nowhere\" not found"
        );
    });
}

#[test]
fn a_logical_cluster_at_its_limit_takes_no_more() {
    play(|world| async move {
        let made = world.workspace(&admin(), "root", "w", None).await.unwrap();
        let id = made["spec"]["cluster"].as_str().unwrap().to_owned();
        let view = world.tenancy.view();
        let logical = view.logical_cluster(&id).unwrap();
        let mut value = logical.value();
        value["metadata"]["annotations"]["core.kcp.io/max-total-objects"] = "11".into();
        let write = world.tenancy.maker().update(&logical, &value).unwrap();
        world.tenancy.commit(vec![write]).await.unwrap();
        let maps = view.resources().config_maps.clone();
        let map = |name: &str| {
            json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": "default"}})
        };
        world
            .create(&admin(), &id, &maps, map("fits"))
            .await
            .unwrap();
        assert_eq!(
            world
                .create(&admin(), &id, &maps, map("too-many"))
                .await
                .unwrap_err(),
            format!(
                "configmaps \"too-many\" is forbidden: logical cluster \"{id}\" has reached its \
                 total object count limit (11/11 objects); delete objects to free up capacity"
            )
        );
    });
}
