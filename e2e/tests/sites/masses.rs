//! A bad selector is one word; what it would take away waits for the operator.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use hanse_e2e::fleet::{PATIENCE, PLATFORM};
use hanse_e2e::wait;
use serde_json::{Value, json};

use super::{MAPS, Pair, map, maps};

const OBJECTS: usize = 12;
/// Between two looks, of which both must say the same.
const PAUSE: Duration = Duration::from_secs(2);

pub async fn a_mass_change_is_parked_until_the_operator_confirms(pair: &mut Pair) -> Result<()> {
    let tenant = pair.tenant("many", &[], maps(), &["far"]).await?;
    for n in 0..OBJECTS {
        tenant
            .apply(&map(&format!("m{n}"), "1").to_string())
            .await?;
    }
    let fleet = &pair.fleet;
    let last = format!("m{}", OBJECTS - 1);
    fleet.below("far", "many", (MAPS, &last), |_| true).await?;
    let platform = fleet.hub.kubectl(PLATFORM)?;
    let guard = json!({"spec": {"massChange": {"sharePercent": 20, "atLeast": 5}}}).to_string();
    let words = ["patch", "site", "far", "--type=merge", "-p", &guard];
    platform.ok(&words).await?;
    // The agent learns of it with its next sign of life.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let select = async |site: &str| {
        let patch = json!({"spec": {"sites": {"names": [site]}}}).to_string();
        let words = ["patch", "placement", "here", "--type=merge", "-p", &patch];
        tenant.ok(&words).await
    };
    // How many are parked, once no more come; some may have gone before it was a mass.
    let parked = async || {
        let mut last = String::new();
        wait::until_every(PAUSE, "a parked change", PATIENCE, async || {
            let words = ["get", "site", "far", "-o", "jsonpath={.status.parked}"];
            let text = platform.ok(&words).await?;
            let number = text.split(' ').next().and_then(|n| n.parse::<usize>().ok());
            match number {
                Some(number) if text == last => Ok(number),
                _ => {
                    last.clone_from(&text);
                    Err(anyhow!("{text:?}"))
                }
            }
        })
        .await
    };
    let freed = async || {
        let unparked = [
            "wait",
            "--for=condition=Parked=false",
            "--timeout=60s",
            "site",
            "far",
        ];
        platform.ok(&unparked).await
    };
    let cluster = fleet.cluster_of("many").await?;
    let before = uids(pair, &cluster).await?;
    ensure!(before.len() == OBJECTS, "{before:?}");
    select("nowhere").await?;
    let number = parked().await?;
    let there = uids(pair, &cluster).await?;
    ensure!(
        there.len() == number,
        "{number} are parked, {} are there",
        there.len()
    );
    ensure!(number * 2 > OBJECTS, "most of them are parked: {number}");
    // Put right: what was parked was never touched, and the rest comes back.
    select("far").await?;
    freed().await?;
    super::silence::left(pair, "far", &cluster, OBJECTS).await?;
    let after = uids(pair, &cluster).await?;
    ensure!(
        there.iter().all(|uid| after.contains(uid)),
        "{there:?} {after:?}"
    );
    // Meant: the operator says so.
    select("nowhere").await?;
    parked().await?;
    let words = ["site", "confirm", "far", "--yes"];
    let printed = fleet.hanse(PLATFORM, &words).await?;
    ensure!(printed.contains("may go"), "{printed}");
    freed().await?;
    super::silence::left(pair, "far", &cluster, 0).await
}

/// The uids of a workspace's ConfigMaps at the far site.
async fn uids(pair: &Pair, cluster: &str) -> Result<BTreeSet<String>> {
    let member = pair.fleet.site("far")?;
    let list = member.client.get(&format!("/{MAPS}")).await?.success()?;
    let items = list["items"].as_array().into_iter().flatten();
    let ours = items.filter(|m| {
        let mark = &m["metadata"]["annotations"]["sites.hanse.dev/locator"];
        mark.as_str().is_some_and(|text| text.contains(cluster))
    });
    let uid = |m: &Value| m["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    Ok(ours.map(uid).collect())
}
