//! Real APIs that nobody here wrote, Gateway API and cert-manager: a physical cluster takes them.

use anyhow::{Result, anyhow};
use hanse_e2e::site::Site;
use hanse_e2e::tools;

#[tokio::test(flavor = "multi_thread")]
async fn a_site_takes_the_third_party_apis() -> Result<()> {
    let site = Site::apiserver("third-party", &[]).await?;
    let kubectl = site.kubectl()?;
    for crds in tools::crds() {
        let files = crds.files().map_err(|advice| anyhow!(advice))?;
        assert!(!files.is_empty(), "{} has no CRDs", crds.name);
        for file in files {
            let file = file.display().to_string();
            kubectl.ok(&["apply", "--server-side", "-f", &file]).await?;
        }
    }
    kubectl
        .ok(&[
            "wait",
            "crd",
            "--all",
            "--for=condition=Established",
            "--timeout=60s",
        ])
        .await?;
    Ok(())
}
