//! Either side is killed while it works, at moments that a seed chooses; in the end the site has
//! exactly what the workspace has.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use hanse_e2e::fleet::{Fleet, PATIENCE, PLATFORM};
use hanse_e2e::http::Client;
use hanse_e2e::wait;
use serde_json::{Value, json};

use super::{MAPS, OWN_MAPS, Pair, map, maps};

/// Objects that a round touches.
const TOUCHED: u64 = 12;

/// Small numbers out of a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn dice() -> (u64, Dice) {
    let seed = number("HANSE_SEED", 1);
    (seed, Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1))
}

/// Names and values of the ConfigMaps of a list that tenants made and have not deleted.
fn contents(list: &Value) -> BTreeMap<String, String> {
    let items = list["items"].as_array().into_iter().flatten();
    items
        .filter(|m| m["metadata"].get("deletionTimestamp").is_none())
        .filter(|m| m["metadata"]["name"] != "kube-root-ca.crt")
        .map(|m| {
            let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
            (text(&m["metadata"]["name"]), text(&m["data"]["value"]))
        })
        .collect()
}

/// Waits until a site has exactly what a tenant's workspace has.
async fn equal(fleet: &Fleet, tenant: &str, above: &Client) -> Result<BTreeMap<String, String>> {
    let cluster = fleet.cluster_of(tenant).await?;
    wait::until("above and below are equal", PATIENCE, async || {
        let all = fleet.namespaces("near").await?;
        let namespace = all
            .get(&(cluster.clone(), "default".to_owned()))
            .context("its namespace is not there")?;
        let path = format!("/api/v1/namespaces/{namespace}/configmaps");
        let below = fleet.site("near")?.client.get(&path).await?.success()?;
        let wanted = contents(&above.get(OWN_MAPS).await?.success()?);
        let found = contents(&below);
        match wanted == found {
            true => Ok(found),
            false => Err(anyhow!("above {wanted:?}\nbelow {found:?}")),
        }
    })
    .await
}

/// One round of a roll-out: objects made, changed and deleted, one after the other.
async fn roll_out(
    above: &Client,
    dice: &mut Dice,
    round: u64,
    wanted: &mut BTreeMap<String, String>,
) -> Result<()> {
    for n in 0..TOUCHED {
        let value = format!("{round}-{n}");
        let old: Vec<String> = wanted.keys().cloned().collect();
        let pick = old.get(usize::try_from(dice.roll(old.len().max(1) as u64))?);
        match (dice.roll(4), pick) {
            (0, Some(name)) => {
                above
                    .delete(&format!("{OWN_MAPS}/{name}"))
                    .await?
                    .success()?;
                wanted.remove(name);
            }
            (1, Some(name)) => {
                let path = format!("{OWN_MAPS}/{name}");
                let body = json!({"data": {"value": value}});
                let kind = "application/merge-patch+json";
                above.patch(&path, kind, &body).await?.success()?;
                wanted.insert(name.clone(), value);
            }
            _ => {
                let name = format!("r{round}-{n}");
                above.post(OWN_MAPS, &map(&name, &value)).await?.success()?;
                wanted.insert(name, value);
            }
        }
    }
    Ok(())
}

