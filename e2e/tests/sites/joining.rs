//! Who may join, what a syncer's certificate opens, and that it is renewed.

use std::time::Duration;

use anyhow::{Result, anyhow};
use hanse_e2e::fleet::{PATIENCE, PLATFORM};
use hanse_e2e::http::Client;
use hanse_e2e::hub::Syncer;
use hanse_e2e::wait;
use serde_json::{Value, json};

use super::{MAPS, Pair, map, maps};

/// Life of the far site's certificates: renewed after two thirds of it.
pub const CERTIFICATE_SECONDS: u64 = 60;

pub async fn one_token_joins_one_cluster_and_reaches_nothing_else(pair: &mut Pair) -> Result<()> {
    let tenant = pair.tenant("tokens", &[], maps(), &["near"]).await?;
    tenant.apply(&map("a", "1").to_string()).await?;
    let fleet = &pair.fleet;
    fleet.below("near", "tokens", (MAPS, "a"), |_| true).await?;
    let member = fleet.site("near")?;
    // The same token again, from another directory: another key, so another request.
    let again = fleet.hub.scratch().join("again");
    std::fs::create_dir_all(&again)?;
    let text = |path: &std::path::Path| path.display().to_string();
    let start =
        |state: &std::path::Path, bootstrap: &std::path::Path, cluster: &std::path::Path| {
            Syncer::start(
                &[
                    "--hub-kubeconfig",
                    &text(bootstrap),
                    "--site-kubeconfig",
                    &text(cluster),
                    "--state-dir",
                    &text(state),
                ],
                &state.join("syncer.log"),
            )
        };
    let bootstrap = member.state.join("bootstrap.kubeconfig");
    let _used = start(&again, &bootstrap, &member.kubeconfig)?;
    says(&again, "this token has been used").await?;
    // A fresh token, but another cluster.
    let second = fleet.hub.scratch().join("second");
    std::fs::create_dir_all(&second)?;
    let file = second.join("bootstrap.kubeconfig");
    std::fs::write(&file, fleet.bootstrap("near", member.relay.port).await?)?;
    let _other = start(&second, &file, &pair.far.kubeconfig())?;
    says(&second, "has been joined by cluster").await?;
    // The syncer's certificate opens its inbox and nothing else.
    let kept = std::fs::read_to_string(member.state.join("identity.json"))?;
    let kept: Value = serde_json::from_str(&kept)?;
    let part = |key: &str| kept[key].as_str().unwrap_or_default().to_owned();
    let inbox = part("server")
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    let mut access = fleet.hub.access()?;
    access.token = None;
    access.client = Some((part("certificate"), part("key")));
    let client = Client::connect(&access)?;
    let get = async |path: String| -> Result<u16> { Ok(client.get(&path).await?.status.as_u16()) };
    let manifests = "apis/sites.hanse.dev/v1alpha1/manifests";
    let shop = fleet.cluster_of("tokens").await?;
    assert_eq!(get(format!("/clusters/{inbox}/{manifests}")).await?, 200);
    // It may ask how its tree differs, and only there; the answer is stored nowhere.
    let ask = json!({
        "apiVersion": "sites.hanse.dev/v1alpha1", "kind": "Comparison",
        "metadata": {"name": "syncer"}, "spec": {"buckets": vec!["0".repeat(32); 256]},
    });
    let compare =
        |cluster: &str| format!("/clusters/{cluster}/apis/sites.hanse.dev/v1alpha1/comparisons");
    let told = client.post(&compare(&inbox), &ask).await?.success()?;
    let told = &told["status"];
    assert!(
        told["version"].is_string() && told["root"].is_string(),
        "{told}"
    );
    assert!(
        told["buckets"][0]["leaves"][0]["name"].is_string(),
        "{told}"
    );
    let refused = client.post(&compare(&shop), &ask).await?;
    assert_eq!(refused.status.as_u16(), 403);
    let elsewhere = [
        format!("/clusters/{inbox}/api/v1/secrets"),
        format!("/clusters/{shop}/{MAPS}"),
        format!("/clusters/{shop}/{manifests}"),
        format!("/clusters/{PLATFORM}/apis/sites.hanse.dev/v1alpha1/sites"),
        format!("/clusters/*/{manifests}"),
    ];
    for path in elsewhere {
        assert_eq!(get(path.clone()).await?, 403, "{path}");
    }
    Ok(())
}

/// Waits until an agent's log says something.
async fn says(state: &std::path::Path, words: &str) -> Result<()> {
    wait::until(words, PATIENCE, async || {
        let log = std::fs::read_to_string(state.join("syncer.log"))?;
        match log.contains(words) {
            true => Ok(()),
            false => Err(anyhow!("{log}")),
        }
    })
    .await
}

pub async fn a_certificate_is_renewed_while_its_site_works(pair: &mut Pair) -> Result<()> {
    let file = pair.fleet.site("far")?.state.join("identity.json");
    let certificate = || -> Result<Value> {
        let kept: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
        Ok(kept["certificate"].clone())
    };
    let first = &pair.fleet.site("far")?.first_certificate;
    let patience = Duration::from_secs(CERTIFICATE_SECONDS);
    wait::until("another certificate", patience, async || {
        match certificate()? == first.as_str() {
            true => Err(anyhow!("still the first")),
            false => Ok(()),
        }
    })
    .await?;
    pair.fleet.contact("far", "Live").await
}
