//! The hub as a process: it starts on nothing, stops cleanly and comes back on what it had; who
//! has no rights reaches nothing. Being killed is in `kill.rs`.

use anyhow::{Result, ensure};
use hanse_e2e::http::Client;
use hanse_e2e::hub::Hub;
use hanse_e2e::kubeconfig::Access;
use hanse_e2e::site::TokenUser;
use serde_json::json;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_stops_cleanly_and_starts_on_what_it_had() -> Result<()> {
    let mut hub = Hub::start().await?;
    let cluster = hub.workspace("root", "kept", "universal").await?;
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let before = hub
        .cluster("root:kept")?
        .post(CONFIG_MAPS, &object)
        .await?
        .success()?;
    hub.stop()?;
    hub.resume().await?;
    let path = format!("{CONFIG_MAPS}/a");
    let after = hub.cluster(&cluster)?.get(&path).await?.success()?;
    ensure!(before == after, "before: {before}\nafter: {after}");
    // Outside of every logical cluster only `system:masters` may see more than its health.
    let mut masters = Access::read(&hub.kubeconfig(), Some("system:admin"))?;
    masters.server = hub.access()?.server;
    let masters = Client::connect(&masters)?;
    for path in ["/livez", "/readyz", "/healthz"] {
        let answer = hub.client()?.get(path).await?;
        ensure!(answer.status.is_success(), "{path}: {}", answer.status);
    }
    ensure!(hub.client()?.get("/version").await?.status == 403);
    for path in ["/version", "/metrics"] {
        let answer = masters.get(path).await?;
        ensure!(answer.status.is_success(), "{path}: {}", answer.status);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_reaches_no_further_than_its_workspace() -> Result<()> {
    let users = [
        TokenUser {
            token: "ann-token",
            user: "ann",
            groups: &[],
        },
        TokenUser {
            token: "bob-token",
            user: "bob",
            groups: &[],
        },
    ];
    let hub = Hub::start_with(&users).await?;
    for (name, owner) in [("anns", "ann"), ("bobs", "bob")] {
        hub.workspace("root", name, "universal").await?;
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "owner"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [{
                "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": owner,
            }],
        });
        let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
        hub.cluster(&format!("root:{name}"))?
            .post(path, &binding)
            .await?
            .success()?;
    }
    let ann = |path: &str| -> Result<Client> {
        Client::connect(&hub.cluster_access(path)?.with_token(Some("ann-token")))
    };
    let own = ann("root:anns")?.get("/api/v1/namespaces").await?;
    ensure!(own.status == 200, "her own workspace: {}", own.status);
    for (path, what) in [
        ("root:bobs", "another's workspace"),
        ("*", "the wildcard"),
        ("system:admin", "the system's cluster"),
        ("root", "the parent"),
    ] {
        let answer = ann(path)?.get("/api/v1/namespaces").await?;
        ensure!(
            answer.status == 403,
            "{what}: {} {}",
            answer.status,
            answer.json()
        );
        ensure!(
            answer.json()["reason"] == "Forbidden",
            "{what}: {}",
            answer.json()
        );
    }
    Ok(())
}
