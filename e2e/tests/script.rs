//! The script of kubectl commands, run by every kubectl that is there. Against a real
//! kube-apiserver first: what it expects is what Kubernetes does.

use anyhow::Result;
use hanse_e2e::kubectl::Kubectl;
use hanse_e2e::site::Site;
use hanse_e2e::{script, tools};

#[tokio::test(flavor = "multi_thread")]
async fn the_script_says_what_kubernetes_does() -> Result<()> {
    let mut site = Site::apiserver("script", &[]).await?;
    site.start_controllers()?;
    let mut lines = Vec::new();
    for set in tools::kubectls() {
        let findings = script::run(&Kubectl::of_set(&set, &site.kubeconfig())?).await?;
        lines.extend(findings.into_iter().map(|line| format!("{set}: {line}")));
    }
    assert!(lines.is_empty(), "{}", lines.join("\n"));
    Ok(())
}
