//! What Pods need goes where they go.

use anyhow::Result;
use hanse_e2e::fleet::PLATFORM;
use serde_json::json;

use super::{MAPS, Pair, map};

const DEPLOYMENTS: &str = "apis/apps/v1/deployments";

pub async fn what_pods_name_follows_them(pair: &mut Pair) -> Result<()> {
    let tenant = pair.fleet.tenant("needs", &["kubernetes"]).await?;
    let placement = json!({
        "apiVersion": "sites.hanse.dev/v1alpha1", "kind": "Placement",
        "metadata": {"name": "here"},
        "spec": {
            "objects": [{"group": "apps", "resource": "deployments"}],
            "dependencies": "Follow", "sites": {"names": ["far"]},
        },
    });
    tenant.apply(&placement.to_string()).await?;
    tenant.apply(&map("settings", "1").to_string()).await?;
    tenant.apply(&map("other", "1").to_string()).await?;
    let web = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{
                    "name": "web", "image": "registry.k8s.io/pause:3.10",
                    "envFrom": [{"configMapRef": {"name": "settings"}}],
                }]},
            },
        },
    });
    tenant.apply(&web.to_string()).await?;
    let fleet = &pair.fleet;
    let there = |_: &serde_json::Value| true;
    fleet
        .below("far", "needs", (DEPLOYMENTS, "web"), there)
        .await?;
    let found = fleet
        .below("far", "needs", (MAPS, "settings"), there)
        .await?;
    let namespace = found["metadata"]["namespace"].as_str().unwrap_or_default();
    let path = format!("/api/v1/namespaces/{namespace}/configmaps/other");
    let other = fleet.site("far")?.client.get(&path).await?;
    anyhow::ensure!(other.status == 404, "nobody needs it: {}", other.status);
    let why = ["why", "configmap/settings"];
    let why = fleet.hanse(&format!("{PLATFORM}:needs"), &why).await?;
    anyhow::ensure!(why.contains("1/1"), "{why}");
    Ok(())
}
