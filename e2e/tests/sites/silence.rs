//! A site that falls silent: what is said of it, and what does not wait for it.

use anyhow::{Result, anyhow};
use hanse_e2e::fleet::{PATIENCE, PLATFORM, line};
use hanse_e2e::wait;

use super::{MAPS, OWN_MAPS, Pair, map, maps};

pub async fn a_silent_site_is_told_and_holds_up_no_deletion(pair: &mut Pair) -> Result<()> {
    let tenant = pair.tenant("lonely", &[], maps(), &["near", "far"]).await?;
    tenant.apply(&map("a", "1").to_string()).await?;
    let fleet = &pair.fleet;
    for site in ["near", "far"] {
        fleet.below(site, "lonely", (MAPS, "a"), |_| true).await?;
    }
    let cluster = fleet.cluster_of("lonely").await?;
    let path = format!("{OWN_MAPS}/a");
    fleet.above("lonely", &path, |m| line(m) == "2/2").await?;
    let shown = async |words: &[&str], wanted: &str| {
        wait::until(wanted, PATIENCE, async || {
            let printed = tenant.ok(words).await?;
            match printed.contains(wanted) {
                true => Ok(()),
                false => Err(anyhow!("{printed}")),
            }
        })
        .await
    };
    let (maps, projections) = (&["get", "configmap", "a"], &["get", "projections"]);
    shown(maps, "2/2").await?;
    fleet.site("near")?.relay.cut(true);
    // Late is nowhere written, and shown by plain kubectl.
    shown(maps, "2/2 (1 late ").await?;
    shown(projections, "2/2 (1 late ").await?;
    shown(maps, "1/2 (1 unknown ").await?;
    shown(projections, "1/2 (1 unknown ").await?;
    fleet.contact("near", "Lost").await?;
    // Nobody waits for a site that may never answer.
    let platform = fleet.hub.kubectl(PLATFORM)?;
    let words = ["delete", "workspace", "lonely", "--timeout=60s"];
    platform.ok(&words).await?;
    left(pair, "far", &cluster, 0).await?;
    left(pair, "near", &cluster, 1).await?;
    // When it answers again, it learns what it missed.
    fleet.site("near")?.relay.cut(false);
    fleet.contact("near", "Live").await?;
    left(pair, "near", &cluster, 0).await
}

/// Waits until so many ConfigMaps of a workspace are left at a site. (Its namespaces stay: nothing
/// but an API server runs there, and so nobody empties them.)
pub async fn left(pair: &Pair, site: &str, cluster: &str, wanted: usize) -> Result<()> {
    let what = format!("{wanted} ConfigMaps of {cluster} at {site}");
    let mark = "sites.hanse.dev/locator";
    wait::until(&what, PATIENCE, async || {
        let member = pair.fleet.site(site)?;
        let list = member.client.get(&format!("/{MAPS}")).await?.success()?;
        let items = list["items"].as_array().into_iter().flatten();
        let locators = items.filter_map(|m| m["metadata"]["annotations"][mark].as_str());
        let found = locators.filter(|text| text.contains(cluster)).count();
        match found == wanted {
            true => Ok(()),
            false => Err(anyhow!("{found}")),
        }
    })
    .await
}
