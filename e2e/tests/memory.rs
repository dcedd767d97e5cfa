//! A server that may have 256 MiB: 200 workspaces with all that they can do, and clients that ask
//! for more memory than there is. What does not fit is refused with 429 and a time to come again;
//! the server never dies of it, and takes writes again once there is room.
//!
//! Where control groups can be made, the limit is the kernel's, and the server finds it by itself;
//! elsewhere it is told by `--memory-limit`. `HANSE_ROUNDS` (a soak) repeats the hostile part.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use hanse_e2e::cgroup::Group;
use hanse_e2e::http::Client;
use hanse_e2e::hub::Hub;
use hanse_e2e::wait;
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};

const LIMIT: u64 = 256 << 20;
const WORKSPACES: usize = 200;
const CALLERS: usize = 8;
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// How long the hostile ones go on in one round.
const LENGTH: Duration = Duration::from_secs(4);
/// How long it may take until memory is given back.
const RECOVERY_TIME_MAX: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_workspaces_live_in_256_mib_and_nothing_kills_them() -> Result<()> {
    // One thread for all clients: what they do is wait.
    tokio::task::LocalSet::new().run_until(live()).await
}

async fn live() -> Result<()> {
    let group = Group::with_memory(LIMIT);
    let limit = format!("--memory-limit={LIMIT}");
    let hub = match &group {
        Some(group) => Hub::start_behind(&group.prefix(), &[], &[]).await?,
        None => Hub::start_args(&[], &[&limit]).await?,
    };
    println!("control group: {}", group.is_some());
    let told = metric(&hub, "hanse_limit_max{limit=\"memory_bytes\"}").await?;
    ensure!(
        told == LIMIT as f64,
        "the server thinks it may have {told} bytes"
    );
    let hub = Arc::new(hub);
    workspaces(&hub).await?;
    let resident = hub.process()?.resident_kib()? >> 10;
    println!("{WORKSPACES} workspaces: {resident} MiB");
    let rounds = std::env::var("HANSE_ROUNDS").ok();
    let rounds: usize = rounds.and_then(|text| text.parse().ok()).unwrap_or(1);
    for round in 0..rounds {
        hostile(&hub)
            .await
            .with_context(|| format!("round {round}"))?;
        recovered(&hub)
            .await
            .with_context(|| format!("round {round}"))?;
    }
    let mut checked = 0;
    for number in (0..WORKSPACES).step_by(40) {
        function(&hub, number, "after").await?;
        checked += 1;
    }
    let kills = group.as_ref().and_then(Group::kills);
    let peak = group
        .as_ref()
        .and_then(Group::peak)
        .map(|bytes| bytes >> 20);
    println!("{checked} looked at again, peak {peak:?} MiB with caches, kills {kills:?}");
    ensure!(kills.unwrap_or(0) == 0, "the kernel killed it");
    Arc::into_inner(hub).context("still in use")?.stop()
}

/// A number of the server's metrics.
async fn metric(hub: &Hub, name: &str) -> Result<f64> {
    let page = hub.client()?.get("/metrics").await?.body;
    let page = String::from_utf8_lossy(&page).into_owned();
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    Ok(line.with_context(|| format!("no {name}"))?.trim().parse()?)
}

async fn workspaces(hub: &Arc<Hub>) -> Result<()> {
    let mut tasks = Vec::new();
    for caller in 0..CALLERS {
        let hub = Arc::clone(hub);
        tasks.push(tokio::task::spawn_local(async move {
            for number in (caller..WORKSPACES).step_by(CALLERS) {
                let name = format!("ws-{number}");
                hub.workspace("root", &name, "universal").await?;
                function(&hub, number, "before").await?;
            }
            Ok::<_, anyhow::Error>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// What a workspace is for: namespaces, objects, apply, a watch, a kind of its own, deletion.
async fn function(hub: &Hub, number: usize, when: &str) -> Result<()> {
    let client = hub.cluster(&format!("root:ws-{number}"))?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": when}});
    client
        .post("/api/v1/namespaces", &namespace)
        .await?
        .success()?;
    let path = format!("/api/v1/namespaces/{when}/configmaps");
    let watch = client
        .open(
            Method::GET,
            &format!("{path}?watch=1"),
            &[],
            None,
            Bytes::new(),
        )
        .await?;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "one"}, "data": {"a": "1"}});
    let applied = client
        .patch(
            &format!("{path}/one?fieldManager=test"),
            "application/apply-patch+yaml",
            &map,
        )
        .await?;
    applied.success()?;
    let mut body = watch.into_body();
    let event = tokio::time::timeout(Duration::from_secs(10), body.frame()).await;
    let frame = event.context("no event")?.context("the watch ended")??;
    let data = frame.into_data().unwrap_or_default();
    ensure!(data.starts_with(b"{\"type\":\"ADDED\""), "{data:?}");
    if number.is_multiple_of(20) {
        own_kind(&client, when).await?;
    }
    client.delete(&format!("{path}/one")).await?.success()?;
    Ok(())
}

async fn own_kind(client: &Client, when: &str) -> Result<()> {
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let plural = format!("things{when}");
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.example.com")},
        "spec": {
            "group": "example.com", "scope": "Cluster",
            "names": {"plural": plural, "singular": format!("thing{when}"),
                "kind": format!("Thing{when}"), "listKind": format!("Thing{when}List")},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema":
                {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object",
                    "properties": {"size": {"type": "integer"}},
                    "x-kubernetes-validations": [{"rule": "self.size < 10"}]}}}}}],
        },
    });
    client.post(definitions, &definition).await?.success()?;
    let path = format!("/apis/example.com/v1/{plural}");
    let often = Duration::from_secs(20);
    wait::until("the kind served", often, async || {
        let thing = json!({"apiVersion": "example.com/v1", "kind": format!("Thing{when}"),
            "metadata": {"name": "a"}, "spec": {"size": 3}});
        client.post(&path, &thing).await?.success().map(drop)
    })
    .await?;
    let large = json!({"apiVersion": "example.com/v1", "kind": format!("Thing{when}"),
        "metadata": {"name": "b"}, "spec": {"size": 30}});
    let refused = client.post(&path, &large).await?;
    ensure!(refused.status == 422, "{}", refused.status);
    Ok(())
}

