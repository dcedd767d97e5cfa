//! A tenant who reaches for what is not hers.

use anyhow::{Result, ensure};
use hanse_e2e::fleet::PLATFORM;
use hanse_e2e::http::Client;
use serde_json::json;

use super::{MAPS, OWN_MAPS, Pair, map, maps};

/// A user who is known by this token.
pub const TOKEN: &str = "ann-token";
/// Her name.
pub const USER: &str = "ann";

pub async fn a_tenant_reaches_no_other_workspace_no_site_and_no_wildcard(
    pair: &mut Pair,
) -> Result<()> {
    let fleet = &pair.fleet;
    pair.tenant("anns", &[], maps(), &["near"]).await?;
    pair.tenant("bobs", &[], maps(), &["near"]).await?;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "owner"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": "cluster-admin",
        },
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let anns = pair.client("anns")?;
    anns.post(bindings, &binding).await?.success()?;
    let ann = |path: &str| -> Result<Client> {
        let access = fleet.hub.cluster_access(path)?;
        Client::connect(&access.with_token(Some(TOKEN)))
    };
    let own = format!("{PLATFORM}:anns");
    ann(&own)?
        .post(OWN_MAPS, &map("mine", "1"))
        .await?
        .success()?;
    fleet
        .below("near", "anns", (MAPS, "mine"), |_| true)
        .await?;
    let site = "/apis/sites.hanse.dev/v1alpha1/sites/near";
    let site = fleet.hub.cluster(PLATFORM)?.get(site).await?.success()?;
    let inbox = site["status"]["cluster"].as_str().unwrap_or_default();
    ensure!(inbox.starts_with("site-"), "{site}");
    let manifests = "apis/sites.hanse.dev/v1alpha1/manifests";
    let bobs = format!("{PLATFORM}:bobs");
    for (cluster, path, what) in [
        (bobs.as_str(), MAPS, "another's workspace"),
        (inbox, manifests, "a site's cluster"),
        (inbox, "api/v1/secrets", "a site's secrets"),
        ("*", MAPS, "the wildcard"),
        ("*", manifests, "every site's cluster at once"),
        (
            PLATFORM,
            "apis/sites.hanse.dev/v1alpha1/sites",
            "the operator's workspace",
        ),
    ] {
        let answer = ann(cluster)?.get(&format!("/{path}")).await?;
        ensure!(answer.status == 403, "{what}: {}", answer.status);
        ensure!(
            answer.json()["reason"] == "Forbidden",
            "{what}: {}",
            answer.json()
        );
    }
    // What was decided about her own object is hers to read, and nobody's to write.
    let projections = "/apis/sites.hanse.dev/v1alpha1/projections";
    let list = ann(&own)?.get(projections).await?.success()?;
    let name = list["items"][0]["metadata"]["name"]
        .as_str()
        .unwrap_or_default();
    let answer = ann(&own)?.delete(&format!("{projections}/{name}")).await?;
    ensure!(answer.status == 403, "a Projection: {}", answer.status);
    Ok(())
}
