//! How a kind travels by a rule, what is born below, and Pods that reach their workspace.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanse_e2e::fleet::{PATIENCE, PLATFORM, line};
use hanse_e2e::kubectl::Kubectl;
use hanse_e2e::wait;
use serde_json::{Value, json};

use super::{MAPS, OWN_MAPS, Pair, map, maps};

const SECRETS: &str = "api/v1/secrets";
const DEPLOYMENTS: &str = "apis/apps/v1/deployments";

fn rule(name: &str, spec: Value) -> String {
    json!({
        "apiVersion": "sites.hanse.dev/v1alpha1", "kind": "ProjectionRule",
        "metadata": {"name": name}, "spec": spec,
    })
    .to_string()
}

pub async fn a_rule_changes_what_travels_and_brings_up_what_is_born(pair: &mut Pair) -> Result<()> {
    let tenant = pair.tenant("ruled", &[], maps(), &["near"]).await?;
    let down =
        json!([{"path": "data.where", "expression": "site.name + '/' + object.metadata.name"}]);
    let related = json!([{"resource": "secrets", "direction": "Up",
                          "template": "object.metadata.name + '-made'"}]);
    let spec = json!({"resource": "configmaps", "excludeNames": ["stays"], "down": down,
                      "related": related});
    tenant.apply(&rule("maps", spec)).await?;
    tenant.apply(&map("settings", "1").to_string()).await?;
    let fleet = &pair.fleet;
    let changed = |m: &Value| m["data"]["where"] == "near/settings";
    let there = fleet
        .below("near", "ruled", (MAPS, "settings"), changed)
        .await?;
    let namespace = there["metadata"]["namespace"].as_str().unwrap_or_default();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "stringData": {"k": "v"},
        "metadata": {"name": "settings-made", "namespace": namespace},
    });
    let site = pair.near.client()?;
    let secrets = format!("/api/v1/namespaces/{namespace}/secrets");
    site.post(&secrets, &secret).await?.success()?;
    let own = "/api/v1/namespaces/default/secrets/settings-made";
    let born = fleet
        .above("ruled", own, |s| s["data"]["k"] == "dg==")
        .await?;
    let mark = born["metadata"]["annotations"]["sites.hanse.dev/born-at"].as_str();
    ensure!(mark.is_some_and(|m| m.starts_with("near/")), "{born}");
    // A transform that fails is told with its input, and what stands below stays.
    let wrong = json!([{"path": "data.where", "expression": "object.data.nothing"}]);
    let spec = json!({"resource": "configmaps", "down": wrong, "related": related});
    tenant.apply(&rule("maps", spec)).await?;
    let path = format!("{OWN_MAPS}/settings");
    let told = |m: &Value| line(m).contains("TransformFailed") && line(m).contains("nothing");
    fleet.above("ruled", &path, told).await?;
    let why = fleet
        .hanse(&format!("{PLATFORM}:ruled"), &["why", "configmap/settings"])
        .await?;
    let first = why.lines().next().unwrap_or_default();
    ensure!(
        first.starts_with("configmap/settings: render: near: TransformFailed"),
        "{why}"
    );
    fleet
        .below("near", "ruled", (MAPS, "settings"), changed)
        .await?;
    // It goes with the object that it was born beside.
    tenant.ok(&["delete", "projectionrule", "maps"]).await?;
    tenant.ok(&["delete", "configmap", "settings"]).await?;
    wait::until("what was born goes, too", PATIENCE, async || {
        let client = pair.client("ruled")?;
        let status = client.get(own).await?.status;
        ensure!(status == 404, "{status}");
        Ok(())
    })
    .await
}

pub async fn pods_reach_their_workspace_with_a_token_that_ends(pair: &mut Pair) -> Result<()> {
    let objects = json!([{"group": "apps", "resource": "deployments"}]);
    let tenant = pair
        .tenant("reach", &["kubernetes"], objects, &["far"])
        .await?;
    let web = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default",
                     "annotations": {"sites.hanse.dev/api-access": "true"}},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "registry.k8s.io/pause:3.10"}]},
            },
        },
    });
    tenant.apply(&web.to_string()).await?;
    let fleet = &pair.fleet;
    let env = |d: &Value| {
        let of = &d["spec"]["template"]["spec"]["containers"][0]["env"][0]["name"];
        *of == "KUBECONFIG"
    };
    fleet
        .below("far", "reach", (DEPLOYMENTS, "web"), env)
        .await?;
    let there = |s: &Value| s["data"]["token"].is_string();
    let found = fleet
        .below("far", "reach", (SECRETS, "hanse-api.default"), there)
        .await?;
    let ends = found["metadata"]["annotations"]["sites.hanse.dev/expires"].as_str();
    ensure!(ends.is_some(), "{}", found["metadata"]);
    // What a Pod would see in the volume.
    let dir = tempfile::tempdir()?;
    for (file, packed) in found["data"].as_object().context("no data")? {
        let packed = packed.as_str().unwrap_or_default();
        let bytes = STANDARD.decode(packed)?;
        std::fs::write(dir.path().join(file), bytes)?;
    }
    let pod = Kubectl::new(&dir.path().join("kubeconfig"))?;
    let who = pod.ok(&["auth", "whoami"]).await?;
    ensure!(
        who.contains("system:serviceaccount:default:default"),
        "{who}"
    );
    tenant.apply(&map("mine", "1").to_string()).await?;
    let refused = pod.run(&["get", "configmap", "mine"], None).await?;
    ensure!(refused.stderr.contains("forbidden"), "{}", refused.stderr);
    let role = [
        "create",
        "role",
        "reader",
        "--verb=get",
        "--resource=configmaps",
    ];
    tenant.ok(&role).await?;
    let account = "--serviceaccount=default:default";
    let binding = ["create", "rolebinding", "reader", "--role=reader", account];
    tenant.ok(&binding).await?;
    let said = pod.ok(&["get", "configmap", "mine", "-o", "name"]).await?;
    ensure!(said.contains("configmap/mine"), "{said}");
    // Without the annotation neither the way nor the token is there any more.
    tenant
        .ok(&[
            "annotate",
            "deployment",
            "web",
            "sites.hanse.dev/api-access-",
        ])
        .await?;
    let plain = |d: &Value| !env(d);
    fleet
        .below("far", "reach", (DEPLOYMENTS, "web"), plain)
        .await?;
    Ok(())
}
