//! The way to the sites and what can go wrong on it, with real clusters: each test is a story that
//! a tenant or an operator would tell.

use std::time::Duration;

use anyhow::{Result, anyhow};
use hanse_e2e::fleet::{Fleet, PATIENCE, PLATFORM, line};
use hanse_e2e::http::Client;
use hanse_e2e::hub::Syncer;
use hanse_e2e::kubectl::Kubectl;
use hanse_e2e::site::Site;
use hanse_e2e::wait;
use serde_json::{Value, json};

const MAPS: &str = "api/v1/configmaps";
const DEPLOYMENTS: &str = "apis/apps/v1/deployments";
const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";

fn placement(resources: Value) -> String {
    json!({
        "apiVersion": "sites.hanse.dev/v1alpha1", "kind": "Placement",
        "metadata": {"name": "everywhere"}, "spec": {"objects": resources},
    })
    .to_string()
}

fn map(name: &str, value: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"}, "data": {"value": value},
    })
    .to_string()
}

fn deployment(replicas: u32, extra: Value) -> String {
    let mut container = json!({"name": "web", "image": "registry.invalid/web"});
    if let (Some(to), Some(from)) = (container.as_object_mut(), extra.as_object()) {
        to.extend(from.clone());
    }
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]},
            },
        },
    })
    .to_string()
}

/// One site that has joined, and a tenant who may place ConfigMaps and Deployments.
async fn one() -> Result<(Fleet, Site, Kubectl)> {
    let site = Site::apiserver("edge", &[]).await?;
    let mut fleet = Fleet::start().await?;
    fleet.join("edge", &site.kubeconfig()).await?;
    import(&fleet, &site).await?;
    let tenant = fleet.tenant("shop", &["kubernetes"]).await?;
    let both = json!([
        {"resource": "configmaps"}, {"group": "apps", "resource": "deployments"},
    ]);
    tenant.apply(&placement(both)).await?;
    Ok((fleet, site, tenant))
}

async fn import(fleet: &Fleet, site: &Site) -> Result<()> {
    let file = site.kubeconfig().display().to_string();
    let words = [
        "import",
        "deployments.apps",
        "--site-kubeconfig",
        &file,
        "--export",
        "kubernetes",
    ];
    fleet.hanse(PLATFORM, &words).await?;
    let again = fleet.hanse(PLATFORM, &words).await?;
    assert!(
        !again.contains("created") && !again.contains("configured"),
        "{again}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_above_and_clear_themselves() -> Result<()> {
    let (fleet, site, tenant) = one().await?;
    // What the tenant's API takes and the site's own server does not.
    let more = json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}});
    tenant.apply(&deployment(2, more)).await?;
    let refused = |object: &Value| line(object).contains("edge: Rejected: ");
    let web = fleet.above("shop", WEB, refused).await?;
    assert!(
        line(&web).contains("cpu limit") && line(&web).len() <= 256,
        "{}",
        line(&web)
    );
    let why = fleet
        .hanse(&format!("{PLATFORM}:shop"), &["why", "deployment/web"])
        .await?;
    assert!(
        why.contains("Rejected") && why.contains("next try"),
        "{why}"
    );
    let events = tenant.ok(&["get", "events"]).await?;
    assert!(events.contains("Rejected"), "{events}");
    // It blocks nobody.
    tenant.apply(&map("beside", "1")).await?;
    fleet
        .below("edge", "shop", (MAPS, "beside"), |_| true)
        .await?;
    let better = deployment(2, json!({}));
    let replaced = tenant.run(&["replace", "-f", "-"], Some(&better)).await?;
    assert_eq!(replaced.code, Some(0), "{}", replaced.stderr);
    fleet
        .below("edge", "shop", (DEPLOYMENTS, "web"), |w| {
            w["spec"]["replicas"] == 2
        })
        .await?;
    fleet
        .above("shop", WEB, |w| !line(w).contains("Rejected"))
        .await?;
    // Another manager takes a field: shown with its name, not fought over.
    let cluster = fleet.cluster_of("shop").await?;
    let all = fleet.namespaces("edge").await?;
    let below = &all[&(cluster, "default".to_owned())];
    let patch = r#"{"spec":{"replicas":7}}"#;
    let words = [
        "patch",
        "deployment/web",
        "-n",
        below,
        "--type=merge",
        "-p",
        patch,
    ];
    site.kubectl()?
        .ok(&[&words[..], &["--field-manager=autoscaler"]].concat())
        .await?;
    let web = fleet
        .above("shop", WEB, |w| line(w).contains("Conflict"))
        .await?;
    assert!(line(&web).contains("autoscaler"), "{}", line(&web));
    fleet
        .below("edge", "shop", (DEPLOYMENTS, "web"), |w| {
            w["spec"]["replicas"] == 7
        })
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn either_side_may_die_at_any_time() -> Result<()> {
    let (mut fleet, site, tenant) = one().await?;
    for round in 0..5u64 {
        let value = round.to_string();
        for name in ["a", "b", "c"] {
            tenant.apply(&map(name, &value)).await?;
        }
        tokio::time::sleep(Duration::from_millis(round * 7)).await;
        let member = fleet.site_mut("edge")?;
        member.syncer.kill()?;
        member.syncer.resume()?;
        for name in ["a", "b", "c"] {
            let right = |m: &Value| m["data"]["value"] == value.as_str();
            fleet.below("edge", "shop", (MAPS, name), right).await?;
        }
    }
    // The hub dies while it rolls out; what was acknowledged arrives.
    tenant.apply(&map("last", "1")).await?;
    fleet.hub.kill()?;
    // Drift is repaired without it, and over a restart of the agent.
    let member = fleet.site_mut("edge")?;
    member.syncer.kill()?;
    member.syncer.resume()?;
    let all = fleet.namespaces("edge").await?;
    let below = all
        .values()
        .next()
        .ok_or_else(|| anyhow!("no namespace"))?
        .clone();
    let client = site.client()?;
    let path = format!("/api/v1/namespaces/{below}/configmaps/a");
    client.delete(&path).await?.success()?;
    wait::until("a made again", PATIENCE, async || {
        client.get(&path).await?.success()
    })
    .await?;
    fleet.hub.resume().await?;
    fleet
        .below("edge", "shop", (MAPS, "last"), |_| true)
        .await?;
    fleet.contact("edge", "Live").await?;
    // Each start of a hub gives its administrator a new token.
    let tenant = fleet.hub.kubectl(&format!("{PLATFORM}:shop"))?;
    tenant
        .ok(&["delete", "configmap", "a", "--timeout=60s"])
        .await?;
    wait::until("a gone below", PATIENCE, async || {
        let answer = client.get(&path).await?;
        match answer.status.as_u16() {
            404 => Ok(()),
            code => Err(anyhow!("{code}")),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_joins_one_cluster_and_reaches_nothing_else() -> Result<()> {
    let (fleet, _site, _tenant) = one().await?;
    let member = fleet.site("edge")?;
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
    let other = Site::apiserver("other", &[]).await?;
    let second = fleet.hub.scratch().join("second");
    std::fs::create_dir_all(&second)?;
    let file = second.join("bootstrap.kubeconfig");
    std::fs::write(&file, fleet.bootstrap("edge", member.relay.port).await?)?;
    let _other = start(&second, &file, &other.kubeconfig())?;
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
    let shop = fleet.cluster_of("shop").await?;
    assert_eq!(get(format!("/clusters/{inbox}/{manifests}")).await?, 200);
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
