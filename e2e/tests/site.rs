//! The physical clusters of the other tests are real: their nodes become ready, and what is
//! deployed there runs.

use std::time::Duration;

use anyhow::{Result, anyhow};
use hanse_e2e::site::Site;
use hanse_e2e::wait;

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: registry.invalid/web}]}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_becomes_ready_and_survives_a_cut_link() -> Result<()> {
    let mut site = Site::start("alone", 2).await?;
    let kubectl = site.kubectl()?;
    kubectl.apply(WEB).await?;
    kubectl
        .ok(&["rollout", "status", "deployment/web", "--timeout=120s"])
        .await?;
    let pods = kubectl
        .ok(&["get", "pods", "-l", "app=web", "-o", "name"])
        .await?;
    assert_eq!(pods.lines().count(), 3, "{pods}");

    site.cut()?;
    assert!(site.client()?.get("/readyz").await.is_err());
    site.restore().await?;
    kubectl
        .ok(&["scale", "deployment/web", "--replicas=1"])
        .await?;
    let client = site.client()?;
    wait::until("one replica left", Duration::from_secs(60), async || {
        let web = client
            .get("/apis/apps/v1/namespaces/default/deployments/web")
            .await?
            .success()?;
        let status = &web["status"];
        if status["replicas"] == 1 {
            Ok(())
        } else {
            Err(anyhow!("{status}"))
        }
    })
    .await
}