/// Asks for memory in every way there is, all at once.
async fn hostile(hub: &Arc<Hub>) -> Result<()> {
    // Watches that nobody reads.
    let mut silent = Vec::new();
    for _ in 0..100 {
        let client = hub.cluster("root:ws-0")?;
        let path = format!("{MAPS}?watch=1");
        silent.push(
            client
                .open(Method::GET, &path, &[], None, Bytes::new())
                .await?,
        );
    }
    let until = Instant::now() + LENGTH;
    let mut tasks = Vec::new();
    for caller in 0..24 {
        let client = hub.cluster("root:ws-0")?;
        tasks.push(tokio::task::spawn_local(async move {
            let mut answers = [0_usize; 6];
            for round in 0.. {
                if Instant::now() > until {
                    break;
                }
                let answer = greedy(&client, caller, round).await?;
                answers[usize::from(answer / 100).min(5)] += 1;
                ensure!(answer < 500 || answer == 503, "told {answer}");
            }
            Ok(answers)
        }));
    }
    let polite = hub.cluster("root:ws-1")?;
    let mut asked = 0;
    while Instant::now() < until {
        let status = polite
            .get(&format!("{MAPS}/kube-root-ca.crt"))
            .await?
            .status;
        ensure!(
            status == 200 || status == 429,
            "a polite client was told {status}"
        );
        asked += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut all = [0; 6];
    for task in tasks {
        let answers: [usize; 6] = task.await??;
        (0..6).for_each(|class| all[class] += answers[class]);
    }
    let resident = hub.process()?.resident_kib()? >> 10;
    println!(
        "greedy: {} took, {} refused; {asked} polite; {resident} MiB",
        all[2], all[4]
    );
    drop(silent);
    ensure!(
        asked > 0 && all[4] > 0,
        "nobody was refused, or nobody polite asked"
    );
    ensure!(hub.client()?.get("/readyz").await?.status == 200);
    Ok(())
}

/// One greedy request; answers its status.
async fn greedy(client: &Client, caller: usize, round: usize) -> Result<u16> {
    let post =
        |media: &'static str, body: Bytes| client.call(Method::POST, MAPS, &[], Some(media), body);
    let answer = match caller % 6 {
        // Objects that stay, as large as they may be.
        0 | 1 => {
            client
                .post(MAPS, &large(&format!("large-{caller}-{round}")))
                .await?
        }
        // Documents that are small and make large trees.
        2 => {
            let many = "{\"a\":1},".repeat(390_000);
            post("application/json", format!("{{\"x\":[{many}0]}}").into()).await?
        }
        3 => post("application/yaml", "- a: {b: 1}\n".repeat(200_000).into()).await?,
        // Everything at once, in the form that takes most.
        4 => client.get(&format!("{MAPS}?pretty=true")).await?,
        _ => {
            let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
            client
                .call(Method::GET, MAPS, &table, None, Bytes::new())
                .await?
        }
    };
    Ok(answer.status.as_u16())
}

fn large(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"large": "yes"}},
        "data": {"a": "x".repeat(1_000_000)}})
}

/// Everything is deleted, which goes on at any time, and then there is room again.
async fn recovered(hub: &Hub) -> Result<()> {
    let client = hub.cluster("root:ws-0")?;
    wait::until("room to delete", RECOVERY_TIME_MAX, async || {
        let all = format!("{MAPS}?labelSelector=large%3Dyes");
        let status = client.delete(&all).await?.status;
        if status != 200 {
            bail!("{status}");
        }
        Ok(())
    })
    .await?;
    wait::until("room to write", RECOVERY_TIME_MAX, async || {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata":
            {"generateName": "again-"}});
        client.post(MAPS, &map).await?.success().map(drop)
    })
    .await
}