pub async fn the_syncer_may_die_at_any_moment_of_a_roll_out(pair: &mut Pair) -> Result<()> {
    let (seed, mut dice) = dice();
    pair.tenant("rolls", &[], maps(), &["near"]).await?;
    let above = pair.client("rolls")?;
    let mut wanted = BTreeMap::new();
    for round in 0..number("HANSE_ROUNDS", 6) {
        let (dies, stays) = (dice.roll(150), dice.roll(120));
        let member = pair.fleet.site_mut("near")?;
        let death = async {
            tokio::time::sleep(Duration::from_millis(dies)).await;
            member.syncer.kill()?;
            tokio::time::sleep(Duration::from_millis(stays)).await;
            member.syncer.resume()
        };
        let rolled = roll_out(&above, &mut dice, round, &mut wanted);
        let (death, rolled) = tokio::join!(death, rolled);
        death.and(rolled)?;
        // Sometimes the next death comes before everything is in place.
        if round % 2 == 0 {
            let found = equal(&pair.fleet, "rolls", &above).await;
            let found = found.with_context(|| format!("seed {seed}, round {round}"))?;
            ensure!(found == wanted, "seed {seed}: {found:?}\n{wanted:?}");
        }
    }
    let found = equal(&pair.fleet, "rolls", &above).await;
    let found = found.with_context(|| format!("seed {seed}"))?;
    ensure!(found == wanted, "seed {seed}: {found:?}\n{wanted:?}");
    pair.fleet.contact("near", "Live").await?;
    // Equal roots prove it without looking at a single object.
    let platform = pair.fleet.hub.kubectl(PLATFORM)?;
    let wait = [
        "wait",
        "--for=condition=Converged",
        "--timeout=60s",
        "site",
        "near",
    ];
    platform.ok(&wait).await.map(|_| ())
}

pub async fn the_hub_may_die_at_any_moment_of_a_roll_out(pair: &mut Pair) -> Result<()> {
    let (seed, mut dice) = dice();
    pair.tenant("hubs", &[], maps(), &["near"]).await?;
    let mut acknowledged = BTreeMap::new();
    for round in 0..number("HANSE_ROUNDS", 3).min(20) {
        let above = pair.client("hubs")?;
        let dies = 20 + dice.roll(200);
        let fleet = &mut pair.fleet;
        let death = async {
            tokio::time::sleep(Duration::from_millis(dies)).await;
            fleet.hub.kill()
        };
        let writes = async {
            let mut told = Vec::new();
            for n in 0.. {
                let (name, value) = (format!("r{round}-{n}"), format!("{round}"));
                let answer = above.post(OWN_MAPS, &map(&name, &value)).await;
                match answer.and_then(hanse_e2e::http::Answer::success) {
                    Ok(_) => told.push((name, value)),
                    Err(_) => return told,
                }
            }
            told
        };
        let (death, told) = tokio::join!(death, writes);
        death?;
        acknowledged.extend(told);
        fleet.hub.resume().await?;
        let above = pair.client("hubs")?;
        let found = equal(&pair.fleet, "hubs", &above).await;
        let found = found.with_context(|| format!("seed {seed}, round {round}"))?;
        for (name, value) in &acknowledged {
            let there = found.get(name) == Some(value);
            ensure!(there, "{name} is lost (seed {seed}, round {round})");
        }
    }
    ensure!(!acknowledged.is_empty(), "nothing was written");
    pair.fleet.contact("near", "Live").await
}

pub async fn drift_is_repaired_without_a_hub_and_over_a_restart(pair: &mut Pair) -> Result<()> {
    let tenant = pair.tenant("drift", &[], maps(), &["near"]).await?;
    tenant.apply(&map("a", "1").to_string()).await?;
    let fleet = &mut pair.fleet;
    let below = fleet.below("near", "drift", (MAPS, "a"), |_| true).await?;
    let namespace = below["metadata"]["namespace"].as_str().unwrap_or_default();
    let path = format!("/api/v1/namespaces/{namespace}/configmaps/a");
    fleet.hub.kill()?;
    let client = pair.near.client()?;
    let again = async |why: &str| {
        client.delete(&path).await?.success()?;
        wait::until(why, PATIENCE, async || client.get(&path).await?.success()).await
    };
    again("made again without a hub").await?;
    let member = fleet.site_mut("near")?;
    member.syncer.kill()?;
    member.syncer.resume()?;
    again("made again after a restart without a hub").await?;
    fleet.hub.resume().await?;
    fleet.contact("near", "Live").await?;
    let found = fleet.below("near", "drift", (MAPS, "a"), |_| true).await?;
    ensure!(found["data"]["value"] == "1", "{found}");
    Ok(())
}
