//! The hub as a process: it starts on nothing, stops cleanly, and comes back from being killed
//! with everything that it had acknowledged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hanse_e2e::http::Client;
use hanse_e2e::hub::Hub;
use hanse_e2e::kubeconfig::Access;
use hanse_e2e::site::TokenUser;
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Writers at once while the hub is killed.
const WRITERS: usize = 8;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_stops_cleanly_and_starts_on_what_it_had() -> Result<()> {
    let mut hub = Hub::start().await?;
    let cluster = hub.workspace("root", "kept", "universal").await?;
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let before = hub
        .cluster("root:kept")?
        .post(CONFIG_MAPS, &object)
        .await?
        .success()?;
    hub.stop()?;
    hub.resume().await?;
    let path = format!("{CONFIG_MAPS}/a");
    let after = hub.cluster(&cluster)?.get(&path).await?.success()?;
    ensure!(before == after, "before: {before}\nafter: {after}");
    // Outside of every logical cluster only `system:masters` may see more than its health.
    let mut masters = Access::read(&hub.kubeconfig(), Some("system:admin"))?;
    masters.server = hub.access()?.server;
    let masters = Client::connect(&masters)?;
    for path in ["/livez", "/readyz", "/healthz"] {
        let answer = hub.client()?.get(path).await?;
        ensure!(answer.status.is_success(), "{path}: {}", answer.status);
    }
    ensure!(hub.client()?.get("/version").await?.status == 403);
    for path in ["/version", "/metrics"] {
        let answer = masters.get(path).await?;
        ensure!(answer.status.is_success(), "{path}: {}", answer.status);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_being_killed() -> Result<()> {
    let (seed, rounds) = (number("HANSE_SEED", 1), number("HANSE_ROUNDS", 5));
    let mut hub = Hub::start().await?;
    hub.workspace("root", "crash", "universal").await?;
    let mut expected = BTreeSet::new();
    let mut version = list(&hub.cluster("root:crash")?).await?.1;
    for round in 0..rounds {
        // Any moment will do; the seed only makes moments differ between runs.
        let lifetime = 20 + (seed.wrapping_mul(2_654_435_761).wrapping_add(round * 7_919)) % 300;
        let acknowledged = write_until_killed(&mut hub, round, lifetime).await?;
        hub.resume()
            .await
            .with_context(|| format!("seed {seed}, round {round}"))?;
        let client = hub.cluster("root:crash")?;
        let (found, now) = list(&client).await?;
        for name in acknowledged.iter().chain(&expected) {
            ensure!(
                found.contains(name),
                "{name} is lost (seed {seed}, round {round})"
            );
        }
        let seen = watch(&client, &version, found.difference(&expected).count()).await?;
        let news: Vec<String> = found.difference(&expected).cloned().collect();
        let mut sorted = seen.clone();
        sorted.sort();
        ensure!(
            sorted == news,
            "the watch says {seen:?}, the list {news:?} (seed {seed})"
        );
        (expected, version) = (found, now);
    }
    Ok(())
}

/// Creates objects from several connections, kills the hub after a while, and answers the names
/// whose creation was acknowledged.
async fn write_until_killed(hub: &mut Hub, round: u64, lifetime_ms: u64) -> Result<Vec<String>> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (client, stop) = (hub.cluster("root:crash")?, stop.clone());
        writers.push(tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for index in 0.. {
                let name = format!("r{round}-w{writer}-{index}");
                let object = json!({
                    "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
                    "data": {"whole": "x".repeat(200), "end": name},
                });
                match client.post(CONFIG_MAPS, &object).await {
                    Ok(answer) if answer.status == 201 => acknowledged.push(name),
                    _ if stop.load(Ordering::Acquire) => break,
                    // The connection broke a moment before the flag was set.
                    _ => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
            acknowledged
        }));
    }
    tokio::time::sleep(Duration::from_millis(lifetime_ms)).await;
    hub.kill()?;
    stop.store(true, Ordering::Release);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await?);
    }
    Ok(acknowledged)
}

/// The names of all objects, each of them whole, and the version of the list.
async fn list(client: &Client) -> Result<(BTreeSet<String>, String)> {
    let list = client.get(CONFIG_MAPS).await?.success()?;
    let mut names = BTreeSet::new();
    for item in list["items"].as_array().into_iter().flatten() {
        let name = item["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if name.starts_with('r') {
            ensure!(item["data"]["end"] == *name, "half an object: {item}");
            names.insert(name);
        }
    }
    let version = list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default();
    Ok((names, version.to_owned()))
}

/// The names that a watch from this version says were added, until it has said as many.
async fn watch(client: &Client, version: &str, count: usize) -> Result<Vec<String>> {
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}&timeoutSeconds=5");
    let accept = [("accept", "application/json")];
    let response = client
        .open(Method::GET, &path, &accept, None, Default::default())
        .await?;
    ensure!(
        response.status().is_success(),
        "watch: {}",
        response.status()
    );
    let (mut body, mut rest, mut names) = (response.into_body(), Vec::new(), Vec::new());
    while names.len() < count
        && let Some(frame) = body.frame().await
    {
        if let Ok(data) = frame?.into_data() {
            rest.extend_from_slice(&data);
        }
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let event: Value = serde_json::from_slice(&rest[..=end])?;
            rest.drain(..=end);
            ensure!(event["type"] == "ADDED", "{event}");
            let name = event
                .pointer("/object/metadata/name")
                .and_then(Value::as_str);
            names.push(name.unwrap_or_default().to_owned());
        }
    }
    Ok(names)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_reaches_no_further_than_its_workspace() -> Result<()> {
    let users = [
        TokenUser {
            token: "ann-token",
            user: "ann",
            groups: &[],
        },
        TokenUser {
            token: "bob-token",
            user: "bob",
            groups: &[],
        },
    ];
    let hub = Hub::start_with(&users).await?;
    for (name, owner) in [("anns", "ann"), ("bobs", "bob")] {
        hub.workspace("root", name, "universal").await?;
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "owner"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [{
                "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": owner,
            }],
        });
        let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
        hub.cluster(&format!("root:{name}"))?
            .post(path, &binding)
            .await?
            .success()?;
    }
    let ann = |path: &str| -> Result<Client> {
        Client::connect(&hub.cluster_access(path)?.with_token(Some("ann-token")))
    };
    let own = ann("root:anns")?.get("/api/v1/namespaces").await?;
    ensure!(own.status == 200, "her own workspace: {}", own.status);
    for (path, what) in [
        ("root:bobs", "another's workspace"),
        ("*", "the wildcard"),
        ("system:admin", "the system's cluster"),
        ("root", "the parent"),
    ] {
        let answer = ann(path)?.get("/api/v1/namespaces").await?;
        ensure!(
            answer.status == 403,
            "{what}: {} {}",
            answer.status,
            answer.json()
        );
        ensure!(
            answer.json()["reason"] == "Forbidden",
            "{what}: {}",
            answer.json()
        );
    }
    Ok(())
}
