//! The script of kubectl commands against a workspace, with every kubectl that is there.

use anyhow::Result;
use hanse_e2e::hub::Hub;
use hanse_e2e::kubectl::Kubectl;
use hanse_e2e::{script, tools};

#[tokio::test(flavor = "multi_thread")]
async fn every_kubectl_works_in_a_workspace() -> Result<()> {
    let hub = Hub::start().await?;
    let mut lines = Vec::new();
    for set in tools::kubectls() {
        let name = set.replace('.', "-");
        hub.workspace("root", &name, "universal").await?;
        let kubeconfig = hub.cluster_kubeconfig(&format!("root:{name}"))?;
        let findings = script::run(&Kubectl::of_set(&set, &kubeconfig)?).await?;
        lines.extend(findings.into_iter().map(|line| format!("{set}: {line}")));
    }
    assert!(lines.is_empty(), "{}", lines.join("\n"));
    Ok(())
}
